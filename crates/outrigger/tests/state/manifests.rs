//! kube-state-metrics' own manifests and alerting rules with Outrigger in place of the program that they name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};
use xtask::rig::{Component, ObjectPlan, Options, Rig, User};

use crate::left_out;
use crate::process::{Exporter, Running};

const PATIENCE: Duration = Duration::from_secs(90);
/// Of kube-state-metrics' manifests.
const NAMESPACE: &str = "kube-system";

fn examples() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/kube-state-metrics"))
}

/// The program in their program's place; theirs itself where the tests are checked.
fn exporter() -> Exporter {
    match std::env::var_os("OUTRIGGER_STATE_ITSELF") {
        Some(_) => Exporter::KubeStateMetrics,
        None => Exporter::Outrigger,
    }
}

/// A container of a manifest, as a kubelet would start it.
#[derive(Debug)]
struct Container {
    namespace: String,
    account: String,
    arguments: Vec<String>,
    /// Port and path of each probe.
    probes: Vec<(String, String)>,
}

impl Container {
    /// The containers of the workloads in a list, with what the downward API says of the pod of that number.
    fn of_workload(workload: &Value, ordinal: u32, node: &str) -> Container {
        let spec = &workload["spec"]["template"]["spec"];
        let container = &spec["containers"][0];
        let pod = format!("{}-{ordinal}", workload["metadata"]["name"].as_str().unwrap());
        let namespace = workload["metadata"]["namespace"].as_str().unwrap().to_owned();
        let downward = |path: &str| match path {
            "metadata.name" => pod.clone(),
            "metadata.namespace" => namespace.clone(),
            "spec.nodeName" => node.to_owned(),
            other => panic!("{other} is not known here"),
        };
        let variables: BTreeMap<String, String> = container["env"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|variable| {
                let path = variable["valueFrom"]["fieldRef"]["fieldPath"].as_str().unwrap();
                (format!("$({})", variable["name"].as_str().unwrap()), downward(path))
            })
            .collect();
        let arguments = container["args"].as_array().into_iter().flatten().map(|argument| {
            let argument = argument.as_str().unwrap().to_owned();
            variables.iter().fold(argument, |argument, (name, value)| argument.replace(name, value))
        });
        let probes = ["livenessProbe", "readinessProbe"].map(|probe| {
            let probe = &container[probe]["httpGet"];
            (probe["port"].as_str().unwrap().to_owned(), probe["path"].as_str().unwrap().to_owned())
        });
        Container {
            namespace: namespace.clone(),
            account: spec["serviceAccountName"].as_str().unwrap().to_owned(),
            arguments: arguments.collect(),
            probes: probes.to_vec(),
        }
    }

    async fn start(&self, rig: &Rig) -> Running {
        let kubeconfig = kubeconfig_of(rig, &self.namespace, &self.account).await;
        let running = Running::start(exporter(), &kubeconfig, rig.dir(), &self.arguments).await;
        for (port, path) in &self.probes {
            until_healthy(&running, port, path).await;
        }
        running
    }
}

/// Waits until a probe succeeds.
async fn until_healthy(running: &Running, port: &str, path: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = match port {
            "http-metrics" => running.get(path, &[]).await,
            "telemetry" => running.telemetry(path).await,
            other => panic!("no port {other}"),
        };
        if answer.status == 200 {
            return;
        }
        assert!(Instant::now() < deadline, "{path}: {}\n{}", answer.text(), running.log_end());
        sleep(Duration::from_millis(200)).await;
    }
}

/// A kubeconfig with a token of a service account: exactly the rights that the manifests give it.
async fn kubeconfig_of(rig: &Rig, namespace: &str, account: &str) -> PathBuf {
    let token = rig.kubectl(&["create", "token", account, "-n", namespace, "--duration=1h"]).await.unwrap();
    // A file of its own for each process: whoever sees its kubeconfig change starts anew.
    let path = rig.dir().join(format!("account-{account}-{}.kubeconfig", next_number()));
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: a, contexts: [{{name: a, context: {{cluster: a, user: a}}}}],\n\
         clusters: [{{name: a, cluster: {{server: \"{}\", certificate-authority: {}}}}}], users: [{{name: a, user: {{token: {}}}}}]}}\n",
        rig.apiserver_url().unwrap(),
        rig.authority_file().display(),
        token.trim(),
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn next_number() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The workloads of a folder as the API server has them.
async fn install(rig: &Rig, folder: &str) -> Vec<Value> {
    let path = examples().join(folder).display().to_string();
    rig.kubectl(&["apply", "--validate=strict", "-f", &path]).await.unwrap();
    let list = ["get", "deployments,statefulsets,daemonsets", "-n", NAMESPACE, "-o", "json"];
    let list: Value = serde_json::from_str(&rig.kubectl(&list).await.unwrap()).unwrap();
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["metadata"]["name"].as_str().unwrap().starts_with("kube-state-metrics"))
        .cloned()
        .collect()
}

async fn uninstall(rig: &Rig, folder: &str) {
    let path = examples().join(folder).display().to_string();
    rig.kubectl(&["delete", "--wait=false", "-f", &path]).await.unwrap();
}

/// What no account may do for long: requests that the API server refused since event `from`.
fn refused(rig: &Rig, from: usize) -> Vec<String> {
    let requests = requests_of(rig, from, &format!("system:serviceaccount:{NAMESPACE}:kube-state-metrics"));
    let refused = requests.iter().filter(|event| event["responseStatus"]["code"] == 403);
    refused.map(|event| format!("{} {}", event["verb"], event["requestURI"])).collect()
}

/// What an account, or those whose names begin so, asked the API server since event `from`.
fn requests_of(rig: &Rig, from: usize, account: &str) -> Vec<Value> {
    let events = rig.audit_events().unwrap();
    let of =
        |event: &&Value| event["user"]["username"].as_str().is_some_and(|user| user.starts_with(account));
    events[from..].iter().filter(of).cloned().collect()
}

/// Samples of a family.
async fn samples(running: &Running, family: &str) -> BTreeSet<String> {
    let text = running.get("/metrics", &[]).await.text();
    let of_family =
        text.lines().filter(|line| line.strip_prefix(family).is_some_and(|rest| rest.starts_with('{')));
    of_family.map(str::to_owned).collect()
}

/// Waits until a family has that many samples, and returns them.
async fn until_samples(running: &Running, family: &str, count: usize) -> BTreeSet<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let have = samples(running, family).await;
        if have.len() == count {
            return have;
        }
        assert!(
            Instant::now() < deadline,
            "{family}: {} of {count} samples\n{}",
            have.len(),
            running.log_end()
        );
        sleep(Duration::from_millis(200)).await;
    }
}

async fn small_rig(components: &[Component]) -> Rig {
    let rig = Rig::up(components, Options::default()).await.unwrap();
    rig.make_objects(&ObjectPlan { seed: 3, each: 8, cases: None }).await.unwrap();
    rig
}

/// Objects of a resource in the whole cluster.
async fn count_of(rig: &Rig, path: &str) -> usize {
    rig.api().unwrap().get(path).await.unwrap()["items"].as_array().unwrap().len()
}

/// Checks the whole set: every container's rights suffice, and together they serve each object once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manifests_of_kube_state_metrics_run_with_another_binary() {
    if left_out("kube-state-metrics' manifests") {
        return;
    }
    let rig = small_rig(&[Component::KubeApiserver]).await;
    for (folder, replicas) in
        [("standard", 1), ("autosharding", 2), ("daemonsetsharding", 1), ("deploymentsharding", 1)]
    {
        let workloads = install(&rig, folder).await;
        assert_eq!(workloads.len(), if folder.starts_with('d') { 3 } else { 1 }, "{folder}");
        make_pods(&rig, &workloads, replicas).await;
        let before = rig.audit_events().unwrap().len();
        let mut running = Vec::new();
        for workload in &workloads {
            for ordinal in 0..replicas {
                let container = Container::of_workload(workload, ordinal, "odd-node-3");
                println!("{folder}: {:?}", container.arguments);
                running.push(container.start(&rig).await);
            }
        }
        match folder {
            "daemonsetsharding" => serve_all_but_other_nodes(&rig, &running).await,
            _ => serve_each_object_once(&rig, &running).await,
        }
        assert_eq!(refused(&rig, before), [""; 0], "{folder}");
        for running in running {
            running.stop().await;
        }
        uninstall(&rig, folder).await;
    }
}

/// The pods of a StatefulSet, which no controller makes here: a shard asks for its own.
async fn make_pods(rig: &Rig, workloads: &[Value], replicas: u32) {
    let api = rig.api().unwrap();
    for set in workloads.iter().filter(|workload| workload["kind"] == "StatefulSet") {
        for ordinal in 0..replicas {
            let name = set["metadata"]["name"].as_str().unwrap();
            let pod = serde_json::json!({
                "metadata": {
                    "name": format!("{name}-{ordinal}"),
                    "labels": set["spec"]["template"]["metadata"]["labels"],
                    "ownerReferences": [{
                        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": name,
                        "uid": set["metadata"]["uid"], "controller": true,
                    }],
                },
                "spec": {"containers": [{"name": "a", "image": "a"}]},
            });
            api.create(&format!("/api/v1/namespaces/{NAMESPACE}/pods"), &pod).await.unwrap();
        }
    }
}

async fn serve_each_object_once(rig: &Rig, running: &[Running]) {
    for (family, path) in [
        ("kube_configmap_info", "/api/v1/configmaps"),
        ("kube_pod_created", "/api/v1/pods"),
        ("kube_secret_type", "/api/v1/secrets"),
        ("kube_deployment_spec_paused", "/apis/apps/v1/deployments"),
    ] {
        let expected = count_of(rig, path).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut together = Vec::new();
            for one in running {
                together.extend(samples(one, family).await);
            }
            let distinct: BTreeSet<_> = together.iter().collect();
            if together.len() == expected && distinct.len() == expected {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{family}: {} samples, {} of them distinct, of {expected} objects\n{}",
                together.len(),
                distinct.len(),
                running[0].log_end()
            );
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// In the order of names: the Deployment of everything else, that of unscheduled pods, and a DaemonSet's pod.
async fn serve_all_but_other_nodes(rig: &Rig, running: &[Running]) {
    let [others, unscheduled, node] = running else { panic!("{} processes", running.len()) };
    let pods = async |selector: &str| {
        count_of(rig, &format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{selector}")).await
    };
    let deployments = count_of(rig, "/apis/apps/v1/deployments").await;
    until_samples(others, "kube_deployment_spec_paused", deployments).await;
    assert_eq!(samples(others, "kube_pod_created").await.len(), 0);
    until_samples(unscheduled, "kube_pod_created", pods("").await).await;
    until_samples(node, "kube_pod_created", pods("odd-node-3").await).await;
    for pods in [unscheduled, node] {
        assert_eq!(samples(pods, "kube_deployment_spec_paused").await.len(), 0);
    }
}

/// Metrics that the expressions of the rules name.
fn metrics_of(rules: &str) -> BTreeSet<&str> {
    let words = rules.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with("kube_state_metrics_")).collect()
}

fn prometheus_config(rules: &Path, targets: &[SocketAddr]) -> String {
    let targets: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
         rule_files: [{}]\n\
         scrape_configs: [{{job_name: kube-state-metrics, static_configs: [{{targets: [{}]}}]}}]\n",
        rules.display(),
        targets.join(", ")
    )
}

/// Name and state of each of the rules that were evaluated without an error since the last scrape.
async fn rules(rig: &Rig) -> BTreeMap<String, String> {
    let answer = rig.client(Component::Prometheus).unwrap().get("/api/v1/rules").await.unwrap();
    let rules = answer["data"]["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone());
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    rules
        .filter(|rule| rule["health"] == "ok")
        .map(|rule| (text(&rule["name"]), text(&rule["state"])))
        .collect()
}

async fn until_rules(rig: &Rig, what: &str, expected: &[(&str, &str)]) {
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned())).collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let have = rules(rig).await;
        if have == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {have:#?}, expected {expected:#?}");
        sleep(Duration::from_millis(500)).await;
    }
}

/// Whether a Prometheus has a series for an expression.
async fn has_series(rig: &Rig, expression: &str) -> bool {
    let path: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer =
        rig.client(Component::Prometheus).unwrap().get(&format!("/api/v1/query?query={path}")).await.unwrap();
    !answer["data"]["result"].as_array().unwrap().is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_alerts_of_kube_state_metrics_see_another_binary() {
    if left_out("kube-state-metrics' alerts") {
        return;
    }
    let mut rig = small_rig(&[Component::KubeApiserver, Component::Prometheus]).await;
    let file = examples().join("prometheus-alerting-rules/alerts.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let kubeconfig = rig.kubeconfig_of(User::KubeStateMetrics);
    let start = async |rig: &Rig, kubeconfig: &Path, flags: &[&str]| {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Running::start(exporter(), kubeconfig, rig.dir(), &flags).await
    };
    let calm = [
        ("KubeStateMetricsListErrors", "inactive"),
        ("KubeStateMetricsWatchErrors", "inactive"),
        ("KubeStateMetricsShardingMismatch", "inactive"),
        ("KubeStateMetricsShardsMissing", "inactive"),
    ];
    let but = |loud: &[&str]| {
        calm.map(|(name, state)| (name, if loud.contains(&name) { "pending" } else { state }))
    };

    let whole = start(&rig, &kubeconfig, &[]).await;
    rig.configure(Component::Prometheus, &prometheus_config(&file, &[whole.telemetry])).unwrap();
    let deadline = Instant::now() + PATIENCE;
    // Where the server streams the first list, kube-state-metrics counts it as a watch.
    let streams = exporter() == Exporter::KubeStateMetrics;
    for metric in metrics_of(&text).into_iter().filter(|metric| !(streams && metric.contains("list"))) {
        while !has_series(&rig, &format!("{metric}{{job=\"kube-state-metrics\"}}")).await {
            assert!(
                Instant::now() < deadline,
                "Prometheus has no {metric}: {}",
                whole.telemetry("/metrics").await.text()
            );
            sleep(Duration::from_millis(500)).await;
        }
    }
    until_rules(&rig, "all is well", &calm).await;
    whole.stop().await;

    let shards = [
        start(&rig, &kubeconfig, &["--shard=0", "--total-shards=2"]).await,
        start(&rig, &kubeconfig, &["--shard=1", "--total-shards=2"]).await,
    ];
    rig.configure(
        Component::Prometheus,
        &prometheus_config(&file, &[shards[0].telemetry, shards[1].telemetry]),
    )
    .unwrap();
    until_rules(&rig, "two shards of two", &calm).await;
    rig.configure(Component::Prometheus, &prometheus_config(&file, &[shards[1].telemetry])).unwrap();
    until_rules(&rig, "one shard of two", &but(&["KubeStateMetricsShardsMissing"])).await;
    let three = start(&rig, &kubeconfig, &["--shard=2", "--total-shards=3"]).await;
    rig.configure(
        Component::Prometheus,
        &prometheus_config(&file, &[shards[0].telemetry, shards[1].telemetry, three.telemetry]),
    )
    .unwrap();
    let mismatch = ["KubeStateMetricsShardingMismatch"];
    until_rules(&rig, "shards of two and of three", &but(&mismatch)).await;

    // Without rights each list or watch is refused.
    let refused = start(&rig, &rig.kubeconfig_of(User::Nobody), &[]).await;
    rig.configure(Component::Prometheus, &prometheus_config(&file, &[refused.telemetry])).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let errors = ["KubeStateMetricsListErrors", "KubeStateMetricsWatchErrors"];
    while !rules(&rig).await.iter().any(|(name, state)| errors.contains(&&**name) && state == "pending") {
        assert!(
            Instant::now() < deadline,
            "no rights: {:?}\n{}",
            rules(&rig).await,
            refused.telemetry("/metrics").await.text()
        );
        sleep(Duration::from_millis(500)).await;
    }
}

/// The shipped manifest: its account may do what is asked with it and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_manifest_grants_exactly_what_is_asked_for() {
    if left_out("the manifest of state metrics") {
        return;
    }
    let rig = small_rig(&[Component::KubeApiserver]).await;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/manifests/state-metrics.yaml");
    rig.kubectl(&["create", "namespace", "outrigger"]).await.unwrap();
    let restricted = ["label", "namespace", "outrigger", "pod-security.kubernetes.io/warn=restricted"];
    rig.kubectl(&restricted).await.unwrap();
    let strict = ["apply", "--validate=strict", "--warnings-as-errors", "--server-side", "-f", path];
    rig.kubectl(&strict).await.unwrap();
    let get = ["get", "deployment", "outrigger-state-metrics", "-n", "outrigger", "-o", "json"];
    let deployment: Value = serde_json::from_str(&rig.kubectl(&get).await.unwrap()).unwrap();
    let before = rig.audit_events().unwrap().len();
    let running = Container::of_workload(&deployment, 0, "odd-node-1").start(&rig).await;
    let nodes = count_of(&rig, "/api/v1/nodes").await;
    until_samples(&running, "kube_node_created", nodes).await;
    let granted = granted(&rig).await;
    let deadline = Instant::now() + PATIENCE;
    let requests = loop {
        let requests = requests_of(&rig, before, "system:serviceaccount:outrigger:outrigger-state-metrics");
        let asked: BTreeSet<String> = requests
            .iter()
            .filter_map(|event| {
                let object = &event["objectRef"];
                let group = object["apiGroup"].as_str().unwrap_or("");
                Some(format!("{}.{group}", object["resource"].as_str()?))
            })
            .collect();
        if asked == granted {
            break requests;
        }
        assert!(Instant::now() < deadline, "asked for {asked:#?}\ngranted {granted:#?}");
        sleep(Duration::from_millis(200)).await;
    };
    let refused: Vec<&Value> =
        requests.iter().filter(|event| event["responseStatus"]["code"] == 403).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

/// Resource and group of each rule of the shipped role, all of which are for `list` and `watch`.
async fn granted(rig: &Rig) -> BTreeSet<String> {
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/outrigger-state-metrics";
    let role = rig.api().unwrap().get(path).await.unwrap();
    let rules = role["rules"].as_array().unwrap();
    let texts = |value: &Value| {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(rules.iter().all(|rule| texts(&rule["verbs"]) == ["list", "watch"]), "{rules:#?}");
    let of_rule = |rule: &Value| {
        let group = texts(&rule["apiGroups"]).remove(0);
        texts(&rule["resources"]).into_iter().map(move |resource| format!("{resource}.{group}"))
    };
    rules.iter().flat_map(of_rule).collect()
}

//! A thousand monitors: the same targets as a Prometheus has that runs on what the real operator generated.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::time::Duration;

use base64::Engine as _;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use xtask::rig::{Component, FillPlan, Rig, User};

use crate::side::{Side, Target};
use crate::{PATIENCE, cluster, create, left_out};

const SERVICE_MONITORS: usize = 1000;
const POD_MONITORS: usize = 60;
const PROBES: usize = 20;
const SCRAPE_CONFIGS: usize = 20;
const NAMESPACES: usize = 20;

const FILL: FillPlan = FillPlan {
    nodes: 20,
    pods: 400,
    replicas: 4,
    namespaces: NAMESPACES as u32,
    jobs: 5,
    exporters: false,
    pod_network: None,
};

/// The `Prometheus` resource, and the same in our spelling.
fn prometheus() -> Value {
    let everything = json!({});
    json!({"spec": {
        "serviceMonitorSelector": {"matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}]},
        "serviceMonitorNamespaceSelector": {"matchExpressions": [{"key": "closed", "operator": "DoesNotExist"}]},
        "podMonitorSelector": everything, "podMonitorNamespaceSelector": everything,
        "probeSelector": everything, "probeNamespaceSelector": everything,
        "scrapeConfigSelector": everything, "scrapeConfigNamespaceSelector": everything,
        "scrapeInterval": "5m",
        "serviceDiscoveryRole": "EndpointSlice",
        "podTargetLabels": ["app.kubernetes.io/version"],
        "enforcedNamespaceLabel": "tenant",
        "excludedFromEnforcement": [{"group": "monitoring.coreos.com", "resource": "podmonitors", "namespace": "team-03"}],
        "enforcedTargetLimit": 100_000,
        "scrapeClasses": [{"name": "marked", "relabelings": [{"targetLabel": "class", "replacement": "marked"}]}],
    }})
}

const SETTINGS: &str = r#"
    service_monitor_selector: {match_expressions: [{key: skip, operator: DoesNotExist}]}
    service_monitor_namespace_selector: "!closed"
    pod_monitor_selector: {}
    pod_monitor_namespace_selector: {}
    probe_selector: {}
    probe_namespace_selector: {}
    scrape_config_selector: {}
    scrape_config_namespace_selector: {}
    scrape_interval: 5m
    service_discovery_role: EndpointSlice
    pod_target_labels: [app.kubernetes.io/version]
    enforced_namespace_label: tenant
    excluded_from_enforcement: [{group: monitoring.coreos.com, resource: podmonitors, namespace: team-03}]
    enforced_target_limit: 100000
    scrape_classes: [{name: marked, relabelings: [{target_label: class, replacement: marked}]}]
"#;

fn team(index: usize) -> String {
    format!("team-{:02}", index % NAMESPACES)
}

fn app(index: usize) -> String {
    format!("app-{:05}", index % 100)
}

const TIERS: [&str; 4] = ["frontend", "backend", "cache", "database"];

/// One of a thousand, each different in some way.
fn service_monitor(index: usize) -> Value {
    let selector = match index % 4 {
        0 => json!({"matchLabels": {"app.kubernetes.io/name": app(index)}}),
        1 => json!({"matchExpressions": [{"key": "app.kubernetes.io/version", "operator": "In", "values": [
            format!("1.{}.0", index % 10), "9.9.9"]}]}),
        2 => json!({"matchExpressions": [
            {"key": "app.kubernetes.io/name", "operator": "In", "values": [app(index), app(index + 20)]},
            {"key": "app.kubernetes.io/component", "operator": "NotIn", "values": [TIERS[index / 4 % 4]]},
            {"key": "absent", "operator": "DoesNotExist"}]}),
        _ => json!({"matchLabels": {"app.kubernetes.io/managed-by": "rig"},
            "matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "In", "values": [app(index * 7)]}]}),
    };
    let namespaces = match index % 5 {
        0 => json!({"any": true}),
        1 => json!({"matchNames": [team(index), team(index + 1)]}),
        _ => json!({}),
    };
    let mut endpoint = match index % 3 {
        0 => json!({"port": "metrics"}),
        1 => json!({"targetPort": 9090}),
        _ => json!({"targetPort": "http"}),
    };
    if index.is_multiple_of(6) {
        endpoint["relabelings"] = json!([
            {"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"},
            {"action": "LabelMap", "regex": "__meta_kubernetes_service_label_app_kubernetes_io_(component)"},
            {"sourceLabels": ["__meta_kubernetes_endpointslice_endpoint_conditions_ready"], "regex": "false", "action": "drop"},
            {"sourceLabels": ["__address__"], "targetLabel": "__tmp_hash", "modulus": 3, "action": "HashMod"},
            {"sourceLabels": ["__tmp_hash"], "regex": "1", "action": "Drop"},
        ]);
    }
    if index.is_multiple_of(10) {
        endpoint["basicAuth"] = json!({"username": {"name": "login", "key": "user"}, "password": {"name": "login", "key": "password"}});
    }
    if index.is_multiple_of(11) {
        endpoint["params"] = json!({"module": ["a", "b c"]});
        endpoint["path"] = json!("/federate");
    }
    let mut endpoints = vec![endpoint];
    if index.is_multiple_of(9) {
        endpoints.push(json!({"port": "http", "scheme": "https", "filterRunning": false}));
    }
    let mut spec = json!({"selector": selector, "namespaceSelector": namespaces, "endpoints": endpoints});
    if index.is_multiple_of(7) {
        spec["jobLabel"] = json!("app.kubernetes.io/component");
        spec["targetLabels"] = json!(["app.kubernetes.io/managed-by"]);
        spec["attachMetadata"] = json!({"node": true});
    }
    if index.is_multiple_of(8) {
        spec["scrapeClass"] = json!("marked");
    }
    if index.is_multiple_of(13) {
        spec["selectorMechanism"] = json!("RoleSelector");
    }
    let mut object = json!({"spec": spec});
    if index.is_multiple_of(50) {
        object["labels"] = json!({"skip": "yes"});
    }
    object
}

fn pod_monitor(index: usize) -> Value {
    let endpoint = match index % 3 {
        0 => json!({"port": "metrics"}),
        1 => json!({"portNumber": 9090}),
        _ => json!({"port": "http", "relabelings": [{"action": "labeldrop", "regex": "container"}]}),
    };
    json!({"spec": {
        "selector": {"matchLabels": {"app.kubernetes.io/name": app(index)}},
        "namespaceSelector": if index.is_multiple_of(2) { json!({"any": true}) } else { json!({}) },
        "podTargetLabels": ["app.kubernetes.io/component"],
        "podMetricsEndpoints": [endpoint],
    }})
}

fn probe(index: usize) -> Value {
    let targets = if index.is_multiple_of(2) {
        json!({"staticConfig": {"static": ["https://a.example", format!("https://b-{index}.example/x")], "labels": {"k": "v"}}})
    } else {
        json!({"ingress": {"namespaceSelector": {"any": true},
            "selector": {"matchLabels": {"app.kubernetes.io/component": TIERS[index / 2 % 4]}}}})
    };
    json!({"spec": {"jobName": format!("probe-{}", index % 3), "module": "http_2xx",
        "prober": {"url": "prober.example:9115"}, "targets": targets}})
}

fn scrape_config(index: usize) -> Value {
    let spec = match index % 3 {
        0 => {
            json!({"staticConfigs": [{"targets": ["h.example:1", "i.example:2"], "labels": {"index": index.to_string()}}]})
        }
        1 => json!({"kubernetesSDConfigs": [{"role": "Node", "attachMetadata": {"node": true}}],
            "relabelings": [{"sourceLabels": ["__meta_kubernetes_node_name"], "regex": ".*[02468]", "action": "keep"}]}),
        _ => {
            json!({"jobName": "pods", "kubernetesSDConfigs": [{"role": "Pod", "namespaces": {"names": [team(index)]},
            "selectors": [{"role": "Pod", "label": format!("app.kubernetes.io/name={}", app(index))}]}]})
        }
    };
    json!({"spec": spec})
}

/// Creates everything.
async fn create_all(rig: &Rig) {
    let mut objects: Vec<(&str, String, String, Value)> = Vec::new();
    for index in 0..NAMESPACES {
        let data = json!({"user": "dQ==", "password": "cGFzcw=="});
        objects.push(("Secret", team(index), "login".to_owned(), json!({"data": data})));
    }
    for index in 0..SERVICE_MONITORS {
        objects.push(("ServiceMonitor", team(index), format!("s-{index:04}"), service_monitor(index)));
    }
    for index in 0..POD_MONITORS {
        objects.push(("PodMonitor", team(index), format!("p-{index:04}"), pod_monitor(index)));
    }
    for index in 0..PROBES {
        objects.push(("Probe", team(index), format!("b-{index:04}"), probe(index)));
    }
    for index in 0..SCRAPE_CONFIGS {
        objects.push(("ScrapeConfig", team(index), format!("c-{index:04}"), scrape_config(index)));
    }
    let created = stream::iter(objects).map(|(kind, namespace, name, body)| async move {
        create(rig, kind, &namespace, &name, body).await;
    });
    created.buffer_unordered(32).collect::<Vec<()>>().await;
    let closed = json!({"metadata": {"labels": {"closed": "yes"}}});
    rig.api().unwrap().merge("/api/v1/namespaces/team-19", &closed).await.unwrap();
}

/// The configuration that the operator keeps in a Secret.
async fn generated(rig: &Rig, jobs: usize) -> String {
    let api = rig.api().unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let secret = api.get("/api/v1/namespaces/default/secrets/prometheus-main").await;
        let text = secret.ok().and_then(|secret| {
            let packed = secret["data"]["prometheus.yaml.gz"].as_str()?.to_owned();
            let packed = base64::engine::general_purpose::STANDARD.decode(packed).ok()?;
            let mut text = String::new();
            flate2::read::GzDecoder::new(&*packed).read_to_string(&mut text).ok()?;
            Some(text)
        });
        let count = text.as_ref().map_or(0, |text| text.matches("- job_name: ").count());
        if count == jobs {
            return text.unwrap();
        }
        assert!(
            Instant::now() < deadline,
            "the operator generated {count} jobs of {jobs}; its log:\n{}",
            std::fs::read_to_string(rig.log("prometheus-operator")).unwrap_or_default()
        );
        sleep(Duration::from_millis(500)).await;
    }
}

/// The configuration for a Prometheus outside the cluster, without what the operator's other containers replace.
fn outside(text: &str, kubeconfig: &str) -> String {
    let mut adapted = String::new();
    let mut in_discovery = false;
    for line in text.replace("$(SHARD)", "0").replace("$(POD_NAME)", "main-0").lines() {
        adapted.push_str(line);
        adapted.push('\n');
        if in_discovery && line.trim_start().starts_with("- role: ") {
            let indent = line.len() - line.trim_start().len();
            adapted.push_str(&format!("{}kubeconfig_file: {kubeconfig}\n", " ".repeat(indent + 2)));
        }
        in_discovery = line.trim_start() == "kubernetes_sd_configs:";
    }
    adapted
}

fn targets_of_prometheus(answer: &Value) -> BTreeSet<Target> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let labels =
        |value: &Value| value.as_object().unwrap().iter().map(|(k, v)| (k.clone(), text(v))).collect();
    let active = answer["data"]["activeTargets"].as_array().unwrap();
    active.iter().map(|target| (text(&target["scrapePool"]), labels(&target["labels"]))).collect()
}

fn dropped_of_prometheus(answer: &Value) -> BTreeMap<String, u64> {
    let counts = answer["data"]["droppedTargetCounts"].as_object().unwrap();
    counts.iter().map(|(job, count)| (job.clone(), count.as_u64().unwrap_or(0))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_and_labels_equal_those_of_prometheus_on_the_operators_configuration() {
    if left_out("the comparison with prometheus-operator") {
        return;
    }
    let mut rig = cluster(&FILL).await;
    create_all(&rig).await;
    create(&rig, "Prometheus", "default", "main", prometheus()).await;

    let started = Instant::now();
    let side = Side::start(&rig, SETTINGS).await;
    side.until("all jobs", |jobs| jobs.complete && !jobs.jobs.is_empty()).await;
    let jobs = side.jobs().jobs.len();
    println!("{jobs} jobs after {:?}", started.elapsed());
    let problems = side.operator.view().problems;
    assert!(problems.is_empty(), "{problems:#?}");
    side.discover();

    rig.start(Component::PrometheusOperator).await.unwrap();
    let text = generated(&rig, jobs).await;
    rig.stop(Component::PrometheusOperator).await.unwrap();
    let kubeconfig = rig.kubeconfig_of(User::Prometheus).display().to_string();
    rig.configure(Component::Prometheus, &outside(&text, &kubeconfig)).unwrap();
    rig.start(Component::Prometheus).await.unwrap();

    let prometheus = rig.client(Component::Prometheus).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut steady = 0;
    loop {
        // A Prometheus that is busy with so many discoveries answers late.
        let Ok(all) = prometheus.get("/api/v1/targets").await else {
            assert!(Instant::now() < deadline, "Prometheus does not answer");
            continue;
        };
        let (theirs, ours) = (targets_of_prometheus(&all), side.targets());
        let dropped = (dropped_of_prometheus(&all), side.dropped());
        let equal = !theirs.is_empty() && theirs == ours && dropped.0 == dropped.1 && side.is_settled();
        steady = if equal { steady + 1 } else { 0 };
        if steady == 2 {
            println!(
                "{} targets of {jobs} jobs are the same, {} dropped",
                ours.len(),
                dropped.1.values().sum::<u64>()
            );
            break;
        }
        if Instant::now() > deadline {
            for target in theirs.difference(&ours).take(4) {
                println!("only Prometheus: {target:#?}");
            }
            for target in ours.difference(&theirs).take(4) {
                println!("only Outrigger: {target:#?}");
            }
            let differs = dropped.0.iter().filter(|(job, count)| dropped.1.get(*job) != Some(*count));
            for (job, count) in differs.take(4) {
                println!("{job}: {count} dropped by Prometheus, {:?} here", dropped.1.get(job));
            }
            panic!("Prometheus has {} targets, Outrigger {}", theirs.len(), ours.len());
        }
        sleep(Duration::from_secs(1)).await;
    }
    one_watch_for_each_kind(&rig);
}

/// What the API server saw of us: one list and watch of each kind, and Secrets by name only.
fn one_watch_for_each_kind(rig: &Rig) {
    let mut watches: BTreeMap<String, usize> = BTreeMap::new();
    let mut secrets: BTreeMap<String, usize> = BTreeMap::new();
    for event in rig.audit_events().unwrap() {
        let ours = event["userAgent"].as_str().is_some_and(|agent| agent.starts_with("outrigger-master/"));
        let (verb, resource) = (event["verb"].as_str().unwrap_or(""), &event["objectRef"]["resource"]);
        let resource = resource.as_str().unwrap_or("").to_owned();
        let first =
            event["stage"] == "ResponseStarted" || (verb != "watch" && event["stage"] == "ResponseComplete");
        if !ours || !first {
            continue;
        }
        match (verb, resource.as_str()) {
            ("get", "secrets") => *secrets.entry(verb.to_owned()).or_default() += 1,
            ("list" | "watch", _) => *watches.entry(resource).or_default() += 1,
            _ => {}
        }
    }
    println!("lists and watches: {watches:?}, readings of Secrets: {secrets:?}");
    assert!(watches.values().all(|count| *count == 1), "{watches:?}");
    for kind in ["servicemonitors", "podmonitors", "probes", "scrapeconfigs", "namespaces"] {
        assert!(watches.contains_key(kind), "{kind} is not watched: {watches:?}");
    }
    assert!(!watches.contains_key("secrets"));
    // Every tenth monitor names the Secret of its namespace: that are those of two namespaces.
    assert!(secrets["get"] >= 2, "{secrets:?}");
}

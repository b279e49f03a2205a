//! The chart and the manifests of `deploy/`: what they render, what a real API server says to it, and what the accounts
//! that they make may do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use xtask::rig::{Cache, Component, FillPlan, Options, Pin, Program, Rig};

use crate::harness::{Outrigger, PATIENCE};
use crate::left_out;

const NAMESPACE: &str = "outrigger";
/// Where the rendered configurations look for files.
const FILES: &str = "/etc/outrigger";

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

fn chart() -> PathBuf {
    deploy().join("helm/outrigger")
}

/// The value sets of the chart's folder `ci`, by name.
fn value_sets() -> Vec<(String, PathBuf)> {
    let mut sets: Vec<(String, PathBuf)> = std::fs::read_dir(chart().join("ci"))
        .expect("the folder of value sets")
        .map(|entry| entry.expect("readable").path())
        .map(|path| (path.file_name().expect("a name").to_string_lossy().replace("-values.yaml", ""), path))
        .collect();
    sets.sort();
    assert!(sets.len() >= 6, "{sets:?}");
    sets
}

fn helm(arguments: &[&str]) -> Output {
    helm_at(Path::new("/nowhere"), arguments)
}

fn helm_at(kubeconfig: &Path, arguments: &[&str]) -> Output {
    let pin = Pin::new(Program::Helm, None).expect("a pinned version");
    let helm = Cache::from_environment().and_then(|cache| cache.find(pin)).expect("helm is built");
    let home = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(helm);
    // Nothing of the user's own settings.
    for variable in ["HELM_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_DATA_HOME"] {
        command.env(variable, home.path());
    }
    command.env("KUBECONFIG", kubeconfig);
    command.args(arguments).output().expect("helm starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn render(values: &Path, more: &[&str]) -> Output {
    let (chart, values) = (chart(), values.to_string_lossy().into_owned());
    let chart = chart.to_string_lossy();
    let first = ["template", "outrigger", &chart, "--namespace", NAMESPACE, "--values", &values];
    helm(&first.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
}

fn rendered(values: &Path) -> String {
    let output = render(values, &[]);
    assert!(output.status.success(), "{}: {}", values.display(), text(&output));
    String::from_utf8(output.stdout).expect("text")
}

/// The objects of a rendered chart, each as text.
fn objects(rendered: &str) -> impl Iterator<Item = &str> {
    rendered
        .split("\n---\n")
        .map(|object| object.trim_start_matches("---\n"))
        .filter(|object| object.contains("\nkind: "))
}

/// The value of `key:` at the beginning of a line.
fn field<'a>(object: &'a str, key: &str) -> &'a str {
    let value = object.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    value.unwrap_or_else(|| panic!("no {key}: {object}"))
}

/// A literal block of a Secret's `stringData`.
fn block(rendered: &str, secret: &str, key: &str) -> Option<String> {
    let object = objects(rendered).find(|object| {
        field(object, "kind") == "Secret" && object.contains(&format!("\n  name: {secret}\n"))
    })?;
    let (_, behind) = object.split_once(&format!("\n  {key}: |\n"))?;
    let lines = behind.lines().take_while(|line| line.starts_with("    ") || line.is_empty());
    Some(lines.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect::<Vec<_>>().join("\n") + "\n")
}

/// Puts a file at each place that a rendered configuration may name, and makes the configuration name them.
fn with_files(config: &str, directory: &Path) -> String {
    let authority = Authority::new("test");
    let (certificate, key) = authority.issue("a");
    for (file, contents) in [
        ("token/token", "not-a-secret"),
        ("tls/tls.crt", &certificate),
        ("tls/tls.key", &key),
        ("tls/ca.crt", &authority.pem),
        ("worker-tls/tls.crt", &certificate),
        ("worker-tls/tls.key", &key),
        ("etcd-tls/tls.crt", &certificate),
        ("etcd-tls/tls.key", &key),
        ("etcd-tls/ca.crt", &authority.pem),
        ("etcd-password/password", "not-a-secret"),
        ("key/key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
        ("config/receiver-token", "not-a-secret"),
        ("config/kubeconfig", "{}"),
        ("service-account", "not-a-secret"),
    ] {
        let path = directory.join(file);
        std::fs::create_dir_all(path.parent().expect("below the directory")).expect("writable");
        std::fs::write(path, contents).expect("writable");
    }
    let token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    config
        .replace(FILES, &directory.to_string_lossy())
        .replace(token, &directory.join("service-account").to_string_lossy())
}

/// `outrigger check config` as a pod of the chart would run it.
fn check_config(config: &str) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let config = with_files(config, directory.path());
    let path = directory.path().join("config/outrigger.yml");
    std::fs::write(&path, config).expect("writable");
    Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .args(["check", "config"])
        .arg(&path)
        .envs([("POD_NAME", "outrigger-worker-0"), ("POD_IP", "fd00::7"), ("POD_ZONE", "")])
        .output()
        .expect("the binary is built")
}

/// An authority of a test.
struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages =
            vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::DigitalSignature];
        let pem = params.self_signed(&key).expect("signed").pem();
        Self { issuer: rcgen::Issuer::new(params, key), pem }
    }

    /// A client's certificate and key.
    fn issue(&self, name: &str) -> (String, String) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        (params.signed_by(&key, &self.issuer).expect("signed").pem(), key.serialize_pem())
    }
}

#[test]
fn the_charts_alerts_are_the_shipped_ones() {
    let of = |path: PathBuf| std::fs::read_to_string(path).expect("readable");
    let (chart, shipped) = (of(chart().join("files/rules.yml")), of(deploy().join("rules/outrigger.yml")));
    assert_eq!(chart, shipped, "copy deploy/rules/outrigger.yml to deploy/helm/outrigger/files/rules.yml");
}

#[test]
fn every_value_set_is_clean_and_gives_valid_configurations() {
    if left_out("the chart") {
        return;
    }
    for (name, values) in value_sets() {
        let (chart, path) = (chart(), values.to_string_lossy().into_owned());
        let lint = helm(&["lint", "--strict", "--quiet", &chart.to_string_lossy(), "--values", &path]);
        assert!(lint.status.success(), "{name}: {}", text(&lint));
        let rendered = rendered(&values);
        let part = if name == "namespaces" { "outrigger-scraper" } else { "outrigger" };
        let master = block(&rendered, &format!("{part}-master-config"), "outrigger.yml").expect("a master");
        let worker = block(&rendered, &format!("{part}-worker-config"), "outrigger.yml");
        assert_eq!(worker.is_some(), name != "namespaces", "{name}");
        for config in worker.iter().chain([&master]) {
            let checked = check_config(config);
            let verdict = text(&checked);
            assert!(checked.status.success(), "{name}: {verdict}\n{config}");
            for word in ["WARNING", "refused", "not acted on"] {
                assert!(!verdict.contains(word), "{name}: {verdict}\n{config}");
            }
        }
    }
}

#[test]
fn values_that_are_wrong_or_do_not_fit_are_refused_with_the_reason() {
    if left_out("the chart's refusals") {
        return;
    }
    let plain = chart().join("ci/plain-values.yaml");
    for (values, part) in [
        ("{image: {repository: ''}}", "image.repository is empty"),
        ("{master: {replicas: 2}}", "set etcd.endpoints"),
        ("{master: {replicas: 3}}", "'/master/replicas'"),
        ("{tls: {mode: secret}}", "tls.secretName is empty"),
        ("{tls: {secretName: a}}", "set tls.mode to secret"),
        ("{tls: {workerSecretName: a}}", "set tls.mode to secret"),
        ("{tls: {mode: certManager}}", "issuerRef.name is empty"),
        ("{tls: {mode: mutual}}", "generated"),
        ("{tls: {mode: none}, web: {tls: true}}", "need a certificate"),
        (
            "{tls: {mode: secret, secretName: a}, externalMetric: {enabled: true}}",
            "externalMetric.caBundle is empty",
        ),
        ("{stateEncryption: {mode: secret}}", "stateEncryption.secretName is empty"),
        ("{autoscaling: {hpa: true, keda: true}}", "keep one of the two"),
        ("{autoscaling: {keda: true}, web: {tls: true}}", "without a certificate"),
        ("{autoscaling: {hpa: true}, worker: {enabled: false}}", "nothing to scale"),
        ("{autoscaling: {hpa: true, min: 9, max: 3}}", "min is greater"),
        ("{etcd: {username: a}}", "etcd.passwordSecretName is empty"),
        ("{config: '- a'}", "config is not a YAML mapping"),
        ("{worker: {replica: 3}}", "replica"),
        ("{worker: {masters: ['10.0.0.5:9441']}}", "'/worker/masters/0'"),
        ("{worker: {replicas: many}}", "'/worker/replicas'"),
        ("{files: {outrigger.yml: a}}", "files has outrigger.yml"),
        ("{files: {a/b: a}}", "'/files'"),
        ("{wrkr: {}}", "wrkr"),
    ] {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), values).expect("writable");
        let output = render(&plain, &["--values", &file.path().to_string_lossy()]);
        let message = text(&output);
        assert!(!output.status.success() && message.contains(part), "{values}: {message}");
    }
}

#[test]
fn the_plain_manifests_are_what_the_chart_renders() {
    if left_out("the plain manifests") {
        return;
    }
    let folder = deploy().join("manifests");
    for (manifest, values) in
        [("outrigger.yaml", "values.yaml"), ("two-masters.yaml", "two-masters-values.yaml")]
    {
        let now = rendered(&folder.join(values));
        let path = folder.join(manifest);
        if std::env::var_os("OUTRIGGER_UPDATE_MANIFESTS").is_some() {
            std::fs::write(&path, &now).expect("writable");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == now,
            "{manifest} is not what the chart renders: set OUTRIGGER_UPDATE_MANIFESTS=1 and look at what changes"
        );
    }
}

/// Kinds of which the rig has no definitions.
fn is_known(object: &str) -> bool {
    !["cert-manager.io/", "keda.sh/"].iter().any(|group| field(object, "apiVersion").starts_with(group))
}

async fn apply(rig: &Rig, manifest: &str, more: &[&str]) -> String {
    let path = rig.dir().join("manifest.yaml");
    std::fs::write(&path, manifest).expect("writable");
    let path = path.to_string_lossy().into_owned();
    let arguments: Vec<&str> = ["apply", "-f", &path].into_iter().chain(more.iter().copied()).collect();
    rig.kubectl(&arguments).await.unwrap_or_else(|error| panic!("{error:#}\n{manifest}"))
}

/// What an account may do beyond what every account may, in a namespace: lines of `kubectl auth can-i --list`.
async fn rights(rig: &Rig, account: &str, namespace: &str) -> BTreeSet<String> {
    let list = async |account: &str| -> BTreeSet<String> {
        let user = format!("--as=system:serviceaccount:{NAMESPACE}:{account}");
        let list =
            rig.kubectl(&["auth", "can-i", "--list", "-n", namespace, &user, "--no-headers"]).await.unwrap();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        list.lines().map(words).filter(|line| !line.is_empty()).collect()
    };
    let everyone = list("nobody-made-this").await;
    list(account).await.difference(&everyone).cloned().collect()
}

/// Waits until an account has exactly these rights: the authorizer learns of new rules a moment after they are made.
async fn until_rights(rig: &Rig, account: &str, namespace: &str, expected: &BTreeSet<String>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let have = rights(rig, account, namespace).await;
        if have == *expected {
            return;
        }
        assert!(Instant::now() < deadline, "{account} in {namespace}: {have:#?}, expected {expected:#?}");
        sleep(Duration::from_millis(200)).await;
    }
}

fn set(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// Installs the prometheus-operator's definitions.
async fn install_operator_kinds(rig: &Rig) {
    let folder = rig.operator_manifests().expect("prometheus-operator is built").display().to_string();
    rig.kubectl(&["apply", "--server-side", "-f", &folder]).await.unwrap();
    let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    rig.kubectl(&established).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_api_server_takes_what_is_rendered_and_the_accounts_may_do_no_more_than_they_need() {
    if left_out("the chart at a real API server") {
        return;
    }
    let rig = Rig::up(&[Component::Kwok], Options::default()).await.unwrap();
    rig.kubectl(&["create", "namespace", NAMESPACE]).await.unwrap();
    let restricted = ["label", "namespace", NAMESPACE, "pod-security.kubernetes.io/warn=restricted"];
    rig.kubectl(&restricted).await.unwrap();
    install_operator_kinds(&rig).await;
    let read = |path: &str| std::fs::read_to_string(deploy().join(path)).expect("readable");
    let mut manifests: Vec<(String, String)> =
        value_sets().into_iter().map(|(name, values)| (name, rendered(&values))).collect();
    manifests.push(("outrigger.yaml".to_owned(), read("manifests/outrigger.yaml")));
    manifests.push(("two-masters.yaml".to_owned(), read("manifests/two-masters.yaml")));
    for (name, manifest) in &manifests {
        let known: Vec<&str> = objects(manifest).filter(|object| is_known(object)).collect();
        let all = objects(manifest).count();
        let left = all - known.len();
        assert!(known.len() > 8 && left <= 1, "{name}: {left} of {all} left out");
        let manifest = known.join("\n---\n");
        // The host's network is beyond the restricted profile; everything else is within.
        let dry: &[&str] = match name.as_str() {
            "keda" => &["--dry-run=server", "--validate=strict"],
            _ => &["--dry-run=server", "--validate=strict", "--warnings-as-errors"],
        };
        apply(&rig, &manifest, dry).await;
        apply(&rig, &manifest, &["--validate=strict"]).await;
        let part = if name == "namespaces" { "outrigger-scraper" } else { "outrigger" };
        let master = format!("{part}-master");
        let here = expected_rights(name);
        until_rights(&rig, &master, NAMESPACE, &here).await;
        until_rights(&rig, "outrigger-worker", NAMESPACE, &BTreeSet::new()).await;
        match name.as_str() {
            "namespaces" => {
                let mut there = here;
                for resource in ["endpoints", "jobs.batch", "pods", "services"] {
                    there.insert(format!("{resource} [] [] [list watch]"));
                }
                until_rights(&rig, &master, "kube-public", &there).await;
            }
            "operator" => {
                let mut elsewhere = here;
                elsewhere.retain(|right| !right.starts_with("secrets") && !right.starts_with("configmaps"));
                until_rights(&rig, &master, "kube-system", &elsewhere).await;
            }
            _ => {}
        }
        let path = rig.dir().join("manifest.yaml").display().to_string();
        rig.kubectl(&["delete", "--wait=false", "-f", &path]).await.unwrap();
    }
}

fn expected_rights(name: &str) -> BTreeSet<String> {
    match name {
        "plain" => set(&[
            "nodes [] [] [list watch]",
            "pods [] [] [list watch]",
            "replicasets.apps [] [] [list watch]",
        ]),
        "two-masters" => set(&[
            "endpointslices.discovery.k8s.io [] [] [list watch]",
            "namespaces [] [] [list watch]",
            "pods [] [] [list watch]",
            "services [] [] [list watch]",
        ]),
        "operator" => set(&[
            "configmaps [] [] [get]",
            "endpoints [] [] [list watch]",
            "events.events.k8s.io [] [] [create]",
            "ingresses.networking.k8s.io [] [] [list watch]",
            "namespaces [] [] [list watch]",
            "nodes [] [] [list watch]",
            "podmonitors.monitoring.coreos.com [] [] [list watch]",
            "pods [] [] [list watch]",
            "probes.monitoring.coreos.com [] [] [list watch]",
            "secrets [] [] [get]",
            "servicemonitors.monitoring.coreos.com [] [] [list watch]",
            "services [] [] [list watch]",
        ]),
        "cert-manager" => set(&["services [] [] [list watch]"]),
        "external-metric" => set(&["nodes [] [] [list watch]"]),
        "keda" => set(&["ingresses.networking.k8s.io [] [] [list watch]"]),
        "namespaces" => set(&[
            "[/metrics] [] [get]",
            "nodes [] [] [list watch]",
            "nodes/metrics [] [] [get]",
            "nodes/proxy [] [] [get]",
        ]),
        "outrigger.yaml" | "two-masters.yaml" => set(&["pods [] [] [list watch]"]),
        other => panic!("no rights are expected of {other}: add them"),
    }
}

/// A kubeconfig with a token that the API server gave for a service account.
async fn kubeconfig_of(rig: &Rig, account: &str) -> PathBuf {
    let token = rig.kubectl(&["create", "token", account, "-n", NAMESPACE, "--duration=1h"]).await.unwrap();
    let path = rig.dir().join(format!("{account}.kubeconfig"));
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: a, contexts: [{{name: a, context: {{cluster: a, user: a, namespace: {NAMESPACE}}}}}],\n\
         clusters: [{{name: a, cluster: {{server: \"{}\", certificate-authority: {}}}}}], users: [{{name: a, user: {{token: {}}}}}]}}\n",
        rig.apiserver_url().unwrap(),
        rig.authority_file().display(),
        token.trim(),
    );
    std::fs::write(&path, text).expect("writable");
    path
}

/// Starts a master with the configuration of a rendered chart, on addresses of this machine.
async fn start_master(rig: &Rig, rendered: &str, more: &[&str], listen: &str) -> Outrigger {
    let directory = tempfile::tempdir().expect("a directory");
    let config = block(rendered, "outrigger-master-config", "outrigger.yml").expect("a master");
    let config = format!("\n{}", with_files(&config, directory.path()));
    let kubeconfig = kubeconfig_of(rig, "outrigger-master").await;
    let config =
        config.replace("0.0.0.0:9441", "127.0.0.1:0").replace("${POD_NAME}", "outrigger-master-0").replace(
            "\noutrigger:\n",
            &format!("\noutrigger:\n  kubernetes: {{kubeconfig: {}}}\n", kubeconfig.display()),
        );
    assert!(config.contains("kubeconfig: "), "{config}");
    let (file, data) = (directory.path().join("config/outrigger.yml"), directory.path().join("data"));
    std::fs::write(&file, config).expect("writable");
    let (file, data) = (file.to_string_lossy().into_owned(), data.to_string_lossy().into_owned());
    let arguments = ["master", "--config", &file, "--data-dir", &data, "--listen", listen];
    Outrigger::start(directory, &arguments.into_iter().chain(more.iter().copied()).collect::<Vec<_>>()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_with_its_accounts_token_sees_all_that_its_jobs_ask_for() {
    if left_out("a master with its own account") {
        return;
    }
    let rig = Rig::up(&[Component::Kwok], Options::default()).await.unwrap();
    rig.kubectl(&["create", "namespace", NAMESPACE]).await.unwrap();
    install_operator_kinds(&rig).await;
    rig.fill(&FillPlan { nodes: 5, pods: 50, ..FillPlan::default() }).await.unwrap();
    for (set, resources) in [
        ("plain", &["nodes", "pods", "replicasets"][..]),
        ("operator", &["servicemonitors", "podmonitors", "probes"][..]),
    ] {
        let rendered = rendered(&chart().join(format!("ci/{set}-values.yaml")));
        apply(&rig, &rendered, &[]).await;
        if set == "operator" {
            apply(&rig, MONITOR, &[]).await;
        }
        let before = rig.audit_events().unwrap().len();
        let master = start_master(&rig, &rendered, &[], "127.0.0.1:0").await;
        let overview = "/api/outrigger/v1/overview";
        if set == "plain" {
            let seen =
                master.until(overview, "the watches", |view| watches(view).len() == resources.len()).await;
            assert_eq!(watches(&seen), BTreeSet::from_iter(resources.iter().map(|name| (*name).to_owned())));
        }
        let deadline = Instant::now() + PATIENCE;
        while master.request("GET", "/-/ready").await.0 != 200 {
            assert!(Instant::now() < deadline, "{set}: not ready: {:#?}", master.log_tail());
            sleep(Duration::from_millis(100)).await;
        }
        if set == "operator" {
            // The bad reference becomes an Event: the Secret was asked for, and the account may create Events.
            until_event(&rig).await;
        }
        assert!(master.stop().await.success());
        let account = format!("system:serviceaccount:{NAMESPACE}:outrigger-master");
        let events = &rig.audit_events().unwrap()[before..];
        let ours: Vec<&Value> = events.iter().filter(|event| event["user"]["username"] == account).collect();
        let asked: BTreeSet<&str> =
            ours.iter().filter_map(|event| event["objectRef"]["resource"].as_str()).collect();
        assert!(resources.iter().all(|resource| asked.contains(resource)), "{set}: {asked:?}");
        let forbidden: Vec<&&Value> =
            ours.iter().filter(|event| event["responseStatus"]["code"] == 403).collect();
        assert!(forbidden.is_empty(), "{set}: {forbidden:#?}");
    }
}

/// The resources that are watched and were listed.
fn watches(overview: &Value) -> BTreeSet<String> {
    let clusters = overview["clusters"].as_array().into_iter().flatten();
    let watches = clusters.flat_map(|cluster| cluster["watches"].as_array().into_iter().flatten());
    watches
        .filter(|watch| watch["synced"] == true)
        .filter_map(|watch| Some(watch["resource"].as_str()?.to_owned()))
        .collect()
}

/// Names a Secret that is not there.
const MONITOR: &str = "apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: broken, namespace: outrigger}
spec:
  selector: {}
  endpoints:
  - port: web
    authorization: {credentials: {name: not-there, key: token}}
";

async fn until_event(rig: &Rig) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let list =
            rig.kubectl(&["get", "events.events.k8s.io", "-n", NAMESPACE, "-o", "json"]).await.unwrap();
        let list: Value = serde_json::from_str(&list).unwrap();
        let events = list["items"].as_array().into_iter().flatten();
        if events.into_iter().any(|event| event["regarding"]["name"] == "broken") {
            return;
        }
        assert!(Instant::now() < deadline, "no event: {list:#}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// What a Secret in the cluster holds.
async fn secret(rig: &Rig, name: &str) -> BTreeMap<String, String> {
    let text = rig.kubectl(&["get", "secret", name, "-n", NAMESPACE, "-o", "json"]).await.unwrap();
    let secret: Value = serde_json::from_str(&text).unwrap();
    let decoded = |value: &Value| {
        let bytes = STANDARD.decode(value.as_str().expect("base64")).expect("base64");
        String::from_utf8(bytes).expect("text")
    };
    let data = secret["data"].as_object().into_iter().flatten();
    data.map(|(key, value)| (key.clone(), decoded(value))).collect()
}

/// Starts what a pod of an installed release would run, with the release's own Secrets.
async fn start_installed(rig: &Rig, role: &str, edit: impl Fn(String) -> String) -> Outrigger {
    let directory = tempfile::tempdir().expect("a directory");
    let config =
        secret(rig, &format!("outrigger-{role}-config")).await.remove("outrigger.yml").expect("there");
    for (name, folder) in
        [("outrigger-worker-token", "token"), ("outrigger-centre-tls", "tls"), ("outrigger-state-key", "key")]
    {
        std::fs::create_dir_all(directory.path().join(folder)).expect("writable");
        for (key, contents) in secret(rig, name).await {
            // A worker's pod does not get the masters' key.
            if role == "master" || key != "tls.key" {
                std::fs::write(directory.path().join(folder).join(key), contents).expect("writable");
            }
        }
    }
    let config = edit(config.replace(FILES, &directory.path().to_string_lossy()));
    let (file, data) = (directory.path().join("outrigger.yml"), directory.path().join("data"));
    std::fs::write(&file, config).expect("writable");
    let (file, data) = (file.to_string_lossy().into_owned(), data.to_string_lossy().into_owned());
    Outrigger::start(directory, &[role, "--config", &file, "--data-dir", &data, "--listen", "127.0.0.1:0"])
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_helm_installs_scrapes_and_sends_and_an_upgrade_keeps_its_secrets() {
    if left_out("an installation by helm") {
        return;
    }
    let rig = Rig::up(&[Component::Kwok, Component::PrometheusReceiver], Options::default()).await.unwrap();
    let receiver = rig.url(Component::PrometheusReceiver).unwrap().to_owned();
    let values = rig.dir().join("values.yaml");
    let address = receiver.trim_start_matches("http://");
    let text = format!(
        "image: {{repository: registry.example/outrigger}}\n\
         config:\n  global: {{scrape_interval: 1s}}\n  scrape_configs:\n  - job_name: receiver\n    static_configs: [{{targets: ['{address}']}}]\n  \
         - job_name: nodes\n    kubernetes_sd_configs: [{{role: node}}]\n  remote_write: [{{url: '{receiver}/api/v1/write'}}]\n"
    );
    std::fs::write(&values, text).expect("writable");
    let (chart, values) = (chart().to_string_lossy().into_owned(), values.to_string_lossy().into_owned());
    let release = ["outrigger", &chart, "--namespace", NAMESPACE, "--values", &values];
    let helm = |verb: &[&str], more: &[&str]| {
        let arguments: Vec<&str> = verb.iter().chain(&release).chain(more).copied().collect();
        let output = helm_at(&rig.kubeconfig(), &arguments);
        assert!(output.status.success(), "{verb:?}: {}", self::text(&output));
        self::text(&output)
    };
    let notes = helm(&["install"], &["--create-namespace"]);
    assert!(notes.contains("1 master and 2 workers in namespace outrigger"), "{notes}");
    let made = ["outrigger-worker-token", "outrigger-centre-tls", "outrigger-state-key"];
    let mut before = Vec::new();
    for name in made {
        before.push(secret(&rig, name).await);
    }
    helm(&["upgrade"], &["--set", "worker.replicas=3", "--set", "config.global.scrape_interval=2s"]);
    for (name, before) in made.into_iter().zip(before) {
        assert!(
            !before.is_empty() && before == secret(&rig, name).await,
            "{name} is another one after the upgrade"
        );
    }
    let replicas =
        ["get", "statefulset", "outrigger-worker", "-n", NAMESPACE, "-o", "jsonpath={.spec.replicas}"];
    assert_eq!(rig.kubectl(&replicas).await.unwrap(), "3");

    let kubeconfig = kubeconfig_of(&rig, "outrigger-master").await;
    let master = start_installed(&rig, "master", |config| {
        let config =
            config.replace("0.0.0.0:9441", "127.0.0.1:0").replace("${POD_NAME}", "outrigger-master-0");
        let access = format!("\noutrigger:\n  kubernetes: {{kubeconfig: {}}}\n", kubeconfig.display());
        config.replace("\noutrigger:\n", &access)
    })
    .await;
    let bound = master.logged("config centre listening", "address").expect("it says where");
    // The name in the certificate stays; only the way there is this machine's.
    let name = format!("outrigger-master-0.outrigger-centre.{NAMESPACE}.svc.cluster.local");
    let connect = |config: String| {
        assert!(config.contains(&format!("https://{name}:9441")), "{config}");
        config
            .replace(&format!("https://{name}:9441"), &format!("https://{bound}"))
            .replace("tls_config:\n", &format!("tls_config:\n      server_name: {name}\n"))
            .replace("${POD_NAME}", "outrigger-worker-0")
            .replace("${POD_IP}:9440", "127.0.0.1:1")
            .replace("${POD_ZONE}", "")
    };
    let worker = start_installed(&rig, "worker", connect).await;
    let api = rig.client(Component::PrometheusReceiver).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while api.get("/api/v1/query?query=up%7Bjob%3D%22receiver%22%7D").await.unwrap()["data"]["result"][0]["value"]
        [1]
        != "1"
    {
        assert!(
            Instant::now() < deadline,
            "nothing arrives: {:#?} {:#?}",
            master.log_tail(),
            worker.log_tail()
        );
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(worker.request("GET", "/-/ready").await.0, 200);
    // Another token is not let in.
    let stranger = start_installed(&rig, "worker", |config| {
        let token =
            config.lines().find_map(|line| line.trim().strip_prefix("credentials_file: ")).expect("a token");
        std::fs::write(token, "another").expect("writable");
        connect(config.clone()).replace("outrigger-worker-0", "outrigger-worker-1")
    })
    .await;
    let deadline = Instant::now() + PATIENCE;
    while !stranger
        .log_tail()
        .iter()
        .any(|line| line.to_lowercase().contains("unauthenticated") || line.contains("token"))
    {
        assert!(Instant::now() < deadline, "{:#?}", stranger.log_tail());
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(stranger.request("GET", "/-/ready").await.0, 503);
    assert!(worker.stop().await.success());
    assert!(master.stop().await.success());
}

/// An address of the range that the rig routes to this machine, where the API server may look for a service.
const MASTER_ADDRESS: &str = "198.19.250.7";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_server_serves_the_wanted_number_of_workers_as_an_external_metric() {
    if left_out("the external metric") {
        return;
    }
    let keys = tempfile::tempdir().expect("a directory");
    let proxies = Authority::new("front proxies");
    let (certificate, key) = proxies.issue("aggregator");
    let file = |name: &str, text: &str| {
        let path = keys.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path.display().to_string()
    };
    let authority_file = file("proxies.crt", &proxies.pem);
    let arguments = [
        format!("--requestheader-client-ca-file={authority_file}"),
        "--requestheader-allowed-names=aggregator".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        format!("--proxy-client-cert-file={}", file("aggregator.crt", &certificate)),
        format!("--proxy-client-key-file={}", file("aggregator.key", &key)),
        "--enable-aggregator-routing=true".to_owned(),
    ];
    let arguments = arguments.into_iter().map(|argument| (Component::KubeApiserver, argument)).collect();
    let rig = Rig::up(&[Component::Kwok], Options { arguments, ..Options::default() }).await.unwrap();
    if !rig.is_routed() {
        eprintln!("not run: the external metric through the API server needs root and iproute2");
        return;
    }
    rig.kubectl(&["create", "namespace", NAMESPACE]).await.unwrap();
    // Only the aggregator has a certificate of this authority.
    let values = file(
        "values.yaml",
        &format!("web: {{clientCA: {}}}\n", serde_json::to_string(&proxies.pem).unwrap()),
    );
    let output = render(&chart().join("ci/external-metric-values.yaml"), &["--values", &values]);
    assert!(output.status.success(), "{}", text(&output));
    let rendered = String::from_utf8(output.stdout).unwrap();
    apply(&rig, &rendered, &[]).await;
    let made = secret(&rig, "outrigger-centre-tls").await;
    let of = |key: &str| file(key, &made[key]);
    let (certificate, key) = (of("tls.crt"), of("tls.key"));
    let tls =
        ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-client-ca-file", &authority_file];
    let master = start_master(&rig, &rendered, &tls, &format!("{MASTER_ADDRESS}:0")).await;
    let address = master.url("");
    let port: u16 = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    // Nothing in the rig makes endpoints of a service.
    let slice = format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, ports: [{{name: web, port: {port}, protocol: TCP}}],\n\
         metadata: {{name: outrigger-1, namespace: {NAMESPACE}, labels: {{kubernetes.io/service-name: outrigger}}}},\n\
         endpoints: [{{addresses: [{MASTER_ADDRESS}], conditions: {{ready: true}}}}]}}\n"
    );
    apply(&rig, &slice, &[]).await;
    let available =
        ["wait", "--for=condition=Available", "apiservice/v1beta1.external.metrics.k8s.io", "--timeout=90s"];
    rig.kubectl(&available).await.unwrap_or_else(|error| panic!("{error:#}: {:#?}", master.log_tail()));
    let path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/outrigger_workers_desired";
    let deadline = Instant::now() + PATIENCE;
    let list: Value = loop {
        match rig.kubectl(&["get", "--raw", path]).await {
            Ok(answer) => break serde_json::from_str(&answer).unwrap(),
            Err(error) => assert!(Instant::now() < deadline, "{error:#}"),
        }
        sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(list["kind"], "ExternalMetricValueList");
    assert_eq!(list["items"][0]["metricName"], "outrigger_workers_desired");
    let value: u64 =
        list["items"][0]["value"].as_str().and_then(|value| value.parse().ok()).expect("a number");
    assert!(value >= 1, "{list:#}");
    let resources =
        rig.kubectl(&["api-resources", "--api-group=external.metrics.k8s.io", "--no-headers"]).await.unwrap();
    assert!(resources.contains("ExternalMetricValueList"), "{resources}");
    let refused =
        rig.kubectl(&["get", "--raw", &path.replace("workers_desired", "x")]).await.unwrap_err().to_string();
    assert!(refused.contains("the only external metric here is outrigger_workers_desired"), "{refused}");
    // Whoever lacks the aggregator's certificate gets no answer.
    let direct = format!("--server=https://{MASTER_ADDRESS}:{port}");
    let skip = ["get", "--raw", path, &direct, "--insecure-skip-tls-verify=true"];
    let error = rig.kubectl(&skip).await.unwrap_err().to_string();
    assert!(error.contains("certificate") || error.contains("tls"), "{error}");
}

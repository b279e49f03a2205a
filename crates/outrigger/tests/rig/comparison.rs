//! The same configuration on a real Prometheus: the same targets, the same labels, the same samples.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};
use xtask::rig::{Component, FillPlan, Options, Rig, User};

use crate::harness::{Outrigger, PATIENCE};
use crate::left_out;

/// Values that both must read alike, however odd.
const TEXTFILE: &str = "\
# HELP odd_values Values that are written in several ways.
# TYPE odd_values gauge
odd_values{form=\"inf\"} +Inf
odd_values{form=\"negative\"} -0.000125
odd_values{form=\"large\"} 1.7976931348623157e308
odd_values{form=\"quote \\\"and\\\\ newline\\n\"} 42
";

const FILL: FillPlan = FillPlan {
    nodes: 1000,
    pods: 20_000,
    replicas: 20,
    namespaces: 20,
    jobs: 20,
    exporters: true,
    pod_network: None,
};

/// Scrape configurations with all six roles. Services and ingresses have no address that could be scraped here, so
/// relabelling sends them to a node_exporter.
fn scrape_configs(kubeconfig: &str, exporter: &str) -> String {
    format!(
        r#"
global: {{scrape_interval: 3s, scrape_timeout: 2s}}
scrape_configs:
- job_name: pods
  kubernetes_sd_configs: [{{role: pod, kubeconfig_file: {kubeconfig}, namespaces: {{names: [monitoring]}}}}]
  relabel_configs:
  - {{action: labelmap, regex: __meta_kubernetes_pod_label_(.+)}}
  - {{source_labels: [__meta_kubernetes_pod_name], target_label: pod}}
- job_name: sampled-pods
  kubernetes_sd_configs:
  - {{role: pod, kubeconfig_file: {kubeconfig}, attach_metadata: {{node: true, namespace: true, deployment: true, job: true, cronjob: true}}}}
  relabel_configs:
  - {{source_labels: [__meta_kubernetes_pod_uid], modulus: 100, target_label: __tmp_sample, action: hashmod}}
  - {{source_labels: [__tmp_sample], regex: "7", action: keep}}
  - {{source_labels: [__meta_kubernetes_pod_container_port_number], regex: .+, action: keep}}
  - {{source_labels: [__meta_kubernetes_node_label_topology_kubernetes_io_zone], target_label: zone}}
- job_name: selected-pods
  kubernetes_sd_configs:
  - {{role: pod, kubeconfig_file: {kubeconfig}, selectors: [{{role: pod, label: "app.kubernetes.io/name=node-exporter", field: "status.phase=Running"}}]}}
  params: {{"collect[]": [textfile, uname]}}
- job_name: nodes
  kubernetes_sd_configs: [{{role: node, kubeconfig_file: {kubeconfig}}}]
  relabel_configs:
  - {{source_labels: [__meta_kubernetes_node_label_type], regex: live, action: keep}}
  - {{action: labelmap, regex: __meta_kubernetes_node_label_(topology.+)}}
- job_name: services
  kubernetes_sd_configs: [{{role: service, kubeconfig_file: {kubeconfig}}}]
  relabel_configs:
  - {{source_labels: [__meta_kubernetes_service_name, __meta_kubernetes_namespace], modulus: 50, target_label: __tmp_sample, action: hashmod}}
  - {{source_labels: [__tmp_sample], regex: "3", action: keep}}
  - {{source_labels: [__address__], target_label: service_address}}
  - {{target_label: __address__, replacement: "{exporter}"}}
  params: {{"collect[]": [textfile]}}
- job_name: endpoints
  kubernetes_sd_configs: [{{role: endpoints, kubeconfig_file: {kubeconfig}, namespaces: {{names: [monitoring]}}}}]
- job_name: slices
  kubernetes_sd_configs: [{{role: endpointslice, kubeconfig_file: {kubeconfig}, namespaces: {{names: [monitoring, team-01]}}, attach_metadata: {{node: true}}}}]
  relabel_configs:
  - {{source_labels: [__meta_kubernetes_namespace, __address__], modulus: 10, target_label: __tmp_sample, action: hashmod}}
  - {{source_labels: [__meta_kubernetes_namespace, __tmp_sample], regex: "monitoring;.*|team-01;1", action: keep}}
- job_name: ingresses
  kubernetes_sd_configs: [{{role: ingress, kubeconfig_file: {kubeconfig}}}]
  relabel_configs:
  - {{source_labels: [__address__], modulus: 20, target_label: __tmp_sample, action: hashmod}}
  - {{source_labels: [__tmp_sample], regex: "5", action: keep}}
  - {{source_labels: [__address__, __meta_kubernetes_ingress_path], separator: "", target_label: ingress}}
  - {{target_label: __address__, replacement: "{exporter}"}}
  - {{target_label: __scheme__, replacement: http}}
  params: {{"collect[]": [textfile]}}
"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_labels_and_samples_equal_those_of_prometheus() {
    if left_out("the comparison with Prometheus") {
        return;
    }
    let components =
        [Component::Kwok, Component::PrometheusReceiver, Component::Prometheus, Component::NodeExporter];
    let mut rig = Rig::up(&components, Options { node_exporters: 3, ..Options::default() }).await.unwrap();
    for index in 0..3 {
        std::fs::write(rig.exporter_textfiles(index).join("odd.prom"), TEXTFILE).unwrap();
    }
    let report = rig.fill(&FILL).await.unwrap();
    println!("filled with {} objects in {:?}", report.objects, report.took);

    let kubeconfig = rig.kubeconfig_of(User::Prometheus).display().to_string();
    let exporter = rig.exporters()[0].to_string();
    let config = scrape_configs(&kubeconfig, &exporter);
    rig.configure(Component::Prometheus, &config).unwrap();
    let receiver = rig.url(Component::PrometheusReceiver).unwrap().to_owned();
    let outrigger =
        Outrigger::run(&format!("{config}\nremote_write: [{{url: \"{receiver}/api/v1/write\"}}]\n")).await;

    let ours = until_the_same_targets(&rig, &outrigger).await;
    println!("{} targets are the same", ours.len());
    let per_job = |job: &str| ours.keys().filter(|key| key.0 == job).count();
    for job in ["pods", "sampled-pods", "selected-pods", "nodes", "services", "ingresses"] {
        assert!(per_job(job) > 0, "job {job} has no target");
    }
    if rig.is_routed() {
        assert!(per_job("endpoints") > 0 && per_job("slices") > 0);
    }
    samples_are_equal(&rig).await;
    assert!(outrigger.stop().await.success());
}

/// Job and labels after relabelling.
type TargetKey = (String, BTreeMap<String, String>);

/// What is compared of a target besides its key.
type TargetFacts = (String, BTreeMap<String, String>, String);

fn targets(answer: &Value) -> BTreeMap<TargetKey, TargetFacts> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let active = answer["data"]["activeTargets"].as_array().unwrap();
    active
        .iter()
        .map(|target| {
            let key = (text(&target["scrapePool"]), labels_of(&target["labels"]));
            let facts =
                (text(&target["scrapeUrl"]), labels_of(&target["discoveredLabels"]), text(&target["health"]));
            (key, facts)
        })
        .collect()
}

/// Waits until both have scraped the same targets with the same outcome; what differs at the end of the patience is
/// the failure.
async fn until_the_same_targets(rig: &Rig, outrigger: &Outrigger) -> BTreeMap<TargetKey, TargetFacts> {
    let prometheus = rig.client(Component::Prometheus).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let theirs_answer = prometheus.get("/api/v1/targets").await.unwrap();
        let ours_answer = outrigger.json("/api/v1/targets").await;
        let (theirs, ours) = (targets(&theirs_answer), targets(&ours_answer));
        let scraped = ours.values().all(|(_, _, health)| health != "unknown");
        let dropped = |answer: &Value| answer["data"]["droppedTargetCounts"].clone();
        if !theirs.is_empty() && theirs == ours && scraped && dropped(&theirs_answer) == dropped(&ours_answer)
        {
            return ours;
        }
        if Instant::now() > deadline {
            println!("dropped: {} and {}", dropped(&theirs_answer), dropped(&ours_answer));
            explain(&theirs, &ours);
            panic!("Prometheus has {} targets, Outrigger {}", theirs.len(), ours.len());
        }
        sleep(Duration::from_millis(500)).await;
    }
}

fn explain(theirs: &BTreeMap<TargetKey, TargetFacts>, ours: &BTreeMap<TargetKey, TargetFacts>) {
    for key in theirs.keys().filter(|key| !ours.contains_key(*key)).take(5) {
        println!("only Prometheus: {key:#?}");
    }
    for key in ours.keys().filter(|key| !theirs.contains_key(*key)).take(5) {
        println!("only Outrigger: {key:#?}");
    }
    for (key, facts) in
        ours.iter().filter(|(key, facts)| theirs.get(*key).is_some_and(|f| f != *facts)).take(5)
    {
        println!("{key:?} differs:\nPrometheus {:#?}\nOutrigger {facts:#?}", theirs[key]);
    }
}

/// Series with their value, as text, of an instant query.
async fn query(
    rig: &Rig,
    component: Component,
    expression: &str,
) -> BTreeMap<BTreeMap<String, String>, String> {
    let path = format!("/api/v1/query?query={}", encode(expression));
    let answer = rig.client(component).unwrap().get(&path).await.unwrap();
    let result = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{answer}"));
    result
        .iter()
        .map(|series| (labels_of(&series["metric"]), series["value"][1].as_str().unwrap().to_owned()))
        .collect()
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Every series of one is there at the other, with the same value where it does not move.
async fn samples_are_equal(rig: &Rig) {
    let all = r#"{__name__=~".+", job=~".+", __name__!~"scrape_duration_seconds"}"#;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let theirs = query(rig, Component::Prometheus, all).await;
        let ours = query(rig, Component::PrometheusReceiver, all).await;
        let (their_names, our_names): (BTreeSet<_>, BTreeSet<_>) =
            (theirs.keys().collect(), ours.keys().collect());
        // A value is compared where neither side saw it move.
        let their_still = standing_still(rig, Component::Prometheus).await;
        let our_still = standing_still(rig, Component::PrometheusReceiver).await;
        let compared: Vec<_> = theirs
            .iter()
            .filter(|(labels, _)| their_still.contains(*labels) && our_still.contains(*labels))
            .collect();
        let unequal: Vec<_> = compared
            .iter()
            .filter(|(labels, value)| ours.get(*labels) != Some(value))
            .take(5)
            .map(|(labels, value)| {
                format!("{labels:?}: Prometheus {value}, Outrigger {:?}", ours.get(*labels))
            })
            .collect();
        if their_names == our_names && unequal.is_empty() && compared.len() > 1000 {
            println!(
                "{} series are the same, {} of them with a value that stands still",
                theirs.len(),
                compared.len()
            );
            return;
        }
        if Instant::now() > deadline {
            for labels in their_names.difference(&our_names).take(5) {
                println!("only Prometheus: {labels:?}");
            }
            for labels in our_names.difference(&their_names).take(5) {
                println!("only Outrigger: {labels:?}");
            }
            panic!(
                "{} and {} series, {} compared, unequal: {unequal:#?}",
                theirs.len(),
                ours.len(),
                compared.len()
            );
        }
        sleep(Duration::from_secs(2)).await;
    }
}

/// Series that had one value only in the last scrapes.
async fn standing_still(rig: &Rig, component: Component) -> BTreeSet<BTreeMap<String, String>> {
    let path = format!("/api/v1/query?query={}", encode(r#"{__name__=~".+", job=~".+"}[12s]"#));
    let answer = rig.client(component).unwrap().get(&path).await.unwrap();
    let result = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{answer}"));
    result
        .iter()
        .filter(|series| {
            let values = series["values"].as_array().unwrap();
            values.len() > 1 && values.iter().all(|value| value[1] == values[0][1])
        })
        .map(|series| labels_of(&series["metric"]))
        .collect()
}

fn labels_of(metric: &Value) -> BTreeMap<String, String> {
    let labels = metric.as_object().unwrap().iter();
    labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

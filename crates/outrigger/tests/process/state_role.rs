//! State metrics as a part of `outrigger run`: one watch for both readers, served and sent.

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger_model::sample::is_stale_nan;

use crate::fleet::{directory, master};
use crate::harness::{Outrigger, PATIENCE, Scene};
use crate::run::{NODES_AND_PODS, OVERVIEW, up};

/// The scene's configuration with a `state_metrics` section and kube-state-metrics' own file beside it.
fn config(scene: &Scene, push: &str) -> String {
    let file = scene.directory.path().join("state-metrics.yaml");
    std::fs::write(&file, "resources: {pods: {}, nodes: {}, services: {}, configmaps: {}}\n")
        .expect("written");
    let section = format!("outrigger: {{state_metrics: {{config_file: {}, {push}}}, ", file.display());
    scene.config(NODES_AND_PODS).replace("outrigger: {", &section)
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

/// The last value of a pod's `kube_pod_info`, if any came.
fn last_info(scene: &Scene, pod: &str) -> Option<f64> {
    let series = scene.receiver.series();
    let info = series.iter().find(|(labels, _)| {
        labels.get("__name__") == Some("kube_pod_info") && labels.get("pod") == Some(pod)
    });
    info.and_then(|(_, samples)| samples.last().map(|sample| sample.value))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_metrics_are_served_and_sent_from_the_watches_of_discovery() {
    let mut scene = Scene::start(3, 40).await;
    let push = "push: {changes_only: true, refresh_interval: 10s, labels: {site: s}}";
    let outrigger = Outrigger::run(&config(&scene, push)).await;
    outrigger.until(OVERVIEW, "nodes up", |v| up(v, "nodes") == 3).await;
    until("ready", async || outrigger.request("GET", "/-/ready").await.0 == 200).await;

    let (status, text) = outrigger.request("GET", "/state-metrics/metrics").await;
    assert_eq!(status, 200, "{text}");
    let count = |text: &str, prefix: &str| text.lines().filter(|line| line.starts_with(prefix)).count();
    assert_eq!((count(&text, "kube_pod_info{"), count(&text, "kube_node_info{")), (40, 3));
    let (_, nodes) = outrigger.request("GET", "/state-metrics/metrics?resources=nodes").await;
    assert_eq!((count(&nodes, "kube_pod_info{"), count(&nodes, "kube_node_info{")), (0, 3));
    let mut sharded = 0;
    for shard in ["0", "1"] {
        let path = format!("/state-metrics/shards/{shard}/2/metrics");
        sharded += count(&outrigger.request("GET", &path).await.1, "kube_pod_info{");
    }
    assert_eq!(sharded, 40);

    let mut watched: BTreeMap<String, usize> = BTreeMap::new();
    for request in scene.server.requests().into_iter().filter(|request| request.verb != "version") {
        *watched.entry(request.path).or_default() += 1;
    }
    for path in ["/api/v1/pods", "/api/v1/nodes", "/api/v1/services", "/api/v1/configmaps"] {
        assert_eq!(watched.get(path), Some(&1), "{watched:?}");
    }

    // What changes is sent at once, what is gone is marked stale, the rest is said again.
    let gone = "app-0000-5d8c9-000000";
    until("all pods sent", async || last_info(&scene, gone).is_some()).await;
    scene.population.replace_pod(0);
    let new = "app-0000-5d8c9-000040";
    until("the new pod", async || last_info(&scene, new) == Some(1.0)).await;
    until("the stale marker", async || last_info(&scene, gone).is_some_and(is_stale_nan)).await;
    let again = |samples: usize| samples >= 2;
    until("everything again", async || {
        let series = scene.receiver.series();
        let mut node_info = series.iter().filter(|(labels, _)| {
            labels.get("__name__") == Some("kube_node_info") && labels.get("site") == Some("s")
        });
        node_info.clone().count() == 3 && node_info.all(|(_, samples)| again(samples.len()))
    })
    .await;
    assert_eq!(scene.receiver.malformed(), 0);

    // What cannot be changed while it runs is said.
    outrigger.write_config(&config(&scene, "push: {interval: 5s}"));
    let (status, text) = outrigger.request("POST", "/-/reload").await;
    assert_eq!(status, 500);
    assert!(text.contains("outrigger.state_metrics has changed: restart for that"), "{text}");
    assert!(outrigger.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leading_master_serves_and_sends_state_metrics() {
    let scene = Scene::start(3, 40).await;
    let section = "centre: {listen: \"127.0.0.1:0\", name: m-0}, state_metrics: {push: {interval: 1s}}";
    let lead = master(&scene, directory(), section).await;
    let served = async || {
        let (status, text) = lead.request("GET", "/state-metrics/metrics?resources=pods").await;
        status == 200 && text.lines().filter(|line| line.starts_with("kube_pod_info{")).count() == 40
    };
    until("served by the leader", served).await;
    let pod = "app-0000-5d8c9-000000";
    until("sent by the leader", async || last_info(&scene, pod) == Some(1.0)).await;
    let series = scene.receiver.series();
    let of_master = series.keys().filter(|labels| {
        labels.get("__name__") == Some("kube_pod_info")
            && labels.get("job") == Some("kube-state-metrics")
            && labels.get("instance") == Some("m-0")
    });
    assert_eq!(of_master.count(), 40);
    let watches =
        scene.server.requests().into_iter().filter(|request| request.path == "/api/v1/pods").count();
    assert_eq!(watches, 1);
    assert!(lead.stop().await.success());
}

//! `outrigger run` on a simulated cluster: discovery to delivery, reload, shutdown.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Outrigger, PATIENCE, Scene};

pub(crate) const NODES_AND_PODS: &str = r#"
- job_name: nodes
  kubernetes_sd_configs: [{role: node}]
- job_name: pods
  kubernetes_sd_configs: [{role: pod}]
  relabel_configs:
  - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], regex: "true", action: keep}
  - {source_labels: [__meta_kubernetes_pod_container_port_name], regex: metrics, action: keep}
  - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
  - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
"#;

pub(crate) fn up(value: &Value, job: &str) -> u64 {
    let jobs = value["jobs"].as_array().expect("jobs");
    jobs.iter().find(|j| j["job"] == job).map_or(0, |j| j["up"].as_u64().unwrap_or(0))
}

pub(crate) const OVERVIEW: &str = "/api/outrigger/v1/overview";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_of_a_cluster_are_scraped_and_their_samples_delivered() {
    let mut scene = Scene::start(5, 200).await;
    let outrigger = Outrigger::run(&scene.config(NODES_AND_PODS)).await;
    // Of four workloads of fifty pods one is annotated.
    outrigger.until(OVERVIEW, "all up", |v| up(v, "nodes") == 5 && up(v, "pods") == 50).await;
    assert_eq!(outrigger.request("GET", "/-/ready").await.0, 200);
    assert_eq!(outrigger.request("GET", "/-/healthy").await.0, 200);

    let targets = outrigger.json("/api/v1/targets?state=active").await;
    let active = targets["data"]["activeTargets"].as_array().expect("a list");
    assert_eq!(active.len(), 55);
    let pod = active.iter().find(|t| t["scrapePool"] == "pods").expect("a pod");
    assert_eq!(pod["health"], "up");
    assert!(pod["labels"]["pod"].as_str().is_some_and(|name| name.starts_with("app-0000-")));
    assert_eq!(pod["discoveredLabels"]["__meta_kubernetes_pod_ready"], "true");

    scene.population.replace_pod(0);
    scene.population.make_ready(0);
    outrigger
        .until("/api/v1/targets?state=active", "the new pod", |v| {
            let active = v["data"]["activeTargets"].as_array().expect("a list");
            active.iter().any(|t| t["labels"]["pod"] == "app-0000-5d8c9-000200" && t["health"] == "up")
                && !active.iter().any(|t| t["labels"]["pod"] == "app-0000-5d8c9-000000")
        })
        .await;
    until_delivered(&scene, 55).await;
    assert!(outrigger.stop().await.success());
    assert!(scene.endpoints.scrapes() > 0);
}

/// Waits until the receiver has `up` 1 of this many targets.
async fn until_delivered(scene: &Scene, targets: usize) {
    let wait = async {
        loop {
            let series = scene.receiver.series();
            let up = series.iter().filter(|(labels, samples)| {
                labels.get("__name__") == Some("up") && samples.last().is_some_and(|s| s.value == 1.0)
            });
            if up.count() >= targets {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("samples arrive");
    assert_eq!(scene.receiver.malformed(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_jobs_and_selectors_cost_the_api_server_one_watch_per_resource() {
    let scene = Scene::start(3, 100).await;
    let mut jobs = String::new();
    for (i, selector) in ["app=app-0000", "app=app-0001", "app", "!app"].iter().enumerate() {
        jobs.push_str(&format!(
            "- job_name: pods-{i}\n  kubernetes_sd_configs: [{{role: pod, selectors: [{{role: pod, label: \"{selector}\"}}]}}]\n\
             - job_name: slices-{i}\n  kubernetes_sd_configs: [{{role: endpointslice, namespaces: {{names: [team-0{i}]}}, attach_metadata: {{node: true}}}}]\n\
             - job_name: services-{i}\n  kubernetes_sd_configs: [{{role: service}}]\n  relabel_configs: [{{action: drop}}]\n"
        ));
    }
    let outrigger = Outrigger::run(&scene.config(&jobs)).await;
    outrigger
        .until(OVERVIEW, "pods found", |v| {
            up(v, "pods-0") == 50 && up(v, "pods-2") == 100 && up(v, "pods-3") == 0
        })
        .await;
    let mut watched: Vec<String> =
        scene.server.requests().into_iter().filter(|r| r.verb != "version").map(|r| r.path).collect();
    watched.sort();
    let expected =
        ["/api/v1/nodes", "/api/v1/pods", "/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices"];
    assert_eq!(watched, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_takes_effect_and_a_bad_one_leaves_the_old_configuration_running() {
    let scene = Scene::start(3, 50).await;
    let outrigger =
        Outrigger::run(&scene.config("- {job_name: nodes, kubernetes_sd_configs: [{role: node}]}")).await;
    outrigger.until(OVERVIEW, "nodes up", |v| up(v, "nodes") == 3).await;

    outrigger.write_config("scrape_configs: [{job_name: }]\n");
    let (status, body) = outrigger.request("POST", "/-/reload").await;
    assert_eq!(status, 500, "{body}");
    assert!(body.contains("prometheus.yml:1"), "{body}");
    let overview = outrigger.json(OVERVIEW).await;
    assert_eq!(up(&overview, "nodes"), 3);
    assert!(overview["config_error"].is_string());

    let static_job = format!(
        "- {{job_name: other, static_configs: [{{targets: [\"127.32.0.1:{}\"]}}]}}",
        scene.endpoints.port()
    );
    outrigger.write_config(&scene.config(&static_job));
    outrigger.signal("HUP");
    outrigger.until(OVERVIEW, "the new job", |v| up(v, "other") == 1 && up(v, "nodes") == 0).await;
    let before = scene.server.requests().len();
    outrigger.write_config(&scene.config(NODES_AND_PODS));
    assert_eq!(outrigger.request("POST", "/-/reload").await.0, 200);
    outrigger.until(OVERVIEW, "nodes again", |v| up(v, "nodes") == 3).await;
    assert!(scene.server.requests().len() <= before + 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_and_its_files_are_served_with_a_policy() {
    let outrigger = Outrigger::run("scrape_configs: []\n").await;
    for (path, part) in [("/", "<div id=\"page\">"), ("/page.js", "Outrigger"), ("/page.css", "body")] {
        let (status, body) = outrigger.request("GET", path).await;
        assert_eq!(status, 200);
        assert!(body.contains(part), "{path}");
    }
    assert_eq!(outrigger.request("GET", "/nothing").await.0, 404);
    assert!(outrigger.metric("outrigger_build_info{version=\"0.1.0\",role=\"run\"}").await.is_some());
}

/// Prometheus' own examples, copied with their source into the configuration crate's test data.
fn example(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/testdata/prometheus-config");
    std::fs::read_to_string(format!("{folder}/{name}")).expect("the example is there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_own_examples_load_and_discover() {
    let scene = Scene::start(5, 200).await;
    let kubernetes = format!(
        "{}\noutrigger: {{kubernetes: {{kubeconfig: {}}}}}\n",
        example("example-prometheus-kubernetes.yml"),
        scene.kubeconfig()
    );
    let outrigger = Outrigger::run(&kubernetes).await;
    let found = |value: &Value, job: &str| {
        let jobs = value["jobs"].as_array().expect("jobs");
        let job = jobs.iter().find(|j| j["job"] == job).expect("the job");
        let count = |key: &str| job[key].as_u64().unwrap_or(0);
        (count("up") + count("down") + count("unknown"), count("dropped"))
    };
    // Four workloads of fifty pods, one of them with an ingress; a pod's second container has no port. Whether the
    // targets can be reached is not the question: the example's tokens, authorities and probers are not here.
    outrigger
        .until(OVERVIEW, "discovered", |v| {
            v["ready"] == true
                && found(v, "kubernetes-apiservers") == (0, 200)
                && found(v, "kubernetes-nodes") == (5, 0)
                && found(v, "kubernetes-cadvisor") == (5, 0)
                && found(v, "kubernetes-service-endpoints") == (200, 0)
                && found(v, "kubernetes-services") == (4, 0)
                && found(v, "kubernetes-ingresses") == (1, 0)
                && found(v, "kubernetes-pods") == (400, 0)
        })
        .await;
    assert!(outrigger.stop().await.success());

    let agent = Outrigger::run(&example("example-prometheus-agent.yml")).await;
    agent
        .until(OVERVIEW, "the agent's own target", |v| {
            v["jobs"][0]["job"] == "prometheus" && v["ready"] == true
        })
        .await;
}

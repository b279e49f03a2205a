//! The rig, started for real. Needs its programs: `cargo xtask rig build`, then `OUTRIGGER_RIG=1 cargo test`.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};
use xtask::rig::{self, Component, FillPlan, Forwarder, Options, Rig, User};

/// Whether to leave out a test for want of the rig; prints the line that says so, and fails where `CI` is set.
fn left_out(test: &str) -> bool {
    match rig::missing() {
        None => false,
        Some(reason) => {
            assert!(std::env::var_os("CI").is_none(), "{test} {reason}");
            eprintln!("not run: {test} {reason}");
            true
        }
    }
}

#[tokio::test]
async fn a_filled_rig_answers_as_a_cluster_and_leaves_nothing_behind() {
    if left_out("the rig's smoke test") {
        return;
    }
    let components = [Component::Kwok, Component::Prometheus, Component::NodeExporter];
    let mut rig = Rig::up(&components, Options { node_exporters: 2, ..Options::default() }).await.unwrap();
    let plan = FillPlan { nodes: 20, pods: 200, jobs: 2, exporters: true, ..FillPlan::default() };
    let report = rig.fill(&plan).await.unwrap();
    assert!(report.objects > 222);

    assert_eq!(rig.kubectl(&["get", "nodes", "-o", "name"]).await.unwrap().lines().count(), 22);
    pods_run_with_addresses_of_their_own(&rig).await;
    token_users_have_their_own_rights(&rig).await;
    exporters_are_scraped_through_discovery(&mut rig).await;
    audit_log_tells_who_did_what(&rig);

    let (dir, processes) = (rig.dir().to_owned(), rig.status().await);
    assert!(processes.iter().all(|process| process.state == "ready"), "{processes:?}");
    drop(rig);
    assert!(!dir.exists());
    for process in processes {
        let pid = process.pid.unwrap();
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{} is left", process.name);
    }
}

async fn pods_run_with_addresses_of_their_own(rig: &Rig) {
    let pods = rig.api().unwrap().get("/api/v1/pods").await.unwrap();
    let pods = pods["items"].as_array().unwrap();
    assert_eq!(pods.len(), 204);
    let mut addresses: Vec<_> = pods.iter().map(|pod| pod["status"]["podIP"].as_str().unwrap()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 204);
    let running = pods.iter().filter(|pod| pod["status"]["phase"] == "Running").count();
    let succeeded = pods.iter().filter(|pod| pod["status"]["phase"] == "Succeeded").count();
    assert!(running >= 202 && running + succeeded == 204, "{running} running, {succeeded} succeeded");
}

async fn token_users_have_their_own_rights(rig: &Rig) {
    for (user, resource, allowed) in
        [(User::Outrigger, "pods", true), (User::Outrigger, "secrets", false), (User::Nobody, "pods", false)]
    {
        let kubeconfig = rig.kubeconfig_of(user);
        let args = ["--kubeconfig", kubeconfig.to_str().unwrap(), "get", resource, "-A", "-o", "name"];
        assert_eq!(rig.kubectl(&args).await.is_ok(), allowed, "{} {resource}", user.name());
    }
}

/// The rig's Prometheus discovers the exporters through the API server and scrapes them.
async fn exporters_are_scraped_through_discovery(rig: &mut Rig) {
    let kubeconfig = rig.kubeconfig_of(User::Prometheus);
    let role = if rig.is_routed() { "endpoints" } else { "pod" };
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: exporters\n  kubernetes_sd_configs:\n  - role: {role}\n    \
         kubeconfig_file: {}\n    namespaces: {{names: [monitoring]}}\n",
        kubeconfig.display()
    );
    rig.configure(Component::Prometheus, &config).unwrap();
    let prometheus = rig.client(Component::Prometheus).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = prometheus.get("/api/v1/query?query=sum(up)").await.unwrap();
        if answer["data"]["result"][0]["value"][1] == "2" {
            return;
        }
        assert!(Instant::now() < deadline, "the exporters are not up: {answer}");
        sleep(Duration::from_millis(100)).await;
    }
}

fn audit_log_tells_who_did_what(rig: &Rig) {
    let events = rig.audit_events().unwrap();
    let has = |user: &str, verb: &str, resource: &str| {
        let matches = |e: &&Value| {
            e["user"]["username"] == user && e["verb"] == verb && e["objectRef"]["resource"] == resource
        };
        events.iter().any(|event| matches(&event))
    };
    assert!(has("admin", "create", "pods"));
    assert!(has("kwok", "patch", "pods"));
    assert!(has("prometheus", "watch", "pods"));
    assert!(has("nobody", "list", "pods"));
}

#[tokio::test]
async fn the_apiserver_can_be_restarted_frozen_and_cut_off() {
    if left_out("the rig's outages") {
        return;
    }
    let mut rig = Rig::up(&[Component::KubeApiserver], Options::default()).await.unwrap();
    let url = rig.apiserver_url().unwrap().to_owned();
    rig.restart_apiserver().await.unwrap();
    assert_eq!(rig.apiserver_url().unwrap(), url);
    let api = rig.api().unwrap();
    api.get_text("/readyz").await.unwrap();

    rig.pause(Component::KubeApiserver);
    let frozen = tokio::time::timeout(Duration::from_millis(500), api.get_text("/readyz")).await;
    assert!(frozen.is_err(), "a frozen server answered");
    rig.resume(Component::KubeApiserver);
    api.get_text("/readyz").await.unwrap();

    let forwarder = Forwarder::start(url.strip_prefix("https://").unwrap().parse().unwrap()).await.unwrap();
    let kubeconfig = rig.kubeconfig_at(User::Admin, &format!("https://{}", forwarder.address())).unwrap();
    let args = ["--kubeconfig", kubeconfig.to_str().unwrap(), "get", "namespaces", "-o", "name"];
    assert!(rig.kubectl(&args).await.unwrap().contains("namespace/default"));
    assert!(forwarder.connections() > 0);
    forwarder.close();
    assert!(rig.kubectl(&args).await.is_err());
    forwarder.open();
    forwarder.cut();
    assert!(rig.kubectl(&args).await.is_ok());

    rig.kill(Component::KubeApiserver).await.unwrap();
    assert!(api.get_text("/readyz").await.is_err());
    rig.start(Component::KubeApiserver).await.unwrap();
    api.get_text("/readyz").await.unwrap();
}

//! What a real API server sees of a master with workers: the same requests, whatever the number of workers and jobs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};
use xtask::rig::{Component, FillPlan, Options, Rig, User};

use crate::harness::{Outrigger, PATIENCE};
use crate::left_out;

const TARGETS: &str = "/api/v1/targets?state=active";

/// Jobs of one role that share the pods among them.
fn jobs(count: usize, kubeconfig: &str) -> String {
    let mut config = String::from("global: {scrape_interval: 1m}\nscrape_configs:\n");
    for job in 0..count {
        let _ = writeln!(
            config,
            "- job_name: job-{job}\n  \
               kubernetes_sd_configs: [{{role: pod, attach_metadata: {{node: true}}, kubeconfig_file: {kubeconfig}}}]\n  \
               relabel_configs:\n  \
               - {{source_labels: [__meta_kubernetes_pod_name], modulus: {count}, target_label: __tmp_job, action: hashmod}}\n  \
               - {{source_labels: [__tmp_job], regex: \"{job}\", action: keep}}"
        );
    }
    config
}

async fn start(role: &str, config: &str) -> Outrigger {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (file, data) = (directory.path().join("outrigger.yml"), directory.path().join("data"));
    std::fs::write(&file, config).expect("a file in it");
    let (file, data) = (file.to_string_lossy().into_owned(), data.to_string_lossy().into_owned());
    Outrigger::start(directory, &[role, "-c", &file, "--data-dir", &data, "--listen", "127.0.0.1:0"]).await
}

fn active(answer: &Value) -> usize {
    answer["data"]["activeTargets"].as_array().map_or(0, Vec::len)
}

/// Requests of Outrigger by verb, path and user agent, from starting a master with workers until every target has its
/// worker and a while longer.
async fn requests(rig: &Rig, workers: usize, jobs_count: usize) -> BTreeMap<String, usize> {
    let before = rig.audit_events().unwrap().len();
    let kubeconfig = rig.kubeconfig_of(User::Outrigger).display().to_string();
    let centre = "outrigger: {centre: {name: master, listen: \"127.0.0.1:0\"}}\n";
    let master = start("master", &(jobs(jobs_count, &kubeconfig) + centre)).await;
    let url = master.logged("config centre listening", "advertised").expect("it says where");
    let mut fleet = Vec::new();
    for worker in 0..workers {
        let config = format!("outrigger: {{worker: {{name: worker-{worker}, masters: [\"{url}\"]}}}}\n");
        fleet.push(start("worker", &config).await);
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let all = active(&master.json(TARGETS).await);
        let mut scraped = Vec::new();
        for worker in &fleet {
            scraped.push(active(&worker.json(TARGETS).await));
        }
        if all > 100 && scraped.iter().sum::<usize>() == all && scraped.iter().all(|share| *share > 0) {
            break;
        }
        assert!(Instant::now() < deadline, "{all} targets, of which the workers have {scraped:?}");
        sleep(Duration::from_millis(200)).await;
    }
    sleep(Duration::from_secs(5)).await;
    for process in fleet.into_iter().chain([master]) {
        process.kill().await;
    }
    // Watches are logged when they end, too.
    sleep(Duration::from_secs(2)).await;
    let mut requests = BTreeMap::new();
    for event in &rig.audit_events().unwrap()[before..] {
        let agent = event["userAgent"].as_str().unwrap_or("");
        let ours =
            event["user"]["username"] == "outrigger" || agent.to_ascii_lowercase().starts_with("outrigger");
        // A watch counts when it starts, everything else has one event.
        if ours && (event["verb"] == "watch") == (event["stage"] == "ResponseStarted") {
            let path = event["requestURI"].as_str().unwrap_or("").split('?').next().unwrap_or("");
            *requests.entry(format!("{agent} {} {path} ", event["verb"])).or_default() += 1;
        }
    }
    requests
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_requests_are_the_same_with_1_4_and_16_workers_and_with_1_20_and_200_jobs() {
    if left_out("the count of a fleet's requests at the API server") {
        return;
    }
    let rig = Rig::up(&[Component::Kwok], Options::default()).await.unwrap();
    rig.fill(&FillPlan { nodes: 20, pods: 200, ..FillPlan::default() }).await.unwrap();
    let first = requests(&rig, 1, 1).await;
    eprintln!("{first:#?}");
    for resource in ["/api/v1/pods", "/api/v1/nodes"] {
        let streams = first
            .iter()
            .filter(|(request, _)| request.contains("watch") && request.contains(&format!("{resource} ")));
        assert_eq!(streams.map(|(_, count)| count).sum::<usize>(), 1, "{resource}: {first:#?}");
    }
    assert!(first.keys().all(|request| request.starts_with("outrigger-master/")), "{first:#?}");
    for (workers, jobs) in [(4, 1), (16, 1), (4, 20), (4, 200)] {
        assert_eq!(requests(&rig, workers, jobs).await, first, "{workers} workers, {jobs} jobs");
    }
}

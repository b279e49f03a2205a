//! What a real API server sees of Outrigger: one list+watch per resource, whatever the configuration.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};
use xtask::rig::{Component, FillPlan, Forwarder, Options, Rig, User};

use crate::harness::{Outrigger, PATIENCE};
use crate::left_out;

const OVERVIEW: &str = "/api/outrigger/v1/overview";

/// Thirty jobs with selectors, namespaces and attached metadata of their own.
fn thirty_jobs(kubeconfig: &str) -> String {
    let mut config = String::from("global: {scrape_interval: 1m}\nscrape_configs:\n");
    for (i, role) in ["node", "pod", "service", "endpoints", "endpointslice", "ingress"]
        .iter()
        .cycle()
        .take(30)
        .enumerate()
    {
        let selector = if i % 2 == 0 {
            format!(", selectors: [{{role: {role}, label: \"a{i}=b\"}}]")
        } else {
            format!(", namespaces: {{names: [team-{i:02}]}}")
        };
        let _ = writeln!(
            config,
            "- {{job_name: job-{i}, kubernetes_sd_configs: [{{role: {role}, kubeconfig_file: {kubeconfig}{selector}}}], relabel_configs: [{{action: drop}}]}}"
        );
    }
    config
}

fn of_outrigger(events: &[Value]) -> Vec<&Value> {
    let ours = |event: &&Value| {
        event["userAgent"].as_str().is_some_and(|agent| agent.starts_with("outrigger-master/"))
    };
    events.iter().filter(ours).collect()
}

/// Requests by resource that brought a whole list: a LIST, or a watch with initial events.
fn lists(events: &[&Value]) -> BTreeMap<String, usize> {
    let mut lists = BTreeMap::new();
    for event in events {
        let whole = event["verb"] == "list"
            || event["requestURI"].as_str().is_some_and(|u| u.contains("sendInitialEvents=true"));
        let resource = event["objectRef"]["resource"].as_str().unwrap_or("").to_owned();
        let started = event["stage"] == "ResponseStarted"
            || (event["verb"] == "list" && event["stage"] == "ResponseComplete");
        if whole && started {
            *lists.entry(resource).or_default() += 1;
        }
    }
    lists
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_jobs_cost_one_list_and_watch_per_resource_and_twenty_cuts_no_relist() {
    if left_out("the count of requests at the API server") {
        return;
    }
    let rig = Rig::up(&[Component::Kwok], Options::default()).await.unwrap();
    rig.fill(&FillPlan { nodes: 20, pods: 200, ..FillPlan::default() }).await.unwrap();
    let server = rig.apiserver_url().unwrap().trim_start_matches("https://").parse().unwrap();
    let forwarder = Forwarder::start(server).await.unwrap();
    let kubeconfig = rig.kubeconfig_at(User::Outrigger, &format!("https://{}", forwarder.address())).unwrap();
    let outrigger = Outrigger::run(&thirty_jobs(&kubeconfig.display().to_string())).await;
    outrigger.until(OVERVIEW, "ready", |v| v["ready"] == true).await;

    for round in 1..=20 {
        forwarder.cut();
        let pod = format!("cut-{round}");
        create_pod(&rig, &pod).await;
        let dropped = 200 + round;
        // The pod arrives: job-25 (role pod, namespace team-25) is not its own, so count the mirror's objects.
        outrigger
            .until(OVERVIEW, &format!("pod after cut {round}"), |v| {
                let watches = v["clusters"][0]["watches"].as_array().unwrap();
                watches.iter().any(|w| w["resource"] == "pods" && w["objects"] == dropped)
            })
            .await;
    }
    let overview = outrigger.json(OVERVIEW).await;
    for watch in overview["clusters"][0]["watches"].as_array().unwrap() {
        assert_eq!(watch["relists"], 0, "{watch}");
        assert!(watch["reconnects"].as_u64() > Some(0), "{watch}");
    }
    let events = rig.audit_events().unwrap();
    let ours = of_outrigger(&events);
    let resources = ["endpoints", "endpointslices", "ingresses", "nodes", "pods", "services"];
    let expected: BTreeMap<String, usize> = resources.iter().map(|r| ((*r).to_owned(), 1)).collect();
    assert_eq!(lists(&ours), expected);
    open_watches_are_one_each(&rig, &outrigger, &resources).await;
}

/// The API server's own gauge falls by one per resource when Outrigger goes.
async fn open_watches_are_one_each(rig: &Rig, outrigger: &Outrigger, resources: &[&str]) {
    let open = async |resource: &str| -> u64 {
        let text = rig.api().unwrap().get_text("/metrics").await.unwrap();
        let resource = format!("resource=\"{resource}\"");
        let lines = text.lines().filter(|line| line.starts_with("apiserver_longrunning_requests{"));
        let watches = lines.filter(|line| line.contains(&resource) && line.contains("verb=\"WATCH\""));
        watches.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    };
    let all_watching = |v: &Value| {
        let watches = v["clusters"][0]["watches"].as_array().unwrap();
        watches.iter().all(|w| w["phase"] == "watching" && w["last_error"].is_null())
    };
    outrigger.until(OVERVIEW, "all watches open again", all_watching).await;
    let mut before = BTreeMap::new();
    for resource in resources {
        before.insert(*resource, open(resource).await);
    }
    outrigger.signal("KILL");
    let deadline = Instant::now() + PATIENCE;
    for resource in resources {
        while open(resource).await != before[resource].saturating_sub(1) {
            assert!(
                Instant::now() < deadline,
                "{resource}: {} before, {} after",
                before[resource],
                open(resource).await
            );
            sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn create_pod(rig: &Rig, name: &str) {
    let spec = r#"{"spec":{"nodeName":"node-00000","containers":[{"name":"a","image":"example.com/a"}]}}"#;
    let arguments = ["run", name, "--image=example.com/a", "--restart=Never", "--overrides", spec];
    rig.kubectl(&arguments).await.unwrap();
}

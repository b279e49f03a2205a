//! A master and its workers as processes: who scrapes what, and what is left when one of them is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Outrigger, PATIENCE, Scene, path_text};
use crate::run::{NODES_AND_PODS, OVERVIEW};

const TARGETS: &str = "/api/v1/targets?state=active";

/// A master on a configuration with `more` below `outrigger`.
pub(crate) async fn master(scene: &Scene, directory: TempDir, more: &str) -> Outrigger {
    let config = scene.config(NODES_AND_PODS);
    let config = config.trim_end().strip_suffix('}').expect("outrigger is last and in flow style").to_owned();
    let path = directory.path().join("master.yml");
    std::fs::write(&path, format!("{config}, {more}}}\n")).expect("writable");
    let (config, data) = (path_text(&path), path_text(&directory.path().join("data")));
    Outrigger::start(directory, &["master", "-c", &config, "--data-dir", &data, "--listen", "127.0.0.1:0"])
        .await
}

/// The address of a master's config centre.
pub(crate) fn centre(master: &Outrigger) -> String {
    let address = master.logged("config centre listening", "address");
    format!("http://{}", address.expect("a master says where it listens"))
}

pub(crate) async fn worker(name: &str, centre: &str, directory: TempDir, more: &str) -> Outrigger {
    let path = directory.path().join("worker.yml");
    std::fs::write(
        &path,
        format!("outrigger: {{worker: {{name: \"{name}\", masters: [\"{centre}\"]{more}}}}}\n"),
    )
    .expect("writable");
    let (config, data) = (path_text(&path), path_text(&directory.path().join("data")));
    Outrigger::start(directory, &["worker", "-c", &config, "--data-dir", &data, "--listen", "127.0.0.1:0"])
        .await
}

pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// What a worker scrapes, and how.
async fn scraped(worker: &Outrigger) -> BTreeMap<String, String> {
    let answer = worker.json(TARGETS).await;
    let targets = answer["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    targets
        .iter()
        .map(|target| {
            (
                format!("{} {}", text(&target["scrapePool"]), text(&target["scrapeUrl"])),
                text(&target["health"]),
            )
        })
        .collect()
}

/// Waits until the workers together scrape `count` targets successfully, none of them twice.
pub(crate) async fn all_scraped(workers: &[&Outrigger], count: usize) {
    let wait = async {
        loop {
            let mut up = Vec::new();
            for worker in workers {
                let targets = scraped(worker).await.into_iter();
                up.extend(targets.filter(|(_, health)| health == "up").map(|(target, _)| target));
            }
            let distinct: BTreeSet<&String> = up.iter().collect();
            if distinct.len() == count && up.len() == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        let mut logs = Vec::new();
        for worker in workers {
            logs.push((scraped(worker).await.len(), worker.log_tail()));
        }
        panic!("{count} targets are not scraped once each: {logs:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_the_targets_and_only_the_master_asks_the_api_server() {
    let scene = Scene::start(20, 100).await;
    let lead = master(&scene, directory(), "centre: {listen: \"127.0.0.1:0\", lease: 2s}").await;
    let centre = centre(&lead);
    let one = worker("one", &centre, directory(), "").await;
    let two = worker("two", &centre, directory(), "").await;
    all_scraped(&[&one, &two], 70).await;
    assert!(!scraped(&one).await.is_empty() && !scraped(&two).await.is_empty());
    // The master knows whose they are, and how the workers fare.
    let page = lead.json("/api/outrigger/v1/targets?state=unknown&limit=200").await;
    let targets = page["targets"].as_array().expect("targets");
    assert!(targets.iter().all(|target| target["workers"].as_array().map(Vec::len) == Some(1)), "{page:#}");
    let fleet = lead
        .until(OVERVIEW, "both workers report", |v| {
            let workers = v["fleet"]["workers"].as_array().expect("workers");
            workers.len() == 2
                && workers.iter().all(|w| w["state"] == "connected" && w["scrapes"].as_u64() > Some(0))
        })
        .await;
    assert_eq!(fleet["fleet"]["leading"], true);
    assert_eq!(lead.request("GET", "/api/outrigger/v1/scale").await.0, 200);
    let agents: BTreeSet<String> =
        scene.server.requests().iter().map(|request| request.user_agent.clone()).collect();
    assert!(agents.iter().all(|agent| agent.starts_with("outrigger-master/")), "{agents:?}");
    // A worker that is stopped hands its targets over; one that is killed loses them after its lease.
    assert!(two.stop().await.success());
    all_scraped(&[&one], 70).await;
    let three = worker("three", &centre, directory(), "").await;
    all_scraped(&[&one, &three], 70).await;
    let _ = one.kill().await;
    all_scraped(&[&three], 70).await;
    // Samples of all of it arrive, those of the processes themselves, too.
    let jobs = || -> BTreeSet<String> {
        scene.receiver.series().keys().filter_map(|labels| labels.get("job").map(str::to_owned)).collect()
    };
    let wait = async {
        while !["nodes", "pods", "outrigger"].iter().all(|job| jobs().contains(*job)) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("samples of targets and processes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_scrapes_from_its_disk_while_everything_else_is_away() {
    let scene = Scene::start(10, 50).await;
    let key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    let home = directory();
    std::fs::write(home.path().join("key"), key).expect("writable");
    let lead = master(&scene, directory(), "centre: {listen: \"127.0.0.1:0\"}").await;
    let centre = centre(&lead);
    let only = worker("only", &centre, home, "}, state_encryption_key_file: key, self_metrics: {").await;
    all_scraped(&[&only], 60).await;
    // What it knows is on disk, unreadable.
    let saved = |v: &Value| v["assignment"]["save_error"].is_null() && v["assignment"]["targets"] == 60;
    only.until(OVERVIEW, "assigned", saved).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let master_home = lead.kill().await;
    let home = only.kill().await;
    scene.server.faults().change(|faults| faults.internal_error = true);
    let scrapes = scene.endpoints.scrapes();
    let only = worker("only", &centre, home, "}, state_encryption_key_file: key, self_metrics: {").await;
    all_scraped(&[&only], 60).await;
    assert!(scene.endpoints.scrapes() > scrapes);
    let page = only.json(OVERVIEW).await;
    assert_eq!(page["assignment"]["from_disk"], true, "{page:#}");
    assert!(page["assignment"]["confirmed_seconds"].as_f64() > Some(0.0), "{page:#}");
    assert_eq!(only.request("GET", "/-/ready").await.0, 200);
    // A master that starts now knows the targets from its own disk, and takes nothing away.
    let port = centre.rsplit(':').next().expect("a port").to_owned();
    let lead = master(&scene, master_home, &format!("centre: {{listen: \"127.0.0.1:{port}\"}}")).await;
    only.until(OVERVIEW, "obeys the new master", |v| v["assignment"]["from_disk"] == false).await;
    all_scraped(&[&only], 60).await;
    lead.until(OVERVIEW, "the worker is connected", |v| v["fleet"]["workers"][0]["state"] == "connected")
        .await;
    scene.server.faults().clear();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_may_not_join_is_told_why() {
    let scene = Scene::start(4, 10).await;
    let home = directory();
    std::fs::write(home.path().join("token"), "right").expect("writable");
    let more = "centre: {listen: \"127.0.0.1:0\", tokens: [{credentials_file: token}, {credentials: own, worker: one}]}";
    let lead = master(&scene, home, more).await;
    let centre = centre(&lead);
    let refused = async |name: &str, token: &str, part: &str| {
        let authorization = format!(", authorization: {{credentials: {token}}}");
        let worker = worker(name, &centre, directory(), &authorization).await;
        let told =
            |v: &Value| v["assignment"]["last_error"].as_str().is_some_and(|error| error.contains(part));
        worker.until(OVERVIEW, part, told).await;
        assert_eq!(worker.request("GET", "/-/ready").await.0, 503);
    };
    refused("two", "wrong", "token").await;
    refused("two", "own", "for the worker one").await;
    let one = worker("one", &centre, directory(), ", authorization: {credentials: right}").await;
    all_scraped(&[&one], 14).await;
    refused("one", "right", "another living process").await;
    all_scraped(&[&one], 14).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_state_file_is_set_aside_and_the_fleet_goes_on() {
    let scene = Scene::start(4, 10).await;
    let home = directory();
    std::fs::create_dir(home.path().join("data")).expect("writable");
    std::fs::write(home.path().join("data/state.redb"), "not a database").expect("writable");
    let lead = master(&scene, home, "centre: {listen: \"127.0.0.1:0\"}").await;
    let one = worker("one", &centre(&lead), directory(), "").await;
    all_scraped(&[&one], 14).await;
    let log = lead.log_tail().join("\n");
    assert!(log.contains("set aside"), "{log}");
}

//! The web page in headless Chromium, on a running simulated cluster.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::process::Command;

use crate::fleet;
use crate::harness::{Outrigger, PATIENCE, Scene, path_text};
use crate::run::{NODES_AND_PODS, OVERVIEW, up};

/// Pages of processes in a fleet: what must stand on each, and a picture of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_of_a_fleet_show_its_workers_in_a_browser() {
    let Some(chromium) = chromium() else { return };
    let scene = Scene::start(40, 200).await;
    let lead =
        fleet::master(&scene, fleet::directory(), "centre: {name: master-a, listen: \"127.0.0.1:0\"}").await;
    let centre = fleet::centre(&lead);
    let one = fleet::worker("worker-<b>1</b>", &centre, fleet::directory(), ", zone: zone-a").await;
    let two = fleet::worker("worker-2", &centre, fleet::directory(), ", zone: zone-b").await;
    fleet::all_scraped(&[&one, &two], 90).await;
    let profile = tempfile::tempdir().expect("a temporary directory");
    for (process, name, parts) in [
        (
            &lead,
            "fleet.png",
            ["data-testid=\"workers\"", "worker-&lt;b&gt;1&lt;/b&gt;", "zone-b", "master-a"],
        ),
        (
            &one,
            "worker.png",
            ["Assigned by master-a", "data-testid=\"remote-write\"", "worker-&lt;b&gt;1", "epoch"],
        ),
    ] {
        let page = process.url("/");
        let dom = browse(&chromium, profile.path(), &["--dump-dom".to_owned(), page.clone()]).await;
        for part in parts {
            assert!(dom.contains(part), "{part} is not on the page:\n{dom}");
        }
        let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        browse(&chromium, profile.path(), &[format!("--screenshot={}", path_text(&picture)), page]).await;
        println!("picture: {}", picture.display());
    }
    // Without its master the worker says so, and goes on.
    let _ = lead.kill().await;
    one.until(OVERVIEW, "no master", |v| v["assignment"]["master"].is_null()).await;
    let dom = browse(&chromium, profile.path(), &["--dump-dom".to_owned(), one.url("/")]).await;
    assert!(dom.contains("data-testid=\"no-master\""), "{dom}");
}

/// Chromium, or `None` with a line that says what was left out; missing where `CI` is set it is a failure.
fn chromium() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let path = std::env::var_os("PATH")?;
    let found =
        std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name))).find(|p| p.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "chromium is not installed");
        println!("not run: the page in a browser, for want of chromium");
    }
    found
}

async fn browse(chromium: &Path, profile: &Path, arguments: &[String]) -> String {
    let profile = format!("--user-data-dir={}", path_text(profile));
    let browse = Command::new(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--hide-scrollbars",
        ])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args([profile.as_str(), "--window-size=1400,1500", "--virtual-time-budget=10000"])
        .args(arguments)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, browse).await.expect("the browser ends").expect("it starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_jobs_watches_receivers_and_targets_in_a_browser() {
    let Some(chromium) = chromium() else { return };
    let scene = Scene::start(40, 1000).await;
    // A hostile label value must show as text.
    let jobs = format!(
        "{NODES_AND_PODS}\n- job_name: broken\n  static_configs: [{{targets: [\"127.0.0.1:1\"], labels: {{hostile: \"<img src=x onerror=alert(1)>\"}}}}]\n"
    );
    let outrigger = Outrigger::run(&scene.config(&jobs)).await;
    let all_scraped = |v: &Value| {
        let broken = v["jobs"].as_array().expect("jobs").iter().find(|job| job["job"] == "broken");
        let delivered = v["remote_write"][0]["sent"].as_u64() > Some(0);
        up(v, "nodes") == 40
            && up(v, "pods") == 100
            && broken.is_some_and(|job| job["down"] == 1)
            && delivered
    };
    outrigger.until(OVERVIEW, "all scraped and delivered", all_scraped).await;

    let profile = tempfile::tempdir().expect("a temporary directory");
    let page = outrigger.url("/");
    let dom = browse(&chromium, profile.path(), &["--dump-dom".to_owned(), page.clone()]).await;
    for part in [
        "data-testid=\"ready\">ready<",
        "data-testid=\"watches\"",
        "data-testid=\"remote-write\"",
        "http://127.32.0.1:",
        "connection refused",
    ] {
        assert!(dom.contains(part), "{part} is not on the page:\n{dom}");
    }
    assert!(!dom.contains("<img src=x"), "a label value became markup");

    let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page.png");
    let _ = std::fs::remove_file(&picture);
    browse(&chromium, profile.path(), &[format!("--screenshot={}", path_text(&picture)), page]).await;
    let bytes = std::fs::read(&picture).expect("a picture");
    assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 20_000, "{} bytes", bytes.len());
    println!("picture: {}", picture.display());
    assert!(outrigger.stop().await.success());
}

//! What goes wrong around a running Outrigger, and what it does then.

use std::time::Duration;

use http::StatusCode;
use outrigger_sim::receiver::Answer;
use outrigger_wire::kubernetes::ResourceKind;
use serde_json::Value;

use crate::harness::{Outrigger, PATIENCE, Scene, command};
use crate::run::NODES_AND_PODS;

const OVERVIEW: &str = "/api/outrigger/v1/overview";

fn sum(value: &Value, key: &str) -> u64 {
    value["jobs"].as_array().expect("jobs").iter().map(|job| job[key].as_u64().unwrap_or(0)).sum()
}

fn watch<'a>(value: &'a Value, resource: &str) -> &'a Value {
    let watches = value["clusters"][0]["watches"].as_array().expect("watches");
    watches.iter().find(|w| w["resource"] == resource).unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scraping_goes_on_while_the_api_server_is_away() {
    let scene = Scene::start(4, 50).await;
    let outrigger = Outrigger::run(&scene.config(NODES_AND_PODS)).await;
    outrigger.until(OVERVIEW, "all up", |v| sum(v, "up") == 54).await;
    scene.server.faults().change(|faults| faults.internal_error = true);
    scene.server.cut_connections();
    let scrapes = scene.endpoints.scrapes();
    outrigger.until(OVERVIEW, "the page says so", |v| watch(v, "pods")["last_error"].is_string()).await;
    let wait = async {
        while scene.endpoints.scrapes() < scrapes + 150 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("scrapes go on");
    assert_eq!(sum(&outrigger.json(OVERVIEW).await, "up"), 54);
    scene.server.faults().clear();
    outrigger.until(OVERVIEW, "watched again", |v| watch(v, "pods")["last_error"].is_null()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forbidden_resource_is_named_with_the_rule_that_would_fix_it() {
    let scene = Scene::start(4, 50).await;
    scene.server.faults().change(|faults| {
        faults.forbidden.insert(ResourceKind::Pod);
    });
    let outrigger = Outrigger::run(&scene.config(NODES_AND_PODS)).await;
    let overview = outrigger
        .until(OVERVIEW, "hint and nodes", |v| {
            watch(v, "pods")["missing_permission"].is_string() && sum(v, "up") == 4
        })
        .await;
    let rule = watch(&overview, "pods")["missing_permission"].as_str().unwrap_or("");
    assert!(rule.contains("resources: [\"pods\"]") && rule.contains("watch"), "{rule}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_outlive_a_receiver_that_refuses_the_token_for_a_while() {
    let scene = Scene::start(2, 50).await;
    for status in [StatusCode::UNAUTHORIZED, StatusCode::INTERNAL_SERVER_ERROR, StatusCode::TOO_MANY_REQUESTS]
    {
        scene.receiver.answer(Answer::Refuse(status));
        let outrigger = Outrigger::run(&scene.config(NODES_AND_PODS)).await;
        outrigger
            .until(OVERVIEW, "an error on the page", |v| {
                v["remote_write"][0]["last_error"].as_str().is_some_and(|e| e.contains(status.as_str()))
            })
            .await;
        let before = scene.receiver.samples();
        scene.receiver.answer(Answer::Accept);
        outrigger.until(OVERVIEW, "delivered", |v| v["remote_write"][0]["sent"].as_u64() > Some(0)).await;
        assert!(scene.receiver.samples() > before);
        let overview = outrigger.json(OVERVIEW).await;
        assert_eq!(overview["remote_write"][0]["dropped"], 0);
        assert!(outrigger.stop().await.success());
    }
}

#[tokio::test]
async fn what_cannot_be_started_ends_with_one_clear_error() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("prometheus.yml");
    for (config, parts) in [
        ("scrape_configs: [{job_nam: x}]\n", vec!["prometheus.yml:1", "job_nam"]),
        (
            "remote_write: [{url: 'http://h/w', convert_nhcb_to_classic: true}]\n",
            vec!["convert_nhcb_to_classic"],
        ),
        (
            "scrape_configs: [{job_name: x, consul_sd_configs: [{server: 'h:1'}]}]\n",
            vec!["consul_sd_configs"],
        ),
    ] {
        std::fs::write(&path, config).expect("a file");
        let mut command = command();
        command.args(["run", "--data-dir", "", "--listen", "127.0.0.1:0", "-c"]).arg(&path);
        let output = tokio::time::timeout(Duration::from_secs(60), command.kill_on_drop(true).output());
        let output = output.await.expect("it ends by itself").expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{text}");
        for part in parts {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kubeconfig_that_does_not_exist_is_on_the_page_and_the_other_jobs_go_on() {
    let scene = Scene::start(1, 10).await;
    let config = scene
        .config(&format!(
            "- {{job_name: nodes, kubernetes_sd_configs: [{{role: node}}]}}\n- {{job_name: fixed, static_configs: [{{targets: [\"127.32.0.1:{}\"]}}]}}",
            scene.endpoints.port()
        ))
        .replace(&scene.kubeconfig(), "/nonexistent/kubeconfig");
    let outrigger = Outrigger::run(&config).await;
    outrigger
        .until(OVERVIEW, "the error and the other job", |v| {
            v["clusters"][0]["error"].as_str().is_some_and(|e| e.contains("/nonexistent/kubeconfig"))
                && sum(v, "up") == 1
        })
        .await;
}

#[tokio::test]
async fn an_address_that_others_reach_needs_authentication_or_an_explicit_word() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("prometheus.yml");
    std::fs::write(&path, "scrape_configs: []\n").expect("a file");
    let output = command()
        .args(["run", "--data-dir", "", "--listen", "0.0.0.0:0", "-c"])
        .arg(&path)
        .output()
        .await
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("--tls-client-ca-file"), "{text}");
}

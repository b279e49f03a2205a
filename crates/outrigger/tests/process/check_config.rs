//! `outrigger check config`.

use crate::harness::command;

async fn check(text: &str) -> (bool, String) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("prometheus.yml");
    std::fs::write(&path, text).expect("a file in it");
    let output = command().args(["check", "config"]).arg(&path).output().await.expect("the binary runs");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn a_good_file_is_accepted_and_what_is_not_acted_on_is_listed() {
    let (accepted, text) = check("rule_files: [\"*.rules\"]\nscrape_configs: [{job_name: a, static_configs: [{targets: [\"a:1\"]}]}]\n").await;
    assert!(accepted, "{text}");
    assert!(text.contains("SUCCESS"), "{text}");
    assert!(text.contains("not acted on: ") && text.contains("rule_files"), "{text}");
}

#[tokio::test]
async fn every_error_of_a_bad_file_is_told_at_once_with_line_key_and_fix() {
    let bad = "global:\n  scrape_interval: soon\nscrape_configs:\n- job_name: a\n  relabel_config: []\n- job_name: a\n";
    let (accepted, text) = check(bad).await;
    assert!(!accepted);
    for part in [":2:", "scrape_interval", ":5:", "relabel_configs", ":6:", "job_name"] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let output = command().args(["check", "config", "/nonexistent.yml"]).output().await.expect("runs");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("/nonexistent.yml"));
}

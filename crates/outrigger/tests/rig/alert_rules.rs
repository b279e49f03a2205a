//! The shipped alerts, by Prometheus' own tool: valid rules, silent when all is well, firing when it is not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::rig::{Cache, Pin, Program};

fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/rules")
}

#[test]
fn the_shipped_alerts_pass_promtools_checks_and_their_tests() {
    if super::left_out("the shipped alerts") {
        return;
    }
    let pin = Pin::new(Program::Promtool, None).expect("a pinned version");
    let promtool = Cache::from_environment().and_then(|cache| cache.find(pin)).expect("promtool is built");
    for arguments in [["check", "rules", "outrigger.yml"], ["test", "rules", "outrigger.test.yml"]] {
        let output =
            Command::new(&promtool).args(arguments).current_dir(rules()).output().expect("promtool starts");
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {text}");
    }
}

#[test]
fn every_metric_of_the_shipped_alerts_is_described() {
    let text = std::fs::read_to_string(rules().join("outrigger.yml")).expect("readable");
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let docs = std::fs::read_to_string(docs).expect("readable");
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    let metrics: BTreeSet<&str> = words
        .filter(|word| word.starts_with("outrigger_"))
        .map(|word| word.trim_end_matches("_bucket"))
        .collect();
    let unknown: Vec<&&str> =
        metrics.iter().filter(|metric| !docs.contains(&format!("`{metric}`"))).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

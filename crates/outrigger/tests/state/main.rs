//! `outrigger state-metrics` beside a real kube-state-metrics on the same real API server: what both serve is equal, for
//! random objects of every resource and many combinations of flags; kube-state-metrics' manifests and alerts work with
//! the one in place of the other.
//!
//! Needs `cargo xtask rig build etcd kube-apiserver kubectl kube-state-metrics promtool prometheus`, then
//! `OUTRIGGER_RIG=1 cargo test --test state`. `OUTRIGGER_STATE_OBJECTS` is the number of objects of each resource (of
//! pods five times as many), `OUTRIGGER_STATE_SEED` chooses them: a nightly run takes 1000 and the day's number.
//! `OUTRIGGER_STATE_ONLY` names the combinations to run, by a part of their names; `OUTRIGGER_STATE_BINARY` is another
//! binary than the one that was built with the test.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout, reason = "tests")]

mod canonical;
mod combinations;
mod comparison;
mod exposition;
mod manifests;
mod process;

use std::path::PathBuf;

use xtask::rig::{Component, ObjectPlan, Options, Rig};

/// Whether to leave out a test for want of the rig; prints the line that says so, and fails where `CI` is set.
fn left_out(test: &str) -> bool {
    let Some(reason) = xtask::rig::missing() else { return false };
    assert!(std::env::var_os("CI").is_none(), "{test} {reason}");
    eprintln!("not run: {test} {reason}");
    true
}

/// The seed and the number of objects, of the environment or those of every run.
fn plan() -> ObjectPlan {
    let number = |name: &str, default: u64| {
        let text = std::env::var(name).ok();
        text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
    };
    let each = usize::try_from(number("OUTRIGGER_STATE_OBJECTS", 60)).unwrap();
    ObjectPlan { seed: number("OUTRIGGER_STATE_SEED", 1), each, cases: Some(cases()) }
}

/// kube-state-metrics' own cases.
fn cases() -> PathBuf {
    let own = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../state/testdata/cases.jsonl"));
    assert!(own.exists(), "{} is missing", own.display());
    own
}

/// A rig with the plan's objects. Of the valid ones the server may refuse only few: those are cases of
/// kube-state-metrics that no server takes.
async fn rig_with_objects(plan: &ObjectPlan) -> Rig {
    let rig = Rig::up(&[Component::KubeApiserver], Options::default()).await.unwrap();
    let report = rig.make_objects(plan).await.unwrap();
    println!("{report}");
    assert_eq!(report.created.len(), 41, "some resource has no object");
    assert!(report.objects() > plan.each * 40, "{} objects", report.objects());
    assert!(report.refusals(false) * 20 < report.objects(), "more than one in twenty is refused");
    rig
}

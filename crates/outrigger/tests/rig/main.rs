//! Against real parts: etcd, kube-apiserver, kwok, Prometheus and node_exporter, as `cargo xtask rig` starts them.
//! Needs `cargo xtask rig build etcd kube-apiserver kubectl kwok prometheus helm`, then `OUTRIGGER_RIG=1 cargo test`.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout, reason = "tests")]

mod alert_rules;
mod api_server_load;
mod comparison;
mod fleet_load;
mod follow;
#[path = "../process/harness.rs"]
#[allow(dead_code, reason = "shared with the tests on simulated peers")]
mod harness;
mod install;
mod mischief;
mod simulation;

/// Whether to leave out a test for want of the rig; prints the line that says so, and fails where `CI` is set.
fn left_out(test: &str) -> bool {
    let Some(reason) = xtask::rig::missing() else { return false };
    assert!(std::env::var_os("CI").is_none(), "{test} {reason}");
    eprintln!("not run: {test} {reason}");
    true
}

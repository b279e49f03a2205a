//! How soon a target follows its pod, on a real kube-apiserver with 1,000 nodes and 20,000 pods:
//! `cargo bench -p outrigger --bench follow`. Needs the rig's programs.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    dead_code,
    reason = "a program that prints"
)]

#[path = "../tests/rig/follow.rs"]
mod follow;
#[path = "../tests/process/harness.rs"]
mod harness;

use std::collections::BTreeMap;
use std::time::Duration;

use follow::Followed;
use xtask::rig::FillPlan;

const ROUNDS: usize = 20;

fn main() {
    let plan = FillPlan { nodes: 1000, pods: 20_000, replicas: 20, namespaces: 20, ..FillPlan::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut steps: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for Followed { step, after } in runtime.block_on(follow::follow(&plan, ROUNDS)) {
        steps.entry(step).or_default().push(after);
    }
    println!(
        "{} nodes, {} pods, {ROUNDS} rounds; from kubectl's return to the changed target",
        plan.nodes, plan.pods
    );
    println!("{:<12} {:>10} {:>10} {:>10}", "step", "median", "p95", "max");
    for (step, mut times) in steps {
        times.sort();
        let at = |share: usize| times[(times.len() - 1) * share / 100];
        println!("{step:<12} {:>10.1?} {:>10.1?} {:>10.1?}", at(50), at(95), at(100));
    }
}

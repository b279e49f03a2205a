//! The fault matrix on a small scale: every part down alone, and some in pairs. `cargo xtask drill outage` runs all of
//! it. Needs `cargo xtask rig build etcd`, then `OUTRIGGER_RIG=1 cargo test`; with root, names are part of it.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::path::PathBuf;
use std::time::Duration;

use xtask::drill::{self, Combination, Fault, OutagePlan, Scale};

/// Pairs in which one fault makes the other one harder.
const PAIRS: [[Fault; 2]; 3] = [
    [Fault::ApiServer, Fault::EverythingRestarted],
    [Fault::Receiver, Fault::AllWorkersRestarted],
    [Fault::Dns, Fault::ActiveMaster],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_scrape_is_missed_and_no_sample_lost_whatever_part_is_down() {
    if let Some(reason) = xtask::rig::missing() {
        assert!(std::env::var_os("CI").is_none(), "the fault matrix {reason}");
        eprintln!("not run: the fault matrix {reason}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let interval = Duration::from_secs(2);
    let scale = Scale {
        outrigger: PathBuf::from(env!("CARGO_BIN_EXE_outrigger")),
        folder: folder.path().join("drill"),
        keep: false,
        targets: 200,
        masters: 2,
        workers: 3,
        etcd: 3,
        interval,
        lease: interval,
        ballast: 0,
    };
    let alone = Fault::ALL.into_iter().map(|fault| Combination(vec![fault]));
    let combinations = alone.chain(PAIRS.into_iter().map(|pair| Combination(pair.to_vec()))).collect();
    let plan = OutagePlan { scale, combinations, fault_intervals: 4, calm_intervals: 3 };
    let report = drill::outage(&plan, |text| eprintln!("{text}")).await.unwrap();
    assert!(report.is_clean(), "{}\n{}", report.heading(), report.markdown());
}

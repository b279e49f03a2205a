//! What the fleet costs with many targets: prints times, asserts nothing.
//!
//! `cargo bench -p outrigger-control --bench fleet [-- TARGETS]`

#![expect(clippy::print_stdout, reason = "a program that prints")]

use std::sync::Arc;
use std::time::Duration;

use outrigger_control::fleet::{Fleet, FleetEvent, FleetOptions, SessionId};
use outrigger_model::labels::Labels;
use outrigger_model::target::{HistogramOptions, ScrapeTarget, TargetDelta, TargetId};
use outrigger_wire::centre::{Applied, Hello, TargetIds, from_master, from_worker};
use tokio::time::Instant;

const JOB: &str = "pods";
const EVENTS: usize = 1_000;

fn target(number: u64) -> Arc<ScrapeTarget> {
    let instance = format!("10.{}.{}.{}:8080", number >> 16, (number >> 8) & 255, number & 255);
    let pod = format!("web-{number}");
    let labels = [
        ("container", "app"),
        ("instance", instance.as_str()),
        ("job", JOB),
        ("namespace", "shop"),
        ("node", "node-1"),
        ("pod", pod.as_str()),
    ];
    Arc::new(ScrapeTarget {
        id: TargetId(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        job: JOB.into(),
        url: format!("http://{instance}/metrics"),
        labels: Labels::from_pairs(labels),
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(10),
        histograms: HistogramOptions::default(),
    })
}

fn hello(worker: u64, held: Vec<u64>) -> FleetEvent {
    let held = if held.is_empty() { Vec::new() } else { vec![TargetIds { job: JOB.to_owned(), ids: held }] };
    let hello = Hello {
        worker: format!("worker-{worker}"),
        protocol_min: 1,
        protocol_max: 1,
        held,
        ..Hello::default()
    };
    FleetEvent::Connected { session: SessionId(worker), hello }
}

fn found(added: Vec<Arc<ScrapeTarget>>, removed: Vec<TargetId>) -> FleetEvent {
    let delta = TargetDelta { job: JOB.into(), added, removed, over_target_limit: false };
    FleetEvent::Targets { delta, age: 0 }
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let value = work();
    println!("{:>10.1} ms  {what}", began.elapsed().as_secs_f64() * 1_000.0);
    value
}

/// Takes all messages of a worker and says that they are in force; gives the number of targets and of bytes.
fn take(fleet: &mut Fleet, worker: u64) -> (usize, usize) {
    use prost::Message as _;
    let (mut targets, mut bytes) = (0, 0);
    while let Some(next) = fleet.next_message(SessionId(worker), 0) {
        let message = next.build(0, |_, _| Vec::new(), |_| Vec::new());
        bytes += message.encoded_len();
        if let Some(from_master::Kind::Assign(assign)) = message.kind {
            targets += assign.targets.len();
            let message = from_worker::Kind::Applied(Applied { revision: assign.revision });
            fleet.step(0, FleetEvent::Heard { session: SessionId(worker), message });
        }
    }
    (targets, bytes)
}

fn main() {
    let targets = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(450_000u64);
    let all: Vec<_> = (0..targets).map(target).collect();
    let mut fleet = Fleet::new(FleetOptions {
        master: "bench".to_owned(),
        version: String::new(),
        lease: Duration::from_secs(10),
        replication_factor: 1,
        settle: Duration::from_secs(2),
    });
    fleet.step(0, FleetEvent::Elected { epoch: 1, offset_seed: 1, known: Vec::new() });
    for worker in 0..4 {
        fleet.step(0, hello(worker, Vec::new()));
        fleet.step(0, FleetEvent::Recorded { worker: format!("worker-{worker}").into() });
    }
    println!("{targets} targets, 4 workers");
    timed("to learn of the targets", || {
        for part in all.chunks(10_000) {
            fleet.step(0, found(part.to_vec(), Vec::new()));
        }
        fleet.step(0, FleetEvent::JobSynced(JOB.into()));
    });
    timed("to place them", || fleet.step(3_000, FleetEvent::Tick));
    let (sent, bytes) = timed("to make the messages", || {
        (0..4).map(|worker| take(&mut fleet, worker)).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    println!("               {sent} targets in {bytes} bytes");
    timed(&format!("for {EVENTS} new pods and as many gone, one by one, with their messages"), || {
        for event in 0..EVENTS as u64 {
            let gone = all[event as usize].id;
            fleet.step(3_000, found(vec![target(targets + event)], vec![gone]));
            (0..4).for_each(|worker| {
                take(&mut fleet, worker);
            });
        }
    });
    timed(&format!("for {EVENTS} ticks"), || {
        (0..EVENTS).for_each(|_| drop(fleet.step(3_000, FleetEvent::Tick)))
    });
    let held: Vec<u64> = all[EVENTS..].iter().map(|target| target.id.0).collect();
    let held: Vec<u64> =
        held.into_iter().filter(|id| *fleet.owners(JOB, TargetId(*id))[0] == *"worker-1").collect();
    let number = held.len();
    fleet.step(3_000, FleetEvent::Disconnected { session: SessionId(1) });
    timed(&format!("for the Hello of a worker that holds {number}"), || fleet.step(3_000, hello(1, held)));
    for worker in 4..16 {
        fleet.step(3_000, hello(worker, Vec::new()));
        fleet.step(3_000, FleetEvent::Recorded { worker: format!("worker-{worker}").into() });
    }
    timed("to plan 4 -> 16 workers", || fleet.step(9_000, FleetEvent::Tick));
    let counts = fleet.target_counts();
    println!("               {} targets are to move", counts.queued + counts.moving);
}

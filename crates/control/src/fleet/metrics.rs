//! The fleet's own metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger_rt::metrics::{Counter, CounterFamily, Exposition, Gauge, Histogram, MetricKind, Registry};
use outrigger_wire::centre::RejectReason;

use super::driver::Shared;
use super::views::WorkerState;
use super::{Millis, MoveReason};

const DELAY_BOUNDS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Metrics that are counted as things happen.
pub(super) struct FleetMetrics {
    delay: Histogram,
    rejected: CounterFamily,
    wanted: Gauge,
    store_failures: Counter,
    memory_failures: Counter,
    refused_sets: Counter,
}

impl MoveReason {
    /// Value of the label `reason` in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            MoveReason::Joined => "joined",
            MoveReason::Left => "left",
            MoveReason::Died => "died",
            MoveReason::Uneven => "uneven",
        }
    }

    const ALL: [MoveReason; 4] = [MoveReason::Joined, MoveReason::Left, MoveReason::Died, MoveReason::Uneven];
}

impl FleetMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            delay: registry.histogram(
                "outrigger_assignment_delay_seconds",
                "From the change in the cluster, as it was seen, until a worker said that it scrapes the new target.",
                &[],
                &DELAY_BOUNDS,
            ),
            rejected: registry.counter_family(
                "outrigger_fleet_rejected_sessions_total",
                "Streams of workers that were refused or ended, by reason.",
                &["reason"],
            ),
            wanted: registry.gauge(
                "outrigger_workers_desired",
                "Workers that the measured load needs; 0 while nothing is known.",
                &[],
            ),
            store_failures: registry.counter(
                "outrigger_fleet_store_failures_total",
                "Writes of worker records that the config centre's store refused.",
                &[],
            ),
            memory_failures: registry.counter(
                "outrigger_fleet_last_known_good_failures_total",
                "Writes of the last known targets, configuration or series that the disk refused.",
                &[],
            ),
            refused_sets: registry.counter(
                "outrigger_fleet_refused_series_sets_total",
                "Series sets of targets that were not kept since they, or all together, are too large.",
                &[],
            ),
        }
    }

    pub(super) fn memory_failed(&self) {
        self.memory_failures.inc();
    }

    pub(super) fn sets_refused(&self, sets: u64) {
        self.refused_sets.add(sets);
    }

    pub(super) fn assigned_after(&self, millis: Millis) {
        self.delay.observe(millis as f64 / 1_000.0);
    }

    pub(super) fn refused(&self, reason: RejectReason) {
        self.rejected.with(&[super::sessions::label(reason)]).inc();
    }

    pub(super) fn wanted(&self, wanted: u64) {
        self.wanted.set(wanted as f64);
    }

    pub(super) fn store_failed(&self) {
        self.store_failures.inc();
    }
}

/// Exports the metrics that are read off the fleet for as long as it lives.
pub(super) fn register(registry: &Registry, shared: &Arc<Shared>) {
    let shared = Arc::downgrade(shared);
    registry.collector(move |exposition| {
        if let Some(shared) = shared.upgrade() {
            collect(&shared, exposition);
        }
    });
}

fn collect(shared: &Shared, exposition: &mut Exposition) {
    let (workers, targets, counters, leading) = {
        let fleet = shared.fleet.lock();
        (fleet.workers(shared.now()), fleet.target_counts(), fleet.counters.clone(), fleet.is_leading())
    };
    gauge(
        exposition,
        "outrigger_fleet_leading",
        "Whether this master leads.",
        &[],
        f64::from(u8::from(leading)),
    );
    let mut by_state: BTreeMap<WorkerState, u64> =
        WorkerState::ALL.into_iter().map(|state| (state, 0)).collect();
    for worker in &workers {
        *by_state.entry(worker.state).or_default() += 1;
    }
    for (state, count) in by_state {
        let labels = [("state", state.as_str())];
        gauge(
            exposition,
            "outrigger_fleet_workers",
            "Workers by how they and the master stand.",
            &labels,
            count as f64,
        );
    }
    let states = [
        ("assigned", targets.assigned),
        ("queued", targets.queued),
        ("moving", targets.moving),
        ("unassigned", targets.unassigned),
        ("outside", targets.outside),
    ];
    for (state, count) in states {
        let help =
            "Targets: assigned, queued to move, moving, without a worker, or scraped outside what is known.";
        gauge(exposition, "outrigger_fleet_targets", help, &[("state", state)], count as f64);
    }
    for worker in &workers {
        let labels = [("worker", &*worker.name)];
        gauge(
            exposition,
            "outrigger_fleet_worker_targets",
            "Targets of a worker.",
            &labels,
            worker.targets as f64,
        );
        let help = "Cost of a worker's targets, in series.";
        gauge(exposition, "outrigger_fleet_worker_cost", help, &labels, worker.cost as f64);
        let help = "Load of a worker over its share; 1 is even.";
        gauge(exposition, "outrigger_fleet_worker_load_ratio", help, &labels, worker.load_ratio);
        let help = "Time since a worker's last word.";
        let silent = worker.silent_millis as f64 / 1_000.0;
        gauge(exposition, "outrigger_fleet_worker_silent_seconds", help, &labels, silent);
    }
    for reason in MoveReason::ALL {
        let moves = counters.moves.get(&reason).copied().unwrap_or_default();
        let help = "Targets that went to another worker, by reason.";
        counter(exposition, "outrigger_fleet_moves_total", help, &[("reason", reason.as_str())], moves);
    }
    let totals = [
        ("outrigger_fleet_worker_deaths_total", "Workers that were taken for dead.", counters.deaths),
        ("outrigger_fleet_rebalances_total", "Rebalances that were planned.", counters.rebalances),
        (
            "outrigger_fleet_doubles_total",
            "Targets that a worker held though another had them.",
            counters.doubles,
        ),
        (
            "outrigger_fleet_lost_orphans_total",
            "Vanished targets that get no stale markers because too many waited for a worker.",
            counters.lost_orphans,
        ),
        (
            "outrigger_fleet_stray_releases_total",
            "Targets that a worker released though nobody had asked.",
            counters.stray_releases,
        ),
    ];
    for (name, help, value) in totals {
        counter(exposition, name, help, &[], value);
    }
}

fn gauge(exposition: &mut Exposition, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
    exposition.family(name, help, MetricKind::Gauge).sample(labels, value);
}

fn counter(exposition: &mut Exposition, name: &str, help: &str, labels: &[(&str, &str)], value: u64) {
    exposition.family(name, help, MetricKind::Counter).sample(labels, value as f64);
}

//! `outrigger_worker_*`.

use std::sync::Arc;

use outrigger_model::clock::SharedClock;
use outrigger_rt::metrics::{Counter, CounterFamily, MetricKind, Registry};
use parking_lot::Mutex;

use super::view::WorkerView;

/// Handles of the worker's metrics.
#[derive(Debug, Clone)]
pub(crate) struct WorkerMetrics {
    pub(crate) adopted: Counter,
    pub(crate) inherited: Counter,
    pub(crate) handed_over: Counter,
    pub(crate) taken_back: Counter,
    pub(crate) removed: Counter,
    pub(crate) buried: Counter,
    pub(crate) unburied: Counter,
    pub(crate) invalid_targets: Counter,
    pub(crate) refused: Counter,
    pub(crate) sessions: Counter,
    pub(crate) skipped: CounterFamily,
    pub(crate) file_errors: CounterFamily,
}

impl WorkerMetrics {
    pub(crate) fn new(registry: &Registry, view: &Arc<Mutex<WorkerView>>, clock: SharedClock) -> Self {
        register_collector(registry, Arc::clone(view), clock);
        let adopted = registry.counter_family(
            "outrigger_worker_targets_adopted_total",
            "Targets taken over, with or without what an owner before left.",
            &["inherited"],
        );
        let orphans = registry.counter_family(
            "outrigger_worker_orphans_total",
            "Targets that went while nobody scraped them, by whether their stale markers could be written.",
            &["result"],
        );
        let counter = |name, help| registry.counter(name, help, &[]);
        Self {
            adopted: adopted.with(&["false"]),
            inherited: adopted.with(&["true"]),
            handed_over: counter(
                "outrigger_worker_targets_handed_over_total",
                "Targets that were released for another owner.",
            ),
            taken_back: counter(
                "outrigger_worker_targets_taken_back_total",
                "Targets whose hand-over was broken off with the connection before they were released.",
            ),
            removed: counter(
                "outrigger_worker_targets_removed_total",
                "Targets removed because they are gone.",
            ),
            buried: orphans.with(&["marked"]),
            unburied: orphans.with(&["job_unknown"]),
            invalid_targets: counter(
                "outrigger_worker_invalid_targets_total",
                "Targets in messages that could not be read.",
            ),
            refused: counter(
                "outrigger_worker_configurations_refused_total",
                "Configurations that could not be put in force.",
            ),
            sessions: counter("outrigger_worker_sessions_total", "Times that a fleet was joined."),
            skipped: registry.counter_family(
                "outrigger_worker_messages_skipped_total",
                "Messages not sent because others still waited, by kind.",
                &["kind"],
            ),
            file_errors: registry.counter_family(
                "outrigger_worker_state_file_errors_total",
                "Failures to read or write what the worker keeps on disk, by file and trouble.",
                &["file", "trouble"],
            ),
        }
    }
}

fn register_collector(registry: &Registry, view: Arc<Mutex<WorkerView>>, clock: SharedClock) {
    registry.collector(move |exposition| {
        let view = view.lock().clone();
        let since = |millis: i64| (clock.now().millis() - millis).max(0) as f64 / 1_000.0;
        let mut gauge = |name: &str, help: &str, value: f64| {
            exposition.family(name, help, MetricKind::Gauge).sample(&[], value);
        };
        let connected = f64::from(u8::from(view.master.is_some()));
        gauge("outrigger_worker_connected", "Whether the worker belongs to a fleet now.", connected);
        gauge(
            "outrigger_worker_keepers",
            "Masters that do not lead and keep what heirs of this worker's targets would need.",
            view.keepers as f64,
        );
        gauge("outrigger_worker_epoch", "Highest epoch of a leader that was obeyed.", view.epoch as f64);
        if let Some(heard) = view.heard {
            gauge(
                "outrigger_worker_assignment_age_seconds",
                "Time since a leading master was last heard.",
                since(heard.millis()),
            );
        }
        gauge(
            "outrigger_worker_configuration_revision",
            "Revision of the configuration in force.",
            view.revision_in_force as f64,
        );
        gauge(
            "outrigger_worker_configuration_refused",
            "Whether the newest configuration could not be put in force.",
            f64::from(u8::from(!view.configuration_error.is_empty())),
        );
        if let Some(offset) = view.clock_offset_millis {
            gauge(
                "outrigger_worker_clock_offset_seconds",
                "The master's clock minus this one's.",
                offset as f64 / 1_000.0,
            );
        }
        if let Some(saved) = view.saved {
            gauge(
                "outrigger_worker_state_saved_seconds",
                "Time since the assignment was last written to disk.",
                since(saved.millis()),
            );
        }
    });
}

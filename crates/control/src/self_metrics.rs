//! Discovery's own metrics.

use std::sync::Arc;

use outrigger_rt::metrics::{Exposition, MetricKind, Registry};
use parking_lot::Mutex;

use crate::discovery::State;
use crate::reporter::Reporter;

/// Exports discovery's metrics for as long as it lives.
pub(crate) fn register_metrics(registry: &Registry, reporter: &Arc<Reporter>, state: &Arc<Mutex<State>>) {
    let reporter = Arc::downgrade(reporter);
    let state = Arc::downgrade(state);
    registry.collector(move |exposition| {
        let (Some(reporter), Some(state)) = (reporter.upgrade(), state.upgrade()) else { return };
        reporter.collect(exposition);
        let (jobs, clusters): (Vec<_>, Vec<_>) = {
            let state = state.lock();
            let clusters = state.clusters.iter().map(|cluster| Arc::clone(&cluster.runtime));
            (state.jobs.values().cloned().collect(), clusters.collect())
        };
        for job in jobs {
            let Some(counts) = job.read(|targets| targets.counts()) else { continue };
            let labels = [("job", &*job.config().job_name)];
            gauge(
                exposition,
                "outrigger_discovery_targets",
                "Targets found, without duplicates.",
                &labels,
                counts.active,
            );
            gauge(
                exposition,
                "outrigger_discovery_dropped_targets",
                "Targets that relabelling drops.",
                &labels,
                counts.dropped,
            );
            gauge(
                exposition,
                "outrigger_discovery_failed_targets",
                "Targets that cannot be scraped as they are after relabelling.",
                &labels,
                counts.failed,
            );
            if let Some(last) = job.last_update() {
                exposition
                    .family(
                        "outrigger_discovery_last_update_timestamp_seconds",
                        "When the job's targets changed last.",
                        MetricKind::Gauge,
                    )
                    .sample(&labels, last.seconds());
            }
        }
        for cluster in clusters {
            exposition
                .family(
                    "outrigger_discovery_changes_total",
                    "Changed and deleted objects that discovery looked at.",
                    MetricKind::Counter,
                )
                .sample(&[("cluster", cluster.name())], cluster.changes() as f64);
            let memory = cluster.mirror.read().memory();
            for table in memory {
                let resource = table.resource.to_string();
                let labels = [("cluster", cluster.name()), ("resource", resource.as_str())];
                gauge(
                    exposition,
                    "outrigger_mirror_rows",
                    "Objects in the mirror.",
                    &labels,
                    table.rows as u64,
                );
                gauge(
                    exposition,
                    "outrigger_mirror_bytes",
                    "Memory of the mirror's table.",
                    &labels,
                    table.bytes as u64,
                );
            }
        }
    });
}

fn gauge(exposition: &mut Exposition, name: &str, help: &str, labels: &[(&str, &str)], value: u64) {
    exposition.family(name, help, MetricKind::Gauge).sample(labels, value as f64);
}

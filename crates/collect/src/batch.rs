//! What a scrape yields, and who takes it.

use std::sync::Arc;

use outrigger_model::sample::Sample;
pub use outrigger_wire::remote_write::MetricMetadata;

use crate::series::Series;

/// Everything that one scrape of one target adds: its samples, the stale markers of series that vanished and
/// the scrape's own report (`up` and so on), all or nothing.
#[derive(Debug, Clone)]
pub struct ScrapeBatch {
    /// `job_name` of the scrape configuration.
    pub job: Arc<str>,
    /// In the order of the exposition; within one series in order of time.
    pub samples: Vec<(Arc<Series>, Sample)>,
    /// Metric families that are new, changed, or were last handed over a while ago.
    pub metadata: Vec<Arc<MetricMetadata>>,
}

/// Takes the batches of all targets.
///
/// An implementation never blocks on I/O and never fails: when its bounded memory is full it drops by its own
/// rule and counts what it drops.
pub trait SampleSink: Send + Sync {
    /// Takes one batch. Batches of one target arrive in order of time.
    fn append(&self, batch: ScrapeBatch);
}

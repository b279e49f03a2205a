//! What a scrape yields, and who takes it.

use std::sync::Arc;

use outrigger_model::histogram::Histogram;
use outrigger_model::sample::{Exemplar, Timestamp};
pub use outrigger_wire::remote_write::MetricMetadata;

use crate::series::{SeriesId, SeriesTable};

/// Everything that one scrape of one target adds: its samples, the stale markers of series that vanished and
/// the scrape's own report (`up` and so on), all or nothing.
#[derive(Debug, Clone, Copy)]
pub struct ScrapeBatch<'a> {
    /// `job_name` of the scrape configuration.
    pub job: &'a Arc<str>,
    /// Identity of the target, the same after a restart.
    pub target: u64,
    /// The series that the samples are of.
    pub series: &'a SeriesTable,
    /// In the order of the exposition; within one series in order of time.
    pub samples: &'a [BatchSample],
    /// Native histograms, as `samples`. The stale marker of a series that was one is a sample.
    pub histograms: &'a [BatchHistogram],
    /// Examples of what went into the samples, each with a time.
    pub exemplars: &'a [BatchExemplar],
    /// Since when series have counted, where their target says so and the job wants it.
    pub starts: &'a [BatchStart],
    /// Metric families that are new, changed, or were last handed over a while ago.
    pub metadata: &'a [Arc<MetricMetadata>],
}

impl ScrapeBatch<'_> {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
            && self.histograms.is_empty()
            && self.exemplars.is_empty()
            && self.metadata.is_empty()
    }
}

/// One value of one series.
#[derive(Debug, Clone, Copy)]
pub struct BatchSample {
    /// Which series of the batch's table.
    pub series: SeriesId,
    /// When.
    pub timestamp: Timestamp,
    /// What; may be the stale marker.
    pub value: f64,
}

/// One native histogram of one series.
#[derive(Debug, Clone)]
pub struct BatchHistogram {
    /// Which series of the batch's table.
    pub series: SeriesId,
    /// When.
    pub timestamp: Timestamp,
    /// What.
    pub histogram: Box<Histogram>,
}

/// One exemplar of one series.
#[derive(Debug, Clone)]
pub struct BatchExemplar {
    /// Which series of the batch's table.
    pub series: SeriesId,
    /// When, where the exemplar does not say so itself.
    pub timestamp: Timestamp,
    /// What.
    pub exemplar: Exemplar,
}

/// Since when one series has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchStart {
    /// Which series of the batch's table.
    pub series: SeriesId,
    /// Since when.
    pub start: Timestamp,
}

/// Takes the batches of all targets.
///
/// An implementation never blocks on I/O and never fails: when its bounded memory is full it drops by its own
/// rule and counts what it drops.
pub trait SampleSink: Send + Sync {
    /// Takes one batch. Batches of one target arrive in order of time.
    fn append(&self, batch: &ScrapeBatch<'_>);
}

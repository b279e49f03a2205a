//! What discovery finds and what the scrape engine scrapes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::labels::Labels;

/// Targets that one discovery object yields (Prometheus `targetgroup.Group`).
///
/// `source` identifies the object within its discovery configuration; a later group of the same source
/// replaces the earlier one, and a group without targets removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetGroup {
    /// For example `pod/default/web-0`.
    pub source: Arc<str>,
    /// Labels of every target that does not set them itself.
    pub labels: Labels,
    /// One label set for each target; `__address__` is where it listens.
    pub targets: Vec<Labels>,
}

/// Identity of a target within its job: the hash of its labels after relabelling (those with a leading `__`
/// included) and of its URL. Equal in every process, so a restart or another worker keeps the scrape phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(pub u64);

impl fmt::Display for TargetId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// A target after relabelling, ready to be scraped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrapeTarget {
    /// Identity within the job.
    pub id: TargetId,
    /// `job_name` of the scrape configuration (not the `job` label, which relabelling may change).
    pub job: Arc<str>,
    /// Full URL with parameters.
    pub url: String,
    /// Labels added to every sample; none starts with `__`.
    pub labels: Labels,
    /// Time between scrapes.
    pub interval: Duration,
    /// Time a scrape may take, at most `interval`.
    pub timeout: Duration,
    /// What becomes of its histograms: the job's settings, or its own by relabelling.
    pub histograms: HistogramOptions,
}

/// How the histograms of one target are read (Prometheus 3.13 and later: `__scrape_native_histograms__` and its kin).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HistogramOptions {
    /// Native histograms are taken (`scrape_native_histograms`).
    pub native: bool,
    /// Classic series are taken beside the native histogram of the same name (`always_scrape_classic_histograms`).
    pub always_classic: bool,
    /// Classic histograms become native ones with custom buckets (`convert_classic_histograms_to_nhcb`).
    pub convert_classic: bool,
}

/// A change of one job's targets.
#[derive(Debug, Clone, Default)]
pub struct TargetDelta {
    /// `job_name` of the scrape configuration.
    pub job: Arc<str>,
    /// Targets that appeared; a known id replaces the earlier target without a gap.
    pub added: Vec<Arc<ScrapeTarget>>,
    /// Targets that are gone.
    pub removed: Vec<TargetId>,
    /// The job now has more targets than `target_limit`: every scrape of it must fail, none is removed.
    pub over_target_limit: bool,
}

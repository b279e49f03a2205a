//! What is known of a target's last scrape, for the page and `/api/v1/targets`.

use std::time::Duration;

use outrigger_model::sample::Timestamp;
use outrigger_model::target::TargetId;

/// Health of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// Not scraped yet.
    #[default]
    Unknown,
    /// The last scrape succeeded.
    Up,
    /// The last scrape failed.
    Down,
}

impl Health {
    /// As Prometheus' API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Up => "up",
            Health::Down => "down",
        }
    }
}

/// A target's last scrape.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TargetStatus {
    /// Outcome.
    pub health: Health,
    /// Why it failed; empty when it did not.
    pub last_error: String,
    /// When it began; `None` before the first.
    pub last_scrape: Option<Timestamp>,
    /// How long it took.
    pub last_scrape_duration: Duration,
    /// Samples in the body.
    pub samples_scraped: usize,
    /// Samples left after metric relabelling.
    pub samples_post_metric_relabeling: usize,
    /// Uncompressed size of the body in bytes.
    pub body_bytes: usize,
}

/// What a target costs, by its last scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetCost {
    /// Identity within the job.
    pub id: TargetId,
    /// Time between its scrapes.
    pub interval: Duration,
    /// Samples left after metric relabelling and uncompressed size of the body; `None` unless the last scrape succeeded.
    pub measured: Option<(u64, u64)>,
    /// Counts up when other series than before are there.
    pub series_changes: u32,
}

//! What the page shows of an endpoint.

use std::sync::atomic::Ordering;

use outrigger_model::sample::Timestamp;

use super::endpoint::Endpoint;
use super::metrics::DropReason;

/// The state of one endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointStatus {
    /// Name in the configuration.
    pub name: String,
    /// URL without user information and query.
    pub url: String,
    /// Parallel senders.
    pub shards: usize,
    /// `min_shards` and `max_shards`.
    pub shard_bounds: (usize, usize),
    /// Samples that wait or are being sent.
    pub pending_samples: u64,
    /// Their memory.
    pub pending_bytes: u64,
    /// Bound of that memory.
    pub limit_bytes: u64,
    /// What the disk queue takes on the disk; 0 without one.
    pub disk_bytes: u64,
    /// Age of the oldest sample that is not delivered.
    pub lag_seconds: f64,
    /// Samples that the receiver accepted.
    pub samples_sent: u64,
    /// Requests that failed and were repeated.
    pub requests_retried: u64,
    /// Samples that were lost, by reason; only reasons that occurred.
    pub samples_dropped: Vec<(DropReason, u64)>,
    /// When a request was last accepted.
    pub last_success: Option<Timestamp>,
    /// When a request last failed, and how.
    pub last_error: Option<(Timestamp, String)>,
}

impl EndpointStatus {
    /// Whether the last answer was a failure.
    pub fn is_failing(&self) -> bool {
        match (&self.last_error, self.last_success) {
            (Some((failed, _)), Some(succeeded)) => *failed > succeeded,
            (failed, _) => failed.is_some(),
        }
    }

    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        let settings = endpoint.settings();
        let stats = endpoint.stats();
        let last = stats.last();
        let dropped = DropReason::ALL.map(|reason| (reason, stats.dropped(reason)));
        Self {
            name: settings.config.name.clone(),
            url: without_secrets(&settings.config.url),
            shards: endpoint.shards(),
            shard_bounds: (settings.config.queue.min_shards, settings.config.queue.max_shards),
            pending_samples: endpoint.queue().samples(),
            pending_bytes: endpoint.queue().bytes(),
            limit_bytes: settings.queue_bytes,
            disk_bytes: endpoint.queue().disk().map_or(0, |disk| disk.statistics().disk_bytes),
            lag_seconds: endpoint.lag_seconds(),
            samples_sent: stats.samples_sent.load(Ordering::Relaxed),
            requests_retried: stats.retried_requests.load(Ordering::Relaxed),
            samples_dropped: dropped.into_iter().filter(|(_, samples)| *samples > 0).collect(),
            last_success: last.success,
            last_error: last.error,
        }
    }
}

/// The URL up to its query, without `user:password@`.
fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        for (url, shown) in [
            ("http://h:9090/api/v1/write", "http://h:9090/api/v1/write"),
            ("https://user:p%40ss@h/write?token=x#y", "https://h/write"),
            ("https://user@h", "https://h"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}

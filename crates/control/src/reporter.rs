//! Errors of discovery: counted each, logged now and then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use outrigger_model::clock::SharedClock;
use outrigger_model::sample::Timestamp;
use outrigger_rt::log_limit::LogLimit;
use outrigger_rt::metrics::{Exposition, MetricKind};

/// One line about the same subject at most this often.
const LOG_PERIOD: Duration = Duration::from_secs(30);

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorReason {
    /// A target after relabelling cannot be scraped.
    Target,
    /// A target file cannot be read or parsed.
    File,
    /// An HTTP discovery server gave no usable answer.
    Http,
    /// A cluster's credentials cannot be loaded.
    Cluster,
    /// A Kubernetes object cannot be read.
    Object,
}

impl ErrorReason {
    const ALL: [ErrorReason; 5] = [
        ErrorReason::Target,
        ErrorReason::File,
        ErrorReason::Http,
        ErrorReason::Cluster,
        ErrorReason::Object,
    ];

    fn as_str(self) -> &'static str {
        match self {
            ErrorReason::Target => "target",
            ErrorReason::File => "file",
            ErrorReason::Http => "http",
            ErrorReason::Cluster => "cluster",
            ErrorReason::Object => "object",
        }
    }
}

/// Counts and logs errors, and knows the time.
#[derive(Debug)]
pub(crate) struct Reporter {
    clock: SharedClock,
    errors: [AtomicU64; 5],
    limit: LogLimit,
}

impl Reporter {
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self { clock, errors: Default::default(), limit: LogLimit::new(LOG_PERIOD) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Counts an error; `log` writes the line about `subject` when it is time for one, given the number of lines
    /// left out.
    pub(crate) fn error(&self, reason: ErrorReason, subject: &str, log: impl FnOnce(u64)) {
        self.errors[reason as usize].fetch_add(1, Ordering::Relaxed);
        if let Some(suppressed) = self.limit.permit(&format!("{}/{subject}", reason.as_str())) {
            log(suppressed);
        }
    }

    pub(crate) fn collect(&self, exposition: &mut Exposition) {
        let mut family = exposition.family(
            "outrigger_discovery_errors_total",
            "What discovery could not use, by reason.",
            MetricKind::Counter,
        );
        for reason in ErrorReason::ALL {
            let count = self.errors[reason as usize].load(Ordering::Relaxed);
            family.sample(&[("reason", reason.as_str())], count as f64);
        }
    }
}

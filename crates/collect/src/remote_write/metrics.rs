//! What an endpoint counts, for `/metrics` and for the page.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use outrigger_model::sample::Timestamp;
use outrigger_rt::metrics::{Exposition, MetricKind};
use parking_lot::Mutex;

use super::disk::Disk;
use super::endpoint::Endpoint;

/// Why samples did not reach the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// The memory for the endpoint, or its disk queue, was full; the oldest samples went first.
    QueueFull,
    /// The receiver refused the content for good.
    Rejected,
    /// Older than `sample_age_limit`.
    TooOld,
    /// Not delivered within the time for shutting down or removing the endpoint.
    Shutdown,
    /// Damaged on disk.
    Corrupt,
    /// Native histograms with custom buckets, which remote write 1.0 does not know.
    Unsupported,
    /// A defect of Outrigger; the log says more.
    Internal,
}

impl DropReason {
    /// All reasons.
    pub const ALL: [DropReason; 7] = [
        DropReason::QueueFull,
        DropReason::Rejected,
        DropReason::TooOld,
        DropReason::Shutdown,
        DropReason::Corrupt,
        DropReason::Unsupported,
        DropReason::Internal,
    ];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::QueueFull => "queue_full",
            DropReason::Rejected => "rejected",
            DropReason::TooOld => "too_old",
            DropReason::Shutdown => "shutdown",
            DropReason::Corrupt => "corrupt",
            DropReason::Unsupported => "unsupported",
            DropReason::Internal => "internal",
        }
    }
}

/// Counters of one endpoint; they survive a reload that keeps the endpoint.
#[derive(Debug, Default)]
pub(crate) struct EndpointStats {
    pub(crate) samples_in: AtomicU64,
    pub(crate) samples_filtered: AtomicU64,
    pub(crate) exemplars_in: AtomicU64,
    pub(crate) samples_sent: AtomicU64,
    pub(crate) batches_sent: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) retried_requests: AtomicU64,
    pub(crate) metadata_sent: AtomicU64,
    pub(crate) metadata_failed: AtomicU64,
    /// Time in requests that were answered well.
    pub(crate) sending_micros: AtomicU64,
    /// Time of the newest sample delivered.
    newest_sent: AtomicI64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    last: Mutex<LastOutcomes>,
}

/// The last success and the last failure.
#[derive(Debug, Default, Clone)]
pub(crate) struct LastOutcomes {
    pub(crate) success: Option<Timestamp>,
    pub(crate) error: Option<(Timestamp, String)>,
}

impl EndpointStats {
    pub(crate) fn drop_samples(&self, reason: DropReason, samples: u64) {
        self.dropped[reason as usize].fetch_add(samples, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn delivered(
        &self,
        samples: u64,
        bytes: u64,
        took: Duration,
        newest: Timestamp,
        now: Timestamp,
    ) {
        self.samples_sent.fetch_add(samples, Ordering::Relaxed);
        self.batches_sent.fetch_add(1, Ordering::Relaxed);
        self.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
        self.sending_micros.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        self.newest_sent.fetch_max(newest.millis(), Ordering::Relaxed);
        self.last.lock().success = Some(now);
    }

    pub(crate) fn failed(&self, error: String, now: Timestamp) {
        self.last.lock().error = Some((now, error));
    }

    pub(crate) fn last(&self) -> LastOutcomes {
        self.last.lock().clone()
    }

    /// Time of the newest sample delivered; the epoch before the first.
    pub(crate) fn newest_sent(&self) -> Timestamp {
        Timestamp::from_millis(self.newest_sent.load(Ordering::Relaxed))
    }
}

type Read = fn(&Endpoint) -> f64;

const SIMPLE: [(&str, &str, MetricKind, Read); 14] = [
    (
        "outrigger_remote_write_samples_in_total",
        "Samples taken in for the endpoint, after write_relabel_configs.",
        MetricKind::Counter,
        |endpoint| load(&endpoint.stats().samples_in),
    ),
    (
        "outrigger_remote_write_samples_filtered_total",
        "Samples that write_relabel_configs keeps from the endpoint.",
        MetricKind::Counter,
        |endpoint| load(&endpoint.stats().samples_filtered),
    ),
    (
        "outrigger_remote_write_samples_sent_total",
        "Samples that the receiver accepted.",
        MetricKind::Counter,
        |endpoint| load(&endpoint.stats().samples_sent),
    ),
    (
        "outrigger_remote_write_batches_sent_total",
        "Requests with samples that the receiver accepted.",
        MetricKind::Counter,
        |endpoint| load(&endpoint.stats().batches_sent),
    ),
    (
        "outrigger_remote_write_bytes_sent_total",
        "Compressed bytes of requests with samples that the receiver accepted.",
        MetricKind::Counter,
        |endpoint| load(&endpoint.stats().bytes_sent),
    ),
    (
        "outrigger_remote_write_requests_retried_total",
        "Requests that failed and are repeated.",
        MetricKind::Counter,
        |endpoint| load(&endpoint.stats().retried_requests),
    ),
    (
        "outrigger_remote_write_metadata_sent_total",
        "Metric families whose metadata the receiver accepted.",
        MetricKind::Counter,
        |endpoint| load(&endpoint.stats().metadata_sent),
    ),
    (
        "outrigger_remote_write_metadata_failed_total",
        "Metric families whose metadata the receiver refused.",
        MetricKind::Counter,
        |endpoint| load(&endpoint.stats().metadata_failed),
    ),
    (
        "outrigger_remote_write_exemplars_in_total",
        "Exemplars taken in for the endpoint.",
        MetricKind::Counter,
        |endpoint| load(&endpoint.stats().exemplars_in),
    ),
    (
        "outrigger_remote_write_pending_samples",
        "Samples that wait or are being sent.",
        MetricKind::Gauge,
        |endpoint| endpoint.queue().samples() as f64,
    ),
    (
        "outrigger_remote_write_pending_bytes",
        "Memory of samples that wait or are being sent.",
        MetricKind::Gauge,
        |endpoint| endpoint.queue().bytes() as f64,
    ),
    (
        "outrigger_remote_write_queue_limit_bytes",
        "Most memory for samples that wait; beyond it the oldest are dropped.",
        MetricKind::Gauge,
        |endpoint| endpoint.queue_limit_bytes() as f64,
    ),
    (
        "outrigger_remote_write_lag_seconds",
        "Age of the oldest sample that waits or is being sent.",
        MetricKind::Gauge,
        |endpoint| endpoint.lag_seconds(),
    ),
    ("outrigger_remote_write_shards", "Parallel senders.", MetricKind::Gauge, |endpoint| {
        endpoint.shards() as f64
    }),
];

fn load(counter: &AtomicU64) -> f64 {
    counter.load(Ordering::Relaxed) as f64
}

/// Writes the metrics of all endpoints, by name.
pub(crate) fn expose(endpoints: &BTreeMap<String, Arc<Endpoint>>, exposition: &mut Exposition) {
    for (name, help, kind, read) in SIMPLE {
        let mut family = exposition.family(name, help, kind);
        for (endpoint_name, endpoint) in endpoints {
            family.sample(&[("endpoint", endpoint_name)], read(endpoint));
        }
    }
    expose_disks(endpoints, exposition);
    let mut family = exposition.family(
        "outrigger_remote_write_protocol_info",
        "How requests are encoded.",
        MetricKind::Gauge,
    );
    for (endpoint_name, endpoint) in endpoints {
        let protocol = endpoint.queue().negotiation().protocol().as_str();
        family.sample(&[("endpoint", endpoint_name), ("protocol", protocol)], 1.0);
    }
    let mut family = exposition.family(
        "outrigger_remote_write_samples_dropped_total",
        "Samples that were lost for the endpoint, by reason.",
        MetricKind::Counter,
    );
    for (endpoint_name, endpoint) in endpoints {
        for reason in DropReason::ALL {
            let labels = [("endpoint", endpoint_name.as_str()), ("reason", reason.as_str())];
            family.sample(&labels, endpoint.stats().dropped(reason) as f64);
        }
    }
}

type ReadDisk = fn(&Disk) -> f64;

const OF_DISKS: [(&str, &str, MetricKind, ReadDisk); 6] = [
    (
        "outrigger_remote_write_disk_bytes",
        "What the disk queue takes on the disk.",
        MetricKind::Gauge,
        |disk| disk.statistics().disk_bytes as f64,
    ),
    (
        "outrigger_remote_write_disk_batches",
        "Batches in the disk queue that are not delivered.",
        MetricKind::Gauge,
        |disk| disk.statistics().records as f64,
    ),
    (
        "outrigger_remote_write_disk_samples_written_total",
        "Samples written to the disk queue: from then on they outlive the process.",
        MetricKind::Counter,
        |disk| disk.samples_written() as f64,
    ),
    (
        "outrigger_remote_write_disk_corrupt_records_total",
        "Damaged records that were met in the disk queue.",
        MetricKind::Counter,
        |disk| disk.statistics().corrupt.total() as f64,
    ),
    (
        "outrigger_remote_write_disk_failures_total",
        "Failed writes, acknowledgements and syncs of the disk queue.",
        MetricKind::Counter,
        |disk| disk.failures() as f64,
    ),
    (
        "outrigger_remote_write_disk_failing",
        "1 when the last attempt to write to the disk queue failed; batches are then in memory only.",
        MetricKind::Gauge,
        |disk| f64::from(u8::from(disk.is_failing())),
    ),
];

fn expose_disks(endpoints: &BTreeMap<String, Arc<Endpoint>>, exposition: &mut Exposition) {
    for (name, help, kind, read) in OF_DISKS {
        let mut family = exposition.family(name, help, kind);
        for (endpoint_name, endpoint) in endpoints {
            if let Some(disk) = endpoint.queue().disk() {
                family.sample(&[("endpoint", endpoint_name)], read(disk));
            }
        }
    }
}

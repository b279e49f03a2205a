//! The disk queue of one endpoint: batches are written as they are completed and acknowledged as they are delivered.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use outrigger_model::fault;
use outrigger_model::labels::Fnv1a;
use outrigger_storage::queue::{
    AppendError, Appended, DiskQueue, OpenQueueError, QueueOptions, QueueStatistics, ReadRecordError, Record,
    RecordId, RecordMeta, Recovery,
};
use tokio::sync::Notify;

/// How long after a failure the next attempt to write is made.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// How often what was written is made to survive the machine.
pub(crate) const SYNC: Duration = Duration::from_secs(5);

/// A disk queue and how it fares.
#[derive(Debug)]
pub(crate) struct Disk {
    directory: PathBuf,
    queue: Arc<DiskQueue>,
    wake: Notify,
    /// The last attempt to write failed.
    failing: AtomicBool,
    failures: AtomicU64,
    samples_written: AtomicU64,
}

impl Disk {
    /// Opens the queue in `directory`; also returns what was kept there.
    pub(crate) fn open(directory: &Path, max_bytes: u64) -> Result<(Self, Vec<Record>), OpenQueueError> {
        let (queue, recovery) = DiskQueue::open(directory, QueueOptions::new(max_bytes))?;
        report(directory, &recovery);
        let disk = Self {
            directory: directory.to_owned(),
            queue: Arc::new(queue),
            wake: Notify::new(),
            failing: AtomicBool::new(false),
            failures: AtomicU64::new(0),
            samples_written: AtomicU64::new(0),
        };
        Ok((disk, recovery.records))
    }

    /// Something is to be written.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until something may have to be written.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Writes a batch, away from the runtime's own threads.
    pub(crate) async fn write(&self, meta: RecordMeta, body: Bytes) -> Result<Appended, AppendError> {
        let queue = Arc::clone(&self.queue);
        let appended = tokio::task::spawn_blocking(move || queue.append(meta, &body)).await;
        let appended = appended.expect("writing does not panic");
        self.failing.store(appended.is_err(), Ordering::Relaxed);
        match appended {
            Ok(_) => self.samples_written.fetch_add(u64::from(meta.samples), Ordering::Relaxed),
            Err(_) => self.failures.fetch_add(1, Ordering::Relaxed),
        };
        appended
    }

    /// Reads a batch, away from the runtime's own threads.
    pub(crate) async fn read(&self, record: RecordId) -> Result<Bytes, ReadRecordError> {
        let queue = Arc::clone(&self.queue);
        let read = tokio::task::spawn_blocking(move || queue.read(record)).await;
        read.expect("reading does not panic").map(Bytes::from)
    }

    /// A batch is done with. What cannot be noted is sent again after a restart.
    pub(crate) fn acknowledge(&self, record: RecordId) {
        if let Err(error) = self.queue.acknowledge(record) {
            tracing::debug!(error = %fault::chain(&error), "cannot note on disk that a batch was delivered");
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Makes what was written survive the machine, away from the runtime's own threads.
    pub(crate) async fn sync(&self) {
        let queue = Arc::clone(&self.queue);
        let synced = tokio::task::spawn_blocking(move || queue.sync()).await;
        if let Ok(Err(error)) = synced {
            tracing::debug!(error = %fault::chain(&error), "cannot sync the disk queue");
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Changes the bound; returns what had to go for it.
    pub(crate) fn set_max_bytes(&self, max_bytes: u64) -> Vec<Record> {
        self.queue.set_max_bytes(max_bytes)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn statistics(&self) -> QueueStatistics {
        self.queue.statistics()
    }

    /// Whether the last attempt to write failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Samples that were written since the start.
    pub(crate) fn samples_written(&self) -> u64 {
        self.samples_written.load(Ordering::Relaxed)
    }

    /// Failed writes, acknowledgements and syncs.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

fn report(directory: &Path, recovery: &Recovery) {
    let directory = directory.display();
    let samples =
        |records: &[Record]| -> u64 { records.iter().map(|record| u64::from(record.meta.samples)).sum() };
    if !recovery.records.is_empty() {
        tracing::info!(
            %directory,
            batches = recovery.records.len(),
            samples = samples(&recovery.records),
            "samples of the last run wait on disk and are sent first"
        );
    }
    if !recovery.evicted.is_empty() {
        tracing::warn!(
            %directory,
            samples = samples(&recovery.evicted),
            "the disk queue may now be smaller, its oldest samples were dropped"
        );
    }
    if recovery.corrupt.total() > 0 {
        tracing::warn!(%directory, corrupt = ?recovery.corrupt, "records of the disk queue are damaged and were skipped");
    }
    for left in &recovery.left_alone {
        tracing::warn!(file = %left.path.display(), reason = %left.reason, "a file in the disk queue is left alone");
    }
}

/// Where the queue of the endpoint at `url` is below `root`; `twin` counts endpoints with the same URL before it.
///
/// By URL, not by name: a name that is not configured changes with every setting.
pub(crate) fn directory(root: &Path, url: &str, twin: usize) -> PathBuf {
    let mut hash = Fnv1a::new();
    hash.update(url.as_bytes());
    let hash = hash.finish();
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).take(64).collect();
    let twin = if twin == 0 { String::new() } else { format!("-{twin}") };
    root.join(format!("{host}-{hash:016x}{twin}"))
}

/// Directories below `root` that are not in `used`: queues of endpoints that are no longer configured.
pub(crate) fn orphans(root: &Path, used: &[PathBuf]) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| path.is_dir() && !used.contains(path)).collect()
}

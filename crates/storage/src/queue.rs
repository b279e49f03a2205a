//! The write-ahead queue of one remote-write endpoint.
//!
//! Records are opaque to it: an encoded batch with a few numbers that the sender wants to know without reading it.
//! They are kept in the order they were appended until each is acknowledged, in segment files of one directory, within
//! a number of bytes; beyond that the oldest go.
//!
//! | the process is killed | every record whose [`append`](DiskQueue::append) returned is there again, once, in order |
//! |---|---|
//! | the machine goes down | the same for what the last [`sync`](DiskQueue::sync) covered; acknowledged ones may come back |
//! | bytes are damaged | the records they belong to are lost and counted, no others |
//! | the disk is full or read-only | `append` says so and leaves nothing behind; it works again once the disk does |
//!
//! Everything here but the counts blocks on file I/O. `append` and `acknowledge` write to the page cache, one at a time,
//! and are over in microseconds unless the kernel holds them up, as it does where the disk is slower than what is
//! written; `read` may wait for the disk; `open` reads every record's header; `sync` waits for the disk, and does not
//! hold up the others while it does.

use std::fmt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

pub use self::corrupt::{CorruptCounts, CorruptReason};
pub use self::error::{
    AcknowledgeError, AppendError, DiskTrouble, OpenQueueError, ReadRecordError, SyncError,
};
use self::log::Log;

mod compact;
mod corrupt;
mod directory;
mod error;
mod format;
mod handles;
mod index;
mod log;
mod recover;
mod scan;
mod sync;

/// The longest payload of a record, whatever the queue's size.
pub const MAX_PAYLOAD_BYTES: u32 = 256 << 20;

/// The size of a segment unless told otherwise.
pub const DEFAULT_SEGMENT_BYTES: u32 = 16 << 20;

/// A record of one queue. Later records have greater ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(u64);

impl fmt::Display for RecordId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.0 >> 32, self.0 & u64::from(u32::MAX))
    }
}

/// What a record's owner wants to know without reading its payload. The queue only keeps it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordMeta {
    /// Which arrangement of lanes `lane` belongs to.
    pub generation: u32,
    /// Records of one lane are to be delivered in order.
    pub lane: u32,
    /// How the payload is encoded.
    pub encoding: u8,
    /// Samples in the payload.
    pub samples: u32,
    /// The timestamp of its oldest sample, in Unix milliseconds.
    pub oldest_millis: i64,
    /// The timestamp of its newest sample, in Unix milliseconds.
    pub newest_millis: i64,
}

/// A record that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Its name in this queue.
    pub id: RecordId,
    /// What was given with it.
    pub meta: RecordMeta,
    /// Length of its payload.
    pub bytes: u32,
}

/// How large a queue may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueOptions {
    /// What the segment files may take on the disk together. An append may pass it by its own record, until it
    /// returns.
    pub max_bytes: u64,
    /// The size at which a new segment is begun; a segment is deleted as a whole. At most an eighth of `max_bytes` is
    /// used.
    pub segment_bytes: u32,
}

impl QueueOptions {
    /// Segments of [`DEFAULT_SEGMENT_BYTES`].
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes, segment_bytes: DEFAULT_SEGMENT_BYTES }
    }
}

/// What [`DiskQueue::open`] found.
#[derive(Debug, Default)]
pub struct Recovery {
    /// What waits, in the order it was appended. Payloads are checked when they are read.
    pub records: Vec<Record>,
    /// What had to go because the queue may now be smaller, oldest first.
    pub evicted: Vec<Record>,
    /// What was damaged.
    pub corrupt: CorruptCounts,
    /// Files that are not this queue's to read. They stay as they are and do not count as its bytes.
    pub left_alone: Vec<LeftAlone>,
}

/// A file in the queue's directory that was not touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftAlone {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub reason: LeftAloneReason,
}

/// Why a file was not touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftAloneReason {
    /// It is not named like a segment, or is named like one and holds something else.
    Foreign,
    /// A segment in the format of another version of Outrigger.
    OtherVersion(u32),
    /// A segment that was renamed: it was written under this number.
    Renamed(u32),
    /// It could not be opened or examined, with what the system says.
    Unreadable(String),
}

impl fmt::Display for LeftAloneReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => write!(formatter, "not a segment of the queue"),
            Self::OtherVersion(version) => {
                write!(formatter, "a segment in format {version}, which this version does not read")
            }
            Self::Renamed(number) => write!(formatter, "a renamed segment that was number {number}"),
            Self::Unreadable(reason) => write!(formatter, "{reason}"),
        }
    }
}

/// What [`DiskQueue::append`] did.
#[derive(Debug)]
pub struct Appended {
    /// The record's name.
    pub id: RecordId,
    /// What had to go to make room, oldest first.
    pub evicted: Vec<Record>,
}

/// What a queue holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStatistics {
    /// Records that wait.
    pub records: usize,
    /// What they take in their segments.
    pub pending_bytes: u64,
    /// What all segments take on the disk, records that are done with included.
    pub disk_bytes: u64,
    /// Segment files.
    pub segments: usize,
    /// Damage met since the queue was opened, then included.
    pub corrupt: CorruptCounts,
}

/// A queue on disk, locked for this process. Shared between threads by reference.
///
/// Dropping it leaves the disk as `kill -9` would: call [`sync`](Self::sync) before an orderly end.
#[derive(Debug)]
pub struct DiskQueue {
    log: Mutex<Log>,
    /// As of the last change, for those who must not wait for a write.
    statistics: Mutex<QueueStatistics>,
    /// Held by the one `sync` at work.
    syncing: Mutex<()>,
}

impl DiskQueue {
    /// Opens the queue in this directory, which is made if it is missing.
    ///
    /// Reads the header of every record. What is torn at the end of the last segment is cut off, segments with nothing
    /// left in them are deleted, and so is what a smaller `max_bytes` has no room for.
    pub fn open(directory: &Path, options: QueueOptions) -> Result<(DiskQueue, Recovery), OpenQueueError> {
        let (log, recovery) = recover::open(directory, options)?;
        let statistics = Mutex::new(log.statistics());
        Ok((DiskQueue { log: Mutex::new(log), statistics, syncing: Mutex::new(()) }, recovery))
    }

    /// Writes a record at the end. Once this returns it survives the death of the process, and with the next
    /// [`sync`](Self::sync) that of the machine.
    ///
    /// If the queue is then too large, half-empty segments are emptied and deleted: the few records of a lane that is
    /// stuck do not keep what others had delivered on the disk. If that is not enough, the oldest records go. On an error nothing of the record stays in the queue.
    pub fn append(&self, meta: RecordMeta, payload: &[u8]) -> Result<Appended, AppendError> {
        let payload_crc = crc32fast::hash(payload);
        self.change(|log| log.append(meta, payload, payload_crc))
    }

    /// The payload of a record that waits, checked against its checksum. May wait for the disk.
    pub fn read(&self, id: RecordId) -> Result<Vec<u8>, ReadRecordError> {
        let place = self.log.lock().locate(id)?;
        let result = place.read();
        if matches!(result, Err(ReadRecordError::Corrupt { .. })) {
            self.change(|log| log.count_corrupt(CorruptReason::RecordPayload));
        }
        result
    }

    /// Notes that a record was delivered or given up: it does not come back after a restart. One that is not in the
    /// queue is ignored.
    pub fn acknowledge(&self, id: RecordId) -> Result<(), AcknowledgeError> {
        self.change(|log| log.acknowledge(id))
    }

    /// What the records that wait take.
    pub fn bytes(&self) -> u64 {
        self.statistics().pending_bytes
    }

    /// How many records wait.
    pub fn record_count(&self) -> usize {
        self.statistics().records
    }

    /// What the queue holds. Never waits for the disk, nor for another thread that does.
    pub fn statistics(&self) -> QueueStatistics {
        *self.statistics.lock()
    }

    /// Changes what the queue may take on the disk, and returns what had to go for it, oldest first.
    pub fn set_max_bytes(&self, max_bytes: u64) -> Vec<Record> {
        self.change(|log| log.set_max_bytes(max_bytes))
    }

    /// Makes everything that was appended and acknowledged before survive the death of the machine. For an orderly end
    /// and to be called every few seconds. Waits for the disk.
    ///
    /// Also deletes the segments that have nothing left in them and could not be deleted before.
    pub fn sync(&self) -> Result<(), SyncError> {
        let _syncing = self.syncing.lock();
        let result = sync::sync(&self.log);
        self.change(|_| ());
        result
    }

    fn change<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        let mut log = self.log.lock();
        let result = change(&mut log);
        *self.statistics.lock() = log.statistics();
        result
    }
}

#[cfg(test)]
mod tests;

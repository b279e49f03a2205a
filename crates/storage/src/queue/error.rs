//! What can go wrong, by the step that failed.

use std::io;
use std::path::PathBuf;

use outrigger_model::fault::{Blame, Retry};
use thiserror::Error;

use super::RecordId;

/// Why a queue could not be opened. Nothing was changed on the disk, and scraping need not wait for it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenQueueError {
    /// The directory is missing and could not be made.
    #[error("cannot create the queue directory {}", directory.display())]
    CreateDirectory {
        /// The queue's directory.
        directory: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The lock file could not be made or locked.
    #[error("cannot lock the queue by {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has the queue.
    #[error(
        "the queue in {} is in use by another process: end it, or give each process a directory of its own",
        directory.display()
    )]
    InUse {
        /// The queue's directory.
        directory: PathBuf,
    },
    /// The directory could not be listed.
    #[error("cannot list the queue directory {}", directory.display())]
    List {
        /// The queue's directory.
        directory: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl OpenQueueError {
    /// Always the machine.
    pub fn blame(&self) -> Blame {
        Blame::Us
    }

    /// Opening may succeed once the disk or the other process lets it.
    pub fn retry(&self) -> Retry {
        Retry::Backoff
    }
}

/// What kind of trouble keeps records off the disk. Bounded, so it can be a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskTrouble {
    /// No space, no quota, or the file size limit of the process.
    Full,
    /// The file system is mounted read-only.
    ReadOnly,
    /// The process may not write there.
    Forbidden,
    /// Anything else the system reports.
    Failed,
    /// The record is larger than the queue lets one record be.
    TooLarge,
}

impl DiskTrouble {
    /// The label value used in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            DiskTrouble::Full => "disk_full",
            DiskTrouble::ReadOnly => "read_only",
            DiskTrouble::Forbidden => "forbidden",
            DiskTrouble::Failed => "failed",
            DiskTrouble::TooLarge => "too_large",
        }
    }

    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full
            }
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::PermissionDenied => Self::Forbidden,
            _ => Self::Failed,
        }
    }
}

/// Why a record was not taken. Nothing of it stays in the queue, and the next one may succeed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The payload alone is more than a record may take.
    #[error("a record of {bytes} bytes is larger than the {limit} bytes one record may have in this queue")]
    TooLarge {
        /// Length of the payload.
        bytes: usize,
        /// The longest one taken: half of the queue's `max_bytes`, at most [`super::MAX_PAYLOAD_BYTES`].
        limit: u64,
    },
    /// A new segment file could not be made.
    #[error("cannot create the queue segment {}", path.display())]
    CreateSegment {
        /// The segment.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The record could not be written.
    #[error("cannot write to the queue segment {}", path.display())]
    Write {
        /// The segment.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl AppendError {
    /// The kind of trouble.
    pub fn trouble(&self) -> DiskTrouble {
        match self {
            AppendError::TooLarge { .. } => DiskTrouble::TooLarge,
            AppendError::CreateSegment { source, .. } | AppendError::Write { source, .. } => {
                DiskTrouble::of(source)
            }
        }
    }

    /// The configuration where one record is too large for the queue, else the machine.
    pub fn blame(&self) -> Blame {
        match self {
            AppendError::TooLarge { .. } => Blame::Configuration,
            _ => Blame::Us,
        }
    }

    /// A disk may get space again; a record that is too large stays so.
    pub fn retry(&self) -> Retry {
        match self {
            AppendError::TooLarge { .. } => Retry::No,
            _ => Retry::Backoff,
        }
    }
}

/// Why a record could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadRecordError {
    /// It was acknowledged or evicted.
    #[error("record {id} is no longer in the queue")]
    Gone {
        /// The record asked for.
        id: RecordId,
    },
    /// Its payload is damaged. The queue keeps it until it is acknowledged as given up.
    #[error("record {id} is damaged: {} does not have its checksum at byte {offset}", path.display())]
    Corrupt {
        /// The record asked for.
        id: RecordId,
        /// The segment.
        path: PathBuf,
        /// Where the record begins in it.
        offset: u32,
    },
    /// The file could not be opened or read.
    #[error("cannot read record {id} from {}", path.display())]
    Read {
        /// The record asked for.
        id: RecordId,
        /// The segment.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl ReadRecordError {
    /// Always the machine.
    pub fn blame(&self) -> Blame {
        Blame::Us
    }

    /// Whether the record is not in the queue any more.
    pub fn is_gone(&self) -> bool {
        matches!(self, ReadRecordError::Gone { .. })
    }

    /// Only a failed read may succeed later.
    pub fn retry(&self) -> Retry {
        match self {
            ReadRecordError::Read { .. } => Retry::Backoff,
            _ => Retry::No,
        }
    }
}

/// The disk did not take that a record is done with: this process does not give it out again, but after a restart it
/// is there once more.
#[derive(Debug, Error)]
#[error("cannot mark a record as delivered in {}", path.display())]
pub struct AcknowledgeError {
    /// The segment.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

impl AcknowledgeError {
    /// The kind of trouble.
    pub fn trouble(&self) -> DiskTrouble {
        DiskTrouble::of(&self.source)
    }
}

/// What a [`sync`](super::DiskQueue::sync) could not do: the first file that was not synced. The next one tries again.
#[derive(Debug, Error)]
#[error("cannot sync {} to the disk", path.display())]
pub struct SyncError {
    /// The segment or the directory.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

impl SyncError {
    /// The kind of trouble.
    pub fn trouble(&self) -> DiskTrouble {
        DiskTrouble::of(&self.source)
    }
}

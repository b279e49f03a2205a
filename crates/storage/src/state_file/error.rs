//! Why a state file cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use outrigger_model::fault::{Blame, Retry};

/// A state file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// Another process has it open.
    #[error(
        "state file {} is in use by another process (each master needs a data directory of its own)",
        path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of this program has written it.
    #[error(
        "state file {} has format {format}, which this version cannot read (start the newer version, or move the file away)",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u64,
    },
    /// The disk or the file is not as it should be.
    #[error("state file {}: {}", path.display(), trouble.advice())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What kind of trouble.
        trouble: StateTrouble,
        /// What was reported.
        source: Box<redb::Error>,
    },
}

/// What kind of trouble there is with a file. Bounded, so it can be a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateTrouble {
    /// Another process has it open.
    InUse,
    /// From a newer version.
    Newer,
    /// What is in it is damaged.
    Corrupt,
    /// No space, no quota, or the file size limit of the process.
    Full,
    /// The file system is mounted read-only.
    ReadOnly,
    /// The process may not use the file or its directory.
    Forbidden,
    /// Anything else the system reports.
    Failed,
}

impl StateTrouble {
    /// The label value used in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            StateTrouble::InUse => "in_use",
            StateTrouble::Newer => "newer",
            StateTrouble::Corrupt => "corrupt",
            StateTrouble::Full => "disk_full",
            StateTrouble::ReadOnly => "read_only",
            StateTrouble::Forbidden => "forbidden",
            StateTrouble::Failed => "failed",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            StateTrouble::Corrupt => "its content is damaged (move it away, a new one is begun then)",
            StateTrouble::Full => {
                "no space for it (free space on its disk, or raise the quota or file size limit)"
            }
            StateTrouble::ReadOnly => "its file system is mounted read-only (mount it writable)",
            StateTrouble::Forbidden => {
                "no permission (let this user read and write the file and its directory)"
            }
            StateTrouble::InUse | StateTrouble::Newer | StateTrouble::Failed => "it cannot be used",
        }
    }
}

impl StateFileError {
    /// Sorts what redb reports.
    pub(super) fn new(path: &Path, error: redb::Error) -> Self {
        let path = path.to_owned();
        let trouble = match &error {
            redb::Error::DatabaseAlreadyOpen => return StateFileError::InUse { path },
            redb::Error::Io(error) => trouble_of(error),
            redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TableIsNotMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableDoesNotExist(_) => StateTrouble::Corrupt,
            _ => StateTrouble::Failed,
        };
        StateFileError::Disk { path, trouble, source: Box::new(error) }
    }

    /// What kind of trouble it is.
    pub fn trouble(&self) -> StateTrouble {
        match self {
            StateFileError::InUse { .. } => StateTrouble::InUse,
            StateFileError::Newer { .. } => StateTrouble::Newer,
            StateFileError::Disk { trouble, .. } => *trouble,
        }
    }

    /// This machine's, or of whoever set it up.
    pub fn blame(&self) -> Blame {
        match self.trouble() {
            StateTrouble::InUse | StateTrouble::Newer | StateTrouble::ReadOnly | StateTrouble::Forbidden => {
                Blame::Configuration
            }
            StateTrouble::Corrupt | StateTrouble::Full | StateTrouble::Failed => Blame::Us,
        }
    }

    /// Disks are cleared and mounted anew; a newer format stays what it is.
    pub fn retry(&self) -> Retry {
        if self.trouble() == StateTrouble::Newer { Retry::No } else { Retry::Backoff }
    }
}

fn trouble_of(error: &io::Error) -> StateTrouble {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StateTrouble::Full
        }
        io::ErrorKind::ReadOnlyFilesystem => StateTrouble::ReadOnly,
        io::ErrorKind::PermissionDenied => StateTrouble::Forbidden,
        // What redb says of a file that is none of its own, or cut short.
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => StateTrouble::Corrupt,
        _ => StateTrouble::Failed,
    }
}

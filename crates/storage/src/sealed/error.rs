//! What can go wrong with a sealed file.

use std::io;
use std::path::PathBuf;

use outrigger_model::fault::{Blame, Retry};

use super::MAX_SEALED_BYTES;

/// A sealed file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SealedFileError {
    /// The system does not let it be read.
    #[error("cannot read {}: {}", path.display(), advice(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system does not let it be written.
    #[error("cannot write {}: {}", path.display(), advice(source))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is in it is not what was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        what: &'static str,
    },
    /// Another version of this program has written it.
    #[error("{} has format {format}, which this version does not read (start the version that wrote it)", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u16,
    },
    /// It is encrypted, and there is no key.
    #[error("{} is encrypted: set outrigger.state_encryption_key_file to the file with its key", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// It is encrypted with another key.
    #[error("{} is encrypted with another key than that of outrigger.state_encryption_key_file", path.display())]
    WrongKey {
        /// The file.
        path: PathBuf,
    },
    /// The value cannot be encrypted.
    #[error("{} is not written: the system gives no random numbers", path.display())]
    Encrypt {
        /// The file.
        path: PathBuf,
    },
    /// Beyond the limit.
    #[error("{} would be or is larger than {MAX_SEALED_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

/// What kind of trouble there is with a file. Bounded, so it can be a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealedTrouble {
    /// No space, no quota, or the file size limit of the process.
    Full,
    /// The file system is mounted read-only.
    ReadOnly,
    /// The process may not use the file or its directory.
    Forbidden,
    /// The content is not what was written.
    Damaged,
    /// Of another version.
    Newer,
    /// The key is missing or another one.
    WrongKey,
    /// Beyond the limit.
    TooLarge,
    /// Anything else.
    Failed,
}

impl SealedTrouble {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Full,
        Self::ReadOnly,
        Self::Forbidden,
        Self::Damaged,
        Self::Newer,
        Self::WrongKey,
        Self::TooLarge,
        Self::Failed,
    ];

    /// The label value used in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "disk_full",
            Self::ReadOnly => "read_only",
            Self::Forbidden => "forbidden",
            Self::Damaged => "damaged",
            Self::Newer => "newer",
            Self::WrongKey => "wrong_key",
            Self::TooLarge => "too_large",
            Self::Failed => "failed",
        }
    }

    fn of(error: &io::Error) -> Self {
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

impl SealedFileError {
    /// What kind of trouble it is.
    pub fn trouble(&self) -> SealedTrouble {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => SealedTrouble::of(source),
            Self::Damaged { .. } => SealedTrouble::Damaged,
            Self::Format { .. } => SealedTrouble::Newer,
            Self::NoKey { .. } | Self::WrongKey { .. } => SealedTrouble::WrongKey,
            Self::TooLarge { .. } => SealedTrouble::TooLarge,
            Self::Encrypt { .. } => SealedTrouble::Failed,
        }
    }

    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::NoKey { .. } | Self::WrongKey { .. } => Blame::Configuration,
            _ => Blame::Us,
        }
    }

    /// Whether the same may succeed later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Read { .. } | Self::Write { .. } | Self::Encrypt { .. } => Retry::Backoff,
            _ => Retry::No,
        }
    }
}

/// What to do about the system's word.
fn advice(error: &io::Error) -> &'static str {
    match SealedTrouble::of(error) {
        SealedTrouble::Full => {
            "no space for it (free space on its disk, or raise the quota or file size limit)"
        }
        SealedTrouble::ReadOnly => "its file system is mounted read-only (mount it writable)",
        SealedTrouble::Forbidden => "the process may not (let its user own the data directory)",
        _ => "the system reports an error",
    }
}

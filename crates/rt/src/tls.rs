//! TLS configurations for client and server.

use outrigger_model::fault::Blame;

use crate::file::FileError;

/// TLS settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// A file could not be read.
    #[error("{key}")]
    File {
        /// Configuration key.
        key: &'static str,
        /// File and reason.
        source: FileError,
    },
    /// Content that is not what it should be.
    #[error("{key}: {problem}")]
    Content {
        /// Configuration key, with the file if it is one.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// `min_version` and `max_version` leave nothing that is spoken.
    #[error("no TLS version from {min} to {max} is supported (supported are TLS12 and TLS13)")]
    Versions {
        /// Lowest.
        min: &'static str,
        /// Highest.
        max: &'static str,
    },
    /// The system has no certificate authorities.
    #[error("this system has no certificate authorities (set ca_file)")]
    NoSystemRoots,
}

impl TlsSetupError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            TlsSetupError::NoSystemRoots => Blame::Us,
            _ => Blame::Configuration,
        }
    }
}

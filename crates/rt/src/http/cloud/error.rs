//! Why a cloud vendor's identity is not there.

use crate::file::FileError;
use crate::http::HttpError;

/// Why a request could not be authenticated. No part of it is secret.
#[derive(Debug, thiserror::Error)]
pub enum CloudAuthError {
    /// A file that is named by the configuration or the environment could not be read.
    #[error("read the credentials")]
    File(#[from] FileError),
    /// What is configured, or what the environment says, cannot be used.
    #[error("{0}")]
    Setup(String),
    /// An identity provider was not reached.
    #[error("ask {provider}")]
    Request {
        /// Which one.
        provider: &'static str,
        /// How far it got.
        source: Box<HttpError>,
    },
    /// An identity provider refused; the text is its own.
    #[error("{provider} answered {status}{text}")]
    Refused {
        /// Which one.
        provider: &'static str,
        /// Status code.
        status: u16,
        /// Empty, or `: ` and the provider's words.
        text: String,
    },
    /// An identity provider's answer is of no use.
    #[error("the answer of {provider} is not usable: {problem}")]
    Answer {
        /// Which one.
        provider: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The private key does not sign.
    #[error("sign the assertion: {0}")]
    Sign(String),
    /// A header's value is not text, so it cannot be signed.
    #[error("header {0} is not text and cannot be signed")]
    Header(String),
}

//! Access tokens by OAuth 2.0 client credentials.

use crate::file::FileError;

use super::error::HttpError;

/// Why there is no access token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The client secret or key could not be read.
    #[error("read the client's secret")]
    Secret(#[source] FileError),
    /// The key does not sign.
    #[error("sign the assertion: {0}")]
    Sign(String),
    /// The token endpoint was not reached.
    #[error("request a token")]
    Request(#[source] Box<HttpError>),
    /// The token endpoint refused; the text is its own, shortened.
    #[error("token endpoint answered {status}: {text}")]
    Refused {
        /// Status code.
        status: u16,
        /// `error` and `error_description`, or the start of the body.
        text: String,
    },
    /// The answer has no token.
    #[error("token endpoint's answer is not usable: {0}")]
    Answer(String),
}

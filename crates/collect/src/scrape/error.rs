//! Why a scrape failed, in the words that Prometheus' users know.

use outrigger_model::fault::{self, Blame, Retry};
use outrigger_rt::http::{BodyError as ReadError, HttpError};

use super::body::BodyError;
use super::content_type::ContentTypeError;
use super::ingest::IngestError;

/// A failed scrape. Print it with [`outrigger_model::fault::chain`].
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// The job has more targets than `target_limit`.
    #[error("target_limit exceeded (number of targets: {targets}, limit: {limit})")]
    TargetLimit {
        /// Targets of the job.
        targets: usize,
        /// The limit.
        limit: u64,
    },
    /// No response.
    #[error("Get {url:?}")]
    Request {
        /// URL of the target.
        url: String,
        /// Why (boxed: much larger than the others).
        source: Box<HttpError>,
    },
    /// No response within the timeout.
    #[error("Get {url:?}: context deadline exceeded")]
    RequestTimeout {
        /// URL of the target.
        url: String,
    },
    /// Any status but 200.
    #[error("server returned HTTP status {0}")]
    Status(http::StatusCode),
    /// The body broke off.
    #[error(transparent)]
    Read(ReadError),
    /// The body was not complete within the timeout.
    #[error("context deadline exceeded while the body was being read")]
    BodyTimeout,
    /// The body is too large or cannot be decompressed.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The response says that it is in a format that is not read.
    #[error(transparent)]
    ContentType(#[from] ContentTypeError),
    /// The body was refused as a whole.
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

/// Kinds of outcome, bounded, for a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScrapeResult {
    Success,
    Request,
    Timeout,
    Status,
    Body,
    ContentType,
    Parse,
    Limit,
}

impl ScrapeResult {
    pub(crate) const ALL: [ScrapeResult; 8] = [
        ScrapeResult::Success,
        ScrapeResult::Request,
        ScrapeResult::Timeout,
        ScrapeResult::Status,
        ScrapeResult::Body,
        ScrapeResult::ContentType,
        ScrapeResult::Parse,
        ScrapeResult::Limit,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ScrapeResult::Success => "success",
            ScrapeResult::Request => "request_failed",
            ScrapeResult::Timeout => "timeout",
            ScrapeResult::Status => "http_status",
            ScrapeResult::Body => "body",
            ScrapeResult::ContentType => "content_type",
            ScrapeResult::Parse => "parse",
            ScrapeResult::Limit => "limit",
        }
    }
}

impl ScrapeError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            ScrapeError::TargetLimit { .. } | ScrapeError::ContentType(_) => Blame::Configuration,
            ScrapeError::Request { source, .. } => source.blame(),
            ScrapeError::Body(BodyError::BudgetExhausted(_)) => Blame::Us,
            ScrapeError::RequestTimeout { .. }
            | ScrapeError::Status(_)
            | ScrapeError::Read(_)
            | ScrapeError::BodyTimeout
            | ScrapeError::Body(_)
            | ScrapeError::Ingest(_) => Blame::Target,
        }
    }

    /// A failed scrape is never repeated before its next tick.
    pub fn retry(&self) -> Retry {
        Retry::Backoff
    }

    /// The whole message in one line.
    pub(crate) fn text(&self) -> String {
        fault::chain(self)
    }

    pub(crate) fn kind(&self) -> ScrapeResult {
        match self {
            ScrapeError::TargetLimit { .. } => ScrapeResult::Limit,
            ScrapeError::Request { .. } => ScrapeResult::Request,
            ScrapeError::RequestTimeout { .. } | ScrapeError::BodyTimeout => ScrapeResult::Timeout,
            ScrapeError::Status(_) => ScrapeResult::Status,
            ScrapeError::Read(_) => ScrapeResult::Body,
            ScrapeError::Body(error) if error.is_limit() => ScrapeResult::Limit,
            ScrapeError::Body(_) => ScrapeResult::Body,
            ScrapeError::ContentType(_) => ScrapeResult::ContentType,
            ScrapeError::Ingest(IngestError::SampleLimit) => ScrapeResult::Limit,
            ScrapeError::Ingest(IngestError::Series(error)) if error.is_label_limit() => ScrapeResult::Limit,
            ScrapeError::Ingest(_) => ScrapeResult::Parse,
        }
    }

    /// The body was larger than a limit (`scrape_body_size_bytes` is then -1).
    pub(crate) fn is_body_limit(&self) -> bool {
        matches!(self, ScrapeError::Body(error) if error.is_limit())
    }
}

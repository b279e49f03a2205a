//! What can go wrong with calls and streams.

use std::error::Error as StdError;
use std::time::Duration;

use outrigger_model::fault::{Blame, Retry};
use tonic::{Code, Status};

use super::connection::Ending;
use crate::http::{HttpError, IoCause, Subject, TlsCause};

/// A call or stream that failed.
#[derive(Debug, thiserror::Error)]
pub enum GrpcError {
    /// The server was not reached: name, connection, proxy, TLS, credentials.
    #[error(transparent)]
    Reach(#[from] HttpError),
    /// Something else than a gRPC server listens there.
    #[error("{subject} does not speak HTTP/2 (is that the address of another service?)")]
    NotHttp2 {
        /// Server.
        subject: Subject,
    },
    /// The server did not begin to answer in time.
    #[error("{subject} did not answer within {}", outrigger_model::duration::format(*.timeout))]
    Timeout {
        /// Server.
        subject: Subject,
        /// The time it had.
        timeout: Duration,
    },
    /// The server refused the call or ended the stream with an error.
    #[error("{subject} answered {}: {message}", code_name(*.code))]
    Status {
        /// Server.
        subject: Subject,
        /// Kind.
        code: Code,
        /// The server's words.
        message: String,
    },
    /// The connection or the stream broke.
    #[error("connection with {subject} broke")]
    Broken {
        /// The other side.
        subject: Subject,
        /// How.
        source: BrokenCause,
    },
}

/// How a connection or stream broke.
#[derive(Debug, thiserror::Error)]
pub enum BrokenCause {
    /// TLS: after the handshake this is mostly the server's word on the client's certificate.
    #[error(transparent)]
    Tls(TlsCause),
    /// The operating system's word.
    #[error(transparent)]
    Io(IoCause),
    /// The other side closed the connection, or answers no more.
    #[error("the other side has closed it or answers no more")]
    Closed,
    /// The other side ended this stream alone, or a message is wrong.
    #[error("{0}")]
    Stream(String),
}

/// Whose word a status is.
pub(super) enum StatusOf<'a> {
    Server(&'a Ending),
    Client,
}

impl GrpcError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            GrpcError::Reach(error) => error.blame(),
            GrpcError::Broken { source: BrokenCause::Tls(TlsCause::Refused(_)), .. }
            | GrpcError::Status { code: Code::Unauthenticated | Code::PermissionDenied, .. } => {
                Blame::Configuration
            }
            GrpcError::NotHttp2 { subject }
            | GrpcError::Timeout { subject, .. }
            | GrpcError::Status { subject, .. }
            | GrpcError::Broken { subject, .. } => subject.blame,
        }
    }

    /// Whether the same may succeed later: always, since servers, files and certificates change.
    pub fn retry(&self) -> Retry {
        match self {
            GrpcError::Reach(error) => error.retry(),
            _ => Retry::Backoff,
        }
    }

    /// The kind, when the other side gave one.
    pub fn code(&self) -> Option<Code> {
        match self {
            GrpcError::Status { code, .. } => Some(*code),
            _ => None,
        }
    }

    pub(super) fn from_status(status: Status, subject: Subject, of: &StatusOf<'_>) -> Self {
        match of {
            // A status without a cause has come from the server, or is about a message that has.
            StatusOf::Server(_) if status.source().is_none() => {
                GrpcError::Status { subject, code: status.code(), message: status.message().to_owned() }
            }
            StatusOf::Server(ending) => GrpcError::Broken { subject, source: ending.cause(&status) },
            StatusOf::Client if status.source().is_none() => {
                GrpcError::Broken { subject, source: BrokenCause::Stream(status.message().to_owned()) }
            }
            StatusOf::Client if status.code() == Code::Cancelled => {
                GrpcError::Broken { subject, source: BrokenCause::Stream("the client gave it up".to_owned()) }
            }
            StatusOf::Client => GrpcError::Broken { subject, source: BrokenCause::Closed },
        }
    }
}

/// The code's name as every gRPC implementation writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

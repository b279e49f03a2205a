//! What can go wrong on the way to a response and in its body.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use outrigger_model::fault::{Blame, Retry};

use super::cloud::CloudAuthError;
use super::oauth2::TokenError;
use super::proxy::ProxyError;
use crate::file::FileError;
use crate::resolver::ResolveError;
use crate::tls::TlsSetupError;

/// Whom an error is about: `host:port` (never a path, query, user information or secret) and who answers for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// `host:port`, or the path of a unix socket.
    pub host: Arc<str>,
    /// The party that runs it.
    pub blame: Blame,
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.host)
    }
}

/// The steps of a request, for timeouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Looking up the host's addresses.
    Resolve,
    /// Opening the connection.
    Connect,
    /// Asking the proxy for a connection.
    Proxy,
    /// TLS handshake.
    Tls,
    /// Getting a token from the identity provider.
    Auth,
    /// Sending the request and waiting for the response's headers.
    Headers,
    /// Reading the body.
    Body,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Step::Resolve => "resolving",
            Step::Connect => "connecting to",
            Step::Proxy => "asking the proxy for a connection to",
            Step::Tls => "in the TLS handshake with",
            Step::Auth => "getting an access token for",
            Step::Headers => "waiting for the response of",
            Step::Body => "reading the body from",
        })
    }
}

/// A request that got no response, by the step that failed.
///
/// Each message says only its own part; print the whole with [`outrigger_model::fault::chain`].
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL cannot be requested.
    #[error("URL {url:?} is not usable")]
    Url {
        /// The URL without user information and query.
        url: String,
        /// What is wrong with it.
        source: UrlError,
    },
    /// The host has no known address.
    #[error("resolve {subject}")]
    Resolve {
        /// Host that was looked up.
        subject: Subject,
        /// Answer of the resolver.
        source: ResolveError,
    },
    /// No connection to any address of the host.
    #[error("connect to {subject}")]
    Connect {
        /// Host or socket.
        subject: Subject,
        /// Failure of the last address tried.
        source: IoCause,
    },
    /// No connection through the proxy.
    #[error("reach {subject} through proxy {proxy}")]
    Proxy {
        /// Host behind the proxy.
        subject: Subject,
        /// `host:port` of the proxy.
        proxy: String,
        /// What the proxy did.
        source: ProxyError,
    },
    /// TLS settings cannot be used: a file is missing or is not what it should be.
    #[error("set up TLS for {subject}")]
    TlsSetup {
        /// Host.
        subject: Subject,
        /// Which setting and why.
        source: TlsSetupError,
    },
    /// The TLS handshake failed.
    #[error("TLS handshake with {subject}")]
    Tls {
        /// Host.
        subject: Subject,
        /// Why, for example a certificate that does not verify.
        source: TlsCause,
    },
    /// Credentials or header values could not be read.
    #[error("read the credentials for {subject}")]
    Credentials {
        /// Host they are for.
        subject: Subject,
        /// File and reason.
        source: FileError,
    },
    /// A configured or given header value has characters that no header may have.
    #[error("value of header {header} for {subject} has characters that are not allowed in a header")]
    HeaderValue {
        /// Host.
        subject: Subject,
        /// Header name.
        header: String,
    },
    /// The identity provider gave no token.
    #[error("get an access token for {subject}")]
    Auth {
        /// Host the token is for.
        subject: Subject,
        /// What the token endpoint did.
        source: Arc<TokenError>,
    },
    /// A cloud's identity provider gave nothing to authenticate with.
    #[error("authenticate to {subject}")]
    CloudAuth {
        /// Host the request is for.
        subject: Subject,
        /// What was missing.
        source: Arc<CloudAuthError>,
    },
    /// The connection broke while the request was being sent.
    #[error("send the request to {subject}")]
    Send {
        /// Host.
        subject: Subject,
        /// Why.
        source: hyper::Error,
    },
    /// No response headers, or none that can be understood.
    #[error("read the response of {subject}")]
    Headers {
        /// Host.
        subject: Subject,
        /// Why.
        source: hyper::Error,
    },
    /// The redirect cannot be followed.
    #[error("follow the redirect of {subject}")]
    Redirect {
        /// Host that redirected.
        subject: Subject,
        /// Why not.
        source: RedirectError,
    },
    /// The deadline passed.
    #[error("deadline exceeded while {step} {subject}")]
    Timeout {
        /// Host.
        subject: Subject,
        /// What was going on.
        step: Step,
    },
    /// The body could not be read.
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl HttpError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            HttpError::Url { .. } | HttpError::Credentials { .. } | HttpError::HeaderValue { .. } => {
                Blame::Configuration
            }
            HttpError::TlsSetup { source, .. } => source.blame(),
            HttpError::Resolve { subject, source } => match source {
                ResolveError::NotFound { .. } | ResolveError::InvalidName { .. } => subject.blame,
                ResolveError::Failed { .. } => Blame::Remote,
            },
            HttpError::Connect { subject, source } => {
                if source.is_ours() {
                    Blame::Us
                } else {
                    subject.blame
                }
            }
            HttpError::CloudAuth { source, .. } => match **source {
                CloudAuthError::File(_) | CloudAuthError::Setup(_) | CloudAuthError::Sign(_) => {
                    Blame::Configuration
                }
                _ => Blame::Remote,
            },
            HttpError::Proxy { .. } | HttpError::Auth { .. } => Blame::Remote,
            HttpError::Tls { subject, .. }
            | HttpError::Send { subject, .. }
            | HttpError::Headers { subject, .. }
            | HttpError::Redirect { subject, .. }
            | HttpError::Timeout { subject, .. } => subject.blame,
            HttpError::Body(error) => error.blame(),
        }
    }

    /// Whether the same request may succeed later. A connection that was found closed when it was reused has been
    /// retried already.
    pub fn retry(&self) -> Retry {
        match self {
            HttpError::Url { .. } | HttpError::HeaderValue { .. } => Retry::No,
            HttpError::Resolve { source: ResolveError::InvalidName { .. }, .. } => Retry::No,
            _ => Retry::Backoff,
        }
    }
}

/// What is wrong with a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL.
    #[error(transparent)]
    Syntax(#[from] url::ParseError),
    /// Not `http`, `https` or `http+unix`.
    #[error("unsupported scheme {0:?} (use http, https, or http+unix for a unix socket)")]
    Scheme(String),
    /// No host.
    #[error("no host")]
    NoHost,
    /// The path of a unix socket is not percent-encoded UTF-8.
    #[error(
        "the socket's path must stand percent-encoded in place of the host, as in http+unix://%2Frun%2Fapp.sock/metrics"
    )]
    SocketPath,
    /// Not a request target that can be sent.
    #[error("path or query has characters that cannot be sent")]
    Target,
}

/// Why a redirect was not followed.
#[derive(Debug, thiserror::Error)]
pub enum RedirectError {
    /// More than 10 in a row.
    #[error("stopped after {0} redirects")]
    TooMany(usize),
    /// `Location` is not a URL that can be requested.
    #[error("location is not usable")]
    Location(#[source] UrlError),
    /// `Location` has bytes that are not ASCII.
    #[error("location is not a URL")]
    LocationBytes,
}

/// A body that could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Longer than the reader's limit.
    #[error("body from {subject} is larger than {limit} bytes")]
    TooLarge {
        /// Host.
        subject: Subject,
        /// The limit.
        limit: usize,
    },
    /// The connection broke or the framing is wrong.
    #[error("read the body from {subject}")]
    Read {
        /// Host.
        subject: Subject,
        /// Why.
        source: hyper::Error,
    },
    /// The request's deadline passed.
    #[error("deadline exceeded while reading the body from {subject}")]
    Timeout {
        /// Host.
        subject: Subject,
    },
}

impl BodyError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            BodyError::TooLarge { subject, .. }
            | BodyError::Read { subject, .. }
            | BodyError::Timeout { subject } => subject.blame,
        }
    }

    /// Whether the same request may succeed later.
    pub fn retry(&self) -> Retry {
        Retry::Backoff
    }
}

/// A client that cannot be built, because the configuration can never work.
#[derive(Debug, thiserror::Error)]
pub enum BuildClientError {
    /// A TLS setting.
    #[error("tls_config")]
    Tls(#[from] TlsSetupError),
    /// The server's URL.
    #[error("URL {url:?} is not usable")]
    Url {
        /// The URL without user information and query.
        url: String,
        /// What is wrong with it.
        source: UrlError,
    },
    /// The proxy's URL.
    #[error("proxy_url is not usable")]
    ProxyUrl(#[source] UrlError),
    /// A header name or value, by name.
    #[error("{key}: {name:?} is not a header that can be sent")]
    Header {
        /// Configuration key.
        key: &'static str,
        /// Header name.
        name: String,
    },
    /// An OAuth 2.0 setting.
    #[error("oauth2: {key} {problem}")]
    OAuth2 {
        /// Configuration key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The HTTP client for the token endpoint.
    #[error("the client for access tokens")]
    TokenClient(#[source] Box<BuildClientError>),
}

impl BuildClientError {
    /// Always the configuration's.
    pub fn blame(&self) -> Blame {
        Blame::Configuration
    }

    /// Never helps.
    pub fn retry(&self) -> Retry {
        Retry::No
    }
}

/// An I/O error in plain words: `connection refused` rather than `Connection refused (os error 111)`.
#[derive(Debug)]
pub struct IoCause(pub io::Error);

impl IoCause {
    /// Out of file descriptors, memory or local ports: this machine's problem.
    fn is_ours(&self) -> bool {
        // EMFILE, ENFILE, ENOMEM, EADDRNOTAVAIL on Linux.
        matches!(self.0.raw_os_error(), Some(24 | 23 | 12 | 99))
    }
}

impl fmt::Display for IoCause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.raw_os_error() {
            Some(_) => {
                let text = self.0.to_string();
                let plain = text.split(" (os error").next().unwrap_or(&text);
                let mut characters = plain.chars();
                let first = characters.next().map(|c| c.to_ascii_lowercase());
                write!(formatter, "{}{}", first.unwrap_or_default(), characters.as_str())
            }
            None => self.0.fmt(formatter),
        }
    }
}

impl StdError for IoCause {}

/// Why a TLS handshake failed, in the words that people search for.
#[derive(Debug, thiserror::Error)]
pub enum TlsCause {
    /// The certificate was not issued by a configured (or the system's) authority.
    #[error("certificate signed by unknown authority")]
    UnknownAuthority,
    /// The certificate is for other names.
    #[error("certificate is not valid for {expected}, only for {}", presented(.names))]
    Name {
        /// Name that was asked for.
        expected: String,
        /// Names in the certificate.
        names: Vec<String>,
    },
    /// The certificate is not valid any more.
    #[error("certificate expired at {not_after} (it is {now} by this machine's clock)")]
    Expired {
        /// End of its validity.
        not_after: jiff::Timestamp,
        /// When it was checked.
        now: jiff::Timestamp,
    },
    /// The certificate is not valid yet.
    #[error("certificate is not valid before {not_before} (it is {now} by this machine's clock)")]
    NotYetValid {
        /// Begin of its validity.
        not_before: jiff::Timestamp,
        /// When it was checked.
        now: jiff::Timestamp,
    },
    /// The other side does not accept this side's certificate, or wants one.
    #[error("the other side refuses this side's certificate: {0}")]
    Refused(RefusedCertificate),
    /// Anything else of TLS.
    #[error("{0}")]
    Other(rustls::Error),
    /// The connection broke.
    #[error("{0}")]
    Io(IoCause),
    /// The host is not a name or an address that a certificate could be for.
    #[error("{0:?} is not a name that a certificate can be for (set server_name)")]
    ServerName(String),
}

fn presented(names: &[String]) -> String {
    if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") }
}

impl TlsCause {
    /// The same for each occurrence, whenever it is.
    pub(crate) fn kind(&self) -> String {
        match self {
            TlsCause::Expired { .. } => "expired".to_owned(),
            TlsCause::NotYetValid { .. } => "not yet valid".to_owned(),
            other => other.to_string(),
        }
    }

    /// Whether the other side's certificate does not pass, or is missing.
    pub(crate) fn is_about_certificate(&self) -> bool {
        match self {
            TlsCause::UnknownAuthority
            | TlsCause::Name { .. }
            | TlsCause::Expired { .. }
            | TlsCause::NotYetValid { .. } => true,
            TlsCause::Other(error) => {
                matches!(error, rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
            }
            TlsCause::Refused(_) | TlsCause::Io(_) | TlsCause::ServerName(_) => false,
        }
    }

    pub(crate) fn from_io(error: io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).cloned();
        match tls {
            Some(error) => Self::from_tls(error),
            None => TlsCause::Io(IoCause(error)),
        }
    }

    pub(crate) fn from_tls(error: rustls::Error) -> Self {
        use rustls::CertificateError;
        match error.clone() {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => TlsCause::UnknownAuthority,
            rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                expected,
                presented,
            }) => TlsCause::Name { expected: expected.to_str().into_owned(), names: presented },
            rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => {
                TlsCause::Expired { not_after: instant(not_after), now: instant(time) }
            }
            rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before }) => {
                TlsCause::NotYetValid { not_before: instant(not_before), now: instant(time) }
            }
            rustls::Error::AlertReceived(alert) => match RefusedCertificate::from_alert(alert) {
                Some(refused) => TlsCause::Refused(refused),
                None => TlsCause::Other(error),
            },
            _ => TlsCause::Other(error),
        }
    }
}

fn instant(time: rustls_pki_types::UnixTime) -> jiff::Timestamp {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX)
}

/// What the other side of a TLS connection has against this side's certificate (RFC 8446 section 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedCertificate {
    /// Not valid any more, or not yet.
    #[error("it has expired or is not valid yet, by the other side's clock")]
    Expired,
    /// From an authority that it does not know.
    #[error("no authority that the other side trusts has issued it")]
    UnknownAuthority,
    /// It wants one and got none.
    #[error("it wants one and none is configured (set cert_file and key_file)")]
    Missing,
    /// For another name, malformed, revoked, of an unsupported kind.
    #[error("it is malformed, revoked, for another name or for another purpose")]
    Bad,
}

impl RefusedCertificate {
    fn from_alert(alert: rustls::AlertDescription) -> Option<Self> {
        use rustls::AlertDescription;
        match alert {
            AlertDescription::CertificateExpired => Some(Self::Expired),
            AlertDescription::UnknownCA => Some(Self::UnknownAuthority),
            AlertDescription::CertificateRequired | AlertDescription::NoCertificate => Some(Self::Missing),
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown => Some(Self::Bad),
            _ => None,
        }
    }
}

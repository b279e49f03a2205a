//! An HTTP client with everything Prometheus' `http_config` has: authentication, TLS with reloaded files, proxies,
//! redirects, HTTP/2; for a few busy servers (remote write) as well as for 20,000 scrape targets.
//!
//! An idle HTTP/1 connection is a socket in a map: no task, no buffers. HTTP/2 connections (only by ALPN) are shared
//! by all requests to one host and have one task each, which ends with the connection. One more task per client
//! closes idle connections; it runs only while there are any.
//!
//! A response is any response: status codes are the caller's business, and so is `Content-Encoding`.

mod body;
mod error;
mod oauth2;
mod proxy;

use std::time::Duration;

use ::http::{HeaderMap, Method, StatusCode};
use bytes::Bytes;
use outrigger_model::clock::{SharedClock, SystemClock};
use outrigger_model::fault::Blame;
use outrigger_model::http::HttpClientConfig;
use tokio::time::Instant;

pub use body::BodyReader;
pub use error::{
    BodyError, BuildClientError, HttpError, IoCause, RedirectError, Step, Subject, TlsCause, UrlError,
};
pub use oauth2::TokenError;
pub use proxy::{ProxyEnvironment, ProxyError};

use crate::resolver::Resolver;

/// What of a client is not in the configuration file.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// What the client is for, in logs: `scrape/node`, `remote_write/central`.
    pub name: String,
    /// `User-Agent` of every request.
    pub user_agent: String,
    /// Who is to blame when a server that this client talks to fails.
    pub blame: Blame,
    /// Idle connections.
    pub pool: PoolOptions,
    /// Most bytes of a response's header section.
    pub max_header_bytes: usize,
    /// Proxy variables, used where the configuration says `proxy_from_environment`.
    pub environment: ProxyEnvironment,
    /// Wall clock for signed token requests.
    pub clock: SharedClock,
}

impl ClientOptions {
    /// Options for talking to a few servers, often in parallel: remote write, service discovery.
    pub fn new(name: impl Into<String>, user_agent: impl Into<String>, blame: Blame) -> Self {
        Self {
            name: name.into(),
            user_agent: user_agent.into(),
            blame,
            pool: PoolOptions::default(),
            max_header_bytes: 64 << 10,
            environment: ProxyEnvironment::from_process(),
            clock: std::sync::Arc::new(SystemClock),
        }
    }

    /// Options for scraping many targets, each now and then: [`PoolOptions::for_scrapes`], blame on the target.
    pub fn for_scrapes(name: impl Into<String>, user_agent: impl Into<String>) -> Self {
        Self { pool: PoolOptions::for_scrapes(), ..Self::new(name, user_agent, Blame::Target) }
    }
}

/// How many idle connections are kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolOptions {
    /// Most idle HTTP/1 connections for each scheme, host and port.
    pub max_idle_per_host: usize,
    /// Most idle HTTP/1 connections of the client.
    pub max_idle: usize,
    /// Idle connections are closed after this time.
    pub idle_timeout: Duration,
}

impl Default for PoolOptions {
    /// For a few servers with many parallel requests: as many as Prometheus keeps.
    fn default() -> Self {
        Self { max_idle_per_host: 1000, max_idle: 20_000, idle_timeout: Duration::from_secs(5 * 60) }
    }
}

impl PoolOptions {
    /// For many servers: a target whose scrapes do not overlap has one connection; where many targets share one
    /// address (a blackbox exporter), a few.
    pub fn for_scrapes() -> Self {
        Self { max_idle_per_host: 8, ..Self::default() }
    }
}

/// One request. Authentication, `Host`, `User-Agent` and configured headers are added by the client.
#[derive(Debug)]
pub struct HttpRequest<'a> {
    /// Method.
    pub method: Method,
    /// `http://…`, `https://…`, or `http+unix://%2Frun%2Fapp.sock/path` for a unix socket. User information in it
    /// becomes basic authentication unless another kind is configured; a fragment is not sent.
    pub url: &'a str,
    /// Further headers.
    pub headers: HeaderMap,
    /// Body, empty for none. It is sent again when a redirect or a reused connection that was closed asks for it.
    pub body: Bytes,
    /// When everything must be done: resolving, connecting, TLS, tokens, redirects, headers and body.
    pub deadline: Instant,
}

/// One response, its body still to be read.
#[derive(Debug)]
pub struct HttpResponse {
    /// Status; any.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// URL that answered, after redirects; without user information.
    pub final_url: String,
    /// Body.
    pub body: BodyReader,
}

/// What a client did since it was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientStats {
    /// Connections opened, to servers or proxies.
    pub opened: u64,
    /// Requests that used an open connection.
    pub reused: u64,
    /// Requests that were sent again because the reused connection had been closed meanwhile.
    pub retried: u64,
    /// Idle HTTP/1 connections and open HTTP/2 connections now.
    pub pooled: usize,
}

/// An HTTP client for one `http_config`; cheap to clone, all clones share connections and tokens.
#[derive(Debug, Clone)]
pub struct HttpClient {}

impl HttpClient {
    /// Builds the client; connects to nothing and reads no file yet.
    ///
    /// # Errors
    /// Only for what can never work (inline certificates, header names, proxy URL, TLS versions). A missing file is
    /// an error of each request until it is there.
    pub fn new(
        config: &HttpClientConfig,
        options: ClientOptions,
        resolver: Resolver,
    ) -> Result<Self, BuildClientError> {
        let _ = (config, options, resolver);
        todo!()
    }

    /// Sends a request and waits for the response's headers, following redirects as Go's `http.Client` does if the
    /// configuration says so: at most 10; 301, 302 and 303 turn into GET (HEAD stays), 307 and 308 repeat the
    /// request; credentials and configured headers are not sent to another host (Prometheus 3.13), a subdomain of
    /// the first host is not another one. No `Referer` is sent, since it may carry secrets.
    ///
    /// When a reused connection turns out to have been closed before any byte of the response, the request is sent
    /// once more at once on a new connection.
    ///
    /// # Errors
    /// [`HttpError`] by step; any status is a response, not an error.
    pub async fn send(&self, request: HttpRequest<'_>) -> Result<HttpResponse, HttpError> {
        let _ = request;
        todo!()
    }

    /// What was done so far.
    pub fn stats(&self) -> ClientStats {
        todo!()
    }
}

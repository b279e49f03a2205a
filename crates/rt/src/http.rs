//! An HTTP client with everything Prometheus' `http_config` has: authentication, TLS with reloaded files, proxies,
//! redirects, HTTP/2; for a few busy servers (remote write) as well as for 20,000 scrape targets.
//!
//! An idle HTTP/1 connection is a socket in a map: no task, no buffers. HTTP/2 connections (only by ALPN) are shared
//! by all requests to one host and have one task each, which ends with the connection. One more task per client
//! closes idle connections; it runs only while there are any.
//!
//! A response is any response: status codes are the caller's business, and so is `Content-Encoding`.

mod auth;
mod body;
mod cloud;
mod connect;
mod destination;
mod dial;
mod error;
mod exchange;
mod oauth2;
mod parts;
mod pool;
mod progress;
mod proxy;
mod transport;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE, COOKIE, HOST,
    LOCATION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, USER_AGENT, WWW_AUTHENTICATE,
};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use bytes::Bytes;
use http_body_util::Full;
use outrigger_model::clock::{SharedClock, SystemClock};
use outrigger_model::fault::Blame;
use outrigger_model::http::{HttpAuth, HttpClientConfig};
use tokio::time::Instant;

pub use body::BodyReader;
pub use cloud::{CloudAuthError, CloudEnvironment};
pub(crate) use dial::{Dialed, Dialer};
pub use error::{
    BodyError, BuildClientError, HttpError, IoCause, RedirectError, RefusedCertificate, Step, Subject,
    TlsCause, UrlError,
};
pub use oauth2::TokenError;
pub use parts::{HttpParts, ProxyProtocol, ProxyRoute};
pub use proxy::{ProxyEnvironment, ProxyError};

use auth::{Auth, Credentials, Provider};
use body::{Home, StreamUse};
use cloud::{CloudSigner, Outgoing};
use connect::{Opened, Way};
use destination::{Destination, Scheme};
use exchange::{Exchange, SendFailure};
use oauth2::TokenSource;
use pool::{Pool, PoolKey, Pooled};
use progress::Progress;
use proxy::{ProxyRules, ProxyScheme, ProxyServer};

use crate::resolver::Resolver;
use crate::tls::{ClientTls, ClientTlsConfigs};

/// Most redirects in a row, as Go's `http.Client`.
const MAX_REDIRECTS: usize = 10;

/// Most bytes of a redirect's body that are read so that its connection can be used again, as Go's `http.Client`.
const MAX_DISCARDED: usize = 2 << 10;

/// Headers that are not sent on to another host (Go `net/http` `makeHeadersCopier`).
const SENSITIVE_HEADERS: [HeaderName; 6] = [
    AUTHORIZATION,
    COOKIE,
    HeaderName::from_static("cookie2"),
    WWW_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    PROXY_AUTHENTICATE,
];

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
    /// Offer HTTP/2 where the configuration enables it. For many targets with one request at a time HTTP/1 serves
    /// as well and an idle connection costs a quarter (measured: 16 KiB against 58 KiB with TLS, 2.4 KiB without).
    pub offer_http2: bool,
    /// Proxy variables, used where the configuration says `proxy_from_environment`.
    pub environment: ProxyEnvironment,
    /// Variables by which AWS, Azure and Google tell programs who they are, used for `sigv4`, `azuread` and
    /// `google_iam`.
    pub cloud: CloudEnvironment,
    /// Begin each connection at another address of the host (`round_robin_dns`).
    pub spread_addresses: bool,
    /// Wall clock for signed requests.
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
            offer_http2: true,
            environment: ProxyEnvironment::from_process(),
            cloud: CloudEnvironment::from_process(),
            spread_addresses: false,
            clock: Arc::new(SystemClock),
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
    /// becomes basic authentication in place of any configured kind (as in Go); a fragment is not sent.
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
pub struct HttpClient {
    shared: Arc<ClientShared>,
}

#[derive(Debug)]
struct ClientShared {
    name: String,
    user_agent: HeaderValue,
    blame: Blame,
    max_header_bytes: usize,
    follow_redirects: bool,
    credentials: Credentials,
    tls: ClientTls,
    proxy: ProxyRules,
    resolver: Resolver,
    pool: Arc<Pool>,
    /// Counts connections, where each begins at another address.
    next_address: Option<AtomicUsize>,
}

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
        let provider = match &config.auth {
            Some(HttpAuth::OAuth2(oauth2)) => {
                let source = TokenSource::new(oauth2, config.enable_http2, &options, resolver.clone())?;
                Some(Provider::OAuth2(Arc::new(source)))
            }
            Some(HttpAuth::Cloud(cloud)) => {
                let signer = CloudSigner::new(cloud, &options, resolver.clone())?;
                Some(Provider::Cloud(Arc::new(signer)))
            }
            _ => None,
        };
        let user_agent = HeaderValue::try_from(&options.user_agent)
            .map_err(|_| BuildClientError::Header { key: "user agent", name: "User-Agent".to_owned() })?;
        let shared = ClientShared {
            user_agent,
            blame: options.blame,
            max_header_bytes: options.max_header_bytes,
            follow_redirects: config.follow_redirects,
            credentials: Credentials::new(config, provider)?,
            tls: ClientTls::new(&config.tls, config.enable_http2 && options.offer_http2)?,
            proxy: ProxyRules::new(&config.proxy, &options.environment)?,
            resolver,
            pool: Arc::new(Pool::new(options.pool)),
            next_address: options.spread_addresses.then(AtomicUsize::default),
            name: options.name,
        };
        Ok(Self { shared: Arc::new(shared) })
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
        let destination = Destination::parse(request.url)
            .map_err(|source| HttpError::Url { url: Destination::redact(request.url), source })?;
        let progress = Progress::new(self.shared.subject(&destination));
        let deadline = request.deadline;
        let response = self.shared.follow(request, destination, &progress);
        match tokio::time::timeout_at(deadline, response).await {
            Ok(result) => result,
            Err(_) => Err(HttpError::Timeout { subject: progress.subject(), step: progress.step() }),
        }
    }

    /// What the client is for, as given in [`ClientOptions::name`].
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// What was done so far.
    pub fn stats(&self) -> ClientStats {
        let pool = &self.shared.pool;
        ClientStats {
            opened: pool.opened.load(Ordering::Relaxed),
            reused: pool.reused.load(Ordering::Relaxed),
            retried: pool.retried.load(Ordering::Relaxed),
            pooled: pool.len(),
        }
    }
}

/// One request to one host, as sent.
struct Attempt<'a> {
    destination: &'a Destination,
    proxy: Option<&'a ProxyServer>,
    tls_configs: Option<&'a ClientTlsConfigs>,
    key: PoolKey,
    method: &'a Method,
    headers: &'a HeaderMap,
    body: &'a Bytes,
    deadline: Instant,
    progress: &'a Progress,
}

type Answer = (::http::response::Parts, BodyReader);

impl ClientShared {
    fn subject(&self, destination: &Destination) -> Subject {
        Subject { host: destination.authority.clone(), blame: self.blame }
    }

    async fn follow(
        &self,
        request: HttpRequest<'_>,
        mut destination: Destination,
        progress: &Progress,
    ) -> Result<HttpResponse, HttpError> {
        let HttpRequest { mut method, mut headers, mut body, deadline, .. } = request;
        let mut first: Option<Destination> = None;
        let mut trusted = true;
        for redirects in 0.. {
            let mut sent = self.authorize(&destination, &headers, trusted, deadline, progress).await?;
            if let Auth::Cloud(signer) = &self.credentials.auth
                && trusted
            {
                let request = Outgoing { method: &method, url: &destination.url, body: &body };
                let signed = signer.authenticate(request, &mut sent, deadline).await;
                signed.map_err(|source| HttpError::CloudAuth { subject: progress.subject(), source })?;
            }
            let (parts, reader) =
                self.round_trip(&destination, &method, &sent, &body, deadline, progress).await?;
            if parts.status == StatusCode::UNAUTHORIZED
                && let Auth::OAuth2(source) = &self.credentials.auth
                && let Some(token) = sent.get(AUTHORIZATION)
            {
                source.refused(token);
            }
            if matches!(parts.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
                && let Auth::Cloud(signer) = &self.credentials.auth
            {
                signer.refused();
            }
            let location = parts.headers.get(LOCATION).filter(|_| is_redirect(parts.status));
            let Some(location) = location.filter(|_| self.follow_redirects) else {
                return Ok(HttpResponse {
                    status: parts.status,
                    headers: parts.headers,
                    final_url: destination.shown_url(),
                    body: reader,
                });
            };
            let refuse = |source| HttpError::Redirect { subject: self.subject(&destination), source };
            if redirects >= MAX_REDIRECTS {
                return Err(refuse(RedirectError::TooMany(MAX_REDIRECTS)));
            }
            let next = redirect_target(&destination, location).map_err(refuse)?;
            reader.discard(MAX_DISCARDED).await;
            if redirects_to_get(parts.status, &method) {
                method = Method::GET;
                body = Bytes::new();
                for name in [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE] {
                    headers.remove(name);
                }
            }
            // Once away, credentials stay away, even if a later redirect leads back.
            trusted = trusted && next.is_trusted_by(first.get_or_insert_with(|| destination.clone()));
            if next.authority != destination.authority {
                headers.remove(HOST);
            }
            progress.move_to(self.subject(&next));
            destination = next;
        }
        unreachable!("the loop ends by a response or by too many redirects")
    }

    /// The headers of the request to this destination.
    async fn authorize(
        &self,
        destination: &Destination,
        given: &HeaderMap,
        trusted: bool,
        deadline: Instant,
        progress: &Progress,
    ) -> Result<HeaderMap, HttpError> {
        let mut headers = given.clone();
        if !headers.contains_key(USER_AGENT) {
            headers.insert(USER_AGENT, self.user_agent.clone());
        }
        if !trusted {
            for name in SENSITIVE_HEADERS {
                headers.remove(name);
            }
        }
        if let Some((user, password)) = &destination.user
            && !headers.contains_key(AUTHORIZATION)
        {
            headers.insert(AUTHORIZATION, proxy::basic_authorization(user, password));
        }
        if trusted {
            progress.enter(Step::Auth);
            self.credentials.apply(&mut headers, &progress.subject(), deadline).await?;
        }
        if !headers.contains_key(HOST) {
            headers.insert(HOST, destination.host_header.clone());
        }
        Ok(headers)
    }

    async fn round_trip(
        &self,
        destination: &Destination,
        method: &Method,
        headers: &HeaderMap,
        body: &Bytes,
        deadline: Instant,
        progress: &Progress,
    ) -> Result<Answer, HttpError> {
        let proxy = self.proxy.proxy_for(destination);
        let proxy_tls = proxy.is_some_and(|proxy| proxy.scheme == ProxyScheme::Https);
        let tls_configs = if destination.scheme == Scheme::Https || proxy_tls {
            let configs = self.tls.current();
            Some(configs.map_err(|source| HttpError::TlsSetup { subject: progress.subject(), source })?)
        } else {
            None
        };
        let generation = tls_configs.as_ref().map_or(0, |configs| configs.generation);
        if self.pool.newest_generation.fetch_max(generation, Ordering::Relaxed) < generation {
            self.pool.forget_generations_before(generation);
        }
        let authority = destination.authority.clone();
        let key = match (destination.scheme, proxy) {
            (Scheme::Unix, _) => PoolKey::Unix(authority),
            (Scheme::Https, _) => PoolKey::Tls(authority, generation),
            (Scheme::Http, Some(proxy)) if proxy.scheme != ProxyScheme::Socks5 => {
                PoolKey::Forward(proxy.authority.clone(), generation)
            }
            (Scheme::Http, _) => PoolKey::Plain(authority),
        };
        let proxy = proxy.map(|proxy| &**proxy);
        let attempt = Attempt {
            destination,
            proxy,
            tls_configs: tls_configs.as_deref(),
            key,
            method,
            headers,
            body,
            deadline,
            progress,
        };
        if let Some(pooled) = self.pool.take(&attempt.key) {
            match self.send_on(&attempt, pooled).await {
                Ok(answer) => return Ok(answer),
                Err(failure) if failure.answered => return Err(failure.into_error(progress.subject())),
                // Closed while it was idle, most likely: nobody has seen this request.
                Err(_) => self.pool.retried.fetch_add(1, Ordering::Relaxed),
            };
        }
        let connection = self.open(&attempt).await?;
        self.send_on(&attempt, connection).await.map_err(|failure| failure.into_error(progress.subject()))
    }

    async fn open(&self, attempt: &Attempt<'_>) -> Result<Pooled, HttpError> {
        let way = Way {
            resolver: &self.resolver,
            tls: &self.tls,
            tls_configs: attempt.tls_configs,
            proxy: attempt.proxy,
            connect_headers: &self.proxy.connect_headers,
            user_agent: &self.user_agent,
            max_header_bytes: self.max_header_bytes,
            first_address: self.next_address.as_ref().map_or(0, |next| next.fetch_add(1, Ordering::Relaxed)),
            tunnel: false,
            progress: attempt.progress,
        };
        let opened = way.open(attempt.destination).await?;
        self.pool.opened.fetch_add(1, Ordering::Relaxed);
        Ok(match opened {
            Opened::Http1(io) => Pooled::Http1(io),
            Opened::Http2(sender) => Pooled::Http2(self.pool.share(attempt.key.clone(), sender)),
        })
    }

    async fn send_on(&self, attempt: &Attempt<'_>, connection: Pooled) -> Result<Answer, SendFailure> {
        attempt.progress.enter(Step::Headers);
        let subject = attempt.progress.subject();
        match connection {
            Pooled::Http1(io) => {
                let request = attempt.http1_request();
                let (response, exchange) = Exchange::send(io, request, self.max_header_bytes).await?;
                let (parts, incoming) = response.into_parts();
                let home = Home { pool: self.pool.clone(), key: attempt.key.clone() };
                let reader = BodyReader::http1(subject, attempt.deadline, incoming, exchange, home).await;
                Ok((parts, reader))
            }
            Pooled::Http2(shared) => {
                let request = attempt.http2_request();
                let mut sender = shared.sender.clone();
                let (pool, key) = (self.pool.clone(), attempt.key.clone());
                let mut stream = StreamUse { pool, key, shared, suspect: true };
                let response = sender.send_request(request).await;
                let response = response.map_err(|error| SendFailure { error, answered: false })?;
                stream.suspect = false;
                let (parts, incoming) = response.into_parts();
                Ok((parts, BodyReader::http2(subject, attempt.deadline, incoming, stream)))
            }
        }
    }
}

impl Attempt<'_> {
    fn http1_request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        *request.uri_mut() = Uri::from(self.destination.target.clone());
        if let (PoolKey::Forward(..), Some(proxy)) = (&self.key, self.proxy) {
            *request.uri_mut() = self.destination.absolute_uri();
            if let Some(authorization) = &proxy.authorization {
                request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
            }
        }
        request
    }

    fn http2_request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        // The authority stands in the URI.
        request.headers_mut().remove(HOST);
        *request.uri_mut() = self.destination.absolute_uri();
        request
    }
}

impl SendFailure {
    fn into_error(self, subject: Subject) -> HttpError {
        let source = self.error;
        if self.answered || source.is_parse() || source.is_incomplete_message() {
            HttpError::Headers { subject, source }
        } else {
            HttpError::Send { subject, source }
        }
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn redirects_to_get(status: StatusCode, method: &Method) -> bool {
    matches!(status.as_u16(), 301..=303) && *method != Method::GET && *method != Method::HEAD
}

fn redirect_target(from: &Destination, location: &HeaderValue) -> Result<Destination, RedirectError> {
    let location = std::str::from_utf8(location.as_bytes()).map_err(|_| RedirectError::LocationBytes)?;
    let url = from.url.join(location).map_err(|error| RedirectError::Location(error.into()))?;
    Destination::from_url(url).map_err(RedirectError::Location)
}

//! An HTTP server for one router: bounded in connections, headers, bodies and patience.

mod detect;
mod names;
mod patience;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, StatusCode};
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit};
use axum::response::{IntoResponse as _, Response};
use http_body_util::Limited;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use outrigger_model::http::{PemSource, TlsVersion};
use outrigger_model::secret::SecretSource;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::http::{IoCause, TlsCause};
use crate::log_limit::LogLimit;
use crate::tls::{AcceptorSource, TlsSetupError};
pub use names::CertificateNames;

use detect::detect_http2;
use patience::{OpenBody, PatientBody, PatientStream, RequestPhase};

/// Most headers of a request.
const MAX_HEADERS: usize = 100;

/// Pause after a failed accept, which for want of file descriptors would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Settings of a [`Server`].
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// HTTPS instead of HTTP.
    pub tls: Option<ServerTls>,
    /// Limits against clients that are too many, too large or too slow.
    pub limits: ServerLimits,
}

impl ServerConfig {
    /// Plain HTTP on `listen` with the default limits.
    pub fn new(listen: SocketAddr) -> Self {
        Self { listen, tls: None, limits: ServerLimits::default() }
    }
}

impl Default for ServerConfig {
    /// Plain HTTP on `127.0.0.1:9440`, which other machines cannot reach.
    fn default() -> Self {
        Self::new(SocketAddr::from(([127, 0, 0, 1], 9440)))
    }
}

/// TLS of a server; files are read anew when they change.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// Certificate chain.
    pub cert: PemSource,
    /// Private key.
    pub key: SecretSource,
    /// When given, clients present a certificate of this authority.
    pub client_ca: Option<PemSource>,
    /// Whether clients must, where there is such an authority.
    pub client_certificates: ClientCertificates,
    /// Lowest version; what this program does not speak (before 1.2) counts as the lowest that it does.
    pub min_version: Option<TlsVersion>,
    /// Highest version.
    pub max_version: Option<TlsVersion>,
    /// Offer HTTP/2.
    pub http2: bool,
}

impl ServerTls {
    /// All versions, HTTP/2, and client certificates required where there is an authority.
    pub fn new(cert: PemSource, key: SecretSource, client_ca: Option<PemSource>) -> Self {
        Self {
            cert,
            key,
            client_ca,
            client_certificates: ClientCertificates::Required,
            min_version: None,
            max_version: None,
            http2: true,
        }
    }
}

/// Whether clients must present a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They must.
    Required,
    /// Those that present one must present one of the authority.
    IfGiven,
}

/// Limits of a [`Server`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Most connections; further ones wait unaccepted.
    pub max_connections: usize,
    /// Most bytes of a request's header section.
    pub max_header_bytes: usize,
    /// Most bytes of a request's body.
    pub max_body_bytes: usize,
    /// Time for the TLS handshake, for a request's headers (idle time between requests included), and for each
    /// stretch of silence while a body is read or a response is written.
    pub patience: Duration,
    /// Time between two requests of an HTTP/1 connection, in place of [`ServerLimits::patience`].
    pub idle: Option<Duration>,
    /// Time from a request's first byte to the end of its headers (HTTP/1), in place of [`ServerLimits::patience`].
    pub header: Option<Duration>,
    /// Time that open requests get after the shutdown began.
    pub drain: Duration,
    /// Most requests at once on one HTTP/2 connection.
    pub max_streams: u32,
    /// An HTTP/2 client that is silent for so long is pinged, and let go when it does not answer within it.
    pub keep_alive: Duration,
    /// Bodies are streams without an end: [`ServerLimits::max_body_bytes`] and the patience while reading do not
    /// apply to them. For routers that limit each message, as [`crate::grpc::duplex_service`] does.
    pub streaming: bool,
}

impl ServerLimits {
    /// For long-lived streams: a client that vanished is found within 6 s.
    pub fn for_streams() -> Self {
        Self {
            max_connections: 2_048,
            keep_alive: Duration::from_secs(3),
            streaming: true,
            ..Self::default()
        }
    }
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            max_connections: 512,
            max_header_bytes: 32 << 10,
            max_body_bytes: 8 << 20,
            patience: Duration::from_secs(30),
            idle: None,
            header: None,
            drain: Duration::from_secs(10),
            max_streams: 64,
            keep_alive: Duration::from_secs(30),
            streaming: false,
        }
    }
}

/// A server that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be listened on.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: IoCause,
    },
    /// Certificate or key cannot be used.
    #[error("set up TLS for {address}")]
    Tls {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: TlsSetupError,
    },
}

/// A bound server; [`Server::serve`] starts it.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<AcceptorSource>,
    limits: ServerLimits,
}

impl Server {
    /// Binds the address and loads the certificate.
    ///
    /// # Errors
    /// [`BindError`] with the address and the reason.
    pub async fn bind(config: ServerConfig) -> Result<Self, BindError> {
        let ServerConfig { listen: address, tls, limits } = config;
        let tls =
            tls.map(AcceptorSource::new).transpose().map_err(|source| BindError::Tls { address, source })?;
        let failed = |source| BindError::Listen { address, source: IoCause(source) };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, tls, limits })
    }

    /// The bound address, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` until `shutdown` is cancelled; then accepts no more, lets open requests finish within
    /// [`ServerLimits::drain`], and returns. HTTP/1.1 and HTTP/2 are spoken; without TLS, HTTP/2 only with clients
    /// that begin with it.
    ///
    /// Handlers find the client's address as `ConnectInfo<SocketAddr>`, its [`CertificateNames`] when the server asks
    /// for certificates, and a [`ConnectionCloser`]. A body over the limit is answered 413.
    pub async fn serve(self, router: Router, shutdown: CancellationToken) {
        let Self { listener, tls, limits, .. } = self;
        let slots = Arc::new(Semaphore::new(limits.max_connections.max(1)));
        let log_limit = LogLimit::new(Duration::from_secs(30));
        // The one body limit is the server's.
        let router = router.layer(DefaultBodyLimit::disable());
        let handshakes = LogLimit::new(Duration::from_secs(30));
        let context =
            Arc::new(ConnectionContext { router, tls, limits, handshakes, shutdown: shutdown.clone() });
        let mut connections = JoinSet::new();
        loop {
            let next = async {
                let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
                (slot, listener.accept().await)
            };
            let (slot, accepted) = tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                next = next => next,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let context = context.clone();
                    connections.spawn(async move {
                        let _slot = slot;
                        context.serve_connection(stream, peer).await;
                    });
                }
                Err(error) => {
                    if let Some(suppressed) = log_limit.permit("accept") {
                        tracing::warn!(%error, suppressed, "accepting a connection failed");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(limits.drain, drained).await.is_err() {
            tracing::warn!(open = connections.len(), "closing connections with unfinished requests");
            connections.shutdown().await;
        }
    }
}

/// What all connections share.
struct ConnectionContext {
    router: Router,
    tls: Option<AcceptorSource>,
    limits: ServerLimits,
    /// Lines about failed handshakes, by address.
    handshakes: LogLimit,
    shutdown: CancellationToken,
}

/// Closes the connection that a request came on, whatever it still carries. A request extension.
#[derive(Debug, Clone)]
pub struct ConnectionCloser(CancellationToken);

impl ConnectionCloser {
    /// Closes it.
    pub fn close(&self) {
        self.0.cancel();
    }
}

/// One client, for its requests.
#[derive(Clone)]
struct Client {
    address: SocketAddr,
    names: Option<CertificateNames>,
    closer: ConnectionCloser,
    requests: RequestPhase,
}

impl ConnectionContext {
    async fn serve_connection(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let requests = RequestPhase::default();
        let stream = PatientStream::new(stream, &self.limits, requests.clone());
        let closed = CancellationToken::new();
        let closer = ConnectionCloser(closed.clone());
        let mut client = Client { address: peer, names: None, closer, requests };
        let serving = async {
            match &self.tls {
                None => match tokio::time::timeout(self.limits.patience, detect_http2(stream)).await {
                    Ok(Ok((stream, true))) => self.serve_http2(stream, client).await,
                    Ok(Ok((stream, false))) => self.serve_http1(stream, client).await,
                    Ok(Err(_)) | Err(_) => Ok(()),
                },
                Some(tls) => match self.accept_tls(tls, stream).await {
                    Ok(stream) => {
                        let session = stream.get_ref().1;
                        client.names = session.peer_certificates().map(CertificateNames::of_chain);
                        if session.alpn_protocol() == Some(b"h2") {
                            self.serve_http2(stream, client).await
                        } else {
                            self.serve_http1(stream, client).await
                        }
                    }
                    Err(error) => {
                        self.report_handshake(peer, error);
                        Ok(())
                    }
                },
            }
        };
        let result = tokio::select! {
            result = serving => result,
            () = closed.cancelled() => return,
        };
        if let Err(error) = result {
            tracing::debug!(%peer, error = %outrigger_model::fault::chain(&error), "connection failed");
        }
    }

    /// Certificates that do not fit are the operator's business; connections that come and go are not.
    fn report_handshake(&self, peer: SocketAddr, error: io::Error) {
        match TlsCause::from_io(error) {
            TlsCause::Io(error) => tracing::debug!(%peer, %error, "TLS handshake failed"),
            cause => {
                let key = format!("{} {}", peer.ip(), cause.kind());
                let Some(suppressed) = self.handshakes.permit(&key) else { return };
                if cause.is_about_certificate() {
                    tracing::warn!(%peer, reason = %cause, suppressed, "the certificate of a client is refused");
                } else {
                    tracing::warn!(%peer, error = %cause, suppressed, "TLS handshake with a client failed");
                }
            }
        }
    }

    async fn accept_tls(
        &self,
        tls: &AcceptorSource,
        stream: PatientStream<TcpStream>,
    ) -> io::Result<tokio_rustls::server::TlsStream<PatientStream<TcpStream>>> {
        let config = tls.current().map_err(io::Error::other)?;
        tokio::time::timeout(self.limits.patience, TlsAcceptor::from(config).accept(stream)).await?
    }

    async fn serve_http1<S>(&self, stream: S, client: Client) -> Result<(), hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        client.requests.begin();
        let service = service_fn(|request| {
            let open = client.requests.open();
            let answer = self.answer(request, &client);
            async move {
                // Until the whole answer is on its way, the client may be silent.
                answer.await.map(|response| response.map(|body| OpenBody::new(body, open)))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_headers(MAX_HEADERS)
            .max_header_size(self.limits.max_header_bytes)
            .max_buf_size(self.limits.max_header_bytes.max(64 << 10))
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        tokio::select! {
            result = &mut connection => return result,
            () = self.shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }

    async fn serve_http2<S>(self: &Arc<Self>, stream: S, client: Client) -> Result<(), hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let context = self.clone();
        let service = service_fn(move |request| {
            let (context, client) = (context.clone(), client.clone());
            async move { context.answer(request, &client).await }
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(self.limits.keep_alive)
            .keep_alive_timeout(self.limits.keep_alive)
            .max_concurrent_streams(self.limits.max_streams)
            .max_header_list_size(u32::try_from(self.limits.max_header_bytes).unwrap_or(u32::MAX))
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        tokio::select! {
            result = &mut connection => return result,
            () = self.shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }

    async fn answer(&self, request: Request<Incoming>, client: &Client) -> Result<Response, Infallible> {
        let limits = self.limits;
        let mut request = if limits.streaming {
            request.map(Body::new)
        } else if request.body().size_hint().lower() > limits.max_body_bytes as u64 {
            return Ok(StatusCode::PAYLOAD_TOO_LARGE.into_response());
        } else {
            request.map(|body| {
                Body::new(PatientBody::new(Limited::new(body, limits.max_body_bytes), limits.patience))
            })
        };
        let extensions = request.extensions_mut();
        extensions.insert(ConnectInfo(client.address));
        extensions.insert(client.closer.clone());
        if let Some(names) = &client.names {
            extensions.insert(names.clone());
        }
        self.router.clone().oneshot(request).await
    }
}

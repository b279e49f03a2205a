//! Servers, certificates and clients for the tests.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use outrigger_model::fault::Blame;
use outrigger_model::http::{HttpClientConfig, PemSource};
use outrigger_model::secret::{Secret, SecretSource};
use outrigger_rt::http::{ClientOptions, HttpClient, HttpError, HttpRequest, HttpResponse};
use outrigger_rt::resolver::{Resolver, ResolverOptions};
use parking_lot::Mutex;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) fn fast() -> Duration {
    Duration::from_millis(300)
}

/// More than anything takes that works.
pub(crate) fn ample() -> Duration {
    Duration::from_secs(20)
}

pub(crate) fn resolver() -> Resolver {
    Resolver::new(ResolverOptions::default())
}

pub(crate) fn options() -> ClientOptions {
    ClientOptions::new("test", "outrigger-test/1", Blame::Target)
}

pub(crate) fn client(config: &HttpClientConfig) -> HttpClient {
    HttpClient::new(config, options(), resolver()).unwrap()
}

pub(crate) fn plain_client() -> HttpClient {
    client(&HttpClientConfig::default())
}

pub(crate) fn request(url: &str) -> HttpRequest<'_> {
    HttpRequest {
        method: Method::GET,
        url,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        deadline: Instant::now() + ample(),
    }
}

pub(crate) fn post<'a>(url: &'a str, body: &'static str) -> HttpRequest<'a> {
    HttpRequest { method: Method::POST, body: Bytes::from_static(body.as_bytes()), ..request(url) }
}

pub(crate) async fn get(client: &HttpClient, url: &str) -> Result<HttpResponse, HttpError> {
    client.send(request(url)).await
}

pub(crate) async fn text(response: HttpResponse) -> String {
    String::from_utf8(response.body.read_all(1 << 20).await.unwrap().to_vec()).unwrap()
}

pub(crate) async fn get_text(client: &HttpClient, url: &str) -> String {
    text(get(client, url).await.unwrap()).await
}

/// The whole error, as it is logged.
pub(crate) fn chain(error: &HttpError) -> String {
    outrigger_model::fault::chain(error)
}

/// Waits until `condition` holds; panics when it does not in an ample time.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + ample();
    while !condition() {
        assert!(Instant::now() < end, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn inline(secret: &str) -> SecretSource {
    SecretSource::Inline(Secret::new(secret))
}

pub(crate) fn pem(text: &str) -> PemSource {
    PemSource::Inline(text.to_owned())
}

/// A request as a server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) version: Version,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

type Handler = Arc<dyn Fn(Seen) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// A real HTTP server on loopback.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) accepted: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Seen>>>,
    scheme: &'static str,
    connections: Arc<Mutex<CancellationToken>>,
    _stop: DropGuard,
}

#[derive(Clone)]
struct Shared {
    handler: Handler,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepted: Arc<AtomicUsize>,
    /// Ends the connections that are open when it is cancelled; then there is another one.
    connections: Arc<Mutex<CancellationToken>>,
    stop: CancellationToken,
}

impl TestServer {
    pub(crate) async fn start<F>(handler: impl Fn(Seen) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::start_with(handler, None).await
    }

    /// Answers everything with this body.
    pub(crate) async fn saying(body: &'static str) -> Self {
        Self::start(move |_| async move { Response::new(Body::from(body)) }).await
    }

    pub(crate) async fn start_tls<F>(
        tls: rustls::ServerConfig,
        handler: impl Fn(Seen) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::start_with(handler, Some(TlsAcceptor::from(Arc::new(tls)))).await
    }

    /// Answers everything over TLS with `ok`.
    pub(crate) async fn tls_ok(tls: rustls::ServerConfig) -> Self {
        Self::start_tls(tls, |_| async { Response::new(Body::from("ok")) }).await
    }

    async fn start_with<F>(
        handler: impl Fn(Seen) -> F + Send + Sync + 'static,
        acceptor: Option<TlsAcceptor>,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared::new(handler);
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let server = Self {
            address,
            accepted: shared.accepted.clone(),
            seen: shared.seen.clone(),
            scheme,
            connections: shared.connections.clone(),
            _stop: shared.stop.clone().drop_guard(),
        };
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = shared.stop.run_until_cancelled(listener.accept()).await {
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                let (shared, acceptor) = (shared.clone(), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => shared.serve(stream).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                shared.serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    pub(crate) fn url(&self, path: &str) -> String {
        self.url_as("127.0.0.1", path)
    }

    pub(crate) fn url_as(&self, host: &str, path: &str) -> String {
        format!("{}://{host}:{}{path}", self.scheme, self.address.port())
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Closes all connections, and accepts new ones.
    pub(crate) fn close_connections(&self) {
        let mut current = self.connections.lock();
        current.cancel();
        *current = CancellationToken::new();
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen.lock().last().expect("a request came").clone()
    }
}

/// A real HTTP server on a unix socket.
pub(crate) async fn start_unix(path: &Path, body: &'static str) -> DropGuard {
    let listener = UnixListener::bind(path).unwrap();
    let shared = Shared::new(move |_| async move { Response::new(Body::from(body)) });
    let stop = shared.stop.clone().drop_guard();
    tokio::spawn(async move {
        while let Some(Ok((stream, _))) = shared.stop.run_until_cancelled(listener.accept()).await {
            let shared = shared.clone();
            tokio::spawn(async move { shared.serve(stream).await });
        }
    });
    stop
}

impl Shared {
    fn new<F>(handler: impl Fn(Seen) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self {
            handler: Arc::new(move |seen| handler(seen).boxed()),
            seen: Arc::default(),
            accepted: Arc::default(),
            connections: Arc::default(),
            stop: CancellationToken::new(),
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let (stop, closed) = (self.stop.clone(), self.connections.lock().clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let shared = self.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                let seen = Seen {
                    method: parts.method,
                    uri: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
                    headers: parts.headers,
                    body,
                    version: parts.version,
                };
                shared.seen.lock().push(seen.clone());
                Ok::<_, Infallible>((shared.handler)(seen).await)
            }
        });
        let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        tokio::select! {
            _ = builder.serve_connection(TokioIo::new(stream), service) => {}
            () = stop.cancelled() => {}
            () = closed.cancelled() => {}
        }
    }
}

pub(crate) fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        let name = http::HeaderName::try_from(*name).unwrap();
        response.headers_mut().append(name, value.parse().unwrap());
    }
    response
}

/// A certificate authority.
pub(crate) struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pub(crate) pem: String,
}

/// A certificate with its key, as PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: rcgen::Issuer::new(params, key), pem }
    }

    /// A certificate for these names and addresses, for servers and clients.
    pub(crate) fn issue(&self, names: &[&str]) -> Identity {
        self.issue_between(names, 1975, 4096)
    }

    /// One that is valid from the first day of one year to the first day of another.
    pub(crate) fn issue_between(&self, names: &[&str], from: i32, to: i32) -> Identity {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "leaf");
        params.extended_key_usages =
            vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { cert, key: key.serialize_pem() }
    }
}

/// A certificate that signed itself and calls itself an authority, as `openssl req -x509` makes them.
pub(crate) fn self_signed_authority(names: &[&str], not_after: (i32, u8, u8)) -> Identity {
    let key = rcgen::KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.not_after = rcgen::date_time_ymd(not_after.0, not_after.1, not_after.2);
    Identity { cert: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// TLS for a [`TestServer`].
pub(crate) struct ServerTls<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) client_authority: Option<&'a Authority>,
    pub(crate) versions: &'a [&'static rustls::SupportedProtocolVersion],
    pub(crate) alpn: &'a [&'a str],
}

impl<'a> ServerTls<'a> {
    pub(crate) fn new(identity: &'a Identity) -> Self {
        Self { identity, client_authority: None, versions: rustls::ALL_VERSIONS, alpn: &[] }
    }

    pub(crate) fn build(&self) -> rustls::ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.versions)
            .unwrap();
        let builder = match self.client_authority {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
                let verifier =
                    rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain = vec![CertificateDer::from_pem_slice(self.identity.cert.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(self.identity.key.as_bytes()).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// A directory for one test's files.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes as a careful operator does: beside it, then renamed over it.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        let beside = self.path("beside");
        std::fs::write(&beside, content).unwrap();
        std::fs::rename(&beside, &path).unwrap();
        path
    }
}

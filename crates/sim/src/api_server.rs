//! The simulated API server: list, watch and streamed list of every resource in protobuf over HTTP/2 and TLS.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use outrigger_wire::kubernetes::{ListMeta, ResourceKind, Status};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch as signal};
use tokio_rustls::TlsAcceptor;

use crate::encode::{self, Representation};
use crate::faults::FaultSwitch;
use crate::list_options::{ListOptions, ListOptionsError, ResourceVersionMatch};
use crate::store::{ObjectKey, Store, StoredObject};
use crate::watch::{self, WatchRequest};

/// Requests remembered for [`ApiServer::requests`]; later ones are only counted.
const REQUEST_LOG_CAPACITY: usize = 100_000;
/// Frames that wait for a slow client.
const WATCH_BUFFER: usize = 64;

/// The simulated API server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No port on loopback.
    #[error("could not listen on loopback for the simulated API server")]
    Listen(#[source] io::Error),
    /// No certificate.
    #[error("could not make a certificate for the simulated API server")]
    Certificate(#[source] rcgen::Error),
    /// TLS refused the certificate.
    #[error("could not set up TLS for the simulated API server")]
    Tls(#[source] rustls::Error),
}

/// What the server is told at its start.
#[derive(Debug, Clone)]
pub struct ApiServerOptions {
    /// Minor version that `/version` reports.
    pub minor_version: u32,
    /// The bearer token that clients must send.
    pub token: String,
}

impl Default for ApiServerOptions {
    fn default() -> Self {
        Self { minor_version: 35, token: "simulated".to_owned() }
    }
}

/// A request as the server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    /// `list`, `watch`, `version` or `other`.
    pub verb: &'static str,
    /// Path without query.
    pub path: String,
    /// Query.
    pub query: String,
    /// `Accept` header.
    pub accept: String,
    /// `User-Agent` header.
    pub user_agent: String,
    /// Answer.
    pub code: u16,
}

struct Shared {
    store: Arc<Store>,
    faults: Arc<FaultSwitch>,
    options: ApiServerOptions,
    requests: Mutex<Vec<RequestRecord>>,
    connections: Mutex<u64>,
    /// Incremented to close every connection at once.
    cut: signal::Sender<u64>,
}

/// A running simulated API server; dropping it stops it.
pub struct ApiServer {
    address: SocketAddr,
    certificate_pem: String,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ApiServer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.cut.send_modify(|n| *n += 1);
    }
}

type Body = BoxBody<Bytes, Infallible>;

impl ApiServer {
    /// Binds a free port on loopback and starts to serve `store`.
    ///
    /// # Errors
    /// [`StartError`] names the step that failed.
    pub async fn start(store: Arc<Store>, options: ApiServerOptions) -> Result<Self, StartError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(StartError::Listen)?;
        let address = listener.local_addr().map_err(StartError::Listen)?;
        let (acceptor, certificate_pem) = tls_acceptor()?;
        let shared = Arc::new(Shared {
            store,
            faults: Arc::default(),
            options,
            requests: Mutex::default(),
            connections: Mutex::default(),
            cut: signal::Sender::new(0),
        });
        let accepting = tokio::spawn(accept(listener, acceptor, shared.clone()));
        Ok(Self { address, certificate_pem, shared, accepting })
    }

    /// `https://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Certificate authority of the server, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A kubeconfig with which this server can be reached.
    pub fn kubeconfig(&self) -> String {
        let authority = base64::engine::general_purpose::STANDARD.encode(&self.certificate_pem);
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: simulated\n\
             clusters:\n- name: simulated\n  cluster:\n    server: {}\n    certificate-authority-data: {authority}\n\
             users:\n- name: simulated\n  user:\n    token: {}\n\
             contexts:\n- name: simulated\n  context:\n    cluster: simulated\n    user: simulated\n",
            self.url(),
            self.shared.options.token,
        )
    }

    /// The faults, to be changed at any time.
    pub fn faults(&self) -> &FaultSwitch {
        &self.shared.faults
    }

    /// The objects that are served.
    pub fn store(&self) -> &Arc<Store> {
        &self.shared.store
    }

    /// Requests so far, oldest first.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.shared.requests.lock().clone()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        *self.shared.connections.lock()
    }

    /// Closes every open connection in the middle of whatever it was doing.
    pub fn cut_connections(&self) {
        self.shared.cut.send_modify(|n| *n += 1);
    }
}

fn tls_acceptor() -> Result<(TlsAcceptor, String), StartError> {
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let certified = rcgen::generate_simple_self_signed(names).map_err(StartError::Certificate)?;
    let pem = certified.cert.pem();
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key)
        })
        .map_err(StartError::Tls)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), pem))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        *shared.connections.lock() += 1;
        let _ = stream.set_nodelay(true);
        tokio::spawn(serve_connection(stream, acceptor.clone(), shared.clone()));
    }
}

async fn serve_connection(stream: tokio::net::TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut cut = shared.cut.subscribe();
    let Ok(tls) = acceptor.accept(stream).await else { return };
    let service = hyper::service::service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(250).initial_stream_window_size(256 * 1024);
    tokio::select! {
        _ = builder.serve_connection(TokioIo::new(tls), service) => {}
        _ = cut.changed() => {}
    }
}

async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let header = |name| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let mut record = RequestRecord {
        verb: "other",
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or("").to_owned(),
        accept: header(http::header::ACCEPT),
        user_agent: header(USER_AGENT),
        code: 0,
    };
    if shared.faults.get().hang {
        std::future::pending::<()>().await;
    }
    let response = match route(shared, &request, &mut record) {
        Ok(response) => response,
        Err(status) => refuse(&status, &record.accept),
    };
    record.code = response.status().as_u16();
    let mut requests = shared.requests.lock();
    if requests.len() < REQUEST_LOG_CAPACITY {
        requests.push(record);
    }
    response
}

fn route(
    shared: &Arc<Shared>,
    request: &Request<Incoming>,
    record: &mut RequestRecord,
) -> Result<Response<Body>, Box<Status>> {
    check_general_faults(shared)?;
    let expected = format!("Bearer {}", shared.options.token);
    let given = request.headers().get(AUTHORIZATION).and_then(|v| v.to_str().ok());
    if given != Some(expected.as_str()) {
        return Err(status(401, "Unauthorized", "Unauthorized"));
    }
    if record.path == "/version" {
        record.verb = "version";
        return Ok(version(shared.options.minor_version));
    }
    if matches!(record.path.as_str(), "/readyz" | "/livez" | "/healthz") {
        return Ok(text(StatusCode::OK, "ok"));
    }
    let not_found = || status(404, "NotFound", "the server could not find the requested resource");
    let (resource, namespace) = parse_path(&record.path).ok_or_else(not_found)?;
    record.verb = "list";
    if request.method() != Method::GET {
        let message = "the server does not allow this method on the requested resource";
        return Err(status(405, "MethodNotAllowed", message));
    }
    check_resource_faults(shared, resource)?;
    let options = ListOptions::parse(&record.query).map_err(|error| match error {
        ListOptionsError::BadRequest(message) => status(400, "BadRequest", &message),
        ListOptionsError::Invalid(_) => status(422, "Invalid", &error.to_string()),
    })?;
    if let Some(field) = options.selector.unknown_field(encode::selectable_fields(resource)) {
        return Err(status(400, "BadRequest", &format!("field label not supported: {field}")));
    }
    let representation = encode::negotiate(&record.accept).ok_or_else(|| {
        let message = "only the following media types are accepted: application/vnd.kubernetes.protobuf";
        status(406, "NotAcceptable", message)
    })?;
    if options.watch {
        record.verb = "watch";
        return watch_response(
            shared,
            WatchRequest {
                resource,
                namespace,
                options,
                representation,
                api_version: shared.faults.get().api_version,
            },
        );
    }
    list_response(shared, resource, &namespace, &options, representation)
}

fn check_general_faults(shared: &Shared) -> Result<(), Box<Status>> {
    let faults = shared.faults.get();
    if faults.internal_error {
        return Err(status(500, "InternalError", "the simulated server is told to fail"));
    }
    if faults.unauthorized {
        return Err(status(401, "Unauthorized", "Unauthorized"));
    }
    if let Some(after) = faults.too_many_requests {
        let mut status = status(429, "TooManyRequests", "too many requests, please try again later");
        status.retry_after_seconds = Some(u32::try_from(after.as_secs()).unwrap_or(u32::MAX));
        return Err(status);
    }
    Ok(())
}

fn check_resource_faults(shared: &Shared, resource: ResourceKind) -> Result<(), Box<Status>> {
    let faults = shared.faults.get();
    if faults.not_served.contains(&resource) {
        return Err(status(404, "NotFound", "the server could not find the requested resource"));
    }
    if faults.forbidden.contains(&resource) {
        let message = format!(
            "{} is forbidden: User \"simulated\" cannot list resource \"{}\" in API group \"{}\" at the cluster scope",
            resource.plural(),
            resource.plural(),
            resource.group(),
        );
        return Err(status(403, "Forbidden", &message));
    }
    Ok(())
}

/// The resource and namespace (or empty) that a path names.
fn parse_path(path: &str) -> Option<(ResourceKind, String)> {
    ResourceKind::ALL.iter().find_map(|&resource| {
        let all = resource.path();
        if path == all {
            return Some((resource, String::new()));
        }
        let prefix = all.strip_suffix(resource.plural())?;
        let rest = path.strip_prefix(prefix)?.strip_prefix("namespaces/")?;
        let (namespace, plural) = rest.split_once('/')?;
        (plural == resource.plural() && !namespace.is_empty()).then(|| (resource, namespace.to_owned()))
    })
}

fn watch_response(shared: &Arc<Shared>, request: WatchRequest) -> Result<Response<Body>, Box<Status>> {
    let faults = shared.faults.get();
    if request.options.send_initial_events.is_some() && faults.refuse_watch_list {
        let message = "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: \
                       sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
        return Err(status(422, "Invalid", message));
    }
    let media_type = request.representation.watch_media_type();
    if let Some(garbage) = faults.garbage {
        return Ok(body(StatusCode::OK, media_type, garbage.into()));
    }
    let (sender, mut receiver) = mpsc::channel(WATCH_BUFFER);
    tokio::spawn(watch::run(shared.store.clone(), shared.faults.clone(), request, sender));
    let frames = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    let frames = futures_util::StreamExt::map(frames, |frame| Ok::<_, Infallible>(Frame::data(frame)));
    let mut response = Response::new(BoxBody::new(StreamBody::new(frames)));
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    Ok(response)
}

fn list_response(
    shared: &Shared,
    resource: ResourceKind,
    namespace: &str,
    options: &ListOptions,
    representation: Representation,
) -> Result<Response<Body>, Box<Status>> {
    if let Some(garbage) = shared.faults.get().garbage {
        return Ok(body(StatusCode::OK, representation.list_media_type(), garbage.into()));
    }
    let (newest, objects) = shared.store.snapshot(resource);
    let asked: u64 = options.resource_version.parse().unwrap_or(0);
    if asked > newest {
        return Err(too_large_resource_version(asked, newest));
    }
    if options.resource_version_match == Some(ResourceVersionMatch::Exact) && asked != newest {
        return Err(encode::expired_status(asked, newest));
    }
    let after = parse_continue(&options.continue_token)?;
    let selected: Vec<Arc<StoredObject>> = objects
        .into_iter()
        .filter(|object| namespace.is_empty() || object.key.namespace == namespace)
        .filter(|object| options.selector.matches(object))
        .filter(|object| after.as_ref().is_none_or(|after| object.key > *after))
        .collect();
    // As the real server does, a list from the watch cache (resourceVersion "0") is never paged.
    let paged = options.limit > 0 && options.resource_version != "0" && selected.len() > options.limit;
    let page = if paged { &selected[..options.limit] } else { &selected[..] };
    let continue_token = match page.last() {
        Some(last) if paged => encode_continue(&last.key),
        _ => String::new(),
    };
    let remaining = (paged && options.selector.is_empty()).then(|| selected.len() - page.len());
    let meta = ListMeta {
        resource_version: newest.to_string(),
        continue_token,
        remaining: remaining.and_then(|remaining| i64::try_from(remaining).ok()),
    };
    let api_version = shared.faults.get().api_version;
    let pieces = encode::list(resource, representation, api_version.as_deref(), &meta, page.to_vec());
    Ok(chunked(representation.list_media_type(), pieces))
}

fn encode_continue(last: &ObjectKey) -> String {
    let text = format!("{}/{}", last.namespace, last.name);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

fn parse_continue(token: &str) -> Result<Option<ObjectKey>, Box<Status>> {
    if token.is_empty() {
        return Ok(None);
    }
    let bad = || status(400, "BadRequest", "continue key is not valid");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
    let text = String::from_utf8(bytes).map_err(|_| bad())?;
    let (namespace, name) = text.split_once('/').ok_or_else(bad)?;
    Ok(Some(ObjectKey { namespace: namespace.to_owned(), name: name.to_owned() }))
}

fn too_large_resource_version(asked: u64, newest: u64) -> Box<Status> {
    let message = format!("Timeout: Too large resource version: {asked}, current: {newest}");
    let mut status = status(504, "Timeout", &message);
    status.retry_after_seconds = Some(1);
    status
}

pub(crate) fn status(code: i32, reason: &str, message: &str) -> Box<Status> {
    Box::new(Status {
        status: "Failure".to_owned(),
        code,
        reason: reason.to_owned(),
        message: message.to_owned(),
        ..Status::default()
    })
}

fn refuse(status: &Status, accept: &str) -> Response<Body> {
    let code = u16::try_from(status.code).ok().and_then(|code| StatusCode::from_u16(code).ok());
    let code = code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = if accept.contains("application/vnd.kubernetes.protobuf") {
        body(code, "application/vnd.kubernetes.protobuf", encode::status(status))
    } else {
        body(code, "application/json", encode::status_json(status))
    };
    if let Some(seconds) = status.retry_after_seconds {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

fn version(minor: u32) -> Response<Body> {
    let text = format!(
        "{{\"major\":\"1\",\"minor\":\"{minor}\",\"gitVersion\":\"v1.{minor}.0-simulated\",\"platform\":\"linux/amd64\"}}"
    );
    body(StatusCode::OK, "application/json", text.into_bytes().into())
}

fn text(code: StatusCode, content: &'static str) -> Response<Body> {
    body(code, "text/plain", Bytes::from_static(content.as_bytes()))
}

fn body(code: StatusCode, media_type: &'static str, content: Bytes) -> Response<Body> {
    let mut response = Response::new(BoxBody::new(Full::new(content)));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    response
}

/// A large body in pieces, so that one list does not hold a connection's other streams.
fn chunked(
    media_type: &'static str,
    pieces: impl Iterator<Item = Bytes> + Send + Sync + 'static,
) -> Response<Body> {
    let frames = pieces.map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    let mut response = Response::new(BoxBody::new(StreamBody::new(futures_util::stream::iter(frames))));
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    response
}

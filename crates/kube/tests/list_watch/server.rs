//! A small API server over TLS and HTTP/2 whose every answer is given by the test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use http_body_util::StreamBody;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use outrigger_wire::kubernetes::object::ObjectMeta;
use outrigger_wire::kubernetes::{
    INITIAL_EVENTS_END, Status, WatchEventKind, encode_envelope, encode_watch_event,
};
use outrigger_wire::protobuf::Writer;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

/// Longest wait for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

type Body = BoxBody<Bytes, std::io::Error>;

/// The server and the requests that wait for their answers.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) ca_pem: String,
    state: Arc<State>,
    task: AbortHandle,
}

struct State {
    version: Mutex<String>,
    waiting: Mutex<Vec<Exchange>>,
    arrived: tokio::sync::Notify,
    accepted: AtomicUsize,
    connections: Mutex<Vec<AbortHandle>>,
    /// Counts the calls of [`Server::go_away`].
    go_away: tokio::sync::watch::Sender<u32>,
}

/// A request to be answered.
pub(crate) struct Exchange {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// Number of its connection, in order of arrival.
    pub(crate) connection: usize,
    respond: oneshot::Sender<Response<Body>>,
    cut: AbortHandle,
}

/// An answer that goes on.
pub(crate) struct Answer {
    body: mpsc::UnboundedSender<Result<Frame<Bytes>, std::io::Error>>,
    cut: AbortHandle,
}

/// What the server's certificate is made from.
pub(crate) struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: rcgen::Issuer::new(params, key), pem }
    }

    /// Certificate and key, in PEM, for a server on loopback or for a client called `name`.
    pub(crate) fn issue(&self, name: &str) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.extended_key_usages =
            vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

impl Server {
    /// A server of version 1.34 that speaks HTTP/2.
    pub(crate) async fn start() -> Self {
        Self::start_with(&Authority::new(), &[b"h2", b"http/1.1"]).await
    }

    pub(crate) async fn start_with(authority: &Authority, protocols: &[&[u8]]) -> Self {
        Self::start_at(authority, protocols, "127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_at(authority: &Authority, protocols: &[&[u8]], at: SocketAddr) -> Self {
        let (certificate, key) = authority.issue("server");
        let tls = tls_config(&certificate, &key, &authority.pem, protocols);
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            version: Mutex::new("v1.34.1".to_owned()),
            waiting: Mutex::default(),
            arrived: tokio::sync::Notify::new(),
            accepted: AtomicUsize::new(0),
            connections: Mutex::default(),
            go_away: tokio::sync::watch::Sender::new(0),
        });
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let task = tokio::spawn(accept(listener, acceptor, state.clone())).abort_handle();
        Self { address, ca_pem: authority.pem.clone(), state, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn set_version(&self, version: &str) {
        version.clone_into(&mut self.state.version.lock());
    }

    /// Connections whose TLS handshake was done.
    pub(crate) fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// The next request whose path starts with `prefix`.
    pub(crate) async fn next(&self, prefix: &str) -> Exchange {
        let found = async {
            loop {
                let arrived = self.state.arrived.notified();
                if let Some(exchange) = self.take(prefix) {
                    return exchange;
                }
                // Two tests' tasks may wait at once; a missed wake-up costs this much.
                let _ = tokio::time::timeout(Duration::from_millis(20), arrived).await;
            }
        };
        let paths = || self.state.waiting.lock().iter().map(|e| e.path.clone()).collect::<Vec<_>>();
        tokio::time::timeout(PATIENCE, found)
            .await
            .unwrap_or_else(|_| panic!("no request for {prefix}; there are {:?}", paths()))
    }

    fn take(&self, prefix: &str) -> Option<Exchange> {
        let mut waiting = self.state.waiting.lock();
        let position = waiting.iter().position(|exchange| exchange.path.starts_with(prefix))?;
        Some(waiting.remove(position))
    }

    /// Requests that nobody has answered.
    pub(crate) fn waiting(&self, prefix: &str) -> usize {
        self.state.waiting.lock().iter().filter(|exchange| exchange.path.starts_with(prefix)).count()
    }

    /// Asks every client to open another connection (HTTP/2 GOAWAY); open streams go on.
    pub(crate) fn go_away(&self) {
        self.state.go_away.send_modify(|calls| *calls += 1);
    }

    /// Cuts every connection without a word.
    pub(crate) fn cut_connections(&self) {
        for connection in self.state.connections.lock().drain(..) {
            connection.abort();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        self.cut_connections();
    }
}

fn tls_config(certificate: &str, key: &str, authority: &str, protocols: &[&[u8]]) -> rustls::ServerConfig {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let clients =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

async fn accept(listener: TcpListener, acceptor: tokio_rustls::TlsAcceptor, state: Arc<State>) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (acceptor, state) = (acceptor.clone(), state.clone());
        let (tell, told) = oneshot::channel::<AbortHandle>();
        let for_task = state.clone();
        let task = tokio::spawn(async move {
            let cut = told.await.unwrap();
            let Ok(tls) = acceptor.accept(socket).await else { return };
            let connection = for_task.accepted.fetch_add(1, Ordering::SeqCst);
            // The subject of the client's certificate stands in for authentication.
            let mut go_away = for_task.go_away.subscribe();
            let client = tls.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec());
            let service = service_fn(move |request| {
                answer(for_task.clone(), connection, cut.clone(), client.clone(), request)
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(tls), service));
            tokio::select! {
                _ = serving.as_mut() => return,
                _ = go_away.changed() => serving.as_mut().graceful_shutdown(),
            }
            let _ = serving.await;
        });
        let _ = tell.send(task.abort_handle());
        state.connections.lock().push(task.abort_handle());
    }
}

async fn answer(
    state: Arc<State>,
    connection: usize,
    cut: AbortHandle,
    client: Option<Vec<u8>>,
    request: Request<Incoming>,
) -> Result<Response<Body>, std::io::Error> {
    let path = request.uri().path_and_query().unwrap().to_string();
    if path.ends_with("/version") {
        let body = format!("{{\"major\":\"1\",\"gitVersion\":\"{}\"}}", state.version.lock());
        return Ok(Response::new(whole(body.into_bytes())));
    }
    let (respond, response) = oneshot::channel();
    let mut headers = request.headers().clone();
    if let Some(client) = client {
        headers.insert("test-client-certificate", format!("{client:?}").parse().unwrap());
    }
    state.waiting.lock().push(Exchange { path, headers, connection, respond, cut });
    state.arrived.notify_waiters();
    response.await.map_err(|_| std::io::Error::other("the test gave no answer"))
}

fn whole(body: Vec<u8>) -> Body {
    http_body_util::Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed()
}

impl Exchange {
    /// The value of a header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The value of a query parameter, or nothing.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        let (_, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(candidate, _)| *candidate == name)
            .map_or("", |(_, value)| value)
    }

    /// 200, with a body to come.
    pub(crate) fn open(self) -> Answer {
        let (body, receiver) = mpsc::unbounded_channel();
        let receiver = futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|item| (item, receiver))
        });
        let response = Response::builder()
            .header("content-type", "application/vnd.kubernetes.protobuf;stream=watch")
            .body(BodyExt::boxed(StreamBody::new(receiver)))
            .unwrap();
        let _ = self.respond.send(response);
        Answer { body, cut: self.cut }
    }

    /// 200 and this body.
    pub(crate) fn reply(self, body: Vec<u8>) {
        let _ = self.respond.send(Response::new(whole(body)));
    }

    /// A refusal with a protobuf `Status`.
    pub(crate) fn refuse(self, code: u16, reason: &str, message: &str) {
        self.refuse_with(code, &[], &status(code, reason, message));
    }

    pub(crate) fn refuse_with(self, code: u16, headers: &[(&'static str, &str)], status: &Status) {
        let (mut raw, mut body) = (Vec::new(), Vec::new());
        status.encode(&mut raw);
        encode_envelope("v1", "Status", &raw, &mut body);
        let mut response = Response::builder().status(StatusCode::from_u16(code).unwrap());
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let _ = self.respond.send(response.body(whole(body)).unwrap());
    }

    /// Any answer.
    pub(crate) fn raw(self, code: u16, body: &[u8]) {
        let response = Response::builder().status(code).body(whole(body.to_vec())).unwrap();
        let _ = self.respond.send(response);
    }

    /// Takes the request for a watch from `version` and opens it.
    pub(crate) fn open_watch_from(self, version: &str) -> Answer {
        assert_eq!(self.parameter("watch"), "true", "{}", self.path);
        assert_eq!(self.parameter("sendInitialEvents"), "", "{}", self.path);
        assert_eq!(self.parameter("resourceVersion"), version, "{}", self.path);
        assert_eq!(self.parameter("allowWatchBookmarks"), "true", "{}", self.path);
        self.open()
    }

    /// Takes the request for a streamed list and answers it with pods `names` up to `version`.
    pub(crate) fn stream_list(self, names: &[&str], version: &str) -> Answer {
        assert_eq!(self.parameter("sendInitialEvents"), "true", "{}", self.path);
        assert_eq!(self.parameter("resourceVersionMatch"), "NotOlderThan", "{}", self.path);
        let answer = self.open();
        for name in names {
            answer.event(WatchEventKind::Added, name, "1");
        }
        answer.initial_events_end(version);
        answer
    }
}

impl Answer {
    pub(crate) fn send(&self, bytes: Vec<u8>) {
        // The client may be gone already, which is what some tests want.
        let _ = self.body.send(Ok(Frame::data(Bytes::from(bytes))));
    }

    pub(crate) fn event(&self, kind: WatchEventKind, name: &str, version: &str) {
        self.send(event(kind, name, version));
    }

    pub(crate) fn bookmark(&self, version: &str) {
        self.event(WatchEventKind::Bookmark, "", version);
    }

    pub(crate) fn initial_events_end(&self, version: &str) {
        let mut meta = meta("", version);
        meta.annotations.insert(INITIAL_EVENTS_END.to_owned(), "true".to_owned());
        self.send(encode_event(WatchEventKind::Bookmark, meta));
    }

    pub(crate) fn error(&self, status: &Status) {
        let (mut raw, mut frame) = (Vec::new(), Vec::new());
        status.encode(&mut raw);
        encode_watch_event(WatchEventKind::Error, "v1", "Status", &raw, &mut frame);
        self.send(frame);
    }

    /// Ends the stream in order.
    pub(crate) fn end(self) {}

    /// Resets the stream, not its connection.
    pub(crate) fn reset(self) {
        let _ = self.body.send(Err(std::io::Error::other("reset by the test")));
    }

    /// Cuts its connection without a word.
    pub(crate) fn cut(self) {
        self.cut.abort();
    }

    /// Whether the client has given the stream up.
    pub(crate) fn given_up(&self) -> bool {
        self.body.is_closed()
    }
}

fn meta(name: &str, version: &str) -> ObjectMeta {
    let mut meta = match name.split_once('/') {
        Some((namespace, name)) => ObjectMeta::named(namespace, name),
        None => ObjectMeta::named("default", name),
    };
    version.clone_into(&mut meta.resource_version);
    meta
}

/// An object with metadata alone, which is enough for the list/watch.
fn object(meta: ObjectMeta) -> Vec<u8> {
    let mut message = Vec::new();
    Writer::new(&mut message).message(1, |writer| meta.encode(writer));
    message
}

fn encode_event(kind: WatchEventKind, meta: ObjectMeta) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_watch_event(kind, "v1", "Pod", &object(meta), &mut frame);
    frame
}

/// A frame about the object `name` (or `namespace/name`).
pub(crate) fn event(kind: WatchEventKind, name: &str, version: &str) -> Vec<u8> {
    encode_event(kind, meta(name, version))
}

/// A list body.
pub(crate) fn list(names: &[&str], version: &str, continue_token: &str) -> Vec<u8> {
    let mut message = Vec::new();
    let mut writer = Writer::new(&mut message);
    writer.message(1, |list_meta| {
        list_meta.string(1, "");
        list_meta.string(2, version);
        list_meta.string(3, continue_token);
    });
    for name in names {
        writer.bytes(2, &object(meta(name, "1")));
    }
    let mut body = Vec::new();
    encode_envelope("v1", "PodList", &message, &mut body);
    body
}

pub(crate) fn status(code: u16, reason: &str, message: &str) -> Status {
    Status {
        status: "Failure".to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        code: i32::from(code),
        ..Status::default()
    }
}

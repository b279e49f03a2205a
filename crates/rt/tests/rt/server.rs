//! The server: limits, slow clients, TLS, shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::{get as on_get, post as on_post};
use bytes::Bytes;
use outrigger_model::http::{HttpClientConfig, TlsConfig};
use outrigger_rt::http::HttpClient;
use outrigger_rt::server::{BindError, Server, ServerConfig, ServerLimits, ServerTls as Tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::*;

struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(router: Router, config: ServerConfig) -> Running {
    let server = Server::bind(config).await.unwrap();
    let (address, shutdown) = (server.address(), CancellationToken::new());
    let task = tokio::spawn(server.serve(router, shutdown.clone()));
    Running { address, shutdown, task }
}

fn loopback(limits: ServerLimits) -> ServerConfig {
    ServerConfig { limits, ..ServerConfig::new(([127, 0, 0, 1], 0).into()) }
}

fn router() -> Router {
    Router::new()
        .route("/", on_get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }))
        .route("/length", on_post(|body: Bytes| async move { body.len().to_string() }))
}

impl Running {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn ended(self) {
        tokio::time::timeout(ample(), self.task).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn requests_are_answered_and_limited() {
    let limits =
        ServerLimits { max_body_bytes: 5_000_000, max_header_bytes: 10_000, ..ServerLimits::default() };
    let server = start(router(), loopback(limits)).await;
    let client = plain_client();
    assert_eq!(get_text(&client, &server.url("/")).await, "127.0.0.1");
    let url = server.url("/length");
    for (bytes, status) in [(5_000_000, 200), (5_000_001, 413)] {
        let wanted = outrigger_rt::http::HttpRequest { body: vec![b'x'; bytes].into(), ..post(&url, "") };
        let response = client.send(wanted).await;
        // The refusal may come before the body is sent, as a broken connection then.
        if let Ok(response) = response {
            assert_eq!(response.status, status);
        } else {
            assert_eq!(status, 413);
        }
    }
    let mut wanted = request(&url);
    wanted.headers.insert("x-long", "x".repeat(20_000).parse().unwrap());
    assert_eq!(client.send(wanted).await.unwrap().status, 431);
    server.shutdown.cancel();
    server.ended().await;
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_is_refused_while_it_comes() {
    let server =
        start(router(), loopback(ServerLimits { max_body_bytes: 10, ..ServerLimits::default() })).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /length HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(format!("{head}6\r\nsixsix\r\n6\r\nsixsix\r\n").as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn silent_clients_are_let_go() {
    let limits = ServerLimits { patience: Duration::from_millis(200), ..ServerLimits::default() };
    let server = start(router(), loopback(limits)).await;
    for sent in ["", "GET / HTT", "POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        // Ends, with an answer or without one.
        let _ = tokio::time::timeout(ample(), stream.read_to_end(&mut rest)).await.unwrap();
        assert!(!String::from_utf8_lossy(&rest).contains(" 200 "), "{sent:?}");
    }
}

#[tokio::test]
async fn headers_and_the_next_request_have_times_of_their_own() {
    let hour = Duration::from_secs(3600);
    let short = Some(Duration::from_millis(200));
    let headers = ServerLimits { patience: hour, header: short, idle: Some(hour), ..ServerLimits::default() };
    let server = start(router(), loopback(headers)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 1024];
    let length = stream.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200 OK"));
    // The second request's headers do not end.
    stream.write_all(b"GET / HTTP/1.1\r\nA: b").await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(ample(), stream.read_to_end(&mut rest)).await.unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains(" 200 "));

    let idle = ServerLimits { patience: hour, header: Some(hour), idle: short, ..ServerLimits::default() };
    let server = start(router(), loopback(idle)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(ample(), stream.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn a_client_that_does_not_take_its_response_is_let_go() {
    let dropped = Arc::new(Notify::new());
    struct Guard(Arc<Notify>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let notify = dropped.clone();
    let endless = move || {
        let guard = Guard(notify.clone());
        async move {
            let chunks = futures_util::stream::unfold(guard, |guard| async {
                Some((Ok::<_, std::io::Error>(vec![b'x'; 100_000]), guard))
            });
            axum::body::Body::from_stream(chunks)
        }
    };
    let limits = ServerLimits { patience: Duration::from_millis(200), ..ServerLimits::default() };
    let server = start(Router::new().route("/", on_get(endless)), loopback(limits)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tokio::time::timeout(ample(), dropped.notified()).await.unwrap();
}

#[tokio::test]
async fn connections_over_the_cap_wait_for_their_turn() {
    let server =
        start(router(), loopback(ServerLimits { max_connections: 1, ..ServerLimits::default() })).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let url = server.url("/");
    let second = tokio::spawn(async move { get_text(&plain_client(), &url).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!second.is_finished());
    drop(first);
    assert_eq!(tokio::time::timeout(ample(), second).await.unwrap().unwrap(), "127.0.0.1");
}

#[tokio::test]
async fn a_request_in_flight_is_finished_before_the_server_ends() {
    let (started, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (has_started, may_go_on) = (started.clone(), go_on.clone());
    let slow = move || {
        let (started, go_on) = (has_started.clone(), may_go_on.clone());
        async move {
            started.notify_one();
            go_on.notified().await;
            "finished"
        }
    };
    let server = start(Router::new().route("/slow", on_get(slow)), loopback(ServerLimits::default())).await;
    // An idle connection does not hold the shutdown up.
    let idle = TcpStream::connect(server.address).await.unwrap();
    let client = plain_client();
    let url = server.url("/slow");
    let in_flight = tokio::spawn(async move { get_text(&client, &url).await });
    started.notified().await;
    server.shutdown.cancel();
    let address = server.address;
    eventually("the port closes", || std::net::TcpStream::connect(address).is_err()).await;
    assert!(!server.task.is_finished());
    go_on.notify_one();
    assert_eq!(in_flight.await.unwrap(), "finished");
    server.ended().await;
    drop(idle);
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_the_shutdown_up_for_ever() {
    let started = Arc::new(Notify::new());
    let has_started = started.clone();
    let endless = move || {
        has_started.notify_one();
        std::future::pending::<()>()
    };
    let limits = ServerLimits { drain: Duration::from_millis(100), ..ServerLimits::default() };
    let server = start(Router::new().route("/", on_get(endless)), loopback(limits)).await;
    let url = server.url("/");
    let request = tokio::spawn(async move { get(&plain_client(), &url).await.map(|_| ()) });
    started.notified().await;
    server.shutdown.cancel();
    server.ended().await;
    assert!(request.await.unwrap().is_err());
}

#[tokio::test]
async fn tls_serves_both_protocols_and_asks_for_client_certificates() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let identity = servers.issue(&["127.0.0.1"]);
    let files = Files::new();
    let config = ServerConfig {
        tls: Some(Tls::new(
            outrigger_model::http::PemSource::File(files.write("cert", &identity.cert)),
            inline(&identity.key),
            Some(pem(&clients.pem)),
        )),
        ..loopback(ServerLimits::default())
    };
    let server = start(router(), config).await;
    let url = server.url("/").replace("http://", "https://");
    let own = clients.issue(&["client"]);
    let without = TlsConfig { ca: Some(pem(&servers.pem)), ..TlsConfig::default() };
    let with = TlsConfig { cert: Some(pem(&own.cert)), key: Some(inline(&own.key)), ..without.clone() };
    for enable_http2 in [true, false] {
        let config = HttpClientConfig { tls: with.clone(), enable_http2, ..HttpClientConfig::default() };
        assert_eq!(get_text(&client(&config), &url).await, "127.0.0.1");
    }
    let config = HttpClientConfig { tls: without, ..HttpClientConfig::default() };
    assert!(get(&client(&config), &url).await.is_err());
    server.shutdown.cancel();
    server.ended().await;
}

#[tokio::test]
async fn what_cannot_be_bound_is_told_with_address_and_reason() {
    let first = Server::bind(loopback(ServerLimits::default())).await.unwrap();
    let error = Server::bind(ServerConfig::new(first.address())).await.unwrap_err();
    assert_eq!(
        outrigger_model::fault::chain(&error),
        format!("listen on {}: address already in use", first.address())
    );
    let tls = Tls::new(pem("nothing"), inline("nothing"), None);
    let error = Server::bind(ServerConfig { tls: Some(tls), ..loopback(ServerLimits::default()) }).await;
    assert!(matches!(error, Err(BindError::Tls { .. })), "{error:?}");
    assert!(ServerConfig::default().listen.ip().is_loopback());
    let _: fn(&HttpClient) -> &str = HttpClient::name;
}

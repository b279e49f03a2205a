//! Streams between real servers and clients: certificates, tokens, slow readers, peers that vanish.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use outrigger_model::fault::{Blame, Retry};
use outrigger_model::http::{HttpAuth, HttpClientConfig, PemSource, TlsConfig};
use outrigger_model::secret::SecretSource;
use outrigger_rt::grpc::{
    DuplexReceiver, GrpcChannel, GrpcCode, GrpcError, GrpcOptions, MAX_MESSAGE_BYTES, Peer, TokenName,
    Tokens, duplex_service,
};
use outrigger_rt::http::ClientOptions;
use outrigger_rt::server::{Server, ServerConfig, ServerLimits, ServerTls as Tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::*;

const PATH: &str = "/test.v1.Test/Talk";

#[derive(Clone, PartialEq, prost::Message)]
struct Words {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(bytes = "vec", tag = "2")]
    filler: Vec<u8>,
}

fn words(text: &str) -> Words {
    Words { text: text.to_owned(), filler: Vec::new() }
}

struct Running {
    address: SocketAddr,
    scheme: &'static str,
    _stop: DropGuard,
}

impl Running {
    async fn start(router: Router, tls: Option<Tls>) -> Self {
        Self::start_with(router, tls, ServerLimits::for_streams()).await
    }

    async fn start_with(router: Router, tls: Option<Tls>, limits: ServerLimits) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let config = ServerConfig { tls, limits, ..ServerConfig::new(([127, 0, 0, 1], 0).into()) };
        let server = Server::bind(config).await.unwrap();
        let (address, stop) = (server.address(), CancellationToken::new());
        tokio::spawn(server.serve(router, stop.clone()));
        Self { address, scheme, _stop: stop.drop_guard() }
    }

    fn channel(&self, config: &HttpClientConfig) -> GrpcChannel {
        channel_to(&format!("{}://{}", self.scheme, self.address), config)
    }
}

fn channel_to(url: &str, config: &HttpClientConfig) -> GrpcChannel {
    let client = ClientOptions::new("test", "outrigger-test/1", Blame::Remote);
    let options = GrpcOptions { keep_alive: fast(), keep_alive_timeout: fast(), ..GrpcOptions::new(client) };
    GrpcChannel::new(url, config, options, resolver()).unwrap()
}

type Stream = (mpsc::Sender<Words>, DuplexReceiver<Words>);

async fn open(channel: &GrpcChannel) -> Result<Stream, GrpcError> {
    channel.duplex(PATH).await
}

/// Opens a stream and has one message echoed: with TLS 1.3 only that tells whether the server took the certificate.
async fn talk(channel: &GrpcChannel) -> Result<String, GrpcError> {
    let (to, mut from) = open(channel).await?;
    let _ = to.send(words("hello")).await;
    Ok(from.next().await?.expect("an echo").text)
}

/// Answers each message with the peer's names and the message.
async fn echo(peer: Peer, mut from: DuplexReceiver<Words>, to: mpsc::Sender<Words>) {
    let names = peer.names.map_or_else(|| "anybody".to_owned(), |names| names.join(","));
    let token = peer.token.map_or_else(String::new, |token| format!(" with {token}"));
    while let Ok(Some(message)) = from.next().await {
        if to.send(words(&format!("{names}{token}: {}", message.text))).await.is_err() {
            return;
        }
    }
}

fn echo_service(tokens: Tokens) -> Router {
    duplex_service(PATH, tokens, |peer, from, to| echo(peer, from, to).boxed())
}

fn trusting(authority: &Authority) -> TlsConfig {
    TlsConfig { ca: Some(pem(&authority.pem)), ..TlsConfig::default() }
}

fn presenting(authority: &Authority, identity: &Identity) -> HttpClientConfig {
    let tls = TlsConfig {
        cert: Some(pem(&identity.cert)),
        key: Some(inline(&identity.key)),
        ..trusting(authority)
    };
    HttpClientConfig { tls, ..HttpClientConfig::default() }
}

fn bearer(token: SecretSource) -> HttpClientConfig {
    let auth = HttpAuth::Authorization { scheme: "Bearer".to_owned(), credentials: Some(token) };
    HttpClientConfig { auth: Some(auth), ..HttpClientConfig::default() }
}

fn told(error: &GrpcError) -> String {
    outrigger_model::fault::chain(error)
}

#[tokio::test]
async fn messages_go_both_ways_and_the_end_is_seen_on_both_sides() {
    let ended = Arc::new(AtomicBool::new(false));
    let seen = ended.clone();
    let service = duplex_service(PATH, Tokens::default(), move |peer, from, to| {
        let seen = seen.clone();
        async move {
            echo(peer, from, to).await;
            seen.store(true, Ordering::SeqCst);
        }
        .boxed()
    });
    let server = Running::start(service, None).await;
    let channel = server.channel(&HttpClientConfig::default());
    let (to, mut from) = open(&channel).await.unwrap();
    for number in 0..200 {
        to.send(words(&number.to_string())).await.unwrap();
        assert_eq!(from.next().await.unwrap().unwrap().text, format!("anybody: {number}"));
    }
    let (other, mut other_from) = open(&channel).await.unwrap();
    drop(to);
    assert!(from.next().await.unwrap().is_none());
    eventually("the end of the stream at the server", || ended.load(Ordering::SeqCst)).await;
    other.send(words("on")).await.unwrap();
    assert_eq!(other_from.next().await.unwrap().unwrap().text, "anybody: on");
}

#[tokio::test]
async fn certificates_are_checked_both_ways_and_errors_say_what_is_wrong() {
    let (servers, workers, others) =
        (Authority::new("servers"), Authority::new("workers"), Authority::new("others"));
    let identity = servers.issue(&["127.0.0.1"]);
    let tls = Tls::new(pem(&identity.cert), inline(&identity.key), Some(pem(&workers.pem)));
    let server = Running::start(echo_service(Tokens::default()), Some(tls)).await;
    let good = workers.issue(&["worker-1", "worker-1.fleet"]);
    let channel = server.channel(&presenting(&servers, &good));
    assert_eq!(talk(&channel).await.unwrap(), "worker-1,worker-1.fleet,leaf: hello");

    let nothing = HttpClientConfig { tls: trusting(&servers), ..HttpClientConfig::default() };
    for (config, expected) in [
        (
            presenting(&servers, &workers.issue_between(&["w"], 2001, 2002)),
            "it has expired or is not valid yet",
        ),
        (
            presenting(&servers, &workers.issue_between(&["w"], 4000, 4001)),
            "it has expired or is not valid yet",
        ),
        (
            presenting(&servers, &others.issue(&["w"])),
            "no authority that the other side trusts has issued it",
        ),
        (nothing, "it wants one and none is configured"),
    ] {
        let error = talk(&server.channel(&config)).await.unwrap_err();
        let text = told(&error);
        assert!(text.contains("refuses this side's certificate") && text.contains(expected), "{text}");
        assert!(text.contains(&server.address.to_string()), "{text}");
        assert_eq!((error.blame(), error.retry()), (Blame::Configuration, Retry::Backoff));
    }

    for (identity, config, expected) in [
        (
            servers.issue_between(&["127.0.0.1"], 2001, 2002),
            presenting(&servers, &good),
            "certificate expired at 2002-01-01T00:00:00Z",
        ),
        (
            servers.issue_between(&["127.0.0.1"], 4000, 4001),
            presenting(&servers, &good),
            "certificate is not valid before 4000-01-01T00:00:00Z",
        ),
        (
            servers.issue(&["127.0.0.1"]),
            presenting(&others, &good),
            "certificate signed by unknown authority",
        ),
        (servers.issue(&["master"]), presenting(&servers, &good), "certificate is not valid for 127.0.0.1"),
    ] {
        let tls = Tls::new(pem(&identity.cert), inline(&identity.key), Some(pem(&workers.pem)));
        let server = Running::start(echo_service(Tokens::default()), Some(tls)).await;
        let error = talk(&server.channel(&config)).await.unwrap_err();
        assert!(told(&error).contains(expected), "{}", told(&error));
    }
}

#[tokio::test]
async fn renewed_certificates_count_for_the_next_stream() {
    let authority = Authority::new("all");
    let files = Files::new();
    let identity = authority.issue(&["127.0.0.1"]);
    let tls = Tls::new(pem(&identity.cert), inline(&identity.key), Some(pem(&authority.pem)));
    let server = Running::start(echo_service(Tokens::default()), Some(tls)).await;
    let config = HttpClientConfig {
        tls: TlsConfig {
            cert: Some(PemSource::File(files.path("cert"))),
            key: Some(SecretSource::File(files.path("key"))),
            ..trusting(&authority)
        },
        ..HttpClientConfig::default()
    };
    let channel = server.channel(&config);
    let error = talk(&channel).await.unwrap_err();
    assert!(told(&error).contains(files.path("cert").to_str().unwrap()), "{}", told(&error));
    let old = authority.issue(&["old"]);
    files.write("cert", &old.cert);
    files.write("key", &old.key);
    let (to, mut from) = open(&channel).await.unwrap();
    let new = authority.issue(&["new"]);
    files.write("cert", &new.cert);
    files.write("key", &new.key);
    assert_eq!(talk(&channel).await.unwrap(), "new,leaf: hello");
    // The stream that was open goes on.
    to.send(words("still")).await.unwrap();
    assert_eq!(from.next().await.unwrap().unwrap().text, "old,leaf: still");
}

#[tokio::test]
async fn tokens_are_checked_and_read_anew() {
    let files = Files::new();
    let accepted = [
        (TokenName("workers".into()), SecretSource::File(files.path("accepted"))),
        (TokenName("others".into()), inline("inline-token")),
    ];
    let server = Running::start(echo_service(Tokens::new(accepted)), None).await;
    let own = server.channel(&bearer(SecretSource::File(files.path("own"))));
    let error = talk(&own).await.unwrap_err();
    assert!(told(&error).contains(files.path("own").to_str().unwrap()), "{}", told(&error));
    files.write("own", "a-token\n");
    for (config, message) in [
        (HttpClientConfig::default(), "no bearer token was sent"),
        (bearer(inline("wrong")), "none that this server accepts"),
        (bearer(inline("")), "none that this server accepts"),
    ] {
        let error = talk(&server.channel(&config)).await.unwrap_err();
        assert_eq!(error.code(), Some(GrpcCode::Unauthenticated), "{}", told(&error));
        assert!(told(&error).contains(message), "{}", told(&error));
        assert_eq!(error.blame(), Blame::Configuration);
    }
    assert_eq!(talk(&own).await.unwrap_err().code(), Some(GrpcCode::Unauthenticated));
    files.write("accepted", "a-token");
    assert_eq!(talk(&own).await.unwrap(), "anybody with workers: hello");
    files.write("accepted", "b-token");
    assert_eq!(talk(&own).await.unwrap_err().code(), Some(GrpcCode::Unauthenticated));
    files.write("own", "b-token");
    assert_eq!(talk(&own).await.unwrap(), "anybody with workers: hello");
    assert_eq!(
        talk(&server.channel(&bearer(inline("inline-token")))).await.unwrap(),
        "anybody with others: hello"
    );
}

#[tokio::test]
async fn what_is_no_grpc_server_is_told() {
    let authority = Authority::new("all");
    let identity = authority.issue(&["127.0.0.1"]);
    let tls = ServerTls { alpn: &["http/1.1"], ..ServerTls::new(&identity) };
    let http1 = TestServer::tls_ok(tls.build()).await;
    let config = HttpClientConfig { tls: trusting(&authority), ..HttpClientConfig::default() };
    let error = talk(&channel_to(&http1.url("/"), &config)).await.unwrap_err();
    assert!(told(&error).contains("HTTP/2") || told(&error).contains("protocol"), "{}", told(&error));
    let unbound = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let error =
        talk(&channel_to(&format!("http://{unbound}"), &HttpClientConfig::default())).await.unwrap_err();
    assert!(told(&error).contains("connection refused"), "{}", told(&error));
    let server = Running::start(Router::new(), None).await;
    let error = talk(&server.channel(&HttpClientConfig::default())).await.unwrap_err();
    assert_eq!(error.code(), Some(GrpcCode::Unimplemented), "{}", told(&error));
}

#[tokio::test]
async fn messages_over_the_limit_end_their_stream_with_a_reason() {
    let server = Running::start(echo_service(Tokens::default()), None).await;
    let channel = server.channel(&HttpClientConfig::default());
    let (to, mut from) = open(&channel).await.unwrap();
    let filler = |length: usize| Words { text: "full".to_owned(), filler: vec![1; length] };
    to.send(filler(MAX_MESSAGE_BYTES - 100)).await.unwrap();
    assert_eq!(from.next().await.unwrap().unwrap().text, "anybody: full");
    to.send(filler(MAX_MESSAGE_BYTES + 1)).await.unwrap();
    let ended = from.next().await;
    assert!(!matches!(ended, Ok(Some(_))), "{ended:?}");
    assert_eq!(talk(&channel).await.unwrap(), "anybody: hello");
}

/// A server that sends as fast as it can, and what became of its handler.
fn flood(done: Arc<AtomicBool>, give_up: Duration) -> Router {
    duplex_service(
        PATH,
        Tokens::default(),
        move |_, mut from: DuplexReceiver<Words>, to| -> BoxFuture<'static, ()> {
            let done = done.clone();
            async move {
                let _ = from.next().await;
                loop {
                    let message = Words { text: "much".to_owned(), filler: vec![7; 100_000] };
                    if tokio::time::timeout(give_up, to.send(message)).await.is_err() {
                        done.store(true, Ordering::SeqCst);
                        return;
                    }
                }
            }
            .boxed()
        },
    )
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_the_sender_up_and_nobody_else_and_loses_its_connection() {
    let gave_up = Arc::new(AtomicBool::new(false));
    let server = Running::start(flood(gave_up.clone(), fast()), None).await;
    let slow = server.channel(&HttpClientConfig::default());
    let (to, mut from) = open(&slow).await.unwrap();
    to.send(words("go")).await.unwrap();
    eventually("the sender's end of patience", || gave_up.load(Ordering::SeqCst)).await;
    // What was on its way is still read; then the broken connection is seen.
    let mut read = 0;
    let error = tokio::time::timeout(ample(), async {
        // The connection is closed after a moment in which nothing is read.
        tokio::time::sleep(Duration::from_secs(3)).await;
        loop {
            match from.next().await {
                Ok(Some(_)) => read += 1,
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    });
    let error = error.await.unwrap().expect("no good order");
    assert!(matches!(error, GrpcError::Broken { .. }), "{}", told(&error));
    assert!(read < 200, "{read}");
    assert_eq!(talk_flood(&slow).await, "much");
}

async fn talk_flood(channel: &GrpcChannel) -> String {
    talk(channel).await.unwrap()
}

/// A TCP proxy that can fall silent: bytes are not passed on any more, and nobody is told.
struct SilentProxy {
    address: SocketAddr,
    silent: Arc<AtomicBool>,
    _stop: DropGuard,
}

impl SilentProxy {
    async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (silent, stop) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        let (quiet, stopped) = (silent.clone(), stop.clone());
        tokio::spawn(async move {
            while let Some(Ok((client, _))) = stopped.run_until_cancelled(listener.accept()).await {
                let server = TcpStream::connect(target).await.unwrap();
                let (client_read, client_write) = client.into_split();
                let (server_read, server_write) = server.into_split();
                tokio::spawn(pass_on(client_read, server_write, quiet.clone()));
                tokio::spawn(pass_on(server_read, client_write, quiet.clone()));
            }
        });
        Self { address, silent, _stop: stop.drop_guard() }
    }
}

async fn pass_on(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    silent: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if silent.load(Ordering::SeqCst) {
            // Open, but dead.
            std::future::pending::<()>().await;
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_peer_that_vanishes_without_a_word_is_found_on_both_sides() {
    let gone = Arc::new(AtomicBool::new(false));
    let told_by_server = gone.clone();
    let service = duplex_service(PATH, Tokens::default(), move |_, mut from: DuplexReceiver<Words>, to| {
        let gone = told_by_server.clone();
        async move {
            let _ = to.send(words("welcome")).await;
            while let Ok(Some(_)) = from.next().await {}
            to.closed().await;
            gone.store(true, Ordering::SeqCst);
        }
        .boxed()
    });
    let limits = ServerLimits { keep_alive: fast(), ..ServerLimits::for_streams() };
    let server = Running::start_with(service, None, limits).await;
    let proxy = SilentProxy::start(server.address).await;
    let channel = channel_to(&format!("http://{}", proxy.address), &HttpClientConfig::default());
    let (_to, mut from) = open(&channel).await.unwrap();
    assert_eq!(from.next().await.unwrap().unwrap().text, "welcome");
    proxy.silent.store(true, Ordering::SeqCst);
    let error = tokio::time::timeout(ample(), from.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, GrpcError::Broken { .. }), "{}", told(&error));
    assert!(told(&error).contains("answers no more"), "{}", told(&error));
    eventually("the server's notice", || gone.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn a_server_that_ends_lets_the_client_know() {
    let server = Running::start(echo_service(Tokens::default()), None).await;
    let channel = server.channel(&HttpClientConfig::default());
    let (to, mut from) = open(&channel).await.unwrap();
    to.send(words("hello")).await.unwrap();
    assert!(from.next().await.unwrap().is_some());
    drop(server);
    // Open streams may end within the drain time; the client sees the end of its own.
    drop(to);
    let end = tokio::time::timeout(ample(), from.next()).await.unwrap();
    assert!(!matches!(end, Ok(Some(_))), "{end:?}");
    let error = talk(&channel).await.unwrap_err();
    assert!(matches!(error, GrpcError::Reach(_) | GrpcError::Broken { .. }), "{}", told(&error));
}

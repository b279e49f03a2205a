//! The resolver against a name server of our own that can fall ill.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use outrigger_model::http::HttpClientConfig;
use outrigger_rt::http::{HttpClient, HttpError};
use outrigger_rt::resolver::{ResolveError, Resolver, ResolverOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::*;

const WELL: u8 = 0;
const SILENT: u8 = 1;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
/// Well, with 127.0.0.2 beside 127.0.0.1.
const TWICE: u8 = 4;

/// Answers every A query with 127.0.0.1 and every AAAA query with nothing, as its health allows.
struct NameServer {
    address: SocketAddr,
    health: Arc<AtomicU8>,
    queries: Arc<AtomicUsize>,
    _stop: DropGuard,
}

impl NameServer {
    async fn start() -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let (health, queries) = (Arc::new(AtomicU8::new(WELL)), Arc::new(AtomicUsize::new(0)));
        let stop = CancellationToken::new();
        let server = Self {
            address,
            health: health.clone(),
            queries: queries.clone(),
            _stop: stop.clone().drop_guard(),
        };
        tokio::spawn(async move {
            let mut query = [0; 1500];
            while let Some(Ok((length, peer))) = stop.run_until_cancelled(socket.recv_from(&mut query)).await
            {
                queries.fetch_add(1, Ordering::SeqCst);
                let health = health.load(Ordering::SeqCst);
                if health != SILENT {
                    socket.send_to(&answer(&query[..length], health), peer).await.unwrap();
                }
            }
        });
        server
    }

    fn fall(&self, health: u8) {
        self.health.store(health, Ordering::SeqCst);
    }

    fn resolver(&self) -> Resolver {
        Resolver::new(ResolverOptions {
            nameservers: Some(vec![self.address]),
            query_timeout: Duration::from_millis(200),
            stale_after: Duration::from_millis(50),
            retry_failed: Duration::from_millis(300),
            ttl_range: (Duration::ZERO, Duration::from_secs(3600)),
            ..ResolverOptions::default()
        })
    }
}

/// A DNS response (RFC 1035 section 4) to a query with one question; answers have a TTL of 0.
fn answer(query: &[u8], health: u8) -> Vec<u8> {
    let name_length = query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let question = &query[12..12 + name_length + 4];
    let is_a = question[name_length..name_length + 2] == [0, 1];
    let answers = match health {
        WELL if is_a => 1,
        TWICE if is_a => 2,
        _ => 0,
    };
    let code = match health {
        WELL | TWICE => 0,
        SERVFAIL => 2,
        _ => 3,
    };
    let mut response = query[..2].to_vec();
    response.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
    response.extend(question);
    for last in 1..=answers {
        response.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        response.extend([127, 0, 0, last]);
    }
    response
}

#[tokio::test]
async fn the_last_answer_is_served_while_the_name_server_is_ill() {
    let server = NameServer::start().await;
    let resolver = server.resolver();
    assert_eq!(resolver.resolve("web.test").await.unwrap()[..], [Ipv4Addr::LOCALHOST]);
    for health in [SILENT, SERVFAIL] {
        server.fall(health);
        let before = resolver.stats();
        assert_eq!(resolver.resolve("Web.Test").await.unwrap()[..], [Ipv4Addr::LOCALHOST]);
        assert!(resolver.stats().stale_answers > before.stale_answers);
        eventually("the failure counts", || resolver.stats().failures > before.failures).await;
        // A failure a moment ago: not asked again.
        let lookups = resolver.stats().lookups;
        assert_eq!(resolver.resolve("web.test").await.unwrap()[..], [Ipv4Addr::LOCALHOST]);
        assert_eq!(resolver.stats().lookups, lookups);
        tokio::time::sleep(Duration::from_millis(350)).await;
    }
    // Well again: a lookup succeeds, and the answer is fresh.
    server.fall(WELL);
    let before = resolver.stats();
    assert_eq!(resolver.resolve("web.test").await.unwrap()[..], [Ipv4Addr::LOCALHOST]);
    assert!(resolver.stats().lookups > before.lookups);
    // The name is gone: that is an answer as well.
    server.fall(NXDOMAIN);
    eventually_gone(&resolver).await;
    server.fall(SILENT);
    assert!(resolver.resolve("web.test").await.is_err());
    assert_eq!(resolver.stats().names, 0);
}

#[tokio::test]
async fn a_new_process_goes_on_with_the_answers_of_the_one_before() {
    let server = NameServer::start().await;
    let before = server.resolver();
    assert_eq!(before.changes(), 0);
    before.resolve("web.test").await.unwrap();
    let changes = before.changes();
    assert!(changes > 0);
    before.resolve("web.test").await.unwrap();
    assert_eq!(before.changes(), changes);

    server.fall(SILENT);
    let after = server.resolver();
    after.recall(before.remembered());
    assert_eq!(after.resolve("web.test").await.unwrap()[..], [Ipv4Addr::LOCALHOST]);
    // What was recalled is refreshed, and what was resolved is not recalled over.
    server.fall(TWICE);
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(after.resolve("web.test").await.unwrap().len(), 2);
    after.recall(before.remembered());
    server.fall(SILENT);
    assert_eq!(after.resolve("web.test").await.unwrap().len(), 2);
}

async fn eventually_gone(resolver: &Resolver) {
    let end = tokio::time::Instant::now() + ample();
    loop {
        match resolver.resolve("web.test").await {
            Err(ResolveError::NotFound { host }) => {
                assert_eq!(&*host, "web.test");
                return;
            }
            result => assert!(tokio::time::Instant::now() < end, "{result:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn without_an_earlier_answer_the_failure_is_told() {
    let server = NameServer::start().await;
    for (health, expected) in [(SILENT, "timed out"), (SERVFAIL, ""), (NXDOMAIN, "no such host")] {
        server.fall(health);
        let error = server.resolver().resolve("web.test").await.unwrap_err();
        assert!(error.to_string().contains(expected), "{health} {error}");
        assert_eq!(matches!(error, ResolveError::NotFound { .. }), health == NXDOMAIN, "{error:?}");
    }
    let long = "x".repeat(64);
    for host in [long.as_str(), "a..b", ""] {
        let error = server.resolver().resolve(host).await.unwrap_err();
        assert!(matches!(error, ResolveError::InvalidName { .. }), "{host} {error:?}");
    }
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_lookup() {
    let server = NameServer::start().await;
    let resolver = server.resolver();
    let lookups = (0..50).map(|_| resolver.resolve("web.test"));
    for result in futures_util::future::join_all(lookups).await {
        assert_eq!(result.unwrap()[..], [Ipv4Addr::LOCALHOST]);
    }
    assert_eq!(resolver.stats().lookups, 1);
    assert!(server.queries.load(Ordering::SeqCst) <= 4);
    assert_eq!(resolver.resolve("127.0.0.9").await.unwrap()[..], [Ipv4Addr::new(127, 0, 0, 9)]);
    assert_eq!(resolver.stats().lookups, 1);
}

#[tokio::test]
async fn the_client_reaches_a_named_host_while_dns_is_down() {
    let names = NameServer::start().await;
    let server = TestServer::start(|_| async { reply(200, &[("connection", "close")], "ok") }).await;
    let client = HttpClient::new(&HttpClientConfig::default(), options(), names.resolver()).unwrap();
    let url = server.url_as("target.test", "/");
    assert_eq!(get_text(&client, &url).await, "ok");
    assert_eq!(server.last().header("host"), format!("target.test:{}", server.address.port()));
    names.fall(SILENT);
    for _ in 0..3 {
        assert_eq!(get_text(&client, &url).await, "ok");
    }
    assert_eq!(server.accepted(), 4);
    names.fall(NXDOMAIN);
    let error = get(&client, "http://other.test/").await.unwrap_err();
    assert!(matches!(error, HttpError::Resolve { .. }));
    assert_eq!(chain(&error), "resolve other.test:80: no such host");
}

#[tokio::test]
async fn connections_are_spread_over_the_addresses_of_a_name_where_that_is_wanted() {
    let names = NameServer::start().await;
    names.fall(TWICE);
    let first = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = first.local_addr().unwrap().port();
    let second = tokio::net::TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let accepted = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    for (listener, accepted) in [first, second].into_iter().zip(accepted.clone()) {
        let stop = stop.clone();
        tokio::spawn(async move {
            while let Some(Ok((mut stream, _))) = stop.run_until_cancelled(listener.accept()).await {
                accepted.fetch_add(1, Ordering::SeqCst);
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    stream.read_buf(&mut request).await.unwrap();
                }
                let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
        });
    }
    let url = format!("http://twice.test:{port}/");
    for (spread_addresses, expected) in [(true, [5, 5]), (false, [15, 5])] {
        let options = outrigger_rt::http::ClientOptions { spread_addresses, ..options() };
        let client = HttpClient::new(&HttpClientConfig::default(), options, names.resolver()).unwrap();
        for _ in 0..10 {
            get_text(&client, &url).await;
        }
        let found = accepted.each_ref().map(|accepted| accepted.load(Ordering::SeqCst));
        assert_eq!(found, expected);
    }
}

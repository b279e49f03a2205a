//! The client against plain servers: bodies, reuse, races, deadlines, limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::CONTENT_ENCODING;
use http::{Method, Response, Version};
use outrigger_model::fault::{Blame, Retry};
use outrigger_model::http::{HeaderConfig, HttpClientConfig, TlsConfig};
use outrigger_model::secret::SecretSource;
use outrigger_rt::http::{
    BodyError, ClientOptions, HttpClient, HttpError, HttpRequest, PoolOptions, Step, Subject,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::support::*;

#[tokio::test]
async fn a_request_carries_its_headers_and_the_response_arrives_as_sent() {
    let server = TestServer::start(|seen| async move {
        match seen.uri.as_str() {
            "/gzip" => reply(200, &[("content-encoding", "gzip"), ("x-kind", "test")], "not really gzip"),
            _ => reply(503, &[], "later"),
        }
    })
    .await;
    let client = plain_client();

    let url = server.url("/gzip");
    let mut wanted = request(&url);
    wanted.headers.insert("accept", "text/plain".parse().unwrap());
    let response = client.send(wanted).await.unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(response.headers[CONTENT_ENCODING], "gzip");
    assert_eq!(response.final_url, url);
    assert_eq!(text(response).await, "not really gzip");
    let seen = server.last();
    assert_eq!(seen.header("accept"), "text/plain");
    assert_eq!(seen.header("user-agent"), "outrigger-test/1");
    assert_eq!(seen.header("host"), server.address.to_string());
    assert_eq!(seen.version, Version::HTTP_11);

    let response = client.send(post(&server.url("/?a=b%20c"), "hello")).await.unwrap();
    assert_eq!(response.status, 503);
    assert_eq!(text(response).await, "later");
    let seen = server.last();
    assert_eq!((seen.method, &seen.body[..], seen.uri.as_str()), (Method::POST, &b"hello"[..], "/?a=b%20c"));
}

#[tokio::test]
async fn connections_are_reused_whatever_the_body_and_not_when_it_was_left_unread() {
    let server = TestServer::start(|seen| async move {
        match seen.uri.as_str() {
            "/empty" => reply(204, &[], ""),
            "/chunked" => {
                let chunks =
                    futures_util::stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 5000])));
                Response::new(Body::from_stream(chunks))
            }
            "/close" => reply(200, &[("connection", "close")], "bye"),
            _ => reply(200, &[], "short"),
        }
    })
    .await;
    let client = plain_client();
    for _ in 0..3 {
        assert_eq!(get_text(&client, &server.url("/")).await, "short");
        assert_eq!(get_text(&client, &server.url("/chunked")).await.len(), 500_000);
        // Nobody reads the body of an empty response.
        drop(get(&client, &server.url("/empty")).await.unwrap());
        let mut head = request("");
        let url = server.url("/");
        (head.method, head.url) = (Method::HEAD, &url);
        drop(client.send(head).await.unwrap());
        assert_eq!(text(client.send(post(&url, "body")).await.unwrap()).await, "short");
    }
    assert_eq!(server.accepted(), 1);
    let stats = client.stats();
    assert_eq!((stats.opened, stats.reused, stats.retried, stats.pooled), (1, 14, 0, 1));

    drop(get(&client, &server.url("/chunked")).await.unwrap());
    get_text(&client, &server.url("/")).await;
    assert_eq!(server.accepted(), 2);

    get_text(&client, &server.url("/close")).await;
    get_text(&client, &server.url("/")).await;
    assert_eq!(server.accepted(), 3);
}

#[tokio::test]
async fn parallel_requests_open_connections_and_the_pool_keeps_only_so_many() {
    let server = TestServer::start(|_| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        reply(200, &[], "ok")
    })
    .await;
    let mut options = options();
    options.pool = PoolOptions { max_idle_per_host: 2, ..PoolOptions::default() };
    let client = HttpClient::new(&HttpClientConfig::default(), options, resolver()).unwrap();
    let url = server.url("/");
    let requests = (0..6).map(|_| get_text(&client, &url));
    assert!(futures_util::future::join_all(requests).await.iter().all(|body| body == "ok"));
    assert_eq!(server.accepted(), 6);
    assert_eq!(client.stats().pooled, 2);
}

#[tokio::test]
async fn idle_connections_are_closed_after_the_idle_timeout() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut options = options();
    options.pool = PoolOptions { idle_timeout: Duration::from_millis(50), ..PoolOptions::for_scrapes() };
    let client = HttpClient::new(&HttpClientConfig::default(), options, resolver()).unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        answer(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        // Ends when the client closes.
        stream.read(&mut [0]).await.unwrap()
    });
    assert_eq!(get_text(&client, &url).await, "ok");
    assert_eq!(client.stats().pooled, 1);
    assert_eq!(tokio::time::timeout(ample(), served).await.unwrap().unwrap(), 0);
    eventually("the pool empties", || client.stats().pooled == 0).await;
}

/// Reads one request's headers and answers it.
async fn answer(stream: &mut TcpStream, response: &str) {
    read_request(stream).await;
    stream.write_all(response.as_bytes()).await.unwrap();
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "the request ends early");
    }
    String::from_utf8(request).unwrap()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server that answers the first request of its first connection, reads a second one and then does `end`; further
/// connections are answered properly.
async fn racing_server(end: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let first = count.fetch_add(1, Ordering::SeqCst) == 0;
            tokio::spawn(async move {
                answer(&mut stream, OK).await;
                if first {
                    read_request(&mut stream).await;
                    stream.write_all(end.as_bytes()).await.unwrap();
                } else {
                    while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
                }
            });
        }
    });
    (url, accepted)
}

#[tokio::test]
async fn a_connection_closed_while_it_was_idle_is_replaced_at_once() {
    for method in [Method::GET, Method::POST] {
        let (url, accepted) = racing_server("").await;
        let client = plain_client();
        assert_eq!(get_text(&client, &url).await, "ok");
        let again = HttpRequest { method, body: Bytes::from_static(b"x"), ..request(&url) };
        assert_eq!(text(client.send(again).await.unwrap()).await, "ok");
        assert_eq!(accepted.load(Ordering::SeqCst), 2);
        assert_eq!(client.stats().retried, 1);
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_is_not_requested_again() {
    let (url, accepted) = racing_server("HTTP/1.1 200 O").await;
    let client = plain_client();
    assert_eq!(get_text(&client, &url).await, "ok");
    let error = get(&client, &url).await.unwrap_err();
    assert!(matches!(error, HttpError::Headers { .. }), "{error:?}");
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
    assert_eq!(client.stats().retried, 0);
}

#[tokio::test]
async fn a_closed_idle_connection_is_noticed_before_it_is_used() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            answer(&mut stream, OK).await;
        }
    });
    let client = plain_client();
    for _ in 0..3 {
        assert_eq!(get_text(&client, &url).await, "ok");
        // The close is on its way; the kernel on loopback delivers it before the next request connects.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(client.stats().opened, 3);
}

#[tokio::test]
async fn a_fresh_connection_without_a_response_is_an_error_and_not_retried() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/secret?token=secret", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            read_request(&mut stream).await;
        }
    });
    let error = get(&plain_client(), &url).await.unwrap_err();
    assert!(matches!(error, HttpError::Headers { .. }), "{error:?}");
    assert!(chain(&error).contains("closed"), "{}", chain(&error));
    assert!(!chain(&error).contains("secret"), "{}", chain(&error));
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn responses_that_are_no_http_are_errors_of_the_target() {
    for response in ["SSH-2.0-OpenSSH_9\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "\0\0\0"] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { answer(&mut listener.accept().await.unwrap().0, response).await });
        let error = get(&plain_client(), &url).await.unwrap_err();
        assert!(matches!(error, HttpError::Headers { .. }), "{response:?} {error:?}");
        assert_eq!(error.blame(), Blame::Target);
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { answer(&mut listener.accept().await.unwrap().0, response).await });
        let response = get(&plain_client(), &url).await.unwrap();
        let error = response.body.read_all(100).await.unwrap_err();
        assert!(matches!(error, BodyError::Read { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_body_without_length_ends_with_the_connection() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        answer(&mut listener.accept().await.unwrap().0, "HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
    });
    let client = plain_client();
    assert_eq!(get_text(&client, &url).await, "until the end");
    assert_eq!(client.stats().pooled, 0);
}

#[tokio::test]
async fn a_deadline_names_the_step_it_passed_in() {
    // Accepts and never says a word.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = silent.local_addr().unwrap();
    let tls = HttpClientConfig {
        tls: TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() },
        ..HttpClientConfig::default()
    };
    for (url, step) in
        [(format!("http://{address}/"), Step::Headers), (format!("https://{address}/"), Step::Tls)]
    {
        let late = HttpRequest { deadline: Instant::now() + fast(), ..request(&url) };
        let error = client(&tls).send(late).await.unwrap_err();
        assert!(matches!(&error, HttpError::Timeout { step: at, .. } if *at == step), "{error:?}");
        assert!(chain(&error).contains(&address.to_string()));
        assert_eq!(error.retry(), Retry::Backoff);
    }
}

#[tokio::test]
async fn a_body_that_stalls_or_trickles_meets_the_deadline() {
    let server = TestServer::start(|seen| async move {
        let stalls = seen.uri == "/stalls";
        let chunks = futures_util::stream::unfold(0u64, move |sent| async move {
            if stalls && sent > 0 {
                std::future::pending::<()>().await;
            }
            // Never an end, and never a pause that a timer would be noticed in.
            tokio::task::yield_now().await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"data")), sent + 1))
        });
        Response::new(Body::from_stream(chunks))
    })
    .await;
    for path in ["/stalls", "/trickles"] {
        let url = server.url(path);
        let late = HttpRequest { deadline: Instant::now() + fast(), ..request(&url) };
        let mut response = plain_client().send(late).await.unwrap();
        assert!(response.body.chunk().await.unwrap().is_some());
        let error = response.body.read_all(usize::MAX).await.unwrap_err();
        assert!(matches!(error, BodyError::Timeout { .. }), "{path} {error:?}");
    }
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused_and_no_more_of_them_is_read() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let server = TestServer::start(move |seen| {
        let sent = counter.clone();
        async move {
            if seen.uri == "/announced" {
                return reply(200, &[], &"x".repeat(1001));
            }
            let pieces = if seen.uri == "/exact" { 10 } else { 1_000_000 };
            let chunks = futures_util::stream::iter(0..pieces).map(move |_| {
                sent.fetch_add(100, Ordering::SeqCst);
                Ok::<_, std::io::Error>(vec![b'x'; 100])
            });
            Response::new(Body::from_stream(chunks))
        }
    })
    .await;
    let client = plain_client();
    for path in ["/announced", "/endless"] {
        let error = get(&client, &server.url(path)).await.unwrap().body.read_all(1000).await.unwrap_err();
        assert!(matches!(error, BodyError::TooLarge { limit: 1000, .. }), "{error:?}");
        let mut buffer = Vec::new();
        let error = get(&client, &server.url(path)).await.unwrap().body.read_into(&mut buffer, 1000).await;
        assert!(matches!(error, Err(BodyError::TooLarge { .. })), "{error:?}");
        assert!(buffer.len() <= 1000);
    }
    assert!(sent.load(Ordering::SeqCst) < 50_000_000);
    let whole = get(&client, &server.url("/exact")).await.unwrap().body.read_all(1000).await.unwrap();
    assert_eq!(whole.len(), 1000);
    let mut buffer = b"before".to_vec();
    let response = get(&client, &server.url("/exact")).await.unwrap();
    assert_eq!(response.body.read_into(&mut buffer, 1000).await.unwrap(), 1000);
    assert_eq!(buffer.len(), 1006);
}

#[tokio::test]
async fn header_sections_are_bounded() {
    let server = TestServer::start(|seen| async move {
        let bytes: usize = seen.uri.trim_start_matches('/').parse().unwrap();
        reply(200, &[("x-long", &"x".repeat(bytes))], "ok")
    })
    .await;
    let client = plain_client();
    assert_eq!(get_text(&client, &server.url("/40000")).await, "ok");
    let error = get(&client, &server.url("/100000")).await.unwrap_err();
    assert!(matches!(error, HttpError::Headers { .. }), "{error:?}");
}

#[tokio::test]
async fn refused_connections_say_so() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = get(&plain_client(), &format!("http://{address}/x?secret")).await.unwrap_err();
    assert_eq!(chain(&error), format!("connect to {address}: connection refused"));
    assert_eq!((error.blame(), error.retry()), (Blame::Target, Retry::Backoff));
    let HttpError::Connect { subject: Subject { host, .. }, .. } = error else { panic!("{error:?}") };
    assert_eq!(*host, *address.to_string());
}

#[tokio::test]
async fn urls_that_cannot_be_requested_are_the_configurations_fault() {
    for (url, text) in [
        ("ftp://user:secret@host/x?secret", r#"URL "ftp://host/x" is not usable: unsupported scheme "ftp""#),
        ("no url", r#"URL "no url" is not usable"#),
    ] {
        let error = get(&plain_client(), url).await.unwrap_err();
        assert!(chain(&error).starts_with(text), "{}", chain(&error));
        assert_eq!((error.blame(), error.retry()), (Blame::Configuration, Retry::No));
    }
}

#[tokio::test]
async fn a_unix_socket_stands_in_place_of_the_host() {
    let files = Files::new();
    let path = files.path("app.sock");
    let _server = start_unix(&path, "from the socket").await;
    let encoded = path.to_str().unwrap().replace('/', "%2F");
    let client = plain_client();
    for _ in 0..2 {
        let response = get(&client, &format!("http+unix://{encoded}/metrics?a=b")).await.unwrap();
        assert_eq!(text(response).await, "from the socket");
    }
    assert_eq!(client.stats().opened, 1);
    let missing = files.path("missing.sock");
    let encoded = missing.to_str().unwrap().replace('/', "%2F");
    let error = get(&client, &format!("http+unix://{encoded}/")).await.unwrap_err();
    assert_eq!(chain(&error), format!("connect to {}: no such file or directory", missing.display()));
}

#[tokio::test]
async fn configured_headers_are_sent_and_their_files_read_anew() {
    let server = TestServer::saying("ok").await;
    let files = Files::new();
    let config = HttpClientConfig {
        headers: vec![
            HeaderConfig { name: "X-Plain".into(), values: vec![inline("one"), inline("two")] },
            HeaderConfig { name: "X-File".into(), values: vec![SecretSource::File(files.path("value"))] },
            HeaderConfig { name: "Accept".into(), values: vec![inline("configured")] },
        ],
        ..HttpClientConfig::default()
    };
    let client = client(&config);
    let error = get(&client, &server.url("/")).await.unwrap_err();
    assert!(chain(&error).contains(files.path("value").to_str().unwrap()), "{}", chain(&error));
    assert_eq!(error.blame(), Blame::Configuration);
    for content in ["first\n", "second"] {
        files.write("value", content);
        let url = server.url("/");
        let mut wanted = request(&url);
        wanted.headers.insert("accept", "given".parse().unwrap());
        client.send(wanted).await.unwrap();
        let seen = server.last();
        assert_eq!(seen.header("x-file"), content.trim());
        assert_eq!(seen.header("accept"), "configured");
        let plain: Vec<_> = seen.headers.get_all("x-plain").iter().collect();
        assert_eq!(plain, ["one", "two"]);
    }
    files.write("value", "line\nbreak");
    let error = get(&client, &server.url("/")).await.unwrap_err();
    assert!(matches!(&error, HttpError::HeaderValue { header, .. } if header == "x-file"), "{error:?}");
    let bad = HttpClientConfig {
        headers: vec![HeaderConfig { name: "no name".into(), values: Vec::new() }],
        ..HttpClientConfig::default()
    };
    assert!(HttpClient::new(&bad, options(), resolver()).is_err());
}

#[tokio::test]
async fn http2_is_chosen_by_alpn_and_shared() {
    let authority = Authority::new("authority");
    let identity = authority.issue(&["127.0.0.1"]);
    let server = TestServer::start_tls(
        ServerTls { alpn: &["h2", "http/1.1"], ..ServerTls::new(&identity) }.build(),
        |seen| async move { reply(200, &[("x-version", &format!("{:?}", seen.version))], &seen.uri) },
    )
    .await;
    let config = HttpClientConfig {
        tls: TlsConfig { ca: Some(pem(&authority.pem)), ..TlsConfig::default() },
        ..HttpClientConfig::default()
    };
    let client = client(&config);
    assert_eq!(get_text(&client, &server.url("/first")).await, "/first");
    let urls: Vec<String> = (0..20).map(|number| server.url(&format!("/{number}"))).collect();
    let requests = urls.iter().map(|url| get_text(&client, url));
    for (number, body) in futures_util::future::join_all(requests).await.iter().enumerate() {
        assert_eq!(*body, format!("/{number}"));
    }
    assert!(text(client.send(post(&urls[0], "body")).await.unwrap()).await.ends_with("/0"));
    assert_eq!(server.last().body, "body");
    assert!(server.seen().iter().all(|seen| seen.version == Version::HTTP_2));
    // Unread bodies do not cost the connection.
    drop(get(&client, &urls[0]).await.unwrap());
    get_text(&client, &urls[1]).await;
    assert_eq!(server.accepted(), 1);
    assert_eq!(client.stats().pooled, 1);

    let without = ClientOptions { offer_http2: false, ..options() };
    let http1 = HttpClientConfig { enable_http2: false, ..config.clone() };
    for (config, options) in [(config, without), (http1, options())] {
        let client = HttpClient::new(&config, options, resolver()).unwrap();
        get_text(&client, &server.url("/")).await;
        assert_eq!(server.last().version, Version::HTTP_11);
    }
}

#[tokio::test]
async fn connections_that_the_server_closed_are_replaced() {
    let authority = Authority::new("authority");
    let identity = authority.issue(&["127.0.0.1"]);
    for alpn in ["h2", "http/1.1"] {
        let server =
            TestServer::tls_ok(ServerTls { alpn: &[alpn], ..ServerTls::new(&identity) }.build()).await;
        let config = HttpClientConfig {
            tls: TlsConfig { ca: Some(pem(&authority.pem)), ..TlsConfig::default() },
            ..HttpClientConfig::default()
        };
        let client = client(&config);
        for opened in 1..5 {
            assert_eq!(get_text(&client, &server.url("/")).await, "ok");
            assert_eq!(client.stats().opened, opened, "{alpn}");
            server.close_connections();
        }
    }
}

#[tokio::test]
async fn a_connection_that_the_request_wants_closed_is_not_used_again() {
    let server = TestServer::saying("ok").await;
    let client = plain_client();
    let url = server.url("/");
    for _ in 0..3 {
        let mut closing = request(&url);
        closing.headers.insert("connection", "close".parse().unwrap());
        let response = client.send(closing).await.unwrap();
        assert_eq!(text(response).await, "ok");
    }
    assert_eq!((server.accepted(), client.stats().pooled), (3, 0));
    assert_eq!(server.last().header("connection"), "close");
    get_text(&client, &url).await;
    get_text(&client, &url).await;
    assert_eq!(server.accepted(), 4);
}

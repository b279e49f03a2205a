//! Proxies of all kinds, in small but real form.

use std::net::SocketAddr;
use std::sync::Arc;

use outrigger_model::fault::Blame;
use outrigger_model::http::{HttpClientConfig, ProxyConfig, TlsConfig};
use outrigger_model::secret::Secret;
use outrigger_rt::http::{HttpClient, HttpError, ProxyEnvironment, ProxyError};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::*;

/// A proxy that notes what it was asked.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _stop: DropGuard,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// CONNECT to 127.0.0.1 whatever the name; other requests are answered by the proxy itself.
    Http,
    /// Answers 407.
    Refusing,
    /// SOCKS5 to 127.0.0.1 whatever the name; wants this user and password if any.
    Socks(Option<(&'static str, &'static str)>),
    /// SOCKS5 that allows nothing.
    RefusingSocks,
    /// Answers in another protocol.
    Nonsense,
}

impl Proxy {
    async fn start(kind: Kind) -> Self {
        Self::start_with(kind, None).await
    }

    async fn start_with(kind: Kind, acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let stop = CancellationToken::new();
        let proxy = Self { address, asked: asked.clone(), _stop: stop.clone().drop_guard() };
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
                let (asked, acceptor) = (asked.clone(), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(kind, stream, asked).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(kind, stream, asked).await;
                            }
                        }
                    }
                });
            }
        });
        proxy
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

async fn serve<S>(kind: Kind, mut stream: S, asked: Arc<Mutex<Vec<String>>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match kind {
        Kind::Http => serve_http(&mut stream, &asked).await,
        Kind::Refusing => {
            let head = read_head(&mut stream).await.unwrap_or_default();
            asked.lock().push(head);
            let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(refusal).await.unwrap();
        }
        Kind::Nonsense => stream.write_all(b"220 mail.example ESMTP\r\n\r\n").await.unwrap(),
        Kind::Socks(user) => serve_socks(&mut stream, &asked, user).await,
        Kind::RefusingSocks => {
            let mut greeting = [0; 3];
            stream.read_exact(&mut greeting).await.unwrap();
            stream.write_all(&[5, 0]).await.unwrap();
            let mut request = [0; 10];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        }
    }
}

async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap().to_lowercase())
}

async fn serve_http<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, asked: &Mutex<Vec<String>>) {
    while let Some(head) = read_head(stream).await {
        asked.lock().push(head.clone());
        let Some(target) = head.strip_prefix("connect ") else {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nforwarded";
            stream.write_all(answer).await.unwrap();
            continue;
        };
        let (_, port) = target.split(' ').next().unwrap().rsplit_once(':').unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await.unwrap();
        let _ = copy_bidirectional(stream, &mut server).await;
        return;
    }
}

async fn serve_socks<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    asked: &Mutex<Vec<String>>,
    wanted: Option<(&str, &str)>,
) {
    let text = async |stream: &mut S| {
        let mut bytes = vec![0; usize::from(stream.read_u8().await.unwrap())];
        stream.read_exact(&mut bytes).await.unwrap();
        bytes
    };
    assert_eq!(stream.read_u8().await.unwrap(), 5);
    let methods = text(stream).await;
    let method = if wanted.is_some() { 2 } else { 0 };
    if !methods.contains(&method) {
        stream.write_all(&[5, 0xff]).await.unwrap();
        return;
    }
    stream.write_all(&[5, method]).await.unwrap();
    if let Some((user, password)) = wanted {
        assert_eq!(stream.read_u8().await.unwrap(), 1);
        let given = (text(stream).await, text(stream).await);
        let right = given == (user.as_bytes().to_vec(), password.as_bytes().to_vec());
        stream.write_all(&[1, u8::from(!right)]).await.unwrap();
        if !right {
            return;
        }
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await.unwrap();
    let host = match request {
        [5, 1, 0, 3] => String::from_utf8(text(stream).await).unwrap(),
        [5, 1, 0, 1] => std::net::Ipv4Addr::from_bits(stream.read_u32().await.unwrap()).to_string(),
        other => panic!("{other:?}"),
    };
    let port = stream.read_u16().await.unwrap();
    asked.lock().push(format!("{host}:{port}"));
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(&[5, 0, 0, 3, 4, b't', b'e', b's', b't', 0, 0]).await.unwrap();
    let _ = copy_bidirectional(stream, &mut server).await;
}

fn through(url: String) -> ProxyConfig {
    ProxyConfig { url: Some(Secret::new(url)), ..ProxyConfig::default() }
}

fn with(proxy: ProxyConfig, authority: &Authority) -> HttpClientConfig {
    let tls = TlsConfig { ca: Some(pem(&authority.pem)), ..TlsConfig::default() };
    HttpClientConfig { proxy, tls, ..HttpClientConfig::default() }
}

#[tokio::test]
async fn plain_requests_are_forwarded_by_an_http_proxy() {
    let proxy = Proxy::start(Kind::Http).await;
    let config = through(format!("http://user:p%40ss@{}", proxy.address));
    let client = client(&with(config, &Authority::new("unused")));
    assert_eq!(get_text(&client, "http://nowhere.example:1234/metrics?a=b").await, "forwarded");
    assert_eq!(get_text(&client, "http://elsewhere.example/").await, "forwarded");
    let asked = proxy.asked();
    assert!(asked[0].starts_with("get http://nowhere.example:1234/metrics?a=b http/1.1\r\n"), "{asked:?}");
    assert!(asked[0].contains("\r\nhost: nowhere.example:1234\r\n"), "{asked:?}");
    assert!(asked[0].contains("\r\nproxy-authorization: basic dxnlcjpwqhnz\r\n"), "{asked:?}");
    assert!(asked[1].starts_with("get http://elsewhere.example/ http/1.1\r\n"), "{asked:?}");
    // One connection to the proxy serves all hosts.
    assert_eq!(client.stats().opened, 1);
}

#[tokio::test]
async fn tls_goes_through_an_http_proxy_by_connect() {
    let authority = Authority::new("authority");
    let identity = authority.issue(&["hidden.example"]);
    let server =
        TestServer::tls_ok(ServerTls { alpn: &["h2", "http/1.1"], ..ServerTls::new(&identity) }.build())
            .await;
    let proxy = Proxy::start(Kind::Http).await;
    let config = ProxyConfig {
        connect_headers: vec![("X-Ticket".to_owned(), vec![Secret::new("one"), Secret::new("two")])],
        ..through(format!("http://user:pass@{}", proxy.address))
    };
    let client = client(&with(config, &authority));
    let url = server.url_as("hidden.example", "/");
    for _ in 0..2 {
        assert_eq!(get_text(&client, &url).await, "ok");
    }
    let asked = proxy.asked();
    assert_eq!(asked.len(), 1);
    let authority = format!("hidden.example:{}", server.address.port());
    assert!(
        asked[0].starts_with(&format!("connect {authority} http/1.1\r\nhost: {authority}\r\n")),
        "{asked:?}"
    );
    assert!(asked[0].contains("\r\nproxy-authorization: basic dxnlcjpwyxnz\r\n"), "{asked:?}");
    assert!(asked[0].contains("\r\nx-ticket: one\r\nx-ticket: two\r\n"), "{asked:?}");
    let seen = server.last();
    assert!(!seen.headers.contains_key("proxy-authorization") && !seen.headers.contains_key("x-ticket"));
}

#[tokio::test]
async fn the_proxy_itself_may_want_tls() {
    let authority = Authority::new("authority");
    let identity = authority.issue(&["hidden.example"]);
    let server = TestServer::tls_ok(ServerTls::new(&identity).build()).await;
    let proxy_identity = authority.issue(&["127.0.0.1"]);
    let acceptor = TlsAcceptor::from(Arc::new(ServerTls::new(&proxy_identity).build()));
    let proxy = Proxy::start_with(Kind::Http, Some(acceptor)).await;
    let config = through(format!("https://{}", proxy.address));
    let client = client(&with(config.clone(), &authority));
    assert_eq!(get_text(&client, &server.url_as("hidden.example", "/")).await, "ok");
    assert_eq!(get_text(&client, "http://plain.example/").await, "forwarded");
    let distrusting = crate::support::client(&with(config, &Authority::new("other")));
    let error = get(&distrusting, "http://plain.example/").await.unwrap_err();
    assert!(matches!(error, HttpError::Proxy { source: ProxyError::Tls(_), .. }), "{error:?}");
}

#[tokio::test]
async fn socks5_carries_plain_and_tls() {
    let authority = Authority::new("authority");
    let identity = authority.issue(&["hidden.example"]);
    let tls_server = TestServer::tls_ok(ServerTls::new(&identity).build()).await;
    let plain_server = TestServer::saying("plain").await;
    for (user, url) in [(None, "socks5://"), (Some(("user", "p@ss")), "socks5h://user:p%40ss@")] {
        let proxy = Proxy::start(Kind::Socks(user)).await;
        let client = client(&with(through(format!("{url}{}", proxy.address)), &authority));
        assert_eq!(get_text(&client, &tls_server.url_as("hidden.example", "/")).await, "ok");
        assert_eq!(get_text(&client, &plain_server.url_as("plain.example", "/x")).await, "plain");
        assert_eq!(get_text(&client, &plain_server.url("/x")).await, "plain");
        assert_eq!(plain_server.last().uri, "/x");
        let port = plain_server.address.port();
        let asked = [
            format!("hidden.example:{}", tls_server.address.port()),
            format!("plain.example:{port}"),
            format!("127.0.0.1:{port}"),
        ];
        assert_eq!(proxy.asked(), asked);
    }
}

#[tokio::test]
async fn what_a_proxy_refuses_is_told_without_its_password() {
    let authority = Authority::new("authority");
    for (kind, scheme, url, expected) in [
        (Kind::Refusing, "http", "https://x.example/", "proxy answered 407 Proxy Authentication Required"),
        (
            Kind::Nonsense,
            "http",
            "https://x.example/",
            "proxy answered with something else than its protocol",
        ),
        (Kind::Nonsense, "socks5", "http://x.example/", "not SOCKS5"),
        (Kind::RefusingSocks, "socks5", "http://1.2.3.4/", "proxy answered connection not allowed"),
        (Kind::Socks(Some(("a", "b"))), "socks5", "http://x.example/", "wants another authentication"),
    ] {
        let proxy = Proxy::start(kind).await;
        let client = client(&with(through(format!("{scheme}://{}", proxy.address)), &authority));
        let error = get(&client, url).await.unwrap_err();
        assert!(chain(&error).contains(expected), "{}", chain(&error));
        assert!(chain(&error).contains(&format!("through proxy {}", proxy.address)));
        assert_eq!(error.blame(), Blame::Remote);
    }
    let wrong = Proxy::start(Kind::Socks(Some(("user", "right")))).await;
    let client = client(&with(through(format!("socks5://user:secret@{}", wrong.address)), &authority));
    let error = get(&client, "http://x.example/").await.unwrap_err();
    assert!(chain(&error).contains("user or password is wrong"), "{}", chain(&error));
    assert!(!format!("{error:?} {}", chain(&error)).contains("secret"));
    // Plain requests get the proxy's answer as the response.
    let proxy = Proxy::start(Kind::Refusing).await;
    let client = crate::support::client(&with(through(format!("http://{}", proxy.address)), &authority));
    assert_eq!(get(&client, "http://x.example/").await.unwrap().status, 407);
}

#[tokio::test]
async fn no_proxy_and_the_environment_decide_which_way() {
    let proxy = Proxy::start(Kind::Http).await;
    let server = TestServer::saying("direct").await;
    let authority = Authority::new("unused");
    let plain = through(format!("http://{}", proxy.address));
    // A proxy without rules gets everything, even what is on this machine, as in Prometheus.
    assert_eq!(get_text(&client(&with(plain.clone(), &authority)), &server.url("/")).await, "forwarded");
    let ruled = ProxyConfig { no_proxy: Some("127.0.0.0/8".to_owned()), ..plain };
    assert_eq!(get_text(&client(&with(ruled.clone(), &authority)), &server.url("/")).await, "direct");
    assert_eq!(get_text(&client(&with(ruled, &authority)), "http://x.example/").await, "forwarded");

    let mut options = options();
    let variable = proxy.address.to_string();
    options.environment =
        ProxyEnvironment::from_lookup(|name| (name == "http_proxy").then(|| variable.clone()));
    let config = ProxyConfig { from_environment: true, ..ProxyConfig::default() };
    let client = HttpClient::new(&with(config, &authority), options.clone(), resolver()).unwrap();
    assert_eq!(get_text(&client, "http://x.example/").await, "forwarded");
    assert_eq!(get_text(&client, &server.url("/")).await, "direct");
    // Without the setting the environment does not count.
    let client = HttpClient::new(&HttpClientConfig::default(), options, resolver()).unwrap();
    assert_eq!(get_text(&client, &server.url("/")).await, "direct");
}

#[tokio::test]
async fn proxies_that_can_never_work_are_refused_at_once() {
    for url in ["ftp://proxy", "socks4://proxy", "http://a b"] {
        let config = HttpClientConfig { proxy: through(url.to_owned()), ..HttpClientConfig::default() };
        assert!(HttpClient::new(&config, options(), resolver()).is_err(), "{url}");
    }
    let refused = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let client = client(&with(through(format!("http://{refused}")), &Authority::new("unused")));
    let error = get(&client, "http://x.example/").await.unwrap_err();
    assert_eq!(
        chain(&error),
        format!("reach x.example:80 through proxy {refused}: connect to the proxy: connection refused")
    );
}

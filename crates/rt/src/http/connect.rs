//! Opening connections: addresses, proxies, TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::destination::{Destination, Scheme};
use super::error::{HttpError, IoCause, Step, TlsCause};
use super::progress::Progress;
use super::proxy::{ProxyError, ProxyScheme, ProxyServer};
use super::transport::{Io, Stream, Transport};
use crate::resolver::Resolver;
use crate::tls::{ClientTls, ClientTlsConfigs};

/// Time before the next address is tried beside one that has not answered yet (RFC 8305).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Time between keep-alive probes on a silent connection, so that a dead one is not found only by using it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Most bytes of a proxy's answer to CONNECT.
const MAX_PROXY_ANSWER: usize = 16 << 10;

/// HTTP/2 connections on which nothing arrives for this long are asked whether they live, as in Prometheus.
const HTTP2_PING_AFTER: Duration = Duration::from_secs(60);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(15);
const HTTP2_STREAM_WINDOW: u32 = 512 << 10;
const HTTP2_CONNECTION_WINDOW: u32 = 2 << 20;

/// A new connection.
pub(super) enum Opened {
    Http1(Io),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A new byte stream.
pub(super) struct OpenedStream {
    pub(super) stream: Box<dyn Stream>,
    pub(super) protocol: Protocol,
}

/// What is spoken on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// No TLS, so nothing was agreed upon.
    Plain,
    TlsHttp1,
    TlsHttp2,
}

/// How to get to a destination.
pub(super) struct Way<'a> {
    pub(super) resolver: &'a Resolver,
    pub(super) tls: &'a ClientTls,
    /// Needed for `https` destinations and proxies.
    pub(super) tls_configs: Option<&'a ClientTlsConfigs>,
    pub(super) proxy: Option<&'a ProxyServer>,
    pub(super) connect_headers: &'a HeaderMap,
    pub(super) user_agent: &'a HeaderValue,
    pub(super) max_header_bytes: usize,
    /// Which of the host's addresses is tried first, counted round.
    pub(super) first_address: usize,
    /// A proxy is asked for a tunnel for plain HTTP, too.
    pub(super) tunnel: bool,
    pub(super) progress: &'a Progress,
}

impl Way<'_> {
    /// Opens a connection on which requests for the destination can be sent.
    pub(super) async fn open(&self, destination: &Destination) -> Result<Opened, HttpError> {
        let OpenedStream { stream, protocol } = self.open_stream(destination).await?;
        if protocol == Protocol::TlsHttp2 {
            return self.start_http2(stream).await.map(Opened::Http2);
        }
        Ok(Opened::Http1(TokioIo::new(Transport::new(stream))))
    }

    /// Opens a byte stream to the destination, with TLS when its scheme asks for it.
    pub(super) async fn open_stream(&self, destination: &Destination) -> Result<OpenedStream, HttpError> {
        let stream = match (self.proxy, &destination.socket) {
            (None, Some(path)) => {
                self.progress.enter(Step::Connect);
                let stream = UnixStream::connect(path).await.map_err(|error| self.connect_error(error))?;
                Box::new(stream) as Box<dyn Stream>
            }
            (None, None) => Box::new(self.connect_directly(destination).await?),
            (Some(proxy), _) => {
                self.connect_through(proxy, destination).await.map_err(|source| HttpError::Proxy {
                    subject: self.progress.subject(),
                    proxy: proxy.authority.to_string(),
                    source,
                })?
            }
        };
        let (Scheme::Https, Some(configs)) = (destination.scheme, self.tls_configs) else {
            return Ok(OpenedStream { stream, protocol: Protocol::Plain });
        };
        self.progress.enter(Step::Tls);
        let name = self.tls.server_name(&destination.host);
        let stream = handshake(configs.http.clone(), name, stream)
            .await
            .map_err(|source| HttpError::Tls { subject: self.progress.subject(), source })?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let protocol = if http2 { Protocol::TlsHttp2 } else { Protocol::TlsHttp1 };
        Ok(OpenedStream { stream: Box::new(stream), protocol })
    }

    fn connect_error(&self, error: io::Error) -> HttpError {
        HttpError::Connect { subject: self.progress.subject(), source: IoCause(error) }
    }

    async fn connect_directly(&self, destination: &Destination) -> Result<TcpStream, HttpError> {
        self.progress.enter(Step::Resolve);
        let addresses = self
            .resolver
            .resolve(&destination.host)
            .await
            .map_err(|source| HttpError::Resolve { subject: self.progress.subject(), source })?;
        self.progress.enter(Step::Connect);
        let mut addresses = addresses.to_vec();
        if !addresses.is_empty() {
            let first = self.first_address % addresses.len();
            addresses.rotate_left(first);
        }
        connect_first(&addresses, destination.port).await.map_err(|error| self.connect_error(error))
    }

    async fn connect_through(
        &self,
        proxy: &ProxyServer,
        destination: &Destination,
    ) -> Result<Box<dyn Stream>, ProxyError> {
        self.progress.enter(Step::Proxy);
        let addresses = self.resolver.resolve(&proxy.host).await.map_err(ProxyError::Resolve)?;
        let tcp = connect_first(&addresses, proxy.port)
            .await
            .map_err(|error| ProxyError::Connect(IoCause(error)))?;
        let mut stream: Box<dyn Stream> = match (proxy.scheme, self.tls_configs) {
            (ProxyScheme::Https, Some(configs)) => {
                let stream = handshake(configs.proxy.clone(), &proxy.host, Box::new(tcp));
                Box::new(stream.await.map_err(ProxyError::Tls)?)
            }
            _ => Box::new(tcp),
        };
        if proxy.scheme == ProxyScheme::Socks5 {
            socks5(&mut stream, proxy, destination).await?;
        } else if destination.scheme == Scheme::Https || self.tunnel {
            self.ask_to_connect(&mut stream, proxy, destination).await?;
        }
        Ok(stream)
    }

    /// HTTP CONNECT.
    async fn ask_to_connect(
        &self,
        stream: &mut Box<dyn Stream>,
        proxy: &ProxyServer,
        destination: &Destination,
    ) -> Result<(), ProxyError> {
        let authority = destination.authority.as_bytes();
        let mut request = [b"CONNECT ", authority, b" HTTP/1.1\r\nHost: ", authority, b"\r\n"].concat();
        let own_headers =
            [("user-agent", Some(self.user_agent)), ("proxy-authorization", proxy.authorization.as_ref())];
        let own_headers =
            own_headers.into_iter().filter(|(name, _)| !self.connect_headers.contains_key(*name));
        let own_headers = own_headers.filter_map(|(name, value)| Some((name, value?)));
        let given = self.connect_headers.iter().map(|(name, value)| (name.as_str(), value));
        for (name, value) in own_headers.chain(given) {
            request.extend([name.as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        request.extend(b"\r\n");
        let failed = |error| ProxyError::Io(IoCause(error));
        stream.write_all(&request).await.map_err(failed)?;
        stream.flush().await.map_err(failed)?;
        let mut answer = Vec::new();
        // The server behind the proxy waits for our TLS hello, so nothing follows the headers.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= MAX_PROXY_ANSWER {
                return Err(ProxyError::Protocol(format!("more than {MAX_PROXY_ANSWER} bytes of headers")));
            }
            if stream.read_buf(&mut answer).await.map_err(failed)? == 0 {
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
            if let Some(status) = refusal(&answer)? {
                return Err(ProxyError::Refused(status));
            }
        }
        Ok(())
    }

    async fn start_http2(
        &self,
        stream: Box<dyn Stream>,
    ) -> Result<http2::SendRequest<Full<Bytes>>, HttpError> {
        self.progress.enter(Step::Headers);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(HTTP2_PING_AFTER)
            .keep_alive_timeout(HTTP2_PING_TIMEOUT)
            .keep_alive_while_idle(false)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(self.max_header_bytes).unwrap_or(u32::MAX))
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|source| HttpError::Send { subject: self.progress.subject(), source })?;
        // Ends when the connection does, at the latest when its last sender is dropped.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "http/2 connection ended");
            }
        });
        Ok(sender)
    }
}

async fn handshake(
    config: Arc<ClientConfig>,
    name: &str,
    stream: Box<dyn Stream>,
) -> Result<TlsStream<Box<dyn Stream>>, TlsCause> {
    let server_name =
        ServerName::try_from(name.to_owned()).map_err(|_| TlsCause::ServerName(name.to_owned()))?;
    TlsConnector::from(config).connect(server_name, stream).await.map_err(TlsCause::from_io)
}

/// Connects to the first address that answers: one after the other, the next one as soon as one failed or has been
/// silent for a moment. Fails with the first address's error.
async fn connect_first(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut waiting = by_alternating_family(addresses).into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut first_error = None;
    loop {
        if let Some(address) = waiting.next() {
            attempts.push(TcpStream::connect(SocketAddr::new(address, port)));
        } else if attempts.is_empty() {
            return Err(first_error.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()));
        }
        let patience = if waiting.len() > 0 { NEXT_ADDRESS_AFTER } else { Duration::MAX };
        match tokio::time::timeout(patience, attempts.next()).await {
            Ok(Some(Ok(stream))) => {
                stream.set_nodelay(true)?;
                let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE);
                SockRef::from(&stream).set_tcp_keepalive(&keep_alive)?;
                return Ok(stream);
            }
            Ok(Some(Err(error))) => {
                first_error.get_or_insert(error);
            }
            Ok(None) | Err(_) => {}
        }
    }
}

fn by_alternating_family(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let first_is_v4 = addresses.first().is_some_and(IpAddr::is_ipv4);
    let (first, second): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.iter().partition(|address| address.is_ipv4() == first_is_v4);
    let mut ordered = Vec::with_capacity(addresses.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let before = ordered.len();
        ordered.extend(first.next());
        ordered.extend(second.next());
        if ordered.len() == before {
            return ordered;
        }
    }
}

/// The status of a CONNECT answer whose first line is there, unless it is 200.
fn refusal(answer: &[u8]) -> Result<Option<String>, ProxyError> {
    let Some(end) = answer.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let line = String::from_utf8_lossy(&answer[..end]);
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split_once(' ')).map(|(_, status)| status);
    match status {
        Some(status) if status.starts_with("200") => Ok(None),
        Some(status) => Ok(Some(status.chars().take(100).collect())),
        None => Err(ProxyError::Protocol("no HTTP status line".to_owned())),
    }
}

/// SOCKS5 CONNECT (RFC 1928) with optional user and password (RFC 1929); names are resolved by the proxy.
async fn socks5(
    stream: &mut Box<dyn Stream>,
    proxy: &ProxyServer,
    destination: &Destination,
) -> Result<(), ProxyError> {
    const NO_AUTHENTICATION: u8 = 0;
    const USER_AND_PASSWORD: u8 = 2;
    let failed = |error| ProxyError::Io(IoCause(error));
    let methods: &[u8] =
        if proxy.user.is_some() { &[5, 2, NO_AUTHENTICATION, USER_AND_PASSWORD] } else { &[5, 1, 0] };
    stream.write_all(methods).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let mut choice = [0; 2];
    stream.read_exact(&mut choice).await.map_err(failed)?;
    match (choice, &proxy.user) {
        ([5, NO_AUTHENTICATION], _) => {}
        ([5, USER_AND_PASSWORD], Some((user, password))) => {
            let mut request = vec![1];
            for part in [user, password] {
                let length = u8::try_from(part.len()).map_err(|_| {
                    ProxyError::Protocol("user and password have at most 255 bytes".to_owned())
                })?;
                request.push(length);
                request.extend(part.as_bytes());
            }
            stream.write_all(&request).await.map_err(failed)?;
            stream.flush().await.map_err(failed)?;
            let mut answer = [0; 2];
            stream.read_exact(&mut answer).await.map_err(failed)?;
            if answer[1] != 0 {
                return Err(ProxyError::Refused("that user or password is wrong".to_owned()));
            }
        }
        ([5, _], _) => return Err(ProxyError::Refused("that it wants another authentication".to_owned())),
        _ => return Err(ProxyError::Protocol("not SOCKS5".to_owned())),
    }
    stream.write_all(&socks5_request(destination)?).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.map_err(failed)?;
    let address_bytes = match answer {
        [5, 0, _, 1] => 4,
        [5, 0, _, 4] => 16,
        [5, 0, _, 3] => usize::from(stream.read_u8().await.map_err(failed)?),
        [5, code, _, _] => return Err(ProxyError::Refused(socks5_reason(code))),
        _ => return Err(ProxyError::Protocol("not SOCKS5".to_owned())),
    };
    let mut bound = vec![0; address_bytes + 2];
    stream.read_exact(&mut bound).await.map_err(failed)?;
    Ok(())
}

fn socks5_request(destination: &Destination) -> Result<Vec<u8>, ProxyError> {
    let mut request = vec![5, 1, 0];
    match destination.host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => {
            request.push(1);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(4);
            request.extend(address.octets());
        }
        Err(_) => {
            let length = u8::try_from(destination.host.len())
                .map_err(|_| ProxyError::Protocol("host names have at most 255 bytes".to_owned()))?;
            request.extend([3, length]);
            request.extend(destination.host.as_bytes());
        }
    }
    request.extend(destination.port.to_be_bytes());
    Ok(request)
}

fn socks5_reason(code: u8) -> String {
    let reason = match code {
        1 => "general failure",
        2 => "connection not allowed",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => return format!("unknown code {code}"),
    };
    reason.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_and_the_first_stays_first() {
        let addresses = ["10.0.0.1", "10.0.0.2", "::1"].map(|text| text.parse().unwrap());
        let ordered: Vec<String> = by_alternating_family(&addresses).iter().map(IpAddr::to_string).collect();
        assert_eq!(ordered, ["10.0.0.1", "::1", "10.0.0.2"]);
    }

    #[test]
    fn a_proxy_answer_is_judged_by_its_status_line() {
        assert!(matches!(refusal(b"HTTP/1.1 200 Connection established\r\n"), Ok(None)));
        assert!(matches!(refusal(b"HTTP/1.0 200"), Ok(None)));
        assert!(
            matches!(refusal(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), Ok(Some(status)) if status.starts_with("407"))
        );
        assert!(refusal(b"SSH-2.0-x\r\n").is_err());
    }
}

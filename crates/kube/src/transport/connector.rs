//! Opens connections: proxy, TCP, TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Uri};
use hyper::rt::{Read, Write};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use outrigger_model::clock::SharedClock;
use outrigger_model::sample::Timestamp;
use outrigger_rt::http::{ProxyProtocol, ProxyRoute};
use outrigger_rt::resolver::{ResolveError, Resolver};
use thiserror::Error;
use tower::{BoxError, Service, ServiceExt};

use crate::credentials::{Access, TlsError};

/// Proxy, TCP and TLS together.
const OPEN_DEADLINE: Duration = Duration::from_secs(15);
/// One TCP connect attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// TCP keep-alive, for HTTP/1.1 and for what HTTP/2's PING does not reach.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Certificates or keys.
    #[error("cannot set up TLS")]
    Tls(#[source] TlsError),
    /// Name resolution, proxy, TCP or the TLS handshake.
    #[error("cannot connect to {server}{}", via(.proxy.as_deref()))]
    Connect {
        /// The server.
        server: String,
        /// The proxy, if there is one.
        proxy: Option<String>,
        /// Why.
        source: BoxError,
    },
    /// All of it took too long.
    #[error("cannot connect to {server} within {} s{}", OPEN_DEADLINE.as_secs(), via(.proxy.as_deref()))]
    Deadline {
        /// The server.
        server: String,
        /// The proxy, if there is one.
        proxy: Option<String>,
    },
    /// HTTP did not begin on the open connection.
    #[error("HTTP handshake with {server} failed")]
    Handshake {
        /// The server.
        server: String,
        /// Why.
        source: hyper::Error,
    },
}

fn via(proxy: Option<&str>) -> String {
    proxy.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default()
}

/// A byte stream to the server.
pub(super) trait Io: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> Io for T {}

/// A byte stream after TLS, and whether the server chose HTTP/2.
type Secured = (Box<dyn Io>, bool);

/// A connection on which HTTP can begin.
pub(super) struct Opened {
    pub(super) io: Box<dyn Io>,
    pub(super) http2: bool,
    /// When its client certificate should no longer be used for new requests.
    pub(super) valid_until: Option<Timestamp>,
}

pub(crate) struct Connector {
    access: Arc<Access>,
    clock: SharedClock,
    resolver: Resolver,
    opened: Arc<AtomicU64>,
}

impl Connector {
    pub(super) fn new(
        access: Arc<Access>,
        clock: SharedClock,
        resolver: Resolver,
        opened: Arc<AtomicU64>,
    ) -> Self {
        Self { access, clock, resolver, opened }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Scheme, host and port, for messages.
    pub(super) fn server(&self) -> String {
        let server = &self.access.server;
        match (server.scheme_str(), server.authority()) {
            (Some(scheme), Some(authority)) => {
                let host = authority.as_str().rsplit('@').next().unwrap_or_default();
                format!("{scheme}://{host}")
            }
            _ => server.to_string(),
        }
    }

    pub(super) async fn open(&self) -> Result<Opened, OpenError> {
        match tokio::time::timeout(OPEN_DEADLINE, self.open_unbounded()).await {
            Ok(Ok(opened)) => {
                self.opened.fetch_add(1, Ordering::Relaxed);
                Ok(opened)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(OpenError::Deadline { server: self.server(), proxy: self.proxy_name() }),
        }
    }

    fn proxy_name(&self) -> Option<String> {
        self.access.proxy.as_ref().map(|proxy| proxy.authority.to_string())
    }

    async fn open_unbounded(&self) -> Result<Opened, OpenError> {
        let tls = self.access.tls().await.map_err(OpenError::Tls)?;
        let opened = match &self.access.proxy {
            None => self.handshake(self.tcp(), tls.config).await,
            Some(proxy) => self.through(proxy, tls.config).await,
        };
        match opened {
            Ok((io, http2)) => Ok(Opened { io, http2, valid_until: tls.valid_until }),
            Err(source) => {
                Err(OpenError::Connect { server: self.server(), proxy: self.proxy_name(), source })
            }
        }
    }

    async fn through(&self, proxy: &ProxyRoute, tls: rustls::ClientConfig) -> Result<Secured, BoxError> {
        let scheme = match proxy.protocol {
            ProxyProtocol::Http => "http",
            ProxyProtocol::Https => "https",
            ProxyProtocol::Socks5 => "socks5",
        };
        let url: Uri = format!("{scheme}://{}", proxy.authority).parse()?;
        match proxy.protocol {
            ProxyProtocol::Http => {
                let tunnel = authorized(Tunnel::new(url, self.tcp()), proxy)?;
                self.handshake(tunnel, tls).await
            }
            ProxyProtocol::Https => {
                let to_proxy = HttpsConnectorBuilder::new()
                    .with_tls_config(tls.clone())
                    .https_or_http()
                    .enable_http1()
                    .wrap_connector(self.tcp());
                let tunnel = authorized(Tunnel::new(url, to_proxy), proxy)?;
                self.handshake(tunnel, tls).await
            }
            ProxyProtocol::Socks5 => {
                let mut socks = SocksV5::new(url, self.tcp());
                if let Some((user, password)) = &proxy.user {
                    socks = socks.with_auth(user.clone(), password.expose().to_owned());
                }
                self.handshake(socks, tls).await
            }
        }
    }

    /// TCP (or what `connector` makes of it) and TLS. Boxed: the connectors' own futures are not nameable.
    fn handshake<C>(
        &self,
        connector: C,
        tls: rustls::ClientConfig,
    ) -> BoxFuture<'_, Result<Secured, BoxError>>
    where
        C: Service<Uri> + Send + 'static,
        C::Response: Connection + Read + Write + Send + Unpin + 'static,
        C::Future: Send + 'static,
        C::Error: Into<BoxError>,
    {
        Box::pin(async move {
            let mut builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
            if let Some(name) = &self.access.server_name {
                let name = name.clone().try_into()?;
                builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
            }
            let connector: HttpsConnector<C> = if self.access.http2 {
                builder.enable_all_versions().wrap_connector(connector)
            } else {
                builder.enable_http1().wrap_connector(connector)
            };
            let io = connector.oneshot(self.access.server.clone()).await?;
            let http2 = io.connected().is_negotiated_h2();
            let io: Box<dyn Io> = Box::new(io);
            Ok((io, http2))
        })
    }

    fn tcp(&self) -> HttpConnector<DnsService> {
        let mut connector = HttpConnector::new_with_resolver(DnsService(self.resolver.clone()));
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_keepalive(Some(KEEP_ALIVE));
        connector.set_keepalive_interval(Some(KEEP_ALIVE / 2));
        connector.set_keepalive_retries(Some(3));
        connector
    }
}

/// Names by our resolver, which serves its last answer while DNS is down.
#[derive(Clone)]
struct DnsService(Resolver);

impl Service<Name> for DnsService {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = BoxFuture<'static, Result<Self::Response, ResolveError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.0.clone();
        Box::pin(async move {
            let addresses = resolver.resolve(name.as_str()).await?;
            let sockets: Vec<_> = addresses.iter().map(|ip| SocketAddr::new(*ip, 0)).collect();
            Ok(sockets.into_iter())
        })
    }
}

fn authorized<C>(tunnel: Tunnel<C>, proxy: &ProxyRoute) -> Result<Tunnel<C>, BoxError> {
    let tunnel = match &proxy.user {
        None => tunnel,
        Some((user, password)) => {
            let credentials = STANDARD.encode(format!("{user}:{}", password.expose()));
            tunnel.with_auth(HeaderValue::from_str(&format!("Basic {credentials}"))?)
        }
    };
    Ok(if proxy.connect_headers.is_empty() {
        tunnel
    } else {
        tunnel.with_headers(proxy.connect_headers.clone())
    })
}

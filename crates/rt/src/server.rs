//! An HTTP server for one router: bounded in connections, headers, bodies and patience.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use outrigger_model::http::PemSource;
use outrigger_model::secret::SecretSource;
use tokio_util::sync::CancellationToken;

use crate::tls::TlsSetupError;

/// Settings of a [`Server`].
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// HTTPS instead of HTTP.
    pub tls: Option<ServerTls>,
    /// Limits against clients that are too many, too large or too slow.
    pub limits: ServerLimits,
}

impl ServerConfig {
    /// Plain HTTP on `listen` with the default limits.
    pub fn new(listen: SocketAddr) -> Self {
        Self { listen, tls: None, limits: ServerLimits::default() }
    }
}

impl Default for ServerConfig {
    /// Plain HTTP on `127.0.0.1:9440`, which other machines cannot reach.
    fn default() -> Self {
        Self::new(SocketAddr::from(([127, 0, 0, 1], 9440)))
    }
}

/// TLS of a server; files are read anew when they change.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// Certificate chain.
    pub cert: PemSource,
    /// Private key.
    pub key: SecretSource,
    /// When given, clients must present a certificate of this authority.
    pub client_ca: Option<PemSource>,
}

/// Limits of a [`Server`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Most connections; further ones wait unaccepted.
    pub max_connections: usize,
    /// Most bytes of a request's header section.
    pub max_header_bytes: usize,
    /// Most bytes of a request's body.
    pub max_body_bytes: usize,
    /// Time for the TLS handshake, for a request's headers (idle time between requests included), and for each
    /// stretch of silence while a body is read or a response is written.
    pub patience: Duration,
    /// Time that open requests get after the shutdown began.
    pub drain: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            max_connections: 512,
            max_header_bytes: 32 << 10,
            max_body_bytes: 8 << 20,
            patience: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

/// A server that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be listened on.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Certificate or key cannot be used.
    #[error("set up TLS for {address}")]
    Tls {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: TlsSetupError,
    },
}

/// A bound server; [`Server::serve`] starts it.
#[derive(Debug)]
pub struct Server {}

impl Server {
    /// Binds the address and loads the certificate.
    ///
    /// # Errors
    /// [`BindError`] with the address and the reason.
    pub async fn bind(config: ServerConfig) -> Result<Self, BindError> {
        let _ = config;
        todo!()
    }

    /// The bound address, with the real port.
    pub fn address(&self) -> SocketAddr {
        todo!()
    }

    /// Serves `router` until `shutdown` is cancelled; then accepts no more, lets open requests finish within
    /// [`ServerLimits::drain`], and returns.
    pub async fn serve(self, router: Router, shutdown: CancellationToken) {
        let _ = (router, shutdown);
        todo!()
    }
}

//! How to reach an HTTP server: Prometheus' `http_config`, validated.
//!
//! Parsed by the configuration crate, acted on by the runtime's HTTP client.

use std::path::PathBuf;

use crate::cloud_auth::CloudAuth;
use crate::secret::{Secret, SecretSource};

/// One server's HTTP client settings (Prometheus `HTTPClientConfig`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpClientConfig {
    /// At most one way to authenticate.
    pub auth: Option<HttpAuth>,
    /// TLS for `https` URLs.
    pub tls: TlsConfig,
    /// Follow 3xx answers; credentials are not sent on to another host.
    pub follow_redirects: bool,
    /// Offer HTTP/2 over TLS.
    pub enable_http2: bool,
    /// Proxy, if any.
    pub proxy: ProxyConfig,
    /// Extra request headers, in order.
    pub headers: Vec<HeaderConfig>,
}

impl Default for HttpClientConfig {
    fn default() -> Self {
        Self {
            auth: None,
            tls: TlsConfig::default(),
            follow_redirects: true,
            enable_http2: true,
            proxy: ProxyConfig::default(),
            headers: Vec::new(),
        }
    }
}

/// The ways to authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpAuth {
    /// `Authorization: Basic …`.
    Basic {
        /// User name.
        username: BasicUsername,
        /// Password; absent means empty.
        password: Option<SecretSource>,
    },
    /// `Authorization: <scheme> <credentials>`; bearer tokens are scheme `Bearer`.
    Authorization {
        /// Scheme, never empty.
        scheme: String,
        /// Credentials; absent means the header is `<scheme> ` with nothing behind.
        credentials: Option<SecretSource>,
    },
    /// OAuth 2.0 client credentials (boxed: much larger than the others).
    OAuth2(Box<OAuth2Config>),
    /// A cloud vendor's own way.
    Cloud(Box<CloudAuth>),
}

/// A user name, inline or in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BasicUsername {
    /// Written in the configuration.
    Inline(String),
    /// The content of this file, without trailing white space.
    File(PathBuf),
}

/// OAuth 2.0 client credentials grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth2Config {
    /// Client id.
    pub client_id: String,
    /// How the client proves itself.
    pub grant: OAuth2Grant,
    /// Scopes, joined by spaces in the request.
    pub scopes: Vec<String>,
    /// Token endpoint.
    pub token_url: String,
    /// Extra form parameters of the token request.
    pub endpoint_params: Vec<(String, String)>,
    /// TLS towards the token endpoint.
    pub tls: TlsConfig,
    /// Proxy towards the token endpoint.
    pub proxy: ProxyConfig,
}

/// Grant of an OAuth 2.0 token request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OAuth2Grant {
    /// `client_credentials` with a shared secret.
    ClientSecret(Option<SecretSource>),
    /// `urn:ietf:params:oauth:grant-type:jwt-bearer` with a signed assertion.
    JwtBearer {
        /// PEM private key that signs the assertion.
        key: Option<SecretSource>,
        /// `kid` header.
        key_id: Option<String>,
        /// `RS256`, `RS384` or `RS512`.
        algorithm: String,
        /// `iss` claim; the client id when absent.
        issuer: Option<String>,
        /// `aud` claim; the token endpoint when absent.
        audience: Option<String>,
        /// Further claims, as JSON text.
        claims: Option<String>,
    },
}

/// TLS client settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsConfig {
    /// Certificate authorities; the system's when absent.
    pub ca: Option<PemSource>,
    /// Client certificate.
    pub cert: Option<PemSource>,
    /// Client key.
    pub key: Option<SecretSource>,
    /// Name to verify and to send as SNI, instead of the URL's host.
    pub server_name: Option<String>,
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
    /// Lowest protocol version.
    pub min_version: Option<TlsVersion>,
    /// Highest protocol version.
    pub max_version: Option<TlsVersion>,
}

/// PEM text, inline or in a file that is read anew when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PemSource {
    /// Written in the configuration.
    Inline(String),
    /// A file.
    File(PathBuf),
}

/// TLS protocol versions as the configuration names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.0, which the client does not speak: as a minimum it means 1.2.
    Tls10,
    /// TLS 1.1, which the client does not speak: as a minimum it means 1.2.
    Tls11,
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// Which proxy to use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxyConfig {
    /// Proxy URL (`http`, `https` or `socks5`), may hold user information.
    pub url: Option<Secret>,
    /// Comma-separated hosts, domains and networks that are reached directly.
    pub no_proxy: Option<String>,
    /// Take `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` from the environment.
    pub from_environment: bool,
    /// Headers sent to the proxy with CONNECT.
    pub connect_headers: Vec<(String, Vec<Secret>)>,
}

/// One extra request header with its values, in order: plain, secret, from files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderConfig {
    /// Header name.
    pub name: String,
    /// Values.
    pub values: Vec<SecretSource>,
}

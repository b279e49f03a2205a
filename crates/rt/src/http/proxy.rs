//! Which proxy a request goes through.

use crate::resolver::ResolveError;

use super::error::{IoCause, TlsCause};

/// The proxy variables of an environment, as Go's `httpproxy` reads them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxyEnvironment {
    /// `HTTP_PROXY` or `http_proxy`.
    pub http_proxy: Option<String>,
    /// `HTTPS_PROXY` or `https_proxy`.
    pub https_proxy: Option<String>,
    /// `NO_PROXY` or `no_proxy`.
    pub no_proxy: Option<String>,
}

impl ProxyEnvironment {
    /// The variables of this process.
    pub fn from_process() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// The variables of any environment; the upper-case name counts first, an empty value counts as none.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let get = |upper: &str, lower: &str| {
            [upper, lower].into_iter().filter_map(&lookup).find(|value| !value.is_empty())
        };
        Self {
            http_proxy: get("HTTP_PROXY", "http_proxy"),
            https_proxy: get("HTTPS_PROXY", "https_proxy"),
            no_proxy: get("NO_PROXY", "no_proxy"),
        }
    }
}

/// What a proxy did instead of connecting.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The proxy's name has no address.
    #[error("resolve the proxy")]
    Resolve(#[source] ResolveError),
    /// No connection to the proxy.
    #[error("connect to the proxy")]
    Connect(#[source] IoCause),
    /// TLS handshake with an `https` proxy.
    #[error("TLS handshake with the proxy")]
    Tls(#[source] TlsCause),
    /// The proxy refused to connect.
    #[error("proxy answered {0}")]
    Refused(String),
    /// The proxy does not speak its protocol.
    #[error("proxy answered with something else than its protocol: {0}")]
    Protocol(String),
    /// The connection to the proxy broke.
    #[error("talk to the proxy")]
    Io(#[source] IoCause),
    /// The proxy's URL in the environment.
    #[error("the proxy URL in the environment is not usable")]
    Url(#[source] super::error::UrlError),
}

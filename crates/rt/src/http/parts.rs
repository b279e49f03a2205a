//! An `http_config` in parts, for a client that manages its connections itself (the watches of an API server).

use std::sync::Arc;

use ::http::HeaderMap;
use outrigger_model::fault::Blame;
use outrigger_model::http::{HttpAuth, HttpClientConfig, ProxyConfig};
use outrigger_model::secret::Secret;
use rustls::ClientConfig;
use tokio::time::Instant;

use super::auth::{Credentials, Provider};
use super::destination::Destination;
use super::error::{BuildClientError, HttpError, Subject};
use super::oauth2::TokenSource;
use super::proxy::{ProxyRules, ProxyScheme};
use super::{ClientOptions, ProxyEnvironment};
use crate::resolver::Resolver;
use crate::tls::{ClientTls, TlsSetupError};

/// Authentication, headers and TLS of one `http_config`.
#[derive(Debug)]
pub struct HttpParts {
    credentials: Credentials,
    tls: ClientTls,
    blame: Blame,
}

impl HttpParts {
    /// Checks the settings; reads no file that may still appear.
    ///
    /// # Errors
    /// As [`HttpClient::new`](super::HttpClient::new).
    pub fn new(
        config: &HttpClientConfig,
        options: &ClientOptions,
        resolver: Resolver,
    ) -> Result<Self, BuildClientError> {
        let provider = match &config.auth {
            Some(HttpAuth::OAuth2(oauth2)) => {
                let source = TokenSource::new(oauth2, config.enable_http2, options, resolver)?;
                Some(Provider::OAuth2(Arc::new(source)))
            }
            // A cloud's signature needs the whole request; no configuration of an API server has one.
            _ => None,
        };
        Ok(Self {
            credentials: Credentials::new(config, provider)?,
            // ALPN is the connection's business.
            tls: ClientTls::new(&config.tls, false)?,
            blame: options.blame,
        })
    }

    /// Configured headers and `Authorization` for a request to `host`. Files are read anew.
    ///
    /// # Errors
    /// When a file cannot be read or the identity provider gives no token.
    pub async fn headers(&self, host: &str, deadline: Instant) -> Result<HeaderMap, HttpError> {
        let mut headers = HeaderMap::new();
        let subject = Subject { host: host.into(), blame: self.blame };
        self.credentials.apply(&mut headers, &subject, deadline).await?;
        Ok(headers)
    }

    /// TLS towards the server for the files as they are now, without ALPN.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn tls(&self) -> Result<Arc<ClientConfig>, TlsSetupError> {
        Ok(self.tls.current()?.http.clone())
    }
}

/// Protocol towards a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// HTTP.
    Http,
    /// HTTP over TLS.
    Https,
    /// SOCKS 5; the proxy resolves names.
    Socks5,
}

/// The proxy on the way to a server.
#[derive(Debug, Clone)]
pub struct ProxyRoute {
    /// Protocol.
    pub protocol: ProxyProtocol,
    /// `host:port`.
    pub authority: Arc<str>,
    /// User and password.
    pub user: Option<(String, Secret)>,
    /// Further headers of CONNECT.
    pub connect_headers: HeaderMap,
}

impl ProxyRoute {
    /// The proxy that leads to `url` by the rules of Go, or `None` when it is reached directly.
    ///
    /// # Errors
    /// When the proxy's URL or the server's is not usable.
    pub fn choose(
        config: &ProxyConfig,
        environment: &ProxyEnvironment,
        url: &str,
    ) -> Result<Option<Self>, BuildClientError> {
        let rules = ProxyRules::new(config, environment)?;
        let destination = Destination::parse(url).map_err(BuildClientError::ProxyUrl)?;
        Ok(rules.proxy_for(&destination).map(|proxy| Self {
            protocol: match proxy.scheme {
                ProxyScheme::Http => ProxyProtocol::Http,
                ProxyScheme::Https => ProxyProtocol::Https,
                ProxyScheme::Socks5 => ProxyProtocol::Socks5,
            },
            authority: proxy.authority.clone(),
            user: proxy.user.clone().map(|(user, password)| (user, Secret::new(password))),
            connect_headers: rules.connect_headers.clone(),
        }))
    }
}

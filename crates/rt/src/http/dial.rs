//! Byte streams to one server, for a client that speaks its own protocol over them.

use std::sync::Arc;

use ::http::{HeaderMap, HeaderValue, Uri};
use outrigger_model::fault::Blame;
use outrigger_model::http::{HttpAuth, HttpClientConfig};
use tokio::time::Instant;

use super::ClientOptions;
use super::auth::{Credentials, Provider};
use super::connect::{OpenedStream, Protocol, Way};
use super::destination::{Destination, Scheme};
use super::error::{BuildClientError, HttpError, Step, Subject};
use super::oauth2::TokenSource;
use super::progress::Progress;
use super::proxy::{ProxyRules, ProxyScheme};
use super::transport::Stream;
use crate::resolver::Resolver;
use crate::tls::{ClientTls, ClientTlsConfigs};

/// Opens connections to one server.
#[derive(Debug)]
pub(crate) struct Dialer {
    destination: Destination,
    credentials: Credentials,
    tls: ClientTls,
    proxy: ProxyRules,
    resolver: Resolver,
    user_agent: HeaderValue,
    max_header_bytes: usize,
    blame: Blame,
}

/// A new connection.
pub(crate) struct Dialed {
    pub(crate) stream: Box<dyn Stream>,
    /// Whether HTTP/2 can be spoken on it.
    pub(crate) http2: bool,
    /// [`Dialer::generation`] that it belongs to.
    pub(crate) generation: u64,
}

impl Dialer {
    /// Checks the settings; reads no file that may still appear, and connects to nothing.
    pub(crate) fn new(
        url: &str,
        config: &HttpClientConfig,
        options: &ClientOptions,
        resolver: Resolver,
    ) -> Result<Self, BuildClientError> {
        let destination = Destination::parse(url)
            .map_err(|source| BuildClientError::Url { url: Destination::redact(url), source })?;
        let provider = match &config.auth {
            Some(HttpAuth::OAuth2(oauth2)) => {
                let source = TokenSource::new(oauth2, config.enable_http2, options, resolver.clone())?;
                Some(Provider::OAuth2(Arc::new(source)))
            }
            _ => None,
        };
        let user_agent = HeaderValue::try_from(&options.user_agent)
            .map_err(|_| BuildClientError::Header { key: "user agent", name: "User-Agent".to_owned() })?;
        Ok(Self {
            destination,
            credentials: Credentials::new(config, provider)?,
            tls: ClientTls::new(&config.tls, true)?,
            proxy: ProxyRules::new(&config.proxy, &options.environment)?,
            resolver,
            user_agent,
            max_header_bytes: options.max_header_bytes,
            blame: options.blame,
        })
    }

    /// The server, for messages.
    pub(crate) fn subject(&self) -> Subject {
        Subject { host: self.destination.authority.clone(), blame: self.blame }
    }

    /// Scheme and authority for requests.
    pub(crate) fn origin(&self) -> Uri {
        self.destination.absolute_uri()
    }

    /// Headers of a request, with `Authorization`; files are read anew.
    pub(crate) async fn headers(&self, deadline: Instant) -> Result<HeaderMap, HttpError> {
        let mut headers = HeaderMap::new();
        headers.insert(::http::header::USER_AGENT, self.user_agent.clone());
        self.credentials.apply(&mut headers, &self.subject(), deadline).await?;
        Ok(headers)
    }

    /// Changes when certificate, key or authority have changed, so that connections of before are not used again.
    pub(crate) fn generation(&self) -> Result<u64, HttpError> {
        Ok(self.tls_configs()?.map_or(0, |configs| configs.generation))
    }

    /// Opens a connection.
    pub(crate) async fn dial(&self, deadline: Instant) -> Result<Dialed, HttpError> {
        let configs = self.tls_configs()?;
        let progress = Progress::new(self.subject());
        let way = Way {
            resolver: &self.resolver,
            tls: &self.tls,
            tls_configs: configs.as_deref(),
            proxy: self.proxy.proxy_for(&self.destination).map(|proxy| &**proxy),
            connect_headers: &self.proxy.connect_headers,
            user_agent: &self.user_agent,
            max_header_bytes: self.max_header_bytes,
            first_address: 0,
            tunnel: true,
            progress: &progress,
        };
        let opened = tokio::time::timeout_at(deadline, way.open_stream(&self.destination)).await;
        let opened = opened
            .map_err(|_| HttpError::Timeout { subject: progress.subject(), step: progress.step() })??;
        progress.enter(Step::Headers);
        let generation = configs.map_or(0, |configs| configs.generation);
        let OpenedStream { stream, protocol } = opened;
        Ok(Dialed { stream, http2: protocol != Protocol::TlsHttp1, generation })
    }

    fn tls_configs(&self) -> Result<Option<Arc<ClientTlsConfigs>>, HttpError> {
        let proxy = self.proxy.proxy_for(&self.destination);
        let needed = self.destination.scheme == Scheme::Https
            || proxy.is_some_and(|proxy| proxy.scheme == ProxyScheme::Https);
        if !needed {
            return Ok(None);
        }
        let configs = self.tls.current();
        configs.map(Some).map_err(|source| HttpError::TlsSetup { subject: self.subject(), source })
    }
}

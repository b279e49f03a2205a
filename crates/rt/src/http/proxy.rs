//! Which proxy a request goes through (Go `golang.org/x/net/http/httpproxy`), and what can go wrong with it.

use std::net::IpAddr;
use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use outrigger_model::http::ProxyConfig;
use url::Url;

use super::destination::{Destination, Scheme, user_of};
use super::error::{BuildClientError, IoCause, TlsCause, UrlError};
use crate::resolver::ResolveError;

/// The proxy variables of an environment, as Go's `httpproxy` reads them.
#[derive(Clone, PartialEq, Eq, Default)]
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

/// Proxy URLs may hold passwords, so only whether they are set is shown.
impl std::fmt::Debug for ProxyEnvironment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ProxyEnvironment")
            .field("http_proxy", &self.http_proxy.is_some())
            .field("https_proxy", &self.https_proxy.is_some())
            .field("no_proxy", &self.no_proxy)
            .finish()
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyScheme {
    Http,
    Https,
    Socks5,
}

/// One proxy.
pub(super) struct ProxyServer {
    pub(super) scheme: ProxyScheme,
    pub(super) host: Box<str>,
    pub(super) port: u16,
    /// `host:port`.
    pub(super) authority: Arc<str>,
    /// User and password.
    pub(super) user: Option<(String, String)>,
    /// `Proxy-Authorization`, from the user information.
    pub(super) authorization: Option<HeaderValue>,
}

impl std::fmt::Debug for ProxyServer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ProxyServer({:?} {})", self.scheme, self.authority)
    }
}

impl ProxyServer {
    fn parse(text: &str) -> Result<Self, UrlError> {
        // As Go: `proxy:3128` means `http://proxy:3128`.
        let url =
            if text.contains("://") { Url::parse(text)? } else { Url::parse(&format!("http://{text}"))? };
        let (scheme, default_port) = match url.scheme() {
            "http" => (ProxyScheme::Http, 80),
            "https" => (ProxyScheme::Https, 443),
            "socks5" | "socks5h" => (ProxyScheme::Socks5, 1080),
            other => return Err(UrlError::Scheme(other.to_owned())),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(UrlError::NoHost)?;
        let port = url.port().unwrap_or(default_port);
        let user = user_of(&url);
        let authorization = user.as_ref().map(|(user, password)| basic_authorization(user, password));
        Ok(Self {
            scheme,
            host: host.trim_start_matches('[').trim_end_matches(']').into(),
            port,
            authority: format!("{host}:{port}").into(),
            user,
            authorization,
        })
    }
}

/// `Basic …` for a user and password.
pub(super) fn basic_authorization(user: &str, password: &str) -> HeaderValue {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let mut value = HeaderValue::try_from(format!("Basic {encoded}")).expect("base64 is ASCII");
    value.set_sensitive(true);
    value
}

/// The proxy settings of one client.
#[derive(Debug)]
pub(super) struct ProxyRules {
    http: Option<Arc<ProxyServer>>,
    https: Option<Arc<ProxyServer>>,
    /// `None`: every request goes through the proxy, even one to this machine.
    no_proxy: Option<NoProxy>,
    /// For CONNECT.
    pub(super) connect_headers: HeaderMap,
}

impl ProxyRules {
    pub(super) fn new(
        config: &ProxyConfig,
        environment: &ProxyEnvironment,
    ) -> Result<Self, BuildClientError> {
        let parse = |text: &str| ProxyServer::parse(text).map(Arc::new).map_err(BuildClientError::ProxyUrl);
        let connect_headers = connect_headers(config)?;
        if config.from_environment {
            let http = environment.http_proxy.as_deref().map(parse).transpose()?;
            let https = environment.https_proxy.as_deref().map(parse).transpose()?;
            let no_proxy = Some(NoProxy::parse(environment.no_proxy.as_deref().unwrap_or_default()));
            return Ok(Self { http, https, no_proxy, connect_headers });
        }
        let server = config.url.as_ref().filter(|url| !url.is_empty());
        let server = server.map(|url| parse(url.expose())).transpose()?;
        let no_proxy = config.no_proxy.as_deref().filter(|text| !text.is_empty()).map(NoProxy::parse);
        Ok(Self { http: server.clone(), https: server, no_proxy, connect_headers })
    }

    /// The proxy for a request, if it goes through one.
    pub(super) fn proxy_for(&self, destination: &Destination) -> Option<&Arc<ProxyServer>> {
        let server = match destination.scheme {
            Scheme::Http => self.http.as_ref()?,
            Scheme::Https => self.https.as_ref()?,
            Scheme::Unix => return None,
        };
        let direct =
            self.no_proxy.as_ref().is_some_and(|rules| rules.is_direct(&destination.host, destination.port));
        (!direct).then_some(server)
    }
}

fn connect_headers(config: &ProxyConfig) -> Result<HeaderMap, BuildClientError> {
    let mut headers = HeaderMap::new();
    for (name, values) in &config.connect_headers {
        let bad = || BuildClientError::Header { key: "proxy_connect_header", name: name.clone() };
        let parsed = HeaderName::try_from(name.as_str()).map_err(|_| bad())?;
        for value in values {
            let mut value = HeaderValue::try_from(value.expose()).map_err(|_| bad())?;
            value.set_sensitive(true);
            headers.append(parsed.clone(), value);
        }
    }
    Ok(headers)
}

/// A parsed `no_proxy`.
#[derive(Debug, Default)]
struct NoProxy {
    everything: bool,
    addresses: Vec<AddressRule>,
    domains: Vec<DomainRule>,
}

#[derive(Debug)]
struct AddressRule {
    address: IpAddr,
    prefix: u32,
    port: Option<String>,
}

#[derive(Debug)]
struct DomainRule {
    /// Starts with a dot.
    suffix: String,
    /// The domain itself counts as well.
    itself: bool,
    port: Option<String>,
}

impl NoProxy {
    fn parse(text: &str) -> Self {
        let mut rules = Self::default();
        for entry in
            text.split(',').map(|entry| entry.trim().to_lowercase()).filter(|entry| !entry.is_empty())
        {
            if entry == "*" {
                rules.everything = true;
                return rules;
            }
            rules.add(&entry);
        }
        rules
    }

    fn add(&mut self, entry: &str) {
        if let Some((address, prefix)) = network(entry) {
            self.addresses.push(AddressRule { address, prefix, port: None });
            return;
        }
        let (host, port) = split_port(entry);
        if let Ok(address) = host.parse() {
            self.addresses.push(AddressRule { address, prefix: bits(address), port });
            return;
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        if host.is_empty() {
            return;
        }
        let itself = !host.starts_with('.');
        let suffix = if itself { format!(".{host}") } else { host.to_owned() };
        self.domains.push(DomainRule { suffix, itself, port });
    }

    /// Whether `host` is reached without the proxy; this machine always is.
    fn is_direct(&self, host: &str, port: u16) -> bool {
        let port = port.to_string();
        let port_matches = |rule: &Option<String>| rule.as_ref().is_none_or(|wanted| *wanted == port);
        let address: Option<IpAddr> = host.parse().ok().map(|address: IpAddr| address.to_canonical());
        if self.everything || host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        if let Some(address) = address {
            let mut rules = self.addresses.iter();
            if rules.any(|rule| port_matches(&rule.port) && contains(rule.address, rule.prefix, address)) {
                return true;
            }
        }
        let host = host.to_lowercase();
        self.domains.iter().any(|rule| {
            let matches = host.ends_with(&rule.suffix) || (rule.itself && host == rule.suffix[1..]);
            matches && port_matches(&rule.port)
        })
    }
}

fn network(entry: &str) -> Option<(IpAddr, u32)> {
    let (address, prefix) = entry.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let prefix: u32 = prefix.parse().ok()?;
    (prefix <= bits(address)).then_some((address, prefix))
}

fn bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn contains(network: IpAddr, prefix: u32, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            u32::from(network) & mask == u32::from(address) & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            u128::from(network) & mask == u128::from(address) & mask
        }
        _ => false,
    }
}

/// Splits `host:port` and `[v6]:port`; an IPv6 address without brackets has no port.
fn split_port(entry: &str) -> (&str, Option<String>) {
    if let Some((host, rest)) = entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':').map(str::to_owned));
    }
    match entry.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port.to_owned())),
        _ => (entry, None),
    }
}

#[cfg(test)]
mod tests {
    use outrigger_model::secret::Secret;

    use super::*;

    #[test]
    fn no_proxy_rules_are_those_of_go() {
        let rules = "example.com, .only-sub.org, *.star.net, 10.0.0.0/8, 192.168.1.7, [fd00::1]:8080, \
                     ported.io:8443, 2001:db8::/32, Upper.Case";
        for (url, direct) in [
            ("http://example.com/", true),
            ("http://foo.example.com/", true),
            ("http://notexample.com/", false),
            ("http://only-sub.org/", false),
            ("http://a.only-sub.org/", true),
            ("http://star.net/", false),
            ("http://a.star.net/", true),
            ("http://10.200.3.4:9100/", true),
            ("http://11.0.0.1/", false),
            ("http://192.168.1.7:1234/", true),
            ("http://192.168.1.8/", false),
            ("http://[fd00::1]:8080/", true),
            ("http://[fd00::1]:8081/", false),
            ("http://[2001:db8::5]/", true),
            ("http://ported.io:8443/", true),
            ("http://ported.io/", false),
            ("http://upper.case/", true),
            ("http://localhost:9100/", true),
            ("http://127.0.0.9/", true),
            ("http://[::1]/", true),
            ("http://elsewhere/", false),
        ] {
            let destination = Destination::parse(url).unwrap();
            assert_eq!(NoProxy::parse(rules).is_direct(&destination.host, destination.port), direct, "{url}");
        }
        assert!(NoProxy::parse("a, *").is_direct("anything", 80));
    }

    #[test]
    fn the_proxy_is_chosen_by_scheme_and_rules() {
        let environment = ProxyEnvironment::from_lookup(|name| {
            Some(
                match name {
                    "HTTP_PROXY" => "",
                    "http_proxy" => "plain:3128",
                    "HTTPS_PROXY" => "http://user:secret@secure:3129",
                    "NO_PROXY" => "direct",
                    _ => return None,
                }
                .to_owned(),
            )
        });
        assert!(!format!("{environment:?}").contains("secret"));
        let from_environment = ProxyConfig { from_environment: true, ..ProxyConfig::default() };
        let plain = ProxyConfig { url: Some(Secret::new("socks5://s")), ..ProxyConfig::default() };
        let ruled = ProxyConfig { no_proxy: Some("direct".to_owned()), ..plain.clone() };
        for (config, url, expected) in [
            (&from_environment, "http://a/", Some("plain:3128")),
            (&from_environment, "https://a/", Some("secure:3129")),
            (&from_environment, "http://direct/", None),
            (&from_environment, "http://localhost/", None),
            (&plain, "http://localhost/", Some("s:1080")),
            (&plain, "http+unix://%2Fx/", None),
            (&ruled, "http://localhost/", None),
            (&ruled, "https://direct/", None),
            (&ruled, "https://a/", Some("s:1080")),
            (&ProxyConfig::default(), "https://a/", None),
        ] {
            let rules = ProxyRules::new(config, &environment).unwrap();
            let proxy = rules.proxy_for(&Destination::parse(url).unwrap());
            assert_eq!(proxy.map(|proxy| &*proxy.authority), expected, "{url}");
        }
    }
}

//! A URL taken apart into what a request needs.

use std::path::PathBuf;
use std::sync::Arc;

use ::http::uri::{Authority, PathAndQuery};
use ::http::{HeaderValue, Uri};
use url::Url;

use super::error::UrlError;

/// Scheme of a URL in place of a unix socket's `http`.
const UNIX_SCHEME: &str = "http+unix";

#[derive(Debug, Clone)]
pub(super) struct Destination {
    pub(super) url: Url,
    pub(super) scheme: Scheme,
    /// Without brackets; empty for a socket.
    pub(super) host: Box<str>,
    pub(super) port: u16,
    /// `host:port`, with brackets around an IPv6 address; the path of a socket.
    pub(super) authority: Arc<str>,
    pub(super) host_header: HeaderValue,
    pub(super) target: PathAndQuery,
    /// User and password in the URL.
    pub(super) user: Option<(String, String)>,
    pub(super) socket: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
    Unix,
}

impl Destination {
    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
        Self::from_url(Url::parse(text)?)
    }

    pub(super) fn from_url(url: Url) -> Result<Self, UrlError> {
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let target = if target.starts_with('/') { target } else { format!("/{target}") };
        let target = PathAndQuery::try_from(target).map_err(|_| UrlError::Target)?;
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            UNIX_SCHEME => Scheme::Unix,
            other => return Err(UrlError::Scheme(other.to_owned())),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(UrlError::NoHost)?;
        let user = user_of(&url);
        if scheme == Scheme::Unix {
            let path =
                percent_decode(host).filter(|path| path.starts_with('/')).ok_or(UrlError::SocketPath)?;
            return Ok(Self {
                scheme,
                host: "".into(),
                port: 0,
                authority: path.as_str().into(),
                host_header: HeaderValue::from_static("localhost"),
                target,
                user,
                socket: Some(path.into()),
                url,
            });
        }
        let port = url.port_or_known_default().unwrap_or(80);
        let host_header = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Self {
            scheme,
            host: host.trim_start_matches('[').trim_end_matches(']').into(),
            port,
            authority: format!("{host}:{port}").into(),
            host_header: HeaderValue::try_from(host_header).map_err(|_| UrlError::NoHost)?,
            target,
            user,
            socket: None,
            url,
        })
    }

    /// Without user information and query, for messages.
    pub(super) fn redact(text: &str) -> String {
        match Url::parse(text) {
            Ok(mut url) => {
                url.set_query(None);
                url.set_fragment(None);
                without_user(url).to_string()
            }
            // Not a URL: show what stands before anything that may be secret.
            Err(_) => {
                let shown = text.split(['?', '#']).next().unwrap_or_default();
                shown.rsplit('@').next().unwrap_or_default().chars().take(200).collect()
            }
        }
    }

    /// The URL without user information.
    pub(super) fn shown_url(&self) -> String {
        without_user(self.url.clone()).to_string()
    }

    /// `scheme://host/target`, for proxies and HTTP/2.
    pub(super) fn absolute_uri(&self) -> Uri {
        let mut parts = ::http::uri::Parts::default();
        let https = self.scheme == Scheme::Https;
        parts.scheme = Some(if https { ::http::uri::Scheme::HTTPS } else { ::http::uri::Scheme::HTTP });
        parts.authority = Authority::try_from(self.host_header.as_bytes()).ok();
        parts.path_and_query = Some(self.target.clone());
        Uri::from_parts(parts).unwrap_or_else(|_| Uri::from(self.target.clone()))
    }

    /// Whether credentials for `first` may go to this host: it is the same host or a subdomain, whatever the port
    /// (Go `net/http` `shouldCopyHeaderOnRedirect`).
    pub(super) fn is_trusted_by(&self, first: &Destination) -> bool {
        if first.socket.is_some() || self.socket.is_some() {
            return first.socket == self.socket;
        }
        let (host, first) = (&*self.host, &*first.host);
        if host == first {
            return true;
        }
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        !is_address && host.strip_suffix(first).is_some_and(|rest| rest.ends_with('.'))
    }
}

fn without_user(mut url: Url) -> Url {
    // Fails only for URLs that cannot have user information.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

pub(super) fn user_of(url: &Url) -> Option<(String, String)> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let password = url.password().unwrap_or_default();
    Some((percent_decode(url.username())?, percent_decode(password)?))
}

/// Decodes `%41`; `None` for broken escapes and for what is not UTF-8.
pub(super) fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        decoded.push((high * 16 + low) as u8);
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, authority, host_header, target) in [
            ("http://a/metrics", "a:80", "a", "/metrics"),
            ("https://a:8443?x=1", "a:8443", "a:8443", "/?x=1"),
            ("http://[::1]:9100/m?a=b&c=d#f", "[::1]:9100", "[::1]:9100", "/m?a=b&c=d"),
            ("http://u:p@a/", "a:80", "a", "/"),
            ("http+unix://%2Frun%2Fapp.sock/metrics?x=y", "/run/app.sock", "localhost", "/metrics?x=y"),
        ] {
            let destination = Destination::parse(url).unwrap();
            assert_eq!(&*destination.authority, authority, "{url}");
            assert_eq!(destination.host_header, host_header, "{url}");
            assert_eq!(destination.target.as_str(), target, "{url}");
        }
        for url in ["a:80", "ftp://a/", "http://", "http+unix://run/x", "/metrics", ""] {
            assert!(Destination::parse(url).is_err(), "{url}");
        }
        let destination = Destination::parse("http://a%40b:p%3Aq@h/").unwrap();
        assert_eq!(destination.user, Some(("a@b".to_owned(), "p:q".to_owned())));
        assert_eq!(destination.shown_url(), "http://h/");
    }

    #[test]
    fn secrets_are_not_shown() {
        for (url, shown) in [
            ("http://u:secret@h:1/p?token=secret#secret", "http://h:1/p"),
            ("http://u:secret@h:port/p?token=secret", "h:port/p"),
            ("not a url?secret", "not a url"),
        ] {
            assert_eq!(Destination::redact(url), shown);
        }
    }

    #[test]
    fn only_the_first_host_and_its_subdomains_are_trusted() {
        for (first, next, trusted) in [
            ("http://a.example:1/", "http://a.example:2/", true),
            ("https://a.example/", "http://a.example/", true),
            ("http://a.example/", "http://b.a.example/", true),
            ("http://a.example/", "http://ba.example/", false),
            ("http://b.a.example/", "http://a.example/", false),
            ("http://127.0.0.1/", "http://localhost/", false),
            ("http://0.0.1/", "http://127.0.0.1/", false),
        ] {
            let (first, next) = (Destination::parse(first).unwrap(), Destination::parse(next).unwrap());
            assert_eq!(next.is_trusted_by(&first), trusted, "{} {}", first.url, next.url);
        }
    }
}

//! Which URLs Go's `net/url.Parse` accepts, and the parts that Prometheus looks at.

use std::net::Ipv6Addr;

/// The parts of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GoUrl<'a> {
    /// Lower case; empty when there is none.
    pub(crate) scheme: String,
    /// Host and port as written; empty when there is none.
    pub(crate) host: &'a str,
}

/// Parses a URL. The error says what is wrong and shows no part that may hold a password.
pub(crate) fn parse(text: &str) -> Result<GoUrl<'_>, String> {
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("it holds a control character".to_owned());
    }
    let (before, fragment) = text.split_once('#').unwrap_or((text, ""));
    check_escapes(fragment)?;
    if before == "*" {
        return Ok(GoUrl { scheme: String::new(), host: "" });
    }
    let (scheme, rest) = split_scheme(before)?;
    let scheme = scheme.to_ascii_lowercase();
    let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            return Ok(GoUrl { scheme, host: "" });
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err(
                "its first path segment holds a colon: the scheme, such as http://, is missing".to_owned()
            );
        }
    }
    let mut host = "";
    let mut path = rest;
    if (!scheme.is_empty() || !rest.starts_with("///")) && rest.starts_with("//") {
        let authority = &rest[2..];
        let end = authority.find('/').unwrap_or(authority.len());
        path = &authority[end..];
        host = check_authority(&scheme, &authority[..end])?;
    }
    check_escapes(path)?;
    Ok(GoUrl { scheme, host })
}

fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if i > 0 => {}
            b':' if i == 0 => return Err("the scheme, such as http://, is missing".to_owned()),
            b':' => return Ok((&text[..i], &text[i + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

/// `%` must be followed by two hexadecimal digits.
fn check_escapes(text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    let mut i = 0;
    while let Some(offset) = bytes[i..].iter().position(|byte| *byte == b'%') {
        i += offset;
        let digits = bytes.get(i + 1..i + 3).unwrap_or_default();
        if digits.len() < 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(
                "a % is not followed by two hexadecimal digits; write %25 for the % itself".to_owned()
            );
        }
        i += 3;
    }
    Ok(())
}

/// Checks `user:password@host:port` and gives the host with its port.
fn check_authority<'a>(scheme: &str, authority: &'a str) -> Result<&'a str, String> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (user, host),
        None => ("", authority),
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    if !user.bytes().all(allowed) {
        return Err(
            "the user or password before the @ holds a character that must be written as %XX".to_owned()
        );
    }
    check_escapes(user)?;
    check_host(scheme, host)?;
    Ok(host)
}

fn check_host(scheme: &str, host: &str) -> Result<(), String> {
    let port = match host.strip_prefix('[') {
        Some(literal) => {
            let Some((address, port)) = literal.rsplit_once(']') else {
                return Err("the ] after the address is missing".to_owned());
            };
            let address = address.split_once("%25").map_or(address, |(address, _)| address);
            if address.parse::<Ipv6Addr>().is_err() {
                return Err("what stands between [ and ] is not an IPv6 address".to_owned());
            }
            port
        }
        None if host.contains('[') => return Err("a [ stands within the host".to_owned()),
        None => {
            let strict = matches!(scheme, "http" | "https");
            let colon = if strict { host.find(':') } else { host.rfind(':') };
            let (name, port) = host.split_at(colon.unwrap_or(host.len()));
            check_host_name(name)?;
            port
        }
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    if (port.is_empty() || port.starts_with(':')) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    Err("what follows the host is not a port number".to_owned())
}

fn check_host_name(name: &str) -> Result<(), String> {
    check_escapes(name)?;
    let bytes = name.as_bytes();
    for (i, byte) in bytes.iter().enumerate() {
        let allowed =
            byte.is_ascii_alphanumeric() || *byte >= 0x80 || b"-_.~!$&'()*+,;=:[]<>\"".contains(byte);
        let escape_of_non_ascii = *byte == b'%' && bytes.get(i + 1).is_some_and(|digit| *digit >= b'8');
        if !allowed && !escape_of_non_ascii {
            return Err(format!("the host holds {:?}", char::from(*byte)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_go() {
        for (text, expected) in [
            ("http://host:9090/path?q=1#f", Some(("http", "host:9090"))),
            ("HTTPS://User:p%40ss@Host/", Some(("https", "Host"))),
            ("http://[::1]:80/", Some(("http", "[::1]:80"))),
            ("http://[fe80::1%25en0]:80/", Some(("http", "[fe80::1%25en0]:80"))),
            ("http://host:/", Some(("http", "host:"))),
            ("http://", Some(("http", ""))),
            ("", Some(("", ""))),
            ("*", Some(("", ""))),
            ("localhost:9090", Some(("localhost", ""))),
            ("/path", Some(("", ""))),
            ("//host/path", Some(("", "host"))),
            ("mailto:a@b", Some(("mailto", ""))),
            ("http://ho%C3%A9t/", Some(("http", "ho%C3%A9t"))),
            ("1host/x", Some(("", ""))),
            ("127.0.0.1:9090", None),
            (":9090", None),
            ("http://host:port/", None),
            ("http://host:1:2/", None),
            ("http://ho st/", None),
            ("http://a b@host/", None),
            ("http://host/%zz", None),
            ("http://host/%", None),
            ("http://[::1/", None),
            ("http://[1.2.3.4]/", None),
            ("http://h%41st/", None),
            ("http://host/\n", None),
            ("http://{{host}}/", None),
            ("http://host/#%", None),
        ] {
            let parsed = parse(text).ok();
            let parts = parsed.as_ref().map(|url| (url.scheme.as_str(), url.host));
            assert_eq!(parts, expected, "{text}");
        }
    }
}

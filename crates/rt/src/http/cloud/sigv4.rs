//! AWS Signature Version 4 of a request's headers and body, as `aws-sdk-go-v2` signs for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ::http::header::{AUTHORIZATION, HOST};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method};
use aws_lc_rs::{digest, hmac};
use outrigger_model::sample::Timestamp;
use url::{Url, form_urlencoded};

use super::AwsCredentials;
use super::error::CloudAuthError;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// Headers that are not signed: proxies and libraries on the way may change them.
const UNSIGNED: [&str; 8] = [
    "accept-encoding",
    "authorization",
    "connection",
    "expect",
    "transfer-encoding",
    "uber-trace-id",
    "user-agent",
    "x-amzn-trace-id",
];

/// A request on its way out.
pub(in crate::http) struct Outgoing<'a> {
    pub(in crate::http) method: &'a Method,
    pub(in crate::http) url: &'a Url,
    pub(in crate::http) body: &'a [u8],
}

/// What a signature is good for.
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) time: Timestamp,
}

/// Signs the request: sets `Authorization`, `X-Amz-Date` and, for a session, `X-Amz-Security-Token`. `headers` must
/// hold `Host`.
pub(super) fn sign(
    request: &Outgoing<'_>,
    headers: &mut HeaderMap,
    credentials: &AwsCredentials,
    scope: &Scope<'_>,
) -> Result<(), CloudAuthError> {
    let time = basic_format(scope.time);
    headers.insert(DATE, own_value(DATE.as_str(), &time)?);
    headers.remove(SECURITY_TOKEN);
    if let Some(token) = &credentials.session_token {
        let mut value = own_value(SECURITY_TOKEN.as_str(), token.expose())?;
        value.set_sensitive(true);
        headers.insert(SECURITY_TOKEN, value);
    }
    let (canonical, signed_headers) = canonical_request(request, headers)?;
    let date = &time[..8];
    let scope_text = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let to_sign = format!("{ALGORITHM}\n{time}\n{scope_text}\n{}", sha256(canonical.as_bytes()));
    let signature = hex(&mac(&signing_key(credentials, scope, date), &to_sign));
    let authorization = format!(
        "{ALGORITHM} Credential={}/{scope_text}, SignedHeaders={signed_headers}, Signature={signature}",
        credentials.access_key
    );
    let mut authorization = own_value("authorization", &authorization)?;
    authorization.set_sensitive(true);
    headers.insert(AUTHORIZATION, authorization);
    Ok(())
}

fn own_value(name: &str, value: &str) -> Result<HeaderValue, CloudAuthError> {
    HeaderValue::try_from(value).map_err(|_| CloudAuthError::Header(name.to_owned()))
}

/// `20150830T123600Z`.
fn basic_format(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_millisecond(time.millis()).unwrap_or_default();
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn signing_key(credentials: &AwsCredentials, scope: &Scope<'_>, date: &str) -> Vec<u8> {
    let mut key = format!("AWS4{}", credentials.secret_key.expose()).into_bytes();
    for part in [date, scope.region, scope.service, "aws4_request"] {
        key = mac(&key, part);
    }
    key
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The canonical request and the names of its headers.
fn canonical_request(
    request: &Outgoing<'_>,
    headers: &HeaderMap,
) -> Result<(String, String), CloudAuthError> {
    let mut signed: BTreeMap<&str, String> = BTreeMap::new();
    for name in headers.keys() {
        if UNSIGNED.contains(&name.as_str()) {
            continue;
        }
        let mut values = Vec::new();
        for value in headers.get_all(name) {
            let text = value.to_str().map_err(|_| CloudAuthError::Header(name.to_string()))?;
            values.push(text.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
        }
        signed.insert(name.as_str(), values.join(","));
    }
    debug_assert!(signed.contains_key(HOST.as_str()), "host is always signed");
    let names = signed.keys().copied().collect::<Vec<_>>().join(";");
    let mut canonical = format!(
        "{}\n{}\n{}\n",
        request.method,
        canonical_path(request.url.path()),
        canonical_query(request.url.query().unwrap_or(""))
    );
    for (name, value) in signed {
        // Writing to a string cannot fail.
        let _ = writeln!(canonical, "{name}:{value}");
    }
    let _ = write!(canonical, "\n{names}\n{}", sha256(request.body));
    Ok((canonical, names))
}

/// The path as it is sent without empty elements, escaped once more, as every service but S3 wants it.
fn canonical_path(sent: &str) -> String {
    let elements: Vec<&str> = sent.split('/').filter(|element| !element.is_empty()).collect();
    let mut path = String::from("/");
    path.push_str(&elements.join("/"));
    if sent.ends_with('/') && !elements.is_empty() {
        path.push('/');
    }
    escape(&path, true)
}

/// Parameters sorted by escaped name and value.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (escape(&name, false), escape(&value, false)))
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// Percent encoding of everything but RFC 3986's unreserved characters.
fn escape(text: &str, is_path: bool) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (is_path && byte == b'/') {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

#[cfg(test)]
mod tests;

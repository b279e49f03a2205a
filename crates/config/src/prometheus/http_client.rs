//! `http_config`: authentication, TLS, proxy and headers (Prometheus `common/config/http_config.go`).

use outrigger_model::http::{
    BasicUsername, HeaderConfig, HttpAuth, HttpClientConfig, OAuth2Config, OAuth2Grant, PemSource,
    ProxyConfig, TlsConfig, TlsVersion,
};
use outrigger_model::secret::{Secret, SecretSource};

use super::files::{Files, ReferencedFileKind};
use crate::go_url;
use crate::yaml::scalar::Resolved;
use crate::yaml::walk::{Cursor, Section};
use crate::yaml::{Node, Value};

/// An HTTP configuration as it was read.
pub(super) struct ReadHttp {
    pub(super) config: HttpClientConfig,
    /// Which of `basic_auth`, `authorization` and `oauth2` are there.
    pub(super) auth_keys: Vec<&'static str>,
    /// Differs from the default in any way that Prometheus sees.
    pub(super) customized: bool,
}

/// Advice for keys that used to be part of HTTP configurations.
pub(super) const RETIRED: [(&str, &str); 4] = [
    ("bearer_token_files", "write authorization with credentials_file"),
    ("headers", "write http_headers, with a list of values for each header"),
    ("insecure_skip_verify", "write it below tls_config"),
    ("ca_file", "write it below tls_config"),
];

const AT_MOST_ONE: &str = "keep one way to authenticate";

/// Reads the HTTP keys that stand inline in `section`, starting from `default`.
pub(super) fn read(section: &Section<'_>, default: &HttpClientConfig, files: &Files<'_>) -> ReadHttp {
    let basic = section.get("basic_auth").and_then(|value| basic_auth(&value, files));
    let authorization = section.get("authorization").and_then(|value| authorization(&value, files));
    let oauth2 = section.get("oauth2").and_then(|value| oauth2(&value, files));
    let bearer = bearer_token(section, files);
    let auth_keys: Vec<&str> = [
        ("basic_auth", basic.is_some()),
        ("authorization", authorization.is_some()),
        ("oauth2", oauth2.is_some()),
        (bearer.as_ref().map_or("bearer_token", |(key, _)| key), bearer.is_some()),
    ]
    .into_iter()
    .filter_map(|(key, there)| there.then_some(key))
    .collect();
    if let [first, second, ..] = auth_keys[..] {
        section.error_at(second, format!("{first} and {second} are both set"), AT_MOST_ONE);
    }
    let headers = section.get("http_headers");
    let proxy = proxy(section);
    let config = HttpClientConfig {
        auth: basic.or(authorization).or(oauth2).or(bearer.map(|(_, auth)| auth)),
        tls: section.get("tls_config").map(|value| tls(&value, files)).unwrap_or_default(),
        follow_redirects: section.boolean("follow_redirects").unwrap_or(default.follow_redirects),
        enable_http2: section.boolean("enable_http2").unwrap_or(default.enable_http2),
        headers: headers.as_ref().map(|value| http_headers(value, files)).unwrap_or_default(),
        proxy,
    };
    let set = |key: &str| section.cursor().node().get(key).is_some_and(|value| !value.is_null());
    let customized =
        config != *default || ["http_headers", "proxy_url", "proxy_connect_header"].into_iter().any(set);
    let auth_keys =
        auth_keys.iter().map(|key| if key.starts_with("bearer") { "authorization" } else { key }).collect();
    ReadHttp { config, auth_keys, customized }
}

/// A value that is inline, in a file, or the name of a secret that Prometheus itself has no manager for.
struct OneOfThree {
    source: Option<SecretSource>,
    reference: bool,
}

impl OneOfThree {
    fn is_set(&self) -> bool {
        self.source.is_some() || self.reference
    }
}

/// Reads `<name>`, `<name>_file` and `<name>_ref`, of which one may be set.
fn one_of_three(
    section: &Section<'_>,
    [inline, file, reference]: [&'static str; 3],
    kind: ReferencedFileKind,
    files: &Files<'_>,
) -> OneOfThree {
    let text = |key: &'static str| section.get(key).and_then(|value| value.secret().text()).unwrap_or("");
    let value = text(inline);
    let path = section.get(file).and_then(|value| files.path(&value, kind));
    let named = !text(reference).is_empty();
    let set = [(inline, !value.is_empty()), (file, path.is_some()), (reference, named)];
    let keys: Vec<&'static str> = set.into_iter().filter_map(|(key, there)| there.then_some(key)).collect();
    if let [first, second, ..] = keys[..] {
        section.error_at(
            second,
            format!("{first} and {second} are both set"),
            format!("keep {first} or {second}"),
        );
    }
    let source = match path {
        _ if !value.is_empty() => Some(SecretSource::Inline(Secret::new(value))),
        Some(path) => Some(SecretSource::File(path)),
        None => None,
    };
    OneOfThree { source, reference: named }
}

fn basic_auth(value: &Cursor<'_>, files: &Files<'_>) -> Option<HttpAuth> {
    let section = value.section()?;
    let user = section.owned_text("username");
    let user_file =
        section.get("username_file").and_then(|value| files.path(&value, ReferencedFileKind::Secret));
    let user_ref = section.owned_text("username_ref");
    let set = [
        ("username", !user.is_empty()),
        ("username_file", user_file.is_some()),
        ("username_ref", !user_ref.is_empty()),
    ];
    let keys: Vec<&'static str> = set.into_iter().filter_map(|(key, there)| there.then_some(key)).collect();
    if let [first, second, ..] = keys[..] {
        section.error_at(
            second,
            format!("{first} and {second} are both set"),
            format!("keep {first} or {second}"),
        );
    }
    let keys = ["password", "password_file", "password_ref"];
    let password = one_of_three(&section, keys, ReferencedFileKind::Secret, files);
    section.finish(&[("user", "write username"), ("pass", "write password")]);
    let username = user_file.map_or(BasicUsername::Inline(user), BasicUsername::File);
    Some(HttpAuth::Basic { username, password: password.source })
}

fn authorization(value: &Cursor<'_>, files: &Files<'_>) -> Option<HttpAuth> {
    let section = value.section()?;
    let scheme = section.owned_text("type").trim().to_owned();
    if scheme.eq_ignore_ascii_case("basic") {
        section.error_at(
            "type",
            "the type cannot be Basic",
            "write basic_auth with username and password instead",
        );
    }
    let keys = ["credentials", "credentials_file", "credentials_ref"];
    let credentials = one_of_three(&section, keys, ReferencedFileKind::Secret, files);
    section.finish(&[("token", "write credentials"), ("bearer_token", "write credentials")]);
    let scheme = if scheme.is_empty() { "Bearer".to_owned() } else { scheme };
    Some(HttpAuth::Authorization { scheme, credentials: credentials.source })
}

/// `bearer_token` and `bearer_token_file`, which are older names for `authorization`.
fn bearer_token(section: &Section<'_>, files: &Files<'_>) -> Option<(&'static str, HttpAuth)> {
    let token = section.get("bearer_token").and_then(|value| value.secret().text()).unwrap_or("");
    let file =
        section.get("bearer_token_file").and_then(|value| files.path(&value, ReferencedFileKind::Secret));
    let (key, credentials) = match (token, file) {
        ("", None) => return None,
        ("", Some(file)) => ("bearer_token_file", SecretSource::File(file)),
        (token, file) => {
            if file.is_some() {
                let message = "bearer_token and bearer_token_file are both set";
                section.error_at("bearer_token_file", message, "keep one of the two");
            }
            ("bearer_token", SecretSource::Inline(Secret::new(token)))
        }
    };
    Some((key, HttpAuth::Authorization { scheme: "Bearer".to_owned(), credentials: Some(credentials) }))
}

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

fn oauth2(value: &Cursor<'_>, files: &Files<'_>) -> Option<HttpAuth> {
    let section = value.section()?;
    let client_id = section.owned_text("client_id");
    if client_id.is_empty() {
        section.error_at("client_id", "the client id is missing", "add client_id");
    }
    let token_url = section.owned_text("token_url");
    if token_url.is_empty() {
        section.error_at("token_url", "the token endpoint is missing", "add token_url");
    }
    let config = OAuth2Config {
        client_id,
        grant: oauth2_grant(&section, files),
        scopes: section.texts("scopes"),
        token_url,
        endpoint_params: section.get("endpoint_params").map(|value| value.text_map()).unwrap_or_default(),
        tls: section.get("tls_config").map(|value| tls(&value, files)).unwrap_or_default(),
        proxy: proxy(&section),
    };
    section.finish(&[]);
    Some(HttpAuth::OAuth2(Box::new(config)))
}

fn oauth2_grant(section: &Section<'_>, files: &Files<'_>) -> OAuth2Grant {
    let secret_keys = ["client_secret", "client_secret_file", "client_secret_ref"];
    let key_keys = ["client_certificate_key", "client_certificate_key_file", "client_certificate_key_ref"];
    let text = |key| Some(section.owned_text(key)).filter(|text| !text.is_empty());
    let (key_id, algorithm) = (text("client_certificate_key_id"), text("signature_algorithm"));
    let (issuer, audience) = (text("iss"), text("audience"));
    let claims = section.get("claims").and_then(|value| claims(&value));
    let source = |keys| one_of_three(section, keys, ReferencedFileKind::Secret, files).source;
    if section.text("grant_type") != Some(JWT_BEARER) {
        section.know(&key_keys);
        return OAuth2Grant::ClientSecret(source(secret_keys));
    }
    section.know(&secret_keys);
    let algorithm = algorithm.unwrap_or_else(|| "RS256".to_owned());
    if !["RS256", "RS384", "RS512"].contains(&&*algorithm) {
        let message = "the signature algorithm is not known";
        section.error_at("signature_algorithm", message, "write RS256, RS384 or RS512");
    }
    OAuth2Grant::JwtBearer { key: source(key_keys), key_id, algorithm, issuer, audience, claims }
}

/// The claims as JSON text.
fn claims(value: &Cursor<'_>) -> Option<String> {
    let entries = value.entries();
    if entries.is_empty() {
        return None;
    }
    let pairs = entries.iter().map(|(name, value)| ((*name).to_owned(), json(value.node())));
    Some(serde_json::Value::Object(pairs.collect()).to_string())
}

fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Sequence(items) => items.iter().map(|item| json(item)).collect(),
        Value::Mapping(entries) => {
            let key = |entry: &crate::yaml::Entry| entry.key.text().unwrap_or("").to_owned();
            entries.iter().map(|entry| (key(entry), json(&entry.value))).collect()
        }
        Value::Scalar(scalar) => match scalar.resolve() {
            Resolved::Null => serde_json::Value::Null,
            Resolved::Bool(value) => value.into(),
            Resolved::Int(value) => i64::try_from(value).map_or_else(|_| (value as f64).into(), Into::into),
            Resolved::Float(value) => value.into(),
            Resolved::Text => scalar.text().into(),
        },
    }
}

/// Reads `tls_config`.
pub(super) fn tls(value: &Cursor<'_>, files: &Files<'_>) -> TlsConfig {
    let Some(section) = value.section() else { return TlsConfig::default() };
    let ca = one_of_three(&section, ["ca", "ca_file", "ca_ref"], ReferencedFileKind::TlsCa, files);
    let cert =
        one_of_three(&section, ["cert", "cert_file", "cert_ref"], ReferencedFileKind::TlsCertificate, files);
    let key = one_of_three(&section, ["key", "key_file", "key_ref"], ReferencedFileKind::TlsKey, files);
    match (cert.is_set(), key.is_set()) {
        (true, false) => value.error("there is a client certificate without its key", "add key_file or key"),
        (false, true) => {
            value.error("there is a client key without its certificate", "add cert_file or cert")
        }
        _ => {}
    }
    let version = |name| section.get(name).and_then(|value| tls_version(&value));
    let config = TlsConfig {
        ca: ca.source.map(pem),
        cert: cert.source.map(pem),
        key: key.source,
        server_name: Some(section.owned_text("server_name")).filter(|name| !name.is_empty()),
        insecure_skip_verify: section.boolean("insecure_skip_verify").unwrap_or(false),
        min_version: version("min_version"),
        max_version: version("max_version"),
    };
    section
        .finish(&[("skip_verify", "write insecure_skip_verify"), ("insecure", "write insecure_skip_verify")]);
    config
}

fn tls_version(value: &Cursor<'_>) -> Option<TlsVersion> {
    if value.is_absent() {
        return None;
    }
    let known = [
        ("TLS10", TlsVersion::Tls10),
        ("TLS11", TlsVersion::Tls11),
        ("TLS12", TlsVersion::Tls12),
        ("TLS13", TlsVersion::Tls13),
    ];
    value.one_of("TLS version", &known)
}

fn pem(source: SecretSource) -> PemSource {
    match source {
        SecretSource::Inline(text) => PemSource::Inline(text.expose().to_owned()),
        SecretSource::File(path) => PemSource::File(path),
    }
}

fn proxy(section: &Section<'_>) -> ProxyConfig {
    let url = section.get("proxy_url").filter(|value| !value.is_absent());
    let url_text = url.as_ref().and_then(checked_url).unwrap_or_default();
    let no_proxy = section.owned_text("no_proxy");
    let from_environment = section.boolean("proxy_from_environment").unwrap_or(false);
    let connect = section.get("proxy_connect_header");
    let connect_headers = connect.as_ref().map(proxy_headers).unwrap_or_default();
    if !connect_headers.is_empty() && !from_environment && url_text.is_empty() {
        let message = "there are headers for a proxy but no proxy";
        section.error_at("proxy_connect_header", message, "add proxy_url or proxy_from_environment: true");
    }
    if from_environment && !url_text.is_empty() {
        let message = "proxy_url and proxy_from_environment are both set";
        section.error_at("proxy_url", message, "keep one of the two");
    }
    if from_environment && !no_proxy.is_empty() {
        let message = "no_proxy and proxy_from_environment are both set";
        section.error_at("no_proxy", message, "remove it; NO_PROXY is taken from the environment too");
    } else if url.is_none() && !no_proxy.is_empty() {
        section.error_at("no_proxy", "there are exceptions from a proxy but no proxy", "add proxy_url");
    }
    ProxyConfig {
        url: Some(url_text).filter(|url| !url.is_empty()).map(Secret::new),
        no_proxy: Some(no_proxy).filter(|hosts| !hosts.is_empty()),
        from_environment,
        connect_headers,
    }
}

/// A URL that Go's `url.Parse` accepts; null is not one of them and must be handled before.
pub(super) fn checked_url(value: &Cursor<'_>) -> Option<String> {
    checked_url_text(value, value.text()?)
}

/// The URL that `value` became.
pub(super) fn checked_url_text(value: &Cursor<'_>, text: &str) -> Option<String> {
    match go_url::parse(text) {
        Ok(_) => Some(text.to_owned()),
        Err(problem) => {
            let shown = if text.contains('@') { "the URL".to_owned() } else { value.shown() };
            value
                .error(format!("{shown} is not a URL: {problem}"), "write for example http://host:9090/path");
            None
        }
    }
}

fn proxy_headers(value: &Cursor<'_>) -> Vec<(String, Vec<Secret>)> {
    let secrets = |list: &Cursor<'_>| list.clone().secret().texts().into_iter().map(Secret::new).collect();
    let mut headers: Vec<_> =
        value.entries().iter().map(|(name, list)| ((*name).to_owned(), secrets(list))).collect();
    headers.sort_by(|(a, _): &(String, Vec<Secret>), (b, _)| a.cmp(b));
    headers
}

/// Headers that Prometheus sets itself or that change the connection.
const RESERVED: [&str; 18] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
];

fn http_headers(value: &Cursor<'_>, files: &Files<'_>) -> Vec<HeaderConfig> {
    let mut headers = Vec::new();
    for (name, value) in value.entries() {
        if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            value.error("this header cannot be set here", reserved_fix(name));
        }
        let Some(section) = value.section() else { continue };
        let inline = |text: String| SecretSource::Inline(Secret::new(text));
        let plain = section.texts("values").into_iter().map(inline);
        let secrets = section.get("secrets").map(|list| list.secret().texts()).unwrap_or_default();
        let paths = section.items("files");
        let paths = paths.iter().filter_map(|path| files.path(path, ReferencedFileKind::Secret));
        let values =
            plain.chain(secrets.into_iter().map(inline)).chain(paths.map(SecretSource::File)).collect();
        headers.push(HeaderConfig { name: name.to_owned(), values });
        section.finish(&[
            ("value", "write values, which is a list"),
            ("secret", "write secrets, which is a list"),
        ]);
    }
    headers.sort_by(|a, b| a.name.cmp(&b.name));
    headers
}

fn reserved_fix(name: &str) -> &'static str {
    match name.to_ascii_lowercase().as_str() {
        "authorization" => "write basic_auth, authorization or oauth2",
        _ => "remove it: it is set by the scraper or belongs to the connection",
    }
}

//! `--tls-config`: the web configuration file of Prometheus' exporters (`prometheus/exporter-toolkit`): TLS, client
//! certificates, users, response headers, a limit of requests.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use outrigger_model::http::{PemSource, TlsVersion};
use outrigger_model::secret::{Secret, SecretSource};
use outrigger_rt::server::{ClientCertificates, ServerTls};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::Instant;

/// Response headers that may be set, and the values that some of them are bound to.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];
/// What a password is compared with when there is no such user, so that both take as long.
const NOBODY: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";
/// Most answers about passwords that are remembered.
const MAX_REMEMBERED: usize = 100;
/// Largest file in bytes.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    tls_server_config: Option<Tls>,
    http_server_config: Http,
    rate_limit: RateLimit,
    basic_auth_users: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tls {
    cert: Option<String>,
    key: Option<String>,
    client_ca: Option<String>,
    cert_file: Option<String>,
    key_file: Option<String>,
    client_auth_type: Option<String>,
    client_ca_file: Option<String>,
    cipher_suites: Vec<String>,
    curve_preferences: Vec<String>,
    min_version: Option<String>,
    max_version: Option<String>,
    #[allow(dead_code, reason = "cipher suites are always the server's to prefer, as Go's are")]
    prefer_server_cipher_suites: Option<bool>,
    client_allowed_sans: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Http {
    http2: bool,
    headers: BTreeMap<String, String>,
}

impl Default for Http {
    fn default() -> Self {
        Self { http2: true, headers: BTreeMap::new() }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RateLimit {
    burst: u32,
    interval: Option<String>,
}

/// How the ports are guarded.
#[derive(Clone)]
pub(super) struct WebConfig {
    /// HTTPS, if it is.
    pub(super) tls: Option<ServerTls>,
    guard: Arc<Guard>,
}

/// What each request passes.
struct Guard {
    path: PathBuf,
    rules: Mutex<(Option<SystemTime>, Arc<Rules>)>,
    limiter: Option<Mutex<Limiter>>,
    /// What passwords came to, by the digest of user, hash and password.
    remembered: Mutex<HashMap<[u8; 32], bool>>,
    /// Comparing is slow on purpose: one at a time.
    comparing: tokio::sync::Mutex<()>,
}

/// What follows the file while the process runs.
#[derive(Debug, Default)]
struct Rules {
    users: BTreeMap<String, String>,
    headers: HeaderMap,
}

impl WebConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// What cannot be used, with the file and the key.
    pub(super) fn load(path: &str) -> anyhow::Result<Self> {
        let path = PathBuf::from(path);
        let file = read(&path)?;
        let rules = rules(&path, &file)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        let context = || format!("--tls-config {}", path.display());
        let tls = match &file.tls_server_config {
            Some(tls) => server_tls(tls, &folder, file.http_server_config.http2).with_context(context)?,
            None => None,
        };
        let limiter = Limiter::new(&file.rate_limit).with_context(context)?.map(Mutex::new);
        let guard = Guard {
            rules: Mutex::new((modified(&path), Arc::new(rules))),
            path,
            limiter,
            remembered: Mutex::default(),
            comparing: tokio::sync::Mutex::default(),
        };
        Ok(Self { tls, guard: Arc::new(guard) })
    }

    /// Puts the guard before a router.
    pub(super) fn guard(&self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self.guard.clone(), pass))
    }
}

fn read(path: &Path) -> anyhow::Result<File> {
    let shown = path.display();
    let length = std::fs::metadata(path).with_context(|| format!("--tls-config {shown}"))?.len();
    if length > MAX_BYTES {
        bail!("--tls-config {shown}: more than {MAX_BYTES} bytes");
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("--tls-config {shown}"))?;
    serde_saphyr::from_str::<Option<File>>(&text).map(Option::unwrap_or_default).map_err(|error| {
        let error = error.without_snippet();
        let place = error.location().map(|at| format!(":{}:{}", at.line(), at.column())).unwrap_or_default();
        anyhow::anyhow!("--tls-config {shown}{place}: {error}")
    })
}

fn rules(path: &Path, file: &File) -> anyhow::Result<Rules> {
    let shown = path.display();
    for (user, hash) in &file.basic_auth_users {
        let parts = hash.parse::<bcrypt::HashParts>();
        parts.ok().with_context(|| {
            format!("--tls-config {shown}: basic_auth_users: {user}: not a bcrypt hash (htpasswd -nBC 10 makes one)")
        })?;
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &file.http_server_config.headers {
        let key = format!("--tls-config {shown}: http_server_config.headers: {name}");
        let Some((_, allowed)) = HEADERS.iter().find(|(known, _)| known == name) else {
            let known: Vec<&str> = HEADERS.iter().map(|(name, _)| *name).collect();
            bail!("{key}: only {} can be set", known.join(", "));
        };
        if !allowed.is_empty() && !allowed.contains(&value.as_str()) {
            bail!("{key}: {value:?} is none of {}", allowed.join(", "));
        }
        headers.insert(HeaderName::try_from(name)?, HeaderValue::from_str(value).context(key)?);
    }
    Ok(Rules { users: file.basic_auth_users.clone(), headers })
}

/// `None` when nothing of TLS is said.
fn server_tls(tls: &Tls, folder: &Path, http2: bool) -> anyhow::Result<Option<ServerTls>> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let pem = |inline, file| match (given(file), given(inline)) {
        (Some(file), _) => Some(PemSource::File(folder.join(file))),
        (None, Some(text)) => Some(PemSource::Inline(text)),
        (None, None) => None,
    };
    let cert = pem(&tls.cert, &tls.cert_file);
    let key = match (given(&tls.key_file), given(&tls.key)) {
        (Some(file), _) => Some(SecretSource::File(folder.join(file))),
        (None, Some(text)) => Some(SecretSource::Inline(Secret::new(text))),
        (None, None) => None,
    };
    let client_ca = pem(&tls.client_ca, &tls.client_ca_file);
    let policy = given(&tls.client_auth_type);
    if cert.is_none() && key.is_none() && client_ca.is_none() && policy.is_none() {
        return Ok(None);
    }
    let cert = cert.context("tls_server_config: missing one of cert or cert_file")?;
    let key = key.context("tls_server_config: missing one of key or key_file")?;
    let (client_ca, clients) = client_certificates(policy.as_deref(), client_ca)?;
    if tls.client_allowed_sans.is_some() {
        bail!(
            "tls_server_config: client_allowed_sans is not supported: give clients an authority of their own"
        );
    }
    for (key, list) in [("cipher_suites", &tls.cipher_suites), ("curve_preferences", &tls.curve_preferences)]
    {
        if !list.is_empty() {
            tracing::warn!(
                "tls_server_config: {key} has no effect: only suites and curves that are safe are offered"
            );
        }
    }
    let version = |key: &str, text: &Option<String>| -> anyhow::Result<Option<TlsVersion>> {
        let Some(text) = given(text) else { return Ok(None) };
        let known = [
            ("TLS10", TlsVersion::Tls10),
            ("TLS11", TlsVersion::Tls11),
            ("TLS12", TlsVersion::Tls12),
            ("TLS13", TlsVersion::Tls13),
        ];
        let found = known.into_iter().find(|(name, _)| *name == text).map(|(_, version)| version);
        found
            .map(Some)
            .with_context(|| format!("tls_server_config: {key}: {text:?} is none of TLS10 to TLS13"))
    };
    Ok(Some(ServerTls {
        client_certificates: clients,
        min_version: version("min_version", &tls.min_version)?,
        max_version: version("max_version", &tls.max_version)?,
        http2,
        ..ServerTls::new(cert, key, client_ca)
    }))
}

fn client_certificates(
    policy: Option<&str>,
    authority: Option<PemSource>,
) -> anyhow::Result<(Option<PemSource>, ClientCertificates)> {
    let needed = "tls_server_config: client_auth_type";
    match (policy.unwrap_or("NoClientCert"), authority) {
        ("NoClientCert", None) => Ok((None, ClientCertificates::Required)),
        ("NoClientCert", Some(_)) => {
            bail!(
                "tls_server_config: client CA's have been configured without a Client Auth Policy (client_auth_type)"
            )
        }
        ("RequireAndVerifyClientCert", Some(authority)) => {
            Ok((Some(authority), ClientCertificates::Required))
        }
        ("VerifyClientCertIfGiven", Some(authority)) => Ok((Some(authority), ClientCertificates::IfGiven)),
        (policy @ ("RequireAndVerifyClientCert" | "VerifyClientCertIfGiven"), None) => {
            bail!("{needed}: {policy} needs client_ca or client_ca_file")
        }
        (policy @ ("RequestClientCert" | "RequireAnyClientCert" | "RequireClientCert"), _) => bail!(
            "{needed}: {policy} accepts certificates that anybody can make and is not supported: \
             write RequireAndVerifyClientCert"
        ),
        (policy, _) => bail!("{needed}: {policy:?} is unknown: write RequireAndVerifyClientCert"),
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|data| data.modified()).ok()
}

async fn pass(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let Some(rules) = guard.rules() else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error\n").into_response();
    };
    if guard.limiter.as_ref().is_some_and(|limiter| !limiter.lock().allows(Instant::now())) {
        return (StatusCode::TOO_MANY_REQUESTS, "Too Many Requests\n").into_response();
    }
    let mut response = if guard.admits(&rules, request.headers()).await {
        next.run(request).await
    } else {
        let challenge = [(WWW_AUTHENTICATE, "Basic")];
        (StatusCode::UNAUTHORIZED, challenge, "Unauthorized\n").into_response()
    };
    response.headers_mut().extend(rules.headers.clone());
    response
}

impl Guard {
    /// Users and headers as the file has them now; `None` when it cannot be read.
    fn rules(&self) -> Option<Arc<Rules>> {
        let now = modified(&self.path);
        let mut known = self.rules.lock();
        if now.is_some() && known.0 == now {
            return Some(known.1.clone());
        }
        match read(&self.path).and_then(|file| rules(&self.path, &file)) {
            Ok(rules) => {
                *known = (now, Arc::new(rules));
                Some(known.1.clone())
            }
            Err(error) => {
                tracing::error!("requests are refused: {error:#}");
                None
            }
        }
    }

    async fn admits(&self, rules: &Rules, headers: &HeaderMap) -> bool {
        if rules.users.is_empty() {
            return true;
        }
        let Some((user, password)) = basic(headers) else { return false };
        let known = rules.users.get(&user);
        let hash = known.map_or(NOBODY, String::as_str).to_owned();
        let mut key = Vec::new();
        for part in [&user, &hash, &password] {
            key.extend_from_slice(&(part.len() as u64).to_le_bytes());
            key.extend_from_slice(part.as_bytes());
        }
        let key: [u8; 32] = digest(&SHA256, &key).as_ref().try_into().expect("SHA-256 has 32 bytes");
        let remembered = self.remembered.lock().get(&key).copied();
        if let Some(admitted) = remembered {
            return admitted;
        }
        let _one = self.comparing.lock().await;
        let compared = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash).unwrap_or(false));
        let admitted = compared.await.unwrap_or(false) && known.is_some();
        let mut remembered = self.remembered.lock();
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(key, admitted);
        admitted
    }
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// A token bucket: one request an interval, some at once.
struct Limiter {
    interval: Duration,
    burst: f64,
    tokens: f64,
    at: Option<Instant>,
}

impl Limiter {
    fn new(limit: &RateLimit) -> anyhow::Result<Option<Self>> {
        let Some(text) = limit.interval.as_deref() else { return Ok(None) };
        let interval = outrigger_state::options::parse_duration(text)
            .map_err(|problem| anyhow::anyhow!("rate_limit.interval: {problem}"))?;
        if interval.is_zero() {
            return Ok(None);
        }
        let burst = f64::from(limit.burst);
        Ok(Some(Self { interval, burst, tokens: burst, at: None }))
    }

    fn allows(&mut self, now: Instant) -> bool {
        if let Some(at) = self.at {
            self.tokens += (now - at).as_secs_f64() / self.interval.as_secs_f64();
        }
        self.at = Some(now);
        self.tokens = self.tokens.min(self.burst);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> anyhow::Result<WebConfig> {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("web.yml");
        std::fs::write(&path, text).expect("writable");
        WebConfig::load(path.to_str().expect("UTF-8"))
    }

    #[test]
    fn files_are_read_as_exporters_read_them() {
        for text in [
            "",
            "basic_auth_users: {}",
            "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n",
            "rate_limit: {burst: 3, interval: 1s}",
        ] {
            assert!(load(text).expect(text).tls.is_none(), "{text}");
        }
        let tls = "tls_server_config:\n  cert_file: a.pem\n  key_file: /k.pem\n  client_ca_file: c.pem\n  \
                   client_auth_type: RequireAndVerifyClientCert\n  min_version: TLS12\n";
        let tls = load(tls).expect("valid").tls.expect("TLS");
        assert!(matches!(&tls.cert, PemSource::File(path) if path.ends_with("a.pem") && path.is_absolute()));
        assert!(matches!(&tls.key, SecretSource::File(path) if path == Path::new("/k.pem")));
        assert!(tls.client_ca.is_some() && tls.http2);
        assert_eq!(tls.client_certificates, ClientCertificates::Required);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let cases = [
            ("tls_config: {}", "unknown field"),
            ("tls_server_config: {cert_file: a}", "missing one of key or key_file"),
            ("tls_server_config: {key_file: a}", "missing one of cert or cert_file"),
            ("tls_server_config: {cert: a, key: b, client_ca: c}", "without a Client Auth Policy"),
            (
                "tls_server_config: {cert: a, key: b, client_auth_type: RequireAndVerifyClientCert}",
                "needs client_ca or client_ca_file",
            ),
            ("tls_server_config: {cert: a, key: b, client_auth_type: RequestClientCert}", "is not supported"),
            ("tls_server_config: {cert: a, key: b, min_version: SSL3}", "min_version: \"SSL3\" is none of"),
            ("basic_auth_users: {a: secret}", "basic_auth_users: a: not a bcrypt hash"),
            ("http_server_config: {headers: {Server: a}}", "headers: Server: only Strict-Transport-Security"),
            ("http_server_config: {headers: {X-Frame-Options: a}}", "\"a\" is none of deny, sameorigin"),
            ("rate_limit: {burst: 1, interval: 1}", "rate_limit.interval"),
        ];
        for (text, message) in cases {
            let error = format!("{:#}", load(text).err().expect(text));
            assert!(error.contains(message) && error.contains("web.yml"), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn requests_are_limited_to_a_burst_and_then_a_rate() {
        let limit = RateLimit { burst: 2, interval: Some("1s".to_owned()) };
        let mut limiter = Limiter::new(&limit).expect("valid").expect("a limit");
        let begin = Instant::now();
        let answers =
            [0, 0, 0, 1_000, 1_100].map(|millis| limiter.allows(begin + Duration::from_millis(millis)));
        assert_eq!(answers, [true, true, false, true, false]);
    }

    #[tokio::test]
    async fn users_are_admitted_by_their_passwords() {
        let hash = bcrypt::hash("right", 4).expect("a hash");
        let config = load(&format!("basic_auth_users: {{\"a\": \"{hash}\"}}")).expect("valid");
        let rules = config.guard.rules.lock().1.clone();
        for (credentials, want) in
            [("a:right", true), ("a:wrong", false), ("b:right", false), ("a:right", true), ("a", false)]
        {
            let value = format!("Basic {}", BASE64_STANDARD.encode(credentials));
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().expect("a header"))]);
            assert_eq!(config.guard.admits(&rules, &headers).await, want, "{credentials}");
        }
        assert!(!config.guard.admits(&rules, &HeaderMap::new()).await);
    }
}

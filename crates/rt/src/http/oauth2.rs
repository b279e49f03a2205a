//! Access tokens by OAuth 2.0: client credentials (RFC 6749 section 4.4) and signed assertions (RFC 7523).
//!
//! Behaves as `golang.org/x/oauth2/clientcredentials` does for Prometheus, and beyond it: a token is renewed in the
//! background before it expires, so that requests do not wait for the token endpoint and survive its absence as
//! long as the token does; and a failed request for a token is not repeated by every request that needs one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{AUTHORIZATION, CONTENT_TYPE};
use ::http::{HeaderMap, HeaderValue, Method, StatusCode};
use arc_swap::ArcSwapOption;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use outrigger_model::clock::SharedClock;
use outrigger_model::http::{HttpClientConfig, OAuth2Config, OAuth2Grant};
use outrigger_model::secret::{Secret, SecretSource};
use rustls::SignatureScheme;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::form_urlencoded;

use super::error::{BuildClientError, HttpError};
use super::{ClientOptions, HttpClient, HttpRequest, PoolOptions};
use crate::file::{self, FileError};
use crate::resolver::Resolver;

/// Most bytes of a token endpoint's answer, as in Go.
const MAX_ANSWER: usize = 1 << 20;

/// A token is renewed this long before it expires, or at four fifths of its life if that is later.
const RENEW_BEFORE_EXPIRY: Duration = Duration::from_secs(60);

/// Time for renewing a token in the background.
const RENEWAL_DEADLINE: Duration = Duration::from_secs(30);

/// Time after a failure in which it is the answer to everybody who needs a token.
const FAILURE_HELD: Duration = Duration::from_secs(1);

/// A token that was refused (401) is asked for anew only if it is at least this old.
const REFUSED_TOKEN_AGE: Duration = Duration::from_secs(30);

/// How long a signed assertion is valid, as in Prometheus.
const ASSERTION_SECONDS: i64 = 600;

/// Why there is no access token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The client secret or key could not be read.
    #[error("read the client's secret")]
    Secret(#[source] FileError),
    /// The key does not sign.
    #[error("sign the assertion: {0}")]
    Sign(String),
    /// The token endpoint was not reached.
    #[error("request a token")]
    Request(#[source] Box<HttpError>),
    /// The token endpoint refused; the text is its own `error` and `error_description`.
    #[error("token endpoint answered {status}{text}")]
    Refused {
        /// Status code.
        status: u16,
        /// Empty, or `: ` and the endpoint's words.
        text: String,
    },
    /// The answer has no token.
    #[error("token endpoint's answer is not usable: {0}")]
    Answer(&'static str),
}

/// The tokens of one client.
#[derive(Debug)]
pub(super) struct TokenSource {
    config: OAuth2Config,
    client: HttpClient,
    clock: SharedClock,
    algorithm: &'static str,
    claims: Map<String, Value>,
    current: ArcSwapOption<Token>,
    fetching: Mutex<Fetching>,
}

/// One token; no part of it is ever shown.
struct Token {
    authorization: HeaderValue,
    /// The client secret that it was obtained with.
    secret: Secret,
    obtained: Instant,
    renew_at: Option<Instant>,
    expires_at: Option<Instant>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Token").field("obtained", &self.obtained).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Fetching {
    style: ClientSecretStyle,
    failure: Option<(Instant, Arc<TokenError>)>,
}

/// Where the token endpoint wants the client's secret; found out by trying, as Go does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ClientSecretStyle {
    #[default]
    Unknown,
    Header,
    Form,
}

impl Token {
    fn is_valid(&self, now: Instant, secret: &Secret) -> bool {
        self.secret == *secret && self.expires_at.is_none_or(|expiry| now < expiry)
    }

    fn wants_renewal(&self, now: Instant) -> bool {
        self.renew_at.is_some_and(|renew_at| now >= renew_at)
    }
}

impl TokenSource {
    pub(super) fn new(
        config: &OAuth2Config,
        enable_http2: bool,
        options: &ClientOptions,
        resolver: Resolver,
    ) -> Result<Self, BuildClientError> {
        let wrong = |key, problem: &str| BuildClientError::OAuth2 { key, problem: problem.to_owned() };
        let (mut algorithm, mut claims) = ("RS256", Map::new());
        if let OAuth2Grant::JwtBearer { algorithm: name, claims: text, .. } = &config.grant {
            algorithm = match name.as_str() {
                "" | "RS256" => "RS256",
                "RS384" => "RS384",
                "RS512" => "RS512",
                _ => return Err(wrong("signature_algorithm", "is not one of RS256, RS384, RS512")),
            };
            if let Some(text) = text {
                claims = serde_json::from_str(text).map_err(|_| wrong("claims", "is not a JSON object"))?;
            }
        } else if !config.scopes.is_empty() && config.endpoint_params.iter().any(|(key, _)| key == "scope") {
            return Err(wrong("endpoint_params", "sets scope, which scopes sets already"));
        }
        let client_config = HttpClientConfig {
            tls: config.tls.clone(),
            proxy: config.proxy.clone(),
            enable_http2,
            ..HttpClientConfig::default()
        };
        let client_options = ClientOptions {
            name: format!("{} oauth2", options.name),
            blame: outrigger_model::fault::Blame::Remote,
            pool: PoolOptions { max_idle_per_host: 1, max_idle: 20, idle_timeout: Duration::from_secs(10) },
            ..options.clone()
        };
        let client = HttpClient::new(&client_config, client_options, resolver)
            .map_err(|error| BuildClientError::TokenClient(Box::new(error)))?;
        super::destination::Destination::parse(&config.token_url)
            .map_err(|error| wrong("token_url", &format!("is not usable: {error}")))?;
        Ok(Self {
            config: config.clone(),
            client,
            clock: options.clock.clone(),
            algorithm,
            claims,
            current: ArcSwapOption::empty(),
            fetching: Mutex::default(),
        })
    }

    /// The value for `Authorization`.
    pub(super) async fn authorization(
        self: &Arc<Self>,
        deadline: Instant,
    ) -> Result<HeaderValue, Arc<TokenError>> {
        let secret = self.secret().map_err(|error| Arc::new(TokenError::Secret(error)))?;
        let now = Instant::now();
        if let Some(token) = &*self.current.load()
            && token.is_valid(now, &secret)
        {
            if token.wants_renewal(now) {
                self.renew(secret);
            }
            return Ok(token.authorization.clone());
        }
        let mut fetching = self.fetching.lock().await;
        if let Some(token) = &*self.current.load()
            && token.is_valid(Instant::now(), &secret)
        {
            return Ok(token.authorization.clone());
        }
        if let Some((at, error)) = &fetching.failure
            && at.elapsed() < FAILURE_HELD
        {
            return Err(error.clone());
        }
        self.fetch(&mut fetching, &secret, deadline).await
    }

    /// The server refused the token: forget it, if it is old enough to have been revoked meanwhile.
    pub(super) fn refused(&self, authorization: &HeaderValue) {
        let current = self.current.load();
        if let Some(token) = &*current
            && token.authorization == *authorization
            && token.obtained.elapsed() >= REFUSED_TOKEN_AGE
        {
            self.current.compare_and_swap(&current, None);
        }
    }

    /// Renews the token in the background, unless somebody is at it.
    fn renew(self: &Arc<Self>, secret: Secret) {
        let source = self.clone();
        tokio::spawn(async move {
            let Ok(mut fetching) = source.fetching.try_lock() else { return };
            let now = Instant::now();
            let done = source.current.load().as_ref().is_some_and(|token| !token.wants_renewal(now));
            let failed_recently =
                fetching.failure.as_ref().is_some_and(|(at, _)| at.elapsed() < 5 * FAILURE_HELD);
            if done || failed_recently {
                return;
            }
            if let Err(error) = source.fetch(&mut fetching, &secret, now + RENEWAL_DEADLINE).await {
                let error = outrigger_model::fault::chain(&*error);
                tracing::warn!(client = %source.client.name(), %error, "renewing the access token failed, using the old one");
            }
        });
    }

    async fn fetch(
        &self,
        fetching: &mut Fetching,
        secret: &Secret,
        deadline: Instant,
    ) -> Result<HeaderValue, Arc<TokenError>> {
        match self.request_token(fetching, secret, deadline).await {
            Ok(token) => {
                fetching.failure = None;
                let authorization = token.authorization.clone();
                self.current.store(Some(Arc::new(token)));
                Ok(authorization)
            }
            Err(error) => {
                let error = Arc::new(error);
                fetching.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn secret(&self) -> Result<Secret, FileError> {
        let source: Option<&SecretSource> = match &self.config.grant {
            OAuth2Grant::ClientSecret(secret) => secret.as_ref(),
            OAuth2Grant::JwtBearer { key, .. } => key.as_ref(),
        };
        source.map(file::read_secret).transpose().map(Option::unwrap_or_default)
    }

    async fn request_token(
        &self,
        fetching: &mut Fetching,
        secret: &Secret,
        deadline: Instant,
    ) -> Result<Token, TokenError> {
        if let OAuth2Grant::JwtBearer { .. } = &self.config.grant {
            let assertion = self.assertion(secret)?;
            let form = self.form("urn:ietf:params:oauth:grant-type:jwt-bearer", &[("assertion", &assertion)]);
            return self.post(&form, None, secret, deadline).await;
        }
        let client_id = self.config.client_id.as_str();
        if fetching.style != ClientSecretStyle::Form {
            let form = self.form("client_credentials", &[]);
            let escape = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let basic = super::proxy::basic_authorization(&escape(client_id), &escape(secret.expose()));
            let result = self.post(&form, Some(basic), secret, deadline).await;
            let may_want_form = fetching.style == ClientSecretStyle::Unknown;
            match result {
                Err(TokenError::Refused { .. } | TokenError::Answer(_)) if may_want_form => {}
                result => {
                    if result.is_ok() {
                        fetching.style = ClientSecretStyle::Header;
                    }
                    return result;
                }
            }
        }
        let mut extra = vec![("client_id", client_id)];
        if !secret.is_empty() {
            extra.push(("client_secret", secret.expose()));
        }
        let result = self.post(&self.form("client_credentials", &extra), None, secret, deadline).await;
        if result.is_ok() {
            fetching.style = ClientSecretStyle::Form;
        }
        result
    }

    /// The form, sorted by key; `endpoint_params` may replace the grant type, as in Go.
    fn form(&self, grant_type: &str, extra: &[(&str, &str)]) -> String {
        let scopes = self.config.scopes.join(" ");
        let mut fields: BTreeMap<&str, &str> = BTreeMap::from([("grant_type", grant_type)]);
        fields.extend(extra.iter().copied());
        fields.extend(self.config.endpoint_params.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        // An assertion carries the scopes itself.
        let in_form = matches!(self.config.grant, OAuth2Grant::ClientSecret(_));
        if in_form && !scopes.is_empty() {
            fields.insert("scope", &scopes);
        }
        form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
    }

    async fn post(
        &self,
        form: &str,
        authorization: Option<HeaderValue>,
        secret: &Secret,
        deadline: Instant,
    ) -> Result<Token, TokenError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        let request = HttpRequest {
            method: Method::POST,
            url: &self.config.token_url,
            headers,
            body: Bytes::copy_from_slice(form.as_bytes()),
            deadline,
        };
        let failed = |error| TokenError::Request(Box::new(error));
        let requested = Instant::now();
        // Boxed, since a client's request contains this one.
        let response = Box::pin(self.client.send(request)).await.map_err(failed)?;
        let status = response.status;
        let is_form =
            response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|kind| {
                kind.starts_with("application/x-www-form-urlencoded") || kind.starts_with("text/plain")
            });
        let body = response.body.read_all(MAX_ANSWER).await.map_err(|error| failed(error.into()))?;
        let answer = Answer::parse(&body, is_form);
        if !status.is_success() {
            return Err(refusal(status, answer.as_ref()));
        }
        let answer = answer.ok_or(TokenError::Answer("neither JSON nor a form"))?;
        if answer.error.is_some() {
            return Err(refusal(status, Some(&answer)));
        }
        answer.into_token(requested, secret.clone())
    }

    /// A signed JWT (RFC 7515 compact form).
    fn assertion(&self, key: &Secret) -> Result<String, TokenError> {
        let OAuth2Grant::JwtBearer { key_id, issuer, audience, .. } = &self.config.grant else {
            return Err(TokenError::Sign("not a signed grant".to_owned()));
        };
        let mut header = Map::new();
        if let Some(key_id) = key_id.as_ref().filter(|id| !id.is_empty()) {
            header.insert("kid".to_owned(), key_id.as_str().into());
        }
        let given = |value: &Option<String>, default: &str| {
            value.as_deref().filter(|text| !text.is_empty()).unwrap_or(default).to_owned()
        };
        let now = self.clock.now().millis() / 1000;
        let mut claims = Map::from_iter([
            ("iss".to_owned(), given(issuer, &self.config.client_id).into()),
            ("sub".to_owned(), self.config.client_id.as_str().into()),
            ("aud".to_owned(), given(audience, &self.config.token_url).into()),
            ("jti".to_owned(), random_id()?.into()),
            ("iat".to_owned(), now.into()),
            ("exp".to_owned(), (now + ASSERTION_SECONDS).into()),
        ]);
        if !self.config.scopes.is_empty() {
            claims.insert("scope".to_owned(), self.config.scopes.join(" ").into());
        }
        claims.extend(self.claims.clone());
        signed_jwt(self.algorithm, header, claims, key)
    }
}

/// A JWT (RFC 7515 compact form) that is signed with an RSA key in PEM. `header` may hold more than the algorithm,
/// which is `RS256`, `RS384` or `RS512`.
pub(super) fn signed_jwt(
    algorithm: &str,
    mut header: Map<String, Value>,
    claims: Map<String, Value>,
    key: &Secret,
) -> Result<String, TokenError> {
    let scheme = match algorithm {
        "RS384" => SignatureScheme::RSA_PKCS1_SHA384,
        "RS512" => SignatureScheme::RSA_PKCS1_SHA512,
        _ => SignatureScheme::RSA_PKCS1_SHA256,
    };
    header.insert("alg".to_owned(), algorithm.into());
    header.insert("typ".to_owned(), "JWT".into());
    let encode = |object: Map<String, Value>| URL_SAFE_NO_PAD.encode(Value::Object(object).to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = sign(key, scheme, signed.as_bytes())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn sign(key: &Secret, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, TokenError> {
    let failed = |reason: &str| TokenError::Sign(reason.to_owned());
    let der = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
        .map_err(|_| failed("the key is not a PEM private key"))?;
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der)
        .map_err(|_| failed("the key is of an unknown kind"))?;
    let signer = key.choose_scheme(&[scheme]).ok_or_else(|| failed("the key is not an RSA key"))?;
    signer.sign(message).map_err(|error| TokenError::Sign(error.to_string()))
}

pub(super) fn random_id() -> Result<String, TokenError> {
    let mut bytes = [0; 16];
    crate::tls::provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| TokenError::Sign("no random numbers from the system".to_owned()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn refusal(status: StatusCode, answer: Option<&Answer>) -> TokenError {
    let mut text = String::new();
    if let Some(answer) = answer {
        for part in [&answer.error, &answer.error_description].into_iter().flatten() {
            text.push_str(": ");
            text.extend(part.chars().filter(|c| !c.is_control()).take(200));
        }
    }
    TokenError::Refused { status: status.as_u16(), text }
}

/// What a token endpoint says (RFC 6749 sections 5.1 and 5.2).
#[derive(Default)]
struct Answer {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<f64>,
    error: Option<String>,
    error_description: Option<String>,
}

impl Answer {
    fn parse(body: &[u8], is_form: bool) -> Option<Self> {
        let mut answer = Self::default();
        if is_form {
            for (key, value) in form_urlencoded::parse(body) {
                answer.set(&key, &Value::String(value.into_owned()));
            }
            return Some(answer);
        }
        let fields: Map<String, Value> = serde_json::from_slice(body).ok()?;
        for (key, value) in &fields {
            answer.set(key, value);
        }
        Some(answer)
    }

    fn set(&mut self, key: &str, value: &Value) {
        let text = || value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        match key {
            "access_token" => self.access_token = text(),
            "token_type" => self.token_type = text(),
            // Some providers send a number, some a string.
            "expires_in" => {
                self.expires_in =
                    value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
            }
            "error" => self.error = text(),
            "error_description" => self.error_description = text(),
            _ => {}
        }
    }

    fn into_token(self, requested: Instant, secret: Secret) -> Result<Token, TokenError> {
        let access_token = self.access_token.ok_or(TokenError::Answer("no access_token in it"))?;
        let kind = self.token_type.as_deref().unwrap_or("Bearer");
        let kind = match kind.to_ascii_lowercase().as_str() {
            "bearer" => "Bearer",
            "mac" => "MAC",
            "basic" => "Basic",
            _ => kind,
        };
        let mut authorization = HeaderValue::try_from(format!("{kind} {access_token}"))
            .map_err(|_| TokenError::Answer("access_token has characters that no header may have"))?;
        authorization.set_sensitive(true);
        let lifetime = self.expires_in.filter(|seconds| *seconds > 0.0);
        let lifetime = lifetime.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let renew_after =
            lifetime.map(|life| life.saturating_sub(RENEW_BEFORE_EXPIRY).max(life.mul_f64(0.8)));
        let at = |after: Option<Duration>| after.and_then(|after| requested.checked_add(after));
        Ok(Token {
            authorization,
            secret,
            obtained: requested,
            renew_at: at(renew_after),
            expires_at: at(lifetime),
        })
    }
}

//! Asking identity providers.

use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, Method, StatusCode};
use bytes::Bytes;
use outrigger_model::fault::Blame;
use outrigger_model::http::{HttpClientConfig, ProxyConfig};
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::form_urlencoded;

use super::error::CloudAuthError;
use crate::http::error::BuildClientError;
use crate::http::{ClientOptions, HttpClient, HttpRequest, PoolOptions};
use crate::resolver::Resolver;

/// Most bytes of an answer.
const MAX_ANSWER: usize = 1 << 20;

/// Longest wait for a metadata service, which is on this machine or beside it.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Which way a provider is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// On this machine or its link: never through a proxy, no redirects, and soon.
    Local,
    /// Through the proxy of the environment, if there is one.
    Public,
}

/// A question to a provider.
pub(super) struct Ask<'a> {
    /// Name of the provider in messages.
    pub(super) provider: &'static str,
    pub(super) reach: Reach,
    pub(super) method: Method,
    pub(super) url: &'a str,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// An answer with any status.
pub(super) struct Reply {
    pub(super) provider: &'static str,
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

pub(super) struct IdentityClient {
    local: HttpClient,
    public: HttpClient,
}

impl IdentityClient {
    pub(super) fn new(options: &ClientOptions, resolver: Resolver) -> Result<Self, BuildClientError> {
        let options = ClientOptions {
            name: format!("{} identity", options.name),
            blame: Blame::Remote,
            pool: PoolOptions { max_idle_per_host: 1, max_idle: 20, idle_timeout: Duration::from_secs(10) },
            ..options.clone()
        };
        let local = HttpClientConfig { follow_redirects: false, ..HttpClientConfig::default() };
        let proxy = ProxyConfig { from_environment: true, ..ProxyConfig::default() };
        let public = HttpClientConfig { proxy, ..HttpClientConfig::default() };
        let failed = |error| BuildClientError::TokenClient(Box::new(error));
        Ok(Self {
            local: HttpClient::new(&local, options.clone(), resolver.clone()).map_err(failed)?,
            public: HttpClient::new(&public, options, resolver).map_err(failed)?,
        })
    }

    pub(super) async fn ask(&self, ask: Ask<'_>, deadline: Instant) -> Result<Reply, CloudAuthError> {
        let (client, deadline) = match ask.reach {
            Reach::Local => (&self.local, deadline.min(Instant::now() + LOCAL_TIMEOUT)),
            Reach::Public => (&self.public, deadline),
        };
        let request = HttpRequest {
            method: ask.method,
            url: ask.url,
            headers: ask.headers,
            body: Bytes::from(ask.body),
            deadline,
        };
        let failed = |error| CloudAuthError::Request { provider: ask.provider, source: Box::new(error) };
        // Boxed, since a client's request contains this one.
        let response = Box::pin(client.send(request)).await.map_err(failed)?;
        let status = response.status;
        let body = response.body.read_all(MAX_ANSWER).await.map_err(|error| failed(error.into()))?;
        Ok(Reply { provider: ask.provider, status, body })
    }

    /// Posts a form.
    pub(super) async fn post_form(
        &self,
        provider: &'static str,
        url: &str,
        form: &[(&str, &str)],
        deadline: Instant,
    ) -> Result<Reply, CloudAuthError> {
        let mut headers = HeaderMap::new();
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(::http::header::CONTENT_TYPE, form_type);
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let ask = Ask { provider, reach: Reach::Public, method: Method::POST, url, headers, body };
        self.ask(ask, deadline).await
    }
}

impl Reply {
    /// The object in the body, if the status is a success.
    pub(super) fn object(&self) -> Result<Map<String, Value>, CloudAuthError> {
        let object: Option<Map<String, Value>> = serde_json::from_slice(&self.body).ok();
        if !self.status.is_success() {
            let texts = ["error", "error_description", "code", "message", "Code", "Message"];
            let texts = texts.map(|key| object.as_ref().and_then(|object| text_of(object.get(key)?)));
            return Err(self.refusal(texts.into_iter().flatten()));
        }
        object.ok_or(CloudAuthError::Answer { provider: self.provider, problem: "it is not a JSON object" })
    }

    pub(super) fn refusal(&self, texts: impl IntoIterator<Item = String>) -> CloudAuthError {
        let mut text = String::new();
        for part in texts {
            text.push_str(": ");
            text.extend(part.chars().filter(|c| !c.is_control()).take(200));
        }
        CloudAuthError::Refused { provider: self.provider, status: self.status.as_u16(), text }
    }

    /// An OAuth 2.0 token and the time it lasts.
    pub(super) fn token(&self, now_seconds: i64) -> Result<(String, Duration), CloudAuthError> {
        let object = self.object()?;
        let unusable = |problem| CloudAuthError::Answer { provider: self.provider, problem };
        let token = object.get("access_token").and_then(Value::as_str).unwrap_or("").to_owned();
        if token.is_empty() {
            return Err(unusable("there is no access_token in it"));
        }
        // Some providers send numbers, some strings, some only the time of expiry.
        let number = |key| {
            object.get(key).and_then(|value: &Value| {
                value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
            })
        };
        let left = number("expires_on").map(|at| at - now_seconds as f64);
        let seconds = number("expires_in").or(left).filter(|seconds| *seconds > 0.0);
        let lifetime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Ok((token, lifetime.ok_or_else(|| unusable("the token has expired"))?))
    }
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

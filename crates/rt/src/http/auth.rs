//! The `Authorization` header and the configured headers, with files read anew for each request.

use std::sync::Arc;

use ::http::header::AUTHORIZATION;
use ::http::{HeaderMap, HeaderName, HeaderValue};
use outrigger_model::http::{BasicUsername, HttpAuth, HttpClientConfig};
use outrigger_model::secret::{Secret, SecretSource};
use tokio::time::Instant;

use super::cloud::CloudSigner;
use super::error::{BuildClientError, HttpError, Subject};
use super::oauth2::TokenSource;
use super::proxy::basic_authorization;
use crate::file;

/// How requests of one client are authenticated and what headers they get.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) auth: Auth,
    headers: Vec<(HeaderName, Vec<SecretSource>)>,
}

#[derive(Debug)]
pub(super) enum Auth {
    None,
    Basic {
        username: BasicUsername,
        password: Option<SecretSource>,
    },
    Authorization {
        scheme: String,
        credentials: Option<SecretSource>,
    },
    OAuth2(Arc<TokenSource>),
    /// Proves itself with the whole request, when that is complete.
    Cloud(Arc<CloudSigner>),
}

/// What gets tokens, where the configuration needs it.
#[derive(Debug)]
pub(super) enum Provider {
    OAuth2(Arc<TokenSource>),
    Cloud(Arc<CloudSigner>),
}

impl Credentials {
    /// `provider` serves OAuth 2.0 or a cloud's way, if that is configured.
    pub(super) fn new(
        config: &HttpClientConfig,
        provider: Option<Provider>,
    ) -> Result<Self, BuildClientError> {
        let auth = match (&config.auth, provider) {
            (_, Some(Provider::OAuth2(source))) => Auth::OAuth2(source),
            (_, Some(Provider::Cloud(signer))) => Auth::Cloud(signer),
            (Some(HttpAuth::Basic { username, password }), None) => {
                Auth::Basic { username: username.clone(), password: password.clone() }
            }
            (Some(HttpAuth::Authorization { scheme, credentials }), None) => {
                Auth::Authorization { scheme: scheme.clone(), credentials: credentials.clone() }
            }
            (Some(HttpAuth::OAuth2(_) | HttpAuth::Cloud(_)) | None, None) => Auth::None,
        };
        let mut headers = Vec::new();
        for header in &config.headers {
            let bad = || BuildClientError::Header { key: "http_headers", name: header.name.clone() };
            let name = HeaderName::try_from(header.name.as_str()).map_err(|_| bad())?;
            for value in &header.values {
                if let SecretSource::Inline(value) = value {
                    HeaderValue::try_from(value.expose()).map_err(|_| bad())?;
                }
            }
            headers.push((name, header.values.clone()));
        }
        Ok(Self { auth, headers })
    }

    /// Adds the configured headers, in place of the caller's of the same name, and `Authorization` unless the
    /// caller set it.
    pub(super) async fn apply(
        &self,
        headers: &mut HeaderMap,
        subject: &Subject,
        deadline: Instant,
    ) -> Result<(), HttpError> {
        let unreadable = |source| HttpError::Credentials { subject: subject.clone(), source };
        for (name, sources) in &self.headers {
            headers.remove(name);
            for source in sources {
                let value = file::read_secret(source).map_err(unreadable)?;
                headers.append(name.clone(), header_value(name.as_str(), value.expose(), subject)?);
            }
        }
        if headers.contains_key(AUTHORIZATION) {
            return Ok(());
        }
        let value = match &self.auth {
            Auth::None | Auth::Cloud(_) => return Ok(()),
            Auth::Basic { username, password } => {
                let username = match username {
                    BasicUsername::Inline(name) => name.clone(),
                    BasicUsername::File(path) => file::read_trimmed(path).map_err(unreadable)?,
                };
                basic_authorization(&username, optional(password.as_ref()).map_err(unreadable)?.expose())
            }
            Auth::Authorization { scheme, credentials } => {
                let secret = optional(credentials.as_ref()).map_err(unreadable)?;
                header_value("authorization", &format!("{scheme} {}", secret.expose()), subject)?
            }
            Auth::OAuth2(source) => source
                .authorization(deadline)
                .await
                .map_err(|source| HttpError::Auth { subject: subject.clone(), source })?,
        };
        headers.insert(AUTHORIZATION, value);
        Ok(())
    }
}

fn optional(source: Option<&SecretSource>) -> Result<Secret, file::FileError> {
    source.map(file::read_secret).transpose().map(Option::unwrap_or_default)
}

fn header_value(name: &str, value: &str, subject: &Subject) -> Result<HeaderValue, HttpError> {
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| HttpError::HeaderValue { subject: subject.clone(), header: name.to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}

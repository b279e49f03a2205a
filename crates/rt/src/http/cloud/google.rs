//! Tokens of Google Cloud: a credentials file, or the application default credentials.

use std::path::PathBuf;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method};
use outrigger_model::clock::SharedClock;
use outrigger_model::cloud_auth::GoogleIamConfig;
use outrigger_model::secret::{Secret, SecretSource};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::environment::CloudEnvironment;
use super::error::CloudAuthError;
use super::identity_client::{Ask, IdentityClient, Reach, Reply};
use super::{Grant, Issued, bearer};
use crate::file;
use crate::http::oauth2;

const TOKEN_ENDPOINT: &str = "Google's token endpoint";
const METADATA: &str = "Google's metadata service, for want of other credentials";

/// The scope that Prometheus asks for.
const SCOPE: &str = "https://www.googleapis.com/auth/monitoring.write";
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ASSERTION_SECONDS: i64 = 3600;

pub(super) struct GoogleIssuer {
    config: GoogleIamConfig,
    client: IdentityClient,
    environment: CloudEnvironment,
    clock: SharedClock,
}

impl GoogleIssuer {
    pub(super) fn new(
        config: GoogleIamConfig,
        client: IdentityClient,
        environment: CloudEnvironment,
        clock: SharedClock,
    ) -> Self {
        Self { config, client, environment, clock }
    }

    pub(super) async fn issue(&self, deadline: Instant) -> Result<Issued, CloudAuthError> {
        let (reply, quota_project) = match self.credentials_file() {
            Some(source) => {
                let credentials = Credentials::read(&source)?;
                let reply = self.ask_with(&credentials, deadline).await?;
                (reply, credentials.find("quota_project_id").map(str::to_owned))
            }
            None => (self.ask_metadata(deadline).await?, None),
        };
        let (token, lifetime) = reply.token(self.clock.now().millis() / 1000)?;
        let quota_project = quota_project.and_then(|project| HeaderValue::try_from(project).ok());
        let grant = Grant::Bearer { authorization: bearer(reply.provider, &token)?, quota_project };
        Ok(Issued { grant, lifetime: Some(lifetime), look_again: None })
    }

    /// The configured file, that of the environment, or the one that `gcloud` leaves in the home directory.
    fn credentials_file(&self) -> Option<SecretSource> {
        if let Some(source) = &self.config.credentials_file {
            return Some(source.clone());
        }
        if let Some(path) = self.environment.get("GOOGLE_APPLICATION_CREDENTIALS") {
            return Some(SecretSource::File(path.into()));
        }
        let name = "application_default_credentials.json";
        let gcloud = self.environment.get("CLOUDSDK_CONFIG").map(PathBuf::from);
        let gcloud = gcloud.or_else(|| self.environment.home_file(".config/gcloud"))?;
        Some(gcloud.join(name)).filter(|path| path.exists()).map(SecretSource::File)
    }

    async fn ask_with(&self, credentials: &Credentials, deadline: Instant) -> Result<Reply, CloudAuthError> {
        let url = credentials.find("token_uri").unwrap_or(TOKEN_URL);
        match credentials.find("type").unwrap_or("") {
            "service_account" => {
                let assertion = self.assertion(credentials, url)?;
                let form = [("assertion", assertion.as_str()), ("grant_type", JWT_BEARER)];
                self.client.post_form(TOKEN_ENDPOINT, url, &form, deadline).await
            }
            "authorized_user" => {
                let form = [
                    ("client_id", credentials.need("client_id")?),
                    ("client_secret", credentials.need("client_secret")?),
                    ("grant_type", "refresh_token"),
                    ("refresh_token", credentials.need("refresh_token")?),
                ];
                self.client.post_form(TOKEN_ENDPOINT, url, &form, deadline).await
            }
            other => Err(credentials.wrong(&format!(
                "credentials of type {other:?} are not supported, only service_account and authorized_user"
            ))),
        }
    }

    fn assertion(&self, credentials: &Credentials, audience: &str) -> Result<String, CloudAuthError> {
        let mut header = Map::new();
        if let Some(key_id) = credentials.find("private_key_id") {
            header.insert("kid".to_owned(), key_id.into());
        }
        let now = self.clock.now().millis() / 1000;
        let claims = Map::from_iter([
            ("aud".to_owned(), audience.into()),
            ("exp".to_owned(), (now + ASSERTION_SECONDS).into()),
            ("iat".to_owned(), now.into()),
            ("iss".to_owned(), credentials.need("client_email")?.into()),
            ("scope".to_owned(), SCOPE.into()),
        ]);
        let key = Secret::new(credentials.need("private_key")?);
        oauth2::signed_jwt("RS256", header, claims, &key)
            .map_err(|error| CloudAuthError::Sign(error.to_string()))
    }

    async fn ask_metadata(&self, deadline: Instant) -> Result<Reply, CloudAuthError> {
        let host = self.environment.get("GCE_METADATA_HOST").unwrap_or("169.254.169.254");
        let scope: String = url::form_urlencoded::byte_serialize(SCOPE.as_bytes()).collect();
        let url = format!(
            "http://{host}/computeMetadata/v1/instance/service-accounts/default/token?scopes={scope}"
        );
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("metadata-flavor"), HeaderValue::from_static("Google"));
        let ask = Ask {
            provider: METADATA,
            reach: Reach::Local,
            method: Method::GET,
            url: &url,
            headers,
            body: String::new(),
        };
        self.client.ask(ask, deadline).await
    }
}

/// A credentials file.
struct Credentials {
    /// Where they are from, for people.
    from: String,
    object: Map<String, Value>,
}

impl Credentials {
    fn read(source: &SecretSource) -> Result<Self, CloudAuthError> {
        let from = file::described(source);
        let object = serde_json::from_str(file::read_secret(source)?.expose()).map_err(|error| {
            // Not serde's own text: it may quote the file.
            let place = format!("line {}, column {}", error.line(), error.column());
            CloudAuthError::Setup(format!("{from} is not a JSON object ({place})"))
        })?;
        Ok(Self { from, object })
    }

    fn find(&self, key: &str) -> Option<&str> {
        self.object.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn need(&self, key: &str) -> Result<&str, CloudAuthError> {
        self.find(key).ok_or_else(|| self.wrong(&format!("{key} is missing")))
    }

    fn wrong(&self, problem: &str) -> CloudAuthError {
        CloudAuthError::Setup(format!("{}: {problem}", self.from))
    }
}

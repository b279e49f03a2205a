//! Authentication by a cloud vendor's identity: AWS Signature Version 4, Microsoft Entra ID, Google Cloud.
//!
//! What an identity provider grants is kept and renewed in the background when half of its life is over, so that
//! requests neither wait for the provider nor miss it while it is away; a failure is not repeated by every request.
//! Nothing is read or asked before the first request.

mod aws;
mod aws_process;
mod aws_profile;
mod azure;
mod environment;
mod error;
mod google;
mod identity_client;
mod sigv4;

use std::sync::Arc;
use std::time::Duration;

use ::http::header::AUTHORIZATION;
use ::http::{HeaderMap, HeaderName, HeaderValue};
use arc_swap::ArcSwapOption;
use outrigger_model::clock::SharedClock;
use outrigger_model::cloud_auth::CloudAuth;
use outrigger_model::secret::Secret;
use tokio::sync::Mutex;
use tokio::time::Instant;

pub use environment::CloudEnvironment;
pub use error::CloudAuthError;

use super::ClientOptions;
use super::error::BuildClientError;
use crate::resolver::Resolver;
use aws::AwsIssuer;
use azure::AzureIssuer;
use google::GoogleIssuer;
use identity_client::IdentityClient;
pub(super) use sigv4::Outgoing;
use sigv4::Scope;

/// Time for renewing in the background.
const RENEWAL_DEADLINE: Duration = Duration::from_secs(30);

/// Time after a failure in which it is the answer to everybody.
const FAILURE_HELD: Duration = Duration::from_secs(1);

/// A grant that was refused is asked for anew only if it is at least this old.
const REFUSED_AGE: Duration = Duration::from_secs(30);

/// AWS keys, maybe of a session.
#[derive(Clone, PartialEq, Eq)]
struct AwsCredentials {
    access_key: String,
    secret_key: Secret,
    session_token: Option<Secret>,
}

/// What requests are authenticated with.
enum Grant {
    Aws { credentials: AwsCredentials, region: String },
    Bearer { authorization: HeaderValue, quota_project: Option<HeaderValue> },
}

/// A grant as an identity provider gives it.
struct Issued {
    grant: Grant,
    /// Until it expires; `None` when it does not.
    lifetime: Option<Duration>,
    /// When to look whether there is another one, where it does not expire.
    look_again: Option<Duration>,
}

struct Lease {
    grant: Grant,
    obtained: Instant,
    renew_at: Option<Instant>,
    expires_at: Option<Instant>,
}

impl Lease {
    fn new(issued: Issued, asked: Instant) -> Self {
        let renew_after = issued.lifetime.map(|lifetime| lifetime / 2).or(issued.look_again);
        Self {
            grant: issued.grant,
            obtained: asked,
            renew_at: renew_after.and_then(|after| asked.checked_add(after)),
            expires_at: issued.lifetime.and_then(|lifetime| asked.checked_add(lifetime)),
        }
    }

    fn is_valid(&self, now: Instant) -> bool {
        self.expires_at.is_none_or(|expiry| now < expiry)
    }

    fn wants_renewal(&self, now: Instant) -> bool {
        self.renew_at.is_some_and(|renew_at| now >= renew_at)
    }
}

enum Issuer {
    Aws(AwsIssuer),
    Azure(AzureIssuer),
    Google(GoogleIssuer),
}

impl Issuer {
    async fn issue(&self, deadline: Instant) -> Result<Issued, CloudAuthError> {
        match self {
            Issuer::Aws(issuer) => issuer.issue(deadline).await,
            Issuer::Azure(issuer) => issuer.issue(deadline).await,
            Issuer::Google(issuer) => issuer.issue(deadline).await,
        }
    }
}

/// Authenticates the requests of one client.
pub(super) struct CloudSigner {
    name: String,
    issuer: Issuer,
    /// Of the signatures, for AWS.
    service: String,
    clock: SharedClock,
    current: ArcSwapOption<Lease>,
    /// Held by whoever asks for a grant; the last failure.
    asking: Mutex<Option<(Instant, Arc<CloudAuthError>)>>,
}

impl std::fmt::Debug for CloudSigner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("CloudSigner").field("name", &self.name).finish_non_exhaustive()
    }
}

impl CloudSigner {
    pub(super) fn new(
        config: &CloudAuth,
        options: &ClientOptions,
        resolver: Resolver,
    ) -> Result<Self, BuildClientError> {
        let client = IdentityClient::new(options, resolver)?;
        let (environment, clock) = (options.cloud.clone(), options.clock.clone());
        let mut service = String::new();
        let issuer = match config {
            CloudAuth::SigV4(config) => {
                service = config.service.clone().unwrap_or_else(|| "aps".to_owned());
                Issuer::Aws(AwsIssuer::new(config.clone(), client, environment, clock.clone()))
            }
            CloudAuth::AzureAd(config) => {
                Issuer::Azure(AzureIssuer::new(config.clone(), client, environment, clock.clone()))
            }
            CloudAuth::GoogleIam(config) => {
                Issuer::Google(GoogleIssuer::new(config.clone(), client, environment, clock.clone()))
            }
        };
        Ok(Self {
            name: options.name.clone(),
            issuer,
            service,
            clock,
            current: ArcSwapOption::empty(),
            asking: Mutex::default(),
        })
    }

    /// Adds what proves the client's identity to the headers of a request that is otherwise complete.
    pub(super) async fn authenticate(
        self: &Arc<Self>,
        request: Outgoing<'_>,
        headers: &mut HeaderMap,
        deadline: Instant,
    ) -> Result<(), Arc<CloudAuthError>> {
        let lease = self.lease(deadline).await?;
        match &lease.grant {
            Grant::Aws { credentials, region } => {
                let scope = Scope { region, service: &self.service, time: self.clock.now() };
                sigv4::sign(&request, headers, credentials, &scope).map_err(Arc::new)
            }
            Grant::Bearer { authorization, quota_project } => {
                headers.insert(AUTHORIZATION, authorization.clone());
                if let Some(project) = quota_project {
                    headers.insert(HeaderName::from_static("x-goog-user-project"), project.clone());
                }
                Ok(())
            }
        }
    }

    /// The server refused a request: ask for another grant, if this one is old enough to have been revoked.
    pub(super) fn refused(&self) {
        let current = self.current.load();
        if current.as_ref().is_some_and(|lease| lease.obtained.elapsed() >= REFUSED_AGE) {
            self.current.compare_and_swap(&current, None);
        }
    }

    async fn lease(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Lease>, Arc<CloudAuthError>> {
        let now = Instant::now();
        if let Some(lease) = self.current.load_full().filter(|lease| lease.is_valid(now)) {
            if lease.wants_renewal(now) {
                self.renew();
            }
            return Ok(lease);
        }
        let mut failure = self.asking.lock().await;
        if let Some(lease) = self.current.load_full().filter(|lease| lease.is_valid(Instant::now())) {
            return Ok(lease);
        }
        if let Some((at, error)) = &*failure
            && at.elapsed() < FAILURE_HELD
        {
            return Err(Arc::clone(error));
        }
        self.ask(&mut failure, deadline).await
    }

    /// Asks for another grant in the background, unless somebody is at it.
    fn renew(self: &Arc<Self>) {
        let signer = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(mut failure) = signer.asking.try_lock() else { return };
            let now = Instant::now();
            let done = signer.current.load().as_ref().is_some_and(|lease| !lease.wants_renewal(now));
            let failed_lately = failure.as_ref().is_some_and(|(at, _)| at.elapsed() < 5 * FAILURE_HELD);
            if done || failed_lately {
                return;
            }
            if let Err(error) = signer.ask(&mut failure, now + RENEWAL_DEADLINE).await {
                let error = outrigger_model::fault::chain(&*error);
                tracing::warn!(client = %signer.name, %error, "renewing the credentials failed, using the old ones");
            }
        });
    }

    async fn ask(
        &self,
        failure: &mut Option<(Instant, Arc<CloudAuthError>)>,
        deadline: Instant,
    ) -> Result<Arc<Lease>, Arc<CloudAuthError>> {
        let asked = Instant::now();
        match self.issuer.issue(deadline).await {
            Ok(issued) => {
                *failure = None;
                let lease = Arc::new(Lease::new(issued, asked));
                self.current.store(Some(Arc::clone(&lease)));
                Ok(lease)
            }
            Err(error) => {
                let error = Arc::new(error);
                *failure = Some((Instant::now(), Arc::clone(&error)));
                Err(error)
            }
        }
    }
}

/// `Bearer <token>`.
fn bearer(provider: &'static str, token: &str) -> Result<HeaderValue, CloudAuthError> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| CloudAuthError::Answer {
        provider,
        problem: "the token has characters that no header may have",
    })?;
    value.set_sensitive(true);
    Ok(value)
}

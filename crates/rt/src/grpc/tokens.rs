//! Bearer tokens that a server accepts.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ::http::HeaderMap;
use ::http::header::AUTHORIZATION;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use outrigger_model::fault::chain;
use outrigger_model::secret::SecretSource;
use tonic::Status;

use crate::file;
use crate::log_limit::LogLimit;

/// What a token is called in the configuration; not a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenName(pub Arc<str>);

impl fmt::Display for TokenName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The bearer tokens that are accepted; files are read anew for each stream. Without any, none is asked for.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    accepted: Arc<[(TokenName, SecretSource)]>,
}

impl Tokens {
    /// Accepts these.
    pub fn new(accepted: impl IntoIterator<Item = (TokenName, SecretSource)>) -> Self {
        Self { accepted: accepted.into_iter().collect() }
    }

    /// Whether clients need none.
    pub fn is_empty(&self) -> bool {
        self.accepted.is_empty()
    }

    /// The name of the token in `Authorization`, `None` when none is asked for.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<Option<TokenName>, Status> {
        if self.is_empty() {
            return Ok(None);
        }
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(header) = header else {
            return Err(Status::unauthenticated("no bearer token was sent, and this server wants one"));
        };
        let presented = match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => return Err(Status::unauthenticated("the authorization header holds no bearer token")),
        };
        // Digests have one length, so that the time of the comparison tells nothing about the token.
        let presented = digest(&SHA256, presented.as_bytes());
        let mut found = None;
        for (name, source) in &*self.accepted {
            let secret = match file::read_secret(source) {
                Ok(secret) if !secret.is_empty() => secret,
                Ok(_) => continue,
                Err(error) => {
                    report_unreadable(name, &error);
                    continue;
                }
            };
            let accepted = digest(&SHA256, secret.expose().as_bytes());
            if verify_slices_are_equal(accepted.as_ref(), presented.as_ref()).is_ok() {
                found = Some(name.clone());
            }
        }
        found
            .map(Some)
            .ok_or_else(|| Status::unauthenticated("the bearer token is none that this server accepts"))
    }
}

fn report_unreadable(name: &TokenName, error: &file::FileError) {
    static LIMIT: LazyLock<LogLimit> = LazyLock::new(|| LogLimit::new(Duration::from_secs(30)));
    if let Some(suppressed) = LIMIT.permit(&name.0) {
        tracing::warn!(token = %name, error = %chain(error), suppressed, "a token cannot be read and is not accepted");
    }
}

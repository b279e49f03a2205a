//! Who may read metrics, as the API server says: TokenReview for who asks, SubjectAccessReview for whether it may
//! (controller-runtime `metrics/filters`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use outrigger_kube::{Cluster, CustomResource, RequestError};
use outrigger_model::fault::chain;
use outrigger_rt::log_limit::LogLimit;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::server::Served;

/// How long an answer about a token holds.
const TOKEN_VALID: Duration = Duration::from_secs(60);
/// How long a permission holds.
const ALLOWED_VALID: Duration = Duration::from_secs(300);
/// How long a refusal holds.
const DENIED_VALID: Duration = Duration::from_secs(30);
/// Most answers that are remembered of each kind.
const MAX_REMEMBERED: usize = 4096;
/// Longest token.
const MAX_TOKEN: usize = 64 << 10;
/// Pauses before a question is asked again.
const RETRIES: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(750)];

/// Answers and until when they hold, by the digest of what was asked.
type Answers<T> = Mutex<HashMap<[u8; 32], (Instant, T)>>;

/// Asks the API server, and remembers its answers for a while.
pub(super) struct AuthFilter {
    cluster: Arc<ArcSwap<Cluster>>,
    tokens: Answers<Option<User>>,
    permissions: Answers<bool>,
    log_limit: LogLimit,
}

/// Who asks, as a TokenReview says.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct User {
    #[serde(default)]
    username: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    extra: HashMap<String, Vec<String>>,
}

/// Lets a request pass if its sender may.
pub(super) async fn check(State(served): State<Arc<Served>>, request: Request, next: Next) -> Response {
    let Some(filter) = &served.auth else { return next.run(request).await };
    let verdict = filter.judge(request.headers(), request.method(), request.uri().path()).await;
    match verdict {
        Verdict::Allowed => next.run(request).await,
        Verdict::Unauthenticated => (StatusCode::UNAUTHORIZED, "Unauthorized\n").into_response(),
        Verdict::Denied(user) => {
            (StatusCode::FORBIDDEN, format!("Authorization denied for user {user}\n")).into_response()
        }
        // Nobody passes while nobody can be asked.
        Verdict::Unknown => (StatusCode::SERVICE_UNAVAILABLE, "auth filter unavailable\n").into_response(),
    }
}

enum Verdict {
    Allowed,
    Unauthenticated,
    Denied(String),
    Unknown,
}

impl AuthFilter {
    pub(super) fn new(cluster: Arc<ArcSwap<Cluster>>) -> Self {
        Self {
            cluster,
            tokens: Mutex::default(),
            permissions: Mutex::default(),
            log_limit: LogLimit::new(Duration::from_secs(30)),
        }
    }

    async fn judge(&self, headers: &HeaderMap, method: &Method, path: &str) -> Verdict {
        let Some(token) = bearer_token(headers) else { return Verdict::Unauthenticated };
        let user = match self.user_of(token).await {
            Ok(Some(user)) => user,
            Ok(None) => return Verdict::Unauthenticated,
            Err(error) => return self.failed("TokenReview", &error),
        };
        match self.may(&user, &method.as_str().to_ascii_lowercase(), path).await {
            Ok(true) => Verdict::Allowed,
            Ok(false) => Verdict::Denied(user.username),
            Err(error) => self.failed("SubjectAccessReview", &error),
        }
    }

    fn failed(&self, review: &'static str, error: &RequestError) -> Verdict {
        if let Some(suppressed) = self.log_limit.permit(review) {
            tracing::error!(
                review,
                error = chain(error),
                suppressed,
                "metrics are refused, since the API server cannot be asked who may read them"
            );
        }
        Verdict::Unknown
    }

    async fn user_of(&self, token: &str) -> Result<Option<User>, RequestError> {
        let key = key(token.as_bytes());
        if let Some(user) = remembered(&self.tokens, &key, Instant::now()) {
            return Ok(user);
        }
        let question = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": { "token": token },
        });
        let review =
            CustomResource::cluster_scoped("authentication.k8s.io", "v1", "tokenreviews", "TokenReview");
        let answer = self.ask(review, &question).await?;
        let status = &answer["status"];
        let user = (status["authenticated"] == true)
            .then(|| User::deserialize(&status["user"]).unwrap_or_default())
            .filter(|user| !user.username.is_empty());
        remember(&self.tokens, key, Instant::now(), TOKEN_VALID, user.clone());
        Ok(user)
    }

    async fn may(&self, user: &User, verb: &str, path: &str) -> Result<bool, RequestError> {
        let mut spec = json!(user);
        spec["user"] = spec["username"].take();
        spec.as_object_mut().expect("a user is a map").remove("username");
        spec["nonResourceAttributes"] = json!({ "path": path, "verb": verb });
        let key = key(spec.to_string().as_bytes());
        if let Some(allowed) = remembered(&self.permissions, &key, Instant::now()) {
            return Ok(allowed);
        }
        let question = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec,
        });
        let review = CustomResource::cluster_scoped(
            "authorization.k8s.io",
            "v1",
            "subjectaccessreviews",
            "SubjectAccessReview",
        );
        let answer = self.ask(review, &question).await?;
        let status = &answer["status"];
        let allowed = status["allowed"] == true && status["denied"] != true;
        let valid = if allowed { ALLOWED_VALID } else { DENIED_VALID };
        remember(&self.permissions, key, Instant::now(), valid, allowed);
        Ok(allowed)
    }

    async fn ask(&self, review: CustomResource, question: &Value) -> Result<Value, RequestError> {
        let question = question.to_string().into_bytes();
        let mut pauses = RETRIES.iter();
        loop {
            let cluster = self.cluster.load_full();
            match cluster.review(review.clone(), question.clone()).await {
                Ok(answer) => return Ok(serde_json::from_slice(&answer).unwrap_or_default()),
                // It will not allow the question a moment later.
                Err(error @ RequestError::Refused { code: 401 | 403 | 404, .. }) => return Err(error),
                Err(error) => match pauses.next() {
                    Some(pause) => tokio::time::sleep(*pause).await,
                    None => return Err(error),
                },
            }
        }
    }
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= MAX_TOKEN).then_some(token)
}

/// Tokens are not kept, only what they come to.
fn key(secret: &[u8]) -> [u8; 32] {
    digest(&SHA256, secret).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn remembered<T: Clone>(answers: &Answers<T>, key: &[u8; 32], now: Instant) -> Option<T> {
    let answers = answers.lock();
    answers.get(key).filter(|(until, _)| now < *until).map(|(_, answer)| answer.clone())
}

fn remember<T>(answers: &Answers<T>, key: [u8; 32], now: Instant, valid: Duration, answer: T) {
    let mut answers = answers.lock();
    if answers.len() >= MAX_REMEMBERED {
        answers.retain(|_, (until, _)| now < *until);
    }
    if answers.len() < MAX_REMEMBERED {
        answers.insert(key, (now + valid, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bearer_tokens_count() {
        let cases = [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Basic abc", None),
            ("abc", None),
        ];
        for (value, want) in cases {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().expect("a header"))]);
            assert_eq!(bearer_token(&headers), want, "{value}");
        }
        assert_eq!(bearer_token(&HeaderMap::new()), None);
    }

    #[test]
    fn answers_are_forgotten_in_time_and_are_not_too_many() {
        let answers = Mutex::default();
        let now = Instant::now();
        let later = now + DENIED_VALID;
        for number in 0..MAX_REMEMBERED + 10 {
            remember(&answers, key(&number.to_le_bytes()), now, DENIED_VALID, number);
        }
        assert_eq!(answers.lock().len(), MAX_REMEMBERED);
        assert_eq!(remembered(&answers, &key(&0usize.to_le_bytes()), now), Some(0));
        assert_eq!(remembered(&answers, &key(&0usize.to_le_bytes()), later), None);
        remember(&answers, key(b"new"), later, DENIED_VALID, 1);
        assert_eq!(answers.lock().len(), 1);
    }
}

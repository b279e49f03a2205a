//! Single objects and questions: read one, create one, have one reviewed, ask for the server's health.

use std::time::Duration;

use http::StatusCode;
use outrigger_model::fault::{Blame, Retry};
use outrigger_wire::kubernetes::CustomResource;
use thiserror::Error;

use crate::cluster::Cluster;
use crate::request::{JSON, Refused, RequestKind};
use crate::resource::{WatchedResource, segment};
use crate::status::RbacHint;
use crate::transport::{Answer, Lane, SendError};

/// Time for one request and its whole answer.
const DEADLINE: Duration = Duration::from_secs(20);

/// A request for one object that failed.
#[derive(Debug, Error)]
pub enum RequestError {
    /// There was no answer.
    #[error("no answer from the API server")]
    Send(#[source] SendError),
    /// The answer did not end in time.
    #[error("no whole answer within {0} s")]
    Deadline(u64),
    /// The object is larger than an object may be.
    #[error("the object is larger than {0} bytes")]
    TooLarge(usize),
    /// The server refused.
    #[error("the API server refused: {code} {message}")]
    Refused {
        /// HTTP status.
        code: u16,
        /// What it said.
        message: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
        /// The permission that is missing, for 403.
        hint: Option<Box<RbacHint>>,
    },
}

impl RequestError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Send(error) => error.blame(),
            Self::Deadline(_) | Self::TooLarge(_) => Blame::Cluster,
            Self::Refused { code: 401 | 403, .. } => Blame::Configuration,
            Self::Refused { .. } => Blame::Cluster,
        }
    }

    /// Everything may be better later.
    pub fn retry(&self) -> Retry {
        Retry::Backoff
    }
}

/// What became of an object that was to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    New,
    /// One of this name was there already.
    Exists,
}

impl Cluster {
    /// Reads one object, as JSON; `None` when there is none. Takes one request from the budget.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub async fn get_object(
        &self,
        resource: CustomResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Vec<u8>>, RequestError> {
        let resource = WatchedResource::from(resource);
        let path = format!("{}/{}", resource.collection(Some(namespace), None), segment(name));
        let limit = self.shared.object_limit();
        self.shared.bucket.take().await;
        let exchange = async {
            let mut answer = self.request(RequestKind::Get, Some(&resource), &path, None).await?;
            match answer.status {
                StatusCode::OK => read_whole(&mut answer, limit).await.map(Some),
                StatusCode::NOT_FOUND => Ok(None),
                _ => Err(refused(answer, &resource, "get", Some(namespace)).await),
            }
        };
        in_time(exchange).await
    }

    /// Creates an object from JSON. Takes one request from the budget.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub async fn create_object(
        &self,
        resource: CustomResource,
        namespace: &str,
        json: Vec<u8>,
    ) -> Result<Created, RequestError> {
        let resource = WatchedResource::from(resource);
        let path = resource.collection(Some(namespace), None);
        self.shared.bucket.take().await;
        let exchange = async {
            let answer = self.request(RequestKind::Create, Some(&resource), &path, Some(json)).await?;
            match answer.status {
                StatusCode::CREATED | StatusCode::OK => Ok(Created::New),
                StatusCode::CONFLICT => Ok(Created::Exists),
                _ => Err(refused(answer, &resource, "create", Some(namespace)).await),
            }
        };
        in_time(exchange).await
    }

    /// Posts a review (TokenReview, SubjectAccessReview), which is answered and not kept; returns the answer's JSON.
    /// Takes nothing from the budget: a user waits for it.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub async fn review(&self, resource: CustomResource, json: Vec<u8>) -> Result<Vec<u8>, RequestError> {
        let resource = WatchedResource::from(resource);
        let path = resource.path();
        let limit = self.shared.object_limit();
        let exchange = async {
            let mut answer = self.request(RequestKind::Create, Some(&resource), &path, Some(json)).await?;
            match answer.status {
                StatusCode::CREATED | StatusCode::OK => read_whole(&mut answer, limit).await,
                _ => Err(refused(answer, &resource, "create", None).await),
            }
        };
        in_time(exchange).await
    }

    /// Asks whether the server is well, for example at `/livez`; what it says is returned. Takes nothing from the
    /// budget.
    ///
    /// # Errors
    /// When the server does not answer, or not with 200.
    pub async fn probe(&self, path: &str) -> Result<Vec<u8>, RequestError> {
        let exchange = async {
            let mut answer = self.request(RequestKind::Probe, None, path, None).await?;
            if answer.status == StatusCode::OK {
                return read_whole(&mut answer, 64 << 10).await;
            }
            let body = answer.body.read_up_to(64 << 10).await;
            let refused = Refused::of_answer(answer.status, &answer.headers, &body);
            Err(RequestError::Refused {
                code: refused.refusal.code,
                message: refused.message,
                retry_after: refused.refusal.retry_after,
                hint: None,
            })
        };
        in_time(exchange).await
    }

    async fn request(
        &self,
        kind: RequestKind,
        resource: Option<&WatchedResource>,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, RequestError> {
        let transport = self.shared.transport();
        let sent = match body {
            None => transport.get(Lane::Shared, path, JSON).await,
            Some(json) => transport.post_json(Lane::Shared, path, json).await,
        };
        let code = sent.as_ref().ok().map(|answer| answer.status.as_u16());
        self.shared.accounts.count_request(kind, resource, code);
        if code == Some(401) {
            self.shared.reload(&transport).await;
        }
        sent.map_err(RequestError::Send)
    }
}

async fn read_whole(answer: &mut Answer, limit: usize) -> Result<Vec<u8>, RequestError> {
    let body = answer.body.read_up_to(limit).await;
    if body.len() >= limit { Err(RequestError::TooLarge(limit)) } else { Ok(body) }
}

async fn in_time<T>(exchange: impl Future<Output = Result<T, RequestError>>) -> Result<T, RequestError> {
    let answer = tokio::time::timeout(DEADLINE, exchange).await;
    answer.unwrap_or_else(|_| Err(RequestError::Deadline(DEADLINE.as_secs())))
}

async fn refused(
    mut answer: Answer,
    resource: &WatchedResource,
    verb: &str,
    namespace: Option<&str>,
) -> RequestError {
    let body = answer.body.read_up_to(64 << 10).await;
    let refused = Refused::of_answer(answer.status, &answer.headers, &body);
    let code = refused.refusal.code;
    let hint = (code == 403)
        .then(|| RbacHint::of_verbs(resource, &[verb], namespace, &refused.message))
        .map(Box::new);
    RequestError::Refused { code, message: refused.message, retry_after: refused.refusal.retry_after, hint }
}

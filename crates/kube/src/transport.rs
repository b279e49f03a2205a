//! HTTP towards one API server: HTTP/2 where the server has it, few connections, no slow stream before a fast one.
//!
//! The kube crate's own client speaks HTTP/1.1 only (one connection for each watch), and hyper-util's pool queues
//! silently past the server's limit of streams. So connections are managed here: the pods have one of their own,
//! everything else shares one for every [`STREAMS_PER_CONNECTION`] streams.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use outrigger_model::clock::SharedClock;
use outrigger_model::fault::{Blame, Retry};
use outrigger_rt::resolver::Resolver;
use parking_lot::Mutex;
use thiserror::Error;

use crate::credentials::{Access, CredentialsError};
use crate::request::JSON;
use channel::{Channel, Lease, Windows};
use connector::Connector;
pub use connector::OpenError;

mod channel;
mod connector;

/// Streams on one shared connection. Load balancers allow 100, kube-apiserver 250.
const STREAMS_PER_CONNECTION: usize = 50;

/// Which connection a request goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// One that only the pods use.
    Dedicated,
    /// One of those for everything else.
    Shared,
}

/// A request that got no answer.
#[derive(Debug, Error)]
pub enum SendError {
    /// There is nothing to authenticate with.
    #[error("no credentials")]
    Credentials(#[source] CredentialsError),
    /// There is no connection.
    #[error("no connection")]
    Open(#[source] Arc<OpenError>),
    /// The connection broke before the answer.
    #[error("request failed")]
    Exchange(#[source] hyper::Error),
    /// The answer did not begin in time.
    #[error("no answer within {0} s")]
    Deadline(u64),
    /// The request cannot be expressed.
    #[error("cannot build the request")]
    Request(#[source] http::Error),
}

impl SendError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Credentials(CredentialsError::File { .. } | CredentialsError::NotAHeader) => {
                Blame::Configuration
            }
            Self::Credentials(CredentialsError::Http(error)) => error.blame(),
            Self::Credentials(_) => Blame::Remote,
            Self::Open(_) | Self::Exchange(_) | Self::Deadline(_) => Blame::Cluster,
            Self::Request(_) => Blame::Us,
        }
    }

    /// Everything may be better later.
    pub fn retry(&self) -> Retry {
        Retry::Backoff
    }
}

/// Connections and credentials of one API server.
pub(crate) struct Transport {
    access: Arc<Access>,
    connector: Arc<Connector>,
    user_agent: HeaderValue,
    /// Connections of each lane, opened as needed.
    dedicated: Mutex<Vec<Arc<Channel>>>,
    shared: Mutex<Vec<Arc<Channel>>>,
}

/// The head of an answer, and its body to come.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: AnswerBody,
}

/// The body of an answer, as it arrives. Dropping it ends the stream and nothing else on its connection.
pub(crate) struct AnswerBody {
    body: Incoming,
    _lease: Lease,
}

impl AnswerBody {
    /// The next piece; `None` at the end that the server meant.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, hyper::Error> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(error),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// At most `limit` bytes of the rest.
    pub(crate) async fn read_up_to(&mut self, limit: usize) -> Vec<u8> {
        let mut read = Vec::new();
        while let Ok(Some(piece)) = self.chunk().await {
            let room = limit - read.len();
            read.extend_from_slice(&piece[..piece.len().min(room)]);
            if read.len() >= limit {
                break;
            }
        }
        read
    }
}

impl Transport {
    /// `opened` counts connections.
    pub(crate) fn new(
        access: Arc<Access>,
        user_agent: HeaderValue,
        clock: SharedClock,
        resolver: Resolver,
        opened: Arc<AtomicU64>,
    ) -> Self {
        let connector = Arc::new(Connector::new(access.clone(), clock, resolver, opened));
        Self { access, connector, user_agent, dedicated: Mutex::default(), shared: Mutex::default() }
    }

    /// What the connections were made from.
    pub(crate) fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// Sends a GET and waits for the head of the answer.
    pub(crate) async fn get(
        &self,
        lane: Lane,
        path_and_query: &str,
        accept: &'static str,
    ) -> Result<Answer, SendError> {
        let headers = self.access.headers().await.map_err(SendError::Credentials)?;
        let request = self.request(path_and_query, accept, headers).map_err(SendError::Request)?;
        self.send(lane, request).await
    }

    /// Sends a POST with a JSON body and waits for the head of the answer.
    pub(crate) async fn post_json(&self, lane: Lane, path: &str, json: Vec<u8>) -> Result<Answer, SendError> {
        let headers = self.access.headers().await.map_err(SendError::Credentials)?;
        let mut request = self.request(path, JSON, headers).map_err(SendError::Request)?;
        *request.method_mut() = Method::POST;
        *request.body_mut() = Full::from(json);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        self.send(lane, request).await
    }

    async fn send(&self, lane: Lane, request: Request<Full<Bytes>>) -> Result<Answer, SendError> {
        let (response, lease) = self.channel(lane).send(request).await?;
        let (head, body) = response.into_parts();
        Ok(Answer { status: head.status, headers: head.headers, body: AnswerBody { body, _lease: lease } })
    }

    /// The lane's first connection with room for a stream.
    fn channel(&self, lane: Lane) -> Arc<Channel> {
        let (channels, windows) = match lane {
            Lane::Dedicated => (&self.dedicated, Windows::DEDICATED),
            Lane::Shared => (&self.shared, Windows::SHARED),
        };
        let mut channels = channels.lock();
        if let Some(channel) = channels.iter().find(|channel| channel.streams() < STREAMS_PER_CONNECTION) {
            return channel.clone();
        }
        let channel = Arc::new(Channel::new(self.connector.clone(), windows));
        channels.push(channel.clone());
        channel
    }

    fn request(
        &self,
        path_and_query: &str,
        accept: &'static str,
        headers: HeaderMap,
    ) -> Result<Request<Full<Bytes>>, http::Error> {
        let server = &self.access.server;
        let prefix = server.path().trim_end_matches('/');
        let mut parts = Uri::builder().path_and_query(format!("{prefix}{path_and_query}"));
        if let (Some(scheme), Some(authority)) = (server.scheme(), server.authority()) {
            parts = parts.scheme(scheme.clone()).authority(authority.clone());
        }
        let mut request = Request::get(parts.build()?).body(Full::default())?;
        *request.headers_mut() = headers;
        let headers = request.headers_mut();
        headers.entry(USER_AGENT).or_insert_with(|| self.user_agent.clone());
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        // From 1.37 on a server compresses a watch as one gzip member for each event; and the master is near.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Ok(request)
    }
}

/// Makes a request fit for HTTP/1.1: the path alone in the first line, the host in a header.
fn for_http1(request: &mut Request<Full<Bytes>>) -> Result<(), http::Error> {
    if let Some(authority) = request.uri().authority() {
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        let host = HeaderValue::from_str(host)?;
        if !request.headers().contains_key(HOST) {
            request.headers_mut().insert(HOST, host);
        }
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let origin: Uri = path.parse()?;
    *request.uri_mut() = origin;
    Ok(())
}

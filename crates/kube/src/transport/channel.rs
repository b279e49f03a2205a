//! One connection to the API server, opened when it is needed and again when it is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use outrigger_model::sample::Timestamp;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::connector::{Connector, Io, OpenError, Opened};
use super::{SendError, for_http1};

/// A connection whose peer does not answer a PING is closed after interval and timeout together.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// HTTP/2 flow-control windows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    stream: u32,
    connection: u32,
}

impl Windows {
    /// For one busy stream.
    pub(super) const DEDICATED: Self = Self { stream: 8 << 20, connection: 16 << 20 };
    /// Sixteen streams may stall without holding the others.
    pub(super) const SHARED: Self = Self { stream: 2 << 20, connection: 32 << 20 };
}

type Http2Sender = http2::SendRequest<Full<Bytes>>;

pub(super) struct Channel {
    connector: Arc<Connector>,
    windows: Windows,
    streams: Arc<AtomicUsize>,
    state: Mutex<ChannelState>,
}

#[derive(Default)]
struct ChannelState {
    http2: Option<Established>,
    failed: Option<(Instant, Arc<OpenError>)>,
}

struct Established {
    sender: Http2Sender,
    valid_until: Option<Timestamp>,
}

/// A place among the streams of a channel, given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease(Arc<AtomicUsize>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a request can be sent on.
enum Ready {
    Http2 {
        sender: Http2Sender,
        reused: bool,
    },
    /// A connection for this request alone.
    Http1(http1::SendRequest<Full<Bytes>>),
}

impl Channel {
    pub(super) fn new(connector: Arc<Connector>, windows: Windows) -> Self {
        Self { connector, windows, streams: Arc::default(), state: Mutex::default() }
    }

    /// Streams in use.
    pub(super) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    fn lease(&self) -> Lease {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Lease(self.streams.clone())
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        let lease = self.lease();
        loop {
            match self.ready().await.map_err(SendError::Open)? {
                Ready::Http2 { mut sender, reused } => match sender.try_send_request(request.clone()).await {
                    Ok(response) => return Ok((response, lease)),
                    // The server closed the connection while nothing was on it: a fresh one serves.
                    Err(_) if reused && sender.is_closed() => self.forget(&sender).await,
                    Err(failed) => return Err(SendError::Exchange(failed.into_error())),
                },
                Ready::Http1(mut sender) => {
                    for_http1(&mut request).map_err(SendError::Request)?;
                    let response = sender.send_request(request).await.map_err(SendError::Exchange)?;
                    return Ok((response, lease));
                }
            }
        }
    }

    async fn forget(&self, gone: &Http2Sender) {
        let mut state = self.state.lock().await;
        if state.http2.as_ref().is_some_and(|established| established.sender.is_closed() && gone.is_closed())
        {
            state.http2 = None;
        }
    }

    /// The open connection, or a new one. Callers that wait meanwhile share its success, or its failure.
    async fn ready(&self) -> Result<Ready, Arc<OpenError>> {
        let entered = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(established) = &state.http2 {
            let expired = established.valid_until.is_some_and(|until| self.connector.now() >= until);
            if !established.sender.is_closed() && !expired {
                return Ok(Ready::Http2 { sender: established.sender.clone(), reused: true });
            }
            state.http2 = None;
        }
        if let Some((at, error)) = &state.failed
            && *at > entered
        {
            return Err(error.clone());
        }
        match self.establish().await {
            Ok((Ready::Http2 { sender, reused }, valid_until)) => {
                state.http2 = Some(Established { sender: sender.clone(), valid_until });
                state.failed = None;
                Ok(Ready::Http2 { sender, reused })
            }
            Ok((http1, _)) => {
                state.failed = None;
                Ok(http1)
            }
            Err(error) => {
                let error = Arc::new(error);
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn establish(&self) -> Result<(Ready, Option<Timestamp>), OpenError> {
        let Opened { io, http2, valid_until } = self.connector.open().await?;
        let failed = |source| OpenError::Handshake { server: self.connector.server(), source };
        let ready = if http2 {
            let sender = self.start_http2(io).await.map_err(failed)?;
            Ready::Http2 { sender, reused: false }
        } else {
            Ready::Http1(start_http1(io).await.map_err(failed)?)
        };
        Ok((ready, valid_until))
    }

    async fn start_http2(&self, io: Box<dyn Io>) -> Result<Http2Sender, hyper::Error> {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(self.windows.stream)
            .initial_connection_window_size(self.windows.connection)
            .max_frame_size(1 << 20)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .handshake(io)
            .await?;
        // Ends when every sender and stream is gone; its error reaches the streams.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the API server ended");
            }
        });
        Ok(sender)
    }
}

async fn start_http1(io: Box<dyn Io>) -> Result<http1::SendRequest<Full<Bytes>>, hyper::Error> {
    let (sender, connection) = http1::handshake(io).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to the API server ended");
        }
    });
    Ok(sender)
}

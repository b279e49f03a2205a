//! Reading a response's body: chunk by chunk or whole, within the request's deadline and a byte limit.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Frame, Incoming};
use tokio::time::Instant;

use super::error::{BodyError, Subject};
use super::exchange::Exchange;
use super::pool::{Pool, PoolKey, Shared};

/// The body of one response. Dropping it before the end closes an HTTP/1 connection; reading it to the end hands
/// the connection back for reuse.
#[derive(Debug)]
pub struct BodyReader {
    subject: Subject,
    deadline: Instant,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// Read to the end.
    Finished,
    Http1 {
        incoming: Incoming,
        exchange: Box<Exchange>,
        home: Home,
    },
    Http2 {
        incoming: Incoming,
        stream: StreamUse,
    },
}

/// Where an HTTP/1 connection goes after the response.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) pool: Arc<Pool>,
    pub(super) key: PoolKey,
}

/// One request on a shared HTTP/2 connection. When it is dropped while it is suspect, because the deadline passed or
/// the connection broke, later requests get another connection.
#[derive(Debug)]
pub(super) struct StreamUse {
    pub(super) pool: Arc<Pool>,
    pub(super) key: PoolKey,
    pub(super) shared: Shared,
    pub(super) suspect: bool,
}

impl Drop for StreamUse {
    fn drop(&mut self) {
        if self.suspect {
            self.pool.forget(&self.key, self.shared.id);
        }
    }
}

impl BodyReader {
    /// The body of an HTTP/1 response; a connection whose response has no body goes home at once.
    pub(super) async fn http1(
        subject: Subject,
        deadline: Instant,
        incoming: Incoming,
        exchange: Exchange,
        home: Home,
    ) -> Self {
        let over = incoming.is_end_stream();
        let source = Source::Http1 { incoming, exchange: Box::new(exchange), home };
        let mut reader = Self { subject, deadline, source };
        if over {
            std::future::poll_fn(|context| {
                reader.finish(context);
                Poll::Ready(())
            })
            .await;
        }
        reader
    }

    pub(super) fn http2(subject: Subject, deadline: Instant, incoming: Incoming, stream: StreamUse) -> Self {
        Self { subject, deadline, source: Source::Http2 { incoming, stream } }
    }

    /// The next piece as it came from the network (still with its `Content-Encoding`), `None` at the end.
    /// Cancel safe.
    ///
    /// # Errors
    /// The connection broke, or the request's deadline passed.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            // Data that keeps coming would never let the timer be looked at.
            if Instant::now() >= self.deadline && !matches!(self.source, Source::Finished) {
                return Err(self.timed_out());
            }
            let deadline = self.deadline;
            let frame =
                tokio::time::timeout_at(deadline, std::future::poll_fn(|context| self.poll_frame(context)));
            match frame.await {
                Err(_) => return Err(self.timed_out()),
                Ok(Some(Err(source))) => {
                    self.suspect();
                    return Err(BodyError::Read { subject: self.subject.clone(), source });
                }
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => {
                    // Trailers are of no use to anyone here.
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The rest of the body as one piece.
    ///
    /// # Errors
    /// As [`BodyReader::chunk`], and [`BodyError::TooLarge`] as soon as more than `limit` bytes are known to come.
    pub async fn read_all(mut self, limit: usize) -> Result<Bytes, BodyError> {
        self.check_announced(limit)?;
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let mut whole = BytesMut::new();
        let mut next = first;
        loop {
            if whole.len() + next.len() > limit {
                return Err(self.too_large(limit));
            }
            let piece = next;
            match self.chunk().await? {
                // The one and only piece needs no copy.
                None if whole.is_empty() => return Ok(piece),
                None => {
                    whole.extend_from_slice(&piece);
                    return Ok(whole.freeze());
                }
                Some(following) => {
                    whole.extend_from_slice(&piece);
                    next = following;
                }
            }
        }
    }

    /// Appends the rest of the body to `into`, whose capacity can so be reused from one response to the next.
    /// Returns the number of bytes appended.
    ///
    /// # Errors
    /// As [`BodyReader::read_all`]; what was read before the error stays in `into`.
    pub async fn read_into(mut self, into: &mut Vec<u8>, limit: usize) -> Result<usize, BodyError> {
        self.check_announced(limit)?;
        let mut read = 0;
        while let Some(chunk) = self.chunk().await? {
            if read + chunk.len() > limit {
                return Err(self.too_large(limit));
            }
            into.extend_from_slice(&chunk);
            read += chunk.len();
        }
        Ok(read)
    }

    /// Reads and forgets a short rest, so that the connection can be used again; gives up at `limit` bytes.
    pub(super) async fn discard(mut self, limit: usize) {
        let mut read = 0;
        while let Ok(Some(chunk)) = self.chunk().await {
            read += chunk.len();
            if read > limit {
                return;
            }
        }
    }

    fn timed_out(&mut self) -> BodyError {
        self.suspect();
        BodyError::Timeout { subject: self.subject.clone() }
    }

    fn suspect(&mut self) {
        if let Source::Http2 { stream, .. } = &mut self.source {
            stream.suspect = true;
        }
    }

    fn too_large(&self, limit: usize) -> BodyError {
        BodyError::TooLarge { subject: self.subject.clone(), limit }
    }

    fn check_announced(&self, limit: usize) -> Result<(), BodyError> {
        let announced = match &self.source {
            Source::Finished => None,
            Source::Http1 { incoming, .. } | Source::Http2 { incoming, .. } => incoming.size_hint().exact(),
        };
        if announced.is_some_and(|bytes| bytes > limit as u64) { Err(self.too_large(limit)) } else { Ok(()) }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = match &mut self.source {
            Source::Finished => return Poll::Ready(None),
            Source::Http1 { incoming, exchange, .. } => exchange.poll_frame(incoming, context),
            Source::Http2 { incoming, .. } => std::pin::Pin::new(incoming).poll_frame(context),
        };
        if let Poll::Ready(None) = frame {
            self.finish(context);
        }
        frame
    }

    fn finish(&mut self, context: &mut Context<'_>) {
        match std::mem::replace(&mut self.source, Source::Finished) {
            Source::Finished | Source::Http2 { .. } => {}
            Source::Http1 { incoming, exchange, home } => {
                drop(incoming);
                if let Some(io) = exchange.into_idle(context) {
                    home.pool.put(home.key, io);
                }
            }
        }
    }
}

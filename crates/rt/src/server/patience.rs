//! Streams and bodies that give up on a silent other side.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::ServerLimits;

/// A timer that runs while something is waited for.
#[derive(Debug)]
struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self { limit, timer: None, waiting: false }
    }

    /// Whether the wait that `pending` is a part of has gone on for too long.
    fn is_over(&mut self, context: &mut Context<'_>, pending: bool) -> bool {
        if !pending {
            self.waiting = false;
            return false;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.limit)));
        if !std::mem::replace(&mut self.waiting, true) {
            timer.as_mut().reset(Instant::now() + self.limit);
        }
        timer.as_mut().poll(context).is_ready()
    }
}

/// Where an HTTP/1 connection stands between its requests. Clones are the same connection's.
#[derive(Debug, Clone, Default)]
pub(super) struct RequestPhase(Arc<Phase>);

#[derive(Debug, Default)]
struct Phase {
    now: AtomicU8,
    /// The connection, which looks at the clock only when it is polled.
    connection: AtomicWaker,
}

/// Not HTTP/1, or a request is open: whoever handles it has limits of its own.
const OPEN: u8 = 0;
/// The next request has not begun.
const BETWEEN: u8 = 1;
/// Its headers are arriving.
const HEADERS: u8 = 2;

impl RequestPhase {
    /// The connection speaks HTTP/1, and the headers of its first request are due.
    pub(super) fn begin(&self) {
        self.0.now.store(HEADERS, Ordering::Release);
    }

    /// A request's headers are whole; it is open until the guard is dropped.
    pub(super) fn open(&self) -> OpenRequest {
        self.0.now.store(OPEN, Ordering::Release);
        OpenRequest(self.clone())
    }

    fn get(&self) -> u8 {
        self.0.now.load(Ordering::Acquire)
    }
}

/// An open request.
#[derive(Debug)]
pub(super) struct OpenRequest(RequestPhase);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.0.now.store(BETWEEN, Ordering::Release);
        self.0.0.connection.wake();
    }
}

/// The body of an answer, whose request is open for as long as it is there.
pub(super) struct OpenBody {
    body: axum::body::Body,
    _open: OpenRequest,
}

impl OpenBody {
    pub(super) fn new(body: axum::body::Body, open: OpenRequest) -> Self {
        Self { body, _open: open }
    }
}

impl Body for OpenBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream whose writes fail when the other side takes nothing for a while, and whose reads fail when a request does
/// not come, or its headers do not, for too long.
#[derive(Debug)]
pub(super) struct PatientStream<S> {
    stream: S,
    writing: Patience,
    between: Patience,
    headers: Patience,
    requests: RequestPhase,
}

impl<S> PatientStream<S> {
    pub(super) fn new(stream: S, limits: &ServerLimits, requests: RequestPhase) -> Self {
        Self {
            stream,
            writing: Patience::new(limits.patience),
            between: Patience::new(limits.idle.unwrap_or(limits.patience)),
            headers: Patience::new(limits.header.unwrap_or(limits.patience)),
            requests,
        }
    }

    /// Whether the client has been silent for too long where it is to speak. The time for headers goes on while they
    /// trickle in, the time between requests ends with the first byte.
    fn is_late(&mut self, context: &mut Context<'_>, pending: bool, read: bool) -> bool {
        self.requests.0.connection.register(context.waker());
        let mut phase = self.requests.get();
        if read && phase == BETWEEN {
            let begun =
                self.requests.0.now.compare_exchange(BETWEEN, HEADERS, Ordering::AcqRel, Ordering::Acquire);
            phase = begun.map_or_else(|now| now, |_| HEADERS);
        }
        let between = self.between.is_over(context, pending && phase == BETWEEN);
        let headers = self.headers.is_over(context, phase == HEADERS);
        between || headers
    }

    fn judge<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if self.writing.is_over(context, result.is_pending()) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        result
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PatientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len() > before;
        if self.is_late(context, result.is_pending(), read) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PatientStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(context);
        self.judge(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A request body whose reading fails when the client sends nothing for a while.
#[derive(Debug)]
pub(super) struct PatientBody<B> {
    body: B,
    reading: Patience,
}

impl<B> PatientBody<B> {
    pub(super) fn new(body: B, limit: Duration) -> Self {
        Self { body, reading: Patience::new(limit) }
    }
}

impl<B> Body for PatientBody<B>
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if self.reading.is_over(context, frame.is_pending()) {
            return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::TimedOut).into())));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! One HTTP/2 connection of a client, and how it ended.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::{HeaderMap, Request, Response};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use outrigger_model::fault::chain;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::Status;
use tonic::body::Body;

use super::channel::GrpcOptions;
use super::error::BrokenCause;
use crate::http::{Dialed, TlsCause};

/// How much of a stream and of a connection waits for a slow reader.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// A connection; its streams keep it open.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    sender: SendRequest<Body>,
    pub(super) ending: Ending,
    pub(super) generation: u64,
}

impl Connection {
    /// Begins to speak HTTP/2, with pings as the options say.
    pub(super) async fn start(dialed: Dialed, options: &GrpcOptions) -> Result<Self, hyper::Error> {
        let ending = Ending::default();
        let stream = Recorded { stream: dialed.stream, ending: ending.clone() };
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(options.keep_alive)
            .keep_alive_timeout(options.keep_alive_timeout)
            .keep_alive_while_idle(options.keep_alive_while_idle)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(stream))
            .await?;
        // Ends when the connection does, at the latest when the last sender and the last stream are dropped.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %chain(&error), "gRPC connection ended");
            }
        });
        Ok(Self { sender, ending, generation: dialed.generation })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// Sends one request with these headers.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) connection: Connection,
    pub(super) headers: HeaderMap,
}

impl tower::Service<Request<Body>> for Sending {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Response<Incoming>, hyper::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.connection.sender.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.headers_mut().extend(std::mem::take(&mut self.headers));
        self.connection.sender.send_request(request).boxed()
    }
}

/// The first thing that went wrong below HTTP/2, which hyper does not tell its streams.
#[derive(Debug, Clone, Default)]
pub(super) struct Ending(Arc<Mutex<Option<io::Error>>>);

impl Ending {
    /// A TLS error tells more than the broken pipe that may have been seen before it.
    fn record(&self, error: &io::Error) {
        let mut held = self.0.lock();
        if held.as_ref().is_none_or(|held| tls_error(held).is_none() && tls_error(error).is_some()) {
            *held = Some(copy(error));
        }
    }

    /// Why the connection broke; `status` is what the stream saw of it.
    pub(super) fn cause(&self, status: &Status) -> BrokenCause {
        if let Some(error) = &*self.0.lock() {
            return match TlsCause::from_io(copy(error)) {
                TlsCause::Io(cause) if cause.0.kind() == io::ErrorKind::UnexpectedEof => BrokenCause::Closed,
                TlsCause::Io(cause) => BrokenCause::Io(cause),
                cause => BrokenCause::Tls(cause),
            };
        }
        match status.code() {
            // A reset of this stream alone.
            tonic::Code::Cancelled | tonic::Code::Internal | tonic::Code::ResourceExhausted => {
                BrokenCause::Stream(chain(status))
            }
            _ => BrokenCause::Closed,
        }
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// The same error once more: as far as that goes, kind, system error number and TLS error.
fn copy(error: &io::Error) -> io::Error {
    match (tls_error(error), error.raw_os_error()) {
        (Some(tls), _) => io::Error::new(error.kind(), tls.clone()),
        (None, Some(number)) => io::Error::from_raw_os_error(number),
        (None, None) => io::Error::new(error.kind(), error.to_string()),
    }
}

/// A stream that records how it ended.
struct Recorded<S> {
    stream: S,
    ending: Ending,
}

impl<S> Recorded<S> {
    fn record<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &result {
            self.ending.record(error);
        }
        result
    }
}

impl<S: AsyncRead + Unpin> Recorded<S> {
    /// A write that fails may be the first to notice that the other side is gone, while its last word, why it does not
    /// accept our certificate, waits to be read.
    fn record_write<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &result {
            self.ending.record(error);
            let mut scratch = [0; 1024];
            let mut buffer = ReadBuf::new(&mut scratch);
            let last_word = Pin::new(&mut self.stream).poll_read(context, &mut buffer);
            let _ = self.record(last_word);
        }
        result
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Recorded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.record(result)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Recorded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.record_write(context, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        self.record_write(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.record_write(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

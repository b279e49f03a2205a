//! One HTTP/1 request and response on one connection, driven by whoever waits for it.
//!
//! There is no task per connection: the connection is polled together with the request and later with the body,
//! and between requests it is only its byte stream.

use std::pin::pin;
use std::task::{Context, Poll};

use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Frame, Incoming};
use hyper::client::conn::http1;

use super::transport::{Answered, Io};

/// Most response headers, at hyper's fixed cost of one slot each.
const MAX_HEADERS: usize = 256;

/// Largest buffer of a connection: how much is read at once at most.
const MAX_BUFFER_BYTES: usize = 128 << 10;

pub(super) struct Exchange {
    connection: http1::Connection<Io, Full<Bytes>>,
    sender: http1::SendRequest<Full<Bytes>>,
    closed: bool,
}

/// A request without a response.
pub(super) struct SendFailure {
    pub(super) error: hyper::Error,
    /// Bytes of a response had arrived.
    pub(super) answered: bool,
}

impl Exchange {
    /// Sends the request and waits for the response's headers.
    pub(super) async fn send(
        io: Io,
        request: Request<Full<Bytes>>,
        max_header_bytes: usize,
    ) -> Result<(Response<Incoming>, Self), SendFailure> {
        let answered = io.inner().start_request();
        let fail = |error, answered: &Answered| SendFailure { error, answered: answered.get() };
        let (sender, connection) = http1::Builder::new()
            .title_case_headers(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .max_headers(MAX_HEADERS)
            .max_header_size(max_header_bytes)
            .max_buf_size(MAX_BUFFER_BYTES.max(max_header_bytes))
            .handshake(io)
            .await
            .map_err(|error| fail(error, &answered))?;
        let mut exchange = Self { connection, sender, closed: false };
        let mut response = pin!(exchange.sender.send_request(request));
        let response = std::future::poll_fn(|context| {
            if let Poll::Ready(result) = response.as_mut().poll(context) {
                return Poll::Ready(result);
            }
            let end = if exchange.closed {
                Poll::Pending
            } else {
                exchange.connection.poll_without_shutdown(context)
            };
            let result = response.as_mut().poll(context);
            if let Poll::Ready(end) = end {
                exchange.closed = true;
                // The connection tells the request how it ended, unless there is nothing to tell but this.
                if let (Err(error), Poll::Pending) = (end, &result) {
                    return Poll::Ready(Err(error));
                }
            }
            result
        })
        .await;
        match response {
            Ok(response) => Ok((response, exchange)),
            Err(error) => Err(fail(error, &answered)),
        }
    }

    /// The next frame of the body.
    pub(super) fn poll_frame(
        &mut self,
        body: &mut Incoming,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut body = pin!(body);
        if let Poll::Ready(frame) = body.as_mut().poll_frame(context) {
            return Poll::Ready(frame);
        }
        if !self.closed && self.connection.poll_without_shutdown(context).is_ready() {
            self.closed = true;
        }
        body.as_mut().poll_frame(context)
    }

    /// After the end of the body: the byte stream, if another request can be sent on it.
    pub(super) fn into_idle(mut self, context: &mut Context<'_>) -> Option<Io> {
        // The last of the body may have been taken before the connection noticed that the message is over.
        for _ in 0..3 {
            if self.closed || self.connection.poll_without_shutdown(context).is_ready() {
                return None;
            }
            if self.sender.is_ready() {
                let parts = self.connection.into_parts();
                return parts.read_buf.is_empty().then_some(parts.io);
            }
        }
        None
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Exchange").field("closed", &self.closed).finish_non_exhaustive()
    }
}

//! The receiving half of a stream of messages.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::connection::Ending;
use super::error::{GrpcError, StatusOf};
use crate::http::Subject;

/// Messages of the other side, one after the other. Dropping it tells the other side that nobody reads any more.
#[derive(Debug)]
pub struct DuplexReceiver<T> {
    messages: Streaming<T>,
    subject: Subject,
    side: Side,
}

/// From which side the stream is looked at.
#[derive(Debug)]
enum Side {
    Client(Ending),
    Server,
}

impl<T> DuplexReceiver<T> {
    pub(super) fn of_server(messages: Streaming<T>, subject: Subject, ending: Ending) -> Self {
        Self { messages, subject, side: Side::Client(ending) }
    }

    pub(super) fn of_client(messages: Streaming<T>, subject: Subject) -> Self {
        Self { messages, subject, side: Side::Server }
    }

    /// The next message; `None` when the other side has ended the stream in good order, and at a server also when the
    /// client has given it up or its connection was found dead. May be given up at any time without losing a message.
    ///
    /// # Errors
    /// [`GrpcError::Status`] when the server ended the stream with an error, [`GrpcError::Broken`] when the connection
    /// broke, the client gave up, or a message cannot be read or is larger than [`super::MAX_MESSAGE_BYTES`]. Nothing
    /// follows an error.
    pub async fn next(&mut self) -> Result<Option<T>, GrpcError> {
        self.messages.message().await.map_err(|status| {
            let subject = self.subject.clone();
            match &self.side {
                Side::Client(ending) => GrpcError::from_status(status, subject, &StatusOf::Server(ending)),
                Side::Server => GrpcError::from_status(status, subject, &StatusOf::Client),
            }
        })
    }
}

/// The sending half as tonic takes it.
pub(super) struct Outgoing<T>(pub(super) mpsc::Receiver<T>);

impl<T> Stream for Outgoing<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_recv(context)
    }
}

/// [`Outgoing`] of a server; tells when it is let go, which is after its last message was taken.
pub(super) struct OutgoingOfServer<T> {
    pub(super) messages: Outgoing<T>,
    /// Dropped with this.
    pub(super) _taken: tokio::sync::oneshot::Sender<()>,
}

impl<T> Stream for OutgoingOfServer<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.messages).poll_next(context).map(|message| message.map(Ok))
    }
}

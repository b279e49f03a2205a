//! The server side: one streaming method as a router.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ::http::{Extensions, Request, Response};
use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::post;
use futures_util::future::BoxFuture;
use outrigger_model::fault::Blame;
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tonic::server::Grpc;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use super::stream::{DuplexReceiver, Outgoing, OutgoingOfServer};
use super::tokens::{TokenName, Tokens};
use super::{MAX_DUPLEX_STREAMS, MAX_MESSAGE_BYTES, STREAM_BUFFER};
use crate::http::Subject;
use crate::log_limit::LogLimit;
use crate::server::{CertificateNames, ConnectionCloser};

/// Time that the last messages of a stream have to be taken by a client after its handler is done; then the connection
/// is closed, so that a client that reads nothing holds nothing.
const LINGER: Duration = Duration::from_secs(2);

/// Who is on the other side of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Address that it connects from.
    pub address: SocketAddr,
    /// DNS names and common name of its certificate, which was verified; `None` when the server asks for none.
    pub names: Option<Vec<String>>,
    /// The token that it presented; `None` when the server asks for none.
    pub token: Option<TokenName>,
}

type Handler<Req, Res> =
    dyn Fn(Peer, DuplexReceiver<Req>, mpsc::Sender<Res>) -> BoxFuture<'static, ()> + Send + Sync;

struct Duplex<Req, Res> {
    tokens: Tokens,
    handler: Box<Handler<Req, Res>>,
    streams: Arc<Semaphore>,
}

/// A router with one gRPC method that streams both ways, for a [`crate::server::Server`] with
/// [`crate::server::ServerLimits::for_streams`].
///
/// Each stream runs `handler` in a task of its own. The stream ends when the handler has returned and dropped its
/// sender; what was sent until then is still delivered, but a client that does not take it within two seconds loses its
/// connection. The handler learns that the client is gone from its receiver, and from `Sender::closed`.
///
/// Clients without an accepted token get `UNAUTHENTICATED`, more than [`MAX_DUPLEX_STREAMS`] streams at once get
/// `RESOURCE_EXHAUSTED`; both are logged, rate-limited.
pub fn duplex_service<Req, Res>(
    path: &'static str,
    auth: Tokens,
    handler: impl Fn(Peer, DuplexReceiver<Req>, mpsc::Sender<Res>) -> BoxFuture<'static, ()>
    + Send
    + Sync
    + 'static,
) -> Router
where
    Req: Message + Default + 'static,
    Res: Message + 'static,
{
    let duplex = Arc::new(Duplex {
        tokens: auth,
        handler: Box::new(handler),
        streams: Arc::new(Semaphore::new(MAX_DUPLEX_STREAMS)),
    });
    Router::new().route(path, post(move |request| duplex.clone().answer(request)))
}

impl<Req, Res> Duplex<Req, Res>
where
    Req: Message + Default + 'static,
    Res: Message + 'static,
{
    async fn answer(self: Arc<Self>, request: Request<axum::body::Body>) -> Response<axum::body::Body> {
        let admitted = match self.admit(&request) {
            Ok(admitted) => admitted,
            Err(status) => return status.into_http(),
        };
        let service = tower::service_fn(move |request: tonic::Request<Streaming<Req>>| {
            std::future::ready(Ok(tonic::Response::new(self.start(request.into_inner(), admitted.clone()))))
        });
        let mut grpc = Grpc::new(ProstCodec::<Res, Req>::default())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        grpc.streaming(service, request).await.map(axum::body::Body::new)
    }

    fn admit(&self, request: &Request<axum::body::Body>) -> Result<Admitted, Status> {
        let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        let address = address.ok_or_else(|| Status::internal("the peer's address is not known"))?;
        let names = request.extensions().get::<CertificateNames>().map(|names| names.0.to_vec());
        let token = self.tokens.check(request.headers()).inspect_err(|status| report(address, status))?;
        let permit = self.streams.clone().try_acquire_owned().map_err(|_| {
            let status = Status::resource_exhausted(format!("{MAX_DUPLEX_STREAMS} streams are open already"));
            report(address, &status);
            status
        })?;
        let closer = closer(request.extensions());
        Ok(Admitted { peer: Peer { address, names, token }, closer, _permit: Arc::new(permit) })
    }

    fn start(&self, messages: Streaming<Req>, admitted: Admitted) -> OutgoingOfServer<Res> {
        let (sender, receiver) = mpsc::channel(STREAM_BUFFER);
        let (taken_guard, taken) = oneshot::channel();
        let subject = Subject { host: admitted.peer.address.to_string().into(), blame: Blame::Remote };
        let incoming = DuplexReceiver::of_client(messages, subject);
        let work = (self.handler)(admitted.peer.clone(), incoming, sender);
        tokio::spawn(async move {
            work.await;
            if tokio::time::timeout(LINGER, taken).await.is_err()
                && let Some(closer) = &admitted.closer
            {
                tracing::debug!(peer = %admitted.peer.address, "closing the connection of a client that reads nothing");
                closer.close();
            }
        });
        OutgoingOfServer { messages: Outgoing(receiver), _taken: taken_guard }
    }
}

/// A stream that may be served.
#[derive(Clone)]
struct Admitted {
    peer: Peer,
    closer: Option<ConnectionCloser>,
    _permit: Arc<OwnedSemaphorePermit>,
}

fn closer(extensions: &Extensions) -> Option<ConnectionCloser> {
    extensions.get::<ConnectionCloser>().cloned()
}

fn report(address: SocketAddr, status: &Status) {
    static LIMIT: LazyLock<LogLimit> = LazyLock::new(|| LogLimit::new(Duration::from_secs(30)));
    if let Some(suppressed) = LIMIT.permit(&address.ip().to_string()) {
        tracing::warn!(peer = %address, reason = status.message(), suppressed, "a stream was refused");
    }
}

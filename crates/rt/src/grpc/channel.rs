//! The client side.

use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderMap;
use ::http::uri::PathAndQuery;
use outrigger_model::http::HttpClientConfig;
use prost::Message;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tonic::Request;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

use super::connection::{Connection, Sending};
use super::error::{GrpcError, StatusOf};
use super::stream::{DuplexReceiver, Outgoing};
use super::{MAX_MESSAGE_BYTES, STREAM_BUFFER};
use crate::http::{BuildClientError, ClientOptions, Dialer, HttpError};
use crate::resolver::Resolver;

/// How a [`GrpcChannel`] behaves.
#[derive(Debug, Clone)]
pub struct GrpcOptions {
    /// For whom and in whose name, as for an HTTP client.
    pub client: ClientOptions,
    /// A stream must be open after so long, connecting included.
    pub open_timeout: Duration,
    /// After so long without a sign of life the server is pinged.
    pub keep_alive: Duration,
    /// A ping that is not answered within this ends the connection.
    pub keep_alive_timeout: Duration,
    /// Ping also while no stream is open; some servers take that amiss.
    pub keep_alive_while_idle: bool,
}

impl GrpcOptions {
    /// Streams open within 5 s; pings after 3 s of silence, given up after another 3 s.
    pub fn new(client: ClientOptions) -> Self {
        Self {
            client,
            open_timeout: Duration::from_secs(5),
            keep_alive: Duration::from_secs(3),
            keep_alive_timeout: Duration::from_secs(3),
            keep_alive_while_idle: true,
        }
    }
}

/// One call.
#[derive(Debug, Clone)]
pub struct GrpcCall {
    /// `/package.Service/Method`.
    pub path: &'static str,
    /// Metadata, besides what the channel's configuration says.
    pub headers: HeaderMap,
    /// Time for the answer of a call, or until a stream is open; connecting included.
    pub timeout: Duration,
}

/// A way to one server. Connects when it is used, and again after the connection broke or a certificate changed;
/// cheap to clone, all clones share one connection.
#[derive(Debug, Clone)]
pub struct GrpcChannel {
    shared: Arc<ChannelShared>,
}

#[derive(Debug)]
struct ChannelShared {
    dialer: Dialer,
    options: GrpcOptions,
    connection: Mutex<Option<Connection>>,
}

impl GrpcChannel {
    /// A channel to `url`: `https://host:port`, or `http://host:port` for HTTP/2 without TLS. TLS, `Authorization`,
    /// headers and proxy are as `config` says.
    ///
    /// # Errors
    /// Only for what can never work; a missing file is an error of each call until it is there.
    pub fn new(
        url: &str,
        config: &HttpClientConfig,
        options: GrpcOptions,
        resolver: Resolver,
    ) -> Result<Self, BuildClientError> {
        let dialer = Dialer::new(url, config, &options.client, resolver)?;
        Ok(Self { shared: Arc::new(ChannelShared { dialer, options, connection: Mutex::default() }) })
    }

    /// `host:port` of the server.
    pub fn address(&self) -> Arc<str> {
        self.shared.dialer.subject().host
    }

    /// Opens a stream of messages each way. The server sees the stream's end when the sender is dropped, and both
    /// sides see it when the connection breaks. The sender waits when the server does not read.
    ///
    /// # Errors
    /// [`GrpcError`] when the stream is not open within [`GrpcOptions::open_timeout`].
    pub async fn duplex<Req, Res>(
        &self,
        path: &'static str,
    ) -> Result<(mpsc::Sender<Req>, DuplexReceiver<Res>), GrpcError>
    where
        Req: Message + 'static,
        Res: Message + Default + 'static,
    {
        let timeout = self.shared.options.open_timeout;
        self.open_duplex(GrpcCall { path, headers: HeaderMap::new(), timeout }, None).await
    }

    /// As [`GrpcChannel::duplex`], with a first message for servers that say nothing, not even their headers, before
    /// they have read it.
    ///
    /// # Errors
    /// [`GrpcError`] when the stream is not open within [`GrpcCall::timeout`].
    pub async fn open_duplex<Req, Res>(
        &self,
        call: GrpcCall,
        first: Option<Req>,
    ) -> Result<(mpsc::Sender<Req>, DuplexReceiver<Res>), GrpcError>
    where
        Req: Message + 'static,
        Res: Message + Default + 'static,
    {
        let (sender, receiver) = mpsc::channel(STREAM_BUFFER);
        if let Some(first) = first {
            sender.try_send(first).expect("the channel is empty and its receiver is here");
        }
        let timeout = call.timeout;
        let opening = async {
            let (mut grpc, ending) = self.grpc(call.headers, timeout).await?;
            let codec = ProstCodec::<Req, Res>::default();
            let request = Request::new(Outgoing(receiver));
            let response = grpc.streaming(request, PathAndQuery::from_static(call.path), codec).await;
            let subject = self.shared.dialer.subject();
            match response {
                Ok(response) => Ok(DuplexReceiver::of_server(response.into_inner(), subject, ending)),
                Err(status) => Err(GrpcError::from_status(status, subject, &StatusOf::Server(&ending))),
            }
        };
        Ok((sender, self.within(timeout, opening).await?))
    }

    /// One message there, one back.
    ///
    /// # Errors
    /// [`GrpcError`]; after one the server may or may not have acted.
    pub async fn unary<Req, Res>(&self, call: GrpcCall, message: Req) -> Result<Res, GrpcError>
    where
        Req: Message + 'static,
        Res: Message + Default + 'static,
    {
        let timeout = call.timeout;
        let calling = async {
            let (mut grpc, ending) = self.grpc(call.headers, timeout).await?;
            let mut request = Request::new(message);
            request.set_timeout(timeout);
            let codec = ProstCodec::<Req, Res>::default();
            let response = grpc.unary(request, PathAndQuery::from_static(call.path), codec).await;
            response.map(tonic::Response::into_inner).map_err(|status| {
                GrpcError::from_status(status, self.shared.dialer.subject(), &StatusOf::Server(&ending))
            })
        };
        self.within(timeout, calling).await
    }

    async fn within<T>(
        &self,
        timeout: Duration,
        work: impl Future<Output = Result<T, GrpcError>>,
    ) -> Result<T, GrpcError> {
        let subject = self.shared.dialer.subject();
        let result = tokio::time::timeout(timeout, work).await;
        result.unwrap_or(Err(GrpcError::Timeout { subject, timeout }))
    }

    /// A client for one request, on the connection that is there or a new one.
    async fn grpc(
        &self,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<(Grpc<Sending>, super::connection::Ending), GrpcError> {
        let dialer = &self.shared.dialer;
        let deadline = Instant::now() + timeout;
        let connection = self.connection(deadline).await?;
        let mut all = dialer.headers(deadline).await?;
        all.extend(headers);
        let ending = connection.ending.clone();
        let mut grpc = Grpc::with_origin(Sending { connection, headers: all }, dialer.origin())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        grpc.ready().await.map_err(|source| HttpError::Send { subject: dialer.subject(), source })?;
        Ok((grpc, ending))
    }

    async fn connection(&self, deadline: Instant) -> Result<Connection, GrpcError> {
        let dialer = &self.shared.dialer;
        let generation = dialer.generation()?;
        let mut held = self.shared.connection.lock().await;
        if let Some(connection) = &*held
            && !connection.is_closed()
            && connection.generation == generation
        {
            return Ok(connection.clone());
        }
        *held = None;
        let dialed = dialer.dial(deadline).await?;
        if !dialed.http2 {
            return Err(GrpcError::NotHttp2 { subject: dialer.subject() });
        }
        let connection = Connection::start(dialed, &self.shared.options)
            .await
            .map_err(|source| HttpError::Send { subject: dialer.subject(), source })?;
        Ok(held.insert(connection).clone())
    }
}

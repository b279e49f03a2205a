//! gRPC over this crate's own TLS, resolver, proxies and server: calls and streams of both directions.
//!
//! The framing is tonic's. Connections are made by [`GrpcChannel`] (client) and [`crate::server::Server`] (server), so
//! that certificates, keys and tokens are read anew when their files change, and a peer that vanishes without a word
//! is found by HTTP/2 pings on both sides.

mod channel;
mod connection;
mod error;
mod service;
mod stream;
mod tokens;

pub use channel::{GrpcCall, GrpcChannel, GrpcOptions};
pub use error::{BrokenCause, GrpcError};
pub use service::{Peer, duplex_service};
pub use stream::DuplexReceiver;
pub use tokens::{TokenName, Tokens};
pub use tonic::Code as GrpcCode;

/// Most bytes of one message, each way.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Most streams that a [`duplex_service`] serves at once.
pub const MAX_DUPLEX_STREAMS: usize = 1_024;

/// Messages that wait in a stream's channel before its sender waits, too.
pub const STREAM_BUFFER: usize = 64;

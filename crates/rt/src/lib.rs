//! Runtime parts: HTTP client and server, gRPC, TLS, resolver, supervisor, self-metrics.
//!
//! Mechanism without policy: what to request, when to try again and what to do with an answer is the caller's.
//!
//! Cryptography is rustls over aws-lc-rs, and the provider is passed explicitly everywhere in this crate, so no
//! process-wide default is needed for it. The binary still installs one (`CryptoProvider::install_default`) because
//! the Kubernetes client library looks for it.

mod file;
pub mod grpc;
pub mod http;
pub mod log_limit;
pub mod metrics;
pub mod resolver;
pub mod server;
pub mod signal;
pub mod supervisor;
mod tls;

pub use file::{FileError, read_secret};
pub use tls::TlsSetupError;

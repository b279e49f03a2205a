//! The list/watch against a server whose every answer the test gives.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod list_watch {
    pub(crate) mod credentials;
    pub(crate) mod protocol;
    pub(crate) mod transport;
}
#[path = "list_watch/server.rs"]
mod server;
#[path = "list_watch/setup.rs"]
mod setup;
#[path = "list_watch/sink.rs"]
mod sink;

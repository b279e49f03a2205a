//! A simulated cluster for demonstrations, drills and tests.
//!
//! The API server speaks the same protobuf over HTTP/2 and TLS as a real one, for the requests that a list/watch
//! client makes; nodes and pods have addresses in 127.0.0.0/8 behind which real HTTP endpoints answer with moving
//! values; a remote-write receiver counts what arrives. Every fault is switched on and off while it runs.

pub mod api_server;
pub mod churn;
pub mod drill;
pub mod endpoints;
pub mod faults;
pub mod population;
pub mod receiver;
pub mod state;
pub mod store;

mod encode;
mod list_options;
mod table;
mod watch;

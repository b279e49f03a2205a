//! What Outrigger keeps on disk. The only crate that syncs files.
//!
//! All of it is blocking `std::fs` I/O: a caller on an asynchronous runtime wraps the calls that its documentation
//! names as slow. Layer 2: uses `outrigger-model` only.

pub mod queue;
pub mod sealed;
pub mod state_file;

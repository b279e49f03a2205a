//! The vocabulary of Outrigger: what a label set, a sample, a target and a fault are.
//!
//! Layer 0: depends on nothing internal, does no I/O and reads no clock of its own.

pub mod clock;
pub mod cloud_auth;
pub mod duration;
pub mod fault;
pub mod histogram;
pub mod http;
pub mod labels;
pub mod names;
pub mod sample;
pub mod secret;
pub mod target;

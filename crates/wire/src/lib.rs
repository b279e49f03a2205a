//! Codecs without I/O: bytes in, values out, and back.
//!
//! Layer 1: no sockets, files or clock. Everything read here comes from another machine, so every decoder
//! has limits and answers bad input with an error, never a panic.

pub mod centre;
pub mod exposition;
pub mod kubernetes;
pub mod protobuf;
pub mod remote_write;

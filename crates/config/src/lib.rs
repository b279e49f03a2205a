//! Prometheus configuration, relabelling and selectors: text in, validated values out.
//!
//! Layer 1: reads no files and no environment itself; the caller hands both in.

mod byte_size;
pub mod error;
pub mod file_access;
pub mod go_regex;
mod go_url;
pub mod prometheus;
pub mod relabel;
pub mod selector;
mod suggest;
mod yaml;

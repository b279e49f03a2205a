//! Prometheus configuration, relabelling and selectors: text in, validated values out.
//!
//! Layer 1: reads no files and no environment itself; the caller hands both in.

pub mod error;
pub mod file_access;
pub mod go_regex;
pub mod prometheus;
pub mod relabel;
pub mod selector;

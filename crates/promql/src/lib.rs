//! PromQL as Prometheus 3 understands it: text to a syntax tree with positions, the tree to text again, and its
//! evaluation over any [`eval::SeriesSource`].
//!
//! Layer 1: no I/O and no clock. Samples come from the caller's source; the caller's [`eval::Interrupt`] ends a
//! query that takes too long.

pub mod ast;
pub mod eval;
pub mod functions;
pub mod matcher;
pub mod parser;
mod quote;

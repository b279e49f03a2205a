//! The mirror against a naive model of decoded objects, and its memory under churn.

#![allow(clippy::unwrap_used, reason = "helper functions of tests are tests too")]

mod facts;
mod memory;
mod model;
mod objects;

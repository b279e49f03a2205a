//! The mirror against a naive model of decoded objects, and its memory under churn.

mod facts;
mod memory;
mod model;
mod objects;

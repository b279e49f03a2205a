//! State metrics: what kube-state-metrics says of a cluster's objects.
//!
//! An object is read once an event. What its families say is kept packed, a few bytes a sample, and written as text
//! family by family from a snapshot. Layer 1: no sockets, files or clock.

mod block;
pub mod custom;
pub mod deflate;
mod dictionary;
pub mod family;
pub mod follow;
pub mod image;
pub mod labels;
mod number;
mod object;
pub mod options;
mod pack;
pub mod quantity;
pub mod render;
pub mod resource;
pub mod samples;
pub mod selection;
pub mod shard;
mod table;
mod yaml;

pub use object::{Encoding, ObjectError};

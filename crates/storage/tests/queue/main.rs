//! The disk queue as its users see it: against a model, killed, on bad disks.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod concurrent;
mod disk;
mod kill;
mod model;
mod records;

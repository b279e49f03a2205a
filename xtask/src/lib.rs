//! Chores of the workspace, as a library so that the end-to-end tests can use the rig.
//!
//! `cargo xtask rig …` and `cargo xtask dag` are thin command lines over [`rig`] and [`dag`].

pub mod bench;
pub mod compliance;
pub mod dag;
pub mod drill;
pub mod rig;

//! What the fuzz targets do with their input, as functions that tests call, too.
//!
//! Each reads bytes as the part that it is named for does, must neither panic nor hang, and checks what has to hold
//! for any input. See `docs/fuzzing.md`.

mod configuration;
mod exposition;
mod kubernetes;
mod queue_segment;
mod relabel;
mod remote_write;
pub mod seeds;

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("exposition_text", exposition::text),
    ("openmetrics", exposition::openmetrics),
    ("exposition_protobuf", exposition::protobuf),
    ("remote_write", remote_write::decode),
    ("kubernetes_list", kubernetes::list),
    ("kubernetes_watch", kubernetes::watch),
    ("relabel", relabel::relabel),
    ("go_regex", relabel::go_regex),
    ("configuration", configuration::load),
    ("queue_segment", queue_segment::open),
];

/// Runs one target.
pub fn run(target: &str, data: &[u8]) {
    let (_, function) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target of the table");
    function(data);
}

/// Splits off the first byte, which says how the rest is read.
fn split_choice(data: &[u8]) -> Option<(u8, &[u8])> {
    data.split_first().map(|(choice, rest)| (*choice, rest))
}

/// Cuts the input in two at a place that the choice says.
fn cut(choice: u8, data: &[u8]) -> (&[u8], &[u8]) {
    data.split_at(data.len() * usize::from(choice) / 256)
}

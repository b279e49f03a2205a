//! YAML as Prometheus reads it (go-yaml v2, strict): a tree in which every key and value knows its place.
//!
//! Only the first document counts. Duplicate keys are errors, `<<` merges in the order in which keys stand,
//! aliases share their anchor's node and are limited as go-yaml limits them.

mod base64;
mod build;
mod dialect;
pub(crate) mod scalar;
mod text;
pub(crate) mod walk;

use std::rc::Rc;

pub(crate) use build::parse;
use scalar::Scalar;

/// Bytes of one file. A hundred thousand static targets are about 10 MB.
pub(crate) const MAX_BYTES: usize = 32 << 20;

/// Nodes of one file, aliases counted once.
const MAX_NODES: usize = 4_000_000;

/// Line and column of a character, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// Something wrong with the text itself.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) mark: Option<Mark>,
    /// Path of the key, if it is known.
    pub(crate) key: String,
    pub(crate) message: String,
    pub(crate) fix: &'static str,
}

/// One value with its place.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) value: Value,
    /// Nodes in this one, aliases expanded, this one included; and how many of them stand behind an alias.
    expanded: Expansion,
}

#[derive(Debug, Clone, Copy)]
struct Expansion {
    nodes: u64,
    aliased: u64,
}

#[derive(Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    Sequence(Vec<Rc<Node>>),
    Mapping(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Rc<Node>,
    pub(crate) value: Rc<Node>,
    /// Came in through `<<`.
    pub(crate) merged: bool,
}

/// The first document of a file.
#[derive(Debug)]
pub(crate) struct Document {
    /// Absent when there is nothing but white space and comments.
    pub(crate) root: Option<Rc<Node>>,
    /// Where a second document starts, which is not read.
    pub(crate) second: Option<Mark>,
}

impl Node {
    /// Whether go-yaml leaves a typed field at its zero value.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }

    /// The value of `key` in a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        let Value::Mapping(entries) = &self.value else { return None };
        let of_key = |entry: &&Entry| matches!(&entry.key.value, Value::Scalar(text) if text.text() == key);
        entries.iter().rev().find(of_key).map(|entry| &*entry.value)
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar.text()),
            Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;

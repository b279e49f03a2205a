//! YAML as kube-state-metrics reads it (go-yaml v3): a tree in which every key and value knows its place.
//!
//! Only the first document counts. Duplicate keys are errors; `<<` merges, and what a mapping says itself wins;
//! aliases share their anchor's node, and what they expand to is limited.

mod build;

use std::rc::Rc;

use thiserror::Error;

pub(crate) use build::parse;

/// Bytes of a text.
const MOST_BYTES: usize = 8 << 20;

/// Values of a document with all aliases expanded.
const MOST_NODES: u64 = 1_000_000;

/// Levels of a document.
const MOST_LEVELS: usize = 100;

/// Line and column of a character, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// Something wrong with the text itself.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub(crate) struct SyntaxError {
    pub(crate) mark: Mark,
    pub(crate) message: String,
    pub(crate) fix: &'static str,
}

/// One value with its place.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) value: Value,
    /// Values in this one with all aliases expanded, this one included.
    expanded: u64,
}

#[derive(Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    Sequence(Vec<Rc<Node>>),
    Mapping(Vec<Entry>),
}

/// A key with its value. Within a mapping no text of a key stands twice.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Rc<Node>,
    pub(crate) value: Rc<Node>,
}

/// A scalar as written, with quotes and escapes undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Written without quotes and not as a block, and not tagged as text.
    pub(crate) plain: bool,
}

impl Node {
    /// Whether it is nothing: a field keeps its zero value, an element of a list is left out.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }

    /// A scalar as a Go `string`: whatever is written, also a number.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if !scalar.is_null() => Some(&scalar.text),
            _ => None,
        }
    }

    /// A scalar as a Go `bool`.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        let Value::Scalar(Scalar { text, plain }) = &self.value else { return None };
        match text.as_str() {
            "true" | "True" | "TRUE" if *plain => Some(true),
            "false" | "False" | "FALSE" if *plain => Some(false),
            "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
            "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
            _ => None,
        }
    }

    /// A scalar as a Go `int64`; a fraction is cut off.
    pub(crate) fn as_int(&self) -> Option<i64> {
        let Value::Scalar(Scalar { text, plain: true }) = &self.value else { return None };
        if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
            return None;
        }
        let digits = text.replace('_', "");
        integer(&digits).or_else(|| {
            let float: f64 = digits.parse().ok()?;
            let fits = float.is_finite() && float.abs() < i64::MAX as f64;
            fits.then_some(float as i64)
        })
    }

    /// What it is, for messages.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.value {
            Value::Scalar(scalar) if scalar.is_null() => "nothing",
            Value::Scalar(_) => "a single value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

impl Scalar {
    fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    fn is_merge_key(&self) -> bool {
        self.plain && self.text == "<<"
    }
}

/// Go's `ParseInt` with base 0.
fn integer(text: &str) -> Option<i64> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&unsigned[2..], 16),
        [b'0', b'b' | b'B', ..] => (&unsigned[2..], 2),
        [b'0', b'o' | b'O', ..] => (&unsigned[2..], 8),
        [b'0', _, ..] => (&unsigned[1..], 8),
        _ => (unsigned, 10),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

#[cfg(test)]
mod tests;

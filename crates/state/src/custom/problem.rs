//! What can be wrong with an object, or with a path.

use std::fmt;

use thiserror::Error;

use super::path::Path;

/// Why a path cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PathError {
    /// A segment in brackets without `=`.
    #[error("invalid list lookup: {0}")]
    Lookup(String),
}

/// Why a value is no number.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NumberError {
    /// There is nothing.
    #[error("expected number but found nil value")]
    Nil,
    /// A list or mapping, as Go writes it.
    #[error("expected number but was {0}")]
    NotNumber(String),
    /// A text that is no number.
    #[error("strconv.ParseFloat: parsing {0:?}: invalid syntax")]
    Syntax(String),
}

/// Why a value of an object gives no sample.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ValueError {
    /// It is no number.
    #[error("{}{cause}", at(.path, .place, .value_from))]
    Number {
        /// The metric's path.
        path: String,
        /// Key or index of the element below it.
        place: Option<String>,
        /// Path below that.
        value_from: Option<String>,
        /// Why.
        cause: NumberError,
    },
    /// The path leads nowhere.
    #[error("{path}: got nil while resolving path")]
    Nothing {
        /// The metric's path, with the place of an element.
        path: String,
    },
    /// `labelFromKey` and `labelsFromPath` give the same label.
    #[error(
        "{path}: labelFromKey ({label}) generated labels conflict with labelsFromPath, consider renaming it"
    )]
    Conflict {
        /// The metric's path.
        path: String,
        /// The label.
        label: String,
    },
    /// The value of a state set is no text.
    #[error("{path}: expected value for path to be string, got {kind}")]
    NotText {
        /// Path of the value.
        path: String,
        /// What it is, as Go names it.
        kind: &'static str,
    },
}

fn at(path: &str, place: &Option<String>, value_from: &Option<String>) -> String {
    let place = place.iter().map(|place| format!("[{place}]"));
    std::iter::once(path.to_owned())
        .chain(place)
        .chain(value_from.clone())
        .fold(String::new(), |text, part| text + &part + ": ")
}

impl ValueError {
    pub(super) fn number(
        path: &Path,
        place: Option<String>,
        value_from: Option<&Path>,
        cause: NumberError,
    ) -> Self {
        let value_from = value_from.map(Path::to_string);
        Self::Number { path: path.to_string(), place, value_from, cause }
    }
}

/// A value that gave no sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem<'a> {
    /// The metric family.
    pub family: &'a str,
    /// Namespace of the object.
    pub namespace: &'a str,
    /// Name of the object.
    pub name: &'a str,
    /// Verbosity (`-v`) from which on it is to be logged: `errorLogV`.
    pub verbosity: i32,
    /// What is wrong.
    pub error: &'a ValueError,
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {}/{}: {}", self.family, self.namespace, self.name, self.error)
    }
}

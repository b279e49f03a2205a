//! Kubernetes label and field selectors, parsed as the API machinery parses them and evaluated in process.

mod field;
mod label;

pub use field::{FieldSelector, FieldTerm};
pub use label::{LabelRequirement, LabelSelector, Operator};

/// A selector that Kubernetes would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(String);

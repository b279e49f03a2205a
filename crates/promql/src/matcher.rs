//! Label matchers of vector selectors.

use std::fmt;

use outrigger_config::go_regex::{GoRegex, GoRegexError};
use outrigger_model::labels::{Labels, METRIC_NAME};
use outrigger_model::names::NameValidation;

use crate::quote::quote;

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, a regular expression of Go's dialect that must match the whole value.
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// The operator as it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        }
    }
}

/// A condition on one label. An absent label has the empty value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    regex: Option<GoRegex>,
}

impl Matcher {
    /// A matcher.
    ///
    /// # Errors
    /// When `value` is to be a regular expression and is none.
    pub fn new(name: impl Into<String>, op: MatchOp, value: impl Into<String>) -> Result<Self, GoRegexError> {
        let value = value.into();
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(GoRegex::anchored(&value)?),
        };
        Ok(Self { name: name.into(), op, value, regex })
    }

    /// `name="value"`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// The label.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it compares.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// The value or the pattern.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a label of this value (`""`: absent) fulfils the condition.
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Equal, _) => value == self.value,
            (MatchOp::NotEqual, _) => value != self.value,
            (MatchOp::Regex, regex) => regex.as_ref().is_some_and(|regex| regex.is_match(value)),
            (MatchOp::NotRegex, regex) => !regex.as_ref().is_some_and(|regex| regex.is_match(value)),
        }
    }

    /// Whether a series of these labels fulfils the condition.
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name).unwrap_or(""))
    }

    /// Whether it is about the metric name.
    pub fn is_metric_name(&self) -> bool {
        self.name == METRIC_NAME
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, op, value, .. } = self;
        if NameValidation::Legacy.is_label_name(name) {
            write!(formatter, "{name}{}{}", op.symbol(), quote(value))
        } else {
            write!(formatter, "{}{}{}", quote(name), op.symbol(), quote(value))
        }
    }
}

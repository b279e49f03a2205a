//! Paths into an object: `[status, conditions, "[type=Ready]", status]`.

use std::fmt;

use serde_json::Value;

use super::number::to_float;
use super::problem::PathError;

/// A compiled path. Displays as `[status,conditions]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Path(Vec<Segment>);

#[derive(Debug, Clone, PartialEq)]
struct Segment {
    text: String,
    step: Step,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// A key of a mapping or an index of a list.
    Member {
        /// `key=value`: the value of that key if it is this text.
        equal: Option<(String, String)>,
        /// From the end if negative.
        index: Option<i64>,
    },
    /// `[key=value]`: the first element of a list that has it.
    Find { key: String, text: String, number: Option<f64>, boolean: Option<bool> },
}

impl Path {
    /// Compiles the segments of a path.
    ///
    /// # Errors
    /// When a segment in brackets is no `[key=value]`.
    pub(super) fn compile<'a>(segments: impl IntoIterator<Item = &'a str>) -> Result<Self, PathError> {
        segments.into_iter().map(Segment::compile).collect::<Result<_, _>>().map(Self)
    }

    /// What the path leads to; nothing where it ends early or at `null`.
    pub(super) fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        let found = self.0.iter().try_fold(value, |value, segment| segment.get(value));
        found.filter(|value| !value.is_null())
    }

    /// The path with another one behind it.
    pub(super) fn join(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// The text of the only segment, unless it is empty or has a comma.
    pub(super) fn single_key(&self) -> Option<&str> {
        match self.0.as_slice() {
            [only] if !only.text.is_empty() && !only.text.contains(',') => Some(&only.text),
            _ => None,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[")?;
        for (place, segment) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { "," };
            write!(formatter, "{separator}{}", segment.text)?;
        }
        formatter.write_str("]")
    }
}

impl Segment {
    fn compile(text: &str) -> Result<Self, PathError> {
        let step = match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => {
                let Some((key, wanted)) = inner.split_once('=') else {
                    return Err(PathError::Lookup(text.to_owned()));
                };
                Step::Find {
                    key: key.to_owned(),
                    text: wanted.to_owned(),
                    number: to_float(&Value::from(wanted), false).ok(),
                    boolean: go_bool(wanted),
                }
            }
            None => Step::Member { equal: key_and_value(text), index: go_index(text) },
        };
        Ok(Self { text: text.to_owned(), step })
    }

    fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        match (&self.step, value) {
            (Step::Member { equal, .. }, Value::Object(members)) => {
                let equal = equal.as_ref().and_then(|(key, wanted)| {
                    members.get(key).filter(|value| value.as_str() == Some(wanted))
                });
                equal.or_else(|| members.get(&self.text))
            }
            (Step::Member { index: Some(index), .. }, Value::Array(elements)) => {
                let index =
                    if *index < 0 { index.checked_add_unsigned(elements.len() as u64)? } else { *index };
                elements.get(usize::try_from(index).ok()?)
            }
            (Step::Find { key, text, number, boolean }, Value::Array(elements)) => {
                elements.iter().find(|element| {
                    let candidate = element.as_object().and_then(|members| members.get(key));
                    candidate.is_some_and(|candidate| {
                        candidate.as_str() == Some(text)
                            || number.is_some_and(|number| {
                                to_float(candidate, false).is_ok_and(|other| number == other)
                            })
                            || boolean.is_some_and(|boolean| candidate.as_bool() == Some(boolean))
                    })
                })
            }
            _ => None,
        }
    }
}

fn key_and_value(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    (!value.contains('=')).then(|| (key.to_owned(), value.to_owned()))
}

/// Go's `strconv.ParseBool`.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Go's `strconv.Atoi`.
fn go_index(text: &str) -> Option<i64> {
    text.parse().ok()
}

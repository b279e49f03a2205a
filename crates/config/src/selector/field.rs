//! Field selectors (`k8s.io/apimachinery/pkg/fields/selector.go`).

use std::fmt;

use super::SelectorError;

/// One condition on one field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldTerm {
    /// Path of the field, for example `spec.nodeName`.
    pub field: String,
    /// Whether the value must be equal (`=`, `==`) or must not (`!=`).
    pub equal: bool,
    /// The value, escapes undone.
    pub value: String,
}

/// A conjunction of conditions on fields; the empty one matches everything.
///
/// `Display` is canonical: the order and `=` or `==` do not matter, and it parses again to an equal selector.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct FieldSelector {
    terms: Vec<FieldTerm>,
}

impl FieldSelector {
    /// Parses `spec.nodeName=a,status.phase!=Failed`.
    ///
    /// # Errors
    /// What is wrong, where `fields.ParseSelector` refuses the text.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for part in split_terms(text) {
            if part.is_empty() {
                continue;
            }
            let Some((field, equal, value)) = split_term(part) else {
                return Err(SelectorError(format!("'{part}' has no '=', '==' or '!='")));
            };
            let term = FieldTerm { field: field.to_owned(), equal, value: unescape(value)? };
            if !(term.field.is_empty() && term.value.is_empty()) {
                terms.push(term);
            }
        }
        terms.sort();
        terms.dedup();
        Ok(Self { terms })
    }

    /// Whether an object matches; `field` gives the value of a field, `None` or `""` when the object lacks it.
    pub fn matches<'a>(&self, field: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms.iter().all(|term| (field(&term.field).unwrap_or("") == term.value) == term.equal)
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The conditions, sorted.
    pub fn terms(&self) -> &[FieldTerm] {
        &self.terms
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.terms.iter().enumerate() {
            let separator = if i == 0 { "" } else { "," };
            let operator = if term.equal { "=" } else { "!=" };
            write!(formatter, "{separator}{}{operator}{}", term.field, escape(&term.value))?;
        }
        Ok(())
    }
}

/// Splits at commas that no backslash escapes.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (i, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    for (i, _) in term.char_indices() {
        for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = term[i..].strip_prefix(operator) {
                return Some((&term[..i], equal, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => text.push(escaped),
                other => {
                    let sequence: String = std::iter::once('\\').chain(other).collect();
                    return Err(SelectorError(format!(
                        "'{sequence}' is not one of the escapes \\\\ \\, \\="
                    )));
                }
            },
            ',' | '=' => {
                return Err(SelectorError(format!(
                    "'{character}' in a value must be written '\\{character}'"
                )));
            }
            other => text.push(other),
        }
    }
    Ok(text)
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_and_prints_canonically() {
        for (text, canonical) in [
            ("", ""),
            (",", ""),
            ("metadata.status=Running", "metadata.status=Running"),
            ("b==2,a=1", "a=1,b=2"),
            ("a!=1", "a!=1"),
            (r"a=x\,y", r"a=x\,y"),
            (r"a=x\=y", r"a=x\=y"),
            (r"a=x\\", r"a=x\\"),
            ("a=", "a="),
            ("=", ""),
            ("a =1", "a =1"),
        ] {
            let selector = FieldSelector::parse(text).expect(text);
            assert_eq!(selector.to_string(), canonical, "{text}");
            assert_eq!(FieldSelector::parse(canonical).expect(canonical), selector, "{text}");
        }
    }

    #[test]
    fn refuses_what_kubernetes_refuses() {
        for text in ["metadata.status-Running", "a", "a=1=2", r"a=\x", r"a=x\", "a===b", "a=1,b"] {
            assert!(FieldSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_absent_field_is_the_empty_string() {
        let fields = |field: &str| (field == "spec.nodeName").then_some("n1");
        for (text, expected) in [
            ("", true),
            ("spec.nodeName=n1", true),
            ("spec.nodeName!=n1", false),
            ("spec.nodeName!=", true),
            ("status.phase=", true),
            ("status.phase!=Failed", true),
            ("spec.nodeName=n1,status.phase=Running", false),
        ] {
            assert_eq!(FieldSelector::parse(text).expect(text).matches(fields), expected, "{text}");
        }
    }
}

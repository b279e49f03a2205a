//! Relabelling: rules that edit, keep or drop a label set, as Prometheus 3's `model/relabel/relabel.go`.

mod letter_case;
mod validate;

use md5::{Digest, Md5};
use outrigger_model::labels::LabelsBuilder;
use outrigger_model::names::NameValidation;

use crate::go_regex::{GoRegex, Template};

/// One entry of `relabel_configs`, `metric_relabel_configs` or `write_relabel_configs` as it was written.
///
/// `None` means that the key is absent: it then takes Prometheus' default. A text key that is present but null is
/// not absent: Prometheus reads it as `""`, so hand in `Some(String::new())` (a null `source_labels` or `modulus`
/// is the same as an absent one).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RelabelRaw {
    /// `source_labels`.
    pub source_labels: Option<Vec<String>>,
    /// `separator`, `;` by default.
    pub separator: Option<String>,
    /// `target_label`.
    pub target_label: Option<String>,
    /// `regex`, `(.*)` by default.
    pub regex: Option<String>,
    /// `modulus`, for `hashmod`.
    pub modulus: Option<u64>,
    /// `replacement`, `$1` by default.
    pub replacement: Option<String>,
    /// `action`, `replace` by default; upper and lower case are the same.
    pub action: Option<String>,
}

/// A rule that Prometheus would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RelabelError {
    /// The key of the rule that is wrong, for example `target_label`.
    pub key: &'static str,
    /// What is wrong with it.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}

/// A validated and compiled rule. Equal when written alike.
#[derive(Debug, Clone)]
pub struct RelabelRule {
    raw: RelabelRaw,
    validation: NameValidation,
    source: Vec<Box<str>>,
    separator: Box<str>,
    regex: GoRegex,
    operation: Operation,
}

#[derive(Debug, Clone)]
enum Operation {
    Replace { target: Template, replacement: Template },
    Keep,
    Drop,
    KeepEqual { target: Box<str> },
    DropEqual { target: Box<str> },
    HashMod { target: Box<str>, modulus: u64 },
    LabelMap { replacement: Template },
    LabelDrop,
    LabelKeep,
    Lowercase { target: Box<str> },
    Uppercase { target: Box<str> },
}

impl PartialEq for RelabelRule {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw && self.validation == other.validation
    }
}

impl Eq for RelabelRule {}

impl RelabelRule {
    /// Validates and compiles `raw`; `validation` says what a label name is.
    ///
    /// # Errors
    /// What Prometheus' `relabel.Config` refuses, with the key at fault and a fix.
    pub fn new(raw: RelabelRaw, validation: NameValidation) -> Result<Self, RelabelError> {
        validate::compile(raw, validation)
    }

    /// The rule as it was written.
    pub fn raw(&self) -> &RelabelRaw {
        &self.raw
    }

    /// Applies the rule; false when it drops the label set.
    fn apply(&self, labels: &mut LabelsBuilder, scratch: &mut Scratch) -> bool {
        match &self.operation {
            Operation::Keep => self.regex.is_match(self.source_value(labels, &mut scratch.value)),
            Operation::Drop => !self.regex.is_match(self.source_value(labels, &mut scratch.value)),
            Operation::KeepEqual { target } => {
                labels.get(target) == self.source_value(labels, &mut scratch.value)
            }
            Operation::DropEqual { target } => {
                labels.get(target) != self.source_value(labels, &mut scratch.value)
            }
            Operation::Replace { target, replacement } => {
                self.replace(target, replacement, labels, scratch);
                true
            }
            Operation::HashMod { target, modulus } => {
                let hash = hash(self.source_value(labels, &mut scratch.value));
                labels.set(target, &(hash % modulus).to_string());
                true
            }
            Operation::Lowercase { target } => {
                let value = letter_case::lower(self.source_value(labels, &mut scratch.value));
                labels.set(target, &value);
                true
            }
            Operation::Uppercase { target } => {
                let value = letter_case::upper(self.source_value(labels, &mut scratch.value));
                labels.set(target, &value);
                true
            }
            Operation::LabelMap { replacement } => {
                self.map_labels(replacement, labels);
                true
            }
            Operation::LabelDrop => {
                labels.retain(|name, _| !self.regex.is_match(name));
                true
            }
            Operation::LabelKeep => {
                labels.retain(|name, _| self.regex.is_match(name));
                true
            }
        }
    }

    /// The values of the source labels, joined.
    fn source_value<'l>(&self, labels: &'l LabelsBuilder, joined: &'l mut String) -> &'l str {
        if let [only] = self.source.as_slice() {
            return labels.get(only);
        }
        joined.clear();
        for (i, name) in self.source.iter().enumerate() {
            if i > 0 {
                joined.push_str(&self.separator);
            }
            joined.push_str(labels.get(name));
        }
        joined
    }

    /// A target that is no label name leaves the labels alone; an empty result deletes the target.
    fn replace(
        &self,
        target: &Template,
        replacement: &Template,
        labels: &mut LabelsBuilder,
        scratch: &mut Scratch,
    ) {
        let Scratch { value, name, result } = scratch;
        let Some(captures) = self.regex.captures(self.source_value(labels, value)) else { return };
        name.clear();
        target.expand(&captures, name);
        if !self.validation.is_label_name(name) {
            return;
        }
        result.clear();
        replacement.expand(&captures, result);
        labels.set(name, result);
    }

    /// Copies the labels whose names match. The new names come from the labels as they were; where two labels
    /// map to one name the later in order of name wins, and an empty name is left out.
    fn map_labels(&self, replacement: &Template, labels: &mut LabelsBuilder) {
        let mapped: Vec<(String, String)> = labels
            .iter()
            .filter(|(name, _)| self.regex.is_match(name))
            .map(|(name, value)| (self.regex.replace_all(name, replacement), value.to_owned()))
            .collect();
        for (name, value) in mapped.iter().filter(|(name, _)| !name.is_empty()) {
            labels.set(name, value);
        }
    }
}

/// Buffers that the rules of one label set share.
#[derive(Default)]
struct Scratch {
    value: String,
    name: String,
    result: String,
}

/// Applies `rules` in order to `labels`. Returns false when a rule drops the label set, which is then
/// left as that rule found it.
pub fn apply(rules: &[RelabelRule], labels: &mut LabelsBuilder) -> bool {
    let mut scratch = Scratch::default();
    rules.iter().all(|rule| rule.apply(labels, &mut scratch))
}

/// The last eight bytes of the MD5 sum, which shards every Prometheus fleet.
fn hash(value: &str) -> u64 {
    let sum: [u8; 16] = Md5::digest(value.as_bytes()).into();
    let (_, last) = sum.split_at(8);
    last.iter().fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;

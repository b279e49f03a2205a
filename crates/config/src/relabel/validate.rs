//! From what was written to a compiled rule: defaults, and every check of Prometheus' `relabel.Config`.

use std::sync::LazyLock;

use outrigger_model::names::NameValidation;

use super::{Operation, RelabelError, RelabelRaw, RelabelRule};
use crate::go_regex::GoRegex;

const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_REPLACEMENT: &str = "$1";
const ACTIONS: &str = "replace, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, \
                       lowercase or uppercase";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

impl Action {
    fn parse(word: &str) -> Option<Self> {
        Some(match word.to_lowercase().as_str() {
            "replace" => Action::Replace,
            "keep" => Action::Keep,
            "drop" => Action::Drop,
            "keepequal" => Action::KeepEqual,
            "dropequal" => Action::DropEqual,
            "hashmod" => Action::HashMod,
            "labelmap" => Action::LabelMap,
            "labeldrop" => Action::LabelDrop,
            "labelkeep" => Action::LabelKeep,
            "lowercase" => Action::Lowercase,
            "uppercase" => Action::Uppercase,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Action::Replace => "replace",
            Action::Keep => "keep",
            Action::Drop => "drop",
            Action::KeepEqual => "keepequal",
            Action::DropEqual => "dropequal",
            Action::HashMod => "hashmod",
            Action::LabelMap => "labelmap",
            Action::LabelDrop => "labeldrop",
            Action::LabelKeep => "labelkeep",
            Action::Lowercase => "lowercase",
            Action::Uppercase => "uppercase",
        }
    }

    fn needs_target(self) -> bool {
        use Action::{DropEqual, HashMod, KeepEqual, Lowercase, Replace, Uppercase};
        matches!(self, Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual)
    }
}

/// The rule with its defaults filled in.
struct Filled<'r> {
    raw: &'r RelabelRaw,
    action: Action,
    target: &'r str,
    separator: &'r str,
    replacement: &'r str,
    modulus: u64,
    validation: NameValidation,
}

pub(super) fn compile(raw: RelabelRaw, validation: NameValidation) -> Result<RelabelRule, RelabelError> {
    check_source_labels(&raw)?;
    let pattern = raw.regex.as_deref().unwrap_or(DEFAULT_REGEX);
    let regex = GoRegex::anchored(pattern).map_err(|error| RelabelError {
        key: "regex",
        message: error.to_string(),
        fix: format!(
            "write the pattern as Go's regexp package (RE2) has it, see byte {} of {pattern:?}",
            error.offset
        ),
    })?;
    let filled = Filled {
        raw: &raw,
        action: action(raw.action.as_deref())?,
        target: raw.target_label.as_deref().unwrap_or_default(),
        separator: raw.separator.as_deref().unwrap_or(DEFAULT_SEPARATOR),
        replacement: raw.replacement.as_deref().unwrap_or(DEFAULT_REPLACEMENT),
        modulus: raw.modulus.unwrap_or(0),
        validation,
    };
    filled.check()?;
    let operation = filled.operation(&regex);
    Ok(RelabelRule {
        validation,
        source: raw.source_labels.iter().flatten().map(|name| name.as_str().into()).collect(),
        separator: filled.separator.into(),
        regex,
        operation,
        raw,
    })
}

fn check_source_labels(raw: &RelabelRaw) -> Result<(), RelabelError> {
    match raw.source_labels.iter().flatten().find(|name| !NameValidation::Utf8.is_label_name(name)) {
        Some(name) => Err(RelabelError {
            key: "source_labels",
            message: format!("{name:?} is not a valid label name"),
            fix: "name a label, or leave the entry out".to_owned(),
        }),
        None => Ok(()),
    }
}

fn action(written: Option<&str>) -> Result<Action, RelabelError> {
    let Some(word) = written else { return Ok(Action::Replace) };
    Action::parse(word).ok_or_else(|| RelabelError {
        key: "action",
        message: match word {
            "" => "relabel action cannot be empty".to_owned(),
            _ => format!("unknown relabel action {word:?}"),
        },
        fix: format!("write {ACTIONS}, or leave the key out for replace"),
    })
}

impl Filled<'_> {
    fn check(&self) -> Result<(), RelabelError> {
        self.check_needed()?;
        self.check_names()?;
        match self.action {
            Action::KeepEqual | Action::DropEqual => self.check_only_source_and_target(),
            Action::LabelDrop | Action::LabelKeep => self.check_only_regex(),
            _ => Ok(()),
        }
    }

    fn error(&self, key: &'static str, message: String, fix: &str) -> Result<(), RelabelError> {
        Err(RelabelError { key, message, fix: fix.to_owned() })
    }

    fn check_needed(&self) -> Result<(), RelabelError> {
        if self.action == Action::HashMod && self.modulus == 0 {
            return self.error(
                "modulus",
                "relabel configuration for hashmod requires non-zero modulus".to_owned(),
                "set modulus to the number of shards",
            );
        }
        if self.action.needs_target() && self.target.is_empty() {
            return self.error(
                "target_label",
                format!(
                    "relabel configuration for {} action requires 'target_label' value",
                    self.action.name()
                ),
                "set target_label to the label that takes the result",
            );
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), RelabelError> {
        let variable = self.action == Action::Replace && self.target.contains('$');
        let valid = match variable {
            true => is_name_template(self.target, self.validation),
            false => self.validation.is_label_name(self.target),
        };
        if self.action.needs_target() && !valid {
            return self.error(
                "target_label",
                format!("{:?} is invalid 'target_label' for {} action", self.target, self.action.name()),
                name_fix(self.validation),
            );
        }
        let fixed_replacement = matches!(
            self.action,
            Action::Lowercase | Action::Uppercase | Action::KeepEqual | Action::DropEqual
        );
        if fixed_replacement && self.replacement != DEFAULT_REPLACEMENT {
            return self.error(
                "replacement",
                format!("'replacement' can not be set for {} action", self.action.name()),
                "delete this key",
            );
        }
        if self.action == Action::LabelMap && !is_name_template(self.replacement, self.validation) {
            return self.error(
                "replacement",
                format!("{:?} is invalid 'replacement' for {} action", self.replacement, self.action.name()),
                name_fix(self.validation),
            );
        }
        Ok(())
    }

    /// The default regex is fine for Prometheus only when it is not written.
    fn check_only_source_and_target(&self) -> Result<(), RelabelError> {
        let surplus = [
            ("regex", self.raw.regex.is_some()),
            ("modulus", self.modulus != 0),
            ("separator", self.separator != DEFAULT_SEPARATOR),
        ];
        self.check_surplus(&surplus, "'source_labels' and `target_label`")
    }

    fn check_only_regex(&self) -> Result<(), RelabelError> {
        let surplus = [
            ("source_labels", self.raw.source_labels.is_some()),
            ("target_label", !self.target.is_empty()),
            ("modulus", self.modulus != 0),
            ("separator", self.separator != DEFAULT_SEPARATOR),
            ("replacement", self.replacement != DEFAULT_REPLACEMENT),
        ];
        self.check_surplus(&surplus, "'regex'")
    }

    fn check_surplus(&self, surplus: &[(&'static str, bool)], only: &str) -> Result<(), RelabelError> {
        match surplus.iter().find(|(_, written)| *written) {
            Some((key, _)) => self.error(
                key,
                format!("{} action requires only {only}, and no other fields", self.action.name()),
                "delete this key",
            ),
            None => Ok(()),
        }
    }

    fn operation(&self, regex: &GoRegex) -> Operation {
        let target = || self.target.into();
        match self.action {
            Action::Replace => Operation::Replace {
                target: regex.template(self.target),
                replacement: regex.template(self.replacement),
            },
            Action::Keep => Operation::Keep,
            Action::Drop => Operation::Drop,
            Action::KeepEqual => Operation::KeepEqual { target: target() },
            Action::DropEqual => Operation::DropEqual { target: target() },
            Action::HashMod => Operation::HashMod { target: target(), modulus: self.modulus },
            Action::LabelMap => Operation::LabelMap { replacement: regex.template(self.replacement) },
            Action::LabelDrop => Operation::LabelDrop,
            Action::LabelKeep => Operation::LabelKeep,
            Action::Lowercase => Operation::Lowercase { target: target() },
            Action::Uppercase => Operation::Uppercase { target: target() },
        }
    }
}

/// Whether `text` may become a label name once its `$1` and `${name}` are filled in.
fn is_name_template(text: &str, validation: NameValidation) -> bool {
    static LEGACY: LazyLock<GoRegex> = LazyLock::new(|| {
        GoRegex::anchored(r"(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+")
            .expect("a constant pattern that tests compile")
    });
    match validation {
        NameValidation::Utf8 => validation.is_label_name(text),
        NameValidation::Legacy => LEGACY.is_match(text),
    }
}

fn name_fix(validation: NameValidation) -> &'static str {
    match validation {
        NameValidation::Utf8 => "write a name that is not empty",
        NameValidation::Legacy => {
            "write letters, digits and _, not beginning with a digit (or set metric_name_validation_scheme: utf8)"
        }
    }
}

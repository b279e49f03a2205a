//! Labels whose values are found in an object.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::go_text::go_text;
use super::path::Path;
use crate::labels::sanitize_label_name;

/// Labels of a sample, sorted by name.
pub(super) type Labels<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;

/// `labelsFromPath`, compiled.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct LabelPaths {
    /// `*`, `*…` and `…*`, sorted: all members of a mapping; those that end in `*` with what is before it as prefix.
    all: Vec<AllMembers>,
    /// Sorted by their names before these were made valid.
    one: Vec<(String, Path)>,
}

#[derive(Debug, Clone, PartialEq)]
struct AllMembers {
    prefix: Option<String>,
    path: Path,
}

impl LabelPaths {
    pub(super) fn new(paths: BTreeMap<String, Path>) -> Self {
        let mut labels = Self::default();
        for (name, path) in paths {
            if name.starts_with('*') || name.ends_with('*') {
                let prefix = name.strip_suffix('*').map(str::to_owned);
                labels.all.push(AllMembers { prefix, path });
            } else {
                labels.one.push((sanitize_label_name(&name).into_owned(), path));
            }
        }
        labels
    }

    /// Whether label names come from objects.
    pub(super) fn has_wildcard(&self) -> bool {
        !self.all.is_empty()
    }

    /// Adds the labels found in a value; single ones win over those of whole mappings, and both over what is there.
    pub(super) fn add<'a>(&'a self, value: &'a Value, labels: &mut Labels<'a>) {
        for AllMembers { prefix, path } in &self.all {
            let Some(Value::Object(members)) = path.get(value) else { continue };
            for (key, value) in members {
                let name = match prefix.as_deref() {
                    None | Some("") => sanitize_label_name(key),
                    Some(prefix) => Cow::Owned(sanitize_label_name(&format!("{prefix}{key}")).into_owned()),
                };
                labels.insert(name, go_text(value));
            }
        }
        for (name, path) in &self.one {
            if let Some(value) = path.get(value) {
                labels.insert(Cow::Borrowed(name), go_text(value));
            }
        }
    }
}

//! Lists of relabelling rules.

use outrigger_model::names::NameValidation;

use crate::relabel::{RelabelRaw, RelabelRule};
use crate::yaml::walk::{Cursor, Section};

/// Reads a list of rules, if the key is there.
pub(super) fn read(
    section: &Section<'_>,
    name: &'static str,
    validation: NameValidation,
) -> Vec<RelabelRule> {
    section.items(name).iter().filter_map(|rule| read_rule(rule, validation)).collect()
}

fn read_rule(value: &Cursor<'_>, validation: NameValidation) -> Option<RelabelRule> {
    if value.is_null() {
        value.error("the relabelling rule is empty", "remove the entry or fill it in");
        return None;
    }
    let section = value.section()?;
    let source_labels = section.get("source_labels").map(|list| label_names(&list));
    let text = |name| section.get(name).map(|value| value.text().unwrap_or_default().to_owned());
    let modulus = section.get("modulus").map(|value| value.unsigned());
    let raw = RelabelRaw {
        // A null list is no list; an empty one is.
        source_labels: source_labels
            .filter(|_| section.get("source_labels").is_some_and(|list| !list.is_null())),
        separator: text("separator"),
        target_label: text("target_label"),
        regex: text("regex"),
        modulus: modulus.flatten(),
        replacement: text("replacement"),
        action: text("action"),
    };
    let scalar_problem = ["separator", "target_label", "regex", "replacement", "action"]
        .into_iter()
        .any(|name| section.get(name).is_some_and(|value| value.node().text().is_none()));
    let rule = if scalar_problem || modulus == Some(None) {
        None
    } else {
        RelabelRule::new(raw, validation)
            .map_err(|problem| section.error_at(problem.key, problem.message, problem.fix))
            .ok()
    };
    section.finish(&[
        ("source_label", "write source_labels, which is a list"),
        ("target", "write target_label"),
        ("if", "this is a key of vmagent; use source_labels and regex"),
    ]);
    rule
}

fn label_names(list: &Cursor<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for item in list.items() {
        let Some(name) = item.text() else { continue };
        if name.is_empty() && !item.is_null() {
            item.error("a label name cannot be empty", "remove the entry or name a label");
        }
        names.push(name.to_owned());
    }
    names
}

//! Rule files: their structure and names (Prometheus `model/rulefmt/rulefmt.go`). Expressions and templates are not
//! looked into.

use std::collections::HashSet;

use outrigger_model::names::NameValidation;

use crate::error::ConfigErrors;
use crate::yaml::walk::{Cursor, Report, Section, parse_into, shorten};

/// Checks a rule file. With names as `validation` has them; promtool takes any UTF-8.
///
/// # Errors
/// Everything that is wrong, with line and column.
pub fn check_rule_file(path: &str, text: &str, validation: NameValidation) -> Result<(), ConfigErrors> {
    let report = Report::new(path);
    if let Some(root) = parse_into(text, &report).and_then(|document| document.root)
        && let Some(section) = Cursor::root(&report, &root).section()
    {
        let mut names = HashSet::new();
        for entry in section.items("groups") {
            group(&entry, validation, &mut names);
        }
        section.finish(&[
            ("rules", "write it in an entry of groups"),
            ("scrape_configs", "this is a rule file"),
        ]);
    }
    if report.is_clean() { Ok(()) } else { Err(ConfigErrors(report.into_errors())) }
}

fn group(value: &Cursor<'_>, validation: NameValidation, names: &mut HashSet<String>) {
    if value.is_null() {
        value.error("the group is empty", "remove the entry or give it a name and rules");
    }
    let Some(section) = value.section() else { return };
    let name = section.owned_text("name");
    if name.is_empty() {
        section.error_at("name", "the group has no name", "add name");
    } else if !names.insert(name) {
        section.error_at("name", "another group of this file has the same name", "rename one of the two");
    }
    section.duration("interval");
    section.duration("query_offset");
    if let Some(limit) = section.get("limit") {
        limit.integer();
    }
    labels(&section, "labels", validation, true);
    for entry in section.items("rules") {
        rule(&entry, validation);
    }
    section.finish(&[("evaluation_interval", "write interval")]);
}

fn rule(value: &Cursor<'_>, validation: NameValidation) {
    if value.is_null() {
        value.error("the rule is empty", "remove the entry, or give it record or alert, and expr");
    }
    let Some(section) = value.section() else { return };
    let (record, alert) = (section.owned_text("record"), section.owned_text("alert"));
    match (record.is_empty(), alert.is_empty()) {
        (false, false) => section.error_at("alert", "record and alert are both set", "keep one of the two"),
        (true, true) => {
            value.error("the rule is neither a recording nor an alerting rule", "add record or alert")
        }
        _ => {}
    }
    if section.owned_text("expr").is_empty() {
        section.error_at("expr", "the rule has no expression", "add expr");
    }
    for key in ["for", "keep_firing_for"] {
        let set = section.duration(key).is_some_and(|duration| !duration.is_zero());
        if set && !record.is_empty() {
            section.error_at(key, format!("{key} has no meaning in a recording rule"), "remove it");
        }
    }
    labels(&section, "labels", validation, true);
    if labels(&section, "annotations", validation, false) && !record.is_empty() {
        section.error_at("annotations", "a recording rule has no annotations", "remove them");
    }
    if !record.is_empty() && (!validation.is_metric_name(&record) || record.contains(['{', '}'])) {
        let message = format!("{} is not a metric name", shorten(&record));
        section.error_at("record", message, "write a name here and selectors in expr");
    }
    section.finish(&[("duration", "write for"), ("name", "write record or alert")]);
}

/// Checks a mapping of names to text; whether it has entries.
fn labels(section: &Section<'_>, key: &'static str, validation: NameValidation, is_labels: bool) -> bool {
    let entries = section.get(key).map(|value| value.entries()).unwrap_or_default();
    for (name, value) in &entries {
        if !validation.is_label_name(name) || (is_labels && *name == "__name__") {
            value.error(format!("{} is not a name for this", shorten(name)), "use letters, digits and _");
        }
        value.text();
    }
    !entries.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_structure_and_names() {
        let rules = |rules: &str| format!("groups:\n- name: a\n  rules:\n  - {{{rules}}}\n");
        for text in [
            String::new(),
            "groups: []\n".to_owned(),
            "groups:\n- {name: a, interval: 1m, limit: 3, labels: {x: y}, query_offset: 1s}\n".to_owned(),
            rules("record: a:b, expr: up, labels: {x: y}"),
            rules("alert: A, expr: up == 0, for: 5m, keep_firing_for: 1m, annotations: {summary: s}"),
        ] {
            assert_eq!(check_rule_file("r.yml", &text, NameValidation::Utf8), Ok(()), "{text}");
        }
        for (text, expected) in [
            ("groups: {}\n".to_owned(), "r.yml:1:1: groups: a list is expected"),
            ("rules: []\n".to_owned(), "r.yml:1:1: rules: unknown key (write it in an entry of groups)"),
            ("groups:\n- {rules: []}\n".to_owned(), "r.yml:2:3: groups[0].name: the group has no name"),
            ("groups:\n- {name: a}\n- {name: a}\n".to_owned(), "r.yml:3:10: groups[1].name: another group"),
            (rules("expr: up"), "groups[0].rules[0]: the rule is neither"),
            (rules("record: a, alert: b, expr: up"), "record and alert are both set"),
            (rules("record: a"), "groups[0].rules[0].expr: the rule has no expression"),
            (rules("record: a, expr: up, for: 1m"), "for has no meaning in a recording rule"),
            (rules("record: a, expr: up, annotations: {b: c}"), "a recording rule has no annotations"),
            (rules("record: 'a{b=1}', expr: up"), "is not a metric name"),
            (rules("alert: a, expr: up, labels: {__name__: x}"), "is not a name for this"),
            (rules("alert: a, expr: up, fr: 5m"), "unknown key (did you mean for?)"),
            (rules("alert: a, expr: up, for: 5"), "\"5\" is not a duration"),
        ] {
            let errors = check_rule_file("r.yml", &text, NameValidation::Utf8).expect_err(&text).to_string();
            assert!(errors.contains(expected) && errors.lines().count() == 1, "{text}{errors}");
        }
    }
}

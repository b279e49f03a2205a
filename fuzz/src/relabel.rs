//! Relabelling rules and regular expressions.

use outrigger_config::go_regex::GoRegex;
use outrigger_config::relabel::{RelabelRaw, RelabelRule, apply};
use outrigger_model::labels::{Labels, LabelsBuilder};
use outrigger_model::names::NameValidation;

const ACTIONS: &[&str] = &[
    "replace",
    "keep",
    "drop",
    "keepequal",
    "dropequal",
    "hashmod",
    "labelmap",
    "labeldrop",
    "labelkeep",
    "lowercase",
    "uppercase",
    "Replace",
    "nonsense",
];

/// The first byte is the action, the second says which keys are there; then texts, one a line: target label, regex,
/// replacement, separator, source labels with commas, and pairs of label name and value.
pub(crate) fn relabel(data: &[u8]) {
    let Some((action, data)) = crate::split_choice(data) else { return };
    let Some((keys, data)) = crate::split_choice(data) else { return };
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let mut key = |bit: u8| {
        let line = lines.next().unwrap_or_default();
        (keys & 1 << bit != 0).then(|| line.to_owned())
    };
    let raw = RelabelRaw {
        action: Some(ACTIONS[usize::from(action) % ACTIONS.len()].to_owned()),
        target_label: key(0),
        regex: key(1),
        replacement: key(2),
        separator: key(3),
        source_labels: key(4).map(|names| names.split(',').map(str::to_owned).collect()),
        modulus: (keys & 1 << 5 != 0).then(|| u64::from(keys) * 31 % 17),
    };
    let validation = if keys & 1 << 6 == 0 { NameValidation::Utf8 } else { NameValidation::Legacy };
    let labels: Vec<&str> = lines.collect();
    let pairs = labels.chunks_exact(2).map(|pair| (pair[0], pair[1])).filter(|(name, _)| !name.is_empty());
    let labels = Labels::from_pairs(pairs);
    let Ok(rule) = RelabelRule::new(raw.clone(), validation) else { return };
    let again = RelabelRule::new(raw.clone(), validation).expect("as the first time");
    let (kept, result) = applied(&rule, &labels);
    assert_eq!((kept, &result), (applied(&again, &labels).0, &applied(&again, &labels).1));
    let names: Vec<&str> = result.iter().map(|(name, _)| name).collect();
    assert!(names.is_sorted_by(|one, other| one < other), "{names:?}");
    assert!(result.iter().all(|(_, value)| !value.is_empty()), "an empty value is no label");
    match raw.action.as_deref() {
        Some("keep" | "drop" | "keepequal" | "dropequal") => assert_eq!(result, labels),
        Some("labeldrop" | "labelkeep") if kept => {
            assert!(result.iter().all(|(name, value)| labels.get(name) == Some(value)));
        }
        _ => assert!(kept, "only filters drop"),
    }
}

fn applied(rule: &RelabelRule, labels: &Labels) -> (bool, Labels) {
    let mut builder = LabelsBuilder::from_labels(labels);
    let kept = apply(std::slice::from_ref(rule), &mut builder);
    (kept, builder.build())
}

/// Pattern, text and replacement, one a line.
pub(crate) fn go_regex(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(3, '\n');
    let (Some(pattern), subject, template) = (lines.next(), lines.next(), lines.next()) else { return };
    let Ok(regex) = GoRegex::anchored(pattern) else { return };
    let subject = subject.unwrap_or_default();
    let template = regex.template(template.unwrap_or_default());
    let captures = regex.captures(subject);
    assert_eq!(regex.is_match(subject), captures.is_some(), "{pattern:?} on {subject:?}");
    let replaced = regex.replace_all(subject, &template);
    match captures {
        None => assert_eq!(replaced, subject),
        // As in Prometheus, a pattern may close the group that anchors it and open another one.
        Some(_) if pattern.contains(')') => {}
        Some(captures) => assert_eq!(captures.span(), (0, subject.len()), "{pattern:?} is anchored"),
    }
}

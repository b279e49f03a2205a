//! Labels of results.

use std::cmp::Ordering;

use outrigger_model::labels::{Labels, LabelsBuilder, METRIC_NAME};

/// The labels that describe a metric; operations that change its meaning drop them (Prometheus `schema.Metadata`).
const METADATA: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

pub(super) fn without_metadata(labels: &Labels) -> Labels {
    if METADATA.iter().all(|name| labels.get(name).is_none()) {
        return labels.clone();
    }
    filtered(labels, |name| !METADATA.contains(&name))
}

pub(super) fn filtered(labels: &Labels, mut keep: impl FnMut(&str) -> bool) -> Labels {
    let mut builder = LabelsBuilder::from_labels(labels);
    builder.retain(|name, _| keep(name));
    builder.build()
}

pub(super) fn is_metadata(name: &str) -> bool {
    METADATA.contains(&name)
}

pub(super) fn metric_name(labels: &Labels) -> &str {
    labels.get(METRIC_NAME).unwrap_or("")
}

pub(super) fn compare(left: &Labels, right: &Labels) -> Ordering {
    left.iter().cmp(right.iter())
}

/// As Prometheus prints a series: `name{a="b"}` (`labels.String` has the name inside the braces).
pub(super) fn print(labels: &Labels) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={}", crate::quote::quote(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}

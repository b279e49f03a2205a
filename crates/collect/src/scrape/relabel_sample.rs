//! From exposed labels to the label set of a series: target labels, `honor_labels`, metric relabelling and limits
//! (Prometheus `mutateSampleLabels`, `verifyLabelLimits`).

use std::fmt::Write as _;

use outrigger_config::relabel::{self, RelabelRule};
use outrigger_model::labels::{Labels, LabelsBuilder, METRIC_NAME};
use outrigger_model::names::NameValidation;

/// A series that fails the whole scrape. The texts are Prometheus'.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// No metric name is left after metric relabelling.
    #[error("missing metric name (__name__ label)")]
    MissingName,
    /// The metric name or a label name is not one under `metric_name_validation_scheme`.
    #[error("invalid metric name or label names: {0}")]
    InvalidName(String),
    /// The exposition names a label twice.
    #[error("label name \"{0}\" is not unique: invalid sample")]
    DuplicateLabel(String),
    /// `label_limit`.
    #[error("label_limit exceeded (metric: {metric}, number of labels: {count}, limit: {limit})")]
    TooManyLabels {
        /// The metric, shortened.
        metric: String,
        /// Its labels.
        count: usize,
        /// The limit.
        limit: u64,
    },
    /// `label_name_length_limit`.
    #[error(
        "label_name_length_limit exceeded (metric: {metric}, label name: {label}, length: {length}, limit: {limit})"
    )]
    LabelNameTooLong {
        /// The metric, shortened.
        metric: String,
        /// The label, shortened.
        label: String,
        /// Length in bytes.
        length: usize,
        /// The limit.
        limit: u64,
    },
    /// `label_value_length_limit`.
    #[error(
        "label_value_length_limit exceeded (metric: {metric}, label name: {label}, value: {value:?}, length: {length}, limit: {limit})"
    )]
    LabelValueTooLong {
        /// The metric, shortened.
        metric: String,
        /// The label, shortened.
        label: String,
        /// The value, shortened.
        value: String,
        /// Length in bytes.
        length: usize,
        /// The limit.
        limit: u64,
    },
}

impl SeriesError {
    /// Whether a label limit was exceeded.
    pub(crate) fn is_label_limit(&self) -> bool {
        match self {
            SeriesError::TooManyLabels { .. }
            | SeriesError::LabelNameTooLong { .. }
            | SeriesError::LabelValueTooLong { .. } => true,
            SeriesError::MissingName | SeriesError::InvalidName(_) | SeriesError::DuplicateLabel(_) => false,
        }
    }
}

/// `label_limit` and its companions; 0 is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LabelLimits {
    pub(crate) count: u64,
    pub(crate) name_length: u64,
    pub(crate) value_length: u64,
}

/// How exposed labels become those of a series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LabelRules<'a> {
    pub(crate) target_labels: &'a Labels,
    pub(crate) honor_labels: bool,
    pub(crate) metric_relabel: &'a [RelabelRule],
    pub(crate) validation: NameValidation,
    pub(crate) limits: LabelLimits,
}

impl LabelRules<'_> {
    /// Makes `builder` the final label set of a series that is exposed as `exposed` (`__name__` included, empty values as
    /// they are); false when metric relabelling drops it.
    pub(crate) fn apply<S: AsRef<str>>(
        &self,
        exposed: &[(S, S)],
        builder: &mut LabelsBuilder,
    ) -> Result<bool, SeriesError> {
        builder.reset(&Labels::empty());
        for (name, value) in exposed {
            builder.set(name.as_ref(), value.as_ref());
        }
        if self.honor_labels {
            self.add_absent_target_labels(exposed, builder);
        } else {
            self.override_exposed_labels(builder);
        }
        if !relabel::apply(self.metric_relabel, builder) || builder.is_empty() {
            return Ok(false);
        }
        if let Some(name) = duplicate_name(exposed) {
            return Err(SeriesError::DuplicateLabel(name.to_owned()));
        }
        self.verify(builder)?;
        Ok(true)
    }

    /// An exposed label wins, also an empty one, which removes the target's.
    fn add_absent_target_labels<S: AsRef<str>>(&self, exposed: &[(S, S)], builder: &mut LabelsBuilder) {
        for (name, value) in self.target_labels {
            if !exposed.iter().any(|(exposed_name, _)| exposed_name.as_ref() == name) {
                builder.set(name, value);
            }
        }
    }

    /// The target's label wins; the exposed one becomes `exported_…`, shorter names first, repeating the prefix
    /// until the name is free.
    fn override_exposed_labels(&self, builder: &mut LabelsBuilder) {
        let mut conflicts: Vec<(String, String)> = Vec::new();
        for (name, value) in self.target_labels {
            let exposed = builder.get(name);
            if !exposed.is_empty() {
                conflicts.push((name.to_owned(), exposed.to_owned()));
            }
            builder.set(name, value);
        }
        conflicts.sort_by_key(|(name, _)| name.len());
        for (name, value) in conflicts {
            let mut renamed = name;
            loop {
                renamed.insert_str(0, "exported_");
                if !builder.contains(&renamed) {
                    break;
                }
            }
            builder.set(&renamed, &value);
        }
    }

    fn verify(&self, labels: &LabelsBuilder) -> Result<(), SeriesError> {
        let metric = labels.get(METRIC_NAME);
        if metric.is_empty() {
            return Err(SeriesError::MissingName);
        }
        let names_are_valid = self.validation.is_metric_name(metric)
            && labels.iter().all(|(name, _)| self.validation.is_label_name(name));
        if !names_are_valid {
            return Err(SeriesError::InvalidName(display(labels)));
        }
        let metric = || shorten(metric);
        if exceeds(labels.len(), self.limits.count) {
            let (count, limit) = (labels.len(), self.limits.count);
            return Err(SeriesError::TooManyLabels { metric: metric(), count, limit });
        }
        for (name, value) in labels.iter() {
            if exceeds(name.len(), self.limits.name_length) {
                let (length, limit) = (name.len(), self.limits.name_length);
                return Err(SeriesError::LabelNameTooLong {
                    metric: metric(),
                    label: shorten(name),
                    length,
                    limit,
                });
            }
            if exceeds(value.len(), self.limits.value_length) {
                let (length, limit) = (value.len(), self.limits.value_length);
                return Err(SeriesError::LabelValueTooLong {
                    metric: metric(),
                    label: shorten(name),
                    value: shorten(value),
                    length,
                    limit,
                });
            }
        }
        Ok(())
    }
}

fn exceeds(length: usize, limit: u64) -> bool {
    limit > 0 && length as u64 > limit
}

fn shorten(text: &str) -> String {
    text.chars().take(50).collect()
}

fn duplicate_name<S: AsRef<str>>(exposed: &[(S, S)]) -> Option<&str> {
    let mut names: Vec<&str> = exposed.iter().map(|(name, _)| name.as_ref()).collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

/// `{a="b", "c.d"="e"}`, as Prometheus prints a label set.
fn display(labels: &LabelsBuilder) -> String {
    let mut text = "{".to_owned();
    for (i, (name, value)) in labels.iter().enumerate() {
        let separator = if i == 0 { "" } else { ", " };
        let written = if NameValidation::Legacy.is_label_name(name) {
            write!(text, "{separator}{name}={value:?}")
        } else {
            write!(text, "{separator}{name:?}={value:?}")
        };
        written.expect("writing to a String does not fail");
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(target_labels: &Labels, honor_labels: bool) -> LabelRules<'_> {
        LabelRules {
            target_labels,
            honor_labels,
            metric_relabel: &[],
            validation: NameValidation::Utf8,
            limits: LabelLimits::default(),
        }
    }

    #[test]
    fn conflicts_between_exposed_and_target_labels_are_resolved_as_prometheus_does() {
        type Pairs = &'static [(&'static str, &'static str)];
        // honor_labels, exposed, target, expected (from Prometheus' TestScrapeLoopAppend and its kin)
        let cases: [(bool, Pairs, Pairs, Pairs); 12] = [
            (false, &[("n", "1")], &[("n", "2")], &[("exported_n", "1"), ("n", "2")]),
            (false, &[("n", "")], &[("n", "2")], &[("n", "2")]),
            (false, &[("exported_n", "1")], &[("n", "2")], &[("exported_n", "1"), ("n", "2")]),
            (
                false,
                &[("n", "1"), ("exported_n", "x")],
                &[("n", "2")],
                &[("n", "2"), ("exported_n", "x"), ("exported_exported_n", "1")],
            ),
            (
                false,
                &[("foo", "1")],
                &[("exported_foo", "2"), ("foo", "3")],
                &[("exported_exported_foo", "1"), ("exported_foo", "2"), ("foo", "3")],
            ),
            (
                false,
                &[("foo", "1"), ("exported_foo", "2")],
                &[("foo", "3"), ("exported_foo", "4")],
                &[
                    ("exported_exported_foo", "1"),
                    ("exported_exported_exported_foo", "2"),
                    ("exported_foo", "4"),
                    ("foo", "3"),
                ],
            ),
            (true, &[("n", "1")], &[("n", "2")], &[("n", "1")]),
            (true, &[("n", "")], &[("n", "2")], &[]),
            (true, &[], &[("n", "2")], &[("n", "2")]),
            (true, &[("a", "1")], &[("n", "2")], &[("a", "1"), ("n", "2")]),
            (false, &[("a", "")], &[], &[]),
            (false, &[("a", "1")], &[("b", "2")], &[("a", "1"), ("b", "2")]),
        ];
        let mut builder = LabelsBuilder::new();
        for (honor_labels, exposed, target, expected) in cases {
            let target = Labels::from_pairs(target.iter().copied());
            let exposed: Vec<_> = [("__name__", "m")].into_iter().chain(exposed.iter().copied()).collect();
            let expected =
                Labels::from_pairs([("__name__", "m")].into_iter().chain(expected.iter().copied()));
            let found = rules(&target, honor_labels).apply(&exposed, &mut builder);
            assert_eq!(
                found.map(|kept| kept.then(|| builder.build())),
                Ok(Some(expected)),
                "honor {honor_labels}: {exposed:?} on {target:?}"
            );
        }
    }

    #[test]
    fn names_and_limits_fail_the_scrape_in_prometheus_words() {
        let target = Labels::from_pairs([("job", "j")]);
        let limited = |count, name_length, value_length| LabelRules {
            limits: LabelLimits { count, name_length, value_length },
            ..rules(&target, false)
        };
        let legacy = LabelRules { validation: NameValidation::Legacy, ..rules(&target, false) };
        type Case<'a> = (LabelRules<'a>, &'a [(&'a str, &'a str)], &'a str);
        let cases: [Case<'_>; 10] = [
            (rules(&target, false), &[("a", "1")], "missing metric name (__name__ label)"),
            (
                legacy,
                &[("__name__", "a.b"), ("c", "1")],
                r#"invalid metric name or label names: {__name__="a.b", c="1", job="j"}"#,
            ),
            (
                legacy,
                &[("__name__", "m"), ("a.b", "1")],
                r#"invalid metric name or label names: {__name__="m", "a.b"="1", job="j"}"#,
            ),
            (rules(&target, false), &[("__name__", "a.b"), ("c.d", "1")], ""),
            (
                rules(&target, false),
                &[("__name__", "m"), ("a", "1"), ("a", "2")],
                r#"label name "a" is not unique: invalid sample"#,
            ),
            (limited(3, 0, 0), &[("__name__", "m"), ("a", "1")], ""),
            (
                limited(2, 0, 0),
                &[("__name__", "m"), ("a", "1")],
                "label_limit exceeded (metric: m, number of labels: 3, limit: 2)",
            ),
            (limited(0, 8, 0), &[("__name__", "m"), ("a", "1")], ""),
            (
                limited(0, 8, 0),
                &[("__name__", "m"), ("ninebytes", "1")],
                "label_name_length_limit exceeded (metric: m, label name: ninebytes, length: 9, limit: 8)",
            ),
            (
                limited(0, 0, 2),
                &[("__name__", "m"), ("a", "123")],
                r#"label_value_length_limit exceeded (metric: m, label name: a, value: "123", length: 3, limit: 2)"#,
            ),
        ];
        for (rules, exposed, expected) in cases {
            let found = rules.apply(exposed, &mut LabelsBuilder::new());
            match found {
                Ok(true) => assert_eq!(expected, "", "{exposed:?}"),
                Ok(false) => panic!("{exposed:?} was dropped"),
                Err(error) => assert_eq!(error.to_string(), expected),
            }
        }
    }
}

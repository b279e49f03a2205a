//! Writes text format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The metric types of the text format that Outrigger exposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

impl MetricKind {
    fn as_str(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        }
    }
}

/// One rendering in progress: families in any order, samples of one family in any number of calls.
#[derive(Debug, Default)]
pub struct Exposition {
    families: BTreeMap<String, FamilyText>,
}

#[derive(Debug)]
struct FamilyText {
    header: String,
    samples: String,
}

impl Exposition {
    /// The family `name`; help and kind of its first use count.
    pub fn family(&mut self, name: &str, help: &str, kind: MetricKind) -> Family<'_> {
        let text = self.families.entry(name.to_owned()).or_insert_with(|| {
            let mut header = String::new();
            let _ = write!(header, "# HELP {name} ");
            escape(help, Escape::Help, &mut header);
            let _ = writeln!(header, "\n# TYPE {name} {}", kind.as_str());
            FamilyText { header, samples: String::new() }
        });
        Family { name: name.to_owned(), samples: &mut text.samples }
    }

    /// The text: families sorted by name, samples in the order they were given; families without samples are left
    /// out.
    pub(super) fn finish(self) -> String {
        let mut text = String::new();
        for family in self.families.into_values().filter(|family| !family.samples.is_empty()) {
            text.push_str(&family.header);
            text.push_str(&family.samples);
        }
        text
    }
}

/// One family of an [`Exposition`].
#[derive(Debug)]
pub struct Family<'a> {
    name: String,
    samples: &'a mut String,
}

impl Family<'_> {
    /// Adds `name{labels} value`.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        write_sample(self.samples, &self.name, "", labels, None, value);
    }

    /// Adds a histogram: `counts` per bucket (not cumulative), one more than there are `bounds`.
    pub fn histogram(&mut self, labels: &[(&str, &str)], bounds: &[f64], counts: &[u64], sum: f64) {
        let mut cumulative: u64 = 0;
        for (index, count) in counts.iter().enumerate() {
            cumulative += count;
            let bound = bounds.get(index).copied().unwrap_or(f64::INFINITY);
            write_sample(self.samples, &self.name, "_bucket", labels, Some(bound), cumulative as f64);
        }
        write_sample(self.samples, &self.name, "_sum", labels, None, sum);
        write_sample(self.samples, &self.name, "_count", labels, None, cumulative as f64);
    }
}

fn write_sample(
    into: &mut String,
    name: &str,
    suffix: &str,
    labels: &[(&str, &str)],
    bound: Option<f64>,
    value: f64,
) {
    into.push_str(name);
    into.push_str(suffix);
    let mut separator = '{';
    for (name, value) in labels {
        into.push(separator);
        separator = ',';
        into.push_str(name);
        into.push_str("=\"");
        escape(value, Escape::LabelValue, into);
        into.push('"');
    }
    if let Some(bound) = bound {
        into.push(separator);
        separator = ',';
        into.push_str("le=\"");
        write_float(bound, into);
        into.push('"');
    }
    if separator == ',' {
        into.push('}');
    }
    into.push(' ');
    write_float(value, into);
    into.push('\n');
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escape {
    Help,
    LabelValue,
}

fn escape(text: &str, place: Escape, into: &mut String) {
    for character in text.chars() {
        match character {
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            '"' if place == Escape::LabelValue => into.push_str("\\\""),
            other => into.push(other),
        }
    }
}

fn write_float(value: f64, into: &mut String) {
    if value.is_nan() {
        into.push_str("NaN");
    } else if value.is_infinite() {
        into.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else if value != 0.0 && !(1e-6..1e21).contains(&value.abs()) {
        let _ = write!(into, "{value:e}");
    } else {
        let _ = write!(into, "{value}");
    }
}

//! One sample line and its labels.

use std::borrow::Cow;

use outrigger_model::histogram::Histogram;
use outrigger_model::labels::{LabelsBuilder, METRIC_NAME};
use outrigger_model::sample::{Exemplar, Timestamp};

use super::body::Body;
use super::exemplar::Unfit;
use super::{LabelPart, MetricType, float};

/// A sample as the body has it.
#[derive(Debug, Clone)]
pub struct Series<'b> {
    pub(super) raw: &'b [u8],
    /// The value; NaN of a text format is always the canonical one. Of a native histogram, its sum.
    pub value: f64,
    /// The timestamp, if the line has one.
    pub timestamp: Option<Timestamp>,
    pub(super) metric_type: MetricType,
    pub(super) form: Form,
    pub(super) extras: Option<Box<Extras>>,
}

/// How the bytes of a series are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As a text format has it. What OpenMetrics allows in a series, text 0.0.4 reads alike.
    Text,
    /// Metric name, then name and value of each label, separated by 0xff, which no UTF-8 has.
    Plain,
}

/// Between the parts of a plain series.
pub(super) const PLAIN_SEPARATOR: u8 = 0xff;

/// The bytes of a series in plain form, as they are built.
#[derive(Debug, Clone, Default)]
pub(super) struct PlainSeries {
    bytes: Vec<u8>,
}

impl PlainSeries {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Starts over with a name.
    pub(super) fn set_name(&mut self, name: &str, suffix: &str) {
        self.bytes.clear();
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(suffix.as_bytes());
    }

    /// Adds a label.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        self.bytes.push(PLAIN_SEPARATOR);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(PLAIN_SEPARATOR);
        self.bytes.extend_from_slice(value.as_bytes());
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Adds the labels of another one that has no name.
    pub(super) fn extend(&mut self, labels: &PlainSeries) {
        self.bytes.extend_from_slice(&labels.bytes);
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes off what was added since the bytes were so many.
    pub(super) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What few samples have.
#[derive(Debug, Clone, Default)]
pub(super) struct Extras {
    exemplars: Vec<Exemplar>,
    unfit: usize,
    start_timestamp: Option<Timestamp>,
}

impl Extras {
    /// `None` where there is nothing.
    pub(super) fn boxed(
        exemplars: impl IntoIterator<Item = Result<Exemplar, Unfit>>,
        start_timestamp: Option<Timestamp>,
    ) -> Option<Box<Self>> {
        let mut extras = Self { start_timestamp, ..Self::default() };
        for exemplar in exemplars {
            match exemplar {
                Ok(exemplar) => extras.exemplars.push(exemplar),
                Err(Unfit) => extras.unfit += 1,
            }
        }
        let some = !extras.exemplars.is_empty() || extras.unfit > 0 || start_timestamp.is_some();
        some.then(|| Box::new(extras))
    }
}

/// A native histogram as the body has it.
#[derive(Debug, Clone)]
pub struct NativeHistogram<'b> {
    /// Identity, labels, timestamp and exemplars; its value is the histogram's sum.
    pub series: Series<'b>,
    /// What it counts.
    pub histogram: Box<Histogram>,
}

/// A series that has a label twice. Prometheus fails the whole scrape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label name {name:?} is not unique")]
pub struct DuplicateLabel {
    /// Name of the label.
    pub name: String,
}

impl<'b> Series<'b> {
    /// What tells the series apart: in a text format metric name and labels, from the beginning of the line; else
    /// the same in a form of our own. The same bytes after a TYPE line of the same type are the same series.
    pub fn raw(&self) -> &'b [u8] {
        self.raw
    }

    /// The type of the TYPE line that precedes it, whatever its name.
    pub fn metric_type(&self) -> MetricType {
        self.metric_type
    }

    /// Examples of what went into the sample, in the order of the body.
    pub fn exemplars(&self) -> &[Exemplar] {
        self.extras.as_ref().map_or(&[], |extras| &extras.exemplars)
    }

    /// Takes the exemplars out, the unfit ones as such.
    pub(super) fn take_exemplars(&mut self) -> impl Iterator<Item = Result<Exemplar, Unfit>> {
        let extras = self.extras.take().unwrap_or_default();
        let unfit = std::iter::repeat_n(Err(Unfit), extras.unfit);
        extras.exemplars.into_iter().map(Ok).chain(unfit)
    }

    /// How many exemplars were left out that Prometheus' storage would drop: a label name that is empty or comes
    /// twice, more than 128 characters of labels, or a native histogram's without a time.
    pub fn unfit_exemplars(&self) -> usize {
        self.extras.as_ref().map_or(0, |extras| extras.unfit)
    }

    /// Since when a counter, summary or histogram has counted, where that was asked for and exposed.
    pub fn start_timestamp(&self) -> Option<Timestamp> {
        self.extras.as_ref().and_then(|extras| extras.start_timestamp)
    }

    /// Hands out each label in order of the line, `__name__` for the metric name first where it stands first.
    ///
    /// Escapes are resolved; `le` of a histogram and `quantile` of a summary are written as floats (`1` as `1.0`).
    /// Names may repeat and values may be empty.
    pub fn for_each_label(&self, mut visit: impl FnMut(&str, &str)) {
        if self.form == Form::Plain {
            return self.for_each_plain_label(visit);
        }
        let body = Body::checked(self.raw);
        let first = body.skip_blanks(0);
        let (labels_from, named) = match body.byte(first) {
            b'{' => (first + 1, false),
            _ => {
                let end = body.name_end(first);
                // Prometheus counts blanks before the name to the name.
                visit(METRIC_NAME, text(&self.raw[..end]));
                (body.skip_blanks(end) + 1, true)
            }
        };
        if labels_from > self.raw.len() {
            return;
        }
        let visited = body.labels(labels_from, named, |part| match part {
            LabelPart::MetricName(name) => visit(METRIC_NAME, &unescape(text(name), true)),
            LabelPart::Label { name, value } => {
                let name = unescape(text(name), true);
                let value = unescape(text(value), true);
                visit(&name, &self.normalize(&name, value));
            }
        });
        debug_assert!(visited.is_ok(), "a series is made of labels that have been read");
    }

    fn for_each_plain_label(&self, mut visit: impl FnMut(&str, &str)) {
        let mut parts = self.raw.split(|byte| *byte == PLAIN_SEPARATOR).map(text);
        visit(METRIC_NAME, parts.next().unwrap_or_default());
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            visit(name, value);
        }
    }

    /// Sets the labels of `into`, which is emptied before.
    ///
    /// # Errors
    /// When a label is there twice; `into` is then incomplete.
    pub fn labels(&self, into: &mut LabelsBuilder) -> Result<(), DuplicateLabel> {
        into.retain(|_, _| false);
        let mut duplicate = None;
        self.for_each_label(|name, value| {
            if into.contains(name) {
                duplicate.get_or_insert_with(|| DuplicateLabel { name: name.to_owned() });
            } else {
                into.set(name, value);
            }
        });
        duplicate.map_or(Ok(()), Err)
    }

    fn normalize<'v>(&self, name: &str, value: Cow<'v, str>) -> Cow<'v, str> {
        let float_label = match self.metric_type {
            MetricType::Histogram => "le",
            MetricType::Summary => "quantile",
            _ => return value,
        };
        match (name == float_label).then(|| float::parse_go(&value)).flatten() {
            Some(number) => Cow::Owned(float::format_open_metrics(number)),
            None => value,
        }
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("names and values were checked when the line was read")
}

/// Resolves `\\`, `\n` and, if `quotes`, `\"`; any other backslash stays.
pub(super) fn unescape(text: &str, quotes: bool) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'\\', text.as_bytes()) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..first]);
    let mut rest = &text[first..];
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (replacement, used) = match rest.as_bytes().get(at + 1) {
            Some(b'\\') => ('\\', 2),
            Some(b'n') => ('\n', 2),
            Some(b'"') if quotes => ('"', 2),
            _ => ('\\', 1),
        };
        out.push(replacement);
        rest = &rest[at + used..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// `String::from_utf8_lossy`, quick where nothing is lost.
pub(super) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

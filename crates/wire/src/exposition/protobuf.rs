//! The protobuf exposition format: `io.prometheus.client.MetricFamily` messages, each after its length, read as
//! Prometheus 3 reads them (`model/textparse/protobufparse.go`).
//!
//! A metric becomes the series that the text formats have for it: a summary its quantiles, `_sum` and `_count`, a
//! classic histogram its `_bucket`, `_sum` and `_count`. A native histogram is one sample.

mod metric;

use std::borrow::Cow;

use outrigger_model::histogram::{Histogram, HistogramError, ResetHint};
use outrigger_model::sample::{Exemplar, Timestamp};

use super::classic::{ClassicHistogram, ClassicHistogramError};
use super::exemplar::Unfit;
use super::series::{self, Extras, Form, PlainSeries};
use super::{Entry, MetricType, NativeHistogram, Options, Series, float};
use crate::protobuf::{ProtobufError, Reader, decode_varint};
use metric::{ExemplarMessage, Metric, Time};

/// Longest part of a name in an error.
const MAX_EXCERPT: usize = 120;

/// Bytes that the length before a message may take.
const MAX_LENGTH_BYTES: usize = 5;

/// Why a body is refused. Prometheus then fails the whole scrape.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("metric family {family:?} at byte {at}: {reason}")]
pub struct FamilyError {
    /// Where the family begins in the body.
    pub at: usize,
    /// Its name, shortened; empty where it is not known.
    pub family: String,
    /// What is wrong.
    pub reason: FamilyErrorReason,
}

/// What is wrong with a metric family.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FamilyErrorReason {
    /// The length before the message is no number of at most five bytes.
    #[error("expected the length of a message")]
    Length,
    /// The body ends within the message.
    #[error("the body ends before the message does ({length} bytes)")]
    Truncated {
        /// Length of the message.
        length: u64,
    },
    /// The bytes are no such message.
    #[error("{0}")]
    Malformed(ProtobufError),
    /// The name is empty or not UTF-8.
    #[error("the metric name is empty or not valid UTF-8")]
    MetricName,
    /// The help text is not UTF-8.
    #[error("the help text is not valid UTF-8")]
    Help,
    /// A type that the format does not have.
    #[error("unknown metric type {0}")]
    Type(i32),
    /// A label name that is empty or not UTF-8.
    #[error("a label name is empty or not valid UTF-8")]
    LabelName,
    /// A label value that is not UTF-8.
    #[error("a label value is not valid UTF-8")]
    LabelValue,
    /// The spans of a native histogram do not fit its buckets.
    #[error("native histogram: {0}")]
    Histogram(HistogramError),
    /// A classic histogram that cannot be converted.
    #[error("classic histogram: {0}")]
    Classic(ClassicHistogramError),
}

/// Walks a body. After the first error there is nothing more.
#[derive(Debug)]
pub struct Parser<'b> {
    body: &'b [u8],
    /// Where the next family begins.
    at: usize,
    options: Options,
    phase: Phase,
    family: Family<'b>,
    metric: Metric<'b>,
    /// Labels of the metric without its name, in plain form.
    labels: PlainSeries,
    /// The series that is handed out.
    series: PlainSeries,
    /// How much of it is name and labels of the metric, for the next bucket.
    shared: usize,
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Family,
    Unit,
    Type,
    Metric,
    /// A part of a summary or classic histogram.
    Part(Part),
    /// The native histogram that the classic one is converted to.
    Converted,
    NextMetric,
    Done,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Count,
    Sum,
    /// A bucket or quantile.
    Item(usize),
}

#[derive(Debug, Default)]
struct Family<'b> {
    at: usize,
    name: &'b [u8],
    help: &'b [u8],
    /// Prometheus does not check whether it is UTF-8.
    unit: &'b [u8],
    kind_number: i32,
    /// The name, once it has been checked.
    checked_name: &'b str,
    checked_help: &'b str,
    kind: Kind,
    metrics: Vec<&'b [u8]>,
    /// The metric at hand.
    metric: usize,
}

/// `io.prometheus.client.MetricType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    Counter,
    Gauge,
    Summary,
    Untyped,
    Histogram,
    GaugeHistogram,
}

impl Kind {
    fn new(number: i32) -> Option<Self> {
        let all =
            [Kind::Counter, Kind::Gauge, Kind::Summary, Kind::Untyped, Kind::Histogram, Kind::GaugeHistogram];
        all.get(usize::try_from(number).ok()?).copied()
    }

    fn metric_type(self) -> MetricType {
        match self {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Summary => MetricType::Summary,
            Kind::Untyped => MetricType::Unknown,
            Kind::Histogram => MetricType::Histogram,
            Kind::GaugeHistogram => MetricType::GaugeHistogram,
        }
    }
}

/// Bytes of the whole families that `body` begins with; the rest is the beginning of one. Everything where a length
/// is wrong, which the parser then says.
pub fn whole_families(body: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let rest = &body[at..];
        let Ok(length) = decode_varint(&rest[..rest.len().min(MAX_LENGTH_BYTES + 5)]) else {
            return body.len();
        };
        let Some((length, used)) = length else { return at };
        if used > MAX_LENGTH_BYTES {
            return body.len();
        }
        let end = usize::try_from(length).ok().and_then(|length| (at + used).checked_add(length));
        match end.filter(|end| *end <= body.len()) {
            Some(end) => at = end,
            None => return at,
        }
    }
}

/// What is handed out. The bytes of a series are in the parser.
enum Step {
    Help,
    Unit,
    Type,
    Series(f64, Option<Box<Extras>>),
    Histogram(Box<Histogram>, Option<Box<Extras>>),
}

impl<'b> Parser<'b> {
    /// A parser at the beginning of `body`.
    pub fn new(body: &'b [u8], options: Options) -> Self {
        Self {
            body,
            at: 0,
            options,
            phase: Phase::Family,
            family: Family::default(),
            metric: Metric::default(),
            labels: PlainSeries::new(),
            series: PlainSeries::new(),
            shared: 0,
        }
    }

    /// The next entry, which is valid until the one after it is asked for.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend what it yields")]
    pub fn next(&mut self) -> Option<Result<Entry<'_>, FamilyError>> {
        let step = match self.step() {
            Ok(step) => step?,
            Err(reason) => {
                self.phase = Phase::Done;
                return Some(Err(self.error(reason)));
            }
        };
        let name = Cow::Borrowed(self.family.checked_name);
        Some(Ok(match step {
            Step::Help => Entry::Help { name, text: Cow::Borrowed(self.family.checked_help) },
            Step::Unit => Entry::Unit { name, unit: series::lossy(self.family.unit) },
            Step::Type => Entry::Type { name, metric_type: self.family.kind.metric_type() },
            Step::Series(value, extras) => Entry::Series(self.series(value, extras)),
            Step::Histogram(histogram, extras) => {
                let series = self.series(histogram.sum, extras);
                Entry::Histogram(NativeHistogram { series, histogram })
            }
        }))
    }

    fn series(&self, value: f64, extras: Option<Box<Extras>>) -> Series<'_> {
        let timestamp = self.metric.timestamp;
        Series {
            raw: self.series.bytes(),
            value,
            timestamp: (timestamp != 0).then(|| Timestamp::from_millis(timestamp)),
            metric_type: self.family.kind.metric_type(),
            form: Form::Plain,
            extras,
        }
    }

    fn error(&self, reason: FamilyErrorReason) -> FamilyError {
        let name = &self.family.name[..self.family.name.len().min(MAX_EXCERPT)];
        FamilyError { at: self.family.at, family: String::from_utf8_lossy(name).into_owned(), reason }
    }

    /// What comes next; `None` at the end of the body.
    fn step(&mut self) -> Result<Option<Step>, FamilyErrorReason> {
        loop {
            match self.phase {
                Phase::Done => return Ok(None),
                Phase::Family => {
                    if !self.read_family()? {
                        self.phase = Phase::Done;
                    } else if !self.family.metrics.is_empty() {
                        self.begin_family()?;
                        self.phase = if self.family.unit.is_empty() { Phase::Type } else { Phase::Unit };
                        return Ok(Some(Step::Help));
                    }
                }
                Phase::Unit => {
                    self.phase = Phase::Type;
                    return Ok(Some(Step::Unit));
                }
                Phase::Type => {
                    self.phase = Phase::Metric;
                    return Ok(Some(Step::Type));
                }
                Phase::Metric => {
                    self.read_labels()?;
                    if let Some(step) = self.begin_metric()? {
                        return Ok(Some(step));
                    }
                }
                Phase::Part(part) if self.family.kind == Kind::Summary => {
                    return Ok(Some(self.part_of_summary(part)));
                }
                Phase::Part(part) => return Ok(Some(self.part_of_histogram(part))),
                Phase::Converted => {
                    self.phase = Phase::NextMetric;
                    return self.converted().map(Some);
                }
                Phase::NextMetric => {
                    self.family.metric += 1;
                    self.phase = match self.family.metrics.get(self.family.metric) {
                        Some(message) => {
                            self.metric.decode(message).map_err(FamilyErrorReason::Malformed)?;
                            Phase::Metric
                        }
                        None => Phase::Family,
                    };
                }
            }
        }
    }

    /// Reads the next family without its metrics. False at the end of the body.
    fn read_family(&mut self) -> Result<bool, FamilyErrorReason> {
        let mut metrics = std::mem::take(&mut self.family.metrics);
        metrics.clear();
        self.family = Family { at: self.at, metrics, ..Family::default() };
        let rest = &self.body[self.at..];
        if rest.is_empty() {
            return Ok(false);
        }
        let (length, used) = match decode_varint(rest) {
            Ok(Some((length, used))) if used <= MAX_LENGTH_BYTES => (length, used),
            _ => return Err(FamilyErrorReason::Length),
        };
        let end = usize::try_from(length).ok().and_then(|length| length.checked_add(used));
        let end = end.filter(|end| *end <= rest.len()).ok_or(FamilyErrorReason::Truncated { length })?;
        self.at += end;
        self.decode_family(&rest[used..end]).map_err(FamilyErrorReason::Malformed)?;
        Ok(true)
    }

    fn decode_family(&mut self, message: &'b [u8]) -> Result<(), ProtobufError> {
        let family = &mut self.family;
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => family.name = field.bytes(1)?,
                2 => family.help = field.bytes(2)?,
                3 => family.kind_number = field.int32(3)?,
                4 => family.metrics.push(field.bytes(4)?),
                5 => family.unit = field.bytes(5)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Decodes the first metric and checks what all have in common.
    fn begin_family(&mut self) -> Result<(), FamilyErrorReason> {
        self.metric.decode(self.family.metrics[0]).map_err(FamilyErrorReason::Malformed)?;
        let Family { name, help, kind_number, .. } = self.family;
        let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty());
        self.family.checked_name = name.ok_or(FamilyErrorReason::MetricName)?;
        self.family.checked_help = std::str::from_utf8(help).map_err(|_| FamilyErrorReason::Help)?;
        self.family.kind = Kind::new(kind_number).ok_or(FamilyErrorReason::Type(kind_number))?;
        Ok(())
    }

    /// The labels of the metric, in plain form.
    fn read_labels(&mut self) -> Result<(), FamilyErrorReason> {
        self.labels.clear();
        for message in &self.metric.labels {
            let (mut name, mut value): (Option<&[u8]>, &[u8]) = (None, b"");
            let mut reader = Reader::new(message);
            while let Some((number, field)) = reader.next_field().map_err(FamilyErrorReason::Malformed)? {
                match number {
                    1 => name = Some(field.bytes(1).map_err(FamilyErrorReason::Malformed)?),
                    2 => value = field.bytes(2).map_err(FamilyErrorReason::Malformed)?,
                    _ => {}
                }
            }
            // A name that is left out is empty, and passes; the scrape loop refuses it.
            let name = match name {
                Some(name) => std::str::from_utf8(name).ok().filter(|name| !name.is_empty()),
                None => Some(""),
            };
            let name = name.ok_or(FamilyErrorReason::LabelName)?;
            self.labels.add(name, std::str::from_utf8(value).map_err(|_| FamilyErrorReason::LabelValue)?);
        }
        Ok(())
    }

    /// The only series of a metric, or its native histogram; `None` where its parts come next.
    fn begin_metric(&mut self) -> Result<Option<Step>, FamilyErrorReason> {
        self.phase = Phase::NextMetric;
        let metric = &self.metric;
        let (value, extras) = match self.family.kind {
            Kind::Counter => {
                let exemplar = metric.counter.exemplar.as_ref().map(ExemplarMessage::exemplar);
                (metric.counter.value, self.extras(exemplar, metric.counter.start))
            }
            Kind::Gauge => (metric.gauge, None),
            Kind::Untyped => (metric.untyped, None),
            Kind::Summary => {
                self.phase = Phase::Part(Part::Count);
                return Ok(None);
            }
            Kind::Histogram | Kind::GaugeHistogram => return self.begin_histogram(),
        };
        self.name_series("");
        Ok(Some(Step::Series(value, extras)))
    }

    fn begin_histogram(&mut self) -> Result<Option<Step>, FamilyErrorReason> {
        if !self.is_native() {
            let only_converted = self.options.convert_classic && !self.options.classic_histograms;
            self.phase = if only_converted { Phase::Converted } else { Phase::Part(Part::Count) };
            return Ok(None);
        }
        let message = &self.metric.histogram;
        let mut histogram = message.native(self.reset_hint());
        histogram.compact(0).map_err(FamilyErrorReason::Histogram)?;
        let extras = self.extras(message.exemplars(), message.start);
        if self.options.classic_histograms && !message.buckets.is_empty() {
            self.phase = Phase::Part(Part::Count);
        }
        self.name_series("");
        Ok(Some(Step::Histogram(Box::new(histogram), extras)))
    }

    fn is_native(&self) -> bool {
        self.options.native_histograms && self.metric.histogram.is_native()
    }

    fn reset_hint(&self) -> ResetHint {
        if self.family.kind == Kind::GaugeHistogram { ResetHint::Gauge } else { ResetHint::Unknown }
    }

    fn part_of_summary(&mut self, part: Part) -> Step {
        let summary = &self.metric.summary;
        let extras = self.extras(None, summary.start);
        let quantile =
            |at: usize| summary.quantiles.get(at).map_or(Phase::NextMetric, |_| Phase::Part(Part::Item(at)));
        let (value, next) = match part {
            Part::Count => (summary.count as f64, Phase::Part(Part::Sum)),
            Part::Sum => (summary.sum, quantile(0)),
            Part::Item(at) => (summary.quantiles[at].1, quantile(at + 1)),
        };
        match part {
            Part::Count => self.name_series("_count"),
            Part::Sum => self.name_series("_sum"),
            Part::Item(at) => self.name_item("", at, "quantile", self.metric.summary.quantiles[at].0),
        }
        self.phase = next;
        Step::Series(value, extras)
    }

    fn part_of_histogram(&mut self, part: Part) -> Step {
        let histogram = &self.metric.histogram;
        let mut exemplar = None;
        let (value, next) = match part {
            Part::Count => (histogram.count(), Some(Part::Sum)),
            Part::Sum => (histogram.sum, Some(Part::Item(0))),
            Part::Item(at) => match histogram.buckets.get(at) {
                Some(bucket) => {
                    exemplar = bucket.exemplar.as_ref().map(ExemplarMessage::exemplar);
                    let next = (bucket.bound != f64::INFINITY).then_some(Part::Item(at + 1));
                    (bucket.cumulative(), next)
                }
                None => (histogram.count(), None),
            },
        };
        let extras = self.extras(exemplar, histogram.start);
        match part {
            Part::Count => self.name_series("_count"),
            Part::Sum => self.name_series("_sum"),
            Part::Item(at) => {
                let bound =
                    self.metric.histogram.buckets.get(at).map_or(f64::INFINITY, |bucket| bucket.bound);
                self.name_item("_bucket", at, "le", bound);
            }
        }
        self.phase = match next {
            Some(part) => Phase::Part(part),
            None if self.options.convert_classic && !self.is_native() => Phase::Converted,
            None => Phase::NextMetric,
        };
        Step::Series(value, extras)
    }

    /// The native histogram that the classic one becomes.
    fn converted(&mut self) -> Result<Step, FamilyErrorReason> {
        let message = &self.metric.histogram;
        let mut classic = ClassicHistogram::default();
        classic.set_count(message.count());
        classic.set_sum(message.sum);
        message.buckets.iter().for_each(|bucket| classic.set_bucket(bucket.bound, bucket.cumulative()));
        let mut histogram = classic.convert().map_err(FamilyErrorReason::Classic)?;
        histogram.reset_hint = self.reset_hint();
        let extras = self.extras(message.exemplars(), message.start);
        self.name_series("");
        Ok(Step::Histogram(Box::new(histogram), extras))
    }

    fn extras(
        &self,
        exemplars: impl IntoIterator<Item = Result<Exemplar, Unfit>>,
        start: Option<Time>,
    ) -> Option<Box<Extras>> {
        let start = start.filter(|_| self.options.start_timestamps).map(Time::millis);
        let start = start.filter(|millis| *millis != 0).map(Timestamp::from_millis);
        Extras::boxed(exemplars, start)
    }

    /// Makes the series that of the metric's name and a suffix.
    fn name_series(&mut self, suffix: &str) {
        self.series.set_name(self.family.checked_name, suffix);
        self.series.extend(&self.labels);
    }

    /// The same, with a float in one more label. Items are named one after the other.
    fn name_item(&mut self, suffix: &str, item: usize, label: &str, value: f64) {
        if item == 0 {
            self.name_series(suffix);
            self.shared = self.series.len();
        }
        self.series.truncate(self.shared);
        self.series.add(label, &float::format_open_metrics(value));
    }
}

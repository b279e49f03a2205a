//! Exposition formats. Here, the text format 0.0.4, read exactly as Prometheus 3 reads it
//! (`model/textparse/promparse.go` and `promlex.l`), down to what it lets pass.
//!
//! [`Parser`] walks a body line by line without copying. It checks every line in full; the labels of a series are
//! taken apart only when asked for, because most scrapes repeat series that are known by their bytes
//! ([`Parser::next_known`]).

mod body;
mod classic;
mod custom_buckets;
mod exemplar;
mod float;
mod known;
pub mod openmetrics;
pub mod protobuf;
mod reader;
mod series;

use std::borrow::Cow;
use std::iter::FusedIterator;

use body::{Body, Fault, LabelPart};
pub use classic::ClassicHistogramError;
pub use custom_buckets::Converter;
pub use float::parse_go as parse_go_float;
pub use known::LineParser;
use outrigger_model::sample::Timestamp;
pub use reader::{Format, Options, ReadError, Reader};
use series::Form;
pub use series::{DuplicateLabel, NativeHistogram, Series};

/// What kind of metric a family is. The numbers are those of remote write's `MetricMetadata.MetricType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MetricType {
    /// `untyped`, or no TYPE line.
    #[default]
    Unknown = 0,
    /// Only ever grows.
    Counter = 1,
    /// Goes up and down.
    Gauge = 2,
    /// Cumulative buckets, sum and count.
    Histogram = 3,
    /// Buckets that are no counters (OpenMetrics only).
    GaugeHistogram = 4,
    /// Quantiles, sum and count.
    Summary = 5,
    /// Constant labels (OpenMetrics only).
    Info = 6,
    /// One series for each state (OpenMetrics only).
    StateSet = 7,
}

impl MetricType {
    /// The word that Prometheus' API and remote write use.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricType::Unknown => "unknown",
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::GaugeHistogram => "gaugehistogram",
            MetricType::Summary => "summary",
            MetricType::Info => "info",
            MetricType::StateSet => "stateset",
        }
    }

    /// The word of a TYPE line in OpenMetrics.
    fn from_open_metrics(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"counter" => MetricType::Counter,
            b"gauge" => MetricType::Gauge,
            b"histogram" => MetricType::Histogram,
            b"gaugehistogram" => MetricType::GaugeHistogram,
            b"summary" => MetricType::Summary,
            b"info" => MetricType::Info,
            b"stateset" => MetricType::StateSet,
            b"unknown" => MetricType::Unknown,
            _ => return None,
        })
    }

    /// The word of a TYPE line in text 0.0.4.
    fn from_text(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"counter" => MetricType::Counter,
            b"gauge" => MetricType::Gauge,
            b"histogram" => MetricType::Histogram,
            b"summary" => MetricType::Summary,
            b"untyped" => MetricType::Unknown,
            _ => return None,
        })
    }
}

/// One thing that a body says.
#[derive(Debug, Clone)]
pub enum Entry<'b> {
    /// A sample.
    Series(Series<'b>),
    /// A native histogram (protobuf, or converted from a classic one).
    Histogram(NativeHistogram<'b>),
    /// `# TYPE name word`.
    Type {
        /// Name of the family as written, escapes included; bytes that are not UTF-8 are replaced.
        name: Cow<'b, str>,
        /// Its type.
        metric_type: MetricType,
    },
    /// `# HELP name text`.
    Help {
        /// Name of the family, as written.
        name: Cow<'b, str>,
        /// The text, without its escapes.
        text: Cow<'b, str>,
    },
    /// `# UNIT name unit` (not in text 0.0.4).
    Unit {
        /// Name of the family, as written.
        name: Cow<'b, str>,
        /// The unit, which the name ends in; may be empty.
        unit: Cow<'b, str>,
    },
    /// Any other line that begins with `#`, from there on.
    Comment(&'b [u8]),
}

/// Why a body is refused. Prometheus then fails the whole scrape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}, near {near:?}")]
pub struct ParseError {
    /// Line of the body, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: ParseErrorReason,
    /// The line from its beginning up to the fault; shortened where it is long.
    pub near: String,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorReason {
    /// The line begins with neither a name nor `{` nor `#`.
    #[error("expected a metric name, an opening brace or a comment")]
    ExpectedStart,
    /// `# HELP` or `# TYPE` without a name.
    #[error("expected a metric name after HELP or TYPE")]
    ExpectedMetadataName,
    /// A TYPE line with another word than counter, gauge, histogram, summary or untyped.
    #[error("invalid metric type (counter, gauge, histogram, summary or untyped, after one blank)")]
    InvalidType,
    /// A HELP text that is not UTF-8.
    #[error("help text is not valid UTF-8")]
    HelpUtf8,
    /// A NUL after the name in a HELP or TYPE line.
    #[error("expected the end of the line after the metadata")]
    ExpectedMetadataEnd,
    /// Something else than a label name or `}` within braces.
    #[error("expected a label name or a closing brace")]
    ExpectedLabelName,
    /// No `=` after a label name.
    #[error("expected = after the label name")]
    ExpectedEqual,
    /// No closed double quotes after `=`.
    #[error("expected a label value in double quotes")]
    ExpectedLabelValue,
    /// A label value that is not UTF-8.
    #[error("label value is not valid UTF-8")]
    LabelValueUtf8,
    /// A quoted metric or label name that is not UTF-8.
    #[error("quoted name is not valid UTF-8")]
    NameUtf8,
    /// A quoted metric name after another metric name.
    #[error("the metric name is set twice")]
    NameTwice,
    /// Braces without a metric name before or in them.
    #[error("the metric name is missing")]
    NameMissing,
    /// Nothing where the value should be.
    #[error("expected a value after the series")]
    ExpectedValue,
    /// A value that Go's `ParseFloat` refuses, or one with `p`, `P` or `_`.
    #[error("the value is not a number")]
    InvalidValue,
    /// A value beyond the range of a double.
    #[error("the value is out of range")]
    ValueRange,
    /// Something else than digits after the value; a negative timestamp too.
    #[error("expected a timestamp in digits or the end of the line")]
    ExpectedTimestamp,
    /// A timestamp beyond 64 bits.
    #[error("the timestamp is out of range")]
    TimestampRange,
    /// OpenMetrics: the body ends without `# EOF`, or within a sample.
    #[error("the body does not end with # EOF")]
    MissingEof,
    /// OpenMetrics: something after the line `# EOF`.
    #[error("unexpected data after # EOF")]
    AfterEof,
    /// OpenMetrics: a line that begins with `#` and is none of the four kinds.
    #[error("expected HELP, TYPE, UNIT or EOF after # and one blank")]
    ExpectedKeyword,
    /// OpenMetrics: no blank after the name in a line of metadata, or no end of that line.
    #[error("expected one blank, a text and the end of the line after the name")]
    ExpectedMetadataText,
    /// OpenMetrics: a TYPE line with an unknown word.
    #[error(
        "invalid metric type (counter, gauge, histogram, gaugehistogram, summary, info, stateset or unknown, after \
         one blank)"
    )]
    InvalidOpenMetricsType,
    /// OpenMetrics: a unit that the metric's name does not end in.
    #[error("the unit is not a suffix of the metric name")]
    UnitSuffix,
    /// OpenMetrics: a quoted name or an exemplar's label value that goes on to the end of what it may hold.
    #[error("expected a closing double quote")]
    UnclosedQuote,
    /// OpenMetrics: neither `,` nor `}` after a label.
    #[error("expected a comma or a closing brace after the label")]
    ExpectedComma,
    /// OpenMetrics: not one blank and a value after a series or the labels of an exemplar.
    #[error("expected one blank and a value")]
    ExpectedValueAfterBlank,
    /// OpenMetrics: something else after a value.
    #[error("expected a timestamp, an exemplar or the end of the line")]
    ExpectedExemplarOrEnd,
    /// OpenMetrics: something else after an exemplar's value.
    #[error("expected a timestamp or the end of the line after the exemplar")]
    ExpectedExemplarEnd,
    /// Text after the timestamp; exemplars are not part of this format.
    #[error("expected the end of the line after the timestamp")]
    ExpectedEnd,
}

/// Walks a body. After the first error there is nothing more.
///
/// The body ends where it ends, a last newline or not, or at a NUL where a line could begin.
#[derive(Debug, Clone)]
pub struct Parser<'b> {
    body: Body<'b>,
    at: usize,
    metric_type: MetricType,
    done: bool,
}

impl<'b> Parser<'b> {
    /// A parser at the beginning of `body`.
    pub fn new(body: &'b [u8]) -> Self {
        Self { body: Body::new(body), at: 0, metric_type: MetricType::Unknown, done: false }
    }

    /// Bytes of the body that have been read; between two entries, the beginning of a line.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The type of the last TYPE line, which holds for every series after it whatever its name.
    pub fn metric_type(&self) -> MetricType {
        self.metric_type
    }

    /// Reads the next line if it is a sample of the series with these bytes ([`Series::raw`] of an earlier body).
    ///
    /// The series itself is compared, not parsed again. `None`, without having moved, if the line is another one.
    pub fn next_known(&mut self, raw: &[u8]) -> Option<Result<Series<'b>, ParseError>> {
        self.upcoming(raw.len()).filter(|upcoming| *upcoming == raw)?;
        self.next_known_length(raw.len())
    }

    /// The next `length` bytes, if what follows them can follow a series.
    #[inline]
    pub fn upcoming(&self, length: usize) -> Option<&'b [u8]> {
        self.body.upcoming(self.at, length).filter(|_| !self.done)
    }

    /// Reads the next line as a sample of the series that is its first `length` bytes, without looking at them: the
    /// caller has compared [`Parser::upcoming`] with a series that was read before.
    ///
    /// `None`, without having moved, where these bytes cannot be a whole series.
    #[inline]
    pub fn next_known_length(&mut self, length: usize) -> Option<Result<Series<'b>, ParseError>> {
        self.upcoming(length)?;
        let start = self.at;
        Some(self.suffix(start, start + length).map_err(|fault| self.fail(start, fault)))
    }

    fn fail(&mut self, start: usize, fault: Fault) -> ParseError {
        self.done = true;
        self.body.error(start, fault)
    }

    /// The entry that begins at `start`; `None` at the end of the body.
    fn entry(&mut self, start: usize) -> Result<Option<Entry<'b>>, Fault> {
        let first = self.body.skip_blanks(start);
        match self.body.byte(first) {
            0 => Ok(None),
            b'#' => self.hash(first),
            b'{' => {
                let (end, named) = self.body.labels(first + 1, false, |_| {})?;
                if !named {
                    return Err(Fault { at: end, reason: ParseErrorReason::NameMissing });
                }
                self.suffix(start, end).map(|series| Some(Entry::Series(series)))
            }
            byte if body::is_name_start(byte) => {
                let mut end = self.body.name_end(first);
                let next = self.body.skip_blanks(end);
                if self.body.byte(next) == b'{' {
                    (end, _) = self.body.labels(next + 1, true, |_| {})?;
                }
                self.suffix(start, end).map(|series| Some(Entry::Series(series)))
            }
            _ => Err(Fault { at: first, reason: ParseErrorReason::ExpectedStart }),
        }
    }

    /// Value and timestamp after the series `start..end`.
    fn suffix(&mut self, start: usize, end: usize) -> Result<Series<'b>, Fault> {
        let suffix = self.body.suffix(end)?;
        self.at = suffix.next_line;
        Ok(Series {
            raw: &self.body.bytes[start..end],
            value: suffix.value,
            timestamp: suffix.timestamp.map(Timestamp::from_millis),
            metric_type: self.metric_type,
            form: Form::Text,
            extras: None,
        })
    }

    /// A line that begins with `#`.
    fn hash(&mut self, start: usize) -> Result<Option<Entry<'b>>, Fault> {
        let body = self.body;
        let after = body.skip_blanks(start + 1);
        if after == start + 1 {
            // Here a NUL ends the body; after a blank only a NUL that follows at once does.
            let end = body.line_end(after);
            if body.bytes[after.min(end)..end].contains(&0) {
                return Ok(None);
            }
            return Ok(Some(self.comment(start, end)));
        }
        if body.byte(after) == 0 {
            return Ok(None);
        }
        if let Some(at) = body.keyword(after, b"HELP") {
            return self.help(at).map(Some);
        }
        if let Some(at) = body.keyword(after, b"TYPE") {
            return self.family_type(at).map(Some);
        }
        Ok(Some(self.comment(start, body.line_end(after))))
    }

    fn comment(&mut self, start: usize, end: usize) -> Entry<'b> {
        self.at = end + 1;
        Entry::Comment(&self.body.bytes[start..end])
    }

    fn help(&mut self, at: usize) -> Result<Entry<'b>, Fault> {
        let metadata = self.body.metadata(at)?;
        let text = std::str::from_utf8(metadata.text)
            .map_err(|_| Fault { at: metadata.end, reason: ParseErrorReason::HelpUtf8 })?;
        if self.body.byte(metadata.end) != b'\n' {
            return Err(Fault { at: metadata.end, reason: ParseErrorReason::ExpectedMetadataEnd });
        }
        self.at = metadata.end + 1;
        Ok(Entry::Help { name: series::lossy(metadata.name), text: series::unescape(text, false) })
    }

    fn family_type(&mut self, at: usize) -> Result<Entry<'b>, Fault> {
        let metadata = self.body.metadata(at)?;
        let metric_type = MetricType::from_text(metadata.text)
            .ok_or(Fault { at: metadata.end, reason: ParseErrorReason::InvalidType })?;
        self.at = metadata.end + 1;
        self.metric_type = metric_type;
        Ok(Entry::Type { name: series::lossy(metadata.name), metric_type })
    }
}

impl<'b> Iterator for Parser<'b> {
    type Item = Result<Entry<'b>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        self.at = self.body.skip_blank_lines(self.at);
        let start = self.at;
        match self.entry(start) {
            Ok(Some(entry)) => Some(Ok(entry)),
            Ok(None) => {
                self.done = true;
                None
            }
            Err(fault) => Some(Err(self.fail(start, fault))),
        }
    }
}

impl FusedIterator for Parser<'_> {}

#[cfg(test)]
mod tests;

//! The OpenMetrics text format 0.0.1 and 1.0.0, read exactly as Prometheus 3 reads it
//! (`model/textparse/openmetricsparse.go` and `openmetricslex.l`), which is laxer than the standard in places.
//!
//! Differs from text 0.0.4 in that there is one blank between the parts of a line and none elsewhere, every line
//! ends in a newline, the last line is `# EOF`, times are seconds, and a sample may have an exemplar.

use std::iter::FusedIterator;

use memchr::{memchr, memchr3};
use outrigger_model::sample::{Exemplar, Timestamp};

use super::body::{self, Body, Fault};
use super::exemplar::{ExemplarLabels, Unfit};
use super::float::{self, ParseValueError};
use super::series::{self, Extras, Form, Series};
use super::{Entry, LineParser, MetricType, ParseError, ParseErrorReason};

/// Walks a body. After the first error there is nothing more; without an error the last line was `# EOF`.
#[derive(Debug, Clone)]
pub struct Parser<'b> {
    body: Body<'b>,
    at: usize,
    metric_type: MetricType,
    state: State,
    /// Nothing follows the bytes that are here.
    last: bool,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// At the beginning of a line.
    Line,
    /// The series handed out last is followed by something that no line goes on with. Prometheus counts the series
    /// before it fails.
    Broken(Fault),
    Done,
}

/// What follows a series.
struct Suffix {
    value: f64,
    timestamp: Option<i64>,
    exemplar: Option<Result<Exemplar, Unfit>>,
    next_line: usize,
    broken: Option<Fault>,
}

/// The name of a family in a line of metadata, and what follows it.
struct Metadata<'b> {
    name: &'b [u8],
    text: &'b [u8],
    end: usize,
    next_line: usize,
}

fn fault<T>(at: usize, reason: ParseErrorReason) -> Result<T, Fault> {
    Err(Fault { at, reason })
}

impl<'b> Parser<'b> {
    /// A parser at the beginning of `body`.
    pub fn new(body: &'b [u8]) -> Self {
        Self {
            body: Body::new(body),
            at: 0,
            metric_type: MetricType::Unknown,
            state: State::Line,
            last: true,
        }
    }

    /// Bytes of the body that have been read; between two entries, the beginning of a line.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The type of the last TYPE line, which holds for every series after it whatever its name.
    pub fn metric_type(&self) -> MetricType {
        self.metric_type
    }

    /// A parser that goes on with the next piece of a body after a TYPE line of `metric_type`. A piece begins with
    /// a line and, unless it is the `last` one, `# EOF` at its end is an error, because nobody knows yet what follows.
    pub fn resume(piece: &'b [u8], metric_type: MetricType, last: bool) -> Self {
        Self { metric_type, last, ..Self::new(piece) }
    }

    /// Reads the next line if it is a sample of the series with these bytes ([`Series::raw`] of an earlier body).
    pub fn next_known(&mut self, raw: &[u8]) -> Option<Result<Series<'b>, ParseError>> {
        self.upcoming(raw.len()).filter(|upcoming| *upcoming == raw)?;
        self.next_known_length(raw.len())
    }

    fn fail(&mut self, start: usize, fault: Fault) -> ParseError {
        self.state = State::Done;
        self.body.error(start, fault)
    }

    /// The byte at `at`; 0 at the end, which the lexer cannot tell from a NUL.
    #[inline]
    fn byte(&self, at: usize) -> u8 {
        self.body.bytes.get(at).copied().unwrap_or(0)
    }

    /// The entry that begins at `start`; `None` after `# EOF`.
    fn entry(&mut self, start: usize) -> Result<Option<Entry<'b>>, Fault> {
        match self.byte(start) {
            b'#' => self.hash(start),
            b'{' => {
                let (end, named) = self.labels(start + 1, false)?;
                if !named {
                    return fault(end, ParseErrorReason::NameMissing);
                }
                self.sample(start, end).map(|series| Some(Entry::Series(series)))
            }
            byte if body::is_name_start(byte) => {
                let mut end = self.body.name_end(start);
                if self.byte(end) == b'{' {
                    (end, _) = self.labels(end + 1, true)?;
                }
                self.sample(start, end).map(|series| Some(Entry::Series(series)))
            }
            _ if start >= self.body.bytes.len() => fault(start, ParseErrorReason::MissingEof),
            _ => fault(start, ParseErrorReason::ExpectedStart),
        }
    }

    /// The sample of the series `start..end`.
    #[inline]
    fn sample(&mut self, start: usize, end: usize) -> Result<Series<'b>, Fault> {
        let suffix = self.suffix(end)?;
        self.at = suffix.next_line;
        if let Some(fault) = suffix.broken {
            self.state = State::Broken(fault);
        }
        Ok(Series {
            raw: &self.body.bytes[start..end],
            value: suffix.value,
            timestamp: suffix.timestamp.map(Timestamp::from_millis),
            metric_type: self.metric_type,
            form: Form::Text,
            extras: suffix.exemplar.and_then(|exemplar| Extras::boxed([exemplar], None)),
        })
    }

    /// Value, timestamp, exemplar and the end of the line.
    #[inline]
    fn suffix(&self, at: usize) -> Result<Suffix, Fault> {
        let (value, mut end) = self.value(at)?;
        let mut suffix = Suffix { value, timestamp: None, exemplar: None, next_line: end + 1, broken: None };
        let follows = (self.byte(end), self.byte(end + 1), self.byte(end + 2));
        if follows.0 == b' ' && body::is_token(follows.1) && (follows.1, follows.2) != (b'#', b' ') {
            let (timestamp, after) = self.timestamp(end)?;
            (suffix.timestamp, end) = (Some(timestamp), after);
            suffix.next_line = end + 1;
            if self.byte(end) != b'\n' && !self.is_exemplar(end) {
                return fault(end, ParseErrorReason::ExpectedExemplarOrEnd);
            }
        }
        if self.byte(end) == b'\n' {
            return Ok(suffix);
        }
        if self.is_exemplar(end) {
            let (exemplar, next_line) = self.exemplar(end + 4)?;
            (suffix.exemplar, suffix.next_line) = (Some(exemplar), next_line);
            return Ok(suffix);
        }
        if end >= self.body.bytes.len() {
            return fault(end, ParseErrorReason::MissingEof);
        }
        // Prometheus takes the sample, and fails at what follows it.
        suffix.next_line = end;
        suffix.broken = Some(Fault { at: end + 1, reason: ParseErrorReason::ExpectedExemplarOrEnd });
        Ok(suffix)
    }

    fn is_exemplar(&self, at: usize) -> bool {
        self.body.bytes.get(at..).is_some_and(|rest| rest.starts_with(b" # {"))
    }

    /// A blank and a value.
    #[inline]
    fn value(&self, at: usize) -> Result<(f64, usize), Fault> {
        let end = self.token(at, ParseErrorReason::ExpectedValueAfterBlank)?;
        let value =
            float::parse_value(&self.body.bytes[at + 1..end]).map_err(|error| value_fault(end, error))?;
        Ok((value, end))
    }

    /// A blank and seconds, as milliseconds.
    fn timestamp(&self, at: usize) -> Result<(i64, usize), Fault> {
        let end = self.token(at, ParseErrorReason::ExpectedExemplarOrEnd)?;
        let seconds =
            float::parse_value(&self.body.bytes[at + 1..end]).map_err(|error| value_fault(end, error))?;
        if !seconds.is_finite() {
            return fault(end, ParseErrorReason::TimestampRange);
        }
        Ok((float::to_int64(seconds * 1000.0), end))
    }

    /// The end of a blank and the bytes up to the next blank, newline or NUL.
    #[inline]
    fn token(&self, at: usize, reason: ParseErrorReason) -> Result<usize, Fault> {
        if self.byte(at) != b' ' {
            return fault(at, reason);
        }
        let end = self.body.skip(at + 1, body::TOKEN);
        if end == at + 1 { fault(end, reason) } else { Ok(end) }
    }

    /// The rest of an exemplar after its opening brace, and where the next line begins.
    fn exemplar(&self, at: usize) -> Result<(Result<Exemplar, Unfit>, usize), Fault> {
        let mut labels = ExemplarLabels::default();
        let end = self.exemplar_labels(at, &mut labels)?;
        let (value, mut end) = self.value(end)?;
        let mut timestamp = None;
        if self.byte(end) == b' ' {
            let (time, after) = self.timestamp(end)?;
            (timestamp, end) = (Some(time), after);
        }
        if self.byte(end) != b'\n' {
            return fault(end, ParseErrorReason::ExpectedExemplarEnd);
        }
        Ok((labels.exemplar(value, timestamp), end + 1))
    }

    fn exemplar_labels(&self, mut at: usize, labels: &mut ExemplarLabels) -> Result<usize, Fault> {
        while self.byte(at) != b'}' {
            let (name, after) = match self.byte(at) {
                b'"' => {
                    let end = self.quoted(at, false)?;
                    (&self.body.bytes[at + 1..end - 1], end)
                }
                _ => self.label_name(at)?,
            };
            if self.byte(after) != b'=' {
                return fault(after, ParseErrorReason::ExpectedEqual);
            }
            if self.byte(after + 1) != b'"' {
                return fault(after + 1, ParseErrorReason::ExpectedLabelValue);
            }
            let end = self.quoted(after + 1, false)?;
            let value = &self.body.bytes[after + 2..end - 1];
            self.body.check_utf8(value, after + 1, ParseErrorReason::LabelValueUtf8)?;
            labels.add(name, value);
            at = self.separator(end)?;
        }
        Ok(at + 1)
    }

    /// Reads what follows an opening brace up to after the closing one, and whether a metric name is known then.
    #[inline]
    fn labels(&self, mut at: usize, mut named: bool) -> Result<(usize, bool), Fault> {
        while self.byte(at) != b'}' {
            let quoted = self.byte(at) == b'"';
            let after = if quoted { self.quoted(at, true)? } else { self.label_name(at)?.1 };
            let separator = self.byte(after);
            if quoted && matches!(separator, b',' | b'}') {
                if named {
                    return fault(after, ParseErrorReason::NameTwice);
                }
                self.check_name(at, after)?;
                named = true;
                at = after + usize::from(separator == b',');
                continue;
            }
            if separator != b'=' {
                return fault(after, ParseErrorReason::ExpectedEqual);
            }
            let end = self.label_value(after + 1)?;
            self.body.check_utf8(
                &self.body.bytes[after + 2..end],
                after + 1,
                ParseErrorReason::LabelValueUtf8,
            )?;
            if quoted {
                self.check_name(at, after)?;
            }
            at = self.separator(end)?;
        }
        Ok((at + 1, named))
    }

    /// After the comma at `at`, or at the closing brace there.
    #[inline]
    fn separator(&self, at: usize) -> Result<usize, Fault> {
        match self.byte(at) {
            b',' => Ok(at + 1),
            b'}' => Ok(at),
            _ => fault(at, ParseErrorReason::ExpectedComma),
        }
    }

    #[inline]
    fn label_name(&self, at: usize) -> Result<(&'b [u8], usize), Fault> {
        let first = self.byte(at);
        if !body::is_name_start(first) || first == b':' {
            return fault(at, ParseErrorReason::ExpectedLabelName);
        }
        let end = self.body.skip(at, body::LABEL_NAME);
        Ok((&self.body.bytes[at..end], end))
    }

    /// A quoted name without its quotes. Prometheus leaves one that is not UTF-8 to its scrape loop.
    fn check_name(&self, start: usize, end: usize) -> Result<(), Fault> {
        self.body.check_utf8(&self.body.bytes[start + 1..end - 1], start, ParseErrorReason::NameUtf8)
    }

    /// The end of a quoted name or of an exemplar's label value. A NUL matches nothing, a newline where `lines`.
    fn quoted(&self, start: usize, lines: bool) -> Result<usize, Fault> {
        let mut at = start + 1;
        loop {
            let rest = self.body.bytes.get(at..).unwrap_or_default();
            let stop = memchr3(b'"', b'\\', 0, rest).unwrap_or(rest.len());
            if let Some(newline) = memchr(b'\n', &rest[..stop]).filter(|_| !lines) {
                return fault(at + newline, ParseErrorReason::UnclosedQuote);
            }
            at += stop;
            match self.byte(at) {
                b'"' => return Ok(at + 1),
                b'\\' if !matches!(self.byte(at + 1), 0 | b'\n') => at += 2,
                b'\\' => return fault(at + 1, ParseErrorReason::UnclosedQuote),
                _ => return fault(at, ParseErrorReason::UnclosedQuote),
            }
        }
    }

    /// The end of a label value: as an exemplar's, but NULs are stepped over, also after the closing quote.
    #[inline]
    fn label_value(&self, start: usize) -> Result<usize, Fault> {
        if self.byte(start) != b'"' {
            return fault(start, ParseErrorReason::ExpectedLabelValue);
        }
        let mut at = start + 1;
        loop {
            let rest = self.body.bytes.get(at..).unwrap_or_default();
            at += memchr3(b'"', b'\\', b'\n', rest).unwrap_or(rest.len());
            match self.byte(at) {
                b'"' => return Ok(self.body.step_over_nul(at)),
                b'\\' => {
                    let escaped = self.body.step_over_nul(at);
                    if matches!(self.byte(escaped), 0 | b'\n') {
                        return fault(escaped, ParseErrorReason::ExpectedLabelValue);
                    }
                    at = self.body.step_over_nul(escaped);
                }
                _ => return fault(at, ParseErrorReason::ExpectedLabelValue),
            }
        }
    }

    /// A line that begins with `#`.
    fn hash(&mut self, start: usize) -> Result<Option<Entry<'b>>, Fault> {
        if self.byte(start + 1) != b' ' {
            return fault(start + 1, ParseErrorReason::ExpectedKeyword);
        }
        match self.byte(start + 2) {
            b'E' => {
                let end = self.word(start + 2, b"EOF")?;
                let end = if self.byte(end) == b'\n' { self.body.step_over_nul(end) } else { end };
                if end < self.body.bytes.len() || !self.last {
                    return fault(end, ParseErrorReason::AfterEof);
                }
                self.at = end;
                Ok(None)
            }
            b'H' => self.help(start + 2).map(Some),
            b'T' => self.family_type(start + 2).map(Some),
            b'U' => self.unit(start + 2).map(Some),
            _ => fault(start + 2, ParseErrorReason::ExpectedKeyword),
        }
    }

    /// The position after `word`, whose letters may have NULs between them.
    fn word(&self, mut at: usize, word: &[u8]) -> Result<usize, Fault> {
        for letter in word {
            if self.byte(at) != *letter {
                return fault(at, ParseErrorReason::ExpectedKeyword);
            }
            at = self.body.step_over_nul(at);
        }
        Ok(at)
    }

    fn help(&mut self, at: usize) -> Result<Entry<'b>, Fault> {
        let metadata = self.metadata(at, b"HELP ")?;
        let text = std::str::from_utf8(metadata.text)
            .map_err(|_| Fault { at: metadata.end, reason: ParseErrorReason::HelpUtf8 })?;
        self.at = metadata.next_line;
        Ok(Entry::Help { name: series::lossy(metadata.name), text: series::unescape(text, true) })
    }

    fn family_type(&mut self, at: usize) -> Result<Entry<'b>, Fault> {
        let metadata = self.metadata(at, b"TYPE ")?;
        let metric_type = MetricType::from_open_metrics(metadata.text)
            .ok_or(Fault { at: metadata.end, reason: ParseErrorReason::InvalidOpenMetricsType })?;
        self.at = metadata.next_line;
        self.metric_type = metric_type;
        Ok(Entry::Type { name: series::lossy(metadata.name), metric_type })
    }

    fn unit(&mut self, at: usize) -> Result<Entry<'b>, Fault> {
        let Metadata { name, text, end, next_line } = self.metadata(at, b"UNIT ")?;
        let fits = |stem: &[u8]| stem.ends_with(b"_");
        if !text.is_empty() && !name.strip_suffix(text).is_some_and(fits) {
            return fault(end, ParseErrorReason::UnitSuffix);
        }
        self.at = next_line;
        Ok(Entry::Unit { name: series::lossy(name), unit: series::lossy(text) })
    }

    /// What follows `# `: a keyword, a name, one blank and a text. NULs in the text are part of it; so are those
    /// after the newline and the newline then, all but the last byte.
    fn metadata(&self, at: usize, keyword: &[u8]) -> Result<Metadata<'b>, Fault> {
        let start = self.word(at, keyword)?;
        let (name, after) = match self.byte(start) {
            b'"' => {
                let end = self.quoted(start, true)?;
                (&self.body.bytes[start + 1..end - 1], end)
            }
            byte if body::is_name_start(byte) => {
                let end = self.body.name_end(start);
                (&self.body.bytes[start..end], end)
            }
            _ => return fault(start, ParseErrorReason::ExpectedMetadataName),
        };
        if self.byte(after) != b' ' {
            return fault(after, ParseErrorReason::ExpectedMetadataText);
        }
        let end = self.body.line_end(after);
        if end >= self.body.bytes.len() {
            return fault(end, ParseErrorReason::ExpectedMetadataText);
        }
        let next_line = self.body.step_over_nul(end);
        Ok(Metadata { name, text: &self.body.bytes[after + 1..next_line - 1], end, next_line })
    }
}

fn value_fault(at: usize, error: ParseValueError) -> Fault {
    match error {
        ParseValueError::Syntax => Fault { at, reason: ParseErrorReason::InvalidValue },
        ParseValueError::Range => Fault { at, reason: ParseErrorReason::ValueRange },
    }
}

impl<'b> Iterator for Parser<'b> {
    type Item = Result<Entry<'b>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        let entry = match self.state {
            State::Line => self.entry(start),
            State::Broken(fault) => Err(fault),
            State::Done => return None,
        };
        match entry {
            Ok(Some(entry)) => Some(Ok(entry)),
            Ok(None) => {
                self.state = State::Done;
                None
            }
            Err(fault) => Some(Err(self.fail(start, fault))),
        }
    }
}

impl FusedIterator for Parser<'_> {}

impl<'b> LineParser<'b> for Parser<'b> {
    fn line_start(&mut self) -> usize {
        self.at
    }

    fn consumed_since(&self, start: usize) -> &'b [u8] {
        self.body.bytes.get(start..self.at.saturating_sub(1)).unwrap_or_default()
    }

    #[inline]
    fn upcoming(&self, length: usize) -> Option<&'b [u8]> {
        let end = self.at.checked_add(length)?;
        let bytes = self.body.bytes.get(self.at..end)?;
        let ends = length > 0 && matches!(self.byte(end), b' ' | b'\n');
        (ends && matches!(self.state, State::Line)).then_some(bytes)
    }

    #[inline]
    fn next_known_length(&mut self, length: usize) -> Option<Result<Series<'b>, ParseError>> {
        self.upcoming(length)?;
        let start = self.at;
        Some(self.sample(start, start + length).map_err(|fault| self.fail(start, fault)))
    }

    #[inline]
    fn pass_known_line(&mut self, length: usize) -> bool {
        let end = self.at + length;
        let ends = self.byte(end) == b'\n';
        if ends {
            self.at = self.body.step_over_nul(end);
        }
        ends
    }

    fn set_metric_type(&mut self, metric_type: MetricType) {
        self.metric_type = metric_type;
    }
}

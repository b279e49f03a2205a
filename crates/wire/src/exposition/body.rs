//! The bytes of a body and the tokens in them, as Prometheus' lexer finds them.
//!
//! A NUL is not simply a character there: within label values, HELP texts and after `# ` the lexer steps over it,
//! elsewhere it matches nothing. The functions below say where which holds.

use memchr::{memchr, memchr2, memchr3};

use super::float::{self, ParseValueError};
use super::{ParseError, ParseErrorReason};

/// Longest excerpt of a line in an error.
const MAX_EXCERPT: usize = 120;

/// A body. Reads as if a last newline were there where it is missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Body<'b> {
    pub(super) bytes: &'b [u8],
    /// All of it is UTF-8, so no part has to be checked again.
    valid: bool,
}

/// Where a line is wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) reason: ParseErrorReason,
}

/// What the braces of a series hold. Bytes are without the quotes and still escaped.
#[derive(Debug, Clone, Copy)]
pub(super) enum LabelPart<'b> {
    MetricName(&'b [u8]),
    Label { name: &'b [u8], value: &'b [u8] },
}

pub(super) struct Suffix {
    pub(super) value: f64,
    pub(super) timestamp: Option<i64>,
    pub(super) next_line: usize,
}

pub(super) struct Metadata<'b> {
    pub(super) name: &'b [u8],
    pub(super) text: &'b [u8],
    /// Where the line ends, or the NUL after the name.
    pub(super) end: usize,
}

/// What each byte may be part of.
const METRIC_NAME: u8 = 1;
pub(super) const LABEL_NAME: u8 = 2;
const DIGIT: u8 = 4;
const BLANK: u8 = 8;
const VALUE: u8 = 16;
/// What a value, timestamp or the like of OpenMetrics may hold.
pub(super) const TOKEN: u8 = 32;
const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [VALUE | TOKEN; 256];
    let mut byte = 0u8;
    loop {
        table[byte as usize] |= match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => METRIC_NAME | LABEL_NAME,
            b'0'..=b'9' => METRIC_NAME | LABEL_NAME | DIGIT,
            b':' => METRIC_NAME,
            b' ' | b'\t' => BLANK,
            _ => 0,
        };
        if matches!(byte, 0 | b' ' | b'\t' | b'\n' | b'{') {
            table[byte as usize] &= !VALUE;
        }
        if matches!(byte, 0 | b' ' | b'\n') {
            table[byte as usize] &= !TOKEN;
        }
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

#[inline]
fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

pub(super) fn is_name_start(byte: u8) -> bool {
    is(byte, METRIC_NAME) && !is(byte, DIGIT)
}

pub(super) fn is_token(byte: u8) -> bool {
    is(byte, TOKEN)
}

fn fault<T>(at: usize, reason: ParseErrorReason) -> Result<T, Fault> {
    Err(Fault { at, reason })
}

impl<'b> Body<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, valid: std::str::from_utf8(bytes).is_ok() }
    }

    /// Bytes whose names and values have been checked before.
    pub(super) fn checked(bytes: &'b [u8]) -> Self {
        Self { bytes, valid: true }
    }

    /// The byte at `at`; 0 at the end, which the lexer cannot tell from a NUL.
    #[inline]
    pub(super) fn byte(&self, at: usize) -> u8 {
        match self.bytes.get(at) {
            Some(byte) => *byte,
            None if at == self.bytes.len() && self.bytes.last() != Some(&b'\n') => b'\n',
            None => 0,
        }
    }

    /// The first byte from `at` on that is not of this class.
    #[inline]
    pub(super) fn skip(&self, at: usize, class: u8) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        at + rest.iter().position(|byte| !is(*byte, class)).unwrap_or(rest.len())
    }

    #[inline]
    pub(super) fn skip_blanks(&self, at: usize) -> usize {
        self.skip(at, BLANK)
    }

    /// The beginning of the first line from `at` on that is not blank.
    #[inline]
    pub(super) fn skip_blank_lines(&self, mut at: usize) -> usize {
        loop {
            let first = self.skip_blanks(at);
            if self.byte(first) != b'\n' {
                return at;
            }
            at = first + 1;
        }
    }

    /// Where the line that `at` is in ends.
    pub(super) fn line_end(&self, at: usize) -> usize {
        let at = at.min(self.bytes.len());
        memchr(b'\n', &self.bytes[at..]).map_or(self.bytes.len(), |length| at + length)
    }

    #[inline]
    pub(super) fn name_end(&self, at: usize) -> usize {
        self.skip(at, METRIC_NAME)
    }

    /// One byte on, and over any NULs there.
    pub(super) fn step_over_nul(&self, at: usize) -> usize {
        let mut at = at + 1;
        while self.bytes.get(at) == Some(&0) {
            at += 1;
        }
        at
    }

    /// Blanks, where the lexer steps over NULs after each.
    fn skip_blanks_and_nul(&self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\t') {
            at = self.step_over_nul(at);
        }
        at
    }

    /// The position after `word` and at least one blank.
    pub(super) fn keyword(&self, mut at: usize, word: &[u8]) -> Option<usize> {
        for letter in word {
            if self.byte(at) != *letter {
                return None;
            }
            at = self.step_over_nul(at);
        }
        let after = self.skip_blanks_and_nul(at);
        (after > at).then_some(after)
    }

    /// A quoted name: a NUL matches nothing, a newline is fine unless a backslash precedes it.
    fn quoted_name(&self, start: usize) -> Option<usize> {
        let mut at = start + 1;
        loop {
            let rest = self.bytes.get(at..)?;
            at += memchr3(b'"', b'\\', 0, rest)?;
            match self.bytes[at] {
                b'"' => return Some(at + 1),
                b'\\' if !matches!(self.byte(at + 1), 0 | b'\n') => at += 2,
                _ => return None,
            }
        }
    }

    /// A label value: as a quoted name, but NULs are stepped over, also the one after the closing quote.
    #[inline]
    fn quoted_value(&self, start: usize) -> Option<usize> {
        let mut at = start + 1;
        loop {
            let rest = self.bytes.get(at..)?;
            at += memchr2(b'"', b'\\', rest)?;
            let next = self.step_over_nul(at);
            if self.bytes[at] == b'"' {
                return Some(next);
            }
            if matches!(self.byte(next), 0 | b'\n') {
                return None;
            }
            at = self.step_over_nul(next);
        }
    }

    /// Reads what follows an opening brace up to after the closing one, and whether a metric name is known then.
    #[inline]
    pub(super) fn labels(
        &self,
        at: usize,
        mut named: bool,
        mut visit: impl FnMut(LabelPart<'b>),
    ) -> Result<(usize, bool), Fault> {
        let mut at = self.skip_blanks(at);
        loop {
            let start = at;
            let first = self.byte(start);
            let quoted = first == b'"';
            let end = match first {
                b'}' => return Ok((start + 1, named)),
                b'"' => self
                    .quoted_name(start)
                    .ok_or(Fault { at: start, reason: ParseErrorReason::ExpectedLabelName })?,
                byte if is(byte, LABEL_NAME) && !is(byte, DIGIT) => self.skip(start, LABEL_NAME),
                _ => return fault(start, ParseErrorReason::ExpectedLabelName),
            };
            let name = if quoted { start + 1..end - 1 } else { start..end };
            let name = &self.bytes[name];
            let next = self.skip_blanks(end);
            let separator = self.byte(next);
            if quoted && matches!(separator, b',' | b'}') {
                if named {
                    return fault(next, ParseErrorReason::NameTwice);
                }
                self.check_utf8(name, start, ParseErrorReason::NameUtf8)?;
                named = true;
                visit(LabelPart::MetricName(name));
                if separator == b'}' {
                    return Ok((next + 1, named));
                }
                at = self.skip_blanks(next + 1);
                continue;
            }
            if separator != b'=' {
                return fault(next, ParseErrorReason::ExpectedEqual);
            }
            let (value, after) = self.label_value(next + 1)?;
            if quoted {
                self.check_utf8(name, start, ParseErrorReason::NameUtf8)?;
            }
            visit(LabelPart::Label { name, value });
            at = self.skip_blanks(after);
            if self.byte(at) == b',' {
                at = self.skip_blanks(at + 1);
            }
        }
    }

    #[inline]
    fn label_value(&self, at: usize) -> Result<(&'b [u8], usize), Fault> {
        let start = if self.byte(at) == b'"' { at } else { self.skip_blanks_and_nul(at) };
        let end = match self.byte(start) {
            b'"' => self.quoted_value(start),
            _ => None,
        };
        let end = end.ok_or(Fault { at: start, reason: ParseErrorReason::ExpectedLabelValue })?;
        let value = &self.bytes[start + 1..end - 1];
        self.check_utf8(value, start, ParseErrorReason::LabelValueUtf8)?;
        Ok((value, end))
    }

    #[inline]
    pub(super) fn check_utf8(&self, text: &[u8], at: usize, reason: ParseErrorReason) -> Result<(), Fault> {
        if self.valid || std::str::from_utf8(text).is_ok() { Ok(()) } else { fault(at, reason) }
    }

    /// Value, timestamp and the end of the line.
    #[inline]
    pub(super) fn suffix(&self, at: usize) -> Result<Suffix, Fault> {
        let start = self.skip_blanks(at);
        let end = self.skip(start, VALUE);
        if start == end {
            return fault(start, ParseErrorReason::ExpectedValue);
        }
        let value = float::parse_value(&self.bytes[start..end]).map_err(|error| match error {
            ParseValueError::Syntax => Fault { at: end, reason: ParseErrorReason::InvalidValue },
            ParseValueError::Range => Fault { at: end, reason: ParseErrorReason::ValueRange },
        })?;
        let next = self.skip_blanks(end);
        if self.byte(next) == b'\n' {
            return Ok(Suffix { value, timestamp: None, next_line: next + 1 });
        }
        let digits_end = self.skip(next, DIGIT);
        if digits_end == next {
            return fault(next, ParseErrorReason::ExpectedTimestamp);
        }
        let Some(timestamp) = parse_digits(&self.bytes[next..digits_end]) else {
            return fault(digits_end, ParseErrorReason::TimestampRange);
        };
        let last = self.skip_blanks(digits_end);
        if self.byte(last) != b'\n' {
            return fault(last, ParseErrorReason::ExpectedEnd);
        }
        Ok(Suffix { value, timestamp: Some(timestamp), next_line: last + 1 })
    }

    /// The `length` bytes from `at` on, if what follows them can follow a series.
    #[inline]
    pub(super) fn upcoming(&self, at: usize, length: usize) -> Option<&'b [u8]> {
        let end = at.checked_add(length)?;
        let raw = self.bytes.get(at..end)?;
        if *raw.last()? != b'}' && is(self.byte(end), METRIC_NAME) {
            return None;
        }
        (self.byte(self.skip_blanks(end)) != b'{').then_some(raw)
    }

    /// Name and text of a HELP or TYPE line.
    pub(super) fn metadata(&self, at: usize) -> Result<Metadata<'b>, Fault> {
        let missing = Fault { at, reason: ParseErrorReason::ExpectedMetadataName };
        let (name, after) = match self.byte(at) {
            b'"' => {
                let end = self.quoted_name(at).ok_or(missing)?;
                (&self.bytes[at + 1..end - 1], end)
            }
            byte if is_name_start(byte) => {
                let end = self.name_end(at);
                (&self.bytes[at..end], end)
            }
            _ => return Err(missing),
        };
        if self.byte(after) == 0 {
            return Ok(Metadata { name, text: &[], end: after });
        }
        // Whatever follows the name first, a blank or not, is no part of the text; nothing but blanks is no text.
        let end = self.line_end(after);
        let text = match self.skip_blanks_and_nul(after) {
            first if first >= end => &[],
            _ => self.bytes.get(after + 1..end).unwrap_or_default(),
        };
        Ok(Metadata { name, text, end })
    }

    /// The error for a fault in the entry that begins at `start`.
    pub(super) fn error(&self, start: usize, fault: Fault) -> ParseError {
        let at = fault.at.min(self.bytes.len());
        let line = 1 + memchr::memchr_iter(b'\n', &self.bytes[..at]).count();
        let seen = &self.bytes[start.min(at)..(at + 1).min(self.bytes.len())];
        let mut near = String::from_utf8_lossy(&seen[seen.len().saturating_sub(MAX_EXCERPT)..]).into_owned();
        if seen.len() > MAX_EXCERPT {
            near.insert(0, '…');
        }
        ParseError { line, reason: fault.reason, near }
    }
}

/// Digits as an `i64`; `None` where they do not fit.
fn parse_digits(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0i64, |sum, digit| sum.checked_mul(10)?.checked_add(i64::from(digit - b'0')))
}

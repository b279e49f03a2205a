//! Reading a body piece by piece, with the help of what is remembered of an earlier one.

use super::{Entry, MetricType, ParseError, Parser, Series};

/// A parser of a text format whose caller may know the next line already, by the bytes before its value.
pub trait LineParser<'b>: Iterator<Item = Result<Entry<'b>, ParseError>> {
    /// Skips blank lines; returns the position of the line that comes next.
    fn line_start(&mut self) -> usize;

    /// The bytes that were read since the line at `start` began, without the newline at their end.
    fn consumed_since(&self, start: usize) -> &'b [u8];

    /// The next `length` bytes, if they may be a whole series or a whole line of another kind.
    fn upcoming(&self, length: usize) -> Option<&'b [u8]>;

    /// Reads what follows the series that the next `length` bytes, from [`upcoming`](Self::upcoming), are known to be.
    /// `None` after an error.
    fn next_known_length(&mut self, length: usize) -> Option<Result<Series<'b>, ParseError>>;

    /// Steps over the line of `length` bytes that is known to be no sample. False, without having moved, if the next
    /// line is longer.
    fn pass_known_line(&mut self, length: usize) -> bool;

    /// A `# TYPE` line was stepped over.
    fn set_metric_type(&mut self, metric_type: MetricType);
}

impl<'b> Parser<'b> {
    /// A parser that goes on with the next piece of a body after a TYPE line of `metric_type`. A piece begins with
    /// a line.
    pub fn resume(body: &'b [u8], metric_type: MetricType) -> Self {
        Self { metric_type, ..Self::new(body) }
    }
}

impl<'b> LineParser<'b> for Parser<'b> {
    fn line_start(&mut self) -> usize {
        self.at = self.body.skip_blank_lines(self.at);
        self.at
    }

    fn consumed_since(&self, start: usize) -> &'b [u8] {
        let end = self.at.saturating_sub(1).min(self.body.bytes.len());
        self.body.bytes.get(start..end).unwrap_or_default()
    }

    #[inline]
    fn upcoming(&self, length: usize) -> Option<&'b [u8]> {
        Parser::upcoming(self, length)
    }

    #[inline]
    fn next_known_length(&mut self, length: usize) -> Option<Result<Series<'b>, ParseError>> {
        Parser::next_known_length(self, length)
    }

    #[inline]
    fn pass_known_line(&mut self, length: usize) -> bool {
        let end = self.at + length;
        let ends = self.body.byte(end) == b'\n';
        if ends {
            self.at = end + 1;
        }
        ends
    }

    fn set_metric_type(&mut self, metric_type: MetricType) {
        self.metric_type = metric_type;
    }
}

//! Reads a body of any format, whole or in pieces, entry by entry.

use std::ops::ControlFlow;

use super::custom_buckets::Converter;
use super::protobuf::{self, FamilyError};
use super::{Entry, LineParser, MetricType, ParseError, Parser, openmetrics};

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text 0.0.4 and 1.0.0.
    Text,
    /// OpenMetrics text 0.0.1 and 1.0.0.
    OpenMetrics,
    /// Protobuf, each message after its length.
    Protobuf,
}

/// What is read of histograms, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// `scrape_native_histograms`. Else a histogram that has native parts is read as a classic one.
    pub native_histograms: bool,
    /// `always_scrape_classic_histograms`: the classic series of a histogram too that is read as a native one, or
    /// converted to one.
    pub classic_histograms: bool,
    /// `convert_classic_histograms_to_nhcb`.
    pub convert_classic: bool,
    /// Hand out since when a metric has counted, where the format has it (protobuf).
    pub start_timestamps: bool,
}

/// Why a body is refused. Prometheus then fails the whole scrape.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// A line of a text format.
    #[error(transparent)]
    Line(#[from] ParseError),
    /// A metric family of the protobuf format.
    #[error(transparent)]
    Family(#[from] FamilyError),
}

/// Reads one body, in pieces of any size.
///
/// Holds no bytes of it: the caller keeps what has not been read yet, see [`Reader::read`].
#[derive(Debug, Clone)]
pub struct Reader {
    format: Format,
    options: Options,
    metric_type: MetricType,
    converter: Option<Converter>,
    /// Bytes and lines of the pieces before.
    bytes: usize,
    lines: usize,
    ended: bool,
}

impl Reader {
    /// A reader at the beginning of a body.
    pub fn new(format: Format, options: Options) -> Self {
        // The protobuf parser converts by itself.
        let converts = options.convert_classic && format != Format::Protobuf;
        Self {
            format,
            options,
            metric_type: MetricType::Unknown,
            converter: converts.then(|| Converter::new(options.classic_histograms)),
            bytes: 0,
            lines: 0,
            ended: false,
        }
    }

    /// How many classic histograms could not be converted and were left out. One of a protobuf body is an error
    /// instead, as in Prometheus.
    pub fn unconverted(&self) -> usize {
        self.converter.as_ref().map_or(0, Converter::failed)
    }

    /// Reads the lines or metric families that are whole in `piece`, and hands out their entries.
    ///
    /// Returns how many bytes have been read. The next piece must begin with the bytes after those; a piece of which
    /// nothing has been read must grow. With `last`, nothing follows and everything is read.
    ///
    /// # Errors
    /// In [`Err`], why the body is refused; entries handed out before are void. What `visit` breaks off with comes
    /// in [`ControlFlow::Break`].
    pub fn read<B>(
        &mut self,
        piece: &[u8],
        last: bool,
        mut visit: impl FnMut(Entry<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B, usize>, ReadError> {
        let lines = match memchr::memrchr(b'\n', piece) {
            _ if last => piece,
            newline => &piece[..newline.map_or(0, |at| at + 1)],
        };
        let read = match self.format {
            _ if self.ended => Ok(ControlFlow::Continue(piece.len())),
            Format::Text => {
                let parser = Parser::resume(lines, self.metric_type);
                self.read_lines(parser, lines.len(), last, &mut visit)
            }
            Format::OpenMetrics => {
                let parser = openmetrics::Parser::resume(lines, self.metric_type, last);
                self.read_lines(parser, lines.len(), last, &mut visit)
            }
            Format::Protobuf => self.read_families(piece, last, &mut visit),
        };
        let read = match read? {
            ControlFlow::Continue(read) => read,
            broken => return Ok(broken),
        };
        self.bytes += read;
        self.lines += memchr::memchr_iter(b'\n', &piece[..read]).count();
        if let Some(converter) = self.converter.as_mut().filter(|_| last)
            && let ControlFlow::Break(broken) = converter.finish(&mut visit)
        {
            return Ok(ControlFlow::Break(broken));
        }
        Ok(ControlFlow::Continue(read))
    }

    fn read_lines<'b, B>(
        &mut self,
        mut parser: impl LineParser<'b>,
        length: usize,
        last: bool,
        visit: &mut impl FnMut(Entry<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B, usize>, ReadError> {
        loop {
            let start = parser.line_start();
            if !last && start >= length {
                return Ok(ControlFlow::Continue(length));
            }
            let entry = match parser.next() {
                Some(Ok(entry)) => entry,
                // What is wrong here may be right with more of the body.
                Some(Err(_)) if !last => return Ok(ControlFlow::Continue(start)),
                Some(Err(error)) => return Err(ParseError { line: error.line + self.lines, ..error }.into()),
                None => {
                    self.ended = true;
                    return Ok(ControlFlow::Continue(length));
                }
            };
            if let Entry::Type { metric_type, .. } = entry {
                self.metric_type = metric_type;
            }
            let flow = match &mut self.converter {
                Some(converter) => converter.push(entry, visit),
                None => visit(entry),
            };
            if let ControlFlow::Break(broken) = flow {
                return Ok(ControlFlow::Break(broken));
            }
        }
    }

    fn read_families<B>(
        &mut self,
        piece: &[u8],
        last: bool,
        visit: &mut impl FnMut(Entry<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B, usize>, ReadError> {
        let whole = if last { piece.len() } else { protobuf::whole_families(piece) };
        let mut parser = protobuf::Parser::new(&piece[..whole], self.options);
        while let Some(entry) = parser.next() {
            let entry = entry.map_err(|error| FamilyError { at: error.at + self.bytes, ..error })?;
            if let ControlFlow::Break(broken) = visit(entry) {
                return Ok(ControlFlow::Break(broken));
            }
        }
        Ok(ControlFlow::Continue(whole))
    }
}

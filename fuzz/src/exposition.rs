//! Bodies of targets.

use std::ops::ControlFlow;

use outrigger_model::labels::LabelsBuilder;
use outrigger_wire::exposition::{
    Entry, Format, LineParser, Options, ParseError, Parser, Reader, Series, openmetrics as open_metrics,
};

pub(crate) fn text(data: &[u8]) {
    let Some((choice, body)) = crate::split_choice(data) else { return };
    known_lines_read_alike(body, Parser::new(body), Parser::new(body), Parser::next_known);
    pieces_read_alike(Format::Text, choice, body);
}

pub(crate) fn openmetrics(data: &[u8]) {
    let Some((choice, body)) = crate::split_choice(data) else { return };
    let parser = || open_metrics::Parser::new(body);
    known_lines_read_alike(body, parser(), parser(), open_metrics::Parser::next_known);
    // Prometheus' lexer takes a NUL for the end of what it has, wherever that is; a piece ends elsewhere.
    if !body.contains(&0) {
        pieces_read_alike(Format::OpenMetrics, choice, body);
    }
}

pub(crate) fn protobuf(data: &[u8]) {
    let Some((choice, body)) = crate::split_choice(data) else { return };
    pieces_read_alike(Format::Protobuf, choice, body);
}

/// A line that was read before is read in a shorter way; it must say the same.
fn known_lines_read_alike<'b, P: LineParser<'b>>(
    body: &[u8],
    first: P,
    mut second: P,
    next_known: impl Fn(&mut P, &[u8]) -> Option<Result<Series<'b>, ParseError>>,
) {
    let mut labels = LabelsBuilder::new();
    for entry in first {
        let known = match &entry {
            Ok(Entry::Series(series)) => {
                // Both outcomes are fine for any line.
                let _ = series.labels(&mut labels);
                second.line_start();
                next_known(&mut second, series.raw()).map(|known| known.map(Entry::Series))
            }
            _ => None,
        };
        let again = known.or_else(|| second.next()).expect("as many entries as the first time");
        assert_eq!(format!("{entry:?}"), format!("{again:?}"), "in {:?}", String::from_utf8_lossy(body));
    }
    assert!(second.next().is_none());
}

/// A body that comes in two pieces says what it says in one.
fn pieces_read_alike(format: Format, choice: u8, body: &[u8]) {
    let options = Options {
        native_histograms: choice & 1 == 0,
        classic_histograms: choice & 2 != 0,
        convert_classic: choice & 4 != 0,
        start_timestamps: choice & 8 != 0,
    };
    let whole = read(format, options, &[body]);
    let (head, tail) = crate::cut(choice.reverse_bits(), body);
    let pieces = read(format, options, &[head, tail]);
    assert_eq!(whole, pieces, "cut at {} of {:?}", head.len(), String::from_utf8_lossy(body));
}

fn read(format: Format, options: Options, pieces: &[&[u8]]) -> (Vec<String>, Option<String>) {
    let mut reader = Reader::new(format, options);
    let mut entries = Vec::new();
    let mut pending = Vec::new();
    let mut labels = LabelsBuilder::new();
    for (index, piece) in pieces.iter().enumerate() {
        pending.extend_from_slice(piece);
        let result = reader.read(&pending, index + 1 == pieces.len(), |entry| {
            if let Entry::Series(series) = &entry {
                let _ = series.labels(&mut labels);
            }
            if let Entry::Histogram(native) = &entry {
                let _ = native.series.labels(&mut labels);
                let _ = native.histogram.validate();
            }
            entries.push(format!("{entry:?}"));
            ControlFlow::<()>::Continue(())
        });
        match result {
            Ok(ControlFlow::Continue(read)) => drop(pending.drain(..read)),
            Ok(ControlFlow::Break(())) => unreachable!("nothing breaks off"),
            // How much was handed out before is not promised, nor that a piece that ends in a bad line names its fault
            // in the same words.
            Err(error) => return (Vec::new(), error.to_string().split(':').next().map(str::to_owned)),
        }
    }
    (entries, None)
}

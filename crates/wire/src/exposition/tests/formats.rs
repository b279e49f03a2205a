//! Everything that Prometheus' parsers say about the cases in `testdata/exposition_formats`.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use outrigger_model::histogram::{Counts, Histogram, HistogramError, Span};
use outrigger_model::labels::Labels;
use outrigger_model::sample::{Exemplar, Timestamp, normal_nan};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{bytes, latin};
use crate::exposition::protobuf::FamilyErrorReason;
use crate::exposition::{
    Entry, Format, LineParser, MetricType, Options, ParseErrorReason, ReadError, Reader, Series, openmetrics,
};
use crate::protobuf::{ProtobufError, Writer, put_varint};

fn bits(value: f64) -> String {
    format!("{:016x}", value.to_bits())
}

fn flat(mut pairs: Vec<(String, String)>) -> Value {
    pairs.sort();
    pairs.into_iter().flat_map(|(name, value)| [latin(name.as_bytes()), latin(value.as_bytes())]).collect()
}

fn labels_of(series: &Series<'_>) -> Value {
    let mut pairs = Vec::new();
    series.for_each_label(|name, value| pairs.push((name.to_owned(), value.to_owned())));
    flat(pairs)
}

fn exemplars(exemplars: &[Exemplar]) -> Value {
    let dump = |exemplar: &Exemplar| {
        let pairs = exemplar.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        json!([flat(pairs), bits(exemplar.value), exemplar.timestamp.map(|time| time.millis())])
    };
    exemplars.iter().map(dump).collect()
}

fn spans(spans: &[Span]) -> Value {
    spans.iter().flat_map(|span| [i64::from(span.offset), i64::from(span.length)]).collect()
}

fn floats(values: &[f64]) -> Value {
    values.iter().map(|value| bits(*value)).collect()
}

fn histogram(histogram: &Histogram) -> Value {
    let Histogram { schema, zero_threshold, sum, reset_hint, positive_spans, negative_spans, .. } = histogram;
    let (kind, zero, count, positive, negative) = match &histogram.counts {
        Counts::Integer { count, zero, positive, negative } => {
            ("i", zero.to_string(), count.to_string(), json!(positive), json!(negative))
        }
        Counts::Float { count, zero, positive, negative } => {
            ("f", bits(*zero), bits(*count), floats(positive), floats(negative))
        }
    };
    json!([
        kind,
        schema,
        bits(*zero_threshold),
        zero,
        count,
        bits(*sum),
        *reset_hint as u8,
        spans(positive_spans),
        positive,
        spans(negative_spans),
        negative,
        floats(&histogram.custom_values),
        histogram.validate().is_ok()
    ])
}

/// The histogram one schema coarser, and then with two buckets at most.
fn limited(native: &Histogram) -> Value {
    let mut less = native.clone();
    match less.limit_schema(native.schema - 1).and_then(|()| less.limit_buckets(2)) {
        Ok(()) => histogram(&less),
        Err(_) => "error".into(),
    }
}

/// The entry in the form of the cases; of a protobuf body, without the bytes that identify the series.
fn dump(entry: &Entry<'_>, protobuf: bool) -> Value {
    let time = |series: &Series<'_>| series.timestamp.map(|time| time.millis());
    let start = |series: &Series<'_>| series.start_timestamp().map_or(0, |time| time.millis());
    match entry {
        Entry::Series(series) => {
            let raw = (!protobuf).then(|| latin(series.raw()));
            let examples = exemplars(series.exemplars());
            json!(["S", raw, bits(series.value), time(series), labels_of(series), examples, start(series)])
        }
        Entry::Histogram(native) => {
            let series = &native.series;
            let examples = exemplars(series.exemplars());
            assert_eq!(bits(series.value), bits(native.histogram.sum));
            json!([
                "N",
                time(series),
                labels_of(series),
                histogram(&native.histogram),
                examples,
                start(series),
                limited(&native.histogram)
            ])
        }
        other => super::dump(other),
    }
}

fn reader(row: &Value) -> Reader {
    let has = |option: char| row["options"].as_str().is_some_and(|options| options.contains(option));
    let format = match row["format"].as_str() {
        Some("text") => Format::Text,
        Some("openmetrics") => Format::OpenMetrics,
        _ => Format::Protobuf,
    };
    let options = Options {
        native_histograms: !has('i'),
        classic_histograms: has('k'),
        convert_classic: has('c'),
        start_timestamps: format == Format::Protobuf,
    };
    Reader::new(format, options)
}

/// Reads a body in pieces that grow by `step` bytes.
fn parse(row: &Value, body: &[u8], step: usize) -> (Vec<Value>, Option<ReadError>) {
    let mut reader = reader(row);
    let mut entries = Vec::new();
    let (mut start, mut end) = (0, 0);
    loop {
        end = (end + step).min(body.len());
        let last = end == body.len();
        let visit = |entry: Entry<'_>| {
            entries.push(dump(&entry, row["format"] == "protobuf"));
            ControlFlow::<()>::Continue(())
        };
        match reader.read(&body[start..end], last, visit) {
            Ok(ControlFlow::Continue(read)) => start += read,
            Ok(ControlFlow::Break(())) => unreachable!("nothing breaks off"),
            Err(error) => return (entries, Some(error)),
        }
        if last {
            assert_eq!(start, end);
            return (entries, None);
        }
    }
}

/// What Prometheus said, labels in order of name and value (its order of equal names is arbitrary), and bytes that
/// are not UTF-8 replaced where they do not fail the scrape.
fn expected(row: &Value) -> Vec<Value> {
    let mut entries = row["entries"].as_array().cloned().unwrap_or_default();
    for entry in &mut entries {
        let (own, examples) = match entry[0].as_str() {
            Some("S") => (4, 5),
            Some("N") => (2, 4),
            _ => {
                entry.as_array_mut().unwrap()[1..]
                    .iter_mut()
                    .for_each(|text| *text = latin(text_of(text).as_bytes()).into());
                continue;
            }
        };
        entry[own] = sorted(&entry[own]);
        for example in entry[examples].as_array_mut().unwrap() {
            example[0] = sorted(&example[0]);
        }
    }
    entries
}

fn text_of(value: &Value) -> String {
    String::from_utf8_lossy(&bytes(value.as_str().unwrap())).into_owned()
}

fn sorted(pairs: &Value) -> Value {
    let pairs = pairs.as_array().unwrap().chunks(2);
    flat(pairs.map(|pair| (text_of(&pair[0]), text_of(&pair[1]))).collect())
}

/// Takes out exemplars of native histograms that Prometheus gets wrong: it mixes them up in converted histograms (not
/// in the clean bodies), and forgets to start over with the exemplars of the next histogram of a protobuf family.
fn forgive_exemplars(row: &Value, entries: &mut [Value], expected: &mut [Value]) {
    let mixed_up = row["format"] == "openmetrics" && row["name"].is_null();
    let mut after_histogram = false;
    for (ours, theirs) in entries.iter_mut().zip(expected) {
        let histogram = ours[0] == "N" && theirs[0] == "N";
        if histogram && (mixed_up || (row["format"] == "protobuf" && after_histogram)) {
            let all = ours[4].take();
            let some = theirs[4].take();
            let (all, some) = (all.as_array().unwrap(), some.as_array().unwrap());
            assert!(mixed_up || all.ends_with(some));
        }
        after_histogram = histogram;
    }
}

/// Whether we refuse a native histogram whose spans do not fit its buckets where Prometheus hands it out, because
/// it does not look at any but the first of a family; its storage refuses it then, or its parser panics, or drops
/// buckets without a span.
fn refused_later(row: &Value, entries: &[Value], expected: &[Value], error: Option<&ReadError>) -> bool {
    let Some(ReadError::Family(error)) = error else { return false };
    let FamilyErrorReason::Histogram(HistogramError::SpansMismatch { spans, .. }) = error.reason else {
        return false;
    };
    let refused = match expected.get(entries.len()) {
        Some(next) if next[0] == "N" => {
            spans == 0 || next[3].as_array().unwrap().last() == Some(&Value::from(false))
        }
        Some(_) => false,
        None => row["error"].as_str().is_some_and(|error| error.starts_with("panic: ")),
    };
    refused && expected.starts_with(entries)
}

/// Whether we refuse what no encoder writes and Go's decoder lets pass: numbers of too many bits, of which it drops the
/// upper ones, and groups.
fn is_stricter(entries: &[Value], expected: &[Value], error: Option<&ReadError>) -> bool {
    let Some(ReadError::Family(error)) = error else { return false };
    let lax = matches!(
        error.reason,
        FamilyErrorReason::Malformed(
            ProtobufError::VarintOverflow
                | ProtobufError::FieldNumber { .. }
                | ProtobufError::WireType { wire_type: 3, .. }
        )
    );
    lax && expected.starts_with(entries)
}

fn difference(row: &Value) -> Option<String> {
    let body = bytes(row["body"].as_str().unwrap_or_default());
    let expected = expected(row);
    let (entries, error) = parse(row, &body, usize::MAX / 2);
    if matches!(&error, Some(ReadError::Line(error)) if error.reason == ParseErrorReason::NameUtf8) {
        // Prometheus leaves such names to its scrape loop, which then fails the scrape.
        return None;
    }
    let (mut entries, mut expected) = (entries, expected);
    forgive_exemplars(row, &mut entries, &mut expected);
    if entries == expected && error.is_some() == row["error"].is_string() {
        return None;
    }
    if refused_later(row, &entries, &expected, error.as_ref())
        || is_stricter(&entries, &expected, error.as_ref())
    {
        return None;
    }
    let at = entries.iter().zip(&expected).take_while(|(ours, theirs)| ours == theirs).count();
    Some(format!(
        "{} {} {:?}\n  ours: {} then {:?} {error:?}\n  Prometheus: {} then {:?} {}",
        row["format"],
        row["options"],
        latin(&body),
        entries.len(),
        entries.get(at).map(Value::to_string),
        expected.len(),
        expected.get(at).map(Value::to_string),
        row["error"],
    ))
}

fn rows() -> Vec<Value> {
    let mut text = include_str!("../../../testdata/exposition_formats/cases.jsonl").to_owned();
    if let Ok(path) = std::env::var("OUTRIGGER_EXPOSITION_CASES") {
        text += &std::fs::read_to_string(path).unwrap();
    }
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn bodies_of_every_format_read_as_in_prometheus() {
    let rows = rows();
    for format in ["text", "openmetrics", "protobuf"] {
        assert!(rows.iter().filter(|row| row["format"] == format).count() >= 60, "{format}");
    }
    let differences: Vec<String> = rows.iter().filter_map(difference).collect();
    assert!(
        differences.is_empty(),
        "{} differences in {}:\n{}",
        differences.len(),
        rows.len(),
        differences.iter().take(10).cloned().collect::<Vec<_>>().join("\n")
    );
}

/// The verdicts on the cases of the OpenMetrics standard. Prometheus takes many bodies that the standard refuses, but
/// refuses none that it asks for.
#[test]
fn cases_of_the_standard_are_judged_as_by_prometheus() {
    let rows: Vec<Value> = rows().into_iter().filter(|row| row["shouldParse"].is_boolean()).collect();
    assert_eq!(rows.len(), 153);
    let mut laxer = 0;
    for row in &rows {
        let parses = parse(row, &bytes(row["body"].as_str().unwrap_or_default()), usize::MAX / 2).1.is_none();
        let standard = row["shouldParse"] == true;
        assert_eq!(parses, row["error"].is_null(), "{}", row["name"]);
        assert!(parses || !standard, "{}", row["name"]);
        laxer += usize::from(parses && !standard);
    }
    assert_eq!(laxer, 58);
}

fn real_body(name: &str) -> Vec<u8> {
    let row = rows().into_iter().find(|row| row["name"] == name).unwrap();
    bytes(row["body"].as_str().unwrap())
}

#[test]
fn known_lines_of_open_metrics_read_the_same_without_being_parsed() {
    let body = real_body("alltypes.5mfs.om.txt");
    let mut parser = openmetrics::Parser::new(&body);
    let mut known = openmetrics::Parser::new(&body);
    let mut hits = 0;
    while let Some(entry) = parser.next() {
        let entry = entry.unwrap();
        let start = known.line_start();
        if let Entry::Series(series) = &entry {
            assert_eq!(known.upcoming(series.raw().len()), Some(series.raw()));
            let again = known.next_known_length(series.raw().len()).unwrap().unwrap();
            assert_eq!(dump(&Entry::Series(again), false), dump(&entry, false));
            hits += 1;
        } else {
            let line = parser.consumed_since(start);
            assert_eq!(known.upcoming(line.len()), Some(line));
            assert!(known.pass_known_line(line.len()));
            if let Entry::Type { metric_type, .. } = entry {
                known.set_metric_type(metric_type);
            }
        }
        assert_eq!(known.position(), parser.position());
    }
    assert!(hits > 50, "{hits}");
    for (line, length) in [("up_x 1\n", 2), ("up{a=\"b\"} 1\n", 2), ("up", 2), ("up", 3), ("up 1\n", 0)] {
        let mut parser = openmetrics::Parser::new(line.as_bytes());
        assert!(parser.next_known_length(length).is_none(), "{line:?}");
        assert!(!parser.pass_known_line(length), "{line:?}");
        assert_eq!(parser.position(), 0);
    }
}

#[test]
fn a_body_of_open_metrics_reads_the_same_in_pieces() {
    let body = real_body("1histogram.om.txt");
    let whole: Vec<Value> =
        openmetrics::Parser::new(&body).map(|entry| dump(&entry.unwrap(), false)).collect();
    let mut pieces = Vec::new();
    let mut metric_type = MetricType::Unknown;
    let mut rest = &body[..];
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let last = line.starts_with(b"# EOF");
        assert!(openmetrics::Parser::resume(b"# EOF\n", metric_type, false).next().unwrap().is_err());
        let mut parser = openmetrics::Parser::resume(line, metric_type, last);
        if !last {
            pieces.push(dump(&parser.next().unwrap().unwrap(), false));
            metric_type = parser.metric_type();
            assert_eq!(parser.position(), line.len());
        } else {
            assert!(parser.next().is_none());
        }
        rest = &rest[line.len()..];
    }
    assert!(rest.is_empty());
    assert_eq!(pieces, whole);
}

#[test]
fn bodies_of_every_format_read_the_same_in_pieces() {
    for row in rows() {
        let body = bytes(row["body"].as_str().unwrap_or_default());
        // A NUL after the newline of HELP belongs to the text, oddly, but not if the piece ends there.
        if row["format"] == "openmetrics" && body.windows(2).any(|pair| pair == b"\n\0") {
            continue;
        }
        let (whole, error) = parse(&row, &body, usize::MAX / 2);
        for step in [1, 7, 100] {
            if body.len() > 500 * step {
                continue;
            }
            let (pieces, same) = parse(&row, &body, step);
            assert_eq!(pieces, whole, "{row}");
            assert_eq!(same.is_some(), error.is_some(), "{row}");
            if let (Some(ReadError::Family(error)), Some(ReadError::Family(same))) = (&error, &same) {
                assert_eq!(error.at, same.at);
            }
        }
    }
}

/// Reads a body in every format, with every option, in one piece and in pieces.
fn read_every_way(body: &[u8]) {
    for format in ["text", "openmetrics", "protobuf"] {
        for options in ["", "k", "i", "c", "ck", "ick"] {
            let row = json!({ "format": format, "options": options });
            for step in [usize::MAX / 2, 3] {
                parse(&row, body, step);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_in_every_format(body in prop::collection::vec(any::<u8>(), 0..200)) {
        read_every_way(&body);
    }

    #[test]
    fn any_mix_of_pieces_is_read_or_refused_in_every_format(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "a", "{", "}", "\"", "=", ",", " ", "\n", "\\", "1", "# ", "HELP ", "TYPE ", "UNIT ", "EOF\n", "\0", "é",
            "le=\"1\"", "a 1\n", " # {", "} 1", "# TYPE h histogram\n", "h_bucket{le=\"1\"} 2\n", "h_count 2\n",
        ]), 0..40),
    ) {
        read_every_way(pieces.concat().as_bytes());
    }

    #[test]
    fn messages_of_any_fields_are_read_or_refused(
        fields in prop::collection::vec((1u32..18, 0u8..5, any::<u64>()), 0..12),
        family in 0u64..6,
    ) {
        // A family of one metric whose histogram, counter and summary hold these fields.
        let mut inner = Vec::new();
        let mut writer = Writer::new(&mut inner);
        for (number, kind, value) in fields {
            match kind {
                0 => writer.varint(number, value),
                1 => writer.varint(number, value % 4),
                2 => writer.double(number, f64::from_bits(value)),
                3 => writer.bytes(number, &value.to_le_bytes()),
                _ => writer.bytes(number, &[8, (value % 7) as u8, 16, (value % 3) as u8]),
            }
        }
        let mut message = Vec::new();
        let mut writer = Writer::new(&mut message);
        writer.string(1, "a");
        writer.varint(3, family);
        writer.message(4, |metric| {
            for number in [2, 3, 4, 5, 7] {
                metric.bytes(number, &inner);
            }
        });
        let mut body = Vec::new();
        put_varint(message.len() as u64, &mut body);
        body.extend_from_slice(&message);
        read_every_way(&body);
    }

    #[test]
    fn what_is_written_as_open_metrics_is_read(
        name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,12}|[a-z]\\.[é\"\\\\]{1,3}",
        labels in prop::collection::btree_map("[a-z][a-z0-9_]{0,8}|[a-z]\\.[é\"\\\\]{1,3}", ".{1,12}", 0..5),
        value in any::<f64>(),
        timestamp in prop::option::of(-4_000_000_000_000i64..4_000_000_000_000),
        exemplar in prop::option::of(("[a-z]{1,9}", "[a-z0-9]{1,9}", any::<f64>(), prop::option::of(0i64..4_000_000_000_000))),
    ) {
        let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
        let seconds = |millis: i64| format!(" {}{}.{:03}", if millis < 0 { "-" } else { "" }, millis.abs() / 1000, millis.abs() % 1000);
        let mut line = format!("{{{}", quote(&name));
        for (label, value) in &labels {
            write!(line, ",{}={}", quote(label), quote(value)).unwrap();
        }
        write!(line, "}} {value:?}").unwrap();
        line += &timestamp.map(seconds).unwrap_or_default();
        if let Some((label, id, value, timestamp)) = &exemplar {
            write!(line, " # {{{label}=\"{id}\"}} {value:?}{}", timestamp.map(seconds).unwrap_or_default()).unwrap();
        }
        line += "\n# EOF\n";
        let mut parser = openmetrics::Parser::new(line.as_bytes());
        let Some(Ok(Entry::Series(series))) = parser.next() else { panic!("{line:?}") };
        let canonical = |value: f64| if value.is_nan() { normal_nan() } else { value };
        prop_assert_eq!(series.value.to_bits(), canonical(value).to_bits());
        // Prometheus multiplies seconds by a thousand, and cuts.
        let near = |found: Option<Timestamp>, sent: Option<i64>| match (found, sent) {
            (Some(found), Some(sent)) => (found.millis() - sent).abs() <= 1,
            (found, sent) => found.is_none() && sent.is_none(),
        };
        prop_assert!(near(series.timestamp, timestamp), "{:?}", line);
        let mut expected: Vec<(String, String)> = labels.into_iter().collect();
        expected.push(("__name__".to_owned(), name));
        prop_assert_eq!(labels_of(&series), flat(expected));
        let found = series.exemplars().first();
        prop_assert_eq!(found.is_some(), exemplar.is_some());
        if let (Some(found), Some((label, id, value, timestamp))) = (found, exemplar) {
            prop_assert_eq!(&found.labels, &Labels::from_pairs([(label, id)]));
            prop_assert_eq!(found.value.to_bits(), canonical(value).to_bits());
            prop_assert!(near(found.timestamp, timestamp));
        }
        prop_assert!(parser.next().is_none());
    }
}

#[test]
fn what_is_not_kept_is_counted() {
    let long = "x".repeat(128);
    for (body, format, kept, unfit) in [
        ("a 1 # {b=\"c\"} 1\n# EOF\n".to_owned(), "openmetrics", 1, 0),
        ("a 1 # {b=\"c\",b=\"d\"} 1\n# EOF\n".to_owned(), "openmetrics", 0, 1),
        (format!("a 1 # {{b=\"{long}\"}} 1\n# EOF\n"), "openmetrics", 0, 1),
    ] {
        let mut counts = (0, 0);
        let visit = |entry: Entry<'_>| {
            let Entry::Series(series) = entry else { panic!("{entry:?}") };
            counts = (series.exemplars().len(), series.unfit_exemplars());
            ControlFlow::<()>::Continue(())
        };
        assert!(
            reader(&json!({ "format": format })).read(body.as_bytes(), true, visit).unwrap().is_continue()
        );
        assert_eq!(counts, (kept, unfit), "{body}");
    }
    let body = "# TYPE h histogram\nh_bucket{le=\"1\"} 2 # {a=\"b\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_count 1\n\
                # TYPE g histogram\ng_bucket{le=\"1\"} 2 # {a=\"b\"} 1\ng_count 2\n# EOF\n";
    let mut reader = reader(&json!({ "format": "openmetrics", "options": "c" }));
    let mut unfit = 0;
    let visit = |entry: Entry<'_>| {
        if let Entry::Histogram(native) = entry {
            unfit += native.series.unfit_exemplars();
        }
        ControlFlow::<()>::Continue(())
    };
    assert!(reader.read(body.as_bytes(), true, visit).unwrap().is_continue());
    assert_eq!((reader.unconverted(), unfit), (1, 1));
}

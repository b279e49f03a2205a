mod formats;

use std::fmt::Write as _;

use outrigger_model::labels::{Fnv1a, Labels, LabelsBuilder};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// One character for each byte, as the cases have it.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn bytes(latin: &str) -> Vec<u8> {
    latin.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

fn pairs(series: &Series<'_>) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    series.for_each_label(|name, value| pairs.push((name.to_owned(), value.to_owned())));
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    pairs
}

/// The entry in the form of the cases.
fn dump(entry: &Entry<'_>) -> Value {
    match entry {
        Entry::Series(series) => {
            let labels: Vec<String> = pairs(series)
                .into_iter()
                .flat_map(|(name, value)| [latin(name.as_bytes()), latin(value.as_bytes())])
                .collect();
            json!([
                "S",
                latin(series.raw()),
                format!("{:016x}", series.value.to_bits()),
                series.timestamp.map(Timestamp::millis),
                labels
            ])
        }
        Entry::Type { name, metric_type } => json!(["T", latin(name.as_bytes()), metric_type.as_str()]),
        Entry::Help { name, text } => json!(["H", latin(name.as_bytes()), latin(text.as_bytes())]),
        Entry::Unit { name, unit } => json!(["U", latin(name.as_bytes()), latin(unit.as_bytes())]),
        Entry::Histogram(_) => unreachable!("text has no native histograms"),
        Entry::Comment(text) => json!(["C", latin(text)]),
    }
}

fn parse(body: &[u8]) -> (Vec<Value>, Option<ParseError>) {
    let mut entries = Vec::new();
    for entry in Parser::new(body) {
        match entry {
            Ok(entry) => entries.push(dump(&entry)),
            Err(error) => return (entries, Some(error)),
        }
    }
    (entries, None)
}

/// The reason that stands for one of Prometheus' messages.
fn reason(message: &str) -> Option<ParseErrorReason> {
    let table = [
        ("expected a valid start token", ParseErrorReason::ExpectedStart),
        ("expected metric name after", ParseErrorReason::ExpectedMetadataName),
        ("invalid metric type", ParseErrorReason::InvalidType),
        ("help text", ParseErrorReason::HelpUtf8),
        ("linebreak expected after metadata", ParseErrorReason::ExpectedMetadataEnd),
        ("expected label name", ParseErrorReason::ExpectedLabelName),
        ("expected equal", ParseErrorReason::ExpectedEqual),
        ("expected label value", ParseErrorReason::ExpectedLabelValue),
        ("invalid UTF-8 label value", ParseErrorReason::LabelValueUtf8),
        ("metric name already set", ParseErrorReason::NameTwice),
        ("metric name not set", ParseErrorReason::NameMissing),
        ("expected value after metric", ParseErrorReason::ExpectedValue),
        ("unsupported character in float", ParseErrorReason::InvalidValue),
        ("expected timestamp or new record", ParseErrorReason::ExpectedTimestamp),
        ("expected next entry after timestamp", ParseErrorReason::ExpectedEnd),
        ("strconv.ParseInt", ParseErrorReason::TimestampRange),
    ];
    if message.starts_with("strconv.ParseFloat") {
        let range = message.contains(": value out of range while parsing");
        return Some(if range { ParseErrorReason::ValueRange } else { ParseErrorReason::InvalidValue });
    }
    table.iter().find(|(text, _)| message.starts_with(text)).map(|(_, reason)| *reason)
}

fn difference(row: &Value) -> Option<String> {
    let body = bytes(row["body"].as_str()?);
    let expected = row["entries"].as_array().cloned().unwrap_or_default();
    let (entries, error) = parse(&body);
    let ours = error.as_ref().map(|error| error.reason);
    if ours == Some(ParseErrorReason::NameUtf8) {
        // Prometheus leaves such names to its scrape loop, which then fails the scrape.
        return None;
    }
    let message = row["error"].as_str();
    let theirs = message.map(|message| reason(message).ok_or(message));
    if entries == expected && theirs == ours.map(Ok) {
        return None;
    }
    Some(format!(
        "{:?}: {} {error:?}\n  Prometheus: {} {message:?}",
        latin(&body),
        Value::from(entries),
        Value::from(expected)
    ))
}

fn cases() -> Vec<Value> {
    let rows = include_str!("../../testdata/exposition/cases.jsonl");
    rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn bodies_read_as_in_prometheus() {
    let rows = cases();
    assert!(rows.len() > 600);
    let differences: Vec<String> = rows.iter().filter_map(difference).collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn whole_real_bodies_read_as_in_prometheus() {
    let body = include_bytes!("../../testdata/exposition/alltypes.237mfs.prom.txt");
    let row = cases().into_iter().find(|row| row["file"] == "alltypes.237mfs.prom.txt").unwrap();
    let (entries, error) = parse(body);
    assert_eq!(error, None);
    assert_eq!(Value::from(entries.len()), row["count"]);
    let mut hash = Fnv1a::new();
    for entry in &entries {
        hash.update(format!("{entry}\n").as_bytes());
    }
    assert_eq!(Value::from(format!("{:016x}", hash.finish())), row["hash"]);
}

#[test]
fn known_series_read_the_same_without_being_parsed() {
    let body = include_bytes!("../../testdata/exposition/alltypes.237mfs.prom.txt");
    let mut parser = Parser::new(body);
    let mut known = Parser::new(body);
    let mut hits = 0;
    while let Some(entry) = parser.next() {
        let Entry::Series(series) = entry.unwrap() else {
            known.next().unwrap().unwrap();
            continue;
        };
        let again = known.next_known(series.raw()).unwrap().unwrap();
        hits += 1;
        assert_eq!(known.position(), parser.position());
        assert_eq!(again.value.to_bits(), series.value.to_bits());
        assert_eq!(again.timestamp, series.timestamp);
        assert_eq!(again.metric_type(), series.metric_type());
    }
    assert!(hits > 1000);
}

#[test]
fn a_known_series_is_not_taken_for_another_that_begins_like_it() {
    for (line, known, hit) in [
        ("up 1\n", "up", true),
        ("up\t1", "up", true),
        ("up+1\n", "up", true),
        ("up_x 1\n", "up", false),
        ("up{a=\"b\"} 1\n", "up", false),
        ("up {a=\"b\"} 1\n", "up", false),
        ("up{a=\"b\"} 1\n", "up{a=\"b\"}", true),
        ("up{a=\"b\"}1\n", "up{a=\"b\"}", true),
        ("up{a=\"b\"} {\n", "up{a=\"b\"}", false),
        ("up{a=\"bc\"} 1\n", "up{a=\"b\"}", false),
        ("u", "up", false),
        ("", "up", false),
        ("up 1\n", "", false),
    ] {
        let mut parser = Parser::new(line.as_bytes());
        let found = parser.next_known(known.as_bytes());
        assert_eq!(found.is_some_and(|series| series.is_ok()), hit, "{line:?} {known:?}");
        if !hit {
            assert_eq!(parser.position(), 0);
        }
    }
    let mut parser = Parser::new(b"up x\nup 1\n");
    assert_eq!(parser.next_known(b"up").unwrap().unwrap_err().reason, ParseErrorReason::InvalidValue);
    assert!(parser.next_known(b"up").is_none());
    assert!(parser.next().is_none());
}

#[test]
fn an_error_names_the_line_and_what_is_near() {
    let (entries, error) = parse(b"a 1\n\n# c\nb{x=\"1\n2\"} 1\nc{y=} 2\n");
    assert_eq!(entries.len(), 3);
    let error = error.unwrap();
    assert_eq!((error.line, error.reason), (6, ParseErrorReason::ExpectedLabelValue));
    assert_eq!(error.near, "c{y=}");
    assert!(error.to_string().starts_with("line 6: expected a label value"));
    let (_, error) = parse(format!("{}{{", "x".repeat(100_000)).as_bytes());
    assert!(error.unwrap().near.len() < 200);
}

#[test]
fn labels_fill_a_builder_and_a_repeated_label_is_an_error() {
    let mut builder = LabelsBuilder::new();
    builder.set("left", "over");
    let labels = |body: &str, builder: &mut LabelsBuilder| {
        let Some(Ok(Entry::Series(series))) = Parser::new(body.as_bytes()).next() else { panic!("{body}") };
        series.labels(builder)
    };
    labels("a{b=\"c\\\\d\",e=\"\"} 1", &mut builder).unwrap();
    assert_eq!(builder.build(), Labels::from_pairs([("__name__", "a"), ("b", "c\\d")]));
    let error = labels("a{b=\"1\",b=\"2\"} 1", &mut builder).unwrap_err();
    assert_eq!(error.name, "b");
    assert!(labels("a{__name__=\"b\"} 1", &mut builder).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        parse(&body);
    }

    #[test]
    fn any_mix_of_pieces_is_read_or_refused(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "a", "{", "}", "\"", "=", ",", " ", "\n", "\\", "1", "# ", "HELP ", "TYPE ", "\0", "é", "le=\"1\"", "a 1\n",
        ]), 0..40),
    ) {
        parse(pieces.concat().as_bytes());
    }

    #[test]
    fn what_is_written_is_read(
        name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,12}",
        labels in prop::collection::btree_map("[a-zA-Z][a-zA-Z0-9_]{0,8}", ".{1,12}", 0..5),
        value in any::<f64>(),
        timestamp in prop::option::of(0i64..i64::MAX),
    ) {
        let mut line = name.clone();
        line.push('{');
        for (label, value) in &labels {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            write!(line, "{label}=\"{escaped}\",").unwrap();
        }
        write!(line, "}} {value:?}").unwrap();
        if let Some(timestamp) = timestamp {
            write!(line, " {timestamp}").unwrap();
        }
        let mut parser = Parser::new(line.as_bytes());
        let Some(Ok(Entry::Series(series))) = parser.next() else { panic!("{line:?}") };
        let expected = if value.is_nan() { outrigger_model::sample::normal_nan() } else { value };
        prop_assert_eq!(series.value.to_bits(), expected.to_bits());
        prop_assert_eq!(series.timestamp.map(Timestamp::millis), timestamp);
        let mut expected: Vec<(String, String)> = labels.into_iter().collect();
        expected.push(("__name__".to_owned(), name));
        expected.sort();
        prop_assert_eq!(pairs(&series), expected);
    }
}

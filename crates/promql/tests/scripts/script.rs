//! Reads and runs a script: `load`, `clear`, `eval instant`, `eval range` and what they expect.

use std::collections::BTreeMap;

use outrigger_model::histogram::{CUSTOM_BUCKETS_SCHEMA, Counts, Histogram, ResetHint, Span};
use outrigger_model::labels::{Labels, LabelsBuilder};
use outrigger_model::{duration, sample};
use outrigger_promql::ast::Expr;
use outrigger_promql::eval::{
    Annotation, Engine, EvalError, Hints, Options, Point, QueryResult, QueryValue, Series, SeriesSource,
    SeriesStream, Severity, SourceError, Uninterrupted, Value,
};
use outrigger_promql::matcher::{MatchOp, Matcher};
use outrigger_promql::parser;
use regex::Regex;

/// What became of a statement.
pub(crate) struct Outcome {
    pub(crate) line: usize,
    pub(crate) statement: String,
    pub(crate) result: Result<(), String>,
}

/// Series in memory.
#[derive(Default)]
struct Memory {
    series: BTreeMap<Vec<(String, String)>, Series>,
}

impl SeriesSource for Memory {
    fn select(
        &self,
        matchers: &[Matcher],
        start: i64,
        end: i64,
        _hints: &Hints,
    ) -> Result<SeriesStream<'_>, SourceError> {
        let matchers = matchers.to_vec();
        let found = self
            .series
            .values()
            .filter(move |series| matchers.iter().all(|matcher| matcher.matches_labels(&series.labels)));
        Ok(Box::new(found.map(move |series| {
            let inside = |point: &&Point| point.time >= start && point.time <= end;
            Ok(Series {
                labels: series.labels.clone(),
                points: series.points.iter().filter(inside).cloned().collect(),
            })
        })))
    }
}

/// Runs every statement, whatever becomes of those before it.
pub(crate) fn run(text: &str) -> Vec<Outcome> {
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.trim())
        .map(|line| if line.starts_with('#') { String::new() } else { line.to_owned() })
        .collect();
    // A comment between a statement's lines does not end it.
    let comment: Vec<bool> = text.lines().map(|line| line.trim().starts_with('#')).collect();
    let mut memory = Memory::default();
    let mut outcomes = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let statement = lines[at].clone();
        let number = at + 1;
        at += 1;
        if statement.is_empty() {
            continue;
        }
        let mut body = Vec::new();
        if !statement.starts_with("clear") {
            while at < lines.len() && (comment[at] || !lines[at].is_empty()) {
                if !comment[at] {
                    body.push(lines[at].clone());
                }
                at += 1;
            }
        }
        let result = if statement == "clear" {
            memory = Memory::default();
            Ok(())
        } else if statement.starts_with("load") {
            load(&mut memory, &statement, &body)
        } else {
            evaluate(&memory, &statement, &body)
        };
        outcomes.push(Outcome { line: number, statement, result });
    }
    outcomes
}

fn millis(text: &str) -> Result<i64, String> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok(sign * (seconds * 1000.0) as i64);
    }
    let parsed = duration::parse(text).map_err(|error| error.to_string())?;
    Ok(sign * i64::try_from(parsed.as_millis()).unwrap())
}

fn load(memory: &mut Memory, statement: &str, body: &[String]) -> Result<(), String> {
    let (command, gap) = statement.split_once(char::is_whitespace).ok_or("load without a step")?;
    let gap = millis(gap.trim())?;
    let mut starts: Vec<Option<Cell>> = Vec::new();
    let mut classic = Classic::new();
    for line in body {
        let (metric, values) = split_metric(line)?;
        if let Some(metric) = metric.strip_suffix("@st") {
            labels_of(metric)?;
            starts = start_cells(values)?;
            continue;
        }
        let labels = labels_of(metric)?;
        let key: Vec<_> = labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let cells = cells(values)?;
        let mut points = Vec::new();
        for (index, cell) in cells.into_iter().enumerate() {
            let time = gap * index as i64;
            let start = match starts.get(index) {
                Some(Some(Cell::Float(offset))) => time + *offset as i64,
                _ => 0,
            };
            match cell {
                Some(Cell::Float(value)) => points.push(Point { time, start, value: Value::Float(value) }),
                Some(Cell::Histogram(h)) => {
                    points.push(Point { time, start, value: Value::Histogram(h.into()) });
                }
                None => {}
            }
        }
        starts.clear();
        if command == "load_with_nhcb" {
            collect_classic(&mut classic, &labels, &points);
        }
        let series = memory.series.entry(key).or_insert(Series { labels, points: Vec::new() });
        series.points.extend(points);
        // Of two samples at one time the later line's counts.
        let by_time: BTreeMap<i64, Point> =
            series.points.drain(..).map(|point| (point.time, point)).collect();
        series.points = by_time.into_values().collect();
    }
    for (key, times) in classic {
        let labels = Labels::from_pairs(key.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let points = times.into_iter().filter_map(|(time, parts)| parts.point(time)).collect();
        memory.series.insert(key, Series { labels, points });
    }
    Ok(())
}

/// The parts of classic histograms by labels and time.
type Classic = BTreeMap<Vec<(String, String)>, BTreeMap<i64, Parts>>;

#[derive(Default)]
struct Parts {
    buckets: Vec<(f64, f64)>,
    sum: Option<f64>,
    count: Option<f64>,
}

fn collect_classic(classic: &mut Classic, labels: &Labels, points: &[Point]) {
    let name = labels.get("__name__").unwrap_or("");
    let part = ["_bucket", "_sum", "_count"].iter().find(|suffix| name.ends_with(**suffix));
    let Some(part) = part else { return };
    let bound = labels.get("le").and_then(|le| number(le).ok());
    if *part == "_bucket" && bound.is_none() {
        return;
    }
    let mut builder = LabelsBuilder::from_labels(labels);
    builder.delete("le");
    builder.set("__name__", &name[..name.len() - part.len()]);
    let key = builder.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let times = classic.entry(key).or_default();
    for point in points {
        let Some(value) = point.value.float() else { continue };
        let parts = times.entry(point.time).or_default();
        match (*part, bound) {
            ("_bucket", Some(bound)) => parts.buckets.push((bound, value)),
            ("_sum", _) => parts.sum = Some(value),
            _ => parts.count = Some(value),
        }
    }
}

impl Parts {
    /// The native histogram with custom buckets of the same observations.
    fn point(mut self, time: i64) -> Option<Point> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut below = 0.0;
        let mut positive = Vec::new();
        let mut bounds = Vec::new();
        for (bound, count) in &self.buckets {
            positive.push(count - below);
            below = *count;
            if bound.is_finite() {
                bounds.push(*bound);
            }
        }
        let count = self.count.unwrap_or(below);
        if bounds.len() == positive.len() {
            positive.push(count - below);
        }
        let length = u32::try_from(positive.len()).ok()?;
        let histogram = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            zero_threshold: 0.0,
            sum: self.sum.unwrap_or(0.0),
            reset_hint: ResetHint::Unknown,
            positive_spans: vec![Span { offset: 0, length }],
            negative_spans: Vec::new(),
            custom_values: bounds,
            counts: Counts::Float { count, zero: 0.0, positive, negative: Vec::new() },
        };
        Some(Point { time, start: 0, value: Value::Histogram(histogram.into()) })
    }
}

/// Where the metric of a line ends.
fn split_metric(line: &str) -> Result<(&str, &str), String> {
    let bytes = line.as_bytes();
    let (mut braces, mut quote) = (0, None);
    for (at, byte) in bytes.iter().enumerate() {
        match (quote, byte) {
            (Some(open), byte) if *byte == open && bytes[at - 1] != b'\\' => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'' | b'`') => quote = Some(*byte),
            (None, b'{') => braces += 1,
            (None, b'}') => braces -= 1,
            (None, b' ' | b'\t') if braces == 0 => {
                let rest = line[at..].trim();
                if rest.starts_with('{') && !rest.starts_with("{{") {
                    continue;
                }
                return Ok((&line[..at], rest));
            }
            _ => {}
        }
    }
    Ok((line, ""))
}

fn labels_of(metric: &str) -> Result<Labels, String> {
    let metric = metric.trim();
    let options = parser::Options { unquoted_utf8_names: true, ..parser::Options::default() };
    let wrapped = if metric.starts_with('{') { format!("info(x, {metric})") } else { metric.to_owned() };
    let expr = parser::parse_with(&wrapped, options).map_err(|error| format!("metric {metric}: {error}"))?;
    let selector = match &expr {
        Expr::Vector(selector) => selector,
        Expr::Call(call) => match &call.arguments[1] {
            Expr::Vector(selector) => selector,
            _ => return Err(format!("no metric: {metric}")),
        },
        _ => return Err(format!("no metric: {metric}")),
    };
    let mut builder = LabelsBuilder::new();
    for matcher in &selector.matchers {
        assert_eq!(matcher.op(), MatchOp::Equal);
        builder.set(matcher.name(), matcher.value());
    }
    Ok(builder.build())
}

#[derive(Debug, Clone)]
enum Cell {
    Float(f64),
    Histogram(Histogram),
}

fn number(text: &str) -> Result<f64, String> {
    match text.trim_start_matches(['+', '-']).to_ascii_lowercase().as_str() {
        "inf" => Ok(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }),
        "nan" => Ok(f64::NAN),
        _ => match text.replace('_', "").parse() {
            Ok(value) => Ok(value),
            Err(_) => {
                millis(text).map(|millis| millis as f64 / 1000.0).map_err(|_| format!("no number: {text}"))
            }
        },
    }
}

/// Offsets of start times in milliseconds.
fn start_cells(text: &str) -> Result<Vec<Option<Cell>>, String> {
    let mut cells = Vec::new();
    for word in text.split_whitespace() {
        let (value, times) = repeated(word)?;
        if value == "_" {
            cells.extend(std::iter::repeat_n(None, times.max(1)));
            continue;
        }
        let split = value.char_indices().skip(1).find(|(_, char)| matches!(char, '+' | '-'));
        let (first, step) = value.split_at(split.map_or(value.len(), |(at, _)| at));
        let offset = |text: &str| {
            let text = text.strip_prefix('+').unwrap_or(text);
            if text.is_empty() { Ok(0) } else { millis(text) }
        };
        let (first, step) = (offset(first)?, offset(step)?);
        cells.extend((0..=times as i64).map(|index| Some(Cell::Float((first + step * index) as f64))));
    }
    Ok(cells)
}

/// `value` and `n` of `valuexn`; 0 without it.
fn repeated(word: &str) -> Result<(&str, usize), String> {
    match word.rsplit_once('x') {
        Some((value, times)) if !times.is_empty() && times.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok((value, times.parse().map_err(|_| format!("too often: {word}"))?))
        }
        _ => Ok((word, 0)),
    }
}

fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut inside = false;
    for (at, char) in text.char_indices() {
        if text[at..].starts_with("{{") {
            inside = true;
        }
        if text[..at].ends_with("}}") {
            inside = false;
        }
        if char.is_whitespace() && !inside {
            words.push(String::new());
        } else {
            words.last_mut().unwrap().push(char);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The notation of series: `1 2 _ stale 1+2x5 _x3 {{schema:0 ...}}x2`.
fn cells(text: &str) -> Result<Vec<Option<Cell>>, String> {
    let mut cells = Vec::new();
    for word in words(text) {
        let (value, times) = repeated(&word)?;
        if value == "_" {
            cells.extend(std::iter::repeat_n(None, times.max(1)));
        } else if value == "stale" {
            cells.push(Some(Cell::Float(sample::stale_nan())));
        } else if let Some(rest) = value.strip_prefix("{{") {
            let (first, step) = rest.split_once("}}").ok_or("open histogram")?;
            let histogram = histogram(first)?;
            if let Some(increment) = step.get(1..).and_then(|step| step.strip_prefix("{{")) {
                let increment = self::histogram(increment.trim_end_matches('}'))?;
                cells.extend(growing(&histogram, &increment, step.starts_with('-'), times)?);
                continue;
            }
            cells.extend(std::iter::repeat_n(Some(Cell::Histogram(histogram)), times + 1));
        } else if times > 0 || word.ends_with("x0") {
            let split = value
                .char_indices()
                .skip(1)
                .find(|(at, char)| matches!(char, '+' | '-') && !value[..*at].ends_with(['e', 'E']));
            let (first, step) = match split {
                Some((at, _)) => (number(&value[..at])?, number(&value[at..])?),
                None => (number(value)?, 0.0),
            };
            cells.extend((0..=times).scan(first, |now, _| {
                let cell = Some(Cell::Float(*now));
                *now += step;
                Some(cell)
            }));
        } else {
            cells.push(Some(Cell::Float(number(value)?)));
        }
    }
    Ok(cells)
}

/// A histogram and those that come of adding another one to it, evaluated by the crate itself.
fn growing(
    first: &Histogram,
    step: &Histogram,
    falls: bool,
    times: usize,
) -> Result<Vec<Option<Cell>>, String> {
    let mut memory = Memory::default();
    let mut now = first.clone();
    let mut cells = vec![Some(Cell::Histogram(now.clone()))];
    let text = if falls { "a - b" } else { "a + b" };
    let expr = parser::parse(text).map_err(|error| error.to_string())?;
    for _ in 0..times {
        for (name, histogram) in [("a", &now), ("b", step)] {
            let labels = Labels::from_pairs([("__name__", name)]);
            let value = Value::Histogram(histogram.clone().into());
            let points = vec![Point { time: 0, start: 0, value }];
            memory.series.insert(vec![(name.to_owned(), String::new())], Series { labels, points });
        }
        let engine = Engine { source: &memory, options: Options::default(), interrupt: &Uninterrupted };
        let result = engine.instant(&expr, text, 0).map_err(|error| error.to_string())?;
        let QueryValue::Vector(samples) = result.value else { return Err("no vector".to_owned()) };
        let Some(Value::Histogram(next)) = samples.into_iter().next().map(|sample| sample.value) else {
            return Err("the histograms do not go together".to_owned());
        };
        now = (*next).clone();
        cells.push(Some(Cell::Histogram(now.clone())));
    }
    Ok(cells)
}

fn histogram(text: &str) -> Result<Histogram, String> {
    let mut result = Histogram {
        schema: 0,
        zero_threshold: 0.0,
        sum: 0.0,
        reset_hint: ResetHint::Unknown,
        positive_spans: Vec::new(),
        negative_spans: Vec::new(),
        custom_values: Vec::new(),
        counts: Counts::Float { count: 0.0, zero: 0.0, positive: Vec::new(), negative: Vec::new() },
    };
    let list = |text: &str| -> Result<Vec<f64>, String> {
        text.trim_matches(['[', ']']).split_whitespace().map(number).collect()
    };
    let (mut total, mut zero_count) = (0.0, 0.0);
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    let (mut offset, mut negative_offset) = (0, 0);
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, tail) = rest.split_once(':').ok_or_else(|| format!("no key: {rest}"))?;
        let tail = tail.trim_start();
        let end = if tail.starts_with('[') {
            tail.find(']').ok_or("open bracket")? + 1
        } else {
            tail.find(char::is_whitespace).unwrap_or(tail.len())
        };
        let value = &tail[..end];
        rest = tail[end..].trim_start();
        match key.trim() {
            "schema" => result.schema = value.parse().map_err(|_| "schema")?,
            "sum" => result.sum = number(value)?,
            "count" => total = number(value)?,
            "z_bucket" => zero_count = number(value)?,
            "z_bucket_w" => result.zero_threshold = number(value)?,
            "buckets" => positive = list(value)?,
            "n_buckets" => negative = list(value)?,
            "offset" => offset = value.parse().map_err(|_| "offset")?,
            "n_offset" => negative_offset = value.parse().map_err(|_| "n_offset")?,
            "custom_values" => result.custom_values = list(value)?,
            "counter_reset_hint" => {
                result.reset_hint = match value {
                    "reset" => ResetHint::Reset,
                    "not_reset" => ResetHint::NoReset,
                    "gauge" => ResetHint::Gauge,
                    _ => ResetHint::Unknown,
                }
            }
            other => return Err(format!("unknown key of a histogram: {other}")),
        }
    }
    let spans = |offset: i32, buckets: &[f64]| {
        if buckets.is_empty() { Vec::new() } else { vec![Span { offset, length: buckets.len() as u32 }] }
    };
    result.positive_spans = spans(offset, &positive);
    result.negative_spans = spans(negative_offset, &negative);
    result.counts = Counts::Float { count: total, zero: zero_count, positive, negative };
    debug_assert!(result.schema == CUSTOM_BUCKETS_SCHEMA || result.custom_values.is_empty());
    Ok(result)
}

/// What a statement expects.
#[derive(Default)]
struct Expected {
    series: Vec<(Labels, Vec<Option<Cell>>)>,
    scalar: Option<f64>,
    text: Option<String>,
    window: Option<(i64, i64, i64)>,
    ordered: bool,
    notes: Vec<(String, Option<Message>)>,
}

enum Message {
    Exact(String),
    Pattern(Regex),
}

impl Message {
    fn fits(&self, text: &str) -> bool {
        match self {
            Message::Exact(message) => message == text,
            Message::Pattern(regex) => regex.is_match(text),
        }
    }
}

fn expected(legacy: &str, body: &[String]) -> Result<Expected, String> {
    let mut expected = Expected { ordered: legacy == "ordered", ..Expected::default() };
    if matches!(legacy, "fail" | "warn" | "info") {
        expected.notes.push((legacy.to_owned(), None));
    }
    let window = Regex::new(r"^expect range vector\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+)$").unwrap();
    let note =
        Regex::new(r"^expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):(.+))?$").unwrap();
    for line in body {
        if let Some(found) = window.captures(line) {
            expected.window = Some((millis(&found[1])?, millis(&found[2])?, millis(&found[3])?));
        } else if let Some(text) = line.strip_prefix("expect string") {
            expected.text = match parser::parse(text.trim()) {
                Ok(Expr::String(text)) => Some(text.value),
                _ => return Err(format!("no string: {text}")),
            };
        } else if let Some(found) = note.captures(line) {
            if &found[1] == "ordered" {
                expected.ordered = true;
                continue;
            }
            let text = found.get(3).map(|text| text.as_str().trim());
            let message = match (found.get(2).map(|kind| kind.as_str()), text) {
                (Some("regex"), Some(text)) => {
                    Some(Message::Pattern(Regex::new(text).map_err(|error| error.to_string())?))
                }
                (_, Some(text)) => Some(Message::Exact(text.to_owned())),
                _ => None,
            };
            expected.notes.push((found[1].to_owned(), message));
        } else if let Some(message) = line.strip_prefix("expected_fail_message") {
            expected.notes.push(("fail".to_owned(), Some(Message::Exact(message.trim().to_owned()))));
        } else if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
            let regex = Regex::new(pattern.trim()).map_err(|error| error.to_string())?;
            expected.notes.push(("fail".to_owned(), Some(Message::Pattern(regex))));
        } else if let Ok(value) = number(line) {
            expected.scalar = Some(value);
        } else {
            let (metric, values) = split_metric(line)?;
            expected.series.push((labels_of(metric)?, cells(values)?));
        }
    }
    Ok(expected)
}

/// When to evaluate.
enum When {
    Instant(i64),
    Range(i64, i64, i64),
}

fn evaluate(memory: &Memory, statement: &str, body: &[String]) -> Result<(), String> {
    let instant =
        Regex::new(r"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)$").unwrap();
    let range =
        Regex::new(r"^eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)$")
            .unwrap();
    let (legacy, when, text) = if let Some(found) = instant.captures(statement) {
        let legacy = found.get(1).map_or("", |kind| kind.as_str());
        let time = found.get(2).map_or("0", |time| time.as_str());
        (legacy, When::Instant(millis(time)?), found.get(3).unwrap().as_str())
    } else if let Some(found) = range.captures(statement) {
        let legacy = found.get(1).map_or("", |kind| kind.as_str());
        let when = When::Range(millis(&found[2])?, millis(&found[3])?, millis(&found[4])?);
        (legacy, when, found.get(5).unwrap().as_str())
    } else {
        return Err("unknown statement".to_owned());
    };
    let expected = expected(legacy, body)?;
    let options = parser::Options { unquoted_utf8_names: true, ..parser::Options::default() };
    let expr = parser::parse_with(text, options).map_err(|error| error.to_string())?;
    let engine = Engine {
        source: memory,
        options: Options { max_samples: 10_000, ..Options::default() },
        interrupt: &Uninterrupted,
    };
    let result = match when {
        When::Instant(time) => engine.instant(&expr, text, time),
        When::Range(start, end, step) => engine.range(&expr, text, start, end, step),
    };
    compare(&expected, &when, result)
}

fn compare(expected: &Expected, when: &When, result: Result<QueryResult, EvalError>) -> Result<(), String> {
    let of_kind = |kind: &str| expected.notes.iter().filter(|(one, _)| one == kind).collect::<Vec<_>>();
    let failures = of_kind("fail");
    let result = match (result, failures.first()) {
        (Ok(_), Some(_)) => return Err("it should have failed".to_owned()),
        (Err(error), None) => return Err(format!("failed: {error}")),
        (Err(error), Some((_, message))) => {
            let text = error.to_string();
            let fits = message.as_ref().is_none_or(|message| message.fits(&text));
            let supported = !text.contains("not supported yet");
            return if fits && supported { Ok(()) } else { Err(format!("failed otherwise: {text}")) };
        }
        (Ok(result), None) => result,
    };
    for (kind, severity) in [("warn", Severity::Warning), ("info", Severity::Info)] {
        let found: Vec<&Annotation> =
            result.annotations.iter().filter(|note| note.severity == severity).collect();
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        if !of_kind(&format!("no_{kind}")).is_empty() && !texts.is_empty() {
            return Err(format!("unexpected {kind}: {texts:?}"));
        }
        let wanted = of_kind(kind);
        if wanted.is_empty() {
            continue;
        }
        if texts.is_empty() {
            return Err(format!("no {kind}"));
        }
        let fits = |message: &Option<Message>, text: &String| message.as_ref().is_none_or(|m| m.fits(text));
        for text in &texts {
            if !wanted.iter().any(|(_, message)| fits(message, text)) {
                return Err(format!("another {kind}: {text}"));
            }
        }
        for (_, message) in wanted {
            if !texts.iter().any(|text| fits(message, text)) {
                return Err(format!("{kind} lacks one of the expected messages: {texts:?}"));
            }
        }
    }
    compare_value(expected, when, result.value)
}

fn compare_value(expected: &Expected, when: &When, value: QueryValue) -> Result<(), String> {
    match value {
        QueryValue::Scalar(value) => match expected.scalar {
            Some(wanted) if near(wanted, value) => Ok(()),
            wanted => Err(format!("expected {wanted:?}, got {value}")),
        },
        QueryValue::String(text) => match &expected.text {
            Some(wanted) if *wanted == text => Ok(()),
            wanted => Err(format!("expected {wanted:?}, got {text:?}")),
        },
        QueryValue::Vector(samples) => {
            let found: Vec<(Labels, Vec<Option<Value>>)> =
                samples.into_iter().map(|sample| (sample.labels, vec![Some(sample.value)])).collect();
            compare_series(expected, found)
        }
        QueryValue::Matrix(series) => {
            let (start, end, step) = match (expected.window, when) {
                (Some(window), _) => window,
                (None, When::Range(start, end, step)) => (*start, *end, *step),
                (None, When::Instant(_)) => return Err("an unexpected range vector".to_owned()),
            };
            if expected.series.is_empty() && expected.scalar.is_none() && series.is_empty() {
                return Ok(());
            }
            let steps = usize::try_from((end - start) / step + 1).unwrap();
            let mut found = Vec::new();
            for one in series {
                let mut values = vec![None; steps];
                for point in one.points {
                    let place = usize::try_from((point.time - start) / step).ok().filter(|p| *p < steps);
                    let Some(place) = place.filter(|_| (point.time - start) % step == 0) else {
                        return Err(format!("a sample at {}", point.time));
                    };
                    values[place] = Some(point.value);
                }
                found.push((one.labels, values));
            }
            compare_series(expected, found)
        }
    }
}

fn compare_series(expected: &Expected, found: Vec<(Labels, Vec<Option<Value>>)>) -> Result<(), String> {
    if let (Some(value), [(labels, values)]) = (expected.scalar, &*found) {
        let same =
            labels.is_empty() && values.iter().flatten().all(|v| v.float().is_some_and(|v| near(value, v)));
        return if same { Ok(()) } else { Err(format!("expected {value}, got {values:?}")) };
    }
    if found.len() != expected.series.len() {
        return Err(format!("expected {} series, got {}: {found:?}", expected.series.len(), found.len()));
    }
    for (place, (labels, wanted)) in expected.series.iter().enumerate() {
        let Some(at) = found.iter().position(|(other, _)| other == labels) else {
            return Err(format!("{labels:?} is missing in {found:?}"));
        };
        if expected.ordered && at != place {
            return Err(format!("{labels:?} stands at {at}, not {place}"));
        }
        let values = &found[at].1;
        for index in 0..values.len().max(wanted.len()) {
            let same = match (wanted.get(index).cloned().flatten(), values.get(index).cloned().flatten()) {
                (None, None) => true,
                (Some(Cell::Float(wanted)), Some(Value::Float(value))) => near(wanted, value),
                (Some(Cell::Histogram(wanted)), Some(Value::Histogram(value))) => {
                    same_histogram(&wanted, &value)
                }
                _ => false,
            };
            if !same {
                return Err(format!(
                    "{labels:?} at {index}: expected {:?}, got {:?}",
                    wanted.get(index),
                    values.get(index)
                ));
            }
        }
    }
    Ok(())
}

fn same_histogram(wanted: &Histogram, value: &Histogram) -> bool {
    let (mut wanted, mut value) = (wanted.clone(), value.clone());
    _ = wanted.compact(0);
    _ = value.compact(0);
    let counts = |histogram: &Histogram| match &histogram.counts {
        Counts::Float { count, zero, positive, negative } => {
            let mut all = vec![*count, *zero, histogram.sum, histogram.zero_threshold];
            all.extend(positive.iter().chain(negative));
            all
        }
        Counts::Integer { .. } => Vec::new(),
    };
    let (a, b) = (counts(&wanted), counts(&value));
    wanted.schema == value.schema
        && wanted.positive_spans == value.positive_spans
        && wanted.negative_spans == value.negative_spans
        && wanted.custom_values == value.custom_values
        && a.len() == b.len()
        && a.iter().zip(&b).all(|(a, b)| near(*a, *b))
}

fn near(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    if a == b {
        return true;
    }
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || a.abs() + b.abs() < f64::MIN_POSITIVE {
        return difference < 1e-6 * f64::MIN_POSITIVE;
    }
    difference / (a.abs() + b.abs()).min(f64::MAX) < 1e-6
}

//! Functions of scalars and instant vectors.

use std::cmp::Ordering;
use std::collections::HashMap;

use outrigger_config::go_regex::GoRegex;
use outrigger_model::histogram::Histogram;
use outrigger_model::labels::{Labels, LabelsBuilder, METRIC_NAME};
use outrigger_model::names::NameValidation;

use super::aggregate::by_value;
use super::buckets::{self, Bucket};
use super::evaluator::{Evaluator, Grid, Out, Row, failed};
use super::histogram::Buckets;
use super::select::Reading;
use super::{Result, Value, labels};
use crate::ast::{Call, Expr, Span, ValueType, format_float};
use crate::matcher::MatchOp;

/// A number as Go's `%g` writes it.
pub(super) fn go_float(value: f64) -> String {
    let plain = format_float(value);
    if value == 0.0 || !value.is_finite() {
        return plain;
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return plain };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..21).contains(&exponent) {
        return plain;
    }
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

impl Evaluator<'_> {
    pub(super) fn call(&mut self, call: &Call, grid: Grid) -> Result<Out> {
        let name = call.function.name;
        if name == "absent_over_time" {
            return self.absent_over_time(call, grid).map(Out::Rows);
        }
        if call.arguments.iter().any(|argument| argument.value_type() == ValueType::Matrix) {
            return self.over_time(call, grid).map(Out::Rows);
        }
        let constant = |value: f64| Ok(Out::Scalar(vec![value; grid.steps]));
        match name {
            "pi" => constant(std::f64::consts::PI),
            "start" => constant(self.query_start as f64 / 1000.0),
            "end" => constant(self.query_end as f64 / 1000.0),
            "step" => constant(self.query_step as f64 / 1000.0),
            "range" => constant((self.query_end - self.query_start) as f64 / 1000.0),
            "time" => Ok(Out::Scalar(grid.times().map(|time| time as f64 / 1000.0).collect())),
            "min_of" | "max_of" => {
                let left = self.scalars(&call.arguments[0], grid)?;
                let right = self.scalars(&call.arguments[1], grid)?;
                Ok(Out::Scalar(left.iter().zip(&right).map(|(a, b)| of_two(name, *a, *b)).collect()))
            }
            "scalar" => self.scalar_of(&call.arguments[0], grid),
            "vector" => {
                let values = self.scalars(&call.arguments[0], grid)?;
                let values = values.into_iter().map(|value| Some(Value::Float(value))).collect();
                let row = Row { labels: Labels::empty(), drop_name: false, values };
                self.hold(grid.steps)?;
                Ok(Out::Rows(vec![row]))
            }
            "timestamp" | "start_timestamp" => self.times(call, grid).map(Out::Rows),
            "absent" => self.absent(&call.arguments[0], grid).map(Out::Rows),
            "label_replace" => self.label_replace(call, grid).map(Out::Rows),
            "label_join" => self.label_join(call, grid).map(Out::Rows),
            "sort" | "sort_desc" => self.sort(call, grid, name == "sort_desc").map(Out::Rows),
            "sort_by_label" | "sort_by_label_desc" => {
                self.sort_by_label(call, grid, name == "sort_by_label_desc").map(Out::Rows)
            }
            "histogram_quantile" => self.histogram_quantile(call, grid).map(Out::Rows),
            "histogram_fraction" => self.histogram_fraction(call, grid).map(Out::Rows),
            "days_in_month" | "day_of_month" | "day_of_week" | "day_of_year" | "hour" | "minute"
            | "month" | "year" => self.date(call, grid).map(Out::Rows),
            "histogram_avg" | "histogram_count" | "histogram_sum" | "histogram_stddev"
            | "histogram_stdvar" => self.of_each_histogram(call, grid).map(Out::Rows),
            "histogram_quantiles" => self.histogram_quantiles(call, grid).map(Out::Rows),
            "info" => failed(format!("function {name:?} is not supported yet")),
            _ => self.of_each(call, grid).map(Out::Rows),
        }
    }

    fn scalar_of(&mut self, argument: &Expr, grid: Grid) -> Result<Out> {
        let rows = self.rows(argument, grid)?;
        let at = |step: usize| {
            let mut found = rows.iter().filter_map(|row| row.values[step].as_ref().and_then(Value::float));
            match (found.next(), found.next()) {
                (Some(value), None) => value,
                _ => f64::NAN,
            }
        };
        let values = (0..grid.steps).map(at).collect();
        self.release_rows(&rows);
        Ok(Out::Scalar(values))
    }

    fn times(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>> {
        let starts = call.function.name == "start_timestamp";
        if let Expr::Vector(selector) = call.arguments[0].unparenthesised() {
            let reading = if starts { Reading::Starts } else { Reading::Times };
            return self.instant_selector(selector, grid, reading);
        }
        let mut rows = self.rows(&call.arguments[0], grid)?;
        for row in &mut rows {
            row.drop_name = true;
            for (value, time) in row.values.iter_mut().zip(grid.times()) {
                let time = if starts { 0 } else { time };
                *value = value.take().map(|_| Value::Float(time as f64 / 1000.0));
            }
        }
        Ok(rows)
    }

    /// A function of each float by itself.
    fn of_each(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>> {
        let name = call.function.name;
        let mut rows = self.rows(&call.arguments[0], grid)?;
        let mut scalars = Vec::new();
        for argument in &call.arguments[1..] {
            scalars.push(self.scalars(argument, grid)?);
        }
        let before: usize = rows.iter().map(Row::samples).sum();
        for row in &mut rows {
            row.drop_name = true;
            for (step, value) in row.values.iter_mut().enumerate() {
                let Some(float) = value.take().as_ref().and_then(Value::float) else { continue };
                let scalar = |index: usize| scalars.get(index).map(|values: &Vec<f64>| values[step]);
                let Some(result) = each(name, float, scalar(0), scalar(1)) else {
                    if matches!(name, "clamp") {
                        continue;
                    }
                    return failed(format!("function {name:?} is not supported yet"));
                };
                *value = Some(Value::Float(result));
            }
        }
        rows.retain(|row| !row.is_empty());
        self.release(before - rows.iter().map(Row::samples).sum::<usize>());
        self.tick(before)?;
        Ok(rows)
    }

    /// A function of each native histogram by itself.
    fn of_each_histogram(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>> {
        let mut rows = self.rows(&call.arguments[0], grid)?;
        let before: usize = rows.iter().map(Row::samples).sum();
        for row in &mut rows {
            row.drop_name = true;
            for value in &mut row.values {
                let Some(Value::Histogram(histogram)) = value.take() else { continue };
                let buckets = Buckets::of(&histogram);
                *value = Some(Value::Float(match call.function.name {
                    "histogram_count" => buckets.count,
                    "histogram_sum" => buckets.sum,
                    "histogram_avg" => buckets.sum / buckets.count,
                    "histogram_stdvar" => buckets.variance(),
                    _ => buckets.variance().sqrt(),
                }));
            }
        }
        rows.retain(|row| !row.is_empty());
        self.release(before - rows.iter().map(Row::samples).sum::<usize>());
        Ok(rows)
    }

    fn date(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>> {
        let name = call.function.name;
        let Some(argument) = call.arguments.first() else {
            let values =
                grid.times().map(|time| Some(Value::Float(date_part(name, time.div_euclid(1000) as f64))));
            return Ok(vec![Row { labels: Labels::empty(), drop_name: false, values: values.collect() }]);
        };
        let mut rows = self.rows(argument, grid)?;
        for row in &mut rows {
            row.drop_name = true;
            for value in &mut row.values {
                let float = value.take().as_ref().and_then(Value::float);
                *value = float.map(|seconds| Value::Float(date_part(name, seconds)));
            }
        }
        rows.retain(|row| !row.is_empty());
        Ok(rows)
    }

    fn absent(&mut self, argument: &Expr, grid: Grid) -> Result<Vec<Row>> {
        let rows = self.rows(argument, grid)?;
        let present = |step: usize| rows.iter().any(|row| row.values[step].is_some());
        let values = (0..grid.steps).map(|step| (!present(step)).then_some(Value::Float(1.0))).collect();
        self.release_rows(&rows);
        Ok(absence(argument, values))
    }

    fn absent_over_time(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>> {
        let windows = self.windows(&call.arguments[0], grid, Some("absent_over_time"))?;
        let mut values = Vec::with_capacity(grid.steps);
        for time in grid.times() {
            let (start, end) = windows.bounds(time);
            let present = windows
                .series
                .iter()
                .any(|series| !super::select::window(&series.points, start, end).is_empty());
            values.push((!present).then_some(Value::Float(1.0)));
            self.tick(windows.series.len())?;
        }
        self.release(windows.series.iter().map(|series| series.points.len()).sum());
        Ok(absence(&call.arguments[0], values))
    }

    fn label_replace(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>> {
        let target = self.text(&call.arguments[1])?;
        let replacement = self.text(&call.arguments[2])?;
        let source = self.text(&call.arguments[3])?;
        let pattern = self.text(&call.arguments[4])?;
        let Ok(regex) = GoRegex::anchored(&pattern) else {
            return failed(format!("invalid regular expression in label_replace(): {pattern}"));
        };
        if !NameValidation::Utf8.is_label_name(&target) {
            return failed(format!("invalid destination label name in label_replace(): {target}"));
        }
        let template = regex.template(&replacement);
        let mut rows = self.rows(&call.arguments[0], grid)?;
        for row in &mut rows {
            let Some(captures) = regex.captures(row.labels.get(&source).unwrap_or("")) else { continue };
            let mut text = String::new();
            template.expand(&captures, &mut text);
            let labels = with_label(&row.labels, &target, &text);
            row.labels = labels;
            if target == METRIC_NAME {
                row.drop_name = false;
            }
        }
        merged(rows)
    }

    fn label_join(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>> {
        let target = self.text(&call.arguments[1])?;
        let separator = self.text(&call.arguments[2])?;
        let mut sources = Vec::new();
        for argument in &call.arguments[3..] {
            let source = self.text(argument)?;
            if !NameValidation::Utf8.is_label_name(&source) {
                return failed(format!("invalid source label name in label_join(): {source}"));
            }
            sources.push(source);
        }
        if !NameValidation::Utf8.is_label_name(&target) {
            return failed(format!("invalid destination label name in label_join(): {target}"));
        }
        let mut rows = self.rows(&call.arguments[0], grid)?;
        for row in &mut rows {
            let parts: Vec<&str> =
                sources.iter().map(|source| row.labels.get(source).unwrap_or("")).collect();
            row.labels = with_label(&row.labels, &target, &parts.join(&separator));
            if target == METRIC_NAME {
                row.drop_name = false;
            }
        }
        merged(rows)
    }

    fn sort(&mut self, call: &Call, grid: Grid, descending: bool) -> Result<Vec<Row>> {
        let mut rows = self.rows(&call.arguments[0], grid)?;
        self.note_sorting(call.span);
        for row in &mut rows {
            row.values.iter_mut().for_each(|value| *value = value.take().filter(|v| v.float().is_some()));
        }
        rows.retain(|row| !row.is_empty());
        if grid.steps == 1 {
            let key = |row: &Row| row.values[0].as_ref().and_then(Value::float).unwrap_or(f64::NAN);
            rows.sort_by(|a, b| by_value(key(a), key(b), descending));
        }
        Ok(rows)
    }

    fn note_sorting(&mut self, span: Span) {
        if self.query_step > 0 {
            self.notes.warn(
                span,
                "sort is ineffective for range queries since results are always ordered by labels",
            );
        }
    }

    fn sort_by_label(&mut self, call: &Call, grid: Grid, descending: bool) -> Result<Vec<Row>> {
        let mut names = Vec::new();
        for argument in &call.arguments[1..] {
            names.push(self.text(argument)?);
        }
        let mut rows = self.rows(&call.arguments[0], grid)?;
        self.note_sorting(call.span);
        rows.sort_by(|a, b| {
            let by_name = names
                .iter()
                .map(|name| natural(a.labels.get(name).unwrap_or(""), b.labels.get(name).unwrap_or("")));
            let order = by_name.fold(Ordering::Equal, Ordering::then);
            let order = order.then_with(|| labels::compare(&a.labels, &b.labels));
            if descending { order.reverse() } else { order }
        });
        Ok(rows)
    }

    fn histogram_quantile(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>> {
        let quantiles = self.scalars(&call.arguments[0], grid)?;
        for q in quantiles.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
            let message = format!("quantile value should be between 0 and 1, got {}", go_float(*q));
            self.notes.warn(call.arguments[0].span(), message);
        }
        self.quantiles_of(&call.arguments[1], &quantiles, grid)
    }

    /// Several quantiles, told apart by a label.
    fn histogram_quantiles(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>> {
        let label = self.text(&call.arguments[1])?;
        if !NameValidation::Utf8.is_label_name(&label) {
            return failed(format!("invalid label name in histogram_quantiles(): {label}"));
        }
        let mut rows = Vec::new();
        for argument in &call.arguments[2..] {
            let quantiles = self.scalars(argument, grid)?;
            for q in quantiles.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
                let message = format!("quantile value should be between 0 and 1, got {}", go_float(*q));
                self.notes.warn(argument.span(), message);
            }
            // The quantile may change from step to step, and with it the label.
            for row in self.quantiles_of(&call.arguments[0], &quantiles, grid)? {
                for (step, value) in row.values.iter().enumerate().filter(|(_, value)| value.is_some()) {
                    let labels = with_label(&row.labels, &label, &go_float(quantiles[step]));
                    let known = rows
                        .iter_mut()
                        .rev()
                        .find(|one: &&mut Row| one.labels == labels && one.values[step].is_none());
                    match known {
                        Some(known) => known.values[step].clone_from(value),
                        None => {
                            let mut values = vec![None; grid.steps];
                            values[step].clone_from(value);
                            rows.push(Row { labels, drop_name: true, values });
                        }
                    }
                }
            }
        }
        Ok(rows)
    }

    fn quantiles_of(&mut self, argument: &Expr, quantiles: &[f64], grid: Grid) -> Result<Vec<Row>> {
        let span = argument.span();
        self.histograms(argument, grid, |evaluator, step, name, found| {
            let buckets = match found {
                Found::Classic(buckets) => buckets,
                Found::Native(histogram) => {
                    let (value, has_nan) = Buckets::of(histogram).quantile(quantiles[step]);
                    if has_nan {
                        let result = if value.is_nan() { "NaN" } else { "skewed higher" };
                        let message =
                            format!("input to histogram_quantile has NaN observations, result is {result}");
                        evaluator.notes.info(span, of_metric(message, name));
                    }
                    return value;
                }
            };
            let (value, repair) = buckets::quantile(quantiles[step], buckets);
            if let Some(repair) = repair {
                let message = monotonicity(name, repair, grid.time(step));
                evaluator.notes.info(span, message);
            }
            value
        })
    }

    fn histogram_fraction(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>> {
        let lower = self.scalars(&call.arguments[0], grid)?;
        let upper = self.scalars(&call.arguments[1], grid)?;
        self.histograms(&call.arguments[2], grid, |_, step, _, found| match found {
            Found::Classic(buckets) => buckets::fraction(lower[step], upper[step], buckets),
            Found::Native(histogram) => Buckets::of(histogram).fraction(lower[step], upper[step]),
        })
    }

    /// Applies a function to each histogram, native or classic.
    fn histograms(
        &mut self,
        argument: &Expr,
        grid: Grid,
        mut apply: impl FnMut(&mut Self, usize, &str, Found<'_>) -> f64,
    ) -> Result<Vec<Row>> {
        let input = self.rows(argument, grid)?;
        let mut rows = Vec::new();
        let mut classic: Vec<&Row> = Vec::new();
        for row in &input {
            let mut values = Vec::with_capacity(grid.steps);
            for (step, value) in row.values.iter().enumerate() {
                self.tick(1)?;
                let name = labels::metric_name(&row.labels);
                values.push(match value {
                    Some(Value::Histogram(histogram)) => {
                        Some(Value::Float(apply(self, step, name, Found::Native(histogram))))
                    }
                    _ => None,
                });
            }
            rows.push(Row { labels: row.labels.clone(), drop_name: true, values });
            if row.values.iter().flatten().any(|value| value.float().is_some()) {
                classic.push(row);
            }
        }
        for (labels, members) in self.classic(&classic, argument) {
            let mut values = Vec::with_capacity(grid.steps);
            for step in 0..grid.steps {
                let bucket = |(bound, row): &(f64, usize)| {
                    let count = classic[*row].values[step].as_ref().and_then(Value::float)?;
                    Some(Bucket { bound: *bound, count })
                };
                let found: Vec<Bucket> = members.iter().filter_map(bucket).collect();
                self.tick(found.len() + 1)?;
                let name = labels::metric_name(&labels);
                values.push(if found.is_empty() {
                    None
                } else {
                    Some(Value::Float(apply(self, step, name, Found::Classic(found))))
                });
            }
            rows.push(Row { labels, drop_name: true, values });
        }
        rows.retain(|row| !row.is_empty());
        self.hold_rows(&rows)?;
        self.release_rows(&input);
        Ok(rows)
    }

    /// Classic histograms: their labels, and the bound and row of each bucket.
    fn classic(&mut self, rows: &[&Row], argument: &Expr) -> Vec<(Labels, Vec<(f64, usize)>)> {
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut groups: Vec<(Labels, Vec<(f64, usize)>)> = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            let text = row.labels.get("le").unwrap_or("");
            let Some(bound) = crate::parser::parse_float(text).filter(|bound| !bound.is_nan()) else {
                let message = format!("bucket label \"le\" is missing or has a malformed value of {text:?}");
                self.notes.warn(argument.span(), of_metric(message, labels::metric_name(&row.labels)));
                continue;
            };
            let labels = labels::filtered(&row.labels, |name| name != "le");
            let place = *places.entry(labels.clone()).or_insert(groups.len());
            if place == groups.len() {
                groups.push((labels, Vec::new()));
            }
            groups[place].1.push((bound, index));
        }
        groups
    }
}

/// A histogram of either kind at one step.
enum Found<'a> {
    Native(&'a Histogram),
    Classic(Vec<Bucket>),
}

fn of_metric(message: String, name: &str) -> String {
    if name.is_empty() { message } else { format!("{message} for metric name {name:?}") }
}

fn monotonicity(name: &str, repair: buckets::Repair, time: i64) -> String {
    let mut message = "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)".to_owned();
    if !name.is_empty() {
        message += &format!(" for metric name {name:?}");
    }
    let at = jiff::Timestamp::from_millisecond(time).unwrap_or_default();
    message += &format!(
        ", from buckets {} to {}, with a max diff of {:.2}, over 1 samples from {at} to {at}",
        go_float(repair.lowest),
        go_float(repair.highest),
        repair.difference
    );
    message
}

fn of_two(name: &str, a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        return f64::NAN;
    }
    if name == "min_of" { a.min(b) } else { a.max(b) }
}

/// A function of one float; None where there is no such function, or no result.
fn each(name: &str, value: f64, first: Option<f64>, second: Option<f64>) -> Option<f64> {
    Some(match name {
        "abs" => value.abs(),
        "ceil" => value.ceil(),
        "floor" => value.floor(),
        "exp" => value.exp(),
        "sqrt" => value.sqrt(),
        "ln" => value.ln(),
        "log2" => value.log2(),
        "log10" => value.log10(),
        "sin" => value.sin(),
        "cos" => value.cos(),
        "tan" => value.tan(),
        "asin" => value.asin(),
        "acos" => value.acos(),
        "atan" => value.atan(),
        "sinh" => value.sinh(),
        "cosh" => value.cosh(),
        "tanh" => value.tanh(),
        "asinh" => value.asinh(),
        "acosh" => value.acosh(),
        "atanh" => value.atanh(),
        "rad" => value * (std::f64::consts::PI / 180.0),
        "deg" => value * (180.0 / std::f64::consts::PI),
        "sgn" if value > 0.0 => 1.0,
        "sgn" if value < 0.0 => -1.0,
        "sgn" => value,
        "round" => {
            // Dividing by the inverse keeps round(x, 0.1) exact.
            let inverse = 1.0 / first.unwrap_or(1.0);
            (value * inverse + 0.5).floor() / inverse
        }
        "clamp" => {
            let (low, high) = (first?, second?);
            if high < low {
                return None;
            }
            greatest(low, least(high, value))
        }
        "clamp_min" => greatest(first?, value),
        "clamp_max" => least(first?, value),
        _ => return None,
    })
}

fn greatest(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

fn least(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

fn date_part(name: &str, seconds: f64) -> f64 {
    let Ok(timestamp) = jiff::Timestamp::from_second(seconds as i64) else { return f64::NAN };
    let time = jiff::tz::TimeZone::UTC.to_datetime(timestamp);
    match name {
        "days_in_month" => f64::from(time.days_in_month()),
        "day_of_month" => f64::from(time.day()),
        "day_of_week" => f64::from(time.weekday().to_sunday_zero_offset()),
        "day_of_year" => f64::from(time.day_of_year()),
        "hour" => f64::from(time.hour()),
        "minute" => f64::from(time.minute()),
        "month" => f64::from(time.month()),
        _ => f64::from(time.year()),
    }
}

/// The labels that the absent series would have: those that the selector asks for by equality, once each.
fn absence(argument: &Expr, values: Vec<Option<Value>>) -> Vec<Row> {
    let matchers = match argument {
        Expr::Vector(selector) => &*selector.matchers,
        Expr::Matrix(matrix) => &*matrix.selector.matchers,
        _ => &[],
    };
    let mut builder = LabelsBuilder::new();
    for matcher in matchers.iter().filter(|matcher| !labels::is_metadata(matcher.name())) {
        let same = matchers.iter().filter(|other| other.name() == matcher.name()).count();
        if matcher.op() == MatchOp::Equal && same == 1 {
            builder.set(matcher.name(), matcher.value());
        }
    }
    let row = Row { labels: builder.build(), drop_name: false, values };
    if row.is_empty() { Vec::new() } else { vec![row] }
}

fn with_label(labels: &Labels, name: &str, value: &str) -> Labels {
    let mut builder = LabelsBuilder::from_labels(labels);
    builder.set(name, value);
    builder.build()
}

/// Rows whose labels became the same are one, as long as they share no step.
fn merged(rows: Vec<Row>) -> Result<Vec<Row>> {
    let mut places: HashMap<(Labels, bool), usize> = HashMap::new();
    let mut found: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        let key = (row.labels.clone(), row.drop_name);
        let place = *places.entry(key).or_insert(found.len());
        if place == found.len() {
            found.push(row);
            continue;
        }
        for (into, value) in found[place].values.iter_mut().zip(row.values) {
            match (into.is_some(), value) {
                (true, Some(_)) => return failed("vector cannot contain metrics with the same labelset"),
                (false, value) => *into = value,
                (true, None) => {}
            }
        }
    }
    Ok(found)
}

/// Texts compared with their numbers as numbers.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        match (a.first(), b.first()) {
            (None, None) => return Ordering::Equal,
            (None, _) => return Ordering::Less,
            (_, None) => return Ordering::Greater,
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let ((x, rest_a), (y, rest_b)) = (a.split_at(digits(a)), b.split_at(digits(b)));
                let significant =
                    |text: &[u8]| text.iter().position(|byte| *byte != b'0').unwrap_or(text.len());
                let (x, y) = (&x[significant(x)..], &y[significant(y)..]);
                let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
                if order != Ordering::Equal {
                    return order;
                }
                (a, b) = (rest_a, rest_b);
            }
            (Some(x), Some(y)) if x == y => (a, b) = (&a[1..], &b[1..]),
            (Some(x), Some(y)) => return x.cmp(y),
        }
    }
}

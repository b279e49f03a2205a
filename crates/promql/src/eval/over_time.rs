//! Functions of range vectors.

use super::aggregate::{mean, variance};
use super::evaluator::{Evaluator, Grid, Row, failed};
use super::histogram::Buckets;
use super::select::{Windowed, window};
use super::sum::{Sum, quantile};
use super::{Point, Result, Value, labels, rate};
use outrigger_model::histogram::ResetHint;

use crate::ast::{Call, Expr, Extension, Span, ValueType};

/// Scalar arguments of a call, one list of steps for each.
type Scalars = Vec<Vec<f64>>;

impl Evaluator<'_> {
    /// A function that takes a range vector.
    pub(super) fn over_time(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>> {
        let name = call.function.name;
        let of_type = |wanted| move |argument: &&Expr| argument.value_type() == wanted;
        let Some(matrix) = call.arguments.iter().find(of_type(ValueType::Matrix)) else {
            return failed(format!("{name} lacks its range vector"));
        };
        let mut scalars: Scalars = Vec::new();
        for argument in call.arguments.iter().filter(of_type(ValueType::Scalar)) {
            scalars.push(self.scalars(argument, grid)?);
        }
        self.check_scalars(call, &scalars)?;
        let windows = self.windows(matrix, grid, Some(name))?;
        let extension = windows.extension;
        check_extension(extension, name)?;
        let keeps_name = matches!(name, "last_over_time" | "first_over_time");
        let span = matrix.span();
        let mut rows = Vec::with_capacity(windows.series.len());
        for series in &windows.series {
            let mut values = Vec::with_capacity(grid.steps);
            for (step, time) in grid.times().enumerate() {
                let (start, end) = windows.bounds(time);
                let lookback = self.engine.options.lookback;
                let inside = match extension {
                    Extension::None => window(&series.points, start, end),
                    Extension::Anchored => window(&series.points, start - lookback, end),
                    Extension::Smoothed => window(&series.points, start - lookback, end + lookback),
                };
                self.tick(inside.len() + 1)?;
                let now = Now { extension, start, end, time, step, span };
                let value = if inside.is_empty() {
                    None
                } else {
                    self.of_window(name, series, inside, &scalars, now)?
                };
                values.push(value);
            }
            let row =
                Row { labels: series.labels.clone(), drop_name: series.drop_name || !keeps_name, values };
            if !row.is_empty() {
                self.hold(row.samples())?;
                rows.push(row);
            }
        }
        self.release(windows.series.iter().map(|series| series.points.len()).sum());
        Ok(rows)
    }

    fn check_scalars(&mut self, call: &Call, scalars: &Scalars) -> Result<()> {
        match call.function.name {
            "quantile_over_time" => {
                for q in scalars[0].iter().filter(|q| !(0.0..=1.0).contains(*q)) {
                    let message = format!(
                        "quantile value should be between 0 and 1, got {}",
                        super::call::go_float(*q)
                    );
                    self.notes.warn(call.arguments[0].span(), message);
                }
            }
            "double_exponential_smoothing" => {
                let inside = |value: &f64| *value > 0.0 && *value < 1.0;
                for (values, what) in scalars.iter().zip(["smoothing", "trend"]) {
                    if let Some(value) = values.iter().find(|value| !inside(value)) {
                        return failed(format!(
                            "invalid {what} factor. Expected: 0 < {} < 1, got: {value:.6}",
                            if what == "smoothing" { "sf" } else { "tf" }
                        ));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Floats only; histograms beside them are noted.
    fn floats(&mut self, series: &Windowed, window: &[Point], span: Span) -> Vec<(i64, f64)> {
        let floats: Vec<(i64, f64)> =
            window.iter().filter_map(|point| Some((point.time, point.value.float()?))).collect();
        if !floats.is_empty() && floats.len() < window.len() {
            let name = labels::metric_name(&series.labels);
            self.notes.info(
                span,
                format!("ignored histograms in a range containing both floats and histograms for metric name {name:?}"),
            );
        }
        floats
    }

    fn of_window(
        &mut self,
        name: &str,
        series: &Windowed,
        window: &[Point],
        scalars: &Scalars,
        now: Now,
    ) -> Result<Option<Value>> {
        if now.extension != Extension::None {
            return self.of_extended(name, series, window, now);
        }
        let (Some(first), Some(last)) = (window.first(), window.last()) else { return Ok(None) };
        let seconds = |point: &Point| Some(Value::Float(point.time as f64 / 1000.0));
        match name {
            "count_over_time" => return Ok(Some(Value::Float(window.len() as f64))),
            "present_over_time" => return Ok(Some(Value::Float(1.0))),
            "last_over_time" => return Ok(Some(last.value.clone())),
            "first_over_time" => return Ok(Some(first.value.clone())),
            "ts_of_first_over_time" => return Ok(seconds(first)),
            "ts_of_last_over_time" => return Ok(seconds(last)),
            "rate" | "increase" | "delta" | "irate" | "idelta" => {
                return self.rate(name, series, window, now);
            }
            "sum_over_time" | "avg_over_time" | "changes" | "resets" => {
                let histograms = window.iter().filter(|point| point.value.float().is_none()).count();
                if histograms > 0 && histograms < window.len() && name.ends_with("over_time") {
                    let metric = labels::metric_name(&series.labels);
                    self.notes.warn(
                        now.span,
                        format!("encountered a mix of histograms and floats for metric name {metric:?}"),
                    );
                    return Ok(None);
                }
                let of_window = window.iter().filter_map(|point| match &point.value {
                    Value::Histogram(histogram) => Some(&**histogram),
                    Value::Float(_) => None,
                });
                if histograms > 0 && name.ends_with("over_time") {
                    let metric = labels::metric_name(&series.labels);
                    return Ok(self.total(
                        of_window,
                        name == "avg_over_time",
                        now.span,
                        "aggregation",
                        metric,
                    ));
                }
                if histograms > 0 {
                    return Ok(Some(Value::Float(differences(name, window))));
                }
            }
            _ => {}
        }
        let floats = self.floats(series, window, now.span);
        if floats.is_empty() {
            return Ok(None);
        }
        let values = || floats.iter().map(|(_, value)| *value).collect::<Vec<f64>>();
        let scalar = |index: usize| scalars.get(index).map(|values: &Vec<f64>| values[now.step]);
        let value = match name {
            "sum_over_time" => {
                let mut sum = Sum::default();
                floats.iter().for_each(|(_, value)| sum.add(*value));
                Some(sum.value())
            }
            "avg_over_time" => Some(mean(&values())),
            "max_over_time" => Some(extreme(&floats, |value, best| value > best).1),
            "min_over_time" => Some(extreme(&floats, |value, best| value < best).1),
            "ts_of_max_over_time" => Some(extreme(&floats, |value, best| value >= best).0 as f64 / 1000.0),
            "ts_of_min_over_time" => Some(extreme(&floats, |value, best| value <= best).0 as f64 / 1000.0),
            "stdvar_over_time" => Some(variance(&values())),
            "stddev_over_time" => Some(variance(&values()).sqrt()),
            "quantile_over_time" => Some(quantile(scalar(0).unwrap_or(f64::NAN), &mut values())),
            "mad_over_time" => {
                let median = quantile(0.5, &mut values());
                let mut distances: Vec<f64> = values().iter().map(|value| (value - median).abs()).collect();
                Some(quantile(0.5, &mut distances))
            }
            "changes" => Some(pairs(&floats, |a, b| a != b && !(a.is_nan() && b.is_nan()))),
            "resets" => Some(pairs(&floats, |a, b| b < a)),
            "deriv" => regression(&floats, floats[0].0).map(|(slope, _)| slope),
            "predict_linear" => regression(&floats, now.time)
                .map(|(slope, intercept)| slope * scalar(0).unwrap_or(f64::NAN) + intercept),
            "double_exponential_smoothing" => smoothing(&values(), scalar(0), scalar(1)),
            "integral" => {
                let strategy = scalar(0).unwrap_or(2.0);
                let area = |pair: &[(i64, f64)]| {
                    let width = (pair[1].0 - pair[0].0) as f64 / 1000.0;
                    let height = match strategy {
                        0.0 => pair[0].1,
                        1.0 => pair[1].1,
                        _ => f64::midpoint(pair[0].1, pair[1].1),
                    };
                    height * width
                };
                let mut sum = Sum::default();
                floats.windows(2).for_each(|pair| sum.add(area(pair)));
                (floats.len() > 1).then(|| sum.value())
            }
            _ => return failed(format!("function {name:?} is not supported yet")),
        };
        Ok(value.map(Value::Float))
    }

    /// A function of an `anchored` or `smoothed` range.
    fn of_extended(
        &mut self,
        name: &str,
        series: &Windowed,
        window: &[Point],
        now: Now,
    ) -> Result<Option<Value>> {
        let metric = labels::metric_name(&series.labels);
        let floats: Vec<(i64, f64)> =
            window.iter().filter_map(|point| Some((point.time, point.value.float()?))).collect();
        if floats.is_empty() {
            return failed(format!("{name} of native histograms in an extended range is not supported yet"));
        }
        if floats.len() < window.len() {
            let message = format!("encountered a mix of histograms and floats for metric name {metric:?}");
            self.notes.warn(now.span, message);
            return Ok(None);
        }
        let is_counter = matches!(name, "rate" | "increase");
        if is_counter {
            self.note_possible_gauge(metric, now.span);
        }
        if matches!(name, "changes" | "resets") {
            let first =
                floats[..floats.len() - 1].partition_point(|(time, _)| *time <= now.start).saturating_sub(1);
            let ends = floats.last().is_some_and(|(time, _)| *time > now.start);
            let differ = |a: f64, b: f64| {
                if name == "resets" { b < a } else { a != b && !(a.is_nan() && b.is_nan()) }
            };
            return Ok(ends.then(|| Value::Float(pairs(&floats[first..], differ))));
        }
        let is_smoothed = now.extension == Extension::Smoothed;
        let points = rate::extended(&floats, (now.start, now.end), is_smoothed, is_counter);
        Ok(points.map(|points| {
            let change = rate::of_extended(&points, is_counter);
            let seconds = (now.end - now.start) as f64 / 1000.0;
            Value::Float(if name == "rate" { change / seconds } else { change })
        }))
    }

    fn note_possible_gauge(&mut self, metric: &str, span: Span) {
        let suffixed = ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| metric.ends_with(suffix));
        if !metric.is_empty() && !suffixed {
            self.notes.info(
                span,
                format!(
                    "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {metric:?}"
                ),
            );
        }
    }

    fn rate(&mut self, name: &str, series: &Windowed, window: &[Point], now: Now) -> Result<Option<Value>> {
        let metric = labels::metric_name(&series.labels);
        let considered = if name.starts_with('i') && name != "increase" {
            &window[window.len().saturating_sub(2)..]
        } else {
            window
        };
        let histograms = considered.iter().filter(|point| point.value.float().is_none()).count();
        if histograms > 0 && histograms < considered.len() {
            self.notes.warn(
                now.span,
                format!("encountered a mix of histograms and floats for metric name {metric:?}"),
            );
            return Ok(None);
        }
        if histograms > 0 {
            return Ok(self.histogram_rate(name, metric, window, now));
        }
        let is_counter = !matches!(name, "delta" | "idelta");
        if matches!(name, "rate" | "increase") {
            self.note_possible_gauge(metric, now.span);
        }
        let value = match name {
            "irate" | "idelta" => rate::instant(window, is_counter),
            _ => {
                if is_counter {
                    let overlaps = |pair: &[Point]| {
                        pair[1].start != 0 && pair[1].start < pair[0].time && pair[1].start != pair[0].start
                    };
                    if window.windows(2).any(overlaps) {
                        self.notes.warn(now.span, format!("sample has start time that overlaps with previous sample timestamp for metric name {metric:?}"));
                    }
                }
                rate::extrapolated(window, (now.start, now.end), is_counter, name == "rate")
            }
        };
        Ok(value.map(Value::Float))
    }
}

impl Evaluator<'_> {
    /// The rate or change of native histograms, extrapolated as that of their counts.
    fn histogram_rate(&mut self, name: &str, metric: &str, window: &[Point], now: Now) -> Option<Value> {
        let of_pair = matches!(name, "irate" | "idelta");
        let window = if of_pair { &window[window.len().saturating_sub(2)..] } else { window };
        let is_counter = !matches!(name, "delta" | "idelta");
        let all: Vec<Buckets> = window
            .iter()
            .filter_map(|point| match &point.value {
                Value::Histogram(histogram) => Some(Buckets::of(histogram)),
                Value::Float(_) => None,
            })
            .collect();
        let (first, last) = (all.first()?, all.last()?);
        if all.len() < 2 {
            return None;
        }
        let is_gauge = |buckets: &Buckets| buckets.hint == ResetHint::Gauge;
        if is_counter && all.iter().any(is_gauge) {
            self.notes.warn(now.span, format!("this native histogram metric is not a counter: {metric:?}"));
        }
        let gauges = is_gauge(first) && is_gauge(last);
        if !(is_counter || gauges) {
            self.notes.warn(now.span, format!("this native histogram metric is not a gauge: {metric:?}"));
        }
        if all.iter().any(|buckets| buckets.is_custom() != first.is_custom()) {
            self.notes.warn(now.span, format!("vector contains a mix of histograms with exponential and custom buckets schemas for metric name {metric:?}"));
            return None;
        }
        let mut result = last.clone();
        let mut reconciled = false;
        let pair_reset = of_pair && is_counter && last.is_reset_after(first);
        if !pair_reset {
            reconciled |= result.combine(first, -1.0).ok()?;
        }
        if is_counter && !of_pair {
            for pair in all.windows(2).filter(|pair| pair[1].is_reset_after(&pair[0])) {
                reconciled |= result.combine(&pair[0], 1.0).ok()?;
            }
        }
        if reconciled {
            self.notes.info(now.span, "mismatched custom buckets were reconciled during subtraction");
        }
        // The factor is that of a counter with the same first value and increase.
        let point = |point: &Point, value: f64| Point { value: Value::Float(value), ..point.clone() };
        let factor = if of_pair {
            let seconds = (window[1].time - window[0].time) as f64 / 1000.0;
            if is_counter { 1.0 / seconds } else { 1.0 }
        } else {
            let mut counts = vec![
                point(&window[0], first.count),
                point(&window[window.len() - 1], first.count + result.count),
            ];
            // Samples between the first and the last only set the average distance.
            for middle in &window[1..window.len() - 1] {
                counts.insert(counts.len() - 1, point(middle, first.count));
            }
            rate::factor(&counts, (now.start, now.end), is_counter, name == "rate")?
        };
        result.scale(factor);
        result.hint = ResetHint::Gauge;
        Some(Value::Histogram(result.into_histogram().into()))
    }
}

/// How often two neighbours differ, or the counts began anew.
fn differences(name: &str, window: &[Point]) -> f64 {
    let differ = |pair: &&[Point]| match (&pair[0].value, &pair[1].value) {
        (Value::Histogram(a), Value::Histogram(b)) if name == "resets" => {
            Buckets::of(b).is_reset_after(&Buckets::of(a))
        }
        (Value::Float(a), Value::Float(b)) if name == "resets" => b < a,
        (Value::Histogram(a), Value::Histogram(b)) => a != b,
        (Value::Float(a), Value::Float(b)) => a != b && !(a.is_nan() && b.is_nan()),
        _ => true,
    };
    window.windows(2).filter(differ).count() as f64
}

/// Refuses the modifiers where they mean nothing.
fn check_extension(extension: Extension, name: &str) -> Result<()> {
    let (modifier, functions): (&str, &[&str]) = match extension {
        Extension::None => return Ok(()),
        Extension::Anchored => ("anchored", &["changes", "delta", "increase", "rate", "resets"]),
        Extension::Smoothed => ("smoothed", &["delta", "increase", "rate"]),
    };
    if functions.contains(&name) {
        return Ok(());
    }
    failed(format!("{modifier} modifier can only be used with: {} - not with {name}", functions.join(", ")))
}

/// One step's window and where its selector stands.
#[derive(Clone, Copy)]
struct Now {
    start: i64,
    end: i64,
    time: i64,
    step: usize,
    span: Span,
    extension: Extension,
}

/// The last sample that is better than those before it; NaN only where there is nothing else.
fn extreme(floats: &[(i64, f64)], better: impl Fn(f64, f64) -> bool) -> (i64, f64) {
    let mut best = floats[0];
    for (time, value) in &floats[1..] {
        if better(*value, best.1) || best.1.is_nan() {
            best = (*time, *value);
        }
    }
    best
}

fn pairs(floats: &[(i64, f64)], counts: impl Fn(f64, f64) -> bool) -> f64 {
    floats.windows(2).filter(|pair| counts(pair[0].1, pair[1].1)).count() as f64
}

/// Slope per second and value at `at` of the line through the samples (least squares).
fn regression(floats: &[(i64, f64)], at: i64) -> Option<(f64, f64)> {
    if floats.len() < 2 {
        return None;
    }
    let initial = floats[0].1;
    let constant = floats.iter().all(|(_, value)| *value == initial);
    if constant {
        return Some(if initial.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, initial) });
    }
    let [mut sum_x, mut sum_y, mut sum_xy, mut sum_xx] = [Sum::default(); 4];
    for (time, y) in floats {
        let x = (time - at) as f64 / 1000.0;
        sum_x.add(x);
        sum_y.add(*y);
        sum_xy.add(x * y);
        sum_xx.add(x * x);
    }
    let count = floats.len() as f64;
    let (x, y) = (sum_x.value(), sum_y.value());
    let covariance = sum_xy.value() - x * y / count;
    let variance = sum_xx.value() - x * x / count;
    let slope = covariance / variance;
    Some((slope, y / count - slope * x / count))
}

/// Holt's double exponential smoothing.
fn smoothing(values: &[f64], level_factor: Option<f64>, trend_factor: Option<f64>) -> Option<f64> {
    let (level_factor, trend_factor) = (level_factor?, trend_factor?);
    let [first, second, ..] = values else { return None };
    let (mut before, mut level, mut trend) = (0.0, *first, second - first);
    for (index, value) in values.iter().enumerate().skip(1) {
        if index > 1 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        let next = level_factor * value + (1.0 - level_factor) * (level + trend);
        (before, level) = (level, next);
    }
    Some(level)
}

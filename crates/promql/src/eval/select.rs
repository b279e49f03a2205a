//! Selectors: the current samples at each step, and windows of samples.

use super::evaluator::{Evaluator, Grid, Row, failed, points};
use super::{EvalError, Hints, Point, Result, Value, labels};
use crate::ast::{Expr, Extension, VectorSelector};
use outrigger_model::labels::Labels;

/// What of a current sample is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Values,
    /// Its time in seconds.
    Times,
    /// When its counter began, in seconds.
    Starts,
}

/// A series with all samples that any window may need, stale markers left out.
pub(super) struct Windowed {
    pub(super) labels: Labels,
    pub(super) drop_name: bool,
    pub(super) points: Vec<Point>,
}

/// Series and how a window lies relative to the time of evaluation.
pub(super) struct Windows {
    pub(super) series: Vec<Windowed>,
    pub(super) range: i64,
    offset: i64,
    at: Option<i64>,
    pub(super) extension: Extension,
}

impl Windows {
    /// Start (exclusive) and end (inclusive) of the window.
    pub(super) fn bounds(&self, time: i64) -> (i64, i64) {
        let end = self.at.unwrap_or(time) - self.offset;
        (end - self.range, end)
    }
}

pub(super) fn window(points: &[Point], start: i64, end: i64) -> &[Point] {
    let from = points.partition_point(|point| point.time <= start);
    let to = points.partition_point(|point| point.time <= end);
    &points[from..to.max(from)]
}

impl Evaluator<'_> {
    fn selected(
        &mut self,
        selector: &VectorSelector,
        start: i64,
        end: i64,
        hints: &Hints,
    ) -> Result<Vec<super::Series>> {
        let engine = self.engine;
        let stream =
            engine.source.select(&selector.matchers, start, end, hints).map_err(EvalError::Source)?;
        let mut found = Vec::new();
        for series in stream {
            let series = series.map_err(EvalError::Source)?;
            self.hold(series.points.len())?;
            if found.len() >= engine.options.max_series {
                return Err(EvalError::TooManySeries(engine.options.max_series));
            }
            found.push(series);
        }
        found.sort_by(|a, b| labels::compare(&a.labels, &b.labels));
        Ok(found)
    }

    pub(super) fn instant_selector(
        &mut self,
        selector: &VectorSelector,
        grid: Grid,
        reading: Reading,
    ) -> Result<Vec<Row>> {
        if grid.steps == 0 {
            return Ok(Vec::new());
        }
        let offset = selector.offset.as_ref().map_or(Ok(0), |offset| self.millis(offset, true))?;
        let at = self.at(selector.at);
        let lookback = self.engine.options.lookback;
        let reference = |time: i64| at.unwrap_or(time) - offset;
        let start = reference(grid.start) - lookback + 1;
        let mut end = reference(grid.last());
        if selector.extension == Extension::Smoothed {
            end += lookback;
        }
        let hints = Hints { step: self.query_step, ..Hints::default() };
        let mut rows = Vec::new();
        for series in self.selected(selector, start, end, &hints)? {
            let mut values = Vec::with_capacity(grid.steps);
            let mut next = 0;
            for time in grid.times() {
                let now = reference(time);
                while series.points.get(next).is_some_and(|point| point.time <= now) {
                    next += 1;
                }
                let before = next.checked_sub(1).map(|last| &series.points[last]);
                let value = if selector.extension == Extension::Smoothed {
                    smoothed(&series.points, next, now, lookback)
                } else {
                    before.filter(|point| point.time > now - lookback && !point.value.is_stale()).map(
                        |point| match reading {
                            Reading::Values => point.value.clone(),
                            Reading::Times => Value::Float(point.time as f64 / 1000.0),
                            Reading::Starts => Value::Float(point.start as f64 / 1000.0),
                        },
                    )
                };
                values.push(value);
            }
            self.release(series.points.len());
            let row = Row { labels: series.labels, drop_name: reading != Reading::Values, values };
            if !row.is_empty() {
                self.hold(row.samples())?;
                rows.push(row);
            }
        }
        Ok(rows)
    }

    /// The windows of a range selector or a subquery.
    pub(super) fn windows(
        &mut self,
        expr: &Expr,
        grid: Grid,
        function: Option<&'static str>,
    ) -> Result<Windows> {
        match expr.unparenthesised() {
            Expr::Matrix(matrix) => {
                let selector = &matrix.selector;
                let range = self.millis(&matrix.range, false)?;
                let offset = selector.offset.as_ref().map_or(Ok(0), |offset| self.millis(offset, true))?;
                let at = self.at(selector.at);
                let mut windows =
                    Windows { series: Vec::new(), range, offset, at, extension: selector.extension };
                if grid.steps == 0 {
                    return Ok(windows);
                }
                let (mut start, mut end) = (windows.bounds(grid.start).0, windows.bounds(grid.last()).1);
                let lookback = self.engine.options.lookback;
                if selector.extension != Extension::None {
                    start -= lookback;
                }
                if selector.extension == Extension::Smoothed {
                    end += lookback;
                }
                let hints = Hints { step: self.query_step, function, range };
                for mut series in self.selected(selector, start + 1, end, &hints)? {
                    let before = series.points.len();
                    series.points.retain(|point| !point.value.is_stale());
                    self.release(before - series.points.len());
                    let (labels, points) = (series.labels, series.points);
                    windows.series.push(Windowed { labels, drop_name: false, points });
                }
                Ok(windows)
            }
            Expr::Subquery(subquery) => {
                let range = self.millis(&subquery.range, false)?;
                let offset = subquery.offset.as_ref().map_or(Ok(0), |offset| self.millis(offset, true))?;
                let step = match &subquery.step {
                    Some(step) => self.millis(step, false)?,
                    None => self.engine.options.subquery_step,
                };
                if step <= 0 {
                    return failed("the step of a subquery must be at least a millisecond");
                }
                let at = self.at(subquery.at);
                let extension = Extension::None;
                let mut windows = Windows { series: Vec::new(), range, offset, at, extension };
                if grid.steps == 0 {
                    return Ok(windows);
                }
                let (from, to) = (windows.bounds(grid.start).0, windows.bounds(grid.last()).1);
                let mut start = step * (from / step);
                if start <= from {
                    start += step;
                }
                let inner = self.grid(start, to, step)?;
                for row in self.rows(&subquery.expr, inner)? {
                    let points = points(row.values, inner);
                    windows.series.push(Windowed { labels: row.labels, drop_name: row.drop_name, points });
                }
                Ok(windows)
            }
            _ => failed("a range vector was expected"),
        }
    }
}

/// The value between the samples around `now`.
fn smoothed(points: &[Point], next: usize, now: i64, lookback: i64) -> Option<Value> {
    let live = |point: &&Point| !point.value.is_stale();
    let before = points[..next].iter().rev().find(live).filter(|point| point.time > now - lookback);
    let after = points[next..].iter().find(live).filter(|point| point.time <= now + lookback);
    match (before, after) {
        (Some(before), _) if before.time == now => Some(before.value.clone()),
        (Some(before), Some(after)) => match (before.value.float(), after.value.float()) {
            (Some(low), Some(high)) => {
                let share = (now - before.time) as f64 / (after.time - before.time) as f64;
                Some(Value::Float(low + (high - low) * share))
            }
            _ => Some(before.value.clone()),
        },
        (Some(before), None) => Some(before.value.clone()),
        _ => None,
    }
}

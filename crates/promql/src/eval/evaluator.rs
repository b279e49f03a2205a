//! The walk over the tree.

use std::collections::HashMap;

use outrigger_model::labels::Labels;

use super::annotations::Annotations;
use super::invariant::is_invariant;
use super::{
    Engine, EvalError, Interrupted, Point, QueryResult, QueryValue, Result, Sample, Series, Value, labels,
};
use crate::ast::{At, BinaryOp, DurationExpr, DurationOp, Expr, Extension, Length, Span};

/// The times of evaluation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub(super) start: i64,
    pub(super) step: i64,
    pub(super) steps: usize,
}

impl Grid {
    pub(super) fn time(&self, index: usize) -> i64 {
        self.start + self.step * index as i64
    }

    pub(super) fn times(self) -> impl Iterator<Item = i64> {
        (0..self.steps).map(move |index| self.time(index))
    }

    pub(super) fn last(&self) -> i64 {
        self.time(self.steps.saturating_sub(1))
    }
}

/// A series with a value for each step.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) labels: Labels,
    /// Whether the name is to be dropped at the end.
    pub(super) drop_name: bool,
    pub(super) values: Vec<Option<Value>>,
}

impl Row {
    pub(super) fn samples(&self) -> usize {
        self.values.iter().filter(|value| value.is_some()).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.iter().all(Option::is_none)
    }
}

/// What an expression evaluates to.
#[derive(Debug, Clone)]
pub(super) enum Out {
    Scalar(Vec<f64>),
    Text(String),
    Rows(Vec<Row>),
}

pub(super) struct Evaluator<'a> {
    pub(super) engine: &'a Engine<'a>,
    pub(super) notes: Annotations,
    pub(super) query_start: i64,
    pub(super) query_end: i64,
    pub(super) query_step: i64,
    held: usize,
    peak: usize,
    since_check: usize,
}

pub(super) fn failed<T>(message: impl Into<String>) -> Result<T> {
    Err(EvalError::Execution(message.into()))
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(engine: &'a Engine<'a>, text: &str, start: i64, end: i64, step: i64) -> Result<Self> {
        let mut evaluator = Self {
            engine,
            notes: Annotations::new(text),
            query_start: start,
            query_end: end,
            query_step: step,
            held: 0,
            peak: 0,
            since_check: usize::MAX,
        };
        evaluator.tick(1)?;
        Ok(evaluator)
    }

    pub(super) fn result(self, value: QueryValue) -> QueryResult {
        QueryResult { value, annotations: self.notes.found, peak_samples: self.peak }
    }

    /// Counts work, and asks now and then whether to go on.
    pub(super) fn tick(&mut self, work: usize) -> Result<()> {
        self.since_check = self.since_check.saturating_add(work);
        if self.since_check < 4096 {
            return Ok(());
        }
        self.since_check = 0;
        match self.engine.interrupt.check() {
            None => Ok(()),
            Some(Interrupted::Timeout) => Err(EvalError::Timeout),
            Some(Interrupted::Cancelled) => Err(EvalError::Cancelled),
        }
    }

    /// Takes memory for samples.
    pub(super) fn hold(&mut self, samples: usize) -> Result<()> {
        self.held += samples;
        self.peak = self.peak.max(self.held);
        if self.held > self.engine.options.max_samples {
            return Err(EvalError::TooManySamples(self.engine.options.max_samples));
        }
        self.tick(samples)
    }

    /// Gives it back.
    pub(super) fn release(&mut self, samples: usize) {
        self.held = self.held.saturating_sub(samples);
    }

    pub(super) fn hold_rows(&mut self, rows: &[Row]) -> Result<()> {
        self.hold(rows.iter().map(Row::samples).sum())
    }

    pub(super) fn release_rows(&mut self, rows: &[Row]) {
        self.release(rows.iter().map(Row::samples).sum());
    }

    pub(super) fn grid(&self, start: i64, end: i64, step: i64) -> Result<Grid> {
        if end < start {
            return Ok(Grid { start, step, steps: 0 });
        }
        let steps = if step == 0 { 1 } else { (end - start) / step + 1 };
        let limit = self.engine.options.max_steps;
        match usize::try_from(steps) {
            Ok(steps) if steps <= limit => Ok(Grid { start, step, steps }),
            _ => Err(EvalError::TooManySteps { steps, limit }),
        }
    }

    pub(super) fn instant(&mut self, expr: &Expr) -> Result<QueryValue> {
        let time = self.query_start;
        let grid = Grid { start: time, step: 0, steps: 1 };
        if matches!(expr.unparenthesised(), Expr::Matrix(_) | Expr::Subquery(_)) {
            return self.instant_matrix(expr.unparenthesised(), grid);
        }
        Ok(match self.eval(expr, grid)? {
            Out::Scalar(values) => QueryValue::Scalar(values[0]),
            Out::Text(text) => QueryValue::String(text),
            Out::Rows(rows) => {
                let rows = named(rows)?;
                let sample =
                    |mut row: Row| Some(Sample { value: row.values.pop().flatten()?, labels: row.labels });
                QueryValue::Vector(rows.into_iter().filter_map(sample).collect())
            }
        })
    }

    fn instant_matrix(&mut self, expr: &Expr, grid: Grid) -> Result<QueryValue> {
        let windows = self.windows(expr, grid, None)?;
        let (start, end) = windows.bounds(grid.start);
        let mut found = Vec::new();
        for series in windows.series {
            let labels =
                if series.drop_name { labels::without_metadata(&series.labels) } else { series.labels };
            let points = match windows.extension {
                Extension::None => super::select::window(&series.points, start, end).to_vec(),
                extension => extended(&series.points, (start, end), extension, self.engine.options.lookback)?,
            };
            if !points.is_empty() {
                found.push(Series { labels, points });
            }
        }
        sort_unique(&mut found)?;
        Ok(QueryValue::Matrix(found))
    }

    pub(super) fn range(&mut self, expr: &Expr) -> Result<QueryValue> {
        let grid = self.grid(self.query_start, self.query_end, self.query_step)?;
        let rows = match self.eval(expr, grid)? {
            Out::Scalar(values) => {
                let values = values.into_iter().map(|value| Some(Value::Float(value))).collect();
                vec![Row { labels: Labels::empty(), drop_name: false, values }]
            }
            Out::Text(_) => return failed("a text has no range"),
            Out::Rows(rows) => named(rows)?,
        };
        let mut found: Vec<Series> = rows
            .into_iter()
            .map(|row| Series { labels: row.labels, points: points(row.values, grid) })
            .filter(|series| !series.points.is_empty())
            .collect();
        found.sort_by(|a, b| labels::compare(&a.labels, &b.labels));
        Ok(QueryValue::Matrix(found))
    }

    /// Evaluates at every time of the grid; what does not change, once.
    pub(super) fn eval(&mut self, expr: &Expr, grid: Grid) -> Result<Out> {
        let literal = matches!(expr, Expr::Number(_) | Expr::String(_) | Expr::Vector(_));
        if grid.steps <= 1 || literal || !is_invariant(expr) {
            return self.eval_each(expr, grid);
        }
        let once = Grid { steps: 1, ..grid };
        Ok(match self.eval_each(expr, once)? {
            Out::Scalar(values) => Out::Scalar(vec![values[0]; grid.steps]),
            Out::Text(text) => Out::Text(text),
            Out::Rows(mut rows) => {
                for row in &mut rows {
                    let value = row.values.pop().flatten();
                    self.hold(if value.is_some() { grid.steps - 1 } else { 0 })?;
                    row.values = vec![value; grid.steps];
                }
                Out::Rows(rows)
            }
        })
    }

    fn eval_each(&mut self, expr: &Expr, grid: Grid) -> Result<Out> {
        match expr {
            Expr::Number(number) => Ok(Out::Scalar(vec![number.value; grid.steps])),
            Expr::String(text) => Ok(Out::Text(text.value.clone())),
            Expr::Vector(selector) => {
                Ok(Out::Rows(self.instant_selector(selector, grid, super::select::Reading::Values)?))
            }
            Expr::Matrix(_) | Expr::Subquery(_) => failed("a range vector stands where none can be used"),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, grid).map(Out::Rows),
            Expr::Binary(binary) => self.binary(binary, grid),
            Expr::Unary(unary) => {
                let out = self.eval(&unary.expr, grid)?;
                Ok(if unary.negative { negate(out) } else { out })
            }
            Expr::Call(call) => self.call(call, grid),
            Expr::Paren(paren) => self.eval(&paren.expr, grid),
        }
    }

    pub(super) fn rows(&mut self, expr: &Expr, grid: Grid) -> Result<Vec<Row>> {
        match self.eval(expr, grid)? {
            Out::Rows(rows) => Ok(rows),
            _ => failed("an instant vector was expected"),
        }
    }

    pub(super) fn scalars(&mut self, expr: &Expr, grid: Grid) -> Result<Vec<f64>> {
        match self.eval(expr, grid)? {
            Out::Scalar(values) => Ok(values),
            _ => failed("a scalar was expected"),
        }
    }

    pub(super) fn text(&mut self, expr: &Expr) -> Result<String> {
        match expr.unparenthesised() {
            Expr::String(text) => Ok(text.value.clone()),
            _ => failed("a string was expected"),
        }
    }

    pub(super) fn at(&self, at: Option<At>) -> Option<i64> {
        at.map(|at| match at {
            At::Millis(millis) => millis,
            At::Start => self.query_start,
            At::End => self.query_end,
        })
    }

    /// Milliseconds of a length.
    pub(super) fn millis(&self, length: &Length, may_be_negative: bool) -> Result<i64> {
        let expr = match length {
            Length::Millis(millis) => return Ok(*millis),
            Length::Expr(expr) => expr,
        };
        let seconds = self.seconds(expr)?;
        let span = expr.span();
        let refuse = |what: &str| failed(format!("{}:{}: {what}", span.start, span.end));
        if !seconds.is_finite() {
            return refuse("duration is NaN or infinite");
        }
        if seconds <= 0.0 && !may_be_negative {
            return refuse("duration must be greater than 0");
        }
        if seconds.abs() > 9_223_372_036.0 {
            return refuse("duration is out of range");
        }
        Ok((seconds * 1000.0) as i64)
    }

    fn seconds(&self, expr: &DurationExpr) -> Result<f64> {
        Ok(match expr {
            DurationExpr::Number(number) => number.value,
            DurationExpr::Step(_) => self.query_step as f64 / 1000.0,
            DurationExpr::Range(_) => (self.query_end - self.query_start) as f64 / 1000.0,
            DurationExpr::Negate(expr, _) => -self.seconds(expr)?,
            DurationExpr::Paren(expr, _) => self.seconds(expr)?,
            DurationExpr::MinOf(left, right, _) => self.seconds(left)?.min(self.seconds(right)?),
            DurationExpr::MaxOf(left, right, _) => self.seconds(left)?.max(self.seconds(right)?),
            DurationExpr::Binary(op, left, right) => {
                let (left, right) = (self.seconds(left)?, self.seconds(right)?);
                match op {
                    DurationOp::Add => left + right,
                    DurationOp::Sub => left - right,
                    DurationOp::Mul => left * right,
                    DurationOp::Div if right == 0.0 => return zero(expr.span(), "division by zero"),
                    DurationOp::Div => left / right,
                    DurationOp::Mod if right == 0.0 => return zero(expr.span(), "modulo by zero"),
                    DurationOp::Mod => left % right,
                    DurationOp::Pow => left.powf(right),
                }
            }
        })
    }
}

fn zero<T>(span: Span, what: &str) -> Result<T> {
    failed(format!("{}:{}: {what}", span.start, span.end))
}

fn negate(out: Out) -> Out {
    match out {
        Out::Scalar(values) => Out::Scalar(values.into_iter().map(|value| -value).collect()),
        Out::Text(text) => Out::Text(text),
        Out::Rows(mut rows) => {
            for row in &mut rows {
                row.drop_name = true;
                for value in &mut row.values {
                    *value = value.take().map(|value| match value {
                        Value::Float(float) => Value::Float(-float),
                        Value::Histogram(h) => super::binary::scaled(&h, BinaryOp::Mul, -1.0),
                    });
                }
            }
            Out::Rows(rows)
        }
    }
}

fn extended(points: &[Point], bounds: (i64, i64), extension: Extension, lookback: i64) -> Result<Vec<Point>> {
    let is_smoothed = extension == Extension::Smoothed;
    let until = if is_smoothed { bounds.1 + lookback } else { bounds.1 };
    let window = super::select::window(points, bounds.0 - lookback, until);
    let floats: Vec<(i64, f64)> =
        window.iter().filter_map(|point| Some((point.time, point.value.float()?))).collect();
    if floats.len() < window.len() {
        return failed("native histograms in an extended range are not supported yet");
    }
    let found = super::rate::extended(&floats, bounds, is_smoothed, false).unwrap_or_default();
    Ok(found.into_iter().map(|(time, value)| Point { time, start: 0, value: Value::Float(value) }).collect())
}

pub(super) fn points(values: Vec<Option<Value>>, grid: Grid) -> Vec<Point> {
    let point = |(index, value): (usize, Option<Value>)| {
        Some(Point { time: grid.time(index), start: 0, value: value? })
    };
    values.into_iter().enumerate().filter_map(point).collect()
}

const DUPLICATE: &str = "vector cannot contain metrics with the same labelset";

/// Drops the names that are to be dropped. Rows that then have the same labels become one if they share no step.
pub(super) fn named(rows: Vec<Row>) -> Result<Vec<Row>> {
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(rows.len());
    let mut found: Vec<Row> = Vec::with_capacity(rows.len());
    for mut row in rows {
        if row.drop_name {
            row.labels = labels::without_metadata(&row.labels);
            row.drop_name = false;
        }
        if row.is_empty() {
            continue;
        }
        match places.get(&row.labels) {
            None => {
                places.insert(row.labels.clone(), found.len());
                found.push(row);
            }
            Some(place) => {
                let target = &mut found[*place].values;
                for (into, value) in target.iter_mut().zip(row.values) {
                    match (into.is_some(), value) {
                        (true, Some(_)) => return failed(DUPLICATE),
                        (false, value) => *into = value,
                        (true, None) => {}
                    }
                }
            }
        }
    }
    Ok(found)
}

fn sort_unique(series: &mut [Series]) -> Result<()> {
    series.sort_by(|a, b| labels::compare(&a.labels, &b.labels));
    if series.windows(2).any(|pair| pair[0].labels == pair[1].labels) {
        return failed(DUPLICATE);
    }
    Ok(())
}

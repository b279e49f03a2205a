//! Evaluation of expressions over a source of series.
//!
//! A range query is evaluated series by series: each node of the tree gives rows with one value a step, not one map
//! a step. Samples in memory and steps are limited; the caller's [`Interrupt`] is asked regularly.

mod aggregate;
mod annotations;
mod binary;
mod buckets;
mod call;
mod evaluator;
mod histogram;
mod invariant;
mod labels;
mod over_time;
mod rate;
mod select;
mod sum;

use std::sync::Arc;

use outrigger_model::histogram::Histogram;
use outrigger_model::labels::Labels;

pub use annotations::{Annotation, Severity};

use crate::ast::{Expr, ValueType};
use crate::matcher::Matcher;
use evaluator::Evaluator;

/// What a sample holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

impl Value {
    /// The number, if it is one.
    pub fn float(&self) -> Option<f64> {
        match self {
            Value::Float(value) => Some(*value),
            Value::Histogram(_) => None,
        }
    }

    /// Whether it is the stale marker.
    pub fn is_stale(&self) -> bool {
        match self {
            Value::Float(value) => outrigger_model::sample::is_stale_nan(*value),
            Value::Histogram(histogram) => histogram.is_stale(),
        }
    }
}

/// One sample of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Milliseconds since the epoch.
    pub time: i64,
    /// When the counter began, in milliseconds since the epoch; 0 where that is not known.
    pub start: i64,
    /// What was measured; may be the stale marker in a source, never in a result.
    pub value: Value,
}

/// A series.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Its samples in order of time.
    pub points: Vec<Point>,
}

/// What the evaluator says of the samples that it wants, for sources that can do with less.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    /// The query's step in milliseconds; 0 in an instant query.
    pub step: i64,
    /// The function that the samples go to, if any.
    pub function: Option<&'static str>,
    /// The length of the range in milliseconds; 0 of an instant selector.
    pub range: i64,
}

/// Why a source gave no series.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// A stream of series.
pub type SeriesStream<'a> = Box<dyn Iterator<Item = Result<Series, SourceError>> + 'a>;

/// Where series come from.
pub trait SeriesSource {
    /// The series that fulfil all matchers, in any order, each once, with their samples of `start..=end`
    /// (milliseconds since the epoch) in order of time, stale markers included.
    ///
    /// # Errors
    /// When the series cannot be read.
    fn select(
        &self,
        matchers: &[Matcher],
        start: i64,
        end: i64,
        hints: &Hints,
    ) -> Result<SeriesStream<'_>, SourceError>;
}

/// Says that a query is to end: its deadline is over or its client has gone.
pub trait Interrupt {
    /// Why the query must end now, or `None` to go on.
    fn check(&self) -> Option<Interrupted>;
}

/// Why a query ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupted {
    /// It took too long.
    Timeout,
    /// Nobody waits for it.
    Cancelled,
}

/// Never interrupts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Uninterrupted;

impl Interrupt for Uninterrupted {
    fn check(&self) -> Option<Interrupted> {
        None
    }
}

/// How to evaluate, and how much of the machine it may take.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long a sample counts as current, in milliseconds.
    pub lookback: i64,
    /// The step of subqueries without one, in milliseconds.
    pub subquery_step: i64,
    /// Most samples in memory at a time.
    pub max_samples: usize,
    /// Most steps of a range query or a subquery.
    pub max_steps: usize,
    /// Most series that one selector may give.
    pub max_series: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lookback: 300_000,
            subquery_step: 60_000,
            max_samples: 50_000_000,
            max_steps: 1_000_000,
            max_series: 1_000_000,
        }
    }
}

/// Why a query has no result.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EvalError {
    /// The series could not be read.
    #[error("cannot read series")]
    Source(#[source] SourceError),
    /// The query's own fault, with the words of Prometheus.
    #[error("{0}")]
    Execution(String),
    /// More samples than [`Options::max_samples`].
    #[error("query processing would load too many samples into memory in query execution (limit {0})")]
    TooManySamples(usize),
    /// More series than [`Options::max_series`].
    #[error("a selector gives more than {0} series: make it narrower")]
    TooManySeries(usize),
    /// More steps than [`Options::max_steps`].
    #[error("the query has {steps} steps, and {limit} are accepted: use a longer step or a shorter range")]
    TooManySteps {
        /// Steps asked for.
        steps: i64,
        /// Steps accepted.
        limit: usize,
    },
    /// It took too long.
    #[error("query timed out in expression evaluation")]
    Timeout,
    /// Nobody waits for it.
    #[error("query was canceled in expression evaluation")]
    Cancelled,
}

type Result<T, E = EvalError> = std::result::Result<T, E>;

/// A sample of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The series.
    pub labels: Labels,
    /// The value.
    pub value: Value,
}

/// What a query gives.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryValue {
    /// Of an instant query.
    Scalar(f64),
    /// Of an instant query.
    String(String),
    /// Of an instant query.
    Vector(Vec<Sample>),
    /// Of a range query, or of an instant query for a range vector; sorted by labels.
    Matrix(Vec<Series>),
}

/// A result with what is to be said about it.
#[derive(Debug, Clone)]
pub struct QueryResult {
    /// The result.
    pub value: QueryValue,
    /// Warnings and informations in the order of their discovery, each once.
    pub annotations: Vec<Annotation>,
    /// Most samples that were in memory at a time.
    pub peak_samples: usize,
}

/// Evaluates queries over a source.
pub struct Engine<'a> {
    /// Where series come from.
    pub source: &'a dyn SeriesSource,
    /// How to evaluate.
    pub options: Options,
    /// Asked every few thousand samples.
    pub interrupt: &'a dyn Interrupt,
}

impl Engine<'_> {
    /// Evaluates at one time (milliseconds since the epoch). `text` is what `expr` was parsed from; annotations
    /// give positions in it.
    ///
    /// # Errors
    /// When there is no result.
    pub fn instant(&self, expr: &Expr, text: &str, time: i64) -> Result<QueryResult> {
        let mut evaluator = Evaluator::new(self, text, time, time, 0)?;
        let value = evaluator.instant(expr)?;
        Ok(evaluator.result(value))
    }

    /// Evaluates at `start`, `start + step`, … up to `end` (milliseconds).
    ///
    /// # Errors
    /// When there is no result, `expr` is no scalar or instant vector, or `step` is not positive.
    pub fn range(&self, expr: &Expr, text: &str, start: i64, end: i64, step: i64) -> Result<QueryResult> {
        let kind = expr.value_type();
        if !matches!(kind, ValueType::Scalar | ValueType::Vector) {
            return Err(EvalError::Execution(format!(
                "invalid expression type {} for range query, must be Scalar or instant Vector",
                kind.documented()
            )));
        }
        if step <= 0 {
            return Err(EvalError::Execution("the step of a range query must be positive".to_owned()));
        }
        let mut evaluator = Evaluator::new(self, text, start, end, step)?;
        let value = evaluator.range(expr)?;
        Ok(evaluator.result(value))
    }
}

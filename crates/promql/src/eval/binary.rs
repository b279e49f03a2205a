//! Operators on two sides.

use std::collections::{HashMap, HashSet};

use outrigger_model::histogram::{Counts, Histogram, ResetHint};
use outrigger_model::labels::{Labels, LabelsBuilder};

use super::evaluator::{Evaluator, Grid, Out, Row, failed};
use super::histogram::{Buckets, Keep};
use super::{Result, Value, labels};
use crate::ast::{Binary, BinaryOp, Cardinality, Matching, Span};

/// Whether the result is another metric than the operands.
fn changes_metric(op: BinaryOp) -> bool {
    use BinaryOp::{Add, Atan2, Div, Mod, Mul, Pow, Sub};
    matches!(op, Add | Sub | Div | Mul | Pow | Mod | Atan2)
}

/// A number, and whether a comparison holds.
pub(super) fn floats(op: BinaryOp, left: f64, right: f64) -> (f64, bool) {
    match op {
        BinaryOp::Add => (left + right, true),
        BinaryOp::Sub => (left - right, true),
        BinaryOp::Mul => (left * right, true),
        BinaryOp::Div => (left / right, true),
        BinaryOp::Mod => (left % right, true),
        BinaryOp::Pow => (left.powf(right), true),
        BinaryOp::Atan2 => (left.atan2(right), true),
        BinaryOp::Equal => (left, left == right),
        BinaryOp::NotEqual => (left, left != right),
        BinaryOp::Less => (left, left < right),
        BinaryOp::LessEqual => (left, left <= right),
        BinaryOp::Greater => (left, left > right),
        BinaryOp::GreaterEqual => (left, left >= right),
        _ => (left, false),
    }
}

/// A histogram with every count multiplied or divided.
pub(super) fn scaled(histogram: &Histogram, op: BinaryOp, factor: f64) -> Value {
    let apply = |value: f64| if op == BinaryOp::Div { value / factor } else { value * factor };
    let mut result = histogram.clone();
    result.sum = apply(result.sum);
    result.counts = match &histogram.counts {
        Counts::Float { count, zero, positive, negative } => Counts::Float {
            count: apply(*count),
            zero: apply(*zero),
            positive: positive.iter().copied().map(apply).collect(),
            negative: negative.iter().copied().map(apply).collect(),
        },
        Counts::Integer { count, zero, positive, negative } => {
            let absolute = |deltas: &[i64]| {
                let mut total = 0i64;
                let mut count = |delta: &i64| {
                    total = total.wrapping_add(*delta);
                    apply(total as f64)
                };
                deltas.iter().map(&mut count).collect()
            };
            Counts::Float {
                count: apply(*count as f64),
                zero: apply(*zero as f64),
                positive: absolute(positive),
                negative: absolute(negative),
            }
        }
    };
    if factor < 0.0 {
        result.reset_hint = ResetHint::Gauge;
    }
    _ = result.compact(0);
    Value::Histogram(result.into())
}

/// The labels that decide what matches.
fn signature(row: &Labels, matching: &Matching) -> Labels {
    if matching.on {
        labels::filtered(row, |name| matching.labels.iter().any(|label| label == name))
    } else {
        labels::filtered(row, |name| {
            !labels::is_metadata(name) && !matching.labels.iter().any(|label| label == name)
        })
    }
}

/// A sample of one side at one step.
#[derive(Clone, Copy)]
struct Side<'a> {
    row: usize,
    labels: &'a Labels,
    value: &'a Value,
}

impl Evaluator<'_> {
    pub(super) fn binary(&mut self, node: &Binary, grid: Grid) -> Result<Out> {
        let left = self.eval(&node.left, grid)?;
        let right = self.eval(&node.right, grid)?;
        let rows = match (left, right) {
            (Out::Scalar(left), Out::Scalar(right)) => {
                let value = |(left, right): (&f64, &f64)| match floats(node.op, *left, *right) {
                    (_, holds) if node.op.is_comparison() => f64::from(u8::from(holds)),
                    (value, _) => value,
                };
                return Ok(Out::Scalar(left.iter().zip(&right).map(value).collect()));
            }
            (Out::Rows(rows), Out::Scalar(scalars)) => self.with_scalar(node, rows, &scalars, false)?,
            (Out::Scalar(scalars), Out::Rows(rows)) => self.with_scalar(node, rows, &scalars, true)?,
            (Out::Rows(left), Out::Rows(right)) => {
                let matching = node.matching.clone().unwrap_or_default();
                let rows = if node.op.is_set() {
                    sets(node.op, &matching, &left, &right, grid)
                } else {
                    self.vectors(node, &matching, &left, &right, grid)?
                };
                self.hold_rows(&rows)?;
                self.release_rows(&left);
                self.release_rows(&right);
                rows
            }
            _ => return failed("an operator stands between what is neither scalar nor instant vector"),
        };
        Ok(Out::Rows(rows))
    }

    fn with_scalar(
        &mut self,
        node: &Binary,
        mut rows: Vec<Row>,
        scalars: &[f64],
        swapped: bool,
    ) -> Result<Vec<Row>> {
        let span = node.left.span().to(node.right.span());
        let before: usize = rows.iter().map(Row::samples).sum();
        for row in &mut rows {
            row.drop_name |= changes_metric(node.op) || node.return_bool;
            for (value, scalar) in row.values.iter_mut().zip(scalars) {
                let Some(sample) = value.take() else { continue };
                let scalar = Value::Float(*scalar);
                let (left, right) = if swapped { (&scalar, &sample) } else { (&sample, &scalar) };
                let Some((result, holds)) = self.values(node.op, left, right, span) else { continue };
                *value = match (node.return_bool, holds) {
                    (true, holds) => Some(Value::Float(f64::from(u8::from(holds)))),
                    (false, false) => None,
                    // A comparison keeps the vector's side.
                    (false, true) if node.op.is_comparison() => Some(sample),
                    (false, true) => Some(result),
                };
            }
        }
        let after: usize = rows.iter().map(Row::samples).sum();
        self.release(before - after);
        rows.retain(|row| !row.is_empty());
        self.tick(before)?;
        Ok(rows)
    }

    /// The result of an operator on two values, and whether a comparison holds. None where the two do not go
    /// together, which is noted.
    fn values(&mut self, op: BinaryOp, left: &Value, right: &Value, span: Span) -> Option<(Value, bool)> {
        let incompatible = |evaluator: &mut Self, left: &str, right: &str| {
            let symbol = op.symbol();
            evaluator.notes.info(
                span,
                format!(
                    "incompatible sample types encountered for binary operator \"{symbol}\": {left} {symbol} {right}"
                ),
            );
            None
        };
        match (left, right) {
            (Value::Float(_), Value::Float(_)) if matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower) => {
                incompatible(self, "float", "float")
            }
            (Value::Float(left), Value::Float(right)) => {
                let (value, holds) = floats(op, *left, *right);
                Some((Value::Float(value), holds))
            }
            (Value::Float(factor), Value::Histogram(h)) if op == BinaryOp::Mul => {
                Some((scaled(h, op, *factor), true))
            }
            (Value::Histogram(h), Value::Float(factor)) if matches!(op, BinaryOp::Mul | BinaryOp::Div) => {
                Some((scaled(h, op, *factor), true))
            }
            (Value::Histogram(h), Value::Float(bound))
                if matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower) =>
            {
                let mut buckets = Buckets::of(h);
                buckets.trim(*bound, if op == BinaryOp::TrimUpper { Keep::Below } else { Keep::Above });
                Some((Value::Histogram(buckets.into_histogram().into()), true))
            }
            (Value::Histogram(a), Value::Histogram(b)) if op == BinaryOp::Equal => {
                Some((left.clone(), a == b))
            }
            (Value::Histogram(a), Value::Histogram(b)) if op == BinaryOp::NotEqual => {
                Some((left.clone(), a != b))
            }
            (Value::Histogram(a), Value::Histogram(b)) if matches!(op, BinaryOp::Add | BinaryOp::Sub) => {
                self.combined_histograms(op, a, b, span).map(|value| (value, true))
            }
            (Value::Float(_), Value::Histogram(_)) => incompatible(self, "float", "histogram"),
            (Value::Histogram(_), Value::Float(_)) => incompatible(self, "histogram", "float"),
            (Value::Histogram(_), Value::Histogram(_)) => incompatible(self, "histogram", "histogram"),
        }
    }

    fn combined_histograms(
        &mut self,
        op: BinaryOp,
        a: &Histogram,
        b: &Histogram,
        span: Span,
    ) -> Option<Value> {
        let subtracts = op == BinaryOp::Sub;
        let operation = if subtracts { "subtraction" } else { "addition" };
        let (mut result, other) = (Buckets::of(a), Buckets::of(b));
        let hints = [result.hint, other.hint];
        match result.combine(&other, if subtracts { -1.0 } else { 1.0 }) {
            Err(_) => {
                let symbol = op.symbol();
                self.notes.warn(
                    span,
                    format!("incompatible bucket layout encountered for binary operator {symbol}"),
                );
                return None;
            }
            Ok(true) => {
                self.notes
                    .info(span, format!("mismatched custom buckets were reconciled during {operation}"));
            }
            Ok(false) => {}
        }
        if hints.contains(&ResetHint::Reset) && hints.contains(&ResetHint::NoReset) {
            self.notes.warn(span, format!("conflicting counter resets during histogram {operation}"));
        }
        if subtracts || hints.contains(&ResetHint::Gauge) {
            result.hint = ResetHint::Gauge;
        } else if hints[0] != hints[1] {
            result.hint = ResetHint::Unknown;
        }
        Some(Value::Histogram(result.into_histogram().into()))
    }

    fn vectors(
        &mut self,
        node: &Binary,
        matching: &Matching,
        left: &[Row],
        right: &[Row],
        grid: Grid,
    ) -> Result<Vec<Row>> {
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        // `fill_left` is for the many side also where that is the right one, as in the version that is copied.
        let (fill_many, fill_one) = (matching.fill_left, matching.fill_right);
        let mut join = Join::new(node, matching, many, one);
        for step in 0..grid.steps {
            join.start_step();
            let one_side = join.one_side(one, step)?;
            for (row, signature) in many
                .iter()
                .zip(&join.many_signatures.clone())
                .enumerate()
                .map(|(index, (row, signature))| ((index, row), *signature))
            {
                let (index, row) = row;
                let Some(value) = &row.values[step] else { continue };
                let many_side = Side { row: index, labels: &row.labels, value };
                let filled;
                let filled_labels;
                let other = match (one_side.get(&signature), fill_one) {
                    (Some(index), _) => Side {
                        row: *index,
                        labels: &one[*index].labels,
                        value: one[*index].values[step].as_ref().expect("the one side has a sample here"),
                    },
                    (None, Some(fill)) => {
                        filled = Value::Float(fill);
                        filled_labels = matched_labels(&row.labels, matching);
                        Side { row: usize::MAX, labels: &filled_labels, value: &filled }
                    }
                    (None, None) => continue,
                };
                self.pair(&mut join, (many_side, other), signature, step, grid)?;
            }
            let Some(fill) = fill_many else { continue };
            for (index, row) in one.iter().enumerate() {
                let Some(value) = &row.values[step] else { continue };
                let signature = join.one_signatures[index];
                if join.matched.contains(&signature) {
                    continue;
                }
                let (filled, labels) = (Value::Float(fill), matched_labels(&row.labels, matching));
                let many_side = Side { row: usize::MAX, labels: &labels, value: &filled };
                let other = Side { row: index, labels: &row.labels, value };
                self.pair(&mut join, (many_side, other), signature, step, grid)?;
            }
        }
        self.tick(grid.steps * (many.len() + one.len()))?;
        Ok(join.rows)
    }

    fn pair(
        &mut self,
        join: &mut Join<'_>,
        (many, one): (Side<'_>, Side<'_>),
        signature: usize,
        step: usize,
        grid: Grid,
    ) -> Result<()> {
        let node = join.node;
        let swapped = join.matching.cardinality == Cardinality::OneToMany;
        let (left, right) = if swapped { (one.value, many.value) } else { (many.value, one.value) };
        let span = node.left.span().to(node.right.span());
        let Some((mut value, holds)) = self.values(node.op, left, right, span) else { return Ok(()) };
        if node.return_bool {
            value = Value::Float(f64::from(u8::from(holds)));
        }
        let place = join.place(many, one);
        let first = join.matched.insert(signature);
        if join.matching.cardinality == Cardinality::OneToOne {
            if !first {
                return failed(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                );
            }
        } else if !join.given.insert((signature, place)) {
            return failed("multiple matches for labels: grouping labels must ensure unique matches");
        }
        if holds || node.return_bool {
            let row = &mut join.rows[place];
            row.values.resize(grid.steps, None);
            row.drop_name |= node.return_bool;
            // Rows of other signatures that end with the same labels are told apart at the end.
            if row.values[step].is_some() {
                join.rows.push(Row {
                    labels: join.rows[place].labels.clone(),
                    drop_name: node.return_bool,
                    values: vec![None; grid.steps],
                });
                let last = join.rows.len() - 1;
                join.rows[last].values[step] = Some(value);
            } else {
                row.values[step] = Some(value);
            }
        }
        Ok(())
    }
}

fn matched_labels(row: &Labels, matching: &Matching) -> Labels {
    signature(row, matching)
}

/// The state of one operator between two vectors.
struct Join<'a> {
    node: &'a Binary,
    matching: &'a Matching,
    many_signatures: Vec<usize>,
    one_signatures: Vec<usize>,
    /// Signatures that have matched in this step.
    matched: HashSet<usize>,
    /// What has a result in this step.
    given: HashSet<(usize, usize)>,
    /// Result rows by the rows that they come from.
    by_pair: HashMap<(usize, usize, Labels), usize>,
    by_labels: HashMap<Labels, usize>,
    rows: Vec<Row>,
}

impl<'a> Join<'a> {
    fn new(node: &'a Binary, matching: &'a Matching, many: &[Row], one: &[Row]) -> Self {
        let mut numbers: HashMap<Labels, usize> = HashMap::new();
        let mut number = |row: &Row| {
            let next = numbers.len();
            *numbers.entry(signature(&row.labels, matching)).or_insert(next)
        };
        let many_signatures = many.iter().map(&mut number).collect();
        let one_signatures = one.iter().map(&mut number).collect();
        Self {
            node,
            matching,
            many_signatures,
            one_signatures,
            matched: HashSet::new(),
            given: HashSet::new(),
            by_pair: HashMap::new(),
            by_labels: HashMap::new(),
            rows: Vec::new(),
        }
    }

    fn start_step(&mut self) {
        self.matched.clear();
        self.given.clear();
    }

    /// The row of each signature on the one side.
    fn one_side(&self, one: &[Row], step: usize) -> Result<HashMap<usize, usize>> {
        let mut found = HashMap::with_capacity(one.len());
        for (index, row) in one.iter().enumerate().filter(|(_, row)| row.values[step].is_some()) {
            let Some(other) = found.insert(self.one_signatures[index], index) else { continue };
            let side = if self.matching.cardinality == Cardinality::OneToMany { "left" } else { "right" };
            let group = labels::print(&matched_labels(&row.labels, self.matching));
            let mut pair = [labels::print(&row.labels), labels::print(&one[other].labels)];
            pair.sort();
            return failed(format!(
                "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                pair[0], pair[1]
            ));
        }
        Ok(found)
    }

    /// The result row of a pair.
    fn place(&mut self, many: Side<'_>, one: Side<'_>) -> usize {
        let filled = if many.row == usize::MAX || one.row == usize::MAX {
            many.labels.clone()
        } else {
            Labels::empty()
        };
        let key = (many.row, one.row, filled);
        if let Some(place) = self.by_pair.get(&key) {
            return *place;
        }
        let labels = result_labels(self.node.op, self.matching, many.labels, one.labels);
        let rows = &mut self.rows;
        let place = *self.by_labels.entry(labels.clone()).or_insert_with(|| {
            rows.push(Row { labels, drop_name: false, values: Vec::new() });
            rows.len() - 1
        });
        self.by_pair.insert(key, place);
        place
    }
}

fn result_labels(op: BinaryOp, matching: &Matching, many: &Labels, one: &Labels) -> Labels {
    let mut builder = LabelsBuilder::from_labels(many);
    if changes_metric(op) {
        builder.retain(|name, _| !labels::is_metadata(name));
    }
    if matching.cardinality == Cardinality::OneToOne {
        builder.retain(|name, _| matching.labels.iter().any(|label| label == name) == matching.on);
    }
    for name in &matching.include {
        builder.set(name, one.get(name).unwrap_or(""));
    }
    builder.build()
}

fn sets(op: BinaryOp, matching: &Matching, left: &[Row], right: &[Row], grid: Grid) -> Vec<Row> {
    let mut numbers: HashMap<Labels, usize> = HashMap::new();
    let mut number = |row: &Row| {
        let next = numbers.len();
        *numbers.entry(signature(&row.labels, matching)).or_insert(next)
    };
    let left_numbers: Vec<usize> = left.iter().map(&mut number).collect();
    let right_numbers: Vec<usize> = right.iter().map(&mut number).collect();
    let present = |rows: &[Row], of: &[usize]| {
        let mut present = vec![false; grid.steps * numbers.len()];
        for (row, number) in rows.iter().zip(of) {
            for step in (0..grid.steps).filter(|step| row.values[*step].is_some()) {
                present[step * numbers.len() + number] = true;
            }
        }
        present
    };
    let in_left = present(left, &left_numbers);
    let in_right = present(right, &right_numbers);
    let kept = |row: &Row, number: usize, other: &[bool], wanted: bool| {
        let mut row = row.clone();
        for (step, value) in row.values.iter_mut().enumerate() {
            if other[step * numbers.len() + number] != wanted {
                *value = None;
            }
        }
        row
    };
    let of_left = left.iter().zip(&left_numbers);
    let mut rows: Vec<Row> = match op {
        BinaryOp::And => of_left.map(|(row, number)| kept(row, *number, &in_right, true)).collect(),
        BinaryOp::Unless => of_left.map(|(row, number)| kept(row, *number, &in_right, false)).collect(),
        _ => {
            let of_right = right.iter().zip(&right_numbers);
            let added = of_right.map(|(row, number)| kept(row, *number, &in_left, false));
            left.iter().cloned().chain(added).collect()
        }
    };
    rows.retain(|row| !row.is_empty());
    rows
}

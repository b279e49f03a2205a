//! Aggregations over series.

use std::collections::HashMap;

use outrigger_model::histogram::{Histogram, ResetHint};
use outrigger_model::labels::{Labels, LabelsBuilder};

use super::evaluator::{Evaluator, Grid, Row, failed};
use super::histogram::{Buckets, Incompatible};
use super::sum::{Mean, Sum, quantile};
use super::{Result, Value, labels};
use crate::ast::{Aggregate, AggregateOp, Expr, Span};

impl Evaluator<'_> {
    pub(super) fn aggregate(&mut self, node: &Aggregate, grid: Grid) -> Result<Vec<Row>> {
        let parameters = match (&node.parameter, node.op) {
            (Some(parameter), op) if op != AggregateOp::CountValues => Some(self.scalars(parameter, grid)?),
            _ => None,
        };
        let input = self.rows(&node.expr, grid)?;
        let output = match (node.op, &node.parameter) {
            (AggregateOp::CountValues, Some(parameter)) => {
                self.count_values(node, parameter, &input, grid)?
            }
            (op, _) if op.selects() => {
                self.select_rows(node, &input, &parameters.unwrap_or_default(), grid)?
            }
            _ => self.combine(node, &input, parameters.as_deref(), grid)?,
        };
        self.hold_rows(&output)?;
        self.release_rows(&input);
        Ok(output)
    }

    fn combine(
        &mut self,
        node: &Aggregate,
        input: &[Row],
        parameters: Option<&[f64]>,
        grid: Grid,
    ) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        if let (AggregateOp::Quantile, Some(parameters), Some(parameter)) =
            (node.op, parameters, &node.parameter)
        {
            for q in parameters {
                if !(0.0..=1.0).contains(q) {
                    self.notes.warn(
                        parameter.span(),
                        format!(
                            "quantile value should be between 0 and 1, got {}",
                            super::call::go_float(*q)
                        ),
                    );
                }
            }
        }
        for group in groups(node, input) {
            let mut values = Vec::with_capacity(grid.steps);
            for step in 0..grid.steps {
                let members = group.members.iter().filter_map(|row| input[*row].values[step].as_ref());
                let parameter = parameters.map_or(0.0, |parameters| parameters[step]);
                values.push(self.combined(node, members, parameter)?);
            }
            let row = Row { labels: group.labels, drop_name: group.drop_name, values };
            if !row.is_empty() {
                rows.push(row);
            }
        }
        Ok(rows)
    }

    fn combined<'v>(
        &mut self,
        node: &Aggregate,
        members: impl Iterator<Item = &'v Value> + Clone,
        parameter: f64,
    ) -> Result<Option<Value>> {
        let count = members.clone().count();
        if count == 0 {
            return Ok(None);
        }
        match node.op {
            AggregateOp::Group => return Ok(Some(Value::Float(1.0))),
            AggregateOp::Count => return Ok(Some(Value::Float(count as f64))),
            _ => {}
        }
        let floats: Vec<f64> = members.clone().filter_map(Value::float).collect();
        if floats.len() < count {
            if matches!(node.op, AggregateOp::Sum | AggregateOp::Avg) {
                if !floats.is_empty() {
                    self.notes
                        .warn(node.expr.span(), "encountered a mix of histograms and floats for aggregation");
                    return Ok(None);
                }
                let histograms = members.filter_map(|value| match value {
                    Value::Histogram(histogram) => Some(&**histogram),
                    Value::Float(_) => None,
                });
                return Ok(self.total(
                    histograms,
                    node.op == AggregateOp::Avg,
                    node.expr.span(),
                    "aggregation",
                    "",
                ));
            }
            self.notes.info(node.expr.span(), format!("ignored histogram in {} aggregation", node.op.name()));
        }
        if floats.is_empty() {
            return Ok(None);
        }
        Ok(Some(Value::Float(match node.op {
            AggregateOp::Sum => {
                let mut sum = Sum::default();
                floats.iter().for_each(|value| sum.add(*value));
                sum.value()
            }
            AggregateOp::Avg => mean(&floats),
            AggregateOp::Max => floats
                .iter()
                .fold(f64::NAN, |best, value| if *value > best || best.is_nan() { *value } else { best }),
            AggregateOp::Min => floats
                .iter()
                .fold(f64::NAN, |best, value| if *value < best || best.is_nan() { *value } else { best }),
            AggregateOp::Stdvar => variance(&floats),
            AggregateOp::Stddev => variance(&floats).sqrt(),
            _ => quantile(parameter, &mut { floats }),
        })))
    }

    /// The sum or the mean of native histograms.
    pub(super) fn total<'h>(
        &mut self,
        histograms: impl Iterator<Item = &'h Histogram>,
        is_mean: bool,
        span: Span,
        operation: &str,
        name: &str,
    ) -> Option<Value> {
        let mut total: Option<Buckets> = None;
        let (mut count, mut resets, mut others) = (0.0, false, false);
        for histogram in histograms {
            count += 1.0;
            resets |= histogram.reset_hint == ResetHint::Reset;
            others |= histogram.reset_hint == ResetHint::NoReset;
            let buckets = Buckets::of(histogram);
            let Some(sum) = &mut total else {
                total = Some(buckets);
                continue;
            };
            if buckets.hint != sum.hint {
                sum.hint = if buckets.hint == ResetHint::Gauge || sum.hint == ResetHint::Gauge {
                    ResetHint::Gauge
                } else {
                    ResetHint::Unknown
                };
            }
            match sum.combine(&buckets, 1.0) {
                Err(Incompatible) => {
                    self.notes.warn(span, format!("vector contains a mix of histograms with exponential and custom buckets schemas for metric name {name:?}"));
                    return None;
                }
                Ok(true) => {
                    self.notes
                        .info(span, format!("mismatched custom buckets were reconciled during {operation}"));
                }
                Ok(false) => {}
            }
        }
        if resets && others {
            self.notes.warn(span, format!("conflicting counter resets during histogram {operation}"));
        }
        let mut total = total?;
        if is_mean {
            total.scale(1.0 / count);
        }
        Some(Value::Histogram(total.into_histogram().into()))
    }

    fn count_values(
        &mut self,
        node: &Aggregate,
        parameter: &Expr,
        input: &[Row],
        grid: Grid,
    ) -> Result<Vec<Row>> {
        let label = self.text(parameter)?;
        if label.is_empty() {
            return failed("invalid label name \"\"");
        }
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut rows: Vec<Row> = Vec::new();
        for (step, row, value) in (0..grid.steps).flat_map(|step| {
            input.iter().filter_map(move |row| Some((step, row, row.values[step].as_ref()?)))
        }) {
            let text = match value {
                Value::Float(value) => crate::ast::format_float(*value),
                Value::Histogram(_) => {
                    return failed("count_values of native histograms is not supported yet");
                }
            };
            let mut builder = LabelsBuilder::from_labels(&group_labels(node, &row.labels));
            builder.set(&label, &text);
            let labels = builder.build();
            let place = *places.entry(labels.clone()).or_insert(rows.len());
            if place == rows.len() {
                rows.push(Row { labels, drop_name: row.drop_name, values: vec![None; grid.steps] });
            }
            let before = rows[place].values[step].as_ref().and_then(Value::float).unwrap_or(0.0);
            rows[place].values[step] = Some(Value::Float(before + 1.0));
        }
        Ok(rows)
    }

    fn select_rows(
        &mut self,
        node: &Aggregate,
        input: &[Row],
        parameters: &[f64],
        grid: Grid,
    ) -> Result<Vec<Row>> {
        let mut output: Vec<Row> =
            input.iter().map(|row| Row { values: vec![None; grid.steps], ..row.clone() }).collect();
        let mut order = Vec::new();
        let groups = groups(node, input);
        for (step, parameter) in parameters.iter().enumerate() {
            let parameter = self.selection_size(node, *parameter)?;
            for group in &groups {
                let members: Vec<usize> =
                    group.members.iter().copied().filter(|row| input[*row].values[step].is_some()).collect();
                for row in self.selected_members(node, input, members, step, parameter) {
                    output[row].values[step].clone_from(&input[row].values[step]);
                    order.push(row);
                }
            }
        }
        if grid.steps == 1 && matches!(node.op, AggregateOp::Topk | AggregateOp::Bottomk) {
            return Ok(order.into_iter().map(|row| output[row].clone()).collect());
        }
        output.retain(|row| !row.is_empty());
        Ok(output)
    }

    fn selection_size(&mut self, node: &Aggregate, parameter: f64) -> Result<f64> {
        let span = node.parameter.as_ref().map_or(node.span, |parameter| parameter.span());
        if node.op == AggregateOp::LimitRatio {
            if parameter.is_nan() {
                return failed("Ratio value is NaN");
            }
            if parameter.abs() > 1.0 {
                let capped = parameter.signum();
                self.notes.warn(
                    span,
                    format!(
                        "ratio value should be between -1 and 1, got {}, capping to {capped}",
                        super::call::go_float(parameter)
                    ),
                );
                return Ok(capped);
            }
            return Ok(parameter);
        }
        if parameter.is_nan() {
            return failed("Parameter value is NaN");
        }
        if parameter >= i64::MAX as f64 {
            return failed(format!("Scalar value {} overflows int64", crate::ast::format_float(parameter)));
        }
        if parameter <= i64::MIN as f64 {
            return failed(format!("Scalar value {} underflows int64", crate::ast::format_float(parameter)));
        }
        Ok(parameter.trunc())
    }

    fn selected_members(
        &mut self,
        node: &Aggregate,
        input: &[Row],
        mut members: Vec<usize>,
        step: usize,
        parameter: f64,
    ) -> Vec<usize> {
        let float = |row: usize| input[row].values[step].as_ref().and_then(Value::float);
        match node.op {
            AggregateOp::Limitk => {
                members.truncate(if parameter < 1.0 { 0 } else { parameter as usize });
                members
            }
            AggregateOp::LimitRatio => {
                members.retain(|row| in_ratio(&input[*row].labels, parameter));
                members
            }
            _ => {
                let before = members.len();
                members.retain(|row| float(*row).is_some());
                if members.len() < before {
                    let message = format!("ignored histogram in {} aggregation", node.op.name());
                    self.notes.info(node.expr.span(), message);
                }
                let key = |row: &usize| float(*row).unwrap_or(f64::NAN);
                let greatest_first = node.op == AggregateOp::Topk;
                members.sort_by(|a, b| by_value(key(a), key(b), greatest_first));
                members.truncate(if parameter < 1.0 { 0 } else { parameter as usize });
                members
            }
        }
    }
}

/// NaN comes last either way.
pub(super) fn by_value(a: f64, b: f64, greatest_first: bool) -> std::cmp::Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Greater,
        (false, true) => std::cmp::Ordering::Less,
        _ if greatest_first => b.partial_cmp(&a).unwrap_or(std::cmp::Ordering::Equal),
        _ => a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal),
    }
}

/// Whether a series belongs to this share of all, by the hash of its labels.
fn in_ratio(labels: &Labels, ratio: f64) -> bool {
    let offset = labels.hash64() as f64 / u64::MAX as f64;
    (ratio >= 0.0 && offset < ratio) || (ratio < 0.0 && offset >= 1.0 + ratio)
}

pub(super) fn mean(values: &[f64]) -> f64 {
    let mut mean = Mean::default();
    values.iter().for_each(|value| mean.add(*value));
    mean.value()
}

/// The variance of all values (not of a sample).
pub(super) fn variance(values: &[f64]) -> f64 {
    let mut count = 0.0;
    let mut mean = Sum::default();
    let mut squares = Sum::default();
    for value in values {
        count += 1.0;
        let delta = value - mean.value();
        mean.add(delta / count);
        squares.add(delta * (value - mean.value()));
    }
    squares.value() / count
}

struct Group {
    labels: Labels,
    drop_name: bool,
    members: Vec<usize>,
}

fn group_labels(node: &Aggregate, labels: &Labels) -> Labels {
    let listed = |name: &str| node.grouping.iter().any(|label| label == name);
    if node.without {
        labels::filtered(labels, |name| !listed(name) && !labels::is_metadata(name))
    } else if node.grouping.is_empty() {
        Labels::empty()
    } else {
        labels::filtered(labels, listed)
    }
}

fn groups(node: &Aggregate, input: &[Row]) -> Vec<Group> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for (index, row) in input.iter().enumerate() {
        let labels = group_labels(node, &row.labels);
        let place = *places.entry(labels.clone()).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Group { labels, drop_name: false, members: Vec::new() });
        }
        groups[place].drop_name |= row.drop_name;
        groups[place].members.push(index);
    }
    groups
}

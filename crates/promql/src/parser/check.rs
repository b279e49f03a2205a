//! Types and other rules that the grammar cannot express (Prometheus `promql/parser/parse.go`, `checkAST`).

use super::{Result, problem};
use crate::ast::{
    Aggregate, Binary, Call, Cardinality, Expr, Span, Subquery, Unary, ValueType, VectorSelector,
};
use crate::quote::quote;

/// Checks an expression, and notes of its operators whether they match series and how.
pub(super) fn check(expr: &mut Expr) -> Result<()> {
    match expr {
        Expr::Number(_) | Expr::String(_) => Ok(()),
        Expr::Vector(node) => check_selector(node, false),
        Expr::Matrix(node) => check_selector(&node.selector, false),
        Expr::Subquery(node) => check_subquery(node),
        Expr::Aggregate(node) => check_aggregate(node),
        Expr::Binary(node) => check_binary(node),
        Expr::Unary(node) => check_unary(node),
        Expr::Call(node) => check_call(node),
        Expr::Paren(node) => check(&mut node.expr),
    }
}

fn expect_type(expr: &mut Expr, wanted: ValueType, context: &str) -> Result<()> {
    check(expr)?;
    let found = expr.value_type();
    if found == wanted {
        return Ok(());
    }
    problem(
        expr.span(),
        format!("expected type {} in {context}, got {}", wanted.documented(), found.documented()),
    )
}

fn check_selector(node: &VectorSelector, may_be_empty: bool) -> Result<()> {
    if !node.name.is_empty() {
        let (_, others) = node.matchers.split_last().expect("a name is the last matcher");
        return match others.iter().find(|matcher| matcher.is_metric_name()) {
            Some(other) => problem(
                node.span,
                format!(
                    "metric name must not be set twice: {} or {}",
                    quote(&node.name),
                    quote(other.value())
                ),
            ),
            None => Ok(()),
        };
    }
    if may_be_empty || node.matchers.iter().any(|matcher| !matcher.matches("")) {
        return Ok(());
    }
    problem(node.span, "vector selector must contain at least one non-empty matcher")
}

fn check_subquery(node: &mut Subquery) -> Result<()> {
    check(&mut node.expr)?;
    match node.expr.value_type() {
        ValueType::Vector => Ok(()),
        other => problem(
            node.span,
            format!("subquery is only allowed on instant vector, got {} instead", other.name()),
        ),
    }
}

fn check_aggregate(node: &mut Aggregate) -> Result<()> {
    expect_type(&mut node.expr, ValueType::Vector, "aggregation expression")?;
    match (node.op.parameter(), &mut node.parameter) {
        (Some(wanted), Some(parameter)) => expect_type(parameter, wanted, "aggregation parameter"),
        _ => Ok(()),
    }
}

fn check_unary(node: &mut Unary) -> Result<()> {
    check(&mut node.expr)?;
    match node.expr.value_type() {
        ValueType::Scalar | ValueType::Vector => Ok(()),
        other => problem(
            node.span,
            format!(
                "unary expression only allowed on expressions of type scalar or instant vector, got {}",
                quote(other.documented())
            ),
        ),
    }
}

fn check_binary(node: &mut Binary) -> Result<()> {
    check(&mut node.left)?;
    check(&mut node.right)?;
    let (left, right) = (node.left.value_type(), node.right.value_type());
    let whole = node.left.span().to(node.right.span());
    if node.return_bool && !node.op.is_comparison() {
        return problem(node.op_span, "bool modifier can only be used on comparison operators");
    }
    let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
    if node.op.is_comparison() && !node.return_bool && scalars {
        return problem(node.op_span, "comparisons between scalars must use BOOL modifier");
    }
    check_matching_labels(node)?;
    for side in [&node.left, &node.right] {
        if !matches!(side.value_type(), ValueType::Scalar | ValueType::Vector) {
            return problem(
                side.span(),
                "binary expression must contain only scalar and instant vector types",
            );
        }
    }
    if left == ValueType::Vector && right == ValueType::Vector {
        return if node.op.is_set() { check_set(node, whole) } else { Ok(()) };
    }
    if let Some(matching) = node.matching.take() {
        if !matching.labels.is_empty() {
            return problem(whole, "vector matching only allowed between instant vectors");
        }
        if matching.fill_left.is_some() || matching.fill_right.is_some() {
            return problem(whole, "filling in missing series only allowed between instant vectors");
        }
    }
    if node.op.is_set() {
        let operator = quote(node.op.symbol());
        return problem(whole, format!("set operator {operator} not allowed in binary scalar expression"));
    }
    Ok(())
}

fn check_matching_labels(node: &Binary) -> Result<()> {
    let Some(matching) = &node.matching else { return Ok(()) };
    match matching.labels.iter().find(|label| matching.on && matching.include.contains(label)) {
        Some(label) => problem(
            node.op_span,
            format!("label {} must not occur in ON and GROUP clause at once", quote(label)),
        ),
        None => Ok(()),
    }
}

fn check_set(node: &mut Binary, whole: Span) -> Result<()> {
    let Some(matching) = &mut node.matching else { return Ok(()) };
    if matching.cardinality != Cardinality::OneToOne && matching.cardinality != Cardinality::ManyToMany {
        return problem(whole, format!("no grouping allowed for {} operation", quote(node.op.symbol())));
    }
    if matching.fill_left.is_some() || matching.fill_right.is_some() {
        return problem(whole, "filling in missing series not allowed for set operators");
    }
    matching.cardinality = Cardinality::ManyToMany;
    Ok(())
}

fn check_call(node: &mut Call) -> Result<()> {
    let function = node.function;
    let (types, given) = (function.arguments.len(), node.arguments.len());
    let called = format!("call to {}", quote(function.name));
    let count = |text: String| problem(node.span, text);
    if function.variadic == 0 && types != given {
        return count(format!("expected {types} argument(s) in {called}, got {given}"));
    }
    if function.variadic != 0 {
        let least = types - 1;
        if given < least {
            return count(format!("expected at least {least} argument(s) in {called}, got {given}"));
        }
        let most = usize::try_from(function.variadic).map_or(usize::MAX, |variadic| least + variadic);
        if given > most {
            return count(format!("expected at most {most} argument(s) in {called}, got {given}"));
        }
    }
    let context = format!("call to function {}", quote(function.name));
    for (at, argument) in node.arguments.iter_mut().enumerate() {
        if function.name == "info" && at == 1 {
            check_info_labels(argument, &context, node.span)?;
            continue;
        }
        let wanted = function.arguments[at.min(types - 1)];
        expect_type(argument, wanted, &context)?;
    }
    Ok(())
}

/// The second argument of `info` is a selector without a metric name, whatever its conditions.
fn check_info_labels(argument: &Expr, context: &str, call: Span) -> Result<()> {
    let found = argument.value_type();
    match argument {
        _ if found != ValueType::Vector => {
            problem(call, format!("expected type instant vector in {context}, got {}", found.documented()))
        }
        Expr::Vector(selector) if !selector.name.is_empty() => {
            problem(selector.span, "expected label selectors only, got vector selector instead")
        }
        Expr::Vector(selector) => check_selector(selector, true),
        other => problem(other.span(), "expected label selectors only"),
    }
}

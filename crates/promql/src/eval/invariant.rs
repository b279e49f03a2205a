//! Expressions whose value is the same at every step.

use crate::ast::Expr;

/// Functions whose result depends on the time of evaluation even where their arguments do not.
const TIMED: [&str; 13] = [
    "time",
    "timestamp",
    "predict_linear",
    "info",
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "hour",
    "minute",
    "month",
    "year",
    "start_timestamp",
];

/// Whether evaluating once is enough.
pub(super) fn is_invariant(expr: &Expr) -> bool {
    match expr {
        Expr::Number(_) | Expr::String(_) => true,
        Expr::Vector(selector) => selector.at.is_some(),
        Expr::Matrix(matrix) => matrix.selector.at.is_some(),
        Expr::Subquery(subquery) => subquery.at.is_some(),
        Expr::Call(call) if TIMED.contains(&call.function.name) => false,
        other => other.children().into_iter().all(is_invariant),
    }
}

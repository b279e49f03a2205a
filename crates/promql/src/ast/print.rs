//! The canonical text of a tree (Prometheus `promql/parser/printer.go`). Parsing it gives the same tree.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use outrigger_model::duration;
use outrigger_model::names::NameValidation;

use super::{
    Aggregate, At, Binary, Cardinality, DurationExpr, DurationOp, Expr, Extension, Length, Matching,
    MatrixSelector, NumberLiteral, Subquery, VectorSelector,
};
use crate::matcher::MatchOp;
use crate::quote::quote;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Number(node) => node.fmt(f),
            Expr::String(node) => f.write_str(&quote(&node.value)),
            Expr::Vector(node) => node.fmt(f),
            Expr::Matrix(node) => node.fmt(f),
            Expr::Subquery(node) => node.fmt(f),
            Expr::Aggregate(node) => node.fmt(f),
            Expr::Binary(node) => node.fmt(f),
            Expr::Unary(node) => write!(f, "{}{}", if node.negative { "-" } else { "+" }, node.expr),
            Expr::Call(node) => {
                write!(f, "{}({})", node.function.name, separated(&node.arguments))
            }
            Expr::Paren(node) => write!(f, "({})", node.expr),
        }
    }
}

fn separated<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A number as `strconv.FormatFloat(v, 'f', -1, 64)` writes it.
pub(crate) fn format_float(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    value.to_string()
}

fn format_millis(millis: i64) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    format!("{sign}{}", duration::format(Duration::from_millis(millis.unsigned_abs())))
}

impl Display for NumberLiteral {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_duration {
            return f.write_str(&format_millis((self.value * 1000.0).round() as i64));
        }
        f.write_str(&format_float(self.value))
    }
}

impl Display for Length {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Length::Millis(millis) => f.write_str(&format_millis(*millis)),
            Length::Expr(expr) => expr.fmt(f),
        }
    }
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            DurationExpr::Number(number) => number.fmt(f),
            DurationExpr::Step(_) => f.write_str("step()"),
            DurationExpr::Range(_) => f.write_str("range()"),
            DurationExpr::Negate(expr, _) => write!(f, "-{expr}"),
            DurationExpr::Binary(op, left, right) => write!(f, "{left} {} {right}", op.symbol()),
            DurationExpr::MinOf(left, right, _) => write!(f, "min_of({left}, {right})"),
            DurationExpr::MaxOf(left, right, _) => write!(f, "max_of({left}, {right})"),
            DurationExpr::Paren(expr, _) => write!(f, "({expr})"),
        }
    }
}

impl DurationOp {
    fn symbol(self) -> &'static str {
        match self {
            DurationOp::Add => "+",
            DurationOp::Sub => "-",
            DurationOp::Mul => "*",
            DurationOp::Div => "/",
            DurationOp::Mod => "%",
            DurationOp::Pow => "^",
        }
    }
}

fn label_list(labels: &[String]) -> String {
    let name = |label: &String| {
        if NameValidation::Legacy.is_label_name(label) { label.clone() } else { quote(label) }
    };
    labels.iter().map(name).collect::<Vec<_>>().join(", ")
}

struct AtText(Option<At>);

impl Display for AtText {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(At::Millis(millis)) => {
                let sign = if millis < 0 { "-" } else { "" };
                let millis = millis.unsigned_abs();
                write!(f, " @ {sign}{}.{:03}", millis / 1000, millis % 1000)
            }
            Some(At::Start) => f.write_str(" @ start()"),
            Some(At::End) => f.write_str(" @ end()"),
        }
    }
}

struct OffsetText<'a>(Option<&'a Length>);

impl Display for OffsetText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            None | Some(Length::Millis(0)) => Ok(()),
            Some(offset) => write!(f, " offset {offset}"),
        }
    }
}

impl Extension {
    fn text(self) -> &'static str {
        match self {
            Extension::None => "",
            Extension::Anchored => " anchored",
            Extension::Smoothed => " smoothed",
        }
    }
}

impl VectorSelector {
    /// Name and matchers, without modifiers.
    fn write_selection(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let shown = |matcher: &&crate::matcher::Matcher| {
            let by_name = matcher.is_metric_name()
                && matcher.op() == MatchOp::Equal
                && matcher.value() == self.name
                && !matcher.value().is_empty();
            !by_name
        };
        let mut matchers: Vec<String> = self.matchers.iter().filter(shown).map(ToString::to_string).collect();
        f.write_str(&self.name)?;
        if !matchers.is_empty() {
            matchers.sort();
            write!(f, "{{{}}}", matchers.join(","))?;
        } else if self.name.is_empty() {
            // Only `info` takes a selector without any condition.
            f.write_str("{}")?;
        }
        Ok(())
    }
}

impl Display for VectorSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write_selection(f)?;
        let offset = OffsetText(self.offset.as_ref());
        write!(f, "{}{}{offset}", AtText(self.at), self.extension.text())
    }
}

impl Display for MatrixSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let selector = &self.selector;
        selector.write_selection(f)?;
        let offset = OffsetText(selector.offset.as_ref());
        write!(f, "[{}]{}{}{offset}", self.range, selector.extension.text(), AtText(selector.at))
    }
}

impl Display for Subquery {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let step = self.step.as_ref().map(ToString::to_string).unwrap_or_default();
        let offset = OffsetText(self.offset.as_ref());
        write!(f, "{}[{}:{step}]{}{offset}", self.expr, self.range, AtText(self.at))
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.op.name())?;
        if self.without {
            write!(f, " without ({}) ", label_list(&self.grouping))?;
        } else if !self.grouping.is_empty() {
            write!(f, " by ({}) ", label_list(&self.grouping))?;
        }
        match &self.parameter {
            Some(parameter) => write!(f, "({parameter}, {})", self.expr),
            None => write!(f, "({})", self.expr),
        }
    }
}

impl Display for Binary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.left, self.op.symbol())?;
        if self.return_bool {
            f.write_str(" bool")?;
        }
        if let Some(matching) = &self.matching {
            matching.fmt(f)?;
        }
        write!(f, " {}", self.right)
    }
}

impl Display for Matching {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let group = match self.cardinality {
            Cardinality::ManyToOne => Some("left"),
            Cardinality::OneToMany => Some("right"),
            _ => None,
        };
        if self.on || !self.labels.is_empty() || group.is_some() {
            let word = if self.on { "on" } else { "ignoring" };
            write!(f, " {word} ({})", label_list(&self.labels))?;
        }
        if let Some(side) = group {
            write!(f, " group_{side} ({})", label_list(&self.include))?;
        }
        match (self.fill_left, self.fill_right) {
            (Some(left), Some(right)) if left.to_bits() == right.to_bits() => {
                write!(f, " fill ({})", format_float(left))
            }
            (left, right) => {
                if let Some(left) = left {
                    write!(f, " fill_left ({})", format_float(left))?;
                }
                match right {
                    Some(right) => write!(f, " fill_right ({})", format_float(right)),
                    None => Ok(()),
                }
            }
        }
    }
}

//! Durations: literals and expressions in ranges, steps and offsets.

use super::{Kind, Parser, Result, problem};
use crate::ast::{DurationExpr, DurationOp, Length, NumberLiteral, Span};

const EXPECTED: &str = "number, duration, step(), or range()";
/// Nanoseconds of a duration fit 63 bits.
const MAX_SECONDS: f64 = 9_223_372_036.854_775;

impl Parser<'_> {
    /// A range or a step, which must be more than zero.
    pub(super) fn positive_length(&mut self, context: &str) -> Result<Length> {
        let expr = self.duration_expr(0, context)?;
        match &expr {
            DurationExpr::Number(number) if number.value.is_nan() || number.value <= 0.0 => {
                problem(number.span, "duration must be greater than 0")
            }
            _ => Ok(into_length(expr)),
        }
    }

    /// What follows `offset`. Without parentheses it is one literal or call, so `a offset 1m + b` is a sum.
    pub(super) fn offset_length(&mut self) -> Result<Length> {
        let start = self.peek().span;
        let negative = match self.peek().kind {
            Kind::Operator("-") => Some(true),
            Kind::Operator("+") => Some(false),
            _ => None,
        };
        if negative.is_some() {
            self.bump();
        }
        let parenthesised = self.is("(");
        let operand = self.duration_operand("offset")?;
        let expr = match negative {
            Some(negative) => apply_sign(negative, operand, start),
            None if parenthesised => self.duration_operators(operand, 0, "offset", true)?,
            None => operand,
        };
        Ok(into_length(expr))
    }

    fn duration_expr(&mut self, least: u8, context: &str) -> Result<DurationExpr> {
        self.depth += 1;
        if self.depth > self.options.max_depth {
            return self.too_deep(self.peek().span);
        }
        let start = self.peek().span;
        let first = match self.peek().kind {
            Kind::Operator(sign @ ("+" | "-")) => {
                self.bump();
                apply_sign(sign == "-", self.duration_expr(6, context)?, start)
            }
            _ => self.duration_operand(context)?,
        };
        let expr = self.duration_operators(first, least, context, false);
        self.depth -= 1;
        expr
    }

    /// Operators and operands behind `left`. With `only_literals`, an operator that is not followed by something
    /// that can only be a duration is left alone: it belongs to the expression around.
    fn duration_operators(
        &mut self,
        mut left: DurationExpr,
        least: u8,
        context: &str,
        only_literals: bool,
    ) -> Result<DurationExpr> {
        let mut chain = 0;
        while let Some((op, precedence)) = self.duration_operator() {
            let literal_follows = matches!(
                self.peek_second().kind,
                Kind::Number | Kind::Duration | Kind::Preprocessor("step" | "range")
            );
            if precedence < least || (only_literals && !literal_follows) {
                break;
            }
            chain += 1;
            let operator = self.bump().span;
            if chain > self.options.max_depth {
                return self.too_deep(operator);
            }
            let right_least = if op == DurationOp::Pow { precedence } else { precedence + 1 };
            let right = self.duration_expr(right_least, context)?;
            let zero = matches!(&right, DurationExpr::Number(number) if number.value == 0.0);
            match op {
                DurationOp::Div if zero => return problem(operator, "division by zero"),
                DurationOp::Mod if zero => return problem(operator, "modulo by zero"),
                _ => left = DurationExpr::Binary(op, Box::new(left), Box::new(right)),
            }
        }
        Ok(left)
    }

    fn duration_operator(&self) -> Option<(DurationOp, u8)> {
        let Kind::Operator(symbol) = self.peek().kind else { return None };
        Some(match symbol {
            "+" => (DurationOp::Add, 4),
            "-" => (DurationOp::Sub, 4),
            "*" => (DurationOp::Mul, 5),
            "/" => (DurationOp::Div, 5),
            "%" => (DurationOp::Mod, 5),
            "^" => (DurationOp::Pow, 6),
            _ => return None,
        })
    }

    fn duration_operand(&mut self, context: &str) -> Result<DurationExpr> {
        let token = self.peek();
        match token.kind {
            Kind::Number | Kind::Duration => {
                let literal = self.number_literal()?;
                if literal.value > MAX_SECONDS || literal.value < -MAX_SECONDS {
                    return problem(literal.span, "duration out of range");
                }
                Ok(DurationExpr::Number(literal))
            }
            Kind::Preprocessor(word @ ("step" | "range")) => {
                self.bump();
                self.expect("(", context, "\"(\"")?;
                let span = token.span.to(self.expect(")", context, "\")\"")?);
                Ok(if word == "step" { DurationExpr::Step(span) } else { DurationExpr::Range(span) })
            }
            Kind::Preprocessor(word @ ("min_of" | "max_of")) => {
                self.bump();
                self.expect("(", context, "\"(\"")?;
                let left = Box::new(self.duration_expr(0, context)?);
                self.expect(",", context, "\",\"")?;
                let right = Box::new(self.duration_expr(0, context)?);
                let span = token.span.to(self.expect(")", context, "\")\"")?);
                Ok(if word == "min_of" {
                    DurationExpr::MinOf(left, right, span)
                } else {
                    DurationExpr::MaxOf(left, right, span)
                })
            }
            Kind::Punctuation("(") => {
                self.bump();
                let inner = Box::new(self.duration_expr(0, context)?);
                let span = token.span.to(self.expect(")", context, "\")\"")?);
                Ok(DurationExpr::Paren(inner, span))
            }
            _ => self.unexpected(context, EXPECTED),
        }
    }
}

fn apply_sign(negative: bool, operand: DurationExpr, sign: Span) -> DurationExpr {
    let span = sign.to(operand.span());
    match operand {
        DurationExpr::Number(number) => {
            let value = if negative { -number.value } else { number.value };
            DurationExpr::Number(NumberLiteral { value, span, ..number })
        }
        operand if negative => DurationExpr::Negate(Box::new(operand), span),
        operand => operand,
    }
}

fn into_length(expr: DurationExpr) -> Length {
    match expr {
        DurationExpr::Number(number) => {
            // Nanoseconds are rounded, milliseconds cut.
            Length::Millis(((number.value * 1e9).round() as i64) / 1_000_000)
        }
        expr => Length::Expr(Box::new(expr)),
    }
}

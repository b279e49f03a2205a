//! Numbers and durations as literals.

use outrigger_model::duration;

use super::{Kind, Parser, Result, Token, problem};
use crate::ast::NumberLiteral;
use crate::quote::quote;

impl Parser<'_> {
    /// A number or a duration; the caller has seen that one follows.
    pub(super) fn number_literal(&mut self) -> Result<NumberLiteral> {
        let token = self.bump();
        let is_duration = token.kind == Kind::Duration;
        let value = if is_duration { seconds(token)? } else { number(token)? };
        Ok(NumberLiteral { value, is_duration, span: token.span })
    }

    /// A number or a duration with or without a sign.
    pub(super) fn signed_number(&mut self, context: &str, expected: &str) -> Result<NumberLiteral> {
        let start = self.peek().span;
        let sign = match self.peek().kind {
            Kind::Operator("-") => -1.0,
            Kind::Operator("+") => 1.0,
            _ => 0.0,
        };
        if sign != 0.0 {
            self.bump();
        }
        if !matches!(self.peek().kind, Kind::Number | Kind::Duration) {
            return self.unexpected(context, expected);
        }
        let mut literal = self.number_literal()?;
        if sign < 0.0 {
            literal.value = -literal.value;
        }
        literal.span = start.to(literal.span);
        Ok(literal)
    }
}

fn seconds(token: Token<'_>) -> Result<f64> {
    match duration::parse(token.text) {
        Ok(duration) => Ok(duration.as_secs_f64()),
        Err(error) => problem(token.span, error.to_string()),
    }
}

fn number(token: Token<'_>) -> Result<f64> {
    match parse_number(token.text) {
        Some(value) => Ok(value),
        None => problem(
            token.span,
            format!(
                "error parsing number: strconv.ParseFloat: parsing {}: invalid syntax",
                quote(token.text)
            ),
        ),
    }
}

/// Go's `ParseInt(text, 0, 64)`, else `ParseFloat`: `0x1f`, `0b11`, `0o17`, `017` and `1_000` are whole numbers.
pub(crate) fn parse_number(text: &str) -> Option<f64> {
    if let Some(whole) = whole_number(text) {
        return Some(whole as f64);
    }
    let lower = text.to_ascii_lowercase();
    match lower.trim_start_matches(['+', '-']) {
        "inf" | "infinity" if lower.starts_with('-') => Some(f64::NEG_INFINITY),
        "inf" | "infinity" => Some(f64::INFINITY),
        "nan" => Some(f64::NAN),
        _ if lower.contains('_') || lower.contains('x') => None,
        _ => lower.parse().ok(),
    }
}

fn whole_number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &*lower),
    };
    // An underscore stands between digits, or after the prefix.
    let prefixed = digits.len() < lower.len();
    let misplaced = digits.ends_with('_') || digits.contains("__") || (digits.starts_with('_') && !prefixed);
    if misplaced || digits.is_empty() {
        return None;
    }
    let value = i64::from_str_radix(&digits.replace('_', ""), radix).ok()?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_forms_of_go() {
        for (text, value) in [
            ("1", Some(1.0)),
            ("1.5e-3", Some(0.0015)),
            ("0x1F", Some(31.0)),
            ("0x_1f", Some(31.0)),
            ("0b11", Some(3.0)),
            ("017", Some(15.0)),
            ("019", Some(19.0)),
            ("1_000", Some(1000.0)),
            ("1__000", None),
            ("1_000.5", None),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("Inf", Some(f64::INFINITY)),
            ("1e400", Some(f64::INFINITY)),
        ] {
            assert_eq!(parse_number(text), value, "{text}");
        }
        assert!(parse_number("NaN").is_some_and(f64::is_nan));
    }
}

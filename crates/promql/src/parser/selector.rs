//! Selectors, and the modifiers and ranges behind an expression.

use super::{Kind, Parser, Result, Tall, problem};
use crate::ast::{At, Expr, Extension, Length, MatrixSelector, Span, Subquery, VectorSelector};
use crate::matcher::{MatchOp, Matcher};
use outrigger_model::labels::METRIC_NAME;

impl Parser<'_> {
    pub(super) fn vector_selector(&mut self) -> Result<VectorSelector> {
        let token = self.peek();
        let mut span = token.span;
        let mut name = String::new();
        let is_name = match token.kind {
            Kind::Identifier | Kind::MetricIdentifier | Kind::Aggregator(_) | Kind::Preprocessor(_) => true,
            Kind::Operator("and" | "or" | "unless") => true,
            Kind::Keyword(word) => !matches!(word, "bool" | "on" | "ignoring" | "group_left" | "group_right"),
            _ => false,
        };
        if is_name {
            self.bump();
            token.text.clone_into(&mut name);
        } else if !self.is("{") {
            return self.unexpected("", "");
        }
        let mut matchers = Vec::new();
        if self.is("{") {
            let (found, close) = self.label_matchers()?;
            matchers = found;
            span = span.to(close);
        }
        if !name.is_empty() {
            matchers.push(Matcher::equal(METRIC_NAME, name.clone()));
        }
        Ok(VectorSelector { name, matchers, offset: None, at: None, extension: Extension::None, span })
    }

    fn label_matchers(&mut self) -> Result<(Vec<Matcher>, Span)> {
        self.bump();
        let mut matchers = Vec::new();
        loop {
            if let Some(close) = self.accept("}") {
                return Ok((matchers, close));
            }
            matchers.push(self.label_matcher()?);
            if !self.is("}") {
                self.expect(",", "label matching", "\",\" or \"}\"")?;
            }
        }
    }

    fn label_matcher(&mut self) -> Result<Matcher> {
        let token = self.peek();
        let name = match token.kind {
            Kind::Identifier => token.text.to_owned(),
            Kind::Text => self.unquoted(token)?,
            _ => return self.unexpected("label matching", "identifier or \"}\""),
        };
        self.bump();
        let op = match self.peek().kind {
            Kind::Punctuation("=") => MatchOp::Equal,
            Kind::Operator("!=") => MatchOp::NotEqual,
            Kind::Operator("=~") => MatchOp::Regex,
            Kind::Operator("!~") => MatchOp::NotRegex,
            // A name in quotes by itself is that of the metric.
            _ if token.kind == Kind::Text => return Ok(Matcher::equal(METRIC_NAME, name)),
            _ => return self.unexpected("label matching", "label matching operator"),
        };
        self.bump();
        let value = self.peek();
        if value.kind != Kind::Text {
            return self.unexpected("label matching", "string");
        }
        self.bump();
        let text = self.unquoted(value)?;
        Matcher::new(name, op, text).or_else(|error| problem(token.span.to(value.span), error.to_string()))
    }

    /// An expression with the ranges and modifiers behind it.
    pub(super) fn postfix(&mut self) -> Result<Tall> {
        let (mut expr, mut height) = self.primary()?;
        loop {
            let token = self.peek();
            match token.kind {
                Kind::Punctuation("[") => {
                    height = self.level(height, token.span)?;
                    expr = self.range(expr)?;
                }
                Kind::Punctuation("@") => {
                    self.bump();
                    self.at_modifier(&mut expr)?;
                }
                Kind::Keyword("offset") => {
                    self.bump();
                    self.offset(&mut expr)?;
                }
                Kind::Keyword("anchored") => {
                    self.bump();
                    extend(&mut expr, Extension::Anchored, token.span)?;
                }
                Kind::Keyword("smoothed") => {
                    self.bump();
                    extend(&mut expr, Extension::Smoothed, token.span)?;
                }
                _ => return Ok((expr, height)),
            }
        }
    }

    fn range(&mut self, expr: Expr) -> Result<Expr> {
        let open = self.bump().span;
        let range = self.positive_length("subquery or range selector")?;
        if self.accept(":").is_some() {
            let step = if self.is("]") { None } else { Some(self.positive_length("subquery selector")?) };
            let close = self.expect("]", "subquery selector", "\"]\"")?;
            let span = expr.span().to(close);
            let expr = Box::new(expr);
            return Ok(Expr::Subquery(Subquery { expr, range, step, offset: None, at: None, span }));
        }
        let close = self.expect("]", "subquery or range", "\":\" or \"]\"")?;
        let Expr::Vector(selector) = expr else {
            return problem(open.to(close), "ranges only allowed for vector selectors");
        };
        if selector.offset.is_some() {
            return problem(open.to(close), "no offset modifiers allowed before range");
        }
        if selector.at.is_some() {
            return problem(open.to(close), "no @ modifiers allowed before range");
        }
        let span = selector.span.to(close);
        Ok(Expr::Matrix(MatrixSelector { selector, range, span }))
    }

    fn at_modifier(&mut self, expr: &mut Expr) -> Result<()> {
        let at = match self.peek().kind {
            Kind::Preprocessor(word @ ("start" | "end")) => {
                self.bump();
                self.expect("(", "@", "timestamp")?;
                self.expect(")", "@", "timestamp")?;
                if word == "start" { At::Start } else { At::End }
            }
            _ => {
                let seconds = self.signed_number("@", "timestamp")?.value;
                if !seconds.is_finite() || seconds.abs() >= i64::MAX as f64 {
                    let message = format!("timestamp out of bounds for @ modifier: {seconds:.6}");
                    return problem(expr.span(), message);
                }
                At::Millis((seconds * 1000.0).round() as i64)
            }
        };
        let expr_span = expr.span();
        let end = self.tokens[self.at - 1].span;
        let Some((place, _, span)) = modifiers(expr) else {
            return problem(
                expr_span,
                "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            );
        };
        if place.is_some() {
            return problem(expr_span, "@ <timestamp> may not be set multiple times");
        }
        *place = Some(at);
        *span = span.to(end);
        Ok(())
    }

    fn offset(&mut self, expr: &mut Expr) -> Result<()> {
        let length = self.offset_length()?;
        let expr_span = expr.span();
        let end = self.tokens[self.at - 1].span;
        let Some((_, place, span)) = modifiers(expr) else {
            return problem(
                expr_span,
                "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            );
        };
        if place.is_some() {
            return problem(expr_span, "offset may not be set multiple times");
        }
        *place = (length != Length::Millis(0)).then_some(length);
        *span = span.to(end);
        Ok(())
    }
}

type Modifiers<'a> = (&'a mut Option<At>, &'a mut Option<Length>, &'a mut Span);

fn modifiers(expr: &mut Expr) -> Option<Modifiers<'_>> {
    match expr {
        Expr::Vector(node) => Some((&mut node.at, &mut node.offset, &mut node.span)),
        Expr::Matrix(node) => Some((&mut node.selector.at, &mut node.selector.offset, &mut node.span)),
        Expr::Subquery(node) => Some((&mut node.at, &mut node.offset, &mut node.span)),
        _ => None,
    }
}

fn extend(expr: &mut Expr, extension: Extension, word: Span) -> Result<()> {
    let span = expr.span();
    let name = if extension == Extension::Anchored { "anchored" } else { "smoothed" };
    let (place, whole) = match expr {
        Expr::Vector(node) => (&mut node.extension, &mut node.span),
        Expr::Matrix(node) => (&mut node.selector.extension, &mut node.span),
        Expr::Subquery(_) => {
            return problem(span, format!("{name} modifier is not supported for subqueries"));
        }
        _ => return problem(span, format!("{name} modifier not implemented")),
    };
    if *place != Extension::None && *place != extension {
        return problem(span, "anchored and smoothed modifiers cannot be used together");
    }
    *place = extension;
    *whole = whole.to(word);
    Ok(())
}

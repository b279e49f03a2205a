//! Text to syntax tree.
//!
//! A precedence parser over the grammar of Prometheus 3 (`promql/parser/generated_parser.y`), experimental parts
//! included. Length and depth are capped, so that no text can take much time or stack.

mod check;
mod duration;
mod lexer;
mod number;
mod operators;
mod selector;

use crate::ast::{Aggregate, AggregateOp, Call, Expr, NumberLiteral, Paren, Span, StringLiteral, Unary};
use crate::functions;
use crate::matcher::Matcher;
use crate::quote::{quote, unquote};
use lexer::{Kind, Token};

/// What the parser accepts.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Functions and aggregations that Prometheus has behind a feature flag.
    pub experimental: bool,
    /// Letters beyond ASCII and dots in names without quotes (`promql-unquoted-utf8-names`).
    pub unquoted_utf8_names: bool,
    /// Longest expression in bytes.
    pub max_length: usize,
    /// Deepest nesting; every operator of a chain is a level too.
    pub max_depth: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { experimental: true, unquoted_utf8_names: false, max_length: 256 << 10, max_depth: 200 }
    }
}

/// A number as Go's `ParseFloat` takes it.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let digits_only = !text.starts_with("0b") && !text.contains('_');
    number::parse_number(text).filter(|_| digits_only)
}

/// Why a text is no expression. Prints as Prometheus prints it: `1:5: parse error: …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{position}: parse error: {message}")]
pub struct ParseError {
    /// Where, in bytes.
    pub span: Span,
    /// `line:column` of its start.
    pub position: String,
    /// What is wrong.
    pub message: String,
}

/// A parse error before it is known to which text it belongs.
#[derive(Debug)]
struct Problem {
    span: Span,
    message: String,
}

type Result<T> = std::result::Result<T, Problem>;

fn problem<T>(span: Span, message: impl Into<String>) -> Result<T> {
    Err(Problem { span, message: message.into() })
}

/// Parses an expression with the default [`Options`].
///
/// # Errors
/// The first thing that is wrong, and where.
pub fn parse(text: &str) -> std::result::Result<Expr, ParseError> {
    parse_with(text, Options::default())
}

/// Parses an expression.
///
/// # Errors
/// The first thing that is wrong, and where.
pub fn parse_with(text: &str, options: Options) -> std::result::Result<Expr, ParseError> {
    located(text, || {
        let mut parser = Parser::new(text, options)?;
        if parser.peek().kind == Kind::End {
            return problem(Span::default(), "no expression found in input");
        }
        let mut expr = parser.expression()?;
        parser.expect_end()?;
        check::check(&mut expr)?;
        Ok(expr)
    })
}

/// Parses the conditions of a selector of series, as `match[]` of the HTTP API takes it.
///
/// # Errors
/// The first thing that is wrong, and where.
pub fn parse_selector(text: &str) -> std::result::Result<Vec<Matcher>, ParseError> {
    located(text, || {
        let mut parser = Parser::new(text, Options::default())?;
        let mut expr = parser.expression()?;
        parser.expect_end()?;
        check::check(&mut expr)?;
        match expr {
            Expr::Vector(selector) if selector.offset.is_none() && selector.at.is_none() => {
                Ok(selector.matchers)
            }
            other => problem(other.span(), "expected a selector of series and nothing else"),
        }
    })
}

fn located<T>(text: &str, parse: impl FnOnce() -> Result<T>) -> std::result::Result<T, ParseError> {
    parse().map_err(|Problem { span, message }| ParseError { span, position: span.position(text), message })
}

/// An expression and the height of its tree.
type Tall = (Expr, usize);

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    lex_error: Option<String>,
    options: Options,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, options: Options) -> Result<Self> {
        if text.len() > options.max_length {
            let message = format!(
                "the expression has {} bytes; at most {} are accepted",
                text.len(),
                options.max_length
            );
            return problem(Span::default(), message);
        }
        let (tokens, lex_error) = lexer::tokens(text, options.unquoted_utf8_names);
        Ok(Self { tokens, at: 0, lex_error, options, depth: 0 })
    }

    fn peek(&self) -> Token<'a> {
        self.tokens[self.at]
    }

    fn peek_second(&self) -> Token<'a> {
        self.tokens[(self.at + 1).min(self.tokens.len() - 1)]
    }

    fn bump(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn is(&self, punctuation: &'static str) -> bool {
        self.peek().kind == Kind::Punctuation(punctuation)
    }

    fn accept(&mut self, punctuation: &'static str) -> Option<Span> {
        self.is(punctuation).then(|| self.bump().span)
    }

    fn expect(&mut self, punctuation: &'static str, context: &str, expected: &str) -> Result<Span> {
        match self.accept(punctuation) {
            Some(span) => Ok(span),
            None => self.unexpected(context, expected),
        }
    }

    /// What Prometheus says of a token that does not fit.
    fn unexpected<T>(&self, context: &str, expected: &str) -> Result<T> {
        let token = self.peek();
        if token.kind == Kind::Error {
            return problem(token.span, self.lex_error.clone().unwrap_or_default());
        }
        let mut message = format!("unexpected {}", token.describe());
        if !context.is_empty() {
            message += " in ";
            message += context;
        }
        if !expected.is_empty() {
            message += ", expected ";
            message += expected;
        }
        problem(token.span, message)
    }

    fn expect_end(&self) -> Result<()> {
        if self.peek().kind == Kind::End { Ok(()) } else { self.unexpected("", "") }
    }

    fn too_deep<T>(&self, span: Span) -> Result<T> {
        problem(span, format!("the expression nests deeper than {} levels", self.options.max_depth))
    }

    /// One level above `height`.
    fn level(&self, height: usize, span: Span) -> Result<usize> {
        if height >= self.options.max_depth { self.too_deep(span) } else { Ok(height + 1) }
    }

    fn expression(&mut self) -> Result<Expr> {
        Ok(self.binary(0)?.0)
    }

    fn unary(&mut self) -> Result<Tall> {
        self.depth += 1;
        if self.depth > self.options.max_depth {
            return self.too_deep(self.peek().span);
        }
        let parsed = match self.peek().kind {
            Kind::Operator(sign @ ("+" | "-")) => self.signed(sign == "-"),
            _ => self.postfix(),
        };
        self.depth -= 1;
        parsed
    }

    fn signed(&mut self, negative: bool) -> Result<Tall> {
        let sign = self.bump().span;
        // A sign binds as tightly as a product: -a^b is -(a^b).
        let (expr, height) = self.binary(crate::ast::BinaryOp::Pow.precedence())?;
        let span = sign.to(expr.span());
        match expr {
            Expr::Number(number) => {
                let value = if negative { -number.value } else { number.value };
                Ok((Expr::Number(NumberLiteral { value, span, ..number }), height))
            }
            expr => {
                let height = self.level(height, span)?;
                Ok((Expr::Unary(Unary { negative, expr: Box::new(expr), span }), height))
            }
        }
    }

    fn primary(&mut self) -> Result<Tall> {
        let token = self.peek();
        let call = self.peek_second().kind == Kind::Punctuation("(");
        match token.kind {
            Kind::Number | Kind::Duration => Ok((Expr::Number(self.number_literal()?), 1)),
            Kind::Text => {
                self.bump();
                let value = self.unquoted(token)?;
                Ok((Expr::String(StringLiteral { value, span: token.span }), 1))
            }
            Kind::Punctuation("(") => self.parenthesised(),
            Kind::Aggregator(name) if call || self.aggregate_modifier_follows() => self.aggregate(name),
            Kind::Identifier | Kind::Preprocessor(_) if call => self.call(),
            _ => Ok((Expr::Vector(self.vector_selector()?), 1)),
        }
    }

    fn unquoted(&self, token: Token<'_>) -> Result<String> {
        match unquote(token.text) {
            Some(text) => Ok(text),
            None => {
                problem(token.span, format!("error unquoting string {}: invalid syntax", quote(token.text)))
            }
        }
    }

    fn parenthesised(&mut self) -> Result<Tall> {
        let open = self.bump().span;
        let (expr, height) = self.binary(0)?;
        let close = self.expect(")", "", "")?;
        let height = self.level(height, open)?;
        Ok((Expr::Paren(Paren { expr: Box::new(expr), span: open.to(close) }), height))
    }

    fn call(&mut self) -> Result<Tall> {
        let name = self.bump();
        let lower;
        // Keywords are so in any case, names of functions are not.
        let called = if matches!(name.kind, Kind::Preprocessor(_)) {
            lower = name.text.to_ascii_lowercase();
            &*lower
        } else {
            name.text
        };
        let found = functions::find(called);
        let Some(function) = found else {
            return problem(name.span, format!("unknown function with name {}", quote(name.text)));
        };
        if function.experimental && !self.options.experimental {
            return problem(name.span, format!("function {} is not enabled", quote(name.text)));
        }
        let (arguments, height, close) = self.arguments()?;
        let span = name.span.to(close);
        let height = self.level(height, span)?;
        Ok((Expr::Call(Call { function, arguments, span }), height))
    }

    /// Arguments in parentheses, the greatest of their heights, and the closing parenthesis.
    fn arguments(&mut self) -> Result<(Vec<Expr>, usize, Span)> {
        self.expect("(", "", "")?;
        let mut arguments = Vec::new();
        let mut highest = 0;
        if let Some(close) = self.accept(")") {
            return Ok((arguments, highest, close));
        }
        loop {
            let (expr, height) = self.binary(0)?;
            arguments.push(expr);
            highest = highest.max(height);
            if let Some(close) = self.accept(")") {
                return Ok((arguments, highest, close));
            }
            let comma = self.expect(",", "", "")?;
            if self.is(")") {
                return problem(comma, "trailing commas not allowed in function call args");
            }
        }
    }

    fn aggregate_modifier_follows(&self) -> bool {
        matches!(self.peek_second().kind, Kind::Keyword("by" | "without"))
    }

    fn aggregate(&mut self, name: &str) -> Result<Tall> {
        let token = self.bump();
        let op = AggregateOp::ALL.into_iter().find(|op| op.name() == name);
        let Some(op) = op else { return self.unexpected("aggregation", "") };
        let mut modifier = self.aggregate_modifier()?;
        if !self.is("(") {
            return self.unexpected("aggregation", "");
        }
        let (mut arguments, height, mut close) = self.arguments()?;
        if modifier.is_none() {
            modifier = self.aggregate_modifier()?;
            if modifier.is_some() {
                close = self.tokens[self.at - 1].span;
            }
        }
        let span = token.span.to(close);
        if arguments.is_empty() {
            return problem(span, "no arguments for aggregate expression provided");
        }
        if matches!(op, AggregateOp::Limitk | AggregateOp::LimitRatio) && !self.options.experimental {
            return problem(span, format!("{name}() is experimental and must be enabled"));
        }
        let expected = if op.parameter().is_some() { 2 } else { 1 };
        if arguments.len() != expected {
            let got = arguments.len();
            return problem(
                span,
                format!(
                    "wrong number of arguments for aggregate expression provided, expected {expected}, got {got}"
                ),
            );
        }
        let expr = Box::new(arguments.pop().expect("one or two arguments were just counted"));
        let parameter = arguments.pop().map(Box::new);
        let (grouping, without) = modifier.unwrap_or_default();
        let height = self.level(height, span)?;
        Ok((Expr::Aggregate(Aggregate { op, expr, parameter, grouping, without, span }), height))
    }

    fn aggregate_modifier(&mut self) -> Result<Option<(Vec<String>, bool)>> {
        let Kind::Keyword(word @ ("by" | "without")) = self.peek().kind else { return Ok(None) };
        self.bump();
        Ok(Some((self.grouping_labels()?, word == "without")))
    }
}

#[cfg(test)]
mod tests;

//! Binary operators with their modifiers.

use super::{Kind, Parser, Result, Tall};
use crate::ast::{Binary, BinaryOp, Cardinality, Expr, Matching};
use crate::quote::quote;

impl Parser<'_> {
    /// An expression of operators that bind at least as tightly as `least`.
    pub(super) fn binary(&mut self, least: u8) -> Result<Tall> {
        let (mut left, mut height) = self.unary()?;
        while let Some(op) = self.binary_operator().filter(|op| op.precedence() >= least) {
            let op_span = self.bump().span;
            let (return_bool, matching) = self.modifiers()?;
            let right_least = if op == BinaryOp::Pow { op.precedence() } else { op.precedence() + 1 };
            let (right, right_height) = self.binary(right_least)?;
            height = self.level(height.max(right_height), op_span)?;
            let (left_side, right) = (Box::new(left), Box::new(right));
            left = Expr::Binary(Binary {
                op,
                left: left_side,
                right,
                return_bool,
                matching: Some(matching),
                op_span,
            });
        }
        Ok((left, height))
    }

    fn binary_operator(&self) -> Option<BinaryOp> {
        let Kind::Operator(symbol) = self.peek().kind else { return None };
        Some(match symbol {
            "+" => BinaryOp::Add,
            "-" => BinaryOp::Sub,
            "*" => BinaryOp::Mul,
            "/" => BinaryOp::Div,
            "%" => BinaryOp::Mod,
            "^" => BinaryOp::Pow,
            "atan2" => BinaryOp::Atan2,
            "==" => BinaryOp::Equal,
            "!=" => BinaryOp::NotEqual,
            "<" => BinaryOp::Less,
            "<=" => BinaryOp::LessEqual,
            ">" => BinaryOp::Greater,
            ">=" => BinaryOp::GreaterEqual,
            "</" => BinaryOp::TrimUpper,
            ">/" => BinaryOp::TrimLower,
            "and" => BinaryOp::And,
            "or" => BinaryOp::Or,
            "unless" => BinaryOp::Unless,
            _ => return None,
        })
    }

    fn accept_keyword(&mut self, words: &[&str]) -> Option<&'static str> {
        match self.peek().kind {
            Kind::Keyword(word) if words.contains(&word) => {
                self.bump();
                Some(word)
            }
            _ => None,
        }
    }

    fn modifiers(&mut self) -> Result<(bool, Matching)> {
        let mut matching = Matching::default();
        let return_bool = self.accept_keyword(&["bool"]).is_some();
        if let Some(word) = self.accept_keyword(&["on", "ignoring"]) {
            matching.on = word == "on";
            matching.labels = self.grouping_labels()?;
            if let Some(word) = self.accept_keyword(&["group_left", "group_right"]) {
                matching.cardinality =
                    if word == "group_left" { Cardinality::ManyToOne } else { Cardinality::OneToMany };
                if self.is("(") {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        match self.accept_keyword(&["fill", "fill_left", "fill_right"]) {
            Some("fill") => {
                let value = Some(self.fill_value()?);
                (matching.fill_left, matching.fill_right) = (value, value);
            }
            Some("fill_left") => {
                matching.fill_left = Some(self.fill_value()?);
                if self.accept_keyword(&["fill_right"]).is_some() {
                    matching.fill_right = Some(self.fill_value()?);
                }
            }
            Some(_) => {
                matching.fill_right = Some(self.fill_value()?);
                if self.accept_keyword(&["fill_left"]).is_some() {
                    matching.fill_left = Some(self.fill_value()?);
                }
            }
            None => {}
        }
        Ok((return_bool, matching))
    }

    fn fill_value(&mut self) -> Result<f64> {
        self.expect("(", "", "")?;
        let value = self.signed_number("", "")?.value;
        self.expect(")", "", "")?;
        Ok(value)
    }

    /// Label names in parentheses.
    pub(super) fn grouping_labels(&mut self) -> Result<Vec<String>> {
        self.expect("(", "grouping opts", "\"(\"")?;
        let mut labels = Vec::new();
        if self.accept(")").is_some() {
            return Ok(labels);
        }
        loop {
            labels.push(self.grouping_label()?);
            if self.accept(")").is_some() {
                return Ok(labels);
            }
            self.expect(",", "grouping opts", "\",\" or \")\"")?;
            if self.accept(")").is_some() {
                return Ok(labels);
            }
        }
    }

    fn grouping_label(&mut self) -> Result<String> {
        let token = self.peek();
        let name = match token.kind {
            Kind::Text => self.unquoted(token)?,
            Kind::Identifier | Kind::MetricIdentifier | Kind::Aggregator(_) | Kind::Preprocessor(_) => {
                token.text.to_owned()
            }
            Kind::Keyword(_) | Kind::Operator("and" | "or" | "unless" | "atan2") => token.text.to_owned(),
            _ => return self.unexpected("grouping opts", "label"),
        };
        let colon = self.options.unquoted_utf8_names && token.kind != Kind::Text && name.contains(':');
        if name.is_empty() || colon {
            return super::problem(token.span, format!("invalid label name for grouping: {}", quote(&name)));
        }
        self.bump();
        Ok(name)
    }
}

//! What is to be said about a result, in the words of Prometheus (`util/annotations`).

use std::fmt;

use crate::ast::Span;

/// How serious it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The result may not be what was asked for.
    Warning,
    /// It may be worth a look.
    Info,
}

/// A warning or information with its position in the expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// How serious it is.
    pub severity: Severity,
    /// What it is.
    pub message: String,
    /// What of the expression it is about.
    pub span: Span,
    /// `line:column`
    pub position: String,
}

impl fmt::Display for Annotation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.severity {
            Severity::Warning => "PromQL warning",
            Severity::Info => "PromQL info",
        };
        write!(formatter, "{kind}: {} ({})", self.message, self.position)
    }
}

/// Those of one query.
#[derive(Debug)]
pub(super) struct Annotations {
    text: String,
    pub(super) found: Vec<Annotation>,
}

impl Annotations {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), found: Vec::new() }
    }

    pub(super) fn warn(&mut self, span: Span, message: impl Into<String>) {
        self.add(Severity::Warning, span, message.into());
    }

    pub(super) fn info(&mut self, span: Span, message: impl Into<String>) {
        self.add(Severity::Info, span, message.into());
    }

    fn add(&mut self, severity: Severity, span: Span, message: String) {
        let position = span.position(&self.text);
        let known = |one: &Annotation| one.message == message && one.position == position;
        if !self.found.iter().any(known) {
            self.found.push(Annotation { severity, message, span, position });
        }
    }
}

//! The tree that Go's grammar yields, and its translation into the pattern language of the `regex` crate.

use std::fmt::Write as _;

use regex_syntax::hir::ClassUnicode;

/// A part of a regular expression.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Longest path down to a leaf, as Go's `calcHeight` counts it.
    pub(super) height: usize,
    /// Instructions of the compiled form, as Go's `calcSize` estimates them.
    pub(super) size: u64,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Empty,
    Literal(String),
    Class(ClassUnicode),
    AnyChar,
    AnyCharButNewline,
    Look(Look),
    Concat(Vec<Node>),
    Alternate(Vec<Node>),
    Capture(Box<Node>),
    Repeat(Box<Node>, Repetition),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    TextStart,
    TextEnd,
    LineStart,
    LineEnd,
    WordBoundary,
    NotWordBoundary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Repetition {
    pub(super) min: u32,
    pub(super) max: Option<u32>,
    pub(super) greedy: bool,
    /// Written with braces; Go bounds the product of nested counts.
    pub(super) counted: bool,
}

impl Node {
    pub(super) fn leaf(kind: Kind) -> Self {
        let size = match &kind {
            Kind::Literal(text) => text.chars().count() as u64,
            _ => 1,
        };
        Self { kind, height: 1, size: size.max(1) }
    }

    /// The concatenation of `parts`: literals side by side become one, a nested concatenation is unfolded, empty
    /// parts are left out.
    pub(super) fn concat(parts: Vec<Node>) -> Self {
        let mut flat: Vec<Node> = Vec::with_capacity(parts.len());
        for part in parts {
            match part.kind {
                Kind::Concat(inner) => inner.into_iter().for_each(|node| push_joined(&mut flat, node)),
                _ => push_joined(&mut flat, part),
            }
        }
        Self::many(flat, Kind::Concat, 0)
    }

    /// The alternation of `parts`; a nested alternation is unfolded.
    pub(super) fn alternate(parts: Vec<Node>) -> Self {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part.kind {
                Kind::Alternate(inner) => flat.extend(inner),
                _ => flat.push(part),
            }
        }
        let bars = flat.len().saturating_sub(1) as u64;
        Self::many(flat, Kind::Alternate, bars)
    }

    fn many(mut parts: Vec<Node>, kind: fn(Vec<Node>) -> Kind, extra: u64) -> Self {
        match parts.len() {
            0 => Self::leaf(Kind::Empty),
            1 => parts.remove(0),
            _ => {
                let height = 1 + parts.iter().map(|part| part.height).max().unwrap_or(0);
                let size = parts.iter().fold(extra, |sum, part| sum.saturating_add(part.size));
                Self { kind: kind(parts), height, size }
            }
        }
    }

    pub(super) fn capture(sub: Node) -> Self {
        Self { height: sub.height + 1, size: sub.size.saturating_add(2), kind: Kind::Capture(Box::new(sub)) }
    }

    pub(super) fn repeat(sub: Node, repetition: Repetition) -> Self {
        let Repetition { min, max, counted, .. } = repetition;
        let size = match (counted, min, max) {
            (false, 1, _) | (false, _, Some(_)) => sub.size.saturating_add(1),
            (_, 0, None) => sub.size.saturating_add(2),
            (_, _, None) => sub.size.saturating_mul(u64::from(min)).saturating_add(1),
            (_, _, Some(max)) => {
                sub.size.saturating_mul(u64::from(max)).saturating_add(u64::from(max.saturating_sub(min)))
            }
        };
        Self { height: sub.height + 1, size: size.max(1), kind: Kind::Repeat(Box::new(sub), repetition) }
    }

    /// Whether no part is repeated more than `budget` times, nested counts multiplied (Go `repeatIsValid`).
    pub(super) fn repeats_within(&self, mut budget: u32) -> bool {
        match &self.kind {
            Kind::Repeat(sub, repetition) => {
                if repetition.counted {
                    let count = match repetition.max {
                        Some(0) => return true,
                        Some(max) => max,
                        None => repetition.min,
                    };
                    if count > budget {
                        return false;
                    }
                    budget = budget.checked_div(count).unwrap_or(budget);
                }
                sub.repeats_within(budget)
            }
            Kind::Capture(sub) => sub.repeats_within(budget),
            Kind::Concat(parts) | Kind::Alternate(parts) => {
                parts.iter().all(|part| part.repeats_within(budget))
            }
            _ => true,
        }
    }

    /// Appends the same expression as the `regex` crate writes it; no flag is assumed but Unicode.
    pub(super) fn translate(&self, into: &mut String) {
        match &self.kind {
            Kind::Empty => into.push_str("(?:)"),
            Kind::Literal(text) => text.chars().for_each(|c| translate_char(c, into)),
            Kind::Class(class) => translate_class(class, into),
            Kind::AnyChar => into.push_str("(?s:.)"),
            Kind::AnyCharButNewline => into.push_str("[^\\n]"),
            Kind::Look(look) => into.push_str(translate_look(*look)),
            Kind::Concat(parts) => parts.iter().for_each(|part| match part.kind {
                Kind::Alternate(_) => translate_group(part, into),
                _ => part.translate(into),
            }),
            Kind::Alternate(parts) => {
                for (i, part) in parts.iter().enumerate() {
                    if i > 0 {
                        into.push('|');
                    }
                    part.translate(into);
                }
            }
            Kind::Capture(sub) => {
                into.push('(');
                sub.translate(into);
                into.push(')');
            }
            Kind::Repeat(sub, repetition) => {
                match sub.kind {
                    Kind::Class(_) | Kind::AnyChar | Kind::AnyCharButNewline | Kind::Capture(_) => {
                        sub.translate(into);
                    }
                    _ => translate_group(sub, into),
                }
                translate_repetition(*repetition, into);
            }
        }
    }
}

fn push_joined(list: &mut Vec<Node>, node: Node) {
    match (list.last_mut(), &node.kind) {
        (_, Kind::Empty) => {}
        (Some(Node { kind: Kind::Literal(text), size, .. }), Kind::Literal(next)) => {
            text.push_str(next);
            *size += node.size;
        }
        _ => list.push(node),
    }
}

fn translate_group(node: &Node, into: &mut String) {
    into.push_str("(?:");
    node.translate(into);
    into.push(')');
}

fn translate_char(c: char, into: &mut String) {
    if c.is_ascii_alphanumeric() {
        into.push(c);
    } else {
        let _ = write!(into, "\\x{{{:X}}}", u32::from(c));
    }
}

fn translate_class(class: &ClassUnicode, into: &mut String) {
    if class.ranges().is_empty() {
        into.push_str("[a&&b]");
        return;
    }
    into.push('[');
    for range in class.ranges() {
        translate_char(range.start(), into);
        if range.start() != range.end() {
            into.push('-');
            translate_char(range.end(), into);
        }
    }
    into.push(']');
}

fn translate_look(look: Look) -> &'static str {
    match look {
        Look::TextStart => r"\A",
        Look::TextEnd => r"\z",
        Look::LineStart => "(?m:^)",
        Look::LineEnd => "(?m:$)",
        Look::WordBoundary => r"(?-u:\b)",
        Look::NotWordBoundary => r"(?-u:\B)",
    }
}

fn translate_repetition(repetition: Repetition, into: &mut String) {
    let _ = match (repetition.min, repetition.max) {
        (0, None) => write!(into, "*"),
        (1, None) => write!(into, "+"),
        (0, Some(1)) => write!(into, "?"),
        (min, None) => write!(into, "{{{min},}}"),
        (min, Some(max)) => write!(into, "{{{min},{max}}}"),
    };
    if !repetition.greedy {
        into.push('?');
    }
}

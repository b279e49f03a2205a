//! How a pattern is matched: the usual relabelling patterns need no regular expression engine.

use std::collections::HashSet;

use regex::bytes::{CaptureLocations, Regex, RegexBuilder};

use super::syntax::{Kind, Look, Node, Repetition};
use super::{GoRegexErrorKind, MAX_COMPILED_BYTES, MAX_NESTING};

/// Number of words from which a set is faster than comparing one by one.
const SET_FROM: usize = 8;

pub(super) enum Shape {
    /// `prefix`, then any text if `wild` is there, then `suffix`: `web`, `(.*)`, `__meta_label_(.+)`, `.*-exporter`.
    Affix {
        prefix: Box<str>,
        wild: Option<Wild>,
        suffix: Box<str>,
    },
    /// `web|db`, `(web|db)`: few words.
    Words {
        words: Vec<Box<str>>,
        group: Option<usize>,
    },
    /// The same, many words.
    WordSet {
        words: HashSet<Box<str>>,
        group: Option<usize>,
    },
    Engine(Box<Regex>),
}

/// `.*` or `.+` where the dot matches every character.
pub(super) struct Wild {
    not_empty: bool,
    /// The group that captures it.
    group: Option<usize>,
}

/// Where the groups of a match are.
#[derive(Debug, Clone)]
pub(super) enum Found {
    /// The whole text of this length, and one group with its span.
    Whole {
        length: usize,
        group: Option<(usize, (usize, usize))>,
    },
    Engine(CaptureLocations),
}

impl Found {
    pub(super) fn group(&self, index: usize) -> Option<(usize, usize)> {
        match self {
            Found::Whole { length, .. } if index == 0 => Some((0, *length)),
            Found::Whole { group, .. } => group.filter(|(at, _)| *at == index).map(|(_, span)| span),
            Found::Engine(locations) => locations.get(index),
        }
    }
}

impl Shape {
    /// Chooses the cheapest way to match `root`.
    ///
    /// # Errors
    /// The pattern is too large for the engine.
    pub(super) fn of(root: &Node) -> Result<Self, GoRegexErrorKind> {
        if let Some(shape) = whole_text(root).and_then(plain) {
            return Ok(shape);
        }
        let mut pattern = String::new();
        root.translate(&mut pattern);
        RegexBuilder::new(&pattern)
            .size_limit(MAX_COMPILED_BYTES)
            .nest_limit(MAX_NESTING)
            .build()
            .map(|regex| Shape::Engine(Box::new(regex)))
            .map_err(|_| GoRegexErrorKind::Large)
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        match self {
            Shape::Affix { prefix, wild, suffix } => affix(text, prefix, wild.as_ref(), suffix).is_some(),
            Shape::Words { words, .. } => words.iter().any(|word| **word == *text),
            Shape::WordSet { words, .. } => words.contains(text),
            Shape::Engine(regex) => regex.is_match(text.as_bytes()),
        }
    }

    /// The first match that starts at byte `start` or later. Shapes without an engine match the whole text only.
    pub(super) fn find_at(&self, text: &str, start: usize) -> Option<Found> {
        let whole = |group: Option<usize>, span| {
            Some(Found::Whole { length: text.len(), group: group.map(|group| (group, span)) })
        };
        match self {
            Shape::Engine(regex) => {
                let mut locations = regex.capture_locations();
                regex.captures_read_at(&mut locations, text.as_bytes(), start)?;
                Some(Found::Engine(locations))
            }
            _ if start > 0 => None,
            Shape::Affix { prefix, wild, suffix } => {
                let span = affix(text, prefix, wild.as_ref(), suffix)?;
                whole(wild.as_ref().and_then(|wild| wild.group), span)
            }
            Shape::Words { group, .. } | Shape::WordSet { group, .. } => {
                if self.is_match(text) {
                    whole(*group, (0, text.len()))
                } else {
                    None
                }
            }
        }
    }
}

/// The span of what `wild` matches.
fn affix(text: &str, prefix: &str, wild: Option<&Wild>, suffix: &str) -> Option<(usize, usize)> {
    let rest = text.strip_prefix(prefix)?.strip_suffix(suffix)?;
    let fits = match wild {
        None => rest.is_empty(),
        Some(wild) => !(wild.not_empty && rest.is_empty()),
    };
    fits.then_some((prefix.len(), prefix.len() + rest.len()))
}

/// What stands between `^` and `$`.
fn whole_text(root: &Node) -> Option<&[Node]> {
    match &root.kind {
        Kind::Concat(parts) => match parts.as_slice() {
            [first, inner @ .., last] if is_look(first, Look::TextStart) && is_look(last, Look::TextEnd) => {
                Some(inner)
            }
            _ => None,
        },
        _ => None,
    }
}

fn is_look(node: &Node, look: Look) -> bool {
    matches!(node.kind, Kind::Look(found) if found == look)
}

/// A shape without an engine for the parts between the anchors.
fn plain(inner: &[Node]) -> Option<Shape> {
    if let [only] = inner {
        let (node, group) = uncaptured(only);
        if let Some(words) = words(node) {
            return Some(match words.len() {
                n if n < SET_FROM => Shape::Words { words, group },
                _ => Shape::WordSet { words: words.into_iter().collect(), group },
            });
        }
    }
    let (prefix, rest) = split_literal(inner);
    let (wild, rest) = match rest.split_first().and_then(|(first, after)| Some((wild(first)?, after))) {
        Some((wild, after)) => (Some(wild), after),
        None => (None, rest),
    };
    let (suffix, rest) = split_literal(rest);
    rest.is_empty().then(|| Shape::Affix { prefix: prefix.into(), wild, suffix: suffix.into() })
}

/// The node, or what it captures as the first and only group.
fn uncaptured(node: &Node) -> (&Node, Option<usize>) {
    match &node.kind {
        Kind::Capture(sub) => (sub, Some(1)),
        _ => (node, None),
    }
}

fn words(node: &Node) -> Option<Vec<Box<str>>> {
    let word = |node: &Node| match &node.kind {
        Kind::Literal(text) => Some(text.as_str().into()),
        Kind::Empty => Some("".into()),
        _ => None,
    };
    match &node.kind {
        Kind::Alternate(parts) => parts.iter().map(word).collect(),
        _ => word(node).map(|word| vec![word]),
    }
}

fn split_literal(nodes: &[Node]) -> (&str, &[Node]) {
    match nodes {
        [Node { kind: Kind::Literal(text), .. }, rest @ ..] => (text, rest),
        _ => ("", nodes),
    }
}

fn wild(node: &Node) -> Option<Wild> {
    let (node, group) = uncaptured(node);
    let Kind::Repeat(sub, Repetition { min: min @ (0 | 1), max: None, .. }) = &node.kind else { return None };
    matches!(sub.kind, Kind::AnyChar).then_some(Wild { not_empty: *min == 1, group })
}

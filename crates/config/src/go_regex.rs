//! Regular expressions as Go's `regexp` package understands them, on top of the `regex` crate.
//!
//! The two dialects differ in silence (`\d` is ASCII in Go, `[a&&b]` is no intersection), so Go's grammar
//! (`regexp/syntax`, flags `Perl`) is parsed here and written anew for the `regex` crate; what Go refuses is refused
//! with Go's own words. Both engines search leftmost-first in linear time.

mod parse;
mod shape;
mod syntax;
mod template;
mod unicode;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use shape::Shape;
pub use template::Template;

/// Largest compiled form. Go has no such limit; classes like `\pL{1000}` need most of it.
const MAX_COMPILED_BYTES: usize = 128 << 20;
/// Deepest pattern that the `regex` crate is handed; Go's own limit is checked before.
const MAX_NESTING: u32 = 10_000;

/// What Go's parser calls an error (`syntax.ErrorCode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GoRegexErrorKind {
    /// `[a-\d` and names that `\p{…}` does not know.
    #[error("invalid character class range")]
    InvalidCharRange,
    /// `\q`, a back-reference, `\C`, `\x{}`.
    #[error("invalid escape sequence")]
    InvalidEscape,
    /// `(?P<n` and names other than letters, digits and `_`.
    #[error("invalid named capture")]
    InvalidNamedCapture,
    /// Look-around, flags other than `imsU`.
    #[error("invalid or unsupported Perl syntax")]
    InvalidPerlOp,
    /// `a**`.
    #[error("invalid nested repetition operator")]
    InvalidRepeatOp,
    /// More than 1000, nested counts multiplied, or `{2,1}`.
    #[error("invalid repeat count")]
    InvalidRepeatSize,
    /// `[a`.
    #[error("missing closing ]")]
    MissingBracket,
    /// `(a`.
    #[error("missing closing )")]
    MissingParen,
    /// `*a`.
    #[error("missing argument to repetition operator")]
    MissingRepeatArgument,
    /// `a\`.
    #[error("trailing backslash at end of expression")]
    TrailingBackslash,
    /// `a)`.
    #[error("unexpected )")]
    UnexpectedParen,
    /// More than 1000 levels.
    #[error("expression nests too deeply")]
    NestingDepth,
    /// More than Go's instructions, or than 128 MiB when compiled here.
    #[error("expression too large")]
    Large,
}

/// A pattern that Go refuses. Prints as Go prints it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {kind}: `{expression}`")]
pub struct GoRegexError {
    /// What is wrong.
    pub kind: GoRegexErrorKind,
    /// Where the fault starts, in bytes of the pattern that was given.
    pub offset: usize,
    /// The part at fault; the whole of it, anchors included, where it cannot be narrowed down.
    pub expression: String,
}

/// A compiled pattern. Cheap to clone; equal patterns that are alive at the same time share one compiled form.
#[derive(Clone)]
pub struct GoRegex(Arc<Compiled>);

struct Compiled {
    pattern: Box<str>,
    /// Name of each group, group 0 first; `""` where it has none.
    group_names: Vec<String>,
    shape: Shape,
}

const ANCHOR_START: &str = "^(?s:";
const ANCHOR_END: &str = ")$";

/// Compiled patterns that are in use, by pattern.
static IN_USE: Mutex<Option<HashMap<Box<str>, Weak<Compiled>>>> = Mutex::new(None);

impl GoRegex {
    /// Compiles `^(?s:pattern)$`, which is how Prometheus 3 reads every relabelling and matcher pattern: it has to
    /// match the whole text, and a dot matches a newline.
    ///
    /// As in Prometheus the anchors are put around the text, so `a)|(?:b` is a pattern too.
    ///
    /// # Errors
    /// What Go's `regexp.Compile` refuses.
    pub fn anchored(pattern: &str) -> Result<Self, GoRegexError> {
        if let Some(shared) = in_use(pattern) {
            return Ok(Self(shared));
        }
        let whole = format!("{ANCHOR_START}{pattern}{ANCHOR_END}");
        let parsed = parse::parse(&whole).map_err(|error| unwrap_anchors(error, pattern.len()))?;
        let shape =
            Shape::of(&parsed.root).map_err(|kind| GoRegexError { kind, offset: 0, expression: whole })?;
        let compiled = Arc::new(Compiled { pattern: pattern.into(), group_names: parsed.group_names, shape });
        remember(&compiled);
        Ok(Self(compiled))
    }

    /// The pattern as it was given, without the anchors.
    pub fn pattern(&self) -> &str {
        &self.0.pattern
    }

    /// Whether the pattern matches `text`.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.shape.is_match(text)
    }

    /// The first match in `text`.
    pub fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        self.captures_at(text, 0)
    }

    fn captures_at<'t>(&self, text: &'t str, start: usize) -> Option<Captures<'t>> {
        let found = self.0.shape.find_at(text, start)?;
        Some(Captures { text, found })
    }

    /// Parses a replacement text for this pattern.
    pub fn template(&self, text: &str) -> Template {
        Template::parse(text, &self.0.group_names)
    }

    /// Replaces every match in `text` (Go `ReplaceAllString`): an empty match right after a match is left alone.
    pub fn replace_all(&self, text: &str, template: &Template) -> String {
        let mut out = String::new();
        let mut copied = 0;
        let mut search = 0;
        while search <= text.len() {
            let Some(captures) = self.captures_at(text, search) else { break };
            let (start, end) = captures.span();
            out.push_str(&text[copied..start]);
            if end > copied || start == 0 {
                template.expand(&captures, &mut out);
            }
            copied = end;
            let width = text[search..].chars().next().map_or(1, char::len_utf8);
            search = if search + width > end { search + width } else { end };
        }
        out.push_str(&text[copied.min(text.len())..]);
        out
    }
}

impl PartialEq for GoRegex {
    fn eq(&self, other: &Self) -> bool {
        self.pattern() == other.pattern()
    }
}

impl Eq for GoRegex {}

impl fmt::Debug for GoRegex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "GoRegex({:?})", self.pattern())
    }
}

/// Where a pattern and its groups matched.
#[derive(Debug, Clone)]
pub struct Captures<'t> {
    text: &'t str,
    found: shape::Found,
}

impl<'t> Captures<'t> {
    /// Start and end of the whole match, in bytes.
    pub fn span(&self) -> (usize, usize) {
        self.found.group(0).unwrap_or_default()
    }

    /// The text of a group, or `None` where it took no part in the match.
    pub fn group(&self, index: usize) -> Option<&'t str> {
        self.found.group(index).map(|(start, end)| &self.text[start..end])
    }
}

fn in_use(pattern: &str) -> Option<Arc<Compiled>> {
    let guard = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    guard.as_ref()?.get(pattern)?.upgrade()
}

fn remember(compiled: &Arc<Compiled>) {
    let mut guard = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    let patterns = guard.get_or_insert_default();
    if patterns.len() == patterns.capacity() {
        patterns.retain(|_, compiled| compiled.strong_count() > 0);
    }
    patterns.insert(compiled.pattern.clone(), Arc::downgrade(compiled));
}

/// Makes the offset one of the pattern that was given.
fn unwrap_anchors(mut error: GoRegexError, length: usize) -> GoRegexError {
    error.offset = error.offset.saturating_sub(ANCHOR_START.len()).min(length);
    error
}

#[cfg(test)]
mod tests;

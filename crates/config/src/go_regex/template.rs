//! Replacement texts with `$1`, `${1}`, `$name` and `$$` (Go `Regexp.Expand`).

use std::sync::LazyLock;

use regex_syntax::hir::ClassUnicode;

use super::Captures;
use super::unicode::named_class;

/// A parsed replacement text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The first of these groups that took part in the match; none for a group that the pattern lacks.
    Groups(Vec<usize>),
}

impl Template {
    /// Parses `text`; group names resolve against `group_names`.
    ///
    /// A name is the longest run of letters, digits and `_`, so `$1x` is the group named `1x`. A `$` that begins no
    /// name stands for itself.
    pub(super) fn parse(text: &str, group_names: &[String]) -> Self {
        let mut template = Template { parts: Vec::new() };
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            template.push_text(&rest[..dollar]);
            rest = &rest[dollar + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                template.push_text("$");
                rest = after;
            } else if let Some((name, after)) = variable(rest) {
                template.parts.push(Part::Groups(groups(name, group_names)));
                rest = after;
            } else {
                template.push_text("$");
            }
        }
        template.push_text(rest);
        template
    }

    /// The text, if it holds no group.
    pub fn as_text(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends the text with the groups of `captures` filled in; groups without a match are empty.
    pub fn expand(&self, captures: &Captures<'_>, into: &mut String) {
        for part in &self.parts {
            match part {
                Part::Text(text) => into.push_str(text),
                Part::Groups(groups) => {
                    into.push_str(groups.iter().find_map(|&group| captures.group(group)).unwrap_or(""));
                }
            }
        }
    }

    fn push_text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(last)) => last.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }
}

/// The name after a `$`, with or without braces, and what follows it.
fn variable(text: &str) -> Option<(&str, &str)> {
    let (inner, braces) = text.strip_prefix('{').map_or((text, false), |inner| (inner, true));
    let end = inner.find(|c| !is_name_char(c)).unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    let rest = if braces { rest.strip_prefix('}')? } else { rest };
    (!name.is_empty()).then_some((name, rest))
}

/// The groups that `name` may stand for: a number without leading zeros, or any group of that name.
fn groups(name: &str, group_names: &[String]) -> Vec<usize> {
    let numeric = name.bytes().all(|b| b.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
    // Go stops counting at 100,000,000 and looks for a name instead.
    if numeric && name.len() <= 9 {
        return name.parse().into_iter().collect();
    }
    (0..group_names.len()).filter(|&group| group_names[group] == name).collect()
}

/// Go's `unicode.IsLetter`, `unicode.IsDigit`, and `_`.
fn is_name_char(c: char) -> bool {
    static LETTERS_AND_DIGITS: LazyLock<ClassUnicode> = LazyLock::new(|| {
        let mut class = named_class("L").expect("regex-syntax has general categories");
        class.union(&named_class("Nd").expect("regex-syntax has general categories"));
        class
    });
    if c.is_ascii() {
        return c == '_' || c.is_ascii_alphanumeric();
    }
    let ranges = LETTERS_AND_DIGITS.ranges();
    let after = ranges.partition_point(|range| range.start() <= c);
    after > 0 && ranges[after - 1].end() >= c
}

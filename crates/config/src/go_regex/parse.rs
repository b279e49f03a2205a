//! Go's regular expression grammar (`regexp/syntax` with the `Perl` flags, as `regexp.Compile` uses it).

use regex_syntax::hir::ClassUnicode;

use super::syntax::{Kind, Look, Node, Repetition};
use super::unicode;
use super::{GoRegexError, GoRegexErrorKind as Fault};

/// Deepest tree that Go accepts.
const MAX_HEIGHT: usize = 1000;
/// Most instructions that Go accepts: 128 MiB of 40 bytes each.
const MAX_SIZE: u64 = (128 << 20) / 40;
/// Highest count in `x{n,m}`, nested counts multiplied.
const MAX_COUNT: u32 = 1000;

/// A parsed expression.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) root: Node,
    /// Name of each group, group 0 first; `""` where it has none.
    pub(super) group_names: Vec<String>,
}

/// Parses all of `pattern`.
pub(super) fn parse(pattern: &str) -> Result<Parsed, GoRegexError> {
    let mut parser = Parser {
        whole: pattern,
        at: 0,
        flags: Flags::default(),
        frames: vec![Frame::default()],
        group_names: vec![String::new()],
        stacked_from: None,
    };
    while parser.at < pattern.len() {
        parser.step()?;
    }
    let Some(root) = parser.frames.pop().filter(|_| parser.frames.is_empty()) else {
        return Err(parser.whole_fault(Fault::MissingParen));
    };
    let root = root.into_node();
    parser.check_limits(&root)?;
    Ok(Parsed { root, group_names: parser.group_names })
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Flags {
    fold_case: bool,
    multi_line: bool,
    dot_newline: bool,
    non_greedy: bool,
}

/// An open parenthesis and what has been read after it.
#[derive(Debug, Default)]
struct Frame {
    /// Flags that hold again after the closing parenthesis.
    restore: Flags,
    captures: bool,
    alternatives: Vec<Node>,
    items: Vec<Node>,
}

impl Frame {
    fn end_alternative(&mut self) {
        let items = std::mem::take(&mut self.items);
        self.alternatives.push(Node::concat(items));
    }

    fn into_node(mut self) -> Node {
        self.end_alternative();
        Node::alternate(self.alternatives)
    }
}

struct Parser<'p> {
    whole: &'p str,
    at: usize,
    flags: Flags,
    frames: Vec<Frame>,
    group_names: Vec<String>,
    /// Where the previous token starts, if it was a repetition operator.
    stacked_from: Option<usize>,
}

impl<'p> Parser<'p> {
    fn rest(&self) -> &'p str {
        &self.whole[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        if found {
            self.at += prefix.len();
        }
        found
    }

    /// A fault about the text from `start` to where the parser stands.
    fn fault(&self, kind: Fault, start: usize) -> GoRegexError {
        GoRegexError { kind, offset: start, expression: self.whole[start..self.at].to_owned() }
    }

    fn whole_fault(&self, kind: Fault) -> GoRegexError {
        GoRegexError { kind, offset: 0, expression: self.whole.to_owned() }
    }

    fn top(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("the root frame is only taken at the end")
    }

    fn push(&mut self, node: Node) -> Result<(), GoRegexError> {
        self.check_limits(&node)?;
        self.top().items.push(node);
        Ok(())
    }

    fn check_limits(&self, node: &Node) -> Result<(), GoRegexError> {
        if node.size > MAX_SIZE {
            return Err(self.whole_fault(Fault::Large));
        }
        if node.height > MAX_HEIGHT {
            return Err(self.whole_fault(Fault::NestingDepth));
        }
        Ok(())
    }

    /// Reads one token.
    fn step(&mut self) -> Result<(), GoRegexError> {
        let start = self.at;
        let previous_repetition = self.stacked_from.take();
        let Some(c) = self.peek() else { return Ok(()) };
        match c {
            '(' if self.rest().starts_with("(?") => self.perl_group()?,
            '(' => {
                self.at += 1;
                self.open_capture(String::new());
            }
            '|' => {
                self.at += 1;
                self.top().end_alternative();
            }
            ')' => self.close_group()?,
            '^' => self.look(1, if self.flags.multi_line { Look::LineStart } else { Look::TextStart })?,
            '$' => self.look(1, if self.flags.multi_line { Look::LineEnd } else { Look::TextEnd })?,
            '.' => {
                self.at += 1;
                let kind = if self.flags.dot_newline { Kind::AnyChar } else { Kind::AnyCharButNewline };
                self.push(Node::leaf(kind))?;
            }
            '[' => self.class()?,
            '*' | '+' | '?' | '{' => match self.repetition_operator()? {
                Some(repetition) => {
                    self.repeat(repetition, start, previous_repetition)?;
                    self.stacked_from = Some(start);
                }
                None => {
                    self.at += 1;
                    self.literal('{')?;
                }
            },
            '\\' => self.escape()?,
            _ => {
                self.bump();
                self.literal(c)?;
            }
        }
        Ok(())
    }

    fn look(&mut self, length: usize, look: Look) -> Result<(), GoRegexError> {
        self.at += length;
        self.push(Node::leaf(Kind::Look(look)))
    }

    fn literal(&mut self, c: char) -> Result<(), GoRegexError> {
        let kind = match self.flags.fold_case.then(|| folded(c)).flatten() {
            Some(class) => Kind::Class(class),
            None => Kind::Literal(c.to_string()),
        };
        self.push(Node::leaf(kind))
    }

    /// A literal that was written as a number; surrogates match nothing in valid text.
    fn literal_code(&mut self, code: u32) -> Result<(), GoRegexError> {
        match char::from_u32(code) {
            Some(c) => self.literal(c),
            None => self.push(Node::leaf(Kind::Class(ClassUnicode::empty()))),
        }
    }

    // Groups.

    fn open_capture(&mut self, name: String) {
        self.group_names.push(name);
        self.frames.push(Frame { restore: self.flags, captures: true, ..Frame::default() });
    }

    fn close_group(&mut self) -> Result<(), GoRegexError> {
        if self.frames.len() < 2 {
            return Err(self.whole_fault(Fault::UnexpectedParen));
        }
        self.at += 1;
        let frame = self.frames.pop().expect("two frames are there");
        self.flags = frame.restore;
        let captures = frame.captures;
        let node = frame.into_node();
        self.check_limits(&node)?;
        self.push(if captures { Node::capture(node) } else { node })
    }

    /// `(?…`: a named group, a flag group, or flags for the rest of the enclosing group.
    fn perl_group(&mut self) -> Result<(), GoRegexError> {
        let start = self.at;
        let rest = self.rest();
        if rest.len() > 4 && rest.starts_with("(?P<") {
            return self.named_capture(start, 4);
        }
        if rest.len() > 3 && rest.starts_with("(?<") {
            return self.named_capture(start, 3);
        }
        self.at += 2;
        let mut flags = self.flags;
        let mut negated = false;
        let mut saw_flag = false;
        while let Some(c) = self.bump() {
            match c {
                'i' => flags.fold_case = !negated,
                'm' => flags.multi_line = !negated,
                's' => flags.dot_newline = !negated,
                'U' => flags.non_greedy = !negated,
                '-' if !negated => {
                    negated = true;
                    saw_flag = false;
                    continue;
                }
                ':' | ')' if !negated || saw_flag => {
                    if c == ':' {
                        self.frames.push(Frame { restore: self.flags, ..Frame::default() });
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => break,
            }
            saw_flag = true;
        }
        Err(self.fault(Fault::InvalidPerlOp, start))
    }

    fn named_capture(&mut self, start: usize, prefix: usize) -> Result<(), GoRegexError> {
        let Some(end) = self.rest().find('>') else {
            self.at = self.whole.len();
            return Err(self.fault(Fault::InvalidNamedCapture, start));
        };
        let name = &self.rest()[prefix..end];
        self.at += end + 1;
        if name.is_empty() || !name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()) {
            return Err(self.fault(Fault::InvalidNamedCapture, start));
        }
        self.open_capture(name.to_owned());
        Ok(())
    }

    // Repetition.

    /// Reads `*`, `+`, `?` or `{n,m}`; `None` for a brace that opens no repetition and stays unread.
    fn repetition_operator(&mut self) -> Result<Option<Repetition>, GoRegexError> {
        let simple = |min, max| Some(Repetition { min, max, greedy: true, counted: false });
        let start = self.at;
        let repetition = match self.bump() {
            Some('*') => simple(0, None),
            Some('+') => simple(1, None),
            Some('?') => simple(0, Some(1)),
            _ => match self.counts() {
                Some((min, max)) => {
                    if min > MAX_COUNT || max.is_some_and(|max| max > MAX_COUNT || min > max) {
                        return Err(self.fault(Fault::InvalidRepeatSize, start));
                    }
                    Some(Repetition { min, max, greedy: true, counted: true })
                }
                None => {
                    self.at = start;
                    None
                }
            },
        };
        Ok(repetition)
    }

    /// `n}`, `n,}` or `n,m}`.
    fn counts(&mut self) -> Option<(u32, Option<u32>)> {
        let min = self.count()?;
        let max = match self.eat(",") {
            false => Some(min),
            true if self.rest().starts_with('}') => None,
            true => Some(self.count()?),
        };
        self.eat("}").then_some((min, max))
    }

    /// A decimal number without leading zeros; one that is too large becomes `u32::MAX`.
    fn count(&mut self) -> Option<u32> {
        let rest = self.rest();
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let text = &rest[..digits];
        if text.is_empty() || (text.len() > 1 && text.starts_with('0')) {
            return None;
        }
        self.at += digits;
        Some(text.parse().unwrap_or(u32::MAX))
    }

    fn repeat(
        &mut self,
        mut repetition: Repetition,
        start: usize,
        previous: Option<usize>,
    ) -> Result<(), GoRegexError> {
        repetition.greedy = self.eat("?") == self.flags.non_greedy;
        if let Some(previous) = previous {
            return Err(self.fault(Fault::InvalidRepeatOp, previous));
        }
        let Some(sub) = self.top().items.pop() else {
            return Err(self.fault(Fault::MissingRepeatArgument, start));
        };
        let node = Node::repeat(sub, repetition);
        self.check_limits(&node)?;
        let many = repetition.min >= 2 || repetition.max.is_some_and(|max| max >= 2);
        if repetition.counted && many && !node.repeats_within(MAX_COUNT) {
            return Err(self.fault(Fault::InvalidRepeatSize, start));
        }
        self.push(node)
    }

    // Escapes.

    fn escape(&mut self) -> Result<(), GoRegexError> {
        let start = self.at;
        match self.rest()[1..].chars().next() {
            Some('A') => return self.look(2, Look::TextStart),
            Some('z') => return self.look(2, Look::TextEnd),
            Some('b') => return self.look(2, Look::WordBoundary),
            Some('B') => return self.look(2, Look::NotWordBoundary),
            Some('C') => {
                self.at += 2;
                return Err(self.fault(Fault::InvalidEscape, start));
            }
            Some('Q') => return self.quotation(),
            _ => {}
        }
        if let Some(class) = self.escaped_class()? {
            return self.push(Node::leaf(class_kind(class)));
        }
        let code = self.escaped_char()?;
        self.literal_code(code)
    }

    /// `\Q…\E`, or `\Q…` up to the end.
    fn quotation(&mut self) -> Result<(), GoRegexError> {
        self.at += 2;
        let rest = self.rest();
        let (text, skip) = match rest.find(r"\E") {
            Some(end) => (&rest[..end], end + 2),
            None => (rest, rest.len()),
        };
        for c in text.chars() {
            self.literal(c)?;
        }
        self.at += skip;
        Ok(())
    }

    /// `\pN`, `\p{Name}`, `\d`, `\s`, `\w` and their negations; `None` where none of them is next.
    fn escaped_class(&mut self) -> Result<Option<ClassUnicode>, GoRegexError> {
        let mut chars = self.rest().chars();
        let (Some('\\'), Some(letter)) = (chars.next(), chars.next()) else { return Ok(None) };
        if matches!(letter, 'p' | 'P') {
            return self.unicode_class(letter == 'P').map(Some);
        }
        let Some(class) = unicode::perl_class(letter.to_ascii_lowercase()) else { return Ok(None) };
        self.at += 2;
        Ok(Some(self.finish_item(class, letter.is_ascii_uppercase())))
    }

    fn unicode_class(&mut self, mut negated: bool) -> Result<ClassUnicode, GoRegexError> {
        let start = self.at;
        self.at += 2;
        let name_start = self.at;
        let mut name = match self.bump() {
            Some('{') => {
                let Some(end) = self.rest().find('}') else {
                    self.at = self.whole.len();
                    return Err(self.fault(Fault::InvalidCharRange, start));
                };
                let name = &self.rest()[..end];
                self.at += end + 1;
                name
            }
            _ => &self.whole[name_start..self.at],
        };
        if let Some(rest) = name.strip_prefix('^') {
            negated = !negated;
            name = rest;
        }
        let Some(class) = unicode::named_class(name) else {
            return Err(self.fault(Fault::InvalidCharRange, start));
        };
        Ok(self.finish_item(class, negated))
    }

    /// Folds, then negates, as Go does for each item of a class.
    fn finish_item(&self, mut class: ClassUnicode, negated: bool) -> ClassUnicode {
        if self.flags.fold_case {
            class.case_fold_simple();
        }
        if negated {
            class.negate();
        }
        class
    }

    /// A backslash and what it escapes: the code point it stands for.
    fn escaped_char(&mut self) -> Result<u32, GoRegexError> {
        let start = self.at;
        self.at += 1;
        let Some(c) = self.bump() else {
            return Err(GoRegexError {
                kind: Fault::TrailingBackslash,
                offset: start,
                expression: String::new(),
            });
        };
        let octal_next = |parser: &Self| parser.rest().starts_with(|c: char| ('0'..='7').contains(&c));
        let code = match c {
            '0' => Some(self.octal(0)),
            '1'..='7' if octal_next(self) => Some(self.octal(u32::from(c) - u32::from('0'))),
            'x' => self.hexadecimal(),
            'a' => Some(0x07),
            'f' => Some(0x0c),
            'n' => Some(0x0a),
            'r' => Some(0x0d),
            't' => Some(0x09),
            'v' => Some(0x0b),
            _ if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(u32::from(c)),
            _ => None,
        };
        code.ok_or_else(|| self.fault(Fault::InvalidEscape, start))
    }

    /// Up to two more octal digits.
    fn octal(&mut self, mut code: u32) -> u32 {
        for _ in 0..2 {
            match self.peek().and_then(|c| c.to_digit(8)) {
                Some(digit) => code = code * 8 + digit,
                None => break,
            }
            self.at += 1;
        }
        code
    }

    /// `7F` or `{10FFFF}`.
    fn hexadecimal(&mut self) -> Option<u32> {
        let first = self.bump()?;
        if first != '{' {
            let second = self.bump();
            return Some(first.to_digit(16)? * 16 + second?.to_digit(16)?);
        }
        let mut code = 0;
        let mut digits = 0;
        loop {
            let c = self.bump()?;
            if c == '}' {
                return (digits > 0).then_some(code);
            }
            code = code * 16 + c.to_digit(16)?;
            if code > 0x10_ffff {
                return None;
            }
            digits += 1;
        }
    }

    // Classes.

    fn class(&mut self) -> Result<(), GoRegexError> {
        let start = self.at;
        self.at += 1;
        let negated = self.eat("^");
        let mut class = ClassUnicode::empty();
        let mut first = true;
        while first || !self.rest().starts_with(']') {
            first = false;
            let item = match self.posix_class()? {
                Some(item) => Some(item),
                None => self.escaped_class()?,
            };
            let item = match item {
                Some(item) => item,
                None => self.class_range(start)?,
            };
            class.union(&item);
        }
        self.at += 1;
        if negated {
            class.negate();
        }
        self.push(Node::leaf(class_kind(class)))
    }

    /// `[:name:]` within a class; `None` where none is next.
    fn posix_class(&mut self) -> Result<Option<ClassUnicode>, GoRegexError> {
        let rest = self.rest();
        let Some(inner) = rest.strip_prefix("[:") else { return Ok(None) };
        let Some(end) = inner.find(":]") else { return Ok(None) };
        let start = self.at;
        self.at += 2 + end + 2;
        let name = &inner[..end];
        let (name, negated) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
        match unicode::posix_class(name) {
            Some(class) => Ok(Some(self.finish_item(class, negated))),
            None => Err(self.fault(Fault::InvalidCharRange, start)),
        }
    }

    /// One character or `low-high`.
    fn class_range(&mut self, class_start: usize) -> Result<ClassUnicode, GoRegexError> {
        let start = self.at;
        let low = self.class_char(class_start)?;
        let mut high = low;
        let rest = self.rest();
        if rest.len() >= 2 && rest.starts_with('-') && !rest.starts_with("-]") {
            self.at += 1;
            high = self.class_char(class_start)?;
            if high < low {
                return Err(self.fault(Fault::InvalidCharRange, start));
            }
        }
        Ok(self.finish_item(unicode::ranges(&[(low, high)]), false))
    }

    fn class_char(&mut self, class_start: usize) -> Result<u32, GoRegexError> {
        match self.peek() {
            None => Err(self.fault(Fault::MissingBracket, class_start)),
            Some('\\') => self.escaped_char(),
            Some(c) => {
                self.bump();
                Ok(u32::from(c))
            }
        }
    }
}

/// A class of one character is that literal, so that it joins its neighbours.
fn class_kind(class: ClassUnicode) -> Kind {
    match class.ranges() {
        [only] if only.start() == only.end() => Kind::Literal(only.start().to_string()),
        _ => Kind::Class(class),
    }
}

/// The case variants of `c`, or `None` if there is only itself.
fn folded(c: char) -> Option<ClassUnicode> {
    let code = u32::from(c);
    let mut class = unicode::ranges(&[(code, code)]);
    class.case_fold_simple();
    let single = matches!(class.ranges(), [only] if only.start() == only.end());
    (!single).then_some(class)
}

//! Text to tokens. Brackets and braces change what a character means, so the lexer follows them as
//! Prometheus' does (`promql/parser/lex.go`).

use crate::ast::Span;
use crate::quote::quote;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    End,
    /// What is wrong is the lexer's `error`.
    Error,
    Identifier,
    /// An identifier with a colon.
    MetricIdentifier,
    Number,
    Duration,
    Text,
    Punctuation(&'static str),
    Operator(&'static str),
    Aggregator(&'static str),
    Keyword(&'static str),
    /// `start`, `end`, `step`, `range`, `min_of`, `max_of`.
    Preprocessor(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    pub(super) span: Span,
}

impl Token<'_> {
    /// As an error names it.
    pub(super) fn describe(&self) -> String {
        match self.kind {
            Kind::End => "end of input".to_owned(),
            Kind::Error => "error".to_owned(),
            Kind::Identifier => format!("identifier {}", quote(self.text)),
            Kind::MetricIdentifier => format!("metric identifier {}", quote(self.text)),
            Kind::Number => format!("number {}", shortened(self.text)),
            Kind::Duration => format!("duration {}", shortened(self.text)),
            Kind::Text => format!("string {}", shortened(self.text)),
            Kind::Punctuation(_) | Kind::Preprocessor(_) => quote(self.text),
            Kind::Operator(_) => format!("<op:{}>", self.text),
            Kind::Aggregator(_) => format!("<aggr:{}>", self.text),
            Kind::Keyword(_) => format!("<{}>", self.text),
        }
    }
}

fn shortened(text: &str) -> String {
    if text.len() <= 10 {
        return quote(text);
    }
    format!("{}...", quote(&text.chars().take(10).collect::<String>()))
}

const OPERATOR_WORDS: [&str; 4] = ["and", "or", "unless", "atan2"];
const KEYWORDS: [&str; 13] = [
    "offset",
    "smoothed",
    "anchored",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "fill",
    "fill_left",
    "fill_right",
    "bool",
];
const PREPROCESSORS: [&str; 6] = ["start", "end", "step", "range", "max_of", "min_of"];
const DURATION_WORDS: [&str; 4] = ["step", "range", "max_of", "min_of"];

fn word_kind(word: &str) -> Kind {
    if !word.is_ascii() {
        return Kind::Identifier;
    }
    let lower = word.to_ascii_lowercase();
    let among = |words: &[&'static str]| words.iter().copied().find(|candidate| **candidate == lower);
    if let Some(word) = among(&OPERATOR_WORDS) {
        return Kind::Operator(word);
    }
    if let Some(word) = among(&KEYWORDS) {
        return Kind::Keyword(word);
    }
    if let Some(word) = among(&PREPROCESSORS) {
        return Kind::Preprocessor(word);
    }
    if let Some(op) = crate::ast::AggregateOp::ALL.iter().find(|op| op.name() == lower) {
        return Kind::Aggregator(op.name());
    }
    if lower == "inf" || lower == "nan" {
        return Kind::Number;
    }
    if word.contains(':') { Kind::MetricIdentifier } else { Kind::Identifier }
}

/// All tokens; the last one is `End` or `Error`, which comes with what is wrong.
pub(super) fn tokens(input: &str, unicode_names: bool) -> (Vec<Token<'_>>, Option<String>) {
    let mut lexer = Lexer {
        input,
        at: 0,
        start: 0,
        parens: 0,
        in_braces: false,
        in_brackets: false,
        colon: false,
        duration: false,
        unicode_names,
        tokens: Vec::new(),
    };
    let error = loop {
        match lexer.token() {
            Ok(true) => {}
            Ok(false) => break None,
            Err(error) => break Some(error),
        }
    };
    let kind = if error.is_some() { Kind::Error } else { Kind::End };
    let start = if error.is_some() { lexer.start } else { input.len() };
    let span = Span { start, end: input.len() };
    lexer.tokens.push(Token { kind, text: "", span });
    (lexer.tokens, error)
}

struct Lexer<'a> {
    input: &'a str,
    at: usize,
    start: usize,
    parens: usize,
    in_braces: bool,
    in_brackets: bool,
    /// Whether the brackets had a colon.
    colon: bool,
    /// Whether the brackets had a duration.
    duration: bool,
    unicode_names: bool,
    tokens: Vec<Token<'a>>,
}

fn is_space(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\n' | '\r')
}

fn is_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

fn quoted(char: Option<char>) -> String {
    match char {
        None => "'\u{fffd}'".to_owned(),
        Some('\'') => "'\\''".to_owned(),
        Some(char) => {
            let text = quote(&char.to_string());
            let inner = &text[1..text.len() - 1];
            format!("'{}'", if inner == "\\\"" { "\"" } else { inner })
        }
    }
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.input[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let char = self.peek()?;
        self.at += char.len_utf8();
        Some(char)
    }

    fn accept(&mut self, set: &str) -> bool {
        let accepted = self.peek().is_some_and(|char| set.contains(char));
        if accepted {
            self.next();
        }
        accepted
    }

    fn accept_text(&mut self, text: &str) -> bool {
        let accepted = self.rest().starts_with(text);
        if accepted {
            self.at += text.len();
        }
        accepted
    }

    fn emit(&mut self, kind: Kind) {
        let span = Span { start: self.start, end: self.at };
        self.tokens.push(Token { kind, text: &self.input[self.start..self.at], span });
        self.start = self.at;
    }

    fn is_name_start(&self, char: char) -> bool {
        char.is_ascii_alphabetic()
            || char == '_'
            || (self.unicode_names && !char.is_ascii() && char.is_alphabetic())
    }

    fn is_name_continuation(&self, char: char) -> bool {
        self.is_name_start(char) || char.is_ascii_digit() || (self.unicode_names && char == '.')
    }

    /// Reads one token; false at the end of the input.
    fn token(&mut self) -> Result<bool, String> {
        self.skip_blank();
        self.start = self.at;
        if self.in_braces {
            return self.in_braces_token();
        }
        let Some(char) = self.next() else { return self.end() };
        match char {
            '(' => {
                self.parens += 1;
                self.emit(Kind::Punctuation("("));
            }
            ')' => {
                if self.parens == 0 {
                    return Err(format!("unexpected right parenthesis {}", quoted(Some(char))));
                }
                self.parens -= 1;
                self.emit(Kind::Punctuation(")"));
            }
            ',' => self.emit(Kind::Punctuation(",")),
            '+' => self.emit(Kind::Operator("+")),
            '-' => self.emit(Kind::Operator("-")),
            '*' => self.emit(Kind::Operator("*")),
            '/' => self.emit(Kind::Operator("/")),
            '%' => self.emit(Kind::Operator("%")),
            '^' => self.emit(Kind::Operator("^")),
            '0'..='9' => self.number_or_duration()?,
            '.' if self.peek().is_some_and(|next| next.is_ascii_digit()) => self.number_or_duration()?,
            ']' if self.in_brackets => {
                self.in_brackets = false;
                self.emit(Kind::Punctuation("]"));
            }
            ']' => return Err(format!("unexpected right bracket {}", quoted(Some(char)))),
            _ if self.in_brackets => self.bracketed(char)?,
            _ => self.plain(char)?,
        }
        Ok(true)
    }

    fn end(&self) -> Result<bool, String> {
        if self.in_brackets {
            Err("unclosed left bracket".to_owned())
        } else if self.parens > 0 {
            Err("unclosed left parenthesis".to_owned())
        } else {
            Ok(false)
        }
    }

    fn skip_blank(&mut self) {
        loop {
            while self.peek().is_some_and(is_space) {
                self.next();
            }
            if self.peek() != Some('#') || (self.in_brackets && !self.in_braces) {
                return;
            }
            while self.peek().is_some_and(|char| char != '\n' && char != '\r') {
                self.next();
            }
        }
    }

    /// A token outside of braces and brackets.
    fn plain(&mut self, char: char) -> Result<(), String> {
        match char {
            '=' if self.accept("=") => self.emit(Kind::Operator("==")),
            '=' if self.peek() == Some('~') => {
                return Err("unexpected character after '=': '~'".to_owned());
            }
            '=' => self.emit(Kind::Punctuation("=")),
            '!' if self.accept("=") => self.emit(Kind::Operator("!=")),
            '!' => return Err(format!("unexpected character after '!': {}", quoted(self.peek()))),
            '<' if self.accept("=") => self.emit(Kind::Operator("<=")),
            '<' if self.accept("/") => self.emit(Kind::Operator("</")),
            '<' => self.emit(Kind::Operator("<")),
            '>' if self.accept("=") => self.emit(Kind::Operator(">=")),
            '>' if self.accept("/") => self.emit(Kind::Operator(">/")),
            '>' => self.emit(Kind::Operator(">")),
            '"' | '\'' | '`' => self.text(char)?,
            '{' => {
                self.in_braces = true;
                self.emit(Kind::Punctuation("{"));
            }
            '[' => {
                self.in_brackets = true;
                self.colon = false;
                self.duration = false;
                self.emit(Kind::Punctuation("["));
            }
            '@' => self.emit(Kind::Punctuation("@")),
            _ if self.is_name_start(char) || char == ':' => self.word(),
            _ => return Err(format!("unexpected character: {}", quoted(Some(char)))),
        }
        Ok(())
    }

    fn word(&mut self) {
        while self.peek().is_some_and(|char| self.is_name_continuation(char) || char == ':') {
            self.next();
        }
        let word = &self.input[self.start..self.at];
        let mut kind = word_kind(word);
        if matches!(kind, Kind::Keyword("fill" | "fill_left" | "fill_right")) {
            // Metrics may be called so; the modifiers have an opening parenthesis.
            let follows = self.rest().trim_start_matches(is_space);
            if !follows.starts_with('(') {
                kind = Kind::Identifier;
            }
        }
        if kind == Kind::Identifier && word.contains(':') {
            kind = Kind::MetricIdentifier;
        }
        self.emit(kind);
    }

    /// A token between brackets.
    fn bracketed(&mut self, char: char) -> Result<(), String> {
        match char {
            ':' if !self.duration => {
                Err("unexpected colon before duration in duration expression".to_owned())
            }
            ':' if self.colon => Err("unexpected repeated colon in duration expression".to_owned()),
            ':' => {
                self.colon = true;
                self.emit(Kind::Punctuation(":"));
                Ok(())
            }
            '[' => Err(format!("unexpected left bracket {}", quoted(Some(char)))),
            _ if char.is_ascii_alphabetic() => {
                while self.peek().is_some_and(|char| char.is_ascii_alphabetic() || char == '_') {
                    self.next();
                }
                let word = self.input[self.start..self.at].to_ascii_lowercase();
                match DURATION_WORDS.iter().find(|candidate| **candidate == word) {
                    Some(word) => {
                        self.duration = true;
                        self.emit(Kind::Preprocessor(word));
                        Ok(())
                    }
                    None => {
                        Err(format!("unexpected character in duration expression: {}", quoted(Some(char))))
                    }
                }
            }
            _ => Err(format!("unexpected character in duration expression: {}", quoted(Some(char)))),
        }
    }

    fn in_braces_token(&mut self) -> Result<bool, String> {
        let Some(char) = self.next() else {
            return Err("unexpected end of input inside braces".to_owned());
        };
        match char {
            ',' => self.emit(Kind::Punctuation(",")),
            '"' | '\'' | '`' => self.text(char)?,
            '=' if self.accept("~") => self.emit(Kind::Operator("=~")),
            '=' => self.emit(Kind::Punctuation("=")),
            '!' if self.accept("~") => self.emit(Kind::Operator("!~")),
            '!' if self.accept("=") => self.emit(Kind::Operator("!=")),
            '!' => {
                return Err(format!("unexpected character after '!' inside braces: {}", quoted(self.peek())));
            }
            '{' => return Err(format!("unexpected left brace {}", quoted(Some(char)))),
            '}' => {
                self.in_braces = false;
                self.emit(Kind::Punctuation("}"));
            }
            _ if self.is_name_start(char) => {
                while self.peek().is_some_and(|char| self.is_name_continuation(char)) {
                    self.next();
                }
                self.emit(Kind::Identifier);
            }
            _ => return Err(format!("unexpected character inside braces: {}", quoted(Some(char)))),
        }
        Ok(true)
    }

    fn text(&mut self, quote: char) -> Result<(), String> {
        loop {
            match self.next() {
                None if quote == '`' => return Err("unterminated raw string".to_owned()),
                None => return Err("unterminated quoted string".to_owned()),
                Some('\n') if quote != '`' => return Err("unterminated quoted string".to_owned()),
                Some('\\') if quote != '`' => self.escape(quote)?,
                Some(char) if char == quote => break,
                Some(_) => {}
            }
        }
        self.emit(Kind::Text);
        Ok(())
    }

    fn escape(&mut self, quote: char) -> Result<(), String> {
        let unterminated = || "escape sequence not terminated".to_owned();
        let escaped = self.next().ok_or_else(unterminated)?;
        let (mut length, radix, largest) = match escaped {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            char if char == quote => return Ok(()),
            '0'..='7' => (2, 8, 255),
            'x' => (2, 16, 255),
            'u' => (4, 16, 0x0010_ffff),
            'U' => (8, 16, 0x0010_ffff),
            char => {
                return Err(format!("unknown escape sequence U+{:04X} '{char}'", char as u32));
            }
        };
        let mut value = u64::from(escaped.to_digit(8).filter(|_| radix == 8).unwrap_or(0));
        while length > 0 {
            let char = self.next().ok_or_else(unterminated)?;
            let digit = char.to_digit(radix).ok_or_else(|| {
                format!("illegal character U+{:04X} '{char}' in escape sequence", char as u32)
            })?;
            value = value * u64::from(radix) + u64::from(digit);
            length -= 1;
        }
        if value > largest || (0xd800..0xe000).contains(&value) {
            return Err("escape sequence is an invalid Unicode code point".to_owned());
        }
        Ok(())
    }

    fn number_or_duration(&mut self) -> Result<(), String> {
        self.at = self.start;
        if self.number() {
            self.duration = true;
            self.emit(Kind::Number);
            return Ok(());
        }
        if self.remaining_duration() {
            self.duration = true;
            self.emit(Kind::Duration);
            return Ok(());
        }
        Err(format!("bad number or duration syntax: {}", quote(&self.input[self.start..self.at])))
    }

    /// The rest of a duration whose first digits are read.
    fn remaining_duration(&mut self) -> bool {
        if !self.accept("smhdwy") {
            return false;
        }
        self.accept("s");
        while self.accept("0123456789") {
            while self.accept("0123456789") {}
            if !self.accept("smhdw") {
                return false;
            }
            self.accept("s");
        }
        match self.peek() {
            Some(char) if is_word(char) => {
                self.next();
                false
            }
            _ => true,
        }
    }

    /// Reads what looks like a number. Whether it is one, the parser finds out.
    fn number(&mut self) -> bool {
        let initial = self.at;
        let mut digits = "0123456789";
        if self.accept_text("0x") || self.accept_text("0X") {
            self.accept("_");
            digits = "0123456789abcdefABCDEF";
        } else if self.accept("0") {
            // As any digit.
        }
        let hexadecimal = digits.len() > 10;
        let (mut dot, mut exponent) = (false, false);
        while let Some(char) = self.peek() {
            if digits.contains(char) {
                self.next();
            } else if char == '.' {
                self.next();
                if dot || hexadecimal || self.accept("_.") {
                    return false;
                }
                dot = true;
            } else if char == 'e' || char == 'E' {
                self.next();
                if exponent {
                    return false;
                }
                exponent = true;
                self.accept("+-");
                if self.accept("._eE") || self.peek().is_none() {
                    return false;
                }
            } else if char == '_' {
                self.next();
                if self.accept("._eE") || self.peek().is_none() {
                    return false;
                }
            } else {
                break;
            }
        }
        self.at > initial && !self.peek().is_some_and(is_word)
    }
}

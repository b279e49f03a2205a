//! Label selectors (`k8s.io/apimachinery/pkg/labels/selector.go`).

use std::collections::BTreeSet;
use std::fmt;

use super::SelectorError;

/// How a requirement compares the label with its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// `in (…)`, `=` and `==`: present, with one of the values.
    In,
    /// `notin (…)` and `!=`: absent, or with none of the values.
    NotIn,
    /// `key`: present.
    Exists,
    /// `!key`: absent.
    DoesNotExist,
    /// `key>n`: present, an integer, greater.
    GreaterThan,
    /// `key<n`: present, an integer, less.
    LessThan,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelRequirement {
    key: String,
    operator: Operator,
    values: BTreeSet<String>,
}

impl LabelRequirement {
    /// The label's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    fn matches(&self, value: Option<&str>) -> bool {
        match (self.operator, value) {
            (Operator::In, value) => value.is_some_and(|value| self.values.contains(value)),
            (Operator::NotIn, value) => value.is_none_or(|value| !self.values.contains(value)),
            (Operator::Exists, value) => value.is_some(),
            (Operator::DoesNotExist, value) => value.is_none(),
            (Operator::GreaterThan, value) => self.compare(value).is_some_and(|(label, bound)| label > bound),
            (Operator::LessThan, value) => self.compare(value).is_some_and(|(label, bound)| label < bound),
        }
    }

    fn compare(&self, value: Option<&str>) -> Option<(i64, i64)> {
        Some((value?.parse().ok()?, self.values.first()?.parse().ok()?))
    }
}

impl fmt::Display for LabelRequirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = || self.values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let key = &self.key;
        match (self.operator, self.values.len()) {
            (Operator::Exists, _) => write!(formatter, "{key}"),
            (Operator::DoesNotExist, _) => write!(formatter, "!{key}"),
            (Operator::In, 1) => write!(formatter, "{key}={}", joined()),
            (Operator::NotIn, 1) => write!(formatter, "{key}!={}", joined()),
            (Operator::In, _) => write!(formatter, "{key} in ({})", joined()),
            (Operator::NotIn, _) => write!(formatter, "{key} notin ({})", joined()),
            (Operator::GreaterThan, _) => write!(formatter, "{key}>{}", joined()),
            (Operator::LessThan, _) => write!(formatter, "{key}<{}", joined()),
        }
    }
}

/// A conjunction of requirements; the empty one matches everything.
///
/// `Display` is canonical: selectors that are written differently but are the same (order, `=` for `==` or
/// a one-element `in`) display equally, and what is displayed parses again to an equal selector.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct LabelSelector {
    requirements: Vec<LabelRequirement>,
}

impl LabelSelector {
    /// Parses `app=web,tier in (a, b),!canary`.
    ///
    /// # Errors
    /// What is wrong, where `labels.Parse` refuses the text.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Parser { tokens: lex(text)?, next: 0 }.selector()?;
        requirements.sort();
        requirements.dedup();
        Ok(Self { requirements })
    }

    /// Whether an object matches; `label` gives the value of a label, `None` when the object lacks it.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(label(&requirement.key)))
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The requirements, sorted.
    pub fn requirements(&self) -> &[LabelRequirement] {
        &self.requirements
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            let separator = if i == 0 { "" } else { "," };
            write!(formatter, "{separator}{requirement}")?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Symbol(&'static str),
    End,
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Word(word) => write!(formatter, "'{word}'"),
            Token::Symbol(symbol) => write!(formatter, "'{symbol}'"),
            Token::End => formatter.write_str("the end"),
        }
    }
}

/// Longest first, so that `==` is not read as two `=`.
const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

fn lex(text: &str) -> Result<Vec<Token>, SelectorError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if rest.is_empty() || rest.starts_with('\0') {
            tokens.push(Token::End);
            return Ok(tokens);
        }
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            tokens.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
            continue;
        }
        let end = rest.find([' ', '\t', '\r', '\n', '=', '!', '(', ')', ',', '>', '<', '\0']);
        let (word, tail) = rest.split_at(end.unwrap_or(rest.len()));
        tokens.push(Token::Word(word.to_owned()));
        rest = tail;
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).unwrap_or(&Token::End)
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(found) if *found == symbol);
        self.next += usize::from(found);
        found
    }

    fn selector(&mut self) -> Result<Vec<LabelRequirement>, SelectorError> {
        let mut requirements = Vec::new();
        if *self.peek() == Token::End {
            return Ok(requirements);
        }
        loop {
            requirements.push(self.requirement()?);
            match self.take() {
                Token::End => return Ok(requirements),
                Token::Symbol(",") => {}
                other => {
                    return Err(SelectorError(format!("found {other} where ',' or the end is expected")));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<LabelRequirement, SelectorError> {
        let negated = self.take_symbol("!");
        let Token::Word(key) = self.peek().clone() else {
            return Err(SelectorError(format!("found {} where a label key is expected", self.peek())));
        };
        self.next += 1;
        check_key(&key)?;
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            let operator = if negated { Operator::DoesNotExist } else { Operator::Exists };
            return Ok(LabelRequirement { key, operator, values: BTreeSet::new() });
        }
        if negated {
            return Err(SelectorError(format!(
                "found {} after '!{key}', which ends a requirement",
                self.peek()
            )));
        }
        let (operator, values) = self.condition()?;
        for value in &values {
            check_value(value)?;
            let integer = value.parse::<i64>().is_ok();
            if matches!(operator, Operator::GreaterThan | Operator::LessThan) && !integer {
                return Err(SelectorError(format!("'>' and '<' need an integer, not '{value}'")));
            }
        }
        Ok(LabelRequirement { key, operator, values })
    }

    fn condition(&mut self) -> Result<(Operator, BTreeSet<String>), SelectorError> {
        match self.take() {
            Token::Symbol("=" | "==") => Ok((Operator::In, self.exact_value()?)),
            Token::Symbol("!=") => Ok((Operator::NotIn, self.exact_value()?)),
            Token::Symbol(">") => Ok((Operator::GreaterThan, self.exact_value()?)),
            Token::Symbol("<") => Ok((Operator::LessThan, self.exact_value()?)),
            Token::Word(word) if word == "in" => Ok((Operator::In, self.value_set()?)),
            Token::Word(word) if word == "notin" => Ok((Operator::NotIn, self.value_set()?)),
            other => {
                Err(SelectorError(format!("found {other} where one of = == != in notin > < is expected")))
            }
        }
    }

    fn exact_value(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        match self.peek().clone() {
            Token::End | Token::Symbol(",") => Ok(BTreeSet::from([String::new()])),
            Token::Word(word) => {
                self.next += 1;
                Ok(BTreeSet::from([word]))
            }
            other @ Token::Symbol(_) => {
                Err(SelectorError(format!("found {other} where a value is expected")))
            }
        }
    }

    /// `(a, b)`; a missing value, as in `(,a)` or `()`, is the empty string.
    fn value_set(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        if !self.take_symbol("(") {
            return Err(SelectorError(format!("found {} where '(' is expected", self.peek())));
        }
        let mut values = BTreeSet::new();
        loop {
            match self.peek().clone() {
                Token::Word(word) => {
                    self.next += 1;
                    values.insert(word);
                }
                Token::Symbol("," | ")") => drop(values.insert(String::new())),
                other => return Err(SelectorError(format!("found {other} where a value is expected"))),
            }
            match self.take() {
                Token::Symbol(")") => return Ok(values),
                Token::Symbol(",") => {}
                other => return Err(SelectorError(format!("found {other} where ',' or ')' is expected"))),
            }
        }
    }
}

/// A qualified name: an optional DNS subdomain and `/`, then a name of at most 63 characters.
fn check_key(key: &str) -> Result<(), SelectorError> {
    let refuse = |why: &str| Err(SelectorError(format!("'{key}' is not a label key: {why}")));
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if prefix.is_some_and(|prefix| !is_dns_subdomain(prefix)) {
        return refuse("the part before '/' is not a lower-case DNS name of at most 253 characters");
    }
    if name.is_empty() || !is_name(name) {
        return refuse(
            "a name is 1 to 63 letters, digits, '-', '_' or '.', the first and last a letter or digit",
        );
    }
    Ok(())
}

fn check_value(value: &str) -> Result<(), SelectorError> {
    if value.is_empty() || is_name(value) {
        return Ok(());
    }
    Err(SelectorError(format!(
        "'{value}' is not a label value: at most 63 letters, digits, '-', '_' or '.', the first and last a letter or digit"
    )))
}

fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63 && edge(text.bytes().next()) && edge(text.bytes().last()) && text.bytes().all(inner)
}

fn is_dns_subdomain(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part = |part: &str| {
        part.bytes().next().is_some_and(letter)
            && part.bytes().last().is_some_and(letter)
            && part.bytes().all(|byte| letter(byte) || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_and_prints_canonically() {
        for (text, canonical) in [
            ("", ""),
            ("x", "x"),
            ("!x", "!x"),
            ("x=a,y==b", "x=a,y=b"),
            ("y=b , x = a", "x=a,y=b"),
            ("x!=a", "x!=a"),
            ("x=", "x="),
            ("x=,y", "x=,y"),
            ("x in (b,a)", "x in (a,b)"),
            ("x in (a)", "x=a"),
            ("x notin (a,b)", "x notin (a,b)"),
            ("x in ()", "x="),
            ("x in (,a)", "x in (,a)"),
            ("x in (a,,b)", "x in (,a,b)"),
            ("in in (in,notin)", "in in (in,notin)"),
            ("x>1,z<5", "x>1,z<5"),
            ("example.com/name=v", "example.com/name=v"),
            ("x in (foo,,baz),y,z notin ()", "x in (,baz,foo),y,z!="),
            ("a,a", "a"),
        ] {
            let selector = LabelSelector::parse(text).expect(text);
            assert_eq!(selector.to_string(), canonical, "{text}");
            assert_eq!(LabelSelector::parse(canonical).expect(canonical), selector, "{text}");
        }
    }

    #[test]
    fn refuses_what_kubernetes_refuses() {
        for text in [
            "x=a||y=b",
            "x==a==b",
            "!x=a",
            "x<a",
            "x in",
            "x in (a",
            "x in a",
            "x,",
            ",x",
            "x in (a b)",
            "x y",
            "=a",
            "x=a=b",
            "1!",
            "x=-a",
            "-x",
            "A.b/x/y",
            "Up/x",
            "/x",
            "x=(a)",
            "metadata.status=='Running'",
            "x=aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg",
        ] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn matches_as_kubernetes_does() {
        let labels = |key: &str| match key {
            "app" => Some("web"),
            "n" => Some("7"),
            "empty" => Some(""),
            _ => None,
        };
        for (text, expected) in [
            ("", true),
            ("app", true),
            ("!app", false),
            ("!other", true),
            ("app=web", true),
            ("app!=web", false),
            ("other!=web", true),
            ("other=web", false),
            ("app in (a,web)", true),
            ("app notin (a,web)", false),
            ("other notin (a)", true),
            ("empty=", true),
            ("other=", false),
            ("n>6", true),
            ("n>7", false),
            ("n<8", true),
            ("app>1", false),
            ("app=web,n>6,!other", true),
            ("app=web,n>9", false),
        ] {
            let selector = LabelSelector::parse(text).expect(text);
            assert_eq!(selector.matches(labels), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_displayed_parses_to_the_same(text in "(!?[a-c](=|==|!=| in | notin )?(\\([a-b]?(,[a-b]?){0,2}\\)|[a-b]?)(,)?){1,3}") {
            if let Ok(selector) = LabelSelector::parse(&text) {
                prop_assert_eq!(LabelSelector::parse(&selector.to_string()).expect("canonical form"), selector);
            }
        }
    }
}

//! Walking the tree by a schema: typed fields, all errors gathered, unknown keys reported with a guess.
//!
//! Values convert as go-yaml v2 converts them. A null leaves a field at its zero value, not at its default, so
//! every reader here gives the zero value for it; a field that is absent is not asked for at all.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use outrigger_model::duration;

use super::scalar::{Resolved, Scalar};
use super::{Document, Entry, Mark, Node, SyntaxError, Value};
use crate::byte_size;
use crate::error::{ConfigError, Location};
use crate::suggest::nearest;

/// Errors of one file that are listed.
const MOST_ERRORS: usize = 1_000;

/// Where errors of one file go.
#[derive(Debug)]
pub(crate) struct Report {
    path: Arc<str>,
    errors: RefCell<Vec<ConfigError>>,
}

impl Report {
    pub(crate) fn new(path: &str) -> Self {
        Self { path: path.into(), errors: RefCell::default() }
    }

    pub(crate) fn location(&self, mark: Option<Mark>) -> Location {
        let Mark { line, column } = mark.unwrap_or(Mark { line: 0, column: 0 });
        Location { path: self.path.clone(), line, column }
    }

    pub(crate) fn add(
        &self,
        mark: Option<Mark>,
        key: String,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let location = self.location(mark);
        self.errors.borrow_mut().push(ConfigError {
            location,
            key,
            message: message.into(),
            fix: fix.into(),
        });
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.errors.borrow().is_empty()
    }

    /// All errors, in order of place; of more than a thousand the rest is only counted.
    pub(crate) fn into_errors(self) -> Vec<ConfigError> {
        let mut errors = self.errors.into_inner();
        errors.sort_by(|a, b| a.location.cmp(&b.location));
        errors.dedup();
        let further = errors.len().saturating_sub(MOST_ERRORS);
        if further > 0 {
            errors.truncate(MOST_ERRORS);
            errors.push(ConfigError {
                location: Location { path: self.path, line: 0, column: 0 },
                key: String::new(),
                message: format!("{further} further errors are not listed"),
                fix: String::new(),
            });
        }
        errors
    }
}

/// Parses a file; everything that is wrong with its text is reported. `None` when no tree could be made.
pub(crate) fn parse_into(text: &str, report: &Report) -> Option<Document> {
    let mut problems = Vec::new();
    let document = super::parse(text, &mut problems).map_err(|error| problems.push(error)).ok();
    for SyntaxError { mark, key, message, fix } in problems {
        report.add(mark, key, message, fix);
    }
    document
}

/// Path of a key, shared between siblings.
#[derive(Debug)]
enum KeyPath {
    Root,
    Key(Rc<KeyPath>, Box<str>),
    Index(Rc<KeyPath>, usize),
}

impl KeyPath {
    fn write(&self, into: &mut String) {
        match self {
            KeyPath::Root => {}
            KeyPath::Key(parent, key) => {
                parent.write(into);
                let separator = if into.is_empty() { "" } else { "." };
                let _ = write!(into, "{separator}{key}");
            }
            KeyPath::Index(parent, index) => {
                parent.write(into);
                let _ = write!(into, "[{index}]");
            }
        }
    }
}

/// One value in the tree, with the key that leads to it.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    report: &'a Report,
    node: &'a Node,
    path: Rc<KeyPath>,
    /// Place of the value if it is a scalar, else of its key.
    mark: Mark,
    secret: bool,
}

impl<'a> Cursor<'a> {
    pub(crate) fn root(report: &'a Report, node: &'a Node) -> Self {
        Self { report, node, path: Rc::new(KeyPath::Root), mark: node.mark, secret: false }
    }

    fn child(&self, entry: &'a Entry, key: &str) -> Self {
        let mark = match entry.value.value {
            Value::Scalar(_) if !entry.value.is_null() => entry.value.mark,
            _ => entry.key.mark,
        };
        let path = Rc::new(KeyPath::Key(self.path.clone(), key.into()));
        Self { report: self.report, node: &entry.value, path, mark, secret: self.secret }
    }

    /// The same value, which no message may show.
    pub(crate) fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub(crate) fn node(&self) -> &'a Node {
        self.node
    }

    pub(crate) fn key(&self) -> String {
        let mut text = String::new();
        self.path.write(&mut text);
        text
    }

    pub(crate) fn location(&self) -> Location {
        self.report.location(Some(self.mark))
    }

    pub(crate) fn is_null(&self) -> bool {
        self.node.is_null()
    }

    /// Whether a type that reads itself is not handed this value, see [`Scalar::is_absent`].
    pub(crate) fn is_absent(&self) -> bool {
        matches!(&self.node.value, Value::Scalar(scalar) if scalar.is_absent())
    }

    /// Reports an error at this value.
    pub(crate) fn error(&self, message: impl Into<String>, fix: impl Into<String>) {
        self.report.add(Some(self.mark), self.key(), message, fix);
    }

    /// What messages call this value: its text, shortened, or what kind of value it is.
    pub(crate) fn shown(&self) -> String {
        match &self.node.value {
            Value::Scalar(_) if self.secret => "the secret".to_owned(),
            Value::Scalar(scalar) if self.is_null() && scalar.text().is_empty() => "nothing".to_owned(),
            Value::Scalar(scalar) => shorten(scalar.text()),
            Value::Sequence(_) => "a list".to_owned(),
            Value::Mapping(_) => "a mapping".to_owned(),
        }
    }

    fn expected(&self, what: &str, fix: &str) {
        self.error(format!("{what} is expected, not {}", self.shown()), fix);
    }

    fn scalar(&self, what: &str, fix: &str) -> Option<&'a Scalar> {
        match &self.node.value {
            Value::Scalar(scalar) => Some(scalar),
            Value::Sequence(_) | Value::Mapping(_) => {
                self.expected(what, fix);
                None
            }
        }
    }

    /// Text; a number or boolean stands as it is written. Null is the empty text.
    pub(crate) fn text(&self) -> Option<&'a str> {
        let scalar = self.scalar("text", "")?;
        Some(if scalar.is_null() { "" } else { scalar.text() })
    }

    pub(crate) fn owned_text(&self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        match self.scalar("true or false", "")?.resolve() {
            Resolved::Null => Some(false),
            Resolved::Bool(value) => Some(value),
            _ => {
                self.expected("true or false", "write true or false, without quotes");
                None
            }
        }
    }

    /// A whole number; a fraction is cut off, as go-yaml does.
    pub(crate) fn integer(&self) -> Option<i64> {
        let whole = match self.scalar("a whole number", "")?.resolve() {
            Resolved::Null => Some(0),
            Resolved::Int(value) => i64::try_from(value).ok(),
            Resolved::Float(value) if value.abs() < 9.2e18 => Some(value as i64),
            _ => None,
        };
        if whole.is_none() {
            self.expected("a whole number", "write digits, without quotes or unit");
        }
        whole
    }

    /// A whole number that is not negative.
    pub(crate) fn unsigned(&self) -> Option<u64> {
        let whole = match self.scalar("a whole number", "")?.resolve() {
            Resolved::Null => Some(0),
            Resolved::Int(value) => u64::try_from(value).ok(),
            Resolved::Float(value) if (0.0..1.8e19).contains(&value) => Some(value as u64),
            _ => None,
        };
        if whole.is_none() {
            self.expected("a whole number, 0 or more,", "write digits, without quotes or unit");
        }
        whole
    }

    pub(crate) fn float(&self) -> Option<f64> {
        match self.scalar("a number", "")?.resolve() {
            Resolved::Null => Some(0.0),
            Resolved::Int(value) => Some(value as f64),
            Resolved::Float(value) => Some(value),
            Resolved::Bool(_) | Resolved::Text => {
                self.expected("a number", "write digits, without quotes");
                None
            }
        }
    }

    /// A Prometheus duration such as `1m30s`.
    pub(crate) fn duration(&self) -> Option<Duration> {
        let scalar = self.scalar("a duration", "write for example 30s, 1m30s or 2h")?;
        if scalar.is_absent() {
            return Some(Duration::ZERO);
        }
        match duration::parse(scalar.text()) {
            Ok(value) => Some(value),
            Err(_) => {
                let fix = match scalar.text().parse::<f64>() {
                    Ok(_) => format!("give it a unit, for example {}s", scalar.text()),
                    Err(_) => "write for example 30s, 1m30s or 2h; units are ms s m h d w y".to_owned(),
                };
                self.error(format!("{} is not a duration", self.shown()), fix);
                None
            }
        }
    }

    /// A size such as `10MB`, in bytes; may be negative.
    pub(crate) fn size(&self) -> Option<i64> {
        let fix = "write for example 512KB, 10MB or 1GiB; KB and KiB are both 1024 bytes";
        let scalar = self.scalar("a size", fix)?;
        if scalar.is_null() {
            return Some(0);
        }
        let size = byte_size::parse(scalar.text());
        if size.is_none() {
            self.error(format!("{} is not a size", self.shown()), fix);
        }
        size
    }

    /// One of `known` names.
    pub(crate) fn one_of<T: Copy>(&self, what: &str, known: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            self.error(format!("{} is not a {what}", self.shown()), one_of_fix(text, &names));
        }
        found
    }

    /// The items of a list; null is the empty list.
    pub(crate) fn items(&self) -> Vec<Cursor<'a>> {
        let items = match &self.node.value {
            Value::Sequence(items) => items,
            Value::Scalar(scalar) if scalar.is_null() => return Vec::new(),
            Value::Scalar(_) | Value::Mapping(_) => {
                self.expected("a list", "begin each entry with \"- \"");
                return Vec::new();
            }
        };
        let item = |(index, node): (usize, &'a Rc<Node>)| Cursor {
            report: self.report,
            node,
            path: Rc::new(KeyPath::Index(self.path.clone(), index)),
            mark: node.mark,
            secret: self.secret,
        };
        items.iter().enumerate().map(item).collect()
    }

    /// The items of a list of texts.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.items().iter().filter_map(Cursor::owned_text).collect()
    }

    /// The entries of a mapping whose keys are data; null is the empty mapping.
    pub(crate) fn entries(&self) -> Vec<(&'a str, Cursor<'a>)> {
        let entries = match &self.node.value {
            Value::Mapping(entries) => entries,
            Value::Scalar(scalar) if scalar.is_null() => return Vec::new(),
            Value::Scalar(_) | Value::Sequence(_) => {
                self.expected("a mapping", "write for example \"name: value\"");
                return Vec::new();
            }
        };
        let mut seen: HashMap<&str, Mark> = HashMap::new();
        let mut pairs = Vec::with_capacity(entries.len());
        for entry in entries {
            let Value::Scalar(scalar) = &entry.key.value else {
                self.report.add(Some(entry.key.mark), self.key(), "a key must be text", "");
                continue;
            };
            let key = if scalar.is_null() { "" } else { scalar.text() };
            if let Some(first) = seen.insert(key, entry.key.mark) {
                let message = format!("the key {} stands twice, first on line {}", shorten(key), first.line);
                self.child(entry, key).error(message, "keep one of the two");
                continue;
            }
            pairs.push((key, self.child(entry, key)));
        }
        pairs
    }

    /// What is below this value, without reporting anything: entries with their key, items without one.
    pub(crate) fn children(&self) -> Vec<(Option<&'a str>, Cursor<'a>)> {
        match &self.node.value {
            Value::Scalar(_) => Vec::new(),
            Value::Sequence(_) => self.items().into_iter().map(|item| (None, item)).collect(),
            Value::Mapping(entries) => entries
                .iter()
                .filter_map(|entry| entry.key.text().map(|key| (Some(key), self.child(entry, key))))
                .collect(),
        }
    }

    /// The value below `key`, without reporting anything.
    pub(crate) fn peek(&self, key: &str) -> Option<Cursor<'a>> {
        self.children().into_iter().rev().find(|(name, _)| *name == Some(key)).map(|(_, value)| value)
    }

    /// A mapping from name to text, sorted by name.
    pub(crate) fn text_map(&self) -> Vec<(String, String)> {
        let text = |(name, value): (&str, Cursor<'a>)| Some((name.to_owned(), value.owned_text()?));
        let mut map: Vec<_> = self.entries().into_iter().filter_map(text).collect();
        map.sort();
        map
    }

    /// A mapping with known keys. Null gives `None` without an error, any other value an error.
    pub(crate) fn section(&self) -> Option<Section<'a>> {
        match &self.node.value {
            Value::Mapping(entries) => Some(Section::new(self.clone(), entries)),
            Value::Scalar(scalar) if scalar.is_null() => None,
            Value::Scalar(_) | Value::Sequence(_) => {
                self.expected("a mapping", "write the section's keys below it, indented");
                None
            }
        }
    }
}

/// A mapping with known keys. The keys that are asked for are the schema.
pub(crate) struct Section<'a> {
    cursor: Cursor<'a>,
    fields: HashMap<&'a str, &'a Entry>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    fn new(cursor: Cursor<'a>, entries: &'a [Entry]) -> Self {
        let mut fields = HashMap::with_capacity(entries.len());
        for entry in entries {
            match &entry.key.value {
                // Of a merged and a written key the later one wins, as in go-yaml v2.
                Value::Scalar(scalar) => drop(fields.insert(scalar.text(), entry)),
                _ => cursor.report.add(Some(entry.key.mark), cursor.key(), "a key must be text", ""),
            }
        }
        Self { cursor, fields, asked: RefCell::default() }
    }

    pub(crate) fn cursor(&self) -> &Cursor<'a> {
        &self.cursor
    }

    /// Reports an error at the section itself, or at its key `name` if that is there.
    pub(crate) fn error_at(&self, name: &'static str, message: impl Into<String>, fix: impl Into<String>) {
        match self.fields.get(name) {
            Some(entry) => self.cursor.child(entry, name).error(message, fix),
            None => self.missing(name, message, fix),
        }
    }

    /// Reports that the key `name` should be there.
    pub(crate) fn missing(&self, name: &str, message: impl Into<String>, fix: impl Into<String>) {
        let path = KeyPath::Key(self.cursor.path.clone(), name.into());
        let mut key = String::new();
        path.write(&mut key);
        self.cursor.report.add(Some(self.cursor.mark), key, message, fix);
    }

    /// The value of a known key, null included.
    pub(crate) fn get(&self, name: &'static str) -> Option<Cursor<'a>> {
        self.asked.borrow_mut().push(name);
        self.fields.get(name).map(|entry| self.cursor.child(entry, name))
    }

    /// The keys that are there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    pub(crate) fn text(&self, name: &'static str) -> Option<&'a str> {
        self.get(name)?.text()
    }

    /// Text; `""` when absent.
    pub(crate) fn owned_text(&self, name: &'static str) -> String {
        self.text(name).unwrap_or_default().to_owned()
    }

    pub(crate) fn boolean(&self, name: &'static str) -> Option<bool> {
        self.get(name)?.boolean()
    }

    pub(crate) fn unsigned(&self, name: &'static str) -> Option<u64> {
        self.get(name)?.unsigned()
    }

    pub(crate) fn duration(&self, name: &'static str) -> Option<Duration> {
        self.get(name)?.duration()
    }

    pub(crate) fn items(&self, name: &'static str) -> Vec<Cursor<'a>> {
        self.get(name).map(|list| list.items()).unwrap_or_default()
    }

    pub(crate) fn texts(&self, name: &'static str) -> Vec<String> {
        self.get(name).map(|list| list.texts()).unwrap_or_default()
    }

    pub(crate) fn section(&self, name: &'static str) -> Option<Section<'a>> {
        self.get(name)?.section()
    }

    /// Marks further keys as known.
    pub(crate) fn know(&self, names: &[&'static str]) {
        self.asked.borrow_mut().extend(names);
    }

    /// Ends the section: reports keys that nobody asked for. `retired` are keys that used to exist, or that
    /// belong elsewhere, each with the advice to give.
    pub(crate) fn finish(self, retired: &[(&str, &str)]) {
        let asked = self.asked.borrow();
        for (name, entry) in self.fields.iter().filter(|(name, _)| !asked.contains(name)) {
            let fix = match (retired.iter().find(|(old, _)| old == name), nearest(name, &asked)) {
                (Some((_, advice)), _) => (*advice).to_owned(),
                (None, Some(near)) => format!("did you mean {near}?"),
                (None, None) if asked.len() > 12 => "check its spelling and its place".to_owned(),
                (None, None) => format!("known keys are {}", sorted(&asked).join(", ")),
            };
            let mut key = String::new();
            KeyPath::Key(self.cursor.path.clone(), shorten_key(name).into()).write(&mut key);
            self.cursor.report.add(Some(entry.key.mark), key, "unknown key", fix);
        }
    }
}

fn sorted(names: &[&'static str]) -> Vec<&'static str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.dedup();
    names
}

/// Advice for a name that is none of `known`.
pub(crate) fn one_of_fix(text: &str, known: &[&str]) -> String {
    match nearest(text, known) {
        Some(near) if known.len() > 2 => format!("did you mean {near}? Known are {}", known.join(", ")),
        _ => format!("write one of {}", known.join(", ")),
    }
}

/// Quoted, at most 60 characters, without the user and password of a URL.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    let text = without_user(text);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

fn without_user(text: &str) -> Cow<'_, str> {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}://<secret>{}", &text[..scheme], &text[at..]).into()
        }
        _ => text.into(),
    }
}

fn shorten_key(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

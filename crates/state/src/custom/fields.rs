//! Fields of the configuration file: typed, with all errors gathered.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::config::ConfigProblem;
use crate::yaml::{Entry, Mark, Node, Value};

/// What is wrong with a file.
#[derive(Debug)]
pub(super) struct Report {
    path: String,
    /// Values of the wrong type.
    pub(super) errors: Vec<ConfigProblem>,
    /// Metrics that cannot be.
    pub(super) invalid: Vec<ConfigProblem>,
    /// What is strange.
    pub(super) warnings: Vec<ConfigProblem>,
}

impl Report {
    pub(super) fn new(path: &str) -> Self {
        Self { path: path.to_owned(), errors: Vec::new(), invalid: Vec::new(), warnings: Vec::new() }
    }

    pub(super) fn problem(&self, mark: Mark, key: &str, message: String, fix: &str) -> ConfigProblem {
        let Mark { line, column } = mark;
        ConfigProblem {
            path: self.path.clone(),
            line,
            column,
            key: key.to_owned(),
            message,
            fix: fix.to_owned(),
        }
    }
}

/// A text with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) mark: Mark,
    pub(super) key: String,
}

/// A mapping whose fields are taken one by one.
pub(super) struct Fields {
    /// Path of the mapping.
    pub(super) key: String,
    pub(super) mark: Mark,
    entries: Vec<Entry>,
    known: Vec<&'static str>,
}

impl Fields {
    /// The fields of a mapping; none of nothing.
    pub(super) fn of(node: &Node, mark: Mark, key: String, report: &mut Report) -> Self {
        let entries = match &node.value {
            Value::Mapping(entries) => entries.clone(),
            _ if node.is_null() => Vec::new(),
            _ => {
                wrong::<()>(node, mark, &key, "a mapping", report);
                Vec::new()
            }
        };
        Self { key, mark, entries, known: Vec::new() }
    }

    /// Warns of the fields that were not asked for.
    pub(super) fn finish(self, ignored: &[&str], report: &mut Report) {
        for entry in &self.entries {
            let Some(name) = entry.key.as_text() else { continue };
            if self.known.contains(&name) || ignored.contains(&name) {
                continue;
            }
            let near = self.known.iter().find(|known| known.eq_ignore_ascii_case(name));
            let fix = match near {
                Some(known) => format!("write {known}"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            let message = "is not known and has no effect".to_owned();
            let problem = report.problem(entry.key.mark, &self.path_of(name), message, &fix);
            report.warnings.push(problem);
        }
    }

    fn path_of(&self, name: &str) -> String {
        if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) }
    }

    fn take(&mut self, name: &'static str) -> Option<Field> {
        self.known.push(name);
        let entry = self.entries.iter().find(|entry| entry.key.as_text() == Some(name))?;
        let mark = match &entry.value.value {
            Value::Scalar(_) if !entry.value.is_null() => entry.value.mark,
            _ => entry.key.mark,
        };
        Some(Field { node: entry.value.clone(), mark, key: self.path_of(name) })
    }

    /// A field that is there and not nothing.
    fn take_set(&mut self, name: &'static str) -> Option<Field> {
        self.take(name).filter(|field| !field.node.is_null())
    }

    pub(super) fn text(&mut self, name: &'static str, report: &mut Report) -> Option<Text> {
        let Field { node, mark, key } = self.take_set(name)?;
        match node.as_text() {
            Some(text) => Some(Text { text: text.to_owned(), mark, key }),
            None => wrong(&node, mark, &key, "a text", report),
        }
    }

    pub(super) fn boolean(&mut self, name: &'static str, report: &mut Report) -> bool {
        let Some(Field { node, mark, key }) = self.take_set(name) else { return false };
        node.as_bool().or_else(|| wrong(&node, mark, &key, "true or false", report)).unwrap_or(false)
    }

    pub(super) fn int32(&mut self, name: &'static str, report: &mut Report) -> i32 {
        let Some(Field { node, mark, key }) = self.take_set(name) else { return 0 };
        let number = node.as_int().and_then(|number| i32::try_from(number).ok());
        number.or_else(|| wrong(&node, mark, &key, "a whole number of 32 bits", report)).unwrap_or(0)
    }

    pub(super) fn mapping(&mut self, name: &'static str, report: &mut Report) -> Option<Fields> {
        let Field { node, mark, key } = self.take_set(name)?;
        Some(Fields::of(&node, mark, key, report))
    }

    /// The mappings of a list; what is nothing is left out.
    pub(super) fn mappings(&mut self, name: &'static str, report: &mut Report) -> Vec<Fields> {
        let Some(Field { node, mark, key }) = self.take_set(name) else { return Vec::new() };
        let Value::Sequence(items) = &node.value else {
            wrong::<()>(&node, mark, &key, "a list of mappings", report);
            return Vec::new();
        };
        let items = items.iter().enumerate().filter(|(_, item)| !item.is_null());
        items.map(|(place, item)| Fields::of(item, item.mark, format!("{key}[{place}]"), report)).collect()
    }

    /// A list of texts; what is nothing is left out.
    pub(super) fn texts(&mut self, name: &'static str, report: &mut Report) -> Texts {
        match self.take(name) {
            Some(field) => texts(field, report),
            None => Texts { items: Vec::new(), mark: self.mark, key: self.path_of(name) },
        }
    }

    /// Texts by name; nothing is the empty text.
    pub(super) fn text_map(&mut self, name: &'static str, report: &mut Report) -> BTreeMap<String, Text> {
        let mut map = BTreeMap::new();
        for (name, Field { node, mark, key }) in self.members(name, "a mapping of names to texts", report) {
            let text = match node.as_text() {
                Some(text) => Some(text.to_owned()),
                None if node.is_null() => Some(String::new()),
                None => wrong(&node, mark, &key, "a text", report),
            };
            map.extend(text.map(|text| (name, Text { text, mark, key })));
        }
        map
    }

    /// Lists of texts by name.
    pub(super) fn texts_map(&mut self, name: &'static str, report: &mut Report) -> BTreeMap<String, Texts> {
        let members = self.members(name, "a mapping of names to paths", report);
        members.into_iter().map(|(name, field)| (name, texts(field, report))).collect()
    }

    fn members(&mut self, name: &'static str, wanted: &str, report: &mut Report) -> Vec<(String, Field)> {
        let Some(Field { node, mark, key }) = self.take_set(name) else { return Vec::new() };
        let Value::Mapping(entries) = &node.value else {
            wrong::<()>(&node, mark, &key, wanted, report);
            return Vec::new();
        };
        let named = entries.iter().filter_map(|entry| Some((entry.key.as_text()?, entry)));
        named
            .map(|(name, entry)| {
                let field =
                    Field { node: entry.value.clone(), mark: entry.key.mark, key: format!("{key}.{name}") };
                (name.to_owned(), field)
            })
            .collect()
    }
}

/// A list of texts with its place.
#[derive(Debug, Clone)]
pub(super) struct Texts {
    pub(super) items: Vec<String>,
    pub(super) mark: Mark,
    pub(super) key: String,
}

struct Field {
    node: Rc<Node>,
    mark: Mark,
    key: String,
}

fn texts(field: Field, report: &mut Report) -> Texts {
    let Field { node, mark, key } = field;
    let mut items = Vec::new();
    if let Value::Sequence(elements) = &node.value {
        for (place, element) in elements.iter().enumerate().filter(|(_, element)| !element.is_null()) {
            let key = format!("{key}[{place}]");
            let text = element.as_text().map(str::to_owned);
            items.extend(text.or_else(|| wrong(element, element.mark, &key, "a text", report)));
        }
    } else if !node.is_null() {
        wrong::<()>(&node, mark, &key, "a list of texts", report);
    }
    Texts { items, mark, key }
}

fn wrong<T>(node: &Node, mark: Mark, key: &str, wanted: &str, report: &mut Report) -> Option<T> {
    let message = format!("is {} where {wanted} is needed", node.describe());
    let fix = match (wanted, &node.value) {
        ("a list of texts", Value::Scalar(scalar)) => format!("write [{}]", scalar.text.replace('.', ", ")),
        _ => format!("write {wanted}"),
    };
    let problem = report.problem(mark, key, message, &fix);
    report.errors.push(problem);
    None
}

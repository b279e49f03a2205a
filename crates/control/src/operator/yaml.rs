//! Configuration as a tree, written as YAML.

use std::fmt::Write as _;

/// A value. Mappings keep the order in which they are written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Yaml {
    Bool(bool),
    Int(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<Yaml>),
    Map(Map),
}

/// A mapping.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Map(pub(crate) Vec<(String, Yaml)>);

impl Map {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds an entry at the end.
    pub(crate) fn put(&mut self, key: &str, value: impl Into<Yaml>) {
        self.0.push((key.to_owned(), value.into()));
    }

    /// Adds an entry if there is a value.
    pub(crate) fn put_some(&mut self, key: &str, value: Option<impl Into<Yaml>>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    /// Adds an entry if the text is not empty.
    pub(crate) fn put_text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.put(key, value);
        }
    }

    /// As [`put`](Self::put), in one expression.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Yaml>) -> Self {
        self.put(key, value);
        self
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Yaml> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mapping as a block, without a final line break.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        write_map(&mut text, self, 0);
        text.truncate(text.trim_end_matches('\n').len());
        text
    }
}

impl From<bool> for Yaml {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Yaml {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<u64> for Yaml {
    fn from(value: u64) -> Self {
        Self::Unsigned(value)
    }
}

impl From<f64> for Yaml {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Yaml {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<&String> for Yaml {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}

impl From<String> for Yaml {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Map> for Yaml {
    fn from(value: Map) -> Self {
        Self::Map(value)
    }
}

impl<T: Into<Yaml>> From<Vec<T>> for Yaml {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Yaml> + Clone> From<&[T]> for Yaml {
    fn from(values: &[T]) -> Self {
        values.to_vec().into()
    }
}

impl<T: Into<Yaml>> FromIterator<(String, T)> for Map {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(key, value)| (key, value.into())).collect())
    }
}

fn write_map(text: &mut String, map: &Map, indent: usize) {
    for (position, (key, value)) in map.0.iter().enumerate() {
        if position > 0 {
            pad(text, indent);
        }
        write_key(text, key);
        text.push(':');
        write_value(text, value, indent);
    }
}

fn write_list(text: &mut String, list: &[Yaml], indent: usize) {
    for item in list {
        pad(text, indent);
        text.push('-');
        match item {
            Yaml::Map(map) if !map.is_empty() => {
                text.push(' ');
                write_map(text, map, indent + 2);
            }
            other => write_value(text, other, indent),
        }
    }
}

/// Writes what stands behind `key:` or `-`, with the line break.
fn write_value(text: &mut String, value: &Yaml, indent: usize) {
    match value {
        Yaml::Map(map) if map.is_empty() => text.push_str(" {}\n"),
        Yaml::Map(map) => {
            text.push('\n');
            pad(text, indent + 2);
            write_map(text, map, indent + 2);
        }
        Yaml::List(list) if list.is_empty() => text.push_str(" []\n"),
        Yaml::List(list) => {
            text.push('\n');
            write_list(text, list, indent);
        }
        Yaml::Bool(value) => drop(writeln!(text, " {value}")),
        Yaml::Int(value) => drop(writeln!(text, " {value}")),
        Yaml::Unsigned(value) => drop(writeln!(text, " {value}")),
        Yaml::Float(value) => drop(writeln!(text, " {value}")),
        Yaml::Text(value) => {
            text.push(' ');
            quote(text, value);
            text.push('\n');
        }
    }
}

fn pad(text: &mut String, indent: usize) {
    text.extend(std::iter::repeat_n(' ', indent));
}

/// The configuration's own keys stand plain; keys that are data are quoted.
fn write_key(text: &mut String, key: &str) {
    let plain =
        key.contains('_') || ["action", "regex", "modulus", "replacement", "separator"].contains(&key);
    if plain && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
        text.push_str(key);
    } else {
        quote(text, key);
    }
}

/// Double quotes, with everything escaped that YAML would read otherwise.
fn quote(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_written_as_a_block_that_reads_as_the_same_tree() {
        let map = Map::new()
            .with("job_name", "a/b")
            .with("params", Map::new().with("yes", vec!["no", ""]).with("x: y", Map::new()))
            .with(
                "relabel_configs",
                vec![
                    Map::new().with("source_labels", vec!["a", "b"]).with("modulus", 8_u64),
                    Map::new().with("regex", "tab\there \"q\" \\ \u{7f}").with("replacement", ""),
                ],
            )
            .with("empty_list", Vec::<Yaml>::new());
        let expected = "job_name: \"a/b\"\n\
            \"params\":\n  \"yes\":\n  - \"no\"\n  - \"\"\n  \"x: y\": {}\n\
            relabel_configs:\n- source_labels:\n  - \"a\"\n  - \"b\"\n  modulus: 8\n\
            - regex: \"tab\\there \\\"q\\\" \\\\ \\u007f\"\n  replacement: \"\"\n\
            empty_list: []";
        assert_eq!(map.to_text(), expected);
    }
}

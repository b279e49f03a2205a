//! From parser events to the tree.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::rc::Rc;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput};

use super::scalar::{Scalar, Tag};
use super::{Document, Entry, Expansion, MAX_BYTES, MAX_NODES, Mark, Node, SyntaxError, Value};

/// Parses the first document of `text`. Errors that leave the rest readable (duplicate keys) go to `report`.
pub(crate) fn parse(text: &str, report: &mut Vec<SyntaxError>) -> Result<Document, SyntaxError> {
    check_text(text)?;
    let options = granit_parser::options! {
        emit_comments: false,
        block_scalar_eof_without_line_feed: true,
    };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder { text, parser, anchors: HashMap::new(), nodes: 0, path: Vec::new(), report };
    builder.document()
}

/// What libyaml's reader refuses before it looks at the grammar.
fn check_text(text: &str) -> Result<(), SyntaxError> {
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes, more than the limit of {MAX_BYTES}", text.len());
        return Err(SyntaxError {
            mark: None,
            key: String::new(),
            message,
            fix: "split it with scrape_config_files or file_sd_configs",
        });
    }
    let mut mark = Mark { line: 1, column: 1 };
    for (i, character) in text.chars().enumerate() {
        let printable = match character {
            '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' => true,
            '\u{feff}' => i == 0,
            '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => true,
            _ => false,
        };
        if !printable {
            let message = format!("the control character U+{:04X} is not allowed", u32::from(character));
            return Err(SyntaxError {
                mark: Some(mark),
                key: String::new(),
                message,
                fix: "remove it, or write it as an escape in double quotes",
            });
        }
        match character {
            '\n' => mark = Mark { line: mark.line + 1, column: 1 },
            _ => mark.column += 1,
        }
    }
    Ok(())
}

fn mark_of(marker: Marker) -> Mark {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Mark { line: number(marker.line()), column: number(marker.col()).saturating_add(1) }
}

/// The first tab within the indentation of a line, from line `from` on.
fn tab_in_indentation(text: &str, from: u32) -> Option<Mark> {
    let lines = (1..).zip(text.lines()).skip_while(|(number, _)| *number < from);
    let tab = |(line, content): (u32, &str)| {
        let column =
            content.find(|character| character != ' ').filter(|at| content[*at..].starts_with('\t'))?;
        Some(Mark { line, column: u32::try_from(column).unwrap_or(u32::MAX - 1) + 1 })
    };
    lines.filter_map(tab).next()
}

struct Builder<'input, 'report> {
    text: &'input str,
    parser: Parser<'input, StrInput<'input>>,
    /// `None` while the anchored node is still being read.
    anchors: HashMap<usize, Option<Rc<Node>>>,
    nodes: usize,
    /// Keys and indices that lead to the node being read.
    path: Vec<Segment>,
    report: &'report mut Vec<SyntaxError>,
}

enum Segment {
    Key(Rc<Node>),
    Index(usize),
}

impl<'input> Builder<'input, '_> {
    fn document(&mut self) -> Result<Document, SyntaxError> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(Document { root: None, second: None }),
                (Event::DocumentStart(..), _) => break,
                _ => {}
            }
        }
        let (event, span) = self.next()?;
        let root = self.node(event, span)?;
        let Expansion { nodes, aliased } = root.expanded;
        if aliased > 100 && nodes > 1000 && aliased as f64 / nodes as f64 > allowed_alias_ratio(nodes) {
            let message = format!("aliases expand the document to {nodes} values");
            return Err(self.problem(root.mark, message, "use fewer aliases"));
        }
        let mut second = None;
        while let Some(Ok((event, span))) = self.parser.next_event() {
            match event {
                Event::DocumentEnd => {}
                Event::DocumentStart(..) => {
                    second = Some(mark_of(span.start));
                    break;
                }
                _ => break,
            }
        }
        Ok(Document { root: Some(root), second })
    }

    fn next(&mut self) -> Result<(Event<'input>, Span), SyntaxError> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.scan_error(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn scan_error(&self, error: &granit_parser::ScanError) -> SyntaxError {
        let mark = mark_of(*error.marker());
        let message = error.info();
        match tab_in_indentation(self.text, mark.line).filter(|_| message.contains("tab")) {
            Some(tab) => self.problem(tab, message, "indent with spaces"),
            None => self.problem(mark, message, ""),
        }
    }

    fn problem(&self, mark: Mark, message: String, fix: &'static str) -> SyntaxError {
        let mut key = String::new();
        for segment in &self.path {
            let separator = if key.is_empty() { "" } else { "." };
            let _ = match segment {
                Segment::Key(node) => write!(key, "{separator}{}", node.text().unwrap_or("?")),
                Segment::Index(index) => write!(key, "[{index}]"),
            };
        }
        SyntaxError { mark: Some(mark), key, message, fix }
    }

    fn node(&mut self, event: Event<'input>, span: Span) -> Result<Rc<Node>, SyntaxError> {
        let mark = mark_of(span.start);
        self.count(1, mark)?;
        let (anchor, (value, expanded)) = match event {
            Event::Alias(id) => return self.alias(id, mark),
            Event::Scalar(text, style, anchor, tag) => {
                // The parser writes an absent value as "~".
                let absent = span.start.index() == span.end.index();
                let text = if absent { "".into() } else { text };
                let scalar = self.scalar(&text, style == ScalarStyle::Plain, tag.as_deref(), mark);
                (anchor, (Value::Scalar(scalar), Expansion::ONE))
            }
            Event::SequenceStart(_, anchor, _) => (anchor, self.sequence(anchor)?),
            Event::MappingStart(_, anchor, _) => (anchor, self.mapping(anchor)?),
            other => {
                let message = format!("a value is missing ({other:?})");
                return Err(self.problem(mark, message, ""));
            }
        };
        let node = Rc::new(Node { mark, value, expanded });
        if anchor != 0 {
            self.anchors.insert(anchor, Some(node.clone()));
        }
        Ok(node)
    }

    fn scalar(&mut self, text: &str, plain: bool, tag: Option<&granit_parser::Tag>, mark: Mark) -> Scalar {
        if !tag.is_some_and(|tag| tag.handle() == CORE_TAGS && tag.suffix() == "binary") {
            return Scalar::new(text, plain, tag_of(tag));
        }
        match decode_base64(text).map(String::from_utf8) {
            Some(Ok(decoded)) => Scalar::new(&decoded, false, Tag::Str),
            Some(Err(_)) => self.bad_binary(mark, "the !!binary value is not UTF-8 text"),
            None => self.bad_binary(mark, "the !!binary value is not base64"),
        }
    }

    fn bad_binary(&mut self, mark: Mark, message: &str) -> Scalar {
        let message = message.to_owned();
        let problem = self.problem(mark, message, "write the text itself, without a tag");
        self.report.push(problem);
        Scalar::new("", false, Tag::Str)
    }

    /// The anchor's own node: its place is where the anchor stands.
    fn alias(&mut self, id: usize, mark: Mark) -> Result<Rc<Node>, SyntaxError> {
        match self.anchors.get(&id) {
            Some(Some(node)) => Ok(node.clone()),
            Some(None) => {
                let message = "the anchor's value contains itself".to_owned();
                Err(self.problem(mark, message, "an alias must stand behind the anchored value"))
            }
            None => {
                let message = "the alias has no anchor before it".to_owned();
                Err(self.problem(mark, message, ""))
            }
        }
    }

    fn sequence(&mut self, anchor: usize) -> Result<(Value, Expansion), SyntaxError> {
        self.open(anchor);
        let mut items = Vec::new();
        let mut expanded = Expansion::ONE;
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok((Value::Sequence(items), expanded)),
                (event, span) => {
                    let aliased = matches!(event, Event::Alias(_));
                    self.path.push(Segment::Index(items.len()));
                    let node = self.node(event, span)?;
                    self.path.pop();
                    expanded.add(&node, aliased);
                    items.push(node);
                }
            }
        }
    }

    fn mapping(&mut self, anchor: usize) -> Result<(Value, Expansion), SyntaxError> {
        self.open(anchor);
        let mut entries = Vec::new();
        let mut expanded = Expansion::ONE;
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, span)?;
            let (event, span) = self.next()?;
            let aliased = matches!(event, Event::Alias(_));
            self.path.push(Segment::Key(key.clone()));
            let value = self.node(event, span)?;
            self.path.pop();
            expanded.add(&key, false);
            expanded.add(&value, aliased);
            match &key.value {
                Value::Scalar(scalar) if scalar.is_merge_key() => self.merge(&key, &value, &mut entries)?,
                _ => entries.push(Entry { key, value, merged: false }),
            }
        }
        self.refuse_duplicates(&mut entries);
        Ok((Value::Mapping(entries), expanded))
    }

    /// Copies the entries of the mapping, or of the mappings in the list, that `<<` names.
    fn merge(&mut self, key: &Node, value: &Node, entries: &mut Vec<Entry>) -> Result<(), SyntaxError> {
        let sources: Vec<&Node> = match &value.value {
            Value::Mapping(_) => vec![value],
            // Earlier mappings win over later ones, so they are laid on top.
            Value::Sequence(items) => items.iter().rev().map(|item| &**item).collect(),
            Value::Scalar(_) => return Err(self.cannot_merge(key)),
        };
        for source in &sources {
            let Value::Mapping(from) = &source.value else { return Err(self.cannot_merge(key)) };
            self.count(from.len(), key.mark)?;
            entries.extend(from.iter().map(|entry| Entry { merged: true, ..entry.clone() }));
        }
        Ok(())
    }

    fn cannot_merge(&self, key: &Node) -> SyntaxError {
        let message = "the key << needs a mapping or a list of mappings".to_owned();
        self.problem(key.mark, message, "write for example <<: *anchor")
    }

    fn count(&mut self, nodes: usize, mark: Mark) -> Result<(), SyntaxError> {
        self.nodes += nodes;
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let message = format!("the file has more than {MAX_NODES} values");
        Err(self.problem(mark, message, "split it with scrape_config_files or file_sd_configs"))
    }

    fn open(&mut self, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
    }

    /// Reports keys that stand twice; the first one stays.
    fn refuse_duplicates(&mut self, entries: &mut Vec<Entry>) {
        let mut seen: HashMap<Box<str>, u32> = HashMap::new();
        let mut kept = Vec::with_capacity(entries.len());
        for entry in entries.drain(..) {
            let first = match entry.key.text() {
                Some(text) if !entry.merged => seen.get(text).copied(),
                _ => None,
            };
            let Some(first) = first else {
                if let Some(text) = entry.key.text().filter(|_| !entry.merged) {
                    seen.insert(text.into(), entry.key.mark.line);
                }
                kept.push(entry);
                continue;
            };
            let message = format!("the key stands twice, first on line {first}");
            self.path.push(Segment::Key(entry.key.clone()));
            let problem = self.problem(entry.key.mark, message, "keep one of the two");
            self.report.push(problem);
            self.path.pop();
        }
        *entries = kept;
    }
}

impl Expansion {
    const ONE: Expansion = Expansion { nodes: 1, aliased: 0 };

    fn add(&mut self, node: &Node, behind_alias: bool) {
        let aliased = if behind_alias { node.expanded.nodes } else { node.expanded.aliased };
        self.nodes = self.nodes.saturating_add(node.expanded.nodes);
        self.aliased = self.aliased.saturating_add(aliased);
    }
}

/// go-yaml's own limit: almost all of a small document may come from aliases, a tenth of a large one.
fn allowed_alias_ratio(nodes: u64) -> f64 {
    const LOW: u64 = 400_000;
    const HIGH: u64 = 4_000_000;
    match nodes {
        ..=LOW => 0.99,
        HIGH.. => 0.10,
        _ => 0.99 - 0.89 * ((nodes - LOW) as f64 / (HIGH - LOW) as f64),
    }
}

const CORE_TAGS: &str = "tag:yaml.org,2002:";

/// Standard base64 with padding; line breaks are skipped.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let characters: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    if !characters.len().is_multiple_of(4) {
        return None;
    }
    let mut bytes = Vec::with_capacity(characters.len() / 4 * 3);
    let groups = characters.len() / 4;
    for (i, group) in characters.chunks(4).enumerate() {
        let padding = group.iter().rev().take_while(|byte| **byte == b'=').count();
        if padding > 2 || (padding > 0 && i + 1 < groups) {
            return None;
        }
        let mut bits: u32 = 0;
        for byte in &group[..4 - padding] {
            bits = bits << 6 | u32::from(sextet(*byte)?);
        }
        bits <<= 6 * padding;
        bytes.extend(&bits.to_be_bytes()[1..4 - padding]);
    }
    Some(bytes)
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

fn tag_of(tag: Option<&granit_parser::Tag>) -> Tag {
    let Some(tag) = tag else { return Tag::None };
    match (tag.handle(), tag.suffix()) {
        ("!", "") | ("", "!") => Tag::None,
        (CORE_TAGS, suffix) => match suffix {
            "str" => Tag::Str,
            "bool" => Tag::Bool,
            "int" => Tag::Int,
            "float" => Tag::Float,
            "null" => Tag::Null,
            _ => Tag::Other,
        },
        _ => Tag::Other,
    }
}

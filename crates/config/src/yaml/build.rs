//! From parser events to the tree.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::rc::Rc;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, Span, StrInput, StructureStyle};

use super::base64::decode_base64;
use super::dialect::{Stop, first_unknown, rewrite};
use super::scalar::{Scalar, Tag};
use super::text::{check_directives, check_text, tab_in_indentation};
use super::{Document, Entry, Expansion, MAX_NODES, Mark, Node, SyntaxError, Value};

/// Bytes parsed again, all passes together, for what only libyaml reads.
const REWRITE_BYTES: usize = 64 << 20;

/// Parses the first document of `text`. Errors that leave the rest readable (duplicate keys) go to `report`.
pub(crate) fn parse(text: &str, report: &mut Vec<SyntaxError>) -> Result<Document, SyntaxError> {
    check_text(text)?;
    let mut text = Cow::Borrowed(text);
    let before = report.len();
    // Each rewritten place costs another pass over the text.
    let mut passes = (REWRITE_BYTES / text.len().max(1)).clamp(1, 1_000);
    loop {
        let mut builder = Builder::new(&text, report);
        let parsed = builder.document();
        let rewritten = builder.stop.and_then(|stop| rewrite(&text, stop));
        match rewritten {
            Some(rewritten) if passes > 0 => {
                passes -= 1;
                report.truncate(before);
                text = Cow::Owned(rewritten);
            }
            _ => return parsed,
        }
    }
}

fn mark_of(marker: Marker) -> Mark {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Mark { line: number(marker.line()), column: number(marker.col()).saturating_add(1) }
}

struct Builder<'input, 'report> {
    text: &'input str,
    parser: Parser<'input, StrInput<'input>>,
    /// `None` while the anchored node is still being read.
    anchors: HashMap<usize, Option<Rc<Node>>>,
    nodes: usize,
    /// Keys and indices that lead to the node being read.
    path: Vec<Segment>,
    /// Flow collections around the node being read.
    flow_depth: usize,
    /// Where the parser stopped, if that may be for the sake of its dialect.
    stop: Option<Stop>,
    report: &'report mut Vec<SyntaxError>,
}

enum Segment {
    Key(Rc<Node>),
    Index(usize),
}

impl<'input, 'report> Builder<'input, 'report> {
    fn new(text: &'input str, report: &'report mut Vec<SyntaxError>) -> Self {
        let options = granit_parser::options! {
            emit_comments: false,
            emit_anchor_events: true,
            block_scalar_eof_without_line_feed: true,
        };
        Self {
            text,
            parser: Parser::new_from_str_with_options(text, options),
            anchors: HashMap::new(),
            nodes: 0,
            path: Vec::new(),
            flow_depth: 0,
            stop: None,
            report,
        }
    }

    fn document(&mut self) -> Result<Document, SyntaxError> {
        check_directives(self.text, 0)?;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(Document { root: None, second: None }),
                (Event::DocumentStart(_, version), span) => {
                    if version.is_some_and(|version| (version.major, version.minor) != (1, 1)) {
                        let message = "only YAML 1.1 is read, as by Prometheus".to_owned();
                        return Err(self.problem(mark_of(span.start), message, "remove the %YAML line"));
                    }
                    break;
                }
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
        let second = self.second_document()?;
        Ok(Document { root: Some(root), second })
    }

    /// Where the next document starts. What is wrong in there does not matter, but a directive must be one.
    fn second_document(&mut self) -> Result<Option<Mark>, SyntaxError> {
        let (event, span) = self.next()?;
        if event == Event::DocumentEnd {
            check_directives(self.text, span.start.byte_offset().unwrap_or(0))?;
        }
        match self.parser.next_event() {
            Some(Ok((Event::DocumentStart(..), span))) => Ok(Some(mark_of(span.start))),
            _ => Ok(None),
        }
    }

    fn next(&mut self) -> Result<(Event<'input>, Span), SyntaxError> {
        loop {
            match self.parser.next_event() {
                Some(Ok((Event::Anchor(_, name), span))) => {
                    self.check_anchor_name(&name, mark_of(span.start))?
                }
                Some(Ok(next)) => return Ok(next),
                Some(Err(error)) => return Err(self.scan_error(&error)),
                None => return Ok((Event::StreamEnd, Span::default())),
            }
        }
    }

    fn scan_error(&mut self, error: &granit_parser::ScanError) -> SyntaxError {
        let mark = mark_of(*error.marker());
        let message = error.info();
        match (error.kind(), error.marker().byte_offset()) {
            (ErrorKind::UnknownQuotedScalarEscape, Some(quote)) => {
                self.stop = Some(Stop::Escape(quote));
                return self.escape_problem(quote, mark);
            }
            (ErrorKind::CommentNotSeparated, Some(at)) => self.stop = Some(Stop::Comment(at)),
            _ => {}
        }
        match tab_in_indentation(self.text, mark.line).filter(|_| message.contains("tab")) {
            Some(tab) => self.problem(tab, message, "indent with spaces"),
            None => self.problem(mark, message, ""),
        }
    }

    /// Names the escape that is not one in the double-quoted scalar that begins at `quote`.
    fn escape_problem(&self, quote: usize, mark: Mark) -> SyntaxError {
        let fix = "use single quotes, where a backslash is only a backslash";
        match first_unknown(self.text, quote) {
            Some((at, escaped)) => {
                let between = &self.text[quote..at];
                let line = mark.line + u32::try_from(between.matches('\n').count()).unwrap_or(0);
                let before = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
                let column = u32::try_from(self.text[before..at].chars().count() + 1).unwrap_or(u32::MAX);
                self.problem(
                    Mark { line, column },
                    format!("\\{escaped} is not an escape in double quotes"),
                    fix,
                )
            }
            None => self.problem(mark, "a backslash in double quotes begins no escape".to_owned(), fix),
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
        self.refuse_tab(mark, span.start)?;
        let (anchor, (value, expanded)) = match event {
            Event::Alias(id) => {
                let name = span.byte_range().and_then(|range| self.text.get(range)).unwrap_or("*");
                self.check_anchor_name(name.trim_start_matches('*'), mark)?;
                return self.alias(id, mark);
            }
            Event::Scalar(text, style, anchor, tag) => {
                // The parser writes an absent value as "~".
                if self.flow_depth > 0 && style == ScalarStyle::Plain && text.starts_with(':') {
                    let message = "a value within [ ] or { } begins with a colon".to_owned();
                    return Err(self.problem(mark, message, "quote it"));
                }
                if let Some(quote) = span.start.byte_offset().filter(|_| style == ScalarStyle::DoubleQuoted)
                    && first_unknown(self.text, quote).is_some()
                {
                    return Err(self.escape_problem(quote, mark));
                }
                let absent = span.start.index() == span.end.index();
                let text = if absent { "".into() } else { text };
                let scalar = self.scalar(&text, style == ScalarStyle::Plain, tag.as_deref(), mark);
                (anchor, (Value::Scalar(scalar), Expansion::ONE))
            }
            Event::SequenceStart(style, anchor, _) => {
                let outer = self.enter(style);
                let read = self.sequence(anchor)?;
                self.flow_depth = outer;
                (anchor, read)
            }
            Event::MappingStart(style, anchor, _) => {
                let outer = self.enter(style);
                let read = self.mapping(anchor)?;
                self.flow_depth = outer;
                (anchor, read)
            }
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

    fn enter(&mut self, style: StructureStyle) -> usize {
        let outer = self.flow_depth;
        self.flow_depth += usize::from(style == StructureStyle::Flow);
        outer
    }

    /// libyaml takes no tab where a block key or entry may begin: in the indentation and behind `- `.
    fn refuse_tab(&self, mark: Mark, start: Marker) -> Result<(), SyntaxError> {
        let Some(offset) = start.byte_offset().filter(|_| self.flow_depth == 0) else { return Ok(()) };
        let line = self.text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
        let before = &self.text[line..offset];
        if before.contains('\t')
            && before.chars().all(|character| matches!(character, ' ' | '\t' | '-' | '?'))
        {
            let message = "a tab stands where only spaces may".to_owned();
            return Err(self.problem(mark, message, "indent with spaces"));
        }
        Ok(())
    }

    /// libyaml knows fewer names for anchors than YAML 1.2.
    fn check_anchor_name(&self, name: &str, mark: Mark) -> Result<(), SyntaxError> {
        if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
            return Ok(());
        }
        let message = "the name of the anchor holds a character that is not allowed".to_owned();
        Err(self.problem(mark, message, "use letters, digits, _ and -"))
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

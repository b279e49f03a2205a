//! From parser events to the tree.

use std::collections::HashMap;
use std::rc::Rc;

use base64::Engine;
use granit_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput};

use super::{Entry, MOST_BYTES, MOST_LEVELS, MOST_NODES, Mark, Node, Scalar, SyntaxError, Value};

/// Parses the first document of a text; `None` when there is nothing but white space and comments.
///
/// # Errors
/// When the text is no YAML, has a key twice or is too large.
pub(crate) fn parse(text: &str) -> Result<Option<Rc<Node>>, SyntaxError> {
    let start = Mark { line: 1, column: 1 };
    if text.len() > MOST_BYTES {
        let message = format!("the text is longer than {MOST_BYTES} bytes");
        return Err(SyntaxError { mark: start, message, fix: "" });
    }
    let options = granit_parser::options! {
        emit_comments: false,
        block_scalar_eof_without_line_feed: true,
    };
    let parser = Parser::new_from_str_with_options(text, options);
    Builder { parser, anchors: HashMap::new(), level: 0 }.document()
}

fn mark_of(marker: Marker) -> Mark {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Mark { line: number(marker.line()), column: number(marker.col()).saturating_add(1) }
}

fn problem<T>(mark: Mark, message: impl Into<String>, fix: &'static str) -> Result<T, SyntaxError> {
    Err(SyntaxError { mark, message: message.into(), fix })
}

struct Builder<'input> {
    parser: Parser<'input, StrInput<'input>>,
    /// `None` while the anchored node is still being read.
    anchors: HashMap<usize, Option<Rc<Node>>>,
    level: usize,
}

impl<'input> Builder<'input> {
    fn document(&mut self) -> Result<Option<Rc<Node>>, SyntaxError> {
        loop {
            match self.next()?.0 {
                Event::StreamEnd => return Ok(None),
                Event::DocumentStart(..) => break,
                _ => {}
            }
        }
        let (event, span) = self.next()?;
        self.node(event, span).map(Some)
    }

    fn next(&mut self) -> Result<(Event<'input>, Span), SyntaxError> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => problem(mark_of(*error.marker()), error.info(), ""),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'input>, span: Span) -> Result<Rc<Node>, SyntaxError> {
        let mark = mark_of(span.start);
        if self.level > MOST_LEVELS {
            return problem(mark, format!("more than {MOST_LEVELS} levels"), "");
        }
        self.level += 1;
        let (anchor, value) = match event {
            Event::Alias(id) => {
                self.level -= 1;
                return self.alias(id, mark);
            }
            Event::Scalar(text, style, anchor, tag) => {
                // The parser writes an absent value as "~".
                let absent = span.start.index() == span.end.index();
                let text = if absent { "".into() } else { text };
                (anchor, Value::Scalar(scalar(&text, style == ScalarStyle::Plain, tag.as_deref(), mark)?))
            }
            Event::SequenceStart(_, anchor, _) => (anchor, self.sequence(anchor)?),
            Event::MappingStart(_, anchor, _) => (anchor, self.mapping(anchor)?),
            _ => return problem(mark, "a value is missing", ""),
        };
        self.level -= 1;
        let inner: u64 = match &value {
            Value::Scalar(_) => 0,
            Value::Sequence(items) => items.iter().map(|item| item.expanded).sum(),
            Value::Mapping(entries) => entries.iter().map(|entry| entry.value.expanded + 1).sum(),
        };
        if inner >= MOST_NODES {
            return problem(
                mark,
                format!("more than {MOST_NODES} values, aliases expanded"),
                "use fewer aliases",
            );
        }
        let node = Rc::new(Node { mark, value, expanded: inner + 1 });
        if anchor != 0 {
            self.anchors.insert(anchor, Some(node.clone()));
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, mark: Mark) -> Result<Rc<Node>, SyntaxError> {
        match self.anchors.get(&id) {
            Some(Some(node)) => Ok(node.clone()),
            Some(None) => problem(mark, "the anchor's value contains itself", ""),
            None => problem(mark, "the alias has no anchor before it", ""),
        }
    }

    fn sequence(&mut self, anchor: usize) -> Result<Value, SyntaxError> {
        self.open(anchor);
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::Sequence(items)),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn mapping(&mut self, anchor: usize) -> Result<Value, SyntaxError> {
        self.open(anchor);
        let mut mapping = Mapping::default();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return mapping.finish();
            }
            let key = self.node(event, span)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span)?;
            mapping.add(Entry { key, value })?;
        }
    }

    fn open(&mut self, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
    }
}

/// A mapping being read.
#[derive(Default)]
struct Mapping {
    entries: Vec<Entry>,
    lines: HashMap<String, u32>,
    merge: Option<Entry>,
}

impl Mapping {
    fn add(&mut self, entry: Entry) -> Result<(), SyntaxError> {
        let Value::Scalar(scalar) = &entry.key.value else {
            return problem(entry.key.mark, "a key is a list or a mapping", "use a text");
        };
        let Mark { line, .. } = entry.key.mark;
        if let Some(first) = self.lines.insert(scalar.text.clone(), line) {
            let message = format!("the key {:?} stands twice, first on line {first}", scalar.text);
            return problem(entry.key.mark, message, "keep one of the two");
        }
        if scalar.is_merge_key() {
            self.merge = Some(entry);
        } else {
            self.entries.push(entry);
        }
        Ok(())
    }

    /// Adds what is merged in and not there yet; of several mappings the first wins.
    fn finish(mut self) -> Result<Value, SyntaxError> {
        let Some(Entry { key, value }) = self.merge.take() else { return Ok(Value::Mapping(self.entries)) };
        let sources = match &value.value {
            Value::Sequence(items) => items.clone(),
            _ => vec![value],
        };
        for source in sources {
            let Value::Mapping(entries) = &source.value else {
                let message = "the key << needs a mapping or a list of mappings";
                return problem(key.mark, message, "write for example <<: *anchor");
            };
            for entry in entries {
                let Value::Scalar(scalar) = &entry.key.value else { continue };
                if !self.lines.contains_key(&scalar.text) {
                    self.lines.insert(scalar.text.clone(), entry.key.mark.line);
                    self.entries.push(entry.clone());
                }
            }
        }
        Ok(Value::Mapping(self.entries))
    }
}

const CORE_TAGS: &str = "tag:yaml.org,2002:";

fn scalar(
    text: &str,
    plain: bool,
    tag: Option<&granit_parser::Tag>,
    mark: Mark,
) -> Result<Scalar, SyntaxError> {
    let Some(tag) = tag else { return Ok(Scalar { text: text.to_owned(), plain }) };
    if tag.handle() == CORE_TAGS && tag.suffix() == "binary" {
        let packed: String = text.split_whitespace().collect();
        let decoded = base64::engine::general_purpose::STANDARD.decode(packed).ok();
        return match decoded.and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(text) => Ok(Scalar { text, plain: false }),
            None => problem(mark, "the !!binary value is not text in base64", "write the text without a tag"),
        };
    }
    let typed = tag.handle() == CORE_TAGS && matches!(tag.suffix(), "bool" | "int" | "float" | "null");
    Ok(Scalar { text: text.to_owned(), plain: plain && typed })
}

//! JSON lists and watches, for resources that have no protobuf (custom resources).
//!
//! Only the structure is read here: an object stays the bytes that the server sent.

use super::list::{ListError, ListLimits};
use super::watch::{WatchError, WatchEventKind};

/// Splits a watch stream into lines, one event each.
///
/// Holds one line plus whatever was pushed beyond it.
#[derive(Debug)]
pub struct JsonLines {
    buffer: Vec<u8>,
    start: usize,
    /// Up to here there is no line break.
    searched: usize,
    limit: usize,
}

impl JsonLines {
    /// A splitter that refuses lines of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, searched: 0, limit }
    }

    /// Takes over the next bytes of the stream, cut anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        // One large object must not pin its size for the life of the stream.
        if self.buffer.is_empty() && self.buffer.capacity() > KEEP_BYTES.max(4 * bytes.len()) {
            self.buffer = Vec::new();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete line that is not blank, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// When a line is too long. The stream cannot be resynchronised after that.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, WatchError> {
        loop {
            let Some(length) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
                self.searched = self.buffer.len();
                let pending = self.pending();
                return match pending > self.limit {
                    true => Err(WatchError::FrameTooLarge { bytes: pending as u64, limit: self.limit }),
                    false => Ok(None),
                };
            };
            let (from, end) = (self.start, self.searched + length);
            self.start = end + 1;
            self.searched = self.start;
            if end - from > self.limit {
                return Err(WatchError::FrameTooLarge { bytes: (end - from) as u64, limit: self.limit });
            }
            if !self.buffer[from..end].trim_ascii().is_empty() {
                return Ok(Some(&self.buffer[from..end]));
            }
        }
    }

    /// Bytes of a line that is not complete yet; not zero at the end of a stream that was cut within an event.
    pub fn pending(&self) -> usize {
        self.buffer[self.start..].trim_ascii().len()
    }
}

/// Capacity that an empty buffer keeps.
const KEEP_BYTES: usize = 256 << 10;

/// One event of a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonWatchEvent<'a> {
    /// What happened.
    pub kind: WatchEventKind,
    /// The object, a JSON value.
    pub object: &'a [u8],
}

/// Reads one line: `{"type": …, "object": …}`.
///
/// # Errors
/// When it is no such event.
pub fn decode_json_watch_event(line: &[u8]) -> Result<JsonWatchEvent<'_>, WatchError> {
    let (mut kind, mut object) = (None, None);
    for member in Members::of(line).ok_or(WatchError::NotJson)? {
        let (key, value) = member.ok_or(WatchError::NotJson)?;
        match key {
            b"type" => kind = Some(value),
            b"object" => object = Some(value),
            _ => {}
        }
    }
    let word = kind.and_then(|word| word.strip_prefix(b"\"")?.strip_suffix(b"\"")).unwrap_or_default();
    let kind = WatchEventKind::from_wire(word)?;
    Ok(JsonWatchEvent { kind, object: object.ok_or(WatchError::NoObject)? })
}

/// The value of a member of a JSON object; `None` where there is none, or the object is malformed before it.
pub fn member<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut members = Members::of(object)?.map_while(|member| member);
    members.find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
}

/// The first row of a `meta.k8s.io/v1` Table.
pub fn first_row(table: &[u8]) -> Option<&[u8]> {
    let rows = member(table, "rows")?.trim_ascii().strip_prefix(b"[")?.trim_ascii_start();
    let row = &rows[..value_length(rows)?];
    row.starts_with(b"{").then_some(row)
}

/// The members of a JSON object: keys as they are written, values as bytes. `None` where it is malformed.
struct Members<'a> {
    rest: &'a [u8],
    first: bool,
    ended: bool,
}

impl<'a> Members<'a> {
    fn of(object: &'a [u8]) -> Option<Self> {
        let rest = object.trim_ascii().strip_prefix(b"{")?;
        Some(Self { rest, first: true, ended: false })
    }

    fn member(&mut self) -> Option<Option<(&'a [u8], &'a [u8])>> {
        self.rest = self.rest.trim_ascii_start();
        if let Some(rest) = self.rest.strip_prefix(b"}") {
            self.ended = true;
            return rest.trim_ascii().is_empty().then_some(None);
        }
        if !std::mem::take(&mut self.first) {
            self.rest = self.rest.strip_prefix(b",")?.trim_ascii_start();
        }
        let key = value_length(self.rest)?;
        let (key, rest) = self.rest.split_at(key);
        let key = key.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        let rest = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let (value, rest) = rest.split_at(value_length(rest)?);
        self.rest = rest;
        Some(Some((key, value)))
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Option<(&'a [u8], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.member() {
            Some(Some(member)) => Some(Some(member)),
            Some(None) => None,
            None => {
                self.ended = true;
                Some(None)
            }
        }
    }
}

/// Length of the JSON value at the start; `None` where it is not whole.
fn value_length(bytes: &[u8]) -> Option<usize> {
    let mut scan = ValueScan::default();
    let end = bytes.iter().position(|byte| scan.ends_before(*byte));
    end.or_else(|| scan.is_whole().then_some(bytes.len()))
}

/// Finds the end of a value byte by byte, whatever is in it.
#[derive(Debug, Default)]
struct ValueScan {
    depth: u32,
    in_string: bool,
    escaped: bool,
    begun: bool,
    whole: bool,
}

impl ValueScan {
    /// Whether the value was complete before this byte.
    fn ends_before(&mut self, byte: u8) -> bool {
        if self.whole {
            return true;
        }
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => {
                    self.in_string = false;
                    self.whole = self.depth == 0;
                }
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' if self.depth > 0 => {
                self.depth -= 1;
                self.whole = self.depth == 0;
            }
            // The end of a number or word is whatever follows it.
            b'}' | b']' | b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' if self.depth == 0 => return true,
            _ => {}
        }
        self.begun = true;
        false
    }

    /// Whether the value is complete if nothing follows.
    fn is_whole(&self) -> bool {
        self.whole || (self.begun && self.depth == 0 && !self.in_string)
    }
}

/// Where a list's decoder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Before the opening brace.
    Start,
    /// Before a key, a comma or the closing brace.
    Members,
    /// Before an item, a comma or the closing bracket of `items`.
    Items,
    /// Behind the closing brace.
    End,
}

/// Reads a list response while it arrives, item by item. Memory: one item.
#[derive(Debug)]
pub struct JsonListDecoder {
    limits: ListLimits,
    buffer: Vec<u8>,
    start: usize,
    part: Part,
    items: u64,
    metadata: Vec<u8>,
    kind: Vec<u8>,
    /// Whether it may be a Table, whose rows are the items.
    or_table: bool,
    /// How far the value at `start` was scanned, so that nothing is scanned twice.
    scan: ValueScan,
    scanned: usize,
}

/// What stands beside the items of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JsonListEnd {
    /// `metadata`, a JSON object; empty when absent.
    pub metadata: Vec<u8>,
    /// How many items there were.
    pub items: u64,
}

impl JsonListDecoder {
    /// A decoder for one response.
    pub fn new(limits: ListLimits) -> Self {
        Self::of(false, limits)
    }

    /// A decoder for one response that is a `meta.k8s.io/v1` Table, whose rows are the items, or a list, where a
    /// server has no tables.
    pub fn of_table(limits: ListLimits) -> Self {
        Self::of(true, limits)
    }

    fn of(or_table: bool, limits: ListLimits) -> Self {
        Self {
            or_table,
            limits,
            buffer: Vec::new(),
            start: 0,
            part: Part::Start,
            items: 0,
            metadata: Vec::new(),
            kind: Vec::new(),
            scan: ValueScan::default(),
            scanned: 0,
        }
    }

    /// Takes over the next bytes of the body, cut anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete item, or `None` when more bytes are needed or the list has ended.
    ///
    /// # Errors
    /// When the response is no list or is over a limit.
    pub fn next_item(&mut self) -> Result<Option<&[u8]>, ListError> {
        loop {
            self.skip_blanks();
            let Some(byte) = self.buffer.get(self.start).copied() else { return Ok(None) };
            match (self.part, byte) {
                (Part::Start, b'{') => self.advance(Part::Members),
                (Part::Members, b'}') => self.advance(Part::End),
                (Part::Members | Part::Items, b',') => self.start += 1,
                (Part::Members, b'"') => {
                    if !self.member()? {
                        return Ok(None);
                    }
                }
                (Part::Items, b']') => self.advance(Part::Members),
                (Part::Items, b'{') => {
                    let Some(length) = self.value_at(self.start)? else { return Ok(None) };
                    let from = self.start;
                    self.start += length;
                    self.items += 1;
                    if self.items > self.limits.items {
                        return Err(ListError::TooManyItems(self.limits.items));
                    }
                    return Ok(Some(&self.buffer[from..from + length]));
                }
                _ => return Err(ListError::NotJson),
            }
        }
    }

    /// Ends the response.
    ///
    /// # Errors
    /// When the list is not whole, or is another object.
    pub fn finish(self) -> Result<JsonListEnd, ListError> {
        if self.part != Part::End {
            return Err(ListError::Truncated { items: self.items });
        }
        let kind = String::from_utf8_lossy(&self.kind);
        let kind = kind.trim_matches('"');
        let is_table = self.or_table && kind == "Table";
        if !kind.is_empty() && !kind.ends_with("List") && !is_table {
            return Err(ListError::NotAList(kind.to_owned()));
        }
        Ok(JsonListEnd { metadata: self.metadata, items: self.items })
    }

    fn advance(&mut self, part: Part) {
        self.start += 1;
        self.part = part;
    }

    fn skip_blanks(&mut self) {
        let rest = &self.buffer[self.start..];
        self.start += rest.len() - rest.trim_ascii_start().len();
    }

    /// Reads one member up to its value's end, or to the bracket of `items`. `false` when more bytes are needed.
    fn member(&mut self) -> Result<bool, ListError> {
        let Some(key) = Key::of(&self.buffer[self.start..]) else {
            return self.too_long(self.buffer.len() - self.start).map(|()| false);
        };
        let Key { name, value } = key.ok_or(ListError::NotJson)?;
        let from = self.start + value;
        let blanks = self.buffer[from..].len() - self.buffer[from..].trim_ascii_start().len();
        let from = from + blanks;
        let Some(first) = self.buffer.get(from) else { return Ok(false) };
        let has_items = name == b"items" || (self.or_table && name == b"rows");
        if has_items && *first == b'[' {
            self.start = from;
            self.advance(Part::Items);
            return Ok(true);
        }
        let Some(length) = self.value_at(from)? else { return Ok(false) };
        let value = self.buffer[from..from + length].to_vec();
        self.start = from + length;
        match name.as_slice() {
            b"metadata" => self.metadata = value,
            b"kind" => self.kind = value,
            _ => {}
        }
        Ok(true)
    }

    /// Length of the value at `from`, once it is followed by something.
    fn value_at(&mut self, from: usize) -> Result<Option<usize>, ListError> {
        let bytes = &self.buffer[from..];
        for byte in &bytes[self.scanned..] {
            if self.scan.ends_before(*byte) {
                let length = self.scanned;
                self.scan = ValueScan::default();
                self.scanned = 0;
                return self.too_long(length).map(|()| Some(length));
            }
            self.scanned += 1;
        }
        self.too_long(self.scanned)?;
        Ok(None)
    }

    fn too_long(&self, bytes: usize) -> Result<(), ListError> {
        let limit = self.limits.item_bytes;
        match bytes > limit {
            true => Err(ListError::TooLarge { what: "list item", bytes: bytes as u64, limit }),
            false => Ok(()),
        }
    }
}

/// A member's key, and where behind it the value may begin.
struct Key {
    name: Vec<u8>,
    value: usize,
}

impl Key {
    /// The key at the start; `None` when more bytes are needed, `Some(None)` where there is no colon behind it.
    fn of(bytes: &[u8]) -> Option<Option<Self>> {
        let mut scan = ValueScan::default();
        let end = bytes.iter().position(|byte| scan.ends_before(*byte))?;
        let rest = &bytes[end..];
        let blanks = rest.len() - rest.trim_ascii_start().len();
        let is_colon = *rest.get(blanks)? == b':';
        let name = bytes[..end].strip_prefix(b"\"").and_then(|key| key.strip_suffix(b"\""));
        Some(name.filter(|_| is_colon).map(|name| Self { name: name.to_vec(), value: end + blanks + 1 }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn limits() -> ListLimits {
        ListLimits { item_bytes: 10_000, items: 1000 }
    }

    /// Items and the end of a body that arrives in pieces of `size` bytes.
    fn decode(body: &[u8], size: usize) -> Result<(Vec<Value>, JsonListEnd), ListError> {
        let mut decoder = JsonListDecoder::new(limits());
        let mut items = Vec::new();
        for piece in body.chunks(size.max(1)) {
            decoder.push(piece);
            while let Some(item) = decoder.next_item()? {
                items.push(serde_json::from_slice(item).unwrap());
            }
        }
        Ok((items, decoder.finish()?))
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (body, error) in [
            (r#"{"kind":"Status","code":403}"#, "response is a \"Status\" and not a list"),
            (r#"{"kind":"PodList","items":[{"a":1}"#, "response ends within the list, after 0 items"),
            (r#"{"kind":"PodList","items":[{"a":1},"#, "response ends within the list, after 1 items"),
            ("<html>", "response is not JSON"),
            (r#"{"kind" "x"}"#, "response is not JSON"),
            (r#"{"items":[1]}"#, "response is not JSON"),
        ] {
            assert_eq!(decode(body.as_bytes(), 7).unwrap_err().to_string(), error, "{body}");
        }
        let large = format!(r#"{{"items":[{{"a":"{}"}}]}}"#, "x".repeat(20_000));
        assert!(matches!(decode(large.as_bytes(), 100), Err(ListError::TooLarge { .. })));
        let large = format!(r#"{{"{}":1}}"#, "x".repeat(20_000));
        assert!(matches!(decode(large.as_bytes(), 100), Err(ListError::TooLarge { .. })));
    }

    #[test]
    fn events_are_split_at_line_ends_and_keep_their_object_as_it_was_sent() {
        let mut lines = JsonLines::new(200);
        let text = "{\"type\":\"ADDED\",\"object\":{\"a\":\"}\\\"\\n\"}}\n\n {\"object\": [1] , \"type\" : \"BOOKMARK\"}\r\n{\"ty";
        let mut events = Vec::new();
        for byte in text.as_bytes() {
            lines.push(&[*byte]);
            while let Some(line) = lines.next_frame().unwrap() {
                let event = decode_json_watch_event(line).unwrap();
                events.push((event.kind, String::from_utf8(event.object.to_vec()).unwrap()));
            }
        }
        assert_eq!(
            events,
            [
                (WatchEventKind::Added, "{\"a\":\"}\\\"\\n\"}".to_owned()),
                (WatchEventKind::Bookmark, "[1]".to_owned()),
            ]
        );
        assert_eq!(lines.pending(), 4);
        lines.push(&[b'x'; 300]);
        assert!(lines.next_frame().is_err());
        for (line, error) in [
            ("[]", "watch event is not JSON"),
            ("{\"type\":\"ADDED\"}", "watch event has no object"),
            ("{\"type\":\"GONE\",\"object\":{}}", "unknown watch event type \"GONE\""),
            ("{\"type\":\"ADDED\",\"object\":{}", "watch event is not JSON"),
            ("{\"type\":\"ADDED\" \"object\":{}}", "watch event is not JSON"),
        ] {
            assert_eq!(decode_json_watch_event(line.as_bytes()).unwrap_err().to_string(), error, "{line}");
        }
    }

    #[test]
    fn tables_are_read_row_by_row() {
        let table = br#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"9"},
            "columnDefinitions":[{"name":"Name","rows":1}],"rows":[ {"cells":["a"]} ,{"cells":["b"]}]}"#;
        for size in [1, 7, 1000] {
            let mut decoder = JsonListDecoder::of_table(limits());
            let mut rows = Vec::new();
            for piece in table.chunks(size) {
                decoder.push(piece);
                while let Some(row) = decoder.next_item().unwrap() {
                    rows.push(String::from_utf8(row.to_vec()).unwrap());
                }
            }
            assert_eq!(rows, [r#"{"cells":["a"]}"#, r#"{"cells":["b"]}"#]);
            assert_eq!(decoder.finish().unwrap().metadata, br#"{"resourceVersion":"9"}"#);
        }
        assert_eq!(first_row(table), Some(&br#"{"cells":["a"]}"#[..]));
        assert_eq!(first_row(br#"{"rows":[]}"#), None);
        assert_eq!(member(table, "kind"), Some(&b"\"Table\""[..]));
        let mut list = JsonListDecoder::of_table(limits());
        list.push(br#"{"kind":"SecretList","items":[]}"#);
        assert_eq!(list.next_item().unwrap(), None);
        assert!(list.finish().is_ok(), "a server without tables");
        let mut status = JsonListDecoder::of_table(limits());
        status.push(br#"{"kind":"Status"}"#);
        assert_eq!(status.next_item().unwrap(), None);
        assert!(status.finish().is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[ -~\\\\\"\n{}\\[\\],:é]{0,12}".prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z\"\\\\{]{0,5}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_list_cut_anywhere_gives_its_items(
            items in prop::collection::vec(prop::collection::btree_map("[a-z]{1,4}", any_json(), 0..4), 0..5),
            other in any_json(),
            size in 1_usize..40,
            pretty in any::<bool>(),
        ) {
            let items: Vec<Value> = items.into_iter().map(|map| Value::Object(map.into_iter().collect())).collect();
            let body = json!({
                "apiVersion": "v1", "items": items, "kind": "XList", "metadata": {"resourceVersion": "7"}, "z": other
            });
            let text = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) };
            let (read, end) = decode(text.unwrap().as_bytes(), size).unwrap();
            prop_assert_eq!(read, items.clone());
            prop_assert_eq!(end.items, items.len() as u64);
            let metadata: Value = serde_json::from_slice(&end.metadata).unwrap();
            prop_assert_eq!(metadata, json!({"resourceVersion": "7"}));
        }

        #[test]
        fn no_bytes_make_the_decoders_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..30) {
            let mut decoder = JsonListDecoder::new(limits());
            for piece in bytes.chunks(size) {
                decoder.push(piece);
                while let Ok(Some(_)) = decoder.next_item() {}
            }
            let _ = decode_json_watch_event(&bytes);
        }
    }
}

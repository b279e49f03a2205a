//! The encoding of what a row holds beside its columns.
//!
//! A buffer starts with the number of dictionary texts it refers to and their ids (so that they can be released
//! without knowing the kind of row), then a sequence of numbers, texts and sections in an order that the kind
//! of row knows. A text is inline or the next of the ids; a section is a sequence that can be jumped over.
//!
//! Number: LEB128. Text: `2 * length` and the bytes, or `1` for the next id. Section: its length in bytes, the
//! number of ids it uses, its content.

use outrigger_wire::protobuf::put_varint;

use crate::dictionary::{Dictionary, TextId};

/// Texts longer than this are looked up in the dictionary even when they are unlikely to repeat: one that does
/// (`sidecar.istio.io/status`) is large, and one that does not costs 50 bytes more.
const INLINE: usize = 64;

/// Appends a text inline. What is not UTF-8 is replaced by U+FFFD.
pub(crate) fn put_text(text: &[u8], into: &mut Vec<u8>) {
    match std::str::from_utf8(text) {
        Ok(_) => put_bytes(text, into),
        Err(_) => put_bytes(String::from_utf8_lossy(text).as_bytes(), into),
    }
}

/// Appends bytes as an inline text without a look at them.
pub(crate) fn put_bytes(text: &[u8], into: &mut Vec<u8>) {
    put_varint(2 * text.len() as u64, into);
    into.extend_from_slice(text);
}

/// How a text gets into a block: [`put_text`] or [`put_bytes`].
pub(crate) type PutText = fn(&[u8], &mut Vec<u8>);

/// Appends a number.
pub(crate) fn put_number(number: u64, into: &mut Vec<u8>) {
    put_varint(number, into);
}

/// Writes the buffer of one row; kept from row to row for its allocations.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) references: Vec<TextId>,
    bytes: Vec<u8>,
    /// References and bytes joined, as they are stored.
    joined: Vec<u8>,
}

impl Draft {
    pub(crate) fn number(&mut self, number: u64) {
        put_number(number, &mut self.bytes);
    }

    /// A text that other rows are unlikely to have.
    pub(crate) fn text(&mut self, text: &[u8], texts: &mut Dictionary) {
        if text.len() > INLINE { self.shared(text, texts) } else { put_text(text, &mut self.bytes) }
    }

    /// A text that other rows are likely to have.
    pub(crate) fn shared(&mut self, text: &[u8], texts: &mut Dictionary) {
        if text.len() < size_of::<TextId>() {
            return put_text(text, &mut self.bytes);
        }
        self.bytes.push(1);
        self.references.push(texts.intern_text(text));
    }

    /// Where a section starts; to be given to [`end_section`](Self::end_section).
    pub(crate) fn begin_section(&self) -> (usize, usize) {
        (self.bytes.len(), self.references.len())
    }

    /// Makes a section of all that was written since `begin_section`.
    pub(crate) fn end_section(&mut self, (bytes_from, references_from): (usize, usize)) {
        let body_end = self.bytes.len();
        put_number((body_end - bytes_from) as u64, &mut self.bytes);
        put_number((self.references.len() - references_from) as u64, &mut self.bytes);
        let head = self.bytes.len() - body_end;
        self.bytes[bytes_from..].rotate_right(head);
    }

    /// A text that is never in the dictionary, whatever its length.
    pub(crate) fn inline(&mut self, text: &[u8]) {
        put_text(text, &mut self.bytes);
    }

    /// Makes the buffer that is to be stored.
    pub(crate) fn join(&mut self) {
        self.joined.clear();
        put_number(self.references.len() as u64, &mut self.joined);
        for id in &self.references {
            self.joined.extend_from_slice(&id.0.to_le_bytes());
        }
        self.joined.extend_from_slice(&self.bytes);
    }

    /// The buffer that [`join`](Self::join) made.
    pub(crate) fn joined(&self) -> &[u8] {
        &self.joined
    }

    pub(crate) fn clear(&mut self) {
        self.references.clear();
        self.bytes.clear();
        self.joined.clear();
        // One huge object must not pin its size.
        self.bytes.shrink_to(1 << 16);
        self.joined.shrink_to(1 << 16);
        self.references.shrink_to(1 << 12);
    }
}

/// The ids that a row's buffer refers to.
pub(crate) fn references(buffer: &[u8]) -> impl Iterator<Item = TextId> {
    let (ids, _) = split_references(buffer).0.as_chunks();
    ids.iter().map(|id| TextId(u32::from_le_bytes(*id)))
}

fn split_references(mut buffer: &[u8]) -> (&[u8], &[u8]) {
    let count = take_number(&mut buffer) as usize;
    buffer.split_at(count * size_of::<TextId>())
}

#[inline]
fn take_number(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    let mut shift = 0;
    while let Some((byte, rest)) = bytes.split_first() {
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            break;
        }
        shift += 7;
    }
    number
}

/// Reads a buffer, or a section of one, from front to back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payload<'a> {
    texts: &'a Dictionary,
    references: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Payload<'a> {
    /// Reads the buffer of a row.
    pub(crate) fn of_row(buffer: &'a [u8], texts: &'a Dictionary) -> Self {
        let (references, bytes) = split_references(buffer);
        Self { texts, references, bytes }
    }

    /// Reads a block: a sequence of numbers and inline texts.
    pub(crate) fn of_block(bytes: &'a [u8], texts: &'a Dictionary) -> Self {
        Self { texts, references: &[], bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    #[inline]
    pub(crate) fn number(&mut self) -> u64 {
        take_number(&mut self.bytes)
    }

    #[inline]
    pub(crate) fn text(&mut self) -> &'a str {
        match self.number() {
            1 => self.texts.text(self.next_reference()),
            twice => {
                let (text, rest) = self.bytes.split_at((twice / 2) as usize);
                self.bytes = rest;
                std::str::from_utf8(text).expect("only UTF-8 is written")
            }
        }
    }

    #[inline]
    pub(crate) fn skip_text(&mut self) {
        match self.number() {
            1 => drop(self.next_reference()),
            twice => self.bytes = &self.bytes[(twice / 2) as usize..],
        }
    }

    /// The next section, which is then behind.
    #[inline]
    pub(crate) fn section(&mut self) -> Self {
        let length = self.number() as usize;
        let references = self.number() as usize * size_of::<TextId>();
        let (bytes, bytes_after) = self.bytes.split_at(length);
        let (references, references_after) = self.references.split_at(references);
        let section = Self { texts: self.texts, references, bytes };
        (self.references, self.bytes) = (references_after, bytes_after);
        section
    }

    fn next_reference(&mut self) -> TextId {
        let (id, rest) = self.references.split_first_chunk().expect("as many ids as texts refer to");
        self.references = rest;
        TextId(u32::from_le_bytes(*id))
    }
}

/// Labels or annotations of an object, or (type, value) pairs of a node, in order.
#[derive(Debug, Clone)]
pub struct Pairs<'a> {
    left: usize,
    payload: Payload<'a>,
}

impl<'a> Pairs<'a> {
    /// Reads the number of pairs and stands before the first.
    pub(crate) fn new(mut payload: Payload<'a>) -> Self {
        Self { left: payload.number() as usize, payload }
    }

    /// The value of a key, given that the pairs are sorted by key.
    pub(crate) fn find_sorted(self, key: &str) -> Option<&'a str> {
        let mut pairs = self;
        while pairs.left > 0 {
            pairs.left -= 1;
            match pairs.payload.text().cmp(key) {
                std::cmp::Ordering::Less => pairs.payload.skip_text(),
                std::cmp::Ordering::Equal => return Some(pairs.payload.text()),
                std::cmp::Ordering::Greater => return None,
            }
        }
        None
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some((self.payload.text(), self.payload.text()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Pairs<'_> {}

/// A port of a container, service or endpoints subset. Absent strings are `""`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortView<'a> {
    /// `name`.
    pub name: &'a str,
    /// `containerPort` or `port`.
    pub number: u32,
    /// `protocol`.
    pub protocol: &'a str,
}

/// Ports in the object's order.
#[derive(Debug, Clone)]
pub struct Ports<'a> {
    left: usize,
    payload: Payload<'a>,
}

impl<'a> Ports<'a> {
    /// Reads the number of ports and stands before the first.
    pub(crate) fn new(mut payload: Payload<'a>) -> Self {
        Self { left: payload.number() as usize, payload }
    }

    /// As [`new`](Self::new), and moves on behind the ports.
    pub(crate) fn take(payload: &mut Payload<'a>) -> Self {
        let ports = Self::new(*payload);
        *payload = ports.payload;
        for _ in 0..ports.left {
            payload.skip_text();
            payload.number();
            payload.skip_text();
        }
        ports
    }
}

impl<'a> Iterator for Ports<'a> {
    type Item = PortView<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = self.payload.text();
        let number = self.payload.number() as u32;
        Some(PortView { name, number, protocol: self.payload.text() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Ports<'_> {}

/// A list of texts in the object's order: addresses, hosts, paths.
#[derive(Debug, Clone)]
pub struct Texts<'a> {
    left: usize,
    payload: Payload<'a>,
}

impl<'a> Texts<'a> {
    /// Reads the number of texts and stands before the first.
    pub(crate) fn new(mut payload: Payload<'a>) -> Self {
        Self { left: payload.number() as usize, payload }
    }
}

impl<'a> Iterator for Texts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.payload.text())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Texts<'_> {}

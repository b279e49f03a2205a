use thiserror::Error;

use super::envelope::{EnvelopeError, MAGIC, check_content_encoding, decode_type_meta};
use crate::protobuf::{ProtobufError, Reader, Writer, decode_varint, split_tag};

/// What is wrong with a list response.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ListError {
    /// The response is not in the protobuf envelope, or its content is encoded.
    #[error("cannot read the envelope of the list")]
    Envelope(#[from] EnvelopeError),
    /// The bytes are no list message.
    #[error("cannot read the list")]
    Malformed(#[from] ProtobufError),
    /// An item or another field is longer than allowed.
    #[error("{what} of {bytes} bytes is above the limit of {limit}")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Length it claims.
        bytes: u64,
        /// The limit.
        limit: usize,
    },
    /// A response that should be JSON is not, or not a list's.
    #[error("response is not JSON")]
    NotJson,
    /// The list goes on after the largest number of items allowed.
    #[error("list has more than {0} items")]
    TooManyItems(u64),
    /// The response is an object of another kind, for example a Status.
    #[error("response is a {0:?} and not a list")]
    NotAList(String),
    /// The response ended within the list.
    #[error("response ends within the list, after {items} items")]
    Truncated {
        /// Complete items before the end.
        items: u64,
    },
}

/// Limits of a [`ListDecoder`].
#[derive(Debug, Clone, Copy)]
pub struct ListLimits {
    /// Largest item in bytes.
    pub item_bytes: usize,
    /// Largest number of items in one response.
    pub items: u64,
}

impl Default for ListLimits {
    fn default() -> Self {
        Self { item_bytes: 16 << 20, items: 10_000_000 }
    }
}

/// `meta/v1` ListMeta.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListMeta {
    /// Version of the snapshot that the list is of.
    pub resource_version: String,
    /// Token for the next page; empty at the last one.
    pub continue_token: String,
    /// How many items follow on later pages, where the server knows.
    pub remaining: Option<i64>,
}

impl ListMeta {
    fn decode(message: &[u8]) -> Result<Self, ProtobufError> {
        let mut meta = Self::default();
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.next_field()? {
            match number {
                2 => meta.resource_version = field.text(2)?.to_owned(),
                3 => meta.continue_token = field.text(3)?.to_owned(),
                4 => meta.remaining = Some(field.int64(4)?),
                _ => {}
            }
        }
        Ok(meta)
    }
}

/// What is known when a list has ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListEnd {
    /// `apiVersion` of the list.
    pub api_version: String,
    /// `kind` of the list, such as `PodList`.
    pub kind: String,
    /// Its metadata.
    pub meta: ListMeta,
    /// How many items it had.
    pub items: u64,
}

/// Where the decoder stands in the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before `k8s\0`.
    Magic,
    /// At a field of `runtime.Unknown`.
    Outer,
    /// At a field of the list message, which has this many bytes left.
    Inner { left: u64 },
    /// Within a field that nobody reads; then on to the state that `left` says.
    Skip { bytes: u64, left: Option<u64> },
}

/// A field's tag, and the length or value after it.
struct Head {
    number: u32,
    /// Bytes of tag and length (or value).
    used: usize,
    /// Bytes of content that follow; `None` for a varint, which has none.
    content: Option<u64>,
    delimited: bool,
}

/// Decodes a list response as it arrives: envelope, `List { metadata = 1, items = 2 }`, in any order of fields.
///
/// Push bytes, take items until there is none, push more; at the end of the response call
/// [`finish`](Self::finish). Holds what was pushed and not yet taken: one item if the pieces are small.
#[derive(Debug)]
pub struct ListDecoder {
    buffer: Vec<u8>,
    start: usize,
    state: State,
    /// Whether the list message has started: a response cut before it must not pass for an empty list.
    list_seen: bool,
    limits: ListLimits,
    end: ListEnd,
}

/// Largest `ListMeta` or `TypeMeta`; a continue token is a few hundred bytes.
const MAX_META_BYTES: usize = 1 << 20;

impl ListDecoder {
    /// A decoder at the start of a response.
    pub fn new(limits: ListLimits) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            state: State::Magic,
            list_seen: false,
            limits,
            end: ListEnd::default(),
        }
    }

    /// Takes over the next bytes of the response, cut anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The message of the next item, or `None` when more bytes are needed or the list has ended.
    ///
    /// # Errors
    /// When the response is no list or breaks a limit; items returned before are good.
    pub fn next_item(&mut self) -> Result<Option<&[u8]>, ListError> {
        loop {
            match self.state {
                State::Magic => {
                    let Some(magic) = self.rest().first_chunk::<4>() else {
                        return Ok(None);
                    };
                    if magic != MAGIC {
                        return Err(EnvelopeError::NotProtobuf.into());
                    }
                    self.start += MAGIC.len();
                    self.state = State::Outer;
                }
                State::Outer => {
                    if !self.step_outer()? {
                        return Ok(None);
                    }
                }
                State::Inner { left: 0 } => self.state = State::Outer,
                State::Inner { left } => match self.step_inner(left)? {
                    Step::Again => {}
                    Step::NeedMore => return Ok(None),
                    Step::Item { from, to } => return Ok(Some(&self.buffer[from..to])),
                },
                State::Skip { bytes, left } => {
                    let skipped = (self.rest().len() as u64).min(bytes);
                    self.start += skipped as usize;
                    if skipped < bytes {
                        self.state = State::Skip { bytes: bytes - skipped, left };
                        return Ok(None);
                    }
                    self.state = left.map_or(State::Outer, |left| State::Inner { left });
                }
            }
        }
    }

    /// What the list was, once the response has ended and every item was taken.
    ///
    /// # Errors
    /// When the response ended early.
    pub fn finish(self) -> Result<ListEnd, ListError> {
        if self.state != State::Outer || self.start < self.buffer.len() || !self.list_seen {
            return Err(ListError::Truncated { items: self.end.items });
        }
        if self.end.kind.is_empty() {
            return Err(ListError::NotAList(String::new()));
        }
        Ok(self.end)
    }

    /// Bytes that were pushed and not yet taken.
    pub fn buffered(&self) -> usize {
        self.rest().len()
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Goes over one field of `runtime.Unknown`; false when more bytes are needed.
    fn step_outer(&mut self) -> Result<bool, ListError> {
        let Some(head) = head(self.rest())? else { return Ok(false) };
        let content = head.content.unwrap_or(0);
        match head.number {
            2 if head.delimited => {
                self.start += head.used;
                self.state = State::Inner { left: content };
                self.list_seen = true;
            }
            1 | 3 if head.delimited => {
                let Some((from, to)) = self.whole(&head, "type metadata", MAX_META_BYTES)? else {
                    return Ok(false);
                };
                if head.number == 1 {
                    let (api_version, kind) = decode_type_meta(&self.buffer[from..to])?;
                    (self.end.api_version, self.end.kind) = (api_version.to_owned(), kind.to_owned());
                    check_list_kind(kind)?;
                } else {
                    let encoding = String::from_utf8_lossy(&self.buffer[from..to]);
                    check_content_encoding(&encoding)?;
                }
            }
            _ => {
                self.start += head.used;
                self.state = State::Skip { bytes: content, left: None };
            }
        }
        Ok(true)
    }

    /// Goes over one field of the list message, of which `left` bytes are to come.
    fn step_inner(&mut self, left: u64) -> Result<Step, ListError> {
        let available = self.rest();
        let visible = available.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(head) = head(&available[..visible])? else {
            // A head is at most 20 bytes: either it is cut by the end of what arrived, or by the end of the list.
            return if visible as u64 == left {
                Err(ProtobufError::Truncated.into())
            } else {
                Ok(Step::NeedMore)
            };
        };
        let content = head.content.unwrap_or(0);
        let left = (head.used as u64)
            .checked_add(content)
            .and_then(|bytes| left.checked_sub(bytes))
            .ok_or(ProtobufError::Truncated)?;
        match head.number {
            1 | 2 if head.delimited => {
                let (what, limit) = if head.number == 1 {
                    ("list metadata", MAX_META_BYTES)
                } else {
                    ("item", self.limits.item_bytes)
                };
                let Some((from, to)) = self.whole(&head, what, limit)? else {
                    return Ok(Step::NeedMore);
                };
                self.state = State::Inner { left };
                if head.number == 1 {
                    self.end.meta = ListMeta::decode(&self.buffer[from..to])?;
                    return Ok(Step::Again);
                }
                if self.end.items == self.limits.items {
                    return Err(ListError::TooManyItems(self.limits.items));
                }
                self.end.items += 1;
                Ok(Step::Item { from, to })
            }
            _ => {
                self.start += head.used;
                self.state = State::Skip { bytes: content, left: Some(left) };
                Ok(Step::Again)
            }
        }
    }

    /// Consumes a field whose whole content is needed and tells where that is; `None` when it has not arrived.
    fn whole(
        &mut self,
        head: &Head,
        what: &'static str,
        limit: usize,
    ) -> Result<Option<(usize, usize)>, ListError> {
        let bytes = head.content.unwrap_or(0);
        let fits = usize::try_from(bytes).ok().filter(|bytes| *bytes <= limit);
        let Some(length) = fits else { return Err(ListError::TooLarge { what, bytes, limit }) };
        if self.rest().len() < head.used + length {
            return Ok(None);
        }
        let from = self.start + head.used;
        self.start = from + length;
        Ok(Some((from, from + length)))
    }
}

enum Step {
    Again,
    NeedMore,
    Item { from: usize, to: usize },
}

/// Reads a tag and what follows it; `None` when it is not complete.
fn head(bytes: &[u8]) -> Result<Option<Head>, ProtobufError> {
    let Some((tag, tag_bytes)) = decode_varint(bytes)? else { return Ok(None) };
    let (number, wire_type) = split_tag(tag)?;
    let delimited = wire_type == 2;
    let (used, content) = match wire_type {
        0 | 2 => {
            let Some((value, bytes)) = decode_varint(&bytes[tag_bytes..])? else { return Ok(None) };
            (tag_bytes + bytes, delimited.then_some(value))
        }
        1 => (tag_bytes, Some(8)),
        5 => (tag_bytes, Some(4)),
        _ => return Err(ProtobufError::WireType { field: number, wire_type }),
    };
    Ok(Some(Head { number, used, content, delimited }))
}

fn check_list_kind(kind: &str) -> Result<(), ListError> {
    if kind.is_empty() || kind.ends_with("List") { Ok(()) } else { Err(ListError::NotAList(kind.to_owned())) }
}

/// Appends a list response, envelope included. `kind` is that of the list, such as `PodList`.
pub fn encode_list<'a>(
    api_version: &str,
    kind: &str,
    meta: &ListMeta,
    items: impl IntoIterator<Item = &'a [u8]>,
    into: &mut Vec<u8>,
) {
    let mut list = Vec::new();
    let mut writer = Writer::new(&mut list);
    writer.message(1, |writer| {
        writer.string(1, "");
        writer.string(2, &meta.resource_version);
        writer.string(3, &meta.continue_token);
        if let Some(remaining) = meta.remaining {
            writer.int(4, remaining);
        }
    });
    for item in items {
        writer.bytes(2, item);
    }
    super::encode_envelope(api_version, kind, &list, into);
}

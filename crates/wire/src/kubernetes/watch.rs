use thiserror::Error;

use super::envelope::{Envelope, EnvelopeError, decode_envelope, encode_envelope};
use crate::protobuf::{ProtobufError, Reader, Writer};

/// Annotation, with the value `"true"`, of the bookmark that ends the initial events of a streamed list (KEP-3157).
pub const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// What is wrong with a watch stream.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WatchError {
    /// A frame is longer than the limit, or the stream is not framed at all.
    #[error("watch frame of {bytes} bytes is above the limit of {limit}")]
    FrameTooLarge {
        /// Length the frame claims.
        bytes: u64,
        /// The limit.
        limit: usize,
    },
    /// A frame is no `WatchEvent`.
    #[error("cannot read WatchEvent")]
    Malformed(#[from] ProtobufError),
    /// An event that should be JSON is not.
    #[error("watch event is not JSON")]
    NotJson,
    /// An event's type is none of ADDED, MODIFIED, DELETED, BOOKMARK, ERROR.
    #[error("unknown watch event type {0:?}")]
    UnknownType(String),
    /// An event has no object.
    #[error("watch event has no object")]
    NoObject,
    /// An event's object is not in the protobuf envelope.
    #[error("cannot read the object of a watch event")]
    Object(#[from] EnvelopeError),
}

/// Splits a watch stream into frames: a length of four bytes, big endian, then that many bytes.
///
/// Holds one frame plus whatever was pushed beyond it.
#[derive(Debug)]
pub struct WatchFrames {
    buffer: Vec<u8>,
    start: usize,
    limit: usize,
}

impl WatchFrames {
    /// Largest frame accepted by default. etcd refuses objects above 1.5 MiB unless told otherwise.
    pub const DEFAULT_LIMIT: usize = 16 << 20;

    /// A splitter that refuses frames of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, limit }
    }

    /// Takes over the next bytes of the stream, cut anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        // One large object must not pin its size for the life of the stream.
        if self.buffer.is_empty() && self.buffer.capacity() > KEEP_BYTES.max(4 * bytes.len()) {
            self.buffer = Vec::new();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete frame, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// When a frame is too large. The stream cannot be resynchronised after that.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, WatchError> {
        let rest = &self.buffer[self.start..];
        let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes(*length);
        let fits = usize::try_from(length).ok().filter(|length| *length <= self.limit);
        let Some(length) = fits else {
            return Err(WatchError::FrameTooLarge { bytes: u64::from(length), limit: self.limit });
        };
        if rest.len() < length {
            return Ok(None);
        }
        let from = self.start + 4;
        self.start = from + length;
        Ok(Some(&self.buffer[from..from + length]))
    }

    /// Bytes of a frame that is not complete yet; not zero at the end of a stream that was cut within a frame.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.start
    }
}

/// Capacity that an empty frame buffer keeps.
const KEEP_BYTES: usize = 256 << 10;

impl Default for WatchFrames {
    fn default() -> Self {
        Self::new(Self::DEFAULT_LIMIT)
    }
}

/// Type of a watch event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchEventKind {
    /// The object is new, or new to this watch.
    Added,
    /// The object changed.
    Modified,
    /// The object is gone; the event has its last state.
    Deleted,
    /// Only `metadata.resourceVersion` (and annotations) of the object count: the stream is complete up to it.
    Bookmark,
    /// The object is a `Status`; the stream ends.
    Error,
}

impl WatchEventKind {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
            Self::Bookmark => "BOOKMARK",
            Self::Error => "ERROR",
        }
    }

    pub(super) fn from_wire(word: &[u8]) -> Result<Self, WatchError> {
        match word {
            b"ADDED" => Ok(Self::Added),
            b"MODIFIED" => Ok(Self::Modified),
            b"DELETED" => Ok(Self::Deleted),
            b"BOOKMARK" => Ok(Self::Bookmark),
            b"ERROR" => Ok(Self::Error),
            other => {
                let shown = &other[..other.len().min(64)];
                Err(WatchError::UnknownType(String::from_utf8_lossy(shown).into_owned()))
            }
        }
    }
}

/// One event of a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchEvent<'a> {
    /// What happened.
    pub kind: WatchEventKind,
    /// To which object.
    pub object: Envelope<'a>,
}

/// Reads one frame: `WatchEvent { type = 1, object = 2 RawExtension { raw = 1 } }`, whose raw bytes are an envelope.
///
/// # Errors
/// When the frame or the envelope within is malformed.
pub fn decode_watch_event(frame: &[u8]) -> Result<WatchEvent<'_>, WatchError> {
    let mut kind: &[u8] = b"";
    let mut object = None;
    let mut reader = Reader::new(frame);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => kind = field.bytes(1)?,
            2 => object = raw_extension(field.bytes(2)?)?,
            _ => {}
        }
    }
    let kind = WatchEventKind::from_wire(kind)?;
    let object = decode_envelope(object.ok_or(WatchError::NoObject)?)?;
    Ok(WatchEvent { kind, object })
}

fn raw_extension(message: &[u8]) -> Result<Option<&[u8]>, ProtobufError> {
    let mut raw = None;
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        if number == 1 {
            raw = Some(field.bytes(1)?);
        }
    }
    Ok(raw)
}

/// Appends one event as a frame, length included.
pub fn encode_watch_event(
    kind: WatchEventKind,
    api_version: &str,
    object_kind: &str,
    object: &[u8],
    into: &mut Vec<u8>,
) {
    let mut envelope = Vec::with_capacity(object.len() + 64);
    encode_envelope(api_version, object_kind, object, &mut envelope);
    let mut event = Vec::with_capacity(envelope.len() + 32);
    let mut writer = Writer::new(&mut event);
    writer.string(1, kind.as_str());
    writer.message(2, |raw| raw.bytes(1, &envelope));
    encode_frame(&event, into);
}

/// Appends `content` as a frame: four bytes of length, big endian, and the content.
pub fn encode_frame(content: &[u8], into: &mut Vec<u8>) {
    let length = u32::try_from(content.len()).expect("an object is far smaller than 4 GiB");
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(content);
}

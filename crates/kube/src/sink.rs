//! Where a watch brings objects, and how they are read from the stream.

use std::sync::Arc;

use outrigger_wire::kubernetes::{
    CustomResource, INITIAL_EVENTS_END, JsonLines, JsonListDecoder, ListDecoder, ListError, ListLimits,
    ResourceKind, Status, WatchError, WatchEventKind, WatchFrames, decode_json_watch_event,
    decode_watch_event, first_row, member, object_meta,
};
use serde::Deserialize;

use crate::machine::WatchPhase;
use crate::request::{Refused, refused_of_json};
use crate::resource::WatchedResource;
use crate::table::secret_of;
use crate::{ObjectError, ObjectSink, WatchChange, WatchSink};

/// A resource with the sink of its objects.
#[derive(Clone)]
pub(crate) enum Sink {
    Protobuf(ResourceKind, Arc<dyn WatchSink>),
    /// Rows of a table; the sink gets what they show of the object, in protobuf.
    Table(ResourceKind, Arc<dyn WatchSink>),
    Json(CustomResource, Arc<dyn ObjectSink>),
}

impl Sink {
    /// A resource in protobuf; Secrets, unless their metadata is enough, as rows, which show no data.
    pub(crate) fn new(resource: ResourceKind, metadata_only: bool, sink: Arc<dyn WatchSink>) -> Self {
        match resource {
            ResourceKind::Secret if !metadata_only => Self::Table(resource, sink),
            _ => Self::Protobuf(resource, sink),
        }
    }

    pub(crate) fn resource(&self) -> WatchedResource {
        match self {
            Self::Protobuf(kind, _) | Self::Table(kind, _) => (*kind).into(),
            Self::Json(custom, _) => custom.clone().into(),
        }
    }

    pub(crate) fn unavailable(&self, phase: WatchPhase) {
        match self {
            Self::Protobuf(kind, sink) | Self::Table(kind, sink) => sink.unavailable(*kind, phase),
            Self::Json(_, sink) => sink.unavailable(phase),
        }
    }

    pub(crate) fn begin_generation(&self) {
        match self {
            Self::Protobuf(kind, sink) | Self::Table(kind, sink) => sink.begin_generation(*kind),
            Self::Json(_, sink) => sink.begin_generation(),
        }
    }

    pub(crate) fn apply(&self, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        match self {
            Self::Protobuf(kind, sink) => sink.apply(*kind, change, object),
            Self::Table(kind, sink) => sink.apply(*kind, change, &secret_of(object)?),
            Self::Json(_, sink) => sink.apply(change, object),
        }
    }

    pub(crate) fn commit_generation(&self) {
        match self {
            Self::Protobuf(kind, sink) | Self::Table(kind, sink) => sink.commit_generation(*kind),
            Self::Json(_, sink) => sink.commit_generation(),
        }
    }

    pub(crate) fn list(&self, limits: ListLimits) -> List {
        match self {
            Self::Protobuf(..) => List::Protobuf(ListDecoder::new(limits)),
            Self::Table(..) => List::Json(JsonListDecoder::of_table(limits)),
            Self::Json(..) => List::Json(JsonListDecoder::new(limits)),
        }
    }

    pub(crate) fn frames(&self, limit: usize) -> Frames {
        match self {
            Self::Protobuf(..) => Frames::Protobuf(WatchFrames::new(limit)),
            Self::Table(..) | Self::Json(..) => Frames::Json(JsonLines::new(limit)),
        }
    }

    /// Reads one frame of a watch.
    pub(crate) fn event<'a>(&self, frame: &'a [u8]) -> Result<Event<'a>, WatchError> {
        match self {
            Self::Protobuf(..) => protobuf_event(frame),
            Self::Table(..) => table_event(frame),
            Self::Json(..) => json_event(frame),
        }
    }
}

/// A list in either encoding.
pub(crate) enum List {
    Protobuf(ListDecoder),
    Json(JsonListDecoder),
}

/// Version and continue token of a whole list.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ListEnd {
    pub(crate) resource_version: String,
    pub(crate) r#continue: String,
}

impl List {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Protobuf(decoder) => decoder.push(bytes),
            Self::Json(decoder) => decoder.push(bytes),
        }
    }

    pub(crate) fn next_item(&mut self) -> Result<Option<&[u8]>, ListError> {
        match self {
            Self::Protobuf(decoder) => decoder.next_item(),
            Self::Json(decoder) => decoder.next_item(),
        }
    }

    pub(crate) fn finish(self) -> Result<ListEnd, ListError> {
        match self {
            Self::Protobuf(decoder) => {
                let meta = decoder.finish()?.meta;
                Ok(ListEnd { resource_version: meta.resource_version, r#continue: meta.continue_token })
            }
            Self::Json(decoder) => {
                serde_json::from_slice(&decoder.finish()?.metadata).map_err(|_| ListError::NotJson)
            }
        }
    }
}

/// Frames of a watch in either encoding.
pub(crate) enum Frames {
    Protobuf(WatchFrames),
    Json(JsonLines),
}

impl Frames {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Protobuf(frames) => frames.push(bytes),
            Self::Json(lines) => lines.push(bytes),
        }
    }

    pub(crate) fn next_frame(&mut self) -> Result<Option<&[u8]>, WatchError> {
        match self {
            Self::Protobuf(frames) => frames.next_frame(),
            Self::Json(lines) => lines.next_frame(),
        }
    }

    pub(crate) fn pending(&self) -> usize {
        match self {
            Self::Protobuf(frames) => frames.pending(),
            Self::Json(lines) => lines.pending(),
        }
    }
}

/// What the protocol needs of an event.
pub(crate) struct Event<'a> {
    pub(crate) kind: WatchEventKind,
    /// The object as the sink takes it.
    pub(crate) object: &'a [u8],
    /// Its version; empty where it cannot be read.
    pub(crate) version: String,
    /// It is the bookmark that ends a streamed list.
    pub(crate) initial_events_end: bool,
    /// For [`WatchEventKind::Error`]: what is refused.
    pub(crate) refused: Option<Refused>,
    /// For [`WatchEventKind::Error`]: the word for it.
    pub(crate) reason: String,
}

fn protobuf_event(frame: &[u8]) -> Result<Event<'_>, WatchError> {
    let event = decode_watch_event(frame)?;
    let object = event.object.raw;
    let mut read = Event {
        kind: event.kind,
        object,
        version: String::new(),
        initial_events_end: false,
        refused: None,
        reason: String::new(),
    };
    match event.kind {
        WatchEventKind::Error => {
            let status = Status::decode(object)?;
            read.refused = Some(Refused::of_status(&status));
            read.reason = status.reason;
        }
        WatchEventKind::Bookmark => {
            let meta = object_meta(object)?;
            read.initial_events_end = meta.annotation(INITIAL_EVENTS_END) == Some("true");
            meta.resource_version.clone_into(&mut read.version);
        }
        // Metadata that cannot be read is the sink's to refuse: the object is lost, the stream is not.
        WatchEventKind::Added | WatchEventKind::Modified | WatchEventKind::Deleted => {
            let meta = object_meta(object);
            meta.map(|meta| meta.resource_version).unwrap_or_default().clone_into(&mut read.version);
        }
    }
    Ok(read)
}

/// `metadata` of a JSON object, as far as the protocol needs it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Head<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata<'a> {
    resource_version: String,
    #[serde(borrow)]
    annotations: Option<Annotations<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotations<'a> {
    #[serde(borrow, rename = "k8s.io/initial-events-end")]
    initial_events_end: std::borrow::Cow<'a, str>,
}

fn json_event(frame: &[u8]) -> Result<Event<'_>, WatchError> {
    let event = decode_json_watch_event(frame)?;
    event_of(event.kind, event.object, event.object)
}

/// An event whose object is a table with one row.
fn table_event(frame: &[u8]) -> Result<Event<'_>, WatchError> {
    let event = decode_json_watch_event(frame)?;
    if event.kind == WatchEventKind::Error {
        return event_of(event.kind, event.object, event.object);
    }
    let Some(row) = first_row(event.object) else {
        // The object itself, of a server without tables.
        return event_of(event.kind, event.object, event.object);
    };
    let object = member(row, "object").ok_or(WatchError::NoObject)?;
    event_of(event.kind, row, object)
}

/// The event of `object`; the sink gets `given`.
fn event_of<'a>(kind: WatchEventKind, given: &'a [u8], object: &'a [u8]) -> Result<Event<'a>, WatchError> {
    let head: Option<Head<'_>> = serde_json::from_slice(object).ok();
    if head.is_none() && kind == WatchEventKind::Bookmark {
        return Err(WatchError::NotJson);
    }
    let Head { metadata } = head.unwrap_or_default();
    let (refused, reason) = match kind {
        WatchEventKind::Error => {
            let (refused, reason) = refused_of_json(object).ok_or(WatchError::NotJson)?;
            (Some(refused), reason)
        }
        _ => (None, String::new()),
    };
    Ok(Event {
        kind,
        object: given,
        version: metadata.resource_version,
        initial_events_end: metadata.annotations.is_some_and(|all| all.initial_events_end == "true"),
        refused,
        reason,
    })
}

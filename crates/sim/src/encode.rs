//! What goes over the wire: content negotiation, lists, events and refusals.

use std::sync::Arc;

use bytes::Bytes;
use outrigger_wire::kubernetes::{
    INITIAL_EVENTS_END, ListMeta, ResourceKind, Status, WatchEventKind, decode_envelope, encode_envelope,
    encode_list, encode_watch_event,
};
use outrigger_wire::protobuf::{Field, Reader, Writer, put_varint, varint_len};

use crate::api_server;
use crate::store::{Change, ChangeKind, StoredObject};
use crate::table;
use crate::watch::WatchRequest;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const META_API_VERSION: &str = "meta.k8s.io/v1";

/// What a client asked for in `Accept`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Representation {
    /// The whole object.
    Object,
    /// `as=PartialObjectMetadata`.
    Metadata,
    /// `as=Table` in JSON, with metadata and the cells that kubectl prints.
    Table,
}

impl Representation {
    pub(crate) fn list_media_type(self) -> &'static str {
        match self {
            Representation::Object | Representation::Metadata => PROTOBUF,
            Representation::Table => "application/json",
        }
    }

    pub(crate) fn watch_media_type(self) -> &'static str {
        match self {
            Representation::Object | Representation::Metadata => {
                "application/vnd.kubernetes.protobuf;stream=watch"
            }
            Representation::Table => "application/json",
        }
    }

    fn api_version(self, resource: ResourceKind) -> &'static str {
        match self {
            Representation::Object => resource.api_version(),
            Representation::Metadata | Representation::Table => META_API_VERSION,
        }
    }

    fn kind(self, resource: ResourceKind) -> &'static str {
        match self {
            Representation::Object => resource.kind(),
            Representation::Metadata => "PartialObjectMetadata",
            Representation::Table => "Table",
        }
    }

    fn content(self, object: &StoredObject) -> Bytes {
        match self {
            Representation::Object => object.raw(),
            Representation::Metadata => metadata_only(&object.raw()),
            Representation::Table => table::row(object).into(),
        }
    }
}

/// The first media type of `accept` that this server has, or `None` (406).
pub(crate) fn negotiate(accept: &str) -> Option<Representation> {
    accept.split(',').find_map(|clause| {
        let mut parts = clause.split(';').map(str::trim);
        let media_type = parts.next();
        if media_type == Some("application/json") {
            return parts.any(|part| part == "as=Table").then_some(Representation::Table);
        }
        if media_type != Some(PROTOBUF) {
            return None;
        }
        match parts.find_map(|part| part.strip_prefix("as=")) {
            None => Some(Representation::Object),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Some(Representation::Metadata),
            Some(_) => None,
        }
    })
}

/// Fields that field selectors of a resource may name.
pub(crate) fn selectable_fields(resource: ResourceKind) -> &'static [&'static str] {
    match resource {
        ResourceKind::Pod => &[
            "metadata.name",
            "metadata.namespace",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ResourceKind::Node => &["metadata.name", "spec.unschedulable"],
        ResourceKind::Namespace => &["metadata.name", "status.phase"],
        ResourceKind::Service => &["metadata.name", "metadata.namespace", "spec.clusterIP", "spec.type"],
        ResourceKind::ReplicaSet => &["metadata.name", "metadata.namespace", "status.replicas"],
        ResourceKind::Job => &["metadata.name", "metadata.namespace", "status.successful"],
        ResourceKind::Secret => &["metadata.name", "metadata.namespace", "type"],
        ResourceKind::ReplicationController => &["metadata.name", "metadata.namespace", "status.replicas"],
        ResourceKind::CertificateSigningRequest => &["metadata.name", "spec.signerName"],
        _ if resource.namespaced() => &["metadata.name", "metadata.namespace"],
        _ => &["metadata.name"],
    }
}

/// Bytes of a list that are sent in one piece.
const LIST_CHUNK: usize = 64 * 1024;

/// A list response with its envelope, piece by piece: every object is encoded twice, for its length and when its turn
/// comes, so that the whole never lies in memory.
pub(crate) fn list(
    resource: ResourceKind,
    representation: Representation,
    api_version: Option<&str>,
    meta: &ListMeta,
    objects: Vec<Arc<StoredObject>>,
) -> Box<dyn Iterator<Item = Bytes> + Send + Sync> {
    match representation {
        Representation::Table => Box::new(std::iter::once(table::whole(meta, &objects).into())),
        Representation::Object | Representation::Metadata => {
            let api_version = api_version.unwrap_or(representation.api_version(resource));
            Box::new(protobuf_list(resource, representation, api_version, meta, objects))
        }
    }
}

fn protobuf_list(
    resource: ResourceKind,
    representation: Representation,
    api_version: &str,
    meta: &ListMeta,
    objects: Vec<Arc<StoredObject>>,
) -> impl Iterator<Item = Bytes> + Send + Sync + 'static {
    let mut empty = Vec::new();
    let kind = format!("{}List", representation.kind(resource));
    encode_list(api_version, &kind, meta, [], &mut empty);
    let length = |object: &Arc<StoredObject>| {
        let length = representation.content(object).len();
        1 + varint_len(length as u64) + length
    };
    let items: usize = objects.iter().map(length).sum();
    let (head, mut end) = widen_list(&empty, items);
    let mut objects = objects.into_iter();
    let mut piece = head;
    std::iter::from_fn(move || {
        while piece.len() < LIST_CHUNK {
            let Some(object) = objects.next() else {
                piece.append(&mut end);
                break;
            };
            Writer::new(&mut piece).bytes(2, &representation.content(&object));
        }
        (!piece.is_empty()).then(|| std::mem::take(&mut piece).into())
    })
}

/// The envelope of an empty list as what comes before and after `items` bytes of items.
fn widen_list(empty: &[u8], items: usize) -> (Vec<u8>, Vec<u8>) {
    let envelope = decode_envelope(empty).expect("it was encoded just now");
    let start = envelope.raw.as_ptr() as usize - empty.as_ptr() as usize;
    let end = start + envelope.raw.len();
    let mut head = empty[..start - varint_len(envelope.raw.len() as u64)].to_vec();
    put_varint((envelope.raw.len() + items) as u64, &mut head);
    head.extend_from_slice(envelope.raw);
    (head, empty[end..].to_vec())
}

/// The frame of a change as one stream sees it.
pub(crate) fn event(request: &WatchRequest, kind: ChangeKind, change: &Change) -> Bytes {
    let kind = match kind {
        ChangeKind::Added => WatchEventKind::Added,
        ChangeKind::Modified => WatchEventKind::Modified,
        ChangeKind::Deleted => WatchEventKind::Deleted,
    };
    frame(request, kind, &request.representation.content(&change.object))
}

/// The frame of an object that was there when the stream began.
pub(crate) fn initial_event(request: &WatchRequest, object: &StoredObject) -> Bytes {
    frame(request, WatchEventKind::Added, &request.representation.content(object))
}

/// A bookmark; `initial_events_end` marks the one that ends a streamed list.
pub(crate) fn bookmark(request: &WatchRequest, revision: u64, initial_events_end: bool) -> Bytes {
    if request.representation == Representation::Table {
        return table::bookmark(revision).into();
    }
    let mut object = Vec::new();
    Writer::new(&mut object).message(1, |metadata| {
        metadata.string(6, &revision.to_string());
        if initial_events_end {
            metadata.message(12, |entry| {
                entry.string(1, INITIAL_EVENTS_END);
                entry.string(2, "true");
            });
        }
    });
    frame(request, WatchEventKind::Bookmark, &object)
}

fn frame(request: &WatchRequest, kind: WatchEventKind, object: &[u8]) -> Bytes {
    let representation = request.representation;
    if representation == Representation::Table {
        return table::event(kind, object).into();
    }
    let mut frame = Vec::with_capacity(object.len() + 128);
    let usual = representation.api_version(request.resource);
    let api_version = request.api_version.as_deref().unwrap_or(usual);
    encode_watch_event(kind, api_version, representation.kind(request.resource), object, &mut frame);
    frame.into()
}

/// The ERROR event of a watch from a revision that is no longer in the log.
pub(crate) fn expired_event(request: &WatchRequest, asked: u64, oldest: u64) -> Bytes {
    if request.representation == Representation::Table {
        return table::error(&status_json(&expired_status(asked, oldest))).into();
    }
    let mut message = Vec::new();
    expired_status(asked, oldest).encode(&mut message);
    let mut frame = Vec::new();
    encode_watch_event(WatchEventKind::Error, "v1", "Status", &message, &mut frame);
    frame.into()
}

/// 410 `Expired`.
pub(crate) fn expired_status(asked: u64, oldest: u64) -> Box<Status> {
    api_server::status(410, "Expired", &format!("too old resource version: {asked} ({oldest})"))
}

/// A refusal in protobuf, with its envelope.
pub(crate) fn status(status: &Status) -> Bytes {
    let mut message = Vec::new();
    status.encode(&mut message);
    let mut body = Vec::new();
    encode_envelope("v1", "Status", &message, &mut body);
    body.into()
}

/// A refusal in JSON.
pub(crate) fn status_json(status: &Status) -> Bytes {
    let json = serde_json::json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": status.status,
        "message": status.message,
        "reason": status.reason,
        "code": status.code,
    });
    json.to_string().into()
}

/// The message reduced to its metadata, which is field 1 of every object.
fn metadata_only(object: &[u8]) -> Bytes {
    let mut reader = Reader::new(object);
    let mut reduced = Vec::new();
    while let Ok(Some((number, field))) = reader.next_field() {
        if let (1, Field::Bytes(metadata)) = (number, field) {
            Writer::new(&mut reduced).bytes(1, metadata);
        }
    }
    reduced.into()
}

//! Responses of the API server, down to the tables of the mirror.

use outrigger_mirror::{Change, Mirror};
use outrigger_wire::kubernetes::{
    ListDecoder, ListLimits, ResourceKind, Status, WatchEventKind, WatchFrames, decode_envelope,
    decode_watch_event, object_meta,
};

const FRAME_LIMIT: usize = 1 << 20;

/// A list that comes in two pieces holds the items that it holds in one.
pub(crate) fn list(data: &[u8]) {
    let Some((choice, response)) = crate::split_choice(data) else { return };
    let resource = resource(choice);
    let whole = items(&[response]);
    let (head, tail) = crate::cut(choice.reverse_bits(), response);
    assert_eq!(whole, items(&[head, tail]));
    let mut mirror = Mirror::new();
    mirror.begin_generation(resource);
    for item in &whole.0 {
        let _ = object_meta(item);
        let _ = mirror.apply(resource, Change::Upsert, item);
    }
    mirror.commit_generation(resource);
    examine(&mirror, resource);
}

type Items = (Vec<Vec<u8>>, Result<String, String>);

fn items(pieces: &[&[u8]]) -> Items {
    let mut decoder = ListDecoder::new(ListLimits { item_bytes: FRAME_LIMIT, items: 100_000 });
    let mut items = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_item() {
                Ok(Some(item)) => items.push(item.to_vec()),
                Ok(None) => break,
                Err(error) => return (items, Err(error.to_string())),
            }
        }
    }
    let end = decoder.finish().map(|end| format!("{end:?}")).map_err(|error| error.to_string());
    (items, end)
}

/// A stream that comes in two pieces has the frames that it has in one; what they say is applied.
pub(crate) fn watch(data: &[u8]) {
    let Some((choice, stream)) = crate::split_choice(data) else { return };
    let resource = resource(choice);
    let whole = frames(&[stream]);
    let (head, tail) = crate::cut(choice.reverse_bits(), stream);
    assert_eq!(whole, frames(&[head, tail]));
    let mut mirror = Mirror::new();
    for frame in &whole.0 {
        let Ok(event) = decode_watch_event(frame) else { continue };
        let change = match event.kind {
            WatchEventKind::Deleted => Change::Delete,
            _ => Change::Upsert,
        };
        let _ = object_meta(event.object.raw);
        let _ = Status::decode(event.object.raw);
        let _ = mirror.apply(resource, change, event.object.raw);
    }
    let _ = decode_envelope(stream);
    examine(&mirror, resource);
}

fn frames(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Option<String>) {
    let mut watch = WatchFrames::new(FRAME_LIMIT);
    let mut frames = Vec::new();
    for piece in pieces {
        watch.push(piece);
        loop {
            match watch.next_frame() {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
    }
    (frames, None)
}

fn resource(choice: u8) -> ResourceKind {
    ResourceKind::MIRRORED[usize::from(choice) % ResourceKind::MIRRORED.len()]
}

/// Walks what the tables hold.
fn examine(mirror: &Mirror, resource: ResourceKind) {
    let changes = mirror.changes_since(resource, 0);
    let _ = (changes.changed.len(), mirror.memory());
    for (_, pod) in mirror.pods().iter() {
        let _ = (pod.ready(), pod.controller().is_some(), pod.labels().count());
        for container in pod.containers() {
            let _ = (container.name, container.ports().count());
        }
    }
    for (_, slice) in mirror.endpoint_slices().iter() {
        for endpoint in slice.endpoints() {
            let _ = endpoint.addresses().count();
        }
        let _ = slice.ports().count();
    }
    for (_, endpoints) in mirror.endpoints().iter() {
        for subset in endpoints.subsets() {
            let _ = (subset.addresses().count(), subset.ports().count());
        }
    }
    for (_, ingress) in mirror.ingresses().iter() {
        for rule in ingress.rules() {
            let _ = rule.paths().count();
        }
    }
    for (_, service) in mirror.services().iter() {
        let _ = service.ports().count();
    }
    for (_, node) in mirror.nodes().iter() {
        let _ = node.addresses().count();
    }
}

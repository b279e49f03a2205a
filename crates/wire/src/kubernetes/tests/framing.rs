use k8s_pb::api::core::v1::{Pod, PodList};
use k8s_pb::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_pb::apimachinery::pkg::runtime::{RawExtension, TypeMeta, Unknown};
use proptest::prelude::*;
use prost::Message;

use crate::kubernetes::object::{
    Condition, Container, ContainerPort, Object, ObjectMeta, OwnerReference, Pod as PlainPod,
};
use crate::kubernetes::{
    EnvelopeError, INITIAL_EVENTS_END, ListDecoder, ListEnd, ListError, ListLimits, ListMeta, Status,
    StatusCause, WatchError, WatchEventKind, WatchFrames, decode_envelope, decode_watch_event, encode_frame,
    encode_list, encode_watch_event, object_meta,
};
use crate::protobuf::{ProtobufError, Writer};

fn pod(name: &str) -> Vec<u8> {
    let metadata = meta::ObjectMeta { name: Some(name.to_owned()), ..meta::ObjectMeta::default() };
    Pod { metadata: Some(metadata), ..Pod::default() }.encode_to_vec()
}

/// Feeds `bytes` in pieces of the given sizes, over and over; gives the items and the end.
fn decode_list(
    bytes: &[u8],
    pieces: &[usize],
    limits: ListLimits,
) -> (Vec<Vec<u8>>, Result<ListEnd, ListError>) {
    let mut decoder = ListDecoder::new(limits);
    let mut items = Vec::new();
    let mut rest = bytes;
    for piece in pieces.iter().copied().cycle() {
        loop {
            match decoder.next_item() {
                Ok(Some(item)) => items.push(item.to_vec()),
                Ok(None) => break,
                Err(error) => return (items, Err(error)),
            }
        }
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at(piece.clamp(1, rest.len()));
        decoder.push(now);
        rest = later;
    }
    (items, decoder.finish())
}

/// A list response as prost writes it.
fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let list = PodList {
        metadata: Some(meta::ListMeta {
            resource_version: Some("7".to_owned()),
            r#continue: Some("next".to_owned()),
            remaining_item_count: Some(3),
            ..meta::ListMeta::default()
        }),
        items: items.iter().map(|item| Pod::decode(item.as_slice()).unwrap()).collect(),
    };
    unknown("v1", "PodList", list.encode_to_vec())
}

fn unknown(api_version: &str, kind: &str, raw: Vec<u8>) -> Vec<u8> {
    let unknown = Unknown {
        type_meta: Some(TypeMeta { api_version: Some(api_version.to_owned()), kind: Some(kind.to_owned()) }),
        raw: Some(raw),
        content_encoding: Some(String::new()),
        content_type: Some(String::new()),
    };
    [b"k8s\0".to_vec(), unknown.encode_to_vec()].concat()
}

fn expected_end(items: u64) -> ListEnd {
    ListEnd {
        api_version: "v1".to_owned(),
        kind: "PodList".to_owned(),
        meta: ListMeta {
            resource_version: "7".to_owned(),
            continue_token: "next".to_owned(),
            remaining: Some(3),
        },
        items,
    }
}

proptest! {
    #[test]
    fn a_list_gives_its_items_however_it_is_cut(
        names in prop::collection::vec("[a-z]{1,300}", 0..8), pieces in prop::collection::vec(1usize..200, 1..6),
    ) {
        let items: Vec<Vec<u8>> = names.iter().map(|name| pod(name)).collect();
        let (found, end) = decode_list(&list(&items), &pieces, ListLimits::default());
        prop_assert_eq!(end, Ok(expected_end(items.len() as u64)));
        prop_assert_eq!(found, items);
    }

    #[test]
    fn a_list_that_ends_early_is_never_whole(cut in any::<prop::sample::Index>(), piece in 1usize..50) {
        let items = vec![pod("a"), pod("b")];
        let whole = list(&items);
        // The four bytes at the end are two empty fields of the envelope, after the list itself.
        let cut = cut.index(whole.len() - 4);
        let (found, end) = decode_list(&whole[..cut], &[piece], ListLimits::default());
        prop_assert!(matches!(end, Err(ListError::Truncated { items }) if items == found.len() as u64), "{end:?}");
        prop_assert_eq!(&found[..], &items[..found.len()]);
    }

    #[test]
    fn damaged_lists_do_not_panic(bit in any::<prop::sample::Index>(), piece in 1usize..50) {
        let mut bytes = list(&[pod("a"), pod("b")]);
        let at = bit.index(8 * bytes.len());
        bytes[at / 8] ^= 1 << (at % 8);
        let (found, _) = decode_list(&bytes, &[piece], ListLimits::default());
        prop_assert!(found.len() <= bytes.len());
    }

    #[test]
    fn garbage_is_no_list(bytes in prop::collection::vec(any::<u8>(), 0..300), magic: bool) {
        let bytes = if magic { [b"k8s\0".to_vec(), bytes].concat() } else { bytes };
        let _ = decode_list(&bytes, &[7], ListLimits::default());
        let _ = decode_envelope(&bytes);
        let _ = decode_watch_event(&bytes);
        let _ = Status::decode(&bytes);
    }

    #[test]
    fn frames_come_out_however_the_stream_is_cut(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
        pieces in prop::collection::vec(1usize..400, 1..6),
    ) {
        let mut stream = Vec::new();
        frames.iter().for_each(|frame| encode_frame(frame, &mut stream));
        let mut splitter = WatchFrames::default();
        let mut found = Vec::new();
        let mut rest = &stream[..];
        for piece in pieces.iter().copied().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at(piece.clamp(1, rest.len()));
            splitter.push(now);
            rest = later;
            while let Some(frame) = splitter.next_frame().unwrap() {
                found.push(frame.to_vec());
            }
        }
        prop_assert_eq!(found, frames);
        prop_assert_eq!(splitter.pending(), 0);
    }
}

#[test]
fn fields_of_a_list_may_come_in_any_order() {
    let items = vec![pod("a"), pod("b")];
    let mut raw = Vec::new();
    let mut writer = Writer::new(&mut raw);
    writer.bytes(2, &items[0]);
    writer.string(9, "a field of tomorrow");
    writer.fixed64(10, 1);
    writer.bytes(2, &items[1]);
    writer.message(1, |meta| {
        meta.string(2, "7");
        meta.string(3, "next");
        meta.int(4, 3);
    });
    writer.fixed32(11, 1);
    writer.varint(12, u64::MAX);
    let mut bytes = b"k8s\0".to_vec();
    let mut writer = Writer::new(&mut bytes);
    writer.string(4, "application/vnd.kubernetes.protobuf");
    writer.bytes(2, &raw);
    writer.string(3, "");
    writer.message(1, |type_meta| {
        type_meta.string(2, "PodList");
        type_meta.string(1, "v1");
    });
    writer.varint(15, 1);
    for piece in [1, 2, 3, 1000] {
        let (found, end) = decode_list(&bytes, &[piece], ListLimits::default());
        assert_eq!(found, items);
        assert_eq!(end, Ok(expected_end(2)));
    }
}

#[test]
fn a_list_holds_one_item_at_a_time() {
    let items: Vec<Vec<u8>> = (0..1000).map(|i| pod(&format!("{i:0>500}"))).collect();
    let bytes = list(&items);
    let mut decoder = ListDecoder::new(ListLimits::default());
    let mut count = 0;
    for piece in bytes.chunks(100) {
        decoder.push(piece);
        while decoder.next_item().unwrap().is_some() {
            count += 1;
        }
        assert!(decoder.buffered() < 1_200, "{}", decoder.buffered());
    }
    assert_eq!(count, 1000);
}

#[test]
fn lists_beyond_the_limits_are_refused() {
    let items = vec![pod("a"), pod(&"b".repeat(200))];
    let small = ListLimits { item_bytes: 100, items: 10 };
    let (found, end) = decode_list(&list(&items), &[16], small);
    assert_eq!(found, items[..1]);
    assert!(matches!(end, Err(ListError::TooLarge { what: "item", bytes: 206, limit: 100 })), "{end:?}");

    let few = ListLimits { item_bytes: 1000, items: 1 };
    let (found, end) = decode_list(&list(&items), &[16], few);
    assert_eq!(found, items[..1]);
    assert_eq!(end, Err(ListError::TooManyItems(1)));
}

#[test]
fn an_empty_list_is_a_list() {
    let mut bytes = Vec::new();
    encode_list("v1", "PodList", &ListMeta::default(), [], &mut bytes);
    let (found, end) = decode_list(&bytes, &[5], ListLimits::default());
    assert!(found.is_empty());
    assert_eq!(end.unwrap().kind, "PodList");
}

#[test]
fn other_answers_are_no_list() {
    let cases = [
        (b"{\"kind\":\"PodList\"}".to_vec(), ListError::Envelope(EnvelopeError::NotProtobuf)),
        (unknown("v1", "Status", Vec::new()), ListError::NotAList("Status".to_owned())),
        (b"k8s\0".to_vec(), ListError::Truncated { items: 0 }),
        (b"k8s\0\x12\x00".to_vec(), ListError::NotAList(String::new())),
        // A list of one byte, in which an item of five bytes starts.
        (
            [b"k8s\0".to_vec(), vec![0x12, 0x02, 0x12, 0x05]].concat(),
            ListError::Malformed(ProtobufError::Truncated),
        ),
        (
            [b"k8s\0".to_vec(), vec![0x1a, 0x04], b"gzip".to_vec()].concat(),
            ListError::Envelope(EnvelopeError::ContentEncoding("gzip".to_owned())),
        ),
    ];
    for (bytes, expected) in cases {
        let (items, end) = decode_list(&bytes, &[1], ListLimits::default());
        assert!(items.is_empty());
        assert_eq!(end, Err(expected));
    }
}

#[test]
fn a_watch_event_is_read_as_the_go_server_writes_it() {
    let object = unknown("v1", "Pod", pod("web-0"));
    let event = meta::WatchEvent {
        r#type: Some("MODIFIED".to_owned()),
        object: Some(RawExtension { raw: Some(object) }),
    };
    let frame = event.encode_to_vec();
    let decoded = decode_watch_event(&frame).unwrap();
    assert_eq!(decoded.kind, WatchEventKind::Modified);
    assert_eq!((decoded.object.api_version, decoded.object.kind), ("v1", "Pod"));
    assert_eq!(object_meta(decoded.object.raw).unwrap().name, "web-0");

    let mut ours = Vec::new();
    encode_watch_event(WatchEventKind::Modified, "v1", "Pod", &pod("web-0"), &mut ours);
    assert_eq!(decode_watch_event(&ours[4..]), Ok(decoded));
    assert_eq!(meta::WatchEvent::decode(&ours[4..]).unwrap().r#type, event.r#type);
}

#[test]
fn a_bookmark_says_when_the_initial_events_end() {
    let mut meta = ObjectMeta { resource_version: "12".to_owned(), ..ObjectMeta::default() };
    meta.annotations.insert(INITIAL_EVENTS_END.to_owned(), "true".to_owned());
    let bookmark = PlainPod { meta, ..PlainPod::default() };
    let message = bookmark.to_message();
    let view = object_meta(&message).unwrap();
    assert_eq!(view.resource_version, "12");
    assert_eq!(view.annotation(INITIAL_EVENTS_END), Some("true"));
    assert_eq!(view.annotation("other"), None);
    assert_eq!(view.label(INITIAL_EVENTS_END), None);
}

#[test]
fn broken_watch_streams_are_told_apart() {
    let mut frames = WatchFrames::new(1000);
    frames.push(b"{\"type\":\"ADDED\"}");
    assert_eq!(frames.next_frame(), Err(WatchError::FrameTooLarge { bytes: 0x7b22_7479, limit: 1000 }));

    let mut frames = WatchFrames::new(1000);
    frames.push(&[0, 0, 0, 9, 1]);
    assert_eq!(frames.next_frame(), Ok(None));
    assert_eq!(frames.pending(), 5);

    let event = |kind: &str, object: Option<Vec<u8>>| {
        let object = object.map(|raw| RawExtension { raw: Some(raw) });
        meta::WatchEvent { r#type: Some(kind.to_owned()), object }.encode_to_vec()
    };
    let cases = [
        (event("ADDED", None), WatchError::NoObject),
        (event("EXPLODED", Some(Vec::new())), WatchError::UnknownType("EXPLODED".to_owned())),
        (event("ADDED", Some(b"{}".to_vec())), WatchError::Object(EnvelopeError::NotProtobuf)),
        (vec![0x0a, 0x70], WatchError::Malformed(ProtobufError::Truncated)),
    ];
    for (frame, expected) in cases {
        assert_eq!(decode_watch_event(&frame), Err(expected));
    }
}

#[test]
fn a_status_survives_the_round_trip_and_agrees_with_a_full_decoder() {
    let status = Status {
        status: "Failure".to_owned(),
        message: "too many requests".to_owned(),
        reason: "TooManyRequests".to_owned(),
        code: 429,
        name: "web-0".to_owned(),
        group: String::new(),
        kind: "pods".to_owned(),
        causes: vec![StatusCause { reason: "R".to_owned(), message: "M".to_owned(), field: "f".to_owned() }],
        retry_after_seconds: Some(7),
    };
    let mut message = Vec::new();
    status.encode(&mut message);
    assert_eq!(Status::decode(&message), Ok(status.clone()));

    let full = meta::Status::decode(message.as_slice()).unwrap();
    assert_eq!((full.code, full.reason), (Some(429), Some(status.reason)));
    let details = full.details.unwrap();
    assert_eq!((details.kind, details.retry_after_seconds), (Some(status.kind), Some(7)));
    assert_eq!(details.causes[0].field.as_deref(), Some("f"));
}

#[test]
fn plain_objects_are_what_a_full_decoder_reads() {
    let pod = PlainPod {
        meta: ObjectMeta {
            uid: "u".to_owned(),
            labels: [("app".to_owned(), "web".to_owned())].into(),
            creation_timestamp: Some(5),
            deletion_timestamp: Some(6),
            owner_references: vec![OwnerReference {
                kind: "ReplicaSet".to_owned(),
                controller: Some(true),
                ..OwnerReference::default()
            }],
            managed_fields: vec![("kubelet".to_owned(), b"{}".to_vec())],
            ..ObjectMeta::named("default", "web-0")
        },
        containers: vec![Container {
            name: "web".to_owned(),
            image: "web:1".to_owned(),
            ports: vec![ContainerPort { name: "http".to_owned(), number: 8080, protocol: "TCP".to_owned() }],
            container_id: "containerd://1".to_owned(),
            ready: true,
            restart_count: 2,
        }],
        node_name: "node-1".to_owned(),
        phase: "Running".to_owned(),
        conditions: vec![Condition {
            kind: "Ready".to_owned(),
            status: "True".to_owned(),
            last_heartbeat: Some(1),
            ..Condition::default()
        }],
        pod_ip: "10.0.0.1".to_owned(),
        ..PlainPod::default()
    };
    let full = Pod::decode(pod.to_message().as_slice()).unwrap();
    let metadata = full.metadata.unwrap();
    assert_eq!(metadata.namespace.as_deref(), Some("default"));
    assert_eq!(metadata.deletion_timestamp.unwrap().seconds, Some(6));
    assert_eq!(metadata.owner_references[0].controller, Some(true));
    assert_eq!(metadata.managed_fields[0].fields_v1.as_ref().unwrap().raw.as_deref(), Some(&b"{}"[..]));
    let spec = full.spec.unwrap();
    assert_eq!(spec.node_name.as_deref(), Some("node-1"));
    assert_eq!(spec.containers[0].ports[0].container_port, Some(8080));
    let status = full.status.unwrap();
    assert_eq!(status.conditions[0].last_probe_time.unwrap().seconds, Some(1));
    assert_eq!(status.container_statuses[0].container_id.as_deref(), Some("containerd://1"));
    assert_eq!(status.pod_ips[0].ip.as_deref(), Some("10.0.0.1"));
}

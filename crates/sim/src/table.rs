//! Secrets as `meta.k8s.io/v1` Tables in JSON, as a server shows them to kubectl: cells and metadata, no data.

use std::sync::Arc;

use outrigger_wire::kubernetes::{ListMeta, WatchEventKind};
use outrigger_wire::protobuf::{Field, Reader};
use serde_json::{Map, Value, json};

use crate::store::{StoredObject, contents, text_at};

/// The row of one Secret.
pub(crate) fn row(object: &StoredObject) -> Vec<u8> {
    let raw = object.raw();
    let metadata = contents(&raw, 1).next().map(metadata).unwrap_or_default();
    let cells = json!([object.key.name, text_at(&raw, &[3]), contents(&raw, 2).count(), "5d"]);
    let shown =
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
    json!({"cells": cells, "object": shown}).to_string().into_bytes()
}

/// A list.
pub(crate) fn whole(meta: &ListMeta, objects: &[Arc<StoredObject>]) -> Vec<u8> {
    let mut text = json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": meta.resource_version, "continue": meta.continue_token},
        "columnDefinitions": columns(),
    })
    .to_string()
    .into_bytes();
    text.pop();
    text.extend_from_slice(b",\"rows\":[");
    for (position, object) in objects.iter().enumerate() {
        if position > 0 {
            text.push(b',');
        }
        text.extend(row(object));
    }
    text.extend_from_slice(b"]}\n");
    text
}

fn columns() -> Value {
    let column = |(name, kind): (&str, &str)| json!({"name": name, "type": kind, "format": "", "description": "", "priority": 0});
    [("Name", "string"), ("Type", "string"), ("Data", "string"), ("Age", "string")]
        .map(column)
        .to_vec()
        .into()
}

/// The line of a change.
pub(crate) fn event(kind: WatchEventKind, row: &[u8]) -> Vec<u8> {
    let mut line = format!(
        "{{\"type\":\"{}\",\"object\":{{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{{}},\
         \"columnDefinitions\":null,\"rows\":[",
        kind.as_str()
    )
    .into_bytes();
    line.extend_from_slice(row);
    line.extend_from_slice(b"]}}\n");
    line
}

/// The line of a bookmark.
pub(crate) fn bookmark(revision: u64) -> Vec<u8> {
    let object = json!({"metadata": {"resourceVersion": revision.to_string(), "creationTimestamp": null}});
    event(
        WatchEventKind::Bookmark,
        json!({"cells": ["", "", 0, "<unknown>"], "object": object}).to_string().as_bytes(),
    )
}

/// The line of an error; `status` in JSON.
pub(crate) fn error(status: &[u8]) -> Vec<u8> {
    let mut line = b"{\"type\":\"ERROR\",\"object\":".to_vec();
    line.extend_from_slice(status);
    line.extend_from_slice(b"}\n");
    line
}

/// `ObjectMeta` in JSON.
fn metadata(meta: &[u8]) -> Map<String, Value> {
    let mut json = Map::new();
    for (field, name) in [(1, "name"), (3, "namespace"), (5, "uid"), (6, "resourceVersion")] {
        json.insert(name.to_owned(), text_at(meta, &[field]).into());
    }
    for (field, name) in [(8, "creationTimestamp"), (9, "deletionTimestamp")] {
        if let Some(time) = contents(meta, field).next() {
            json.insert(name.to_owned(), rfc3339(number(time, 1)).into());
        }
    }
    for (field, name) in [(11, "labels"), (12, "annotations")] {
        let pair = |entry| (text_at(entry, &[1]), Value::from(text_at(entry, &[2])));
        let pairs: Map<String, Value> = contents(meta, field).map(pair).collect();
        if !pairs.is_empty() {
            json.insert(name.to_owned(), pairs.into());
        }
    }
    let owner = |owner| {
        json!({
            "kind": text_at(owner, &[1]), "name": text_at(owner, &[3]), "uid": text_at(owner, &[4]),
            "apiVersion": text_at(owner, &[5]), "controller": number(owner, 6) == 1,
        })
    };
    let owners: Vec<Value> = contents(meta, 13).map(owner).collect();
    if !owners.is_empty() {
        json.insert("ownerReferences".to_owned(), owners.into());
    }
    json
}

/// A number's field; zero where there is none.
fn number(message: &[u8], field: u32) -> i64 {
    let mut reader = Reader::new(message);
    while let Ok(Some((number, content))) = reader.next_field() {
        if let (true, Field::Varint(value)) = (number == field, content) {
            return value.cast_signed();
        }
    }
    0
}

/// Seconds since the epoch as a date and time (days by Howard Hinnant's `civil_from_days`).
fn rfc3339(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_kubernetes_writes_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_323_045, "2026-01-02T03:04:05Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}

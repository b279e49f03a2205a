//! Secrets as the API server's tables show them: name, type and metadata, and none of their data.
//!
//! State metrics need the type, which `PartialObjectMetadata` lacks. The server can show a resource as a Table
//! (`kubectl get` asks for that); each row has the cells that kubectl prints and the object's metadata, so the data
//! never leaves the server. A row becomes the protobuf message of a Secret with these fields and no other.

use std::borrow::Cow;
use std::collections::BTreeMap;

use outrigger_wire::protobuf::Writer;
use serde::Deserialize;

use crate::ObjectError;

/// What is asked for instead of objects.
/// Every kube-apiserver since 1.10 has tables; what stands in for one may have none.
pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;q=0.5";

/// Place of the type among the cells: after the name, in every version of Kubernetes since 1.11.
const TYPE_CELL: usize = 1;

#[derive(Deserialize)]
#[serde(untagged)]
enum Shown<'a> {
    Row {
        cells: Vec<serde_json::Value>,
        #[serde(borrow)]
        object: Partial<'a>,
    },
    /// The Secret itself, of a server without tables. Its data is passed over.
    Whole {
        #[serde(borrow)]
        metadata: Metadata<'a>,
        #[serde(default, rename = "type")]
        kind: Cow<'a, str>,
    },
}

#[derive(Deserialize)]
struct Partial<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow)]
    resource_version: Cow<'a, str>,
    #[serde(borrow)]
    creation_timestamp: Option<Cow<'a, str>>,
    #[serde(borrow)]
    deletion_timestamp: Option<Cow<'a, str>>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    #[serde(borrow)]
    owner_references: Option<Vec<Owner<'a>>>,
    finalizers: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Owner<'a> {
    #[serde(borrow)]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    uid: Cow<'a, str>,
    controller: Option<bool>,
    block_owner_deletion: Option<bool>,
}

/// The protobuf message of the Secret that a row shows, or of the Secret itself without its data: `metadata = 1`,
/// `type = 3`.
///
/// # Errors
/// When the row is none of a table of Secrets.
pub(crate) fn secret_of(row: &[u8]) -> Result<Vec<u8>, ObjectError> {
    let shown: Shown<'_> = serde_json::from_slice(row)
        // The error's text may show what is in the row.
        .map_err(|_| ObjectError("a row of the table of Secrets cannot be read".to_owned()))?;
    let (metadata, kind) = match &shown {
        Shown::Row { cells, object } => {
            let kind = cells.get(TYPE_CELL).and_then(serde_json::Value::as_str);
            let kind =
                kind.ok_or_else(|| ObjectError("a row of the table of Secrets has no type".to_owned()))?;
            (&object.metadata, kind)
        }
        Shown::Whole { metadata, kind } => (metadata, &**kind),
    };
    let mut message = Vec::new();
    let mut writer = Writer::new(&mut message);
    writer.message(1, |meta| metadata.write(meta));
    writer.string(3, kind);
    Ok(message)
}

impl Metadata<'_> {
    fn write(&self, meta: &mut Writer<'_>) {
        meta.string(1, &self.name);
        meta.string(3, &self.namespace);
        meta.string(5, &self.uid);
        meta.string(6, &self.resource_version);
        for (field, text) in [(8, &self.creation_timestamp), (9, &self.deletion_timestamp)] {
            let time = text.as_ref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
            if let Some(time) = time {
                meta.message(field, |message| {
                    message.int(1, time.as_second());
                    message.int(2, 0);
                });
            }
        }
        for (field, pairs) in [(11, &self.labels), (12, &self.annotations)] {
            for (key, value) in pairs.iter().flatten() {
                meta.message(field, |entry| {
                    entry.string(1, key);
                    entry.string(2, value);
                });
            }
        }
        for owner in self.owner_references.iter().flatten() {
            meta.message(13, |reference| {
                reference.string(1, &owner.kind);
                reference.string(3, &owner.name);
                reference.string(4, &owner.uid);
                reference.string(5, &owner.api_version);
                if let Some(controller) = owner.controller {
                    reference.boolean(6, controller);
                }
                if let Some(blocks) = owner.block_owner_deletion {
                    reference.boolean(7, blocks);
                }
            });
        }
        self.finalizers.iter().flatten().for_each(|finalizer| meta.string(14, finalizer));
    }
}

#[cfg(test)]
mod tests {
    use outrigger_wire::kubernetes::object_meta;
    use outrigger_wire::protobuf::{Field, Reader};

    use super::*;

    #[test]
    fn a_row_becomes_a_secret_without_data() {
        let row = br#"{"cells":["token","kubernetes.io/tls",2,"5d"],"object":{"kind":"PartialObjectMetadata",
            "apiVersion":"meta.k8s.io/v1","metadata":{"name":"token","namespace":"web","uid":"u-1","resourceVersion":"7",
            "creationTimestamp":"2026-01-02T03:04:05Z","labels":{"app":"a\"b"},"annotations":null,"managedFields":[],
            "ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"n","uid":"u-2","controller":true}]}}}"#;
        let message = secret_of(row).unwrap();
        let meta = object_meta(&message).unwrap();
        assert_eq!(
            (meta.namespace, meta.name, meta.uid, meta.resource_version),
            ("web", "token", "u-1", "7")
        );
        assert_eq!(meta.label("app"), Some("a\"b"));
        let mut reader = Reader::new(&message);
        let mut fields = Vec::new();
        while let Some((number, field)) = reader.next_field().unwrap() {
            fields.push(number);
            if number == 3 {
                assert_eq!(field, Field::Bytes(b"kubernetes.io/tls"));
            }
        }
        assert_eq!(fields, [1, 3]);
        let mut created = Vec::new();
        Writer::new(&mut created).message(8, |time| {
            time.int(1, 1_767_323_045);
            time.int(2, 0);
        });
        assert!(message.windows(created.len()).any(|window| window == created));
    }

    #[test]
    fn a_secret_of_a_server_without_tables_loses_its_data() {
        let object = br#"{"kind":"Secret","metadata":{"name":"a","namespace":"b"},"data":{"p":"aGlkZGVu"},"type":"Opaque"}"#;
        let message = secret_of(object).unwrap();
        let text = String::from_utf8_lossy(&message);
        assert!(text.contains("Opaque") && !text.contains("aGlkZGVu") && !text.contains("hidden"));
        assert_eq!(object_meta(&message).unwrap().name, "a");
    }

    #[test]
    fn what_is_no_row_of_secrets_is_refused_without_showing_it() {
        for row in
            [&b"{\"cells\":[\"hidden\",5],\"object\":{\"metadata\":{}}}"[..], b"{\"hidden\":1}", b"hidden"]
        {
            assert!(!secret_of(row).unwrap_err().to_string().contains("hidden"));
        }
    }
}

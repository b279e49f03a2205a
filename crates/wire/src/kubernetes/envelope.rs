use thiserror::Error;

use crate::protobuf::{ProtobufError, Reader, Writer};

/// The four bytes every protobuf body of Kubernetes starts with.
pub(crate) const MAGIC: &[u8; 4] = b"k8s\0";

/// What is wrong with an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    /// The first four bytes are not `k8s\0`: this is another encoding, often JSON.
    #[error("body does not start with the Kubernetes protobuf magic")]
    NotProtobuf,
    /// The bytes after the magic are no `runtime.Unknown`.
    #[error("cannot read runtime.Unknown")]
    Malformed(#[from] ProtobufError),
    /// The content is compressed or encoded in some other way.
    #[error("content encoding {0:?} is not supported")]
    ContentEncoding(String),
}

/// `runtime.Unknown`: what an encoded object is, and its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Envelope<'a> {
    /// For example `v1` or `meta.k8s.io/v1`.
    pub api_version: &'a str,
    /// For example `Pod`, `PodList`, `Status`.
    pub kind: &'a str,
    /// The object's message.
    pub raw: &'a [u8],
    /// Empty or `application/vnd.kubernetes.protobuf`, as the server wrote it.
    pub content_type: &'a str,
}

/// Reads `k8s\0` and the `runtime.Unknown { typeMeta = 1, raw = 2, contentEncoding = 3, contentType = 4 }` after it.
///
/// # Errors
/// When the magic is missing, the message is malformed or its content is encoded.
pub fn decode_envelope(bytes: &[u8]) -> Result<Envelope<'_>, EnvelopeError> {
    let message = bytes.strip_prefix(MAGIC).ok_or(EnvelopeError::NotProtobuf)?;
    let mut envelope = Envelope::default();
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => (envelope.api_version, envelope.kind) = decode_type_meta(field.bytes(1)?)?,
            2 => envelope.raw = field.bytes(2)?,
            3 => check_content_encoding(field.text(3)?)?,
            4 => envelope.content_type = field.text(4)?,
            _ => {}
        }
    }
    Ok(envelope)
}

/// `runtime.TypeMeta { apiVersion = 1, kind = 2 }` as (apiVersion, kind).
pub(super) fn decode_type_meta(message: &[u8]) -> Result<(&str, &str), ProtobufError> {
    let (mut api_version, mut kind) = ("", "");
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => api_version = field.text(1)?,
            2 => kind = field.text(2)?,
            _ => {}
        }
    }
    Ok((api_version, kind))
}

pub(super) fn check_content_encoding(encoding: &str) -> Result<(), EnvelopeError> {
    if encoding.is_empty() { Ok(()) } else { Err(EnvelopeError::ContentEncoding(encoding.to_owned())) }
}

/// Appends the envelope of a message, as the API server writes it.
pub fn encode_envelope(api_version: &str, kind: &str, raw: &[u8], into: &mut Vec<u8>) {
    into.extend_from_slice(MAGIC);
    let mut writer = Writer::new(into);
    writer.message(1, |type_meta| {
        type_meta.string(1, api_version);
        type_meta.string(2, kind);
    });
    writer.bytes(2, raw);
    writer.string(3, "");
    writer.string(4, "");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_survives_the_round_trip() {
        let mut bytes = Vec::new();
        encode_envelope("v1", "Pod", b"\x0a\x00", &mut bytes);
        let envelope = decode_envelope(&bytes).unwrap();
        assert_eq!(envelope, Envelope { api_version: "v1", kind: "Pod", raw: b"\x0a\x00", content_type: "" });
    }

    #[test]
    fn other_bodies_are_refused_by_name() {
        assert_eq!(decode_envelope(b"{\"kind\":\"Pod\"}"), Err(EnvelopeError::NotProtobuf));
        assert_eq!(decode_envelope(b"k8s"), Err(EnvelopeError::NotProtobuf));
        assert_eq!(
            decode_envelope(b"k8s\0\x0a\x09"),
            Err(EnvelopeError::Malformed(ProtobufError::Truncated))
        );
        assert_eq!(
            decode_envelope(b"k8s\0\x1a\x04gzip"),
            Err(EnvelopeError::ContentEncoding("gzip".to_owned()))
        );
    }
}

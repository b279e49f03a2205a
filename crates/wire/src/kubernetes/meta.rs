use crate::protobuf::{ProtobufError, Reader};

/// The identity of an object, borrowed from its message. Absent strings are `""`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ObjectMetaView<'a> {
    /// `metadata.name`.
    pub name: &'a str,
    /// `metadata.namespace`.
    pub namespace: &'a str,
    /// `metadata.uid`.
    pub uid: &'a str,
    /// `metadata.resourceVersion`.
    pub resource_version: &'a str,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    message: &'a [u8],
}

impl<'a> ObjectMetaView<'a> {
    /// The value of an annotation, found by a scan of the message.
    pub fn annotation(&self, key: &str) -> Option<&'a str> {
        self.map_entry(12, key)
    }

    /// The value of a label, found by a scan of the message.
    pub fn label(&self, key: &str) -> Option<&'a str> {
        self.map_entry(11, key)
    }

    fn map_entry(&self, map: u32, key: &str) -> Option<&'a str> {
        let mut reader = Reader::new(self.message);
        while let Ok(Some((number, field))) = reader.next_field() {
            if number != map {
                continue;
            }
            let (candidate, value) = map_entry(field.bytes(number).ok()?).ok()?;
            if candidate == key.as_bytes() {
                return std::str::from_utf8(value).ok();
            }
        }
        None
    }
}

/// Key and value of one entry of a `map<string, string>`.
#[inline]
pub(super) fn map_entry(entry: &[u8]) -> Result<(&[u8], &[u8]), ProtobufError> {
    let (mut key, mut value): (&[u8], &[u8]) = (b"", b"");
    let mut reader = Reader::new(entry);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => key = field.bytes(1)?,
            2 => value = field.bytes(2)?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// Finds the metadata of an object: field 1 of every kind, `PartialObjectMetadata` included.
///
/// # Errors
/// When the message is malformed up to and within its metadata. What follows is not read.
pub fn object_meta(object: &[u8]) -> Result<ObjectMetaView<'_>, ProtobufError> {
    let mut reader = Reader::new(object);
    while let Some((number, field)) = reader.next_field()? {
        if number == 1 {
            return decode_meta(field.bytes(1)?);
        }
    }
    Ok(ObjectMetaView::default())
}

fn decode_meta(message: &[u8]) -> Result<ObjectMetaView<'_>, ProtobufError> {
    let mut meta = ObjectMetaView { message, ..ObjectMetaView::default() };
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => meta.name = field.text(1)?,
            3 => meta.namespace = field.text(3)?,
            5 => meta.uid = field.text(5)?,
            6 => meta.resource_version = field.text(6)?,
            9 => meta.deleting = true,
            _ => {}
        }
    }
    Ok(meta)
}

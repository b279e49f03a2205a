//! Protocol buffers on the wire: a field reader that borrows and a writer into `Vec<u8>`.
//!
//! Only what hand-written codecs need: no schema, no reflection, no groups (proto2's deprecated wire types 3
//! and 4, which none of our peers send). See <https://protobuf.dev/programming-guides/encoding/>.

use thiserror::Error;

/// What is wrong with bytes that should be a protocol-buffers message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProtobufError {
    /// The bytes end within a field.
    #[error("message ends within a field")]
    Truncated,
    /// A varint is longer than ten bytes or does not fit 64 bits.
    #[error("varint does not fit 64 bits")]
    VarintOverflow,
    /// A field number is zero or above 2^29 - 1.
    #[error("field number {number} is out of range")]
    FieldNumber {
        /// The number found.
        number: u64,
    },
    /// Wire type 3 and 4 (groups), 6 or 7.
    #[error("field {field} has wire type {wire_type}, which is not supported")]
    WireType {
        /// Field number.
        field: u32,
        /// Wire type found.
        wire_type: u8,
    },
    /// The field has another wire type than its definition.
    #[error("field {field} should be {expected}")]
    UnexpectedType {
        /// Field number.
        field: u32,
        /// What its definition says.
        expected: &'static str,
    },
    /// A string field is not UTF-8.
    #[error("field {field} is not valid UTF-8")]
    Utf8 {
        /// Field number.
        field: u32,
    },
}

/// The value of one field as the wire has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// Integers, booleans, enums.
    Varint(u64),
    /// `fixed64`, `sfixed64`, `double`.
    Fixed64(u64),
    /// Strings, bytes, messages, packed lists.
    Bytes(&'a [u8]),
    /// `fixed32`, `sfixed32`, `float`.
    Fixed32(u32),
}

impl<'a> Field<'a> {
    /// The content of a string, bytes or message field; `field` is its number, for the error.
    ///
    /// # Errors
    /// When the wire type is another one.
    #[inline]
    pub fn bytes(self, field: u32) -> Result<&'a [u8], ProtobufError> {
        match self {
            Field::Bytes(bytes) => Ok(bytes),
            _ => Err(ProtobufError::UnexpectedType { field, expected: "length-delimited" }),
        }
    }

    /// The content of a string field.
    ///
    /// # Errors
    /// When the wire type is another one or the content is not UTF-8.
    #[inline]
    pub fn text(self, field: u32) -> Result<&'a str, ProtobufError> {
        std::str::from_utf8(self.bytes(field)?).map_err(|_| ProtobufError::Utf8 { field })
    }

    /// The value of an integer field.
    ///
    /// # Errors
    /// When the wire type is another one.
    #[inline]
    pub fn varint(self, field: u32) -> Result<u64, ProtobufError> {
        match self {
            Field::Varint(value) => Ok(value),
            _ => Err(ProtobufError::UnexpectedType { field, expected: "a varint" }),
        }
    }

    /// The value of an `int64` field.
    ///
    /// # Errors
    /// When the wire type is another one.
    #[inline]
    pub fn int64(self, field: u32) -> Result<i64, ProtobufError> {
        Ok(self.varint(field)?.cast_signed())
    }

    /// The value of an `int32` field; higher bits are cut off, as every decoder does.
    ///
    /// # Errors
    /// When the wire type is another one.
    #[inline]
    pub fn int32(self, field: u32) -> Result<i32, ProtobufError> {
        Ok(self.varint(field)? as i32)
    }

    /// The value of a `bool` field.
    ///
    /// # Errors
    /// When the wire type is another one.
    #[inline]
    pub fn boolean(self, field: u32) -> Result<bool, ProtobufError> {
        Ok(self.varint(field)? != 0)
    }

    /// The value of a `double` field.
    ///
    /// # Errors
    /// When the wire type is another one.
    #[inline]
    pub fn double(self, field: u32) -> Result<f64, ProtobufError> {
        match self {
            Field::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(ProtobufError::UnexpectedType { field, expected: "a double" }),
        }
    }
}

/// Reads the fields of one message in wire order, without copying.
///
/// Never reads past its bytes and takes time linear in the number of fields: a nested message that nobody
/// asks for is one jump. Nesting is the caller's: whoever reads a nested message makes a new reader, so the
/// depth is that of the caller's code and not of the input.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader over the content of one message.
    #[inline]
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field and its number, or `None` at the end of the message.
    ///
    /// # Errors
    /// When the bytes are no well-formed field; the reader is useless then.
    // Inlined always: half of the time that a scan takes is this function, and as a call it is twice as slow.
    #[inline(always)]
    pub fn next_field(&mut self) -> Result<Option<(u32, Field<'a>)>, ProtobufError> {
        // Most fields by far: length-delimited, tag and length of one byte each.
        if let [tag, length, ref rest @ ..] = *self.rest
            && tag & 0x87 == 2
            && tag > 7
            && length < 0x80
            && let Some((bytes, rest)) = rest.split_at_checked(usize::from(length))
        {
            self.rest = rest;
            return Ok(Some((u32::from(tag >> 3), Field::Bytes(bytes))));
        }
        self.next_field_of_any_form()
    }

    fn next_field_of_any_form(&mut self) -> Result<Option<(u32, Field<'a>)>, ProtobufError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = split_tag(self.varint()?)?;
        let field = match wire_type {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(*self.array()?)),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| ProtobufError::Truncated)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(ProtobufError::Truncated)?;
                self.rest = rest;
                Field::Bytes(bytes)
            }
            5 => Field::Fixed32(u32::from_le_bytes(*self.array()?)),
            _ => return Err(ProtobufError::WireType { field: number, wire_type }),
        };
        Ok(Some((number, field)))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, ProtobufError> {
        match *self.rest {
            [first, ref rest @ ..] if first < 0x80 => {
                self.rest = rest;
                Ok(u64::from(first))
            }
            [first, second, ref rest @ ..] if second < 0x80 => {
                self.rest = rest;
                Ok(u64::from(first & 0x7f) | u64::from(second) << 7)
            }
            _ => match decode_varint(self.rest)? {
                Some((value, used)) => {
                    self.rest = &self.rest[used..];
                    Ok(value)
                }
                None => Err(ProtobufError::Truncated),
            },
        }
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], ProtobufError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(ProtobufError::Truncated)?;
        self.rest = rest;
        Ok(array)
    }
}

/// Splits a field's tag into its number and wire type.
///
/// # Errors
/// When the number is out of range.
#[inline]
pub(crate) fn split_tag(tag: u64) -> Result<(u32, u8), ProtobufError> {
    match u32::try_from(tag >> 3) {
        Ok(number @ 1..=0x1fff_ffff) => Ok((number, (tag & 7) as u8)),
        _ => Err(ProtobufError::FieldNumber { number: tag >> 3 }),
    }
}

/// Decodes the varint that `bytes` start with: its value and length, or `None` when it is not complete yet.
///
/// # Errors
/// When it does not fit 64 bits.
pub(crate) fn decode_varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, ProtobufError> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().enumerate().take(10) {
        if i == 9 && *byte > 1 {
            return Err(ProtobufError::VarintOverflow);
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if *byte < 0x80 {
            return Ok(Some((value, i + 1)));
        }
    }
    if bytes.len() >= 10 { Err(ProtobufError::VarintOverflow) } else { Ok(None) }
}

/// Appends `value` as a varint.
#[inline]
pub fn put_varint(mut value: u64, into: &mut Vec<u8>) {
    while value >= 0x80 {
        into.push((value as u8) | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// Bytes that `value` takes as a varint.
pub fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends the fields of one message to a buffer, in the order of the calls.
///
/// Every call writes its field, zero and empty values included: proto2 distinguishes them from absent ones
/// and the Go encoder of Kubernetes writes them too.
#[derive(Debug)]
pub struct Writer<'a> {
    into: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// A writer that appends to `into`.
    pub fn new(into: &'a mut Vec<u8>) -> Self {
        Self { into }
    }

    /// An unsigned or enum field.
    pub fn varint(&mut self, field: u32, value: u64) {
        self.tag(field, 0);
        put_varint(value, self.into);
    }

    /// An `int32` or `int64` field (negative values take ten bytes).
    pub fn int(&mut self, field: u32, value: i64) {
        self.varint(field, value.cast_unsigned());
    }

    /// A `bool` field.
    pub fn boolean(&mut self, field: u32, value: bool) {
        self.varint(field, u64::from(value));
    }

    /// A `fixed64` field.
    pub fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, 1);
        self.into.extend_from_slice(&value.to_le_bytes());
    }

    /// A `double` field.
    pub fn double(&mut self, field: u32, value: f64) {
        self.fixed64(field, value.to_bits());
    }

    /// A `fixed32` field.
    pub fn fixed32(&mut self, field: u32, value: u32) {
        self.tag(field, 5);
        self.into.extend_from_slice(&value.to_le_bytes());
    }

    /// A `bytes` field, or a message that is encoded already.
    pub fn bytes(&mut self, field: u32, value: &[u8]) {
        self.tag(field, 2);
        put_varint(value.len() as u64, self.into);
        self.into.extend_from_slice(value);
    }

    /// Fields that are encoded already.
    pub fn raw(&mut self, fields: &[u8]) {
        self.into.extend_from_slice(fields);
    }

    /// A `string` field.
    pub fn string(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    /// A nested message, written by `body`.
    pub fn message(&mut self, field: u32, body: impl FnOnce(&mut Writer<'_>)) {
        self.tag(field, 2);
        // Most messages are shorter than 128 bytes: reserve one byte for the length, move the body if it needs more.
        let length_at = self.into.len();
        self.into.push(0);
        body(&mut Writer { into: self.into });
        let length = self.into.len() - length_at - 1;
        match varint_len(length as u64) {
            1 => self.into[length_at] = length as u8,
            bytes => {
                let body_end = self.into.len();
                self.into.resize(body_end + bytes - 1, 0);
                self.into.copy_within(length_at + 1..body_end, length_at + bytes);
                let mut rest = length as u64;
                for slot in &mut self.into[length_at..length_at + bytes] {
                    *slot = (rest as u8 & 0x7f) | 0x80;
                    rest >>= 7;
                }
                self.into[length_at + bytes - 1] &= 0x7f;
            }
        }
    }

    fn tag(&mut self, field: u32, wire_type: u8) {
        put_varint(u64::from(field) << 3 | u64::from(wire_type), self.into);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(message: &[u8]) -> Result<Vec<(u32, Field<'_>)>, ProtobufError> {
        let mut reader = Reader::new(message);
        let mut found = Vec::new();
        while let Some(field) = reader.next_field()? {
            found.push(field);
        }
        Ok(found)
    }

    #[test]
    fn what_the_writer_writes_the_reader_reads() {
        let long = "x".repeat(300);
        let mut message = Vec::new();
        let mut writer = Writer::new(&mut message);
        writer.varint(1, 300);
        writer.int(2, -1);
        writer.boolean(3, true);
        writer.double(4, 1.5);
        writer.fixed32(5, 7);
        writer.string(6, "");
        writer.message(7, |nested| {
            nested.string(1, &long);
            nested.message(2, |_| {});
        });
        let read = fields(&message).unwrap();
        assert_eq!(read[0], (1, Field::Varint(300)));
        assert_eq!(read[1].1.int64(2), Ok(-1));
        assert_eq!(read[1].1.int32(2), Ok(-1));
        assert_eq!(read[2].1.boolean(3), Ok(true));
        assert_eq!(read[3].1.double(4), Ok(1.5));
        assert_eq!(read[4], (5, Field::Fixed32(7)));
        assert_eq!(read[5], (6, Field::Bytes(b"")));
        let nested = fields(read[6].1.bytes(7).unwrap()).unwrap();
        assert_eq!(nested[0].1.text(1), Ok(long.as_str()));
        assert_eq!(nested[1], (2, Field::Bytes(b"")));
        assert_eq!(read.len(), 7);
    }

    #[test]
    fn malformed_messages_are_told_apart() {
        let cases: [(&[u8], ProtobufError); 9] = [
            (&[0x08], ProtobufError::Truncated),
            (&[0x08, 0x80], ProtobufError::Truncated),
            (&[0x0a, 0x05, b'x'], ProtobufError::Truncated),
            (&[0x09, 1, 2, 3], ProtobufError::Truncated),
            (&[0x00, 0x01], ProtobufError::FieldNumber { number: 0 }),
            (&[0x0b], ProtobufError::WireType { field: 1, wire_type: 3 }),
            (&[0x0f], ProtobufError::WireType { field: 1, wire_type: 7 }),
            (
                &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
                ProtobufError::VarintOverflow,
            ),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], ProtobufError::Truncated),
        ];
        for (message, expected) in cases {
            assert_eq!(fields(message), Err(expected), "{message:x?}");
        }
        assert_eq!(
            Field::Varint(1).text(3),
            Err(ProtobufError::UnexpectedType { field: 3, expected: "length-delimited" })
        );
        assert_eq!(Field::Bytes(&[0xff]).text(3), Err(ProtobufError::Utf8 { field: 3 }));
    }

    proptest! {
        #[test]
        fn varints_keep_their_value(value: u64) {
            let mut bytes = Vec::new();
            put_varint(value, &mut bytes);
            prop_assert_eq!(bytes.len(), varint_len(value));
            prop_assert_eq!(decode_varint(&bytes), Ok(Some((value, bytes.len()))));
            prop_assert_eq!(decode_varint(&bytes[..bytes.len() - 1]), Ok(None));
        }

        #[test]
        fn garbage_never_panics(message in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = fields(&message);
        }

        #[test]
        fn nested_lengths_of_any_size_are_right(length in prop::sample::select(vec![0usize, 1, 126, 127, 128, 129, 16_383, 16_384, 70_000])) {
            let mut message = Vec::new();
            let body = vec![7u8; length];
            Writer::new(&mut message).message(3, |nested| nested.into.extend_from_slice(&body));
            prop_assert_eq!(fields(&message), Ok(vec![(3, Field::Bytes(&body[..]))]));
        }
    }
}

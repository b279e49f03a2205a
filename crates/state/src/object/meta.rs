//! Types of `k8s.io/apimachinery` that many resources use.

use base64::Engine;
use outrigger_wire::protobuf::{Field, Reader};
use serde_json::Value;

use super::{FieldValue, Map, ObjectError, Repeated, message};

message! {
    /// `metav1.ObjectMeta`.
    pub struct ObjectMeta {
        1 "name" name: &'a str,
        3 "namespace" namespace: &'a str,
        5 "uid" uid: &'a str,
        6 "resourceVersion" resource_version: &'a str,
        7 "generation" generation: i64,
        8 "creationTimestamp" creation_timestamp: Time,
        9 "deletionTimestamp" deletion_timestamp: Option<Time>,
        11 "labels" labels: Map<'a>,
        12 "annotations" annotations: Map<'a>,
        13 "ownerReferences" owner_references: Repeated<'a, OwnerReference<'a>>,
        14 "finalizers" finalizers: Vec<&'a str>,
    }

    /// `metav1.OwnerReference`.
    pub struct OwnerReference {
        1 "kind" kind: &'a str,
        3 "name" name: &'a str,
        5 "apiVersion" api_version: &'a str,
        6 "controller" controller: Option<bool>,
    }
}

/// `metav1.Time` or `metav1.MicroTime` in whole seconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time {
    seconds: i64,
    set: bool,
}

impl Time {
    /// Unix seconds, rounded down; `None` for Go's zero time.
    pub(crate) fn unix(self) -> Option<i64> {
        self.set.then_some(self.seconds)
    }

    /// What Go's `Unix()` says, also of the zero time.
    pub(crate) fn unix_or_zero_time(self) -> i64 {
        self.unix().unwrap_or(GO_ZERO_TIME)
    }
}

/// Unix seconds of Go's zero `time.Time`.
const GO_ZERO_TIME: i64 = -62_135_596_800;

impl<'a> FieldValue<'a> for Time {
    fn take_field(&mut self, number: u32, field: Field<'a>) -> Result<(), ObjectError> {
        let bytes = field.bytes(number)?;
        let mut seconds = 0;
        let mut reader = Reader::new(bytes);
        while let Some((number, field)) = reader.next_field()? {
            if number == 1 {
                seconds = field.int64(number)?;
            }
        }
        // The zero time is sent as nothing, and nothing is read as the zero time.
        *self = Self { seconds, set: !bytes.is_empty() && seconds != GO_ZERO_TIME };
        Ok(())
    }

    fn take_json(&mut self, value: &'a Value) -> Result<(), ObjectError> {
        *self = match value {
            Value::Null => Self::default(),
            Value::String(text) => {
                let expected = ObjectError::Json { expected: "a time as in RFC 3339" };
                let time: jiff::Timestamp = text.parse().map_err(|_| expected)?;
                let seconds = time.as_nanosecond().div_euclid(1_000_000_000);
                let seconds = i64::try_from(seconds).unwrap_or(GO_ZERO_TIME);
                Self { seconds, set: seconds != GO_ZERO_TIME }
            }
            _ => return Err(ObjectError::Json { expected: "a time as text" }),
        };
        Ok(())
    }
}

/// `resource.Quantity` as its text.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quantity<'a>(pub(crate) &'a str);

impl Quantity<'_> {
    /// Its number; `None` for a text that is no quantity, which servers do not send.
    pub(crate) fn parse(self) -> Option<crate::quantity::Quantity> {
        crate::quantity::Quantity::parse(self.0)
    }
}

impl<'a> FieldValue<'a> for Quantity<'a> {
    fn take_field(&mut self, number: u32, field: Field<'a>) -> Result<(), ObjectError> {
        let mut reader = Reader::new(field.bytes(number)?);
        while let Some((number, field)) = reader.next_field()? {
            if number == 1 {
                self.0 = field.text(number)?;
            }
        }
        Ok(())
    }

    fn take_json(&mut self, value: &'a Value) -> Result<(), ObjectError> {
        self.0 = match value {
            Value::Null => "",
            Value::String(text) => text,
            _ => return Err(ObjectError::Json { expected: "a quantity as text" }),
        };
        Ok(())
    }
}

/// `intstr.IntOrString`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IntOrString<'a> {
    /// A number.
    Int(i32),
    /// A text, such as a percentage or the name of a port.
    Text(&'a str),
}

impl Default for IntOrString<'_> {
    fn default() -> Self {
        Self::Int(0)
    }
}

impl<'a> FieldValue<'a> for IntOrString<'a> {
    fn take_field(&mut self, number: u32, field: Field<'a>) -> Result<(), ObjectError> {
        let (mut is_text, mut integer, mut text) = (false, 0, "");
        let mut reader = Reader::new(field.bytes(number)?);
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => is_text = field.int64(number)? == 1,
                2 => integer = field.int32(number)?,
                3 => text = field.text(number)?,
                _ => {}
            }
        }
        *self = if is_text { Self::Text(text) } else { Self::Int(integer) };
        Ok(())
    }

    fn take_json(&mut self, value: &'a Value) -> Result<(), ObjectError> {
        *self = match value {
            Value::Null => Self::default(),
            Value::String(text) => Self::Text(text),
            value => {
                let mut integer = 0;
                FieldValue::take_json(&mut integer, value)?;
                Self::Int(integer)
            }
        };
        Ok(())
    }
}

/// A `bytes` field of which only the length is read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteCount(pub(crate) usize);

impl<'a> FieldValue<'a> for ByteCount {
    fn take_field(&mut self, number: u32, field: Field<'a>) -> Result<(), ObjectError> {
        self.0 = field.bytes(number)?.len();
        Ok(())
    }

    fn take_json(&mut self, value: &'a Value) -> Result<(), ObjectError> {
        self.0 = match value {
            Value::Null => 0,
            Value::String(text) => base64::engine::general_purpose::STANDARD
                .decode(text)
                .map_err(|_| ObjectError::Json { expected: "bytes in base64" })?
                .len(),
            _ => return Err(ObjectError::Json { expected: "bytes in base64" }),
        };
        Ok(())
    }
}

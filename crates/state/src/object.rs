//! Kubernetes objects as the families read them: each message is declared once, with the protobuf number and the JSON
//! name of each field, and read from either encoding.
//!
//! Only fields that a family reads are declared. A nested message is decoded when it is first looked at, so what no
//! enabled family reads is never decoded: its bytes are jumped over.

use std::cell::OnceCell;
use std::fmt;
use std::ops::Deref;

use outrigger_wire::protobuf::{Field, ProtobufError, Reader};
use serde_json::Value;
use thiserror::Error;

pub(crate) mod admission;
pub(crate) mod condition;
pub(crate) mod meta;
pub(crate) mod rbac;
pub(crate) mod reference;

/// Why an object cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ObjectError {
    /// The bytes are no protobuf message of its kind.
    #[error("not a readable message")]
    Protobuf(#[from] ProtobufError),
    /// The text is no JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// A JSON value has another type than its field.
    #[error("a value should be {expected}")]
    Json {
        /// What the field takes.
        expected: &'static str,
    },
}

/// A message that is read from protobuf or JSON.
pub(crate) trait Message<'a>: Default {
    /// Takes over one protobuf field; unknown numbers are skipped.
    ///
    /// # Errors
    /// When the field has another type than its declaration.
    fn take_field(&mut self, number: u32, field: Field<'a>) -> Result<(), ObjectError>;

    /// Takes over one member of a JSON object; unknown names are skipped.
    ///
    /// # Errors
    /// When the value has another type than its declaration.
    fn take_member(&mut self, name: &str, value: &'a Value) -> Result<(), ObjectError>;

    /// The error of any nested message that was looked at and could not be read.
    ///
    /// # Errors
    /// The first of them.
    fn check(&self) -> Result<(), ObjectError>;

    /// Reads a message from its protobuf bytes.
    ///
    /// # Errors
    /// When they are malformed.
    fn from_protobuf(bytes: &'a [u8]) -> Result<Self, ObjectError> {
        let mut message = Self::default();
        message.take_protobuf(bytes)?;
        Ok(message)
    }

    /// Takes over all fields of protobuf bytes.
    ///
    /// # Errors
    /// When they are malformed.
    fn take_protobuf(&mut self, bytes: &'a [u8]) -> Result<(), ObjectError> {
        let mut reader = Reader::new(bytes);
        while let Some((number, field)) = reader.next_field()? {
            self.take_field(number, field)?;
        }
        Ok(())
    }

    /// Reads a message from a JSON object; `null` is an empty one.
    ///
    /// # Errors
    /// When a member has another type than its field.
    fn from_json(value: &'a Value) -> Result<Self, ObjectError> {
        let mut message = Self::default();
        match value {
            Value::Null => {}
            Value::Object(members) => {
                for (name, value) in members {
                    message.take_member(name, value)?;
                }
            }
            _ => return Err(ObjectError::Json { expected: "an object" }),
        }
        Ok(message)
    }
}

/// The type of a field: how its value is taken from either encoding.
pub(crate) trait FieldValue<'a>: Default {
    /// Takes the value of a protobuf field; a list takes one element at a time.
    ///
    /// # Errors
    /// When the field has another wire type.
    fn take_field(&mut self, number: u32, field: Field<'a>) -> Result<(), ObjectError>;

    /// Takes the whole value of a JSON member.
    ///
    /// # Errors
    /// When it has another type.
    fn take_json(&mut self, value: &'a Value) -> Result<(), ObjectError>;

    /// The error of a nested message that could not be read.
    ///
    /// # Errors
    /// The first of them.
    fn check(&self) -> Result<(), ObjectError> {
        Ok(())
    }
}

/// Declares messages: `number "jsonName" field: Type,`. After all fields, `inline number field: Type,` is a message
/// that protobuf nests and whose members JSON has among the outer one's.
macro_rules! message {
    ($($(#[$attribute:meta])* pub struct $name:ident {
        $($(#[$field_attribute:meta])* $number:literal $json:literal $field:ident: $type:ty,)*
        $(inline $inline_number:literal $inline:ident: $inline_type:ty,)?
    })*) => {$(
        $(#[$attribute])*
        #[derive(Debug, Default)]
        pub(crate) struct $name<'a> {
            $($(#[$field_attribute])* pub(crate) $field: $type,)*
            $(pub(crate) $inline: $inline_type,)?
            pub(crate) marker: std::marker::PhantomData<&'a ()>,
        }

        impl<'a> $crate::object::Message<'a> for $name<'a> {
            #[inline]
            fn take_field(
                &mut self,
                number: u32,
                field: outrigger_wire::protobuf::Field<'a>,
            ) -> Result<(), $crate::object::ObjectError> {
                match number {
                    $($number => $crate::object::FieldValue::take_field(&mut self.$field, number, field),)*
                    $($inline_number => $crate::object::Message::take_protobuf(&mut self.$inline, field.bytes(number)?),)?
                    _ => Ok(()),
                }
            }

            fn take_member(
                &mut self,
                name: &str,
                value: &'a serde_json::Value,
            ) -> Result<(), $crate::object::ObjectError> {
                match name {
                    $($json => $crate::object::FieldValue::take_json(&mut self.$field, value),)*
                    _ => {
                        $($crate::object::Message::take_member(&mut self.$inline, name, value)?;)?
                        Ok(())
                    }
                }
            }

            fn check(&self) -> Result<(), $crate::object::ObjectError> {
                $($crate::object::FieldValue::check(&self.$field)?;)*
                $($crate::object::Message::check(&self.$inline)?;)?
                Ok(())
            }
        }
    )*};
}
pub(crate) use message;

/// An object with metadata.
pub(crate) trait KubernetesObject<'a>: Message<'a> {
    /// Its metadata.
    fn metadata(&self) -> &meta::ObjectMeta<'a>;
}

/// Declares an object: a [`message!`] whose first field is its metadata.
macro_rules! object {
    ($(#[$attribute:meta])* pub struct $name:ident { $($(#[$field_attribute:meta])* $number:literal $json:literal $field:ident: $type:ty,)* }) => {
        $crate::object::message! {
            $(#[$attribute])*
            pub struct $name {
                /// Its metadata.
                1 "metadata" metadata: $crate::object::Nested<'a, $crate::object::meta::ObjectMeta<'a>>,
                $($(#[$field_attribute])* $number $json $field: $type,)*
            }
        }

        impl<'a> $crate::object::KubernetesObject<'a> for $name<'a> {
            fn metadata(&self) -> &$crate::object::meta::ObjectMeta<'a> {
                &self.metadata
            }
        }
    };
}
pub(crate) use object;

impl<'a> FieldValue<'a> for &'a str {
    fn take_field(&mut self, number: u32, field: Field<'a>) -> Result<(), ObjectError> {
        *self = field.text(number)?;
        Ok(())
    }

    fn take_json(&mut self, value: &'a Value) -> Result<(), ObjectError> {
        *self = match value {
            Value::Null => "",
            Value::String(text) => text,
            _ => return Err(ObjectError::Json { expected: "a string" }),
        };
        Ok(())
    }
}

impl<'a> FieldValue<'a> for bool {
    fn take_field(&mut self, number: u32, field: Field<'a>) -> Result<(), ObjectError> {
        *self = field.boolean(number)?;
        Ok(())
    }

    fn take_json(&mut self, value: &'a Value) -> Result<(), ObjectError> {
        *self = match value {
            Value::Null => false,
            Value::Bool(value) => *value,
            _ => return Err(ObjectError::Json { expected: "a boolean" }),
        };
        Ok(())
    }
}

impl<'a> FieldValue<'a> for i32 {
    fn take_field(&mut self, number: u32, field: Field<'a>) -> Result<(), ObjectError> {
        *self = field.int32(number)?;
        Ok(())
    }

    fn take_json(&mut self, value: &'a Value) -> Result<(), ObjectError> {
        *self =
            i32::try_from(integer(value)?).map_err(|_| ObjectError::Json { expected: "a 32-bit integer" })?;
        Ok(())
    }
}

impl<'a> FieldValue<'a> for i64 {
    fn take_field(&mut self, number: u32, field: Field<'a>) -> Result<(), ObjectError> {
        *self = field.int64(number)?;
        Ok(())
    }

    fn take_json(&mut self, value: &'a Value) -> Result<(), ObjectError> {
        *self = integer(value)?;
        Ok(())
    }
}

fn integer(value: &Value) -> Result<i64, ObjectError> {
    match value {
        Value::Null => Ok(0),
        value => value.as_i64().ok_or(ObjectError::Json { expected: "an integer" }),
    }
}

/// Scalars and messages that may be absent; `null` is absent.
impl<'a, T: FieldValue<'a>> FieldValue<'a> for Option<T> {
    fn take_field(&mut self, number: u32, field: Field<'a>) -> Result<(), ObjectError> {
        self.get_or_insert_default().take_field(number, field)
    }

    fn take_json(&mut self, value: &'a Value) -> Result<(), ObjectError> {
        match value {
            Value::Null => *self = None,
            value => self.get_or_insert_default().take_json(value)?,
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ObjectError> {
        self.as_ref().map_or(Ok(()), T::check)
    }
}

/// Lists of scalars.
impl<'a> FieldValue<'a> for Vec<&'a str> {
    fn take_field(&mut self, number: u32, field: Field<'a>) -> Result<(), ObjectError> {
        self.push(field.text(number)?);
        Ok(())
    }

    fn take_json(&mut self, value: &'a Value) -> Result<(), ObjectError> {
        for value in elements(value)? {
            let mut text = "";
            text.take_json(value)?;
            self.push(text);
        }
        Ok(())
    }
}

fn elements(value: &Value) -> Result<&[Value], ObjectError> {
    match value {
        Value::Null => Ok(&[]),
        Value::Array(elements) => Ok(elements),
        _ => Err(ObjectError::Json { expected: "a list" }),
    }
}

/// Where a nested message comes from.
#[derive(Clone, Copy)]
enum Raw<'a> {
    Protobuf(&'a [u8]),
    Json(&'a Value),
}

impl<'a> Raw<'a> {
    fn read<T: Message<'a>>(self) -> Result<T, ObjectError> {
        match self {
            Self::Protobuf(bytes) => T::from_protobuf(bytes),
            Self::Json(value) => T::from_json(value),
        }
    }
}

/// A nested message, read when it is first looked at. Absent, it looks like an empty one.
pub(crate) struct Nested<'a, T> {
    raw: Option<Raw<'a>>,
    message: OnceCell<(Box<T>, Option<ObjectError>)>,
}

impl<T> Default for Nested<'_, T> {
    fn default() -> Self {
        Self { raw: None, message: OnceCell::new() }
    }
}

impl<'a, T: Message<'a>> Nested<'a, T> {
    /// The message if it is there.
    pub(crate) fn get(&self) -> Option<&T> {
        self.raw.map(|_| &**self)
    }

    /// Whether it is there.
    pub(crate) fn is_set(&self) -> bool {
        self.raw.is_some()
    }
}

impl<'a, T: Message<'a>> Deref for Nested<'a, T> {
    type Target = T;

    fn deref(&self) -> &T {
        let (message, _) = self.message.get_or_init(|| match self.raw.map(Raw::read) {
            None => (Box::default(), None),
            Some(Ok(message)) => (Box::new(message), None),
            Some(Err(error)) => (Box::default(), Some(error)),
        });
        message
    }
}

impl<'a, T: Message<'a>> FieldValue<'a> for Nested<'a, T> {
    fn take_field(&mut self, number: u32, field: Field<'a>) -> Result<(), ObjectError> {
        self.raw = Some(Raw::Protobuf(field.bytes(number)?));
        Ok(())
    }

    fn take_json(&mut self, value: &'a Value) -> Result<(), ObjectError> {
        self.raw = (!value.is_null()).then_some(Raw::Json(value));
        Ok(())
    }

    fn check(&self) -> Result<(), ObjectError> {
        match self.message.get() {
            None => Ok(()),
            Some((_, Some(error))) => Err(error.clone()),
            Some((message, None)) => message.check(),
        }
    }
}

impl<'a, T: Message<'a> + fmt::Debug> fmt::Debug for Nested<'a, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(formatter)
    }
}

/// A nested message that lies in the outer one and is read with it: for small ones that are always looked at.
#[derive(Debug, Default)]
pub(crate) struct Inner<T> {
    message: T,
    set: bool,
}

impl<T> Inner<T> {
    /// The message if it is there.
    pub(crate) fn get(&self) -> Option<&T> {
        self.set.then_some(&self.message)
    }

    /// Whether it is there.
    pub(crate) fn is_set(&self) -> bool {
        self.set
    }
}

impl<T> Deref for Inner<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.message
    }
}

impl<'a, T: Message<'a>> FieldValue<'a> for Inner<T> {
    fn take_field(&mut self, number: u32, field: Field<'a>) -> Result<(), ObjectError> {
        self.set = true;
        self.message.take_protobuf(field.bytes(number)?)
    }

    fn take_json(&mut self, value: &'a Value) -> Result<(), ObjectError> {
        *self = Self { message: T::from_json(value)?, set: !value.is_null() };
        Ok(())
    }

    fn check(&self) -> Result<(), ObjectError> {
        self.message.check()
    }
}

/// A list of messages, read when it is first looked at.
pub(crate) struct Repeated<'a, T> {
    raw: Vec<Raw<'a>>,
    messages: OnceCell<(Vec<T>, Option<ObjectError>)>,
}

impl<T> Default for Repeated<'_, T> {
    fn default() -> Self {
        Self { raw: Vec::new(), messages: OnceCell::new() }
    }
}

impl<'a, T: Message<'a>> Deref for Repeated<'a, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let (messages, _) = self.messages.get_or_init(|| {
            let (mut messages, mut first_error) = (Vec::with_capacity(self.raw.len()), None);
            for raw in &self.raw {
                match raw.read() {
                    Ok(message) => messages.push(message),
                    Err(error) => drop(first_error.get_or_insert(error)),
                }
            }
            (messages, first_error)
        });
        messages
    }
}

impl<'a, T: Message<'a>> FieldValue<'a> for Repeated<'a, T> {
    fn take_field(&mut self, number: u32, field: Field<'a>) -> Result<(), ObjectError> {
        self.raw.push(Raw::Protobuf(field.bytes(number)?));
        Ok(())
    }

    fn take_json(&mut self, value: &'a Value) -> Result<(), ObjectError> {
        self.raw = elements(value)?.iter().map(Raw::Json).collect();
        Ok(())
    }

    fn check(&self) -> Result<(), ObjectError> {
        match self.messages.get() {
            None => Ok(()),
            Some((_, Some(error))) => Err(error.clone()),
            Some((messages, None)) => messages.iter().try_for_each(T::check),
        }
    }
}

impl<'a, T: Message<'a> + fmt::Debug> fmt::Debug for Repeated<'a, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

/// A list of which only the number of elements is read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) usize);

impl<'a> FieldValue<'a> for Count {
    fn take_field(&mut self, number: u32, field: Field<'a>) -> Result<(), ObjectError> {
        field.bytes(number)?;
        self.0 += 1;
        Ok(())
    }

    fn take_json(&mut self, value: &'a Value) -> Result<(), ObjectError> {
        self.0 = elements(value)?.len();
        Ok(())
    }
}

/// A message of which only is read whether it is there.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Present(pub(crate) bool);

impl<'a> FieldValue<'a> for Present {
    fn take_field(&mut self, number: u32, field: Field<'a>) -> Result<(), ObjectError> {
        field.bytes(number)?;
        self.0 = true;
        Ok(())
    }

    fn take_json(&mut self, value: &'a Value) -> Result<(), ObjectError> {
        self.0 = !value.is_null();
        Ok(())
    }
}

/// A map, sorted by key.
#[derive(Debug)]
pub(crate) struct Map<'a, V = &'a str>(Vec<(&'a str, V)>);

impl<V> Default for Map<'_, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, V> Map<'a, V> {
    /// The pairs, sorted by key.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&'a str, &V)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&V> {
        let found = self.0.binary_search_by(|(each, _)| (*each).cmp(key)).ok()?;
        Some(&self.0[found].1)
    }

    fn insert(&mut self, key: &'a str, value: V) {
        // Servers send sorted maps.
        if self.0.last().is_none_or(|(last, _)| *last < key) {
            self.0.push((key, value));
            return;
        }
        match self.0.binary_search_by(|(each, _)| (*each).cmp(key)) {
            Ok(found) => self.0[found].1 = value,
            Err(place) => self.0.insert(place, (key, value)),
        }
    }
}

impl<'a, V: FieldValue<'a>> FieldValue<'a> for Map<'a, V> {
    fn take_field(&mut self, number: u32, field: Field<'a>) -> Result<(), ObjectError> {
        let (mut key, mut value) = ("", V::default());
        let mut reader = Reader::new(field.bytes(number)?);
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => key = field.text(number)?,
                2 => value.take_field(number, field)?,
                _ => {}
            }
        }
        self.insert(key, value);
        Ok(())
    }

    fn take_json(&mut self, value: &'a Value) -> Result<(), ObjectError> {
        match value {
            Value::Null => {}
            Value::Object(members) => {
                for (key, member) in members {
                    let mut value = V::default();
                    value.take_json(member)?;
                    self.insert(key, value);
                }
            }
            _ => return Err(ObjectError::Json { expected: "an object" }),
        }
        Ok(())
    }
}

/// How an object is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// The message of its kind, without the envelope.
    Protobuf,
    /// JSON text.
    Json,
}

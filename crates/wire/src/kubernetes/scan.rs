//! The fields of each resource that Outrigger reads, found in one pass over the message and borrowed from it.
//!
//! Everything else is skipped on the wire: `managedFields` is one jump. Text is given as bytes, because most of
//! it is compared with what is known already; whoever stores it checks that it is UTF-8. An empty text means
//! that the field is absent. Lists of lists are flat, with ranges: no allocation for each container.
//!
//! Each `…Fields` keeps the allocations of its lists: scan, use, [`recycle`](PodFields::recycle), scan the next.

mod endpoint_slice;
mod endpoints;
mod ingress;
mod node;
mod pod;
mod service;

use std::ops::Range;

use thiserror::Error;

pub use self::endpoint_slice::{EndpointFields, EndpointSliceFields, SlicePortFields};
pub use self::endpoints::{
    EndpointAddressFields, EndpointPortFields, EndpointsFields, SubsetFields, TargetFields,
};
pub use self::ingress::{IngressFields, IngressRuleFields};
pub use self::node::NodeFields;
pub use self::pod::{ContainerFields, ContainerPortFields, ContainerStatusFields, PodFields};
pub use self::service::{ServiceFields, ServicePortFields};
use super::meta::map_entry;
use crate::protobuf::{Field, ProtobufError, Reader};

/// Text of a string field as it is on the wire; `b""` when absent.
pub type Text<'a> = &'a [u8];

/// Entries of a `map<string, string>`, sorted by key, keys unique.
pub type Pairs<'a> = Vec<(Text<'a>, Text<'a>)>;

/// Most entries that one list of one object may have.
pub const MAX_ENTRIES: usize = 100_000;

/// Capacity that a list keeps when it is recycled.
const KEEP_ENTRIES: usize = 8_192;

/// Why an object cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("cannot read {part}")]
pub struct ScanError {
    /// The field that holds the defect, such as `spec.containers`.
    pub part: &'static str,
    /// The defect.
    #[source]
    pub cause: ScanCause,
}

/// What is wrong with a part of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ScanCause {
    /// It is no well-formed message, or a field has another type.
    #[error(transparent)]
    Malformed(ProtobufError),
    /// A list is too long.
    #[error("more than {MAX_ENTRIES} entries")]
    TooMany,
}

impl From<ProtobufError> for ScanError {
    fn from(error: ProtobufError) -> Self {
        Self { part: "", cause: ScanCause::Malformed(error) }
    }
}

/// Visits the fields of a message; an error that has no part yet gets this one.
#[inline]
fn fields<'a>(
    message: &'a [u8],
    part: &'static str,
    mut visit: impl FnMut(u32, Field<'a>) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    let mut reader = Reader::new(message);
    let mut run = || {
        while let Some((number, field)) = reader.next_field()? {
            visit(number, field)?;
        }
        Ok(())
    };
    run().map_err(|error: ScanError| if error.part.is_empty() { ScanError { part, ..error } } else { error })
}

#[inline]
fn push<T>(list: &mut Vec<T>, entry: T) -> Result<(), ScanError> {
    if list.len() >= MAX_ENTRIES {
        return Err(ScanError { part: "", cause: ScanCause::TooMany });
    }
    list.push(entry);
    Ok(())
}

/// A length as the end of a range; lists are shorter than [`MAX_ENTRIES`].
fn position<T>(list: &[T]) -> u32 {
    list.len() as u32
}

/// The entries of a flat list that belong to one parent.
fn part_of<'l, T>(list: &'l [T], range: &Range<u32>) -> &'l [T] {
    list.get(range.start as usize..range.end as usize).unwrap_or_default()
}

/// Sorts the map entries from `from` on by key; of equal keys the last on the wire wins.
fn sort_map(entries: &mut Pairs<'_>, from: usize) {
    let unsorted = entries[from..].windows(2).any(|pair| pair[0].0 >= pair[1].0);
    if !unsorted {
        return;
    }
    entries[from..].sort_by_key(|(key, _)| *key);
    let mut kept = from;
    for i in from..entries.len() {
        let last_of_key = entries.get(i + 1).is_none_or(|next| next.0 != entries[i].0);
        if last_of_key {
            entries[kept] = entries[i];
            kept += 1;
        }
    }
    entries.truncate(kept);
}

/// An empty list with the allocation of `list`, unless that is huge: one odd object must not pin its size.
fn emptied<T, U>(mut list: Vec<T>) -> Vec<U> {
    if list.capacity() > KEEP_ENTRIES {
        return Vec::new();
    }
    list.clear();
    // The standard library reuses the allocation when both types have the same layout.
    list.into_iter().map(|_| unreachable!("the list is empty")).collect()
}

/// The metadata of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetaFields<'a> {
    /// `metadata.name`.
    pub name: Text<'a>,
    /// `metadata.namespace`.
    pub namespace: Text<'a>,
    /// `metadata.uid`.
    pub uid: Text<'a>,
    /// `metadata.labels`.
    pub labels: Pairs<'a>,
    /// `metadata.annotations`.
    pub annotations: Pairs<'a>,
    /// The first of `metadata.ownerReferences` whose `controller` is true.
    pub controller: Option<OwnerFields<'a>>,
}

/// One of `metadata.ownerReferences`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnerFields<'a> {
    /// `apiVersion`.
    pub api_version: Text<'a>,
    /// `kind`.
    pub kind: Text<'a>,
    /// `name`.
    pub name: Text<'a>,
}

impl<'a> MetaFields<'a> {
    /// Reads the metadata of an object of which nothing else is needed, `PartialObjectMetadata` included.
    ///
    /// # Errors
    /// When the message is malformed.
    pub fn scan(&mut self, object: &'a [u8]) -> Result<(), ScanError> {
        fields(object, "object", |number, field| match number {
            1 => self.scan_message(field.bytes(1)?),
            _ => Ok(()),
        })?;
        self.finish();
        Ok(())
    }

    /// Reads an `ObjectMeta` message; [`finish`](Self::finish) follows when the object has ended.
    fn scan_message(&mut self, message: &'a [u8]) -> Result<(), ScanError> {
        fields(message, "metadata", |number, field| {
            match number {
                1 => self.name = field.bytes(1)?,
                3 => self.namespace = field.bytes(3)?,
                5 => self.uid = field.bytes(5)?,
                11 => push(&mut self.labels, map_entry(field.bytes(11)?)?)?,
                12 => push(&mut self.annotations, map_entry(field.bytes(12)?)?)?,
                13 => {
                    let (owner, controls) = OwnerFields::scan(field.bytes(13)?)?;
                    if controls && self.controller.is_none() {
                        self.controller = Some(owner);
                    }
                }
                _ => {}
            }
            Ok(())
        })
    }

    fn finish(&mut self) {
        sort_map(&mut self.labels, 0);
        sort_map(&mut self.annotations, 0);
    }

    /// Forgets everything but the allocations.
    pub fn recycle<'b>(self) -> MetaFields<'b> {
        MetaFields {
            labels: emptied(self.labels),
            annotations: emptied(self.annotations),
            ..MetaFields::default()
        }
    }
}

impl<'a> OwnerFields<'a> {
    /// The reference, and whether it is the controller's.
    fn scan(message: &'a [u8]) -> Result<(Self, bool), ScanError> {
        let mut owner = Self::default();
        let mut controls = false;
        fields(message, "metadata.ownerReferences", |number, field| {
            match number {
                1 => owner.kind = field.bytes(1)?,
                3 => owner.name = field.bytes(3)?,
                5 => owner.api_version = field.bytes(5)?,
                6 => controls = field.boolean(6)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok((owner, controls))
    }
}

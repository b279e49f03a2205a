use std::ops::Range;

use super::{MetaFields, ScanError, Text, emptied, fields, part_of, position, push};

/// What is read of an Endpoints object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointsFields<'a> {
    /// `metadata`.
    pub meta: MetaFields<'a>,
    /// `subsets`.
    pub subsets: Vec<SubsetFields>,
    addresses: Vec<EndpointAddressFields<'a>>,
    ports: Vec<EndpointPortFields<'a>>,
}

/// One of `subsets`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubsetFields {
    addresses: Range<u32>,
    ports: Range<u32>,
}

/// One of `addresses` or `notReadyAddresses`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndpointAddressFields<'a> {
    /// `ip`.
    pub ip: Text<'a>,
    /// `hostname`.
    pub hostname: Text<'a>,
    /// `nodeName`.
    pub node_name: Text<'a>,
    /// `targetRef`.
    pub target: TargetFields<'a>,
    /// Whether it was one of `addresses`.
    pub ready: bool,
}

/// What is read of an `ObjectReference`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TargetFields<'a> {
    /// `kind`.
    pub kind: Text<'a>,
    /// `namespace`.
    pub namespace: Text<'a>,
    /// `name`.
    pub name: Text<'a>,
}

/// One of a subset's `ports`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndpointPortFields<'a> {
    /// `name`.
    pub name: Text<'a>,
    /// `port`.
    pub number: i32,
    /// `protocol`.
    pub protocol: Text<'a>,
}

impl<'a> EndpointsFields<'a> {
    /// Reads an Endpoints object. `self` must be new or recycled.
    ///
    /// # Errors
    /// When the message is malformed.
    pub fn scan(&mut self, object: &'a [u8]) -> Result<(), ScanError> {
        fields(object, "object", |number, field| match number {
            1 => self.meta.scan_message(field.bytes(1)?),
            2 => self.scan_subset(field.bytes(2)?),
            _ => Ok(()),
        })?;
        self.meta.finish();
        Ok(())
    }

    fn scan_subset(&mut self, message: &'a [u8]) -> Result<(), ScanError> {
        let first_address = position(&self.addresses);
        let first_port = position(&self.ports);
        fields(message, "subsets", |number, field| match number {
            1 => push(&mut self.addresses, EndpointAddressFields::scan(field.bytes(1)?, true)?),
            2 => push(&mut self.addresses, EndpointAddressFields::scan(field.bytes(2)?, false)?),
            3 => push(&mut self.ports, EndpointPortFields::scan(field.bytes(3)?)?),
            _ => Ok(()),
        })?;
        self.addresses[first_address as usize..].sort_by_key(|address| !address.ready);
        let subset = SubsetFields {
            addresses: first_address..position(&self.addresses),
            ports: first_port..position(&self.ports),
        };
        push(&mut self.subsets, subset)
    }

    /// The addresses of one of the subsets, the ready ones first.
    pub fn addresses(&self, subset: &SubsetFields) -> &[EndpointAddressFields<'a>] {
        part_of(&self.addresses, &subset.addresses)
    }

    /// The ports of one of the subsets.
    pub fn ports(&self, subset: &SubsetFields) -> &[EndpointPortFields<'a>] {
        part_of(&self.ports, &subset.ports)
    }

    /// Forgets everything but the allocations.
    pub fn recycle<'b>(self) -> EndpointsFields<'b> {
        EndpointsFields {
            meta: self.meta.recycle(),
            subsets: emptied(self.subsets),
            addresses: emptied(self.addresses),
            ports: emptied(self.ports),
        }
    }
}

impl<'a> EndpointAddressFields<'a> {
    fn scan(message: &'a [u8], ready: bool) -> Result<Self, ScanError> {
        let mut address = Self { ready, ..Self::default() };
        fields(message, "subsets.addresses", |number, field| {
            match number {
                1 => address.ip = field.bytes(1)?,
                2 => address.target.scan(field.bytes(2)?)?,
                3 => address.hostname = field.bytes(3)?,
                4 => address.node_name = field.bytes(4)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(address)
    }
}

impl<'a> TargetFields<'a> {
    pub(super) fn scan(&mut self, message: &'a [u8]) -> Result<(), ScanError> {
        fields(message, "targetRef", |number, field| {
            match number {
                1 => self.kind = field.bytes(1)?,
                2 => self.namespace = field.bytes(2)?,
                3 => self.name = field.bytes(3)?,
                _ => {}
            }
            Ok(())
        })
    }
}

impl<'a> EndpointPortFields<'a> {
    fn scan(message: &'a [u8]) -> Result<Self, ScanError> {
        let mut port = Self::default();
        fields(message, "subsets.ports", |number, field| {
            match number {
                1 => port.name = field.bytes(1)?,
                2 => port.number = field.int32(2)?,
                3 => port.protocol = field.bytes(3)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(port)
    }
}

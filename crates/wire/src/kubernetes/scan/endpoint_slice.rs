use std::ops::Range;

use super::{
    MetaFields, Pairs, ScanError, TargetFields, Text, emptied, fields, map_entry, part_of, position, push,
    sort_map,
};

/// What is read of an EndpointSlice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointSliceFields<'a> {
    /// `metadata`.
    pub meta: MetaFields<'a>,
    /// `addressType`.
    pub address_type: Text<'a>,
    /// `endpoints`.
    pub endpoints: Vec<EndpointFields<'a>>,
    /// `ports`.
    pub ports: Vec<SlicePortFields<'a>>,
    addresses: Vec<Text<'a>>,
    topology: Pairs<'a>,
}

/// One of `endpoints`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointFields<'a> {
    /// `conditions.ready`.
    pub ready: Option<bool>,
    /// `conditions.serving`.
    pub serving: Option<bool>,
    /// `conditions.terminating`.
    pub terminating: Option<bool>,
    /// `hostname`.
    pub hostname: Text<'a>,
    /// `targetRef`.
    pub target: TargetFields<'a>,
    /// `nodeName`.
    pub node_name: Text<'a>,
    /// `zone`.
    pub zone: Text<'a>,
    addresses: Range<u32>,
    topology: Range<u32>,
}

/// One of `ports`. All its fields are pointers in Go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlicePortFields<'a> {
    /// `name`.
    pub name: Text<'a>,
    /// `protocol`.
    pub protocol: Text<'a>,
    /// `port`; `None` means all ports.
    pub number: Option<i32>,
    /// `appProtocol`.
    pub app_protocol: Text<'a>,
}

impl<'a> EndpointSliceFields<'a> {
    /// Reads an EndpointSlice. `self` must be new or recycled.
    ///
    /// # Errors
    /// When the message is malformed.
    pub fn scan(&mut self, object: &'a [u8]) -> Result<(), ScanError> {
        fields(object, "object", |number, field| {
            match number {
                1 => self.meta.scan_message(field.bytes(1)?)?,
                2 => self.scan_endpoint(field.bytes(2)?)?,
                3 => push(&mut self.ports, SlicePortFields::scan(field.bytes(3)?)?)?,
                4 => self.address_type = field.bytes(4)?,
                _ => {}
            }
            Ok(())
        })?;
        self.meta.finish();
        Ok(())
    }

    fn scan_endpoint(&mut self, message: &'a [u8]) -> Result<(), ScanError> {
        let mut endpoint = EndpointFields {
            addresses: position(&self.addresses)..0,
            topology: position(&self.topology)..0,
            ..EndpointFields::default()
        };
        fields(message, "endpoints", |number, field| {
            match number {
                1 => push(&mut self.addresses, field.bytes(1)?)?,
                2 => endpoint.scan_conditions(field.bytes(2)?)?,
                3 => endpoint.hostname = field.bytes(3)?,
                4 => endpoint.target.scan(field.bytes(4)?)?,
                5 => push(&mut self.topology, map_entry(field.bytes(5)?)?)?,
                6 => endpoint.node_name = field.bytes(6)?,
                7 => endpoint.zone = field.bytes(7)?,
                _ => {}
            }
            Ok(())
        })?;
        sort_map(&mut self.topology, endpoint.topology.start as usize);
        endpoint.addresses.end = position(&self.addresses);
        endpoint.topology.end = position(&self.topology);
        push(&mut self.endpoints, endpoint)
    }

    /// The addresses of one of the endpoints.
    pub fn addresses(&self, endpoint: &EndpointFields<'a>) -> &[Text<'a>] {
        part_of(&self.addresses, &endpoint.addresses)
    }

    /// The `deprecatedTopology` of one of the endpoints, sorted by key.
    pub fn topology(&self, endpoint: &EndpointFields<'a>) -> &[(Text<'a>, Text<'a>)] {
        part_of(&self.topology, &endpoint.topology)
    }

    /// Forgets everything but the allocations.
    pub fn recycle<'b>(self) -> EndpointSliceFields<'b> {
        EndpointSliceFields {
            meta: self.meta.recycle(),
            address_type: b"",
            endpoints: emptied(self.endpoints),
            ports: emptied(self.ports),
            addresses: emptied(self.addresses),
            topology: emptied(self.topology),
        }
    }
}

impl<'a> EndpointFields<'a> {
    fn scan_conditions(&mut self, message: &'a [u8]) -> Result<(), ScanError> {
        fields(message, "endpoints.conditions", |number, field| {
            match number {
                1 => self.ready = Some(field.boolean(1)?),
                2 => self.serving = Some(field.boolean(2)?),
                3 => self.terminating = Some(field.boolean(3)?),
                _ => {}
            }
            Ok(())
        })
    }
}

impl<'a> SlicePortFields<'a> {
    fn scan(message: &'a [u8]) -> Result<Self, ScanError> {
        let mut port = Self::default();
        fields(message, "ports", |number, field| {
            match number {
                1 => port.name = field.bytes(1)?,
                2 => port.protocol = field.bytes(2)?,
                3 => port.number = Some(field.int32(3)?),
                4 => port.app_protocol = field.bytes(4)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(port)
    }
}

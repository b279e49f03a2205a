use super::{MetaFields, Pairs, ScanError, Text, emptied, fields, push};

/// What is read of a Node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFields<'a> {
    /// `metadata`.
    pub meta: MetaFields<'a>,
    /// `spec.providerID`.
    pub provider_id: Text<'a>,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// `status.conditions` as (type, status), in the object's order.
    pub conditions: Pairs<'a>,
    /// `status.addresses` as (type, address), in the object's order.
    pub addresses: Pairs<'a>,
    /// `status.daemonEndpoints.kubeletEndpoint.Port`; 0 when absent.
    pub kubelet_port: i32,
}

impl<'a> NodeFields<'a> {
    /// Reads a Node. `self` must be new or recycled.
    ///
    /// # Errors
    /// When the message is malformed.
    pub fn scan(&mut self, object: &'a [u8]) -> Result<(), ScanError> {
        fields(object, "object", |number, field| match number {
            1 => self.meta.scan_message(field.bytes(1)?),
            2 => self.scan_spec(field.bytes(2)?),
            3 => self.scan_status(field.bytes(3)?),
            _ => Ok(()),
        })?;
        self.meta.finish();
        Ok(())
    }

    fn scan_spec(&mut self, message: &'a [u8]) -> Result<(), ScanError> {
        fields(message, "spec", |number, field| {
            match number {
                3 => self.provider_id = field.bytes(3)?,
                4 => self.unschedulable = field.boolean(4)?,
                _ => {}
            }
            Ok(())
        })
    }

    fn scan_status(&mut self, message: &'a [u8]) -> Result<(), ScanError> {
        fields(message, "status", |number, field| {
            match number {
                4 => push(&mut self.conditions, first_two(field.bytes(4)?, "status.conditions")?)?,
                5 => push(&mut self.addresses, first_two(field.bytes(5)?, "status.addresses")?)?,
                6 => fields(field.bytes(6)?, "status.daemonEndpoints", |number, field| match number {
                    1 => self.scan_kubelet_endpoint(field.bytes(1)?),
                    _ => Ok(()),
                })?,
                _ => {}
            }
            Ok(())
        })
    }

    fn scan_kubelet_endpoint(&mut self, message: &'a [u8]) -> Result<(), ScanError> {
        fields(message, "status.daemonEndpoints.kubeletEndpoint", |number, field| {
            if number == 1 {
                self.kubelet_port = field.int32(1)?;
            }
            Ok(())
        })
    }

    /// Forgets everything but the allocations.
    pub fn recycle<'b>(self) -> NodeFields<'b> {
        NodeFields {
            meta: self.meta.recycle(),
            conditions: emptied(self.conditions),
            addresses: emptied(self.addresses),
            ..NodeFields::default()
        }
    }
}

/// Text of fields 1 and 2.
fn first_two<'a>(message: &'a [u8], part: &'static str) -> Result<(Text<'a>, Text<'a>), ScanError> {
    let (mut first, mut second): (Text<'a>, Text<'a>) = (b"", b"");
    fields(message, part, |number, field| {
        match number {
            1 => first = field.bytes(1)?,
            2 => second = field.bytes(2)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((first, second))
}

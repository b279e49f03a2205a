use super::{MetaFields, ScanError, Text, emptied, fields, push};

/// What is read of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceFields<'a> {
    /// `metadata`.
    pub meta: MetaFields<'a>,
    /// `spec.type`.
    pub service_type: Text<'a>,
    /// `spec.clusterIP`.
    pub cluster_ip: Text<'a>,
    /// `spec.loadBalancerIP`.
    pub load_balancer_ip: Text<'a>,
    /// `spec.externalName`.
    pub external_name: Text<'a>,
    /// `spec.ipFamilyPolicy`.
    pub ip_family_policy: Text<'a>,
    /// The first of `spec.ipFamilies`.
    pub primary_ip_family: Text<'a>,
    /// The `ip` of each of `status.loadBalancer.ingress` that has one.
    pub ingress_ips: Vec<Text<'a>>,
    /// `spec.ports`.
    pub ports: Vec<ServicePortFields<'a>>,
}

/// What is read of a service's port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServicePortFields<'a> {
    /// `name`.
    pub name: Text<'a>,
    /// `protocol`.
    pub protocol: Text<'a>,
    /// `port`.
    pub number: i32,
}

impl<'a> ServiceFields<'a> {
    /// Reads a Service. `self` must be new or recycled.
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
                1 => push(&mut self.ports, ServicePortFields::scan(field.bytes(1)?)?)?,
                3 => self.cluster_ip = field.bytes(3)?,
                4 => self.service_type = field.bytes(4)?,
                8 => self.load_balancer_ip = field.bytes(8)?,
                10 => self.external_name = field.bytes(10)?,
                17 => self.ip_family_policy = field.bytes(17)?,
                19 if self.primary_ip_family.is_empty() => self.primary_ip_family = field.bytes(19)?,
                _ => {}
            }
            Ok(())
        })
    }

    fn scan_status(&mut self, message: &'a [u8]) -> Result<(), ScanError> {
        fields(message, "status", |number, field| match number {
            1 => self.scan_load_balancer(field.bytes(1)?),
            _ => Ok(()),
        })
    }

    fn scan_load_balancer(&mut self, message: &'a [u8]) -> Result<(), ScanError> {
        fields(message, "status.loadBalancer", |number, field| match number {
            1 => self.scan_ingress(field.bytes(1)?),
            _ => Ok(()),
        })
    }

    fn scan_ingress(&mut self, message: &'a [u8]) -> Result<(), ScanError> {
        let mut ip: Text<'a> = b"";
        fields(message, "status.loadBalancer.ingress", |number, field| {
            if number == 1 {
                ip = field.bytes(1)?;
            }
            Ok(())
        })?;
        if ip.is_empty() { Ok(()) } else { push(&mut self.ingress_ips, ip) }
    }

    /// Forgets everything but the allocations.
    pub fn recycle<'b>(self) -> ServiceFields<'b> {
        ServiceFields {
            meta: self.meta.recycle(),
            ports: emptied(self.ports),
            ingress_ips: emptied(self.ingress_ips),
            ..ServiceFields::default()
        }
    }
}

impl<'a> ServicePortFields<'a> {
    fn scan(message: &'a [u8]) -> Result<Self, ScanError> {
        let mut port = Self::default();
        fields(message, "spec.ports", |number, field| {
            match number {
                1 => port.name = field.bytes(1)?,
                2 => port.protocol = field.bytes(2)?,
                3 => port.number = field.int32(3)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(port)
    }
}

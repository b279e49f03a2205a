use std::ops::Range;

use super::{MetaFields, ScanError, Text, emptied, fields, part_of, position, push};

/// What is read of a Pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFields<'a> {
    /// `metadata`.
    pub meta: MetaFields<'a>,
    /// `spec.nodeName`.
    pub node_name: Text<'a>,
    /// `spec.restartPolicy`.
    pub restart_policy: Text<'a>,
    /// `spec.schedulerName`.
    pub scheduler_name: Text<'a>,
    /// `spec.serviceAccountName`.
    pub service_account_name: Text<'a>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `spec.containers`.
    pub containers: Vec<ContainerFields<'a>>,
    /// `spec.initContainers`.
    pub init_containers: Vec<ContainerFields<'a>>,
    /// `status.phase`.
    pub phase: Text<'a>,
    /// `status.hostIP`.
    pub host_ip: Text<'a>,
    /// `status.podIP`.
    pub pod_ip: Text<'a>,
    /// `status.nominatedNodeName`.
    pub nominated_node_name: Text<'a>,
    /// Status of the first of `status.conditions` with the type `Ready`.
    pub ready: Option<Text<'a>>,
    /// `status.containerStatuses`.
    pub container_statuses: Vec<ContainerStatusFields<'a>>,
    /// `status.initContainerStatuses`.
    pub init_container_statuses: Vec<ContainerStatusFields<'a>>,
    ports: Vec<ContainerPortFields<'a>>,
}

/// What is read of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerFields<'a> {
    /// `name`.
    pub name: Text<'a>,
    /// `image`.
    pub image: Text<'a>,
    ports: Range<u32>,
}

/// What is read of a container's port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContainerPortFields<'a> {
    /// `name`.
    pub name: Text<'a>,
    /// `containerPort`.
    pub number: i32,
    /// `protocol`.
    pub protocol: Text<'a>,
}

/// What is read of a container's status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContainerStatusFields<'a> {
    /// `name`.
    pub name: Text<'a>,
    /// `containerID`.
    pub container_id: Text<'a>,
}

impl<'a> PodFields<'a> {
    /// Reads a Pod. `self` must be new or recycled.
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
                2 => {
                    let container = ContainerFields::scan(field.bytes(2)?, &mut self.ports)?;
                    push(&mut self.containers, container)?;
                }
                3 => self.restart_policy = field.bytes(3)?,
                8 => self.service_account_name = field.bytes(8)?,
                10 => self.node_name = field.bytes(10)?,
                11 => self.host_network = field.boolean(11)?,
                19 => self.scheduler_name = field.bytes(19)?,
                20 => {
                    let container = ContainerFields::scan(field.bytes(20)?, &mut self.ports)?;
                    push(&mut self.init_containers, container)?;
                }
                _ => {}
            }
            Ok(())
        })
    }

    fn scan_status(&mut self, message: &'a [u8]) -> Result<(), ScanError> {
        fields(message, "status", |number, field| {
            match number {
                1 => self.phase = field.bytes(1)?,
                2 if self.ready.is_none() => self.ready = ready_condition(field.bytes(2)?)?,
                5 => self.host_ip = field.bytes(5)?,
                6 => self.pod_ip = field.bytes(6)?,
                8 => push(&mut self.container_statuses, ContainerStatusFields::scan(field.bytes(8)?)?)?,
                10 => {
                    push(&mut self.init_container_statuses, ContainerStatusFields::scan(field.bytes(10)?)?)?
                }
                11 => self.nominated_node_name = field.bytes(11)?,
                _ => {}
            }
            Ok(())
        })
    }

    /// The ports of one of this pod's containers.
    pub fn ports(&self, container: &ContainerFields<'a>) -> &[ContainerPortFields<'a>] {
        part_of(&self.ports, &container.ports)
    }

    /// Forgets everything but the allocations.
    pub fn recycle<'b>(self) -> PodFields<'b> {
        PodFields {
            meta: self.meta.recycle(),
            containers: emptied(self.containers),
            init_containers: emptied(self.init_containers),
            container_statuses: emptied(self.container_statuses),
            init_container_statuses: emptied(self.init_container_statuses),
            ports: emptied(self.ports),
            ..PodFields::default()
        }
    }
}

impl<'a> ContainerFields<'a> {
    fn scan(message: &'a [u8], ports: &mut Vec<ContainerPortFields<'a>>) -> Result<Self, ScanError> {
        let mut container = Self { ports: position(ports)..0, ..Self::default() };
        fields(message, "spec.containers", |number, field| {
            match number {
                1 => container.name = field.bytes(1)?,
                2 => container.image = field.bytes(2)?,
                6 => push(ports, ContainerPortFields::scan(field.bytes(6)?)?)?,
                _ => {}
            }
            Ok(())
        })?;
        container.ports.end = position(ports);
        Ok(container)
    }
}

impl<'a> ContainerPortFields<'a> {
    fn scan(message: &'a [u8]) -> Result<Self, ScanError> {
        let mut port = Self::default();
        fields(message, "spec.containers.ports", |number, field| {
            match number {
                1 => port.name = field.bytes(1)?,
                3 => port.number = field.int32(3)?,
                4 => port.protocol = field.bytes(4)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(port)
    }
}

impl<'a> ContainerStatusFields<'a> {
    fn scan(message: &'a [u8]) -> Result<Self, ScanError> {
        let mut status = Self::default();
        fields(message, "status.containerStatuses", |number, field| {
            match number {
                1 => status.name = field.bytes(1)?,
                8 => status.container_id = field.bytes(8)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(status)
    }
}

/// The status of a PodCondition whose type is Ready.
fn ready_condition(message: &[u8]) -> Result<Option<Text<'_>>, ScanError> {
    let (mut kind, mut status): (Text<'_>, Text<'_>) = (b"", b"");
    fields(message, "status.conditions", |number, field| {
        match number {
            1 => kind = field.bytes(1)?,
            2 => status = field.bytes(2)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((kind == b"Ready").then_some(status))
}

//! Plain structs for the objects of a cluster, to be encoded as the Go encoder of Kubernetes does it.
//!
//! For the simulated API server, benchmarks and tests: they cover the fields that Outrigger reads, and
//! [`ObjectMeta::managed_fields`] as ballast. Fields that are not pointers in Go are written even when empty.

use std::collections::BTreeMap;

use super::ResourceKind;
use crate::protobuf::Writer;

/// An object that can be encoded.
pub trait Object {
    /// The resource it belongs to.
    fn resource(&self) -> ResourceKind;
    /// Its metadata.
    fn meta(&self) -> &ObjectMeta;
    /// Its metadata, to be changed.
    fn meta_mut(&mut self) -> &mut ObjectMeta;
    /// Appends its message (without envelope).
    fn encode(&self, into: &mut Vec<u8>);

    /// Its message (without envelope).
    fn to_message(&self) -> Vec<u8> {
        let mut message = Vec::new();
        self.encode(&mut message);
        message
    }

    /// Appends its `meta.k8s.io/v1` PartialObjectMetadata message: its metadata alone.
    fn encode_metadata(&self, into: &mut Vec<u8>) {
        Writer::new(into).message(1, |writer| self.meta().encode(writer));
    }
}

/// `meta/v1` ObjectMeta.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectMeta {
    /// `name`.
    pub name: String,
    /// `generateName`.
    pub generate_name: String,
    /// `namespace`; empty for cluster-scoped objects.
    pub namespace: String,
    /// `uid`.
    pub uid: String,
    /// `resourceVersion`.
    pub resource_version: String,
    /// `generation`.
    pub generation: i64,
    /// `creationTimestamp` in seconds since the epoch.
    pub creation_timestamp: Option<i64>,
    /// `deletionTimestamp` in seconds since the epoch.
    pub deletion_timestamp: Option<i64>,
    /// `labels`.
    pub labels: BTreeMap<String, String>,
    /// `annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `ownerReferences`.
    pub owner_references: Vec<OwnerReference>,
    /// `finalizers`.
    pub finalizers: Vec<String>,
    /// `managedFields`, each given as its manager and the JSON of its `fieldsV1`.
    pub managed_fields: Vec<(String, Vec<u8>)>,
}

impl ObjectMeta {
    /// Metadata with a name and a namespace.
    pub fn named(namespace: &str, name: &str) -> Self {
        Self { name: name.to_owned(), namespace: namespace.to_owned(), ..Self::default() }
    }

    /// Writes the fields of the ObjectMeta message.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.string(1, &self.name);
        writer.string(2, &self.generate_name);
        writer.string(3, &self.namespace);
        writer.string(4, "");
        writer.string(5, &self.uid);
        writer.string(6, &self.resource_version);
        writer.int(7, self.generation);
        writer.message(8, |time| encode_time(self.creation_timestamp, time));
        if self.deletion_timestamp.is_some() {
            writer.message(9, |time| encode_time(self.deletion_timestamp, time));
        }
        encode_map(11, &self.labels, writer);
        encode_map(12, &self.annotations, writer);
        for owner in &self.owner_references {
            writer.message(13, |writer| owner.encode(writer));
        }
        for finalizer in &self.finalizers {
            writer.string(14, finalizer);
        }
        for (manager, fields) in &self.managed_fields {
            writer.message(17, |entry| {
                entry.string(1, manager);
                entry.string(2, "Update");
                entry.string(3, "v1");
                entry.message(4, |time| encode_time(self.creation_timestamp, time));
                entry.string(6, "FieldsV1");
                entry.message(7, |raw| raw.bytes(1, fields));
                entry.string(8, "");
            });
        }
    }
}

/// `meta/v1` Time; the zero time of Go is an empty message.
fn encode_time(seconds: Option<i64>, writer: &mut Writer<'_>) {
    if let Some(seconds) = seconds {
        writer.int(1, seconds);
        writer.int(2, 0);
    }
}

fn encode_map(field: u32, map: &BTreeMap<String, String>, writer: &mut Writer<'_>) {
    for (key, value) in map {
        writer.message(field, |entry| {
            entry.string(1, key);
            entry.string(2, value);
        });
    }
}

/// A string that is a pointer in Go: absent when empty.
fn pointer(field: u32, value: &str, writer: &mut Writer<'_>) {
    if !value.is_empty() {
        writer.string(field, value);
    }
}

/// `meta/v1` OwnerReference.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnerReference {
    /// `apiVersion`.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// `name`.
    pub name: String,
    /// `uid`.
    pub uid: String,
    /// `controller`.
    pub controller: Option<bool>,
}

impl OwnerReference {
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.string(1, &self.kind);
        writer.string(3, &self.name);
        writer.string(4, &self.uid);
        writer.string(5, &self.api_version);
        if let Some(controller) = self.controller {
            writer.boolean(6, controller);
            writer.boolean(7, controller);
        }
    }
}

/// `type` and `status` of a condition, with the times that heartbeats change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// `type`.
    pub kind: String,
    /// `status`: `True`, `False` or `Unknown`.
    pub status: String,
    /// `lastHeartbeatTime` (node) or `lastProbeTime` (pod), in seconds since the epoch.
    pub last_heartbeat: Option<i64>,
    /// `lastTransitionTime` in seconds since the epoch.
    pub last_transition: Option<i64>,
    /// `reason`.
    pub reason: String,
    /// `message`.
    pub message: String,
}

impl Condition {
    /// NodeCondition and PodCondition have the same field numbers.
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.string(1, &self.kind);
        writer.string(2, &self.status);
        writer.message(3, |time| encode_time(self.last_heartbeat, time));
        writer.message(4, |time| encode_time(self.last_transition, time));
        writer.string(5, &self.reason);
        writer.string(6, &self.message);
    }
}

/// `v1` Pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pod {
    /// `metadata`.
    pub meta: ObjectMeta,
    /// `spec.initContainers`, with the IDs that `status.initContainerStatuses` has.
    pub init_containers: Vec<Container>,
    /// `spec.containers`, with the IDs that `status.containerStatuses` has.
    pub containers: Vec<Container>,
    /// `spec.restartPolicy`.
    pub restart_policy: String,
    /// `spec.serviceAccountName`.
    pub service_account_name: String,
    /// `spec.nodeName`.
    pub node_name: String,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `spec.schedulerName`.
    pub scheduler_name: String,
    /// `status.phase`.
    pub phase: String,
    /// `status.conditions`.
    pub conditions: Vec<Condition>,
    /// `status.hostIP`.
    pub host_ip: String,
    /// `status.podIP`, also the only one of `podIPs`.
    pub pod_ip: String,
    /// `status.nominatedNodeName`.
    pub nominated_node_name: String,
    /// `status.startTime` in seconds since the epoch.
    pub start_time: Option<i64>,
}

/// `v1` Container and its status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Container {
    /// `name`.
    pub name: String,
    /// `image`.
    pub image: String,
    /// `ports`.
    pub ports: Vec<ContainerPort>,
    /// `containerID` of its status; there is no status when it is empty.
    pub container_id: String,
    /// `ready` of its status.
    pub ready: bool,
    /// `restartCount` of its status.
    pub restart_count: i32,
}

/// `v1` ContainerPort.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerPort {
    /// `name`.
    pub name: String,
    /// `containerPort`.
    pub number: i32,
    /// `protocol`.
    pub protocol: String,
}

impl Container {
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.string(1, &self.name);
        writer.string(2, &self.image);
        writer.string(5, "");
        for port in &self.ports {
            writer.message(6, |writer| {
                writer.string(1, &port.name);
                writer.int(2, 0);
                writer.int(3, i64::from(port.number));
                writer.string(4, &port.protocol);
                writer.string(5, "");
            });
        }
        writer.message(8, |_| {});
        writer.string(13, "/dev/termination-log");
        writer.string(14, "IfNotPresent");
        for field in 16..=18 {
            writer.boolean(field, false);
        }
        writer.string(20, "File");
    }

    fn encode_status(&self, writer: &mut Writer<'_>) {
        writer.string(1, &self.name);
        writer.message(2, |_| {});
        writer.message(3, |_| {});
        writer.boolean(4, self.ready);
        writer.int(5, i64::from(self.restart_count));
        writer.string(6, &self.image);
        writer.string(7, "");
        writer.string(8, &self.container_id);
        writer.boolean(9, self.ready);
    }
}

impl Pod {
    fn encode_spec(&self, writer: &mut Writer<'_>) {
        for container in &self.containers {
            writer.message(2, |writer| container.encode(writer));
        }
        writer.string(3, &self.restart_policy);
        writer.int(4, 30);
        writer.string(6, "ClusterFirst");
        writer.string(8, &self.service_account_name);
        writer.string(9, &self.service_account_name);
        writer.string(10, &self.node_name);
        writer.boolean(11, self.host_network);
        writer.boolean(12, false);
        writer.boolean(13, false);
        writer.string(16, "");
        writer.string(17, "");
        writer.string(19, &self.scheduler_name);
        for container in &self.init_containers {
            writer.message(20, |writer| container.encode(writer));
        }
        writer.string(24, "");
    }

    fn encode_status(&self, writer: &mut Writer<'_>) {
        writer.string(1, &self.phase);
        for condition in &self.conditions {
            writer.message(2, |writer| condition.encode(writer));
        }
        writer.string(3, "");
        writer.string(4, "");
        writer.string(5, &self.host_ip);
        writer.string(6, &self.pod_ip);
        if self.start_time.is_some() {
            writer.message(7, |time| encode_time(self.start_time, time));
        }
        for container in self.containers.iter().filter(|container| !container.container_id.is_empty()) {
            writer.message(8, |writer| container.encode_status(writer));
        }
        writer.string(9, "BestEffort");
        for container in self.init_containers.iter().filter(|container| !container.container_id.is_empty()) {
            writer.message(10, |writer| container.encode_status(writer));
        }
        writer.string(11, &self.nominated_node_name);
        if !self.pod_ip.is_empty() {
            writer.message(12, |writer| writer.string(1, &self.pod_ip));
        }
        writer.string(14, "");
    }
}

/// `v1` Node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// `metadata`.
    pub meta: ObjectMeta,
    /// `spec.podCIDR`.
    pub pod_cidr: String,
    /// `spec.providerID`.
    pub provider_id: String,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// `status.conditions`.
    pub conditions: Vec<Condition>,
    /// `status.addresses` as (type, address).
    pub addresses: Vec<(String, String)>,
    /// `status.daemonEndpoints.kubeletEndpoint.Port`.
    pub kubelet_port: i32,
}

impl Node {
    fn encode_spec(&self, writer: &mut Writer<'_>) {
        writer.string(1, &self.pod_cidr);
        writer.string(2, "");
        writer.string(3, &self.provider_id);
        writer.boolean(4, self.unschedulable);
        if !self.pod_cidr.is_empty() {
            writer.string(7, &self.pod_cidr);
        }
    }

    fn encode_status(&self, writer: &mut Writer<'_>) {
        writer.string(3, "");
        for condition in &self.conditions {
            writer.message(4, |writer| condition.encode(writer));
        }
        for (kind, address) in &self.addresses {
            writer.message(5, |writer| {
                writer.string(1, kind);
                writer.string(2, address);
            });
        }
        writer.message(6, |endpoints| {
            endpoints.message(1, |endpoint| endpoint.int(1, i64::from(self.kubelet_port)));
        });
    }
}

/// `v1` Service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// `metadata`.
    pub meta: ObjectMeta,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// `spec.selector`.
    pub selector: BTreeMap<String, String>,
    /// `spec.clusterIP`.
    pub cluster_ip: String,
    /// `spec.type`.
    pub service_type: String,
    /// `spec.loadBalancerIP`.
    pub load_balancer_ip: String,
    /// `spec.externalName`.
    pub external_name: String,
    /// `spec.ipFamilyPolicy`.
    pub ip_family_policy: String,
    /// `spec.ipFamilies`.
    pub ip_families: Vec<String>,
    /// The `ip` of each of `status.loadBalancer.ingress`.
    pub ingress_ips: Vec<String>,
}

/// `v1` ServicePort.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServicePort {
    /// `name`.
    pub name: String,
    /// `protocol`.
    pub protocol: String,
    /// `port`.
    pub number: i32,
    /// `targetPort`.
    pub target_port: IntOrString,
}

/// `util/intstr` IntOrString.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntOrString {
    /// A number.
    Int(i32),
    /// A name.
    Text(String),
}

impl Default for IntOrString {
    fn default() -> Self {
        Self::Int(0)
    }
}

impl IntOrString {
    fn encode(&self, writer: &mut Writer<'_>) {
        let (kind, number, text) = match self {
            Self::Int(number) => (0, *number, ""),
            Self::Text(text) => (1, 0, text.as_str()),
        };
        writer.int(1, kind);
        writer.int(2, i64::from(number));
        writer.string(3, text);
    }
}

impl Service {
    fn encode_spec(&self, writer: &mut Writer<'_>) {
        for port in &self.ports {
            writer.message(1, |writer| {
                writer.string(1, &port.name);
                writer.string(2, &port.protocol);
                writer.int(3, i64::from(port.number));
                writer.message(4, |writer| port.target_port.encode(writer));
                writer.int(5, 0);
            });
        }
        encode_map(2, &self.selector, writer);
        writer.string(3, &self.cluster_ip);
        writer.string(4, &self.service_type);
        writer.string(7, "None");
        writer.string(8, &self.load_balancer_ip);
        writer.string(10, &self.external_name);
        writer.string(11, "");
        writer.int(12, 0);
        writer.boolean(13, false);
        if !self.ip_family_policy.is_empty() {
            writer.string(17, &self.ip_family_policy);
        }
        for family in &self.ip_families {
            writer.string(19, family);
        }
    }

    fn encode_status(&self, writer: &mut Writer<'_>) {
        writer.message(1, |load_balancer| {
            for ip in &self.ingress_ips {
                load_balancer.message(1, |ingress| {
                    ingress.string(1, ip);
                    ingress.string(2, "");
                });
            }
        });
    }
}

/// What an endpoint address stands for: `v1` ObjectReference.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetReference {
    /// `kind`.
    pub kind: String,
    /// `namespace`.
    pub namespace: String,
    /// `name`.
    pub name: String,
    /// `uid`.
    pub uid: String,
}

impl TargetReference {
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.string(1, &self.kind);
        writer.string(2, &self.namespace);
        writer.string(3, &self.name);
        writer.string(4, &self.uid);
        for field in 5..=7 {
            writer.string(field, "");
        }
    }
}

/// `v1` Endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoints {
    /// `metadata`.
    pub meta: ObjectMeta,
    /// `subsets`.
    pub subsets: Vec<EndpointSubset>,
}

/// `v1` EndpointSubset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointSubset {
    /// `addresses`.
    pub addresses: Vec<EndpointAddress>,
    /// `notReadyAddresses`.
    pub not_ready_addresses: Vec<EndpointAddress>,
    /// `ports`.
    pub ports: Vec<EndpointPort>,
}

/// `v1` EndpointAddress.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointAddress {
    /// `ip`.
    pub ip: String,
    /// `hostname`.
    pub hostname: String,
    /// `nodeName`.
    pub node_name: String,
    /// `targetRef`.
    pub target: Option<TargetReference>,
}

/// `v1` EndpointPort.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointPort {
    /// `name`.
    pub name: String,
    /// `port`.
    pub number: i32,
    /// `protocol`.
    pub protocol: String,
}

impl EndpointSubset {
    fn encode(&self, writer: &mut Writer<'_>) {
        for (field, addresses) in [(1, &self.addresses), (2, &self.not_ready_addresses)] {
            for address in addresses {
                writer.message(field, |writer| address.encode(writer));
            }
        }
        for port in &self.ports {
            writer.message(3, |writer| {
                writer.string(1, &port.name);
                writer.int(2, i64::from(port.number));
                writer.string(3, &port.protocol);
            });
        }
    }
}

impl EndpointAddress {
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.string(1, &self.ip);
        if let Some(target) = &self.target {
            writer.message(2, |writer| target.encode(writer));
        }
        writer.string(3, &self.hostname);
        pointer(4, &self.node_name, writer);
    }
}

/// `discovery.k8s.io/v1` EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointSlice {
    /// `metadata`; the label `kubernetes.io/service-name` names the service.
    pub meta: ObjectMeta,
    /// `addressType`.
    pub address_type: String,
    /// `endpoints`.
    pub endpoints: Vec<Endpoint>,
    /// `ports`.
    pub ports: Vec<SlicePort>,
}

/// One of a slice's `endpoints`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoint {
    /// `addresses`.
    pub addresses: Vec<String>,
    /// `conditions.ready`.
    pub ready: Option<bool>,
    /// `conditions.serving`.
    pub serving: Option<bool>,
    /// `conditions.terminating`.
    pub terminating: Option<bool>,
    /// `hostname`.
    pub hostname: String,
    /// `targetRef`.
    pub target: Option<TargetReference>,
    /// `deprecatedTopology`.
    pub topology: BTreeMap<String, String>,
    /// `nodeName`.
    pub node_name: String,
    /// `zone`.
    pub zone: String,
}

/// One of a slice's `ports`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SlicePort {
    /// `name`; a pointer that endpointslice controllers set even when empty.
    pub name: String,
    /// `protocol`.
    pub protocol: String,
    /// `port`.
    pub number: Option<i32>,
    /// `appProtocol`.
    pub app_protocol: String,
}

impl Endpoint {
    fn encode(&self, writer: &mut Writer<'_>) {
        for address in &self.addresses {
            writer.string(1, address);
        }
        writer.message(2, |conditions| {
            for (field, condition) in [(1, self.ready), (2, self.serving), (3, self.terminating)] {
                if let Some(value) = condition {
                    conditions.boolean(field, value);
                }
            }
        });
        pointer(3, &self.hostname, writer);
        if let Some(target) = &self.target {
            writer.message(4, |writer| target.encode(writer));
        }
        encode_map(5, &self.topology, writer);
        pointer(6, &self.node_name, writer);
        pointer(7, &self.zone, writer);
    }
}

impl SlicePort {
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.string(1, &self.name);
        pointer(2, &self.protocol, writer);
        if let Some(number) = self.number {
            writer.int(3, i64::from(number));
        }
        pointer(4, &self.app_protocol, writer);
    }
}

/// `networking.k8s.io/v1` Ingress.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ingress {
    /// `metadata`.
    pub meta: ObjectMeta,
    /// `spec.ingressClassName`.
    pub class_name: String,
    /// `spec.tls`, each given as its `hosts`.
    pub tls: Vec<Vec<String>>,
    /// `spec.rules`.
    pub rules: Vec<IngressRule>,
}

/// One of an ingress' `rules`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IngressRule {
    /// `host`.
    pub host: String,
    /// `http.paths`, each given as its `path`; `None` when there is no `http`.
    pub paths: Option<Vec<String>>,
}

impl Ingress {
    fn encode_spec(&self, writer: &mut Writer<'_>) {
        for hosts in &self.tls {
            writer.message(2, |writer| {
                for host in hosts {
                    writer.string(1, host);
                }
                writer.string(2, "");
            });
        }
        for rule in &self.rules {
            writer.message(3, |writer| rule.encode(writer));
        }
        pointer(4, &self.class_name, writer);
    }
}

impl IngressRule {
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.string(1, &self.host);
        writer.message(2, |value| {
            let Some(paths) = &self.paths else { return };
            value.message(1, |http| {
                for path in paths {
                    http.message(1, |writer| {
                        writer.string(1, path);
                        writer.message(2, |_| {});
                        writer.string(3, "Prefix");
                    });
                }
            });
        });
    }
}

/// `v1` Namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Namespace {
    /// `metadata`.
    pub meta: ObjectMeta,
    /// `status.phase`.
    pub phase: String,
}

/// An object of which only the metadata matters: ReplicaSet, Job or CronJob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerObject {
    /// Which of them.
    pub resource: ResourceKind,
    /// `metadata`.
    pub meta: ObjectMeta,
}

/// The parts of [`Object`] that are the same for every struct with a `meta` field.
macro_rules! object_meta_access {
    () => {
        fn meta(&self) -> &ObjectMeta {
            &self.meta
        }

        fn meta_mut(&mut self) -> &mut ObjectMeta {
            &mut self.meta
        }
    };
}

impl Object for Pod {
    object_meta_access!();

    fn resource(&self) -> ResourceKind {
        ResourceKind::Pod
    }

    fn encode(&self, into: &mut Vec<u8>) {
        let mut writer = Writer::new(into);
        writer.message(1, |writer| self.meta.encode(writer));
        writer.message(2, |writer| self.encode_spec(writer));
        writer.message(3, |writer| self.encode_status(writer));
    }
}

impl Object for Node {
    object_meta_access!();

    fn resource(&self) -> ResourceKind {
        ResourceKind::Node
    }

    fn encode(&self, into: &mut Vec<u8>) {
        let mut writer = Writer::new(into);
        writer.message(1, |writer| self.meta.encode(writer));
        writer.message(2, |writer| self.encode_spec(writer));
        writer.message(3, |writer| self.encode_status(writer));
    }
}

impl Object for Service {
    object_meta_access!();

    fn resource(&self) -> ResourceKind {
        ResourceKind::Service
    }

    fn encode(&self, into: &mut Vec<u8>) {
        let mut writer = Writer::new(into);
        writer.message(1, |writer| self.meta.encode(writer));
        writer.message(2, |writer| self.encode_spec(writer));
        writer.message(3, |writer| self.encode_status(writer));
    }
}

impl Object for Endpoints {
    object_meta_access!();

    fn resource(&self) -> ResourceKind {
        ResourceKind::Endpoints
    }

    fn encode(&self, into: &mut Vec<u8>) {
        let mut writer = Writer::new(into);
        writer.message(1, |writer| self.meta.encode(writer));
        for subset in &self.subsets {
            writer.message(2, |writer| subset.encode(writer));
        }
    }
}

impl Object for EndpointSlice {
    object_meta_access!();

    fn resource(&self) -> ResourceKind {
        ResourceKind::EndpointSlice
    }

    fn encode(&self, into: &mut Vec<u8>) {
        let mut writer = Writer::new(into);
        writer.message(1, |writer| self.meta.encode(writer));
        for endpoint in &self.endpoints {
            writer.message(2, |writer| endpoint.encode(writer));
        }
        for port in &self.ports {
            writer.message(3, |writer| port.encode(writer));
        }
        writer.string(4, &self.address_type);
    }
}

impl Object for Ingress {
    object_meta_access!();

    fn resource(&self) -> ResourceKind {
        ResourceKind::Ingress
    }

    fn encode(&self, into: &mut Vec<u8>) {
        let mut writer = Writer::new(into);
        writer.message(1, |writer| self.meta.encode(writer));
        writer.message(2, |writer| self.encode_spec(writer));
        writer.message(3, |status| status.message(1, |_| {}));
    }
}

impl Object for Namespace {
    object_meta_access!();

    fn resource(&self) -> ResourceKind {
        ResourceKind::Namespace
    }

    fn encode(&self, into: &mut Vec<u8>) {
        let mut writer = Writer::new(into);
        writer.message(1, |writer| self.meta.encode(writer));
        writer.message(2, |_| {});
        writer.message(3, |status| status.string(1, &self.phase));
    }
}

impl Object for OwnerObject {
    object_meta_access!();

    fn resource(&self) -> ResourceKind {
        self.resource
    }

    fn encode(&self, into: &mut Vec<u8>) {
        self.encode_metadata(into);
    }
}

use k8s_pb::api::batch::v1::{CronJob, Job};
use k8s_pb::api::core::v1::{
    Container, ContainerPort, ContainerStatus, DaemonEndpoint, EndpointAddress, EndpointPort, EndpointSubset,
    Endpoints, EnvVar, Namespace, NamespaceStatus, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints,
    NodeSpec, NodeStatus, ObjectReference, Pod, PodCondition, PodSpec, PodStatus, Service, ServicePort,
    ServiceSpec, Volume,
};
use k8s_pb::api::{apps::v1::ReplicaSet, discovery::v1 as discovery, networking::v1 as networking};
use k8s_pb::apimachinery::pkg::apis::meta::v1::{
    FieldsV1, ManagedFieldsEntry, ObjectMeta, OwnerReference, Time,
};
use k8s_pb::apimachinery::pkg::util::intstr::IntOrString;
use proptest::prelude::*;
use prost::Message;

use super::entropy::{Entropy, entropy};
use crate::kubernetes::scan::{
    ContainerFields, EndpointSliceFields, EndpointsFields, IngressFields, MetaFields, NodeFields, PodFields,
    ScanCause, ScanError, ServiceFields, Text,
};
use crate::kubernetes::{ResourceKind, object_meta};
use crate::protobuf::{Field, ProtobufError, Reader, Writer};

/// What was read of an object, as lines: the same from the full decoder and from the scanner.
type Facts = Vec<String>;

macro_rules! facts {
    ($facts:expr, $($name:literal = $value:expr),+ $(,)?) => { $( $facts.push(format!("{} = {:?}", $name, $value)); )+ };
}

fn shown(text: Text<'_>) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn given(text: &Option<String>) -> String {
    text.clone().unwrap_or_default()
}

fn shown_pairs(pairs: &[(Text<'_>, Text<'_>)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| (shown(key), shown(value))).collect()
}

// Metadata.

fn random_time(bytes: &mut Entropy) -> Time {
    Time { seconds: Some(bytes.below(256) as i64), nanos: bytes.int() }
}

fn random_meta(bytes: &mut Entropy) -> Option<ObjectMeta> {
    bytes.maybe(|bytes| ObjectMeta {
        name: bytes.text(),
        generate_name: bytes.text(),
        namespace: bytes.text(),
        uid: bytes.text(),
        resource_version: bytes.text(),
        generation: bytes.int().map(i64::from),
        creation_timestamp: bytes.maybe(random_time),
        deletion_timestamp: bytes.maybe(random_time),
        labels: bytes.map(),
        annotations: bytes.map(),
        owner_references: bytes.some(3, |bytes| OwnerReference {
            api_version: bytes.text(),
            kind: bytes.text(),
            name: bytes.text(),
            uid: bytes.text(),
            controller: bytes.boolean(),
            ..OwnerReference::default()
        }),
        managed_fields: bytes.some(2, |bytes| ManagedFieldsEntry {
            manager: bytes.text(),
            fields_v1: Some(FieldsV1 { raw: Some(b"{\"f:metadata\":{}}".to_vec()) }),
            ..ManagedFieldsEntry::default()
        }),
        ..ObjectMeta::default()
    })
}

fn meta_expected(meta: &Option<ObjectMeta>) -> Facts {
    let meta = meta.clone().unwrap_or_default();
    let controller = meta.owner_references.iter().find(|owner| owner.controller == Some(true));
    let mut facts = Facts::new();
    facts!(
        facts,
        "name" = given(&meta.name),
        "namespace" = given(&meta.namespace),
        "uid" = given(&meta.uid),
        "labels" = meta.labels.into_iter().collect::<Vec<_>>(),
        "annotations" = meta.annotations.into_iter().collect::<Vec<_>>(),
        "controller" = controller.map(|o| (given(&o.api_version), given(&o.kind), given(&o.name))),
    );
    facts
}

fn meta_found(meta: &MetaFields<'_>) -> Facts {
    let mut facts = Facts::new();
    facts!(
        facts,
        "name" = shown(meta.name),
        "namespace" = shown(meta.namespace),
        "uid" = shown(meta.uid),
        "labels" = shown_pairs(&meta.labels),
        "annotations" = shown_pairs(&meta.annotations),
        "controller" = meta.controller.map(|o| (shown(o.api_version), shown(o.kind), shown(o.name))),
    );
    facts
}

// Pods.

fn random_container(bytes: &mut Entropy) -> Container {
    Container {
        name: bytes.text(),
        image: bytes.text(),
        args: bytes.some(2, Entropy::word),
        ports: bytes.some(3, |bytes| ContainerPort {
            name: bytes.text(),
            host_port: bytes.int(),
            container_port: bytes.int(),
            protocol: bytes.text(),
            host_ip: bytes.text(),
        }),
        env: bytes.some(2, |bytes| EnvVar { name: bytes.text(), value: bytes.text(), value_from: None }),
        ..Container::default()
    }
}

fn random_status(bytes: &mut Entropy) -> ContainerStatus {
    ContainerStatus {
        name: bytes.text(),
        image: bytes.text(),
        container_id: bytes.text(),
        restart_count: bytes.int(),
        ..ContainerStatus::default()
    }
}

fn random_pod(bytes: &mut Entropy) -> Pod {
    Pod {
        metadata: random_meta(bytes),
        spec: bytes.maybe(|bytes| PodSpec {
            volumes: bytes.some(2, |bytes| Volume { name: bytes.text(), volume_source: None }),
            init_containers: bytes.some(2, random_container),
            containers: bytes.some(3, random_container),
            restart_policy: bytes.text(),
            service_account_name: bytes.text(),
            service_account: bytes.text(),
            node_name: bytes.text(),
            host_network: bytes.boolean(),
            hostname: bytes.text(),
            scheduler_name: bytes.text(),
            priority: bytes.int(),
            ..PodSpec::default()
        }),
        status: bytes.maybe(|bytes| PodStatus {
            phase: bytes.text(),
            conditions: bytes.some(4, |bytes| PodCondition {
                r#type: bytes.maybe(|bytes| if bytes.flag() { "Ready".to_owned() } else { bytes.word() }),
                status: bytes.text(),
                last_probe_time: bytes.maybe(random_time),
                ..PodCondition::default()
            }),
            message: bytes.text(),
            nominated_node_name: bytes.text(),
            host_ip: bytes.text(),
            pod_ip: bytes.text(),
            container_statuses: bytes.some(3, random_status),
            init_container_statuses: bytes.some(2, random_status),
            ..PodStatus::default()
        }),
    }
}

fn pod_expected(pod: &Pod) -> Facts {
    let mut facts = meta_expected(&pod.metadata);
    let spec = pod.spec.clone().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    let containers = |list: &[Container]| -> Vec<_> {
        let ports = |c: &Container| -> Vec<_> {
            let port =
                |p: &ContainerPort| (given(&p.name), p.container_port.unwrap_or(0), given(&p.protocol));
            c.ports.iter().map(port).collect()
        };
        list.iter().map(|c| (given(&c.name), given(&c.image), ports(c))).collect()
    };
    let statuses = |list: &[ContainerStatus]| -> Vec<_> {
        list.iter().map(|s| (given(&s.name), given(&s.container_id))).collect()
    };
    let ready = status.conditions.iter().find(|c| c.r#type.as_deref() == Some("Ready"));
    facts!(
        facts,
        "node" = given(&spec.node_name),
        "restart policy" = given(&spec.restart_policy),
        "scheduler" = given(&spec.scheduler_name),
        "account" = given(&spec.service_account_name),
        "host network" = spec.host_network.unwrap_or(false),
        "containers" = containers(&spec.containers),
        "init containers" = containers(&spec.init_containers),
        "phase" = given(&status.phase),
        "host ip" = given(&status.host_ip),
        "pod ip" = given(&status.pod_ip),
        "nominated" = given(&status.nominated_node_name),
        "ready" = ready.map(|condition| given(&condition.status)),
        "statuses" = statuses(&status.container_statuses),
        "init statuses" = statuses(&status.init_container_statuses),
    );
    facts
}

fn pod_found(pod: &PodFields<'_>) -> Facts {
    let mut facts = meta_found(&pod.meta);
    let containers = |list: &[ContainerFields<'_>]| -> Vec<_> {
        let ports = |c: &ContainerFields<'_>| -> Vec<_> {
            pod.ports(c).iter().map(|p| (shown(p.name), p.number, shown(p.protocol))).collect()
        };
        list.iter().map(|c| (shown(c.name), shown(c.image), ports(c))).collect()
    };
    facts!(
        facts,
        "node" = shown(pod.node_name),
        "restart policy" = shown(pod.restart_policy),
        "scheduler" = shown(pod.scheduler_name),
        "account" = shown(pod.service_account_name),
        "host network" = pod.host_network,
        "containers" = containers(&pod.containers),
        "init containers" = containers(&pod.init_containers),
        "phase" = shown(pod.phase),
        "host ip" = shown(pod.host_ip),
        "pod ip" = shown(pod.pod_ip),
        "nominated" = shown(pod.nominated_node_name),
        "ready" = pod.ready.map(shown),
        "statuses" =
            pod.container_statuses.iter().map(|s| (shown(s.name), shown(s.container_id))).collect::<Vec<_>>(),
        "init statuses" = pod
            .init_container_statuses
            .iter()
            .map(|s| (shown(s.name), shown(s.container_id)))
            .collect::<Vec<_>>(),
    );
    facts
}

// Nodes.

fn random_node(bytes: &mut Entropy) -> Node {
    Node {
        metadata: random_meta(bytes),
        spec: bytes.maybe(|bytes| NodeSpec {
            pod_cidr: bytes.text(),
            provider_id: bytes.text(),
            unschedulable: bytes.boolean(),
            ..NodeSpec::default()
        }),
        status: bytes.maybe(|bytes| NodeStatus {
            phase: bytes.text(),
            conditions: bytes.some(4, |bytes| NodeCondition {
                r#type: bytes.text(),
                status: bytes.text(),
                last_heartbeat_time: bytes.maybe(random_time),
                reason: bytes.text(),
                ..NodeCondition::default()
            }),
            addresses: bytes.some(4, |bytes| NodeAddress { r#type: bytes.text(), address: bytes.text() }),
            daemon_endpoints: bytes.maybe(|bytes| NodeDaemonEndpoints {
                kubelet_endpoint: bytes.maybe(|bytes| DaemonEndpoint { port: bytes.int() }),
            }),
            volumes_in_use: bytes.some(2, Entropy::word),
            ..NodeStatus::default()
        }),
    }
}

fn node_expected(node: &Node) -> Facts {
    let mut facts = meta_expected(&node.metadata);
    let spec = node.spec.clone().unwrap_or_default();
    let status = node.status.clone().unwrap_or_default();
    let kubelet = status.daemon_endpoints.unwrap_or_default().kubelet_endpoint.unwrap_or_default();
    facts!(
        facts,
        "provider" = given(&spec.provider_id),
        "unschedulable" = spec.unschedulable.unwrap_or(false),
        "conditions" =
            status.conditions.iter().map(|c| (given(&c.r#type), given(&c.status))).collect::<Vec<_>>(),
        "addresses" =
            status.addresses.iter().map(|a| (given(&a.r#type), given(&a.address))).collect::<Vec<_>>(),
        "kubelet port" = kubelet.port.unwrap_or(0),
    );
    facts
}

fn node_found(node: &NodeFields<'_>) -> Facts {
    let mut facts = meta_found(&node.meta);
    facts!(
        facts,
        "provider" = shown(node.provider_id),
        "unschedulable" = node.unschedulable,
        "conditions" = shown_pairs(&node.conditions),
        "addresses" = shown_pairs(&node.addresses),
        "kubelet port" = node.kubelet_port,
    );
    facts
}

// Services.

fn random_service(bytes: &mut Entropy) -> Service {
    Service {
        metadata: random_meta(bytes),
        spec: bytes.maybe(|bytes| ServiceSpec {
            ports: bytes.some(3, |bytes| ServicePort {
                name: bytes.text(),
                protocol: bytes.text(),
                app_protocol: bytes.text(),
                port: bytes.int(),
                target_port: bytes.maybe(|bytes| IntOrString {
                    r#type: Some(1),
                    int_val: bytes.int(),
                    str_val: bytes.text(),
                }),
                node_port: bytes.int(),
            }),
            selector: bytes.map(),
            cluster_ip: bytes.text(),
            r#type: bytes.text(),
            load_balancer_ip: bytes.text(),
            external_name: bytes.text(),
            external_ips: bytes.some(2, Entropy::word),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn service_expected(service: &Service) -> Facts {
    let mut facts = meta_expected(&service.metadata);
    let spec = service.spec.clone().unwrap_or_default();
    let port = |p: &ServicePort| (given(&p.name), p.port.unwrap_or(0), given(&p.protocol));
    facts!(
        facts,
        "type" = given(&spec.r#type),
        "cluster ip" = given(&spec.cluster_ip),
        "load balancer ip" = given(&spec.load_balancer_ip),
        "external name" = given(&spec.external_name),
        "ports" = spec.ports.iter().map(port).collect::<Vec<_>>(),
    );
    facts
}

fn service_found(service: &ServiceFields<'_>) -> Facts {
    let mut facts = meta_found(&service.meta);
    facts!(
        facts,
        "type" = shown(service.service_type),
        "cluster ip" = shown(service.cluster_ip),
        "load balancer ip" = shown(service.load_balancer_ip),
        "external name" = shown(service.external_name),
        "ports" =
            service.ports.iter().map(|p| (shown(p.name), p.number, shown(p.protocol))).collect::<Vec<_>>(),
    );
    facts
}

// Endpoints.

fn random_target(bytes: &mut Entropy) -> Option<ObjectReference> {
    bytes.maybe(|bytes| ObjectReference {
        kind: bytes.text(),
        namespace: bytes.text(),
        name: bytes.text(),
        uid: bytes.text(),
        ..ObjectReference::default()
    })
}

fn random_endpoints(bytes: &mut Entropy) -> Endpoints {
    let address = |bytes: &mut Entropy| EndpointAddress {
        ip: bytes.text(),
        hostname: bytes.text(),
        node_name: bytes.text(),
        target_ref: random_target(bytes),
    };
    Endpoints {
        metadata: random_meta(bytes),
        subsets: bytes.some(3, |bytes| EndpointSubset {
            addresses: bytes.some(3, address),
            not_ready_addresses: bytes.some(2, address),
            ports: bytes.some(3, |bytes| EndpointPort {
                name: bytes.text(),
                port: bytes.int(),
                protocol: bytes.text(),
                app_protocol: bytes.text(),
            }),
        }),
    }
}

fn target_expected(target: &Option<ObjectReference>) -> (String, String, String) {
    let target = target.clone().unwrap_or_default();
    (given(&target.kind), given(&target.namespace), given(&target.name))
}

fn endpoints_expected(endpoints: &Endpoints) -> Facts {
    let mut facts = meta_expected(&endpoints.metadata);
    for subset in &endpoints.subsets {
        let address = |ready: bool| {
            move |a: &EndpointAddress| {
                (ready, given(&a.ip), given(&a.hostname), given(&a.node_name), target_expected(&a.target_ref))
            }
        };
        let ready = subset.addresses.iter().map(address(true));
        let not_ready = subset.not_ready_addresses.iter().map(address(false));
        let port = |p: &EndpointPort| (given(&p.name), p.port.unwrap_or(0), given(&p.protocol));
        facts!(
            facts,
            "addresses" = ready.chain(not_ready).collect::<Vec<_>>(),
            "ports" = subset.ports.iter().map(port).collect::<Vec<_>>(),
        );
    }
    facts
}

fn endpoints_found(endpoints: &EndpointsFields<'_>) -> Facts {
    let mut facts = meta_found(&endpoints.meta);
    for subset in &endpoints.subsets {
        let addresses = endpoints.addresses(subset).iter().map(|a| {
            let target = (shown(a.target.kind), shown(a.target.namespace), shown(a.target.name));
            (a.ready, shown(a.ip), shown(a.hostname), shown(a.node_name), target)
        });
        let ports = endpoints.ports(subset).iter().map(|p| (shown(p.name), p.number, shown(p.protocol)));
        facts!(facts, "addresses" = addresses.collect::<Vec<_>>(), "ports" = ports.collect::<Vec<_>>(),);
    }
    facts
}

// EndpointSlices.

fn random_slice(bytes: &mut Entropy) -> discovery::EndpointSlice {
    discovery::EndpointSlice {
        metadata: random_meta(bytes),
        address_type: bytes.text(),
        endpoints: bytes.some(4, |bytes| discovery::Endpoint {
            addresses: bytes.some(3, Entropy::word),
            conditions: bytes.maybe(|bytes| discovery::EndpointConditions {
                ready: bytes.boolean(),
                serving: bytes.boolean(),
                terminating: bytes.boolean(),
            }),
            hostname: bytes.text(),
            target_ref: random_target(bytes),
            deprecated_topology: bytes.map(),
            node_name: bytes.text(),
            zone: bytes.text(),
            hints: None,
        }),
        ports: bytes.some(3, |bytes| discovery::EndpointPort {
            name: bytes.text(),
            protocol: bytes.text(),
            port: bytes.int(),
            app_protocol: bytes.text(),
        }),
    }
}

fn slice_expected(slice: &discovery::EndpointSlice) -> Facts {
    let mut facts = meta_expected(&slice.metadata);
    facts!(facts, "address type" = given(&slice.address_type));
    for endpoint in &slice.endpoints {
        let conditions = endpoint.conditions.unwrap_or_default();
        facts!(
            facts,
            "addresses" = &endpoint.addresses,
            "conditions" = (conditions.ready, conditions.serving, conditions.terminating),
            "hostname" = given(&endpoint.hostname),
            "target" = target_expected(&endpoint.target_ref),
            "topology" = endpoint.deprecated_topology.iter().collect::<Vec<_>>(),
            "node" = given(&endpoint.node_name),
            "zone" = given(&endpoint.zone),
        );
    }
    for port in &slice.ports {
        facts!(
            facts,
            "port" = (given(&port.name), given(&port.protocol), port.port, given(&port.app_protocol))
        );
    }
    facts
}

fn slice_found(slice: &EndpointSliceFields<'_>) -> Facts {
    let mut facts = meta_found(&slice.meta);
    facts!(facts, "address type" = shown(slice.address_type));
    for endpoint in &slice.endpoints {
        let target = &endpoint.target;
        facts!(
            facts,
            "addresses" = slice.addresses(endpoint).iter().map(|a| shown(a)).collect::<Vec<_>>(),
            "conditions" = (endpoint.ready, endpoint.serving, endpoint.terminating),
            "hostname" = shown(endpoint.hostname),
            "target" = (shown(target.kind), shown(target.namespace), shown(target.name)),
            "topology" = shown_pairs(slice.topology(endpoint)),
            "node" = shown(endpoint.node_name),
            "zone" = shown(endpoint.zone),
        );
    }
    for port in &slice.ports {
        facts!(
            facts,
            "port" = (shown(port.name), shown(port.protocol), port.number, shown(port.app_protocol))
        );
    }
    facts
}

// Ingresses.

fn random_ingress(bytes: &mut Entropy) -> networking::Ingress {
    let path = |bytes: &mut Entropy| networking::HttpIngressPath {
        path: bytes.text(),
        path_type: bytes.text(),
        backend: Some(networking::IngressBackend::default()),
    };
    networking::Ingress {
        metadata: random_meta(bytes),
        spec: bytes.maybe(|bytes| networking::IngressSpec {
            ingress_class_name: bytes.text(),
            default_backend: None,
            tls: bytes.some(3, |bytes| networking::IngressTls {
                hosts: bytes.some(3, Entropy::word),
                secret_name: bytes.text(),
            }),
            rules: bytes.some(3, |bytes| networking::IngressRule {
                host: bytes.text(),
                ingress_rule_value: bytes.maybe(|bytes| networking::IngressRuleValue {
                    http: bytes
                        .maybe(|bytes| networking::HttpIngressRuleValue { paths: bytes.some(3, path) }),
                }),
            }),
        }),
        status: None,
    }
}

fn ingress_expected(ingress: &networking::Ingress) -> Facts {
    let mut facts = meta_expected(&ingress.metadata);
    let spec = ingress.spec.clone().unwrap_or_default();
    facts!(
        facts,
        "class" = given(&spec.ingress_class_name),
        "tls hosts" = spec.tls.iter().flat_map(|tls| tls.hosts.clone()).collect::<Vec<_>>(),
    );
    for rule in &spec.rules {
        let http = rule.ingress_rule_value.clone().unwrap_or_default().http;
        let paths = http.clone().unwrap_or_default().paths;
        facts!(
            facts,
            "host" = given(&rule.host),
            "http" = http.is_some(),
            "paths" = paths.iter().map(|path| given(&path.path)).collect::<Vec<_>>(),
        );
    }
    facts
}

fn ingress_found(ingress: &IngressFields<'_>) -> Facts {
    let mut facts = meta_found(&ingress.meta);
    facts!(
        facts,
        "class" = shown(ingress.class_name),
        "tls hosts" = ingress.tls_hosts.iter().map(|host| shown(host)).collect::<Vec<_>>(),
    );
    for rule in &ingress.rules {
        facts!(
            facts,
            "host" = shown(rule.host),
            "http" = rule.has_http,
            "paths" = ingress.paths(rule).iter().map(|path| shown(path)).collect::<Vec<_>>(),
        );
    }
    facts
}

/// Every kind: a random object, what a full decoder finds in a message of it, what the scanner finds.
type Make = fn(&mut Entropy) -> Vec<u8>;
type Expect = fn(&[u8]) -> Option<Facts>;
type Find = fn(&[u8]) -> Result<Facts, ScanError>;

fn expected_of<T: Message + Default>(message: &[u8], facts: fn(&T) -> Facts) -> Option<Facts> {
    T::decode(message).ok().map(|object| facts(&object))
}

macro_rules! found_of {
    ($fields:ident, $facts:ident) => {
        |message| {
            let mut fields = $fields::default();
            // What an earlier object left behind must not show.
            let leftover = [0x0a, 0x04, 0x12, 0x02, b'x', b'x'];
            let _ = fields.scan(&leftover);
            let mut fields = fields.recycle();
            fields.scan(message).map(|()| $facts(&fields))
        }
    };
}

const KINDS: [(ResourceKind, Make, Expect, Find); 10] = [
    (
        ResourceKind::Pod,
        |bytes| random_pod(bytes).encode_to_vec(),
        |message| expected_of(message, pod_expected),
        found_of!(PodFields, pod_found),
    ),
    (
        ResourceKind::Node,
        |bytes| random_node(bytes).encode_to_vec(),
        |message| expected_of(message, node_expected),
        found_of!(NodeFields, node_found),
    ),
    (
        ResourceKind::Service,
        |bytes| random_service(bytes).encode_to_vec(),
        |message| expected_of(message, service_expected),
        found_of!(ServiceFields, service_found),
    ),
    (
        ResourceKind::Endpoints,
        |bytes| random_endpoints(bytes).encode_to_vec(),
        |message| expected_of(message, endpoints_expected),
        found_of!(EndpointsFields, endpoints_found),
    ),
    (
        ResourceKind::EndpointSlice,
        |bytes| random_slice(bytes).encode_to_vec(),
        |message| expected_of(message, slice_expected),
        found_of!(EndpointSliceFields, slice_found),
    ),
    (
        ResourceKind::Ingress,
        |bytes| random_ingress(bytes).encode_to_vec(),
        |message| expected_of(message, ingress_expected),
        found_of!(IngressFields, ingress_found),
    ),
    (
        ResourceKind::Namespace,
        |bytes| {
            let status = Some(NamespaceStatus { phase: bytes.text(), conditions: Vec::new() });
            Namespace { metadata: random_meta(bytes), spec: None, status }.encode_to_vec()
        },
        |message| expected_of(message, |object: &Namespace| meta_expected(&object.metadata)),
        found_of!(MetaFields, meta_found),
    ),
    (
        ResourceKind::ReplicaSet,
        |bytes| ReplicaSet { metadata: random_meta(bytes), ..ReplicaSet::default() }.encode_to_vec(),
        |message| expected_of(message, |object: &ReplicaSet| meta_expected(&object.metadata)),
        found_of!(MetaFields, meta_found),
    ),
    (
        ResourceKind::Job,
        |bytes| Job { metadata: random_meta(bytes), ..Job::default() }.encode_to_vec(),
        |message| expected_of(message, |object: &Job| meta_expected(&object.metadata)),
        found_of!(MetaFields, meta_found),
    ),
    (
        ResourceKind::CronJob,
        |bytes| CronJob { metadata: random_meta(bytes), ..CronJob::default() }.encode_to_vec(),
        |message| expected_of(message, |object: &CronJob| meta_expected(&object.metadata)),
        found_of!(MetaFields, meta_found),
    ),
];

/// The same message with its fields in descending order of number, those of equal number in their order.
fn reordered(message: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next_field().unwrap() {
        fields.push(field);
    }
    fields.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    let mut result = Vec::new();
    let mut writer = Writer::new(&mut result);
    for (number, field) in fields {
        match field {
            Field::Varint(value) => writer.varint(number, value),
            Field::Fixed64(value) => writer.fixed64(number, value),
            Field::Fixed32(value) => writer.fixed32(number, value),
            Field::Bytes(value) => writer.bytes(number, value),
        }
    }
    result
}

/// An object whose metadata, spec and status are reordered too; every field of these kinds is a message.
fn reordered_deeply(message: &[u8]) -> Vec<u8> {
    let mut result = Vec::new();
    let mut writer = Writer::new(&mut result);
    let outer = reordered(message);
    let mut reader = Reader::new(&outer);
    while let Some((number, field)) = reader.next_field().unwrap() {
        writer.bytes(number, &reordered(field.bytes(number).unwrap()));
    }
    result
}

proptest! {
    #[test]
    fn a_scan_finds_what_a_full_decoder_finds(bytes in entropy()) {
        for (kind, make, expected, found) in KINDS {
            let message = make(&mut bytes.clone());
            prop_assert_eq!(found(&message).ok(), expected(&message), "{}", kind);
            let reordered = reordered(&message);
            prop_assert_eq!(found(&reordered).ok(), expected(&message), "{} reordered", kind);
        }
    }

    #[test]
    fn fields_may_come_in_any_order(bytes in entropy()) {
        for (kind, make, expected, found) in KINDS {
            if matches!(kind, ResourceKind::Pod | ResourceKind::Node | ResourceKind::Service | ResourceKind::Ingress) {
                let message = make(&mut bytes.clone());
                prop_assert_eq!(found(&reordered_deeply(&message)).ok(), expected(&message), "{}", kind);
            }
        }
    }

    /// A message split in two parts is merged, as protobuf says.
    #[test]
    fn two_messages_in_a_row_are_one(first in entropy(), second in entropy()) {
        for (kind, make, expected, found) in KINDS {
            let mut message = make(&mut first.clone());
            message.extend(make(&mut second.clone()));
            prop_assert_eq!(found(&message).ok(), expected(&message), "{}", kind);
        }
    }

    /// What a full decoder accepts the scanner accepts, but for groups; the scanner may be more patient with what
    /// it skips.
    #[test]
    fn damaged_messages_give_an_error_or_what_a_full_decoder_finds(
        bytes in entropy(), cut in any::<prop::sample::Index>(), bit in any::<prop::sample::Index>(),
    ) {
        for (kind, make, expected, found) in KINDS {
            let message = make(&mut bytes.clone());
            if message.is_empty() {
                continue;
            }
            let mut flipped = message.clone();
            let at = bit.index(8 * message.len());
            flipped[at / 8] ^= 1 << (at % 8);
            for damaged in [&message[..cut.index(message.len())], &flipped] {
                let _ = object_meta(damaged);
                let found = found(damaged);
                let group = matches!(
                    found,
                    Err(ScanError { cause: ScanCause::Malformed(ProtobufError::WireType { .. }), .. })
                );
                if let Some(expected) = expected(damaged).filter(|_| !group) {
                    prop_assert_eq!(found.ok(), Some(expected), "{}", kind);
                }
            }
        }
    }

    #[test]
    fn garbage_is_an_error_and_not_a_panic(message in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = object_meta(&message);
        let _ = PodFields::default().scan(&message);
        let _ = NodeFields::default().scan(&message);
        let _ = ServiceFields::default().scan(&message);
        let _ = EndpointsFields::default().scan(&message);
        let _ = EndpointSliceFields::default().scan(&message);
        let _ = IngressFields::default().scan(&message);
        let _ = MetaFields::default().scan(&message);
    }
}

#[test]
fn errors_name_the_part() {
    let mut pod = Vec::new();
    Writer::new(&mut pod).message(2, |spec| spec.message(2, |container| container.varint(1, 7)));
    let error = PodFields::default().scan(&pod).unwrap_err();
    assert_eq!(
        outrigger_model::fault::chain(&error),
        "cannot read spec.containers: field 1 should be length-delimited"
    );
}

#[test]
fn endless_lists_are_refused() {
    let mut slice = Vec::new();
    let mut writer = Writer::new(&mut slice);
    for _ in 0..=crate::kubernetes::scan::MAX_ENTRIES {
        writer.message(2, |_| {});
    }
    let error = EndpointSliceFields::default().scan(&slice).unwrap_err();
    assert_eq!(outrigger_model::fault::chain(&error), "cannot read object: more than 100000 entries");
}

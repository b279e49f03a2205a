//! Nodes.

use super::units::units;
use super::{Family, Kind, annotations, conditions, created, deleted, labels, number};
use crate::labels::sanitize_label_name;
use crate::object::condition::Condition;
use crate::object::meta::Quantity;
use crate::object::{Map, Nested, Repeated, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.Node`.
    pub struct Node {
        2 "spec" spec: Nested<'a, NodeSpec<'a>>,
        3 "status" status: Nested<'a, NodeStatus<'a>>,
    }
}

message! {
    /// `v1.NodeSpec`.
    pub struct NodeSpec {
        1 "podCIDR" pod_cidr: &'a str,
        3 "providerID" provider_id: &'a str,
        4 "unschedulable" unschedulable: bool,
        5 "taints" taints: Repeated<'a, Taint<'a>>,
        7 "podCIDRs" pod_cidrs: Vec<&'a str>,
    }

    /// `v1.NodeStatus`.
    pub struct NodeStatus {
        1 "capacity" capacity: Map<'a, Quantity<'a>>,
        2 "allocatable" allocatable: Map<'a, Quantity<'a>>,
        4 "conditions" conditions: Repeated<'a, Condition<'a>>,
        5 "addresses" addresses: Repeated<'a, NodeAddress<'a>>,
        7 "nodeInfo" node_info: Nested<'a, NodeSystemInfo<'a>>,
    }

    /// `v1.Taint`.
    pub struct Taint {
        1 "key" key: &'a str,
        2 "value" value: &'a str,
        3 "effect" effect: &'a str,
    }

    /// `v1.NodeAddress`.
    pub struct NodeAddress {
        1 "type" kind: &'a str,
        2 "address" address: &'a str,
    }

    /// `v1.NodeSystemInfo`.
    pub struct NodeSystemInfo {
        2 "systemUUID" system_uuid: &'a str,
        4 "kernelVersion" kernel_version: &'a str,
        5 "osImage" os_image: &'a str,
        6 "containerRuntimeVersion" container_runtime_version: &'a str,
        7 "kubeletVersion" kubelet_version: &'a str,
    }
}

pub(crate) struct Nodes;

impl Kind for Nodes {
    type Object<'a> = Node<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha(
            "kube_node_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |node, samples| annotations(&node.metadata, samples),
        ),
        Family::<Self>::stable("kube_node_created", "Unix creation timestamp", |node, samples| {
            created(&node.metadata, samples)
        }),
        Family::<Self>::alpha("kube_node_deletion_timestamp", "Unix deletion timestamp", |node, samples| {
            deleted(&node.metadata, samples)
        }),
        Family::<Self>::stable("kube_node_info", "Information about a cluster node.", info),
        Family::<Self>::stable(
            "kube_node_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |node, samples| labels(&node.metadata, samples),
        ),
        Family::<Self>::alpha("kube_node_role", "The role of a cluster node.", role),
        Family::<Self>::alpha("kube_node_spec_pod_cidrs", "The pod CIDRs of a cluster node.", pod_cidrs),
        Family::<Self>::stable("kube_node_spec_taint", "The taint of a cluster node.", taint),
        Family::<Self>::stable(
            "kube_node_spec_unschedulable",
            "Whether a node can schedule new pods.",
            |node, samples| number(node.spec.unschedulable, samples),
        ),
        Family::<Self>::stable(
            "kube_node_status_allocatable",
            "The allocatable for different resources of a node that are available for scheduling.",
            |node, samples| quantities(&node.status.allocatable, samples),
        ),
        Family::<Self>::stable(
            "kube_node_status_capacity",
            "The capacity for different resources of a node.",
            |node, samples| quantities(&node.status.capacity, samples),
        ),
        Family::<Self>::stable(
            "kube_node_status_condition",
            "The condition of a cluster node.",
            |node, samples| conditions(&node.status.conditions, samples),
        ),
        Family::<Self>::alpha("kube_node_status_addresses", "Node address information.", addresses),
    ];

    fn identity(node: &Node<'_>, samples: &mut Samples) {
        samples.add_identity("node", node.metadata.name);
    }
}

fn info(node: &Node<'_>, samples: &mut Samples) {
    const LABELS: &[&str] = &[
        "kernel_version",
        "os_image",
        "container_runtime_version",
        "kubelet_version",
        "kubeproxy_version",
        "provider_id",
        "pod_cidr",
        "system_uuid",
        "internal_ip",
    ];
    let system = &node.status.node_info;
    let internal = node.status.addresses.iter().rev().find(|address| address.kind == "InternalIP");
    let values = [
        Value::Word(system.kernel_version),
        Value::Word(system.os_image),
        Value::Word(system.container_runtime_version),
        Value::Word(system.kubelet_version),
        Value::Word("deprecated"),
        Value::Text(node.spec.provider_id),
        Value::Text(node.spec.pod_cidr),
        Value::Text(system.system_uuid),
        Value::Text(internal.map_or("", |address| address.address)),
    ];
    samples.add(LABELS, &values, 1.0);
}

fn role(node: &Node<'_>, samples: &mut Samples) {
    for (key, _) in node.metadata.labels.iter() {
        if let Some(role) = key.strip_prefix("node-role.kubernetes.io/") {
            samples.add(&["role"], &[Value::Word(role)], 1.0);
        }
    }
}

fn pod_cidrs(node: &Node<'_>, samples: &mut Samples) {
    for range in &node.spec.pod_cidrs {
        samples.add(&["pod_cidr"], &[Value::Text(range)], 1.0);
    }
}

fn taint(node: &Node<'_>, samples: &mut Samples) {
    for taint in &*node.spec.taints {
        samples.add(
            &["key", "value", "effect"],
            &[taint.key, taint.value, taint.effect].map(Value::Word),
            1.0,
        );
    }
}

fn quantities(quantities: &Map<'_, Quantity<'_>>, samples: &mut Samples) {
    for (resource, quantity) in quantities.iter() {
        let Some(quantity) = quantity.parse() else { continue };
        let label = sanitize_label_name(resource);
        // Pods are counted here, which a container cannot ask for.
        let pods = (resource == "pods").then_some("integer");
        for unit in units(resource).chain(pods) {
            samples.add(
                &["resource", "unit"],
                &[Value::Word(&label), Value::Word(unit)],
                quantity.to_float(),
            );
        }
    }
}

fn addresses(node: &Node<'_>, samples: &mut Samples) {
    for address in &*node.status.addresses {
        samples.add(&["type", "address"], &[Value::Word(address.kind), Value::Text(address.address)], 1.0);
    }
}

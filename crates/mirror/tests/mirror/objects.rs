//! Random objects of few names, as messages.

use std::collections::BTreeMap;

use outrigger_wire::kubernetes::ResourceKind;
use outrigger_wire::kubernetes::object::{
    Condition, Container, ContainerPort, Endpoint, EndpointAddress, EndpointPort, EndpointSlice,
    EndpointSubset, Endpoints, Ingress, IngressRule, Namespace, Node, Object, ObjectMeta, OwnerObject,
    OwnerReference, Pod, Service, ServicePort, SlicePort, TargetReference,
};

/// Random bytes to make objects from; when they are used up, everything is empty.
#[derive(Debug, Clone)]
pub(crate) struct Entropy {
    bytes: Vec<u8>,
    next: usize,
}

pub(crate) const NAMESPACES: [&str; 2] = ["default", "kube-system"];
pub(crate) const NAMES: [&str; 4] =
    ["web-0", "web-1", "dns", "a-name-that-is-longer-than-what-would-be-kept-inline-if-it-were-not-the-name"];
pub(crate) const NODES: [&str; 3] = ["", "node-1", "node-2"];
const WORDS: [&str; 6] = [
    "",
    "a",
    "TCP",
    "http",
    "é",
    "registry.example/with/a/path/that/is/rather/long/so-that-it-is-shared:v1.2.3",
];

impl Entropy {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, next: 0 }
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let byte = self.bytes.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        usize::from(byte) % bound
    }

    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn word(&mut self) -> String {
        self.pick(&WORDS).to_owned()
    }

    fn some<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(2) == 1).then(|| make(self))
    }

    fn number(&mut self) -> i32 {
        [0, 80, 8080, -1][self.below(4)]
    }

    fn map(&mut self) -> BTreeMap<String, String> {
        let keys = ["app", "kubernetes.io/service-name", "z", "é"];
        self.some(4, |bytes| (bytes.pick(&keys).to_owned(), bytes.word())).into_iter().collect()
    }
}

/// A random object of a resource. `namespace` is left out where the resource has none.
pub(crate) fn random(resource: ResourceKind, namespace: &str, name: &str, bytes: &mut Entropy) -> Vec<u8> {
    let mut meta = ObjectMeta {
        uid: bytes.word(),
        labels: bytes.map(),
        annotations: bytes.map(),
        owner_references: bytes.some(2, |bytes| OwnerReference {
            api_version: "apps/v1".to_owned(),
            kind: bytes.pick(&["ReplicaSet", "Job"]).to_owned(),
            name: bytes.pick(&NAMES).to_owned(),
            controller: bytes.maybe(|bytes| bytes.below(2) == 1),
            ..OwnerReference::default()
        }),
        ..ObjectMeta::named(if resource.namespaced() { namespace } else { "" }, name)
    };
    invisible(&mut meta, bytes);
    match resource {
        ResourceKind::Pod => pod(meta, bytes).to_message(),
        ResourceKind::Node => node(meta, bytes).to_message(),
        ResourceKind::Service => service(meta, bytes).to_message(),
        ResourceKind::Endpoints => endpoints(meta, bytes).to_message(),
        ResourceKind::EndpointSlice => slice(meta, bytes).to_message(),
        ResourceKind::Ingress => ingress(meta, bytes).to_message(),
        ResourceKind::Namespace => Namespace { meta, phase: bytes.word() }.to_message(),
        ResourceKind::ReplicaSet | ResourceKind::Job | ResourceKind::CronJob => {
            OwnerObject { resource, meta }.to_message()
        }
        other => panic!("{other} is not mirrored"),
    }
}

/// Changes what no table holds.
fn invisible(meta: &mut ObjectMeta, bytes: &mut Entropy) {
    meta.resource_version = bytes.below(256).to_string();
    meta.generation = bytes.below(256) as i64;
    meta.managed_fields = bytes.some(2, |bytes| ("kubelet".to_owned(), vec![b'{'; bytes.below(100)]));
}

fn condition(bytes: &mut Entropy) -> Condition {
    Condition {
        kind: bytes.pick(&["Ready", "DiskPressure", "Initialized"]).to_owned(),
        status: bytes.pick(&["True", "False", "Unknown", "", "Odd"]).to_owned(),
        last_heartbeat: Some(bytes.below(256) as i64),
        ..Condition::default()
    }
}

fn container(bytes: &mut Entropy) -> Container {
    Container {
        name: bytes.word(),
        image: bytes.word(),
        ports: bytes.some(2, |bytes| ContainerPort {
            name: bytes.word(),
            number: bytes.number(),
            protocol: bytes.word(),
        }),
        container_id: bytes.word(),
        ..Container::default()
    }
}

fn pod(meta: ObjectMeta, bytes: &mut Entropy) -> Pod {
    Pod {
        meta,
        init_containers: bytes.some(2, container),
        containers: bytes.some(3, container),
        restart_policy: bytes.word(),
        service_account_name: bytes.word(),
        node_name: bytes.pick(&NODES).to_owned(),
        host_network: bytes.below(2) == 1,
        scheduler_name: bytes.word(),
        phase: bytes.word(),
        conditions: bytes.some(3, condition),
        host_ip: bytes.word(),
        pod_ip: bytes.word(),
        nominated_node_name: bytes.word(),
        start_time: None,
    }
}

fn node(meta: ObjectMeta, bytes: &mut Entropy) -> Node {
    Node {
        meta,
        pod_cidr: bytes.word(),
        provider_id: bytes.word(),
        unschedulable: bytes.below(2) == 1,
        conditions: bytes.some(3, condition),
        addresses: bytes.some(3, |bytes| (bytes.word(), bytes.word())),
        kubelet_port: bytes.number(),
    }
}

fn service(meta: ObjectMeta, bytes: &mut Entropy) -> Service {
    Service {
        meta,
        ports: bytes.some(2, |bytes| ServicePort {
            name: bytes.word(),
            protocol: bytes.word(),
            number: bytes.number(),
            ..ServicePort::default()
        }),
        selector: bytes.map(),
        cluster_ip: bytes.word(),
        service_type: bytes.word(),
        load_balancer_ip: bytes.word(),
        external_name: bytes.word(),
        ..Service::default()
    }
}

fn target(bytes: &mut Entropy) -> Option<TargetReference> {
    bytes.maybe(|bytes| TargetReference {
        kind: bytes.pick(&["Pod", "Node"]).to_owned(),
        namespace: bytes.pick(&NAMESPACES).to_owned(),
        name: bytes.pick(&NAMES).to_owned(),
        uid: bytes.word(),
    })
}

fn endpoints(meta: ObjectMeta, bytes: &mut Entropy) -> Endpoints {
    let address = |bytes: &mut Entropy| EndpointAddress {
        ip: bytes.word(),
        hostname: bytes.word(),
        node_name: bytes.pick(&NODES).to_owned(),
        target: target(bytes),
    };
    Endpoints {
        meta,
        subsets: bytes.some(2, |bytes| EndpointSubset {
            addresses: bytes.some(2, address),
            not_ready_addresses: bytes.some(2, address),
            ports: bytes.some(2, |bytes| EndpointPort {
                name: bytes.word(),
                number: bytes.number(),
                protocol: bytes.word(),
            }),
        }),
    }
}

fn slice(meta: ObjectMeta, bytes: &mut Entropy) -> EndpointSlice {
    let flag = |bytes: &mut Entropy| bytes.maybe(|bytes| bytes.below(2) == 1);
    EndpointSlice {
        meta,
        address_type: bytes.word(),
        endpoints: bytes.some(3, |bytes| Endpoint {
            addresses: bytes.some(2, Entropy::word),
            ready: flag(bytes),
            serving: flag(bytes),
            terminating: flag(bytes),
            hostname: bytes.word(),
            target: target(bytes),
            topology: bytes.map(),
            node_name: bytes.pick(&NODES).to_owned(),
            zone: bytes.word(),
        }),
        ports: bytes.some(2, |bytes| SlicePort {
            name: bytes.word(),
            protocol: bytes.word(),
            number: bytes.maybe(Entropy::number),
            app_protocol: bytes.word(),
        }),
    }
}

fn ingress(meta: ObjectMeta, bytes: &mut Entropy) -> Ingress {
    Ingress {
        meta,
        class_name: bytes.word(),
        tls: bytes.some(2, |bytes| bytes.some(2, Entropy::word)),
        rules: bytes.some(2, |bytes| IngressRule {
            host: bytes.word(),
            paths: bytes.maybe(|bytes| bytes.some(2, Entropy::word)),
        }),
    }
}

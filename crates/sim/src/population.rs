//! The objects of a simulated cluster: workloads of a few dozen pods each, with everything that belongs to them.
//!
//! The same options give the same cluster. A tenth of the workloads announce a metrics port by annotation.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use outrigger_wire::kubernetes::ResourceKind;
use outrigger_wire::kubernetes::object::{
    Condition, Container, ContainerPort, Endpoint, EndpointAddress, EndpointPort, EndpointSlice,
    EndpointSubset, Endpoints, Ingress, IngressRule, IntOrString, Namespace, Node, ObjectMeta, OwnerObject,
    OwnerReference, Pod, Service, ServicePort, SlicePort, TargetReference,
};

use crate::endpoints::{AddressBook, Owner};
use crate::store::Store;

/// Endpoints in one slice, as the real controller packs them.
const ENDPOINTS_PER_SLICE: usize = 100;
const NAMESPACES: u32 = 40;
/// One workload in this many announces its metrics port.
const SCRAPED_EVERY: u32 = 10;
/// One workload in this many has an ingress.
const INGRESS_EVERY: u32 = 20;
const PODS_PER_WORKLOAD: u32 = 50;
const ZONES: u32 = 3;
const FIRST_NODE_ADDRESS: u32 = u32::from_be_bytes([127, 32, 0, 1]);
const FIRST_POD_ADDRESS: u32 = u32::from_be_bytes([127, 64, 0, 1]);
const POD_ADDRESSES: u64 = 1 << 22;
/// Bytes of managedFields on each pod: on a real cluster they are half of it.
const MANAGED_FIELDS_BYTES: usize = 1024;

/// How large the cluster is.
#[derive(Debug, Clone, Copy)]
pub struct PopulationOptions {
    /// Nodes, at least 1.
    pub nodes: u32,
    /// Pods.
    pub pods: u32,
    /// Port on which nodes and pods answer.
    pub port: u16,
}

/// One pod's place: it keeps its workload and node while its pods come and go.
#[derive(Debug, Clone)]
struct Slot {
    /// Makes name, uid and address of the pod that is in it now.
    serial: u64,
    ready: bool,
}

/// The cluster's objects, and how they change.
#[derive(Debug)]
pub struct Population {
    options: PopulationOptions,
    store: Arc<Store>,
    addresses: Arc<AddressBook>,
    slots: Vec<Slot>,
    next_serial: u64,
    managed_fields: Vec<u8>,
    /// Seconds since the epoch at which everything was created.
    created: i64,
}

impl Population {
    /// Puts all objects of the cluster into `store` and all addresses into `addresses`; `now` in seconds since
    /// the epoch becomes their age.
    pub fn create(
        options: PopulationOptions,
        store: Arc<Store>,
        addresses: Arc<AddressBook>,
        now: i64,
    ) -> Self {
        let mut population = Self {
            options,
            store,
            addresses,
            slots: (0..u64::from(options.pods)).map(|serial| Slot { serial, ready: true }).collect(),
            next_serial: u64::from(options.pods),
            managed_fields: vec![b' '; MANAGED_FIELDS_BYTES],
            created: now,
        };
        for index in 0..NAMESPACES {
            population.store.put(&mut Namespace {
                meta: population.meta("", &namespace_name(index), format!("ns-{index}")),
                phase: "Active".to_owned(),
            });
        }
        for index in 0..options.nodes {
            population.addresses.assign(node_address(index), Owner::Node(node_name(index).into()));
            population.heartbeat(index, now);
        }
        for workload in 0..population.workloads() {
            population.put_workload(workload);
        }
        for slot in 0..population.slots.len() {
            population.put_pod(slot);
        }
        population
    }

    /// Number of pod slots.
    pub fn pods(&self) -> usize {
        self.slots.len()
    }

    /// The address of the pod that is in a slot now.
    pub fn address(&self, slot: usize) -> Ipv4Addr {
        pod_address(self.slots[slot].serial)
    }

    /// Number of nodes.
    pub fn nodes(&self) -> u32 {
        self.options.nodes
    }

    /// Deletes the pod of a slot and creates its successor, which has no address yet and is not ready.
    pub fn replace_pod(&mut self, slot: usize) {
        let mut last = self.pod(slot);
        last.meta.deletion_timestamp = Some(self.created);
        self.store.delete(&mut last);
        self.addresses.release(pod_address(self.slots[slot].serial));
        self.slots[slot] = Slot { serial: self.next_serial, ready: false };
        self.next_serial += 1;
        self.store.put(&mut self.pod(slot));
        self.put_endpoints(self.workload_of(slot));
    }

    /// Makes the pod of a slot run and be ready.
    pub fn make_ready(&mut self, slot: usize) {
        self.slots[slot].ready = true;
        self.put_pod(slot);
        self.put_endpoints(self.workload_of(slot));
    }

    /// Updates a node's status, as its kubelet does every few minutes; `now` in seconds since the epoch.
    pub fn heartbeat(&self, index: u32, now: i64) {
        self.store.put(&mut self.node(index, now));
    }

    fn workloads(&self) -> u32 {
        self.options.pods.div_ceil(PODS_PER_WORKLOAD)
    }

    fn workload_of(&self, slot: usize) -> u32 {
        u32::try_from(slot).unwrap_or(u32::MAX) / PODS_PER_WORKLOAD
    }

    fn slots_of(&self, workload: u32) -> std::ops::Range<usize> {
        let first = (workload * PODS_PER_WORKLOAD) as usize;
        first..(first + PODS_PER_WORKLOAD as usize).min(self.slots.len())
    }

    fn meta(&self, namespace: &str, name: &str, uid: String) -> ObjectMeta {
        ObjectMeta { uid, creation_timestamp: Some(self.created), ..ObjectMeta::named(namespace, name) }
    }

    fn node(&self, index: u32, now: i64) -> Node {
        let name = node_name(index);
        let mut meta = self.meta("", &name, format!("node-{index:08}"));
        meta.labels = labels([
            ("kubernetes.io/hostname", name.as_str()),
            ("kubernetes.io/os", "linux"),
            (
                "node.kubernetes.io/instance-type",
                if index.is_multiple_of(10) { "gpu.8xlarge" } else { "general.4xlarge" },
            ),
            ("topology.kubernetes.io/region", "region-1"),
            ("topology.kubernetes.io/zone", &zone_name(index)),
        ]);
        let condition = |kind: &str, status: &str| Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            last_heartbeat: Some(now),
            last_transition: Some(self.created),
            ..Condition::default()
        };
        Node {
            meta,
            provider_id: format!("simulated:///{}/{name}", zone_name(index)),
            conditions: vec![condition("MemoryPressure", "False"), condition("Ready", "True")],
            addresses: vec![
                ("InternalIP".to_owned(), node_address(index).to_string()),
                ("Hostname".to_owned(), name),
            ],
            kubelet_port: i32::from(self.options.port),
            ..Node::default()
        }
    }

    fn pod(&self, slot: usize) -> Pod {
        let Slot { serial, ready } = self.slots[slot];
        let workload = self.workload_of(slot);
        let app = workload_name(workload);
        let name = pod_name(workload, serial);
        let mut meta = self.meta(&namespace_name(workload % NAMESPACES), &name, format!("pod-{serial:012}"));
        meta.generate_name = format!("{app}-5d8c9-");
        meta.labels = labels([("app", app.as_str()), ("pod-template-hash", "5d8c9")]);
        if workload.is_multiple_of(SCRAPED_EVERY) {
            meta.annotations = self.scrape_annotations();
        }
        meta.owner_references = vec![controller("apps/v1", "ReplicaSet", &replica_set_name(workload))];
        meta.managed_fields = vec![("kubelet".to_owned(), self.managed_fields.clone())];
        let node = u32::try_from(slot).unwrap_or(0) % self.options.nodes;
        let status = if ready { "True" } else { "False" };
        let condition = |kind: &str| Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            last_transition: Some(self.created),
            ..Condition::default()
        };
        Pod {
            meta,
            init_containers: vec![container("setup", &app, None, serial, false)],
            containers: vec![
                container("app", &app, Some(self.options.port), serial, ready),
                container("proxy", "proxy", None, serial, ready),
            ],
            restart_policy: "Always".to_owned(),
            service_account_name: "default".to_owned(),
            node_name: node_name(node),
            scheduler_name: "default-scheduler".to_owned(),
            phase: if ready { "Running" } else { "Pending" }.to_owned(),
            conditions: vec![condition("Ready"), condition("ContainersReady")],
            host_ip: node_address(node).to_string(),
            pod_ip: if ready { pod_address(serial).to_string() } else { String::new() },
            start_time: Some(self.created),
            ..Pod::default()
        }
    }

    fn scrape_annotations(&self) -> BTreeMap<String, String> {
        labels([("prometheus.io/scrape", "true"), ("prometheus.io/port", &self.options.port.to_string())])
    }

    fn put_pod(&mut self, slot: usize) {
        let serial = self.slots[slot].serial;
        let name = pod_name(self.workload_of(slot), serial);
        self.addresses.assign(pod_address(serial), Owner::Pod(name.into()));
        self.store.put(&mut self.pod(slot));
    }

    fn put_workload(&self, workload: u32) {
        let (namespace, app) = (namespace_name(workload % NAMESPACES), workload_name(workload));
        let mut replica_set = self.meta(&namespace, &replica_set_name(workload), format!("rs-{workload:08}"));
        replica_set.owner_references = vec![controller("apps/v1", "Deployment", &app)];
        self.store.put(&mut OwnerObject { resource: ResourceKind::ReplicaSet, meta: replica_set });
        let mut service = self.meta(&namespace, &app, format!("service-{workload:08}"));
        service.labels = labels([("app", app.as_str())]);
        if workload % SCRAPED_EVERY == 1 {
            service.annotations = self.scrape_annotations();
        }
        let [_, b, c, d] = workload.to_be_bytes();
        self.store.put(&mut Service {
            meta: service,
            ports: vec![ServicePort {
                name: "metrics".to_owned(),
                protocol: "TCP".to_owned(),
                number: 80,
                target_port: IntOrString::Int(i32::from(self.options.port)),
            }],
            selector: labels([("app", app.as_str())]),
            cluster_ip: Ipv4Addr::new(127, b.wrapping_add(16), c, d).to_string(),
            service_type: "ClusterIP".to_owned(),
            ..Service::default()
        });
        self.put_endpoints(workload);
        if workload.is_multiple_of(INGRESS_EVERY) {
            self.store.put(&mut Ingress {
                meta: self.meta(&namespace, &app, format!("ingress-{workload:08}")),
                class_name: "simulated".to_owned(),
                tls: vec![vec![format!("{app}.example.com")]],
                rules: vec![IngressRule {
                    host: format!("{app}.example.com"),
                    paths: Some(vec!["/".to_owned()]),
                }],
            });
        }
    }

    /// Writes the Endpoints and EndpointSlices of a workload's service, as their controllers do.
    fn put_endpoints(&self, workload: u32) {
        let (namespace, app) = (namespace_name(workload % NAMESPACES), workload_name(workload));
        let slots: Vec<usize> = self.slots_of(workload).collect();
        for (number, slots) in slots.chunks(ENDPOINTS_PER_SLICE).enumerate() {
            let name = format!("{app}-{number}");
            let mut meta = self.meta(&namespace, &name, format!("slice-{workload:08}-{number}"));
            meta.labels = labels([("kubernetes.io/service-name", app.as_str())]);
            meta.owner_references = vec![controller("v1", "Service", &app)];
            self.store.put(&mut EndpointSlice {
                meta,
                address_type: "IPv4".to_owned(),
                endpoints: slots.iter().filter_map(|&slot| self.endpoint(slot)).collect(),
                ports: vec![SlicePort {
                    name: "metrics".to_owned(),
                    protocol: "TCP".to_owned(),
                    number: Some(i32::from(self.options.port)),
                    ..SlicePort::default()
                }],
            });
        }
        let addresses = slots.iter().filter_map(|&slot| self.endpoint_address(slot)).collect();
        self.store.put(&mut Endpoints {
            meta: self.meta(&namespace, &app, format!("endpoints-{workload:08}")),
            subsets: vec![EndpointSubset {
                addresses,
                not_ready_addresses: Vec::new(),
                ports: vec![EndpointPort {
                    name: "metrics".to_owned(),
                    number: i32::from(self.options.port),
                    protocol: "TCP".to_owned(),
                }],
            }],
        });
    }

    fn endpoint(&self, slot: usize) -> Option<Endpoint> {
        let address = self.endpoint_address(slot)?;
        let node = u32::try_from(slot).unwrap_or(0) % self.options.nodes;
        Some(Endpoint {
            addresses: vec![address.ip],
            ready: Some(true),
            serving: Some(true),
            terminating: Some(false),
            target: address.target,
            node_name: address.node_name,
            zone: zone_name(node),
            ..Endpoint::default()
        })
    }

    fn endpoint_address(&self, slot: usize) -> Option<EndpointAddress> {
        let Slot { serial, ready } = self.slots[slot];
        if !ready {
            return None;
        }
        let workload = self.workload_of(slot);
        Some(EndpointAddress {
            ip: pod_address(serial).to_string(),
            node_name: node_name(u32::try_from(slot).unwrap_or(0) % self.options.nodes),
            target: Some(TargetReference {
                kind: "Pod".to_owned(),
                namespace: namespace_name(workload % NAMESPACES),
                name: pod_name(workload, serial),
                uid: format!("pod-{serial:012}"),
            }),
            ..EndpointAddress::default()
        })
    }
}

fn labels<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn controller(api_version: &str, kind: &str, name: &str) -> OwnerReference {
    OwnerReference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        controller: Some(true),
        ..OwnerReference::default()
    }
}

fn container(name: &str, image: &str, port: Option<u16>, serial: u64, ready: bool) -> Container {
    let port = port.map(|number| ContainerPort {
        name: "metrics".to_owned(),
        number: i32::from(number),
        protocol: "TCP".to_owned(),
    });
    Container {
        name: name.to_owned(),
        image: format!("registry.example.com/{image}:1.0"),
        ports: port.into_iter().collect(),
        container_id: format!("containerd://{name}-{serial:020}"),
        ready,
        restart_count: 0,
    }
}

fn namespace_name(index: u32) -> String {
    format!("team-{index:02}")
}

fn node_name(index: u32) -> String {
    format!("node-{index:05}")
}

fn zone_name(node: u32) -> String {
    format!("region-1-{}", char::from(b'a' + (node % ZONES) as u8))
}

fn workload_name(workload: u32) -> String {
    format!("app-{workload:04}")
}

fn replica_set_name(workload: u32) -> String {
    format!("{}-5d8c9", workload_name(workload))
}

fn pod_name(workload: u32, serial: u64) -> String {
    format!("{}-5d8c9-{serial:06}", workload_name(workload))
}

fn node_address(index: u32) -> Ipv4Addr {
    Ipv4Addr::from(FIRST_NODE_ADDRESS + index)
}

fn pod_address(serial: u64) -> Ipv4Addr {
    let offset = u32::try_from(serial % POD_ADDRESSES).unwrap_or(0);
    // The range ends one short of 127.128.0.0.
    Ipv4Addr::from(FIRST_POD_ADDRESS + offset.min((1 << 22) - 2))
}

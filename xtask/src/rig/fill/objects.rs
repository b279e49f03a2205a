//! The objects, as a medium-sized company's clusters have them.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::super::network;
use super::FillPlan;

/// The ports of a fake pod, which nothing listens on.
pub(super) const IDLE_PORTS: [(&str, u16); 2] = [("http", 8080), ("metrics", 9090)];

const ZONES: [&str; 3] = ["zone-a", "zone-b", "zone-c"];
const INSTANCE_TYPES: [&str; 4] = ["m.large", "m.xlarge", "c.xlarge", "r.2xlarge"];
const TIERS: [&str; 4] = ["web", "api", "worker", "cache"];

/// Name of a namespace.
pub(super) fn team(index: u32) -> String {
    format!("team-{index:02}")
}

pub(super) fn namespace(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"team": name}}})
}

fn node_name(index: usize) -> String {
    format!("node-{index:05}")
}

fn zone(index: usize) -> &'static str {
    ZONES[index % ZONES.len()]
}

fn node_labels(name: &str, index: usize) -> Value {
    json!({
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": INSTANCE_TYPES[index % INSTANCE_TYPES.len()],
        "topology.kubernetes.io/region": "region-1",
        "topology.kubernetes.io/zone": zone(index),
    })
}

/// A node that kwok makes Ready.
pub(super) fn fake_node(index: usize, pod_network: &str) -> Value {
    let name = node_name(index);
    let address = network::nth(network::NODES, u32::try_from(index).unwrap_or(0) % (1 << 14)).to_string();
    let mut labels = node_labels(&name, index);
    labels["type"] = json!("kwok");
    json!({
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"}},
        "spec": {"podCIDR": pod_network, "podCIDRs": [pod_network], "providerID": format!("rig:///{}/{name}", zone(index))},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "allocatable": {"cpu": "32", "memory": "128Gi", "pods": "256"},
            "capacity": {"cpu": "32", "memory": "128Gi", "pods": "256"},
        },
    })
}

pub(super) fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

/// An owner reference to an object as the server returned it.
pub(super) fn owner(api_version: &str, kind: &str, object: &Value) -> Value {
    let (name, uid) = (&object["metadata"]["name"], &object["metadata"]["uid"]);
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true, "blockOwnerDeletion": true})
}

/// A Deployment with everything around it.
pub(super) struct App {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) namespace: String,
    first_pod: u32,
    replicas: u32,
}

impl App {
    /// The plan's pods as apps.
    pub(super) fn all(plan: &FillPlan) -> impl Iterator<Item = App> {
        let (size, pods, namespaces) = (plan.replicas.max(1), plan.pods, plan.namespaces.max(1));
        (0..pods.div_ceil(size)).map(move |index| App {
            index,
            name: format!("app-{index:05}"),
            namespace: team(index % namespaces),
            first_pod: index * size,
            replicas: size.min(pods - index * size),
        })
    }

    /// The path of a collection in the app's namespace.
    pub(super) fn collection(&self, group: &str, plural: &str) -> String {
        format!("{group}/namespaces/{}/{plural}", self.namespace)
    }

    fn labels(&self) -> Value {
        json!({
            "app.kubernetes.io/component": TIERS[self.index as usize % TIERS.len()],
            "app.kubernetes.io/managed-by": "rig",
            "app.kubernetes.io/name": self.name,
            "app.kubernetes.io/version": format!("1.{}.0", self.index % 10),
        })
    }

    fn pod_labels(&self) -> Value {
        let mut labels = self.labels();
        labels["pod-template-hash"] = json!(self.hash());
        labels
    }

    fn hash(&self) -> String {
        format!("{:010x}", scatter(self.index))
    }

    fn template(&self) -> Value {
        json!({
            "metadata": {
                "labels": self.pod_labels(),
                "annotations": {
                    "prometheus.io/scrape": "true", "prometheus.io/port": "9090", "prometheus.io/path": "/metrics",
                    "checksum/config": format!("{:016x}{:016x}", scatter(self.index), scatter(self.index + 1)),
                },
            },
            "spec": {
                "containers": self.containers(),
                "initContainers": self.init_containers(),
                "nodeSelector": {"kubernetes.io/os": "linux"},
                "terminationGracePeriodSeconds": 30,
            },
        })
    }

    fn containers(&self) -> Value {
        let ports: Vec<_> = IDLE_PORTS
            .iter()
            .map(|(name, port)| json!({"name": name, "containerPort": port, "protocol": "TCP"}))
            .collect();
        let mut containers = vec![json!({
            "name": "app",
            "image": format!("registry.example.com/{}/{}:1.{}.0", self.namespace, self.name, self.index % 10),
            "ports": ports,
            "env": [{"name": "LOG_LEVEL", "value": "info"}, {"name": "SERVICE", "value": self.name}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        })];
        if self.index.is_multiple_of(4) {
            containers.push(json!({
                "name": "proxy",
                "image": "registry.example.com/mesh/proxy:2.4.1",
                "ports": [{"name": "http-envoy-prom", "containerPort": 15090, "protocol": "TCP"}],
            }));
        }
        json!(containers)
    }

    fn init_containers(&self) -> Value {
        if self.index.is_multiple_of(5) {
            json!([{"name": "migrate", "image": "registry.example.com/tools/migrate:0.9.0"}])
        } else {
            json!([])
        }
    }

    pub(super) fn deployment(&self) -> Value {
        json!({
            "metadata": {"name": self.name, "labels": self.labels()},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": {"app.kubernetes.io/name": self.name}},
                "template": self.template(),
            },
        })
    }

    pub(super) fn replica_set(&self, owner: Value) -> Value {
        let selector = json!({"app.kubernetes.io/name": self.name, "pod-template-hash": self.hash()});
        json!({
            "metadata": {"name": format!("{}-{}", self.name, self.hash()), "labels": self.pod_labels(), "ownerReferences": [owner]},
            "spec": {"replicas": self.replicas, "selector": {"matchLabels": selector}, "template": self.template()},
        })
    }

    pub(super) fn pods(&self, nodes: u32, owner: &Value) -> impl Iterator<Item = Value> {
        (self.first_pod..self.first_pod + self.replicas).map(move |number| {
            let mut pod = self.template();
            pod["metadata"]["name"] =
                json!(format!("{}-{}-{:05x}", self.name, self.hash(), scatter(number) & 0xf_ffff));
            pod["metadata"]["ownerReferences"] = json!([owner]);
            pod["spec"]["nodeName"] = json!(node_name((number % nodes) as usize));
            pod
        })
    }

    pub(super) fn service(&self) -> Value {
        let annotations = json!({"prometheus.io/scrape": "true", "prometheus.io/port": "9090"});
        json!({
            "metadata": {"name": self.name, "labels": self.labels(), "annotations": annotations},
            "spec": {
                "selector": {"app.kubernetes.io/name": self.name},
                "ports": [
                    {"name": "http", "port": 80, "targetPort": "http"},
                    {"name": "metrics", "port": 9090, "targetPort": "metrics"},
                ],
            },
        })
    }

    pub(super) fn ingress(&self) -> Value {
        let host = format!("{}.example.com", self.name);
        let backend = json!({"service": {"name": self.name, "port": {"name": "http"}}});
        let path = |path: &str| json!({"path": path, "pathType": "Prefix", "backend": backend});
        json!({
            "metadata": {"name": self.name, "labels": self.labels()},
            "spec": {
                "ingressClassName": "nginx",
                "tls": if self.index.is_multiple_of(2) { json!([{"hosts": [host], "secretName": "tls"}]) } else { json!([]) },
                "rules": [{"host": host, "http": {"paths": [path("/"), path("/api")]}}],
            },
        })
    }
}

/// A number that looks random; the same for the same input.
fn scatter(number: u32) -> u64 {
    (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24
}

fn job_template(index: u32) -> Value {
    json!({
        "metadata": {"labels": {"app.kubernetes.io/name": cron_job_name(index)}},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{
                "name": "task", "image": "registry.example.com/tools/task:3.1.0",
                "ports": [{"name": "metrics", "containerPort": 9091}],
            }],
        },
    })
}

fn cron_job_name(index: u32) -> String {
    format!("report-{index:04}")
}

fn job_name(index: u32) -> String {
    format!("{}-29384010", cron_job_name(index))
}

pub(super) fn cron_job(index: u32) -> Value {
    let template = json!({"spec": {"template": job_template(index)}});
    json!({"metadata": {"name": cron_job_name(index)}, "spec": {"schedule": "30 2 * * *", "jobTemplate": template}})
}

pub(super) fn job(index: u32, owner: Value) -> Value {
    let metadata = json!({"name": job_name(index), "ownerReferences": [owner]});
    json!({"metadata": metadata, "spec": {"template": job_template(index)}})
}

pub(super) fn job_pod(index: u32, nodes: u32, owner: Value) -> Value {
    let mut pod = job_template(index);
    pod["metadata"]["name"] = json!(format!("{}-{:05x}", job_name(index), scatter(index) & 0xf_ffff));
    pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] = json!(job_name(index));
    pod["metadata"]["ownerReferences"] = json!([owner]);
    pod["spec"]["nodeName"] = json!(node_name((index % nodes) as usize));
    pod
}

fn target(pod: &Value) -> Value {
    let metadata = &pod["metadata"];
    json!({"kind": "Pod", "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]})
}

pub(super) fn endpoints(service: &str, pods: &[Value], ports: &[(&str, u16)]) -> Value {
    let with_address = pods.iter().filter(|pod| pod["status"]["podIP"].is_string());
    let addresses: Vec<_> = with_address
        .map(|pod| json!({"ip": pod["status"]["podIP"], "nodeName": pod["spec"]["nodeName"], "targetRef": target(pod)}))
        .collect();
    let ports: Vec<_> =
        ports.iter().map(|(name, port)| json!({"name": name, "port": port, "protocol": "TCP"})).collect();
    let subsets =
        if addresses.is_empty() { json!([]) } else { json!([{"addresses": addresses, "ports": ports}]) };
    json!({"metadata": {"name": service, "labels": {"app.kubernetes.io/name": service}}, "subsets": subsets})
}

pub(super) fn endpoint_slice(service: &str, index: usize, pods: &[Value], ports: &[(&str, u16)]) -> Value {
    let with_address = pods.iter().filter(|pod| pod["status"]["podIP"].is_string());
    let endpoints: Vec<_> = with_address
        .map(|pod| {
            json!({
                "addresses": [pod["status"]["podIP"]],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": pod["spec"]["nodeName"],
                "targetRef": target(pod),
            })
        })
        .collect();
    let ports: Vec<_> =
        ports.iter().map(|(name, port)| json!({"name": name, "port": port, "protocol": "TCP"})).collect();
    json!({
        "metadata": {
            "name": format!("{service}-{index:05}"),
            "labels": {"kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": "rig"},
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": ports,
    })
}

fn exporter_labels() -> Value {
    json!({"app.kubernetes.io/name": "node-exporter", "app.kubernetes.io/component": "metrics"})
}

pub(super) fn exporter_daemon_set() -> Value {
    let template = json!({
        "metadata": {"labels": exporter_labels()},
        "spec": {"containers": [{"name": "node-exporter", "image": "registry.example.com/node-exporter:1.5.0"}]},
    });
    json!({
        "metadata": {"name": "node-exporter", "labels": exporter_labels()},
        "spec": {"selector": {"matchLabels": exporter_labels()}, "template": template},
    })
}

fn exporter_node_name(index: usize) -> String {
    format!("live-{index:03}")
}

/// A Ready node at a node_exporter's address, whose "kubelet" is the node_exporter. kwok leaves it alone.
pub(super) fn exporter_node(index: usize, address: SocketAddr) -> Value {
    let name = exporter_node_name(index);
    let mut labels = node_labels(&name, index);
    labels["type"] = json!("live");
    json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"providerID": format!("rig:///{}/{name}", zone(index))},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": address.ip().to_string()},
                {"type": "Hostname", "address": name},
            ],
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "a node_exporter runs here"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": address.port()}},
        },
    })
}

pub(super) fn exporter_pod(index: usize, address: SocketAddr, owner: &Value) -> Value {
    let annotations =
        json!({"prometheus.io/scrape": "true", "prometheus.io/port": address.port().to_string()});
    let number = u32::try_from(index).unwrap_or(0);
    let name = format!("node-exporter-{:05x}", scatter(number) & 0xf_ffff);
    json!({
        "metadata": {"name": name, "labels": exporter_labels(), "annotations": annotations, "ownerReferences": [owner]},
        "spec": {
            "nodeName": exporter_node_name(index),
            "containers": [{
                "name": "node-exporter",
                "image": "registry.example.com/node-exporter:1.5.0",
                "ports": [{"name": "metrics", "containerPort": address.port(), "protocol": "TCP"}],
            }],
        },
    })
}

pub(super) fn exporter_status(address: SocketAddr) -> Value {
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"];
    let conditions = conditions.map(|kind| json!({"type": kind, "status": "True"}));
    let address = address.ip().to_string();
    json!({
        "phase": "Running",
        "podIP": address, "podIPs": [{"ip": address}],
        "hostIP": address, "hostIPs": [{"ip": address}],
        "conditions": conditions,
        "containerStatuses": [{
            "name": "node-exporter", "image": "registry.example.com/node-exporter:1.5.0", "imageID": "",
            "containerID": "containerd://rig", "ready": true, "started": true, "restartCount": 0, "state": {"running": {}},
        }],
    })
}

pub(super) fn exporter_service(port: u16) -> Value {
    let annotations = json!({"prometheus.io/scrape": "true", "prometheus.io/port": port.to_string()});
    json!({
        "metadata": {"name": "node-exporter", "labels": exporter_labels(), "annotations": annotations},
        "spec": {
            "clusterIP": "None",
            "selector": exporter_labels(),
            "ports": [{"name": "metrics", "port": port, "targetPort": "metrics"}],
        },
    })
}

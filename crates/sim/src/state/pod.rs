//! Pods, and the templates they are made from.

use outrigger_wire::kubernetes::ResourceKind;
use outrigger_wire::protobuf::Writer;

use super::encode::{Metadata, Object, Owner, number_or_text, pairs, quantities, seconds};
use super::{PODS_PER_DEPLOYMENT, REPLICA_SETS, Stage, names};

/// Containers of every pod: name, image, requests and limits of processor and memory.
struct Shape {
    name: &'static str,
    requests: [(&'static str, &'static str); 2],
    limits: [(&'static str, &'static str); 2],
}

const MAIN: Shape = Shape {
    name: "main",
    requests: [("cpu", "250m"), ("memory", "512Mi")],
    limits: [("cpu", "1"), ("memory", "1Gi")],
};
const PROXY: Shape = Shape {
    name: "proxy",
    requests: [("cpu", "50m"), ("memory", "64Mi")],
    limits: [("cpu", "200m"), ("memory", "128Mi")],
};
const SETUP: Shape = Shape {
    name: "setup",
    requests: [("cpu", "10m"), ("memory", "32Mi")],
    limits: [("cpu", "100m"), ("memory", "64Mi")],
};

/// Labels of everything that belongs to an application.
pub(super) fn application_labels(deployment: u64) -> [(&'static str, String); 3] {
    [
        ("app.kubernetes.io/instance", names::application(deployment)),
        ("app.kubernetes.io/name", names::application(deployment % 72)),
        ("app.kubernetes.io/version", format!("v1.{}.{}", deployment % 40, deployment % 9)),
    ]
}

/// The same, to be read.
pub(super) fn borrowed<'a>(labels: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    labels.iter().map(|(key, value)| (*key, value.as_str())).collect()
}

fn image(shape: &Shape, deployment: u64) -> String {
    let version = format!("v1.{}.{}", deployment % 40, deployment % 9);
    match shape.name {
        "main" => format!(
            "registry.example.com/team-{:04}/{}:{version}",
            deployment / 5,
            names::application(deployment % 72)
        ),
        other => format!("registry.example.com/platform/{other}:1.29.2"),
    }
}

/// The address of a pod.
pub(super) fn address(number: u64, serial: u64) -> String {
    let address = (number + serial * 65_521) % 0xff_ffff + 1;
    format!("10.{}.{}.{}", address >> 16 & 0xff, address >> 8 & 0xff, address & 0xff)
}

/// The address of a node.
pub(super) fn node_address(node: u64) -> String {
    format!("172.{}.{}.{}", 16 + (node >> 16 & 0xf), node >> 8 & 0xff, node & 0xff)
}

impl Object {
    pub(super) fn pod(&self, writer: &mut Writer<'_>) {
        let number = self.number();
        let (serial, stage) = (self.made.edition >> 2, Stage::ALL[(self.made.edition & 3) as usize]);
        let deployment = number / PODS_PER_DEPLOYMENT;
        let hash = names::template_hash(deployment, 0);
        let application = application_labels(deployment);
        let mut labels = borrowed(&application);
        labels.push(("pod-template-hash", &hash));
        let uid = names::uid(ResourceKind::Pod, number, serial);
        let replica_set = names::replica_set(deployment, 0);
        let created = self.created() + serial as i64;
        self.metadata_of(
            writer,
            &Metadata {
                uid: &uid,
                created,
                labels: &labels,
                annotations: &[
                    ("kubectl.kubernetes.io/restartedAt", "2026-10-02T09:12:44Z"),
                    ("prometheus.io/port", "9090"),
                    ("prometheus.io/scrape", "true"),
                ],
                owner: Some(Owner {
                    api_version: "apps/v1",
                    kind: "ReplicaSet",
                    name: &replica_set,
                    uid: names::uid(ResourceKind::ReplicaSet, deployment * REPLICA_SETS, 0),
                }),
                managers: 2,
            },
        );
        let node = (stage >= Stage::Scheduled).then(|| names::node(number % self.all.nodes()));
        writer.message(2, |spec| pod_spec(spec, deployment, node.as_deref()));
        writer.message(3, |status| self.pod_status(status, serial, stage, created));
    }

    fn pod_status(&self, status: &mut Writer<'_>, serial: u64, stage: Stage, created: i64) {
        let number = self.number();
        let deployment = number / PODS_PER_DEPLOYMENT;
        let runs = stage >= Stage::Running;
        let ready = stage == Stage::Ready;
        status.string(1, if runs { "Running" } else { "Pending" });
        for (kind, holds, after) in [
            ("PodReadyToStartContainers", runs, 3),
            ("Initialized", runs, 4),
            ("Ready", ready, 9),
            ("ContainersReady", ready, 9),
            ("PodScheduled", stage >= Stage::Scheduled, 0),
        ] {
            status.message(2, |condition| {
                condition.string(1, kind);
                condition.string(2, if holds { "True" } else { "False" });
                condition.message(4, |time| seconds(time, created + after));
                condition.string(5, if holds || kind != "Ready" { "" } else { "ContainersNotReady" });
                condition.string(6, "");
                condition.int(7, 1);
            });
        }
        status.string(3, "");
        status.string(4, "");
        if stage >= Stage::Scheduled {
            let host = node_address(number % self.all.nodes());
            status.string(5, &host);
            if runs {
                let address = address(number, serial);
                status.string(6, &address);
                status.message(12, |ip| ip.string(1, &address));
            }
            status.message(7, |time| seconds(time, created));
            for shape in [&MAIN, &PROXY] {
                status.message(8, |container| {
                    self.container_status(container, shape, deployment, serial, created, runs, ready);
                });
            }
            status.message(10, |container| {
                self.container_status(container, &SETUP, deployment, serial, created, runs, runs);
            });
            status.message(16, |ip| ip.string(1, &host));
        }
        status.string(9, "Burstable");
        status.string(11, "");
        status.string(14, "");
        status.int(17, 1);
    }

    fn container_status(
        &self,
        status: &mut Writer<'_>,
        shape: &Shape,
        deployment: u64,
        serial: u64,
        created: i64,
        runs: bool,
        ready: bool,
    ) {
        let identity = |at: u64| names::digest(self.random(at + serial * 100 + shape.name.len() as u64));
        let setup = shape.name == SETUP.name;
        let restarts =
            if runs && shape.name == MAIN.name && self.random(9).is_multiple_of(20) { 3 } else { 0 };
        let terminated = |state: &mut Writer<'_>, code: i64, reason: &str, at: i64| {
            state.message(3, |terminated| {
                terminated.int(1, code);
                terminated.int(2, 0);
                terminated.string(3, reason);
                terminated.string(4, "");
                terminated.message(5, |time| seconds(time, at - 1));
                terminated.message(6, |time| seconds(time, at));
                terminated.string(7, &format!("containerd://{}", identity(30)));
            });
        };
        status.string(1, shape.name);
        status.message(2, |state| match (runs, setup) {
            (false, _) => state.message(1, |waiting| {
                waiting.string(1, if setup { "PodInitializing" } else { "ContainerCreating" });
                waiting.string(2, "");
            }),
            (true, true) => terminated(state, 0, "Completed", created + 4),
            (true, false) => {
                state.message(2, |running| running.message(1, |time| seconds(time, created + 5)));
            }
        });
        status.message(3, |state| {
            if restarts > 0 {
                terminated(state, 137, "OOMKilled", created + 5);
            }
        });
        status.boolean(4, ready);
        status.int(5, restarts);
        let image = image(shape, deployment);
        status.string(6, &image);
        if runs {
            let repository = image.rsplit_once(':').map_or(image.as_str(), |(repository, _)| repository);
            let seed = if shape.name == MAIN.name { deployment % 72 } else { 1 << 40 };
            status.string(7, &format!("{repository}@sha256:{}", names::digest(seed)));
            status.string(8, &format!("containerd://{}", identity(20)));
        } else {
            status.string(7, "");
            status.string(8, "");
        }
        status.boolean(9, runs && !setup);
    }
}

/// `PodSpec` of a pod of a Deployment, or of its template where there is no node.
pub(super) fn pod_spec(spec: &mut Writer<'_>, deployment: u64, node: Option<&str>) {
    let application = names::application(deployment);
    spec.message(1, |volume| {
        volume.string(1, "configuration");
        volume.message(2, |source| {
            source.message(19, |map| {
                map.message(1, |reference| reference.string(1, &application));
                map.int(3, 420);
            });
        });
    });
    if node.is_some() {
        spec.message(1, |volume| {
            volume.string(1, "kube-api-access-7xk2p");
            volume.message(2, |source| {
                source.message(26, |projected| {
                    projected.message(1, |one| {
                        one.message(4, |token| {
                            token.string(1, "");
                            token.int(2, 3607);
                            token.string(3, "token");
                        });
                    });
                    projected.message(1, |one| {
                        one.message(3, |map| {
                            map.message(1, |reference| reference.string(1, "kube-root-ca.crt"));
                        });
                    });
                    projected.int(2, 420);
                });
            });
        });
    }
    for shape in [&MAIN, &PROXY] {
        spec.message(2, |one| container(one, shape, deployment));
    }
    spec.string(3, "Always");
    spec.int(4, 30);
    spec.string(6, "ClusterFirst");
    pairs(spec, 7, &[("kubernetes.io/os", "linux")]);
    spec.string(8, &application);
    spec.string(9, &application);
    spec.string(10, node.unwrap_or_default());
    spec.boolean(11, false);
    spec.boolean(12, false);
    spec.boolean(13, false);
    spec.message(14, |context| {
        context.int(2, 1000);
        context.boolean(3, true);
        context.int(5, 1000);
    });
    spec.string(16, "");
    spec.string(17, "");
    spec.string(19, "default-scheduler");
    spec.message(20, |one| container(one, &SETUP, deployment));
    if node.is_some() {
        for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            spec.message(22, |toleration| {
                toleration.string(1, key);
                toleration.string(2, "Exists");
                toleration.string(3, "");
                toleration.string(4, "NoExecute");
                toleration.int(5, 300);
            });
        }
        spec.int(25, 0);
        spec.boolean(30, true);
        spec.string(31, "PreemptLowerPriority");
    }
    spec.string(24, if deployment.is_multiple_of(10) { "high-priority" } else { "" });
}

fn container(container: &mut Writer<'_>, shape: &Shape, deployment: u64) {
    container.string(1, shape.name);
    container.string(2, &image(shape, deployment));
    for argument in ["--config=/etc/application/config.yaml", "--log-format=json", "--listen=:8080"] {
        container.string(4, argument);
    }
    container.string(5, "");
    if shape.name != SETUP.name {
        for (name, number) in [("http", 8080), ("metrics", 9090)] {
            container.message(6, |port| {
                port.string(1, name);
                port.int(2, 0);
                port.int(3, number);
                port.string(4, "TCP");
                port.string(5, "");
            });
        }
        container.message(10, probe);
        container.message(11, probe);
    }
    for (name, value) in [
        ("LOG_LEVEL", "info"),
        ("ENVIRONMENT", "production"),
        ("GOMAXPROCS", "2"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.observability.svc.cluster.local:4317"),
        ("DATABASE_HOST", "database.storage.svc.cluster.local"),
        ("CACHE_HOST", "cache.storage.svc.cluster.local"),
    ] {
        container.message(7, |variable| {
            variable.string(1, name);
            variable.string(2, value);
        });
    }
    container.message(8, |resources| {
        quantities(resources, 1, &shape.limits);
        quantities(resources, 2, &shape.requests);
    });
    for (name, path) in [
        ("configuration", "/etc/application"),
        ("kube-api-access-7xk2p", "/var/run/secrets/kubernetes.io/serviceaccount"),
    ] {
        container.message(9, |mount| {
            mount.string(1, name);
            mount.boolean(2, true);
            mount.string(3, path);
            mount.string(4, "");
            mount.string(6, "");
        });
    }
    container.string(13, "/dev/termination-log");
    container.string(14, "IfNotPresent");
    container.message(15, |context| {
        context.boolean(5, true);
        context.boolean(6, true);
        context.boolean(7, false);
    });
    for field in 16..=18 {
        container.boolean(field, false);
    }
    container.string(20, "File");
}

fn probe(probe: &mut Writer<'_>) {
    probe.message(1, |handler| {
        handler.message(2, |get| {
            get.string(1, "/healthz");
            get.message(2, |port| number_or_text(port, 8080));
            get.string(3, "");
            get.string(4, "HTTP");
        });
    });
    for (field, value) in [(2, 5), (3, 1), (4, 10), (5, 1), (6, 3)] {
        probe.int(field, value);
    }
}

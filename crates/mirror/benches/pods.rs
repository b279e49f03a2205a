//! Prints what a pod costs: time to scan, to take over and to read, beside a full decoder, and memory.
//!
//! `cargo bench -p outrigger-mirror` runs it with 15,000 nodes and 450,000 pods; as a test it uses a few.

#![allow(clippy::print_stdout, reason = "a program that prints figures")]
#![allow(clippy::unwrap_used, reason = "a benchmark may stop")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use k8s_pb::api::core::v1::{
    Container, ContainerPort, ContainerState, ContainerStateRunning, ContainerStatus, EnvVar, HttpGetAction,
    Pod, PodCondition, PodIp, PodSpec, PodStatus, Probe, ProbeHandler, ResourceRequirements, Toleration,
    Volume, VolumeMount,
};
use k8s_pb::apimachinery::pkg::api::resource::Quantity;
use k8s_pb::apimachinery::pkg::apis::meta::v1::{
    FieldsV1, ManagedFieldsEntry, ObjectMeta, OwnerReference, Time,
};
use outrigger_mirror::{Change, Mirror};
use outrigger_wire::kubernetes::ResourceKind;
use outrigger_wire::kubernetes::object::{Condition, Node, Object, ObjectMeta as PlainMeta};
use outrigger_wire::kubernetes::scan::PodFields;
use prost::Message;

fn main() {
    let measured = std::env::args().any(|argument| argument == "--bench");
    let (nodes, pods) = if measured { (15_000, 450_000) } else { (10, 300) };
    let sample: Vec<Vec<u8>> =
        (0..2_000.min(pods)).map(|number| pod(number, nodes).encode_to_vec()).collect();
    let bytes: usize = sample.iter().map(Vec::len).sum();
    println!("pod message: {} bytes on average, with managedFields", bytes / sample.len());

    let full = per_pod(&sample, 10, |message| drop(black_box(Pod::decode(message).unwrap())));
    let scan = scan_time(&sample, 100);
    println!("decode with k8s-pb: {full:>8} ns a pod");
    println!("scan:               {scan:>8} ns a pod, {:.1} x faster", full as f64 / scan.max(1) as f64);
    fill(nodes, pods, full);
}

/// Time this thread has run; less disturbed by other processes than the time of day.
fn now() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let running = statistics.split_whitespace().next().and_then(|nanoseconds| nanoseconds.parse().ok());
    running.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

/// Nanoseconds for each message.
fn per_pod(messages: &[Vec<u8>], rounds: usize, mut work: impl FnMut(&[u8])) -> u128 {
    let start = now();
    for _ in 0..rounds {
        messages.iter().for_each(|message| work(message));
    }
    (now() - start).as_nanos() / (rounds * messages.len()) as u128
}

fn scan_time(messages: &[Vec<u8>], rounds: usize) -> u128 {
    let start = now();
    for _ in 0..rounds {
        let mut fields = PodFields::default();
        for message in messages {
            let mut reused = fields.recycle();
            reused.scan(message).unwrap();
            black_box(&reused);
            fields = reused;
        }
    }
    (now() - start).as_nanos() / (rounds * messages.len()) as u128
}

/// Fills a mirror and reads it.
fn fill(nodes: usize, pods: usize, full: u128) {
    let before = resident();
    let mut mirror = Mirror::new();
    for number in 0..nodes {
        mirror.apply(ResourceKind::Node, Change::Upsert, &node(number).to_message()).unwrap();
    }
    // Messages are made in batches so that they do not count as memory of the mirror.
    let batches = || (0..pods).step_by(2_000).map(move |first| first..pods.min(first + 2_000));
    let apply_all = |mirror: &mut Mirror, edit: fn(&mut Pod)| {
        let mut spent = Duration::ZERO;
        for batch in batches() {
            let messages: Vec<Vec<u8>> = batch
                .map(|number| {
                    let mut pod = pod(number, nodes);
                    edit(&mut pod);
                    pod.encode_to_vec()
                })
                .collect();
            let start = now();
            for message in &messages {
                mirror.apply(ResourceKind::Pod, Change::Upsert, message).unwrap();
            }
            spent += now() - start;
        }
        spent.as_nanos() / pods as u128
    };
    let report = |what: &str, time: u128| {
        println!(
            "{what:<20}{time:>8} ns a pod, {:.1} x faster than decoding",
            full as f64 / time.max(1) as f64
        );
    };
    let insert = apply_all(&mut mirror, |_| ());
    report("insert:", insert);
    let after = resident();
    print_memory(&mirror, after.saturating_sub(before));

    let version = mirror.version();
    let same =
        apply_all(&mut mirror, |pod| pod.metadata.as_mut().unwrap().resource_version = Some("9".to_owned()));
    assert_eq!(mirror.version(), version);
    report("apply unchanged:", same);
    let changed =
        apply_all(&mut mirror, |pod| pod.status.as_mut().unwrap().phase = Some("Failed".to_owned()));
    report("apply changed:", changed);

    let rounds = 20;
    let start = now();
    let running: usize =
        (0..rounds).map(|_| mirror.pods().iter().filter(|(_, pod)| pod.phase() == "Running").count()).sum();
    let time = (now() - start).as_nanos() / (rounds * pods) as u128;
    println!("filter by phase:    {time:>8} ns a pod ({running} rows found)");
    let start = now();
    let mut length = 0;
    for (_, pod) in mirror.pods().iter() {
        length +=
            pod.labels().chain(pod.annotations()).map(|(key, value)| key.len() + value.len()).sum::<usize>();
        length += pod
            .containers()
            .flat_map(|container| container.ports())
            .map(|port| port.name.len())
            .sum::<usize>();
        length += pod.name().len() + pod.uid().len() + pod.pod_ip().len() + pod.ready().len();
    }
    println!(
        "read everything:    {:>8} ns a pod ({length} bytes)",
        (now() - start).as_nanos() / pods as u128
    );

    let start = now();
    mirror.begin_generation(ResourceKind::Pod);
    mirror.commit_generation(ResourceKind::Pod);
    println!("delete:             {:>8} ns a pod", (now() - start).as_nanos() / pods as u128);
    let left: usize =
        mirror.memory().iter().filter(|table| table.resource == ResourceKind::Pod).map(|t| t.bytes).sum();
    println!("left of the pods:   {:>8} KiB", left >> 10);
}

fn print_memory(mirror: &Mirror, resident: usize) {
    let mut all = 0;
    for table in mirror.memory().iter().filter(|table| table.rows > 0) {
        let (rows, bytes) = (table.rows, table.bytes);
        all += bytes;
        println!(
            "memory of {:<10}{:>8} rows, {} bytes each, {:.1} MiB, {} distinct texts",
            table.resource,
            rows,
            bytes / rows,
            bytes as f64 / 1_048_576.0,
            table.texts
        );
    }
    println!(
        "memory in all:      {:.1} MiB by its own account, {:.1} MiB more resident",
        all as f64 / 1_048_576.0,
        resident as f64 / 1_048_576.0
    );
}

/// Resident bytes of this process; 0 where the system does not tell.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

fn text(text: impl Into<String>) -> Option<String> {
    Some(text.into())
}

fn hex(number: usize, digits: usize) -> String {
    let mut state = number as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let mut result = String::with_capacity(digits + 16);
    while result.len() < digits {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        result.push_str(&format!("{:016x}", state ^ (state >> 29)));
    }
    result.truncate(digits);
    result
}

fn uid(number: usize) -> String {
    let digits = hex(number, 32);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

fn time(seconds: usize) -> Option<Time> {
    Some(Time { seconds: Some(1_780_000_000 + seconds as i64), nanos: Some(0) })
}

fn map<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A pod as deployments make them: a third of the cluster's pods belong to sets of 30, the others to larger ones.
fn pod(number: usize, nodes: usize) -> Pod {
    let set = if number.is_multiple_of(3) { number / 90 } else { 1_000_000 + number / 900 };
    let app = format!("service-{}", set % 5_000);
    let template_hash = hex(set, 10);
    let replica_set = format!("{app}-{template_hash}");
    let node = number % nodes;
    let name = format!("{replica_set}-{}", &hex(number, 5));
    Pod {
        metadata: Some(ObjectMeta {
            name: text(format!("{name}{:x}", number % 4096)),
            generate_name: text(format!("{replica_set}-")),
            namespace: text(format!("team-{}", set % 200)),
            uid: text(uid(number)),
            resource_version: text(format!("{}", 900_000_000 + number)),
            creation_timestamp: time(number),
            labels: map([
                ("app.kubernetes.io/name", app.clone()),
                ("app.kubernetes.io/instance", format!("{app}-prod")),
                ("app.kubernetes.io/version", format!("v1.{}.0", set % 40)),
                ("app.kubernetes.io/managed-by", "Helm".to_owned()),
                ("pod-template-hash", template_hash),
                ("team", format!("team-{}", set % 200)),
            ]),
            annotations: map([
                ("checksum/config", hex(set, 64)),
                ("cni.projectcalico.org/containerID", hex(number, 64)),
                ("cni.projectcalico.org/podIP", format!("{}/32", pod_ip(number))),
                ("cni.projectcalico.org/podIPs", format!("{}/32", pod_ip(number))),
                ("prometheus.io/port", "9090".to_owned()),
                ("prometheus.io/scrape", "true".to_owned()),
            ]),
            owner_references: vec![OwnerReference {
                api_version: text("apps/v1"),
                kind: text("ReplicaSet"),
                name: text(replica_set),
                uid: text(uid(set)),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }],
            managed_fields: ["kube-controller-manager", "calico", "kubelet"]
                .iter()
                .map(|manager| ManagedFieldsEntry {
                    manager: text(*manager),
                    operation: text("Update"),
                    api_version: text("v1"),
                    time: time(number),
                    fields_type: text("FieldsV1"),
                    fields_v1: Some(FieldsV1 { raw: Some(managed_fields()) }),
                    ..ManagedFieldsEntry::default()
                })
                .collect(),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            volumes: (0..3)
                .map(|i| Volume { name: text(format!("volume-{i}")), volume_source: None })
                .collect(),
            init_containers: vec![container("init", &app, set)],
            containers: vec![container("main", &app, set), container("sidecar", &app, set)],
            restart_policy: text("Always"),
            dns_policy: text("ClusterFirst"),
            service_account_name: text(app.clone()),
            service_account: text(app.clone()),
            node_name: text(node_name(node)),
            scheduler_name: text("default-scheduler"),
            tolerations: ["not-ready", "unreachable"]
                .iter()
                .map(|key| Toleration {
                    key: text(format!("node.kubernetes.io/{key}")),
                    operator: text("Exists"),
                    effect: text("NoExecute"),
                    toleration_seconds: Some(300),
                    ..Toleration::default()
                })
                .collect(),
            ..PodSpec::default()
        }),
        status: Some(PodStatus {
            phase: text("Running"),
            conditions: [
                "PodReadyToStartContainers",
                "Initialized",
                "Ready",
                "ContainersReady",
                "PodScheduled",
            ]
            .iter()
            .map(|kind| PodCondition {
                r#type: text(*kind),
                status: text("True"),
                last_transition_time: time(number),
                ..PodCondition::default()
            })
            .collect(),
            host_ip: text(host_ip(node)),
            pod_ip: text(pod_ip(number)),
            pod_ips: vec![PodIp { ip: text(pod_ip(number)) }],
            start_time: time(number),
            init_container_statuses: vec![status("init", &app, set, number)],
            container_statuses: vec![
                status("main", &app, set, number + 1),
                status("sidecar", &app, set, number + 2),
            ],
            qos_class: text("Burstable"),
            ..PodStatus::default()
        }),
    }
}

fn pod_ip(number: usize) -> String {
    format!("10.{}.{}.{}", 64 + number / 65_536, number / 256 % 256, number % 256)
}

fn host_ip(node: usize) -> String {
    format!("172.16.{}.{}", node / 256, node % 256)
}

fn node_name(node: usize) -> String {
    format!("ip-172-16-{}-{}.eu-central-1.compute.internal", node / 256, node % 256)
}

fn image(name: &str, app: &str, set: usize) -> String {
    format!("registry.example.com/platform/{app}/{name}:v1.{}.0", set % 40)
}

fn managed_fields() -> Vec<u8> {
    let field = r#""f:status":{"f:conditions":{"k:{\"type\":\"Ready\"}":{".":{},"f:lastProbeTime":{},"f:status":{}}}},"#;
    format!("{{{}}}", field.repeat(9)).into_bytes()
}

fn container(name: &str, app: &str, set: usize) -> Container {
    let quantity = |value: &str| Quantity { string: text(value) };
    let resources =
        BTreeMap::from([("cpu".to_owned(), quantity("100m")), ("memory".to_owned(), quantity("128Mi"))]);
    let handler = HttpGetAction { path: text("/healthz"), scheme: text("HTTP"), ..HttpGetAction::default() };
    let probe = || Probe {
        handler: Some(ProbeHandler { http_get: Some(handler.clone()), ..ProbeHandler::default() }),
        timeout_seconds: Some(1),
        period_seconds: Some(10),
        ..Probe::default()
    };
    let port = |name: &str, number: i32| ContainerPort {
        name: text(name),
        container_port: Some(number),
        protocol: text("TCP"),
        ..ContainerPort::default()
    };
    Container {
        name: text(name),
        image: text(image(name, app, set)),
        args: vec!["--config=/etc/config/config.yaml".to_owned(), "--log-level=info".to_owned()],
        ports: vec![port("http", 8080), port("metrics", 9090)],
        env: (0..6)
            .map(|i| EnvVar {
                name: text(format!("SETTING_{i}")),
                value: text(format!("value-{i}")),
                value_from: None,
            })
            .collect(),
        resources: Some(ResourceRequirements {
            requests: resources.clone(),
            limits: resources,
            claims: Vec::new(),
        }),
        volume_mounts: (0..3)
            .map(|i| VolumeMount {
                name: text(format!("volume-{i}")),
                mount_path: text(format!("/mnt/volume-{i}")),
                ..VolumeMount::default()
            })
            .collect(),
        liveness_probe: Some(probe()),
        readiness_probe: Some(probe()),
        termination_message_path: text("/dev/termination-log"),
        image_pull_policy: text("IfNotPresent"),
        ..Container::default()
    }
}

fn status(name: &str, app: &str, set: usize, number: usize) -> ContainerStatus {
    let running = ContainerStateRunning { started_at: time(number) };
    ContainerStatus {
        name: text(name),
        state: Some(ContainerState { running: Some(running), ..ContainerState::default() }),
        ready: Some(true),
        restart_count: Some(0),
        image: text(image(name, app, set)),
        image_id: text(format!("registry.example.com/platform/{app}/{name}@sha256:{}", hex(set, 64))),
        container_id: text(format!("containerd://{}", hex(number, 64))),
        started: Some(true),
        ..ContainerStatus::default()
    }
}

fn node(number: usize) -> Node {
    let name = node_name(number);
    let conditions = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];
    Node {
        meta: PlainMeta {
            uid: uid(number),
            labels: map([
                ("beta.kubernetes.io/arch", "amd64".to_owned()),
                ("beta.kubernetes.io/instance-type", "m5.4xlarge".to_owned()),
                ("beta.kubernetes.io/os", "linux".to_owned()),
                ("failure-domain.beta.kubernetes.io/region", "eu-central-1".to_owned()),
                ("failure-domain.beta.kubernetes.io/zone", format!("eu-central-1{}", number % 3)),
                ("kubernetes.io/arch", "amd64".to_owned()),
                ("kubernetes.io/hostname", name.clone()),
                ("kubernetes.io/os", "linux".to_owned()),
                ("node.kubernetes.io/instance-type", "m5.4xlarge".to_owned()),
                ("node.kubernetes.io/pool", format!("pool-{}", number % 20)),
                ("topology.kubernetes.io/region", "eu-central-1".to_owned()),
                ("topology.kubernetes.io/zone", format!("eu-central-1{}", number % 3)),
            ]),
            annotations: map([
                (
                    "csi.volume.kubernetes.io/nodeid",
                    format!("{{\"ebs.csi.aws.com\":\"i-{}\"}}", hex(number, 17)),
                ),
                ("node.alpha.kubernetes.io/ttl", "0".to_owned()),
                ("projectcalico.org/IPv4Address", format!("{}/20", host_ip(number))),
                ("volumes.kubernetes.io/controller-managed-attach-detach", "true".to_owned()),
            ]),
            ..PlainMeta::named("", &name)
        },
        provider_id: format!("aws:///eu-central-1{}/i-{}", number % 3, hex(number, 17)),
        conditions: conditions
            .iter()
            .map(|kind| Condition {
                kind: (*kind).to_owned(),
                status: "False".to_owned(),
                ..Condition::default()
            })
            .collect(),
        addresses: vec![
            ("InternalIP".to_owned(), host_ip(number)),
            ("Hostname".to_owned(), name.clone()),
            ("InternalDNS".to_owned(), name),
        ],
        kubelet_port: 10250,
        ..Node::default()
    }
}

//! What fuzzing starts from: the test data of the crates, and what our own encoders write.

use std::fs;
use std::path::{Path, PathBuf};

use outrigger_storage::queue::{DiskQueue, QueueOptions, RecordMeta};
use outrigger_wire::kubernetes::object::{self, Object};
use outrigger_wire::kubernetes::{ListMeta, ResourceKind, WatchEventKind, encode_list, encode_watch_event};
use serde_json::Value;

/// The seeds of a target: whole inputs, their first byte included.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "exposition_text" => {
            bodies("exposition", None).chain(bodies("exposition_formats", Some("text"))).collect()
        }
        "openmetrics" => bodies("exposition_formats", Some("openmetrics")).collect(),
        "exposition_protobuf" => bodies("exposition_formats", Some("protobuf")).collect(),
        "remote_write" => remote_write(),
        "kubernetes_list" => lists(),
        "kubernetes_watch" => watches(),
        "relabel" => RELABEL.iter().map(|seed| seed.to_vec()).collect(),
        "go_regex" => GO_REGEX.iter().map(|seed| seed.as_bytes().to_vec()).collect(),
        "configuration" => configurations(),
        "queue_segment" => segments(),
        other => panic!("{other} is no target"),
    }
}

const RELABEL: &[&[u8]] = &[
    b"\x00\x1ftarget\n(.*):(\\d+)\n$2-${1}\n;\na,b\na\nhost:80\nb\nx",
    b"\x00\x7f__tmp_$1\nfoo|(?i:BAR)\n\n-\n__address__\n__address__\n1.2.3.4:9090",
    b"\x01\x12\nfoo.*\n\n\na\na\nfoobar",
    b"\x02\x12\n[^x]+\n\n\na\na\nfoobar",
    b"\x03\x11t\n\n\n\na\na\n1\nt\n1",
    b"\x05\x31t\n\n\n\na,b\na\n1\nb\n2",
    b"\x06\x06\n__meta_kubernetes_pod_label_(.+)\n${1}\n\n\n__meta_kubernetes_pod_label_app\nweb",
    b"\x07\x02\ntmp_.*\n\n\n\ntmp_a\n1\nb\n2",
    b"\x08\x02\n(a|b)\n\n\n\na\n1\nc\n2",
    b"\x09\x11t\n\n\n\na\na\n\xc3\x84\xc3\x96\xe1\xba\x9e",
    b"\x0a\x11t\n\n\n\na\na\nstra\xc3\x9fe",
];

const GO_REGEX: &[&str] = &[
    "(.*):(\\d+)\nhost:80\n$1-${2}",
    "(?P<name>[a-z]+)-(?P<n>[[:digit:]]{1,3})\nabc-12\n${name}_$n",
    "foo|bar\nbar\n$0",
    "(?i)ab?c*\nABCC\n",
    "\\pL+\\b.\\x{10FFFF}?\nÄb \n$$",
    "(?s:.)*?(a|b){2,5}\nxxabab\n$1$2",
    "[^\\W\\d_]+\nabc\nx",
    "\\Qa.b\\E\na.b\n$$1",
];

fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").join(path)
}

/// Bodies of the recorded cases. In the protobuf ones each character is a byte.
fn bodies(folder: &str, format: Option<&'static str>) -> impl Iterator<Item = Vec<u8>> {
    let path = testdata(&format!("wire/testdata/{folder}/cases.jsonl"));
    let text = fs::read_to_string(&path).expect("read the recorded cases");
    let cases: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a case is JSON")).collect();
    let wanted = cases.into_iter().filter(move |case| case["format"].as_str() == format);
    wanted.enumerate().filter_map(move |(index, case)| {
        let body = case["body"].as_str().filter(|body| body.len() < 10_000)?;
        let mut input = vec![index as u8];
        match format {
            Some("protobuf") => input.extend(body.chars().map(|byte| byte as u32 as u8)),
            _ => input.extend(body.as_bytes()),
        }
        Some(input)
    })
}

fn remote_write() -> Vec<Vec<u8>> {
    let golden =
        fs::read(testdata("wire/testdata/remote_write/golden.bin")).expect("read the recorded request");
    let request = outrigger_wire::remote_write::decode(&golden).expect("a recorded request");
    let mut version_2 = vec![1];
    outrigger_wire::remote_write::v2::put_request(&request, &mut version_2);
    vec![[&[0], &golden[..]].concat(), version_2]
}

fn objects() -> Vec<(ResourceKind, Vec<u8>)> {
    let meta = |name: &str| object::ObjectMeta {
        name: name.to_owned(),
        namespace: "default".to_owned(),
        uid: format!("uid-{name}"),
        resource_version: "7".to_owned(),
        labels: [("app".to_owned(), name.to_owned())].into(),
        annotations: [("prometheus.io/scrape".to_owned(), "true".to_owned())].into(),
        ..object::ObjectMeta::default()
    };
    let port = object::ContainerPort { name: "http".to_owned(), number: 8080, protocol: "TCP".to_owned() };
    let container = object::Container {
        name: "main".to_owned(),
        image: "web:1".to_owned(),
        ports: vec![port],
        ..object::Container::default()
    };
    let pod = object::Pod {
        meta: meta("pod"),
        containers: vec![container.clone()],
        init_containers: vec![container],
        node_name: "node".to_owned(),
        phase: "Running".to_owned(),
        pod_ip: "10.0.0.1".to_owned(),
        host_ip: "10.0.1.1".to_owned(),
        ..object::Pod::default()
    };
    let text = str::to_owned;
    let target = || object::TargetReference {
        kind: text("Pod"),
        namespace: text("default"),
        name: text("pod"),
        uid: text("uid-pod"),
    };
    let node = object::Node {
        meta: meta("node"),
        provider_id: text("cloud://node"),
        addresses: vec![(text("InternalIP"), text("10.0.1.1")), (text("Hostname"), text("node"))],
        kubelet_port: 10250,
        ..object::Node::default()
    };
    let service_port = object::ServicePort {
        name: text("http"),
        protocol: text("TCP"),
        number: 80,
        target_port: object::IntOrString::Text(text("http")),
    };
    let service = object::Service {
        meta: meta("service"),
        ports: vec![service_port],
        cluster_ip: text("10.1.0.1"),
        service_type: text("ClusterIP"),
        ..object::Service::default()
    };
    let rule = object::IngressRule { host: text("example.org"), paths: Some(vec![text("/"), text("/api")]) };
    let ingress = object::Ingress {
        meta: meta("ingress"),
        class_name: text("nginx"),
        tls: vec![vec![text("example.org")]],
        rules: vec![rule, object::IngressRule::default()],
    };
    let endpoint = object::Endpoint {
        addresses: vec![text("10.0.0.1"), text("10.0.0.2")],
        ready: Some(true),
        terminating: Some(false),
        target: Some(target()),
        topology: [(text("zone"), text("a"))].into(),
        node_name: text("node"),
        ..object::Endpoint::default()
    };
    let slice_port =
        object::SlicePort { name: text("http"), number: Some(8080), ..object::SlicePort::default() };
    let slice = object::EndpointSlice {
        meta: meta("slice"),
        address_type: text("IPv4"),
        endpoints: vec![endpoint],
        ports: vec![slice_port],
    };
    let address = object::EndpointAddress {
        ip: text("10.0.0.1"),
        target: Some(target()),
        ..object::EndpointAddress::default()
    };
    let subset = object::EndpointSubset {
        addresses: vec![address.clone()],
        not_ready_addresses: vec![address],
        ports: vec![object::EndpointPort { name: text("http"), number: 8080, protocol: text("TCP") }],
    };
    let endpoints = object::Endpoints { meta: meta("endpoints"), subsets: vec![subset] };
    let namespace = object::Namespace { meta: meta("namespace"), ..object::Namespace::default() };
    fn encode(object: &impl Object) -> Vec<u8> {
        let mut bytes = Vec::new();
        object.encode(&mut bytes);
        bytes
    }
    vec![
        (ResourceKind::Pod, encode(&pod)),
        (ResourceKind::Node, encode(&node)),
        (ResourceKind::Service, encode(&service)),
        (ResourceKind::Ingress, encode(&ingress)),
        (ResourceKind::EndpointSlice, encode(&slice)),
        (ResourceKind::Endpoints, encode(&endpoints)),
        (ResourceKind::Namespace, encode(&namespace)),
    ]
}

fn choice(resource: ResourceKind) -> u8 {
    ResourceKind::MIRRORED.iter().position(|kind| *kind == resource).expect("one of all") as u8
}

fn lists() -> Vec<Vec<u8>> {
    let meta =
        ListMeta { resource_version: "12".to_owned(), continue_token: "more".to_owned(), remaining: Some(3) };
    let list = |(resource, object): (ResourceKind, Vec<u8>)| {
        let mut input = vec![choice(resource)];
        let kind = format!("{}List", resource.kind());
        encode_list(resource.version(), &kind, &meta, [&object[..], &object[..]], &mut input);
        input
    };
    objects().into_iter().map(list).collect()
}

fn watches() -> Vec<Vec<u8>> {
    let watch = |(resource, object): (ResourceKind, Vec<u8>)| {
        let mut input = vec![choice(resource)];
        for kind in [
            WatchEventKind::Added,
            WatchEventKind::Modified,
            WatchEventKind::Bookmark,
            WatchEventKind::Deleted,
        ] {
            encode_watch_event(kind, resource.version(), resource.kind(), &object, &mut input);
        }
        input
    };
    objects().into_iter().map(watch).collect()
}

fn configurations() -> Vec<Vec<u8>> {
    let directory = testdata("config/testdata/prometheus-config");
    let mut paths: Vec<_> = fs::read_dir(directory)
        .expect("list the recorded configurations")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    let input = |path: &PathBuf| {
        let kind = match path.extension().and_then(|extension| extension.to_str()) {
            Some("rules") => 0,
            Some("json") => 2,
            _ => 4,
        };
        [&[kind], &fs::read(path).expect("read a configuration")[..]].concat()
    };
    paths.iter().map(input).collect()
}

fn segments() -> Vec<Vec<u8>> {
    let directory = tempfile::tempdir().expect("make a directory");
    let (queue, _) = DiskQueue::open(directory.path(), QueueOptions::new(1 << 20)).expect("open a queue");
    let payloads: [&[u8]; 3] = [b"", b"payload", &[7; 200]];
    let mut ids = Vec::new();
    for (lane, payload) in (0..).zip(payloads) {
        let meta = RecordMeta { lane, samples: 10 * lane, ..RecordMeta::default() };
        ids.push(queue.append(meta, payload).expect("append").id);
    }
    queue.acknowledge(ids[0]).expect("acknowledge");
    let bytes = fs::read(directory.path().join("0000000000000001.seg")).expect("read the segment");
    vec![[&[0], &bytes[..]].concat(), [&[1], &bytes[..]].concat()]
}

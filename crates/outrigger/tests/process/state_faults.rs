//! What goes wrong around `outrigger state-metrics`: a scrape shows everything or is refused, never a part.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use outrigger_sim::state::StatePopulation;
use outrigger_sim::store::Selectable;
use outrigger_wire::kubernetes::ResourceKind;
use outrigger_wire::kubernetes::object::{Container, Object, ObjectMeta, Pod};
use outrigger_wire::protobuf::{Reader, Writer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::state_metrics::{Cluster, StateMetrics, count, samples};

const PODS: usize = 300;

/// The answer to a scrape: how many pods it shows, or `None` when it was refused as not listed yet.
async fn pods_shown(served: &StateMetrics) -> Option<usize> {
    let answer = served.metrics("/metrics").await;
    match answer.status {
        200 => Some(count(answer.text(), "kube_pod_info")),
        503 => None,
        other => panic!("answered {other}: {}", answer.text()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_list_that_is_cut_again_and_again_is_never_shown_in_part() {
    let cluster = Cluster::start(PODS as u32).await;
    cluster.server.faults().change(|faults| faults.cut_after_bytes = Some(400_000));
    let served = cluster.serve(&["--resources=pods"]).await;
    let lists = || cluster.server.requests().iter().filter(|request| request.path.ends_with("/pods")).count();
    while lists() < 3 {
        assert_eq!(pods_shown(&served).await, None);
        assert_ne!(served.get("telemetry", "/readyz", "").await.status, 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster.server.faults().clear();
    let shown = loop {
        match pods_shown(&served).await {
            Some(shown) => break shown,
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    assert_eq!(shown, PODS);
    served.ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relists_after_expired_versions_leave_every_scrape_whole() {
    let cluster = Cluster::start(PODS as u32).await;
    let served = cluster.serve(&["--resources=pods,replicasets"]).await;
    served.ready().await;
    let store = cluster.server.store();
    let lists = || cluster.server.requests().iter().filter(|request| request.path.ends_with("/pods")).count();
    let mut rounds = 0;
    let enough = lists() + 4;
    while lists() < enough {
        // Every object changes and the versions before are gone, while nobody watches.
        cluster.server.faults().change(|faults| faults.internal_error = true);
        cluster.server.cut_connections();
        StatePopulation::create(PODS as u32, store.clone(), 1_700_000_000);
        store.compact();
        cluster.server.faults().clear();
        for _ in 0..5 {
            assert_eq!(pods_shown(&served).await, Some(PODS), "round {rounds}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        rounds += 1;
        assert!(rounds < 200, "no relists: {}", lists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_that_a_relist_overtakes_shows_one_state() {
    const MANY: u32 = 3000;
    let cluster = Cluster::start(MANY).await;
    let served = cluster.serve(&["--resources=pods"]).await;
    served.ready().await;
    // Begun, and not read.
    let mut slow = tokio::net::TcpStream::connect(&served.addresses["metrics"]).await.expect("it listens");
    slow.write_all(b"GET /metrics HTTP/1.0\r\nHost: a\r\n\r\n").await.expect("it reads");
    let mut body = vec![0; 4096];
    slow.read_exact(&mut body).await.expect("a beginning");
    // Meanwhile half of the pods are gone, and the rest is listed anew.
    let store = cluster.server.store();
    cluster.server.faults().change(|faults| faults.internal_error = true);
    cluster.server.cut_connections();
    let (_, pods) = store.snapshot(ResourceKind::Pod);
    for pod in pods.iter().skip(MANY as usize / 2) {
        let meta = ObjectMeta::named(&pod.key.namespace, &pod.key.name);
        assert!(store.delete(&mut Pod { meta, ..Pod::default() }));
    }
    store.compact();
    cluster.server.faults().clear();
    let half = |text: &str| count(text, "kube_pod_info") == MANY as usize / 2;
    let after = served.until("metrics", "/metrics", half).await;
    slow.read_to_end(&mut body).await.expect("the rest");
    let text = String::from_utf8(body).expect("UTF-8");
    for family in ["kube_pod_info", "kube_pod_created", "kube_pod_status_ready_time", "kube_pod_owner"] {
        assert_eq!(count(&text, family), MANY as usize, "{family} in the scrape that was begun before");
        assert_eq!(count(&after, family), MANY as usize / 2, "{family} in the one after");
    }
}

/// A pod with bytes behind it that no version of Kubernetes has defined yet.
struct Newer(Pod);

impl Object for Newer {
    fn resource(&self) -> ResourceKind {
        ResourceKind::Pod
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }

    fn encode(&self, into: &mut Vec<u8>) {
        let known = self.0.to_message();
        let mut fields = Reader::new(&known);
        let mut writer = Writer::new(into);
        writer.varint(90, 7);
        writer.message(91, |inner| inner.string(1, "what is this"));
        while let Some((number, field)) = fields.next_field().expect("encoded just now") {
            let mut content = field.bytes(number).expect("a pod has messages only").to_vec();
            Writer::new(&mut content).message(990, |inner| inner.varint(1, u64::MAX));
            writer.bytes(number, &content);
        }
        writer.fixed64(92, 1);
        writer.fixed32(93, 1);
    }
}

impl Selectable for Newer {}

fn pod(name: &str) -> Pod {
    Pod {
        meta: ObjectMeta { uid: format!("uid-of-{name}"), ..ObjectMeta::named("default", name) },
        containers: vec![Container {
            name: "main".to_owned(),
            image: "registry.example.com/main:1".to_owned(),
            container_id: "containerd://1".to_owned(),
            ..Container::default()
        }],
        phase: "Running".to_owned(),
        node_name: "node".to_owned(),
        ..Pod::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newer_versions_unknown_fields_and_objects_of_a_megabyte_are_taken_over() {
    let cluster = Cluster::start(30).await;
    cluster.server.faults().change(|faults| faults.api_version = Some("v9".to_owned()));
    let store = cluster.server.store();
    let large = || {
        let mut large = pod("large");
        large.meta.managed_fields = vec![("kubelet".to_owned(), vec![b' '; 1 << 20])];
        large.meta.annotations.insert("note".to_owned(), "x".repeat(200 << 10));
        large
    };
    store.put(&mut Newer(pod("newer")));
    store.put(&mut large());
    let served = cluster.serve(&["--resources=pods"]).await;
    let first = served.ready().await;
    assert_eq!(count(&first, "kube_pod_info"), 32);
    for name in ["newer", "large"] {
        let line = format!(
            "kube_pod_status_phase{{namespace=\"default\",pod=\"{name}\",uid=\"uid-of-{name}\",phase=\"Running\"}} 1\n"
        );
        assert!(first.contains(&line), "{line}");
    }
    // As changes, too.
    let mut changed = large();
    changed.phase = "Failed".to_owned();
    store.put(&mut changed);
    let line = "kube_pod_status_phase{namespace=\"default\",pod=\"large\",uid=\"uid-of-large\",phase=\"Failed\"} 1\n";
    served.until("metrics", "/metrics", |text| text.contains(line)).await;
    assert!(store.delete(&mut Newer(pod("newer"))));
    served.until("metrics", "/metrics", |text| !text.contains("pod=\"newer\"")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_read_a_byte_now_and_then_cost_no_memory_and_hold_nobody_up() {
    let cluster = Cluster::start(2000).await;
    let served = cluster.serve(&["--resources=pods", "--server-write-timeout=2s"]).await;
    let whole = served.ready().await;
    let before = served.resident_bytes();
    let mut slow = Vec::new();
    for _ in 0..40 {
        let mut stream =
            tokio::net::TcpStream::connect(&served.addresses["metrics"]).await.expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("it reads");
        slow.push(tokio::spawn(async move {
            let mut read = 0_u64;
            while let Ok(1) = stream.read(&mut [0]).await {
                read += 1;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            read
        }));
    }
    let counted = |text: &str| text.contains("outrigger_state_metrics_slow_scrapes_cut_off_total 40\n");
    let mut most = 0;
    let others = async {
        loop {
            let answer = served.metrics("/metrics").await;
            assert_eq!(samples(answer.text()).len(), samples(&whole).len());
            most = most.max(served.resident_bytes());
        }
    };
    tokio::select! {
        () = others => {}
        _ = served.until("telemetry", "/metrics", counted) => {}
    }
    let body = whole.len() as u64;
    assert!(
        most < before + 40 * body / 4,
        "{before} bytes before, {most} with forty bodies of {body} not taken"
    );
    slow.into_iter().for_each(|client| client.abort());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_label_values_come_and_go() {
    const PODS: usize = 10_000;
    const LABELS: usize = 100;
    let cluster = Cluster::start(0).await;
    let store = cluster.server.store();
    let put = |round: usize| {
        for number in 0..PODS {
            let mut pod = pod(&format!("pod-{number}"));
            let value = |label: usize| (format!("label-{label}"), format!("value-{round}-{number}-{label}"));
            pod.meta.labels = (0..LABELS).map(value).collect::<BTreeMap<_, _>>();
            store.put(&mut pod);
        }
    };
    put(0);
    let served = cluster.serve(&["--resources=pods", "--metric-labels-allowlist=pods=[*]"]).await;
    let text = served.ready().await;
    let values = |text: &str, round: usize| {
        let lines = text.lines().filter(|line| line.starts_with("kube_pod_labels{"));
        let of = format!("=\"value-{round}-");
        lines.map(|line| line.matches(&of).count()).sum::<usize>()
    };
    assert_eq!(values(&text, 0), PODS * LABELS);
    drop(text);
    let first = served.resident_bytes();
    for round in 1..4 {
        put(round);
        served.until("metrics", "/metrics", |text| values(text, round) == PODS * LABELS).await;
    }
    let last = served.resident_bytes();
    assert!(last < first * 2, "{first} bytes with a million values, {last} after three million others");
    let names: BTreeSet<_> = store.snapshot(ResourceKind::Pod).1.iter().map(|pod| pod.key.clone()).collect();
    for key in names {
        store.delete(&mut Pod { meta: ObjectMeta::named(&key.namespace, &key.name), ..Pod::default() });
    }
    served.until("metrics", "/metrics", |text| !text.contains("kube_pod_labels{")).await;
}

//! Pods of the exemplar shape (two containers, one init container): memory, rendering, compression, following.
//!
//!     cargo bench -p outrigger-state --bench pods -- 100000

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]

use std::io::Write;
use std::ops::ControlFlow;
use std::time::Instant;

use outrigger_state::Encoding;
use outrigger_state::deflate::LineDeflate;
use outrigger_state::image::StateImage;
use outrigger_state::render::RenderOptions;
use outrigger_state::resource::Resource;
use outrigger_state::selection::Selection;
use serde_json::{Value, json};

fn mixed(number: u64) -> u64 {
    let mixed = (number ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

fn container_status(name: &str, pod: u64, init: bool) -> Value {
    let (one, two) = (mixed(pod ^ name.len() as u64), mixed(pod.rotate_left(7) ^ name.len() as u64));
    let image = mixed(pod / 30) % 4_000;
    let state = if init {
        json!({"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": "2026-01-02T03:04:05Z",
                              "startedAt": "2026-01-02T03:04:04Z", "containerID": "containerd://x"}})
    } else {
        json!({"running": {"startedAt": "2026-01-02T03:04:06Z"}})
    };
    json!({
        "name": name, "ready": true, "restartCount": pod % 3, "started": true, "state": state,
        "image": format!("registry.example.com/team/{name}:v1.{image}"),
        "imageID": format!("registry.example.com/team/{name}@sha256:{:016x}{:016x}{:016x}{:016x}", mixed(image), image, mixed(image + 1), image),
        "containerID": format!("containerd://{one:016x}{two:016x}{:016x}{:016x}", two ^ 77, one ^ 99),
    })
}

fn container(name: &str, pod: u64) -> Value {
    let image = mixed(pod / 30) % 4_000;
    json!({
        "name": name, "image": format!("registry.example.com/team/{name}:v1.{image}"),
        "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
    })
}

fn pod(number: u64) -> Vec<u8> {
    let (owner, random) = (number / 30, mixed(number));
    let node = random % 10_000;
    let conditions: Vec<Value> =
        ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
            .iter()
            .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-02T03:04:06Z"}))
            .collect();
    let toleration = |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
    let pod = json!({
        "metadata": {
            "name": format!("service-{owner}-{:08x}-{:05x}", mixed(owner) as u32, random & 0xf_ffff),
            "namespace": format!("team-{}", owner % 2_000), "creationTimestamp": "2026-01-02T03:04:03Z",
            "uid": format!("{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}", random as u32, number & 0xffff, number >> 16 & 0xfff, node & 0xfff, mixed(random) & 0xffff_ffff_ffff),
            "labels": {"app": format!("service-{owner}")},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": true,
                                 "name": format!("service-{owner}-{:08x}", mixed(owner) as u32), "uid": "x"}],
        },
        "spec": {
            "nodeName": format!("ip-10-{}-{}-{}.region-1.compute.internal", node >> 8, node & 0xff, node % 7),
            "restartPolicy": "Always", "schedulerName": "default-scheduler", "serviceAccountName": format!("service-{owner}"),
            "containers": [container("app", number), container("sidecar", number)],
            "initContainers": [container("init", number)],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": format!("data-{number}")}}],
            "tolerations": [toleration("node.kubernetes.io/not-ready"), toleration("node.kubernetes.io/unreachable")],
        },
        "status": {
            "phase": "Running", "qosClass": "Burstable", "conditions": conditions, "startTime": "2026-01-02T03:04:03Z",
            "hostIP": format!("10.0.{}.{}", node >> 8, node & 0xff), "podIP": format!("10.{}.{}.{}", random & 0xff, number >> 8 & 0xff, number & 0xff),
            "podIPs": [{"ip": format!("10.{}.{}.{}", random & 0xff, number >> 8 & 0xff, number & 0xff)}],
            "containerStatuses": [container_status("app", number, false), container_status("sidecar", number, false)],
            "initContainerStatuses": [container_status("init", number, true)],
        },
    });
    pod.to_string().into_bytes()
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap_or(0.0) / 1024.0
}

fn main() {
    let pods: u64 = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(20_000);
    let mut out = std::io::stdout();
    let mut say = |line: String| drop(writeln!(out, "{line}"));
    let generator = Resource::find("pods").expect("pods").generator(&Selection::default());
    let image = StateImage::new(vec![("pods".to_owned(), generator)]);
    let table = image.table("pods").expect("a table");
    let mut samples = image.samples(table);
    image.begin_generation(table);
    for number in 0..pods {
        image.upsert(table, Encoding::Json, &pod(number), &mut samples).expect("a readable pod");
    }
    image.commit_generation(table);
    let memory = &image.memory()[0];
    let (texts, text_bytes) = image.dictionary_memory();
    say(format!(
        "{pods} pods: rows {} bytes each, dictionary {texts} texts {} bytes a pod, resident {:.0} MiB",
        memory.bytes as u64 / pods,
        text_bytes as u64 / pods,
        resident_mib()
    ));

    for round in 0..3 {
        let begun = Instant::now();
        let (mut bytes, mut lines) = (0, 0);
        image.snapshot().render(&RenderOptions::default(), |buffer| {
            bytes += buffer.len();
            if round == 0 {
                lines += buffer.iter().filter(|byte| **byte == b'\n').count();
            }
            ControlFlow::Continue(())
        });
        let seconds = begun.elapsed().as_secs_f64();
        if round == 0 {
            say(format!(
                "{:.1} MB of text, {:.1} lines a pod",
                bytes as f64 / 1e6,
                lines as f64 / pods as f64
            ));
        } else {
            say(format!("render: {seconds:.3} s, {:.2} GB/s", bytes as f64 / seconds / 1e9));
        }
    }
    let (mut deflate, mut compressed, mut total) = (LineDeflate::default(), Vec::new(), 0);
    let mut plain = 0;
    let begun = Instant::now();
    image.snapshot().render(&RenderOptions::default(), |buffer| {
        compressed.clear();
        deflate.piece(buffer, &mut compressed);
        total += compressed.len();
        plain += buffer.len();
        ControlFlow::Continue(())
    });
    let seconds = begun.elapsed().as_secs_f64();
    say(format!(
        "render and deflate on one thread: {seconds:.3} s, {:.0} MB/s, to 1/{:.1}",
        plain as f64 / seconds / 1e6,
        plain as f64 / total as f64
    ));
    let mut count = 0;
    let snapshot = image.snapshot();
    let begun = Instant::now();
    let _ = snapshot.changes(
        None,
        None,
        |_| true,
        |_, sample| {
            count += sample.labels.len();
            ControlFlow::Continue(())
        },
    );
    say(format!("all as series: {:.3} s, {count} labels", begun.elapsed().as_secs_f64()));
}

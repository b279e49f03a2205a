//! Pods of the exemplar shape from protobuf: what an event costs.
//!
//!     cargo bench -p outrigger-state --bench ingest -- 20000

use std::io::Write;

use outrigger_state::Encoding;
use outrigger_state::image::{StateImage, TableId};
use outrigger_state::resource::Resource;
use outrigger_state::samples::Samples;
use outrigger_state::selection::Selection;
use outrigger_wire::protobuf::Writer;

fn mixed(number: u64) -> u64 {
    let mixed = (number ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

fn time(writer: &mut Writer<'_>, field: u32, seconds: i64) {
    writer.message(field, |time| {
        time.int(1, seconds);
        time.int(2, 0);
    });
}

fn quantities(writer: &mut Writer<'_>, field: u32, quantities: &[(&str, &str)]) {
    for (name, text) in quantities {
        writer.message(field, |entry| {
            entry.string(1, name);
            entry.message(2, |quantity| quantity.string(1, text));
        });
    }
}

/// A container with what is jumped over: environment, mounts, probes.
fn container(writer: &mut Writer<'_>, field: u32, name: &str, pod: u64) {
    let image = mixed(pod / 30) % 4_000;
    writer.message(field, |container| {
        container.string(1, name);
        container.string(2, &format!("registry.example.com/team/{name}:v1.{image}"));
        for number in 0..12 {
            container.message(7, |variable| {
                variable.string(1, &format!("VARIABLE_{number}"));
                variable.string(2, "a value of the environment");
            });
        }
        container.message(8, |resources| {
            quantities(resources, 1, &[("cpu", "1"), ("memory", "1Gi")]);
            quantities(resources, 2, &[("cpu", "250m"), ("memory", "512Mi")]);
        });
        for number in 0..3 {
            container.message(9, |mount| {
                mount.string(1, &format!("volume-{number}"));
                mount.boolean(2, true);
                mount.string(3, "/var/run/secrets/somewhere");
            });
        }
        container.message(10, |probe| probe.bytes(1, &[0; 40]));
        container.string(13, "/dev/termination-log");
        container.string(14, "IfNotPresent");
    });
}

fn status(writer: &mut Writer<'_>, field: u32, name: &str, pod: u64, restarts: i64) {
    let (one, two) = (mixed(pod ^ name.len() as u64), mixed(pod.rotate_left(7) ^ name.len() as u64));
    let image = mixed(pod / 30) % 4_000;
    writer.message(field, |status| {
        status.string(1, name);
        status.message(2, |state| match field {
            10 => state.message(3, |terminated| {
                terminated.int(1, 0);
                terminated.string(3, "Completed");
                time(terminated, 5, 1_767_323_044);
                time(terminated, 6, 1_767_323_045);
            }),
            _ => state.message(2, |running| time(running, 1, 1_767_323_046)),
        });
        status.message(3, |_| {});
        status.boolean(4, true);
        status.int(5, restarts);
        status.string(6, &format!("registry.example.com/team/{name}:v1.{image}"));
        status.string(
            7,
            &format!(
                "registry.example.com/team/{name}@sha256:{:016x}{image:016x}{:016x}{image:016x}",
                mixed(image),
                mixed(image + 1)
            ),
        );
        status.string(8, &format!("containerd://{one:016x}{two:016x}{:016x}{:016x}", two ^ 77, one ^ 99));
        status.boolean(9, true);
    });
}

fn metadata(writer: &mut Writer<'_>, number: u64) {
    let (owner, random) = (number / 30, mixed(number));
    let owner_name = format!("service-{owner}-{:08x}", mixed(owner) as u32);
    writer.string(1, &format!("{owner_name}-{:05x}", random & 0xf_ffff));
    writer.string(2, &format!("{owner_name}-"));
    writer.string(3, &format!("team-{}", owner % 2_000));
    writer.string(
        5,
        &format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            random as u32,
            number & 0xffff,
            number >> 16 & 0xfff,
            random & 0xfff,
            mixed(random) & 0xffff_ffff_ffff
        ),
    );
    writer.string(6, "123456789");
    time(writer, 8, 1_767_323_043);
    for (key, value) in [("app", format!("service-{owner}")), ("pod-template-hash", owner_name.clone())] {
        writer.message(11, |entry| {
            entry.string(1, key);
            entry.string(2, &value);
        });
    }
    writer.message(13, |reference| {
        reference.string(1, "ReplicaSet");
        reference.string(3, &owner_name);
        reference.string(4, "f27ac10b-58cc-4372-a567-0e02b2c3d479");
        reference.string(5, "apps/v1");
        reference.boolean(6, true);
    });
    writer.message(17, |fields| fields.bytes(7, &[0; 1500]));
}

fn spec(writer: &mut Writer<'_>, number: u64) {
    let (owner, node) = (number / 30, mixed(number) % 10_000);
    writer.message(1, |volume| {
        volume.string(1, "data");
        volume.message(2, |source| {
            source.message(10, |claim| claim.string(1, &format!("data-{number}")));
        });
    });
    container(writer, 2, "app", number);
    container(writer, 2, "sidecar", number);
    writer.string(3, "Always");
    writer.string(8, &format!("service-{owner}"));
    writer.string(10, &format!("ip-10-{}-{}.region-1.compute.internal", node >> 8, node & 0xff));
    writer.string(19, "default-scheduler");
    container(writer, 20, "init", number);
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        writer.message(22, |toleration| {
            toleration.string(1, key);
            toleration.string(2, "Exists");
            toleration.string(4, "NoExecute");
            toleration.int(5, 300);
        });
    }
}

fn pod(number: u64, restarts: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut pod = Writer::new(&mut bytes);
    let (node, random) = (mixed(number) % 10_000, mixed(number));
    pod.message(1, |writer| metadata(writer, number));
    pod.message(2, |writer| spec(writer, number));
    pod.message(3, |writer| {
        writer.string(1, "Running");
        for kind in ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"] {
            writer.message(2, |condition| {
                condition.string(1, kind);
                condition.string(2, "True");
                time(condition, 4, 1_767_323_046 + restarts);
            });
        }
        let ip = format!("10.{}.{}.{}", random & 0xff, number >> 8 & 0xff, number & 0xff);
        writer.string(5, &format!("10.0.{}.{}", node >> 8, node & 0xff));
        writer.string(6, &ip);
        time(writer, 7, 1_767_323_043);
        status(writer, 8, "app", number, restarts);
        status(writer, 8, "sidecar", number, 0);
        writer.string(9, "Burstable");
        status(writer, 10, "init", number, 0);
        writer.message(12, |address| address.string(1, &ip));
    });
    bytes
}

/// Time that this program had a processor, in microseconds; other programs run on the machine too.
fn processor_time() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux counts it");
    text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).expect("nanoseconds") / 1e3
}

fn each_pod(pods: &[Vec<u8>], mut each: impl FnMut(&[u8])) -> f64 {
    let begun = processor_time();
    pods.iter().for_each(|pod| each(pod));
    (processor_time() - begun) / pods.len() as f64
}

fn upsert_all(image: &StateImage, table: TableId, samples: &mut Samples, pods: &[Vec<u8>]) -> f64 {
    each_pod(pods, |pod| image.upsert(table, Encoding::Protobuf, pod, samples).expect("a readable pod"))
}

fn main() {
    let count: u64 = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(20_000);
    let mut out = std::io::stdout();
    let mut say = |line: String| drop(writeln!(out, "{line}"));
    let resource = Resource::find("pods").expect("pods");
    let image = StateImage::new(vec![("pods".to_owned(), resource.generator(&Selection::default()))]);
    let table = image.table("pods").expect("a table");
    let mut samples = image.samples(table);
    let pods: Vec<Vec<u8>> = (0..count).map(|number| pod(number, 0)).collect();
    let restarted: Vec<Vec<u8>> = (0..count).map(|number| pod(number, 1)).collect();
    say(format!("{count} pods of {} bytes", pods[0].len()));

    image.begin_generation(table);
    say(format!("new: {:.1} us a pod", upsert_all(&image, table, &mut samples, &pods)));
    image.commit_generation(table);
    say(format!("unchanged: {:.1} us a pod", upsert_all(&image, table, &mut samples, &pods)));
    say(format!("changed: {:.1} us a pod", upsert_all(&image, table, &mut samples, &restarted)));
    let snapshot = image.snapshot();
    say(format!(
        "changed while somebody reads: {:.1} us a pod",
        upsert_all(&image, table, &mut samples, &pods)
    ));
    drop(snapshot);

    let generator = resource.generator(&Selection::default());
    let read = each_pod(&pods, |pod| {
        samples.clear();
        generator.generate(Encoding::Protobuf, pod, &mut samples).expect("a readable pod");
    });
    say(format!("of it to read: {read:.1} us a pod"));
    let memory = &image.memory()[0];
    let (texts, text_bytes) = image.dictionary_memory();
    say(format!(
        "rows {} bytes a pod, dictionary {texts} texts, {} bytes a pod",
        memory.bytes as u64 / count,
        text_bytes as u64 / count
    ));
}

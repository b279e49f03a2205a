//! A kubelet's `/metrics/cadvisor`: every series carries container, id, image, name, namespace and pod.

use std::fmt::Write as _;

use super::{Body, Kind, mix};

/// Pods of a node, each with the sandbox that has the network and two containers.
const PODS: u32 = 12;

/// Name, type, help, what it is counted for, further labels (in the place where sorting puts them) and values.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    of: Of,
    values: Kind,
    extra: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Container,
    Sandbox,
}

const fn container(
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    values: Kind,
    extra: &'static [&'static str],
) -> Family {
    Family { name, kind, help, of: Of::Container, values, extra }
}

const fn network(name: &'static str, help: &'static str) -> Family {
    Family {
        name,
        kind: "counter",
        help,
        of: Of::Sandbox,
        values: Kind::Count,
        extra: &["interface=\"eth0\","],
    }
}

const PLAIN: &[&str] = &[""];
const DISK: &[&str] = &["device=\"/dev/nvme0n1p1\","];

const FAMILIES: &[Family] = &[
    container(
        "container_cpu_cfs_periods_total",
        "counter",
        "Number of elapsed enforcement period intervals.",
        Kind::Count,
        PLAIN,
    ),
    container(
        "container_cpu_cfs_throttled_periods_total",
        "counter",
        "Number of throttled period intervals.",
        Kind::Count,
        PLAIN,
    ),
    container(
        "container_cpu_cfs_throttled_seconds_total",
        "counter",
        "Total time duration the container has been throttled.",
        Kind::Seconds,
        PLAIN,
    ),
    container(
        "container_cpu_load_average_10s",
        "gauge",
        "Value of container cpu load average over the last 10 seconds.",
        Kind::Flag,
        PLAIN,
    ),
    container(
        "container_cpu_system_seconds_total",
        "counter",
        "Cumulative system cpu time consumed in seconds.",
        Kind::Seconds,
        PLAIN,
    ),
    container(
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed in seconds.",
        Kind::Seconds,
        &["cpu=\"total\","],
    ),
    container(
        "container_cpu_user_seconds_total",
        "counter",
        "Cumulative user cpu time consumed in seconds.",
        Kind::Seconds,
        PLAIN,
    ),
    container(
        "container_file_descriptors",
        "gauge",
        "Number of open file descriptors for the container.",
        Kind::Count,
        PLAIN,
    ),
    container(
        "container_fs_reads_bytes_total",
        "counter",
        "Cumulative count of bytes read",
        Kind::Count,
        DISK,
    ),
    container(
        "container_fs_reads_total",
        "counter",
        "Cumulative count of reads completed",
        Kind::Count,
        DISK,
    ),
    container(
        "container_fs_usage_bytes",
        "gauge",
        "Number of bytes that are consumed by the container on this filesystem.",
        Kind::Level,
        DISK,
    ),
    container(
        "container_fs_writes_bytes_total",
        "counter",
        "Cumulative count of bytes written",
        Kind::Count,
        DISK,
    ),
    container(
        "container_fs_writes_total",
        "counter",
        "Cumulative count of writes completed",
        Kind::Count,
        DISK,
    ),
    container(
        "container_last_seen",
        "gauge",
        "Last time a container was seen by the exporter",
        Kind::Level,
        PLAIN,
    ),
    container("container_memory_cache", "gauge", "Number of bytes of page cache memory.", Kind::Level, PLAIN),
    container(
        "container_memory_failcnt",
        "counter",
        "Number of memory usage hits limits",
        Kind::Count,
        PLAIN,
    ),
    container(
        "container_memory_failures_total",
        "counter",
        "Cumulative count of memory allocation failures.",
        Kind::Count,
        &[
            "failure_type=\"pgfault\",@scope=\"container\"",
            "failure_type=\"pgfault\",@scope=\"hierarchy\"",
            "failure_type=\"pgmajfault\",@scope=\"container\"",
            "failure_type=\"pgmajfault\",@scope=\"hierarchy\"",
        ],
    ),
    container(
        "container_memory_mapped_file",
        "gauge",
        "Size of memory mapped files in bytes.",
        Kind::Level,
        PLAIN,
    ),
    container(
        "container_memory_max_usage_bytes",
        "gauge",
        "Maximum memory usage recorded in bytes",
        Kind::Level,
        PLAIN,
    ),
    container("container_memory_rss", "gauge", "Size of RSS in bytes.", Kind::Level, PLAIN),
    container("container_memory_swap", "gauge", "Container swap usage in bytes.", Kind::Flag, PLAIN),
    container(
        "container_memory_usage_bytes",
        "gauge",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
        Kind::Level,
        PLAIN,
    ),
    container(
        "container_memory_working_set_bytes",
        "gauge",
        "Current working set in bytes.",
        Kind::Level,
        PLAIN,
    ),
    network("container_network_receive_bytes_total", "Cumulative count of bytes received"),
    network(
        "container_network_receive_errors_total",
        "Cumulative count of errors encountered while receiving",
    ),
    network(
        "container_network_receive_packets_dropped_total",
        "Cumulative count of packets dropped while receiving",
    ),
    network("container_network_receive_packets_total", "Cumulative count of packets received"),
    network("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted"),
    network(
        "container_network_transmit_errors_total",
        "Cumulative count of errors encountered while transmitting",
    ),
    network(
        "container_network_transmit_packets_dropped_total",
        "Cumulative count of packets dropped while transmitting",
    ),
    network("container_network_transmit_packets_total", "Cumulative count of packets transmitted"),
    container(
        "container_processes",
        "gauge",
        "Number of processes running inside the container.",
        Kind::Count,
        PLAIN,
    ),
    container("container_sockets", "gauge", "Number of open sockets for the container.", Kind::Count, PLAIN),
    container("container_spec_cpu_period", "gauge", "CPU period of the container.", Kind::Count, PLAIN),
    container("container_spec_cpu_quota", "gauge", "CPU quota of the container.", Kind::Count, PLAIN),
    container("container_spec_cpu_shares", "gauge", "CPU share of the container.", Kind::Count, PLAIN),
    container(
        "container_spec_memory_limit_bytes",
        "gauge",
        "Memory limit for the container.",
        Kind::Level,
        PLAIN,
    ),
    container(
        "container_start_time_seconds",
        "gauge",
        "Start time of the container since unix epoch in seconds.",
        Kind::Level,
        PLAIN,
    ),
    container(
        "container_tasks_state",
        "gauge",
        "Number of tasks in given state",
        Kind::Flag,
        &[
            "@state=\"iowaiting\"",
            "@state=\"running\"",
            "@state=\"sleeping\"",
            "@state=\"stopped\"",
            "@state=\"uninterruptible\"",
        ],
    ),
    container(
        "container_threads",
        "gauge",
        "Number of threads running inside the container",
        Kind::Count,
        PLAIN,
    ),
];

/// The labels of one container, before and after those that a family adds.
struct Identity {
    container: &'static str,
    rest: String,
}

pub(super) fn write(body: &mut Body) {
    let containers: Vec<Identity> = identities(body.target, &["app", "sidecar"]);
    let sandboxes: Vec<Identity> = identities(body.target, &[""]);
    for family in FAMILIES {
        body.head(family.name, family.kind, family.help);
        let of = if family.of == Of::Container { &containers } else { &sandboxes };
        for identity in of {
            for extra in family.extra {
                let (before, after) = extra.split_once('@').unwrap_or((extra, ""));
                let comma = if after.is_empty() { "" } else { "," };
                let (container, rest) = (identity.container, &identity.rest);
                body.series(
                    family.name,
                    format_args!("{{container=\"{container}\",{before}{rest}{comma}{after}}}"),
                    family.values,
                );
            }
        }
    }
}

fn identities(node: u32, names: &[&'static str]) -> Vec<Identity> {
    let pods = (0..PODS).flat_map(|pod| names.iter().map(move |name| (pod, *name)));
    pods.map(|(pod, container)| Identity { container, rest: labels_of(node, pod, container) }).collect()
}

fn labels_of(node: u32, pod: u32, container: &str) -> String {
    let seed = mix(u64::from(node) << 16 | u64::from(pod)) ^ mix(container.len() as u64);
    let (app, namespace) = (seed % 400, seed % 37);
    let uid = hexadecimal(mix(u64::from(node) << 16 | u64::from(pod)), 32);
    let id = hexadecimal(seed, 64);
    let image = if container.is_empty() {
        "registry.k8s.io/pause:3.9".to_owned()
    } else {
        format!("registry.example.org/team-{namespace:02}/{container}-{app:03}:v1.{}.{}", seed % 30, seed % 7)
    };
    let pod_id = format!("{}_{}_{}_{}_{}", &uid[..8], &uid[8..12], &uid[12..16], &uid[16..20], &uid[20..]);
    format!(
        "id=\"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{pod_id}.slice/cri-containerd-{id}.scope\",\
         image=\"{image}\",name=\"{id}\",namespace=\"team-{namespace:02}\",pod=\"service-{app:03}-{}-{}\"",
        &uid[..10],
        &uid[10..15]
    )
}

fn hexadecimal(seed: u64, digits: usize) -> String {
    let mut text = String::with_capacity(digits);
    let mut word = seed;
    while text.len() < digits {
        word = mix(word);
        let _ = write!(text, "{word:016x}");
    }
    text.truncate(digits);
    text
}

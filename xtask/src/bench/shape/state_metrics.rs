//! One body as large as a cluster's: the families of pods as kube-state-metrics exposes them.

use super::{Body, Kind, mix};

/// Name, help, values, and the labels that follow namespace, pod and uid, one variant a series.
type Family = (&'static str, &'static str, Kind, &'static [&'static str]);

const CONTAINER: &[&str] = &[",container=\"app\"", ",container=\"sidecar\""];
const PLAIN: &[&str] = &[""];

const FAMILIES: &[Family] = &[
    ("kube_pod_container_info", "Information about a container in a pod.", Kind::Flag, CONTAINER),
    (
        "kube_pod_container_resource_limits",
        "The number of requested limit resource by a container.",
        Kind::Level,
        &[
            ",container=\"app\",node=\"@node\",resource=\"cpu\",unit=\"core\"",
            ",container=\"app\",node=\"@node\",resource=\"memory\",unit=\"byte\"",
        ],
    ),
    (
        "kube_pod_container_resource_requests",
        "The number of requested request resource by a container.",
        Kind::Level,
        &[
            ",container=\"app\",node=\"@node\",resource=\"cpu\",unit=\"core\"",
            ",container=\"app\",node=\"@node\",resource=\"memory\",unit=\"byte\"",
        ],
    ),
    (
        "kube_pod_container_status_ready",
        "Describes whether the containers readiness check succeeded.",
        Kind::Flag,
        CONTAINER,
    ),
    (
        "kube_pod_container_status_restarts_total",
        "The number of container restarts per container.",
        Kind::Count,
        CONTAINER,
    ),
    (
        "kube_pod_container_status_running",
        "Describes whether the container is currently in running state.",
        Kind::Flag,
        CONTAINER,
    ),
    ("kube_pod_created", "Unix creation timestamp", Kind::Level, PLAIN),
    (
        "kube_pod_info",
        "Information about pod.",
        Kind::Flag,
        &[
            ",host_ip=\"10.0.1.17\",pod_ip=\"10.1.4.9\",node=\"@node\",created_by_kind=\"ReplicaSet\",priority_class=\"\",host_network=\"false\"",
        ],
    ),
    (
        "kube_pod_owner",
        "Information about the Pod's owner.",
        Kind::Flag,
        &[",owner_kind=\"ReplicaSet\",owner_is_controller=\"true\""],
    ),
    (
        "kube_pod_restart_policy",
        "Describes the restart policy in use by this pod.",
        Kind::Flag,
        &[",type=\"Always\""],
    ),
    ("kube_pod_start_time", "Start time in unix timestamp for a pod.", Kind::Level, PLAIN),
    (
        "kube_pod_status_phase",
        "The pods current phase.",
        Kind::Count,
        &[
            ",phase=\"Pending\"",
            ",phase=\"Succeeded\"",
            ",phase=\"Failed\"",
            ",phase=\"Unknown\"",
            ",phase=\"Running\"",
        ],
    ),
    (
        "kube_pod_status_ready",
        "Describes whether the pod is ready to serve requests.",
        Kind::Count,
        &[",condition=\"true\"", ",condition=\"false\"", ",condition=\"unknown\""],
    ),
    (
        "kube_pod_status_ready_time",
        "Readiness achieved time in unix timestamp for a pod.",
        Kind::Level,
        PLAIN,
    ),
    (
        "kube_pod_tolerations",
        "Information about the pod tolerations",
        Kind::Count,
        &[
            ",key=\"node.kubernetes.io/not-ready\",operator=\"Exists\",effect=\"NoExecute\"",
            ",key=\"node.kubernetes.io/unreachable\",operator=\"Exists\",effect=\"NoExecute\"",
        ],
    ),
];

pub(super) fn write(body: &mut Body) {
    let of_pod: usize = FAMILIES.iter().map(|(_, _, _, variants)| variants.len()).sum();
    let pods = body.limit.div_ceil(of_pod);
    for (name, help, kind, variants) in FAMILIES {
        let type_name = if name.ends_with("_total") { "counter" } else { "gauge" };
        body.head(name, type_name, help);
        for pod in 0..pods {
            let seed = mix(u64::from(body.target) << 32 | pod as u64);
            let (namespace, app) = (seed % 97, seed % 1_000);
            let node = format!("node-{:05}", seed % 1_500);
            for variant in *variants {
                let labels = variant.replace("@node", &node);
                let (high, low) = (seed >> 32, seed & 0xffff_ffff);
                body.series(
                    name,
                    format_args!(
                        "{{namespace=\"team-{namespace:02}\",pod=\"service-{app:03}-{:09x}-{pod:05x}\",\
                         uid=\"{low:08x}-{:04x}-4{:03x}-a{:03x}-{high:012x}\"{labels}}}",
                        high,
                        high & 0xffff,
                        low & 0xfff,
                        low >> 12 & 0xfff
                    ),
                    *kind,
                );
            }
        }
    }
}

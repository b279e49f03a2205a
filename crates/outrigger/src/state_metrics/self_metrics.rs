//! The process's own metrics under the names that kube-state-metrics gives them.

use outrigger_kube::{Cluster, RequestKind, WatchedResource};
use outrigger_rt::metrics::{
    Counter, Exposition, Gauge, GaugeFamily, Histogram, HistogramFamily, MetricKind, Registry,
};
use outrigger_state::image::StateImage;
use outrigger_state::resource::Resource;
use outrigger_state::shard::Shard;

/// Prometheus' default buckets, in seconds.
const DURATION_BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What outlives a change of the options.
#[derive(Clone)]
pub(super) struct SelfMetrics {
    pub(super) registry: Registry,
    durations: HistogramFamily,
    /// Scrapers that were let go because they took nothing.
    pub(super) cut_off: Counter,
    hash: GaugeFamily,
    success: GaugeFamily,
    success_time: GaugeFamily,
    total_shards: Gauge,
    ordinal: GaugeFamily,
    pub(super) custom: CustomMetrics,
}

/// What happens to the definitions of custom resources.
#[derive(Clone)]
pub(super) struct CustomMetrics {
    pub(super) added: Counter,
    pub(super) updated: Counter,
    pub(super) deleted: Counter,
    pub(super) known: Gauge,
}

impl SelfMetrics {
    pub(super) fn new() -> Self {
        let registry = Registry::new();
        outrigger_rt::metrics::register_process_metrics(&registry);
        build_info(&registry);
        Self::in_registry(&registry)
    }

    /// Among the metrics of a process that does other things, too.
    pub(super) fn in_registry(registry: &Registry) -> Self {
        let file = ["type", "filename"];
        let custom = |event: &str, verb: &str| {
            let name = format!("kube_state_metrics_custom_resource_state_{event}_events_total");
            registry.counter(&name, &format!("Custom resource definitions that were {verb}."), &[])
        };
        Self {
            durations: registry.histogram_family(
                "http_request_duration_seconds",
                "A histogram of requests for kube-state-metrics metrics handler.",
                &["handler", "method"],
                &DURATION_BOUNDS,
            ),
            cut_off: registry.counter(
                "outrigger_state_metrics_slow_scrapes_cut_off_total",
                "Scrapes that were ended because the client took nothing for longer than the write timeout.",
                &[],
            ),
            hash: registry.gauge_family(
                "kube_state_metrics_config_hash",
                "Hash of the currently loaded configuration.",
                &file,
            ),
            success: registry.gauge_family(
                "kube_state_metrics_last_config_reload_successful",
                "Whether the last configuration reload attempt was successful.",
                &file,
            ),
            success_time: registry.gauge_family(
                "kube_state_metrics_last_config_reload_success_timestamp_seconds",
                "Timestamp of the last successful configuration reload.",
                &file,
            ),
            total_shards: registry.gauge(
                "kube_state_metrics_total_shards",
                "Number of total shards this instance is aware of",
                &[],
            ),
            ordinal: registry.gauge_family(
                "kube_state_metrics_shard_ordinal",
                "Current sharding ordinal/index of this instance",
                &["shard_ordinal"],
            ),
            custom: CustomMetrics {
                added: custom("add", "added"),
                updated: custom("update", "changed"),
                deleted: custom("delete", "deleted"),
                known: registry.gauge(
                    "kube_state_metrics_custom_resource_state_cache",
                    "Net amount of CRDs affecting the cache currently.",
                    &[],
                ),
            },
            registry: registry.clone(),
        }
    }

    /// Times of scrapes with this method.
    pub(super) fn duration(&self, method: &http::Method) -> Histogram {
        self.durations.with(&["metrics", known_method(method)])
    }

    /// A file is in force.
    pub(super) fn file_loaded(&self, kind: &str, file: &str, hash: f64, seconds: f64) {
        self.hash.with(&[kind, file]).set(hash);
        self.success.with(&[kind, file]).set(1.0);
        self.success_time.with(&[kind, file]).set(seconds);
    }

    /// A file cannot be used; what was in force before still is.
    pub(super) fn file_refused(&self, kind: &str, file: &str) {
        self.success.with(&[kind, file]).set(0.0);
    }

    /// Which shard is served now; `None` without sharding.
    pub(super) fn sharding(&self, before: Option<Shard>, now: Option<Shard>) {
        let index = |shard: Option<Shard>| shard.map_or(0, |shard| shard.index);
        if index(before) != index(now) {
            self.ordinal.remove(&[&index(before).to_string()]);
        }
        self.ordinal.with(&[&index(now).to_string()]).set(f64::from(index(now)));
        self.total_shards.set(now.map_or(1.0, |shard| f64::from(shard.total)));
    }
}

fn build_info(registry: &Registry) {
    let platform = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let labels = [
        ("branch", ""),
        ("client_go_version", ""),
        ("goarch", platform),
        ("goos", std::env::consts::OS),
        ("goversion", ""),
        ("revision", ""),
        ("tags", "outrigger"),
        ("version", env!("CARGO_PKG_VERSION")),
    ];
    let help = "A metric with a constant '1' value labeled by version and platform of the program that serves what \
                kube-state-metrics does.";
    registry.gauge("kube_state_metrics_build_info", help, &labels).set(1.0);
}

/// Methods by name, so that a client cannot make series.
fn known_method(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "post",
        "PUT" => "put",
        "DELETE" => "delete",
        "OPTIONS" => "options",
        "PATCH" => "patch",
        "CONNECT" => "connect",
        "TRACE" => "trace",
        _ => "unknown",
    }
}

/// Lists and watches, and what lists may bring.
pub(super) fn of_watches(
    exposition: &mut Exposition,
    cluster: &Cluster,
    image: &StateImage,
    object_limit: Option<u64>,
) {
    let requests = cluster.requests();
    let count = |kinds: &[RequestKind]| {
        let mut counts = std::collections::BTreeMap::new();
        for request in requests.iter().filter(|request| kinds.contains(&request.request)) {
            let Some(resource) = request.resource.as_ref().and_then(go_type) else { continue };
            let result = if request.code == Some(200) { "success" } else { "error" };
            *counts.entry((result, resource)).or_insert(0) += request.count;
        }
        counts
    };
    // A list that is streamed is one request that lists and then watches.
    let families = [
        (
            "kube_state_metrics_list_total",
            "Number of total resource list calls in kube-state-metrics",
            RequestKind::List,
        ),
        (
            "kube_state_metrics_watch_total",
            "Number of total resource watch calls in kube-state-metrics",
            RequestKind::Watch,
        ),
    ];
    for (name, help, kind) in families {
        let mut family = exposition.family(name, help, MetricKind::Counter);
        for ((result, resource), count) in count(&[kind, RequestKind::WatchList]) {
            family.sample(&[("result", result), ("resource", resource)], count as f64);
        }
    }
    let memory = image.memory();
    let name = "outrigger_state_metrics_objects";
    let mut family = exposition.family(name, "Objects whose state is kept.", MetricKind::Gauge);
    for table in &memory {
        family.sample(&[("resource", &table.resource)], table.objects as f64);
    }
    let name = "outrigger_state_metrics_bytes";
    let help = "Memory that the state of a resource takes, estimated, without texts that objects share.";
    let mut family = exposition.family(name, help, MetricKind::Gauge);
    for table in &memory {
        family.sample(&[("resource", &table.resource)], table.bytes as f64);
    }
    let (texts, bytes) = image.dictionary_memory();
    let help = "Texts that objects share.";
    exposition
        .family("outrigger_state_metrics_shared_texts", help, MetricKind::Gauge)
        .sample(&[], texts as f64);
    let help = "Memory of the texts that objects share, estimated.";
    exposition
        .family("outrigger_state_metrics_shared_text_bytes", help, MetricKind::Gauge)
        .sample(&[], bytes as f64);
    let Some(limit) = object_limit else { return };
    let types = |resource: &str| Resource::find(resource).map(|resource| resource.go_type);
    let help = "Number of resources listed in kube-state-metrics";
    let mut family = exposition.family("kube_state_metrics_list_objects", help, MetricKind::Gauge);
    for table in &memory {
        family
            .sample(&[("resource", types(&table.resource).unwrap_or(&table.resource))], table.objects as f64);
    }
    let help = "Number of resource list limit in kube-state-metrics";
    let mut family = exposition.family("kube_state_metrics_list_objects_limit", help, MetricKind::Gauge);
    for table in &memory {
        family.sample(&[("resource", types(&table.resource).unwrap_or(&table.resource))], limit as f64);
    }
}

/// How kube-state-metrics names the type of a resource: `*v1.Pod`. `None` for what it does not count: definitions of
/// custom resources, and the StatefulSet of automatic sharding.
fn go_type(resource: &WatchedResource) -> Option<&'static str> {
    match resource {
        WatchedResource::Kind(kind) => Resource::find(kind.plural()).map(|resource| resource.go_type),
        WatchedResource::Custom(custom) => match (&*custom.group, &*custom.plural) {
            ("apiextensions.k8s.io", _) | ("apps", "statefulsets") => None,
            _ => Some("*unstructured.Unstructured"),
        },
    }
}

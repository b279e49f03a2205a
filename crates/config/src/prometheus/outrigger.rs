//! `outrigger`: what Prometheus' file has no word for.

mod centre;
mod clusters;
mod environment;
mod operator;
mod self_metrics;
mod state_metrics;
mod worker;

use std::path::PathBuf;

pub use centre::{CentreConfig, CentreTls, CentreToken, EtcdConfig, Standby};
pub use clusters::ClusterConfig;
pub use operator::{
    ExcludedObject, KindSelection, OperatorSettings, RelabelingText, ScrapeClass, ScrapeClassAuthorization,
    ScrapeClassTls, ScrapeLimits, SizeLimit,
};
pub use self_metrics::SelfMetricsConfig;
pub use state_metrics::{StateMetricsConfig, StatePush};
pub use worker::WorkerConfig;

use environment::Environment;

use super::files::{Files, ReferencedFileKind};
use crate::yaml::walk::{Cursor, Section};

/// `outrigger`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OutriggerConfig {
    /// `cluster_name`: name of the cluster on the page and in metrics; empty when not set.
    pub cluster_name: String,
    /// `kubernetes`: access for `kubernetes_sd_configs` that name neither `api_server` nor `kubeconfig_file`.
    pub kubernetes: Option<KubernetesAccess>,
    /// `request_budget` towards each API server.
    pub request_budget: RequestBudget,
    /// `limits`.
    pub limits: Limits,
    /// `clusters`.
    pub clusters: Vec<ClusterConfig>,
    /// `centre`: a master's service for workers.
    pub centre: Option<CentreConfig>,
    /// `worker`.
    pub worker: Option<WorkerConfig>,
    /// `prometheus_operator`: jobs from the custom resources of prometheus-operator.
    pub prometheus_operator: Option<OperatorSettings>,
    /// `self_metrics`: sent to receivers of their own.
    pub self_metrics: Option<SelfMetricsConfig>,
    /// `state_metrics`: what kube-state-metrics says, from the watches of discovery.
    pub state_metrics: Option<StateMetricsConfig>,
    /// `state_encryption_key_file`: key of what is kept on disk with secrets in it, 32 bytes in hexadecimal or base64.
    pub state_encryption_key_file: Option<PathBuf>,
}

/// `outrigger.kubernetes`: kubectl's way to a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KubernetesAccess {
    /// `kubeconfig`; kubectl's own rules (`KUBECONFIG`, `~/.kube/config`) when absent.
    pub kubeconfig: Option<PathBuf>,
    /// `context`; the current one when absent.
    pub context: Option<String>,
}

/// `outrigger.request_budget`: a token bucket for requests to one API server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RequestBudget {
    /// `requests_per_second`, 10; positive.
    pub requests_per_second: f64,
    /// `burst`, 40; positive.
    pub burst: u32,
}

impl Default for RequestBudget {
    fn default() -> Self {
        Self { requests_per_second: 10.0, burst: 40 }
    }
}

/// `outrigger.limits`: bounds of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `remote_write_queue_bytes`: samples waiting for one remote-write endpoint, 256 MiB.
    pub remote_write_queue_bytes: u64,
    /// `remote_write_disk_bytes`: samples waiting on disk for one remote-write endpoint, 10 GiB.
    pub remote_write_disk_bytes: u64,
    /// `max_body_bytes`: an uncompressed scrape body when `body_size_limit` is 0, 256 MiB.
    pub max_body_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            remote_write_queue_bytes: 256 << 20,
            remote_write_disk_bytes: 10 << 30,
            max_body_bytes: 256 << 20,
        }
    }
}

impl OutriggerConfig {
    pub(super) fn read(
        value: &Cursor<'_>,
        files: &Files<'_>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let Some(section) = value.section() else { return Self::default() };
        let environment = Environment(environment);
        let config = Self {
            cluster_name: section.owned_text("cluster_name"),
            kubernetes: section.section("kubernetes").map(|section| kubernetes(section, files)),
            request_budget: section.section("request_budget").map(request_budget).unwrap_or_default(),
            limits: section.section("limits").map(limits).unwrap_or_default(),
            clusters: clusters::read(&section.items("clusters"), files),
            centre: section.section("centre").map(|section| CentreConfig::read(section, files, environment)),
            worker: section.section("worker").map(|section| WorkerConfig::read(section, files, environment)),
            prometheus_operator: section
                .get("prometheus_operator")
                .and_then(|value| OperatorSettings::read(&value)),
            self_metrics: section
                .section("self_metrics")
                .map(|section| SelfMetricsConfig::read(section, files)),
            state_metrics: section
                .section("state_metrics")
                .map(|section| StateMetricsConfig::read(section, files)),
            state_encryption_key_file: section
                .get("state_encryption_key_file")
                .and_then(|value| files.path(&value, ReferencedFileKind::Secret)),
        };
        section.finish(&[
            ("kubeconfig", "write it below kubernetes"),
            ("context", "write it below kubernetes"),
            ("cluster", "write cluster_name"),
            ("masters", "write it below worker"),
            ("etcd", "write it below centre"),
            ("center", "write centre"),
        ]);
        config
    }
}

fn kubernetes(section: Section<'_>, files: &Files<'_>) -> KubernetesAccess {
    let kubeconfig = section.get("kubeconfig");
    let access = KubernetesAccess {
        kubeconfig: kubeconfig.and_then(|value| files.path(&value, ReferencedFileKind::Kubeconfig)),
        context: Some(section.owned_text("context")).filter(|name| !name.is_empty()),
    };
    section.finish(&[("kubeconfig_file", "write kubeconfig")]);
    access
}

fn request_budget(section: Section<'_>) -> RequestBudget {
    let default = RequestBudget::default();
    let rate = section.get("requests_per_second").and_then(|value| {
        let rate = value.float()?;
        let usable = rate.is_finite() && rate > 0.0;
        if !usable {
            value.error(format!("{} is not a rate", value.shown()), "write a number greater than 0");
        }
        usable.then_some(rate)
    });
    let burst = section.get("burst").and_then(|value| {
        let burst = value.unsigned()?;
        let usable = u32::try_from(burst).ok().filter(|burst| *burst > 0);
        if usable.is_none() {
            value.error(
                format!("{} is not a burst", value.shown()),
                "write a whole number from 1 to 4294967295",
            );
        }
        usable
    });
    section.finish(&[("qps", "write requests_per_second")]);
    RequestBudget {
        requests_per_second: rate.unwrap_or(default.requests_per_second),
        burst: burst.unwrap_or(default.burst),
    }
}

fn limits(section: Section<'_>) -> Limits {
    let default = Limits::default();
    let bytes = |name: &'static str, default| {
        let Some(value) = section.get(name) else { return default };
        let Some(size) = value.size() else { return default };
        match u64::try_from(size) {
            Ok(bytes) if bytes > 0 => bytes,
            _ => {
                value.error(format!("{} is not greater than 0", value.shown()), "write for example 256MiB");
                default
            }
        }
    };
    let limits = Limits {
        remote_write_queue_bytes: bytes("remote_write_queue_bytes", default.remote_write_queue_bytes),
        remote_write_disk_bytes: bytes("remote_write_disk_bytes", default.remote_write_disk_bytes),
        max_body_bytes: bytes("max_body_bytes", default.max_body_bytes),
    };
    section.finish(&[("body_size_limit", "write max_body_bytes")]);
    limits
}

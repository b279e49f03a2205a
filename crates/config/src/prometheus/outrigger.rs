//! `outrigger`: what Prometheus' file has no word for.

use std::path::PathBuf;

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
    /// `max_body_bytes`: an uncompressed scrape body when `body_size_limit` is 0, 256 MiB.
    pub max_body_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { remote_write_queue_bytes: 256 << 20, max_body_bytes: 256 << 20 }
    }
}

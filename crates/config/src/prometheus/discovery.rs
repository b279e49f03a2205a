//! Where targets come from: static, file and HTTP discovery; the kinds that are only known by name.

use std::time::Duration;

use outrigger_model::http::HttpClientConfig;
use outrigger_model::target::TargetGroup;

use super::kubernetes_sd::KubernetesSd;

/// One source of targets.
#[derive(Debug, Clone, PartialEq)]
pub enum DiscoveryConfig {
    /// `static_configs`, all of the job's groups; the source of group `n` is `n` in decimal.
    Static(Vec<TargetGroup>),
    /// One entry of `file_sd_configs`.
    File(FileSd),
    /// One entry of `http_sd_configs`.
    Http(HttpSd),
    /// One entry of `kubernetes_sd_configs`.
    Kubernetes(KubernetesSd),
    /// One entry of another kind, for example `consul_sd_configs`; `run` refuses it.
    Unsupported(&'static str),
}

/// `file_sd_configs` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSd {
    /// `files`: patterns that end in `.json`, `.yml` or `.yaml`, joined to the configuration's directory;
    /// a `*` stands only in the last path element.
    pub files: Vec<String>,
    /// `refresh_interval`, 5 minutes.
    pub refresh_interval: Duration,
}

impl FileSd {
    /// Discovery from `files` with Prometheus' defaults.
    pub fn new(files: Vec<String>) -> Self {
        Self { files, refresh_interval: Duration::from_secs(300) }
    }
}

/// `http_sd_configs` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSd {
    /// `url`, `http` or `https` with a host.
    pub url: String,
    /// `refresh_interval`, 1 minute.
    pub refresh_interval: Duration,
    /// How the URL is reached.
    pub http: HttpClientConfig,
}

impl HttpSd {
    /// Discovery from `url` with Prometheus' defaults.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            refresh_interval: Duration::from_secs(60),
            http: HttpClientConfig::default(),
        }
    }
}

//! Prometheus' configuration file, with Prometheus' defaults and checks (`config/config.go`).

mod alerting;
mod discovery;
mod global;
mod kubernetes_sd;
mod outrigger;
mod remote_write;
mod scrape_config;

use std::path::PathBuf;
use std::sync::Arc;

pub use alerting::{AlertingConfig, AlertmanagerConfig};
pub use discovery::{DiscoveryConfig, FileSd, HttpSd};
pub use global::GlobalConfig;
pub use kubernetes_sd::{AttachMetadata, KubernetesSd, Namespaces, Role, RoleSelector};
pub use outrigger::{KubernetesAccess, Limits, OutriggerConfig, RequestBudget};
pub use remote_write::{CloudAuth, MetadataConfig, QueueConfig, RemoteWriteConfig, RemoteWriteMessage};
pub use scrape_config::{EscapingScheme, ScrapeConfig, ScrapeProtocol};

use crate::error::{Location, Notice};

/// A whole validated configuration. `Default` is what an empty file means.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// `global`.
    pub global: GlobalConfig,
    /// `scrape_configs`, then those of `scrape_config_files` in order of pattern and file name. Job names are unique.
    pub scrape_configs: Vec<Arc<ScrapeConfig>>,
    /// `remote_write`. Names are unique.
    pub remote_write: Vec<Arc<RemoteWriteConfig>>,
    /// `rule_files`: patterns, joined to the configuration's directory.
    pub rule_files: Vec<String>,
    /// `alerting`.
    pub alerting: AlertingConfig,
    /// `outrigger`.
    pub outrigger: OutriggerConfig,
}

/// What is to be loaded.
pub struct Source<'a> {
    /// Name of the file in messages.
    pub path: &'a str,
    /// Its content.
    pub text: &'a str,
    /// Relative paths in it are relative to this directory (the file's own).
    pub directory: PathBuf,
    /// Environment variables, for `${NAME}` in `external_labels`.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// Files that it refers to (only `scrape_config_files` are read).
    pub files: &'a dyn crate::file_access::FileAccess,
    /// Check what `prometheus --agent` refuses too.
    pub agent_mode: bool,
}

/// A configuration that Prometheus accepts.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What Outrigger does not act on, in order of place.
    pub notices: Vec<Notice>,
    /// Files that the configuration refers to, for `check config` to look at.
    pub referenced_files: Vec<ReferencedFile>,
}

/// A file, or a pattern of files, that a key refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferencedFile {
    /// Where the key stands.
    pub location: Location,
    /// Path of the key.
    pub key: String,
    /// The file or pattern, joined to the configuration's directory.
    pub path: String,
    /// What the file is.
    pub kind: ReferencedFileKind,
}

/// What a referenced file is, and so how `check config` checks it (as promtool does).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferencedFileKind {
    /// CA certificates, PEM.
    TlsCa,
    /// Client certificate, PEM: must exist.
    TlsCertificate,
    /// Client key, PEM: must exist.
    TlsKey,
    /// Password, token or another secret: must exist.
    Secret,
    /// Kubeconfig.
    Kubeconfig,
    /// Pattern of rule files, which must parse.
    RuleFiles,
    /// Pattern of scrape configuration files, already read.
    ScrapeConfigFiles,
    /// Pattern of target files of `file_sd_configs`, which must parse when they exist.
    TargetFiles,
}

//! `kubernetes_sd_configs` (Prometheus `discovery/kubernetes/kubernetes.go`).

use std::path::PathBuf;

use outrigger_model::http::HttpClientConfig;

use crate::selector::{FieldSelector, LabelSelector};

/// The kind of object that targets are made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// `node`.
    Node,
    /// `pod`.
    Pod,
    /// `service`.
    Service,
    /// `endpoints`.
    Endpoints,
    /// `endpointslice`.
    EndpointSlice,
    /// `ingress`.
    Ingress,
}

impl Role {
    /// Every role, in the order in which Prometheus lists them.
    pub const ALL: [Role; 6] =
        [Role::Pod, Role::Service, Role::Endpoints, Role::EndpointSlice, Role::Node, Role::Ingress];

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Node => "node",
            Role::Pod => "pod",
            Role::Service => "service",
            Role::Endpoints => "endpoints",
            Role::EndpointSlice => "endpointslice",
            Role::Ingress => "ingress",
        }
    }

    /// The role of this (case-sensitive) name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// `kubernetes_sd_configs` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesSd {
    /// `role`.
    pub role: Role,
    /// `api_server`; excludes `kubeconfig_file`. Without either the `outrigger.kubernetes` section decides,
    /// then the pod's own service account.
    pub api_server: Option<String>,
    /// `kubeconfig_file`.
    pub kubeconfig_file: Option<PathBuf>,
    /// How `api_server` is reached; the default unless that is set.
    pub http: HttpClientConfig,
    /// `namespaces`.
    pub namespaces: Namespaces,
    /// `selectors`, at most one for each role.
    pub selectors: Vec<RoleSelector>,
    /// `attach_metadata`.
    pub attach_metadata: AttachMetadata,
}

impl KubernetesSd {
    /// Discovery of `role` in all namespaces with Prometheus' defaults.
    pub fn new(role: Role) -> Self {
        Self {
            role,
            api_server: None,
            kubeconfig_file: None,
            http: HttpClientConfig::default(),
            namespaces: Namespaces::default(),
            selectors: Vec::new(),
            attach_metadata: AttachMetadata::default(),
        }
    }
}

/// `namespaces`. Neither set means all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Namespaces {
    /// `own_namespace`: the namespace that this process runs in.
    pub own_namespace: bool,
    /// `names`.
    pub names: Vec<String>,
}

/// One entry of `selectors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSelector {
    /// `role`: which objects it selects.
    pub role: Role,
    /// `label`; empty matches everything.
    pub label: LabelSelector,
    /// `field`; empty matches everything.
    pub field: FieldSelector,
}

/// `attach_metadata`: which other objects lend their metadata to targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AttachMetadata {
    /// `node`: labels and annotations of the node.
    pub node: bool,
    /// `namespace`: labels and annotations of the namespace.
    pub namespace: bool,
    /// `deployment`: name of the pod's Deployment.
    pub deployment: bool,
    /// `job`: name of the pod's Job.
    pub job: bool,
    /// `cronjob`: name of the pod's CronJob.
    pub cronjob: bool,
}

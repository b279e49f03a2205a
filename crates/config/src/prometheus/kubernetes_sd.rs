//! `kubernetes_sd_configs` (Prometheus `discovery/kubernetes/kubernetes.go`).

use std::path::PathBuf;

use outrigger_model::http::HttpClientConfig;

use super::files::{Files, ReferencedFileKind};
use super::http_client;
use crate::selector::{FieldSelector, LabelSelector};
use crate::yaml::walk::{Cursor, Section};

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
    /// `cluster`: one of `outrigger.clusters` (not in Prometheus); excludes the two above.
    pub cluster: Option<String>,
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
            cluster: None,
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

impl Role {
    /// The roles whose objects a selector may choose from when this is the role of the discovery.
    pub fn selectable(self) -> &'static [Role] {
        match self {
            Role::Pod => &[Role::Pod, Role::Node],
            Role::Service => &[Role::Service],
            Role::EndpointSlice => &[Role::Pod, Role::Service, Role::EndpointSlice],
            Role::Endpoints => &[Role::Pod, Role::Service, Role::Endpoints],
            Role::Node => &[Role::Node],
            Role::Ingress => &[Role::Ingress],
        }
    }

    fn read(value: &Cursor<'_>) -> Option<Self> {
        value.one_of("Kubernetes role", &Role::ALL.map(|role| (role.as_str(), role)))
    }
}

fn names(roles: &[Role]) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ")
}

impl KubernetesSd {
    pub(super) fn read(value: &Cursor<'_>, files: &Files<'_>) -> Option<Self> {
        let section = value.section()?;
        let http = http_client::read(&section, &HttpClientConfig::default(), files);
        let api_server = section.get("api_server").filter(|value| !value.is_absent());
        let kubeconfig = section.get("kubeconfig_file");
        let namespaces = section.get("namespaces").map(|value| namespaces(&value)).unwrap_or_default();
        let has_kubeconfig = kubeconfig.as_ref().is_some_and(|value| value.text() != Some(""));
        check_access(
            &section,
            api_server.is_some(),
            has_kubeconfig,
            http.customized,
            namespaces.own_namespace,
        );
        let cluster = Some(section.owned_text("cluster")).filter(|name| !name.is_empty());
        if cluster.is_some() && (api_server.is_some() || has_kubeconfig) {
            let access = if has_kubeconfig { "kubeconfig_file" } else { "api_server" };
            section.error_at("cluster", format!("cluster and {access} are both set"), "keep one of the two");
        }
        let role = section.get("role").filter(|value| !value.is_absent());
        if role.is_none() {
            section.error_at("role", "role is missing", format!("add role, one of {}", names(&Role::ALL)));
        }
        let role = role.and_then(|value| Role::read(&value));
        let config = Self {
            role: role.unwrap_or(Role::Pod),
            api_server: api_server
                .and_then(|value| http_client::checked_url(&value))
                .filter(|url| !url.is_empty()),
            kubeconfig_file: kubeconfig.and_then(|value| files.path(&value, ReferencedFileKind::Kubeconfig)),
            cluster,
            http: http.config,
            namespaces,
            selectors: selectors(&section, role),
            attach_metadata: attach_metadata(&section),
        };
        section.finish(&[
            ("in_cluster", "remove it: without api_server the pod's own service account is used"),
            ("api_servers", "write api_server, with one URL"),
            ("namespace", "write namespaces with a list of names"),
            ("selector", "write selectors, which is a list"),
            ("kubeconfig", "write kubeconfig_file"),
        ]);
        role.map(|_| config)
    }
}

/// Which ways to reach a cluster exclude each other.
fn check_access(section: &Section<'_>, api_server: bool, kubeconfig: bool, http: bool, own_namespace: bool) {
    if api_server && kubeconfig {
        let message = "api_server and kubeconfig_file are both set";
        section.error_at("kubeconfig_file", message, "keep one of the two");
    }
    if kubeconfig && http {
        let message = "HTTP settings are set beside kubeconfig_file";
        section.error_at("kubeconfig_file", message, "remove them; the kubeconfig holds them");
    } else if !api_server && http {
        let message = "HTTP settings are set, but no server that they are for";
        section.missing("api_server", message, "add api_server, or remove the HTTP settings");
    }
    if own_namespace && (api_server || kubeconfig) {
        let access = if api_server { "api_server" } else { "kubeconfig_file" };
        let message = format!("namespaces.own_namespace and {access} are both set");
        section.error_at("namespaces", message, "write the namespace in namespaces.names");
    }
}

fn namespaces(value: &Cursor<'_>) -> Namespaces {
    let Some(section) = value.section() else { return Namespaces::default() };
    let own_namespace = section.boolean("own_namespace").unwrap_or(false);
    let names = section.texts("names");
    section.finish(&[]);
    Namespaces { own_namespace, names }
}

fn attach_metadata(section: &Section<'_>) -> AttachMetadata {
    let Some(section) = section.section("attach_metadata") else { return AttachMetadata::default() };
    let flag = |name| section.boolean(name).unwrap_or(false);
    let attach = AttachMetadata {
        node: flag("node"),
        namespace: flag("namespace"),
        deployment: flag("deployment"),
        job: flag("job"),
        cronjob: flag("cronjob"),
    };
    section.finish(&[]);
    attach
}

fn selectors(section: &Section<'_>, of: Option<Role>) -> Vec<RoleSelector> {
    let mut selectors: Vec<RoleSelector> = Vec::new();
    for item in section.items("selectors") {
        let Some(selector) = selector(&item, of) else { continue };
        if selectors.iter().any(|earlier| earlier.role == selector.role) {
            let message = format!("there are two selectors for the role {}", selector.role.as_str());
            item.error(message, "join them in one, separated by a comma");
            continue;
        }
        selectors.push(selector);
    }
    selectors
}

fn selector(value: &Cursor<'_>, of: Option<Role>) -> Option<RoleSelector> {
    if value.is_null() {
        value.error("the selector is empty", "remove the entry or give it a role");
        return None;
    }
    let section = value.section()?;
    let role = section.get("role").filter(|value| !value.is_absent());
    if role.is_none() {
        section.error_at("role", "the selector names no role", "add role: which objects it selects");
    }
    let role = role.and_then(|value| Role::read(&value));
    if let (Some(role), Some(of)) = (role, of)
        && !of.selectable().contains(&role)
    {
        let of_name = of.as_str();
        let message = format!("{} objects cannot be selected for the role {of_name}", role.as_str());
        section.error_at(
            "role",
            message,
            format!("{of_name} supports selectors for {}", names(of.selectable())),
        );
    }
    let label = section.get("label").and_then(|value| {
        let parsed = LabelSelector::parse(value.text()?);
        let fix = "write for example app=web,tier in (a,b),!canary";
        parsed.map_err(|problem| value.error(format!("not a label selector: {problem}"), fix)).ok()
    });
    let field = section.get("field").and_then(|value| {
        let parsed = FieldSelector::parse(value.text()?);
        let fix = "write for example spec.nodeName=n1,status.phase!=Failed";
        parsed.map_err(|problem| value.error(format!("not a field selector: {problem}"), fix)).ok()
    });
    section.finish(&[("labels", "write label"), ("fields", "write field")]);
    Some(RoleSelector { role: role?, label: label.unwrap_or_default(), field: field.unwrap_or_default() })
}

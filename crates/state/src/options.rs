//! The options of kube-state-metrics 2.20: its flags as `spf13/pflag` reads them, its configuration file, and what of
//! Outrigger's own was added (`--compat`, `--virtual-shard-ports`).
//!
//! [`CommandLine::parse`] reads the arguments, [`CommandLine::with_file`] puts a configuration file over them, and
//! [`Options::check`] refuses what cannot work together.

mod allow_list;
mod file;
mod flags;
mod go;
mod help;
mod klog;

use std::collections::BTreeSet;
use std::time::Duration;

pub use allow_list::{AllowListError, LabelsAllowList};
pub use file::{FileError, FileWarning};
pub use flags::FlagError;
pub use go::parse_duration;
pub use help::{Shell, completion, usage};
pub use klog::{Klog, Severity};

/// Everything that can be set, flags and configuration file together.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Keys of annotations that `*_annotations` families show.
    pub annotations_allow_list: LabelsAllowList,
    /// Keys of labels that `*_labels` families show.
    pub labels_allow_list: LabelsAllowList,
    /// ECMAScript expressions, one of which must match a family's name.
    pub metric_allowlist: BTreeSet<String>,
    /// ECMAScript expressions, none of which may match a family's name.
    pub metric_denylist: BTreeSet<String>,
    /// RE2 expressions for families that are only on when asked for.
    pub metric_opt_in_list: BTreeSet<String>,
    /// Resources by their plural; empty for the default ones.
    pub resources: BTreeSet<String>,
    /// URL of the API server, instead of the kubeconfig's.
    pub apiserver: String,
    /// Custom resource state configuration, YAML in the flag itself; wins over the file.
    pub custom_resource_config: String,
    /// File with the custom resource state configuration.
    pub custom_resource_config_file: String,
    /// That file may come later.
    pub continue_without_custom_resource_config_file: bool,
    /// No built-in resources.
    pub custom_resources_only: bool,
    /// Address of `/metrics`.
    pub host: String,
    /// Port of `/metrics`.
    pub port: u16,
    /// Address of the process's own metrics.
    pub telemetry_host: String,
    /// Port of the process's own metrics.
    pub telemetry_port: u16,
    /// Kubeconfig file; the pod's service account when empty.
    pub kubeconfig: String,
    /// Namespace of `pod`.
    pub pod_namespace: String,
    /// The pod this runs in: together with `pod_namespace` it turns on automatic sharding.
    pub pod: String,
    /// Only pods of this node.
    pub node: String,
    /// Only pods without a node.
    pub track_unscheduled_pods: bool,
    /// Web configuration file of Prometheus' exporter toolkit.
    pub tls_config: String,
    /// Configuration file of these options.
    pub config: String,
    /// That file may come later.
    pub continue_without_config: bool,
    /// Only these namespaces, in this order; empty for all.
    pub namespaces: Vec<String>,
    /// None of these namespaces.
    pub namespaces_denylist: Vec<String>,
    /// Has no effect here: there is no Go runtime.
    pub auto_gomemlimit: bool,
    /// Has no effect here: there is no Go runtime.
    pub auto_gomemlimit_ratio: f64,
    /// Which of the shards this is, from 0.
    pub shard: i32,
    /// How many shards there are; 1 for no sharding.
    pub total_shards: i64,
    /// Longest silence while a request is read.
    pub server_read_timeout: Duration,
    /// Longest silence of a client while an answer is written to it.
    pub server_write_timeout: Duration,
    /// Longest time between two requests of a connection.
    pub server_idle_timeout: Duration,
    /// Longest time from a request's first byte to the end of its headers.
    pub server_read_header_timeout: Duration,
    /// Answer in gzip where the client asks for it.
    pub enable_gzip_encoding: bool,
    /// List with `resourceVersion=0`.
    pub use_api_server_cache: bool,
    /// Most objects of a list; 0 for no limit.
    pub object_limit: i64,
    /// Ask the API server who may read metrics.
    pub auth_filter: bool,
    /// Ports of the virtual shards: the n-th serves shard n of as many as there are ports.
    pub virtual_shard_ports: Vec<u16>,
    /// Whose output to give.
    pub compat: Compat,
    /// How to log.
    pub klog: Klog,
}

/// A version of kube-state-metrics whose output is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compat {
    /// 2.20.x.
    #[default]
    V2_20,
}

impl Compat {
    /// `2.20`, with or without a leading `v` and a patch release.
    pub fn parse(text: &str) -> Option<Self> {
        let version = text.strip_prefix('v').unwrap_or(text);
        let patch = version.strip_prefix("2.20")?;
        let known = patch.is_empty()
            || patch
                .strip_prefix('.')
                .is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit()));
        known.then_some(Self::V2_20)
    }
}

impl std::fmt::Display for Compat {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::V2_20 => "2.20",
        })
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            annotations_allow_list: LabelsAllowList::default(),
            labels_allow_list: LabelsAllowList::default(),
            metric_allowlist: BTreeSet::new(),
            metric_denylist: BTreeSet::new(),
            metric_opt_in_list: BTreeSet::new(),
            resources: BTreeSet::new(),
            apiserver: String::new(),
            custom_resource_config: String::new(),
            custom_resource_config_file: String::new(),
            continue_without_custom_resource_config_file: false,
            custom_resources_only: false,
            host: "::".to_owned(),
            port: 8080,
            telemetry_host: "::".to_owned(),
            telemetry_port: 8081,
            kubeconfig: String::new(),
            pod_namespace: String::new(),
            pod: String::new(),
            node: String::new(),
            track_unscheduled_pods: false,
            tls_config: String::new(),
            config: String::new(),
            continue_without_config: false,
            namespaces: Vec::new(),
            namespaces_denylist: Vec::new(),
            auto_gomemlimit: false,
            auto_gomemlimit_ratio: 0.9,
            shard: 0,
            total_shards: 1,
            server_read_timeout: Duration::from_secs(60),
            server_write_timeout: Duration::from_secs(60),
            server_idle_timeout: Duration::from_secs(300),
            server_read_header_timeout: Duration::from_secs(5),
            enable_gzip_encoding: false,
            use_api_server_cache: false,
            object_limit: 0,
            auth_filter: false,
            virtual_shard_ports: Vec::new(),
            compat: Compat::default(),
            klog: Klog::default(),
        }
    }
}

/// What the arguments ask for.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandLine {
    /// To run, with these options.
    Run(Box<Options>),
    /// The flags.
    Help,
    /// The version.
    Version,
    /// A completion script.
    Completion(Shell),
    /// How to load a completion script.
    CompletionHelp(Shell),
}

/// Options that cannot work, or not together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Only pods have a node.
    #[error(
        "--node: resource {resource} can't be sharded by field selector spec.nodeName: set --resources=pods, and serve the \
         other resources by another instance"
    )]
    NodeResource {
        /// The resource.
        resource: String,
    },
    /// An unknown resource.
    #[error("{option}: resource {resource} does not exist{}. Available resources: {}", did_you_mean(.resource), RESOURCES.join(","))]
    Resource {
        /// The option.
        option: &'static str,
        /// Its value.
        resource: String,
    },
    /// A number out of its range.
    #[error("{option}: {value} must be {wanted}")]
    Range {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// Both lists of metrics.
    #[error(
        "--metric-allowlist and --metric-denylist are both set, they are mutually exclusive, only one of them can be set"
    )]
    AllowAndDeny,
    /// One half of a pair.
    #[error("{given} is set without {missing}: automatic sharding needs both")]
    Half {
        /// What is there.
        given: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// Two listeners on one port.
    #[error("port {port} is given to both {first} and {second}")]
    PortTwice {
        /// The port.
        port: u16,
        /// The first to have it.
        first: &'static str,
        /// The second.
        second: &'static str,
    },
}

fn did_you_mean(resource: &str) -> String {
    go::nearest(resource, RESOURCES.iter().copied())
        .map(|near| format!(" (did you mean {near}?)"))
        .unwrap_or_default()
}

/// Resources that can be enabled, by name.
pub const RESOURCES: [&str; 39] = [
    "certificatesigningrequests",
    "clusterrolebindings",
    "clusterroles",
    "configmaps",
    "cronjobs",
    "daemonsets",
    "deployments",
    "endpoints",
    "endpointslices",
    "horizontalpodautoscalers",
    "ingressclasses",
    "ingresses",
    "jobs",
    "leases",
    "limitranges",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "mutatingwebhookconfigurations",
    "namespaces",
    "networkpolicies",
    "nodes",
    "persistentvolumeclaims",
    "persistentvolumes",
    "poddisruptionbudgets",
    "pods",
    "replicasets",
    "replicationcontrollers",
    "resourcequotas",
    "rolebindings",
    "roles",
    "secrets",
    "serviceaccounts",
    "services",
    "statefulsets",
    "storageclasses",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
    "volumeattachments",
];

/// Resources that are only enabled when `--resources` names them.
pub const NOT_BY_DEFAULT: [&str; 7] = [
    "clusterrolebindings",
    "clusterroles",
    "endpoints",
    "ingressclasses",
    "rolebindings",
    "roles",
    "serviceaccounts",
];

impl Options {
    /// The resources that are on, by name.
    pub fn enabled_resources(&self) -> Vec<String> {
        if self.custom_resources_only {
            return Vec::new();
        }
        if !self.resources.is_empty() {
            return self.resources.iter().cloned().collect();
        }
        let default = RESOURCES.into_iter().filter(|resource| !NOT_BY_DEFAULT.contains(resource));
        default.map(str::to_owned).collect()
    }

    /// Whether shard and number of shards are read off a StatefulSet.
    pub fn auto_sharding(&self) -> bool {
        !self.pod.is_empty() && !self.pod_namespace.is_empty()
    }

    /// Refuses what cannot work. Unlike kube-state-metrics, all of it whether or not `--node` is set.
    ///
    /// # Errors
    /// The first that is wrong, with the option that has to change.
    pub fn check(&self) -> Result<(), OptionsError> {
        self.check_resources()?;
        self.check_numbers()?;
        self.check_ports()?;
        if !self.metric_allowlist.is_empty() && !self.metric_denylist.is_empty() {
            return Err(OptionsError::AllowAndDeny);
        }
        match (self.pod.is_empty(), self.pod_namespace.is_empty()) {
            // A namespace alone does nothing there, and manifests have it.
            (false, true) => Err(OptionsError::Half { given: "--pod", missing: "--pod-namespace" }),
            _ => Ok(()),
        }
    }

    fn check_resources(&self) -> Result<(), OptionsError> {
        let exists = |resource: &str| RESOURCES.contains(&resource);
        let named = [
            ("--resources", self.resources.iter().collect::<Vec<_>>()),
            ("--metric-labels-allowlist", self.labels_allow_list.resources().collect()),
            ("--metric-annotations-allowlist", self.annotations_allow_list.resources().collect()),
        ];
        for (option, resources) in named {
            let any = option != "--resources";
            if let Some(unknown) = resources.into_iter().find(|name| !(exists(name) || any && *name == "*")) {
                return Err(OptionsError::Resource { option, resource: unknown.clone() });
            }
        }
        let unlike_pods = self.resources.iter().find(|resource| *resource != "pods");
        match unlike_pods {
            Some(resource) if !self.node.is_empty() => {
                Err(OptionsError::NodeResource { resource: resource.clone() })
            }
            _ => Ok(()),
        }
    }

    fn check_numbers(&self) -> Result<(), OptionsError> {
        let range = |option, value: &dyn std::fmt::Display, wanted| {
            Err(OptionsError::Range { option, value: value.to_string(), wanted })
        };
        if !(self.auto_gomemlimit_ratio > 0.0 && self.auto_gomemlimit_ratio <= 1.0) {
            let ratio = self.auto_gomemlimit_ratio;
            return range("--auto-gomemlimit-ratio", &ratio, "greater than 0 and less than or equal to 1");
        }
        if self.object_limit < 0 {
            return range("--object-limit", &self.object_limit, "equal or greater than 0");
        }
        if self.shard < 0 {
            return range("--shard", &self.shard, "equal or greater than 0");
        }
        if !(1..=i64::from(i32::MAX)).contains(&self.total_shards) {
            return range("--total-shards", &self.total_shards, "between 1 and 2147483647");
        }
        if !self.auto_sharding() && i64::from(self.shard) >= self.total_shards {
            return range("--shard", &self.shard, "less than --total-shards: shards are counted from 0");
        }
        Ok(())
    }

    fn check_ports(&self) -> Result<(), OptionsError> {
        let named = [("--port", self.port), ("--telemetry-port", self.telemetry_port)];
        let virtual_ports = self.virtual_shard_ports.iter().map(|port| ("--virtual-shard-ports", *port));
        let all: Vec<_> = named.into_iter().chain(virtual_ports).filter(|(_, port)| *port != 0).collect();
        for (index, (second, port)) in all.iter().enumerate() {
            let Some((first, _)) = all[..index].iter().find(|(_, other)| other == port) else { continue };
            let apart =
                [*first, *second] == ["--port", "--telemetry-port"] && self.host != self.telemetry_host;
            if !apart {
                return Err(OptionsError::PortTwice { port: *port, first, second });
            }
        }
        Ok(())
    }

    /// What was set and does nothing here, with the reason.
    pub fn without_effect(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.auto_gomemlimit {
            notes.push("--auto-gomemlimit: there is no Go runtime whose memory could be limited".to_owned());
        }
        notes.extend(self.klog.without_effect());
        notes
    }
}

/// Cases shared by the tests of this crate's selection.
#[cfg(test)]
pub(crate) fn testdata(name: &str) -> serde_json::Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/options").join(name);
    let text = std::fs::read_to_string(&path).expect("the cases are part of the tree");
    serde_json::from_str(&text).expect("the cases are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Options {
        match CommandLine::parse(arguments.iter().copied()).expect("valid") {
            CommandLine::Run(options) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_option_to_change() {
        let cases: &[(&[&str], &str)] = &[
            (&["--node=n1", "--resources=pods,nodes"], "resource nodes can't be sharded"),
            (&["--resources=pod"], "resource pod does not exist (did you mean pods?)"),
            (
                &["--metric-labels-allowlist=pdos=[a]"],
                "--metric-labels-allowlist: resource pdos does not exist",
            ),
            (&["--object-limit=-1"], "--object-limit: -1 must be equal or greater than 0"),
            (&["--auto-gomemlimit-ratio=1.5"], "--auto-gomemlimit-ratio: 1.5 must be"),
            (&["--shard=2", "--total-shards=2"], "--shard: 2 must be less than --total-shards"),
            (&["--total-shards=0"], "--total-shards: 0 must be between 1"),
            (&["--metric-allowlist=a", "--metric-denylist=b"], "mutually exclusive"),
            (&["--pod=a"], "--pod is set without --pod-namespace"),
            (&["--port=8081"], "port 8081 is given to both --port and --telemetry-port"),
            (&["--virtual-shard-ports=9000,9000"], "port 9000 is given to both"),
        ];
        for (arguments, message) in cases {
            let error = options(arguments).check().expect_err(message).to_string();
            assert!(error.contains(message), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn what_manifests_say_is_accepted() {
        let cases: &[&[&str]] = &[
            &[],
            &["--pod=$(POD_NAME)", "--pod-namespace=$(POD_NAMESPACE)"],
            &["--resources=pods", "--node=$(NODE_NAME)"],
            &["--host=127.0.0.1", "--port=8081", "--telemetry-host=127.0.0.2", "--telemetry-port=8081"],
            &["--port=0", "--telemetry-port=0"],
            &["--metric-labels-allowlist=*=[*]", "--metric-annotations-allowlist=pods=[a]"],
        ];
        for arguments in cases {
            assert_eq!(options(arguments).check(), Ok(()), "{arguments:?}");
        }
    }

    #[test]
    fn the_default_resources_are_those_on_by_default() {
        let families = include_str!("../testdata/families.tsv");
        let mut lines = families.lines();
        let columns: Vec<&str> = lines.next().expect("a header").split('\t').collect();
        let column = |name| columns.iter().position(|column| *column == name).expect("a column");
        let (resource, on) = (column("resource"), column("default_on"));
        let rows: Vec<Vec<&str>> = lines.map(|line| line.split('\t').collect()).collect();
        let all: BTreeSet<&str> = rows.iter().map(|row| row[resource]).collect();
        assert!(all.into_iter().eq(RESOURCES));
        let default: BTreeSet<&str> =
            rows.iter().filter(|row| row[on].starts_with("yes")).map(|row| row[resource]).collect();
        assert_eq!(Options::default().enabled_resources(), default.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn compatible_versions_are_named_as_releases_are() {
        for (text, known) in [
            ("2.20", true),
            ("v2.20.0", true),
            ("2.20.11", true),
            ("2.2", false),
            ("2.200", false),
            ("2.20.", false),
            ("", false),
        ] {
            assert_eq!(Compat::parse(text).is_some(), known, "{text}");
        }
    }
}

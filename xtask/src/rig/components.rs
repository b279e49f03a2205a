//! What each component is started with.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::build::Program;
use super::certificates::User;
use super::ports::free_port;
use super::{Rig, network};

/// A part of the rig that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// etcd, without fsync.
    Etcd,
    /// One kube-apiserver with RBAC and an audit log.
    KubeApiserver,
    /// kwok: nodes annotated `kwok.x-k8s.io/node: fake` become Ready, their pods Running with an address.
    Kwok,
    /// kube-state-metrics over the whole cluster.
    KubeStateMetrics,
    /// A Prometheus that scrapes nothing and receives remote writes.
    PrometheusReceiver,
    /// A Prometheus with a configuration of the user's choice, to compare with. Receives remote writes too.
    Prometheus,
    /// vmagent, remote-writing to [`Component::PrometheusReceiver`].
    Vmagent,
    /// prometheus-operator. Starts only after its custom resources are installed, so not together with the API server.
    PrometheusOperator,
    /// Debian's node_exporter; any number of them, each at an address of its own.
    NodeExporter,
}

impl Component {
    /// Every component, in the order in which they start.
    pub const ALL: [Component; 9] = [
        Component::Etcd,
        Component::KubeApiserver,
        Component::Kwok,
        Component::KubeStateMetrics,
        Component::PrometheusReceiver,
        Component::Prometheus,
        Component::Vmagent,
        Component::PrometheusOperator,
        Component::NodeExporter,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Component::Etcd => "etcd",
            Component::KubeApiserver => "kube-apiserver",
            Component::Kwok => "kwok",
            Component::KubeStateMetrics => "kube-state-metrics",
            Component::PrometheusReceiver => "prometheus-receiver",
            Component::Prometheus => "prometheus",
            Component::Vmagent => "vmagent",
            Component::PrometheusOperator => "prometheus-operator",
            Component::NodeExporter => "node-exporter",
        }
    }

    /// The program that it runs.
    pub fn program(self) -> Program {
        match self {
            Component::Etcd => Program::Etcd,
            Component::KubeApiserver => Program::KubeApiserver,
            Component::Kwok => Program::Kwok,
            Component::KubeStateMetrics => Program::KubeStateMetrics,
            Component::PrometheusReceiver | Component::Prometheus => Program::Prometheus,
            Component::Vmagent => Program::Vmagent,
            Component::PrometheusOperator => Program::PrometheusOperator,
            Component::NodeExporter => Program::NodeExporter,
        }
    }

    /// What has to run before it.
    fn needs(self) -> &'static [Component] {
        match self {
            Component::KubeApiserver => &[Component::Etcd],
            Component::Kwok | Component::KubeStateMetrics | Component::PrometheusOperator => {
                &[Component::Etcd, Component::KubeApiserver]
            }
            Component::Vmagent => &[Component::PrometheusReceiver],
            Component::Etcd
            | Component::PrometheusReceiver
            | Component::Prometheus
            | Component::NodeExporter => &[],
        }
    }

    /// The components with what they need, each once, in the order in which they start.
    pub(super) fn in_order(wanted: &[Component]) -> Vec<Component> {
        let is_wanted = |c: &Component| wanted.iter().any(|w| w == c || w.needs().contains(c));
        Component::ALL.into_iter().filter(is_wanted).collect()
    }
}

/// A process as it is to be started, and where it answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Launch {
    /// Name of the process, of its folder and of its log.
    pub(super) name: String,
    pub(super) component: Component,
    pub(super) args: Vec<String>,
    /// Address with scheme.
    pub(super) url: String,
    /// Path that answers 200 once the component is ready.
    pub(super) ready: String,
}

/// The launches of a component, one but for node_exporter.
pub(super) fn launches(rig: &Rig, component: Component) -> Result<Vec<Launch>> {
    if component == Component::NodeExporter {
        return node_exporters(rig);
    }
    let dir = rig.dir.join(component.name());
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let port = free_port()?;
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let (mut args, scheme, ready) = match component {
        Component::Etcd => (etcd(&dir, address, free_port()?), "http", "/health"),
        Component::KubeApiserver => (kube_apiserver(rig, &dir, port)?, "https", "/readyz"),
        Component::Kwok => (kwok(rig, &dir, address)?, "http", "/healthz"),
        Component::KubeStateMetrics => (kube_state_metrics(rig, port, free_port()?), "http", "/healthz"),
        Component::PrometheusReceiver => {
            (prometheus(&dir, &rig.config_file(component)?, address), "http", "/-/ready")
        }
        Component::Prometheus => {
            (prometheus(&dir, &rig.config_file(component)?, address), "http", "/-/ready")
        }
        Component::Vmagent => (vmagent(rig, &dir, address)?, "http", "/health"),
        Component::PrometheusOperator => (prometheus_operator(rig, address)?, "http", "/healthz"),
        Component::NodeExporter => unreachable!("has its own function"),
    };
    args.extend(rig.options.arguments_of(component));
    Ok(vec![Launch {
        name: component.name().to_owned(),
        component,
        args,
        url: format!("{scheme}://{address}"),
        ready: ready.to_owned(),
    }])
}

fn etcd(dir: &Path, address: SocketAddr, peer_port: u16) -> Vec<String> {
    let peer = format!("http://127.0.0.1:{peer_port}");
    vec![
        "--name=rig".to_owned(),
        format!("--data-dir={}", dir.join("data").display()),
        format!("--listen-client-urls=http://{address}"),
        format!("--advertise-client-urls=http://{address}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=rig={peer}"),
        // The data live as long as the rig.
        "--unsafe-no-fsync".to_owned(),
        "--quota-backend-bytes=8589934592".to_owned(),
        "--log-level=warn".to_owned(),
    ]
}

fn kube_apiserver(rig: &Rig, dir: &Path, port: u16) -> Result<Vec<String>> {
    let policy = dir.join("audit-policy.json");
    fs::write(&policy, AUDIT_POLICY).with_context(|| format!("write {}", policy.display()))?;
    let key = |name: &str| rig.credentials.file(name).display().to_string();
    Ok(vec![
        format!("--etcd-servers={}", rig.url(Component::Etcd)?),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--tls-cert-file={}", key("apiserver.crt")),
        format!("--tls-private-key-file={}", key("apiserver.key")),
        format!("--client-ca-file={}", key("ca.crt")),
        format!("--token-auth-file={}", key("tokens.csv")),
        "--authorization-mode=RBAC".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", key("service-account.pub")),
        format!("--service-account-signing-key-file={}", key("service-account.key")),
        "--service-cluster-ip-range=10.96.0.0/12".to_owned(),
        // No controller manager makes the service accounts that this plugin waits for.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        // The `kubernetes` service can't point at a loopback address.
        "--endpoint-reconciler-type=none".to_owned(),
        "--max-requests-inflight=3000".to_owned(),
        "--max-mutating-requests-inflight=2000".to_owned(),
        format!("--audit-log-path={}", rig.audit_log().display()),
        format!("--audit-policy-file={}", policy.display()),
        "--audit-log-maxsize=10000".to_owned(),
        "--allow-privileged".to_owned(),
    ])
}

/// Every request that has an answer, without bodies. A watch is logged when it starts and when it ends.
const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1",
  "kind": "Policy",
  "omitStages": ["RequestReceived"],
  "rules": [{"level": "Metadata"}]
}
"#;

fn kwok(rig: &Rig, dir: &Path, address: SocketAddr) -> Result<Vec<String>> {
    let config = dir.join("kwok.yaml");
    fs::write(&config, include_str!("kwok.yaml")).with_context(|| format!("write {}", config.display()))?;
    Ok(vec![
        format!("--config={}", config.display()),
        "--v=WARN".to_owned(),
        format!("--kubeconfig={}", rig.kubeconfig_of(User::Kwok).display()),
        format!("--server-address={address}"),
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake".to_owned(),
        // Addresses of pods on nodes without spec.podCIDR, and of nodes without an address.
        format!("--cidr={}/17", network::PODS),
        format!("--node-ip={}", network::NODES),
        "--node-port=10250".to_owned(),
        // A lease renewed every 10 s by each of 1,000 nodes would be most of the rig's load.
        "--node-lease-duration-seconds=1200".to_owned(),
    ])
}

fn kube_state_metrics(rig: &Rig, port: u16, telemetry_port: u16) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", rig.kubeconfig_of(User::KubeStateMetrics).display()),
        "--host=127.0.0.1".to_owned(),
        format!("--port={port}"),
        "--telemetry-host=127.0.0.1".to_owned(),
        format!("--telemetry-port={telemetry_port}"),
    ]
}

fn prometheus(dir: &Path, config: &Path, address: SocketAddr) -> Vec<String> {
    vec![
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", dir.join("data").display()),
        format!("--web.listen-address={address}"),
        "--web.enable-remote-write-receiver".to_owned(),
        "--web.enable-lifecycle".to_owned(),
        "--log.level=warn".to_owned(),
    ]
}

fn vmagent(rig: &Rig, dir: &Path, address: SocketAddr) -> Result<Vec<String>> {
    Ok(vec![
        format!("-promscrape.config={}", rig.config_file(Component::Vmagent)?.display()),
        format!("-httpListenAddr={address}"),
        format!("-remoteWrite.url={}/api/v1/write", rig.url(Component::PrometheusReceiver)?),
        format!("-remoteWrite.tmpDataPath={}", dir.join("data").display()),
        "-loggerLevel=WARN".to_owned(),
    ])
}

/// As admin: it has no flag for a kubeconfig.
fn prometheus_operator(rig: &Rig, address: SocketAddr) -> Result<Vec<String>> {
    let file = |name: &str| rig.credentials.file(name).display().to_string();
    let admin = User::Admin.name();
    Ok(vec![
        format!("--apiserver={}", rig.url(Component::KubeApiserver)?),
        format!("--ca-file={}", file("ca.crt")),
        format!("--cert-file={}", file(&format!("{admin}.crt"))),
        format!("--key-file={}", file(&format!("{admin}.key"))),
        format!("--web.listen-address={address}"),
        "--log-level=warn".to_owned(),
    ])
}

/// All listen on one port, each at its own address, as they would on the nodes of a cluster.
fn node_exporters(rig: &Rig) -> Result<Vec<Launch>> {
    let port = free_port()?;
    let launch = |index: u32| {
        let name = format!("node-exporter-{index}");
        let textfiles: PathBuf = rig.dir.join(&name).join("textfiles");
        fs::create_dir_all(&textfiles).with_context(|| format!("create {}", textfiles.display()))?;
        let address = SocketAddr::new(network::live(rig.state.route_metric.is_some(), index).into(), port);
        let mut args = vec![
            format!("--web.listen-address={address}"),
            format!("--collector.textfile.directory={}", textfiles.display()),
            "--log.level=warn".to_owned(),
        ];
        args.extend(rig.options.arguments_of(Component::NodeExporter));
        Ok(Launch {
            name,
            component: Component::NodeExporter,
            args,
            url: format!("http://{address}"),
            ready: "/".to_owned(),
        })
    };
    (0..rig.options.node_exporters.max(1)).map(launch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_components_come_first_and_once() {
        assert_eq!(
            Component::in_order(&[Component::Vmagent, Component::Kwok, Component::KubeStateMetrics]),
            [
                Component::Etcd,
                Component::KubeApiserver,
                Component::Kwok,
                Component::KubeStateMetrics,
                Component::PrometheusReceiver,
                Component::Vmagent
            ]
        );
    }
}

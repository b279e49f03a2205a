//! Clusters that are fast to fail and fast to try again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use outrigger_kube::{
    Cluster, ClusterConnection, ConnectOptions, RequestBudget, RequestKind, ResourceKind, WatchPolicy,
    WatchStatus,
};
use tokio::task::JoinHandle;

use crate::server::Server;
use crate::sink::Rows;

/// A watch that stops when dropped.
pub(crate) struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) fn policy() -> WatchPolicy {
    WatchPolicy {
        backoff_floor: Duration::from_millis(5),
        backoff_cap: Duration::from_millis(50),
        cut_backoff_cap: Duration::from_millis(20),
        healthy_after: Duration::from_millis(50),
        relist_jitter: Duration::from_millis(20),
        refused_wait: Duration::from_millis(50),
        ..WatchPolicy::default()
    }
}

pub(crate) fn options() -> ConnectOptions {
    ConnectOptions {
        cluster: "test".to_owned(),
        budget: RequestBudget { per_second: 500.0, burst: 500 },
        policy: policy(),
        object_limit: 64 << 10,
        ..ConnectOptions::default()
    }
}

/// A kubeconfig for the server whose user has these lines.
pub(crate) fn kubeconfig(directory: &Path, server: &Server, user: &str) -> PathBuf {
    let ca = directory.join("ca.crt");
    std::fs::write(&ca, &server.ca_pem).unwrap();
    let indented: String = user.lines().map(|line| format!("    {line}\n")).collect();
    let user = if user.is_empty() { "    {}\n".to_owned() } else { indented };
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: main\n\
         clusters:\n- name: c\n  cluster:\n    server: {}\n    certificate-authority: ca.crt\n\
         contexts:\n- name: main\n  context:\n    cluster: c\n    user: u\n    namespace: team\n\
         users:\n- name: u\n  user:\n{user}",
        server.url()
    );
    let path = directory.join("kubeconfig");
    std::fs::write(&path, text).unwrap();
    path
}

/// A cluster at the server with a fixed token.
pub(crate) async fn connect(server: &Server) -> Cluster {
    connect_as(server, "token: secret", options()).await
}

pub(crate) async fn connect_as(server: &Server, user: &str, options: ConnectOptions) -> Cluster {
    let directory = tempfile::tempdir().unwrap();
    let path = kubeconfig(directory.path(), server, user);
    let connection = ClusterConnection::Kubeconfig { path, context: None };
    let cluster = Cluster::connect(connection, options).await.unwrap();
    // The authority's file is read anew for each connection.
    std::mem::forget(directory);
    cluster
}

pub(crate) fn watch(cluster: &Cluster, resource: ResourceKind, rows: &Arc<Rows>) -> Watch {
    watch_within(cluster, resource, &[], rows)
}

pub(crate) fn watch_within(
    cluster: &Cluster,
    resource: ResourceKind,
    namespaces: &[&str],
    rows: &Arc<Rows>,
) -> Watch {
    let namespaces = namespaces.iter().map(|namespace| (*namespace).to_owned()).collect();
    Watch(tokio::spawn(cluster.watch_within(resource, namespaces, rows.clone())))
}

pub(crate) fn status(cluster: &Cluster, resource: ResourceKind) -> WatchStatus {
    cluster.statuses().into_iter().find(|status| status.resource == resource).unwrap()
}

/// Requests of a kind, whatever their code.
pub(crate) fn requests(cluster: &Cluster, kind: RequestKind) -> u64 {
    cluster.requests().iter().filter(|count| count.request == kind).map(|count| count.count).sum()
}

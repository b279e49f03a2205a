//! The resources of prometheus-operator in a real API server, beside the real operator and a real Prometheus.
//! Needs `cargo xtask rig build etcd kube-apiserver kubectl kwok prometheus prometheus-operator`, then
//! `OUTRIGGER_RIG=1 cargo test -p outrigger-control --test operator`.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout, reason = "tests")]

mod comparison;
mod lifecycle;
mod side;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use xtask::rig::{Component, FillPlan, Options, Rig};

/// Longest wait for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// Whether to leave out a test for want of the rig; prints the line that says so, and fails where `CI` is set.
pub(crate) fn left_out(test: &str) -> bool {
    let Some(reason) = xtask::rig::missing() else { return false };
    assert!(std::env::var_os("CI").is_none(), "{test} {reason}");
    eprintln!("not run: {test} {reason}");
    true
}

/// A cluster with the custom resources installed and nobody but an unprivileged Outrigger to read them.
pub(crate) async fn cluster(plan: &FillPlan) -> Rig {
    let rig = Rig::up(&[Component::Kwok], Options::default()).await.unwrap();
    let manifests = rig.operator_manifests().unwrap();
    // Too large for the annotation that a client-side apply would write.
    rig.kubectl(&["create", "-f", manifests.to_str().unwrap()]).await.unwrap();
    let api = rig.api().unwrap();
    for path in
        ["v1/servicemonitors", "v1/podmonitors", "v1/probes", "v1alpha1/scrapeconfigs", "v1/prometheuses"]
    {
        let deadline = Instant::now() + PATIENCE;
        while api.get(&format!("/apis/monitoring.coreos.com/{path}")).await.is_err() {
            assert!(Instant::now() < deadline, "{path} is not served");
            sleep(Duration::from_millis(50)).await;
        }
    }
    grant(&rig).await;
    rig.fill(plan).await.unwrap();
    rig
}

/// What the master needs for these resources, and no more.
async fn grant(rig: &Rig) {
    let api = rig.api().unwrap();
    let monitors = ["servicemonitors", "podmonitors", "probes", "scrapeconfigs"];
    let role = json!({
        "metadata": {"name": "outrigger-operator"},
        "rules": [
            {"apiGroups": ["monitoring.coreos.com"], "resources": monitors, "verbs": ["list", "watch"]},
            {"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["get"]},
            {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
        ],
    });
    api.create("/apis/rbac.authorization.k8s.io/v1/clusterroles", &role).await.unwrap();
    let binding = json!({
        "metadata": {"name": "outrigger-operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "outrigger-operator"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "outrigger"}],
    });
    api.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).await.unwrap();
}

/// Creates an object of `monitoring.coreos.com`, or of the core group.
pub(crate) async fn create(rig: &Rig, kind: &str, namespace: &str, name: &str, body: Value) -> Value {
    let (root, api_version, plural) = match kind {
        "Secret" | "ConfigMap" => ("/api/v1".to_owned(), "v1", format!("{}s", kind.to_lowercase())),
        "ScrapeConfig" => {
            let version = "monitoring.coreos.com/v1alpha1";
            (format!("/apis/{version}"), version, "scrapeconfigs".to_owned())
        }
        _ => {
            let version = "monitoring.coreos.com/v1";
            let plural = if kind == "Prometheus" {
                "prometheuses".to_owned()
            } else {
                format!("{}s", kind.to_lowercase())
            };
            (format!("/apis/{version}"), version, plural)
        }
    };
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    for (key, value) in body.as_object().unwrap() {
        if key == "labels" {
            object["metadata"]["labels"] = value.clone();
        } else {
            object[key] = value.clone();
        }
    }
    let collection = format!("{root}/namespaces/{namespace}/{plural}");
    rig.api().unwrap().create(&collection, &object).await.unwrap()
}

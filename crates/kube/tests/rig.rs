//! Against a real kube-apiserver, as `cargo xtask rig` starts it.
//! Needs `cargo xtask rig build etcd kube-apiserver`, then `OUTRIGGER_RIG=1 cargo test`.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use outrigger_kube::{
    Cluster, ClusterConnection, ConnectOptions, ObjectError, RequestKind, ResourceKind, WatchChange,
    WatchOptions, WatchPhase, WatchPolicy, WatchSink,
};
use outrigger_wire::kubernetes::object_meta;
use parking_lot::Mutex;
use serde_json::json;
use xtask::rig::{Component, Options, Rig, User};

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(120);

/// Names of all objects, names that the running list brought, and how many lists were whole.
type Table = (BTreeSet<String>, BTreeSet<String>, u32);

/// What the watches brought, by resource.
#[derive(Default)]
struct Names(Mutex<BTreeMap<ResourceKind, Table>>);

impl WatchSink for Names {
    fn begin_generation(&self, resource: ResourceKind) {
        self.0.lock().entry(resource).or_default().1.clear();
    }

    fn apply(&self, resource: ResourceKind, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        let meta = object_meta(object).map_err(|error| error.to_string())?;
        let name = format!("{}/{}", meta.namespace, meta.name);
        let mut tables = self.0.lock();
        let (all, listed, _) = tables.entry(resource).or_default();
        match change {
            WatchChange::Upsert => {
                all.insert(name.clone());
                listed.insert(name);
            }
            WatchChange::Delete => {
                all.remove(&name);
                listed.remove(&name);
            }
        }
        Ok(())
    }

    fn commit_generation(&self, resource: ResourceKind) {
        let mut tables = self.0.lock();
        let (all, listed, lists) = tables.entry(resource).or_default();
        all.clone_from(listed);
        *lists += 1;
    }
}

impl Names {
    fn has(&self, resource: ResourceKind, name: &str) -> bool {
        self.0.lock().get(&resource).is_some_and(|(all, ..)| all.contains(name))
    }
}

/// Whether to leave out a test for want of the rig; prints the line that says so, and fails where `CI` is set.
fn left_out(test: &str) -> bool {
    let Some(reason) = xtask::rig::missing() else { return false };
    assert!(std::env::var_os("CI").is_none(), "{test} {reason}");
    eprintln!("not run: {test} {reason}");
    true
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let poll = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, poll).await.is_ok(), "waited in vain for {what}");
}

/// Watches everything as this user.
async fn watch_all(rig: &Rig, user: User) -> (Cluster, Arc<Names>, tokio::task::JoinSet<()>) {
    let connection = ClusterConnection::Kubeconfig { path: rig.kubeconfig_of(user), context: None };
    let cluster = Cluster::connect(connection, ConnectOptions::default()).await.unwrap();
    let names = Arc::new(Names::default());
    let mut watches = tokio::task::JoinSet::new();
    for resource in ResourceKind::MIRRORED {
        watches.spawn(cluster.watch(resource, names.clone()));
    }
    (cluster, names, watches)
}

async fn create_service(rig: &Rig, name: &str) {
    let service = json!({
        "metadata": {"name": name},
        "spec": {"ports": [{"port": 80}]},
    });
    rig.api().unwrap().create("/api/v1/namespaces/default/services", &service).await.unwrap();
}

fn all_in(cluster: &Cluster, phase: WatchPhase) -> bool {
    let statuses = cluster.statuses();
    statuses.len() == ResourceKind::MIRRORED.len() && statuses.iter().all(|status| status.phase == phase)
}

fn requests(cluster: &Cluster, kind: RequestKind, code: Option<u16>) -> u64 {
    let counts = cluster.requests();
    counts.iter().filter(|count| count.request == kind && count.code == code).map(|count| count.count).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_server_that_forgot_the_versions_is_listed_again_and_nothing_is_lost() {
    if left_out("the list/watch through a restart of the API server") {
        return;
    }
    let mut rig = Rig::up(&[Component::KubeApiserver], Options::default()).await.unwrap();
    create_service(&rig, "first").await;
    let (cluster, names, _watches) = watch_all(&rig, User::Outrigger).await;
    until("the first lists", || all_in(&cluster, WatchPhase::Watching)).await;
    assert!(names.has(ResourceKind::Service, "default/first"));
    assert!(names.has(ResourceKind::Namespace, "/kube-system"));
    assert_eq!(requests(&cluster, RequestKind::WatchList, Some(200)), 10);
    assert_eq!(requests(&cluster, RequestKind::List, Some(200)), 0);
    assert_eq!(cluster.connections_opened(), 2);
    create_service(&rig, "second").await;
    until("the change", || names.has(ResourceKind::Service, "default/second")).await;
    // A new server knows no version before its own start, so a resource without recent events answers 410.
    rig.kill(Component::KubeApiserver).await.unwrap();
    rig.start(Component::KubeApiserver).await.unwrap();
    rig.api().unwrap().delete("/api/v1/namespaces/default/services/first").await.unwrap();
    until("the deletion", || !names.has(ResourceKind::Service, "default/first")).await;
    until("all watches again", || {
        all_in(&cluster, WatchPhase::Watching) && cluster.statuses().iter().all(|s| s.last_error.is_none())
    })
    .await;
    let relists: u64 = cluster.statuses().iter().map(|status| status.relists).sum();
    assert!(relists > 0, "{:?}", cluster.statuses());
    assert!(names.has(ResourceKind::Service, "default/second"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_stream_lists_is_listed_from_its_cache() {
    if left_out("the list/watch without streamed lists") {
        return;
    }
    let gate = (Component::KubeApiserver, "--feature-gates=WatchList=false".to_owned());
    let options = Options { arguments: vec![gate], ..Options::default() };
    let rig = Rig::up(&[Component::KubeApiserver], options).await.unwrap();
    create_service(&rig, "first").await;
    let (cluster, names, _watches) = watch_all(&rig, User::Outrigger).await;
    until("the first lists", || all_in(&cluster, WatchPhase::Watching)).await;
    assert!(names.has(ResourceKind::Service, "default/first"));
    assert_eq!(requests(&cluster, RequestKind::WatchList, Some(200)), 0);
    assert_eq!(requests(&cluster, RequestKind::List, Some(200)), 10);
    create_service(&rig, "second").await;
    until("the change", || names.has(ResourceKind::Service, "default/second")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_from_the_hint_makes_a_forbidden_resource_work() {
    if left_out("the hint after 403") {
        return;
    }
    let rig = Rig::up(&[Component::KubeApiserver], Options::default()).await.unwrap();
    create_service(&rig, "first").await;
    let (cluster, names, _watches) = watch_all(&rig, User::Nobody).await;
    until("the refusals", || all_in(&cluster, WatchPhase::Forbidden)).await;
    let statuses = cluster.statuses();
    let services = statuses.iter().find(|status| status.resource == ResourceKind::Service).unwrap();
    let hint = services.missing_permission.clone().unwrap();
    assert_eq!((hint.role_kind, hint.user.as_deref()), ("ClusterRole", Some("nobody")));
    let manifest = rig.dir().join("rule.yaml");
    std::fs::write(&manifest, &hint.rule).unwrap();
    rig.kubectl(&["apply", "-f", &manifest.display().to_string()]).await.unwrap();
    let role = "--clusterrole=outrigger-services";
    rig.kubectl(&["create", "clusterrolebinding", "nobody", role, "--user=nobody"]).await.unwrap();
    until("the services", || names.has(ResourceKind::Service, "default/first")).await;
    let watching = cluster.statuses().iter().filter(|s| s.phase == WatchPhase::Watching).count();
    assert_eq!(watching, 1);
}

/// Keeps the messages of Secrets.
#[derive(Default)]
struct Messages(Mutex<BTreeMap<String, Vec<u8>>>, Mutex<u32>);

impl WatchSink for Messages {
    fn begin_generation(&self, _: ResourceKind) {
        self.0.lock().clear();
    }

    fn apply(&self, _: ResourceKind, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        let meta = object_meta(object).map_err(|error| error.to_string())?;
        let name = format!("{}/{}", meta.namespace, meta.name);
        match change {
            WatchChange::Upsert => self.0.lock().insert(name, object.to_vec()),
            WatchChange::Delete => self.0.lock().remove(&name),
        };
        Ok(())
    }

    fn commit_generation(&self, _: ResourceKind) {
        *self.1.lock() += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_watched_without_their_data() {
    if left_out("the list/watch of Secrets") {
        return;
    }
    let rig = Rig::up(&[Component::KubeApiserver], Options::default()).await.unwrap();
    let api = rig.api().unwrap();
    let secret = |name: &str, value: &str| {
        json!({
            "metadata": {"name": name, "labels": {"app": "web"}, "annotations": {"note": "kept"}},
            "type": "kubernetes.io/basic-auth",
            "stringData": {"username": "somebody", "password": value},
        })
    };
    let path = "/api/v1/namespaces/default/secrets";
    api.create(path, &secret("first", "hidden-first")).await.unwrap();
    let connection = ClusterConnection::Kubeconfig { path: rig.kubeconfig_of(User::Admin), context: None };
    let policy = WatchPolicy { watch_timeout: Duration::from_secs(15), ..WatchPolicy::default() };
    let options = ConnectOptions { policy, ..ConnectOptions::default() };
    let cluster = Cluster::connect(connection, options).await.unwrap();
    let messages = Arc::new(Messages::default());
    let options = WatchOptions::default();
    let _watch = tokio::spawn(cluster.watch_with(ResourceKind::Secret, options, messages.clone()));
    let has = |name: &str| messages.0.lock().contains_key(name);
    until("the list", || *messages.1.lock() == 1).await;
    assert!(has("default/first"), "{:?}", cluster.statuses());
    api.create(path, &secret("second", "hidden-second")).await.unwrap();
    until("a new one", || has("default/second")).await;
    api.delete(&format!("{path}/first")).await.unwrap();
    until("a deletion", || !has("default/first")).await;
    let second = messages.0.lock()["default/second"].clone();
    let contains = |text: &str| second.windows(text.len()).any(|window| window == text.as_bytes());
    for kept in ["kubernetes.io/basic-auth", "app", "web", "note"] {
        assert!(contains(kept), "{kept}");
    }
    assert!(!contains("hidden") && !contains("c29tZWJvZHk"), "no data");
    let status = cluster.statuses().remove(0);
    assert_eq!((status.phase, status.refused_objects, status.last_error), (WatchPhase::Watching, 0, None));
    // The server sends a bookmark before it ends the watch: one event more, and the next watch goes on from there.
    let events = status.events;
    until("a bookmark", || cluster.statuses()[0].events > events).await;
    until("the next watch", || cluster.statuses()[0].reconnects > 0).await;
    create_service(&rig, "elsewhere").await;
    api.create(path, &secret("third", "hidden-third")).await.unwrap();
    until("one more", || has("default/third")).await;
    let status = cluster.statuses().remove(0);
    assert_eq!((status.relists, status.last_error), (0, None));
}

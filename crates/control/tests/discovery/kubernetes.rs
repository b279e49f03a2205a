//! Discovery over the simulated API server, through the real list/watch.

use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger_control::Tee;
use outrigger_kube::{ObjectError, WatchChange, WatchSink};
use outrigger_sim::api_server::{ApiServer, ApiServerOptions};
use outrigger_sim::store::Store;
use outrigger_wire::kubernetes::object::{Container, ContainerPort, ObjectMeta, OwnerObject, Pod};
use outrigger_wire::kubernetes::{ResourceKind, object_meta};
use parking_lot::Mutex;

use crate::engine::{Rig, wait_until};

fn pod(name: &str, phase: &str) -> Pod {
    let mut meta = ObjectMeta::named("default", name);
    meta.labels.insert("app".to_owned(), name.split('-').next().unwrap_or_default().to_owned());
    let port = ContainerPort { name: "web".to_owned(), number: 80, protocol: "TCP".to_owned() };
    Pod {
        meta,
        phase: phase.to_owned(),
        pod_ip: format!("10.0.0.{}", name.rsplit('-').next().unwrap_or_default()),
        containers: vec![Container { name: "main".to_owned(), ports: vec![port], ..Container::default() }],
        ..Pod::default()
    }
}

/// A simulated API server with these pods, and the `kubernetes_sd_configs` keys that lead to it.
async fn cluster(pods: &[(&str, &str)]) -> (ApiServer, Arc<Store>, tempfile::TempDir) {
    let store = Arc::new(Store::new());
    for (name, phase) in pods {
        store.put(&mut pod(name, phase));
    }
    let server =
        ApiServer::start(Arc::clone(&store), ApiServerOptions::default()).await.expect("a free port");
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("kubeconfig"), server.kubeconfig()).expect("written");
    (server, store, directory)
}

/// A job with a `kubernetes_sd_configs` entry; `more` are further keys of it.
fn job(name: &str, role: &str, directory: &tempfile::TempDir, more: &str) -> String {
    let kubeconfig = directory.path().join("kubeconfig");
    format!(
        "- job_name: {name}\n  kubernetes_sd_configs: [{{role: {role}, kubeconfig_file: '{}'{more}}}]\n",
        kubeconfig.display()
    )
}

/// Lists and watches that the server was asked for, `verb path`, without repetitions.
fn asked(server: &ApiServer) -> Vec<String> {
    let requests = server.requests();
    let wanted = requests.iter().filter(|request| request.verb != "version");
    wanted.map(|request| format!("{} {}", request.verb, request.path)).collect()
}

#[tokio::test]
async fn jobs_with_different_selectors_share_one_watch_and_follow_every_change() {
    let (server, store, directory) =
        cluster(&[("web-1", "Running"), ("db-2", "Running"), ("web-3", "Failed")]).await;
    let rig = Rig::new();
    let config = [
        "scrape_configs:\n",
        &job("all", "pod", &directory, ""),
        &job("db", "pod", &directory, ", selectors: [{role: pod, label: app=db}]"),
        &job(
            "running",
            "pod",
            &directory,
            ", selectors: [{role: pod, field: status.phase=Running}], namespaces: {names: [default]}",
        ),
        &job("other", "pod", &directory, ", namespaces: {names: [other]}"),
    ]
    .concat();
    rig.apply(&config);
    let both = ["all http://10.0.0.1:80/metrics", "all http://10.0.0.2:80/metrics"];
    let db = "db http://10.0.0.2:80/metrics";
    rig.wait_for(&[
        both[0],
        both[1],
        "all http://10.0.0.3:80/metrics",
        db,
        "running http://10.0.0.1:80/metrics",
        "running http://10.0.0.2:80/metrics",
    ])
    .await;
    let requests = asked(&server);
    assert_eq!(requests.len(), 1, "one streamed list and watch for four jobs: {requests:?}");

    // A pod appears, one changes, one goes.
    store.put(&mut pod("db-4", "Pending"));
    store.put(&mut pod("web-1", "Failed"));
    assert!(store.delete(&mut pod("web-3", "Failed")));
    let after = [
        both[0],
        both[1],
        "all http://10.0.0.4:80/metrics",
        db,
        "db http://10.0.0.4:80/metrics",
        "running http://10.0.0.2:80/metrics",
    ];
    rig.wait_for(&after).await;

    // An equal configuration, and one in which a job changed, list nothing anew.
    rig.apply(&config);
    rig.apply(&config.replace("app=db", "app=web"));
    rig.wait_for(&[
        both[0],
        both[1],
        "all http://10.0.0.4:80/metrics",
        "db http://10.0.0.1:80/metrics",
        "running http://10.0.0.2:80/metrics",
    ])
    .await;
    assert_eq!(asked(&server).len(), 1);

    let clusters = rig.discovery.clusters();
    assert_eq!((clusters.len(), clusters[0].name.as_str()), (1, "kubeconfig"));
    assert_eq!(clusters[0].watches.len(), 1);
    let found = rig.discovery.active(Some("running"), |_| true, 0, 10).items.remove(0);
    assert_eq!(found.discovered.get("__meta_kubernetes_pod_name"), Some("db-2"));
    let metrics = rig.registry.render();
    assert!(
        metrics.contains("outrigger_mirror_rows{cluster=\"kubeconfig\",resource=\"pods\"} 3"),
        "{metrics}"
    );
}

#[tokio::test]
async fn an_outage_of_the_api_server_takes_no_target_away() {
    let (server, store, directory) = cluster(&[("web-1", "Running")]).await;
    let rig = Rig::new();
    rig.apply(&format!("scrape_configs:\n{}", job("all", "pod", &directory, "")));
    let one = "all http://10.0.0.1:80/metrics";
    rig.wait_for(&[one]).await;
    let deltas = rig.engine.deltas();
    server.faults().change(|faults| faults.internal_error = true);
    server.cut_connections();
    let error = || rig.discovery.clusters()[0].watches[0].last_error.clone();
    wait_until(|| error().is_some(), || "the error".to_owned()).await;
    // A reload during the outage keeps them too, also for a job that changed.
    rig.apply(&format!(
        "scrape_configs:\n{}",
        job("all", "pod", &directory, ", attach_metadata: {namespace: true}")
    ));
    assert_eq!((rig.engine.urls(), rig.engine.deltas()), (vec![one.to_owned()], deltas));
    let waiting = || rig.discovery.jobs()[0].providers[0].waiting_for.len();
    wait_until(|| waiting() == 1, || "the namespaces to be waited for".to_owned()).await;
    store.put(&mut pod("web-2", "Running"));
    server.faults().clear();
    rig.wait_for(&[one, "all http://10.0.0.2:80/metrics"]).await;
}

#[tokio::test]
async fn a_resource_that_is_forbidden_is_named_with_its_rule_and_the_other_roles_go_on() {
    let (server, _store, directory) = cluster(&[("web-1", "Running")]).await;
    server.faults().change(|faults| faults.forbidden.extend([ResourceKind::Service]));
    let rig = Rig::new();
    rig.apply(&format!(
        "scrape_configs:\n{}{}",
        job("pods", "pod", &directory, ""),
        job("endpoints", "endpoints", &directory, "")
    ));
    rig.wait_for(&["pods http://10.0.0.1:80/metrics"]).await;
    let hint = || {
        let clusters = rig.discovery.clusters();
        clusters[0].watches.iter().find_map(|watch| watch.missing_permission.clone())
    };
    wait_until(|| hint().is_some(), || "the missing permission".to_owned()).await;
    assert!(hint().is_some_and(|hint| hint.rule.contains("resources: [\"services\"]")));
    let provider = || rig.discovery.jobs()[0].providers[0].clone();
    wait_until(|| provider().error.is_some(), || "the job to say why it waits".to_owned()).await;
    assert_eq!(provider().waiting_for, [ResourceKind::Service]);
    assert!(rig.discovery.is_settled());
    server.faults().clear();
    let ready = || rig.discovery.jobs().iter().all(|job| job.providers[0].ready);
    wait_until(ready, || "services to be listed".to_owned()).await;
}

#[tokio::test]
async fn a_kubeconfig_that_is_missing_is_named_and_used_once_it_is_there() {
    let (server, _store, directory) = cluster(&[("web-1", "Running")]).await;
    let path = directory.path().join("kubeconfig");
    std::fs::remove_file(&path).expect("removed");
    let rig = Rig::new();
    rig.apply(&format!("scrape_configs:\n{}", job("all", "pod", &directory, "")));
    let error = || rig.discovery.clusters()[0].error.clone().unwrap_or_default();
    wait_until(|| error().contains("kubeconfig"), || "the error".to_owned()).await;
    assert!(error().contains(path.to_str().expect("UTF-8")), "{}", error());
    std::fs::write(&path, server.kubeconfig()).expect("written");
    rig.wait_for(&["all http://10.0.0.1:80/metrics"]).await;
    assert_eq!(error(), "");
}

/// Keeps the objects that it is given: their bytes by resource and name, and how many lists were whole.
#[derive(Default)]
struct Reader {
    objects: Mutex<BTreeMap<(ResourceKind, String), usize>>,
    lists: Mutex<BTreeMap<ResourceKind, usize>>,
}

impl WatchSink for Reader {
    fn begin_generation(&self, _: ResourceKind) {}

    fn apply(&self, resource: ResourceKind, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        let name = object_meta(object).map_err(|error| error.to_string())?.name.to_owned();
        let mut objects = self.objects.lock();
        match change {
            WatchChange::Upsert => objects.insert((resource, name), object.len()),
            WatchChange::Delete => objects.remove(&(resource, name)),
        };
        Ok(())
    }

    fn commit_generation(&self, resource: ResourceKind) {
        *self.lists.lock().entry(resource).or_default() += 1;
    }
}

#[tokio::test]
async fn a_second_reader_shares_the_watches_of_discovery_and_has_its_own_for_the_rest() {
    let (server, store, directory) = cluster(&[("web-1", "Running")]).await;
    for resource in [ResourceKind::ReplicaSet, ResourceKind::ConfigMap] {
        store.put(&mut OwnerObject { resource, meta: ObjectMeta::named("default", "web") });
    }
    let rig = Rig::new();
    let reader = Arc::new(Reader::default());
    let kubeconfig = directory.path().join("kubeconfig");
    let config = format!(
        "outrigger: {{kubernetes: {{kubeconfig: '{}'}}}}\nscrape_configs:\n- job_name: pods\n  kubernetes_sd_configs: \
         [{{role: pod, attach_metadata: {{deployment: true}}}}]\n",
        kubeconfig.display()
    );
    let tee = |objects: &[ResourceKind]| Tee {
        objects: objects.iter().copied().collect(),
        metadata: [ResourceKind::ConfigMap].into(),
        sink: Arc::<Reader>::clone(&reader),
    };
    rig.discovery.set_tee("", Some(tee(&[ResourceKind::Pod, ResourceKind::ReplicaSet, ResourceKind::Lease])));
    rig.apply(&config);
    rig.wait_for(&["pods http://10.0.0.1:80/metrics"]).await;
    let lists = |resource| reader.lists.lock().get(&resource).copied().unwrap_or(0);
    let all = [ResourceKind::Pod, ResourceKind::ReplicaSet, ResourceKind::Lease, ResourceKind::ConfigMap];
    wait_until(|| all.iter().all(|resource| lists(*resource) == 1), || format!("{:?}", reader.lists.lock()))
        .await;
    assert_eq!(reader.objects.lock().len(), 3);

    // What changes reaches both.
    store.put(&mut pod("web-2", "Running"));
    rig.wait_for(&["pods http://10.0.0.1:80/metrics", "pods http://10.0.0.2:80/metrics"]).await;
    let has = |name: &str| reader.objects.lock().contains_key(&(ResourceKind::Pod, name.to_owned()));
    wait_until(|| has("web-2"), || format!("{:?}", reader.objects.lock())).await;

    // One request for each resource, of whole objects where the reader needs them.
    let requests = server.requests();
    let of = |resource: ResourceKind| -> Vec<_> {
        requests.iter().filter(|request| request.path == resource.path()).collect()
    };
    for resource in all {
        assert_eq!(of(resource).len(), 1, "{resource}: {:?}", of(resource));
        let metadata = of(resource)[0].accept.contains("PartialObjectMetadata");
        assert_eq!(metadata, resource == ResourceKind::ConfigMap, "{resource}");
    }

    // Without the reader only what discovery needs is watched, ReplicaSets as metadata again.
    rig.discovery.set_tee("", None);
    rig.apply(&config);
    let watched = || {
        let clusters = rig.discovery.clusters();
        let mut watched: Vec<String> =
            clusters[0].watches.iter().map(|watch| watch.resource.to_string()).collect();
        watched.sort();
        watched
    };
    wait_until(|| watched() == ["pods", "replicasets.apps"], || format!("{:?}", watched())).await;
    let metadata = || {
        let requests = server.requests();
        let last = requests.iter().rfind(|request| request.path == ResourceKind::ReplicaSet.path());
        last.is_some_and(|request| request.accept.contains("PartialObjectMetadata"))
    };
    wait_until(metadata, || "ReplicaSets as metadata".to_owned()).await;
    store.put(&mut pod("web-3", "Running"));
    wait_until(|| rig.engine.urls().len() == 3, || format!("{:?}", rig.engine.urls())).await;
    assert!(!has("web-3"));
}

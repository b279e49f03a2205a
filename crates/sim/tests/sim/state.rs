//! What state metrics watch: every resource, and each way to ask for it.

use outrigger_kube::{WatchOptions, WatchPhase};
use outrigger_sim::state::StatePopulation;

use outrigger_wire::protobuf::{Field, Reader};

use super::*;

/// 300 pods of ten Deployments in two namespaces on ten nodes, and everything else in proportion.
async fn state_scene() -> Scene {
    let scene = scene(36, &[]).await;
    let store = Arc::new(Store::new());
    StatePopulation::create(300, store.clone(), 1_790_000_000);
    scene.on(store).await
}

impl Scene {
    /// The same client on another server.
    async fn on(self, store: Arc<Store>) -> Scene {
        let options = ApiServerOptions { minor_version: 36, ..ApiServerOptions::default() };
        let server = ApiServer::start(store, options).await.expect("loopback is there");
        let (cluster, directory) = connect(&server, patient()).await;
        Scene { server, cluster, _kubeconfig: directory, ..self }
    }

    fn watch_with(&self, resource: ResourceKind, options: WatchOptions) {
        let watch = self.cluster.watch_with(resource, options, self.recorder.clone());
        tokio::spawn(watch);
    }

    fn generations(&self, resource: ResourceKind) -> u32 {
        self.recorder.state.lock().generations.get(&resource).copied().unwrap_or(0)
    }

    fn queries(&self, resource: ResourceKind) -> Vec<String> {
        let requests = self.server.requests();
        requests
            .iter()
            .filter(|one| one.path.ends_with(resource.plural()))
            .map(|one| one.query.clone())
            .collect()
    }
}

/// Few waits after refusals.
fn patient() -> WatchPolicy {
    WatchPolicy {
        backoff_floor: Duration::from_millis(5),
        backoff_cap: Duration::from_millis(20),
        cut_backoff_cap: Duration::from_millis(20),
        refused_wait: Duration::from_millis(50),
        ..WatchPolicy::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_resource_of_state_metrics_arrives_by_one_list_and_watch() {
    let scene = state_scene().await;
    let as_metadata = [ResourceKind::ConfigMap, ResourceKind::Role, ResourceKind::ClusterRole];
    for resource in ResourceKind::ALL {
        let metadata_only = as_metadata.contains(&resource);
        scene.watch_with(resource, WatchOptions { metadata_only, ..WatchOptions::default() });
    }
    for resource in ResourceKind::ALL {
        scene.until_equal(resource).await;
        assert!(scene.recorder.count(resource) > 0, "{resource}");
    }
    let requests = scene.server.requests();
    for resource in ResourceKind::ALL {
        let of_it: Vec<_> = requests.iter().filter(|request| request.path == resource.path()).collect();
        // A table is not streamed: a list and a watch.
        let expected = if resource == ResourceKind::Secret { 2 } else { 1 };
        assert_eq!(of_it.len(), expected, "{resource}: {of_it:?}");
        let metadata = of_it[0].accept.contains("PartialObjectMetadata");
        assert_eq!(metadata, as_metadata.contains(&resource), "{resource}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_and_field_selectors_leave_out_what_they_do_not_name() {
    const POD: ResourceKind = ResourceKind::Pod;
    for (options, expected, requests) in [
        (WatchOptions { namespaces: vec!["team-0001".to_owned()], ..WatchOptions::default() }, 150, 1),
        (
            WatchOptions {
                namespaces: ["team-0000", "team-0001", "nowhere"].map(str::to_owned).to_vec(),
                ..WatchOptions::default()
            },
            300,
            3,
        ),
        (
            WatchOptions { field_selector: "spec.nodeName=node-00003".to_owned(), ..WatchOptions::default() },
            30,
            1,
        ),
        (
            WatchOptions {
                field_selector: "metadata.namespace!=team-0000,metadata.namespace!=other".to_owned(),
                ..WatchOptions::default()
            },
            150,
            1,
        ),
    ] {
        let scene = state_scene().await;
        scene.watch_with(POD, options.clone());
        scene.until("a list", |scene| scene.generations(POD) == 1).await;
        assert_eq!(scene.recorder.count(POD), expected, "{options:?}");
        assert_eq!(scene.queries(POD).len(), requests, "{:?}", scene.queries(POD));
        // A relist of all of them changes nothing.
        scene.server.store().compact();
        scene.server.cut_connections();
        scene
            .until("watching again", |scene| scene.cluster.statuses().iter().all(|one| one.reconnects > 0))
            .await;
        assert_eq!(scene.recorder.count(POD), expected, "{options:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_come_from_the_cache_only_and_no_longer_than_allowed_where_that_is_asked() {
    const POD: ResourceKind = ResourceKind::Pod;
    for (cache_only, object_limit, expected) in
        [(true, None, 300), (true, Some(40), 40), (false, Some(40), 40), (false, Some(1000), 300)]
    {
        let scene = state_scene().await;
        scene.watch_with(POD, WatchOptions { cache_only, object_limit, ..WatchOptions::default() });
        scene.until("a list", |scene| scene.generations(POD) == 1).await;
        assert_eq!(scene.recorder.count(POD), expected, "cache only {cache_only}, at most {object_limit:?}");
        scene
            .until("a watch", |scene| scene.queries(POD).iter().any(|query| query.starts_with("watch=")))
            .await;
        let queries = scene.queries(POD);
        assert!(queries.iter().all(|query| !query.contains("sendInitialEvents")), "{queries:?}");
        assert!(queries[0].contains("resourceVersion=0"), "{queries:?}");
        // A watch from a version that is gone lists again, in the same way.
        scene.server.store().compact();
        scene.server.faults().change(|faults| faults.internal_error = true);
        scene.server.cut_connections();
        StatePopulation::create(330, scene.server.store().clone(), 1_790_000_000);
        scene.server.store().compact();
        scene.server.faults().clear();
        scene.until("a second list", |scene| scene.generations(POD) == 2).await;
        let all = scene.server.store().len(POD);
        assert_eq!(scene.recorder.count(POD), object_limit.map_or(all, |limit| all.min(limit as usize)));
        let lists: Vec<String> =
            scene.queries(POD).into_iter().filter(|query| !query.starts_with("watch=")).collect();
        if cache_only {
            assert!(
                lists.iter().all(|query| query.starts_with("limit=40&") || query == "resourceVersion=0"),
                "{lists:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_that_the_server_does_not_have_is_told_to_its_reader_and_found_later() {
    const POLICY: ResourceKind = ResourceKind::MutatingAdmissionPolicy;
    let scene = state_scene().await;
    scene.server.faults().change(|faults| {
        faults.not_served.insert(POLICY);
    });
    scene.watch_with(POLICY, WatchOptions::default());
    scene.until("told", |scene| scene.recorder.state.lock().unavailable.contains(&POLICY)).await;
    let status = scene.cluster.statuses().remove(0);
    assert_eq!((status.phase, status.synced), (WatchPhase::NotServed, false));
    scene.server.faults().clear();
    scene.until_equal(POLICY).await;
    assert_eq!(scene.generations(POLICY), 1);
}

/// Keeps the messages of Secrets.
#[derive(Default)]
struct Messages(Mutex<BTreeMap<String, Vec<u8>>>, Mutex<u32>);

impl WatchSink for Messages {
    fn begin_generation(&self, _: ResourceKind) {}

    fn apply(&self, _: ResourceKind, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        let name = object_meta(object).map_err(|error| error.to_string())?.name.to_owned();
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
async fn secrets_come_with_type_and_without_data_and_the_server_never_sends_any() {
    for namespaces in [Vec::new(), vec!["team-0000".to_owned(), "team-0001".to_owned()]] {
        let scene = state_scene().await;
        let messages = Arc::new(Messages::default());
        let options = WatchOptions { namespaces, ..WatchOptions::default() };
        tokio::spawn(scene.cluster.watch_with(ResourceKind::Secret, options, messages.clone()));
        scene.until("a list", |_| *messages.1.lock() == 1).await;
        let (_, secrets) = scene.server.store().snapshot(ResourceKind::Secret);
        assert_eq!((messages.0.lock().len(), secrets.len()), (20, 20));
        for secret in secrets {
            let (whole, shown) = (secret.raw(), messages.0.lock()[&secret.key.name].clone());
            // What is not managed fields and data is the same, byte for byte.
            let kept: Vec<(u32, Vec<u8>)> =
                fields(&whole).into_iter().filter(|(number, _)| *number != 2).collect();
            let meta = |message: &[u8]| -> Vec<(u32, Vec<u8>)> {
                let unread = [2, 4, 7, 17];
                fields(message).into_iter().filter(|(number, _)| !unread.contains(number)).collect()
            };
            let shown = fields(&shown);
            assert_eq!(shown.len(), 2);
            assert_eq!(shown[1], kept[1], "type");
            assert_eq!(meta(&shown[0].1), meta(&kept[0].1), "metadata of {}", secret.key.name);
        }
        let requests = scene.server.requests();
        let of_secrets: Vec<_> = requests.iter().filter(|one| one.path.ends_with("/secrets")).collect();
        assert!(of_secrets.iter().all(|one| one.accept.contains("as=Table")), "{of_secrets:?}");
        // Changes, and a relist after 410, come the same way.
        let (name, events) = ("checkout-api-0-tls", scene.cluster.statuses()[0].events);
        assert!(messages.0.lock().contains_key(name));
        StatePopulation::create(300, scene.server.store().clone(), 1_790_000_000);
        scene.until("changes", |scene| scene.cluster.statuses()[0].events > events).await;
        let version = |secret: &[u8]| object_meta(secret).expect("readable").resource_version.to_owned();
        let newest = || {
            let (_, secrets) = scene.server.store().snapshot(ResourceKind::Secret);
            let newest = secrets.iter().find(|secret| secret.key.name == name).expect("it is there");
            newest.resource_version.to_string()
        };
        scene.until("the newest", |_| version(&messages.0.lock()[name]) == newest()).await;
        scene.server.faults().change(|faults| faults.internal_error = true);
        scene.server.cut_connections();
        StatePopulation::create(300, scene.server.store().clone(), 1_790_000_000);
        scene.server.store().compact();
        scene.server.faults().clear();
        scene.until("the newest again", |_| version(&messages.0.lock()[name]) == newest()).await;
    }
}

/// Fields of a message that are strings or messages.
fn fields(message: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut reader = Reader::new(message);
    let mut all = Vec::new();
    while let Ok(Some((number, field))) = reader.next_field() {
        if let Field::Bytes(content) = field {
            all.push((number, content.to_vec()));
        }
    }
    all
}

//! What state metrics watch: every resource, and each way to ask for it.

use outrigger_kube::{WatchOptions, WatchPhase};
use outrigger_sim::state::StatePopulation;

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
async fn every_resource_of_state_metrics_arrives_by_one_request() {
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
        assert_eq!(of_it.len(), 1, "{resource}: {of_it:?}");
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

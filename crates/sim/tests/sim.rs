//! The simulated API server, driven by the product's own list/watch client.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use outrigger_kube::{
    Cluster, ClusterConnection, ConnectOptions, ObjectError, RequestBudget, WatchChange, WatchPhase,
    WatchPolicy, WatchSink,
};
use outrigger_model::clock::ManualClock;
use outrigger_model::sample::Timestamp;
use outrigger_sim::api_server::{ApiServer, ApiServerOptions};
use outrigger_sim::endpoints::{AddressBook, Endpoints};
use outrigger_sim::population::{Population, PopulationOptions};
use outrigger_sim::store::Store;
use outrigger_wire::kubernetes::{ResourceKind, object_meta};
use parking_lot::Mutex;

#[path = "sim/state.rs"]
mod state;

const PATIENCE: Duration = Duration::from_secs(60);

/// Names and versions of what a watch brought.
#[derive(Default)]
struct Recorder {
    state: Mutex<Recorded>,
}

#[derive(Default)]
struct Recorded {
    objects: BTreeMap<(ResourceKind, String, String), String>,
    incoming: BTreeMap<ResourceKind, BTreeMap<(String, String), String>>,
    generations: BTreeMap<ResourceKind, u32>,
    unavailable: BTreeSet<ResourceKind>,
}

impl WatchSink for Recorder {
    fn begin_generation(&self, resource: ResourceKind) {
        self.state.lock().incoming.insert(resource, BTreeMap::new());
    }

    fn apply(&self, resource: ResourceKind, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        let meta = object_meta(object).map_err(|error| error.to_string())?;
        let key = (meta.namespace.to_owned(), meta.name.to_owned());
        let mut state = self.state.lock();
        if change == WatchChange::Upsert {
            if let Some(incoming) = state.incoming.get_mut(&resource) {
                incoming.insert(key.clone(), meta.resource_version.to_owned());
            }
            state.objects.insert((resource, key.0, key.1), meta.resource_version.to_owned());
        } else {
            state.objects.remove(&(resource, key.0, key.1));
        }
        Ok(())
    }

    fn commit_generation(&self, resource: ResourceKind) {
        let mut state = self.state.lock();
        let incoming = state.incoming.remove(&resource).expect("a generation was begun");
        state.objects.retain(|(kind, namespace, name), _| {
            *kind != resource || incoming.contains_key(&(namespace.clone(), name.clone()))
        });
        *state.generations.entry(resource).or_default() += 1;
    }

    fn unavailable(&self, resource: ResourceKind, _: WatchPhase) {
        self.state.lock().unavailable.insert(resource);
    }
}

impl Recorder {
    fn count(&self, resource: ResourceKind) -> usize {
        self.state.lock().objects.keys().filter(|(kind, ..)| *kind == resource).count()
    }

    /// Whether the recorder holds exactly what the store holds, versions included.
    fn equals(&self, store: &Store, resource: ResourceKind) -> bool {
        let (_, objects) = store.snapshot(resource);
        let state = self.state.lock();
        objects.len() == state.objects.keys().filter(|(kind, ..)| *kind == resource).count()
            && objects.iter().all(|object| {
                let key = (resource, object.key.namespace.clone(), object.key.name.clone());
                state.objects.get(&key) == Some(&object.resource_version.to_string())
            })
    }
}

struct Scene {
    server: ApiServer,
    population: Population,
    recorder: Arc<Recorder>,
    cluster: Cluster,
    _kubeconfig: tempfile::TempDir,
}

async fn scene(minor_version: u32, watched: &[ResourceKind]) -> Scene {
    let store = Arc::new(Store::new());
    let options = PopulationOptions { nodes: 10, pods: 300, port: 9100 };
    let population = Population::create(options, store.clone(), Arc::default(), 1_700_000_000);
    let server_options = ApiServerOptions { minor_version, ..ApiServerOptions::default() };
    let server = ApiServer::start(store, server_options).await.expect("loopback is there");
    let (cluster, directory) = connect(&server, WatchPolicy::default()).await;
    let recorder = Arc::new(Recorder::default());
    for &resource in watched {
        let (cluster, recorder) = (cluster.clone(), recorder.clone());
        tokio::spawn(async move { cluster.watch(resource, recorder).await });
    }
    Scene { server, population, recorder, cluster, _kubeconfig: directory }
}

async fn connect(server: &ApiServer, policy: WatchPolicy) -> (Cluster, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("kubeconfig");
    std::fs::write(&path, server.kubeconfig()).expect("a file in it");
    let options = ConnectOptions {
        budget: RequestBudget { per_second: 200.0, burst: 200 },
        policy,
        ..ConnectOptions::default()
    };
    let connection = ClusterConnection::Kubeconfig { path, context: None };
    let cluster = Cluster::connect(connection, options).await.expect("the kubeconfig is whole");
    (cluster, directory)
}

impl Scene {
    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let wait = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("{what} did not happen; watches: {:#?}", self.cluster.statuses());
        }
    }

    async fn until_equal(&self, resource: ResourceKind) {
        let store = self.server.store().clone();
        self.until(&format!("{resource} equal"), |scene| scene.recorder.equals(&store, resource)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_resources_arrive_by_one_streamed_list_each_and_follow_changes() {
    let mut scene = scene(35, &ResourceKind::ALL).await;
    for resource in ResourceKind::ALL {
        scene.until_equal(resource).await;
    }
    assert_eq!(scene.recorder.count(ResourceKind::Pod), 300);
    for slot in 0..50 {
        scene.population.replace_pod(slot);
    }
    for slot in 0..50 {
        scene.population.make_ready(slot);
    }
    for resource in [ResourceKind::Pod, ResourceKind::EndpointSlice, ResourceKind::Endpoints] {
        scene.until_equal(resource).await;
    }
    let requests = scene.server.requests();
    for resource in ResourceKind::ALL {
        let of_it: Vec<_> = requests.iter().filter(|r| r.path == resource.path()).collect();
        // Secrets come as a table without their data, which cannot be streamed.
        if resource == ResourceKind::Secret {
            let verbs: Vec<_> = of_it.iter().map(|request| request.verb).collect();
            assert_eq!(verbs, ["list", "watch"], "{of_it:?}");
            continue;
        }
        assert_eq!(of_it.len(), 1, "{resource}: {of_it:?}");
        assert_eq!(of_it[0].verb, "watch");
        assert!(of_it[0].query.contains("sendInitialEvents=true"), "{:?}", of_it[0]);
    }
    assert!(scene.server.connections() <= 3, "{} connections", scene.server.connections());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_cut_connections_cause_no_relist() {
    let mut scene = scene(35, &[ResourceKind::Pod, ResourceKind::Node]).await;
    scene.until_equal(ResourceKind::Pod).await;
    scene.until_equal(ResourceKind::Node).await;
    for round in 0..20 {
        scene.server.cut_connections();
        scene.population.replace_pod(round);
        scene.population.make_ready(round);
        scene.until_equal(ResourceKind::Pod).await;
    }
    let state = scene.recorder.state.lock();
    assert_eq!(state.generations.get(&ResourceKind::Pod), Some(&1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_server_is_listed_and_one_that_refuses_streamed_lists_too() {
    for (minor, refuse) in [(28, false), (35, true)] {
        let scene = scene(minor, &[]).await;
        scene.server.faults().change(|faults| faults.refuse_watch_list = refuse);
        let (cluster, recorder) = (scene.cluster.clone(), scene.recorder.clone());
        tokio::spawn(async move { cluster.watch(ResourceKind::Pod, recorder).await });
        scene.until_equal(ResourceKind::Pod).await;
        let lists = scene.server.requests().iter().filter(|r| r.verb == "list").count();
        assert_eq!(lists, 1, "minor {minor}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_while_away_leads_to_one_relist_without_losing_sight() {
    let mut scene = scene(35, &[ResourceKind::Pod]).await;
    scene.until_equal(ResourceKind::Pod).await;
    scene.server.faults().change(|faults| faults.internal_error = true);
    scene.server.cut_connections();
    scene.population.replace_pod(3);
    scene.server.store().compact();
    assert_eq!(scene.recorder.count(ResourceKind::Pod), 300);
    scene.server.faults().clear();
    scene.until_equal(ResourceKind::Pod).await;
    scene.until("relist", |scene| scene.cluster.statuses()[0].relists == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forbidden_resource_leaves_the_others_and_says_what_is_missing() {
    let scene = scene(35, &[]).await;
    scene.server.faults().change(|faults| {
        faults.forbidden.insert(ResourceKind::Pod);
    });
    for resource in [ResourceKind::Pod, ResourceKind::Node] {
        let (cluster, recorder) = (scene.cluster.clone(), scene.recorder.clone());
        tokio::spawn(async move { cluster.watch(resource, recorder).await });
    }
    scene.until_equal(ResourceKind::Node).await;
    scene
        .until("hint", |scene| {
            scene.cluster.statuses().iter().any(|status| {
                status.missing_permission.as_ref().is_some_and(|hint| hint.rule.contains("pods"))
            })
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_half_frames_are_survived() {
    let mut scene = scene(35, &[ResourceKind::Pod]).await;
    scene.until_equal(ResourceKind::Pod).await;
    for garbage in [Some(b"\x00\x00\x00\x05hello".to_vec()), None] {
        scene.server.faults().change(|faults| match garbage {
            Some(garbage) => faults.garbage = Some(garbage),
            None => faults.cut_after_bytes = Some(100),
        });
        scene.server.cut_connections();
        scene.until("an error", |scene| scene.cluster.statuses()[0].last_error.is_some()).await;
        scene.population.replace_pod(7);
        scene.server.faults().clear();
        scene.until_equal(ResourceKind::Pod).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_answer_as_who_has_the_address_and_hang_up_otherwise() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let addresses = Arc::new(AddressBook::default());
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let endpoints = Endpoints::start(addresses.clone(), clock).expect("a port");
    let options = PopulationOptions { nodes: 2, pods: 4, port: endpoints.port() };
    let _population = Population::create(options, Arc::default(), addresses, 1_700_000_000);
    for (address, found) in [
        ("127.32.0.1", Some("node_cpu_seconds_total")),
        ("127.64.0.1", Some("http_requests_total")),
        ("127.9.9.9", None),
    ] {
        let mut stream = tokio::net::TcpStream::connect((address, endpoints.port())).await.expect("connect");
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        match found {
            Some(metric) => assert!(answer.contains(metric), "{address}: {answer}"),
            None => assert_eq!(answer, ""),
        }
    }
    assert_eq!(endpoints.scrapes(), 2);
}

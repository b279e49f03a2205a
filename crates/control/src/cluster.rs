//! One cluster as discovery sees it: its mirror, its watches, and the jobs that find targets in it.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use outrigger_kube::{
    Cluster, ClusterConnection, ConnectOptions, ObjectError, WatchChange, WatchOptions, WatchPhase, WatchSink,
};
use outrigger_mirror::{Change, Mirror};
use outrigger_model::fault::chain;
use outrigger_rt::metrics::Registry;
use outrigger_wire::kubernetes::ResourceKind;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::job::ProviderIndex;
use crate::kubernetes::RoleView;
use crate::live_job::{LiveJob, Provider};
use crate::pass::{Pass, Subscription};
use crate::reporter::{ErrorReason, Reporter};

/// Changes that come within this time are worked on together.
const BATCH: Duration = Duration::from_millis(50);
/// Longest pause after a pass, however long that took: a created pod is a target within a second.
const MAX_PAUSE: Duration = Duration::from_millis(400);
/// Pauses between attempts to load credentials.
const CONNECT_RETRY: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

const N_RESOURCES: usize = ResourceKind::MIRRORED.len();

/// A cluster's mirror and the jobs over it.
pub(crate) struct ClusterRuntime {
    name: String,
    pub(crate) mirror: RwLock<Mirror>,
    /// By resource: whether the running watch has listed it completely.
    synced: [AtomicBool; N_RESOURCES],
    wake: Notify,
    /// When the first change came that no pass has taken up yet.
    waiting_since: Mutex<Option<Instant>>,
    /// Jobs that are to be served from the next pass on.
    incoming: Mutex<Vec<(Weak<LiveJob>, ProviderIndex)>>,
    link: Mutex<Link>,
    changes: AtomicU64,
    reporter: Arc<Reporter>,
    /// Somebody besides the jobs reads the namespaces.
    namespaces_wanted: AtomicBool,
    tee: Mutex<Option<Arc<Tee>>>,
}

/// The connection, as far as there is one.
#[derive(Default)]
struct Link {
    cluster: Option<Cluster>,
    error: Option<String>,
}

impl ClusterRuntime {
    pub(crate) fn new(name: String, reporter: Arc<Reporter>) -> Self {
        Self {
            name,
            mirror: RwLock::new(Mirror::new()),
            synced: Default::default(),
            wake: Notify::new(),
            waiting_since: Mutex::new(None),
            incoming: Mutex::default(),
            link: Mutex::default(),
            changes: AtomicU64::new(0),
            reporter,
            namespaces_wanted: AtomicBool::new(false),
            tee: Mutex::default(),
        }
    }

    /// Name in metrics and on the page.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The connection, once credentials are loaded.
    pub(crate) fn cluster(&self) -> Option<Cluster> {
        self.link.lock().cluster.clone()
    }

    /// Why credentials could not be loaded.
    pub(crate) fn error(&self) -> Option<String> {
        self.link.lock().error.clone()
    }

    /// Objects that changed since the start.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    pub(crate) fn count_changes(&self, changes: usize) {
        self.changes.fetch_add(changes as u64, Ordering::Relaxed);
    }

    /// Whether namespaces are watched even if no job needs them.
    pub(crate) fn want_namespaces(&self, wanted: bool) {
        if self.namespaces_wanted.swap(wanted, Ordering::AcqRel) != wanted {
            self.wake.notify_one();
        }
    }

    /// Lets a second reader have objects, or nobody.
    pub(crate) fn set_tee(&self, tee: Option<Arc<Tee>>) {
        let mut current = self.tee.lock();
        let same = match (&*current, &tee) {
            (None, None) => true,
            (Some(current), Some(tee)) => Arc::ptr_eq(current, tee),
            _ => false,
        };
        if !same {
            *current = tee;
            self.wake.notify_one();
        }
    }

    /// Whether the resource is completely in the mirror.
    pub(crate) fn is_synced(&self, resource: ResourceKind) -> bool {
        self.synced[resource.index()].load(Ordering::Acquire)
    }

    /// When the first change came that no pass has taken up yet; a pass takes up all that came until now.
    pub(crate) fn take_waiting_since(&self) -> Option<Instant> {
        self.waiting_since.lock().take()
    }

    /// Serves a Kubernetes provider of a job from the next pass on, until the job is gone.
    pub(crate) fn subscribe(&self, job: &Arc<LiveJob>, provider: ProviderIndex) {
        self.incoming.lock().push((Arc::downgrade(job), provider));
        self.wake.notify_one();
    }

    /// Has dead subscriptions and what only they watched dropped.
    pub(crate) fn review(&self) {
        self.wake.notify_one();
    }

    /// Connects, watches what the jobs need, and keeps their targets up to date. Never ends.
    pub(crate) async fn run(
        self: Arc<Self>,
        connection: ClusterConnection,
        options: ConnectOptions,
        registry: Registry,
    ) {
        let cluster = self.connect(connection, options).await;
        cluster.register(&registry);
        tracing::info!(cluster = self.name, server = cluster.server(), "watching cluster");
        let own_namespace = cluster.default_namespace();
        let mut watches = Watches { cluster: cluster.clone(), running: HashMap::new() };
        self.link.lock().cluster = Some(cluster);
        let mut pass = Pass::default();
        loop {
            self.wake.notified().await;
            let started = Instant::now();
            pass.retain_live();
            self.admit(&mut pass, &own_namespace);
            watches.adjust(&self, &pass);
            let runtime = Arc::clone(&self);
            let worked = tokio::task::spawn_blocking(move || {
                pass.run(&runtime);
                pass
            });
            let Ok(returned) = worked.await else { return };
            pass = returned;
            tokio::time::sleep(started.elapsed().clamp(BATCH, MAX_PAUSE)).await;
        }
    }

    async fn connect(&self, connection: ClusterConnection, options: ConnectOptions) -> Cluster {
        for attempt in 0.. {
            match Cluster::connect(connection.clone(), options.clone()).await {
                Ok(cluster) => {
                    self.link.lock().error = None;
                    return cluster;
                }
                Err(error) => {
                    let text = chain(&error);
                    self.reporter.error(ErrorReason::Cluster, &self.name, |suppressed| {
                        tracing::error!(
                            cluster = self.name,
                            error = text,
                            suppressed,
                            "cannot connect to the cluster"
                        );
                    });
                    self.link.lock().error = Some(text);
                }
            }
            tokio::time::sleep(CONNECT_RETRY[attempt.min(CONNECT_RETRY.len() - 1)]).await;
        }
        unreachable!("the loop above has no end")
    }

    /// Turns what was subscribed into views that the pass serves.
    fn admit(&self, pass: &mut Pass, own_namespace: &str) {
        for (weak, provider) in std::mem::take(&mut *self.incoming.lock()) {
            let Some(job) = weak.upgrade() else { continue };
            let Some(Provider::Kubernetes(kubernetes)) = job.providers.get(provider) else { continue };
            match RoleView::new(&kubernetes.sd, Some(own_namespace)) {
                Ok(view) => {
                    let view = Arc::clone(kubernetes.view.get_or_init(|| Arc::new(view)));
                    pass.subscriptions.push(Subscription { job: weak, provider, view, ready: false });
                }
                Err(error) => {
                    let job = &*job.config().job_name;
                    tracing::error!(job, error = chain(&error), "a kubernetes_sd_config cannot be used");
                }
            }
        }
    }

    /// Forgets a resource that nobody needs any more.
    fn clear(&self, resource: ResourceKind) {
        self.synced[resource.index()].store(false, Ordering::Release);
        let mut mirror = self.mirror.write();
        mirror.begin_generation(resource);
        mirror.commit_generation(resource);
    }
}

impl WatchSink for ClusterRuntime {
    fn begin_generation(&self, resource: ResourceKind) {
        self.mirror.write().begin_generation(resource);
    }

    fn apply(&self, resource: ResourceKind, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        let change = match change {
            WatchChange::Upsert => Change::Upsert,
            WatchChange::Delete => Change::Delete,
        };
        let applied = self.mirror.write().apply(resource, change, object);
        self.waiting_since.lock().get_or_insert_with(Instant::now);
        self.wake.notify_one();
        applied.map_err(|error| {
            let text = chain(&error);
            // The watch logs it; here it only counts.
            self.reporter.error(ErrorReason::Object, &self.name, |_| {});
            ObjectError(text)
        })
    }

    fn commit_generation(&self, resource: ResourceKind) {
        self.mirror.write().commit_generation(resource);
        self.synced[resource.index()].store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

/// A second reader of a cluster's objects besides discovery. It gets every object of what it wants from the lists and
/// watches that discovery has, and has those made that discovery does without.
#[derive(Clone)]
pub struct Tee {
    /// Resources of which it gets whole objects.
    pub objects: BTreeSet<ResourceKind>,
    /// Resources of which metadata is enough; where discovery needs whole objects, it gets those.
    pub metadata: BTreeSet<ResourceKind>,
    /// Who gets them.
    pub sink: Arc<dyn WatchSink>,
}

impl Tee {
    fn wants(&self, resource: ResourceKind) -> bool {
        self.objects.contains(&resource) || self.metadata.contains(&resource)
    }
}

/// Brings the objects of one watch to the mirror and to the second reader.
struct Readers {
    mirror: Option<Arc<ClusterRuntime>>,
    tee: Option<Arc<Tee>>,
}

impl Readers {
    fn sinks(&self) -> impl Iterator<Item = &dyn WatchSink> {
        let mirror = self.mirror.as_deref().map(|mirror| mirror as &dyn WatchSink);
        mirror.into_iter().chain(self.tee.as_deref().map(|tee| &*tee.sink))
    }
}

impl WatchSink for Readers {
    fn begin_generation(&self, resource: ResourceKind) {
        self.sinks().for_each(|sink| sink.begin_generation(resource));
    }

    fn apply(&self, resource: ResourceKind, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        // What one of them refuses is not withheld from the other.
        let mut result = Ok(());
        for sink in self.sinks() {
            let applied = sink.apply(resource, change, object);
            result = result.and(applied);
        }
        result
    }

    fn commit_generation(&self, resource: ResourceKind) {
        self.sinks().for_each(|sink| sink.commit_generation(resource));
    }

    fn unavailable(&self, resource: ResourceKind, phase: WatchPhase) {
        self.sinks().for_each(|sink| sink.unavailable(resource, phase));
    }
}

/// The running watches of a cluster: one for each resource that some job or the second reader needs.
struct Watches {
    cluster: Cluster,
    running: HashMap<ResourceKind, RunningWatch>,
}

struct RunningWatch {
    /// Namespaces that would be watched one by one if the whole cluster is forbidden.
    namespaces: Vec<String>,
    /// Who reads it: the mirror or not, and the second reader.
    mirrored: bool,
    tee: Option<Arc<Tee>>,
    metadata_only: bool,
    _task: AbortOnDropHandle<()>,
}

/// What is needed of one resource.
#[derive(Default)]
struct Need {
    /// Whether jobs need it, and in which namespaces; `None` in all.
    mirrored: bool,
    namespaces: Option<BTreeSet<String>>,
    tee: Option<Arc<Tee>>,
}

impl Need {
    /// A job needs it, too.
    fn add(&mut self, namespaces: Option<BTreeSet<String>>) {
        self.namespaces = match (self.mirrored, self.namespaces.take(), namespaces) {
            (false, _, wanted) => wanted,
            (true, Some(known), Some(wanted)) => Some(known.into_iter().chain(wanted).collect()),
            (true, _, _) => None,
        };
        self.mirrored = true;
    }

    fn metadata_only(&self, resource: ResourceKind) -> bool {
        let mirror_needs_more = self.mirrored && !resource.mirrored_as_metadata();
        let tee_needs_more = self.tee.as_ref().is_some_and(|tee| tee.objects.contains(&resource));
        !mirror_needs_more && !tee_needs_more
    }
}

impl Watches {
    /// Starts and stops watches so that exactly what the subscriptions and the second reader need is watched.
    fn adjust(&mut self, runtime: &Arc<ClusterRuntime>, pass: &Pass) {
        let needed = needs(runtime, pass);
        self.running.retain(|resource, running| {
            let keep = needed.contains_key(resource);
            if running.mirrored && !needed.get(resource).is_some_and(|need| need.mirrored) {
                runtime.clear(*resource);
            }
            keep
        });
        for (resource, need) in needed {
            if !self
                .running
                .get(&resource)
                .is_some_and(|running| self.suffices(running, runtime, resource, &need))
            {
                self.start(runtime, resource, need);
            }
        }
    }

    /// Whether a running watch brings what is needed to those who need it.
    fn suffices(
        &self,
        running: &RunningWatch,
        runtime: &ClusterRuntime,
        resource: ResourceKind,
        need: &Need,
    ) -> bool {
        let same_tee = match (&running.tee, &need.tee) {
            (None, None) => true,
            (Some(running), Some(needed)) => Arc::ptr_eq(running, needed),
            _ => false,
        };
        if !same_tee
            || running.mirrored != need.mirrored
            || running.metadata_only != need.metadata_only(resource)
        {
            return false;
        }
        let split =
            || self.cluster.statuses().iter().any(|s| s.resource == resource && s.namespace.is_some());
        let same_namespaces = running.namespaces.iter().eq(need.namespaces.iter().flatten());
        same_namespaces || (need.mirrored && runtime.is_synced(resource) && !split())
    }

    fn start(&mut self, runtime: &Arc<ClusterRuntime>, resource: ResourceKind, need: Need) {
        self.running.remove(&resource);
        let metadata_only = need.metadata_only(resource);
        let namespaces: Vec<String> = need.namespaces.into_iter().flatten().collect();
        let options = WatchOptions {
            fallback_namespaces: namespaces.clone(),
            metadata_only,
            ..WatchOptions::default()
        };
        let (mirrored, tee) = (need.mirrored, need.tee);
        let readers = Readers { mirror: mirrored.then(|| Arc::clone(runtime)), tee: tee.clone() };
        let task = AbortOnDropHandle::new(tokio::spawn(self.cluster.watch_with(
            resource,
            options,
            Arc::new(readers),
        )));
        self.running.insert(resource, RunningWatch { namespaces, mirrored, tee, metadata_only, _task: task });
    }
}

fn needs(runtime: &ClusterRuntime, pass: &Pass) -> HashMap<ResourceKind, Need> {
    let mut needed: HashMap<ResourceKind, Need> = HashMap::new();
    for subscription in &pass.subscriptions {
        for resource in subscription.view.resources() {
            needed.entry(resource).or_default().add(subscription.view.namespaces());
        }
    }
    if runtime.namespaces_wanted.load(Ordering::Acquire) {
        needed.entry(ResourceKind::Namespace).or_default().add(None);
    }
    if let Some(tee) = &*runtime.tee.lock() {
        for resource in ResourceKind::ALL.into_iter().filter(|resource| tee.wants(*resource)) {
            needed.entry(resource).or_default().tee = Some(Arc::clone(tee));
        }
    }
    needed
}

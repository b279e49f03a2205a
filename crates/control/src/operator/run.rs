//! Keeps the jobs of a cluster's monitors up to date: watches, Secrets, Events.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use outrigger_config::prometheus::{GlobalConfig, OperatorSettings};
use outrigger_kube::{
    Cluster, CustomResource, ObjectError, ObjectSink, RequestError, WatchChange, WatchPhase, WatchStatus,
    WatchedResource,
};
use outrigger_model::clock::SharedClock;
use outrigger_model::fault::chain;
use outrigger_rt::log_limit::LogLimit;
use outrigger_rt::metrics::{Exposition, MetricKind, Registry};
use outrigger_rt::resolver::Resolver;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::assets::{Asset, AssetData, AssetKind, AssetName};
use super::book::{Book, ObjectCounts, needs_namespaces, selection};
use super::events::EventWriter;
use super::resource::{GROUP, MonitorKind};
use super::{ClusterAccess, Defaults, ObjectProblem, OperatorJobs};

/// Objects that are worked out at a time.
const PIECE: usize = 32;
/// Changes that come within this time are worked on together.
const BATCH: Duration = Duration::from_millis(200);
/// How often everything that nobody tells of is looked at.
const TICK: Duration = Duration::from_secs(1);
/// A kind that is forbidden or not served for so long is not waited for: its resources are not installed.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(30);
/// Least time between two readings that only look for changes, so that many Secrets do not become a load.
const REFRESH_PACE: Duration = Duration::from_secs(1);
/// First and longest pause after a reading that failed.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_LONGEST: Duration = Duration::from_secs(60);
/// A Secret that is not there is looked for so often: it may be created after its monitor.
const ABSENT_RETRY: Duration = Duration::from_secs(15);
/// Pause of the Events after the server refused one.
const EVENT_RETRY: Duration = Duration::from_secs(60);

/// What an [`Operator`] needs from its surroundings.
pub struct OperatorOptions {
    /// The cluster, once there is a connection.
    pub access: Arc<dyn ClusterAccess>,
    /// `outrigger.prometheus_operator`.
    pub settings: OperatorSettings,
    /// `global` of the same file.
    pub global: GlobalConfig,
    /// Names to addresses, for the check of certificates only.
    pub resolver: Resolver,
    /// Wall clock of Events.
    pub clock: SharedClock,
    /// Who writes Events: the name of this master.
    pub instance: String,
    /// Where its metrics go.
    pub registry: Registry,
}

/// Makes jobs of ServiceMonitors, PodMonitors, Probes and ScrapeConfigs, and keeps them up to date.
///
/// One list/watch for each kind that is selected; Secrets and ConfigMaps are read one by one, by name.
pub struct Operator {
    shared: Arc<Shared>,
}

struct Shared {
    options: OperatorOptions,
    state: Mutex<State>,
    changed: Notify,
    jobs: watch::Sender<OperatorJobs>,
    log_limit: LogLimit,
}

struct State {
    settings: Arc<OperatorSettings>,
    defaults: Defaults,
    book: Option<Book>,
    /// Something that is read one by one cannot be read.
    trouble: BTreeMap<String, String>,
    statuses: Vec<WatchStatus>,
}

/// What the page shows of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct KindView {
    /// The kind.
    pub kind: MonitorKind,
    /// Its watch, once there is one.
    pub watch: Option<WatchStatus>,
    /// Its objects.
    pub counts: ObjectCounts,
}

/// What the page shows.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorView {
    /// The kinds that are watched.
    pub kinds: Vec<KindView>,
    /// Objects that have no jobs, or not all of them.
    pub problems: Vec<ObjectProblem>,
    /// What keeps Secrets, ConfigMaps or Events from being read or written.
    pub trouble: Vec<String>,
}

impl Operator {
    /// An operator that does nothing until it [runs](Self::run).
    pub fn new(options: OperatorOptions) -> Self {
        let settings = Arc::new(options.settings.clone());
        let defaults = Defaults::new(&settings, &options.global);
        let state = State { settings, defaults, book: None, trouble: BTreeMap::new(), statuses: Vec::new() };
        let registry = options.registry.clone();
        let shared = Arc::new(Shared {
            options,
            state: Mutex::new(state),
            changed: Notify::new(),
            jobs: watch::Sender::new(OperatorJobs::default()),
            log_limit: LogLimit::new(Duration::from_secs(60)),
        });
        let weak = Arc::downgrade(&shared);
        registry.collector(move |exposition| {
            if let Some(shared) = weak.upgrade() {
                shared.collect(exposition);
            }
        });
        Self { shared }
    }

    /// The jobs, as they change. The first value is empty and not [complete](OperatorJobs::complete).
    pub fn jobs(&self) -> watch::Receiver<OperatorJobs> {
        self.shared.jobs.subscribe()
    }

    /// Takes over other settings, on a reload. What is the same goes on without a new list.
    pub fn configure(&self, settings: OperatorSettings, global: &GlobalConfig) {
        let mut state = self.shared.state.lock();
        let settings = Arc::new(settings);
        let defaults = Defaults::new(&settings, global);
        if state.settings == settings && state.defaults == defaults {
            return;
        }
        if let Some(book) = &mut state.book {
            book.configure(settings.clone(), defaults.clone());
        }
        (state.settings, state.defaults) = (settings, defaults);
        self.shared.changed.notify_one();
    }

    /// What the page shows.
    pub fn view(&self) -> OperatorView {
        let state = self.shared.state.lock();
        let kinds = MonitorKind::ALL.into_iter().filter(|kind| selection(&state.settings, *kind).is_some());
        let counts = |kind| state.book.as_ref().map(|book| book.counts(kind)).unwrap_or_default();
        let watch = |kind| {
            state
                .statuses
                .iter()
                .find(|status| status.resource == WatchedResource::from(resource(kind)))
                .cloned()
        };
        OperatorView {
            kinds: kinds.map(|kind| KindView { kind, watch: watch(kind), counts: counts(kind) }).collect(),
            problems: state.book.as_ref().map(Book::problems).unwrap_or_default(),
            trouble: state.trouble.values().cloned().collect(),
        }
    }

    /// Runs for ever; drop it to stop. Must run once only.
    pub async fn run(&self) {
        let shared = &self.shared;
        let cluster = shared.cluster().await;
        {
            let mut state = shared.state.lock();
            let (settings, defaults) = (state.settings.clone(), state.defaults.clone());
            let resolver = shared.options.resolver.clone();
            state.book = Some(Book::new(settings, defaults, cluster.default_namespace(), resolver));
        }
        let watches = self.keep_jobs(&cluster);
        let assets = shared.read_assets(&cluster);
        let events = shared.write_events(&cluster);
        tokio::join!(watches, assets, events);
    }

    /// Watches what is selected, and tells what follows.
    async fn keep_jobs(&self, cluster: &Cluster) {
        let shared = &self.shared;
        let mut watches = Watches::default();
        let mut given_up: HashMap<MonitorKind, Instant> = HashMap::new();
        loop {
            watches.adjust(shared, cluster);
            shared.options.access.want_namespaces(needs_namespaces(&shared.state.lock().settings));
            if let Some(labels) = shared.options.access.namespaces()
                && let Some(book) = &mut shared.state.lock().book
            {
                book.set_namespaces(labels);
            }
            shared.note_statuses(cluster, &mut given_up);
            let worker = shared.clone();
            let settled: BTreeSet<MonitorKind> = given_up
                .iter()
                .filter(|(_, since)| since.elapsed() >= GIVEN_UP_AFTER)
                .map(|(kind, _)| *kind)
                .collect();
            // Loading thousands of jobs takes a while.
            let worked = tokio::task::spawn_blocking(move || worker.work(&settled));
            if worked.await.is_err() {
                tracing::error!("working out the jobs of monitors was interrupted");
            }
            let _ = tokio::time::timeout(TICK, shared.changed.notified()).await;
            tokio::time::sleep(BATCH).await;
        }
    }
}

impl Shared {
    async fn cluster(&self) -> Cluster {
        loop {
            if let Some(cluster) = self.options.access.cluster() {
                return cluster;
            }
            tokio::time::sleep(BATCH).await;
        }
    }

    /// Notes what the watches do, and since when a kind cannot be had.
    fn note_statuses(&self, cluster: &Cluster, given_up: &mut HashMap<MonitorKind, Instant>) {
        let statuses = cluster.statuses();
        for kind in MonitorKind::ALL {
            let status =
                statuses.iter().find(|status| status.resource == WatchedResource::from(resource(kind)));
            let denied =
                |status: &WatchStatus| matches!(status.phase, WatchPhase::Forbidden | WatchPhase::NotServed);
            match status.is_some_and(denied) {
                true => drop(given_up.entry(kind).or_insert_with(Instant::now)),
                false => drop(given_up.remove(&kind)),
            }
        }
        self.state.lock().statuses = statuses;
    }

    /// Works out what has changed and tells it.
    fn work(&self, given_up: &BTreeSet<MonitorKind>) {
        let mut changed = false;
        let mut state = loop {
            let mut state = self.state.lock();
            let Some(book) = &mut state.book else { return };
            if book.lacks_namespaces() {
                return;
            }
            // In small pieces, so that the watches need not wait.
            changed |= book.take_removed();
            match book.work(PIECE) {
                0 => break state,
                _ => changed = true,
            }
        };
        let State { settings, book: Some(book), .. } = &mut *state else { return };
        let wanted = book.wanted_assets();
        book.retain_assets(&wanted);
        let waited_for = MonitorKind::ALL.into_iter().filter(|kind| selection(settings, *kind).is_some());
        let known = waited_for.into_iter().all(|kind| book.is_synced(kind) || given_up.contains(&kind));
        let complete = known && !book.is_waiting();
        let jobs = changed.then(|| book.jobs());
        drop(state);
        self.jobs.send_if_modified(|told| {
            let before = (told.complete, told.jobs.len());
            // Once everything was known it stays so: a new object that waits takes nothing away.
            told.complete |= complete;
            let differs = jobs.as_ref().is_some_and(|jobs| **jobs != *told.jobs);
            if let Some(jobs) = jobs.filter(|_| differs) {
                told.jobs = jobs.into();
            }
            differs || before.0 != told.complete
        });
    }

    // ---- Secrets and ConfigMaps ----

    /// Reads what objects refer to, one after the other: what is new at once, the rest now and then.
    async fn read_assets(self: &Arc<Self>, cluster: &Cluster) {
        let mut plan: HashMap<AssetName, Planned> = HashMap::new();
        let mut last_refresh = Instant::now();
        loop {
            let (next, refresh) = {
                let state = self.state.lock();
                let Some(book) = &state.book else { return };
                let wanted = book.wanted_assets();
                plan.retain(|name, _| wanted.contains(name));
                for name in wanted {
                    plan.entry(name).or_insert_with(|| Planned { due: Instant::now(), failures: 0 });
                }
                let next = plan.iter().min_by_key(|(name, planned)| (book.has_asset(name), planned.due));
                (next.map(|(name, planned)| (name.clone(), *planned)), state.settings.secret_refresh_interval)
            };
            let Some((name, planned)) = next.filter(|(_, planned)| planned.due <= Instant::now()) else {
                tokio::time::sleep(BATCH).await;
                continue;
            };
            let known = self.state.lock().book.as_ref().is_some_and(|book| book.has_asset(&name));
            if known && last_refresh.elapsed() < REFRESH_PACE {
                tokio::time::sleep(BATCH).await;
                continue;
            }
            last_refresh = Instant::now();
            let read = read_asset(cluster, &name).await;
            let planned = self.take_over(&name, read, planned, refresh);
            plan.insert(name, planned);
        }
    }

    /// Notes what was read, and says when to read it again.
    fn take_over(
        &self,
        name: &AssetName,
        read: Result<Option<AssetData>, ReadProblem>,
        planned: Planned,
        refresh: Duration,
    ) -> Planned {
        let key = name.to_string();
        let mut state = self.state.lock();
        let problem = read.as_ref().err().map(ReadProblem::text);
        match problem {
            None => drop(state.trouble.remove(&key)),
            Some(reason) => {
                if let Some(suppressed) = self.log_limit.permit(name.kind.plural()) {
                    tracing::warn!(asset = %name, reason, suppressed, "cannot read what a monitor refers to");
                }
                state.trouble.insert(key.clone(), format!("{key}: {reason}"));
            }
        }
        let failures = if problem.is_some() { planned.failures + 1 } else { 0 };
        let retry = RETRY_FIRST * 2_u32.saturating_pow(planned.failures.min(10));
        let (asset, pause) = match read {
            Ok(Some(data)) => (Some(Asset::Present(data)), refresh),
            Ok(None) => (Some(Asset::Absent), ABSENT_RETRY.min(refresh)),
            Err(ReadProblem::Refused(reason)) => (Some(Asset::Unread(reason)), retry.min(RETRY_LONGEST)),
            // A server that is away says nothing about the object.
            Err(ReadProblem::NoAnswer(_)) => (None, retry.min(RETRY_LONGEST)),
        };
        let book = state.book.as_mut().zip(asset);
        if book.is_some_and(|(book, asset)| book.set_asset(name.clone(), asset)) {
            self.changed.notify_one();
        }
        Planned { due: Instant::now() + pause, failures }
    }

    // ---- Events ----

    async fn write_events(self: &Arc<Self>, cluster: &Cluster) {
        const TROUBLE: &str = "events";
        let mut writer = EventWriter::new(self.options.clock.clone(), self.options.instance.clone());
        loop {
            tokio::time::sleep(TICK).await;
            let problems = {
                let state = self.state.lock();
                let book = state.book.as_ref().filter(|_| state.settings.events);
                book.map(Book::problems).unwrap_or_default()
            };
            while let Some(problem) = writer.next(&problems) {
                let Err(error) = writer.write(cluster, problem).await else {
                    self.state.lock().trouble.remove(TROUBLE);
                    continue;
                };
                let text = chain(&error);
                if let Some(suppressed) = self.log_limit.permit(TROUBLE) {
                    tracing::warn!(error = text, suppressed, "cannot write an event about a monitor");
                }
                self.state.lock().trouble.insert(TROUBLE.to_owned(), format!("events: {text}"));
                tokio::time::sleep(EVENT_RETRY).await;
                break;
            }
        }
    }

    fn collect(&self, exposition: &mut Exposition) {
        let state = self.state.lock();
        let Some(book) = &state.book else { return };
        let mut objects = exposition.family(
            "outrigger_operator_objects",
            "Objects of prometheus-operator's kinds, by what became of them.",
            MetricKind::Gauge,
        );
        let kinds =
            || MonitorKind::ALL.into_iter().filter(|kind| selection(&state.settings, *kind).is_some());
        for kind in kinds() {
            let counts = book.counts(kind);
            for (name, count) in [
                ("accepted", counts.accepted),
                ("waiting", counts.waiting),
                ("rejected", counts.rejected),
                ("unselected", counts.unselected),
            ] {
                objects.sample(&[("kind", kind.as_str()), ("state", name)], count as f64);
            }
        }
        let mut jobs = exposition.family(
            "outrigger_operator_jobs",
            "Jobs made of objects of prometheus-operator's kinds.",
            MetricKind::Gauge,
        );
        for kind in kinds() {
            jobs.sample(&[("kind", kind.as_str())], book.counts(kind).jobs as f64);
        }
    }
}

/// When something is read next.
#[derive(Clone, Copy)]
struct Planned {
    due: Instant,
    failures: u32,
}

/// The running watches with the namespace that each is of.
#[derive(Default)]
struct Watches {
    running: HashMap<MonitorKind, (Option<String>, AbortOnDropHandle<()>)>,
}

impl Watches {
    /// Starts and stops watches so that exactly what is selected is watched.
    fn adjust(&mut self, shared: &Arc<Shared>, cluster: &Cluster) {
        let (settings, own_namespace) = {
            let state = shared.state.lock();
            let own = state.book.as_ref().map(Book::own_namespace).unwrap_or_default();
            (state.settings.clone(), own.to_owned())
        };
        for kind in MonitorKind::ALL {
            let Some(selection) = selection(&settings, kind) else {
                self.running.remove(&kind);
                continue;
            };
            let namespace = selection.namespaces.is_none().then(|| own_namespace.clone());
            if self.running.get(&kind).is_some_and(|(running, _)| *running == namespace) {
                continue;
            }
            self.running.remove(&kind);
            let sink = Arc::new(KindSink { kind, shared: shared.clone() });
            let watch = cluster.watch_custom(resource(kind), namespace.clone(), sink);
            self.running.insert(kind, (namespace, AbortOnDropHandle::new(tokio::spawn(watch))));
        }
    }
}

/// The API resource of a kind.
fn resource(kind: MonitorKind) -> CustomResource {
    CustomResource::namespaced(GROUP, kind.version(), kind.plural(), kind.as_str())
}

struct KindSink {
    kind: MonitorKind,
    shared: Arc<Shared>,
}

impl KindSink {
    fn with<T: Default>(&self, act: impl FnOnce(&mut Book) -> T) -> T {
        let result = self.shared.state.lock().book.as_mut().map(act).unwrap_or_default();
        self.shared.changed.notify_one();
        result
    }
}

impl ObjectSink for KindSink {
    fn begin_generation(&self) {
        self.with(|book| book.begin_list(self.kind));
    }

    fn apply(&self, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        let applied = self.with(|book| {
            Some(match change {
                WatchChange::Upsert => book.put(self.kind, object),
                WatchChange::Delete => book.remove(self.kind, object),
            })
        });
        applied.unwrap_or(Ok(())).map_err(ObjectError)
    }

    fn commit_generation(&self) {
        self.with(|book| book.commit_list(self.kind));
    }
}

// ---- reading ----

/// `data` and `binaryData` of a Secret or ConfigMap.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Contents {
    data: BTreeMap<String, String>,
    binary_data: BTreeMap<String, String>,
}

/// Why something could not be read.
enum ReadProblem {
    NoAnswer(String),
    Refused(String),
}

impl ReadProblem {
    fn text(&self) -> &str {
        match self {
            Self::NoAnswer(text) | Self::Refused(text) => text,
        }
    }
}

async fn read_asset(cluster: &Cluster, name: &AssetName) -> Result<Option<AssetData>, ReadProblem> {
    let kind = match name.kind {
        AssetKind::Secret => "Secret",
        AssetKind::ConfigMap => "ConfigMap",
    };
    let resource = CustomResource::namespaced("", "v1", name.kind.plural(), kind);
    match cluster.get_object(resource, &name.namespace, &name.name).await {
        Ok(None) => Ok(None),
        Ok(Some(json)) => contents(name.kind, &json).map(Some).map_err(ReadProblem::Refused),
        Err(RequestError::Refused { code: 403, hint: Some(hint), message, .. }) => {
            Err(ReadProblem::Refused(format!("{message}; it needs this role:\n{}", hint.rule)))
        }
        // Those that another try may cure say nothing about the object.
        Err(error @ RequestError::Refused { code: 401 | 408 | 429, .. }) => {
            Err(ReadProblem::NoAnswer(chain(&error)))
        }
        Err(error @ (RequestError::Refused { code: 400..=499, .. } | RequestError::TooLarge(_))) => {
            Err(ReadProblem::Refused(chain(&error)))
        }
        Err(error) => Err(ReadProblem::NoAnswer(chain(&error))),
    }
}

/// The contents of an object. Errors never quote them.
fn contents(kind: AssetKind, json: &[u8]) -> Result<AssetData, String> {
    use base64::Engine as _;
    let contents: Contents = serde_json::from_slice(json)
        .map_err(|error| format!("line {} of the answer cannot be read", error.line()))?;
    let decode = |(key, value): (String, String)| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(value);
        bytes.map(|bytes| (key.clone(), bytes)).map_err(|_| format!("the key {key:?} is not base64"))
    };
    let values: Result<BTreeMap<String, Vec<u8>>, String> = match kind {
        AssetKind::Secret => contents.data.into_iter().map(decode).collect(),
        AssetKind::ConfigMap => {
            let texts = contents.data.into_iter().map(|(key, value)| Ok((key, value.into_bytes())));
            texts.chain(contents.binary_data.into_iter().map(decode)).collect()
        }
    };
    values.map(AssetData)
}

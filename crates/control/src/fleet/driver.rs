//! The I/O around the fleet: streams, probes, the store.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::http::{HeaderMap, Method, StatusCode};
use bytes::Bytes;
use outrigger_model::clock::SharedClock;
use outrigger_model::fault::{Blame, chain};
use outrigger_model::http::HttpClientConfig;
use outrigger_model::target::{TargetDelta, TargetId};
use outrigger_rt::grpc::{DuplexReceiver, Peer};
use outrigger_rt::http::{BuildClientError, ClientOptions, HttpClient, HttpError, HttpRequest};
use outrigger_rt::log_limit::LogLimit;
use outrigger_rt::metrics::Registry;
use outrigger_rt::resolver::Resolver;
use outrigger_storage::sealed::Key;
use outrigger_wire::centre::{
    FromMaster, FromWorker, Hello, RejectReason, Rejected, from_master, from_worker,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::election::{ElectionHandle, Standing};
use crate::live_job::TargetSink;
use crate::scaling::{Scaling, ScalingLimits};
use crate::store::{Change, Fence, StateStore, StoreError, Tenure};

use super::memory::{Memory, RecalledView};
use super::metrics::FleetMetrics;
use super::names::NameBook;
use super::record;
use super::wanted::{self, Published};
use super::{
    Alive, ConfigurationBundle, Fleet, FleetEffect, FleetEvent, FleetOptions, Millis, ProbeAnswer, SessionId,
    TargetCounts, WorkerRecord, WorkerView,
};

/// A worker says who it is within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// A worker takes a message within this time.
const TAKE_TIMEOUT: Duration = Duration::from_secs(1);
/// A worker answers whether it lives within this time.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of that answer.
const PROBE_BYTES: usize = 4 << 10;
/// Time goes by for the fleet so often.
const TICK: Duration = Duration::from_millis(200);
/// Attempts to write a worker's record before it gets targets all the same.
const RECORD_ATTEMPTS: u32 = 4;
/// Pause after a failed use of the store.
const STORE_PAUSE: Duration = Duration::from_millis(500);
/// The same trouble is logged once in this time.
const LOG_PERIOD: Duration = Duration::from_secs(30);
/// Key in the store of the number that moves the ticks of all targets.
const OFFSET_SEED_KEY: &str = "offset_seed";

/// What a fleet needs from its surroundings.
pub struct FleetDriverOptions {
    /// The fleet's own settings.
    pub fleet: FleetOptions,
    /// Wall clock; only told to workers.
    pub clock: SharedClock,
    /// Where its metrics go.
    pub registry: Registry,
    /// Names to addresses, for probes.
    pub resolver: Resolver,
    /// Which workers exist.
    pub store: Arc<dyn StateStore>,
    /// Where series sets of targets and the last known targets are kept; nowhere if `None`.
    pub data_dir: Option<PathBuf>,
    /// Encrypts the last known targets and configuration.
    pub key: Option<Arc<Key>>,
    /// How workers are asked whether they live.
    pub probe: HttpClientConfig,
    /// The only worker that may use a token, by the token's name.
    pub token_workers: HashMap<Arc<str>, String>,
    /// Moves the ticks of all targets; what is in the store already wins.
    pub offset_seed: u64,
    /// When there should be more workers.
    pub scaling: ScalingLimits,
}

/// A fleet and its I/O; cheap to clone, all clones are the same.
#[derive(Clone)]
pub struct FleetHandle {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) fleet: Mutex<Fleet>,
    started: Instant,
    clock: SharedClock,
    pub(super) store: Arc<dyn StateStore>,
    probes: HttpClient,
    token_workers: HashMap<Arc<str>, String>,
    offset_seed: u64,
    streams: Mutex<HashMap<SessionId, Arc<StreamControl>>>,
    next_session: AtomicU64,
    fence: Mutex<Option<Fence>>,
    tenure: Mutex<Option<Tenure>>,
    /// The highest epoch that a worker has obeyed, if that is above this leader's.
    outranked: watch::Sender<u64>,
    chores: mpsc::UnboundedSender<Chore>,
    waiting_chores: Mutex<Option<mpsc::UnboundedReceiver<Chore>>>,
    pub(super) metrics: FleetMetrics,
    pub(super) scaling: Mutex<Scaling>,
    pub(super) wanted: AtomicU64,
    /// The wanted number that the leader has put into the store, and when that was heard.
    pub(super) published: Mutex<Option<(Published, Instant)>>,
    log: LogLimit,
    pub(super) memory: Option<Memory>,
    pub(super) names: Mutex<NameBook>,
    /// Whether this master leads.
    pub(super) leading: watch::Sender<bool>,
    /// The fleet's work is over.
    pub(super) ended: CancellationToken,
}

/// What the fleet and a stream's task share.
#[derive(Default)]
struct StreamControl {
    wake: Notify,
    close: CancellationToken,
    rejected: Mutex<Option<Rejected>>,
}

/// Work that takes time. There is at most one of a kind for each worker at a time.
enum Chore {
    Probe { worker: Arc<str>, address: String },
    Record(WorkerRecord),
    Forget(Arc<str>),
}

/// How a stream with a worker ended.
enum StreamEnd {
    Closed,
    TooSlow,
    Gone(Option<String>),
}

impl FleetHandle {
    /// A fleet that has no workers yet and does not lead.
    ///
    /// # Errors
    /// When the settings for probes can never work.
    pub fn new(options: FleetDriverOptions) -> Result<Self, BuildClientError> {
        let name = format!("outrigger-master/{}", options.fleet.version);
        let mut client = ClientOptions::new("worker_probe", name, Blame::Us);
        client.clock = options.clock.clone();
        let probes = HttpClient::new(&options.probe, client, options.resolver)?;
        let (chores, waiting_chores) = mpsc::unbounded_channel();
        let mut fleet = Fleet::new(options.fleet);
        let memory = options.data_dir.map(|directory| Memory::open(&directory, options.key, &mut fleet));
        let shared = Arc::new(Shared {
            metrics: FleetMetrics::new(&options.registry),
            fleet: Mutex::new(fleet),
            started: Instant::now(),
            clock: options.clock,
            store: options.store,
            probes,
            token_workers: options.token_workers,
            offset_seed: options.offset_seed,
            streams: Mutex::default(),
            next_session: AtomicU64::new(1),
            fence: Mutex::new(None),
            tenure: Mutex::new(None),
            outranked: watch::Sender::new(0),
            chores,
            waiting_chores: Mutex::new(Some(waiting_chores)),
            scaling: Mutex::new(Scaling::new(options.scaling)),
            wanted: AtomicU64::new(0),
            published: Mutex::new(None),
            log: LogLimit::new(LOG_PERIOD),
            memory,
            names: Mutex::default(),
            leading: watch::Sender::new(false),
            ended: CancellationToken::new(),
        });
        super::metrics::register(&options.registry, &shared);
        Ok(Self { shared })
    }

    /// Where discovery tells what it found.
    pub fn sink(&self) -> Arc<dyn TargetSink> {
        Arc::new(FleetSink(Arc::clone(&self.shared)))
    }

    /// The configuration in force; jobs that it does not have lose their targets. To be called before discovery is
    /// told of it, so that workers know a job before its targets come.
    pub fn set_configuration(&self, bundle: ConfigurationBundle) {
        let kept = bundle.clone();
        self.shared.step(FleetEvent::Configured(Box::new(bundle)));
        if let Some(memory) = &self.shared.memory {
            let mut known = memory.known.lock();
            if known.set_configuration(kept) {
                // Targets of jobs that are gone have gone with them.
                known.changed_all();
            }
        }
    }

    /// Serves one stream until it ends: the handler of [`outrigger_rt::grpc::duplex_service`].
    pub async fn serve(
        &self,
        peer: Peer,
        mut from: DuplexReceiver<FromWorker>,
        to: mpsc::Sender<FromMaster>,
    ) {
        if let Some(hello) = self.shared.greeted(&peer, &mut from, &to).await {
            self.shared.serve_session(peer, hello, from, to).await;
        }
    }

    /// All workers, by name.
    pub fn workers(&self) -> Vec<WorkerView> {
        self.shared.fleet.lock().workers(self.shared.now())
    }

    /// What this master knew when it started, from its disk.
    pub fn recalled(&self) -> RecalledView {
        self.shared.memory.as_ref().map(|memory| memory.recalled).unwrap_or_default()
    }

    /// The configuration of the last run, from disk, once: for jobs that do not come from the file and are not known
    /// yet. Targets of jobs that the first [`set_configuration`](Self::set_configuration) lacks are forgotten.
    pub fn take_recalled_configuration(&self) -> Option<ConfigurationBundle> {
        self.shared.memory.as_ref()?.configuration.lock().take()
    }

    /// Whether this master leads.
    pub fn is_leading(&self) -> bool {
        self.shared.fleet.lock().is_leading()
    }

    /// Workers that scrape a target now.
    pub fn owners(&self, job: &str, id: TargetId) -> Vec<Arc<str>> {
        self.shared.fleet.lock().owners(job, id)
    }

    /// Targets by where they stand.
    pub fn target_counts(&self) -> TargetCounts {
        self.shared.fleet.lock().target_counts()
    }

    /// What a worker last sent of its own metrics: text exposition format compressed with zstd, and when it was
    /// taken, milliseconds since the epoch.
    pub fn self_metrics(&self, worker: &str) -> Option<(Vec<u8>, i64)> {
        self.shared.fleet.lock().self_metrics(worker)
    }

    /// Does the fleet's work until `stop`, then ends all streams. To be called once.
    ///
    /// It assigns while `standing` says that this master leads; `election` is asked for a higher epoch when workers
    /// have obeyed one that the store does not know any more.
    pub async fn run(
        self,
        standing: watch::Receiver<Standing>,
        election: ElectionHandle,
        stop: CancellationToken,
    ) {
        let Some(chores) = self.shared.waiting_chores.lock().take() else { return };
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.shared.follow_standing(standing) => {}
            () = self.shared.raise_epochs(election) => {}
            () = self.shared.keep_time() => {}
            () = self.shared.follow_load() => {}
            () = self.shared.follow_published() => {}
            () = Arc::clone(&self.shared).do_chores(chores) => {}
            () = Arc::clone(&self.shared).keep_memory() => {}
        }
        for control in self.shared.streams.lock().values() {
            control.close.cancel();
        }
        self.shared.ended.cancel();
        Arc::clone(&self.shared).write_memory().await;
    }
}

/// Hands what discovery finds to the fleet.
struct FleetSink(Arc<Shared>);

impl TargetSink for FleetSink {
    fn apply(&self, delta: TargetDelta) {
        self.apply_seen(delta, Instant::now());
    }

    fn apply_seen(&self, delta: TargetDelta, seen: Instant) {
        let age = u64::try_from(seen.elapsed().as_millis()).unwrap_or(0);
        let added = delta.added.iter().map(|target| target.id);
        let ids: Vec<TargetId> = added.chain(delta.removed.iter().copied()).collect();
        self.0.step(FleetEvent::Targets { delta, age });
        // Only now, so that what is written has the change.
        if let Some(memory) = &self.0.memory {
            memory.known.lock().changed(ids.into_iter().map(|id| id.0));
        }
    }

    fn synced(&self, job: &Arc<str>) {
        self.0.step(FleetEvent::JobSynced(Arc::clone(job)));
        // What was known from the disk only has gone now, without a word from discovery.
        if let Some(memory) = &self.0.memory {
            memory.known.lock().changed_all();
        }
    }

    fn suspended(&self) {
        self.0.step(FleetEvent::DiscoverySuspended);
    }
}

impl Shared {
    pub(super) fn now(&self) -> Millis {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// One step; its effects are passed on before another step's are.
    pub(super) fn step(&self, event: FleetEvent) {
        let mut fleet = self.fleet.lock();
        for effect in fleet.step(self.now(), event) {
            self.perform(effect);
        }
    }

    fn perform(&self, effect: FleetEffect) {
        let control = |session: &SessionId| self.streams.lock().get(session).cloned();
        match effect {
            FleetEffect::Wake(session) => {
                if let Some(control) = control(&session) {
                    control.wake.notify_one();
                }
            }
            FleetEffect::Close(session) => {
                if let Some(control) = control(&session) {
                    control.close.cancel();
                }
            }
            FleetEffect::Reject(session, rejected) => {
                self.metrics.refused(rejected.reason());
                if let Some(control) = control(&session) {
                    *control.rejected.lock() = Some(rejected);
                    control.close.cancel();
                }
            }
            FleetEffect::Probe { worker, address } => self.chore(Chore::Probe { worker, address }),
            FleetEffect::Record(record) => self.chore(Chore::Record(record)),
            FleetEffect::Forget(worker) => self.chore(Chore::Forget(worker)),
            FleetEffect::KeepSeries { job, sets } => {
                for (id, set) in sets {
                    self.change_set(&job, id, Some(set));
                }
            }
            FleetEffect::DropSeries { job, id } => self.change_set(&job, id.0, None),
            FleetEffect::Outranked(epoch) => {
                self.outranked.send(epoch).ok();
            }
            FleetEffect::AssignmentDelay(millis) => self.metrics.assigned_after(millis),
        }
    }

    fn chore(&self, chore: Chore) {
        // Without a receiver the master is shutting down.
        let _ = self.chores.send(chore);
    }

    pub(super) fn warn(&self, what: &str, about: &str, log: impl FnOnce(u64)) {
        if let Some(suppressed) = self.log.permit(&format!("{what}/{about}")) {
            log(suppressed);
        }
    }

    /// The first word of a worker that may speak.
    pub(super) async fn greeted(
        &self,
        peer: &Peer,
        from: &mut DuplexReceiver<FromWorker>,
        to: &mpsc::Sender<FromMaster>,
    ) -> Option<Hello> {
        let hello = match timeout(HELLO_TIMEOUT, from.next()).await {
            Ok(Ok(Some(FromWorker { kind: Some(from_worker::Kind::Hello(hello)) }))) => hello,
            Ok(Ok(None) | Err(_)) => return None,
            Ok(Ok(Some(_))) | Err(_) => {
                self.refuse(to, RejectReason::BadHello, "the first message must be Hello").await;
                return None;
            }
        };
        if let Err(message) = self.check_name(peer, &hello) {
            let worker = &*hello.worker;
            self.warn("name", worker, |suppressed| {
                tracing::warn!(worker, peer = %peer.address, suppressed, "{message}");
            });
            self.refuse(to, RejectReason::WrongName, &message).await;
            return None;
        }
        Some(hello)
    }

    /// A worker must not speak in another's name.
    fn check_name(&self, peer: &Peer, hello: &Hello) -> Result<(), String> {
        if let Some(names) = &peer.names
            && !names.contains(&hello.worker)
        {
            let names = names.join(", ");
            return Err(format!("the certificate is for {names}, not for the worker {}", hello.worker));
        }
        if let Some(token) = &peer.token
            && let Some(worker) = self.token_workers.get(&token.0)
            && !worker.is_empty()
            && *worker != hello.worker
        {
            return Err(format!("the token {token} is for the worker {worker}, not for {}", hello.worker));
        }
        Ok(())
    }

    pub(super) async fn refuse(&self, to: &mpsc::Sender<FromMaster>, reason: RejectReason, message: &str) {
        self.metrics.refused(reason);
        let rejected = Rejected { reason: reason as i32, message: message.to_owned(), leader: String::new() };
        send_rejected(to, rejected).await;
    }

    async fn serve_session(
        self: &Arc<Self>,
        peer: Peer,
        hello: Hello,
        from: DuplexReceiver<FromWorker>,
        to: mpsc::Sender<FromMaster>,
    ) {
        let session = SessionId(self.next_session.fetch_add(1, Ordering::Relaxed));
        let control = Arc::new(StreamControl::default());
        self.streams.lock().insert(session, Arc::clone(&control));
        let worker: Arc<str> = Arc::from(hello.worker.as_str());
        tracing::debug!(worker = &*worker, peer = %peer.address, "worker connects");
        self.step(FleetEvent::Connected { session, hello });
        let end = tokio::select! {
            () = control.close.cancelled() => StreamEnd::Closed,
            end = self.send_messages(session, &control, &to) => end,
            end = self.take_messages(session, from) => end,
        };
        self.streams.lock().remove(&session);
        self.step(FleetEvent::Disconnected { session });
        let rejected = control.rejected.lock().take();
        match (rejected, end) {
            (Some(rejected), _) => {
                let message = &*rejected.message;
                self.warn("rejected", &worker, |suppressed| {
                    tracing::info!(worker = &*worker, peer = %peer.address, suppressed, "worker sent away: {message}");
                });
                send_rejected(&to, rejected).await;
            }
            (None, StreamEnd::TooSlow) => {
                self.metrics.refused(RejectReason::TooSlow);
                self.warn("slow", &worker, |suppressed| {
                    tracing::warn!(
                        worker = &*worker,
                        suppressed,
                        "worker takes its messages too slowly, stream ended"
                    );
                });
            }
            (None, StreamEnd::Gone(error)) => {
                self.warn("gone", &worker, |suppressed| {
                    tracing::info!(worker = &*worker, error, suppressed, "stream of a worker ended");
                });
            }
            (None, StreamEnd::Closed) => {}
        }
    }

    /// A leadership may have ended a moment before the election said so.
    fn stop_when_over(&self) {
        let is_over = self.tenure.lock().as_ref().is_some_and(|tenure| !tenure.is_current());
        if is_over {
            *self.tenure.lock() = None;
            self.step(FleetEvent::Deposed { leader: None });
        }
    }

    async fn take_messages(&self, session: SessionId, mut from: DuplexReceiver<FromWorker>) -> StreamEnd {
        loop {
            match from.next().await {
                Ok(Some(FromWorker { kind: Some(from_worker::Kind::Names(names)) })) => {
                    self.learn_names(names);
                }
                Ok(Some(FromWorker { kind: Some(message) })) => {
                    self.step(FleetEvent::Heard { session, message });
                }
                // Something that only a later version knows.
                Ok(Some(FromWorker { kind: None })) => {}
                Ok(None) => return StreamEnd::Gone(None),
                Err(error) => return StreamEnd::Gone(Some(chain(&error))),
            }
        }
    }

    async fn send_messages(
        self: &Arc<Self>,
        session: SessionId,
        control: &StreamControl,
        to: &mpsc::Sender<FromMaster>,
    ) -> StreamEnd {
        loop {
            control.wake.notified().await;
            loop {
                let place = match timeout(TAKE_TIMEOUT, to.reserve()).await {
                    Ok(Ok(place)) => place,
                    Ok(Err(_)) => return StreamEnd::Gone(None),
                    Err(_) => return StreamEnd::TooSlow,
                };
                let wall = self.clock.now().millis();
                self.stop_when_over();
                let Some(next) = self.fleet.lock().next_message(session, wall) else { break };
                let Some(message) = self.build(next).await else { return StreamEnd::Gone(None) };
                place.send(message);
            }
        }
    }

    async fn follow_standing(&self, mut standing: watch::Receiver<Standing>) {
        loop {
            let now = standing.borrow_and_update().clone();
            let lead = async {
                match now {
                    Standing::Standby { leader } => {
                        *self.fence.lock() = None;
                        let leader = leader.map(|leader| leader.address.to_string());
                        self.step(FleetEvent::Deposed { leader });
                        self.leading.send_replace(false);
                    }
                    Standing::Leading { epoch, fence, tenure } => {
                        *self.fence.lock() = Some(fence.clone());
                        *self.tenure.lock() = Some(tenure);
                        self.lead(epoch, &fence).await;
                    }
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                changed = standing.changed() => if changed.is_err() {
                    // The election is over, and with it any leadership.
                    self.step(FleetEvent::Deposed { leader: None });
                    return std::future::pending().await;
                },
                () = lead => {}
            }
        }
    }

    /// Learns from the store which workers exist and begins to assign. Goes on until the store has answered.
    async fn lead(&self, epoch: u64, fence: &Fence) {
        loop {
            match self.begin_term(fence).await {
                Ok((offset_seed, known)) => {
                    tracing::info!(epoch, workers = known.len(), "leading");
                    self.step(FleetEvent::Elected { epoch, offset_seed, known });
                    self.leading.send_replace(true);
                    return;
                }
                Err(error) => {
                    self.warn("store", "list", |suppressed| {
                        tracing::warn!(error = chain(&error), suppressed, "cannot learn which workers exist");
                    });
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        }
    }

    async fn raise_epochs(&self, election: ElectionHandle) {
        let mut outranked = self.outranked.subscribe();
        while outranked.changed().await.is_ok() {
            let above = *outranked.borrow_and_update();
            match election.raise_epoch(above).await {
                Ok(epoch) => tracing::info!(
                    epoch,
                    above,
                    "workers had obeyed a later leader, this one's epoch is raised"
                ),
                Err(error) => self.warn("epoch", "", |suppressed| {
                    tracing::warn!(
                        above,
                        error = chain(&error),
                        suppressed,
                        "a worker has obeyed a later leader, and this one's epoch cannot be raised"
                    );
                }),
            }
        }
    }

    async fn begin_term(&self, fence: &Fence) -> Result<(u64, Vec<WorkerRecord>), StoreError> {
        let seed = self.store.get(OFFSET_SEED_KEY).await?;
        let seed = seed.and_then(|seed| std::str::from_utf8(&seed.value).ok()?.parse().ok());
        let seed = match seed {
            Some(seed) => seed,
            None => {
                let value = Bytes::from(self.offset_seed.to_string());
                let put = Change::Put { key: OFFSET_SEED_KEY.to_owned(), value, lease: None };
                if let Err(error) = self.store.commit(Some(fence), vec![put]).await {
                    self.warn("store", OFFSET_SEED_KEY, |suppressed| {
                        tracing::warn!(
                            error = chain(&error),
                            suppressed,
                            "cannot keep the offset of the ticks"
                        );
                    });
                }
                self.offset_seed
            }
        };
        let published = self.store.get(wanted::KEY).await?;
        if let Some(published) = published.as_ref().and_then(Published::read) {
            self.resume_wanted(published);
        }
        let records = self.store.list(record::PREFIX).await?;
        let known = records.into_iter().filter_map(|(key, record)| {
            let decoded = WorkerRecord::decode(&record.value);
            if decoded.is_none() {
                self.warn("record", &key, |suppressed| {
                    tracing::warn!(
                        key,
                        suppressed,
                        "a worker's record in the store is not readable, ignored"
                    );
                });
            }
            decoded
        });
        Ok((seed, known.collect()))
    }

    async fn keep_time(&self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.step(FleetEvent::Tick);
        }
    }

    async fn do_chores(self: Arc<Self>, mut chores: mpsc::UnboundedReceiver<Chore>) {
        while let Some(chore) = chores.recv().await {
            match chore {
                Chore::Probe { worker, address } => {
                    tokio::spawn(Arc::clone(&self).probe(worker, address));
                }
                Chore::Record(record) => self.write_record(record).await,
                Chore::Forget(worker) => self.delete_record(&worker).await,
            }
        }
    }

    async fn probe(self: Arc<Self>, worker: Arc<str>, address: String) {
        let answer = match self.ask_whether_alive(&worker, &address).await {
            Ok(alive) => ProbeAnswer::Alive(alive),
            Err(Unanswered { error, answer }) => {
                tracing::info!(
                    worker = &*worker,
                    address,
                    error,
                    "a worker that is not connected does not answer"
                );
                answer
            }
        };
        self.step(FleetEvent::Probed { worker, answer });
    }

    async fn ask_whether_alive(&self, worker: &str, address: &str) -> Result<Alive, Unanswered> {
        let url = format!("{}/-/alive", address.trim_end_matches('/'));
        let request = HttpRequest {
            method: Method::GET,
            url: &url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            deadline: Instant::now() + PROBE_TIMEOUT,
        };
        let response = self.probes.send(request).await?;
        if response.status != StatusCode::OK {
            return Err(format!("status {}", response.status).into());
        }
        let body = response.body.read_all(PROBE_BYTES).await.map_err(|error| chain(&error))?;
        let answer: AliveAnswer = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        if answer.worker != worker {
            return Err(format!("the worker {} answers there", answer.worker).into());
        }
        let instance = u64::from_str_radix(&answer.instance, 16)
            .map_err(|_| format!("instance {:?} is not a hexadecimal number", answer.instance))?;
        Ok(Alive { instance, scrapes: answer.targets > 0 })
    }

    async fn write_record(&self, record: WorkerRecord) {
        let worker = Arc::clone(&record.name);
        for attempt in 0..RECORD_ATTEMPTS {
            let key = WorkerRecord::key(&worker);
            let put = Change::Put { key, value: Bytes::from(record.encode()), lease: None };
            if attempt > 0 {
                tokio::time::sleep(STORE_PAUSE).await;
            }
            if self.commit(put).await {
                break;
            }
        }
        self.step(FleetEvent::Recorded { worker });
    }

    async fn delete_record(&self, worker: &str) {
        for _ in 0..RECORD_ATTEMPTS {
            if self.commit(Change::Delete { key: WorkerRecord::key(worker) }).await {
                return;
            }
            tokio::time::sleep(STORE_PAUSE).await;
        }
    }

    /// True when nothing is left to do: it is written, or this master does not lead any more.
    pub(super) async fn commit(&self, change: Change) -> bool {
        let Some(fence) = self.fence.lock().clone() else { return true };
        match self.store.commit(Some(&fence), vec![change]).await {
            Ok(_) => true,
            Err(StoreError::Fenced) => {
                tracing::warn!("another master leads, nothing is assigned any more");
                self.step(FleetEvent::Deposed { leader: None });
                true
            }
            Err(error) => {
                self.metrics.store_failed();
                self.warn("store", "commit", |suppressed| {
                    tracing::warn!(
                        error = chain(&error),
                        suppressed,
                        "cannot write to the store which workers exist or how many there should be"
                    );
                });
                false
            }
        }
    }
}

/// A question to a worker that came to nothing.
struct Unanswered {
    error: String,
    answer: ProbeAnswer,
}

impl From<String> for Unanswered {
    fn from(error: String) -> Self {
        Self { error, answer: ProbeAnswer::Silence }
    }
}

impl From<HttpError> for Unanswered {
    fn from(error: HttpError) -> Self {
        let refused = match &error {
            HttpError::Connect { source, .. } => source.0.kind() == std::io::ErrorKind::ConnectionRefused,
            _ => false,
        };
        let answer = if refused { ProbeAnswer::Refused } else { ProbeAnswer::Silence };
        Self { error: chain(&error), answer }
    }
}

/// Answer of a worker's `/-/alive`.
#[derive(serde::Deserialize)]
struct AliveAnswer {
    worker: String,
    instance: String,
    /// Targets that it scrapes.
    #[serde(default)]
    targets: u64,
}

async fn send_rejected(to: &mpsc::Sender<FromMaster>, rejected: Rejected) {
    let message = FromMaster { kind: Some(from_master::Kind::Rejected(rejected)) };
    let _ = timeout(TAKE_TIMEOUT, to.send(message)).await;
}

#[cfg(test)]
mod tests;

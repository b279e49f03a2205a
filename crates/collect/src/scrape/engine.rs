//! The scrape engine: all targets of all jobs, each scraped on its own tick.
//!
//! Targets that wait are entries of one heap that one task looks after; a task exists only while a scrape runs. So
//! 30,000 targets cost their caches and little else. Running scrapes are not limited in number: a limit would let
//! targets that hang take the places of those that answer. Their memory is limited instead ([`super::body`]): bodies are
//! read piece by piece.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use outrigger_config::prometheus::ScrapeConfig;
use outrigger_model::clock::SharedClock;
use outrigger_model::sample::Timestamp;
use outrigger_model::target::{ScrapeTarget, TargetDelta, TargetId};
use outrigger_rt::http::{BuildClientError, ClientOptions, HttpClient};
use outrigger_rt::log_limit::LogLimit;
use outrigger_rt::metrics::{MetricKind, Registry};
use outrigger_rt::resolver::Resolver;
use outrigger_wire::centre::Inheritance;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::BodyBudget;
use super::failure_log::{FailureLog, FailureLogWriter, failure_log};
use super::handover::{HandedOver, HandoverSender, Inherited};
use super::job::{JobSettings, JobState, cache_is_reusable};
use super::metrics::{EngineMetrics, ScrapeTotals};
use super::pending_stale::PendingStale;
use super::schedule::Schedule;
use super::status::{TargetCost, TargetStatus};
use super::target_loop::{Action, Event, Plan, TargetLoop};
use super::turn;
use crate::batch::SampleSink;

/// What the engine needs besides its configuration.
#[derive(Clone)]
pub struct EngineOptions {
    /// Wall clock.
    pub clock: SharedClock,
    /// Where `outrigger_scrape_*` is exposed.
    pub registry: Registry,
    /// Names of targets.
    pub resolver: Resolver,
    /// Takes all samples.
    pub sink: Arc<dyn SampleSink>,
    /// `User-Agent`, for example `Outrigger/0.1.0`.
    pub user_agent: String,
    /// Moves the ticks of all targets, so that twins do not scrape at the same moment. It must not change when a
    /// target moves from one worker to another.
    pub offset_seed: u64,
    /// Largest body, uncompressed, where a job has no `body_size_limit`.
    pub max_body_bytes: u64,
    /// Memory for all large bodies together; the first 4 MiB of each do not count.
    pub body_budget_bytes: u64,
    /// How long scrapes that are under way may go on after the engine was stopped.
    pub drain_deadline: Duration,
    /// At most one log line about the same trouble in this time.
    pub log_period: Duration,
}

/// A job that cannot be set up as configured.
#[derive(Debug, thiserror::Error)]
#[error("scrape job {job:?}: set up the HTTP client")]
pub struct JobSetupError {
    /// `job_name`.
    pub job: Arc<str>,
    /// Why.
    pub source: BuildClientError,
}

/// Scrapes targets; cheap to clone, all clones are the same engine.
#[derive(Clone)]
pub struct ScrapeEngine {
    shared: Arc<Shared>,
    failure_log_writer: Arc<Mutex<Option<FailureLogWriter>>>,
}

/// What the tasks of the engine share.
pub(crate) struct Shared {
    pub(crate) clock: SharedClock,
    pub(crate) sink: Arc<dyn SampleSink>,
    pub(crate) metrics: EngineMetrics,
    pub(crate) pending_stale: PendingStale,
    pub(crate) failure_log: FailureLog,
    pub(crate) max_body_bytes: AtomicU64,
    pub(crate) body_budget: Arc<BodyBudget>,
    pub(crate) series_limit_log: LogLimit,
    /// Cancelled when running scrapes are given up.
    pub(crate) abort: CancellationToken,
    resolver: Resolver,
    user_agent: String,
    offset_seed: AtomicU64,
    drain_deadline: Duration,
    jobs: Mutex<HashMap<Arc<str>, Job>>,
    timers: Mutex<Timers>,
    wake: Notify,
    running: TaskTracker,
    next_loop: AtomicU64,
    /// Who waits for the end of which target's last scrape here.
    handovers: Mutex<HashMap<u64, HandoverSender>>,
    /// No scrape begins.
    paused: AtomicBool,
    /// Milliseconds; 0 is no limit.
    stall_limit: AtomicU64,
    stalled: Notify,
    /// Somebody wants to know whose series change.
    watch_changes: AtomicBool,
    changed: Mutex<HashSet<(Arc<str>, TargetId)>>,
    series_changed: Notify,
}

struct Job {
    state: Arc<JobState>,
    /// `None` while targets of a job are known whose configuration is not (yet).
    settings: Option<Arc<JobSettings>>,
    /// Targets that wait for the settings.
    unconfigured: HashMap<TargetId, (Arc<ScrapeTarget>, Option<Inherited>)>,
    loops: HashMap<TargetId, Arc<TargetLoop>>,
}

#[derive(Default)]
struct Timers {
    heap: BinaryHeap<Reverse<Timer>>,
    sequence: u64,
}

struct Timer {
    at: Instant,
    sequence: u64,
    task: TimerTask,
}

enum TimerTask {
    Scrape { target: Arc<TargetLoop>, tick: Timestamp },
    EndOfRun { target: Arc<TargetLoop>, stale_at: Timestamp },
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl ScrapeEngine {
    /// An engine without jobs; nothing is scraped until [`ScrapeEngine::run`].
    pub fn new(options: EngineOptions) -> Self {
        let metrics = EngineMetrics::new(&options.registry);
        let (failure_log, writer) = failure_log(metrics.failure_log_dropped.clone(), options.log_period);
        let shared = Arc::new(Shared {
            clock: options.clock,
            sink: options.sink,
            metrics,
            pending_stale: PendingStale::default(),
            failure_log,
            max_body_bytes: AtomicU64::new(options.max_body_bytes),
            body_budget: Arc::new(BodyBudget::new(options.body_budget_bytes)),
            series_limit_log: LogLimit::new(options.log_period),
            abort: CancellationToken::new(),
            resolver: options.resolver,
            user_agent: options.user_agent,
            offset_seed: AtomicU64::new(options.offset_seed),
            drain_deadline: options.drain_deadline,
            jobs: Mutex::default(),
            timers: Mutex::default(),
            wake: Notify::new(),
            running: TaskTracker::new(),
            next_loop: AtomicU64::new(1),
            handovers: Mutex::default(),
            paused: AtomicBool::new(false),
            stall_limit: AtomicU64::new(0),
            stalled: Notify::new(),
            watch_changes: AtomicBool::new(false),
            changed: Mutex::default(),
            series_changed: Notify::new(),
        });
        register_collector(&options.registry, &shared);
        Self { shared, failure_log_writer: Arc::new(Mutex::new(Some(writer))) }
    }

    /// Takes a new configuration over. Jobs that did not change keep everything; a job that changed keeps its
    /// targets, and its caches unless the change could alter samples; the targets of a job that is gone are removed.
    ///
    /// # Errors
    /// The first job that cannot be set up; everything then stays as it was.
    pub fn apply_config(&self, configs: &[Arc<ScrapeConfig>]) -> Result<(), JobSetupError> {
        let shared = &self.shared;
        let mut jobs = shared.jobs.lock();
        let mut changed = Vec::new();
        for config in configs {
            let current = jobs.get(&config.job_name).and_then(|job| job.settings.as_deref());
            if current.is_some_and(|current| *current.config == **config) {
                continue;
            }
            let connects_alike = |current: &&JobSettings| {
                let known = &current.config;
                known.http == config.http && known.disable_keepalive == config.disable_keepalive
            };
            let client = match current.filter(connects_alike) {
                Some(current) => current.client.clone(),
                None => shared.client(config)?,
            };
            changed.push(Arc::new(JobSettings::new(Arc::clone(config), client)));
        }
        let configured = |name: &Arc<str>| configs.iter().any(|config| config.job_name == *name);
        let gone: Vec<Arc<str>> = jobs
            .iter()
            .filter(|(name, job)| job.settings.is_some() && !configured(name))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        for name in gone {
            if let Some(job) = jobs.remove(&name) {
                job.loops.into_values().for_each(|target| shared.remove(&target));
            }
        }
        for settings in changed {
            let name = Arc::clone(&settings.config.job_name);
            jobs.entry(Arc::clone(&name)).or_insert_with(|| Job::new(name)).configure(settings, shared);
        }
        Ok(())
    }

    /// Bound of a body where a job has no `body_size_limit`, from the next scrapes on.
    pub fn set_max_body_bytes(&self, bytes: u64) {
        self.shared.max_body_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Takes a change of one job's targets over.
    ///
    /// A removed target's series get stale markers after two more intervals unless they are exposed again by then. A
    /// delta may arrive before its job's configuration: its targets then wait for that.
    pub fn apply(&self, delta: TargetDelta) {
        let shared = &self.shared;
        let mut jobs = shared.jobs.lock();
        let job = match jobs.entry(Arc::clone(&delta.job)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if delta.added.is_empty() => return,
            Entry::Vacant(entry) => entry.insert(Job::new(delta.job)),
        };
        job.remove(&delta.removed, shared);
        for target in delta.added {
            job.add(target, None, shared);
        }
        job.state.set_over_target_limit(delta.over_target_limit);
        job.state.set_targets(job.loops.len());
        if job.is_unused() {
            let name = Arc::clone(&job.state.name);
            jobs.remove(&name);
        }
    }

    /// Takes targets over, with what the owner before left: their first tick here is the one after their last scrape
    /// there. A target that is known stays as it is but for its settings.
    pub fn adopt(&self, targets: Vec<(Arc<ScrapeTarget>, Option<Inheritance>)>) {
        let shared = &self.shared;
        let now = shared.clock.now();
        let mut jobs = shared.jobs.lock();
        for (target, inheritance) in targets {
            let interval = i64::try_from(target.interval.as_millis()).unwrap_or(i64::MAX / 4).max(1);
            let inherited = inheritance.and_then(|message| Inherited::receive(message, interval, now));
            let name = &target.job;
            let job = jobs.entry(Arc::clone(name)).or_insert_with(|| Job::new(Arc::clone(name)));
            job.add(target, inherited, shared);
            job.state.set_targets(job.loops.len());
        }
    }

    /// Stops scraping targets that another owner scrapes from now on: no stale markers, and a scrape that is under way
    /// ends first. Each of them is sent to `done` once it has stopped, those that are not known here included.
    pub fn release(&self, job: &str, ids: &[TargetId], done: &HandoverSender) {
        let shared = &self.shared;
        let name: Arc<str> = job.into();
        let mut stopped = Vec::new();
        let mut jobs = shared.jobs.lock();
        for id in ids {
            let known = jobs.get_mut(job);
            if let Some(target) = known.and_then(|job| job.loops.remove(id)) {
                shared.handovers.lock().insert(target.id, done.clone());
                if target.step(Event::Released) == Action::HandOver {
                    stopped.push(target);
                }
                continue;
            }
            let waiting = jobs.get_mut(job).and_then(|job| job.unconfigured.remove(id));
            let (target, inherited) = waiting.unzip();
            let inheritance = inherited.flatten().map(|inherited| inherited.pass_on(shared.clock.now()));
            // Nobody waits any more when the process ends.
            let _ = done.send(HandedOver { job: Arc::clone(&name), id: *id, target, inheritance });
        }
        if let Some(job) = jobs.get(job) {
            job.state.set_targets(job.loops.len());
        }
        if jobs.get(job).is_some_and(Job::is_unused) {
            jobs.remove(job);
        }
        drop(jobs);
        if stopped.is_empty() {
            return;
        }
        let shared = Arc::clone(shared);
        self.shared.running.spawn(async move {
            for target in stopped {
                shared.hand_over(&target);
                tokio::task::yield_now().await;
            }
        });
    }

    /// Removes targets that are gone, as [`ScrapeEngine::apply`] does.
    pub fn remove(&self, job: &str, ids: &[TargetId]) {
        let mut jobs = self.shared.jobs.lock();
        let Some(known) = jobs.get_mut(job) else { return };
        known.remove(ids, &self.shared);
        known.state.set_targets(known.loops.len());
        if known.is_unused() {
            jobs.remove(job);
        }
    }

    /// Writes the stale markers of a target that is gone and was scraped elsewhere: as if it had been removed here now.
    /// False when its job is not configured; nothing is written then.
    pub fn bury(&self, target: Arc<ScrapeTarget>, inheritance: Inheritance) -> bool {
        let shared = &self.shared;
        let (state, settings) = {
            let jobs = shared.jobs.lock();
            let Some(job) = jobs.get(&target.job) else { return false };
            let Some(settings) = &job.settings else { return false };
            (Arc::clone(&job.state), Arc::clone(settings))
        };
        let plan = shared.plan(target, &settings);
        let interval = plan.schedule.interval_millis();
        let inherited = Inherited::receive(inheritance, interval, shared.clock.now());
        let number = shared.next_loop.fetch_add(1, Ordering::Relaxed);
        shared.remove(&Arc::new(TargetLoop::new(number, state, plan, inherited)));
        true
    }

    /// Lets no scrape begin until it is called with `false`; what was due meanwhile then begins at once.
    pub fn set_paused(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::Relaxed);
        self.shared.wake.notify_one();
    }

    /// When scrapes are due for longer than `limit` although nothing runs, the process stood still: the engine then pauses
    /// itself, and [`ScrapeEngine::stalled`] returns. Without a limit it goes on.
    pub fn set_stall_limit(&self, limit: Duration) {
        let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.shared.stall_limit.store(millis, Ordering::Relaxed);
    }

    /// Waits until the engine has paused itself.
    pub async fn stalled(&self) {
        self.shared.stalled.notified().await;
    }

    /// Moves the ticks of all targets; does nothing when it is the seed in force. Ticks that are already planned stay.
    pub fn set_offset_seed(&self, seed: u64) {
        let shared = &self.shared;
        let jobs = shared.jobs.lock();
        if shared.offset_seed.swap(seed, Ordering::Relaxed) == seed {
            return;
        }
        for job in jobs.values() {
            let Some(settings) = &job.settings else { continue };
            for target in job.loops.values() {
                let plan = shared.plan(Arc::clone(&target.plan.load().target), settings);
                target.plan.store(Arc::new(plan));
            }
        }
    }

    /// Jobs over their `target_limit`, whose scrapes fail; all others are not.
    pub fn set_over_target_limit(&self, over: &HashSet<Arc<str>>) {
        for (name, job) in self.shared.jobs.lock().iter() {
            job.state.set_over_target_limit(over.contains(name));
        }
    }

    /// All targets, those that wait for their job's configuration included.
    pub fn targets(&self) -> Vec<Arc<ScrapeTarget>> {
        let jobs = self.shared.jobs.lock();
        let mut targets = Vec::new();
        for job in jobs.values() {
            targets.extend(job.loops.values().map(|target| Arc::clone(&target.plan.load().target)));
            targets.extend(job.unconfigured.values().map(|(target, _)| Arc::clone(target)));
        }
        targets
    }

    /// Number of [`ScrapeEngine::targets`].
    pub fn target_count(&self) -> usize {
        self.shared.jobs.lock().values().map(|job| job.loops.len() + job.unconfigured.len()).sum()
    }

    /// What targets cost, by job.
    pub fn costs(&self) -> Vec<(Arc<str>, Vec<TargetCost>)> {
        let loops: Vec<(Arc<str>, Vec<Arc<TargetLoop>>)> = {
            let jobs = self.shared.jobs.lock();
            jobs.iter().map(|(name, job)| (Arc::clone(name), job.loops.values().cloned().collect())).collect()
        };
        let cost = |target: &Arc<TargetLoop>| target.cost();
        loops.into_iter().map(|(name, loops)| (name, loops.iter().map(cost).collect())).collect()
    }

    /// What one target costs; `None` when it is not known.
    pub fn cost(&self, job: &str, target: TargetId) -> Option<TargetCost> {
        let target = Arc::clone(self.shared.jobs.lock().get(job)?.loops.get(&target)?);
        Some(target.cost())
    }

    /// Waits until the series of some target have changed since [`ScrapeEngine::take_changed`].
    pub async fn series_changed(&self) {
        self.shared.watch_changes.store(true, Ordering::Relaxed);
        self.shared.series_changed.notified().await;
    }

    /// The targets whose series have changed since the last call, or the first of [`ScrapeEngine::series_changed`].
    pub fn take_changed(&self) -> Vec<(Arc<str>, TargetId)> {
        std::mem::take(&mut *self.shared.changed.lock()).into_iter().collect()
    }

    /// What the next owner of a target would need now; `None` when it is not known, while its scrape is under way, and
    /// before its first.
    pub fn inheritance(&self, job: &str, target: TargetId) -> Option<Inheritance> {
        let target = Arc::clone(self.shared.jobs.lock().get(job)?.loops.get(&target)?);
        target.inheritance(self.shared.clock.now())
    }

    /// Counts of all scrapes so far.
    pub fn totals(&self) -> ScrapeTotals {
        self.shared.metrics.totals()
    }

    /// The last scrape of a target; `None` when the engine does not know it.
    pub fn status(&self, job: &str, target: TargetId) -> Option<TargetStatus> {
        let target = Arc::clone(self.shared.jobs.lock().get(job)?.loops.get(&target)?);
        let status = target.status.lock().clone();
        Some(status)
    }

    /// The last scrapes of all targets of a job.
    pub fn job_status(&self, job: &str) -> HashMap<TargetId, TargetStatus> {
        let jobs = self.shared.jobs.lock();
        let Some(job) = jobs.get(job) else { return HashMap::new() };
        job.loops.iter().map(|(id, target)| (*id, target.status.lock().clone())).collect()
    }

    /// Samples handed over so far, stale markers and reports included.
    pub fn samples_scraped(&self) -> u64 {
        self.shared.metrics.samples.get()
    }

    /// Scrapes until `stop` is cancelled. Scrapes under way may then finish within the drain deadline; no stale
    /// markers are written, since the targets are still there, but those that wait for series of removed targets.
    pub async fn run(&self, stop: CancellationToken) {
        let shared = &self.shared;
        let log_stop = CancellationToken::new();
        let log =
            self.failure_log_writer.lock().take().map(|writer| tokio::spawn(writer.run(log_stop.clone())));
        loop {
            let next = shared.fire_due();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = shared.wake.notified() => {}
                () = sleep_until(next) => {}
            }
            shared.notice_stall(next);
        }
        shared.running.close();
        if tokio::time::timeout(shared.drain_deadline, shared.running.wait()).await.is_err() {
            shared.abort.cancel();
            shared.running.wait().await;
        }
        shared.end_runs();
        log_stop.cancel();
        if let Some(log) = log
            && let Err(error) = log.await
        {
            tracing::error!(%error, "the failure log ended badly");
        }
    }
}

async fn sleep_until(next: Option<Instant>) {
    match next {
        Some(next) => tokio::time::sleep_until(next).await,
        None => std::future::pending().await,
    }
}

impl Job {
    fn new(name: Arc<str>) -> Self {
        Self {
            state: Arc::new(JobState::new(name)),
            settings: None,
            unconfigured: HashMap::new(),
            loops: HashMap::new(),
        }
    }

    fn configure(&mut self, settings: Arc<JobSettings>, shared: &Arc<Shared>) {
        let old = self.settings.replace(Arc::clone(&settings));
        let reusable = old.is_some_and(|old| cache_is_reusable(&old.config, &settings.config));
        for (id, target) in std::mem::take(&mut self.loops) {
            let plan = target.plan.load();
            if reusable {
                target.plan.store(Arc::new(shared.plan(Arc::clone(&plan.target), &settings)));
                self.loops.insert(id, target);
            } else {
                shared.remove(&target);
                self.start(Arc::clone(&plan.target), None, shared);
            }
        }
        for (target, inherited) in std::mem::take(&mut self.unconfigured).into_values() {
            self.start(target, inherited, shared);
        }
        self.state.set_targets(self.loops.len());
    }

    /// Whether nothing is known of the job.
    fn is_unused(&self) -> bool {
        self.settings.is_none() && self.unconfigured.is_empty()
    }

    fn remove(&mut self, ids: &[TargetId], shared: &Arc<Shared>) {
        for id in ids {
            self.unconfigured.remove(id);
            if let Some(target) = self.loops.remove(id) {
                shared.remove(&target);
            }
        }
    }

    fn add(&mut self, target: Arc<ScrapeTarget>, inherited: Option<Inherited>, shared: &Arc<Shared>) {
        let Some(settings) = &self.settings else {
            let kept = self.unconfigured.remove(&target.id).and_then(|(_, inherited)| inherited);
            self.unconfigured.insert(target.id, (target, inherited.or(kept)));
            return;
        };
        match self.loops.get(&target.id) {
            Some(known) => {
                let plan = shared.plan(target, settings);
                known.plan.store(Arc::new(plan));
            }
            None => self.start(target, inherited, shared),
        }
    }

    fn start(&mut self, target: Arc<ScrapeTarget>, inherited: Option<Inherited>, shared: &Arc<Shared>) {
        let Some(settings) = &self.settings else { return };
        let id = target.id;
        let plan = shared.plan(target, settings);
        let number = shared.next_loop.fetch_add(1, Ordering::Relaxed);
        let now = shared.clock.now();
        let (tick, lost) = match &inherited {
            Some(inherited) => inherited.first_tick(&plan.schedule, now),
            None => (plan.schedule.tick_from(now), 0),
        };
        shared.metrics.skipped_ticks.add(lost);
        tracing::trace!(url = plan.target.url, now = now.millis(), tick = tick.millis(), lost, inherited = ?inherited.as_ref().map(Inherited::last), "target begins");
        let target = Arc::new(TargetLoop::new(number, Arc::clone(&self.state), plan, inherited));
        shared.schedule_scrape(Arc::clone(&target), tick);
        self.loops.insert(id, target);
    }
}

impl Shared {
    fn client(&self, config: &ScrapeConfig) -> Result<HttpClient, JobSetupError> {
        let options = ClientOptions {
            clock: Arc::clone(&self.clock),
            // HTTP/2 knows no request that ends its connection.
            offer_http2: !config.disable_keepalive,
            ..ClientOptions::for_scrapes(format!("scrape/{}", config.job_name), self.user_agent.clone())
        };
        HttpClient::new(&config.http, options, self.resolver.clone())
            .map_err(|source| JobSetupError { job: Arc::clone(&config.job_name), source })
    }

    fn plan(&self, target: Arc<ScrapeTarget>, settings: &Arc<JobSettings>) -> Plan {
        let phase = settings.config.phase;
        let seed = self.offset_seed.load(Ordering::Relaxed);
        let schedule = Schedule::with_phase(phase, target.id, seed, target.interval);
        Plan { target, settings: Arc::clone(settings), schedule }
    }

    /// Other series than before are there.
    pub(crate) fn note_change(&self, target: &TargetLoop) {
        target.series_changes.fetch_add(1, Ordering::Relaxed);
        if self.watch_changes.load(Ordering::Relaxed) {
            let id = target.plan.load().target.id;
            self.changed.lock().insert((Arc::clone(&target.job.name), id));
            self.series_changed.notify_one();
        }
    }

    /// What was due at `due` is looked at only now.
    fn notice_stall(&self, due: Option<Instant>) {
        let limit = Duration::from_millis(self.stall_limit.load(Ordering::Relaxed));
        if !limit.is_zero() && due.is_some_and(|due| Instant::now().duration_since(due) > limit) {
            self.paused.store(true, Ordering::Relaxed);
            self.stalled.notify_one();
        }
    }

    /// Starts what is due; returns when to look again.
    fn fire_due(self: &Arc<Self>) -> Option<Instant> {
        if self.paused.load(Ordering::Relaxed) {
            return None;
        }
        let now = Instant::now();
        loop {
            let timer = {
                let mut timers = self.timers.lock();
                match timers.heap.peek() {
                    Some(Reverse(next)) if next.at > now => return Some(next.at),
                    Some(_) => timers.heap.pop()?.0,
                    None => return None,
                }
            };
            match timer.task {
                TimerTask::Scrape { target, tick } => {
                    if target.step(Event::Due) == Action::Scrape {
                        let turn = Turn { shared: Arc::clone(self), target, tick, scraped: OnceLock::new() };
                        // Boxed: a connection that waits for the next scrape keeps the task of the last one, through
                        // its waker, but not what that task has dropped.
                        self.running.spawn(Box::pin(turn::run(turn)));
                    }
                }
                TimerTask::EndOfRun { target, stale_at } => turn::end_of_run(self, &target, stale_at),
            }
        }
    }

    /// Writes the stale markers that wait for their time, since nobody would later: those of series that no target which
    /// is still there has.
    fn end_runs(&self) {
        if self.pending_stale.len() > 0 {
            let jobs = self.jobs.lock();
            for target in jobs.values().flat_map(|job| job.loops.values()) {
                target.claim_live(&self.pending_stale);
            }
        }
        let timers = std::mem::take(&mut self.timers.lock().heap);
        for Reverse(timer) in timers {
            if let TimerTask::EndOfRun { target, stale_at } = timer.task {
                turn::end_of_run(self, &target, stale_at);
            }
        }
    }

    fn schedule_scrape(&self, target: Arc<TargetLoop>, tick: Timestamp) {
        let at = self.instant_of(tick);
        self.push_timer(at, TimerTask::Scrape { target, tick });
    }

    fn instant_of(&self, time: Timestamp) -> Instant {
        let wait = u64::try_from(time.since(self.clock.now())).unwrap_or(0);
        Instant::now() + Duration::from_millis(wait)
    }

    fn push_timer(&self, at: Instant, task: TimerTask) {
        let mut timers = self.timers.lock();
        let sequence = timers.sequence;
        timers.sequence += 1;
        let is_first = timers.heap.peek().is_none_or(|Reverse(first)| at < first.at);
        timers.heap.push(Reverse(Timer { at, sequence, task }));
        drop(timers);
        if is_first {
            self.wake.notify_one();
        }
    }

    /// Removes a target: no further scrape begins, and its series wait for stale markers from now on.
    fn remove(&self, target: &Arc<TargetLoop>) {
        if target.step(Event::Removed) != Action::Retire {
            return;
        }
        if !target.leave(&self.pending_stale) {
            return;
        }
        let schedule = target.plan.load().schedule;
        let missed = schedule.tick_after(self.clock.now());
        let interval = schedule.interval_millis();
        let at = self.instant_of(missed.plus_millis(interval + interval / 10));
        self.push_timer(at, TimerTask::EndOfRun { target: Arc::clone(target), stale_at: missed });
    }

    /// Gives a target that is no longer scraped here to whoever waits for it.
    fn hand_over(&self, target: &Arc<TargetLoop>) {
        let inheritance = target.hand_over(self);
        let Some(done) = self.handovers.lock().remove(&target.id) else { return };
        let known = Arc::clone(&target.plan.load().target);
        let (job, id) = (Arc::clone(&target.job.name), known.id);
        // Nobody waits any more when the process ends.
        let _ = done.send(HandedOver { job, id, target: Some(known), inheritance });
    }

    /// After a scrape: plans the next one.
    fn finish(&self, target: &Arc<TargetLoop>, tick: Timestamp, scraped: Timestamp) {
        match target.step(Event::Finished) {
            Action::Rearm => {}
            Action::HandOver => return self.hand_over(target),
            _ => return,
        }
        let schedule = target.plan.load().schedule;
        let next = schedule.next(tick, scraped, self.clock.now());
        let skipped = next.since(tick) / schedule.interval_millis() - 1;
        self.metrics.skipped_ticks.add(u64::try_from(skipped).unwrap_or(0));
        self.schedule_scrape(Arc::clone(target), next);
    }
}

/// The right to scrape a target now. Dropping it, also by a panic, plans the next scrape.
pub(crate) struct Turn {
    pub(crate) shared: Arc<Shared>,
    pub(crate) target: Arc<TargetLoop>,
    pub(crate) tick: Timestamp,
    /// The timestamp of the scrape, once it is known.
    pub(crate) scraped: OnceLock<Timestamp>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let scraped = self.scraped.get().copied().unwrap_or(self.tick);
        self.shared.finish(&self.target, self.tick, scraped);
    }
}

fn register_collector(registry: &Registry, shared: &Arc<Shared>) {
    let shared = Arc::downgrade(shared);
    registry.collector(move |exposition| {
        let Some(shared) = shared.upgrade() else { return };
        let mut jobs: Vec<(Arc<str>, usize)> =
            shared.jobs.lock().iter().map(|(name, job)| (Arc::clone(name), job.loops.len())).collect();
        jobs.sort();
        let mut family = exposition.family("outrigger_scrape_targets", "Targets by job.", MetricKind::Gauge);
        for (job, targets) in jobs {
            family.sample(&[("job", &job)], targets as f64);
        }
        let metrics = &shared.metrics;
        for (name, help, value) in [
            (
                "outrigger_scrape_cache_bytes",
                "Memory of what is remembered about the series of all targets.",
                metrics.cache_bytes.load(Ordering::Relaxed) as f64,
            ),
            (
                "outrigger_scrape_cache_series",
                "Series that are remembered.",
                metrics.cache_series.load(Ordering::Relaxed) as f64,
            ),
            (
                "outrigger_scrape_pending_stale_series",
                "Series of removed targets that wait for their stale marker.",
                shared.pending_stale.len() as f64,
            ),
            (
                "outrigger_scrape_body_budget_used_bytes",
                "Memory that large bodies take of their common budget.",
                shared.body_budget.used() as f64,
            ),
        ] {
            exposition.family(name, help, MetricKind::Gauge).sample(&[], value);
        }
    });
}

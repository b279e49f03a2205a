//! The scrape engine: all targets of all jobs, each scraped on its own tick.
//!
//! Targets that wait are entries of one heap that one task looks after; a task exists only while a scrape runs. So
//! 30,000 targets cost their caches and little else. Running scrapes are not limited in number: a limit would let
//! targets that hang take the places of those that answer. Their memory is limited instead ([`super::body`]): bodies are
//! read piece by piece.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
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
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::BodyBudget;
use super::failure_log::{FailureLog, FailureLogWriter, failure_log};
use super::job::{JobSettings, JobState, cache_is_reusable};
use super::metrics::EngineMetrics;
use super::pending_stale::PendingStale;
use super::schedule::Schedule;
use super::status::TargetStatus;
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
    offset_seed: u64,
    drain_deadline: Duration,
    jobs: Mutex<HashMap<Arc<str>, Job>>,
    timers: Mutex<Timers>,
    wake: Notify,
    running: TaskTracker,
    next_loop: AtomicU64,
}

struct Job {
    state: Arc<JobState>,
    /// `None` while targets of a job are known whose configuration is not (yet).
    settings: Option<Arc<JobSettings>>,
    /// Targets that wait for the settings.
    unconfigured: HashMap<TargetId, Arc<ScrapeTarget>>,
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
            offset_seed: options.offset_seed,
            drain_deadline: options.drain_deadline,
            jobs: Mutex::default(),
            timers: Mutex::default(),
            wake: Notify::new(),
            running: TaskTracker::new(),
            next_loop: AtomicU64::new(1),
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
        for id in &delta.removed {
            job.unconfigured.remove(id);
            if let Some(target) = job.loops.remove(id) {
                shared.remove(&target);
            }
        }
        for target in delta.added {
            job.add(target, shared);
        }
        job.state.set_over_target_limit(delta.over_target_limit);
        job.state.set_targets(job.loops.len());
        if job.settings.is_none() && job.unconfigured.is_empty() {
            let name = Arc::clone(&job.state.name);
            jobs.remove(&name);
        }
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
    /// markers are written, since the targets are still there.
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
        }
        shared.running.close();
        if tokio::time::timeout(shared.drain_deadline, shared.running.wait()).await.is_err() {
            shared.abort.cancel();
            shared.running.wait().await;
        }
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
                self.start(Arc::clone(&plan.target), shared);
            }
        }
        for target in std::mem::take(&mut self.unconfigured).into_values() {
            self.start(target, shared);
        }
        self.state.set_targets(self.loops.len());
    }

    fn add(&mut self, target: Arc<ScrapeTarget>, shared: &Arc<Shared>) {
        let Some(settings) = &self.settings else {
            self.unconfigured.insert(target.id, target);
            return;
        };
        match self.loops.get(&target.id) {
            Some(known) => {
                let plan = shared.plan(target, settings);
                known.plan.store(Arc::new(plan));
            }
            None => self.start(target, shared),
        }
    }

    fn start(&mut self, target: Arc<ScrapeTarget>, shared: &Arc<Shared>) {
        let Some(settings) = &self.settings else { return };
        let id = target.id;
        let plan = shared.plan(target, settings);
        let number = shared.next_loop.fetch_add(1, Ordering::Relaxed);
        let target = Arc::new(TargetLoop::new(number, Arc::clone(&self.state), plan));
        let tick = target.first_tick(shared.clock.now());
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
        let schedule = Schedule::with_phase(phase, target.id, self.offset_seed, target.interval);
        Plan { target, settings: Arc::clone(settings), schedule }
    }

    /// Starts what is due; returns when to look again.
    fn fire_due(self: &Arc<Self>) -> Option<Instant> {
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

    /// After a scrape: plans the next one.
    fn finish(&self, target: &Arc<TargetLoop>, tick: Timestamp, scraped: Timestamp) {
        if target.step(Event::Finished) != Action::Rearm {
            return;
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

//! Streams, timers and files of a worker: does what [`Session`] says.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use outrigger_config::prometheus::Config;
use outrigger_model::fault;
use outrigger_model::sample::Timestamp;
use outrigger_model::target::{ScrapeTarget, TargetId};
use outrigger_rt::grpc::{DuplexReceiver, GrpcError};
use outrigger_rt::log_limit::LogLimit;
use outrigger_storage::sealed::SealedFileError;
use outrigger_wire::centre::{
    Applied, Assign, Configuration, FromMaster, FromWorker, Heartbeat, Hello, Inheritance, Jobs, Leaving,
    PROTOCOL_MAX, PROTOCOL_MIN, Release, ReleasedTarget, Remove, SelfMetrics, TargetIds, WORK_PATH, Welcome,
    WorkerStatus, from_worker,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::{Backoff, random_number};
use super::configuration::ReceivedConfiguration;
use super::costs::CostReporter;
use super::handovers::{self, Handovers, Next};
use super::lateness::Lateness;
use super::metrics::WorkerMetrics;
use super::remembered::{Knowledge, LastScrape, Remembered};
use super::session::{Effect, Event, Millis, Session};
use super::view::{JoinedMaster, WorkerView};
use super::{BuildWorkerError, Channels, WorkerOptions, usage};
use crate::remote_write::QueueBounds;
use crate::scrape::{HandedOver, HandoverSender, ScrapeEngine};

/// Costs are looked at so often.
const COSTS_PERIOD: Duration = Duration::from_secs(5);
/// Series that have changed are told so soon: what changes before that and this worker's death, its heirs do not know.
const SETS_PERIOD: Duration = Duration::from_millis(100);
/// A worker that leaves is not asked for targets for so long: there is nobody to take them.
const LEAVING_PATIENCE: Duration = Duration::from_secs(3);
/// The worker's own metrics are sent so often.
const SELF_METRICS_PERIOD: Duration = Duration::from_secs(15);
/// What has changed is on disk after so long, or a little later where writing takes long.
const SAVE_PERIOD: Duration = Duration::from_secs(2);
/// Writing may take one part in so many of the time.
const SAVE_SHARE: u32 = 20;
/// Series of the last scrapes are on disk so often, or less where writing takes long.
const SAVE_SERIES_PERIOD: Duration = Duration::from_secs(10);
/// Writing them may take one part in so many of the time.
const SAVE_SERIES_SHARE: u32 = 100;
/// Scrapes from the disk's assignment wait so long for a master that knows better.
const FIRST_WORD: Duration = Duration::from_secs(1);
/// And so long for what it says after its first answer.
const FIRST_ORDERS: Duration = Duration::from_millis(150);
/// With more messages waiting, those that can be left out are.
const BUSY_OUTBOX: usize = 32;
/// A worker whose name another living process has for so long does not go on with what is on its disk: its files are a
/// copy of the other's.
const NAME_TAKEN: Duration = Duration::from_secs(60);
/// Clocks that are further apart than this are worth a line in the log.
const CLOCK_OFFSET_MILLIS: u64 = 2_000;
/// A master has so long to hear a worker's last words.
const FAREWELL: Duration = Duration::from_secs(1);
/// Most bytes of series in them.
const FAREWELL_SERIES_BYTES: usize = 32 << 20;
/// Longest error in a message.
const MAX_ERROR_BYTES: usize = 4_096;

type Opening = BoxFuture<'static, Result<Stream, String>>;

struct Stream {
    sender: mpsc::Sender<FromWorker>,
    receiver: DuplexReceiver<FromMaster>,
}

/// A worker's task.
pub(super) struct Driver {
    options: WorkerOptions,
    instance: u64,
    view: Arc<Mutex<WorkerView>>,
    metrics: WorkerMetrics,
    log: LogLimit,
    began: Instant,
    session: Session,
    channels: Channels,
    opening: Option<Opening>,
    stream: Option<Stream>,
    outbox: VecDeque<FromWorker>,
    /// The last heartbeat of the stream.
    beat: u64,
    handovers: Handovers,
    handed_over: (HandoverSender, mpsc::UnboundedReceiver<HandedOver>),
    costs: CostReporter,
    /// Master and epoch that the costs were told.
    told: Option<(String, u64)>,
    lateness: Lateness,
    usage: usage::Usage,
    received: ReceivedConfiguration,
    in_force: ReceivedConfiguration,
    over_target_limit: HashSet<Arc<str>>,
    offset_seed: Option<u64>,
    remembered: Option<Arc<Remembered>>,
    saving: Saving,
    /// Scrapes wait for a master that may have given the targets to others meanwhile.
    first_word: Option<FirstWord>,
    /// Since when another process has this worker's name.
    name_taken: Option<Instant>,
    next_costs: Instant,
    /// When series that have changed are told, if any have.
    next_sets: Option<Instant>,
    next_self_metrics: Instant,
    leaving: bool,
    /// When the master last asked for targets, or was told of some, or heard that the worker leaves.
    last_release: Instant,
}

/// How long a master's word is waited for: until a time, or until none of them can be reached.
struct FirstWord {
    until: Instant,
    /// [`Session::failed_dials`] when the wait began.
    failed_dials: usize,
}

/// When what is known is written.
struct Saving {
    dirty: bool,
    not_before: Instant,
    running: Option<JoinHandle<(Duration, Result<(), SealedFileError>)>>,
    next_series: Instant,
    running_series: Option<JoinHandle<Duration>>,
}

/// What woke the task.
enum Woken {
    Stopped,
    Session(Event),
    Opened(Result<Stream, String>),
    Handed(HandedOver),
    Stalled,
    SeriesChanged,
    Round,
    Saved(Duration, Result<(), SealedFileError>),
}

impl Driver {
    pub(super) fn new(options: WorkerOptions) -> Result<Self, BuildWorkerError> {
        let mut channels = Channels {
            client: options.client.clone(),
            user_agent: options.user_agent.clone(),
            clock: Arc::clone(&options.clock),
            resolver: options.resolver.clone(),
            by_url: HashMap::new(),
        };
        if options.masters.is_empty() {
            return Err(BuildWorkerError::NoMaster);
        }
        for url in &options.masters {
            channels.to(url).map_err(|source| BuildWorkerError::Master { url: url.clone(), source })?;
        }
        let instance = random_number();
        let view = Arc::new(Mutex::new(WorkerView {
            name: options.name.clone(),
            instance,
            zone: options.zone.clone(),
            from_disk: true,
            ..WorkerView::default()
        }));
        let metrics = WorkerMetrics::new(&options.registry, &view, Arc::clone(&options.clock));
        let remembered = match &options.data_dir {
            None => None,
            Some(directory) => {
                std::fs::create_dir_all(directory).map_err(|source| BuildWorkerError::DataDirectory {
                    directory: directory.clone(),
                    source,
                })?;
                let errors = metrics.file_errors.clone();
                Some(Arc::new(Remembered::new(&options.name, directory, options.key.clone(), errors)))
            }
        };
        let knowledge = remembered.as_ref().and_then(|remembered| remembered.load());
        let epoch = knowledge.as_ref().map_or(0, |knowledge| knowledge.epoch);
        let now = Instant::now();
        let mut driver = Self {
            instance,
            view,
            metrics,
            log: LogLimit::new(options.log_period),
            began: now,
            session: Session::new(options.masters.clone(), epoch, Backoff::from_process()),
            channels,
            opening: None,
            stream: None,
            outbox: VecDeque::new(),
            beat: 0,
            handovers: Handovers::default(),
            handed_over: mpsc::unbounded_channel(),
            costs: CostReporter::default(),
            told: None,
            lateness: Lateness::default(),
            usage: usage::Usage::default(),
            received: ReceivedConfiguration::default(),
            in_force: ReceivedConfiguration::default(),
            over_target_limit: HashSet::new(),
            offset_seed: None,
            remembered,
            saving: Saving {
                dirty: false,
                not_before: now,
                running: None,
                next_series: now + SAVE_SERIES_PERIOD,
                running_series: None,
            },
            first_word: None,
            name_taken: None,
            next_costs: now,
            next_sets: None,
            next_self_metrics: now,
            leaving: false,
            last_release: now,
            options,
        };
        if let Some(knowledge) = knowledge {
            driver.recall(knowledge);
        }
        driver.show();
        Ok(driver)
    }

    pub(super) fn view(&self) -> Arc<Mutex<WorkerView>> {
        Arc::clone(&self.view)
    }

    /// Goes on with what the process before knew.
    fn recall(&mut self, knowledge: Knowledge) {
        let engine = &self.options.engine;
        if let Some(seed) = knowledge.offset_seed {
            engine.set_offset_seed(seed);
            self.offset_seed = Some(seed);
        }
        let mut candidates = vec![&knowledge.received];
        if knowledge.in_force != knowledge.received {
            candidates.push(&knowledge.in_force);
        }
        for candidate in candidates {
            match candidate.load().and_then(|config| self.put_in_force(&config)) {
                Ok(()) => {
                    self.in_force = candidate.clone();
                    break;
                }
                Err(error) => self.refuse(candidate.revision, error),
            }
        }
        let heard = (knowledge.heard_millis != 0).then(|| Timestamp::from_millis(knowledge.heard_millis));
        self.view.lock().heard = heard;
        self.received = knowledge.received;
        self.over_target_limit = knowledge.over_target_limit.iter().map(|job| job.as_str().into()).collect();
        if knowledge.targets.is_empty() {
            return;
        }
        let series = self.remembered.as_ref().map(|remembered| remembered.take_series()).unwrap_or_default();
        let mut series: HashMap<(String, u64), _> =
            series.into_iter().map(|last| ((last.job, last.id), last.inheritance)).collect();
        let now = self.options.clock.now();
        let targets = knowledge.targets.into_iter().map(|target| {
            let inheritance = series.remove(&(target.job.to_string(), target.id.0)).map(|mut left| {
                if left.last_scrape_millis != 0 {
                    let age = now.since(Timestamp::from_millis(left.last_scrape_millis));
                    left.last_scrape_age_millis = u64::try_from(age).unwrap_or(0);
                }
                left
            });
            (target, inheritance)
        });
        // A master that has given them to others meanwhile may say so first.
        self.options.engine.adopt(targets.collect());
        self.await_first_word();
        self.options.engine.set_over_target_limit(&self.over_target_limit);
        let age_seconds = heard.map_or(0, |heard| now.since(heard) / 1_000);
        let targets = self.options.engine.target_count();
        tracing::info!(targets, age_seconds, "scraping goes on with the assignment on disk");
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let engine_stop = CancellationToken::new();
        // Also when this task is given up.
        let _stops = engine_stop.clone().drop_guard();
        let engine = tokio::spawn({
            let (engine, stop) = (self.options.engine.clone(), engine_stop.clone());
            async move { engine.run(stop).await }
        });
        if self.first_word.is_some() {
            self.await_first_word();
        }
        let mut ended = false;
        while !ended {
            let event = match self.wait(&stop).await {
                Woken::Stopped => {
                    self.leaving = true;
                    tracing::info!(targets = self.options.engine.target_count(), "leaving the fleet");
                    Some(Event::Stop { grace: self.options.leave_grace })
                }
                Woken::Session(event) => Some(event),
                Woken::Opened(opened) => {
                    self.opening = None;
                    match opened {
                        Ok(stream) => {
                            self.stream = Some(stream);
                            Some(Event::Opened)
                        }
                        Err(reason) => Some(Event::Broke(reason)),
                    }
                }
                Woken::Handed(handed) => {
                    self.hand_over(handed);
                    None
                }
                Woken::Round => None,
                Woken::Stalled => Some(self.stalled()),
                Woken::SeriesChanged => {
                    self.next_sets = Some(Instant::now() + SETS_PERIOD);
                    None
                }
                Woken::Saved(took, result) => {
                    self.saved(took, result);
                    None
                }
            };
            if let Some(event) = event {
                ended |= self.step(event).await;
            }
            self.round();
            if self.leaving && !ended && self.has_nothing_left() {
                ended |= self.step(Event::Empty).await;
            }
            self.show();
        }
        self.opening = None;
        self.resume();
        engine_stop.cancel();
        if let Err(error) = engine.await {
            tracing::error!(%error, "the scrape engine ended badly");
        }
        self.bid_farewell().await;
        self.save_at_the_end().await;
        self.hang_up().await;
    }

    /// Tells the master about targets that nobody has taken over, so that their next owner misses no tick: they are
    /// given elsewhere, or back to the next process of this name.
    async fn bid_farewell(&mut self) {
        let joined = self.view.lock().master.is_some();
        let Some(stream) = self.stream.as_ref().filter(|_| joined) else { return };
        let mut room = FAREWELL_SERIES_BYTES;
        let left = last_scrapes(&self.options.engine).map(|mut last| {
            match room.checked_sub(last.inheritance.series.len()) {
                Some(rest) => room = rest,
                None => last.inheritance.series = Vec::new(),
            }
            ReleasedTarget { job: last.job, id: last.id, inheritance: Some(last.inheritance) }
        });
        let mut messages: Vec<FromWorker> = std::mem::take(&mut self.outbox).into();
        let farewell = handovers::messages(left.map(|target| (0, target)));
        messages.extend(
            farewell
                .into_iter()
                .map(|released| FromWorker { kind: Some(from_worker::Kind::Released(released)) }),
        );
        let sending = async {
            for message in messages {
                if stream.sender.send(message).await.is_err() {
                    break;
                }
            }
        };
        if tokio::time::timeout(FAREWELL, sending).await.is_err() {
            tracing::warn!("the master does not listen: it is not told about the last scrapes");
        }
    }

    /// Ends the stream once the master has heard everything.
    async fn hang_up(&mut self) {
        let Some(Stream { sender, mut receiver }) = self.stream.take() else { return };
        drop(sender);
        let rest = async { while let Ok(Some(_)) = receiver.next().await {} };
        // One that does not hang up, too, is left alone.
        let _ = tokio::time::timeout(FAREWELL, rest).await;
    }

    /// Waits for the next thing to happen.
    async fn wait(&mut self, stop: &CancellationToken) -> Woken {
        let due = self.session.wake_at().map(|at| self.began + Duration::from_millis(at));
        let round = self.next_round();
        let has_mail = !self.outbox.is_empty();
        let (sender, receiver) = match &mut self.stream {
            Some(stream) => (Some(&stream.sender), Some(&mut stream.receiver)),
            None => (None, None),
        };
        tokio::select! {
            biased;
            () = stop.cancelled(), if !self.leaving => Woken::Stopped,
            () = self.options.engine.stalled() => Woken::Stalled,
            () = self.options.engine.series_changed(), if self.next_sets.is_none() => Woken::SeriesChanged,
            Some(handed) = self.handed_over.1.recv() => Woken::Handed(handed),
            permit = reserve(sender), if has_mail => {
                match (permit, self.outbox.pop_front()) {
                    (Some(permit), Some(message)) => permit.send(message),
                    // The stream has ended; its receiver says why.
                    (None, Some(_)) => self.outbox.clear(),
                    _ => {}
                }
                Woken::Round
            }
            opened = opened(&mut self.opening) => Woken::Opened(opened),
            heard = next(receiver) => Woken::Session(match heard {
                Ok(Some(message)) => Event::Heard(message),
                Ok(None) => Event::Broke("the master has ended the stream".to_owned()),
                Err(error) => Event::Broke(fault::chain(&error)),
            }),
            saved = finished(&mut self.saving.running) => {
                self.saving.running = None;
                match saved {
                    Ok((took, result)) => Woken::Saved(took, result),
                    Err(_) => Woken::Round,
                }
            }
            saved = finished(&mut self.saving.running_series) => {
                self.saving.running_series = None;
                let pause = SAVE_SERIES_PERIOD.max(saved.unwrap_or_default() * SAVE_SERIES_SHARE);
                self.saving.next_series = Instant::now() + pause;
                Woken::Round
            }
            () = sleep_until(due) => Woken::Session(Event::Due),
            () = tokio::time::sleep_until(round) => Woken::Round,
        }
    }

    fn now(&self) -> Millis {
        Millis::try_from(self.began.elapsed().as_millis()).unwrap_or(Millis::MAX)
    }

    /// True at the end.
    async fn step(&mut self, event: Event) -> bool {
        if let Event::Heard(_) = event
            && self.view.lock().master.is_some()
        {
            self.view.lock().heard = Some(self.options.clock.now());
        }
        for effect in self.session.step(self.now(), event) {
            match effect {
                Effect::Dial(address) => self.dial(&address),
                Effect::Close => {
                    (self.opening, self.stream) = (None, None);
                    self.outbox.clear();
                }
                Effect::Greet => self.greet(),
                Effect::Beat { sequence } => self.send_heartbeat(sequence),
                Effect::Join(welcome) => self.join(welcome),
                Effect::Part => {
                    self.handovers.part();
                    self.view.lock().master = None;
                }
                Effect::Configure(configuration) => self.configure(configuration).await,
                Effect::Adopt(assign) => self.adopt(assign),
                Effect::Release(release) => self.release(release),
                Effect::Remove(remove) => self.remove(remove),
                Effect::Note(jobs) => self.note(jobs),
                Effect::Heard { sequence } => {
                    self.handovers.confirm(sequence);
                    self.compare_clocks();
                    if let Some(wait) = &mut self.first_word {
                        wait.until = wait.until.min(Instant::now() + FIRST_ORDERS);
                    }
                }
                Effect::Leave { grace } => {
                    self.last_release = Instant::now();
                    let grace_millis = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                    self.send(from_worker::Kind::Leaving(Leaving { grace_millis }));
                }
                Effect::NameTaken => self.name_taken(),
                Effect::Warn(warning) => self.warn(&warning.to_string()),
                Effect::End => return true,
            }
        }
        if let Some(wait) = &mut self.first_word
            && self.session.failed_dials() >= wait.failed_dials + self.options.masters.len()
        {
            wait.until = Instant::now();
        }
        false
    }

    fn warn(&self, warning: &str) {
        self.view.lock().last_error = Some((self.options.clock.now(), warning.to_owned()));
        if let Some(suppressed) = self.log.permit(warning) {
            tracing::warn!(suppressed, "config centre: {warning}");
        }
    }

    /// Two processes with the files of one would scrape the same targets.
    fn name_taken(&mut self) {
        let now = Instant::now();
        let since = *self.name_taken.get_or_insert(now);
        let from_disk = self.view.lock().from_disk;
        if from_disk && now.duration_since(since) >= NAME_TAKEN {
            tracing::error!(
                worker = self.options.name,
                "another living process has this name: nothing is scraped until a master takes this one (give each \
                 worker a name and a data directory of its own)"
            );
            self.first_word = None;
            self.options.engine.set_paused(true);
        }
    }

    fn compare_clocks(&self) {
        let Some(offset) =
            self.session.clock_offset().filter(|offset| offset.unsigned_abs() > CLOCK_OFFSET_MILLIS)
        else {
            return;
        };
        if let Some(suppressed) = self.log.permit("clock") {
            tracing::warn!(
                suppressed,
                seconds = offset as f64 / 1_000.0,
                "the master's clock is ahead of this one's by so much (negative: behind): samples carry this one's time"
            );
        }
    }

    fn dial(&mut self, address: &str) {
        let channel = self.channels.to(address);
        self.opening = Some(
            async move {
                let channel = channel.map_err(|error| fault::chain(&error))?;
                let opened = channel.duplex(WORK_PATH).await;
                let (sender, receiver) = opened.map_err(|error| fault::chain(&error))?;
                Ok(Stream { sender, receiver })
            }
            .boxed(),
        );
    }

    fn send(&mut self, kind: from_worker::Kind) {
        self.outbox.push_back(FromWorker { kind: Some(kind) });
    }

    fn greet(&mut self) {
        self.outbox.clear();
        self.beat = 0;
        let options = &self.options;
        let hello = Hello {
            worker: options.name.clone(),
            instance: self.instance,
            version: options.version.clone(),
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            zone: options.zone.clone(),
            weight: options.weight,
            advertise: options.advertise.clone(),
            epoch: self.session.epoch(),
            configuration_revision: self.received.revision,
            held: self.held(),
            from_disk: self.view.lock().from_disk,
            now_millis: options.clock.now().millis(),
        };
        self.send(from_worker::Kind::Hello(hello));
        for released in self.handovers.tell_again(self.now()) {
            self.send(from_worker::Kind::Released(released));
        }
    }

    /// What is scraped here, what will be again after a hand-over that was broken off included.
    fn held(&self) -> Vec<TargetIds> {
        let mut by_job: HashMap<String, Vec<u64>> = HashMap::new();
        for target in self.options.engine.targets() {
            by_job.entry(target.job.to_string()).or_default().push(target.id.0);
        }
        for (job, id) in self.handovers.held() {
            by_job.entry(job.to_string()).or_default().push(id.0);
        }
        by_job.into_iter().map(|(job, ids)| TargetIds { job, ids }).collect()
    }

    fn join(&mut self, welcome: Welcome) {
        self.metrics.sessions.inc();
        if self.name_taken.take().is_some() && self.first_word.is_none() {
            self.options.engine.set_paused(false);
        }
        if self.offset_seed != Some(welcome.offset_seed) {
            self.options.engine.set_offset_seed(welcome.offset_seed);
            self.offset_seed = Some(welcome.offset_seed);
        }
        self.options.engine.set_stall_limit(Duration::from_millis(welcome.lease_millis));
        let told = (welcome.master.clone(), welcome.epoch);
        if self.told.as_ref() != Some(&told) {
            self.costs.forget();
            self.told = Some(told);
        }
        let now = Instant::now();
        (self.next_costs, self.next_self_metrics) = (now, now);
        let address = self.session.master().unwrap_or_default().to_owned();
        tracing::info!(master = welcome.master, address, epoch = welcome.epoch, "joined the fleet");
        let clock_now = self.options.clock.now();
        let mut view = self.view.lock();
        view.heard = Some(clock_now);
        view.from_disk = false;
        view.master = Some(JoinedMaster {
            address,
            name: welcome.master,
            version: welcome.version,
            epoch: welcome.epoch,
            since: clock_now,
        });
        self.saving.dirty = true;
    }

    async fn configure(&mut self, message: Configuration) {
        self.received.merge(message);
        self.saving.dirty = true;
        if self.in_force.is_same(&self.received) {
            self.in_force = self.received.clone();
            self.view.lock().configuration_error = String::new();
            return;
        }
        let candidate = self.received.clone();
        let loaded = tokio::task::spawn_blocking(move || (candidate.load(), candidate)).await;
        let Ok((loaded, candidate)) = loaded else { return };
        match loaded.and_then(|config| self.put_in_force(&config)) {
            Ok(()) => {
                tracing::info!(revision = candidate.revision, "configuration in force");
                self.in_force = candidate;
                self.view.lock().configuration_error = String::new();
                self.options.engine.set_over_target_limit(&self.over_target_limit);
            }
            Err(error) => self.refuse(candidate.revision, error),
        }
    }

    fn refuse(&self, revision: u64, error: String) {
        self.metrics.refused.inc();
        tracing::error!(
            revision,
            in_force = self.in_force.revision,
            "the configuration is not put in force, the one before stays: {error}"
        );
        self.view.lock().configuration_error = error;
    }

    fn put_in_force(&self, config: &Config) -> Result<(), String> {
        let limits = config.outrigger.limits;
        let bounds = QueueBounds {
            memory_bytes: limits.remote_write_queue_bytes,
            disk_bytes: limits.remote_write_disk_bytes,
        };
        let options = &self.options;
        // The one that refuses more goes first, so that a refusal leaves everything as it was.
        options
            .remote_write
            .apply_config(&config.remote_write, &config.global.external_labels, bounds)
            .map_err(|error| fault::chain(&error))?;
        options.engine.apply_config(&config.scrape_configs).map_err(|error| fault::chain(&error))?;
        options.engine.set_max_body_bytes(limits.max_body_bytes);
        Ok(())
    }

    fn adopt(&mut self, assign: Assign) {
        let revision = assign.revision;
        let (good, bad) = assign.read();
        for bad in bad {
            self.metrics.invalid_targets.inc();
            if let Some(suppressed) = self.log.permit("invalid target") {
                tracing::error!(suppressed, error = %bad, "a target of the assignment cannot be read");
            }
        }
        let inherited = good.iter().filter(|assigned| assigned.inheritance.is_some()).count() as u64;
        self.metrics.inherited.add(inherited);
        self.metrics.adopted.add(good.len() as u64 - inherited);
        let ids = good.iter().map(|assigned| (&*assigned.target.job, assigned.target.id)).collect();
        self.handovers.adopted(&ids);
        self.options
            .engine
            .adopt(good.into_iter().map(|assigned| (assigned.target, assigned.inheritance)).collect());
        self.options.engine.set_over_target_limit(&self.over_target_limit);
        self.applied(revision);
    }

    fn applied(&mut self, revision: u64) {
        self.saving.dirty = true;
        self.send(from_worker::Kind::Applied(Applied { revision }));
    }

    fn release(&mut self, release: Release) {
        self.last_release = Instant::now();
        self.saving.dirty = true;
        for ids in release.targets {
            let job: Arc<str> = ids.job.into();
            let fresh = self.handovers.ask(release.request, &job, ids.ids);
            self.options.engine.release(&job, &fresh, &self.handed_over.0);
        }
    }

    /// Targets have stopped: those at hand are told together.
    fn hand_over(&mut self, first: HandedOver) {
        self.last_release = Instant::now();
        let mut stopped = Vec::new();
        let mut next = Some(first);
        while let Some(handed) = next {
            match self.handovers.stopped(&handed) {
                Next::Tell { request } => stopped.push((request, handed)),
                Next::TakeBack(target, left) => {
                    self.metrics.taken_back.inc();
                    self.options.engine.adopt(vec![(target, left)]);
                }
                Next::Bury(target, left) => self.bury(target, left),
                Next::Forget => {}
            }
            next = self.handed_over.1.try_recv().ok();
        }
        self.metrics.handed_over.add(stopped.len() as u64);
        for released in self.handovers.tell(stopped, self.now(), self.beat) {
            self.send(from_worker::Kind::Released(released));
        }
    }

    fn bury(&self, target: Arc<ScrapeTarget>, left: Inheritance) {
        match self.options.engine.bury(target, left) {
            true => self.metrics.buried.inc(),
            false => self.metrics.unburied.inc(),
        }
    }

    fn remove(&mut self, remove: Remove) {
        for ids in remove.targets {
            let job: Arc<str> = ids.job.into();
            let ids: Vec<TargetId> = ids.ids.into_iter().map(TargetId).collect();
            self.metrics.removed.add(ids.len() as u64);
            self.handovers.remove(&job, &ids);
            self.options.engine.remove(&job, &ids);
        }
        let (orphans, bad) = remove.orphans.unwrap_or_default().read();
        self.metrics.invalid_targets.add(bad.len() as u64);
        for orphan in orphans {
            if let Some(left) = orphan.inheritance {
                self.bury(orphan.target, left);
            }
        }
        self.applied(remove.revision);
    }

    fn note(&mut self, jobs: Jobs) {
        self.over_target_limit = jobs.over_target_limit.into_iter().map(Arc::from).collect();
        self.options.engine.set_over_target_limit(&self.over_target_limit);
        self.saving.dirty = true;
    }

    fn send_heartbeat(&mut self, sequence: u64) {
        self.beat = sequence;
        self.usage = usage::read();
        let totals = self.options.engine.totals();
        let endpoints = self.options.remote_write.status();
        let lateness_seconds = self.lateness.p99(self.now(), &totals.lateness);
        let usage = self.usage;
        let mut configuration_error = self.view.lock().configuration_error.clone();
        let end = (0..=MAX_ERROR_BYTES.min(configuration_error.len()))
            .rfind(|at| configuration_error.is_char_boundary(*at))
            .unwrap_or(0);
        configuration_error.truncate(end);
        let status = WorkerStatus {
            targets: self.options.engine.target_count() as u64,
            series: totals.series,
            samples: totals.samples,
            cpu_seconds: usage.cpu_seconds,
            cpu_limit: usage.cpu_limit,
            resident_bytes: usage.resident_bytes,
            memory_limit_bytes: usage.memory_limit_bytes,
            lateness_seconds,
            skipped_ticks: totals.skipped_ticks,
            queue_memory_bytes: endpoints.iter().map(|endpoint| endpoint.pending_bytes).sum(),
            queue_disk_bytes: endpoints.iter().map(|endpoint| endpoint.disk_bytes).sum(),
            lag_seconds: endpoints.iter().map(|endpoint| endpoint.lag_seconds).fold(0.0, f64::max),
            configuration_revision: self.in_force.revision,
            configuration_error,
            scrapes: totals.scrapes,
            failed_scrapes: totals.failed,
        };
        self.send(from_worker::Kind::Heartbeat(Heartbeat {
            sequence,
            now_millis: self.options.clock.now().millis(),
            status: Some(status),
            clock_offset_millis: self.session.clock_offset().unwrap_or(0),
        }));
    }

    /// When [`Driver::round`] has something to do.
    fn next_round(&self) -> Instant {
        let mut at = Instant::now() + COSTS_PERIOD;
        if self.view.lock().master.is_some() {
            at = at.min(self.next_costs).min(self.next_self_metrics);
            at = self.next_sets.map_or(at, |sets| at.min(sets));
        }
        if self.remembered.is_some() {
            if self.saving.dirty && self.saving.running.is_none() {
                at = at.min(self.saving.not_before);
            }
            if self.saving.running_series.is_none() {
                at = at.min(self.saving.next_series);
            }
        }
        self.first_word.as_ref().map_or(at, |wait| at.min(wait.until))
    }

    /// Everything that is due.
    fn round(&mut self) {
        let now = Instant::now();
        if self.first_word.as_ref().is_some_and(|wait| now >= wait.until) {
            self.resume();
        }
        let joined = self.view.lock().master.is_some();
        if joined && now >= self.next_costs {
            self.next_costs = now + COSTS_PERIOD;
            if self.may_send("costs") {
                for costs in self.costs.costs(&self.options.engine, self.now()) {
                    self.send(from_worker::Kind::Costs(costs));
                }
            }
            if self.costs.has_waiting() {
                self.next_sets.get_or_insert(now);
            }
        }
        if joined && self.next_sets.is_some_and(|sets| now >= sets) {
            self.tell_series(now);
        }
        if joined && now >= self.next_self_metrics {
            self.next_self_metrics = now + SELF_METRICS_PERIOD;
            if self.may_send("self_metrics") {
                let text = self.options.registry.render();
                let exposition = zstd::bulk::compress(text.as_bytes(), 1).unwrap_or_default();
                let at_millis = self.options.clock.now().millis();
                self.send(from_worker::Kind::SelfMetrics(SelfMetrics { exposition, at_millis }));
            }
        }
        if self.remembered.is_some() {
            if self.saving.dirty && self.saving.running.is_none() && now >= self.saving.not_before {
                self.save();
            }
            if self.saving.running_series.is_none() && now >= self.saving.next_series {
                self.save_series();
            }
        }
    }

    fn tell_series(&mut self, now: Instant) {
        for key in self.options.engine.take_changed() {
            self.costs.wait(key);
        }
        if self.outbox.len() < BUSY_OUTBOX {
            for costs in self.costs.sets(&self.options.engine, self.now()) {
                self.send(from_worker::Kind::Costs(costs));
            }
        }
        self.next_sets = self.costs.has_waiting().then(|| now + SETS_PERIOD);
    }

    /// What is not urgent waits for a master that is slow to listen.
    fn may_send(&self, kind: &str) -> bool {
        let may = self.outbox.len() < BUSY_OUTBOX;
        if !may {
            self.metrics.skipped.with(&[kind]).inc();
        }
        may
    }

    fn await_first_word(&mut self) {
        self.options.engine.set_paused(true);
        let failed_dials = self.session.failed_dials();
        self.first_word = Some(FirstWord { until: Instant::now() + FIRST_WORD, failed_dials });
    }

    /// The process stood still for longer than a master waits for a worker: others may scrape its targets now.
    fn stalled(&mut self) -> Event {
        self.await_first_word();
        Event::Broke("this process stood still for longer than its lease".to_owned())
    }

    fn resume(&mut self) {
        if self.first_word.take().is_some() {
            self.options.engine.set_paused(false);
        }
    }

    /// Whether a worker that leaves has handed over what anybody wants.
    fn has_nothing_left(&self) -> bool {
        let nobody_asks =
            || self.view.lock().master.is_some() && self.last_release.elapsed() >= LEAVING_PATIENCE;
        self.handovers.is_idle() && (self.options.engine.target_count() == 0 || nobody_asks())
    }

    fn knowledge(&self) -> Knowledge {
        let mut targets = self.options.engine.targets();
        targets.sort_by(|a, b| (&a.job, a.id).cmp(&(&b.job, b.id)));
        Knowledge {
            epoch: self.session.epoch(),
            offset_seed: self.offset_seed,
            received: self.received.clone(),
            in_force: self.in_force.clone(),
            targets,
            over_target_limit: self.over_target_limit.iter().map(|job| job.to_string()).collect(),
            heard_millis: self.view.lock().heard.map_or(0, Timestamp::millis),
        }
    }

    fn save(&mut self) {
        let Some(remembered) = self.remembered.clone() else { return };
        self.saving.dirty = false;
        let knowledge = self.knowledge();
        self.saving.running = Some(tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let result = remembered.save(&knowledge);
            (began.elapsed(), result)
        }));
    }

    fn saved(&mut self, took: Duration, result: Result<(), SealedFileError>) {
        self.saving.not_before = Instant::now() + SAVE_PERIOD.max(took * SAVE_SHARE);
        let mut view = self.view.lock();
        match result {
            Ok(()) => {
                view.saved = Some(self.options.clock.now());
                view.save_error = None;
            }
            Err(error) => {
                let error = fault::chain(&error);
                if let Some(suppressed) = self.log.permit("save") {
                    tracing::error!(suppressed, error, "the assignment is not on disk");
                }
                view.save_error = Some(error);
                drop(view);
                self.saving.dirty = true;
            }
        }
    }

    /// Keeps the series of the last scrapes for a process that comes after this one has been killed. It cannot know when
    /// the last scrapes will have been.
    fn save_series(&mut self) {
        let Some(remembered) = self.remembered.clone() else { return };
        let engine = self.options.engine.clone();
        self.saving.running_series = Some(tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let scrapes = last_scrapes(&engine).map(|last| {
                let series = last.inheritance.series;
                LastScrape { inheritance: Inheritance { series, ..Inheritance::default() }, ..last }
            });
            if let Err(error) = remembered.save_series(scrapes) {
                tracing::error!(error = fault::chain(&error), "series of the last scrapes are not on disk");
            }
            began.elapsed()
        }));
    }

    /// Everything, with the last scrapes' times, so that the next process misses no tick.
    async fn save_at_the_end(&mut self) {
        let Some(remembered) = self.remembered.clone() else { return };
        if let Some(running) = self.saving.running.take() {
            // Its outcome does not matter: it is written again.
            let _ = running.await;
        }
        if let Some(running) = self.saving.running_series.take() {
            let _ = running.await;
        }
        let (knowledge, engine) = (self.knowledge(), self.options.engine.clone());
        let saved = tokio::task::spawn_blocking(move || {
            remembered.save(&knowledge)?;
            remembered.save_series(last_scrapes(&engine))
        });
        if let Ok(Err(error)) = saved.await {
            tracing::error!(error = fault::chain(&error), "the last assignment is not on disk");
        }
    }

    /// Shows how things are.
    fn show(&self) {
        let targets = self.options.engine.target_count();
        let mut view = self.view.lock();
        view.targets = targets;
        view.epoch = self.session.epoch();
        view.revision = self.received.revision;
        view.revision_in_force = self.in_force.revision;
        view.clock_offset_millis = self.session.clock_offset();
        view.leaving = self.leaving;
        view.unsaved = self.remembered.is_some() && (self.saving.dirty || self.saving.running.is_some());
    }
}

fn last_scrapes(engine: &ScrapeEngine) -> impl Iterator<Item = LastScrape> {
    let engine = engine.clone();
    engine.targets().into_iter().filter_map(move |target| {
        let inheritance = engine.inheritance(&target.job, target.id)?;
        Some(LastScrape { job: target.job.to_string(), id: target.id.0, inheritance })
    })
}

async fn reserve(sender: Option<&mpsc::Sender<FromWorker>>) -> Option<mpsc::Permit<'_, FromWorker>> {
    match sender {
        Some(sender) => sender.reserve().await.ok(),
        None => std::future::pending().await,
    }
}

async fn opened(opening: &mut Option<Opening>) -> Result<Stream, String> {
    match opening {
        Some(opening) => opening.await,
        None => std::future::pending().await,
    }
}

async fn next(receiver: Option<&mut DuplexReceiver<FromMaster>>) -> Result<Option<FromMaster>, GrpcError> {
    match receiver {
        Some(receiver) => receiver.next().await,
        None => std::future::pending().await,
    }
}

async fn finished<T>(running: &mut Option<JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match running {
        Some(running) => running.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

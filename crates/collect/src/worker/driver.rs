//! Streams, timers and files of a worker: does what [`Session`] says.

mod leaving;
mod orders;
mod reports;
mod saving;
mod stream;
mod waiting;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use outrigger_model::fault;
use outrigger_model::sample::Timestamp;
use outrigger_rt::log_limit::LogLimit;
use outrigger_storage::sealed::SealedFileError;
use outrigger_wire::centre::{
    FromWorker, Hello, Leaving, PROTOCOL_MAX, PROTOCOL_MIN, TargetIds, WORK_PATH, Welcome, from_worker,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::saving::Saving;
use self::stream::{Opening, Stream, finished, next, opened, reserve, sleep_until};
use self::waiting::FirstWord;
use super::backoff::{Backoff, random_number};
use super::configuration::ReceivedConfiguration;
use super::costs::CostReporter;
use super::handovers::Handovers;
use super::keepers::{self, ForHeirs, Keepers};
use super::lateness::Lateness;
use super::metrics::WorkerMetrics;
use super::remembered::{Knowledge, Remembered};
use super::session::{Effect, Event, Millis, Session};
use super::view::{JoinedMaster, WorkerView};
use super::{BuildWorkerError, Channels, WorkerOptions, usage};
use crate::scrape::{HandedOver, HandoverSender};

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
    /// What the leading master was told for heirs.
    heirs: ForHeirs,
    /// The other masters.
    keepers: Keepers,
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
    next_names: Instant,
    next_self_metrics: Instant,
    leaving: bool,
    /// When the master last asked for targets, or was told of some, or heard that the worker leaves.
    last_release: Instant,
}

/// What woke the task.
enum Woken {
    Stopped,
    Session(Event),
    Opened(Result<Stream, String>),
    Handed(HandedOver),
    Stalled,
    SeriesChanged,
    Keeper(keepers::Event),
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
            heirs: ForHeirs::default(),
            keepers: Keepers::default(),
            told: None,
            lateness: Lateness::default(),
            usage: usage::Usage::default(),
            received: ReceivedConfiguration::default(),
            in_force: ReceivedConfiguration::default(),
            over_target_limit: HashSet::new(),
            offset_seed: None,
            remembered,
            saving: Saving::new(now),
            first_word: None,
            name_taken: None,
            next_costs: now,
            next_sets: None,
            next_names: now,
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
                    self.series_changed();
                    None
                }
                Woken::Keeper(event) => self.keeper_changed(event).map(Event::Leads),
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
            event = self.keepers.event() => Woken::Keeper(event),
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
                self.saving.saved_series(saved.unwrap_or_default());
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
                    self.heard_first_word();
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
        self.give_up_on_silent_masters();
        false
    }

    fn warn(&self, warning: &str) {
        self.view.lock().last_error = Some((self.options.clock.now(), warning.to_owned()));
        if let Some(suppressed) = self.log.permit(warning) {
            tracing::warn!(suppressed, "config centre: {warning}");
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
        let hello = Hello { held: self.held(), ..self.hello() };
        self.send(from_worker::Kind::Hello(hello));
        for released in self.handovers.tell_again(self.now()) {
            self.send(from_worker::Kind::Released(released));
        }
    }

    /// Who this worker is.
    fn hello(&self) -> Hello {
        let options = &self.options;
        Hello {
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
            held: Vec::new(),
            from_disk: self.view.lock().from_disk,
            now_millis: options.clock.now().millis(),
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
            self.heirs.forget();
            self.told = Some(told);
        }
        let now = Instant::now();
        (self.next_costs, self.next_self_metrics) = (now, now);
        let address = self.session.master().unwrap_or_default().to_owned();
        self.choose_keepers(&address);
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

//! The fleet: which worker scrapes what, as a state machine without I/O.
//!
//! What workers hold is the truth. A leader learns it from their `Hello`s, assigns what nobody holds, and moves
//! targets by a handshake: the old owner is asked to release a target and says when it has; only then the new owner is
//! told to scrape it. Nothing here depends on wall clocks. [`Fleet::step`] takes one event and gives what is to be
//! done about it; [`Fleet::next_message`] gives the next message for a worker when there is room for it, so that
//! what waits for a slow worker is a list of identities, not of messages. [`FleetHandle`] does the I/O.

mod driver;
mod keeping;
mod liveness;
mod memory;
mod metrics;
mod names;
mod outgoing;
mod placement;
mod record;
mod sessions;
mod targets;
mod views;
mod wanted;
mod workers;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use outrigger_model::target::{ScrapeTarget, TargetDelta, TargetId};
use outrigger_wire::centre::{
    Configuration, File, Hello, Inheritance, JobConfiguration, Rejected, from_worker,
};

use crate::assignment::{Balance, TargetKey, WorkerId};

pub use driver::{FleetDriverOptions, FleetHandle};
pub use memory::RecalledView;
pub use outgoing::Outgoing;
pub use views::{TargetCounts, WorkerState, WorkerView};
pub use wanted::Scale;

use liveness::HeardOf;
use placement::{Moves, Orphan};
use targets::{KeyMap, KeySet, Targets};
use workers::{Outside, Workers};

/// Monotonic time in milliseconds, from any beginning.
pub type Millis = u64;

/// A stream to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// What does not change while a master runs.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    /// Name of this master.
    pub master: String,
    /// Outrigger's version.
    pub version: String,
    /// A worker that is silent for so long is taken for dead.
    pub lease: Duration,
    /// Workers that scrape each target.
    pub replication_factor: usize,
    /// The first worker of a new fleet waits so long for others before it gets targets.
    pub settle: Duration,
}

/// A worker as the store knows it: who exists, so that a new leader knows whom to wait for.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerRecord {
    /// Name.
    pub name: Arc<str>,
    /// Which start of it.
    pub instance: u64,
    /// Zone.
    pub zone: Arc<str>,
    /// Share of the load.
    pub weight: f64,
    /// Where it can be asked whether it lives; may be empty.
    pub advertise: String,
}

/// What workers scrape and where they send it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConfigurationBundle {
    /// The configuration file without its `scrape_configs`, YAML.
    pub base: String,
    /// Folder that relative paths in the YAML start from.
    pub directory: String,
    /// All entries of `scrape_configs`.
    pub jobs: Vec<JobConfiguration>,
    /// Contents of the files that the configuration names.
    pub files: Vec<File>,
}

/// What happened.
#[derive(Debug)]
pub enum FleetEvent {
    /// This master leads from now on.
    Elected {
        /// Its term.
        epoch: u64,
        /// Moves the ticks of all targets.
        offset_seed: u64,
        /// The workers in the store.
        known: Vec<WorkerRecord>,
    },
    /// It does not, or not any more.
    Deposed {
        /// Address of the leader, if it is known.
        leader: Option<String>,
    },
    /// The configuration is read, or has changed.
    Configured(Box<ConfigurationBundle>),
    /// Discovery found something.
    Targets {
        /// What.
        delta: TargetDelta,
        /// How long ago what it follows from was seen.
        age: Millis,
    },
    /// Discovery has found all targets of a job: what is only known from the disk is gone.
    JobSynced(Arc<str>),
    /// Discovery has ended for now: what it does not know any more may be a target all the same.
    DiscoverySuspended,
    /// Targets that were known when this master last ran.
    Recalled(Vec<Arc<ScrapeTarget>>),
    /// A worker said its first word.
    Connected {
        /// Its stream.
        session: SessionId,
        /// Its word.
        hello: Hello,
    },
    /// A further word.
    Heard {
        /// The stream.
        session: SessionId,
        /// The word.
        message: from_worker::Kind,
    },
    /// A worker that another master leads has told this one, for its heirs, which targets' series it has, and which of
    /// them have ended with their markers.
    Kept {
        /// `job_name`.
        job: Arc<str>,
        /// Targets whose series sets are on disk now.
        ids: Vec<u64>,
        /// Targets that are gone.
        gone: Vec<u64>,
    },
    /// A stream is gone.
    Disconnected {
        /// Which.
        session: SessionId,
    },
    /// A worker that is not connected was asked whether it lives.
    Probed {
        /// Name.
        worker: Arc<str>,
        /// What came back.
        answer: ProbeAnswer,
    },
    /// A worker that another master leads has opened a stream on which it tells what its heirs need.
    KeeperOpened(Arc<str>),
    /// Such a stream has ended.
    KeeperClosed(Arc<str>),
    /// The worker's record is in the store, or cannot be written.
    Recorded {
        /// Name.
        worker: Arc<str>,
    },
    /// Time went by.
    Tick,
}

/// What comes of asking a worker whether it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// A process of its name has answered.
    Alive(Alive),
    /// Its machine says that nothing listens there: the process is gone.
    Refused,
    /// Nothing that means something: the process is gone, or it cannot be reached.
    Silence,
}

/// The answer of a worker that was asked whether it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alive {
    /// Which start of it.
    pub instance: u64,
    /// It scrapes targets, which a restarted one does when it has its state on disk.
    pub scrapes: bool,
}

/// What is to be done.
#[derive(Debug)]
pub enum FleetEffect {
    /// [`Fleet::next_message`] has something for the stream.
    Wake(SessionId),
    /// Say this, then end the stream.
    Reject(SessionId, Rejected),
    /// End the stream.
    Close(SessionId),
    /// Ask the worker whether it lives, then say [`FleetEvent::Probed`].
    Probe {
        /// Name.
        worker: Arc<str>,
        /// Where.
        address: String,
    },
    /// Write the worker's record, then say [`FleetEvent::Recorded`].
    Record(WorkerRecord),
    /// Delete the worker's record.
    Forget(Arc<str>),
    /// Keep the series set of a target on disk.
    KeepSeries {
        /// `job_name`.
        job: Arc<str>,
        /// Its targets and their sets.
        sets: Vec<(u64, Vec<u8>)>,
    },
    /// The series set of a target is not needed any more.
    DropSeries {
        /// `job_name`.
        job: Arc<str>,
        /// Its identity.
        id: TargetId,
    },
    /// A worker has obeyed a later leader than this one: if the store agrees that this master leads, it needs a higher
    /// epoch than this.
    Outranked(u64),
    /// From the moment the change was seen that made a target until a worker said that it scrapes it.
    AssignmentDelay(Millis),
}

/// Whether this master leads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    Standby { leader: Option<String> },
    Leading { epoch: u64, offset_seed: u64, since: Millis },
}

/// Why a target goes from one worker to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MoveReason {
    /// A worker came.
    Joined,
    /// A worker is shutting down.
    Left,
    /// A worker died.
    Died,
    /// The load was uneven.
    Uneven,
}

/// What happened how often; read by the metrics.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    pub(crate) moves: BTreeMap<MoveReason, u64>,
    pub(crate) deaths: u64,
    pub(crate) rebalances: u64,
    pub(crate) doubles: u64,
    pub(crate) lost_orphans: u64,
    pub(crate) stray_releases: u64,
}

/// The state machine.
#[derive(Debug)]
pub struct Fleet {
    options: FleetOptions,
    lease: Millis,
    standing: Standing,
    targets: Targets,
    workers: Workers,
    balance: Balance,
    moves: Moves,
    /// Scraped by a worker though it is no target (any more, or as far as is known).
    outside: KeyMap<Vec<Outside>>,
    /// What workers have ended lately: when, and who.
    ended: VecDeque<(Millis, TargetKey, WorkerId)>,
    /// Targets that went and may be scraped by a worker that was not heard yet: if they come back they are not new.
    suspects: KeySet,
    /// What the last owner left of targets that have none now, and when that was.
    estates: KeyMap<(Inheritance, Millis)>,
    /// Targets that went while nobody scraped them; some worker is to write their stale markers.
    orphans: Vec<Orphan>,
    /// Workers of another leader, as far as they tell this master something.
    heard_of: HashMap<Arc<str>, HeardOf>,
    /// What workers of another leader scrape and discovery has not found here.
    kept: KeySet,
    configuration: Option<ConfigurationBundle>,
    configuration_changes: u64,
    /// New targets get a worker from then on; `None` before the first worker came.
    settled_at: Option<Millis>,
    plan: PlanTimer,
    /// Since when so many workers are lost that it is rather the master that is cut off.
    mass_loss_since: Option<Millis>,
    pub(crate) counters: Counters,
    effects: Vec<FleetEffect>,
}

/// When the next rebalance is made.
#[derive(Debug, Default)]
struct PlanTimer {
    due: Option<PlannedFor>,
    /// When it is looked whether somebody carries too much or too little.
    look_at: Millis,
}

#[derive(Debug, Clone, Copy)]
struct PlannedFor {
    at: Millis,
    first_asked: Millis,
    reason: MoveReason,
}

impl Fleet {
    /// A fleet without workers and targets, of a master that does not lead yet.
    pub fn new(options: FleetOptions) -> Self {
        let lease = u64::try_from(options.lease.as_millis()).unwrap_or(u64::MAX).max(1);
        Self {
            targets: Targets::new(options.replication_factor.max(1)),
            options,
            lease,
            standing: Standing::Standby { leader: None },
            workers: Workers::default(),
            balance: Balance::new(),
            moves: Moves::default(),
            outside: KeyMap::default(),
            ended: VecDeque::new(),
            suspects: KeySet::default(),
            estates: KeyMap::default(),
            orphans: Vec::new(),
            heard_of: HashMap::new(),
            kept: KeySet::default(),
            configuration: None,
            configuration_changes: 0,
            settled_at: None,
            plan: PlanTimer::default(),
            mass_loss_since: None,
            counters: Counters::default(),
            effects: Vec::new(),
        }
    }

    /// Takes one event at monotonic time `now`, which never goes back, and gives what is to be done, in order.
    pub fn step(&mut self, now: Millis, event: FleetEvent) -> Vec<FleetEffect> {
        match event {
            FleetEvent::Elected { epoch, offset_seed, known } => self.elected(now, epoch, offset_seed, known),
            FleetEvent::Deposed { leader } => self.deposed(leader),
            FleetEvent::Configured(bundle) => self.configured(now, *bundle),
            FleetEvent::Targets { delta, age } => self.changed(now, delta, age),
            FleetEvent::JobSynced(job) => self.job_synced(now, &job),
            FleetEvent::DiscoverySuspended => self.targets.set_unsynced(),
            FleetEvent::Recalled(targets) => self.recalled(now, targets),
            FleetEvent::Connected { session, hello } => self.connected(now, session, hello),
            FleetEvent::Heard { session, message } => self.heard(now, session, message),
            FleetEvent::Kept { job, ids, gone } => self.kept(&job, &ids, &gone),
            FleetEvent::Disconnected { session } => self.disconnected(now, session),
            FleetEvent::Probed { worker, answer } => self.probed(now, &worker, answer),
            FleetEvent::KeeperOpened(worker) => self.keeper_opened(worker),
            FleetEvent::KeeperClosed(worker) => self.keeper_closed(now, &worker),
            FleetEvent::Recorded { worker } => self.recorded(now, &worker),
            FleetEvent::Tick => self.tick(now),
        }
        if self.is_leading() {
            self.place_vacant(now);
            self.begin_moves();
            self.bury_orphans(now);
        }
        self.wake_workers();
        std::mem::take(&mut self.effects)
    }

    /// Whether this master leads.
    pub fn is_leading(&self) -> bool {
        matches!(self.standing, Standing::Leading { .. })
    }

    fn epoch(&self) -> u64 {
        match self.standing {
            Standing::Leading { epoch, .. } => epoch,
            Standing::Standby { .. } => 0,
        }
    }

    /// Revision of the configuration: grows with every change, and from one leader to the next.
    fn configuration_revision(&self) -> u64 {
        (self.epoch() << 32) | self.configuration_changes
    }

    fn elected(&mut self, now: Millis, epoch: u64, offset_seed: u64, known: Vec<WorkerRecord>) {
        self.dismiss_workers(now);
        self.forget_old_orphans(now);
        self.standing = Standing::Leading { epoch, offset_seed, since: now };
        self.settled_at = None;
        self.mass_loss_since = None;
        self.plan = PlanTimer { due: None, look_at: now + placement::LOOK_EVERY };
        for record in known {
            self.expect_worker(now, record);
        }
    }

    /// Streams stay open, so that workers hear that this master does not lead any more.
    fn deposed(&mut self, leader: Option<String>) {
        self.standing = Standing::Standby { leader };
        for worker in self.workers.iter_mut() {
            worker.drop_orders();
        }
    }

    fn configured(&mut self, now: Millis, bundle: ConfigurationBundle) {
        let old = self.configuration.take();
        if old.as_ref() == Some(&bundle) {
            self.configuration = old;
            return;
        }
        self.configuration_changes += 1;
        let delta = Arc::new(difference(&old.unwrap_or_default(), &bundle, self.configuration_revision()));
        for worker in self.workers.iter_mut() {
            worker.order_configuration(&delta);
        }
        let names: Vec<Arc<str>> = bundle.jobs.iter().map(|job| Arc::from(job.job.as_str())).collect();
        self.configuration = Some(bundle);
        for job in self.targets.configure(&names) {
            self.clear_job(now, job);
        }
    }

    fn changed(&mut self, now: Millis, delta: TargetDelta, age: Millis) {
        let job = self.targets.job(&delta.job);
        for id in delta.removed {
            self.remove_target(now, TargetKey { job, id });
        }
        for target in delta.added {
            self.add_target(now.saturating_sub(age), job, target, false);
        }
        if self.targets.set_over_limit(job, delta.over_target_limit) {
            self.order_jobs();
        }
    }

    fn recalled(&mut self, now: Millis, targets: Vec<Arc<ScrapeTarget>>) {
        for target in targets {
            let job = self.targets.job(&target.job);
            self.add_target(now, job, target, true);
        }
    }

    fn job_synced(&mut self, now: Millis, job: &Arc<str>) {
        let job = self.targets.job(job);
        for id in self.targets.set_synced(job) {
            self.remove_target(now, TargetKey { job, id });
        }
        self.remove_strangers(job);
    }
}

/// What a worker that has `old` must be told so that it has `new`.
fn difference(old: &ConfigurationBundle, new: &ConfigurationBundle, revision: u64) -> Configuration {
    let old_jobs: HashMap<&str, &str> =
        old.jobs.iter().map(|job| (job.job.as_str(), job.yaml.as_str())).collect();
    let old_files: HashMap<&str, &File> = old.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let is_new_job = |job: &&JobConfiguration| old_jobs.get(job.job.as_str()) != Some(&job.yaml.as_str());
    let is_gone = |name: &&str| !new.jobs.iter().any(|job| job.job == **name);
    Configuration {
        revision,
        complete: false,
        base: (old.base != new.base).then(|| new.base.clone()),
        jobs: new.jobs.iter().filter(is_new_job).cloned().collect(),
        removed_jobs: old_jobs.keys().copied().filter(is_gone).map(str::to_owned).collect(),
        directory: new.directory.clone(),
        files: new
            .files
            .iter()
            .filter(|file| old_files.get(file.path.as_str()) != Some(file))
            .cloned()
            .collect(),
    }
}

#[cfg(test)]
mod simulation;

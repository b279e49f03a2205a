//! The targets of all jobs and who has them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use outrigger_model::target::{ScrapeTarget, TargetId};
use rapidhash::fast::RandomState;

use crate::assignment::{Balance, TargetKey, WorkerId};

use super::Millis;

/// Cost of a target of a job of which none was measured yet, in series.
const DEFAULT_COST: u64 = 500;
/// Bytes of a body that cost as much as a series.
const BYTES_PER_SERIES: u64 = 200;

/// By target; there are many.
pub(super) type KeyMap<T> = HashMap<TargetKey, T, RandomState>;
/// Targets; there are many.
pub(super) type KeySet = HashSet<TargetKey, RandomState>;

/// All targets.
#[derive(Debug)]
pub(super) struct Targets {
    jobs: Vec<Job>,
    by_name: HashMap<Arc<str>, u32>,
    /// Targets with a vacant slot.
    vacant: KeySet,
    /// Those of them for which no worker was looked for yet.
    fresh: Vec<TargetKey>,
    /// How many of those at the front are known to have to wait.
    waiting: usize,
    /// A worker has come that may take those that none could take before.
    retry: bool,
    replicas: usize,
    /// Whether the first configuration is there; before it every job counts as configured.
    configured: bool,
}

/// A job.
#[derive(Debug)]
struct Job {
    name: Arc<str>,
    targets: HashMap<TargetId, Tracked, RandomState>,
    configured: bool,
    synced: bool,
    over_limit: bool,
    measured_cost: u64,
    measured: u64,
}

/// A target.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) target: Arc<ScrapeTarget>,
    slots: Slots,
    cost: u32,
    measured: bool,
    /// Known from the disk only: discovery has not found it yet.
    pub(super) from_disk: bool,
    /// It appeared when discovery had found all others.
    is_new: bool,
    /// Some worker has scraped it, so that there may be series to end.
    pub(super) scraped: bool,
    /// When discovery found it; `None` once a worker has said that it scrapes it.
    pub(super) found_at: Option<Millis>,
}

/// One replica of a target; nearly always there is only one.
#[derive(Debug)]
struct Slots {
    first: Slot,
    more: Vec<Slot>,
}

/// Where a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// Nobody scrapes it.
    Vacant,
    /// A worker scrapes it, or is about to hear that it should.
    Held(WorkerId),
    /// It is to go to another worker. Once the old one was `asked` there is no way back.
    Moving { from: WorkerId, to: WorkerId, asked: bool },
}

impl Slot {
    /// Who scrapes it now.
    pub(super) fn holder(self) -> Option<WorkerId> {
        match self {
            Slot::Vacant => None,
            Slot::Held(worker) | Slot::Moving { from: worker, .. } => Some(worker),
        }
    }

    /// Who is to scrape it.
    pub(super) fn planned(self) -> Option<WorkerId> {
        match self {
            Slot::Vacant => None,
            Slot::Held(worker) | Slot::Moving { to: worker, .. } => Some(worker),
        }
    }
}

impl Tracked {
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        std::iter::once(self.slots.first).chain(self.slots.more.iter().copied())
    }

    pub(super) fn slot_where(&self, is_meant: impl Fn(Slot) -> bool) -> Option<usize> {
        self.slots().position(is_meant)
    }

    pub(super) fn cost(&self) -> u64 {
        u64::from(self.cost)
    }

    /// Workers that have a replica or are to have one, but for that in `except`.
    pub(super) fn others(&self, except: usize) -> Vec<WorkerId> {
        if self.slots.more.is_empty() {
            return Vec::new();
        }
        let slots = self.slots().enumerate().filter(|(place, _)| *place != except);
        let mut workers: Vec<_> =
            slots.flat_map(|(_, slot)| [slot.holder(), slot.planned()]).flatten().collect();
        workers.dedup();
        workers
    }

    fn slot_mut(&mut self, place: usize) -> &mut Slot {
        if place == 0 { &mut self.slots.first } else { &mut self.slots.more[place - 1] }
    }
}

impl Targets {
    pub(super) fn new(replicas: usize) -> Self {
        Self {
            jobs: Vec::new(),
            by_name: HashMap::new(),
            vacant: KeySet::default(),
            fresh: Vec::new(),
            waiting: 0,
            retry: false,
            replicas,
            configured: false,
        }
    }

    /// The place of a job, which is new if nobody spoke of it before.
    pub(super) fn job(&mut self, name: &str) -> u32 {
        if let Some(place) = self.by_name.get(name) {
            return *place;
        }
        let place = u32::try_from(self.jobs.len()).expect("fewer jobs than fit into memory");
        let name: Arc<str> = Arc::from(name);
        self.jobs.push(Job {
            name: Arc::clone(&name),
            targets: HashMap::default(),
            configured: !self.configured,
            synced: false,
            over_limit: false,
            measured_cost: 0,
            measured: 0,
        });
        self.by_name.insert(name, place);
        place
    }

    pub(super) fn job_if_known(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub(super) fn job_name(&self, job: u32) -> Arc<str> {
        Arc::clone(&self.jobs[job as usize].name)
    }

    /// Takes over which jobs are configured; gives those that are not any more.
    pub(super) fn configure(&mut self, names: &[Arc<str>]) -> Vec<u32> {
        self.configured = true;
        self.jobs.iter_mut().for_each(|job| job.configured = false);
        for name in names {
            let place = self.job(name);
            self.jobs[place as usize].configured = true;
        }
        let mut gone = Vec::new();
        for (place, job) in (0..).zip(&mut self.jobs) {
            if !job.configured {
                job.synced = false;
                gone.push(place);
            }
        }
        gone
    }

    /// Whether a target of this job that is not known cannot be one.
    pub(super) fn is_complete(&self, job: u32) -> bool {
        let job = &self.jobs[job as usize];
        job.synced || !job.configured
    }

    /// Discovery has found everything; gives what it has not found.
    pub(super) fn set_synced(&mut self, job: u32) -> Vec<TargetId> {
        let job = &mut self.jobs[job as usize];
        job.synced = true;
        job.targets.iter().filter(|(_, tracked)| tracked.from_disk).map(|(id, _)| *id).collect()
    }

    /// What discovery knows may be outdated.
    pub(super) fn set_unsynced(&mut self) {
        self.jobs.iter_mut().for_each(|job| job.synced = false);
    }

    pub(super) fn ids(&self, job: u32) -> Vec<TargetId> {
        self.jobs[job as usize].targets.keys().copied().collect()
    }

    /// True when that changed.
    pub(super) fn set_over_limit(&mut self, job: u32, over_limit: bool) -> bool {
        std::mem::replace(&mut self.jobs[job as usize].over_limit, over_limit) != over_limit
    }

    pub(super) fn over_limit(&self) -> Vec<String> {
        self.jobs.iter().filter(|job| job.over_limit).map(|job| job.name.to_string()).collect()
    }

    pub(super) fn get(&self, key: TargetKey) -> Option<&Tracked> {
        self.jobs.get(key.job as usize)?.targets.get(&key.id)
    }

    pub(super) fn get_mut(&mut self, key: TargetKey) -> Option<&mut Tracked> {
        self.jobs.get_mut(key.job as usize)?.targets.get_mut(&key.id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (TargetKey, &Tracked)> {
        (0..).zip(&self.jobs).flat_map(|(place, job)| {
            job.targets.iter().map(move |(id, tracked)| (TargetKey { job: place, id: *id }, tracked))
        })
    }

    /// By job: name, targets.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.jobs.iter().map(|job| (&job.name, job.targets.len()))
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.iter().map(|job| job.targets.len()).sum()
    }

    pub(super) fn vacant(&self) -> &KeySet {
        &self.vacant
    }

    /// Targets with a vacant slot for which a worker is to be looked for, in order.
    pub(super) fn take_vacancies(&mut self) -> Vec<TargetKey> {
        let fresh = std::mem::take(&mut self.fresh);
        self.waiting = 0;
        let mut keys: Vec<_> = match std::mem::take(&mut self.retry) {
            true => self.vacant.iter().copied().collect(),
            false => fresh.into_iter().filter(|key| self.vacant.contains(key)).collect(),
        };
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Those of them that appeared after `since`, when discovery had found all others, and that are not suspects.
    pub(super) fn take_new_vacancies(&mut self, since: Millis, suspects: &KeySet) -> Vec<TargetKey> {
        let fresh = self.fresh.split_off(self.waiting);
        let is_new = |key: &TargetKey| {
            self.get(*key).is_some_and(|tracked| {
                let is_new = tracked.is_new && !tracked.scraped && !suspects.contains(key);
                is_new && tracked.found_at.is_some_and(|at| at > since)
            })
        };
        let (new, others): (Vec<_>, Vec<_>) = fresh.into_iter().partition(is_new);
        self.fresh.extend(others);
        self.waiting = self.fresh.len();
        new
    }

    /// Has a worker looked for, for all that have none.
    pub(super) fn retry_vacancies(&mut self) {
        self.retry = true;
    }

    /// Nobody is known to have any target.
    pub(super) fn vacate(&mut self, balance: &mut Balance) {
        let keys: Vec<_> = self.iter().map(|(key, tracked)| (key, tracked.slots().count())).collect();
        for (key, slots) in keys {
            for place in 0..slots {
                self.set_slot(key, place, Slot::Vacant, balance);
            }
        }
        self.fresh.clear();
        self.waiting = 0;
        self.retry = true;
    }

    /// Adds a target that is not there yet, all its slots vacant.
    pub(super) fn insert(&mut self, job: u32, target: Arc<ScrapeTarget>, from_disk: bool, now: Millis) {
        let key = TargetKey { job, id: target.id };
        let entry = &mut self.jobs[job as usize];
        let mean = entry.measured_cost.checked_div(entry.measured);
        let tracked = Tracked {
            target,
            slots: Slots { first: Slot::Vacant, more: vec![Slot::Vacant; self.replicas - 1] },
            cost: clamp(mean.unwrap_or(DEFAULT_COST)),
            measured: false,
            from_disk,
            is_new: entry.synced && !from_disk,
            scraped: from_disk,
            found_at: Some(now),
        };
        entry.targets.insert(key.id, tracked);
        self.vacant.insert(key);
        self.fresh.push(key);
    }

    /// Takes a target out, with nobody carrying it any more.
    pub(super) fn remove(&mut self, key: TargetKey, balance: &mut Balance) -> Option<Tracked> {
        let job = self.jobs.get_mut(key.job as usize)?;
        let tracked = job.targets.remove(&key.id)?;
        self.vacant.remove(&key);
        if tracked.measured {
            job.measured -= 1;
            job.measured_cost -= tracked.cost();
        }
        for worker in tracked.slots().filter_map(Slot::planned) {
            balance.subtract(worker, tracked.cost());
        }
        Some(tracked)
    }

    /// Puts a replica somewhere else; gives where it was.
    pub(super) fn set_slot(
        &mut self,
        key: TargetKey,
        place: usize,
        slot: Slot,
        balance: &mut Balance,
    ) -> Option<Slot> {
        let tracked = self.jobs.get_mut(key.job as usize)?.targets.get_mut(&key.id)?;
        let before = std::mem::replace(tracked.slot_mut(place), slot);
        if let Some(worker) = before.planned() {
            balance.subtract(worker, tracked.cost());
        }
        if let Some(worker) = slot.planned() {
            balance.add(worker, tracked.cost());
        }
        if tracked.slots().any(|slot| slot == Slot::Vacant) {
            self.vacant.insert(key);
            if slot == Slot::Vacant {
                self.fresh.push(key);
            }
        } else {
            self.vacant.remove(&key);
        }
        Some(before)
    }

    /// A target was measured.
    pub(super) fn measure(&mut self, key: TargetKey, series: u64, bytes: u64, balance: &mut Balance) {
        let Some(job) = self.jobs.get_mut(key.job as usize) else { return };
        let Some(tracked) = job.targets.get_mut(&key.id) else { return };
        let before = tracked.cost();
        tracked.cost = clamp(series.saturating_add(bytes / BYTES_PER_SERIES));
        if tracked.measured {
            job.measured_cost -= before;
        } else {
            job.measured += 1;
        }
        tracked.measured = true;
        tracked.scraped = true;
        job.measured_cost += tracked.cost();
        for worker in tracked.slots().filter_map(Slot::planned) {
            balance.subtract(worker, before);
            balance.add(worker, tracked.cost());
        }
    }
}

/// At least 1, so that targets without a single series are spread, too.
fn clamp(cost: u64) -> u32 {
    u32::try_from(cost).unwrap_or(u32::MAX).max(1)
}

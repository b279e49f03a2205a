//! One target: when it is scraped, with which settings, and what is remembered of it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwap;
use outrigger_model::fault;
use outrigger_model::labels::Fnv1a;
use outrigger_model::sample::Timestamp;
use outrigger_model::target::ScrapeTarget;
use outrigger_wire::centre::Inheritance;
use parking_lot::Mutex;

use super::cache::SeriesCache;
use super::engine::Shared;
use super::handover::{Inherited, inheritance};
use super::job::{JobSettings, JobState};
use super::metadata::MetadataWatch;
use super::pending_stale::PendingStale;
use super::schedule::Schedule;
use super::series_limit::{SeriesLimit, SeriesLimits, Stamp};
use super::status::{Health, TargetCost, TargetStatus};
use crate::series::SeriesId;

/// A target under its job's settings.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) target: Arc<ScrapeTarget>,
    pub(crate) settings: Arc<JobSettings>,
    pub(crate) schedule: Schedule,
}

/// A target that is scraped, or was until lately.
pub(crate) struct TargetLoop {
    /// Unique in the process: a target that comes back is another loop.
    pub(crate) id: u64,
    /// Of job and target; the same after a restart.
    pub(crate) identity: u64,
    pub(crate) job: Arc<JobState>,
    pub(crate) plan: ArcSwap<Plan>,
    phase: Mutex<Phase>,
    memory: Mutex<Slot>,
    pub(crate) status: Mutex<TargetStatus>,
    /// Counts the scrapes that changed which series there are.
    pub(crate) series_changes: AtomicU32,
}

/// What scrapes leave behind for the next one.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) cache: SeriesCache,
    pub(crate) metadata: MetadataWatch,
    /// Size of the last body that was not empty.
    pub(crate) body_bytes: usize,
    /// `series_limit` of the target.
    pub(crate) series_limit: Option<SeriesLimit>,
    /// With which limits the lines of the cache were read.
    limits: Stamp,
    /// What the owner before left, until it is needed.
    inherited: Option<Box<Inherited>>,
    /// The target is gone: what still appears waits for a stale marker at once.
    leaving: bool,
    /// Size and series of the cache as they are counted in the metrics.
    counted: (usize, usize),
}

/// Where the memory of a target is.
enum Slot {
    Here(Box<Memory>),
    /// A scrape has it.
    Taken {
        /// The target was removed meanwhile.
        leaving: bool,
    },
}

/// The memory of a target while a scrape has it; goes back when dropped.
pub(crate) struct TakenMemory<'a> {
    target: &'a TargetLoop,
    pending_stale: &'a PendingStale,
    /// `None` only while being dropped.
    memory: Option<Box<Memory>>,
}

impl Deref for TakenMemory<'_> {
    type Target = Memory;

    fn deref(&self) -> &Memory {
        self.memory.as_deref().expect("it is there until it is dropped")
    }
}

impl DerefMut for TakenMemory<'_> {
    fn deref_mut(&mut self) -> &mut Memory {
        self.memory.as_deref_mut().expect("it is there until it is dropped")
    }
}

impl TakenMemory<'_> {
    /// Series that came alive: those of a target that is gone wait for their stale markers at once.
    pub(crate) fn note_appeared(&self, appeared: &[SeriesId]) {
        if self.leaving {
            let table = self.cache.table();
            self.pending_stale.wait(self.target.id, appeared.iter().map(|id| table.hash(*id)));
        }
    }
}

impl Memory {
    /// Makes `limit` the limit of the target's series, beside that of its job. When every series has to ask again, what
    /// is known of the body's lines is forgotten.
    pub(crate) fn apply_series_limits(&mut self, limit: u64, job: Option<&SeriesLimit>, now: Timestamp) {
        if self.series_limit.as_ref().map_or(0, SeriesLimit::limit) != limit {
            self.series_limit = SeriesLimit::new(limit, now);
        }
        let stamp = SeriesLimits { target: self.series_limit.as_ref(), job }.stamp(now);
        if stamp != self.limits {
            self.limits = stamp;
            self.cache.layout.clear();
        }
    }

    /// Takes over the series that the owner before left, once.
    pub(crate) fn settle_inheritance(&mut self) {
        let Some(inherited) = self.inherited.take() else { return };
        if let Err(error) = self.cache.inherit(&inherited.series, inherited.last()) {
            let error = fault::chain(&error);
            tracing::warn!(error, "series of a target's owner before get no stale markers");
        }
    }

    /// What the next owner needs; `None` when there was no scrape.
    fn leave_to_heir(&mut self, now: Timestamp) -> Option<Inheritance> {
        match self.inherited.take() {
            Some(inherited) => Some(inherited.pass_on(now)),
            None => Some(inheritance(self.cache.last_scrape()?, self.cache.export(), now)),
        }
    }

    /// Corrects what the metrics say about the memory of all targets.
    pub(crate) fn resize(&mut self, shared: &Shared) {
        let size = match self.cache.has_reported() {
            true => (self.cache.heap_bytes() + self.metadata.heap_bytes(), self.cache.series_count()),
            false => (0, 0),
        };
        shared.metrics.resize_cache(self.counted, size);
        self.counted = size;
    }
}

impl Drop for TakenMemory<'_> {
    fn drop(&mut self) {
        let Some(mut memory) = self.memory.take() else { return };
        let mut slot = self.target.memory.lock();
        if matches!(*slot, Slot::Taken { leaving: true }) && !memory.leaving {
            memory.leaving = true;
            self.pending_stale.wait(self.target.id, memory.cache.live_hashes());
        }
        *slot = Slot::Here(memory);
    }
}

/// Where a target is between two scrapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Until its next tick.
    Waiting,
    /// A scrape is under way.
    Scraping,
    /// A scrape is under way, and the target was removed meanwhile.
    Leaving,
    /// A scrape is under way, and the target goes to another owner after it.
    HandingOver,
    /// Removed.
    Gone,
}

/// What happens to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Its tick has come.
    Due,
    /// Its scrape has ended.
    Finished,
    /// It was removed.
    Removed,
    /// It is another's from now on.
    Released,
}

/// What is to be done then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Nothing,
    Scrape,
    /// Plan the next tick.
    Rearm,
    /// Plan the stale markers.
    Retire,
    /// Give it to its next owner.
    HandOver,
}

impl Phase {
    fn step(self, event: Event) -> (Phase, Action) {
        match (self, event) {
            (Phase::Waiting, Event::Due) => (Phase::Scraping, Action::Scrape),
            (Phase::Waiting, Event::Removed) => (Phase::Gone, Action::Retire),
            (Phase::Scraping, Event::Finished) => (Phase::Waiting, Action::Rearm),
            (Phase::Scraping, Event::Removed) => (Phase::Leaving, Action::Retire),
            (Phase::Leaving, Event::Finished) => (Phase::Gone, Action::Nothing),
            (Phase::Waiting, Event::Released) => (Phase::Gone, Action::HandOver),
            (Phase::Scraping, Event::Released) => (Phase::HandingOver, Action::Nothing),
            (Phase::HandingOver, Event::Finished) => (Phase::Gone, Action::HandOver),
            (phase, _) => (phase, Action::Nothing),
        }
    }
}

impl TargetLoop {
    pub(crate) fn new(id: u64, job: Arc<JobState>, plan: Plan, inherited: Option<Inherited>) -> Self {
        let mut identity = Fnv1a::new();
        identity.update(&plan.target.id.0.to_be_bytes());
        identity.update(job.name.as_bytes());
        Self {
            id,
            identity: identity.finish(),
            job,
            plan: ArcSwap::from_pointee(plan),
            phase: Mutex::new(Phase::Waiting),
            memory: Mutex::new(Slot::Here(Box::new(Memory {
                inherited: inherited.map(Box::new),
                ..Memory::default()
            }))),
            status: Mutex::new(TargetStatus::default()),
            series_changes: AtomicU32::new(0),
        }
    }

    /// Takes what earlier scrapes left behind.
    pub(crate) fn take_memory<'a>(&'a self, pending_stale: &'a PendingStale) -> TakenMemory<'a> {
        let mut slot = self.memory.lock();
        let memory = match std::mem::replace(&mut *slot, Slot::Taken { leaving: false }) {
            Slot::Here(memory) => memory,
            // The scrape before panicked.
            Slot::Taken { leaving } => Box::new(Memory { leaving, ..Memory::default() }),
        };
        TakenMemory { target: self, pending_stale, memory: Some(memory) }
    }

    /// The target is gone: its series wait for stale markers from now on. False when there are none and will be none.
    pub(crate) fn leave(&self, pending_stale: &PendingStale) -> bool {
        match &mut *self.memory.lock() {
            Slot::Here(memory) => {
                memory.leaving = true;
                memory.settle_inheritance();
                pending_stale.wait(self.id, memory.cache.live_hashes());
                memory.cache.has_reported() || self.is_scraping()
            }
            Slot::Taken { leaving } => {
                *leaving = true;
                true
            }
        }
    }

    /// Nobody else writes markers for the series of the last scrape.
    pub(crate) fn claim_live(&self, pending_stale: &PendingStale) {
        if let Slot::Here(memory) = &*self.memory.lock() {
            pending_stale.claim(self.id, memory.cache.live_hashes());
        }
    }

    /// What the next owner needs, of a target whose scrapes have ended; nothing of it stays here.
    pub(crate) fn hand_over(&self, shared: &Shared) -> Option<Inheritance> {
        let mut slot = self.memory.lock();
        let Slot::Here(memory) = &mut *slot else { return None };
        let left = memory.leave_to_heir(shared.clock.now());
        **memory = Memory { counted: memory.counted, ..Memory::default() };
        memory.resize(shared);
        left
    }

    /// What it costs.
    pub(crate) fn cost(&self) -> TargetCost {
        let plan = self.plan.load();
        let status = self.status.lock();
        let measured = (status.samples_post_metric_relabeling as u64, status.body_bytes as u64);
        TargetCost {
            id: plan.target.id,
            interval: plan.target.interval,
            measured: (status.health == Health::Up).then_some(measured),
            series_changes: self.series_changes.load(Ordering::Relaxed),
        }
    }

    /// What the next owner would need now; `None` while a scrape is under way, or when there was none.
    pub(crate) fn inheritance(&self, now: Timestamp) -> Option<Inheritance> {
        match &*self.memory.lock() {
            Slot::Here(memory) => match &memory.inherited {
                Some(inherited) => Some((**inherited).clone().pass_on(now)),
                None => Some(inheritance(memory.cache.last_scrape()?, memory.cache.export(), now)),
            },
            Slot::Taken { .. } => None,
        }
    }

    /// Length of the last body that was not empty; 0 when it is not known.
    pub(crate) fn last_body_bytes(&self) -> usize {
        match &*self.memory.lock() {
            Slot::Here(memory) => memory.body_bytes,
            Slot::Taken { .. } => 0,
        }
    }

    /// Tells the loop what happened; returns what is to be done.
    pub(crate) fn step(&self, event: Event) -> Action {
        let mut phase = self.phase.lock();
        let (next, action) = phase.step(event);
        *phase = next;
        action
    }

    /// Whether a scrape is under way.
    pub(crate) fn is_scraping(&self) -> bool {
        matches!(*self.phase.lock(), Phase::Scraping | Phase::Leaving | Phase::HandingOver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapes_never_overlap_and_a_removed_target_is_retired_once() {
        use Action::*;
        use Event::*;
        // events, actions
        for (events, actions) in [
            (&[Due, Finished, Due, Finished][..], &[Scrape, Rearm, Scrape, Rearm][..]),
            (&[Due, Due, Finished], &[Scrape, Nothing, Rearm]),
            (&[Removed, Due, Removed], &[Retire, Nothing, Nothing]),
            (&[Due, Removed, Due, Finished, Due], &[Scrape, Retire, Nothing, Nothing, Nothing]),
            (&[Released, Due, Released], &[HandOver, Nothing, Nothing]),
            (&[Due, Released, Due, Finished, Due], &[Scrape, Nothing, Nothing, HandOver, Nothing]),
        ] {
            let mut phase = Phase::Waiting;
            let taken: Vec<Action> = events
                .iter()
                .map(|event| {
                    let (next, action) = phase.step(*event);
                    phase = next;
                    action
                })
                .collect();
            assert_eq!(taken, actions, "{events:?}");
        }
    }
}

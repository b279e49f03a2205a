//! One target: when it is scraped, with which settings, and what is remembered of it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use outrigger_model::sample::Timestamp;
use outrigger_model::target::ScrapeTarget;
use parking_lot::Mutex;

use super::cache::SeriesCache;
use super::job::{JobSettings, JobState};
use super::metadata::MetadataWatch;
use super::schedule::Schedule;
use super::status::TargetStatus;

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
    pub(crate) job: Arc<JobState>,
    pub(crate) plan: ArcSwap<Plan>,
    phase: Mutex<Phase>,
    pub(crate) memory: Mutex<Memory>,
    pub(crate) status: Mutex<TargetStatus>,
}

/// What scrapes leave behind for the next one.
pub(crate) struct Memory {
    pub(crate) cache: SeriesCache,
    pub(crate) metadata: MetadataWatch,
    /// Size of the last body that was not empty.
    pub(crate) body_bytes: usize,
    /// The target is gone: what still appears waits for a stale marker at once.
    pub(crate) leaving: bool,
    /// Size and series of the cache as they are counted in the metrics.
    pub(crate) counted: (usize, usize),
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
}

impl Phase {
    fn step(self, event: Event) -> (Phase, Action) {
        match (self, event) {
            (Phase::Waiting, Event::Due) => (Phase::Scraping, Action::Scrape),
            (Phase::Waiting, Event::Removed) => (Phase::Gone, Action::Retire),
            (Phase::Scraping, Event::Finished) => (Phase::Waiting, Action::Rearm),
            (Phase::Scraping, Event::Removed) => (Phase::Leaving, Action::Retire),
            (Phase::Leaving, Event::Finished) => (Phase::Gone, Action::Nothing),
            (phase, _) => (phase, Action::Nothing),
        }
    }
}

impl TargetLoop {
    pub(crate) fn new(id: u64, job: Arc<JobState>, plan: Plan) -> Self {
        Self {
            id,
            job,
            plan: ArcSwap::from_pointee(plan),
            phase: Mutex::new(Phase::Waiting),
            memory: Mutex::new(Memory {
                cache: SeriesCache::new(),
                metadata: MetadataWatch::default(),
                body_bytes: 0,
                leaving: false,
                counted: (0, 0),
            }),
            status: Mutex::new(TargetStatus::default()),
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
        matches!(*self.phase.lock(), Phase::Scraping | Phase::Leaving)
    }

    /// The first tick at or after `now`.
    pub(crate) fn first_tick(&self, now: Timestamp) -> Timestamp {
        self.plan.load().schedule.tick_from(now)
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

//! The fleet for pages and APIs.

use std::collections::HashMap;
use std::sync::Arc;

use outrigger_model::target::{ScrapeTarget, TargetId};
use outrigger_wire::centre::WorkerStatus;

use super::targets::Slot;
use super::workers::{Outside, OutsideBecause, Presence, Worker};
use super::{Fleet, Millis};

/// How a worker and the master stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkerState {
    /// It has a stream.
    Connected,
    /// It has one and is shutting down.
    Draining,
    /// It has none, but answers when it is asked: it scrapes on and keeps its targets.
    Unreachable,
    /// It has none; whether it lives is not known yet.
    Lost,
    /// It is known from an earlier leader and has not come to this one yet.
    Expected,
}

impl WorkerState {
    /// All of them.
    pub const ALL: [WorkerState; 5] = [
        WorkerState::Connected,
        WorkerState::Draining,
        WorkerState::Unreachable,
        WorkerState::Lost,
        WorkerState::Expected,
    ];

    /// Value of the label `state` in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            WorkerState::Connected => "connected",
            WorkerState::Draining => "draining",
            WorkerState::Unreachable => "unreachable",
            WorkerState::Lost => "lost",
            WorkerState::Expected => "expected",
        }
    }
}

/// A worker.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerView {
    /// Name.
    pub name: Arc<str>,
    /// Which start of it.
    pub instance: u64,
    /// Zone; may be empty.
    pub zone: Arc<str>,
    /// Its share of the load in comparison with others.
    pub weight: f64,
    /// Outrigger's version; empty before its first word.
    pub version: String,
    /// Where it can be asked whether it lives; may be empty.
    pub advertise: String,
    /// How it and the master stand.
    pub state: WorkerState,
    /// For how long, milliseconds.
    pub since_millis: u64,
    /// Since its last word, milliseconds.
    pub silent_millis: u64,
    /// Targets that it has or is to have.
    pub targets: u64,
    /// What they cost, in series.
    pub cost: u64,
    /// Its load over its share; 1 is even.
    pub load_ratio: f64,
    /// How it fares, as it last said.
    pub status: Option<WorkerStatus>,
    /// The master's clock minus its own, milliseconds.
    pub clock_offset_millis: i64,
    /// Messages that wait for it.
    pub orders: usize,
}

/// Targets by where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TargetCounts {
    /// A worker has it.
    pub assigned: u64,
    /// It is to go to another worker, which waits for its turn.
    pub queued: u64,
    /// Its worker was asked to hand it over.
    pub moving: u64,
    /// Nobody has it, or not as many as should.
    pub unassigned: u64,
    /// Workers scrape it though it is no target, or not known to be one.
    pub outside: u64,
}

impl Fleet {
    /// All workers, by name.
    pub fn workers(&self, now: Millis) -> Vec<WorkerView> {
        let mut views: Vec<_> = self.workers.iter().map(|worker| self.view(worker, now)).collect();
        views.sort_by(|one, other| one.name.cmp(&other.name));
        views
    }

    fn view(&self, worker: &Worker, now: Millis) -> WorkerView {
        let state = match worker.presence {
            Presence::Connected(_) if worker.draining => WorkerState::Draining,
            Presence::Connected(_) => WorkerState::Connected,
            Presence::Unreachable { .. } => WorkerState::Unreachable,
            Presence::Away { .. } | Presence::Silent { .. } if worker.heard => WorkerState::Lost,
            Presence::Away { .. } | Presence::Silent { .. } => WorkerState::Expected,
        };
        let (cost, targets) = self.balance.carried(worker.id);
        WorkerView {
            name: Arc::clone(&worker.record.name),
            instance: worker.record.instance,
            zone: Arc::clone(&worker.record.zone),
            weight: worker.record.weight,
            version: worker.version.clone(),
            advertise: worker.record.advertise.clone(),
            state,
            since_millis: now.saturating_sub(worker.since),
            silent_millis: now.saturating_sub(worker.last_heard),
            targets,
            cost,
            load_ratio: self.balance.ratio(worker.id),
            status: worker.status.clone(),
            clock_offset_millis: worker.clock_offset_millis,
            orders: worker.orders.len(),
        }
    }

    /// Workers that scrape a target now; more than one with a replication factor.
    pub fn owners(&self, job: &str, id: TargetId) -> Vec<Arc<str>> {
        let tracked = self.key_of(job, id.0).and_then(|key| self.targets.get(key));
        let holders = tracked.into_iter().flat_map(|tracked| tracked.slots()).filter_map(Slot::holder);
        holders
            .filter_map(|holder| self.workers.get(holder))
            .map(|worker| Arc::clone(&worker.record.name))
            .collect()
    }

    /// Targets by where they stand.
    pub fn target_counts(&self) -> TargetCounts {
        let (queued, moving) = self.moves.len();
        let (queued, moving) = (queued as u64, moving as u64);
        let unassigned = self.targets.vacant().len() as u64;
        let is_scraped = |outside: &Outside| !matches!(outside.why, OutsideBecause::Ended(_));
        TargetCounts {
            assigned: (self.targets.len() as u64).saturating_sub(queued + moving + unassigned),
            queued,
            moving,
            unassigned,
            outside: self.outside.values().filter(|entries| entries.iter().any(is_scraped)).count() as u64,
        }
    }

    /// The targets for whose identity `is_meant` holds.
    pub(super) fn targets_where(&self, is_meant: impl Fn(u64) -> bool) -> Vec<Arc<ScrapeTarget>> {
        let meant = self.targets.iter().filter(|(key, _)| is_meant(key.id.0));
        meant.map(|(_, tracked)| Arc::clone(&tracked.target)).collect()
    }

    pub(super) fn target_count(&self) -> usize {
        self.targets.len()
    }

    /// Number of targets by job.
    pub fn job_counts(&self) -> HashMap<Arc<str>, usize> {
        self.targets.counts().map(|(name, count)| (Arc::clone(name), count)).collect()
    }

    /// What a worker last sent of its own metrics: text exposition format compressed with zstd, and when it was
    /// taken, milliseconds since the epoch.
    pub fn self_metrics(&self, worker: &str) -> Option<(Vec<u8>, i64)> {
        self.workers.get(self.workers.named(worker)?)?.self_metrics.clone()
    }
}

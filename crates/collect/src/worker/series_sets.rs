//! The series of targets' last scrapes, for whoever takes the targets over when this worker is dead.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use outrigger_model::target::TargetId;
use outrigger_wire::centre::{Costs, JobCosts};

use super::costs::{Line, Lines, messages};
use super::session::Millis;
use crate::scrape::{ScrapeEngine, TargetCost};

/// Series sets that may be sent in one second, bytes.
const SET_BYTES_PER_SECOND: u64 = 512 << 10;
/// A larger set is not sent: its target's series would not get stale markers if this worker died.
const MAX_SET: usize = 4 << 20;

/// A target.
pub(crate) type Key = (Arc<str>, TargetId);

/// Sets that were made for one master and are told to the next one a moment later, by target and state.
pub(crate) type MadeSets = HashMap<(Key, u32), Vec<u8>>;

/// What one master knows of the series.
#[derive(Debug, Default)]
pub(crate) struct SeriesTeller {
    /// The states that it was told.
    told: HashMap<Arc<str>, HashMap<TargetId, u32>>,
    /// Targets whose series it is to know, in this order, and the same for looking them up.
    waiting: VecDeque<Key>,
    is_waiting: HashSet<Key>,
    /// Targets that are gone.
    gone: Vec<Key>,
    /// Bytes that may be sent.
    allowance: u64,
    filled: Option<Millis>,
}

impl SeriesTeller {
    /// It knows nothing: it is another master, or has begun anew.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Looks through all targets for what it was not told.
    pub(crate) fn look(&mut self, costs: &[(Arc<str>, Vec<TargetCost>)]) {
        let mut told = HashMap::with_capacity(costs.len());
        for (job, targets) in costs {
            let before = self.told.remove(job).unwrap_or_default();
            let mut of_job = HashMap::with_capacity(targets.len());
            for target in targets {
                let state = before.get(&target.id).copied();
                of_job.extend(state.map(|state| (target.id, state)));
                if target.measured.is_some() && state != Some(target.series_changes) {
                    self.wait((Arc::clone(job), target.id));
                }
            }
            told.insert(Arc::clone(job), of_job);
        }
        self.told = told;
    }

    /// The series of a target have changed.
    pub(crate) fn wait(&mut self, key: Key) {
        if self.is_waiting.insert(key.clone()) {
            self.waiting.push_back(key);
        }
    }

    /// A target is gone and the ends of its series are written.
    pub(crate) fn gone(&mut self, job: &Arc<str>, ids: &[TargetId]) {
        if let Some(told) = self.told.get_mut(job) {
            told.retain(|id, _| !ids.contains(id));
        }
        self.gone.extend(ids.iter().map(|id| (Arc::clone(job), *id)));
    }

    /// Whether there is something to tell.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.gone.is_empty()
    }

    /// What may be told now, in messages of bounded size.
    pub(crate) fn next(&mut self, engine: &ScrapeEngine, made: &mut MadeSets, now: Millis) -> Vec<Costs> {
        let passed = self.filled.replace(now).map_or(1_000, |filled| now - filled);
        self.allowance =
            (self.allowance + passed * SET_BYTES_PER_SECOND / 1_000).min(4 * SET_BYTES_PER_SECOND);
        let mut all = self.take_gone();
        let mut lines = Lines::new();
        for _ in 0..self.waiting.len() {
            if self.allowance == 0 {
                break;
            }
            let Some(key) = self.waiting.pop_front() else { break };
            let target = engine.cost(&key.0, key.1).filter(|target| !self.was_told(&key, target));
            let Some(target) = target else {
                self.is_waiting.remove(&key);
                continue;
            };
            let state = (key.clone(), target.series_changes);
            if !made.contains_key(&state) {
                // A scrape is under way: later.
                let Some(inheritance) = engine.inheritance(&key.0, key.1) else {
                    self.waiting.push_back(key);
                    continue;
                };
                made.insert(state.clone(), inheritance.series);
            }
            self.is_waiting.remove(&key);
            let set = made.get(&state).cloned().unwrap_or_default();
            self.add(key, &target, set, &mut lines);
        }
        all.extend(messages(lines));
        all
    }

    fn was_told(&self, key: &Key, target: &TargetCost) -> bool {
        self.told.get(&key.0).and_then(|told| told.get(&key.1)) == Some(&target.series_changes)
    }

    fn add(&mut self, key: Key, target: &TargetCost, set: Vec<u8>, lines: &mut Lines) {
        self.told.entry(Arc::clone(&key.0)).or_default().insert(key.1, target.series_changes);
        if set.len() > MAX_SET {
            tracing::debug!(job = &*key.0, bytes = set.len(), "a series set is too large to be sent");
            return;
        }
        self.allowance = self.allowance.saturating_sub(set.len() as u64);
        let (series, body_bytes) = target.measured.unwrap_or_default();
        lines.insert(key, Line { series, body_bytes, set });
    }

    fn take_gone(&mut self) -> Vec<Costs> {
        let mut by_job: HashMap<Arc<str>, Vec<u64>> = HashMap::new();
        for (job, id) in std::mem::take(&mut self.gone) {
            by_job.entry(job).or_default().push(id.0);
        }
        let jobs: Vec<_> = by_job
            .into_iter()
            .map(|(job, gone)| JobCosts { job: job.to_string(), gone, ..JobCosts::default() })
            .collect();
        if jobs.is_empty() { Vec::new() } else { vec![Costs { jobs }] }
    }
}

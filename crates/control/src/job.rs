//! The targets of one job: which source yields which, counted by reference, and what changed since the last
//! delta. Pure state: groups in, deltas out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use outrigger_config::prometheus::ScrapeConfig;
use outrigger_model::labels::Labels;
use outrigger_model::target::{ScrapeTarget, TargetDelta, TargetId};

use crate::populate::{Populated, Populator, TargetError};

/// Targets in one delta, so that applying it does not hold the scrape engine's lock for long.
const MAX_DELTA_TARGETS: usize = 10_000;

/// Index of a discovery configuration in `ScrapeConfig::discovery`.
pub(crate) type ProviderIndex = usize;

/// The targets of one job.
#[derive(Debug)]
pub(crate) struct JobTargets {
    populator: Populator,
    providers: Vec<ProviderTargets>,
    active: HashMap<TargetId, ActiveTarget>,
    /// Ids whose references changed since the last flush, with the target that the engine has.
    touched: HashMap<TargetId, Option<Arc<ScrapeTarget>>>,
    /// Whether the last delta said that the job is over its `target_limit`.
    told_over_limit: bool,
    counts: Counts,
}

#[derive(Debug, Clone)]
struct ActiveTarget {
    target: Arc<ScrapeTarget>,
    references: u32,
}

/// How many targets there are; dropped and failed are per discovered label set, active ones are distinct.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Scraped.
    pub active: u64,
    /// Dropped by relabelling.
    pub dropped: u64,
    /// Refused with an error.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct ProviderTargets {
    /// By source; a source without targets is absent.
    sources: BTreeMap<Box<str>, SourceTargets>,
    /// Targets of the configuration's predecessor, kept until this one has its first whole result.
    inherited: Vec<TargetId>,
    /// Whether the first whole result has come.
    ready: bool,
}

/// What one source yields.
#[derive(Debug, Default, PartialEq, Eq)]
struct SourceTargets {
    /// Distinct ids, sorted.
    kept: Box<[TargetId]>,
    dropped: u32,
    failed: u32,
}

/// What became of a discovered target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TargetState {
    /// Scraped.
    Active,
    /// Dropped by relabelling.
    Dropped,
    /// Refused with an error.
    Failed,
}

/// Some targets of one source.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) provider: ProviderIndex,
    /// Empty for targets inherited from an earlier configuration.
    pub(crate) source: Box<str>,
    pub(crate) pick: Pick,
}

/// Which targets of a source are meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// The active ones with these ids.
    Ids(Vec<TargetId>),
    /// Of those in the state asked for, as many as `take` after the first `skip`.
    Range { skip: usize, take: usize },
}

impl Located {
    /// Number of targets that are meant.
    pub(crate) fn len(&self) -> usize {
        match &self.pick {
            Pick::Ids(ids) => ids.len(),
            Pick::Range { take, .. } => *take,
        }
    }
}

struct Window {
    offset: usize,
    limit: usize,
    /// Beyond this number, targets are neither counted nor listed.
    most: usize,
    total: usize,
    located: Vec<Located>,
}

impl Window {
    /// The part of the next `count` targets that lies in the window.
    fn next(&mut self, count: usize) -> (usize, usize) {
        let count = count.min(self.most - self.total);
        let start = self.total;
        self.total += count;
        let skip = self.offset.saturating_sub(start).min(count);
        let end = self.offset.saturating_add(self.limit).saturating_sub(start).min(count);
        (skip, end.saturating_sub(skip))
    }

    fn put_ids(&mut self, provider: ProviderIndex, source: &str, mut ids: Vec<TargetId>) {
        let (skip, take) = self.next(ids.len());
        if take > 0 {
            ids.drain(..skip);
            ids.truncate(take);
            self.located.push(Located { provider, source: source.into(), pick: Pick::Ids(ids) });
        }
    }

    fn put_range(&mut self, provider: ProviderIndex, source: &str, count: u32) {
        let (skip, take) = self.next(count as usize);
        if take > 0 {
            self.located.push(Located { provider, source: source.into(), pick: Pick::Range { skip, take } });
        }
    }
}

impl JobTargets {
    /// A job that has no targets yet.
    pub(crate) fn new(config: Arc<ScrapeConfig>) -> Self {
        Self {
            providers: config.discovery.iter().map(|_| ProviderTargets::default()).collect(),
            populator: Populator::new(config),
            active: HashMap::new(),
            touched: HashMap::new(),
            told_over_limit: false,
            counts: Counts::default(),
        }
    }

    /// A job whose configuration changed. Every target of `old` is gone with the next [`flush`](Self::flush)
    /// unless it is found anew by then; providers listed in `inherit` (new index, old index) keep what their
    /// predecessor had until they are ready.
    pub(crate) fn succeed(
        config: Arc<ScrapeConfig>,
        old: JobTargets,
        inherit: &[(ProviderIndex, ProviderIndex)],
    ) -> Self {
        let mut job = Self::new(config);
        job.told_over_limit = old.told_over_limit;
        job.touched = old.touched;
        for (id, active) in &old.active {
            job.touched.entry(*id).or_insert_with(|| Some(Arc::clone(&active.target)));
        }
        for &(new_index, old_index) in inherit {
            let Some(predecessor) = old.providers.get(old_index) else { continue };
            let ids = predecessor.sources.values().flat_map(|source| source.kept.iter());
            for id in ids.chain(&predecessor.inherited) {
                let Some(active) = old.active.get(id) else { continue };
                let target = Arc::clone(&active.target);
                job.active.entry(*id).or_insert(ActiveTarget { target, references: 0 }).references += 1;
                job.providers[new_index].inherited.push(*id);
            }
        }
        job
    }

    /// The configuration.
    pub(crate) fn config(&self) -> &Arc<ScrapeConfig> {
        self.populator.config()
    }

    /// How many targets there are.
    pub(crate) fn counts(&self) -> Counts {
        Counts { active: self.active.len() as u64, ..self.counts }
    }

    /// Whether there are more targets than `target_limit` allows.
    pub(crate) fn over_target_limit(&self) -> bool {
        let limit = self.config().target_limit;
        limit != 0 && self.active.len() as u64 > limit
    }

    /// Whether the provider has given its first whole result.
    pub(crate) fn is_ready(&self, provider: ProviderIndex) -> bool {
        self.providers[provider].ready
    }

    /// The provider has given its first whole result: what it inherited goes.
    pub(crate) fn set_ready(&mut self, provider: ProviderIndex) {
        self.providers[provider].ready = true;
        for id in std::mem::take(&mut self.providers[provider].inherited) {
            self.release(id);
        }
    }

    /// Replaces the targets of one source; an empty `targets` removes it. Gives the first target error when the
    /// source had none before.
    pub(crate) fn update(
        &mut self,
        provider: ProviderIndex,
        source: &str,
        group: &Labels,
        targets: &[Labels],
    ) -> Option<TargetError> {
        let mut next = SourceTargets::default();
        let mut kept = Vec::with_capacity(targets.len());
        let mut first_error = None;
        for target in targets {
            match self.populator.populate(group, target) {
                Populated::Keep(target) => {
                    kept.push(target.id);
                    self.acquire(target);
                }
                Populated::Drop => next.dropped += 1,
                Populated::Error(error) => {
                    next.failed += 1;
                    first_error.get_or_insert(error);
                }
            }
        }
        next.kept = self.deduplicate(kept);
        let is_empty = next == SourceTargets::default();
        self.counts.dropped += u64::from(next.dropped);
        self.counts.failed += u64::from(next.failed);
        let sources = &mut self.providers[provider].sources;
        let previous = if is_empty {
            sources.remove(source)
        } else if let Some(entry) = sources.get_mut(source) {
            Some(std::mem::replace(entry, next))
        } else {
            sources.insert(source.into(), next);
            None
        };
        let previous = previous.unwrap_or_default();
        let had_error = previous.failed > 0;
        self.forget(previous);
        first_error.filter(|_| !had_error)
    }

    /// Sources that the provider has targets for, in order.
    pub(crate) fn sources(&self, provider: ProviderIndex) -> impl Iterator<Item = &str> {
        self.providers[provider].sources.keys().map(|source| &**source)
    }

    /// What changed since the last flush, in deltas of bounded size; nothing when nothing did.
    pub(crate) fn flush(&mut self) -> Vec<TargetDelta> {
        let mut added = Vec::new();
        let mut removed = Vec::new();
        for (id, before) in std::mem::take(&mut self.touched) {
            match (before, self.active.get(&id)) {
                (None, Some(active)) => added.push(Arc::clone(&active.target)),
                (Some(_), None) => removed.push(id),
                (None, None) | (Some(_), Some(_)) => {}
            }
        }
        let over_target_limit = self.over_target_limit();
        if added.is_empty() && removed.is_empty() && over_target_limit == self.told_over_limit {
            return Vec::new();
        }
        self.told_over_limit = over_target_limit;
        let delta = |added, removed| TargetDelta {
            job: Arc::clone(&self.config().job_name),
            added,
            removed,
            over_target_limit,
        };
        let mut deltas = vec![delta(Vec::new(), removed)];
        while added.len() > MAX_DELTA_TARGETS {
            let rest = added.split_off(MAX_DELTA_TARGETS);
            deltas.push(delta(std::mem::replace(&mut added, rest), Vec::new()));
        }
        deltas[0].added = added;
        deltas
    }

    /// The active target of this id.
    pub(crate) fn target(&self, id: TargetId) -> Option<&Arc<ScrapeTarget>> {
        self.active.get(&id).map(|active| &active.target)
    }

    /// Where the targets in one state stand: a window of `limit` of them after the first `offset`, in order of
    /// provider and source, and how many there are in all. A target of several sources is listed once.
    /// `filter` is asked for active targets only; of dropped ones there are at most `keep_dropped_targets`.
    pub(crate) fn window(
        &self,
        state: TargetState,
        offset: usize,
        limit: usize,
        filter: &dyn Fn(&ScrapeTarget) -> bool,
    ) -> (usize, Vec<Located>) {
        let most = match (state, self.config().keep_dropped_targets) {
            (TargetState::Active | TargetState::Failed, _) | (_, 0) => usize::MAX,
            (TargetState::Dropped, most) => usize::try_from(most).unwrap_or(usize::MAX),
        };
        let mut window = Window { offset, limit, most, total: 0, located: Vec::new() };
        let mut seen = HashSet::new();
        for (provider, targets) in self.providers.iter().enumerate() {
            for (source, targets) in &targets.sources {
                match state {
                    TargetState::Active => {
                        let ids = targets.kept.iter().filter(|id| self.is_listed(**id, filter, &mut seen));
                        window.put_ids(provider, source, ids.copied().collect());
                    }
                    TargetState::Dropped => window.put_range(provider, source, targets.dropped),
                    TargetState::Failed => window.put_range(provider, source, targets.failed),
                }
            }
            if state == TargetState::Active {
                let ids = targets.inherited.iter().filter(|id| self.is_listed(**id, filter, &mut seen));
                window.put_ids(provider, "", ids.copied().collect());
            }
        }
        (window.total, window.located)
    }

    /// Whether a target is to be listed where it was come across; one with several references only the first time.
    fn is_listed(
        &self,
        id: TargetId,
        filter: &dyn Fn(&ScrapeTarget) -> bool,
        seen: &mut HashSet<TargetId>,
    ) -> bool {
        let Some(active) = self.active.get(&id) else { return false };
        filter(&active.target) && (active.references == 1 || seen.insert(id))
    }

    /// Every target is gone, for a job that is no longer configured.
    pub(crate) fn clear(&mut self) {
        for provider in 0..self.providers.len() {
            for (_, source) in std::mem::take(&mut self.providers[provider].sources) {
                self.forget(source);
            }
            self.set_ready(provider);
        }
    }

    /// Sorts the ids and gives back the references of repeated ones.
    fn deduplicate(&mut self, mut ids: Vec<TargetId>) -> Box<[TargetId]> {
        ids.sort_unstable();
        let repeated: Vec<_> = ids.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        repeated.into_iter().for_each(|id| self.release(id));
        ids.dedup();
        ids.into()
    }

    fn forget(&mut self, source: SourceTargets) {
        self.counts.dropped -= u64::from(source.dropped);
        self.counts.failed -= u64::from(source.failed);
        for id in source.kept {
            self.release(id);
        }
    }

    fn acquire(&mut self, target: ScrapeTarget) {
        let id = target.id;
        if let Some(active) = self.active.get_mut(&id) {
            active.references += 1;
            return;
        }
        // A target that the engine already has stays the same object.
        let told = self.touched.entry(id).or_insert(None).clone();
        let target = told.unwrap_or_else(|| Arc::new(target));
        self.active.insert(id, ActiveTarget { target, references: 1 });
    }

    fn release(&mut self, id: TargetId) {
        let Some(active) = self.active.get_mut(&id) else { return };
        active.references -= 1;
        if active.references == 0
            && let Some(active) = self.active.remove(&id)
        {
            self.touched.entry(id).or_insert(Some(active.target));
        }
    }
}

#[cfg(test)]
mod tests;

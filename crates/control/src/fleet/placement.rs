//! Who gets which target, and targets on their way from one worker to another.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use outrigger_model::target::{ScrapeTarget, TargetId};
use outrigger_wire::centre::Inheritance;

use crate::assignment::{Placement, Role, TargetKey, Vacancy, WorkerId};

use super::targets::Slot;
use super::workers::{Legacy, NOBODY, Order, Outside, OutsideBecause, Worker};
use super::{Fleet, Millis, MoveReason, PlannedFor};

/// It is looked so often whether somebody carries too much or too little.
pub(super) const LOOK_EVERY: Millis = 10_000;
/// The same, after a plan that could make nothing better.
const LOOK_AFTER_FAILURE: Millis = 60_000;
/// Targets on their way between two workers at a time.
const MOST_IN_FLIGHT: usize = 500;
/// A new leader waits so many leases for a worker that does not answer.
const LEASES_FOR_THE_LOST: u64 = 4;
/// A new leader waits so many leases for a worker that answers but has no stream.
const LEASES_FOR_THE_UNREACHABLE: u64 = 30;
/// Up to so many vacancies are filled one by one.
const FEW_VACANCIES: usize = 64;
/// Vanished targets of which it is remembered that a worker that was not heard yet may scrape them.
const MOST_SUSPECTS: usize = 100_000;
/// Orphans that wait for a worker.
const MOST_ORPHANS: usize = 100_000;
/// What went so long before an election was seen to by the leader of that time.
const OLD_ORPHAN: Millis = 120_000;
/// Targets that workers of another leader scrape and discovery has not found here.
const MOST_KEPT: usize = 1_000_000;

/// A target that went while nobody scraped it, as far as this master knows.
#[derive(Debug)]
pub(super) struct Orphan {
    target: Arc<ScrapeTarget>,
    estate: Option<Inheritance>,
    since: Millis,
}

/// Targets that are to go from one worker to another.
#[derive(Debug, Default)]
pub(super) struct Moves(BTreeMap<(WorkerId, WorkerId), Pair>);

#[derive(Debug, Default)]
struct Pair {
    queued: VecDeque<TargetKey>,
    in_flight: usize,
}

impl Moves {
    fn pair(&mut self, from: WorkerId, to: WorkerId) -> &mut Pair {
        self.0.entry((from, to)).or_default()
    }

    fn ended(&mut self, from: WorkerId, to: WorkerId) {
        if let Some(pair) = self.0.get_mut(&(from, to)) {
            pair.in_flight = pair.in_flight.saturating_sub(1);
        }
    }

    /// Takes out what is queued from or to a worker.
    fn cancel_queued(&mut self, worker: WorkerId) -> Vec<TargetKey> {
        let pairs = self.0.iter_mut().filter(|((from, to), _)| *from == worker || *to == worker);
        pairs.flat_map(|(_, pair)| std::mem::take(&mut pair.queued)).collect()
    }

    /// What may be asked for now.
    fn next_batch(&mut self) -> Vec<(TargetKey, WorkerId, WorkerId)> {
        let mut batch = Vec::new();
        for ((from, to), pair) in &mut self.0 {
            let room = MOST_IN_FLIGHT.saturating_sub(pair.in_flight).min(pair.queued.len());
            batch.extend(pair.queued.drain(..room).map(|key| (key, *from, *to)));
        }
        self.0.retain(|_, pair| pair.in_flight > 0 || !pair.queued.is_empty());
        batch
    }

    /// Targets that are queued, and targets that their owners were asked for.
    pub(super) fn len(&self) -> (usize, usize) {
        self.0.values().fold((0, 0), |(queued, in_flight), pair| {
            (queued + pair.queued.len(), in_flight + pair.in_flight)
        })
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Fleet {
    /// Puts a replica somewhere else and keeps all books.
    pub(super) fn set_slot(&mut self, key: TargetKey, place: usize, slot: Slot) {
        let before = self.targets.set_slot(key, place, slot, &mut self.balance);
        if let Some(Slot::Moving { from, to, asked: true }) = before {
            self.moves.ended(from, to);
        }
        if let Slot::Moving { from, to, asked: true } = slot {
            self.moves.pair(from, to).in_flight += 1;
        }
    }

    /// Tells a worker something, as long as this master leads.
    pub(super) fn order(&mut self, worker: WorkerId, order: Order) {
        if self.is_leading() {
            self.workers.order(worker, order);
        }
    }

    /// A target is there, since `found_at` as far as is known.
    pub(super) fn add_target(
        &mut self,
        found_at: Millis,
        job: u32,
        target: Arc<ScrapeTarget>,
        from_disk: bool,
    ) {
        let key = TargetKey { job, id: target.id };
        if let Some(tracked) = self.targets.get_mut(key) {
            tracked.from_disk &= from_disk;
            if !from_disk && tracked.target != target {
                tracked.target = Arc::clone(&target);
                let holders: Vec<_> = tracked.slots().filter_map(Slot::holder).collect();
                for holder in holders {
                    self.order(holder, Order::Assign(key, Arc::clone(&target), Legacy::None));
                }
            }
            return;
        }
        let scraped = self.kept.remove(&key);
        self.targets.insert(job, target, from_disk, found_at);
        if scraped && let Some(tracked) = self.targets.get_mut(key) {
            tracked.scraped = true;
        }
        for outside in self.outside.remove(&key).unwrap_or_default() {
            self.readmit(key, outside);
        }
    }

    /// A worker scrapes what has become a target (again).
    fn readmit(&mut self, key: TargetKey, outside: Outside) {
        let Outside { worker, why } = outside;
        if let OutsideBecause::Ended(_) = why {
            return;
        }
        let asked = matches!(why, OutsideBecause::Releasing(_));
        let removing = matches!(why, OutsideBecause::Removing(_));
        let Some(tracked) = self.targets.get_mut(key) else { return };
        tracked.scraped = true;
        let place = tracked.slot_where(|slot| slot == Slot::Vacant);
        let cost = tracked.cost();
        match (place, asked) {
            (Some(place), false) => {
                let target = Arc::clone(&tracked.target);
                self.set_slot(key, place, Slot::Held(worker));
                if removing {
                    self.order(worker, Order::Assign(key, target, Legacy::None));
                }
            }
            (Some(place), true) => {
                let others = self.targets.get(key).map(|tracked| tracked.others(place)).unwrap_or_default();
                let to = self.balance.choose(&Vacancy { key, cost, others }).unwrap_or(NOBODY);
                self.set_slot(key, place, Slot::Moving { from: worker, to, asked: true });
            }
            (None, false) if !removing => self.order(worker, Order::Release(key)),
            (None, _) => {}
        }
    }

    pub(super) fn remove_target(&mut self, now: Millis, key: TargetKey) {
        let Some(tracked) = self.targets.remove(key, &mut self.balance) else { return };
        let target = &tracked.target;
        let mut vacant = false;
        for slot in tracked.slots() {
            match slot {
                Slot::Vacant => vacant = true,
                Slot::Moving { from, to, asked: true } => {
                    self.moves.ended(from, to);
                    let why = match self.workers.is_connected(from) {
                        true => OutsideBecause::Releasing(Arc::clone(target)),
                        false => OutsideBecause::Removed(Arc::clone(target)),
                    };
                    self.put_outside(key, from, why);
                }
                Slot::Held(worker) | Slot::Moving { from: worker, asked: false, .. } => {
                    if self.workers.is_connected(worker) {
                        self.order(worker, Order::Remove(key, Some(Arc::clone(target))));
                        self.put_outside(key, worker, OutsideBecause::Removing(Arc::clone(target)));
                    } else {
                        self.put_outside(key, worker, OutsideBecause::Removed(Arc::clone(target)));
                    }
                }
            }
        }
        if vacant && self.suspects.len() < MOST_SUSPECTS && !self.may_place(now) {
            self.suspects.insert(key);
        }
        let estate = self.estates.remove(&key);
        let only_replica = tracked.slots().count() == 1;
        if vacant && only_replica && (estate.is_some() || tracked.scraped) {
            self.orphan(now, tracked.target, estate.map(|(estate, at)| aged(estate, now, at)));
        }
    }

    pub(super) fn put_outside(&mut self, key: TargetKey, worker: WorkerId, why: OutsideBecause) {
        self.outside.entry(key).or_default().push(Outside { worker, why });
    }

    /// Takes the entry of this worker, if there is one.
    pub(super) fn take_outside(&mut self, key: TargetKey, worker: WorkerId) -> Option<OutsideBecause> {
        let entries = self.outside.get_mut(&key)?;
        let place = entries.iter().position(|outside| outside.worker == worker)?;
        let taken = entries.swap_remove(place);
        if entries.is_empty() {
            self.outside.remove(&key);
        }
        Some(taken.why)
    }

    /// A target went while nobody scraped it.
    pub(super) fn orphan(&mut self, now: Millis, target: Arc<ScrapeTarget>, estate: Option<Inheritance>) {
        if self.orphans.len() < MOST_ORPHANS {
            self.orphans.push(Orphan { target, estate, since: now });
        } else {
            self.counters.lost_orphans += 1;
        }
    }

    /// A new term begins with the orphans of its beginning.
    pub(super) fn forget_old_orphans(&mut self, now: Millis) {
        self.orphans.retain(|orphan| now < orphan.since + OLD_ORPHAN);
    }

    /// Workers of another leader scrape these, and have written the markers of those that are `gone`: if that leader
    /// and a worker die there is something to inherit, or nothing more to do.
    pub(super) fn kept(&mut self, job: &str, ids: &[u64], gone: &[u64]) {
        let place = match self.targets.job_if_known(job) {
            Some(place) => place,
            None if self.configuration.is_none() => self.targets.job(job),
            None => return,
        };
        for id in ids {
            let key = TargetKey { job: place, id: TargetId(*id) };
            if let Some(tracked) = self.targets.get_mut(key) {
                tracked.scraped = true;
            } else if self.kept.len() < MOST_KEPT {
                self.kept.insert(key);
            }
        }
        for id in gone {
            let key = TargetKey { job: place, id: TargetId(*id) };
            self.kept.remove(&key);
            if let Some(tracked) = self.targets.get_mut(key) {
                tracked.scraped = false;
            }
        }
        if !gone.is_empty() {
            self.orphans.retain(|orphan| &*orphan.target.job != job || !gone.contains(&orphan.target.id.0));
        }
    }

    /// Has the stale markers of orphans written.
    pub(super) fn bury_orphans(&mut self, now: Millis) {
        if self.orphans.is_empty() || !self.balance.has_open() {
            return;
        }
        for Orphan { target, estate, .. } in std::mem::take(&mut self.orphans) {
            let key = TargetKey { job: self.targets.job(&target.job), id: target.id };
            let Some(worker) = self.balance.choose(&Vacancy { key, cost: 0, others: Vec::new() }) else {
                continue;
            };
            let legacy = estate.map_or(Legacy::Stored, |estate| Legacy::Left(Box::new(estate), now));
            self.order(worker, Order::Bury(target, legacy));
        }
    }

    /// All targets of a job that is no longer configured.
    pub(super) fn clear_job(&mut self, now: Millis, job: u32) {
        for id in self.targets.ids(job) {
            self.remove_target(now, TargetKey { job, id });
        }
        self.targets.set_over_limit(job, false);
        self.remove_strangers(job);
    }

    /// What workers scrape of a job though it is no target of it, now that all are known.
    pub(super) fn remove_strangers(&mut self, job: u32) {
        let is_stranger = |outside: &Outside| matches!(outside.why, OutsideBecause::Undiscovered);
        let keys: Vec<_> = self.outside.keys().filter(|key| key.job == job).copied().collect();
        for key in keys {
            let Some(entries) = self.outside.get_mut(&key) else { continue };
            let strangers: Vec<_> =
                entries.iter().filter(|entry| is_stranger(entry)).map(|entry| entry.worker).collect();
            entries.retain(|entry| !is_stranger(entry));
            if entries.is_empty() {
                self.outside.remove(&key);
            }
            for worker in strangers {
                self.order(worker, Order::Remove(key, None));
            }
        }
    }

    /// What the last owner of a target left.
    fn legacy(&mut self, key: TargetKey) -> Legacy {
        match self.estates.remove(&key) {
            Some((estate, at)) => Legacy::Left(Box::new(estate), at),
            None if self.targets.get(key).is_some_and(|tracked| tracked.scraped) => Legacy::Stored,
            None => Legacy::None,
        }
    }

    /// Has a worker scrape a target whose slot says so already.
    pub(super) fn assign(&mut self, key: TargetKey, worker: WorkerId) {
        let legacy = self.legacy(key);
        let Some(target) = self.targets.get(key).map(|tracked| Arc::clone(&tracked.target)) else { return };
        self.order(worker, Order::Assign(key, target, legacy));
    }

    /// Whether what no worker said that it holds is held by none.
    ///
    /// A worker of the time before this leader that lives but cannot be heard holds something, and nobody knows what:
    /// for its sake it is waited much longer than for one that does not answer.
    pub(super) fn may_place(&self, now: Millis) -> bool {
        let super::Standing::Leading { since, .. } = self.standing else { return false };
        let unheard = self.workers.iter().filter(|worker| !worker.heard);
        let leases_for = |worker: &Worker| match worker.is_unreachable() {
            true => LEASES_FOR_THE_UNREACHABLE,
            false => LEASES_FOR_THE_LOST,
        };
        let waits = unheard.map(leases_for).max().unwrap_or(0);
        self.settled_at.is_some_and(|at| now >= at) && now >= since + waits * self.lease
    }

    /// Gives targets without a worker to one.
    pub(super) fn place_vacant(&mut self, now: Millis) {
        if !self.balance.has_open() {
            return;
        }
        let keys = match self.may_place(now) {
            true => {
                self.suspects.clear();
                self.targets.take_vacancies()
            }
            false => self.certain_vacancies(now),
        };
        let vacancies: Vec<Vacancy> = keys.into_iter().flat_map(|key| self.vacancies(key)).collect();
        if vacancies.len() <= FEW_VACANCIES {
            for mut vacancy in vacancies {
                // An earlier replica of it may just have got its worker.
                vacancy.others =
                    self.targets.get(vacancy.key).map(|t| t.others(usize::MAX)).unwrap_or_default();
                if let Some(worker) = self.balance.choose(&vacancy) {
                    self.fill(vacancy.key, worker);
                }
            }
        } else {
            for (key, worker) in self.balance.clone().spread(vacancies) {
                self.fill(key, worker);
            }
        }
    }

    /// Targets that are free whatever the workers hold that were not heard yet: released ones, and those that
    /// appeared when this master had led for a while.
    fn certain_vacancies(&mut self, now: Millis) -> Vec<TargetKey> {
        let super::Standing::Leading { since, .. } = self.standing else { return Vec::new() };
        let mut keys: Vec<_> =
            self.estates.keys().filter(|key| self.targets.vacant().contains(key)).copied().collect();
        if self.settled_at.is_some_and(|at| now >= at) {
            keys.extend(self.targets.take_new_vacancies(since + self.lease, &self.suspects));
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// One for each vacant slot of a target.
    fn vacancies(&self, key: TargetKey) -> Vec<Vacancy> {
        let Some(tracked) = self.targets.get(key) else { return Vec::new() };
        let vacant = tracked.slots().filter(|slot| *slot == Slot::Vacant).count();
        let others = tracked.others(usize::MAX);
        vec![Vacancy { key, cost: tracked.cost(), others }; vacant]
    }

    fn fill(&mut self, key: TargetKey, worker: WorkerId) {
        let place = self.targets.get(key).and_then(|t| t.slot_where(|slot| slot == Slot::Vacant));
        if let Some(place) = place {
            self.set_slot(key, place, Slot::Held(worker));
            self.assign(key, worker);
        }
    }

    /// The old owner does not scrape a target any more.
    pub(super) fn handed_over(
        &mut self,
        now: Millis,
        key: TargetKey,
        place: usize,
        to: WorkerId,
        estate: Option<Inheritance>,
    ) {
        if let Some(estate) = estate {
            self.estates.insert(key, (estate, now));
        }
        if self.balance.role(to) == Some(Role::Open) {
            self.set_slot(key, place, Slot::Held(to));
            self.assign(key, to);
        } else {
            self.set_slot(key, place, Slot::Vacant);
        }
    }

    /// Asks owners to release targets, as many as may be on their way.
    pub(super) fn begin_moves(&mut self) {
        loop {
            let batch = self.moves.next_batch();
            if batch.is_empty() {
                return;
            }
            for (key, from, to) in batch {
                let queued = Slot::Moving { from, to, asked: false };
                let place = self.targets.get(key).and_then(|t| t.slot_where(|slot| slot == queued));
                if let Some(place) = place {
                    self.set_slot(key, place, Slot::Moving { from, to, asked: true });
                    self.order(from, Order::Release(key));
                }
            }
        }
    }

    /// What is queued from or to a worker stays where it is.
    pub(super) fn cancel_moves(&mut self, worker: WorkerId) {
        for key in self.moves.cancel_queued(worker) {
            let is_queued = |slot| match slot {
                Slot::Moving { from, to, asked: false } => from == worker || to == worker,
                _ => false,
            };
            let found = self.targets.get(key).and_then(|tracked| {
                let place = tracked.slot_where(is_queued)?;
                Some((place, tracked.slots().nth(place)?.holder()?))
            });
            if let Some((place, holder)) = found {
                self.set_slot(key, place, Slot::Held(holder));
            }
        }
    }

    /// Has a rebalance made soon, together with what others ask for until then.
    pub(super) fn ask_for_plan(&mut self, now: Millis, reason: MoveReason) {
        let (delay, longest) = match reason {
            MoveReason::Left => (500, 2_000),
            _ => (self.settle(), 5 * self.settle()),
        };
        let due = match self.plan.due {
            None => PlannedFor { at: now + delay, first_asked: now, reason },
            Some(due) if due.reason == reason => {
                PlannedFor { at: (now + delay).min(due.first_asked + longest), ..due }
            }
            Some(due) => PlannedFor {
                at: due.at.min(now + delay),
                first_asked: due.first_asked,
                reason: due.reason.max(reason),
            },
        };
        self.plan.due = Some(due);
    }

    pub(super) fn settle(&self) -> Millis {
        u64::try_from(self.options.settle.as_millis()).unwrap_or(u64::MAX)
    }

    /// Rebalances when that was asked for, or when somebody carries too much or too little.
    pub(super) fn rebalance_if_due(&mut self, now: Millis) {
        if !self.may_place(now) {
            return;
        }
        if let Some(due) = self.plan.due.filter(|due| due.at <= now) {
            self.plan.due = None;
            self.rebalance(due.reason);
        }
        if self.plan.look_at <= now {
            self.plan.look_at = now + LOOK_EVERY;
            if self.plan.due.is_none() && self.balance.wants_plan() && self.rebalance(MoveReason::Uneven) == 0
            {
                self.plan.look_at = now + LOOK_AFTER_FAILURE;
            }
        }
    }

    fn rebalance(&mut self, reason: MoveReason) -> usize {
        self.counters.rebalances += 1;
        let mut placements = Vec::new();
        for (key, tracked) in self.targets.iter() {
            for (place, slot) in tracked.slots().enumerate() {
                if let Slot::Held(owner) = slot {
                    let others = tracked.others(place);
                    placements.push(Placement { key, cost: tracked.cost(), owner, others });
                }
            }
        }
        let moves = self.balance.plan(placements);
        for planned in &moves {
            let held = Slot::Held(planned.from);
            let place = self.targets.get(planned.key).and_then(|t| t.slot_where(|slot| slot == held));
            let Some(place) = place else { continue };
            let leaves = self.balance.role(planned.from) == Some(Role::Draining);
            let slot = Slot::Moving { from: planned.from, to: planned.to, asked: false };
            self.set_slot(planned.key, place, slot);
            self.moves.pair(planned.from, planned.to).queued.push_back(planned.key);
            *self.counters.moves.entry(if leaves { MoveReason::Left } else { reason }).or_default() += 1;
        }
        moves.len()
    }

    /// All targets that a worker holds or is about to give away.
    pub(super) fn held_by(&self, worker: WorkerId) -> Vec<TargetKey> {
        let holds = |slot: Slot| slot.holder() == Some(worker);
        self.targets.iter().filter(|(_, tracked)| tracked.slots().any(holds)).map(|(key, _)| key).collect()
    }

    /// Whether this id is a target of the job of that name.
    pub(super) fn key_of(&self, job: &str, id: u64) -> Option<TargetKey> {
        Some(TargetKey { job: self.targets.job_if_known(job)?, id: TargetId(id) })
    }
}

/// What was left at `at`, with its age as of `now`.
pub(super) fn aged(mut estate: Inheritance, now: Millis, at: Millis) -> Inheritance {
    estate.last_scrape_age_millis = estate.last_scrape_age_millis.saturating_add(now.saturating_sub(at));
    estate
}

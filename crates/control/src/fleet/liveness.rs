//! Who lives, who is cut off, who is dead.

use std::sync::Arc;

use crate::assignment::{Role, WorkerId};

use super::placement::aged;
use super::targets::Slot;
use super::workers::{Legacy, NOBODY, Order, OutsideBecause, Presence};
use super::{Fleet, FleetEffect, Millis, MoveReason, ProbeAnswer, SessionId, WorkerRecord};

/// Leases for which nothing is moved while most workers are lost, counted from when there is one to move it to.
const MASS_LOSS_LEASES: u64 = 3;

/// Workers of another leader of which it is remembered when they were heard last.
const MOST_HEARD_OF: usize = 4_096;

/// A worker of another leader.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HeardOf {
    /// Streams on which it tells what its heirs need.
    streams: u32,
    /// When the last one has ended.
    until: Millis,
}

impl Fleet {
    pub(super) fn keeper_opened(&mut self, worker: Arc<str>) {
        if self.heard_of.len() < MOST_HEARD_OF || self.heard_of.contains_key(&worker) {
            self.heard_of.entry(worker).or_default().streams += 1;
        }
    }

    pub(super) fn keeper_closed(&mut self, now: Millis, worker: &str) {
        if let Some(heard_of) = self.heard_of.get_mut(worker) {
            heard_of.streams = heard_of.streams.saturating_sub(1);
            heard_of.until = now;
        }
    }

    /// Since when a worker that has not come to this leader yet may be taken for away: it is asked whether it lives before
    /// a whole lease of this leader is over if it was not heard before that either.
    fn away_since(&self, now: Millis, record: &WorkerRecord) -> Millis {
        let heard_of = self.heard_of.get(&record.name).copied().unwrap_or_default();
        if record.advertise.is_empty() || heard_of.streams > 0 {
            return now;
        }
        heard_of.until.max(now.saturating_sub(self.lease / 4))
    }

    /// A worker that the store knows and that has not come to this leader yet.
    pub(super) fn expect_worker(&mut self, now: Millis, record: WorkerRecord) {
        if self.workers.named(&record.name).is_some() {
            return;
        }
        let presence = Presence::Away { since: self.away_since(now, &record), probing: false };
        let worker = self.workers.add(record, presence, now);
        worker.recorded = true;
        let (id, record) = (worker.id, worker.record.clone());
        self.balance.set_worker(id, &record.name, &record.zone, record.weight, Role::Closed);
    }

    /// A new term begins: workers come again and say what they hold.
    pub(super) fn dismiss_workers(&mut self, _now: Millis) {
        let ids: Vec<_> = self.workers.iter().map(|worker| worker.id).collect();
        for id in ids {
            if let Some(session) = self.workers.remove(id).and_then(|worker| worker.session()) {
                self.effects.push(FleetEffect::Close(session));
            }
            self.balance.remove_worker(id);
        }
        self.targets.vacate(&mut self.balance);
        self.moves.clear();
        self.outside.clear();
        self.ended.clear();
        self.estates.clear();
    }

    pub(super) fn disconnected(&mut self, now: Millis, session: SessionId) {
        self.part(now, session);
    }

    /// A stream is gone: what was said on it and is not in force yet was perhaps never heard.
    pub(super) fn part(&mut self, now: Millis, session: SessionId) {
        let Some(worker) = self.workers.disconnect(session, now) else { return };
        let (id, draining) = (worker.id, worker.draining);
        let unheard = std::mem::take(&mut worker.unconfirmed);
        let unsaid = std::mem::take(&mut worker.orders);
        if !self.is_leading() {
            return;
        }
        let unheard = unheard.into_iter().flat_map(|(_, orders)| orders).map(|order| (order, true));
        for (order, said) in unheard.chain(unsaid.into_iter().map(|order| (order, false))) {
            self.take_back(now, id, order, said);
        }
        self.cancel_moves(id);
        self.refresh_role(id);
        if draining && self.held_by(id).is_empty() {
            self.lose(now, id);
        }
    }

    fn take_back(&mut self, now: Millis, id: WorkerId, order: Order, said: bool) {
        match order {
            Order::Assign(key, target, Legacy::Left(estate, at)) => {
                if self.targets.get(key).is_some() {
                    self.estates.insert(key, (*estate, at));
                } else {
                    self.orphan(now, target, Some(aged(*estate, now, at)));
                }
            }
            Order::Remove(key, Some(target)) if self.targets.get(key).is_none() => {
                self.take_outside(key, id);
                self.put_outside(key, id, OutsideBecause::Removed(target));
            }
            Order::Bury(target, legacy) if !said => match legacy {
                Legacy::Left(estate, at) => self.orphan(now, target, Some(aged(*estate, now, at))),
                Legacy::None | Legacy::Stored => self.orphan(now, target, None),
            },
            _ => {}
        }
    }

    pub(super) fn tick(&mut self, now: Millis) {
        if !self.is_leading() {
            return;
        }
        self.forget_ended(now);
        self.close_silent_streams(now);
        self.probe_absent(now);
        self.judge_silent(now);
        self.rebalance_if_due(now);
    }

    fn close_silent_streams(&mut self, now: Millis) {
        let lease = self.lease;
        let is_silent = |last_heard: Millis| now >= last_heard + lease;
        let silent = self.workers.iter().filter(|worker| is_silent(worker.last_heard));
        let sessions: Vec<_> = silent.filter_map(|worker| worker.session()).collect();
        for session in sessions {
            self.part(now, session);
            self.effects.push(FleetEffect::Close(session));
        }
    }

    fn probe_absent(&mut self, now: Millis) {
        let lease = self.lease;
        for worker in self.workers.iter_mut() {
            let next = match worker.presence {
                Presence::Away { since, probing: false } if now >= since + lease => {
                    Presence::Away { since, probing: true }
                }
                Presence::Unreachable { probe_at, probing: false } if now >= probe_at => {
                    Presence::Unreachable { probe_at, probing: true }
                }
                _ => continue,
            };
            if worker.record.advertise.is_empty() {
                worker.presence = Presence::Silent { gone: false };
                continue;
            }
            worker.presence = next;
            self.effects.push(FleetEffect::Probe {
                worker: Arc::clone(&worker.record.name),
                address: worker.record.advertise.clone(),
            });
        }
    }

    /// Another process came under the name of a worker that only answers: has it gone meanwhile?
    pub(super) fn probe_soon(&mut self, now: Millis, name: &str) {
        let worker = self.workers.named(name).and_then(|id| self.workers.get_mut(id));
        if let Some(Presence::Unreachable { probe_at, .. }) = worker.map(|worker| &mut worker.presence) {
            *probe_at = (*probe_at).min(now);
        }
    }

    pub(super) fn probed(&mut self, now: Millis, name: &str, answer: ProbeAnswer) {
        let lease = self.lease;
        let Some(worker) = self.workers.named(name).and_then(|id| self.workers.get_mut(id)) else { return };
        let asked = matches!(
            worker.presence,
            Presence::Away { probing: true, .. } | Presence::Unreachable { probing: true, .. }
        );
        if !asked {
            return;
        }
        worker.presence = match answer {
            // Another start of it that scrapes has its targets from the disk.
            ProbeAnswer::Alive(alive) if alive.instance == worker.record.instance || alive.scrapes => {
                worker.record.instance = alive.instance;
                Presence::Unreachable { probe_at: now + lease, probing: false }
            }
            ProbeAnswer::Alive(_) | ProbeAnswer::Refused => Presence::Silent { gone: true },
            // It was asked early, and silence alone says nothing before a whole lease is over.
            ProbeAnswer::Silence if !worker.heard && now < worker.since + lease => {
                Presence::Away { since: worker.since, probing: false }
            }
            ProbeAnswer::Silence => Presence::Silent { gone: false },
        };
        self.judge_silent(now);
    }

    /// Moves the targets of the dead, unless so many are gone at once that it is rather this master that is cut off.
    fn judge_silent(&mut self, now: Millis) {
        if !self.is_leading() {
            return;
        }
        let staying = || self.workers.iter().filter(|worker| !worker.draining);
        let is_lost = |presence| matches!(presence, Presence::Away { .. } | Presence::Silent { .. });
        let known = staying().count();
        let lost = staying().filter(|worker| is_lost(worker.presence)).count();
        if lost >= 2 && lost == known {
            // Nobody could take anything over, and whoever comes first would get what the others scrape on.
            self.mass_loss_since = Some(now);
        } else if lost >= 2 && lost * 2 > known {
            self.mass_loss_since.get_or_insert(now);
        }
        // The others come back one by one.
        let waits = match self.mass_loss_since {
            Some(since) if lost > 0 && now < since + MASS_LOSS_LEASES * self.lease => true,
            _ => {
                self.mass_loss_since = None;
                false
            }
        };
        // One that is certainly gone does not scrape on, and with most of the others there it can be spared.
        let most_are_here = (known - lost) * 2 >= known;
        let dead = self.workers.iter().filter(|worker| match worker.presence {
            Presence::Silent { gone } => !waits || gone && most_are_here,
            _ => false,
        });
        for id in dead.map(|worker| worker.id).collect::<Vec<_>>() {
            self.lose(now, id);
        }
    }

    /// A worker is no more: its targets are free.
    fn lose(&mut self, now: Millis, id: WorkerId) {
        self.cancel_moves(id);
        self.free_targets(id);
        let outside: Vec<_> = self
            .outside
            .iter()
            .filter(|(_, entries)| entries.iter().any(|entry| entry.worker == id))
            .map(|(key, _)| *key)
            .collect();
        for key in outside {
            if let Some(target) = self.take_outside(key, id).and_then(OutsideBecause::target) {
                self.orphan(now, target, None);
            }
        }
        self.balance.remove_worker(id);
        let Some(worker) = self.workers.remove(id) else { return };
        if !worker.draining {
            self.counters.deaths += 1;
            self.ask_for_plan(now, MoveReason::Died);
        }
        self.effects.push(FleetEffect::Forget(worker.record.name));
    }

    fn free_targets(&mut self, id: WorkerId) {
        let concerns = |slot: &Slot| slot.holder() == Some(id) || slot.planned() == Some(id);
        let slots = |(key, tracked): (_, &super::targets::Tracked)| {
            let slots = tracked.slots().enumerate().filter(|(_, slot)| concerns(slot));
            slots.map(|(place, slot)| (key, place, slot)).collect::<Vec<_>>()
        };
        let concerned: Vec<_> = self.targets.iter().flat_map(slots).collect();
        for (key, place, slot) in concerned {
            let next = match slot {
                Slot::Moving { from, asked: true, .. } if from != id => {
                    Slot::Moving { from, to: NOBODY, asked: true }
                }
                _ => {
                    *self.counters.moves.entry(MoveReason::Died).or_default() += 1;
                    Slot::Vacant
                }
            };
            self.set_slot(key, place, next);
        }
    }

    /// Tells the streams of workers for which there is something.
    pub(super) fn wake_workers(&mut self) {
        for worker in self.workers.iter_mut() {
            if let Some(session) = worker.wake() {
                self.effects.push(FleetEffect::Wake(session));
            }
        }
    }
}

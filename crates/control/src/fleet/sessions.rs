//! What workers say.

use std::sync::Arc;

use outrigger_model::target::TargetId;
use outrigger_wire::centre::{
    Beat, Costs, FromMaster, Heartbeat, Hello, Jobs, PROTOCOL_MAX, PROTOCOL_MIN, RejectReason, Rejected,
    Released, SelfMetrics, TargetIds, Welcome, from_master, from_worker,
};

use crate::assignment::{Role, TargetKey, WorkerId};

use super::targets::{KeySet, Slot};
use super::workers::{Legacy, NOBODY, Order, Outside, OutsideBecause, Presence, Worker};
use super::{Fleet, FleetEffect, Millis, MoveReason, SessionId, Standing, WorkerRecord};

/// Workers of one fleet.
const MOST_WORKERS: usize = 1_024;
/// Bytes of a worker's name.
const LONGEST_NAME: usize = 253;
/// Samples are in a worker's memory for so long at most, unless its receiver is configured otherwise or slow.
const MARKERS_AT_RISK: Millis = 10_000;
/// Bytes of a worker's own metrics, compressed.
const MOST_SELF_METRICS: usize = 4 << 20;

impl Fleet {
    pub(super) fn connected(&mut self, now: Millis, session: SessionId, hello: Hello) {
        if let Err((reason, message)) = self.admit(now, &hello) {
            let leader = match &self.standing {
                Standing::Standby { leader } => leader.clone().unwrap_or_default(),
                Standing::Leading { .. } => String::new(),
            };
            if reason == RejectReason::Deposed {
                self.effects.push(FleetEffect::Outranked(hello.epoch));
            }
            if reason == RejectReason::NameTaken {
                self.probe_soon(now, &hello.worker);
            }
            let rejected = Rejected { reason: reason as i32, message, leader };
            self.effects.push(FleetEffect::Reject(session, rejected));
            return;
        }
        let (id, joined) = self.enrol(now, session, &hello);
        self.welcome(id, &hello);
        self.reconcile(now, id, &hello.held);
        self.refresh_role(id);
        if self.settled_at.is_none() {
            self.settled_at = Some(now + self.settle());
        }
        if joined {
            self.ask_for_plan(now, MoveReason::Joined);
        }
    }

    /// Whether the worker may belong to the fleet.
    fn admit(&self, now: Millis, hello: &Hello) -> Result<(), (RejectReason, String)> {
        if !self.is_leading() {
            return Err((RejectReason::NotLeader, "this master does not lead".to_owned()));
        }
        if hello.worker.is_empty() || hello.worker.len() > LONGEST_NAME {
            let message = format!("a worker's name has 1 to {LONGEST_NAME} bytes");
            return Err((RejectReason::BadHello, message));
        }
        if hello.protocol_min > PROTOCOL_MAX || hello.protocol_max < PROTOCOL_MIN {
            let message = format!(
                "this master speaks protocols {PROTOCOL_MIN} to {PROTOCOL_MAX}, the worker {} to {}",
                hello.protocol_min, hello.protocol_max
            );
            return Err((RejectReason::Protocol, message));
        }
        if hello.epoch > self.epoch() {
            let message = format!(
                "the worker has obeyed the leader of epoch {}, this is epoch {}",
                hello.epoch,
                self.epoch()
            );
            return Err((RejectReason::Deposed, message));
        }
        match self.workers.named(&hello.worker).and_then(|id| self.workers.get(id)) {
            Some(worker) if worker.record.instance != hello.instance && self.lives(now, worker) => {
                let message = format!("another living process is called {}", hello.worker);
                Err((RejectReason::NameTaken, message))
            }
            None if self.workers.len() >= MOST_WORKERS => {
                Err((RejectReason::BadHello, format!("the fleet has {MOST_WORKERS} workers already")))
            }
            _ => Ok(()),
        }
    }

    /// Whether the process that was heard last under a name is still there, as far as is known.
    fn lives(&self, now: Millis, worker: &Worker) -> bool {
        match worker.presence {
            Presence::Connected(_) => now < worker.last_heard + self.lease,
            Presence::Unreachable { .. } => true,
            Presence::Away { .. } | Presence::Silent { .. } => false,
        }
    }

    /// Binds the worker to its stream; true when it was not known before.
    fn enrol(&mut self, now: Millis, session: SessionId, hello: &Hello) -> (WorkerId, bool) {
        let record = WorkerRecord {
            name: Arc::from(hello.worker.as_str()),
            instance: hello.instance,
            zone: Arc::from(hello.zone.as_str()),
            weight: hello.weight,
            advertise: hello.advertise.clone(),
        };
        let known = self.workers.named(&hello.worker);
        let id = match known {
            Some(id) => {
                if let Some(old) = self.workers.get(id).and_then(Worker::session) {
                    self.part(now, old);
                    self.effects.push(FleetEffect::Close(old));
                }
                id
            }
            None => {
                let presence = Presence::Away { since: now, probing: false };
                self.workers.add(record.clone(), presence, now).id
            }
        };
        self.workers.connect(id, session, now);
        let role = self.balance.role(id).unwrap_or(Role::Closed);
        self.balance.set_worker(id, &record.name, &record.zone, record.weight, role);
        if let Some(worker) = self.workers.get_mut(id) {
            worker.draining &= worker.record.instance == record.instance;
            worker.heard = true;
            worker.version.clone_from(&hello.version);
            worker.revision = 0;
            if worker.record != record || known.is_none() {
                worker.record = record.clone();
                self.effects.push(FleetEffect::Record(record));
            }
        }
        (id, known.is_none())
    }

    fn welcome(&mut self, id: WorkerId, hello: &Hello) {
        let Standing::Leading { epoch, offset_seed, .. } = self.standing else { return };
        let welcome = Welcome {
            epoch,
            master: self.options.master.clone(),
            version: self.options.version.clone(),
            protocol: hello.protocol_max.min(PROTOCOL_MAX),
            lease_millis: self.lease,
            // Filled in when it is sent.
            now_millis: 0,
            offset_seed,
        };
        self.order(id, Order::Say(Box::new(FromMaster { kind: Some(from_master::Kind::Welcome(welcome)) })));
        if self.configuration.is_some() {
            self.order(id, Order::Configure);
        }
        self.order(id, self.jobs_order());
    }

    fn jobs_order(&self) -> Order {
        let jobs = Jobs { over_target_limit: self.targets.over_limit() };
        Order::Say(Box::new(FromMaster { kind: Some(from_master::Kind::Jobs(jobs)) }))
    }

    /// Tells all workers which jobs are over their limit.
    pub(super) fn order_jobs(&mut self) {
        let ids: Vec<_> = self.workers.iter().map(|worker| worker.id).collect();
        for id in ids {
            let order = self.jobs_order();
            self.order(id, order);
        }
    }

    /// Compares what a worker holds with what it should.
    fn reconcile(&mut self, now: Millis, id: WorkerId, held: &[TargetIds]) {
        let mut missing: KeySet = self.held_by(id).into_iter().collect();
        for ids in held {
            let job = match self.targets.job_if_known(&ids.job) {
                Some(job) => job,
                None if self.configuration.is_none() => self.targets.job(&ids.job),
                // The worker drops it with the configuration.
                None => continue,
            };
            for held in &ids.ids {
                let key = TargetKey { job, id: TargetId(*held) };
                if missing.remove(&key) {
                    self.estates.remove(&key);
                    self.still_holds(id, key);
                } else {
                    self.holds_unasked(id, key);
                }
            }
        }
        for key in missing {
            self.does_not_hold(now, id, key);
        }
        self.forget_outside(now, id);
        for ids in held {
            let Some(job) = self.targets.job_if_known(&ids.job) else { continue };
            for held in &ids.ids {
                let key = TargetKey { job, id: TargetId(*held) };
                if self.targets.get(key).is_none() && !self.targets.is_complete(job) {
                    self.put_outside(key, id, OutsideBecause::Undiscovered);
                }
            }
        }
    }

    /// It holds what it should; if it was asked to release that, it may not have heard.
    fn still_holds(&mut self, id: WorkerId, key: TargetKey) {
        let asked = |slot| matches!(slot, Slot::Moving { from, asked: true, .. } if from == id);
        let Some(tracked) = self.targets.get_mut(key) else { return };
        tracked.scraped = true;
        tracked.found_at = None;
        if tracked.slot_where(asked).is_some() {
            self.order(id, Order::Release(key));
        }
    }

    /// It holds what nobody, or somebody else, should.
    fn holds_unasked(&mut self, id: WorkerId, key: TargetKey) {
        let Some(tracked) = self.targets.get_mut(key) else {
            if self.targets.is_complete(key.job) {
                self.take_outside(key, id);
                self.order(id, Order::Remove(key, None));
            }
            return;
        };
        tracked.scraped = true;
        tracked.found_at = None;
        if let Some(place) = tracked.slot_where(|slot| slot == Slot::Vacant) {
            self.estates.remove(&key);
            self.set_slot(key, place, Slot::Held(id));
        } else {
            self.counters.doubles += 1;
            self.order(id, Order::Release(key));
        }
    }

    /// It does not hold what it should: it never heard, has released it, or was started anew.
    fn does_not_hold(&mut self, now: Millis, id: WorkerId, key: TargetKey) {
        let Some(tracked) = self.targets.get(key) else { return };
        let slots = tracked.slots().enumerate().filter(|(_, slot)| slot.holder() == Some(id));
        for (place, slot) in slots.collect::<Vec<_>>() {
            match slot {
                Slot::Moving { to, asked: true, .. } => self.handed_over(now, key, place, to, None),
                _ => self.assign(key, id),
            }
        }
    }

    /// What a worker was to stop scraping, and does not scrape any more: it is done, or the worker began anew and
    /// cannot write the markers.
    fn forget_outside(&mut self, now: Millis, id: WorkerId) {
        let keys: Vec<_> = self
            .outside
            .iter()
            .filter(|(_, entries)| entries.iter().any(|entry| entry.worker == id))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            if let Some(why) = self.take_outside(key, id)
                && let Some(target) = why.target()
            {
                self.orphan(now, target, None);
            }
        }
    }

    pub(super) fn heard(&mut self, now: Millis, session: SessionId, message: from_worker::Kind) {
        let Some(id) = self.workers.of_session(session) else { return };
        if let Some(worker) = self.workers.get_mut(id) {
            worker.last_heard = now;
        }
        match message {
            // A second one on the same stream.
            from_worker::Kind::Hello(_) => self.effects.push(FleetEffect::Close(session)),
            from_worker::Kind::Heartbeat(heartbeat) => self.heartbeat(id, heartbeat),
            from_worker::Kind::Released(released) => self.released(now, id, released),
            from_worker::Kind::Applied(applied) => self.applied(now, id, applied.revision),
            from_worker::Kind::Costs(costs) => self.costs(id, costs),
            from_worker::Kind::SelfMetrics(metrics) => self.keep_self_metrics(id, metrics),
            from_worker::Kind::Leaving(_) => self.leaving(now, id),
            // The driver keeps them.
            from_worker::Kind::Names(_) => {}
        }
    }

    fn heartbeat(&mut self, id: WorkerId, heartbeat: Heartbeat) {
        let leading = self.is_leading();
        let Some(worker) = self.workers.get_mut(id) else { return };
        worker.clock_offset_millis = heartbeat.clock_offset_millis;
        if heartbeat.status.is_some() {
            worker.status = heartbeat.status;
        }
        worker.beat = Some(Beat {
            sequence: heartbeat.sequence,
            worker_millis: heartbeat.now_millis,
            now_millis: 0,
            leading,
        });
    }

    fn released(&mut self, now: Millis, id: WorkerId, released: Released) {
        if !self.is_leading() {
            return;
        }
        for target in released.targets {
            let Some(key) = self.key_of(&target.job, target.id) else { continue };
            let asked = |slot| matches!(slot, Slot::Moving { from, asked: true, .. } if from == id);
            let found = self.targets.get_mut(key).and_then(|tracked| {
                tracked.scraped = true;
                let place = tracked.slot_where(asked)?;
                let to = tracked.slots().nth(place).and_then(Slot::planned).unwrap_or(NOBODY);
                Some((place, to))
            });
            if let Some((place, to)) = found {
                self.handed_over(now, key, place, to, target.inheritance);
            } else if let Some(why) = self.take_outside(key, id) {
                // It was removed meanwhile: who has the series writes the markers.
                if let Some(gone) = why.target() {
                    let legacy = target
                        .inheritance
                        .map_or(Legacy::Stored, |estate| Legacy::Left(Box::new(estate), now));
                    self.order(id, Order::Bury(gone, legacy));
                }
            } else {
                self.counters.stray_releases += 1;
            }
        }
    }

    fn applied(&mut self, now: Millis, id: WorkerId, revision: u64) {
        let Some(worker) = self.workers.get_mut(id) else { return };
        let mut confirmed = Vec::new();
        while let Some((sent, _)) = worker.unconfirmed.front()
            && *sent <= revision
        {
            confirmed.extend(worker.unconfirmed.pop_front().map(|(_, orders)| orders).unwrap_or_default());
        }
        for order in confirmed {
            match order {
                Order::Assign(key, ..) => {
                    let tracked = self.targets.get_mut(key);
                    if let Some(found_at) = tracked.and_then(|tracked| tracked.found_at.take()) {
                        let delay = now.saturating_sub(found_at);
                        self.effects.push(FleetEffect::AssignmentDelay(delay));
                    }
                }
                Order::Remove(key, _) if self.is_removing(key, id) => {
                    match self.take_outside(key, id).and_then(OutsideBecause::target) {
                        Some(target) => {
                            self.put_outside(key, id, OutsideBecause::Ended(target));
                            self.ended.push_back((now, key, id));
                        }
                        None => self.drop_series(key),
                    }
                }
                _ => {}
            }
        }
    }

    /// What ended so long ago that its markers are on their way or on disk needs nobody any more.
    pub(super) fn forget_ended(&mut self, now: Millis) {
        while let Some((_, key, worker)) = self.ended.pop_front_if(|(at, ..)| now >= *at + MARKERS_AT_RISK) {
            let is_ended = |outside: &Outside| {
                outside.worker == worker && matches!(outside.why, OutsideBecause::Ended(_))
            };
            if self.outside.get(&key).is_some_and(|entries| entries.iter().any(is_ended)) {
                self.take_outside(key, worker);
                self.drop_series(key);
            }
        }
    }

    fn drop_series(&mut self, key: TargetKey) {
        let job = self.targets.job_name(key.job);
        self.effects.push(FleetEffect::DropSeries { job, id: key.id });
    }

    fn is_removing(&self, key: TargetKey, id: WorkerId) -> bool {
        self.outside.get(&key).is_some_and(|entries| {
            entries.iter().any(|entry| entry.worker == id && matches!(entry.why, OutsideBecause::Removing(_)))
        })
    }

    fn costs(&mut self, id: WorkerId, costs: Costs) {
        for job in costs.jobs {
            let Some(place) = self.targets.job_if_known(&job.job) else { continue };
            let mut sets = Vec::new();
            let mut series_sets = job.series_sets.into_iter();
            let measured = job.ids.iter().zip(&job.series).zip(&job.body_bytes);
            for ((target, series), bytes) in measured {
                let set = series_sets.next().unwrap_or_default();
                let key = TargetKey { job: place, id: TargetId(*target) };
                let holds = |slot: Slot| slot.holder() == Some(id);
                if self.targets.get(key).is_none_or(|tracked| tracked.slot_where(holds).is_none()) {
                    continue;
                }
                self.targets.measure(key, *series, *bytes, &mut self.balance);
                if !set.is_empty() {
                    sets.push((*target, set));
                }
            }
            if !sets.is_empty() {
                self.effects.push(FleetEffect::KeepSeries { job: self.targets.job_name(place), sets });
            }
        }
    }

    fn keep_self_metrics(&mut self, id: WorkerId, metrics: SelfMetrics) {
        if metrics.exposition.len() <= MOST_SELF_METRICS
            && let Some(worker) = self.workers.get_mut(id)
        {
            worker.self_metrics = Some((metrics.exposition, metrics.at_millis));
        }
    }

    fn leaving(&mut self, now: Millis, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(id) else { return };
        if std::mem::replace(&mut worker.draining, true) {
            return;
        }
        self.cancel_moves(id);
        self.refresh_role(id);
        self.ask_for_plan(now, MoveReason::Left);
    }

    pub(super) fn recorded(&mut self, now: Millis, name: &str) {
        let Some(id) = self.workers.named(name) else { return };
        if let Some(worker) = self.workers.get_mut(id) {
            worker.recorded = true;
        }
        self.refresh_role(id);
        if self.plan.due.is_some() {
            self.ask_for_plan(now, MoveReason::Joined);
        }
    }

    /// What a worker may do follows from how it stands.
    pub(super) fn refresh_role(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(id) else { return };
        let role = match (worker.is_connected(), worker.draining, worker.recorded) {
            (true, true, _) => Role::Draining,
            (true, false, true) => Role::Open,
            _ => Role::Closed,
        };
        if role == Role::Open && self.balance.role(id) != Some(Role::Open) {
            self.targets.retry_vacancies();
        }
        self.balance.set_role(id, role);
    }
}

/// Value of the label `reason` in metrics.
pub(super) fn label(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::Unspecified => "unspecified",
        RejectReason::NotLeader => "not_leader",
        RejectReason::NameTaken => "name_taken",
        RejectReason::WrongName => "wrong_name",
        RejectReason::Protocol => "protocol",
        RejectReason::Deposed => "deposed",
        RejectReason::BadHello => "bad_hello",
        RejectReason::TooSlow => "too_slow",
        RejectReason::Leads => "leads",
    }
}

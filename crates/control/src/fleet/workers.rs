//! The workers, and what is to be said to each.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use outrigger_model::target::ScrapeTarget;
use outrigger_wire::centre::{Beat, Configuration, FromMaster, Inheritance, WorkerStatus};

use crate::assignment::{TargetKey, WorkerId};

use super::{Millis, SessionId, WorkerRecord};

/// A replica that never gets a worker.
pub(super) const NOBODY: WorkerId = WorkerId(u32::MAX);

/// All workers that are known.
#[derive(Debug, Default)]
pub(super) struct Workers {
    table: Vec<Option<Worker>>,
    by_name: HashMap<Arc<str>, WorkerId>,
    by_session: HashMap<SessionId, WorkerId>,
}

/// A worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) record: WorkerRecord,
    pub(super) version: String,
    pub(super) presence: Presence,
    pub(super) since: Millis,
    pub(super) last_heard: Millis,
    /// It said what it holds since this master leads.
    pub(super) heard: bool,
    /// Its record is in the store.
    pub(super) recorded: bool,
    /// It is shutting down.
    pub(super) draining: bool,
    pub(super) status: Option<WorkerStatus>,
    pub(super) clock_offset_millis: i64,
    pub(super) self_metrics: Option<(Vec<u8>, i64)>,
    pub(super) orders: VecDeque<Order>,
    pub(super) beat: Option<Beat>,
    /// Of the last message that changed its assignment.
    pub(super) revision: u64,
    pub(super) release_request: u64,
    /// What was sent and is not in force yet, by revision.
    pub(super) unconfirmed: VecDeque<(u64, Vec<Order>)>,
    /// It has been told that there is something for it.
    woken: bool,
}

/// How a worker and this master stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Has a stream.
    Connected(SessionId),
    /// Has none, or has not come yet.
    Away { since: Millis, probing: bool },
    /// Has none but lives; it is asked again.
    Unreachable { probe_at: Millis, probing: bool },
    /// Does not answer; its targets move unless too many are gone at once. `gone` when its machine says so.
    Silent { gone: bool },
}

/// What a worker is to be told.
#[derive(Debug)]
pub(super) enum Order {
    /// As it stands.
    Say(Box<FromMaster>),
    /// The configuration, whole.
    Configure,
    /// What changed in it.
    Reconfigure(Arc<Configuration>),
    /// Scrape this.
    Assign(TargetKey, Arc<ScrapeTarget>, Legacy),
    /// Hand this over.
    Release(TargetKey),
    /// This is gone; the target, if it was known, in case the worker dies before it has written the markers.
    Remove(TargetKey, Option<Arc<ScrapeTarget>>),
    /// Write the stale markers of this.
    Bury(Arc<ScrapeTarget>, Legacy),
}

/// What the last owner left.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Legacy {
    /// Nothing: it is new.
    None,
    /// This, at that time.
    Left(Box<Inheritance>, Millis),
    /// Whatever the disk has.
    Stored,
}

/// Something that a worker scrapes though it is no target.
#[derive(Debug)]
pub(super) struct Outside {
    pub(super) worker: WorkerId,
    pub(super) why: OutsideBecause,
}

#[derive(Debug)]
pub(super) enum OutsideBecause {
    /// Nobody knows yet whether it is one: discovery is not done.
    Undiscovered,
    /// It was removed while the worker was away.
    Removed(Arc<ScrapeTarget>),
    /// The worker was told that it is gone and has not said that it knows.
    Removing(Arc<ScrapeTarget>),
    /// It was removed while the worker was asked to hand it over.
    Releasing(Arc<ScrapeTarget>),
    /// The worker has written its markers a moment ago, so that they may die with it.
    Ended(Arc<ScrapeTarget>),
}

impl OutsideBecause {
    pub(super) fn target(self) -> Option<Arc<ScrapeTarget>> {
        match self {
            OutsideBecause::Undiscovered => None,
            OutsideBecause::Removed(target)
            | OutsideBecause::Removing(target)
            | OutsideBecause::Releasing(target)
            | OutsideBecause::Ended(target) => Some(target),
        }
    }
}

impl Worker {
    pub(super) fn session(&self) -> Option<SessionId> {
        match self.presence {
            Presence::Connected(session) => Some(session),
            _ => None,
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.session().is_some()
    }

    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self.presence, Presence::Unreachable { .. })
    }

    /// Adds an order, unless nobody is there to hear it.
    pub(super) fn order(&mut self, order: Order) {
        if self.is_connected() {
            self.orders.push_back(order);
        }
    }

    pub(super) fn order_configuration(&mut self, delta: &Arc<Configuration>) {
        self.order(Order::Reconfigure(Arc::clone(delta)));
    }

    /// Forgets what was to be said but for signs of life.
    pub(super) fn drop_orders(&mut self) {
        self.orders.clear();
        self.unconfirmed.clear();
    }

    /// The session to be told that there is something for it, once until it has taken everything.
    pub(super) fn wake(&mut self) -> Option<SessionId> {
        let has_something = self.beat.is_some() || !self.orders.is_empty();
        if !has_something || std::mem::replace(&mut self.woken, true) {
            return None;
        }
        self.session()
    }

    pub(super) fn took_everything(&mut self) {
        self.woken = false;
    }
}

impl Workers {
    pub(super) fn add(&mut self, record: WorkerRecord, presence: Presence, now: Millis) -> &mut Worker {
        let free = self.table.iter().position(Option::is_none).unwrap_or_else(|| {
            self.table.push(None);
            self.table.len() - 1
        });
        let id = WorkerId(u32::try_from(free).expect("a limited number of workers"));
        self.by_name.insert(Arc::clone(&record.name), id);
        self.table[free].insert(Worker {
            id,
            record,
            version: String::new(),
            presence,
            since: now,
            last_heard: now,
            heard: false,
            recorded: false,
            draining: false,
            status: None,
            clock_offset_millis: 0,
            self_metrics: None,
            orders: VecDeque::new(),
            beat: None,
            revision: 0,
            release_request: 0,
            unconfirmed: VecDeque::new(),
            woken: false,
        })
    }

    pub(super) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.table.get_mut(id.0 as usize)?.take()?;
        self.by_name.remove(&worker.record.name);
        if let Some(session) = worker.session() {
            self.by_session.remove(&session);
        }
        Some(worker)
    }

    /// Binds a worker to a stream; what it was told on an earlier one is forgotten.
    pub(super) fn connect(&mut self, id: WorkerId, session: SessionId, now: Millis) {
        self.by_session.insert(session, id);
        let Some(worker) = self.get_mut(id) else { return };
        worker.presence = Presence::Connected(session);
        worker.since = now;
        worker.last_heard = now;
        worker.beat = None;
        worker.woken = false;
        worker.drop_orders();
    }

    /// Takes the stream from a worker.
    pub(super) fn disconnect(&mut self, session: SessionId, now: Millis) -> Option<&mut Worker> {
        let id = self.by_session.remove(&session)?;
        let worker = self.get_mut(id)?;
        worker.presence = Presence::Away { since: worker.last_heard, probing: false };
        worker.since = now;
        worker.beat = None;
        Some(worker)
    }

    pub(super) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.table.get(id.0 as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.table.get_mut(id.0 as usize)?.as_mut()
    }

    pub(super) fn named(&self, name: &str) -> Option<WorkerId> {
        self.by_name.get(name).copied()
    }

    pub(super) fn of_session(&self, session: SessionId) -> Option<WorkerId> {
        self.by_session.get(&session).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.table.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.table.iter_mut().flatten()
    }

    pub(super) fn is_connected(&self, id: WorkerId) -> bool {
        self.get(id).is_some_and(Worker::is_connected)
    }

    pub(super) fn order(&mut self, id: WorkerId, order: Order) {
        if let Some(worker) = self.get_mut(id) {
            worker.order(order);
        }
    }
}

//! The next message for a worker, made when there is room for it.

use std::sync::Arc;

use outrigger_model::target::{ScrapeTarget, TargetId};
use outrigger_wire::centre::{
    AssignBuilder, Configuration, FromMaster, Inheritance, Release, Remove, ResolvedName, TargetIds,
    from_master,
};

use crate::assignment::TargetKey;

use super::placement::aged;
use super::targets::Targets;
use super::workers::{Legacy, Order, Worker};
use super::{ConfigurationBundle, Fleet, Millis, SessionId};

/// Targets in one message.
const MOST_TARGETS: usize = 2_000;
/// Targets that a worker is asked to release with one message.
const MOST_RELEASES: usize = 500;
/// Targets in one message whose series sets come from the disk.
const MOST_STORED: usize = 64;
/// Bytes of series sets in one message.
const MOST_SERIES_BYTES: usize = 4 << 20;

/// A message, or what makes one.
#[derive(Debug)]
pub enum Outgoing {
    /// Ready.
    Message(Box<FromMaster>),
    /// Targets; turning them into a message takes time, and perhaps the disk.
    Targets(TargetBatch),
}

/// Targets for a worker.
#[derive(Debug)]
pub struct TargetBatch {
    revision: u64,
    orphans: bool,
    targets: Vec<(Arc<ScrapeTarget>, Legacy)>,
}

impl Outgoing {
    /// Targets whose stored series sets are needed for the last time with this message.
    pub(super) fn buried(&self) -> Vec<(Arc<str>, TargetId)> {
        match self {
            Outgoing::Targets(batch) if batch.orphans => {
                batch.targets.iter().map(|(target, _)| (Arc::clone(&target.job), target.id)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The message; `stored` gives the series set of a target that is on disk, empty when there is none, and `names` what
    /// workers have resolved of the targets' URLs.
    pub fn build(
        self,
        now: Millis,
        stored: impl Fn(&str, TargetId) -> Vec<u8>,
        names: impl Fn(&[&str]) -> Vec<ResolvedName>,
    ) -> FromMaster {
        let batch = match self {
            Outgoing::Message(message) => return *message,
            Outgoing::Targets(batch) => batch,
        };
        let mut builder = AssignBuilder::default();
        if !batch.orphans {
            let urls: Vec<&str> = batch.targets.iter().map(|(target, _)| target.url.as_str()).collect();
            names(&urls).into_iter().for_each(|name| builder.push_name(name));
        }
        let mut bytes = 0;
        for (target, legacy) in batch.targets {
            let inheritance = match legacy {
                Legacy::None => None,
                Legacy::Left(estate, at) => Some(aged(*estate, now, at)),
                Legacy::Stored => {
                    let series = stored(&target.job, target.id);
                    bytes += series.len();
                    // Too much for one message: the markers of vanished series are missed rather than the targets.
                    let series = if bytes <= 2 * MOST_SERIES_BYTES { series } else { Vec::new() };
                    let is_known = batch.orphans || !series.is_empty();
                    is_known.then(|| Inheritance { series, ..Inheritance::default() })
                }
            };
            builder.push(&target, inheritance);
        }
        let assign = builder.build(batch.revision);
        let kind = match batch.orphans {
            false => from_master::Kind::Assign(assign),
            true => from_master::Kind::Remove(Remove {
                revision: batch.revision,
                targets: Vec::new(),
                orphans: Some(assign),
            }),
        };
        FromMaster { kind: Some(kind) }
    }
}

impl Fleet {
    /// The next message for a stream; `wall_millis` is this machine's wall clock, which is only told.
    ///
    /// `None` until the next [`super::FleetEffect::Wake`].
    pub fn next_message(&mut self, session: SessionId, wall_millis: i64) -> Option<Outgoing> {
        let revision = self.configuration_revision();
        let leading = self.is_leading();
        let id = self.workers.of_session(session)?;
        let worker = self.workers.get_mut(id)?;
        if let Some(mut beat) = worker.beat.take() {
            beat.now_millis = wall_millis;
            beat.leading &= leading;
            return Some(message(from_master::Kind::Beat(beat)));
        }
        while leading && let Some(order) = worker.orders.pop_front() {
            let next = match order {
                Order::Say(mut said) => {
                    if let Some(from_master::Kind::Welcome(welcome)) = &mut said.kind {
                        welcome.now_millis = wall_millis;
                    }
                    Some(Outgoing::Message(said))
                }
                Order::Configure => self.configuration.as_ref().map(|bundle| whole(bundle, revision)),
                Order::Reconfigure(delta) => {
                    Some(message(from_master::Kind::Configuration(delta.as_ref().clone())))
                }
                Order::Assign(key, target, legacy) => assign(worker, &self.targets, (key, target, legacy)),
                Order::Release(key) => Some(release(worker, &self.targets, key)),
                Order::Remove(key, target) => Some(remove(worker, &self.targets, key, target)),
                Order::Bury(target, legacy) => Some(bury(worker, target, legacy)),
            };
            if next.is_some() {
                return next;
            }
        }
        worker.took_everything();
        None
    }
}

fn message(kind: from_master::Kind) -> Outgoing {
    Outgoing::Message(Box::new(FromMaster { kind: Some(kind) }))
}

fn whole(bundle: &ConfigurationBundle, revision: u64) -> Outgoing {
    message(from_master::Kind::Configuration(Configuration {
        revision,
        complete: true,
        base: Some(bundle.base.clone()),
        jobs: bundle.jobs.clone(),
        removed_jobs: Vec::new(),
        directory: bundle.directory.clone(),
        files: bundle.files.clone(),
    }))
}

/// How much of a message is used up.
#[derive(Default)]
struct Size {
    targets: usize,
    stored: usize,
    series_bytes: usize,
}

impl Size {
    fn count(&mut self, legacy: &Legacy) {
        self.targets += 1;
        match legacy {
            Legacy::None => {}
            Legacy::Left(estate, _) => self.series_bytes += estate.series.len(),
            Legacy::Stored => self.stored += 1,
        }
    }

    fn has_room(&self) -> bool {
        self.targets < MOST_TARGETS && self.stored < MOST_STORED && self.series_bytes < MOST_SERIES_BYTES
    }
}

type Assignment = (TargetKey, Arc<ScrapeTarget>, Legacy);

/// This target and those that follow; nothing when all of them are gone by now.
fn assign(worker: &mut Worker, targets: &Targets, first: Assignment) -> Option<Outgoing> {
    let mut size = Size::default();
    let mut batch = Vec::new();
    let mut sent = Vec::new();
    let mut next = Some(first);
    while let Some((key, target, legacy)) = next {
        // One that is gone but has series to end is sent all the same: its removal follows.
        if targets.get(key).is_some() || legacy != Legacy::None {
            size.count(&legacy);
            sent.push(Order::Assign(key, Arc::clone(&target), legacy.clone()));
            batch.push((target, legacy));
        }
        next = match size.has_room() {
            true => {
                worker.orders.pop_front_if(|order| matches!(order, Order::Assign(..))).and_then(as_assign)
            }
            false => None,
        };
    }
    if batch.is_empty() {
        return None;
    }
    Some(targets_message(worker, sent, batch, false))
}

fn as_assign(order: Order) -> Option<Assignment> {
    match order {
        Order::Assign(key, target, legacy) => Some((key, target, legacy)),
        _ => None,
    }
}

fn bury(worker: &mut Worker, first: Arc<ScrapeTarget>, legacy: Legacy) -> Outgoing {
    let mut size = Size::default();
    size.count(&legacy);
    let mut batch = vec![(first, legacy)];
    while size.has_room()
        && let Some(Order::Bury(target, legacy)) =
            worker.orders.pop_front_if(|order| matches!(order, Order::Bury(..)))
    {
        size.count(&legacy);
        batch.push((target, legacy));
    }
    targets_message(worker, Vec::new(), batch, true)
}

fn targets_message(
    worker: &mut Worker,
    sent: Vec<Order>,
    targets: Vec<(Arc<ScrapeTarget>, Legacy)>,
    orphans: bool,
) -> Outgoing {
    worker.revision += 1;
    let revision = worker.revision;
    worker.unconfirmed.push_back((revision, sent));
    Outgoing::Targets(TargetBatch { revision, orphans, targets })
}

fn release(worker: &mut Worker, targets: &Targets, first: TargetKey) -> Outgoing {
    let mut keys = vec![first];
    while keys.len() < MOST_RELEASES
        && let Some(Order::Release(key)) =
            worker.orders.pop_front_if(|order| matches!(order, Order::Release(_)))
    {
        keys.push(key);
    }
    worker.release_request += 1;
    let release = Release { request: worker.release_request, targets: by_job(targets, keys) };
    message(from_master::Kind::Release(release))
}

fn remove(
    worker: &mut Worker,
    targets: &Targets,
    key: TargetKey,
    target: Option<Arc<ScrapeTarget>>,
) -> Outgoing {
    let mut keys = vec![key];
    let mut sent = vec![Order::Remove(key, target)];
    while keys.len() < MOST_TARGETS
        && let Some(order) = worker.orders.pop_front_if(|order| matches!(order, Order::Remove(..)))
    {
        if let Order::Remove(key, _) = &order {
            keys.push(*key);
        }
        sent.push(order);
    }
    worker.revision += 1;
    let revision = worker.revision;
    worker.unconfirmed.push_back((revision, sent));
    let remove = Remove { revision, targets: by_job(targets, keys), orphans: None };
    message(from_master::Kind::Remove(remove))
}

/// Grouped as messages have it.
fn by_job(targets: &Targets, mut keys: Vec<TargetKey>) -> Vec<TargetIds> {
    keys.sort_unstable();
    keys.dedup();
    keys.chunk_by(|one, other| one.job == other.job)
        .map(|keys| TargetIds {
            job: targets.job_name(keys[0].job).to_string(),
            ids: keys.iter().map(|key| key.id.0).collect(),
        })
        .collect()
}

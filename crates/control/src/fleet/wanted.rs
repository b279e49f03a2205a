//! How many workers there should be: the leader works it out and puts it into the store, so that every master answers
//! the same and the next leader begins with it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::driver::Shared;
use super::{FleetHandle, WorkerState};
use crate::scaling::WorkerLoad;
use crate::store::{Change, Versioned, WatchEvent};

/// Key in the store.
pub(super) const KEY: &str = "workers_desired";
/// It is looked at so often.
const SCALE_EVERY: Duration = Duration::from_secs(2);
/// It is written again after so long without a change, so that others can tell that a leader stands behind it.
const PUBLISH_EVERY: Duration = Duration::from_secs(20);
/// What was written so long ago is not told any more.
const FRESH: Duration = Duration::from_secs(90);

/// What a scaler wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Whether the master that says so leads; the number is the leader's in any case.
    pub leading: bool,
    /// Connected workers.
    pub workers: u64,
    /// Workers that there should be.
    pub desired: u64,
}

/// The value in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Published {
    pub(super) workers: u64,
    pub(super) desired: u64,
}

impl Published {
    pub(super) fn read(value: &Versioned) -> Option<Self> {
        serde_json::from_slice(&value.value).ok()
    }
}

impl FleetHandle {
    /// The number of workers that there should be, the leader's own or what it has put into the store; `None` when no
    /// leader has done so for a while.
    pub fn scale(&self) -> Option<Scale> {
        if self.is_leading() {
            // A new leader has not counted yet; nobody is to scale to nothing meanwhile.
            let own = Some(self.shared.own_scale()).filter(|own| own.desired > 0);
            return own.map(|own| Scale { leading: true, ..own });
        }
        let published = *self.shared.published.lock();
        let (published, _) = published.filter(|(_, at)| at.elapsed() < FRESH)?;
        Some(Scale { leading: false, workers: published.workers, desired: published.desired })
    }
}

impl Shared {
    fn own_scale(&self) -> Scale {
        let workers = self.fleet.lock().workers(self.now());
        let connected = workers.iter().filter(|worker| worker.state == WorkerState::Connected).count();
        let desired = self.wanted.load(Ordering::Relaxed);
        Scale { leading: false, workers: connected as u64, desired }
    }

    /// The leader before wanted so many.
    pub(super) fn resume_wanted(&self, published: Published) {
        self.scaling.lock().resume(published.desired);
        self.wanted.store(published.desired, Ordering::Relaxed);
    }

    /// Works out the number while this master leads.
    pub(super) async fn follow_load(&self) {
        let mut ticks = tokio::time::interval(SCALE_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last: Option<(Published, Instant)> = None;
        loop {
            ticks.tick().await;
            if !self.fleet.lock().is_leading() {
                last = None;
                let published = *self.published.lock();
                self.metrics.wanted(published.map_or(0, |(published, _)| published.desired));
                continue;
            }
            let now = self.now();
            let workers = self.fleet.lock().workers(now);
            let serving = workers.into_iter().filter(|worker| worker.state == WorkerState::Connected);
            let loads: Vec<_> = serving
                .filter_map(|worker| {
                    Some(WorkerLoad { name: worker.name, instance: worker.instance, status: worker.status? })
                })
                .collect();
            let wanted = self.scaling.lock().update(now, &loads);
            self.wanted.store(wanted, Ordering::Relaxed);
            self.metrics.wanted(wanted);
            let Scale { workers, desired, .. } = self.own_scale();
            let news = Published { workers, desired };
            let is_due = last.is_none_or(|(last, at)| last != news || at.elapsed() >= PUBLISH_EVERY);
            if is_due && self.publish(news).await {
                last = Some((news, Instant::now()));
            }
        }
    }

    async fn publish(&self, news: Published) -> bool {
        let Ok(value) = serde_json::to_vec(&news) else { return true };
        self.commit(Change::Put { key: KEY.to_owned(), value: Bytes::from(value), lease: None }).await
    }

    /// Learns what the leader has put into the store.
    pub(super) async fn follow_published(&self) {
        let mut events = self.store.watch(KEY);
        while let Some(event) = events.next().await {
            let value = match event {
                WatchEvent::Reset(values) => {
                    values.into_iter().find(|(key, _)| key == KEY).map(|(_, value)| value)
                }
                WatchEvent::Put { key, value } if key == KEY => Some(value),
                WatchEvent::Put { .. } | WatchEvent::Delete { .. } => None,
            };
            if let Some(published) = value.as_ref().and_then(Published::read) {
                *self.published.lock() = Some((published, Instant::now()));
            }
        }
        // The store has no more to say.
        std::future::pending().await
    }
}

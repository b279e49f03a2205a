//! A term of leadership and how long it holds.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use prost::Message;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Candidate, Fence, LeaseId};

/// The master that leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Its name.
    pub name: Arc<str>,
    /// Where workers reach it.
    pub address: Arc<str>,
    /// Its epoch.
    pub epoch: u64,
}

/// [`Leader`] in the store.
#[derive(Clone, PartialEq, prost::Message)]
struct LeaderRecord {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    address: String,
    #[prost(uint64, tag = "3")]
    epoch: u64,
}

impl Leader {
    pub(crate) fn new(candidate: &Candidate, epoch: u64) -> Self {
        Self { name: candidate.name.clone(), address: candidate.address.clone(), epoch }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let record =
            LeaderRecord { name: (*self.name).into(), address: (*self.address).into(), epoch: self.epoch };
        record.encode_to_vec().into()
    }

    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let LeaderRecord { name, address, epoch } = LeaderRecord::decode(value).ok()?;
        Some(Self { name: name.into(), address: address.into(), epoch })
    }
}

/// Whether a leadership still holds. Asking costs nothing; cheap to clone.
///
/// It holds until a moment by this machine's monotonic clock that is earlier than the end of the lease in the store,
/// whatever the wall clocks say, so that the next leader begins after it is over.
#[derive(Debug, Clone, Default)]
pub struct Tenure {
    shared: Arc<TenureShared>,
}

#[derive(Debug, Default)]
struct TenureShared {
    /// `None` has no end.
    until: Mutex<Option<Instant>>,
    over: CancellationToken,
}

impl Tenure {
    /// Without an end, until it is ended.
    pub fn endless() -> Self {
        Self::default()
    }

    pub(super) fn until(until: Instant) -> Self {
        let tenure = Self::default();
        tenure.extend(until);
        tenure
    }

    /// Whether it holds at this moment.
    pub fn is_current(&self) -> bool {
        !self.shared.over.is_cancelled()
            && self.shared.until.lock().is_none_or(|until| Instant::now() < until)
    }

    /// Waits until it is over.
    pub async fn over(&self) {
        loop {
            let until = *self.shared.until.lock();
            let Some(until) = until else { return self.shared.over.cancelled().await };
            tokio::select! {
                () = self.shared.over.cancelled() => return,
                () = tokio::time::sleep_until(until) => {}
            }
            if !self.is_current() {
                return;
            }
        }
    }

    pub(super) fn extend(&self, until: Instant) {
        let mut held = self.shared.until.lock();
        *held = Some(held.map_or(until, |held| held.max(until)));
    }

    pub(super) fn end(&self) {
        self.shared.over.cancel();
    }
}

/// A term of leadership; renewed in the background until it is resigned, dropped or lost.
#[must_use = "the leadership ends when this is dropped"]
pub struct Leadership {
    /// Higher than that of every leadership before.
    pub epoch: u64,
    /// For commits.
    pub fence: Fence,
    /// For keys that go with this leadership.
    pub lease: LeaseId,
    /// Whether it still holds.
    pub tenure: Tenure,
    release: Option<Release>,
}

/// Gives the leadership back, so that another candidate need not wait for the end of its lease.
pub(super) type Release = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

impl Leadership {
    pub(super) fn new(epoch: u64, fence: Fence, lease: LeaseId, tenure: Tenure, release: Release) -> Self {
        Self { epoch, fence, lease, tenure, release: Some(release) }
    }

    /// Ends it, and waits (briefly) until the store knows.
    pub async fn resign(mut self) {
        self.tenure.end();
        if let Some(release) = self.release.take() {
            release().await;
        }
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.tenure.end();
        if let Some(release) = self.release.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(release());
        }
    }
}

impl std::fmt::Debug for Leadership {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Leadership")
            .field("epoch", &self.epoch)
            .field("fence", &self.fence)
            .field("current", &self.tenure.is_current())
            .finish_non_exhaustive()
    }
}

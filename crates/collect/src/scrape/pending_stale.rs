//! Series of targets that are gone, waiting for their stale markers.
//!
//! A target that disappears may come back a moment later under another identity (a changed `__` label, a reload),
//! exposing the same series. Markers are therefore written only after two more intervals, and not for series that
//! some target has exposed since. Prometheus leaves that check to its storage, which refuses the older marker.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Which series wait for a marker, by the hash of their labels.
#[derive(Debug, Default)]
pub(crate) struct PendingStale {
    waiting: Mutex<HashMap<u64, u64>>,
    count: AtomicUsize,
}

impl PendingStale {
    /// The series of the departed target `owner` wait from now on.
    pub(crate) fn wait(&self, owner: u64, hashes: impl Iterator<Item = u64>) {
        let mut waiting = self.waiting.lock();
        waiting.extend(hashes.map(|hash| (hash, owner)));
        self.count.store(waiting.len(), Ordering::Release);
    }

    /// A target exposes these series now: nobody writes markers for them any more.
    pub(crate) fn claim(&self, hashes: impl IntoIterator<Item = u64>) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut waiting = self.waiting.lock();
        for hash in hashes {
            waiting.remove(&hash);
        }
        self.settle(&mut waiting);
    }

    /// Takes those of the series that still wait for a marker of `owner`.
    pub(crate) fn take(&self, owner: u64, hashes: impl Iterator<Item = u64>) -> Vec<u64> {
        let mut waiting = self.waiting.lock();
        let taken: Vec<u64> = hashes.filter(|hash| waiting.get(hash) == Some(&owner)).collect();
        for hash in &taken {
            waiting.remove(hash);
        }
        self.settle(&mut waiting);
        taken
    }

    /// Series that wait.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    fn settle(&self, waiting: &mut HashMap<u64, u64>) {
        if waiting.capacity() > 4 * waiting.len() + 1_024 {
            waiting.shrink_to_fit();
        }
        self.count.store(waiting.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claimed_series_get_no_marker_and_the_last_owner_writes_the_others() {
        let pending = PendingStale::default();
        pending.wait(1, [10, 11, 12].into_iter());
        pending.claim([11, 99]);
        pending.wait(2, [12].into_iter());
        assert_eq!(pending.len(), 2);
        assert_eq!(pending.take(1, [10, 11, 12].into_iter()), [10]);
        assert_eq!(pending.take(2, [12].into_iter()), [12]);
        assert_eq!(pending.len(), 0);
    }
}

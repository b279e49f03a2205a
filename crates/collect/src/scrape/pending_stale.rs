//! Series of targets that are gone, waiting for their stale markers.
//!
//! A target that disappears may come back a moment later under another identity (a changed `__` label, a reload),
//! exposing the same series. Markers are therefore written only after two more intervals, and not for series that
//! some target has exposed since. Prometheus leaves that check to its storage, which refuses the older marker.

use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashMap;
use parking_lot::RwLock;
use rapidhash::fast::RandomState;

/// Which series wait for a marker, by the hash of their labels, and which departed target's they were.
#[derive(Debug, Default)]
pub(crate) struct PendingStale {
    waiting: RwLock<HashMap<u64, u64, RandomState>>,
    count: AtomicUsize,
}

impl PendingStale {
    /// The series of the departed target `owner` wait from now on.
    pub(crate) fn wait(&self, owner: u64, hashes: impl Iterator<Item = u64>) {
        let mut waiting = self.waiting.write();
        waiting.extend(hashes.map(|hash| (hash, owner)));
        self.count.store(waiting.len(), Ordering::Release);
    }

    /// Target `exposer` exposes these series now: nobody else writes markers for them any more.
    pub(crate) fn claim(&self, exposer: u64, hashes: impl Iterator<Item = u64>) {
        if self.len() == 0 {
            return;
        }
        let claimed: Vec<u64> = {
            let waiting = self.waiting.read();
            hashes.filter(|hash| waiting.get(hash).is_some_and(|owner| *owner != exposer)).collect()
        };
        if !claimed.is_empty() {
            self.remove(&claimed);
        }
    }

    /// Takes those of the series that still wait for a marker of `owner`.
    pub(crate) fn take(&self, owner: u64, hashes: impl Iterator<Item = u64>) -> Vec<u64> {
        let taken: Vec<u64> = {
            let waiting = self.waiting.read();
            hashes.filter(|hash| waiting.get(hash) == Some(&owner)).collect()
        };
        self.remove(&taken);
        taken
    }

    /// Series that wait.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    fn remove(&self, hashes: &[u64]) {
        let mut waiting = self.waiting.write();
        for hash in hashes {
            waiting.remove(hash);
        }
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
        pending.claim(7, [11, 99].into_iter());
        pending.claim(1, [10].into_iter());
        pending.wait(2, [12].into_iter());
        assert_eq!(pending.len(), 2);
        assert_eq!(pending.take(1, [10, 11, 12].into_iter()), [10]);
        assert_eq!(pending.take(2, [12].into_iter()), [12]);
        assert_eq!(pending.len(), 0);
    }
}

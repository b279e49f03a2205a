//! When series that are forgotten had their last sample: one that comes back with a time of its own must not be older.
//! Prometheus leaves that to its storage, which keeps a series for hours after it vanished.

use std::collections::VecDeque;

use hashbrown::HashMap;
use outrigger_model::sample::Timestamp;
use rapidhash::fast::RandomState;

/// So long a series that is gone is remembered (what is an hour older than the newest is refused by Prometheus).
const KEEP_MILLIS: i64 = 60 * 60 * 1_000;

/// Series that are remembered beside those that a target with times of its own has.
const FEW: usize = 1_024;

/// The last sample or marker of series that were forgotten, by the hash of their labels; the oldest are given up first.
#[derive(Debug, Default)]
pub(crate) struct Departed {
    times: HashMap<u64, Timestamp, RandomState>,
    order: VecDeque<(u64, Timestamp)>,
}

impl Departed {
    /// A series is forgotten.
    pub(crate) fn insert(&mut self, hash: u64, last: Timestamp) {
        self.times.insert(hash, last);
        self.order.push_back((hash, last));
    }

    /// When the series with this hash had its last sample, if it is remembered.
    pub(crate) fn last(&self, hash: u64) -> Option<Timestamp> {
        self.times.get(&hash).copied()
    }

    /// Gives up what was forgotten long before `now`, and what is more than a few beside `count`.
    pub(crate) fn limit(&mut self, count: usize, now: Timestamp) {
        while let Some(&(hash, last)) = self.order.front()
            && (self.order.len() > count + FEW || now.since(last) > KEEP_MILLIS)
        {
            self.order.pop_front();
            // It may have come back and gone again since.
            if self.times.get(&hash) == Some(&last) {
                self.times.remove(&hash);
            }
        }
        if self.times.capacity() > 4 * self.times.len() + FEW {
            self.times.shrink_to_fit();
            self.order.shrink_to_fit();
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.times.capacity() * (size_of::<(u64, Timestamp)>() + 1)
            + self.order.capacity() * size_of::<(u64, Timestamp)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_given_up_and_the_last_departure_counts() {
        let at = Timestamp::from_millis;
        let mut departed = Departed::default();
        departed.insert(1, at(0));
        departed.insert(2, at(1));
        departed.insert(1, at(KEEP_MILLIS));
        departed.limit(0, at(KEEP_MILLIS + 2));
        assert_eq!([1, 2].map(|hash| departed.last(hash)), [Some(at(KEEP_MILLIS)), None]);
        (0..5_000).for_each(|hash| departed.insert(hash, at(KEEP_MILLIS + 3)));
        departed.limit(1_000, at(KEEP_MILLIS + 3));
        assert_eq!(departed.last(2_975), None);
        assert_eq!(departed.last(2_976), Some(at(KEEP_MILLIS + 3)));
        departed.limit(0, at(3 * KEEP_MILLIS));
        assert!(departed.times.is_empty());
    }
}

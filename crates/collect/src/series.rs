//! One time series as the parts downstream of a scrape see it.

use std::fmt;
use std::sync::Arc;

use outrigger_model::labels::Labels;
use parking_lot::Mutex;

/// A series that a target exposes: its final label set and what consumers remember about it.
///
/// The scrape cache creates it once and hands out the same `Arc` for each later sample, so whatever is derived
/// from the labels (their wire form, a relabelling result) is computed once for the life of the series.
pub struct Series {
    labels: Labels,
    hash: u64,
    memos: Mutex<Vec<Memo>>,
}

/// Whose memo it is: `owner` is unique in the process, a newer `generation` replaces an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoKey {
    /// The consumer, for example one remote-write endpoint.
    pub owner: u32,
    /// Grows when the consumer's settings change what it would remember.
    pub generation: u32,
}

struct Memo {
    key: MemoKey,
    bytes: Option<Arc<[u8]>>,
}

impl Series {
    /// A series with these final labels.
    pub fn new(labels: Labels) -> Self {
        Self { hash: labels.hash64(), labels, memos: Mutex::new(Vec::new()) }
    }

    /// The label set, metric name included.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// [`Labels::hash64`] of the label set: equal for equal series, also after a restart.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// What `make` returned the first time it was called for `key`. `make` runs under a lock of this series only.
    pub fn memo(&self, key: MemoKey, make: impl FnOnce(&Labels) -> Option<Arc<[u8]>>) -> Option<Arc<[u8]>> {
        let mut memos = self.memos.lock();
        if let Some(memo) = memos.iter_mut().find(|memo| memo.key.owner == key.owner) {
            if memo.key != key {
                *memo = Memo { key, bytes: make(&self.labels) };
            }
            return memo.bytes.clone();
        }
        let bytes = make(&self.labels);
        memos.reserve_exact(1);
        memos.push(Memo { key, bytes: bytes.clone() });
        bytes
    }

    /// Bytes on the heap at creation, without memos.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + 2 * size_of::<usize>() + self.labels.heap_bytes()
    }
}

impl fmt::Debug for Series {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.labels.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_is_made_once_for_each_generation_of_its_owner() {
        let series = Series::new(Labels::from_pairs([("__name__", "up")]));
        let made = std::cell::Cell::new(0);
        let ask = |owner, generation, bytes: Option<&[u8]>| {
            series.memo(MemoKey { owner, generation }, |_| {
                made.set(made.get() + 1);
                bytes.map(Arc::from)
            })
        };
        assert_eq!(ask(1, 1, Some(b"a")).as_deref(), Some(&b"a"[..]));
        assert_eq!(ask(1, 1, Some(b"b")).as_deref(), Some(&b"a"[..]), "remembered");
        assert_eq!(ask(2, 1, None), None, "another owner has its own");
        assert_eq!(ask(1, 2, Some(b"c")).as_deref(), Some(&b"c"[..]), "a new generation replaces it");
        assert_eq!(made.get(), 3);
    }
}

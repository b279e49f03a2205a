use std::collections::VecDeque;

use crate::row::{ObjectKey, RowId};

/// What changed in a table since a cursor.
///
/// Net of the whole span: a row that changed several times is there once, an object that came and went is only
/// in `deleted`, and one that was deleted and made again is only in `changed`, as its new row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Cursor for the next call.
    pub next: u64,
    /// Rows that are new or different.
    pub changed: Vec<RowId>,
    /// Objects that are gone.
    pub deleted: Vec<ObjectKey>,
    /// The feed no longer reaches back to the cursor: read the whole table and go on from `next`.
    pub reset: bool,
}

/// The last changes of a table, in order; of bounded length.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    entries: VecDeque<Entry>,
    /// Number of the first entry; the first change of a table has number 0.
    first: u64,
    capacity: usize,
    key_bytes: usize,
}

#[derive(Debug)]
pub(crate) enum Entry {
    Changed(RowId),
    Deleted(Box<ObjectKey>),
}

impl ChangeLog {
    /// Entries kept by default: more than ten seconds of a busy cluster.
    pub(crate) const DEFAULT_CAPACITY: usize = 32_768;

    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: VecDeque::new(), first: 0, capacity: capacity.max(1), key_bytes: 0 }
    }

    /// Number that the next entry will have.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        if self.entries.len() >= self.capacity
            && let Some(oldest) = self.entries.pop_front()
        {
            self.first += 1;
            self.key_bytes -= key_bytes(&oldest);
        }
        self.key_bytes += key_bytes(&entry);
        self.entries.push_back(entry);
    }

    /// The entries from `cursor` on with their numbers, or `None` when some of them are no longer known.
    pub(crate) fn since(&self, cursor: u64) -> Option<impl Iterator<Item = (u64, &Entry)>> {
        if cursor < self.first || cursor > self.next() {
            return None;
        }
        let skip = (cursor - self.first) as usize;
        Some((cursor..).zip(self.entries.range(skip..)))
    }

    pub(crate) fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.key_bytes
    }
}

fn key_bytes(entry: &Entry) -> usize {
    match entry {
        Entry::Changed(_) => 0,
        // The box, and two texts with their allocation headers.
        Entry::Deleted(key) => size_of::<ObjectKey>() + key.heap_bytes() + 48,
    }
}

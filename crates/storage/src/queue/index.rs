//! The records that wait, in the order they were appended. 64 bytes each.

use std::collections::VecDeque;

use super::format::{RecordHeader, record_length};
use super::{Record, RecordId};

/// Dead entries are kept until there are this many and twice as many as live ones.
const MIN_DEAD: usize = 1024;

#[derive(Debug)]
struct Entry {
    header: RecordHeader,
    is_live: bool,
}

/// Records by id.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Ascending by id. The first one is live.
    entries: VecDeque<Entry>,
    live: usize,
    live_bytes: u64,
}

impl Index {
    /// Live records.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// What the live records take in their segments.
    pub(super) fn bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Adds a record whose id is above all others.
    pub(super) fn push(&mut self, header: RecordHeader) {
        debug_assert!(self.entries.back().is_none_or(|last| last.header.id < header.id));
        self.live += 1;
        self.live_bytes += record_length(header.payload_length);
        self.entries.push_back(Entry { header, is_live: true });
    }

    pub(super) fn get(&self, id: RecordId) -> Option<&RecordHeader> {
        let entry = &self.entries[self.position(id)?];
        Some(&entry.header)
    }

    /// Notes that the record now lies elsewhere.
    pub(super) fn relocate(&mut self, id: RecordId, to: RecordHeader) {
        if let Some(position) = self.position(id) {
            self.entries[position].header = to;
        }
    }

    /// Takes a live record out.
    pub(super) fn remove(&mut self, id: RecordId) -> Option<RecordHeader> {
        let position = self.position(id)?;
        let entry = &mut self.entries[position];
        entry.is_live = false;
        let header = entry.header;
        self.live -= 1;
        self.live_bytes -= record_length(header.payload_length);
        self.forget_dead();
        Some(header)
    }

    /// The oldest live record.
    pub(super) fn oldest(&self) -> Option<&RecordHeader> {
        self.entries.front().map(|entry| &entry.header)
    }

    /// Live records, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &RecordHeader> {
        self.entries.iter().filter(|entry| entry.is_live).map(|entry| &entry.header)
    }

    fn position(&self, id: RecordId) -> Option<usize> {
        let position = self.entries.binary_search_by_key(&id, |entry| entry.header.id).ok()?;
        self.entries[position].is_live.then_some(position)
    }

    fn forget_dead(&mut self) {
        while self.entries.front().is_some_and(|entry| !entry.is_live) {
            self.entries.pop_front();
        }
        let dead = self.entries.len() - self.live;
        if dead >= MIN_DEAD && dead / 2 > self.live {
            self.entries.retain(|entry| entry.is_live);
        }
        if self.entries.capacity() > 4 * self.entries.len() + MIN_DEAD {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }
}

impl From<&RecordHeader> for Record {
    fn from(header: &RecordHeader) -> Self {
        Record { id: header.id, meta: header.meta, bytes: header.payload_length }
    }
}

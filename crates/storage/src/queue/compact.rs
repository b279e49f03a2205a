//! The slow part: syncing, and giving back the space of records that are done with.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::RecordId;
use super::error::SyncError;
use super::format::{Mark, RecordHeader, SEGMENT_HEADER};
use super::log::Log;

/// How many segments one call empties.
const SEGMENTS_AT_ONCE: usize = 8;

/// Syncs what was written since the last time. The log is free meanwhile.
pub(super) fn sync(log: &Mutex<Log>) -> Result<(), SyncError> {
    let (segments, directory) = {
        let mut log = log.lock();
        log.retire_all();
        (log.take_unsynced(), std::mem::take(&mut log.is_directory_unsynced))
    };
    let mut result = Ok(());
    for (number, path, file) in segments {
        if let Err(source) = file.and_then(|file| file.sync_data()) {
            log.lock().note_unsynced(number);
            result = result.and(Err(SyncError::Sync { path, source }));
        }
    }
    if directory {
        let path = log.lock().directory.path().to_owned();
        if let Err(source) = File::open(&path).and_then(|directory| directory.sync_all()) {
            log.lock().is_directory_unsynced = true;
            result = result.and(Err(SyncError::Sync { path, source }));
        }
    }
    result
}

/// Moves the records of half-empty segments to the end and deletes those, when the queue is half full.
pub(super) fn compact(log: &Mutex<Log>) -> Result<(), SyncError> {
    for _ in 0..SEGMENTS_AT_ONCE {
        let Some(number) = log.lock().begin_compaction() else { return Ok(()) };
        let mut moved = Vec::new();
        let result = move_records(log, number, &mut moved).and_then(|()| sync(log));
        log.lock().end_compaction(number, &moved);
        result?;
    }
    Ok(())
}

/// One record after the other, so that appends get in between.
fn move_records(log: &Mutex<Log>, segment: u32, moved: &mut Vec<RecordHeader>) -> Result<(), SyncError> {
    let ids = log.lock().ids_in(segment);
    for id in ids {
        let place = match log.lock().locate(id) {
            Ok(place) if place.segment() == segment => place,
            Ok(_) => continue,
            Err(error) if error.is_gone() => continue,
            Err(source) => return Err(SyncError::ReadOld { source }),
        };
        // A damaged payload moves as it is: its reader is to hear of it.
        let payload = place.read_unchecked().map_err(|source| SyncError::ReadOld { source })?;
        let mut log = log.lock();
        let is_there = log.index.get(id).is_some_and(|header| header.segment == segment);
        if is_there {
            let path = log.directory.segment_path(segment);
            log.move_to_end(place.header(), &payload)
                .map_err(|source| SyncError::Compact { path, source })?;
            moved.push(*place.header());
        }
    }
    Ok(())
}

impl Log {
    /// Deletes every segment with nothing left in it, the last one included if records were ever in it.
    pub(super) fn retire_all(&mut self) {
        if self.compacting.is_some() {
            return;
        }
        let is_done = |number: u32, length: u64| {
            length > u64::from(SEGMENT_HEADER) || self.tail.as_ref().is_none_or(|tail| tail.number != number)
        };
        let numbers: Vec<u32> = self
            .segments
            .iter()
            .filter(|(number, segment)| segment.live == 0 && is_done(**number, segment.length))
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            self.delete(number);
        }
    }

    fn take_unsynced(&mut self) -> Vec<(u32, PathBuf, io::Result<Arc<File>>)> {
        let numbers = std::mem::take(&mut self.unsynced);
        let existing = numbers.into_iter().filter(|number| self.segments.contains_key(number));
        existing
            .map(|number| {
                let file = self.handles.writable(&self.directory, number);
                (number, self.directory.segment_path(number), file)
            })
            .collect()
    }

    fn note_unsynced(&mut self, number: u32) {
        if self.segments.contains_key(&number) {
            self.unsynced.insert(number);
        }
    }

    /// The oldest segment of which at most half still waits: the disk holds at most twice what waits.
    fn begin_compaction(&mut self) -> Option<u32> {
        if self.disk_bytes() < self.options.max_bytes / 2 {
            return None;
        }
        let tail = self.tail.as_ref().map(|tail| tail.number);
        let is_sparse = |live_bytes: u64, length: u64| live_bytes > 0 && live_bytes * 2 <= length;
        let sparse = |(number, segment): (&u32, &super::log::Segment)| {
            (Some(*number) != tail && is_sparse(segment.live_bytes, segment.length)).then_some(*number)
        };
        self.compacting = self.segments.iter().find_map(sparse);
        self.compacting
    }

    fn end_compaction(&mut self, number: u32, moved: &[RecordHeader]) {
        self.compacting = None;
        if !self.retire(number) {
            for header in moved {
                // Where this fails too, a crash brings back records that were delivered.
                let _ = self.mark(header, Mark::Superseded);
            }
        }
        self.retire_all();
    }

    fn ids_in(&self, segment: u32) -> Vec<RecordId> {
        let records = self.index.iter().filter(|header| header.segment == segment);
        records.map(|header| header.id).collect()
    }
}

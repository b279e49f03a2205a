//! The segments and what is in them: append, locate, acknowledge, evict.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::corrupt::{CorruptCounts, CorruptReason};
use super::directory::Directory;
use super::error::{AcknowledgeError, AppendError, ReadRecordError};
use super::format::{
    ALIGNMENT, MARK_AT, Mark, RECORD_HEADER, RecordHeader, SEGMENT_HEADER, encode_segment_header,
    record_length,
};
use super::handles::Handles;
use super::index::Index;
use super::{Appended, MAX_PAYLOAD_BYTES, QueueOptions, QueueStatistics, Record, RecordId, RecordMeta};

/// Segments are not made smaller than this, however small the queue.
const MIN_SEGMENT_BYTES: u32 = 4096;
/// The last segment is deleted once it has this many bytes and nothing that waits; a smaller one is used on.
const RETIRE_LAST_BYTES: u64 = 1 << 20;

/// A segment file.
#[derive(Debug)]
pub(super) struct Segment {
    /// Length of the file.
    pub(super) length: u64,
    /// Records in it that wait.
    pub(super) live: usize,
    /// What they take.
    pub(super) live_bytes: u64,
}

/// The segment that records are appended to.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) number: u32,
    /// Its cursor is at the end.
    pub(super) file: File,
    pub(super) length: u32,
}

#[derive(Debug)]
pub(super) struct Log {
    pub(super) directory: Directory,
    pub(super) options: QueueOptions,
    pub(super) index: Index,
    pub(super) segments: BTreeMap<u32, Segment>,
    /// Lengths of all segments.
    pub(super) disk_bytes: u64,
    pub(super) tail: Option<Tail>,
    /// None once all numbers are used up.
    pub(super) next_segment: Option<u32>,
    /// Segments with bytes that were not synced.
    pub(super) unsynced: BTreeSet<u32>,
    pub(super) is_directory_unsynced: bool,
    pub(super) handles: Handles,
    pub(super) corrupt: CorruptCounts,
}

/// A record's place in an open file.
#[derive(Debug)]
pub(super) struct Place {
    header: RecordHeader,
    file: Arc<File>,
    path: PathBuf,
}

impl Place {
    pub(super) fn read_unchecked(&self) -> Result<Vec<u8>, ReadRecordError> {
        let mut payload = vec![0; self.header.payload_length as usize];
        let start = u64::from(self.header.offset) + u64::from(RECORD_HEADER);
        let failed = |source| ReadRecordError::Read { id: self.header.id, path: self.path.clone(), source };
        self.file.read_exact_at(&mut payload, start).map_err(failed)?;
        Ok(payload)
    }

    pub(super) fn read(&self) -> Result<Vec<u8>, ReadRecordError> {
        let payload = self.read_unchecked()?;
        if crc32fast::hash(&payload) != self.header.payload_crc {
            return Err(ReadRecordError::Corrupt {
                id: self.header.id,
                path: self.path.clone(),
                offset: self.header.offset,
            });
        }
        Ok(payload)
    }
}

impl Log {
    pub(super) fn append(
        &mut self,
        meta: RecordMeta,
        payload: &[u8],
        payload_crc: u32,
    ) -> Result<Appended, AppendError> {
        let payload_length = self.checked_length(payload)?;
        let header = self.write(None, meta, payload, payload_length, payload_crc)?;
        self.index.push(header);
        Ok(Appended { id: header.id, evicted: self.evict() })
    }

    pub(super) fn locate(&mut self, id: RecordId) -> Result<Place, ReadRecordError> {
        let header = *self.index.get(id).ok_or(ReadRecordError::Gone { id })?;
        let path = self.directory.segment_path(header.segment);
        match self.handles.readable(&self.directory, header.segment) {
            Ok(file) => Ok(Place { header, file, path }),
            Err(source) => Err(ReadRecordError::Read { id, path, source }),
        }
    }

    pub(super) fn acknowledge(&mut self, id: RecordId) -> Result<(), AcknowledgeError> {
        let Some(header) = self.index.remove(id) else { return Ok(()) };
        self.note_dead(&header);
        if self.retire(header.segment) {
            return Ok(());
        }
        self.mark(&header, Mark::Acknowledged)
            .map_err(|source| AcknowledgeError { path: self.directory.segment_path(header.segment), source })
    }

    pub(super) fn set_max_bytes(&mut self, max_bytes: u64) -> Vec<Record> {
        self.options.max_bytes = max_bytes;
        self.evict()
    }

    pub(super) fn count_corrupt(&mut self, reason: CorruptReason) {
        self.corrupt.add(reason);
    }

    pub(super) fn statistics(&self) -> QueueStatistics {
        QueueStatistics {
            records: self.index.len(),
            pending_bytes: self.index.bytes(),
            disk_bytes: self.disk_bytes,
            segments: self.segments.len(),
            corrupt: self.corrupt,
        }
    }

    /// Takes a segment into the table.
    pub(super) fn add_segment(&mut self, number: u32, length: u64) {
        self.disk_bytes += length;
        self.segments.insert(number, Segment { length, live: 0, live_bytes: 0 });
    }

    /// Makes the segments fit: by the space of what is done with, then by giving up the oldest records.
    pub(super) fn evict(&mut self) -> Vec<Record> {
        let mut evicted = Vec::new();
        let mut to_mark = Vec::new();
        while self.disk_bytes > self.options.max_bytes {
            if self.compact() {
                continue;
            }
            let Some(oldest) = self.index.oldest().copied() else { break };
            self.index.remove(oldest.id);
            self.note_dead(&oldest);
            evicted.push(Record::from(&oldest));
            let is_empty = self.segments.get(&oldest.segment).is_some_and(|segment| segment.live == 0);
            if is_empty && !self.delete(oldest.segment) {
                // A disk that deletes nothing gets no smaller by giving up more.
                break;
            }
            to_mark.push(oldest);
        }
        // If a mark cannot be written, the record is evicted once more after a restart.
        to_mark.retain(|header: &RecordHeader| self.segments.contains_key(&header.segment));
        for header in &to_mark {
            let _ = self.mark(header, Mark::Acknowledged);
        }
        evicted
    }

    /// Deletes a segment that has nothing left, unless it is of use; says whether it is gone.
    pub(super) fn retire(&mut self, number: u32) -> bool {
        let Some(segment) = self.segments.get(&number) else { return true };
        let is_used_on = self.tail.as_ref().is_some_and(|tail| tail.number == number)
            && segment.length < RETIRE_LAST_BYTES;
        let is_kept = segment.live > 0 || is_used_on;
        !is_kept && self.delete(number)
    }

    /// Deletes a segment; says whether that worked.
    pub(super) fn delete(&mut self, number: u32) -> bool {
        if self.tail.as_ref().is_some_and(|tail| tail.number == number) {
            self.tail = None;
        }
        self.handles.forget(number);
        let is_gone = self.directory.remove(number).is_ok();
        if is_gone {
            let removed = self.segments.remove(&number);
            self.disk_bytes -= removed.map_or(0, |segment| segment.length);
            self.unsynced.remove(&number);
            self.is_directory_unsynced = true;
        }
        is_gone
    }

    /// Writes on the disk what became of a record.
    pub(super) fn mark(&mut self, header: &RecordHeader, mark: Mark) -> io::Result<()> {
        let file = self.handles.writable(&self.directory, header.segment)?;
        self.unsynced.insert(header.segment);
        file.write_all_at(&mark.encode(), u64::from(header.offset) + u64::from(MARK_AT))
    }

    pub(super) fn note_dead(&mut self, header: &RecordHeader) {
        if let Some(segment) = self.segments.get_mut(&header.segment) {
            segment.live -= 1;
            segment.live_bytes -= record_length(header.payload_length);
        }
    }

    fn checked_length(&self, payload: &[u8]) -> Result<u32, AppendError> {
        let overhead = u64::from(SEGMENT_HEADER + RECORD_HEADER + ALIGNMENT);
        let limit = (self.options.max_bytes / 2).saturating_sub(overhead).min(u64::from(MAX_PAYLOAD_BYTES));
        match u32::try_from(payload.len()) {
            Ok(length) if u64::from(length) <= limit => Ok(length),
            _ => Err(AppendError::TooLarge { bytes: payload.len(), limit }),
        }
    }

    pub(super) fn write(
        &mut self,
        id: Option<RecordId>,
        meta: RecordMeta,
        payload: &[u8],
        payload_length: u32,
        payload_crc: u32,
    ) -> Result<RecordHeader, AppendError> {
        let length = record_length(payload_length);
        let mut tail = self.tail_with_room(length)?;
        let id = id.unwrap_or_else(|| RecordId::at(tail.number, tail.length));
        let (segment, offset) = (tail.number, tail.length);
        let header = RecordHeader { segment, offset, id, meta, payload_length, payload_crc };
        let padding = [0; ALIGNMENT as usize];
        let padding = &padding[..payload.len().next_multiple_of(ALIGNMENT as usize) - payload.len()];
        self.unsynced.insert(segment);
        if let Err(source) = write_all(&tail.file, &[&header.encode(), payload, padding]) {
            self.tail = cut(tail);
            return Err(AppendError::Write { path: self.directory.segment_path(segment), source });
        }
        let length_now = u64::from(tail.length) + length;
        tail.length =
            u32::try_from(length_now).expect("a segment with room for the record ends below u32::MAX");
        self.tail = Some(tail);
        let entry = self.segments.get_mut(&segment).expect("the last segment is in the table");
        entry.length = length_now;
        self.disk_bytes += length;
        entry.live += 1;
        entry.live_bytes += length;
        Ok(header)
    }

    /// Takes out the last segment, or a new one where the record would make it too long.
    fn tail_with_room(&mut self, record_length: u64) -> Result<Tail, AppendError> {
        let segment_bytes = u64::from(self.segment_bytes());
        let fits = |tail: &Tail| {
            tail.length == SEGMENT_HEADER || u64::from(tail.length) + record_length <= segment_bytes
        };
        match self.tail.take() {
            Some(tail) if fits(&tail) => Ok(tail),
            Some(tail) => {
                let full = tail.number;
                drop(tail);
                self.retire(full);
                self.begin_segment()
            }
            None => self.begin_segment(),
        }
    }

    fn segment_bytes(&self) -> u32 {
        let eighth = u32::try_from(self.options.max_bytes / 8).unwrap_or(u32::MAX);
        self.options.segment_bytes.min(eighth).clamp(MIN_SEGMENT_BYTES, MAX_PAYLOAD_BYTES)
    }

    fn begin_segment(&mut self) -> Result<Tail, AppendError> {
        let exhausted = || AppendError::CreateSegment {
            path: self.directory.path().to_owned(),
            source: io::Error::other("every segment number is used up"),
        };
        let number = self.next_segment.ok_or_else(exhausted)?;
        let path = self.directory.segment_path(number);
        let failed = |source| AppendError::CreateSegment { path, source };
        let file = match self.directory.create(number) {
            Ok(file) => file,
            Err(source) => {
                if source.kind() == io::ErrorKind::AlreadyExists {
                    self.next_segment = number.checked_add(1);
                }
                return Err(failed(source));
            }
        };
        if let Err(source) = write_all(&file, &[&encode_segment_header(number)]) {
            // What is left of it, if this fails too, is deleted by the next recovery.
            let removed = self.directory.remove(number);
            if removed.is_err() {
                self.next_segment = number.checked_add(1);
            }
            return Err(failed(source));
        }
        self.next_segment = number.checked_add(1);
        self.is_directory_unsynced = true;
        self.add_segment(number, u64::from(SEGMENT_HEADER));
        Ok(Tail { number, file, length: SEGMENT_HEADER })
    }
}

impl RecordId {
    fn at(segment: u32, offset: u32) -> Self {
        Self(u64::from(segment) << 32 | u64::from(offset))
    }
}

/// Removes what was written of a record. A segment from which it cannot be removed is not written to again; recovery
/// finds its end torn.
fn cut(mut tail: Tail) -> Option<Tail> {
    let end = u64::from(tail.length);
    let is_cut = tail.file.set_len(end).and_then(|()| tail.file.seek(SeekFrom::Start(end))).is_ok();
    is_cut.then_some(tail)
}

fn write_all(mut file: &File, parts: &[&[u8]]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut rest = &mut slices[..];
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

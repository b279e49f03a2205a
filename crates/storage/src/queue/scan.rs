//! Finds the records of one segment, past whatever damage it has.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::corrupt::{CorruptCounts, CorruptReason};
use super::format::{
    ALIGNMENT, Mark, RECORD_HEADER, RECORD_MAGIC, RecordHeader, SEGMENT_HEADER, SegmentHeader,
    decode_segment_header, record_length,
};

/// Bytes that are looked through at once after damage, and given up at once where the disk cannot read them.
const CHUNK: u64 = 4096;

/// The bytes of a segment, wherever they are.
pub(super) trait Source {
    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Fills the buffer from this offset.
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;
}

impl Source for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, into, offset)
    }
}

/// A record that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) header: RecordHeader,
    pub(super) mark: Mark,
}

/// What one segment holds.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) header: SegmentHeader,
    /// In the order of their offsets.
    pub(super) found: Vec<Found>,
    pub(super) corrupt: CorruptCounts,
    /// Length of the file.
    pub(super) length: u64,
    /// Where the next record may be written, if nothing but a torn tail is wrong with the segment.
    pub(super) append_at: Option<u32>,
}

/// Reads the headers of a segment's records. Payloads are not read: their checksum is checked when they are.
///
/// Where no record begins at the expected place, the next one whose header is valid for its place is looked for. An
/// error is only about the file as a whole; what the disk cannot read inside it counts as damage.
pub(super) fn scan(source: &impl Source, segment: u32) -> io::Result<Scan> {
    let length = source.length()?.min(u64::from(u32::MAX));
    let mut corrupt = CorruptCounts::default();
    let header = read_segment_header(source, segment);
    if header == SegmentHeader::Damaged {
        corrupt.add(CorruptReason::SegmentHeader);
    }
    let mut found = Vec::new();
    let mut at = u64::from(SEGMENT_HEADER);
    let mut torn = false;
    if matches!(header, SegmentHeader::Valid | SegmentHeader::Damaged) {
        while at < length {
            match record_at(source, segment, at, length) {
                Step::Record(record) => {
                    found.push(record);
                    at += record_length(record.header.payload_length);
                }
                Step::Torn => {
                    corrupt.add(CorruptReason::TornTail);
                    torn = true;
                    break;
                }
                Step::Damaged(reason) => match next_record(source, segment, at, length) {
                    Some(next) => {
                        corrupt.add(reason);
                        at = next;
                    }
                    None if is_zero(source, at, length) => {
                        corrupt.add(CorruptReason::TornTail);
                        torn = true;
                        break;
                    }
                    None => {
                        corrupt.add(reason);
                        break;
                    }
                },
            }
        }
    }
    let others = corrupt.total() - corrupt.get(CorruptReason::TornTail);
    let may_append = header == SegmentHeader::Valid && others == 0 && (torn || at == length);
    Ok(Scan { header, found, corrupt, length, append_at: u32::try_from(at).ok().filter(|_| may_append) })
}

enum Step {
    Record(Found),
    /// The file ends within the record: it was being written when the process ended.
    Torn,
    Damaged(CorruptReason),
}

fn record_at(source: &impl Source, segment: u32, at: u64, length: u64) -> Step {
    if length - at < u64::from(RECORD_HEADER) {
        return Step::Torn;
    }
    let mut bytes = [0; RECORD_HEADER as usize];
    if source.read_exact_at(&mut bytes, at).is_err() {
        return Step::Damaged(CorruptReason::Unreadable);
    }
    let offset = u32::try_from(at).expect("a scan ends at u32::MAX");
    match RecordHeader::decode(&bytes, segment, offset) {
        None => Step::Damaged(CorruptReason::RecordHeader),
        Some((header, _)) if at + record_length(header.payload_length) > length => Step::Torn,
        Some((header, mark)) => Step::Record(Found { header, mark }),
    }
}

/// The offset of the first record after the damage at `damaged`.
fn next_record(source: &impl Source, segment: u32, damaged: u64, length: u64) -> Option<u64> {
    let mut at = damaged + u64::from(ALIGNMENT);
    let mut chunk = vec![0; CHUNK as usize];
    while at + u64::from(RECORD_HEADER) <= length {
        let chunk = &mut chunk[..CHUNK.min(length - at) as usize];
        if source.read_exact_at(chunk, at).is_ok() {
            let starts = chunk.chunks_exact(ALIGNMENT as usize).enumerate();
            let magic = starts.filter(|(_, bytes)| bytes.starts_with(&RECORD_MAGIC));
            let offsets = magic.map(|(index, _)| at + index as u64 * u64::from(ALIGNMENT));
            let mut plausible = offsets
                .filter(|offset| matches!(record_at(source, segment, *offset, length), Step::Record(_)));
            if let Some(offset) = plausible.next() {
                return Some(offset);
            }
        }
        at += CHUNK;
    }
    None
}

/// Whether nothing but zeros follows, as a crash of the machine leaves it where the length was written and the data
/// was not.
pub(super) fn is_zero(source: &impl Source, from: u64, length: u64) -> bool {
    let mut chunk = vec![0; CHUNK as usize];
    let mut at = from;
    while at < length {
        let chunk = &mut chunk[..CHUNK.min(length - at) as usize];
        if source.read_exact_at(chunk, at).is_err() || chunk.iter().any(|byte| *byte != 0) {
            return false;
        }
        at += chunk.len() as u64;
    }
    true
}

fn read_segment_header(source: &impl Source, segment: u32) -> SegmentHeader {
    let mut bytes = [0; SEGMENT_HEADER as usize];
    match source.read_exact_at(&mut bytes, 0) {
        Ok(()) => decode_segment_header(&bytes, segment),
        Err(_) => SegmentHeader::Damaged,
    }
}

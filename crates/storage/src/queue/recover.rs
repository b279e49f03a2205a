//! From the files of a directory to a queue.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::Path;

use super::corrupt::CorruptCounts;
use super::directory::Directory;
use super::error::OpenQueueError;
use super::format::{Mark, RecordHeader, SEGMENT_HEADER, SEGMENT_MAGIC, SegmentHeader, record_length};
use super::handles::Handles;
use super::index::Index;
use super::log::{Log, Tail};
use super::scan::{Found, Scan, Source, is_zero, scan};
use super::{LeftAlone, LeftAloneReason, QueueOptions, Record, Recovery};

/// What a file turned out to be.
enum Verdict {
    Segment(Scan),
    /// Made and never filled.
    Unborn,
    LeftAlone(LeftAloneReason),
}

pub(super) fn open(path: &Path, options: QueueOptions) -> Result<(Log, Recovery), OpenQueueError> {
    let directory = Directory::lock(path)?;
    let listing = directory.list()?;
    let highest = listing.segments.last().copied();
    let foreign = |path| LeftAlone { path, reason: LeftAloneReason::Foreign };
    let mut recovery =
        Recovery { left_alone: listing.others.into_iter().map(foreign).collect(), ..Recovery::default() };
    let mut found = Vec::new();
    let mut log = empty_log(directory, options, highest);
    let mut last = None;
    for number in listing.segments {
        match examine(&log.directory, number) {
            Verdict::Segment(scan) => {
                recovery.corrupt.add_all(&scan.corrupt);
                found.extend(scan.found);
                log.add_segment(number, scan.length);
                last = Some((number, scan.append_at));
            }
            // It is left over if it cannot be deleted, and deleted another time.
            Verdict::Unborn => drop(log.directory.remove(number)),
            Verdict::LeftAlone(reason) => {
                let path = log.directory.segment_path(number);
                recovery.left_alone.push(LeftAlone { path, reason });
            }
        }
    }
    log.corrupt = recovery.corrupt;
    let copies = fill(&mut log, found);
    log.retire_all();
    for copy in copies.iter().filter(|copy| log.segments.contains_key(&copy.segment)).collect::<Vec<_>>() {
        // Otherwise this copy might be the one that is found after another restart.
        let _ = log.mark(copy, Mark::Superseded);
    }
    if let Some((number, Some(append_at))) = last.filter(|(number, _)| log.segments.contains_key(number)) {
        log.tail = reopen_tail(&mut log, number, append_at);
    }
    recovery.evicted = log.evict();
    recovery.records = log.index.iter().map(Record::from).collect();
    Ok((log, recovery))
}

fn empty_log(directory: Directory, options: QueueOptions, highest: Option<u32>) -> Log {
    Log {
        directory,
        options,
        index: Index::default(),
        segments: BTreeMap::new(),
        disk_bytes: 0,
        tail: None,
        next_segment: highest.map_or(Some(1), |number| number.checked_add(1)),
        unsynced: BTreeSet::new(),
        is_directory_unsynced: false,
        handles: Handles::default(),
        corrupt: CorruptCounts::default(),
    }
}

fn examine(directory: &Directory, number: u32) -> Verdict {
    let examined = directory.open_to_read(number).and_then(|file| {
        let scan = scan(&file, number)?;
        Ok((file, scan))
    });
    match examined {
        Err(error) => Verdict::LeftAlone(LeftAloneReason::Unreadable(error.to_string())),
        Ok((file, scan)) => judge(&file, scan),
    }
}

fn judge(file: &File, scan: Scan) -> Verdict {
    match scan.header {
        SegmentHeader::OtherVersion(version) => Verdict::LeftAlone(LeftAloneReason::OtherVersion(version)),
        SegmentHeader::OtherSegment(number) => Verdict::LeftAlone(LeftAloneReason::Renamed(number)),
        SegmentHeader::Damaged if scan.found.is_empty() && is_unborn(file, scan.length) => Verdict::Unborn,
        SegmentHeader::Damaged if scan.found.is_empty() => Verdict::LeftAlone(LeftAloneReason::Foreign),
        SegmentHeader::Damaged | SegmentHeader::Valid => Verdict::Segment(scan),
    }
}

/// Whether the process or machine ended while this segment was made: an incomplete header, or nothing but zeros.
fn is_unborn(file: &File, length: u64) -> bool {
    if is_zero(file, 0, length) {
        return true;
    }
    let mut start = [0; SEGMENT_MAGIC.len()];
    let start = &mut start[..SEGMENT_MAGIC.len().min(usize::try_from(length).unwrap_or(usize::MAX))];
    length < u64::from(SEGMENT_HEADER)
        && Source::read_exact_at(file, start, 0).is_ok()
        && SEGMENT_MAGIC.starts_with(start)
}

/// Puts what was found into the index, each record once, and returns the places of the rest.
///
/// A record lies in two segments if a move to the end was interrupted. It is done with if either copy says so; the
/// older copy is used, because it has been on the disk for longer.
fn fill(log: &mut Log, mut found: Vec<Found>) -> Vec<RecordHeader> {
    let mut copies = Vec::new();
    found.retain(|found| found.mark != Mark::Superseded);
    found.sort_by_key(|found| (found.header.id, found.header.segment));
    for same in found.chunk_by(|one, other| one.header.id == other.header.id) {
        let (first, others) = same.split_first().expect("a chunk is never empty");
        let is_done = same.iter().any(|found| found.mark == Mark::Acknowledged);
        if !is_done {
            let segment =
                log.segments.get_mut(&first.header.segment).expect("found in a segment of the table");
            segment.live += 1;
            segment.live_bytes += record_length(first.header.payload_length);
            log.index.push(first.header);
        }
        let unmarked = |found: &&Found| found.mark == Mark::Waiting;
        copies.extend(others.iter().filter(unmarked).map(|found| found.header));
        if is_done && first.mark == Mark::Waiting {
            copies.push(first.header);
        }
    }
    copies
}

/// Goes on with the last segment, after what is torn was cut off. If that fails a new one is begun.
fn reopen_tail(log: &mut Log, number: u32, append_at: u32) -> Option<Tail> {
    let segment = log.segments.get_mut(&number)?;
    let mut file = log.directory.open_to_write(number).ok()?;
    let end = u64::from(append_at);
    if segment.length > end {
        file.set_len(end).ok()?;
        log.disk_bytes -= segment.length - end;
        segment.length = end;
    }
    file.seek(SeekFrom::Start(end)).ok()?;
    Some(Tail { number, file, length: append_at })
}

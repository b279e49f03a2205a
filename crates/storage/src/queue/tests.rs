use std::fs;
use std::path::{Path, PathBuf};

use super::format::{RECORD_HEADER, SEGMENT_HEADER, record_length};
use super::*;

const ROOMY: QueueOptions = QueueOptions { max_bytes: 64 << 20, segment_bytes: 1 << 20 };

fn open(directory: &Path, options: QueueOptions) -> (DiskQueue, Recovery) {
    DiskQueue::open(directory, options).expect("open the queue")
}

fn meta(number: u32) -> RecordMeta {
    RecordMeta {
        generation: number / 3,
        lane: number % 4,
        encoding: number as u8,
        samples: number * 7,
        oldest_millis: -i64::from(number),
        newest_millis: i64::from(number) << 33,
    }
}

/// A payload that tells its number, of a length of its own.
fn payload(number: u32, length: usize) -> Vec<u8> {
    (0..length).map(|index| (number as usize * 31 + index * 7) as u8).collect()
}

fn append_all(queue: &DiskQueue, numbers: std::ops::Range<u32>, length: usize) -> Vec<RecordId> {
    let append = |number| {
        let appended = queue.append(meta(number), &payload(number, length)).expect("append");
        assert!(appended.evicted.is_empty());
        appended.id
    };
    numbers.map(append).collect()
}

fn segment_files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    files.sort();
    files
}

/// The numbers of the samples say which records these are.
fn numbers(records: &[Record]) -> Vec<u32> {
    records.iter().map(|record| record.meta.samples / 7).collect()
}

fn assert_readable(queue: &DiskQueue, records: &[Record], length: usize) {
    for record in records {
        let number = record.meta.samples / 7;
        assert_eq!(record.meta, meta(number));
        assert_eq!(queue.read(record.id).unwrap(), payload(number, length));
    }
}

#[test]
fn records_come_back_in_order_without_the_acknowledged_ones() {
    let directory = tempfile::tempdir().unwrap();
    let (queue, recovery) = open(directory.path(), ROOMY);
    assert!(recovery.records.is_empty());
    let ids = append_all(&queue, 0..100, 1000);
    for id in ids.iter().step_by(3) {
        queue.acknowledge(*id).unwrap();
    }
    drop(queue);
    let (queue, recovery) = open(directory.path(), ROOMY);
    let expected: Vec<u32> = (0..100).filter(|number| number % 3 != 0).collect();
    assert_eq!(numbers(&recovery.records), expected);
    assert_eq!(recovery.corrupt.total(), 0);
    assert_readable(&queue, &recovery.records, 1000);
    assert_eq!(queue.record_count(), 66);
    assert_eq!(queue.bytes(), 66 * record_length(1000));
    let more = append_all(&queue, 100..101, 10);
    assert!(more[0] > *ids.last().unwrap());
}

#[test]
fn what_was_acknowledged_is_gone_and_may_be_acknowledged_again() {
    let directory = tempfile::tempdir().unwrap();
    let (queue, _) = open(directory.path(), ROOMY);
    let ids = append_all(&queue, 0..2, 10);
    queue.acknowledge(ids[0]).unwrap();
    queue.acknowledge(ids[0]).unwrap();
    assert!(queue.read(ids[0]).unwrap_err().is_gone());
    assert_eq!(queue.read(ids[1]).unwrap(), payload(1, 10));
    assert_eq!(queue.record_count(), 1);
}

#[test]
fn an_empty_payload_is_a_record() {
    let directory = tempfile::tempdir().unwrap();
    let (queue, _) = open(directory.path(), ROOMY);
    let id = queue.append(meta(1), &[]).unwrap().id;
    assert!(queue.read(id).unwrap().is_empty());
    drop(queue);
    assert_eq!(open(directory.path(), ROOMY).1.records.len(), 1);
}

#[test]
fn a_segment_goes_when_all_of_it_is_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let options = QueueOptions { max_bytes: 1 << 20, segment_bytes: 8192 };
    let (queue, _) = open(directory.path(), options);
    let ids = append_all(&queue, 0..40, 1000);
    assert_eq!(segment_files(directory.path()).len(), 6);
    for id in &ids[..14] {
        queue.acknowledge(*id).unwrap();
    }
    assert_eq!(segment_files(directory.path()).len(), 4);
    for id in &ids {
        queue.acknowledge(*id).unwrap();
    }
    queue.sync().unwrap();
    assert!(segment_files(directory.path()).is_empty());
    assert_eq!(queue.statistics(), QueueStatistics::default());
}

#[test]
fn the_oldest_records_go_when_the_queue_is_full() {
    let directory = tempfile::tempdir().unwrap();
    let options = QueueOptions { max_bytes: 100_000, segment_bytes: 16 << 20 };
    let (queue, _) = open(directory.path(), options);
    let mut evicted = Vec::new();
    for number in 0..500 {
        evicted.extend(queue.append(meta(number), &payload(number, 1000)).unwrap().evicted);
        assert!(queue.statistics().disk_bytes <= 100_000);
    }
    let on_disk: u64 =
        segment_files(directory.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert_eq!(on_disk, queue.statistics().disk_bytes);
    assert!(on_disk > 80_000, "an eighth at most is given up at once: {on_disk}");
    drop(queue);
    let (_, recovery) = open(directory.path(), options);
    let mut all = numbers(&evicted);
    all.extend(numbers(&recovery.records));
    assert_eq!(all, (0..500).collect::<Vec<_>>());
}

#[test]
fn a_smaller_limit_evicts_at_once_and_at_opening() {
    let directory = tempfile::tempdir().unwrap();
    let options = QueueOptions { max_bytes: 100_000, segment_bytes: 8192 };
    let (queue, _) = open(directory.path(), options);
    append_all(&queue, 0..80, 1000);
    let evicted = queue.set_max_bytes(60_000);
    assert_eq!(numbers(&evicted), (0..evicted.len() as u32).collect::<Vec<_>>());
    assert!(queue.statistics().disk_bytes <= 60_000);
    drop(queue);
    let smaller = QueueOptions { max_bytes: 20_000, ..options };
    let (queue, recovery) = open(directory.path(), smaller);
    let mut all = numbers(&evicted);
    all.extend(numbers(&recovery.evicted));
    all.extend(numbers(&recovery.records));
    assert_eq!(all, (0..80).collect::<Vec<_>>());
    assert!(queue.statistics().disk_bytes <= 20_000);
    assert_eq!(queue.set_max_bytes(0).len(), recovery.records.len());
    assert!(segment_files(directory.path()).is_empty());
}

#[test]
fn a_record_may_have_half_of_the_queue() {
    let directory = tempfile::tempdir().unwrap();
    let options = QueueOptions { max_bytes: 100_000, segment_bytes: 8192 };
    let (queue, _) = open(directory.path(), options);
    for number in 0..10 {
        queue.append(meta(number), &payload(number, 49_000)).unwrap();
    }
    assert_eq!(queue.record_count(), 2);
    let error = queue.append(meta(1), &payload(1, 50_001)).unwrap_err();
    assert_eq!(error.trouble(), DiskTrouble::TooLarge);
    assert_eq!(queue.record_count(), 2);
}

#[test]
fn a_second_opening_is_refused_until_the_first_ends() {
    let directory = tempfile::tempdir().unwrap();
    let (queue, _) = open(directory.path(), ROOMY);
    let error = DiskQueue::open(directory.path(), ROOMY).unwrap_err();
    assert!(matches!(error, OpenQueueError::InUse { .. }), "{error}");
    drop(queue);
    open(directory.path(), ROOMY);
}

#[test]
fn files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("queues/one");
    let (queue, _) = open(&directory, ROOMY);
    append_all(&queue, 0..1, 10);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join("lock")), 0o600);
    assert_eq!(mode(&segment_files(&directory)[0]), 0o600);
}

#[test]
fn foreign_files_and_other_versions_are_left_alone_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let (queue, _) = open(directory.path(), ROOMY);
    append_all(&queue, 0..3, 100);
    drop(queue);
    let ours = segment_files(directory.path()).remove(0);
    let at = |number: u32| directory.path().join(format!("{number:016}.seg"));
    fs::copy(&ours, at(5)).unwrap();
    let mut other_version = fs::read(&ours).unwrap();
    other_version[8] = 9;
    let crc = crc32fast::hash(&other_version[..16]);
    other_version[16..20].copy_from_slice(&crc.to_le_bytes());
    fs::write(at(6), &other_version).unwrap();
    fs::write(at(7), "somebody's notes, long enough to have been a header").unwrap();
    fs::write(at(8), "short").unwrap();
    fs::write(directory.path().join("README"), "notes").unwrap();
    // What a crash leaves of a new segment.
    fs::write(at(9), "").unwrap();
    fs::write(at(10), [0; 5000]).unwrap();
    fs::write(at(11), &fs::read(&ours).unwrap()[..20]).unwrap();

    let (queue, recovery) = open(directory.path(), ROOMY);
    assert_eq!(numbers(&recovery.records), [0, 1, 2]);
    assert_eq!(recovery.corrupt.total(), 0);
    let left: Vec<_> = recovery.left_alone.into_iter().map(|left| (left.path, left.reason)).collect();
    let expected = [
        (directory.path().join("README"), LeftAloneReason::Foreign),
        (at(5), LeftAloneReason::Renamed(1)),
        (at(6), LeftAloneReason::OtherVersion(9)),
        (at(7), LeftAloneReason::Foreign),
        (at(8), LeftAloneReason::Foreign),
    ];
    assert_eq!(left, expected);
    assert_eq!(fs::read(at(6)).unwrap(), other_version);
    assert_eq!([9, 10, 11].map(|number| at(number).exists()), [false; 3]);
    // New segments are numbered past everything that was there.
    drop(queue);
    fs::remove_file(&ours).unwrap();
    let (queue, _) = open(directory.path(), ROOMY);
    append_all(&queue, 0..1, 10);
    assert!(at(9).exists());
}

/// Cuts the file at every length: whole records come back, what is cut off is gone, and the queue can be used.
#[test]
fn a_segment_cut_at_any_byte_keeps_the_records_before_the_cut() {
    let directory = tempfile::tempdir().unwrap();
    let (queue, _) = open(directory.path(), ROOMY);
    append_all(&queue, 0..4, 41);
    drop(queue);
    let path = segment_files(directory.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let record = record_length(41) as usize;
    assert_eq!(whole.len(), SEGMENT_HEADER as usize + 4 * record);
    for length in 0..=whole.len() {
        for file in segment_files(directory.path()) {
            fs::remove_file(file).unwrap();
        }
        fs::write(&path, &whole[..length]).unwrap();
        let survivors = length.saturating_sub(SEGMENT_HEADER as usize) / record;
        let (queue, recovery) = open(directory.path(), ROOMY);
        assert_eq!(numbers(&recovery.records), (0..survivors as u32).collect::<Vec<_>>(), "cut at {length}");
        assert_readable(&queue, &recovery.records, 41);
        let is_torn =
            length > SEGMENT_HEADER as usize && !(length - SEGMENT_HEADER as usize).is_multiple_of(record);
        assert_eq!(recovery.corrupt.get(CorruptReason::TornTail), u64::from(is_torn), "cut at {length}");
        assert_eq!(recovery.corrupt.total(), u64::from(is_torn), "cut at {length}");
        append_all(&queue, 9..10, 41);
        drop(queue);
        let (_, recovery) = open(directory.path(), ROOMY);
        let mut expected: Vec<u32> = (0..survivors as u32).collect();
        expected.push(9);
        assert_eq!(numbers(&recovery.records), expected, "cut at {length}");
        assert_eq!(recovery.corrupt.total(), 0, "cut at {length}");
    }
}

/// Flips every bit of a segment with live and acknowledged records: at most the record it belongs to is lost.
#[test]
fn a_flipped_bit_costs_only_its_record() {
    let directory = tempfile::tempdir().unwrap();
    let (queue, _) = open(directory.path(), ROOMY);
    let ids = append_all(&queue, 0..5, 20);
    queue.acknowledge(ids[1]).unwrap();
    drop(queue);
    let path = segment_files(directory.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let record = record_length(20) as usize;
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).unwrap();
        let (queue, recovery) = open(directory.path(), ROOMY);
        let hit = (bit / 8).checked_sub(SEGMENT_HEADER as usize).map(|at| (at / record, at % record));
        let (readable, damaged): (Vec<_>, Vec<_>) =
            recovery.records.into_iter().partition(|record| queue.read(record.id).is_ok());
        assert_readable(&queue, &readable, 20);
        let corrupt = queue.statistics().corrupt;
        let survivors = |lost: Option<usize>| -> Vec<u32> {
            [0, 2, 3, 4].into_iter().filter(|number| Some(*number as usize) != lost).collect()
        };
        let header = RECORD_HEADER as usize;
        match hit {
            None => {
                assert_eq!(numbers(&readable), survivors(None));
                // The last bytes of the header are not used.
                assert_eq!(corrupt.get(CorruptReason::SegmentHeader), u64::from(bit / 8 < 20));
            }
            Some((lost, at)) if at < header - 8 => {
                assert_eq!(numbers(&readable), survivors(Some(lost)), "bit {bit}");
                assert_eq!(corrupt.get(CorruptReason::RecordHeader), 1, "bit {bit}");
            }
            // The mark of what is done with is taken for the nearest.
            Some((_, at)) if at < header => assert_eq!(numbers(&readable), survivors(None), "bit {bit}"),
            Some((1, _)) => assert_eq!(numbers(&readable), survivors(None), "bit {bit}"),
            Some((lost, at)) if at < header + 20 => {
                assert_eq!(numbers(&readable), survivors(Some(lost)), "bit {bit}");
                assert_eq!(numbers(&damaged), [lost as u32]);
                assert_eq!(corrupt.get(CorruptReason::RecordPayload), 1, "bit {bit}");
            }
            Some(_) => assert_eq!(numbers(&readable), survivors(None), "bit {bit}"),
        }
        drop(queue);
    }
}

#[test]
fn a_record_inside_a_payload_is_not_taken_for_one() {
    let directory = tempfile::tempdir().unwrap();
    let (queue, _) = open(directory.path(), ROOMY);
    append_all(&queue, 0..3, 40);
    drop(queue);
    let path = segment_files(directory.path()).remove(0);
    let inner = fs::read(&path).unwrap();
    let (queue, _) = open(directory.path(), ROOMY);
    queue.append(meta(50), &inner[SEGMENT_HEADER as usize..]).unwrap();
    append_all(&queue, 60..61, 40);
    drop(queue);
    let mut bytes = fs::read(&path).unwrap();
    bytes[inner.len() + 9] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (_, recovery) = open(directory.path(), ROOMY);
    assert_eq!(numbers(&recovery.records), [0, 1, 2, 60]);
}

#[test]
fn few_old_records_do_not_keep_delivered_ones_on_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let options = QueueOptions { max_bytes: 200_000, segment_bytes: 8192 };
    let (queue, _) = open(directory.path(), options);
    let mut stuck = Vec::new();
    for number in 0..2000 {
        let appended = queue.append(meta(number), &payload(number, 1000)).unwrap();
        assert!(appended.evicted.is_empty(), "at {number}");
        if number % 25 == 0 {
            stuck.push(number);
        } else {
            queue.acknowledge(appended.id).unwrap();
        }
        assert!(queue.statistics().disk_bytes <= options.max_bytes);
    }
    drop(queue);
    let (queue, recovery) = open(directory.path(), options);
    assert_eq!(numbers(&recovery.records), stuck);
    assert_readable(&queue, &recovery.records, 1000);
}

/// A move to the end leaves two copies until the old segment is deleted; a crash in between must not deliver twice.
#[test]
fn a_crash_while_records_move_brings_each_back_once() {
    for acknowledged in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let options = QueueOptions { max_bytes: 200_000, segment_bytes: 8192 };
        let (queue, _) = open(directory.path(), options);
        let ids = append_all(&queue, 0..20, 1000);
        {
            let mut log = queue.log.lock();
            for id in &ids[..3] {
                let header = *log.index.get(*id).unwrap();
                assert!(log.move_to_end(&header).unwrap());
            }
        }
        assert_eq!(queue.read(ids[1]).unwrap(), payload(1, 1000));
        let done = if acknowledged { 3 } else { 0 };
        for id in &ids[..done] {
            queue.acknowledge(*id).unwrap();
        }
        drop(queue);
        for _ in 0..2 {
            let (queue, recovery) = open(directory.path(), options);
            assert_eq!(numbers(&recovery.records), (done as u32..20).collect::<Vec<_>>());
            assert_readable(&queue, &recovery.records, 1000);
        }
        // Also when the segment with one of the copies is gone.
        let (queue, recovery) = open(directory.path(), options);
        for record in &recovery.records {
            queue.acknowledge(record.id).unwrap();
        }
        drop(queue);
        assert!(open(directory.path(), options).1.records.is_empty());
    }
}

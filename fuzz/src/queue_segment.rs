//! Any bytes as a segment of the disk queue.

use std::fs;
use std::path::Path;

use outrigger_storage::queue::{DiskQueue, QueueOptions, ReadRecordError, RecordMeta, Recovery};

const OPTIONS: QueueOptions = QueueOptions { max_bytes: 64 << 20, segment_bytes: 1 << 20 };
const SEGMENT_HEADER: usize = 32;
const RECORD_HEADER: usize = 72;
const RECORD_MAGIC: &[u8] = b"\x9eOR\xd1";

/// The queue opens, gives out what it says it has, and takes more; that and nothing else is there when it is opened
/// again, until it is acknowledged. With an odd first byte the checksums of headers are set right before.
pub(crate) fn open(data: &[u8]) {
    let Some((choice, data)) = crate::split_choice(data) else { return };
    let mut bytes = data.to_vec();
    if choice & 1 == 1 {
        set_checksums(&mut bytes);
    }
    let directory = tempfile::tempdir_in(memory()).expect("make a directory");
    fs::write(directory.path().join("0000000000000001.seg"), &bytes).expect("write the segment");

    let (queue, recovery) = reopen(directory.path());
    let mut readable = readable(&queue, &recovery);
    let appended = queue.append(RecordMeta::default(), b"one more").expect("append");
    assert!(recovery.records.iter().all(|record| record.id < appended.id));
    readable.push(b"one more".to_vec());
    drop(queue);

    let (queue, recovery) = reopen(directory.path());
    assert_eq!(self::readable(&queue, &recovery), readable);
    for record in &recovery.records {
        queue.acknowledge(record.id).expect("acknowledge");
    }
    assert_eq!(queue.record_count(), 0);
    drop(queue);
    assert!(reopen(directory.path()).1.records.is_empty());
}

fn reopen(directory: &Path) -> (DiskQueue, Recovery) {
    let (queue, recovery) = DiskQueue::open(directory, OPTIONS).expect("any bytes can be opened");
    assert!(recovery.records.is_sorted_by(|one, other| one.id < other.id));
    assert_eq!(queue.record_count(), recovery.records.len());
    (queue, recovery)
}

/// The payloads that have their checksums.
fn readable(queue: &DiskQueue, recovery: &Recovery) -> Vec<Vec<u8>> {
    let read = |id| match queue.read(id) {
        Ok(payload) => Some(payload),
        Err(ReadRecordError::Corrupt { .. }) => None,
        Err(error) => panic!("{error:?}"),
    };
    recovery.records.iter().filter_map(|record| read(record.id)).collect()
}

fn set_checksums(bytes: &mut [u8]) {
    if bytes.len() >= SEGMENT_HEADER {
        let crc = crc32fast::hash(&bytes[..16]);
        bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    }
    for at in (SEGMENT_HEADER..bytes.len()).step_by(8) {
        if bytes[at..].starts_with(RECORD_MAGIC) && bytes.len() - at >= RECORD_HEADER {
            let header = &mut bytes[at..at + RECORD_HEADER];
            header[8..12].copy_from_slice(&1_u32.to_le_bytes());
            header[12..16].copy_from_slice(&(at as u32).to_le_bytes());
            let crc = crc32fast::hash(&header[8..64]);
            header[4..8].copy_from_slice(&crc.to_le_bytes());
        }
    }
}

/// Where files are in memory, if there is such a place.
fn memory() -> &'static Path {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared } else { Path::new("/tmp") }
}

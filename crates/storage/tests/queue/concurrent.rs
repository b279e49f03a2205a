//! Several threads use one queue.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use outrigger_storage::queue::{DiskQueue, QueueOptions};

use crate::records::{meta, number, payload};

const OPTIONS: QueueOptions = QueueOptions { max_bytes: 3 << 19, segment_bytes: 32 << 10 };
const WRITERS: u32 = 4;
const EACH: u32 = 500;
const LENGTH: usize = 1000;

/// Every third record is left. The rest is read and acknowledged by whoever appended it, while segments are synced,
/// emptied and deleted. There is room for twice what is left, so that
/// nothing is evicted if space is given back.
#[test]
fn threads_do_not_lose_each_others_records() {
    let directory = tempfile::tempdir().unwrap();
    let (queue, _) = DiskQueue::open(directory.path(), OPTIONS).unwrap();
    let left = Mutex::new(BTreeSet::new());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (queue, left) = (&queue, &left);
                scope.spawn(move || {
                    for number in writer * EACH..(writer + 1) * EACH {
                        let appended = queue.append(meta(number), &payload(number, LENGTH)).unwrap();
                        assert!(appended.evicted.is_empty());
                        assert_eq!(queue.read(appended.id).unwrap(), payload(number, LENGTH));
                        if number.is_multiple_of(3) {
                            left.lock().unwrap().insert(number);
                        } else {
                            queue.acknowledge(appended.id).unwrap();
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                queue.sync().unwrap();
                assert!(queue.statistics().pending_bytes <= queue.statistics().disk_bytes);
            }
        });
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(results.into_iter().all(|result| result.is_ok()));
    });
    let left = left.into_inner().unwrap();
    assert_eq!(queue.record_count(), left.len());
    drop(queue);
    let (queue, recovery) = DiskQueue::open(directory.path(), OPTIONS).unwrap();
    assert_eq!(recovery.records.iter().map(number).collect::<BTreeSet<_>>(), left);
    assert_eq!(recovery.records.len(), left.len());
    for record in &recovery.records {
        assert_eq!(queue.read(record.id).unwrap(), payload(number(record), LENGTH));
    }
}

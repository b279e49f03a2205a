//! Random sequences of what may happen to a queue, compared with a list in memory.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use outrigger_storage::queue::{DiskQueue, QueueOptions, RecordId};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::records::{meta, number, payload};

const RECORD_MAGIC: &[u8] = b"\x9eOR\xd1";

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Acknowledge(Index),
    AcknowledgeOldest,
    Read(Index),
    Sync,
    SetMaxBytes(u64),
    Reopen,
    /// Closed, one bit of one file flipped, opened.
    Flip(Index, Index, u8),
    /// Closed, one file cut, opened.
    Cut(Index, Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0_usize..3000).prop_map(Step::Append),
        1 => (3000_usize..20_000).prop_map(Step::Append),
        6 => any::<Index>().prop_map(Step::Acknowledge),
        4 => Just(Step::AcknowledgeOldest),
        2 => any::<Index>().prop_map(Step::Read),
        3 => Just(Step::Sync),
        1 => (30_000_u64..200_000).prop_map(Step::SetMaxBytes),
        2 => Just(Step::Reopen),
        1 => (any::<Index>(), any::<Index>(), 0_u8..8).prop_map(|(file, at, bit)| Step::Flip(file, at, bit)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(file, at)| Step::Cut(file, at)),
    ]
}

/// A record that the queue should have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expected {
    id: RecordId,
    number: u32,
    length: usize,
}

struct Model {
    directory: tempfile::TempDir,
    options: QueueOptions,
    queue: Option<DiskQueue>,
    waiting: Vec<Expected>,
    left_alone: Vec<PathBuf>,
    next: u32,
}

impl Model {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = QueueOptions { max_bytes: 100_000, segment_bytes: 8192 };
        let (queue, _) = DiskQueue::open(directory.path(), options).unwrap();
        Self { directory, options, queue: Some(queue), waiting: Vec::new(), left_alone: Vec::new(), next: 0 }
    }

    fn queue(&self) -> &DiskQueue {
        self.queue.as_ref().expect("the queue is open between the steps")
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Append(length) => self.append(*length),
            Step::Acknowledge(index) if !self.waiting.is_empty() => {
                let expected = self.waiting.remove(index.index(self.waiting.len()));
                self.queue().acknowledge(expected.id).unwrap();
                assert!(self.queue().read(expected.id).unwrap_err().is_gone());
            }
            Step::AcknowledgeOldest if !self.waiting.is_empty() => {
                let expected = self.waiting.remove(0);
                self.queue().acknowledge(expected.id).unwrap();
            }
            Step::Read(index) if !self.waiting.is_empty() => {
                let expected = index.get(&self.waiting).clone();
                self.check_payload(&expected, &BTreeSet::new());
            }
            Step::Acknowledge(_) | Step::AcknowledgeOldest | Step::Read(_) => {}
            Step::Sync => self.queue().sync().unwrap(),
            Step::SetMaxBytes(max_bytes) => {
                self.options.max_bytes = *max_bytes;
                let evicted = self.queue().set_max_bytes(*max_bytes);
                self.expect_evicted(evicted.iter().map(number).collect());
            }
            Step::Reopen => self.reopen(false, |_| BTreeSet::new()),
            Step::Flip(file, at, bit) => self.reopen(false, |files| flip(files, file, at, *bit)),
            Step::Cut(file, at) => self.reopen(true, |files| cut(files, file, at)),
        }
        let statistics = self.queue().statistics();
        assert_eq!(statistics.records, self.waiting.len());
        let ours = segments(self.directory.path()).into_iter().filter(|path| !self.left_alone.contains(path));
        let on_disk: u64 = ours.map(|path| path.metadata().unwrap().len()).sum();
        assert!(statistics.pending_bytes <= statistics.disk_bytes);
        assert_eq!(statistics.disk_bytes, on_disk);
    }

    fn append(&mut self, length: usize) {
        let number = self.next;
        self.next += 1;
        let before = self.queue().statistics().disk_bytes;
        match self.queue().append(meta(number), &payload(number, length)) {
            Ok(appended) => {
                self.waiting.push(Expected { id: appended.id, number, length });
                let could_fit = before + length as u64 + 32 + 72 + 8 <= self.options.max_bytes;
                assert!(appended.evicted.is_empty() || !could_fit, "evicted for nothing");
                self.expect_evicted(appended.evicted.iter().map(crate::records::number).collect());
                assert!(self.queue().statistics().disk_bytes <= self.options.max_bytes);
            }
            Err(error) => assert!(length as u64 + 112 > self.options.max_bytes / 2, "{error}"),
        }
    }

    /// The oldest ones go first.
    fn expect_evicted(&mut self, evicted: Vec<u32>) {
        let gone: Vec<u32> = self.waiting.drain(..evicted.len()).map(|expected| expected.number).collect();
        assert_eq!(evicted, gone);
    }

    /// `damage` gets the segment files and returns the numbers of the records it may have cost.
    fn reopen(&mut self, is_cut: bool, damage: impl FnOnce(&[PathBuf]) -> BTreeSet<u32>) {
        drop(self.queue.take());
        let may_be_lost = damage(&segments(self.directory.path()));
        let (queue, recovery) = DiskQueue::open(self.directory.path(), self.options).unwrap();
        self.queue = Some(queue);
        self.left_alone = recovery.left_alone.into_iter().map(|left| left.path).collect();
        let evicted = recovery.evicted.len();
        let mut found: Vec<u32> = recovery.evicted.iter().chain(&recovery.records).map(number).collect();
        let expected = self.waiting.iter().map(|expected| expected.number);
        let must: Vec<u32> = expected.clone().filter(|number| !may_be_lost.contains(number)).collect();
        let may: Vec<u32> = expected.filter(|number| may_be_lost.contains(number)).collect();
        // A cut may leave no trace, at the end of a record or of the whole file.
        let is_lost = may.iter().any(|number| !found.contains(number));
        assert!(!is_lost || is_cut || recovery.corrupt.total() > 0, "lost without a word");
        self.waiting.retain(|expected| found[evicted..].contains(&expected.number));
        found.retain(|number| !may.contains(number));
        assert_eq!(found, must, "each once, in order, but {may:?}");
        let ids: Vec<_> = recovery.records.iter().map(|record| record.id).collect();
        assert_eq!(ids, self.waiting.iter().map(|expected| expected.id).collect::<Vec<_>>());
        for expected in self.waiting.clone() {
            self.check_payload(&expected, &may_be_lost);
        }
    }

    fn check_payload(&mut self, expected: &Expected, may_be_lost: &BTreeSet<u32>) {
        match self.queue().read(expected.id) {
            Ok(bytes) => assert_eq!(bytes, payload(expected.number, expected.length)),
            Err(error) => {
                assert!(may_be_lost.contains(&expected.number), "{error}");
                self.queue().acknowledge(expected.id).unwrap();
                self.waiting.retain(|other| other.id != expected.id);
            }
        }
    }
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect();
    files.sort();
    files
}

/// Start and number of every record of which at least the magic is whole.
fn records_in(bytes: &[u8]) -> Vec<(usize, u32)> {
    let starts = (32..bytes.len()).step_by(8).filter(|at| bytes[*at..].starts_with(RECORD_MAGIC));
    let number = |at: usize| {
        let field = bytes.get(at + 40..at + 44).unwrap_or(&[0xff; 4]);
        u32::from_le_bytes(field.try_into().unwrap())
    };
    starts.map(|at| (at, number(at))).collect()
}

fn flip(files: &[PathBuf], file: &Index, at: &Index, bit: u8) -> BTreeSet<u32> {
    if files.is_empty() {
        return BTreeSet::new();
    }
    let path = file.get(files);
    let mut bytes = fs::read(path).unwrap();
    let at = at.index(bytes.len());
    let hit = records_in(&bytes).into_iter().rfind(|(start, _)| *start <= at).map(|(_, number)| number);
    bytes[at] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
    hit.into_iter().collect()
}

fn cut(files: &[PathBuf], file: &Index, at: &Index) -> BTreeSet<u32> {
    if files.is_empty() {
        return BTreeSet::new();
    }
    let path = file.get(files);
    let bytes = fs::read(path).unwrap();
    let length = at.index(bytes.len());
    fs::write(path, &bytes[..length]).unwrap();
    let records = records_in(&bytes);
    let last_kept = records.iter().rposition(|(start, _)| *start < length).unwrap_or(0);
    records[last_kept..].iter().map(|(_, number)| *number).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_holds_what_a_list_would(steps in prop::collection::vec(step(), 1..200)) {
        let mut model = Model::new();
        for step in &steps {
            model.run(step);
        }
        model.run(&Step::Reopen);
    }
}

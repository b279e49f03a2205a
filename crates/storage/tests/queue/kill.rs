//! A process with a queue is killed at random moments.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use outrigger_storage::queue::{DiskQueue, QueueOptions, RecordId};

use crate::records::{meta, number, payload};

/// Where the child keeps its queue, and the first number it appends. Set in the child only.
const CHILD_DIRECTORY: &str = "OUTRIGGER_QUEUE_CHILD";
const CHILD_FIRST: &str = "OUTRIGGER_QUEUE_FIRST";

const OPTIONS: QueueOptions = QueueOptions { max_bytes: 5 << 19, segment_bytes: 64 << 10 };
/// The child never has more than this waiting: nothing is evicted, but records are moved to make room.
const MAX_WAITING_BYTES: u64 = 1 << 20;
const ROUNDS: u32 = 60;

/// Numbers that look random and are the same each time.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn length_of(number: u32) -> usize {
    let short = (number as usize * 2_654_435_761) % 5000;
    if number.is_multiple_of(40) { short * 20 } else { short }
}

#[test]
fn what_was_appended_survives_kill_and_what_was_acknowledged_stays_away() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = Sequence(42);
    let mut waiting: BTreeSet<u32> = BTreeSet::new();
    let mut next = 0;
    let mut most_waiting = 0;
    for round in 0..ROUNDS {
        let report = run_and_kill(directory.path(), next, 1 + random.below(3000));
        let (queue, recovery) =
            DiskQueue::open(directory.path(), OPTIONS).expect("the lock went with the process");
        let found: Vec<u32> = recovery.records.iter().map(number).collect();
        assert!(
            found.is_sorted_by(|one, other| one < other),
            "round {round}: each once, in order: {found:?}"
        );
        let found: BTreeSet<u32> = found.into_iter().collect();

        waiting.extend(&report.appended);
        let sure: BTreeSet<u32> = waiting.difference(&report.acknowledging).copied().collect();
        assert!(sure.is_subset(&found), "round {round}: lost {:?}", sure.difference(&found));
        let returned: Vec<_> = report.acknowledged.intersection(&found).collect();
        assert!(returned.is_empty(), "round {round}: acknowledged and back: {returned:?}");
        // The one whose append had not reported yet may be there or not.
        let unknown: Vec<_> = found.difference(&waiting).copied().collect();
        let in_flight = report.appended.last().map_or(next, |last| last + 1);
        assert!(
            unknown.is_empty() || unknown == [in_flight],
            "round {round}: {unknown:?}, expected {in_flight}"
        );

        for record in &recovery.records {
            let number = number(record);
            assert_eq!(queue.read(record.id).unwrap(), payload(number, length_of(number)));
        }
        let corrupt = recovery.corrupt;
        assert_eq!(corrupt.total(), corrupt.get(outrigger_storage::queue::CorruptReason::TornTail));
        most_waiting = most_waiting.max(found.len());
        next = found.last().copied().unwrap_or(0).max(in_flight) + 1;
        waiting = found;
    }
    assert!(next > 10 * ROUNDS, "the child had time for {next} records");
    assert!(most_waiting > 50, "at most {most_waiting} waited");
}

#[derive(Default)]
struct Report {
    appended: Vec<u32>,
    acknowledging: BTreeSet<u32>,
    acknowledged: BTreeSet<u32>,
}

fn run_and_kill(directory: &Path, first: u32, lines: u64) -> Report {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child_process", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIRECTORY, directory)
        .env(CHILD_FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut report = Report::default();
    for (count, line) in output.lines().enumerate() {
        if count as u64 == lines {
            child.kill().unwrap();
        }
        // The last line may be torn, and the harness prints some of its own.
        let line = line.unwrap();
        let mut words = line.split(' ');
        let (Some(word), Some(number), Some(".")) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let number = number.parse().unwrap();
        match word {
            "appended" => report.appended.push(number),
            "acknowledging" => drop(report.acknowledging.insert(number)),
            "acknowledged" => drop(report.acknowledged.insert(number)),
            word => panic!("the child says {word}"),
        }
    }
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "killed, not ended: {status}");
    report
}

/// The process that is killed. Run as a test of its own it has nothing to do.
#[test]
fn child_process() {
    let Some(directory) = std::env::var_os(CHILD_DIRECTORY) else { return };
    let first: u32 = std::env::var(CHILD_FIRST).unwrap().parse().unwrap();
    let (queue, recovery) = DiskQueue::open(Path::new(&directory), OPTIONS).unwrap();
    let queue = Arc::new(queue);
    let syncing = Arc::clone(&queue);
    // Not joined: should the other thread fail, the process is to end.
    std::thread::spawn(move || {
        loop {
            syncing.sync().unwrap();
        }
    });
    let mut waiting: Vec<(u32, RecordId)> =
        recovery.records.iter().map(|record| (number(record), record.id)).collect();
    let mut random = Sequence(u64::from(first));
    for number in first.. {
        let appended = queue.append(meta(number), &payload(number, length_of(number))).unwrap();
        assert!(appended.evicted.is_empty());
        say("appended", number);
        waiting.push((number, appended.id));
        while !waiting.is_empty() && (random.below(10) < 4 || queue.bytes() > MAX_WAITING_BYTES) {
            // Some of the old ones stay for long.
            let newest = waiting.len().min(20) as u64;
            let is_forced = queue.bytes() > MAX_WAITING_BYTES;
            let index = if is_forced { 0 } else { waiting.len() - 1 - random.below(newest) as usize };
            let (number, id) = waiting.remove(index);
            say("acknowledging", number);
            queue.acknowledge(id).unwrap();
            say("acknowledged", number);
        }
    }
}

fn say(word: &str, number: u32) {
    // One write each, past the test harness and on a line of its own.
    std::io::stdout().write_all(format!("\n{word} {number} .\n").as_bytes()).unwrap();
}

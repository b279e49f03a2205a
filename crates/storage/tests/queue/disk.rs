//! Disks that are full or read-only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use outrigger_storage::queue::{DiskQueue, DiskTrouble, QueueOptions, RecordId};

use crate::records::{meta, number, payload};

const CHILD_DIRECTORY: &str = "OUTRIGGER_QUEUE_LIMITED";
const OPTIONS: QueueOptions = QueueOptions { max_bytes: 64 << 20, segment_bytes: 256 << 10 };
const LENGTH: usize = 10_000;

/// A file system of 1 MiB in memory, until this is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let disk = Self(directory);
        disk.run("mount", &["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"]).then_some(disk)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("queue")
    }

    fn remount(&self, how: &str) {
        assert!(self.run("mount", &["-o", &format!("remount,{how}")]));
    }

    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        let output = Command::new(program).args(arguments).arg(self.0.path()).output();
        output.is_ok_and(|output| output.status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.run("umount", &[]);
    }
}

fn open(path: &Path) -> (DiskQueue, Vec<u32>) {
    let (queue, recovery) = DiskQueue::open(path, OPTIONS).unwrap();
    assert_eq!(recovery.corrupt.total(), 0);
    for record in &recovery.records {
        assert_eq!(queue.read(record.id).unwrap(), payload(number(record), LENGTH));
    }
    (queue, recovery.records.iter().map(number).collect())
}

/// Appends until the disk is full.
fn fill(queue: &DiskQueue, first: u32) -> Vec<(u32, RecordId)> {
    let mut taken = Vec::new();
    for number in first.. {
        match queue.append(meta(number), &payload(number, LENGTH)) {
            Ok(appended) => taken.push((number, appended.id)),
            Err(error) => {
                assert_eq!(error.trouble(), DiskTrouble::Full, "{error:?}");
                return taken;
            }
        }
    }
    unreachable!("a disk of 1 MiB gets full")
}

#[test]
fn a_full_disk_takes_records_again_once_there_is_space() {
    let Some(disk) = SmallDisk::mount() else {
        println!("not run: mounting a small tmpfs needs root");
        return;
    };
    let (queue, _) = open(&disk.path());
    let mut waiting = fill(&queue, 0);
    assert!(waiting.len() > 80, "{} records", waiting.len());
    for _ in 0..3 {
        assert!(queue.append(meta(9999), &payload(9999, LENGTH)).is_err());
        assert_eq!(queue.record_count(), waiting.len());
    }
    // Delivery goes on, and makes room.
    for (_, id) in waiting.drain(..40) {
        queue.acknowledge(id).unwrap();
    }
    let more = fill(&queue, 1000);
    assert!(more.len() > 20, "{} records", more.len());
    waiting.extend(more);
    // Somebody else frees space, too, without a restart.
    disk.remount("size=2m");
    let more = fill(&queue, 2000);
    assert!(more.len() > 80, "{} records", more.len());
    waiting.extend(more);
    queue.sync().unwrap();
    drop(queue);
    let (_, found) = open(&disk.path());
    assert_eq!(found, waiting.iter().map(|(number, _)| *number).collect::<Vec<_>>());
}

#[test]
fn a_read_only_disk_is_read_and_written_again_once_it_can_be() {
    let Some(disk) = SmallDisk::mount() else {
        println!("not run: mounting a small tmpfs needs root");
        return;
    };
    let (queue, _) = open(&disk.path());
    let ids: Vec<_> =
        (0..30).map(|number| queue.append(meta(number), &payload(number, LENGTH)).unwrap().id).collect();
    drop(queue);
    disk.remount("ro");
    let (queue, found) = open(&disk.path());
    assert_eq!(found, (0..30).collect::<Vec<_>>());
    let error = queue.append(meta(30), &payload(30, LENGTH)).unwrap_err();
    assert_eq!(error.trouble(), DiskTrouble::ReadOnly, "{error:?}");
    let error = queue.acknowledge(ids[0]).unwrap_err();
    assert_eq!(error.trouble(), DiskTrouble::ReadOnly, "{error:?}");
    // Nothing is given up for a limit that cannot be kept.
    assert!(queue.set_max_bytes(1000).len() < 29);
    queue.set_max_bytes(OPTIONS.max_bytes);
    disk.remount("rw");
    queue.append(meta(31), &payload(31, LENGTH)).unwrap();
    drop(queue);
    let (_, found) = open(&disk.path());
    assert_eq!(found.last(), Some(&31));
}

/// Needs no root: the limit on the size of a file stands for the disk, and cuts a record in two.
#[test]
fn a_record_that_was_written_in_part_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" --exact disk::limited_process --test-threads=1";
    let status = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD_DIRECTORY, directory.path())
        // Where these are files, the limit would be on them as well.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let (queue, found) = open(directory.path());
    assert!(found.len() >= 3);
    queue.append(meta(100), &payload(100, LENGTH)).unwrap();
}

/// The process with the limit. Run as a test of its own it has nothing to do.
#[test]
fn limited_process() {
    let Some(directory) = std::env::var_os(CHILD_DIRECTORY) else { return };
    let (queue, _) = open(Path::new(&directory));
    let taken = fill(&queue, 0);
    assert!(fill(&queue, 100).is_empty());
    assert_eq!(queue.record_count(), taken.len());
    let file = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|name| name == "seg")).unwrap();
    assert_eq!(file.metadata().unwrap().len(), queue.statistics().disk_bytes, "the part is cut off");
    let small = queue.append(meta(50), &[]).unwrap();
    queue.acknowledge(small.id).unwrap();
}

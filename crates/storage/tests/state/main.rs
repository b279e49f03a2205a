//! The state file under what happens to processes and disks.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helper functions of tests are tests too")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use outrigger_storage::state_file::{StateChange, StateEntry, StateFile, StateTrouble};

const CHILD_FILE: &str = "OUTRIGGER_STATE_CHILD";

fn put(key: &str, value: &[u8]) -> StateChange {
    StateChange::Put { key: key.to_owned(), value: value.to_vec(), lease: 0 }
}

/// Two keys and the revision always agree.
fn both(number: u64) -> [StateChange; 3] {
    let text = number.to_string();
    [
        put("a", text.as_bytes()),
        put("z", text.as_bytes()),
        put("filler", &vec![1; (number % 50) as usize * 100]),
    ]
}

fn number(entry: &StateEntry) -> u64 {
    String::from_utf8(entry.value.clone()).unwrap().parse().unwrap()
}

/// Not a test of its own: what [`a_process_killed_while_it_commits_leaves_every_finished_commit`] kills.
#[test]
fn child_that_commits_for_ever() {
    let Some(path) = std::env::var_os(CHILD_FILE) else { return };
    let file = StateFile::open(PathBuf::from(path)).unwrap();
    let start = file.revision().unwrap();
    for next in start + 1.. {
        file.commit(&both(next)).unwrap();
        println!("committed {next}");
    }
}

#[test]
fn a_process_killed_while_it_commits_leaves_every_finished_commit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let mut told = 0;
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_that_commits_for_ever", "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD_FILE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // Then it is somewhere in the midst of the next one.
        let wanted = 3 + round * 2;
        let committed = lines.filter_map(|line| line.strip_prefix("committed ")?.parse::<u64>().ok());
        told = committed.take(wanted).last().unwrap_or(told);
        child.kill().unwrap();
        child.wait().unwrap();
        let file = StateFile::open(&path).unwrap();
        assert_eq!(file.set_aside(), None);
        let (first, last) = (file.get("a").unwrap().unwrap(), file.get("z").unwrap().unwrap());
        assert_eq!(number(&first), number(&last));
        assert_eq!(first.revision, file.revision().unwrap());
        assert!(number(&first) >= told, "{} of {told}", number(&first));
        assert!(told as usize >= wanted);
    }
}

/// A file system of 512 KiB in memory, until this is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let mounted = disk.run("mount", &["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs"]);
        if !mounted {
            println!("not run: mounting a small tmpfs needs root");
        }
        mounted.then_some(disk)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("state.redb")
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

fn values(path: &Path) -> Vec<String> {
    StateFile::open(path).unwrap().list("").unwrap().into_iter().map(|(key, _)| key).collect()
}

#[test]
fn a_full_disk_is_told_loses_nothing_and_is_used_again_once_there_is_space() {
    let Some(disk) = SmallDisk::mount() else { return };
    let file = StateFile::open(disk.path()).unwrap();
    let mut count = 0;
    let error = loop {
        match file.commit(&[put(&format!("key-{count:04}"), &[7; 50_000])]) {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.trouble(), StateTrouble::Full, "{error:?}");
    let text = error.to_string();
    assert!(text.contains(disk.path().to_str().unwrap()) && text.contains("free space"), "{text}");
    assert!(count > 5, "{count}");
    assert!(file.commit(&[put("another", &[7; 500_000])]).is_err());
    disk.remount("size=8m");
    file.commit(&[put("another", &[7; 500_000])]).unwrap();
    drop(file);
    let mut expected: Vec<String> = (0..count).map(|count| format!("key-{count:04}")).collect();
    expected.insert(0, "another".to_owned());
    assert_eq!(values(&disk.path()), expected);
}

#[test]
fn a_read_only_disk_is_told_and_can_still_be_read() {
    let Some(disk) = SmallDisk::mount() else { return };
    let file = StateFile::open(disk.path()).unwrap();
    file.commit(&[put("a", b"1")]).unwrap();
    drop(file);
    disk.remount("ro");
    let error = StateFile::open(disk.path()).unwrap_err();
    assert_eq!(error.trouble(), StateTrouble::ReadOnly, "{error:?}");
    assert!(error.to_string().contains("mount it writable"), "{error}");
    let (revision, entries) = StateFile::read(&disk.path()).unwrap();
    assert_eq!((revision, entries.len(), entries[0].0.as_str()), (1, 1, "a"));
    disk.remount("rw");
    assert_eq!(values(&disk.path()), ["a"]);
}

#[test]
fn what_is_in_the_way_of_the_file_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let in_the_way = directory.path().join("file");
    fs::write(&in_the_way, "x").unwrap();
    let error = StateFile::open(in_the_way.join("state.redb")).unwrap_err();
    assert!(error.to_string().contains(in_the_way.to_str().unwrap()), "{error}");
    let error = StateFile::open(directory.path()).unwrap_err();
    assert_eq!(error.trouble(), StateTrouble::Failed, "{error:?}");
}

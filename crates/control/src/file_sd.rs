//! `file_sd_configs`: target files, read again when they change (Prometheus `discovery/file/file.go`).
//!
//! Prometheus is told of changes by the kernel; here the files' states are compared every second, which also works
//! on network file systems and through symbolic links.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outrigger_config::error::ConfigErrors;
use outrigger_config::file_access::{FileAccess, glob};
use outrigger_config::prometheus::{FileSd, parse_target_file};
use outrigger_model::target::TargetGroup;
use tokio::time::Instant;

use crate::group_store::GroupStore;
use crate::reporter::{ErrorReason, Reporter};

/// How often the files are looked at.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Largest target file.
const MAX_FILE_BYTES: u64 = 32 << 20;

/// Why a target file is not used.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("{path}: cannot be read: {problem}")]
    Read { path: String, problem: io::Error },
    #[error("{path}: has {bytes} bytes, more than the limit of {MAX_FILE_BYTES} (split it)")]
    TooLarge { path: String, bytes: u64 },
    #[error("{0}")]
    Content(ConfigErrors),
}

/// Keeps `store` equal to the files of `config`. Never ends.
pub(crate) async fn run(config: FileSd, store: Arc<GroupStore>, reporter: Arc<Reporter>) {
    let mut reader = FileReader::new(config.files);
    let mut last_whole_read = Instant::now();
    let mut read_all = true;
    loop {
        let scanned = tokio::task::spawn_blocking(move || {
            let scan = reader.scan(read_all);
            (reader, scan)
        });
        let Ok((returned, scan)) = scanned.await else { return };
        reader = returned;
        for error in &scan.errors {
            let text = error.to_string();
            reporter.error(ErrorReason::File, &text, |suppressed| {
                tracing::error!(error = text, suppressed, "a target file is not used, its last targets stay");
            });
        }
        if scan.changed || read_all {
            store.replace(reader.groups(), reader.error());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
        read_all = last_whole_read.elapsed() >= config.refresh_interval;
        if read_all {
            last_whole_read = Instant::now();
        }
    }
}

/// The files that the patterns match, as they were read last.
#[derive(Debug)]
struct FileReader {
    patterns: Vec<String>,
    files: BTreeMap<String, TargetFile>,
}

#[derive(Debug, Default)]
struct TargetFile {
    /// State of the file when it was read last, whether it could be used or not.
    stamp: Option<Stamp>,
    /// The groups of the last content that could be used.
    groups: Vec<TargetGroup>,
    error: Option<String>,
}

/// What of a file changes with its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The result of one look at the files.
#[derive(Debug, Default)]
struct Scan {
    /// Whether a file was read, or is gone.
    changed: bool,
    errors: Vec<FileError>,
}

impl FileReader {
    fn new(patterns: Vec<String>) -> Self {
        Self { patterns, files: BTreeMap::new() }
    }

    /// Reads the files that are new or different, or all of them.
    fn scan(&mut self, read_all: bool) -> Scan {
        let mut scan = Scan::default();
        // Patterns were checked with the configuration.
        let paths: Vec<_> =
            self.patterns.iter().flat_map(|pattern| glob(&Disk, pattern).unwrap_or_default()).collect();
        let known = self.files.len();
        self.files.retain(|path, _| paths.contains(path));
        scan.changed |= self.files.len() != known;
        for path in paths {
            let stamp = std::fs::metadata(&path).ok().map(|metadata| Stamp::of(&metadata));
            let file = self.files.entry(path.clone()).or_default();
            if !read_all && stamp.is_some() && file.stamp == stamp {
                continue;
            }
            file.stamp = stamp;
            scan.changed = true;
            match read_groups(&path) {
                Ok(groups) => {
                    file.groups = groups;
                    file.error = None;
                }
                Err(error) => {
                    file.error = Some(error.to_string());
                    scan.errors.push(error);
                }
            }
        }
        scan
    }

    fn groups(&self) -> Vec<TargetGroup> {
        self.files.values().flat_map(|file| file.groups.iter().cloned()).collect()
    }

    fn error(&self) -> Option<String> {
        let errors: Vec<_> = self.files.values().filter_map(|file| file.error.as_deref()).collect();
        (!errors.is_empty()).then(|| errors.join("\n"))
    }
}

fn read_groups(path: &str) -> Result<Vec<TargetGroup>, FileError> {
    let failed = |problem| FileError::Read { path: path.to_owned(), problem };
    let file = std::fs::File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let mut text = String::new();
    // One byte more than allowed, for files whose length is not known beforehand.
    let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if read as u64 > MAX_FILE_BYTES {
        return Err(FileError::TooLarge { path: path.to_owned(), bytes: bytes.max(read as u64) });
    }
    parse_target_file(path, &text).map_err(FileError::Content)
}

/// The file system, for patterns.
struct Disk;

impl FileAccess for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(directory)?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(reader: &FileReader) -> Vec<String> {
        let groups = reader.groups();
        let targets = groups.iter().flat_map(|group| &group.targets);
        targets.map(|target| target.get("__address__").unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn a_bad_file_keeps_its_last_targets_and_says_what_is_wrong() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
        let mut reader = FileReader::new(vec![path("*.yml"), path("one.json")]);
        assert!(!reader.scan(false).changed);
        std::fs::write(path("a.yml"), "- targets: [a:1]\n").expect("written");
        std::fs::write(path("one.json"), r#"[{"targets": ["b:1"], "labels": {"x": "y"}}]"#).expect("written");
        assert!(reader.scan(false).changed);
        assert_eq!(addresses(&reader), ["a:1", "b:1"]);
        assert!(!reader.scan(false).changed, "nothing changed");

        std::fs::write(path("a.yml"), "- targets: [c:1]\n- target: [d]\n").expect("written");
        let scan = reader.scan(false);
        let place = format!("{}:2:3: [1].target:", path("a.yml"));
        assert!(scan.errors[0].to_string().starts_with(&place), "{}", scan.errors[0]);
        assert!(reader.error().is_some_and(|error| error.starts_with(&place)));
        assert_eq!(addresses(&reader), ["a:1", "b:1"]);
        assert!(!reader.scan(false).changed, "a bad file is not read again and again");

        std::fs::write(path("a.yml"), "- targets: [c:1]\n- targets: [d]\n").expect("written");
        assert!(reader.scan(false).changed && reader.error().is_none());
        assert_eq!(addresses(&reader), ["c:1", "d", "b:1"]);

        std::fs::remove_file(path("one.json")).expect("removed");
        assert!(reader.scan(false).changed);
        assert_eq!(addresses(&reader), ["c:1", "d"]);
        let group = &reader.groups()[0];
        assert_eq!(group.labels.get("__meta_filepath"), Some(path("a.yml").as_str()));
        assert_eq!(*group.source, format!("{}:0", path("a.yml")));
    }

    #[test]
    fn a_file_that_is_replaced_by_another_of_the_same_length_is_read_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
        let mut reader = FileReader::new(vec![path("a.yaml")]);
        std::fs::write(path("a.yaml"), "- targets: [a]\n").expect("written");
        reader.scan(false);
        std::fs::write(path("new"), "- targets: [b]\n").expect("written");
        std::fs::rename(path("new"), path("a.yaml")).expect("renamed");
        reader.scan(false);
        assert_eq!(addresses(&reader), ["b"]);
    }
}

//! The files of a queue's directory.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::OpenQueueError;

const LOCK: &str = "lock";
const EXTENSION: &str = ".seg";
const DIGITS: usize = 16;
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// A directory that this process has locked, until this is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    lock: File,
}

/// What the directory holds besides the lock.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Numbers of the files named like segments, ascending.
    pub(super) segments: Vec<u32>,
    /// Everything else.
    pub(super) others: Vec<PathBuf>,
}

impl Directory {
    pub(super) fn lock(path: &Path) -> Result<Self, OpenQueueError> {
        create(path)
            .map_err(|source| OpenQueueError::CreateDirectory { directory: path.to_owned(), source })?;
        let lock_path = path.join(LOCK);
        let failed = |source| OpenQueueError::Lock { path: lock_path.clone(), source };
        let lock = open_lock(&lock_path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(OpenQueueError::InUse { directory: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn list(&self) -> Result<Listing, OpenQueueError> {
        let failed = |source| OpenQueueError::List { directory: self.path.clone(), source };
        let mut listing = Listing::default();
        for entry in self.path.read_dir().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let is_file = entry.file_type().map_err(failed)?.is_file();
            match entry.file_name().to_str() {
                Some(LOCK) => {}
                Some(name) if is_file && segment_number(name).is_some() => {
                    listing.segments.extend(segment_number(name));
                }
                _ => listing.others.push(entry.path()),
            }
        }
        listing.segments.sort_unstable();
        listing.others.sort_unstable();
        Ok(listing)
    }

    pub(super) fn segment_path(&self, segment: u32) -> PathBuf {
        self.path.join(format!("{segment:0DIGITS$}{EXTENSION}"))
    }

    /// A new, empty segment. An existing file is never overwritten.
    pub(super) fn create(&self, segment: u32) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(FILE_MODE);
        options.open(self.segment_path(segment))
    }

    pub(super) fn open_to_write(&self, segment: u32) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.segment_path(segment))
    }

    pub(super) fn open_to_read(&self, segment: u32) -> io::Result<File> {
        File::open(self.segment_path(segment))
    }

    /// Deletes a segment. It is no error that it is gone.
    pub(super) fn remove(&self, segment: u32) -> io::Result<()> {
        match std::fs::remove_file(self.segment_path(segment)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Directory {
    /// A child process that another thread is starting has the file, too, until it executes its program: closing it
    /// here would not end the lock.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

/// Makes the directory and those above it that are missing, so that they outlive the machine, too.
fn create(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
    for parent in missing.iter().filter_map(|made| made.parent()) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// The lock of a queue on a read-only file system can be taken, if the file is there.
fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
    match options.open(path) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
            ) =>
        {
            File::open(path).map_err(|_| error)
        }
        result => result,
    }
}

/// The number in a name like `0000000000000007.seg`.
fn segment_number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(EXTENSION)?;
    let is_number = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::segment_number;

    #[test]
    fn only_names_of_sixteen_digits_are_segments() {
        for (name, number) in [
            ("0000000000000007.seg", Some(7)),
            ("0000004294967295.seg", Some(u32::MAX)),
            ("0000004294967296.seg", None),
            ("7.seg", None),
            ("+000000000000007.seg", None),
            ("0000000000000007.seg.bak", None),
            ("0000000000000007", None),
        ] {
            assert_eq!(segment_number(name), number, "{name}");
        }
    }
}

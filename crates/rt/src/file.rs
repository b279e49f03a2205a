//! Small files with secrets and certificates: bounded reads, and a stamp that tells whether one changed.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use outrigger_model::secret::{Secret, SecretSource};

/// Most bytes of a secret, certificate or key file.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// A file that could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Not readable.
    #[error("read file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A directory, pipe or device.
    #[error("{} is not a regular file", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// Too large.
    #[error("file {} is larger than {MAX_FILE_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not UTF-8.
    #[error("file {} is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a whole small file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(FileError::NotRegular { path: path.to_owned() });
    }
    let mut content = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > MAX_FILE_BYTES {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    Ok(content)
}

/// Reads a text file without the white space around it, as Prometheus reads secrets.
pub(crate) fn read_trimmed(path: &Path) -> Result<String, FileError> {
    let text = String::from_utf8(read(path)?).map_err(|_| FileError::NotText { path: path.to_owned() })?;
    Ok(text.trim().to_owned())
}

/// The secret as it is now; a file is read anew, without the white space around it.
///
/// # Errors
/// [`FileError`] when the file cannot be read, is too large or is not text.
pub fn read_secret(source: &SecretSource) -> Result<Secret, FileError> {
    match source {
        SecretSource::Inline(secret) => Ok(secret.clone()),
        SecretSource::File(path) => read_trimmed(path).map(Secret::new),
    }
}

/// Where a secret comes from, for people.
pub(crate) fn described(source: &SecretSource) -> String {
    match source {
        SecretSource::Inline(_) => "what the configuration says".to_owned(),
        SecretSource::File(path) => path.display().to_string(),
    }
}

/// What tells one content of a file from the next without reading it; equal for two missing files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileStamp(Option<(Option<SystemTime>, u64, u64)>);

impl FileStamp {
    pub(crate) fn of(path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self(fs::metadata(path).ok().map(|meta| {
            // Change time and inode catch what keeps modification time and length: a renamed or swapped file.
            let changed =
                (meta.ctime() as u64).wrapping_mul(1_000_000_007).wrapping_add(meta.ctime_nsec() as u64);
            (meta.modified().ok(), meta.len(), changed.wrapping_mul(31).wrapping_add(meta.ino()))
        }))
    }
}

/// Something built from files, built anew when one of them changes. While the new content does not work, the
/// last that did stays in use.
#[derive(Debug)]
pub(crate) struct Reloading<T> {
    files: Vec<PathBuf>,
    built: Mutex<Option<Built<T>>>,
}

#[derive(Debug)]
struct Built<T> {
    stamps: Vec<FileStamp>,
    value: Arc<T>,
}

impl<T> Reloading<T> {
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        Self { files, built: Mutex::new(None) }
    }

    /// Whether the value can change.
    pub(crate) fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// The value for the files as they are now; an error only while none was ever built.
    pub(crate) fn get<E>(&self, build: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E>
    where
        E: std::error::Error + 'static,
    {
        let mut built = self.built.lock();
        // Taken before reading, so that a change while reading is seen the next time.
        let stamps: Vec<FileStamp> = self.files.iter().map(|path| FileStamp::of(path)).collect();
        if let Some(built) = &*built
            && built.stamps == stamps
        {
            return Ok(built.value.clone());
        }
        let value = match (build(), &mut *built) {
            (Ok(value), _) => Arc::new(value),
            (Err(error), Some(earlier)) => {
                let error = outrigger_model::fault::chain(&error);
                tracing::warn!(%error, files = ?self.files, "changed files are not usable, keeping their earlier content");
                earlier.stamps = stamps;
                return Ok(earlier.value.clone());
            }
            (Err(error), None) => return Err(error),
        };
        *built = Some(Built { stamps, value: value.clone() });
        Ok(value)
    }
}

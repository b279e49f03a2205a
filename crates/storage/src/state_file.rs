//! Small versioned state in one file: keys with values, each with the revision that wrote it (redb).
//!
//! Every commit is one transaction, on disk when it returns; a process that is killed in the midst of one leaves the
//! state before or after it. A file that is damaged is set aside under another name and a new one begun, so that a
//! master never fails to start for it. All calls block.

mod error;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use redb::{Builder, Database, ReadableDatabase as _, ReadableTable, TableDefinition};

pub use error::{StateFileError, StateTrouble};

/// Key to (value, create revision, revision, lease).
const ENTRIES: TableDefinition<'_, &str, (&[u8], u64, u64, u64)> = TableDefinition::new("entries");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
const REVISION: &str = "revision";
const FORMAT: &str = "format";
const FORMAT_VERSION: u64 = 1;

/// State is small; redb's own default is a GiB.
const CACHE_BYTES: usize = 8 << 20;

/// A file of keys and values.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    set_aside: Mutex<Option<PathBuf>>,
    /// `None` after an I/O error, until it is opened anew.
    database: Mutex<Option<Database>>,
}

/// What stands behind a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateEntry {
    /// The value.
    pub value: Vec<u8>,
    /// Revision of the commit that put the key where none was.
    pub create_revision: u64,
    /// Revision of the commit that wrote the value.
    pub revision: u64,
    /// A number that the caller gave with the value; 0 for none.
    pub lease: u64,
}

/// One change of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateChange {
    /// Writes a value.
    Put {
        /// Key.
        key: String,
        /// Value.
        value: Vec<u8>,
        /// Kept with it.
        lease: u64,
    },
    /// Takes a key away, if it is there.
    Delete {
        /// Key.
        key: String,
    },
}

impl StateFile {
    /// Opens the file and checks all of it; makes it, and its directory, when it is not there.
    ///
    /// # Errors
    /// [`StateFileError`] when the file cannot be used for now: in use by another process, not readable, not writable,
    /// disk full, from a newer version. A damaged file is no error: see [`StateFile::set_aside`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StateFileError> {
        let path = path.into();
        let (database, set_aside) = open_or_begin_anew(&path)?;
        Ok(Self { path, set_aside: Mutex::new(set_aside), database: Mutex::new(Some(database)) })
    }

    /// Reads a file that cannot be opened, because its disk is full or read-only: its revision and all entries.
    ///
    /// # Errors
    /// [`StateFileError`] when it is not there, damaged, or was not closed in good order.
    pub fn read(path: &Path) -> Result<(u64, Vec<(String, StateEntry)>), StateFileError> {
        let read = || {
            let mut builder = Builder::new();
            let transaction = builder.set_cache_size(CACHE_BYTES).open_read_only(path)?.begin_read()?;
            let numbers = transaction.open_table(NUMBERS)?;
            let revision = numbers.get(REVISION)?.map_or(0, |revision| revision.value());
            Ok((revision, list(&transaction.open_table(ENTRIES)?, "")?))
        };
        read().map_err(|error| StateFileError::new(path, error))
    }

    /// Where a damaged file was moved to: everything in it is lost to the program.
    pub fn set_aside(&self) -> Option<PathBuf> {
        self.set_aside.lock().clone()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of commits so far.
    ///
    /// # Errors
    /// [`StateFileError`] when the file cannot be read.
    pub fn revision(&self) -> Result<u64, StateFileError> {
        self.run(|database| {
            let numbers = database.begin_read()?.open_table(NUMBERS)?;
            Ok(numbers.get(REVISION)?.map_or(0, |revision| revision.value()))
        })
    }

    /// The entry of a key.
    ///
    /// # Errors
    /// [`StateFileError`] when the file cannot be read.
    pub fn get(&self, key: &str) -> Result<Option<StateEntry>, StateFileError> {
        self.run(|database| {
            let entries = database.begin_read()?.open_table(ENTRIES)?;
            Ok(entries.get(key)?.map(|entry| owned(entry.value())))
        })
    }

    /// The entries whose keys begin with `prefix`, by key.
    ///
    /// # Errors
    /// [`StateFileError`] when the file cannot be read.
    pub fn list(&self, prefix: &str) -> Result<Vec<(String, StateEntry)>, StateFileError> {
        self.run(|database| list(&database.begin_read()?.open_table(ENTRIES)?, prefix))
    }

    /// Makes all changes, or none; they are on disk when this returns. Gives their revision.
    ///
    /// # Errors
    /// [`StateFileError`]: nothing has changed. The next commit may succeed.
    pub fn commit(&self, changes: &[StateChange]) -> Result<u64, StateFileError> {
        self.run(|database| {
            let transaction = database.begin_write()?;
            let revision;
            {
                let mut numbers = transaction.open_table(NUMBERS)?;
                revision = numbers.get(REVISION)?.map_or(0, |revision| revision.value()) + 1;
                numbers.insert(REVISION, revision)?;
                let mut entries = transaction.open_table(ENTRIES)?;
                for change in changes {
                    match change {
                        StateChange::Put { key, value, lease } => {
                            let created = entries.get(key.as_str())?.map(|entry| entry.value().1);
                            let created = created.unwrap_or(revision);
                            entries.insert(key.as_str(), (value.as_slice(), created, revision, *lease))?;
                        }
                        StateChange::Delete { key } => {
                            entries.remove(key.as_str())?;
                        }
                    }
                }
            }
            transaction.commit()?;
            Ok(revision)
        })
    }

    /// Replaces everything, in one transaction: for a caller that has the whole state in memory and could not write it
    /// for a while.
    ///
    /// # Errors
    /// As [`StateFile::commit`].
    pub fn replace(&self, revision: u64, state: &[(String, StateEntry)]) -> Result<(), StateFileError> {
        self.run(|database| {
            let transaction = database.begin_write()?;
            {
                transaction.open_table(NUMBERS)?.insert(REVISION, revision)?;
                let mut entries = transaction.open_table(ENTRIES)?;
                entries.retain(|_, _| false)?;
                for (key, entry) in state {
                    let StateEntry { value, create_revision, revision, lease } = entry;
                    entries.insert(key.as_str(), (value.as_slice(), *create_revision, *revision, *lease))?;
                }
            }
            transaction.commit()?;
            Ok(())
        })
    }

    fn run<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StateFileError> {
        let mut held = self.database.lock();
        let database = match held.take() {
            Some(database) => database,
            None => {
                let (database, set_aside) = open_or_begin_anew(&self.path)?;
                if set_aside.is_some() {
                    *self.set_aside.lock() = set_aside;
                }
                database
            }
        };
        match work(&database) {
            Ok(value) => {
                *held = Some(database);
                Ok(value)
            }
            // After an error of the disk redb does nothing more with the file until it is opened anew.
            Err(error) => Err(StateFileError::new(&self.path, error)),
        }
    }
}

fn list(
    entries: &impl ReadableTable<&'static str, (&'static [u8], u64, u64, u64)>,
    prefix: &str,
) -> Result<Vec<(String, StateEntry)>, redb::Error> {
    let mut found = Vec::new();
    for entry in entries.range(prefix..)? {
        let (key, entry) = entry?;
        if !key.value().starts_with(prefix) {
            break;
        }
        found.push((key.value().to_owned(), owned(entry.value())));
    }
    Ok(found)
}

fn owned(entry: (&[u8], u64, u64, u64)) -> StateEntry {
    let (value, create_revision, revision, lease) = entry;
    StateEntry { value: value.to_vec(), create_revision, revision, lease }
}

/// The file, or a new one and the name that the damaged one has now.
fn open_or_begin_anew(path: &Path) -> Result<(Database, Option<PathBuf>), StateFileError> {
    match open(path) {
        Ok(database) => Ok((database, None)),
        Err(error) if error.trouble() == StateTrouble::Corrupt => {
            let aside = set_aside(path)?;
            Ok((open(path)?, Some(aside)))
        }
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> Result<Database, StateFileError> {
    let failed = |error: redb::Error| StateFileError::new(path, error);
    let directory = directory_of(path);
    let is_new = !path.exists();
    if is_new {
        fs::create_dir_all(directory).map_err(|error| failed(error.into()))?;
        create_private(path).map_err(|error| failed(error.into()))?;
    }
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    let database = builder.create(path).map_err(|error| failed(error.into()))?;
    prepare(&database).map_err(|problem| match problem {
        Problem::Newer(format) => StateFileError::Newer { path: path.to_owned(), format },
        Problem::Redb(error) => failed(*error),
    })?;
    if is_new {
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| failed(error.into()))?;
    }
    Ok(database)
}

/// An empty file, which redb takes for a new one, that only its owner may read.
fn create_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().write(true).create(true).truncate(false).mode(0o600).open(path).map(drop)
}

enum Problem {
    Newer(u64),
    Redb(Box<redb::Error>),
}

impl<E: Into<redb::Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Problem::Redb(Box::new(error.into()))
    }
}

/// Makes the tables of a new file and checks the format of an old one.
fn prepare(database: &Database) -> Result<(), Problem> {
    let format = match database.begin_read()?.open_table(NUMBERS) {
        Ok(numbers) => numbers.get(FORMAT)?.map(|format| format.value()),
        Err(redb::TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(error.into()),
    };
    match format {
        Some(FORMAT_VERSION) => return Ok(()),
        Some(newer) if newer > FORMAT_VERSION => return Err(Problem::Newer(newer)),
        _ => {}
    }
    let transaction = database.begin_write()?;
    transaction.open_table(NUMBERS)?.insert(FORMAT, FORMAT_VERSION)?;
    transaction.open_table(ENTRIES)?;
    transaction.commit()?;
    Ok(())
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Renames the file to the first free `….corrupt`, `….corrupt-1`, …
fn set_aside(path: &Path) -> Result<PathBuf, StateFileError> {
    let failed = |error: io::Error| StateFileError::new(path, error.into());
    for number in 0u32.. {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 0 { ".corrupt".to_owned() } else { format!(".corrupt-{number}") });
        let aside = PathBuf::from(name);
        if !aside.exists() {
            fs::rename(path, &aside).map_err(failed)?;
            return Ok(aside);
        }
    }
    unreachable!("a directory has fewer than 2^32 files")
}

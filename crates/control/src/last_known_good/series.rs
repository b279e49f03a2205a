//! Series sets of targets on disk, for whoever scrapes a target after its worker has died.

use std::collections::HashMap;
use std::path::PathBuf;

use outrigger_model::target::TargetId;
use outrigger_storage::state_file::{StateChange, StateFile, StateFileError};

/// Bytes of one set; a larger one is not kept.
const MAX_SET_BYTES: usize = 256 << 10;
/// Bytes of the file; beyond that nothing is added.
const MAX_FILE_BYTES: u64 = 4 << 30;
/// Sets in one transaction.
const MOST_CHANGES: usize = 2_000;

/// The sets.
#[derive(Debug)]
pub(crate) struct SeriesSets {
    path: PathBuf,
    file: StateFile,
}

/// By job and target: a set to keep, or `None` for one that is not needed any more.
pub(crate) type SetChanges = HashMap<(std::sync::Arc<str>, u64), Option<Vec<u8>>>;

impl SeriesSets {
    /// Opens the file, or begins it.
    pub(crate) fn open(path: PathBuf) -> Result<Self, StateFileError> {
        let file = StateFile::open(&path)?;
        Ok(Self { path, file })
    }

    /// The set of a target; empty when there is none. Blocks on the disk.
    pub(crate) fn get(&self, job: &str, id: TargetId) -> Vec<u8> {
        let entry = self.file.get(&key(job, id.0)).ok().flatten();
        entry.map(|entry| entry.value).unwrap_or_default()
    }

    /// Keeps and drops; gives how many sets could not be kept since they, or the file, are too large. Blocks on the
    /// disk.
    pub(crate) fn apply(&self, changes: SetChanges) -> Result<u64, StateFileError> {
        let full = std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() > MAX_FILE_BYTES);
        let mut refused = 0;
        let mut prepared = Vec::with_capacity(changes.len());
        for ((job, id), set) in changes {
            let key = key(&job, id);
            match set {
                Some(set) if full || set.len() > MAX_SET_BYTES => {
                    refused += 1;
                    // An older one would be wrong.
                    prepared.push(StateChange::Delete { key });
                }
                Some(value) => prepared.push(StateChange::Put { key, value, lease: 0 }),
                None => prepared.push(StateChange::Delete { key }),
            }
        }
        for changes in prepared.chunks(MOST_CHANGES) {
            self.file.commit(changes)?;
        }
        Ok(refused)
    }
}

fn key(job: &str, id: u64) -> String {
    format!("{job}/{id:016x}")
}

//! Making what was written survive the death of the machine. The only part that waits for the disk's own time.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::error::SyncError;
use super::log::Log;

/// A segment to sync.
struct Unsynced {
    number: u32,
    path: PathBuf,
    file: io::Result<Arc<File>>,
}

/// Syncs what was written since the last time. The log is free meanwhile.
pub(super) fn sync(log: &Mutex<Log>) -> Result<(), SyncError> {
    let (segments, is_directory_unsynced) = {
        let mut log = log.lock();
        log.retire_all();
        (log.take_unsynced(), std::mem::take(&mut log.is_directory_unsynced))
    };
    let mut result = Ok(());
    for Unsynced { number, path, file } in segments {
        if let Err(source) = file.and_then(|file| file.sync_data()) {
            log.lock().note_unsynced(number);
            result = result.and(Err(SyncError { path, source }));
        }
    }
    if is_directory_unsynced {
        let path = log.lock().directory.path().to_owned();
        if let Err(source) = File::open(&path).and_then(|directory| directory.sync_all()) {
            log.lock().is_directory_unsynced = true;
            result = result.and(Err(SyncError { path, source }));
        }
    }
    result
}

impl Log {
    fn take_unsynced(&mut self) -> Vec<Unsynced> {
        let numbers = std::mem::take(&mut self.unsynced);
        let existing = numbers.into_iter().filter(|number| self.segments.contains_key(number));
        existing
            .map(|number| Unsynced {
                number,
                path: self.directory.segment_path(number),
                file: self.handles.writable(&self.directory, number),
            })
            .collect()
    }

    fn note_unsynced(&mut self, number: u32) {
        if self.segments.contains_key(&number) {
            self.unsynced.insert(number);
        }
    }
}

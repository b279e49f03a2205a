//! The few segment files that are open.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;

use super::directory::Directory;

const MAX_OPEN: usize = 8;

#[derive(Debug)]
struct Handle {
    segment: u32,
    file: Arc<File>,
    is_writable: bool,
}

/// The segments opened last, the newest at the end.
#[derive(Debug, Default)]
pub(super) struct Handles(VecDeque<Handle>);

impl Handles {
    /// The segment, at least to be read.
    pub(super) fn readable(&mut self, directory: &Directory, segment: u32) -> io::Result<Arc<File>> {
        if let Some(handle) = self.find(segment) {
            return Ok(Arc::clone(&handle.file));
        }
        match directory.open_to_write(segment) {
            Ok(file) => Ok(self.keep(segment, file, true)),
            Err(_) => {
                let file = directory.open_to_read(segment)?;
                Ok(self.keep(segment, file, false))
            }
        }
    }

    /// The segment, to be written and synced.
    pub(super) fn writable(&mut self, directory: &Directory, segment: u32) -> io::Result<Arc<File>> {
        if let Some(handle) = self.find(segment).filter(|handle| handle.is_writable) {
            return Ok(Arc::clone(&handle.file));
        }
        let file = directory.open_to_write(segment)?;
        self.forget(segment);
        Ok(self.keep(segment, file, true))
    }

    /// Closes the segment, once nobody uses it any more.
    pub(super) fn forget(&mut self, segment: u32) {
        self.0.retain(|handle| handle.segment != segment);
    }

    fn find(&self, segment: u32) -> Option<&Handle> {
        self.0.iter().find(|handle| handle.segment == segment)
    }

    fn keep(&mut self, segment: u32, file: File, is_writable: bool) -> Arc<File> {
        if self.0.len() == MAX_OPEN {
            self.0.pop_front();
        }
        let file = Arc::new(file);
        self.0.push_back(Handle { segment, file: Arc::clone(&file), is_writable });
        file
    }
}

//! Files, as the caller lets the configuration see them, and Go's file patterns over them.

use std::io;
use std::path::Path;

/// The files that a configuration may refer to. Implemented by whoever does I/O; by a map in tests.
pub trait FileAccess {
    /// The content of a file.
    ///
    /// # Errors
    /// As reading it fails.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// The names (not paths) of a directory's entries, in any order.
    ///
    /// # Errors
    /// As listing it fails.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Whether the path exists.
    fn exists(&self, path: &Path) -> bool;
}

//! The configuration's view of the file system, and how a configuration file is loaded from it.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use outrigger_config::error::ConfigErrors;
use outrigger_config::file_access::FileAccess;
use outrigger_config::prometheus::parts::{Parts, take_apart};
use outrigger_config::prometheus::{self, Loaded, Source};

/// A configuration larger than this is a mistake.
const MAX_CONFIG_BYTES: u64 = 64 << 20;

/// The machine's own files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalFiles;

impl FileAccess for LocalFiles {
    fn read(&self, path: &Path) -> io::Result<String> {
        read_bounded(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        std::fs::read_dir(directory)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}

/// Reads a text that is not absurdly large.
pub(crate) fn read_bounded(path: &Path) -> io::Result<String> {
    let size = std::fs::metadata(path)?.len();
    if size > MAX_CONFIG_BYTES {
        let message = format!("{size} bytes are more than the {MAX_CONFIG_BYTES} that are read");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    std::fs::read_to_string(path)
}

/// Why a configuration file could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("could not read the configuration file {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the configuration is not valid:\n{0}")]
    Invalid(ConfigErrors),
}

/// Reads and validates a configuration file.
pub(crate) fn load_config(path: &Path, agent_mode: bool) -> Result<Loaded, LoadError> {
    let text = read_bounded(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    let name = path.to_string_lossy();
    let source = source(&name, &text, path.parent().unwrap_or(Path::new("")), agent_mode);
    prometheus::load(&source).map_err(LoadError::Invalid)
}

/// Reads and validates a configuration file, and writes out what `outrigger.clusters` means for its jobs.
pub(crate) fn load_to_run(path: &Path) -> Result<Loaded, LoadError> {
    let mut loaded = load_config(path, false)?;
    if loaded.config.outrigger.clusters.is_empty() {
        return Ok(loaded);
    }
    let text = read_bounded(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    let name = path.to_string_lossy();
    let source = source(&name, &text, path.parent().unwrap_or(Path::new("")), false);
    let whole = take_apart(&source, Parts::Whole).map_err(LoadError::Invalid)?.text();
    let written_out = prometheus::load(&Source { text: &whole, ..source }).map_err(LoadError::Invalid)?;
    loaded.config = written_out.config;
    Ok(loaded)
}

/// A text as one that stands in a file.
pub(crate) fn source<'a>(path: &'a str, text: &'a str, directory: &Path, agent_mode: bool) -> Source<'a> {
    Source {
        path,
        text,
        directory: directory.to_owned(),
        environment: &|name| std::env::var(name).ok(),
        files: &LocalFiles,
        agent_mode,
    }
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, content: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .with_context(|| format!("could not write {}", path.display()))
}

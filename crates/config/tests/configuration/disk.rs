//! Files for the tests: the real disk, or a map.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use outrigger_config::error::ConfigErrors;
use outrigger_config::file_access::FileAccess;
use outrigger_config::prometheus::{Loaded, Source, load};

/// The real disk.
pub(crate) struct Disk;

impl FileAccess for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(directory)?.filter_map(Result::ok);
        Ok(entries.filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    fn exists(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }
}

/// Files in memory, by path.
#[derive(Default)]
pub(crate) struct Memory(pub(crate) BTreeMap<&'static str, &'static str>);

impl FileAccess for Memory {
    fn read(&self, path: &Path) -> io::Result<String> {
        let text = path.to_str().and_then(|path| self.0.get(path));
        text.map(|text| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let within = |path: &&&str| Path::new(path).parent() == Some(directory);
        let name = |path: &&str| Path::new(path).file_name()?.to_str().map(str::to_owned);
        Ok(self.0.keys().filter(within).filter_map(name).collect())
    }

    fn exists(&self, path: &Path) -> bool {
        path.to_str().is_some_and(|path| self.0.contains_key(path))
    }
}

/// Loads a file from disk.
pub(crate) fn load_file(path: &Path, agent_mode: bool) -> Result<Loaded, ConfigErrors> {
    let text = std::fs::read_to_string(path).expect("the file is there");
    let name = path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
    load(&Source {
        path: name,
        text: &text,
        directory: path.parent().expect("a directory").to_owned(),
        environment: &|_| None,
        files: &Disk,
        agent_mode,
    })
}

/// Loads a text as `/etc/p/p.yml`, with files in memory and the environment variables `POD=pod-1`, `POD_IP=fd00::7` and an
/// empty `ZONE`.
pub(crate) fn load_text_with(text: &str, files: &Memory) -> Result<Loaded, ConfigErrors> {
    load(&Source {
        path: "p.yml",
        text,
        directory: PathBuf::from("/etc/p"),
        environment: &|name| {
            let variables = [("POD", "pod-1"), ("POD_IP", "fd00::7"), ("ZONE", "")];
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        },
        files,
        agent_mode: false,
    })
}

/// Loads a text that refers to no files.
pub(crate) fn load_text(text: &str) -> Result<Loaded, ConfigErrors> {
    load_text_with(text, &Memory::default())
}

//! Files that a configuration refers to.

use std::cell::RefCell;
use std::path::PathBuf;

use crate::error::Location;
use crate::file_access::{join_directory, matches_pattern};
use crate::yaml::walk::Cursor;

/// A file, or a pattern of files, that a key refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferencedFile {
    /// Where the key stands.
    pub location: Location,
    /// Path of the key.
    pub key: String,
    /// The file or pattern, joined to the configuration's directory.
    pub path: String,
    /// What the file is.
    pub kind: ReferencedFileKind,
}

/// What a referenced file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferencedFileKind {
    /// CA certificates, PEM.
    TlsCa,
    /// Client certificate, PEM.
    TlsCertificate,
    /// Client key, PEM.
    TlsKey,
    /// Token, user name, password or another secret.
    Secret,
    /// Kubeconfig.
    Kubeconfig,
    /// Pattern of rule files.
    RuleFiles,
    /// Pattern of scrape configuration files, which are already read.
    ScrapeConfigFiles,
    /// Pattern of target files of `file_sd_configs`.
    TargetFiles,
    /// kube-state-metrics' configuration file.
    StateMetrics,
}

/// Joins paths to the directory of the file they stand in, and keeps a list of them.
pub(super) struct Files<'a> {
    directory: String,
    found: &'a RefCell<Vec<ReferencedFile>>,
}

impl<'a> Files<'a> {
    pub(super) fn new(directory: &str, found: &'a RefCell<Vec<ReferencedFile>>) -> Self {
        Self { directory: directory.to_owned(), found }
    }

    /// The path that a key names, `None` when it is empty.
    pub(super) fn path(&self, value: &Cursor<'_>, kind: ReferencedFileKind) -> Option<PathBuf> {
        self.pattern(value, kind).map(PathBuf::from)
    }

    /// A path that need not exist, such as a log file; `None` when it is empty.
    pub(super) fn output(&self, value: &Cursor<'_>) -> Option<PathBuf> {
        let text = value.text().filter(|text| !text.is_empty())?;
        Some(join_directory(&self.directory, text).into())
    }

    /// The path or pattern that a key names, `None` when it is empty.
    pub(super) fn pattern(&self, value: &Cursor<'_>, kind: ReferencedFileKind) -> Option<String> {
        let text = value.text().filter(|text| !text.is_empty())?;
        let path = join_directory(&self.directory, text);
        self.refer(value, path.clone(), kind);
        Some(path)
    }

    /// A pattern whose `*` stands only in the last path element, as rule files and the like are named.
    pub(super) fn last_element_pattern(
        &self,
        value: &Cursor<'_>,
        kind: ReferencedFileKind,
    ) -> Option<String> {
        let text = value.text()?;
        if !star_in_last_element(text) {
            value.error(
                format!("{} has a * before its last /", value.shown()),
                "use * only in the file's name",
            );
            return None;
        }
        if matches_pattern(text, "").is_err() {
            let fix = "close the [ with ], or escape it with a backslash";
            value.error(format!("{} is not a file pattern", value.shown()), fix);
            return None;
        }
        if text.is_empty() {
            self.refer(value, String::new(), kind);
        }
        self.pattern(value, kind)
    }

    fn refer(&self, value: &Cursor<'_>, path: String, kind: ReferencedFileKind) {
        let (location, key) = (value.location(), value.key());
        self.found.borrow_mut().push(ReferencedFile { location, key, path, kind });
    }
}

/// `^[^*]*(\*[^/]*)?$`
pub(super) fn star_in_last_element(pattern: &str) -> bool {
    pattern.split_once('*').is_none_or(|(_, rest)| !rest.contains('/'))
}

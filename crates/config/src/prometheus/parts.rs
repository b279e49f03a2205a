//! A configuration taken apart and put together again: the base and each job as a text of its own.
//!
//! A master gives its workers what they need of its file, job by job, and adds jobs that come from elsewhere (the
//! Prometheus Operator's objects). The texts are YAML that this crate reads as it read the file: environment variables
//! are expanded, `scrape_config_files` are read, and paths are joined to the folder of the file they stood in.

mod clusters;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use outrigger_model::labels::Labels;

use super::{ClusterConfig, ReferencedFile, ReferencedFileKind, Source, load};
use crate::error::{ConfigErrors, Location};
use crate::file_access::glob;
use crate::yaml::scalar::{Resolved, Scalar, Tag};
use crate::yaml::walk::{Report, parse_into};
use crate::yaml::{Node, Value};

/// What of a configuration is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// All of it.
    Whole,
    /// What scraping and remote write read: discovery, rules, alerting and the process's own settings are left out.
    Collection,
}

/// A configuration in pieces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigParts {
    /// Everything but the jobs.
    pub base: String,
    /// `job_name` and entry of `scrape_configs`, in order.
    pub jobs: Vec<(Arc<str>, String)>,
}

impl ConfigParts {
    /// The configuration as one text.
    pub fn text(&self) -> String {
        compose(&self.base, self.jobs.iter().map(|(_, job)| &**job))
    }
}

/// Puts a base and jobs together.
pub fn compose<'a>(base: &str, jobs: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = base.to_owned();
    let mut jobs = jobs.into_iter().peekable();
    if jobs.peek().is_some() {
        text.push_str("scrape_configs:\n");
    }
    for job in jobs {
        // An entry may be written in block style, too: then its lines keep their distance to each other.
        for (number, line) in job.trim_end().lines().enumerate() {
            let _ = writeln!(text, "{}{line}", if number == 0 { "- " } else { "  " });
        }
    }
    text
}

/// Takes a configuration apart.
///
/// # Errors
/// As [`load`].
pub fn take_apart(source: &Source<'_>, parts: Parts) -> Result<ConfigParts, ConfigErrors> {
    let loaded = load(source)?;
    let paths = Paths::new(&loaded.referenced_files);
    let clusters = &loaded.config.outrigger.clusters;
    let mut writer = Writer { paths: &paths, file: Arc::from(source.path), parts, clusters };
    let mut taken = ConfigParts::default();
    let report = Report::new(source.path);
    let Some(root) = parse_into(source.text, &report).and_then(|document| document.root) else {
        return Ok(taken);
    };
    for (key, value) in entries(&root) {
        match key {
            "scrape_configs" => taken.jobs.extend(writer.jobs(value)),
            "scrape_config_files" => {}
            "global" => {
                let global = writer.global(value, &loaded.config.global.external_labels);
                let _ = writeln!(taken.base, "global: {global}");
            }
            "outrigger" if parts == Parts::Collection => {
                if let Some(limits) = value.get("limits") {
                    let _ = writeln!(taken.base, "outrigger: {{limits: {}}}", writer.text(limits));
                }
            }
            "outrigger" => {
                let _ = writeln!(taken.base, "outrigger: {}", writer.outrigger(value));
            }
            "remote_write" => {
                let _ = writeln!(taken.base, "remote_write: [{}]", writer.remote_writes(value).join(", "));
            }
            _ if parts == Parts::Collection => {}
            _ => {
                let _ = writeln!(taken.base, "{}: {}", quoted(key), writer.text(value));
            }
        }
    }
    for pattern in root.get("scrape_config_files").map(items).unwrap_or_default() {
        let pattern = paths.of(source.path, pattern).unwrap_or_default();
        for path in glob(source.files, pattern).unwrap_or_default() {
            let Ok(text) = source.files.read(Path::new(&path)) else { continue };
            let report = Report::new(&path);
            let Some(root) = parse_into(&text, &report).and_then(|document| document.root) else { continue };
            writer.file = Arc::from(path);
            taken.jobs.extend(root.get("scrape_configs").map(|value| writer.jobs(value)).unwrap_or_default());
        }
    }
    Ok(taken)
}

/// The files that keys name, by the place of the key's value.
struct Paths<'a>(HashMap<&'a Location, &'a str>);

impl<'a> Paths<'a> {
    fn new(files: &'a [ReferencedFile]) -> Self {
        Self(files.iter().map(|file| (&file.location, &*file.path)).collect())
    }

    fn of(&self, file: &str, node: &Node) -> Option<&'a str> {
        let mark = node.mark;
        let location = Location { path: file.into(), line: mark.line, column: mark.column };
        self.0.get(&location).copied()
    }
}

struct Writer<'a> {
    paths: &'a Paths<'a>,
    /// Which is read.
    file: Arc<str>,
    parts: Parts,
    clusters: &'a [ClusterConfig],
}

impl Writer<'_> {
    fn jobs(&self, list: &Node) -> Vec<(Arc<str>, String)> {
        items(list).into_iter().flat_map(|job| self.for_each_cluster(job)).collect()
    }

    /// The entries of a job that are taken, as text.
    fn job_entries<'n>(&self, job: &'n Node) -> Vec<(&'n str, String)> {
        let is_taken = |key: &str| {
            let of_discovery =
                key.ends_with("_sd_configs") || matches!(key, "static_configs" | "relabel_configs");
            self.parts == Parts::Whole || !of_discovery
        };
        let kept = entries(job).into_iter().filter(|(key, _)| is_taken(key));
        kept.map(|(key, value)| (key, self.text(value))).collect()
    }

    fn global(&self, global: &Node, external_labels: &Labels) -> String {
        let labels = external_labels.iter().map(|(name, value)| (name, quoted(&value.replace('$', "$$"))));
        let labels = self.mapping(labels);
        let is_taken =
            |key: &str| self.parts == Parts::Whole || !matches!(key, "rule_query_offset" | "query_log_file");
        let kept = entries(global).into_iter().filter(|(key, _)| is_taken(key));
        self.mapping(kept.map(|(key, value)| match key {
            "external_labels" => (key, labels.clone()),
            _ => (key, self.text(value)),
        }))
    }

    fn text(&self, node: &Node) -> String {
        match &node.value {
            Value::Scalar(scalar) => match self.paths.of(&self.file, node) {
                Some(path) if !path.is_empty() => quoted(path),
                _ => scalar_text(scalar).into_owned(),
            },
            Value::Sequence(list) => {
                let list: Vec<String> = list.iter().map(|node| self.text(node)).collect();
                format!("[{}]", list.join(", "))
            }
            Value::Mapping(_) => {
                self.mapping(entries(node).into_iter().map(|(key, value)| (key, self.text(value))))
            }
        }
    }

    fn mapping<'k>(&self, entries: impl IntoIterator<Item = (&'k str, String)>) -> String {
        let entries: Vec<String> =
            entries.into_iter().map(|(key, value)| format!("{}: {value}", quoted(key))).collect();
        format!("{{{}}}", entries.join(", "))
    }
}

/// The entries of a mapping that count, in order.
fn entries(node: &Node) -> Vec<(&str, &Node)> {
    let Value::Mapping(all) = &node.value else { return Vec::new() };
    let mut last: HashMap<&str, usize> = HashMap::new();
    for (place, entry) in all.iter().enumerate() {
        last.insert(entry.key.text().unwrap_or(""), place);
    }
    let counts = |place: usize, key: &str| last.get(key) == Some(&place);
    let named = all.iter().map(|entry| (entry.key.text().unwrap_or(""), &*entry.value)).enumerate();
    named.filter(|(place, (key, _))| counts(*place, key)).map(|(_, entry)| entry).collect()
}

fn items(node: &Node) -> Vec<&Node> {
    match &node.value {
        Value::Sequence(list) => list.iter().map(|node| &**node).collect(),
        _ => Vec::new(),
    }
}

/// A scalar that resolves to what it resolved to.
fn scalar_text(scalar: &Scalar) -> Cow<'_, str> {
    let text = scalar.text();
    match (scalar.resolve(), scalar.is_plain(), scalar.tag()) {
        (Resolved::Null, ..) if text.is_empty() => "null".into(),
        (Resolved::Text, ..) => quoted(text).into(),
        (_, true, Tag::None) => text.into(),
        (resolved, ..) => {
            let tag = match resolved {
                Resolved::Bool(_) => "!!bool",
                Resolved::Int(_) => "!!int",
                Resolved::Float(_) => "!!float",
                Resolved::Null | Resolved::Text => "!!null",
            };
            format!("{tag} {}", quoted(text)).into()
        }
    }
}

/// A double-quoted scalar.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            ' '..='~' => out.push(character),
            _ => {
                let code = u32::from(character);
                let _ =
                    if code > 0xffff { write!(out, "\\U{code:08x}") } else { write!(out, "\\u{code:04x}") };
            }
        }
    }
    out.push('"');
    out
}

/// Whether processes that only collect need this file.
pub fn is_for_collection(file: &ReferencedFile) -> bool {
    matches!(
        file.kind,
        ReferencedFileKind::TlsCa
            | ReferencedFileKind::TlsCertificate
            | ReferencedFileKind::TlsKey
            | ReferencedFileKind::Secret
    )
}

//! The configuration file.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::each::{Each, EachKind};
use super::fields::{Fields, Report, Text, Texts};
use super::labels::LabelPaths;
use super::path::Path;
use super::resource::GroupVersionKind;
use crate::family::FamilyKind;
use crate::yaml::{self, Mark};

/// Something about a place in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The file, as the caller named it.
    pub path: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Path of the key; empty for the whole document.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead; empty when the message says it already.
    pub fix: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}: ", self.path, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.message)?;
        match self.fix.as_str() {
            "" => Ok(()),
            fix => write!(formatter, " ({fix})"),
        }
    }
}

/// Why a file cannot be read: everything, in order of place, never empty. Displays one problem per line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ConfigErrors(pub Vec<ConfigProblem>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{problem}")?;
        }
        Ok(())
    }
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// Metrics that cannot be and are left out; kube-state-metrics shows no custom resources at all once one of them is
    /// wanted.
    pub invalid: Vec<ConfigProblem>,
    /// What has no effect, or one that is hardly wanted.
    pub warnings: Vec<ConfigProblem>,
}

/// The resources to give metrics of, compiled.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    pub(super) resources: Vec<ResourceConfig>,
}

/// An element of `spec.resources`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ResourceConfig {
    /// Version and kind may be `*` or empty for all.
    pub(super) gvk: GroupVersionKind,
    pub(super) common_labels: BTreeMap<String, String>,
    pub(super) families: Arc<[Family]>,
}

/// An element of `metrics`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Family {
    pub(super) name: String,
    pub(super) help: String,
    pub(super) kind: FamilyKind,
    pub(super) common_labels: BTreeMap<String, String>,
    /// From the object's root; those of the resource are among them.
    pub(super) labels: LabelPaths,
    pub(super) each: Each,
    /// Verbosity from which on errors are logged.
    pub(super) verbosity: i32,
}

impl Config {
    /// Reads a file's text; `path` names the file in errors.
    ///
    /// # Errors
    /// When the text is no YAML or a value has the wrong type: all that is wrong.
    pub fn read(path: &str, text: &str) -> Result<Loaded, ConfigErrors> {
        let mut report = Report::new(path);
        let start = Mark { line: 1, column: 1 };
        let root = match yaml::parse(text) {
            Ok(Some(root)) => root,
            Ok(None) => {
                let fix = "write kind: CustomResourceStateMetrics and spec: {resources: []}";
                return Err(ConfigErrors(vec![report.problem(
                    start,
                    "",
                    "the file is empty".to_owned(),
                    fix,
                )]));
            }
            Err(error) => {
                return Err(ConfigErrors(vec![report.problem(error.mark, "", error.message, error.fix)]));
            }
        };
        let mut top = Fields::of(&root, root.mark, String::new(), &mut report);
        let spec = top.mapping("spec", &mut report);
        top.finish(&["kind", "apiVersion", "metadata"], &mut report);
        let resources = spec.map_or_else(Vec::new, |spec| resources(spec, &mut report));
        let Report { mut errors, invalid, warnings, .. } = report;
        if errors.is_empty() {
            return Ok(Loaded { config: Self { resources }, invalid, warnings });
        }
        errors.sort_by_key(|problem| (problem.line, problem.column));
        Err(ConfigErrors(errors))
    }

    /// Whether there is any resource.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }
}

fn resources(mut spec: Fields, report: &mut Report) -> Vec<ResourceConfig> {
    let resources = spec.mappings("resources", report);
    spec.finish(&[], report);
    resources.into_iter().map(|fields| resource(fields, report)).collect()
}

/// What a resource says for all of its metrics.
struct Shared {
    prefix: String,
    label_paths: BTreeMap<String, Texts>,
    verbosity: i32,
}

fn resource(mut fields: Fields, report: &mut Report) -> ResourceConfig {
    let gvk = fields.mapping("groupVersionKind", report).map(|fields| group_version_kind(fields, report));
    let common_labels = common_labels(&mut fields, report);
    let prefix = fields.text("metricNamePrefix", report);
    let shared = Shared {
        prefix: prefix.map_or_else(|| "kube_customresource".to_owned(), |prefix| prefix.text),
        label_paths: fields.texts_map("labelsFromPath", report),
        verbosity: fields.int32("errorLogV", report),
    };
    // The plural of the installed CRD is taken in any case.
    fields.text("resourcePlural", report);
    let metrics = fields.mappings("metrics", report);
    let gvk = gvk.unwrap_or_default();
    if matches!(gvk.group.as_str(), "" | "*") {
        let key = format!("{}.groupVersionKind.group", fields.key);
        let message = "the group is required, so the resource is left out".to_owned();
        let problem = report.problem(fields.mark, &key, message, "name the group of the CRD");
        report.invalid.push(problem);
    }
    fields.finish(&[], report);
    let families = metrics.into_iter().filter_map(|fields| family(fields, &shared, report)).collect();
    ResourceConfig { gvk, common_labels, families }
}

fn group_version_kind(mut fields: Fields, report: &mut Report) -> GroupVersionKind {
    let mut part = |name| fields.text(name, report).map(|text| text.text).unwrap_or_default();
    let gvk = GroupVersionKind { group: part("group"), version: part("version"), kind: part("kind") };
    fields.finish(&[], report);
    gvk
}

fn common_labels(fields: &mut Fields, report: &mut Report) -> BTreeMap<String, String> {
    let labels = fields.text_map("commonLabels", report);
    for (name, text) in &labels {
        warn_of_label_name(name, text.mark, &text.key, report);
    }
    labels.into_iter().map(|(name, text)| (name, text.text)).collect()
}

/// Names that are written as they are: with a bad one Prometheus refuses the whole scrape.
fn warn_of_label_name(name: &str, mark: Mark, key: &str, report: &mut Report) {
    let valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty();
    if !valid {
        let message = format!("{name:?} is no name of a label, Prometheus will refuse the scrape");
        report.warnings.push(report.problem(mark, key, message, "use letters, digits and _"));
    }
}

fn family(mut fields: Fields, shared: &Shared, report: &mut Report) -> Option<Family> {
    let (mark, key) = (fields.mark, fields.key.clone());
    let name = fields.text("name", report).map(|name| name.text).unwrap_or_default();
    let help = fields.text("help", report).map(|help| help.text).unwrap_or_default();
    let common_labels = common_labels(&mut fields, report);
    let mut label_paths = shared.label_paths.clone();
    label_paths.extend(fields.texts_map("labelsFromPath", report));
    let verbosity = match fields.int32("errorLogV", report) {
        0 => shared.verbosity,
        own => own,
    };
    let each = fields.mapping("each", report);
    fields.finish(&[], report);
    let each = match each {
        Some(each) => compile_each(each, report),
        None => invalid(mark, &key, "each is missing", "say each: {type: Gauge, gauge: {path: […]}}", report),
    };
    let labels = compile_labels(&label_paths, report);
    let name = match shared.prefix.as_str() {
        "" => name,
        prefix => format!("{prefix}_{name}"),
    };
    warn_of_family_name(&name, mark, &key, report);
    let (kind, each) = each?;
    if kind == FamilyKind::Info && !name.ends_with("_info") {
        let message = format!("the info metric {name} does not end in _info");
        report.warnings.push(report.problem(mark, &key, message, ""));
    }
    Some(Family { name, help, kind, common_labels, labels: labels?, each, verbosity })
}

fn warn_of_family_name(name: &str, mark: Mark, key: &str, report: &mut Report) {
    let valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty();
    if !valid {
        let message = format!("{name:?} is no name of a metric, Prometheus will refuse the scrape");
        report.warnings.push(report.problem(
            mark,
            &format!("{key}.name"),
            message,
            "use letters, digits, _ and :",
        ));
    }
}

fn compile_each(mut fields: Fields, report: &mut Report) -> Option<(FamilyKind, Each)> {
    let (mark, key) = (fields.mark, fields.key.clone());
    let kind = fields.text("type", report);
    let parts = [
        fields.mapping("gauge", report).map(|gauge| compile_gauge(gauge, report)),
        fields.mapping("info", report).map(|info| compile_info(info, report)),
        fields.mapping("stateSet", report).map(|set| compile_state_set(set, report)),
    ];
    fields.finish(&[], report);
    let [gauge, info, state_set] = parts;
    let (mark, key, word) = match kind {
        Some(Text { text, mark, key }) => (mark, key, text),
        None => (mark, format!("{key}.type"), String::new()),
    };
    let (kind, each, field) = match word.to_lowercase().as_str() {
        "gauge" => (FamilyKind::Gauge, gauge, "gauge"),
        "info" => (FamilyKind::Info, info, "info"),
        "stateset" => (FamilyKind::StateSet, state_set, "stateSet"),
        _ => {
            let message = format!("unknown metric type {word:?}");
            return invalid(mark, &key, &message, "write Gauge, Info or StateSet", report);
        }
    };
    match each {
        Some(each) => Some((kind, each?)),
        None => {
            let message = format!("the type is {word}, but each.{field} is missing");
            invalid(mark, &key, &message, &format!("describe the metric under {field}"), report)
        }
    }
}

fn compile_gauge(mut fields: Fields, report: &mut Report) -> Option<Each> {
    let label_from_key = label_from_key(&mut fields, report);
    let value_from = fields.texts("valueFrom", report);
    let nil_is_zero = fields.boolean("nilIsZero", report);
    let value_from = compile_path(&value_from, report);
    compile_parts(fields, report, EachKind::Gauge { label_from_key, value_from: value_from?, nil_is_zero })
}

fn compile_info(mut fields: Fields, report: &mut Report) -> Option<Each> {
    let label_from_key = label_from_key(&mut fields, report);
    compile_parts(fields, report, EachKind::Info { label_from_key })
}

fn compile_state_set(mut fields: Fields, report: &mut Report) -> Option<Each> {
    let list = fields.texts("list", report);
    let label_name = fields.text("labelName", report);
    let value_from = fields.texts("valueFrom", report);
    let value_from = compile_path(&value_from, report);
    let (mark, key) = (fields.mark, format!("{}.labelName", fields.key));
    let label_name = label_name.unwrap_or(Text { text: String::new(), mark, key });
    warn_of_label_name(&label_name.text, label_name.mark, &label_name.key, report);
    let kind = EachKind::StateSet { label_name: label_name.text, list: list.items, value_from: value_from? };
    compile_parts(fields, report, kind)
}

fn label_from_key(fields: &mut Fields, report: &mut Report) -> String {
    let Some(Text { text, mark, key }) = fields.text("labelFromKey", report) else { return String::new() };
    if !text.is_empty() {
        warn_of_label_name(&text, mark, &key, report);
    }
    text
}

/// What all types have.
fn compile_parts(mut fields: Fields, report: &mut Report, kind: EachKind) -> Option<Each> {
    let path = fields.texts("path", report);
    let labels = fields.texts_map("labelsFromPath", report);
    fields.finish(&[], report);
    let path = compile_path(&path, report);
    let labels = compile_labels(&labels, report);
    Some(Each { path: path?, labels: labels?, kind })
}

fn compile_labels(paths: &BTreeMap<String, Texts>, report: &mut Report) -> Option<LabelPaths> {
    let compiled: Vec<_> =
        paths.iter().map(|(name, path)| Some((name.clone(), compile_path(path, report)?))).collect();
    compiled.into_iter().collect::<Option<_>>().map(LabelPaths::new)
}

fn compile_path(path: &Texts, report: &mut Report) -> Option<Path> {
    let compiled = Path::compile(path.items.iter().map(String::as_str));
    compiled
        .map_err(|error| invalid::<()>(path.mark, &path.key, &error.to_string(), "write [key=value]", report))
        .ok()
}

fn invalid<T>(mark: Mark, key: &str, message: &str, fix: &str, report: &mut Report) -> Option<T> {
    let problem = report.problem(mark, key, format!("{message}; the metric is left out"), fix);
    if !report.invalid.contains(&problem) {
        report.invalid.push(problem);
    }
    None
}

//! Prometheus' configuration file, with Prometheus' defaults and checks (`config/config.go`).

mod alerting;
mod check;
mod cloud_auth;
mod discovery;
mod files;
mod global;
mod http_client;
mod kubernetes_sd;
mod not_acted_on;
mod other_discovery;
mod other_sections;
mod outrigger;
pub mod parts;
mod relabel_rules;
mod remote_write;
mod rule_files;
mod scrape_config;
mod target_groups;

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use alerting::{AlertingConfig, AlertmanagerConfig};
pub use check::{Checked, check};
pub use discovery::{DiscoveryConfig, FileSd, HttpSd};
pub use files::{ReferencedFile, ReferencedFileKind};
pub use global::GlobalConfig;
pub use kubernetes_sd::{AttachMetadata, KubernetesSd, Namespaces, Role, RoleSelector};
pub use outrigger::{
    CentreConfig, CentreTls, CentreToken, ClusterConfig, EtcdConfig, ExcludedObject, KindSelection,
    KubernetesAccess, Limits, OperatorSettings, OutriggerConfig, RelabelingText, RequestBudget, ScrapeClass,
    ScrapeClassAuthorization, ScrapeClassTls, ScrapeLimits, SelfMetricsConfig, SizeLimit, Standby,
    StateMetricsConfig, StatePush, WorkerConfig,
};
pub use remote_write::{MetadataConfig, QueueConfig, RemoteWriteConfig, RemoteWriteMessage};
pub use rule_files::check_rule_file;
pub use scrape_config::{EscapingScheme, ScrapeConfig, ScrapePhase, ScrapeProtocol};
pub use target_groups::{parse_json_targets, parse_target_file};

use crate::error::{ConfigError, ConfigErrors, Location, Notice, Severity};
use crate::file_access::{FileAccess, glob};
use crate::yaml::walk::{Cursor, Report, Section, parse_into};
use files::Files;

/// A whole validated configuration. `Default` is what an empty file means.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// `global`.
    pub global: GlobalConfig,
    /// `scrape_configs`, then those of `scrape_config_files` in order of pattern and file name. Job names are unique.
    pub scrape_configs: Vec<Arc<ScrapeConfig>>,
    /// `remote_write`. Names are unique.
    pub remote_write: Vec<Arc<RemoteWriteConfig>>,
    /// `rule_files`: patterns, joined to the configuration's directory.
    pub rule_files: Vec<String>,
    /// `alerting`.
    pub alerting: AlertingConfig,
    /// `outrigger`.
    pub outrigger: OutriggerConfig,
}

/// What is to be loaded.
pub struct Source<'a> {
    /// Name of the file in messages.
    pub path: &'a str,
    /// Its content.
    pub text: &'a str,
    /// Relative paths in it are relative to this directory (the file's own).
    pub directory: PathBuf,
    /// Environment variables, for `${NAME}` in `external_labels`.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// Files that it refers to (only `scrape_config_files` are read).
    pub files: &'a dyn FileAccess,
    /// Refuse what `prometheus --agent` refuses too.
    pub agent_mode: bool,
}

/// A configuration that Prometheus accepts.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What Outrigger does not act on, in order of place.
    pub notices: Vec<Notice>,
    /// Files that the configuration refers to, in order of reading.
    pub referenced_files: Vec<ReferencedFile>,
    /// Where each of `config.scrape_configs` stands, with its key.
    pub(crate) job_places: Vec<(Location, String)>,
    /// Where each of `config.alerting.alertmanagers` stands, with its key.
    pub(crate) alertmanager_places: Vec<(Location, String)>,
}

/// Loads a configuration as Prometheus does.
///
/// # Errors
/// Everything that is wrong with the file and with its `scrape_config_files`, at once.
pub fn load(source: &Source<'_>) -> Result<Loaded, ConfigErrors> {
    let mut loader = Loader {
        environment: source.environment,
        access: source.files,
        referenced: RefCell::default(),
        notices: RefCell::default(),
        errors: Vec::new(),
        job_places: Vec::new(),
        alertmanager_places: Vec::new(),
    };
    let config = loader.load(source);
    let Loader { referenced, notices, errors, job_places, alertmanager_places, .. } = loader;
    if !errors.is_empty() {
        return Err(ConfigErrors(errors));
    }
    let mut notices = notices.into_inner();
    notices.sort_by(|a, b| a.location.cmp(&b.location));
    let referenced_files = referenced.into_inner();
    Ok(Loaded { config, notices, referenced_files, job_places, alertmanager_places })
}

struct Loader<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    access: &'a dyn FileAccess,
    referenced: RefCell<Vec<ReferencedFile>>,
    notices: RefCell<Vec<Notice>>,
    errors: Vec<ConfigError>,
    job_places: Vec<(Location, String)>,
    alertmanager_places: Vec<(Location, String)>,
}

/// Job names with the place of the first job of that name.
type JobNames = HashMap<Arc<str>, Location>;

impl Loader<'_> {
    fn warn(&self, value: &Cursor<'_>, reason: String) {
        let notice =
            Notice { location: value.location(), key: value.key(), severity: Severity::WarnOnce, reason };
        self.notices.borrow_mut().push(notice);
    }

    fn load(&mut self, source: &Source<'_>) -> Config {
        let report = Report::new(source.path);
        let document = parse_into(source.text, &report);
        let mut config = Config::default();
        let mut more_errors = Vec::new();
        if let Some(root) = document.as_ref().and_then(|document| document.root.as_ref()) {
            let root = Cursor::root(&report, root);
            config = self.read_main(&root, source, &mut more_errors);
            if report.is_clean() {
                not_acted_on::in_main_file(&root, &mut self.notices.borrow_mut());
            }
        }
        if let Some(second) = document.and_then(|document| document.second) {
            self.notices.borrow_mut().push(Notice {
                location: report.location(Some(second)),
                key: String::new(),
                severity: Severity::WarnOnce,
                reason: "a second document starts here; only the first one is read".to_owned(),
            });
        }
        self.errors = report.into_errors();
        self.errors.append(&mut more_errors);
        config
    }

    fn read_main(
        &mut self,
        root: &Cursor<'_>,
        source: &Source<'_>,
        more_errors: &mut Vec<ConfigError>,
    ) -> Config {
        let Some(section) = root.section() else { return Config::default() };
        let directory = source.directory.to_string_lossy().into_owned();
        let referenced = std::mem::take(&mut self.referenced);
        let files = Files::new(&directory, &referenced);
        let global_value = section.get("global");
        let global = GlobalConfig::read(global_value.as_ref(), &files, self);
        let validation = global.metric_name_validation;
        let mut jobs = JobNames::new();
        let mut config = Config {
            scrape_configs: self.read_jobs(&section, &global, global_value.as_ref(), &files, &mut jobs),
            remote_write: read_remote_writes(&section, &global, &files),
            rule_files: section
                .items("rule_files")
                .iter()
                .filter_map(|pattern| files.last_element_pattern(pattern, ReferencedFileKind::RuleFiles))
                .collect(),
            alerting: section
                .get("alerting")
                .map(|value| AlertingConfig::read(&value, validation, &files))
                .unwrap_or_default(),
            outrigger: section
                .get("outrigger")
                .map(|value| OutriggerConfig::read(&value, &files, self.environment))
                .unwrap_or_default(),
            global,
        };
        let managers = root.peek("alerting").and_then(|alerting| alerting.peek("alertmanagers"));
        self.alertmanager_places = managers
            .map(|list| list.children().iter().map(|(_, item)| (item.location(), item.key())).collect())
            .unwrap_or_default();
        other_sections::check(&section, validation, &files);
        if source.agent_mode {
            check_agent_mode(root);
        }
        let patterns: Vec<_> = section.items("scrape_config_files");
        for pattern in &patterns {
            let more =
                self.read_scrape_config_files(pattern, &files, &config.global, root, &mut jobs, more_errors);
            config.scrape_configs.extend(more);
        }
        refuse_unknown_clusters(root, &config);
        section.finish(&[
            ("scrape_config", "write scrape_configs, which is a list"),
            ("remote_writes", "write remote_write"),
            ("rules", "write rule_files"),
            ("alertmanagers", "write it below alerting"),
            ("scrape_interval", "write it below global"),
            ("external_labels", "write it below global"),
            ("tsdb", "write it below storage"),
            ("groups", "this looks like a rule file; name it in rule_files"),
            ("version", "this looks like another program's configuration"),
        ]);
        referenced.borrow_mut().append(self.referenced.get_mut());
        self.referenced = referenced;
        config
    }

    fn read_jobs(
        &mut self,
        section: &Section<'_>,
        global: &GlobalConfig,
        global_value: Option<&Cursor<'_>>,
        files: &Files<'_>,
        jobs: &mut JobNames,
    ) -> Vec<Arc<ScrapeConfig>> {
        let escaping = global_value.and_then(|value| value.peek("metric_name_escaping_scheme"));
        let mut read = Vec::new();
        for entry in section.items("scrape_configs") {
            let Some(job) = ScrapeConfig::read(&entry, global, escaping.as_ref(), files) else { continue };
            if let Some(first) = jobs.get(&job.job_name).filter(|_| !job.job_name.is_empty()) {
                let place = entry.peek("job_name").unwrap_or_else(|| entry.clone());
                place.error(
                    format!("the job name {:?} is taken", job.job_name),
                    format!("first used at {first}"),
                );
                continue;
            }
            jobs.insert(job.job_name.clone(), entry.location());
            self.job_places.push((entry.location(), entry.key()));
            read.push(Arc::new(job));
        }
        read
    }

    /// Reads the files that one pattern of `scrape_config_files` matches.
    fn read_scrape_config_files(
        &mut self,
        pattern: &Cursor<'_>,
        files: &Files<'_>,
        global: &GlobalConfig,
        main: &Cursor<'_>,
        jobs: &mut JobNames,
        more_errors: &mut Vec<ConfigError>,
    ) -> Vec<Arc<ScrapeConfig>> {
        let Some(joined) = files.last_element_pattern(pattern, ReferencedFileKind::ScrapeConfigFiles) else {
            return Vec::new();
        };
        // The pattern was checked already.
        let paths = glob(self.access, &joined).unwrap_or_default();
        let mut read = Vec::new();
        for path in paths {
            match self.access.read(Path::new(&path)) {
                Ok(text) => {
                    read.extend(self.read_scrape_config_file(&path, &text, global, main, jobs, more_errors))
                }
                Err(problem) => {
                    pattern.error(format!("{path:?} cannot be read: {problem}"), "make it readable")
                }
            }
        }
        read
    }

    fn read_scrape_config_file(
        &mut self,
        path: &str,
        text: &str,
        global: &GlobalConfig,
        main: &Cursor<'_>,
        jobs: &mut JobNames,
        more_errors: &mut Vec<ConfigError>,
    ) -> Vec<Arc<ScrapeConfig>> {
        let report = Report::new(path);
        let mut read = Vec::new();
        if let Some(root) = parse_into(text, &report).and_then(|document| document.root) {
            let root = Cursor::root(&report, &root);
            if let Some(section) = root.section() {
                let directory = Path::new(path).parent().map(Path::to_string_lossy).unwrap_or_default();
                let found = std::mem::take(&mut self.referenced);
                let files = Files::new(&directory, &found);
                let global_value = main.peek("global");
                read = self.read_jobs(&section, global, global_value.as_ref(), &files, jobs);
                section.finish(&[("global", "only scrape_configs may stand in a scrape configuration file")]);
                self.referenced.borrow_mut().extend(found.into_inner());
            }
            if report.is_clean() {
                not_acted_on::in_scrape_configs(&root, &mut self.notices.borrow_mut());
            }
        }
        more_errors.extend(report.into_errors());
        read
    }
}

/// A discovery that names a cluster which is not configured would find nothing.
fn refuse_unknown_clusters(root: &Cursor<'_>, config: &Config) {
    let jobs = root.peek("scrape_configs").map(|list| list.children()).unwrap_or_default();
    let kinds = jobs.iter().filter_map(|(_, job)| job.peek("kubernetes_sd_configs"));
    for (_, kind) in kinds.flat_map(|list| list.children()) {
        let Some(cluster) = kind.peek("cluster") else { continue };
        let name = cluster.node().text().unwrap_or("");
        if !name.is_empty() && !config.outrigger.clusters.iter().any(|known| known.name == name) {
            cluster.error(format!("there is no cluster {name:?}"), "add it to outrigger.clusters");
        }
    }
}

fn read_remote_writes(
    section: &Section<'_>,
    global: &GlobalConfig,
    files: &Files<'_>,
) -> Vec<Arc<RemoteWriteConfig>> {
    let mut read: Vec<Arc<RemoteWriteConfig>> = Vec::new();
    for entry in section.items("remote_write") {
        let validation = global.metric_name_validation;
        let Some(mut config) = RemoteWriteConfig::read(&entry, validation, files) else { continue };
        let taken = |name: &str| read.iter().any(|earlier| earlier.name == name);
        if taken(&config.name) {
            match entry.peek("name").filter(|name| name.text().is_some_and(|text| !text.is_empty())) {
                Some(name) => {
                    name.error(format!("the name {:?} is taken", config.name), "rename one of the two")
                }
                None => config.name = unique(&config.name, taken),
            }
        }
        read.push(Arc::new(config));
    }
    read
}

/// `name` with the first number behind it that makes it unique.
fn unique(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut candidates = (2..).map(|number: u32| format!("{name}-{number}"));
    candidates.find(|candidate| !taken(candidate)).unwrap_or_default()
}

/// Sections that make no sense for a process that neither stores nor evaluates.
fn check_agent_mode(root: &Cursor<'_>) {
    let filled = |value: &Cursor<'_>| !value.children().is_empty();
    let alerting = root.peek("alerting");
    let in_alerting = |key| alerting.as_ref().and_then(|value| value.peek(key)).filter(filled);
    let refused = [
        in_alerting("alertmanagers").or_else(|| in_alerting("alert_relabel_configs")),
        root.peek("rule_files").filter(filled),
        root.peek("remote_read").filter(filled),
    ];
    for value in refused.into_iter().flatten() {
        value.error("this is not allowed in agent mode", "remove it, or leave agent mode");
    }
}

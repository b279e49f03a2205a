//! What `promtool check config` looks at beyond the file itself: the files that it refers to, and whether its
//! static targets and those of its target files become targets.

use std::path::Path;
use std::time::Duration;

use outrigger_model::duration;
use outrigger_model::labels::{Labels, LabelsBuilder};
use outrigger_model::names::NameValidation;
use outrigger_model::target::TargetGroup;

use super::alerting::AlertmanagerConfig;
use super::discovery::DiscoveryConfig;
use super::files::ReferencedFileKind;
use super::rule_files::check_rule_file;
use super::scrape_config::ScrapeConfig;
use super::target_groups::parse_target_file;
use super::{Loaded, ReferencedFile};
use crate::error::{ConfigError, Location, Notice, Severity};
use crate::file_access::{FileAccess, glob};
use crate::relabel;
use crate::yaml::walk::shorten;

/// What [`check`] found.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// What promtool refuses too, in order of place.
    pub errors: Vec<ConfigError>,
    /// Files that are missing without harm so far.
    pub warnings: Vec<Notice>,
    /// The rule files that `rule_files` names and that exist; their expressions and templates are not looked at.
    pub rule_files: Vec<String>,
}

/// Checks the files that a loaded configuration refers to, and its targets, as `promtool check config` does.
pub fn check(loaded: &Loaded, files: &dyn FileAccess) -> Checked {
    let mut checked = Checked::default();
    for file in &loaded.referenced_files {
        check_file(file, files, &mut checked);
    }
    for path in &checked.rule_files {
        let problems = read(path, files)
            .and_then(|text| check_rule_file(path, &text, NameValidation::Utf8).map_err(|errors| errors.0));
        checked.errors.extend(problems.err().unwrap_or_default());
    }
    for (job, place) in loaded.config.scrape_configs.iter().zip(&loaded.job_places) {
        let populate = |group: &TargetGroup| check_group(group, |target| populate(job, group, target));
        check_targets(&job.discovery, place, loaded, files, &populate, &mut checked.errors);
    }
    for (manager, place) in loaded.config.alerting.alertmanagers.iter().zip(&loaded.alertmanager_places) {
        let populate =
            |group: &TargetGroup| check_group(group, |target| alertmanager(manager, group, target));
        check_targets(&manager.discovery, place, loaded, files, &populate, &mut checked.errors);
    }
    checked.errors.sort_by(|a, b| a.location.cmp(&b.location));
    checked
}

fn check_file(file: &ReferencedFile, files: &dyn FileAccess, checked: &mut Checked) {
    let in_job = file.key.starts_with("scrape_configs[");
    let required = match file.kind {
        ReferencedFileKind::RuleFiles => {
            let found = glob(files, &file.path).unwrap_or_default();
            let missing = found.is_empty() && !file.path.contains('*');
            checked.rule_files.extend(found);
            if !missing {
                return;
            }
            true
        }
        ReferencedFileKind::TargetFiles => {
            if glob(files, &file.path).is_ok_and(|found| found.is_empty()) {
                checked.warnings.push(warning(file, "no target file of this name exists yet"));
            }
            return;
        }
        ReferencedFileKind::ScrapeConfigFiles => return,
        ReferencedFileKind::StateMetrics => true,
        ReferencedFileKind::TlsCertificate | ReferencedFileKind::TlsKey => {
            in_job && checked_by_promtool(&file.key)
        }
        ReferencedFileKind::Secret => in_job && is_token_of_job(&file.key),
        ReferencedFileKind::TlsCa | ReferencedFileKind::Kubeconfig => false,
    };
    if files.exists(Path::new(&file.path)) {
        return;
    }
    match required {
        true => checked.errors.push(ConfigError {
            location: file.location.clone(),
            key: file.key.clone(),
            message: format!("{:?} does not exist", file.path),
            fix: "create it or correct the path".to_owned(),
        }),
        false => checked.warnings.push(warning(file, &format!("{:?} does not exist", file.path))),
    }
}

/// promtool looks at the TLS files of a job itself and of its Kubernetes discovery, not of others.
fn checked_by_promtool(key: &str) -> bool {
    let within_oauth2 = key.contains(".oauth2.");
    let within_discovery = key.contains("_sd_configs[") && !key.contains(".kubernetes_sd_configs[");
    !within_oauth2 && !within_discovery
}

/// promtool looks at the token of a job itself, not at other secrets.
fn is_token_of_job(key: &str) -> bool {
    let token = key.ends_with(".authorization.credentials_file") || key.ends_with(".bearer_token_file");
    token && !key.contains("_sd_configs[")
}

fn warning(file: &ReferencedFile, reason: &str) -> Notice {
    let (location, key) = (file.location.clone(), file.key.clone());
    Notice { location, key, severity: Severity::WarnOnce, reason: reason.to_owned() }
}

/// Checks static targets, and those in target files that exist.
fn check_targets(
    discovery: &[DiscoveryConfig],
    place: &(Location, String),
    loaded: &Loaded,
    files: &dyn FileAccess,
    populate: &dyn Fn(&TargetGroup) -> Vec<String>,
    errors: &mut Vec<ConfigError>,
) {
    for source in discovery {
        match source {
            DiscoveryConfig::Static(groups) => {
                let key = format!("{}.static_configs", place.1);
                let problems = groups.iter().flat_map(populate);
                errors.extend(problems.map(|message| target_error(&place.0, &key, message)));
            }
            DiscoveryConfig::File(file_sd) => {
                let of_job = |file: &&ReferencedFile| {
                    file.kind == ReferencedFileKind::TargetFiles && file.key.starts_with(&place.1)
                };
                let named = loaded.referenced_files.iter().find(of_job);
                let (location, key) = named.map_or((&place.0, &place.1), |file| (&file.location, &file.key));
                for path in file_sd.files.iter().flat_map(|pattern| glob(files, pattern).unwrap_or_default())
                {
                    match read_groups(&path, files) {
                        Ok(groups) => {
                            errors.extend(groups.iter().flat_map(populate).map(|message| {
                                target_error(location, key, format!("in {path:?}: {message}"))
                            }))
                        }
                        Err(problems) => errors.extend(problems),
                    }
                }
            }
            DiscoveryConfig::Http(_) | DiscoveryConfig::Kubernetes(_) | DiscoveryConfig::Unsupported(_) => {}
        }
    }
}

fn target_error(location: &Location, key: &str, message: String) -> ConfigError {
    let fix = "correct the target or the relabelling rules".to_owned();
    ConfigError { location: location.clone(), key: key.to_owned(), message, fix }
}

fn read_groups(path: &str, files: &dyn FileAccess) -> Result<Vec<TargetGroup>, Vec<ConfigError>> {
    parse_target_file(path, &read(path, files)?).map_err(|errors| errors.0)
}

fn read(path: &str, files: &dyn FileAccess) -> Result<String, Vec<ConfigError>> {
    files.read(Path::new(path)).map_err(|problem| {
        vec![ConfigError {
            location: Location { path: path.into(), line: 0, column: 0 },
            key: String::new(),
            message: format!("the file cannot be read: {problem}"),
            fix: "make it readable".to_owned(),
        }]
    })
}

fn check_group(group: &TargetGroup, populate: impl Fn(&Labels) -> Result<(), String>) -> Vec<String> {
    let problem = |target: &Labels| {
        let address = target.get("__address__").unwrap_or("");
        populate(target).err().map(|problem| format!("the target {}: {problem}", shorten(address)))
    };
    group.targets.iter().filter_map(problem).collect()
}

/// Whether a target of a job can be scraped or is dropped (Prometheus `scrape.PopulateLabels`).
fn populate(job: &ScrapeConfig, group: &TargetGroup, target: &Labels) -> Result<(), String> {
    let mut labels = joined(group, target);
    labels.set_default("job", &job.job_name);
    labels.set_default("__scrape_interval__", &duration::format(job.scrape_interval));
    labels.set_default("__scrape_timeout__", &duration::format(job.scrape_timeout));
    labels.set_default("__metrics_path__", &job.metrics_path);
    labels.set_default("__scheme__", &job.scheme);
    for (name, values) in &job.params {
        if let Some(value) = values.first() {
            labels.set(&format!("__param_{name}"), value);
        }
    }
    if !relabel::apply(&job.relabel, &mut labels) {
        return Ok(());
    }
    let address = labels.get("__address__");
    if address.is_empty() {
        return Err("it has no address after relabelling".to_owned());
    }
    check_address(address)?;
    let interval = positive_duration(labels.get("__scrape_interval__"), "scrape interval")?;
    let timeout = positive_duration(labels.get("__scrape_timeout__"), "scrape timeout")?;
    if timeout > interval {
        return Err("its scrape timeout is greater than its scrape interval".to_owned());
    }
    const BOOLEANS: [&str; 3] = [
        "__scrape_native_histograms__",
        "__always_scrape_classic_histograms__",
        "__convert_classic_histograms_to_nhcb__",
    ];
    let go_booleans = ["", "1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];
    match BOOLEANS.into_iter().find(|name| !go_booleans.contains(&labels.get(name))) {
        Some(name) => Err(format!("its label {name} is neither true nor false")),
        None => Ok(()),
    }
}

/// Whether an Alertmanager has an address (Prometheus `notifier.AlertmanagerFromGroup`).
fn alertmanager(manager: &AlertmanagerConfig, group: &TargetGroup, target: &Labels) -> Result<(), String> {
    let mut labels = joined(group, target);
    labels.set_default("__scheme__", &manager.scheme);
    let prefix = manager.path_prefix.trim_matches('/');
    let separator = if prefix.is_empty() { "" } else { "/" };
    labels.set_default("__alerts_path__", &format!("{separator}{prefix}/api/v2/alerts"));
    match relabel::apply(&manager.relabel, &mut labels) {
        true => check_address(labels.get("__address__")),
        false => Ok(()),
    }
}

/// The group's labels with the target's own over them.
fn joined(group: &TargetGroup, target: &Labels) -> LabelsBuilder {
    let mut labels = LabelsBuilder::from_labels(&group.labels);
    for (name, value) in target {
        labels.set(name, value);
    }
    labels
}

fn check_address(address: &str) -> Result<(), String> {
    match address.contains('/') {
        true => Err(format!("{} is not a host name", shorten(address))),
        false => Ok(()),
    }
}

fn positive_duration(text: &str, what: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(value) if value.is_zero() => Err(format!("its {what} is 0")),
        Ok(value) => Ok(value),
        Err(_) => Err(format!("its {what} {} is not a duration", shorten(text))),
    }
}

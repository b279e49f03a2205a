//! Where targets come from: static, file and HTTP discovery; the kinds that are only known by name.

use std::time::Duration;

use outrigger_model::http::HttpClientConfig;
use outrigger_model::target::TargetGroup;

use super::files::{Files, ReferencedFileKind, star_in_last_element};
use super::kubernetes_sd::KubernetesSd;
use super::{http_client, other_discovery, target_groups};
use crate::file_access::matches_pattern;
use crate::go_url;
use crate::yaml::walk::{Cursor, Section};

/// One source of targets.
#[derive(Debug, Clone, PartialEq)]
pub enum DiscoveryConfig {
    /// `static_configs`, all of the job's groups; the source of group `n` is `n` in decimal.
    Static(Vec<TargetGroup>),
    /// One entry of `file_sd_configs`.
    File(FileSd),
    /// One entry of `http_sd_configs`.
    Http(HttpSd),
    /// One entry of `kubernetes_sd_configs`.
    Kubernetes(KubernetesSd),
    /// One entry of another kind, for example `consul_sd_configs`; `run` refuses it.
    Unsupported(&'static str),
}

/// `file_sd_configs` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSd {
    /// `files`: patterns that end in `.json`, `.yml` or `.yaml`, joined to the configuration's directory;
    /// a `*` stands only in the last path element.
    pub files: Vec<String>,
    /// `refresh_interval`, 5 minutes.
    pub refresh_interval: Duration,
}

impl FileSd {
    /// Discovery from `files` with Prometheus' defaults.
    pub fn new(files: Vec<String>) -> Self {
        Self { files, refresh_interval: Duration::from_secs(300) }
    }
}

/// `http_sd_configs` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSd {
    /// `url`, `http` or `https` with a host.
    pub url: String,
    /// `refresh_interval`, 1 minute.
    pub refresh_interval: Duration,
    /// How the URL is reached.
    pub http: HttpClientConfig,
}

impl HttpSd {
    /// Discovery from `url` with Prometheus' defaults.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            refresh_interval: Duration::from_secs(60),
            http: HttpClientConfig::default(),
        }
    }
}

/// Reads the discovery keys that stand inline in `section`. With `check_addresses`, a static target that is a
/// URL is an error; relabelling could still make an address of it.
pub(super) fn read(section: &Section<'_>, check_addresses: bool, files: &Files<'_>) -> Vec<DiscoveryConfig> {
    let mut found = Vec::new();
    let groups: Vec<TargetGroup> = entries(section, "static_configs")
        .iter()
        .enumerate()
        .filter_map(|(index, entry)| target_groups::read(entry, index, check_addresses))
        .collect();
    if !groups.is_empty() {
        found.push(DiscoveryConfig::Static(groups));
    }
    let of = |name, read: &dyn Fn(&Cursor<'_>) -> Option<DiscoveryConfig>| -> Vec<DiscoveryConfig> {
        entries(section, name).iter().filter_map(read).collect()
    };
    found.extend(of("file_sd_configs", &|entry| file_sd(entry, files).map(DiscoveryConfig::File)));
    found.extend(of("http_sd_configs", &|entry| http_sd(entry, files).map(DiscoveryConfig::Http)));
    let kubernetes = |entry: &Cursor<'_>| KubernetesSd::read(entry, files).map(DiscoveryConfig::Kubernetes);
    found.extend(of("kubernetes_sd_configs", &kubernetes));
    for kind in other_discovery::keys() {
        let other = |entry: &Cursor<'_>| {
            other_discovery::check(kind, entry, files).then_some(DiscoveryConfig::Unsupported(kind))
        };
        found.extend(of(kind, &other));
    }
    found
}

/// The entries of a discovery list, none of which may be empty.
fn entries<'a>(section: &Section<'a>, name: &'static str) -> Vec<Cursor<'a>> {
    let (empty, filled): (Vec<_>, Vec<_>) = section.items(name).into_iter().partition(Cursor::is_null);
    for entry in empty {
        entry.error(format!("the entry of {name} is empty"), "remove the entry or fill it in");
    }
    filled
}

fn file_sd(value: &Cursor<'_>, files: &Files<'_>) -> Option<FileSd> {
    let section = value.section()?;
    let listed = section.items("files");
    if listed.is_empty() {
        section.error_at("files", "no file is named", "add files, a list of patterns such as targets/*.yml");
    }
    let patterns = listed.iter().filter_map(|file| file_pattern(file, files)).collect();
    let refresh = section.duration("refresh_interval");
    section.finish(&[("names", "write files"), ("file", "write files, which is a list")]);
    let mut config = FileSd::new(patterns);
    config.refresh_interval = refresh.unwrap_or(config.refresh_interval);
    Some(config)
}

/// `^[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)$`
fn file_pattern(value: &Cursor<'_>, files: &Files<'_>) -> Option<String> {
    let text = value.text()?;
    let known = ["json", "yml", "yaml", "JSON", "YML", "YAML"];
    let suffix = text.rsplit_once('.').is_some_and(|(_, suffix)| known.contains(&suffix));
    if !suffix {
        let fix = "give the file the suffix .json, .yml or .yaml";
        value.error(format!("{} is not a name for a target file", value.shown()), fix);
        return None;
    }
    if !star_in_last_element(text) {
        value.error(format!("{} has a * before its last /", value.shown()), "use * only in the file's name");
        return None;
    }
    if matches_pattern(text, "").is_err() {
        let fix = "close the [ with ], or escape it with a backslash";
        value.error(format!("{} is not a file pattern", value.shown()), fix);
        return None;
    }
    files.pattern(value, ReferencedFileKind::TargetFiles)
}

fn http_sd(value: &Cursor<'_>, files: &Files<'_>) -> Option<HttpSd> {
    let section = value.section()?;
    let http = http_client::read(&section, &HttpClientConfig::default(), files).config;
    let url = section.get("url").filter(|value| value.text() != Some(""));
    if url.is_none() {
        section.error_at("url", "url is missing", "add url, for example http://discovery:8080/targets");
    }
    let url = url.and_then(|value| http_url(&value));
    let refresh = section.duration("refresh_interval");
    section.finish(&http_client::RETIRED);
    let mut config = HttpSd::new(&url?);
    config.http = http;
    config.refresh_interval = refresh.unwrap_or(config.refresh_interval);
    Some(config)
}

/// An absolute `http` or `https` URL.
fn http_url(value: &Cursor<'_>) -> Option<String> {
    let text = http_client::checked_url(value)?;
    let url = go_url::parse(&text).ok()?;
    if !matches!(url.scheme.as_str(), "http" | "https") {
        value.error(
            "the URL's scheme must be http or https",
            "write for example http://discovery:8080/targets",
        );
        return None;
    }
    if url.host.is_empty() {
        value.error("the URL has no host", "write for example http://discovery:8080/targets");
        return None;
    }
    Some(text)
}

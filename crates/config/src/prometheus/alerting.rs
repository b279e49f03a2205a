//! `alerting`: parsed and checked, acted on by a later part.

use std::time::Duration;

use outrigger_model::http::{HttpAuth, HttpClientConfig};
use outrigger_model::names::NameValidation;

use super::discovery::{self, DiscoveryConfig};
use super::files::Files;
use super::{cloud_auth, http_client, relabel_rules};
use crate::relabel::RelabelRule;
use crate::yaml::walk::Cursor;

/// `alerting`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AlertingConfig {
    /// `alert_relabel_configs`.
    pub alert_relabel: Vec<RelabelRule>,
    /// `alertmanagers`.
    pub alertmanagers: Vec<AlertmanagerConfig>,
}

/// One set of Alertmanagers; the API version is always v2.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertmanagerConfig {
    /// `scheme`, `http`.
    pub scheme: String,
    /// `path_prefix`, none.
    pub path_prefix: String,
    /// `timeout`, 10 seconds.
    pub timeout: Duration,
    /// How they are reached, `sigv4` included.
    pub http: HttpClientConfig,
    /// `relabel_configs`, of the Alertmanagers found.
    pub relabel: Vec<RelabelRule>,
    /// `alert_relabel_configs`, of alerts sent to these.
    pub alert_relabel: Vec<RelabelRule>,
    /// Where they come from.
    pub discovery: Vec<DiscoveryConfig>,
}

impl AlertingConfig {
    pub(super) fn read(value: &Cursor<'_>, validation: NameValidation, files: &Files<'_>) -> Self {
        let Some(section) = value.section() else { return Self::default() };
        let managers = section.items("alertmanagers");
        let config = Self {
            alert_relabel: relabel_rules::read(&section, "alert_relabel_configs", validation),
            alertmanagers: managers
                .iter()
                .filter_map(|value| AlertmanagerConfig::read(value, validation, files))
                .collect(),
        };
        section.finish(&[("alertmanager", "write alertmanagers, which is a list")]);
        config
    }
}

impl AlertmanagerConfig {
    fn read(value: &Cursor<'_>, validation: NameValidation, files: &Files<'_>) -> Option<Self> {
        if value.is_null() {
            value.error("the Alertmanager configuration is empty", "remove the entry or fill it in");
            return None;
        }
        let section = value.section()?;
        let http = http_client::read(&section, &HttpClientConfig::default(), files);
        let cloud = cloud_auth::read(&section, &http.auth_keys, &["sigv4"], files);
        let mut http_config = http.config;
        http_config.auth = http_config.auth.or(cloud.map(|cloud| HttpAuth::Cloud(Box::new(cloud))));
        let relabels = section.get("relabel_configs").is_some_and(|list| !list.items().is_empty());
        if let Some(version) = section.get("api_version").filter(|value| !value.is_absent())
            && version.text() != Some("v2")
        {
            version.error(format!("{} is not an Alertmanager API version", version.shown()), "write v2");
        }
        let config = Self {
            scheme: section.text("scheme").unwrap_or("http").to_owned(),
            path_prefix: section.owned_text("path_prefix"),
            timeout: section.duration("timeout").unwrap_or(Duration::from_secs(10)),
            http: http_config,
            relabel: relabel_rules::read(&section, "relabel_configs", validation),
            alert_relabel: relabel_rules::read(&section, "alert_relabel_configs", validation),
            discovery: discovery::read(&section, !relabels, files),
        };
        section.finish(&[("targets", "write static_configs with a list of targets")]);
        Some(config)
    }
}

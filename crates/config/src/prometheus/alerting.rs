//! `alerting`: parsed and checked, acted on by a later part.

use std::time::Duration;

use outrigger_model::http::HttpClientConfig;

use super::discovery::DiscoveryConfig;
use super::remote_write::CloudAuth;
use crate::relabel::RelabelRule;

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
    /// How they are reached.
    pub http: HttpClientConfig,
    /// `sigv4`.
    pub cloud_auth: Option<CloudAuth>,
    /// `relabel_configs`, of the Alertmanagers found.
    pub relabel: Vec<RelabelRule>,
    /// `alert_relabel_configs`, of alerts sent to these.
    pub alert_relabel: Vec<RelabelRule>,
    /// Where they come from.
    pub discovery: Vec<DiscoveryConfig>,
}

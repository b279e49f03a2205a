//! `outrigger.state_metrics`: what kube-state-metrics says, from the same watches as discovery.

use std::path::PathBuf;
use std::time::Duration;

use outrigger_model::labels::Labels;

use super::centre::at_least;
use crate::prometheus::files::{Files, ReferencedFileKind};
use crate::yaml::walk::Section;

/// `outrigger.state_metrics`.
#[derive(Debug, Clone, PartialEq)]
pub struct StateMetricsConfig {
    /// `cluster`: one of `outrigger.clusters`; the one of `outrigger.kubernetes` when absent.
    pub cluster: Option<String>,
    /// `config_file`: kube-state-metrics' own configuration file; its defaults when absent.
    pub config_file: Option<PathBuf>,
    /// `push`: what is handed to remote write; nothing when absent.
    pub push: Option<StatePush>,
}

/// `outrigger.state_metrics.push`: straight to the receivers of `remote_write`, without a scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct StatePush {
    /// `interval` at which every sample is sent, 30 seconds; at least 1. With `changes_only` it has no meaning.
    pub interval: Duration,
    /// `changes_only`: what changes at once, the rest each `refresh_interval`.
    pub changes_only: bool,
    /// `refresh_interval`, 4 minutes; less than the 5 minutes after which a series is stale.
    pub refresh_interval: Duration,
    /// `job`, `kube-state-metrics`.
    pub job: String,
    /// `labels` of all series, beside `job` and `instance`.
    pub labels: Labels,
}

/// A series that is not heard of for this time is stale to Prometheus (`--query.lookback-delta`).
const LOOKBACK: Duration = Duration::from_secs(300);

impl StateMetricsConfig {
    pub(super) fn read(section: Section<'_>, files: &Files<'_>) -> Self {
        let config = Self {
            cluster: section.get("cluster").and_then(|value| value.text().map(str::to_owned)),
            config_file: section
                .get("config_file")
                .and_then(|value| files.path(&value, ReferencedFileKind::StateMetrics)),
            push: section.section("push").map(StatePush::read),
        };
        section.finish(&[
            ("resources", "write it in kube-state-metrics' configuration file and name that as config_file"),
            ("remote_write", "write push"),
        ]);
        config
    }
}

impl StatePush {
    fn read(section: Section<'_>) -> Self {
        let labels = section.get("labels").map(|value| value.text_map()).unwrap_or_default();
        let refresh = section.duration("refresh_interval").filter(|refresh| {
            let usable = *refresh >= Duration::from_secs(10) && *refresh < LOOKBACK;
            if !usable {
                section.error_at(
                    "refresh_interval",
                    format!("{} s does not keep series alive", refresh.as_secs_f64()),
                    "write at least 10s and less than 5m, after which a series counts as stale".to_owned(),
                );
            }
            usable
        });
        let job = section.owned_text("job");
        let config = Self {
            interval: at_least(&section, "interval", Duration::from_secs(1))
                .unwrap_or(Duration::from_secs(30)),
            changes_only: section.boolean("changes_only").unwrap_or(false),
            refresh_interval: refresh.unwrap_or(Duration::from_secs(240)),
            job: if job.is_empty() { "kube-state-metrics".to_owned() } else { job },
            labels: Labels::from_pairs(labels),
        };
        section.finish(&[("external_labels", "write labels"), ("refresh", "write refresh_interval")]);
        config
    }
}

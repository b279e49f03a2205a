//! `outrigger.self_metrics`: where a process sends its own metrics.

use std::sync::Arc;
use std::time::Duration;

use outrigger_model::labels::Labels;
use outrigger_model::names::NameValidation;

use super::centre::at_least;
use crate::prometheus::files::Files;
use crate::prometheus::remote_write::RemoteWriteConfig;
use crate::yaml::walk::Section;

/// `outrigger.self_metrics`.
#[derive(Debug, Clone, PartialEq)]
pub struct SelfMetricsConfig {
    /// `interval`, 15 seconds; at least 1.
    pub interval: Duration,
    /// `labels` of all series, beside `job`, `instance` and `role`.
    pub labels: Labels,
    /// `remote_write`: receivers of these metrics alone, so that they arrive when the others' receiver is down.
    pub remote_write: Vec<Arc<RemoteWriteConfig>>,
}

impl SelfMetricsConfig {
    pub(super) fn read(section: Section<'_>, files: &Files<'_>) -> Self {
        let remote_write = section.items("remote_write");
        let remote_write = remote_write
            .iter()
            .filter_map(|value| RemoteWriteConfig::read(value, NameValidation::Utf8, files))
            .map(Arc::new)
            .collect();
        let labels = section.get("labels").map(|value| value.text_map()).unwrap_or_default();
        let config = Self {
            interval: at_least(&section, "interval", Duration::from_secs(1))
                .unwrap_or(Duration::from_secs(15)),
            labels: Labels::from_pairs(labels),
            remote_write,
        };
        section.finish(&[("external_labels", "write labels"), ("url", "write it below remote_write")]);
        config
    }
}

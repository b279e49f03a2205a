//! `global`: defaults for the other sections.

use std::path::PathBuf;
use std::time::Duration;

use outrigger_model::labels::Labels;
use outrigger_model::names::NameValidation;

use super::scrape_config::{EscapingScheme, ScrapeProtocol};

/// `global`. What a scrape configuration does not set itself is already filled in there.
#[derive(Debug, Clone, PartialEq)]
pub struct GlobalConfig {
    /// `scrape_interval`, 1 minute.
    pub scrape_interval: Duration,
    /// `scrape_timeout`, 10 seconds but at most the interval.
    pub scrape_timeout: Duration,
    /// `scrape_protocols`, when set.
    pub scrape_protocols: Option<Vec<ScrapeProtocol>>,
    /// `evaluation_interval`, 1 minute.
    pub evaluation_interval: Duration,
    /// `rule_query_offset`, 0.
    pub rule_query_offset: Duration,
    /// `external_labels`, environment variables already expanded.
    pub external_labels: Labels,
    /// `scrape_failure_log_file`.
    pub scrape_failure_log_file: Option<PathBuf>,
    /// `body_size_limit` in bytes; 0 is none.
    pub body_size_limit: u64,
    /// `sample_limit`; 0 is none.
    pub sample_limit: u64,
    /// `target_limit`; 0 is none.
    pub target_limit: u64,
    /// `label_limit`; 0 is none.
    pub label_limit: u64,
    /// `label_name_length_limit` in bytes; 0 is none.
    pub label_name_length_limit: u64,
    /// `label_value_length_limit` in bytes; 0 is none.
    pub label_value_length_limit: u64,
    /// `keep_dropped_targets`; 0 is no limit.
    pub keep_dropped_targets: u64,
    /// `metric_name_validation_scheme`, `utf8`.
    pub metric_name_validation: NameValidation,
    /// `metric_name_escaping_scheme`, when set.
    pub metric_name_escaping: Option<EscapingScheme>,
    /// `scrape_native_histograms`, false.
    pub scrape_native_histograms: bool,
    /// `convert_classic_histograms_to_nhcb`, false.
    pub convert_classic_histograms_to_nhcb: bool,
    /// `always_scrape_classic_histograms`, false.
    pub always_scrape_classic_histograms: bool,
    /// `extra_scrape_metrics`, false.
    pub extra_scrape_metrics: bool,
}

impl Default for GlobalConfig {
    fn default() -> Self {
        Self {
            scrape_interval: Duration::from_secs(60),
            scrape_timeout: Duration::from_secs(10),
            scrape_protocols: None,
            evaluation_interval: Duration::from_secs(60),
            rule_query_offset: Duration::ZERO,
            external_labels: Labels::empty(),
            scrape_failure_log_file: None,
            body_size_limit: 0,
            sample_limit: 0,
            target_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            keep_dropped_targets: 0,
            metric_name_validation: NameValidation::Utf8,
            metric_name_escaping: None,
            scrape_native_histograms: false,
            convert_classic_histograms_to_nhcb: false,
            always_scrape_classic_histograms: false,
            extra_scrape_metrics: false,
        }
    }
}

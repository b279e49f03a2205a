//! `scrape_configs`: one job each.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use outrigger_model::http::HttpClientConfig;
use outrigger_model::names::NameValidation;

use super::discovery::DiscoveryConfig;
use crate::relabel::RelabelRule;

/// A format that a target may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScrapeProtocol {
    /// `PrometheusProto`: delimited `io.prometheus.client.MetricFamily`.
    PrometheusProto,
    /// `PrometheusText0.0.4`.
    PrometheusText004,
    /// `PrometheusText1.0.0`: 0.0.4 with quoted UTF-8 names.
    PrometheusText100,
    /// `OpenMetricsText0.0.1`.
    OpenMetricsText001,
    /// `OpenMetricsText1.0.0`.
    OpenMetricsText100,
    /// `OpenMetricsText2.0.0`.
    OpenMetricsText200,
}

impl ScrapeProtocol {
    /// Every protocol, in order of name.
    pub const ALL: [ScrapeProtocol; 6] = [
        ScrapeProtocol::OpenMetricsText001,
        ScrapeProtocol::OpenMetricsText100,
        ScrapeProtocol::OpenMetricsText200,
        ScrapeProtocol::PrometheusProto,
        ScrapeProtocol::PrometheusText004,
        ScrapeProtocol::PrometheusText100,
    ];

    /// What is asked for when nothing is configured, most wanted first.
    pub const DEFAULT: [ScrapeProtocol; 4] = [
        ScrapeProtocol::OpenMetricsText100,
        ScrapeProtocol::OpenMetricsText001,
        ScrapeProtocol::PrometheusText100,
        ScrapeProtocol::PrometheusText004,
    ];

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            ScrapeProtocol::PrometheusProto => "PrometheusProto",
            ScrapeProtocol::PrometheusText004 => "PrometheusText0.0.4",
            ScrapeProtocol::PrometheusText100 => "PrometheusText1.0.0",
            ScrapeProtocol::OpenMetricsText001 => "OpenMetricsText0.0.1",
            ScrapeProtocol::OpenMetricsText100 => "OpenMetricsText1.0.0",
            ScrapeProtocol::OpenMetricsText200 => "OpenMetricsText2.0.0",
        }
    }

    /// The protocol of this (case-sensitive) name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.as_str() == name)
    }
}

/// How a target is asked to write names that are not legacy names (`metric_name_escaping_scheme`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EscapingScheme {
    /// `allow-utf-8`: as they are.
    AllowUtf8,
    /// `underscores`: each other character becomes `_`.
    Underscores,
    /// `dots`: dots become `_dot_`.
    Dots,
    /// `values`: `U__` and hexadecimal code points.
    Values,
}

impl EscapingScheme {
    /// Every scheme.
    pub const ALL: [EscapingScheme; 4] = [
        EscapingScheme::AllowUtf8,
        EscapingScheme::Underscores,
        EscapingScheme::Dots,
        EscapingScheme::Values,
    ];

    /// The name in the configuration and in the `Accept` header.
    pub fn as_str(self) -> &'static str {
        match self {
            EscapingScheme::AllowUtf8 => "allow-utf-8",
            EscapingScheme::Underscores => "underscores",
            EscapingScheme::Dots => "dots",
            EscapingScheme::Values => "values",
        }
    }

    /// The scheme of this (case-sensitive) name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.as_str() == name)
    }
}

/// One scrape job, with everything it inherits from `global` filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct ScrapeConfig {
    /// `job_name`, never empty.
    pub job_name: Arc<str>,
    /// `scrape_interval`, never zero.
    pub scrape_interval: Duration,
    /// `scrape_timeout`, never zero, at most the interval.
    pub scrape_timeout: Duration,
    /// `metrics_path`, `/metrics`.
    pub metrics_path: String,
    /// `scheme`, `http`.
    pub scheme: String,
    /// `params`, sorted by name.
    pub params: Vec<(String, Vec<String>)>,
    /// `honor_labels`, false.
    pub honor_labels: bool,
    /// `honor_timestamps`, true.
    pub honor_timestamps: bool,
    /// `track_timestamps_staleness`, false.
    pub track_timestamps_staleness: bool,
    /// `scrape_protocols`, most wanted first, never empty.
    pub scrape_protocols: Vec<ScrapeProtocol>,
    /// `fallback_scrape_protocol`, for targets that do not say what they send.
    pub fallback_scrape_protocol: Option<ScrapeProtocol>,
    /// `enable_compression`, true.
    pub enable_compression: bool,
    /// `extra_scrape_metrics`, false.
    pub extra_scrape_metrics: bool,
    /// `body_size_limit` in bytes, uncompressed; 0 is none.
    pub body_size_limit: u64,
    /// `sample_limit` after metric relabelling; 0 is none.
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
    /// `metric_name_escaping_scheme`, `allow-utf-8`.
    pub metric_name_escaping: EscapingScheme,
    /// `scrape_native_histograms`, false.
    pub scrape_native_histograms: bool,
    /// `convert_classic_histograms_to_nhcb`, false.
    pub convert_classic_histograms_to_nhcb: bool,
    /// `always_scrape_classic_histograms`, false.
    pub always_scrape_classic_histograms: bool,
    /// `native_histogram_bucket_limit`; 0 is none.
    pub native_histogram_bucket_limit: u64,
    /// `native_histogram_min_bucket_factor`; 0 is none.
    pub native_histogram_min_bucket_factor: f64,
    /// `scrape_failure_log_file`.
    pub scrape_failure_log_file: Option<PathBuf>,
    /// How targets are reached.
    pub http: HttpClientConfig,
    /// `relabel_configs`, of targets.
    pub relabel: Vec<RelabelRule>,
    /// `metric_relabel_configs`, of samples.
    pub metric_relabel: Vec<RelabelRule>,
    /// Where targets come from, in the order of the file; `static_configs` are one entry.
    pub discovery: Vec<DiscoveryConfig>,
}

impl ScrapeConfig {
    /// A job with Prometheus' defaults and no targets.
    pub fn new(job_name: &str) -> Self {
        Self {
            job_name: job_name.into(),
            scrape_interval: Duration::from_secs(60),
            scrape_timeout: Duration::from_secs(10),
            metrics_path: "/metrics".to_owned(),
            scheme: "http".to_owned(),
            params: Vec::new(),
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            scrape_protocols: ScrapeProtocol::DEFAULT.to_vec(),
            fallback_scrape_protocol: None,
            enable_compression: true,
            extra_scrape_metrics: false,
            body_size_limit: 0,
            sample_limit: 0,
            target_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            keep_dropped_targets: 0,
            metric_name_validation: NameValidation::Utf8,
            metric_name_escaping: EscapingScheme::AllowUtf8,
            scrape_native_histograms: false,
            convert_classic_histograms_to_nhcb: false,
            always_scrape_classic_histograms: false,
            native_histogram_bucket_limit: 0,
            native_histogram_min_bucket_factor: 0.0,
            scrape_failure_log_file: None,
            http: HttpClientConfig::default(),
            relabel: Vec::new(),
            metric_relabel: Vec::new(),
            discovery: Vec::new(),
        }
    }
}

//! `scrape_configs`: one job each.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use outrigger_model::duration;
use outrigger_model::http::HttpClientConfig;
use outrigger_model::names::NameValidation;

use super::discovery::{self, DiscoveryConfig};
use super::files::Files;
use super::global::{GlobalConfig, not_zero};
use super::{http_client, relabel_rules};
use crate::relabel::RelabelRule;
use crate::yaml::walk::{Cursor, Section, one_of_fix};

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

/// When within its interval a target is scraped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScrapePhase {
    /// Each target at a time of its own, as in Prometheus.
    #[default]
    Spread,
    /// `scrape_align_interval`, positive: at whole multiples of this on the wall clock.
    Aligned(Duration),
    /// `scrape_offset`: this long after whole multiples of the scrape interval on the wall clock.
    Offset(Duration),
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
    /// `scrape_offset` or `scrape_align_interval`, of vmagent.
    pub phase: ScrapePhase,
    /// `series_limit`, of vmagent: most series of one target in 24 hours; 0 is none.
    pub series_limit: u64,
    /// `start_timestamps`: since when a counter, histogram or summary has counted, where the target says so, goes with its
    /// samples by remote write 2.0, and `x_created` of OpenMetrics is no series (Prometheus' feature `st-storage`).
    pub start_timestamps: bool,
    /// `job_series_limit`: most series of all targets of the job in 24 hours; 0 is none.
    pub job_series_limit: u64,
    /// `no_stale_markers`, of vmagent, false.
    pub no_stale_markers: bool,
    /// `disable_keepalive`, of vmagent, false: every scrape has a connection of its own.
    pub disable_keepalive: bool,
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
            phase: ScrapePhase::Spread,
            series_limit: 0,
            start_timestamps: false,
            job_series_limit: 0,
            no_stale_markers: false,
            disable_keepalive: false,
            http: HttpClientConfig::default(),
            relabel: Vec::new(),
            metric_relabel: Vec::new(),
            discovery: Vec::new(),
        }
    }
}

/// Advice for keys of older versions, of other agents, and of other sections.
const RETIRED: [(&str, &str); 6] = [
    ("target_groups", "write static_configs"),
    ("targets", "write static_configs with a list of targets"),
    ("labels", "write it beside targets in an entry of static_configs"),
    ("scrape_classic_histograms", "write always_scrape_classic_histograms"),
    ("headers", "write http_headers, with a list of values for each header"),
    ("insecure_skip_verify", "write it below tls_config"),
];

impl ScrapeConfig {
    /// Reads one entry of `scrape_configs`. `None` when it has no usable job name.
    pub(super) fn read(
        value: &Cursor<'_>,
        global: &GlobalConfig,
        escaping: Option<&Cursor<'_>>,
        files: &Files<'_>,
    ) -> Option<Self> {
        if value.is_null() {
            value.error("the scrape configuration is empty", "remove the entry or fill it in");
            return None;
        }
        let section = value.section()?;
        let job_name = section.text("job_name").unwrap_or("");
        if job_name.is_empty() {
            section.error_at("job_name", "job_name is empty", "add job_name; it becomes the label job");
        }
        let mut config = Self::new(job_name);
        config.read_request(&section, files);
        config.read_limits(&section, global);
        config.read_extensions(&section);
        config.read_formats(&section, global, escaping);
        config.scrape_failure_log_file = section
            .get("scrape_failure_log_file")
            .and_then(|value| files.output(&value))
            .or_else(|| global.scrape_failure_log_file.clone());
        config.relabel = relabel_rules::read(&section, "relabel_configs", config.metric_name_validation);
        config.metric_relabel =
            relabel_rules::read(&section, "metric_relabel_configs", config.metric_name_validation);
        let relabels = section.get("relabel_configs").is_some_and(|list| !list.items().is_empty());
        config.discovery = discovery::read(&section, !relabels, files);
        section.finish(&RETIRED);
        Some(config)
    }

    fn read_request(&mut self, section: &Section<'_>, files: &Files<'_>) {
        if let Some(text) = section.text("metrics_path") {
            self.metrics_path = text.to_owned();
        }
        if let Some(text) = section.text("scheme") {
            self.scheme = text.to_owned();
        }
        self.params = section.get("params").map(|value| params(&value)).unwrap_or_default();
        let flag = |name, default| section.boolean(name).unwrap_or(default);
        self.honor_labels = flag("honor_labels", self.honor_labels);
        self.honor_timestamps = flag("honor_timestamps", self.honor_timestamps);
        self.track_timestamps_staleness = flag("track_timestamps_staleness", self.track_timestamps_staleness);
        self.enable_compression = flag("enable_compression", self.enable_compression);
        self.http = http_client::read(section, &HttpClientConfig::default(), files).config;
    }

    fn read_limits(&mut self, section: &Section<'_>, global: &GlobalConfig) {
        self.scrape_interval = not_zero(section.duration("scrape_interval"), global.scrape_interval);
        let timeout = section.duration("scrape_timeout").unwrap_or(Duration::ZERO);
        if timeout > self.scrape_interval {
            timeout_error(section, timeout, self.scrape_interval);
        }
        self.scrape_timeout = not_zero(Some(timeout), global.scrape_timeout.min(self.scrape_interval));
        let limit = |name, inherited| section.unsigned(name).filter(|limit| *limit > 0).unwrap_or(inherited);
        self.body_size_limit = body_size_limit(section).unwrap_or(global.body_size_limit);
        self.sample_limit = limit("sample_limit", global.sample_limit);
        self.target_limit = limit("target_limit", global.target_limit);
        self.label_limit = limit("label_limit", global.label_limit);
        self.label_name_length_limit = limit("label_name_length_limit", global.label_name_length_limit);
        self.label_value_length_limit = limit("label_value_length_limit", global.label_value_length_limit);
        self.keep_dropped_targets = limit("keep_dropped_targets", global.keep_dropped_targets);
        self.native_histogram_bucket_limit = limit("native_histogram_bucket_limit", 0);
        let factor = section.get("native_histogram_min_bucket_factor").and_then(|value| value.float());
        self.native_histogram_min_bucket_factor = factor.unwrap_or(0.0);
    }

    /// The keys that vmagent has beside those of Prometheus, as vmagent understands them.
    fn read_extensions(&mut self, section: &Section<'_>) {
        let offset = section.get("scrape_offset").filter(|value| !value.is_absent());
        let offset = offset.is_some().then(|| section.duration("scrape_offset")).flatten();
        let align = section.duration("scrape_align_interval").filter(|interval| !interval.is_zero());
        if let (Some(_), Some(_)) = (offset, align) {
            section.error_at(
                "scrape_align_interval",
                "scrape_offset and scrape_align_interval are both set",
                "keep scrape_offset: it counts from whole multiples of the scrape interval anyway",
            );
        }
        self.phase = match (offset, align) {
            (Some(offset), _) => ScrapePhase::Offset(offset),
            (None, Some(interval)) => ScrapePhase::Aligned(interval),
            (None, None) => ScrapePhase::Spread,
        };
        self.series_limit = section.unsigned("series_limit").unwrap_or(0);
        self.job_series_limit = section.unsigned("job_series_limit").unwrap_or(0);
        self.start_timestamps = section.boolean("start_timestamps").unwrap_or(false);
        self.no_stale_markers = section.boolean("no_stale_markers").unwrap_or(false);
        self.disable_keepalive = section.boolean("disable_keepalive").unwrap_or(false);
        // Bodies are always parsed as they arrive.
        section.boolean("stream_parse");
        self.read_max_scrape_size(section);
        self.read_disable_compression(section);
    }

    /// `max_scrape_size` is the largest body that is still read, `body_size_limit` the smallest that is not.
    fn read_max_scrape_size(&mut self, section: &Section<'_>) {
        let size = section.get("max_scrape_size").and_then(|value| value.size()).filter(|size| *size != 0);
        let Some(size) = size else { return };
        if section.get("body_size_limit").is_some_and(|value| !value.is_absent()) {
            let message = "body_size_limit and max_scrape_size are both set";
            section.error_at("max_scrape_size", message, "keep body_size_limit");
        }
        self.body_size_limit = u64::try_from(size).map_or(0, |size| size + 1);
    }

    fn read_disable_compression(&mut self, section: &Section<'_>) {
        let Some(disable) = section.boolean("disable_compression") else { return };
        let enable = section.boolean("enable_compression");
        if enable == Some(disable) {
            let message = format!("enable_compression and disable_compression are both {disable}");
            section.error_at("disable_compression", message, "keep enable_compression");
        }
        self.enable_compression = enable.unwrap_or(!disable);
    }

    fn read_formats(
        &mut self,
        section: &Section<'_>,
        global: &GlobalConfig,
        global_escaping: Option<&Cursor<'_>>,
    ) {
        let inherited = |name, inherited| {
            section
                .get(name)
                .filter(|value| !value.is_null())
                .and_then(|value| value.boolean())
                .unwrap_or(inherited)
        };
        self.extra_scrape_metrics = inherited("extra_scrape_metrics", global.extra_scrape_metrics);
        self.scrape_native_histograms =
            inherited("scrape_native_histograms", global.scrape_native_histograms);
        self.convert_classic_histograms_to_nhcb =
            inherited("convert_classic_histograms_to_nhcb", global.convert_classic_histograms_to_nhcb);
        self.always_scrape_classic_histograms =
            inherited("always_scrape_classic_histograms", global.always_scrape_classic_histograms);
        let own = section.get("scrape_protocols").filter(|value| !value.is_null());
        self.scrape_protocols = match (own, &global.scrape_protocols) {
            (Some(value), _) => scrape_protocols(&value),
            (None, Some(protocols)) => protocols.clone(),
            (None, None) if self.scrape_native_histograms => {
                [ScrapeProtocol::PrometheusProto].into_iter().chain(ScrapeProtocol::DEFAULT).collect()
            }
            (None, None) => ScrapeProtocol::DEFAULT.to_vec(),
        };
        self.fallback_scrape_protocol = section
            .get("fallback_scrape_protocol")
            .filter(|value| value.text() != Some(""))
            .and_then(|value| scrape_protocol(&value));
        let own = section.get("metric_name_validation_scheme").and_then(|value| name_validation(&value));
        self.metric_name_validation = own.unwrap_or(global.metric_name_validation);
        self.metric_name_escaping = self.read_escaping(section, own, global, global_escaping);
    }

    /// The scheme that is written here; else, when this job has a validation scheme of its own, the one that
    /// goes with that; else the global one.
    fn read_escaping(
        &self,
        section: &Section<'_>,
        own_validation: Option<NameValidation>,
        global: &GlobalConfig,
        global_value: Option<&Cursor<'_>>,
    ) -> EscapingScheme {
        let inferred = |validation| match validation {
            NameValidation::Legacy => EscapingScheme::Underscores,
            NameValidation::Utf8 => EscapingScheme::AllowUtf8,
        };
        let written = |value: &Cursor<'_>| value.text().is_some_and(|text| !text.is_empty());
        let own = section.get("metric_name_escaping_scheme").filter(written);
        let inherited = global_value.filter(|value| written(value)).and_then(escaping_scheme);
        let scheme = match (&own, own_validation) {
            (Some(value), _) => escaping_scheme(value),
            (None, Some(validation)) => Some(inferred(validation)),
            (None, None) => inherited.or(Some(inferred(global.metric_name_validation))),
        };
        let scheme = scheme.unwrap_or(inferred(self.metric_name_validation));
        if scheme == EscapingScheme::AllowUtf8 && self.metric_name_validation != NameValidation::Utf8 {
            let key =
                if own.is_some() { "metric_name_escaping_scheme" } else { "metric_name_validation_scheme" };
            let message = "allow-utf-8 names are asked for, but only legacy names are valid";
            let fix =
                "set metric_name_validation_scheme to utf8, or metric_name_escaping_scheme to underscores";
            section.error_at(key, message, fix);
        }
        scheme
    }
}

/// `body_size_limit` in bytes; `None` when it is absent or zero. Negative means no limit.
pub(super) fn body_size_limit(section: &Section<'_>) -> Option<u64> {
    let size = section.get("body_size_limit")?.size().filter(|size| *size != 0)?;
    Some(u64::try_from(size).unwrap_or(0))
}

pub(super) fn timeout_error(section: &Section<'_>, timeout: Duration, interval: Duration) {
    let (timeout, interval) = (duration::format(timeout), duration::format(interval));
    let message = format!("the scrape timeout {timeout} is greater than the scrape interval {interval}");
    section.error_at(
        "scrape_timeout",
        message,
        format!("write at most {interval}, or a longer scrape_interval"),
    );
}

/// Query parameters: a list of values for each name.
fn params(value: &Cursor<'_>) -> Vec<(String, Vec<String>)> {
    let mut params: Vec<_> =
        value.entries().iter().map(|(name, values)| ((*name).to_owned(), values.texts())).collect();
    params.sort();
    params
}

fn scrape_protocol(value: &Cursor<'_>) -> Option<ScrapeProtocol> {
    let known = ScrapeProtocol::ALL.map(|protocol| (protocol.as_str(), protocol));
    value.one_of("scrape protocol", &known)
}

/// Reads a list of protocols, which must have entries, each once.
pub(super) fn scrape_protocols(value: &Cursor<'_>) -> Vec<ScrapeProtocol> {
    let items = value.items();
    if items.is_empty() {
        value.error("the list of scrape protocols is empty", "remove the key, or name at least one protocol");
    }
    let mut protocols = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for item in items {
        let name = item.text().unwrap_or("").to_lowercase();
        if seen.contains(&name) {
            item.error(format!("{} stands twice", item.shown()), "keep one of the two");
            continue;
        }
        seen.push(name);
        protocols.extend(scrape_protocol(&item));
    }
    protocols
}

/// `None` when the scheme is not set.
pub(super) fn name_validation(value: &Cursor<'_>) -> Option<NameValidation> {
    if value.text()?.is_empty() {
        return None;
    }
    value.one_of(
        "name validation scheme",
        &[("utf8", NameValidation::Utf8), ("legacy", NameValidation::Legacy)],
    )
}

fn escaping_scheme(value: &Cursor<'_>) -> Option<EscapingScheme> {
    let scheme = EscapingScheme::from_name(value.text()?);
    if scheme.is_none() {
        let known = EscapingScheme::ALL.map(EscapingScheme::as_str);
        let fix = one_of_fix(value.text().unwrap_or(""), &known);
        value.error(format!("{} is not a name escaping scheme", value.shown()), fix);
    }
    scheme
}

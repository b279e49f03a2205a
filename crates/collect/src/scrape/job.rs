//! One job's settings and what its targets share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::HeaderValue;
use outrigger_config::prometheus::ScrapeConfig;
use outrigger_model::histogram::{MAX_SCHEMA, schema_for_factor};
use outrigger_model::sample::Timestamp;
use outrigger_model::target::ScrapeTarget;
use outrigger_rt::http::HttpClient;
use outrigger_wire::exposition::Options;
use parking_lot::Mutex;

use super::body::BodyLimit;
use super::error::ScrapeError;
use super::headers;
use super::ingest::{HistogramRules, SampleRules};
use super::relabel_sample::{LabelLimits, LabelRules};
use super::series_limit::{SeriesLimit, SeriesLimits};

/// A job's configuration and what is derived from it. Replaced as a whole by a reload.
#[derive(Debug)]
pub(crate) struct JobSettings {
    pub(crate) config: Arc<ScrapeConfig>,
    pub(crate) client: HttpClient,
    pub(crate) accept: HeaderValue,
}

impl JobSettings {
    pub(crate) fn new(config: Arc<ScrapeConfig>, client: HttpClient) -> Self {
        let accept = HeaderValue::try_from(headers::accept(&config)).expect("made of ASCII texts of our own");
        Self { config, client, accept }
    }

    /// The limit of a body; `engine` counts where the job has none of its own.
    pub(crate) fn body_limit(&self, engine: u64) -> BodyLimit {
        match self.config.body_size_limit {
            0 => BodyLimit::Engine(engine),
            bytes => BodyLimit::Configured(bytes),
        }
    }

    /// How the samples of a target are treated.
    pub(crate) fn sample_rules<'a>(
        &'a self,
        target: &'a ScrapeTarget,
        series_limits: SeriesLimits<'a>,
    ) -> SampleRules<'a> {
        let config = &self.config;
        SampleRules {
            labels: LabelRules {
                target_labels: &target.labels,
                honor_labels: config.honor_labels,
                metric_relabel: &config.metric_relabel,
                validation: config.metric_name_validation,
                limits: LabelLimits {
                    count: config.label_limit,
                    name_length: config.label_name_length_limit,
                    value_length: config.label_value_length_limit,
                },
            },
            honor_timestamps: config.honor_timestamps,
            track_timestamps_staleness: config.track_timestamps_staleness,
            sample_limit: config.sample_limit,
            series_limits,
            histograms: HistogramRules {
                options: Options {
                    native_histograms: target.histograms.native,
                    classic_histograms: target.histograms.always_classic,
                    convert_classic: target.histograms.convert_classic,
                    start_timestamps: config.start_timestamps,
                },
                bucket_limit: config.native_histogram_bucket_limit,
                max_schema: (config.native_histogram_min_bucket_factor > 1.0)
                    .then(|| schema_for_factor(config.native_histogram_min_bucket_factor))
                    .filter(|schema| *schema < MAX_SCHEMA),
            },
        }
    }
}

/// Whether what a cache remembers under `old` is right under `new`.
///
/// Prometheus' `reusableCache` keeps caches when nothing but interval, timeout, sample limit and HTTP settings
/// changed. What only decides which targets there are, or where failures are noted, changes no sample either, so it
/// is left out of the comparison here as well: a reload that adds a static target then costs nothing.
pub(crate) fn cache_is_reusable(old: &ScrapeConfig, new: &ScrapeConfig) -> bool {
    let mut like_new = old.clone();
    like_new.scrape_interval = new.scrape_interval;
    like_new.scrape_timeout = new.scrape_timeout;
    like_new.sample_limit = new.sample_limit;
    like_new.http = new.http.clone();
    like_new.target_limit = new.target_limit;
    like_new.keep_dropped_targets = new.keep_dropped_targets;
    like_new.scrape_failure_log_file.clone_from(&new.scrape_failure_log_file);
    like_new.relabel.clone_from(&new.relabel);
    like_new.discovery.clone_from(&new.discovery);
    like_new.phase = new.phase;
    like_new.series_limit = new.series_limit;
    like_new.job_series_limit = new.job_series_limit;
    like_new.no_stale_markers = new.no_stale_markers;
    like_new.disable_keepalive = new.disable_keepalive;
    like_new.enable_compression = new.enable_compression;
    like_new == *new
}

/// What changes while a job's settings stay.
#[derive(Debug)]
pub(crate) struct JobState {
    pub(crate) name: Arc<str>,
    /// Discovery says that there are more targets than `target_limit`.
    over_target_limit: AtomicBool,
    targets: AtomicUsize,
    series_limit: Mutex<Option<Arc<SeriesLimit>>>,
}

impl JobState {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            over_target_limit: AtomicBool::new(false),
            targets: AtomicUsize::new(0),
            series_limit: Mutex::default(),
        }
    }

    pub(crate) fn set_over_target_limit(&self, over: bool) {
        self.over_target_limit.store(over, Ordering::Relaxed);
    }

    pub(crate) fn set_targets(&self, targets: usize) {
        self.targets.store(targets, Ordering::Relaxed);
    }

    pub(crate) fn targets(&self) -> usize {
        self.targets.load(Ordering::Relaxed)
    }

    /// The limit of the series of all targets, which is `limit` by the configuration.
    pub(crate) fn series_limit(&self, limit: u64, now: Timestamp) -> Option<Arc<SeriesLimit>> {
        let mut current = self.series_limit.lock();
        if current.as_ref().map_or(0, |known| known.limit()) != limit {
            *current = SeriesLimit::new(limit, now).map(Arc::new);
        }
        current.clone()
    }

    /// The error of every scrape while there are too many targets.
    pub(crate) fn forced_error(&self, config: &ScrapeConfig) -> Option<ScrapeError> {
        let (targets, limit) = (self.targets(), config.target_limit);
        let over = limit > 0 && targets as u64 > limit;
        (over || self.over_target_limit.load(Ordering::Relaxed))
            .then_some(ScrapeError::TargetLimit { targets, limit })
    }
}

//! The series that a scrape writes about itself.

/// One of the report series (Prometheus `scrape.reportSample`; those of series limits are vmagent's).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum ReportKind {
    Up,
    DurationSeconds,
    SamplesScraped,
    SamplesPostMetricRelabeling,
    SeriesAdded,
    TimeoutSeconds,
    SampleLimit,
    BodySizeBytes,
    SeriesLimit,
    SeriesCurrent,
    SeriesLimitSamplesDropped,
}

/// Number of kinds.
pub(crate) const REPORT_COUNT: usize = 11;

impl ReportKind {
    /// The metric name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ReportKind::Up => "up",
            ReportKind::DurationSeconds => "scrape_duration_seconds",
            ReportKind::SamplesScraped => "scrape_samples_scraped",
            ReportKind::SamplesPostMetricRelabeling => "scrape_samples_post_metric_relabeling",
            ReportKind::SeriesAdded => "scrape_series_added",
            ReportKind::TimeoutSeconds => "scrape_timeout_seconds",
            ReportKind::SampleLimit => "scrape_sample_limit",
            ReportKind::BodySizeBytes => "scrape_body_size_bytes",
            ReportKind::SeriesLimit => "scrape_series_limit",
            ReportKind::SeriesCurrent => "scrape_series_current",
            ReportKind::SeriesLimitSamplesDropped => "scrape_series_limit_samples_dropped",
        }
    }
}

/// What a scrape says about itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Report {
    pub(crate) up: bool,
    pub(crate) duration_seconds: f64,
    pub(crate) samples_scraped: usize,
    pub(crate) samples_post_metric_relabeling: usize,
    pub(crate) series_added: usize,
    /// With `extra_scrape_metrics`.
    pub(crate) extra: Option<ExtraReport>,
    /// With `series_limit`: the limit, and the series that count towards it.
    pub(crate) series_limit: Option<(u64, u64)>,
    /// With `series_limit` or `job_series_limit`.
    pub(crate) samples_over_series_limit: Option<usize>,
}

/// The values that `extra_scrape_metrics` adds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ExtraReport {
    pub(crate) timeout_seconds: f64,
    pub(crate) sample_limit: u64,
    /// Uncompressed size; -1 after a breach of `body_size_limit`, 0 after other failures.
    pub(crate) body_size_bytes: i64,
}

impl Report {
    /// The values in Prometheus' order.
    pub(crate) fn values(&self) -> impl Iterator<Item = (ReportKind, f64)> {
        let always = [
            (ReportKind::Up, f64::from(u8::from(self.up))),
            (ReportKind::DurationSeconds, self.duration_seconds),
            (ReportKind::SamplesScraped, self.samples_scraped as f64),
            (ReportKind::SamplesPostMetricRelabeling, self.samples_post_metric_relabeling as f64),
            (ReportKind::SeriesAdded, self.series_added as f64),
        ];
        let extra = self.extra.map(|extra| {
            [
                (ReportKind::TimeoutSeconds, extra.timeout_seconds),
                (ReportKind::SampleLimit, extra.sample_limit as f64),
                (ReportKind::BodySizeBytes, extra.body_size_bytes as f64),
            ]
        });
        let limit = self.series_limit.map(|(limit, current)| {
            [(ReportKind::SeriesLimit, limit as f64), (ReportKind::SeriesCurrent, current as f64)]
        });
        let dropped = self.samples_over_series_limit;
        let dropped = dropped.map(|dropped| (ReportKind::SeriesLimitSamplesDropped, dropped as f64));
        let limits = limit.into_iter().flatten().chain(dropped);
        always.into_iter().chain(extra.into_iter().flatten()).chain(limits)
    }
}

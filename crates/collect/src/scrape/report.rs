//! The series that a scrape writes about itself.

use std::sync::{Arc, LazyLock};

use outrigger_wire::exposition::MetricType;

use crate::batch::MetricMetadata;

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

/// What is said about the series (Prometheus `scrape.reportSample`), by kind.
static METADATA: LazyLock<[Arc<MetricMetadata>; REPORT_COUNT]> = LazyLock::new(|| {
    use ReportKind::*;
    let series = [
        (
            Up,
            "Health of the scrape target. 1 means the target is healthy, 0 if the scrape failed.",
            "targets",
        ),
        (DurationSeconds, "Duration of the last scrape in seconds.", "seconds"),
        (SamplesScraped, "Number of samples last scraped.", "samples"),
        (
            SamplesPostMetricRelabeling,
            "Number of samples remaining after metric relabeling was applied.",
            "samples",
        ),
        (SeriesAdded, "Number of series in the last scrape.", "series"),
        (TimeoutSeconds, "The configured scrape timeout for a target.", "seconds"),
        (
            SampleLimit,
            "The configured sample limit for a target. Returns zero if there is no limit configured.",
            "samples",
        ),
        (
            BodySizeBytes,
            "The uncompressed size of the last scrape response, if successful. Scrapes failing because \
             body_size_limit is exceeded report -1, other scrape failures report 0.",
            "bytes",
        ),
        (SeriesLimit, "The configured series limit for a target.", "series"),
        (SeriesCurrent, "Number of series that count towards the series limit.", "series"),
        (
            SeriesLimitSamplesDropped,
            "Number of samples that a series limit left out of the last scrape.",
            "samples",
        ),
    ];
    series.map(|(kind, help, unit)| {
        Arc::new(MetricMetadata {
            metric_type: MetricType::Gauge,
            family: kind.name().into(),
            help: help.into(),
            unit: unit.into(),
        })
    })
});

impl ReportKind {
    /// What is said about the series.
    pub(crate) fn metadata(self) -> Arc<MetricMetadata> {
        Arc::clone(&METADATA[self as usize])
    }
}

/// Whether it is what a scrape says about its own report, not what a target says. Remote write 1.0 does not carry it.
pub(crate) fn is_of_report(metadata: &Arc<MetricMetadata>) -> bool {
    METADATA.iter().any(|known| Arc::ptr_eq(known, metadata))
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

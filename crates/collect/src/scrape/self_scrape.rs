//! A process's own metrics, handed to a sink as if it were a target that is scraped: so they leave by its own remote write,
//! and nobody has to reach its web server.

use std::sync::Arc;
use std::time::Duration;

use outrigger_model::clock::SharedClock;
use outrigger_model::labels::{Fnv1a, Labels, LabelsBuilder};
use outrigger_model::names::NameValidation;
use outrigger_model::sample::{Sample, Timestamp};
use outrigger_model::target::TargetId;
use outrigger_rt::metrics::Registry;
use outrigger_wire::exposition::Format;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cache::SeriesCache;
use super::ingest::{HistogramRules, Pass, SampleRules, ScrapeTimes};
use super::metadata::MetadataWatch;
use super::relabel_sample::{LabelLimits, LabelRules};
use super::report::Report;
use super::schedule::Schedule;
use super::series_limit::SeriesLimits;
use crate::batch::{SampleSink, ScrapeBatch};

/// Value of the `job` label.
pub const SELF_JOB: &str = "outrigger";

/// What is scraped, and for whom.
#[derive(Clone)]
pub struct SelfScrapeOptions {
    /// Value of `instance`: the process's name.
    pub instance: String,
    /// Value of `role`: `master`, `worker`, `run`.
    pub role: String,
    /// More labels; `job`, `instance` and `role` among them replace the usual ones.
    pub labels: Labels,
    /// Time between scrapes.
    pub interval: Duration,
    /// Wall clock.
    pub clock: SharedClock,
    /// Whose metrics.
    pub registry: Registry,
    /// Takes them. One alone: two of them need a [`SelfScrape`] each.
    pub sink: Arc<dyn SampleSink>,
}

/// Scrapes its own process.
pub struct SelfScrape {
    options: SelfScrapeOptions,
    job: Arc<str>,
    labels: Labels,
    identity: u64,
    schedule: Schedule,
    cache: SeriesCache,
    metadata: MetadataWatch,
}

impl SelfScrape {
    /// Nothing happens until [`SelfScrape::run`].
    pub fn new(options: SelfScrapeOptions) -> Self {
        let mut labels = LabelsBuilder::new();
        labels.set("job", SELF_JOB);
        labels.set("instance", &options.instance);
        labels.set("role", &options.role);
        for (name, value) in options.labels.iter() {
            labels.set(name, value);
        }
        let labels = labels.build();
        let mut identity = Fnv1a::new();
        identity.update(SELF_JOB.as_bytes());
        identity.update(&labels.hash64().to_be_bytes());
        let identity = identity.finish();
        Self {
            job: SELF_JOB.into(),
            labels,
            identity,
            schedule: Schedule::new(TargetId(identity), 0, options.interval),
            cache: SeriesCache::default(),
            metadata: MetadataWatch::default(),
            options,
        }
    }

    /// Scrapes on its ticks until `stop` is cancelled. The last values are handed over then; there are no stale markers,
    /// since the process comes again.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut last = None;
        loop {
            let now = self.options.clock.now();
            let tick = match last {
                None => self.schedule.tick_from(now),
                Some((tick, scraped)) => self.schedule.next(tick, scraped, now),
            };
            let wait = Duration::from_millis(u64::try_from(tick.since(now)).unwrap_or(0));
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
            }
            let now = self.options.clock.now();
            let scraped = self.schedule.snap(tick, now);
            self.scrape(scraped, now);
            last = Some((tick, scraped));
        }
        let now = self.options.clock.now();
        if last.is_none_or(|(_, scraped)| now > scraped) {
            self.scrape(now, now);
        }
    }

    fn scrape(&mut self, scrape: Timestamp, now: Timestamp) {
        let started = Instant::now();
        let text = self.options.registry.render();
        let rules = SampleRules {
            labels: LabelRules {
                target_labels: &self.labels,
                honor_labels: false,
                metric_relabel: &[],
                validation: NameValidation::Utf8,
                limits: LabelLimits { count: 0, name_length: 0, value_length: 0 },
            },
            honor_timestamps: true,
            track_timestamps_staleness: false,
            sample_limit: 0,
            series_limits: SeriesLimits { target: None, job: None },
            histograms: HistogramRules::default(),
        };
        let times = ScrapeTimes { scrape, now };
        let mut pass = Pass::new(Format::Text, &mut self.cache, &mut self.metadata, &rules, times);
        pass.text(text.as_bytes());
        let mut ingested = pass.finish();
        if let Some(error) = &ingested.error {
            tracing::error!(%error, "the process's own metrics cannot be read");
        }
        let report = Report {
            up: ingested.error.is_none(),
            duration_seconds: started.elapsed().as_secs_f64(),
            samples_scraped: ingested.counts.scraped,
            samples_post_metric_relabeling: ingested.counts.post_metric_relabeling,
            series_added: ingested.counts.series_added,
            extra: None,
            series_limit: None,
            samples_over_series_limit: None,
        };
        let described = self.metadata.describes_report(now);
        for (kind, value) in report.values() {
            let sample = Sample { timestamp: scrape, value };
            let first = self.cache.report(kind, &self.labels, sample, &mut ingested.samples);
            if described || first.is_some() {
                ingested.metadata.insert(0, kind.metadata());
            }
        }
        self.options.sink.append(&ScrapeBatch {
            job: &self.job,
            target: self.identity,
            series: self.cache.table(),
            samples: &ingested.samples,
            histograms: &ingested.histograms,
            exemplars: &ingested.exemplars,
            starts: &ingested.starts,
            metadata: &ingested.metadata,
        });
        if ingested.forgotten {
            self.cache.forget_unreachable();
        }
        self.cache.settle();
    }
}

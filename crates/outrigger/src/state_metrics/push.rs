//! State metrics straight to remote write: what a snapshot says is handed over as samples, without any text.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use outrigger_collect::batch::{BatchSample, MetricMetadata, SampleSink, ScrapeBatch};
use outrigger_collect::series::SeriesTable;
use outrigger_model::clock::SharedClock;
use outrigger_model::labels::{Fnv1a, Labels, METRIC_NAME};
use outrigger_model::sample::{Timestamp, stale_nan};
use outrigger_rt::metrics::{Counter, Histogram, Registry};
use outrigger_state::family::{FamilyInfo, FamilyKind};
use outrigger_state::follow::{RowRun, SeriesSample};
use outrigger_state::image::{Snapshot, StateImage};
use outrigger_state::shard::Shard;
use outrigger_wire::exposition::MetricType;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Samples that are handed over at once.
const BATCH: usize = 4_000;
/// How often changes are looked for when they are sent at once.
const LOOK: Duration = Duration::from_secs(1);
/// Metadata is sent again after this time.
const METADATA_AGAIN: Duration = Duration::from_secs(600);

/// When samples are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cadence {
    /// Every sample, each interval.
    Full(Duration),
    /// What changes at once; everything else once in this time, which is less than the five minutes after which a
    /// series counts as stale.
    Changes(Duration),
}

/// What is sent where.
pub(crate) struct PushOptions {
    pub(crate) image: Arc<StateImage>,
    /// Only the objects of this shard.
    pub(crate) shard: Option<Shard>,
    pub(crate) cadence: Cadence,
    /// Value of `job`.
    pub(crate) job: Arc<str>,
    /// Labels of all series, `job` and `instance` among them. An object's own label of the same name wins.
    pub(crate) labels: Labels,
    pub(crate) clock: SharedClock,
    pub(crate) sink: Arc<dyn SampleSink>,
    pub(crate) registry: Registry,
}

/// Sends state metrics.
pub(crate) struct Push {
    options: PushOptions,
    last: Option<Snapshot>,
    last_metadata: Option<Instant>,
    samples: Counter,
    stale: Counter,
    pass_seconds: Histogram,
}

impl Push {
    /// Nothing happens until [`Push::run`].
    pub(crate) fn new(options: PushOptions) -> Self {
        let registry = &options.registry;
        let samples = registry.counter(
            "outrigger_state_metrics_pushed_samples_total",
            "Samples of state metrics that were handed to remote write.",
            &[],
        );
        let stale = registry.counter(
            "outrigger_state_metrics_pushed_stale_markers_total",
            "Stale markers of state metrics' series that are no more, handed to remote write.",
            &[],
        );
        let pass_seconds = registry.histogram(
            "outrigger_state_metrics_push_duration_seconds",
            "How long it took to hand one snapshot of the state metrics to remote write.",
            &[],
            &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0],
        );
        Self { options, last: None, last_metadata: None, samples, stale, pass_seconds }
    }

    /// Sends until `stop` is cancelled. No stale markers are sent then: the process comes again.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let period = match self.options.cadence {
            Cadence::Full(interval) => interval,
            Cadence::Changes(_) => LOOK,
        };
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut before = self.options.clock.now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let now = self.options.clock.now();
            let passed = tokio::task::spawn_blocking(move || {
                self.pass(before, now);
                self
            });
            match passed.await {
                Ok(push) => self = push,
                Err(error) => return tracing::error!(%error, "state metrics are not sent any more"),
            }
            before = now;
        }
    }

    /// Sends what is due at `now`; the pass before was at `before`.
    fn pass(&mut self, before: Timestamp, now: Timestamp) {
        let begun = Instant::now();
        let snapshot = self.options.image.snapshot();
        let metadata = self.metadata_due(&snapshot);
        let mut batches = Batches::new(&self.options, now, metadata);
        let cadence = self.options.cadence;
        let refresh = |run: RowRun<'_>| match cadence {
            Cadence::Full(_) => true,
            Cadence::Changes(refresh) => is_due(run, refresh, before, now),
        };
        let all = snapshot.changes(self.last.as_ref(), self.options.shard, refresh, |run, sample| {
            batches.add(run, sample);
            ControlFlow::Continue(())
        });
        debug_assert!(all.is_continue());
        batches.send();
        self.samples.add(batches.sent_samples);
        self.stale.add(batches.sent_stale);
        self.last = Some(snapshot);
        self.pass_seconds.observe(begun.elapsed().as_secs_f64());
    }

    fn metadata_due(&mut self, snapshot: &Snapshot) -> Vec<Arc<MetricMetadata>> {
        if self.last_metadata.is_some_and(|last| last.elapsed() < METADATA_AGAIN) {
            return Vec::new();
        }
        let metadata: Vec<_> = snapshot.families().map(|family| Arc::new(metadata_of(family))).collect();
        if !metadata.is_empty() {
            self.last_metadata = Some(Instant::now());
        }
        metadata
    }
}

/// Whether everything of a run is due again: each has its own moment within the period, so that the load is even.
fn is_due(run: RowRun<'_>, period: Duration, before: Timestamp, now: Timestamp) -> bool {
    let period = i64::try_from(period.as_millis()).unwrap_or(i64::MAX).max(1);
    let phase = (run_number(run) % period as u64) as i64;
    (now.millis() - phase).div_euclid(period) > (before.millis() - phase).div_euclid(period)
}

/// The same for a run at all times, and spread evenly.
fn run_number(run: RowRun<'_>) -> u64 {
    let mut hash = Fnv1a::new();
    hash.update(run.resource.as_bytes());
    hash.update(&(run.number as u64).to_be_bytes());
    hash.finish()
}

fn metadata_of(family: &FamilyInfo) -> MetricMetadata {
    MetricMetadata {
        metric_type: match family.kind {
            FamilyKind::Counter => MetricType::Counter,
            FamilyKind::Gauge => MetricType::Gauge,
            FamilyKind::Info => MetricType::Info,
            FamilyKind::StateSet => MetricType::StateSet,
        },
        family: family.name.as_str().into(),
        help: family.help.as_str().into(),
        unit: "".into(),
    }
}

/// Samples on their way, run by run.
struct Batches<'p> {
    options: &'p PushOptions,
    now: Timestamp,
    run: u64,
    series: SeriesTable,
    samples: Vec<BatchSample>,
    metadata: HashMap<String, Arc<MetricMetadata>>,
    /// Of the families in the batch.
    batch_metadata: Vec<Arc<MetricMetadata>>,
    sent_samples: u64,
    sent_stale: u64,
}

impl<'p> Batches<'p> {
    fn new(options: &'p PushOptions, now: Timestamp, metadata: Vec<Arc<MetricMetadata>>) -> Self {
        let metadata = metadata.into_iter().map(|each| (each.family.to_string(), each)).collect();
        Self {
            options,
            now,
            run: 0,
            series: SeriesTable::new(),
            samples: Vec::with_capacity(BATCH),
            metadata,
            batch_metadata: Vec::new(),
            sent_samples: 0,
            sent_stale: 0,
        }
    }

    fn add(&mut self, run: RowRun<'_>, sample: &SeriesSample<'_>) {
        let run = run_number(run);
        if run != self.run || self.samples.len() >= BATCH {
            self.send();
            self.run = run;
        }
        if let Some(metadata) = self.metadata.remove(sample.metric) {
            self.batch_metadata.push(metadata);
        }
        let own = || sample.labels.iter().map(|(name, value)| (*name, &**value));
        let common = self.options.labels.iter().filter(|(name, _)| own().all(|(own, _)| own != *name));
        let labels =
            Labels::from_pairs([(METRIC_NAME, sample.metric)].into_iter().chain(own()).chain(common));
        match sample.number {
            Some(_) => self.sent_samples += 1,
            None => self.sent_stale += 1,
        }
        self.samples.push(BatchSample {
            series: self.series.intern(&labels),
            timestamp: self.now,
            value: sample.number.unwrap_or_else(stale_nan),
        });
    }

    fn send(&mut self) {
        if self.samples.is_empty() {
            return;
        }
        self.options.sink.append(&ScrapeBatch {
            job: &self.options.job,
            target: self.run,
            series: &self.series,
            samples: &self.samples,
            histograms: &[],
            exemplars: &[],
            starts: &[],
            metadata: &self.batch_metadata,
        });
        self.samples.clear();
        self.batch_metadata.clear();
        self.series = SeriesTable::new();
    }
}

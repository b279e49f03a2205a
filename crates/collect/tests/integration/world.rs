//! An engine in virtual time: wall clock and timers move only when a test says so, sockets are real.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use outrigger_collect::batch::{MetricMetadata, SampleSink, ScrapeBatch};
use outrigger_collect::scrape::{EngineOptions, ScrapeEngine, TargetStatus};
use outrigger_config::prometheus::ScrapeConfig;
use outrigger_model::clock::{Clock, ManualClock};
use outrigger_model::histogram::Histogram;
use outrigger_model::labels::Labels;
use outrigger_model::sample::{Exemplar, Sample, Timestamp, is_stale_nan};
use outrigger_model::target::{HistogramOptions, ScrapeTarget, TargetDelta, TargetId};
use outrigger_rt::metrics::Registry;
use outrigger_rt::resolver::{Resolver, ResolverOptions};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::servers::{Body, Server};

/// A multiple of every interval used in tests.
pub(crate) const START: i64 = 1_700_000_040_000;

pub(crate) const INTERVAL: Duration = Duration::from_secs(15);

/// Stops tokio's paused clock from running ahead while sockets are waited for: it stands still while a blocking task
/// runs.
pub(crate) struct StandStill(
    #[expect(dead_code, reason = "the blocking task ends when it is dropped")] mpsc::Sender<()>,
);

impl StandStill {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || {
            let _ = receiver.recv();
        });
        Self(sender)
    }
}

/// Waits for a condition, without moving the virtual time; fails the test after about 20 s of real time.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if condition() {
            return;
        }
        tokio::task::spawn_blocking(|| std::thread::park_timeout(Duration::from_millis(1))).await.unwrap();
    }
    panic!("waited in vain until {what}");
}

/// One sample as text: `name{label="value"} value @ milliseconds after START`.
pub(crate) fn shown(labels: &Labels, value: f64, timestamp: Timestamp) -> String {
    let value = if is_stale_nan(value) { "stale".to_owned() } else { value.to_string() };
    let name = labels.get("__name__").unwrap_or_default();
    let labels: Vec<String> = labels
        .iter()
        .filter(|(name, _)| *name != "__name__")
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    format!("{name}{{{}}} {value} @ {}", labels.join(","), timestamp.millis() - START)
}

/// What a batch held.
pub(crate) struct Recorded {
    pub(crate) samples: Vec<(Labels, Sample)>,
    pub(crate) histograms: Vec<(Labels, Timestamp, Histogram)>,
    pub(crate) exemplars: Vec<(Labels, Exemplar)>,
    pub(crate) metadata: Vec<Arc<MetricMetadata>>,
}

/// Keeps every batch.
#[derive(Default)]
pub(crate) struct Recorder {
    batches: Mutex<Vec<Recorded>>,
}

impl SampleSink for Recorder {
    fn append(&self, batch: &ScrapeBatch<'_>) {
        let labels = |series| batch.series.to_labels(series);
        let samples = batch.samples.iter().map(|sample| {
            (labels(sample.series), Sample { timestamp: sample.timestamp, value: sample.value })
        });
        let histograms = batch.histograms.iter();
        let exemplars = batch.exemplars.iter();
        self.batches.lock().push(Recorded {
            samples: samples.collect(),
            histograms: histograms
                .map(|sample| (labels(sample.series), sample.timestamp, (*sample.histogram).clone()))
                .collect(),
            exemplars: exemplars.map(|of| (labels(of.series), of.exemplar.clone())).collect(),
            metadata: batch.metadata.to_vec(),
        });
    }
}

impl Recorder {
    pub(crate) fn len(&self) -> usize {
        self.batches.lock().len()
    }

    pub(crate) fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.batches.lock())
    }
}

/// All samples of some batches as text, `scrape_duration_seconds` (which varies) left out.
pub(crate) fn samples(batches: &[Recorded]) -> Vec<String> {
    let all = batches.iter().flat_map(|batch| &batch.samples);
    let stable = all.filter(|(series, sample)| {
        series.get("__name__") != Some("scrape_duration_seconds") || is_stale_nan(sample.value)
    });
    stable.map(|(series, sample)| shown(series, sample.value, sample.timestamp)).collect()
}

pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) engine: ScrapeEngine,
    pub(crate) sink: Arc<Recorder>,
    pub(crate) registry: Registry,
    pub(crate) stop: CancellationToken,
    running: Option<JoinHandle<()>>,
    _stand_still: StandStill,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(edit: impl FnOnce(&mut EngineOptions)) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(START)));
        let sink = Arc::new(Recorder::default());
        let registry = Registry::new();
        let mut options = EngineOptions {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            registry: registry.clone(),
            resolver: resolver(),
            sink: Arc::clone(&sink) as Arc<dyn SampleSink>,
            user_agent: "Outrigger/test".to_owned(),
            offset_seed: 0,
            max_body_bytes: 64 << 20,
            body_budget_bytes: 64 << 20,
            drain_deadline: Duration::from_secs(5),
            log_period: Duration::from_secs(60),
        };
        edit(&mut options);
        let engine = ScrapeEngine::new(options);
        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let (engine, stop) = (engine.clone(), stop.clone());
            async move { engine.run(stop).await }
        });
        Self { clock, engine, sink, registry, stop, running: Some(running), _stand_still: StandStill::new() }
    }

    /// Another engine under the same clock and with the same sink.
    pub(crate) fn beside(&self) -> Self {
        let sink = Arc::clone(&self.sink);
        let clock = Arc::clone(&self.clock);
        let mut world = Self::with(|options| {
            options.clock = Arc::clone(&clock) as Arc<dyn Clock>;
            options.sink = Arc::clone(&sink) as Arc<dyn SampleSink>;
        });
        world.clock = clock;
        world.sink = sink;
        world
    }

    pub(crate) fn configure(&self, configs: &[ScrapeConfig]) {
        let configs: Vec<_> = configs.iter().cloned().map(Arc::new).collect();
        self.engine.apply_config(&configs).unwrap();
    }

    /// Adds targets to `job`, which must be configured for anything to happen.
    pub(crate) fn add(&self, job: &str, targets: &[ScrapeTarget]) {
        let added = targets.iter().cloned().map(Arc::new).collect();
        self.engine.apply(TargetDelta { job: job.into(), added, ..TargetDelta::default() });
    }

    pub(crate) fn remove(&self, job: &str, id: u64) {
        let removed = vec![TargetId(id)];
        self.engine.apply(TargetDelta { job: job.into(), removed, ..TargetDelta::default() });
    }

    /// Moves the wall clock and all timers.
    pub(crate) async fn advance(&self, by: Duration) {
        self.clock.advance(by.as_millis() as i64);
        tokio::time::advance(by).await;
    }

    /// The next `batches` batches.
    pub(crate) async fn batches(&self, batches: usize) -> Vec<Recorded> {
        until("enough batches have arrived", || self.sink.len() >= batches).await;
        self.sink.take()
    }

    /// Moves on by one interval and returns the samples of the `batches` scrapes that take place.
    pub(crate) async fn tick(&self, batches: usize) -> Vec<String> {
        self.advance(INTERVAL).await;
        samples(&self.batches(batches).await)
    }

    pub(crate) fn status(&self, job: &str, id: u64) -> TargetStatus {
        self.engine.status(job, TargetId(id)).expect("the target is known")
    }

    /// The value of one of the engine's own metrics, as it is exposed.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        metric(&self.registry, series)
    }

    /// Stops the engine and waits for its end.
    pub(crate) async fn end(&mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            running.await.unwrap();
        }
    }
}

pub(crate) fn metric(registry: &Registry, series: &str) -> f64 {
    let text = registry.render();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).map(str::to_owned);
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

pub(crate) fn resolver() -> Resolver {
    Resolver::new(ResolverOptions::default())
}

/// A job that is scraped every [`INTERVAL`].
pub(crate) fn job(name: &str) -> ScrapeConfig {
    ScrapeConfig { scrape_interval: INTERVAL, ..ScrapeConfig::new(name) }
}

/// A target whose ticks are at multiples of the interval (seed and low bits of the id are 0).
pub(crate) fn target(id: u64, url: String) -> ScrapeTarget {
    ScrapeTarget {
        id: TargetId(id),
        job: "job".into(),
        url,
        labels: Labels::from_pairs([("job", "job"), ("instance", "i")]),
        interval: INTERVAL,
        timeout: Duration::from_secs(10),
        histograms: HistogramOptions::default(),
    }
}

/// A target that answers each scrape with the next of its answers, and the last one for ever.
pub(crate) struct Script {
    pub(crate) server: Server,
    pub(crate) requests: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
}

pub(crate) type MakeAnswer = Box<dyn Fn() -> hyper::Response<Body> + Send + Sync>;

impl Script {
    pub(crate) async fn new(answers: Vec<MakeAnswer>) -> Self {
        let requests: Arc<Mutex<Vec<BTreeMap<String, String>>>> = Arc::default();
        let seen = Arc::clone(&requests);
        let answers = Arc::new(answers);
        let server = Server::start(move |request: Request<Incoming>| {
            let mut seen = seen.lock();
            let answer = answers[seen.len().min(answers.len() - 1)]();
            let header = |name: &hyper::header::HeaderName, value: &hyper::header::HeaderValue| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            seen.push(request.headers().iter().map(|(name, value)| header(name, value)).collect());
            async move { answer }
        })
        .await;
        Self { server, requests }
    }

    /// Answers with these bodies in text format.
    pub(crate) async fn bodies(bodies: &[&'static str]) -> Self {
        let answer = |body: &&'static str| -> MakeAnswer {
            let body = *body;
            Box::new(move || crate::servers::text(body))
        };
        Self::new(bodies.iter().map(answer).collect()).await
    }

    pub(crate) fn url(&self) -> String {
        self.server.url("/metrics")
    }
}

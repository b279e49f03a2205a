//! One scrape of one target, from its tick to the batch that is handed over (Prometheus
//! `scrapeLoop.scrapeAndReport`), and the stale markers of a target that is gone (`endOfRunStaleness`).

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use outrigger_model::sample::{Sample, Timestamp, is_stale_nan};
use outrigger_wire::exposition::Format;
use tokio::time::Instant;

use super::body::{BodyBudget, BodyDecoder, BodyLimit, Reservation};
use super::cache::SeriesCache;
use super::content_type;
use super::engine::{Shared, Turn};
use super::error::{ScrapeError, ScrapeResult};
use super::fetch::{Answer, ask};
use super::ingest::{self, Ingested, Pass, ScrapeTimes};
use super::report::{ExtraReport, Report};
use super::series_limit::{SeriesLimit, SeriesLimits};
use super::status::{Health, TargetStatus};
use super::target_loop::{Memory, Plan, TakenMemory, TargetLoop};
use crate::batch::ScrapeBatch;
use crate::series::SeriesTable;

/// Scrapes a target once.
pub(crate) async fn run(turn: Turn) {
    let (shared, target) = (&turn.shared, &turn.target);
    let _running = shared.metrics.running.track();
    let plan = target.plan.load_full();
    let now = shared.clock.now();
    let started = Instant::now();
    shared.metrics.lateness.observe(now.since(turn.tick).max(0) as f64 / 1_000.0);
    let attempt = Attempt {
        shared,
        target,
        times: ScrapeTimes { scrape: plan.schedule.snap(turn.tick, now), now },
        plan: &plan,
        started,
    };
    let _ = turn.scraped.set(attempt.times.scrape);
    tokio::select! {
        () = attempt.run() => {}
        // Given up by a shutdown: nothing is known about the target, so nothing is said.
        () = shared.abort.cancelled() => {}
    }
}

/// A scrape under way.
struct Attempt<'a> {
    shared: &'a Shared,
    target: &'a TargetLoop,
    plan: &'a Arc<Plan>,
    times: ScrapeTimes,
    started: Instant,
}

/// What became of the body.
struct Outcome {
    ingested: Ingested,
    /// Uncompressed.
    body_bytes: u64,
    error: Option<ScrapeError>,
}

impl Attempt<'_> {
    /// Turns the answer into samples and hands them over.
    async fn run(&self) {
        let answer = self.ask().await;
        let mut memory = self.target.take_memory(&self.shared.pending_stale);
        memory.settle_inheritance();
        let outcome = match answer {
            Ok(answer) => self.take_body(&mut memory, answer).await,
            Err(error) => self.fail(&mut memory, 0, error),
        };
        self.complete(memory, outcome);
    }

    async fn ask(&self) -> Result<Answer, ScrapeError> {
        if let Some(error) = self.target.job.forced_error(&self.plan.settings.config) {
            return Err(error);
        }
        ask(self.plan, self.started + self.plan.target.timeout, self.target.last_body_bytes()).await
    }

    async fn take_body(&self, memory: &mut Memory, mut answer: Answer) -> Outcome {
        let settings = &self.plan.settings;
        let job_limit = self.job_series_limit();
        memory.apply_series_limits(settings.config.series_limit, job_limit.as_deref(), self.times.now);
        let limits = SeriesLimits { target: memory.series_limit.as_ref(), job: job_limit.as_deref() };
        let rules = settings.sample_rules(&self.plan.target, limits);
        let limit = settings.body_limit(self.shared.max_body_bytes.load(Ordering::Relaxed));
        let budget = Arc::clone(&self.shared.body_budget);
        let (format, refusal) = match content_type::check(
            answer.content_type.as_deref(),
            settings.config.fallback_scrape_protocol,
        ) {
            Ok(format) => (format, None),
            Err(refusal) => (Format::Text, Some(refusal)),
        };
        let mut pass = Pass::new(format, &mut memory.cache, &mut memory.metadata, &rules, self.times);
        if refusal.is_some() {
            pass.ignore_text();
        }
        let error = match (read_body(&mut answer, limit, budget, &mut pass).await, refusal) {
            // An empty body is fine whatever it claims to be.
            (Ok(body_bytes), None) | (Ok(body_bytes @ 0), Some(_)) => {
                let mut ingested = pass.finish();
                let error = ingested.error.take().map(ScrapeError::from);
                return Outcome { ingested, body_bytes, error };
            }
            (Ok(body_bytes), Some(refusal)) => (body_bytes, refusal.into()),
            (Err(error), _) => (0, error),
        };
        pass.abandon();
        self.fail(memory, error.0, error.1)
    }

    fn job_series_limit(&self) -> Option<Arc<SeriesLimit>> {
        self.target.job.series_limit(self.plan.settings.config.job_series_limit, self.times.now)
    }

    fn fail(&self, memory: &mut Memory, body_bytes: u64, error: ScrapeError) -> Outcome {
        let ingested = ingest::ingest_nothing(&mut memory.cache, self.times.scrape);
        Outcome { ingested, body_bytes, error: Some(error) }
    }

    fn complete(&self, mut memory: TakenMemory<'_>, outcome: Outcome) {
        let (shared, target) = (self.shared, self.target);
        let Outcome { mut ingested, body_bytes, error } = outcome;
        if self.plan.settings.config.no_stale_markers {
            ingested.samples.retain(|sample| !is_stale_nan(sample.value));
            ingested.histograms.retain(|sample| !sample.histogram.is_stale());
        }
        if body_bytes > 0 {
            memory.body_bytes = usize::try_from(body_bytes).unwrap_or(usize::MAX);
        }
        let reported_body_bytes = match &error {
            Some(error) if error.is_body_limit() => -1,
            _ => body_bytes as i64,
        };
        self.report(&mut memory, &mut ingested, error.is_none(), reported_body_bytes);

        if !ingested.appeared.is_empty() || ingested.samples.iter().any(|sample| is_stale_nan(sample.value)) {
            shared.note_change(target);
        }
        let table = memory.cache.table();
        let exposed = ingested.samples.iter().filter(|sample| !is_stale_nan(sample.value));
        shared.pending_stale.claim(target.id, exposed.map(|sample| table.hash(sample.series)));
        memory.note_appeared(&ingested.appeared);
        self.note(&ingested, error, body_bytes);
        hand_over(shared, target, memory.cache.table(), &ingested);
        if ingested.forgotten {
            memory.cache.forget_unreachable();
        }
        memory.cache.settle();
        memory.resize(shared);
    }

    fn report(&self, memory: &mut Memory, ingested: &mut Ingested, up: bool, body_size_bytes: i64) {
        let config = &self.plan.settings.config;
        let report = Report {
            up,
            duration_seconds: self.started.elapsed().as_secs_f64(),
            samples_scraped: ingested.counts.scraped,
            samples_post_metric_relabeling: ingested.counts.post_metric_relabeling,
            series_added: ingested.counts.series_added,
            extra: config.extra_scrape_metrics.then(|| ExtraReport {
                timeout_seconds: self.plan.target.timeout.as_secs_f64(),
                sample_limit: config.sample_limit,
                body_size_bytes,
            }),
            series_limit: memory.series_limit.as_ref().map(|limit| (limit.limit(), limit.admitted())),
            samples_over_series_limit: (config.series_limit > 0 || config.job_series_limit > 0)
                .then_some(ingested.drops.over_series_limit),
        };
        let described = memory.metadata.describes_report(self.times.now);
        for (kind, value) in report.values() {
            let sample = Sample { timestamp: self.times.scrape, value };
            let labels = &self.plan.target.labels;
            let first = memory.cache.report(kind, labels, sample, &mut ingested.samples);
            ingested.appeared.extend(first);
            if described || first.is_some() {
                ingested.metadata.insert(0, kind.metadata());
            }
        }
    }

    /// Metrics, the target's status and the failure log.
    fn note(&self, ingested: &Ingested, error: Option<ScrapeError>, body_bytes: u64) {
        let (shared, target) = (self.shared, self.target);
        let took = self.started.elapsed();
        let metrics = &shared.metrics;
        metrics.count_result(error.as_ref().map_or(ScrapeResult::Success, ScrapeError::kind));
        metrics.duration.observe(took.as_secs_f64());
        metrics.count_drops(ingested.drops);
        metrics.forced_flushes.add(u64::from(ingested.forced_flush));
        let url = &self.plan.target.url;
        let over_limit = ingested.drops.over_series_limit;
        if over_limit > 0
            && let Some(suppressed) = shared.series_limit_log.permit(&target.job.name)
        {
            let job = &*target.job.name;
            tracing::warn!(job, url, samples = over_limit, suppressed, "a series limit leaves samples out");
        }
        if ingested.drops != Default::default() {
            tracing::debug!(url, drops = ?ingested.drops, "samples were left out of a scrape");
        }
        let last_error = error.map(|error| error.text()).unwrap_or_default();
        if !last_error.is_empty() {
            tracing::debug!(url, error = last_error, "scrape failed");
            if let Some(path) = &self.plan.settings.config.scrape_failure_log_file {
                shared.failure_log.write(path, shared.clock.now(), &target.job.name, url, &last_error);
            }
        }
        *target.status.lock() = TargetStatus {
            health: if last_error.is_empty() { Health::Up } else { Health::Down },
            last_error,
            last_scrape: Some(self.times.now),
            last_scrape_duration: took,
            samples_scraped: ingested.counts.scraped,
            samples_post_metric_relabeling: ingested.counts.post_metric_relabeling,
            body_bytes: usize::try_from(body_bytes).unwrap_or(usize::MAX),
        };
    }
}

/// Reads a body to its end and hands it on piece by piece; returns its uncompressed length.
async fn read_body(
    answer: &mut Answer,
    limit: BodyLimit,
    budget: Arc<BodyBudget>,
    pass: &mut Pass<'_>,
) -> Result<u64, ScrapeError> {
    let mut decoder = BodyDecoder::new(answer.content_encoding.as_deref(), limit, Arc::clone(&budget));
    let mut held = Reservation::new(budget);
    while let Some(chunk) = answer.chunk().await? {
        decoder.push(&chunk, &mut |text| pass.text(text))?;
        held.cover(pass.held_bytes() as u64)?;
    }
    Ok(decoder.finish(&mut |text| pass.text(text))?)
}

fn hand_over(shared: &Shared, target: &TargetLoop, series: &SeriesTable, ingested: &Ingested) {
    let stale = ingested.samples.iter().filter(|sample| is_stale_nan(sample.value)).count();
    let stale_histograms = ingested.histograms.iter().filter(|sample| sample.histogram.is_stale()).count();
    shared.metrics.samples.add((ingested.samples.len() + ingested.histograms.len()) as u64);
    shared.metrics.stale_markers.add((stale + stale_histograms) as u64);
    let batch = ScrapeBatch {
        job: &target.job.name,
        target: target.identity,
        series,
        samples: &ingested.samples,
        histograms: &ingested.histograms,
        exemplars: &ingested.exemplars,
        starts: &ingested.starts,
        metadata: &ingested.metadata,
    };
    if !batch.is_empty() {
        shared.sink.append(&batch);
    }
}

/// Writes the stale markers of a target that was removed two intervals ago, for those of its series that nobody has
/// exposed since, stamped with the first tick that it missed.
pub(crate) fn end_of_run(shared: &Shared, target: &TargetLoop, stale_at: Timestamp) {
    let mut memory = target.take_memory(&shared.pending_stale);
    let wanted: HashSet<u64> =
        shared.pending_stale.take(target.id, memory.cache.live_hashes()).into_iter().collect();
    if !target.plan.load().settings.config.no_stale_markers {
        let mut ingested = Ingested::default();
        memory.cache.end_of_run(stale_at, |hash| wanted.contains(&hash), &mut ingested.samples);
        hand_over(shared, target, memory.cache.table(), &ingested);
    }
    memory.cache = SeriesCache::default();
    memory.resize(shared);
}

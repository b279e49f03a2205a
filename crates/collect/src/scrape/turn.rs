//! One scrape of one target, from its tick to the batch that is handed over (Prometheus
//! `scrapeLoop.scrapeAndReport`), and the stale markers of a target that is gone (`endOfRunStaleness`).

use std::collections::HashSet;
use std::sync::Arc;

use outrigger_model::sample::{Sample, Timestamp, is_stale_nan};
use tokio::time::Instant;

use super::cache::SeriesCache;
use super::content_type;
use super::engine::{Shared, Turn};
use super::error::{ScrapeError, ScrapeResult};
use super::fetch::{Fetched, fetch};
use super::ingest::{self, Ingested, ScrapeTimes};
use super::report::{ExtraReport, Report};
use super::status::{Health, TargetStatus};
use super::target_loop::{Memory, Plan, TargetLoop};
use crate::batch::ScrapeBatch;

/// Larger bodies are parsed outside the runtime's own threads.
const LARGE_BODY_BYTES: usize = 256 << 10;

/// Scrapes a target once.
pub(crate) async fn run(turn: Turn) {
    let (shared, target) = (&turn.shared, &turn.target);
    let _running = shared.metrics.running.track();
    let plan = target.plan.load_full();
    let now = shared.clock.now();
    let started = Instant::now();
    shared.metrics.lateness.observe(now.since(turn.tick).max(0) as f64 / 1_000.0);
    let attempt = Attempt {
        plan: Arc::clone(&plan),
        times: ScrapeTimes { scrape: plan.schedule.snap(turn.tick, now), now },
        started,
    };
    let fetched = match target.job.forced_error(&plan.settings.config) {
        Some(error) => Err(error),
        None => {
            let body_bytes = target.memory.lock().body_bytes;
            let limit =
                plan.settings.body_limit(shared.max_body_bytes.load(std::sync::atomic::Ordering::Relaxed));
            let budget = Arc::clone(&shared.body_budget);
            let deadline = started + plan.target.timeout;
            tokio::select! {
                fetched = fetch(&plan, deadline, body_bytes, limit, budget) => fetched,
                // Given up by a shutdown: nothing is known about the target, so nothing is said.
                () = shared.abort.cancelled() => return,
            }
        }
    };
    if fetched.as_ref().is_ok_and(|fetched| fetched.body.bytes().len() > LARGE_BODY_BYTES) {
        let Ok(_permit) = shared.parsers.acquire().await else { return };
        let (shared, target) = (Arc::clone(shared), Arc::clone(target));
        let parsed = tokio::task::spawn_blocking(move || attempt.complete(&shared, &target, fetched)).await;
        if let Err(error) = parsed {
            tracing::error!(%error, url = plan.target.url, "parsing a body failed");
        }
    } else {
        attempt.complete(shared, target, fetched);
    }
}

/// A scrape whose response has arrived or failed.
struct Attempt {
    plan: Arc<Plan>,
    times: ScrapeTimes,
    started: Instant,
}

impl Attempt {
    /// Turns the outcome into samples and hands them over.
    fn complete(self, shared: &Shared, target: &TargetLoop, fetched: Result<Fetched, ScrapeError>) {
        let mut memory = target.memory.lock();
        let memory = &mut *memory;
        let body_bytes = match &fetched {
            Ok(fetched) => fetched.body.bytes().len(),
            Err(_) => 0,
        };
        if body_bytes > 0 {
            memory.body_bytes = body_bytes;
        }
        let (mut ingested, error) = self.ingest(memory, fetched);
        let reported_body_bytes = match &error {
            Some(error) if error.is_body_limit() => -1,
            _ => body_bytes as i64,
        };
        self.report(memory, &mut ingested, error.is_none(), reported_body_bytes);

        let exposed = ingested.samples.iter().filter(|(_, sample)| !is_stale_nan(sample.value));
        shared.pending_stale.claim(target.id, exposed.map(|(series, _)| series.hash()));
        if memory.leaving {
            shared.pending_stale.wait(target.id, ingested.appeared.iter().copied());
        }
        let size = (memory.cache.heap_bytes(), memory.cache.series_count());
        shared.metrics.resize_cache(memory.counted, size);
        memory.counted = size;
        self.note(shared, target, &ingested, error, body_bytes);
        hand_over(shared, target, ingested);
    }

    fn ingest(
        &self,
        memory: &mut Memory,
        fetched: Result<Fetched, ScrapeError>,
    ) -> (Ingested, Option<ScrapeError>) {
        let config = &self.plan.settings.config;
        let readable = fetched.and_then(|fetched| {
            // An empty body is fine whatever it claims to be.
            if !fetched.body.bytes().is_empty() {
                content_type::check(fetched.content_type.as_deref(), config.fallback_scrape_protocol)?;
            }
            Ok(fetched)
        });
        match readable {
            Err(error) => (ingest::ingest_nothing(&mut memory.cache, self.times.scrape), Some(error)),
            Ok(fetched) => {
                let rules = self.plan.settings.sample_rules(&self.plan.target.labels);
                let body = fetched.body.bytes();
                let mut ingested =
                    ingest::ingest(body, &mut memory.cache, &mut memory.metadata, &rules, self.times);
                let error = ingested.error.take().map(ScrapeError::from);
                (ingested, error)
            }
        }
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
        };
        for (kind, value) in report.values() {
            let sample = Sample { timestamp: self.times.scrape, value };
            let (reported, first) = memory.cache.report(kind, &self.plan.target.labels, sample);
            ingested.samples.extend(reported);
            ingested.appeared.extend(first);
        }
    }

    /// Metrics, the target's status and the failure log.
    fn note(
        &self,
        shared: &Shared,
        target: &TargetLoop,
        ingested: &Ingested,
        error: Option<ScrapeError>,
        body_bytes: usize,
    ) {
        let took = self.started.elapsed();
        let metrics = &shared.metrics;
        metrics.count_result(error.as_ref().map_or(ScrapeResult::Success, ScrapeError::kind));
        metrics.duration.observe(took.as_secs_f64());
        metrics.count_drops(ingested.drops);
        metrics.forced_flushes.add(u64::from(ingested.forced_flush));
        let url = &self.plan.target.url;
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
            body_bytes,
        };
    }
}

fn hand_over(shared: &Shared, target: &TargetLoop, ingested: Ingested) {
    let stale = ingested.samples.iter().filter(|(_, sample)| is_stale_nan(sample.value)).count();
    shared.metrics.samples.add(ingested.samples.len() as u64);
    shared.metrics.stale_markers.add(stale as u64);
    if ingested.samples.is_empty() && ingested.metadata.is_empty() {
        return;
    }
    shared.sink.append(ScrapeBatch {
        job: Arc::clone(&target.job.name),
        samples: ingested.samples,
        metadata: ingested.metadata,
    });
}

/// Writes the stale markers of a target that was removed two intervals ago, for those of its series that nobody has
/// exposed since, stamped with the first tick that it missed.
pub(crate) fn end_of_run(shared: &Shared, target: &TargetLoop, stale_at: Timestamp) {
    let mut memory = target.memory.lock();
    let wanted: HashSet<u64> =
        shared.pending_stale.take(target.id, memory.cache.live_hashes()).into_iter().collect();
    let mut ingested = Ingested::default();
    memory.cache.end_of_run(stale_at, |hash| wanted.contains(&hash), &mut ingested.samples);
    shared.metrics.resize_cache(memory.counted, (0, 0));
    memory.counted = (0, 0);
    memory.cache = SeriesCache::new();
    hand_over(shared, target, ingested);
}

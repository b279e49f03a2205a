//! One remote-write endpoint: takes samples in, and sends them through as many shards as it needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use outrigger_model::clock::SharedClock;
use outrigger_model::sample::Timestamp;
use outrigger_rt::log_limit::LogLimit;
use outrigger_wire::remote_write;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::encode;
use super::metadata::MetadataStore;
use super::metrics::{DropReason, EndpointStats};
use super::queue::{Outgoing, Queue, ShardSet};
use super::sender::{self, Fate};
use super::settings::Settings;
use super::shard_planner::{self, Observation, ShardPlanner};
use super::status::EndpointStatus;
use crate::batch::{MetricMetadata, ScrapeBatch};
use crate::series::MemoKey;

/// An endpoint and its queue. Settings can be replaced while it runs; what waits is then sent with the new ones.
pub(crate) struct Endpoint {
    /// Whose memos in [`crate::series::Series`] are its own.
    slot: u32,
    clock: SharedClock,
    settings: watch::Sender<Arc<Settings>>,
    queue: Queue,
    stats: EndpointStats,
    log_limit: LogLimit,
    /// When a request last failed in a way that is retried, in milliseconds since the epoch.
    last_failure: AtomicI64,
    /// Cancelled when the endpoint is no longer configured.
    retired: CancellationToken,
}

/// How an endpoint's work ended a phase.
enum Turn {
    Reshard(usize),
    Stop,
}

impl Endpoint {
    pub(crate) fn new(slot: u32, settings: Settings, clock: SharedClock, log_limit: LogLimit) -> Self {
        let queue = Queue::new(settings.queue_limits(), settings.config.queue.min_shards);
        Self {
            slot,
            clock,
            queue,
            settings: watch::Sender::new(Arc::new(settings)),
            stats: EndpointStats::default(),
            log_limit,
            last_failure: AtomicI64::new(i64::MIN),
            retired: CancellationToken::new(),
        }
    }

    pub(crate) fn name(&self) -> String {
        self.settings.borrow().config.name.clone()
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Replaces the settings; requests that wait for their next attempt make it at once.
    pub(crate) fn set(&self, settings: Settings) {
        self.queue.set_limits(settings.queue_limits());
        self.settings.send_replace(Arc::new(settings));
    }

    /// Completes once the settings are no longer `known`.
    pub(crate) async fn settings_differ_from(&self, known: &Arc<Settings>) {
        let mut changes = self.settings.subscribe();
        if changes.wait_for(|settings| !Arc::ptr_eq(settings, known)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The endpoint is no longer configured: it sends what it has and ends.
    pub(crate) fn retire(&self) {
        self.retired.cancel();
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(crate) fn stats(&self) -> &EndpointStats {
        &self.stats
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn shards(&self) -> usize {
        self.queue.current().len()
    }

    pub(crate) fn queue_limit_bytes(&self) -> u64 {
        self.settings.borrow().queue_bytes
    }

    /// Age of the oldest sample that is not delivered.
    pub(crate) fn lag_seconds(&self) -> f64 {
        let oldest = self.queue.oldest();
        oldest.map_or(0.0, |oldest| sender::elapsed(oldest, self.now()).as_secs_f64())
    }

    /// Takes the samples of one scrape in. Bounded work, no waiting.
    pub(crate) fn append(&self, batch: &ScrapeBatch) {
        let settings = self.settings();
        let key = MemoKey { owner: self.slot, generation: settings.generation };
        let mut outgoing = Vec::with_capacity(batch.samples.len());
        for (series, sample) in &batch.samples {
            if let Some(labels) = series.memo(key, |labels| settings.encode(labels)) {
                outgoing.push(Outgoing { series_hash: series.hash(), labels, sample: *sample });
            }
        }
        let filtered = batch.samples.len() - outgoing.len();
        self.stats.samples_filtered.fetch_add(filtered as u64, Ordering::Relaxed);
        self.stats.samples_in.fetch_add(outgoing.len() as u64, Ordering::Relaxed);
        let lost = self.queue.push(&outgoing, Instant::now());
        if lost > 0 {
            self.stats.drop_samples(DropReason::QueueFull, lost);
            if let Some(suppressed) = self.log_limit.permit("queue_full") {
                tracing::warn!(
                    endpoint = settings.config.name,
                    samples = lost,
                    limit_bytes = settings.queue_bytes,
                    suppressed,
                    "remote write queue is full, oldest samples are dropped",
                );
            }
        }
    }

    pub(crate) fn note_failure(&self) {
        self.last_failure.store(self.now().millis(), Ordering::Relaxed);
    }

    pub(crate) fn log_retry(&self, error: &str, pause: Duration) {
        if let Some(suppressed) = self.log_limit.permit("retry") {
            tracing::warn!(
                endpoint = self.name(),
                error,
                pause_seconds = pause.as_secs_f64(),
                suppressed,
                "remote write request failed and is repeated",
            );
        }
    }

    pub(crate) fn log_drop(&self, samples: u64, error: &str) {
        if let Some(suppressed) = self.log_limit.permit("rejected") {
            tracing::error!(
                endpoint = self.name(),
                error,
                samples,
                suppressed,
                "receiver refused a batch for good, its samples are dropped",
            );
        }
    }

    pub(crate) fn status(&self) -> EndpointStatus {
        EndpointStatus::of(self)
    }

    /// Sends until `stop` is cancelled or the endpoint retired, then goes on for at most `flush` to empty the queue.
    pub(crate) async fn run(
        self: Arc<Self>,
        metadata: Arc<MetadataStore>,
        stop: CancellationToken,
        flush: Duration,
    ) {
        let mut metadata_task = JoinSet::new();
        metadata_task.spawn(Arc::clone(&self).send_metadata(metadata));
        let mut planner = ShardPlanner::default();
        let mut set = self.queue.current();
        loop {
            let mut workers = self.start_workers(&set);
            match self.work(&mut planner, &mut workers, &set, &stop).await {
                Turn::Reshard(shards) => {
                    tracing::info!(
                        endpoint = self.name(),
                        from = set.len(),
                        to = shards,
                        "change the number of shards"
                    );
                    let fresh = self.queue.reshard(shards);
                    // The new shards wait until the old ones are empty: a series must not overtake itself.
                    tokio::select! {
                        () = all_done(&mut workers) => {
                            self.queue.forget_old_sets();
                            set = fresh;
                        }
                        () = self.stopping(&stop) => return self.flush(workers, fresh, flush).await,
                    }
                }
                Turn::Stop => {
                    set.close();
                    return self.flush(workers, set, flush).await;
                }
            }
        }
    }

    fn start_workers(self: &Arc<Self>, set: &Arc<ShardSet>) -> JoinSet<()> {
        let mut workers = JoinSet::new();
        for shard in 0..set.len() {
            workers.spawn(sender::work_shard(Arc::clone(self), Arc::clone(set), shard));
        }
        workers
    }

    async fn stopping(&self, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.retired.cancelled() => {}
        }
    }

    /// Watches over the workers of one set until the number of shards changes or the endpoint stops.
    async fn work(
        self: &Arc<Self>,
        planner: &mut ShardPlanner,
        workers: &mut JoinSet<()>,
        set: &Arc<ShardSet>,
        stop: &CancellationToken,
    ) -> Turn {
        let mut ticks =
            tokio::time::interval_at(Instant::now() + shard_planner::PERIOD, shard_planner::PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = self.settings.subscribe();
        let bounds =
            |settings: &Settings| (settings.config.queue.min_shards, settings.config.queue.max_shards);
        loop {
            let (min, max) = bounds(&changes.borrow_and_update());
            let shards = tokio::select! {
                () = self.stopping(stop) => return Turn::Stop,
                _ = ticks.tick() => planner.plan(self.observe(), set.len(), min, max),
                _ = changes.changed() => {
                    let (min, max) = bounds(&changes.borrow_and_update());
                    set.len().clamp(min, max)
                }
                Some(ended) = workers.join_next() => {
                    // Workers of an open set never return: this one panicked, which lost its batch (counted).
                    tracing::error!(endpoint = self.name(), error = ?ended.err(), "a remote write shard failed, all are started anew");
                    workers.shutdown().await;
                    *workers = self.start_workers(set);
                    continue;
                }
            };
            if shards != set.len() {
                return Turn::Reshard(shards);
            }
        }
    }

    fn observe(&self) -> Observation {
        let stats = &self.stats;
        let since_failure = self.now().millis().saturating_sub(self.last_failure.load(Ordering::Relaxed));
        let newest_sent = stats.newest_sent();
        Observation {
            samples_in: stats.samples_in.load(Ordering::Relaxed),
            samples_out: stats.samples_sent.load(Ordering::Relaxed),
            sending: Duration::from_micros(stats.sending_micros.load(Ordering::Relaxed)),
            behind: self.queue.newest().map_or(Duration::ZERO, |newest| sender::elapsed(newest_sent, newest)),
            failing: since_failure < shard_planner::PERIOD.as_millis() as i64,
        }
    }

    /// Sends what is left, for at most `limit`; the rest is dropped and counted. `last` may hold a set that no worker
    /// has touched yet.
    async fn flush(self: Arc<Self>, mut workers: JoinSet<()>, last: Arc<ShardSet>, limit: Duration) {
        let sending = async {
            all_done(&mut workers).await;
            self.queue.forget_old_sets();
            last.close();
            workers = self.start_workers(&last);
            all_done(&mut workers).await;
        };
        let in_time = tokio::time::timeout(limit, sending).await.is_ok();
        // Aborted workers count the batches they held.
        workers.shutdown().await;
        let left = self.queue.samples();
        if left > 0 {
            self.stats.drop_samples(DropReason::Shutdown, left);
        }
        if !in_time {
            tracing::warn!(
                endpoint = self.name(),
                samples = self.stats.dropped(DropReason::Shutdown),
                "remote write stopped before everything was sent, the rest is lost",
            );
        }
    }

    /// Sends all metadata once in each interval.
    async fn send_metadata(self: Arc<Self>, metadata: Arc<MetadataStore>) {
        loop {
            let settings = self.settings();
            let config = &settings.config.metadata;
            tokio::select! {
                () = tokio::time::sleep(config.send_interval.max(Duration::from_secs(1))) => {}
                () = self.settings_differ_from(&settings) => continue,
            }
            if !config.send {
                continue;
            }
            let families = metadata.snapshot(self.now());
            for part in families.chunks(config.max_samples_per_send.max(1)) {
                self.send_families(part).await;
            }
        }
    }

    async fn send_families(&self, families: &[Arc<MetricMetadata>]) {
        let mut request = Vec::new();
        families.iter().for_each(|family| remote_write::put_metadata(family, &mut request));
        let count = families.len() as u64;
        let Ok(body) = encode::compress(&mut snap::raw::Encoder::new(), &request) else { return };
        match sender::send_until_decided(self, body).await {
            Fate::Delivered => self.stats.metadata_sent.fetch_add(count, Ordering::Relaxed),
            Fate::TooLarge | Fate::Rejected => self.stats.metadata_failed.fetch_add(count, Ordering::Relaxed),
        };
    }
}

async fn all_done(workers: &mut JoinSet<()>) {
    while workers.join_next().await.is_some() {}
}

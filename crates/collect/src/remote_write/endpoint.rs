//! One remote-write endpoint: takes samples in, and sends them through as many shards as it needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use outrigger_model::clock::SharedClock;
use outrigger_model::fault;
use outrigger_model::sample::Timestamp;
use outrigger_rt::log_limit::LogLimit;
use outrigger_storage::queue::Record;
use outrigger_wire::remote_write;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::disk::{self, Disk};
use super::encode::{self, Compressor, Section};
use super::metadata::MetadataStore;
use super::metrics::{DropReason, EndpointStats};
use super::protocol::{Message, Protocol};
use super::queue::{Queue, ShardSet, Spread, Unwritten};
use super::sender::{self, Fate};
use super::settings::Settings;
use super::shard_planner::{self, Observation, ShardPlanner};
use super::status::EndpointStatus;
use super::view::View;
use crate::batch::{BatchHistogram, MetricMetadata, ScrapeBatch};
use crate::series::{SeriesId, SeriesTable};

/// An endpoint and its queue. Settings can be replaced while it runs; what waits is then sent with the new ones.
pub(crate) struct Endpoint {
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
    /// An older set is empty.
    Emptied,
    Stop,
}

impl Endpoint {
    /// An endpoint that begins with what `disk` has kept.
    pub(crate) fn new(
        slot: u32,
        settings: Settings,
        disk: Option<(Disk, Vec<Record>)>,
        clock: SharedClock,
        log_limit: LogLimit,
    ) -> Self {
        let (disk, kept) = disk.map_or((None, Vec::new()), |(disk, kept)| (Some(disk), kept));
        let shards = settings.config.queue.min_shards;
        let queue = Queue::new(settings.queue_limits(), shards, settings.negotiation(), disk, kept);
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

    /// Whose memos in a [`SeriesTable`] are its own.
    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Replaces the settings; requests that wait for their next attempt make it at once.
    pub(crate) fn set(&self, settings: Settings) {
        self.queue.set_limits(settings.queue_limits());
        let known = self.settings();
        if known.config.protobuf_message != settings.config.protobuf_message
            || known.config.url != settings.config.url
        {
            self.queue.set_negotiation(settings.negotiation());
        }
        if let Some(disk) = self.queue.disk()
            && known.disk_bytes != settings.disk_bytes
        {
            let evicted = disk.set_max_bytes(settings.disk_bytes);
            let lost = evicted.iter().map(|record| self.queue.forget_evicted(record.id)).sum();
            self.stats.drop_samples(DropReason::QueueFull, lost);
        }
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
    pub(crate) fn append(&self, batch: &ScrapeBatch<'_>) {
        let settings = self.settings();
        batch.series.with_memo(self.slot, |view: &mut View| {
            let spread = view.spread(batch);
            if settings.changes_nothing() {
                self.append_under(batch, &settings, batch.series, spread, Some);
            } else {
                view.prepare(batch, &settings);
                self.append_under(batch, &settings, view.table(), spread, |series| view.resolve(series));
            }
        });
    }

    /// Takes in what `resolve` finds in `table`.
    fn append_under(
        &self,
        batch: &ScrapeBatch<'_>,
        settings: &Settings,
        table: &SeriesTable,
        spread: Spread,
        resolve: impl Fn(SeriesId) -> Option<SeriesId> + Copy,
    ) {
        let config = &settings.config;
        let mut section = Section::new(table);
        if config.send_exemplars && !batch.exemplars.is_empty() {
            self.stats.exemplars_in.fetch_add(batch.exemplars.len() as u64, Ordering::Relaxed);
            section = section.with_exemplars(batch.exemplars, resolve);
        }
        if !batch.starts.is_empty() {
            section = section.with_starts(batch.starts, resolve);
        }
        if config.metadata.send {
            section = section.with_metadata(batch.metadata);
        }
        let histograms = if config.send_native_histograms { batch.histograms } else { &[] };
        let knows_custom_buckets = self.queue.negotiation().protocol().message != Message::V1;
        let is_carried =
            move |sample: &BatchHistogram| knows_custom_buckets || !sample.histogram.has_custom_buckets();
        let unsupported =
            histograms.iter().filter(|sample| !is_carried(sample) && resolve(sample.series).is_some());
        let unsupported = unsupported.count() as u64;
        self.stats.drop_samples(DropReason::Unsupported, unsupported);
        let samples = batch.samples.iter().filter_map(move |sample| {
            Some((resolve(sample.series)?, encode::sample(sample.timestamp, sample.value)))
        });
        let histograms =
            histograms.iter().filter(move |sample| is_carried(sample)).filter_map(move |sample| {
                Some((resolve(sample.series)?, encode::histogram(sample.timestamp, &sample.histogram)))
            });
        let (added, lost) = self.queue.push(&section, spread, samples.chain(histograms), Instant::now());
        let filtered = (batch.samples.len() + batch.histograms.len()) as u64 - added - unsupported;
        self.stats.samples_filtered.fetch_add(filtered, Ordering::Relaxed);
        self.stats.samples_in.fetch_add(added, Ordering::Relaxed);
        self.note_lost(lost, settings);
    }

    fn note_lost(&self, lost: u64, settings: &Settings) {
        if lost == 0 {
            return;
        }
        self.stats.drop_samples(DropReason::QueueFull, lost);
        if let Some(suppressed) = self.log_limit.permit("queue_full") {
            tracing::warn!(
                endpoint = settings.config.name,
                samples = lost,
                limit_bytes = settings.queue_bytes,
                limit_disk_bytes = settings.disk_bytes,
                suppressed,
                "remote write queue is full, oldest samples are dropped",
            );
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
        let mut beside = JoinSet::new();
        beside.spawn(Arc::clone(&self).send_metadata(metadata));
        if self.queue.disk().is_some() {
            beside.spawn(Arc::clone(&self).write_to_disk());
            beside.spawn(Arc::clone(&self).sync_disk());
        }
        self.send(&stop, flush).await;
        beside.shutdown().await;
        self.leave().await;
    }

    /// Works on one set of shards after the other: those of an earlier run or number of shards first.
    async fn send(self: &Arc<Self>, stop: &CancellationToken, flush: Duration) {
        let mut planner = ShardPlanner::default();
        loop {
            let set = self.queue.first();
            let mut workers = self.start_workers(&set);
            let turn = match Arc::ptr_eq(&set, &self.queue.current()) {
                true => self.work(&mut planner, &mut workers, &set, stop).await,
                // The newer shards wait until the older ones are empty: a series must not overtake itself.
                false => tokio::select! {
                    () = all_done(&mut workers) => Turn::Emptied,
                    () = self.stopping(stop) => Turn::Stop,
                },
            };
            match turn {
                Turn::Reshard(shards) => {
                    tracing::info!(
                        endpoint = self.name(),
                        from = set.len(),
                        to = shards,
                        "change the number of shards"
                    );
                    self.queue.reshard(shards);
                    let emptied = tokio::select! {
                        () = all_done(&mut workers) => true,
                        () = self.stopping(stop) => false,
                    };
                    if !emptied {
                        return self.flush(workers, set, flush).await;
                    }
                    self.queue.forget(&set);
                }
                Turn::Emptied => self.queue.forget(&set),
                Turn::Stop => return self.flush(workers, set, flush).await,
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

    /// Sends what is left, for at most `limit`.
    async fn flush(self: &Arc<Self>, mut workers: JoinSet<()>, set: Arc<ShardSet>, limit: Duration) {
        let sending = async {
            let mut set = set;
            loop {
                set.close();
                all_done(&mut workers).await;
                if Arc::ptr_eq(&set, &self.queue.current()) {
                    return;
                }
                self.queue.forget(&set);
                set = self.queue.first();
                workers = self.start_workers(&set);
            }
        };
        let _ = tokio::time::timeout(limit, sending).await;
        // Aborted workers leave their batches where they were.
        workers.shutdown().await;
    }

    /// What was not sent stays on disk, as far as there is one; the rest is lost and counted.
    async fn leave(&self) {
        if let Some(disk) = self.queue.disk() {
            self.queue.complete_older(Duration::ZERO, Instant::now());
            while let Some(unwritten) = self.queue.next_unwritten() {
                if !self.write_one(disk, &unwritten).await {
                    break;
                }
            }
            disk.sync().await;
        }
        let kept = self.queue.samples_on_disk();
        let lost = self.queue.samples() - kept;
        self.stats.drop_samples(DropReason::Shutdown, lost);
        if lost > 0 {
            tracing::warn!(
                endpoint = self.name(),
                samples = lost,
                "remote write stopped before everything was sent, the rest is lost",
            );
        }
        if kept > 0 {
            tracing::info!(endpoint = self.name(), samples = kept, "what was not sent waits on disk");
        }
    }

    /// Writes batches to disk as they are completed.
    async fn write_to_disk(self: Arc<Self>) {
        let Some(disk) = self.queue.disk() else { return };
        loop {
            while let Some(unwritten) = self.queue.next_unwritten() {
                if !self.write_one(disk, &unwritten).await {
                    tokio::time::sleep(disk::RETRY).await;
                }
            }
            let deadline = self.queue.batch_send_deadline();
            let _ = tokio::time::timeout(deadline, disk.woken()).await;
            self.queue.complete_older(deadline, Instant::now());
        }
    }

    /// False when the disk does not take it.
    async fn write_one(&self, disk: &Disk, unwritten: &Unwritten) -> bool {
        match disk.write(unwritten.meta, unwritten.body.clone()).await {
            Ok(appended) => {
                let lost = self.queue.written(unwritten, appended.id, &appended.evicted);
                self.note_lost(lost, &self.settings());
                true
            }
            Err(error) => {
                if let Some(suppressed) = self.log_limit.permit("disk") {
                    tracing::error!(
                        endpoint = self.name(),
                        directory = %disk.directory().display(),
                        error = %fault::chain(&error),
                        suppressed,
                        "cannot write samples to disk, they stay in memory",
                    );
                }
                false
            }
        }
    }

    async fn sync_disk(self: Arc<Self>) {
        let Some(disk) = self.queue.disk() else { return };
        loop {
            tokio::time::sleep(disk::SYNC).await;
            disk.sync().await;
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
            // Version 2.0 says it with the series.
            let protocol = self.queue.negotiation().protocol();
            if protocol.message == Message::V2 {
                continue;
            }
            let families = metadata.snapshot(self.now());
            for part in families.chunks(config.max_samples_per_send.max(1)) {
                self.send_families(part, protocol).await;
            }
        }
    }

    async fn send_families(&self, families: &[Arc<MetricMetadata>], protocol: Protocol) {
        let mut request = Vec::new();
        families.iter().for_each(|family| remote_write::put_metadata(family, &mut request));
        let count = families.len() as u64;
        let Ok(body) = Compressor::new().compress(protocol.compression, &request) else { return };
        match sender::send_until_decided(self, protocol, body).await {
            Fate::Delivered => self.stats.metadata_sent.fetch_add(count, Ordering::Relaxed),
            Fate::TooLarge | Fate::Rejected => self.stats.metadata_failed.fetch_add(count, Ordering::Relaxed),
        };
    }
}

async fn all_done(workers: &mut JoinSet<()>) {
    while workers.join_next().await.is_some() {}
}

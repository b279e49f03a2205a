//! Remote write 1.0 and 2.0: every sample to every endpoint, in order, retried until it arrives or the room for it ends.
//!
//! [`RemoteWrite`] takes batches in ([`SampleSink`]) without ever waiting; each endpoint has its own queue, bounded in
//! bytes, so that a slow or dead receiver delays neither scraping nor the other endpoints. With a directory, what waits
//! is on disk as well and survives the process.

mod disk;
mod encode;
mod endpoint;
mod metadata;
mod metrics;
mod protocol;
mod queue;
mod sender;
mod settings;
mod shard_planner;
mod status;
mod verdict;
mod view;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outrigger_config::prometheus::RemoteWriteConfig;
use outrigger_model::clock::SharedClock;
use outrigger_model::fault::{self, Blame};
use outrigger_model::labels::Labels;
use outrigger_rt::http::{ClientOptions, HttpClient};
use outrigger_rt::log_limit::LogLimit;
use outrigger_rt::metrics::Registry;
use outrigger_rt::resolver::Resolver;
use outrigger_storage::queue::Record;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::batch::{SampleSink, ScrapeBatch};
use disk::Disk;
use endpoint::Endpoint;
use metadata::MetadataStore;
use settings::Settings;

pub use metrics::DropReason;
pub use settings::{EndpointSetupError, QueueBounds};
pub use status::EndpointStatus;

/// What [`RemoteWrite`] needs besides its configuration.
#[derive(Debug, Clone)]
pub struct RemoteWriteOptions {
    /// Wall clock.
    pub clock: SharedClock,
    /// Where `outrigger_remote_write_*` is exposed.
    pub registry: Registry,
    /// Names of receivers.
    pub resolver: Resolver,
    /// `User-Agent`, for example `Outrigger/0.1.0`.
    pub user_agent: String,
    /// Where the disk queues are; `None` keeps everything in memory. A queue that cannot be opened is reported, and its
    /// endpoint goes on in memory.
    pub directory: Option<PathBuf>,
    /// How long an endpoint that is stopped or no longer configured goes on sending what it has.
    pub flush_deadline: Duration,
    /// At most one log line about the same trouble of one endpoint in this time.
    pub log_period: Duration,
}

/// All endpoints.
pub struct RemoteWrite {
    options: RemoteWriteOptions,
    shared: Arc<Shared>,
    /// Held while a configuration is applied.
    applying: Mutex<()>,
    next_slot: AtomicU32,
    next_generation: AtomicU32,
    /// Open disk queues with the URL they were opened for.
    directories: Mutex<Vec<(String, PathBuf)>>,
}

#[derive(Default)]
struct Shared {
    /// In the order of the configuration.
    endpoints: RwLock<Vec<Arc<Endpoint>>>,
    metadata: Arc<MetadataStore>,
    /// Endpoints that were added and are not run yet.
    fresh: Mutex<Vec<Arc<Endpoint>>>,
    added: Notify,
}

impl RemoteWrite {
    /// Endpoints for `configs`; nothing is sent until [`RemoteWrite::run`]. `external_labels` are added to every
    /// series where absent; `bounds` are those of each endpoint.
    ///
    /// # Errors
    /// The first endpoint that cannot be set up.
    pub fn new(
        configs: &[Arc<RemoteWriteConfig>],
        external_labels: &Labels,
        bounds: QueueBounds,
        options: RemoteWriteOptions,
    ) -> Result<Self, EndpointSetupError> {
        let shared = Arc::new(Shared::default());
        let exposed = Arc::downgrade(&shared);
        options.registry.collector(move |exposition| {
            if let Some(shared) = exposed.upgrade() {
                metrics::expose(&shared.by_name(), exposition);
            }
        });
        let remote_write = Self {
            options,
            shared,
            applying: Mutex::new(()),
            next_slot: AtomicU32::new(1),
            next_generation: AtomicU32::new(1),
            directories: Mutex::default(),
        };
        remote_write.apply_config(configs, external_labels, bounds)?;
        Ok(remote_write)
    }

    /// Takes a new configuration over. An endpoint that is still there keeps its queue, also when its settings have
    /// changed: what waits is then sent with the new ones. It is recognised by its name, else by its URL, else, when
    /// exactly one endpoint went and one came, by that. What is gone sends what it has for the flush deadline.
    ///
    /// # Errors
    /// The first endpoint that cannot be set up; everything then stays as it was.
    pub fn apply_config(
        &self,
        configs: &[Arc<RemoteWriteConfig>],
        external_labels: &Labels,
        bounds: QueueBounds,
    ) -> Result<(), EndpointSetupError> {
        let _applying = self.applying.lock();
        let current = self.shared.endpoints.read().clone();
        let pairs = pair(&current, configs);
        let settings = configs
            .iter()
            .zip(&pairs)
            .map(|(config, pair)| {
                let known = pair.map(|at| current[at].settings());
                self.settings(config, external_labels, bounds, known.as_deref())
            })
            .collect::<Result<Vec<_>, _>>()?;

        let mut endpoints = Vec::with_capacity(configs.len());
        for (settings, pair) in settings.into_iter().zip(&pairs) {
            let endpoint = match (pair, settings) {
                (Some(at), None) => Arc::clone(&current[*at]),
                (Some(at), Some(settings)) => {
                    current[*at].set(settings);
                    Arc::clone(&current[*at])
                }
                (None, Some(settings)) => self.add(settings),
                (None, None) => continue,
            };
            endpoints.push(endpoint);
        }
        for (at, endpoint) in current.iter().enumerate() {
            if !pairs.contains(&Some(at)) {
                endpoint.retire();
            }
        }
        *self.shared.endpoints.write() = endpoints;
        self.shared.added.notify_one();
        Ok(())
    }

    /// The settings for `config`, or `None` when they are those it has already.
    fn settings(
        &self,
        config: &Arc<RemoteWriteConfig>,
        external_labels: &Labels,
        bounds: QueueBounds,
        known: Option<&Settings>,
    ) -> Result<Option<Settings>, EndpointSetupError> {
        let alike = known.filter(|known| known.encodes_like(config, external_labels));
        if alike.is_some_and(|known| known.config == *config && known.bounds() == bounds) {
            return Ok(None);
        }
        let generation = alike
            .map_or_else(|| self.next_generation.fetch_add(1, Ordering::Relaxed), |known| known.generation);
        let connects_alike = |known: &&Settings| {
            known.config.http == config.http && known.config.round_robin_dns == config.round_robin_dns
        };
        let client = match known.filter(connects_alike) {
            Some(known) => known.client.clone(),
            None => self.client(config)?,
        };
        Settings::new(Arc::clone(config), external_labels.clone(), bounds, client, generation).map(Some)
    }

    fn client(&self, config: &RemoteWriteConfig) -> Result<HttpClient, EndpointSetupError> {
        let options = ClientOptions {
            clock: Arc::clone(&self.options.clock),
            spread_addresses: config.round_robin_dns,
            ..ClientOptions::new(
                format!("remote_write/{}", config.name),
                self.options.user_agent.clone(),
                Blame::Remote,
            )
        };
        HttpClient::new(&config.http, options, self.options.resolver.clone())
            .map_err(|source| EndpointSetupError::Client { name: config.name.clone(), source })
    }

    fn add(&self, settings: Settings) -> Arc<Endpoint> {
        let slot = self.next_slot.fetch_add(1, Ordering::Relaxed);
        let log_limit = LogLimit::new(self.options.log_period);
        let disk = self.open_disk(&settings);
        let clock = Arc::clone(&self.options.clock);
        let endpoint = Arc::new(Endpoint::new(slot, settings, disk, clock, log_limit));
        self.shared.fresh.lock().push(Arc::clone(&endpoint));
        endpoint
    }

    /// The disk queue of a new endpoint.
    fn open_disk(&self, settings: &Settings) -> Option<(Disk, Vec<Record>)> {
        let root = self.options.directory.as_ref()?;
        let url = &settings.config.url;
        let mut used = self.directories.lock();
        let twin = used.iter().filter(|(of, _)| of == url).count();
        let directory = disk::directory(root, url, twin);
        match Disk::open(&directory, settings.disk_bytes) {
            Ok(opened) => {
                used.push((url.clone(), directory));
                Some(opened)
            }
            Err(error) => {
                tracing::error!(
                    endpoint = settings.config.name,
                    error = %fault::chain(&error),
                    "the disk queue cannot be opened: what waits for this endpoint is in memory only",
                );
                None
            }
        }
    }

    /// Says which directories hold samples that no endpoint sends.
    fn report_orphans(&self) {
        let Some(root) = &self.options.directory else { return };
        let used: Vec<PathBuf> = self.directories.lock().iter().map(|(_, path)| path.clone()).collect();
        for orphan in disk::orphans(root, &used) {
            tracing::warn!(
                directory = %orphan.display(),
                "a disk queue belongs to no configured endpoint: configure its URL again to send it, or delete it",
            );
        }
    }

    /// Sends until `stop` is cancelled, then goes on for at most the flush deadline to empty the queues.
    pub async fn run(&self, stop: CancellationToken) {
        self.report_orphans();
        let mut running = JoinSet::new();
        loop {
            for endpoint in self.shared.fresh.lock().drain(..) {
                let metadata = Arc::clone(&self.shared.metadata);
                running.spawn(endpoint.run(metadata, stop.clone(), self.options.flush_deadline));
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.shared.added.notified() => {}
                Some(ended) = running.join_next() => report(ended),
            }
        }
        while let Some(ended) = running.join_next().await {
            report(ended);
        }
    }

    /// The endpoints' state, in the order of the configuration.
    pub fn status(&self) -> Vec<EndpointStatus> {
        self.shared.endpoints.read().iter().map(|endpoint| endpoint.status()).collect()
    }
}

impl SampleSink for RemoteWrite {
    fn append(&self, batch: &ScrapeBatch<'_>) {
        let endpoints = self.shared.endpoints.read();
        for endpoint in endpoints.iter() {
            endpoint.append(batch);
        }
        // What endpoints that are no longer configured remembered goes with the next scrape.
        batch.series.retain_memos(|owner| endpoints.iter().any(|endpoint| endpoint.slot() == owner));
        drop(endpoints);
        let left_out = self.shared.metadata.update(batch.metadata, self.options.clock.now());
        if left_out > 0 {
            tracing::debug!(job = %batch.job, families = left_out, "too many metric families, metadata is not sent");
        }
    }
}

impl Shared {
    fn by_name(&self) -> BTreeMap<String, Arc<Endpoint>> {
        let endpoints = self.endpoints.read();
        endpoints.iter().map(|endpoint| (endpoint.name(), Arc::clone(endpoint))).collect()
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a remote write endpoint failed");
    }
}

/// For each configuration the position of the endpoint that continues it.
fn pair(current: &[Arc<Endpoint>], configs: &[Arc<RemoteWriteConfig>]) -> Vec<Option<usize>> {
    let known: Vec<Arc<RemoteWriteConfig>> =
        current.iter().map(|endpoint| Arc::clone(&endpoint.settings().config)).collect();
    let mut pairs = vec![None; configs.len()];
    type Alike = fn(&RemoteWriteConfig, &RemoteWriteConfig) -> bool;
    let rules: [Alike; 3] = [|a, b| a == b, |a, b| a.name == b.name, |a, b| a.url == b.url];
    for alike in rules {
        for (config, slot) in configs.iter().enumerate() {
            if pairs[config].is_none() {
                let free = |at: &usize| !pairs.contains(&Some(*at));
                pairs[config] = (0..known.len()).filter(free).find(|at| alike(&known[*at], slot));
            }
        }
    }
    let free: Vec<usize> = (0..known.len()).filter(|at| !pairs.contains(&Some(*at))).collect();
    let open: Vec<usize> = (0..configs.len()).filter(|at| pairs[*at].is_none()).collect();
    if let ([from], [to]) = (&free[..], &open[..]) {
        pairs[*to] = Some(*from);
    }
    pairs
}

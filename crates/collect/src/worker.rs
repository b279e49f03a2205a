//! The worker: scrapes what a master assigns to it, and goes on when there is none.
//!
//! A worker dials its masters in turn until one welcomes it, tells it what it scrapes already, and does what it is told:
//! take targets over, hand them over, remove them. What it knows is kept on its disk, so that it scrapes from the moment
//! it starts, whatever else is down. It has no credentials but those that come with its configuration.

mod backoff;
mod configuration;
mod costs;
mod driver;
mod files;
mod handovers;
mod keepers;
mod lateness;
mod metrics;
mod names;
mod remembered;
mod series_sets;
mod session;
mod usage;
mod view;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use outrigger_model::clock::SharedClock;
use outrigger_model::http::HttpClientConfig;
use outrigger_rt::grpc::GrpcChannel;
use outrigger_rt::http::BuildClientError;
use outrigger_rt::metrics::Registry;
use outrigger_rt::resolver::Resolver;
use outrigger_storage::sealed::Key;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::remote_write::RemoteWrite;
use crate::scrape::ScrapeEngine;
use driver::Driver;

pub use view::{JoinedMaster, WorkerView};

/// What a worker needs.
pub struct WorkerOptions {
    /// Name, the same after a restart and different from all others'; with mutual TLS a name of the certificate.
    pub name: String,
    /// Outrigger's version.
    pub version: String,
    /// Zone that it runs in; may be empty.
    pub zone: String,
    /// Its share of the load in comparison with others.
    pub weight: f64,
    /// URL of its web server for masters and other workers; may be empty.
    pub advertise: String,
    /// URLs of the masters.
    pub masters: Vec<String>,
    /// How masters are reached: TLS, token, proxy.
    pub client: HttpClientConfig,
    /// `User-Agent` towards masters.
    pub user_agent: String,
    /// Where it keeps what it knows; nowhere without.
    pub data_dir: Option<PathBuf>,
    /// Encrypts what it keeps.
    pub key: Option<Arc<Key>>,
    /// Wall clock.
    pub clock: SharedClock,
    /// Where `outrigger_worker_*` is exposed; all of it is sent to the master, too.
    pub registry: Registry,
    /// Names of masters; it learns what other workers have resolved, so it should be the one of `engine`, too.
    pub resolver: Resolver,
    /// Scrapes; the worker configures and runs it.
    pub engine: ScrapeEngine,
    /// Sends; the worker configures it, and its owner runs it.
    pub remote_write: Arc<RemoteWrite>,
    /// So long a worker that is to end goes on scraping what it has not handed over yet.
    pub leave_grace: Duration,
    /// At most one log line about the same trouble in this time.
    pub log_period: Duration,
}

/// A worker that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum BuildWorkerError {
    /// No master is configured.
    #[error("there is no master: add URLs to outrigger.worker.masters")]
    NoMaster,
    /// A master's URL, or the way to it, is wrong.
    #[error("set up the connection to the master at {url}")]
    Master {
        /// As configured.
        url: String,
        /// Why.
        source: BuildClientError,
    },
    /// Nothing can be kept.
    #[error("make the data directory {}", directory.display())]
    DataDirectory {
        /// Which.
        directory: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// A worker; cheap to clone, all clones are the same.
#[derive(Clone)]
pub struct Worker {
    view: Arc<Mutex<WorkerView>>,
    driver: Arc<Mutex<Option<Driver>>>,
}

impl Worker {
    /// A worker with what it knew before: its targets are in the engine when this returns, and wait for
    /// [`Worker::run`]. Reads its files.
    ///
    /// # Errors
    /// [`BuildWorkerError`]; files that cannot be used are no error, but said in the log and counted.
    pub fn build(options: WorkerOptions) -> Result<Self, BuildWorkerError> {
        let driver = Driver::new(options)?;
        Ok(Self { view: driver.view(), driver: Arc::new(Mutex::new(Some(driver))) })
    }

    /// Works until `stop` is cancelled: then its targets are handed over, as far as the grace allows, and the engine
    /// stops. To be called once.
    pub async fn run(&self, stop: CancellationToken) {
        let driver = self.driver.lock().take();
        if let Some(driver) = driver {
            driver.run(stop).await;
        }
    }

    /// How it is.
    pub fn status(&self) -> WorkerView {
        self.view.lock().clone()
    }

    /// The answer to `GET /-/alive`, by which a master tells a worker that it cannot hear from one that is dead.
    pub fn alive(&self) -> String {
        let view = self.view.lock();
        serde_json::json!({
            "worker": view.name,
            "instance": format!("{:016x}", view.instance),
            "targets": view.targets,
        })
        .to_string()
    }
}

/// The ways to masters, made as they are needed.
struct Channels {
    client: HttpClientConfig,
    user_agent: String,
    clock: SharedClock,
    resolver: Resolver,
    by_url: HashMap<String, GrpcChannel>,
}

impl Channels {
    fn to(&mut self, url: &str) -> Result<GrpcChannel, BuildClientError> {
        use outrigger_model::fault::Blame;
        use outrigger_rt::grpc::GrpcOptions;
        use outrigger_rt::http::ClientOptions;

        if let Some(known) = self.by_url.get(url) {
            return Ok(known.clone());
        }
        let client = ClientOptions {
            clock: Arc::clone(&self.clock),
            ..ClientOptions::new("config centre", self.user_agent.clone(), Blame::Us)
        };
        let channel = GrpcChannel::new(url, &self.client, GrpcOptions::new(client), self.resolver.clone())?;
        self.by_url.insert(url.to_owned(), channel.clone());
        Ok(channel)
    }
}

//! `outrigger worker`: scrapes what a master assigns, and sends it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use outrigger_collect::remote_write::RemoteWrite;
use outrigger_collect::scrape::{EngineOptions, ScrapeEngine};
use outrigger_collect::worker::{Worker, WorkerOptions};
use outrigger_config::prometheus::{Config, Limits, WorkerConfig};
use outrigger_model::http::{HttpAuth, HttpClientConfig};
use outrigger_model::labels::Labels;
use outrigger_rt::server::{Server, ServerConfig};
use outrigger_rt::signal::Signals;
use outrigger_rt::supervisor::{Phase, Supervisor};
use tokio::sync::mpsc;

use crate::api::{self, AppState, Parts, Role};
use crate::args::RunArgs;
use crate::local_files::load_config;
use crate::reload::{Configurable, ReloadRequest, Reloader};
use crate::run::{
    BODY_BUDGET_BYTES, LOG_PERIOD, SCRAPE_DRAIN, USER_AGENT, data_dir, queue_bounds, server_config,
};
use crate::running::Running;
use crate::self_metrics::{SelfMetrics, self_settings};
use crate::surroundings::{Surroundings, state_key};

/// The last save of what is known takes no longer.
const SAVE_TIME: Duration = Duration::from_secs(1);

/// Everything that was built and is not started yet.
struct WorkerProcess {
    supervisor: Supervisor,
    remote_write: Arc<RemoteWrite>,
    worker: Worker,
    self_metrics: SelfMetrics,
    server: Server,
    reloads: mpsc::Receiver<ReloadRequest>,
    reloader: Reloader<WorkerParts>,
    state: Arc<AppState>,
    grace: Duration,
}

/// Runs until a signal ends it.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let config = load(&args.config)?;
    crate::process::prepare()?;
    let grace = Duration::from_secs(args.shutdown_grace);
    crate::process::runtime()?.block_on(async {
        let signals = Signals::new().context("could not install signal handlers")?;
        let server = server_config(args.listen, &args.web)?;
        let worker = build(args.config.clone(), config, server, data_dir(args), grace).await?;
        worker.spawn()?.until_shutdown(signals).await
    })
}

/// Reads a worker's file, in which jobs and receivers have no place.
fn load(path: &Path) -> anyhow::Result<Config> {
    let config = load_config(path, false)?.config;
    if config.outrigger.worker.is_none() {
        anyhow::bail!("{}: outrigger.worker is missing: add it, with masters", path.display());
    }
    for (key, there) in [
        ("scrape_configs", !config.scrape_configs.is_empty()),
        ("remote_write", !config.remote_write.is_empty()),
    ] {
        if there {
            anyhow::bail!("{}: {key}: a worker gets it from its master: write it there", path.display());
        }
    }
    Ok(config)
}

async fn build(
    config_path: PathBuf,
    config: Config,
    server: ServerConfig,
    data_dir: Option<PathBuf>,
    grace: Duration,
) -> anyhow::Result<WorkerProcess> {
    let settings = config.outrigger.worker.clone().context("outrigger.worker is missing")?;
    let around = Surroundings::new(Role::Worker, &settings.name, data_dir, grace)?;
    if around.data_dir.is_none() {
        tracing::warn!("without --data-dir a restart while no master answers scrapes nothing");
    }
    let limits = Limits::default();
    let options = around.remote_write("remote-write");
    let remote_write = Arc::new(RemoteWrite::new(&[], &Labels::empty(), queue_bounds(limits), options)?);
    let self_metrics = SelfMetrics::build(&self_settings(&config), &around, &remote_write)?;
    let Surroundings { name, data_dir, clock, registry, resolver, supervisor, flush_deadline, .. } = around;
    let engine = ScrapeEngine::new(EngineOptions {
        clock: clock.clone(),
        registry: registry.clone(),
        resolver: resolver.clone(),
        sink: remote_write.clone(),
        user_agent: USER_AGENT.to_owned(),
        offset_seed: 0,
        max_body_bytes: limits.max_body_bytes,
        body_budget_bytes: BODY_BUDGET_BYTES,
        drain_deadline: SCRAPE_DRAIN,
        log_period: LOG_PERIOD,
    });
    let key = state_key(&config)?;
    let worker = Worker::build(WorkerOptions {
        name: name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        zone: settings.zone.clone(),
        weight: settings.weight,
        advertise: settings.advertise.clone(),
        masters: settings.masters.clone(),
        client: client(&settings),
        user_agent: format!("outrigger-worker/{}", env!("CARGO_PKG_VERSION")),
        data_dir: data_dir.clone(),
        key,
        clock: clock.clone(),
        registry: registry.clone(),
        resolver: resolver.clone(),
        engine: engine.clone(),
        remote_write: remote_write.clone(),
        leave_grace: grace.saturating_sub(flush_deadline + SCRAPE_DRAIN + SAVE_TIME),
        log_period: LOG_PERIOD,
    })?;
    let server = Server::bind(server).await.context("could not start the web server")?;
    tracing::info!(address = %server.address(), worker = name, "listening");
    let (reload_sender, reloads) = mpsc::channel(4);
    let parts = Parts {
        engine: Some(engine),
        remote_write: Some(remote_write.clone()),
        worker: Some(worker.clone()),
        ..Parts::default()
    };
    let state = Arc::new(AppState::new(
        clock,
        registry,
        supervisor.clone(),
        Role::Worker,
        parts,
        config_path.clone(),
        reload_sender,
    ));
    let parts = WorkerParts { started_with: config.clone(), self_metrics: self_metrics.clone() };
    let reloader = Reloader::new(config_path, config, parts, state.clone());
    Ok(WorkerProcess {
        supervisor,
        remote_write,
        worker,
        self_metrics,
        server,
        reloads,
        reloader,
        state,
        grace,
    })
}

impl WorkerProcess {
    /// Starts everything: what delivers before what produces.
    fn spawn(self) -> anyhow::Result<Running<WorkerParts>> {
        let Self { supervisor, remote_write, worker, self_metrics, server, reloads, reloader, state, grace } =
            self;
        let address = server.address();
        let router = api::router(state);
        supervisor.spawn("remote write", Phase::Drain, |stop| async move { remote_write.run(stop).await });
        self_metrics.spawn(&supervisor);
        reloader.start()?;
        supervisor.spawn("worker", Phase::Intake, |stop| async move { worker.run(stop).await });
        supervisor.spawn("web server", Phase::Last, |stop| server.serve(router, stop));
        Ok(Running { supervisor, grace, reloads, reloader, address })
    }
}

/// What a worker's own file is put in force in.
pub(crate) struct WorkerParts {
    started_with: Config,
    self_metrics: SelfMetrics,
}

impl Configurable for WorkerParts {
    type Loaded = Config;

    fn load(&self, path: &Path) -> anyhow::Result<Config> {
        load(path)
    }

    fn apply(&self, config: &Config) -> Result<(), String> {
        let (new, old) = (&config.outrigger, &self.started_with.outrigger);
        if new.worker != old.worker {
            return Err(
                "outrigger.worker has changed: restart the worker, its targets wait meanwhile".to_owned()
            );
        }
        if new.state_encryption_key_file != old.state_encryption_key_file {
            return Err("outrigger.state_encryption_key_file has changed: restart the worker".to_owned());
        }
        self.self_metrics.apply(&self_settings(config))
    }
}

/// How masters are reached.
fn client(settings: &WorkerConfig) -> HttpClientConfig {
    let token = settings.token.clone();
    HttpClientConfig {
        auth: token
            .map(|token| HttpAuth::Authorization { scheme: "Bearer".to_owned(), credentials: Some(token) }),
        tls: settings.tls.clone(),
        ..HttpClientConfig::default()
    }
}

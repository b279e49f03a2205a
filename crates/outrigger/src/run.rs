//! `outrigger run`: what is built, started, reloaded and shut down, and in which order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use outrigger_collect::remote_write::{QueueBounds, RemoteWrite};
use outrigger_collect::scrape::{EngineOptions, ScrapeEngine};
use outrigger_config::error::{Notice, Severity};
use outrigger_config::prometheus::{Config, Limits, Loaded};
use outrigger_control::{ApplyErrors, Discovery, DiscoveryOptions, TargetSink};
use outrigger_model::fault;
use outrigger_model::http::PemSource;
use outrigger_model::labels::{Fnv1a, Labels};
use outrigger_model::secret::SecretSource;
use outrigger_model::target::TargetDelta;
use outrigger_rt::server::{Server, ServerConfig, ServerTls};
use outrigger_rt::signal::Signals;
use outrigger_rt::supervisor::{Phase, Supervisor};
use tokio::sync::mpsc;

use crate::api::{self, AppState, Parts, Role};
use crate::args::{RunArgs, WebArgs};
use crate::local_files::load_to_run;
use crate::reload::{Configurable, ReloadRequest, Reloader};
use crate::running::Running;
use crate::self_metrics::SelfMetrics;
use crate::state_metrics::StateRole;
use crate::surroundings::Surroundings;

/// Name and version towards targets and receivers.
pub(crate) const USER_AGENT: &str = concat!("Outrigger/", env!("CARGO_PKG_VERSION"));
/// Name and version towards API servers.
pub(crate) const API_SERVER_USER_AGENT: &str = concat!("outrigger-master/", env!("CARGO_PKG_VERSION"));
/// Memory for all large scrape bodies together.
pub(crate) const BODY_BUDGET_BYTES: u64 = 512 << 20;
/// Scrapes under way at a shutdown may take this long.
pub(crate) const SCRAPE_DRAIN: Duration = Duration::from_secs(2);
/// A shutdown waits so long for receivers when what they have not taken is on disk.
const FLUSH_WITH_DISK: Duration = Duration::from_secs(1);
/// The same trouble is logged once in this time.
pub(crate) const LOG_PERIOD: Duration = Duration::from_secs(30);

/// Hands what discovery finds to the scrape engine.
struct ToEngine(ScrapeEngine);

impl TargetSink for ToEngine {
    fn apply(&self, delta: TargetDelta) {
        self.0.apply(delta);
    }
}

/// What a configuration of `run` is put in force in.
pub(crate) struct Collector {
    self_metrics: Option<SelfMetrics>,
    state_metrics: Option<StateRole>,
    engine: ScrapeEngine,
    remote_write: Arc<RemoteWrite>,
    discovery: Arc<Discovery>,
}

impl Configurable for Collector {
    type Loaded = Config;

    fn load(&self, path: &Path) -> anyhow::Result<Config> {
        let loaded = load_to_run(path)?;
        refuse_or_warn(&loaded)?;
        Ok(loaded.config)
    }

    fn apply(&self, config: &Config) -> Result<(), String> {
        let limits = config.outrigger.limits;
        match (&self.self_metrics, &config.outrigger.self_metrics) {
            (Some(running), Some(settings)) => running.apply(settings)?,
            (None, None) => {}
            _ => return Err("outrigger.self_metrics came or went: restart for that".to_owned()),
        }
        StateRole::unchanged(self.state_metrics.as_ref(), config)?;
        self.engine.apply_config(&config.scrape_configs).map_err(|error| fault::chain(&error))?;
        let external_labels = &config.global.external_labels;
        self.remote_write
            .apply_config(&config.remote_write, external_labels, queue_bounds(limits))
            .map_err(|error| fault::chain(&error))?;
        self.discovery.apply(config).map_err(|errors| describe(&errors))?;
        self.engine.set_max_body_bytes(limits.max_body_bytes);
        Ok(())
    }
}

/// One line for each thing that is wrong.
pub(crate) fn describe(errors: &ApplyErrors) -> String {
    let lines: Vec<String> = errors.0.iter().map(|error| fault::chain(error)).collect();
    lines.join("\n")
}

/// Everything that was built and is not started yet.
pub(crate) struct Outrigger {
    supervisor: Supervisor,
    remote_write: Arc<RemoteWrite>,
    self_metrics: Option<SelfMetrics>,
    state_metrics: Option<StateRole>,
    engine: ScrapeEngine,
    discovery: Arc<Discovery>,
    server: Server,
    reloads: mpsc::Receiver<ReloadRequest>,
    reloader: Reloader<Collector>,
    state: Arc<AppState>,
    grace: Duration,
}

/// Runs until a signal ends it.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let loaded = load_to_run(&args.config)?;
    refuse_or_warn(&loaded)?;
    crate::process::prepare()?;
    let grace = Duration::from_secs(args.shutdown_grace);
    crate::process::runtime()?.block_on(async {
        let signals = Signals::new().context("could not install signal handlers")?;
        let server = server_config(args.listen, &args.web)?;
        let outrigger = build(args.config.clone(), loaded.config, server, data_dir(args), grace).await?;
        outrigger.spawn()?.until_shutdown(signals).await
    })
}

/// Where state is kept; `None` in memory only.
pub(crate) fn data_dir(args: &RunArgs) -> Option<PathBuf> {
    (!args.data_dir.as_os_str().is_empty()).then(|| args.data_dir.clone())
}

/// How long a shutdown waits for receivers: what is on disk can wait for the next start, and nothing is scraped meanwhile.
pub(crate) fn flush_deadline(data_dir: Option<&Path>, grace: Duration) -> Duration {
    let longest = grace.saturating_sub(SCRAPE_DRAIN).max(FLUSH_WITH_DISK);
    if data_dir.is_some() { FLUSH_WITH_DISK } else { longest }
}

/// What may wait for each remote-write endpoint.
pub(crate) fn queue_bounds(limits: Limits) -> QueueBounds {
    QueueBounds { memory_bytes: limits.remote_write_queue_bytes, disk_bytes: limits.remote_write_disk_bytes }
}

/// The web server's settings; an address that other machines reach needs client certificates or an explicit word.
pub(crate) fn server_config(listen: SocketAddr, web: &WebArgs) -> anyhow::Result<ServerConfig> {
    if !listen.ip().is_loopback() && web.tls_client_ca_file.is_none() && !web.listen_without_authentication {
        anyhow::bail!(
            "--listen {listen} can be reached from other machines: add --tls-cert-file, --tls-key-file and \
             --tls-client-ca-file, or --listen-without-authentication if something in front of it guards it"
        );
    }
    let tls = match (&web.tls_cert_file, &web.tls_key_file) {
        (Some(cert), Some(key)) => Some(ServerTls::new(
            PemSource::File(cert.clone()),
            SecretSource::File(key.clone()),
            web.tls_client_ca_file.clone().map(PemSource::File),
        )),
        _ => None,
    };
    Ok(ServerConfig { tls, ..ServerConfig::new(listen) })
}

/// Refuses what would change what is collected or sent, warns once of the rest.
pub(crate) fn refuse_or_warn(loaded: &Loaded) -> anyhow::Result<()> {
    let refused: Vec<String> = loaded
        .notices
        .iter()
        .filter(|n| n.severity == Severity::RefuseToRun)
        .map(Notice::to_string)
        .collect();
    if !refused.is_empty() {
        anyhow::bail!("the configuration asks for what Outrigger does not do yet:\n{}", refused.join("\n"));
    }
    for notice in &loaded.notices {
        tracing::warn!(key = %notice.key, at = %notice.location, "not acted on: {}", notice.reason);
    }
    Ok(())
}

/// Builds all parts and binds the address; nothing runs yet.
pub(crate) async fn build(
    config_path: PathBuf,
    config: Config,
    server: ServerConfig,
    data_dir: Option<PathBuf>,
    grace: Duration,
) -> anyhow::Result<Outrigger> {
    let around = Surroundings::new(Role::Run, "", data_dir, grace)?;
    let remote_write = Arc::new(RemoteWrite::new(
        &config.remote_write,
        &config.global.external_labels,
        queue_bounds(config.outrigger.limits),
        around.remote_write("remote-write"),
    )?);
    let self_metrics = config.outrigger.self_metrics.as_ref();
    let self_metrics = self_metrics.map(|settings| SelfMetrics::build(settings, &around, &remote_write));
    let self_metrics = self_metrics.transpose()?;
    let state_metrics = StateRole::build(&config, &around, remote_write.clone())?;
    let Surroundings { clock, registry, resolver, supervisor, .. } = around;
    let engine = ScrapeEngine::new(EngineOptions {
        clock: clock.clone(),
        registry: registry.clone(),
        resolver: resolver.clone(),
        sink: remote_write.clone(),
        user_agent: USER_AGENT.to_owned(),
        offset_seed: offset_seed(&config.global.external_labels),
        max_body_bytes: config.outrigger.limits.max_body_bytes,
        body_budget_bytes: BODY_BUDGET_BYTES,
        drain_deadline: SCRAPE_DRAIN,
        log_period: LOG_PERIOD,
    });
    engine.apply_config(&config.scrape_configs)?;
    let discovery = Arc::new(Discovery::new(DiscoveryOptions {
        clock: clock.clone(),
        registry: registry.clone(),
        resolver,
        sink: Arc::new(ToEngine(engine.clone())),
        user_agent: API_SERVER_USER_AGENT.to_owned(),
    }));
    if let Some(state_metrics) = &state_metrics {
        state_metrics.begin(&discovery);
        state_metrics.set_sending(true);
    }
    let server = Server::bind(server).await.context("could not start the web server")?;
    tracing::info!(address = %server.address(), "listening");
    let (reload_sender, reloads) = mpsc::channel(4);
    let state = Arc::new(AppState::new(
        clock,
        registry,
        supervisor.clone(),
        Role::Run,
        Parts {
            engine: Some(engine.clone()),
            remote_write: Some(remote_write.clone()),
            discovery: Some(discovery.clone()),
            state_metrics: state_metrics.clone(),
            ..Parts::default()
        },
        config_path.clone(),
        reload_sender,
    ));
    let collector = Collector {
        self_metrics: self_metrics.clone(),
        state_metrics: state_metrics.clone(),
        engine: engine.clone(),
        remote_write: remote_write.clone(),
        discovery: discovery.clone(),
    };
    let reloader = Reloader::new(config_path, config, collector, state.clone());
    Ok(Outrigger {
        supervisor,
        remote_write,
        self_metrics,
        state_metrics,
        engine,
        discovery,
        server,
        reloads,
        reloader,
        state,
        grace,
    })
}

impl Outrigger {
    /// Starts everything: what delivers before what produces, and last the web server, so that the first answer
    /// already knows the jobs.
    ///
    /// # Errors
    /// When discovery cannot run the configuration.
    pub(crate) fn spawn(self) -> anyhow::Result<Running<Collector>> {
        let Self {
            supervisor,
            remote_write,
            self_metrics,
            state_metrics,
            engine,
            discovery,
            server,
            reloads,
            reloader,
            state,
            grace,
        } = self;
        let address = server.address();
        let router = api::router(state);
        supervisor.spawn("remote write", Phase::Drain, |stop| async move { remote_write.run(stop).await });
        if let Some(self_metrics) = self_metrics {
            self_metrics.spawn(&supervisor);
        }
        if let Some(state_metrics) = state_metrics {
            state_metrics.spawn(&supervisor);
        }
        supervisor.spawn("scrape engine", Phase::Intake, |stop| async move { engine.run(stop).await });
        reloader.start()?;
        supervisor.spawn("discovery", Phase::Intake, |stop| async move {
            stop.cancelled().await;
            discovery.stop();
        });
        supervisor.spawn("web server", Phase::Last, |stop| server.serve(router, stop));
        Ok(Running { supervisor, grace, reloads, reloader, address })
    }
}

/// The same for every restart on this machine, another for a twin on another one (as Prometheus'
/// `scrape/manager.go` derives it).
pub(crate) fn offset_seed(external_labels: &Labels) -> u64 {
    let name = rustix::system::uname();
    let mut hash = Fnv1a::new();
    hash.update(name.nodename().to_bytes());
    hash.update(&external_labels.hash64().to_be_bytes());
    hash.finish()
}

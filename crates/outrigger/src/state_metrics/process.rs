//! The process: starts, follows changes of its files and of its shard, and ends.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use axum::Router;
use outrigger_kube::{Cluster, ConnectOptions, RequestBudget};
use outrigger_model::clock::{Clock as _, SystemClock};
use outrigger_rt::server::{Server, ServerConfig, ServerLimits, ServerTls};
use outrigger_rt::signal::{Signal, Signals};
use outrigger_rt::supervisor::{Phase, Supervisor};
use outrigger_state::options::Options;
use outrigger_state::shard::Shard;

use super::auth_filter::AuthFilter;
use super::auto_sharding::AutoSharding;
use super::body::Pace;
use super::custom::{self, Definitions};
use super::files::WatchedFiles;
use super::instance::Instance;
use super::self_metrics::SelfMetrics;
use super::server::{self, Served};
use super::settings::{Refused, Settings};
use super::web_config::WebConfig;

/// `User-Agent` at the API server.
const USER_AGENT: &str = concat!("outrigger-state-metrics/", env!("CARGO_PKG_VERSION"));
/// Time that open scrapes get when the process ends.
const DRAIN: Duration = Duration::from_secs(3);
/// Connections of one port.
const MAX_CONNECTIONS: usize = 512;

/// Runs until a signal ends it.
pub(super) fn run(flags: Options) -> anyhow::Result<ExitCode> {
    super::say_without_effect(&flags);
    let settings = Settings::load(&flags).map_err(|refused| refused.error)?;
    crate::process::prepare()?;
    crate::process::runtime()?.block_on(async {
        let mut signals = Signals::new().context("could not install signal handlers")?;
        let process = Process::start(flags, settings).await?;
        process.until_shutdown(&mut signals).await
    })
}

/// What one set of options needs besides its instance: the connection, the definitions of custom resources, the shard.
struct Setup {
    settings: Settings,
    cluster: Cluster,
    definitions: Option<Definitions>,
    sharding: Option<AutoSharding>,
}

impl Setup {
    /// Connects. An API server that does not answer is waited for only where the shard depends on it.
    async fn new(settings: Settings, metrics: &SelfMetrics) -> anyhow::Result<Self> {
        let cluster = connect(&settings).await?;
        let definitions = settings
            .custom
            .clone()
            .map(|config| Definitions::follow(&cluster, config, metrics.custom.clone()));
        let sharding = match settings.options.auto_sharding() {
            true => Some(AutoSharding::start(&cluster, &settings.options).await?),
            false => None,
        };
        Ok(Self { settings, cluster, definitions, sharding })
    }

    /// Starts an instance for what is served and which shard this is now.
    async fn instance(&mut self) -> Arc<Instance> {
        let custom = match &mut self.definitions {
            Some(definitions) => definitions.resolve().await,
            None => Vec::new(),
        };
        let shard = match &mut self.sharding {
            Some(sharding) => Some(sharding.current()),
            None => self.settings.selection.shard,
        };
        let report = custom::report(self.settings.options.klog.verbosity);
        Instance::start(&self.cluster, &self.settings.selection, &custom, &report, shard)
    }

    /// Waits until another instance is needed, and says why. Cancel safe.
    async fn changed(&mut self) -> &'static str {
        let definitions = async {
            match &mut self.definitions {
                Some(definitions) => definitions.changed().await,
                None => std::future::pending().await,
            }
        };
        let sharding = async {
            match &mut self.sharding {
                Some(sharding) => sharding.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = definitions => "custom resource definitions",
            () = sharding => "the number of shards",
        }
    }

    fn served(&self, instance: Arc<Instance>, metrics: &SelfMetrics) -> Arc<Served> {
        let options = &self.settings.options;
        let cluster = Arc::new(ArcSwap::from_pointee(self.cluster.clone()));
        Arc::new(Served {
            instance: ArcSwap::new(instance),
            auth: options.auth_filter.then(|| AuthFilter::new(cluster.clone())),
            cluster: Some(cluster),
            metrics: metrics.clone(),
            gzip: options.enable_gzip_encoding,
            pace: Pace { buffer: options.server_write_timeout },
        })
    }
}

/// A running process.
struct Process {
    flags: Options,
    setup: Setup,
    metrics: SelfMetrics,
    served: Arc<Served>,
    servers: Servers,
    files: WatchedFiles,
}

/// What the process has to do.
enum Event {
    End,
    /// Read everything again.
    Reload(String),
    /// The same options, for other resources or another shard.
    Rebuild(&'static str),
}

impl Process {
    async fn start(flags: Options, settings: Settings) -> anyhow::Result<Self> {
        let metrics = SelfMetrics::new();
        tell_loaded(&metrics, &settings);
        let files = watched_files(&flags, &settings.options);
        let mut setup = Setup::new(settings, &metrics).await?;
        let instance = setup.instance().await;
        metrics.sharding(None, instance.shard);
        let served = setup.served(instance, &metrics);
        let servers = Servers::start(&setup.settings.options, &served).await?;
        Ok(Self { flags, setup, metrics, served, servers, files })
    }

    async fn until_shutdown(mut self, signals: &mut Signals) -> anyhow::Result<ExitCode> {
        loop {
            let event = tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Hangup => Event::Reload("SIGHUP".to_owned()),
                    Signal::Terminate | Signal::Interrupt => Event::End,
                },
                path = self.files.changed() => Event::Reload(path.display().to_string()),
                cause = self.setup.changed() => Event::Rebuild(cause),
                failure = self.servers.supervisor.failed() => return Err(failure.into()),
            };
            let work = async {
                match event {
                    Event::End => Ok(true),
                    Event::Reload(cause) => self.reload(&cause).await.map(|()| false),
                    Event::Rebuild(cause) => {
                        self.rebuild(cause).await;
                        Ok(false)
                    }
                }
            };
            let ended = tokio::select! {
                ended = work => ended?,
                _signal = signals.shutdown() => true,
            };
            if ended {
                break;
            }
        }
        tracing::info!("shutting down");
        let force = async {
            let _second = signals.shutdown().await;
        };
        self.servers.stop(force).await;
        Ok(ExitCode::SUCCESS)
    }

    /// Reads everything again. What cannot run is refused, and what runs goes on.
    async fn reload(&mut self, cause: &str) -> anyhow::Result<()> {
        tracing::info!(cause, "changes detected");
        let refused = match Settings::load(&self.flags) {
            Ok(settings) => match Setup::new(settings, &self.metrics).await {
                Ok(setup) => return self.change_to(setup).await,
                Err(error) => Refused::from(error),
            },
            Err(refused) => refused,
        };
        if let Some((kind, path)) = &refused.file {
            self.metrics.file_refused(kind, path);
        }
        tracing::error!("the earlier options stay in force: {:#}", refused.error);
        Ok(())
    }

    /// Puts other options in force. What runs serves on until the new instance is whole.
    async fn change_to(&mut self, mut setup: Setup) -> anyhow::Result<()> {
        let instance = setup.instance().await;
        instance.settled().await;
        let before = self.served.instance.load().shard;
        self.metrics.sharding(before, instance.shard);
        tell_loaded(&self.metrics, &setup.settings);
        if same_servers(&self.setup.settings.options, &setup.settings.options) {
            if let Some(cluster) = &self.served.cluster {
                cluster.store(Arc::new(setup.cluster.clone()));
            }
            self.served.instance.store(instance);
        } else {
            self.served = setup.served(instance, &self.metrics);
            self.servers.stop(std::future::pending()).await;
            self.servers = Servers::start(&setup.settings.options, &self.served).await?;
        }
        self.files = watched_files(&self.flags, &setup.settings.options);
        self.setup = setup;
        tracing::info!("new options are in force");
        Ok(())
    }

    /// Builds another instance of the same options, and puts it in place of the old one once it is whole.
    async fn rebuild(&mut self, cause: &str) {
        tracing::info!(cause, "building anew");
        let instance = self.setup.instance().await;
        instance.settled().await;
        let before = self.served.instance.load().shard;
        self.metrics.sharding(before, instance.shard);
        self.served.instance.store(instance);
    }
}

/// The listeners and what they serve; they end when it is dropped.
struct Servers {
    supervisor: Supervisor,
}

impl Servers {
    async fn start(options: &Options, served: &Arc<Served>) -> anyhow::Result<Self> {
        let supervisor = Supervisor::new();
        let mut bound: Vec<(&'static str, Server, Router)> = Vec::new();
        let limits = limits(options);
        let web = match options.tls_config.as_str() {
            "" => None,
            path => Some(WebConfig::load(path)?),
        };
        let tls = web.as_ref().and_then(|web| web.tls.clone());
        let total = options.virtual_shard_ports.len();
        for (index, port) in options.virtual_shard_ports.iter().enumerate() {
            let shard = Shard { index: u32::try_from(index)?, total: u32::try_from(total)? };
            let server = bind("--virtual-shard-ports", &options.host, *port, &tls, limits).await?;
            bound.push(("shard", server, server::shard_router(served, shard)));
        }
        let (host, port) = (&options.telemetry_host, options.telemetry_port);
        let telemetry = bind("--telemetry-port", host, port, &tls, limits).await?;
        bound.push(("telemetry", telemetry, server::telemetry_router(served)));
        let main = bind("--port", &options.host, options.port, &tls, limits).await?;
        bound.push(("metrics", main, server::main_router(served)));
        for (name, server, router) in bound {
            let router = web.iter().fold(router, |router, web| web.guard(router));
            tracing::info!(server = name, address = %server.address(), "listening");
            supervisor.spawn(name, Phase::Last, |stop| server.serve(router, stop));
        }
        Ok(Self { supervisor })
    }

    async fn stop(&self, force: impl Future<Output = ()>) {
        self.supervisor.shutdown(DRAIN + Duration::from_secs(1), force).await;
    }
}

fn limits(options: &Options) -> ServerLimits {
    ServerLimits {
        max_connections: MAX_CONNECTIONS,
        patience: options.server_write_timeout.max(options.server_read_timeout),
        idle: Some(options.server_idle_timeout),
        header: Some(options.server_read_header_timeout),
        max_body_bytes: 1 << 20,
        drain: DRAIN,
        ..ServerLimits::default()
    }
}

/// Listens on a host and port; `::` takes both protocols where the machine has them.
async fn bind(
    flag: &str,
    host: &str,
    port: u16,
    tls: &Option<ServerTls>,
    limits: ServerLimits,
) -> anyhow::Result<Server> {
    let addresses = addresses(host, port).await.with_context(|| format!("{flag} {port}: host {host:?}"))?;
    let mut failure = None;
    for listen in addresses {
        match Server::bind(ServerConfig { listen, tls: tls.clone(), limits }).await {
            Ok(server) => return Ok(server),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        Some(error) => Err(anyhow::Error::new(error).context(format!("{flag} {port}"))),
        None => anyhow::bail!("{flag} {port}: host {host:?} has no address"),
    }
}

async fn addresses(host: &str, port: u16) -> anyhow::Result<Vec<SocketAddr>> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Ok(match bare {
        // On a machine without IPv6, everything is 0.0.0.0.
        "" | "::" => vec![SocketAddr::from(([0u16; 8], port)), SocketAddr::from(([0u8; 4], port))],
        _ => tokio::net::lookup_host((bare, port)).await?.collect(),
    })
}

async fn connect(settings: &Settings) -> anyhow::Result<Cluster> {
    let watches = u32::try_from(settings.selection.resources.len()).unwrap_or(u32::MAX);
    let namespaces = settings.selection.scope.namespaces.as_ref().map_or(1, Vec::len);
    let options = ConnectOptions {
        user_agent: USER_AGENT.to_owned(),
        server: settings.server(),
        budget: RequestBudget {
            per_second: 20.0,
            burst: 2 * watches.saturating_mul(u32::try_from(namespaces).unwrap_or(u32::MAX)).clamp(20, 2_000),
        },
        ..ConnectOptions::default()
    };
    Cluster::connect(settings.connection(), options)
        .await
        .context("could not set up the connection to the API server")
}

fn tell_loaded(metrics: &SelfMetrics, settings: &Settings) {
    let seconds = SystemClock.now().millis() as f64 / 1000.0;
    for file in &settings.files {
        metrics.file_loaded(file.kind, &file.path, file.hash, seconds);
    }
}

fn watched_files(flags: &Options, options: &Options) -> WatchedFiles {
    let named = [&flags.config, &options.custom_resource_config_file, &options.kubeconfig];
    WatchedFiles::new(named.into_iter().filter(|path| !path.is_empty()).map(PathBuf::from))
}

/// Whether the listeners can stay as they are.
fn same_servers(before: &Options, now: &Options) -> bool {
    let of = |options: &Options| {
        let hosts =
            (options.host.clone(), options.port, options.telemetry_host.clone(), options.telemetry_port);
        let times = (
            options.server_read_timeout,
            options.server_write_timeout,
            options.server_idle_timeout,
            options.server_read_header_timeout,
        );
        let rest = (
            options.virtual_shard_ports.clone(),
            options.auth_filter,
            options.enable_gzip_encoding,
            options.tls_config.clone(),
        );
        (hosts, times, rest)
    };
    of(before) == of(now)
}

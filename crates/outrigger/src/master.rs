//! `outrigger master`: discovers, assigns, serves the config centre.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use outrigger_collect::remote_write::RemoteWrite;
use outrigger_config::prometheus::{CentreConfig, EtcdConfig};
use outrigger_control::election::Election;
use outrigger_control::fleet::{FleetDriverOptions, FleetOptions};
use outrigger_control::scaling::ScalingLimits;
use outrigger_control::store::{Candidate, EmbeddedStore, EtcdLogin, EtcdOptions, EtcdStore, StateStore};
use outrigger_control::{Discovery, DiscoveryOptions, FleetHandle};
use outrigger_model::clock::SharedClock;
use outrigger_model::http::HttpClientConfig;
use outrigger_rt::grpc::{TokenName, Tokens, duplex_service};
use outrigger_rt::resolver::Resolver;
use outrigger_rt::server::{Server, ServerConfig, ServerLimits, ServerTls};
use outrigger_rt::signal::Signals;
use outrigger_rt::supervisor::{Phase, Supervisor};
use outrigger_wire::centre::{KEEP_PATH, WORK_PATH};
use tokio::sync::mpsc;

use crate::api::{self, AppState, Parts, Role};
use crate::args::RunArgs;
use crate::fleet_view::MasterView;
use crate::master_config::MasterFile;
use crate::master_parts::{MasterParts, MasterSurroundings};
use crate::reload::{ReloadRequest, Reloader};
use crate::run::{API_SERVER_USER_AGENT, data_dir, offset_seed, queue_bounds, server_config};
use crate::running::Running;
use crate::self_metrics::{SelfMetrics, self_settings};
use crate::state_metrics::StateRole;
use crate::surroundings::{Surroundings, state_key};

/// A call to etcd takes at most this long.
const STORE_TIMEOUT: Duration = Duration::from_secs(3);
/// The first worker of a new fleet waits so long for others before it gets targets.
const SETTLE: Duration = Duration::from_secs(2);

/// Everything that was built and is not started yet.
struct Master {
    supervisor: Supervisor,
    election: Election,
    fleet: FleetHandle,
    remote_write: Arc<RemoteWrite>,
    self_metrics: SelfMetrics,
    state_metrics: Option<StateRole>,
    parts: MasterParts,
    centre: Server,
    tokens: Tokens,
    server: Server,
    reloads: mpsc::Receiver<ReloadRequest>,
    reloader: Reloader<MasterParts>,
    state: Arc<AppState>,
    grace: Duration,
}

/// Runs until a signal ends it.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let file = MasterFile::read(&args.config)?;
    crate::process::prepare()?;
    let grace = Duration::from_secs(args.shutdown_grace);
    crate::process::runtime()?.block_on(async {
        let signals = Signals::new().context("could not install signal handlers")?;
        let server = server_config(args.listen, &args.web)?;
        let data_dir =
            data_dir(args).context("a master needs --data-dir: its state and the last targets are there")?;
        let master = build(args.config.clone(), file, server, data_dir, grace).await?;
        master.spawn()?.until_shutdown(signals).await
    })
}

async fn build(
    config_path: PathBuf,
    file: MasterFile,
    server: ServerConfig,
    data_dir: PathBuf,
    grace: Duration,
) -> anyhow::Result<Master> {
    let config = &file.config;
    let centre = config.outrigger.centre.clone().unwrap_or_default();
    let around = Surroundings::new(Role::Master, &centre.name, Some(data_dir.clone()), grace)?;
    let remote_write = Arc::new(RemoteWrite::new(
        &config.remote_write,
        &config.global.external_labels,
        queue_bounds(config.outrigger.limits),
        around.remote_write("remote-write"),
    )?);
    let self_metrics = SelfMetrics::build(&self_settings(config), &around, &remote_write)?;
    let state_metrics = StateRole::build(config, &around, remote_write.clone())?;
    let Surroundings { name, clock, registry, resolver, supervisor, .. } = around;
    let store = store(centre.etcd.as_ref(), &data_dir, &clock, &resolver)?;
    let centre_server =
        Server::bind(centre_config(&centre)).await.context("could not start the config centre")?;
    let address = advertised(&centre, centre_server.address());
    tracing::info!(name, address = %centre_server.address(), advertised = address, "config centre listening");
    let candidate = Candidate { name: name.as_str().into(), address: address.as_str().into() };
    let election = Election::new(Arc::clone(&store), candidate, centre.leader_lease);
    election.register(&registry);
    let key = state_key(config)?;
    let fleet = FleetHandle::new(FleetDriverOptions {
        fleet: FleetOptions {
            master: name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lease: centre.lease,
            replication_factor: centre.replication_factor as usize,
            settle: SETTLE,
        },
        clock: clock.clone(),
        registry: registry.clone(),
        resolver: resolver.clone(),
        store: store.clone(),
        data_dir: Some(data_dir.clone()),
        key: key.clone(),
        probe: HttpClientConfig::default(),
        token_workers: token_workers(&centre),
        offset_seed: offset_seed(&config.global.external_labels),
        scaling: ScalingLimits::default(),
    })?;
    let discovery = Arc::new(Discovery::new(DiscoveryOptions {
        clock: clock.clone(),
        registry: registry.clone(),
        resolver: resolver.clone(),
        sink: fleet.sink(),
        user_agent: API_SERVER_USER_AGENT.to_owned(),
    }));
    let server = Server::bind(server).await.context("could not start the web server")?;
    tracing::info!(address = %server.address(), "listening");
    let (reload_sender, reloads) = mpsc::channel(4);
    let parts = MasterParts::new(MasterSurroundings {
        started_with: centre.clone(),
        name: name.clone(),
        data_dir,
        key,
        clock: clock.clone(),
        registry: registry.clone(),
        resolver,
        remote_write: remote_write.clone(),
        self_metrics: self_metrics.clone(),
        state_metrics: state_metrics.clone(),
        fleet: fleet.clone(),
        discovery: discovery.clone(),
        standing: election.standing(),
    });
    let view = MasterView {
        name,
        fleet: fleet.clone(),
        standing: election.standing(),
        parts: parts.clone(),
        store: store.clone(),
    };
    let shown = Parts {
        discovery: Some(discovery.clone()),
        master: Some(view),
        state_metrics: state_metrics.clone(),
        ..Parts::default()
    };
    let state = Arc::new(AppState::new(
        clock,
        registry,
        supervisor.clone(),
        Role::Master,
        shown,
        config_path.clone(),
        reload_sender,
    ));
    let reloader = Reloader::new(config_path, file, parts.clone(), state.clone());
    let tokens = tokens(&centre);
    Ok(Master {
        supervisor,
        election,
        fleet,
        remote_write,
        self_metrics,
        state_metrics,
        parts,
        centre: centre_server,
        tokens,
        server,
        reloads,
        reloader,
        state,
        grace,
    })
}

impl Master {
    /// Starts everything: the election last, so that a leader has its configuration.
    fn spawn(self) -> anyhow::Result<Running<MasterParts>> {
        let Self {
            supervisor,
            election,
            fleet,
            remote_write,
            self_metrics,
            state_metrics,
            parts,
            centre,
            tokens,
            server,
            reloads,
            reloader,
            state,
            grace,
        } = self;
        let address = server.address();
        let router = api::router(state);
        supervisor.spawn("remote write", Phase::Drain, |stop| async move { remote_write.run(stop).await });
        self_metrics.spawn(&supervisor);
        if let Some(state_metrics) = state_metrics {
            state_metrics.spawn(&supervisor);
        }
        reloader.start()?;
        let (workers, keeper) = (fleet.clone(), fleet.clone());
        let keep = duplex_service(KEEP_PATH, tokens.clone(), move |peer, from, to| {
            let keeper = keeper.clone();
            async move { keeper.keep(peer, from, to).await }.boxed()
        });
        let service = duplex_service(WORK_PATH, tokens, move |peer, from, to| {
            let workers = workers.clone();
            async move { workers.serve(peer, from, to).await }.boxed()
        });
        let (standing, handle) = (election.standing(), election.handle());
        supervisor.spawn("election", Phase::Intake, |stop| election.run(stop));
        supervisor.spawn("configuration", Phase::Intake, |stop| parts.follow(stop));
        supervisor.spawn("fleet", Phase::Drain, |stop| fleet.run(standing, handle, stop));
        supervisor.spawn("config centre", Phase::Last, |stop| centre.serve(service.merge(keep), stop));
        supervisor.spawn("web server", Phase::Last, |stop| server.serve(router, stop));
        Ok(Running { supervisor, grace, reloads, reloader, address })
    }
}

fn store(
    etcd: Option<&EtcdConfig>,
    data_dir: &Path,
    clock: &SharedClock,
    resolver: &Resolver,
) -> anyhow::Result<Arc<dyn StateStore>> {
    let Some(etcd) = etcd else {
        let path = data_dir.join("state.redb");
        let store = EmbeddedStore::open(path, clock.clone()).context("could not open the state file")?;
        return Ok(Arc::new(store));
    };
    let options = EtcdOptions {
        endpoints: etcd.endpoints.clone(),
        http: HttpClientConfig { tls: etcd.tls.clone(), ..HttpClientConfig::default() },
        login: etcd.user.clone().map(|(user, password)| EtcdLogin { user, password }),
        prefix: etcd.prefix.clone(),
        timeout: STORE_TIMEOUT,
        user_agent: API_SERVER_USER_AGENT.to_owned(),
        clock: clock.clone(),
    };
    Ok(Arc::new(EtcdStore::new(options, resolver).context("outrigger.centre.etcd")?))
}

fn centre_config(centre: &CentreConfig) -> ServerConfig {
    let tls = centre
        .tls
        .as_ref()
        .map(|tls| ServerTls::new(tls.cert.clone(), tls.key.clone(), tls.client_ca.clone()));
    ServerConfig { tls, limits: ServerLimits::for_streams(), ..ServerConfig::new(centre.listen) }
}

fn advertised(centre: &CentreConfig, bound: SocketAddr) -> String {
    let scheme = if centre.tls.is_some() { "https" } else { "http" };
    if centre.advertise.is_empty() { format!("{scheme}://{bound}") } else { centre.advertise.clone() }
}

/// Tokens go by their place in the configuration: what they are is secret.
fn token_name(place: usize) -> Arc<str> {
    format!("outrigger.centre.tokens[{place}]").into()
}

fn tokens(centre: &CentreConfig) -> Tokens {
    let tokens = centre.tokens.iter().enumerate();
    Tokens::new(tokens.map(|(place, token)| (TokenName(token_name(place)), token.token.clone())))
}

fn token_workers(centre: &CentreConfig) -> std::collections::HashMap<Arc<str>, String> {
    let tokens = centre.tokens.iter().enumerate();
    tokens.map(|(place, token)| (token_name(place), token.worker.clone())).collect()
}

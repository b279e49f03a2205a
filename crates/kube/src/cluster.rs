//! One cluster: its connection, its budget, its watches.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::HeaderValue;
use outrigger_model::clock::{SharedClock, SystemClock};
use outrigger_model::fault::chain;
use outrigger_rt::log_limit::LogLimit;
use outrigger_rt::metrics::Registry;
use outrigger_rt::resolver::{Resolver, ResolverOptions};
use outrigger_wire::kubernetes::{CustomResource, ResourceKind};
use parking_lot::RwLock;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::budget::{Bucket, RequestBudget};
use crate::credentials::{Access, ClusterConnection, ConnectError, Surroundings};
use crate::driver::Watcher;
use crate::features::{ServerFeatures, ServerVersion};
use crate::machine::WatchPolicy;
use crate::namespaces::FanIn;
use crate::options::WatchOptions;
use crate::request::RequestKind;
use crate::sink::Sink;
use crate::status::{Accounts, RequestCount, WatchStatus};
use crate::transport::{Lane, Transport};
use crate::{ObjectSink, WatchSink};

/// How a cluster is watched.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Name of the cluster in metrics and logs.
    pub cluster: String,
    /// `User-Agent`, for example `outrigger-master/0.1.0`.
    pub user_agent: String,
    /// Requests that may be sent, all resources together.
    pub budget: RequestBudget,
    /// Times and limits of the list/watch.
    pub policy: WatchPolicy,
    /// Largest object in bytes.
    pub object_limit: usize,
    /// Wall clock, for credentials and status.
    pub clock: SharedClock,
    /// Names to addresses.
    pub resolver: Resolver,
    /// URL of the API server in place of the one that comes with the credentials, as `--apiserver` and `--master` of
    /// Kubernetes' programs.
    pub server: Option<String>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            cluster: String::new(),
            user_agent: concat!("outrigger-master/", env!("CARGO_PKG_VERSION")).to_owned(),
            budget: RequestBudget::default(),
            policy: WatchPolicy::default(),
            object_limit: 16 << 20,
            clock: Arc::new(SystemClock),
            resolver: Resolver::new(ResolverOptions::default()),
            server: None,
        }
    }
}

/// A cluster that can be watched. Cheap to clone; all clones share connections, budget and counters.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) shared: Arc<ClusterShared>,
}

pub(crate) struct ClusterShared {
    connection: ClusterConnection,
    options: ConnectOptions,
    user_agent: HeaderValue,
    transport: RwLock<Arc<Transport>>,
    pub(crate) bucket: Bucket,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) log_limit: LogLimit,
    version: Mutex<Option<KnownVersion>>,
    reloaded: Mutex<Option<Instant>>,
}

struct KnownVersion {
    features: ServerFeatures,
    until: Instant,
}

/// How long the server's version is taken for granted; upgrades take minutes.
const VERSION_VALID: Duration = Duration::from_secs(600);
/// How long a failed `GET /version` is not repeated.
const VERSION_RETRY: Duration = Duration::from_secs(30);
/// `GET /version` is small.
const VERSION_DEADLINE: Duration = Duration::from_secs(10);
/// Credentials are loaded anew at most this often.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

impl Cluster {
    /// Loads credentials. The server is not asked anything yet: it may be down, and watches wait for it.
    ///
    /// # Errors
    /// When the configuration cannot work whatever the server says; the message names file and key.
    pub async fn connect(
        connection: ClusterConnection,
        options: ConnectOptions,
    ) -> Result<Self, ConnectError> {
        let access = load(&connection, &options).await?;
        let accounts = Arc::new(Accounts::new(options.cluster.clone(), options.clock.clone()));
        let user_agent =
            HeaderValue::from_str(&options.user_agent).map_err(|_| ConnectError::HttpConfig {
                problem: format!("user agent {:?} cannot be sent as a header", options.user_agent),
            })?;
        let transport = Transport::new(
            access,
            user_agent.clone(),
            options.clock.clone(),
            options.resolver.clone(),
            accounts.connections.clone(),
        );
        Ok(Self {
            shared: Arc::new(ClusterShared {
                bucket: Bucket::new(options.budget),
                transport: RwLock::new(Arc::new(transport)),
                log_limit: LogLimit::new(Duration::from_secs(30)),
                version: Mutex::new(None),
                reloaded: Mutex::new(None),
                connection,
                options,
                user_agent,
                accounts,
            }),
        })
    }

    /// Exports counters and gauges of this cluster, until its last clone is dropped.
    pub fn register(&self, registry: &Registry) {
        self.shared.accounts.register(registry);
    }

    /// Namespace of the kubeconfig's context, or of the pod.
    pub fn default_namespace(&self) -> String {
        self.shared.transport().access().namespace.clone()
    }

    /// Scheme, host and port of the API server.
    pub fn server(&self) -> String {
        let server = self.shared.transport().access().server.clone();
        let host = server.authority().map(|a| a.as_str().rsplit('@').next().unwrap_or_default().to_owned());
        format!("{}://{}", server.scheme_str().unwrap_or("https"), host.unwrap_or_default())
    }

    /// Keeps `sink` equal to a resource of the whole cluster, as discovery needs it
    /// ([`WatchOptions::for_discovery`]). Never ends; drop it to stop.
    pub fn watch(
        &self,
        resource: ResourceKind,
        sink: Arc<dyn WatchSink>,
    ) -> impl Future<Output = ()> + Send + use<> {
        self.watch_with(resource, WatchOptions::for_discovery(resource), sink)
    }

    /// As [`watch`](Self::watch); where the server forbids the whole cluster (403), each of `namespaces` is watched
    /// by itself instead. Resources without a namespace have no such way out.
    pub fn watch_within(
        &self,
        resource: ResourceKind,
        namespaces: Vec<String>,
        sink: Arc<dyn WatchSink>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let options =
            WatchOptions { fallback_namespaces: namespaces, ..WatchOptions::for_discovery(resource) };
        self.watch_with(resource, options, sink)
    }

    /// Keeps `sink` equal to what `options` say of a resource. Never ends; drop it to stop.
    pub fn watch_with(
        &self,
        resource: ResourceKind,
        options: WatchOptions,
        sink: Arc<dyn WatchSink>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let sink = Sink::new(resource, options.metadata_only, sink);
        watch(self.shared.clone(), options, sink)
    }

    /// Keeps `sink` equal to a custom resource, in one namespace or in all. Never ends; drop it to stop.
    pub fn watch_custom(
        &self,
        resource: CustomResource,
        namespace: Option<String>,
        sink: Arc<dyn ObjectSink>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let watcher =
            Watcher::new(self.shared.clone(), namespace, Sink::Json(resource, sink), Arc::default());
        async move { watcher.run(false).await }
    }

    /// Keeps `sink` equal to what `options` say of a custom resource. Never ends; drop it to stop.
    pub fn watch_custom_with(
        &self,
        resource: CustomResource,
        options: WatchOptions,
        sink: Arc<dyn ObjectSink>,
    ) -> impl Future<Output = ()> + Send + use<> {
        watch(self.shared.clone(), options, Sink::Json(resource, sink))
    }

    /// The running watches.
    pub fn statuses(&self) -> Vec<WatchStatus> {
        self.shared.accounts.statuses()
    }

    /// Requests so far by kind, resource and code.
    pub fn requests(&self) -> Vec<RequestCount> {
        self.shared.accounts.requests()
    }

    /// Connections opened so far.
    pub fn connections_opened(&self) -> u64 {
        self.shared.accounts.connections.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// One watch of the whole cluster, or one for each namespace. Never ends. The watch is registered by this call, not
/// when it is first polled.
fn watch(
    shared: Arc<ClusterShared>,
    options: WatchOptions,
    sink: Sink,
) -> impl Future<Output = ()> + Send + use<> {
    let resource = sink.resource();
    let options = Arc::new(options);
    let split = resource.namespaced() && !options.namespaces.is_empty();
    let whole = (!split).then(|| Watcher::new(shared.clone(), None, sink.clone(), options.clone()));
    async move {
        let Some(whole) = whole else {
            return watch_namespaces(shared, &options.namespaces, &options, &sink).await;
        };
        let namespaces = &options.fallback_namespaces;
        let can_split = resource.namespaced() && !namespaces.is_empty();
        whole.run(can_split).await;
        drop(whole);
        tracing::info!(
            cluster = shared.accounts.cluster(),
            %resource,
            namespaces = namespaces.len(),
            "the whole cluster may not be watched, watching the configured namespaces one by one"
        );
        watch_namespaces(shared, namespaces, &options, &sink).await;
    }
}

/// One watch for each namespace, joined in one sink. Never ends.
async fn watch_namespaces(
    shared: Arc<ClusterShared>,
    namespaces: &[String],
    options: &Arc<WatchOptions>,
    sink: &Sink,
) {
    let spaces = FanIn::spaces(sink, namespaces.len());
    let watches = namespaces.iter().zip(spaces).map(|(namespace, space)| {
        let watcher = Watcher::new(shared.clone(), Some(namespace.clone()), space, options.clone());
        async move { watcher.run(false).await }
    });
    join_all(watches.collect::<Vec<_>>()).await;
}

async fn load(connection: &ClusterConnection, options: &ConnectOptions) -> Result<Arc<Access>, ConnectError> {
    let (connection, options) = (connection.clone(), options.clone());
    let loaded = tokio::task::spawn_blocking(move || {
        let around = Surroundings {
            clock: &options.clock,
            resolver: &options.resolver,
            user_agent: &options.user_agent,
            environment: &|name| std::env::var_os(name),
        };
        let access = Access::load(&connection, &around)?;
        match &options.server {
            Some(server) => access.at(server),
            None => Ok(access),
        }
    });
    loaded
        .await
        .map_err(|error| ConnectError::Tls {
            problem: format!("reading the configuration was interrupted: {error}"),
        })?
        .map(Arc::new)
}

impl ClusterShared {
    pub(crate) fn transport(&self) -> Arc<Transport> {
        self.transport.read().clone()
    }

    pub(crate) fn policy(&self) -> &WatchPolicy {
        &self.options.policy
    }

    pub(crate) fn object_limit(&self) -> usize {
        self.options.object_limit
    }

    /// Loads credentials anew, because the server did not accept those of `refused`. Streams that are open stay open.
    pub(crate) async fn reload(&self, refused: &Arc<Transport>) {
        let mut reloaded = self.reloaded.lock().await;
        let recently = reloaded.is_some_and(|at| at.elapsed() < RELOAD_INTERVAL);
        if recently || !Arc::ptr_eq(&self.transport(), refused) {
            return;
        }
        *reloaded = Some(Instant::now());
        match load(&self.connection, &self.options).await {
            Ok(access) => {
                let transport = Transport::new(
                    access,
                    self.user_agent.clone(),
                    self.options.clock.clone(),
                    self.options.resolver.clone(),
                    self.accounts.connections.clone(),
                );
                *self.transport.write() = Arc::new(transport);
            }
            Err(error) => {
                tracing::warn!(
                    cluster = self.accounts.cluster(),
                    error = chain(&error),
                    "cannot load credentials anew, using those loaded before"
                );
            }
        }
    }

    /// What the server can do, by its version. Callers that come together ask once.
    pub(crate) async fn features(&self) -> ServerFeatures {
        let mut known = self.version.lock().await;
        let now = Instant::now();
        if let Some(known) = known.as_ref().filter(|known| now < known.until) {
            return known.features;
        }
        let asked = self.ask_version().await;
        let valid = if asked.is_some() { VERSION_VALID } else { VERSION_RETRY };
        let features = ServerFeatures::of(asked.flatten());
        *known = Some(KnownVersion { features, until: Instant::now() + valid });
        features
    }

    /// The server does not stream lists, whatever its version says: the other resources need not try.
    pub(crate) async fn streaming_refused(&self, message: &str) {
        let mut known = self.version.lock().await;
        if let Some(known) = known.as_mut().filter(|known| known.features.watch_list) {
            known.features.watch_list = false;
            let cluster = self.accounts.cluster();
            tracing::info!(cluster, message, "the API server does not stream lists, listing from its cache");
        }
    }

    /// `None` when there was no answer; `Some(None)` when it does not tell.
    async fn ask_version(&self) -> Option<Option<ServerVersion>> {
        self.bucket.take().await;
        let transport = self.transport();
        let exchange = async {
            let mut answer = transport.get(Lane::Shared, "/version", "application/json").await.ok()?;
            let body = answer.body.read_up_to(64 << 10).await;
            Some((answer.status.as_u16(), body))
        };
        let answer = tokio::time::timeout(VERSION_DEADLINE, exchange).await.ok().flatten();
        self.accounts.count_request(RequestKind::Version, None, answer.as_ref().map(|(code, _)| *code));
        let (code, body) = answer?;
        match code {
            200 => {
                let version = serde_json::from_slice(&body).ok();
                Some(version.and_then(|version: VersionAnswer| ServerVersion::parse(&version.git_version)))
            }
            403 | 404 => Some(None),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionAnswer {
    git_version: String,
}

//! Discovery of all jobs: what is configured runs, and a reload changes only what is different.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use outrigger_config::prometheus::{
    self, ClusterConfig, Config, DiscoveryConfig, HttpSd, KubernetesAccess, KubernetesSd, Role, ScrapeConfig,
};
use outrigger_kube::{Cluster, ClusterConnection, ConnectOptions, RequestBudget, ResourceKind};
use outrigger_model::clock::SharedClock;
use outrigger_model::fault::Blame;
use outrigger_rt::http::{BuildClientError, ClientOptions, HttpClient};
use outrigger_rt::metrics::Registry;
use outrigger_rt::resolver::Resolver;
use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::{ClusterRuntime, Tee};
use crate::group_store::GroupStore;
use crate::kubernetes::{RoleView, UnsupportedField};
use crate::live_job::{KubernetesProvider, LiveJob, Provider, TargetSink};
use crate::operator::{ClusterAccess, NamespaceLabels};
use crate::reporter::Reporter;
use crate::self_metrics::register_metrics;
use crate::{file_sd, http_sd};

/// What discovery needs from its surroundings.
pub struct DiscoveryOptions {
    /// Wall clock.
    pub clock: SharedClock,
    /// Where its metrics go.
    pub registry: Registry,
    /// Names to addresses.
    pub resolver: Resolver,
    /// Who hears of changed targets.
    pub sink: Arc<dyn TargetSink>,
    /// `User-Agent` towards HTTP discovery servers and API servers, for example `outrigger-master/0.1.0`.
    pub user_agent: String,
}

/// A configuration that discovery cannot run. The earlier one goes on.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A field selector that the API server would refuse.
    #[error("job {job}: kubernetes_sd_configs: selectors: field")]
    FieldSelector {
        /// `job_name`.
        job: Arc<str>,
        /// Which field, and which there are.
        source: UnsupportedField,
    },
    /// HTTP client settings that cannot work.
    #[error("job {job}: http_sd_configs: {url}")]
    HttpClient {
        /// `job_name`.
        job: Arc<str>,
        /// URL without credentials.
        url: String,
        /// What is wrong with them.
        source: BuildClientError,
    },
}

/// Everything wrong with a configuration, never empty.
#[derive(Debug, thiserror::Error)]
#[error("{} discovery configurations cannot be used", .0.len())]
pub struct ApplyErrors(pub Vec<ApplyError>);

/// Finds the targets of all jobs and tells a [`TargetSink`] of every change.
pub struct Discovery {
    options: DiscoveryOptions,
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) state: Arc<Mutex<State>>,
    /// The cluster, as `outrigger.clusters` names it, of which somebody else reads objects, too.
    tee: Mutex<Option<(String, Arc<Tee>)>>,
}

/// What runs.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) jobs: BTreeMap<Arc<str>, Arc<LiveJob>>,
    stores: Vec<StoreEntry>,
    pub(crate) clusters: Vec<ClusterEntry>,
}

/// A file or HTTP discovery; jobs with the same configuration share it.
struct StoreEntry {
    config: DiscoveryConfig,
    store: Arc<GroupStore>,
    _task: AbortOnDropHandle<()>,
}

/// A cluster; jobs with the same connection share it.
pub(crate) struct ClusterEntry {
    key: ClusterKey,
    pub(crate) runtime: Arc<ClusterRuntime>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug, Clone, PartialEq)]
struct ClusterKey {
    connection: ClusterConnection,
    name: String,
    budget: RequestBudget,
}

impl Discovery {
    /// Discovery of no job yet; starts nothing.
    pub fn new(options: DiscoveryOptions) -> Self {
        let reporter = Arc::new(Reporter::new(options.clock.clone()));
        let state = Arc::new(Mutex::new(State::default()));
        register_metrics(&options.registry, &reporter, &state);
        Self { options, reporter, state, tee: Mutex::default() }
    }

    /// Makes the configuration's jobs run, at start and on reload alike. What is the same as before goes on without
    /// a new list or request, targets that a changed job finds again stay, and those of a job that is gone go.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Everything that cannot work; then nothing is changed.
    pub fn apply(&self, config: &Config) -> Result<(), ApplyErrors> {
        let clients = self.check(config)?;
        let mut state = self.state.lock();
        let State { jobs: old_jobs, stores, clusters } = std::mem::take(&mut *state);
        let mut providers = Providers {
            discovery: self,
            config,
            clients,
            stores: Reused::new(stores),
            clusters: Reused::new(clusters),
        };
        for scrape in &config.scrape_configs {
            let wanted: Vec<_> = scrape.discovery.iter().map(|kind| providers.provide(kind)).collect();
            let old = old_jobs.get(&scrape.job_name);
            let job = match old.filter(|old| is_same(old, scrape, &wanted)) {
                Some(old) => Arc::clone(old),
                None => self.start_job(scrape, wanted, old.map(|old| &**old)),
            };
            state.jobs.insert(Arc::clone(&scrape.job_name), job);
        }
        if let Some(sd) = operator_discovery(config) {
            providers.cluster(cluster_key(&sd, config));
        }
        let tee = self.tee.lock().clone();
        let teed = tee.as_ref().map(|(name, _)| providers.cluster(cluster_key(&discovery_in(name), config)));
        for (name, job) in &old_jobs {
            if !state.jobs.contains_key(name) {
                job.retire();
            }
        }
        // Dropping what is left in `providers` ends what nobody needs any more.
        state.stores = std::mem::take(&mut providers.stores.kept);
        state.clusters = std::mem::take(&mut providers.clusters.kept);
        drop(old_jobs);
        for cluster in &state.clusters {
            let is_teed = teed.as_ref().is_some_and(|teed| Arc::ptr_eq(teed, &cluster.runtime));
            cluster.runtime.set_tee(tee.as_ref().filter(|_| is_teed).map(|(_, tee)| Arc::clone(tee)));
            cluster.runtime.review();
        }
        Ok(())
    }

    /// Lets somebody else read objects of a cluster (`""`: the default one), from the lists and watches that discovery
    /// has there. Takes effect with the next [`apply`](Self::apply); the cluster is then connected to even if no job
    /// needs it.
    pub fn set_tee(&self, cluster: &str, tee: Option<Tee>) {
        *self.tee.lock() = tee.map(|tee| (cluster.to_owned(), Arc::new(tee)));
    }

    /// Access to the cluster that `outrigger.prometheus_operator` of this (applied) configuration reads its objects
    /// from, over the connection and the request budget that discovery has there; `None` without that section.
    pub fn operator_access(&self, config: &Config) -> Option<Arc<dyn ClusterAccess>> {
        let key = cluster_key(&operator_discovery(config)?, config);
        let state = self.state.lock();
        let entry = state.clusters.iter().find(|entry| entry.key == key)?;
        Some(Arc::new(OperatorAccess { runtime: Arc::clone(&entry.runtime), known: Mutex::default() }))
    }

    /// Stops all watching and asking. Targets stay as they are.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        state.stores.clear();
        state.clusters.clear();
        self.options.sink.suspended();
    }

    /// Builds what can fail, so that a bad configuration changes nothing.
    fn check(&self, config: &Config) -> Result<Vec<(HttpSd, HttpClient)>, ApplyErrors> {
        let mut errors = Vec::new();
        let mut clients: Vec<(HttpSd, HttpClient)> = Vec::new();
        for scrape in &config.scrape_configs {
            let job = || Arc::clone(&scrape.job_name);
            for kind in &scrape.discovery {
                match kind {
                    DiscoveryConfig::Kubernetes(sd) => {
                        if let Err(source) = RoleView::new(sd, None) {
                            errors.push(ApplyError::FieldSelector { job: job(), source });
                        }
                    }
                    DiscoveryConfig::Http(sd) if !clients.iter().any(|(known, _)| known == sd) => {
                        match self.http_client(sd) {
                            Ok(client) => clients.push((sd.clone(), client)),
                            Err(source) => {
                                let url = http_sd::without_credentials(&sd.url);
                                errors.push(ApplyError::HttpClient { job: job(), url, source });
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        if errors.is_empty() { Ok(clients) } else { Err(ApplyErrors(errors)) }
    }

    fn http_client(&self, sd: &HttpSd) -> Result<HttpClient, BuildClientError> {
        let mut options = ClientOptions::new("http_sd", &self.options.user_agent, Blame::Remote);
        options.clock = self.options.clock.clone();
        HttpClient::new(&sd.http, options, self.options.resolver.clone())
    }

    /// Starts a job, in the place of `old` if that is there.
    fn start_job(
        &self,
        config: &Arc<ScrapeConfig>,
        providers: Vec<Provider>,
        old: Option<&LiveJob>,
    ) -> Arc<LiveJob> {
        let job = Arc::new(LiveJob::new(
            Arc::clone(config),
            providers,
            old,
            Arc::clone(&self.options.sink),
            Arc::clone(&self.reporter),
        ));
        job.load_static();
        for (index, provider) in job.providers.iter().enumerate() {
            match provider {
                Provider::Stored(store) => store.subscribe(&job, index),
                Provider::Kubernetes(kubernetes) => kubernetes.cluster.subscribe(&job, index),
                Provider::Static(_) | Provider::None => {}
            }
        }
        job.flush();
        job
    }
}

/// Whether a job need not be touched: its configuration and what serves it are the same.
fn is_same(old: &LiveJob, config: &Arc<ScrapeConfig>, providers: &[Provider]) -> bool {
    let same_provider = |(old, new): (&Provider, &Provider)| match (old, new) {
        (Provider::Stored(old), Provider::Stored(new)) => Arc::ptr_eq(old, new),
        (Provider::Kubernetes(old), Provider::Kubernetes(new)) => Arc::ptr_eq(&old.cluster, &new.cluster),
        // Both were made from the configuration.
        _ => true,
    };
    old.config() == config && old.providers.iter().zip(providers).all(same_provider)
}

/// Finds or starts what jobs get their groups from.
struct Providers<'a> {
    discovery: &'a Discovery,
    config: &'a Config,
    clients: Vec<(HttpSd, HttpClient)>,
    stores: Reused<StoreEntry>,
    clusters: Reused<ClusterEntry>,
}

/// What ran before, and what of it (and anew) is wanted now.
struct Reused<T> {
    before: Vec<T>,
    kept: Vec<T>,
}

impl<T> Reused<T> {
    fn new(before: Vec<T>) -> Self {
        Self { before, kept: Vec::new() }
    }

    /// The entry that is meant, which is then kept.
    fn find(&mut self, is_meant: impl Fn(&T) -> bool) -> Option<&T> {
        if let Some(position) = self.before.iter().position(&is_meant) {
            let entry = self.before.swap_remove(position);
            self.kept.push(entry);
        }
        self.kept.iter().find(|entry| is_meant(entry))
    }
}

impl Providers<'_> {
    fn provide(&mut self, kind: &DiscoveryConfig) -> Provider {
        match kind {
            DiscoveryConfig::Static(groups) => Provider::Static(groups.clone()),
            DiscoveryConfig::File(_) | DiscoveryConfig::Http(_) => Provider::Stored(self.store(kind)),
            DiscoveryConfig::Kubernetes(sd) => Provider::Kubernetes(Box::new(KubernetesProvider {
                cluster: self.cluster(cluster_key(sd, self.config)),
                sd: sd.clone(),
                view: Default::default(),
            })),
            DiscoveryConfig::Unsupported(_) => Provider::None,
        }
    }

    fn store(&mut self, kind: &DiscoveryConfig) -> Arc<GroupStore> {
        if let Some(entry) = self.stores.find(|entry| entry.config == *kind) {
            return Arc::clone(&entry.store);
        }
        let store = Arc::new(GroupStore::default());
        let reporter = Arc::clone(&self.discovery.reporter);
        let task = match kind {
            DiscoveryConfig::File(sd) => {
                spawn("file discovery", file_sd::run(sd.clone(), Arc::clone(&store), reporter))
            }
            DiscoveryConfig::Http(sd) => {
                let client = self.clients.iter().find(|(known, _)| known == sd);
                let (_, client) = client.expect("a client was built for each HTTP discovery");
                spawn(
                    "HTTP discovery",
                    http_sd::run(sd.clone(), client.clone(), Arc::clone(&store), reporter),
                )
            }
            other => unreachable!("{other:?} has no store"),
        };
        self.stores.kept.push(StoreEntry { config: kind.clone(), store: Arc::clone(&store), _task: task });
        store
    }

    fn cluster(&mut self, key: ClusterKey) -> Arc<ClusterRuntime> {
        if let Some(entry) = self.clusters.find(|entry| entry.key == key) {
            return Arc::clone(&entry.runtime);
        }
        let name = self.free_name(&key.name);
        let runtime = Arc::new(ClusterRuntime::new(name.clone(), Arc::clone(&self.discovery.reporter)));
        let options = ConnectOptions {
            cluster: name,
            user_agent: self.discovery.options.user_agent.clone(),
            budget: key.budget,
            clock: self.discovery.options.clock.clone(),
            resolver: self.discovery.options.resolver.clone(),
            ..ConnectOptions::default()
        };
        let registry = self.discovery.options.registry.clone();
        let run = Arc::clone(&runtime).run(key.connection.clone(), options, registry);
        let task = spawn("cluster discovery", run);
        self.clusters.kept.push(ClusterEntry { key, runtime: Arc::clone(&runtime), _task: task });
        runtime
    }

    /// `name`, with a number behind it when another cluster has it.
    fn free_name(&self, name: &str) -> String {
        let taken = |name: &str| {
            let running = self.clusters.kept.iter().chain(&self.clusters.before);
            running.into_iter().any(|entry| entry.runtime.name() == name)
        };
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
    }
}

/// Runs a task that has no end of its own.
fn spawn(what: &'static str, task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        task.await;
        tracing::error!(what, "a discovery task ended early");
    }))
}

/// A discovery in the cluster that monitors are read from.
fn operator_discovery(config: &Config) -> Option<KubernetesSd> {
    let settings = config.outrigger.prometheus_operator.as_ref()?;
    Some(discovery_in(&settings.cluster))
}

/// A discovery in the cluster of this name, or in the default one.
fn discovery_in(cluster: &str) -> KubernetesSd {
    let cluster = Some(cluster.to_owned()).filter(|name| !name.is_empty());
    KubernetesSd { cluster, ..KubernetesSd::new(Role::Pod) }
}

/// What [`Discovery::operator_access`] gives out.
struct OperatorAccess {
    runtime: Arc<ClusterRuntime>,
    /// The namespaces as they were read last, and the version of the table then.
    known: Mutex<Option<(u64, Arc<NamespaceLabels>)>>,
}

impl ClusterAccess for OperatorAccess {
    fn cluster(&self) -> Option<Cluster> {
        self.runtime.cluster()
    }

    fn want_namespaces(&self, wanted: bool) {
        self.runtime.want_namespaces(wanted);
    }

    fn namespaces(&self) -> Option<Arc<NamespaceLabels>> {
        if !self.runtime.is_synced(ResourceKind::Namespace) {
            return None;
        }
        let mirror = self.runtime.mirror.read();
        let version = mirror.changes_since(ResourceKind::Namespace, u64::MAX).next;
        let mut known = self.known.lock();
        if let Some((of, labels)) = known.as_ref()
            && *of == version
        {
            return Some(Arc::clone(labels));
        }
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let labels: NamespaceLabels = mirror
            .namespaces()
            .iter()
            .map(|(_, view)| (view.name().to_owned(), view.labels().map(owned).collect()))
            .collect();
        let labels = Arc::new(labels);
        *known = Some((version, Arc::clone(&labels)));
        Some(labels)
    }
}

/// The cluster that a `kubernetes_sd_configs` entry means.
fn cluster_key(sd: &KubernetesSd, config: &Config) -> ClusterKey {
    let named =
        sd.cluster.as_ref().and_then(|name| config.outrigger.clusters.iter().find(|c| c.name == *name));
    if let Some(cluster) = named {
        return configured_cluster(cluster, config.outrigger.request_budget);
    }
    let (connection, name) = if let Some(api_server) = &sd.api_server {
        let connection =
            ClusterConnection::Url { api_server: api_server.clone(), http: Box::new(sd.http.clone()) };
        let host = http_sd::without_credentials(api_server);
        (connection, host.rsplit("://").next().unwrap_or_default().trim_end_matches('/').to_owned())
    } else if let Some(path) = &sd.kubeconfig_file {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (ClusterConnection::Kubeconfig { path: path.clone(), context: None }, name)
    } else {
        default_cluster(config.outrigger.kubernetes.as_ref())
    };
    let configured = &config.outrigger.cluster_name;
    ClusterKey {
        connection,
        name: if configured.is_empty() { name } else { configured.clone() },
        budget: budget(config.outrigger.request_budget),
    }
}

/// One of `outrigger.clusters`.
fn configured_cluster(cluster: &ClusterConfig, default_budget: prometheus::RequestBudget) -> ClusterKey {
    let connection = match &cluster.kubeconfig {
        Some(path) => ClusterConnection::Kubeconfig { path: path.clone(), context: cluster.context.clone() },
        None => ClusterConnection::InCluster,
    };
    ClusterKey {
        connection,
        name: cluster.name.clone(),
        budget: budget(cluster.request_budget.unwrap_or(default_budget)),
    }
}

fn budget(configured: prometheus::RequestBudget) -> RequestBudget {
    RequestBudget { per_second: configured.requests_per_second, burst: configured.burst }
}

/// The cluster of entries that name none: that of `outrigger.kubernetes`, else the one this process runs in.
fn default_cluster(access: Option<&KubernetesAccess>) -> (ClusterConnection, String) {
    let Some(access) = access else { return (ClusterConnection::InCluster, "in-cluster".to_owned()) };
    let context = access.context.clone();
    match &access.kubeconfig {
        Some(path) => {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let name = context.clone().unwrap_or(file);
            (ClusterConnection::Kubeconfig { path: path.clone(), context }, name)
        }
        None => {
            let name = context.clone().unwrap_or_else(|| "kubeconfig".to_owned());
            (ClusterConnection::Infer { context }, name)
        }
    }
}

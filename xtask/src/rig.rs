//! The rig: real etcd, kube-apiserver, kwok, Prometheus, kube-state-metrics, vmagent and node_exporter on loopback.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use xtask::rig::{Component, FillPlan, Options, Rig};
//! let mut rig = Rig::up(&[Component::Kwok, Component::Prometheus], Options::default()).await?;
//! rig.fill(&FillPlan { nodes: 10, pods: 100, ..FillPlan::default() }).await?;
//! println!("kubectl --kubeconfig {} get pods -A", rig.kubeconfig().display());
//! # Ok(()) }
//! ```
//! A [`Rig`] has its own folder, ports and keys, so any number of them run side by side; dropping it kills its
//! processes and removes its folder, and the kernel kills them should this process be killed.

mod build;
mod certificates;
mod client;
mod components;
mod fill;
mod forwarder;
mod network;
mod objects;
mod ports;
mod process;
mod state;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

pub use build::{Built, Cache, Pin, Program};
pub use certificates::User;
pub use client::{Answer, Client};
pub use components::Component;
pub use fill::{FillPlan, FillReport};
pub use forwarder::Forwarder;
pub use network::RANGE as LOOPBACK_RANGE;
pub use objects::{ObjectPlan, ObjectReport, Refusal};
pub use process::{Lifetime, ProcessId};

pub use ports::free_port;
pub(crate) use process::spawn;

use certificates::Credentials;
use components::Launch;
use state::{Process, State};

/// How long a component may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// What a rig is started with beyond its components.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Kubernetes version such as `1.34`; the newest pinned one if none.
    pub kubernetes: Option<String>,
    /// Number of node_exporters, if [`Component::NodeExporter`] is started; at least one.
    pub node_exporters: u32,
    /// Configuration of [`Component::Prometheus`]; one that scrapes nothing if none.
    pub prometheus_config: Option<PathBuf>,
    /// Text to start [`Component::Prometheus`] with where there is no such file; [`Rig::configure`] replaces it.
    pub initial_prometheus_config: String,
    /// Configuration of [`Component::Vmagent`]; one that scrapes nothing if none.
    pub vmagent_config: Option<PathBuf>,
    /// Further command-line arguments.
    pub arguments: Vec<(Component, String)>,
}

impl Options {
    fn arguments_of(&self, component: Component) -> impl Iterator<Item = String> {
        self.arguments.iter().filter(move |(of, _)| *of == component).map(|(_, argument)| argument.clone())
    }
}

/// A running rig.
#[derive(Debug)]
pub struct Rig {
    dir: PathBuf,
    cache: Cache,
    options: Options,
    lifetime: Lifetime,
    credentials: Credentials,
    state: State,
    /// Whether the rig outlives this value.
    keep: bool,
}

impl Rig {
    /// Starts components, and what they need, in a new folder of their own and waits until each is ready. The
    /// programs must have been built. The rig ends with the returned value.
    pub async fn up(components: &[Component], options: Options) -> Result<Rig> {
        let cache = Cache::from_environment()?;
        sweep().await?;
        let name = format!("test-{}-{:08x}", std::process::id(), ports::random());
        let dir = cache.root().join("run").join(name);
        let mut rig = Rig::create(&dir, cache, options, Lifetime::Owner)?;
        rig.start_all(components).await?;
        Ok(rig)
    }

    /// Starts components in `dir`, or adds to the rig that runs there. The rig runs until [`Rig::down`].
    pub async fn up_detached(dir: &Path, components: &[Component], options: Options) -> Result<Rig> {
        let cache = Cache::from_environment()?;
        let mut rig = if Rig::is_up(dir) {
            Rig::open(dir, options)?
        } else {
            Rig::create(dir, cache, options, Lifetime::Detached)?
        };
        rig.start_all(components).await?;
        rig.keep = true;
        Ok(rig)
    }

    /// Whether a rig was started in `dir` and not taken down.
    pub fn is_up(dir: &Path) -> bool {
        State::exists(dir)
    }

    /// The rig that was started in `dir` by [`Rig::up_detached`].
    pub fn open(dir: &Path, options: Options) -> Result<Rig> {
        let dir = std::path::absolute(dir)?;
        let state = State::read(&dir)?;
        if let Some(wanted) = &options.kubernetes {
            let pin = Pin::new(Program::KubeApiserver, Some(wanted))?;
            if pin.release() != state.kubernetes {
                bail!("the rig in {} is Kubernetes {}: rig down first", dir.display(), state.kubernetes);
            }
        }
        let credentials = Credentials::open(&dir.join("credentials"));
        let cache = Cache::from_environment()?;
        Ok(Rig { dir, cache, options, lifetime: Lifetime::Detached, credentials, state, keep: true })
    }

    fn create(dir: &Path, cache: Cache, options: Options, lifetime: Lifetime) -> Result<Rig> {
        let dir = std::path::absolute(dir)?;
        if fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some()) {
            bail!("{} is neither a rig nor empty", dir.display());
        }
        let kubernetes =
            Pin::new(Program::KubeApiserver, options.kubernetes.as_deref())?.release().to_owned();
        let owner = (lifetime == Lifetime::Owner).then(ProcessId::own).transpose()?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("create {}", dir.display()))?;
        let state = State { owner, kubernetes, route_metric: None, processes: Vec::new() };
        let credentials = Credentials::open(&dir.join("credentials"));
        let rig = Rig { dir, cache, options, lifetime, credentials, state, keep: false };
        rig.state.write(&rig.dir)?;
        Credentials::create(&rig.dir.join("credentials"))?;
        Ok(rig)
    }

    async fn start_all(&mut self, components: &[Component]) -> Result<()> {
        for component in Component::in_order(components) {
            self.start(component).await?;
        }
        Ok(())
    }

    /// Starts a component and waits until it is ready. One that ran before starts as it did then, at the same
    /// address; of one that runs only the missing processes are started.
    pub async fn start(&mut self, component: Component) -> Result<()> {
        if self.state.of(component).next().is_none() {
            self.prepare(component)?;
            for launch in components::launches(self, component)? {
                self.state.processes.push(Process { launch, program: self.program(component)?, id: None });
            }
        }
        for index in 0..self.state.processes.len() {
            let process = &self.state.processes[index];
            if process.launch.component == component && !process.is_alive() {
                self.start_process(index).await?;
            }
        }
        if component == Component::KubeApiserver {
            self.grant_rights().await?;
        }
        Ok(())
    }

    /// What has to be there before a component's arguments are known.
    fn prepare(&mut self, component: Component) -> Result<()> {
        if matches!(component, Component::Kwok | Component::NodeExporter) && self.state.route_metric.is_none()
        {
            self.state.route_metric = network::add_route();
            self.state.write(&self.dir)?;
        }
        Ok(())
    }

    fn program(&self, component: Component) -> Result<PathBuf> {
        self.cache.find(self.pin(component.program())?)
    }

    fn pin(&self, program: Program) -> Result<Pin> {
        pin(program, Some(&self.state.kubernetes))
    }

    async fn start_process(&mut self, index: usize) -> Result<()> {
        let process = &self.state.processes[index];
        let launch = process.launch.clone();
        let log = self.log(&launch.name);
        let id = process::spawn(&process.program, &launch.args, &self.dir, &log, self.lifetime)?;
        self.state.processes[index].id = Some(id);
        self.state.write(&self.dir)?;
        if launch.component == Component::KubeApiserver {
            self.write_kubeconfigs(&launch.url)?;
        }
        let ready = self.wait_until_ready(&launch, id).await;
        if ready.is_err() {
            id.kill().await?;
            self.state.processes.remove(index);
            self.state.write(&self.dir)?;
        }
        ready
    }

    async fn wait_until_ready(&self, launch: &Launch, id: ProcessId) -> Result<()> {
        let client = self.client_of(launch)?;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let answer = client.get_text(&launch.ready).await;
            if answer.is_ok() {
                return Ok(());
            }
            if !id.is_alive() {
                let status = id.exit_status().map_or("ended".to_owned(), |status| status.to_string());
                bail!(
                    "{} did not start ({status}); its log ends:\n{}",
                    launch.name,
                    self.log_end(&launch.name)
                );
            }
            if Instant::now() > deadline {
                let problem = answer.map_or_else(|error| format!("{error:#}"), |_| String::new());
                let log = self.log_end(&launch.name);
                bail!(
                    "{} is not ready after {READY_WITHIN:?} ({problem}); its log ends:\n{log}",
                    launch.name
                );
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn client_of(&self, launch: &Launch) -> Result<Client> {
        match launch.component {
            Component::KubeApiserver => Client::of_apiserver(&launch.url, &self.credentials, User::Admin),
            _ => Client::plain(&launch.url),
        }
    }

    fn log_end(&self, name: &str) -> String {
        let bytes = fs::read(self.log(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn write_kubeconfigs(&self, server: &str) -> Result<()> {
        for user in User::ALL {
            certificates::write_private(
                &self.kubeconfig_of(user),
                &self.credentials.kubeconfig(user, server)?,
            )?;
        }
        Ok(())
    }

    /// Gives [`User::Outrigger`] the rights that discovery needs.
    async fn grant_rights(&self) -> Result<()> {
        let api = self.api()?;
        let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
        let verbs = ["get", "list", "watch"];
        let role = json!({
            "metadata": {"name": "outrigger"},
            "rules": [
                {"apiGroups": [""], "resources": ["nodes", "pods", "services", "endpoints", "namespaces"], "verbs": verbs},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": verbs},
                {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses"], "verbs": verbs},
                {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": verbs},
                {"apiGroups": ["batch"], "resources": ["jobs", "cronjobs"], "verbs": verbs},
                {"nonResourceURLs": ["/metrics", "/version"], "verbs": ["get"]},
            ],
        });
        api.create(roles, &role).await?;
        let binding = json!({
            "metadata": {"name": "outrigger"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "outrigger"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "outrigger"}],
        });
        api.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).await?;
        Ok(())
    }

    /// Asks a component's processes to end and waits until they have; after half a minute kills them.
    pub async fn stop(&mut self, component: Component) -> Result<()> {
        for id in self.ids(component) {
            id.end().await?;
        }
        Ok(())
    }

    /// Kills a component's processes.
    pub async fn kill(&mut self, component: Component) -> Result<()> {
        for id in self.ids(component) {
            id.kill().await?;
        }
        Ok(())
    }

    /// Stops the API server and starts it again at the same address.
    pub async fn restart_apiserver(&mut self) -> Result<()> {
        self.stop(Component::KubeApiserver).await?;
        self.start(Component::KubeApiserver).await
    }

    /// Freezes a component: connections stay open and nothing answers, until [`Rig::resume`].
    pub fn pause(&self, component: Component) {
        self.signal(component, Signal::STOP);
    }

    /// Lets a frozen component go on.
    pub fn resume(&self, component: Component) {
        self.signal(component, Signal::CONT);
    }

    fn signal(&self, component: Component, signal: Signal) {
        for id in self.ids(component) {
            id.signal(signal);
        }
    }

    fn ids(&self, component: Component) -> Vec<ProcessId> {
        self.state.of(component).filter_map(|process| process.id).collect()
    }

    /// Ends every process and removes the rig's folder.
    pub async fn down(mut self) -> Result<()> {
        self.keep = true;
        end(&self.dir, &self.state).await
    }

    /// Writes the configuration of a Prometheus or of vmagent; one that runs reloads it.
    pub fn configure(&mut self, component: Component, text: &str) -> Result<()> {
        let path = self.own_config(component);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        self.signal(component, Signal::HUP);
        Ok(())
    }

    fn own_config(&self, component: Component) -> PathBuf {
        self.dir.join(component.name()).join("config.yml")
    }

    fn config_file(&self, component: Component) -> Result<PathBuf> {
        let chosen = match component {
            Component::Prometheus => self.options.prometheus_config.as_ref(),
            Component::Vmagent => self.options.vmagent_config.as_ref(),
            _ => None,
        };
        if let Some(path) = chosen {
            return std::path::absolute(path).with_context(|| format!("find {}", path.display()));
        }
        let path = self.own_config(component);
        if !path.exists() {
            let initial = match component {
                Component::Prometheus if !self.options.initial_prometheus_config.is_empty() => {
                    &self.options.initial_prometheus_config
                }
                _ => "scrape_configs: []\n",
            };
            fs::write(&path, initial).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(path)
    }

    /// The rig's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The version of Kubernetes.
    pub fn kubernetes(&self) -> &str {
        &self.state.kubernetes
    }

    /// The admin's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_of(User::Admin)
    }

    /// A user's kubeconfig.
    pub fn kubeconfig_of(&self, user: User) -> PathBuf {
        self.dir.join(format!("{}.kubeconfig", user.name()))
    }

    /// Writes a kubeconfig of a user that reaches the API server at another address, such as a [`Forwarder`]'s
    /// or another name of the same server, and returns its path. The certificate is good for `127.0.0.1` and `localhost`.
    pub fn kubeconfig_at(&self, user: User, server: &str) -> Result<PathBuf> {
        let path = self.dir.join(format!("{}-{:08x}.kubeconfig", user.name(), ports::random()));
        certificates::write_private(&path, &self.credentials.kubeconfig(user, server)?)?;
        Ok(path)
    }

    /// The file that holds the bearer token of [`User::Outrigger`] or [`User::Nobody`].
    pub fn token_file(&self, user: User) -> PathBuf {
        self.credentials.file(&format!("{}.token", user.name()))
    }

    /// The certificate of the authority that signed the API server's.
    pub fn authority_file(&self) -> PathBuf {
        self.credentials.file("ca.crt")
    }

    /// The API server's address, such as `https://127.0.0.1:20443`.
    pub fn apiserver_url(&self) -> Result<&str> {
        self.url(Component::KubeApiserver)
    }

    /// A component's address with scheme.
    pub fn url(&self, component: Component) -> Result<&str> {
        let process = self.state.of(component).next();
        process.map(|process| &*process.launch.url).with_context(|| format!("{} is not up", component.name()))
    }

    /// Addresses of the node_exporters, in order.
    pub fn exporters(&self) -> Vec<SocketAddr> {
        let urls = self.state.of(Component::NodeExporter).map(|process| &process.launch.url);
        urls.filter_map(|url| url.strip_prefix("http://")?.parse().ok()).collect()
    }

    /// Whether [`LOOPBACK_RANGE`] is routed to loopback, so that Endpoints may point at node_exporters. Needs root.
    pub fn is_routed(&self) -> bool {
        self.state.route_metric.is_some()
    }

    /// The folder from which a node_exporter's textfile collector reads `*.prom`.
    pub fn exporter_textfiles(&self, index: usize) -> PathBuf {
        self.dir.join(format!("node-exporter-{index}")).join("textfiles")
    }

    /// The API server's audit log, one JSON event a line.
    pub fn audit_log(&self) -> PathBuf {
        self.dir.join("audit.log")
    }

    /// The audit events so far. A line that is still being written is left out.
    pub fn audit_events(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(self.audit_log()).context("read the audit log")?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).context("parse an audit event")).collect()
    }

    /// Manifests of prometheus-operator's custom resources.
    pub fn operator_manifests(&self) -> Result<PathBuf> {
        self.cache.operator_manifests()
    }

    /// The log of a process: a component's name, or `node-exporter-N`.
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    /// A client of the API server as admin.
    pub fn api(&self) -> Result<Client> {
        Client::of_apiserver(self.apiserver_url()?, &self.credentials, User::Admin)
    }

    /// A client of another component.
    pub fn client(&self, component: Component) -> Result<Client> {
        match component {
            Component::KubeApiserver => self.api(),
            _ => Client::plain(self.url(component)?),
        }
    }

    /// Runs kubectl as admin and returns what it printed; an error holds what it complained of.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let kubectl = self.cache.find(self.pin(Program::Kubectl)?)?;
        let mut command = tokio::process::Command::new(kubectl);
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(args).stdin(std::process::Stdio::null());
        // Its cache of the server's resources would else be left in the user's home.
        command.env("KUBECACHEDIR", self.dir.join("kubectl-cache"));
        let output = command.output().await.context("run kubectl")?;
        if !output.status.success() {
            bail!("kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        String::from_utf8(output.stdout).context("read kubectl's output")
    }

    /// Creates nodes, pods and what belongs to them, and waits until kwok has made them run.
    pub async fn fill(&self, plan: &FillPlan) -> Result<FillReport> {
        fill::fill(self, plan).await
    }

    /// Creates random objects of every resource that state metrics read, and custom resources.
    pub async fn make_objects(&self, plan: &ObjectPlan) -> Result<ObjectReport> {
        objects::make(self, plan).await
    }

    /// Changes, deletes and adds to what [`Rig::make_objects`] made by the same plan; `seed` chooses the changes.
    pub async fn change_objects(&self, plan: &ObjectPlan, seed: u64) -> Result<ObjectReport> {
        objects::change(self, plan, seed).await
    }

    /// Name, state, process number, address and log of each process.
    pub async fn status(&self) -> Vec<ProcessStatus> {
        let mut statuses = Vec::new();
        for process in &self.state.processes {
            statuses.push(ProcessStatus {
                name: process.launch.name.clone(),
                state: self.state_of(process).await,
                pid: process.id.map(|id| id.pid),
                url: process.launch.url.clone(),
                log: self.log(&process.launch.name),
            });
        }
        statuses
    }

    async fn state_of(&self, process: &Process) -> &'static str {
        if !process.is_alive() {
            return "ended";
        }
        let Ok(client) = self.client_of(&process.launch) else { return "no credentials" };
        match tokio::time::timeout(Duration::from_secs(5), client.get_text(&process.launch.ready)).await {
            Ok(Ok(_)) => "ready",
            _ => "not ready",
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !self.keep {
            end_now(&self.dir, &self.state);
        }
    }
}

/// A process as `rig status` shows it.
#[derive(Debug)]
pub struct ProcessStatus {
    /// A component's name, or `node-exporter-N`.
    pub name: String,
    /// `ready`, `not ready` or `ended`.
    pub state: &'static str,
    /// The process number it has or last had.
    pub pid: Option<u32>,
    /// Address with scheme.
    pub url: String,
    /// Its log.
    pub log: PathBuf,
}

/// Where `cargo xtask rig up` runs: `$OUTRIGGER_RIG_RUN`, else `run/default` in the cache.
pub fn default_dir() -> Result<PathBuf> {
    match std::env::var_os("OUTRIGGER_RIG_RUN").filter(|dir| !dir.is_empty()) {
        Some(dir) => Ok(std::path::absolute(dir)?),
        None => Ok(Cache::from_environment()?.root().join("run/default")),
    }
}

/// The programs that a rig of these components runs, and kubectl where there is an API server.
pub fn programs(components: &[Component], options: &Options) -> Result<Vec<Pin>> {
    let components = Component::in_order(components);
    let mut programs: Vec<_> = components.iter().map(|component| component.program()).collect();
    if components.contains(&Component::KubeApiserver) {
        programs.push(Program::Kubectl);
    }
    programs.dedup();
    programs.into_iter().map(|program| pin(program, options.kubernetes.as_deref())).collect()
}

/// A program at the version that belongs to a version of Kubernetes.
fn pin(program: Program, kubernetes: Option<&str>) -> Result<Pin> {
    let is_kubernetes = matches!(program, Program::KubeApiserver | Program::Kubectl);
    Pin::new(program, kubernetes.filter(|_| is_kubernetes))
}

/// Why a test that needs the rig does not run here: the text to print, or none if it shall run.
///
/// Tests with the rig run where `OUTRIGGER_RIG` is `1`; where `CI` is set, its absence is for the caller to fail on.
pub fn missing() -> Option<String> {
    if std::env::var_os("OUTRIGGER_RIG").is_some_and(|value| value == "1") {
        return None;
    }
    Some("needs the rig (cargo xtask rig build, then OUTRIGGER_RIG=1)".to_owned())
}

/// Ends and removes the rigs of tests that were killed.
pub async fn sweep() -> Result<()> {
    let run = Cache::from_environment()?.root().join("run");
    let Ok(entries) = fs::read_dir(run) else { return Ok(()) };
    for dir in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if let Ok(state) = State::read(&dir)
            && state.owner.is_some_and(|owner| !owner.is_alive())
        {
            // Another rig may sweep at the same time; whatever is left the next one takes.
            let _ = end(&dir, &state).await;
        }
    }
    Ok(())
}

async fn end(dir: &Path, state: &State) -> Result<()> {
    // Killed, not asked: nothing of a rig is worth its while to save.
    for id in state.processes.iter().rev().filter_map(|process| process.id) {
        id.kill().await?;
    }
    forget(dir, state);
    Ok(())
}

fn end_now(dir: &Path, state: &State) {
    for id in state.processes.iter().rev().filter_map(|process| process.id) {
        id.kill_now();
    }
    forget(dir, state);
}

fn forget(dir: &Path, state: &State) {
    if let Some(metric) = state.route_metric {
        network::remove_route(metric);
    }
    let _ = fs::remove_dir_all(dir);
    // Only if no other rig is there.
    if let Some(run) = dir.parent() {
        let _ = fs::remove_dir(run);
    }
}

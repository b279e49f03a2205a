//! Everything that a drill runs: targets, API server, names, receiver, etcd, masters and workers.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use outrigger_sim::api_server::{ApiServer, ApiServerOptions};
use outrigger_sim::drill::TargetKey;
use outrigger_sim::drill::ledger::Ledger;
use outrigger_sim::drill::names::NameServer;
use outrigger_sim::drill::targets::Targets;
use outrigger_sim::endpoints::AddressBook;
use outrigger_sim::population::{Population, PopulationOptions};
use outrigger_sim::receiver::Receiver;
use outrigger_sim::store::Store;
use tokio::time::{Instant, sleep};

use super::etcd::Etcd;
use super::process::{Process, Surroundings};
use crate::rig::{Forwarder, free_port};

/// Names of the drill end with it.
const ZONE: &str = "drill.test";
/// One target in so many has a name, the others are pods with addresses.
const NAMED_EVERY: u32 = 4;
/// Pods that come and go while the others stay.
pub(super) const PASSING_PODS: u32 = 20;
/// How long the first scrapes may take.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

/// How large a drill is.
#[derive(Debug, Clone)]
pub struct Scale {
    /// The program.
    pub outrigger: PathBuf,
    /// Where everything is written; it is removed at the end unless `keep` is set.
    pub folder: PathBuf,
    /// Whether to leave the folder for looking at the logs.
    pub keep: bool,
    /// Targets that stay.
    pub targets: u32,
    /// Masters.
    pub masters: usize,
    /// Workers; without any, the masters are single processes with every role, `outrigger run`.
    pub workers: usize,
    /// Members of etcd.
    pub etcd: usize,
    /// Time between two scrapes of a target.
    pub interval: Duration,
    /// Lease of workers and of the leader.
    pub lease: Duration,
    /// Targets have up to so many series beyond the ones that all have.
    pub ballast: u64,
}

/// A running drill; dropping it kills its processes.
pub(super) struct Stage {
    pub(super) scale: Scale,
    pub(super) targets: Targets,
    pub(super) ledger: Arc<Ledger>,
    pub(super) receiver: Receiver,
    /// `None` where port 53 or a mount namespace is not allowed: then nothing has a name.
    pub(super) names: Option<NameServer>,
    pub(super) population: Population,
    _api_server: ApiServer,
    /// In front of the API server.
    pub(super) api: Forwarder,
    pub(super) etcd: Etcd,
    /// In front of each master's config centre.
    pub(super) centres: Vec<Forwarder>,
    pub(super) masters: Vec<Process>,
    pub(super) workers: Vec<Process>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.workers.clear();
        self.masters.clear();
        self.etcd.kill_all();
        if !self.scale.keep {
            // What is left is in a temporary folder.
            let _ = fs::remove_dir_all(&self.scale.folder);
        }
    }
}

impl Stage {
    /// Starts everything and waits until every target was scraped twice.
    pub(super) async fn start(scale: Scale) -> Result<Self> {
        fs::create_dir_all(&scale.folder).with_context(|| format!("create {}", scale.folder.display()))?;
        let targets = Targets::on_loopback().context("start the targets")?;
        targets.weigh(scale.ballast);
        let ledger = Arc::new(Ledger::default());
        let taking = ledger.clone();
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let receiver = Receiver::start_handing(anywhere, move |request| taking.enter(request))
            .await
            .context("start the receiver")?;
        let names = name_server().await;
        let store = Arc::new(Store::new());
        let pods = scale.targets - scale.targets / NAMED_EVERY + PASSING_PODS;
        let options = PopulationOptions { nodes: 20, pods, port: targets.port() };
        let now = jiff::Timestamp::now().as_second();
        let population = Population::create(options, store.clone(), Arc::new(AddressBook::default()), now);
        let api_server =
            ApiServer::start(store, ApiServerOptions::default()).await.context("start the API server")?;
        let api_address: SocketAddr = api_server.url().trim_start_matches("https://").parse()?;
        let api = Forwarder::start(api_address).await?;
        let kubeconfig = api_server
            .kubeconfig()
            .replace(&format!("https://{api_address}"), &format!("https://{}", api.address()));
        fs::write(scale.folder.join("kubeconfig"), kubeconfig).context("write the kubeconfig")?;
        let etcd = Etcd::start(&scale.folder, "127.0.0.1", None, scale.etcd).await?;
        let mut stage = Self {
            scale,
            targets,
            ledger,
            receiver,
            names,
            population,
            _api_server: api_server,
            api,
            etcd,
            centres: Vec::new(),
            masters: Vec::new(),
            workers: Vec::new(),
        };
        stage.start_masters().await?;
        for _ in 0..stage.scale.workers {
            stage.add_worker().await?;
        }
        stage.until_scraped_twice().await?;
        Ok(stage)
    }

    async fn start_masters(&mut self) -> Result<()> {
        for index in 0..self.scale.masters {
            let name = format!("master-{index}");
            let centre = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
            self.centres.push(Forwarder::start(centre).await?);
            let role = if self.scale.workers == 0 { "run" } else { "master" };
            let master =
                Process::new(&self.scale.outrigger, role, &name, &self.scale.folder, self.surroundings())?;
            master.configure(&self.master_config(index, centre))?;
            self.masters.push(master);
        }
        for master in &mut self.masters {
            master.start()?;
            master.ready().await?;
        }
        Ok(())
    }

    /// Starts one more worker.
    pub(super) async fn add_worker(&mut self) -> Result<()> {
        let name = format!("worker-{}", self.workers.len());
        let mut worker =
            Process::new(&self.scale.outrigger, "worker", &name, &self.scale.folder, self.surroundings())?;
        let masters: Vec<String> = (0..self.centres.len()).map(|index| self.centre_url(index)).collect();
        worker.configure(&format!(
            "outrigger:\n  worker: {{name: {name}, masters: [{}], advertise: \"{}\"}}\n",
            masters.iter().map(|url| format!("\"{url}\"")).collect::<Vec<_>>().join(", "),
            worker.url,
        ))?;
        worker.start()?;
        worker.ready().await?;
        self.workers.push(worker);
        Ok(())
    }

    fn surroundings(&self) -> Surroundings {
        let resolv_conf = self.names.as_ref().map(|names| {
            let path = self.scale.folder.join("resolv.conf");
            // The processes that are already started have it mounted: it is written once.
            if !path.exists() {
                let text = format!("nameserver {}\noptions timeout:1 attempts:1\n", names.address().ip());
                let _ = fs::write(&path, text);
            }
            path
        });
        Surroundings { resolv_conf, ..Surroundings::default() }
    }

    fn host(&self, name: &str) -> String {
        if self.names.is_some() { format!("{name}.{ZONE}") } else { "127.0.0.1".to_owned() }
    }

    fn centre_url(&self, index: usize) -> String {
        format!("http://{}:{}", self.host("centre"), self.centres[index].address().port())
    }

    fn master_config(&self, index: usize, centre: SocketAddr) -> String {
        let (interval, port) = (self.scale.interval, self.targets.port());
        let receiver = self.receiver.address();
        let receiver_port = receiver.rsplit(':').next().unwrap_or_default();
        let mut text = format!(
            "global: {{scrape_interval: {}ms, scrape_timeout: {}ms}}\n\
             scrape_configs:\n\
             - job_name: pods\n  \
               kubernetes_sd_configs: [{{role: pod}}]\n  \
               relabel_configs:\n  \
               - {{source_labels: [__meta_kubernetes_pod_container_port_name], regex: metrics, action: keep}}\n  \
               - {{source_labels: [__address__], target_label: drill_target}}\n\
             - job_name: named\n  \
               relabel_configs: [{{source_labels: [__address__], target_label: drill_target}}]\n  \
               static_configs:\n  - targets:\n",
            interval.as_millis(),
            interval.mul_f64(0.8).as_millis(),
        );
        for number in 0..self.scale.targets / NAMED_EVERY {
            let host = match self.names {
                Some(_) => format!("t{number}.{ZONE}"),
                None => TargetKey::of_name(number).address().to_string(),
            };
            let _ = writeln!(text, "    - \"{host}:{port}\"");
        }
        let _ = write!(
            text,
            "remote_write: [{{url: \"http://{}:{receiver_port}/api/v1/write\", queue_config: {{batch_send_deadline: 1s}}}}]\n\
             outrigger:\n  \
               cluster_name: drill\n  \
               kubernetes: {{kubeconfig: {}}}\n  \
               request_budget: {{requests_per_second: 200, burst: 200}}\n",
            self.host("receiver"),
            self.scale.folder.join("kubeconfig").display(),
        );
        if self.scale.workers > 0 {
            self.write_centre(index, centre, &mut text);
        }
        text
    }

    fn write_centre(&self, index: usize, centre: SocketAddr, text: &mut String) {
        let lease = self.scale.lease.as_millis();
        let endpoints: Vec<String> = self.etcd.endpoints().iter().map(|url| format!("\"{url}\"")).collect();
        let _ = write!(
            text,
            "  centre:\n    \
                 name: master-{index}\n    \
                 listen: \"{centre}\"\n    \
                 advertise: \"{}\"\n    \
                 lease: {lease}ms\n    \
                 leader_lease: {lease}ms\n    \
                 etcd: {{endpoints: [{}]}}\n",
            self.centre_url(index),
            endpoints.join(", "),
        );
    }

    /// The targets that are there from the first to the last moment.
    pub(super) fn staying(&self) -> Vec<TargetKey> {
        let pods = self.population.pods() - PASSING_PODS as usize;
        let pods = (0..pods).map(|slot| TargetKey::of_address(self.population.address(slot)));
        pods.chain((0..self.scale.targets / NAMED_EVERY).map(TargetKey::of_name)).collect()
    }

    async fn until_scraped_twice(&self) -> Result<()> {
        let staying = self.staying();
        let deadline = Instant::now() + SETTLED_WITHIN;
        loop {
            let served = self.targets.served();
            let scraped = staying.iter().filter(|key| served.get(key).is_some_and(|list| list.len() > 1));
            let scraped = scraped.count();
            if scraped == staying.len() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "{scraped} of {} targets were scraped twice after {SETTLED_WITHIN:?}; the logs are in {}",
                    staying.len(),
                    self.scale.folder.display()
                );
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// The master that leads, if one does.
    pub(super) async fn leader(&self) -> Option<usize> {
        for (index, master) in self.masters.iter().enumerate() {
            if self.scale.workers == 0 && master.id().is_some() {
                return Some(index);
            }
            if master.id().is_some() && master.metric("outrigger_fleet_leading").await == Some(1.0) {
                return Some(index);
            }
        }
        None
    }

    /// The targets that each running worker scrapes, by the worker's name.
    pub(super) async fn owners(&self) -> HashMap<String, HashSet<TargetKey>> {
        let mut owners = HashMap::new();
        for worker in self.workers.iter().filter(|worker| worker.id().is_some()) {
            if let Ok(targets) = worker.targets().await {
                owners.insert(worker.name.clone(), targets);
            }
        }
        owners
    }
}

/// A name server on an address of its own, where that is allowed.
async fn name_server() -> Option<NameServer> {
    let allowed = std::process::Command::new("/usr/bin/unshare").args(["--mount", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        return None;
    }
    let names = ["centre", "receiver"];
    let names: HashMap<String, Ipv4Addr> =
        names.iter().map(|name| (format!("{name}.{ZONE}"), Ipv4Addr::LOCALHOST)).collect();
    // Several drills may run side by side.
    for last in 1..=250 {
        let address = SocketAddr::from((Ipv4Addr::new(127, 53, 53, last), 53));
        match NameServer::start(address, names.clone()).await {
            Ok(server) => return Some(server),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(_) => return None,
        }
    }
    None
}

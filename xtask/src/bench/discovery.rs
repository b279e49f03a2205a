//! `cargo xtask bench discovery`: a master with a worker, and Prometheus, on the same simulated API server.
//!
//! The cluster is a process of its own (this program again). Two things are measured: how long a start takes until all
//! targets are known and how much memory that needs; and how soon a pod is scraped after it became ready while pods are
//! replaced all the time.

mod cluster;

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http::Method;
use tokio::time::{Instant, sleep};

pub use cluster::{Delays, serve as serve_cluster};

use super::usage::Usage;
use crate::rig::{Cache, Client, Lifetime, Pin, ProcessId, Program, free_port, spawn};

/// How long the cluster may take to be made, and a start to find all targets.
const PATIENCE: Duration = Duration::from_secs(900);
/// The pods of this many workloads of fifty are replaced, and scraped, when delays are measured.
const FOLLOWED_WORKLOADS: u32 = 6;
/// The interval of the followed pods: a first scrape is at most so much later than it could be.
const FOLLOWED_INTERVAL: Duration = Duration::from_millis(250);

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Nodes and pods of the start.
    pub start: (u32, u32),
    /// Nodes and pods while pods are replaced.
    pub follow: (u32, u32),
    /// Pods replaced each second: three events each.
    pub replaced_per_second: u32,
    /// How long that is measured.
    pub window: Duration,
    /// Whether Prometheus is measured, too.
    pub prometheus: bool,
    /// Outrigger's binary.
    pub outrigger: PathBuf,
    /// Where everything is written.
    pub folder: PathBuf,
}

/// A start.
#[derive(Debug, Clone, Copy)]
struct Start {
    targets: u64,
    took: Duration,
    peak_bytes: u64,
    resident_bytes: u64,
}

/// A process that ends with its value.
struct Running {
    id: ProcessId,
    url: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.id.kill_now();
    }
}

impl Running {
    fn start(program: &Path, arguments: Vec<String>, folder: &Path, name: &str, url: &str) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let id = spawn(program, &arguments, folder, &log, Lifetime::Owner)?;
        Ok(Self { id, url: url.to_owned() })
    }

    /// The sum of a metric's series.
    async fn metric(&self, name: &str) -> Option<f64> {
        let text = Client::plain(&self.url).ok()?.get_text("/metrics").await.ok()?;
        let value = |line: &str| {
            let rest = line.strip_prefix(name)?;
            (rest.starts_with(' ') || rest.starts_with('{')).then(|| rest.rsplit(' ').next()?.parse().ok())?
        };
        let values: Vec<f64> = text.lines().filter_map(value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    async fn until(&self, metric: &str, least: u64) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.metric(metric).await.unwrap_or(0.0);
            if value >= least as f64 {
                return Ok(());
            }
            if !self.id.is_alive() || Instant::now() > deadline {
                bail!("{metric} is {value} of {least}: the process ended or took longer than {PATIENCE:?}");
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Runs the plan and gives the result as Markdown; `say` gets a line for whoever waits.
///
/// # Errors
/// When a process does not start or does not find the targets in time.
pub async fn discovery(plan: &Plan, say: impl Fn(&str)) -> Result<String> {
    fs::create_dir_all(&plan.folder).with_context(|| format!("create {}", plan.folder.display()))?;
    let mut text = String::new();
    starts(plan, &say, &mut text).await?;
    follows(plan, &say, &mut text).await?;
    Ok(text)
}

async fn starts(plan: &Plan, say: &impl Fn(&str), text: &mut String) -> Result<()> {
    let (nodes, pods) = plan.start;
    say(&format!("making a cluster of {nodes} nodes and {pods} pods"));
    let cluster = start_cluster(plan, nodes, pods).await?;
    // Workloads of fifty pods, a tenth of them annotated.
    let expected = u64::from(nodes) + (0..pods).filter(|pod| (pod / 50).is_multiple_of(10)).count() as u64;
    let jobs = start_jobs(&plan.folder);
    let began = Instant::now();
    let (master, worker) = fleet(plan, &jobs).await?;
    worker.until("outrigger_scrape_targets", expected).await?;
    let ours = start(&master, expected, began)?;
    let of_worker = Usage::of(worker.id.pid)?;
    drop((master, worker));
    say(&format!("master: {:.1} s, {} MiB", ours.took.as_secs_f64(), ours.peak_bytes >> 20));
    let _ = writeln!(
        text,
        "{nodes} nodes, {pods} pods, {expected} targets; from the start of the processes to when all targets are at the scraper:\n\n\
         | | s | peak MiB | resident MiB |\n|---|---|---|---|"
    );
    start_row(text, "Outrigger's master", &ours);
    let _ = writeln!(
        text,
        "| its worker | | {} | {} |",
        of_worker.peak_bytes >> 20,
        of_worker.resident_bytes >> 20
    );
    if plan.prometheus {
        let began = Instant::now();
        let prometheus = prometheus(plan, &jobs).await?;
        prometheus.until("prometheus_target_scrape_pool_targets", expected).await?;
        let theirs = start(&prometheus, expected, began)?;
        say(&format!("prometheus: {:.1} s, {} MiB", theirs.took.as_secs_f64(), theirs.peak_bytes >> 20));
        start_row(text, "Prometheus", &theirs);
        let _ = writeln!(
            text,
            "\nPrometheus takes {:.1} times as long and {:.1} times the peak memory of the master.",
            theirs.took.as_secs_f64() / ours.took.as_secs_f64(),
            theirs.peak_bytes as f64 / ours.peak_bytes as f64,
        );
    }
    drop(cluster);
    Ok(())
}

fn start(process: &Running, targets: u64, began: Instant) -> Result<Start> {
    let took = began.elapsed();
    let Usage { peak_bytes, resident_bytes, .. } = Usage::of(process.id.pid)?;
    Ok(Start { targets, took, peak_bytes, resident_bytes })
}

fn start_row(text: &mut String, who: &str, start: &Start) {
    let _ = writeln!(
        text,
        "| {who}, {} targets | {:.1} | {} | {} |",
        start.targets,
        start.took.as_secs_f64(),
        start.peak_bytes >> 20,
        start.resident_bytes >> 20
    );
}

async fn follows(plan: &Plan, say: &impl Fn(&str), text: &mut String) -> Result<()> {
    let (nodes, pods) = plan.follow;
    say(&format!("making a cluster of {nodes} nodes and {pods} pods"));
    let cluster = start_cluster(plan, nodes, pods).await?;
    let followed = u64::from(FOLLOWED_WORKLOADS * 50);
    let jobs = follow_jobs(&plan.folder);
    let _ = writeln!(
        text,
        "\n{nodes} nodes, {pods} pods, {} pod events a second for {} s; from the moment at which a pod became ready to its first \
         scrape, which includes up to {} ms of waiting for its tick:\n\n\
         | | pods | p50 ms | p99 ms | max ms |\n|---|---|---|---|---|",
        plan.replaced_per_second * 3,
        plan.window.as_secs(),
        FOLLOWED_INTERVAL.as_millis(),
    );
    let (master, worker) = fleet(plan, &jobs).await?;
    worker.until("outrigger_scrape_targets", followed).await?;
    let delays = measure(plan, &cluster).await?;
    let own = master.metric("outrigger_assignment_delay_seconds_count").await.unwrap_or(0.0);
    drop((master, worker));
    say(&format!("outrigger: {delays:?}"));
    follow_row(text, "Outrigger", &delays);
    if plan.prometheus {
        let prometheus = prometheus(plan, &jobs).await?;
        prometheus.until("prometheus_target_scrape_pool_targets", followed).await?;
        let delays = measure(plan, &cluster).await?;
        say(&format!("prometheus: {delays:?}"));
        follow_row(text, "Prometheus", &delays);
    }
    let _ = writeln!(text, "\nThe master's own outrigger_assignment_delay_seconds counted {own} pods.");
    Ok(())
}

fn follow_row(text: &mut String, who: &str, delays: &Delays) {
    let _ = writeln!(
        text,
        "| {who} | {} of {} | {:.0} | {:.0} | {:.0} |",
        delays.scraped, delays.ready, delays.p50_ms, delays.p99_ms, delays.max_ms
    );
}

async fn measure(plan: &Plan, cluster: &Running) -> Result<Delays> {
    let client = Client::plain(&cluster.url)?;
    let post = |path: String| {
        let client = client.clone();
        async move { client.send(Method::POST, &path, "text/plain", Vec::new()).await }
    };
    post(format!("/churn/{}", plan.replaced_per_second)).await?;
    sleep(plan.window).await;
    post("/churn/0".to_owned()).await?;
    // Whoever is slow has its time.
    sleep(Duration::from_secs(20)).await;
    let delays = client.get("/delays").await?;
    serde_json::from_value(delays).context("read the delays")
}

async fn start_cluster(plan: &Plan, nodes: u32, pods: u32) -> Result<Running> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let own = std::env::current_exe().context("find this program")?;
    let words = ["bench", "serve-cluster", "--listen"].map(str::to_owned);
    let mut arguments = words.to_vec();
    arguments.extend([listen.to_string(), "--nodes".to_owned(), nodes.to_string()]);
    arguments.extend(["--pods".to_owned(), pods.to_string(), "--folder".to_owned()]);
    arguments.push(plan.folder.display().to_string());
    let cluster = Running::start(&own, arguments, &plan.folder, "cluster", &format!("http://{listen}"))?;
    let deadline = Instant::now() + PATIENCE;
    let client = Client::plain(&cluster.url)?;
    while client.get_text("/ready").await.is_err() {
        if !cluster.id.is_alive() || Instant::now() > deadline {
            bail!("the cluster is not ready; see {}", plan.folder.join("cluster.log").display());
        }
        sleep(Duration::from_millis(200)).await;
    }
    Ok(cluster)
}

/// Jobs of every node and of the annotated pods, which are hardly scraped.
fn start_jobs(folder: &Path) -> String {
    let sd = |role: &str| {
        format!("kubernetes_sd_configs: [{{role: {role}, kubeconfig_file: {}}}]", kubeconfig(folder))
    };
    format!(
        "global: {{scrape_interval: 1h, scrape_timeout: 1s}}\n\
         scrape_configs:\n\
         - job_name: nodes\n  {}\n\
         - job_name: pods\n  {}\n  relabel_configs:\n  \
           - {{source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], regex: \"true\", action: keep}}\n  \
           - {{source_labels: [__meta_kubernetes_pod_container_port_name], regex: metrics, action: keep}}\n",
        sd("node"),
        sd("pod"),
    )
}

/// A job of the pods that are replaced.
fn follow_jobs(folder: &Path) -> String {
    let last = FOLLOWED_WORKLOADS - 1;
    format!(
        "global: {{scrape_interval: {interval}ms, scrape_timeout: {interval}ms}}\n\
         scrape_configs:\n\
         - job_name: pods\n  \
           kubernetes_sd_configs: [{{role: pod, kubeconfig_file: {}}}]\n  \
           relabel_configs:\n  \
           - {{source_labels: [__meta_kubernetes_pod_label_app], regex: \"app-000[0-{last}]\", action: keep}}\n  \
           - {{source_labels: [__meta_kubernetes_pod_container_port_name], regex: metrics, action: keep}}\n  \
           - {{source_labels: [__meta_kubernetes_pod_ready], regex: \"true\", action: keep}}\n",
        kubeconfig(folder),
        interval = FOLLOWED_INTERVAL.as_millis(),
    )
}

fn kubeconfig(folder: &Path) -> String {
    folder.join("kubeconfig").display().to_string()
}

/// A master and its worker, both started.
async fn fleet(plan: &Plan, jobs: &str) -> Result<(Running, Running)> {
    let centre = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let master = format!(
        "{jobs}outrigger:\n  request_budget: {{requests_per_second: 200, burst: 200}}\n  centre: {{name: master, listen: \"{centre}\"}}\n"
    );
    let worker = format!("outrigger: {{worker: {{name: worker, masters: [\"http://{centre}\"]}}}}\n");
    Ok((process(plan, "master", &master).await?, process(plan, "worker", &worker).await?))
}

async fn process(plan: &Plan, role: &str, config: &str) -> Result<Running> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let (path, data) = (plan.folder.join(format!("{role}.yml")), plan.folder.join(format!("{role}-data")));
    let _ = fs::remove_dir_all(&data);
    fs::write(&path, config).with_context(|| format!("write {}", path.display()))?;
    let arguments = [role, "-c", &path.display().to_string(), "--data-dir", &data.display().to_string()];
    let mut arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
    arguments.extend(["--listen".to_owned(), listen.to_string()]);
    Running::start(&plan.outrigger, arguments, &plan.folder, role, &format!("http://{listen}"))
}

async fn prometheus(plan: &Plan, jobs: &str) -> Result<Running> {
    let program = Cache::from_environment()?.find(Pin::new(Program::Prometheus, None)?)?;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let (path, data) = (plan.folder.join("prometheus.yml"), plan.folder.join("prometheus-data"));
    let _ = fs::remove_dir_all(&data);
    fs::write(&path, jobs).with_context(|| format!("write {}", path.display()))?;
    let arguments = vec![
        format!("--config.file={}", path.display()),
        format!("--storage.tsdb.path={}", data.display()),
        format!("--web.listen-address={listen}"),
        "--log.level=warn".to_owned(),
    ];
    Running::start(&program, arguments, &plan.folder, "prometheus", &format!("http://{listen}"))
}

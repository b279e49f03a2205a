//! `cargo xtask bench state`: Outrigger's state metrics and kube-state-metrics, one after the other, on the same
//! simulated API server.
//!
//! The cluster is a process of its own (this program again), so that only the exporter's processor time and memory
//! are counted.

mod cluster;
mod scrape;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http::Method;
use tokio::time::{Instant, sleep};

pub use cluster::serve as serve_state_cluster;
use scrape::Scraped;

use super::usage::Usage;
use crate::rig::{Cache, Client, Lifetime, Pin, ProcessId, Program, free_port, spawn};

/// How long the cluster may take to be made, and an exporter to have all of it.
const PATIENCE: Duration = Duration::from_secs(900);
/// How long an exporter rests before its memory counts as steady: Go collects garbage at least every two minutes, and
/// gives memory back after that.
const REST: Duration = Duration::from_secs(180);
/// An exporter that leaves the machine less than this is ended, rather than something else.
const LEAST_AVAILABLE: u64 = 768 << 20;
/// Scrapes of each kind; the median is reported.
const SCRAPES: usize = 3;

/// What is measured.
#[derive(Debug, Clone)]
pub struct StatePlan {
    /// Pods of the cluster; everything else is in proportion.
    pub pods: u32,
    /// Pod events each second while changes are measured, besides the renewal of every node's lease in ten seconds.
    pub pod_events_per_second: u32,
    /// How long that is measured.
    pub window: Duration,
    /// Outrigger's binary, if it is measured.
    pub outrigger: Option<PathBuf>,
    /// Whether kube-state-metrics is measured.
    pub peer: bool,
    /// Where everything is written.
    pub folder: PathBuf,
}

/// What one exporter did.
#[derive(Debug, Clone, Default)]
struct Measured {
    name: &'static str,
    /// From the start of the process to the end of its first whole scrape.
    ready_seconds: f64,
    /// Processor time until then.
    ready_cpu: f64,
    /// Largest resident size before the first scrape, and with it.
    start_peak: u64,
    scraped_peak: u64,
    /// Resident size after a rest.
    steady: u64,
    plain: Scrape,
    gzip: Scrape,
    churn_cpu: f64,
    churn_seconds: f64,
    churn_events: u64,
    churned: u64,
    families: BTreeMap<String, u64>,
}

/// The median scrape.
#[derive(Debug, Clone, Default)]
struct Scrape {
    cpu: f64,
    scraped: Scraped,
}

/// Runs the plan and gives the result as Markdown; `say` gets a line for whoever waits.
///
/// # Errors
/// When a process does not start, or does not have the cluster in time.
pub async fn state(plan: &StatePlan, say: impl Fn(&str)) -> Result<String> {
    fs::create_dir_all(&plan.folder).with_context(|| format!("create {}", plan.folder.display()))?;
    say(&format!("making a cluster of {} pods", plan.pods));
    let cluster = start_cluster(plan).await?;
    let mut measured = Vec::new();
    if let Some(outrigger) = &plan.outrigger {
        let words = vec!["state-metrics".to_owned()];
        measured.push(measure(plan, &cluster, "Outrigger", outrigger, words, &say).await?);
    }
    if plan.peer {
        let program = Cache::from_environment()?.find(Pin::new(Program::KubeStateMetrics, None)?)?;
        measured.push(measure(plan, &cluster, "kube-state-metrics", &program, Vec::new(), &say).await?);
    }
    Ok(markdown(plan, &measured))
}

/// A process that ends with its value.
struct Running(ProcessId, SocketAddr);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill_now();
    }
}

async fn start_cluster(plan: &StatePlan) -> Result<Running> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let own = std::env::current_exe().context("find this program")?;
    let arguments = ["bench", "serve-state-cluster"].map(str::to_owned).into_iter();
    let options = [
        format!("--listen={listen}"),
        format!("--pods={}", plan.pods),
        format!("--folder={}", plan.folder.display()),
    ];
    let arguments: Vec<String> = arguments.chain(options).collect();
    let log = plan.folder.join("cluster.log");
    let cluster = Running(spawn(&own, &arguments, &plan.folder, &log, Lifetime::Owner)?, listen);
    let client = client(listen)?;
    let deadline = Instant::now() + PATIENCE;
    while client.get_text("/ready").await.is_err() {
        if !cluster.0.is_alive() || Instant::now() > deadline {
            bail!("the cluster is not ready; see {}", log.display());
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(cluster)
}

fn client(address: SocketAddr) -> Result<Client> {
    Client::plain(&format!("http://{address}"))
}

async fn measure(
    plan: &StatePlan,
    cluster: &Running,
    name: &'static str,
    program: &Path,
    mut arguments: Vec<String>,
    say: &impl Fn(&str),
) -> Result<Measured> {
    let (port, telemetry) = (free_port()?, free_port()?);
    let kubeconfig = plan.folder.join("kubeconfig");
    arguments.extend([
        format!("--kubeconfig={}", kubeconfig.display()),
        "--host=127.0.0.1".to_owned(),
        format!("--port={port}"),
        "--telemetry-host=127.0.0.1".to_owned(),
        format!("--telemetry-port={telemetry}"),
        "--enable-gzip-encoding".to_owned(),
        "--server-write-timeout=10m".to_owned(),
    ]);
    let log = plan.folder.join(format!("{name}.log"));
    let began = Instant::now();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let process = Running(spawn(program, &arguments, &plan.folder, &log, Lifetime::Owner)?, address);
    // Where memory runs out all the same, this one goes.
    let _ = fs::write(format!("/proc/{}/oom_score_adj", process.0.pid), "1000");
    let run = Run { plan, cluster, process, log };
    let mut measured = Measured { name, ..Measured::default() };
    run.until_all_pods().await.with_context(|| format!("start {name}"))?;
    measured.start_peak = run.usage()?.peak_bytes;
    run.first_whole_scrape().await.with_context(|| format!("first scrape of {name}"))?;
    measured.ready_seconds = began.elapsed().as_secs_f64();
    let after = run.usage()?;
    (measured.ready_cpu, measured.scraped_peak) = (after.cpu_seconds, after.peak_bytes);
    say(&format!(
        "{name}: ready after {:.1} s, peak {} MiB, with the first scrape {} MiB",
        measured.ready_seconds,
        measured.start_peak >> 20,
        measured.scraped_peak >> 20
    ));
    sleep(REST).await;
    measured.steady = run.usage()?.resident_bytes;
    measured.plain = run.scrapes(None).await?;
    say(&format!(
        "{name}: resident {} MiB, scrape {:.2} s, {:.2} s of processor, {} MiB, {} lines",
        measured.steady >> 20,
        measured.plain.scraped.seconds,
        measured.plain.cpu,
        measured.plain.scraped.bytes >> 20,
        measured.plain.scraped.lines
    ));
    measured.gzip = run.scrapes(Some("gzip")).await?;
    say(&format!(
        "{name}: gzip {:.2} s, {:.2} s of processor, {} MiB",
        measured.gzip.scraped.seconds,
        measured.gzip.cpu,
        measured.gzip.scraped.bytes >> 20
    ));
    measured.families = scrape::families(address).await?;
    run.churn(&mut measured).await?;
    say(&format!(
        "{name}: {:.2} s of processor in {:.0} s of {} changes, then resident {} MiB",
        measured.churn_cpu,
        measured.churn_seconds,
        measured.churn_events,
        measured.churned >> 20
    ));
    Ok(measured)
}

/// One exporter on the cluster.
struct Run<'a> {
    plan: &'a StatePlan,
    cluster: &'a Running,
    process: Running,
    log: PathBuf,
}

impl Run<'_> {
    fn usage(&self) -> Result<Usage> {
        Usage::of(self.process.0.pid)
    }

    fn check(&self, deadline: Instant, what: &str) -> Result<()> {
        ensure!(available()? > LEAST_AVAILABLE, "the machine has too little memory for it");
        ensure!(self.process.0.is_alive(), "it ended; see {}", self.log.display());
        ensure!(Instant::now() < deadline, "no {what} within {PATIENCE:?}; see {}", self.log.display());
        Ok(())
    }

    /// Two containers of each pod are told of, but for the few pods that may be about to start. Before the pods are
    /// there the answer is short, so asking costs little.
    async fn until_all_pods(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let most = u64::from(self.plan.pods) * 2;
        let most = most - most / 100;
        loop {
            self.check(deadline, "pods")?;
            let seen =
                scrape::peek(self.process.1, "/metrics?resources=pods", "kube_pod_container_info", most);
            if seen.await.is_ok_and(|seen| seen >= most) {
                return Ok(());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// A scrape with everything: all ReplicaSets are there, and it is not refused because some resource is not listed.
    async fn first_whole_scrape(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let replica_sets = u64::from(self.plan.pods.div_ceil(30) * 11);
        let path = "/metrics?resources=replicasets";
        loop {
            self.check(deadline, "whole scrape")?;
            let seen = scrape::peek(self.process.1, path, "kube_replicaset_created", replica_sets).await;
            if seen.is_ok_and(|seen| seen >= replica_sets)
                && scrape::whole(self.process.1, "/metrics", None).await.is_ok()
            {
                return Ok(());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn scrapes(&self, encoding: Option<&str>) -> Result<Scrape> {
        let mut all = Vec::new();
        for _ in 0..SCRAPES {
            let before = self.usage()?;
            let scraped = scrape::whole(self.process.1, "/metrics", encoding).await?;
            // Work that goes on after the answer, such as collecting garbage, belongs to it.
            sleep(Duration::from_secs(2)).await;
            all.push(Scrape { cpu: self.usage()?.cpu_seconds - before.cpu_seconds, scraped });
        }
        all.sort_by(|a, b| a.scraped.seconds.total_cmp(&b.scraped.seconds));
        all.into_iter().nth(SCRAPES / 2).context("no scrape")
    }

    async fn churn(&self, measured: &mut Measured) -> Result<()> {
        let client = client(self.cluster.1)?;
        let revision = || async {
            let text = client.get_text("/events").await?;
            text.trim().parse::<u64>().context("read the revision")
        };
        let tell = |rate: u32| {
            let client = client.clone();
            async move { client.send(Method::POST, &format!("/churn/{rate}"), "text/plain", Vec::new()).await }
        };
        tell(self.plan.pod_events_per_second).await?;
        // The first ticks are not yet the rate.
        sleep(Duration::from_secs(3)).await;
        let (began, before, from) = (Instant::now(), self.usage()?, revision().await?);
        sleep(self.plan.window).await;
        let (after, to) = (self.usage()?, revision().await?);
        measured.churn_seconds = began.elapsed().as_secs_f64();
        measured.churn_cpu = after.cpu_seconds - before.cpu_seconds;
        measured.churn_events = to - from;
        measured.churned = after.resident_bytes;
        tell(0).await?;
        Ok(())
    }
}

/// Memory that the machine can still give, in bytes.
fn available() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let number = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    Ok(number.context("no MemAvailable in /proc/meminfo")? * 1024)
}

fn markdown(plan: &StatePlan, measured: &[Measured]) -> String {
    let mut text = String::new();
    let mib = |bytes: u64| format!("{}", bytes >> 20);
    let seconds = |value: f64| format!("{value:.2}");
    type Row<'a> = (&'a str, fn(&Measured) -> f64, &'a dyn Fn(f64) -> String);
    let as_mib = |value: f64| mib(value as u64);
    let rows: [Row<'_>; 13] = [
        ("peak while starting, MiB", |m| m.start_peak as f64, &as_mib),
        ("peak with the first scrape, MiB", |m| m.scraped_peak as f64, &as_mib),
        ("resident after three minutes of rest, MiB", |m| m.steady as f64, &as_mib),
        ("resident after the changes, MiB", |m| m.churned as f64, &as_mib),
        ("start to the end of the first whole scrape, s", |m| m.ready_seconds, &seconds),
        ("processor until then, s", |m| m.ready_cpu, &seconds),
        ("processor of the changes, s", |m| m.churn_cpu, &seconds),
        ("scrape, s", |m| m.plain.scraped.seconds, &seconds),
        ("scrape, processor s", |m| m.plain.cpu, &seconds),
        ("scrape with gzip, s", |m| m.gzip.scraped.seconds, &seconds),
        ("scrape with gzip, processor s", |m| m.gzip.cpu, &seconds),
        ("body, MiB", |m| m.plain.scraped.bytes as f64, &as_mib),
        ("body with gzip, MiB", |m| m.gzip.scraped.bytes as f64, &as_mib),
    ];
    let _ = writeln!(
        text,
        "{} pods with two containers and an init container, everything else in proportion; {} scrapes of each kind, the \
         median; changes: every node's lease in ten seconds and {} pod events a second for {} s.\n",
        plan.pods,
        SCRAPES,
        plan.pod_events_per_second,
        plan.window.as_secs(),
    );
    let names: Vec<&str> = measured.iter().map(|one| one.name).collect();
    let ratio = if measured.len() == 2 { " ratio |" } else { "" };
    let _ = writeln!(text, "| | {} |{ratio}", names.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(measured.len() + usize::from(measured.len() == 2)));
    for (what, value, show) in rows {
        let cells: Vec<String> = measured.iter().map(|one| show(value(one))).collect();
        let _ = write!(text, "| {what} | {} |", cells.join(" | "));
        if let [ours, theirs] = measured {
            let _ = write!(text, " {:.1} |", value(theirs) / value(ours).max(1e-9));
        }
        let _ = writeln!(text);
    }
    for one in measured {
        let samples: u64 = one.families.values().sum();
        let _ = writeln!(
            text,
            "\n{}: {} lines, {samples} samples in {} families; {} changes in {:.0} s.",
            one.name,
            one.plain.scraped.lines,
            one.families.len(),
            one.churn_events,
            one.churn_seconds,
        );
    }
    if let [ours, theirs] = measured {
        text.push_str(&differences(&ours.families, &theirs.families));
    }
    text
}

/// Families of which the two have different numbers of samples.
fn differences(ours: &BTreeMap<String, u64>, theirs: &BTreeMap<String, u64>) -> String {
    let mut text = String::new();
    let names: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    for name in names {
        let (our, their) = (ours.get(name), theirs.get(name));
        if our != their {
            let show = |count: Option<&u64>| count.map_or("absent".to_owned(), u64::to_string);
            let _ = writeln!(text, "- {name}: {} against {}", show(our), show(their));
        }
    }
    match text.is_empty() {
        true => "\nEvery family has the same number of samples in both.\n".to_owned(),
        false => format!("\nNumbers of samples that differ:\n\n{text}"),
    }
}

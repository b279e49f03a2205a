//! `cargo xtask bench scrape`: Outrigger, vmagent and Prometheus' agent one after the other under the same load.
//!
//! The load and the receiver are processes of their own (this program again), so that only the scraper's processor
//! time and memory are counted. All bodies are made and gzipped before the first scrape.

mod agent;
mod control;
mod discovery;
mod message;
mod receiver;
mod report;
mod sequence;
mod shape;
mod state;
mod targets;
mod usage;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http::Method;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

pub use agent::Agent;
pub use discovery::{Delays, Plan as DiscoveryPlan, discovery, serve_cluster};
pub use receiver::{Received, Receiving, serve as serve_receiver};
pub use report::{Measured, Report};
pub use sequence::Sequence;
pub use shape::Shape;
pub use state::{StatePlan, serve_state_cluster, state};
pub use targets::{Load, Punctuality, serve as serve_targets};

use agent::Setup;
use usage::Usage;

use crate::rig::{Client, Lifetime, ProcessId, free_port, spawn};

/// How long targets may take to make their bodies, and a scraper to ask every target twice.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the targets look like.
    pub shape: Shape,
    /// Active series of all targets together.
    pub series: usize,
    /// The time between two scrapes of a target.
    pub interval: Duration,
    /// How long each scraper runs, after it asked every target twice, before it is measured.
    pub warm_up: Duration,
    /// How long each is measured.
    pub window: Duration,
    /// Who is measured.
    pub agents: Vec<Agent>,
    /// Without metric relabelling, with it, or both.
    pub relabel: Vec<bool>,
    /// Outrigger's binary.
    pub outrigger: PathBuf,
    /// Further keys of Outrigger's remote write, as flow YAML without braces.
    pub outrigger_remote_write: String,
    /// Whether the receiver counts different series too, which costs it time and memory.
    pub distinct: bool,
}

impl Plan {
    fn targets(&self) -> Result<u32> {
        let targets = self.series.div_ceil(self.shape.series_of_target()).max(1);
        u32::try_from(targets).context("too many series")
    }
}

/// Runs the plan and returns what was measured; `progress` is told what goes on.
///
/// # Errors
/// When a program is missing, does not start, or ends before it was measured.
pub async fn scrape(plan: &Plan, progress: impl Fn(&str)) -> Result<Report> {
    let dir = RunDir::create()?;
    let load =
        Load { shape: plan.shape, targets: plan.targets()?, port: free_port()?, interval: plan.interval };
    progress(&format!("making the bodies of {} targets", load.targets));
    let targets = Peer::targets(&dir.0, load).await?;
    let receiver = Peer::receiver(&dir.0, plan.distinct).await?;
    let mut report = Report::new(plan, load)?;
    for relabel in plan.relabel.iter().copied() {
        for agent in plan.agents.iter().copied() {
            progress(&format!("{}{}", agent.name(), if relabel { " with relabelling" } else { "" }));
            let run = Run { plan, load, relabel, agent, targets: &targets, receiver: &receiver };
            let measured = run.measure(&dir.0).await.with_context(|| format!("measure {}", agent.name()))?;
            progress(&report::line(&measured));
            report.measured.push(measured);
        }
    }
    Ok(report)
}

/// A folder that goes with this value.
struct RunDir(PathBuf);

impl RunDir {
    fn create() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("outrigger-bench-{}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        // What is left lies in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that ends with this value.
struct Started {
    id: ProcessId,
    log: PathBuf,
}

impl Started {
    fn start(program: &Path, arguments: &[String], dir: &Path, name: &str) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let id = spawn(program, arguments, dir, &log, Lifetime::Owner)?;
        Ok(Self { id, log })
    }

    fn check(&self) -> Result<()> {
        if self.id.is_alive() {
            return Ok(());
        }
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        bail!("it ended: {}", lines[lines.len().saturating_sub(10)..].join("\n"))
    }

    /// The last lines of its log that are no plain information.
    fn complaints(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let bad =
            |line: &&str| ["warn", "error", "panic"].iter().any(|word| line.to_lowercase().contains(word));
        let mut lines: Vec<String> = text.lines().rev().filter(bad).take(3).map(str::to_owned).collect();
        lines.reverse();
        lines
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.id.kill_now();
    }
}

/// The load or the receiver: this program again.
struct Peer {
    process: Started,
    address: SocketAddr,
    client: Client,
}

impl Peer {
    async fn targets(dir: &Path, load: Load) -> Result<Self> {
        let number = |value: u64| value.to_string();
        let arguments = [
            ("--shape", load.shape.name().to_owned()),
            ("--targets", number(load.targets.into())),
            ("--port", number(load.port.into())),
            ("--interval-ms", number(load.interval.as_millis() as u64)),
        ];
        Self::start(dir, "targets", arguments.map(|(name, value)| format!("{name}={value}")).to_vec()).await
    }

    async fn receiver(dir: &Path, distinct: bool) -> Result<Self> {
        let arguments = if distinct { vec!["--distinct".to_owned()] } else { Vec::new() };
        Self::start(dir, "receiver", arguments).await
    }

    async fn start(dir: &Path, role: &str, arguments: Vec<String>) -> Result<Self> {
        let address = loopback()?;
        let mut all = vec!["bench".to_owned(), format!("serve-{role}"), format!("--listen={address}")];
        all.extend(arguments);
        let program = std::env::current_exe().context("find this program")?;
        let process = Started::start(&program, &all, dir, role)?;
        let client = Client::plain(&format!("http://{address}"))?;
        let deadline = Instant::now() + PATIENCE;
        while client.get_text("/stats").await.is_err() {
            process.check().with_context(|| format!("start the {role}"))?;
            ensure!(Instant::now() < deadline, "the {role} did not get ready");
            sleep(Duration::from_millis(100)).await;
        }
        Ok(Self { process, address, client })
    }

    async fn stats<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.client.get_text("/stats").await?).context("read the counts")
    }

    async fn tell(&self, word: &str) -> Result<()> {
        let answer = self.client.send(Method::POST, &format!("/{word}"), "text/plain", Vec::new()).await?;
        ensure!(answer.status.is_success(), "{word} was answered {}", answer.status);
        Ok(())
    }
}

fn loopback() -> Result<SocketAddr> {
    Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), free_port()?))
}

/// One scraper under the load.
struct Run<'a> {
    plan: &'a Plan,
    load: Load,
    relabel: bool,
    agent: Agent,
    targets: &'a Peer,
    receiver: &'a Peer,
}

/// Everything that is read at the beginning and at the end of the window.
struct Reading {
    at: Instant,
    agent: Usage,
    load: Usage,
    receiver: Usage,
    machine: (f64, f64),
    received: Received,
}

impl Run<'_> {
    async fn measure(&self, dir: &Path) -> Result<Measured> {
        let name = format!("{}-{}", self.agent.name(), if self.relabel { "relabel" } else { "plain" });
        let own = dir.join(&name);
        fs::create_dir_all(&own).with_context(|| format!("create {}", own.display()))?;
        let listen = loopback()?;
        let launch = self.agent.prepare(&Setup {
            load: self.load,
            relabel: self.relabel,
            receiver: self.receiver.address,
            dir: &own,
            listen,
            outrigger: &self.plan.outrigger,
            outrigger_remote_write: &self.plan.outrigger_remote_write,
        })?;
        self.targets.tell("reset").await?;
        self.receiver.tell("reset").await?;
        let process = Started::start(&launch.program, &launch.arguments, &own, &name)?;
        self.until_warm(&process).await?;
        self.targets.tell("window").await?;
        let own_lateness = self.own_lateness(listen).await;
        let before = self.read(&process).await?;
        self.wait(&process, self.plan.window).await?;
        let after = self.read(&process).await?;
        let punctuality: Punctuality = self.targets.stats().await?;
        let own_lateness_ms = match (own_lateness, self.own_lateness(listen).await) {
            (Some(before), Some(after)) => report::histogram_p99_ms(&before, &after),
            _ => None,
        };
        let complaints = process.complaints();
        process.id.end().await?;
        Ok(Measured {
            agent: self.agent,
            relabel: self.relabel,
            seconds: (after.at - before.at).as_secs_f64(),
            cpu_seconds: after.agent.cpu_seconds - before.agent.cpu_seconds,
            peak_bytes: after.agent.peak_bytes,
            resident_bytes: after.agent.resident_bytes,
            load_cpu_seconds: after.load.cpu_seconds - before.load.cpu_seconds,
            receiver_cpu_seconds: after.receiver.cpu_seconds - before.receiver.cpu_seconds,
            machine_share: (after.machine.0 - before.machine.0)
                / (after.machine.1 - before.machine.1).max(0.01),
            received: report::difference(&before.received, &after.received),
            punctuality,
            own_lateness_ms,
            complaints,
        })
    }

    /// Every target was asked twice, something arrived, and the warm-up is over.
    async fn until_warm(&self, process: &Started) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            process.check()?;
            let (asked, received): (Punctuality, Received) =
                (self.targets.stats().await?, self.receiver.stats().await?);
            if asked.targets_twice == self.load.targets as usize && received.contents.samples > 0 {
                break;
            }
            ensure!(
                Instant::now() < deadline,
                "after {PATIENCE:?} {} of {} targets were asked twice, {} samples arrived and {} requests were refused; {}",
                asked.targets_twice,
                self.load.targets,
                received.contents.samples,
                received.refused,
                process.complaints().join("\n")
            );
            sleep(Duration::from_millis(500)).await;
        }
        self.wait(process, self.plan.warm_up).await
    }

    async fn wait(&self, process: &Started, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            process.check()?;
            sleep(Duration::from_millis(200).min(end - Instant::now())).await;
        }
        Ok(())
    }

    async fn read(&self, process: &Started) -> Result<Reading> {
        Ok(Reading {
            received: self.receiver.stats().await?,
            at: Instant::now(),
            agent: Usage::of(process.id.pid)?,
            load: Usage::of(self.targets.process.id.pid)?,
            receiver: Usage::of(self.receiver.process.id.pid)?,
            machine: usage::machine()?,
        })
    }

    /// The buckets of Outrigger's own histogram of lateness.
    async fn own_lateness(&self, listen: SocketAddr) -> Option<Vec<(f64, f64)>> {
        if self.agent != Agent::Outrigger {
            return None;
        }
        let text = Client::plain(&format!("http://{listen}")).ok()?.get_text("/metrics").await.ok()?;
        Some(report::buckets(&text, "outrigger_scrape_lateness_seconds_bucket"))
    }
}

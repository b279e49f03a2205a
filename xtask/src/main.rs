//! The command line of the workspace's chores: `cargo xtask rig …`, `cargo xtask dag`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use xtask::bench::{self, Agent, DiscoveryPlan, Load, Plan, Receiving, Shape, StatePlan};
use xtask::compliance::{self, RemoteWrite};
use xtask::dag;
use xtask::drill::{self, Combination, OutagePlan, PartitionRow, Scale, ScaleStep};
use xtask::rig::{self, Cache, Component, FillPlan, Options, Pin, Program, Rig, User};

/// Chores of the workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Chore {
    /// Real Kubernetes and monitoring parts on loopback, for tests and for trying things out.
    #[command(subcommand)]
    Rig(RigCommand),
    /// Checks that edges between crates go only downwards and that the lower layers do no I/O.
    Dag,
    /// Benchmarks that run a peer beside Outrigger and print ratios.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Outrigger's processes under load while parts of the world fail.
    #[command(subcommand)]
    Drill(DrillCommand),
    /// Other projects' compliance suites against the binary.
    #[command(subcommand)]
    Compliance(ComplianceCommand),
}

#[derive(Debug, Subcommand)]
enum ComplianceCommand {
    /// The remote write sender suite of prometheus/compliance; needs Go.
    RemoteWrite {
        /// The binary; a debug build of this tree if none.
        #[arg(long, value_name = "FILE")]
        outrigger: Option<PathBuf>,
        /// A checkout of the suite's folder `remotewrite`; the pinned commit from the module proxy if none.
        #[arg(long, value_name = "FOLDER")]
        suite: Option<PathBuf>,
        /// Only tests whose names match, as `go test -run` takes it.
        #[arg(long, value_name = "PATTERN")]
        run: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum DrillCommand {
    /// Every part down, alone and in pairs, for several intervals.
    Outage(Outage),
    /// Workers that come and go under load.
    Scale(ScaleDrill),
    /// Masters, workers and etcd apart, in network namespaces; needs root.
    Partition(PartitionDrill),
}

#[derive(Debug, Args)]
struct Outage {
    #[command(flatten)]
    scale: DrillScale,
    /// Only these faults, such as `dns` or `dns+one-worker`; every one and every two of them if none.
    #[arg(long, value_delimiter = ',', value_parser = Combination::parse)]
    only: Vec<Combination>,
    /// How long each fault lasts, in intervals.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..))]
    fault_intervals: u32,
    /// How long it is watched after a fault, in intervals.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    calm_intervals: u32,
}

#[derive(Debug, Args)]
struct ScaleDrill {
    #[command(flatten)]
    scale: DrillScale,
    /// Numbers of workers, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "16,3")]
    to: Vec<usize>,
}

#[derive(Debug, Args)]
struct PartitionDrill {
    #[command(flatten)]
    scale: DrillScale,
    /// How long each partition lasts, and how long it is watched afterwards, in intervals.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..))]
    intervals: u32,
}

#[derive(Debug, Args)]
struct DrillScale {
    /// Targets.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(8..))]
    targets: u32,
    /// Workers.
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// Milliseconds between two scrapes of a target.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(200..))]
    interval_ms: u64,
    /// Milliseconds of a worker's and of the leader's lease.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(2_000..))]
    lease_ms: u64,
    /// Targets have up to so many series beyond the six that all have.
    #[arg(long, default_value_t = 0)]
    ballast: u64,
    /// Outrigger's binary; a debug build of this tree if none.
    #[arg(long, value_name = "FILE")]
    outrigger: Option<PathBuf>,
    /// Where logs and data are written and left; a temporary folder that is removed if none.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Don't append the result to the day's file in bench-results.
    #[arg(long)]
    dry: bool,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Outrigger, vmagent and Prometheus' agent one after the other under the same load of targets.
    Scrape(Scrape),
    /// A master with a worker, and Prometheus, on the same simulated API server.
    Discovery(DiscoveryBench),
    /// The cluster of `discovery`, which starts it itself.
    #[command(hide = true)]
    ServeCluster {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        nodes: u32,
        #[arg(long)]
        pods: u32,
        #[arg(long)]
        folder: PathBuf,
    },
    /// Outrigger's state metrics and kube-state-metrics, one after the other, on the same simulated API server.
    State(StateBench),
    /// The cluster of `state`, which starts it itself.
    #[command(hide = true)]
    ServeStateCluster {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        pods: u32,
        #[arg(long)]
        folder: PathBuf,
    },
    /// The targets of `scrape`, which starts them itself.
    #[command(hide = true)]
    ServeTargets {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long, value_parser = Shape::parse)]
        shape: Shape,
        #[arg(long)]
        targets: u32,
        #[arg(long)]
        port: u16,
        #[arg(long)]
        interval_ms: u64,
    },
    /// The receiver of `scrape`, which starts it itself.
    #[command(hide = true)]
    ServeReceiver {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        distinct: bool,
        /// Check that of each series every sample comes once and in order; the targets' interval.
        #[arg(long, value_name = "MILLISECONDS")]
        follow: Option<u64>,
    },
}

#[derive(Debug, Args)]
struct Scrape {
    /// Active series of all targets together; several numbers are measured one after the other.
    #[arg(long, value_delimiter = ',', default_value = "100000")]
    series: Vec<usize>,
    /// What the targets look like: cadvisor, node or large.
    #[arg(long, value_delimiter = ',', default_value = "cadvisor", value_parser = Shape::parse)]
    shape: Vec<Shape>,
    /// Seconds between two scrapes of a target.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    interval: u64,
    /// Seconds before measuring begins, counted from when every target was asked twice.
    #[arg(long, default_value_t = 20)]
    warm_up: u64,
    /// Seconds that each scraper is measured.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Who is measured.
    #[arg(long, value_delimiter = ',', default_value = "outrigger,vmagent,prometheus", value_parser = Agent::parse)]
    agents: Vec<Agent>,
    /// Drop two families and set a label by metric_relabel_configs: off, on or both.
    #[arg(long, default_value = "off", value_parser = parse_relabel)]
    relabel: Relabel,
    /// Outrigger's binary; a release build of this tree if none.
    #[arg(long, value_name = "FILE")]
    outrigger: Option<PathBuf>,
    /// Further keys of Outrigger's remote_write, such as `protobuf_message: io.prometheus.write.v2.Request`.
    #[arg(long, value_name = "YAML", default_value = "")]
    outrigger_remote_write: String,
    /// Let the receiver count different series too.
    #[arg(long)]
    distinct: bool,
    /// Don't append the result to the day's file in bench-results.
    #[arg(long)]
    dry: bool,
}

#[derive(Debug, Args)]
struct DiscoveryBench {
    /// Nodes at the start.
    #[arg(long, default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(1..))]
    nodes: u32,
    /// Pods at the start.
    #[arg(long, default_value_t = 450_000)]
    pods: u32,
    /// Nodes while pods are replaced.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    follow_nodes: u32,
    /// Pods while pods are replaced.
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u32).range(300..))]
    follow_pods: u32,
    /// Pods replaced each second: three events each.
    #[arg(long, default_value_t = 34, value_parser = clap::value_parser!(u32).range(1..))]
    replaced_per_second: u32,
    /// Seconds that this is measured.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Leave Prometheus out.
    #[arg(long)]
    without_prometheus: bool,
    /// Outrigger's binary; a release build of this tree if none.
    #[arg(long, value_name = "FILE")]
    outrigger: Option<PathBuf>,
    /// Don't append the result to the day's file in bench-results.
    #[arg(long)]
    dry: bool,
}

#[derive(Debug, Args)]
struct StateBench {
    /// Pods; a thirtieth as many nodes and Deployments, ten old ReplicaSets for each Deployment, and so on.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(30..))]
    pods: u32,
    /// Pod events a second while changes are measured.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pod_events_per_second: u32,
    /// Seconds that this is measured.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Leave kube-state-metrics out.
    #[arg(long)]
    without_peer: bool,
    /// Measure kube-state-metrics alone.
    #[arg(long, conflicts_with_all = ["without_peer", "outrigger"])]
    peer_alone: bool,
    /// Outrigger's binary; a release build of this tree if none.
    #[arg(long, value_name = "FILE")]
    outrigger: Option<PathBuf>,
    /// Don't append the result to the day's file in bench-results.
    #[arg(long)]
    dry: bool,
}

/// The states of relabelling to measure.
#[derive(Debug, Clone)]
struct Relabel(Vec<bool>);

fn parse_relabel(text: &str) -> Result<Relabel> {
    Ok(Relabel(match text {
        "off" => vec![false],
        "on" => vec![true],
        "both" => vec![false, true],
        other => bail!("`{other}` is none of off, on and both"),
    }))
}

#[derive(Debug, Subcommand)]
enum RigCommand {
    /// Builds programs into the cache, unless they are there.
    Build {
        /// Such as `etcd` or `kube-apiserver@1.34`; all, at their newest pinned versions, if none.
        programs: Vec<String>,
    },
    /// Starts components and what they need, and waits until each is ready. Builds first what is not built.
    Up(Up),
    /// Creates nodes, pods and what belongs to them.
    Fill(Fill),
    /// Shows what runs and where.
    Status,
    /// Ends everything and removes the rig's folder.
    Down,
}

#[derive(Debug, Args)]
struct Up {
    /// Such as `kube-apiserver` or `node-exporter=5`; kwok and prometheus-receiver if none.
    components: Vec<String>,
    /// Version of Kubernetes, such as 1.34.
    #[arg(long, value_name = "VERSION")]
    kubernetes: Option<String>,
    /// What `prometheus` scrapes.
    #[arg(long, value_name = "FILE")]
    prometheus_config: Option<PathBuf>,
    /// What `vmagent` scrapes.
    #[arg(long, value_name = "FILE")]
    vmagent_config: Option<PathBuf>,
    /// A further argument of a component, such as `kube-apiserver=--v=4`. May be repeated.
    #[arg(long = "argument", value_name = "COMPONENT=ARGUMENT")]
    arguments: Vec<String>,
}

#[derive(Debug, Args)]
struct Fill {
    /// Fake nodes, which kwok makes Ready.
    #[arg(long, default_value_t = 0)]
    nodes: u32,
    /// Pods on the fake nodes, which kwok makes Running, with their owners, services and endpoints.
    #[arg(long, default_value_t = 0)]
    pods: u32,
    /// Pods of one Deployment.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    replicas: u32,
    /// Namespaces that share the Deployments.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    namespaces: u32,
    /// CronJobs, each with a completed Job and its pod.
    #[arg(long, default_value_t = 0)]
    jobs: u32,
    /// A node, pod and endpoint for each running node_exporter.
    #[arg(long)]
    exporters: bool,
    /// Network of the fake pods' addresses, such as 10.0.0.0/8.
    #[arg(long, value_name = "ADDRESS/LENGTH", value_parser = parse_network)]
    pod_network: Option<(Ipv4Addr, u8)>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Chore::parse() {
        Chore::Rig(command) => run_rig(command).await,
        Chore::Bench(command) => run_bench(command).await,
        Chore::Drill(command) => run_drill(command).await,
        Chore::Compliance(command) => run_compliance(command),
        Chore::Dag => dag::check().map(|summary| println!("{summary}")),
    };
    if let Err(error) = done {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn run_drill(command: DrillCommand) -> Result<()> {
    match command {
        DrillCommand::Outage(outage) => drill_outage(outage).await,
        DrillCommand::Scale(scale) => drill_scale(scale).await,
        DrillCommand::Partition(partition) => drill_partition(partition).await,
    }
}

impl DrillScale {
    /// Prints the result and keeps it where that is wanted.
    fn finish(&self, kind: &str, heading: &str, markdown: &str, clean: bool) -> Result<()> {
        println!("{heading}\n\n{markdown}");
        if !self.dry {
            let path = drill::keep(&bench_results(), kind, &typed(), heading, markdown)?;
            println!("appended to {}", path.display());
        }
        if !clean {
            bail!("something was missed, double, lost, marked wrongly or moved without need");
        }
        Ok(())
    }

    fn scale(&self, masters: usize, etcd: usize) -> Result<Scale> {
        let outrigger = match &self.outrigger {
            Some(path) => std::path::absolute(path)?,
            None => build_outrigger(&[])?,
        };
        let folder = match &self.folder {
            Some(folder) => std::path::absolute(folder)?,
            None => std::env::temp_dir().join(format!("outrigger-drill-{}", std::process::id())),
        };
        Ok(Scale {
            outrigger,
            folder,
            keep: self.folder.is_some(),
            targets: self.targets,
            masters,
            workers: self.workers,
            etcd,
            interval: Duration::from_millis(self.interval_ms),
            lease: Duration::from_millis(self.lease_ms),
            ballast: self.ballast,
        })
    }
}

async fn drill_scale(drill: ScaleDrill) -> Result<()> {
    let scale = drill.scale.scale(1, 1)?;
    let heading = format!("{} targets every {} ms", scale.targets, scale.interval.as_millis());
    let steps = drill::scale(scale, &drill.to, |text| eprintln!("{text}")).await?;
    let clean = steps.iter().all(ScaleStep::is_clean);
    drill.scale.finish("scale", &heading, &ScaleStep::markdown(&steps), clean)
}

async fn drill_partition(drill: PartitionDrill) -> Result<()> {
    let scale = drill.scale.scale(2, 3)?;
    let heading = format!(
        "{} targets every {} ms, {} workers, 2 masters",
        scale.targets,
        scale.interval.as_millis(),
        scale.workers
    );
    let rows = drill::partition(scale, drill.intervals, |text| eprintln!("{text}")).await?;
    let clean = rows.iter().all(PartitionRow::is_clean);
    drill.scale.finish("partition", &heading, &PartitionRow::markdown(&rows), clean)
}

/// The command line as it was typed, for whoever reads the result.
fn typed() -> String {
    let words: Vec<String> = std::env::args().skip(1).collect();
    format!("cargo xtask {}", words.join(" "))
}

fn bench_results() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench-results")
}

async fn drill_outage(outage: Outage) -> Result<()> {
    let plan = OutagePlan {
        scale: outage.scale.scale(if outage.scale.workers == 0 { 1 } else { 2 }, 3)?,
        combinations: if outage.only.is_empty() { Combination::all() } else { outage.only },
        fault_intervals: outage.fault_intervals,
        calm_intervals: outage.calm_intervals,
    };
    let report = drill::outage(&plan, |text| eprintln!("{text}")).await?;
    outage.scale.finish("outage", report.heading(), &report.markdown(), report.is_clean())
}

async fn run_bench(command: BenchCommand) -> Result<()> {
    match command {
        BenchCommand::Scrape(scrape) => bench_scrape(scrape).await,
        BenchCommand::Discovery(bench) => bench_discovery(bench).await,
        BenchCommand::ServeCluster { listen, nodes, pods, folder } => {
            bench::serve_cluster(listen, nodes, pods, &folder).await
        }
        BenchCommand::State(bench) => bench_state(bench).await,
        BenchCommand::ServeStateCluster { listen, pods, folder } => {
            bench::serve_state_cluster(listen, pods, &folder).await
        }
        BenchCommand::ServeTargets { listen, shape, targets, port, interval_ms } => {
            let interval = Duration::from_millis(interval_ms);
            bench::serve_targets(Load { shape, targets, port, interval }, listen).await
        }
        BenchCommand::ServeReceiver { listen, distinct, follow } => {
            let receiving = Receiving { distinct, follow_interval_millis: follow };
            bench::serve_receiver(listen, receiving).await
        }
    }
}

/// Goes on as the release build, unless this is one: the load shares the machine with who is measured, so it must not
/// cost what a debug build costs.
fn in_release() -> Result<()> {
    if !cfg!(debug_assertions) {
        return Ok(());
    }
    let mut release = Command::new(cargo());
    release
        .args(["run", "--quiet", "--release", "--package", "xtask", "--"])
        .args(std::env::args_os().skip(1));
    Err(release.exec()).context("run the release build of xtask")
}

async fn bench_discovery(bench: DiscoveryBench) -> Result<()> {
    in_release()?;
    let outrigger = match &bench.outrigger {
        Some(path) => std::path::absolute(path)?,
        None => build_outrigger(&["--release"])?,
    };
    let folder = std::env::temp_dir().join(format!("outrigger-discovery-{}", std::process::id()));
    let plan = DiscoveryPlan {
        start: (bench.nodes, bench.pods),
        follow: (bench.follow_nodes, bench.follow_pods),
        replaced_per_second: bench.replaced_per_second,
        window: Duration::from_secs(bench.seconds),
        prometheus: !bench.without_prometheus,
        outrigger,
        folder: folder.clone(),
    };
    let result = bench::discovery(&plan, |text| eprintln!("{text}")).await;
    let removed = std::fs::remove_dir_all(&folder);
    let text = result?;
    removed.with_context(|| format!("remove {}", folder.display()))?;
    println!("{text}");
    if !bench.dry {
        let heading = format!("{} nodes and {} pods", bench.nodes, bench.pods);
        let path = drill::keep(&bench_results(), "discovery", &typed(), &heading, &text)?;
        println!("appended to {}", path.display());
    }
    Ok(())
}

async fn bench_state(bench: StateBench) -> Result<()> {
    in_release()?;
    let outrigger = match &bench.outrigger {
        _ if bench.peer_alone => None,
        Some(path) => Some(std::path::absolute(path)?),
        None => Some(build_outrigger(&["--release"])?),
    };
    let folder = std::env::temp_dir().join(format!("outrigger-state-{}", std::process::id()));
    let plan = StatePlan {
        pods: bench.pods,
        pod_events_per_second: bench.pod_events_per_second,
        window: Duration::from_secs(bench.seconds),
        outrigger,
        peer: !bench.without_peer,
        folder: folder.clone(),
    };
    let text = bench::state(&plan, |text| eprintln!("{text}")).await?;
    std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    println!("{text}");
    if !bench.dry {
        let heading = format!("State metrics of {} pods", bench.pods);
        let path = drill::keep(&bench_results(), "state", &typed(), &heading, &text)?;
        println!("appended to {}", path.display());
    }
    Ok(())
}

async fn bench_scrape(scrape: Scrape) -> Result<()> {
    in_release()?;
    let outrigger = match &scrape.outrigger {
        Some(path) => std::path::absolute(path)?,
        None if scrape.agents.contains(&Agent::Outrigger) => build_outrigger(&["--release"])?,
        None => PathBuf::new(),
    };
    for shape in &scrape.shape {
        for series in &scrape.series {
            let plan = Plan {
                shape: *shape,
                series: *series,
                interval: Duration::from_secs(scrape.interval),
                warm_up: Duration::from_secs(scrape.warm_up),
                window: Duration::from_secs(scrape.seconds),
                agents: scrape.agents.clone(),
                relabel: scrape.relabel.0.clone(),
                outrigger: outrigger.clone(),
                outrigger_remote_write: scrape.outrigger_remote_write.clone(),
                distinct: scrape.distinct,
            };
            let report = bench::scrape(&plan, |text| eprintln!("{text}")).await?;
            println!("{}", report.markdown());
            if !scrape.dry {
                let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench-results");
                println!("appended to {}", report.append(&folder)?.display());
            }
        }
    }
    Ok(())
}

fn run_compliance(command: ComplianceCommand) -> Result<()> {
    let ComplianceCommand::RemoteWrite { outrigger, suite, run } = command;
    let outrigger = match outrigger {
        Some(path) => std::path::absolute(path)?,
        None => build_outrigger(&[])?,
    };
    compliance::remote_write(&RemoteWrite { outrigger, suite, run })
}

fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Builds this tree's binary, which cargo puts beside this program where both are of one profile.
fn build_outrigger(profile: &[&str]) -> Result<PathBuf> {
    let built = Command::new(cargo()).args(["build", "--package", "outrigger"]).args(profile).status();
    if !built.context("run cargo")?.success() {
        bail!("outrigger does not build");
    }
    let own = std::env::current_exe().context("find this program")?;
    let folder = if profile.is_empty() { "debug" } else { "release" };
    let target = own.parent().and_then(Path::parent).context("find the target folder")?;
    Ok(target.join(folder).join("outrigger"))
}

async fn run_rig(command: RigCommand) -> Result<()> {
    match command {
        RigCommand::Build { programs } => build(&programs),
        RigCommand::Up(up) => start(up).await,
        RigCommand::Fill(fill_args) => fill(fill_args).await,
        RigCommand::Status => status().await,
        RigCommand::Down => stop().await,
    }
}

async fn stop() -> Result<()> {
    rig::sweep().await?;
    let dir = rig::default_dir()?;
    if Rig::is_up(&dir) {
        Rig::open(&dir, Options::default())?.down().await?;
        println!("the rig in {} is gone", dir.display());
    } else {
        println!("no rig is up in {}", dir.display());
    }
    Ok(())
}

fn build(programs: &[String]) -> Result<()> {
    let cache = Cache::from_environment()?;
    let pins: Result<Vec<Pin>> = if programs.is_empty() {
        Program::ALL
            .into_iter()
            .filter(|program| program.is_built())
            .map(|program| Pin::new(program, None))
            .collect()
    } else {
        programs.iter().map(|text| Pin::parse(text)).collect()
    };
    for pin in pins? {
        build_one(&cache, pin)?;
    }
    Ok(())
}

fn build_one(cache: &Cache, pin: Pin) -> Result<()> {
    if !cache.has(pin) {
        println!("building {} {} …", pin.program.name(), pin.release());
    }
    let built = cache.build(pin)?;
    let took = built.minutes.map_or("is there".to_owned(), |minutes| format!("built in {minutes:.1} min"));
    println!("{} {} {took}: {}", pin.program.name(), pin.release(), built.path.display());
    Ok(())
}

async fn start(up: Up) -> Result<()> {
    let mut components = Vec::new();
    let mut options = Options {
        kubernetes: up.kubernetes,
        prometheus_config: up.prometheus_config,
        vmagent_config: up.vmagent_config,
        ..Options::default()
    };
    for text in &up.components {
        let (name, count) = text.split_once('=').map_or((&**text, None), |(name, count)| (name, Some(count)));
        let component = parse_component(name)?;
        match count {
            Some(count) if component == Component::NodeExporter => {
                options.node_exporters = count.parse().with_context(|| format!("`{count}` is no number"))?;
            }
            Some(_) => bail!("there is only one {name}: drop what follows `=`"),
            None => {}
        }
        components.push(component);
    }
    if components.is_empty() {
        components.extend([Component::Kwok, Component::PrometheusReceiver]);
    }
    for text in &up.arguments {
        let (name, argument) =
            text.split_once('=').with_context(|| format!("`{text}` lacks `COMPONENT=`"))?;
        options.arguments.push((parse_component(name)?, argument.to_owned()));
    }
    let cache = Cache::from_environment()?;
    let missing = rig::programs(&components, &options)?.into_iter().filter(|pin| !cache.has(*pin));
    missing.into_iter().try_for_each(|pin| build_one(&cache, pin))?;
    let rig = Rig::up_detached(&rig::default_dir()?, &components, options).await?;
    show(&rig).await;
    Ok(())
}

fn parse_component(name: &str) -> Result<Component> {
    Component::ALL.into_iter().find(|component| component.name() == name).with_context(|| {
        let names: Vec<_> = Component::ALL.iter().map(|component| component.name()).collect();
        format!("`{name}` is none of the rig's components: {}", names.join(", "))
    })
}

fn parse_network(text: &str) -> Result<(Ipv4Addr, u8)> {
    let (address, length) = text.split_once('/').context("lacks `/LENGTH`")?;
    Ok((address.parse()?, length.parse()?))
}

async fn fill(fill: Fill) -> Result<()> {
    let rig = Rig::open(&rig::default_dir()?, Options::default())?;
    let plan = FillPlan {
        nodes: fill.nodes,
        pods: fill.pods,
        replicas: fill.replicas,
        namespaces: fill.namespaces,
        jobs: fill.jobs,
        exporters: fill.exporters,
        pod_network: fill.pod_network,
    };
    let report = rig.fill(&plan).await?;
    println!("{} objects in {:.0} s", report.objects, report.took.as_secs_f64());
    if report.exporters_without_endpoint > 0 {
        println!(
            "{} node_exporters have a node and a pod but no endpoints: the API server refuses addresses of 127.0.0.0/8 \
             there, and routing {} to loopback needs root and iproute2",
            report.exporters_without_endpoint,
            rig::LOOPBACK_RANGE
        );
    }
    Ok(())
}

async fn status() -> Result<()> {
    show(&Rig::open(&rig::default_dir()?, Options::default())?).await;
    Ok(())
}

async fn show(rig: &Rig) {
    for process in rig.status().await {
        let pid = process.pid.map_or("-".to_owned(), |pid| pid.to_string());
        println!(
            "{:20} {:10} {pid:>8}  {:28} {}",
            process.name,
            process.state,
            process.url,
            process.log.display()
        );
    }
    if rig.apiserver_url().is_ok() {
        println!("Kubernetes {}; audit log {}", rig.kubernetes(), rig.audit_log().display());
        for user in [User::Admin, User::Outrigger, User::Nobody] {
            println!("kubeconfig of {:10} {}", user.name(), rig.kubeconfig_of(user).display());
        }
    }
}

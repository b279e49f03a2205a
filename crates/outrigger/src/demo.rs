//! `outrigger demo`: the product at work on a simulated cluster, over loopback, with nothing else running.

use std::io::{IsTerminal as _, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use outrigger_model::clock::SystemClock;
use outrigger_rt::server::ServerConfig;
use outrigger_rt::signal::Signals;
use outrigger_sim::api_server::{ApiServer, ApiServerOptions};
use outrigger_sim::churn;
use outrigger_sim::endpoints::{AddressBook, Endpoints};
use outrigger_sim::population::{Population, PopulationOptions};
use outrigger_sim::receiver::Receiver;
use outrigger_sim::store::Store;

use crate::args::DemoArgs;
use crate::local_files::{load_config, write_private};
use crate::run::{build, refuse_or_warn};

const GRACE: Duration = Duration::from_secs(5);

/// The simulated surroundings; dropping them ends them.
struct Simulation {
    server: ApiServer,
    endpoints: Endpoints,
    receiver: Receiver,
    population: Population,
}

/// Runs until a signal ends it.
pub(crate) fn demo(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    crate::process::prepare()?;
    crate::process::runtime()?.block_on(async {
        let signals = Signals::new().context("could not install signal handlers")?;
        tracing::info!(nodes = args.nodes, pods = args.pods, "creating the simulated cluster");
        let simulation = simulate(args).await?;
        let directory = tempfile::tempdir().context("could not make a temporary directory")?;
        let path = directory.path().join("prometheus.yml");
        write_private(&directory.path().join("kubeconfig"), &simulation.server.kubeconfig())?;
        write_private(&path, &configuration(&simulation.receiver.url()))?;
        let loaded = load_config(&path, false)?;
        refuse_or_warn(&loaded)?;
        let outrigger =
            build(path.clone(), loaded.config, ServerConfig::new(args.listen), None, GRACE).await?.spawn()?;
        let Simulation { server, endpoints, receiver, population } = simulation;
        let churn = tokio::spawn(churn::run(population, args.churn, Arc::new(SystemClock)));
        let page = format!("http://{}/", outrigger.address());
        say_what_to_look_at(&page, &server.url(), &path.to_string_lossy(), args)?;
        if !args.no_browser {
            open_browser(&page);
        }
        let ended = outrigger.until_shutdown(signals).await;
        churn.abort();
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "{} samples were delivered in {} requests, from {} scrapes; the API server saw {} requests.",
            receiver.samples(),
            receiver.requests(),
            endpoints.scrapes(),
            server.requests().len(),
        )?;
        ended
    })
}

async fn simulate(args: &DemoArgs) -> anyhow::Result<Simulation> {
    let addresses = Arc::new(AddressBook::default());
    let clock = Arc::new(SystemClock);
    let endpoints = Endpoints::start(addresses.clone(), clock.clone())
        .context("could not listen for the simulated nodes and pods")?;
    let store = Arc::new(Store::new());
    let options = PopulationOptions { nodes: args.nodes, pods: args.pods, port: endpoints.port() };
    let now = outrigger_model::clock::Clock::now(&*clock).millis() / 1000;
    let population = Population::create(options, store.clone(), addresses, now);
    let server = ApiServer::start(store, ApiServerOptions::default()).await?;
    let receiver = Receiver::start_counting().await.context("could not start the receiver")?;
    Ok(Simulation { server, endpoints, receiver, population })
}

/// What a user's own file would say; only the addresses are the simulation's.
fn configuration(receiver: &str) -> String {
    format!(
        r#"# Unmodified Prometheus configuration, but for the kubeconfig at the end.
global:
  scrape_interval: 15s
scrape_configs:
- job_name: nodes
  kubernetes_sd_configs: [{{role: node}}]
  relabel_configs:
  - {{action: labelmap, regex: __meta_kubernetes_node_label_(topology_.+)}}
- job_name: pods
  kubernetes_sd_configs: [{{role: pod}}]
  relabel_configs:
  - {{source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], regex: "true", action: keep}}
  - {{source_labels: [__meta_kubernetes_pod_container_port_name], regex: metrics, action: keep}}
  - {{source_labels: [__meta_kubernetes_namespace], target_label: namespace}}
  - {{source_labels: [__meta_kubernetes_pod_name], target_label: pod}}
- job_name: services
  kubernetes_sd_configs: [{{role: endpointslice}}]
  relabel_configs:
  - {{source_labels: [__meta_kubernetes_service_annotation_prometheus_io_scrape], regex: "true", action: keep}}
  - {{source_labels: [__meta_kubernetes_endpointslice_port_name], regex: metrics, action: keep}}
  - {{source_labels: [__meta_kubernetes_namespace], target_label: namespace}}
  - {{source_labels: [__meta_kubernetes_service_name], target_label: service}}
remote_write:
- name: demonstration
  url: {receiver}
outrigger:
  cluster_name: simulated
  kubernetes: {{kubeconfig: kubeconfig}}
"#
    )
}

fn say_what_to_look_at(page: &str, api_server: &str, config: &str, args: &DemoArgs) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "\nOutrigger watches a simulated API server at {api_server} with {} nodes and {} pods,\n\
         {} of which are replaced each second, and scrapes what it finds there over loopback.\n\n\
         \x20 page           {page}\n\
         \x20 configuration  {config}\n\n\
         Look at:\n\
         \x20 - Cluster: one watch per resource and a handful of requests, whatever the number of jobs and pods\n\
         \x20 - Jobs and Targets: pods come and go within a second; click a target for its labels before and after\n\
         \x20   relabelling\n\
         \x20 - Remote write: what was delivered and what waits\n\
         \x20 - {page}api/v1/targets and {page}metrics\n\n\
         Ctrl-C ends it.\n",
        args.nodes, args.pods, args.churn,
    )?;
    out.flush()
}

/// Opens the page where a person sits in front of a desktop; anything else is told the address only.
fn open_browser(page: &str) {
    let desktop = std::env::var_os("DISPLAY").is_some() || std::env::var_os("WAYLAND_DISPLAY").is_some();
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    if !std::io::stdout().is_terminal() || !(desktop || cfg!(target_os = "macos")) {
        return;
    }
    let started = Command::new(opener)
        .arg(page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = started {
        tracing::debug!(%error, opener, "the browser was not opened");
    }
}

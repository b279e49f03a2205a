//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Metrics and object state of very large Kubernetes clusters at a small fixed load on the API server.
#[derive(Debug, Parser)]
#[command(name = "outrigger", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// What to log: error, warn, info, debug or trace, also by module (`info,outrigger_kube=debug`).
    #[arg(long, global = true, env = "OUTRIGGER_LOG", default_value = "info")]
    pub(crate) log_level: String,

    /// How to log.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One readable line an event.
    Text,
    /// One JSON object an event.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Discover, scrape and remote-write as a Prometheus configuration says.
    Run(RunArgs),
    /// Discover targets and assign them to workers, which scrape them.
    Master(RunArgs),
    /// Scrape the targets that a master assigns, and send the samples.
    Worker(RunArgs),
    /// Serve what kube-state-metrics serves, with its flags (`state-metrics --help` lists them).
    #[command(disable_help_flag = true, disable_version_flag = true)]
    StateMetrics(StateMetricsArgs),
    /// Show Outrigger at work on a simulated cluster.
    Demo(DemoArgs),
    /// Check files without acting on them.
    #[command(subcommand)]
    Check(CheckCommand),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Prometheus configuration file.
    #[arg(short = 'c', long = "config", alias = "config.file", value_name = "FILE")]
    pub(crate) config: PathBuf,

    /// Address of the web page, the API and /metrics.
    #[arg(long, alias = "web.listen-address", default_value = "127.0.0.1:9440", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,

    #[command(flatten)]
    pub(crate) web: WebArgs,

    /// Where samples wait on disk for receivers that are slow or away; made if it is missing. Empty keeps them in memory.
    #[arg(
        long,
        alias = "storage.agent.path",
        default_value = "outrigger-data",
        value_name = "DIRECTORY",
        value_parser = OsStringValueParser::new().map(PathBuf::from),
    )]
    pub(crate) data_dir: PathBuf,

    /// How long a shutdown may take to deliver the samples that wait for their receivers, in seconds.
    #[arg(long, default_value_t = 20, value_name = "SECONDS")]
    pub(crate) shutdown_grace: u64,
}

/// Who may reach the page, the API and /metrics.
#[derive(Debug, Default, Args)]
pub(crate) struct WebArgs {
    /// Certificate chain of the web server, PEM; read anew when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key_file")]
    pub(crate) tls_cert_file: Option<PathBuf>,

    /// Private key of the web server, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    pub(crate) tls_key_file: Option<PathBuf>,

    /// Authority that must have signed the certificate of whoever connects, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    pub(crate) tls_client_ca_file: Option<PathBuf>,

    /// Listen on an address that other machines reach, with neither TLS nor authentication.
    #[arg(long)]
    pub(crate) listen_without_authentication: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StateMetricsArgs {
    /// Flags of kube-state-metrics, or `version` or `completion`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAG")]
    pub(crate) arguments: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Simulated nodes.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub(crate) nodes: u32,

    /// Simulated pods.
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u32).range(1..=150_000))]
    pub(crate) pods: u32,

    /// Pods replaced each second.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) churn: u32,

    /// Address of the web page.
    #[arg(long, default_value = "127.0.0.1:9440", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,

    /// Do not open a browser.
    #[arg(long)]
    pub(crate) no_browser: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CheckCommand {
    /// Say whether Prometheus accepts a configuration, and what Outrigger does not act on.
    Config(CheckConfigArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CheckConfigArgs {
    /// Prometheus configuration files.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Check what `prometheus --agent` refuses, too.
    #[arg(long)]
    pub(crate) agent: bool,

    /// Only the syntax: do not look at the files that the configuration refers to.
    #[arg(long)]
    pub(crate) syntax_only: bool,
}

//! The `outrigger` binary: command line, wiring and order of shutdown.

mod api;
mod args;
mod check;
mod demo;
mod fleet_view;
mod local_files;
mod logging;
mod master;
mod master_config;
mod master_parts;
mod page;
mod page_api;
mod process;
mod prometheus_api;
mod reload;
mod remembered_names;
mod run;
mod running;
mod scale_api;
mod self_metrics;
mod state_metrics;
mod surroundings;
mod worker;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{CheckCommand, Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse_from(arguments());
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The arguments; under the name of kube-state-metrics, those of `state-metrics`, so that a link in its place is enough.
fn arguments() -> Vec<OsString> {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let name = arguments.first().and_then(|path| Path::new(path).file_name().map(ToOwned::to_owned));
    if name.is_some_and(|name| name == "kube-state-metrics") {
        arguments.insert(1, "state-metrics".into());
    }
    arguments
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    // State metrics have flags of their own that say what to log.
    if !matches!(cli.command, Command::StateMetrics(_)) {
        logging::start(&cli.log_level, cli.log_format)?;
    }
    match cli.command {
        Command::StateMetrics(args) => state_metrics::run(&args.arguments, &cli.log_level, cli.log_format),
        Command::Check(CheckCommand::Config(args)) => {
            Ok(check::config(&args, &mut std::io::stdout().lock())?)
        }
        Command::Run(args) => run::run(&args),
        Command::Master(args) => master::run(&args),
        Command::Worker(args) => worker::run(&args),
        Command::Demo(args) => demo::demo(&args),
    }
}

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
mod surroundings;
mod worker;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{CheckCommand, Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    logging::start(&cli.log_level, cli.log_format)?;
    match cli.command {
        Command::Check(CheckCommand::Config(args)) => {
            Ok(check::config(&args, &mut std::io::stdout().lock())?)
        }
        Command::Run(args) => run::run(&args),
        Command::Master(args) => master::run(&args),
        Command::Worker(args) => worker::run(&args),
        Command::Demo(args) => demo::demo(&args),
    }
}

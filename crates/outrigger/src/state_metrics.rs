//! `outrigger state-metrics`: what kube-state-metrics serves, with its flags.

mod auth_filter;
mod auto_sharding;
mod body;
mod custom;
mod files;
mod gzip;
mod instance;
mod negotiate;
mod process;
mod push;
mod role;
mod self_metrics;
mod server;
mod settings;
mod web_config;

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use outrigger_state::options::{CommandLine, Compat, Options, completion, usage};

pub(crate) use role::StateRole;

use crate::args::LogFormat;

/// Lines of the help where the terminal's width is not known.
const WIDTH: usize = 110;

/// Does what the arguments after `state-metrics` ask for. `log_level` is what `--log-level` before it says.
pub(crate) fn run(
    arguments: &[OsString],
    log_level: &str,
    log_format: LogFormat,
) -> anyhow::Result<ExitCode> {
    let arguments = arguments
        .iter()
        .map(|argument| argument.to_str().with_context(|| format!("argument {argument:?} is not UTF-8")));
    let arguments: Vec<&str> = arguments.collect::<anyhow::Result<_>>()?;
    let asked = CommandLine::parse(arguments).inspect_err(|_| {
        // What is wrong with them is said in the log, too.
        let _ = crate::logging::start(log_level, log_format);
    });
    let text = match asked? {
        CommandLine::Run(flags) => {
            let level =
                if log_level == "info" { flags.klog.filter().unwrap_or(log_level) } else { log_level };
            crate::logging::start(level, log_format)?;
            return process::run(*flags);
        }
        CommandLine::Help => usage(WIDTH),
        CommandLine::Version => version(),
        CommandLine::Completion(shell) => completion(shell),
        CommandLine::CompletionHelp(shell) => {
            format!("To complete flags in this shell:\n\n    {}\n", shell.how_to_load())
        }
    };
    let mut output = std::io::stdout().lock();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    match written {
        // Whoever reads it has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe && !output.is_terminal() => {}
        written => written.context("could not write to standard output")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn version() -> String {
    format!(
        "outrigger, version {} (compatible with kube-state-metrics {})\n  platform: {}/{}\n",
        env!("CARGO_PKG_VERSION"),
        Compat::default(),
        std::env::consts::OS,
        std::env::consts::ARCH,
    )
}

/// What is said of options that do nothing here.
fn say_without_effect(options: &Options) {
    for note in options.without_effect() {
        tracing::warn!("without effect: {note}");
    }
}

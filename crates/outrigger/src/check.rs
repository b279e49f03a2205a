//! `outrigger check config`: Prometheus' verdict on a file, and what Outrigger does not act on.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use outrigger_config::error::Severity;
use outrigger_config::prometheus::{self, Checked, Loaded};
use outrigger_model::fault;

use crate::args::CheckConfigArgs;
use crate::local_files::{LocalFiles, load_config};

/// Checks every file and prints a verdict for each; fails when one of them is refused.
///
/// # Errors
/// Only when the verdict cannot be printed.
pub(crate) fn config(args: &CheckConfigArgs, out: &mut dyn Write) -> io::Result<ExitCode> {
    let mut refused = false;
    for path in &args.files {
        writeln!(out, "Checking {}", path.display())?;
        match load_config(path, args.agent) {
            Ok(loaded) => refused |= !report(path, &loaded, args.syntax_only, out)?,
            Err(error) => {
                refused = true;
                writeln!(out, "  FAILED: {}", fault::chain(&error).replace('\n', "\n    "))?;
            }
        }
    }
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints the verdict on a configuration whose syntax is right; whether it is accepted.
fn report(path: &Path, loaded: &Loaded, syntax_only: bool, out: &mut dyn Write) -> io::Result<bool> {
    let checked = if syntax_only { Checked::default() } else { prometheus::check(loaded, &LocalFiles) };
    for error in &checked.errors {
        writeln!(out, "  FAILED: {error}")?;
    }
    for warning in &checked.warnings {
        writeln!(out, "  WARNING: {warning}")?;
    }
    if !checked.errors.is_empty() {
        return Ok(false);
    }
    if !checked.rule_files.is_empty() {
        writeln!(out, "  SUCCESS: {} rule file(s) found", checked.rule_files.len())?;
    }
    writeln!(out, "  SUCCESS: {} is a valid Prometheus configuration", path.display())?;
    let refusals = loaded.notices.iter().filter(|n| n.severity == Severity::RefuseToRun).count();
    if refusals > 0 {
        writeln!(out, "  `outrigger run` refuses it for {refusals} reason(s) marked `refused`:")?;
    }
    for notice in &loaded.notices {
        let word = match notice.severity {
            Severity::RefuseToRun => "refused",
            Severity::WarnOnce => "not acted on",
        };
        writeln!(out, "  {word}: {notice}")?;
    }
    Ok(true)
}

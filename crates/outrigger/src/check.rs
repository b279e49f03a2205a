//! `outrigger check config`: Prometheus' verdict on a file, and what Outrigger does not act on.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use outrigger_config::error::Severity;
use outrigger_config::file_access::FileAccess;
use outrigger_config::prometheus::{Loaded, ReferencedFile, ReferencedFileKind};
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
    let problems: Vec<String> = if syntax_only {
        Vec::new()
    } else {
        loaded.referenced_files.iter().filter_map(|file| missing_file(file, &LocalFiles)).collect()
    };
    for problem in &problems {
        writeln!(out, "  FAILED: {problem}")?;
    }
    if !problems.is_empty() {
        return Ok(false);
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

/// What is wrong with a referenced file, as far as promtool looks at it.
fn missing_file(file: &ReferencedFile, files: &dyn FileAccess) -> Option<String> {
    let must_exist = match file.kind {
        ReferencedFileKind::TlsCertificate | ReferencedFileKind::TlsKey | ReferencedFileKind::Secret => true,
        ReferencedFileKind::TlsCa
        | ReferencedFileKind::Kubeconfig
        | ReferencedFileKind::RuleFiles
        | ReferencedFileKind::ScrapeConfigFiles
        | ReferencedFileKind::TargetFiles => false,
    };
    (must_exist && !files.exists(Path::new(&file.path)))
        .then(|| format!("{}: {}: the file {:?} does not exist", file.location, file.key, file.path))
}

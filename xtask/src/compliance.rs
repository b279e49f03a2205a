//! `cargo xtask compliance remote-write`: the sender suite of prometheus/compliance against the `outrigger` binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::rig::Cache;

/// The suite's module, and the commit that is run.
const SUITE: &str = "github.com/prometheus/compliance/remotewrite";
const COMMIT: &str = "67b8327a";

/// What is run.
#[derive(Debug)]
pub struct RemoteWrite {
    /// The binary under test.
    pub outrigger: PathBuf,
    /// A checkout of the suite's module, instead of the pinned commit from the module proxy.
    pub suite: Option<PathBuf>,
    /// What `go test -run` takes: some tests only.
    pub run: Option<String>,
}

/// Puts the Go module together in the rig's cache and runs it; its output goes to this process' output.
///
/// # Errors
/// When the suite cannot be fetched or built, or a test fails.
pub fn remote_write(plan: &RemoteWrite) -> Result<()> {
    let dir = Cache::from_environment()?.root().join("compliance");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../compliance");
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    for name in ["go.mod", "sender_test.go"] {
        let (from, to) = (sources.join(name), dir.join(name));
        fs::copy(&from, &to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    }
    if let Some(suite) = &plan.suite {
        let suite = std::path::absolute(suite)?;
        let replace = format!("-replace={SUITE}={}", suite.display());
        let require = format!("-require={SUITE}@v0.0.0");
        go(&dir, &["mod", "edit", &replace, &require])?;
        // The sums of a checkout's dependencies are its own.
        let sums = fs::read(suite.join("go.sum"))
            .with_context(|| format!("read the sums of {}", suite.display()))?;
        fs::write(dir.join("go.sum"), sums).context("write go.sum")?;
    } else {
        let module = format!("{SUITE}@{COMMIT}");
        go(&dir, &["get", &module])
            .with_context(|| format!("fetch {module}; --suite takes a checkout where the proxy lacks it"))?;
    }
    let mut test = command(&dir, &["test", "-count=1", "-v", "-mod=mod"]);
    if let Some(run) = &plan.run {
        test.args(["-run", run]);
    }
    let status = test.arg(".").env("OUTRIGGER", &plan.outrigger).status().context("run go")?;
    if !status.success() {
        bail!("the suite failed");
    }
    Ok(())
}

fn go(dir: &Path, arguments: &[&str]) -> Result<()> {
    let output = command(dir, arguments).output().context("run go, which must be installed and in PATH")?;
    if !output.status.success() {
        bail!("go {} failed:\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut go = Command::new("go");
    go.args(arguments).current_dir(dir).env("GOWORK", "off").env("GOFLAGS", "-buildvcs=false");
    go
}

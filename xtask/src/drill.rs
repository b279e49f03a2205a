//! Drills: Outrigger's own processes under load while parts of the world fail, and a judge of what was missed.
//!
//! Targets, receiver, API server and name server are the simulator's, in this process; etcd is the rig's; masters and
//! workers are the program itself.

mod etcd;
mod fault;
mod network;
mod outage;
mod partition;
mod process;
mod scale;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

pub use fault::{Combination, Fault};
pub use outage::{Plan as OutagePlan, Report as OutageReport, outage};
pub use partition::{Partition, Row as PartitionRow, partition};
pub use scale::{Step as ScaleStep, scale};
pub use stage::Scale;

/// Appends a drill's result to the day's file of its kind in `folder`, and returns that file.
///
/// # Errors
/// When the file cannot be written.
pub fn keep(folder: &Path, kind: &str, command: &str, heading: &str, markdown: &str) -> Result<PathBuf> {
    let day = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let path = folder.join(format!("{day}-{kind}.md"));
    let mut text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => format!("# {day}: drills, {kind}\n"),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    text.push_str(&format!(
        "\n## {heading}\n\n`{command}`, {processors} processors, commit {}.\n\n{markdown}",
        commit()
    ));
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// The commit that was measured, if git tells.
fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let output = output.ok().filter(|output| output.status.success());
    let text = output.and_then(|output| String::from_utf8(output.stdout).ok());
    text.map_or("unknown".to_owned(), |text| text.trim().to_owned())
}

//! `rig.json`: what runs, so that another process can find and end it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::components::{Component, Launch};
use super::process::ProcessId;

const FILE: &str = "rig.json";

/// The rig's state on disk.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// The process the rig ends with; none for one that runs until told to end.
    pub(super) owner: Option<ProcessId>,
    /// Version of Kubernetes.
    pub(super) kubernetes: String,
    /// Metric of the route that the rig added; none if it could not.
    pub(super) route_metric: Option<u32>,
    /// In the order in which they were first started.
    pub(super) processes: Vec<Process>,
}

/// A process of the rig, running or ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Process {
    #[serde(flatten)]
    pub(super) launch: Launch,
    pub(super) program: PathBuf,
    pub(super) id: Option<ProcessId>,
}

impl Process {
    pub(super) fn is_alive(&self) -> bool {
        self.id.is_some_and(ProcessId::is_alive)
    }
}

impl State {
    pub(super) fn exists(dir: &Path) -> bool {
        dir.join(FILE).exists()
    }

    pub(super) fn read(dir: &Path) -> Result<State> {
        let path = dir.join(FILE);
        let text = fs::read(&path).with_context(|| format!("no rig is up in {}", dir.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))
    }

    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let (path, new) = (dir.join(FILE), dir.join("rig.json.new"));
        let text = serde_json::to_vec_pretty(self).context("write the rig's state")?;
        fs::write(&new, text).with_context(|| format!("write {}", new.display()))?;
        fs::rename(&new, &path).with_context(|| format!("write {}", path.display()))
    }

    pub(super) fn of(&self, component: Component) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(move |process| process.launch.component == component)
    }
}

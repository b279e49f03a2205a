//! What every role begins with: clock, metrics, names, supervisor, data directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use outrigger_collect::remote_write::RemoteWriteOptions;
use outrigger_config::prometheus::Config;
use outrigger_model::clock::{SharedClock, SystemClock};
use outrigger_rt::metrics::Registry;
use outrigger_rt::resolver::{Resolver, ResolverOptions};
use outrigger_rt::supervisor::Supervisor;
use outrigger_storage::sealed::Key;

use crate::api::Role;
use crate::run::{LOG_PERIOD, USER_AGENT, flush_deadline};

/// The parts of a process that its roles share.
pub(crate) struct Surroundings {
    pub(crate) role: Role,
    /// Value of `instance` in the process's own metrics.
    pub(crate) name: String,
    /// Where state is kept; nowhere if `None`.
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) clock: SharedClock,
    pub(crate) registry: Registry,
    pub(crate) resolver: Resolver,
    pub(crate) supervisor: Supervisor,
    /// How long a shutdown waits for receivers.
    pub(crate) flush_deadline: Duration,
}

impl Surroundings {
    /// Makes the data directory and recalls the names that are remembered there. `name` is the host's where empty.
    pub(crate) fn new(
        role: Role,
        name: &str,
        data_dir: Option<PathBuf>,
        grace: Duration,
    ) -> anyhow::Result<Self> {
        let registry = Registry::new();
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("role", role.as_str())];
        registry.gauge("outrigger_build_info", "1, with version and role as labels.", &labels).set(1.0);
        let resolver = Resolver::new(ResolverOptions::default());
        let supervisor = Supervisor::new();
        if let Some(data_dir) = &data_dir {
            std::fs::create_dir_all(data_dir)
                .with_context(|| format!("could not make the data directory {}", data_dir.display()))?;
            crate::remembered_names::keep(&resolver, data_dir, &supervisor);
        }
        Ok(Self {
            role,
            name: if name.is_empty() { crate::process::host_name() } else { name.to_owned() },
            flush_deadline: flush_deadline(data_dir.as_deref(), grace),
            data_dir,
            clock: Arc::new(SystemClock),
            registry,
            resolver,
            supervisor,
        })
    }

    /// For a remote write whose queues are in `folder` of the data directory.
    pub(crate) fn remote_write(&self, folder: impl AsRef<Path>) -> RemoteWriteOptions {
        RemoteWriteOptions {
            clock: self.clock.clone(),
            registry: self.registry.clone(),
            resolver: self.resolver.clone(),
            user_agent: USER_AGENT.to_owned(),
            directory: self.data_dir.as_ref().map(|directory| directory.join(folder)),
            flush_deadline: self.flush_deadline,
            log_period: LOG_PERIOD,
        }
    }
}

/// The key of what is kept on disk with secrets in it.
pub(crate) fn state_key(config: &Config) -> anyhow::Result<Option<Arc<Key>>> {
    let key = config.outrigger.state_encryption_key_file.as_deref().map(Key::read).transpose();
    Ok(key.context("outrigger.state_encryption_key_file")?.map(Arc::new))
}

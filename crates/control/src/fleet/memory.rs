//! What the fleet keeps on disk, and messages made with it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outrigger_model::fault::chain;
use outrigger_model::target::TargetId;
use outrigger_storage::sealed::Key;
use outrigger_wire::centre::FromMaster;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::last_known_good::{LastKnownGood, SeriesSets, SetChanges};

use super::driver::Shared;
use super::names::host_name;
use super::outgoing::Outgoing;
use super::{ConfigurationBundle, Fleet, FleetEvent};

/// What changed is written to disk so often.
const KEEP_EVERY: Duration = Duration::from_secs(3);
/// Series sets that wait for the disk.
const MOST_WAITING_SETS: usize = 20_000;

/// What is kept on disk.
pub(super) struct Memory {
    pub(super) known: Mutex<LastKnownGood>,
    series: Option<SeriesSets>,
    set_changes: Mutex<SetChanges>,
    /// Held while files are written.
    writing: Mutex<()>,
    pub(super) recalled: RecalledView,
    pub(super) configuration: Mutex<Option<ConfigurationBundle>>,
}

/// What this master knew when it started, from its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecalledView {
    /// Number of targets.
    pub targets: usize,
    /// When the newest of it was written, milliseconds since the epoch; `None` when there was nothing.
    pub written_millis: Option<i64>,
}

impl Memory {
    /// Reads what is on disk and tells the fleet of it.
    pub(super) fn open(data_dir: &Path, key: Option<Arc<Key>>, fleet: &mut Fleet) -> Self {
        let directory = data_dir.join("fleet");
        if key.is_none() {
            tracing::warn!(
                directory = %directory.display(),
                "the last known configuration is kept without encryption, readable for this user only: set \
                 outrigger.state_encryption_key_file to encrypt it"
            );
        }
        let (known, recalled) = LastKnownGood::open(directory, key);
        let view = RecalledView { targets: recalled.targets.len(), written_millis: recalled.written_millis };
        if view.targets > 0 {
            tracing::info!(targets = view.targets, "begins with the targets that were known last");
        }
        fleet.step(0, FleetEvent::Recalled(recalled.targets));
        let series = SeriesSets::open(data_dir.join("series.redb"));
        let series = series.inspect_err(|error| {
            let error = chain(error);
            tracing::warn!(error, "the series of dead workers' targets will not be known");
        });
        Self {
            known: Mutex::new(known),
            series: series.ok(),
            set_changes: Mutex::default(),
            writing: Mutex::default(),
            recalled: view,
            configuration: Mutex::new(recalled.configuration),
        }
    }
}

impl Shared {
    /// Large messages are made elsewhere, so that no other task waits meanwhile.
    pub(super) async fn build(self: &Arc<Self>, next: Outgoing) -> Option<FromMaster> {
        let now = self.now();
        match next {
            Outgoing::Message(message) => Some(*message),
            targets => {
                let shared = Arc::clone(self);
                let buried = targets.buried();
                let build = move || {
                    let names = |urls: &[&str]| {
                        let hosts = urls.iter().filter_map(|url| host_name(url));
                        shared.names.lock().of(hosts)
                    };
                    targets.build(now, |job, id| shared.stored_set(job, id), names)
                };
                let message = tokio::task::spawn_blocking(build).await.ok();
                buried.into_iter().for_each(|(job, id)| self.change_set(&job, id.0, None));
                message
            }
        }
    }

    /// The series set of a target, from what waits for the disk or from the disk.
    fn stored_set(&self, job: &str, id: TargetId) -> Vec<u8> {
        let Some(memory) = &self.memory else { return Vec::new() };
        if let Some(waiting) = memory.set_changes.lock().get(&(Arc::from(job), id.0)) {
            return waiting.clone().unwrap_or_default();
        }
        memory.series.as_ref().map(|series| series.get(job, id)).unwrap_or_default()
    }

    /// Keeps a series set, or drops it.
    pub(super) fn change_set(&self, job: &Arc<str>, id: u64, set: Option<Vec<u8>>) {
        let Some(memory) = self.memory.as_ref().filter(|memory| memory.series.is_some()) else { return };
        let key = (Arc::clone(job), id);
        let mut changes = memory.set_changes.lock();
        if changes.len() < MOST_WAITING_SETS || changes.contains_key(&key) {
            changes.insert(key, set);
        } else {
            self.metrics.sets_refused(1);
        }
    }

    /// Keeps what is known on disk up to date; the slower the disk the less often.
    pub(super) async fn keep_memory(self: Arc<Self>) {
        let mut pause = KEEP_EVERY;
        loop {
            tokio::time::sleep(pause).await;
            let began = Instant::now();
            Arc::clone(&self).write_memory().await;
            pause = KEEP_EVERY.max(began.elapsed() * 10);
        }
    }

    /// Writes what has changed.
    pub(super) async fn write_memory(self: Arc<Self>) {
        if self.memory.is_some() {
            // A write that has begun goes on to its end when this is given up.
            let _ = tokio::task::spawn_blocking(move || self.write_memory_blocking()).await;
        }
    }

    fn write_memory_blocking(&self) {
        let Some(memory) = &self.memory else { return };
        let _writing = memory.writing.lock();
        let count = self.fleet.lock().target_count();
        let (outdated, writer) = {
            let mut known = memory.known.lock();
            (known.take_outdated(count), known.writer())
        };
        if let Some(outdated) = outdated {
            let targets = match outdated.has_targets() {
                true => self.fleet.lock().targets_where(|id| outdated.concerns(id)),
                false => Vec::new(),
            };
            if let Err(error) = writer.write(&outdated, targets) {
                memory.known.lock().put_back(outdated);
                self.memory_failed(&error);
            }
        }
        let changes = std::mem::take(&mut *memory.set_changes.lock());
        if !changes.is_empty()
            && let Some(series) = &memory.series
        {
            match series.apply(changes) {
                Ok(refused) => self.metrics.sets_refused(refused),
                Err(error) => self.memory_failed(&error),
            }
        }
    }

    fn memory_failed(&self, error: &(dyn std::error::Error + 'static)) {
        self.metrics.memory_failed();
        self.warn("memory", "", |suppressed| {
            tracing::warn!(error = chain(error), suppressed, "what this master knows cannot be kept on disk");
        });
    }
}

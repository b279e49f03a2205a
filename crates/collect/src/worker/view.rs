//! What a worker's page shows of it.

use outrigger_model::sample::Timestamp;

/// The master that a worker obeys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMaster {
    /// Where it is.
    pub address: String,
    /// Name.
    pub name: String,
    /// Outrigger's version there.
    pub version: String,
    /// Its term.
    pub epoch: u64,
    /// Since when.
    pub since: Timestamp,
}

/// The state of a worker.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WorkerView {
    /// Name.
    pub name: String,
    /// Which start of it.
    pub instance: u64,
    /// Zone; may be empty.
    pub zone: String,
    /// The master that it obeys now.
    pub master: Option<JoinedMaster>,
    /// Highest epoch obeyed.
    pub epoch: u64,
    /// The assignment and the configuration are those on disk: no master was heard since the start.
    pub from_disk: bool,
    /// When a leading master was last heard, also before the last restart.
    pub heard: Option<Timestamp>,
    /// When the assignment was last written to disk.
    pub saved: Option<Timestamp>,
    /// Something has changed since then.
    pub unsaved: bool,
    /// Why it is not on disk.
    pub save_error: Option<String>,
    /// Revision of the newest configuration.
    pub revision: u64,
    /// Revision of the one in force; 0 is none.
    pub revision_in_force: u64,
    /// Why the newest is not in force; empty when it is.
    pub configuration_error: String,
    /// Targets.
    pub targets: usize,
    /// The master's clock minus this one's, milliseconds.
    pub clock_offset_millis: Option<i64>,
    /// The worker is handing over its targets to end.
    pub leaving: bool,
    /// Masters that do not lead and keep what heirs of its targets would need.
    pub keepers: usize,
    /// The last trouble with a master.
    pub last_error: Option<(Timestamp, String)>,
}

//! A master's fleet and a worker's assignment, for the page and APIs.

use std::sync::Arc;

use outrigger_collect::worker::Worker;
use outrigger_control::election::Standing;
use outrigger_control::fleet::WorkerView;
use outrigger_control::operator::ObjectProblem;
use outrigger_control::store::StateStore;
use outrigger_control::{FleetHandle, JobSnapshot};
use outrigger_model::sample::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

use crate::master_parts::MasterParts;

/// Refused monitors that are shown.
const MOST_MONITORS: usize = 200;

/// What a master shows of itself.
#[derive(Clone)]
pub(crate) struct MasterView {
    pub(crate) name: String,
    pub(crate) fleet: FleetHandle,
    pub(crate) standing: watch::Receiver<Standing>,
    pub(crate) parts: MasterParts,
    pub(crate) store: Arc<dyn StateStore>,
}

impl MasterView {
    pub(crate) fn is_leading(&self) -> bool {
        self.fleet.is_leading()
    }

    /// `refused_monitors` of the overview.
    pub(crate) fn refused_monitors(&self) -> Vec<Monitor> {
        let problems = self.parts.monitors().map(|view| view.problems).unwrap_or_default();
        let row = |problem: ObjectProblem| Monitor {
            kind: problem.kind.to_string(),
            namespace: problem.namespace,
            name: problem.name,
            error: problem.message,
        };
        problems.into_iter().take(MOST_MONITORS).map(row).collect()
    }

    /// Jobs that were not discovered since the start, where there are targets from before.
    fn last_known(&self, now: Timestamp, jobs: &[JobSnapshot]) -> Vec<LastKnown> {
        let recalled = self.fleet.recalled();
        let Some(written) = recalled.written_millis.filter(|_| recalled.targets > 0) else {
            return Vec::new();
        };
        let age_seconds = (now.millis() - written) as f64 / 1000.0;
        let undiscovered = jobs.iter().filter(|job| job.providers.iter().any(|provider| !provider.ready));
        undiscovered.map(|job| LastKnown { job: job.config.job_name.to_string(), age_seconds }).collect()
    }

    /// `fleet` of the overview.
    pub(crate) fn fleet(&self, now: Timestamp, jobs: &[JobSnapshot]) -> Fleet {
        let (epoch, leader) = match &*self.standing.borrow() {
            Standing::Leading { epoch, .. } => (*epoch, self.name.clone()),
            Standing::Standby { leader: Some(leader) } => (leader.epoch, leader.name.to_string()),
            Standing::Standby { leader: None } => (0, String::new()),
        };
        let views = self.fleet.workers();
        let revisions = views.iter().filter_map(|view| Some(view.status.as_ref()?.configuration_revision));
        Fleet {
            name: self.name.clone(),
            leading: self.is_leading(),
            epoch,
            leader,
            store_error: self.store.trouble(),
            configuration_revision: revision_text(revisions.max().unwrap_or(0)),
            workers_wanted: self.fleet.scale().map_or(0, |scale| scale.desired),
            unassigned: self.fleet.target_counts().unassigned,
            last_known: self.last_known(now, jobs),
            workers: views.into_iter().map(|view| worker_row(view, now)).collect(),
        }
    }
}

/// `fleet` of the overview.
#[derive(Debug, Serialize)]
pub(crate) struct Fleet {
    name: String,
    leading: bool,
    epoch: u64,
    leader: String,
    store_error: Option<String>,
    configuration_revision: String,
    workers_wanted: u64,
    unassigned: u64,
    last_known: Vec<LastKnown>,
    workers: Vec<WorkerRow>,
}

/// A job whose targets are from before the start.
#[derive(Debug, Serialize)]
pub(crate) struct LastKnown {
    job: String,
    age_seconds: f64,
}

/// A worker, as the master sees it.
#[derive(Debug, Serialize)]
pub(crate) struct WorkerRow {
    name: String,
    zone: String,
    version: String,
    address: String,
    state: &'static str,
    since_ms: i64,
    targets: u64,
    series: u64,
    load: f64,
    scrapes: u64,
    failed_scrapes: u64,
    skipped_ticks: u64,
    lateness_seconds: f64,
    queue_memory_bytes: u64,
    queue_disk_bytes: u64,
    lag_seconds: f64,
    cpu_seconds: f64,
    resident_bytes: u64,
    clock_offset_ms: i64,
    configuration_revision: String,
    configuration_error: String,
}

fn worker_row(view: WorkerView, now: Timestamp) -> WorkerRow {
    let status = view.status.unwrap_or_default();
    let since = i64::try_from(view.since_millis).unwrap_or(i64::MAX);
    WorkerRow {
        name: view.name.to_string(),
        zone: view.zone.to_string(),
        version: view.version,
        address: view.advertise,
        state: view.state.as_str(),
        since_ms: now.millis().saturating_sub(since),
        targets: view.targets,
        series: status.series,
        load: view.load_ratio,
        scrapes: status.scrapes,
        failed_scrapes: status.failed_scrapes,
        skipped_ticks: status.skipped_ticks,
        lateness_seconds: status.lateness_seconds,
        queue_memory_bytes: status.queue_memory_bytes,
        queue_disk_bytes: status.queue_disk_bytes,
        lag_seconds: status.lag_seconds,
        cpu_seconds: status.cpu_seconds,
        resident_bytes: status.resident_bytes,
        clock_offset_ms: view.clock_offset_millis,
        configuration_revision: revision_text(status.configuration_revision),
        configuration_error: status.configuration_error,
    }
}

/// `assignment` of the overview: a worker, as it sees itself.
#[derive(Debug, Serialize)]
pub(crate) struct Assignment {
    worker: String,
    master: Option<String>,
    since_ms: Option<i64>,
    epoch: u64,
    confirmed_seconds: Option<f64>,
    from_disk: bool,
    targets: usize,
    configuration_revision: String,
    configuration_error: String,
    save_error: Option<String>,
    last_error: String,
}

/// How a worker is.
pub(crate) fn assignment(worker: &Worker, now: Timestamp) -> Assignment {
    let view = worker.status();
    Assignment {
        worker: view.name,
        since_ms: view.master.as_ref().map(|master| master.since.millis()),
        master: view.master.map(|master| format!("{} at {}", master.name, master.address)),
        epoch: view.epoch,
        confirmed_seconds: view.heard.map(|heard| now.since(heard) as f64 / 1000.0),
        from_disk: view.from_disk,
        targets: view.targets,
        configuration_revision: revision_text(view.revision_in_force),
        configuration_error: view.configuration_error,
        save_error: view.save_error,
        last_error: view.last_error.map(|(_, error)| error).unwrap_or_default(),
    }
}

/// A revision as it is compared by eye; a number of 64 bits is more than JSON's readers can hold.
fn revision_text(revision: u64) -> String {
    format!("{:08x}", revision >> 32)
}

/// An object of the Prometheus Operator that cannot be used.
#[derive(Debug, Serialize)]
pub(crate) struct Monitor {
    kind: String,
    namespace: String,
    name: String,
    error: String,
}

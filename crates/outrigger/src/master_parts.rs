//! What a master's configuration is put in force in: discovery, the fleet, and the jobs of the Prometheus Operator's
//! objects; what leads and what stands by.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use outrigger_collect::remote_write::RemoteWrite;
use outrigger_config::prometheus::{CentreConfig, ClusterConfig, Config, KubernetesAccess, Standby};
use outrigger_control::election::Standing;
use outrigger_control::operator::{Operator, OperatorJobs, OperatorOptions, OperatorView};
use outrigger_control::{Discovery, FleetHandle};
use outrigger_model::clock::SharedClock;
use outrigger_model::fault;
use outrigger_rt::metrics::Registry;
use outrigger_rt::resolver::Resolver;
use outrigger_storage::sealed::{Key, SealedFile};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::master_config::{AddedJob, Effective, MasterFile, refresh_files};
use crate::reload::Configurable;
use crate::run::{describe, queue_bounds};
use crate::self_metrics::{SelfMetrics, self_settings};
use crate::state_metrics::StateRole;

/// Files that workers need are read again so often.
const REFRESH_FILES: Duration = Duration::from_secs(10);

/// What these parts are made of.
pub(crate) struct MasterSurroundings {
    pub(crate) started_with: CentreConfig,
    pub(crate) name: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) key: Option<Arc<Key>>,
    pub(crate) clock: SharedClock,
    pub(crate) registry: Registry,
    pub(crate) resolver: Resolver,
    pub(crate) remote_write: Arc<RemoteWrite>,
    pub(crate) self_metrics: SelfMetrics,
    pub(crate) state_metrics: Option<StateRole>,
    pub(crate) fleet: FleetHandle,
    pub(crate) discovery: Arc<Discovery>,
    pub(crate) standing: watch::Receiver<Standing>,
}

/// The parts; cheap to clone, all clones are the same.
#[derive(Clone)]
pub(crate) struct MasterParts {
    around: Arc<MasterSurroundings>,
    current: Arc<Mutex<Current>>,
}

/// What is in force.
#[derive(Default)]
struct Current {
    file: Option<MasterFile>,
    /// Jobs of the operator's objects; those of the last run until this one knows them.
    added: Option<Vec<AddedJob>>,
    effective: Option<Effective>,
    discovering: bool,
    operator: Option<RunningOperator>,
}

struct RunningOperator {
    operator: Arc<Operator>,
    reads_from: ReadsFrom,
    _task: AbortOnDropHandle<()>,
}

/// Which cluster, and how it is reached.
#[derive(PartialEq, Clone)]
struct ReadsFrom(String, Option<KubernetesAccess>, Vec<ClusterConfig>);

impl Configurable for MasterParts {
    type Loaded = MasterFile;

    fn load(&self, path: &Path) -> anyhow::Result<MasterFile> {
        MasterFile::read(path)
    }

    fn apply(&self, file: &MasterFile) -> Result<(), String> {
        if file.config.outrigger.centre.clone().unwrap_or_default() != self.around.started_with {
            return Err(
                "outrigger.centre has changed: restart the master, workers scrape on meanwhile".to_owned()
            );
        }
        StateRole::unchanged(self.around.state_metrics.as_ref(), &file.config)?;
        let mut current = self.current.lock();
        let before = current.file.replace(file.clone());
        let outcome = self.put_in_force(&mut current);
        if outcome.is_err() {
            current.file = before;
        }
        outcome
    }
}

impl MasterParts {
    pub(crate) fn new(around: MasterSurroundings) -> Self {
        Self { around: Arc::new(around), current: Arc::default() }
    }

    /// The operator's objects, where they are watched.
    pub(crate) fn monitors(&self) -> Option<OperatorView> {
        let operator = self.current.lock().operator.as_ref().map(|running| Arc::clone(&running.operator));
        operator.map(|operator| operator.view())
    }

    /// Follows the election and the files that workers need.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        let mut standing = self.around.standing.clone();
        let mut refresh = tokio::time::interval(REFRESH_FILES);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                changed = standing.changed() => match changed {
                    Ok(()) => self.on_a_thread(Self::adapt).await,
                    Err(_) => break,
                },
                _ = refresh.tick() => self.on_a_thread(Self::refresh).await,
            }
        }
        self.current.lock().operator = None;
        self.stop_discovery();
    }

    fn stop_discovery(&self) {
        self.around.discovery.stop();
        if let Some(state_metrics) = &self.around.state_metrics {
            state_metrics.end();
        }
    }

    /// Reading and comparing thousands of jobs takes a while.
    async fn on_a_thread(&self, work: impl FnOnce(&Self) + Send + 'static) {
        let parts = self.clone();
        if tokio::task::spawn_blocking(move || work(&parts)).await.is_err() {
            tracing::error!("putting the configuration in force was interrupted");
        }
    }

    fn put_in_force(&self, current: &mut Current) -> Result<(), String> {
        let around = &self.around;
        let Some(file) = &current.file else { return Ok(()) };
        let config = &file.config;
        if config.outrigger.prometheus_operator.is_none() {
            current.added = None;
        } else if current.added.is_none() {
            current.added = Some(self.recall_jobs());
        }
        let added = current.added.as_deref().unwrap_or_default();
        let effective = file.with_jobs(added).map_err(|error| format!("{error:#}"))?;
        around.self_metrics.apply(&self_settings(config))?;
        let bounds = queue_bounds(config.outrigger.limits);
        around
            .remote_write
            .apply_config(&effective.config.remote_write, &config.global.external_labels, bounds)
            .map_err(|error| fault::chain(&error))?;
        // Workers know a job before its targets come.
        around.fleet.set_configuration(effective.bundle.clone());
        if self.should_discover(config) {
            if let Some(state_metrics) = around.state_metrics.as_ref().filter(|_| !current.discovering) {
                state_metrics.begin(&around.discovery);
            }
            around.discovery.apply(&effective.config).map_err(|errors| describe(&errors))?;
            current.discovering = true;
            current.operator = self.operator(&effective.config, current.operator.take());
        }
        current.effective = Some(effective);
        Ok(())
    }

    /// Only a leader asks the API server, unless standbys are to be warm.
    fn should_discover(&self, config: &Config) -> bool {
        let standby = config.outrigger.centre.as_ref().map(|centre| centre.standby).unwrap_or_default();
        standby == Standby::Warm || self.is_leading()
    }

    fn is_leading(&self) -> bool {
        self.around.standing.borrow().leading_epoch().is_some()
    }

    /// Begins or ends discovery with the leadership.
    fn adapt(&self) {
        if let Some(state_metrics) = &self.around.state_metrics {
            state_metrics.set_sending(self.is_leading());
        }
        let mut current = self.current.lock();
        let wanted = current.file.as_ref().is_some_and(|file| self.should_discover(&file.config));
        if wanted && !current.discovering {
            if let Err(error) = self.put_in_force(&mut current) {
                tracing::error!("discovery does not run: {error}");
            }
        } else if !wanted && current.discovering {
            current.operator = None;
            self.stop_discovery();
            current.discovering = false;
        }
    }

    fn refresh(&self) {
        let mut current = self.current.lock();
        let Some(effective) = &mut current.effective else { return };
        if refresh_files(&mut effective.bundle) {
            self.around.fleet.set_configuration(effective.bundle.clone());
        }
    }

    /// The operator that a configuration wants: the running one, another, or none.
    fn operator(&self, config: &Config, running: Option<RunningOperator>) -> Option<RunningOperator> {
        let settings = config.outrigger.prometheus_operator.clone()?;
        let outrigger = &config.outrigger;
        let reads_from =
            ReadsFrom(settings.cluster.clone(), outrigger.kubernetes.clone(), outrigger.clusters.clone());
        if let Some(running) = running
            && running.reads_from == reads_from
        {
            running.operator.configure(settings, &config.global);
            return Some(running);
        }
        let operator = Arc::new(Operator::new(OperatorOptions {
            access: self.around.discovery.operator_access(config)?,
            settings,
            global: config.global.clone(),
            resolver: self.around.resolver.clone(),
            clock: self.around.clock.clone(),
            instance: self.around.name.clone(),
            registry: self.around.registry.clone(),
        }));
        let (runner, parts) = (Arc::clone(&operator), self.clone());
        let task = tokio::spawn(async move {
            let mut jobs = runner.jobs();
            let follow = async {
                while jobs.changed().await.is_ok() {
                    let jobs = jobs.borrow_and_update().clone();
                    parts.on_a_thread(move |parts| parts.take_jobs(&jobs)).await;
                }
            };
            tokio::join!(runner.run(), follow);
        });
        Some(RunningOperator { operator, reads_from, _task: AbortOnDropHandle::new(task) })
    }

    /// Puts the jobs of the operator's objects in force and keeps them for the next start.
    fn take_jobs(&self, jobs: &OperatorJobs) {
        if !jobs.complete {
            return;
        }
        let added: Vec<AddedJob> =
            jobs.jobs.iter().map(|job| (Arc::clone(&job.job), job.yaml.to_string())).collect();
        let mut current = self.current.lock();
        if current.operator.is_none() || current.added.as_ref() == Some(&added) {
            return;
        }
        let before = current.added.replace(added);
        if let Err(error) = self.put_in_force(&mut current) {
            tracing::error!("the jobs of monitors are not in force: {error}");
            current.added = before;
            return;
        }
        self.keep_jobs(current.added.as_deref().unwrap_or_default());
    }

    fn jobs_file(&self) -> SealedFile {
        SealedFile::new(self.around.data_dir.join("monitors.sealed"), self.around.key.clone())
    }

    fn recall_jobs(&self) -> Vec<AddedJob> {
        let file = self.jobs_file();
        let read = || -> anyhow::Result<Vec<(String, String)>> {
            let Some(bytes) = file.read()? else { return Ok(Vec::new()) };
            Ok(serde_json::from_slice(&bytes)?)
        };
        let jobs = read().unwrap_or_else(|error| {
            let file = file.path().display();
            tracing::warn!(%file, "the jobs of monitors from before are not known: {error:#}");
            Vec::new()
        });
        jobs.into_iter().map(|(job, yaml)| (job.into(), yaml)).collect()
    }

    fn keep_jobs(&self, jobs: &[AddedJob]) {
        let jobs: Vec<(&str, &str)> = jobs.iter().map(|(job, yaml)| (&**job, &**yaml)).collect();
        let written = serde_json::to_vec(&jobs).map_err(anyhow::Error::new);
        let written = written.and_then(|bytes| Ok(self.jobs_file().write(&bytes)?));
        if let Err(error) = written {
            tracing::warn!("the jobs of monitors are not kept for a restart: {error:#}");
        }
    }
}

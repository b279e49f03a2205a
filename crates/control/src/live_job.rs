//! A job that receives groups from its providers and tells the scrape engine.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use outrigger_config::prometheus::{DiscoveryConfig, KubernetesSd, ScrapeConfig};
use outrigger_model::fault::chain;
use outrigger_model::labels::Labels;
use outrigger_model::sample::Timestamp;
use outrigger_model::target::{TargetDelta, TargetGroup};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::cluster::ClusterRuntime;
use crate::group_store::GroupStore;
use crate::job::{JobTargets, ProviderIndex};
use crate::kubernetes::RoleView;
use crate::reporter::{ErrorReason, Reporter};

/// Receives what discovery found; implemented by the scrape engine.
///
/// Deltas of one job come one after the other, each on top of the last. A call is made while the job is locked: it
/// must not wait, and must not call back into discovery.
pub trait TargetSink: Send + Sync + 'static {
    /// Takes a change of one job's targets over.
    fn apply(&self, delta: TargetDelta);

    /// The same, for a change that was seen at `seen`, which is some time ago when many come at once.
    fn apply_seen(&self, delta: TargetDelta, _seen: Instant) {
        self.apply(delta);
    }

    /// All targets of a job are known: every discovery of it has had a whole result. What was said to be a target by
    /// anybody else is none.
    fn synced(&self, _job: &Arc<str>) {}

    /// Discovery has ended; what becomes of the targets is not known until it runs again.
    fn suspended(&self) {}
}

/// A configured job.
pub(crate) struct LiveJob {
    config: Arc<ScrapeConfig>,
    pub(crate) providers: Vec<Provider>,
    /// `None` once another job took its place.
    state: Mutex<Option<JobTargets>>,
    /// Milliseconds since the epoch of the last change of its targets; 0 before the first.
    last_update: AtomicI64,
    /// The sink knows that all targets are known.
    told_synced: AtomicBool,
    sink: Arc<dyn TargetSink>,
    reporter: Arc<Reporter>,
}

/// Where groups come from, in the order of `ScrapeConfig::discovery`.
pub(crate) enum Provider {
    /// Written in the configuration.
    Static(Vec<TargetGroup>),
    /// Files or an HTTP server.
    Stored(Arc<GroupStore>),
    /// A cluster's mirror.
    Kubernetes(Box<KubernetesProvider>),
    /// A kind that Outrigger does not have: it finds nothing.
    None,
}

/// A `kubernetes_sd_configs` entry over a cluster.
pub(crate) struct KubernetesProvider {
    pub(crate) cluster: Arc<ClusterRuntime>,
    pub(crate) sd: KubernetesSd,
    /// Known once the cluster's credentials are, which may name the own namespace.
    pub(crate) view: OnceLock<Arc<RoleView>>,
}

impl LiveJob {
    /// A job that follows `old`, if that is there; it has no targets of its own yet.
    ///
    /// What the old one still has stays with those of the new providers that take some time to have a result.
    pub(crate) fn new(
        config: Arc<ScrapeConfig>,
        providers: Vec<Provider>,
        old: Option<&LiveJob>,
        sink: Arc<dyn TargetSink>,
        reporter: Arc<Reporter>,
    ) -> Self {
        let old_targets = old.and_then(|old| Some((old, old.state.lock().take()?)));
        let targets = match old_targets {
            None => JobTargets::new(Arc::clone(&config)),
            Some((old, targets)) => {
                let inherit = inheritance(&config.discovery, &old.config.discovery);
                JobTargets::succeed(Arc::clone(&config), targets, &inherit)
            }
        };
        let last_update = old.map_or(0, |old| old.last_update.load(Ordering::Relaxed));
        Self {
            config,
            providers,
            state: Mutex::new(Some(targets)),
            last_update: AtomicI64::new(last_update),
            told_synced: AtomicBool::new(false),
            sink,
            reporter,
        }
    }

    pub(crate) fn config(&self) -> &Arc<ScrapeConfig> {
        &self.config
    }

    /// Changes targets through `edit`; false when the job is no more.
    pub(crate) fn update(&self, edit: impl FnOnce(&mut JobEdit<'_>)) -> bool {
        let mut state = self.state.lock();
        let Some(targets) = state.as_mut() else { return false };
        edit(&mut JobEdit { targets, job: self });
        true
    }

    /// Looks at the targets; `None` when the job is no more.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&JobTargets) -> T) -> Option<T> {
        self.state.lock().as_ref().map(look)
    }

    /// Gives the targets of `static_configs` to the job.
    pub(crate) fn load_static(&self) {
        self.update(|edit| {
            for (provider, source) in self.providers.iter().enumerate() {
                match source {
                    Provider::Static(groups) => {
                        for group in groups {
                            edit.put(provider, &group.source, &group.labels, &group.targets);
                        }
                        edit.set_ready(provider);
                    }
                    Provider::None => edit.set_ready(provider),
                    Provider::Stored(_) | Provider::Kubernetes(_) => {}
                }
            }
        });
    }

    /// Tells the engine what changed since the last call.
    pub(crate) fn flush(&self) {
        self.flush_seen(None);
    }

    /// The same, with the time at which the first of the changes was seen.
    pub(crate) fn flush_seen(&self, seen: Option<Instant>) {
        self.update(|edit| {
            let deltas = edit.targets.flush();
            if !deltas.is_empty() {
                self.last_update.store(self.reporter.now().millis(), Ordering::Relaxed);
            }
            deltas.into_iter().for_each(|delta| match seen {
                Some(seen) => self.sink.apply_seen(delta, seen),
                None => self.sink.apply(delta),
            });
            let all_ready = (0..self.providers.len()).all(|provider| edit.targets.is_ready(provider));
            if all_ready && !self.told_synced.swap(true, Ordering::Relaxed) {
                self.sink.synced(&self.config.job_name);
            }
        });
    }

    /// Removes all targets, for good.
    pub(crate) fn retire(&self) {
        self.update(|edit| edit.targets.clear());
        self.flush();
        *self.state.lock() = None;
    }

    /// When its targets changed last.
    pub(crate) fn last_update(&self) -> Option<Timestamp> {
        match self.last_update.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(Timestamp::from_millis(millis)),
        }
    }
}

/// A job whose targets are being changed.
pub(crate) struct JobEdit<'a> {
    pub(crate) targets: &'a mut JobTargets,
    job: &'a LiveJob,
}

impl JobEdit<'_> {
    /// Replaces the targets of one source; reports the first of its errors.
    pub(crate) fn put(&mut self, provider: ProviderIndex, source: &str, group: &Labels, targets: &[Labels]) {
        if let Some(error) = self.targets.update(provider, source, group, targets) {
            let job = &*self.job.config.job_name;
            self.job.reporter.error(ErrorReason::Target, job, |suppressed| {
                tracing::warn!(job, source, error = chain(&error), suppressed, "a target cannot be scraped");
            });
        }
    }

    pub(crate) fn set_ready(&mut self, provider: ProviderIndex) {
        self.targets.set_ready(provider);
    }
}

/// Which providers take over from which: an equal one, else those of the same kind that are gone.
fn inheritance(new: &[DiscoveryConfig], old: &[DiscoveryConfig]) -> Vec<(ProviderIndex, ProviderIndex)> {
    let mut inherit = Vec::new();
    for (new_index, config) in new.iter().enumerate() {
        if matches!(config, DiscoveryConfig::Static(_) | DiscoveryConfig::Unsupported(_)) {
            continue;
        }
        if let Some(old_index) = old.iter().position(|candidate| candidate == config) {
            inherit.push((new_index, old_index));
            continue;
        }
        let same_kind = |candidate: &DiscoveryConfig| {
            std::mem::discriminant(candidate) == std::mem::discriminant(config) && !new.contains(candidate)
        };
        inherit
            .extend((0..old.len()).filter(|i| same_kind(&old[*i])).map(|old_index| (new_index, old_index)));
    }
    inherit
}

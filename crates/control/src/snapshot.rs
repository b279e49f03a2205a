//! What discovery knows, for pages and APIs: computed when it is asked for, a window at a time.

use std::collections::HashMap;
use std::sync::Arc;

use outrigger_config::prometheus::{DiscoveryConfig, ScrapeConfig};
use outrigger_kube::{RequestCount, WatchStatus};
use outrigger_mirror::TableMemory;
use outrigger_model::labels::Labels;
use outrigger_model::sample::Timestamp;
use outrigger_model::target::{ScrapeTarget, TargetGroup, TargetId};
use outrigger_wire::kubernetes::ResourceKind;

use crate::discovery::Discovery;
use crate::http_sd::without_credentials;
use crate::job::{Counts, Located, Pick, TargetState};
use crate::kubernetes::GroupWriter;
use crate::live_job::{KubernetesProvider, LiveJob, Provider};
use crate::populate::{Populated, Populator};

/// One job and how its discovery does.
#[derive(Debug, Clone)]
pub struct JobSnapshot {
    /// Its configuration.
    pub config: Arc<ScrapeConfig>,
    /// How many targets it has.
    pub counts: Counts,
    /// Whether it has more targets than `target_limit`.
    pub over_target_limit: bool,
    /// When its targets changed last.
    pub last_update: Option<Timestamp>,
    /// Where they come from, in the order of the configuration.
    pub providers: Vec<ProviderSnapshot>,
}

/// One discovery configuration of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSnapshot {
    /// For example `kubernetes pod` or `file /etc/targets/*.yml`; without secrets.
    pub description: String,
    /// Whether it has had a whole result; until then a changed job keeps what it had.
    pub ready: bool,
    /// Cluster that it looks at.
    pub cluster: Option<String>,
    /// Resources that are still being listed.
    pub waiting_for: Vec<ResourceKind>,
    /// Why it has no newer result; its last targets stay.
    pub error: Option<String>,
}

/// One cluster and how its watches do.
#[derive(Debug, Clone)]
pub struct ClusterSnapshot {
    /// Its name.
    pub name: String,
    /// Scheme, host and port of the API server; `None` until credentials are loaded.
    pub server: Option<String>,
    /// Why credentials cannot be loaded.
    pub error: Option<String>,
    /// The running watches, with the RBAC rule where a permission is missing.
    pub watches: Vec<WatchStatus>,
    /// The mirror's tables, in the order of [`ResourceKind::MIRRORED`].
    pub tables: Vec<TableMemory>,
    /// Requests so far.
    pub requests: Vec<RequestCount>,
    /// Connections opened so far.
    pub connections_opened: u64,
}

/// Some of the targets that were asked for.
#[derive(Debug, Clone)]
pub struct Window<T> {
    /// How many there are in all.
    pub total: usize,
    /// Those in the window.
    pub items: Vec<T>,
}

/// A target that is scraped.
#[derive(Debug, Clone)]
pub struct ActiveTarget {
    /// The target.
    pub target: Arc<ScrapeTarget>,
    /// Its labels before relabelling; empty in the moment in which it changes.
    pub discovered: Labels,
    /// All labels after relabelling, those with a leading `__` included; empty as above.
    pub relabelled: Labels,
}

/// A target that is not scraped.
#[derive(Debug, Clone)]
pub struct InactiveTarget {
    /// `job_name`.
    pub job: Arc<str>,
    /// Its labels before relabelling.
    pub discovered: Labels,
    /// Why it cannot be scraped; `None` when relabelling dropped it.
    pub error: Option<String>,
}

impl Discovery {
    /// All jobs, by name.
    pub fn jobs(&self) -> Vec<JobSnapshot> {
        self.live_jobs(None).iter().filter_map(|job| job_snapshot(job)).collect()
    }

    /// All clusters.
    pub fn clusters(&self) -> Vec<ClusterSnapshot> {
        let runtimes: Vec<_> =
            self.state.lock().clusters.iter().map(|entry| Arc::clone(&entry.runtime)).collect();
        runtimes
            .iter()
            .map(|runtime| {
                let cluster = runtime.cluster();
                let cluster = cluster.as_ref();
                ClusterSnapshot {
                    name: runtime.name().to_owned(),
                    server: cluster.map(|cluster| cluster.server()),
                    error: runtime.error(),
                    watches: cluster.map(|cluster| cluster.statuses()).unwrap_or_default(),
                    tables: runtime.mirror.read().memory(),
                    requests: cluster.map(|cluster| cluster.requests()).unwrap_or_default(),
                    connections_opened: cluster.map_or(0, |cluster| cluster.connections_opened()),
                }
            })
            .collect()
    }

    /// Whether every provider of every job has had a whole result or has said what is wrong.
    pub fn is_settled(&self) -> bool {
        let settled = |provider: &ProviderSnapshot| provider.ready || provider.error.is_some();
        self.jobs().iter().all(|job| job.providers.iter().all(settled))
    }

    /// Active targets of a job, or of all, for which `filter` holds: `limit` of them after the first `offset`, in an
    /// order that is stable while nothing changes.
    pub fn active(
        &self,
        job: Option<&str>,
        filter: impl Fn(&ScrapeTarget) -> bool,
        offset: usize,
        limit: usize,
    ) -> Window<ActiveTarget> {
        self.window(job, TargetState::Active, offset, limit, &filter, |job, located, into| {
            let Pick::Ids(ids) = &located.pick else { return };
            let details = group_of(job, located).map(|group| details(job, &group, ids)).unwrap_or_default();
            for id in ids {
                let target = job.read(|targets| targets.target(*id).cloned()).flatten();
                let Some(target) = target else { continue };
                let (discovered, relabelled) = details.get(id).cloned().unwrap_or_default();
                into.push(ActiveTarget { target, discovered, relabelled });
            }
        })
    }

    /// Targets that relabelling dropped, as many as `keep_dropped_targets` keeps of each job; windowed as
    /// [`active`](Self::active). [`JobSnapshot::counts`] has the exact number.
    pub fn dropped(&self, job: Option<&str>, offset: usize, limit: usize) -> Window<InactiveTarget> {
        self.inactive(job, TargetState::Dropped, offset, limit)
    }

    /// Targets that cannot be scraped, with the reason; windowed as [`active`](Self::active).
    pub fn failed(&self, job: Option<&str>, offset: usize, limit: usize) -> Window<InactiveTarget> {
        self.inactive(job, TargetState::Failed, offset, limit)
    }

    fn inactive(
        &self,
        job: Option<&str>,
        state: TargetState,
        offset: usize,
        limit: usize,
    ) -> Window<InactiveTarget> {
        self.window(job, state, offset, limit, &|_| true, |job, located, into| {
            let Pick::Range { skip, take } = located.pick else { return };
            let Some(group) = group_of(job, located) else { return };
            into.extend(in_state(job, &group, state).skip(skip).take(take));
        })
    }

    /// Goes over the jobs, and over the part of each that lies in the window.
    fn window<T>(
        &self,
        job: Option<&str>,
        state: TargetState,
        offset: usize,
        limit: usize,
        filter: &dyn Fn(&ScrapeTarget) -> bool,
        list: impl Fn(&LiveJob, &Located, &mut Vec<T>),
    ) -> Window<T> {
        let mut window = Window { total: 0, items: Vec::new() };
        let mut left = limit;
        for job in self.live_jobs(job) {
            let skip = offset.saturating_sub(window.total);
            let found = job.read(|targets| targets.window(state, skip, left, filter));
            let Some((total, located)) = found else { continue };
            window.total += total;
            let before = window.items.len();
            for located in &located {
                list(&job, located, &mut window.items);
                left -= located.len().min(left);
            }
            debug_assert!(window.items.len() - before <= limit);
        }
        window
    }

    fn live_jobs(&self, name: Option<&str>) -> Vec<Arc<LiveJob>> {
        let state = self.state.lock();
        match name {
            None => state.jobs.values().cloned().collect(),
            Some(name) => state.jobs.get(name).cloned().into_iter().collect(),
        }
    }
}

fn job_snapshot(job: &LiveJob) -> Option<JobSnapshot> {
    let config = Arc::clone(job.config());
    let (counts, over_target_limit, ready) = job.read(|targets| {
        let ready: Vec<_> = (0..job.providers.len()).map(|provider| targets.is_ready(provider)).collect();
        (targets.counts(), targets.over_target_limit(), ready)
    })?;
    let providers = job.providers.iter().zip(&config.discovery).zip(ready);
    let providers =
        providers.map(|((provider, kind), ready)| provider_snapshot(provider, kind, ready)).collect();
    Some(JobSnapshot { counts, over_target_limit, last_update: job.last_update(), providers, config })
}

fn provider_snapshot(provider: &Provider, kind: &DiscoveryConfig, ready: bool) -> ProviderSnapshot {
    let snapshot = ProviderSnapshot {
        description: describe(kind),
        ready,
        cluster: None,
        waiting_for: Vec::new(),
        error: None,
    };
    match provider {
        Provider::Static(_) | Provider::None => snapshot,
        Provider::Stored(store) => ProviderSnapshot { error: store.error(), ..snapshot },
        Provider::Kubernetes(kubernetes) => {
            let waiting_for = if ready { Vec::new() } else { waiting_for(kubernetes) };
            let forbidden = kubernetes.cluster.cluster().and_then(|cluster| {
                let statuses = cluster.statuses();
                let status = statuses
                    .into_iter()
                    .find(|status| waiting_for.iter().any(|kind| status.resource == *kind));
                status.and_then(|status| status.last_error)
            });
            ProviderSnapshot {
                cluster: Some(kubernetes.cluster.name().to_owned()),
                error: kubernetes.cluster.error().or(forbidden),
                waiting_for,
                ..snapshot
            }
        }
    }
}

fn waiting_for(kubernetes: &KubernetesProvider) -> Vec<ResourceKind> {
    let resources = kubernetes.view.get().map(|view| view.resources()).unwrap_or_default();
    resources.into_iter().filter(|resource| !kubernetes.cluster.is_synced(*resource)).collect()
}

fn describe(kind: &DiscoveryConfig) -> String {
    match kind {
        DiscoveryConfig::Static(groups) => match groups.len() {
            1 => "static, 1 group".to_owned(),
            number => format!("static, {number} groups"),
        },
        DiscoveryConfig::File(sd) => format!("file {}", sd.files.join(", ")),
        DiscoveryConfig::Http(sd) => format!("http {}", without_credentials(&sd.url)),
        DiscoveryConfig::Kubernetes(sd) => format!("kubernetes {}", sd.role.as_str()),
        DiscoveryConfig::Unsupported(kind) => format!("{kind}, which Outrigger does not have"),
    }
}

/// The group that a source has now.
fn group_of(job: &LiveJob, located: &Located) -> Option<TargetGroup> {
    match job.providers.get(located.provider)? {
        Provider::Static(groups) => groups.iter().find(|group| *group.source == *located.source).cloned(),
        Provider::Stored(store) => store.group(&located.source),
        Provider::Kubernetes(kubernetes) => {
            let view = kubernetes.view.get()?;
            let (namespace, name) = view.object_of(&located.source)?;
            let mirror = kubernetes.cluster.mirror.read();
            let row = view.row_of(&mirror, namespace, name)?;
            let (source, group) = view.group(&mirror, row, &mut GroupWriter::default())?;
            Some(TargetGroup { source: source.into(), labels: group.labels, targets: group.targets })
        }
        Provider::None => None,
    }
}

/// Labels before and after relabelling of the targets with these ids.
fn details(job: &LiveJob, group: &TargetGroup, ids: &[TargetId]) -> HashMap<TargetId, (Labels, Labels)> {
    let mut populator = Populator::new(Arc::clone(job.config()));
    let mut details = HashMap::new();
    for target in &group.targets {
        if let Populated::Keep(kept) = populator.populate(&group.labels, target)
            && ids.contains(&kept.id)
        {
            let relabelled = populator.relabelled();
            let discovered = populator.discovered(&group.labels, target);
            details.insert(kept.id, (discovered, relabelled));
        }
    }
    details
}

/// The targets of a group that are in a state, in their order.
fn in_state(job: &LiveJob, group: &TargetGroup, state: TargetState) -> impl Iterator<Item = InactiveTarget> {
    let mut populator = Populator::new(Arc::clone(job.config()));
    group.targets.iter().filter_map(move |target| {
        let error = match (populator.populate(&group.labels, target), state) {
            (Populated::Drop, TargetState::Dropped) => None,
            (Populated::Error(error), TargetState::Failed) => Some(error.to_string()),
            _ => return None,
        };
        Some(InactiveTarget {
            job: Arc::clone(&job.config().job_name),
            discovered: populator.discovered(&group.labels, target),
            error,
        })
    })
}

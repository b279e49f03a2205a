//! Custom resources: which are served, as their definitions say, and their objects.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outrigger_kube::{
    Cluster, CustomResource as WatchedKind, ObjectError, ObjectSink, WatchChange, WatchOptions, WatchPhase,
};
use outrigger_model::fault::chain;
use outrigger_rt::log_limit::LogLimit;
use outrigger_state::Encoding;
use outrigger_state::custom::{Config, CustomResource, Problem, ReportProblem, ServedKind, served_kinds};
use outrigger_state::image::{StateImage, TableId};
use outrigger_state::samples::Samples;
use outrigger_state::shard::{Shard, uid_hash};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::self_metrics::CustomMetrics;

/// The definitions themselves.
const DEFINITIONS: WatchedKind = WatchedKind::cluster_scoped(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
);
/// How long a start waits for the definitions.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// Definitions that change together are taken together.
const SETTLE: Duration = Duration::from_secs(3);

/// Follows the definitions and says which of the configured resources they serve.
pub(super) struct Definitions {
    config: Config,
    sink: Arc<DefinitionSink>,
    changes: watch::Receiver<u64>,
    /// What was resolved last.
    resolved: Vec<String>,
    /// A change was seen and is not looked at yet.
    changing: bool,
    _stop: DropGuard,
}

impl Definitions {
    /// Starts to follow them. Must be called within a runtime.
    pub(super) fn follow(cluster: &Cluster, config: Config, metrics: CustomMetrics) -> Self {
        let (changed, changes) = watch::channel(0);
        let sink = Arc::new(DefinitionSink { changed, metrics, inner: Mutex::default() });
        let watch = cluster.watch_custom_with(DEFINITIONS, WatchOptions::default(), sink.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(watch).await });
        Self { config, sink, changes, resolved: Vec::new(), changing: false, _stop: stop.drop_guard() }
    }

    /// The resources that are served now; at first, waits for the definitions for a while.
    pub(super) async fn resolve(&mut self) -> Vec<CustomResource> {
        let listed = self.changes.wait_for(|changes| *changes > 0);
        if tokio::time::timeout(FIRST_WAIT, listed).await.is_err() {
            tracing::warn!(
                "the definitions of custom resources were not listed yet, their metrics come later"
            );
        }
        let resolution = self.config.resolve(&self.sink.served());
        for missing in &resolution.missing {
            tracing::warn!(
                group = missing.group,
                version = missing.version,
                kind = missing.kind,
                "no custom resource definition serves what the custom resource state configuration names"
            );
        }
        self.resolved = resolution.resources.iter().map(CustomResource::table_name).collect();
        resolution.resources
    }

    /// Waits until other resources are served than were resolved last. Cancel safe.
    pub(super) async fn changed(&mut self) {
        loop {
            if !self.changing && self.changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            self.changing = true;
            tokio::time::sleep(SETTLE).await;
            self.changes.mark_unchanged();
            self.changing = false;
            let now = self.config.resolve(&self.sink.served()).resources;
            if !now.iter().map(CustomResource::table_name).eq(self.resolved.iter().cloned()) {
                return;
            }
        }
    }
}

struct DefinitionSink {
    changed: watch::Sender<u64>,
    metrics: CustomMetrics,
    inner: Mutex<Known>,
}

/// Kinds by name of their definition.
#[derive(Default)]
struct Known {
    served: BTreeMap<String, Vec<ServedKind>>,
    /// The list that is arriving.
    listing: Option<BTreeMap<String, Vec<ServedKind>>>,
}

impl DefinitionSink {
    fn served(&self) -> Vec<ServedKind> {
        self.inner.lock().served.values().flatten().cloned().collect()
    }

    fn tell(&self, known: &Known) {
        self.metrics.known.set_int(known.served.values().map(Vec::len).sum::<usize>() as i64);
        self.changed.send_modify(|changes| *changes += 1);
    }

    fn count(&self, before: Option<&Vec<ServedKind>>, now: Option<&Vec<ServedKind>>) {
        match (before, now) {
            (None, Some(_)) => self.metrics.added.inc(),
            (Some(_), None) => self.metrics.deleted.inc(),
            (Some(before), Some(now)) if before != now => self.metrics.updated.inc(),
            _ => {}
        }
    }
}

impl ObjectSink for DefinitionSink {
    fn begin_generation(&self) {
        self.inner.lock().listing = Some(BTreeMap::new());
    }

    fn apply(&self, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        let definition: serde_json::Value =
            serde_json::from_slice(object).map_err(|error| ObjectError(error.to_string()))?;
        let name = definition["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let mut known = self.inner.lock();
        if change == WatchChange::Delete {
            let before = known.served.remove(&name);
            self.count(before.as_ref(), None);
            self.tell(&known);
            return Ok(());
        }
        let (kinds, problems) = served_kinds(&definition);
        for problem in problems {
            tracing::warn!(definition = name, %problem, "a custom resource definition is not understood");
        }
        match &mut known.listing {
            Some(listing) => {
                listing.insert(name, kinds);
            }
            None => {
                let before = known.served.insert(name.clone(), kinds);
                self.count(before.as_ref(), known.served.get(&name));
                self.tell(&known);
            }
        }
        Ok(())
    }

    fn commit_generation(&self) {
        let mut known = self.inner.lock();
        let Some(listed) = known.listing.take() else { return };
        let before = std::mem::replace(&mut known.served, listed);
        for name in before.keys().chain(known.served.keys().filter(|name| !before.contains_key(*name))) {
            self.count(before.get(name), known.served.get(name));
        }
        self.tell(&known);
    }

    fn unavailable(&self, phase: WatchPhase) {
        tracing::warn!(reason = phase.as_str(), "the definitions of custom resources cannot be followed");
        self.tell(&self.inner.lock());
    }
}

/// How a custom resource is watched.
pub(super) fn watched_kind(resource: &CustomResource) -> WatchedKind {
    WatchedKind {
        group: Cow::Owned(resource.gvk.group.clone()),
        version: Cow::Owned(resource.gvk.version.clone()),
        plural: Cow::Owned(resource.plural.clone()),
        kind: Cow::Owned(resource.gvk.kind.clone()),
        namespaced: resource.namespaced,
    }
}

/// Logs what cannot be said of objects, where the verbosity of the log is high enough for it.
pub(super) fn report(verbosity: i32) -> ReportProblem {
    let limit = LogLimit::new(Duration::from_secs(30));
    Arc::new(move |problem: &Problem<'_>| {
        if problem.verbosity > verbosity {
            return;
        }
        let Some(suppressed) = limit.permit(problem.family) else { return };
        tracing::error!(
            family = problem.family,
            namespace = problem.namespace,
            name = problem.name,
            error = chain(problem.error),
            suppressed,
            "a custom resource does not say what its metric needs"
        );
    })
}

/// Takes the objects of one custom resource over into the image.
pub(super) struct CustomSink {
    pub(super) name: String,
    image: Arc<StateImage>,
    table: TableId,
    shard: Option<Shard>,
    unavailable: AtomicBool,
    samples: Mutex<Samples>,
}

impl CustomSink {
    pub(super) fn new(
        image: Arc<StateImage>,
        resource: &CustomResource,
        shard: Option<Shard>,
    ) -> Option<Self> {
        let name = resource.table_name();
        let table = image.table(&name)?;
        let samples = Mutex::new(image.samples(table));
        Some(Self { name, image, table, shard, unavailable: AtomicBool::new(false), samples })
    }

    /// Whether it was listed, or cannot be.
    pub(super) fn is_settled(&self) -> bool {
        self.unavailable.load(Ordering::Acquire) || self.image.synced(self.table)
    }

    fn belongs(&self, object: &[u8]) -> Result<bool, ObjectError> {
        let Some(shard) = self.shard else { return Ok(true) };
        let identity: Identity<'_> =
            serde_json::from_slice(object).map_err(|error| ObjectError(error.to_string()))?;
        Ok(shard.holds(uid_hash(&identity.metadata.uid)))
    }
}

#[derive(Deserialize)]
struct Identity<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    uid: Cow<'a, str>,
}

impl ObjectSink for CustomSink {
    fn begin_generation(&self) {
        self.image.begin_generation(self.table);
    }

    fn apply(&self, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        let mut samples = self.samples.lock();
        let done = match change {
            WatchChange::Upsert if !self.belongs(object)? => return Ok(()),
            WatchChange::Upsert => self.image.upsert(self.table, Encoding::Json, object, &mut samples),
            WatchChange::Delete => self.image.delete(self.table, Encoding::Json, object, &mut samples),
        };
        done.map_err(|error| ObjectError(chain(&error)))
    }

    fn commit_generation(&self) {
        self.image.commit_generation(self.table);
        self.unavailable.store(false, Ordering::Release);
    }

    fn unavailable(&self, _phase: WatchPhase) {
        self.unavailable.store(true, Ordering::Release);
    }
}

//! One set of options at work: the image of the selected objects, the watches that fill it, and how far they are.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outrigger_control::Tee;
use outrigger_kube::{Cluster, ObjectError, ResourceKind, WatchChange, WatchOptions, WatchPhase, WatchSink};
use outrigger_rt::metrics::{Exposition, Registry};
use outrigger_state::Encoding;
use outrigger_state::custom::{CustomResource, ReportProblem};
use outrigger_state::image::{StateImage, TableId};
use outrigger_state::resource::Resource;
use outrigger_state::samples::Samples;
use outrigger_state::selection::{Selection, WatchScope};
use outrigger_state::shard::{Shard, uid_hash};
use outrigger_wire::protobuf::{ProtobufError, Reader};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::custom::{CustomSink, watched_kind};
use super::self_metrics;

/// How long a start waits for resources that neither come nor are refused, before it serves the others.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// A running instance; its watches end when it is dropped.
pub(super) struct Instance {
    pub(super) image: Arc<StateImage>,
    pub(super) shard: Option<Shard>,
    /// Metrics of its watches.
    pub(super) registry: Registry,
    sink: Arc<ImageSink>,
    custom: Vec<Arc<CustomSink>>,
    started: Instant,
    _stop: Option<DropGuard>,
}

impl Instance {
    /// Starts the watches. Must be called within a runtime.
    pub(super) fn start(
        cluster: &Cluster,
        selection: &Selection,
        custom: &[CustomResource],
        report: &ReportProblem,
        shard: Option<Shard>,
    ) -> Arc<Self> {
        let resources = watched(selection);
        let native =
            resources.iter().map(|(resource, _)| (resource.name.to_owned(), resource.generator(selection)));
        let generators = native.chain(
            custom
                .iter()
                .map(|resource| (resource.table_name(), resource.generator(selection, report.clone()))),
        );
        let image = Arc::new(StateImage::new(generators.collect()));
        let sink = Arc::new(ImageSink::new(image.clone(), &resources, shard));
        let stop = CancellationToken::new();
        let spawn = |watch: Pin<Box<dyn Future<Output = ()> + Send>>| {
            let stopped = stop.clone();
            tokio::spawn(async move { stopped.run_until_cancelled(watch).await });
        };
        for (resource, kind) in &resources {
            let options = watch_options(kind.namespaced(), resource.metadata_only, &selection.scope);
            spawn(Box::pin(cluster.watch_with(*kind, options, sink.clone())));
        }
        let mut custom_sinks = Vec::new();
        for resource in custom {
            if !custom_is_possible(&selection.scope, resource) {
                tracing::warn!(
                    resource = resource.table_name(),
                    "has no samples: it is of the whole cluster or of no pod, and only some namespaces or pods are selected"
                );
                continue;
            }
            let Some(sink) = CustomSink::new(image.clone(), resource, shard) else { continue };
            let sink = Arc::new(sink);
            let options = watch_options(resource.namespaced, false, &selection.scope);
            spawn(Box::pin(cluster.watch_custom_with(watched_kind(resource), options, sink.clone())));
            custom_sinks.push(sink);
        }
        let registry = Registry::new();
        cluster.register(&registry);
        let instance = Self {
            image,
            shard,
            registry: registry.clone(),
            sink,
            custom: custom_sinks,
            started: Instant::now(),
            _stop: Some(stop.drop_guard()),
        };
        let (image, cluster) = (instance.image.clone(), cluster.clone());
        let limit = selection.scope.object_limit;
        registry.collector(move |exposition: &mut Exposition| {
            self_metrics::of_watches(exposition, &cluster, &image, limit);
        });
        Arc::new(instance)
    }

    /// An instance that is fed by the watches of discovery, through the tee that comes with it.
    pub(super) fn fed(selection: &Selection, shard: Option<Shard>) -> (Arc<Self>, Tee) {
        let resources = watched(selection);
        let generators =
            resources.iter().map(|(resource, _)| (resource.name.to_owned(), resource.generator(selection)));
        let image = Arc::new(StateImage::new(generators.collect()));
        let sink = Arc::new(ImageSink::new(image.clone(), &resources, shard));
        let kinds = |metadata_only: bool| {
            let wanted =
                resources.iter().filter(move |(resource, _)| resource.metadata_only == metadata_only);
            wanted.map(|(_, kind)| *kind).collect()
        };
        let tee = Tee { objects: kinds(false), metadata: kinds(true), sink: sink.clone() };
        let instance = Self {
            image,
            shard,
            registry: Registry::new(),
            sink,
            custom: Vec::new(),
            started: Instant::now(),
            _stop: None,
        };
        (Arc::new(instance), tee)
    }

    /// Resources of which no list was whole yet, and that may still come. Only those that are asked for, if any are.
    pub(super) fn pending(&self, asked: impl Fn(&str) -> bool) -> Vec<String> {
        let tables = self.sink.tables.iter().flatten();
        let native = tables.filter(|table| !table.is_settled(&self.image)).map(|table| &table.name);
        let custom = self.custom.iter().filter(|sink| !sink.is_settled()).map(|sink| &sink.name);
        native.chain(custom).filter(|name| asked(name)).cloned().collect()
    }

    /// Whether a scrape of these resources is answered: all lists are whole, or have been waited for long enough and
    /// some are.
    pub(super) fn can_serve(&self, asked: impl Fn(&str) -> bool) -> Result<(), Vec<String>> {
        let pending = self.pending(&asked);
        let waited = self.started.elapsed() >= START_PATIENCE;
        let any = || self.image.resources().into_iter().any(|(table, _)| self.image.synced(table));
        if pending.is_empty() || waited && any() { Ok(()) } else { Err(pending) }
    }

    /// Waits until nothing is pending, or has been for as long as a start waits.
    pub(super) async fn settled(&self) {
        while self.can_serve(|_| true).is_err() && self.started.elapsed() < START_PATIENCE {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// The resources that are watched; those that cannot have what the scope selects are not.
fn watched(selection: &Selection) -> Vec<(&'static Resource, ResourceKind)> {
    let named = selection.resources.iter().filter_map(|name| Resource::find(name));
    let kinds = named.filter_map(|resource| Some((resource, ResourceKind::from_plural(resource.name)?)));
    let scope = &selection.scope;
    let possible = kinds.filter(|(resource, kind)| {
        let without_namespace = scope.namespaces.as_ref().is_some_and(Vec::is_empty);
        !kind.namespaced() || !without_namespace && (!scope.only_pods || resource.name == "pods")
    });
    possible.collect()
}

/// Whether a server can answer kube-state-metrics' request for a custom resource: it asks for each within the selected
/// namespaces and with the selector, also for those of the whole cluster, which have neither there. They keep their
/// families and have no samples.
fn custom_is_possible(scope: &WatchScope, resource: &CustomResource) -> bool {
    if resource.namespaced {
        !scope.only_pods && scope.namespaces.as_ref().is_none_or(|names| !names.is_empty())
    } else {
        scope.namespaces.is_none() && scope.field_selector.is_empty()
    }
}

fn watch_options(namespaced: bool, metadata_only: bool, scope: &WatchScope) -> WatchOptions {
    WatchOptions {
        namespaces: if namespaced { scope.namespaces.clone().unwrap_or_default() } else { Vec::new() },
        field_selector: if namespaced { scope.field_selector.clone() } else { String::new() },
        metadata_only,
        cache_only: scope.from_cache,
        object_limit: scope.object_limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
        ..WatchOptions::default()
    }
}

/// Takes the objects of all watches over into the image.
struct ImageSink {
    image: Arc<StateImage>,
    /// By [`ResourceKind::index`].
    tables: Vec<Option<SinkTable>>,
    shard: Option<Shard>,
}

struct SinkTable {
    name: String,
    id: TableId,
    /// The server forbids it or does not have it.
    unavailable: AtomicBool,
    samples: Mutex<Samples>,
}

impl SinkTable {
    fn is_settled(&self, image: &StateImage) -> bool {
        self.unavailable.load(Ordering::Acquire) || image.synced(self.id)
    }
}

impl ImageSink {
    fn new(
        image: Arc<StateImage>,
        resources: &[(&'static Resource, ResourceKind)],
        shard: Option<Shard>,
    ) -> Self {
        let mut tables: Vec<Option<SinkTable>> = ResourceKind::ALL.iter().map(|_| None).collect();
        for (resource, kind) in resources {
            let Some(id) = image.table(resource.name) else { continue };
            tables[kind.index()] = Some(SinkTable {
                name: resource.name.to_owned(),
                id,
                unavailable: AtomicBool::new(false),
                samples: Mutex::new(image.samples(id)),
            });
        }
        Self { image, tables, shard }
    }

    fn table(&self, resource: ResourceKind) -> Option<&SinkTable> {
        self.tables.get(resource.index())?.as_ref()
    }
}

impl WatchSink for ImageSink {
    fn begin_generation(&self, resource: ResourceKind) {
        if let Some(table) = self.table(resource) {
            self.image.begin_generation(table.id);
        }
    }

    fn apply(&self, resource: ResourceKind, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        let Some(table) = self.table(resource) else { return Ok(()) };
        let mut samples = table.samples.lock();
        let done = match change {
            WatchChange::Upsert if !belongs(self.shard, object)? => return Ok(()),
            WatchChange::Upsert => self.image.upsert(table.id, Encoding::Protobuf, object, &mut samples),
            WatchChange::Delete => self.image.delete(table.id, Encoding::Protobuf, object, &mut samples),
        };
        done.map_err(|error| ObjectError(outrigger_model::fault::chain(&error)))
    }

    fn commit_generation(&self, resource: ResourceKind) {
        if let Some(table) = self.table(resource) {
            self.image.commit_generation(table.id);
            table.unavailable.store(false, Ordering::Release);
        }
    }

    fn unavailable(&self, resource: ResourceKind, _phase: WatchPhase) {
        if let Some(table) = self.table(resource) {
            table.unavailable.store(true, Ordering::Release);
        }
    }
}

/// Whether an object is one of this shard's.
fn belongs(shard: Option<Shard>, object: &[u8]) -> Result<bool, ObjectError> {
    let Some(shard) = shard else { return Ok(true) };
    let uid = uid(object).map_err(|error| ObjectError(error.to_string()))?;
    Ok(shard.holds(uid_hash(uid)))
}

/// `metadata.uid`, which has the same place in every kind of object.
fn uid(object: &[u8]) -> Result<&str, ProtobufError> {
    let mut uid = "";
    let mut fields = Reader::new(object);
    while let Some((number, field)) = fields.next_field()? {
        if number != 1 {
            continue;
        }
        let mut metadata = Reader::new(field.bytes(1)?);
        while let Some((number, field)) = metadata.next_field()? {
            if number == 5 {
                uid = field.text(5)?;
            }
        }
    }
    Ok(uid)
}

//! The simulated etcd: objects by resource, one revision counter, a log to watch from.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use outrigger_wire::kubernetes::ResourceKind;
use outrigger_wire::kubernetes::object::{self, Object};
use outrigger_wire::protobuf::{Field, Reader};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Log entries kept for each resource; older ones are gone, as after compaction.
const LOG_CAPACITY: usize = 20_000;

/// Namespace (empty for cluster-scoped resources) and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Namespace, or empty.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// An object as the store keeps it.
#[derive(Debug)]
pub struct StoredObject {
    /// Where it is.
    pub key: ObjectKey,
    /// Revision of its last change.
    pub resource_version: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Whole {
        labels: Vec<(String, String)>,
        fields: Vec<(&'static str, String)>,
        raw: Bytes,
    },
    /// Made anew whenever it is asked for.
    Made {
        resource: ResourceKind,
        made: Made,
        maker: Arc<dyn Maker>,
    },
}

/// Which object a [`Maker`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// Which of its resource.
    pub number: u64,
    /// Which state of it.
    pub edition: u64,
}

/// Makes objects when they are asked for, so that they take no memory before. The same question has always the same
/// answer.
pub trait Maker: std::fmt::Debug + Send + Sync {
    /// Where the object is.
    fn key(&self, resource: ResourceKind, made: Made) -> ObjectKey;

    /// Appends its protobuf message, without envelope.
    fn make(&self, resource: ResourceKind, made: Made, resource_version: u64, into: &mut Vec<u8>);
}

impl StoredObject {
    /// Its protobuf message, without envelope.
    pub fn raw(&self) -> Bytes {
        match &self.content {
            Content::Whole { raw, .. } => raw.clone(),
            Content::Made { resource, made, maker } => {
                let mut raw = Vec::with_capacity(4096);
                maker.make(*resource, *made, self.resource_version, &mut raw);
                raw.into()
            }
        }
    }

    /// Its labels, for label selectors.
    pub(crate) fn labels(&self) -> Vec<(String, String)> {
        match &self.content {
            Content::Whole { labels, .. } => labels.clone(),
            Content::Made { .. } => {
                let raw = self.raw();
                let entries = contents(&raw, 1).flat_map(|metadata| contents(metadata, 11));
                entries.map(|entry| (text_at(entry, &[1]), text_at(entry, &[2]))).collect()
            }
        }
    }

    /// Fields that field selectors may name.
    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        match &self.content {
            Content::Whole { fields, .. } => fields.clone(),
            Content::Made { resource, .. } => {
                let mut fields = vec![("metadata.name", self.key.name.clone())];
                if !self.key.namespace.is_empty() {
                    fields.push(("metadata.namespace", self.key.namespace.clone()));
                }
                if *resource == ResourceKind::Pod {
                    let raw = self.raw();
                    fields.push(("spec.nodeName", text_at(&raw, &[2, 10])));
                    fields.push(("status.phase", text_at(&raw, &[3, 1])));
                }
                fields
            }
        }
    }
}

/// The text at a path of field numbers; empty where there is none.
pub(crate) fn text_at(message: &[u8], path: &[u32]) -> String {
    let Some((first, rest)) = path.split_first() else {
        return String::from_utf8_lossy(message).into_owned();
    };
    contents(message, *first).next().map(|content| text_at(content, rest)).unwrap_or_default()
}

/// The contents of a field of strings or messages.
pub(crate) fn contents(message: &[u8], field: u32) -> impl Iterator<Item = &[u8]> {
    let mut reader = Reader::new(message);
    let fields = std::iter::from_fn(move || reader.next_field().ok().flatten());
    fields.filter_map(move |(number, content)| match content {
        Field::Bytes(content) if number == field => Some(content),
        _ => None,
    })
}

/// An object of which the store knows the selectable fields.
pub trait Selectable: Object {
    /// Fields that field selectors may name, besides `metadata.name` and `metadata.namespace`.
    fn fields(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

impl Selectable for object::Pod {
    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("spec.nodeName", self.node_name.clone()),
            ("spec.restartPolicy", self.restart_policy.clone()),
            ("spec.schedulerName", self.scheduler_name.clone()),
            ("spec.serviceAccountName", self.service_account_name.clone()),
            ("spec.hostNetwork", self.host_network.to_string()),
            ("status.phase", self.phase.clone()),
            ("status.podIP", self.pod_ip.clone()),
            ("status.podIPs", self.pod_ip.clone()),
            ("status.nominatedNodeName", self.nominated_node_name.clone()),
        ]
    }
}

impl Selectable for object::Node {
    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![("spec.unschedulable", self.unschedulable.to_string())]
    }
}

impl Selectable for object::Service {
    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![("spec.clusterIP", self.cluster_ip.clone()), ("spec.type", self.service_type.clone())]
    }
}

impl Selectable for object::Namespace {
    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![("status.phase", self.phase.clone())]
    }
}

impl Selectable for object::Endpoints {}
impl Selectable for object::EndpointSlice {}
impl Selectable for object::Ingress {}
impl Selectable for object::OwnerObject {}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It was there before.
    Modified,
    /// It is gone.
    Deleted,
}

/// One entry of the log.
#[derive(Debug, Clone)]
pub struct Change {
    /// Revision at which it happened.
    pub resource_version: u64,
    /// What happened.
    pub kind: ChangeKind,
    /// The object after the change; for a deletion its last state with the deletion's revision.
    pub object: Arc<StoredObject>,
    /// The object before the change.
    pub previous: Option<Arc<StoredObject>>,
}

/// The log no longer reaches back to the revision that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// The oldest revision that can still be watched from.
    pub oldest: u64,
}

#[derive(Debug, Default)]
struct Table {
    objects: BTreeMap<ObjectKey, Arc<StoredObject>>,
    log: VecDeque<Change>,
    /// Changes up to this revision are no longer in the log.
    compacted: u64,
}

#[derive(Debug)]
struct State {
    resource_version: u64,
    tables: BTreeMap<ResourceKind, Table>,
}

/// All objects of the simulated cluster.
#[derive(Debug)]
pub struct Store {
    state: Mutex<State>,
    revision: watch::Sender<u64>,
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl Store {
    /// An empty store. The first revision is not 1, as on a server that has lived for a while.
    pub fn new() -> Self {
        let first = 1000;
        Self {
            state: Mutex::new(State { resource_version: first, tables: BTreeMap::new() }),
            revision: watch::Sender::new(first),
        }
    }

    /// Creates or replaces an object; its resourceVersion is set.
    pub fn put(&self, object: &mut dyn Selectable) {
        let resource = object.resource();
        self.insert(resource, |resource_version| StoredObject::new(object, resource_version));
    }

    /// Creates or replaces an object that is made when it is asked for.
    pub fn put_made(&self, resource: ResourceKind, made: Made, maker: &Arc<dyn Maker>) {
        let key = maker.key(resource, made);
        let content = Content::Made { resource, made, maker: Arc::clone(maker) };
        self.insert(resource, |resource_version| StoredObject { key, resource_version, content });
    }

    fn insert(&self, resource: ResourceKind, object: impl FnOnce(u64) -> StoredObject) {
        let mut state = self.state.lock();
        state.resource_version += 1;
        let resource_version = state.resource_version;
        let stored = Arc::new(object(resource_version));
        let table = state.tables.entry(resource).or_default();
        let previous = table.objects.insert(stored.key.clone(), stored.clone());
        let kind = if previous.is_some() { ChangeKind::Modified } else { ChangeKind::Added };
        table.record(Change { resource_version, kind, object: stored, previous });
        self.revision.send_replace(resource_version);
    }

    /// Deletes an object of which this is the last state. Returns whether it was there.
    pub fn delete(&self, last: &mut dyn Selectable) -> bool {
        let resource = last.resource();
        self.remove(resource, |resource_version| StoredObject::new(last, resource_version))
    }

    /// Deletes an object that is made when it is asked for; `made` is its last state.
    pub fn delete_made(&self, resource: ResourceKind, made: Made, maker: &Arc<dyn Maker>) -> bool {
        let key = maker.key(resource, made);
        let content = Content::Made { resource, made, maker: Arc::clone(maker) };
        self.remove(resource, |resource_version| StoredObject { key, resource_version, content })
    }

    fn remove(&self, resource: ResourceKind, object: impl FnOnce(u64) -> StoredObject) -> bool {
        let mut state = self.state.lock();
        let resource_version = state.resource_version + 1;
        let object = Arc::new(object(resource_version));
        let Some(table) = state.tables.get_mut(&resource) else { return false };
        let Some(previous) = table.objects.remove(&object.key) else { return false };
        let previous = Some(previous);
        table.record(Change { resource_version, kind: ChangeKind::Deleted, object, previous });
        state.resource_version = resource_version;
        self.revision.send_replace(resource_version);
        true
    }

    /// The newest revision and all objects of a resource, in order of namespace and name.
    pub fn snapshot(&self, resource: ResourceKind) -> (u64, Vec<Arc<StoredObject>>) {
        let state = self.state.lock();
        let objects = state.tables.get(&resource).map(|t| t.objects.values().cloned().collect());
        (state.resource_version, objects.unwrap_or_default())
    }

    /// Changes of a resource after a revision, at most `limit`, oldest first.
    ///
    /// # Errors
    /// [`Compacted`] when the log no longer reaches back that far.
    pub fn changes_after(
        &self,
        resource: ResourceKind,
        revision: u64,
        limit: usize,
    ) -> Result<Vec<Change>, Compacted> {
        let state = self.state.lock();
        let Some(table) = state.tables.get(&resource) else { return Ok(Vec::new()) };
        if revision < table.compacted {
            return Err(Compacted { oldest: table.compacted });
        }
        let start = table.log.partition_point(|change| change.resource_version <= revision);
        Ok(table.log.range(start..).take(limit).cloned().collect())
    }

    /// Forgets the log: every watch that is not at the newest revision is told 410.
    pub fn compact(&self) {
        let mut state = self.state.lock();
        let newest = state.resource_version;
        for table in state.tables.values_mut() {
            table.log.clear();
            table.compacted = newest;
        }
    }

    /// The newest revision.
    pub fn resource_version(&self) -> u64 {
        self.state.lock().resource_version
    }

    /// Number of objects of a resource.
    pub fn len(&self, resource: ResourceKind) -> usize {
        self.state.lock().tables.get(&resource).map_or(0, |table| table.objects.len())
    }

    /// Whether a resource has no objects.
    pub fn is_empty(&self, resource: ResourceKind) -> bool {
        self.len(resource) == 0
    }

    /// A receiver that wakes at every change.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}

impl Table {
    fn record(&mut self, change: Change) {
        if self.log.len() == LOG_CAPACITY
            && let Some(oldest) = self.log.pop_front()
        {
            self.compacted = oldest.resource_version;
        }
        self.log.push_back(change);
    }
}

impl StoredObject {
    fn new(object: &mut dyn Selectable, resource_version: u64) -> Self {
        object.meta_mut().resource_version = resource_version.to_string();
        let mut raw = Vec::new();
        object.encode(&mut raw);
        let mut fields = object.fields();
        let meta = object.meta();
        fields.push(("metadata.name", meta.name.clone()));
        if !meta.namespace.is_empty() {
            fields.push(("metadata.namespace", meta.namespace.clone()));
        }
        Self {
            key: ObjectKey { namespace: meta.namespace.clone(), name: meta.name.clone() },
            resource_version,
            content: Content::Whole {
                labels: meta.labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
                fields,
                raw: raw.into(),
            },
        }
    }
}

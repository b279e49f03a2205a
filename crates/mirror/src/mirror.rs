use outrigger_wire::kubernetes::ResourceKind;

use crate::change::{ChangeLog, Changes};
use crate::endpoint_slice::EndpointSliceTable;
use crate::endpoints::EndpointsTable;
use crate::error::ObjectError;
use crate::ingress::IngressTable;
use crate::metadata::{NamespaceTable, OwnerTable};
use crate::node::NodeTable;
use crate::pod::PodTable;
use crate::service::ServiceTable;
use crate::table::{Kind, Table};

/// What an object that comes in means for its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It exists, with this content.
    Upsert,
    /// It is gone; only its namespace and name are read.
    Delete,
}

/// What a table takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableMemory {
    /// Which table.
    pub resource: ResourceKind,
    /// Objects in it.
    pub rows: usize,
    /// Bytes of memory: allocated columns, buffers, dictionaries, indexes and change log.
    pub bytes: usize,
    /// Distinct texts in its dictionaries; 0 when there is no row.
    pub texts: usize,
}

/// All tables of one cluster: one for each of [`ResourceKind::MIRRORED`].
///
/// Methods that take a [`ResourceKind`] panic for any other.
#[derive(Debug)]
pub struct Mirror {
    nodes: NodeTable,
    pods: PodTable,
    services: ServiceTable,
    endpoints: EndpointsTable,
    endpoint_slices: EndpointSliceTable,
    ingresses: IngressTable,
    namespaces: NamespaceTable,
    replica_sets: OwnerTable,
    jobs: OwnerTable,
    cron_jobs: OwnerTable,
}

impl Default for Mirror {
    fn default() -> Self {
        Self::new()
    }
}

impl Mirror {
    /// An empty image: nothing listed yet.
    pub fn new() -> Self {
        Self::with_log_capacity(ChangeLog::DEFAULT_CAPACITY)
    }

    /// An empty image whose change feeds reach back over so many changes of each table.
    pub fn with_log_capacity(capacity: usize) -> Self {
        Self {
            nodes: Table::new(ResourceKind::Node, capacity),
            pods: Table::new(ResourceKind::Pod, capacity),
            services: Table::new(ResourceKind::Service, capacity),
            endpoints: Table::new(ResourceKind::Endpoints, capacity),
            endpoint_slices: Table::new(ResourceKind::EndpointSlice, capacity),
            ingresses: Table::new(ResourceKind::Ingress, capacity),
            namespaces: Table::new(ResourceKind::Namespace, capacity),
            replica_sets: Table::new(ResourceKind::ReplicaSet, capacity),
            jobs: Table::new(ResourceKind::Job, capacity),
            cron_jobs: Table::new(ResourceKind::CronJob, capacity),
        }
    }

    /// A relist of the resource starts: the objects that follow until the commit are all there are.
    ///
    /// Rows of earlier generations stay visible. Calling it again, after a relist was cut off, starts over.
    pub fn begin_generation(&mut self, resource: ResourceKind) {
        self.table_mut(resource).begin_generation();
    }

    /// Takes over one object, given as its message without envelope.
    ///
    /// # Errors
    /// When the object cannot be read. Its earlier state stays, other objects are not affected.
    pub fn apply(
        &mut self,
        resource: ResourceKind,
        change: Change,
        object: &[u8],
    ) -> Result<(), ObjectError> {
        let table = self.table_mut(resource);
        match change {
            Change::Upsert => table.upsert(object),
            Change::Delete => table.delete(object),
        }
    }

    /// The relist is complete: rows not seen since [`begin_generation`](Self::begin_generation) are deleted.
    pub fn commit_generation(&mut self, resource: ResourceKind) {
        self.table_mut(resource).commit_generation();
    }

    /// What changed in a table since `cursor`: 0 at first, then [`Changes::next`] of the call before.
    pub fn changes_since(&self, resource: ResourceKind, cursor: u64) -> Changes {
        self.table(resource).changes_since(cursor)
    }

    /// Grows with each change of any table, and when a table becomes synced.
    pub fn version(&self) -> u64 {
        self.tables().map(|table| table.version() + u64::from(table.synced())).sum()
    }

    /// Whether the resource was listed completely at least once.
    pub fn synced(&self, resource: ResourceKind) -> bool {
        self.table(resource).synced()
    }

    /// What each table takes, in the order of [`ResourceKind::MIRRORED`].
    pub fn memory(&self) -> Vec<TableMemory> {
        let usage = |resource| {
            let table = self.table(resource);
            TableMemory { resource, rows: table.rows(), bytes: table.memory(), texts: table.texts() }
        };
        ResourceKind::MIRRORED.into_iter().map(usage).collect()
    }

    /// The pods.
    pub fn pods(&self) -> &PodTable {
        &self.pods
    }

    /// The nodes.
    pub fn nodes(&self) -> &NodeTable {
        &self.nodes
    }

    /// The services.
    pub fn services(&self) -> &ServiceTable {
        &self.services
    }

    /// The Endpoints objects.
    pub fn endpoints(&self) -> &EndpointsTable {
        &self.endpoints
    }

    /// The EndpointSlices.
    pub fn endpoint_slices(&self) -> &EndpointSliceTable {
        &self.endpoint_slices
    }

    /// The ingresses.
    pub fn ingresses(&self) -> &IngressTable {
        &self.ingresses
    }

    /// The namespaces.
    pub fn namespaces(&self) -> &NamespaceTable {
        &self.namespaces
    }

    /// The table of a resource that is held as owner chain.
    ///
    /// # Panics
    /// When `resource` is none of ReplicaSet, Job, CronJob.
    pub fn owners(&self, resource: ResourceKind) -> &OwnerTable {
        match resource {
            ResourceKind::ReplicaSet => &self.replica_sets,
            ResourceKind::Job => &self.jobs,
            ResourceKind::CronJob => &self.cron_jobs,
            other => panic!("{other} is not held as owner chain"),
        }
    }

    fn tables(&self) -> impl Iterator<Item = &dyn AnyTable> {
        ResourceKind::MIRRORED.into_iter().map(|resource| self.table(resource))
    }

    fn table(&self, resource: ResourceKind) -> &dyn AnyTable {
        match resource {
            ResourceKind::Node => &self.nodes,
            ResourceKind::Pod => &self.pods,
            ResourceKind::Service => &self.services,
            ResourceKind::Endpoints => &self.endpoints,
            ResourceKind::EndpointSlice => &self.endpoint_slices,
            ResourceKind::Ingress => &self.ingresses,
            ResourceKind::Namespace => &self.namespaces,
            ResourceKind::ReplicaSet => &self.replica_sets,
            ResourceKind::Job => &self.jobs,
            ResourceKind::CronJob => &self.cron_jobs,
            other => panic!("{other} is not mirrored"),
        }
    }

    fn table_mut(&mut self, resource: ResourceKind) -> &mut dyn AnyTable {
        match resource {
            ResourceKind::Node => &mut self.nodes,
            ResourceKind::Pod => &mut self.pods,
            ResourceKind::Service => &mut self.services,
            ResourceKind::Endpoints => &mut self.endpoints,
            ResourceKind::EndpointSlice => &mut self.endpoint_slices,
            ResourceKind::Ingress => &mut self.ingresses,
            ResourceKind::Namespace => &mut self.namespaces,
            ResourceKind::ReplicaSet => &mut self.replica_sets,
            ResourceKind::Job => &mut self.jobs,
            ResourceKind::CronJob => &mut self.cron_jobs,
            other => panic!("{other} is not mirrored"),
        }
    }
}

/// What the mirror does with a table, whatever its kind.
trait AnyTable {
    fn upsert(&mut self, object: &[u8]) -> Result<(), ObjectError>;
    fn delete(&mut self, object: &[u8]) -> Result<(), ObjectError>;
    fn begin_generation(&mut self);
    fn commit_generation(&mut self);
    fn changes_since(&self, cursor: u64) -> Changes;
    fn version(&self) -> u64;
    fn synced(&self) -> bool;
    fn rows(&self) -> usize;
    fn memory(&self) -> usize;
    fn texts(&self) -> usize;
}

impl<K: Kind> AnyTable for Table<K> {
    fn upsert(&mut self, object: &[u8]) -> Result<(), ObjectError> {
        Table::upsert(self, object)
    }

    fn delete(&mut self, object: &[u8]) -> Result<(), ObjectError> {
        Table::delete(self, object)
    }

    fn begin_generation(&mut self) {
        Table::begin_generation(self);
    }

    fn commit_generation(&mut self) {
        Table::commit_generation(self);
    }

    fn changes_since(&self, cursor: u64) -> Changes {
        Table::changes_since(self, cursor)
    }

    fn version(&self) -> u64 {
        Table::version(self)
    }

    fn synced(&self) -> bool {
        Table::synced(self)
    }

    fn rows(&self) -> usize {
        self.len()
    }

    fn memory(&self) -> usize {
        Table::memory(self)
    }

    fn texts(&self) -> usize {
        self.rows.distinct_texts()
    }
}

//! Which sources of a view a change of the mirror touches.

use std::collections::BTreeSet;

use outrigger_config::prometheus::Role;
use outrigger_mirror::{Changes, Mirror, ObjectKey, RowId};
use outrigger_wire::kubernetes::ResourceKind;

use super::RoleView;

/// What changed in each table since the last look.
#[derive(Debug, Default)]
pub(crate) struct ChangeSet {
    changes: Vec<(ResourceKind, Changes)>,
}

/// What of a view is to be computed again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Sources that exist.
    pub(crate) rows: BTreeSet<RowId>,
    /// Sources that are gone.
    pub(crate) gone: Vec<ObjectKey>,
    /// The feed fell behind: everything.
    pub(crate) all: bool,
}

impl ChangeSet {
    /// Adds the changes of one table.
    pub(crate) fn insert(&mut self, resource: ResourceKind, changes: Changes) {
        if changes.reset || !changes.changed.is_empty() || !changes.deleted.is_empty() {
            self.changes.push((resource, changes));
        }
    }

    /// Whether nothing changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Number of changed and deleted objects.
    pub(crate) fn len(&self) -> usize {
        self.changes.iter().map(|(_, changes)| changes.changed.len() + changes.deleted.len()).sum()
    }
}

impl RoleView {
    /// The sources that `changes` touch.
    pub(crate) fn touched(&self, mirror: &Mirror, changes: &ChangeSet) -> Touched {
        let mut touched = Touched::default();
        let needed = self.resources();
        for (resource, changes) in &changes.changes {
            if !needed.contains(resource) {
                continue;
            }
            if changes.reset {
                return Touched { all: true, ..Touched::default() };
            }
            if *resource == self.main_resource() {
                touched.rows.extend(&changes.changed);
                touched.gone.extend(changes.deleted.iter().cloned());
                // A pod or node that is a source may concern other sources too, but none of these roles has that.
                continue;
            }
            let changed = changes.changed.iter().filter_map(|row| key_of(mirror, *resource, *row));
            for key in changed.chain(changes.deleted.iter().cloned()) {
                self.add_dependents(mirror, *resource, &key, &mut touched.rows);
            }
        }
        touched
    }

    /// Adds the sources whose group depends on an object of another resource.
    fn add_dependents(
        &self,
        mirror: &Mirror,
        resource: ResourceKind,
        key: &ObjectKey,
        rows: &mut BTreeSet<RowId>,
    ) {
        let (namespace, name) = (&*key.namespace, &*key.name);
        match (self.role, resource) {
            (Role::Pod, ResourceKind::Node) => rows.extend(mirror.pods().on_node(name)),
            (Role::Pod, ResourceKind::Namespace) => rows.extend(mirror.pods().in_namespace(name)),
            (Role::Pod, ResourceKind::ReplicaSet | ResourceKind::Job) => {
                rows.extend(mirror.pods().controlled_by(namespace, resource.kind(), name));
            }
            (Role::Service, ResourceKind::Namespace) => rows.extend(mirror.services().in_namespace(name)),
            (Role::Ingress, ResourceKind::Namespace) => rows.extend(mirror.ingresses().in_namespace(name)),
            (Role::Endpoints, ResourceKind::Service) => {
                rows.extend(mirror.endpoints().get(namespace, name));
            }
            (Role::Endpoints, ResourceKind::Pod) => {
                rows.extend(mirror.endpoints().targeting_pod(namespace, name));
            }
            (Role::Endpoints, ResourceKind::Node) => rows.extend(mirror.endpoints().on_node(name)),
            (Role::Endpoints, ResourceKind::Namespace) => {
                rows.extend(mirror.endpoints().in_namespace(name));
            }
            (Role::EndpointSlice, ResourceKind::Service) => {
                rows.extend(mirror.endpoint_slices().of_service(namespace, name));
            }
            (Role::EndpointSlice, ResourceKind::Pod) => {
                rows.extend(mirror.endpoint_slices().targeting_pod(namespace, name));
            }
            (Role::EndpointSlice, ResourceKind::Node) => {
                rows.extend(mirror.endpoint_slices().on_node(name));
            }
            (Role::EndpointSlice, ResourceKind::Namespace) => {
                rows.extend(mirror.endpoint_slices().in_namespace(name));
            }
            (Role::Endpoints | Role::EndpointSlice, ResourceKind::ReplicaSet | ResourceKind::Job) => {
                for pod in mirror.pods().controlled_by(namespace, resource.kind(), name) {
                    if let Some(pod) = mirror.pods().view(pod) {
                        let pod = ObjectKey::new(pod.namespace(), pod.name());
                        self.add_dependents(mirror, ResourceKind::Pod, &pod, rows);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Namespace and name of a row, as long as its object exists.
fn key_of(mirror: &Mirror, resource: ResourceKind, row: RowId) -> Option<ObjectKey> {
    match resource {
        ResourceKind::Node => mirror.nodes().view(row).map(|node| ObjectKey::new("", node.name())),
        ResourceKind::Namespace => {
            mirror.namespaces().view(row).map(|found| ObjectKey::new("", found.name()))
        }
        ResourceKind::Pod => mirror.pods().view(row).map(|pod| ObjectKey::new(pod.namespace(), pod.name())),
        ResourceKind::Service => {
            mirror.services().view(row).map(|service| ObjectKey::new(service.namespace(), service.name()))
        }
        ResourceKind::ReplicaSet | ResourceKind::Job => {
            mirror.owners(resource).view(row).map(|owner| ObjectKey::new(owner.namespace(), owner.name()))
        }
        _ => None,
    }
}

//! Kubernetes discovery over the mirror: one [`RoleView`] for each `kubernetes_sd_configs` entry, which knows the
//! target group of each object and which objects a change touches (Prometheus `discovery/kubernetes`).
//!
//! Namespaces and selectors are evaluated here, over the one mirror: what an entry does not select does not exist
//! for it.

mod endpoint_slice;
mod endpoints;
mod impact;
mod ingress;
mod meta_labels;
mod node;
mod pod;
mod selection;
mod service;

use std::collections::BTreeSet;

use outrigger_config::prometheus::{AttachMetadata, KubernetesSd, Role};
use outrigger_mirror::{Mirror, RowId};
use outrigger_model::labels::Labels;
use outrigger_wire::kubernetes::ResourceKind;

pub(crate) use impact::ChangeSet;
use meta_labels::MetaLabels;
use selection::Selection;
pub use selection::UnsupportedField;

/// One `kubernetes_sd_configs` entry, evaluated over a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleView {
    role: Role,
    attach: AttachMetadata,
    selection: Selection,
}

/// The target group of one object: labels of all its targets, and those of each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) labels: Labels,
    pub(crate) targets: Vec<Labels>,
}

/// Writes groups; holds what it reuses from one to the next.
#[derive(Debug, Default)]
pub(crate) struct GroupWriter {
    group: MetaLabels,
    target: MetaLabels,
    targets: Vec<Labels>,
}

impl GroupWriter {
    /// Adds the target that was written.
    fn push_target(&mut self) {
        self.targets.push(self.target.take());
    }

    fn finish(&mut self) -> Group {
        Group { labels: self.group.take(), targets: std::mem::take(&mut self.targets) }
    }
}

impl RoleView {
    /// The view that `sd` describes. `own_namespace` is the namespace that this process runs in.
    ///
    /// # Errors
    /// When a field selector names a field that the API server does not select by.
    pub(crate) fn new(sd: &KubernetesSd, own_namespace: Option<&str>) -> Result<Self, UnsupportedField> {
        Ok(Self { role: sd.role, attach: sd.attach_metadata, selection: Selection::new(sd, own_namespace)? })
    }

    /// The resources that must be in the mirror before this view's groups are right.
    pub(crate) fn resources(&self) -> Vec<ResourceKind> {
        let mut resources = vec![self.main_resource()];
        if matches!(self.role, Role::Endpoints | Role::EndpointSlice) {
            resources.extend([ResourceKind::Service, ResourceKind::Pod]);
        }
        let with_pods = matches!(self.role, Role::Pod | Role::Endpoints | Role::EndpointSlice);
        for (needed, resource) in [
            (with_pods && self.attach.node, ResourceKind::Node),
            (self.role != Role::Node && self.attach.namespace, ResourceKind::Namespace),
            (with_pods && self.attach.deployment, ResourceKind::ReplicaSet),
            (with_pods && self.attach.cronjob, ResourceKind::Job),
        ] {
            if needed {
                resources.push(resource);
            }
        }
        resources
    }

    /// The namespaces that the view is confined to; `None` is all of them.
    pub(crate) fn namespaces(&self) -> Option<BTreeSet<String>> {
        self.selection.namespaces().map(|namespaces| namespaces.iter().map(|name| name.to_string()).collect())
    }

    /// The resource whose objects are the sources.
    pub(crate) fn main_resource(&self) -> ResourceKind {
        match self.role {
            Role::Node => ResourceKind::Node,
            Role::Pod => ResourceKind::Pod,
            Role::Service => ResourceKind::Service,
            Role::Endpoints => ResourceKind::Endpoints,
            Role::EndpointSlice => ResourceKind::EndpointSlice,
            Role::Ingress => ResourceKind::Ingress,
        }
    }

    /// The source of an object's group, as Prometheus names it: `pod/namespace/name`, `node/name`.
    pub(crate) fn source(&self, namespace: &str, name: &str) -> String {
        let kind = self.source_kind();
        match self.role {
            Role::Node => format!("{kind}/{name}"),
            _ => format!("{kind}/{namespace}/{name}"),
        }
    }

    /// Namespace and name of a source that [`source`](Self::source) named.
    pub(crate) fn object_of<'a>(&self, source: &'a str) -> Option<(&'a str, &'a str)> {
        let rest = source.strip_prefix(self.source_kind())?.strip_prefix('/')?;
        match self.role {
            Role::Node => Some(("", rest)),
            _ => rest.split_once('/'),
        }
    }

    fn source_kind(&self) -> &'static str {
        match self.role {
            Role::Node => "node",
            Role::Pod => "pod",
            Role::Service => "svc",
            Role::Endpoints => "endpoints",
            Role::EndpointSlice => "endpointslice",
            Role::Ingress => "ingress",
        }
    }

    /// The rows of all sources, whether this view selects them or not.
    pub(crate) fn rows(&self, mirror: &Mirror) -> Vec<RowId> {
        match self.role {
            Role::Node => mirror.nodes().iter().map(|(row, _)| row).collect(),
            Role::Pod => mirror.pods().iter().map(|(row, _)| row).collect(),
            Role::Service => mirror.services().iter().map(|(row, _)| row).collect(),
            Role::Endpoints => mirror.endpoints().iter().map(|(row, _)| row).collect(),
            Role::EndpointSlice => mirror.endpoint_slices().iter().map(|(row, _)| row).collect(),
            Role::Ingress => mirror.ingresses().iter().map(|(row, _)| row).collect(),
        }
    }

    /// The row of an object.
    pub(crate) fn row_of(&self, mirror: &Mirror, namespace: &str, name: &str) -> Option<RowId> {
        match self.role {
            Role::Node => mirror.nodes().get(namespace, name),
            Role::Pod => mirror.pods().get(namespace, name),
            Role::Service => mirror.services().get(namespace, name),
            Role::Endpoints => mirror.endpoints().get(namespace, name),
            Role::EndpointSlice => mirror.endpoint_slices().get(namespace, name),
            Role::Ingress => mirror.ingresses().get(namespace, name),
        }
    }

    /// Source and group of a row; the group is empty for an object that is not selected or has no targets.
    /// `None` when the object is gone.
    pub(crate) fn group(
        &self,
        mirror: &Mirror,
        row: RowId,
        writer: &mut GroupWriter,
    ) -> Option<(String, Group)> {
        let (namespace, name) = match self.role {
            Role::Node => {
                let node = mirror.nodes().view(row)?;
                self.write_node(node, writer);
                ("", node.name())
            }
            Role::Pod => {
                let pod = mirror.pods().view(row)?;
                self.write_pod(mirror, pod, writer);
                (pod.namespace(), pod.name())
            }
            Role::Service => {
                let service = mirror.services().view(row)?;
                self.write_service(mirror, service, writer);
                (service.namespace(), service.name())
            }
            Role::Endpoints => {
                let endpoints = mirror.endpoints().view(row)?;
                self.write_endpoints(mirror, endpoints, writer);
                (endpoints.namespace(), endpoints.name())
            }
            Role::EndpointSlice => {
                let slice = mirror.endpoint_slices().view(row)?;
                self.write_endpoint_slice(mirror, slice, writer);
                (slice.namespace(), slice.name())
            }
            Role::Ingress => {
                let ingress = mirror.ingresses().view(row)?;
                self.write_ingress(mirror, ingress, writer);
                (ingress.namespace(), ingress.name())
            }
        };
        Some((self.source(namespace, name), writer.finish()))
    }
}

/// `host:port`, with brackets around a host that has colons (Go `net.JoinHostPort`).
fn join_host_port(host: &str, port: u32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests;

//! Which objects a `kubernetes_sd_configs` entry sees: its namespaces and selectors.

use std::collections::BTreeSet;

use outrigger_config::prometheus::{KubernetesSd, Role};
use outrigger_config::selector::{FieldSelector, LabelSelector};
use outrigger_mirror::{EndpointSliceView, EndpointsView, IngressView, NodeView, PodView, ServiceView};

/// A field selector on a field that the API server does not select by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {} role has no field selector {field:?}; it has {}", role.as_str(), supported_fields(*role).join(", "))]
pub struct UnsupportedField {
    /// Role of the selector.
    pub role: Role,
    /// The field.
    pub field: String,
}

/// The fields that the API server selects objects of a role by
/// (`pkg/apis/core/v1/conversion.go`; `metadata.name` and `metadata.namespace` for every resource).
fn supported_fields(role: Role) -> &'static [&'static str] {
    match role {
        Role::Node => &["metadata.name", "spec.unschedulable"],
        Role::Pod => &[
            "metadata.name",
            "metadata.namespace",
            "spec.hostNetwork",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.nominatedNodeName",
            "status.phase",
            "status.podIP",
        ],
        Role::Service => &["metadata.name", "metadata.namespace", "spec.clusterIP", "spec.type"],
        Role::Endpoints | Role::EndpointSlice | Role::Ingress => &["metadata.name", "metadata.namespace"],
    }
}

/// Namespaces and selectors of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selection {
    /// `None` is all of them.
    namespaces: Option<BTreeSet<Box<str>>>,
    node: Selector,
    pod: Selector,
    service: Selector,
    endpoints: Selector,
    endpoint_slice: Selector,
    ingress: Selector,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Selector {
    label: LabelSelector,
    field: FieldSelector,
}

impl Selection {
    pub(super) fn new(sd: &KubernetesSd, own_namespace: Option<&str>) -> Result<Self, UnsupportedField> {
        let selector = |role: Role| {
            let configured = sd.selectors.iter().find(|selector| selector.role == role);
            let Some(configured) = configured else { return Ok(Selector::default()) };
            let unsupported = |field: &&str| !supported_fields(role).contains(field);
            let mut fields = configured.field.terms().iter().map(|term| term.field.as_str());
            match fields.find(unsupported) {
                Some(field) => Err(UnsupportedField { role, field: field.to_owned() }),
                None => Ok(Selector { label: configured.label.clone(), field: configured.field.clone() }),
            }
        };
        Ok(Self {
            namespaces: namespaces(sd, own_namespace),
            node: selector(Role::Node)?,
            pod: selector(Role::Pod)?,
            service: selector(Role::Service)?,
            endpoints: selector(Role::Endpoints)?,
            endpoint_slice: selector(Role::EndpointSlice)?,
            ingress: selector(Role::Ingress)?,
        })
    }

    /// The namespaces that are looked at; `None` is all of them.
    pub(super) fn namespaces(&self) -> Option<&BTreeSet<Box<str>>> {
        self.namespaces.as_ref()
    }

    /// Whether objects of this namespace are sources.
    pub(super) fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|namespaces| namespaces.contains(namespace))
    }

    /// Whether an object of `namespace` sees those of `other`: with a list of namespaces, each is on its own.
    pub(super) fn has_dependent_namespace(&self, namespace: &str, other: &str) -> bool {
        self.namespaces.is_none() || namespace == other
    }

    pub(super) fn has_node(&self, node: NodeView<'_>) -> bool {
        self.node.label.matches(|key| node.label(key))
            && self.node.field.matches(|field| match field {
                "metadata.name" => Some(node.name()),
                "spec.unschedulable" => Some(boolean(node.unschedulable())),
                _ => None,
            })
    }

    pub(super) fn has_pod(&self, pod: PodView<'_>) -> bool {
        self.pod.label.matches(|key| pod.label(key))
            && self.pod.field.matches(|field| match field {
                "metadata.name" => Some(pod.name()),
                "metadata.namespace" => Some(pod.namespace()),
                "spec.hostNetwork" => Some(boolean(pod.host_network())),
                "spec.nodeName" => Some(pod.node_name()),
                "spec.restartPolicy" => Some(pod.restart_policy()),
                "spec.schedulerName" => Some(pod.scheduler_name()),
                "spec.serviceAccountName" => Some(pod.service_account_name()),
                "status.nominatedNodeName" => Some(pod.nominated_node_name()),
                "status.phase" => Some(pod.phase()),
                "status.podIP" => Some(pod.pod_ip()),
                _ => None,
            })
    }

    pub(super) fn has_service(&self, service: ServiceView<'_>) -> bool {
        self.service.label.matches(|key| service.label(key))
            && self.service.field.matches(|field| match field {
                "metadata.name" => Some(service.name()),
                "metadata.namespace" => Some(service.namespace()),
                "spec.clusterIP" => Some(service.cluster_ip()),
                "spec.type" => Some(service.service_type()),
                _ => None,
            })
    }

    pub(super) fn has_endpoints(&self, endpoints: EndpointsView<'_>) -> bool {
        self.endpoints.label.matches(|key| endpoints.label(key))
            && matches_name(&self.endpoints.field, endpoints.namespace(), endpoints.name())
    }

    pub(super) fn has_endpoint_slice(&self, slice: EndpointSliceView<'_>) -> bool {
        self.endpoint_slice.label.matches(|key| slice.label(key))
            && matches_name(&self.endpoint_slice.field, slice.namespace(), slice.name())
    }

    pub(super) fn has_ingress(&self, ingress: IngressView<'_>) -> bool {
        self.ingress.label.matches(|key| ingress.label(key))
            && matches_name(&self.ingress.field, ingress.namespace(), ingress.name())
    }
}

/// The namespaces that are looked at (Prometheus `getNamespaces`).
fn namespaces(sd: &KubernetesSd, own_namespace: Option<&str>) -> Option<BTreeSet<Box<str>>> {
    if sd.namespaces.names.is_empty() && !sd.namespaces.own_namespace {
        return None;
    }
    let own = own_namespace.filter(|_| sd.namespaces.own_namespace);
    Some(sd.namespaces.names.iter().map(String::as_str).chain(own).map(Box::from).collect())
}

fn matches_name(selector: &FieldSelector, namespace: &str, name: &str) -> bool {
    selector.terms().iter().all(|term| {
        let value = match term.field.as_str() {
            "metadata.name" => name,
            "metadata.namespace" => namespace,
            _ => "",
        };
        (value == term.value) == term.equal
    })
}

fn boolean(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

//! Namespaces.

use super::{Family, Kind, annotations, conditions, created, labels, truth};
use crate::object::condition::Condition;
use crate::object::{Nested, Repeated, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.Namespace`.
    pub struct Namespace {
        3 "status" status: Nested<'a, NamespaceStatus<'a>>,
    }
}

message! {
    /// `v1.NamespaceStatus`.
    pub struct NamespaceStatus {
        1 "phase" phase: &'a str,
        2 "conditions" conditions: Repeated<'a, Condition<'a>>,
    }
}

pub(crate) struct Namespaces;

impl Kind for Namespaces {
    type Object<'a> = Namespace<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::stable("kube_namespace_created", "Unix creation timestamp", |namespace, samples| {
            created(&namespace.metadata, samples)
        }),
        Family::<Self>::alpha(
            "kube_namespace_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |namespace, samples| annotations(&namespace.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_namespace_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |namespace, samples| labels(&namespace.metadata, samples),
        ),
        Family::<Self>::stable("kube_namespace_status_phase", "kubernetes namespace status phase.", phase),
        Family::<Self>::alpha(
            "kube_namespace_status_condition",
            "The condition of a namespace.",
            |namespace, samples| conditions(&namespace.status.conditions, samples),
        ),
    ];

    fn identity(namespace: &Namespace<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", namespace.metadata.name);
    }
}

/// Both phases, also when none is known.
fn phase(namespace: &Namespace<'_>, samples: &mut Samples) {
    for phase in ["Active", "Terminating"] {
        samples.add(&["phase"], &[Value::Word(phase)], truth(namespace.status.phase == phase));
    }
}

//! IngressClasses.

use super::{Family, Kind, annotations, created, labels};
use crate::object::{Nested, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.IngressClass`.
    pub struct IngressClass {
        2 "spec" spec: Nested<'a, IngressClassSpec<'a>>,
    }
}

message! {
    /// `v1.IngressClassSpec`.
    pub struct IngressClassSpec {
        1 "controller" controller: &'a str,
    }
}

pub(crate) struct IngressClasses;

impl Kind for IngressClasses {
    type Object<'a> = IngressClass<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha("kube_ingressclass_info", "Information about ingressclass.", info),
        Family::<Self>::alpha("kube_ingressclass_created", "Unix creation timestamp", |class, samples| {
            created(&class.metadata, samples)
        }),
        Family::<Self>::alpha(
            "kube_ingressclass_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |class, samples| annotations(&class.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_ingressclass_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |class, samples| labels(&class.metadata, samples),
        ),
    ];

    fn identity(class: &IngressClass<'_>, samples: &mut Samples) {
        samples.add_identity("ingressclass", class.metadata.name);
    }
}

fn info(class: &IngressClass<'_>, samples: &mut Samples) {
    samples.add(&["controller"], &[Value::Word(class.spec.controller)], 1.0);
}

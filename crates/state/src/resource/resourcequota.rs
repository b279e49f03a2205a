//! ResourceQuotas.

use super::{Family, Kind, annotations, created, labels};
use crate::object::meta::Quantity;
use crate::object::{Map, Nested, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.ResourceQuota`.
    pub struct ResourceQuota {
        3 "status" status: Nested<'a, ResourceQuotaStatus<'a>>,
    }
}

message! {
    /// `v1.ResourceQuotaStatus`.
    pub struct ResourceQuotaStatus {
        1 "hard" hard: Map<'a, Quantity<'a>>,
        2 "used" used: Map<'a, Quantity<'a>>,
    }
}

pub(crate) struct ResourceQuotas;

impl Kind for ResourceQuotas {
    type Object<'a> = ResourceQuota<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::stable("kube_resourcequota_created", "Unix creation timestamp", |quota, samples| {
            created(&quota.metadata, samples)
        }),
        Family::<Self>::stable("kube_resourcequota", "Information about resource quota.", amounts),
        Family::<Self>::alpha(
            "kube_resourcequota_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |quota, samples| annotations(&quota.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_resourcequota_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |quota, samples| labels(&quota.metadata, samples),
        ),
    ];

    fn identity(quota: &ResourceQuota<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", quota.metadata.namespace);
        samples.add_identity("resourcequota", quota.metadata.name);
    }
}

/// What is allowed and what is used, with the names of resources as they are.
fn amounts(quota: &ResourceQuota<'_>, samples: &mut Samples) {
    for (kind, quantities) in [("hard", &quota.status.hard), ("used", &quota.status.used)] {
        for (resource, quantity) in quantities.iter() {
            if let Some(quantity) = quantity.parse() {
                samples.add(&["resource", "type"], &[resource, kind].map(Value::Word), quantity.to_float());
            }
        }
    }
}

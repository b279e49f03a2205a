//! ReplicaSets.

use super::{Family, Kind, annotations, created, generation, labels, number, optional, owners};
use crate::object::{Nested, message, object};
use crate::samples::Samples;

object! {
    /// `v1.ReplicaSet`.
    pub struct ReplicaSet {
        2 "spec" spec: Nested<'a, ReplicaSetSpec<'a>>,
        3 "status" status: Nested<'a, ReplicaSetStatus<'a>>,
    }
}

message! {
    /// `v1.ReplicaSetSpec`.
    pub struct ReplicaSetSpec {
        1 "replicas" replicas: Option<i32>,
    }

    /// `v1.ReplicaSetStatus`.
    pub struct ReplicaSetStatus {
        1 "replicas" replicas: i32,
        2 "fullyLabeledReplicas" fully_labeled_replicas: i32,
        3 "observedGeneration" observed_generation: i64,
        4 "readyReplicas" ready_replicas: i32,
        7 "terminatingReplicas" terminating_replicas: Option<i32>,
    }
}

pub(crate) struct ReplicaSets;

impl Kind for ReplicaSets {
    type Object<'a> = ReplicaSet<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::stable("kube_replicaset_created", "Unix creation timestamp", |set, samples| {
            created(&set.metadata, samples)
        }),
        Family::<Self>::stable(
            "kube_replicaset_status_replicas",
            "The number of replicas per ReplicaSet.",
            |set, samples| number(set.status.replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_replicaset_status_fully_labeled_replicas",
            "The number of fully labeled replicas per ReplicaSet.",
            |set, samples| number(set.status.fully_labeled_replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_replicaset_status_ready_replicas",
            "The number of ready replicas per ReplicaSet.",
            |set, samples| number(set.status.ready_replicas, samples),
        ),
        Family::<Self>::alpha(
            "kube_replicaset_status_terminating_replicas",
            "The number of terminating replicas per ReplicaSet.",
            |set, samples| optional(set.status.terminating_replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_replicaset_status_observed_generation",
            "The generation observed by the ReplicaSet controller.",
            |set, samples| number(set.status.observed_generation, samples),
        ),
        Family::<Self>::stable(
            "kube_replicaset_spec_replicas",
            "Number of desired pods for a ReplicaSet.",
            |set, samples| optional(set.spec.replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_replicaset_metadata_generation",
            "Sequence number representing a specific generation of the desired state.",
            |set, samples| generation(&set.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_replicaset_owner",
            "Information about the ReplicaSet's owner.",
            |set, samples| owners(&set.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_replicaset_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |set, samples| annotations(&set.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_replicaset_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |set, samples| labels(&set.metadata, samples),
        ),
    ];

    fn identity(set: &ReplicaSet<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", set.metadata.namespace);
        samples.add_identity("replicaset", set.metadata.name);
    }
}

//! StatefulSets.

use super::{Family, Kind, annotations, created, deleted, generation, labels, number, optional};
use crate::object::{Nested, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.StatefulSet`.
    pub struct StatefulSet {
        2 "spec" spec: Nested<'a, StatefulSetSpec<'a>>,
        3 "status" status: Nested<'a, StatefulSetStatus<'a>>,
    }
}

message! {
    /// `v1.StatefulSetSpec`.
    pub struct StatefulSetSpec {
        1 "replicas" replicas: Option<i32>,
        10 "persistentVolumeClaimRetentionPolicy" claim_retention_policy: Nested<'a, ClaimRetentionPolicy<'a>>,
        11 "ordinals" ordinals: Nested<'a, Ordinals<'a>>,
    }

    /// `v1.StatefulSetStatus`.
    pub struct StatefulSetStatus {
        1 "observedGeneration" observed_generation: i64,
        2 "replicas" replicas: i32,
        3 "readyReplicas" ready_replicas: i32,
        4 "currentReplicas" current_replicas: i32,
        5 "updatedReplicas" updated_replicas: i32,
        6 "currentRevision" current_revision: &'a str,
        7 "updateRevision" update_revision: &'a str,
        11 "availableReplicas" available_replicas: i32,
    }

    /// `v1.StatefulSetPersistentVolumeClaimRetentionPolicy`.
    pub struct ClaimRetentionPolicy {
        1 "whenDeleted" when_deleted: &'a str,
        2 "whenScaled" when_scaled: &'a str,
    }

    /// `v1.StatefulSetOrdinals`.
    pub struct Ordinals {
        1 "start" start: i32,
    }
}

pub(crate) struct StatefulSets;

impl Kind for StatefulSets {
    type Object<'a> = StatefulSet<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::stable("kube_statefulset_created", "Unix creation timestamp", |set, samples| {
            created(&set.metadata, samples)
        }),
        Family::<Self>::stable(
            "kube_statefulset_status_replicas",
            "The number of replicas per StatefulSet.",
            |set, samples| number(set.status.replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_statefulset_status_replicas_available",
            "The number of available replicas per StatefulSet.",
            |set, samples| number(set.status.available_replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_statefulset_status_replicas_current",
            "The number of current replicas per StatefulSet.",
            |set, samples| number(set.status.current_replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_statefulset_status_replicas_ready",
            "The number of ready replicas per StatefulSet.",
            |set, samples| number(set.status.ready_replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_statefulset_status_replicas_updated",
            "The number of updated replicas per StatefulSet.",
            |set, samples| number(set.status.updated_replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_statefulset_status_observed_generation",
            "The generation observed by the StatefulSet controller.",
            |set, samples| number(set.status.observed_generation, samples),
        ),
        Family::<Self>::stable(
            "kube_statefulset_replicas",
            "Number of desired pods for a StatefulSet.",
            |set, samples| optional(set.spec.replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_statefulset_ordinals_start",
            "Start ordinal of the StatefulSet.",
            |set, samples| optional(set.spec.ordinals.get().map(|ordinals| ordinals.start), samples),
        ),
        Family::<Self>::stable(
            "kube_statefulset_metadata_generation",
            "Sequence number representing a specific generation of the desired state for the StatefulSet.",
            |set, samples| generation(&set.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_statefulset_persistentvolumeclaim_retention_policy",
            "Count of retention policy for StatefulSet template PVCs",
            claim_retention_policy,
        ),
        Family::<Self>::stable(
            "kube_statefulset_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |set, samples| annotations(&set.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_statefulset_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |set, samples| labels(&set.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_statefulset_status_current_revision",
            "Indicates the version of the StatefulSet used to generate Pods in the sequence [0,currentReplicas).",
            |set, samples| revision(set.status.current_revision, samples),
        ),
        Family::<Self>::stable(
            "kube_statefulset_status_update_revision",
            "Indicates the version of the StatefulSet used to generate Pods in the sequence [replicas-updatedReplicas,replicas)",
            |set, samples| revision(set.status.update_revision, samples),
        ),
        Family::<Self>::stable(
            "kube_statefulset_deletion_timestamp",
            "Unix deletion timestamp",
            |set, samples| deleted(&set.metadata, samples),
        ),
    ];

    fn identity(set: &StatefulSet<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", set.metadata.namespace);
        samples.add_identity("statefulset", set.metadata.name);
    }
}

fn claim_retention_policy(set: &StatefulSet<'_>, samples: &mut Samples) {
    let policy = &set.spec.claim_retention_policy;
    let texts = [policy.when_deleted, policy.when_scaled];
    if texts != ["", ""] {
        samples.add(&["when_deleted", "when_scaled"], &texts.map(Value::Word), 1.0);
    }
}

fn revision(name: &str, samples: &mut Samples) {
    samples.add(&["revision"], &[Value::Text(name)], 1.0);
}

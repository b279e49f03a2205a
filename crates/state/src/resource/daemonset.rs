//! DaemonSets.

use super::{Family, Kind, annotations, created, deleted, generation, labels, number};
use crate::object::{Nested, message, object};
use crate::samples::Samples;

object! {
    /// `v1.DaemonSet`.
    pub struct DaemonSet {
        3 "status" status: Nested<'a, DaemonSetStatus<'a>>,
    }
}

message! {
    /// `v1.DaemonSetStatus`.
    pub struct DaemonSetStatus {
        1 "currentNumberScheduled" current: i32,
        2 "numberMisscheduled" misscheduled: i32,
        3 "desiredNumberScheduled" desired: i32,
        4 "numberReady" ready: i32,
        5 "observedGeneration" observed_generation: i64,
        6 "updatedNumberScheduled" updated: i32,
        7 "numberAvailable" available: i32,
        8 "numberUnavailable" unavailable: i32,
    }
}

pub(crate) struct DaemonSets;

impl Kind for DaemonSets {
    type Object<'a> = DaemonSet<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::stable("kube_daemonset_created", "Unix creation timestamp", |set, samples| {
            created(&set.metadata, samples)
        }),
        Family::<Self>::stable(
            "kube_daemonset_status_current_number_scheduled",
            "The number of nodes running at least one daemon pod and are supposed to.",
            |set, samples| number(set.status.current, samples),
        ),
        Family::<Self>::stable(
            "kube_daemonset_status_desired_number_scheduled",
            "The number of nodes that should be running the daemon pod.",
            |set, samples| number(set.status.desired, samples),
        ),
        Family::<Self>::stable(
            "kube_daemonset_status_number_available",
            "The number of nodes that should be running the daemon pod and have one or more of the daemon pod running and available",
            |set, samples| number(set.status.available, samples),
        ),
        Family::<Self>::stable(
            "kube_daemonset_status_number_misscheduled",
            "The number of nodes running a daemon pod but are not supposed to.",
            |set, samples| number(set.status.misscheduled, samples),
        ),
        Family::<Self>::stable(
            "kube_daemonset_status_number_ready",
            "The number of nodes that should be running the daemon pod and have one or more of the daemon pod running and ready.",
            |set, samples| number(set.status.ready, samples),
        ),
        Family::<Self>::stable(
            "kube_daemonset_status_number_unavailable",
            "The number of nodes that should be running the daemon pod and have none of the daemon pod running and available",
            |set, samples| number(set.status.unavailable, samples),
        ),
        Family::<Self>::stable(
            "kube_daemonset_status_observed_generation",
            "The most recent generation observed by the daemon set controller.",
            |set, samples| number(set.status.observed_generation, samples),
        ),
        Family::<Self>::stable(
            "kube_daemonset_status_updated_number_scheduled",
            "The total number of nodes that are running updated daemon pod",
            |set, samples| number(set.status.updated, samples),
        ),
        Family::<Self>::stable(
            "kube_daemonset_metadata_generation",
            "Sequence number representing a specific generation of the desired state.",
            |set, samples| generation(&set.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_daemonset_deletion_timestamp",
            "Unix deletion timestamp",
            |set, samples| deleted(&set.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_daemonset_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |set, samples| annotations(&set.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_daemonset_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |set, samples| labels(&set.metadata, samples),
        ),
    ];

    fn identity(set: &DaemonSet<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", set.metadata.namespace);
        samples.add_identity("daemonset", set.metadata.name);
    }
}

//! ReplicationControllers.

use super::{Family, Kind, created, generation, number, optional, owners};
use crate::object::{Nested, message, object};
use crate::samples::Samples;

object! {
    /// `v1.ReplicationController`.
    pub struct ReplicationController {
        2 "spec" spec: Nested<'a, ReplicationControllerSpec<'a>>,
        3 "status" status: Nested<'a, ReplicationControllerStatus<'a>>,
    }
}

message! {
    /// `v1.ReplicationControllerSpec`.
    pub struct ReplicationControllerSpec {
        1 "replicas" replicas: Option<i32>,
    }

    /// `v1.ReplicationControllerStatus`.
    pub struct ReplicationControllerStatus {
        1 "replicas" replicas: i32,
        2 "fullyLabeledReplicas" fully_labeled_replicas: i32,
        3 "observedGeneration" observed_generation: i64,
        4 "readyReplicas" ready_replicas: i32,
        5 "availableReplicas" available_replicas: i32,
    }
}

pub(crate) struct ReplicationControllers;

impl Kind for ReplicationControllers {
    type Object<'a> = ReplicationController<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::stable(
            "kube_replicationcontroller_created",
            "Unix creation timestamp",
            |controller, samples| created(&controller.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_replicationcontroller_status_replicas",
            "The number of replicas per ReplicationController.",
            |controller, samples| number(controller.status.replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_replicationcontroller_status_fully_labeled_replicas",
            "The number of fully labeled replicas per ReplicationController.",
            |controller, samples| number(controller.status.fully_labeled_replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_replicationcontroller_status_ready_replicas",
            "The number of ready replicas per ReplicationController.",
            |controller, samples| number(controller.status.ready_replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_replicationcontroller_status_available_replicas",
            "The number of available replicas per ReplicationController.",
            |controller, samples| number(controller.status.available_replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_replicationcontroller_status_observed_generation",
            "The generation observed by the ReplicationController controller.",
            |controller, samples| number(controller.status.observed_generation, samples),
        ),
        Family::<Self>::stable(
            "kube_replicationcontroller_spec_replicas",
            "Number of desired pods for a ReplicationController.",
            |controller, samples| optional(controller.spec.replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_replicationcontroller_metadata_generation",
            "Sequence number representing a specific generation of the desired state.",
            |controller, samples| generation(&controller.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_replicationcontroller_owner",
            "Information about the ReplicationController's owner.",
            |controller, samples| owners(&controller.metadata, samples),
        ),
    ];

    fn identity(controller: &ReplicationController<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", controller.metadata.namespace);
        samples.add_identity("replicationcontroller", controller.metadata.name);
    }
}

//! PodDisruptionBudgets.

use super::{Family, Kind, annotations, created, deleted, labels, number};
use crate::object::{Nested, message, object};
use crate::samples::Samples;

object! {
    /// `v1.PodDisruptionBudget`.
    pub struct PodDisruptionBudget {
        3 "status" status: Nested<'a, PodDisruptionBudgetStatus<'a>>,
    }
}

message! {
    /// `v1.PodDisruptionBudgetStatus`.
    pub struct PodDisruptionBudgetStatus {
        1 "observedGeneration" observed_generation: i64,
        3 "disruptionsAllowed" disruptions_allowed: i32,
        4 "currentHealthy" current_healthy: i32,
        5 "desiredHealthy" desired_healthy: i32,
        6 "expectedPods" expected_pods: i32,
    }
}

pub(crate) struct PodDisruptionBudgets;

impl Kind for PodDisruptionBudgets {
    type Object<'a> = PodDisruptionBudget<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha(
            "kube_poddisruptionbudget_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |budget, samples| annotations(&budget.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_poddisruptionbudget_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |budget, samples| labels(&budget.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_poddisruptionbudget_created",
            "Unix creation timestamp",
            |budget, samples| created(&budget.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_poddisruptionbudget_status_current_healthy",
            "Current number of healthy pods",
            |budget, samples| number(budget.status.current_healthy, samples),
        ),
        Family::<Self>::stable(
            "kube_poddisruptionbudget_status_desired_healthy",
            "Minimum desired number of healthy pods",
            |budget, samples| number(budget.status.desired_healthy, samples),
        ),
        Family::<Self>::stable(
            "kube_poddisruptionbudget_status_pod_disruptions_allowed",
            "Number of pod disruptions that are currently allowed",
            |budget, samples| number(budget.status.disruptions_allowed, samples),
        ),
        Family::<Self>::stable(
            "kube_poddisruptionbudget_status_expected_pods",
            "Total number of pods counted by this disruption budget",
            |budget, samples| number(budget.status.expected_pods, samples),
        ),
        Family::<Self>::stable(
            "kube_poddisruptionbudget_status_observed_generation",
            "Most recent generation observed when updating this PDB status",
            |budget, samples| number(budget.status.observed_generation, samples),
        ),
        Family::<Self>::alpha(
            "kube_poddisruptionbudget_deletion_timestamp",
            "Unix deletion timestamp",
            |budget, samples| deleted(&budget.metadata, samples),
        ),
    ];

    fn identity(budget: &PodDisruptionBudget<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", budget.metadata.namespace);
        samples.add_identity("poddisruptionbudget", budget.metadata.name);
    }
}

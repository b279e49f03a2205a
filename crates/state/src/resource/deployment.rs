//! Deployments.

use super::{
    Family, Kind, annotations, condition_rows, created, deleted, generation, labels, number, optional,
};
use crate::object::meta::IntOrString;
use crate::object::{Nested, Repeated, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.Deployment`.
    pub struct Deployment {
        2 "spec" spec: Nested<'a, DeploymentSpec<'a>>,
        3 "status" status: Nested<'a, DeploymentStatus<'a>>,
    }
}

message! {
    /// `v1.DeploymentSpec`.
    pub struct DeploymentSpec {
        1 "replicas" replicas: Option<i32>,
        4 "strategy" strategy: Nested<'a, DeploymentStrategy<'a>>,
        7 "paused" paused: bool,
    }

    /// `v1.DeploymentStatus`.
    pub struct DeploymentStatus {
        1 "observedGeneration" observed_generation: i64,
        2 "replicas" replicas: i32,
        3 "updatedReplicas" updated_replicas: i32,
        4 "availableReplicas" available_replicas: i32,
        5 "unavailableReplicas" unavailable_replicas: i32,
        6 "conditions" conditions: Repeated<'a, DeploymentCondition<'a>>,
        7 "readyReplicas" ready_replicas: i32,
        9 "terminatingReplicas" terminating_replicas: Option<i32>,
    }

    /// `v1.DeploymentStrategy`.
    pub struct DeploymentStrategy {
        2 "rollingUpdate" rolling_update: Nested<'a, RollingUpdate<'a>>,
    }

    /// `v1.RollingUpdateDeployment`.
    pub struct RollingUpdate {
        1 "maxUnavailable" max_unavailable: Option<IntOrString<'a>>,
        2 "maxSurge" max_surge: Option<IntOrString<'a>>,
    }

    /// `v1.DeploymentCondition`.
    pub struct DeploymentCondition {
        1 "type" kind: &'a str,
        2 "status" status: &'a str,
        4 "reason" reason: &'a str,
    }
}

pub(crate) struct Deployments;

impl Kind for Deployments {
    type Object<'a> = Deployment<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha("kube_deployment_owner", "Information about the Deployment's owner.", owner),
        Family::<Self>::stable(
            "kube_deployment_created",
            "Unix creation timestamp",
            |deployment, samples| created(&deployment.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_deployment_status_replicas",
            "The number of replicas per deployment.",
            |deployment, samples| number(deployment.status.replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_deployment_status_replicas_ready",
            "The number of ready replicas per deployment.",
            |deployment, samples| number(deployment.status.ready_replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_deployment_status_replicas_available",
            "The number of available replicas per deployment.",
            |deployment, samples| number(deployment.status.available_replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_deployment_status_replicas_unavailable",
            "The number of unavailable replicas per deployment.",
            |deployment, samples| number(deployment.status.unavailable_replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_deployment_status_replicas_updated",
            "The number of updated replicas per deployment.",
            |deployment, samples| number(deployment.status.updated_replicas, samples),
        ),
        Family::<Self>::alpha(
            "kube_deployment_status_terminating_replicas",
            "The number of terminating replicas per deployment.",
            |deployment, samples| optional(deployment.status.terminating_replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_deployment_status_observed_generation",
            "The generation observed by the deployment controller.",
            |deployment, samples| number(deployment.status.observed_generation, samples),
        ),
        Family::<Self>::stable(
            "kube_deployment_status_condition",
            "The current status conditions of a deployment.",
            condition,
        ),
        Family::<Self>::stable(
            "kube_deployment_spec_replicas",
            "Number of desired pods for a deployment.",
            |deployment, samples| optional(deployment.spec.replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_deployment_spec_paused",
            "Whether the deployment is paused and will not be processed by the deployment controller.",
            |deployment, samples| number(deployment.spec.paused, samples),
        ),
        Family::<Self>::stable(
            "kube_deployment_spec_strategy_rollingupdate_max_unavailable",
            "Maximum number of unavailable replicas during a rolling update of a deployment.",
            max_unavailable,
        ),
        Family::<Self>::stable(
            "kube_deployment_spec_strategy_rollingupdate_max_surge",
            "Maximum number of replicas that can be scheduled above the desired number of replicas during a rolling update of a deployment.",
            max_surge,
        ),
        Family::<Self>::stable(
            "kube_deployment_metadata_generation",
            "Sequence number representing a specific generation of the desired state.",
            |deployment, samples| generation(&deployment.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_deployment_deletion_timestamp",
            "Unix deletion timestamp",
            |deployment, samples| deleted(&deployment.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_deployment_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |deployment, samples| annotations(&deployment.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_deployment_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |deployment, samples| labels(&deployment.metadata, samples),
        ),
    ];

    fn identity(deployment: &Deployment<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", deployment.metadata.namespace);
        samples.add_identity("deployment", deployment.metadata.name);
    }
}

/// Reasons of conditions that are told apart.
const REASONS: &[&str] = &[
    "",
    "ReplicaSetUpdated",
    "ReplicaSetCreateError",
    "NewReplicaSetCreated",
    "FoundNewReplicaSet",
    "NewReplicaSetAvailable",
    "ProgressDeadlineExceeded",
    "DeploymentPaused",
    "DeploymentResumed",
    "MinimumReplicasAvailable",
    "MinimumReplicasUnavailable",
];

/// A sample for each owner, or one with empty texts.
fn owner(deployment: &Deployment<'_>, samples: &mut Samples) {
    const LABELS: &[&str] = &["owner_kind", "owner_name"];
    let owners = &*deployment.metadata.owner_references;
    if owners.is_empty() {
        samples.add(LABELS, &[Value::Word(""); 2], 1.0);
    }
    for owner in owners {
        samples.add(LABELS, &[owner.kind, owner.name].map(Value::Word), 1.0);
    }
}

fn condition(deployment: &Deployment<'_>, samples: &mut Samples) {
    const LABELS: &[&str] = &["reason", "condition", "status"];
    for condition in &*deployment.status.conditions {
        let reason = if REASONS.contains(&condition.reason) { condition.reason } else { "unknown" };
        for (status, number) in condition_rows(condition.status) {
            samples.add(LABELS, &[reason, condition.kind, status].map(Value::Word), number);
        }
    }
}

fn max_unavailable(deployment: &Deployment<'_>, samples: &mut Samples) {
    let update = deployment.spec.strategy.rolling_update.get();
    let most =
        update.and_then(|update| scaled(update.max_unavailable?, deployment.spec.replicas?, f64::floor));
    optional(most, samples);
}

fn max_surge(deployment: &Deployment<'_>, samples: &mut Samples) {
    let update = deployment.spec.strategy.rolling_update.get();
    let most = update.and_then(|update| scaled(update.max_surge?, deployment.spec.replicas?, f64::ceil));
    optional(most, samples);
}

/// A number, or a percentage of the replicas; `None` where it is neither.
///
/// Source: `k8s.io/apimachinery`, `GetScaledValueFromIntOrPercent`.
fn scaled(value: IntOrString<'_>, replicas: i32, round: fn(f64) -> f64) -> Option<i64> {
    match value {
        IntOrString::Int(number) => Some(i64::from(number)),
        IntOrString::Text(text) => {
            let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
            Some(round(percent as f64 * f64::from(replicas) / 100.0) as i64)
        }
    }
}

//! PersistentVolumeClaims.

use super::{Family, Kind, annotations, conditions, created, deleted, labels, truth};
use crate::object::condition::Condition;
use crate::object::meta::Quantity;
use crate::object::{Map, Nested, Repeated, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.PersistentVolumeClaim`.
    pub struct PersistentVolumeClaim {
        2 "spec" spec: Nested<'a, PersistentVolumeClaimSpec<'a>>,
        3 "status" status: Nested<'a, PersistentVolumeClaimStatus<'a>>,
    }
}

message! {
    /// `v1.PersistentVolumeClaimSpec`.
    pub struct PersistentVolumeClaimSpec {
        1 "accessModes" access_modes: Vec<&'a str>,
        2 "resources" resources: Nested<'a, VolumeResourceRequirements<'a>>,
        3 "volumeName" volume_name: &'a str,
        5 "storageClassName" storage_class_name: &'a str,
        6 "volumeMode" volume_mode: &'a str,
    }

    /// `v1.VolumeResourceRequirements`.
    pub struct VolumeResourceRequirements {
        2 "requests" requests: Map<'a, Quantity<'a>>,
    }

    /// `v1.PersistentVolumeClaimStatus`.
    pub struct PersistentVolumeClaimStatus {
        1 "phase" phase: &'a str,
        4 "conditions" conditions: Repeated<'a, Condition<'a>>,
    }
}

pub(crate) struct PersistentVolumeClaims;

impl Kind for PersistentVolumeClaims {
    type Object<'a> = PersistentVolumeClaim<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::stable(
            "kube_persistentvolumeclaim_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |claim, samples| labels(&claim.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_persistentvolumeclaim_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |claim, samples| annotations(&claim.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_persistentvolumeclaim_info",
            "Information about persistent volume claim.",
            info,
        ),
        Family::<Self>::stable(
            "kube_persistentvolumeclaim_status_phase",
            "The phase the persistent volume claim is currently in.",
            phase,
        ),
        Family::<Self>::stable(
            "kube_persistentvolumeclaim_resource_requests_storage_bytes",
            "The capacity of storage requested by the persistent volume claim.",
            requested_bytes,
        ),
        Family::<Self>::stable(
            "kube_persistentvolumeclaim_access_mode",
            "The access mode(s) specified by the persistent volume claim.",
            access_modes,
        ),
        Family::<Self>::alpha(
            "kube_persistentvolumeclaim_status_condition",
            "Information about status of different conditions of persistent volume claim.",
            |claim, samples| conditions(&claim.status.conditions, samples),
        ),
        Family::<Self>::alpha(
            "kube_persistentvolumeclaim_created",
            "Unix creation timestamp",
            |claim, samples| created(&claim.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_persistentvolumeclaim_deletion_timestamp",
            "Unix deletion timestamp",
            |claim, samples| deleted(&claim.metadata, samples),
        ),
    ];

    fn identity(claim: &PersistentVolumeClaim<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", claim.metadata.namespace);
        samples.add_identity("persistentvolumeclaim", claim.metadata.name);
    }
}

/// The class from the annotation that came before the field counts first.
fn info(claim: &PersistentVolumeClaim<'_>, samples: &mut Samples) {
    let annotated = claim.metadata.annotations.get("volume.beta.kubernetes.io/storage-class").copied();
    let values = [
        Value::Word(annotated.unwrap_or(claim.spec.storage_class_name)),
        Value::Text(claim.spec.volume_name),
        Value::Word(claim.spec.volume_mode),
    ];
    samples.add(&["storageclass", "volumename", "volumemode"], &values, 1.0);
}

/// Every phase, once there is one.
fn phase(claim: &PersistentVolumeClaim<'_>, samples: &mut Samples) {
    if claim.status.phase.is_empty() {
        return;
    }
    for phase in ["Lost", "Bound", "Pending"] {
        samples.add(&["phase"], &[Value::Word(phase)], truth(claim.status.phase == phase));
    }
}

fn requested_bytes(claim: &PersistentVolumeClaim<'_>, samples: &mut Samples) {
    let storage = claim.spec.resources.requests.get("storage").and_then(|quantity| quantity.parse());
    if let Some(storage) = storage {
        samples.add(&[], &[], storage.value() as f64);
    }
}

fn access_modes(claim: &PersistentVolumeClaim<'_>, samples: &mut Samples) {
    for mode in &claim.spec.access_modes {
        samples.add(&["access_mode"], &[Value::Word(mode)], 1.0);
    }
}

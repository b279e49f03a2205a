//! PersistentVolumes.

mod source;

use self::source::PersistentVolumeSource;
use super::{Family, Kind, annotations, created, deleted, labels, truth};
use crate::object::meta::Quantity;
use crate::object::reference::ObjectReference;
use crate::object::{Map, Nested, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.PersistentVolume`.
    pub struct PersistentVolume {
        2 "spec" spec: Nested<'a, PersistentVolumeSpec<'a>>,
        3 "status" status: Nested<'a, PersistentVolumeStatus<'a>>,
    }
}

message! {
    /// `v1.PersistentVolumeSpec`.
    pub struct PersistentVolumeSpec {
        1 "capacity" capacity: Map<'a, Quantity<'a>>,
        3 "accessModes" access_modes: Vec<&'a str>,
        4 "claimRef" claim_ref: Nested<'a, ObjectReference<'a>>,
        5 "persistentVolumeReclaimPolicy" reclaim_policy: &'a str,
        6 "storageClassName" storage_class_name: &'a str,
        8 "volumeMode" volume_mode: Option<&'a str>,
        inline 2 source: PersistentVolumeSource<'a>,
    }

    /// `v1.PersistentVolumeStatus`.
    pub struct PersistentVolumeStatus {
        1 "phase" phase: &'a str,
    }
}

pub(crate) struct PersistentVolumes;

impl Kind for PersistentVolumes {
    type Object<'a> = PersistentVolume<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::stable(
            "kube_persistentvolume_claim_ref",
            "Information about the Persistent Volume Claim Reference.",
            claim_ref,
        ),
        Family::<Self>::alpha(
            "kube_persistentvolume_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |volume, samples| annotations(&volume.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_persistentvolume_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |volume, samples| labels(&volume.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_persistentvolume_status_phase",
            "The phase indicates if a volume is available, bound to a claim, or released by a claim.",
            phase,
        ),
        Family::<Self>::stable("kube_persistentvolume_info", "Information about persistentvolume.", info),
        Family::<Self>::stable(
            "kube_persistentvolume_capacity_bytes",
            "Persistentvolume capacity in bytes.",
            capacity_bytes,
        ),
        Family::<Self>::alpha(
            "kube_persistentvolume_created",
            "Unix creation timestamp",
            |volume, samples| created(&volume.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_persistentvolume_deletion_timestamp",
            "Unix deletion timestamp",
            |volume, samples| deleted(&volume.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_persistentvolume_csi_attributes",
            "CSI attributes of the Persistent Volume.",
            csi_attributes,
        )
        .opt_in(),
        Family::<Self>::alpha(
            "kube_persistentvolume_volume_mode",
            "Volume Mode information for the PersistentVolume.",
            volume_mode,
        ),
        Family::<Self>::alpha(
            "kube_persistentvolume_access_mode",
            "The access mode(s) specified by the persistent volume.",
            access_modes,
        ),
    ];

    fn identity(volume: &PersistentVolume<'_>, samples: &mut Samples) {
        samples.add_identity("persistentvolume", volume.metadata.name);
    }
}

fn claim_ref(volume: &PersistentVolume<'_>, samples: &mut Samples) {
    if let Some(claim) = volume.spec.claim_ref.get() {
        let values = [Value::Text(claim.name), Value::Word(claim.namespace)];
        samples.add(&["name", "claim_namespace"], &values, 1.0);
    }
}

/// Every phase, once there is one.
fn phase(volume: &PersistentVolume<'_>, samples: &mut Samples) {
    if volume.status.phase.is_empty() {
        return;
    }
    for phase in ["Pending", "Available", "Bound", "Released", "Failed"] {
        samples.add(&["phase"], &[Value::Word(phase)], truth(volume.status.phase == phase));
    }
}

/// Where the volume is: only the labels of its own source have a value.
fn info(volume: &PersistentVolume<'_>, samples: &mut Samples) {
    const LABELS: &[&str] = &[
        "storageclass",
        "gce_persistent_disk_name",
        "ebs_volume_id",
        "azure_disk_name",
        "fc_wwids",
        "fc_lun",
        "fc_target_wwns",
        "iscsi_target_portal",
        "iscsi_iqn",
        "iscsi_lun",
        "iscsi_initiator_name",
        "nfs_server",
        "nfs_path",
        "csi_driver",
        "csi_volume_handle",
        "local_path",
        "local_fs",
        "host_path",
        "host_path_type",
        "reclaim_policy",
    ];
    let spec = &volume.spec;
    spec.source.describe(|source| {
        let mut values = [Value::Word(""); 20];
        values[0] = Value::Word(spec.storage_class_name);
        values[1..19].copy_from_slice(source);
        values[19] = Value::Word(spec.reclaim_policy);
        samples.add(LABELS, &values, 1.0);
    });
}

fn capacity_bytes(volume: &PersistentVolume<'_>, samples: &mut Samples) {
    let storage = volume.spec.capacity.get("storage").and_then(|quantity| quantity.parse());
    samples.add(&[], &[], storage.map_or(0, |storage| storage.value()) as f64);
}

fn csi_attributes(volume: &PersistentVolume<'_>, samples: &mut Samples) {
    if let Some(csi) = volume.spec.source.csi.get() {
        let attribute = |key| Value::Word(csi.volume_attributes.get(key).copied().unwrap_or_default());
        samples.add(
            &["csi_mounter", "csi_map_options"],
            &[attribute("mounter"), attribute("mapOptions")],
            1.0,
        );
    }
}

/// With what Kubernetes takes for a mode that is not set.
fn volume_mode(volume: &PersistentVolume<'_>, samples: &mut Samples) {
    samples.add(&["volumemode"], &[Value::Word(volume.spec.volume_mode.unwrap_or("Filesystem"))], 1.0);
}

fn access_modes(volume: &PersistentVolume<'_>, samples: &mut Samples) {
    for mode in &volume.spec.access_modes {
        samples.add(&["access_mode"], &[Value::Word(mode)], 1.0);
    }
}

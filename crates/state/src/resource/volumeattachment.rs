//! VolumeAttachments.

use super::{Family, Kind, created, truth};
use crate::labels::label_pairs;
use crate::object::{Map, Nested, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.VolumeAttachment`.
    pub struct VolumeAttachment {
        2 "spec" spec: Nested<'a, VolumeAttachmentSpec<'a>>,
        3 "status" status: Nested<'a, VolumeAttachmentStatus<'a>>,
    }
}

message! {
    /// `v1.VolumeAttachmentSpec`.
    pub struct VolumeAttachmentSpec {
        1 "attacher" attacher: &'a str,
        2 "source" source: Nested<'a, VolumeAttachmentSource<'a>>,
        3 "nodeName" node_name: &'a str,
    }

    /// `v1.VolumeAttachmentSource`.
    pub struct VolumeAttachmentSource {
        1 "persistentVolumeName" persistent_volume_name: Option<&'a str>,
    }

    /// `v1.VolumeAttachmentStatus`.
    pub struct VolumeAttachmentStatus {
        1 "attached" attached: bool,
        2 "attachmentMetadata" metadata: Map<'a>,
    }
}

pub(crate) struct VolumeAttachments;

impl Kind for VolumeAttachments {
    type Object<'a> = VolumeAttachment<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha(
            "kube_volumeattachment_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |attachment, samples| all_pairs("label", &attachment.metadata.labels, samples),
        ),
        Family::<Self>::alpha("kube_volumeattachment_info", "Information about volumeattachment.", info),
        Family::<Self>::alpha(
            "kube_volumeattachment_created",
            "Unix creation timestamp",
            |attachment, samples| created(&attachment.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_volumeattachment_spec_source_persistentvolume",
            "PersistentVolume source reference.",
            persistent_volume,
        ),
        Family::<Self>::alpha(
            "kube_volumeattachment_status_attached",
            "Information about volumeattachment.",
            attached,
        ),
        Family::<Self>::alpha(
            "kube_volumeattachment_status_attachment_metadata",
            "volumeattachment metadata.",
            |attachment, samples| all_pairs("metadata", &attachment.status.metadata, samples),
        ),
    ];

    fn identity(attachment: &VolumeAttachment<'_>, samples: &mut Samples) {
        samples.add_identity("volumeattachment", attachment.metadata.name);
    }
}

/// All pairs of a map; no list of allowed keys counts here.
fn all_pairs(prefix: &str, pairs: &Map<'_>, samples: &mut Samples) {
    let pairs = label_pairs(prefix, pairs.iter().map(|(key, value)| (key, *value)).collect());
    samples.add_pairs(&[], &[], &pairs, 1.0);
}

fn info(attachment: &VolumeAttachment<'_>, samples: &mut Samples) {
    let values = [attachment.spec.attacher, attachment.spec.node_name].map(Value::Word);
    samples.add(&["attacher", "node"], &values, 1.0);
}

fn persistent_volume(attachment: &VolumeAttachment<'_>, samples: &mut Samples) {
    if let Some(name) = attachment.spec.source.persistent_volume_name {
        samples.add(&["volumename"], &[Value::Text(name)], 1.0);
    }
}

fn attached(attachment: &VolumeAttachment<'_>, samples: &mut Samples) {
    samples.add(&[], &[], truth(attachment.status.attached));
}

//! ClusterRoles; only their metadata is read.

use super::{Family, Kind, annotations, created, labels, resource_version};
use crate::object::object;
use crate::samples::Samples;

object! {
    /// `v1.ClusterRole`, or its `PartialObjectMetadata`.
    pub struct ClusterRole {}
}

pub(crate) struct ClusterRoles;

impl Kind for ClusterRoles {
    type Object<'a> = ClusterRole<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha(
            "kube_clusterrole_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |role, samples| annotations(&role.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_clusterrole_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |role, samples| labels(&role.metadata, samples),
        ),
        Family::<Self>::alpha("kube_clusterrole_info", "Information about cluster role.", |_, samples| {
            samples.add(&[], &[], 1.0)
        }),
        Family::<Self>::alpha("kube_clusterrole_created", "Unix creation timestamp", |role, samples| {
            created(&role.metadata, samples)
        }),
        Family::<Self>::alpha(
            "kube_clusterrole_metadata_resource_version",
            "Resource version representing a specific version of the cluster role.",
            |role, samples| resource_version(&role.metadata, samples),
        ),
    ];

    fn identity(role: &ClusterRole<'_>, samples: &mut Samples) {
        samples.add_identity("clusterrole", role.metadata.name);
    }
}

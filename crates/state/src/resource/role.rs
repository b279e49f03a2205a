//! Roles; only their metadata is read.

use super::{Family, Kind, annotations, created, labels, resource_version};
use crate::object::object;
use crate::samples::Samples;

object! {
    /// `v1.Role`, or its `PartialObjectMetadata`.
    pub struct Role {}
}

pub(crate) struct Roles;

impl Kind for Roles {
    type Object<'a> = Role<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha(
            "kube_role_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |role, samples| annotations(&role.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_role_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |role, samples| labels(&role.metadata, samples),
        ),
        Family::<Self>::alpha("kube_role_info", "Information about role.", |_, samples| {
            samples.add(&[], &[], 1.0)
        }),
        Family::<Self>::alpha("kube_role_created", "Unix creation timestamp", |role, samples| {
            created(&role.metadata, samples)
        }),
        Family::<Self>::alpha(
            "kube_role_metadata_resource_version",
            "Resource version representing a specific version of the role.",
            |role, samples| resource_version(&role.metadata, samples),
        ),
    ];

    fn identity(role: &Role<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", role.metadata.namespace);
        samples.add_identity("role", role.metadata.name);
    }
}

//! ClusterRoleBindings.

use super::rolebinding::info;
use super::{Family, Kind, annotations, created, labels, resource_version};
use crate::object::rbac::Binding;
use crate::samples::Samples;

pub(crate) struct ClusterRoleBindings;

impl Kind for ClusterRoleBindings {
    type Object<'a> = Binding<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha(
            "kube_clusterrolebinding_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |binding, samples| annotations(&binding.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_clusterrolebinding_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |binding, samples| labels(&binding.metadata, samples),
        ),
        Family::<Self>::alpha("kube_clusterrolebinding_info", "Information about clusterrolebinding.", info),
        Family::<Self>::alpha(
            "kube_clusterrolebinding_created",
            "Unix creation timestamp",
            |binding, samples| created(&binding.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_clusterrolebinding_metadata_resource_version",
            "Resource version representing a specific version of the clusterrolebinding.",
            |binding, samples| resource_version(&binding.metadata, samples),
        ),
    ];

    fn identity(binding: &Binding<'_>, samples: &mut Samples) {
        samples.add_identity("clusterrolebinding", binding.metadata.name);
    }
}

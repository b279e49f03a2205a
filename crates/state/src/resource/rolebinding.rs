//! RoleBindings.

use super::{Family, Kind, annotations, created, labels, resource_version};
use crate::object::rbac::Binding;
use crate::samples::{Samples, Value};

pub(crate) struct RoleBindings;

impl Kind for RoleBindings {
    type Object<'a> = Binding<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha(
            "kube_rolebinding_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |binding, samples| annotations(&binding.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_rolebinding_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |binding, samples| labels(&binding.metadata, samples),
        ),
        Family::<Self>::alpha("kube_rolebinding_info", "Information about rolebinding.", info),
        Family::<Self>::alpha("kube_rolebinding_created", "Unix creation timestamp", |binding, samples| {
            created(&binding.metadata, samples)
        }),
        Family::<Self>::alpha(
            "kube_rolebinding_metadata_resource_version",
            "Resource version representing a specific version of the rolebinding.",
            |binding, samples| resource_version(&binding.metadata, samples),
        ),
    ];

    fn identity(binding: &Binding<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", binding.metadata.namespace);
        samples.add_identity("rolebinding", binding.metadata.name);
    }
}

/// Which role a binding grants; for ClusterRoleBindings too.
pub(super) fn info(binding: &Binding<'_>, samples: &mut Samples) {
    let role = &binding.role_ref;
    samples.add(&["roleref_kind", "roleref_name"], &[role.kind, role.name].map(Value::Word), 1.0);
}

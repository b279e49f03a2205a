//! MutatingAdmissionPolicyBindings.

use super::validatingadmissionpolicybinding::info;
use super::{Family, Kind, created};
use crate::object::admission::PolicyBinding;
use crate::samples::Samples;

pub(crate) struct MutatingAdmissionPolicyBindings;

impl Kind for MutatingAdmissionPolicyBindings {
    type Object<'a> = PolicyBinding<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha(
            "kube_mutatingadmissionpolicybinding_info",
            "Information about the MutatingAdmissionPolicyBinding.",
            info,
        ),
        Family::<Self>::alpha(
            "kube_mutatingadmissionpolicybinding_created",
            "Unix creation timestamp.",
            |binding, samples| created(&binding.metadata, samples),
        ),
    ];

    fn identity(binding: &PolicyBinding<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", binding.metadata.namespace);
        samples.add_identity("mutatingadmissionpolicybinding", binding.metadata.name);
    }
}

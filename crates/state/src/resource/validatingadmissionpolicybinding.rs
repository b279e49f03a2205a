//! ValidatingAdmissionPolicyBindings.

use super::{Family, Kind, created};
use crate::object::admission::PolicyBinding;
use crate::samples::{Samples, Value};

pub(crate) struct ValidatingAdmissionPolicyBindings;

impl Kind for ValidatingAdmissionPolicyBindings {
    type Object<'a> = PolicyBinding<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha(
            "kube_validatingadmissionpolicybinding_info",
            "Information about the ValidatingAdmissionPolicyBinding.",
            info,
        ),
        Family::<Self>::alpha(
            "kube_validatingadmissionpolicybinding_created",
            "Unix creation timestamp.",
            |binding, samples| created(&binding.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_validatingadmissionpolicybinding_validation_action",
            "Validation actions for the ValidatingAdmissionPolicyBinding.",
            validation_actions,
        ),
    ];

    fn identity(binding: &PolicyBinding<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", binding.metadata.namespace);
        samples.add_identity("validatingadmissionpolicybinding", binding.metadata.name);
    }
}

/// Which policy is bound, with which parameters; for MutatingAdmissionPolicyBindings too.
pub(super) fn info(binding: &PolicyBinding<'_>, samples: &mut Samples) {
    const LABELS: &[&str] = &["policy_name", "param_name", "param_namespace", "param_not_found_action"];
    let parameter = &binding.spec.param_ref;
    let values = [binding.spec.policy_name, parameter.name, parameter.namespace, parameter.not_found_action];
    samples.add(LABELS, &values.map(Value::Word), 1.0);
}

fn validation_actions(binding: &PolicyBinding<'_>, samples: &mut Samples) {
    for action in &binding.spec.validation_actions {
        samples.add(&["action"], &[Value::Word(action)], 1.0);
    }
}

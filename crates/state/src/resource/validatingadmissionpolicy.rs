//! ValidatingAdmissionPolicies.

use super::{Family, Kind, created};
use crate::object::admission::ParamKind;
use crate::object::{Nested, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.ValidatingAdmissionPolicy`.
    pub struct ValidatingAdmissionPolicy {
        2 "spec" spec: Nested<'a, ValidatingAdmissionPolicySpec<'a>>,
    }
}

message! {
    /// `v1.ValidatingAdmissionPolicySpec`.
    pub struct ValidatingAdmissionPolicySpec {
        1 "paramKind" param_kind: Nested<'a, ParamKind<'a>>,
        4 "failurePolicy" failure_policy: &'a str,
    }
}

pub(crate) struct ValidatingAdmissionPolicies;

impl Kind for ValidatingAdmissionPolicies {
    type Object<'a> = ValidatingAdmissionPolicy<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha(
            "kube_validatingadmissionpolicy_info",
            "Information about the ValidatingAdmissionPolicy.",
            info,
        ),
        Family::<Self>::alpha(
            "kube_validatingadmissionpolicy_created",
            "Unix creation timestamp.",
            |policy, samples| created(&policy.metadata, samples),
        ),
    ];

    fn identity(policy: &ValidatingAdmissionPolicy<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", policy.metadata.namespace);
        samples.add_identity("validatingadmissionpolicy", policy.metadata.name);
    }
}

/// What it takes parameters from, and what happens when it fails.
fn info(policy: &ValidatingAdmissionPolicy<'_>, samples: &mut Samples) {
    const LABELS: &[&str] = &["param_api_version", "param_kind", "failure_policy"];
    let parameter = &policy.spec.param_kind;
    let values = [parameter.api_version, parameter.kind, policy.spec.failure_policy];
    samples.add(LABELS, &values.map(Value::Word), 1.0);
}

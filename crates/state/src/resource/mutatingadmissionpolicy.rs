//! MutatingAdmissionPolicies.

use super::{Family, Kind, created};
use crate::object::admission::ParamKind;
use crate::object::{Nested, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.MutatingAdmissionPolicy`.
    pub struct MutatingAdmissionPolicy {
        2 "spec" spec: Nested<'a, MutatingAdmissionPolicySpec<'a>>,
    }
}

message! {
    /// `v1.MutatingAdmissionPolicySpec`.
    pub struct MutatingAdmissionPolicySpec {
        1 "paramKind" param_kind: Nested<'a, ParamKind<'a>>,
        5 "failurePolicy" failure_policy: &'a str,
        7 "reinvocationPolicy" reinvocation_policy: &'a str,
    }
}

pub(crate) struct MutatingAdmissionPolicies;

impl Kind for MutatingAdmissionPolicies {
    type Object<'a> = MutatingAdmissionPolicy<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha(
            "kube_mutatingadmissionpolicy_info",
            "Information about the MutatingAdmissionPolicy.",
            info,
        ),
        Family::<Self>::alpha(
            "kube_mutatingadmissionpolicy_created",
            "Unix creation timestamp.",
            |policy, samples| created(&policy.metadata, samples),
        ),
    ];

    fn identity(policy: &MutatingAdmissionPolicy<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", policy.metadata.namespace);
        samples.add_identity("mutatingadmissionpolicy", policy.metadata.name);
    }
}

/// What it takes parameters from, and what happens when it fails.
fn info(policy: &MutatingAdmissionPolicy<'_>, samples: &mut Samples) {
    const LABELS: &[&str] = &["param_api_version", "param_kind", "failure_policy", "reinvocation_policy"];
    let parameter = &policy.spec.param_kind;
    let values =
        [parameter.api_version, parameter.kind, policy.spec.failure_policy, policy.spec.reinvocation_policy];
    samples.add(LABELS, &values.map(Value::Word), 1.0);
}

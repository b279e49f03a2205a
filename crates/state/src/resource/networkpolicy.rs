//! NetworkPolicies.

use super::{Family, Kind, annotations, labels};
use crate::object::{Count, Nested, message, object};
use crate::samples::Samples;

object! {
    /// `v1.NetworkPolicy`.
    pub struct NetworkPolicy {
        2 "spec" spec: Nested<'a, NetworkPolicySpec<'a>>,
    }
}

message! {
    /// `v1.NetworkPolicySpec`.
    pub struct NetworkPolicySpec {
        2 "ingress" ingress: Count,
        3 "egress" egress: Count,
    }
}

pub(crate) struct NetworkPolicies;

impl Kind for NetworkPolicies {
    type Object<'a> = NetworkPolicy<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha(
            "kube_networkpolicy_created",
            "Unix creation timestamp of network policy",
            created,
        ),
        Family::<Self>::alpha(
            "kube_networkpolicy_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |policy, samples| annotations(&policy.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_networkpolicy_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |policy, samples| labels(&policy.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_networkpolicy_spec_ingress_rules",
            "Number of ingress rules on the networkpolicy",
            ingress_rules,
        ),
        Family::<Self>::alpha(
            "kube_networkpolicy_spec_egress_rules",
            "Number of egress rules on the networkpolicy",
            egress_rules,
        ),
    ];

    fn identity(policy: &NetworkPolicy<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", policy.metadata.namespace);
        samples.add_identity("networkpolicy", policy.metadata.name);
    }
}

/// Said also of a policy without a creation time, as the zero time of Go.
fn created(policy: &NetworkPolicy<'_>, samples: &mut Samples) {
    samples.add(&[], &[], policy.metadata.creation_timestamp.unix_or_zero_time() as f64);
}

fn ingress_rules(policy: &NetworkPolicy<'_>, samples: &mut Samples) {
    samples.add(&[], &[], policy.spec.ingress.0 as f64);
}

fn egress_rules(policy: &NetworkPolicy<'_>, samples: &mut Samples) {
    samples.add(&[], &[], policy.spec.egress.0 as f64);
}

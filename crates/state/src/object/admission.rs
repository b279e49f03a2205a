//! Types of `k8s.io/api/admissionregistration/v1` that several kinds use.

use super::{Nested, Repeated, message, object};

object! {
    /// `v1.MutatingWebhookConfiguration` and `v1.ValidatingWebhookConfiguration`, the same as far as they are read.
    pub struct WebhookConfiguration {
        2 "webhooks" webhooks: Repeated<'a, Webhook<'a>>,
    }
}

object! {
    /// `v1.MutatingAdmissionPolicyBinding` and `v1.ValidatingAdmissionPolicyBinding`; only the latter has actions.
    pub struct PolicyBinding {
        2 "spec" spec: Nested<'a, PolicyBindingSpec<'a>>,
    }
}

message! {
    /// The spec of a policy binding.
    pub struct PolicyBindingSpec {
        1 "policyName" policy_name: &'a str,
        2 "paramRef" param_ref: Nested<'a, ParamRef<'a>>,
        4 "validationActions" validation_actions: Vec<&'a str>,
    }

    /// `v1.ParamRef`.
    pub struct ParamRef {
        1 "name" name: &'a str,
        2 "namespace" namespace: &'a str,
        4 "parameterNotFoundAction" not_found_action: &'a str,
    }

    /// `v1.ParamKind`.
    pub struct ParamKind {
        1 "apiVersion" api_version: &'a str,
        2 "kind" kind: &'a str,
    }

    /// `v1.MutatingWebhook` and `v1.ValidatingWebhook`.
    pub struct Webhook {
        1 "name" name: &'a str,
        2 "clientConfig" client_config: Nested<'a, WebhookClientConfig<'a>>,
    }

    /// `v1.WebhookClientConfig`.
    pub struct WebhookClientConfig {
        1 "service" service: Nested<'a, ServiceReference<'a>>,
    }

    /// `v1.ServiceReference`.
    pub struct ServiceReference {
        1 "namespace" namespace: &'a str,
        2 "name" name: &'a str,
    }
}

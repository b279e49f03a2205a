//! Admission, access, leases and what holds data.

use serde_json::{Value, json};

use super::Random;

/// Rules that match nothing that is there, so that no request of the rig meets the policy or webhook.
fn rules() -> Value {
    json!([{"apiGroups": ["nothing.example"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["nothings"]}])
}

fn constraints() -> Value {
    json!({"resourceRules": rules()})
}

pub(super) fn webhooks(random: &mut Random) -> Value {
    random.list(0, 3, |random, index| json!({
        "name": format!("hook{index}.example.com"),
        "clientConfig": match random.chance(60) {
            true => json!({"service": {"name": "hook", "namespace": "odd-1", "path": random.one_of(&[Value::Null, json!("/x")])}}),
            false => json!({"url": "https://hooks.example.com/x"}),
        },
        "rules": rules(),
        "failurePolicy": "Ignore",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }))
}

fn param_kind(random: &mut Random) -> Value {
    random.maybe(60, |random| {
        random.one_of(&[
            json!({"apiVersion": "v1", "kind": "ConfigMap"}),
            json!({"apiVersion": "rules.example.com/v1", "kind": "Rule"}),
        ])
    })
}

pub(super) fn validating_policy(random: &mut Random) -> Value {
    json!({
        "failurePolicy": random.one_of(&[Value::Null, json!("Fail"), json!("Ignore")]),
        "paramKind": param_kind(random),
        "matchConstraints": constraints(),
        "validations": [{"expression": "true"}],
    })
}

pub(super) fn mutating_policy(random: &mut Random) -> Value {
    let expression = "Object{metadata: Object.metadata{labels: {\"a\": \"b\"}}}";
    json!({
        "failurePolicy": random.one_of(&[Value::Null, json!("Fail"), json!("Ignore")]),
        "reinvocationPolicy": random.text(&["Never", "IfNeeded"]),
        "paramKind": param_kind(random),
        "matchConstraints": constraints(),
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}],
    })
}

pub(super) fn policy_binding(random: &mut Random, validating: bool) -> Value {
    let mut spec = json!({
        "policyName": format!("no-such-policy-{}", random.below(3)),
        "paramRef": random.maybe(60, |random| json!({
            "name": "param-1",
            "namespace": random.one_of(&[Value::Null, json!("odd-1")]),
            "parameterNotFoundAction": random.text(&["Allow", "Deny"]),
        })),
    });
    if validating {
        spec["validationActions"] = random.one_of(&[
            json!(["Deny"]),
            json!(["Warn", "Audit"]),
            json!(["Audit", "Deny"]),
            json!(["Warn"]),
        ]);
    }
    spec
}

pub(super) fn role_reference(random: &mut Random, cluster: bool) -> Value {
    let kind = if cluster { "ClusterRole" } else { random.pick(&["ClusterRole", "Role"]) };
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": random.text(&["view", "odd:role", "system:x"])})
}

pub(super) fn lease(random: &mut Random) -> Value {
    json!({
        "holderIdentity": random.one_of(&[Value::Null, json!("holder-1"), json!("say \"x\"\n")]),
        "leaseDurationSeconds": 40,
        "renewTime": random.maybe(80, |random| random.text(&[
            "2017-07-14T02:40:00.000000Z", "2024-02-29T12:34:56.999999Z", "1970-01-01T00:00:00.500000Z",
            "0001-01-01T00:00:00.000000Z", "1969-12-31T23:59:58.500000Z",
        ])),
    })
}

/// Type and data of a secret.
pub(super) fn secret(random: &mut Random) -> Value {
    match random.below(5) {
        0 => json!({"type": "Opaque", "stringData": {"a": "not-to-be-seen"}}),
        1 => json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "", "tls.key": ""}}),
        2 => json!({"type": "example.com/odd \"type\""}),
        3 => json!({"type": "kubernetes.io/basic-auth", "stringData": {"username": "a"}}),
        _ => json!({"data": {"blob": "AAECAwQ="}}),
    }
}

pub(super) fn service_account(random: &mut Random) -> Value {
    json!({
        "automountServiceAccountToken": random.flag(),
        "imagePullSecrets": random.maybe(50, |random| random.list(0, 3, |_, index| json!({"name": format!("pull-{index}")}))),
        "secrets": random.maybe(50, |random| random.list(0, 3, |_, index| json!({"name": format!("token-{index}")}))),
    })
}

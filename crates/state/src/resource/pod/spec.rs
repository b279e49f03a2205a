//! What is said of a pod's specification.

use hashbrown::HashSet;

use super::object::{Pod, Volume};
use crate::labels::label_pairs;
use crate::resource::{truth, truth_text};
use crate::samples::{Samples, Value};

/// `kube_pod_overhead_cpu_cores`.
pub(super) fn overhead_cpu(pod: &Pod<'_>, samples: &mut Samples) {
    if let Some(quantity) = pod.spec.overhead.get("cpu").and_then(|quantity| quantity.parse()) {
        samples.add(&[], &[], quantity.to_float());
    }
}

/// `kube_pod_overhead_memory_bytes`.
pub(super) fn overhead_memory(pod: &Pod<'_>, samples: &mut Samples) {
    if let Some(quantity) = pod.spec.overhead.get("memory").and_then(|quantity| quantity.parse()) {
        samples.add(&[], &[], quantity.value() as f64);
    }
}

/// `kube_pod_resourceclaim_info`: a claim that is made from a template is named in the status, once it is made.
pub(super) fn resource_claims(pod: &Pod<'_>, samples: &mut Samples) {
    const LABELS: &[&str] = &["claim_name", "resourceclaim_name", "resourceclaim_template_name"];
    for claim in &*pod.spec.resource_claims {
        let name = match (claim.resource_claim_name, claim.resource_claim_template_name) {
            (None, None) => continue,
            (Some(name), _) => name,
            (None, Some(_)) => made_claim(pod, claim.name),
        };
        let template = claim.resource_claim_template_name.unwrap_or_default();
        samples.add(LABELS, &[Value::Word(claim.name), Value::Text(name), Value::Word(template)], 1.0);
    }
}

fn made_claim<'o>(pod: &'o Pod<'_>, name: &str) -> &'o str {
    let made = pod.status.resource_claim_statuses.iter().rev().filter(|status| status.name == name);
    made.filter_map(|status| status.resource_claim_name).next().unwrap_or_default()
}

/// `kube_pod_restart_policy`.
pub(super) fn restart_policy(pod: &Pod<'_>, samples: &mut Samples) {
    samples.add(&["type"], &[Value::Word(pod.spec.restart_policy)], 1.0);
}

/// `kube_pod_runtimeclass_name_info`.
pub(super) fn runtime_class(pod: &Pod<'_>, samples: &mut Samples) {
    if let Some(name) = pod.spec.runtime_class_name {
        samples.add(&["runtimeclass_name"], &[Value::Word(name)], 1.0);
    }
}

/// `kube_pod_spec_volumes_persistentvolumeclaims_info`.
pub(super) fn volume_claims(pod: &Pod<'_>, samples: &mut Samples) {
    each_volume_claim(pod, samples, |_| 1.0);
}

/// `kube_pod_spec_volumes_persistentvolumeclaims_readonly`.
pub(super) fn volume_claims_read_only(pod: &Pod<'_>, samples: &mut Samples) {
    each_volume_claim(pod, samples, |volume| truth(volume.source.claim.read_only));
}

/// A sample for each volume that is a claim, or is backed by one that lives as long as the pod.
fn each_volume_claim(pod: &Pod<'_>, samples: &mut Samples, number: impl Fn(&Volume<'_>) -> f64) {
    const LABELS: &[&str] = &["volume", "persistentvolumeclaim", "ephemeral"];
    for volume in &*pod.spec.volumes {
        let of_pod;
        let claim = if let Some(claim) = volume.source.claim.get() {
            claim.claim_name
        } else if volume.source.ephemeral.0 {
            of_pod = format!("{}-{}", pod.metadata.name, volume.name);
            &of_pod
        } else {
            continue;
        };
        let ephemeral = truth_text(!volume.source.claim.is_set());
        let values = [Value::Word(volume.name), Value::Text(claim), Value::Word(ephemeral)];
        samples.add(LABELS, &values, number(volume));
    }
}

/// `kube_pod_tolerations`: each once.
pub(super) fn tolerations(pod: &Pod<'_>, samples: &mut Samples) {
    const LABELS: &[&str] = &["key", "operator", "value", "effect", "toleration_seconds"];
    let tolerations = &*pod.spec.tolerations;
    let mut seen = HashSet::with_capacity(tolerations.len());
    let mut digits = itoa::Buffer::new();
    for toleration in tolerations {
        let texts = [toleration.key, toleration.operator, toleration.value, toleration.effect];
        if !seen.insert((texts, toleration.toleration_seconds)) {
            continue;
        }
        let seconds = toleration.toleration_seconds.map_or("", |seconds| digits.format(seconds));
        let [key, operator, value, effect] = texts;
        samples.add(LABELS, &[key, operator, value, effect, seconds].map(Value::Word), 1.0);
    }
}

/// `kube_pod_nodeselectors`.
pub(super) fn node_selector(pod: &Pod<'_>, samples: &mut Samples) {
    let pairs = pod.spec.node_selector.iter().map(|(key, value)| (key, *value)).collect();
    samples.add_pairs(&[], &[], &label_pairs("nodeselector", pairs), 1.0);
}

/// `kube_pod_service_account`.
pub(super) fn service_account(pod: &Pod<'_>, samples: &mut Samples) {
    samples.add(&["service_account"], &[Value::Word(pod.spec.service_account_name)], 1.0);
}

/// `kube_pod_scheduler`.
pub(super) fn scheduler(pod: &Pod<'_>, samples: &mut Samples) {
    samples.add(&["name"], &[Value::Word(pod.spec.scheduler_name)], 1.0);
}

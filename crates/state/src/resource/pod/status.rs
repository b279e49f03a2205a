//! What is said of a pod's status.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::object::{Pod, PodCondition};
use crate::resource::{condition_rows, truth, truth_text};
use crate::samples::{Samples, Value};

/// Reasons of a pod, of its conditions or of its ended containers that are told apart.
const REASONS: &[&str] = &[
    "Evicted",
    "NodeAffinity",
    "NodeLost",
    "PreemptionByScheduler",
    "SchedulingGated",
    "Shutdown",
    "TerminationByKubelet",
    "UnexpectedAdmissionError",
];

/// Reasons of a disruption that are told apart.
const DISRUPTION_REASONS: &[&str] = &[
    "PreemptionByScheduler",
    "DeletionByTaintManager",
    "EvictionByEvictionAPI",
    "DeletionByPodGC",
    "TerminationByKubelet",
];

/// `kube_pod_completion_time`: when the last container ended.
pub(super) fn completion_time(pod: &Pod<'_>, samples: &mut Samples) {
    let ended = pod.status.container_statuses.iter().filter_map(|status| status.state.terminated.get());
    match ended.map(|terminated| terminated.finished_at.unix_or_zero_time()).max() {
        Some(seconds) if seconds > 0 => samples.add(&[], &[], seconds as f64),
        _ => {}
    }
}

/// `kube_pod_info`.
pub(super) fn info(pod: &Pod<'_>, samples: &mut Samples) {
    const LABELS: &[&str] = &[
        "host_ip",
        "pod_ip",
        "node",
        "created_by_kind",
        "created_by_name",
        "priority_class",
        "host_network",
    ];
    let controller = pod.metadata.owner_references.iter().find(|owner| owner.controller == Some(true));
    let (kind, name) = controller.map_or(("", ""), |owner| (owner.kind, owner.name));
    let values = [
        Value::Word(pod.status.host_ip),
        Value::Text(pod.status.pod_ip),
        Value::Word(pod.spec.node_name),
        Value::Word(kind),
        Value::Word(name),
        Value::Word(pod.spec.priority_class_name),
        Value::Word(truth_text(pod.spec.host_network)),
    ];
    samples.add(LABELS, &values, 1.0);
}

/// `kube_pod_ips`: addresses that are some.
pub(super) fn ips(pod: &Pod<'_>, samples: &mut Samples) {
    for address in &*pod.status.pod_ips {
        if let Some(family) = ip_family(address.ip) {
            samples.add(&["ip", "ip_family"], &[Value::Text(address.ip), Value::Word(family)], 1.0);
        }
    }
}

/// The family of an address as Go's `netip.ParseAddr` reads it: with a zone behind one of version 6, and one of version
/// 4 written as version 6 is still of version 4.
fn ip_family(text: &str) -> Option<&'static str> {
    if text.parse::<Ipv4Addr>().is_ok() {
        return Some("4");
    }
    let address = match text.split_once('%') {
        Some((_, "")) => return None,
        Some((address, _)) => address,
        None => text,
    };
    let address: Ipv6Addr = address.parse().ok()?;
    Some(if address.to_ipv4_mapped().is_some() { "4" } else { "6" })
}

/// `kube_pod_start_time`.
pub(super) fn start_time(pod: &Pod<'_>, samples: &mut Samples) {
    if let Some(time) = pod.status.start_time {
        samples.add(&[], &[], time.unix_or_zero_time() as f64);
    }
}

/// `kube_pod_status_phase`.
pub(super) fn phase(pod: &Pod<'_>, samples: &mut Samples) {
    const PHASES: &[&str] = &["Pending", "Succeeded", "Failed", "Unknown", "Running"];
    one_of(&["phase"], PHASES, pod.status.phase, samples);
}

/// `kube_pod_status_qos_class`.
pub(super) fn qos_class(pod: &Pod<'_>, samples: &mut Samples) {
    one_of(&["qos_class"], &["BestEffort", "Burstable", "Guaranteed"], pod.status.qos_class, samples);
}

/// A row for each of the texts, one for that which it is; none where it is nothing.
fn one_of(label: &'static [&'static str], texts: &[&str], text: &str, samples: &mut Samples) {
    if text.is_empty() {
        return;
    }
    for each in texts {
        samples.add(label, &[Value::Word(each)], truth(*each == text));
    }
}

fn conditions<'o, 'a>(pod: &'o Pod<'a>, kind: &'static str) -> impl Iterator<Item = &'o PodCondition<'a>> {
    pod.status.conditions.iter().filter(move |condition| condition.kind == kind)
}

/// The three rows of each condition of a kind.
pub(super) fn condition(pod: &Pod<'_>, kind: &'static str, samples: &mut Samples) {
    for condition in conditions(pod, kind) {
        for (status, number) in condition_rows(condition.status) {
            samples.add(&["condition"], &[Value::Word(status)], number);
        }
    }
}

/// Since when a condition has a status.
pub(super) fn transition_time(pod: &Pod<'_>, kind: &'static str, status: &str, samples: &mut Samples) {
    for condition in conditions(pod, kind).filter(|condition| condition.status == status) {
        samples.add(&[], &[], condition.last_transition_time.unix_or_zero_time() as f64);
    }
}

/// `kube_pod_status_unschedulable`.
pub(super) fn unschedulable(pod: &Pod<'_>, samples: &mut Samples) {
    for _ in conditions(pod, "PodScheduled").filter(|condition| condition.status == "False") {
        samples.add(&[], &[], 1.0);
    }
}

/// `kube_pod_status_reason`.
pub(super) fn reason(pod: &Pod<'_>, samples: &mut Samples) {
    let own = pod.status.reason;
    for each in REASONS.iter().filter(|reason| own == **reason || has_reason(pod, reason)) {
        samples.add(&["reason"], &[Value::Word(each)], 1.0);
    }
    if !own.is_empty() && !REASONS.contains(&own) {
        samples.add(&["reason"], &[Value::Word("Other")], 1.0);
    }
}

/// Whether a condition or an ended container has a reason.
fn has_reason(pod: &Pod<'_>, reason: &str) -> bool {
    let ended = |status: &super::object::ContainerStatus<'_>| {
        status.state.terminated.get().is_some_and(|terminated| terminated.reason == reason)
    };
    pod.status.conditions.iter().any(|condition| condition.reason == reason)
        || pod.status.container_statuses.iter().any(ended)
}

/// `kube_pod_status_disruption_reason`.
pub(super) fn disruption_reason(pod: &Pod<'_>, samples: &mut Samples) {
    for condition in conditions(pod, "DisruptionTarget") {
        let known = DISRUPTION_REASONS.contains(&condition.reason);
        let reason = if known { condition.reason } else { "Other" };
        samples.add(&["reason"], &[Value::Word(reason)], 1.0);
    }
}

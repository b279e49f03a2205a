//! What is said of a pod's containers and, in families of their own, of its init containers.

use super::object::{Container, ContainerStatus, Pod, Terminated};
use crate::labels::sanitize_label_name;
use crate::object::Map;
use crate::object::meta::Quantity;
use crate::resource::truth;
use crate::resource::units::units;
use crate::samples::{Samples, Value};

/// `kube_pod_container_info`: containers that have a status.
pub(super) fn info(pod: &Pod<'_>, samples: &mut Samples) {
    const LABELS: &[&str] = &["container", "image_spec", "image", "image_id", "container_id"];
    for (container, status) in with_status(&pod.spec.containers, &pod.status.container_statuses) {
        samples.add(LABELS, &info_values(container, status), 1.0);
    }
}

/// `kube_pod_init_container_info`.
pub(super) fn init_info(pod: &Pod<'_>, samples: &mut Samples) {
    const LABELS: &[&str] =
        &["container", "image_spec", "image", "image_id", "container_id", "restart_policy"];
    for (container, status) in with_status(&pod.spec.init_containers, &pod.status.init_container_statuses) {
        let [name, image_spec, image, image_id, container_id] = info_values(container, status);
        let restart_policy = Value::Word(container.restart_policy.unwrap_or_default());
        samples.add(LABELS, &[name, image_spec, image, image_id, container_id, restart_policy], 1.0);
    }
}

fn info_values<'o>(container: &'o Container<'_>, status: &'o ContainerStatus<'_>) -> [Value<'o>; 5] {
    [
        Value::Word(status.name),
        Value::Word(container.image),
        Value::Word(status.image),
        Value::Word(status.image_id),
        Value::Text(status.container_id),
    ]
}

/// Each container with its status.
fn with_status<'o, 'a>(
    containers: &'o [Container<'a>],
    statuses: &'o [ContainerStatus<'a>],
) -> impl Iterator<Item = (&'o Container<'a>, &'o ContainerStatus<'a>)> {
    containers.iter().flat_map(move |container| {
        let own = statuses.iter().filter(|status| status.name == container.name);
        own.map(move |status| (container, status))
    })
}

/// Which of a container's quantities are told.
#[derive(Clone, Copy)]
pub(super) enum Quantities {
    Limits,
    Requests,
}

/// `kube_pod_container_resource_limits` and `_requests`.
pub(super) fn resources(
    pod: &Pod<'_>,
    containers: &[Container<'_>],
    which: Quantities,
    samples: &mut Samples,
) {
    for container in containers {
        let quantities = match which {
            Quantities::Limits => &container.resources.limits,
            Quantities::Requests => &container.resources.requests,
        };
        container_resources(container.name, pod.spec.node_name, quantities, samples);
    }
}

fn container_resources(
    container: &str,
    node: &str,
    quantities: &Map<'_, Quantity<'_>>,
    samples: &mut Samples,
) {
    const LABELS: &[&str] = &["container", "node", "resource", "unit"];
    for (resource, quantity) in quantities.iter() {
        let Some(quantity) = quantity.parse() else { continue };
        let label = sanitize_label_name(resource);
        for unit in units(resource) {
            let number = if unit == "core" { quantity.to_float() } else { quantity.value() as f64 };
            samples.add(LABELS, &[container, node, &label, unit].map(Value::Word), number);
        }
    }
}

/// A family of one sample for each status.
pub(super) fn each(
    statuses: &[ContainerStatus<'_>],
    samples: &mut Samples,
    number: impl Fn(&ContainerStatus<'_>) -> f64,
) {
    for status in statuses {
        add(status, number(status), samples);
    }
}

fn add(status: &ContainerStatus<'_>, number: f64, samples: &mut Samples) {
    samples.add(&["container"], &[Value::Word(status.name)], number);
}

fn add_reason(status: &ContainerStatus<'_>, reason: &str, samples: &mut Samples) {
    samples.add(&["container", "reason"], &[Value::Word(status.name), Value::Word(reason)], 1.0);
}

/// `kube_pod_container_status_ready`.
pub(super) fn ready(statuses: &[ContainerStatus<'_>], samples: &mut Samples) {
    each(statuses, samples, |status| truth(status.ready));
}

/// `kube_pod_container_status_restarts_total`.
pub(super) fn restarts(statuses: &[ContainerStatus<'_>], samples: &mut Samples) {
    each(statuses, samples, |status| f64::from(status.restart_count));
}

/// `kube_pod_container_status_running`.
pub(super) fn running(statuses: &[ContainerStatus<'_>], samples: &mut Samples) {
    each(statuses, samples, |status| truth(status.state.running.is_set()));
}

/// `kube_pod_container_status_terminated`.
pub(super) fn terminated(statuses: &[ContainerStatus<'_>], samples: &mut Samples) {
    each(statuses, samples, |status| truth(status.state.terminated.is_set()));
}

/// `kube_pod_container_status_waiting`.
pub(super) fn waiting(statuses: &[ContainerStatus<'_>], samples: &mut Samples) {
    each(statuses, samples, |status| truth(status.state.waiting.is_set()));
}

/// `kube_pod_container_status_waiting_reason`.
pub(super) fn waiting_reason(statuses: &[ContainerStatus<'_>], samples: &mut Samples) {
    for status in statuses {
        if let Some(waiting) = status.state.waiting.get() {
            add_reason(status, waiting.reason, samples);
        }
    }
}

/// `kube_pod_container_status_terminated_reason`.
pub(super) fn terminated_reason(statuses: &[ContainerStatus<'_>], samples: &mut Samples) {
    for status in statuses {
        if let Some(terminated) = status.state.terminated.get() {
            add_reason(status, terminated.reason, samples);
        }
    }
}

/// `kube_pod_container_state_started`: of the running or else the ended container.
pub(super) fn started(statuses: &[ContainerStatus<'_>], samples: &mut Samples) {
    for status in statuses {
        let running = status.state.running.get().map(|running| running.started_at);
        let terminated = || status.state.terminated.get().map(|terminated| terminated.started_at);
        if let Some(time) = running.or_else(terminated) {
            add(status, time.unix_or_zero_time() as f64, samples);
        }
    }
}

/// Containers that ended once before, with how.
fn last_terminated<'o, 'a>(
    statuses: &'o [ContainerStatus<'a>],
) -> impl Iterator<Item = (&'o ContainerStatus<'a>, &'o Terminated<'a>)> {
    statuses
        .iter()
        .filter_map(|status| status.last_state.terminated.get().map(|terminated| (status, terminated)))
}

/// `kube_pod_container_status_last_terminated_reason`.
pub(super) fn last_terminated_reason(statuses: &[ContainerStatus<'_>], samples: &mut Samples) {
    for (status, terminated) in last_terminated(statuses) {
        add_reason(status, terminated.reason, samples);
    }
}

/// `kube_pod_container_status_last_terminated_exitcode`.
pub(super) fn last_terminated_exit_code(statuses: &[ContainerStatus<'_>], samples: &mut Samples) {
    for (status, terminated) in last_terminated(statuses) {
        add(status, f64::from(terminated.exit_code), samples);
    }
}

/// `kube_pod_container_status_last_terminated_timestamp`.
pub(super) fn last_terminated_time(statuses: &[ContainerStatus<'_>], samples: &mut Samples) {
    for (status, terminated) in last_terminated(statuses) {
        add(status, terminated.finished_at.unix_or_zero_time() as f64, samples);
    }
}

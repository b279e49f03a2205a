//! Pods.

use super::{Family, Kind, annotations, created, deleted, labels, owners};
use crate::samples::Samples;

mod container;
mod object;
mod spec;
mod status;

use container::Quantities::{Limits, Requests};
use object::Pod;

pub(crate) struct Pods;

impl Kind for Pods {
    type Object<'a> = Pod<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::stable(
            "kube_pod_completion_time",
            "Completion time in unix timestamp for a pod.",
            status::completion_time,
        ),
        Family::<Self>::stable(
            "kube_pod_container_info",
            "Information about a container in a pod.",
            container::info,
        ),
        Family::<Self>::stable(
            "kube_pod_container_resource_limits",
            "The number of requested limit resource by a container. It is recommended to use the kube_pod_resource_limits metric exposed by kube-scheduler instead, as it is more precise.",
            |pod, samples| container::resources(pod, &pod.spec.containers, Limits, samples),
        ),
        Family::<Self>::stable(
            "kube_pod_container_resource_requests",
            "The number of requested request resource by a container. It is recommended to use the kube_pod_resource_requests metric exposed by kube-scheduler instead, as it is more precise.",
            |pod, samples| container::resources(pod, &pod.spec.containers, Requests, samples),
        ),
        Family::<Self>::stable(
            "kube_pod_container_state_started",
            "Start time in unix timestamp for a pod container.",
            |pod, samples| container::started(&pod.status.container_statuses, samples),
        ),
        Family::<Self>::alpha(
            "kube_pod_container_status_last_terminated_reason",
            "Describes the last reason the container was in terminated state.",
            |pod, samples| container::last_terminated_reason(&pod.status.container_statuses, samples),
        ),
        Family::<Self>::alpha(
            "kube_pod_container_status_last_terminated_exitcode",
            "Describes the exit code for the last container in terminated state.",
            |pod, samples| container::last_terminated_exit_code(&pod.status.container_statuses, samples),
        ),
        Family::<Self>::alpha(
            "kube_pod_container_status_last_terminated_timestamp",
            "Last terminated time for a pod container in unix timestamp.",
            |pod, samples| container::last_terminated_time(&pod.status.container_statuses, samples),
        ),
        Family::<Self>::stable(
            "kube_pod_container_status_ready",
            "Describes whether the containers readiness check succeeded.",
            |pod, samples| container::ready(&pod.status.container_statuses, samples),
        ),
        Family::<Self>::stable(
            "kube_pod_container_status_restarts_total",
            "The number of container restarts per container.",
            |pod, samples| container::restarts(&pod.status.container_statuses, samples),
        )
        .counter(),
        Family::<Self>::stable(
            "kube_pod_container_status_running",
            "Describes whether the container is currently in running state.",
            |pod, samples| container::running(&pod.status.container_statuses, samples),
        ),
        Family::<Self>::stable(
            "kube_pod_container_status_terminated",
            "Describes whether the container is currently in terminated state.",
            |pod, samples| container::terminated(&pod.status.container_statuses, samples),
        ),
        Family::<Self>::alpha(
            "kube_pod_container_status_terminated_reason",
            "Describes the reason the container is currently in terminated state.",
            |pod, samples| container::terminated_reason(&pod.status.container_statuses, samples),
        ),
        Family::<Self>::stable(
            "kube_pod_container_status_waiting",
            "Describes whether the container is currently in waiting state.",
            |pod, samples| container::waiting(&pod.status.container_statuses, samples),
        ),
        Family::<Self>::stable(
            "kube_pod_container_status_waiting_reason",
            "Describes the reason the container is currently in waiting state.",
            |pod, samples| container::waiting_reason(&pod.status.container_statuses, samples),
        ),
        Family::<Self>::stable("kube_pod_created", "Unix creation timestamp", |pod, samples| {
            created(&pod.metadata, samples)
        }),
        Family::<Self>::alpha("kube_pod_deletion_timestamp", "Unix deletion timestamp", |pod, samples| {
            deleted(&pod.metadata, samples)
        }),
        Family::<Self>::stable("kube_pod_info", "Information about pod.", status::info),
        Family::<Self>::alpha("kube_pod_ips", "Pod IP addresses", status::ips),
        Family::<Self>::stable(
            "kube_pod_init_container_info",
            "Information about an init container in a pod.",
            container::init_info,
        ),
        Family::<Self>::alpha(
            "kube_pod_init_container_resource_limits",
            "The number of requested limit resource by an init container.",
            |pod, samples| container::resources(pod, &pod.spec.init_containers, Limits, samples),
        ),
        Family::<Self>::alpha(
            "kube_pod_init_container_resource_requests",
            "The number of requested request resource by an init container.",
            |pod, samples| container::resources(pod, &pod.spec.init_containers, Requests, samples),
        ),
        Family::<Self>::alpha(
            "kube_pod_init_container_state_started",
            "Start time in unix timestamp for a pod init container.",
            |pod, samples| container::started(&pod.status.init_container_statuses, samples),
        ),
        Family::<Self>::alpha(
            "kube_pod_init_container_status_last_terminated_reason",
            "Describes the last reason the init container was in terminated state.",
            |pod, samples| container::last_terminated_reason(&pod.status.init_container_statuses, samples),
        ),
        Family::<Self>::alpha(
            "kube_pod_init_container_status_last_terminated_exitcode",
            "Describes the exit code for the last init container in terminated state.",
            |pod, samples| container::last_terminated_exit_code(&pod.status.init_container_statuses, samples),
        ),
        Family::<Self>::alpha(
            "kube_pod_init_container_status_last_terminated_timestamp",
            "Last terminated time for a pod init container in unix timestamp.",
            |pod, samples| container::last_terminated_time(&pod.status.init_container_statuses, samples),
        ),
        Family::<Self>::stable(
            "kube_pod_init_container_status_ready",
            "Describes whether the init containers readiness check succeeded.",
            |pod, samples| container::ready(&pod.status.init_container_statuses, samples),
        ),
        Family::<Self>::stable(
            "kube_pod_init_container_status_restarts_total",
            "The number of restarts for the init container.",
            |pod, samples| container::restarts(&pod.status.init_container_statuses, samples),
        )
        .counter(),
        Family::<Self>::stable(
            "kube_pod_init_container_status_running",
            "Describes whether the init container is currently in running state.",
            |pod, samples| container::running(&pod.status.init_container_statuses, samples),
        ),
        Family::<Self>::stable(
            "kube_pod_init_container_status_terminated",
            "Describes whether the init container is currently in terminated state.",
            |pod, samples| container::terminated(&pod.status.init_container_statuses, samples),
        ),
        Family::<Self>::alpha(
            "kube_pod_init_container_status_terminated_reason",
            "Describes the reason the init container is currently in terminated state.",
            |pod, samples| container::terminated_reason(&pod.status.init_container_statuses, samples),
        ),
        Family::<Self>::stable(
            "kube_pod_init_container_status_waiting",
            "Describes whether the init container is currently in waiting state.",
            |pod, samples| container::waiting(&pod.status.init_container_statuses, samples),
        ),
        Family::<Self>::alpha(
            "kube_pod_init_container_status_waiting_reason",
            "Describes the reason the init container is currently in waiting state.",
            |pod, samples| container::waiting_reason(&pod.status.init_container_statuses, samples),
        ),
        Family::<Self>::alpha(
            "kube_pod_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |pod, samples| annotations(&pod.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_pod_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |pod, samples| labels(&pod.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_pod_overhead_cpu_cores",
            "The pod overhead in regards to cpu cores associated with running a pod.",
            spec::overhead_cpu,
        ),
        Family::<Self>::alpha(
            "kube_pod_overhead_memory_bytes",
            "The pod overhead in regards to memory associated with running a pod.",
            spec::overhead_memory,
        ),
        Family::<Self>::stable("kube_pod_owner", "Information about the Pod's owner.", |pod, samples| {
            owners(&pod.metadata, samples)
        }),
        Family::<Self>::alpha(
            "kube_pod_resourceclaim_info",
            "Information about a DRA ResourceClaim referenced by a pod, one series per pod.spec.resourceClaims entry; claim_name is the pod-local reference and resourceclaim_name is the resolved ResourceClaim object name.",
            spec::resource_claims,
        ),
        Family::<Self>::stable(
            "kube_pod_restart_policy",
            "Describes the restart policy in use by this pod.",
            spec::restart_policy,
        ),
        Family::<Self>::alpha(
            "kube_pod_runtimeclass_name_info",
            "The runtimeclass associated with the pod.",
            spec::runtime_class,
        ),
        Family::<Self>::stable(
            "kube_pod_spec_volumes_persistentvolumeclaims_info",
            "Information about persistentvolumeclaim and ephemeral volumes in a pod.",
            spec::volume_claims,
        ),
        Family::<Self>::stable(
            "kube_pod_spec_volumes_persistentvolumeclaims_readonly",
            "Describes whether a persistentvolumeclaim is mounted read only. Ephemeral volumes always report 0 since the ephemeral volume source does not support a read-only flag.",
            spec::volume_claims_read_only,
        ),
        Family::<Self>::stable(
            "kube_pod_start_time",
            "Start time in unix timestamp for a pod.",
            status::start_time,
        ),
        Family::<Self>::stable("kube_pod_status_phase", "The pods current phase.", status::phase),
        Family::<Self>::alpha("kube_pod_status_qos_class", "The pods current qosClass.", status::qos_class),
        Family::<Self>::stable(
            "kube_pod_status_ready",
            "Describes whether the pod is ready to serve requests.",
            |pod, samples| status::condition(pod, "Ready", samples),
        ),
        Family::<Self>::alpha(
            "kube_pod_status_ready_time",
            "Readiness achieved time in unix timestamp for a pod.",
            |pod, samples| status::transition_time(pod, "Ready", "True", samples),
        ),
        Family::<Self>::alpha(
            "kube_pod_status_initialized_time",
            "Initialized time in unix timestamp for a pod.",
            |pod, samples| status::transition_time(pod, "Initialized", "True", samples),
        ),
        Family::<Self>::alpha(
            "kube_pod_status_container_ready_time",
            "Readiness achieved time in unix timestamp for a pod containers.",
            |pod, samples| status::transition_time(pod, "ContainersReady", "True", samples),
        ),
        Family::<Self>::alpha("kube_pod_status_reason", "The pod status reasons", status::reason),
        Family::<Self>::alpha(
            "kube_pod_status_disruption_reason",
            "The pod disruption condition reason",
            status::disruption_reason,
        ),
        Family::<Self>::stable(
            "kube_pod_status_scheduled",
            "Describes the status of the scheduling process for the pod.",
            |pod, samples| status::condition(pod, "PodScheduled", samples),
        ),
        Family::<Self>::stable(
            "kube_pod_status_scheduled_time",
            "Unix timestamp when pod moved into scheduled status",
            |pod, samples| status::transition_time(pod, "PodScheduled", "True", samples),
        ),
        Family::<Self>::stable(
            "kube_pod_status_unschedulable",
            "Describes the unschedulable status for the pod.",
            status::unschedulable,
        ),
        Family::<Self>::alpha(
            "kube_pod_status_unscheduled_time",
            "Unix timestamp when pod moved into unscheduled status",
            |pod, samples| status::transition_time(pod, "PodScheduled", "False", samples),
        ),
        Family::<Self>::alpha(
            "kube_pod_tolerations",
            "Information about the pod tolerations",
            spec::tolerations,
        ),
        Family::<Self>::alpha(
            "kube_pod_nodeselectors",
            "Describes the Pod nodeSelectors.",
            spec::node_selector,
        )
        .opt_in(),
        Family::<Self>::alpha(
            "kube_pod_service_account",
            "The service account for a pod.",
            spec::service_account,
        ),
        Family::<Self>::alpha("kube_pod_scheduler", "The scheduler for a pod.", spec::scheduler),
    ];

    fn identity(pod: &Pod<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", pod.metadata.namespace);
        samples.add_identity("pod", pod.metadata.name);
        samples.add_identity("uid", pod.metadata.uid);
    }
}

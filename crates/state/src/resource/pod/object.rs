//! Pods as their families read them.

use crate::object::meta::{Quantity, Time};
use crate::object::{Inner, Map, Nested, Present, Repeated, message, object};

object! {
    /// `v1.Pod`.
    pub struct Pod {
        2 "spec" spec: Nested<'a, PodSpec<'a>>,
        3 "status" status: Nested<'a, PodStatus<'a>>,
    }
}

message! {
    /// `v1.PodSpec`.
    pub struct PodSpec {
        1 "volumes" volumes: Repeated<'a, Volume<'a>>,
        2 "containers" containers: Repeated<'a, Container<'a>>,
        3 "restartPolicy" restart_policy: &'a str,
        7 "nodeSelector" node_selector: Map<'a>,
        8 "serviceAccountName" service_account_name: &'a str,
        10 "nodeName" node_name: &'a str,
        11 "hostNetwork" host_network: bool,
        19 "schedulerName" scheduler_name: &'a str,
        20 "initContainers" init_containers: Repeated<'a, Container<'a>>,
        22 "tolerations" tolerations: Repeated<'a, Toleration<'a>>,
        24 "priorityClassName" priority_class_name: &'a str,
        29 "runtimeClassName" runtime_class_name: Option<&'a str>,
        32 "overhead" overhead: Map<'a, Quantity<'a>>,
        39 "resourceClaims" resource_claims: Repeated<'a, PodResourceClaim<'a>>,
    }

    /// `v1.Container`.
    pub struct Container {
        1 "name" name: &'a str,
        2 "image" image: &'a str,
        8 "resources" resources: Inner<ResourceRequirements<'a>>,
        24 "restartPolicy" restart_policy: Option<&'a str>,
    }

    /// `v1.ResourceRequirements`.
    pub struct ResourceRequirements {
        1 "limits" limits: Map<'a, Quantity<'a>>,
        2 "requests" requests: Map<'a, Quantity<'a>>,
    }

    /// `v1.Toleration`.
    pub struct Toleration {
        1 "key" key: &'a str,
        2 "operator" operator: &'a str,
        3 "value" value: &'a str,
        4 "effect" effect: &'a str,
        5 "tolerationSeconds" toleration_seconds: Option<i64>,
    }

    /// `v1.Volume`.
    pub struct Volume {
        1 "name" name: &'a str,
        inline 2 source: VolumeSource<'a>,
    }

    /// `v1.VolumeSource`.
    pub struct VolumeSource {
        10 "persistentVolumeClaim" claim: Nested<'a, ClaimSource<'a>>,
        29 "ephemeral" ephemeral: Present,
    }

    /// `v1.PersistentVolumeClaimVolumeSource`.
    pub struct ClaimSource {
        1 "claimName" claim_name: &'a str,
        2 "readOnly" read_only: bool,
    }

    /// `v1.PodResourceClaim`.
    pub struct PodResourceClaim {
        1 "name" name: &'a str,
        3 "resourceClaimName" resource_claim_name: Option<&'a str>,
        4 "resourceClaimTemplateName" resource_claim_template_name: Option<&'a str>,
    }

    /// `v1.PodStatus`.
    pub struct PodStatus {
        1 "phase" phase: &'a str,
        2 "conditions" conditions: Repeated<'a, PodCondition<'a>>,
        4 "reason" reason: &'a str,
        5 "hostIP" host_ip: &'a str,
        6 "podIP" pod_ip: &'a str,
        7 "startTime" start_time: Option<Time>,
        8 "containerStatuses" container_statuses: Repeated<'a, ContainerStatus<'a>>,
        9 "qosClass" qos_class: &'a str,
        10 "initContainerStatuses" init_container_statuses: Repeated<'a, ContainerStatus<'a>>,
        12 "podIPs" pod_ips: Repeated<'a, PodIp<'a>>,
        15 "resourceClaimStatuses" resource_claim_statuses: Repeated<'a, PodResourceClaimStatus<'a>>,
    }

    /// `v1.PodCondition`.
    pub struct PodCondition {
        1 "type" kind: &'a str,
        2 "status" status: &'a str,
        4 "lastTransitionTime" last_transition_time: Time,
        5 "reason" reason: &'a str,
    }

    /// `v1.PodIP`.
    pub struct PodIp {
        1 "ip" ip: &'a str,
    }

    /// `v1.PodResourceClaimStatus`.
    pub struct PodResourceClaimStatus {
        1 "name" name: &'a str,
        2 "resourceClaimName" resource_claim_name: Option<&'a str>,
    }

    /// `v1.ContainerStatus`.
    pub struct ContainerStatus {
        1 "name" name: &'a str,
        2 "state" state: Inner<ContainerState<'a>>,
        3 "lastState" last_state: Inner<ContainerState<'a>>,
        4 "ready" ready: bool,
        5 "restartCount" restart_count: i32,
        6 "image" image: &'a str,
        7 "imageID" image_id: &'a str,
        8 "containerID" container_id: &'a str,
    }

    /// `v1.ContainerState`.
    pub struct ContainerState {
        1 "waiting" waiting: Inner<Waiting<'a>>,
        2 "running" running: Inner<Running<'a>>,
        3 "terminated" terminated: Inner<Terminated<'a>>,
    }

    /// `v1.ContainerStateWaiting`.
    pub struct Waiting {
        1 "reason" reason: &'a str,
    }

    /// `v1.ContainerStateRunning`.
    pub struct Running {
        1 "startedAt" started_at: Time,
    }

    /// `v1.ContainerStateTerminated`.
    pub struct Terminated {
        1 "exitCode" exit_code: i32,
        3 "reason" reason: &'a str,
        5 "startedAt" started_at: Time,
        6 "finishedAt" finished_at: Time,
    }
}

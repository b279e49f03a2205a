//! Role `pod`, and the labels that pods lend to endpoints (Prometheus `discovery/kubernetes/pod.go`).

use outrigger_config::prometheus::AttachMetadata;
use outrigger_mirror::{ContainerView, Mirror, PodView, PortView};
use outrigger_wire::kubernetes::ResourceKind;

use super::meta_labels::MetaLabels;
use super::{GroupWriter, RoleView, join_host_port};

impl RoleView {
    pub(super) fn write_pod(&self, mirror: &Mirror, pod: PodView<'_>, writer: &mut GroupWriter) {
        if !self.selection.has_namespace(pod.namespace()) || !self.selection.has_pod(pod) {
            return;
        }
        if pod.pod_ip().is_empty() {
            return;
        }
        if self.attach.node {
            // A pod on a node that is not selected (or not known yet) has no targets.
            let node = mirror.nodes().find("", pod.node_name());
            if !node.is_some_and(|node| self.selection.has_node(node)) {
                return;
            }
        }
        let group = &mut writer.group;
        group.pod(mirror, pod, self.attach);
        group.set("namespace", pod.namespace());
        if self.attach.node {
            group.attach_node(mirror, pod.node_name());
        }
        if self.attach.namespace {
            group.attach_namespace(mirror, pod.namespace());
        }
        for container in pod.containers() {
            let mut ports = container.ports().peekable();
            if ports.peek().is_none() {
                write_container(pod, &container, None, &mut writer.target);
                writer.push_target();
            }
            for port in ports {
                write_container(pod, &container, Some(port), &mut writer.target);
                writer.push_target();
            }
        }
    }
}

fn write_container(
    pod: PodView<'_>,
    container: &ContainerView<'_>,
    port: Option<PortView<'_>>,
    target: &mut MetaLabels,
) {
    match port {
        None => target.address(pod.pod_ip()),
        Some(port) => {
            target.address(&join_host_port(pod.pod_ip(), port.number));
            target.container_port(port, port.protocol);
        }
    }
    target.container(container);
    target.set("pod_container_id", container.id);
}

impl MetaLabels {
    /// The labels of a pod (Prometheus `podLabels`).
    pub(super) fn pod(&mut self, mirror: &Mirror, pod: PodView<'_>, attach: AttachMetadata) {
        self.set("pod_ip", pod.pod_ip());
        self.set("pod_ready", pod.ready());
        self.set("pod_phase", pod.phase());
        self.set("pod_node_name", pod.node_name());
        self.set("pod_host_ip", pod.host_ip());
        self.set("pod_uid", pod.uid());
        self.object("pod", pod.name(), pod.labels(), pod.annotations());
        let Some(controller) = pod.controller() else { return };
        self.set("pod_controller_kind", controller.kind);
        self.set("pod_controller_name", controller.name);
        let controller_of = |resource, kind: &str| {
            let owner = mirror.owners(resource).find(pod.namespace(), controller.name)?;
            owner.controller().filter(|owner| owner.kind == kind)
        };
        match controller.kind {
            "ReplicaSet" if attach.deployment => {
                if let Some(deployment) = controller_of(ResourceKind::ReplicaSet, "Deployment") {
                    self.set("pod_deployment_name", deployment.name);
                }
            }
            "Job" => {
                if attach.job {
                    self.set("pod_job_name", controller.name);
                }
                if attach.cronjob
                    && let Some(cron_job) = controller_of(ResourceKind::Job, "CronJob")
                {
                    self.set("pod_cronjob_name", cron_job.name);
                }
            }
            _ => {}
        }
    }

    /// Name, image and kind of a container.
    pub(super) fn container(&mut self, container: &ContainerView<'_>) {
        self.set("pod_container_name", container.name);
        self.set("pod_container_image", container.image);
        self.set("pod_container_init", if container.init { "true" } else { "false" });
    }

    /// A container's port; the endpoints role gives another protocol than the port's own.
    pub(super) fn container_port(&mut self, port: PortView<'_>, protocol: &str) {
        self.set("pod_container_port_name", port.name);
        self.set("pod_container_port_number", &port.number.to_string());
        self.set("pod_container_port_protocol", protocol);
    }
}

//! Role `endpoints` (Prometheus `discovery/kubernetes/endpoints.go`).

use std::collections::HashMap;

use outrigger_mirror::{EndpointAddressView, EndpointsView, Mirror, PodView, PortView, RowId, TargetView};

use super::{GroupWriter, RoleView, join_host_port};

impl RoleView {
    pub(super) fn write_endpoints(
        &self,
        mirror: &Mirror,
        endpoints: EndpointsView<'_>,
        writer: &mut GroupWriter,
    ) {
        let namespace = endpoints.namespace();
        if !self.selection.has_namespace(namespace) || !self.selection.has_endpoints(endpoints) {
            return;
        }
        let group = &mut writer.group;
        group.set("namespace", namespace);
        let service = mirror.services().find(namespace, endpoints.name());
        if let Some(service) = service.filter(|service| self.selection.has_service(*service)) {
            group.service(service);
        }
        group.object("endpoints", endpoints.name(), endpoints.labels(), endpoints.annotations());
        if self.attach.namespace {
            group.attach_namespace(mirror, namespace);
        }
        let mut pods = SeenPods::default();
        for subset in endpoints.subsets() {
            for port in subset.ports() {
                for address in subset.addresses() {
                    let pod = self.backing_pod(mirror, namespace, address.target);
                    self.write_address(mirror, address, port, pod, writer);
                    if let Some(pod) = pod {
                        pods.saw(pod, Some(port.number));
                    }
                }
            }
        }
        self.write_unlisted_ports(mirror, pods, writer);
    }

    fn write_address(
        &self,
        mirror: &Mirror,
        address: EndpointAddressView<'_>,
        port: PortView<'_>,
        pod: Option<PodView<'_>>,
        writer: &mut GroupWriter,
    ) {
        let target = &mut writer.target;
        target.address(&join_host_port(address.ip, port.number));
        target.set("endpoint_port_name", port.name);
        target.set("endpoint_port_protocol", port.protocol);
        target.set("endpoint_ready", if address.ready { "true" } else { "false" });
        target.set("endpoint_address_target_kind", address.target.kind);
        target.set("endpoint_address_target_name", address.target.name);
        target.set("endpoint_node_name", address.node_name);
        target.set("endpoint_hostname", address.hostname);
        if self.attach.node {
            if !address.node_name.is_empty() {
                target.attach_node(mirror, address.node_name);
            } else if address.target.kind == "Node" {
                target.attach_node(mirror, address.target.name);
            }
        }
        if let Some(pod) = pod {
            target.pod(mirror, pod, self.attach);
            for container in pod.containers() {
                if let Some(container_port) = container.ports().find(|own| own.number == port.number) {
                    target.container(&container);
                    target.container_port(container_port, port.protocol);
                }
            }
        }
        writer.push_target();
    }

    /// The pod that an endpoint stands for, as far as this view selects it.
    pub(super) fn backing_pod<'a>(
        &self,
        mirror: &'a Mirror,
        namespace: &str,
        target: TargetView<'_>,
    ) -> Option<PodView<'a>> {
        if target.kind != "Pod" || !self.selection.has_dependent_namespace(namespace, target.namespace) {
            return None;
        }
        mirror.pods().find(target.namespace, target.name).filter(|pod| self.selection.has_pod(*pod))
    }

    /// Adds a target for each container port of the pods that is no port of the service.
    pub(super) fn write_unlisted_ports(&self, mirror: &Mirror, pods: SeenPods<'_>, writer: &mut GroupWriter) {
        for SeenPod { pod, ports } in pods.pods {
            if pod.pod_ip().is_empty() {
                continue;
            }
            for container in pod.containers() {
                for port in container.ports().filter(|port| !ports.contains(&port.number)) {
                    let target = &mut writer.target;
                    target.address(&join_host_port(pod.pod_ip(), port.number));
                    target.container(&container);
                    target.container_port(port, port.protocol);
                    target.pod(mirror, pod, self.attach);
                    writer.push_target();
                }
            }
        }
    }
}

/// The pods behind an endpoints object, in order of appearance, each with the service's ports that reach it.
#[derive(Default)]
pub(super) struct SeenPods<'a> {
    pods: Vec<SeenPod<'a>>,
    positions: HashMap<RowId, usize>,
}

struct SeenPod<'a> {
    pod: PodView<'a>,
    ports: Vec<u32>,
}

impl<'a> SeenPods<'a> {
    pub(super) fn saw(&mut self, pod: PodView<'a>, port: Option<u32>) {
        let position = *self.positions.entry(pod.row()).or_insert(self.pods.len());
        if position == self.pods.len() {
            self.pods.push(SeenPod { pod, ports: Vec::new() });
        }
        self.pods[position].ports.extend(port);
    }
}

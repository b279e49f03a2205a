//! Role `endpointslice` (Prometheus `discovery/kubernetes/endpointslice.go`).

use outrigger_mirror::{EndpointSliceView, EndpointView, Mirror, PodView, ServiceView, SlicePortView};

use super::endpoints::SeenPods;
use super::{GroupWriter, RoleView, join_host_port};

impl RoleView {
    pub(super) fn write_endpoint_slice(
        &self,
        mirror: &Mirror,
        slice: EndpointSliceView<'_>,
        writer: &mut GroupWriter,
    ) {
        let namespace = slice.namespace();
        if !self.selection.has_namespace(namespace) || !self.selection.has_endpoint_slice(slice) {
            return;
        }
        let service = mirror
            .services()
            .find(namespace, slice.service_name())
            .filter(|service| self.selection.has_service(*service));
        let group = &mut writer.group;
        group.set("namespace", namespace);
        group.set("endpointslice_address_type", slice.address_type());
        group.object("endpointslice", slice.name(), slice.labels(), slice.annotations());
        if let Some(service) = service {
            group.service(service);
        }
        if self.attach.namespace {
            group.attach_namespace(mirror, namespace);
        }
        if service.is_some_and(|service| is_secondary_family(service, slice)) {
            return;
        }
        let mut pods = SeenPods::default();
        for endpoint in slice.endpoints() {
            let pod = self.backing_pod(mirror, namespace, endpoint.target);
            for port in slice.ports() {
                for address in endpoint.addresses() {
                    self.write_endpoint(mirror, address, &endpoint, port, pod, writer);
                    if let Some(pod) = pod {
                        pods.saw(pod, port.number);
                    }
                }
            }
        }
        self.write_unlisted_ports(mirror, pods, writer);
    }

    fn write_endpoint(
        &self,
        mirror: &Mirror,
        address: &str,
        endpoint: &EndpointView<'_>,
        port: SlicePortView<'_>,
        pod: Option<PodView<'_>>,
        writer: &mut GroupWriter,
    ) {
        let target = &mut writer.target;
        match port.number {
            None => target.address(address),
            Some(number) => {
                target.address(&join_host_port(address, number));
                target.set("endpointslice_port", &number.to_string());
            }
        }
        target.set("endpointslice_port_name", port.name.unwrap_or_default());
        target.set("endpointslice_port_protocol", port.protocol.unwrap_or_default());
        target.set("endpointslice_port_app_protocol", port.app_protocol.unwrap_or_default());
        for (name, condition) in [
            ("endpointslice_endpoint_conditions_ready", endpoint.ready),
            ("endpointslice_endpoint_conditions_serving", endpoint.serving),
            ("endpointslice_endpoint_conditions_terminating", endpoint.terminating),
        ] {
            target.set(name, condition.map_or("", |holds| if holds { "true" } else { "false" }));
        }
        target.set("endpointslice_endpoint_hostname", endpoint.hostname.unwrap_or_default());
        target.set("endpointslice_address_target_kind", endpoint.target.kind);
        target.set("endpointslice_address_target_name", endpoint.target.name);
        target.set("endpointslice_endpoint_node_name", endpoint.node_name.unwrap_or_default());
        target.set("endpointslice_endpoint_zone", endpoint.zone.unwrap_or_default());
        for (key, value) in endpoint.topology() {
            target.sanitized("endpointslice_endpoint_topology_", key, value);
            target.sanitized("endpointslice_endpoint_topology_present_", key, "true");
        }
        if self.attach.node {
            let node = match endpoint.target.kind {
                "Node" => endpoint.target.name,
                _ => endpoint.node_name.unwrap_or_default(),
            };
            target.attach_node(mirror, node);
        }
        if let Some(pod) = pod {
            target.pod(mirror, pod, self.attach);
            for container in pod.containers() {
                let same_port = |own: &outrigger_mirror::PortView<'_>| Some(own.number) == port.number;
                if let Some(container_port) = container.ports().find(same_port) {
                    target.container(&container);
                    target.container_port(container_port, container_port.protocol);
                }
            }
        }
        writer.push_target();
    }
}

/// Whether the slice holds the second address family of a dual-stack service: its targets would double those of
/// the first.
fn is_secondary_family(service: ServiceView<'_>, slice: EndpointSliceView<'_>) -> bool {
    matches!(service.ip_family_policy(), "PreferDualStack" | "RequireDualStack")
        && !service.primary_ip_family().is_empty()
        && slice.address_type() != service.primary_ip_family()
}

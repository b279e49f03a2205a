//! Role `service` (Prometheus `discovery/kubernetes/service.go`).

use outrigger_mirror::{Mirror, ServiceView};

use super::meta_labels::MetaLabels;
use super::{GroupWriter, RoleView, join_host_port};

impl RoleView {
    pub(super) fn write_service(&self, mirror: &Mirror, service: ServiceView<'_>, writer: &mut GroupWriter) {
        if !self.selection.has_namespace(service.namespace()) || !self.selection.has_service(service) {
            return;
        }
        let group = &mut writer.group;
        group.service(service);
        if self.attach.namespace {
            group.attach_namespace(mirror, service.namespace());
        }
        let host = format!("{}.{}.svc", service.name(), service.namespace());
        for port in service.ports() {
            let target = &mut writer.target;
            target.address(&join_host_port(&host, port.number));
            target.set("service_port_name", port.name);
            target.set("service_port_number", &port.number.to_string());
            target.set("service_port_protocol", port.protocol);
            target.set("service_type", service.service_type());
            match service.service_type() {
                "ExternalName" => target.set("service_external_name", service.external_name()),
                _ => target.set("service_cluster_ip", service.cluster_ip()),
            }
            if service.service_type() == "LoadBalancer" {
                target.set("service_loadbalancer_ip", &load_balancer_ips(service));
            }
            writer.push_target();
        }
    }
}

/// The addresses that the load balancer has, or else the one that was asked for.
fn load_balancer_ips(service: ServiceView<'_>) -> String {
    let ips: Vec<_> = service.ingress_ips().collect();
    if ips.is_empty() { service.load_balancer_ip().to_owned() } else { ips.join(",") }
}

impl MetaLabels {
    /// The labels of a service (Prometheus `serviceLabels`).
    pub(super) fn service(&mut self, service: ServiceView<'_>) {
        self.set("namespace", service.namespace());
        self.object("service", service.name(), service.labels(), service.annotations());
    }
}

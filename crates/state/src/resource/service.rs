//! Services.

use super::{Family, Kind, annotations, created, deleted, labels};
use crate::object::{Nested, Repeated, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.Service`.
    pub struct Service {
        2 "spec" spec: Nested<'a, ServiceSpec<'a>>,
        3 "status" status: Nested<'a, ServiceStatus<'a>>,
    }
}

message! {
    /// `v1.ServiceSpec`.
    pub struct ServiceSpec {
        3 "clusterIP" cluster_ip: &'a str,
        4 "type" kind: &'a str,
        5 "externalIPs" external_ips: Vec<&'a str>,
        8 "loadBalancerIP" load_balancer_ip: &'a str,
        10 "externalName" external_name: &'a str,
        11 "externalTrafficPolicy" external_traffic_policy: &'a str,
    }

    /// `v1.ServiceStatus`.
    pub struct ServiceStatus {
        1 "loadBalancer" load_balancer: Nested<'a, LoadBalancerStatus<'a>>,
    }

    /// `v1.LoadBalancerStatus`.
    pub struct LoadBalancerStatus {
        1 "ingress" ingress: Repeated<'a, LoadBalancerIngress<'a>>,
    }

    /// `v1.LoadBalancerIngress`.
    pub struct LoadBalancerIngress {
        1 "ip" ip: &'a str,
        2 "hostname" hostname: &'a str,
    }
}

pub(crate) struct Services;

impl Kind for Services {
    type Object<'a> = Service<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::stable("kube_service_info", "Information about service.", info),
        Family::<Self>::stable("kube_service_created", "Unix creation timestamp", |service, samples| {
            created(&service.metadata, samples)
        }),
        Family::<Self>::stable("kube_service_spec_type", "Type about service.", kind),
        Family::<Self>::alpha(
            "kube_service_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |service, samples| annotations(&service.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_service_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |service, samples| labels(&service.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_service_spec_external_ip",
            "Service external ips. One series for each ip",
            external_ips,
        ),
        Family::<Self>::stable(
            "kube_service_status_load_balancer_ingress",
            "Service load balancer ingress status",
            load_balancer_ingress,
        ),
        Family::<Self>::alpha(
            "kube_service_deletion_timestamp",
            "Unix deletion timestamp",
            |service, samples| deleted(&service.metadata, samples),
        ),
    ];

    fn identity(service: &Service<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", service.metadata.namespace);
        samples.add_identity("service", service.metadata.name);
        samples.add_identity("uid", service.metadata.uid);
    }
}

fn info(service: &Service<'_>, samples: &mut Samples) {
    const LABELS: &[&str] = &["cluster_ip", "external_name", "load_balancer_ip", "external_traffic_policy"];
    let spec = &service.spec;
    let values = [
        Value::Text(spec.cluster_ip),
        Value::Text(spec.external_name),
        Value::Text(spec.load_balancer_ip),
        Value::Word(spec.external_traffic_policy),
    ];
    samples.add(LABELS, &values, 1.0);
}

fn kind(service: &Service<'_>, samples: &mut Samples) {
    samples.add(&["type"], &[Value::Word(service.spec.kind)], 1.0);
}

fn external_ips(service: &Service<'_>, samples: &mut Samples) {
    for ip in &service.spec.external_ips {
        samples.add(&["external_ip"], &[Value::Text(ip)], 1.0);
    }
}

fn load_balancer_ingress(service: &Service<'_>, samples: &mut Samples) {
    for ingress in &*service.status.load_balancer.ingress {
        samples.add(&["ip", "hostname"], &[ingress.ip, ingress.hostname].map(Value::Text), 1.0);
    }
}

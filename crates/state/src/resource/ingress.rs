//! Ingresses.

use super::{Family, Kind, annotations, created, labels, resource_version};
use crate::object::reference::TypedLocalObjectReference;
use crate::object::{Nested, Repeated, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.Ingress`.
    pub struct Ingress {
        2 "spec" spec: Nested<'a, IngressSpec<'a>>,
    }
}

message! {
    /// `v1.IngressSpec`.
    pub struct IngressSpec {
        2 "tls" tls: Repeated<'a, IngressTls<'a>>,
        3 "rules" rules: Repeated<'a, IngressRule<'a>>,
        4 "ingressClassName" class_name: Option<&'a str>,
    }

    /// `v1.IngressTLS`.
    pub struct IngressTls {
        1 "hosts" hosts: Vec<&'a str>,
        2 "secretName" secret_name: &'a str,
    }

    /// `v1.IngressRule`.
    pub struct IngressRule {
        1 "host" host: &'a str,
        inline 2 value: IngressRuleValue<'a>,
    }

    /// `v1.IngressRuleValue`.
    pub struct IngressRuleValue {
        1 "http" http: Nested<'a, HttpIngressRuleValue<'a>>,
    }

    /// `v1.HTTPIngressRuleValue`.
    pub struct HttpIngressRuleValue {
        1 "paths" paths: Repeated<'a, HttpIngressPath<'a>>,
    }

    /// `v1.HTTPIngressPath`.
    pub struct HttpIngressPath {
        1 "path" path: &'a str,
        2 "backend" backend: Nested<'a, IngressBackend<'a>>,
        3 "pathType" path_type: &'a str,
    }

    /// `v1.IngressBackend`.
    pub struct IngressBackend {
        3 "resource" resource: Nested<'a, TypedLocalObjectReference<'a>>,
        4 "service" service: Nested<'a, IngressServiceBackend<'a>>,
    }

    /// `v1.IngressServiceBackend`.
    pub struct IngressServiceBackend {
        1 "name" name: &'a str,
        2 "port" port: Nested<'a, ServiceBackendPort<'a>>,
    }

    /// `v1.ServiceBackendPort`.
    pub struct ServiceBackendPort {
        2 "number" number: i32,
    }
}

pub(crate) struct Ingresses;

impl Kind for Ingresses {
    type Object<'a> = Ingress<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::stable("kube_ingress_info", "Information about ingress.", info),
        Family::<Self>::alpha(
            "kube_ingress_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |ingress, samples| annotations(&ingress.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_ingress_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |ingress, samples| labels(&ingress.metadata, samples),
        ),
        Family::<Self>::stable("kube_ingress_created", "Unix creation timestamp", |ingress, samples| {
            created(&ingress.metadata, samples)
        }),
        Family::<Self>::alpha(
            "kube_ingress_metadata_resource_version",
            "Resource version representing a specific version of ingress.",
            |ingress, samples| resource_version(&ingress.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_ingress_path",
            "Ingress host, paths and backend service information.",
            paths,
        ),
        Family::<Self>::stable("kube_ingress_tls", "Ingress TLS host and secret information.", tls),
    ];

    fn identity(ingress: &Ingress<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", ingress.metadata.namespace);
        samples.add_identity("ingress", ingress.metadata.name);
    }
}

/// The class from the annotation that came before the field counts first.
fn info(ingress: &Ingress<'_>, samples: &mut Samples) {
    let annotated = ingress.metadata.annotations.get("kubernetes.io/ingress.class").copied();
    let class = annotated.or(ingress.spec.class_name).unwrap_or("_default");
    samples.add(&["ingressclass"], &[Value::Word(class)], 1.0);
}

fn paths(ingress: &Ingress<'_>, samples: &mut Samples) {
    for rule in &*ingress.spec.rules {
        for path in &*rule.value.http.paths {
            backend(rule.host, path, samples);
        }
    }
}

/// The service or else the resource behind a path. Nothing is said of a path without either.
fn backend(host: &str, path: &HttpIngressPath<'_>, samples: &mut Samples) {
    const OF_SERVICE: &[&str] = &["host", "path", "path_type", "service_name", "service_port"];
    const OF_RESOURCE: &[&str] =
        &["host", "path", "path_type", "resource_api_group", "resource_kind", "resource_name"];
    let path_backend = &path.backend;
    let [host, path, path_type] = [host, path.path, path.path_type].map(Value::Word);
    if let Some(service) = path_backend.service.get() {
        let mut digits = itoa::Buffer::new();
        let port = digits.format(service.port.number);
        samples.add(OF_SERVICE, &[host, path, path_type, Value::Word(service.name), Value::Word(port)], 1.0);
    } else if let Some(resource) = path_backend.resource.get() {
        let [group, kind, name] = [resource.api_group, resource.kind, resource.name].map(Value::Word);
        samples.add(OF_RESOURCE, &[host, path, path_type, group, kind, name], 1.0);
    }
}

/// Each host of each certificate.
fn tls(ingress: &Ingress<'_>, samples: &mut Samples) {
    for tls in &*ingress.spec.tls {
        for host in &tls.hosts {
            samples.add(&["tls_host", "secret"], &[host, tls.secret_name].map(Value::Word), 1.0);
        }
    }
}

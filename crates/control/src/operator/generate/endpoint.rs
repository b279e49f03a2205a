//! Entries of ServiceMonitors and PodMonitors, one for each endpoint.

use super::http::{safe_tls_with_class, tls_with_class};
use super::{
    Entry, Generator, Rules, attach, class_rules, copy, copy_if_set, filter, first_rule, sanitized,
    selector_rules, set,
};
use crate::operator::resource::{
    Endpoint, IntOrString, MonitorKind, Object, PodMonitorSpec, ServiceMonitorSpec,
};
use crate::operator::yaml::{Map, Yaml};

const POD_PORT_NAME: &str = "__meta_kubernetes_pod_container_port_name";
const POD_PORT_NUMBER: &str = "__meta_kubernetes_pod_container_port_number";

impl Generator<'_> {
    pub(super) fn service_endpoint(
        &self,
        object: &Object<ServiceMonitorSpec>,
        endpoint: &Endpoint,
        index: usize,
    ) -> Entry {
        let (spec, metadata) = (&object.spec, &object.metadata);
        let class = self.class(&spec.common);
        let job = format!("serviceMonitor/{}/{}/{index}", metadata.namespace, metadata.name);
        let role = match spec.service_discovery_role.as_deref() {
            Some("EndpointSlice") => "endpointslice",
            Some(_) => "endpoints",
            None if self.settings.endpoint_slices => "endpointslice",
            None => "endpoints",
        };
        let by_role = spec.selector_mechanism.as_deref() == Some("RoleSelector");
        let selectors =
            if by_role { role_selectors(&[role, "service"], &spec.selector.to_string()) } else { Vec::new() };
        let mut map = self.endpoint_head(&job, endpoint);
        let attached = attach(spec.attach_metadata, class);
        let discovery = self.kubernetes_discovery(
            role,
            &metadata.namespace,
            &spec.namespace_selector,
            attached,
            selectors,
        );
        map.put("kubernetes_sd_configs", discovery);
        let tls = tls_with_class(endpoint.tls_config.as_ref(), class);
        self.endpoint_http(&mut map, endpoint, tls.as_ref(), class);

        let mut rules = first_rule();
        if !by_role {
            rules.extend(selector_rules(&spec.selector, "service"));
        }
        let word = if role == "endpointslice" { "endpointslice" } else { "endpoint" };
        if !endpoint.port.is_empty() {
            let label = format!("__meta_kubernetes_{word}_port_name");
            rules.push(filter("keep", vec![label], &endpoint.port));
        } else {
            rules.extend(endpoint.target_port.as_ref().and_then(pod_port));
        }
        rules.extend(service_labels(word));
        if endpoint.filter_running.unwrap_or(true) {
            rules.push(running_filter());
        }
        rules.extend(spec.target_labels.iter().map(|label| {
            copy_if_set(format!("__meta_kubernetes_service_label_{}", sanitized(label)), &sanitized(label))
        }));
        rules.extend(self.pod_target_labels(&spec.pod_target_labels));
        rules.push(copy("__meta_kubernetes_service_name", "job").with("replacement", "${1}"));
        if !spec.job_label.is_empty() {
            let label = format!("__meta_kubernetes_service_label_{}", sanitized(&spec.job_label));
            rules.push(copy_if_set(label, "job"));
        }
        rules.extend(endpoint_label(endpoint));
        rules.extend(class_rules(class));
        rules.extend(self.enforced(MonitorKind::ServiceMonitor, metadata, &endpoint.relabelings));
        map.put("relabel_configs", rules);
        self.common(&mut map, &spec.common, class);
        self.body_size_limit(&mut map, spec.body_size_limit.as_deref());
        self.name_schemes(&mut map, None, None);
        let kind = MonitorKind::ServiceMonitor;
        self.metric_rules(&mut map, class, kind, metadata, &endpoint.metric_relabelings);
        Entry { job, map }
    }

    pub(super) fn pod_endpoint(
        &self,
        object: &Object<PodMonitorSpec>,
        endpoint: &Endpoint,
        index: usize,
    ) -> Entry {
        let (spec, metadata) = (&object.spec, &object.metadata);
        let class = self.class(&spec.common);
        let job = format!("podMonitor/{}/{}/{index}", metadata.namespace, metadata.name);
        let by_role = spec.selector_mechanism.as_deref() == Some("RoleSelector");
        let selectors =
            if by_role { role_selectors(&["pod"], &spec.selector.to_string()) } else { Vec::new() };
        let mut map = self.endpoint_head(&job, endpoint);
        let attached = attach(spec.attach_metadata, class);
        let discovery = self.kubernetes_discovery(
            "pod",
            &metadata.namespace,
            &spec.namespace_selector,
            attached,
            selectors,
        );
        map.put("kubernetes_sd_configs", discovery);
        let tls = safe_tls_with_class(endpoint.tls_config.as_ref(), class);
        self.endpoint_http(&mut map, endpoint, tls.as_ref(), class);

        let mut rules = first_rule();
        if endpoint.filter_running.unwrap_or(true) {
            rules.push(running_filter());
        }
        if !by_role {
            rules.extend(selector_rules(&spec.selector, "pod"));
        }
        rules.extend(pod_monitor_port(endpoint));
        rules.push(copy("__meta_kubernetes_namespace", "namespace"));
        rules.push(copy("__meta_kubernetes_pod_container_name", "container"));
        rules.push(copy("__meta_kubernetes_pod_name", "pod"));
        rules.extend(self.pod_target_labels(&spec.pod_target_labels));
        rules.push(set("job", &format!("{}/{}", metadata.namespace, metadata.name)));
        if !spec.job_label.is_empty() {
            rules.push(copy_if_set(
                format!("__meta_kubernetes_pod_label_{}", sanitized(&spec.job_label)),
                "job",
            ));
        }
        rules.extend(endpoint_label(endpoint));
        rules.extend(class_rules(class));
        rules.extend(self.enforced(MonitorKind::PodMonitor, metadata, &endpoint.relabelings));
        map.put("relabel_configs", rules);
        self.common(&mut map, &spec.common, class);
        self.body_size_limit(&mut map, spec.body_size_limit.as_deref());
        self.name_schemes(&mut map, None, None);
        self.metric_rules(&mut map, class, MonitorKind::PodMonitor, metadata, &endpoint.metric_relabelings);
        Entry { job, map }
    }

    fn endpoint_head(&self, job: &str, endpoint: &Endpoint) -> Map {
        let mut map = Map::new().with("job_name", job);
        self.honor_labels(&mut map, endpoint.honor_labels);
        self.honor_timestamps(&mut map, endpoint.honor_timestamps);
        map.put_some("track_timestamps_staleness", endpoint.track_timestamps_staleness);
        self.times(&mut map, &endpoint.interval, &endpoint.scrape_timeout);
        map.put_text("metrics_path", &endpoint.path);
        map.put_some("params", endpoint.params.clone().map(|params| params.into_iter().collect::<Map>()));
        map.put_text("scheme", &endpoint.scheme.to_lowercase());
        map
    }

    fn pod_target_labels(&self, own: &[String]) -> Rules {
        let labels = own.iter().chain(&self.settings.pod_target_labels);
        let rule = |label: &String| {
            copy_if_set(format!("__meta_kubernetes_pod_label_{}", sanitized(label)), &sanitized(label))
        };
        labels.map(rule).collect()
    }
}

fn role_selectors(roles: &[&str], label: &str) -> Vec<Map> {
    roles.iter().map(|role| Map::new().with("role", *role).with("label", label)).collect()
}

fn running_filter() -> Map {
    filter("drop", vec!["__meta_kubernetes_pod_phase".to_owned()], "(Failed|Succeeded)")
}

/// Keeps the container port of this name or number.
fn pod_port(port: &IntOrString) -> Option<Map> {
    let (label, value): (&str, Yaml) = match port {
        IntOrString::Text(name) if name.is_empty() => return None,
        IntOrString::Text(name) => (POD_PORT_NAME, name.into()),
        IntOrString::Int(0) => return None,
        IntOrString::Int(number) => (POD_PORT_NUMBER, (*number).into()),
    };
    Some(filter("keep", vec![label.to_owned()], value))
}

fn pod_monitor_port(endpoint: &Endpoint) -> Option<Map> {
    if !endpoint.port.is_empty() {
        return Some(filter("keep", vec![POD_PORT_NAME.to_owned()], &endpoint.port));
    }
    match endpoint.port_number {
        Some(number) if number != 0 => Some(filter("keep", vec![POD_PORT_NUMBER.to_owned()], number)),
        _ => endpoint.target_port.as_ref().and_then(pod_port),
    }
}

/// The label `endpoint`, from the port's name or else its number.
fn endpoint_label(endpoint: &Endpoint) -> Option<Map> {
    if !endpoint.port.is_empty() {
        return Some(set("endpoint", &endpoint.port));
    }
    let port = endpoint.target_port.as_ref()?.to_string();
    (!port.is_empty()).then(|| set("endpoint", &port))
}

/// Labels from the node, pod, namespace, service and container.
fn service_labels(word: &str) -> Rules {
    let target = vec![
        format!("__meta_kubernetes_{word}_address_target_kind"),
        format!("__meta_kubernetes_{word}_address_target_name"),
    ];
    let of_kind = |kind: &str, label: &str| {
        Map::new()
            .with("source_labels", target.clone())
            .with("separator", ";")
            .with("regex", format!("{kind};(.*)"))
            .with("replacement", "${1}")
            .with("target_label", label)
    };
    vec![
        of_kind("Node", "node"),
        of_kind("Pod", "pod"),
        copy("__meta_kubernetes_namespace", "namespace"),
        copy("__meta_kubernetes_service_name", "service"),
        copy("__meta_kubernetes_pod_name", "pod"),
        copy("__meta_kubernetes_pod_container_name", "container"),
    ]
}

//! What a row should show (from a full decoder) and what its view shows, as lines.

use k8s_pb::api::core::v1 as core;
use k8s_pb::api::{discovery::v1 as discovery, networking::v1 as networking};
use k8s_pb::apimachinery::pkg::apis::meta::v1::{ObjectMeta, PartialObjectMetadata};
use outrigger_mirror::{Mirror, ObjectKey, Owner, Pairs, Ports, RowId, TargetView};
use outrigger_wire::kubernetes::ResourceKind;
use prost::Message;

pub(crate) type Facts = Vec<String>;

macro_rules! facts {
    ($facts:expr, $($name:literal = $value:expr),+ $(,)?) => { $( $facts.push(format!("{} = {:?}", $name, $value)); )+ };
}

fn given(text: &Option<String>) -> String {
    text.clone().unwrap_or_default()
}

fn present(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

/// What a view of the object should show, from the message.
pub(crate) fn expected(resource: ResourceKind, message: &[u8]) -> Facts {
    match resource {
        ResourceKind::Pod => pod_expected(&core::Pod::decode(message).unwrap()),
        ResourceKind::Node => node_expected(&core::Node::decode(message).unwrap()),
        ResourceKind::Service => service_expected(&core::Service::decode(message).unwrap()),
        ResourceKind::Endpoints => endpoints_expected(&core::Endpoints::decode(message).unwrap()),
        ResourceKind::EndpointSlice => slice_expected(&discovery::EndpointSlice::decode(message).unwrap()),
        ResourceKind::Ingress => ingress_expected(&networking::Ingress::decode(message).unwrap()),
        ResourceKind::Namespace => {
            let object = core::Namespace::decode(message).unwrap();
            meta_expected(&object.metadata)
        }
        ResourceKind::ReplicaSet | ResourceKind::Job | ResourceKind::CronJob => {
            let object = PartialObjectMetadata::decode(message).unwrap();
            let mut facts = Facts::new();
            facts!(facts, "controller" = controller_expected(&object.metadata));
            facts
        }
        other => panic!("{other} is not mirrored"),
    }
}

fn meta_expected(meta: &Option<ObjectMeta>) -> Facts {
    let meta = meta.clone().unwrap_or_default();
    let mut facts = Facts::new();
    facts!(
        facts,
        "labels" = meta.labels.into_iter().collect::<Vec<_>>(),
        "annotations" = meta.annotations.into_iter().collect::<Vec<_>>(),
    );
    facts
}

fn controller_expected(meta: &Option<ObjectMeta>) -> Option<(String, String, String)> {
    let owners = meta.clone().unwrap_or_default().owner_references;
    let controller = owners.into_iter().find(|owner| owner.controller == Some(true))?;
    Some((given(&controller.api_version), given(&controller.kind), given(&controller.name)))
}

fn uid(meta: &Option<ObjectMeta>) -> String {
    given(&meta.clone().unwrap_or_default().uid)
}

fn unsigned(number: Option<i32>) -> u32 {
    number.unwrap_or(0).cast_unsigned()
}

fn pod_expected(pod: &core::Pod) -> Facts {
    let mut facts = meta_expected(&pod.metadata);
    let spec = pod.spec.clone().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().find(|condition| condition.r#type.as_deref() == Some("Ready"));
    facts!(
        facts,
        "uid" = uid(&pod.metadata),
        "controller" = controller_expected(&pod.metadata),
        "node" = given(&spec.node_name),
        "restart policy" = given(&spec.restart_policy),
        "scheduler" = given(&spec.scheduler_name),
        "account" = given(&spec.service_account_name),
        "host network" = spec.host_network.unwrap_or(false),
        "phase" = given(&status.phase),
        "host ip" = given(&status.host_ip),
        "pod ip" = given(&status.pod_ip),
        "nominated" = given(&status.nominated_node_name),
        "ready" = ready.map_or("unknown".to_owned(), |condition| given(&condition.status).to_lowercase()),
    );
    let ordinary = spec.containers.iter().map(|container| (container, false, &status.container_statuses));
    let init =
        spec.init_containers.iter().map(|container| (container, true, &status.init_container_statuses));
    for (container, init, statuses) in ordinary.chain(init) {
        let id = statuses.iter().find(|status| status.name == container.name).map(|s| given(&s.container_id));
        let port = |p: &core::ContainerPort| (given(&p.name), unsigned(p.container_port), given(&p.protocol));
        facts!(
            facts,
            "container" = (given(&container.name), given(&container.image), id.unwrap_or_default(), init),
            "ports" = container.ports.iter().map(port).collect::<Vec<_>>(),
        );
    }
    facts
}

fn node_expected(node: &core::Node) -> Facts {
    let mut facts = meta_expected(&node.metadata);
    let spec = node.spec.clone().unwrap_or_default();
    let status = node.status.clone().unwrap_or_default();
    let kubelet = status.daemon_endpoints.unwrap_or_default().kubelet_endpoint.unwrap_or_default();
    facts!(
        facts,
        "uid" = uid(&node.metadata),
        "provider" = given(&spec.provider_id),
        "unschedulable" = spec.unschedulable.unwrap_or(false),
        "kubelet port" = unsigned(kubelet.port),
        "addresses" =
            status.addresses.iter().map(|a| (given(&a.r#type), given(&a.address))).collect::<Vec<_>>(),
        "conditions" =
            status.conditions.iter().map(|c| (given(&c.r#type), given(&c.status))).collect::<Vec<_>>(),
    );
    facts
}

fn service_expected(service: &core::Service) -> Facts {
    let mut facts = meta_expected(&service.metadata);
    let spec = service.spec.clone().unwrap_or_default();
    let port = |p: &core::ServicePort| (given(&p.name), unsigned(p.port), given(&p.protocol));
    facts!(
        facts,
        "type" = given(&spec.r#type),
        "cluster ip" = given(&spec.cluster_ip),
        "load balancer ip" = given(&spec.load_balancer_ip),
        "external name" = given(&spec.external_name),
        "ports" = spec.ports.iter().map(port).collect::<Vec<_>>(),
    );
    facts
}

fn target_expected(target: &Option<core::ObjectReference>) -> (String, String, String) {
    let target = target.clone().unwrap_or_default();
    (given(&target.kind), given(&target.namespace), given(&target.name))
}

fn endpoints_expected(endpoints: &core::Endpoints) -> Facts {
    let mut facts = meta_expected(&endpoints.metadata);
    for subset in &endpoints.subsets {
        for (ready, addresses) in [(true, &subset.addresses), (false, &subset.not_ready_addresses)] {
            for address in addresses {
                let target = target_expected(&address.target_ref);
                let (ip, hostname) = (given(&address.ip), given(&address.hostname));
                facts!(facts, "address" = (ready, ip, hostname, given(&address.node_name), target));
            }
        }
        let port = |p: &core::EndpointPort| (given(&p.name), unsigned(p.port), given(&p.protocol));
        facts!(facts, "ports" = subset.ports.iter().map(port).collect::<Vec<_>>());
    }
    facts
}

fn slice_expected(slice: &discovery::EndpointSlice) -> Facts {
    let mut facts = meta_expected(&slice.metadata);
    let labels = slice.metadata.clone().unwrap_or_default().labels;
    facts!(
        facts,
        "address type" = given(&slice.address_type),
        "service" = labels.get("kubernetes.io/service-name").cloned().unwrap_or_default(),
    );
    for endpoint in &slice.endpoints {
        let conditions = endpoint.conditions.unwrap_or_default();
        facts!(
            facts,
            "addresses" = &endpoint.addresses,
            "conditions" = (conditions.ready, conditions.serving, conditions.terminating),
            "place" = (present(&endpoint.hostname), present(&endpoint.node_name), present(&endpoint.zone)),
            "target" = target_expected(&endpoint.target_ref),
            "topology" = endpoint.deprecated_topology.iter().collect::<Vec<_>>(),
        );
    }
    for port in &slice.ports {
        let number = port.port.map(i32::cast_unsigned);
        facts!(
            facts,
            "port" = (present(&port.name), number, present(&port.protocol), present(&port.app_protocol)),
        );
    }
    facts
}

fn ingress_expected(ingress: &networking::Ingress) -> Facts {
    let mut facts = meta_expected(&ingress.metadata);
    let spec = ingress.spec.clone().unwrap_or_default();
    facts!(
        facts,
        "class" = given(&spec.ingress_class_name),
        "tls hosts" = spec.tls.iter().flat_map(|tls| &tls.hosts).collect::<Vec<_>>(),
    );
    for rule in &spec.rules {
        let http = rule.ingress_rule_value.clone().unwrap_or_default().http;
        let paths = http.clone().unwrap_or_default().paths;
        facts!(
            facts,
            "rule" = (given(&rule.host), http.is_some()),
            "paths" = paths.iter().map(|path| given(&path.path)).collect::<Vec<_>>(),
        );
    }
    facts
}

/// Every row of a table: its id, key and what its view shows.
pub(crate) fn table(mirror: &Mirror, resource: ResourceKind) -> Vec<(RowId, ObjectKey, Facts)> {
    macro_rules! rows {
        ($table:expr, |$view:ident| $namespace:expr) => {
            $table
                .iter()
                .map(|(row, $view)| {
                    assert_eq!($view.row(), row);
                    let key = ObjectKey::new($namespace, $view.name());
                    (row, key, shown(mirror, resource, row).unwrap())
                })
                .collect()
        };
    }
    match resource {
        ResourceKind::Pod => rows!(mirror.pods(), |view| view.namespace()),
        ResourceKind::Node => rows!(mirror.nodes(), |view| ""),
        ResourceKind::Service => rows!(mirror.services(), |view| view.namespace()),
        ResourceKind::Endpoints => rows!(mirror.endpoints(), |view| view.namespace()),
        ResourceKind::EndpointSlice => rows!(mirror.endpoint_slices(), |view| view.namespace()),
        ResourceKind::Ingress => rows!(mirror.ingresses(), |view| view.namespace()),
        ResourceKind::Namespace => rows!(mirror.namespaces(), |view| ""),
        ResourceKind::ReplicaSet | ResourceKind::Job | ResourceKind::CronJob => {
            rows!(mirror.owners(resource), |view| view.namespace())
        }
        other => panic!("{other} is not mirrored"),
    }
}

/// The row of an object.
pub(crate) fn get(mirror: &Mirror, resource: ResourceKind, key: &ObjectKey) -> Option<RowId> {
    let (namespace, name) = (&*key.namespace, &*key.name);
    match resource {
        ResourceKind::Pod => mirror.pods().get(namespace, name),
        ResourceKind::Node => mirror.nodes().get(namespace, name),
        ResourceKind::Service => mirror.services().get(namespace, name),
        ResourceKind::Endpoints => mirror.endpoints().get(namespace, name),
        ResourceKind::EndpointSlice => mirror.endpoint_slices().get(namespace, name),
        ResourceKind::Ingress => mirror.ingresses().get(namespace, name),
        ResourceKind::Namespace => mirror.namespaces().get(namespace, name),
        ResourceKind::ReplicaSet | ResourceKind::Job | ResourceKind::CronJob => {
            mirror.owners(resource).get(namespace, name)
        }
        other => panic!("{other} is not mirrored"),
    }
}

macro_rules! meta_shown {
    ($view:expr) => {{
        let mut facts = Facts::new();
        facts!(facts, "labels" = pairs($view.labels()), "annotations" = pairs($view.annotations()),);
        for (key, value) in $view.labels() {
            assert_eq!($view.label(key), Some(value));
        }
        for (key, value) in $view.annotations() {
            assert_eq!($view.annotation(key), Some(value));
        }
        assert_eq!(($view.label("zzz"), $view.label("")), (None, None));
        facts
    }};
}

fn pairs<'a>(pairs: Pairs<'a>) -> Vec<(&'a str, &'a str)> {
    pairs.collect()
}

fn ports<'a>(ports: Ports<'a>) -> Vec<(&'a str, u32, &'a str)> {
    ports.map(|port| (port.name, port.number, port.protocol)).collect()
}

fn owner(owner: Option<Owner<'_>>) -> Option<(&str, &str, &str)> {
    owner.map(|owner| (owner.api_version, owner.kind, owner.name))
}

fn target(target: TargetView<'_>) -> (&str, &str, &str) {
    (target.kind, target.namespace, target.name)
}

/// What the view of a row shows.
pub(crate) fn shown(mirror: &Mirror, resource: ResourceKind, row: RowId) -> Option<Facts> {
    match resource {
        ResourceKind::Pod => pod_shown(mirror, row),
        ResourceKind::Node => node_shown(mirror, row),
        ResourceKind::Service => service_shown(mirror, row),
        ResourceKind::Endpoints => endpoints_shown(mirror, row),
        ResourceKind::EndpointSlice => slice_shown(mirror, row),
        ResourceKind::Ingress => ingress_shown(mirror, row),
        ResourceKind::Namespace => mirror.namespaces().view(row).map(|view| meta_shown!(view)),
        ResourceKind::ReplicaSet | ResourceKind::Job | ResourceKind::CronJob => {
            let view = mirror.owners(resource).view(row)?;
            let mut facts = Facts::new();
            facts!(facts, "controller" = owner(view.controller()));
            Some(facts)
        }
        other => panic!("{other} is not mirrored"),
    }
}

fn pod_shown(mirror: &Mirror, row: RowId) -> Option<Facts> {
    let pod = mirror.pods().view(row)?;
    let mut facts = meta_shown!(pod);
    facts!(
        facts,
        "uid" = pod.uid(),
        "controller" = owner(pod.controller()),
        "node" = pod.node_name(),
        "restart policy" = pod.restart_policy(),
        "scheduler" = pod.scheduler_name(),
        "account" = pod.service_account_name(),
        "host network" = pod.host_network(),
        "phase" = pod.phase(),
        "host ip" = pod.host_ip(),
        "pod ip" = pod.pod_ip(),
        "nominated" = pod.nominated_node_name(),
        "ready" = pod.ready(),
    );
    for container in pod.containers() {
        facts!(
            facts,
            "container" = (container.name, container.image, container.id, container.init),
            "ports" = ports(container.ports()),
        );
    }
    Some(facts)
}

fn node_shown(mirror: &Mirror, row: RowId) -> Option<Facts> {
    let node = mirror.nodes().view(row)?;
    let mut facts = meta_shown!(node);
    facts!(
        facts,
        "uid" = node.uid(),
        "provider" = node.provider_id(),
        "unschedulable" = node.unschedulable(),
        "kubelet port" = node.kubelet_port(),
        "addresses" = pairs(node.addresses()),
        "conditions" = pairs(node.conditions()),
    );
    Some(facts)
}

fn service_shown(mirror: &Mirror, row: RowId) -> Option<Facts> {
    let service = mirror.services().view(row)?;
    let mut facts = meta_shown!(service);
    facts!(
        facts,
        "type" = service.service_type(),
        "cluster ip" = service.cluster_ip(),
        "load balancer ip" = service.load_balancer_ip(),
        "external name" = service.external_name(),
        "ports" = ports(service.ports()),
    );
    Some(facts)
}

fn endpoints_shown(mirror: &Mirror, row: RowId) -> Option<Facts> {
    let endpoints = mirror.endpoints().view(row)?;
    let mut facts = meta_shown!(endpoints);
    for subset in endpoints.subsets() {
        for address in subset.addresses() {
            let target = target(address.target);
            facts!(
                facts,
                "address" = (address.ready, address.ip, address.hostname, address.node_name, target),
            );
        }
        facts!(facts, "ports" = ports(subset.ports()));
    }
    Some(facts)
}

fn slice_shown(mirror: &Mirror, row: RowId) -> Option<Facts> {
    let slice = mirror.endpoint_slices().view(row)?;
    let mut facts = meta_shown!(slice);
    facts!(facts, "address type" = slice.address_type(), "service" = slice.service_name(),);
    for endpoint in slice.endpoints() {
        facts!(
            facts,
            "addresses" = endpoint.addresses().collect::<Vec<_>>(),
            "conditions" = (endpoint.ready, endpoint.serving, endpoint.terminating),
            "place" = (endpoint.hostname, endpoint.node_name, endpoint.zone),
            "target" = target(endpoint.target),
            "topology" = pairs(endpoint.topology()),
        );
    }
    for port in slice.ports() {
        facts!(facts, "port" = (port.name, port.number, port.protocol, port.app_protocol));
    }
    Some(facts)
}

fn ingress_shown(mirror: &Mirror, row: RowId) -> Option<Facts> {
    let ingress = mirror.ingresses().view(row)?;
    let mut facts = meta_shown!(ingress);
    facts!(facts, "class" = ingress.class_name(), "tls hosts" = ingress.tls_hosts().collect::<Vec<_>>(),);
    for rule in ingress.rules() {
        facts!(facts, "rule" = (rule.host, rule.has_http), "paths" = rule.paths().collect::<Vec<_>>(),);
    }
    Some(facts)
}

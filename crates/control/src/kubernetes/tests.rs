use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outrigger_config::prometheus::{Namespaces, RoleSelector};
use outrigger_config::selector::{FieldSelector, LabelSelector};
use outrigger_mirror::Change;
use outrigger_wire::kubernetes::object::{Node, Object, ObjectMeta, Pod, Service, ServicePort};
use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
struct GoldenCluster {
    objects: Vec<GoldenObject>,
    cases: Vec<GoldenCase>,
}

#[derive(Debug, Deserialize)]
struct GoldenObject {
    kind: String,
    proto: String,
}

#[derive(Debug, Deserialize)]
struct GoldenCase {
    role: String,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default)]
    own_namespace: bool,
    #[serde(default)]
    selectors: Vec<GoldenSelector>,
    #[serde(default)]
    attach: Vec<String>,
    groups: Option<Vec<GoldenGroup>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GoldenSelector {
    role: String,
    label: String,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
struct GoldenGroup {
    source: String,
    labels: BTreeMap<String, String>,
    targets: Vec<BTreeMap<String, String>>,
}

fn role(name: &str) -> Role {
    Role::from_name(name).unwrap_or_else(|| panic!("no role {name}"))
}

fn golden_sd(case: &GoldenCase) -> KubernetesSd {
    let mut sd = KubernetesSd::new(role(&case.role));
    sd.namespaces = Namespaces { own_namespace: case.own_namespace, names: case.namespaces.clone() };
    let attached = |what: &str| case.attach.iter().any(|attached| attached == what);
    sd.attach_metadata = AttachMetadata {
        node: attached("node"),
        namespace: attached("namespace"),
        deployment: attached("deployment"),
        job: attached("job"),
        cronjob: attached("cronjob"),
    };
    let selector = |selector: &GoldenSelector| RoleSelector {
        role: role(&selector.role),
        label: LabelSelector::parse(&selector.label).expect("a valid selector"),
        field: FieldSelector::default(),
    };
    sd.selectors = case.selectors.iter().map(selector).collect();
    sd
}

fn pairs(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// All groups with targets, by source; the order of targets does not count.
fn groups(mirror: &Mirror, view: &RoleView) -> Vec<GoldenGroup> {
    let mut writer = GroupWriter::default();
    let mut groups: Vec<_> = view
        .rows(mirror)
        .into_iter()
        .filter_map(|row| view.group(mirror, row, &mut writer))
        .filter(|(_, group)| !group.targets.is_empty())
        .map(|(source, group)| GoldenGroup {
            source,
            labels: pairs(&group.labels),
            targets: group.targets.iter().map(pairs).collect(),
        })
        .collect();
    normalise(&mut groups);
    groups
}

fn normalise(groups: &mut [GoldenGroup]) {
    groups.sort_by(|a, b| a.source.cmp(&b.source));
    groups.iter_mut().for_each(|group| group.targets.sort());
}

#[test]
fn every_role_finds_what_prometheus_finds() {
    let golden = include_str!("../../testdata/kubernetes-discovery/golden.jsonl");
    let mut n_targets = 0;
    for (number, line) in golden.lines().enumerate() {
        let cluster: GoldenCluster = serde_json::from_str(line).expect("golden data");
        let mut mirror = Mirror::new();
        for object in &cluster.objects {
            let resource = ResourceKind::from_kind(&object.kind).expect("a known kind");
            let message = STANDARD.decode(&object.proto).expect("base64");
            mirror.apply(resource, Change::Upsert, &message).expect("a valid object");
        }
        for case in &cluster.cases {
            let view = RoleView::new(&golden_sd(case), Some("own-ns")).expect("no field selectors");
            let mut expected: Vec<GoldenGroup> = Vec::new();
            for group in case.groups.iter().flatten() {
                let GoldenGroup { source, labels, targets } = group;
                expected.push(GoldenGroup {
                    source: source.clone(),
                    labels: labels.clone(),
                    targets: targets.clone(),
                });
            }
            normalise(&mut expected);
            n_targets += expected.iter().map(|group| group.targets.len()).sum::<usize>();
            let found = groups(&mirror, &view);
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found, expected, "cluster {number}, {case:?}");
            }
            assert_eq!(found.len(), expected.len(), "cluster {number}, {}", case.role);
        }
    }
    assert!(n_targets > 900, "the golden data has {n_targets} targets");
}

fn mirror_of(objects: &[&dyn Object]) -> Mirror {
    let mut mirror = Mirror::new();
    for object in objects {
        mirror.apply(object.resource(), Change::Upsert, &object.to_message()).expect("a valid object");
    }
    mirror
}

/// The sources with targets that a role has under a selector.
fn selected(mirror: &Mirror, role: Role, label: &str, field: &str) -> Vec<String> {
    let mut sd = KubernetesSd::new(role);
    sd.selectors = vec![RoleSelector {
        role,
        label: LabelSelector::parse(label).expect("a valid selector"),
        field: FieldSelector::parse(field).expect("a valid selector"),
    }];
    let view = RoleView::new(&sd, None).expect("supported fields");
    groups(mirror, &view).into_iter().map(|group| group.source).collect()
}

#[test]
fn field_selectors_select_by_what_the_api_server_selects_by() {
    let pod = |name: &str| Pod {
        meta: ObjectMeta::named("default", name),
        pod_ip: "10.0.0.1".to_owned(),
        containers: vec![Default::default()],
        ..Pod::default()
    };
    let one = Pod {
        node_name: "n1".to_owned(),
        phase: "Running".to_owned(),
        restart_policy: "Always".to_owned(),
        scheduler_name: "default-scheduler".to_owned(),
        service_account_name: "robot".to_owned(),
        host_network: true,
        nominated_node_name: "n2".to_owned(),
        ..pod("one")
    };
    let two = Pod { pod_ip: "10.0.0.2".to_owned(), ..pod("two") };
    let node = |name: &str, unschedulable| Node {
        meta: ObjectMeta::named("", name),
        unschedulable,
        addresses: vec![("InternalIP".to_owned(), "10.0.0.9".to_owned())],
        ..Node::default()
    };
    let service = Service {
        meta: ObjectMeta::named("web", "api"),
        service_type: "NodePort".to_owned(),
        cluster_ip: "10.1.0.1".to_owned(),
        ports: vec![ServicePort::default()],
        ..Service::default()
    };
    let mirror = mirror_of(&[&one, &two, &node("n1", false), &node("n2", true), &service]);
    let (first, second) = ("pod/default/one", "pod/default/two");
    for (role, field, expected) in [
        (Role::Pod, "metadata.name=one", &[first][..]),
        (Role::Pod, "metadata.namespace=default,metadata.name!=one", &[second]),
        (Role::Pod, "spec.nodeName=n1", &[first]),
        (Role::Pod, "spec.nodeName=", &[second]),
        (Role::Pod, "spec.restartPolicy==Always", &[first]),
        (Role::Pod, "spec.schedulerName=default-scheduler", &[first]),
        (Role::Pod, "spec.serviceAccountName=robot", &[first]),
        (Role::Pod, "spec.hostNetwork=true", &[first]),
        (Role::Pod, "spec.hostNetwork=false", &[second]),
        (Role::Pod, "status.phase!=Running", &[second]),
        (Role::Pod, "status.podIP=10.0.0.2", &[second]),
        (Role::Pod, "status.nominatedNodeName=n2", &[first]),
        (Role::Pod, "status.phase=Running,spec.nodeName=n2", &[]),
        (Role::Node, "spec.unschedulable=true", &["node/n2"]),
        (Role::Node, "metadata.name!=n2", &["node/n1"]),
        (Role::Service, "spec.type=NodePort,spec.clusterIP=10.1.0.1", &["svc/web/api"]),
        (Role::Service, "metadata.namespace!=web", &[]),
    ] {
        assert_eq!(selected(&mirror, role, "", field), expected, "{role:?} {field}");
    }
    assert!(selected(&mirror, Role::Pod, "app", "").is_empty());
}

#[test]
fn a_field_that_the_api_server_does_not_select_by_is_refused() {
    for (role, field) in [
        (Role::Pod, "status.hostIP"),
        (Role::Node, "metadata.namespace"),
        (Role::Ingress, "spec.ingressClassName"),
        (Role::EndpointSlice, "addressType"),
    ] {
        let mut sd = KubernetesSd::new(role);
        sd.selectors = vec![RoleSelector {
            role,
            label: LabelSelector::default(),
            field: FieldSelector::parse(&format!("{field}=x")).expect("a valid selector"),
        }];
        let error = RoleView::new(&sd, None).expect_err(field);
        assert_eq!((error.role, error.field.as_str()), (role, field));
        assert!(error.to_string().contains("it has metadata.name"), "{error}");
    }
}

#[test]
fn a_source_names_its_object() {
    for (role, namespace, name, source) in [
        (Role::Node, "", "n1", "node/n1"),
        (Role::Pod, "a", "b", "pod/a/b"),
        (Role::Service, "a", "b", "svc/a/b"),
        (Role::Endpoints, "a", "b", "endpoints/a/b"),
        (Role::EndpointSlice, "a", "b", "endpointslice/a/b"),
        (Role::Ingress, "a", "b", "ingress/a/b"),
    ] {
        let view = RoleView::new(&KubernetesSd::new(role), None).expect("no selectors");
        assert_eq!(view.source(namespace, name), source);
        assert_eq!(view.object_of(source), Some((namespace, name)));
    }
}

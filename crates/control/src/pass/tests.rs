//! Random sequences of changes: what discovery arrives at step by step is what it finds from scratch.

use std::collections::BTreeMap;

use outrigger_config::prometheus::{
    AttachMetadata, DiscoveryConfig, KubernetesSd, Role, RoleSelector, ScrapeConfig,
};
use outrigger_config::relabel::{RelabelRaw, RelabelRule};
use outrigger_config::selector::{FieldSelector, LabelSelector};
use outrigger_kube::{WatchChange, WatchSink as _};
use outrigger_model::clock::SystemClock;
use outrigger_model::names::NameValidation;
use outrigger_model::target::TargetDelta;
use outrigger_wire::kubernetes::object::{
    Condition, Container, ContainerPort, Endpoint, EndpointAddress, EndpointPort, EndpointSlice,
    EndpointSubset, Endpoints, Ingress, IngressRule, Namespace, Node, Object, ObjectMeta, OwnerObject,
    OwnerReference, Pod, Service, ServicePort, SlicePort, TargetReference,
};
use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;
use crate::job::Counts;
use crate::live_job::{KubernetesProvider, Provider, TargetSink};
use crate::reporter::Reporter;

/// An engine that keeps its targets by id, and how many there were when it heard that these are all.
#[derive(Default)]
struct Engine(Mutex<BTreeMap<u64, String>>, Mutex<Vec<usize>>);

impl TargetSink for Engine {
    fn apply(&self, delta: TargetDelta) {
        let mut targets = self.0.lock();
        for id in delta.removed {
            assert!(targets.remove(&id.0).is_some(), "removed a target that was not there");
        }
        for target in delta.added {
            let text = format!("{} {:?}", target.url, target.labels);
            assert!(targets.insert(target.id.0, text).is_none(), "added a target twice");
        }
    }

    fn synced(&self, _job: &Arc<str>) {
        let targets = self.0.lock().len();
        self.1.lock().push(targets);
    }
}

/// A job over a cluster, with its engine.
struct Rig {
    job: Arc<LiveJob>,
    engine: Arc<Engine>,
}

impl Rig {
    fn new(sd: &KubernetesSd, cluster: &Arc<ClusterRuntime>, pass: &mut Pass) -> Self {
        let mut config = ScrapeConfig::new("job");
        // Half of the targets are dropped, others collapse into one.
        config.relabel = vec![
            rule("drop", &["__meta_kubernetes_pod_container_port_name"], "admin", None),
            rule(
                "replace",
                &["__meta_kubernetes_pod_label_app", "__meta_kubernetes_service_label_app"],
                "(.*)",
                Some("app"),
            ),
            rule(
                "replace",
                &["__meta_kubernetes_pod_phase", "__meta_kubernetes_pod_ready"],
                "(.*)",
                Some("state"),
            ),
            rule(
                "replace",
                &["__meta_kubernetes_pod_deployment_name", "__meta_kubernetes_pod_cronjob_name"],
                "(.*)",
                Some("owner"),
            ),
            rule(
                "replace",
                &["__meta_kubernetes_node_label_app", "__meta_kubernetes_namespace_label_app"],
                "(.*)",
                Some("place"),
            ),
        ];
        config.discovery = vec![DiscoveryConfig::Kubernetes(sd.clone())];
        let view = Arc::new(RoleView::new(sd, Some("b")).expect("supported fields"));
        let engine = Arc::new(Engine::default());
        let provider = Provider::Kubernetes(Box::new(KubernetesProvider {
            cluster: Arc::clone(cluster),
            sd: sd.clone(),
            view: Default::default(),
        }));
        let reporter = Arc::new(Reporter::new(Arc::new(SystemClock)));
        let sink: Arc<dyn TargetSink> = Arc::<Engine>::clone(&engine);
        let job = Arc::new(LiveJob::new(Arc::new(config), vec![provider], None, sink, reporter));
        pass.subscriptions.push(Subscription { job: Arc::downgrade(&job), provider: 0, view, ready: false });
        Self { job, engine }
    }

    fn found(&self) -> (BTreeMap<u64, String>, Counts) {
        (self.engine.0.lock().clone(), self.job.read(|targets| targets.counts()).expect("a live job"))
    }
}

fn rule(action: &str, source: &[&str], regex: &str, target: Option<&str>) -> RelabelRule {
    let raw = RelabelRaw {
        action: Some(action.to_owned()),
        source_labels: Some(source.iter().map(|name| (*name).to_owned()).collect()),
        regex: Some(regex.to_owned()),
        target_label: target.map(str::to_owned),
        ..RelabelRaw::default()
    };
    RelabelRule::new(raw, NameValidation::Utf8).expect("a valid rule")
}

/// Every role, bare and with all that makes its groups depend on other objects.
fn views() -> Vec<KubernetesSd> {
    let all = AttachMetadata { node: true, namespace: true, deployment: true, job: true, cronjob: true };
    let selector = |role, label: &str, field: &str| RoleSelector {
        role,
        label: LabelSelector::parse(label).expect("a selector"),
        field: FieldSelector::parse(field).expect("a selector"),
    };
    let mut views = Vec::new();
    for role in Role::ALL {
        views.push(KubernetesSd::new(role));
        views.push(KubernetesSd { attach_metadata: all, ..KubernetesSd::new(role) });
        let mut confined = KubernetesSd { attach_metadata: all, ..KubernetesSd::new(role) };
        confined.namespaces.own_namespace = true;
        confined.selectors = match role {
            Role::Node => vec![selector(role, "app", "spec.unschedulable=false")],
            Role::Pod => {
                vec![selector(role, "app=x", "status.phase!=Failed"), selector(Role::Node, "app", "")]
            }
            Role::Endpoints | Role::EndpointSlice => {
                vec![
                    selector(Role::Pod, "app in (x)", ""),
                    selector(Role::Service, "app", ""),
                    selector(role, "", "metadata.name!=s1"),
                ]
            }
            _ => vec![selector(role, "app!=y", "")],
        };
        views.push(confined);
    }
    views
}

/// One step: an object is written or deleted, or a resource is listed anew with only some of its objects.
#[derive(Debug, Clone)]
enum Step {
    Put { kind: u8, key: u8, dice: [u8; 8] },
    Delete { kind: u8, key: u8 },
    Relist { kind: u8, kept: u8 },
    Pass,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = 0u8..9;
    let step = prop_oneof![
        8 => (kind.clone(), 0u8..6, any::<[u8; 8]>()).prop_map(|(kind, key, dice)| Step::Put { kind, key, dice }),
        3 => (kind.clone(), 0u8..6).prop_map(|(kind, key)| Step::Delete { kind, key }),
        1 => (kind, any::<u8>()).prop_map(|(kind, kept)| Step::Relist { kind, kept }),
        3 => Just(Step::Pass),
    ];
    prop::collection::vec(step, 0..120)
}

fn choose<'a>(dice: u8, from: &[&'a str]) -> &'a str {
    from[usize::from(dice) % from.len()]
}

fn meta(kind: u8, key: u8, dice: u8) -> ObjectMeta {
    let namespace = if matches!(kind, 1 | 7) { "" } else { choose(key, &["a", "b"]) };
    let names = ["p", "n", "s", "s", "s", "i", "rs", "", "j"];
    let name = match kind {
        7 => choose(key, &["a", "b"]).to_owned(),
        _ => format!("{}{}", names[usize::from(kind)], key / 2),
    };
    let mut meta = ObjectMeta::named(namespace, &name);
    match dice % 3 {
        0 => {}
        1 => drop(meta.labels.insert("app".to_owned(), "x".to_owned())),
        _ => drop(meta.labels.insert("app".to_owned(), "y".to_owned())),
    }
    meta
}

fn owned_by(dice: u8, kinds: &[(&str, &str)]) -> Vec<OwnerReference> {
    let (kind, name) = kinds[usize::from(dice) % kinds.len()];
    let controller = Some(!dice.is_multiple_of(5));
    vec![OwnerReference {
        kind: kind.to_owned(),
        name: name.to_owned(),
        controller,
        ..OwnerReference::default()
    }]
}

fn target(dice: u8) -> Option<TargetReference> {
    let (kind, name) = match dice % 8 {
        0 => return None,
        1 => ("Node", "n0"),
        2 => ("Node", "n1"),
        3 | 4 => ("Pod", "p0"),
        5 | 6 => ("Pod", "p1"),
        _ => ("Pod", "p2"),
    };
    let namespace = if dice & 64 == 0 { "a" } else { "b" };
    Some(TargetReference {
        kind: kind.to_owned(),
        namespace: if kind == "Pod" { namespace.to_owned() } else { String::new() },
        name: name.to_owned(),
        uid: String::new(),
    })
}

fn object(kind: u8, key: u8, dice: [u8; 8]) -> Box<dyn Object> {
    let meta = meta(kind, key, dice[0]);
    let address = |dice: u8| choose(dice, &["10.0.0.1", "10.0.0.2", "fd00::1"]).to_owned();
    let node = |dice: u8| choose(dice, &["", "n0", "n1", "n2"]).to_owned();
    match kind {
        0 => {
            let port = |dice: u8| ContainerPort {
                name: choose(dice, &["web", "admin", ""]).to_owned(),
                number: 80 + i32::from(dice % 2),
                protocol: "TCP".to_owned(),
            };
            let container = |index: usize, dice: u8| Container {
                name: format!("c{index}"),
                ports: (0..dice % 3).map(|i| port(dice / 3 + i)).collect(),
                ..Container::default()
            };
            let mut pod = Pod { meta, node_name: node(dice[1]), ..Pod::default() };
            pod.meta.owner_references = owned_by(
                dice[2],
                &[("ReplicaSet", "rs0"), ("ReplicaSet", "rs1"), ("Job", "j0"), ("Job", "j1")],
            );
            pod.pod_ip = choose(dice[3], &["", "10.0.0.1", "10.0.0.2", "fd00::1"]).to_owned();
            pod.phase = choose(dice[4], &["Pending", "Running", "Failed"]).to_owned();
            pod.containers = vec![container(0, dice[5]), container(1, dice[6])];
            pod.init_containers =
                if dice[7].is_multiple_of(4) { vec![container(2, dice[7])] } else { Vec::new() };
            let ready = choose(dice[7], &["True", "False"]).to_owned();
            pod.conditions =
                vec![Condition { kind: "Ready".to_owned(), status: ready, ..Condition::default() }];
            Box::new(pod)
        }
        1 => {
            let addresses =
                (0..dice[1] % 3).map(|i| ("InternalIP".to_owned(), address(dice[2].wrapping_add(i))));
            Box::new(Node {
                meta,
                addresses: addresses.collect(),
                unschedulable: dice[3].is_multiple_of(2),
                ..Node::default()
            })
        }
        2 => {
            let ports = (0..dice[1] % 3)
                .map(|i| ServicePort { number: i32::from(dice[2] % 3 + i), ..ServicePort::default() });
            let (policy, family) = [("", ""), ("PreferDualStack", "IPv4"), ("RequireDualStack", "IPv6")]
                [usize::from(dice[3] % 3)];
            let families = if family.is_empty() { Vec::new() } else { vec![family.to_owned()] };
            Box::new(Service {
                meta,
                ports: ports.collect(),
                ip_family_policy: policy.to_owned(),
                ip_families: families,
                ..Service::default()
            })
        }
        3 => {
            let at = |i: usize| EndpointAddress {
                ip: address(dice[i]),
                node_name: node(dice[i] / 3),
                target: target(dice[i + 1]),
                ..EndpointAddress::default()
            };
            let ports = (0..dice[5] % 3)
                .map(|i| EndpointPort { number: 80 + i32::from(i), ..EndpointPort::default() });
            Box::new(Endpoints {
                meta,
                subsets: vec![EndpointSubset {
                    addresses: vec![at(1)],
                    not_ready_addresses: if dice[6].is_multiple_of(2) { vec![at(3)] } else { Vec::new() },
                    ports: ports.collect(),
                }],
            })
        }
        4 => {
            let endpoint = |i: usize| Endpoint {
                addresses: vec![address(dice[i])],
                node_name: node(dice[i] / 3),
                target: target(dice[i + 1]),
                ..Endpoint::default()
            };
            let mut slice = EndpointSlice {
                meta,
                address_type: choose(dice[5], &["IPv4", "IPv6"]).to_owned(),
                endpoints: vec![endpoint(1), endpoint(3)],
                ports: (0..dice[6] % 3)
                    .map(|i| SlicePort { number: Some(80 + i32::from(i)), ..SlicePort::default() })
                    .collect(),
            };
            let service = choose(dice[7], &["s0", "s1", "s2"]).to_owned();
            slice.meta.labels.insert("kubernetes.io/service-name".to_owned(), service);
            Box::new(slice)
        }
        5 => {
            let rules = (0..dice[1] % 3).map(|i| IngressRule {
                host: choose(dice[2].wrapping_add(i), &["a.example", "b.example"]).to_owned(),
                paths: Some(vec!["/".to_owned()]),
            });
            Box::new(Ingress { meta, rules: rules.collect(), ..Ingress::default() })
        }
        7 => Box::new(Namespace { meta, ..Namespace::default() }),
        _ => {
            let (resource, owner) = match kind {
                6 => (ResourceKind::ReplicaSet, "Deployment"),
                _ => (ResourceKind::Job, "CronJob"),
            };
            let mut meta = meta;
            meta.owner_references = owned_by(dice[1], &[(owner, "o0"), (owner, "o1")]);
            Box::new(OwnerObject { resource, meta })
        }
    }
}

const RESOURCES: [ResourceKind; 9] = [
    ResourceKind::Pod,
    ResourceKind::Node,
    ResourceKind::Service,
    ResourceKind::Endpoints,
    ResourceKind::EndpointSlice,
    ResourceKind::Ingress,
    ResourceKind::ReplicaSet,
    ResourceKind::Namespace,
    ResourceKind::Job,
];

fn message(object: &dyn Object) -> Vec<u8> {
    match object.resource().mirrored_as_metadata() {
        true => {
            let mut message = Vec::new();
            object.encode_metadata(&mut message);
            message
        }
        false => object.to_message(),
    }
}

fn cluster() -> Arc<ClusterRuntime> {
    let runtime = ClusterRuntime::new("test".to_owned(), Arc::new(Reporter::new(Arc::new(SystemClock))));
    Arc::new(runtime)
}

fn apply(cluster: &ClusterRuntime, step: &Step, stored: &mut BTreeMap<(u8, u8), Vec<u8>>) {
    match step {
        Step::Pass => {}
        Step::Put { kind, key, dice } => {
            let message = message(&*object(*kind, *key, *dice));
            cluster
                .apply(RESOURCES[usize::from(*kind)], WatchChange::Upsert, &message)
                .expect("a valid object");
            stored.insert((*kind, *key), message);
        }
        Step::Delete { kind, key } => {
            if let Some(message) = stored.remove(&(*kind, *key)) {
                let resource = RESOURCES[usize::from(*kind)];
                cluster.apply(resource, WatchChange::Delete, &message).expect("a valid object");
            }
        }
        Step::Relist { kind, kept } => {
            let resource = RESOURCES[usize::from(*kind)];
            cluster.begin_generation(resource);
            stored.retain(|(other, key), _| other != kind || kept >> key & 1 == 1);
            for ((_, _), message) in stored.iter().filter(|((other, _), _)| other == kind) {
                cluster.apply(resource, WatchChange::Upsert, message).expect("a valid object");
            }
            cluster.commit_generation(resource);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn step_by_step_gives_what_a_computation_from_scratch_gives(steps in steps()) {
        let cluster = cluster();
        let mut pass = Pass::default();
        let views = views();
        let rigs: Vec<_> = views.iter().map(|sd| Rig::new(sd, &cluster, &mut pass)).collect();
        for resource in ResourceKind::MIRRORED {
            cluster.begin_generation(resource);
            cluster.commit_generation(resource);
        }
        let mut stored = BTreeMap::new();
        for step in &steps {
            apply(&cluster, step, &mut stored);
            if matches!(step, Step::Pass) {
                pass.run(&cluster);
            }
        }
        pass.run(&cluster);
        for (sd, rig) in views.iter().zip(&rigs) {
            let mut from_scratch = Pass::default();
            let fresh = Rig::new(sd, &cluster, &mut from_scratch);
            from_scratch.run(&cluster);
            prop_assert_eq!(rig.found(), fresh.found(), "{:?}", sd);
        }
    }
}

#[test]
fn nothing_is_found_and_nothing_is_lost_before_everything_needed_is_listed() {
    let cluster = cluster();
    let mut pass = Pass::default();
    let rig = Rig::new(&KubernetesSd::new(Role::Endpoints), &cluster, &mut pass);
    let endpoints = object(3, 0, [0, 0, 3, 0, 0, 1, 1, 0]);
    cluster.begin_generation(ResourceKind::Endpoints);
    cluster.apply(ResourceKind::Endpoints, WatchChange::Upsert, &endpoints.to_message()).expect("valid");
    cluster.commit_generation(ResourceKind::Endpoints);
    pass.run(&cluster);
    assert!(rig.found().0.is_empty(), "pods and services are not listed yet");
    assert!(rig.engine.1.lock().is_empty(), "it is not known yet what there is");
    for resource in [ResourceKind::Pod, ResourceKind::Service] {
        cluster.begin_generation(resource);
        cluster.commit_generation(resource);
    }
    pass.run(&cluster);
    assert_eq!(rig.found().0.len(), 1);
    // A relist that has only started takes nothing away.
    cluster.begin_generation(ResourceKind::Endpoints);
    pass.run(&cluster);
    assert_eq!(rig.found().0.len(), 1);
    cluster.commit_generation(ResourceKind::Endpoints);
    pass.run(&cluster);
    assert!(rig.found().0.is_empty());
    assert_eq!(*rig.engine.1.lock(), [1], "said once, after the targets");
}

#[test]
fn a_change_computes_only_the_sources_that_it_touches() {
    let cluster = cluster();
    for resource in ResourceKind::MIRRORED {
        cluster.begin_generation(resource);
        cluster.commit_generation(resource);
    }
    let mut stored = BTreeMap::new();
    for key in 0..6 {
        for kind in [0, 1, 2, 3, 4] {
            apply(&cluster, &Step::Put { kind, key, dice: [1, 1, 0, 1, 1, 1, 1, key] }, &mut stored);
        }
    }
    let mut pass = Pass::default();
    pass.read_feed(&cluster);
    // Pod a/p1 becomes another.
    apply(&cluster, &Step::Put { kind: 0, key: 2, dice: [2; 8] }, &mut stored);
    let changes = pass.read_feed(&cluster);
    let mirror = cluster.mirror.read();
    for (role, touched) in [(Role::Pod, 1), (Role::Service, 0), (Role::Node, 0), (Role::Ingress, 0)] {
        let view = RoleView::new(&KubernetesSd::new(role), None).expect("a view");
        assert_eq!(view.touched(&mirror, &changes).rows.len(), touched, "{role:?}");
    }
}

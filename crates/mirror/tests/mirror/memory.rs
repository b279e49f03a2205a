//! Memory is given back.

use outrigger_mirror::{Change, Mirror};
use outrigger_wire::kubernetes::ResourceKind;
use outrigger_wire::kubernetes::object::{
    Container, Endpoint, EndpointSlice, Object, ObjectMeta, OwnerReference, Pod, TargetReference,
};

fn bytes(mirror: &Mirror, resource: ResourceKind) -> usize {
    mirror.memory()[resource.index()].bytes
}

/// A pod of a deployment; everything that is unique to it depends on `number`.
fn pod(number: usize) -> Pod {
    let replica_set = format!("web-{}", number / 100);
    Pod {
        meta: ObjectMeta {
            uid: format!("{number:032}"),
            labels: [
                ("app".to_owned(), "web".to_owned()),
                ("pod-template-hash".to_owned(), replica_set.clone()),
            ]
            .into(),
            annotations: [("cni/containerID".to_owned(), format!("{number:0128}"))].into(),
            owner_references: vec![OwnerReference {
                api_version: "apps/v1".to_owned(),
                kind: "ReplicaSet".to_owned(),
                name: replica_set.clone(),
                uid: String::new(),
                controller: Some(true),
            }],
            ..ObjectMeta::named("default", &format!("{replica_set}-{number}"))
        },
        containers: vec![Container {
            name: "web".to_owned(),
            image: format!("registry.example/web:{}", number / 100),
            container_id: format!("containerd://{number:064}"),
            ..Container::default()
        }],
        node_name: format!("node-{}", number / 30),
        phase: "Running".to_owned(),
        host_ip: format!("10.0.0.{}", number / 30),
        pod_ip: format!("10.1.{number}.1"),
        ..Pod::default()
    }
}

fn slice(number: usize) -> EndpointSlice {
    let endpoint = |i: usize| Endpoint {
        addresses: vec![format!("10.1.{number}.{i}")],
        ready: Some(true),
        target: Some(TargetReference {
            kind: "Pod".to_owned(),
            namespace: "default".to_owned(),
            name: format!("web-{number}-{i}"),
            uid: String::new(),
        }),
        node_name: format!("node-{}", number + i),
        ..Endpoint::default()
    };
    EndpointSlice {
        meta: ObjectMeta {
            labels: [("kubernetes.io/service-name".to_owned(), format!("web-{}", number / 10))].into(),
            ..ObjectMeta::named("default", &format!("web-{number}"))
        },
        endpoints: (0..20).map(endpoint).collect(),
        ..EndpointSlice::default()
    }
}

#[test]
fn deleting_everything_gives_the_memory_back() {
    let mut mirror = Mirror::with_log_capacity(16);
    let empty = bytes(&mirror, ResourceKind::Pod);
    let empty_slices = bytes(&mirror, ResourceKind::EndpointSlice);
    let pods: Vec<Vec<u8>> = (0..20_000).map(|i| pod(i).to_message()).collect();
    let slices: Vec<Vec<u8>> = (0..1_000).map(|i| slice(i).to_message()).collect();
    for _ in 0..2 {
        for pod in &pods {
            mirror.apply(ResourceKind::Pod, Change::Upsert, pod).unwrap();
        }
        for slice in &slices {
            mirror.apply(ResourceKind::EndpointSlice, Change::Upsert, slice).unwrap();
        }
        let full = bytes(&mirror, ResourceKind::Pod);
        assert!(full > 20_000 * 300 && full < 20_000 * 1024, "{}", full / 20_000);
        for pod in &pods {
            mirror.apply(ResourceKind::Pod, Change::Delete, pod).unwrap();
        }
        for slice in &slices {
            mirror.apply(ResourceKind::EndpointSlice, Change::Delete, slice).unwrap();
        }
        assert!(mirror.pods().is_empty() && mirror.endpoint_slices().is_empty());
        let (left, left_slices) =
            (bytes(&mirror, ResourceKind::Pod), bytes(&mirror, ResourceKind::EndpointSlice));
        assert!(left < empty + 32_768, "{left} of {full}");
        assert!(left_slices < empty_slices + 32_768, "{left_slices}");
    }
}

#[test]
fn churn_does_not_grow_a_table() {
    let mut mirror = Mirror::with_log_capacity(16);
    let mut after_warm_up = 0;
    for number in 0..30_000 {
        mirror.apply(ResourceKind::Pod, Change::Upsert, &pod(number).to_message()).unwrap();
        if let Some(old) = number.checked_sub(1_000) {
            mirror.apply(ResourceKind::Pod, Change::Delete, &pod(old).to_message()).unwrap();
        }
        if number == 3_000 {
            after_warm_up = bytes(&mirror, ResourceKind::Pod);
        }
    }
    assert_eq!(mirror.pods().len(), 1_000);
    let now = bytes(&mirror, ResourceKind::Pod);
    assert!(now < after_warm_up + after_warm_up / 5, "{now} after 30,000 pods, {after_warm_up} after 3,000");
}

#[test]
fn updates_in_place_do_not_grow_a_table() {
    let mut mirror = Mirror::with_log_capacity(16);
    let mut pod = pod(1);
    let mut after_first = 0;
    for round in 0..5_000 {
        pod.pod_ip = format!("10.{}.{}.1", round / 256, round % 256);
        pod.node_name = format!("node-{round}");
        pod.meta.annotations.insert("round".to_owned(), format!("{round:0100}"));
        mirror.apply(ResourceKind::Pod, Change::Upsert, &pod.to_message()).unwrap();
        if round == 0 {
            after_first = bytes(&mirror, ResourceKind::Pod);
        }
    }
    let now = bytes(&mirror, ResourceKind::Pod);
    assert!(now < 2 * after_first + 4_096, "{now} after 5,000 updates, {after_first} after the first");
}

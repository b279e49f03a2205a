//! Custom resources for custom resource state: one namespaced with two versions, one of the cluster.

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use super::random::without_nulls;
use super::{Client, Made, NAMESPACES, ObjectPlan, Random, Resource, cluster, resource};

const GROUP: &str = "odd.example.com";
const KINDS: [Resource; 3] = [
    resource("gadgets", "Gadget", "/apis/odd.example.com/v1", true),
    resource("gadgets", "Gadget", "/apis/odd.example.com/v1beta1", true),
    resource("clusterwidgets", "ClusterWidget", "/apis/odd.example.com/v2", false),
];
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the definitions and waits until the server serves them.
pub(super) async fn define(api: &Client) -> Result<()> {
    for (plural, kind, scope, versions) in [
        ("gadgets", "Gadget", "Namespaced", &["v1", "v1beta1"][..]),
        ("clusterwidgets", "ClusterWidget", "Cluster", &["v2"]),
    ] {
        let schema =
            json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        let versions: Vec<Value> = versions
            .iter()
            .enumerate()
            .map(|(index, version)| json!({"name": version, "served": true, "storage": index == 0, "schema": schema}))
            .collect();
        let definition = json!({
            "metadata": {"name": format!("{plural}.{GROUP}")},
            "spec": {
                "group": GROUP, "scope": scope, "versions": versions,
                "names": {"plural": plural, "singular": kind.to_ascii_lowercase(), "kind": kind},
            },
        });
        api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await?;
    }
    let deadline = Instant::now() + PATIENCE;
    for kind in KINDS {
        let path = format!("{}/{}?limit=1", kind.api, kind.plural);
        while let Err(error) = api.get(&path).await {
            if Instant::now() > deadline {
                bail!("{kind:?} is not served after {PATIENCE:?}: {error:#}");
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

pub(super) fn objects(plan: &ObjectPlan) -> Vec<Made> {
    let of = |kind: Resource| (0..plan.each).map(move |index| object(kind, plan.seed, index));
    [KINDS[0], KINDS[2]].into_iter().flat_map(of).collect()
}

/// An object with a value of every type that custom resource state reads as a number, and lists, maps and gaps.
fn object(resource: Resource, seed: u64, index: usize) -> Made {
    let random = &mut Random::new(seed, resource.plural, index);
    let number = [
        json!(0),
        json!(-3),
        json!(1.5),
        json!(123_456_789),
        json!(1e21),
        json!("17"),
        json!("0.25"),
        json!("1e3"),
        json!("50%"),
        json!("2Ki"),
        json!("100m"),
    ];
    let word = [
        json!(true),
        json!(false),
        json!("true"),
        json!("Yes"),
        json!("no"),
        json!("False"),
        json!("unknown"),
    ];
    let namespace = resource.namespaced.then(|| format!("odd-{}", random.below(NAMESPACES)));
    let object = json!({
        "apiVersion": resource.api.trim_start_matches("/apis/"),
        "kind": resource.kind,
        "metadata": {
            "name": format!("{}-{index}", resource.plural),
            "namespace": namespace,
            "labels": random.plain_labels(),
            "annotations": random.plain_labels(),
            "ownerReferences": random.owners(),
        },
        "spec": {
            "replicas": random.maybe(80, |random| random.one_of(&number)),
            "ratio": random.maybe(80, |random| random.one_of(&number)),
            "enabled": random.maybe(80, |random| random.one_of(&word)),
            "since": random.maybe(60, |random| random.one_of(&[json!("2024-02-29T12:34:56Z"), json!("2024-02-29T12:34:56.5+01:00")])),
            "version": random.text(&["v1.2.3", "say \"x\"", "", "two\nlines"]),
            "order": random.list(0, 3, |random, index| json!({"id": index + 1, "value": random.one_of(&number), "tag": random.flag()})),
            "amounts": cluster::odd_amounts(random),
            "deep": {"map": {"a": {"b": random.one_of(&number)}, "c": {"b": random.one_of(&number)}}},
        },
        "status": random.maybe(85, |random| json!({
            "phase": random.one_of(&[Value::Null, json!("Pending"), json!("Running"), json!("Other"), json!("")]),
            "conditions": random.conditions(&["Ready", "Synced", "Odd"], &["", "Because"], true),
            "sub": {
                "type-a": {"active": random.between(0, 4), "ready": random.one_of(&number)},
                "type-b": {"active": random.between(0, 4), "ready": random.one_of(&number)},
            },
        })),
    });
    Made {
        resource,
        object: without_nulls(object),
        status: Value::Null,
        other: None,
        delete: false,
        mutant: false,
    }
}

//! Pods.

use serde_json::{Map, Value, json};

use super::Random;

const WAITING: [&str; 8] = [
    "ContainerCreating",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "ErrImagePull",
    "ImagePullBackOff",
    "CreateContainerError",
    "InvalidImageName",
    "SomethingElse",
];
const TERMINATED: [&str; 7] = [
    "OOMKilled",
    "Completed",
    "Error",
    "ContainerCannotRun",
    "DeadlineExceeded",
    "Evicted",
    "Odd \"reason\"",
];
const REASONS: [&str; 10] = [
    "",
    "Evicted",
    "NodeAffinity",
    "NodeLost",
    "Shutdown",
    "UnexpectedAdmissionError",
    "Preempting",
    "OutOfcpu",
    "Terminated",
    "Unschedulable",
];
const IMAGES: [&str; 5] = [
    "registry.example/app:v1",
    "app",
    "registry.example:5000/team/app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "busybox:1.36",
    "a/b/c:latest",
];

pub(super) const RUNTIME_CLASSES: [(&str, &str, &str); 4] =
    [("plain", "", ""), ("foo", "", ""), ("kata", "250m", "120Mi"), ("odd-overhead", "1n", "100m")];

/// The spec of a pod that the server takes on any node.
pub(super) fn spec(random: &mut Random) -> Value {
    let claims = if random.chance(15) { random.between(1, 2) } else { 0 };
    let claim_names: Vec<String> = (0..claims).map(|index| format!("claim-{index}")).collect();
    let node = random.maybe(70, |random| json!(format!("odd-node-{}", random.below(12))));
    let resource_claims: Vec<Value> = claim_names
        .iter()
        .map(|name| match random.chance(50) {
            true => json!({"name": name, "resourceClaimName": format!("shared-{name}")}),
            false => json!({"name": name, "resourceClaimTemplateName": "a-template"}),
        })
        .collect();
    json!({
        "nodeName": node,
        "containers": random.list(1, 4, |random, index| container(random, &format!("c{index}"), &claim_names)),
        "initContainers": random.maybe(45, |random| random.list(1, 3, |random, index| {
            let mut init = container(random, &format!("init-{index}"), &[]);
            init["restartPolicy"] = random.maybe(40, |_| json!("Always"));
            init
        })),
        "restartPolicy": random.one_of(&[Value::Null, json!("Always"), json!("OnFailure"), json!("Never")]),
        "hostNetwork": random.flag(),
        "priorityClassName": random.one_of(&[Value::Null, Value::Null, json!("system-node-critical"), json!("odd-priority")]),
        "runtimeClassName": random.maybe(30, |random| json!(random.pick(&RUNTIME_CLASSES.each_ref()).0)),
        "schedulerName": random.one_of(&[Value::Null, json!("default-scheduler"), json!("my.scheduler")]),
        "serviceAccountName": random.one_of(&[Value::Null, json!("default"), json!("odd-account.x")]),
        "nodeSelector": random.maybe(40, Random::labels),
        "tolerations": random.maybe(50, tolerations),
        "volumes": random.maybe(50, |random| random.list(1, 4, volume)),
        "resourceClaims": if claims == 0 { Value::Null } else { Value::Array(resource_claims) },
    })
}

/// A pod template: no node, no claims.
pub(super) fn template(random: &mut Random, app: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": random.list(1, 2, |random, index| container(random, &format!("c{index}"), &[]))},
    })
}

fn container(random: &mut Random, name: &str, claims: &[String]) -> Value {
    let mut resources = resources(random);
    if !claims.is_empty() && random.chance(60) {
        resources["claims"] = json!([{"name": claims[0]}]);
    }
    json!({"name": name, "image": random.text(&IMAGES), "resources": resources})
}

/// Requests and limits that fit together: limits are the requests, or requests are zero.
fn resources(random: &mut Random) -> Value {
    let (mut requests, mut limits) = (Map::new(), Map::new());
    for name in random.some_of(&["cpu", "memory", "ephemeral-storage"], 3) {
        let amount = if name == "cpu" { random.cpu() } else { random.bytes() };
        match random.below(4) {
            0 => drop(requests.insert(name.to_owned(), amount)),
            1 => drop(limits.insert(name.to_owned(), amount)),
            2 => {
                requests.insert(name.to_owned(), amount.clone());
                limits.insert(name.to_owned(), amount);
            }
            _ => {
                requests.insert(name.to_owned(), random.text(&["0", "1n"]));
                limits.insert(name.to_owned(), json!("123456m"));
            }
        }
    }
    if random.chance(25) {
        for name in random.some_of(&["nvidia.com/gpu", "example.com/odd-Res.x_y", "rdma/hca"], 2) {
            let amount = random.whole();
            requests.insert(name.to_owned(), amount.clone());
            limits.insert(name.to_owned(), amount);
        }
    }
    if random.chance(15) {
        requests.insert("cpu".to_owned(), json!("100m"));
        limits.insert("cpu".to_owned(), json!("100m"));
        let size = random.pick(&["hugepages-2Mi", "hugepages-1Gi"]);
        requests.insert(size.to_owned(), json!("4Gi"));
        limits.insert(size.to_owned(), json!("4Gi"));
    }
    json!({"requests": requests, "limits": limits})
}

fn tolerations(random: &mut Random) -> Value {
    let mut all = random.list(1, 5, |random, _| match random.below(4) {
        0 => json!({"operator": "Exists", "effect": random.maybe(50, |_| json!("NoSchedule"))}),
        1 => json!({"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": random.one_of(&[Value::Null, json!(0), json!(300), json!(-5)])}),
        2 => json!({"key": "example.com/k", "operator": random.maybe(50, |_| json!("Equal")), "value": random.text(&["", "v"])}),
        _ => json!({"key": "k", "value": "v", "effect": "PreferNoSchedule"}),
    });
    if let Some(all) = all.as_array_mut()
        && random.chance(40)
    {
        all.push(all[0].clone());
    }
    all
}

fn volume(random: &mut Random, index: usize) -> Value {
    let name = format!("volume-{index}");
    match random.below(5) {
        0 => json!({"name": name, "emptyDir": {}}),
        1 => json!({"name": name, "configMap": {"name": "a"}}),
        2 => json!({"name": name, "ephemeral": {"volumeClaimTemplate": {"spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        }}}}),
        _ => {
            json!({"name": name, "persistentVolumeClaim": {"claimName": format!("claim.{index}"), "readOnly": random.flag()}})
        }
    }
}

/// A status that goes with a spec.
pub(super) fn status(random: &mut Random, spec: &Value) -> Value {
    let addresses = pod_addresses(random);
    let host = random.maybe(80, |random| json!(random.address()));
    let claims = spec["resourceClaims"].as_array().into_iter().flatten();
    let claim_statuses: Vec<Value> = claims
        .filter(|claim| claim.get("resourceClaimTemplateName").is_some())
        .map(|claim| json!({"name": claim["name"], "resourceClaimName": random.maybe(70, |_| json!("made-from-template"))}))
        .collect();
    json!({
        "phase": random.text(&["Pending", "Running", "Succeeded", "Failed", "Unknown", "Running"]),
        "reason": random.text(&REASONS),
        "message": random.maybe(20, |_| json!("a message")),
        "hostIP": host,
        "hostIPs": if host.is_null() { Value::Null } else { json!([{"ip": host}]) },
        "podIP": addresses.first().map(|ip| json!(ip)),
        "podIPs": addresses.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>(),
        "startTime": random.maybe(70, Random::time),
        "conditions": random.conditions(
            &["Ready", "PodScheduled", "Initialized", "ContainersReady", "DisruptionTarget", "example.com/gate"],
            &REASONS,
            true,
        ),
        "containerStatuses": statuses(random, &spec["containers"]),
        "initContainerStatuses": statuses(random, &spec["initContainers"]),
        "resourceClaimStatuses": if claim_statuses.is_empty() { Value::Null } else { json!(claim_statuses) },
    })
}

fn pod_addresses(random: &mut Random) -> Vec<String> {
    match random.below(5) {
        0 => Vec::new(),
        1 => vec![format!("fd00::{:x}", random.between(1, 0xffff))],
        2 => vec![format!("10.1.2.{}", random.below(255)), format!("fd00::{:x}", random.between(1, 0xffff))],
        _ => vec![random.address()],
    }
}

/// Statuses of most containers, and now and then of one that the spec does not have.
fn statuses(random: &mut Random, containers: &Value) -> Value {
    let names =
        containers.as_array().into_iter().flatten().filter_map(|c| c["name"].as_str().map(str::to_owned));
    let mut names: Vec<String> = names.collect();
    names.retain(|_| random.chance(85));
    if random.chance(5) {
        names.push("not-in-the-spec".to_owned());
    }
    Value::Array(names.into_iter().map(|name| container_status(random, &name)).collect())
}

fn container_status(random: &mut Random, name: &str) -> Value {
    json!({
        "name": name,
        "ready": random.chance(50),
        "started": random.flag(),
        "restartCount": random.one_of(&[json!(0), json!(1), json!(17), json!(1_234_567)]),
        "image": random.text(&IMAGES),
        "imageID": random.text(&["", "registry.example/app@sha256:00ff", "docker-pullable://a@sha256:1"]),
        "containerID": random.one_of(&[Value::Null, json!("containerd://0123456789abcdef"), json!("docker://ab\"cd")]),
        "state": state(random),
        "lastState": random.maybe(50, state),
    })
}

fn state(random: &mut Random) -> Value {
    match random.below(4) {
        0 => json!({"waiting": {"reason": random.text(&WAITING), "message": "m"}}),
        1 => json!({"running": {"startedAt": random.maybe(80, Random::time)}}),
        2 => json!({"terminated": {
            "exitCode": random.one_of(&[json!(0), json!(1), json!(137), json!(-1), json!(255)]),
            "signal": random.one_of(&[Value::Null, json!(9)]),
            "reason": random.text(&TERMINATED),
            "startedAt": random.maybe(80, Random::time),
            "finishedAt": random.maybe(80, Random::time),
        }}),
        _ => json!({}),
    }
}

/// What the subresource `ephemeralcontainers` takes.
pub(super) fn ephemeral(random: &mut Random) -> Value {
    json!({"spec": {"ephemeralContainers": [{"name": "debugger", "image": random.text(&IMAGES)}]}})
}

//! Nodes, namespaces, storage, quotas and certificates.

use serde_json::{Map, Value, json};

use super::Random;
use super::random::without_nulls;

const CONDITIONS: [&str; 6] =
    ["Ready", "MemoryPressure", "DiskPressure", "NetworkUnavailable", "ReadonlyFilesystem", "my.Condition"];
const NODE_RESOURCES: [&str; 13] = [
    "cpu",
    "memory",
    "pods",
    "storage",
    "ephemeral-storage",
    "hugepages-2Mi",
    "hugepages-1Gi",
    "attachable-volumes-aws-ebs",
    "attachable-volumes-csi-x.example.com",
    "nvidia.com/gpu",
    "example.com/odd-Res.x_y",
    "kubernetes.io/batch-cpu",
    "requests.nvidia.com/gpu",
];

fn amounts(random: &mut Random, names: &[&str], most: usize, make: fn(&mut Random) -> Value) -> Value {
    let names = random.some_of(names, most);
    Value::Object(names.into_iter().map(|name| (name.to_owned(), make(random))).collect())
}

fn amount_of(random: &mut Random, name: &str) -> Value {
    match name {
        "cpu" => random.cpu(),
        "pods" => random.whole(),
        name if name.starts_with("hugepages-") => json!("4Gi"),
        name if name.contains('/') || name.starts_with("attachable") => random.whole(),
        _ => random.bytes(),
    }
}

pub(super) fn node(random: &mut Random) -> (Value, Value) {
    let taints: Vec<Value> = random
        .some_of(&[("a", "NoSchedule"), ("a", "NoExecute"), ("example.com/t", "PreferNoSchedule"), ("b.c", "NoSchedule")], 3)
        .into_iter()
        .map(|(key, effect)| json!({"key": key, "effect": effect, "value": random.maybe(50, |random| random.text(&["", "v"]))}))
        .collect();
    let (v4, v6) = (format!("10.9.{}.0/24", random.below(255)), "fd00:9::/64".to_owned());
    let networks = match random.below(4) {
        0 => Value::Null,
        1 => json!([v4]),
        2 => json!([v6]),
        _ => json!([v4, v6]),
    };
    let spec = json!({
        "podCIDR": networks.get(0),
        "podCIDRs": networks,
        "providerID": random.one_of(&[Value::Null, json!("aws:///a/i-1"), json!("say \"x\"")]),
        "unschedulable": random.flag(),
        "taints": if taints.is_empty() { Value::Null } else { Value::Array(taints) },
    });
    let mut capacity = Map::new();
    for name in random.some_of(&NODE_RESOURCES, 13) {
        capacity.insert(name.to_owned(), amount_of(random, name));
    }
    let mut allocatable = capacity.clone();
    allocatable.retain(|_, _| random.chance(80));
    let addresses = random.list(0, 4, |random, index| {
        let kind = random.pick(&["InternalIP", "ExternalIP", "Hostname", "InternalDNS", "InternalIP"]);
        let address = if kind.ends_with("IP") { random.address() } else { format!("host-{index}.example") };
        json!({"type": kind, "address": address})
    });
    let status = json!({
        "capacity": capacity,
        "allocatable": allocatable,
        "addresses": addresses,
        "conditions": random.conditions(&CONDITIONS, &["KubeletReady", "", "Odd"], false),
        "nodeInfo": {
            "kernelVersion": random.text(&["", "6.1.0-13-amd64"]),
            "osImage": random.text(&["", "Debian GNU/Linux 12 (bookworm)", "say \"x\""]),
            "containerRuntimeVersion": "containerd://1.7.2",
            "kubeletVersion": "v1.37.2",
            "kubeProxyVersion": "",
            "systemUUID": random.uid(),
            "machineID": "", "bootID": "", "operatingSystem": "linux", "architecture": "amd64",
        },
    });
    (spec, status)
}

/// What a node's labels say it is.
pub(super) fn node_roles(random: &mut Random) -> Value {
    let roles = random.some_of(&["control-plane", "master", "worker", "odd.Role", "0"], 3);
    Value::Object(
        roles.into_iter().map(|role| (format!("node-role.kubernetes.io/{role}"), json!(""))).collect(),
    )
}

/// A namespace has no phase of choice: the server sets it. Its conditions are free.
pub(super) fn namespace_status(random: &mut Random) -> Value {
    let types = [
        "NamespaceDeletionDiscoveryFailure",
        "NamespaceContentRemaining",
        "Custom.Type",
        "NamespaceDeletionContentFailure",
    ];
    json!({"conditions": random.maybe(60, |random| random.conditions(&types, &["", "R"], true))})
}

pub(super) fn volume_claim(random: &mut Random) -> (Value, Value) {
    let modes = random.some_of(&["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"], 3);
    let modes = if modes.is_empty() { vec!["ReadWriteOnce"] } else { modes };
    let spec = json!({
        "accessModes": modes,
        "resources": {"requests": {"storage": random.text(&["1n", "100m", "1", "1e3", "1.5Ki", "1Gi", "3Ti", "7Ei"])}},
        "storageClassName": random.one_of(&[Value::Null, json!(""), json!("rbd"), json!("odd.class")]),
        "volumeMode": random.one_of(&[Value::Null, json!("Filesystem"), json!("Block")]),
        "volumeName": random.one_of(&[Value::Null, json!("pv-1"), json!("pv.2")]),
    });
    let status = json!({
        "phase": random.one_of(&[Value::Null, json!("Pending"), json!("Bound"), json!("Lost")]),
        "conditions": random.maybe(60, |random| random.conditions(&["Resizing", "FileSystemResizePending", "Odd.Type"], &["", "R"], true)),
    });
    (spec, status)
}

pub(super) fn volume(random: &mut Random) -> (Value, Value) {
    let mut spec = json!({
        "capacity": {"storage": random.text(&["1", "100m", "1n", "5Gi", "1e3", "1.5Gi", "2Ki", "7Ei"])},
        "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
        "persistentVolumeReclaimPolicy": random.one_of(&[Value::Null, json!("Retain"), json!("Delete")]),
        "storageClassName": random.one_of(&[Value::Null, json!(""), json!("rbd")]),
        "volumeMode": random.one_of(&[Value::Null, json!("Filesystem"), json!("Block")]),
        "claimRef": random.maybe(60, |random| json!({
            "kind": "PersistentVolumeClaim", "apiVersion": "v1",
            "name": format!("claim-{}", random.below(9)), "namespace": "odd-1",
        })),
    });
    let (kind, source) = volume_source(random);
    if kind == "hostPath" {
        spec["persistentVolumeReclaimPolicy"] = json!("Retain");
    }
    if kind == "local" {
        let term = json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["a"]}]});
        spec["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [term]}});
    }
    spec[kind] = source;
    let status = json!({"phase": random.one_of(&[Value::Null, json!("Pending"), json!("Available"), json!("Bound"), json!("Released"), json!("Failed")])});
    (spec, status)
}

fn volume_source(random: &mut Random) -> (&'static str, Value) {
    match random.below(10) {
        0 => ("gcePersistentDisk", json!({"pdName": "pd-1"})),
        1 => ("awsElasticBlockStore", json!({"volumeID": "aws://us-east-1/vol-1"})),
        2 => (
            "azureDisk",
            json!({"diskName": "disk-1", "diskURI": "https://a.blob.core.windows.net/b/disk-1.vhd"}),
        ),
        3 if random.chance(50) => (
            "fc",
            json!({"lun": random.one_of(&[json!(0), json!(7)]), "targetWWNs": ["50060e801049cfd1", "0"]}),
        ),
        3 => ("fc", json!({"wwids": ["3600508b400105e210000900000490000", "x"]})),
        4 => (
            "iscsi",
            json!({"targetPortal": "10.0.0.1:3260", "iqn": "iqn.2016-04.com.example:storage", "lun": random.one_of(&[json!(0), json!(3)]), "initiatorName": random.one_of(&[Value::Null, json!("iqn.2016-04.com.example:init")])}),
        ),
        5 => ("nfs", json!({"server": "nfs.example", "path": "/share"})),
        6 => (
            "hostPath",
            json!({"path": "/mnt/data", "type": random.one_of(&[Value::Null, json!("DirectoryOrCreate"), json!("")])}),
        ),
        7 => ("local", json!({"path": "/mnt/local", "fsType": random.one_of(&[Value::Null, json!("ext4")])})),
        _ => (
            "csi",
            json!({
                "driver": "csi.example.com",
                "volumeHandle": random.text(&["handle-1", "a#b\"c"]),
                "volumeAttributes": random.maybe(70, |_| json!({"storage.kubernetes.io/csiProvisionerIdentity": "1-x", "fooBar": "1", "foo-bar": "2", "Mount Options": "a,b"})),
            }),
        ),
    }
}

pub(super) fn storage_class(random: &mut Random) -> Value {
    json!({
        "provisioner": random.text(&["kubernetes.io/rbd", "csi.example.com"]),
        "reclaimPolicy": random.one_of(&[Value::Null, json!("Delete"), json!("Retain")]),
        "volumeBindingMode": random.one_of(&[Value::Null, json!("Immediate"), json!("WaitForFirstConsumer")]),
    })
}

pub(super) fn volume_attachment(random: &mut Random) -> (Value, Value) {
    let spec = json!({
        "attacher": "csi.example.com",
        "nodeName": format!("odd-node-{}", random.below(12)),
        "source": {"persistentVolumeName": format!("pv-{}", random.below(9))},
    });
    let status = json!({
        "attached": random.chance(50),
        "attachmentMetadata": random.maybe(70, |_| json!({"DevicePath": "/dev/sdd", "devicePath": "x", "a b": "say \"x\"\n"})),
    });
    (spec, status)
}

pub(super) fn quota(random: &mut Random) -> (Value, Value) {
    const NAMES: [&str; 11] = [
        "cpu",
        "requests.memory",
        "limits.cpu",
        "requests.nvidia.com/gpu",
        "pods",
        "count/deployments.apps",
        "persistentvolumeclaims",
        "gold.storageclass.storage.k8s.io/requests.storage",
        "services.loadbalancers",
        "requests.hugepages-2Mi",
        "requests.ephemeral-storage",
    ];
    let make = |random: &mut Random, names: &[&str]| {
        let amounts = names.iter().map(|name| {
            let whole = !(name.ends_with("cpu") || name.ends_with("memory") || name.ends_with("storage"))
                || name.contains('/');
            ((*name).to_owned(), if whole { random.whole() } else { random.bytes() })
        });
        Value::Object(amounts.collect())
    };
    let names = random.some_of(&NAMES, 11);
    let (hard, used) = (make(random, &names), make(random, &names));
    (json!({"hard": hard}), json!({"hard": hard, "used": random.maybe(80, |_| used)}))
}

pub(super) fn limit_range(random: &mut Random) -> Value {
    let limits = random.list(1, 4, |random, index| {
        let kind = ["Pod", "Container", "PersistentVolumeClaim", "example.com/Thing"][index];
        let name = match kind {
            "PersistentVolumeClaim" => "storage",
            _ => random.pick(&["cpu", "memory", "example.com/odd-Res", "ephemeral-storage"]),
        };
        let whole = name.contains('/');
        // One amount for all, so that none is beyond another.
        let amount = if whole {
            random.whole()
        } else {
            random.text(&["1n", "100m", "0.5", "1", "1e3", "2Ki", "1.5Gi"])
        };
        let mut limit =
            json!({"type": kind, "max": {name: amount}, "min": random.maybe(70, |_| json!({name: amount}))});
        if kind == "Container" {
            limit["default"] = random.maybe(70, |_| json!({name: amount}));
            limit["defaultRequest"] = random.maybe(70, |_| json!({name: amount}));
            if !whole {
                limit["maxLimitRequestRatio"] = random.maybe(50, |_| json!({name: "1"}));
            }
        }
        limit
    });
    json!({"limits": limits})
}

/// A certificate and a request for one, as PEM in base64; only their form and length matter.
const CERTIFICATE: &str = include_str!("certificate.b64");
const CERTIFICATE_REQUEST: &str = include_str!("request.b64");

pub(super) fn signing_request(random: &mut Random) -> (Value, Value) {
    let signer = random.text(&[
        "example.com/signer",
        "kubernetes.io/kube-apiserver-client",
        "a.b.example/with.dots-and.more",
    ]);
    let spec =
        json!({"request": CERTIFICATE_REQUEST.trim(), "signerName": signer, "usages": ["client auth"]});
    let mut conditions = Vec::new();
    if random.chance(70) {
        conditions.push(random.pick(&["Approved", "Denied"]));
    }
    let approval = json!({"conditions": conditions.iter().map(|kind| json!({"type": kind, "status": "True", "reason": "r"})).collect::<Vec<_>>()});
    let mut status = approval.clone();
    if conditions == ["Approved"] {
        status["certificate"] = random.maybe(60, |_| json!(CERTIFICATE.trim()));
    }
    if random.chance(20)
        && let Some(all) = status["conditions"].as_array_mut()
    {
        all.push(json!({"type": "Failed", "status": "True", "reason": "r"}));
    }
    (spec, json!({"approval": approval, "status": without_nulls(status)}))
}

/// Capacity amounts of an odd kind for objects of other resources.
pub(super) fn odd_amounts(random: &mut Random) -> Value {
    amounts(random, &["a", "b", "c.d"], 3, Random::quantity)
}

//! Services and what leads to them.

use serde_json::{Value, json};

use super::Random;

pub(super) fn service(random: &mut Random, index: usize) -> (Value, Value) {
    let kind = random.pick(&[
        "ClusterIP",
        "ClusterIP",
        "Headless",
        "NodePort",
        "LoadBalancer",
        "LoadBalancer",
        "ExternalName",
    ]);
    let port = json!([{"name": "http", "port": 80, "protocol": "TCP"}]);
    let external = random.maybe(20, |random| {
        random.list(1, 3, |_, item| json!(format!("203.0.113.{}", index % 200 + item + 1)))
    });
    let spec = match kind {
        "Headless" => json!({"clusterIP": "None", "ports": port}),
        "ExternalName" => json!({"type": kind, "externalName": random.text(&["www.example.com", "a.b"])}),
        "ClusterIP" => {
            json!({"type": random.maybe(50, |_| json!(kind)), "ports": port, "externalIPs": external})
        }
        _ => json!({
            "type": kind,
            "ports": port,
            "externalIPs": external,
            "externalTrafficPolicy": random.one_of(&[Value::Null, json!("Cluster"), json!("Local")]),
            "loadBalancerIP": if kind == "LoadBalancer" { random.one_of(&[Value::Null, json!("198.51.100.7")]) } else { Value::Null },
        }),
    };
    let status = if kind == "LoadBalancer" {
        json!({"loadBalancer": {"ingress": balancer(random)}})
    } else {
        Value::Null
    };
    (spec, status)
}

fn balancer(random: &mut Random) -> Value {
    random.list(0, 3, |random, index| match random.below(3) {
        0 => json!({"hostname": format!("lb{index}.example.com")}),
        1 => json!({"ip": format!("198.51.100.{index}"), "hostname": "both.example.com"}),
        _ => json!({"ip": random.address()}),
    })
}

pub(super) fn endpoints(random: &mut Random) -> Value {
    // Not 10.0.0.0 and what else the server refuses.
    let mut address = 0;
    let mut addresses = |random: &mut Random| {
        random.list(0, 3, |random, _| {
            address += 1;
            let ip =
                if random.chance(80) { format!("172.22.23.{address}") } else { format!("fd00::{address}") };
            json!({"ip": ip, "hostname": random.maybe(20, |_| json!("h"))})
        })
    };
    random.list(0, 3, |random, _| {
        let (ready, not_ready) = (addresses(random), addresses(random));
        let empty =
            ready.as_array().is_some_and(Vec::is_empty) && not_ready.as_array().is_some_and(Vec::is_empty);
        let ready = if empty { json!([{"ip": "172.22.24.1"}]) } else { ready };
        let named = random.chance(70);
        let ports = random.list(0, 3, |random, index| {
            if !named && index > 0 {
                return json!({"name": format!("p{index}"), "port": index + 1000, "protocol": "UDP"});
            }
            json!({
                "name": if named { json!(format!("port-{index}")) } else { json!("p0") },
                "port": random.between(1, 65_535),
                "protocol": random.one_of(&[Value::Null, json!("TCP"), json!("UDP"), json!("SCTP")]),
            })
        });
        json!({"addresses": ready, "notReadyAddresses": not_ready, "ports": ports})
    })
}

pub(super) fn endpoint_slice(random: &mut Random) -> Value {
    let kind = random.pick(&["IPv4", "IPv6", "FQDN"]);
    let endpoints = random.list(0, 5, |random, index| {
        let addresses = random.list(1, 2, |_, part| match kind {
            "IPv4" => json!(format!("10.7.{index}.{}", part + 1)),
            "IPv6" => json!(format!("fd00:7::{}:{}", index + 1, part + 1)),
            _ => json!(format!("host-{index}-{part}.example.com")),
        });
        json!({
            "addresses": addresses,
            "conditions": random.maybe(80, |random| json!({
                "ready": random.flag(), "serving": random.flag(), "terminating": random.flag(),
            })),
            "hostname": random.one_of(&[Value::Null, json!("a-host")]),
            "nodeName": random.maybe(50, |random| json!(format!("odd-node-{}", random.below(12)))),
            "zone": random.maybe(50, |random| random.text(&["zone-a", "zone-b"])),
            "hints": random.maybe(40, |random| json!({"forZones": random.list(1, 3, |_, zone| json!({"name": format!("zone-{zone}")}))})),
            "targetRef": random.maybe(60, |random| json!({
                "kind": random.text(&["Pod", "Node", ""]), "name": format!("pod-{index}"), "namespace": random.text(&["odd-1", ""]),
            })),
        })
    });
    let ports = random.list(0, 3, |random, index| json!({
        "name": if index == 0 { random.maybe(50, |_| json!("http")) } else { json!(format!("port-{index}")) },
        "port": random.maybe(80, |random| json!(random.between(1, 65_535))),
        "protocol": random.maybe(70, |random| random.text(&["TCP", "UDP", "SCTP"])),
    }));
    json!({"addressType": kind, "endpoints": endpoints, "ports": ports})
}

pub(super) fn ingress(random: &mut Random) -> (Value, Value) {
    let backend = |random: &mut Random| match random.below(4) {
        0 => json!({"service": {"name": "web", "port": {"name": "http"}}}),
        1 => {
            json!({"resource": {"apiGroup": random.one_of(&[Value::Null, json!("example.com")]), "kind": "Bucket", "name": "assets"}})
        }
        _ => json!({"service": {"name": "web", "port": {"number": random.between(1, 65_535)}}}),
    };
    let rules = random.list(0, 3, |random, index| json!({
        "host": random.maybe(70, |random| json!(format!("{}h{index}.example.com", random.pick(&["", "*."])))),
        "http": random.maybe(85, |random| json!({"paths": random.list(1, 3, |random, part| {
            // A backend that is a resource stands alone for its path; any path type goes with it.
            json!({
                "path": format!("/{}", ["", "a", "say\"x\""][part]),
                "pathType": random.text(&["Prefix", "Exact", "ImplementationSpecific"]),
                "backend": backend(random),
            })
        })})),
    }));
    let default =
        if rules.as_array().is_some_and(Vec::is_empty) { backend(random) } else { random.maybe(20, backend) };
    let spec = json!({
        "ingressClassName": random.maybe(50, |random| random.text(&["nginx", "odd.class"])),
        "defaultBackend": default,
        "rules": rules,
        "tls": random.maybe(50, |random| random.list(1, 3, |random, index| json!({
            "hosts": random.maybe(80, |random| random.list(0, 2, |_, part| json!(format!("t{index}-{part}.example.com")))),
            "secretName": random.one_of(&[Value::Null, json!("tls-secret")]),
        }))),
    });
    (spec, json!({"loadBalancer": {"ingress": balancer(random)}}))
}

pub(super) fn network_policy(random: &mut Random) -> Value {
    json!({
        "podSelector": {},
        "ingress": random.maybe(60, |random| random.list(0, 3, |_, _| json!({}))),
        "egress": random.maybe(60, |random| random.list(0, 3, |_, _| json!({}))),
        "policyTypes": ["Ingress", "Egress"],
    })
}

//! Flags that both are started with, and what is then asked of them.

use xtask::rig::{Rig, User};

/// A scrape.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// What is asked of Outrigger where that is another path.
    pub(crate) own_path: Option<String>,
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// Flags and requests.
#[derive(Debug, Clone)]
pub(crate) struct Combination {
    pub(crate) name: &'static str,
    pub(crate) flags: Vec<String>,
    /// Flags of Outrigger where they are others.
    pub(crate) own_flags: Option<Vec<String>>,
    pub(crate) requests: Vec<Request>,
    /// Samples that the first request has at least: guards against two empty answers being equal.
    pub(crate) at_least: usize,
    /// Objects are changed, added and deleted while both run.
    pub(crate) changes: bool,
}

const ALL_RESOURCES: &str = "certificatesigningrequests,clusterrolebindings,clusterroles,configmaps,cronjobs,daemonsets,\
    deployments,endpoints,endpointslices,horizontalpodautoscalers,ingressclasses,ingresses,jobs,leases,limitranges,\
    mutatingadmissionpolicies,mutatingadmissionpolicybindings,mutatingwebhookconfigurations,namespaces,networkpolicies,nodes,\
    persistentvolumeclaims,persistentvolumes,poddisruptionbudgets,pods,replicasets,replicationcontrollers,resourcequotas,\
    rolebindings,roles,secrets,serviceaccounts,services,statefulsets,storageclasses,validatingadmissionpolicies,\
    validatingadmissionpolicybindings,validatingwebhookconfigurations,volumeattachments";

/// Values of `Accept` as scrapers send them and as they should not.
const ACCEPTS: [&str; 11] = [
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1",
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3",
    "application/openmetrics-text",
    "application/openmetrics-text;version=0.0.1",
    "application/openmetrics-text;version=2.0.0",
    "application/openmetrics-text;version=1.0.0;escaping=dots",
    "text/plain;version=0.0.4",
    "text/html,application/xhtml+xml",
    "*/*",
    "",
];

fn request(path: &str) -> Request {
    Request { path: path.to_owned(), own_path: None, headers: Vec::new() }
}

/// With the token of a user.
fn as_user(rig: &Rig, user: User) -> Request {
    let token = std::fs::read_to_string(rig.token_file(user)).unwrap();
    with_header("Authorization", &format!("Bearer {}", token.trim()))
}

fn with_header(name: &'static str, value: &str) -> Request {
    Request { headers: vec![(name, value.to_owned())], ..request("/metrics") }
}

fn combination(name: &'static str, flags: &[&str], at_least: usize) -> Combination {
    Combination {
        name,
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        own_flags: None,
        requests: vec![request("/metrics")],
        at_least,
        changes: false,
    }
}

fn asking(combination: Combination, requests: Vec<Request>) -> Combination {
    Combination { requests: combination.requests.into_iter().chain(requests).collect(), ..combination }
}

/// Virtual shards: the whole of one Outrigger, asked for the part that one of their processes has.
fn virtual_shard(name: &'static str, index: u32, total: u32) -> Combination {
    let flags = [format!("--shard={index}"), format!("--total-shards={total}")];
    let mut combination = combination(name, &[&flags[0], &flags[1]], 100);
    combination.own_flags = Some(Vec::new());
    combination.requests[0].own_path = Some(format!("/metrics?shard={index}&total={total}"));
    combination
}

/// Every combination. Files that flags name are written into the rig's folder.
pub(crate) fn all(rig: &Rig) -> Vec<Combination> {
    let file = |name: &str, text: &str| {
        let path = rig.dir().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let custom = file("custom.yaml", include_str!("data/custom-resource-state.yaml"));
    let custom_file = format!("--custom-resource-state-config-file={custom}");
    let inline =
        format!("--custom-resource-state-config={}", include_str!("data/custom-resource-state.yaml"));
    let wildcards = file("wildcards.yaml", include_str!("data/custom-resource-state-wildcards.yaml"));
    let wildcards = format!("--custom-resource-state-config-file={wildcards}");
    let options = format!("--config={}", file("options.yaml", include_str!("data/options.yaml")));
    let every = format!("--resources={ALL_RESOURCES}");
    let mut changes = combination(
        "changes",
        &[&every, "--metric-labels-allowlist=*=[*]", "--metric-annotations-allowlist=*=[*]"],
        5000,
    );
    changes.changes = true;
    vec![
        asking(combination("defaults", &[], 2000), default_requests()),
        combination(
            "everything",
            &[
                &every,
                "--metric-labels-allowlist=*=[*]",
                "--metric-annotations-allowlist=*=[*]",
                "--metric-opt-in-list=kube_.*",
            ],
            5000,
        ),
        combination("every resource", &[&every], 3000),
        asking(
            combination("gzip", &["--enable-gzip-encoding", "--resources=nodes,services"], 100),
            // Not zstd: kube-state-metrics has no such thing.
            ["gzip", "gzip;q=0", "deflate, gzip;q=1.0, *;q=0.5", "identity", "GZIP", "br", ""]
                .map(|value| with_header("Accept-Encoding", value))
                .to_vec(),
        ),
        combination(
            "allowlist",
            &["--metric-allowlist=kube_pod_info,^kube_node_.*$,kube_resourcequota"],
            100,
        ),
        combination(
            "allowlist with lookaround",
            &["--metric-allowlist=kube_(?!pod_|node)\\w+_(created|labels)(?<!secret_created)$"],
            100,
        ),
        combination(
            "denylist",
            &["--metric-denylist=kube_.*_(labels|annotations),kube_pod_container_(?=status),_created$"],
            500,
        ),
        combination(
            "opt-in",
            &[
                "--metric-opt-in-list=kube_pod_nodeselectors,kube_persistentvolume_csi_attributes",
                "--resources=pods,persistentvolumes",
            ],
            500,
        ),
        combination(
            "allowlist and opt-in",
            &[
                "--metric-allowlist=kube_persistentvolume_info",
                "--metric-opt-in-list=kube_pod_nodeselectors,^kube_persistentvolume",
            ],
            10,
        ),
        combination(
            "labels",
            &[
                "--metric-labels-allowlist=pods=[app,fooBar,foo-bar,foo.bar,foo_bar_conflict1],nodes=[*],deployments=[app.kubernetes.io/name,app],persistentvolumeclaims=[x,*]",
                "--metric-annotations-allowlist=pods=[*],namespaces=[example.com/HTTPServerURL,aB],secrets=[a_b,a__b]",
            ],
            2000,
        ),
        combination(
            "label wildcards",
            &[
                "--metric-labels-allowlist=pods=[app.kubernetes.io/*,foo*],jobs=[*bar],nodes=[node-role*,topology.*/zone],services=[*]",
                "--metric-annotations-allowlist=*=[example.com/*,0digit]",
            ],
            2000,
        ),
        combination("namespaces", &["--namespaces=odd-0,odd-1,no-such-namespace"], 300),
        combination("namespaces denylist", &["--namespaces-denylist=kube-system,odd-2,odd-quotas"], 1000),
        combination(
            "both namespace lists",
            &["--namespaces=odd-1,odd-2,odd-3", "--namespaces-denylist=odd-2,default"],
            300,
        ),
        combination("resources", &["--resources=leases,nodes,pods,endpoints"], 300),
        combination("first shard", &["--shard=0", "--total-shards=3"], 500),
        combination("last shard", &["--shard=2", "--total-shards=3", "--resources=pods,configmaps"], 100),
        virtual_shard("virtual shard", 1, 3),
        virtual_shard("one of many virtual shards", 6, 7),
        combination("custom resources", &[&custom_file], 2000),
        combination("custom resources alone", &[&inline, "--custom-resource-state-only"], 300),
        combination(
            "custom resources by wildcards",
            &[
                &wildcards,
                "--custom-resource-state-only",
                "--namespaces=odd-0,odd-1,odd-2",
                "--metric-denylist=wild_hidden",
            ],
            50,
        ),
        combination("every custom kind", &[&wildcards, "--custom-resource-state-only"], 200),
        combination(
            "custom resources but of a namespace",
            &[&wildcards, "--custom-resource-state-only", "--namespaces-denylist=odd-1"],
            100,
        ),
        combination("one node's pods", &["--node=odd-node-3", "--resources=pods"], 100),
        combination("unscheduled pods", &["--track-unscheduled-pods", "--resources=pods"], 100),
        combination(
            "from the server's cache",
            &["--use-apiserver-cache", "--resources=pods,deployments,nodes,volumeattachments"],
            500,
        ),
        combination(
            "object limit",
            &["--object-limit=7", "--resources=pods,configmaps,nodes,storageclasses"],
            100,
        ),
        combination("configuration file", &[&options, "--resources=nodes", "--namespaces=odd-4"], 100),
        combination(
            "log flags",
            &[
                "--v=2",
                "--logtostderr=true",
                "--alsologtostderr",
                "--stderrthreshold=2",
                "--vmodule=a=1",
                "--skip_headers",
                "--auto-gomemlimit",
                "--auto-gomemlimit-ratio=0.5",
                "--server-write-timeout=2m",
                "--resources",
                "nodes,namespaces",
            ],
            50,
        ),
        Combination {
            // Not with a bad token, which kube-state-metrics answers 500.
            requests: vec![as_user(rig, User::Outrigger), as_user(rig, User::Nobody), request("/metrics")],
            ..combination("authorized", &["--auth-filter", "--resources=nodes,namespaces"], 100)
        },
        changes,
    ]
}

fn default_requests() -> Vec<Request> {
    let mut requests: Vec<Request> = [
        "?resources=pods",
        "?resources=pods,nodes",
        "?resources=pods&resources=nodes",
        "?resources=nodes,pods&exclude_resources=pods",
        "?exclude_resources=pods,secrets&exclude_resources=nodes",
        "?resources=",
        "?exclude_resources=",
        "?resources=no-such-resource",
        "?resources=Pods,%20nodes",
        "?resources=roles",
        "?unknown=parameter",
    ]
    .map(|query| request(&format!("/metrics{query}")))
    .to_vec();
    let accepting = ACCEPTS.map(|accept| Request {
        path: "/metrics?resources=deployments".to_owned(),
        ..with_header("Accept", accept)
    });
    requests.extend(accepting);
    requests.push(with_header("Accept", ACCEPTS[0]));
    requests.push(with_header("Accept-Encoding", "gzip"));
    requests
}

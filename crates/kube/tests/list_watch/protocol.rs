//! Lists, watches, and what may happen to them.

use std::time::Duration;

use outrigger_kube::{
    ConnectOptions, Created, CustomResource, ObjectError, ObjectSink, RequestError, RequestKind,
    ResourceKind, WatchChange, WatchPhase, WatchPolicy,
};
use outrigger_wire::kubernetes::{Status, WatchEventKind, encode_frame};

use crate::server::{Server, event, list, status as failure};
use crate::setup::{connect, connect_as, options, policy, requests, status, watch, watch_within};
use crate::sink::{Rows, until};

const POD: ResourceKind = ResourceKind::Pod;
const PODS: &str = "/api/v1/pods?";

#[tokio::test]
async fn a_streamed_list_is_followed_by_changes_on_the_same_stream() {
    let server = Server::start().await;
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    let request = server.next(PODS).await;
    assert_eq!(request.header("authorization"), "Bearer secret");
    assert_eq!(request.header("user-agent"), concat!("outrigger-master/", env!("CARGO_PKG_VERSION")));
    assert_eq!(request.header("accept"), "application/vnd.kubernetes.protobuf,application/json;q=0.5");
    assert_eq!(request.header("accept-encoding"), "identity");
    let stream = request.stream_list(&["a", "b"], "10");
    rows.until_pods("a b").await;
    stream.event(WatchEventKind::Added, "c", "11");
    stream.event(WatchEventKind::Deleted, "a", "12");
    rows.until_pods("b c").await;
    stream.bookmark("40");
    until("the bookmark", || status(&cluster, POD).resource_version == "40").await;
    let status = status(&cluster, POD);
    assert_eq!((status.phase, status.synced, status.events), (WatchPhase::Watching, true, 6));
    assert_eq!((status.relists, status.reconnects, status.last_error), (0, 0, None));
    assert!(status.last_event.is_some() && status.bytes > 0);
    assert_eq!(requests(&cluster, RequestKind::WatchList), 1);
    assert_eq!(requests(&cluster, RequestKind::List) + requests(&cluster, RequestKind::Watch), 0);
    assert_eq!(requests(&cluster, RequestKind::Version), 1);
}

#[tokio::test]
async fn metadata_is_asked_for_where_only_metadata_is_read() {
    let server = Server::start().await;
    server.set_version("v1.30.2");
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let _watch = watch(&cluster, ResourceKind::ReplicaSet, &rows);
    let request = server.next("/apis/apps/v1/replicasets?").await;
    assert!(
        request.header("accept").starts_with(
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"
        )
    );
    request.reply(list(&["web-1"], "5", ""));
    let request = server.next("/apis/apps/v1/replicasets?").await;
    assert!(
        request
            .header("accept")
            .starts_with("application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,")
    );
    let _stream = request.open_watch_from("5");
    until("the row", || rows.names(ResourceKind::ReplicaSet) == "web-1").await;
}

#[tokio::test]
async fn a_server_that_refuses_to_stream_is_listed_from_its_cache() {
    let server = Server::start().await;
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    let request = server.next(PODS).await;
    assert_eq!(request.parameter("sendInitialEvents"), "true");
    request.refuse(422, "Invalid", "sendInitialEvents: Forbidden");
    let request = server.next(PODS).await;
    assert_eq!(request.path, "/api/v1/pods?resourceVersion=0");
    request.reply(list(&["a", "b"], "10", ""));
    let stream = server.next(PODS).await.open_watch_from("10");
    stream.event(WatchEventKind::Added, "c", "11");
    rows.until_pods("a b c").await;
}

#[tokio::test]
async fn a_server_too_old_to_stream_is_not_asked_to() {
    let server = Server::start().await;
    server.set_version("v1.31.4-vendor.2");
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    let request = server.next(PODS).await;
    assert_eq!(request.path, "/api/v1/pods?resourceVersion=0");
    request.reply(list(&["a"], "10", ""));
    let _stream = server.next(PODS).await.open_watch_from("10");
    rows.until_pods("a").await;
    assert_eq!(requests(&cluster, RequestKind::WatchList), 0);
}

#[tokio::test]
async fn pages_are_followed_and_deliver_one_generation() {
    let server = Server::start().await;
    server.set_version("v1.28.0");
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    server.next(PODS).await.reply(list(&["a", "b"], "10", "one"));
    let request = server.next(PODS).await;
    assert_eq!(request.path, "/api/v1/pods?limit=500&continue=one");
    assert_eq!(rows.commits(POD), 0);
    request.reply(list(&["c"], "10", "two"));
    server.next("/api/v1/pods?limit=500&continue=two").await.reply(list(&["d"], "10", ""));
    let _stream = server.next(PODS).await.open_watch_from("10");
    rows.until_pods("a b c d").await;
    assert_eq!(rows.commits(POD), 1);
}

#[tokio::test]
async fn twenty_cuts_are_resumed_from_the_last_event_without_a_list() {
    let server = Server::start().await;
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    let mut stream = server.next(PODS).await.stream_list(&["a"], "100");
    rows.until_pods("a").await;
    for round in 1..=20 {
        let version = (100 + round).to_string();
        let name = format!("cut-{round:02}");
        stream.event(WatchEventKind::Added, &name, &version);
        until("the event", || rows.pods().contains(&name)).await;
        match round % 4 {
            0 => stream.reset(),
            1 => stream.end(),
            2 => server.cut_connections(),
            _ => stream.cut(),
        }
        stream = server.next(PODS).await.open_watch_from(&version);
    }
    let status = status(&cluster, POD);
    assert_eq!((status.relists, status.reconnects), (0, 20));
    assert_eq!(requests(&cluster, RequestKind::List), 0);
    assert_eq!(requests(&cluster, RequestKind::WatchList), 1);
    until("the last answer", || requests(&cluster, RequestKind::Watch) == 20).await;
    assert_eq!(rows.commits(POD), 1);
}

#[tokio::test]
async fn an_expired_version_lists_into_a_new_generation() {
    for in_event in [false, true] {
        let server = Server::start().await;
        let cluster = connect(&server).await;
        let rows = Rows::new();
        let _watch = watch(&cluster, POD, &rows);
        let stream = server.next(PODS).await.stream_list(&["a", "b"], "10");
        rows.until_pods("a b").await;
        let gone = failure(410, "Expired", "too old resource version: 10 (900)");
        if in_event {
            stream.error(&gone);
        } else {
            stream.end();
            server.next(PODS).await.refuse_with(410, &[], &gone);
        }
        let request = server.next(PODS).await;
        assert_eq!(request.parameter("sendInitialEvents"), "true");
        let stream = request.open();
        stream.event(WatchEventKind::Added, "b", "901");
        stream.event(WatchEventKind::Added, "c", "902");
        rows.until_pods("a b c").await;
        assert_eq!(status(&cluster, POD).relists, 1);
        stream.initial_events_end("910");
        rows.until_pods("b c").await;
        assert_eq!(status(&cluster, POD).last_error, None);
    }
}

#[tokio::test]
async fn retry_after_is_read_from_the_header_and_from_the_body() {
    let server = Server::start().await;
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    let start = tokio::time::Instant::now();
    let busy = failure(429, "TooManyRequests", "the server has received too many requests");
    server.next(PODS).await.refuse_with(429, &[("retry-after", "1")], &busy);
    until("the error", || status(&cluster, POD).last_error.is_some()).await;
    let error = status(&cluster, POD).last_error.unwrap();
    assert_eq!(
        error,
        "list (streamed) pods: 429 Too Many Requests: the server has received too many requests"
    );
    let busy = Status { retry_after_seconds: Some(1), ..busy };
    server.next(PODS).await.refuse_with(503, &[], &busy);
    let _stream = server.next(PODS).await.stream_list(&["a"], "10");
    assert!(start.elapsed() >= Duration::from_secs(2), "both pauses were kept");
    rows.until_pods("a").await;
}

#[tokio::test]
async fn a_watch_refused_with_429_in_an_event_resumes() {
    let server = Server::start().await;
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    let stream = server.next(PODS).await.stream_list(&["a"], "10");
    stream.error(&failure(429, "TooManyRequests", "slow down"));
    let _stream = server.next(PODS).await.open_watch_from("10");
    assert_eq!(status(&cluster, POD).relists, 0);
}

#[tokio::test]
async fn garbage_is_counted_and_resumed_and_lists_again_only_when_it_stays() {
    let server = Server::start().await;
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    let mut stream = server.next(PODS).await.stream_list(&["a"], "10");
    let mut framed = Vec::new();
    encode_frame(b"\xff\xff\xff not a watch event", &mut framed);
    let mut unknown = Vec::new();
    encode_frame(b"\x0a\x03ODD", &mut unknown);
    let oversize = (1u32 << 30).to_be_bytes().to_vec();
    for garbage in [framed.clone(), unknown, oversize] {
        stream.send(garbage);
        stream = server.next(PODS).await.open_watch_from(&status(&cluster, POD).resource_version);
        let version = (status(&cluster, POD).resource_version.parse::<u64>().unwrap() + 1).to_string();
        stream.event(WatchEventKind::Added, "b", &version);
        until("the event", || status(&cluster, POD).resource_version == version).await;
    }
    assert_eq!(status(&cluster, POD).relists, 0);
    for _ in 0..2 {
        stream.send(framed.clone());
        stream = server.next(PODS).await.open_watch_from("13");
    }
    stream.send(framed);
    let _stream = server.next(PODS).await.stream_list(&["z"], "20");
    rows.until_pods("z").await;
    assert_eq!(status(&cluster, POD).relists, 1);
}

#[tokio::test]
async fn a_stream_that_ends_within_a_frame_is_resumed_and_nothing_of_the_frame_is_used() {
    let server = Server::start().await;
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    let mut stream = server.next(PODS).await.stream_list(&["a"], "10");
    let frame = event(WatchEventKind::Added, "half", "11");
    for cut_at in [1, 4, frame.len() / 2, frame.len() - 1] {
        stream.send(frame[..cut_at].to_vec());
        stream.end();
        stream = server.next(PODS).await.open_watch_from("10");
    }
    assert_eq!((status(&cluster, POD).relists, rows.pods().as_str()), (0, "a"));
    // The same bytes in pieces are an event.
    for byte in frame {
        stream.send(vec![byte]);
    }
    rows.until_pods("a half").await;
}

#[tokio::test]
async fn a_list_that_is_garbage_or_cut_is_asked_for_again() {
    let server = Server::start().await;
    server.set_version("v1.30.0");
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    server.next(PODS).await.reply(b"{\"kind\":\"PodList\"}".to_vec());
    let whole = list(&["a", "b"], "10", "");
    server.next(PODS).await.reply(whole[..whole.len() - 5].to_vec());
    until("the error", || status(&cluster, POD).last_error.is_some_and(|e| e.contains("ends within"))).await;
    let answer = server.next(PODS).await.open();
    answer.send(whole[..40].to_vec());
    answer.reset();
    assert_eq!(rows.commits(POD), 0);
    server.next(PODS).await.reply(whole);
    let _stream = server.next(PODS).await.open_watch_from("10");
    rows.until_pods("a b").await;
}

#[tokio::test]
async fn a_streamed_list_that_never_ends_is_replaced_by_a_plain_one() {
    let server = Server::start().await;
    let list_idle = Duration::from_millis(200);
    let options = ConnectOptions { policy: WatchPolicy { list_idle, ..policy() }, ..options() };
    let cluster = connect_as(&server, "token: t", options).await;
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    let hanging = server.next(PODS).await.open();
    hanging.event(WatchEventKind::Added, "a", "5");
    let request = server.next(PODS).await;
    assert_eq!(request.path, "/api/v1/pods?resourceVersion=0");
    until("the stream's end", || hanging.given_up()).await;
    request.reply(list(&["b"], "10", ""));
    rows.until_pods("b").await;
}

#[tokio::test]
async fn silence_after_regular_bookmarks_reopens_the_stream() {
    let server = Server::start().await;
    let idle = Duration::from_millis(300);
    let options = ConnectOptions { policy: WatchPolicy { idle, ..policy() }, ..options() };
    let cluster = connect_as(&server, "token: t", options).await;
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    let stream = server.next(PODS).await.stream_list(&["a"], "10");
    for version in ["11", "12", "13"] {
        stream.bookmark(version);
    }
    let resumed = server.next(PODS).await.open_watch_from("13");
    assert!(stream.given_up());
    resumed.event(WatchEventKind::Added, "b", "14");
    rows.until_pods("a b").await;
    assert_eq!(status(&cluster, POD).relists, 0);
}

#[tokio::test]
async fn a_resource_that_is_forbidden_says_which_rule_it_needs_and_others_go_on() {
    let server = Server::start().await;
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let slices = ResourceKind::EndpointSlice;
    let _watches = [watch(&cluster, POD, &rows), watch(&cluster, slices, &rows)];
    let message = "endpointslices.discovery.k8s.io is forbidden: User \"ann\" cannot watch resource \
                   \"endpointslices\" in API group \"discovery.k8s.io\" at the cluster scope";
    for _ in 0..4 {
        server.next("/apis/discovery").await.refuse(403, "Forbidden", message);
    }
    let pods = server.next(PODS).await.stream_list(&["a"], "10");
    rows.until_pods("a").await;
    until("the phase", || status(&cluster, slices).phase == WatchPhase::Forbidden).await;
    let forbidden = status(&cluster, slices);
    let hint = forbidden.missing_permission.unwrap();
    assert_eq!((hint.role_kind, hint.user.as_deref()), ("ClusterRole", Some("ann")));
    assert!(hint.rule.contains("resources: [\"endpointslices\"]"), "{}", hint.rule);
    assert!(forbidden.last_error.unwrap().ends_with(message));
    pods.event(WatchEventKind::Added, "b", "11");
    rows.until_pods("a b").await;
    // Once it is granted, it works without a restart.
    let _granted = server.next("/apis/discovery").await.stream_list(&["s"], "9");
    until("the slice", || rows.names(slices) == "s").await;
    until("no hint", || status(&cluster, slices).missing_permission.is_none()).await;
}

#[tokio::test]
async fn namespaces_are_watched_one_by_one_where_the_whole_cluster_is_forbidden() {
    let server = Server::start().await;
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let _watch = watch_within(&cluster, POD, &["x", "y", "z"], &rows);
    for _ in 0..4 {
        server.next(PODS).await.refuse(403, "Forbidden", "User \"ann\" cannot list");
    }
    let x = server.next("/api/v1/namespaces/x/pods?").await.stream_list(&["x/a", "x/b"], "10");
    for _ in 0..4 {
        let request = server.next("/api/v1/namespaces/z/pods?").await;
        request.refuse(403, "Forbidden", "User \"ann\" cannot list");
    }
    assert_eq!(rows.commits(POD), 0);
    let y = server.next("/api/v1/namespaces/y/pods?").await.stream_list(&["y/a"], "12");
    until("one whole list", || rows.commits(POD) == 1).await;
    rows.until_pods("x/a x/b y/a").await;
    y.event(WatchEventKind::Added, "y/b", "13");
    x.error(&failure(410, "Expired", "too old"));
    let _x = server.next("/api/v1/namespaces/x/pods?").await.stream_list(&["x/b", "x/c"], "20");
    rows.until_pods("x/b x/c y/a y/b").await;
    assert_eq!(rows.commits(POD), 1);
    let statuses = cluster.statuses();
    let z = statuses.iter().find(|status| status.namespace.as_deref() == Some("z")).unwrap();
    assert_eq!(z.missing_permission.as_ref().unwrap().role_kind, "Role");
    assert_eq!(statuses.len(), 3, "the watch of the whole cluster is over");
}

#[tokio::test]
async fn an_object_that_the_sink_refuses_is_counted_and_the_others_arrive() {
    let server = Server::start().await;
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    let stream = server.next(PODS).await.stream_list(&["a", "bad-1", "b"], "10");
    stream.event(WatchEventKind::Modified, "bad-2", "11");
    stream.event(WatchEventKind::Added, "c", "12");
    rows.until_pods("a b c").await;
    let status = status(&cluster, POD);
    assert_eq!((status.refused_objects, status.reconnects), (2, 0));
}

#[tokio::test]
async fn a_resource_that_is_not_served_is_waited_for() {
    let server = Server::start().await;
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    for _ in 0..4 {
        server.next(PODS).await.raw(404, b"404 page not found\n");
    }
    until("the phase", || status(&cluster, POD).phase == WatchPhase::NotServed).await;
    assert_eq!(
        status(&cluster, POD).last_error.unwrap(),
        "list (streamed) pods: 404 Not Found: 404 page not found"
    );
    let _stream = server.next(PODS).await.stream_list(&["a"], "10");
    rows.until_pods("a").await;
}

/// A custom resource's objects by name, as lists and watches brought them.
#[derive(Default)]
struct Names(parking_lot::Mutex<NameTable>);

#[derive(Default)]
struct NameTable {
    known: std::collections::BTreeSet<String>,
    listed: std::collections::BTreeSet<String>,
}

impl Names {
    fn joined(&self) -> String {
        self.0.lock().known.iter().cloned().collect::<Vec<_>>().join(" ")
    }
}

impl ObjectSink for Names {
    fn begin_generation(&self) {
        self.0.lock().listed.clear();
    }

    fn apply(&self, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        let object: serde_json::Value = serde_json::from_slice(object).map_err(|error| error.to_string())?;
        let name = object["metadata"]["name"].as_str().ok_or_else(|| "no name".to_owned())?.to_owned();
        let table = &mut *self.0.lock();
        match change {
            WatchChange::Upsert => {
                table.known.insert(name.clone());
                table.listed.insert(name);
            }
            WatchChange::Delete => {
                table.known.remove(&name);
            }
        }
        Ok(())
    }

    fn commit_generation(&self) {
        let table = &mut *self.0.lock();
        table.known = std::mem::take(&mut table.listed);
    }
}

const MONITOR: CustomResource =
    CustomResource::namespaced("monitoring.coreos.com", "v1", "servicemonitors", "ServiceMonitor");
const MONITORS: &str = "/apis/monitoring.coreos.com/v1/servicemonitors?";

fn json_event(kind: &str, name: &str, version: &str) -> Vec<u8> {
    let object =
        serde_json::json!({"metadata": {"name": name, "resourceVersion": version}, "spec": {"a": "}\n"}});
    format!("{}\n", serde_json::json!({"type": kind, "object": object})).into_bytes()
}

#[tokio::test]
async fn custom_resources_are_watched_in_json_and_resumed_as_the_others_are() {
    let server = Server::start().await;
    let cluster = connect(&server).await;
    let names = std::sync::Arc::new(Names::default());
    let task = tokio::spawn(cluster.watch_custom(MONITOR, None, names.clone()));
    let request = server.next(MONITORS).await;
    assert_eq!(request.parameter("sendInitialEvents"), "true");
    assert_eq!(request.header("accept"), "application/json");
    let stream = request.open();
    stream.send(json_event("ADDED", "a", "3"));
    // Cut anywhere, as a connection cuts it.
    let (head, tail) = {
        let event = json_event("ADDED", "b", "4");
        (event[..25].to_vec(), event[25..].to_vec())
    };
    stream.send(head);
    stream.send(tail);
    let end = serde_json::json!({"type": "BOOKMARK", "object": {"metadata": {
        "resourceVersion": "10", "annotations": {"k8s.io/initial-events-end": "true"}}}});
    stream.send(format!("{end}\n").into_bytes());
    until("the list", || names.joined() == "a b").await;
    stream.send(json_event("DELETED", "a", "11"));
    stream.send(json_event("ADDED", "c", "12"));
    until("the changes", || names.joined() == "b c").await;
    stream.end();
    let request = server.next(MONITORS).await;
    assert_eq!(request.parameter("resourceVersion"), "12");
    let stream = request.open();
    let gone = serde_json::json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired",
        "message": "too old resource version"}});
    stream.send(format!("{gone}\n").into_bytes());
    let request = server.next(MONITORS).await;
    assert_eq!(request.parameter("sendInitialEvents"), "true", "410 lists again");
    request.refuse(422, "Invalid", "sendInitialEvents is forbidden");
    let request = server.next(MONITORS).await;
    assert_eq!(request.parameter("resourceVersionMatch"), "NotOlderThan");
    let body = serde_json::json!({"kind": "ServiceMonitorList", "metadata": {"resourceVersion": "20", "continue": "p2"},
        "items": [{"metadata": {"name": "x"}}]});
    request.reply(body.to_string().into_bytes());
    let request = server.next(MONITORS).await;
    assert_eq!(request.parameter("continue"), "p2");
    let body = serde_json::json!({"kind": "ServiceMonitorList", "items": [{"metadata": {"name": "y"}}],
        "metadata": {"resourceVersion": "20"}});
    request.reply(serde_json::to_string_pretty(&body).unwrap().into_bytes());
    until("the second list", || names.joined() == "x y").await;
    let request = server.next(MONITORS).await;
    assert_eq!(request.parameter("resourceVersion"), "20");
    let status = cluster.statuses().remove(0);
    assert_eq!(status.resource.to_string(), "servicemonitors.monitoring.coreos.com");
    assert_eq!((status.relists, status.synced), (1, true));
    task.abort();
}

#[tokio::test]
async fn single_objects_are_read_and_created() {
    const SECRET: CustomResource = CustomResource::namespaced("", "v1", "secrets", "Secret");
    let server = Server::start().await;
    let cluster = connect(&server).await;
    let ask = |name: &'static str| {
        let cluster = cluster.clone();
        tokio::spawn(async move { cluster.get_object(SECRET, "team a", name).await })
    };
    let asked = ask("x");
    let request = server.next("/api/v1/namespaces/team%20a/secrets/x").await;
    request.reply(b"{}".to_vec());
    assert_eq!(asked.await.unwrap().unwrap().unwrap(), b"{}");
    let asked = ask("y");
    server.next("/api/v1/namespaces/team%20a/secrets/y").await.refuse(404, "NotFound", "not found");
    assert!(asked.await.unwrap().unwrap().is_none());
    let asked = ask("z");
    let message = "secrets \"z\" is forbidden: User \"o\" cannot get resource";
    server.next("/api/v1/namespaces/team%20a/secrets/z").await.refuse(403, "Forbidden", message);
    let RequestError::Refused { code: 403, hint: Some(hint), .. } = asked.await.unwrap().unwrap_err() else {
        panic!("a refusal with a hint is expected")
    };
    assert!(hint.rule.contains("resources: [\"secrets\"]\n  verbs: [\"get\"]"), "{}", hint.rule);
    let create = || {
        let cluster = cluster.clone();
        tokio::spawn(async move { cluster.create_object(SECRET, "n", b"{\"a\":1}".to_vec()).await })
    };
    for (code, created) in [(201, Created::New), (409, Created::Exists)] {
        let asked = create();
        let request = server.next("/api/v1/namespaces/n/secrets").await;
        assert_eq!(request.header("content-type"), "application/json");
        request.raw(code, b"{}");
        assert_eq!(asked.await.unwrap().unwrap(), created);
    }
    assert_eq!((requests(&cluster, RequestKind::Get), requests(&cluster, RequestKind::Create)), (3, 2));
}

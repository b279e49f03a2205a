//! Connections: how many, and what becomes of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outrigger_kube::{
    ConnectOptions, ObjectError, RequestBudget, RequestKind, ResourceKind, WatchChange, WatchPolicy,
    WatchSink,
};
use outrigger_rt::metrics::Registry;
use outrigger_wire::kubernetes::WatchEventKind;
use parking_lot::Mutex;

use crate::server::{Answer, Authority, Server, list};
use crate::setup::{connect, connect_as, options, policy, requests, status, watch};
use crate::sink::{Rows, until};

const POD: ResourceKind = ResourceKind::Pod;
const PODS: &str = "/api/v1/pods?";

/// Answers the list of every resource and returns the streams with the numbers of their connections.
async fn stream_all(server: &Server, version: &str) -> Vec<(ResourceKind, usize, Answer)> {
    let mut streams = Vec::new();
    for resource in ResourceKind::MIRRORED {
        let request = server.next(&format!("{}?", resource.path())).await;
        let connection = request.connection;
        let answer = if request.parameter("sendInitialEvents") == "true" {
            request.stream_list(&["a"], version)
        } else {
            request.open_watch_from(version)
        };
        streams.push((resource, connection, answer));
    }
    streams
}

#[tokio::test]
async fn all_watches_share_one_connection_and_the_pods_have_their_own() {
    let server = Server::start().await;
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let _watches = ResourceKind::MIRRORED.map(|resource| watch(&cluster, resource, &rows));
    for round in 1..=2 {
        let streams = stream_all(&server, "10").await;
        let pods: BTreeSet<_> = streams.iter().filter(|s| s.0 == POD).map(|s| s.1).collect();
        let others: BTreeSet<_> = streams.iter().filter(|s| s.0 != POD).map(|s| s.1).collect();
        assert_eq!((pods.len(), others.len()), (1, 1), "{pods:?} {others:?}");
        assert!(pods.is_disjoint(&others));
        until("connections", || server.accepted() == 2 * round).await;
        for resource in ResourceKind::MIRRORED {
            until("the row", || rows.names(resource) == "a").await;
        }
        if round == 1 {
            server.cut_connections();
        }
    }
    until("the last answer", || requests(&cluster, RequestKind::Watch) == 10).await;
    assert_eq!(requests(&cluster, RequestKind::WatchList), 10);
    assert_eq!(cluster.connections_opened(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_that_nobody_reads_does_not_hold_the_others() {
    let server = Server::start().await;
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let (release, receiver) = std::sync::mpsc::channel();
    let stalled = Arc::new(Stalled { stands: AtomicBool::new(false), gate: Mutex::new(receiver) });
    let task = tokio::spawn(cluster.watch(ResourceKind::Endpoints, stalled.clone()));
    let flood = server.next("/api/v1/endpoints?").await.open();
    flood.event(WatchEventKind::Added, "first", "1");
    until("the stall", || stalled.stands.load(Ordering::SeqCst)).await;
    // More than any window, while its reader stands still.
    for round in 0..400 {
        let padded = format!("flood-{round}-{}", "x".repeat(60_000));
        flood.event(WatchEventKind::Added, &padded, "2");
    }
    let _watch = watch(&cluster, ResourceKind::Node, &rows);
    let nodes = server.next("/api/v1/nodes?").await.stream_list(&["n"], "10");
    until("the node", || rows.names(ResourceKind::Node) == "n").await;
    nodes.event(WatchEventKind::Added, "m", "11");
    until("both nodes", || rows.names(ResourceKind::Node) == "m n").await;
    drop(release);
    task.abort();
}

/// A sink that stands still at every object until the other end of its gate is dropped.
struct Stalled {
    stands: AtomicBool,
    gate: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl WatchSink for Stalled {
    fn begin_generation(&self, _: ResourceKind) {}

    fn apply(&self, _: ResourceKind, _: WatchChange, _: &[u8]) -> Result<(), ObjectError> {
        self.stands.store(true, Ordering::SeqCst);
        let _ = tokio::task::block_in_place(|| self.gate.lock().recv());
        Ok(())
    }

    fn commit_generation(&self, _: ResourceKind) {}
}

#[tokio::test]
async fn a_server_that_asks_for_another_connection_gets_one_and_its_open_streams_go_on() {
    let server = Server::start().await;
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let _nodes = watch(&cluster, ResourceKind::Node, &rows);
    let request = server.next("/api/v1/nodes?").await;
    let connection = request.connection;
    let nodes = request.stream_list(&["a"], "10");
    until("the node", || rows.names(ResourceKind::Node) == "a").await;
    server.go_away();
    nodes.event(WatchEventKind::Added, "b", "11");
    until("both nodes", || rows.names(ResourceKind::Node) == "a b").await;
    let _services = watch(&cluster, ResourceKind::Service, &rows);
    // The first requests may be under way before the client reads of it.
    let mut request = server.next("/api/v1/services?").await;
    while request.connection == connection {
        request.refuse(429, "TooManyRequests", "again");
        request = server.next("/api/v1/services?").await;
    }
    let _services = request.stream_list(&["s"], "10");
    until("the service", || rows.names(ResourceKind::Service) == "s").await;
    nodes.event(WatchEventKind::Added, "c", "12");
    until("all nodes", || rows.names(ResourceKind::Node) == "a b c").await;
    let status = status(&cluster, ResourceKind::Node);
    assert_eq!((status.reconnects, status.last_error), (0, None));
}

#[tokio::test]
async fn more_streams_than_one_connection_should_carry_get_another() {
    let server = Server::start().await;
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let namespaces: Vec<_> = (0..60).map(|number| format!("n{number}")).collect();
    let names: Vec<_> = namespaces.iter().map(String::as_str).collect();
    let _watch = crate::setup::watch_within(&cluster, ResourceKind::Service, &names, &rows);
    for _ in 0..4 {
        server.next("/api/v1/services?").await.refuse(403, "Forbidden", "no");
    }
    let mut streams = Vec::new();
    for namespace in &namespaces {
        let request = server.next(&format!("/api/v1/namespaces/{namespace}/services?")).await;
        let connection = request.connection;
        streams.push((connection, request.stream_list(&[], "10")));
    }
    let connections: BTreeSet<_> = streams.iter().map(|stream| stream.0).collect();
    assert_eq!(connections.len(), 2);
    until("one whole list", || rows.commits(ResourceKind::Service) == 1).await;
}

#[tokio::test]
async fn a_server_that_speaks_only_http1_is_watched_too() {
    let server = Server::start_with(&Authority::new(), &[b"http/1.1"]).await;
    let cluster = connect(&server).await;
    let rows = Rows::new();
    let _watches = [watch(&cluster, POD, &rows), watch(&cluster, ResourceKind::Node, &rows)];
    let pods = server.next(PODS).await;
    assert_eq!(pods.header("host"), server.address.to_string());
    let stream = pods.stream_list(&["a"], "10");
    let _nodes = server.next("/api/v1/nodes?").await.stream_list(&["n"], "10");
    rows.until_pods("a").await;
    until("the node", || rows.names(ResourceKind::Node) == "n").await;
    stream.cut();
    let _stream = server.next(PODS).await.open_watch_from("10");
    assert_eq!(status(&cluster, POD).relists, 0);
}

#[tokio::test]
async fn a_server_that_is_down_is_waited_for() {
    let authority = Authority::new();
    let server = Server::start_with(&authority, &[b"h2"]).await;
    let cluster = connect(&server).await;
    let address = server.address;
    drop(server);
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    until("the error", || status(&cluster, POD).last_error.is_some()).await;
    let error = status(&cluster, POD).last_error.unwrap();
    assert!(error.contains(&format!("cannot connect to https://{address}")), "{error}");
    assert!(error.contains("refused"), "{error}");
    assert!(requests(&cluster, RequestKind::List) == 0, "a server that is down is not listed in another way");
    let server = Server::start_at(&authority, &[b"h2"], address).await;
    let _stream = server.next(PODS).await.stream_list(&["a"], "10");
    rows.until_pods("a").await;
    until("no error", || status(&cluster, POD).last_error.is_none()).await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_and_asked_again() {
    let server = Server::start().await;
    let response_deadline = Duration::from_millis(200);
    let options = ConnectOptions { policy: WatchPolicy { response_deadline, ..policy() }, ..options() };
    let cluster = connect_as(&server, "token: t", options).await;
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    let ignored = server.next(PODS).await;
    let request = server.next(PODS).await;
    assert_eq!(request.path, "/api/v1/pods?resourceVersion=0", "the plain list may be served");
    request.reply(list(&["a"], "10", ""));
    rows.until_pods("a").await;
    drop(ignored);
}

#[tokio::test]
async fn all_requests_share_one_budget() {
    let server = Server::start().await;
    let options = ConnectOptions { budget: RequestBudget { per_second: 4.0, burst: 3 }, ..options() };
    let cluster = connect_as(&server, "token: t", options).await;
    let rows = Rows::new();
    let start = tokio::time::Instant::now();
    let _watches = ResourceKind::MIRRORED.map(|resource| watch(&cluster, resource, &rows));
    let _streams = stream_all(&server, "10").await;
    // Version and ten lists: three at once, eight at four a second.
    assert!(start.elapsed() >= Duration::from_millis(1900), "{:?}", start.elapsed());
}

#[tokio::test]
async fn everything_is_counted_in_metrics() {
    let server = Server::start().await;
    let registry = Registry::new();
    let cluster = connect(&server).await;
    cluster.register(&registry);
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    let stream = server.next(PODS).await.stream_list(&["a"], "10");
    rows.until_pods("a").await;
    stream.end();
    let _stream = server.next(PODS).await.open_watch_from("10");
    until("the count", || requests(&cluster, RequestKind::Watch) == 1).await;
    let text = registry.render();
    for line in [
        "outrigger_kubernetes_requests_total{cluster=\"test\",resource=\"pods\",request=\"watchlist\",code=\"200\"} 1",
        "outrigger_kubernetes_requests_total{cluster=\"test\",resource=\"pods\",request=\"watch\",code=\"200\"} 1",
        "outrigger_kubernetes_requests_total{cluster=\"test\",resource=\"\",request=\"version\",code=\"200\"} 1",
        "outrigger_kubernetes_watch_events_total{cluster=\"test\",resource=\"pods\",type=\"ADDED\"} 1",
        "outrigger_kubernetes_watch_events_total{cluster=\"test\",resource=\"pods\",type=\"BOOKMARK\"} 1",
        "outrigger_kubernetes_watch_reconnects_total{cluster=\"test\",resource=\"pods\",reason=\"ended\"} 1",
        "outrigger_kubernetes_synced{cluster=\"test\",resource=\"pods\"} 1",
        "outrigger_kubernetes_connections_opened_total{cluster=\"test\"} 2",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    for name in ["watch_bytes_total", "last_event_timestamp_seconds", "refused_objects_total"] {
        assert!(
            text.contains(&format!("outrigger_kubernetes_{name}{{cluster=\"test\",resource=\"pods\"}} "))
        );
    }
    drop((cluster, _watch));
    until("the end", || !registry.render().contains("outrigger_kubernetes")).await;
}

//! Values and watches over lost members and compactions.

use std::process::Command;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use outrigger_control::store::{Change, Fence, MAX_CHANGES, StateStore as _, StoreError, WatchEvent};

use crate::members::Members;
use crate::proxy::Proxy;
use crate::{eventually, left_out, put, soon, store};

fn names(event: &WatchEvent) -> String {
    match event {
        WatchEvent::Reset(entries) => {
            let keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
            format!("reset {}", keys.join(" "))
        }
        WatchEvent::Put { key, value } => format!("put {key} {}", String::from_utf8_lossy(&value.value)),
        WatchEvent::Delete { key, .. } => format!("delete {key}"),
    }
}

async fn next(watched: &mut BoxStream<'static, WatchEvent>) -> String {
    names(&soon("the next event", watched.next()).await.unwrap())
}

#[tokio::test]
async fn values_survive_members_and_watches_miss_nothing() {
    if left_out("values_survive_members_and_watches_miss_nothing") {
        return;
    }
    let mut members = Members::start(3).await;
    let store = store(members.endpoints());
    let first =
        store.commit(None, vec![put("workers/a", "1"), put("workers/b", "2"), put("x", "3")]).await.unwrap();
    assert_eq!(store.get("workers/a").await.unwrap().unwrap().revision, first);
    assert_eq!(store.get("workers/nobody").await.unwrap(), None);
    let mut watched = store.watch("workers/");
    assert_eq!(next(&mut watched).await, "reset workers/a workers/b");
    store.commit(None, vec![Change::Delete { key: "workers/a".to_owned() }, put("y", "4")]).await.unwrap();
    assert_eq!(next(&mut watched).await, "delete workers/a");
    // Each member is lost in turn: calls go on within their timeout, the watch misses nothing and repeats nothing.
    for lost in 0..3 {
        members.kill(lost);
        for number in 0..5 {
            store.commit(None, vec![put("workers/c", &format!("{lost}-{number}"))]).await.unwrap();
            assert_eq!(next(&mut watched).await, format!("put workers/c {lost}-{number}"));
        }
        members.start_member(lost);
        let own = crate::store(vec![members.endpoint(lost)]);
        eventually("the member's return", async || own.get("x").await.is_ok()).await;
    }
    // So do members that stand still with open connections.
    for paused in 0..3 {
        members.pause(paused);
        for number in 0..2 {
            store.commit(None, vec![put("workers/d", &format!("{paused}-{number}"))]).await.unwrap();
            assert_eq!(next(&mut watched).await, format!("put workers/d {paused}-{number}"));
        }
        members.resume(paused);
    }
    let all: Vec<Change> = (0..MAX_CHANGES).map(|number| put(&format!("many/{number:03}"), "v")).collect();
    store.commit(None, all).await.unwrap();
    assert_eq!(store.list("many/").await.unwrap().len(), MAX_CHANGES);
    let one_more = (0..=MAX_CHANGES).map(|number| put(&format!("many/{number}"), "v")).collect();
    assert!(matches!(store.commit(None, one_more).await, Err(StoreError::TooManyChanges { .. })));
    // Two of three: no majority, and a clear word on it; then all is well again.
    members.kill(0);
    members.kill(1);
    let error = store.commit(None, vec![put("z", "1")]).await.unwrap_err();
    let text = outrigger_model::fault::chain(&error);
    assert!(text.starts_with("etcd at 127.0.0.1:"), "{text}");
    assert_eq!(store.trouble(), Some(text));
    members.start_member(0);
    eventually("a majority", async || store.commit(None, vec![put("z", "2")]).await.is_ok()).await;
    assert_eq!(store.trouble(), None);
    store.commit(None, vec![put("workers/e", "last")]).await.unwrap();
    assert_eq!(next(&mut watched).await, "put workers/e last");
}

#[tokio::test]
async fn a_watch_that_slept_through_a_compaction_begins_anew() {
    if left_out("a_watch_that_slept_through_a_compaction_begins_anew") {
        return;
    }
    let members = Members::start(1).await;
    let direct = store(members.endpoints());
    let proxy = Proxy::to(members.port(0)).await;
    let through = store(vec![proxy.endpoint()]);
    direct.commit(None, vec![put("workers/a", "1")]).await.unwrap();
    let mut watched = through.watch("workers/");
    assert_eq!(next(&mut watched).await, "reset workers/a");
    direct.commit(None, vec![put("workers/b", "2")]).await.unwrap();
    assert_eq!(next(&mut watched).await, "put workers/b 2");
    proxy.cut();
    let mut revision = 0;
    for number in 0..10 {
        revision = direct.commit(None, vec![put("workers/c", &number.to_string())]).await.unwrap();
    }
    direct.commit(None, vec![Change::Delete { key: "workers/a".to_owned() }]).await.unwrap();
    compact(&members.endpoint(0), revision);
    proxy.mend();
    assert_eq!(next(&mut watched).await, "reset workers/b workers/c");
    direct.commit(None, vec![put("workers/d", "3")]).await.unwrap();
    assert_eq!(next(&mut watched).await, "put workers/d 3");
}

/// By etcd's JSON gateway.
fn compact(endpoint: &str, revision: u64) {
    let body = format!("{{\"revision\":\"{revision}\",\"physical\":true}}");
    let done = Command::new("curl")
        .args(["-sf", "-X", "POST", "-d", &body, &format!("{endpoint}/v3/kv/compaction")])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[tokio::test]
async fn a_full_etcd_is_told_with_what_to_do() {
    if left_out("a_full_etcd_is_told_with_what_to_do") {
        return;
    }
    let members = Members::start_with(1, &["--quota-backend-bytes=1048576"]).await;
    let store = store(members.endpoints());
    let value = "x".repeat(200_000);
    let error = loop {
        if let Err(error) = store.commit(None, vec![put("a", &value)]).await {
            break error;
        }
    };
    assert!(matches!(error, StoreError::EtcdFull { .. }), "{error}");
    assert!(error.to_string().contains("--quota-backend-bytes"), "{error}");
    assert!(store.trouble().is_some());
    // What is there can be read.
    assert!(store.get("a").await.unwrap().is_some());
}

#[tokio::test]
async fn writes_with_a_stale_fence_are_refused() {
    if left_out("writes_with_a_stale_fence_are_refused") {
        return;
    }
    let members = Members::start(1).await;
    let store = store(members.endpoints());
    let created = store.commit(None, vec![put("leader", "one")]).await.unwrap();
    let fence = Fence { key: "leader".to_owned(), create_revision: created };
    store.commit(Some(&fence), vec![put("a", "1"), put("leader", "one again")]).await.unwrap();
    store.commit(Some(&fence), vec![put("a", "2")]).await.unwrap();
    store.commit(None, vec![Change::Delete { key: "leader".to_owned() }]).await.unwrap();
    for _ in 0..2 {
        let error = store.commit(Some(&fence), vec![put("a", "3")]).await.unwrap_err();
        assert!(matches!(error, StoreError::Fenced), "{error}");
        store.commit(None, vec![put("leader", "two")]).await.unwrap();
    }
    assert_eq!(store.get("a").await.unwrap().unwrap().value, "2");
}

#[tokio::test]
async fn a_quiet_watch_is_left_alone_by_etcd() {
    if left_out("a_quiet_watch_is_left_alone_by_etcd") {
        return;
    }
    let members = Members::start(1).await;
    let direct = store(members.endpoints());
    let counted = Proxy::to(members.port(0)).await;
    let mut watched = store(vec![counted.endpoint()]).watch("workers/");
    assert_eq!(next(&mut watched).await, "reset ");
    // Long enough for etcd to lose its patience with clients that ping too often.
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;
    assert_eq!(counted.connections(), 1);
    direct.commit(None, vec![put("workers/a", "1")]).await.unwrap();
    assert_eq!(next(&mut watched).await, "put workers/a 1");
}

//! The config centre's state in a real etcd of three members: lost and paused members, partitions, elections.
//! Needs `cargo xtask rig build etcd`, then `OUTRIGGER_RIG=1 cargo test --test rig`.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod authentication;
mod election;
mod etcd;
mod members;
mod proxy;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use outrigger_control::store::{Candidate, Change, EtcdOptions, EtcdStore};
use outrigger_model::clock::SystemClock;
use outrigger_model::http::HttpClientConfig;
use outrigger_rt::resolver::{Resolver, ResolverOptions};
use tokio::time::Instant;

/// More than anything takes that works.
const AMPLE: Duration = Duration::from_secs(60);

/// Whether to leave out a test for want of the rig; prints the line that says so, and fails where `CI` is set.
fn left_out(test: &str) -> bool {
    if std::env::var_os("OUTRIGGER_RIG").is_some_and(|value| value == "1") {
        return false;
    }
    let reason = "needs the rig (cargo xtask rig build, then OUTRIGGER_RIG=1)";
    assert!(std::env::var_os("CI").is_none(), "{test} {reason}");
    eprintln!("not run: {test} {reason}");
    true
}

fn options(endpoints: Vec<String>) -> EtcdOptions {
    EtcdOptions {
        endpoints,
        http: HttpClientConfig::default(),
        login: None,
        prefix: "/outrigger/test/".to_owned(),
        timeout: Duration::from_secs(5),
        user_agent: "outrigger-test/1".to_owned(),
        clock: Arc::new(SystemClock),
    }
}

fn store(endpoints: Vec<String>) -> EtcdStore {
    EtcdStore::new(options(endpoints), &Resolver::new(ResolverOptions::default())).unwrap()
}

fn put(key: &str, value: &str) -> Change {
    Change::Put { key: key.to_owned(), value: value.to_owned().into(), lease: None }
}

fn candidate(name: &str) -> Candidate {
    Candidate { name: name.into(), address: format!("https://{name}:9441").into() }
}

/// Waits for what will come.
async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(AMPLE, work).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// Repeats until it is so.
async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + AMPLE;
    while !condition().await {
        assert!(Instant::now() < end, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

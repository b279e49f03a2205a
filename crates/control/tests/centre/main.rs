//! The config centre's state in one process: the embedded store and elections over it.

#![allow(clippy::unwrap_used, reason = "helper functions of tests are tests too")]

mod election;
mod embedded;

use std::path::Path;
use std::sync::Arc;

use outrigger_control::store::{Candidate, Change, EmbeddedStore, LeaseId};
use outrigger_model::clock::ManualClock;
use outrigger_model::sample::Timestamp;

/// 2026-11-24T12:00:00Z.
const NOW: i64 = 1_795_521_600_000;

fn store(path: &Path) -> EmbeddedStore {
    store_at(path, NOW)
}

fn store_at(path: &Path, now: i64) -> EmbeddedStore {
    EmbeddedStore::open(path, Arc::new(ManualClock::at(Timestamp::from_millis(now)))).unwrap()
}

fn put(key: &str, value: &str) -> Change {
    Change::Put { key: key.to_owned(), value: value.to_owned().into(), lease: None }
}

fn put_leased(key: &str, value: &str, lease: LeaseId) -> Change {
    Change::Put { key: key.to_owned(), value: value.to_owned().into(), lease: Some(lease) }
}

fn delete(key: &str) -> Change {
    Change::Delete { key: key.to_owned() }
}

fn candidate(name: &str) -> Candidate {
    Candidate { name: name.into(), address: format!("https://{name}:9441").into() }
}

//! Values, watches, fences, leases, and trouble with the file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use futures_util::StreamExt as _;
use outrigger_control::store::{Fence, MAX_CHANGES, StateStore as _, StoreError, WatchEvent};
use outrigger_storage::state_file::StateTrouble;

use crate::{NOW, candidate, delete, put, put_leased, store, store_at};

const TTL: Duration = Duration::from_secs(10);

fn names(events: &[WatchEvent]) -> Vec<String> {
    let name = |event: &WatchEvent| match event {
        WatchEvent::Reset(entries) => {
            let keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
            format!("reset {}", keys.join(" "))
        }
        WatchEvent::Put { key, value } => format!("put {key} {}", String::from_utf8_lossy(&value.value)),
        WatchEvent::Delete { key, .. } => format!("delete {key}"),
    };
    events.iter().map(name).collect()
}

#[tokio::test]
async fn values_are_kept_listed_and_watched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let store_one = store(&path);
    store_one.commit(None, vec![put("workers/a", "1"), put("workers/b", "2"), put("x", "3")]).await.unwrap();
    let watched = store_one.watch("workers/");
    let revision = store_one.commit(None, vec![put("workers/c", "4"), put("y", "5")]).await.unwrap();
    assert_eq!(store_one.get("workers/c").await.unwrap().unwrap().revision, revision);
    let mut watched = std::pin::pin!(watched);
    let first = watched.next().await.unwrap();
    store_one
        .commit(None, vec![delete("workers/a"), delete("workers/nobody"), put("workers/b", "6")])
        .await
        .unwrap();
    store_one.commit(None, vec![put("z", "7")]).await.unwrap();
    store_one.commit(None, vec![put("workers/d", "8")]).await.unwrap();
    let mut events = vec![first];
    events.extend(watched.by_ref().take(3).collect::<Vec<_>>().await);
    assert_eq!(
        names(&events),
        ["reset workers/a workers/b workers/c", "delete workers/a", "put workers/b 6", "put workers/d 8"]
    );
    // A watcher that sleeps through more than is kept for it gets everything anew.
    for number in 0..3_000 {
        store_one.commit(None, vec![put("workers/e", &number.to_string())]).await.unwrap();
    }
    let event = watched.next().await.unwrap();
    assert_eq!(names(&[event]), ["reset workers/b workers/c workers/d workers/e"]);
    let too_many = (0..=MAX_CHANGES).map(|number| put(&number.to_string(), "")).collect();
    assert!(matches!(store_one.commit(None, too_many).await, Err(StoreError::TooManyChanges { .. })));
}

#[tokio::test]
async fn a_fence_of_an_earlier_leadership_stops_its_writes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let store = store(&path);
    let first = store.campaign(&candidate("one"), TTL).await.unwrap();
    store.commit(Some(&first.fence), vec![put("a", "1"), put_leased("b", "2", first.lease)]).await.unwrap();
    let fence = first.fence.clone();
    let second = store.campaign(&candidate("two"), TTL).await.unwrap();
    assert!(second.epoch > first.epoch);
    let error = store.commit(Some(&fence), vec![put("a", "3")]).await.unwrap_err();
    assert!(matches!(error, StoreError::Fenced), "{error}");
    store.commit(Some(&second.fence), vec![put("a", "4")]).await.unwrap();
    first.resign().await;
    assert_eq!(store.get("b").await.unwrap(), None);
    assert_eq!(store.get("a").await.unwrap().unwrap().value, "4");
    second.resign().await;
    assert!(store.get("leader").await.unwrap().is_none());
    let nobody = Fence { key: "leader".to_owned(), create_revision: 0 };
    assert!(store.commit(Some(&nobody), vec![]).await.is_err());
}

#[tokio::test]
async fn epochs_rise_over_restarts_lost_files_and_clocks_set_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let mut last = 0;
    for (now, lost) in [(NOW, false), (NOW, false), (NOW - 600_000, false), (NOW + 60_000, true)] {
        if lost {
            fs::write(&path, "rubbish").unwrap();
        }
        let store = store_at(&path, now);
        for _ in 0..3 {
            let leadership = store.campaign(&candidate("one"), TTL).await.unwrap();
            assert!(leadership.epoch > last, "{} after {last}", leadership.epoch);
            assert!(leadership.tenure.is_current());
            last = leadership.epoch;
            leadership.resign().await;
        }
        // What a process that was killed leaves of its leadership is not there for the next one.
        let leadership = store.campaign(&candidate("one"), TTL).await.unwrap();
        last = leadership.epoch;
        store.commit(None, vec![put_leased("mine", "1", leadership.lease)]).await.unwrap();
        let copy = directory.path().join("copy.redb");
        fs::copy(&path, &copy).unwrap();
        let next = store_at(&copy, now);
        assert!(next.get("leader").await.unwrap().is_none() && next.get("mine").await.unwrap().is_none());
        assert!(next.campaign(&candidate("one"), TTL).await.unwrap().epoch > last);
        leadership.resign().await;
    }
    assert!(directory.path().join("state.redb.corrupt").exists());
}

#[tokio::test]
async fn a_second_process_on_the_same_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let _first = store(&path);
    let clock = std::sync::Arc::new(outrigger_model::clock::SystemClock);
    let error = outrigger_control::store::EmbeddedStore::open(&path, clock).unwrap_err();
    assert_eq!(error.trouble(), StateTrouble::InUse);
}

#[tokio::test]
async fn without_a_file_the_store_goes_on_from_memory_and_writes_everything_once_it_can() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("folder");
    // A file in the place of the folder: root may write anywhere else.
    fs::write(&folder, "in the way").unwrap();
    let path = folder.join("state.redb");
    let one = store(&path);
    let trouble = one.trouble().unwrap();
    assert!(trouble.contains(path.to_str().unwrap()), "{trouble}");
    let leadership = one.campaign(&candidate("one"), TTL).await.unwrap();
    one.commit(Some(&leadership.fence), vec![put("workers/a", "1")]).await.unwrap();
    one.commit(Some(&leadership.fence), vec![put("workers/b", "2"), delete("workers/a")]).await.unwrap();
    assert!(one.trouble().is_some());
    fs::remove_file(&folder).unwrap();
    one.commit(Some(&leadership.fence), vec![put("workers/c", "3")]).await.unwrap();
    assert_eq!(one.trouble(), None);
    one.commit(Some(&leadership.fence), vec![put("workers/d", "4")]).await.unwrap();
    let epoch = leadership.epoch;
    leadership.resign().await;
    drop(one);
    let two = store(&path);
    let keys: Vec<String> = two.list("workers/").await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["workers/b", "workers/c", "workers/d"]);
    assert!(two.campaign(&candidate("one"), TTL).await.unwrap().epoch > epoch);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}

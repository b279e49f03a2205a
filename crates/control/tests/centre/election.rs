//! Standing, resigning, raising the epoch.

use std::sync::Arc;
use std::time::Duration;

use outrigger_control::election::{Election, Standing};
use outrigger_control::store::{EmbeddedStore, StateStore, StoreError};
use tokio_util::sync::CancellationToken;

use crate::{candidate, put, store};

const TTL: Duration = Duration::from_secs(10);

fn election(store: &EmbeddedStore, name: &str) -> Election {
    Election::new(Arc::new(store.clone()) as Arc<dyn StateStore>, candidate(name), TTL)
}

#[tokio::test]
async fn the_only_master_leads_at_once_until_it_stops() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory.path().join("state.redb"));
    let mut last = 0;
    for _ in 0..2 {
        let election = election(&store, "one");
        let mut standing = election.standing();
        assert!(matches!(*standing.borrow(), Standing::Standby { leader: None }));
        let stop = CancellationToken::new();
        let running = tokio::spawn(election.run(stop.clone()));
        let leading = standing.wait_for(|standing| standing.leading_epoch().is_some()).await.unwrap().clone();
        let Standing::Leading { epoch, fence, tenure } = leading else { panic!("leads") };
        assert!(epoch > last);
        last = epoch;
        store.commit(Some(&fence), vec![put("a", "1")]).await.unwrap();
        stop.cancel();
        running.await.unwrap();
        assert!(!tenure.is_current());
        tenure.over().await;
        assert!(matches!(*standing.borrow(), Standing::Standby { .. }));
        assert!(matches!(store.commit(Some(&fence), vec![]).await, Err(StoreError::Fenced)));
    }
}

#[tokio::test]
async fn the_epoch_is_raised_above_what_workers_have_obeyed() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory.path().join("state.redb"));
    let election = election(&store, "one");
    let (mut standing, handle) = (election.standing(), election.handle());
    let stop = CancellationToken::new();
    let running = tokio::spawn(election.run(stop.clone()));
    let first =
        standing.wait_for(|standing| standing.leading_epoch().is_some()).await.unwrap().leading_epoch();
    let first = first.unwrap();
    assert_eq!(handle.raise_epoch(first - 1).await.unwrap(), first);
    let raised = handle.raise_epoch(first + 1_000).await.unwrap();
    assert_eq!(raised, first + 1_001);
    let leading =
        standing.wait_for(|standing| standing.leading_epoch() == Some(raised)).await.unwrap().clone();
    let Standing::Leading { fence, .. } = leading else { panic!("leads") };
    store.commit(Some(&fence), vec![put("a", "1")]).await.unwrap();
    stop.cancel();
    running.await.unwrap();
    assert!(matches!(handle.raise_epoch(raised + 1).await, Err(StoreError::Fenced)));
}

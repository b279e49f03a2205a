//! Elections in etcd: the leader is who has created the leader key; its lease is its term.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use outrigger_model::fault::chain;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::endpoints::Opened;
use super::messages::{
    LEASE_GRANT, LEASE_KEEP_ALIVE, LEASE_REVOKE, LeaseGrantRequest, LeaseGrantResponse,
    LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseRevokeRequest, LeaseRevokeResponse, TxnRequest,
    TxnResponse,
};
use super::{EtcdStore, Shared, unsigned};
use crate::store::embedded::{next_epoch, parse_epoch};
use crate::store::leadership::{Leader, Leadership, Tenure};
use crate::store::{
    Candidate, Change, EPOCH_KEY, Fence, LEADER_KEY, LeaseId, StateStore as _, StoreError, WatchEvent,
};

/// A leadership ends for its holder this part of the lease before it ends in etcd.
const MARGIN: u32 = 10;

/// Renewals within one lease.
const RENEWALS: u32 = 3;

/// Pause after a renewal that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Time to give a lease back.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(2);

/// A lease and until when its holder relies on it.
struct Lease {
    id: i64,
    ttl: Duration,
    tenure: Tenure,
}

/// Waits until nobody leads and then tries to, until that succeeds.
pub(super) async fn campaign(
    shared: &Arc<Shared>,
    candidate: &Candidate,
    ttl: Duration,
) -> Result<Leadership, StoreError> {
    let mut watched = EtcdStore { shared: shared.clone() }.watch(LEADER_KEY);
    let mut vacant = false;
    loop {
        while !vacant {
            match watched.next().await {
                Some(WatchEvent::Reset(entries)) => vacant = entries.iter().all(|(key, _)| key != LEADER_KEY),
                Some(WatchEvent::Delete { key, .. }) if key == LEADER_KEY => vacant = true,
                Some(WatchEvent::Put { .. } | WatchEvent::Delete { .. }) => {}
                None => return Err(StoreError::LeaseEnded),
            }
        }
        if let Some(leadership) = stand(shared, candidate, ttl).await? {
            return Ok(leadership);
        }
        // Another candidate was faster, which the watch tells next; or the epoch was raised in between.
        vacant = shared.get(LEADER_KEY).await?.is_none();
    }
}

/// One attempt; `None` when another candidate was faster.
async fn stand(
    shared: &Arc<Shared>,
    candidate: &Candidate,
    ttl: Duration,
) -> Result<Option<Leadership>, StoreError> {
    let before = shared.get(EPOCH_KEY).await?;
    let epoch = before.as_ref().map(|kv| parse_epoch(&kv.value)).transpose()?.unwrap_or(0);
    let epoch = next_epoch(epoch, &shared.clock);
    let lease = grant(shared, ttl).await?;
    let compare = vec![
        shared.created_at(LEADER_KEY, 0),
        shared.modified_at(EPOCH_KEY, before.map_or(0, |kv| kv.mod_revision)),
    ];
    let leader = Leader::new(candidate, epoch).encode();
    let changes = [
        Change::Put {
            key: LEADER_KEY.to_owned(),
            value: leader,
            lease: Some(LeaseId(lease.id.cast_unsigned())),
        },
        Change::Put { key: EPOCH_KEY.to_owned(), value: epoch.to_string().into(), lease: None },
    ];
    let success = changes.into_iter().map(|change| shared.operation(change)).collect();
    let request = TxnRequest { compare, success, failure: Vec::new() };
    let created = match elect(shared, request, lease.id).await {
        Ok(created) => created,
        Err(error) => {
            revoke(shared, lease.id).await;
            return Err(error);
        }
    };
    let Some(create_revision) = created else {
        revoke(shared, lease.id).await;
        return Ok(None);
    };
    let fence = Fence { key: LEADER_KEY.to_owned(), create_revision };
    Ok(Some(begin(shared.clone(), epoch, fence, lease)))
}

/// The revision that created the leader key, if it is bound to this lease now.
async fn elect(shared: &Shared, request: TxnRequest, lease: i64) -> Result<Option<u64>, StoreError> {
    match shared.transact(request).await? {
        TxnResponse { header: Some(header), succeeded: true, .. } => Ok(Some(unsigned(header.revision))),
        // An attempt at one member may have succeeded although its answer was lost.
        _ => {
            let found = shared.get(LEADER_KEY).await?.filter(|kv| kv.lease == lease);
            Ok(found.map(|kv| unsigned(kv.create_revision)))
        }
    }
}

fn begin(shared: Arc<Shared>, epoch: u64, fence: Fence, lease: Lease) -> Leadership {
    let Lease { id, ttl, tenure } = lease;
    let stop = CancellationToken::new();
    tokio::spawn(renew(shared.clone(), id, ttl, tenure.clone(), fence.clone(), stop.clone()));
    let release = move || {
        async move {
            stop.cancel();
            revoke(&shared, id).await;
        }
        .boxed()
    };
    Leadership::new(epoch, fence, LeaseId(id.cast_unsigned()), tenure, Box::new(release))
}

/// Until when a lease that was asked for at `sent` is relied on.
fn reliable_until(sent: Instant, ttl: Duration) -> Instant {
    sent + ttl - ttl / MARGIN
}

async fn grant(shared: &Shared, ttl: Duration) -> Result<Lease, StoreError> {
    let ttl_seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1);
    let sent = Instant::now();
    let request = LeaseGrantRequest { ttl_seconds };
    let granted: LeaseGrantResponse = shared.endpoints.call(LEASE_GRANT, request, shared.timeout).await?;
    let ttl = Duration::from_secs(unsigned(granted.ttl_seconds));
    Ok(Lease { id: granted.id, ttl, tenure: Tenure::until(reliable_until(sent, ttl)) })
}

async fn revoke(shared: &Shared, id: i64) {
    let request = LeaseRevokeRequest { id };
    // When it fails the lease ends by itself.
    let _: Result<LeaseRevokeResponse, _> =
        shared.endpoints.call(LEASE_REVOKE, request, REVOKE_TIMEOUT).await;
}

/// Renews the lease until `stop`, until it was not renewed in time, or until the leader key is not ours any more.
async fn renew(
    shared: Arc<Shared>,
    id: i64,
    ttl: Duration,
    tenure: Tenure,
    fence: Fence,
    stop: CancellationToken,
) {
    let mut next = Instant::now() + ttl / RENEWALS;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tenure.over() => return,
            () = tokio::time::sleep_until(next) => {}
        }
        let sent = Instant::now();
        let renewed = tokio::select! {
            () = stop.cancelled() => return,
            () = tenure.over() => return,
            renewed = keep_alive(&shared, id, ttl / RENEWALS) => renewed,
        };
        next = match renewed {
            Ok(Some(ttl)) => {
                tenure.extend(reliable_until(sent, ttl));
                sent + ttl / RENEWALS
            }
            Ok(None) => return tenure.end(),
            Err(error) => {
                tracing::debug!(error = %chain(&error), "renewing the leader's lease failed");
                Instant::now() + RETRY_PAUSE
            }
        };
        // Somebody may have deleted the key although its lease goes on.
        if let Ok(found) = shared.get(&fence.key).await
            && found.is_none_or(|kv| unsigned(kv.create_revision) != fence.create_revision)
        {
            return tenure.end();
        }
    }
}

/// The lease's new length; `None` when it has ended.
async fn keep_alive(shared: &Shared, id: i64, timeout: Duration) -> Result<Option<Duration>, StoreError> {
    let request = LeaseKeepAliveRequest { id };
    let opened =
        shared.endpoints.open::<_, LeaseKeepAliveResponse>(LEASE_KEEP_ALIVE, request, timeout).await?;
    let Opened { member, to: _to, mut from } = opened;
    match tokio::time::timeout(timeout, from.next()).await {
        Ok(Ok(Some(renewed))) => {
            let ttl = unsigned(renewed.ttl_seconds);
            Ok((ttl > 0).then(|| Duration::from_secs(ttl)))
        }
        Ok(Ok(None)) | Err(_) => {
            shared.endpoints.avoid(member);
            Err(StoreError::LeaseEnded)
        }
        Ok(Err(source)) => {
            shared.endpoints.avoid(member);
            Err(StoreError::Etcd { endpoints: shared.endpoints.names(), source: Box::new(source) })
        }
    }
}

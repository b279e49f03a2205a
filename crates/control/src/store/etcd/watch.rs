//! A watch that goes on over broken streams, lost members and compactions.

use std::sync::Arc;
use std::time::Duration;

use outrigger_model::fault::chain;
use tokio::sync::mpsc;

use super::endpoints::Opened;
use super::messages::{WATCH, WatchCreateRequest, WatchRequest, WatchResponse};
use super::{Shared, range_end, unsigned, versioned};
use crate::store::WatchEvent;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Why one stream of a watch is over.
enum End {
    /// Nobody listens any more.
    Unwanted,
    /// Changes that were not seen are not kept any more: everything is read anew.
    Compacted,
    /// Anything else; the watch goes on after what was seen.
    Broken(String),
}

/// Tells `to` what happens under `prefix` until it is closed.
pub(super) async fn run(shared: Arc<Shared>, prefix: String, to: mpsc::Sender<WatchEvent>) {
    let mut next: Option<i64> = None;
    let mut pause = FIRST_PAUSE;
    while !to.is_closed() {
        let start = match next {
            Some(start) => start,
            None => match shared.list(&prefix).await {
                Ok((entries, revision)) => {
                    if to.send(WatchEvent::Reset(entries)).await.is_err() {
                        return;
                    }
                    *next.insert(revision + 1)
                }
                // The endpoints have logged it.
                Err(_) => {
                    wait(&mut pause, &to).await;
                    continue;
                }
            },
        };
        let mut seen = start;
        let end = follow(&shared, &prefix, &mut seen, &to).await;
        if seen > start {
            pause = FIRST_PAUSE;
        }
        next = Some(seen);
        match end {
            End::Unwanted => return,
            End::Compacted => next = None,
            End::Broken(reason) => {
                tracing::debug!(prefix, reason, "a watch of etcd goes on with another stream");
                wait(&mut pause, &to).await;
            }
        }
    }
}

async fn wait(pause: &mut Duration, to: &mpsc::Sender<WatchEvent>) {
    tokio::select! {
        () = tokio::time::sleep(*pause) => {}
        () = to.closed() => {}
    }
    *pause = (*pause * 2).min(LONGEST_PAUSE);
}

/// One stream; `next` is the first revision that was not seen.
async fn follow(shared: &Shared, prefix: &str, next: &mut i64, to: &mpsc::Sender<WatchEvent>) -> End {
    let key = shared.key(prefix);
    let create = WatchCreateRequest {
        range_end: range_end(&key),
        key,
        start_revision: *next,
        progress_notify: true,
        fragment: true,
    };
    let request = WatchRequest { create: Some(create) };
    let opened = shared.endpoints.open::<_, WatchResponse>(WATCH, request, shared.timeout).await;
    let Opened { member, to: requests, mut from } = match opened {
        Ok(opened) => opened,
        Err(error) => return End::Broken(chain(&error)),
    };
    let end = loop {
        let response = tokio::select! {
            () = to.closed() => break End::Unwanted,
            response = from.next() => response,
        };
        let response = match response {
            Ok(Some(response)) => response,
            Ok(None) => break End::Broken("the member has ended it".to_owned()),
            Err(error) => break End::Broken(chain(&error)),
        };
        if response.canceled {
            if response.compact_revision != 0 {
                break End::Compacted;
            }
            shared.endpoints.forget_login();
            break End::Broken(response.cancel_reason);
        }
        if !pass_on(shared, &response, to).await {
            break End::Unwanted;
        }
        let revision = response.header.map_or(0, |header| header.revision);
        if !response.fragment && !response.created {
            *next = (*next).max(revision + 1);
        }
    };
    // Kept until here: the member would take its end for the end of the watch.
    drop(requests);
    if matches!(end, End::Broken(_)) {
        shared.endpoints.avoid(member);
    }
    end
}

/// Whether somebody still listens.
async fn pass_on(shared: &Shared, response: &WatchResponse, to: &mpsc::Sender<WatchEvent>) -> bool {
    for event in &response.events {
        let Some(kv) = &event.kv else { continue };
        let Some(key) = shared.own_key(&kv.key) else { continue };
        let event = match event.kind {
            0 => WatchEvent::Put { key, value: versioned(kv) },
            _ => WatchEvent::Delete { key, revision: unsigned(kv.mod_revision) },
        };
        if to.send(event).await.is_err() {
            return false;
        }
    }
    true
}

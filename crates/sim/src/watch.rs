//! One watch stream: what to send, in which order, as the real API server sends it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outrigger_wire::kubernetes::ResourceKind;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::encode::{self, Representation};
use crate::faults::FaultSwitch;
use crate::list_options::ListOptions;
use crate::store::{Change, ChangeKind, Store, StoredObject};

/// Time between bookmarks; the real server's is about a minute.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// Time before its end at which a stream gets a last bookmark.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// Default length of a stream that names no `timeoutSeconds`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1800);
/// Changes taken from the log at a time.
const BATCH: usize = 512;

/// What one stream watches.
pub(crate) struct WatchRequest {
    pub(crate) resource: ResourceKind,
    pub(crate) namespace: String,
    pub(crate) options: ListOptions,
    pub(crate) representation: Representation,
    /// Version of the API that objects are said to be of, instead of the usual one.
    pub(crate) api_version: Option<String>,
}

impl WatchRequest {
    fn selects(&self, object: &StoredObject) -> bool {
        (self.namespace.is_empty() || object.key.namespace == self.namespace)
            && self.options.selector.matches(object)
    }

    /// The event that this stream sees of a change: an object that leaves the selection is deleted, one that
    /// enters it is added.
    fn visible(&self, change: &Change) -> Option<ChangeKind> {
        let before = change.previous.as_ref().is_some_and(|object| self.selects(object));
        let after = change.kind != ChangeKind::Deleted && self.selects(&change.object);
        match (before, after) {
            (false, false) => None,
            (false, true) => Some(ChangeKind::Added),
            (true, true) => Some(ChangeKind::Modified),
            (true, false) => Some(ChangeKind::Deleted),
        }
    }
}

/// Sends frames into `frames` until the stream's time is over or the client has gone.
pub(crate) async fn run(
    store: Arc<Store>,
    faults: Arc<FaultSwitch>,
    request: WatchRequest,
    frames: mpsc::Sender<Bytes>,
) {
    let mut sender = FrameSender { frames, sent: 0, faults: faults.clone() };
    let deadline = Instant::now() + request.options.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let mut revisions = store.subscribe();
    let Some(mut revision) = start(&store, &faults, &request, &mut sender).await else { return };
    let mut next_bookmark = bookmark_after(Instant::now(), deadline);
    loop {
        let changes = match store.changes_after(request.resource, revision, BATCH) {
            Ok(changes) => changes,
            Err(compacted) => {
                sender.send(encode::expired_event(&request, revision, compacted.oldest)).await;
                return;
            }
        };
        for change in &changes {
            revision = change.resource_version;
            if let Some(kind) = request.visible(change)
                && !sender.send(encode::event(&request, kind, change)).await
            {
                return;
            }
        }
        if changes.len() == BATCH {
            continue;
        }
        tokio::select! {
            changed = revisions.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(deadline) => return,
            () = tokio::time::sleep_until(next_bookmark) => {
                let bookmarks = request.options.allow_watch_bookmarks && !faults.get().no_bookmarks;
                let newest = revision.max(store.resource_version());
                if bookmarks && !sender.send(encode::bookmark(&request, newest, false)).await {
                    return;
                }
                next_bookmark = bookmark_after(Instant::now(), deadline);
            }
            () = sender.frames.closed() => return,
        }
    }
}

/// When the bookmark after `now` is due: about a minute later, or shortly before the end.
fn bookmark_after(now: Instant, deadline: Instant) -> Instant {
    let next = now + BOOKMARK_INTERVAL;
    match deadline.checked_sub(LAST_BOOKMARK) {
        Some(last) if last > now => next.min(last),
        _ => next,
    }
}

/// Sends what comes before the live events; the revision to go on from, or `None` when the stream is over.
async fn start(
    store: &Store,
    faults: &FaultSwitch,
    request: &WatchRequest,
    sender: &mut FrameSender,
) -> Option<u64> {
    let asked: u64 = request.options.resource_version.parse().unwrap_or(0);
    let streamed_list = request.options.send_initial_events == Some(true);
    if asked != 0 && !streamed_list {
        return Some(asked);
    }
    if request.options.send_initial_events == Some(false) {
        return Some(store.resource_version());
    }
    let (revision, objects) = store.snapshot(request.resource);
    for object in objects.iter().filter(|object| request.selects(object)) {
        if !sender.send(encode::initial_event(request, object)).await {
            return None;
        }
    }
    let end = streamed_list && request.options.allow_watch_bookmarks && !faults.get().no_initial_events_end;
    if end && !sender.send(encode::bookmark(request, revision, true)).await {
        return None;
    }
    Some(revision)
}

struct FrameSender {
    frames: mpsc::Sender<Bytes>,
    sent: usize,
    faults: Arc<FaultSwitch>,
}

impl FrameSender {
    /// Sends one frame; `false` when the stream is over.
    async fn send(&mut self, frame: Bytes) -> bool {
        let allowed = self.faults.get().cut_after_bytes.map(|limit| limit.saturating_sub(self.sent));
        self.sent += frame.len();
        match allowed {
            Some(allowed) if allowed < frame.len() => {
                let _ = self.frames.send(frame.slice(..allowed)).await;
                false
            }
            _ => self.frames.send(frame).await.is_ok(),
        }
    }
}

//! One request to a receiver, and repeating it until its fate is decided.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::RETRY_AFTER;
use outrigger_model::fault;
use outrigger_model::sample::Timestamp;
use outrigger_rt::http::{BodyReader, HttpRequest};
use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::metrics::DropReason;
use super::queue::{self, Batch, Next, ShardSet};
use super::settings::Settings;
use super::verdict::{Backoff, Verdict, judge};

/// How much of a receiver's complaint is kept.
const MESSAGE_BYTES: usize = 256;

/// Bodies of good answers are read up to here, so that the connection can be used again.
const DRAIN_BYTES: usize = 64 << 10;

/// How an attempt ended.
struct Attempt {
    verdict: Verdict,
    error: Option<String>,
    took: Duration,
}

/// How a request ended for good.
pub(super) enum Fate {
    Delivered,
    TooLarge,
    Rejected,
}

/// Sends the batches of one shard, one after the other, until the set is closed and the shard empty.
pub(super) async fn work_shard(endpoint: Arc<Endpoint>, set: Arc<ShardSet>, shard: usize) {
    loop {
        match endpoint.queue().next(&set, shard, Instant::now()) {
            Next::Send(batch) => {
                let batch = Unsettled { endpoint: &endpoint, set: &set, shard, batch: Some(batch) };
                deliver(batch).await;
            }
            Next::WaitUntil(due) => {
                // Either there is more, or the open batch has waited long enough.
                let _ = tokio::time::timeout_at(due, set.ready(shard)).await;
            }
            Next::Wait => set.ready(shard).await,
            Next::Done => return,
        }
    }
}

/// A batch in flight. When the worker is aborted, the batch is dropped and counted.
struct Unsettled<'a> {
    endpoint: &'a Endpoint,
    set: &'a ShardSet,
    shard: usize,
    batch: Option<Batch>,
}

impl Unsettled<'_> {
    /// Done with the batch, or with what is left of it.
    fn settle(&mut self, dropped: Option<DropReason>) {
        let Some(batch) = self.batch.take() else { return };
        if let Some(reason) = dropped {
            self.endpoint.stats().drop_samples(reason, batch.samples);
        }
        self.endpoint.queue().settle(self.set, self.shard, &batch);
    }

    /// Continues with a part of the batch instead.
    fn replace(&mut self, part: Batch) {
        if let Some(batch) = self.batch.take() {
            self.batch = self.endpoint.queue().replace(&batch, vec![part]).pop();
        }
    }
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        self.settle(Some(DropReason::Shutdown));
    }
}

async fn deliver(mut unsettled: Unsettled<'_>) {
    let endpoint = unsettled.endpoint;
    let mut backoff = None;
    let mut attempt = 0;
    loop {
        drop_old_samples(&mut unsettled);
        let Some(batch) = &unsettled.batch else { return };
        let settings = endpoint.settings();
        let outcome = attempt_once(endpoint, &settings, batch.body.clone(), attempt).await;
        match outcome.verdict {
            Verdict::Delivered => {
                let (samples, bytes, newest) = (batch.samples, batch.body.len() as u64, batch.newest);
                endpoint.stats().delivered(samples, bytes, outcome.took, newest, endpoint.now());
                unsettled.settle(None);
                return;
            }
            Verdict::TooLarge if batch.samples > 1 => {
                return Box::pin(deliver_halves(unsettled, settings)).await;
            }
            Verdict::TooLarge | Verdict::Rejected => {
                endpoint.log_drop(batch.samples, outcome.error.as_deref().unwrap_or_default());
                unsettled.settle(Some(DropReason::Rejected));
                return;
            }
            Verdict::Retry(retry_after) => {
                pause(endpoint, &settings, &mut backoff, retry_after, outcome.error).await;
                attempt += 1;
            }
        }
    }
}

/// The receiver takes smaller requests only: sends the first half, then the second.
async fn deliver_halves(mut unsettled: Unsettled<'_>, _settings: Arc<Settings>) {
    let (endpoint, set, shard) = (unsettled.endpoint, unsettled.set, unsettled.shard);
    let Some(batch) = &unsettled.batch else { return };
    match queue::halves(batch) {
        Err(error) => {
            tracing::error!(endpoint = endpoint.name(), error = %fault::chain(&error), "cannot split a batch");
            unsettled.settle(Some(DropReason::Internal));
        }
        Ok(halves) => {
            let Some(batch) = unsettled.batch.take() else { return };
            let halves = endpoint.queue().replace(&batch, halves.into());
            // Guards for all parts first: none is lost silently when this is aborted in between.
            let guards: Vec<_> = halves
                .into_iter()
                .map(|half| Unsettled { endpoint, set, shard, batch: Some(half) })
                .collect();
            for guard in guards {
                deliver(guard).await;
            }
        }
    }
}

fn drop_old_samples(unsettled: &mut Unsettled<'_>) {
    let endpoint = unsettled.endpoint;
    let Some(batch) = &unsettled.batch else { return };
    let age_limit = endpoint.settings().config.queue.sample_age_limit;
    if age_limit.is_zero() {
        return;
    }
    let oldest_allowed =
        endpoint.now().plus_millis(-i64::try_from(age_limit.as_millis()).unwrap_or(i64::MAX));
    if batch.oldest >= oldest_allowed {
        return;
    }
    if batch.newest < oldest_allowed {
        unsettled.settle(Some(DropReason::TooOld));
        return;
    }
    match queue::without_older_than(batch, oldest_allowed) {
        Ok((rest, left_out)) => {
            endpoint.stats().drop_samples(DropReason::TooOld, left_out);
            unsettled.replace(rest);
        }
        Err(error) => {
            tracing::error!(endpoint = endpoint.name(), error = %fault::chain(&error), "cannot filter a batch");
        }
    }
}

/// Sends a request that is not a batch of samples, until its fate is decided.
pub(super) async fn send_until_decided(endpoint: &Endpoint, body: Bytes) -> Fate {
    let mut backoff = None;
    let mut attempt = 0;
    loop {
        let settings = endpoint.settings();
        let outcome = attempt_once(endpoint, &settings, body.clone(), attempt).await;
        match outcome.verdict {
            Verdict::Delivered => return Fate::Delivered,
            Verdict::TooLarge => return Fate::TooLarge,
            Verdict::Rejected => return Fate::Rejected,
            Verdict::Retry(retry_after) => {
                pause(endpoint, &settings, &mut backoff, retry_after, outcome.error).await;
                attempt += 1;
            }
        }
    }
}

/// Waits before the next attempt; new settings (a corrected token or URL) end the wait at once.
async fn pause(
    endpoint: &Endpoint,
    settings: &Arc<Settings>,
    backoff: &mut Option<Backoff>,
    retry_after: Option<Duration>,
    error: Option<String>,
) {
    let queue = &settings.config.queue;
    let backoff = backoff.get_or_insert_with(|| Backoff::new(queue.min_backoff));
    let pause = backoff.pause(retry_after, queue.max_backoff);
    endpoint.stats().retried_requests.fetch_add(1, Ordering::Relaxed);
    endpoint.note_failure();
    endpoint.log_retry(error.as_deref().unwrap_or_default(), pause);
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = endpoint.settings_differ_from(settings) => {}
    }
}

async fn attempt_once(endpoint: &Endpoint, settings: &Settings, body: Bytes, attempt: u32) -> Attempt {
    let started = Instant::now();
    let request = HttpRequest {
        method: settings.method(),
        url: &settings.config.url,
        headers: settings.request_headers(attempt),
        body,
        deadline: started + settings.config.remote_timeout,
    };
    let (verdict, error) = match settings.client.send(request).await {
        Err(error) => (Verdict::Retry(None), Some(fault::chain(&error))),
        Ok(response) => {
            let retry_after = response.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let verdict = judge(response.status, retry_after, endpoint.now());
            if verdict == Verdict::Delivered {
                // What a receiver says after accepting is nobody's business; only the connection is.
                let _ = response.body.read_all(DRAIN_BYTES).await;
                (verdict, None)
            } else {
                (verdict, Some(complaint(response.status, response.body).await))
            }
        }
    };
    let now = endpoint.now();
    if let Some(error) = &error {
        endpoint.stats().failed(error.clone(), now);
    }
    Attempt { verdict, error, took: started.elapsed() }
}

/// The status and the beginning of the body, as Prometheus words it.
async fn complaint(status: StatusCode, mut body: BodyReader) -> String {
    let mut message = Vec::new();
    while message.len() < MESSAGE_BYTES {
        match body.chunk().await {
            Ok(Some(chunk)) => {
                let room = MESSAGE_BYTES - message.len();
                message.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            Ok(None) | Err(_) => break,
        }
    }
    let text: String =
        String::from_utf8_lossy(&message).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("server returned HTTP status {status}: {}", text.trim())
}

/// Milliseconds between two times as a duration; zero when `later` is not later.
pub(super) fn elapsed(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(later.since(earlier)).unwrap_or_default())
}

//! One request to a receiver, and repeating it until its fate is decided.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use outrigger_model::fault;
use outrigger_model::sample::Timestamp;
use outrigger_rt::http::{BodyReader, HttpRequest};
use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::metrics::DropReason;
use super::protocol::{Message, Protocol, Reply};
use super::queue::{self, Batch, Next, RemakeError, ShardSet};
use super::settings::Settings;
use super::verdict::{Backoff, Verdict, judge};

/// How much of a receiver's complaint is kept.
const MESSAGE_BYTES: usize = 256;

/// Bodies of good answers are read up to here, so that the connection can be used again.
const DRAIN_BYTES: usize = 64 << 10;

/// How an attempt ended.
struct Attempt {
    verdict: Verdict,
    /// The receiver takes another protocol.
    again: bool,
    error: Option<String>,
    took: Duration,
    /// Samples that the receiver says it has written (version 2.0).
    written: Option<u64>,
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
            Next::Send => {
                deliver(InFlight { endpoint: &endpoint, set: &set, shard, done: false }).await;
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

/// A batch in flight. When the worker is aborted, the batch stays the first of its shard.
struct InFlight<'a> {
    endpoint: &'a Endpoint,
    set: &'a ShardSet,
    shard: usize,
    done: bool,
}

impl InFlight<'_> {
    fn batch(&self) -> Option<Batch> {
        self.endpoint.queue().in_flight(self.set, self.shard)
    }

    /// Done with the batch.
    fn settle(mut self) {
        self.done = true;
        self.endpoint.queue().settle(self.set, self.shard);
    }

    /// Done with the batch, of which `samples` did not arrive.
    fn drop_samples(self, reason: DropReason, samples: u64) {
        self.endpoint.stats().drop_samples(reason, samples);
        self.settle();
    }

    /// Continues with parts of the batch instead. False when there are none.
    fn replace(&mut self, parts: Vec<Batch>) -> bool {
        self.endpoint.queue().replace(self.set, self.shard, parts);
        self.done = self.batch().is_none();
        !self.done
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let queue = self.endpoint.queue();
        match (std::thread::panicking(), self.batch()) {
            // The next worker would fail on it, too.
            (true, Some(batch)) => {
                self.endpoint.stats().drop_samples(DropReason::Internal, batch.samples);
                queue.settle(self.set, self.shard);
            }
            _ => queue.put_back(self.set, self.shard),
        }
    }
}

/// A batch as it is sent.
struct Prepared {
    protocol: Protocol,
    body: Bytes,
    /// Samples that the protocol cannot carry.
    left_out: u64,
}

async fn deliver(mut in_flight: InFlight<'_>) {
    let endpoint = in_flight.endpoint;
    let mut backoff = None;
    let mut attempt = 0;
    let mut stored: Option<Bytes> = None;
    let mut prepared: Option<Prepared> = None;
    loop {
        let Some(batch) = in_flight.batch() else { return };
        let body = match batch.body.clone().or(stored.clone()) {
            Some(body) => body,
            None => match read_stored(endpoint, &batch).await {
                Ok(body) => stored.insert(body).clone(),
                Err(error) => {
                    tracing::error!(endpoint = endpoint.name(), error, "a batch on disk is lost");
                    return in_flight.drop_samples(DropReason::Corrupt, batch.samples);
                }
            },
        };
        match old_samples(endpoint, &batch, &body) {
            Age::Fine => {}
            Age::TooOld => return in_flight.drop_samples(DropReason::TooOld, batch.samples),
            Age::Partly(rest, left_out) => {
                endpoint.stats().drop_samples(DropReason::TooOld, left_out);
                (stored, prepared) = (None, None);
                if !in_flight.replace(vec![rest]) {
                    return;
                }
                continue;
            }
        }
        let wanted = endpoint.queue().negotiation().protocol();
        if prepared.as_ref().is_none_or(|prepared| prepared.protocol != wanted) {
            match prepare(&batch, body.clone(), wanted) {
                Ok(fresh) => prepared = Some(fresh),
                Err(error) => {
                    tracing::error!(endpoint = endpoint.name(), error = %fault::chain(&error), "cannot read a batch");
                    return in_flight.drop_samples(DropReason::Corrupt, batch.samples);
                }
            }
        }
        let Some(Prepared { protocol, body: sent, left_out }) = &prepared else { return };
        let settings = endpoint.settings();
        let outcome = attempt_once(endpoint, &settings, *protocol, sent.clone(), attempt).await;
        match outcome.verdict {
            _ if outcome.again => {}
            Verdict::Delivered => {
                let bytes = sent.len() as u64;
                let samples = batch.samples.saturating_sub(*left_out);
                endpoint.stats().drop_samples(DropReason::Unsupported, *left_out);
                endpoint.stats().delivered(samples, bytes, outcome.took, batch.newest, endpoint.now());
                return in_flight.settle();
            }
            Verdict::TooLarge if batch.samples > 1 => match queue::halves(&batch, &body) {
                Ok(halves) => {
                    (stored, prepared) = (None, None);
                    if !in_flight.replace(halves.into()) {
                        return;
                    }
                }
                Err(error) => {
                    tracing::error!(endpoint = endpoint.name(), error = %fault::chain(&error), "cannot split a batch");
                    return in_flight.drop_samples(DropReason::Internal, batch.samples);
                }
            },
            Verdict::TooLarge | Verdict::Rejected => {
                let written = outcome.written.unwrap_or_default().min(batch.samples);
                endpoint.stats().samples_sent.fetch_add(written, Ordering::Relaxed);
                let lost = batch.samples - written;
                endpoint.log_drop(lost, outcome.error.as_deref().unwrap_or_default());
                return in_flight.drop_samples(DropReason::Rejected, lost);
            }
            Verdict::Retry(retry_after) => {
                pause(endpoint, &settings, &mut backoff, retry_after, outcome.error).await;
                attempt += 1;
            }
        }
    }
}

async fn read_stored(endpoint: &Endpoint, batch: &Batch) -> Result<Bytes, String> {
    let (Some(disk), Some(record)) = (endpoint.queue().disk(), batch.record) else {
        return Err("it is neither in memory nor on disk".to_owned());
    };
    disk.read(record).await.map_err(|error| fault::chain(&error))
}

/// The batch in the protocol that the receiver takes.
fn prepare(batch: &Batch, body: Bytes, protocol: Protocol) -> Result<Prepared, RemakeError> {
    let (body, left_out) = match batch.protocol == protocol {
        true => (body, 0),
        false => queue::translated(batch, &body, protocol)?,
    };
    Ok(Prepared { protocol, body, left_out })
}

/// What `sample_age_limit` makes of a batch.
enum Age {
    Fine,
    TooOld,
    /// What is left, and how many samples are not.
    Partly(Batch, u64),
}

fn old_samples(endpoint: &Endpoint, batch: &Batch, body: &[u8]) -> Age {
    let age_limit = endpoint.settings().config.queue.sample_age_limit;
    if age_limit.is_zero() {
        return Age::Fine;
    }
    let oldest_allowed =
        endpoint.now().plus_millis(-i64::try_from(age_limit.as_millis()).unwrap_or(i64::MAX));
    if batch.oldest >= oldest_allowed {
        return Age::Fine;
    }
    if batch.newest < oldest_allowed {
        return Age::TooOld;
    }
    match queue::without_older_than(batch, body, oldest_allowed) {
        Ok((rest, left_out)) => Age::Partly(rest, left_out),
        Err(error) => {
            tracing::error!(endpoint = endpoint.name(), error = %fault::chain(&error), "cannot filter a batch");
            Age::Fine
        }
    }
}

/// Sends a request that is not a batch of samples, until its fate is decided.
pub(super) async fn send_until_decided(endpoint: &Endpoint, protocol: Protocol, body: Bytes) -> Fate {
    let mut backoff = None;
    let mut attempt = 0;
    loop {
        let settings = endpoint.settings();
        let outcome = attempt_once(endpoint, &settings, protocol, body.clone(), attempt).await;
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

async fn attempt_once(
    endpoint: &Endpoint,
    settings: &Settings,
    protocol: Protocol,
    body: Bytes,
    attempt: u32,
) -> Attempt {
    let started = Instant::now();
    let request = HttpRequest {
        method: settings.method(),
        url: &settings.config.url,
        headers: settings.request_headers(protocol, attempt),
        body,
        deadline: started + settings.config.remote_timeout,
    };
    let mut outcome = Attempt {
        verdict: Verdict::Retry(None),
        again: false,
        error: None,
        took: Duration::ZERO,
        written: None,
    };
    match settings.client.send(request).await {
        Err(error) => outcome.error = Some(fault::chain(&error)),
        Ok(response) => {
            let retry_after = response.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            outcome.verdict = judge(response.status, retry_after, endpoint.now());
            outcome.written = written(&response.headers);
            let reply = match outcome.verdict {
                Verdict::Delivered if protocol.message == Message::V2 && outcome.written.is_none() => {
                    Some(Reply::Unconfirmed)
                }
                Verdict::Delivered => Some(Reply::Taken),
                Verdict::Rejected if response.status == StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                    Some(Reply::UnsupportedMedia)
                }
                Verdict::Rejected => Some(Reply::Refused),
                Verdict::TooLarge | Verdict::Retry(_) => None,
            };
            let negotiation = endpoint.queue().negotiation();
            outcome.again = reply.is_some_and(|reply| negotiation.step(protocol, reply));
            if outcome.verdict == Verdict::Delivered {
                // What a receiver says after accepting is nobody's business; only the connection is.
                let _ = response.body.read_all(DRAIN_BYTES).await;
            } else {
                outcome.error = Some(complaint(response.status, response.body).await);
            }
            if outcome.again {
                tracing::info!(
                    endpoint = settings.config.name,
                    from = protocol.as_str(),
                    to = negotiation.protocol().as_str(),
                    answer = outcome.error.as_deref().unwrap_or("accepted without saying what was written"),
                    "the receiver takes another remote write protocol",
                );
            }
        }
    }
    if let Some(error) = outcome.error.as_ref().filter(|_| !outcome.again) {
        endpoint.stats().failed(error.clone(), endpoint.now());
    }
    outcome.took = started.elapsed();
    outcome
}

/// Samples and native histograms that a receiver of version 2.0 says it has written.
fn written(headers: &HeaderMap) -> Option<u64> {
    let count = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let samples = count("x-prometheus-remote-write-samples-written");
    let histograms = count("x-prometheus-remote-write-histograms-written");
    (samples.is_some() || histograms.is_some())
        .then(|| samples.unwrap_or_default().saturating_add(histograms.unwrap_or_default()))
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

//! The remote-write receiver of the benchmark: takes versions 1.0 and 2.0, snappy and zstd, and only counts.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::control;
use super::message::{self, Contents, Sample};
use super::sequence::{Sequence, Sequences};

const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
const MAX_MESSAGE_BYTES: usize = 512 * 1024 * 1024;

/// What arrived since the last reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Requests that were taken.
    pub requests: u64,
    /// Of them, those of version 2.0.
    pub version_2: u64,
    /// Of them, those compressed with zstd.
    pub zstd: u64,
    /// Requests that were refused because they could not be read.
    pub refused: u64,
    /// Bytes of the bodies that were taken, as they came over the wire.
    pub wire_bytes: u64,
    /// Bytes of the messages, decompressed.
    pub message_bytes: u64,
    /// What the messages held.
    pub contents: Contents,
    /// Different series; zero unless the receiver was told to count them.
    pub distinct_series: u64,
    /// What each series' samples were like since the start; only when the receiver was told to follow them.
    pub sequence: Option<Sequence>,
}

#[derive(Default)]
struct State {
    received: Received,
    series: Option<HashSet<u64>>,
    sequences: Option<Sequences>,
}

/// What the receiver does beyond counting.
#[derive(Debug, Clone, Copy, Default)]
pub struct Receiving {
    /// Count different series.
    pub distinct: bool,
    /// Follow the samples of each series of the benchmark's targets, which are scraped every so many milliseconds.
    pub follow_interval_millis: Option<u64>,
}

/// Serves until the process is killed: `GET /stats` answers with [`Received`], `POST /reset` forgets, and every other
/// path takes remote writes.
pub async fn serve(address: SocketAddr, receiving: Receiving) -> Result<()> {
    let state = State {
        received: Received::default(),
        series: receiving.distinct.then(HashSet::new),
        sequences: receiving.follow_interval_millis.map(Sequences::new),
    };
    let state = Arc::new(Mutex::new(state));
    control::serve_with(address, move |request| answer(state.clone(), request)).await
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/stats" => {
            let state = lock(&state);
            let distinct_series = state.series.as_ref().map_or(0, |series| series.len() as u64);
            let sequence = state.sequences.as_ref().map(Sequences::found);
            let received = Received { distinct_series, sequence, ..state.received };
            Response::new(Full::from(serde_json::to_string(&received).unwrap_or_default()))
        }
        "/reset" => {
            let mut state = lock(&state);
            state.received = Received::default();
            state.series = state.series.take().map(|_| HashSet::new());
            Response::new(Full::default())
        }
        _ => match take(&state, request).await {
            Ok(contents) => written(&contents),
            Err(reason) => {
                lock(&state).received.refused += 1;
                let mut response = Response::new(Full::from(format!("{reason:#}\n")));
                *response.status_mut() = StatusCode::BAD_REQUEST;
                response
            }
        },
    }
}

async fn take(state: &Mutex<State>, request: Request<Incoming>) -> Result<Contents> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY_BYTES).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("read the body: {error}"))?.to_bytes();
    let is_version_2 = header(&head.headers, CONTENT_TYPE).contains("io.prometheus.write.v2.Request");
    let encoding = header(&head.headers, CONTENT_ENCODING);
    let message = decompress(encoding, &body)?;
    let wanted = {
        let state = lock(state);
        state.series.is_some() || state.sequences.is_some()
    };
    let mut seen: Vec<(u64, Vec<Sample>)> = Vec::new();
    let mut see = |series: u64, samples: &[Sample]| seen.push((series, samples.to_vec()));
    let contents = message::count(&message, is_version_2, wanted.then_some(&mut see))?;
    let mut state = lock(state);
    let received = &mut state.received;
    received.requests += 1;
    received.version_2 += u64::from(is_version_2);
    received.zstd += u64::from(encoding == "zstd");
    received.wire_bytes += body.len() as u64;
    received.message_bytes += message.len() as u64;
    received.contents.add_assign(contents);
    if let Some(series) = &mut state.series {
        series.extend(seen.iter().map(|(series, _)| *series));
    }
    if let Some(sequences) = &mut state.sequences {
        seen.iter().for_each(|(series, samples)| sequences.see(*series, samples));
    }
    Ok(contents)
}

fn decompress(encoding: &str, body: &[u8]) -> Result<Vec<u8>> {
    match encoding {
        "snappy" => {
            let length = snap::raw::decompress_len(body).context("read the snappy length")?;
            if length > MAX_MESSAGE_BYTES {
                bail!("the message is longer than {MAX_MESSAGE_BYTES} bytes");
            }
            snap::raw::Decoder::new().decompress_vec(body).context("decompress snappy")
        }
        "zstd" => {
            let bound = zstd::zstd_safe::get_frame_content_size(body).ok().flatten().unwrap_or(0);
            let capacity = usize::try_from(bound).unwrap_or(usize::MAX).max(body.len() * 8);
            if capacity > MAX_MESSAGE_BYTES {
                bail!("the message is longer than {MAX_MESSAGE_BYTES} bytes");
            }
            let mut message = Vec::with_capacity(capacity);
            zstd::stream::copy_decode(body, &mut message).context("decompress zstd")?;
            Ok(message)
        }
        other => bail!("Content-Encoding `{other}` is neither snappy nor zstd"),
    }
}

/// What version 2.0 asks a receiver to say; a sender of version 1.0 ignores it.
fn written(contents: &Contents) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    for (name, count) in [
        ("x-prometheus-remote-write-samples-written", contents.samples),
        ("x-prometheus-remote-write-histograms-written", contents.histograms),
        ("x-prometheus-remote-write-exemplars-written", contents.exemplars),
    ] {
        response.headers_mut().insert(name, HeaderValue::from(count));
    }
    response
}

fn header(headers: &HeaderMap, name: http::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

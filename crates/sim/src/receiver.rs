//! A remote-write receiver that remembers what it was sent, and fails on demand.
//!
//! It takes versions 1.0 and 2.0 by their `Content-Type`, and snappy and zstd by their `Content-Encoding`.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use outrigger_model::histogram::Histogram;
use outrigger_model::labels::Labels;
use outrigger_model::sample::{Exemplar, Sample, Timestamp};
use outrigger_wire::remote_write::{self, MetricMetadata, TimeSeries, WriteRequest};
use parking_lot::Mutex;
use tokio::net::TcpListener;

const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
const MAX_MESSAGE_BYTES: usize = 512 * 1024 * 1024;

/// What version 2.0 asks of the answer: how many samples, histograms and exemplars were written.
const WRITTEN: [HeaderName; 3] = [
    HeaderName::from_static("x-prometheus-remote-write-samples-written"),
    HeaderName::from_static("x-prometheus-remote-write-histograms-written"),
    HeaderName::from_static("x-prometheus-remote-write-exemplars-written"),
];

/// What a series was sent, each kind in order of arrival.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    /// Float samples.
    pub samples: Vec<Sample>,
    /// Exemplars.
    pub exemplars: Vec<Exemplar>,
    /// Native histograms.
    pub histograms: Vec<(Timestamp, Histogram)>,
    /// What version 2.0 said about the series last.
    pub metadata: Option<MetricMetadata>,
}

/// How the receiver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answer {
    /// Takes the samples: 204.
    #[default]
    Accept,
    /// This status, and the samples are not taken.
    Refuse(StatusCode),
    /// 429 with `Retry-After`.
    RetryAfter(Duration),
    /// No answer at all.
    Hang,
    /// Takes the samples, and says so this much later.
    Slow(Duration),
    /// As if nobody was there: connections are closed without an answer.
    Away,
}

/// What arrived.
#[derive(Debug, Default)]
struct Received {
    requests: u64,
    samples: u64,
    malformed: u64,
    version_2: u64,
    /// Kept only where the receiver was started to keep everything.
    series: Option<HashMap<Labels, Kept>>,
    /// What version 1.0 said about each family last; kept where the series are.
    families: HashMap<Arc<str>, MetricMetadata>,
}

/// What is done with each request that is taken.
type Hand = Box<dyn Fn(&WriteRequest) + Send + Sync>;

#[derive(Default)]
struct Shared {
    answer: Mutex<Answer>,
    hand: Option<Hand>,
    received: Mutex<Received>,
    connections: AtomicUsize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("answer", &self.answer).finish_non_exhaustive()
    }
}

/// A connection that is open.
struct Connection(Arc<Shared>);

impl Connection {
    fn count(shared: Arc<Shared>) -> Self {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A running receiver; dropping it stops it.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Receiver {
    /// A receiver that only counts.
    ///
    /// # Errors
    /// When no port on loopback can be bound.
    pub async fn start_counting() -> io::Result<Self> {
        Self::start(Received::default(), None).await
    }

    /// A receiver on an address that hands each request it takes to `hand` and keeps nothing itself.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start_handing(
        address: SocketAddr,
        hand: impl Fn(&WriteRequest) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start_at(address, Received::default(), Some(Box::new(hand))).await
    }

    /// A receiver that keeps every sample for [`series`](Self::series).
    ///
    /// # Errors
    /// When no port on loopback can be bound.
    pub async fn start_keeping() -> io::Result<Self> {
        Self::start(Received { series: Some(HashMap::new()), ..Received::default() }, None).await
    }

    async fn start(received: Received, hand: Option<Hand>) -> io::Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), received, hand).await
    }

    async fn start_at(address: SocketAddr, received: Received, hand: Option<Hand>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { received: Mutex::new(received), hand, ..Shared::default() });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { address, shared, accepting })
    }

    /// Where to send.
    pub fn url(&self) -> String {
        format!("http://{}/api/v1/write", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes how requests are answered from now on.
    pub fn answer(&self, answer: Answer) {
        *self.shared.answer.lock() = answer;
    }

    /// Samples taken so far.
    pub fn samples(&self) -> u64 {
        self.shared.received.lock().samples
    }

    /// Requests seen so far, refused ones included.
    pub fn requests(&self) -> u64 {
        self.shared.received.lock().requests
    }

    /// Connections that were accepted and are open. The system may have more that are not accepted yet; they are accepted in
    /// the order in which they were made.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Bodies that were not a remote-write message.
    pub fn malformed(&self) -> u64 {
        self.shared.received.lock().malformed
    }

    /// Requests of version 2.0 that were taken.
    pub fn version_2(&self) -> u64 {
        self.shared.received.lock().version_2
    }

    /// Every sample by series, in order of arrival; empty for a receiver that only counts.
    pub fn series(&self) -> HashMap<Labels, Vec<Sample>> {
        let received = self.shared.received.lock();
        let series = received.series.iter().flatten();
        series.map(|(labels, kept)| (labels.clone(), kept.samples.clone())).collect()
    }

    /// Everything by series; empty for a receiver that only counts.
    pub fn kept(&self) -> HashMap<Labels, Kept> {
        self.shared.received.lock().series.clone().unwrap_or_default()
    }

    /// Metadata by family as version 1.0 sends it; empty for a receiver that only counts.
    pub fn families(&self) -> HashMap<Arc<str>, MetricMetadata> {
        self.shared.received.lock().families.clone()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let connection = Connection::count(shared.clone());
        tokio::spawn(async move {
            let shared = &connection.0;
            if *shared.answer.lock() == Answer::Away {
                return;
            }
            let service = hyper::service::service_fn(|request| {
                let shared = shared.clone();
                async move { receive(&shared, request).await }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// The answer; an error closes the connection.
async fn receive(shared: &Shared, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    shared.received.lock().requests += 1;
    let answer = *shared.answer.lock();
    let after = match answer {
        Answer::Accept => Duration::ZERO,
        Answer::Refuse(status) => return Ok(plain(status, "told to refuse")),
        Answer::RetryAfter(after) => {
            let mut response = plain(StatusCode::TOO_MANY_REQUESTS, "told to refuse");
            response.headers_mut().insert(RETRY_AFTER, after.as_secs().into());
            return Ok(response);
        }
        Answer::Hang => {
            // Read to its end, or the end of the connection would not be noticed.
            let _ = Limited::new(request.into_body(), MAX_BODY_BYTES).collect().await;
            return std::future::pending().await;
        }
        Answer::Slow(after) => after,
        Answer::Away => return Err(io::ErrorKind::ConnectionAborted.into()),
    };
    let response = take(shared, request).await;
    tokio::time::sleep(after).await;
    Ok(response)
}

async fn take(shared: &Shared, request: Request<Incoming>) -> Response<Full<Bytes>> {
    match read(request).await {
        Ok((is_version_2, write_request)) => {
            let mut response = plain(StatusCode::NO_CONTENT, "");
            if is_version_2 {
                put_written(&write_request, response.headers_mut());
            }
            if let Some(hand) = &shared.hand {
                hand(&write_request);
            }
            shared.received.lock().take(is_version_2, write_request);
            response
        }
        Err(reason) => {
            shared.received.lock().malformed += 1;
            plain(StatusCode::BAD_REQUEST, reason)
        }
    }
}

/// The message, and whether it is one of version 2.0.
async fn read(request: Request<Incoming>) -> Result<(bool, WriteRequest), &'static str> {
    let (head, body) = request.into_parts();
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let is_version_2 = match header(CONTENT_TYPE).trim_end_matches(';') {
        "application/x-protobuf" | "application/x-protobuf;proto=prometheus.WriteRequest" => false,
        "application/x-protobuf;proto=io.prometheus.write.v2.Request" => true,
        _ => return Err("Content-Type is no remote-write message"),
    };
    let body = Limited::new(body, MAX_BODY_BYTES);
    let body = body.collect().await.map_err(|_| "the body is too long or broke off")?.to_bytes();
    let request = decode(is_version_2, header(CONTENT_ENCODING), &body)?;
    if request.series.iter().any(|series| series.check_labels().is_err()) {
        return Err("the labels of a series are not sorted, unique and complete");
    }
    Ok((is_version_2, request))
}

/// A request from its compressed body; `encoding` is `snappy` or `zstd`.
///
/// # Errors
/// What is wrong with it.
pub fn decode(is_version_2: bool, encoding: &str, body: &[u8]) -> Result<WriteRequest, &'static str> {
    let raw = decompress(encoding, body)?;
    if is_version_2 {
        remote_write::v2::decode(&raw).map_err(|_| "the body is not an io.prometheus.write.v2.Request")
    } else {
        remote_write::decode(&raw).map_err(|_| "the body is not a WriteRequest")
    }
}

fn decompress(encoding: &str, body: &[u8]) -> Result<Vec<u8>, &'static str> {
    match encoding {
        "snappy" => {
            if snap::raw::decompress_len(body).map_err(|_| "the body is not snappy")? > MAX_MESSAGE_BYTES {
                return Err("the message is too long");
            }
            snap::raw::Decoder::new().decompress_vec(body).map_err(|_| "the body is not snappy")
        }
        "zstd" => {
            let decoder = zstd::Decoder::with_buffer(body).map_err(|_| "the body is not zstd")?;
            let mut message = Vec::new();
            let most = MAX_MESSAGE_BYTES as u64 + 1;
            decoder.take(most).read_to_end(&mut message).map_err(|_| "the body is not zstd")?;
            if message.len() > MAX_MESSAGE_BYTES {
                return Err("the message is too long");
            }
            Ok(message)
        }
        _ => Err("Content-Encoding is neither snappy nor zstd"),
    }
}

fn put_written(request: &WriteRequest, headers: &mut HeaderMap) {
    let total = |count: fn(&TimeSeries) -> usize| request.series.iter().map(count).sum::<usize>();
    let counts = [
        total(|series| series.samples.len()),
        total(|series| series.histograms.len()),
        total(|series| series.exemplars.len()),
    ];
    for (name, count) in WRITTEN.into_iter().zip(counts) {
        headers.insert(name, HeaderValue::from(count));
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

impl Received {
    fn take(&mut self, is_version_2: bool, request: WriteRequest) {
        self.version_2 += u64::from(is_version_2);
        if self.series.is_some() {
            let families = request.metadata.into_iter().map(|metadata| (metadata.family.clone(), metadata));
            self.families.extend(families);
        }
        for series in request.series {
            self.samples += series.samples.len() as u64;
            if let Some(kept) = &mut self.series {
                let kept = kept.entry(Labels::from_pairs(series.labels)).or_default();
                kept.samples.extend(series.samples);
                kept.exemplars.extend(series.exemplars);
                kept.histograms.extend(series.histograms);
                kept.metadata = series.metadata.or(kept.metadata.take());
            }
        }
    }
}

//! A remote-write receiver that remembers what it was sent, and fails on demand.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use outrigger_model::labels::Labels;
use outrigger_model::sample::Sample;
use outrigger_wire::remote_write;
use parking_lot::Mutex;
use tokio::net::TcpListener;

const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

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
}

/// What arrived.
#[derive(Debug, Default)]
struct Received {
    requests: u64,
    samples: u64,
    malformed: u64,
    /// Kept only where the receiver was started to keep everything.
    series: Option<HashMap<Labels, Vec<Sample>>>,
}

#[derive(Debug, Default)]
struct Shared {
    answer: Mutex<Answer>,
    received: Mutex<Received>,
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
        Self::start(Received::default()).await
    }

    /// A receiver that keeps every sample for [`series`](Self::series).
    ///
    /// # Errors
    /// When no port on loopback can be bound.
    pub async fn start_keeping() -> io::Result<Self> {
        Self::start(Received { series: Some(HashMap::new()), ..Received::default() }).await
    }

    async fn start(received: Received) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { received: Mutex::new(received), ..Shared::default() });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { address, shared, accepting })
    }

    /// Where to send.
    pub fn url(&self) -> String {
        format!("http://{}/api/v1/write", self.address)
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

    /// Bodies that were not a remote-write message.
    pub fn malformed(&self) -> u64 {
        self.shared.received.lock().malformed
    }

    /// Every sample by series, in order of arrival; empty for a receiver that only counts.
    pub fn series(&self) -> HashMap<Labels, Vec<Sample>> {
        self.shared.received.lock().series.clone().unwrap_or_default()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|request| {
                let shared = shared.clone();
                async move { Ok::<_, Infallible>(receive(&shared, request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn receive(shared: &Shared, request: Request<Incoming>) -> Response<Full<Bytes>> {
    shared.received.lock().requests += 1;
    let answer = *shared.answer.lock();
    match answer {
        Answer::Accept => {}
        Answer::Refuse(status) => return plain(status, "told to refuse"),
        Answer::RetryAfter(after) => {
            let mut response = plain(StatusCode::TOO_MANY_REQUESTS, "told to refuse");
            response.headers_mut().insert(RETRY_AFTER, after.as_secs().into());
            return response;
        }
        Answer::Hang => std::future::pending().await,
    }
    match read(request).await {
        Ok(write_request) => {
            shared.received.lock().take(write_request);
            plain(StatusCode::NO_CONTENT, "")
        }
        Err(reason) => {
            shared.received.lock().malformed += 1;
            plain(StatusCode::BAD_REQUEST, reason)
        }
    }
}

async fn read(request: Request<Incoming>) -> Result<remote_write::WriteRequest, &'static str> {
    let header = |name| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
    if header(CONTENT_ENCODING) != "snappy" {
        return Err("Content-Encoding is not snappy");
    }
    if header(CONTENT_TYPE) != "application/x-protobuf" {
        return Err("Content-Type is not application/x-protobuf");
    }
    let body = Limited::new(request.into_body(), MAX_BODY_BYTES);
    let body = body.collect().await.map_err(|_| "the body is too long or broke off")?.to_bytes();
    let raw = snap::raw::Decoder::new().decompress_vec(&body).map_err(|_| "the body is not snappy")?;
    let request = remote_write::decode(&raw).map_err(|_| "the body is not a WriteRequest")?;
    if request.series.iter().any(|series| series.check_labels().is_err()) {
        return Err("the labels of a series are not sorted, unique and complete");
    }
    Ok(request)
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

impl Received {
    fn take(&mut self, request: remote_write::WriteRequest) {
        for series in request.series {
            self.samples += series.samples.len() as u64;
            if let Some(kept) = &mut self.series {
                kept.entry(Labels::from_pairs(series.labels)).or_default().extend(series.samples);
            }
        }
    }
}

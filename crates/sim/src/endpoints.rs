//! The HTTP endpoints of simulated nodes and pods: one listener, thousands of loopback addresses.
//!
//! The listener takes every address of 127.0.0.0/8 and answers as the node or pod that has the address just now;
//! an address that nobody has is hung up on, as a deleted pod's would be.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use outrigger_model::clock::SharedClock;
use outrigger_model::labels::Fnv1a;
use parking_lot::RwLock;
use tokio::net::{TcpListener, TcpSocket};

const BACKLOG: u32 = 4096;
const CONTENT_TYPE_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Who has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A node; answers with machine metrics.
    Node(Arc<str>),
    /// A pod; answers with application metrics.
    Pod(Arc<str>),
}

/// Which node or pod has which address, shared between the population and the listener.
#[derive(Debug, Default)]
pub struct AddressBook(RwLock<HashMap<Ipv4Addr, Owner>>);

impl AddressBook {
    /// Gives an address to a node or pod.
    pub fn assign(&self, address: Ipv4Addr, owner: Owner) {
        self.0.write().insert(address, owner);
    }

    /// Takes an address away.
    pub fn release(&self, address: Ipv4Addr) {
        self.0.write().remove(&address);
    }

    fn owner(&self, address: IpAddr) -> Option<Owner> {
        match address {
            IpAddr::V4(address) => self.0.read().get(&address).cloned(),
            IpAddr::V6(_) => None,
        }
    }
}

/// The running endpoints; dropping them stops them.
#[derive(Debug)]
pub struct Endpoints {
    port: u16,
    scrapes: Arc<AtomicU64>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Endpoints {
    /// Starts to answer on one free port of every loopback address in `addresses`.
    ///
    /// # Errors
    /// When the port cannot be bound.
    pub fn start(addresses: Arc<AddressBook>, clock: SharedClock) -> io::Result<Self> {
        let listener = listen_on_loopback_device()?;
        let port = listener.local_addr()?.port();
        let scrapes = Arc::new(AtomicU64::new(0));
        let accepting = tokio::spawn(accept(listener, addresses, clock, scrapes.clone()));
        Ok(Self { port, scrapes, accepting })
    }

    /// The port, the same for all addresses.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Scrapes answered so far.
    pub fn scrapes(&self) -> u64 {
        self.scrapes.load(Ordering::Relaxed)
    }
}

/// Binds all addresses but only of the loopback device, so that no other machine reaches the port.
fn listen_on_loopback_device() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    #[cfg(target_os = "linux")]
    socket.bind_device(Some(b"lo"))?;
    socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
    socket.listen(BACKLOG)
}

async fn accept(
    listener: TcpListener,
    addresses: Arc<AddressBook>,
    clock: SharedClock,
    scrapes: Arc<AtomicU64>,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(local) = stream.local_addr() else { continue };
        if !local.ip().is_loopback() || addresses.owner(local.ip()).is_none() {
            continue;
        }
        let _ = stream.set_nodelay(true);
        let (addresses, clock, scrapes) = (addresses.clone(), clock.clone(), scrapes.clone());
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|request| {
                let response = answer(&addresses, local.ip(), &clock, &request);
                scrapes.fetch_add(1, Ordering::Relaxed);
                async move { response.ok_or(Hangup) }
            });
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).max_buf_size(8192);
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The address has no owner any more: the connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the simulated pod is gone")]
struct Hangup;

fn answer(
    addresses: &AddressBook,
    address: IpAddr,
    clock: &SharedClock,
    request: &Request<Incoming>,
) -> Option<Response<Full<Bytes>>> {
    let owner = addresses.owner(address)?;
    if request.uri().path() != "/metrics" {
        let mut response = Response::new(Full::from("404 page not found\n"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Some(response);
    }
    let seconds = clock.now().seconds();
    let text = match owner {
        Owner::Node(name) => node_metrics(&name, seconds),
        Owner::Pod(name) => pod_metrics(&name, seconds),
    };
    let accepts = request.headers().get(ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or("");
    let gzip = accepts.contains("gzip");
    let content = if gzip { compress(&text) } else { text.into_bytes() };
    let mut response = Response::new(Full::from(content));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_TEXT));
    if gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Some(response)
}

fn compress(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).expect("writing to a Vec cannot fail")
}

/// A number of its own for each name, so that no two endpoints move alike.
fn seed(name: &str) -> f64 {
    let mut hash = Fnv1a::new();
    hash.update(name.as_bytes());
    (hash.finish() % 10_000) as f64 / 10_000.0
}

fn node_metrics(name: &str, seconds: f64) -> String {
    let seed = seed(name);
    let mut text = String::with_capacity(4096);
    text.push_str("# HELP node_cpu_seconds_total Seconds the CPUs spent in each mode.\n# TYPE node_cpu_seconds_total counter\n");
    for cpu in 0..4 {
        for (mode, share) in [("idle", 0.6), ("iowait", 0.02), ("system", 0.1), ("user", 0.28)] {
            let value = seconds % 1e7 * share * (0.8 + 0.4 * seed) + f64::from(cpu);
            let _ = writeln!(text, "node_cpu_seconds_total{{cpu=\"{cpu}\",mode=\"{mode}\"}} {value:.2}");
        }
    }
    let load = 1.0 + 3.0 * seed + (seconds / 60.0 + seed * 7.0).sin();
    for (minutes, factor) in [(1, 1.0), (5, 0.9), (15, 0.8)] {
        let _ = writeln!(
            text,
            "# HELP node_load{minutes} {minutes}m load average.\n# TYPE node_load{minutes} gauge\nnode_load{minutes} {:.2}",
            load * factor
        );
    }
    let total = 64.0 * 1024.0 * 1024.0 * 1024.0;
    let available = total * (0.3 + 0.3 * seed + 0.05 * (seconds / 300.0).sin());
    for (kind, value) in [("MemTotal", total), ("MemAvailable", available)] {
        let _ = writeln!(
            text,
            "# HELP node_memory_{kind}_bytes Memory information field {kind}_bytes.\n# TYPE node_memory_{kind}_bytes gauge\nnode_memory_{kind}_bytes {value:.0}"
        );
    }
    for (metric, rate) in [("receive_bytes", 1.2e6), ("transmit_bytes", 0.9e6), ("receive_errs", 0.001)] {
        let _ = writeln!(
            text,
            "# HELP node_network_{metric}_total Network device statistic {metric}.\n# TYPE node_network_{metric}_total counter\nnode_network_{metric}_total{{device=\"eth0\"}} {:.0}",
            seconds % 1e7 * rate * (0.5 + seed)
        );
    }
    text
}

fn pod_metrics(name: &str, seconds: f64) -> String {
    let seed = seed(name);
    let mut text = String::with_capacity(2048);
    text.push_str("# HELP http_requests_total Requests by code.\n# TYPE http_requests_total counter\n");
    let elapsed = seconds % 1e6;
    for (code, share) in [("200", 0.97), ("404", 0.02), ("500", 0.01)] {
        let value = elapsed * 20.0 * (0.2 + seed) * share;
        let _ = writeln!(text, "http_requests_total{{code=\"{code}\"}} {value:.0}");
    }
    text.push_str(
        "# HELP http_request_duration_seconds Latency.\n# TYPE http_request_duration_seconds histogram\n",
    );
    let count = elapsed * 20.0 * (0.2 + seed);
    for (bound, share) in [("0.005", 0.4), ("0.05", 0.8), ("0.5", 0.98), ("5", 0.999), ("+Inf", 1.0)] {
        let _ = writeln!(text, "http_request_duration_seconds_bucket{{le=\"{bound}\"}} {:.0}", count * share);
    }
    let _ = writeln!(text, "http_request_duration_seconds_sum {:.3}", count * 0.03);
    let _ = writeln!(text, "http_request_duration_seconds_count {count:.0}");
    let resident = 5e7 * (1.0 + seed) + 1e6 * (seconds / 30.0).sin();
    let _ = writeln!(
        text,
        "# HELP process_resident_memory_bytes Resident memory size in bytes.\n# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {resident:.0}"
    );
    text
}

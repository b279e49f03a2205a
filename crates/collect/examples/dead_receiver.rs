//! The volume of a receiver's long absence through remote write and its disk queue, as fast as it goes: what an hour of
//! 100,000 samples a second takes of memory, disk and time, and whether all of it is delivered afterwards, in order.
//!
//! `cargo run --release -p outrigger-collect --example dead_receiver -- [seconds of samples] [most seconds to append]`

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::BuildHasher as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use outrigger_collect::batch::{BatchSample, SampleSink, ScrapeBatch};
use outrigger_collect::remote_write::{QueueBounds, RemoteWrite, RemoteWriteOptions};
use outrigger_collect::series::{SeriesId, SeriesTable};
use outrigger_config::prometheus::RemoteWriteConfig;
use outrigger_model::clock::ManualClock;
use outrigger_model::labels::Labels;
use outrigger_model::sample::Timestamp;
use outrigger_rt::metrics::Registry;
use outrigger_rt::resolver::{Resolver, ResolverOptions};
use outrigger_wire::protobuf::Reader;
use parking_lot::Mutex;
use rapidhash::fast::GlobalState;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const TARGETS: u64 = 100;
const SERIES: u64 = 1_000;
const START: i64 = 1_700_000_000_000;
const STEP: i64 = 1_000;
/// Lines printed while appending.
const PARTS: u64 = 12;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().map_or(Ok(3_600), |text| text.parse())?;
    let limit: u64 = arguments.next().map_or(Ok(240), |text| text.parse())?;
    let directory = tempfile::tempdir()?;
    // An address at which nothing listens yet.
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(START)));
    let options = RemoteWriteOptions {
        clock: clock.clone(),
        registry: Registry::new(),
        resolver: Resolver::new(ResolverOptions::default()),
        user_agent: "Outrigger/example".to_owned(),
        directory: Some(directory.path().to_owned()),
        flush_deadline: Duration::from_secs(10),
        log_period: Duration::from_secs(60),
    };
    // As `outrigger run` has them, but for more room on the disk.
    let bounds = QueueBounds { memory_bytes: 256 << 20, disk_bytes: 18 << 30 };
    let config = Arc::new(RemoteWriteConfig::new("dead", &format!("http://{address}/write")));
    let remote_write = Arc::new(RemoteWrite::new(&[config], &Labels::empty(), bounds, options)?);
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (remote_write, stop) = (Arc::clone(&remote_write), stop.clone());
        async move { remote_write.run(stop).await }
    });

    let mut targets: Vec<Target> = (0..TARGETS).map(Target::new).collect();
    let mut out = std::io::stdout();
    writeln!(out, "{TARGETS} targets of {SERIES} series each second; {seconds} s of samples at full speed")?;
    writeln!(
        out,
        "| samples | s | append of {SERIES} p50/p99/max us | resident MiB | disk MiB | bytes/sample |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|")?;
    let started = Instant::now();
    let mut took: Vec<u32> = Vec::new();
    let mut appended = 0;
    for step in 0..seconds {
        let timestamp = Timestamp::from_millis(START + step as i64 * STEP);
        clock.set(timestamp);
        for target in &mut targets {
            target.scrape(timestamp);
            let before = Instant::now();
            remote_write.append(&target.batch());
            took.push(before.elapsed().as_micros() as u32);
            appended += SERIES;
        }
        tokio::task::yield_now().await;
        let is_last = step + 1 == seconds || started.elapsed().as_secs() >= limit;
        if (step + 1) % seconds.div_ceil(PARTS) == 0 || is_last {
            print_part(&mut out, appended, started.elapsed(), &mut took, directory.path())?;
        }
        if is_last {
            break;
        }
    }

    let status = remote_write.status().swap_remove(0);
    writeln!(out, "waiting: {} samples, lost: {:?}", status.pending_samples, status.samples_dropped)?;
    let received = Arc::new(Mutex::new(Received::default()));
    let returned = Instant::now();
    tokio::spawn(serve(TcpListener::bind(address).await?, Arc::clone(&received)));
    let mut most_resident = resident_mib()?;
    while received.lock().samples < appended {
        tokio::time::sleep(Duration::from_millis(500)).await;
        most_resident = most_resident.max(resident_mib()?);
        if returned.elapsed().as_secs() > 4 * limit {
            writeln!(out, "given up")?;
            break;
        }
    }
    let seconds = returned.elapsed().as_secs_f64();
    {
        let received = received.lock();
        writeln!(
            out,
            "delivered {} of {appended} samples of {} series in {seconds:.0} s ({:.0} a second, {:.1} bytes each on the wire), \
             {} not one step after the one before; most resident {most_resident:.0} MiB with the receiver in this process",
            received.samples,
            received.last.len(),
            received.samples as f64 / seconds,
            received.bytes as f64 / received.samples as f64,
            received.out_of_step,
        )?;
    }
    stop.cancel();
    running.await?;
    writeln!(out, "left on disk: {:.1} MiB", disk_bytes(directory.path())? as f64 / MIB)?;
    let received = received.lock();
    match received.samples == appended && received.out_of_step == 0 {
        true => Ok(()),
        false => Err("not everything arrived once and in order".into()),
    }
}

const MIB: f64 = 1_048_576.0;

fn print_part(
    out: &mut impl std::io::Write,
    appended: u64,
    elapsed: Duration,
    took: &mut Vec<u32>,
    directory: &std::path::Path,
) -> Result<(), Failure> {
    took.sort_unstable();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    let disk = disk_bytes(directory)?;
    writeln!(
        out,
        "| {appended} | {:.0} | {} / {} / {} | {:.1} | {:.0} | {:.2} |",
        elapsed.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0),
        resident_mib()?,
        disk as f64 / MIB,
        disk as f64 / appended as f64,
    )?;
    took.clear();
    Ok(())
}

fn resident_mib() -> Result<f64, Failure> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = statm.split(' ').nth(1).ok_or("statm has another form")?.parse()?;
    Ok(pages * 4096.0 / MIB)
}

fn disk_bytes(directory: &std::path::Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// A target like a cAdvisor: long labels, 60 % of the values move.
struct Target {
    number: u64,
    job: Arc<str>,
    table: SeriesTable,
    samples: Vec<BatchSample>,
    /// xorshift64.
    random: u64,
}

impl Target {
    fn new(number: u64) -> Self {
        let mut table = SeriesTable::new();
        let ids: Vec<SeriesId> = (0..SERIES).map(|series| table.intern(&labels(number, series))).collect();
        let sample = |series| BatchSample { series, timestamp: Timestamp::default(), value: 0.0 };
        let samples = ids.into_iter().map(sample).collect();
        Self { number, job: "cadvisor".into(), table, samples, random: number + 0x9e37_79b9 }
    }

    fn scrape(&mut self, timestamp: Timestamp) {
        for (at, sample) in self.samples.iter_mut().enumerate() {
            sample.timestamp = timestamp;
            if at % 5 < 3 {
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                sample.value += (self.random >> 48) as f64;
            }
        }
    }

    fn batch(&self) -> ScrapeBatch<'_> {
        ScrapeBatch {
            job: &self.job,
            target: self.number,
            series: &self.table,
            samples: &self.samples,
            histograms: &[],
            exemplars: &[],
            starts: &[],
            metadata: &[],
        }
    }
}

fn labels(target: u64, series: u64) -> Labels {
    let (container, family) = (series / 20, series % 20);
    Labels::from_pairs([
        ("__name__", format!("container_resource_usage_{family}_total")),
        ("container", format!("app-{}", container % 7)),
        ("image", format!("registry.example/team/app-{}:v1.{container}", container % 7)),
        ("instance", format!("10.0.{}.{}:10250", target / 256, target % 256)),
        ("job", "cadvisor".to_owned()),
        ("namespace", format!("team-{}", container % 10)),
        ("pod", format!("app-{container}-5d8c9b7f{:02x}-{target:05}", container)),
    ])
}

/// What the receiver has.
#[derive(Default)]
struct Received {
    samples: u64,
    bytes: u64,
    /// The time of the last sample by series.
    last: HashMap<u64, i64, GlobalState>,
    /// Samples that are not one step later than the one before of their series.
    out_of_step: u64,
}

async fn serve(listener: TcpListener, received: Arc<Mutex<Received>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let received = Arc::clone(&received);
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let received = Arc::clone(&received);
                async move { Ok::<_, Infallible>(receive(&received, request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn receive(received: &Mutex<Received>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let status = |status: u16| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
        response
    };
    let is_zstd = request.headers().get("content-encoding").is_some_and(|encoding| encoding == "zstd");
    let Ok(body) = request.into_body().collect().await else { return status(400) };
    let body = body.to_bytes();
    if !is_zstd {
        return status(415);
    }
    let Ok(message) = zstd::decode_all(&body[..]) else { return status(400) };
    match received.lock().take(&message, body.len()) {
        Ok(samples) => {
            let mut response = status(204);
            response.headers_mut().insert("x-prometheus-remote-write-samples-written", samples.into());
            response
        }
        Err(_) => status(400),
    }
}

impl Received {
    /// Takes in a request of version 2.0, looking at no more than the order needs.
    fn take(&mut self, message: &[u8], bytes: usize) -> Result<u64, Failure> {
        let hasher = GlobalState::default();
        let mut symbols = Vec::new();
        let mut reader = Reader::new(message);
        while let Some((field, value)) = reader.next_field()? {
            if field == 4 {
                symbols.push(hasher.hash_one(value.bytes(field)?));
            }
        }
        let mut samples = 0;
        let mut reader = Reader::new(message);
        while let Some((field, value)) = reader.next_field()? {
            if field != 5 {
                continue;
            }
            let (mut key, mut timestamp) = (0, None);
            let mut series = Reader::new(value.bytes(field)?);
            while let Some((field, value)) = series.next_field()? {
                match field {
                    1 => key = key_of(value.bytes(field)?, &symbols)?,
                    2 => {
                        let mut sample = Reader::new(value.bytes(field)?);
                        while let Some((field, value)) = sample.next_field()? {
                            if field == 2 {
                                timestamp = Some(value.int64(field)?);
                            }
                        }
                    }
                    _ => {}
                }
            }
            // Each of these series has one sample, and its fields may stand in any order.
            if let Some(timestamp) = timestamp {
                self.note(key, timestamp);
                samples += 1;
            }
        }
        self.samples += samples;
        self.bytes += bytes as u64;
        Ok(samples)
    }

    fn note(&mut self, series: u64, timestamp: i64) {
        let expected = self.last.insert(series, timestamp).map_or(START, |last| last + STEP);
        self.out_of_step += u64::from(timestamp != expected);
    }
}

/// A series' key from the numbers of its labels' symbols.
fn key_of(mut references: &[u8], symbols: &[u64]) -> Result<u64, Failure> {
    let (mut key, mut number, mut shift) = (0u64, 0usize, 0);
    while let [byte, rest @ ..] = references {
        references = rest;
        number |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            let symbol = symbols.get(number).ok_or("a symbol that is not there")?;
            key = (key.rotate_left(5) ^ symbol).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (number, shift) = (0, 0);
        }
    }
    Ok(key)
}

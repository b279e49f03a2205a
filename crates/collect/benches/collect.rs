//! Scrapes many targets and sends everything by remote write, both over loopback, and prints what that costs: CPU of
//! this process alone (targets and receiver are a second one), memory and bytes on the wire.
//!
//! `cargo bench -p outrigger-collect -- [targets] [series for each] [seconds]`

use std::convert::Infallible;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use outrigger_collect::batch::SampleSink;
use outrigger_collect::remote_write::{QueueBounds, RemoteWrite, RemoteWriteOptions};
use outrigger_collect::scrape::{EngineOptions, ScrapeEngine};
use outrigger_config::prometheus::{RemoteWriteConfig, ScrapeConfig};
use outrigger_model::clock::SystemClock;
use outrigger_model::labels::Labels;
use outrigger_model::target::{HistogramOptions, ScrapeTarget, TargetDelta, TargetId};
use outrigger_rt::metrics::Registry;
use outrigger_rt::resolver::{Resolver, ResolverOptions};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const INTERVAL: Duration = Duration::from_secs(1);

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let number =
        |at: usize, default: usize| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    if arguments.first().is_some_and(|argument| argument == "serve") {
        return serve(number(1, 1_000)).await;
    }
    measure(number(0, 200), number(1, 1_000), number(2, 10) as u64).await
}

/// The other side: every path but `/write` is a target.
async fn serve(series: usize) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    writeln!(std::io::stdout(), "{address}")?;
    // A few bodies with different values, compressed beforehand.
    let bodies: Vec<Bytes> = (0..8).map(|version| body(series, version)).collect::<Result<_, _>>()?;
    let bodies = Arc::new(bodies);
    let turn = Arc::new(AtomicU64::new(0));
    loop {
        let (stream, _) = listener.accept().await?;
        let (bodies, turn) = (Arc::clone(&bodies), Arc::clone(&turn));
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let body = bodies[turn.fetch_add(1, Ordering::Relaxed) as usize % bodies.len()].clone();
                async move { Ok::<_, Infallible>(answer(request, body).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    if request.uri().path() == "/write" {
        let _ = request.into_body().collect().await;
        return response;
    }
    let headers = response.headers_mut();
    headers.insert("content-type", hyper::header::HeaderValue::from_static("text/plain; version=0.0.4"));
    headers.insert("content-encoding", hyper::header::HeaderValue::from_static("gzip"));
    *response.body_mut() = Full::new(body);
    response
}

/// Series with the usual number of labels; a third of the values change.
fn body(series: usize, version: usize) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for i in 0..series {
        if i % 20 == 0 {
            let family = i / 20;
            writeln!(encoder, "# HELP http_request_duration_seconds_{family} Time that requests took.")?;
            writeln!(encoder, "# TYPE http_request_duration_seconds_{family} counter")?;
        }
        let value = if i % 3 == 0 { i * 1_000 + version } else { i };
        writeln!(
            encoder,
            "http_request_duration_seconds_{}{{method=\"GET\",handler=\"/api/v1/items\",code=\"{}\",le=\"{}\"}} {value}",
            i / 20,
            200 + i % 5,
            i % 20,
        )?;
    }
    Ok(encoder.finish()?.into())
}

async fn measure(targets: usize, series: usize, seconds: u64) -> Result<(), Failure> {
    let (mut child, address) = start_server(series)?;
    let registry = Registry::new();
    let clock = Arc::new(SystemClock);
    let resolver = Resolver::new(ResolverOptions::default());
    let options = RemoteWriteOptions {
        clock: clock.clone(),
        registry: registry.clone(),
        resolver: resolver.clone(),
        user_agent: "Outrigger/bench".to_owned(),
        directory: None,
        flush_deadline: Duration::from_secs(10),
        log_period: Duration::from_secs(60),
    };
    let bounds = QueueBounds { memory_bytes: 1 << 30, disk_bytes: 0 };
    let config = RemoteWriteConfig::new("bench", &format!("http://{address}/write"));
    let remote_write = Arc::new(RemoteWrite::new(&[Arc::new(config)], &Labels::empty(), bounds, options)?);
    let engine = ScrapeEngine::new(EngineOptions {
        clock,
        registry: registry.clone(),
        resolver,
        sink: Arc::clone(&remote_write) as Arc<dyn SampleSink>,
        user_agent: "Outrigger/bench".to_owned(),
        offset_seed: 0,
        max_body_bytes: 1 << 30,
        body_budget_bytes: 1 << 30,
        drain_deadline: Duration::from_secs(5),
        log_period: Duration::from_secs(60),
    });
    let mut job = ScrapeConfig::new("bench");
    (job.scrape_interval, job.scrape_timeout) = (INTERVAL, INTERVAL);
    engine.apply_config(&[Arc::new(job)])?;
    let added = (0..targets).map(|i| Arc::new(target(i, &address))).collect();
    let stop = CancellationToken::new();
    let before = resident_bytes()?;
    tokio::spawn({
        let (engine, stop) = (engine.clone(), stop.clone());
        async move { engine.run(stop).await }
    });
    let sending = tokio::spawn({
        let (remote_write, stop) = (Arc::clone(&remote_write), stop.clone());
        async move { remote_write.run(stop).await }
    });
    engine.apply(TargetDelta { job: "bench".into(), added, ..TargetDelta::default() });

    // The first scrapes fill the caches.
    tokio::time::sleep(3 * INTERVAL).await;
    let start = (cpu_seconds()?, value(&registry, "outrigger_scrape_samples_total"));
    let sent = |registry: &Registry, name: &str| value(registry, &format!("{name}{{endpoint=\"bench\"}}"));
    let wire = |registry: &Registry| {
        (
            sent(registry, "outrigger_remote_write_bytes_sent_total"),
            sent(registry, "outrigger_remote_write_samples_sent_total"),
        )
    };
    let wire_start = wire(&registry);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let samples = value(&registry, "outrigger_scrape_samples_total") - start.1;
    let cpu = cpu_seconds()? - start.0;
    let wire_end = wire(&registry);
    let resident = resident_bytes()?;
    stop.cancel();
    let _ = sending.await;
    child.kill()?;
    child.wait()?;

    let mut out = std::io::stdout();
    let mega = |bytes: f64| bytes / f64::from(1 << 20);
    let series = value(&registry, "outrigger_scrape_cache_series");
    writeln!(out, "{targets} targets, {series} series, {samples} samples in {seconds} s")?;
    writeln!(out, "CPU seconds per million samples: {:.2}", cpu / samples * 1e6)?;
    writeln!(out, "resident: {:.0} MiB, of it before: {:.0} MiB", mega(resident), mega(before))?;
    writeln!(out, "bytes resident per series: {:.0}", (resident - before) / series)?;
    writeln!(out, "scrape caches: {:.0} MiB", mega(value(&registry, "outrigger_scrape_cache_bytes")),)?;
    writeln!(
        out,
        "bytes on the wire per sample: {:.1}",
        (wire_end.0 - wire_start.0) / (wire_end.1 - wire_start.1)
    )?;
    let late = value(&registry, "outrigger_scrape_lateness_seconds_bucket{le=\"0.002\"}");
    let all = value(&registry, "outrigger_scrape_lateness_seconds_count");
    writeln!(out, "scrapes within 2 ms of their tick: {:.1} %", 100.0 * late / all)?;
    Ok(())
}

fn start_server(series: usize) -> Result<(Child, String), Failure> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["serve", &series.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().ok_or("no output of the server")?;
    let mut address = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut address)?;
    Ok((child, address.trim().to_owned()))
}

fn target(i: usize, address: &str) -> ScrapeTarget {
    let id = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ScrapeTarget {
        id: TargetId(id),
        job: "bench".into(),
        url: format!("http://{address}/{i}"),
        labels: Labels::from_pairs([
            ("job", "bench"),
            ("instance", &format!("10.0.{}.{}:9100", i / 250, i % 250)),
            ("namespace", "monitoring"),
            ("pod", &format!("node-exporter-{i:05}")),
            ("node", &format!("worker-{i:05}")),
            ("cluster", "bench"),
        ]),
        interval: INTERVAL,
        timeout: INTERVAL,
        histograms: HistogramOptions::default(),
    }
}

fn value(registry: &Registry, series: &str) -> f64 {
    let text = registry.render();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).map(str::to_owned);
    line.and_then(|value| value.parse().ok()).unwrap_or(0.0)
}

/// User and system time of this process.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    // Fields 14 and 15 of proc_pid_stat(5), in hundredths of a second.
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}

fn resident_bytes() -> Result<f64, Failure> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = statm.split(' ').nth(1).ok_or("statm has another form")?.parse()?;
    Ok(pages * 4096.0)
}

//! SIGKILL under load, again and again: what was written to the disk queue arrives, in order, and next to nothing twice.
//!
//! `OUTRIGGER_KILLS=50 cargo test -p outrigger --test process -- kill` for the full run.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use outrigger_model::clock::{Clock as _, SystemClock};
use outrigger_model::labels::Labels;
use outrigger_model::sample::Sample;
use outrigger_sim::receiver::{self, Answer, Receiver};
use outrigger_storage::queue::{DiskQueue, QueueOptions, Record};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::harness::{Outrigger, PATIENCE};

const TARGETS: usize = 20;
const SERIES: usize = 100;
const INTERVAL_MILLIS: i64 = 250;

/// Targets whose series all have the number of the scrape as value.
struct Targets {
    port: u16,
    shared: Arc<Served>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Served {
    scrapes: [AtomicU64; TARGETS],
    connections: AtomicUsize,
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Targets {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Served::default());
        let served = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = Arc::clone(&served);
                served.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let _ = serve(&served, stream).await;
                    served.connections.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, shared, accepting }
    }

    fn scrapes(&self) -> Vec<u64> {
        self.shared.scrapes.iter().map(|count| count.load(Ordering::SeqCst)).collect()
    }
}

async fn serve(served: &Served, stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let target: Option<usize> =
            line.strip_prefix("GET /t/").and_then(|rest| rest.split([' ', '?']).next()?.parse().ok());
        while line.trim_end() != "" {
            line.clear();
            stream.read_line(&mut line).await?;
        }
        let Some(count) = target.and_then(|target| served.scrapes.get(target)) else { return Ok(()) };
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        let body: String = (0..SERIES).map(|n| format!("scrape_number{{n=\"{n}\"}} {number}\n")).collect();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await?;
        stream.flush().await?;
    }
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn answer(&mut self) -> Answer {
        match self.below(12) {
            0..=3 => Answer::Accept,
            4..=6 => Answer::Slow(Duration::from_millis(50 + self.below(700))),
            7..=8 => Answer::Refuse(StatusCode::SERVICE_UNAVAILABLE),
            9 => Answer::Hang,
            _ => Answer::Away,
        }
    }
}

type Times = HashMap<Labels, HashSet<i64>>;

/// What is known about a moment of death.
struct Death {
    /// When, in Unix milliseconds.
    at: i64,
    /// Samples that this process had written to disk, as it said a moment before.
    written: u64,
    /// How often each target had been scraped.
    scrapes: Vec<u64>,
    /// How many samples of each series had arrived.
    arrived: HashMap<Labels, usize>,
    /// Samples of the batches that may have been delivered without that having been noted: the first one of each shard.
    first: Times,
}

/// What the whole test has seen.
struct Course {
    receiver: Receiver,
    targets: Targets,
    deaths: Vec<Death>,
    /// Everything that was on disk at any death.
    kept: Times,
}

impl Course {
    async fn start() -> Self {
        let receiver = Receiver::start_keeping().await.expect("loopback");
        Self { receiver, targets: Targets::start().await, deaths: Vec::new(), kept: Times::new() }
    }

    fn config(&self, queue_config: &str) -> String {
        let port = self.targets.port;
        let targets: String = (0..TARGETS)
            .map(|t| {
                format!(
                    "  - {{targets: [\"127.0.0.1:{port}\"], labels: {{__metrics_path__: /t/{t}, t: \"{t}\"}}}}\n"
                )
            })
            .collect();
        format!(
            "global: {{scrape_interval: {INTERVAL_MILLIS}ms, scrape_timeout: {INTERVAL_MILLIS}ms}}\n\
             scrape_configs:\n- job_name: killed\n  static_configs:\n{targets}\
             remote_write: [{{url: \"{}\", queue_config: {queue_config}}}]\n",
            self.receiver.url(),
        )
    }

    /// Kills the process and looks at what it left.
    async fn kill(&mut self, outrigger: Outrigger) -> tempfile::TempDir {
        let written = samples_written(&outrigger).await;
        let directory = outrigger.kill().await;
        let at = SystemClock.now().millis();
        // What is still on its way belongs to the dead process.
        pass_accepting(&self.receiver.address()).await;
        pass_accepting(&format!("127.0.0.1:{}", self.targets.port)).await;
        let (receiver, served) = (&self.receiver, &self.targets.shared);
        until("all connections are closed", || {
            receiver.connections() == 0 && served.connections.load(Ordering::SeqCst) == 0
        })
        .await;
        let mut death = Death {
            at,
            written,
            scrapes: self.targets.scrapes(),
            arrived: self.receiver.series().into_iter().map(|(labels, all)| (labels, all.len())).collect(),
            first: Times::new(),
        };
        for queue in std::fs::read_dir(directory.path().join("data/remote-write")).expect("queues") {
            self.examine(&queue.expect("a directory").path(), &mut death.first);
        }
        self.deaths.push(death);
        directory
    }

    /// Reads a copy of a disk queue.
    fn examine(&mut self, queue: &Path, first: &mut Times) {
        let copy = tempfile::tempdir().expect("a temporary directory");
        for file in std::fs::read_dir(queue).expect("a queue").flatten() {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).expect("copied");
        }
        let (queue, recovery) =
            DiskQueue::open(copy.path(), QueueOptions::new(10 << 30)).expect("a queue that opens");
        // A death during a write tears that record, which nobody was told is there.
        let corrupt = recovery.corrupt;
        assert!(corrupt.total() <= 1, "{corrupt:?}");
        assert!(recovery.left_alone.iter().all(|left| !left.path.ends_with(".segment")));
        let oldest = recovery.records.iter().map(|record| record.meta.generation).min();
        let mut lanes = HashSet::new();
        for record in &recovery.records {
            let samples = samples_of(&queue, record);
            if Some(record.meta.generation) == oldest && lanes.insert(record.meta.lane) {
                add(first, &samples);
            }
            add(&mut self.kept, &samples);
        }
    }

    /// How many of the samples that were on disk have not arrived.
    fn missing(&self) -> usize {
        let series = self.receiver.series();
        let missing = self.kept.iter().map(|(labels, times)| {
            let all = series.get(labels).map_or(&[][..], |all| all);
            let arrived: HashSet<i64> = all.iter().map(|sample| sample.timestamp.millis()).collect();
            times.difference(&arrived).count()
        });
        missing.sum()
    }

    /// Checks everything that arrived; returns how many samples arrived twice.
    fn check(&self) -> u64 {
        let series = self.receiver.series();
        let failed = failed_scrapes(&series);
        let mut repeated = 0;
        let mut of_life = vec![0; self.deaths.len() + 1];
        for (labels, samples) in &series {
            repeated += self.check_order(labels, samples);
            let times: HashSet<i64> = samples.iter().map(|sample| sample.timestamp.millis()).collect();
            for time in times {
                of_life[self.deaths.partition_point(|death| death.at < time)] += 1;
            }
            if labels.get("__name__") == Some("scrape_number") {
                let target: usize = labels.get("t").and_then(|t| t.parse().ok()).expect("the target's label");
                self.check_gaps(target, labels, samples, failed.get(&target));
            }
        }
        for (life, death) in self.deaths.iter().enumerate() {
            let arrived = of_life[life];
            assert!(arrived >= death.written, "life {life}: {arrived} of {} arrived", death.written);
        }
        repeated
    }

    /// Within one life times only rise; what comes twice was in the batches that were being delivered at the last death.
    fn check_order(&self, labels: &Labels, samples: &[Sample]) -> u64 {
        let mut repeated = 0;
        let mut known: HashSet<i64> = HashSet::new();
        let mut from = 0;
        for life in 0..=self.deaths.len() {
            let to = match self.deaths.get(life) {
                Some(death) => death.arrived.get(labels).copied().unwrap_or_default(),
                None => samples.len(),
            };
            let times: Vec<i64> = samples[from..to].iter().map(|sample| sample.timestamp.millis()).collect();
            assert!(times.is_sorted_by(|a, b| a < b), "life {life}: {labels:?} is out of order: {times:?}");
            let newest = known.iter().copied().max();
            for time in times.iter().filter(|time| newest.is_some_and(|newest| **time <= newest)) {
                let first = self.deaths[life - 1].first.get(labels);
                assert!(known.contains(time), "life {life}: {labels:?} at {time} arrived late");
                assert!(
                    first.is_some_and(|first| first.contains(time)),
                    "life {life}: {labels:?} at {time} arrived twice"
                );
                repeated += 1;
            }
            known.extend(times);
            from = to;
        }
        repeated
    }

    /// Scrapes are missing only where they failed, or at the end of a life.
    fn check_gaps(&self, target: usize, labels: &Labels, samples: &[Sample], failed: Option<&Vec<i64>>) {
        let mut numbers: Vec<(i64, u64)> = samples
            .iter()
            .filter(|sample| !sample.value.is_nan())
            .map(|sample| (sample.timestamp.millis(), sample.value as u64))
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        let (mut time_before, mut before) = (0, 0);
        for (time, number) in numbers {
            assert!(number > before, "{labels:?}: scrape {number} after {before}");
            let is_next = number == before + 1;
            let is_first_of_life = self.deaths.iter().any(|death| death.scrapes[target] + 1 == number);
            // A scrape that starts an interval late and the one that is due then have one timestamp, or the second one an earlier
            // one: it is refused as Prometheus refuses it. No interval is without a sample.
            let is_crowded = time - time_before <= INTERVAL_MILLIS;
            let is_failed =
                || failed.is_some_and(|times| times.iter().any(|at| (time_before..time).contains(at)));
            assert!(
                is_next || is_first_of_life || is_crowded || is_failed(),
                "{labels:?}: scrape {number} at {time} follows {before} at {time_before}; deaths: {:?}; failed scrapes: {failed:?}",
                self.deaths.iter().map(|death| (death.at, death.scrapes[target])).collect::<Vec<_>>(),
            );
            (time_before, before) = (time, number);
        }
    }
}

/// Returns once a listener has accepted every connection that was made before.
async fn pass_accepting(address: &str) {
    let pass = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.shutdown().await?;
        stream.read(&mut [0]).await
    };
    // Whether it is closed or reset: it was accepted.
    let _ = tokio::time::timeout(PATIENCE, pass).await.expect("connections are accepted");
}

async fn samples_written(outrigger: &Outrigger) -> u64 {
    let (_, metrics) = outrigger.request("GET", "/metrics").await;
    let name = "outrigger_remote_write_disk_samples_written_total";
    let line = metrics.lines().find(|line| line.starts_with(name)).expect("the metric");
    line.rsplit(' ').next().and_then(|text| text.parse::<f64>().ok()).expect("a number") as u64
}

/// The times of failed scrapes by target.
fn failed_scrapes(series: &HashMap<Labels, Vec<Sample>>) -> HashMap<usize, Vec<i64>> {
    let up = series.iter().filter(|(labels, _)| labels.get("__name__") == Some("up"));
    let failed = up.filter_map(|(labels, samples)| {
        let failed = samples.iter().filter(|sample| sample.value == 0.0);
        Some((labels.get("t")?.parse().ok()?, failed.map(|sample| sample.timestamp.millis()).collect()))
    });
    failed.collect()
}

fn samples_of(queue: &DiskQueue, record: &Record) -> Vec<(Labels, i64)> {
    let payload = queue.read(record.id).expect("a record that was written whole");
    let (is_version_2, encoding) = match record.meta.encoding {
        0 => (false, "snappy"),
        1 => (false, "zstd"),
        2 => (true, "snappy"),
        _ => (true, "zstd"),
    };
    let request = receiver::decode(is_version_2, encoding, &payload).expect("a request");
    let mut samples = Vec::new();
    for series in request.series {
        let labels = Labels::from_pairs(series.labels);
        samples.extend(series.samples.iter().map(|sample| (labels.clone(), sample.timestamp.millis())));
    }
    assert_eq!(samples.len(), record.meta.samples as usize);
    samples
}

fn add(times: &mut Times, samples: &[(Labels, i64)]) {
    for (labels, time) in samples {
        match times.get_mut(labels) {
            Some(of_series) => of_series.insert(*time),
            None => times.entry(labels.clone()).or_default().insert(*time),
        };
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

fn kills() -> usize {
    std::env::var("OUTRIGGER_KILLS").map_or(8, |text| text.parse().expect("OUTRIGGER_KILLS is a number"))
}

/// Runs, kills after at most `longest_life`, restarts, and lets the receiver be what it likes meanwhile.
async fn kill_again_and_again(queue_config: &str, longest_life: Duration, seed: u64) {
    let mut course = Course::start().await;
    let config = course.config(queue_config);
    let mut random = Random(seed);
    let mut directory = tempfile::tempdir().expect("a temporary directory");
    for _ in 0..kills() {
        let outrigger = Outrigger::run_in(directory, &config).await;
        let mut rest = random.below(longest_life.as_millis() as u64);
        while rest > 0 {
            course.receiver.answer(random.answer());
            let part = (50 + random.below(900)).min(rest);
            tokio::time::sleep(Duration::from_millis(part)).await;
            rest -= part;
        }
        directory = course.kill(outrigger).await;
    }
    // Whatever the others found, this one finds samples on disk.
    course.receiver.answer(Answer::Away);
    let outrigger = Outrigger::run_in(directory, &config).await;
    let wait = async {
        while samples_written(&outrigger).await == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("samples are written to disk");
    directory = course.kill(outrigger).await;

    course.receiver.answer(Answer::Accept);
    let outrigger = Outrigger::run_in(directory, &config).await;
    let wait = async {
        while course.missing() > 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        panic!("{} samples that were on disk did not arrive\n{:#?}", course.missing(), outrigger.log_tail());
    }
    assert!(outrigger.stop().await.success());
    let repeated = course.check();
    let kept: usize = course.kept.values().map(HashSet::len).sum();
    let scraped: u64 = course.targets.scrapes().iter().sum();
    println!(
        "{} kills, {scraped} scrapes: {} samples arrived, {kept} waited on disk at a kill, {repeated} arrived twice",
        course.deaths.len(),
        course.receiver.samples(),
    );
    assert_eq!(course.receiver.malformed(), 0);
    assert!(kept > 0, "no kill found samples on disk: nothing was tested");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_nothing_that_was_on_disk_with_small_batches_in_several_shards() {
    let queue_config = "{min_shards: 3, max_shards: 3, max_samples_per_send: 500, batch_send_deadline: 200ms, max_backoff: 500ms}";
    kill_again_and_again(queue_config, Duration::from_millis(2_500), 0x9e37_79b9_7f4a_7c15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_nothing_that_was_on_disk_with_the_default_settings() {
    kill_again_and_again("{}", Duration::from_secs(8), 0x2545_f491_4f6c_dd1d).await;
}

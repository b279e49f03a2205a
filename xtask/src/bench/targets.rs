//! The load: targets that serve bodies made and gzipped beforehand, so that answering costs a copy to a socket, and
//! that note when they are asked.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::control;
use super::shape::Shape;

/// Bodies of each target, served one after the other.
pub(super) const VARIANTS: u32 = 3;
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// What the load serves.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// What each target looks like.
    pub shape: Shape,
    /// Number of targets, each at an address of its own.
    pub targets: u32,
    /// The targets' port.
    pub port: u16,
    /// The time between two scrapes that is configured.
    pub interval: Duration,
}

impl Load {
    /// Where a target listens: its own address of 127.0.0.0/8.
    pub fn address(&self, target: u32) -> SocketAddr {
        let [_, high, middle, low] = (target / 250 * 256 + target % 250 + 1).to_be_bytes();
        SocketAddr::new(Ipv4Addr::new(127, 64 + high, middle, low).into(), self.port)
    }
}

/// How punctual the scrapes of a window were.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Punctuality {
    /// Targets that were asked at all since the last reset.
    pub targets: usize,
    /// Targets that were asked at least twice since the last reset.
    pub targets_twice: usize,
    /// Requests in the window.
    pub scrapes: u64,
    /// Ticks in the window without a request.
    pub missed: u64,
    /// Requests in the window that did not accept gzip.
    pub identity: u64,
    /// Bytes of bodies sent in the window.
    pub bytes: u64,
    /// Connections accepted since the last reset.
    pub connections: u64,
    /// Median, 99th percentile and maximum of the delay against the target's own grid of ticks, in milliseconds.
    pub late_ms: [f64; 3],
}

struct Target {
    answers: Vec<Bytes>,
    /// Since the reset, when the head of each request was read, as time since the load began.
    asked: Mutex<Vec<Duration>>,
    next: AtomicU32,
}

struct Shared {
    load: Load,
    began: Instant,
    window: Mutex<Duration>,
    targets: Vec<Target>,
    identity: AtomicU64,
    bytes: AtomicU64,
    connections: AtomicU64,
}

/// Serves until the process is killed. `GET /stats` at `control` answers with [`Punctuality`], `POST /reset` forgets
/// every request, and `POST /window` begins a window.
pub async fn serve(load: Load, control: SocketAddr) -> Result<()> {
    let shared = Arc::new(Shared {
        load,
        began: Instant::now(),
        window: Mutex::default(),
        targets: make_targets(load)?,
        identity: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        connections: AtomicU64::new(0),
    });
    for target in 0..load.targets {
        let address = load.address(target);
        let listener = TcpListener::bind(address).await.with_context(|| format!("bind {address}"))?;
        tokio::spawn(accept(listener, shared.clone(), target as usize));
    }
    control::serve(control, move |action| match action {
        "reset" | "window" => shared.restart(action == "reset").map(|()| "{}".to_owned()),
        _ => serde_json::to_string(&shared.punctuality()).ok(),
    })
    .await
}

/// Compressing is most of the preparation, so every processor has its share of the targets.
fn make_targets(load: Load) -> Result<Vec<Target>> {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u32;
    let made: Vec<(u32, Target)> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || {
                    let of_worker = (worker..load.targets).step_by(workers as usize);
                    of_worker.map(|target| (target, make_target(load.shape, target))).collect::<Vec<_>>()
                })
            })
            .collect();
        running.into_iter().flat_map(|worker| worker.join().expect("making a body does not panic")).collect()
    });
    let mut made = made;
    made.sort_by_key(|(target, _)| *target);
    Ok(made.into_iter().map(|(_, target)| target).collect())
}

fn make_target(shape: Shape, target: u32) -> Target {
    let answers =
        (0..VARIANTS).map(|variant| answer(&shape.compressed_body(target, variant), true)).collect();
    Target { answers, asked: Mutex::default(), next: AtomicU32::new(target) }
}

/// Head and body in one, so that an answer is one write.
fn answer(body: &[u8], gzip: bool) -> Bytes {
    let encoding = if gzip { "Content-Encoding: gzip\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n{encoding}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat().into()
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, target: usize) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            shared.connections.fetch_add(1, Ordering::Relaxed);
            let shared = shared.clone();
            tokio::spawn(async move {
                // The peer hung up, which is its right.
                let _ = shared.converse(target, stream).await;
            });
        } else {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Shared {
    async fn converse(&self, target: usize, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut head = Vec::with_capacity(1024);
        loop {
            let end = loop {
                if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                    break end + 4;
                }
                if head.len() > MAX_HEAD_BYTES || stream.read_buf(&mut head).await? == 0 {
                    return Ok(());
                }
            };
            let asked = self.began.elapsed();
            let gzip = accepts_gzip(&head[..end]);
            head.drain(..end);
            stream.write_all(&self.next_answer(target, asked, gzip)).await?;
        }
    }

    fn next_answer(&self, target: usize, asked: Duration, gzip: bool) -> Bytes {
        let target = &self.targets[target];
        lock(&target.asked).push(asked);
        let turn = target.next.fetch_add(1, Ordering::Relaxed) as usize % target.answers.len();
        let compressed = target.answers[turn].clone();
        let answer = if gzip {
            compressed
        } else {
            self.identity.fetch_add(1, Ordering::Relaxed);
            inflated(&compressed)
        };
        self.bytes.fetch_add(answer.len() as u64, Ordering::Relaxed);
        answer
    }

    fn restart(&self, forget: bool) -> Option<()> {
        *lock(&self.window) = self.began.elapsed();
        self.identity.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        if forget {
            self.connections.store(0, Ordering::Relaxed);
            self.targets.iter().for_each(|target| lock(&target.asked).clear());
        }
        Some(())
    }

    fn punctuality(&self) -> Punctuality {
        let window = *lock(&self.window);
        let asked: Vec<Vec<Duration>> =
            self.targets.iter().map(|target| lock(&target.asked).clone()).collect();
        let mut found = punctuality(&asked, window, self.began.elapsed(), self.load.interval);
        found.identity = self.identity.load(Ordering::Relaxed);
        found.bytes = self.bytes.load(Ordering::Relaxed);
        found.connections = self.connections.load(Ordering::Relaxed);
        found
    }
}

/// A target's ticks lie on a grid whose phase is that of its most punctual request in the window: a scraper may be
/// late for a tick but never early, and nobody outside it knows the phase better.
fn punctuality(asked: &[Vec<Duration>], from: Duration, to: Duration, interval: Duration) -> Punctuality {
    let mut found = Punctuality::default();
    let mut late = Vec::new();
    for target in asked {
        found.targets += usize::from(!target.is_empty());
        found.targets_twice += usize::from(target.len() > 1);
        let within: Vec<f64> = target.iter().filter(|at| **at >= from).map(Duration::as_secs_f64).collect();
        found.scrapes += within.len() as u64;
        let expected = ((to - from).as_secs_f64() / interval.as_secs_f64()).floor() as u64;
        let Some(first) = within.first() else {
            found.missed += expected;
            continue;
        };
        let interval = interval.as_secs_f64();
        // Around the first request, so that the grid's seam does not fall between two neighbours.
        let off = |at: &f64| (at - first + interval / 2.0).rem_euclid(interval) - interval / 2.0;
        let phase = within.iter().map(off).fold(f64::INFINITY, f64::min);
        late.extend(within.iter().map(|at| (off(at) - phase) * 1e3));
        let gaps = within.windows(2).map(|pair| ((pair[1] - pair[0]) / interval).round() as u64);
        found.missed += gaps.map(|ticks| ticks.saturating_sub(1)).sum::<u64>();
    }
    late.sort_by(f64::total_cmp);
    let quantile =
        |q: f64| late.get((late.len() as f64 * q) as usize).or(late.last()).copied().unwrap_or(0.0);
    found.late_ms = [quantile(0.5), quantile(0.99), quantile(1.0)];
    found
}

fn accepts_gzip(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    head.lines().any(|line| line.strip_prefix("accept-encoding:").is_some_and(|value| value.contains("gzip")))
}

fn inflated(answer: &[u8]) -> Bytes {
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |end| end + 4);
    let mut text = Vec::new();
    // What this process deflated inflates.
    let _ = GzDecoder::new(&answer[body..]).read_to_end(&mut text);
    self::answer(&text, false)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_against_the_targets_own_grid_and_gaps_are_missed_ticks() {
        let seconds = |at: &[f64]| at.iter().map(|at| Duration::from_secs_f64(*at)).collect::<Vec<_>>();
        let asked = [
            seconds(&[3.0, 13.0, 23.0, 33.25, 53.0]),
            seconds(&[9.99, 20.0, 29.995, 40.0, 50.0]),
            seconds(&[]),
        ];
        let window = Duration::from_secs(5);
        let found = punctuality(&asked, window, Duration::from_secs(55), Duration::from_secs(10));
        assert_eq!((found.targets, found.targets_twice, found.scrapes), (2, 2, 9));
        assert_eq!(found.missed, 1 + 5);
        assert!((found.late_ms[2] - 250.0).abs() < 1e-6, "{:?}", found.late_ms);
        assert!((found.late_ms[0] - 5.0).abs() < 5.1, "{:?}", found.late_ms);
    }

    #[test]
    fn every_target_has_an_address_of_its_own() {
        let load = Load { shape: Shape::Node, targets: 0, port: 9, interval: Duration::ZERO };
        let addresses: std::collections::HashSet<_> =
            (0..100_000).map(|target| load.address(target)).collect();
        assert_eq!(addresses.len(), 100_000);
        assert!(addresses.iter().all(|address| address.ip().is_loopback()));
    }
}

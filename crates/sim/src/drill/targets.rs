//! Scripted targets: one listener, thousands of addresses, and a note of every scrape.
//!
//! All series of a scrape have its number as their value. `drill_turn` has a label that changes every
//! [`TURN_SCRAPES`] scrapes, so that one series of each target vanishes then and must get a stale marker.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;

use super::TargetKey;

/// Scrapes after which `drill_turn` gets another label.
pub const TURN_SCRAPES: u32 = 4;
/// Series `drill_steady` of each target, which never vanish.
pub const STEADY_SERIES: u32 = 4;

const BACKLOG: u32 = 4096;
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// A scrape that was answered; its number is its place in the target's list, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// When the request had been read, since the targets were started.
    pub at: Duration,
    /// Which connection it came over: another one may be another scraper.
    pub connection: u32,
}

/// Running targets; dropping them stops them.
#[derive(Debug)]
pub struct Targets {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    began: Instant,
    served: Mutex<HashMap<TargetKey, Vec<Served>>>,
    connections: AtomicU32,
    /// Lines of a body beside the ones that every target has.
    ballast: AtomicU64,
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Targets {
    /// Answers on one free port of every address of the loopback device.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn on_loopback() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        #[cfg(target_os = "linux")]
        socket.bind_device(Some(b"lo"))?;
        socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
        Self::serve(socket.listen(BACKLOG)?.into_std()?)
    }

    /// Answers on one address, where targets are told apart by their paths, `/t/<number>`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn on_address(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Self::serve(socket.listen(BACKLOG)?.into_std()?)
    }

    fn serve(listener: std::net::TcpListener) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            began: Instant::now(),
            served: Mutex::default(),
            connections: AtomicU32::new(0),
            ballast: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { address, shared, accepting })
    }

    /// The port, the same for all addresses.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Time since the start, on the clock of [`Served::at`].
    pub fn now(&self) -> Duration {
        self.shared.began.elapsed()
    }

    /// Gives targets different sizes from now on: up to so many further series, by the target's number.
    pub fn weigh(&self, most: u64) {
        self.shared.ballast.store(most, Ordering::Relaxed);
    }

    /// How many series a scrape of this target has.
    pub fn series_of(&self, key: TargetKey) -> u64 {
        u64::from(STEADY_SERIES) + 2 + ballast_of(key, self.shared.ballast.load(Ordering::Relaxed))
    }

    /// Targets that were scraped so far.
    pub fn len(&self) -> usize {
        self.shared.served.lock().len()
    }

    /// Whether no target was scraped yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Scrapes answered so far.
    pub fn scrapes(&self) -> u64 {
        self.shared.served.lock().values().map(|served| served.len() as u64).sum()
    }

    /// Every scrape of every target, in order.
    pub fn served(&self) -> HashMap<TargetKey, Vec<Served>> {
        self.shared.served.lock().clone()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let shared = shared.clone();
        // The scraper hung up, which is its right.
        tokio::spawn(async move { shared.converse(stream).await.ok() });
    }
}

impl Shared {
    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let connection = self.connections.fetch_add(1, Ordering::Relaxed);
        let IpAddr::V4(local) = stream.local_addr()?.ip() else { return Ok(()) };
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
            let at = self.began.elapsed();
            let key = path_number(&head[..end]).unwrap_or(TargetKey::of_address(local));
            head.drain(..end);
            let number = {
                let mut served = self.served.lock();
                let served = served.entry(key).or_default();
                served.push(Served { at, connection });
                served.len()
            };
            stream.write_all(answer(key, number, self.ballast.load(Ordering::Relaxed)).as_bytes()).await?;
        }
    }
}

fn path_number(head: &[u8]) -> Option<TargetKey> {
    let rest = head.strip_prefix(b"GET /t/")?;
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok().map(TargetKey)
}

/// Head and body in one, so that an answer is one write.
fn answer(key: TargetKey, number: usize, ballast: u64) -> String {
    let mut body = String::with_capacity(512);
    let _ = writeln!(body, "# TYPE drill_scrapes counter\ndrill_scrapes {number}");
    for series in 0..STEADY_SERIES {
        let _ = writeln!(body, "drill_steady{{s=\"{series}\"}} {number}");
    }
    let _ = writeln!(body, "drill_turn{{turn=\"{}\"}} {number}", turn_of(number as u32));
    for series in 0..ballast_of(key, ballast) {
        let _ = writeln!(body, "drill_ballast{{n=\"{series}\"}} {number}");
    }
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Neither all the same nor in the order of the addresses.
fn ballast_of(key: TargetKey, most: u64) -> u64 {
    u64::from(key.0.wrapping_mul(2_654_435_761) >> 16) % (most + 1)
}

/// The turn that a scrape falls into.
pub(super) fn turn_of(number: u32) -> u32 {
    number / TURN_SCRAPES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn scrapes_are_numbered_for_each_address_and_path() {
        let targets = Targets::on_loopback().expect("loopback");
        let get = async |address: [u8; 4], path: &str| {
            let mut stream = TcpStream::connect((Ipv4Addr::from(address), targets.port())).await.expect("up");
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = vec![0; 4096];
            let length = stream.read(&mut answer).await.expect("answered");
            String::from_utf8_lossy(&answer[..length]).into_owned()
        };
        assert!(get([127, 1, 2, 3], "/metrics").await.contains("drill_scrapes 1\n"));
        assert!(get([127, 1, 2, 4], "/metrics").await.contains("drill_scrapes 1\n"));
        assert!(get([127, 1, 2, 3], "/metrics").await.contains("drill_scrapes 2\n"));
        assert!(get([127, 1, 2, 3], "/t/9?x=1").await.contains("drill_turn{turn=\"0\"} 1\n"));
        let served = targets.served();
        assert_eq!(served[&TargetKey::of_address(Ipv4Addr::new(127, 1, 2, 3))].len(), 2);
        assert_eq!(served[&TargetKey(9)].len(), 1);
        assert_eq!((targets.len(), targets.scrapes()), (3, 4));
    }
}

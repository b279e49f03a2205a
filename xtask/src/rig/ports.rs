//! Free ports on loopback for programs that can't take port 0.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{LazyLock, Mutex};

use anyhow::{Result, bail};

/// Below the kernel's range for outgoing connections (32768 and up), so that none of the many outgoing
/// connections of a test takes a port while its server restarts.
const RANGE: std::ops::Range<u16> = 18_000..32_000;

static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port that nothing listens on at any local address and that this process has not given out yet.
pub fn free_port() -> Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let first = random() % RANGE.len();
    for port in RANGE.skip(first).chain(RANGE.take(first)) {
        if !given.contains(&port) && is_free(port) {
            given.insert(port);
            return Ok(port);
        }
    }
    bail!("no free port between {} and {}", RANGE.start, RANGE.end)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)).is_ok()
}

/// Enough randomness to keep rigs that start at the same time apart: std's hasher is seeded per process.
pub(super) fn random() -> usize {
    use std::hash::{BuildHasher, Hasher};
    let hash = std::hash::RandomState::new().build_hasher().finish();
    usize::try_from(hash % (1 << 31)).unwrap_or(0)
}

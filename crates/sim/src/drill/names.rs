//! A name server that can fall silent or fail.
//!
//! It answers for `t<number>.<anything>` with the address of that target and for the names it was given; others do
//! not exist. Answers live for a second.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::net::UdpSocket;

use super::TargetKey;

const TTL_SECONDS: u8 = 1;
const TYPE_A: [u8; 2] = [0, 1];

/// How queries are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// As they should be.
    #[default]
    Well,
    /// Not at all.
    Silent,
    /// With SERVFAIL.
    Failing,
}

/// A running name server; dropping it stops it.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    answering: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    health: Mutex<Health>,
    names: HashMap<String, Ipv4Addr>,
    queries: AtomicU64,
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

impl NameServer {
    /// Listens on an address, where a resolver expects port 53, and knows `names` beside those of the targets.
    ///
    /// # Errors
    /// When the address cannot be bound; ports below 1024 need the right to do so.
    pub async fn start(address: SocketAddr, names: HashMap<String, Ipv4Addr>) -> io::Result<Self> {
        let socket = UdpSocket::bind(address).await?;
        let address = socket.local_addr()?;
        let shared = Arc::new(Shared { health: Mutex::default(), names, queries: AtomicU64::new(0) });
        let answering = tokio::spawn(answer_all(socket, shared.clone()));
        Ok(Self { address, shared, answering })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Queries so far, unanswered ones included.
    pub fn queries(&self) -> u64 {
        self.shared.queries.load(Ordering::Relaxed)
    }

    /// Changes how queries are answered from now on.
    pub fn health(&self, health: Health) {
        *self.shared.health.lock() = health;
    }
}

async fn answer_all(socket: UdpSocket, shared: Arc<Shared>) {
    let mut query = [0; 1500];
    loop {
        let Ok((length, peer)) = socket.recv_from(&mut query).await else { continue };
        shared.queries.fetch_add(1, Ordering::Relaxed);
        let health = *shared.health.lock();
        if health != Health::Silent
            && let Some(answer) = answer(&query[..length], health, &shared.names)
        {
            // Whoever asked may be gone.
            let _ = socket.send_to(&answer, peer).await;
        }
    }
}

/// The response (RFC 1035 section 4) to a query with one question; `None` to what is no query.
fn answer(query: &[u8], health: Health, names: &HashMap<String, Ipv4Addr>) -> Option<Vec<u8>> {
    let (name, rest) = question_name(query.get(12..)?)?;
    let question_length = query.len() - 12 - rest.len() + 4;
    let question = query.get(12..12 + question_length)?;
    let known = names.get(&name).copied();
    let known = known.or_else(|| TargetKey::parse(&name).map(TargetKey::address));
    let code = match (health, known) {
        (Health::Failing, _) => 2,
        (_, None) => 3,
        (_, Some(_)) => 0,
    };
    let address = known.filter(|_| code == 0 && rest.get(..2) == Some(&TYPE_A));
    let mut response = query.get(..2)?.to_vec();
    response.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    response.extend(question);
    if let Some(address) = address {
        response.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, TTL_SECONDS, 0, 4]);
        response.extend(address.octets());
    }
    Some(response)
}

/// The name at the start of a question, in lower case, and what follows it.
fn question_name(mut question: &[u8]) -> Option<(String, &[u8])> {
    let mut name = String::new();
    loop {
        let (length, rest) = question.split_first()?;
        if *length == 0 {
            return Some((name, rest));
        }
        let label = rest.get(..usize::from(*length))?;
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(label).to_ascii_lowercase());
        question = rest.get(usize::from(*length)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u8) -> Vec<u8> {
        let mut query = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(u8::try_from(label.len()).expect("short"));
            query.extend(label.as_bytes());
        }
        query.extend([0, 0, kind, 0, 1]);
        query
    }

    #[test]
    fn names_of_targets_and_given_names_are_known() {
        let names = HashMap::from([("receiver.test".to_owned(), Ipv4Addr::new(127, 0, 0, 9))]);
        for (name, kind, health, code, end) in [
            ("T3.drill.test", 1, Health::Well, 0, Some([127, 48, 0, 3])),
            ("receiver.test", 1, Health::Well, 0, Some([127, 0, 0, 9])),
            ("receiver.test", 28, Health::Well, 0, None),
            ("receiver.test", 1, Health::Failing, 2, None),
            ("nobody.test", 1, Health::Well, 3, None),
        ] {
            let answer = answer(&query(name, kind), health, &names).expect("an answer");
            assert_eq!(answer[..2], [7, 7]);
            assert_eq!(answer[3] & 15, code, "{name}");
            assert_eq!(answer[7], u8::from(end.is_some()), "{name}");
            if let Some(end) = end {
                assert_eq!(answer[answer.len() - 4..], end, "{name}");
            }
        }
        assert_eq!(answer(&[1, 2, 3], Health::Well, &names), None);
    }
}

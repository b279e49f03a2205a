//! A server whose answers follow a script: the first scrape gets the first answer, and the last one is repeated. Each
//! scraper, known by its `User-Agent`, has its own place in every script.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a scrape is answered.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Status, headers and body.
    Http { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// A body that ends before the length that was said.
    Truncated { content_type: &'static str, body: Vec<u8> },
    /// The connection is closed without an answer.
    HangUp,
    /// Nothing, for longer than a scrape may take.
    Silence,
}

/// What a scraper asked with the first time; the same for both where Outrigger is faithful.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) accept: String,
    pub(crate) timeout: String,
}

#[derive(Default)]
struct Places {
    next: HashMap<(String, bool), usize>,
    asked: HashMap<(String, bool), Asked>,
}

/// A running server; dropping it stops it.
pub(crate) struct Targets {
    pub(crate) address: SocketAddr,
    places: Arc<Mutex<Places>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Targets {
    pub(crate) async fn start(scripts: HashMap<String, Vec<Answer>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let places = Arc::new(Mutex::new(Places::default()));
        let (scripts, kept) = (Arc::new(scripts), places.clone());
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(converse(stream, scripts.clone(), kept.clone()));
            }
        });
        Self { address, places, accepting }
    }

    /// How often a scraper asked for a script.
    pub(crate) fn scrapes(&self, script: &str, outrigger: bool) -> usize {
        self.places.lock().next.get(&(script.to_owned(), outrigger)).copied().unwrap_or(0)
    }

    pub(crate) fn asked(&self, script: &str, outrigger: bool) -> Asked {
        self.places.lock().asked.get(&(script.to_owned(), outrigger)).cloned().unwrap_or_default()
    }
}

async fn converse(
    mut stream: TcpStream,
    scripts: Arc<HashMap<String, Vec<Answer>>>,
    places: Arc<Mutex<Places>>,
) {
    let mut received = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read_buf(&mut received).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        };
        let head = String::from_utf8_lossy(&received[..end]).into_owned();
        received.drain(..end);
        let answer = next_answer(&head, &scripts, &places);
        let bytes = match answer {
            Answer::Http { status, headers, body } => http(status, &headers, body.len(), &body),
            Answer::Truncated { content_type, body } => {
                http(200, &[("Content-Type", content_type.to_owned())], body.len() + 100, &body)
            }
            Answer::HangUp => return,
            Answer::Silence => {
                tokio::time::sleep(Duration::from_secs(3)).await;
                return;
            }
        };
        let is_whole = bytes.1;
        if stream.write_all(&bytes.0).await.is_err() || !is_whole {
            return;
        }
    }
}

/// The bytes, and whether the body has the length that the head says.
fn http(status: u16, headers: &[(&str, String)], length: usize, body: &[u8]) -> (Vec<u8>, bool) {
    let mut head = format!("HTTP/1.1 {status} Scripted\r\nContent-Length: {length}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    ([head.as_bytes(), body].concat(), length == body.len())
}

fn next_answer(head: &str, scripts: &HashMap<String, Vec<Answer>>, places: &Mutex<Places>) -> Answer {
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_once(": ")).map_or("", |(_, value)| value).to_owned()
    };
    let path = head.split(' ').nth(1).unwrap_or("");
    let name = path.trim_start_matches('/').to_owned();
    let Some(script) = scripts.get(&name) else {
        return Answer::Http { status: 404, headers: Vec::new(), body: Vec::new() };
    };
    let outrigger = header("user-agent").to_ascii_lowercase().starts_with("outrigger");
    let mut places = places.lock();
    let key = (name, outrigger);
    let asked = Asked { accept: header("accept"), timeout: header("x-prometheus-scrape-timeout-seconds") };
    places.asked.entry(key.clone()).or_insert(asked);
    let place = places.next.entry(key).or_default();
    let answer = script[(*place).min(script.len() - 1)].clone();
    *place += 1;
    answer
}

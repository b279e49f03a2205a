//! Scrapes that read and forget, as fast as the server writes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// No scrape takes longer.
const PATIENCE: Duration = Duration::from_secs(600);

/// What came of one scrape.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Scraped {
    pub(super) seconds: f64,
    /// Bytes of the body as they came.
    pub(super) bytes: u64,
    /// Lines of a body that is not compressed.
    pub(super) lines: u64,
}

/// Reads `/metrics` to its end.
pub(super) async fn whole(server: SocketAddr, path: &str, encoding: Option<&str>) -> Result<Scraped> {
    let began = Instant::now();
    let mut scraped = Scraped::default();
    read(server, path, encoding, |piece| {
        scraped.bytes += piece.len() as u64;
        scraped.lines += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
        true
    })
    .await?;
    scraped.seconds = began.elapsed().as_secs_f64();
    Ok(scraped)
}

/// Counts the samples of each family, `# HELP` and `# TYPE` lines left out. A family without samples counts zero.
pub(super) async fn families(server: SocketAddr) -> Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    let mut lines = Lines::default();
    read(server, "/metrics", None, |piece| {
        lines.push(piece, |line| count(line, &mut counts));
        true
    })
    .await?;
    Ok(counts)
}

/// Counts the samples of `family` up to the first family after it, at most so many.
pub(super) async fn peek(server: SocketAddr, path: &str, family: &str, most: u64) -> Result<u64> {
    let mut counts = BTreeMap::new();
    let mut lines = Lines::default();
    let mut seen = 0;
    read(server, path, None, |piece| {
        lines.push(piece, |line| count(line, &mut counts));
        seen = counts.get(family).copied().unwrap_or(0);
        seen < most
    })
    .await?;
    Ok(seen)
}

fn count(line: &[u8], counts: &mut BTreeMap<String, u64>) {
    let (text, samples) = match line.strip_prefix(b"# HELP ") {
        Some(rest) => (rest, 0),
        None if line.starts_with(b"#") => return,
        None => (line, 1),
    };
    let end = text.iter().position(|byte| matches!(byte, b'{' | b' ')).unwrap_or(text.len());
    let Ok(name) = std::str::from_utf8(&text[..end]) else { return };
    match counts.get_mut(name) {
        Some(count) => *count += samples,
        None => drop(counts.insert(name.to_owned(), samples)),
    }
}

/// Lines out of pieces.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn push(&mut self, mut piece: &[u8], mut line: impl FnMut(&[u8])) {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            if self.rest.is_empty() {
                line(&piece[..end]);
            } else {
                self.rest.extend_from_slice(&piece[..end]);
                line(&self.rest);
                self.rest.clear();
            }
            piece = &piece[end + 1..];
        }
        self.rest.extend_from_slice(piece);
    }
}

/// Hands the body to `piece` until that has enough.
async fn read(
    server: SocketAddr,
    path: &str,
    encoding: Option<&str>,
    mut piece: impl FnMut(&Bytes) -> bool,
) -> Result<()> {
    let exchange = async {
        let mut body = ask(server, path, encoding).await?;
        while let Some(frame) = body.frame().await {
            let frame = frame.context("read the body")?;
            if let Some(data) = frame.data_ref()
                && !piece(data)
            {
                break;
            }
        }
        Ok(())
    };
    timeout(PATIENCE, exchange).await.context("the scrape took too long")?
}

async fn ask(server: SocketAddr, path: &str, encoding: Option<&str>) -> Result<Incoming> {
    let stream = TcpStream::connect(server).await.with_context(|| format!("connect to {server}"))?;
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(1 << 20).handshake(TokioIo::new(stream)).await.context("greet")?;
    tokio::spawn(connection);
    let mut request = Request::get(path).header(header::HOST, server.to_string());
    if let Some(encoding) = encoding {
        request = request.header(header::ACCEPT_ENCODING, encoding);
    }
    let request = request.body(Empty::<Bytes>::new()).context("write the request")?;
    let response = sender.send_request(request).await.context("ask")?;
    ensure!(response.status().is_success(), "{path} was answered {}", response.status());
    let given = response.headers().get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    ensure!(given == encoding, "{path} was asked for as {encoding:?} and came as {given:?}");
    Ok(response.into_body())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_counted_by_family_however_the_body_is_cut() {
        let body = b"# HELP a first\n# TYPE a gauge\na{b=\"c\"} 1\na{b=\"d\"} 2\n# HELP b second\n# TYPE b gauge\nc 1\n";
        for size in [1, 3, 7, 1000] {
            let (mut counts, mut lines) = (BTreeMap::new(), Lines::default());
            for piece in body.chunks(size) {
                lines.push(piece, |line| count(line, &mut counts));
            }
            let expected = [("a", 2), ("b", 0), ("c", 1)].map(|(name, count)| (name.to_owned(), count));
            assert_eq!(counts, expected.into(), "in pieces of {size}");
        }
    }
}

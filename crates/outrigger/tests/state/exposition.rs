//! A scrape over plain HTTP/1.1, with the answer as it came.

use std::io::Read as _;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// No scrape takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer; the body is decompressed if it was compressed.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) content_encoding: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a GET on a connection of its own and reads the whole answer.
pub(crate) async fn get(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> std::io::Result<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{request}\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        parse(&answer)
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|late| Err(late.into()))
}

fn parse(answer: &[u8]) -> std::io::Result<Answer> {
    let malformed = |what: &str| std::io::Error::other(format!("the answer {what}"));
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .ok_or_else(|| malformed("has no end of headers"))?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let header = |name: &str| {
        let found = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map_or(String::new(), |(_, value)| value.trim().to_owned())
    };
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| malformed("has no status"))?;
    let mut body = answer[end + 4..].to_vec();
    if header("Transfer-Encoding").eq_ignore_ascii_case("chunked") {
        body = unchunk(&body).ok_or_else(|| malformed("ends within a chunk"))?;
    } else if let Ok(length) = header("Content-Length").parse::<usize>()
        && length != body.len()
    {
        return Err(malformed("ends before its length"));
    }
    if header("Content-Encoding") == "gzip" {
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(&body[..]).read_to_end(&mut plain)?;
        body = plain;
    }
    Ok(Answer {
        status,
        content_type: header("Content-Type"),
        content_encoding: header("Content-Encoding"),
        body,
    })
}

/// The contents of the chunks; none if the last one is missing.
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

#[test]
fn answers_are_read_whole_or_not_at_all() {
    let answer = parse(b"HTTP/1.1 200 OK\r\ncontent-type: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x\r\nd\r\n0\r\n\r\n").unwrap();
    assert_eq!((answer.status, answer.content_type.as_str(), answer.text().as_str()), (200, "a", "abcd"));
    assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").is_err());
    assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc").is_err());
}

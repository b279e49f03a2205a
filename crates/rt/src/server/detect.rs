//! Which HTTP a client without TLS speaks.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// The start of HTTP/2's connection preface (RFC 9113 section 3.4): no method of HTTP/1 begins so.
const PREFACE: &[u8; 4] = b"PRI ";

/// The stream with nothing taken from it, and whether the client speaks HTTP/2.
pub(super) async fn detect_http2<S: AsyncRead + Unpin>(mut stream: S) -> io::Result<(Rewound<S>, bool)> {
    let mut start = [0; PREFACE.len()];
    let mut length = 0;
    while length < start.len() && start[..length] == PREFACE[..length] {
        let read = stream.read(&mut start[length..]).await?;
        if read == 0 {
            break;
        }
        length += read;
    }
    Ok((Rewound { start, given: 0, length, stream }, start[..length] == *PREFACE))
}

/// A stream whose first bytes were looked at.
#[derive(Debug)]
pub(super) struct Rewound<S> {
    start: [u8; PREFACE.len()],
    given: usize,
    length: usize,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.given < this.length {
            let end = this.length.min(this.given + buffer.remaining());
            buffer.put_slice(&this.start[this.given..end]);
            this.given = end;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_bytes_tell_the_version_and_are_still_there() {
        for (sent, http2) in [
            (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], true),
            (b"GET / HTTP/1.1\r\n\r\n", false),
            (b"PRINT / HTTP/1.1\r\n\r\n", false),
            (b"PUT", false),
            (b"P", false),
            (b"", false),
        ] {
            let (mut stream, is_http2) = detect_http2(sent).await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            assert_eq!((all.as_slice(), is_http2), (sent, http2));
        }
    }
}

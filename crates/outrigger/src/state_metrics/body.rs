//! The body of a scrape: rendered and compressed on a thread of its own, handed over buffer by buffer.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::Stream;
use outrigger_rt::metrics::{Counter, Histogram};
use outrigger_state::image::Snapshot;
use outrigger_state::render::RenderOptions;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::gzip::ParallelGzip;
use super::negotiate::Encoding;

/// Buffers that wait for the client.
const WAITING: usize = 2;
/// Compressed bytes that go to the client at once.
const COMPRESSED_BUFFER: usize = 64 << 10;
/// Most threads that write or compress one answer.
const MAX_THREADS: usize = 4;

/// How long a client may take nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// A client that takes no buffer for so long is let go.
    pub(super) buffer: Duration,
}

/// What is counted about scrapes.
#[derive(Clone)]
pub(super) struct ScrapeMetrics {
    pub(super) duration: Histogram,
    pub(super) cut_off: Counter,
}

/// Renders `snapshot` into a body. The body ends early, and the connection with it, when the client takes no buffer
/// for as long as `pace` says. Must be called within a runtime.
pub(super) fn rendered(
    snapshot: Snapshot,
    options: RenderOptions,
    encoding: Encoding,
    pace: Pace,
    metrics: ScrapeMetrics,
) -> Body {
    let (sender, receiver) = mpsc::channel(WAITING);
    let runtime = Handle::current();
    let begun = Instant::now();
    let whole = Arc::new(AtomicBool::new(false));
    let whole_at_end = whole.clone();
    let cut_off = metrics.cut_off.clone();
    tokio::task::spawn_blocking(move || {
        let output = Output { sender, runtime, pace, cut_off };
        // The flag is set before the sender goes, which ends the body.
        let written = match encoding {
            Encoding::Plain => plain(&snapshot, &options, &output),
            Encoding::Gzip => ParallelGzip::new(Chunks::new(&output), threads())
                .and_then(|encoder| compressed(&snapshot, &options, encoder, ParallelGzip::finish)),
            Encoding::Zstd => zstd::stream::write::Encoder::new(Chunks::new(&output), 1)
                .and_then(|encoder| compressed(&snapshot, &options, encoder, |encoder| encoder.finish())),
        };
        whole_at_end.store(written.is_ok(), Ordering::Release);
    });
    Body::from_stream(Rendered { receiver, whole, begun, duration: metrics.duration })
}

/// Threads that write or compress one answer.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)
}

fn plain(snapshot: &Snapshot, options: &RenderOptions, output: &Output) -> io::Result<()> {
    let mut result = Ok(());
    snapshot.render(options, |buffer| {
        let taken = std::mem::take(buffer);
        result = output.send(Bytes::from(taken));
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    result
}

fn compressed<'o, E: Write>(
    snapshot: &Snapshot,
    options: &RenderOptions,
    mut encoder: E,
    finish: impl FnOnce(E) -> io::Result<Chunks<'o>>,
) -> io::Result<()> {
    let mut result = Ok(());
    snapshot.render(options, |buffer| {
        result = encoder.write_all(buffer);
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    result?;
    finish(encoder)?.flush()
}

/// The rendering thread's end.
struct Output {
    sender: mpsc::Sender<Bytes>,
    runtime: Handle,
    pace: Pace,
    cut_off: Counter,
}

impl Output {
    fn send(&self, bytes: Bytes) -> io::Result<()> {
        let reserved = tokio::time::timeout(self.pace.buffer, self.sender.reserve());
        match self.runtime.block_on(reserved) {
            Ok(Ok(slot)) => {
                slot.send(bytes);
                Ok(())
            }
            // The client has gone.
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => {
                self.cut_off.inc();
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }
}

/// Collects what a compressor writes.
struct Chunks<'o> {
    output: &'o Output,
    buffer: Vec<u8>,
}

impl<'o> Chunks<'o> {
    fn new(output: &'o Output) -> Self {
        Self { output, buffer: Vec::with_capacity(COMPRESSED_BUFFER) }
    }
}

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= COMPRESSED_BUFFER {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(COMPRESSED_BUFFER));
        self.output.send(Bytes::from(full))
    }
}

/// The client's end; its time is counted when it is dropped.
struct Rendered {
    receiver: mpsc::Receiver<Bytes>,
    whole: Arc<AtomicBool>,
    begun: Instant,
    duration: Histogram,
}

impl Stream for Rendered {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(context).map(|buffer| match buffer {
            Some(buffer) => Some(Ok(buffer)),
            None if self.whole.swap(true, Ordering::AcqRel) => None,
            // An error ends the connection, so that the client does not take the body for whole.
            None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        })
    }
}

impl Drop for Rendered {
    fn drop(&mut self) {
        self.duration.observe(self.begun.elapsed().as_secs_f64());
    }
}

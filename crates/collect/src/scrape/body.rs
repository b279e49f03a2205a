//! Reading a response body into memory, decompressed, within limits.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::write::MultiGzDecoder;

/// What bounds one body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyLimit {
    /// `body_size_limit` of the scrape configuration: this many bytes are too many.
    Configured(u64),
    /// Outrigger's own bound where none is configured.
    Engine(u64),
}

impl BodyLimit {
    fn bytes(self) -> u64 {
        match self {
            BodyLimit::Configured(bytes) | BodyLimit::Engine(bytes) => bytes,
        }
    }
}

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// `body_size_limit` (Prometheus' wording).
    #[error("body size limit exceeded")]
    LimitExceeded,
    /// Outrigger's own bound.
    #[error(
        "body size limit exceeded: more than {0} bytes uncompressed (outrigger.limits.max_body_bytes; a job's \
         body_size_limit overrides it)"
    )]
    EngineLimitExceeded(u64),
    /// All large bodies that are being read together exceed the engine's memory for them.
    #[error("too many bytes of large responses are being read at this moment ({0} bytes allowed in total)")]
    BudgetExhausted(u64),
    /// The gzip stream is broken.
    #[error("broken gzip stream")]
    Gzip(#[source] io::Error),
}

impl BodyError {
    /// Whether the body exceeded a limit.
    pub(crate) fn is_limit(&self) -> bool {
        match self {
            BodyError::LimitExceeded | BodyError::EngineLimitExceeded(_) | BodyError::BudgetExhausted(_) => {
                true
            }
            BodyError::Gzip(_) => false,
        }
    }
}

/// Memory for the parts of bodies that exceed [`FREE_BYTES`], shared by all scrapes: targets that send gigabytes
/// fail, the others do not notice.
#[derive(Debug)]
pub(crate) struct BodyBudget {
    total: u64,
    used: AtomicU64,
}

/// This much of each body is free of the budget.
const FREE_BYTES: u64 = 4 << 20;
/// Granularity of reservations.
const STEP_BYTES: u64 = 1 << 20;

impl BodyBudget {
    pub(crate) fn new(total: u64) -> Self {
        Self { total, used: AtomicU64::new(0) }
    }

    /// Bytes reserved now.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn reserve(&self, bytes: u64) -> bool {
        let add = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.total);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }
}

/// Collects a body chunk by chunk.
pub(crate) struct BodyCollector {
    sink: Sink,
}

enum Sink {
    Plain(LimitedBuffer),
    Gzip(Box<MultiGzDecoder<LimitedBuffer>>),
}

impl BodyCollector {
    /// Only `Content-Encoding: gzip` is decompressed; anything else is read as it is, as Prometheus does.
    pub(crate) fn new(
        content_encoding: Option<&str>,
        size_hint: usize,
        limit: BodyLimit,
        budget: Arc<BodyBudget>,
    ) -> Self {
        let buffer = LimitedBuffer::new(size_hint, limit, budget);
        let sink = match content_encoding {
            Some("gzip") => Sink::Gzip(Box::new(MultiGzDecoder::new(buffer))),
            _ => Sink::Plain(buffer),
        };
        Self { sink }
    }

    /// Takes the next bytes off the wire.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), BodyError> {
        match &mut self.sink {
            Sink::Plain(buffer) => buffer.push(chunk),
            Sink::Gzip(decoder) => {
                let written = decoder.write_all(chunk);
                settle(decoder.get_mut(), written)
            }
        }
    }

    /// The whole body; its part of the budget is released when it is dropped.
    pub(crate) fn finish(self) -> Result<Body, BodyError> {
        let buffer = match self.sink {
            Sink::Plain(buffer) => buffer,
            Sink::Gzip(mut decoder) => {
                let finished = decoder.try_finish();
                settle(decoder.get_mut(), finished)?;
                decoder.finish().map_err(BodyError::Gzip)?
            }
        };
        Ok(Body { bytes: buffer.bytes, _reservation: buffer.reservation })
    }
}

/// A refusal by the buffer comes through the decoder as an opaque error: prefer the buffer's own.
fn settle(buffer: &mut LimitedBuffer, result: io::Result<()>) -> Result<(), BodyError> {
    match (buffer.refused.take(), result) {
        (Some(refusal), _) => Err(refusal),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => Err(BodyError::Gzip(error)),
    }
}

/// A body in memory.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    _reservation: Reservation,
}

impl Body {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

struct LimitedBuffer {
    bytes: Vec<u8>,
    limit: BodyLimit,
    reservation: Reservation,
    refused: Option<BodyError>,
}

impl LimitedBuffer {
    fn new(size_hint: usize, limit: BodyLimit, budget: Arc<BodyBudget>) -> Self {
        let hint =
            size_hint.min(FREE_BYTES as usize).min(usize::try_from(limit.bytes()).unwrap_or(usize::MAX));
        Self {
            bytes: Vec::with_capacity(hint),
            limit,
            reservation: Reservation { budget, bytes: 0 },
            refused: None,
        }
    }

    fn push(&mut self, chunk: &[u8]) -> Result<(), BodyError> {
        let length = self.bytes.len() as u64 + chunk.len() as u64;
        if length >= self.limit.bytes() {
            return Err(match self.limit {
                BodyLimit::Configured(_) => BodyError::LimitExceeded,
                BodyLimit::Engine(bytes) => BodyError::EngineLimitExceeded(bytes),
            });
        }
        self.reservation.cover(length)?;
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }
}

impl Write for LimitedBuffer {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        match self.push(chunk) {
            Ok(()) => Ok(chunk.len()),
            Err(refusal) => {
                self.refused = Some(refusal);
                Err(io::Error::other("refused"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives its part of the budget back when dropped.
#[derive(Debug)]
struct Reservation {
    budget: Arc<BodyBudget>,
    bytes: u64,
}

impl Reservation {
    /// Reserves what a body of `length` bytes needs.
    fn cover(&mut self, length: u64) -> Result<(), BodyError> {
        while length > FREE_BYTES + self.bytes {
            if !self.budget.reserve(STEP_BYTES) {
                return Err(BodyError::BudgetExhausted(self.budget.total));
            }
            self.bytes += STEP_BYTES;
        }
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn collect(
        encoding: Option<&str>,
        wire: &[u8],
        limit: BodyLimit,
        budget: &Arc<BodyBudget>,
    ) -> Result<Body, BodyError> {
        let mut collector = BodyCollector::new(encoding, 0, limit, Arc::clone(budget));
        for chunk in wire.chunks(1_000) {
            collector.push(chunk)?;
        }
        collector.finish()
    }

    const NO_LIMIT: BodyLimit = BodyLimit::Engine(u64::MAX);

    #[test]
    fn gzip_is_decompressed_and_anything_else_is_left_alone() {
        let budget = Arc::new(BodyBudget::new(0));
        let text: Vec<u8> = (0..10_000).map(|i| (i % 251) as u8).collect();
        let two_members = [gzip(&text[..4_000]), gzip(&text[4_000..])].concat();
        for (encoding, wire) in [
            (Some("gzip"), gzip(&text)),
            (Some("gzip"), two_members),
            (None, text.clone()),
            (Some("deflate"), text.clone()),
        ] {
            assert_eq!(collect(encoding, &wire, NO_LIMIT, &budget).unwrap().bytes(), text, "{encoding:?}");
        }
    }

    #[test]
    fn a_broken_gzip_stream_is_an_error() {
        let budget = Arc::new(BodyBudget::new(0));
        let whole = gzip(b"up 1\n");
        for wire in [&b""[..], b"up 1\n", &whole[..whole.len() - 5]] {
            let result = collect(Some("gzip"), wire, NO_LIMIT, &budget);
            assert!(matches!(result, Err(BodyError::Gzip(_))), "{wire:?}: {result:?}");
        }
    }

    #[test]
    fn the_limit_counts_decompressed_bytes_and_refuses_from_the_limit_on() {
        let budget = Arc::new(BodyBudget::new(0));
        let text = vec![b'a'; 5_000];
        for (encoding, wire) in [(None, text.clone()), (Some("gzip"), gzip(&text))] {
            assert!(collect(encoding, &wire, BodyLimit::Configured(5_001), &budget).is_ok());
            for limit in [5_000, 4_999, 1] {
                let result = collect(encoding, &wire, BodyLimit::Configured(limit), &budget);
                assert!(matches!(result, Err(BodyError::LimitExceeded)), "{limit}: {result:?}");
            }
        }
    }

    #[test]
    fn large_bodies_share_a_budget_and_give_it_back() {
        let budget = Arc::new(BodyBudget::new(3 << 20));
        let bomb = gzip(&vec![0; 6 << 20]);
        let first = collect(Some("gzip"), &bomb, NO_LIMIT, &budget).unwrap();
        assert_eq!(budget.used(), 2 << 20);
        let second = collect(Some("gzip"), &bomb, NO_LIMIT, &budget);
        assert!(matches!(second, Err(BodyError::BudgetExhausted(_))), "{second:?}");
        let small = collect(Some("gzip"), &gzip(&vec![0; 1 << 20]), NO_LIMIT, &budget);
        assert!(small.is_ok(), "small bodies never need the budget");
        drop(first);
        assert_eq!(budget.used(), 0);
        assert!(collect(Some("gzip"), &bomb, NO_LIMIT, &budget).is_ok());
    }
}

//! Reading a response body, decompressed, within limits.

mod gunzip;
mod one_shot;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gunzip::Gunzip;
pub use gunzip::GunzipError;

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

    fn exceeded(self) -> BodyError {
        match self {
            BodyLimit::Configured(_) => BodyError::LimitExceeded,
            BodyLimit::Engine(bytes) => BodyError::EngineLimitExceeded(bytes),
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
    Gzip(#[source] GunzipError),
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

/// Most bytes of text that a [`BodyDecoder`] hands over at once.
pub(crate) const MAX_PIECE_BYTES: usize = 128 << 10;
/// Gzip bodies up to this size on the wire are inflated in one go.
const MAX_COLLECTED_BYTES: usize = 256 << 10;
/// This much of each collected body is free of the budget.
const FREE_COLLECTED_BYTES: u64 = 32 << 10;

/// Turns the bytes of a response off the wire into text, piece by piece, in memory that does not grow with the body.
///
/// Only `Content-Encoding: gzip` is decompressed, with as many members as there are; anything else is handed over as
/// it is, as Prometheus does. A small gzip body is inflated when all of it is there, a large one as it arrives. The
/// limit counts text: a body of exactly that many bytes is too large, and no byte beyond it is inflated.
///
/// Pieces that were handed over before an error belong to a body that must be dropped as a whole.
pub(crate) struct BodyDecoder {
    decoding: Decoding,
    meter: Meter,
}

enum Decoding {
    Plain,
    /// Gzip that may still turn out to be small.
    Collect(Vec<u8>, Collected),
    Stream(Box<Gunzip>),
}

impl BodyDecoder {
    /// A decoder for one response. `budget` bounds what all decoders together collect; when it is used up, bodies are
    /// inflated as they arrive.
    pub(crate) fn new(content_encoding: Option<&str>, limit: BodyLimit, budget: Arc<BodyBudget>) -> Self {
        let decoding = match content_encoding {
            Some("gzip") => Decoding::Collect(Vec::new(), Collected { budget, bytes: 0 }),
            _ => Decoding::Plain,
        };
        Self { decoding, meter: Meter { limit, decoded: 0 } }
    }

    /// Takes the next bytes off the wire and calls `text` with what they turn out to be: pieces of at most
    /// [`MAX_PIECE_BYTES`], in order.
    ///
    /// # Errors
    /// The limit was reached or the stream is broken; the rest of the body is of no use then.
    pub(crate) fn push(&mut self, wire: &[u8], text: &mut dyn FnMut(&[u8])) -> Result<(), BodyError> {
        match &mut self.decoding {
            Decoding::Plain => self.meter.hand_over(wire, text),
            Decoding::Stream(gunzip) => self.meter.inflate(gunzip, wire, text),
            Decoding::Collect(collected, share) => {
                let length = collected.len() + wire.len();
                if length <= MAX_COLLECTED_BYTES && share.cover(length as u64) {
                    collected.extend_from_slice(wire);
                    return Ok(());
                }
                let mut gunzip = Box::new(Gunzip::new());
                self.meter.inflate(&mut gunzip, collected, text)?;
                self.meter.inflate(&mut gunzip, wire, text)?;
                self.decoding = Decoding::Stream(gunzip);
                Ok(())
            }
        }
    }

    /// Hands over what is left and returns the length of the whole text in bytes.
    ///
    /// # Errors
    /// As [`BodyDecoder::push`]; also when the body ended too early.
    pub(crate) fn finish(self, text: &mut dyn FnMut(&[u8])) -> Result<u64, BodyError> {
        let mut meter = self.meter;
        match self.decoding {
            Decoding::Plain => {}
            Decoding::Stream(gunzip) => gunzip.finish().map_err(BodyError::Gzip)?,
            Decoding::Collect(collected, _share) => {
                let limit = meter.limit.bytes();
                match one_shot::inflate(&collected, limit, |whole| meter.hand_over(whole, text)) {
                    Some(handed_over) => handed_over?,
                    None => {
                        let mut gunzip = Gunzip::new();
                        meter.inflate(&mut gunzip, &collected, text)?;
                        gunzip.finish().map_err(BodyError::Gzip)?;
                    }
                }
            }
        }
        Ok(meter.decoded)
    }
}

/// Counts text on its way out, and stops it at the limit.
struct Meter {
    limit: BodyLimit,
    decoded: u64,
}

impl Meter {
    /// Hands over text that is there.
    fn hand_over(&mut self, whole: &[u8], text: &mut dyn FnMut(&[u8])) -> Result<(), BodyError> {
        for piece in whole.chunks(MAX_PIECE_BYTES) {
            self.count(piece.len())?;
            text(piece);
        }
        Ok(())
    }

    /// Hands over the text of the next compressed bytes.
    fn inflate(
        &mut self,
        gunzip: &mut Gunzip,
        mut wire: &[u8],
        text: &mut dyn FnMut(&[u8]),
    ) -> Result<(), BodyError> {
        let mut window = WINDOW.take();
        window.resize(MAX_PIECE_BYTES, 0);
        let result = loop {
            let room = self.room().min(MAX_PIECE_BYTES);
            let step = match gunzip.step(wire, &mut window[..room]) {
                Ok(step) => step,
                Err(error) => break Err(BodyError::Gzip(error)),
            };
            wire = &wire[step.consumed..];
            if let Err(error) = self.count(step.written) {
                break Err(error);
            }
            if step.written > 0 {
                text(&window[..step.written]);
            }
            if wire.is_empty() && step.written < room {
                break Ok(());
            }
        };
        WINDOW.set(window);
        result
    }

    /// Bytes until the limit, at least one: what fills it is an error.
    fn room(&self) -> usize {
        usize::try_from(self.limit.bytes().saturating_sub(self.decoded)).unwrap_or(usize::MAX).max(1)
    }

    fn count(&mut self, bytes: usize) -> Result<(), BodyError> {
        self.decoded += bytes as u64;
        if self.decoded >= self.limit.bytes() { Err(self.limit.exceeded()) } else { Ok(()) }
    }
}

thread_local! {
    /// Where a thread inflates to.
    static WINDOW: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Gives a collected body's part of the budget back when dropped.
struct Collected {
    budget: Arc<BodyBudget>,
    bytes: u64,
}

impl Collected {
    /// Whether a body of `length` collected bytes fits.
    fn cover(&mut self, length: u64) -> bool {
        let missing = length.saturating_sub(FREE_COLLECTED_BYTES + self.bytes);
        let fits = missing == 0 || self.budget.reserve(missing);
        if fits {
            self.bytes += missing;
        }
        fits
    }
}

impl Drop for Collected {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The part of the budget for text of one body that has to be kept; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<BodyBudget>,
    bytes: u64,
}

impl Reservation {
    pub(crate) fn new(budget: Arc<BodyBudget>) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Reserves what `length` bytes of text need.
    pub(crate) fn cover(&mut self, length: u64) -> Result<(), BodyError> {
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

    /// The text of a body that arrives in pieces and is kept whole.
    fn collect(
        encoding: Option<&str>,
        wire: &[u8],
        limit: BodyLimit,
        budget: &Arc<BodyBudget>,
    ) -> Result<(Vec<u8>, Reservation), BodyError> {
        let mut decoder = BodyDecoder::new(encoding, limit, Arc::clone(budget));
        let mut held = Reservation::new(Arc::clone(budget));
        let mut text = Vec::new();
        for chunk in wire.chunks(1_000) {
            decoder.push(chunk, &mut |piece| text.extend_from_slice(piece))?;
            held.cover(text.len() as u64)?;
        }
        decoder.finish(&mut |piece| text.extend_from_slice(piece))?;
        held.cover(text.len() as u64)?;
        Ok((text, held))
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
            assert_eq!(collect(encoding, &wire, NO_LIMIT, &budget).unwrap().0, text, "{encoding:?}");
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

    /// What a decoder makes of a body that arrives in chunks.
    fn decode(
        encoding: Option<&str>,
        wire: &[u8],
        chunk: usize,
        limit: BodyLimit,
        budget: &Arc<BodyBudget>,
    ) -> (Vec<u8>, Result<u64, BodyError>) {
        let mut whole = Vec::new();
        let mut text = |piece: &[u8]| {
            assert!((1..=MAX_PIECE_BYTES).contains(&piece.len()), "a piece of {} bytes", piece.len());
            whole.extend_from_slice(piece);
        };
        let mut decoder = BodyDecoder::new(encoding, limit, Arc::clone(budget));
        let pushed = wire.chunks(chunk).try_for_each(|chunk| decoder.push(chunk, &mut text));
        let result = pushed.and_then(|()| decoder.finish(&mut text));
        (whole, result)
    }

    /// A member with every optional part of a header.
    fn gzip_with_full_header(bytes: &[u8]) -> Vec<u8> {
        let plain = gzip(bytes);
        let mut wire = vec![0x1f, 0x8b, 8, 0b1_1110, 1, 2, 3, 4, 0, 255, 3, 0, 9, 9, 9];
        wire.extend_from_slice(b"name\0comment\0");
        let mut crc = flate2::Crc::new();
        crc.update(&wire);
        wire.extend_from_slice(&crc.sum().to_le_bytes()[..2]);
        wire.extend_from_slice(&plain[10..]);
        wire
    }

    /// Does not compress well: gzip keeps more than half of it.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .take(length)
        .collect()
    }

    #[test]
    fn a_body_is_the_same_text_however_it_is_sent() {
        let budget = Arc::new(BodyBudget::new(1 << 20));
        let none = Arc::new(BodyBudget::new(0));
        let (small, large) = (b"up 1\n".repeat(1_000), noise(700_000));
        let zeros = vec![b'0'; 6 << 20];
        let halves = |text: &[u8]| {
            [gzip(&text[..text.len() / 2]), gzip_with_full_header(&text[text.len() / 2..])].concat()
        };
        for text in [&[][..], b"up 1\n", &small, &large, &zeros] {
            for (what, encoding, wire) in [
                ("plain", None, text.to_vec()),
                ("another encoding", Some("deflate"), text.to_vec()),
                ("gzip in capitals", Some("GZIP"), text.to_vec()),
                ("gzip", Some("gzip"), gzip(text)),
                ("full header", Some("gzip"), gzip_with_full_header(text)),
                ("two members", Some("gzip"), halves(text)),
                ("twice the same member", Some("gzip"), [gzip(b""), gzip(b""), gzip(text)].concat()),
            ] {
                for budget in [&budget, &none] {
                    for chunk in [1_000, 16 << 10, wire.len().max(1)] {
                        let (whole, result) = decode(encoding, &wire, chunk, NO_LIMIT, budget);
                        assert_eq!(result.ok(), Some(text.len() as u64), "{what} in chunks of {chunk}");
                        assert!(whole == text, "{what} of {} bytes in chunks of {chunk}", text.len());
                    }
                }
            }
        }
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn identical_members_are_all_read() {
        let member = gzip(b"up 1\n");
        let (whole, result) =
            decode(Some("gzip"), &member.repeat(3), 1_000, NO_LIMIT, &Arc::new(BodyBudget::new(0)));
        assert_eq!((&whole[..], result.ok()), (&b"up 1\nup 1\nup 1\n"[..], Some(15)));
    }

    #[test]
    fn broken_gzip_is_refused_as_go_refuses_it() {
        let budget = Arc::new(BodyBudget::new(1 << 20));
        let with = |wire: &[u8], at: usize, bits: u8| {
            let mut wire = wire.to_vec();
            wire[at] ^= bits;
            wire
        };
        for text in [&b"up 1\n"[..], &noise(700_000)] {
            let (whole, full) = (gzip(text), gzip_with_full_header(text));
            let end = whole.len();
            for (what, wire, error) in [
                ("nothing", vec![], GunzipError::Empty),
                ("one byte", whole[..1].to_vec(), GunzipError::Truncated),
                ("a header", whole[..10].to_vec(), GunzipError::Truncated),
                ("text that is not compressed", b"up 1\n".repeat(30), GunzipError::Header),
                ("another method", with(&whole, 2, 1), GunzipError::Header),
                ("no trailer", whole[..end - 8].to_vec(), GunzipError::Truncated),
                ("half a trailer", whole[..end - 5].to_vec(), GunzipError::Truncated),
                ("the first half", whole[..end / 2 + 5].to_vec(), GunzipError::Truncated),
                ("another checksum", with(&whole, end - 8, 1), GunzipError::Checksum),
                ("another length", with(&whole, end - 4, 1), GunzipError::Checksum),
                ("another length, huge", with(&whole, end - 1, 0x80), GunzipError::Checksum),
                ("a reserved block type", with(&whole, 10, 6), GunzipError::Corrupt),
                ("garbage behind", [&whole[..], b"garbage"].concat(), GunzipError::Header),
                ("zeros behind", [&whole[..], &[0; 20]].concat(), GunzipError::Header),
                ("a truncated member behind", [&whole[..], &whole[..9]].concat(), GunzipError::Truncated),
                ("another header checksum", with(&full, 28, 1), GunzipError::Header),
            ] {
                let stored = text.len() > 1_000 && what == "a reserved block type";
                for chunk in [7, 16 << 10, wire.len().max(1)] {
                    let (_, result) = decode(Some("gzip"), &wire, chunk, NO_LIMIT, &budget);
                    match result {
                        Err(BodyError::Gzip(found)) => {
                            assert!(found == error || stored, "{what} in chunks of {chunk}: {found}");
                        }
                        other => panic!("{what} in chunks of {chunk}: {other:?}"),
                    }
                }
            }
        }
        let long_name = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 255][..], &[b'n'; 512], &[0]].concat();
        let (_, result) = decode(Some("gzip"), &long_name, 100, NO_LIMIT, &budget);
        assert!(matches!(result, Err(BodyError::Gzip(GunzipError::Header))), "{result:?}");
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_decoder_stops_at_the_limit_and_inflates_nothing_beyond_it() {
        let budget = Arc::new(BodyBudget::new(1 << 20));
        for length in [5_000, 700_000] {
            let text = noise(length);
            let lying = {
                // Promises less than there is.
                let mut wire = gzip(&text);
                let at = wire.len() - 4;
                wire[at..].copy_from_slice(&100u32.to_le_bytes());
                wire
            };
            for (encoding, wire) in [(None, text.clone()), (Some("gzip"), gzip(&text)), (Some("gzip"), lying)]
            {
                for chunk in [1_000, wire.len()] {
                    for limit in [length as u64, length as u64 - 1, 2, 1] {
                        let (whole, result) =
                            decode(encoding, &wire, chunk, BodyLimit::Configured(limit), &budget);
                        assert!(matches!(result, Err(BodyError::LimitExceeded)), "{limit}: {result:?}");
                        assert!((whole.len() as u64) < limit, "{} bytes for {limit}", whole.len());
                        let (_, result) = decode(encoding, &wire, chunk, BodyLimit::Engine(limit), &budget);
                        assert!(matches!(result, Err(BodyError::EngineLimitExceeded(at)) if at == limit));
                    }
                }
            }
            let enough = BodyLimit::Configured(length as u64 + 1);
            for (encoding, wire) in [(None, text.clone()), (Some("gzip"), gzip(&text))] {
                let (whole, result) = decode(encoding, &wire, 1_000, enough, &budget);
                assert!(result.is_ok() && whole == text, "{result:?}");
            }
        }
    }

    #[test]
    fn a_bomb_is_inflated_piece_by_piece() {
        let bomb = gzip(&vec![0; 64 << 20]);
        let (mut pieces, mut bytes) = (0, 0);
        let mut text = |piece: &[u8]| {
            pieces += 1;
            bytes += piece.len();
        };
        let mut decoder = BodyDecoder::new(Some("gzip"), NO_LIMIT, Arc::new(BodyBudget::new(0)));
        for chunk in bomb.chunks(1 << 10) {
            decoder.push(chunk, &mut text).unwrap();
        }
        assert_eq!(decoder.finish(&mut text).unwrap(), 64 << 20);
        assert_eq!(bytes, 64 << 20);
        assert!(pieces >= 512, "{pieces} pieces");
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_stream_is_never_taken_for_a_whole_one(
            text in proptest::collection::vec(0u8..4, 0..2_000),
            at: proptest::sample::Index,
            bits in 1u8..,
            chunk in 1usize..500,
        ) {
            let budget = Arc::new(BodyBudget::new(0));
            let mut wire = gzip(&text);
            let at = at.index(wire.len());
            wire[at] ^= bits;
            let (whole, result) = decode(Some("gzip"), &wire, chunk, NO_LIMIT, &budget);
            let in_one = decode(Some("gzip"), &wire, usize::MAX, NO_LIMIT, &Arc::new(BodyBudget::new(1 << 20)));
            // Time, system and the hints beside the compression method do not count.
            if result.is_ok() {
                proptest::prop_assert!(whole == text, "byte {} of {}", at, wire.len());
            }
            proptest::prop_assert_eq!(result.ok(), in_one.1.ok());
        }
    }
}

//! Gzip of any length through a window: what Go's `gzip.Reader` accepts, error for error.

use flate2::{Crc, Decompress, FlushDecompress, Status};

/// Longest name or comment in a header that Go reads.
const MAX_TEXT_BYTES: usize = 512;

/// Why a stream is not gzip to its end. The texts are Go's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GunzipError {
    /// Nothing was sent at all.
    #[error("EOF")]
    Empty,
    /// The stream ends within a member.
    #[error("unexpected EOF")]
    Truncated,
    /// No member begins where one should, also after the last one.
    #[error("gzip: invalid header")]
    Header,
    /// Not deflate data.
    #[error("flate: corrupt input")]
    Corrupt,
    /// Checksum or length of a member is not that of its data.
    #[error("gzip: invalid checksum")]
    Checksum,
}

/// What one step of [`Gunzip`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes taken from the input.
    pub(super) consumed: usize,
    /// Bytes written to the window.
    pub(super) written: usize,
}

/// Members one after the other.
pub(super) struct Gunzip {
    state: State,
    inflate: Decompress,
    crc: Crc,
    /// Whether a member has ended.
    any: bool,
}

enum State {
    Header(Header),
    Data,
    Trailer([u8; 8], usize),
}

impl Gunzip {
    pub(super) fn new() -> Self {
        Self {
            state: State::Header(Header::new()),
            inflate: Decompress::new(false),
            crc: Crc::new(),
            any: false,
        }
    }

    /// Takes some of `input` and writes some of the text into `window`, which must not be empty. A step that fills the
    /// window may have left text for the next one, also when it took all of the input.
    pub(super) fn step(&mut self, input: &[u8], window: &mut [u8]) -> Result<Step, GunzipError> {
        match &mut self.state {
            State::Header(header) => {
                let mut consumed = 0;
                for byte in input {
                    consumed += 1;
                    if header.step(*byte)? {
                        self.inflate.reset(false);
                        self.crc.reset();
                        self.state = State::Data;
                        break;
                    }
                }
                Ok(Step { consumed, written: 0 })
            }
            State::Data => self.inflate(input, window),
            State::Trailer(bytes, have) => {
                let consumed = input.len().min(bytes.len() - *have);
                bytes[*have..*have + consumed].copy_from_slice(&input[..consumed]);
                *have += consumed;
                if *have == bytes.len() {
                    let [a, b, c, d, e, f, g, h] = *bytes;
                    let (sum, length) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
                    if (sum, length) != (self.crc.sum(), self.crc.amount()) {
                        return Err(GunzipError::Checksum);
                    }
                    self.any = true;
                    self.state = State::Header(Header::new());
                }
                Ok(Step { consumed, written: 0 })
            }
        }
    }

    fn inflate(&mut self, input: &[u8], window: &mut [u8]) -> Result<Step, GunzipError> {
        let (input_before, output_before) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self
            .inflate
            .decompress(input, window, FlushDecompress::None)
            .map_err(|_| GunzipError::Corrupt)?;
        let step = Step {
            consumed: (self.inflate.total_in() - input_before) as usize,
            written: (self.inflate.total_out() - output_before) as usize,
        };
        self.crc.update(&window[..step.written]);
        match status {
            Status::StreamEnd => self.state = State::Trailer([0; 8], 0),
            Status::Ok | Status::BufError
                if !input.is_empty() && step == (Step { consumed: 0, written: 0 }) =>
            {
                return Err(GunzipError::Corrupt);
            }
            Status::Ok | Status::BufError => {}
        }
        Ok(step)
    }

    /// The input has ended here.
    pub(super) fn finish(&self) -> Result<(), GunzipError> {
        match &self.state {
            State::Header(header) if header.is_at_start() && self.any => Ok(()),
            State::Header(header) if header.is_at_start() => Err(GunzipError::Empty),
            State::Header(_) | State::Data | State::Trailer(..) => Err(GunzipError::Truncated),
        }
    }
}

/// A member's header, byte by byte (RFC 1952 section 2.3).
struct Header {
    part: Part,
    flags: u8,
    crc: Crc,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// This many of the first ten bytes have been read.
    Fixed(usize),
    ExtraLength(Option<u8>),
    Extra(u16),
    Name(usize),
    Comment(usize),
    /// What its second byte has to be, after the first.
    Checksum(Option<u8>),
}

const FLAG_CHECKSUM: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;

impl Header {
    fn new() -> Self {
        Self { part: Part::Fixed(0), flags: 0, crc: Crc::new() }
    }

    fn is_at_start(&self) -> bool {
        self.part == Part::Fixed(0)
    }

    /// Takes a byte; true when it was the header's last.
    fn step(&mut self, byte: u8) -> Result<bool, GunzipError> {
        let sum = self.crc.sum();
        self.crc.update(&[byte]);
        let next = match self.part {
            Part::Fixed(at) => {
                // Identification and the only compression method there is.
                if [0x1f, 0x8b, 8].get(at).is_some_and(|expected| *expected != byte) {
                    return Err(GunzipError::Header);
                }
                if at == 3 {
                    self.flags = byte;
                }
                if at < 9 { Some(Part::Fixed(at + 1)) } else { self.after(0) }
            }
            Part::ExtraLength(None) => Some(Part::ExtraLength(Some(byte))),
            Part::ExtraLength(Some(low)) => match u16::from_le_bytes([low, byte]) {
                0 => self.after(FLAG_EXTRA),
                length => Some(Part::Extra(length)),
            },
            Part::Extra(1) => self.after(FLAG_EXTRA),
            Part::Extra(left) => Some(Part::Extra(left - 1)),
            Part::Name(_) if byte == 0 => self.after(FLAG_NAME),
            Part::Comment(_) if byte == 0 => self.after(FLAG_COMMENT),
            Part::Name(length) | Part::Comment(length) if length + 1 >= MAX_TEXT_BYTES => {
                return Err(GunzipError::Header);
            }
            Part::Name(length) => Some(Part::Name(length + 1)),
            Part::Comment(length) => Some(Part::Comment(length + 1)),
            Part::Checksum(None) => {
                // The low half of the checksum of everything before.
                let [low, high, ..] = sum.to_le_bytes();
                if low != byte {
                    return Err(GunzipError::Header);
                }
                Some(Part::Checksum(Some(high)))
            }
            Part::Checksum(Some(high)) => {
                if high != byte {
                    return Err(GunzipError::Header);
                }
                None
            }
        };
        match next {
            Some(part) => self.part = part,
            None => return Ok(true),
        }
        Ok(false)
    }

    /// What follows the part with this flag (0: the fixed part); `None` when nothing does.
    fn after(&self, flag: u8) -> Option<Part> {
        let follows = |candidate: u8| self.flags & candidate != 0;
        if flag < FLAG_EXTRA && follows(FLAG_EXTRA) {
            Some(Part::ExtraLength(None))
        } else if flag < FLAG_NAME && follows(FLAG_NAME) {
            Some(Part::Name(0))
        } else if flag < FLAG_COMMENT && follows(FLAG_COMMENT) {
            Some(Part::Comment(0))
        } else if follows(FLAG_CHECKSUM) {
            Some(Part::Checksum(None))
        } else {
            None
        }
    }
}

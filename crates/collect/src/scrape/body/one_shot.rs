//! A whole small gzip body in one go, by libdeflate: half the time of a decoder that can stop anywhere.

use std::cell::RefCell;

use libdeflater::Decompressor;

/// Most bytes of text that are inflated in one go.
const MAX_TEXT_BYTES: usize = 4 << 20;
/// Header without any optional part, and trailer.
const HEADER_BYTES: usize = 10;
const TRAILER_BYTES: usize = 8;
/// Deflate never does better than this.
const MAX_RATIO: usize = 1032;
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// What each thread keeps for this.
struct Inflater {
    decompressor: Decompressor,
    text: Vec<u8>,
}

thread_local! {
    static INFLATER: RefCell<Option<Inflater>> = const { RefCell::new(None) };
}

/// Calls `with` on the text of `wire`; `None` without having called it when `wire` is not one plain gzip member whose
/// text is shorter than `limit` and than a few MiB: the decoder that streams then has to find out what it is.
pub(super) fn inflate<T>(wire: &[u8], limit: u64, with: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let length = promised_length(wire)?;
    if length as u64 >= limit {
        return None;
    }
    let mut inflater =
        INFLATER.take().unwrap_or_else(|| Inflater { decompressor: Decompressor::new(), text: Vec::new() });
    if inflater.text.len() < length {
        inflater.text.resize(length, 0);
    }
    let inflated = inflater.decompressor.gzip_decompress(wire, &mut inflater.text[..length]);
    let result = (inflated == Ok(length)).then(|| with(&inflater.text[..length]));
    INFLATER.set(Some(inflater));
    result
}

/// Length of the text according to the trailer of what looks like a single member.
fn promised_length(wire: &[u8]) -> Option<usize> {
    let plain_header = wire.len() > HEADER_BYTES + TRAILER_BYTES && wire[..3] == MAGIC && wire[3] == 0;
    if !plain_header {
        return None;
    }
    let (_, length) = wire.split_last_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let plausible = length <= MAX_TEXT_BYTES && length / MAX_RATIO <= wire.len();
    // A further member, or by chance what looks like one.
    let single = memchr::memmem::find(&wire[HEADER_BYTES..], &MAGIC).is_none();
    (plausible && single).then_some(length)
}

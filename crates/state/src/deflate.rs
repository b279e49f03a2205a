//! Deflate (RFC 1951) for lines that resemble the line before them, as those of a scrape do.
//!
//! A general compressor looks for matches in all that went before. Here each line is laid beside the line before: what
//! is equal is a match, what differs up to the next quote is literal. So a pass takes a comparison and not a search, and
//! most of the time is the writing of codes.

mod huffman;

use huffman::Code;

/// Bytes that a block takes in at most.
const BLOCK: usize = 256 << 10;
/// The shortest match worth its codes.
const MIN_MATCH: usize = 5;
const MAX_MATCH: usize = 258;
/// So that four literals fit between two flushes.
const MAX_LITERAL_BITS: u8 = 14;
const MAX_DISTANCE: usize = 32 << 10;
const END_OF_BLOCK: usize = 256;
const LITERALS: usize = 286;
const DISTANCES: usize = 30;
/// Order of the lengths of code-length codes (RFC 1951, 3.2.7).
const CODE_LENGTH_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Compresses pieces that can be concatenated: each ends on a whole byte and refers to nothing before it.
#[derive(Debug, Default)]
pub struct LineDeflate {
    sequences: Vec<Sequence>,
}

/// Literals, then a match.
#[derive(Debug, Clone, Copy)]
struct Sequence {
    literals: u32,
    /// Zero at the end of a block.
    length: u16,
    distance: u16,
}

impl LineDeflate {
    /// Appends the compressed form of `text`, without an end of the stream.
    pub fn piece(&mut self, text: &[u8], into: &mut Vec<u8>) {
        for block in text.chunks(BLOCK) {
            self.find_matches(block);
            // A literal takes less than two bytes, a match no more than the literals in its place, the codes a few hundred.
            let mut bits = Bits::new(into, 2 * block.len() + 1024);
            self.write_block(block, &mut bits);
            // An empty stored block ends on a whole byte.
            bits.put(0, 3);
            bits.finish();
            into.extend_from_slice(&[0, 0, 0xff, 0xff]);
        }
    }

    /// Appends the end of the stream.
    pub fn end(into: &mut Vec<u8>) {
        // A last block with fixed codes and nothing in it.
        into.extend_from_slice(&[3, 0]);
    }

    fn find_matches(&mut self, text: &[u8]) {
        self.sequences.clear();
        let (mut literal_start, mut previous, mut line) = (0, 0, 0);
        while line < text.len() {
            let end = memchr::memchr(b'\n', &text[line..]).map_or(text.len(), |length| line + length + 1);
            let (mut here, mut there) = (line, previous);
            while here < end && there < line {
                let length = common_prefix(&text[here..end], &text[there..]);
                if length >= MIN_MATCH && here - there < MAX_DISTANCE {
                    self.push(here - literal_start, length, here - there);
                    literal_start = here + length;
                }
                (here, there) = (here + length, there + length);
                // Side by side again at the next quote.
                let quote = memchr::memchr(b'"', &text[here..end]);
                let quote_before = memchr::memchr(b'"', &text[there.min(line)..line]);
                let (Some(quote), Some(quote_before)) = (quote, quote_before) else { break };
                (here, there) = (here + quote, there + quote_before);
            }
            previous = line;
            line = end;
        }
        let literals = (text.len() - literal_start) as u32;
        self.sequences.push(Sequence { literals, length: 0, distance: 0 });
    }

    fn push(&mut self, literals: usize, mut length: usize, distance: usize) {
        let mut literals = literals as u32;
        while length > 0 {
            // No rest shorter than the shortest length there is.
            let part = match length {
                0..=MAX_MATCH => length,
                _ if length - MAX_MATCH < 3 => MAX_MATCH - 3,
                _ => MAX_MATCH,
            };
            self.sequences.push(Sequence { literals, length: part as u16, distance: distance as u16 });
            literals = 0;
            length -= part;
        }
    }

    fn write_block(&self, text: &[u8], bits: &mut Bits<'_>) {
        let (literal_counts, distance_counts) = self.count(text);
        let literal_code = Code::of(&literal_counts, MAX_LITERAL_BITS);
        let distance_code = Code::of(&distance_counts, 15);
        // Not the last block; dynamic codes.
        bits.put(0b100, 3);
        write_codes(&literal_code, &distance_code, bits);
        let mut place = 0;
        for sequence in &self.sequences {
            let literals = &text[place..place + sequence.literals as usize];
            let mut fours = literals.chunks_exact(4);
            for four in &mut fours {
                for byte in four {
                    bits.code(literal_code.codes[usize::from(*byte)]);
                }
                bits.flush();
            }
            for byte in fours.remainder() {
                bits.code(literal_code.codes[usize::from(*byte)]);
            }
            bits.flush();
            place += literals.len() + usize::from(sequence.length);
            if sequence.length > 0 {
                let (symbol, extra, extra_bits) = length_symbol(sequence.length);
                bits.code(literal_code.codes[symbol]);
                bits.add(extra, extra_bits);
                let (symbol, extra, extra_bits) = distance_symbol(sequence.distance);
                bits.code(distance_code.codes[symbol]);
                bits.add(extra, extra_bits);
                bits.flush();
            }
        }
        bits.code(literal_code.codes[END_OF_BLOCK]);
        bits.flush();
    }

    fn count(&self, text: &[u8]) -> ([u32; LITERALS], [u32; DISTANCES]) {
        // Two tables, so that equal bytes side by side do not wait for each other.
        let mut counts = [[0u32; LITERALS]; 2];
        let mut distances = [0; DISTANCES];
        let mut place = 0;
        for sequence in &self.sequences {
            let literals = &text[place..place + sequence.literals as usize];
            let mut pairs = literals.chunks_exact(2);
            for pair in &mut pairs {
                counts[0][usize::from(pair[0])] += 1;
                counts[1][usize::from(pair[1])] += 1;
            }
            if let [byte] = pairs.remainder() {
                counts[0][usize::from(*byte)] += 1;
            }
            place += literals.len() + usize::from(sequence.length);
            if sequence.length > 0 {
                counts[0][length_symbol(sequence.length).0] += 1;
                distances[distance_symbol(sequence.distance).0] += 1;
            }
        }
        let [mut literals, more] = counts;
        for (count, more) in literals.iter_mut().zip(more) {
            *count += more;
        }
        literals[END_OF_BLOCK] = 1;
        (literals, distances)
    }
}

/// How many bytes are equal from the start.
#[inline]
fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    let length = one.len().min(other.len());
    let (one, other) = (&one[..length], &other[..length]);
    let mut equal = 0;
    for (left, right) in one.chunks_exact(8).zip(other.chunks_exact(8)) {
        let left = u64::from_le_bytes(left.try_into().expect("eight bytes"));
        let right = u64::from_le_bytes(right.try_into().expect("eight bytes"));
        if left != right {
            return equal + (left ^ right).trailing_zeros() as usize / 8;
        }
        equal += 8;
    }
    equal + one[equal..].iter().zip(&other[equal..]).take_while(|(left, right)| left == right).count()
}

/// Symbol, extra bits and how many, of a match's length (RFC 1951, 3.2.5).
#[inline]
fn length_symbol(length: u16) -> (usize, u32, u32) {
    match length {
        MAX => (285, 0, 0),
        3..=10 => (254 + usize::from(length), 0, 0),
        _ => {
            let value = u32::from(length) - 3;
            let extra = 29 - value.leading_zeros();
            let symbol = 257 + 4 * extra + (value >> extra);
            (symbol as usize, value & ((1 << extra) - 1), extra)
        }
    }
}

const MAX: u16 = MAX_MATCH as u16;

/// Symbol, extra bits and how many, of a distance.
#[inline]
fn distance_symbol(distance: u16) -> (usize, u32, u32) {
    let value = u32::from(distance) - 1;
    if value < 4 {
        return (value as usize, 0, 0);
    }
    let extra = 30 - value.leading_zeros();
    let symbol = 2 * extra + (value >> extra);
    (symbol as usize, value & ((1 << extra) - 1), extra)
}

/// Writes the lengths of both codes (RFC 1951, 3.2.7).
fn write_codes(literals: &Code<LITERALS>, distances: &Code<DISTANCES>, bits: &mut Bits<'_>) {
    let used = |codes: &[u32]| codes.iter().rposition(|code| *code > 0).map_or(0, |last| last + 1);
    let literal_count = used(&literals.codes).max(257);
    let distance_count = used(&distances.codes).max(1);
    let codes = literals.codes[..literal_count].iter().chain(&distances.codes[..distance_count]);
    let lengths: Vec<u8> = codes.map(|code| *code as u8).collect();
    let mut counts = [0; 19];
    for length in &lengths {
        counts[usize::from(*length)] += 1;
    }
    let code = Code::<19>::of(&counts, 7);
    let order_count = CODE_LENGTH_ORDER
        .iter()
        .rposition(|symbol| code.codes[*symbol] > 0)
        .map_or(4, |last| last + 1)
        .max(4);
    bits.put(literal_count as u32 - 257, 5);
    bits.put(distance_count as u32 - 1, 5);
    bits.put(order_count as u32 - 4, 4);
    for symbol in &CODE_LENGTH_ORDER[..order_count] {
        bits.put(code.codes[*symbol] & 0xff, 3);
    }
    for length in lengths {
        bits.code(code.codes[usize::from(length)]);
        bits.flush();
    }
}

/// Writes bits, the lowest first.
struct Bits<'v> {
    into: &'v mut Vec<u8>,
    /// Where the next whole byte goes; behind it there is room.
    place: usize,
    pending: u64,
    count: u32,
}

impl<'v> Bits<'v> {
    /// Appends to `into`; `room` bytes are enough.
    fn new(into: &'v mut Vec<u8>, room: usize) -> Self {
        let place = into.len();
        into.resize(place + room + 8, 0);
        Self { into, place, pending: 0, count: 0 }
    }

    /// Adds bits; at most 56 between two flushes.
    #[inline]
    fn add(&mut self, bits: u32, count: u32) {
        self.pending |= u64::from(bits) << self.count;
        self.count += count;
    }

    /// Adds a symbol's code.
    #[inline]
    fn code(&mut self, code: u32) {
        self.add(code >> 8, code & 0xff);
    }

    #[inline]
    fn flush(&mut self) {
        let bytes = self.count / 8;
        self.into[self.place..self.place + 8].copy_from_slice(&self.pending.to_le_bytes());
        self.place += bytes as usize;
        // Never 64 bits: there are 63 at most.
        self.pending >>= 8 * bytes;
        self.count &= 7;
    }

    fn put(&mut self, bits: u32, count: u32) {
        self.add(bits, count);
        self.flush();
    }

    /// Fills the last byte and gives the rest of the room back.
    fn finish(mut self) {
        self.count = self.count.next_multiple_of(8);
        self.flush();
        self.into.truncate(self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn decompressed(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut deflate, mut bytes) = (LineDeflate::default(), Vec::new());
        for piece in pieces {
            deflate.piece(piece, &mut bytes);
        }
        LineDeflate::end(&mut bytes);
        let mut text = Vec::new();
        flate2::read::DeflateDecoder::new(&*bytes).read_to_end(&mut text).expect("a deflate stream");
        let mut other = vec![0; text.len()];
        let length = libdeflater::Decompressor::new()
            .deflate_decompress(&bytes, &mut other)
            .expect("a deflate stream");
        assert_eq!(length, text.len());
        assert_eq!(text, other);
        text
    }

    #[test]
    fn texts_of_all_lengths_come_back() {
        let line = b"kube_pod_info{namespace=\"a\",pod=\"b\"} 1\n";
        for length in [0, 1, 2, 5, 38, 39, 80, 257, 258, 259, 260, 261, 262, 600, 40_000, 70_000] {
            let equal: Vec<u8> = std::iter::repeat_n(b'x', length).chain(*b"\n").collect();
            let lines: Vec<u8> = line.iter().copied().cycle().take(length).collect();
            let noise: Vec<u8> =
                (0..length as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            for text in [&equal, &lines, &noise] {
                let twice = [&text[..], &text[..]].concat();
                assert_eq!(decompressed(&[text]), **text, "{length}");
                assert_eq!(decompressed(&[&twice]), twice, "{length}");
            }
        }
        let large: Vec<u8> = line.iter().copied().cycle().take(3 * BLOCK + 7).collect();
        assert_eq!(decompressed(&[&large]), large);
    }

    #[test]
    fn symbols_are_those_of_the_standard() {
        let lengths = [
            (3, 257, 0),
            (10, 264, 0),
            (11, 265, 1),
            (18, 268, 1),
            (19, 269, 2),
            (257, 284, 5),
            (258, 285, 0),
        ];
        for (length, symbol, extra_bits) in lengths {
            let (found, _, bits) = length_symbol(length);
            assert_eq!((found, bits), (symbol, extra_bits), "length {length}");
        }
        let distances = [(1, 0, 0), (4, 3, 0), (5, 4, 1), (9, 6, 2), (24_577, 29, 13), (32_767, 29, 13)];
        for (distance, symbol, extra_bits) in distances {
            let (found, _, bits) = distance_symbol(distance);
            assert_eq!((found, bits), (symbol, extra_bits), "distance {distance}");
        }
    }

    #[test]
    fn codes_stay_within_their_limit() {
        // Fibonacci's numbers give the deepest tree.
        let mut counts = [0; 40];
        let (mut one, mut two) = (1u32, 1);
        for count in &mut counts {
            *count = one;
            (one, two) = (two, one.saturating_add(two));
        }
        for limit in [6, 7, 14, 15] {
            let code = Code::of(&counts, limit);
            let space: u64 = code.codes.iter().map(|code| 1u64 << (16 - (code & 0xff))).sum();
            assert!(code.codes.iter().all(|code| code & 0xff <= u32::from(limit)));
            assert_eq!(space, 1 << 16, "a complete code");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_compressed_comes_back(
            lines in proptest::collection::vec((0..4usize, "[a-z\"=,]{0,12}", any::<u16>()), 0..200),
            noise: Vec<u8>,
            cut in 0..4_000usize,
        ) {
            let mut text = Vec::new();
            for (family, value, number) in lines {
                text.extend_from_slice(
                    format!("family_{family}{{namespace=\"n\",pod=\"{value}\",uid=\"{number:x}\"}} {number}\n").as_bytes(),
                );
            }
            text.extend_from_slice(&noise);
            let (first, second) = text.split_at(cut.min(text.len()));
            prop_assert_eq!(decompressed(&[first, second]), text);
        }
    }
}

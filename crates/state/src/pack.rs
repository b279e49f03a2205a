//! The bytes of a row: varints and numbers.

use outrigger_wire::protobuf::put_varint;

/// Numbers up to here are one byte.
const SMALL: u8 = 250;
const TWO_BYTES: u8 = 251;
const FOUR_BYTES: u8 = 252;
const SIX_BYTES: u8 = 253;
const FLOAT: u8 = 254;

/// Appends a number: a byte for small whole ones, five for a time, nine at most.
pub(crate) fn put_packed_number(number: f64, into: &mut Vec<u8>) {
    let whole = number as u64;
    // The sign of -0 is dropped, as it is when it is written.
    if whole as f64 != number || whole >= 1 << 48 {
        into.push(FLOAT);
        into.extend_from_slice(&number.to_le_bytes());
        return;
    }
    let bytes = whole.to_le_bytes();
    match whole {
        0..=0xfa => into.push(whole as u8),
        0xfb..=0xffff => {
            into.push(TWO_BYTES);
            into.extend_from_slice(&bytes[..2]);
        }
        0x1_0000..=0xffff_ffff => {
            into.push(FOUR_BYTES);
            into.extend_from_slice(&bytes[..4]);
        }
        _ => {
            into.push(SIX_BYTES);
            into.extend_from_slice(&bytes[..6]);
        }
    }
}

/// What a long run of hexadecimal digits may stand behind: the runtimes' ids of containers.
const BEFORE_DIGITS: [&[u8]; 4] = [b"", b"containerd://", b"cri-o://", b"docker://"];

/// Fewer digits are kept as text.
const LEAST_DIGITS: usize = 32;

/// Appends a text with its length before it. The digits of an id are half as many bytes.
pub(crate) fn put_packed_text(text: &[u8], into: &mut Vec<u8>) {
    let Some((before, digits)) = split_id(text) else {
        put_varint((text.len() as u64) << 1, into);
        return into.extend_from_slice(text);
    };
    put_varint((digits.len() as u64 / 2) << 3 | (before as u64) << 1 | 1, into);
    let value = |digit: u8| if digit <= b'9' { digit - b'0' } else { digit - b'a' + 10 };
    into.extend(digits.chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])));
}

/// The digits at the end of an id, and which of [`BEFORE_DIGITS`] they stand behind.
fn split_id(text: &[u8]) -> Option<(usize, &[u8])> {
    if text.len() < LEAST_DIGITS {
        return None;
    }
    let (before, digits) = text.split_at(memchr::memrchr(b'/', text).map_or(0, |slash| slash + 1));
    let all_digits = digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !all_digits || digits.len() < LEAST_DIGITS || digits.len() % 2 != 0 {
        return None;
    }
    Some((BEFORE_DIGITS.iter().position(|each| *each == before)?, digits))
}

/// A text as it is packed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PackedText<'a> {
    Plain(&'a [u8]),
    /// Two digits a byte.
    Id {
        before: &'static [u8],
        digits: &'a [u8],
    },
}

impl PackedText<'_> {
    /// Appends the text.
    #[inline]
    pub(crate) fn put(self, into: &mut Vec<u8>) {
        match self {
            Self::Plain(text) => into.extend_from_slice(text),
            Self::Id { before, digits } => {
                into.extend_from_slice(before);
                into.extend(digits.iter().flat_map(|byte| DIGITS[usize::from(*byte)]));
            }
        }
    }
}

/// Two digits for each byte.
const DIGITS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

/// Reads what this module wrote. The bytes are our own, so the end of them is the end of the row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packed<'a> {
    rest: &'a [u8],
}

impl<'a> Packed<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next varint, or `None` at the end.
    #[inline]
    pub(crate) fn varint(&mut self) -> Option<u32> {
        match *self.rest {
            [first, ref rest @ ..] if first < 0x80 => {
                self.rest = rest;
                Some(u32::from(first))
            }
            [first, second, ref rest @ ..] if second < 0x80 => {
                self.rest = rest;
                Some(u32::from(first & 0x7f) | u32::from(second) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Option<u32> {
        let mut value = 0;
        for (place, byte) in self.rest.iter().enumerate() {
            value |= u32::from(byte & 0x7f) << (7 * place);
            if *byte < 0x80 {
                self.rest = &self.rest[place + 1..];
                return Some(value);
            }
        }
        None
    }

    #[inline]
    pub(crate) fn text(&mut self) -> PackedText<'a> {
        let head = self.varint().unwrap_or(0) as usize;
        if head & 1 == 0 {
            return PackedText::Plain(self.take(head >> 1));
        }
        PackedText::Id { before: BEFORE_DIGITS[head >> 1 & 3], digits: self.take(head >> 3) }
    }

    #[inline]
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    #[inline]
    pub(crate) fn number(&mut self) -> f64 {
        let Some((first, rest)) = self.rest.split_first() else { return 0.0 };
        self.rest = rest;
        match *first {
            small @ 0..=SMALL => f64::from(small),
            TWO_BYTES => self.whole::<2>() as f64,
            FOUR_BYTES => self.whole::<4>() as f64,
            SIX_BYTES => self.whole::<6>() as f64,
            _ => f64::from_bits(self.whole::<8>()),
        }
    }

    #[inline]
    fn whole<const N: usize>(&mut self) -> u64 {
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(self.take(N));
        u64::from_le_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unpacked(packed: &mut Packed<'_>) -> Vec<u8> {
        let mut text = Vec::new();
        packed.text().put(&mut text);
        text
    }

    #[test]
    fn ids_take_half_a_byte_a_digit() {
        let digits = "0123456789abcdef".repeat(4);
        for (text, bytes) in [
            (format!("containerd://{digits}"), 34),
            (format!("docker://{digits}"), 34),
            (digits.clone(), 34),
            (digits[..32].to_owned(), 18),
            (digits[..31].to_owned(), 32),
            (digits[..33].to_owned(), 34),
            (format!("other://{digits}"), 74),
            (digits.to_uppercase(), 66),
            (format!("{digits}/"), 67),
            (String::new(), 1),
        ] {
            let mut packed = Vec::new();
            put_packed_text(text.as_bytes(), &mut packed);
            assert_eq!(packed.len(), bytes, "{text}");
            assert_eq!(unpacked(&mut Packed::new(&packed)), text.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn texts_are_read_as_they_were_packed(
            text in "(containerd://|cri-o://|docker://|x/)?[0-9a-f]{30,70}[g/]?|.{0,200}",
        ) {
            let mut packed = Vec::new();
            put_packed_text(text.as_bytes(), &mut packed);
            prop_assert_eq!(unpacked(&mut Packed::new(&packed)), text.as_bytes());
        }

        #[test]
        fn numbers_are_read_as_they_were_packed(number: f64, whole: u64, text: Vec<u8>) {
            for number in [number, whole as f64, (whole >> 40) as f64, (whole >> 20) as f64, -(whole as f64)] {
                let mut bytes = Vec::new();
                put_packed_number(number, &mut bytes);
                put_packed_text(&text, &mut bytes);
                let mut packed = Packed::new(&bytes);
                let read = packed.number();
                prop_assert!(read == number || read.to_bits() == number.to_bits());
                prop_assert_eq!(unpacked(&mut packed), text.clone());
                prop_assert!(packed.varint().is_none());
            }
        }
    }
}

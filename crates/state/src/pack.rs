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
        0..=0xffff => {
            into.push(TWO_BYTES);
            into.extend_from_slice(&bytes[..2]);
        }
        0..=0xffff_ffff => {
            into.push(FOUR_BYTES);
            into.extend_from_slice(&bytes[..4]);
        }
        _ => {
            into.push(SIX_BYTES);
            into.extend_from_slice(&bytes[..6]);
        }
    }
}

/// Appends bytes with their length before them.
pub(crate) fn put_packed_text(text: &[u8], into: &mut Vec<u8>) {
    put_varint(text.len() as u64, into);
    into.extend_from_slice(text);
}

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
    pub(crate) fn text(&mut self) -> &'a [u8] {
        let length = self.varint().unwrap_or(0) as usize;
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        text
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
        let (taken, rest) = self.rest.split_at(N);
        bytes[..N].copy_from_slice(taken);
        self.rest = rest;
        u64::from_le_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_packed(number: f64, whole: u64, text: Vec<u8>) {
            for number in [number, whole as f64, (whole >> 40) as f64, (whole >> 20) as f64, -(whole as f64)] {
                let mut bytes = Vec::new();
                put_packed_number(number, &mut bytes);
                put_packed_text(&text, &mut bytes);
                let mut packed = Packed::new(&bytes);
                let read = packed.number();
                prop_assert!(read == number || read.to_bits() == number.to_bits());
                prop_assert_eq!(packed.text(), &*text);
                prop_assert!(packed.varint().is_none());
            }
        }
    }
}

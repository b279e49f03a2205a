//! Base64, for `!!binary` values.

/// Standard base64 with padding; line breaks are skipped.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let characters: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    if !characters.len().is_multiple_of(4) {
        return None;
    }
    let mut bytes = Vec::with_capacity(characters.len() / 4 * 3);
    let groups = characters.len() / 4;
    for (i, group) in characters.chunks(4).enumerate() {
        let padding = group.iter().rev().take_while(|byte| **byte == b'=').count();
        if padding > 2 || (padding > 0 && i + 1 < groups) {
            return None;
        }
        let mut bits: u32 = 0;
        for byte in &group[..4 - padding] {
            bits = bits << 6 | u32::from(sextet(*byte)?);
        }
        bits <<= 6 * padding;
        bytes.extend(&bits.to_be_bytes()[1..4 - padding]);
    }
    Some(bytes)
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_the_standard_alphabet_with_padding() {
        for (text, expected) in [
            ("", Some(&b""[..])),
            ("aA==", Some(b"h")),
            ("aGk=", Some(b"hi")),
            ("aGkh", Some(b"hi!")),
            ("+/8=", Some(b"\xfb\xff")),
            ("aG\nkh", Some(b"hi!")),
            ("aGk", None),
            ("a===", None),
            ("aA==aA==", None),
            ("a-k=", None),
        ] {
            assert_eq!(decode_base64(text).as_deref(), expected, "{text:?}");
        }
    }
}

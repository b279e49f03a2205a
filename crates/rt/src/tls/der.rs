//! As much of DER (ITU-T X.690) as reading certificates takes.

pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const EXPLICIT_VERSION: u8 = 0xa0;

/// Content of the element with this tag at the start of `input`, and what follows it.
pub(crate) fn element(input: &[u8], expected_tag: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = any_element(input)?;
    (tag == expected_tag).then_some((content, rest))
}

/// Tag and content of the element at the start of `input`, and what follows it.
pub(crate) fn any_element(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let octets = usize::from(first & 0x7f);
        if octets == 0 || octets > 4 || rest.len() < octets {
            return None;
        }
        length = rest[..octets].iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
        rest = &rest[octets..];
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The elements of a content, up to the first that is broken.
pub(crate) fn elements(mut input: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, content, rest) = any_element(input)?;
        input = rest;
        Some((tag, content))
    })
}

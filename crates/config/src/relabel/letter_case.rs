//! Upper and lower case one character at a time, as Go's `strings.ToUpper` and `strings.ToLower`.
//!
//! Rust's own mapping may turn one character into several (`ß` into `SS`); Go's never does.

/// `text` in lower case.
pub(super) fn lower(text: &str) -> String {
    text.chars().map(lower_char).collect()
}

/// `text` in upper case.
pub(super) fn upper(text: &str) -> String {
    text.chars().map(upper_char).collect()
}

fn lower_char(c: char) -> char {
    match c {
        'İ' => 'i',
        _ => only(c.to_lowercase()).unwrap_or(c),
    }
}

fn upper_char(c: char) -> char {
    match u32::from(c) {
        // Greek with iota subscript: the simple mapping is the title-case letter.
        code @ (0x1f80..=0x1f87 | 0x1f90..=0x1f97 | 0x1fa0..=0x1fa7) => char::from_u32(code + 8).unwrap_or(c),
        code @ (0x1fb3 | 0x1fc3 | 0x1ff3) => char::from_u32(code + 9).unwrap_or(c),
        _ => only(c.to_uppercase()).unwrap_or(c),
    }
}

fn only(mut chars: impl Iterator<Item = char>) -> Option<char> {
    let first = chars.next()?;
    chars.next().is_none().then_some(first)
}

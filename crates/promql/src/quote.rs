//! Go's string literals, as PromQL has them.

use std::fmt::Write as _;

/// `text` as a double-quoted literal (Go `strconv.Quote`).
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            ' '..='~' => out.push(char),
            '\0'..='\u{7f}' => _ = write!(out, "\\x{:02x}", char as u32),
            _ if is_printable(char) => out.push(char),
            '\u{80}'..='\u{ffff}' => _ = write!(out, "\\u{:04x}", char as u32),
            _ => _ = write!(out, "\\U{:08x}", char as u32),
        }
    }
    out.push('"');
    out
}

fn is_printable(char: char) -> bool {
    // `escape_debug` leaves a character after another one alone exactly where it is printable.
    !char.is_whitespace() && char.escape_debug().count() == 1
}

/// The text of a literal of any of the three kinds; `None` where it is not one. Bytes that are not UTF-8
/// (`"\xff"`) become U+FFFD.
pub(crate) fn unquote(literal: &str) -> Option<String> {
    let quote = literal.chars().next()?;
    let inner = literal.get(1..literal.len().checked_sub(1)?)?;
    if !literal.ends_with(quote) || literal.len() < 2 {
        return None;
    }
    if quote == '`' {
        return (!inner.contains('`')).then(|| inner.to_owned());
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        if char == '\\' {
            unescape(&mut chars, quote, &mut bytes)?;
        } else if char == quote || char == '\n' {
            return None;
        } else {
            push(&mut bytes, char);
        }
    }
    Some(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

fn push(bytes: &mut Vec<u8>, char: char) {
    bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

fn unescape(chars: &mut std::str::Chars<'_>, quote: char, bytes: &mut Vec<u8>) -> Option<()> {
    let escaped = chars.next()?;
    let simple = match escaped {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        'x' => {
            bytes.push(u8::try_from(digits(chars, 2, 16)?).ok()?);
            return Some(());
        }
        '0'..='7' => {
            let first = escaped.to_digit(8)?;
            bytes.push(u8::try_from(first * 64 + digits(chars, 2, 8)?).ok()?);
            return Some(());
        }
        'u' | 'U' => {
            let length = if escaped == 'u' { 4 } else { 8 };
            push(bytes, char::from_u32(digits(chars, length, 16)?)?);
            return Some(());
        }
        other if other == quote => {
            push(bytes, other);
            return Some(());
        }
        _ => return None,
    };
    bytes.push(simple);
    Some(())
}

fn digits(chars: &mut std::str::Chars<'_>, length: usize, radix: u32) -> Option<u32> {
    let mut value = 0u32;
    for _ in 0..length {
        value = value.checked_mul(radix)?.checked_add(chars.next()?.to_digit(radix)?)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_become_text() {
        for (literal, text) in [
            (r#""a\"b""#, Some("a\"b")),
            (r"'it\'s'", Some("it's")),
            (r#"'"'"#, Some("\"")),
            (r"`\d`", Some("\\d")),
            (r#""\x41\101\u00e9\U0001F600""#, Some("AAé😀")),
            (r#""\q""#, None),
            (r#""open"#, None),
            (r#"""#, None),
        ] {
            assert_eq!(unquote(literal).as_deref(), text, "{literal}");
        }
    }

    #[test]
    fn text_becomes_a_literal() {
        assert_eq!(quote("a\"\\\n\u{0}é\u{200b}"), "\"a\\\"\\\\\\n\\x00é\\u200b\"");
    }
}

//! Where YAML 1.1 as libyaml reads it and YAML 1.2 differ: in double quotes only the former knows the escape `\'` and
//! only the latter `\/`; only the former lets a comment follow a quote or bracket at once.

/// The escapes that libyaml knows, the line break included.
const KNOWN: &str = "0abt\tnvfe \"'\\N_LPxuU\n\r";

/// Offsets of the escapes in the double-quoted scalar that begins at `quote`, with the character behind the backslash.
fn escapes(text: &str, quote: usize) -> impl Iterator<Item = (usize, char)> {
    let mut characters = text.get(quote + 1..).unwrap_or("").char_indices();
    std::iter::from_fn(move || {
        loop {
            match characters.next()? {
                (_, '"') => return None,
                (at, '\\') => return Some((quote + 1 + at, characters.next()?.1)),
                _ => {}
            }
        }
    })
}

/// The first escape in a scalar that libyaml does not know.
pub(super) fn first_unknown(text: &str, quote: usize) -> Option<(usize, char)> {
    escapes(text, quote).find(|(_, escaped)| !KNOWN.contains(*escaped))
}

/// A place where the parser stopped at something that only libyaml reads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stop {
    /// An unknown escape in the double-quoted scalar that begins here.
    Escape(usize),
    /// A comment that begins here, with nothing before it.
    Comment(usize),
}

/// The text, rewritten so that it means the same to the parser; `None` when libyaml would stop there too.
pub(super) fn rewrite(text: &str, stop: Stop) -> Option<String> {
    match stop {
        Stop::Escape(quote) => without_escaped_quotes(text, quote),
        Stop::Comment(at) if text[at..].starts_with('#') => Some(format!("{} {}", &text[..at], &text[at..])),
        Stop::Comment(_) => None,
    }
}

fn without_escaped_quotes(text: &str, quote: usize) -> Option<String> {
    let mut rewritten = String::new();
    let mut copied = 0;
    for (at, _) in escapes(text, quote).filter(|(_, escaped)| *escaped == '\'') {
        rewritten.push_str(&text[copied..at]);
        rewritten.push_str("\\x27");
        copied = at + 2;
    }
    rewritten.push_str(&text[copied..]);
    (copied > 0).then_some(rewritten)
}

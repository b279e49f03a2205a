//! Regular expressions as .NET's engine reads them in its ECMAScript mode (`github.com/dlclark/regexp2`), written as
//! the `fancy-regex` crate reads them: `\d`, `\w` and `\s` are ASCII, a bracket within a class and a brace that is no
//! repetition stand for themselves.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

type Characters<'a> = Peekable<Chars<'a>>;

/// # Errors
/// What neither of the two knows.
pub(super) fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\\' => escape(&mut rest, &mut out, false)?,
            '[' => class(&mut rest, &mut out)?,
            '{' if !is_repetition(rest.clone()) => out.push_str("\\{"),
            '{' => {
                out.push('{');
                for digit in rest.by_ref() {
                    out.push(digit);
                    if digit == '}' {
                        break;
                    }
                }
            }
            '}' => out.push_str("\\}"),
            _ => out.push(character),
        }
    }
    Ok(out)
}

/// `3}`, `3,}` or `3,5}`.
fn is_repetition(rest: Characters<'_>) -> bool {
    let text: String = rest.take_while(|character| *character != '}').take(24).collect();
    let (least, most) = text.split_once(',').unwrap_or((&text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !least.is_empty() && digits(least) && digits(most)
}

fn class(rest: &mut Characters<'_>, out: &mut String) -> Result<(), String> {
    out.push('[');
    if rest.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    if rest.next_if_eq(&']').is_some() {
        out.push_str("\\]");
    }
    // Whether a dash now would join what stands before it with what follows.
    let mut can_join = false;
    while let Some(character) = rest.next() {
        match character {
            ']' => {
                out.push(']');
                return Ok(());
            }
            '\\' => {
                can_join = !rest.peek().is_some_and(|next| "dDwWsSpP".contains(*next));
                escape(rest, out, true)?;
            }
            '-' if can_join && rest.peek().is_some_and(|next| *next != ']') => {
                out.push('-');
                can_join = false;
                match rest.peek().copied() {
                    Some('\\') | None => {}
                    Some(end) => {
                        rest.next();
                        literal(end, out);
                    }
                }
            }
            _ => {
                literal(character, out);
                can_join = true;
            }
        }
    }
    Err("a [ is not closed".to_owned())
}

/// A character within a class that stands for itself.
fn literal(character: char, out: &mut String) {
    if character.is_ascii_punctuation() {
        out.push('\\');
    }
    out.push(character);
}

fn escape(rest: &mut Characters<'_>, out: &mut String, in_class: bool) -> Result<(), String> {
    let Some(character) = rest.next() else { return Err("a \\ stands at the end".to_owned()) };
    let bracketed = |inner: &str| if in_class { inner.to_owned() } else { format!("[{inner}]") };
    match character {
        'd' => out.push_str(&bracketed("0-9")),
        'D' => out.push_str("[^0-9]"),
        'w' => out.push_str(&bracketed("a-zA-Z0-9_")),
        'W' => out.push_str("[^a-zA-Z0-9_]"),
        's' => out.push_str(&bracketed(" \\t\\n\\x0B\\f\\r")),
        'S' => out.push_str("[^ \\t\\n\\x0B\\f\\r]"),
        'b' if in_class => out.push_str("\\x08"),
        'b' | 'B' | 'A' | 'z' | 'Z' | 'G' | 'k' if !in_class => {
            out.push('\\');
            out.push(character);
        }
        'n' | 'r' | 't' | 'f' | 'v' | 'a' | 'p' | 'P' => {
            out.push('\\');
            out.push(character);
        }
        'e' => out.push_str("\\x1B"),
        'x' => code(rest, 2, out)?,
        'u' => code(rest, 4, out)?,
        'c' => match rest.next() {
            Some(letter) if letter.is_ascii_alphabetic() => {
                let _ = write!(out, "\\x{:02X}", letter as u8 & 0x1f);
            }
            _ => return Err("a letter must follow \\c".to_owned()),
        },
        '0' => out.push_str("\\x00"),
        '1'..='9' if !in_class => {
            out.push('\\');
            out.push(character);
        }
        _ if character.is_ascii_alphanumeric() => return Err(format!("\\{character} has no meaning")),
        _ if character.is_ascii_punctuation() && !matches!(character, '<' | '>' | '_') => {
            out.push('\\');
            out.push(character);
        }
        _ => out.push(character),
    }
    Ok(())
}

/// `digits` hexadecimal digits.
fn code(rest: &mut Characters<'_>, digits: usize, out: &mut String) -> Result<(), String> {
    let text: String = rest.by_ref().take(digits).collect();
    if text.len() != digits || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("{digits} hexadecimal digits are missing"));
    }
    let _ = write!(out, "\\x{{{text}}}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::compile;

    #[test]
    fn expressions_mean_what_they_mean_in_ecmascript() {
        let cases = [
            ("kube_pod", "xkube_podx", true),
            ("^kube_(?!pod).*$", "kube_pod_info", false),
            ("^kube_(?!pod).*$", "kube_node_info", true),
            ("(?<=kube_)pod", "kube_pod_info", true),
            ("(?<!kube_.*)info", "kube_pod_info", false),
            (r"\d\w\s", "1a ", true),
            (r"^\w+$", "kübe", false),
            (r"^\d$", "\u{0663}", false),
            ("[[]", "[", true),
            ("[a&&b]", "&", true),
            ("[a&&b]", "b", true),
            ("[~~a]", "~", true),
            ("[]a]", "]", true),
            ("[^]a]", "b", true),
            (r"[\d-z]", "-", true),
            ("[a-]", "-", true),
            ("[-a]", "-", true),
            ("[+--]", ",", true),
            (r"[\w]", "_", true),
            (r"[^\D]", "5", true),
            (r"[\b]", "\u{8}", true),
            ("a{2}", "aa", true),
            ("a{2,}", "a", false),
            ("a{", "a{", true),
            ("a{b}", "a{b}", true),
            ("{", "{", true),
            ("a}", "a}", true),
            (r"kube\_pod\/\-\<", "kube_pod/-<", true),
            (r"\u006bube\x5fpod", "kube_pod", true),
            (r"(a)\1", "aa", true),
            (r"(?<n>a)\k<n>", "aa", true),
            ("(?i)KUBE", "kube", true),
            ("", "anything", true),
        ];
        for (pattern, text, want) in cases {
            let compiled = compile(pattern).unwrap_or_else(|problem| panic!("{pattern}: {problem}"));
            assert_eq!(compiled.is_match(text).ok(), Some(want), "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for pattern in ["*a", "(", "[a", "a\\", "[z-a]", r"\h", r"\u12", "(?<n>a", "a**"] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
    }
}

//! What a scalar means (go-yaml v2 `resolve.go`): YAML 1.1, so `yes` and `on` are booleans and `010` is 8.

/// A scalar as written, with quotes and escapes undone.
#[derive(Debug)]
pub(crate) struct Scalar {
    text: Box<str>,
    /// Written without quotes and not as a block.
    plain: bool,
    tag: Tag,
}

/// The tags that change how a scalar is read; all others mean text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    None,
    Str,
    Bool,
    Int,
    Float,
    Null,
    Other,
}

/// What a scalar resolves to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Resolved {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text,
}

impl Scalar {
    pub(crate) fn new(text: &str, plain: bool, tag: Tag) -> Self {
        Self { text: text.into(), plain, tag }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Written without quotes and not as a block.
    pub(crate) fn is_plain(&self) -> bool {
        self.plain
    }

    pub(crate) fn tag(&self) -> Tag {
        self.tag
    }

    pub(crate) fn is_null(&self) -> bool {
        self.tag == Tag::Null || (self.plain && self.tag == Tag::None && is_null_word(&self.text))
    }

    /// Whether go-yaml hands nothing to a type that reads itself (durations, URLs, roles): not for `Null` or `NULL`,
    /// which such a type sees as empty text.
    pub(crate) fn is_absent(&self) -> bool {
        self.is_null() && !matches!(&*self.text, "Null" | "NULL")
    }

    /// Whether this is the key `<<` of a merge.
    pub(crate) fn is_merge_key(&self) -> bool {
        &*self.text == "<<" && self.plain && self.tag == Tag::None
    }

    pub(crate) fn resolve(&self) -> Resolved {
        match self.tag {
            Tag::None if !self.plain => Resolved::Text,
            Tag::Str | Tag::Other => Resolved::Text,
            Tag::Null => Resolved::Null,
            Tag::None | Tag::Bool | Tag::Int => resolve_plain(&self.text),
            Tag::Float => match resolve_plain(&self.text) {
                Resolved::Int(value) => Resolved::Float(value as f64),
                other => other,
            },
        }
    }
}

fn is_null_word(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn resolve_plain(text: &str) -> Resolved {
    match text {
        _ if is_null_word(text) => Resolved::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Resolved::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Resolved::Bool(false)
        }
        ".nan" | ".NaN" | ".NAN" => Resolved::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Resolved::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Resolved::Float(f64::NEG_INFINITY),
        _ => resolve_number(text).unwrap_or(Resolved::Text),
    }
}

fn resolve_number(text: &str) -> Option<Resolved> {
    match text.as_bytes().first()? {
        b'.' => decimal(text).map(Resolved::Float),
        b'0'..=b'9' | b'+' | b'-' => {
            let digits = text.replace('_', "");
            integer(&digits).map(Resolved::Int).or_else(|| decimal(&digits).map(Resolved::Float))
        }
        _ => None,
    }
}

/// Go's `ParseInt` and `ParseUint` with base 0.
fn integer(text: &str) -> Option<i128> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = unsigned.to_ascii_lowercase();
    let (digits, radix) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16),
        [b'0', b'b', ..] => (&lower[2..], 2),
        [b'0', b'o', ..] => (&lower[2..], 8),
        [b'0', _, ..] => (&lower[1..], 8),
        _ => (&*lower, 10),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    let value = if negative { -value } else { value };
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value).then_some(value)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn decimal(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let shaped = digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent));
    if shaped { text.parse().ok().filter(|value: &f64| value.is_finite()) } else { None }
}

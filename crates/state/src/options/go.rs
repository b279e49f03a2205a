//! Values as Go's `strconv` and `time` read them.

use std::time::Duration;

/// `strconv.ParseBool`.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// `strconv.ParseInt` with base 0: `0x`, `0b`, `0o` and `0` prefixes, `_` between digits.
pub(super) fn parse_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = [("0x", 16), ("0b", 2), ("0o", 8)]
        .into_iter()
        .find_map(|(prefix, radix)| Some((radix, lower.strip_prefix(prefix)?)))
        .or_else(|| Some((8, lower.strip_prefix('0').filter(|rest| !rest.is_empty())?)))
        .unwrap_or((10, lower.as_str()));
    if digits.is_empty() || digits.contains("__") || digits.ends_with('_') || digits.contains(['+', '-']) {
        return None;
    }
    if radix == 10 && digits.contains('_') {
        return None;
    }
    let value = i128::from_str_radix(&digits.replace('_', ""), radix).ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

/// `time.ParseDuration`, for durations that are not negative.
///
/// # Errors
/// What is wrong with it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 30s, 1m30s or 500ms");
    if text.starts_with('-') {
        return Err(format!("{text:?} is negative"));
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut nanoseconds = 0u128;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => return Err(format!("{text:?} has no unit (write {text}s for seconds)")),
            _ => return Err(wrong()),
        };
        nanoseconds += scaled(number, unit).ok_or_else(wrong)?;
        rest = after;
    }
    let nanoseconds = i64::try_from(nanoseconds).map_err(|_| format!("{text:?} is longer than 292 years"))?;
    Ok(Duration::from_nanos(nanoseconds.unsigned_abs()))
}

/// `number` with an optional fraction, times `unit`.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || whole.len() > 19 || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let digits = &fraction[..fraction.len().min(15)];
    let part: u128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    Some(whole * unit + part * unit / 10u128.pow(u32::try_from(digits.len()).ok()?))
}

/// The name that `typed` was probably meant to be.
pub(super) fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = 1 + typed.len() / 5;
    names
        .filter(|name| name.len().abs_diff(typed.len()) <= limit)
        .map(|name| (distance(typed.as_bytes(), name.as_bytes()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Levenshtein's.
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, byte) in left.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, other) in right.iter().enumerate() {
            let cost = diagonal + usize::from(byte != other);
            diagonal = row[column + 1];
            row[column + 1] = cost.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        let cases = [
            ("0", Some(0)),
            ("-7", Some(-7)),
            ("+8", Some(8)),
            ("0x1F", Some(31)),
            ("010", Some(8)),
            ("0b11", Some(3)),
            ("0x_1", Some(1)),
            ("1_000", None),
            ("08", None),
            ("", None),
            ("-", None),
            ("1.5", None),
            ("9223372036854775808", None),
            ("-9223372036854775808", Some(i64::MIN)),
        ];
        for (text, want) in cases {
            assert_eq!(parse_int(text), want, "{text}");
        }
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let cases = [
            ("1m30s", Some(90_000)),
            ("1.5s", Some(1_500)),
            (".5m", Some(30_000)),
            ("2h", Some(7_200_000)),
            ("0", Some(0)),
            ("250ms", Some(250)),
            ("60", None),
            ("s", None),
            ("1d", None),
            ("", None),
            (".", None),
            (".s", None),
            ("-1s", None),
            ("1.2.3s", None),
            ("9999999999h", None),
            ("99999999999999999999h", None),
        ];
        for (text, want) in cases {
            let read = parse_duration(text).ok();
            assert_eq!(read, want.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn a_slip_finds_its_name() {
        let names = ["resources", "namespaces", "namespaces-denylist"];
        for (typed, want) in [
            ("resource", Some("resources")),
            ("namespace", Some("namespaces")),
            ("namspaces-denylist", Some("namespaces-denylist")),
            ("foo", None),
        ] {
            assert_eq!(nearest(typed, names.into_iter()), want, "{typed}");
        }
    }
}

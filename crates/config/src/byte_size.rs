//! Sizes such as `10MB` (`alecthomas/units` `Base2Bytes`): every unit is a power of 1024, with or without `i`.

/// Parses a signed sequence of numbers with units; `None` when it is not one or overflows.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let size = parse_with(rest, "iB").or_else(|| parse_with(rest, "B"))?;
    let size = if negative { -size } else { size };
    (-9_223_372_036_854_775_808.0..=9_223_372_036_854_775_807.0).contains(&size).then_some(size as i64)
}

fn parse_with(text: &str, suffix: &str) -> Option<f64> {
    if text.is_empty() {
        return None;
    }
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let mut end = digits;
        if rest[end..].starts_with('.') {
            end += 1 + rest[end + 1..].bytes().take_while(u8::is_ascii_digit).count();
        }
        if end == 0 || &rest[..end] == "." || end > 40 {
            return None;
        }
        // Go reads both parts as 63-bit integers.
        let fraction = rest[..end].get(digits + 1..).unwrap_or("");
        if [&rest[..digits], fraction].iter().any(|part| !part.is_empty() && part.parse::<i64>().is_err()) {
            return None;
        }
        let number: f64 = rest[..end].parse().ok()?;
        let unit = rest[end..].bytes().take_while(|byte| *byte != b'.' && !byte.is_ascii_digit()).count();
        sum += number * factor(rest.get(end..end + unit)?, suffix)?;
        rest = &rest[end + unit..];
    }
    Some(sum)
}

fn factor(unit: &str, suffix: &str) -> Option<f64> {
    if unit == "B" {
        return Some(1.0);
    }
    let power = match unit.strip_suffix(suffix)? {
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        "P" => 5,
        "E" => 6,
        _ => return None,
    };
    Some(1024f64.powi(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_the_units_package_parses() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0B", Some(0)),
            ("15B", Some(15)),
            ("10KB", Some(10 << 10)),
            ("10KiB", Some(10 << 10)),
            ("1.5MB", Some(3 << 19)),
            (".5KB", Some(512)),
            ("1MB512KB", Some((1 << 20) + (512 << 10))),
            ("-1KB", Some(-1024)),
            ("7EB", Some(7 << 60)),
            ("8EB", Some(i64::MAX)),
            ("9EB", None),
            ("100", None),
            ("1kB", None),
            ("1MiB1KB", None),
            ("", None),
            ("MB", None),
            (".B", None),
            ("1 MB", None),
            ("1mb", None),
            ("1MBé", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}

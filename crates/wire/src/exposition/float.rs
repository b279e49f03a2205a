//! Floats as Go's `strconv` reads and writes them.

use outrigger_model::sample::normal_nan;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ParseValueError {
    Syntax,
    Range,
}

/// The value of a sample: Go's `ParseFloat` without hexadecimal floats and digit separators. NaN becomes the
/// canonical one.
#[inline]
pub(super) fn parse_value(text: &[u8]) -> Result<f64, ParseValueError> {
    match small_integer(text).or_else(|| short_decimal(text)) {
        Some(value) => Ok(value),
        None => parse_decimal(text),
    }
}

/// Up to 15 digits are an exact integer.
#[inline]
fn small_integer(text: &[u8]) -> Option<f64> {
    if text.len() > 15 || text.is_empty() {
        return None;
    }
    let mut sum = 0u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum = sum * 10 + u64::from(digit);
    }
    Some(sum as f64)
}

/// The powers of ten that a float holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Up to 2^53, times or by a power of ten that is exact, too, is rounded once and so right (W. D. Clinger, "How to read
/// floating point numbers accurately", 1990). `None` for all other texts, be they numbers or not.
#[inline]
fn short_decimal(text: &[u8]) -> Option<f64> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (mut mantissa, mut fraction) = (0u64, 0i32);
    let mut at = 0;
    let mut point = None;
    while let Some(&byte) = unsigned.get(at) {
        // One more digit could overflow.
        if at == 19 {
            return None;
        }
        match byte.wrapping_sub(b'0') {
            digit @ 0..=9 => mantissa = mantissa * 10 + u64::from(digit),
            _ if byte == b'.' && point.is_none() => point = Some(at),
            _ => break,
        }
        at += 1;
    }
    if let Some(point) = point {
        fraction = (at - point - 1) as i32;
    }
    let digits = at - usize::from(point.is_some());
    if digits == 0 || mantissa > 1 << 53 {
        return None;
    }
    let exponent = match &unsigned[at..] {
        [] => 0,
        [b'e' | b'E', rest @ ..] => short_exponent(rest)?,
        _ => return None,
    };
    let exponent = exponent - fraction;
    let power = *POWERS.get(exponent.unsigned_abs() as usize)?;
    let value = if exponent < 0 { mantissa as f64 / power } else { mantissa as f64 * power };
    Some(if negative { -value } else { value })
}

/// One or two digits with or without a sign.
#[inline]
fn short_exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i32::from(byte - b'0'));
    let size = match digits {
        [one] => digit(*one)?,
        [ten, one] => digit(*ten)? * 10 + digit(*one)?,
        _ => return None,
    };
    Some(if negative { -size } else { size })
}

fn parse_decimal(text: &[u8]) -> Result<f64, ParseValueError> {
    // Rust, unlike Go, takes a sign before nan.
    let signed_nan = matches!(text, [b'+' | b'-', b'n' | b'N', ..]);
    let text = std::str::from_utf8(text).map_err(|_| ParseValueError::Syntax)?;
    let value: f64 = text.parse().map_err(|_| ParseValueError::Syntax)?;
    if value.is_nan() {
        return if signed_nan { Err(ParseValueError::Syntax) } else { Ok(normal_nan()) };
    }
    if value.is_infinite() && !text.contains(['i', 'I']) {
        return Err(ParseValueError::Range);
    }
    Ok(value)
}

/// Go's conversion of a float to an `int64`, which on amd64 is the smallest number where the float does not fit.
pub(super) fn to_int64(value: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&value) { value as i64 } else { i64::MIN }
}

/// Go's `ParseFloat` in full; `None` where it gives an error.
pub fn parse_go(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = if text.contains('_') {
        if !separators_are_fine(unsigned) {
            return None;
        }
        text.replace('_', "")
    } else {
        text.to_owned()
    };
    let hexadecimal = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")).is_some();
    if hexadecimal {
        return parse_hexadecimal(&digits);
    }
    parse_decimal(digits.as_bytes()).ok()
}

/// Each `_` stands between digits, or between `0x` and a digit.
fn separators_are_fine(unsigned: &str) -> bool {
    let hexadecimal = unsigned.starts_with("0x") || unsigned.starts_with("0X");
    let prefixed = hexadecimal || ["0b", "0B", "0o", "0O"].iter().any(|prefix| unsigned.starts_with(prefix));
    let is_digit = |byte: u8| byte.is_ascii_digit() || (hexadecimal && byte.is_ascii_hexdigit());
    let bytes = &unsigned.as_bytes()[if prefixed { 2 } else { 0 }..];
    (0..bytes.len()).filter(|&at| bytes[at] == b'_').all(|at| {
        let before = if at == 0 { prefixed } else { is_digit(bytes[at - 1]) };
        before && bytes.get(at + 1).is_some_and(|&byte| is_digit(byte))
    })
}

/// `[+-]0x1.8p-3`, without separators.
fn parse_hexadecimal(text: &str) -> Option<f64> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, exponent) = text[2..].split_once(['p', 'P'])?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut exponent = parse_exponent(exponent)?;
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // 60 bits of mantissa; what is cut off only matters as being more than nothing.
    let mut mantissa = 0u64;
    for digit in whole.chars().chain(fraction.chars()) {
        let digit = u64::from(digit.to_digit(16)?);
        if mantissa >> 56 == 0 {
            mantissa = mantissa << 4 | digit;
        } else {
            mantissa |= u64::from(digit != 0);
            exponent += 4;
        }
    }
    exponent -= 4 * i64::try_from(fraction.len()).ok()?;
    let value = scale(mantissa, exponent);
    value.is_finite().then_some(if negative { -value } else { value })
}

fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse().unwrap_or(i64::from(i32::MAX)).min(i64::from(i32::MAX));
    Some(if text.starts_with('-') { -size } else { size })
}

/// `mantissa * 2^exponent`, rounded once, half to even.
fn scale(mantissa: u64, exponent: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let bits = i64::from(64 - mantissa.leading_zeros());
    // The exponent of the lowest bit that the result can hold.
    let lowest = (exponent + bits - 53).max(-1074);
    if lowest + 53 > 1024 + 1 {
        return f64::INFINITY;
    }
    let drop = lowest - exponent;
    let kept = match u32::try_from(drop) {
        Err(_) => mantissa << drop.unsigned_abs(),
        Ok(drop) if drop > 64 => 0,
        Ok(drop) => {
            let wide = u128::from(mantissa);
            let half = (1u128 << drop) >> 1;
            let (kept, rest) = (wide >> drop, wide & ((1u128 << drop) - 1));
            let up = rest > half || (rest == half && half > 0 && kept & 1 == 1);
            (kept + u128::from(up)) as u64
        }
    };
    // Both factors and the product are exact, or the product overflows to infinity.
    let high = lowest.max(-1000);
    kept as f64 * 2f64.powi(high as i32) * 2f64.powi((lowest - high) as i32)
}

/// As OpenMetrics writes `le` and `quantile` (Prometheus `labels.FormatOpenMetricsFloat`): the shortest digits that
/// read back as the same number, always with a point or an exponent.
pub(super) fn format_open_metrics(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value == 0.0 {
        return "0.0".to_owned();
    }
    let (digits, exponent) = shortest(value);
    // Go's %g with the shortest digits takes the scientific form from a million on and below a ten-thousandth.
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = plain(&digits, exponent);
    if plain.contains('.') { plain } else { plain + ".0" }
}

/// `-1.234e2` as `-123.4`.
fn plain(digits: &str, exponent: i32) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let digits = digits.replace('.', "");
    match usize::try_from(exponent) {
        Ok(before) if digits.len() > before + 1 => {
            format!("{sign}{}.{}", &digits[..=before], &digits[before + 1..])
        }
        Ok(before) => format!("{sign}{digits:0<width$}", width = before + 1),
        Err(_) => format!("{sign}0.{:0<width$}{digits}", "", width = exponent.unsigned_abs() as usize - 1),
    }
}

/// The shortest digits that read back as `value`, as `1.23`, and its decimal exponent. Of two that are as near, the
/// even one, as in Go; Rust takes the larger.
fn shortest(value: f64) -> (String, i32) {
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("the format has an exponent");
    let exponent = exponent.parse().expect("the format has a decimal exponent");
    let places = digits.split_once('.').map_or(0, |(_, places)| places.len());
    // Sixteen digits are exact enough for any two neighbours to be as near.
    if places >= 14 && digits.ends_with(['1', '3', '5', '7', '9']) {
        let exact = format!("{value:.60e}");
        let (exact, _) = exact.split_once('e').expect("the format has an exponent");
        let rest = exact[digits.len() - 1..].trim_end_matches('0');
        let tie = rest.len() == 2 && rest.ends_with('5');
        let last = digits.as_bytes()[digits.len() - 1];
        let even = format!("{}{}", &digits[..digits.len() - 1], char::from(last - 1));
        if tie && format!("{even}e{exponent}").parse() == Ok(value) {
            return (even, exponent);
        }
    }
    (digits.to_owned(), exponent)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_short_number_is_read_as_any_other(
            text in prop_oneof![
                "[+-]?[0-9]{0,20}(\\.[0-9]{0,20})?([eE][+-]?[0-9]{0,3})?",
                "-?[0-9]{1,9}\\.[0-9]{1,8}(e[+-]?[0-2][0-9])?",
                any::<f64>().prop_map(|value| value.to_string()),
                any::<f32>().prop_map(|value| format!("{value:e}")),
                "[-+.0-9eE]{0,6}",
            ]
        ) {
            if let Some(short) = short_decimal(text.as_bytes()) {
                prop_assert_eq!(Ok(short.to_bits()), text.parse().map(f64::to_bits));
            }
        }
    }

    #[test]
    fn numbers_of_many_targets_are_short_ones() {
        for text in [
            "0.25",
            "-1.5",
            "1.234567e+06",
            "98765.432101",
            "2.505609216e+09",
            "1e-05",
            "-0",
            "5.",
            ".5",
            "007.0",
        ] {
            assert_eq!(
                short_decimal(text.as_bytes()).map(f64::to_bits),
                Some(text.parse().map(f64::to_bits).unwrap())
            );
        }
        for text in [
            "",
            ".",
            "-",
            "e5",
            "1e",
            "1e+",
            "1.2.3",
            "+1",
            "0x1p3",
            "NaN",
            "Inf",
            "1e400",
            "12345678901234567890",
            "1_0",
        ] {
            assert_eq!(short_decimal(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn floats_are_written_as_go_writes_them() {
        for (value, expected) in [
            (10.0 + 57.0 / 65_536.0, "10.000869750976562"),
            (-10.0 - 57.0 / 65_536.0, "-10.000869750976562"),
            (1.5, "1.5"),
            (-120.0, "-120.0"),
            (100_000.0, "100000.0"),
            (1_000_000.0, "1e+06"),
            (0.000_1, "0.0001"),
            (0.000_012_5, "1.25e-05"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (0.1 + 0.2, "0.30000000000000004"),
        ] {
            assert_eq!(format_open_metrics(value), expected);
        }
    }
}

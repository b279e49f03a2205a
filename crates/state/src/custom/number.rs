//! Values of an object as numbers.

use outrigger_wire::exposition::parse_go_float;
use serde_json::Value;

use super::go_text::go_text;
use super::problem::NumberError;
use crate::quantity::Quantity;

/// The number that a value means: words for booleans, times, quantities and percentages are numbers, too.
///
/// # Errors
/// When it is none, and for nothing unless `nil_is_zero`.
pub(super) fn to_float(value: &Value, nil_is_zero: bool) -> Result<f64, NumberError> {
    match value {
        Value::Null if nil_is_zero => Ok(0.0),
        Value::Null => Err(NumberError::Nil),
        Value::Bool(value) => Ok(f64::from(u8::from(*value))),
        Value::Number(number) => Ok(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => text_to_float(text),
        Value::Array(_) | Value::Object(_) => Err(NumberError::NotNumber(go_text(value).into_owned())),
    }
}

fn text_to_float(text: &str) -> Result<f64, NumberError> {
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is(&["true", "yes"]) {
        return Ok(1.0);
    }
    if is(&["false", "no", "unknown"]) {
        return Ok(0.0);
    }
    if let Some(seconds) = rfc3339_seconds(text) {
        return Ok(seconds as f64);
    }
    if let Some(quantity) = Quantity::parse(text) {
        return Ok(quantity.approximate_float());
    }
    let number = |text: &str| parse_go_float(text).ok_or_else(|| NumberError::Syntax(text.to_owned()));
    match text.strip_suffix('%') {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            number(digits).map(|percent| percent / 100.0)
        }
        _ => number(text),
    }
}

/// Unix seconds of a time as Go's `time.Parse(time.RFC3339, …)` reads it: more than RFC 3339 allows, such as an hour of
/// one digit or a comma before the fraction.
fn rfc3339_seconds(text: &str) -> Option<i64> {
    let mut rest = text.as_bytes();
    let year = digits(&mut rest, 4)?;
    let month = after(&mut rest, b'-').and_then(|()| digits(&mut rest, 2))?;
    let day = after(&mut rest, b'-').and_then(|()| digits(&mut rest, 2))?;
    after(&mut rest, b'T')?;
    let hour = digits(&mut rest, 2).or_else(|| digits(&mut rest, 1))?;
    let minute = after(&mut rest, b':').and_then(|()| digits(&mut rest, 2))?;
    let second = after(&mut rest, b':').and_then(|()| digits(&mut rest, 2))?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if let [b'.' | b',', b'0'..=b'9', ..] = rest {
        let fraction = rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        rest = &rest[1 + fraction..];
    }
    let offset = zone_seconds(rest)?;
    let date = jiff::civil::Date::new(year as i16, month as i8, day as i8).ok()?;
    let days = i64::from((date - jiff::civil::Date::constant(1970, 1, 1)).get_days());
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second - offset)
}

/// Seconds east of Greenwich of `Z` or `+02:00`.
fn zone_seconds(mut rest: &[u8]) -> Option<i64> {
    let sign = match rest.split_first()? {
        (b'Z', []) => return Some(0),
        (b'+', _) => 1,
        (b'-', _) => -1,
        _ => return None,
    };
    rest = &rest[1..];
    let hours = digits(&mut rest, 2)?;
    let minutes = after(&mut rest, b':').and_then(|()| digits(&mut rest, 2))?;
    (rest.is_empty() && hours <= 24 && minutes <= 60).then_some(sign * (hours * 60 + minutes) * 60)
}

fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let (head, tail) = rest.split_at_checked(count)?;
    if !head.iter().all(u8::is_ascii_digit) {
        return None;
    }
    *rest = tail;
    Some(head.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
}

fn after(rest: &mut &[u8], byte: u8) -> Option<()> {
    *rest = rest.strip_prefix(&[byte])?;
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_become_numbers_as_in_kube_state_metrics() {
        for (value, want) in [
            (json!(true), 1.0),
            (json!(false), 0.0),
            (json!(43.21), 43.21),
            (json!(-7), -7.0),
            (json!(18_446_744_073_709_551_615_u64), 18_446_744_073_709_551_615.0),
            (json!("True"), 1.0),
            (json!("YES"), 1.0),
            (json!("No"), 0.0),
            (json!("Unknown"), 0.0),
            (json!("250m"), 0.25),
            (json!("5Gi"), 5_368_709_120.0),
            (json!("28%"), 0.28),
            (json!("7%"), 0.07),
            (json!("0.7"), 7.0 * 0.1),
            (json!("1e400"), f64::INFINITY),
            (json!("Inf"), f64::INFINITY),
            (json!("-infinity"), f64::NEG_INFINITY),
            (json!("0x1p-2"), 0.25),
            (json!("1_000"), 1000.0),
            (json!("2022-06-28T00:00:00Z"), 1_656_374_400.0),
            (json!("2022-06-28T02:00:00.999+02:00"), 1_656_374_400.0),
            (json!("2022-06-28T2:00:00,5+02:00"), 1_656_374_400.0),
            (json!("1969-12-31T23:59:59Z"), -1.0),
            (json!("0000-01-01T00:00:00Z"), -62_167_219_200.0),
        ] {
            assert_eq!(to_float(&value, false), Ok(want), "{value}");
        }
        assert_eq!(to_float(&Value::Null, true), Ok(0.0));
        assert!(to_float(&json!("NaN"), false).is_ok_and(f64::is_nan));
    }

    #[test]
    fn other_values_are_errors_that_say_why() {
        for (value, want) in [
            (Value::Null, "expected number but found nil value"),
            (json!({"b": 1, "a": [true, null]}), "expected number but was map[a:[true <nil>] b:1]"),
            (json!("abc"), "strconv.ParseFloat: parsing \"abc\": invalid syntax"),
            (
                json!("2022-02-30T00:00:00Z"),
                "strconv.ParseFloat: parsing \"2022-02-30T00:00:00Z\": invalid syntax",
            ),
            (json!("1.5%"), "strconv.ParseFloat: parsing \"1.5%\": invalid syntax"),
            (json!(""), "strconv.ParseFloat: parsing \"\": invalid syntax"),
        ] {
            assert_eq!(to_float(&value, false).expect_err("no number").to_string(), want);
        }
    }
}

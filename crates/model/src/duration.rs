//! Prometheus' duration syntax: `1d2h30m`, `15s`, `100ms`, `0`.

use std::fmt::Write as _;
use std::time::Duration;

/// A string that is not a Prometheus duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDurationError {
    /// Nothing there.
    #[error("empty duration string")]
    Empty,
    /// Not digits with the units y, w, d, h, m, s, ms in that order.
    #[error("not a valid duration string: {0:?} (write for example 30s, 1m30s or 2h)")]
    Syntax(String),
    /// More than an `i64` of nanoseconds.
    #[error("duration out of range: {0:?}")]
    Range(String),
}

const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Parses a duration as `prometheus/common/model.ParseDuration` does: units must descend, each at most once.
///
/// # Errors
/// [`ParseDurationError`] says what is wrong with the text.
pub fn parse(text: &str) -> Result<Duration, ParseDurationError> {
    if text.is_empty() {
        return Err(ParseDurationError::Empty);
    }
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let syntax = || ParseDurationError::Syntax(text.to_owned());
    let range = || ParseDurationError::Range(text.to_owned());
    let mut rest = text;
    let mut millis: u64 = 0;
    let mut next_unit = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        if digits == 0 || letters == 0 {
            return Err(syntax());
        }
        let unit = &rest[digits..digits + letters];
        let position = UNITS.iter().position(|(name, _)| *name == unit).ok_or_else(syntax)?;
        if position < next_unit {
            return Err(syntax());
        }
        let number: u64 = rest[..digits].parse().map_err(|_| range())?;
        millis =
            number.checked_mul(UNITS[position].1).and_then(|m| millis.checked_add(m)).ok_or_else(range)?;
        next_unit = position + 1;
        rest = &rest[digits + letters..];
    }
    if millis > (i64::MAX as u64) / 1_000_000 {
        return Err(range());
    }
    Ok(Duration::from_millis(millis))
}

/// Formats a duration as `prometheus/common/model.Duration.String` does; sub-millisecond parts are cut.
pub fn format(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, size) in UNITS {
        // Years and weeks are only used when nothing remains, as Prometheus does.
        let exact_only = matches!(unit, "y" | "w");
        if exact_only && millis % size != 0 {
            continue;
        }
        let count = millis / size;
        if count > 0 {
            let _ = write!(text, "{count}{unit}");
            millis -= count * size;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_prometheus_parses() {
        for (text, millis) in [
            ("0", 0),
            ("0w", 0),
            ("0s", 0),
            ("324ms", 324),
            ("3s", 3_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("4d", 345_600_000),
            ("4d1h", 349_200_000),
            ("3w2d1h", 1_990_800_000),
            ("1m30s", 90_000),
            ("10y", 315_360_000_000),
        ] {
            assert_eq!(parse(text).map(|d| d.as_millis()), Ok(millis), "{text}");
        }
        for text in
            ["", "1", "1y1m1d", "-1w", "1.5d", "d", "294y", "200y10400w", "107675d", "2584200h", "1s2s"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn formats_as_prometheus_formats() {
        for (text, formatted) in [
            ("0", "0s"),
            ("1m30s", "1m30s"),
            ("3w2d1h", "23d1h"),
            ("14d", "2w"),
            ("365d", "1y"),
            ("366d", "366d"),
            ("1500ms", "1s500ms"),
            ("60s", "1m"),
        ] {
            assert_eq!(parse(text).map(format), Ok(formatted.to_owned()), "{text}");
        }
    }
}

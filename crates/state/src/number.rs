//! Numbers as kube-state-metrics writes them.

/// Appends `number` as Go's `strconv.AppendFloat(number, 'g', -1, 64)` does, with kube-state-metrics' own words for
/// the special values: the shortest digits that read back to it, with an exponent when the decimal exponent is below
/// -4 or at least 6. `-0` is `0`.
pub(crate) fn put_number(number: f64, into: &mut Vec<u8>) {
    if number == 0.0 {
        into.push(b'0');
    } else if number.is_nan() {
        into.extend_from_slice(b"NaN");
    } else if number.is_infinite() {
        into.extend_from_slice(if number > 0.0 { b"+Inf" } else { b"-Inf" });
    } else if number.abs() < 9e15 && number.trunc() == number {
        put_integer(number as i64, into);
    } else {
        put_fraction(number, into);
    }
}

/// An integer that a float holds exactly, below 2^53.
fn put_integer(integer: i64, into: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(integer.unsigned_abs()).as_bytes();
    if integer < 0 {
        into.push(b'-');
    }
    if digits.len() <= 6 {
        into.extend_from_slice(digits);
        return;
    }
    let significant = digits.len() - digits.iter().rev().take_while(|digit| **digit == b'0').count();
    put_scientific(&digits[..significant], digits.len() as i32 - 1, into);
}

fn put_fraction(number: f64, into: &mut Vec<u8>) {
    let mut buffer = zmij::Buffer::new();
    let Decimal { digits, count, exponent } = Decimal::of(buffer.format_finite(number.abs()));
    let digits = &digits[..count];
    if number < 0.0 {
        into.push(b'-');
    }
    if !(-4..6).contains(&exponent) {
        put_scientific(digits, exponent, into);
    } else if exponent < 0 {
        into.extend_from_slice(b"0.");
        into.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
        into.extend_from_slice(digits);
    } else {
        // Whole numbers are not written here, so there are digits behind the point.
        let (before, after) = digits.split_at(exponent as usize + 1);
        into.extend_from_slice(before);
        into.push(b'.');
        into.extend_from_slice(after);
    }
}

/// `d.ddde+XX`, with at least two digits of the exponent.
fn put_scientific(digits: &[u8], exponent: i32, into: &mut Vec<u8>) {
    into.push(digits[0]);
    if digits.len() > 1 {
        into.push(b'.');
        into.extend_from_slice(&digits[1..]);
    }
    into.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
    if exponent.abs() < 10 {
        into.push(b'0');
    }
    into.extend_from_slice(itoa::Buffer::new().format(exponent.unsigned_abs()).as_bytes());
}

/// The significant digits of a positive number and the decimal exponent of the first of them.
struct Decimal {
    digits: [u8; 24],
    count: usize,
    exponent: i32,
}

impl Decimal {
    /// Reads `123.45`, `0.00012` or `1.5e-7`.
    fn of(text: &str) -> Self {
        let (mantissa, scale) = text.split_once('e').unwrap_or((text, "0"));
        let scale: i32 = scale.parse().unwrap_or(0);
        let (mut digits, mut count, mut exponent) = ([0; 24], 0, None);
        let point = mantissa.find('.').unwrap_or(mantissa.len()) as i32;
        for (place, byte) in mantissa.bytes().filter(|byte| *byte != b'.').enumerate() {
            if exponent.is_none() && byte != b'0' {
                exponent = Some(point - 1 - place as i32);
            }
            if exponent.is_some() && count < digits.len() {
                digits[count] = byte;
                count += 1;
            }
        }
        while count > 1 && digits[count - 1] == b'0' {
            count -= 1;
        }
        Self { digits, count, exponent: exponent.unwrap_or(0) + scale }
    }
}

#[cfg(test)]
mod tests {
    use super::put_number;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let vectors = include_str!("../testdata/float_vectors.tsv");
        let mut cases = 0;
        for line in vectors.lines() {
            let (bits, expected) = line.split_once('\t').expect("two columns");
            let Ok(bits) = u64::from_str_radix(bits, 16) else { continue };
            let mut text = Vec::new();
            put_number(f64::from_bits(bits), &mut text);
            assert_eq!(String::from_utf8_lossy(&text), expected, "{bits:x}");
            cases += 1;
        }
        assert!(cases >= 45, "{cases} cases");
    }
}

//! `resource.Quantity` of Kubernetes: `250m`, `5Gi`, `1e3`.
//!
//! Source: `k8s.io/apimachinery` 0.36, `pkg/api/resource`, whose rounding is kept bit for bit: a quantity of up to 18
//! digits is an integer with a decimal exponent, every other one is a decimal rounded up to a billionth.

/// A number with a suffix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantity(Amount);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Amount {
    /// `value * 10^exponent`.
    Small { value: i64, exponent: i32 },
    /// The same with more digits, none of them leading zeros.
    Large { negative: bool, digits: Vec<u8>, exponent: i32 },
    /// More than a million digits before the point.
    Huge { negative: bool },
}

const NANO: i32 = -9;
const MILLI: i32 = -3;

/// Digits that are written out at most.
const MOST_DIGITS: i64 = 1_000_000;

/// The text of a quantity in its parts.
struct Parts<'a> {
    negative: bool,
    /// Digits before the point without leading zeros, at least one.
    whole: &'a str,
    fraction: &'a str,
    /// All before the suffix.
    number: &'a str,
    suffix: &'a str,
}

enum Suffix {
    Decimal(i32),
    Binary(u32),
}

impl Quantity {
    /// Reads a quantity; `None` where Kubernetes refuses it.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let parts = split(text)?;
        let suffix = suffix(parts.suffix)?;
        small(&parts, &suffix).or_else(|| large(&parts, &suffix)).map(Self)
    }

    /// `AsApproximateFloat64`: infinite where it is too large for a float.
    pub fn approximate_float(&self) -> f64 {
        let (base, exponent) = match &self.0 {
            Amount::Small { value, exponent } => (*value as f64, *exponent),
            Amount::Large { negative, digits, exponent } => {
                let digits = std::str::from_utf8(digits).unwrap_or_default();
                let size: f64 = if digits.is_empty() { 0.0 } else { digits.parse().unwrap_or(f64::INFINITY) };
                (if *negative { -size } else { size }, *exponent)
            }
            Amount::Huge { negative } => (if *negative { f64::NEG_INFINITY } else { f64::INFINITY }, 0),
        };
        if exponent == 0 { base } else { base * power_of_ten(exponent) }
    }

    /// `Value`: rounded up to a whole number.
    pub fn value(&self) -> i64 {
        self.scaled(0)
    }

    /// `MilliValue`: rounded up to thousandths, counted in them; wraps where it is too large.
    pub fn milli_value(&self) -> i64 {
        self.scaled(MILLI)
    }

    /// The number that kube-state-metrics shows of most quantities: exact to thousandths, and whole where those would
    /// not fit.
    ///
    /// Source: kube-state-metrics 2.20, `internal/store/utils.go`.
    pub fn to_float(&self) -> f64 {
        let whole = self.value();
        if whole > i64::MAX / 1000 { whole as f64 } else { self.milli_value() as f64 / 1000.0 }
    }

    fn scaled(&self, to: i32) -> i64 {
        match &self.0 {
            Amount::Small { value, exponent } => scaled_small(*value, i64::from(*exponent) - i64::from(to)),
            Amount::Large { negative, digits, exponent } => {
                scaled_large(*negative, digits, i64::from(*exponent) - i64::from(to))
            }
            Amount::Huge { .. } => 0,
        }
    }
}

/// Splits a text; `None` when it has another shape.
fn split(text: &str) -> Option<Parts<'_>> {
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let significant = unsigned.trim_start_matches('0');
    if significant.is_empty() {
        return Some(Parts { negative, whole: "0", fraction: "", number: "0", suffix: "" });
    }
    let (whole, rest) = split_digits(significant);
    let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), split_digits);
    let number = &text[..text.len() - suffix.len()];
    let letters = suffix.trim_start_matches(|letter| "eEinumkKMGTP".contains(letter));
    let digits = letters.strip_prefix(['-', '+']).unwrap_or(letters);
    let whole = if whole.is_empty() { "0" } else { whole };
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(Parts {
        negative,
        whole,
        fraction,
        number,
        suffix,
    })
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

fn suffix(text: &str) -> Option<Suffix> {
    Some(match text {
        "" => Suffix::Decimal(0),
        "n" => Suffix::Decimal(-9),
        "u" => Suffix::Decimal(-6),
        "m" => Suffix::Decimal(-3),
        "k" => Suffix::Decimal(3),
        "M" => Suffix::Decimal(6),
        "G" => Suffix::Decimal(9),
        "T" => Suffix::Decimal(12),
        "P" => Suffix::Decimal(15),
        "E" => Suffix::Decimal(18),
        "Ki" => Suffix::Binary(10),
        "Mi" => Suffix::Binary(20),
        "Gi" => Suffix::Binary(30),
        "Ti" => Suffix::Binary(40),
        "Pi" => Suffix::Binary(50),
        "Ei" => Suffix::Binary(60),
        // Go cuts the exponent down to 32 bits.
        _ => Suffix::Decimal(text.strip_prefix(['e', 'E'])?.parse::<i64>().ok()? as i32),
    })
}

/// A quantity of few digits.
fn small(parts: &Parts<'_>, suffix: &Suffix) -> Option<Amount> {
    let (exponent, factor) = match *suffix {
        Suffix::Decimal(exponent) if parts.whole.len() + parts.fraction.len() <= 18 => (exponent, 1),
        Suffix::Binary(bits) if parts.fraction.is_empty() => {
            let room = 15 - parts.whole.len() as i64 - i64::from(bits * 3 / 10) - 1;
            (0, if room >= 0 { 1_i64 << bits } else { return None })
        }
        Suffix::Decimal(_) | Suffix::Binary(_) => return None,
    };
    let exponent = exponent.wrapping_sub(parts.fraction.len() as i32);
    if exponent < NANO {
        return None;
    }
    let digits = parts.whole.bytes().chain(parts.fraction.bytes());
    let value = digits
        .map(|digit| i64::from(digit - b'0'))
        .try_fold(0_i64, |value, digit| value.checked_mul(10)?.checked_add(digit))?;
    let value = value.checked_mul(factor)?;
    Some(Amount::Small { value: if parts.negative { -value } else { value }, exponent })
}

/// Every other quantity, rounded up to billionths.
fn large(parts: &Parts<'_>, suffix: &Suffix) -> Option<Amount> {
    let unsigned = parts.number.trim_start_matches(['-', '+']);
    if !unsigned.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut digits: Vec<u8> = unsigned.bytes().filter(u8::is_ascii_digit).collect();
    trim(&mut digits);
    let mut exponent = -i64::try_from(parts.fraction.len()).ok()?;
    match *suffix {
        Suffix::Decimal(by) => exponent += i64::from(by),
        Suffix::Binary(bits) => multiply(&mut digits, 1 << bits),
    }
    let negative = parts.negative && !digits.is_empty();
    if digits.is_empty() {
        let exponent = exponent.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        return Some(Amount::Large { negative, digits, exponent });
    }
    let shift = exponent - i64::from(NANO);
    if shift > MOST_DIGITS {
        return Some(match suffix {
            Suffix::Decimal(_) => Amount::Huge { negative },
            Suffix::Binary(_) => capped(negative),
        });
    }
    if shift >= 0 {
        digits.resize(digits.len() + shift as usize, b'0');
    } else {
        let cut = usize::try_from(-shift).unwrap_or(usize::MAX);
        let rest = digits.split_off(digits.len().saturating_sub(cut));
        if rest.iter().any(|digit| *digit != b'0') {
            increment(&mut digits);
        }
    }
    match suffix {
        Suffix::Binary(_) if exceeds_cap(&digits) => Some(capped(negative)),
        _ => Some(Amount::Large { negative, digits, exponent: NANO }),
    }
}

/// The most a quantity with a binary suffix can be.
fn capped(negative: bool) -> Amount {
    Amount::Large { negative, digits: i64::MAX.to_string().into_bytes(), exponent: 0 }
}

/// Whether billionths are more than the largest `i64`.
fn exceeds_cap(digits: &[u8]) -> bool {
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(9));
    let cap = i64::MAX.to_string();
    let cap = cap.as_bytes();
    match whole.len().cmp(&cap.len()).then_with(|| whole.cmp(cap)) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => fraction.iter().any(|digit| *digit != b'0'),
    }
}

fn trim(digits: &mut Vec<u8>) {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    digits.drain(..zeros);
}

fn multiply(digits: &mut Vec<u8>, factor: u64) {
    let mut carry = 0_u128;
    for digit in digits.iter_mut().rev() {
        carry += u128::from(*digit - b'0') * u128::from(factor);
        *digit = b'0' + (carry % 10) as u8;
        carry /= 10;
    }
    let mut leading = carry.to_string().into_bytes();
    leading.append(digits);
    *digits = leading;
    trim(digits);
}

fn increment(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
}

/// `value * 10^by`, away from zero where it is no whole number. What overflows wraps or is nothing, as in Go.
fn scaled_small(value: i64, by: i64) -> i64 {
    if by >= 0 {
        let factor = u32::try_from(by).ok().and_then(|by| 10_i64.checked_pow(by));
        return match (factor, by) {
            (Some(factor), 0..=3 | 6 | 9) => value.wrapping_mul(factor),
            (Some(factor), _) => value.checked_mul(factor).unwrap_or(0),
            (None, _) => 0,
        };
    }
    match u32::try_from(-by).ok().and_then(|by| 10_i64.checked_pow(by)) {
        Some(divisor) => value / divisor + (value % divisor).signum(),
        None => value.signum(),
    }
}

/// The same for more digits, wrapping as `big.Int.Int64` does.
fn scaled_large(negative: bool, digits: &[u8], by: i64) -> i64 {
    let low = |digits: &[u8]| {
        let size = digits
            .iter()
            .fold(0_i64, |sum, digit| sum.wrapping_mul(10).wrapping_add(i64::from(*digit - b'0')));
        if negative { size.wrapping_neg() } else { size }
    };
    if digits.is_empty() {
        return 0;
    }
    if by >= 0 {
        let factor = u32::try_from(by).ok().and_then(|by| 10_i64.checked_pow(by));
        return low(digits).wrapping_mul(factor.unwrap_or(i64::MIN));
    }
    let (whole, rest) =
        digits.split_at(digits.len().saturating_sub(usize::try_from(-by).unwrap_or(usize::MAX)));
    let exact = rest.iter().all(|digit| *digit == b'0');
    // Below zero both of the ways in which Go divides come to the whole part: the one drops the rest and adds one if
    // there was any; the other goes down to the next and adds one.
    let fits = digits.len() < 19 || (digits.len() == 19 && digits < i64::MAX.to_string().as_bytes());
    match (negative, exact) {
        (_, true) => low(whole),
        (false, false) => low(whole).wrapping_add(1),
        (true, false) if fits => low(whole).wrapping_add(1),
        (true, false) => low(whole),
    }
}

/// Go's `math.Pow10`, which divides and multiplies two powers that are exact or nearly so.
fn power_of_ten(exponent: i32) -> f64 {
    const SMALL: [f64; 32] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
        1e18, 1e19, 1e20, 1e21, 1e22, 1e23, 1e24, 1e25, 1e26, 1e27, 1e28, 1e29, 1e30, 1e31,
    ];
    const LARGE: [f64; 10] = [1e0, 1e32, 1e64, 1e96, 1e128, 1e160, 1e192, 1e224, 1e256, 1e288];
    const TINY: [f64; 11] =
        [1e0, 1e-32, 1e-64, 1e-96, 1e-128, 1e-160, 1e-192, 1e-224, 1e-256, 1e-288, 1e-320];
    let size = exponent.unsigned_abs() as usize;
    match exponent {
        0..=308 => LARGE[size / 32] * SMALL[size % 32],
        -323..0 => TINY[size / 32] / SMALL[size % 32],
        309.. => f64::INFINITY,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests;

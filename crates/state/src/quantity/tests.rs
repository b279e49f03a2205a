use proptest::prelude::*;

use super::*;

fn float(text: &str) -> Option<f64> {
    Quantity::parse(text).map(|quantity| quantity.approximate_float())
}

#[test]
fn quantities_are_approximated_as_kubernetes_does() {
    for (text, want) in [
        ("0", 0.0),
        ("100m", 100.0 * 0.001),
        ("250m", 0.25),
        ("0.7", 7.0 * 0.1),
        ("5Gi", 5_368_709_120.0),
        ("1.1Ki", 1126.4),
        ("2Ki", 2048.0),
        ("0.5Mi", 524_288.0),
        ("1e3", 1000.0),
        ("1E3", 1000.0),
        ("12E", 1.2e19),
        ("12e500", f64::INFINITY),
        ("-12e500", f64::NEG_INFINITY),
        ("9Ei", 9_223_372_036_854_775_807.0),
        ("9223372036854775807Ki", 9_223_372_036_854_775_807.0),
        ("-3k", -3000.0),
        ("+.5", 0.5),
        ("1.", 1.0),
        (".", 0.0),
        ("+", 0.0),
        ("Ki", 0.0),
        ("k", 0.0),
        ("1234567890123456789012", 1_234_567_890_123_456_789_012_000_000_000.0 * 1e-9),
        ("1e999999999", f64::INFINITY),
    ] {
        assert_eq!(float(text), Some(want), "{text}");
    }
}

#[test]
fn too_small_a_quantity_is_a_billionth() {
    for text in ["0.0000000001", "0.5e-9", "0.9n", "1e-999999999"] {
        assert_eq!(float(text), Some(1.0 * 1e-9), "{text}");
    }
    assert_eq!(float("0.00000012345"), Some(124.0 * 1e-9));
    assert_eq!(float("0.000000000001Ki"), Some(2.0 * 1e-9));
}

#[test]
fn other_texts_are_no_quantities() {
    for text in [
        "", "abc", "1 ", "1.2.3", "28%", "NaN", "0x10", "1_000", "5gi", "1e", "1ee3", "e", "1Kii", "--1",
        "1K",
    ] {
        assert_eq!(float(text), None, "{text}");
    }
}

#[test]
fn whole_and_milli_values_are_rounded_up() {
    for (text, value, milli) in [
        ("100m", 1, 100),
        ("1n", 1, 1),
        ("1500m", 2, 1500),
        ("-1500m", -2, -1500),
        ("0.0005", 1, 1),
        ("2", 2, 2000),
        ("1Gi", 1 << 30, (1 << 30) * 1000),
        ("1.5Gi", 3 << 29, (3 << 29) * 1000),
        ("1P", 1_000_000_000_000_000, 1_000_000_000_000_000_000),
        ("9Ei", i64::MAX, i64::MAX.wrapping_mul(1000)),
        ("1e30", 0, 0),
        ("12345678901234567890", 12_345_678_901_234_567_890_u64 as i64, 0),
    ] {
        let quantity = Quantity::parse(text).expect(text);
        assert_eq!(quantity.value(), value, "{text}");
        if text.len() < 20 {
            assert_eq!(quantity.milli_value(), milli, "{text}");
        }
    }
}

#[test]
fn large_quantities_are_shown_whole() {
    assert_eq!(Quantity::parse("0.5").map(|quantity| quantity.to_float()), Some(0.5));
    assert_eq!(Quantity::parse("1E").map(|quantity| quantity.to_float()), Some(1e18));
    assert_eq!(Quantity::parse("9P").map(|quantity| quantity.to_float()), Some(9e15));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[-+]?[0-9.]{0,40}[eEinumkKMGTP]{0,2}[-+]?[0-9]{0,12}") {
        if let Some(quantity) = Quantity::parse(&text) {
            quantity.approximate_float();
            quantity.to_float();
        }
    }

    #[test]
    fn whole_numbers_are_themselves(number: i64) {
        let quantity = Quantity::parse(&number.to_string()).expect("a number");
        prop_assert_eq!(quantity.value(), number);
    }
}

use proptest::prelude::*;

use super::*;

/// Text and its canonical form.
const PRINTED: &[(&str, &str)] = &[
    ("1", "1"),
    ("+Inf", "+Inf"),
    ("5m", "5m"),
    ("1_000 + 0x1f", "1000 + 31"),
    ("-2^2", "-2 ^ 2"),
    ("-a^b", "-a ^ b"),
    ("a+b*c", "a + b * c"),
    ("a and b or c unless d", "a and b or c unless d"),
    ("sum(up) by (job)", "sum by (job) (up)"),
    ("sum(up) BY (job,)", "sum by (job) (up)"),
    ("sum without() (up)", "sum without () (up)"),
    ("sum by() (up)", "sum(up)"),
    ("topk(5, a) by (b)", "topk by (b) (5, a)"),
    ("a{b=\"c\",a!~'x.*'}", "a{a!~\"x.*\",b=\"c\"}"),
    ("{\"a.b\",\"x y\"=`\\d`}", "{\"x y\"=\"\\\\d\",__name__=\"a.b\"}"),
    ("a[5m] offset -1w @ 3", "a[5m] @ 3.000 offset -1w"),
    ("a[5m:]", "a[5m:]"),
    ("rate(a[5m])[1h:1m] @ end() offset 5m", "rate(a[5m])[1h:1m] @ end() offset 5m"),
    ("a[5m+2*step()]", "a[5m + 2 * step()]"),
    ("a offset (1m + 2m)", "a offset (1m + 2m)"),
    ("a offset -(1m)", "a offset -(1m)"),
    ("a offset 1m + b", "a offset 1m + b"),
    ("a[min_of(5m, range())]", "a[min_of(5m, range())]"),
    ("increase(a[5m] anchored)", "increase(a[5m] anchored)"),
    ("a smoothed offset 1m", "a smoothed offset 1m"),
    ("a == bool on(x) group_left(y) b", "a == bool on (x) group_left (y) b"),
    ("a + ignoring(x) group_right b", "a + ignoring (x) group_right () b"),
    ("a + on() b", "a + on () b"),
    ("a + fill(0) b", "a + fill (0) b"),
    ("a + fill_right(-1) fill_left(2) b", "a + fill_left (2) fill_right (-1) b"),
    ("fill + fill", "fill + fill"),
    ("a </ 5 >/ 2", "a </ 5 >/ 2"),
    ("sum + by + offset", "sum + by + offset"),
    ("start() + end()", "start() + end()"),
    ("info(a, {})", "info(a, {})"),
    ("a # comment\n+ b", "a + b"),
];

#[test]
fn expressions_print_in_their_canonical_form() {
    for (text, printed) in PRINTED {
        let expr = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(expr.to_string(), *printed, "{text}");
        let again = parse(printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
        assert_eq!(again.to_string(), *printed);
    }
}

#[test]
fn errors_say_where_and_what() {
    for (text, error) in [
        ("", "1:1: parse error: no expression found in input"),
        ("1 +", "1:4: parse error: unexpected end of input"),
        ("a{", "1:3: parse error: unexpected end of input inside braces"),
        ("a{b}", "1:4: parse error: unexpected \"}\" in label matching, expected label matching operator"),
        ("a{b=c}", "1:5: parse error: unexpected identifier \"c\" in label matching, expected string"),
        ("(a", "1:3: parse error: unclosed left parenthesis"),
        ("a)", "1:2: parse error: unexpected right parenthesis ')'"),
        ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("a{__name__=\"b\"}", "1:1: parse error: metric name must not be set twice: \"a\" or \"b\""),
        ("foo(1)", "1:1: parse error: unknown function with name \"foo\""),
        ("1 > 2", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
        ("a + bool b", "1:3: parse error: bool modifier can only be used on comparison operators"),
        (
            "rate(a)",
            "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        ("abs()", "1:1: parse error: expected 1 argument(s) in call to \"abs\", got 0"),
        ("a and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"),
        (
            "1 offset 5m",
            "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
        ("a offset 1m offset 2m", "1:1: parse error: offset may not be set multiple times"),
        ("a[0]", "1:3: parse error: duration must be greater than 0"),
        ("a[5m", "1:5: parse error: unclosed left bracket"),
        ("sum without(==)(a)", "1:13: parse error: unexpected <op:==> in grouping opts, expected label"),
        (
            "a\n  + 'x'",
            "2:5: parse error: binary expression must contain only scalar and instant vector types",
        ),
        ("sum()", "1:1: parse error: no arguments for aggregate expression provided"),
        ("a{b=~\"(\"}", "1:3: parse error: error parsing regexp: missing closing ): `^(?s:()$`"),
    ] {
        let found = parse(text).expect_err(text).to_string();
        assert_eq!(found, error, "{text}");
    }
}

#[test]
fn hostile_texts_are_refused_early() {
    let nested = format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000));
    let chain = vec!["1"; 30_000].join("+");
    let signs = format!("{}a", "-".repeat(100_000));
    let durations = format!("a[{}1m{}]", "(".repeat(50_000), ")".repeat(50_000));
    for text in [nested, chain, signs, durations] {
        let error = parse(&text).unwrap_err().message;
        assert!(error.contains("deeper than 200"), "{error}");
    }
    assert!(parse(&" ".repeat(1 << 20)).unwrap_err().message.contains("at most"));
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[a-z]{1,3}".prop_map(|name| format!("{name}_x")),
        (1u32..99).prop_map(|n| n.to_string()),
        Just("up{job=~\"a.*\",x!=\"\\n\\\"\"}".to_owned()),
        Just("rate(a[5m] offset 1h)".to_owned()),
        Just("x offset -90s @ 5.5".to_owned()),
        Just("sum_over_time(y[5m:step() * 2] @ start())".to_owned()),
    ];
    leaf.prop_recursive(5, 40, 3, |inner| {
        let op = prop_oneof![
            Just("+"),
            Just("^"),
            Just("-"),
            Just("*"),
            Just("== bool"),
            Just("atan2"),
            Just("%"),
            Just("/ on (a) group_left (b)")
        ];
        prop_oneof![
            (inner.clone(), op, inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("-{a}")),
            inner.clone().prop_map(|a| format!("vector({a})")),
            inner.prop_map(|a| format!("sum without (x, \"y z\") (vector({a}))")),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same(text in expression()) {
        if let Ok(expr) = parse(&text) {
            let printed = expr.to_string();
            let again = parse(&printed);
            prop_assert!(again.is_ok(), "{printed}: {again:?}");
            prop_assert_eq!(again.unwrap().to_string(), printed);
        }
    }

    #[test]
    fn no_text_is_too_much(text in "[a-z0-9(){}\\[\\]=~!<>\"'`\\\\:,.@#+*/^ \\-]{0,40}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.span.start <= text.len(), "{error:?}");
        }
    }
}

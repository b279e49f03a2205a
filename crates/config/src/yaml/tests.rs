use std::fmt::Write as _;

use super::scalar::{Resolved, Scalar, Tag};
use super::*;

/// The tree on one line: `{key: value}`, `[item]`, scalars quoted unless plain.
fn show(node: &Node, into: &mut String) {
    match &node.value {
        Value::Scalar(scalar) => write!(into, "{}", scalar.text()).expect("a string takes everything"),
        Value::Sequence(items) => {
            into.push('[');
            for item in items {
                show(item, into);
                into.push(' ');
            }
            into.push(']');
        }
        Value::Mapping(entries) => {
            into.push('{');
            for entry in entries {
                show(&entry.key, into);
                into.push(if entry.merged { '<' } else { ':' });
                show(&entry.value, into);
                into.push(' ');
            }
            into.push('}');
        }
    }
}

fn parsed(text: &str) -> Result<String, String> {
    let mut problems = Vec::new();
    let document = parse(text, &mut problems);
    let at = |error: &SyntaxError| match error.mark {
        Some(mark) => format!("{}:{} {}", mark.line, mark.column, error.message),
        None => error.message.clone(),
    };
    if let Some(problem) = problems.first() {
        return Err(at(problem));
    }
    let mut shown = String::new();
    match document {
        Ok(document) => {
            if let Some(root) = document.root {
                show(&root, &mut shown);
            }
            Ok(shown)
        }
        Err(error) => Err(at(&error)),
    }
}

#[test]
fn reads_the_first_document_as_go_yaml_does() {
    for (text, expected) in [
        ("", ""),
        ("# nothing\n\n", ""),
        ("---\n", ""),
        ("a: 1\n", "{a:1 }"),
        ("a: 1\n---\nb: [", "{a:1 }"),
        ("a: |\n  x\n  y\n", "{a:x\ny\n }"),
        ("a: |\n  x", "{a:x }"),
        ("a: &x [1, 2]\nb: *x\n", "{a:[1 2 ] b:[1 2 ] }"),
        ("a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}\n", "{a:{k:1 l:2 } b:{k<1 l<2 l:3 } }"),
        ("a: &x {k: 1}\nb: &y {k: 2}\nc: {<<: [*x, *y]}\n", "{a:{k:1 } b:{k:2 } c:{k<2 k<1 } }"),
        ("a:\n- x\n- y: 1\n  z: 2\n", "{a:[x {y:1 z:2 } ] }"),
        ("? a\n: b\n", "{a:b }"),
        ("a: !!binary aGk=\n", "{a:hi }"),
        ("\u{feff}a: 1\n", "{a:1 }"),
        ("a: 1\r\nb: 2\r\n", "{a:1 b:2 }"),
        ("%YAML 1.1\n---\na: 1\n", "{a:1 }"),
        ("a: 1\n...\n%YAML 1.1\n---\nb: 2\n", "{a:1 }"),
        ("a:\t1\n", "{a:1 }"),
        ("a: ['b']#c\nd: \"e\"#f\ng: {}#h\n", "{a:[b ] d:e g:{} }"),
        ("a: \"x\\'y\\x41\"\nb: \"\\'\"\n", "{a:x'yA b:' }"),
        ("a: [1,\n\t2]\n", "{a:[1 2 ] }"),
    ] {
        assert_eq!(parsed(text).as_deref(), Ok(expected), "{text:?}");
    }
}

#[test]
fn refuses_bad_text_with_its_place() {
    for (text, place) in [
        ("a: 1\na: 2\n", "2:1 "),
        ("a: {b: 1, c: 2, b: 3}\n", "1:17 "),
        ("a: [1, 2\nb: 3\n", "2:"),
        ("a: *x\n", "1:4 "),
        ("a: &x [1, *x]\n", "1:11 "),
        ("a: 1\n\tb: 2\n", "2:"),
        ("a: 'x\n", "1:"),
        ("a: \u{7}\n", "1:4 "),
        ("a: !!binary '%'\n", "1:13 "),
        ("a: !!binary /w==\n", "1:13 "),
        ("a: 1\n%b: 2\n", "2:1 "),
        ("%b\n---\na: 1\n", "1:1 "),
        ("%YAML 1.2\n---\na: 1\n", "2:1 "),
        ("&a:\n", "1:1 "),
        ("-\ta: 1\n", "1:3 "),
        ("a:\n\t- 1\n", "2:1 "),
        ("a: \"b\\dc\"\n", "1:6 \\d is not an escape"),
        ("a: \"b\n  c\\/\"\n", "2:4 \\/ is not an escape"),
        ("a: {<<: 1}\n", "1:5 "),
        ("a: {<<: [1]}\n", "1:5 "),
    ] {
        let error = parsed(text).expect_err(text);
        assert!(error.starts_with(place), "{text:?}: {error}");
    }
}

#[test]
fn aliases_do_not_multiply_without_limit() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = level - 1;
        let aliases = vec![format!("*a{before}"); 9].join(", ");
        let _ = writeln!(text, "a{level}: &a{level} [{aliases}]");
    }
    assert!(parsed(&text).expect_err("a billion values").contains("aliases expand"));

    let mut text = String::from("a: &a {");
    for key in 0..5_000 {
        let _ = write!(text, "k{key}: 1, ");
    }
    text.push_str("}\nb:\n");
    text.push_str(&"- {<<: *a}\n".repeat(2_000));
    assert!(parsed(&text).expect_err("ten million merged keys").contains("more than"));
}

#[test]
fn nesting_has_a_limit() {
    let deep = "[".repeat(10_000);
    assert!(parsed(&deep).is_err());
    let deep = "- ".repeat(10_000);
    assert!(parsed(&deep).is_err());
}

#[test]
fn scalars_resolve_as_in_go_yaml() {
    for (text, expected) in [
        ("", Resolved::Null),
        ("~", Resolved::Null),
        ("null", Resolved::Null),
        ("yes", Resolved::Bool(true)),
        ("On", Resolved::Bool(true)),
        ("n", Resolved::Bool(false)),
        ("OFF", Resolved::Bool(false)),
        ("tRue", Resolved::Text),
        ("1", Resolved::Int(1)),
        ("-1", Resolved::Int(-1)),
        ("+1", Resolved::Int(1)),
        ("1_000", Resolved::Int(1000)),
        ("010", Resolved::Int(8)),
        ("0o10", Resolved::Int(8)),
        ("0x1F", Resolved::Int(31)),
        ("0b11", Resolved::Int(3)),
        ("08", Resolved::Float(8.0)),
        ("18446744073709551615", Resolved::Int(u64::MAX.into())),
        ("18446744073709551616", Resolved::Float(18_446_744_073_709_551_616.0)),
        ("1.10", Resolved::Float(1.1)),
        ("1e3", Resolved::Float(1000.0)),
        (".5", Resolved::Float(0.5)),
        ("1.", Resolved::Float(1.0)),
        (".inf", Resolved::Float(f64::INFINITY)),
        ("1.2.3", Resolved::Text),
        ("1h", Resolved::Text),
        ("2020-01-01", Resolved::Text),
        ("+", Resolved::Text),
        ("--1", Resolved::Text),
        ("0x", Resolved::Text),
        ("1e", Resolved::Text),
        ("infinity", Resolved::Text),
        ("1:30", Resolved::Text),
    ] {
        assert_eq!(Scalar::new(text, true, Tag::None).resolve(), expected, "{text}");
        assert_eq!(Scalar::new(text, false, Tag::None).resolve(), Resolved::Text, "quoted {text}");
    }
    assert_eq!(Scalar::new("3", false, Tag::Int).resolve(), Resolved::Int(3));
    assert_eq!(Scalar::new("3", true, Tag::Float).resolve(), Resolved::Float(3.0));
    assert_eq!(Scalar::new("3", true, Tag::Str).resolve(), Resolved::Text);
}

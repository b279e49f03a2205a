//! Values of an object as Go's `fmt` writes them with `%v`.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::{Number, Value};

use crate::number::put_number;

/// `%v`: texts as they are, lists as `[a b]`, mappings as `map[a:b]` sorted by key, nothing as `<nil>`.
pub(super) fn go_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        Value::Bool(true) => Cow::Borrowed("true"),
        Value::Bool(false) => Cow::Borrowed("false"),
        _ => {
            let mut text = String::new();
            write(value, &mut text);
            Cow::Owned(text)
        }
    }
}

fn write(value: &Value, into: &mut String) {
    match value {
        Value::Null => into.push_str("<nil>"),
        Value::Bool(value) => into.push_str(if *value { "true" } else { "false" }),
        Value::String(text) => into.push_str(text),
        Value::Number(number) => write_number(number, into),
        Value::Array(elements) => {
            into.push('[');
            for (place, element) in elements.iter().enumerate() {
                if place > 0 {
                    into.push(' ');
                }
                write(element, into);
            }
            into.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            into.push_str("map[");
            for (place, (key, value)) in members.into_iter().enumerate() {
                if place > 0 {
                    into.push(' ');
                }
                into.push_str(key);
                into.push(':');
                write(value, into);
            }
            into.push(']');
        }
    }
}

/// Whole numbers that fit are `int64`, all others `float64`, which `%v` writes as it does samples' values. An API server
/// writes the float -0 as `-0`, which Go reads as the integer 0.
fn write_number(number: &Number, into: &mut String) {
    if let Some(integer) = number.as_i64() {
        let _ = write!(into, "{integer}");
        return;
    }
    let mut text = Vec::new();
    put_number(number.as_f64().unwrap_or(f64::NAN), &mut text);
    into.push_str(&String::from_utf8_lossy(&text));
}

/// `%T` of a value.
pub(super) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        // -0 is an integer there, see above.
        Value::Number(number) if number.is_i64() || number.as_f64() == Some(0.0) => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::go_text;

    #[test]
    fn values_are_written_as_go_writes_them() {
        for (text, want) in [
            ("\"a b\"", "a b"),
            ("null", "<nil>"),
            ("true", "true"),
            ("1", "1"),
            ("-5", "-5"),
            ("-0", "0"),
            ("1.0", "1"),
            ("43.21", "43.21"),
            ("1000000", "1000000"),
            ("1e6", "1e+06"),
            ("1234567.5", "1.2345675e+06"),
            ("123456.5", "123456.5"),
            ("1e20", "1e+20"),
            ("100000000000000000000", "1e+20"),
            ("9223372036854775808", "9.223372036854776e+18"),
            ("1e21", "1e+21"),
            ("1.5e-5", "1.5e-05"),
            ("0.0001", "0.0001"),
            ("0.1", "0.1"),
            ("[1,\"a\",null,[]]", "[1 a <nil> []]"),
            ("{\"b\":1,\"a\":{\"c\":false}}", "map[a:map[c:false] b:1]"),
            ("{}", "map[]"),
        ] {
            let value: Value = serde_json::from_str(text).expect("JSON");
            assert_eq!(go_text(&value), want, "{text}");
        }
        assert_eq!(go_text(&json!([])), "[]");
    }
}

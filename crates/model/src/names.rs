//! Which strings are label and metric names.

/// How names are checked (Prometheus `metric_name_validation_scheme`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameValidation {
    /// Any non-empty UTF-8 string.
    #[default]
    Utf8,
    /// `[a-zA-Z_:][a-zA-Z0-9_:]*` for metrics, the same without `:` for labels.
    Legacy,
}

impl NameValidation {
    /// Whether `name` is a metric name under this scheme.
    pub fn is_metric_name(self, name: &str) -> bool {
        match self {
            NameValidation::Utf8 => !name.is_empty(),
            NameValidation::Legacy => is_legacy(name, true),
        }
    }

    /// Whether `name` is a label name under this scheme.
    pub fn is_label_name(self, name: &str) -> bool {
        match self {
            NameValidation::Utf8 => !name.is_empty(),
            NameValidation::Legacy => is_legacy(name, false),
        }
    }
}

fn is_legacy(name: &str, colon: bool) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || (colon && byte == b':');
    name.bytes().next().is_some_and(|first| !first.is_ascii_digit()) && name.bytes().all(allowed)
}

/// Replaces every character outside `[a-zA-Z0-9_]` by `_`, one `_` per character
/// (Prometheus `util/strutil.SanitizeLabelName`).
pub fn sanitize_label_name(name: &str, into: &mut String) {
    into.extend(name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_names_are_ascii_and_do_not_start_with_a_digit() {
        for (name, metric, label) in [
            ("up", true, true),
            ("a:b", true, false),
            ("_x9", true, true),
            ("9x", false, false),
            ("", false, false),
            ("a.b", false, false),
            ("é", false, false),
        ] {
            assert_eq!(NameValidation::Legacy.is_metric_name(name), metric, "{name}");
            assert_eq!(NameValidation::Legacy.is_label_name(name), label, "{name}");
        }
        assert!(NameValidation::Utf8.is_label_name("a.b"));
        assert!(!NameValidation::Utf8.is_label_name(""));
    }

    #[test]
    fn sanitizing_replaces_each_character_once() {
        let mut out = String::new();
        sanitize_label_name("app.kubernetes.io/näme-x", &mut out);
        assert_eq!(out, "app_kubernetes_io_n_me_x");
    }
}

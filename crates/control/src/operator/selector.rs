//! Kubernetes' structured label selector (`metav1.LabelSelector`).

use std::collections::BTreeMap;
use std::fmt;

use outrigger_config::selector::LabelSelector as ParsedSelector;
use serde::Deserialize;

/// `matchLabels` and `matchExpressions`, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct LabelSelector {
    pub(crate) match_labels: BTreeMap<String, String>,
    pub(crate) match_expressions: Vec<Requirement>,
}

/// One entry of `matchExpressions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Requirement {
    pub(crate) key: String,
    pub(crate) operator: String,
    pub(crate) values: Vec<String>,
}

impl LabelSelector {
    /// What the API machinery refuses in it (`LabelSelectorAsSelector`).
    ///
    /// # Errors
    /// The first problem, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (key, value) in &self.match_labels {
            check_requirement(key, std::slice::from_ref(value))?;
        }
        for requirement in &self.match_expressions {
            let Requirement { key, operator, values } = requirement;
            match operator.as_str() {
                "In" | "NotIn" if values.is_empty() => {
                    return Err(format!("selector: {operator} for {key:?} needs at least one value"));
                }
                "In" | "NotIn" => {}
                "Exists" | "DoesNotExist" if !values.is_empty() => {
                    return Err(format!("selector: {operator} for {key:?} takes no values"));
                }
                "Exists" | "DoesNotExist" => {}
                other => {
                    return Err(format!(
                        "selector: {other:?} is no operator (In, NotIn, Exists and DoesNotExist are)"
                    ));
                }
            }
            check_requirement(key, values)?;
        }
        Ok(())
    }
}

fn check_requirement(key: &str, values: &[String]) -> Result<(), String> {
    if let Some(value) = values.iter().find(|value| !is_label_value(value)) {
        return Err(format!("selector: {value:?} is not the value of a label"));
    }
    ParsedSelector::parse(key)
        .map(drop)
        .map_err(|error| format!("selector: {key:?} is not the key of a label: {error}"))
}

/// At most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends; or nothing.
fn is_label_value(value: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let end = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    value.len() <= 63 && value.chars().all(inner) && end(value.chars().next()) && end(value.chars().last())
}

/// The textual form that list requests take, sorted by key (`labels.Selector.String`).
impl fmt::Display for LabelSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut terms: Vec<(&str, String)> =
            self.match_labels.iter().map(|(key, value)| (key.as_str(), format!("{key}={value}"))).collect();
        terms.extend(self.match_expressions.iter().map(|requirement| {
            let key = requirement.key.as_str();
            let mut values: Vec<&str> = requirement.values.iter().map(String::as_str).collect();
            values.sort_unstable();
            let values = values.join(",");
            let term = match requirement.operator.as_str() {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "DoesNotExist" => format!("!{key}"),
                _ => key.to_owned(),
            };
            (key, term)
        }));
        terms.sort_by(|a, b| a.0.cmp(b.0));
        let terms: Vec<String> = terms.into_iter().map(|(_, term)| term).collect();
        formatter.write_str(&terms.join(","))
    }
}

//! Relabelling: rules that edit, keep or drop a label set, as Prometheus' `model/relabel/relabel.go`.

use outrigger_model::labels::LabelsBuilder;
use outrigger_model::names::NameValidation;

/// One entry of `relabel_configs`, `metric_relabel_configs` or `write_relabel_configs` as it was written.
///
/// `None` means that the key is absent: it then takes Prometheus' default. A text key that is present but null is
/// not absent: Prometheus reads it as `""`, so hand in `Some(String::new())` (a null `source_labels` or `modulus`
/// is the same as an absent one).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RelabelRaw {
    /// `source_labels`.
    pub source_labels: Option<Vec<String>>,
    /// `separator`, `;` by default.
    pub separator: Option<String>,
    /// `target_label`.
    pub target_label: Option<String>,
    /// `regex`, `(.*)` by default.
    pub regex: Option<String>,
    /// `modulus`, for `hashmod`.
    pub modulus: Option<u64>,
    /// `replacement`, `$1` by default.
    pub replacement: Option<String>,
    /// `action`, `replace` by default; upper and lower case are the same.
    pub action: Option<String>,
}

/// A rule that Prometheus would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RelabelError {
    /// The key of the rule that is wrong, for example `target_label`.
    pub key: &'static str,
    /// What is wrong with it.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}

/// A validated and compiled rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelabelRule {
    _raw: RelabelRaw,
}

impl RelabelRule {
    /// Validates and compiles `raw`.
    ///
    /// # Errors
    /// What Prometheus' `relabel.Config` refuses, with the key at fault and a fix.
    pub fn new(raw: RelabelRaw, _validation: NameValidation) -> Result<Self, RelabelError> {
        Ok(Self { _raw: raw })
    }
}

/// Applies `rules` in order to `labels`. Returns false when a rule drops the label set, which is then
/// left as that rule found it.
pub fn apply(_rules: &[RelabelRule], _labels: &mut LabelsBuilder) -> bool {
    true
}

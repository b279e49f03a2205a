//! Exemplars as Prometheus keeps them.

use outrigger_model::labels::LabelsBuilder;
use outrigger_model::sample::{Exemplar, Timestamp};

use super::series::lossy;

/// Characters that names and values may have together (Prometheus `exemplar.ExemplarMaxLabelSetLength`).
const MAX_CHARACTERS: usize = 128;

/// An exemplar that is exposed but not kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unfit;

/// The labels of an exemplar, as they are collected.
#[derive(Debug, Default)]
pub(super) struct ExemplarLabels {
    builder: LabelsBuilder,
    characters: usize,
    /// Prometheus' storage would drop it: a name that is empty or comes twice, or too long.
    unfit: bool,
}

impl ExemplarLabels {
    /// Adds a label as it is, escapes included; an empty value counts for nothing.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        if self.unfit || value.is_empty() {
            return;
        }
        let (name, value) = (lossy(name), lossy(value));
        self.characters += name.chars().count() + value.chars().count();
        self.unfit = name.is_empty() || self.characters > MAX_CHARACTERS || self.builder.contains(&name);
        if !self.unfit {
            self.builder.set(&name, &value);
        }
    }

    /// The exemplar.
    ///
    /// # Errors
    /// For one that Prometheus' storage would drop.
    pub(super) fn exemplar(&self, value: f64, timestamp: Option<i64>) -> Result<Exemplar, Unfit> {
        if self.unfit {
            return Err(Unfit);
        }
        let timestamp = timestamp.map(Timestamp::from_millis);
        Ok(Exemplar { labels: self.builder.build(), value, timestamp })
    }
}

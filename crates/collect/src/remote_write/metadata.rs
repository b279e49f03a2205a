//! Metadata of all targets, by metric family, for the requests that carry it to each endpoint now and then.

use std::collections::HashMap;
use std::sync::Arc;

use outrigger_model::sample::Timestamp;
use parking_lot::Mutex;

use crate::batch::MetricMetadata;
use crate::scrape::metadata::REPEAT_MILLIS;
use crate::scrape::report::is_of_report;

/// Families that were not heard of for this long are forgotten: three repetitions were missed.
const FORGET_MILLIS: i64 = 3 * REPEAT_MILLIS;

/// Most families that are remembered.
const MAX_FAMILIES: usize = 100_000;

/// What the targets last said about each family. Where they contradict each other, the last one wins.
#[derive(Debug, Default)]
pub(crate) struct MetadataStore {
    families: Mutex<HashMap<Arc<str>, Entry>>,
}

#[derive(Debug)]
struct Entry {
    family: Arc<MetricMetadata>,
    heard: Timestamp,
}

impl MetadataStore {
    /// Remembers what one target says. Returns how many families were left out because there are too many.
    pub(crate) fn update(&self, families: &[Arc<MetricMetadata>], now: Timestamp) -> usize {
        if families.is_empty() {
            return 0;
        }
        let mut known = self.families.lock();
        let mut left_out = 0;
        for family in families.iter().filter(|family| !is_of_report(family)) {
            if let Some(entry) = known.get_mut(&family.family) {
                *entry = Entry { family: Arc::clone(family), heard: now };
            } else if known.len() < MAX_FAMILIES {
                known.insert(Arc::clone(&family.family), Entry { family: Arc::clone(family), heard: now });
            } else {
                left_out += 1;
            }
        }
        left_out
    }

    /// All families that were heard of lately.
    pub(crate) fn snapshot(&self, now: Timestamp) -> Vec<Arc<MetricMetadata>> {
        let mut known = self.families.lock();
        known.retain(|_, entry| now.since(entry.heard) < FORGET_MILLIS);
        known.values().map(|entry| Arc::clone(&entry.family)).collect()
    }
}

#[cfg(test)]
mod tests {
    use outrigger_wire::exposition::MetricType;

    use super::*;

    #[test]
    fn the_last_word_of_targets_counts_and_what_is_no_longer_heard_of_is_forgotten() {
        let family = |name: &str, help: &str| {
            Arc::new(MetricMetadata {
                metric_type: MetricType::Counter,
                family: name.into(),
                help: help.into(),
                unit: "".into(),
            })
        };
        let store = MetadataStore::default();
        let at = Timestamp::from_millis;
        store.update(&[family("a", "one"), family("b", "b")], at(0));
        let report = crate::scrape::report::ReportKind::Up.metadata();
        store.update(&[report, family("a", "two")], at(REPEAT_MILLIS));
        let mut helps: Vec<_> =
            store.snapshot(at(REPEAT_MILLIS)).iter().map(|family| family.help.to_string()).collect();
        helps.sort();
        assert_eq!(helps, ["b", "two"]);
        assert_eq!(store.snapshot(at(FORGET_MILLIS)), [family("a", "two")]);
    }
}

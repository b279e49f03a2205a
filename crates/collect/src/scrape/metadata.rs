//! The `# TYPE`, `# HELP` and `# UNIT` lines of a target, handed over when they change and now and then.

use std::collections::HashMap;
use std::sync::Arc;

use outrigger_model::sample::Timestamp;
use outrigger_wire::exposition::MetricType;

use crate::batch::MetricMetadata;

/// Unchanged metadata is handed over again after this time, so that consumers can forget what is gone and receivers
/// that were restarted hear of it.
pub(crate) const REPEAT_MILLIS: i64 = 60 * 1_000;

/// Most families that one target may describe.
const MAX_FAMILIES: usize = 10_000;

/// Collects the metadata of a scrape when it is due; between that, lines that are known are stepped over.
#[derive(Debug, Default)]
pub(crate) struct MetadataWatch {
    handed_over: Option<Timestamp>,
    /// A line has changed since.
    changed: bool,
    /// While it is being collected.
    families: Option<Families>,
}

type Families = HashMap<String, Described>;

#[derive(Debug, Default)]
struct Described {
    metric_type: MetricType,
    help: Option<Arc<str>>,
    unit: Option<Arc<str>>,
}

impl MetadataWatch {
    /// A scrape begins.
    pub(crate) fn begin(&mut self, now: Timestamp) {
        let fresh = self.handed_over.is_some_and(|at| (0..REPEAT_MILLIS).contains(&now.since(at)));
        self.families = (self.changed || !fresh).then(HashMap::new);
    }

    /// Whether all lines are to be read.
    pub(crate) fn is_due(&self) -> bool {
        self.families.is_some()
    }

    /// The scrape has a line that was not there before.
    pub(crate) fn see_change(&mut self) {
        self.changed = true;
    }

    /// The scrape has this `# TYPE` line.
    pub(crate) fn see_type(&mut self, family: &str, metric_type: MetricType) {
        if let Some(family) = self.family(family) {
            family.metric_type = metric_type;
        }
    }

    /// The scrape has this `# HELP` line.
    pub(crate) fn see_help(&mut self, family: &str, help: &str) {
        if let Some(family) = self.family(family) {
            family.help = Some(help.into());
        }
    }

    /// The scrape has this `# UNIT` line.
    pub(crate) fn see_unit(&mut self, family: &str, unit: &str) {
        if let Some(family) = self.family(family) {
            family.unit = Some(unit.into());
        }
    }

    /// The family of this name; `None` when nothing is collected or there are too many others already.
    fn family(&mut self, name: &str) -> Option<&mut Described> {
        let families = self.families.as_mut()?;
        if !families.contains_key(name) {
            if families.len() >= MAX_FAMILIES {
                return None;
            }
            families.insert(name.to_owned(), Described::default());
        }
        families.get_mut(name)
    }

    /// The scrape succeeded: what is to be handed over.
    pub(crate) fn succeed(&mut self, now: Timestamp) -> Vec<Arc<MetricMetadata>> {
        let Some(families) = self.families.take() else { return Vec::new() };
        self.handed_over = Some(now);
        self.changed = false;
        let metadata = |(name, described): (String, Described)| MetricMetadata {
            metric_type: described.metric_type,
            family: name.into(),
            help: described.help.unwrap_or_default(),
            unit: described.unit.unwrap_or_default(),
        };
        families.into_iter().map(metadata).map(Arc::new).collect()
    }

    /// The scrape failed.
    pub(crate) fn fail(&mut self) {
        self.families = None;
    }
}

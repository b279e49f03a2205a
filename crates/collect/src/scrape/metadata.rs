//! Notices when the `# TYPE` and `# HELP` lines of a target change.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use outrigger_model::sample::Timestamp;
use outrigger_wire::exposition::{Entry, MetricType, Parser};
use rapidhash::fast::GlobalState;

use crate::batch::MetricMetadata;

/// Unchanged metadata is handed over again after this time, so that consumers can forget what is gone.
pub(crate) const REPEAT_MILLIS: i64 = 10 * 60 * 1_000;

/// Most families that one target may describe.
const MAX_FAMILIES: usize = 10_000;

/// Remembers one hash of all metadata lines of the target's last scrapes instead of the lines.
#[derive(Debug, Default)]
pub(crate) struct MetadataWatch {
    running: u64,
    handed_over: Option<(u64, Timestamp)>,
}

impl MetadataWatch {
    /// A new scrape begins.
    pub(crate) fn begin(&mut self) {
        self.running = 0;
    }

    /// The scrape has this `# TYPE` line.
    pub(crate) fn see_type(&mut self, family: &str, metric_type: MetricType) {
        self.see((family, metric_type));
    }

    /// The scrape has this `# HELP` line.
    pub(crate) fn see_help(&mut self, family: &str, help: &str) {
        self.see((family, help));
    }

    fn see(&mut self, line: impl Hash) {
        self.running = GlobalState::default().hash_one((self.running, line));
    }

    /// The metadata of the whole body when it changed or was last handed over long ago, else nothing.
    pub(crate) fn due(&mut self, body: &[u8], now: Timestamp) -> Vec<Arc<MetricMetadata>> {
        let fresh = self
            .handed_over
            .is_some_and(|(hash, at)| hash == self.running && (0..REPEAT_MILLIS).contains(&now.since(at)));
        if fresh || self.running == 0 {
            return Vec::new();
        }
        self.handed_over = Some((self.running, now));
        families(body)
    }
}

/// Type and help of a family.
type Described = (MetricType, Arc<str>);

fn families(body: &[u8]) -> Vec<Arc<MetricMetadata>> {
    let mut families: HashMap<String, Described> = HashMap::new();
    for entry in Parser::new(body).map_while(Result::ok) {
        match entry {
            Entry::Type { name, metric_type } => {
                if let Some(family) = family(&mut families, &name) {
                    family.0 = metric_type;
                }
            }
            Entry::Help { name, text } => {
                if let Some(family) = family(&mut families, &name) {
                    family.1 = text.into();
                }
            }
            Entry::Series(_) | Entry::Histogram(_) | Entry::Unit { .. } | Entry::Comment(_) => {}
        }
    }
    let metadata = |(name, (metric_type, help)): (String, Described)| MetricMetadata {
        metric_type,
        family: name.into(),
        help,
        unit: "".into(),
    };
    families.into_iter().map(metadata).map(Arc::new).collect()
}

/// The family of this name; `None` when there are too many others already.
fn family<'f>(families: &'f mut HashMap<String, Described>, name: &str) -> Option<&'f mut Described> {
    if !families.contains_key(name) {
        if families.len() >= MAX_FAMILIES {
            return None;
        }
        families.insert(name.to_owned(), (MetricType::Unknown, "".into()));
    }
    families.get_mut(name)
}

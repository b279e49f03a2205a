//! The `# TYPE`, `# HELP` and `# UNIT` lines of a target, handed over when they change and now and then.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashSet;
use outrigger_model::sample::Timestamp;
use outrigger_wire::exposition::{Entry, Format, MetricType, Parser, openmetrics};
use rapidhash::fast::{GlobalState, RandomState};

use crate::batch::MetricMetadata;

/// Unchanged metadata is handed over again after this time, so that consumers can forget what is gone and receivers
/// that were restarted hear of it.
pub(crate) const REPEAT_MILLIS: i64 = 10 * 60 * 1_000;

/// Most families that one target may describe.
const MAX_FAMILIES: usize = 10_000;

/// Most of the lines before a series that are kept.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// Collects the metadata of a scrape: all of it when that is due, and between that what is new, and that of series that
/// are new. Other lines that are known are stepped over.
#[derive(Debug, Default)]
pub(crate) struct MetadataWatch {
    handed_over: Option<Timestamp>,
    /// When the scrape's own report was last described.
    report_described: Option<Timestamp>,
    /// A line has changed since: what it says about its family may be only a part.
    changed: bool,
    /// This scrape hands everything over.
    due: bool,
    /// What this scrape hands over.
    families: HashMap<String, Described>,
    header: Header,
    /// In bodies that are read entry by entry, what is said before the next sample.
    current: Current,
    /// Hashes of what was said in such bodies.
    said: HashSet<u64, RandomState>,
}

#[derive(Debug, Default)]
struct Described {
    metric_type: Option<MetricType>,
    help: Option<Arc<str>>,
    unit: Option<Arc<str>>,
}

/// The lines about a family that stand together, before its samples.
#[derive(Debug, Default)]
struct Header {
    /// Those that were stepped over.
    lines: Vec<u8>,
    /// Samples before it.
    samples: usize,
    /// What it says is handed over.
    wanted: bool,
}

#[derive(Debug, Default)]
struct Current {
    family: String,
    metric_type: MetricType,
    help: String,
    unit: String,
    /// A sample has followed.
    followed: bool,
}

impl Current {
    fn hash(&self) -> u64 {
        GlobalState::default().hash_one((&self.family, self.metric_type as u8, &self.help, &self.unit))
    }
}

/// Whether this was done at `last`, a moment before `now`.
fn is_recent(last: Option<Timestamp>, now: Timestamp) -> bool {
    last.is_some_and(|last| (0..REPEAT_MILLIS).contains(&now.since(last)))
}

impl MetadataWatch {
    /// A scrape begins.
    pub(crate) fn begin(&mut self, now: Timestamp) {
        self.due = self.changed || !is_recent(self.handed_over, now);
        if self.due {
            self.said.clear();
        }
        self.forget_scrape();
    }

    fn forget_scrape(&mut self) {
        self.families = HashMap::new();
        self.header = Header::default();
        self.current = Current::default();
    }

    /// A line that is no sample comes, after so many samples. Whether it is to be read although it is known.
    pub(crate) fn reads_known(&mut self, samples: usize) -> bool {
        let header = &mut self.header;
        if header.samples != samples {
            header.lines.clear();
            header.wanted = false;
            header.samples = samples;
        }
        self.due || header.wanted
    }

    /// The line is known and was stepped over.
    pub(crate) fn step_over(&mut self, line: &[u8]) {
        let lines = &mut self.header.lines;
        if lines.len() + line.len() >= MAX_HEADER_BYTES {
            lines.clear();
        }
        lines.extend_from_slice(line);
        lines.push(b'\n');
    }

    /// The scrape has a line that was not there before, to be read with those about it.
    pub(crate) fn see_change(&mut self, format: Format) {
        self.changed = true;
        self.want(format);
    }

    /// A series that is new follows what was said last.
    pub(crate) fn want(&mut self, format: Format) {
        if self.due || self.header.wanted {
            return;
        }
        self.header.wanted = true;
        let lines = std::mem::take(&mut self.header.lines);
        match format {
            Format::OpenMetrics => {
                self.see_all(openmetrics::Parser::resume(&lines, MetricType::Unknown, false))
            }
            _ => self.see_all(Parser::new(&lines)),
        }
    }

    fn see_all<'b, E>(&mut self, entries: impl Iterator<Item = Result<Entry<'b>, E>>) {
        entries.map_while(Result::ok).for_each(|entry| self.see(&entry));
    }

    /// The scrape says this about a family, which is handed over.
    pub(crate) fn see(&mut self, entry: &Entry<'_>) {
        match entry {
            Entry::Type { name, metric_type } => {
                if let Some(family) = self.family(name) {
                    family.metric_type = Some(*metric_type);
                }
            }
            Entry::Help { name, text } => {
                if let Some(family) = self.family(name) {
                    family.help = Some((**text).into());
                }
            }
            Entry::Unit { name, unit } => {
                if let Some(family) = self.family(name) {
                    family.unit = Some((**unit).into());
                }
            }
            Entry::Series(_) | Entry::Histogram(_) | Entry::Comment(_) => {}
        }
    }

    /// A body that is read entry by entry says this.
    pub(crate) fn see_entry(&mut self, entry: &Entry<'_>) {
        if self.due {
            self.see(entry);
        }
        match entry {
            Entry::Type { name, metric_type } => self.current(name).metric_type = *metric_type,
            Entry::Help { name, text } => text.as_ref().clone_into(&mut self.current(name).help),
            Entry::Unit { name, unit } => unit.as_ref().clone_into(&mut self.current(name).unit),
            Entry::Series(_) | Entry::Histogram(_) | Entry::Comment(_) => {}
        }
    }

    fn current(&mut self, family: &str) -> &mut Current {
        let current = &mut self.current;
        if current.followed || current.family != family {
            current.followed = false;
            family.clone_into(&mut current.family);
            current.metric_type = MetricType::Unknown;
            current.help.clear();
            current.unit.clear();
        }
        current
    }

    /// A sample of such a body follows, of a series that is new or not.
    pub(crate) fn see_sample(&mut self, is_new: bool) {
        if self.current.family.is_empty() {
            return;
        }
        let first = !std::mem::replace(&mut self.current.followed, true);
        let changed = first && self.said.len() < MAX_FAMILIES && self.said.insert(self.current.hash());
        if self.due || !(is_new || changed) {
            return;
        }
        let Current { family, metric_type, help, unit, .. } = std::mem::take(&mut self.current);
        if let Some(described) = self.family(&family) {
            *described = Described {
                metric_type: Some(metric_type),
                help: Some(help.as_str().into()),
                unit: Some(unit.as_str().into()),
            };
        }
        self.current = Current { family, metric_type, help, unit, followed: true };
    }

    /// The family of this name; `None` when there are too many others already.
    fn family(&mut self, name: &str) -> Option<&mut Described> {
        let families = &mut self.families;
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
        if self.due {
            self.handed_over = Some(now);
            self.changed = false;
        }
        let metadata = |(name, described): (String, Described)| MetricMetadata {
            metric_type: described.metric_type.unwrap_or_default(),
            family: name.into(),
            help: described.help.unwrap_or_default(),
            unit: described.unit.unwrap_or_default(),
        };
        let families = std::mem::take(&mut self.families);
        self.forget_scrape();
        families.into_iter().map(metadata).map(Arc::new).collect()
    }

    /// The scrape failed.
    pub(crate) fn fail(&mut self) {
        // What was new in it is no longer so next time.
        self.changed |= !self.families.is_empty();
        self.forget_scrape();
    }

    /// Whether the scrape's own report is to be described now; it is then taken as described.
    pub(crate) fn describes_report(&mut self, now: Timestamp) -> bool {
        let due = !is_recent(self.report_described, now);
        if due {
            self.report_described = Some(now);
        }
        due
    }

    /// Memory that is kept between scrapes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.said.capacity() * (size_of::<u64>() + 1)
    }
}

//! What targets cost, as far as the master does not know it yet, and the series sets that their heirs would need.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use outrigger_model::target::TargetId;
use outrigger_wire::centre::{Costs, JobCosts};

use super::session::Millis;
use crate::scrape::{ScrapeEngine, TargetCost};

/// Most targets in one message.
const MAX_TARGETS: usize = 2_000;
/// Most bytes of series sets in one message, beyond the first.
const MAX_SET_BYTES: usize = 1 << 20;
/// Series sets that may be sent in one second, bytes.
const SET_BYTES_PER_SECOND: u64 = 512 << 10;
/// A larger set is not sent: its target's series would not get stale markers if this worker died.
const MAX_SET: usize = 4 << 20;
/// Smaller changes of a cost are not worth a message.
const CHANGE: f64 = 0.1;

/// What a master knows.
#[derive(Debug, Default)]
pub(crate) struct CostReporter {
    known: HashMap<Arc<str>, HashMap<TargetId, Known>>,
    /// Targets whose series the master is to know, in this order, and the same for looking them up.
    waiting: VecDeque<Key>,
    is_waiting: HashSet<Key>,
    /// Bytes of series sets that may be sent.
    allowance: u64,
    filled: Option<Millis>,
}

type Key = (Arc<str>, TargetId);

#[derive(Debug, Clone, Copy)]
struct Known {
    series: u64,
    body_bytes: u64,
    at: Millis,
    /// The state of its series that was sent.
    set: Option<u32>,
}

/// Targets that are worth a word.
type Lines = BTreeMap<Key, Line>;

struct Line {
    series: u64,
    body_bytes: u64,
    set: Vec<u8>,
}

impl CostReporter {
    /// Another master, that knows nothing.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Costs that are new at `now`, in messages of bounded size. Targets whose series are new wait for
    /// [`CostReporter::sets`] then.
    pub(crate) fn costs(&mut self, engine: &ScrapeEngine, now: Millis) -> Vec<Costs> {
        let mut lines = Lines::new();
        let mut known = HashMap::new();
        for (job, targets) in engine.costs() {
            let before = self.known.remove(&job).unwrap_or_default();
            let mut of_job = HashMap::with_capacity(targets.len());
            for target in targets {
                let tell = |(series, body_bytes)| {
                    let line = Line { series, body_bytes, set: Vec::new() };
                    lines.insert((Arc::clone(&job), target.id), line);
                };
                let Some(next) = compare(before.get(&target.id).copied(), &target, now, tell) else {
                    continue;
                };
                if next.set != Some(target.series_changes) {
                    self.wait((Arc::clone(&job), target.id));
                }
                of_job.insert(target.id, next);
            }
            known.insert(job, of_job);
        }
        self.known = known;
        messages(lines)
    }

    /// The series of a target have changed.
    pub(crate) fn wait(&mut self, key: Key) {
        if self.is_waiting.insert(key.clone()) {
            self.waiting.push_back(key);
        }
    }

    /// Whether [`CostReporter::sets`] has something to do.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Series sets, as far as they may be sent now, in messages of bounded size.
    pub(crate) fn sets(&mut self, engine: &ScrapeEngine, now: Millis) -> Vec<Costs> {
        let passed = self.filled.replace(now).map_or(1_000, |filled| now - filled);
        self.allowance =
            (self.allowance + passed * SET_BYTES_PER_SECOND / 1_000).min(4 * SET_BYTES_PER_SECOND);
        let mut lines = Lines::new();
        for _ in 0..self.waiting.len() {
            if self.allowance == 0 {
                break;
            }
            let Some(key) = self.waiting.pop_front() else { break };
            let Some(target) = engine.cost(&key.0, key.1) else {
                self.is_waiting.remove(&key);
                continue;
            };
            // A scrape is under way: later.
            let Some(inheritance) = engine.inheritance(&key.0, key.1) else {
                self.waiting.push_back(key);
                continue;
            };
            self.is_waiting.remove(&key);
            self.add_set(key, &target, inheritance.series, now, &mut lines);
        }
        messages(lines)
    }

    fn add_set(&mut self, key: Key, target: &TargetCost, set: Vec<u8>, now: Millis, lines: &mut Lines) {
        let of_job = self.known.entry(Arc::clone(&key.0)).or_default();
        let known = of_job.entry(key.1).or_insert_with(|| {
            let (series, body_bytes) = target.measured.unwrap_or_default();
            Known { series, body_bytes, at: now, set: None }
        });
        if known.set == Some(target.series_changes) {
            return;
        }
        known.set = Some(target.series_changes);
        if set.len() > MAX_SET {
            tracing::debug!(job = &*key.0, bytes = set.len(), "a series set is too large to be sent");
            return;
        }
        self.allowance = self.allowance.saturating_sub(set.len() as u64);
        lines.insert(key, Line { series: known.series, body_bytes: known.body_bytes, set });
    }
}

/// What the master knows of a target then, if anything; `tell` is called when it has to be told what was measured.
fn compare(
    known: Option<Known>,
    target: &TargetCost,
    now: Millis,
    tell: impl FnOnce((u64, u64)),
) -> Option<Known> {
    let Some((series, body_bytes)) = target.measured else { return known };
    let is_news = known.is_none_or(|known| {
        let changed = differs(known.series, series) || differs(known.body_bytes, body_bytes);
        changed && now - known.at >= millis(target.interval)
    });
    if !is_news {
        return known;
    }
    tell((series, body_bytes));
    Some(Known { series, body_bytes, at: now, set: known.and_then(|known| known.set) })
}

fn messages(lines: Lines) -> Vec<Costs> {
    let mut messages = Messages::default();
    lines.into_iter().for_each(|((job, id), line)| messages.push(&job, id, line));
    messages.finish()
}

/// Messages of bounded size.
#[derive(Default)]
struct Messages {
    full: Vec<Costs>,
    current: Costs,
    targets: usize,
    set_bytes: usize,
}

impl Messages {
    fn push(&mut self, job: &str, id: TargetId, line: Line) {
        if self.targets >= MAX_TARGETS
            || (self.set_bytes > 0 && self.set_bytes + line.set.len() > MAX_SET_BYTES)
        {
            self.full.push(std::mem::take(&mut self.current));
            (self.targets, self.set_bytes) = (0, 0);
        }
        self.targets += 1;
        self.set_bytes += line.set.len();
        let jobs = &mut self.current.jobs;
        if jobs.last().is_none_or(|last| last.job != job) {
            jobs.push(JobCosts { job: job.to_owned(), ..JobCosts::default() });
        }
        let Some(costs) = jobs.last_mut() else { return };
        costs.ids.push(id.0);
        costs.series.push(line.series);
        costs.body_bytes.push(line.body_bytes);
        costs.series_sets.push(line.set);
    }

    fn finish(mut self) -> Vec<Costs> {
        if self.targets > 0 {
            self.full.push(self.current);
        }
        self.full
    }
}

fn differs(known: u64, measured: u64) -> bool {
    known.abs_diff(measured) as f64 > CHANGE * known as f64
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX / 4)
}

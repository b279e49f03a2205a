//! What targets cost, as far as the master does not know it yet, and the series sets that their heirs would need.

use std::collections::{BTreeMap, HashMap};
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
/// Series sets that may be sent in one second, bytes; those that were sent longest ago come first.
const SET_BYTES_PER_SECOND: u64 = 512 << 10;
/// A larger set is not sent: its target's series would not get stale markers if this worker died.
const MAX_SET: usize = 4 << 20;
/// Smaller changes of a cost are not worth a message.
const CHANGE: f64 = 0.1;

/// What a master knows.
#[derive(Debug, Default)]
pub(crate) struct CostReporter {
    known: HashMap<Arc<str>, HashMap<TargetId, Known>>,
    /// Bytes of series sets that may be sent.
    allowance: u64,
    last_round: Option<Millis>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    series: u64,
    body_bytes: u64,
    at: Millis,
    /// The state of its series and when they were sent; `None` before the first time.
    set: Option<(u32, Millis)>,
}

/// Targets that are worth a word.
type Lines = BTreeMap<(Arc<str>, TargetId), Line>;

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

    /// What is new at `now`, in messages of bounded size.
    pub(crate) fn round(&mut self, engine: &ScrapeEngine, now: Millis) -> Vec<Costs> {
        let passed = now - self.last_round.replace(now).unwrap_or(now);
        self.allowance =
            (self.allowance + passed * SET_BYTES_PER_SECOND / 1_000).min(8 * SET_BYTES_PER_SECOND);
        let mut lines = Lines::new();
        let mut due = Vec::new();
        let mut known = HashMap::new();
        for (job, targets) in engine.costs() {
            let before = self.known.remove(&job).unwrap_or_default();
            let of_job = targets.iter().filter_map(|target| {
                let known = before.get(&target.id).copied();
                let next = match target.measured {
                    None => known?,
                    Some(measured) => {
                        compare(known, measured, target.interval, now, |(series, body_bytes)| {
                            let line = Line { series, body_bytes, set: Vec::new() };
                            lines.insert((Arc::clone(&job), target.id), line);
                        })
                    }
                };
                if next.wants_set(target, now) {
                    due.push((next.set.map_or(0, |(_, at)| at), Arc::clone(&job), *target));
                }
                Some((target.id, next))
            });
            let of_job = of_job.collect();
            known.insert(job, of_job);
        }
        self.known = known;
        due.sort_by_key(|(at, ..)| *at);
        for (_, job, target) in due {
            if self.allowance == 0 {
                break;
            }
            self.add_set(engine, &job, &target, now, &mut lines);
        }
        let mut messages = Messages::default();
        lines.into_iter().for_each(|((job, id), line)| messages.push(&job, id, line));
        messages.finish()
    }

    fn add_set(
        &mut self,
        engine: &ScrapeEngine,
        job: &Arc<str>,
        target: &TargetCost,
        now: Millis,
        lines: &mut Lines,
    ) {
        // A scrape is under way: next time.
        let Some(inheritance) = engine.inheritance(job, target.id) else { return };
        let Some(known) = self.known.get_mut(job).and_then(|known| known.get_mut(&target.id)) else { return };
        known.set = Some((target.series_changes, now));
        let set = inheritance.series;
        if set.len() > MAX_SET {
            tracing::debug!(job = &**job, bytes = set.len(), "a series set is too large to be sent");
            return;
        }
        self.allowance = self.allowance.saturating_sub(set.len() as u64);
        let (series, body_bytes) = (known.series, known.body_bytes);
        let line = lines.entry((Arc::clone(job), target.id));
        line.or_insert(Line { series, body_bytes, set: Vec::new() }).set = set;
    }
}

/// What the master knows of a target then; `tell` is called when it has to be told what was measured.
fn compare(
    known: Option<Known>,
    measured: (u64, u64),
    interval: Duration,
    now: Millis,
    tell: impl FnOnce((u64, u64)),
) -> Known {
    let (series, body_bytes) = measured;
    let is_news = known.is_none_or(|known| {
        let changed = differs(known.series, series) || differs(known.body_bytes, body_bytes);
        changed && now - known.at >= millis(interval)
    });
    match known {
        Some(known) if !is_news => known,
        known => {
            tell(measured);
            Known { series, body_bytes, at: now, set: known.and_then(|known| known.set) }
        }
    }
}

impl Known {
    /// Whether an heir would need other series than those that the master has.
    fn wants_set(&self, target: &TargetCost, now: Millis) -> bool {
        self.set.is_none_or(|(changes, at)| {
            changes != target.series_changes && now - at >= millis(target.interval)
        })
    }
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

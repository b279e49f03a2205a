//! What targets cost, as far as the master does not know it yet.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use outrigger_model::target::TargetId;
use outrigger_wire::centre::{Costs, JobCosts};

use super::series_sets::Key;
use super::session::Millis;
use crate::scrape::TargetCost;

/// Most targets in one message.
const MAX_TARGETS: usize = 2_000;
/// Most bytes of series sets in one message, beyond the first.
const MAX_SET_BYTES: usize = 1 << 20;
/// Smaller changes of a cost are not worth a message.
const CHANGE: f64 = 0.1;

/// What a master knows.
#[derive(Debug, Default)]
pub(crate) struct CostReporter {
    known: HashMap<Arc<str>, HashMap<TargetId, Known>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    series: u64,
    body_bytes: u64,
    at: Millis,
}

/// Targets that are worth a word.
pub(crate) type Lines = BTreeMap<Key, Line>;

pub(crate) struct Line {
    pub(crate) series: u64,
    pub(crate) body_bytes: u64,
    pub(crate) set: Vec<u8>,
}

impl CostReporter {
    /// Another master, that knows nothing.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Of all targets' costs those that are new at `now`, in messages of bounded size.
    pub(crate) fn news(&mut self, costs: &[(Arc<str>, Vec<TargetCost>)], now: Millis) -> Vec<Costs> {
        let mut lines = Lines::new();
        let mut known = HashMap::new();
        for (job, targets) in costs {
            let before = self.known.remove(job).unwrap_or_default();
            let mut of_job = HashMap::with_capacity(targets.len());
            for target in targets {
                let tell = |(series, body_bytes)| {
                    let line = Line { series, body_bytes, set: Vec::new() };
                    lines.insert((Arc::clone(job), target.id), line);
                };
                let next = compare(before.get(&target.id).copied(), target, now, tell);
                of_job.extend(next.map(|next| (target.id, next)));
            }
            known.insert(Arc::clone(job), of_job);
        }
        self.known = known;
        messages(lines)
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
    Some(Known { series, body_bytes, at: now })
}

pub(crate) fn messages(lines: Lines) -> Vec<Costs> {
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

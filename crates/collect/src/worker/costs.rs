//! What targets cost, as far as the master does not know it yet, and the series sets that their heirs would need.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use outrigger_model::target::TargetId;
use outrigger_wire::centre::{Costs, JobCosts};

use super::session::Millis;
use crate::scrape::ScrapeEngine;

/// Most targets in one message.
const MAX_TARGETS: usize = 2_000;
/// Most bytes of series sets in one message, beyond the first.
const MAX_SET_BYTES: usize = 1 << 20;
/// Series sets that may be sent in one second, bytes.
const SET_BYTES_PER_SECOND: u64 = 256 << 10;
/// A larger set is not sent: its target's series would not get stale markers if this worker died.
const MAX_SET: usize = 4 << 20;
/// Series sets of one target are sent at most once in this time.
const SET_PERIOD: Millis = 5 * 60 * 1_000;
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

/// One target that is worth a word.
struct Line {
    id: TargetId,
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
        let costs = engine.costs();
        self.known.retain(|job, _| costs.iter().any(|(known, _)| known == job));
        let mut messages = Messages::default();
        for (job, targets) in costs {
            let before = self.known.remove(&job).unwrap_or_default();
            let mut known = HashMap::with_capacity(targets.len());
            for target in targets {
                let of_before = before.get(&target.id).copied();
                let Some((series, body_bytes)) = target.measured else {
                    known.extend(of_before.map(|of_before| (target.id, of_before)));
                    continue;
                };
                let mut next = of_before.unwrap_or(Known { series, body_bytes, at: now, set: None });
                let is_due = now - next.at >= millis(target.interval);
                let changed = differs(next.series, series) || differs(next.body_bytes, body_bytes);
                let mut worth_a_word = of_before.is_none() || (changed && is_due);
                let mut set = Vec::new();
                let set_is_due = match next.set {
                    None => true,
                    Some((changes, at)) => changes != target.series_changes && now - at >= SET_PERIOD,
                };
                if set_is_due
                    && self.allowance > 0
                    && let Some(inheritance) = engine.inheritance(&job, target.id)
                {
                    next.set = Some((target.series_changes, now));
                    set = inheritance.series;
                    if set.len() > MAX_SET {
                        tracing::debug!(job = &*job, bytes = set.len(), "series set is too large to be sent");
                        set = Vec::new();
                    }
                    self.allowance = self.allowance.saturating_sub(set.len() as u64);
                    worth_a_word |= !set.is_empty();
                }
                if worth_a_word {
                    (next.series, next.body_bytes, next.at) = (series, body_bytes, now);
                    messages.push(&job, Line { id: target.id, series, body_bytes, set });
                }
                known.insert(target.id, next);
            }
            self.known.insert(job, known);
        }
        messages.finish()
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
    fn push(&mut self, job: &str, line: Line) {
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
        costs.ids.push(line.id.0);
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

//! How many workers there should be: from what they measure, with hysteresis.

use outrigger_wire::centre::WorkerStatus;

/// Milliseconds of monotonic time.
type Millis = u64;

/// What a worker may be loaded with, and how slowly the wanted number follows.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalingLimits {
    /// CPU of a worker, as a share of what it may use.
    pub cpu: f64,
    /// Memory of a worker, as a share of what it may use.
    pub memory: f64,
    /// Series of a worker; counts alone where it does not know its limits.
    pub series: u64,
    /// Scrapes that are this late, seconds, mean that a worker is overloaded.
    pub lateness_seconds: f64,
    /// Never fewer workers.
    pub least: u64,
    /// Never more.
    pub most: u64,
    /// More workers are wanted only after so long a need, milliseconds.
    pub grow_after_millis: Millis,
    /// Fewer are wanted only after so long without need, milliseconds.
    pub shrink_after_millis: Millis,
}

impl Default for ScalingLimits {
    fn default() -> Self {
        Self {
            cpu: 0.6,
            memory: 0.7,
            series: 2_000_000,
            lateness_seconds: 0.5,
            least: 1,
            most: 1_000,
            grow_after_millis: 15_000,
            shrink_after_millis: 5 * 60_000,
        }
    }
}

/// One worker's share of the load.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerLoad {
    /// Name.
    pub name: std::sync::Arc<str>,
    /// Which start of it: counters begin anew with each.
    pub instance: u64,
    /// What it measured.
    pub status: WorkerStatus,
}

/// Follows the load and says how many workers are wanted.
#[derive(Debug)]
pub struct Scaling {
    limits: ScalingLimits,
    seen: std::collections::HashMap<std::sync::Arc<str>, Seen>,
    wanted: Option<u64>,
    /// Since when more, or fewer, are needed than wanted, and the least change that was needed all the while.
    pressure: Option<Pressure>,
}

/// What a worker's counters were.
#[derive(Debug, Clone, Copy)]
struct Seen {
    instance: u64,
    at: Millis,
    cpu_seconds: f64,
    /// CPUs in use, averaged.
    cpu: f64,
}

#[derive(Debug, Clone, Copy)]
struct Pressure {
    since: Millis,
    grows: bool,
    /// The number nearest to the wanted one that was needed since then.
    nearest: u64,
}

/// CPU time is measured over at least so long.
const CPU_WINDOW: Millis = 10_000;
/// Weight of a new measurement of CPU.
const SMOOTHING: f64 = 0.5;

impl Scaling {
    /// Begins without knowing anything.
    pub fn new(limits: ScalingLimits) -> Self {
        Self { limits, seen: std::collections::HashMap::new(), wanted: None, pressure: None }
    }

    /// Begins with what an earlier leader wanted.
    pub fn resume(&mut self, wanted: u64) {
        self.wanted = Some(wanted.clamp(self.limits.least, self.limits.most.max(self.limits.least)));
        self.pressure = None;
    }

    /// The wanted number, from what all workers say at monotonic time `now`. Between two calls there should be at
    /// least a second.
    ///
    /// Grows at once to the first number that is needed, later after [`ScalingLimits::grow_after_millis`] of need,
    /// and shrinks one by one at most each [`ScalingLimits::shrink_after_millis`], only if the rest could carry the
    /// load with room to spare.
    pub fn update(&mut self, now: Millis, workers: &[WorkerLoad]) -> u64 {
        self.measure(now, workers);
        let Some(needed) = self.needed(workers) else { return self.wanted.unwrap_or(self.limits.least) };
        let wanted = *self.wanted.get_or_insert(needed);
        let (needed, grows) = match needed.cmp(&wanted) {
            std::cmp::Ordering::Equal => {
                self.pressure = None;
                return wanted;
            }
            std::cmp::Ordering::Greater => (needed, true),
            std::cmp::Ordering::Less => (needed, false),
        };
        let pressure = match self.pressure.filter(|pressure| pressure.grows == grows) {
            Some(old) if grows => Pressure { nearest: old.nearest.min(needed), ..old },
            Some(old) => Pressure { nearest: old.nearest.max(needed), ..old },
            None => Pressure { since: now, grows, nearest: needed },
        };
        self.pressure = Some(pressure);
        let patience = if grows { self.limits.grow_after_millis } else { self.limits.shrink_after_millis };
        if now.saturating_sub(pressure.since) >= patience {
            self.pressure = None;
            self.wanted = Some(if grows { pressure.nearest } else { wanted - 1 });
        }
        self.wanted.unwrap_or(wanted)
    }

    fn measure(&mut self, now: Millis, workers: &[WorkerLoad]) {
        self.seen.retain(|name, _| workers.iter().any(|worker| worker.name == *name));
        for worker in workers {
            let cpu_seconds = worker.status.cpu_seconds;
            let fresh = Seen { instance: worker.instance, at: now, cpu_seconds, cpu: 0.0 };
            let seen = self.seen.entry(worker.name.clone()).or_insert(fresh);
            if seen.instance != worker.instance || cpu_seconds < seen.cpu_seconds {
                *seen = fresh;
            }
            let passed = now.saturating_sub(seen.at);
            if passed >= CPU_WINDOW {
                let used = (cpu_seconds - seen.cpu_seconds) * 1_000.0 / passed as f64;
                let cpu =
                    if seen.cpu == 0.0 { used } else { SMOOTHING * used + (1.0 - SMOOTHING) * seen.cpu };
                *seen = Seen { at: now, cpu_seconds, cpu, ..fresh };
            }
        }
    }

    /// How many workers the load needs; `None` while there is none that could say.
    fn needed(&self, workers: &[WorkerLoad]) -> Option<u64> {
        if workers.is_empty() {
            return None;
        }
        let busy: f64 = workers.iter().map(|worker| self.busy(worker)).sum();
        let mut needed = busy.ceil() as u64;
        // Whoever is late or falls behind needs help, whatever the shares say.
        let strained = workers.iter().filter(|worker| self.is_strained(&worker.status)).count() as u64;
        if strained * 2 > workers.len() as u64 {
            needed = needed.max(workers.len() as u64 + 1);
        }
        Some(needed.clamp(self.limits.least, self.limits.most.max(self.limits.least)))
    }

    /// The share of a worker that its load would fill, by what is scarcest; 1 is as full as it should be.
    fn busy(&self, worker: &WorkerLoad) -> f64 {
        let status = &worker.status;
        let cpu = self.seen.get(&worker.name).map_or(0.0, |seen| seen.cpu);
        let share = |used: f64, of: f64, limit: f64| if of > 0.0 { used / (of * limit) } else { 0.0 };
        let cpu = share(cpu, status.cpu_limit, self.limits.cpu);
        let series = share(status.series as f64, self.limits.series as f64, 1.0);
        // Memory that no series account for would not go to another worker: what is free at no load does not count.
        let memory =
            share(status.resident_bytes as f64, status.memory_limit_bytes as f64, self.limits.memory);
        let memory = if memory > 1.0 { memory } else { 0.0 };
        cpu.max(series).max(memory)
    }

    fn is_strained(&self, status: &WorkerStatus) -> bool {
        status.lateness_seconds > self.limits.lateness_seconds
    }
}

#[cfg(test)]
mod tests;

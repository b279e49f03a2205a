//! How many shards an endpoint needs (Prometheus `QueueManager.calculateDesiredShards` and `shouldReshard`).
//!
//! Unlike there, what waits asks for no more shards: it stays with those that it waits in, or a series could overtake
//! itself, and new ones would only take memory.

use std::time::Duration;

/// How often the number of shards is reconsidered.
pub(crate) const PERIOD: Duration = Duration::from_secs(10);

/// Weight of the newest period in the averages.
const WEIGHT: f64 = 0.2;

/// Part of the present number by which the wanted one must differ.
const TOLERANCE: f64 = 0.3;

/// From this far behind on, shards are wanted for so many times what comes in, and the number never goes down.
const BEHIND: Duration = Duration::from_secs(10);
const HEADROOM: f64 = 1.3;

/// Running totals and the present state of an endpoint.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Observation {
    /// Samples that were ever taken in.
    pub(crate) samples_in: u64,
    /// Samples that were ever delivered.
    pub(crate) samples_out: u64,
    /// Time spent in requests that were answered well, summed over all shards.
    pub(crate) sending: Duration,
    /// From the newest sample delivered to the newest taken in.
    pub(crate) behind: Duration,
    /// Some shard failed during the last period: more of them would make it worse.
    pub(crate) failing: bool,
}

/// Moving averages over periods.
#[derive(Debug, Default)]
pub(crate) struct ShardPlanner {
    last: Observation,
    samples_in: Rate,
    samples_out: Rate,
    sending_seconds: Rate,
}

impl ShardPlanner {
    /// The number of shards to have from now on, between `min` and `max`; to be called once in each [`PERIOD`].
    pub(crate) fn plan(&mut self, observed: Observation, shards: usize, min: usize, max: usize) -> usize {
        let sent = observed.samples_out.saturating_sub(self.last.samples_out);
        self.samples_in.tick(observed.samples_in.saturating_sub(self.last.samples_in) as f64);
        self.samples_out.tick(sent as f64);
        let sending = observed.sending.saturating_sub(self.last.sending);
        self.sending_seconds.tick(sending.as_secs_f64());
        self.last = observed;

        let unchanged = shards.clamp(min, max);
        if sent == 0 || observed.failing || self.samples_out.per_second <= 0.0 {
            return unchanged;
        }
        let seconds_per_sample = self.sending_seconds.per_second / self.samples_out.per_second;
        let headroom = if observed.behind >= BEHIND { HEADROOM } else { 1.0 };
        let wanted = (seconds_per_sample * self.samples_in.per_second * headroom).ceil();
        let tolerated = shards as f64 * (1.0 - TOLERANCE)..=shards as f64 * (1.0 + TOLERANCE);
        if tolerated.contains(&wanted) {
            return unchanged;
        }
        // A cast from f64 saturates; the clamp follows.
        let wanted = wanted as usize;
        if wanted < shards && observed.behind >= BEHIND {
            return unchanged;
        }
        wanted.clamp(min, max)
    }
}

/// An exponentially weighted average.
#[derive(Debug, Default)]
struct Rate {
    per_second: f64,
    started: bool,
}

impl Rate {
    fn tick(&mut self, added: f64) {
        let now = added / PERIOD.as_secs_f64();
        if self.started {
            self.per_second += WEIGHT * (now - self.per_second);
        } else {
            self.per_second = now;
            self.started = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plans for an endpoint that is in a steady state for many periods.
    fn steady(in_per_second: u64, out_per_second: u64, busy: f64, behind: u64, shards: usize) -> usize {
        let mut planner = ShardPlanner::default();
        let mut observed = Observation::default();
        let mut planned = shards;
        for _ in 0..20 {
            observed.samples_in += in_per_second * 10;
            observed.samples_out += out_per_second * 10;
            observed.sending += Duration::from_secs_f64(busy * 10.0);
            observed.behind = Duration::from_secs(behind);
            planned = planner.plan(observed, shards, 1, 50);
        }
        planned
    }

    #[test]
    fn shards_follow_the_time_that_sending_takes() {
        // in/s, out/s, busy shards, seconds behind, shards, expected
        for (samples_in, samples_out, busy, behind, shards, expected) in [
            (1_000, 1_000, 0.1, 0, 1, 1),
            (1_000, 1_000, 1.0, 0, 1, 1),
            (2_000, 1_000, 1.0, 10, 1, 3),
            (1_000, 1_000, 3.2, 0, 4, 4),
            (1_000, 1_000, 0.4, 0, 4, 1),
            (1_000, 1_000, 0.4, 60, 4, 4),
            (100_000, 1_000, 1.0, 600, 1, 50),
            (1_000, 0, 1.0, 60, 2, 2),
            // An hour's backlog goes fast enough.
            (100_000, 400_000, 1.0, 3_600, 1, 1),
        ] {
            let planned = steady(samples_in, samples_out, busy, behind, shards);
            assert_eq!(
                planned, expected,
                "{samples_in} in, {samples_out} out, {busy} busy, {behind} s behind"
            );
        }
    }

    #[test]
    fn nothing_changes_while_the_receiver_fails_but_the_bounds_hold() {
        let failing = Observation {
            samples_in: 1_000_000,
            samples_out: 10_000,
            sending: Duration::from_secs(10),
            behind: Duration::from_secs(100),
            failing: true,
        };
        assert_eq!(ShardPlanner::default().plan(failing, 1, 1, 50), 1);
        assert_eq!(ShardPlanner::default().plan(failing, 1, 4, 50), 4);
        assert_eq!(ShardPlanner::default().plan(failing, 60, 1, 50), 50);
    }
}

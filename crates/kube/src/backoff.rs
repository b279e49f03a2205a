//! Decorrelated jitter, and the small generator of random numbers behind it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// A source of jitter (xorshift64*). Not for secrets.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// A sequence that is the same for the same seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A sequence that differs in every process and for every caller.
    pub(crate) fn from_process() -> Self {
        Self::seeded(RandomState::new().build_hasher().finish())
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn fraction(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `[low, high)`.
    pub(crate) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        low + high.saturating_sub(low).mul_f64(self.fraction())
    }
}

/// Delays that grow with jitter: each is uniform between the floor and three times the one before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backoff {
    previous: Option<Duration>,
}

impl Backoff {
    /// The next delay. The first one after a [`reset`](Self::reset) is shorter than `floor`.
    pub(crate) fn next(&mut self, floor: Duration, cap: Duration, random: &mut Random) -> Duration {
        let delay = match self.previous {
            None => random.between(Duration::ZERO, floor),
            Some(previous) => random.between(floor, previous.saturating_mul(3)).min(cap),
        };
        self.previous = Some(delay.max(floor));
        delay.min(cap)
    }

    /// Forgets earlier failures.
    pub(crate) fn reset(&mut self) {
        self.previous = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_start_short_stay_between_floor_and_cap_and_reach_the_cap() {
        let (floor, cap) = (Duration::from_millis(800), Duration::from_secs(30));
        for seed in 0..200 {
            let mut random = Random::seeded(seed);
            let mut backoff = Backoff::default();
            assert!(backoff.next(floor, cap, &mut random) < floor);
            let delays: Vec<_> = (0..60).map(|_| backoff.next(floor, cap, &mut random)).collect();
            assert!(delays.iter().all(|d| (floor..=cap).contains(d)), "{delays:?}");
            assert!(delays.iter().any(|d| *d > cap / 2), "{delays:?}");
            backoff.reset();
            assert!(backoff.next(floor, cap, &mut random) < floor);
        }
    }

    #[test]
    fn fractions_fill_the_unit_interval() {
        let mut random = Random::seeded(7);
        let mut buckets = [0u32; 10];
        for _ in 0..10_000 {
            buckets[(random.fraction() * 10.0) as usize] += 1;
        }
        assert!(buckets.iter().all(|count| (800..1200).contains(count)), "{buckets:?}");
    }
}

//! How late scrapes begin, over the last minute.

use std::collections::VecDeque;

use super::session::Millis;

const WINDOW: Millis = 60_000;

/// Bucket counts as they were, oldest first, so that the oldest is just outside of the window.
#[derive(Debug, Default)]
pub(crate) struct Lateness {
    past: VecDeque<(Millis, Vec<u64>)>,
}

impl Lateness {
    /// Takes the counts of now (not cumulative, the last bound is infinite); returns the bound that 99 % of the scrapes of
    /// the last minute are within, seconds: 0 without any, twice the last finite one where that is not enough.
    pub(crate) fn p99(&mut self, now: Millis, buckets: &[(f64, u64)]) -> f64 {
        let counts: Vec<u64> = buckets.iter().map(|(_, count)| *count).collect();
        while self.past.len() > 1 && self.past[1].0 + WINDOW <= now {
            self.past.pop_front();
        }
        let before = self.past.front().map(|(_, counts)| counts.clone()).unwrap_or_default();
        let recent: Vec<u64> = counts
            .iter()
            .enumerate()
            .map(|(at, count)| count.saturating_sub(before.get(at).copied().unwrap_or(0)))
            .collect();
        self.past.push_back((now, counts));
        let total: u64 = recent.iter().sum();
        let mut seen = 0;
        for ((bound, _), count) in buckets.iter().zip(recent) {
            seen += count;
            if total > 0 && seen * 100 >= total * 99 {
                let last = buckets.iter().rev().find(|(bound, _)| bound.is_finite());
                return if bound.is_finite() { *bound } else { last.map_or(0.0, |(bound, _)| bound * 2.0) };
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_minute_counts() {
        let mut lateness = Lateness::default();
        let buckets =
            |counts: [u64; 3]| [0.01, 0.1, f64::INFINITY].into_iter().zip(counts).collect::<Vec<_>>();
        assert_eq!(lateness.p99(0, &buckets([0, 0, 0])), 0.0);
        assert_eq!(lateness.p99(1_000, &buckets([100, 1, 0])), 0.01);
        assert_eq!(lateness.p99(2_000, &buckets([100, 5, 0])), 0.1);
        assert_eq!(lateness.p99(3_000, &buckets([100, 5, 9])), 0.2);
        for second in 4..=70 {
            let p99 = lateness.p99(second * 1_000, &buckets([100 + second, 5, 9]));
            assert_eq!(p99, if second < 63 { 0.2 } else { 0.01 }, "second {second}");
        }
        assert!(lateness.past.len() < 70);
    }
}

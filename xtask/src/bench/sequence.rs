//! Whether what a receiver gets of each series is what its target said, each sample once and in order.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::message::Sample;
use super::targets::VARIANTS;

/// What the samples of all series were like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// Series that had samples.
    pub series: u64,
    /// Samples of the time of the one before.
    pub repeated: u64,
    /// Samples older than the one before.
    pub older: u64,
    /// Ticks without a sample between two samples of one series.
    pub missing: u64,
    /// Series whose values did not come in turn as those of a target do: the scrape's own report, and what is wrong.
    pub out_of_turn: u64,
}

/// Follows each series.
pub(super) struct Sequences {
    interval_millis: i64,
    series: HashMap<u64, Last>,
    found: Sequence,
}

struct Last {
    timestamp: i64,
    /// The last values, in turn.
    values: [u64; VARIANTS as usize],
    samples: u32,
    out_of_turn: bool,
}

impl Sequences {
    pub(super) fn new(interval_millis: u64) -> Self {
        let interval_millis = i64::try_from(interval_millis).unwrap_or(i64::MAX).max(1);
        Self { interval_millis, series: HashMap::new(), found: Sequence::default() }
    }

    pub(super) fn found(&self) -> Sequence {
        Sequence { series: self.series.len() as u64, ..self.found }
    }

    /// Takes the samples of one series as they came.
    pub(super) fn see(&mut self, series: u64, samples: &[Sample]) {
        for sample in samples {
            self.see_one(series, *sample);
        }
    }

    fn see_one(&mut self, series: u64, sample: Sample) {
        let first =
            Last { timestamp: i64::MIN, values: [0; VARIANTS as usize], samples: 0, out_of_turn: false };
        let last = self.series.entry(series).or_insert(first);
        if last.samples > 0 {
            let step = sample.timestamp - last.timestamp;
            match step {
                0 => return self.found.repeated += 1,
                ..0 => return self.found.older += 1,
                _ => {}
            }
            // To the nearest tick: a scrape that is late has a time that is.
            let ticks = (step + self.interval_millis / 2) / self.interval_millis;
            self.found.missing += ticks.saturating_sub(1).unsigned_abs();
        }
        let turn = &mut last.values[(last.samples % VARIANTS) as usize];
        let wrong = last.samples >= VARIANTS && *turn != sample.bits;
        if wrong && !last.out_of_turn {
            last.out_of_turn = true;
            self.found.out_of_turn += 1;
        }
        *turn = sample.bits;
        last.timestamp = sample.timestamp;
        last.samples += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_late_lost_or_changed_is_counted() {
        let mut sequences = Sequences::new(1_000);
        let mut see = |series, samples: &[(i64, u64)]| {
            let samples: Vec<Sample> =
                samples.iter().map(|&(timestamp, bits)| Sample { timestamp, bits }).collect();
            sequences.see(series, &samples);
            sequences.found()
        };
        let good = see(1, &[(500, 7), (1_510, 8), (2_490, 9), (3_500, 7), (4_500, 8)]);
        assert_eq!(good, Sequence { series: 1, ..Sequence::default() });
        assert_eq!(see(1, &[(4_500, 8)]).repeated, 1);
        assert_eq!(see(1, &[(3_500, 7)]).older, 1);
        assert_eq!(see(1, &[(7_500, 9)]).missing, 2);
        assert_eq!(see(1, &[(8_500, 1), (9_500, 1)]).out_of_turn, 1);
        let two = see(2, &[(0, 0)]);
        assert_eq!(two, Sequence { series: 2, repeated: 1, older: 1, missing: 2, out_of_turn: 1 });
    }
}

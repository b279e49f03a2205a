//! When a target is scraped: ticks on the absolute wall clock, so that a restart or another worker keeps the phase.

use std::time::Duration;

use outrigger_config::prometheus::ScrapePhase;
use outrigger_model::sample::Timestamp;
use outrigger_model::target::TargetId;

/// Latest start after its tick for which a scrape still carries the tick's time
/// (Prometheus `scrape.ScrapeTimestampTolerance`).
const TOLERANCE_MILLIS: i64 = 2;

/// The ticks of one target: all times `t` with `t mod interval = offset`, in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    interval: i64,
    offset: i64,
}

impl Schedule {
    /// Spreads targets over the interval by `id ^ offset_seed`, as Prometheus' `Target.offset` does.
    ///
    /// An interval below one millisecond counts as one.
    pub fn new(id: TargetId, offset_seed: u64, interval: Duration) -> Self {
        Self::with_phase(ScrapePhase::Spread, id, offset_seed, interval)
    }

    /// Ticks in the phase that a job asks for, as vmagent's `scrape_offset` and `scrape_align_interval` do: an offset
    /// counts from whole multiples of the interval and is taken modulo it; alignment to at least the interval puts
    /// all targets on whole multiples of the interval (an hour's beginning included, where it is one), alignment to
    /// less spreads them over the multiples of it that one interval has.
    pub fn with_phase(phase: ScrapePhase, id: TargetId, offset_seed: u64, interval: Duration) -> Self {
        let interval = millis(interval);
        let spread = id.0 ^ offset_seed;
        let offset = match phase {
            ScrapePhase::Spread => {
                let nanos = (interval as u128 * 1_000_000).min(u128::from(u64::MAX)) as u64;
                (spread % nanos / 1_000_000) as i64
            }
            ScrapePhase::Offset(offset) => (offset.as_millis() % interval as u128) as i64,
            ScrapePhase::Aligned(align) => {
                let align = millis(align);
                let choices = (interval as u64).div_ceil(align as u64);
                align.saturating_mul((spread % choices) as i64) % interval
            }
        };
        Self { interval, offset: offset.min(interval - 1) }
    }

    /// Milliseconds between ticks.
    pub fn interval_millis(&self) -> i64 {
        self.interval
    }

    /// The first tick at or after `time`.
    pub fn tick_from(&self, time: Timestamp) -> Timestamp {
        let past = (time.millis() - self.offset).rem_euclid(self.interval);
        let wait = if past == 0 { 0 } else { self.interval - past };
        time.plus_millis(wait)
    }

    /// The first tick after `time`.
    pub fn tick_after(&self, time: Timestamp) -> Timestamp {
        self.tick_from(time.plus_millis(1))
    }

    /// The timestamp of a scrape that starts at `now` for `tick`: the tick itself within the tolerance
    /// (2 ms, at most 1 % of the interval), else `now`.
    pub fn snap(&self, tick: Timestamp, now: Timestamp) -> Timestamp {
        let tolerance = TOLERANCE_MILLIS.min(self.interval / 100);
        if now.since(tick).abs() <= tolerance { tick } else { now }
    }

    /// The tick to scrape next, after the scrape for `tick` ended at `now`.
    ///
    /// Ticks that passed meanwhile are lost, except one that passed less than a tenth of the interval ago (a
    /// target that hangs until a timeout as long as the interval ends just after its next tick): that one is
    /// returned, in the past, and is to be scraped at once. A tick at or before `scraped`, the timestamp of that scrape, is
    /// not: a scrape that began late has taken its place. After the wall clock was set back, the old phase counts from the
    /// new time.
    pub fn next(&self, tick: Timestamp, scraped: Timestamp, now: Timestamp) -> Timestamp {
        let upcoming = self.tick_after(now);
        let behind = now.since(tick);
        if behind >= self.interval {
            let passed = upcoming.plus_millis(-self.interval);
            let is_open = now.since(passed) <= self.interval / 10 && passed > scraped;
            return if is_open { passed } else { upcoming };
        }
        // Woken a little early, the tick itself is still ahead: it has just been scraped.
        if upcoming == tick { self.tick_after(tick) } else { upcoming }
    }
}

/// At least one, and few enough to be added to any time.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4).clamp(1, i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn schedule(id: u64, interval_millis: u64) -> Schedule {
        Schedule::new(TargetId(id), 0, Duration::from_millis(interval_millis))
    }

    #[test]
    fn a_scrape_within_the_tolerance_carries_its_tick() {
        // interval, lateness, snapped
        for (interval, late, snapped) in [
            (15_000, 0, true),
            (15_000, 2, true),
            (15_000, -2, true),
            (15_000, 3, false),
            (15_000, -3, false),
            (100, 1, true),
            (100, 2, false),
            (50, 1, false),
        ] {
            let schedule = schedule(7, interval);
            let tick = schedule.tick_from(at(1_000_000));
            let now = tick.plus_millis(late);
            let expected = if snapped { tick } else { now };
            assert_eq!(schedule.snap(tick, now), expected, "{late} ms late of {interval}");
        }
    }

    #[test]
    fn a_tick_that_passes_during_a_scrape_is_lost_unless_it_has_just_passed() {
        let schedule = schedule(0, 10_000);
        let tick = at(100_000);
        // end of the scrape, next tick
        for (end, next) in [
            (100_000, 110_000),
            (100_200, 110_000),
            (99_999, 110_000),
            (109_999, 110_000),
            (110_000, 110_000),
            (110_004, 110_000),
            (111_000, 110_000),
            (111_001, 120_000),
            (119_999, 120_000),
            (120_500, 120_000),
            (145_000, 150_000),
        ] {
            assert_eq!(schedule.next(tick, tick, at(end)), at(next), "scrape ended at {end}");
        }
        // The scrape itself began a whole interval late.
        assert_eq!(schedule.next(tick, at(110_003), at(110_020)), at(120_000));
        assert_eq!(schedule.next(tick, at(109_990), at(110_020)), at(110_000));
    }

    #[test]
    fn a_clock_set_back_does_not_silence_the_target() {
        let schedule = schedule(0, 10_000);
        assert_eq!(schedule.next(at(10_000_000), at(10_000_000), at(5_003_000)), at(5_010_000));
    }

    #[test]
    fn phases_are_spread_and_move_with_the_seed() {
        let interval = Duration::from_secs(10);
        let mut buckets = [0; 10];
        for id in 0..10_000u64 {
            let id = TargetId(id.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let tick = Schedule::new(id, 1, interval).tick_from(at(0));
            buckets[(tick.millis() / 1_000) as usize] += 1;
        }
        assert!(buckets.iter().all(|&n| (800..1_200).contains(&n)), "{buckets:?}");
        let id = TargetId(0x9e37_79b9_7f4a_7c15);
        assert_ne!(Schedule::new(id, 1, interval), Schedule::new(id, 0x00ff_00ff_1234_5678, interval));
    }

    #[test]
    fn a_phase_that_is_asked_for_is_kept() {
        let (seconds, minutes) = (Duration::from_secs, |minutes: u64| Duration::from_secs(60 * minutes));
        use ScrapePhase::{Aligned, Offset};
        // phase, interval, the times within the interval at which some target is scraped, in seconds
        for (phase, interval, expected) in [
            (Offset(seconds(0)), minutes(1), &[0][..]),
            (Offset(seconds(10)), minutes(1), &[10]),
            (Offset(seconds(70)), minutes(1), &[10]),
            (Aligned(minutes(60)), minutes(1), &[0]),
            (Aligned(minutes(1)), minutes(1), &[0]),
            (Aligned(minutes(60)), minutes(7), &[0]),
            (Aligned(minutes(1)), minutes(5), &[0, 60, 120, 180, 240]),
            (Aligned(minutes(2)), minutes(5), &[0, 120, 240]),
        ] {
            let mut found: Vec<i64> = (0..200u64)
                .map(|id| Schedule::with_phase(phase, TargetId(id * 7_919), 5, interval))
                .map(|schedule| schedule.tick_from(at(0)).millis() / 1_000)
                .collect();
            found.sort_unstable();
            found.dedup();
            assert_eq!(found, expected, "{phase:?} of {interval:?}");
        }
        let hour = Schedule::with_phase(Aligned(minutes(60)), TargetId(7), 5, minutes(1));
        assert_eq!(hour.tick_from(at(3_599_999)), at(3_600_000));
        let of_nothing = Schedule::with_phase(Aligned(Duration::ZERO), TargetId(7), 5, Duration::ZERO);
        assert_eq!(of_nothing.tick_from(at(17)), at(17));
        let huge = Schedule::with_phase(Offset(Duration::MAX), TargetId(7), 5, Duration::MAX);
        assert!(huge.tick_from(at(0)) >= at(0));
    }

    proptest! {
        #[test]
        fn ticks_are_one_interval_apart_in_a_fixed_phase(
            id: u64, seed: u64, interval in 1u64..4_000_000, start in 0i64..4_000_000_000_000, ran in 0i64..10_000_000,
        ) {
            let schedule = Schedule::new(TargetId(id), seed, Duration::from_millis(interval));
            let interval = interval as i64;
            let expected_phase = ((id ^ seed) % (interval as u64 * 1_000_000) / 1_000_000) as i64;
            let tick = schedule.tick_from(at(start));
            prop_assert!((0..interval).contains(&tick.since(at(start))));
            prop_assert_eq!(tick.millis().rem_euclid(interval), expected_phase);
            prop_assert_eq!(schedule.tick_after(tick), tick.plus_millis(interval));
            prop_assert_eq!(schedule.tick_from(tick), tick);

            let end = tick.plus_millis(ran);
            let next = schedule.next(tick, tick, end);
            prop_assert!(next > tick, "never the same tick twice");
            prop_assert_eq!(next.millis().rem_euclid(interval), expected_phase);
            prop_assert!(end.since(next) <= interval / 10, "no older backlog than a tenth of the interval");
            prop_assert!(next.since(end) <= interval, "never further away than one interval");
        }
    }
}

//! From one owner of a target to the next: what is left, and when the heir scrapes first.

use std::sync::Arc;

use outrigger_model::sample::Timestamp;
use outrigger_model::target::{ScrapeTarget, TargetId};
use outrigger_wire::centre::Inheritance;
use tokio::sync::mpsc;

use super::schedule::Schedule;

/// Clocks of two machines that are further apart than this, or than two intervals, are not compared: what counts then
/// is how long ago the last scrape was.
const TRUSTED_MILLIS: i64 = 30_000;

/// A target that is no longer scraped here.
#[derive(Debug, Clone, PartialEq)]
pub struct HandedOver {
    /// `job_name`.
    pub job: Arc<str>,
    /// Identity within the job.
    pub id: TargetId,
    /// The target; `None` when it was not known here.
    pub target: Option<Arc<ScrapeTarget>>,
    /// For the next owner; `None` when the target was not known here or never scraped.
    pub inheritance: Option<Inheritance>,
}

/// Takes targets as they are handed over.
pub type HandoverSender = mpsc::UnboundedSender<HandedOver>;

/// What the owner before left, by the clock of this machine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Inherited {
    /// When the last scrape was, at the latest.
    last: Timestamp,
    reckoning: Reckoning,
    /// Its series ([`super::series_set`]).
    pub(crate) series: Box<[u8]>,
}

/// How the time of the last scrape is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reckoning {
    /// The clocks of both machines agree: it is on the ticks of this one, too.
    Agreed,
    /// By its age.
    ByAge,
    /// Not at all: the owner before has died.
    Unknown,
}

impl Inherited {
    /// What a message that arrives at `now` says about a target with this interval in milliseconds; `None` when it says
    /// nothing.
    pub(crate) fn receive(message: Inheritance, interval: i64, now: Timestamp) -> Option<Self> {
        let series: Box<[u8]> = message.series.into();
        if message.last_scrape_millis == 0 {
            let unknown = Self { last: now.plus_millis(-1), reckoning: Reckoning::Unknown, series };
            return (!unknown.series.is_empty()).then_some(unknown);
        }
        let age = i64::try_from(message.last_scrape_age_millis).unwrap_or(i64::MAX / 2);
        let stated = Timestamp::from_millis(message.last_scrape_millis);
        let estimated = now.plus_millis(-age);
        let ahead = estimated.since(stated);
        let agreed = ahead >= -interval / 2 && ahead <= TRUSTED_MILLIS.max(interval.saturating_mul(2));
        Some(match agreed {
            true => Self { last: stated, reckoning: Reckoning::Agreed, series },
            false => Self { last: estimated, reckoning: Reckoning::ByAge, series },
        })
    }

    /// The time of the last scrape, at the latest.
    pub(crate) fn last(&self) -> Timestamp {
        self.last
    }

    /// The message for an owner yet after this one.
    pub(crate) fn pass_on(self, now: Timestamp) -> Inheritance {
        match self.reckoning {
            Reckoning::Unknown => Inheritance { series: self.series.into(), ..Inheritance::default() },
            Reckoning::Agreed | Reckoning::ByAge => inheritance(self.last, self.series.into(), now),
        }
    }

    /// The heir's first tick and the number of ticks that nobody scraped: the one after the last scrape; when that has
    /// passed meanwhile, the last one that has, to be scraped at once. After a long time, the next one.
    pub(crate) fn first_tick(&self, schedule: &Schedule, now: Timestamp) -> (Timestamp, u64) {
        let interval = schedule.interval_millis();
        let due = match self.reckoning {
            Reckoning::Agreed => schedule.tick_after(self.last),
            Reckoning::ByAge => schedule.tick_from(self.last.plus_millis(interval / 2 + interval % 2)),
            Reckoning::Unknown => schedule.tick_from(now),
        };
        if due >= now {
            return (due, 0);
        }
        let upcoming = schedule.tick_after(now);
        let passed = upcoming.plus_millis(-interval);
        let first = if now.since(self.last) < interval.saturating_mul(2) { passed } else { upcoming };
        (first, u64::try_from(first.since(due) / interval).unwrap_or(0))
    }
}

/// A message about a target that was last scraped at `last` by the clock whose time is `now`.
pub(crate) fn inheritance(last: Timestamp, series: Vec<u8>, now: Timestamp) -> Inheritance {
    Inheritance {
        last_scrape_millis: last.millis(),
        last_scrape_age_millis: u64::try_from(now.since(last)).unwrap_or(0),
        series,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_heir_takes_the_tick_after_the_last_scrape() {
        let schedule = Schedule::new(TargetId(0), 0, Duration::from_secs(10));
        // The old owner's time of the last scrape and its age, the heir's clock, its first tick, ticks lost.
        for (name, last, age, now, first, lost) in [
            ("at once", 100_000, 20, 100_025, 110_000, 0),
            ("after a late scrape", 103_000, 20, 103_025, 110_000, 0),
            ("just before the next tick", 100_000, 9_990, 109_999, 110_000, 0),
            ("at the tick itself", 100_000, 9_990, 110_000, 110_000, 0),
            ("the tick has passed", 100_000, 9_990, 110_400, 110_000, 0),
            ("long ago", 100_000, 9_990, 126_000, 130_000, 2),
            ("the message was long under way", 100_000, 0, 108_000, 110_000, 0),
            ("the heir's clock is 3 ms behind", 100_000, 5, 100_002, 110_000, 0),
            ("the heir's clock is 4 s behind", 100_000, 5, 96_005, 110_000, 0),
            ("the heir's clock is 6 s behind", 100_000, 5, 94_005, 100_000, 0),
            ("the heir's clock is 10 minutes behind", 700_000, 5, 100_005, 110_000, 0),
            ("the heir's clock is 10 minutes ahead", 100_000, 5, 700_005, 710_000, 0),
            ("and its ticks are in another phase", 100_000, 5, 704_005, 710_000, 0),
            ("or in yet another", 100_000, 5, 707_005, 720_000, 0),
        ] {
            let now = Timestamp::from_millis(now);
            let message =
                Inheritance { last_scrape_millis: last, last_scrape_age_millis: age, series: vec![] };
            let inherited = Inherited::receive(message, 10_000, now).unwrap();
            let first = (Timestamp::from_millis(first), lost);
            assert_eq!(inherited.first_tick(&schedule, now), first, "{name}");
        }
    }

    #[test]
    fn series_of_an_owner_that_died_come_without_a_time() {
        let schedule = Schedule::new(TargetId(0), 0, Duration::from_secs(10));
        let now = Timestamp::from_millis(103_000);
        let orphaned = Inheritance { series: vec![1], ..Inheritance::default() };
        let inherited = Inherited::receive(orphaned.clone(), 10_000, now).unwrap();
        assert_eq!(inherited.first_tick(&schedule, now), (Timestamp::from_millis(110_000), 0));
        assert!(inherited.last() < now);
        assert_eq!(inherited.pass_on(now), orphaned);
        assert_eq!(Inherited::receive(Inheritance::default(), 10_000, now), None);
    }
}

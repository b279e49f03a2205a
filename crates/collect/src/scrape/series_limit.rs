//! Most series that a target, or all targets of a job, may have in 24 hours (`series_limit`, `job_series_limit`).

use std::collections::HashSet;

use outrigger_model::sample::Timestamp;
use parking_lot::Mutex;

/// How long a series counts, from the beginning of the window in which it was admitted.
const WINDOW_MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// The limits that count for one target.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SeriesLimits<'a> {
    pub(crate) target: Option<&'a SeriesLimit>,
    pub(crate) job: Option<&'a SeriesLimit>,
}

/// In which windows of which limits the series of a target were admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stamp([Option<(u64, u64)>; 2]);

impl SeriesLimits<'_> {
    /// Whether there is any limit.
    pub(crate) fn are_there(&self) -> bool {
        self.target.is_some() || self.job.is_some()
    }

    /// Whether the series of this hash fits all limits.
    pub(crate) fn admit(&self, series: u64) -> bool {
        // What the job leaves out must not count for the target.
        self.target.is_none_or(|limit| limit.has_room_for(series))
            && self.job.is_none_or(|limit| limit.admit(series))
            && self.target.is_none_or(|limit| limit.admit(series))
    }

    /// Changes when every series has to ask again.
    pub(crate) fn stamp(&self, now: Timestamp) -> Stamp {
        Stamp([self.target, self.job].map(|limit| limit.map(|limit| (limit.window(now), limit.limit()))))
    }
}

/// Admits series until there are as many as the limit; the first of a window win. Memory is bounded by the limit.
#[derive(Debug)]
pub(crate) struct SeriesLimit {
    limit: u64,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    number: u64,
    began: Timestamp,
    admitted: HashSet<u64>,
}

impl SeriesLimit {
    /// A limit whose first window begins now. `None` for no limit, which is written 0.
    pub(crate) fn new(limit: u64, now: Timestamp) -> Option<Self> {
        let window = Window { number: 0, began: now, admitted: HashSet::new() };
        (limit > 0).then(|| Self { limit, window: Mutex::new(window) })
    }

    /// The number of the window that `now` is in. In another window than that in which a target's series were
    /// admitted, each of them must ask again: otherwise those that stay would not count.
    fn window(&self, now: Timestamp) -> u64 {
        let mut window = self.window.lock();
        // A clock that was set back begins a window as well: it must not keep the old one for ever.
        if !(0..WINDOW_MILLIS).contains(&now.since(window.began)) {
            *window = Window { number: window.number + 1, began: now, admitted: HashSet::new() };
        }
        window.number
    }

    /// Whether the series of this hash is one of those that fit.
    pub(crate) fn admit(&self, series: u64) -> bool {
        let mut window = self.window.lock();
        if window.admitted.contains(&series) {
            return true;
        }
        let fits = (window.admitted.len() as u64) < self.limit;
        if fits {
            window.admitted.insert(series);
        }
        fits
    }

    fn has_room_for(&self, series: u64) -> bool {
        let window = self.window.lock();
        (window.admitted.len() as u64) < self.limit || window.admitted.contains(&series)
    }

    /// The limit.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Series admitted in the current window.
    pub(crate) fn admitted(&self) -> u64 {
        self.window.lock().admitted.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn no_limit_admits_by_not_being_there() {
        assert!(SeriesLimit::new(0, at(0)).is_none());
    }

    #[test]
    fn the_first_series_of_a_window_are_admitted_again_and_again() {
        let limit = SeriesLimit::new(2, at(0)).unwrap();
        let admitted: Vec<bool> = [7, 8, 7, 9, 8, 9].map(|series| limit.admit(series)).into();
        assert_eq!(admitted, [true, true, true, false, true, false]);
        assert_eq!((limit.admitted(), limit.limit()), (2, 2));
    }

    #[test]
    fn a_series_that_the_job_leaves_out_takes_no_room_of_its_target() {
        let [target, job] = [3, 2].map(|limit| SeriesLimit::new(limit, at(0)).unwrap());
        let limits = SeriesLimits { target: Some(&target), job: Some(&job) };
        let admitted: Vec<bool> = [1, 2, 3, 4, 1].map(|series| limits.admit(series)).into();
        assert_eq!(admitted, [true, true, false, false, true]);
        assert_eq!((target.admitted(), job.admitted()), (2, 2));
        let stamp = limits.stamp(at(0));
        assert_eq!(limits.stamp(at(1)), stamp);
        assert_ne!(limits.stamp(at(WINDOW_MILLIS)), stamp);
        assert_ne!(SeriesLimits { target: None, ..limits }.stamp(at(1)), stamp);
        assert_eq!(SeriesLimits::default().stamp(at(5)), Stamp::default());
    }

    #[test]
    fn a_day_later_others_may_come_first() {
        let limit = SeriesLimit::new(1, at(1_000)).unwrap();
        assert!(limit.admit(7));
        let first = limit.window(at(WINDOW_MILLIS + 999));
        assert!(!limit.admit(8));
        let second = limit.window(at(WINDOW_MILLIS + 1_000));
        assert_ne!(first, second);
        assert_eq!(limit.admitted(), 0);
        assert!(limit.admit(8) && !limit.admit(7));
        assert_eq!(limit.window(at(WINDOW_MILLIS + 2_000)), second);
        assert_ne!(limit.window(at(0)), second, "the clock was set back");
    }
}

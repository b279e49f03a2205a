//! Most series that a target, or all targets of a job, may have in 24 hours (`series_limit`, `job_series_limit`).

use std::collections::HashSet;

use outrigger_model::sample::Timestamp;
use parking_lot::Mutex;

/// How long a series counts, from the beginning of the window in which it was admitted.
const WINDOW_MILLIS: i64 = 24 * 60 * 60 * 1_000;

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
    pub(crate) fn window(&self, now: Timestamp) -> u64 {
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

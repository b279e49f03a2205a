//! Whether every target was scraped on every tick, once, and everything arrived, once, with the right stale markers.
//!
//! A target's ticks lie on a grid whose phase is that of the densest crowd of its scrapes: a scraper may be late for
//! a tick but not early, and all scrapers of a target share its phase. A scrape belongs to the tick before it, so a
//! late one makes neither a gap nor a double as long as it comes before the next.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::ops::{AddAssign, Range};
use std::time::Duration;

use super::TargetKey;
use super::ledger::{ALL_KINDS, Account, Series};
use super::targets::{Served, turn_of};

/// What is judged.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// What the targets served.
    pub served: &'a HashMap<TargetKey, Vec<Served>>,
    /// What the receiver took.
    pub accounts: &'a HashMap<TargetKey, Account>,
    /// The targets that are to be scraped from the first to the last moment.
    pub targets: &'a [TargetKey],
    /// Time between two ticks.
    pub interval: Duration,
    /// What is no fault of a scraper.
    pub excuses: &'a [Excuse],
}

/// A scraper was killed: of what it scraped there may be a hole.
///
/// The hole is measured in what arrived: scrapes that died with it in its memory are missed like those that it did not
/// begin any more. What is beyond the allowance is counted as if nobody had been killed.
#[derive(Debug, Clone)]
pub struct Excuse {
    /// Its targets.
    pub targets: HashSet<TargetKey>,
    /// When it was dead.
    pub at: Duration,
    /// Scrapes for so long may be missing.
    pub allowance: Duration,
}

/// What was found in some stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Scrapes that targets answered.
    pub scrapes: u64,
    /// Ticks without a scrape.
    pub missed: u64,
    /// Ticks without a scrape that an excuse covers.
    pub excused_missed: u64,
    /// Ticks whose scrape did not arrive whole and that an excuse covers, with the samples in [`Verdict::excused_lost`].
    pub excused_scrapes: u64,
    /// Scrapes beyond the first of a tick.
    pub double: u64,
    /// The longest time between two scrapes of one target.
    pub longest_gap: Duration,
    /// The latest that a scrape came after its tick.
    pub latest: Duration,
    /// Samples that were scraped and did not arrive.
    pub lost: u64,
    /// Samples that did not arrive and that an excuse covers.
    pub excused_lost: u64,
    /// Samples that arrived more than once.
    pub repeated: u64,
    /// Stale markers of series that lived on.
    pub wrong_markers: u64,
    /// Stale markers of series that had ended before: an heir that knows a little less than its predecessor repeats them.
    pub late_markers: u64,
    /// Series that vanished without a stale marker.
    pub missing_markers: u64,
    /// Series that vanished with a scrape that an excuse covers, whose marker went with it.
    pub excused_markers: u64,
    /// Scrapes that the scraper took for failed.
    pub failed: u64,
}

impl Verdict {
    /// Whether nothing is wrong that has no excuse.
    pub fn is_clean(&self) -> bool {
        self.missed == 0
            && self.double == 0
            && self.lost == 0
            && self.wrong_markers == 0
            && self.missing_markers == 0
    }
}

impl AddAssign for Verdict {
    fn add_assign(&mut self, other: Self) {
        self.scrapes += other.scrapes;
        self.missed += other.missed;
        self.excused_missed += other.excused_missed;
        self.excused_scrapes += other.excused_scrapes;
        self.double += other.double;
        self.longest_gap = self.longest_gap.max(other.longest_gap);
        self.latest = self.latest.max(other.latest);
        self.lost += other.lost;
        self.excused_lost += other.excused_lost;
        self.repeated += other.repeated;
        self.wrong_markers += other.wrong_markers;
        self.late_markers += other.late_markers;
        self.missing_markers += other.missing_markers;
        self.excused_markers += other.excused_markers;
        self.failed += other.failed;
    }
}

/// Judges the ticks that begin within `window`, and what was scraped within it.
pub fn judge(evidence: &Evidence<'_>, window: &Range<Duration>) -> Verdict {
    let mut verdict = Verdict::default();
    for target in evidence.targets {
        verdict += Case::new(evidence, *target).judge(window);
    }
    verdict
}

/// The targets of which something is wrong within `window` that has no excuse, with what.
pub fn suspects(evidence: &Evidence<'_>, window: &Range<Duration>) -> Vec<(TargetKey, Verdict)> {
    let judged = evidence.targets.iter().map(|target| (*target, Case::new(evidence, *target).judge(window)));
    judged.filter(|(_, verdict)| !verdict.is_clean()).collect()
}

/// What happened to a target within `window`, for whoever looks for the reason: times since the window's start.
pub fn describe(evidence: &Evidence<'_>, target: TargetKey, window: &Range<Duration>) -> String {
    let case = Case::new(evidence, target);
    let phase = case.phase.as_secs_f64();
    let start = window.start.as_secs_f64();
    let mut text = format!(
        "{target}, ticks at {:.3} of every interval:",
        (phase - start).rem_euclid(evidence.interval.as_secs_f64())
    );
    let empty = Account::default();
    let account = case.account.unwrap_or(&empty);
    let mut stamps = Vec::new();
    for (number, served) in case.within(window) {
        let arrived = account.scrapes.get(number).copied().unwrap_or_default();
        let at = served.at.as_secs_f64() - start;
        let _ = write!(text, " {number}@{at:.3}/c{}", served.connection);
        if arrived.kinds != ALL_KINDS {
            let _ = write!(text, "(arrived {:06b})", arrived.kinds);
        }
        stamps.push(arrived.at_millis);
    }
    let (first, last) = (stamps.iter().min().copied(), stamps.iter().max().copied());
    let mut markers: Vec<_> = account.markers.iter().filter(|(_, at)| Some(*at) >= first).collect();
    markers.sort_by_key(|(_, at)| *at);
    for (series, at) in markers.into_iter().filter(|(_, at)| Some(*at) <= last) {
        let place = stamps.iter().position(|stamp| stamp == at);
        let _ = write!(text, " marker of {series:?} at {at} (scrape {place:?} of these)");
    }
    text
}

/// One target.
struct Case<'a> {
    evidence: &'a Evidence<'a>,
    served: &'a [Served],
    account: Option<&'a Account>,
    phase: Duration,
    /// Ticks that are excused.
    excused: HashSet<u128>,
}

impl<'a> Case<'a> {
    fn new(evidence: &'a Evidence<'a>, target: TargetKey) -> Self {
        let served = evidence.served.get(&target).map_or(&[][..], Vec::as_slice);
        let phase = phase(served, evidence.interval);
        let account = evidence.accounts.get(&target);
        let mut case = Self { evidence, served, account, phase, excused: HashSet::new() };
        for excuse in evidence.excuses.iter().filter(|excuse| excuse.targets.contains(&target)) {
            let hole = case.hole(excuse.at);
            let allowed = excuse.allowance.as_nanos() / evidence.interval.as_nanos();
            case.excused.extend(hole.take(usize::try_from(allowed).unwrap_or(usize::MAX)));
        }
        case
    }

    /// The tick that a scrape belongs to; scrapes come a little early when the phase was found from late ones.
    fn tick_of(&self, at: Duration) -> u128 {
        let tolerance = self.evidence.interval / 50;
        (at + tolerance).saturating_sub(self.phase).as_nanos() / self.evidence.interval.as_nanos()
    }

    fn arrived_whole(&self, number: usize) -> bool {
        let account = self.account.and_then(|account| account.scrapes.get(number));
        account.is_some_and(|arrived| arrived.kinds == ALL_KINDS)
    }

    /// The ticks between the last scrape before a moment that arrived whole and the first one after it.
    fn hole(&self, at: Duration) -> Range<u128> {
        let arrived = || {
            let numbered = self.served.iter().enumerate();
            numbered.filter(|(place, _)| self.arrived_whole(place + 1)).map(|(_, served)| served.at)
        };
        let before = arrived().rfind(|served| *served <= at);
        let after = arrived().find(|served| *served > at);
        let first = before.map_or(0, |before| self.tick_of(before) + 1);
        first..after.map_or(u128::MAX, |after| self.tick_of(after)).max(first)
    }

    fn judge(&self, window: &Range<Duration>) -> Verdict {
        let mut verdict = Verdict::default();
        self.judge_ticks(window, &mut verdict);
        if let Some(account) = self.account {
            self.judge_samples(account, window, &mut verdict);
            self.judge_markers(account, window, &mut verdict);
        } else {
            verdict.lost = self.within(window).count() as u64 * u64::from(ALL_KINDS.count_ones());
        }
        verdict
    }

    /// The scrapes within a stretch of time, with their numbers.
    fn within<'b>(&'b self, window: &'b Range<Duration>) -> impl Iterator<Item = (usize, Served)> + 'b {
        let numbered = self.served.iter().enumerate().map(|(place, served)| (place + 1, *served));
        numbered.filter(|(_, served)| window.contains(&served.at))
    }

    fn judge_ticks(&self, window: &Range<Duration>, verdict: &mut Verdict) {
        let interval = self.evidence.interval;
        let begins = |tick: u128| self.phase + interval * u32::try_from(tick).unwrap_or(u32::MAX);
        let mut scrapes: HashMap<u128, u64> = HashMap::new();
        let mut before: Option<Duration> = None;
        for served in self.served {
            *scrapes.entry(self.tick_of(served.at)).or_default() += 1;
            if window.contains(&served.at) {
                verdict.scrapes += 1;
                let late = served.at.saturating_sub(begins(self.tick_of(served.at)));
                verdict.latest = verdict.latest.max(late);
                let gap = before.map_or(Duration::ZERO, |before| served.at.saturating_sub(before));
                verdict.longest_gap = verdict.longest_gap.max(gap);
            }
            before = Some(served.at);
        }
        let first = self.tick_of(window.start.saturating_sub(interval / 50));
        for tick in (first..).take_while(|tick| begins(*tick) < window.end) {
            if !window.contains(&begins(tick)) {
                continue;
            }
            match scrapes.get(&tick).copied().unwrap_or(0) {
                0 if self.excused.contains(&tick) => verdict.excused_missed += 1,
                0 => verdict.missed += 1,
                scrapes => verdict.double += scrapes - 1,
            }
        }
    }

    fn judge_samples(&self, account: &Account, window: &Range<Duration>, verdict: &mut Verdict) {
        for (number, served) in self.within(window) {
            let arrived = account.scrapes.get(number).copied().unwrap_or_default();
            let lost = u64::from((ALL_KINDS & !arrived.kinds).count_ones());
            if lost > 0 && self.excused.contains(&self.tick_of(served.at)) {
                verdict.excused_scrapes += 1;
                verdict.excused_lost += lost;
            } else {
                verdict.lost += lost;
            }
            verdict.repeated += u64::from(arrived.repeated);
        }
    }

    fn judge_markers(&self, account: &Account, window: &Range<Duration>, verdict: &mut Verdict) {
        let failed: HashSet<i64> = account.failed.iter().copied().collect();
        let markers: HashSet<(Series, i64)> = account.markers.iter().copied().collect();
        let arrived = |number: usize| {
            account.scrapes.get(number).filter(|arrived| arrived.kinds == ALL_KINDS).map(|a| a.at_millis)
        };
        let mut due: HashSet<(Series, i64)> = HashSet::new();
        // At the first scrape after the turn that arrived: what a killed scraper lost has no place in storage. Its
        // marker may have been lost with it.
        let mut excused: HashSet<Series> = HashSet::new();
        let mut before: Option<(usize, u32)> = None;
        for number in 1..account.scrapes.len() {
            let Some(at) = arrived(number) else { continue };
            let turn = turn_of(number as u32);
            if let Some((last, before)) = before
                && before != turn
            {
                due.insert((Series::Turn(before), at));
                let mut lost = self.served.iter().take(number - 1).skip(last);
                if lost.any(|served| self.excused.contains(&self.tick_of(served.at))) {
                    excused.insert(Series::Turn(before));
                }
            }
            before = Some((number, turn));
        }
        let in_window: HashSet<i64> = self.within(window).filter_map(|(number, _)| arrived(number)).collect();
        // A failed scrape in between has marked everything already.
        let missing = due
            .iter()
            .filter(|(series, at)| in_window.contains(at) && !markers.iter().any(|(s, _)| s == series));
        for (series, _) in missing {
            if excused.contains(series) {
                verdict.excused_markers += 1;
            } else {
                verdict.missing_markers += 1;
            }
        }
        let bounds = in_window.iter().min().copied().zip(in_window.iter().max().copied());
        let Some((first, last)) = bounds else { return };
        let ended: HashMap<Series, i64> = due.iter().copied().collect();
        let undue = markers.iter().filter(|marker| (first..=last).contains(&marker.1));
        let undue = undue.filter(|marker| !due.contains(marker) && !failed.contains(&marker.1));
        for (series, at) in undue {
            if ended.get(series).is_some_and(|end| end < at) {
                verdict.late_markers += 1;
            } else {
                verdict.wrong_markers += 1;
            }
        }
        verdict.failed += failed.iter().filter(|at| (first..=last).contains(at)).count() as u64;
    }
}

/// The offset within the interval of the densest crowd of scrapes.
fn phase(served: &[Served], interval: Duration) -> Duration {
    let whole = interval.as_nanos();
    let mut offsets: Vec<u128> = served.iter().map(|served| served.at.as_nanos() % whole).collect();
    offsets.sort_unstable();
    let width = whole / 8;
    let count = offsets.len();
    // Around the seam, too.
    let around: Vec<u128> =
        offsets.iter().copied().chain(offsets.iter().map(|offset| offset + whole)).collect();
    let crowd = |first: usize| around[first..].partition_point(|offset| *offset <= around[first] + width);
    let best = (0..count).max_by_key(|first| (crowd(*first), std::cmp::Reverse(*first)));
    let phase = best.map_or(0, |first| around[first] % whole);
    Duration::from_nanos(u64::try_from(phase).unwrap_or(0))
}

/// Markers of a target that is gone: series that were alive at the end and did not get one.
pub fn unmarked_at_end(served: &[Served], account: &Account) -> Vec<Series> {
    let turn = turn_of(served.len() as u32);
    let steady = (0..super::targets::STEADY_SERIES as u8).map(Series::Steady);
    let alive = [Series::Scrapes, Series::Turn(turn), Series::Up].into_iter().chain(steady);
    let last = account.scrapes.iter().map(|arrived| arrived.at_millis).max().unwrap_or(0);
    let marked = |series: &Series| account.markers.iter().any(|(of, at)| of == series && *at >= last);
    alive.filter(|series| !marked(series)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Arrived;
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);
    const KEY: TargetKey = TargetKey(1);

    fn served(at: &[f64]) -> Vec<Served> {
        at.iter().map(|at| Served { at: Duration::from_secs_f64(*at), connection: 0 }).collect()
    }

    /// Everything arrived, with the markers that are due.
    fn account(scrapes: usize) -> Account {
        let mut account = Account::default();
        account.scrapes.push(Arrived::default());
        for number in 1..=scrapes {
            let at_millis = number as i64 * 5_000;
            account.scrapes.push(Arrived { at_millis, kinds: ALL_KINDS, repeated: 0 });
            let turn = turn_of(number as u32);
            if number > 1 && turn != turn_of(number as u32 - 1) {
                account.markers.push((Series::Turn(turn - 1), at_millis));
            }
        }
        account
    }

    fn verdict(served: Vec<Served>, account: Account, excuses: &[Excuse]) -> Verdict {
        let served = HashMap::from([(KEY, served)]);
        let accounts = HashMap::from([(KEY, account)]);
        let evidence =
            Evidence { served: &served, accounts: &accounts, targets: &[KEY], interval: INTERVAL, excuses };
        judge(&evidence, &(Duration::from_secs(10)..Duration::from_secs(50)))
    }

    const PUNCTUAL: [f64; 11] = [1.0, 6.0, 11.001, 16.0, 21.0, 26.002, 31.0, 36.0, 41.0, 46.0, 51.0];

    #[test]
    fn punctual_scrapes_are_clean() {
        let verdict = verdict(served(&PUNCTUAL), account(11), &[]);
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!(verdict.scrapes, 8);
        assert!(verdict.latest < Duration::from_millis(10), "{verdict:?}");
    }

    #[test]
    fn a_late_scrape_is_late_and_neither_missed_nor_double() {
        let mut at = PUNCTUAL;
        at[4] = 24.9;
        let verdict = verdict(served(&at), account(11), &[]);
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!(verdict.latest.as_millis(), 3_900);
    }

    #[test]
    fn missed_and_double_ticks_are_told_apart() {
        let mut at = PUNCTUAL.to_vec();
        at.remove(5);
        at.insert(7, 37.0);
        let verdict = verdict(served(&at), account(11), &[]);
        assert_eq!((verdict.missed, verdict.double), (1, 1), "{verdict:?}");
        assert_eq!(verdict.longest_gap, Duration::from_secs(10));
    }

    #[test]
    fn what_an_excuse_covers_is_counted_apart() {
        let mut at = PUNCTUAL.to_vec();
        at.remove(5);
        let mut lacking = account(10);
        lacking.scrapes[4].kinds = 0;
        // The fifth scrape, at 21 s, was lost and the tick at 26 s missed.
        lacking.scrapes[4].kinds = ALL_KINDS;
        lacking.scrapes[5].kinds = 0;
        let excuse = |allowance| Excuse {
            targets: HashSet::from([KEY]),
            at: Duration::from_secs(22),
            allowance: Duration::from_secs(allowance),
        };
        let found = verdict(served(&at), lacking.clone(), &[excuse(10)]);
        assert_eq!((found.missed, found.excused_missed), (0, 1), "{found:?}");
        assert_eq!((found.lost, found.excused_scrapes, found.excused_lost), (0, 1, 6), "{found:?}");
        // The allowance is for both together.
        let found = verdict(served(&at), lacking.clone(), &[excuse(9)]);
        assert_eq!((found.missed, found.lost, found.excused_lost), (1, 0, 6), "{found:?}");
        // What is elsewhere is not excused.
        lacking.scrapes[8].kinds = 1;
        let found = verdict(served(&at), lacking, &[excuse(60)]);
        assert_eq!((found.missed, found.lost, found.excused_lost), (0, 5, 6), "{found:?}");
    }

    #[test]
    fn lost_and_repeated_samples_and_markers_that_lack_or_lie_are_found() {
        let mut account = account(11);
        account.scrapes[5].kinds = 1;
        account.scrapes[6].repeated = 2;
        account.markers.retain(|(series, _)| *series != Series::Turn(1));
        account.markers.push((Series::Steady(0), 30_000));
        account.markers.push((Series::Turn(0), 30_000));
        account.markers.push((Series::Turn(2), 45_000));
        account.markers.push((Series::Up, 35_000));
        account.failed.push(35_000);
        let verdict = verdict(served(&PUNCTUAL), account, &[]);
        assert_eq!((verdict.lost, verdict.repeated, verdict.failed), (5, 2, 1), "{verdict:?}");
        assert_eq!((verdict.wrong_markers, verdict.missing_markers), (2, 1), "{verdict:?}");
        assert_eq!(verdict.late_markers, 1, "{verdict:?}");
    }

    #[test]
    fn a_series_whose_end_was_lost_is_marked_at_the_next_scrape() {
        let mut account = account(11);
        account.scrapes[4].kinds = 0;
        account.markers.retain(|(series, _)| *series != Series::Turn(0));
        let mut marked = account.clone();
        marked.markers.push((Series::Turn(0), 25_000));
        let found = verdict(served(&PUNCTUAL), marked, &[]);
        assert_eq!((found.wrong_markers, found.missing_markers, found.late_markers), (0, 0, 0));
        assert_eq!(found.lost, 6, "{found:?}");
        // Nobody marked it: the marker may have been lost together with the scrape.
        let (at, allowance) = (Duration::from_secs(17), Duration::from_secs(10));
        let excuse = Excuse { targets: HashSet::from([KEY]), at, allowance };
        let found = verdict(served(&PUNCTUAL), account.clone(), &[excuse]);
        assert_eq!(
            (found.missing_markers, found.excused_markers, found.excused_lost),
            (0, 1, 6),
            "{found:?}"
        );
        let found = verdict(served(&PUNCTUAL), account, &[]);
        assert_eq!(found.missing_markers, 1, "{found:?}");
    }

    #[test]
    fn the_phase_is_that_of_the_crowd_even_at_the_seam() {
        let crowd = served(&[4.999, 9.9995, 15.001, 20.002, 27.0, 25.0]);
        assert_eq!(phase(&crowd, INTERVAL).as_micros(), 4_999_000);
    }

    #[test]
    fn a_target_that_is_gone_has_a_marker_for_each_series() {
        let mut account = account(3);
        assert_eq!(unmarked_at_end(&served(&[1.0, 6.0, 11.0]), &account).len(), 7);
        for series in [Series::Scrapes, Series::Turn(0), Series::Up] {
            account.markers.push((series, 20_000));
        }
        account.markers.extend((0..4).map(|s| (Series::Steady(s), 20_000)));
        assert_eq!(unmarked_at_end(&served(&[1.0, 6.0, 11.0]), &account), []);
    }
}

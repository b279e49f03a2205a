//! What a receiver was sent by the targets of a drill, in a few bytes for each scrape.

use std::collections::HashMap;

use outrigger_model::sample::is_stale_nan;
use outrigger_wire::remote_write::{TimeSeries, WriteRequest};
use parking_lot::Mutex;

use super::targets::STEADY_SERIES;
use super::{TARGET_LABEL, TargetKey};

/// A series of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Series {
    /// `drill_scrapes`.
    Scrapes,
    /// `drill_steady` with this `s`.
    Steady(u8),
    /// `drill_turn` with this `turn`.
    Turn(u32),
    /// `up`.
    Up,
}

/// Every kind of sample that a scrape gives, as [`Arrived::kinds`].
pub const ALL_KINDS: u8 = (1 << (STEADY_SERIES + 2)) - 1;

/// What arrived of one scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrived {
    /// Timestamp, milliseconds since the epoch.
    pub at_millis: i64,
    /// A bit for each kind of sample that arrived.
    pub kinds: u8,
    /// Samples that arrived again with the same timestamp.
    pub repeated: u8,
}

/// What arrived of one target.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// By number of the scrape, counted from 1; the first entry is not used.
    pub scrapes: Vec<Arrived>,
    /// Stale markers: of which series, and their timestamps.
    pub markers: Vec<(Series, i64)>,
    /// Timestamps of `up` that were 0.
    pub failed: Vec<i64>,
    /// Samples that were older than one that had arrived of the same series before.
    pub out_of_order: u64,
    newest: HashMap<Series, i64>,
}

/// What arrived of all targets.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: Mutex<HashMap<TargetKey, Account>>,
}

impl Ledger {
    /// Enters what a receiver has taken. Series without [`TARGET_LABEL`] are not the drill's.
    pub fn enter(&self, request: &WriteRequest) {
        let mut accounts = self.accounts.lock();
        for series in &request.series {
            let label = |name: &str| {
                series.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
            };
            let Some(key) = label(TARGET_LABEL).and_then(TargetKey::parse) else { continue };
            let number = |name| label(name).and_then(|text| text.parse::<u32>().ok());
            let kind = match label("__name__") {
                Some("drill_scrapes") => Some(Series::Scrapes),
                Some("drill_steady") => number("s").and_then(|s| u8::try_from(s).ok()).map(Series::Steady),
                Some("drill_turn") => number("turn").map(Series::Turn),
                Some("up") => Some(Series::Up),
                _ => None,
            };
            if let Some(kind) = kind {
                accounts.entry(key).or_default().enter(kind, series);
            }
        }
    }

    /// The accounts so far.
    pub fn accounts(&self) -> HashMap<TargetKey, Account> {
        self.accounts.lock().clone()
    }
}

impl Account {
    fn enter(&mut self, kind: Series, series: &TimeSeries) {
        for sample in &series.samples {
            let at = sample.timestamp.millis();
            let newest = self.newest.entry(kind).or_insert(at);
            self.out_of_order += u64::from(at < *newest);
            *newest = at.max(*newest);
            if is_stale_nan(sample.value) {
                self.markers.push((kind, at));
            } else if kind == Series::Up {
                if sample.value == 0.0 {
                    self.failed.push(at);
                }
            } else {
                self.enter_scrape(kind, sample.value as usize, at);
            }
        }
    }

    fn enter_scrape(&mut self, kind: Series, number: usize, at: i64) {
        if self.scrapes.len() <= number {
            self.scrapes.resize(number + 1, Arrived::default());
        }
        let arrived = &mut self.scrapes[number];
        let bit = 1
            << match kind {
                Series::Scrapes | Series::Up => 0,
                Series::Steady(s) => u32::from(s) + 1,
                Series::Turn(_) => STEADY_SERIES + 1,
            };
        if arrived.kinds == 0 {
            arrived.at_millis = at;
        }
        arrived.repeated = arrived.repeated.saturating_add(u8::from(arrived.kinds & bit != 0));
        arrived.kinds |= bit;
    }
}

#[cfg(test)]
mod tests {
    use outrigger_model::sample::{Sample, Timestamp, stale_nan};

    use super::*;

    fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> TimeSeries {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let samples = samples
            .iter()
            .map(|(at, value)| Sample { timestamp: Timestamp::from_millis(*at), value: *value })
            .collect();
        TimeSeries { labels: labels.collect(), samples, ..TimeSeries::default() }
    }

    #[test]
    fn samples_are_entered_by_scrape_and_markers_by_series() {
        let ledger = Ledger::default();
        let target = (TARGET_LABEL, "127.64.0.1");
        let requests = [
            series(&[("__name__", "drill_scrapes"), target], &[(10, 1.0), (20, 2.0), (20, 2.0)]),
            series(&[("__name__", "drill_steady"), ("s", "3"), target], &[(10, 1.0), (9, 2.0)]),
            series(&[("__name__", "drill_turn"), ("turn", "0"), target], &[(20, stale_nan())]),
            series(&[("__name__", "up"), target], &[(10, 1.0), (20, 0.0)]),
            series(&[("__name__", "drill_scrapes")], &[(10, 9.0)]),
        ];
        ledger.enter(&WriteRequest { series: requests.into(), metadata: Vec::new() });
        let accounts = ledger.accounts();
        let account = &accounts[&TargetKey::parse("127.64.0.1").expect("an address")];
        assert_eq!(account.scrapes.len(), 3);
        assert_eq!(account.scrapes[1], Arrived { at_millis: 10, kinds: 0b1_0001, repeated: 0 });
        assert_eq!(account.scrapes[2], Arrived { at_millis: 20, kinds: 0b1_0001, repeated: 1 });
        assert_eq!(account.markers, [(Series::Turn(0), 20)]);
        assert_eq!((account.failed.clone(), account.out_of_order), (vec![20], 1));
        assert_eq!(accounts.len(), 1);
    }
}

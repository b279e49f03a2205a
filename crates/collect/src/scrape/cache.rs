//! What is remembered about one target between scrapes: the layout of its body, its series, their last samples where these
//! have times of their own, and which series are alive (Prometheus `scrape.scrapeCache`).

use std::collections::HashMap;

use outrigger_model::labels::{Labels, LabelsBuilder, METRIC_NAME};
use outrigger_model::sample::{Sample, Timestamp, stale_nan};

use super::bits::Bits;
use super::departed::Departed;
use super::layout::Layout;
use super::report::{REPORT_COUNT, ReportKind};
use super::series_set::{self, SeriesSetError, SetEntry, SetWriter};
use crate::batch::{BatchExemplar, BatchHistogram, BatchSample};
use crate::series::{SeriesId, SeriesTable, hash_labels};

/// Everything that a target exposes, packed.
#[derive(Debug, Default)]
pub(crate) struct SeriesCache {
    pub(crate) layout: Layout,
    series: SeriesTable,
    /// Series that were alive after the last scrape.
    alive: Bits,
    /// Series that are alive in the running scrape.
    alive_now: Bits,
    /// Series with a sample in the running scrape.
    pending: Bits,
    /// Times of the pending samples, once one series has two.
    pending_times: HashMap<SeriesId, Timestamp>,
    /// Series that were added by the running scrape.
    fresh: Bits,
    /// Time of the last scrape that appended anything.
    last: Option<Timestamp>,
    /// The last sample of each series by number, once one had a time of its own.
    explicit: Option<Vec<Sample>>,
    /// Series that are forgotten.
    departed: Departed,
    /// The last exemplar of each series that has any.
    exemplars: HashMap<SeriesId, BatchExemplar>,
    reports: [Option<Report>; REPORT_COUNT],
}

#[derive(Debug, Clone, Copy)]
struct Report {
    series: SeriesId,
    last: Option<Timestamp>,
}

/// How a sample relates to what its series had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Newer: to be appended.
    Newer,
    /// The very sample that was handed over last: nothing to do.
    Repeated,
    /// Another value for the same time.
    Duplicate,
    /// Older.
    Older,
}

/// A NaN that no target exposes.
const OTHER_NAN: u64 = 0x7ff0_0000_0000_dead;

/// A series without any sample so far.
const NO_SAMPLE: Sample = Sample { timestamp: Timestamp::from_millis(i64::MIN), value: 0.0 };

/// A sample of that time, other than any that is offered.
fn some_sample(timestamp: Timestamp) -> Sample {
    Sample { timestamp, value: f64::from_bits(OTHER_NAN) }
}

/// Whether `offered` is another exemplar than `newest`, and in order.
fn is_newer(offered: &BatchExemplar, newest: &BatchExemplar) -> bool {
    let (a, b) = (&offered.exemplar, &newest.exemplar);
    let timed = a.timestamp.is_some() || b.timestamp.is_some();
    let same_time = !timed || offered.timestamp == newest.timestamp;
    if same_time && a.labels == b.labels && a.value == b.value {
        return false;
    }
    let order = offered.timestamp.cmp(&newest.timestamp);
    order.is_gt() || (order.is_eq() && a.value >= b.value)
}

impl SeriesCache {
    /// The series, by their numbers.
    pub(crate) fn table(&self) -> &SeriesTable {
        &self.series
    }

    /// Begins a scrape.
    pub(crate) fn begin(&mut self) {
        self.layout.begin();
        self.alive_now.clear();
        self.pending.clear();
        self.pending_times.clear();
        self.fresh.clear();
    }

    /// The series with these labels, which have [`hash_labels`] `hash`, if it is known.
    pub(crate) fn find(&mut self, hash: u64, labels: &LabelsBuilder) -> Option<SeriesId> {
        self.series.find(hash, labels.iter())
    }

    /// Adds a series that [`find`](Self::find) did not find.
    pub(crate) fn insert(&mut self, hash: u64, labels: &LabelsBuilder) -> SeriesId {
        let id = self.series.insert(hash, labels.iter());
        self.fresh.insert(id.0);
        // The number may have been another's.
        if let Some(explicit) = &mut self.explicit {
            let at = id.0 as usize;
            explicit.resize(explicit.len().max(at + 1), NO_SAMPLE);
            explicit[at] = self.departed.last(hash).map_or(NO_SAMPLE, some_sample);
        }
        id
    }

    /// When a series that is not known had its last sample or marker, as far as that is remembered.
    pub(crate) fn departed(&self, hash: u64) -> Option<Timestamp> {
        self.departed.last(hash)
    }

    /// Compares `sample`, which has a time of its own or not, with the last one of its series. `pending` are those of this
    /// scrape so far.
    #[inline]
    pub(crate) fn order(
        &mut self,
        id: SeriesId,
        sample: Sample,
        own_time: bool,
        pending: impl Iterator<Item = (SeriesId, Timestamp)>,
    ) -> Order {
        if own_time {
            self.remember_own_times();
        }
        if self.pending.contains(id.0) {
            return self.order_of_pending(id, sample.timestamp, pending);
        }
        let last = match &self.explicit {
            Some(explicit) => explicit[id.0 as usize],
            None => match self.last {
                // Every series that is no longer fresh had its last sample or marker at the latest then.
                Some(last) if sample.timestamp <= last && !self.fresh.contains(id.0) => some_sample(last),
                _ => return Order::Newer,
            },
        };
        match sample.timestamp.cmp(&last.timestamp) {
            std::cmp::Ordering::Greater => Order::Newer,
            std::cmp::Ordering::Equal if last.value.to_bits() == sample.value.to_bits() => Order::Repeated,
            std::cmp::Ordering::Equal => Order::Duplicate,
            std::cmp::Ordering::Less => Order::Older,
        }
    }

    fn order_of_pending(
        &mut self,
        id: SeriesId,
        timestamp: Timestamp,
        pending: impl Iterator<Item = (SeriesId, Timestamp)>,
    ) -> Order {
        if self.pending_times.is_empty() {
            self.pending_times.extend(pending);
        }
        match self.pending_times.get(&id).map(|last| timestamp.cmp(last)) {
            Some(std::cmp::Ordering::Greater) | None => Order::Newer,
            Some(std::cmp::Ordering::Equal) => Order::Duplicate,
            Some(std::cmp::Ordering::Less) => Order::Older,
        }
    }

    /// A series has a sample with a time of its own: from now on the last sample of each series is remembered.
    pub(crate) fn remember_own_times(&mut self) {
        if self.explicit.is_some() {
            return;
        }
        let last_of = |at: u32| {
            let id = SeriesId(at);
            self.series
                .contains(id)
                .then(|| self.last_at_the_latest(id))
                .flatten()
                .map_or(NO_SAMPLE, some_sample)
        };
        self.explicit = Some((0..self.series.capacity() as u32).map(last_of).collect());
    }

    /// When a series had its last sample or marker before the running scrape; where the times are those of the scrapes,
    /// not before that.
    fn last_at_the_latest(&self, id: SeriesId) -> Option<Timestamp> {
        match &self.explicit {
            Some(explicit) => {
                let last = explicit[id.0 as usize].timestamp;
                (last > NO_SAMPLE.timestamp).then_some(last)
            }
            None if self.fresh.contains(id.0) => self.departed.last(self.series.hash(id)),
            None => self.last,
        }
    }

    /// Notes a sample that is handed over if the scrape succeeds.
    #[inline]
    pub(crate) fn set_pending(&mut self, id: SeriesId, timestamp: Timestamp) {
        self.pending.insert(id.0);
        if !self.pending_times.is_empty() {
            self.pending_times.insert(id, timestamp);
        }
    }

    /// Whether the running scrape has a sample of the series.
    pub(crate) fn is_pending(&self, id: SeriesId) -> bool {
        self.pending.contains(id.0)
    }

    /// Marks a series as alive in the running scrape.
    #[inline]
    pub(crate) fn set_alive(&mut self, id: SeriesId) {
        self.alive_now.insert(id.0);
    }

    /// The running scrape failed: it has no samples. Series that were read before the failure are still there, as in
    /// Prometheus, which goes on with an empty body and the same `scrapeCache`: they go stale in the next scrape.
    pub(crate) fn fail(&mut self) {
        self.pending.clear();
        self.pending_times.clear();
    }

    /// Notes the samples that a successful scrape hands over.
    pub(crate) fn commit(
        &mut self,
        samples: &[BatchSample],
        histograms: &[BatchHistogram],
        scrape: Timestamp,
    ) {
        if let Some(explicit) = &mut self.explicit {
            for sample in samples {
                let last = Sample { timestamp: sample.timestamp, value: sample.value };
                explicit[sample.series.0 as usize] = last;
            }
            for sample in histograms {
                let last = Sample { timestamp: sample.timestamp, value: sample.histogram.sum };
                explicit[sample.series.0 as usize] = last;
            }
        }
        self.last = Some(self.last.map_or(scrape, |last| last.max(scrape)));
    }

    /// The exemplars of a successful scrape that were not handed over before and are not older than those
    /// (Prometheus `CircularExemplarStorage.validateExemplar`).
    pub(crate) fn admit_exemplars(&mut self, exemplars: Vec<BatchExemplar>) -> Vec<BatchExemplar> {
        let mut admitted = exemplars;
        admitted.retain(|offered| {
            let newest = self.exemplars.get(&offered.series);
            let admitted = newest.is_none_or(|newest| is_newer(offered, newest));
            if admitted {
                self.exemplars.insert(offered.series, offered.clone());
            }
            admitted
        });
        admitted
    }

    /// Ends the scrape: series that were alive and no longer are get a stale marker at `at`, added to `out`. Returns the
    /// series that came alive.
    pub(crate) fn end(&mut self, at: Timestamp, out: &mut Vec<BatchSample>) -> Vec<SeriesId> {
        let marker = Sample { timestamp: at, value: stale_nan() };
        for vanished in self.alive.without(&self.alive_now) {
            let newer = match &mut self.explicit {
                Some(explicit) => {
                    let last = &mut explicit[vanished as usize];
                    let newer = at > last.timestamp;
                    if newer {
                        *last = marker;
                    }
                    newer
                }
                None => self.last.is_none_or(|last| at >= last),
            };
            if newer {
                out.push(BatchSample { series: SeriesId(vanished), timestamp: at, value: marker.value });
                self.pending.insert(vanished);
            }
        }
        let appeared = self.alive_now.without(&self.alive).map(SeriesId).collect();
        std::mem::swap(&mut self.alive, &mut self.alive_now);
        self.last = Some(self.last.map_or(at, |last| last.max(at)));
        appeared
    }

    /// Forgets series that no line leads to any more. To be called when the samples of the scrape have been handed over.
    pub(crate) fn forget_unreachable(&mut self) {
        let mut reachable = Bits::default();
        self.layout.series().for_each(|id| {
            reachable.insert(id.0);
        });
        self.reports.iter().flatten().for_each(|report| {
            reachable.insert(report.series.0);
        });
        self.remove_unless(&reachable);
    }

    /// The running scrape did not take place: its body was not read to the end.
    pub(crate) fn abandon(&mut self) {
        self.layout.abandon();
        match self.layout.is_cleared() {
            // No line leads to the others yet, which are still there.
            true => {
                let mut kept = Bits::default();
                kept.insert_below(self.series.capacity() as u32);
                self.fresh.iter().for_each(|fresh| kept.remove(fresh));
                self.remove_unless(&kept);
            }
            false if self.fresh.iter().next().is_some() => self.forget_unreachable(),
            false => {}
        }
        self.begin();
    }

    /// Time of the last scrape that was handed over; `None` before the first.
    pub(crate) fn last_scrape(&self) -> Option<Timestamp> {
        self.last
    }

    /// The series of the last scrape, for another cache to [`inherit`](Self::inherit); empty when there was none.
    pub(crate) fn export(&self) -> Vec<u8> {
        let mut set = SetWriter::default();
        let report_of = |id: SeriesId| {
            let report = |report: &Option<Report>| report.is_some_and(|report| report.series == id);
            self.reports.iter().position(report)
        };
        for at in 0..self.series.capacity() as u32 {
            let id = SeriesId(at);
            if !self.series.contains(id) {
                continue;
            }
            let kind = report_of(id);
            let report_last = kind.and_then(|kind| self.reports[kind]?.last);
            let own = self.explicit.as_ref().map(|explicit| explicit[at as usize]);
            let last = match own.filter(|last| last.timestamp > NO_SAMPLE.timestamp) {
                None => report_last.map(|timestamp| Sample { timestamp, value: 0.0 }),
                own => own,
            };
            let entry = SetEntry {
                alive: self.alive.contains(at),
                last,
                report: kind.filter(|_| report_last.is_some()).map(|kind| kind as u8),
            };
            if entry.alive || entry.last.is_some() {
                set.push(self.series.labels(id), entry);
            }
        }
        set.finish()
    }

    /// Takes over what another owner of the target exported after its last scrape, which was at `last`. To be called
    /// before the first scrape. After an error, what could be read has been taken over.
    pub(crate) fn inherit(&mut self, set: &[u8], last: Timestamp) -> Result<(), SeriesSetError> {
        self.last = Some(self.last.map_or(last, |known| known.max(last)));
        let read = series_set::read(set, |labels, entry| self.inherit_series(labels, entry, last));
        // Lines that lead to known series are those of no new series.
        self.layout.clear();
        self.begin();
        read
    }

    fn inherit_series(&mut self, labels: &LabelsBuilder, entry: SetEntry, last: Timestamp) {
        let hash = hash_labels(labels.iter());
        let id = match self.find(hash, labels) {
            Some(known) => known,
            None => self.insert(hash, labels),
        };
        if entry.alive {
            self.alive.insert(id.0);
        }
        let kind = entry.report.map(usize::from).filter(|kind| *kind < REPORT_COUNT);
        if let Some(kind) = kind {
            self.reports[kind] = Some(Report { series: id, last: Some(last) });
        } else if let Some(own) = entry.last {
            self.remember_own_times();
            if let Some(explicit) = &mut self.explicit {
                let at = id.0 as usize;
                explicit.resize(explicit.len().max(at + 1), NO_SAMPLE);
                explicit[at] = own;
            }
        }
    }

    fn remove_unless(&mut self, reachable: &Bits) {
        let mut all = Bits::default();
        all.insert_below(self.series.capacity() as u32);
        for at in all.without(reachable) {
            let id = SeriesId(at);
            if self.series.contains(id) {
                if let Some(last) = self.last_at_the_latest(id) {
                    self.departed.insert(self.series.hash(id), last);
                }
                self.series.remove(id);
                self.exemplars.remove(&id);
                self.alive.remove(at);
            }
        }
        let count = self.explicit.as_ref().map_or(0, Vec::len);
        self.departed.limit(count, self.last.unwrap_or(NO_SAMPLE.timestamp));
    }

    /// Gives memory back that only changes need. To be called between scrapes.
    pub(crate) fn settle(&mut self) {
        self.pending_times = HashMap::new();
        self.series.settle();
    }

    /// Adds a stale marker for each series that is alive, and for the reports, unless `wanted` refuses its hash; used
    /// when the target is gone.
    pub(crate) fn end_of_run(
        &self,
        at: Timestamp,
        mut wanted: impl FnMut(u64) -> bool,
        out: &mut Vec<BatchSample>,
    ) {
        let mut mark = |series: SeriesId, last: Option<Timestamp>| {
            if last.is_none_or(|last| at > last) && wanted(self.series.hash(series)) {
                out.push(BatchSample { series, timestamp: at, value: stale_nan() });
            }
        };
        for series in self.alive.iter() {
            let last = match &self.explicit {
                Some(explicit) => Some(explicit[series as usize].timestamp),
                None => self.last,
            };
            mark(SeriesId(series), last);
        }
        for report in self.reports.iter().flatten() {
            mark(report.series, report.last);
        }
    }

    /// Hashes of the labels of all series that are alive, reports included.
    pub(crate) fn live_hashes(&self) -> impl Iterator<Item = u64> {
        let reports = self.reports.iter().flatten().filter(|report| report.last.is_some());
        let series = self.alive.iter().map(SeriesId).chain(reports.map(|report| report.series));
        series.map(|id| self.series.hash(id))
    }

    /// Adds one value of the scrape's own report, unless it is not newer than the last one. Returns the series when it
    /// appears for the first time.
    pub(crate) fn report(
        &mut self,
        kind: ReportKind,
        target_labels: &Labels,
        sample: Sample,
        out: &mut Vec<BatchSample>,
    ) -> Option<SeriesId> {
        let report = self.reports[kind as usize].unwrap_or_else(|| {
            let mut labels = LabelsBuilder::from_labels(target_labels);
            labels.set(METRIC_NAME, kind.name());
            let hash = hash_labels(labels.iter());
            let known = self.find(hash, &labels);
            Report { series: known.unwrap_or_else(|| self.insert(hash, &labels)), last: None }
        });
        let newest = match &self.explicit {
            Some(explicit) => report.last.max(Some(explicit[report.series.0 as usize].timestamp)),
            None => report.last,
        };
        let newer = newest.is_none_or(|last| sample.timestamp > last);
        // A target that exposes a series of this name has the first word.
        let exposed = self.pending.contains(report.series.0) && {
            let exposed = out.iter().rfind(|exposed| exposed.series == report.series);
            exposed.is_none_or(|exposed| exposed.timestamp >= sample.timestamp)
        };
        if newer && !exposed {
            out.push(BatchSample { series: report.series, timestamp: sample.timestamp, value: sample.value });
            if let Some(explicit) = &mut self.explicit {
                explicit[report.series.0 as usize] = sample;
            }
        }
        let last = if newer { Some(sample.timestamp) } else { report.last };
        self.reports[kind as usize] = Some(Report { last, ..report });
        report.last.is_none().then_some(report.series)
    }

    /// Series in the cache, the reports' included.
    pub(crate) fn series_count(&self) -> usize {
        self.series.len()
    }

    /// Whether any scrape was reported.
    pub(crate) fn has_reported(&self) -> bool {
        self.reports.iter().flatten().any(|report| report.last.is_some())
    }

    /// Heap bytes, what consumers remember included.
    pub(crate) fn heap_bytes(&self) -> usize {
        let bits = [&self.alive, &self.alive_now, &self.pending, &self.fresh];
        self.layout.heap_bytes()
            + self.series.heap_bytes()
            + bits.iter().map(|bits| bits.heap_bytes()).sum::<usize>()
            + self.departed.heap_bytes()
            + self.exemplars.capacity() * size_of::<(SeriesId, BatchExemplar)>()
            + self.explicit.as_ref().map_or(0, |explicit| explicit.capacity() * size_of::<Sample>())
    }
}

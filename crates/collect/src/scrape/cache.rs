//! What is remembered about the series of one target between scrapes: from exposed text to final labels, last
//! samples, and which series are alive (Prometheus `scrape.scrapeCache`).

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use outrigger_model::labels::{Labels, LabelsBuilder, METRIC_NAME};
use outrigger_model::sample::{Sample, Timestamp, stale_nan};
use rapidhash::fast::RandomState;

use crate::scrape::report::{REPORT_COUNT, ReportKind};
use crate::series::Series;

/// Series that a target exposes, by their text.
///
/// One *iteration* is one scrape, successful or not. An *entry* is one text of a series (name and labels as they are
/// written); several may lead to the same series, or an entry may stand for a series that relabelling drops.
pub(crate) struct SeriesCache {
    iteration: u32,
    /// Entries after the last successful scrape.
    successful_count: usize,
    entries: Slots<Entry>,
    by_text: HashTable<u32>,
    series: Slots<SeriesState>,
    by_labels: HashTable<u32>,
    hasher: RandomState,
    reports: [Option<ReportState>; REPORT_COUNT],
    /// Entries seen in this iteration.
    seen: usize,
    /// Heap bytes of texts and series.
    bytes: usize,
}

/// What an exposed text leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// Not seen before.
    Unknown,
    /// Metric relabelling drops it.
    Dropped,
    /// A series; `repeated` when the same text was already seen in this iteration.
    Series { id: SeriesId, repeated: bool },
}

/// Position of a series in its cache, valid within one iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeriesId(u32);

struct Entry {
    text: Box<[u8]>,
    /// `None` when relabelling drops it.
    series: Option<SeriesId>,
    last_seen: u32,
}

struct SeriesState {
    series: Arc<Series>,
    /// Last sample that was handed over.
    last: Option<Sample>,
    /// Iteration in which it was last alive; 0 is never.
    alive: u32,
    /// Entries that lead here.
    uses: u32,
    /// Last sample of the running iteration, valid when `pending_iteration` is the current one.
    pending: Timestamp,
    pending_iteration: u32,
}

struct ReportState {
    series: Arc<Series>,
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

impl SeriesCache {
    pub(crate) fn new() -> Self {
        Self {
            iteration: 1,
            successful_count: 0,
            entries: Slots::new(),
            by_text: HashTable::new(),
            series: Slots::new(),
            by_labels: HashTable::new(),
            hasher: RandomState::default(),
            reports: Default::default(),
            seen: 0,
            bytes: 0,
        }
    }

    /// Finds `text` and notes that it was seen in this iteration.
    pub(crate) fn look_up(&mut self, text: &[u8]) -> Lookup {
        let hash = self.hasher.hash_one(text);
        let entries = &mut self.entries;
        let Some(&at) = self.by_text.find(hash, |&at| *entries.get(at).text == *text) else {
            return Lookup::Unknown;
        };
        let entry = entries.get_mut(at);
        let repeated = entry.last_seen == self.iteration;
        entry.last_seen = self.iteration;
        self.seen += usize::from(!repeated);
        match entry.series {
            None => Lookup::Dropped,
            Some(id) => Lookup::Series { id, repeated },
        }
    }

    /// The series with these labels, if any text leads to it already.
    pub(crate) fn find_labels(&self, labels: &Labels, hash: u64) -> Option<SeriesId> {
        let found = self.by_labels.find(hash, |&at| self.series.get(at).series.labels() == labels);
        found.map(|&at| SeriesId(at))
    }

    /// Remembers that relabelling drops `text`.
    pub(crate) fn insert_dropped(&mut self, text: &[u8]) {
        self.insert_entry(text, None);
    }

    /// Remembers a series with new labels.
    pub(crate) fn insert_series(&mut self, text: &[u8], series: Series) -> SeriesId {
        let hash = series.hash();
        self.bytes += series.heap_bytes();
        let state = SeriesState {
            series: Arc::new(series),
            last: None,
            alive: 0,
            uses: 0,
            pending: Timestamp::default(),
            pending_iteration: 0,
        };
        let at = self.series.insert(state);
        let series = &self.series;
        self.by_labels.insert_unique(hash, at, |&at| series.get(at).series.hash());
        self.insert_text(text, SeriesId(at));
        SeriesId(at)
    }

    /// Remembers another text of a known series.
    pub(crate) fn insert_text(&mut self, text: &[u8], id: SeriesId) {
        self.series.get_mut(id.0).uses += 1;
        self.insert_entry(text, Some(id));
    }

    fn insert_entry(&mut self, text: &[u8], series: Option<SeriesId>) {
        let hash = self.hasher.hash_one(text);
        self.bytes += text.len();
        self.seen += 1;
        let at = self.entries.insert(Entry { text: text.into(), series, last_seen: self.iteration });
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.by_text.insert_unique(hash, at, |&at| hasher.hash_one(&*entries.get(at).text));
    }

    /// Compares `sample` with the last one of its series, pending ones of this iteration included.
    pub(crate) fn order(&self, id: SeriesId, sample: Sample) -> Order {
        let state = self.series.get(id.0);
        if state.pending_iteration == self.iteration {
            return match sample.timestamp.cmp(&state.pending) {
                std::cmp::Ordering::Greater => Order::Newer,
                std::cmp::Ordering::Equal => Order::Duplicate,
                std::cmp::Ordering::Less => Order::Older,
            };
        }
        let Some(last) = state.last else { return Order::Newer };
        match sample.timestamp.cmp(&last.timestamp) {
            std::cmp::Ordering::Greater => Order::Newer,
            std::cmp::Ordering::Equal if last == sample => Order::Repeated,
            std::cmp::Ordering::Equal => Order::Duplicate,
            std::cmp::Ordering::Less => Order::Older,
        }
    }

    /// Notes a sample that is handed over if the iteration succeeds.
    pub(crate) fn set_pending(&mut self, id: SeriesId, timestamp: Timestamp) {
        let state = self.series.get_mut(id.0);
        state.pending = timestamp;
        state.pending_iteration = self.iteration;
    }

    /// Hands a pending sample over.
    pub(crate) fn commit(&mut self, id: SeriesId, sample: Sample) -> Arc<Series> {
        let state = self.series.get_mut(id.0);
        state.last = Some(sample);
        Arc::clone(&state.series)
    }

    /// Marks a series as alive in this iteration. True when it was not alive after the previous one.
    pub(crate) fn set_alive(&mut self, id: SeriesId) -> bool {
        let state = self.series.get_mut(id.0);
        if state.alive == self.iteration {
            return false;
        }
        let was_alive = state.alive != 0 && state.alive == self.iteration - 1;
        state.alive = self.iteration;
        !was_alive
    }

    /// The hash of a series' labels.
    pub(crate) fn series_hash(&self, id: SeriesId) -> u64 {
        self.series.get(id.0).series.hash()
    }

    /// Ends the iteration: series that were alive and no longer are get a stale marker at `at`, pushed to `out`.
    /// After a successful scrape (`flush`), entries that were not seen are forgotten.
    ///
    /// Returns whether the cache had to be flushed although the scrape failed.
    pub(crate) fn end_iteration(
        &mut self,
        at: Timestamp,
        flush: bool,
        out: &mut Vec<(Arc<Series>, Sample)>,
    ) -> bool {
        self.mark_stale(at, out);
        let count = self.entries.len();
        // Labels that vary from one failing scrape to the next must not grow the cache for ever.
        let forced = !flush && count > self.successful_count * 2 + 1_000;
        if (flush || forced) && self.seen < count {
            self.forget_unseen();
        }
        self.seen = 0;
        if flush {
            self.successful_count = self.entries.len();
        }
        self.iteration = match self.iteration.checked_add(1) {
            Some(next) => next,
            None => self.renumber(),
        };
        forced
    }

    /// Pushes a stale marker for each series that is alive, and for the reports; used when the target is gone.
    pub(crate) fn end_of_run(
        &mut self,
        at: Timestamp,
        mut wanted: impl FnMut(u64) -> bool,
        out: &mut Vec<(Arc<Series>, Sample)>,
    ) {
        let marker = Sample { timestamp: at, value: stale_nan() };
        let previous = self.iteration - 1;
        for state in self.series.iter() {
            let alive = previous != 0 && state.alive == previous;
            let newer = state.last.is_none_or(|last| at > last.timestamp);
            if alive && newer && wanted(state.series.hash()) {
                out.push((Arc::clone(&state.series), marker));
            }
        }
        for report in self.reports.iter().flatten() {
            let newer = report.last.is_none_or(|last| at > last);
            if newer && wanted(report.series.hash()) {
                out.push((Arc::clone(&report.series), marker));
            }
        }
    }

    /// Hashes of the labels of all series that are alive, reports included.
    pub(crate) fn live_hashes(&self) -> impl Iterator<Item = u64> {
        let previous = self.iteration - 1;
        let live = self.series.iter().filter(move |state| previous != 0 && state.alive == previous);
        let reports = self.reports.iter().flatten().filter(|report| report.last.is_some());
        live.map(|state| state.series.hash()).chain(reports.map(|report| report.series.hash()))
    }

    /// Hands over one value of the scrape's own report, unless it is not newer than the last one.
    ///
    /// The second part is the hash of the series when it appears for the first time.
    pub(crate) fn report(
        &mut self,
        kind: ReportKind,
        target_labels: &Labels,
        sample: Sample,
    ) -> (Option<(Arc<Series>, Sample)>, Option<u64>) {
        let bytes = &mut self.bytes;
        let state = self.reports[kind as usize].get_or_insert_with(|| {
            let mut builder = LabelsBuilder::from_labels(target_labels);
            builder.set(METRIC_NAME, kind.name());
            let series = Series::new(builder.build());
            *bytes += series.heap_bytes();
            ReportState { series: Arc::new(series), last: None }
        });
        let first = state.last.is_none().then(|| state.series.hash());
        if state.last.is_some_and(|last| sample.timestamp <= last) {
            return (None, first);
        }
        state.last = Some(sample.timestamp);
        (Some((Arc::clone(&state.series), sample)), first)
    }

    /// Series (not entries) in the cache.
    pub(crate) fn series_count(&self) -> usize {
        self.series.len()
    }

    /// Whether any scrape was reported.
    pub(crate) fn has_reported(&self) -> bool {
        self.reports.iter().flatten().any(|report| report.last.is_some())
    }

    /// Heap bytes, without the memos of consumers.
    pub(crate) fn heap_bytes(&self) -> usize {
        let tables = (self.by_text.capacity() + self.by_labels.capacity()) * (size_of::<u32>() + 1);
        self.bytes + tables + self.entries.heap_bytes() + self.series.heap_bytes()
    }

    fn mark_stale(&mut self, at: Timestamp, out: &mut Vec<(Arc<Series>, Sample)>) {
        let marker = Sample { timestamp: at, value: stale_nan() };
        let (current, previous) = (self.iteration, self.iteration - 1);
        for state in self.series.iter_mut() {
            let vanished = state.alive != current && previous != 0 && state.alive == previous;
            if vanished && state.last.is_none_or(|last| at > last.timestamp) {
                state.last = Some(marker);
                out.push((Arc::clone(&state.series), marker));
            }
        }
    }

    fn forget_unseen(&mut self) {
        let iteration = self.iteration;
        for at in self.entries.positions() {
            if self.entries.get(at).last_seen != iteration {
                self.forget(at);
            }
        }
        let (entries, hasher) = (&self.entries, &self.hasher);
        shrink(&mut self.by_text, |&at| hasher.hash_one(&*entries.get(at).text));
        let series = &self.series;
        shrink(&mut self.by_labels, |&at| series.get(at).series.hash());
    }

    fn forget(&mut self, at: u32) {
        let entry = self.entries.remove(at);
        self.bytes -= entry.text.len();
        if let Ok(found) = self.by_text.find_entry(self.hasher.hash_one(&*entry.text), |&other| other == at) {
            found.remove();
        }
        let Some(id) = entry.series else { return };
        let state = self.series.get_mut(id.0);
        state.uses -= 1;
        if state.uses > 0 {
            return;
        }
        let state = self.series.remove(id.0);
        self.bytes -= state.series.heap_bytes();
        if let Ok(found) = self.by_labels.find_entry(state.series.hash(), |&other| other == id.0) {
            found.remove();
        }
    }

    /// Starts the iterations over after four billion of them.
    fn renumber(&mut self) -> u32 {
        let last = self.iteration;
        for entry in self.entries.iter_mut() {
            entry.last_seen = u32::from(entry.last_seen == last);
        }
        for state in self.series.iter_mut() {
            state.alive = u32::from(state.alive == last);
            state.pending_iteration = 0;
        }
        2
    }
}

/// Gives memory back after a target has shrunk a lot.
fn shrink(table: &mut HashTable<u32>, hasher: impl Fn(&u32) -> u64) {
    if table.capacity() > 4 * table.len() + 64 {
        table.shrink_to_fit(hasher);
    }
}

/// A vector with stable positions and a free list.
struct Slots<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn insert(&mut self, value: T) -> u32 {
        if let Some(at) = self.free.pop() {
            self.slots[at as usize] = Some(value);
            return at;
        }
        let at = u32::try_from(self.slots.len()).expect("a body of 4 GiB is refused long before");
        self.slots.push(Some(value));
        at
    }

    fn get(&self, at: u32) -> &T {
        self.slots[at as usize].as_ref().expect("tables only hold occupied positions")
    }

    fn get_mut(&mut self, at: u32) -> &mut T {
        self.slots[at as usize].as_mut().expect("tables only hold occupied positions")
    }

    fn remove(&mut self, at: u32) -> T {
        self.free.push(at);
        self.slots[at as usize].take().expect("tables only hold occupied positions")
    }

    fn positions(&self) -> Vec<u32> {
        let occupied = self.slots.iter().enumerate().filter(|(_, slot)| slot.is_some());
        occupied.map(|(at, _)| at as u32).collect()
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten()
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten()
    }

    fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Option<T>>() + self.free.capacity() * size_of::<u32>()
    }
}

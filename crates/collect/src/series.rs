//! The series of one target, packed.
//!
//! Each text is stored once; a (name, value) pair is two numbers of texts; a *group* is a list of pairs, the labels of a
//! series but its metric name; a series is a group and the pair of its metric name. So the labels that series of a target
//! share are there once, and an encoder translates each pair once for a whole batch.

use std::any::Any;
use std::hash::{BuildHasher, Hasher};

use hashbrown::HashTable;
use outrigger_model::labels::{Labels, METRIC_NAME};
use parking_lot::Mutex;
use rapidhash::fast::GlobalState;

/// A series of a [`SeriesTable`]. Removed numbers are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesId(pub u32);

/// A (name, value) pair of a [`SeriesTable`], valid until the table is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PairId(pub u32);

/// Label sets, each sorted by name, without repeated names and empty values.
#[derive(Default)]
pub struct SeriesTable {
    texts: Texts,
    /// Texts of name and value.
    pairs: Vec<(u32, u32)>,
    /// Where each group begins in `refs`.
    groups: Vec<u32>,
    /// Of each group, as LEB128 numbers: the bytes of the pairs of names before `__name__`, and all pairs.
    refs: Vec<u8>,
    rows: Rows,
    free: Vec<u32>,
    /// Rows removed since the last compaction.
    removed: usize,
    /// Only while series are added, and a little longer.
    index: Option<Box<Index>>,
    /// How often the index was needed lately.
    habit: Habit,
    /// How often groups and pairs got other numbers.
    epoch: u32,
    memos: Mutex<Vec<(u32, Box<dyn Memo>)>>,
}

/// Group and metric name of each series; most tables are small.
enum Rows {
    Small(Vec<(u16, u16)>),
    Large(Vec<(u32, u32)>),
}

/// The group of a free row, and the name of a series without one.
const NONE: u32 = u32::MAX;

#[derive(Default)]
struct Texts {
    bytes: String,
    /// Where each text is in `bytes`, and its length.
    spans: Vec<(u32, u32)>,
}

/// So much of the newest texts is searched for a new one: cAdvisor's `name` is the end of its `id`, and the name of a
/// ReplicaSet the beginning of that of its pods.
const SEARCHED_BYTES: usize = 4 << 10;
/// Shorter texts are not worth a search.
const SEARCH_FROM_BYTES: usize = 8;

#[derive(Default)]
struct Index {
    texts: HashTable<u32>,
    pairs: HashTable<u32>,
    groups: HashTable<u32>,
    rows: HashTable<u32>,
    /// Of the labels of each group.
    hashes: Vec<u64>,
}

impl Default for Rows {
    fn default() -> Self {
        Rows::Small(Vec::new())
    }
}

impl Rows {
    fn len(&self) -> usize {
        match self {
            Rows::Small(rows) => rows.len(),
            Rows::Large(rows) => rows.len(),
        }
    }

    #[inline]
    fn get(&self, at: u32) -> (u32, u32) {
        let widen = |number: u16| if number == u16::MAX { NONE } else { u32::from(number) };
        match self {
            Rows::Small(rows) => {
                let (group, name) = rows[at as usize];
                (widen(group), widen(name))
            }
            Rows::Large(rows) => rows[at as usize],
        }
    }

    /// Sets a row, which may be the one after the last.
    fn set(&mut self, at: u32, row: (u32, u32)) {
        let narrow = |number: u32| match number {
            NONE => Some(u16::MAX),
            number => u16::try_from(number).ok().filter(|number| *number != u16::MAX),
        };
        if let (Rows::Small(rows), Some(group), Some(name)) = (&mut *self, narrow(row.0), narrow(row.1)) {
            return put(rows, at, (group, name));
        }
        if let Rows::Small(_) = self {
            *self = Rows::Large((0..self.len() as u32).map(|at| self.get(at)).collect());
        }
        if let Rows::Large(rows) = self {
            put(rows, at, row);
        }
    }

    fn truncate(&mut self, length: usize) {
        match self {
            Rows::Small(rows) => rows.truncate(length),
            Rows::Large(rows) => rows.truncate(length),
        }
    }

    fn shrink(&mut self) {
        match self {
            Rows::Small(rows) => for_slack(rows),
            Rows::Large(rows) => for_slack(rows),
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Rows::Small(rows) => rows.capacity() * size_of::<(u16, u16)>(),
            Rows::Large(rows) => rows.capacity() * size_of::<(u32, u32)>(),
        }
    }
}

fn put<T>(rows: &mut Vec<T>, at: u32, row: T) {
    match rows.get_mut(at as usize) {
        Some(place) => *place = row,
        None => rows.push(row),
    }
}

/// What a consumer remembers about the series of a table.
pub trait Memo: Any + Send {
    /// Its memory.
    fn heap_bytes(&self) -> usize;
}

/// The hash of a label set that is the same for equal sets of all tables of this process.
pub(crate) fn hash_labels<'l>(labels: impl Iterator<Item = (&'l str, &'l str)>) -> u64 {
    let mut group = GlobalState::default().build_hasher();
    let mut name = None;
    for label in labels {
        match label {
            (METRIC_NAME, metric) => name = Some(metric),
            label => hash_into(label, &mut group),
        }
    }
    combine(group.finish(), name)
}

fn hash_into((name, value): (&str, &str), hasher: &mut impl Hasher) {
    hasher.write(name.as_bytes());
    hasher.write_u8(0xff);
    hasher.write(value.as_bytes());
    hasher.write_u8(0xff);
}

/// The hash of a series from that of its group and its metric name.
fn combine(group: u64, name: Option<&str>) -> u64 {
    group.rotate_left(23) ^ name.map_or(0, hash_text)
}

fn hash_text(text: &str) -> u64 {
    GlobalState::default().hash_one(text.as_bytes())
}

fn hash_pair(pair: (u32, u32)) -> u64 {
    GlobalState::default().hash_one(u64::from(pair.0) << 32 | u64::from(pair.1))
}

impl SeriesTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    /// Whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is a series of this number.
    pub fn contains(&self, id: SeriesId) -> bool {
        (id.0 as usize) < self.rows.len() && self.rows.get(id.0).0 != NONE
    }

    /// One more than the largest number of a series.
    pub fn capacity(&self) -> usize {
        self.rows.len()
    }

    /// The hash of a series' labels: equal for equal labels in all tables of this process, not beyond. Not remembered: it
    /// takes a look at all labels.
    pub fn hash(&self, id: SeriesId) -> u64 {
        let (group, name) = self.rows.get(id.0);
        self.combined(self.hash_of(group), name)
    }

    /// As [`hash`](Self::hash), of many series at little cost for each.
    pub(crate) fn hashes(&self) -> impl Fn(SeriesId) -> u64 {
        let of_groups: Vec<u64> = (0..self.groups.len() as u32).map(|group| self.hash_of(group)).collect();
        move |id| {
            let (group, name) = self.rows.get(id.0);
            self.combined(of_groups[group as usize], name)
        }
    }

    /// A number for the labels of a series that no other series of this table has or had in the same
    /// [`epoch`](Self::epoch).
    #[inline]
    pub(crate) fn identity(&self, id: SeriesId) -> u64 {
        let (group, name) = self.rows.get(id.0);
        u64::from(group) << 32 | u64::from(name)
    }

    /// Changes when the numbers of [`identity`](Self::identity) do.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    fn combined(&self, group: u64, name: u32) -> u64 {
        combine(group, (name != NONE).then(|| self.pair(PairId(name)).1))
    }

    fn hash_of(&self, group: u32) -> u64 {
        if let Some(known) = self.index.as_ref().and_then(|index| index.hashes.get(group as usize)) {
            return *known;
        }
        let (before, after) = self.refs_of(group);
        let mut hasher = GlobalState::default().build_hasher();
        let pairs = Pairs { rest: before, name: NONE, after };
        pairs.for_each(|pair| hash_into(self.pair(pair), &mut hasher));
        hasher.finish()
    }

    /// The pairs of a series in order of name.
    #[inline]
    pub fn pairs(&self, id: SeriesId) -> Pairs<'_> {
        let (group, name) = self.rows.get(id.0);
        let (before, after) = self.refs_of(group);
        Pairs { rest: before, name, after }
    }

    /// The pairs of a group, of names before `__name__` and after it.
    #[inline]
    fn refs_of(&self, group: u32) -> (&[u8], &[u8]) {
        let at = group as usize;
        let end = self.groups.get(at + 1).map_or(self.refs.len(), |next| *next as usize);
        let mut refs = &self.refs[self.groups[at] as usize..end];
        let split = take_varint(&mut refs).unwrap_or_default();
        refs.split_at(split as usize)
    }

    /// Name and value of a pair.
    pub fn pair(&self, id: PairId) -> (&str, &str) {
        let (name, value) = self.pairs[id.0 as usize];
        (self.texts.get(name), self.texts.get(value))
    }

    /// Number of pairs; their numbers are below it.
    pub fn pair_count(&self) -> usize {
        self.pairs.len()
    }

    /// The labels of a series in order of name.
    pub fn labels(&self, id: SeriesId) -> impl Iterator<Item = (&str, &str)> {
        self.pairs(id).map(|pair| self.pair(pair))
    }

    /// The label set of a series.
    pub fn to_labels(&self, id: SeriesId) -> Labels {
        Labels::from_pairs(self.labels(id))
    }

    /// The pair of a series' metric name.
    pub fn metric_pair(&self, id: SeriesId) -> Option<PairId> {
        let (_, name) = self.rows.get(id.0);
        (name != NONE).then_some(PairId(name))
    }

    /// The series with these labels, which have [`hash_labels`] `hash`.
    pub(crate) fn find<'l>(
        &mut self,
        hash: u64,
        labels: impl Iterator<Item = (&'l str, &'l str)> + Clone,
    ) -> Option<SeriesId> {
        self.build_index();
        let index = self.index.as_ref()?;
        let is_row = |at: u32| {
            let mut wanted = labels.clone();
            let known =
                self.labels(SeriesId(at)).all(|known| wanted.next().is_some_and(|wanted| wanted == known));
            known && wanted.next().is_none()
        };
        index.rows.find(hash, |&at| self.hash(SeriesId(at)) == hash && is_row(at)).map(|&at| SeriesId(at))
    }

    /// Adds a series that is not there yet. `labels` are in order of name, without repeated names and empty values,
    /// and have [`hash_labels`] `hash`.
    pub(crate) fn insert<'l>(
        &mut self,
        hash: u64,
        labels: impl Iterator<Item = (&'l str, &'l str)>,
    ) -> SeriesId {
        self.build_index();
        let row = self.intern_row(labels);
        let at = self.free.pop().unwrap_or(self.rows.len() as u32);
        self.rows.set(at, row);
        let Some(mut index) = self.index.take() else { return SeriesId(at) };
        let hashes = &index.hashes;
        index.rows.insert_unique(hash, at, |&at| {
            let (group, name) = self.rows.get(at);
            self.combined(hashes[group as usize], name)
        });
        self.index = Some(index);
        SeriesId(at)
    }

    /// The series with these labels, added where it is not there.
    pub fn intern(&mut self, labels: &Labels) -> SeriesId {
        let hash = hash_labels(labels.iter());
        match self.find(hash, labels.iter()) {
            Some(known) => known,
            None => self.insert(hash, labels.iter()),
        }
    }

    /// Removes a series.
    pub(crate) fn remove(&mut self, id: SeriesId) {
        let hash = self.hash(id);
        if let Some(index) = &mut self.index
            && let Ok(found) = index.rows.find_entry(hash, |&at| at == id.0)
        {
            found.remove();
        }
        self.rows.set(id.0, (NONE, NONE));
        self.free.push(id.0);
        self.removed += 1;
    }

    /// Gives up what only adding series needs, once none was added for a while, and the texts of removed series once
    /// they are many.
    pub(crate) fn settle(&mut self) {
        if !self.habit.keeps() {
            self.index = None;
        }
        if self.removed > 64 + self.len() / 2 {
            self.compact();
        }
        if self.index.is_some() {
            return;
        }
        self.texts.shrink();
        self.rows.shrink();
        for_slack(&mut self.refs);
        for_slack(&mut self.groups);
        for_slack(&mut self.pairs);
        for_slack(&mut self.free);
    }

    fn compact(&mut self) {
        let mut fresh = SeriesTable::default();
        fresh.build_index();
        self.epoch += 1;
        for at in 0..self.rows.len() as u32 {
            let row = match self.contains(SeriesId(at)) {
                true => fresh.intern_row(self.labels(SeriesId(at))),
                false => (NONE, NONE),
            };
            fresh.rows.set(at, row);
        }
        let used =
            (0..self.rows.len()).rfind(|at| fresh.rows.get(*at as u32).0 != NONE).map_or(0, |last| last + 1);
        fresh.rows.truncate(used);
        self.free.retain(|at| (*at as usize) < used);
        (self.texts, self.pairs, self.groups) = (fresh.texts, fresh.pairs, fresh.groups);
        (self.refs, self.rows) = (fresh.refs, fresh.rows);
        self.index = None;
        self.removed = 0;
    }

    fn build_index(&mut self) {
        self.habit.needed = true;
        if self.index.is_some() {
            return;
        }
        let mut index = Box::<Index>::default();
        for text in 0..self.texts.spans.len() as u32 {
            let hash = |&at: &u32| hash_text(self.texts.get(at));
            index.texts.insert_unique(hash(&text), text, hash);
        }
        for pair in 0..self.pairs.len() as u32 {
            let hash = |&at: &u32| hash_pair(self.pairs[at as usize]);
            index.pairs.insert_unique(hash(&pair), pair, hash);
        }
        let hashes: Vec<u64> = (0..self.groups.len() as u32).map(|group| self.hash_of(group)).collect();
        for group in 0..self.groups.len() as u32 {
            let hash = |&at: &u32| hashes[at as usize];
            index.groups.insert_unique(hash(&group), group, hash);
        }
        for row in (0..self.rows.len() as u32).filter(|at| self.contains(SeriesId(*at))) {
            let hash = |&at: &u32| {
                let (group, name) = self.rows.get(at);
                self.combined(hashes[group as usize], name)
            };
            index.rows.insert_unique(hash(&row), row, hash);
        }
        index.hashes = hashes;
        self.index = Some(index);
    }

    /// Group and name of a series with these labels.
    fn intern_row<'l>(&mut self, labels: impl Iterator<Item = (&'l str, &'l str)>) -> (u32, u32) {
        let mut hasher = GlobalState::default().build_hasher();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut metric = NONE;
        for (name, value) in labels {
            let pair = self.intern_pair(name, value);
            if name == METRIC_NAME {
                metric = pair;
                continue;
            }
            hash_into((name, value), &mut hasher);
            put_varint(pair, if name < METRIC_NAME { &mut before } else { &mut after });
        }
        let hash = hasher.finish();
        let mut index = self.index.take().unwrap_or_default();
        let same = |&at: &u32| index.hashes[at as usize] == hash && self.refs_of(at) == (&before, &after);
        let known = index.groups.find(hash, same).copied();
        let group = known.unwrap_or_else(|| {
            let at = self.groups.len() as u32;
            self.groups.push(self.refs.len() as u32);
            put_varint(before.len() as u32, &mut self.refs);
            self.refs.extend_from_slice(&before);
            self.refs.extend_from_slice(&after);
            index.hashes.push(hash);
            let hashes = &index.hashes;
            index.groups.insert_unique(hash, at, |&at| hashes[at as usize]);
            at
        });
        self.index = Some(index);
        (group, metric)
    }

    fn intern_pair(&mut self, name: &str, value: &str) -> u32 {
        let pair = (self.intern_text(name), self.intern_text(value));
        let (pairs, index) = (&mut self.pairs, self.index.get_or_insert_default());
        let hash = hash_pair(pair);
        if let Some(&at) = index.pairs.find(hash, |&at| pairs[at as usize] == pair) {
            return at;
        }
        let at = pairs.len() as u32;
        pairs.push(pair);
        index.pairs.insert_unique(hash, at, |&at| hash_pair(pairs[at as usize]));
        at
    }

    fn intern_text(&mut self, text: &str) -> u32 {
        let (texts, index) = (&mut self.texts, self.index.get_or_insert_default());
        let hash = hash_text(text);
        if let Some(&at) = index.texts.find(hash, |&at| texts.get(at) == text) {
            return at;
        }
        let at = texts.push(text);
        index.texts.insert_unique(hash, at, |&at| hash_text(texts.get(at)));
        at
    }

    /// Lets a consumer work with what it remembers about the series of this table; `owner` is unique in the process.
    pub fn with_memo<M: Memo + Default, R>(&self, owner: u32, work: impl FnOnce(&mut M) -> R) -> R {
        let mut memos = self.memos.lock();
        let at = memos.iter().position(|(of, memo)| *of == owner && (&**memo as &dyn Any).is::<M>());
        let at = at.unwrap_or_else(|| {
            memos.push((owner, Box::<M>::default()));
            memos.len() - 1
        });
        let memo: &mut dyn Any = &mut *memos[at].1;
        work(memo.downcast_mut().expect("the position was chosen by its type"))
    }

    /// Forgets the memos of other owners than those that `stays` is true of.
    pub fn retain_memos(&self, stays: impl Fn(u32) -> bool) {
        self.memos.lock().retain(|(owner, _)| stays(*owner));
    }

    /// Memory of the table, memos included.
    pub fn heap_bytes(&self) -> usize {
        let memos: usize = self.memos.lock().iter().map(|(_, memo)| memo.heap_bytes()).sum();
        let index = self.index.as_ref().map_or(0, |index| {
            let tables = [&index.texts, &index.pairs, &index.groups, &index.rows];
            tables.iter().map(|table| table.capacity() * 5).sum::<usize>() + index.hashes.capacity() * 8
        });
        self.texts.bytes.capacity()
            + self.texts.spans.capacity() * size_of::<(u32, u32)>()
            + self.pairs.capacity() * size_of::<(u32, u32)>()
            + self.groups.capacity() * size_of::<u32>()
            + self.rows.heap_bytes()
            + self.refs.capacity()
            + self.free.capacity() * size_of::<u32>()
            + index
            + memos
    }
}

impl std::fmt::Debug for SeriesTable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SeriesTable").field("series", &self.len()).finish_non_exhaustive()
    }
}

impl Texts {
    fn get(&self, at: u32) -> &str {
        let (start, length) = self.spans[at as usize];
        &self.bytes[start as usize..start as usize + length as usize]
    }

    fn push(&mut self, text: &str) -> u32 {
        let start = self.part(text).unwrap_or_else(|| {
            self.bytes.push_str(text);
            self.bytes.len() - text.len()
        });
        self.spans.push((start as u32, text.len() as u32));
        (self.spans.len() - 1) as u32
    }

    /// Where one of the newest texts holds this one.
    fn part(&self, text: &str) -> Option<usize> {
        if text.len() < SEARCH_FROM_BYTES {
            return None;
        }
        let from = self.bytes.len().saturating_sub(SEARCHED_BYTES);
        let searched = &self.bytes.as_bytes()[from..];
        memchr::memmem::find(searched, text.as_bytes()).map(|at| from + at)
    }

    fn shrink(&mut self) {
        if self.bytes.capacity() > self.bytes.len() + self.bytes.len() / 8 {
            self.bytes.shrink_to_fit();
        }
        for_slack(&mut self.spans);
    }
}

/// Whether something that can be made again is worth keeping: only where it is needed again and again.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Habit {
    pub(crate) needed: bool,
    strength: u8,
}

impl Habit {
    /// Ends a round.
    pub(crate) fn keeps(&mut self) -> bool {
        self.strength = match std::mem::take(&mut self.needed) {
            true => (self.strength + 2).min(8),
            false => self.strength.saturating_sub(1),
        };
        self.strength > 2
    }
}

/// Gives back what a vector has reserved beyond an eighth.
pub(crate) fn for_slack<T>(vector: &mut Vec<T>) {
    if vector.capacity() > vector.len() + vector.len() / 8 {
        vector.shrink_to_fit();
    }
}

fn put_varint(mut number: u32, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

#[inline]
fn take_varint(from: &mut &[u8]) -> Option<u32> {
    let (&first, rest) = from.split_first()?;
    *from = rest;
    if first < 0x80 {
        return Some(u32::from(first));
    }
    let mut number = u32::from(first & 0x7f);
    let mut shift = 7;
    while let Some((&byte, rest)) = from.split_first() {
        *from = rest;
        number |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
        shift += 7;
    }
    Some(number)
}

/// The pairs of a series.
#[derive(Debug, Clone)]
pub struct Pairs<'t> {
    rest: &'t [u8],
    /// The metric name's, before `after`; [`NONE`] when there is none or it has come.
    name: u32,
    after: &'t [u8],
}

impl Iterator for Pairs<'_> {
    type Item = PairId;

    #[inline]
    fn next(&mut self) -> Option<PairId> {
        if self.rest.is_empty() {
            if self.name != NONE {
                return Some(PairId(std::mem::replace(&mut self.name, NONE)));
            }
            self.rest = std::mem::take(&mut self.after);
        }
        let number = take_varint(&mut self.rest)?;
        Some(PairId(number))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Count(usize);

    impl Memo for Count {
        fn heap_bytes(&self) -> usize {
            self.0
        }
    }

    proptest! {
        #[test]
        fn what_is_inserted_is_found_until_it_is_removed(
            steps in prop::collection::vec((0u8..60, any::<bool>(), any::<bool>()), 0..300)
        ) {
            let mut table = SeriesTable::new();
            let mut model: HashMap<u8, SeriesId> = HashMap::new();
            let mut identities: HashMap<(u32, u64), u8> = HashMap::new();
            let labels = |n: u8| {
                // Some have a name before that of the metric, some have no metric name.
                Labels::from_pairs([
                    ("__name__", if n.is_multiple_of(7) { String::new() } else { format!("m{}", n % 5) }),
                    ("A", if n.is_multiple_of(2) { String::new() } else { "a".to_owned() }),
                    ("n", (n / 5).to_string()),
                    ("five", (n % 5).to_string()),
                ])
            };
            for (n, remove, settle) in steps {
                let of = labels(n);
                let hash = hash_labels(of.iter());
                let found = table.find(hash, of.iter());
                prop_assert_eq!(found, model.get(&n).copied());
                match found {
                    Some(id) if remove => {
                        table.remove(id);
                        model.remove(&n);
                    }
                    Some(_) => {}
                    None => {
                        model.insert(n, table.insert(hash, of.iter()));
                    }
                }
                if settle {
                    table.settle();
                }
                prop_assert_eq!(table.len(), model.len());
                for (n, id) in &model {
                    prop_assert_eq!(table.to_labels(*id), labels(*n));
                    prop_assert_eq!(table.hash(*id), hash_labels(labels(*n).iter()));
                    prop_assert_eq!(table.hashes()(*id), table.hash(*id));
                    let identity = (table.epoch(), table.identity(*id));
                    prop_assert_eq!(identities.entry(identity).or_insert(*n), n);
                }
            }
        }
    }

    #[test]
    fn texts_of_removed_series_do_not_stay() {
        let mut table = SeriesTable::new();
        for round in 0..200 {
            let ids: Vec<SeriesId> = (0..100)
                .map(|n| {
                    let labels = Labels::from_pairs([("n", format!("{round}-{n}"))]);
                    table.insert(hash_labels(labels.iter()), labels.iter())
                })
                .collect();
            ids.into_iter().for_each(|id| table.remove(id));
            table.settle();
        }
        (0..10).for_each(|_| table.settle());
        assert!(table.heap_bytes() < 20_000, "{}", table.heap_bytes());
    }

    #[test]
    fn a_text_within_another_takes_no_memory_of_its_own() {
        let mut table = SeriesTable::new();
        let id = "/kubepods/burstable/日本/cri-containerd-0123456789abcdef.scope";
        let texts = ["a", "id", "name", id, "0123456789abcdef", "日本/cri-containerd", "/kubepods"];
        let labels = Labels::from_pairs([("id", texts[3]), ("name", texts[4])]);
        let other = Labels::from_pairs([("a", texts[5]), ("id", texts[6])]);
        let ids = [table.intern(&labels), table.intern(&other)];
        assert_eq!([table.to_labels(ids[0]), table.to_labels(ids[1])], [labels.clone(), other.clone()]);
        assert_eq!([table.intern(&labels), table.intern(&other)], ids);
        assert_eq!(table.texts.bytes, format!("id{id}namea"));
    }

    #[test]
    fn a_table_may_outgrow_small_numbers() {
        let mut table = SeriesTable::new();
        let labels = |n: u32| Labels::from_pairs([("__name__", format!("m{}", n % 3)), ("n", n.to_string())]);
        let ids: Vec<SeriesId> = (0..70_000).map(|n| table.intern(&labels(n))).collect();
        for n in [0, 1, 65_534, 65_535, 65_536, 69_999] {
            assert_eq!(table.to_labels(ids[n as usize]), labels(n));
            assert_eq!(table.intern(&labels(n)), ids[n as usize]);
        }
    }

    #[test]
    fn each_owner_has_a_memo_of_its_own() {
        let table = SeriesTable::new();
        table.with_memo(1, |count: &mut Count| count.0 += 1);
        assert_eq!(table.with_memo(2, |count: &mut Count| count.0), 0);
        assert_eq!(table.with_memo(1, |count: &mut Count| count.0), 1);
        table.retain_memos(|owner| owner == 2);
        assert_eq!(table.with_memo(1, |count: &mut Count| count.0), 0);
    }
}

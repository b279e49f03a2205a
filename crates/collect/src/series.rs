//! The series of one target, packed.
//!
//! A series is a list of numbers of (name, value) pairs; pairs are two numbers of texts; each text is stored once. So
//! the labels that all series of a target share cost a byte or two in each, and an encoder translates each pair
//! once for a whole batch.

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
    rows: Vec<Row>,
    /// The pairs of all rows, as LEB128 numbers, each row ended by its length.
    refs: Vec<u8>,
    free: Vec<u32>,
    /// Rows removed since the last compaction.
    removed: usize,
    /// Only while series are added.
    index: Option<Box<Index>>,
    memos: Mutex<Vec<(u32, Box<dyn Memo>)>>,
}

/// Where a row's pairs begin and end in `refs`.
#[derive(Clone, Copy)]
struct Row {
    start: u32,
    /// 0 when the row is free.
    length: u32,
    hash: u64,
}

#[derive(Default)]
struct Texts {
    bytes: String,
    ends: Vec<u32>,
}

#[derive(Default)]
struct Index {
    texts: HashTable<u32>,
    pairs: HashTable<u32>,
    rows: HashTable<u32>,
}

/// What a consumer remembers about the series of a table.
pub trait Memo: Any + Send {
    /// Its memory.
    fn heap_bytes(&self) -> usize;
}

/// The hash of a label set that is the same for equal sets of all tables of this process.
pub(crate) fn hash_labels<'l>(labels: impl Iterator<Item = (&'l str, &'l str)>) -> u64 {
    let mut hasher = GlobalState::default().build_hasher();
    for (name, value) in labels {
        hasher.write(name.as_bytes());
        hasher.write_u8(0xff);
        hasher.write(value.as_bytes());
        hasher.write_u8(0xff);
    }
    hasher.finish()
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
        self.rows.get(id.0 as usize).is_some_and(|row| row.length > 0)
    }

    /// One more than the largest number of a series.
    pub fn capacity(&self) -> usize {
        self.rows.len()
    }

    /// The hash of a series' labels: equal for equal labels in all tables of this process, not beyond.
    pub fn hash(&self, id: SeriesId) -> u64 {
        self.rows[id.0 as usize].hash
    }

    /// The pairs of a series in order of name.
    pub fn pairs(&self, id: SeriesId) -> Pairs<'_> {
        let row = self.rows[id.0 as usize];
        let start = row.start as usize;
        Pairs { rest: &self.refs[start..start + row.length as usize] }
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

    /// The metric name of a series, or `""`.
    pub fn metric_name(&self, id: SeriesId) -> &str {
        self.labels(id).find(|(name, _)| *name == METRIC_NAME).map_or("", |(_, value)| value)
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
        index.rows.find(hash, |&at| self.rows[at as usize].hash == hash && is_row(at)).map(|&at| SeriesId(at))
    }

    /// Adds a series that is not there yet. `labels` are in order of name, without repeated names and empty values,
    /// and have [`hash_labels`] `hash`.
    pub(crate) fn insert<'l>(
        &mut self,
        hash: u64,
        labels: impl Iterator<Item = (&'l str, &'l str)>,
    ) -> SeriesId {
        self.build_index();
        let start = self.refs.len();
        for (name, value) in labels {
            let pair = self.intern_pair(name, value);
            put_varint(pair, &mut self.refs);
        }
        let length = self.refs.len() - start;
        let row = Row { start: start as u32, length: length as u32, hash };
        let at = match self.free.pop() {
            Some(at) => {
                self.rows[at as usize] = row;
                at
            }
            None => {
                self.rows.push(row);
                (self.rows.len() - 1) as u32
            }
        };
        let rows = &self.rows;
        if let Some(index) = &mut self.index {
            index.rows.insert_unique(hash, at, |&at| rows[at as usize].hash);
        }
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
        let row = &mut self.rows[id.0 as usize];
        let hash = row.hash;
        row.length = 0;
        self.free.push(id.0);
        self.removed += 1;
        if let Some(index) = &mut self.index
            && let Ok(found) = index.rows.find_entry(hash, |&at| at == id.0)
        {
            found.remove();
        }
    }

    /// Gives up what only adding series needs, and the texts of removed series once they are many.
    pub(crate) fn settle(&mut self) {
        self.index = None;
        if self.removed > 64 + self.len() / 2 {
            self.compact();
        }
        self.texts.shrink();
        for_slack(&mut self.refs);
        for_slack(&mut self.rows);
        for_slack(&mut self.pairs);
    }

    fn compact(&mut self) {
        let mut fresh = SeriesTable {
            rows: vec![Row { start: 0, length: 0, hash: 0 }; self.rows.len()],
            ..Self::default()
        };
        fresh.build_index();
        for at in 0..self.rows.len() {
            let row = self.rows[at];
            if row.length == 0 {
                continue;
            }
            let start = fresh.refs.len() as u32;
            for (name, value) in self.labels(SeriesId(at as u32)) {
                let pair = fresh.intern_pair(name, value);
                put_varint(pair, &mut fresh.refs);
            }
            fresh.rows[at] = Row { start, length: fresh.refs.len() as u32 - start, hash: row.hash };
        }
        let used = self.rows.iter().rposition(|row| row.length > 0).map_or(0, |last| last + 1);
        fresh.rows.truncate(used);
        self.rows = fresh.rows;
        self.free.retain(|at| (*at as usize) < used);
        (self.texts, self.pairs, self.refs) = (fresh.texts, fresh.pairs, fresh.refs);
        self.removed = 0;
    }

    fn build_index(&mut self) {
        if self.index.is_some() {
            return;
        }
        let mut index = Box::<Index>::default();
        for text in 0..self.texts.ends.len() as u32 {
            let hash = |&at: &u32| hash_text(self.texts.get(at));
            index.texts.insert_unique(hash(&text), text, hash);
        }
        for pair in 0..self.pairs.len() as u32 {
            let hash = |&at: &u32| hash_pair(self.pairs[at as usize]);
            index.pairs.insert_unique(hash(&pair), pair, hash);
        }
        for (at, row) in self.rows.iter().enumerate() {
            if row.length > 0 {
                index.rows.insert_unique(row.hash, at as u32, |&at| self.rows[at as usize].hash);
            }
        }
        self.index = Some(index);
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

    /// Forgets the memos whose owner is not in `owners`.
    pub fn retain_memos(&self, owners: &[u32]) {
        self.memos.lock().retain(|(owner, _)| owners.contains(owner));
    }

    /// Memory of the table, memos included.
    pub fn heap_bytes(&self) -> usize {
        let memos: usize = self.memos.lock().iter().map(|(_, memo)| memo.heap_bytes()).sum();
        let index = self
            .index
            .as_ref()
            .map_or(0, |index| (index.texts.capacity() + index.pairs.capacity() + index.rows.capacity()) * 5);
        self.texts.bytes.capacity()
            + self.texts.ends.capacity() * size_of::<u32>()
            + self.pairs.capacity() * size_of::<(u32, u32)>()
            + self.rows.capacity() * size_of::<Row>()
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
        let at = at as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.bytes[start..self.ends[at] as usize]
    }

    fn push(&mut self, text: &str) -> u32 {
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len() as u32);
        (self.ends.len() - 1) as u32
    }

    fn shrink(&mut self) {
        if self.bytes.capacity() > self.bytes.len() + self.bytes.len() / 8 {
            self.bytes.shrink_to_fit();
        }
        for_slack(&mut self.ends);
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

/// The pairs of a series.
#[derive(Debug, Clone)]
pub struct Pairs<'t> {
    rest: &'t [u8],
}

impl Iterator for Pairs<'_> {
    type Item = PairId;

    #[inline]
    fn next(&mut self) -> Option<PairId> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        if first < 0x80 {
            return Some(PairId(u32::from(first)));
        }
        let mut number = u32::from(first & 0x7f);
        let mut shift = 7;
        while let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            number |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
            shift += 7;
        }
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
            let labels = |n: u8| {
                Labels::from_pairs([
                    ("__name__", "m".to_owned()),
                    ("n", n.to_string()),
                    ("third", (n % 3).to_string()),
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
        assert!(table.heap_bytes() < 20_000, "{}", table.heap_bytes());
    }

    #[test]
    fn each_owner_has_a_memo_of_its_own() {
        let table = SeriesTable::new();
        table.with_memo(1, |count: &mut Count| count.0 += 1);
        assert_eq!(table.with_memo(2, |count: &mut Count| count.0), 0);
        assert_eq!(table.with_memo(1, |count: &mut Count| count.0), 1);
        table.retain_memos(&[2]);
        assert_eq!(table.with_memo(1, |count: &mut Count| count.0), 0);
    }
}

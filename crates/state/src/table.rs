//! The packed samples of one resource's objects.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashTable};
use outrigger_wire::protobuf::put_varint;
use rapidhash::fast::RandomState;
use rapidhash::quality::RandomState as NameHasher;

use crate::block::{Block, ObjectHashes, ROWS, RowBytes};
use crate::dictionary::Dictionary;
use crate::family::FamilyInfo;
use crate::pack::{Packed, put_packed_number, put_packed_text};
use crate::samples::{DraftSample, DraftValue, LabelNames, Samples};
use crate::shard::uid_hash;

/// How samples of a family are written: what stands between the values.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    pub(crate) family: u16,
    /// `name{`, without the brace for a form without labels.
    pub(crate) head: Box<[u8]>,
    /// What goes before each value; the first begins with the comma behind the object's own labels.
    pub(crate) labels: Box<[FormLabel]>,
    /// The last value is labels, rendered.
    pub(crate) pairs: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct FormLabel {
    pub(crate) name: Box<str>,
    pub(crate) before: Box<[u8]>,
    pub(crate) is_word: bool,
}

impl Form {
    fn new(families: &[FamilyInfo], sample: &DraftSample, words: u64) -> Self {
        let name = &families[usize::from(sample.family)].name;
        let labels = sample.labels.iter().enumerate().map(|(place, label)| FormLabel {
            name: label.into(),
            before: format!("{}{label}=\"", if place == 0 { "," } else { "\"," }).into_bytes().into(),
            is_word: words >> place & 1 == 1,
        });
        Self {
            family: sample.family,
            head: format!("{name}{{").into_bytes().into(),
            labels: labels.collect(),
            pairs: sample.pairs,
        }
    }
}

/// What a form depends on besides family and names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct FormShape {
    pairs: bool,
    /// By place: whether the value is a word.
    words: u64,
}

/// The rows of one resource.
#[derive(Debug)]
pub(crate) struct Table {
    families: Arc<[FamilyInfo]>,
    forms: Arc<Vec<Form>>,
    /// By family: which forms its samples have.
    form_ids: Vec<Vec<(FormShape, &'static [&'static str], u32)>>,
    /// Forms of samples whose label names are known at run time only.
    named_form_ids: HashMap<(u16, FormShape, LabelNames), u32, RandomState>,
    blocks: Vec<Arc<Block>>,
    /// By row: the generation that it was last seen in.
    seen: Vec<u32>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hashers: (NameHasher, NameHasher),
    generation: u32,
    synced: bool,
    scratch: Vec<u8>,
    word_ids: Vec<u32>,
}

/// A table as it was at one time.
#[derive(Debug, Clone)]
pub(crate) struct TableSnapshot {
    pub(crate) families: Arc<[FamilyInfo]>,
    pub(crate) forms: Arc<Vec<Form>>,
    pub(crate) blocks: Vec<Arc<Block>>,
    pub(crate) rows: usize,
}

impl Table {
    pub(crate) fn new(families: &[FamilyInfo]) -> Self {
        Self {
            families: families.into(),
            forms: Arc::default(),
            form_ids: vec![Vec::new(); families.len()],
            named_form_ids: HashMap::default(),
            blocks: Vec::new(),
            seen: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hashers: (NameHasher::new(), NameHasher::new()),
            generation: 0,
            synced: false,
            scratch: Vec::new(),
            word_ids: Vec::new(),
        }
    }

    pub(crate) fn snapshot(&self) -> TableSnapshot {
        TableSnapshot {
            families: Arc::clone(&self.families),
            forms: Arc::clone(&self.forms),
            blocks: self.blocks.clone(),
            rows: self.len(),
        }
    }

    /// Objects.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn synced(&self) -> bool {
        self.synced
    }

    /// Stores what was said of an object, in place of what was said before.
    pub(crate) fn upsert(&mut self, samples: &Samples, dictionary: &mut Dictionary) {
        let mut row = std::mem::take(&mut self.scratch);
        row.clear();
        self.pack(samples, dictionary, &mut row);
        let bytes = RowBytes { identity: &samples.identity, samples: &row };
        let object = self.object(samples);
        let of = |slot: &u32| key_of(&self.blocks, *slot);
        match self.index.entry(object.key.0, |slot| of(slot) == object.key, |slot| of(slot).0) {
            Entry::Occupied(entry) => {
                let slot = *entry.get();
                self.seen[slot as usize] = self.generation;
                self.replace(slot, bytes, object, dictionary);
            }
            Entry::Vacant(entry) => {
                let slot = self.free.pop().unwrap_or(self.seen.len() as u32);
                entry.insert(slot);
                self.insert(slot, bytes, object);
            }
        }
        self.scratch = row;
    }

    fn replace(&mut self, slot: u32, row: RowBytes<'_>, object: ObjectHashes, dictionary: &mut Dictionary) {
        let (block, place) = (slot as usize / ROWS, slot as usize % ROWS);
        let old = self.blocks[block].row(place);
        if old == Some(row) && self.blocks[block].object(place) == object {
            // Its words were counted once more while it was packed.
            self.release(row.samples, dictionary);
            return;
        }
        self.release(old.map_or(&[], |old| old.samples), dictionary);
        Arc::make_mut(&mut self.blocks[block]).put(place, row, object);
    }

    fn insert(&mut self, slot: u32, row: RowBytes<'_>, object: ObjectHashes) {
        let (block, place) = (slot as usize / ROWS, slot as usize % ROWS);
        if block == self.blocks.len() {
            self.blocks.push(Arc::default());
        }
        if slot as usize == self.seen.len() {
            self.seen.push(self.generation);
        } else {
            self.seen[slot as usize] = self.generation;
        }
        Arc::make_mut(&mut self.blocks[block]).put(place, row, object);
    }

    /// Forgets an object.
    pub(crate) fn delete(&mut self, samples: &Samples, dictionary: &mut Dictionary) {
        let key = self.object(samples).key;
        let blocks = &self.blocks;
        let Ok(entry) = self.index.find_entry(key.0, |slot| key_of(blocks, *slot) == key) else { return };
        let (slot, _) = entry.remove();
        self.clear_row(slot, dictionary);
    }

    fn clear_row(&mut self, slot: u32, dictionary: &mut Dictionary) {
        let (block, place) = (slot as usize / ROWS, slot as usize % ROWS);
        let old = self.blocks[block].row(place);
        self.release(old.map_or(&[], |old| old.samples), dictionary);
        Arc::make_mut(&mut self.blocks[block]).remove(place);
        self.free.push(slot);
    }

    /// A list begins. What is not seen until its end goes then; until then it stays.
    pub(crate) fn begin_generation(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// The list is complete.
    pub(crate) fn commit_generation(&mut self, dictionary: &mut Dictionary) {
        let mut gone = Vec::new();
        self.index.retain(|slot| {
            let stays = self.seen[*slot as usize] == self.generation;
            if !stays {
                gone.push(*slot);
            }
            stays
        });
        for slot in gone {
            self.clear_row(slot, dictionary);
        }
        self.synced = true;
        self.trim();
    }

    /// Gives back blocks at the end that are empty.
    fn trim(&mut self) {
        while self.blocks.last().is_some_and(|block| block.is_empty()) {
            self.blocks.pop();
            let bound = self.blocks.len() * ROWS;
            self.seen.truncate(bound);
            self.free.retain(|slot| (*slot as usize) < bound);
        }
    }

    fn object(&self, samples: &Samples) -> ObjectHashes {
        // One run of bytes: of a pair of texts rapidhash makes the same hash too often for hashes that stand for names.
        let mut key = Vec::with_capacity(2 + samples.namespace.len() + samples.name.len());
        put_varint(samples.namespace.len() as u64, &mut key);
        key.extend_from_slice(samples.namespace.as_bytes());
        key.extend_from_slice(samples.name.as_bytes());
        let key = (self.hashers.0.hash_one(&*key), self.hashers.1.hash_one(&*key));
        ObjectHashes { key, uid: uid_hash(&samples.uid) }
    }

    /// Appends form, values and number of each sample.
    fn pack(&mut self, samples: &Samples, dictionary: &mut Dictionary, row: &mut Vec<u8>) {
        let mut ids = std::mem::take(&mut self.word_ids);
        ids.clear();
        ids.extend(samples.words.iter().map(|word| dictionary.take(word.text.of(&samples.texts), word.uses)));
        let mut begin = 0;
        for sample in &samples.samples {
            let values = &samples.values[begin..sample.values_end as usize];
            begin = sample.values_end as usize;
            let words = values.iter().enumerate().fold(0, |words, (place, each)| {
                words | u64::from(matches!(each, DraftValue::Word(_))) << place
            });
            put_varint(u64::from(self.form(sample, FormShape { pairs: sample.pairs, words })), row);
            for each in values {
                match each {
                    DraftValue::Word(number) => put_varint(u64::from(ids[*number as usize]), row),
                    DraftValue::Text(text) => put_packed_text(text.of(&samples.texts), row),
                }
            }
            put_packed_number(sample.number, row);
        }
        self.word_ids = ids;
    }

    fn form(&mut self, sample: &DraftSample, shape: FormShape) -> u32 {
        match &sample.labels {
            LabelNames::Static(names) => {
                let mut known = self.form_ids[usize::from(sample.family)].iter();
                // Nearly always it is the very same list.
                let same = |each: &[&str]| std::ptr::eq(each, *names) || each == *names;
                if let Some((.., id)) = known.find(|known| known.0 == shape && same(known.1)) {
                    return *id;
                }
                let id = self.add_form(sample, shape);
                self.form_ids[usize::from(sample.family)].push((shape, names, id));
                id
            }
            LabelNames::Named(_) => {
                let key = (sample.family, shape, sample.labels.clone());
                if let Some(id) = self.named_form_ids.get(&key) {
                    return *id;
                }
                let id = self.add_form(sample, shape);
                self.named_form_ids.insert(key, id);
                id
            }
        }
    }

    fn add_form(&mut self, sample: &DraftSample, shape: FormShape) -> u32 {
        let forms = Arc::make_mut(&mut self.forms);
        forms.push(Form::new(&self.families, sample, shape.words));
        forms.len() as u32 - 1
    }

    /// Takes back the uses of a row's words.
    fn release(&self, row: &[u8], dictionary: &mut Dictionary) {
        let mut packed = Packed::new(row);
        while let Some(form) = packed.varint() {
            let form = &self.forms[form as usize];
            for label in &form.labels {
                match label.is_word {
                    true => dictionary.release(packed.varint().unwrap_or_default()),
                    false => drop(packed.text()),
                }
            }
            if form.pairs {
                dictionary.release(packed.varint().unwrap_or_default());
            }
            packed.number();
        }
    }

    /// Bytes, estimated.
    pub(crate) fn memory(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(|block| block.memory()).sum();
        blocks + self.seen.capacity() * 4 + self.free.capacity() * 4 + self.index.capacity() * 5
    }
}

fn key_of(blocks: &[Arc<Block>], slot: u32) -> (u64, u64) {
    blocks[slot as usize / ROWS].object(slot as usize % ROWS).key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_with_short_and_similar_names_are_all_kept() {
        let (mut table, mut dictionary, mut samples) =
            (Table::new(&[]), Dictionary::default(), Samples::default());
        let mut objects = 0;
        for namespace in ["", "a", "b", "ns", "ns1", "default"] {
            for prefix in ["", "o", "a-", "pod-with-a-long-name-5d4f9c7b6-"] {
                for number in 0..1_000 {
                    samples.clear();
                    samples.set_object(namespace, &format!("{prefix}{number}"), "");
                    table.upsert(&samples, &mut dictionary);
                    objects += 1;
                    assert_eq!(table.len(), objects, "{namespace}/{prefix}{number}");
                }
            }
        }
        for (namespace, name) in [("a", "bc"), ("ab", "c"), ("abc", "")] {
            samples.set_object(namespace, name, "");
            table.upsert(&samples, &mut dictionary);
        }
        assert_eq!(table.len(), objects + 3);
    }
}

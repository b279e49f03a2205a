use std::hash::BuildHasher;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rapidhash::fast::RandomState;

/// Names one text of a [`Dictionary`] while something refers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TextId(pub(crate) u32);

impl TextId {
    /// The empty text; every dictionary has it and nobody counts it.
    pub(crate) const EMPTY: Self = Self(0);
}

/// Stores each text once and counts the references to it; a text that nothing refers to is freed at once.
///
/// Holds either UTF-8 ([`intern_text`](Self::intern_text)) or any bytes ([`intern`](Self::intern)): a user
/// sticks to one of them.
#[derive(Debug)]
pub(crate) struct Dictionary {
    /// A slot with zero references is free, but for the first.
    slots: Vec<Slot>,
    /// Free slots. May name slots that are in use or cut off: whoever takes one checks.
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
    text_bytes: usize,
}

#[derive(Debug, Default)]
struct Slot {
    text: Box<[u8]>,
    references: u32,
}

/// Bytes that an allocation of `bytes` takes from a common allocator: header, and sizes in steps of 16.
pub(crate) fn allocated(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16) }
}

impl Dictionary {
    pub(crate) fn new() -> Self {
        Self {
            slots: vec![Slot::default()],
            free: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::new(),
            text_bytes: 0,
        }
    }

    /// The id of `bytes`, with one more reference to it.
    pub(crate) fn intern(&mut self, bytes: &[u8]) -> TextId {
        if bytes.is_empty() {
            return TextId::EMPTY;
        }
        let hash = self.hasher.hash_one(bytes);
        let slots = &mut self.slots;
        let entry = self.index.entry(
            hash,
            |slot| *slots[*slot as usize].text == *bytes,
            |slot| self.hasher.hash_one(&*slots[*slot as usize].text),
        );
        match entry {
            Entry::Occupied(entry) => {
                let id = *entry.get();
                slots[id as usize].references += 1;
                TextId(id)
            }
            Entry::Vacant(entry) => {
                let slot = Slot { text: bytes.into(), references: 1 };
                self.text_bytes += allocated(bytes.len());
                let id = match take_free(&mut self.free, slots) {
                    Some(id) => id,
                    None => {
                        slots.push(Slot::default());
                        u32::try_from(slots.len() - 1)
                            .expect("memory ends before four billion distinct texts")
                    }
                };
                slots[id as usize] = slot;
                entry.insert(id);
                TextId(id)
            }
        }
    }

    /// The id of a text, with one more reference to it. What is not UTF-8 is replaced by U+FFFD.
    pub(crate) fn intern_text(&mut self, bytes: &[u8]) -> TextId {
        if let Some(id) = self.find(bytes) {
            if id != TextId::EMPTY {
                self.slots[id.0 as usize].references += 1;
            }
            return id;
        }
        match std::str::from_utf8(bytes) {
            Ok(_) => self.intern(bytes),
            Err(_) => self.intern(String::from_utf8_lossy(bytes).as_bytes()),
        }
    }

    /// The id of `bytes` if something refers to them.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<TextId> {
        if bytes.is_empty() {
            return Some(TextId::EMPTY);
        }
        let hash = self.hasher.hash_one(bytes);
        let slot = self.index.find(hash, |slot| *self.slots[*slot as usize].text == *bytes)?;
        Some(TextId(*slot))
    }

    /// Takes one reference back.
    pub(crate) fn release(&mut self, id: TextId) {
        if id == TextId::EMPTY {
            return;
        }
        let slot = &mut self.slots[id.0 as usize];
        slot.references -= 1;
        if slot.references > 0 {
            return;
        }
        let text = std::mem::take(&mut slot.text);
        let hash = self.hasher.hash_one(&*text);
        if let Ok(entry) = self.index.find_entry(hash, |slot| *slot == id.0) {
            entry.remove();
        }
        self.text_bytes -= allocated(text.len());
        self.free.push(id.0);
        self.trim();
    }

    /// Gives memory back once most of it is unused.
    fn trim(&mut self) {
        while self.slots.len() > 1 && self.slots.last().is_some_and(|slot| slot.references == 0) {
            self.slots.pop();
        }
        if self.slots.len() == 1 {
            self.free.clear();
        }
        shrink(&mut self.slots);
        shrink(&mut self.free);
        shrink_index(&mut self.index, |slot| self.hasher.hash_one(&*self.slots[*slot as usize].text));
    }

    /// The bytes of an id that is in use.
    #[inline]
    pub(crate) fn bytes(&self, id: TextId) -> &[u8] {
        &self.slots[id.0 as usize].text
    }

    /// The text of an id that is in use, in a dictionary of texts.
    #[inline]
    pub(crate) fn text(&self, id: TextId) -> &str {
        std::str::from_utf8(self.bytes(id)).expect("only UTF-8 is stored in a dictionary of texts")
    }

    /// Number of distinct texts.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes of memory that the dictionary takes.
    pub(crate) fn memory(&self) -> usize {
        self.text_bytes
            + self.slots.capacity() * size_of::<Slot>()
            + self.free.capacity() * size_of::<u32>()
            + self.index.allocation_size()
    }
}

fn take_free(free: &mut Vec<u32>, slots: &[Slot]) -> Option<u32> {
    while let Some(id) = free.pop() {
        if slots.get(id as usize).is_some_and(|slot| slot.references == 0) {
            return Some(id);
        }
    }
    None
}

/// Shrinks a vector that uses less than a quarter of its allocation to twice what it uses.
pub(crate) fn shrink<T>(vector: &mut Vec<T>) {
    if vector.capacity() > SMALL && vector.len() < vector.capacity() / 4 {
        vector.shrink_to(vector.len() * 2);
    }
}

/// Shrinks a hash table that uses less than an eighth of its allocation.
pub(crate) fn shrink_index<T>(index: &mut HashTable<T>, hasher: impl Fn(&T) -> u64) {
    if index.capacity() > SMALL && index.len() < index.capacity() / 8 {
        index.shrink_to(index.len() * 2, hasher);
    }
}

/// Capacity below which shrinking is not worth it.
const SMALL: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_that_is_not_utf8_is_replaced_and_found_again() {
        let mut dictionary = Dictionary::new();
        let id = dictionary.intern_text(b"a\xffb");
        assert_eq!(dictionary.text(id), "a\u{fffd}b");
        assert_eq!(dictionary.intern_text(b"a\xffb"), id);
        dictionary.release(id);
        dictionary.release(id);
        assert_eq!(dictionary.len(), 0);
    }

    #[test]
    fn endless_churn_of_unique_texts_does_not_grow() {
        let mut dictionary = Dictionary::new();
        let mut held = std::collections::VecDeque::new();
        let mut after_first_round = 0;
        for i in 0..200_000 {
            held.push_back(dictionary.intern(format!("containerd://{i:064}").as_bytes()));
            if held.len() > 500 {
                dictionary.release(held.pop_front().unwrap());
            }
            if i == 2_000 {
                after_first_round = dictionary.memory();
            }
        }
        assert!(dictionary.memory() <= after_first_round * 2, "{} {after_first_round}", dictionary.memory());
        for id in held {
            dictionary.release(id);
        }
        assert!(dictionary.memory() < 8_192, "{}", dictionary.memory());
    }

    proptest! {
        #[test]
        fn counts_references_like_a_map(steps in prop::collection::vec(("[a-c]{0,2}", any::<bool>()), 0..200)) {
            let mut dictionary = Dictionary::new();
            let mut model: BTreeMap<String, (TextId, u32)> = BTreeMap::new();
            for (text, add) in steps {
                if add {
                    let id = dictionary.intern(text.as_bytes());
                    model.entry(text).or_insert((id, 0)).1 += 1;
                } else if let Some((id, count)) = model.get_mut(&text) {
                    dictionary.release(*id);
                    *count -= 1;
                    if *count == 0 {
                        model.remove(&text);
                    }
                }
                for (text, (id, _)) in &model {
                    prop_assert_eq!(dictionary.text(*id), text);
                    prop_assert_eq!(dictionary.find(text.as_bytes()), Some(*id));
                }
            }
            prop_assert_eq!(dictionary.len(), model.keys().filter(|text| !text.is_empty()).count());
        }
    }
}

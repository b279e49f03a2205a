use hashbrown::HashTable;

use crate::dictionary::shrink_index;

/// Rows by the keys they refer to, of which a row can have many: pods and nodes that endpoints name.
///
/// Keys are 64-bit hashes and stand for themselves: should two keys ever collide, a row is found that does not
/// refer to the key asked for, which costs its reader a look and nothing else.
#[derive(Debug, Default)]
pub(crate) struct References {
    entries: HashTable<Reference>,
}

/// Halves of the key, so that an entry takes 12 bytes and not 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reference {
    key: [u32; 2],
    row: u32,
}

impl Reference {
    fn new(key: u64, row: u32) -> Self {
        Self { key: [(key >> 32) as u32, key as u32], row }
    }

    fn key(&self) -> u64 {
        u64::from(self.key[0]) << 32 | u64::from(self.key[1])
    }
}

impl References {
    /// Adds a reference that is not there yet.
    pub(crate) fn insert(&mut self, key: u64, row: u32) {
        self.entries.insert_unique(key, Reference::new(key, row), Reference::key);
    }

    pub(crate) fn remove(&mut self, key: u64, row: u32) {
        let wanted = Reference::new(key, row);
        if let Ok(entry) = self.entries.find_entry(key, |reference| *reference == wanted) {
            entry.remove();
        }
        shrink_index(&mut self.entries, Reference::key);
    }

    pub(crate) fn rows(&self, key: u64) -> impl Iterator<Item = u32> {
        self.entries
            .iter_hash(key)
            .filter(move |reference| reference.key() == key)
            .map(|reference| reference.row)
    }

    pub(crate) fn memory(&self) -> usize {
        self.entries.allocation_size()
    }
}

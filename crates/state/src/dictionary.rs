//! Texts that repeat among objects, kept once.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rapidhash::fast::RandomState;

/// Texts in a chunk: a power of two.
const CHUNK: usize = 512;

type Chunk = [Option<Arc<[u8]>>; CHUNK];

/// Keeps each text once and counts its uses; a text without uses is freed and its id used again.
///
/// A [`Words`] made from it stays as it was: chunks are copied when they are written while somebody reads them.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    chunks: Vec<Arc<Chunk>>,
    uses: Vec<u32>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
    bytes: usize,
}

/// The texts as they were at one time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words {
    chunks: Vec<Arc<Chunk>>,
}

impl Words {
    /// The text of an id.
    #[inline]
    pub(crate) fn get(&self, id: u32) -> &[u8] {
        let id = id as usize;
        match &self.chunks[id / CHUNK][id % CHUNK] {
            Some(text) => text,
            None => &[],
        }
    }
}

impl Dictionary {
    /// The id of a text, with more uses of it.
    pub(crate) fn take(&mut self, text: &[u8], uses: u32) -> u32 {
        let hash = self.hasher.hash_one(text);
        let chunks = &self.chunks;
        let of = |id: u32| chunks[id as usize / CHUNK][id as usize % CHUNK].as_deref().unwrap_or_default();
        let entry = self.index.entry(hash, |id| of(*id) == text, |id| self.hasher.hash_one(of(*id)));
        match entry {
            Entry::Occupied(entry) => {
                let id = *entry.get();
                self.uses[id as usize] += uses;
                id
            }
            Entry::Vacant(entry) => {
                let id = self.free.pop().unwrap_or_else(|| {
                    self.uses.push(0);
                    u32::try_from(self.uses.len() - 1).expect("memory ends before four billion texts")
                });
                entry.insert(id);
                self.put(id, text, uses);
                id
            }
        }
    }

    fn put(&mut self, id: u32, text: &[u8], uses: u32) {
        let slot = id as usize;
        if slot / CHUNK == self.chunks.len() {
            self.chunks.push(Arc::new([const { None }; CHUNK]));
        }
        Arc::make_mut(&mut self.chunks[slot / CHUNK])[slot % CHUNK] = Some(text.into());
        self.uses[slot] = uses;
        self.bytes += text.len();
    }

    /// Takes one use back.
    pub(crate) fn release(&mut self, id: u32) {
        let slot = id as usize;
        self.uses[slot] -= 1;
        if self.uses[slot] > 0 {
            return;
        }
        let Some(text) = Arc::make_mut(&mut self.chunks[slot / CHUNK])[slot % CHUNK].take() else { return };
        let hash = self.hasher.hash_one(&*text);
        if let Ok(entry) = self.index.find_entry(hash, |each| *each == id) {
            entry.remove();
        }
        self.bytes -= text.len();
        self.free.push(id);
        self.trim();
    }

    /// Gives memory back once most of it is unused: chunks without texts at the end.
    fn trim(&mut self) {
        while self.chunks.last().is_some_and(|_| {
            let from = (self.chunks.len() - 1) * CHUNK;
            self.uses[from..].iter().all(|uses| *uses == 0)
        }) && self.free.len() > 2 * CHUNK
        {
            self.chunks.pop();
            let bound = self.chunks.len() * CHUNK;
            self.uses.truncate(bound);
            self.free.retain(|id| (*id as usize) < bound);
        }
        if self.index.capacity() > 4 * self.index.len() + 4 * CHUNK {
            let chunks = &self.chunks;
            let of =
                |id: u32| chunks[id as usize / CHUNK][id as usize % CHUNK].as_deref().unwrap_or_default();
            self.index.shrink_to(self.index.len(), |id| self.hasher.hash_one(of(*id)));
        }
    }

    /// The texts as they are now.
    pub(crate) fn words(&self) -> Words {
        Words { chunks: self.chunks.clone() }
    }

    /// Distinct texts.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes, estimated.
    pub(crate) fn memory(&self) -> usize {
        self.bytes
            + self.index.len() * 32
            + self.chunks.len() * size_of::<Chunk>()
            + self.uses.capacity() * 4
            + self.index.capacity() * 5
    }
}

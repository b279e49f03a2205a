use std::hash::BuildHasher;

use hashbrown::HashTable;
use rapidhash::fast::RandomState;

use super::writer::{NewRow, RowWriter};
use crate::change::{ChangeLog, Entry};
use crate::dictionary::{Dictionary, TextId, allocated, shrink, shrink_index};
use crate::payload::{Payload, references};
use crate::row::{ObjectKey, RowId};

/// The text column that every kind has.
pub(crate) const NAMESPACE: usize = 0;

/// What is to be done with the row that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Staged {
    /// The table has it already.
    Same(u32),
    /// It replaces this row.
    Changed(u32),
    /// It is a new row.
    New,
}

/// The columns of a table. A row is a position in all of them; a deleted one is used again.
#[derive(Debug)]
pub struct Rows {
    /// Number of the insertion that made the row; 0 when the row is free.
    insertions: Vec<u32>,
    /// Generation (relist) in which the row was last seen.
    seen: Vec<u32>,
    /// Number of the row's last entry in the change log; its low 32 bits.
    last_change: Vec<u32>,
    flags: Vec<u32>,
    /// By column, then by row.
    texts_by_column: Box<[Vec<TextId>]>,
    blocks_by_column: Box<[Vec<TextId>]>,
    /// What has no column: see `payload`. The first text is the name.
    buffers: Vec<Box<[u8]>>,
    buffer_bytes: usize,

    texts: Dictionary,
    blocks: Dictionary,
    by_key: HashTable<u32>,
    hasher: RandomState,
    /// Free rows. May name rows that are in use or cut off: whoever takes one checks.
    free: Vec<u32>,
    next_insertion: u32,
    generation: u32,
    synced: bool,
    log: ChangeLog,
    new: NewRow,
}

impl Rows {
    pub(crate) fn new(texts: usize, blocks: usize, log_capacity: usize) -> Self {
        Self {
            insertions: Vec::new(),
            seen: Vec::new(),
            last_change: Vec::new(),
            flags: Vec::new(),
            texts_by_column: vec![Vec::new(); texts].into(),
            blocks_by_column: vec![Vec::new(); blocks].into(),
            buffers: Vec::new(),
            buffer_bytes: 0,
            texts: Dictionary::new(),
            blocks: Dictionary::new(),
            by_key: HashTable::new(),
            hasher: RandomState::new(),
            free: Vec::new(),
            next_insertion: 1,
            generation: 0,
            synced: false,
            log: ChangeLog::new(log_capacity),
            new: NewRow::default(),
        }
    }

    // Reading.

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Entries of the dictionaries.
    pub(crate) fn distinct_texts(&self) -> usize {
        self.texts.len() + self.blocks.len()
    }

    pub(crate) fn id(&self, index: u32) -> RowId {
        RowId { index, insertion: self.insertions[index as usize] }
    }

    pub(crate) fn is_current(&self, row: RowId) -> bool {
        self.insertions.get(row.index as usize).is_some_and(|insertion| *insertion == row.insertion)
    }

    /// Whether the log has no later change of the row than this one.
    pub(crate) fn is_last_change(&self, row: RowId, number: u64) -> bool {
        self.last_change[row.index as usize] == number as u32
    }

    /// The rows in use.
    pub(crate) fn indexes(&self) -> impl Iterator<Item = u32> {
        (0u32..).zip(&self.insertions).filter(|(_, insertion)| **insertion != 0).map(|(index, _)| index)
    }

    /// The rows in use that have this text in a column.
    pub(crate) fn with_text(&self, column: usize, text: &str) -> impl Iterator<Item = u32> {
        let id = self.texts.find(text.as_bytes());
        let column: &[TextId] = if id.is_some() { &self.texts_by_column[column] } else { &[] };
        (0u32..)
            .zip(column)
            .filter(move |(index, found)| Some(**found) == id && self.insertions[*index as usize] != 0)
            .map(|(index, _)| index)
    }

    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<u32> {
        let namespace = self.texts.find(namespace.as_bytes())?;
        self.find_key(namespace, name)
    }

    fn find_key(&self, namespace: TextId, name: &str) -> Option<u32> {
        let hash = self.key_hash(namespace, name);
        self.by_key
            .find(hash, |index| self.text_id(NAMESPACE, *index) == namespace && self.name(*index) == name)
            .copied()
    }

    fn key_hash(&self, namespace: TextId, name: &str) -> u64 {
        self.hasher.hash_one((namespace.0, name))
    }

    #[inline]
    pub(crate) fn text_id(&self, column: usize, index: u32) -> TextId {
        self.texts_by_column[column][index as usize]
    }

    #[inline]
    pub(crate) fn block_id(&self, column: usize, index: u32) -> TextId {
        self.blocks_by_column[column][index as usize]
    }

    #[inline]
    pub(crate) fn text(&self, column: usize, index: u32) -> &str {
        self.texts.text(self.text_id(column, index))
    }

    #[inline]
    pub(crate) fn block(&self, column: usize, index: u32) -> Payload<'_> {
        Payload::of_block(self.blocks.bytes(self.block_id(column, index)), &self.texts)
    }

    #[inline]
    pub(crate) fn flags(&self, index: u32) -> u32 {
        self.flags[index as usize]
    }

    pub(crate) fn name(&self, index: u32) -> &str {
        Payload::of_row(&self.buffers[index as usize], &self.texts).text()
    }

    /// The row's buffer, after the name.
    #[inline]
    pub(crate) fn payload(&self, index: u32) -> Payload<'_> {
        let mut payload = Payload::of_row(&self.buffers[index as usize], &self.texts);
        payload.skip_text();
        payload
    }

    pub(crate) fn key(&self, index: u32) -> ObjectKey {
        ObjectKey::new(self.text(NAMESPACE, index), self.name(index))
    }

    pub(crate) fn hash(&self, key: impl std::hash::Hash) -> u64 {
        self.hasher.hash_one(key)
    }

    pub(crate) fn find_text(&self, text: &str) -> Option<TextId> {
        self.texts.find(text.as_bytes())
    }

    pub(crate) fn log(&self) -> &ChangeLog {
        &self.log
    }

    // Writing a row: writer, then stage, then one of keep, replace, insert; or discard.

    pub(crate) fn writer(&mut self) -> RowWriter<'_> {
        let row = &mut self.new;
        row.texts.clear();
        row.texts.resize(self.texts_by_column.len(), TextId::EMPTY);
        row.blocks.clear();
        row.blocks.resize(self.blocks_by_column.len(), TextId::EMPTY);
        row.flags = 0;
        row.name.clear();
        row.draft.clear();
        RowWriter { row, texts: &mut self.texts, blocks: &mut self.blocks }
    }

    /// Compares the row that was written with what the table has.
    pub(crate) fn stage(&mut self) -> Staged {
        self.new.draft.join();
        let name = std::str::from_utf8(&self.new.name).expect("a name was checked when the row was written");
        let Some(index) = self.find_key(self.new.texts[NAMESPACE], name) else { return Staged::New };
        let row = index as usize;
        let same = self.flags[row] == self.new.flags
            && *self.buffers[row] == *self.new.draft.joined()
            && self.texts_by_column.iter().zip(&self.new.texts).all(|(column, id)| column[row] == *id)
            && self.blocks_by_column.iter().zip(&self.new.blocks).all(|(column, id)| column[row] == *id);
        if same { Staged::Same(index) } else { Staged::Changed(index) }
    }

    /// The row stays as it is.
    pub(crate) fn keep(&mut self, index: u32) {
        self.seen[index as usize] = self.generation;
        self.discard();
    }

    /// Gives back what the row that was written refers to.
    pub(crate) fn discard(&mut self) {
        for id in self.new.texts.drain(..).chain(self.new.draft.references.drain(..)) {
            self.texts.release(id);
        }
        for id in self.new.blocks.drain(..) {
            self.blocks.release(id);
        }
    }

    /// Puts the row that was written in the place of another.
    pub(crate) fn replace(&mut self, index: u32) {
        let row = index as usize;
        let buffer = self.new.draft.joined();
        if *self.buffers[row] != *buffer {
            self.buffer_bytes += allocated(buffer.len());
            self.buffer_bytes -= allocated(self.buffers[row].len());
            let old = std::mem::replace(&mut self.buffers[row], buffer.into());
            release_references(&old, &mut self.texts);
        } else {
            // The old buffer stays, with its own references.
            for id in self.new.draft.references.drain(..) {
                self.texts.release(id);
            }
        }
        for (column, id) in self.texts_by_column.iter_mut().zip(&self.new.texts) {
            self.texts.release(std::mem::replace(&mut column[row], *id));
        }
        for (column, id) in self.blocks_by_column.iter_mut().zip(&self.new.blocks) {
            self.blocks.release(std::mem::replace(&mut column[row], *id));
        }
        self.flags[row] = self.new.flags;
        self.seen[row] = self.generation;
        self.log_change(index);
    }

    /// Makes a new row of the row that was written; `None` when there are too many.
    pub(crate) fn insert(&mut self) -> Option<u32> {
        let Some(index) = self.take_row() else {
            self.discard();
            return None;
        };
        let row = index as usize;
        let buffer: Box<[u8]> = self.new.draft.joined().into();
        self.buffer_bytes += allocated(buffer.len());
        self.buffers[row] = buffer;
        for (column, id) in self.texts_by_column.iter_mut().zip(&self.new.texts) {
            column[row] = *id;
        }
        for (column, id) in self.blocks_by_column.iter_mut().zip(&self.new.blocks) {
            column[row] = *id;
        }
        self.flags[row] = self.new.flags;
        self.seen[row] = self.generation;
        self.insertions[row] = self.next_insertion;
        self.next_insertion = self.next_insertion.checked_add(1).unwrap_or(1);
        self.index_key(index);
        self.log_change(index);
        Some(index)
    }

    fn take_row(&mut self) -> Option<u32> {
        while let Some(index) = self.free.pop() {
            if self.insertions.get(index as usize) == Some(&0) {
                return Some(index);
            }
        }
        // The largest index is kept free for lists that need a value for "no row".
        let index = u32::try_from(self.insertions.len()).ok().filter(|index| *index < u32::MAX)?;
        self.insertions.push(0);
        self.seen.push(0);
        self.last_change.push(0);
        self.flags.push(0);
        self.buffers.push(Box::default());
        for column in self.texts_by_column.iter_mut().chain(&mut self.blocks_by_column) {
            column.push(TextId::EMPTY);
        }
        Some(index)
    }

    fn index_key(&mut self, index: u32) {
        let hash = self.key_hash(self.text_id(NAMESPACE, index), self.name(index));
        let mut by_key = std::mem::take(&mut self.by_key);
        by_key.insert_unique(hash, index, |other| {
            self.key_hash(self.text_id(NAMESPACE, *other), self.name(*other))
        });
        self.by_key = by_key;
    }

    fn log_change(&mut self, index: u32) {
        self.last_change[index as usize] = self.log.next() as u32;
        self.log.push(Entry::Changed(self.id(index)));
    }

    // Deleting.

    pub(crate) fn remove(&mut self, index: u32) {
        let key = self.key(index);
        let hash = self.key_hash(self.text_id(NAMESPACE, index), &key.name);
        if let Ok(entry) = self.by_key.find_entry(hash, |other| *other == index) {
            entry.remove();
        }
        let row = index as usize;
        let buffer = std::mem::take(&mut self.buffers[row]);
        self.buffer_bytes -= allocated(buffer.len());
        release_references(&buffer, &mut self.texts);
        for column in &mut self.texts_by_column {
            self.texts.release(std::mem::replace(&mut column[row], TextId::EMPTY));
        }
        for column in &mut self.blocks_by_column {
            self.blocks.release(std::mem::replace(&mut column[row], TextId::EMPTY));
        }
        self.insertions[row] = 0;
        self.free.push(index);
        self.log.push(Entry::Deleted(Box::new(key)));
        self.trim();
    }

    /// Gives memory back once most rows are gone.
    fn trim(&mut self) {
        let used = self.insertions.iter().rposition(|insertion| *insertion != 0).map_or(0, |last| last + 1);
        if used < self.insertions.len() {
            self.insertions.truncate(used);
            self.seen.truncate(used);
            self.last_change.truncate(used);
            self.flags.truncate(used);
            self.buffers.truncate(used);
            for column in self.texts_by_column.iter_mut().chain(&mut self.blocks_by_column) {
                column.truncate(used);
                shrink(column);
            }
            for column in [&mut self.insertions, &mut self.seen, &mut self.last_change, &mut self.flags] {
                shrink(column);
            }
            shrink(&mut self.buffers);
            if used == 0 {
                self.free.clear();
            }
        }
        shrink(&mut self.free);
        let mut by_key = std::mem::take(&mut self.by_key);
        shrink_index(&mut by_key, |other| self.key_hash(self.text_id(NAMESPACE, *other), self.name(*other)));
        self.by_key = by_key;
    }

    // Generations.

    pub(crate) fn begin_generation(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// Marks an object as seen in this generation without looking at its content.
    pub(crate) fn see(&mut self, namespace: &str, name: &str) {
        if let Some(index) = self.find(namespace, name) {
            self.seen[index as usize] = self.generation;
        }
    }

    /// The rows that were not seen since the generation began.
    pub(crate) fn unseen(&self) -> Vec<u32> {
        self.indexes().filter(|index| self.seen[*index as usize] != self.generation).collect()
    }

    pub(crate) fn set_synced(&mut self) {
        self.synced = true;
    }

    pub(crate) fn synced(&self) -> bool {
        self.synced
    }

    /// Bytes of memory that the columns, dictionaries, indexes and the log take.
    pub(crate) fn memory(&self) -> usize {
        let numbers = [&self.insertions, &self.seen, &self.last_change, &self.flags, &self.free];
        let ids = self.texts_by_column.iter().chain(&self.blocks_by_column);
        numbers.iter().map(|column| column.capacity() * size_of::<u32>()).sum::<usize>()
            + ids.map(|column| column.capacity() * size_of::<TextId>()).sum::<usize>()
            + self.buffers.capacity() * size_of::<Box<[u8]>>()
            + self.buffer_bytes
            + self.texts.memory()
            + self.blocks.memory()
            + self.by_key.allocation_size()
            + self.log.memory()
    }
}

fn release_references(buffer: &[u8], texts: &mut Dictionary) {
    for id in references(buffer) {
        texts.release(id);
    }
}

use super::ReadError;
use super::rows::NAMESPACE;
use crate::dictionary::{Dictionary, TextId};
use crate::payload::{Draft, PutText, put_bytes, put_text};

/// A row that is being written, before it is known whether it is new, changed or the same.
#[derive(Debug, Default)]
pub(crate) struct NewRow {
    /// By text column.
    pub(crate) texts: Vec<TextId>,
    /// By block column.
    pub(crate) blocks: Vec<TextId>,
    pub(crate) flags: u32,
    pub(crate) name: Vec<u8>,
    /// Scratch.
    block: Vec<u8>,
    pub(crate) draft: Draft,
}

/// Writes the columns of one row.
#[derive(Debug)]
pub struct RowWriter<'r> {
    pub(super) row: &'r mut NewRow,
    pub(super) texts: &'r mut Dictionary,
    pub(super) blocks: &'r mut Dictionary,
}

impl RowWriter<'_> {
    /// Writes what every row starts with: its key.
    pub(crate) fn key(&mut self, namespaced: bool, namespace: &[u8], name: &[u8]) -> Result<(), ReadError> {
        if name.is_empty() || std::str::from_utf8(name).is_err() {
            return Err(ReadError::NoName);
        }
        if namespaced && (namespace.is_empty() || std::str::from_utf8(namespace).is_err()) {
            return Err(ReadError::NoNamespace);
        }
        self.set_text(NAMESPACE, if namespaced { namespace } else { b"" });
        self.row.name.extend_from_slice(name);
        self.inline(name);
        Ok(())
    }

    /// Sets a text column.
    pub(crate) fn set_text(&mut self, column: usize, text: &[u8]) {
        self.row.texts[column] = self.texts.intern_text(text);
    }

    /// Sets a block column to what `write` appends.
    ///
    /// Most blocks are known, and what is known is UTF-8: only a new one is written a second time, with its texts
    /// checked.
    pub(crate) fn set_block(&mut self, column: usize, write: impl Fn(PutText, &mut Vec<u8>)) {
        let block = &mut self.row.block;
        block.clear();
        write(put_bytes, block);
        if self.blocks.find(block).is_none() {
            block.clear();
            write(put_text, block);
        }
        self.row.blocks[column] = self.blocks.intern(block);
    }

    /// Sets the flags column.
    pub(crate) fn set_flags(&mut self, flags: u32) {
        self.row.flags = flags;
    }

    /// Appends a number to the row's buffer.
    pub(crate) fn number(&mut self, number: u64) {
        self.row.draft.number(number);
    }

    /// Appends a text that other rows are unlikely to have.
    pub(crate) fn text(&mut self, text: &[u8]) {
        self.row.draft.text(text, self.texts);
    }

    /// Appends a text that other rows are likely to have.
    pub(crate) fn shared(&mut self, text: &[u8]) {
        self.row.draft.shared(text, self.texts);
    }

    /// Appends a text that is never in the dictionary, whatever its length.
    pub(crate) fn inline(&mut self, text: &[u8]) {
        self.row.draft.inline(text);
    }

    /// Appends texts that other rows are unlikely to have.
    pub(crate) fn texts(&mut self, texts: &[&[u8]]) {
        self.number(texts.len() as u64);
        texts.iter().for_each(|text| self.text(text));
    }

    /// Appends a port.
    pub(crate) fn port(&mut self, name: &[u8], number: i32, protocol: &[u8]) {
        self.text(name);
        self.number(u64::from(number.cast_unsigned()));
        self.text(protocol);
    }

    /// Appends a section with what `body` writes.
    pub(crate) fn section(&mut self, body: impl FnOnce(&mut Self)) {
        let start = self.row.draft.begin_section();
        body(self);
        self.row.draft.end_section(start);
    }

    /// Appends pairs whose keys many rows have.
    pub(crate) fn pairs(&mut self, pairs: &[(&[u8], &[u8])]) {
        self.number(pairs.len() as u64);
        for (key, value) in pairs {
            self.shared(key);
            self.text(value);
        }
    }
}

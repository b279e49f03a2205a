//! Rows as columns, and what every table can do.

mod rows;
mod writer;

use outrigger_wire::kubernetes::ResourceKind;
use outrigger_wire::kubernetes::object_meta;
use outrigger_wire::kubernetes::scan::ScanError;

pub(crate) use self::rows::Rows;
pub(crate) use self::rows::{NAMESPACE, Staged};
pub(crate) use self::writer::RowWriter;
use crate::change::{Changes, Entry};
use crate::error::ObjectError;
use crate::row::{ObjectKey, RowId};

/// One kind of row: how an object becomes columns and how columns are read. Only this crate has implementations.
pub trait Kind: Default {
    /// What a consumer sees of a row.
    type View<'a>: Copy;

    /// Columns of dictionary texts; the first is the namespace.
    const TEXTS: usize;
    /// Columns of dictionary blocks.
    const BLOCKS: usize;

    /// The view of a row that is in use.
    fn view(rows: &Rows, index: u32) -> Self::View<'_>;

    /// Scans an object and writes its row.
    ///
    /// # Errors
    /// When the object cannot be read.
    fn read(&mut self, object: &[u8], row: &mut RowWriter<'_>) -> Result<(), ReadError>;

    /// Adds a row to the kind's own indexes.
    fn link(&mut self, _rows: &Rows, _index: u32) {}

    /// Takes a row that is still unchanged out of the kind's own indexes.
    fn unlink(&mut self, _rows: &Rows, _index: u32) {}

    /// Bytes of memory that the kind's own indexes take.
    fn index_memory(&self) -> usize {
        0
    }
}

/// Why an object did not become a row.
#[derive(Debug)]
pub enum ReadError {
    /// The message is malformed.
    Scan(ScanError),
    /// No name.
    NoName,
    /// No namespace.
    NoNamespace,
}

impl From<ScanError> for ReadError {
    fn from(error: ScanError) -> Self {
        Self::Scan(error)
    }
}

/// The objects of one resource.
#[derive(Debug)]
pub struct Table<K> {
    resource: ResourceKind,
    pub(crate) rows: Rows,
    pub(crate) kind: K,
}

impl<K: Kind> Table<K> {
    pub(crate) fn new(resource: ResourceKind, log_capacity: usize) -> Self {
        Self { resource, rows: Rows::new(K::TEXTS, K::BLOCKS, log_capacity), kind: K::default() }
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row of an object. `namespace` is `""` for a cluster-scoped one.
    pub fn get(&self, namespace: &str, name: &str) -> Option<RowId> {
        let index = self.rows.find(namespace, name)?;
        Some(self.rows.id(index))
    }

    /// A row's content, or `None` when its object is gone.
    pub fn view(&self, row: RowId) -> Option<K::View<'_>> {
        self.rows.is_current(row).then(|| K::view(&self.rows, row.index))
    }

    /// The content of an object, by name.
    pub fn find(&self, namespace: &str, name: &str) -> Option<K::View<'_>> {
        self.rows.find(namespace, name).map(|index| K::view(&self.rows, index))
    }

    /// All rows, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (RowId, K::View<'_>)> {
        self.rows.indexes().map(|index| (self.rows.id(index), K::view(&self.rows, index)))
    }

    /// The rows of a namespace. Looks at one column of every row.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = RowId> {
        self.rows.with_text(NAMESPACE, namespace).map(|index| self.rows.id(index))
    }

    /// Creates or changes the row of an object.
    pub(crate) fn upsert(&mut self, object: &[u8]) -> Result<(), ObjectError> {
        let mut writer = self.rows.writer();
        if let Err(error) = self.kind.read(object, &mut writer) {
            self.rows.discard();
            return Err(self.rejected(object, error));
        }
        match self.rows.stage() {
            Staged::Same(index) => self.rows.keep(index),
            Staged::Changed(index) => {
                self.kind.unlink(&self.rows, index);
                self.rows.replace(index);
                self.kind.link(&self.rows, index);
            }
            Staged::New => {
                let index = self.rows.insert().ok_or(ObjectError::TableFull { resource: self.resource })?;
                self.kind.link(&self.rows, index);
            }
        }
        Ok(())
    }

    /// Deletes the row of an object; one that is not there is no error.
    pub(crate) fn delete(&mut self, object: &[u8]) -> Result<(), ObjectError> {
        let meta =
            object_meta(object).map_err(|source| self.rejected(object, ReadError::Scan(source.into())))?;
        if meta.name.is_empty() {
            return Err(ObjectError::NoName { resource: self.resource });
        }
        if let Some(index) = self.rows.find(meta.namespace, meta.name) {
            self.remove(index);
        }
        Ok(())
    }

    fn remove(&mut self, index: u32) {
        self.kind.unlink(&self.rows, index);
        self.rows.remove(index);
    }

    pub(crate) fn begin_generation(&mut self) {
        self.rows.begin_generation();
    }

    pub(crate) fn commit_generation(&mut self) {
        for index in self.rows.unseen() {
            self.remove(index);
        }
        self.rows.set_synced();
    }

    /// An object that was listed but cannot be read is still there: its earlier state must survive the commit.
    fn rejected(&mut self, object: &[u8], error: ReadError) -> ObjectError {
        let meta = object_meta(object).ok().filter(|meta| !meta.name.is_empty());
        if let Some(meta) = &meta {
            self.rows.see(meta.namespace, meta.name);
        }
        let resource = self.resource;
        match error {
            ReadError::Scan(source) => {
                let key = meta.map(|meta| ObjectKey::new(meta.namespace, meta.name));
                ObjectError::Malformed { resource, key, source }
            }
            ReadError::NoName => ObjectError::NoName { resource },
            ReadError::NoNamespace => {
                let name = meta.map(|meta| meta.name.to_owned()).unwrap_or_default();
                ObjectError::NoNamespace { resource, name }
            }
        }
    }

    pub(crate) fn changes_since(&self, cursor: u64) -> Changes {
        let log = self.rows.log();
        let mut changes = Changes { next: log.next(), ..Changes::default() };
        let Some(entries) = log.since(cursor) else {
            changes.reset = true;
            return changes;
        };
        for (number, entry) in entries {
            match entry {
                Entry::Changed(row)
                    if self.rows.is_current(*row) && self.rows.is_last_change(*row, number) =>
                {
                    changes.changed.push(*row);
                }
                Entry::Changed(_) => {}
                Entry::Deleted(key) if self.get(&key.namespace, &key.name).is_none() => {
                    changes.deleted.push(ObjectKey::clone(key));
                }
                Entry::Deleted(_) => {}
            }
        }
        changes.deleted.sort_unstable();
        changes.deleted.dedup();
        changes
    }

    /// Number of changes since the table was made.
    pub(crate) fn version(&self) -> u64 {
        self.rows.log().next()
    }

    pub(crate) fn synced(&self) -> bool {
        self.rows.synced()
    }

    pub(crate) fn memory(&self) -> usize {
        self.rows.memory() + self.kind.index_memory()
    }
}

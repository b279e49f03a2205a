//! The state image: the tables of all resources, filled by watches and read by scrapes.

use parking_lot::Mutex;

use crate::dictionary::{Dictionary, Words};
use crate::family::FamilyInfo;
use crate::object::{Encoding, ObjectError};
use crate::samples::Samples;
use crate::table::{Table, TableSnapshot};

/// Says what the families of one resource are, and what they say of an object.
pub trait Generator: Send + Sync + 'static {
    /// The families, in the order of their lines.
    fn families(&self) -> &[FamilyInfo];

    /// An empty [`Samples`] for [`generate`](Self::generate).
    fn samples(&self) -> Samples;

    /// Says all of an object. What was said before has to be cleared.
    ///
    /// # Errors
    /// When the object cannot be read; nothing that was said then counts.
    fn generate(&self, encoding: Encoding, object: &[u8], samples: &mut Samples) -> Result<(), ObjectError>;

    /// Says only which object it is.
    ///
    /// # Errors
    /// When the object cannot be read.
    fn identify(&self, encoding: Encoding, object: &[u8], samples: &mut Samples) -> Result<(), ObjectError>;
}

/// Names a table of a [`StateImage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(usize);

/// The packed samples of all objects.
///
/// Writers hold its lock for the packing of one object, readers for the moment that a snapshot takes.
pub struct StateImage {
    tables: Vec<TableHead>,
    inner: Mutex<Inner>,
}

struct TableHead {
    name: String,
    generator: Box<dyn Generator>,
}

struct Inner {
    dictionary: Dictionary,
    tables: Vec<Table>,
}

/// What a table takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMemory {
    /// The resource.
    pub resource: String,
    /// Its objects.
    pub objects: usize,
    /// Bytes, estimated; texts that objects share are not among them.
    pub bytes: usize,
}

impl StateImage {
    /// An image with a table for each of these resources; sorted by name, as they are rendered.
    pub fn new(mut resources: Vec<(String, Box<dyn Generator>)>) -> Self {
        resources.sort_by(|(one, _), (other, _)| one.cmp(other));
        let tables: Vec<TableHead> =
            resources.into_iter().map(|(name, generator)| TableHead { name, generator }).collect();
        let inner = Inner {
            dictionary: Dictionary::default(),
            tables: tables.iter().map(|head| Table::new(head.generator.families())).collect(),
        };
        Self { tables, inner: Mutex::new(inner) }
    }

    /// The table of a resource.
    pub fn table(&self, name: &str) -> Option<TableId> {
        self.tables.iter().position(|head| head.name == name).map(TableId)
    }

    /// Resources, in the order of the tables.
    pub fn resources(&self) -> impl Iterator<Item = (TableId, &str)> {
        self.tables.iter().enumerate().map(|(place, head)| (TableId(place), head.name.as_str()))
    }

    /// An empty [`Samples`] that a writer of this table uses again and again.
    pub fn samples(&self, table: TableId) -> Samples {
        self.tables[table.0].generator.samples()
    }

    /// Takes over an object as it is now.
    ///
    /// # Errors
    /// When it cannot be read; what was known of it stays.
    pub fn upsert(
        &self,
        table: TableId,
        encoding: Encoding,
        object: &[u8],
        samples: &mut Samples,
    ) -> Result<(), ObjectError> {
        samples.clear();
        self.tables[table.0].generator.generate(encoding, object, samples)?;
        let Inner { dictionary, tables } = &mut *self.inner.lock();
        tables[table.0].upsert(samples, dictionary);
        Ok(())
    }

    /// Forgets an object.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn delete(
        &self,
        table: TableId,
        encoding: Encoding,
        object: &[u8],
        samples: &mut Samples,
    ) -> Result<(), ObjectError> {
        samples.clear();
        self.tables[table.0].generator.identify(encoding, object, samples)?;
        let Inner { dictionary, tables } = &mut *self.inner.lock();
        tables[table.0].delete(samples, dictionary);
        Ok(())
    }

    /// A list begins: the objects of before stay until it is complete.
    pub fn begin_generation(&self, table: TableId) {
        self.inner.lock().tables[table.0].begin_generation();
    }

    /// A list is complete: objects that were not in it go.
    pub fn commit_generation(&self, table: TableId) {
        let Inner { dictionary, tables } = &mut *self.inner.lock();
        tables[table.0].commit_generation(dictionary);
    }

    /// Whether a table was listed completely once.
    pub fn synced(&self, table: TableId) -> bool {
        self.inner.lock().tables[table.0].synced()
    }

    /// Everything as it is now. Tables that were never listed completely are left out.
    pub fn snapshot(&self) -> Snapshot {
        let inner = self.inner.lock();
        let tables = self.tables.iter().zip(&inner.tables).filter(|(_, table)| table.synced());
        Snapshot {
            words: inner.dictionary.words(),
            tables: tables.map(|(head, table)| (head.name.clone(), table.snapshot())).collect(),
        }
    }

    /// What the tables take.
    pub fn memory(&self) -> Vec<TableMemory> {
        let inner = self.inner.lock();
        let tables = self.tables.iter().zip(&inner.tables);
        tables
            .map(|(head, table)| TableMemory {
                resource: head.name.clone(),
                objects: table.len(),
                bytes: table.memory(),
            })
            .collect()
    }

    /// Texts that objects share: how many and bytes, estimated.
    pub fn dictionary_memory(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (inner.dictionary.len(), inner.dictionary.memory())
    }
}

/// The tables as they were at one time. Cheap: what changes later is copied then.
pub struct Snapshot {
    pub(crate) words: Words,
    pub(crate) tables: Vec<(String, TableSnapshot)>,
}

impl Snapshot {
    /// Resources and their objects.
    pub fn resources(&self) -> impl Iterator<Item = (&str, usize)> {
        self.tables.iter().map(|(name, table)| (name.as_str(), table.rows))
    }
}

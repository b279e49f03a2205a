//! The state image: the tables of all resources, filled by watches and read by scrapes.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

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
#[derive(Default)]
pub struct StateImage {
    /// By [`TableId`]; `None` once removed.
    heads: RwLock<Vec<Option<Arc<TableHead>>>>,
    inner: Mutex<Inner>,
}

struct TableHead {
    name: String,
    generator: Box<dyn Generator>,
}

#[derive(Default)]
struct Inner {
    dictionary: Dictionary,
    /// By [`TableId`]; `None` once removed.
    tables: Vec<Option<Table>>,
}

impl Inner {
    fn table(&mut self, table: TableId) -> Option<(&mut Table, &mut Dictionary)> {
        Some((self.tables.get_mut(table.0)?.as_mut()?, &mut self.dictionary))
    }
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
    /// An image with a table for each of these resources.
    pub fn new(resources: Vec<(String, Box<dyn Generator>)>) -> Self {
        let image = Self::default();
        for (name, generator) in resources {
            image.add_table(name, generator);
        }
        image
    }

    /// One more table, for a resource that has none.
    pub fn add_table(&self, name: String, generator: Box<dyn Generator>) -> TableId {
        let mut heads = self.heads.write();
        self.inner.lock().tables.push(Some(Table::new(generator.families())));
        heads.push(Some(Arc::new(TableHead { name, generator })));
        TableId(heads.len() - 1)
    }

    /// Removes a table and all its objects. What is written to it later is lost.
    pub fn remove_table(&self, table: TableId) {
        self.heads.write()[table.0] = None;
        let inner = &mut *self.inner.lock();
        if let Some(mut removed) = inner.tables[table.0].take() {
            removed.begin_generation();
            removed.commit_generation(&mut inner.dictionary);
        }
    }

    /// The table of a resource.
    pub fn table(&self, name: &str) -> Option<TableId> {
        let named = |head: &Option<Arc<TableHead>>| head.as_ref().is_some_and(|head| head.name == name);
        self.heads.read().iter().position(named).map(TableId)
    }

    /// Tables and their resources.
    pub fn resources(&self) -> Vec<(TableId, String)> {
        let heads = self.heads.read();
        let tables = heads.iter().enumerate();
        tables.filter_map(|(place, head)| Some((TableId(place), head.as_ref()?.name.clone()))).collect()
    }

    /// An empty [`Samples`] that a writer of this table uses again and again.
    pub fn samples(&self, table: TableId) -> Samples {
        self.head(table).map_or_else(Samples::default, |head| head.generator.samples())
    }

    fn head(&self, table: TableId) -> Option<Arc<TableHead>> {
        self.heads.read().get(table.0)?.clone()
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
        let Some(head) = self.head(table) else { return Ok(()) };
        samples.clear();
        head.generator.generate(encoding, object, samples)?;
        if let Some((table, dictionary)) = self.inner.lock().table(table) {
            table.upsert(samples, dictionary);
        }
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
        let Some(head) = self.head(table) else { return Ok(()) };
        samples.clear();
        head.generator.identify(encoding, object, samples)?;
        if let Some((table, dictionary)) = self.inner.lock().table(table) {
            table.delete(samples, dictionary);
        }
        Ok(())
    }

    /// A list begins: the objects of before stay until it is complete.
    pub fn begin_generation(&self, table: TableId) {
        if let Some((table, _)) = self.inner.lock().table(table) {
            table.begin_generation();
        }
    }

    /// A list is complete: objects that were not in it go.
    pub fn commit_generation(&self, table: TableId) {
        if let Some((table, dictionary)) = self.inner.lock().table(table) {
            table.commit_generation(dictionary);
        }
    }

    /// Whether a table was listed completely once.
    pub fn synced(&self, table: TableId) -> bool {
        self.inner.lock().table(table).is_some_and(|(table, _)| table.synced())
    }

    /// Everything as it is now, resources sorted by name. Tables that were never listed completely are left out.
    pub fn snapshot(&self) -> Snapshot {
        let heads = self.heads.read();
        let inner = self.inner.lock();
        let mut tables: Vec<(String, TableSnapshot)> = heads
            .iter()
            .zip(&inner.tables)
            .filter_map(|(head, table)| Some((head.as_ref()?, table.as_ref()?)))
            .filter(|(_, table)| table.synced())
            .map(|(head, table)| (head.name.clone(), table.snapshot()))
            .collect();
        tables.sort_by(|(one, _), (other, _)| one.cmp(other));
        Snapshot { words: inner.dictionary.words(), tables }
    }

    /// What the tables take.
    pub fn memory(&self) -> Vec<TableMemory> {
        let heads = self.heads.read();
        let inner = self.inner.lock();
        let tables = heads.iter().zip(&inner.tables);
        let memory = tables.filter_map(|(head, table)| {
            let (head, table) = (head.as_ref()?, table.as_ref()?);
            Some(TableMemory { resource: head.name.clone(), objects: table.len(), bytes: table.memory() })
        });
        memory.collect()
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

    /// Families of the resources that have objects.
    pub fn families(&self) -> impl Iterator<Item = &FamilyInfo> {
        let tables = self.tables.iter().filter(|(_, table)| table.rows > 0);
        tables.flat_map(|(_, table)| table.families.iter())
    }
}

//! Objects of which only the metadata is held.

use outrigger_wire::kubernetes::scan::MetaFields;

use crate::payload::{Pairs, Payload};
use crate::pod::Owner;
use crate::row::RowId;
use crate::table::{Kind, ReadError, RowWriter, Rows, Table};

/// The namespaces of a cluster.
pub type NamespaceTable = Table<Namespaces>;

/// The ReplicaSets, Jobs or CronJobs of a cluster: who controls them.
pub type OwnerTable = Table<Owners>;

/// Buffer part: labels, annotations; one section, so that the rest is reached by one jump.
pub(crate) fn write_labels(meta: &MetaFields<'_>, row: &mut RowWriter<'_>) {
    row.section(|row| {
        row.section(|row| row.pairs(&meta.labels));
        row.pairs(&meta.annotations);
    });
}

pub(crate) fn labels(mut payload: Payload<'_>) -> Pairs<'_> {
    Pairs::new(payload.section().section())
}

pub(crate) fn annotations(mut payload: Payload<'_>) -> Pairs<'_> {
    let mut section = payload.section();
    section.section();
    Pairs::new(section)
}

/// The methods that read the metadata of a view; the buffer after the name starts with `write_labels`.
macro_rules! metadata_methods {
    () => {
        /// Its row.
        pub fn row(self) -> crate::row::RowId {
            self.rows.id(self.index)
        }

        /// `metadata.name`.
        pub fn name(self) -> &'a str {
            self.rows.name(self.index)
        }

        /// `metadata.labels`, sorted by key.
        pub fn labels(self) -> crate::payload::Pairs<'a> {
            crate::metadata::labels(self.rows.payload(self.index))
        }

        /// The value of a label.
        pub fn label(self, key: &str) -> Option<&'a str> {
            self.labels().find_sorted(key)
        }

        /// `metadata.annotations`, sorted by key.
        pub fn annotations(self) -> crate::payload::Pairs<'a> {
            crate::metadata::annotations(self.rows.payload(self.index))
        }

        /// The value of an annotation.
        pub fn annotation(self, key: &str) -> Option<&'a str> {
            self.annotations().find_sorted(key)
        }
    };
}

/// `namespace()` of a view.
macro_rules! namespace_method {
    () => {
        /// `metadata.namespace`.
        pub fn namespace(self) -> &'a str {
            self.rows.text(crate::table::NAMESPACE, self.index)
        }
    };
}

pub(crate) use {metadata_methods, namespace_method};

/// How namespaces are stored.
#[derive(Debug, Default)]
pub struct Namespaces {
    fields: MetaFields<'static>,
}

impl Kind for Namespaces {
    type View<'a> = NamespaceView<'a>;

    const TEXTS: usize = 1;
    const BLOCKS: usize = 0;

    fn view(rows: &Rows, index: u32) -> NamespaceView<'_> {
        NamespaceView { rows, index }
    }

    fn read(&mut self, object: &[u8], row: &mut RowWriter<'_>) -> Result<(), ReadError> {
        let mut meta = std::mem::take(&mut self.fields).recycle();
        let result = meta.scan(object).map_err(ReadError::from).and_then(|()| {
            row.key(false, b"", meta.name)?;
            write_labels(&meta, row);
            Ok(())
        });
        self.fields = meta.recycle();
        result
    }
}

/// A namespace.
#[derive(Debug, Clone, Copy)]
pub struct NamespaceView<'a> {
    rows: &'a Rows,
    index: u32,
}

impl<'a> NamespaceView<'a> {
    metadata_methods!();
}

/// How owners are stored.
#[derive(Debug, Default)]
pub struct Owners {
    fields: MetaFields<'static>,
}

impl Kind for Owners {
    type View<'a> = OwnerView<'a>;

    const TEXTS: usize = 1;
    const BLOCKS: usize = 0;

    fn view(rows: &Rows, index: u32) -> OwnerView<'_> {
        OwnerView { rows, index }
    }

    fn read(&mut self, object: &[u8], row: &mut RowWriter<'_>) -> Result<(), ReadError> {
        let mut meta = std::mem::take(&mut self.fields).recycle();
        let result = meta.scan(object).map_err(ReadError::from).and_then(|()| write_owner(&meta, row));
        self.fields = meta.recycle();
        result
    }
}

/// Buffer: name, whether there is a controller, its API version, kind, name.
fn write_owner(meta: &MetaFields<'_>, row: &mut RowWriter<'_>) -> Result<(), ReadError> {
    row.key(true, meta.namespace, meta.name)?;
    row.number(u64::from(meta.controller.is_some()));
    if let Some(controller) = &meta.controller {
        row.shared(controller.api_version);
        row.shared(controller.kind);
        row.text(controller.name);
    }
    Ok(())
}

/// A ReplicaSet, Job or CronJob.
#[derive(Debug, Clone, Copy)]
pub struct OwnerView<'a> {
    rows: &'a Rows,
    index: u32,
}

impl<'a> OwnerView<'a> {
    namespace_method!();

    /// Its row.
    pub fn row(self) -> RowId {
        self.rows.id(self.index)
    }

    /// `metadata.name`.
    pub fn name(self) -> &'a str {
        self.rows.name(self.index)
    }

    /// The first of `metadata.ownerReferences` that is the controller.
    pub fn controller(self) -> Option<Owner<'a>> {
        let mut payload = self.rows.payload(self.index);
        (payload.number() != 0).then(|| Owner {
            api_version: payload.text(),
            kind: payload.text(),
            name: payload.text(),
        })
    }
}

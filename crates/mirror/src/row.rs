use std::fmt;

/// Names a row of one table for as long as its object exists.
///
/// A row that was deleted gives `None` ever after, also when its place is in use again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId {
    pub(crate) index: u32,
    /// Number of the insertion; unique within the table (until 2^32 insertions have passed).
    pub(crate) insertion: u32,
}

/// Namespace and name of an object; the namespace is empty for cluster-scoped ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ObjectKey {
    /// `metadata.namespace`.
    pub namespace: Box<str>,
    /// `metadata.name`.
    pub name: Box<str>,
}

impl ObjectKey {
    /// A key from its parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.namespace.len() + self.name.len()
    }
}

/// `namespace/name`, or `name` alone for a cluster-scoped object.
impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.namespace.is_empty() {
            write!(formatter, "{}/", self.namespace)?;
        }
        formatter.write_str(&self.name)
    }
}

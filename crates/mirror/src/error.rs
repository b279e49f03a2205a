use outrigger_model::fault::{Blame, Retry};
use outrigger_wire::kubernetes::ResourceKind;
use outrigger_wire::kubernetes::scan::ScanError;
use thiserror::Error;

use crate::row::ObjectKey;

/// Why an object was not applied. Its earlier state, if there is one, stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ObjectError {
    /// The message cannot be read.
    #[error("cannot read object of {resource} {}", Named(.key))]
    Malformed {
        /// The resource it came from.
        resource: ResourceKind,
        /// Its name, where that could be read.
        key: Option<ObjectKey>,
        /// Which part and why.
        #[source]
        source: ScanError,
    },
    /// The object has no name, or none in UTF-8.
    #[error("object of {resource} has no usable metadata.name")]
    NoName {
        /// The resource it came from.
        resource: ResourceKind,
    },
    /// The object should be in a namespace and is not, or its namespace is not UTF-8.
    #[error("object {name:?} of {resource} has no usable metadata.namespace")]
    NoNamespace {
        /// The resource it came from.
        resource: ResourceKind,
        /// Its name.
        name: String,
    },
    /// The table has no room for one more row.
    #[error("table of {resource} is full")]
    TableFull {
        /// The table.
        resource: ResourceKind,
    },
}

impl ObjectError {
    /// Whose fault it is: the cluster sent the object.
    pub fn blame(&self) -> Blame {
        match self {
            Self::TableFull { .. } => Blame::Us,
            _ => Blame::Cluster,
        }
    }

    /// The same bytes give the same error.
    pub fn retry(&self) -> Retry {
        Retry::No
    }
}

struct Named<'a>(&'a Option<ObjectKey>);

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(key) => write!(formatter, "{key}"),
            None => formatter.write_str("(name unknown)"),
        }
    }
}

//! The config centre's state: a few keys with versions, in a file of the only master or in etcd for several.
//!
//! Kept small on purpose: which master leads ([`LEADER_KEY`]), the highest epoch ([`EPOCH_KEY`]) and which workers exist.
//! What is many (targets, series) lives with those that hold it.

mod embedded;
mod etcd;
mod leadership;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use outrigger_model::fault::{Blame, Retry};
use outrigger_rt::FileError;
use outrigger_rt::grpc::GrpcError;
use outrigger_storage::state_file::StateFileError;

pub use embedded::EmbeddedStore;
pub use etcd::{EtcdLogin, EtcdOptions, EtcdStore};
pub use leadership::{Leader, Leadership, Tenure};

/// Who leads: a [`Leader`] record, there as long as its lease.
pub const LEADER_KEY: &str = "leader";
/// The highest epoch that was ever given, a decimal number.
pub const EPOCH_KEY: &str = "epoch";

/// A value with the revision that wrote it. Revisions of one store only grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The value.
    pub value: Bytes,
    /// The revision.
    pub revision: u64,
}

/// A lease: what is bound to it goes when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseId(pub u64);

/// One change of a commit; no key twice in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Writes a value.
    Put {
        /// Key.
        key: String,
        /// Value.
        value: Bytes,
        /// The key goes when this lease ends.
        lease: Option<LeaseId>,
    },
    /// Takes a key away, if it is there.
    Delete {
        /// Key.
        key: String,
    },
}

/// Proof of leadership: the key is still the one that was created then. Checked in the transaction that writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The key.
    pub key: String,
    /// Revision that created it.
    pub create_revision: u64,
}

/// What happened under a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// Everything that is there, by key; replaces what was known. First event of each watch, and again when changes
    /// may have been missed.
    Reset(Vec<(String, Versioned)>),
    /// A key has a new value.
    Put {
        /// Key.
        key: String,
        /// Value.
        value: Versioned,
    },
    /// A key is gone.
    Delete {
        /// Key.
        key: String,
        /// Revision that took it away.
        revision: u64,
    },
}

/// Who wants to lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Name of the master, for people.
    pub name: Arc<str>,
    /// Where workers reach it.
    pub address: Arc<str>,
}

/// Keys with versions, and elections over them. All calls may fail for a while and be repeated: [`StoreError::retry`].
pub trait StateStore: Send + Sync + 'static {
    /// The value of a key.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>>;

    /// The values of the keys that begin with `prefix`, by key.
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<(String, Versioned)>, StoreError>>;

    /// Makes all changes in one transaction if `fence` still holds, and gives their revision. After an error other than
    /// [`StoreError::Fenced`] they may have been made or not, but each at most once. At most [`MAX_CHANGES`].
    fn commit<'a>(
        &'a self,
        fence: Option<&'a Fence>,
        changes: Vec<Change>,
    ) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// What happens under `prefix`; goes on over failures of the store, and ends when it is dropped.
    fn watch(&self, prefix: &str) -> BoxStream<'static, WatchEvent>;

    /// Waits until the candidate leads, and gives a leadership that lasts as long as it can be renewed within `ttl`. Its
    /// epoch is higher than all before it.
    fn campaign<'a>(
        &'a self,
        candidate: &'a Candidate,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Leadership, StoreError>>;

    /// What is wrong with the store now, for people; `None` when all is well.
    fn trouble(&self) -> Option<String>;
}

/// Most changes of one commit: etcd's own limit for a transaction.
pub const MAX_CHANGES: usize = 127;

/// A store that did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The leadership that the fence proves is over; nothing was written.
    #[error("this master does not lead any more: nothing was written")]
    Fenced,
    /// More changes than a transaction takes.
    #[error("{changes} changes in one transaction, more than {MAX_CHANGES}")]
    TooManyChanges {
        /// Their number.
        changes: usize,
    },
    /// No endpoint of etcd did it.
    #[error("etcd at {endpoints}")]
    Etcd {
        /// Those that were tried.
        endpoints: String,
        /// What the last one said.
        source: Box<GrpcError>,
    },
    /// Etcd has no space left.
    #[error(
        "etcd at {endpoints} is full (compact and defragment it, or raise --quota-backend-bytes, then disarm its alarm)"
    )]
    EtcdFull {
        /// Those that were tried.
        endpoints: String,
    },
    /// The password for etcd.
    #[error("read the password for etcd")]
    Password(#[source] FileError),
    /// The lease ended while it was needed.
    #[error("the lease ended before it could be used")]
    LeaseEnded,
    /// A value that this program has not written so.
    #[error("the value of {key} in the store is not readable (was it written by something else?)")]
    BadValue {
        /// The key.
        key: String,
    },
    /// The state file.
    #[error(transparent)]
    File(#[from] StateFileError),
}

impl StoreError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            StoreError::Fenced | StoreError::LeaseEnded | StoreError::EtcdFull { .. } => Blame::Remote,
            StoreError::TooManyChanges { .. } => Blame::Us,
            StoreError::BadValue { .. } | StoreError::Password(_) => Blame::Configuration,
            StoreError::Etcd { source, .. } => source.blame(),
            StoreError::File(error) => error.blame(),
        }
    }

    /// Whether the same may succeed later.
    pub fn retry(&self) -> Retry {
        match self {
            StoreError::Fenced | StoreError::TooManyChanges { .. } => Retry::No,
            StoreError::File(error) => error.retry(),
            _ => Retry::Backoff,
        }
    }
}

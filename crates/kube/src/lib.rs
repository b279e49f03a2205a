//! Credentials and the list/watch of a Kubernetes API server.
//!
//! [`Cluster::connect`] takes credentials as kubectl has them; [`Cluster::watch`] keeps a [`WatchSink`] equal to one
//! resource of the cluster: a list once, then changes, resumed from the last event however often the connection
//! breaks. All requests of a cluster share few HTTP/2 connections and one request budget.

mod backoff;
mod budget;
mod cluster;
mod credentials;
mod driver;
mod features;
mod machine;
mod namespaces;
mod object;
mod options;
mod request;
mod resource;
mod sink;
mod status;
mod table;
mod transport;

pub use budget::RequestBudget;
pub use cluster::{Cluster, ConnectOptions};
pub use credentials::{ClusterConnection, ConnectError, CredentialsError, TlsError};
pub use features::{ServerFeatures, ServerVersion};
pub use machine::{ReconnectReason, RelistReason, WatchPhase, WatchPolicy};
pub use object::{Created, RequestError};
pub use options::WatchOptions;
pub use outrigger_wire::kubernetes::{CustomResource, ResourceKind};
pub use request::RequestKind;
pub use resource::WatchedResource;
pub use status::{RbacHint, RequestCount, WatchStatus};
pub use transport::{OpenError, SendError};

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchChange {
    /// It is new or has changed; the message is its state now.
    Upsert,
    /// It is gone; the message is its last state, or only its namespace, name and uid.
    Delete,
}

/// An object that a sink could not take over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ObjectError(pub String);

impl From<String> for ObjectError {
    fn from(message: String) -> Self {
        Self(message)
    }
}

/// Receives one or more resources of a cluster. Calls for one resource come one after the other.
pub trait WatchSink: Send + Sync + 'static {
    /// A list starts. What it does not bring until [`commit_generation`](Self::commit_generation) is gone from the
    /// cluster; until then the rows of the list before stay valid. May be called again before the commit: then the
    /// list starts over.
    fn begin_generation(&self, resource: ResourceKind);

    /// One object. `object` is its protobuf message without envelope: the resource's kind, or
    /// `PartialObjectMetadata` where [`WatchOptions::metadata_only`]. Secrets have metadata and type, but never data:
    /// the server is not asked for that.
    ///
    /// # Errors
    /// When this object cannot be taken over. It is counted and logged; the others are not affected.
    fn apply(&self, resource: ResourceKind, change: WatchChange, object: &[u8]) -> Result<(), ObjectError>;

    /// The list is whole.
    fn commit_generation(&self, resource: ResourceKind);

    /// Nothing will come for now: the server forbids the watch ([`WatchPhase::Forbidden`]) or does not serve the
    /// resource ([`WatchPhase::NotServed`]). It is asked again now and then, and this is called each time. Where
    /// namespaces are watched one by one, it is called for each that is refused.
    fn unavailable(&self, _resource: ResourceKind, _phase: WatchPhase) {}
}

/// Receives one custom resource. Calls come one after the other.
pub trait ObjectSink: Send + Sync + 'static {
    /// As [`WatchSink::begin_generation`].
    fn begin_generation(&self);

    /// One object, in JSON.
    ///
    /// # Errors
    /// When this object cannot be taken over. It is counted and logged; the others are not affected.
    fn apply(&self, change: WatchChange, object: &[u8]) -> Result<(), ObjectError>;

    /// The list is whole.
    fn commit_generation(&self);

    /// As [`WatchSink::unavailable`].
    fn unavailable(&self, _phase: WatchPhase) {}
}

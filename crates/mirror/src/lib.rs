//! The columnar image of a cluster, with a change feed.
//!
//! One [`Mirror`] holds what Outrigger reads of every node, pod, service, … of one cluster, as tables of
//! columns. Objects come in as protobuf messages ([`Mirror::apply`]) and are scanned field by field straight
//! into the columns: repeated text (namespaces, node names, images, label sets, pod templates) is stored once
//! in a reference-counted dictionary of the table, text that is unique to a row in one small buffer of the row.
//! What nobody reads, `managedFields` first, is never stored.
//!
//! Consumers read borrowed views ([`PodTable`] and the other tables) and learn from [`Mirror::changes_since`]
//! which rows changed. An object that comes again without a visible difference (a node's heartbeat) is no change.
//!
//! A relist is a new generation: [`Mirror::begin_generation`], upserts, [`Mirror::commit_generation`]. Rows stay
//! visible throughout, and the commit removes those that were not seen.
//!
//! Layer 1: no I/O, no clock, no locks. The owner puts the mirror into a lock of its choice.

mod chain;
mod change;
mod dictionary;
mod endpoint_slice;
mod endpoints;
mod error;
mod ingress;
mod metadata;
mod mirror;
mod node;
mod payload;
mod pod;
mod references;
mod row;
mod service;
mod table;

pub use change::Changes;
pub use endpoint_slice::{
    EndpointSliceTable, EndpointSliceView, EndpointSlices, EndpointView, SliceEndpoints, SlicePortView,
    SlicePorts,
};
pub use endpoints::{
    EndpointAddressView, EndpointAddresses, EndpointsKind, EndpointsTable, EndpointsView, SubsetView,
    Subsets, TargetView,
};
pub use error::ObjectError;
pub use ingress::{IngressRuleView, IngressRules, IngressTable, IngressView, Ingresses};
pub use metadata::{NamespaceTable, NamespaceView, Namespaces, OwnerTable, OwnerView, Owners};
pub use mirror::{Change, Mirror, TableMemory};
pub use node::{NodeTable, NodeView, Nodes};
pub use payload::{Pairs, PortView, Ports, Texts};
pub use pod::{ContainerView, Containers, Owner, PodTable, PodView, Pods};
pub use row::{ObjectKey, RowId};
pub use service::{ServiceTable, ServiceView, Services};
pub use table::{Kind, Table};

//! Discovery: from the mirror, files and HTTP to scrape targets.
//!
//! [`Discovery::apply`] takes a configuration, at start and on reload alike. Each cluster is watched once, whatever
//! the number of jobs, roles and selectors: a view of each `kubernetes_sd_configs` entry is evaluated
//! over its mirror, and a change computes only the sources it touches. Every job counts its targets by reference and
//! tells a [`TargetSink`] what appeared and what is gone; an identical result tells nothing. What stands behind a
//! target (its labels before relabelling) is not kept but computed again when a page asks for it.

pub mod assignment;
mod cluster;
mod discovery;
pub mod election;
mod file_sd;
pub mod fleet;
mod group_store;
mod http_sd;
mod job;
mod kubernetes;
mod last_known_good;
mod live_job;
pub mod operator;
mod pass;
pub mod populate;
mod reporter;
pub mod scaling;
mod self_metrics;
mod snapshot;
pub mod store;

pub use cluster::Tee;
pub use discovery::{ApplyError, ApplyErrors, Discovery, DiscoveryOptions};
pub use fleet::{ConfigurationBundle, FleetHandle};
pub use job::Counts;
pub use kubernetes::UnsupportedField;
pub use live_job::TargetSink;
pub use outrigger_kube::{RequestCount, WatchStatus};
pub use snapshot::{ActiveTarget, ClusterSnapshot, InactiveTarget, JobSnapshot, ProviderSnapshot, Window};

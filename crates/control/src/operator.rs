//! Jobs from the custom resources of prometheus-operator: ServiceMonitor, PodMonitor, Probe and ScrapeConfig.
//!
//! An [`Operator`] watches each kind once and makes entries of `scrape_configs` of the objects that the settings
//! select, equal in meaning to those that prometheus-operator generates. What it finds wrong is shown on the page and
//! told as an Event of the object. Targets are discovered by the entries' own `kubernetes_sd_configs`, like any
//! others'.

mod assets;
mod book;
mod check;
mod events;
mod generate;
mod resource;
mod run;
mod selector;
#[cfg(test)]
mod tests;
mod validate;
mod yaml;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use outrigger_config::prometheus::{GlobalConfig, OperatorSettings};
use outrigger_kube::Cluster;

pub use book::ObjectCounts;
pub use resource::MonitorKind;
pub use run::{KindView, Operator, OperatorOptions, OperatorView};

use assets::Assets;
use check::{Checker, Refusal};
use generate::{Entry, Generator};
use resource::Monitor;

/// An entry of `scrape_configs` made of an object. It may contain secrets, which `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct OperatorJob {
    /// `job_name`, for example `serviceMonitor/team/web/0`.
    pub job: Arc<str>,
    /// The mapping, YAML, without a list marker.
    pub yaml: Arc<str>,
}

impl fmt::Debug for OperatorJob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OperatorJob").field("job", &self.job).finish_non_exhaustive()
    }
}

/// The jobs of all objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorJobs {
    /// In order of kind, namespace, name and endpoint.
    pub jobs: Arc<[OperatorJob]>,
    /// Whether every kind was listed (or cannot be had) and everything that objects refer to was read, at least once.
    /// Before that, jobs that were known from an earlier run should go on.
    pub complete: bool,
}

impl Default for OperatorJobs {
    fn default() -> Self {
        Self { jobs: Arc::new([]), complete: false }
    }
}

/// An object that has no jobs, or not all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectProblem {
    /// Its kind.
    pub kind: MonitorKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its `uid`.
    pub uid: String,
    /// The version that this is about.
    pub resource_version: String,
    /// What is wrong. Never has a secret in it.
    pub message: String,
    /// Nothing is wrong with the object itself: it waits for a Secret or ConfigMap that was not read so far.
    pub waiting: bool,
}

impl ObjectProblem {
    /// `ServiceMonitor team/web`.
    pub fn object(&self) -> String {
        format!("{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Labels of namespaces by name.
pub type NamespaceLabels = HashMap<String, BTreeMap<String, String>>;

/// The cluster that monitors are read from.
pub trait ClusterAccess: Send + Sync + 'static {
    /// The connection, once credentials are loaded.
    fn cluster(&self) -> Option<Cluster>;

    /// Says whether labels of namespaces are needed, so that they are watched (once, whoever needs them).
    fn want_namespaces(&self, wanted: bool);

    /// Labels of all namespaces; `None` until they are known completely.
    fn namespaces(&self) -> Option<Arc<NamespaceLabels>>;
}

/// What holds for every object besides the settings.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Defaults {
    /// Interval of an endpoint that has none.
    pub(crate) scrape_interval: Duration,
    /// Name of the cluster as `kubernetes_sd_configs` need it; empty for the only one.
    pub(crate) cluster: String,
}

impl Defaults {
    pub(crate) fn new(settings: &OperatorSettings, global: &GlobalConfig) -> Self {
        Self {
            scrape_interval: settings.scrape_interval.unwrap_or(global.scrape_interval),
            cluster: settings.cluster.clone(),
        }
    }
}

/// Checks an object and generates its entries.
///
/// # Errors
/// Why there are none.
pub(crate) fn compile(
    monitor: &Monitor,
    settings: &OperatorSettings,
    defaults: &Defaults,
    assets: &Assets<'_>,
) -> Result<Vec<Entry>, Refusal> {
    Checker { settings, defaults, assets }.check(monitor)?;
    Ok(Generator { settings, defaults, assets }.entries(monitor))
}

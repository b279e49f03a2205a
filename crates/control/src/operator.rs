//! Jobs from the custom resources of prometheus-operator: ServiceMonitor, PodMonitor, Probe and ScrapeConfig.

mod assets;
mod check;
mod generate;
mod resource;
mod selector;
#[cfg(test)]
mod tests;
mod validate;
mod yaml;

use std::time::Duration;

use outrigger_config::prometheus::{GlobalConfig, OperatorSettings};

pub use resource::MonitorKind;

use assets::Assets;
use check::{Checker, Refusal};
use generate::{Entry, Generator};
use resource::Monitor;

/// What holds for every object besides the settings.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Defaults {
    /// Interval of an endpoint that has none.
    pub(crate) scrape_interval: Duration,
    /// Name of the cluster as `kubernetes_sd_configs` need it; empty for the only one.
    pub(crate) cluster: String,
}

impl Defaults {
    pub(crate) fn new(settings: &OperatorSettings, global: &GlobalConfig, cluster: &str) -> Self {
        Self {
            scrape_interval: settings.scrape_interval.unwrap_or(global.scrape_interval),
            cluster: cluster.to_owned(),
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

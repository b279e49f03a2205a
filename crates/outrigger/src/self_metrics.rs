//! The process's own metrics, sent by remote write: with the samples, and to receivers of their own.

use std::sync::Arc;
use std::time::Duration;

use outrigger_collect::remote_write::{RemoteWrite, RemoteWriteOptions};
use outrigger_collect::self_scrape::{SelfScrape, SelfScrapeOptions};
use outrigger_config::prometheus::{Config, Limits, SelfMetricsConfig};
use outrigger_model::fault;
use outrigger_model::labels::Labels;
use outrigger_rt::metrics::{MetricKind, Registry};
use outrigger_rt::supervisor::{Phase, Supervisor};

use crate::run::queue_bounds;
use crate::surroundings::Surroundings;

/// Sends the process's own metrics; cheap to clone.
#[derive(Clone)]
pub(crate) struct SelfMetrics {
    settings: SelfMetricsConfig,
    to_samples: SelfScrapeOptions,
    to_own: SelfScrapeOptions,
    own: Arc<RemoteWrite>,
}

impl SelfMetrics {
    /// Sets the receivers up.
    pub(crate) fn build(
        settings: &SelfMetricsConfig,
        around: &Surroundings,
        with_samples: &Arc<RemoteWrite>,
    ) -> anyhow::Result<Self> {
        // The metrics of the other remote write have the same names, so these are not exposed.
        let options = RemoteWriteOptions { registry: Registry::new(), ..around.remote_write("self-metrics") };
        let bounds = queue_bounds(Limits::default());
        let own = RemoteWrite::new(&settings.remote_write, &Labels::empty(), bounds, options)?;
        let own = Arc::new(own);
        expose(&around.registry, &own);
        let to_own = SelfScrapeOptions {
            instance: around.name.clone(),
            role: around.role.as_str().to_owned(),
            labels: settings.labels.clone(),
            interval: settings.interval,
            clock: around.clock.clone(),
            registry: around.registry.clone(),
            sink: own.clone(),
        };
        let to_samples = SelfScrapeOptions { sink: with_samples.clone(), ..to_own.clone() };
        Ok(Self { settings: settings.clone(), to_samples, to_own, own })
    }

    /// Starts sending.
    pub(crate) fn spawn(&self, supervisor: &Supervisor) {
        let own = self.own.clone();
        supervisor.spawn(
            "self metrics remote write",
            Phase::Drain,
            |stop| async move { own.run(stop).await },
        );
        for (name, options) in
            [("self metrics", &self.to_samples), ("self metrics to their own receivers", &self.to_own)]
        {
            let scrape = SelfScrape::new(options.clone());
            supervisor.spawn(name, Phase::Intake, |stop| scrape.run(stop));
        }
    }

    /// Puts other receivers in force.
    ///
    /// # Errors
    /// What cannot be changed while the process runs, or a receiver that cannot be set up.
    pub(crate) fn apply(&self, settings: &SelfMetricsConfig) -> Result<(), String> {
        if (settings.interval, &settings.labels) != (self.settings.interval, &self.settings.labels) {
            return Err(
                "interval or labels of outrigger.self_metrics have changed: restart for that".to_owned()
            );
        }
        let bounds = queue_bounds(Limits::default());
        let applied = self.own.apply_config(&settings.remote_write, &Labels::empty(), bounds);
        applied.map_err(|error| fault::chain(&error))
    }
}

/// What a master or worker does with its own metrics: sends them with the samples unless it is told more.
pub(crate) fn self_settings(config: &Config) -> SelfMetricsConfig {
    let default = SelfMetricsConfig {
        interval: Duration::from_secs(15),
        labels: Labels::empty(),
        remote_write: Vec::new(),
    };
    config.outrigger.self_metrics.clone().unwrap_or(default)
}

fn expose(registry: &Registry, own: &Arc<RemoteWrite>) {
    let own = Arc::downgrade(own);
    registry.collector(move |exposition| {
        let Some(own) = own.upgrade() else { return };
        let endpoints = own.status();
        if endpoints.is_empty() {
            return;
        }
        let lag = "Age of the oldest sample of the process's own metrics that waits for their receiver.";
        let mut family = exposition.family("outrigger_self_metrics_lag_seconds", lag, MetricKind::Gauge);
        for endpoint in &endpoints {
            family.sample(&[("endpoint", &endpoint.name)], endpoint.lag_seconds);
        }
        let dropped = "Samples of the process's own metrics that were lost for their receiver.";
        let name = "outrigger_self_metrics_samples_dropped_total";
        let mut family = exposition.family(name, dropped, MetricKind::Counter);
        for endpoint in &endpoints {
            let lost: u64 = endpoint.samples_dropped.iter().map(|(_, samples)| samples).sum();
            family.sample(&[("endpoint", &endpoint.name)], lost as f64);
        }
    });
}

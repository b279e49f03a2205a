//! Reloading the configuration: all of it or nothing of it.

use std::path::PathBuf;
use std::sync::Arc;

use outrigger_collect::remote_write::RemoteWrite;
use outrigger_collect::scrape::ScrapeEngine;
use outrigger_config::prometheus::Config;
use outrigger_control::{ApplyErrors, Discovery};
use outrigger_model::fault;
use tokio::sync::oneshot;

use crate::api::AppState;
use crate::run::load_for_run;

/// A `POST /-/reload` that waits for its outcome.
pub(crate) struct ReloadRequest(pub(crate) oneshot::Sender<Result<(), String>>);

impl ReloadRequest {
    /// Tells the client; one that has gone does not mind.
    pub(crate) fn answer(self, outcome: Result<(), String>) {
        let _ = self.0.send(outcome);
    }
}

/// Holds the configuration in force and puts another in its place.
pub(crate) struct Reloader {
    path: PathBuf,
    current: Config,
    engine: ScrapeEngine,
    remote_write: Arc<RemoteWrite>,
    discovery: Arc<Discovery>,
    state: Arc<AppState>,
}

impl Reloader {
    pub(crate) fn new(
        path: PathBuf,
        current: Config,
        engine: ScrapeEngine,
        remote_write: Arc<RemoteWrite>,
        discovery: Arc<Discovery>,
        state: Arc<AppState>,
    ) -> Self {
        Self { path, current, engine, remote_write, discovery, state }
    }

    /// Starts discovery with the configuration in force.
    ///
    /// # Errors
    /// When discovery cannot run it.
    pub(crate) fn start(&self) -> anyhow::Result<()> {
        self.discovery.apply(&self.current).map_err(|errors| anyhow::anyhow!(describe(&errors)))?;
        self.state.config_loaded();
        Ok(())
    }

    /// Reads the file again and puts it in force.
    ///
    /// # Errors
    /// Why it is not in force; the earlier one then still is.
    pub(crate) fn reload(&mut self) -> Result<(), String> {
        let outcome = load_for_run(&self.path)
            .map_err(|error| format!("{error:#}"))
            .and_then(|config| self.put_in_force(config));
        match &outcome {
            Ok(()) => tracing::info!(file = %self.path.display(), "configuration reloaded"),
            Err(error) => self.state.config_refused(error),
        }
        outcome
    }

    /// Reloads on a signal: nobody waits for the outcome but the log.
    pub(crate) fn reload_and_log(&mut self) {
        if let Err(error) = self.reload() {
            tracing::error!(file = %self.path.display(), "configuration not reloaded: {error}");
        }
    }

    fn put_in_force(&mut self, config: Config) -> Result<(), String> {
        self.apply(&config).inspect_err(|_| {
            // What was in force once can be put in force again; a failure here was one before, too.
            if let Err(error) = self.apply(&self.current) {
                tracing::error!("the earlier configuration could not be put back: {error}");
            }
        })?;
        self.state.config_loaded();
        self.current = config;
        Ok(())
    }

    fn apply(&self, config: &Config) -> Result<(), String> {
        let limits = config.outrigger.limits;
        self.engine.apply_config(&config.scrape_configs).map_err(|error| fault::chain(&error))?;
        self.remote_write
            .apply_config(
                &config.remote_write,
                &config.global.external_labels,
                crate::run::queue_bounds(limits),
            )
            .map_err(|error| fault::chain(&error))?;
        self.discovery.apply(config).map_err(|errors| describe(&errors))?;
        self.engine.set_max_body_bytes(limits.max_body_bytes);
        Ok(())
    }
}

/// One line for each thing that is wrong.
fn describe(errors: &ApplyErrors) -> String {
    let lines: Vec<String> = errors.0.iter().map(|error| fault::chain(error)).collect();
    lines.join("\n")
}

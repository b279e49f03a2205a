//! Reloading the configuration: all of it or nothing of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::api::AppState;

/// A `POST /-/reload` that waits for its outcome.
pub(crate) struct ReloadRequest(pub(crate) oneshot::Sender<Result<(), String>>);

impl ReloadRequest {
    /// Tells the client; one that has gone does not mind.
    pub(crate) fn answer(self, outcome: Result<(), String>) {
        let _ = self.0.send(outcome);
    }
}

/// The parts of a process that a configuration is put in force in.
pub(crate) trait Configurable: Send + 'static {
    /// A configuration file that was read and checked.
    type Loaded: Send;

    /// Reads and checks a file.
    fn load(&self, path: &Path) -> anyhow::Result<Self::Loaded>;

    /// Puts it in force; putting the same in force again changes nothing.
    fn apply(&self, loaded: &Self::Loaded) -> Result<(), String>;
}

/// Holds the configuration in force and puts another in its place.
pub(crate) struct Reloader<C: Configurable> {
    path: PathBuf,
    current: C::Loaded,
    parts: C,
    state: Arc<AppState>,
}

impl<C: Configurable> Reloader<C> {
    pub(crate) fn new(path: PathBuf, current: C::Loaded, parts: C, state: Arc<AppState>) -> Self {
        Self { path, current, parts, state }
    }

    /// Puts the configuration that the process began with in force.
    ///
    /// # Errors
    /// What cannot run it.
    pub(crate) fn start(&self) -> anyhow::Result<()> {
        self.parts.apply(&self.current).map_err(anyhow::Error::msg)?;
        self.state.config_loaded();
        Ok(())
    }

    /// Reads the file again and puts it in force.
    ///
    /// # Errors
    /// Why it is not in force; the earlier one then still is.
    pub(crate) fn reload(&mut self) -> Result<(), String> {
        let outcome = self
            .parts
            .load(&self.path)
            .map_err(|error| format!("{error:#}"))
            .and_then(|loaded| self.put_in_force(loaded));
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

    fn put_in_force(&mut self, loaded: C::Loaded) -> Result<(), String> {
        self.parts.apply(&loaded).inspect_err(|_| {
            // What was in force once can be put in force again; a failure here was one before, too.
            if let Err(error) = self.parts.apply(&self.current) {
                tracing::error!("the earlier configuration could not be put back: {error}");
            }
        })?;
        self.state.config_loaded();
        self.current = loaded;
        Ok(())
    }
}

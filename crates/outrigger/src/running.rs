//! A process that runs: signals, reloads, and the order in which it ends.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use outrigger_rt::signal::{Signal, Signals};
use outrigger_rt::supervisor::Supervisor;
use tokio::sync::mpsc;

use crate::reload::{Configurable, ReloadRequest, Reloader};

/// All parts, running.
pub(crate) struct Running<C: Configurable> {
    pub(crate) supervisor: Supervisor,
    pub(crate) grace: Duration,
    pub(crate) reloads: mpsc::Receiver<ReloadRequest>,
    pub(crate) reloader: Reloader<C>,
    pub(crate) address: SocketAddr,
}

impl<C: Configurable> Running<C> {
    /// Where the page is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves reloads until a signal or the failure of a part, then shuts down: intake first, then the queues are
    /// emptied, the web server last.
    pub(crate) async fn until_shutdown(mut self, mut signals: Signals) -> anyhow::Result<ExitCode> {
        let failure = loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Hangup => self.reloader.reload_and_log(),
                    Signal::Terminate | Signal::Interrupt => {
                        tracing::info!(?signal, "shutting down");
                        break None;
                    }
                },
                Some(request) = self.reloads.recv() => request.answer(self.reloader.reload()),
                failure = self.supervisor.failed() => break Some(failure),
            }
        };
        let force = async {
            let _second = signals.shutdown().await;
        };
        let report = self.supervisor.shutdown(self.grace, force).await;
        if !report.aborted.is_empty() {
            tracing::warn!(tasks = ?report.aborted, forced = report.forced, "ended before the work was done");
        }
        match failure {
            Some(failure) => Err(failure.into()),
            None => Ok(ExitCode::SUCCESS),
        }
    }
}

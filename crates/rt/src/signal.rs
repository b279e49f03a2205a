//! The signals that a service reacts to, as a stream.

use std::io;

use tokio::signal::unix::{Signal as UnixSignal, SignalKind, signal};

/// A signal from the operator or the service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// `SIGTERM`: shut down in order.
    Terminate,
    /// `SIGINT` (Ctrl-C): shut down in order.
    Interrupt,
    /// `SIGHUP`: reload the configuration.
    Hangup,
}

impl Signal {
    /// Whether the signal asks the process to end.
    pub fn is_shutdown(self) -> bool {
        matches!(self, Signal::Terminate | Signal::Interrupt)
    }
}

/// `SIGXFSZ`, the same number on Linux and macOS: sent for a write beyond the limit of file sizes (`ulimit -f`).
const FILE_SIZE_LIMIT: i32 = 25;

/// A stream of [`Signal`]s; from its creation on the signals no longer end the process by themselves. Neither does a
/// write beyond the limit of file sizes, which fails like one to a full disk.
#[derive(Debug)]
pub struct Signals {
    terminate: UnixSignal,
    interrupt: UnixSignal,
    hangup: UnixSignal,
}

impl Signals {
    /// Registers the handlers; must be called within a runtime.
    ///
    /// # Errors
    /// The operating system refused a handler.
    pub fn new() -> io::Result<Self> {
        // Once there is a handler the default action, to kill the process, stays away for good.
        drop(signal(SignalKind::from_raw(FILE_SIZE_LIMIT))?);
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.hangup.recv() => Signal::Hangup,
        }
    }

    /// Waits for the next `SIGTERM` or `SIGINT`, for example the second one that forces the shutdown.
    pub async fn shutdown(&mut self) -> Signal {
        loop {
            let signal = self.next().await;
            if signal.is_shutdown() {
                return signal;
            }
        }
    }
}

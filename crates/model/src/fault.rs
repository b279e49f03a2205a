//! Who is to blame for a failure, and whether trying again helps.

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

/// The party whose fault an error is. Bounded, so it can be a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The scraped target.
    Target,
    /// The cluster's API server.
    Cluster,
    /// A remote-write receiver, proxy, identity provider or HTTP discovery server.
    Remote,
    /// The operator's configuration.
    Configuration,
    /// Outrigger itself or its machine.
    Us,
}

impl Blame {
    /// The label value used in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Blame::Target => "target",
            Blame::Cluster => "cluster",
            Blame::Remote => "remote",
            Blame::Configuration => "configuration",
            Blame::Us => "us",
        }
    }
}

/// Whether the same attempt may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Never: the same attempt fails again.
    No,
    /// Yes, with the caller's own backoff.
    Backoff,
    /// Yes, but not before this time has passed (a server's `Retry-After`).
    After(Duration),
    /// At once, for example after a connection that was closed while idle.
    Now,
}

/// Prints an error and its causes once, outermost first, separated by `": "`.
///
/// Every layer's message says only its own part, so the chain reads as one sentence.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

//! What can be made to go wrong with the simulated API server, while it runs.

use std::collections::BTreeSet;
use std::time::Duration;

use outrigger_wire::kubernetes::ResourceKind;
use parking_lot::Mutex;

/// The faults in force; all off by default.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Refuse `sendInitialEvents` as servers without WatchList do (422).
    pub refuse_watch_list: bool,
    /// Answer 403 for these resources.
    pub forbidden: BTreeSet<ResourceKind>,
    /// Answer 404 for these resources, as if the API were not served.
    pub not_served: BTreeSet<ResourceKind>,
    /// Answer 429 with this `Retry-After`.
    pub too_many_requests: Option<Duration>,
    /// Answer 401 whatever the token.
    pub unauthorized: bool,
    /// Answer 500 to everything.
    pub internal_error: bool,
    /// Accept requests and never answer.
    pub hang: bool,
    /// Send this instead of the body of every list and watch.
    pub garbage: Option<Vec<u8>>,
    /// End every watch stream after this many bytes, in the middle of a frame where it falls there.
    pub cut_after_bytes: Option<usize>,
    /// Never send bookmarks.
    pub no_bookmarks: bool,
    /// Say that objects are of this version of their API.
    pub api_version: Option<String>,
    /// Leave the initial events of a streamed list without the bookmark that ends them.
    pub no_initial_events_end: bool,
}

/// Faults that many connections share.
#[derive(Debug, Default)]
pub struct FaultSwitch(Mutex<Faults>);

impl FaultSwitch {
    /// The faults in force now.
    pub fn get(&self) -> Faults {
        self.0.lock().clone()
    }

    /// Changes the faults in force.
    pub fn change(&self, edit: impl FnOnce(&mut Faults)) {
        edit(&mut self.0.lock());
    }

    /// Ends all faults.
    pub fn clear(&self) {
        *self.0.lock() = Faults::default();
    }
}

//! When it is better not to scrape yet: others may have the targets by now.

use std::time::Duration;

use tokio::time::Instant;

use super::Driver;
use crate::worker::session::Event;

/// Scrapes from the disk's assignment wait so long for a master that knows better.
const FIRST_WORD: Duration = Duration::from_secs(1);
/// And so long for what it says after its first answer.
const FIRST_ORDERS: Duration = Duration::from_millis(150);
/// A worker whose name another living process has for so long does not go on with what is on its disk: its files are a
/// copy of the other's.
const NAME_TAKEN: Duration = Duration::from_secs(60);

/// How long a master's word is waited for: until a time, or until none of them can be reached.
pub(super) struct FirstWord {
    pub(super) until: Instant,
    /// [`Session::failed_dials`] when the wait began.
    pub(super) failed_dials: usize,
}

impl Driver {
    /// A master has spoken: its orders follow at once, or there are none.
    pub(super) fn heard_first_word(&mut self) {
        if let Some(wait) = &mut self.first_word {
            wait.until = wait.until.min(Instant::now() + FIRST_ORDERS);
        }
    }

    /// Nobody is waited for once every master was dialled in vain.
    pub(super) fn give_up_on_silent_masters(&mut self) {
        if let Some(wait) = &mut self.first_word
            && self.session.failed_dials() >= wait.failed_dials + self.options.masters.len()
        {
            wait.until = Instant::now();
        }
    }

    pub(super) fn await_first_word(&mut self) {
        self.options.engine.set_paused(true);
        let failed_dials = self.session.failed_dials();
        self.first_word = Some(FirstWord { until: Instant::now() + FIRST_WORD, failed_dials });
    }

    /// The process stood still for longer than a master waits for a worker: others may scrape its targets now.
    pub(super) fn stalled(&mut self) -> Event {
        self.await_first_word();
        Event::Broke("this process stood still for longer than its lease".to_owned())
    }

    /// Two processes with the files of one would scrape the same targets.
    pub(super) fn name_taken(&mut self) {
        let now = Instant::now();
        let since = *self.name_taken.get_or_insert(now);
        let from_disk = self.view.lock().from_disk;
        if from_disk && now.duration_since(since) >= NAME_TAKEN {
            tracing::error!(
                worker = self.options.name,
                "another living process has this name: nothing is scraped until a master takes this one (give each \
                 worker a name and a data directory of its own)"
            );
            self.first_word = None;
            self.options.engine.set_paused(true);
        }
    }

    pub(super) fn resume(&mut self) {
        if self.first_word.take().is_some() {
            self.options.engine.set_paused(false);
        }
    }
}

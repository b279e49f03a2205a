//! The end of a worker: whoever takes over its targets misses no tick.

use std::time::Duration;

use outrigger_wire::centre::{FromWorker, ReleasedTarget, from_worker};

use super::Driver;
use super::saving::last_scrapes;
use super::stream::Stream;
use crate::worker::handovers;

/// A worker that leaves is not asked for targets for so long: there is nobody to take them.
const LEAVING_PATIENCE: Duration = Duration::from_secs(3);
/// A master has so long to hear a worker's last words.
const FAREWELL: Duration = Duration::from_secs(1);
/// Most bytes of series in them.
const FAREWELL_SERIES_BYTES: usize = 32 << 20;

impl Driver {
    /// Tells the master about targets that nobody has taken over, so that their next owner misses no tick: they are
    /// given elsewhere, or back to the next process of this name.
    pub(super) async fn bid_farewell(&mut self) {
        let joined = self.view.lock().master.is_some();
        let Some(stream) = self.stream.as_ref().filter(|_| joined) else { return };
        let mut room = FAREWELL_SERIES_BYTES;
        let left = last_scrapes(&self.options.engine).map(|mut last| {
            match room.checked_sub(last.inheritance.series.len()) {
                Some(rest) => room = rest,
                None => last.inheritance.series = Vec::new(),
            }
            ReleasedTarget { job: last.job, id: last.id, inheritance: Some(last.inheritance) }
        });
        let mut messages: Vec<FromWorker> = std::mem::take(&mut self.outbox).into();
        let farewell = handovers::messages(left.map(|target| (0, target)));
        messages.extend(
            farewell
                .into_iter()
                .map(|released| FromWorker { kind: Some(from_worker::Kind::Released(released)) }),
        );
        let sending = async {
            for message in messages {
                if stream.sender.send(message).await.is_err() {
                    break;
                }
            }
        };
        if tokio::time::timeout(FAREWELL, sending).await.is_err() {
            tracing::warn!("the master does not listen: it is not told about the last scrapes");
        }
    }

    /// Ends the stream once the master has heard everything.
    pub(super) async fn hang_up(&mut self) {
        let Some(Stream { sender, mut receiver }) = self.stream.take() else { return };
        drop(sender);
        let rest = async { while let Ok(Some(_)) = receiver.next().await {} };
        // One that does not hang up, too, is left alone.
        let _ = tokio::time::timeout(FAREWELL, rest).await;
    }

    /// Whether a worker that leaves has handed over what anybody wants.
    pub(super) fn has_nothing_left(&self) -> bool {
        let nobody_asks =
            || self.view.lock().master.is_some() && self.last_release.elapsed() >= LEAVING_PATIENCE;
        self.handovers.is_idle() && (self.options.engine.target_count() == 0 || nobody_asks())
    }
}

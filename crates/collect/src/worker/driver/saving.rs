//! What the worker knows, on its disk.

use std::time::Duration;

use outrigger_model::fault;
use outrigger_model::sample::Timestamp;
use outrigger_storage::sealed::SealedFileError;
use outrigger_wire::centre::Inheritance;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Driver;
use crate::scrape::ScrapeEngine;
use crate::worker::remembered::{Knowledge, LastScrape};

/// What has changed is on disk after so long, or a little later where writing takes long.
const SAVE_PERIOD: Duration = Duration::from_secs(2);
/// Writing may take one part in so many of the time.
const SAVE_SHARE: u32 = 20;
/// Series of the last scrapes are on disk so often, or less where writing takes long.
const SAVE_SERIES_PERIOD: Duration = Duration::from_secs(10);
/// Writing them may take one part in so many of the time.
const SAVE_SERIES_SHARE: u32 = 100;

/// When what is known is written.
pub(super) struct Saving {
    pub(super) dirty: bool,
    pub(super) not_before: Instant,
    pub(super) running: Option<JoinHandle<(Duration, Result<(), SealedFileError>)>>,
    pub(super) next_series: Instant,
    pub(super) running_series: Option<JoinHandle<Duration>>,
}

impl Saving {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            dirty: false,
            not_before: now,
            running: None,
            next_series: now + SAVE_SERIES_PERIOD,
            running_series: None,
        }
    }

    /// Series of the last scrapes are on disk, which took so long.
    pub(super) fn saved_series(&mut self, took: Duration) {
        self.next_series = Instant::now() + SAVE_SERIES_PERIOD.max(took * SAVE_SERIES_SHARE);
    }
}

impl Driver {
    pub(super) fn knowledge(&self) -> Knowledge {
        let mut targets = self.options.engine.targets();
        targets.sort_by(|a, b| (&a.job, a.id).cmp(&(&b.job, b.id)));
        Knowledge {
            epoch: self.session.epoch(),
            offset_seed: self.offset_seed,
            received: self.received.clone(),
            in_force: self.in_force.clone(),
            targets,
            over_target_limit: self.over_target_limit.iter().map(|job| job.to_string()).collect(),
            heard_millis: self.view.lock().heard.map_or(0, Timestamp::millis),
        }
    }

    pub(super) fn save(&mut self) {
        let Some(remembered) = self.remembered.clone() else { return };
        self.saving.dirty = false;
        let knowledge = self.knowledge();
        self.saving.running = Some(tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let result = remembered.save(&knowledge);
            (began.elapsed(), result)
        }));
    }

    pub(super) fn saved(&mut self, took: Duration, result: Result<(), SealedFileError>) {
        self.saving.not_before = Instant::now() + SAVE_PERIOD.max(took * SAVE_SHARE);
        let mut view = self.view.lock();
        match result {
            Ok(()) => {
                view.saved = Some(self.options.clock.now());
                view.save_error = None;
            }
            Err(error) => {
                let error = fault::chain(&error);
                if let Some(suppressed) = self.log.permit("save") {
                    tracing::error!(suppressed, error, "the assignment is not on disk");
                }
                view.save_error = Some(error);
                drop(view);
                self.saving.dirty = true;
            }
        }
    }

    /// Keeps the series of the last scrapes for a process that comes after this one has been killed. It cannot know when
    /// the last scrapes will have been.
    pub(super) fn save_series(&mut self) {
        let Some(remembered) = self.remembered.clone() else { return };
        let engine = self.options.engine.clone();
        self.saving.running_series = Some(tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let scrapes = last_scrapes(&engine).map(|last| {
                let series = last.inheritance.series;
                LastScrape { inheritance: Inheritance { series, ..Inheritance::default() }, ..last }
            });
            if let Err(error) = remembered.save_series(scrapes) {
                tracing::error!(error = fault::chain(&error), "series of the last scrapes are not on disk");
            }
            began.elapsed()
        }));
    }

    /// Everything, with the last scrapes' times, so that the next process misses no tick.
    pub(super) async fn save_at_the_end(&mut self) {
        let Some(remembered) = self.remembered.clone() else { return };
        if let Some(running) = self.saving.running.take() {
            // Its outcome does not matter: it is written again.
            let _ = running.await;
        }
        if let Some(running) = self.saving.running_series.take() {
            let _ = running.await;
        }
        let (knowledge, engine) = (self.knowledge(), self.options.engine.clone());
        let saved = tokio::task::spawn_blocking(move || {
            remembered.save(&knowledge)?;
            remembered.save_series(last_scrapes(&engine))
        });
        if let Ok(Err(error)) = saved.await {
            tracing::error!(error = fault::chain(&error), "the last assignment is not on disk");
        }
    }
}

pub(super) fn last_scrapes(engine: &ScrapeEngine) -> impl Iterator<Item = LastScrape> {
    let engine = engine.clone();
    engine.targets().into_iter().filter_map(move |target| {
        let inheritance = engine.inheritance(&target.job, target.id)?;
        Some(LastScrape { job: target.job.to_string(), id: target.id.0, inheritance })
    })
}

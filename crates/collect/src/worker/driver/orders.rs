//! What a master says is done: configuration, targets to take over, to hand over and to end.

use std::sync::Arc;

use outrigger_config::prometheus::Config;
use outrigger_model::fault;
use outrigger_model::target::{ScrapeTarget, TargetId};
use outrigger_wire::centre::{
    Applied, Assign, Configuration, Inheritance, Jobs, Release, Remove, from_worker,
};
use tokio::time::Instant;

use super::Driver;
use crate::remote_write::QueueBounds;
use crate::scrape::HandedOver;
use crate::worker::handovers::Next;
use crate::worker::names;

impl Driver {
    pub(super) async fn configure(&mut self, message: Configuration) {
        self.received.merge(message);
        self.saving.dirty = true;
        if self.in_force.is_same(&self.received) {
            self.in_force = self.received.clone();
            self.view.lock().configuration_error = String::new();
            return;
        }
        let candidate = self.received.clone();
        let loaded = tokio::task::spawn_blocking(move || (candidate.load(), candidate)).await;
        let Ok((loaded, candidate)) = loaded else { return };
        match loaded.and_then(|config| self.put_in_force(&config)) {
            Ok(()) => {
                tracing::info!(revision = candidate.revision, "configuration in force");
                self.in_force = candidate;
                self.view.lock().configuration_error = String::new();
                self.options.engine.set_over_target_limit(&self.over_target_limit);
            }
            Err(error) => self.refuse(candidate.revision, error),
        }
    }

    pub(super) fn refuse(&self, revision: u64, error: String) {
        self.metrics.refused.inc();
        tracing::error!(
            revision,
            in_force = self.in_force.revision,
            "the configuration is not put in force, the one before stays: {error}"
        );
        self.view.lock().configuration_error = error;
    }

    pub(super) fn put_in_force(&self, config: &Config) -> Result<(), String> {
        let limits = config.outrigger.limits;
        let bounds = QueueBounds {
            memory_bytes: limits.remote_write_queue_bytes,
            disk_bytes: limits.remote_write_disk_bytes,
        };
        let options = &self.options;
        // The one that refuses more goes first, so that a refusal leaves everything as it was.
        options
            .remote_write
            .apply_config(&config.remote_write, &config.global.external_labels, bounds)
            .map_err(|error| fault::chain(&error))?;
        options.engine.apply_config(&config.scrape_configs).map_err(|error| fault::chain(&error))?;
        options.engine.set_max_body_bytes(limits.max_body_bytes);
        Ok(())
    }

    pub(super) fn adopt(&mut self, assign: Assign) {
        let revision = assign.revision;
        let mut assign = assign;
        names::recall(&self.options.resolver, std::mem::take(&mut assign.names));
        let (good, bad) = assign.read();
        for bad in bad {
            self.metrics.invalid_targets.inc();
            if let Some(suppressed) = self.log.permit("invalid target") {
                tracing::error!(suppressed, error = %bad, "a target of the assignment cannot be read");
            }
        }
        let inherited = good.iter().filter(|assigned| assigned.inheritance.is_some()).count() as u64;
        self.metrics.inherited.add(inherited);
        self.metrics.adopted.add(good.len() as u64 - inherited);
        let ids = good.iter().map(|assigned| (&*assigned.target.job, assigned.target.id)).collect();
        self.handovers.adopted(&ids);
        self.options
            .engine
            .adopt(good.into_iter().map(|assigned| (assigned.target, assigned.inheritance)).collect());
        self.options.engine.set_over_target_limit(&self.over_target_limit);
        self.applied(revision);
    }

    pub(super) fn applied(&mut self, revision: u64) {
        self.saving.dirty = true;
        self.send(from_worker::Kind::Applied(Applied { revision }));
    }

    pub(super) fn release(&mut self, release: Release) {
        self.last_release = Instant::now();
        self.saving.dirty = true;
        for ids in release.targets {
            let job: Arc<str> = ids.job.into();
            let fresh = self.handovers.ask(release.request, &job, ids.ids);
            self.options.engine.release(&job, &fresh, &self.handed_over.0);
        }
    }

    /// Targets have stopped: those at hand are told together.
    pub(super) fn hand_over(&mut self, first: HandedOver) {
        self.last_release = Instant::now();
        let mut stopped = Vec::new();
        let mut next = Some(first);
        while let Some(handed) = next {
            match self.handovers.stopped(&handed) {
                Next::Tell { request } => stopped.push((request, handed)),
                Next::TakeBack(target, left) => {
                    self.metrics.taken_back.inc();
                    self.options.engine.adopt(vec![(target, left)]);
                }
                Next::Bury(target, left) => self.bury(target, left),
                Next::Forget => {}
            }
            next = self.handed_over.1.try_recv().ok();
        }
        self.metrics.handed_over.add(stopped.len() as u64);
        for released in self.handovers.tell(stopped, self.now(), self.beat) {
            self.send(from_worker::Kind::Released(released));
        }
    }

    pub(super) fn bury(&self, target: Arc<ScrapeTarget>, left: Inheritance) {
        match self.options.engine.bury(target, left) {
            true => self.metrics.buried.inc(),
            false => self.metrics.unburied.inc(),
        }
    }

    pub(super) fn remove(&mut self, remove: Remove) {
        for ids in remove.targets {
            let job: Arc<str> = ids.job.into();
            let ids: Vec<TargetId> = ids.ids.into_iter().map(TargetId).collect();
            self.metrics.removed.add(ids.len() as u64);
            self.handovers.remove(&job, &ids);
            self.options.engine.remove(&job, &ids);
            self.gone(&job, &ids);
        }
        let (orphans, bad) = remove.orphans.unwrap_or_default().read();
        self.metrics.invalid_targets.add(bad.len() as u64);
        for orphan in orphans {
            let (job, id) = (Arc::clone(&orphan.target.job), orphan.target.id);
            if let Some(left) = orphan.inheritance {
                self.bury(orphan.target, left);
            }
            self.gone(&job, &[id]);
        }
        self.applied(remove.revision);
    }

    /// The ends of these targets' series are written: nobody inherits them.
    fn gone(&mut self, job: &Arc<str>, ids: &[TargetId]) {
        self.keepers.gone(job, ids);
        self.next_sets.get_or_insert_with(Instant::now);
    }

    pub(super) fn note(&mut self, jobs: Jobs) {
        self.over_target_limit = jobs.over_target_limit.into_iter().map(Arc::from).collect();
        self.options.engine.set_over_target_limit(&self.over_target_limit);
        self.saving.dirty = true;
    }
}

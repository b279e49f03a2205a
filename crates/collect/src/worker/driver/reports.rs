//! What a master is told, and when: signs of life, costs, series, the worker's own metrics.

use std::time::Duration;

use outrigger_wire::centre::{Heartbeat, SelfMetrics, WorkerStatus, from_worker};
use tokio::time::Instant;

use super::Driver;
use crate::worker::series_sets::MadeSets;
use crate::worker::{keepers, usage};

/// Costs are looked at so often.
const COSTS_PERIOD: Duration = Duration::from_secs(5);
/// Series that have changed are told so soon: what changes before that and this worker's death, its heirs do not know.
const SETS_PERIOD: Duration = Duration::from_millis(100);
/// Names that were resolved are told so soon.
const NAMES_PERIOD: Duration = Duration::from_secs(1);
/// The worker's own metrics are sent so often.
const SELF_METRICS_PERIOD: Duration = Duration::from_secs(15);
/// With more messages waiting, those that can be left out are.
const BUSY_OUTBOX: usize = 32;
/// Clocks that are further apart than this are worth a line in the log.
const CLOCK_OFFSET_MILLIS: u64 = 2_000;
/// Longest error in a message.
const MAX_ERROR_BYTES: usize = 4_096;

impl Driver {
    pub(super) fn send_heartbeat(&mut self, sequence: u64) {
        self.beat = sequence;
        self.usage = usage::read();
        let totals = self.options.engine.totals();
        let endpoints = self.options.remote_write.status();
        let lateness_seconds = self.lateness.p99(self.now(), &totals.lateness);
        let usage = self.usage;
        let mut configuration_error = self.view.lock().configuration_error.clone();
        let end = (0..=MAX_ERROR_BYTES.min(configuration_error.len()))
            .rfind(|at| configuration_error.is_char_boundary(*at))
            .unwrap_or(0);
        configuration_error.truncate(end);
        let status = WorkerStatus {
            targets: self.options.engine.target_count() as u64,
            series: totals.series,
            samples: totals.samples,
            cpu_seconds: usage.cpu_seconds,
            cpu_limit: usage.cpu_limit,
            resident_bytes: usage.resident_bytes,
            memory_limit_bytes: usage.memory_limit_bytes,
            lateness_seconds,
            skipped_ticks: totals.skipped_ticks,
            queue_memory_bytes: endpoints.iter().map(|endpoint| endpoint.pending_bytes).sum(),
            queue_disk_bytes: endpoints.iter().map(|endpoint| endpoint.disk_bytes).sum(),
            lag_seconds: endpoints.iter().map(|endpoint| endpoint.lag_seconds).fold(0.0, f64::max),
            configuration_revision: self.in_force.revision,
            configuration_error,
            scrapes: totals.scrapes,
            failed_scrapes: totals.failed,
        };
        self.send(from_worker::Kind::Heartbeat(Heartbeat {
            sequence,
            now_millis: self.options.clock.now().millis(),
            status: Some(status),
            clock_offset_millis: self.session.clock_offset().unwrap_or(0),
        }));
    }

    pub(super) fn compare_clocks(&self) {
        let Some(offset) =
            self.session.clock_offset().filter(|offset| offset.unsigned_abs() > CLOCK_OFFSET_MILLIS)
        else {
            return;
        };
        if let Some(suppressed) = self.log.permit("clock") {
            tracing::warn!(
                suppressed,
                seconds = offset as f64 / 1_000.0,
                "the master's clock is ahead of this one's by so much (negative: behind): samples carry this one's time"
            );
        }
    }

    /// When [`Driver::round`] has something to do.
    pub(super) fn next_round(&self) -> Instant {
        let mut at = Instant::now() + COSTS_PERIOD;
        let joined = self.view.lock().master.is_some();
        if joined {
            at = at.min(self.next_self_metrics);
        }
        if joined || self.keepers.open() > 0 {
            at = at.min(self.next_costs).min(self.next_names);
            at = self.next_sets.map_or(at, |sets| at.min(sets));
        }
        if self.remembered.is_some() {
            if self.saving.dirty && self.saving.running.is_none() {
                at = at.min(self.saving.not_before);
            }
            if self.saving.running_series.is_none() {
                at = at.min(self.saving.next_series);
            }
        }
        self.first_word.as_ref().map_or(at, |wait| at.min(wait.until))
    }

    /// Everything that is due.
    pub(super) fn round(&mut self) {
        let now = Instant::now();
        if self.first_word.as_ref().is_some_and(|wait| now >= wait.until) {
            self.resume();
        }
        let joined = self.view.lock().master.is_some();
        if joined || self.keepers.open() > 0 {
            self.report(now, joined);
        }
        if joined && now >= self.next_self_metrics {
            self.next_self_metrics = now + SELF_METRICS_PERIOD;
            if self.may_send("self_metrics") {
                let text = self.options.registry.render();
                let exposition = zstd::bulk::compress(text.as_bytes(), 1).unwrap_or_default();
                let at_millis = self.options.clock.now().millis();
                self.send(from_worker::Kind::SelfMetrics(SelfMetrics { exposition, at_millis }));
            }
        }
        if self.remembered.is_some() {
            if self.saving.dirty && self.saving.running.is_none() && now >= self.saving.not_before {
                self.save();
            }
            if self.saving.running_series.is_none() && now >= self.saving.next_series {
                self.save_series();
            }
        }
    }

    /// Series have changed: they are told together with those that change a moment later.
    pub(super) fn series_changed(&mut self) {
        self.next_sets = Some(Instant::now() + SETS_PERIOD);
    }

    /// Tells every master that listens what is new about the targets.
    fn report(&mut self, now: Instant, joined: bool) {
        if now >= self.next_costs {
            self.next_costs = now + COSTS_PERIOD;
            self.tell_costs(joined);
            if self.heirs.series.has_waiting() || self.keepers.has_waiting() {
                self.next_sets.get_or_insert(now);
            }
        }
        if self.next_sets.is_some_and(|sets| now >= sets) {
            self.tell_series(now, joined);
        }
        if now >= self.next_names {
            self.next_names = now + NAMES_PERIOD;
            self.tell_names(joined);
        }
    }

    fn tell_costs(&mut self, joined: bool) {
        let costs = self.options.engine.costs();
        if joined && self.may_send("costs") {
            for news in self.costs.news(&costs, self.now()) {
                self.send(from_worker::Kind::Costs(news));
            }
        }
        self.heirs.series.look(&costs);
        self.keepers.look(&costs);
    }

    fn tell_series(&mut self, now: Instant, joined: bool) {
        for key in self.options.engine.take_changed() {
            self.keepers.wait(&key);
            self.heirs.series.wait(key);
        }
        let (millis, mut made) = (self.now(), MadeSets::new());
        self.keepers.tell_series(&self.options.engine, &mut made, millis);
        if joined && self.outbox.len() < BUSY_OUTBOX {
            for costs in self.heirs.series.next(&self.options.engine, &mut made, millis) {
                self.send(from_worker::Kind::Costs(costs));
            }
        }
        let more = joined && self.heirs.series.has_waiting() || self.keepers.has_waiting();
        self.next_sets = more.then(|| now + SETS_PERIOD);
    }

    fn tell_names(&mut self, joined: bool) {
        if joined
            && self.may_send("names")
            && let Some(names) = self.heirs.names.next(&self.options.resolver)
        {
            self.send(from_worker::Kind::Names(names));
        }
        self.keepers.tell_names(&self.options.resolver);
    }

    /// The other masters are told from now on, in case one of them leads next.
    pub(super) fn choose_keepers(&mut self, leader: &str) {
        let others = self.options.masters.iter().filter(|url| *url != leader);
        let channels = others.filter_map(|url| Some((url.clone(), self.channels.to(url).ok()?)));
        let channels = channels.collect();
        self.keepers.set(channels, &self.hello());
    }

    /// Takes note of what happened to a stream to another master; the address when that one says that it leads.
    pub(super) fn keeper_changed(&mut self, event: keepers::Event) -> Option<String> {
        let leader = event.leader().map(str::to_owned);
        if self.keepers.note(event) {
            let now = Instant::now();
            (self.next_costs, self.next_names) = (now, now);
        }
        self.view.lock().keepers = self.keepers.open();
        leader
    }

    /// What is not urgent waits for a master that is slow to listen.
    fn may_send(&self, kind: &str) -> bool {
        let may = self.outbox.len() < BUSY_OUTBOX;
        if !may {
            self.metrics.skipped.with(&[kind]).inc();
        }
        may
    }
}

//! What the scrape engine counts.

use std::sync::atomic::{AtomicI64, Ordering};

use outrigger_rt::metrics::{Counter, Gauge, Histogram, Registry};

use super::error::ScrapeResult;
use super::ingest::Drops;

/// Upper bounds, in seconds, of how late scrapes begin.
const LATENESS_BOUNDS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Upper bounds, in seconds, of how long scrapes take.
const DURATION_BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0];

/// Handles of the engine's metrics.
#[derive(Debug)]
pub(crate) struct EngineMetrics {
    results: Vec<Counter>,
    pub(crate) samples: Counter,
    pub(crate) stale_markers: Counter,
    duplicate: Counter,
    out_of_order: Counter,
    out_of_bounds: Counter,
    over_series_limit: Counter,
    exemplars: Counter,
    unconverted: Counter,
    pub(crate) skipped_ticks: Counter,
    pub(crate) forced_flushes: Counter,
    pub(crate) lateness: Histogram,
    pub(crate) duration: Histogram,
    pub(crate) running: Gauge,
    pub(crate) failure_log_dropped: Counter,
    /// Heap bytes and series of all caches.
    pub(crate) cache_bytes: AtomicI64,
    pub(crate) cache_series: AtomicI64,
}

/// Counts of all scrapes of an engine since its start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScrapeTotals {
    /// Scrapes.
    pub scrapes: u64,
    /// Scrapes that failed.
    pub failed: u64,
    /// Samples handed over.
    pub samples: u64,
    /// Ticks without a scrape.
    pub skipped_ticks: u64,
    /// Series that are remembered now.
    pub series: u64,
    /// How many scrapes began at most so many seconds late, not cumulative; the last bound is infinite.
    pub lateness: Vec<(f64, u64)>,
}

impl EngineMetrics {
    pub(crate) fn totals(&self) -> ScrapeTotals {
        let scrapes = self.results.iter().map(Counter::get).sum();
        ScrapeTotals {
            scrapes,
            failed: scrapes - self.results[ScrapeResult::Success as usize].get(),
            samples: self.samples.get(),
            skipped_ticks: self.skipped_ticks.get(),
            series: u64::try_from(self.cache_series.load(Ordering::Relaxed)).unwrap_or(0),
            lateness: self.lateness.buckets(),
        }
    }

    pub(crate) fn new(registry: &Registry) -> Self {
        let results = registry.counter_family("outrigger_scrapes_total", "Scrapes by result.", &["result"]);
        let dropped = registry.counter_family(
            "outrigger_scrape_samples_dropped_total",
            "Samples left out of otherwise successful scrapes, by reason.",
            &["reason"],
        );
        Self {
            results: ScrapeResult::ALL.iter().map(|result| results.with(&[result.as_str()])).collect(),
            samples: registry.counter(
                "outrigger_scrape_samples_total",
                "Samples handed over, stale markers and the scrapes' own reports included.",
                &[],
            ),
            stale_markers: registry.counter(
                "outrigger_scrape_stale_markers_total",
                "Stale markers handed over.",
                &[],
            ),
            duplicate: dropped.with(&["duplicate"]),
            out_of_order: dropped.with(&["out_of_order"]),
            out_of_bounds: dropped.with(&["too_far_ahead"]),
            over_series_limit: dropped.with(&["series_limit"]),
            exemplars: registry.counter(
                "outrigger_scrape_exemplars_dropped_total",
                "Exemplars that were left out because they are too long, have a label twice or no time.",
                &[],
            ),
            unconverted: registry.counter(
                "outrigger_scrape_histograms_unconverted_total",
                "Classic histograms that could not be converted to native ones and were left out.",
                &[],
            ),
            skipped_ticks: registry.counter(
                "outrigger_scrape_ticks_skipped_total",
                "Scrapes that did not take place because the one before was still running.",
                &[],
            ),
            forced_flushes: registry.counter(
                "outrigger_scrape_cache_flushes_forced_total",
                "Series caches that were flushed because failing scrapes made them grow.",
                &[],
            ),
            lateness: registry.histogram(
                "outrigger_scrape_lateness_seconds",
                "Time from a scrape's tick to its start.",
                &[],
                &LATENESS_BOUNDS,
            ),
            duration: registry.histogram(
                "outrigger_scrape_duration_seconds",
                "Time that scrapes take.",
                &[],
                &DURATION_BOUNDS,
            ),
            running: registry.gauge("outrigger_scrapes_running", "Scrapes under way.", &[]),
            failure_log_dropped: registry.counter(
                "outrigger_scrape_failure_log_lines_dropped_total",
                "Lines that were not written to a scrape_failure_log_file.",
                &[],
            ),
            cache_bytes: AtomicI64::new(0),
            cache_series: AtomicI64::new(0),
        }
    }

    pub(crate) fn count_result(&self, result: ScrapeResult) {
        self.results[result as usize].inc();
    }

    pub(crate) fn count_drops(&self, drops: Drops) {
        self.duplicate.add(drops.duplicate as u64);
        self.out_of_order.add(drops.out_of_order as u64);
        self.out_of_bounds.add(drops.out_of_bounds as u64);
        self.over_series_limit.add(drops.over_series_limit as u64);
        self.exemplars.add(drops.exemplars as u64);
        self.unconverted.add(drops.unconverted as u64);
    }

    /// A cache changed from `before` to `after`, each heap bytes and series.
    pub(crate) fn resize_cache(&self, before: (usize, usize), after: (usize, usize)) {
        self.cache_bytes.fetch_add(after.0 as i64 - before.0 as i64, Ordering::Relaxed);
        self.cache_series.fetch_add(after.1 as i64 - before.1 as i64, Ordering::Relaxed);
    }
}

//! Outrigger's own metrics: a small registry and its text form (Prometheus text format 0.0.4).
//!
//! Handles ([`Counter`], [`Gauge`], [`Histogram`]) are shared atomics, resolved once and cheap to update. What has
//! many series that come and go (per job, per cluster) is rendered by a collector callback instead.

mod exposition;
mod process;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

pub use exposition::{Exposition, Family, MetricKind};
pub use process::register_process_metrics;

/// The content type of [`Registry::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A set of metric families; cheap to clone, all clones are the same registry.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    families: Mutex<BTreeMap<String, FamilyEntry>>,
    collectors: Mutex<Vec<Collector>>,
}

type Collector = Arc<dyn Fn(&mut Exposition) + Send + Sync>;

struct FamilyEntry {
    help: String,
    label_names: Vec<String>,
    kind: MetricKind,
    series: BTreeMap<Vec<String>, Series>,
}

#[derive(Clone)]
enum Series {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// The counter `name{labels}`, created at 0 when it is new. The name should end in `_total`.
    ///
    /// A name that is not a metric name, or that was registered with another kind or other label names, is a bug
    /// in the caller: it is logged, and the handle that is returned works but is not rendered.
    pub fn counter(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Counter {
        let series = self.series(name, help, labels, || Series::Counter(Counter::default()));
        if let Some(Series::Counter(counter)) = series { counter } else { Counter::default() }
    }

    /// The gauge `name{labels}`, created at 0 when it is new; wrong use as for [`Registry::counter`].
    pub fn gauge(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Gauge {
        let series = self.series(name, help, labels, || Series::Gauge(Gauge::default()));
        if let Some(Series::Gauge(gauge)) = series { gauge } else { Gauge::default() }
    }

    /// The histogram `name{labels}` with these upper bounds (ascending, without `+Inf`); an existing one keeps its
    /// own bounds. Wrong use as for [`Registry::counter`].
    pub fn histogram(&self, name: &str, help: &str, labels: &[(&str, &str)], bounds: &[f64]) -> Histogram {
        let series = self.series(name, help, labels, || Series::Histogram(Histogram::new(bounds)));
        if let Some(Series::Histogram(histogram)) = series { histogram } else { Histogram::new(bounds) }
    }

    /// Counters of one name whose label values are given later; see [`Registry::counter`].
    pub fn counter_family(&self, name: &str, help: &str, label_names: &[&str]) -> CounterFamily {
        CounterFamily(self.family(name, help, label_names))
    }

    /// Gauges of one name whose label values are given later; see [`Registry::gauge`].
    pub fn gauge_family(&self, name: &str, help: &str, label_names: &[&str]) -> GaugeFamily {
        GaugeFamily(self.family(name, help, label_names))
    }

    /// Histograms of one name whose label values are given later; see [`Registry::histogram`].
    pub fn histogram_family(
        &self,
        name: &str,
        help: &str,
        label_names: &[&str],
        bounds: &[f64],
    ) -> HistogramFamily {
        HistogramFamily { family: self.family(name, help, label_names), bounds: bounds.into() }
    }

    /// Calls `collect` at each rendering, for metrics that are read off existing tables.
    pub fn collector(&self, collect: impl Fn(&mut Exposition) + Send + Sync + 'static) {
        self.shared.collectors.lock().push(Arc::new(collect));
    }

    /// All metrics in text format 0.0.4: families by name, series by label values.
    pub fn render(&self) -> String {
        let mut exposition = Exposition::default();
        for (name, entry) in self.shared.families.lock().iter() {
            entry.render(name, &mut exposition);
        }
        // Collectors run without the lock, so that they may register metrics themselves.
        let collectors = self.shared.collectors.lock().clone();
        for collect in &collectors {
            collect(&mut exposition);
        }
        exposition.finish()
    }

    fn family(&self, name: &str, help: &str, label_names: &[&str]) -> FamilyRef {
        FamilyRef {
            registry: self.clone(),
            name: name.to_owned(),
            help: help.to_owned(),
            label_names: label_names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn series(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        create: impl FnOnce() -> Series,
    ) -> Option<Series> {
        let label_names: Vec<String> = labels.iter().map(|(name, _)| (*name).to_owned()).collect();
        let label_values: Vec<String> = labels.iter().map(|(_, value)| (*value).to_owned()).collect();
        let created = create();
        if !is_metric_name(name) || !label_names.iter().all(|name| is_label_name(name)) {
            tracing::error!(metric = name, "metric or label name is invalid, metric is not exported");
            return None;
        }
        let mut families = self.shared.families.lock();
        let entry = families.entry(name.to_owned()).or_insert_with(|| FamilyEntry {
            help: help.to_owned(),
            label_names: label_names.clone(),
            kind: created.kind(),
            series: BTreeMap::new(),
        });
        if entry.kind != created.kind() || entry.label_names != label_names {
            tracing::error!(
                metric = name,
                "metric is registered twice and differently, second one is not exported"
            );
            return None;
        }
        Some(entry.series.entry(label_values).or_insert(created).clone())
    }

    fn remove(&self, name: &str, label_values: &[&str]) {
        if let Some(entry) = self.shared.families.lock().get_mut(name) {
            entry.series.retain(|values, _| values != label_values);
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Registry")
            .field("families", &self.families.lock().len())
            .finish_non_exhaustive()
    }
}

impl Series {
    fn kind(&self) -> MetricKind {
        match self {
            Series::Counter(_) => MetricKind::Counter,
            Series::Gauge(_) => MetricKind::Gauge,
            Series::Histogram(_) => MetricKind::Histogram,
        }
    }
}

impl FamilyEntry {
    fn render(&self, name: &str, exposition: &mut Exposition) {
        let mut family = exposition.family(name, &self.help, self.kind);
        for (values, series) in &self.series {
            let labels: Vec<(&str, &str)> =
                self.label_names.iter().map(String::as_str).zip(values.iter().map(String::as_str)).collect();
            match series {
                Series::Counter(counter) => family.sample(&labels, counter.get() as f64),
                Series::Gauge(gauge) => family.sample(&labels, gauge.get()),
                Series::Histogram(histogram) => histogram.render(&labels, &mut family),
            }
        }
    }
}

fn is_metric_name(name: &str) -> bool {
    outrigger_model::names::NameValidation::Legacy.is_metric_name(name)
}

fn is_label_name(name: &str) -> bool {
    outrigger_model::names::NameValidation::Legacy.is_label_name(name)
}

/// A number of events; only grows.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Counts one event.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Counts `events` events.
    pub fn add(&self, events: u64) {
        self.0.fetch_add(events, Ordering::Relaxed);
    }

    /// Events so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A value that goes up and down.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Sets an integer value.
    pub fn set_int(&self, value: i64) {
        self.set(value as f64);
    }

    /// Adds to the value; negative subtracts.
    pub fn add(&self, delta: f64) {
        update_float(&self.0, |value| value + delta);
    }

    /// Adds 1.
    pub fn inc(&self) {
        self.add(1.0);
    }

    /// Subtracts 1.
    pub fn dec(&self) {
        self.add(-1.0);
    }

    /// The value now.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// Adds 1 until the guard is dropped.
    pub fn track(&self) -> GaugeGuard {
        self.inc();
        GaugeGuard(self.clone())
    }
}

/// Holds a [`Gauge`] up by 1.
#[derive(Debug)]
pub struct GaugeGuard(Gauge);

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A distribution over fixed buckets.
#[derive(Debug, Clone)]
pub struct Histogram(Arc<HistogramState>);

#[derive(Debug)]
struct HistogramState {
    bounds: Box<[f64]>,
    /// One more than bounds: the last one is `+Inf`.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &[f64]) -> Self {
        let mut bounds: Vec<f64> = bounds.iter().copied().filter(|bound| bound.is_finite()).collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(HistogramState {
            bounds: bounds.into(),
            buckets,
            sum: AtomicU64::new(0.0f64.to_bits()),
        }))
    }

    /// Counts one observed value.
    pub fn observe(&self, value: f64) {
        let bucket = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        update_float(&self.0.sum, |sum| sum + value);
    }

    /// Values observed so far.
    pub fn count(&self) -> u64 {
        self.0.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// Sum of the values observed so far.
    pub fn sum(&self) -> f64 {
        f64::from_bits(self.0.sum.load(Ordering::Relaxed))
    }

    /// Upper bounds, ascending and with infinity last, and how many values fell into each bucket so far.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.0.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed))).collect()
    }

    fn render(&self, labels: &[(&str, &str)], family: &mut Family<'_>) {
        let counts: Vec<u64> = self.0.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        family.histogram(labels, &self.0.bounds, &counts, self.sum());
    }
}

fn update_float(bits: &AtomicU64, change: impl Fn(f64) -> f64) {
    let _ = bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| {
        Some(change(f64::from_bits(bits)).to_bits())
    });
}

#[derive(Debug, Clone)]
struct FamilyRef {
    registry: Registry,
    name: String,
    help: String,
    label_names: Vec<String>,
}

impl FamilyRef {
    fn labels<'a>(&'a self, values: &[&'a str]) -> Vec<(&'a str, &'a str)> {
        debug_assert_eq!(self.label_names.len(), values.len(), "one value per label name of {}", self.name);
        self.label_names.iter().map(String::as_str).zip(values.iter().copied()).collect()
    }
}

/// Counters of one name; resolve handles once with [`CounterFamily::with`] and keep them.
#[derive(Debug, Clone)]
pub struct CounterFamily(FamilyRef);

impl CounterFamily {
    /// The counter with these label values, in the order of the family's label names.
    pub fn with(&self, values: &[&str]) -> Counter {
        self.0.registry.counter(&self.0.name, &self.0.help, &self.0.labels(values))
    }

    /// Forgets the series; handles that are still held go on counting unseen.
    pub fn remove(&self, values: &[&str]) {
        self.0.registry.remove(&self.0.name, values);
    }
}

/// Gauges of one name; resolve handles once with [`GaugeFamily::with`] and keep them.
#[derive(Debug, Clone)]
pub struct GaugeFamily(FamilyRef);

impl GaugeFamily {
    /// The gauge with these label values, in the order of the family's label names.
    pub fn with(&self, values: &[&str]) -> Gauge {
        self.0.registry.gauge(&self.0.name, &self.0.help, &self.0.labels(values))
    }

    /// Forgets the series; handles that are still held are no longer rendered.
    pub fn remove(&self, values: &[&str]) {
        self.0.registry.remove(&self.0.name, values);
    }
}

/// Histograms of one name; resolve handles once with [`HistogramFamily::with`] and keep them.
#[derive(Debug, Clone)]
pub struct HistogramFamily {
    family: FamilyRef,
    bounds: Arc<[f64]>,
}

impl HistogramFamily {
    /// The histogram with these label values, in the order of the family's label names.
    pub fn with(&self, values: &[&str]) -> Histogram {
        let family = &self.family;
        family.registry.histogram(&family.name, &family.help, &family.labels(values), &self.bounds)
    }

    /// Forgets the series; handles that are still held are no longer rendered.
    pub fn remove(&self, values: &[&str]) {
        self.family.registry.remove(&self.family.name, values);
    }
}

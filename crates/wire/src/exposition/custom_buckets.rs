//! Converts classic histograms to native ones with custom buckets while a text format is read
//! (`convert_classic_histograms_to_nhcb`; Prometheus `model/textparse/nhcbparse.go`).

use std::ops::ControlFlow;

use outrigger_model::sample::{Exemplar, Timestamp};

use super::classic::ClassicHistogram;
use super::exemplar::Unfit;
use super::series::{Extras, Form, PlainSeries};
use super::{Entry, MetricType, NativeHistogram, Series, float};

/// Takes the entries of a body one by one and hands out those of the converted body.
///
/// A histogram is converted when something else follows its series. Series that went into it are left out unless
/// classic histograms are kept; its exemplars move to the converted one. A histogram that cannot be converted is left
/// out.
#[derive(Debug, Clone, Default)]
pub struct Converter {
    keep_classic: bool,
    family: String,
    metric_type: MetricType,
    /// The timestamp of the last series.
    timestamp: Option<Timestamp>,
    collecting: Option<Collected>,
    histogram: ClassicHistogram,
    labels: Vec<(String, String)>,
    failed: usize,
}

/// The histogram whose series are being read.
#[derive(Debug, Clone)]
struct Collected {
    /// Name without suffix.
    name: String,
    /// All labels but the name and `le`.
    labels: Vec<(String, String)>,
    exemplars: Vec<Result<Exemplar, Unfit>>,
    start_timestamp: Option<Timestamp>,
}

/// What part of a classic histogram a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Bucket,
    Sum,
    Count,
    Other,
}

fn split_name(name: &str) -> (Part, &str) {
    let suffixes = [("_bucket", Part::Bucket), ("_sum", Part::Sum), ("_count", Part::Count)];
    let found = suffixes.iter().find_map(|(suffix, part)| Some((*part, name.strip_suffix(suffix)?)));
    found.unwrap_or((Part::Other, name))
}

impl Converter {
    /// A converter for one body.
    pub fn new(keep_classic: bool) -> Self {
        Self { keep_classic, ..Self::default() }
    }

    /// How many histograms could not be converted and were left out.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// Takes an entry and hands out none, one or two. Native histograms pass through.
    pub fn push<B>(
        &mut self,
        entry: Entry<'_>,
        visit: &mut impl FnMut(Entry<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        match entry {
            Entry::Series(series) => return self.push_series(series, visit),
            Entry::Type { ref name, metric_type } => {
                name.as_ref().clone_into(&mut self.family);
                self.metric_type = metric_type;
            }
            _ => {}
        }
        self.finish(visit)?;
        visit(entry)
    }

    /// The body has ended: hands out the last histogram.
    pub fn finish<B>(&mut self, visit: &mut impl FnMut(Entry<'_>) -> ControlFlow<B>) -> ControlFlow<B> {
        let Some(collected) = self.collecting.take() else { return ControlFlow::Continue(()) };
        let converted = self.histogram.convert();
        self.histogram.reset();
        let Ok(histogram) = converted else {
            self.failed += 1;
            return ControlFlow::Continue(());
        };
        let mut raw = PlainSeries::new();
        raw.set_name(&collected.name, "");
        collected
            .labels
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .for_each(|(name, value)| raw.add(name, value));
        visit(Entry::Histogram(NativeHistogram {
            series: Series {
                raw: raw.bytes(),
                value: histogram.sum,
                timestamp: self.timestamp,
                metric_type: self.metric_type,
                form: Form::Plain,
                extras: Extras::boxed(collected.exemplars, collected.start_timestamp),
            },
            histogram: Box::new(histogram),
        }))
    }

    fn push_series<B>(
        &mut self,
        mut series: Series<'_>,
        visit: &mut impl FnMut(Entry<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.labels.clear();
        let mut metric = None;
        series.for_each_label(|name, value| match name {
            outrigger_model::labels::METRIC_NAME if metric.is_none() => metric = Some(value.to_owned()),
            _ => self.labels.push((name.to_owned(), value.to_owned())),
        });
        self.labels.sort();
        let metric = metric.unwrap_or_default();
        self.timestamp = series.timestamp;
        if self.is_another(split_name(&metric).1) {
            self.finish(visit)?;
        }
        if self.collect(&metric, &mut series) && !self.keep_classic {
            return ControlFlow::Continue(());
        }
        visit(Entry::Series(series))
    }

    /// Whether a series of this name, and the labels at hand, is no part of the histogram that is being read.
    fn is_another(&self, name: &str) -> bool {
        let Some(collected) = &self.collecting else { return false };
        self.metric_type != MetricType::Histogram
            || collected.name != name
            || !collected.labels.iter().eq(self.labels.iter().filter(|(name, _)| name != "le"))
    }

    /// Takes the series into the histogram that is being read, if it is a part of one.
    fn collect(&mut self, metric: &str, series: &mut Series<'_>) -> bool {
        let (part, name) = split_name(metric);
        if self.metric_type != MetricType::Histogram || name != self.family {
            return false;
        }
        let mut bound = 0.0;
        match part {
            Part::Bucket => {
                let le = self.labels.iter().find(|(name, _)| name == "le");
                match le.and_then(|(_, value)| float::parse_go(value)).filter(|bound| !bound.is_nan()) {
                    Some(found) => bound = found,
                    None => return false,
                }
            }
            Part::Sum | Part::Count => {}
            Part::Other => return false,
        }
        let labels = &self.labels;
        let collected = self.collecting.get_or_insert_with(|| Collected {
            name: name.to_owned(),
            labels: labels.iter().filter(|(name, _)| name != "le").cloned().collect(),
            exemplars: Vec::new(),
            start_timestamp: series.start_timestamp(),
        });
        // An exemplar of a native histogram without a time is not kept (Prometheus `scrape.go`).
        let timed = |exemplar: Exemplar| exemplar.timestamp.is_some().then_some(exemplar).ok_or(Unfit);
        collected.exemplars.extend(series.take_exemplars().map(|exemplar| exemplar.and_then(timed)));
        match part {
            Part::Bucket => self.histogram.set_bucket(bound, series.value),
            Part::Sum => self.histogram.set_sum(series.value),
            Part::Count | Part::Other => self.histogram.set_count(series.value),
        }
        true
    }
}

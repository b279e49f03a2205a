//! From a response body to samples: parse, relabel, limits, order and staleness, all or nothing
//! (Prometheus `scrapeLoopAppender.append`). Pure: no I/O, the time is handed in.

use std::sync::Arc;

use outrigger_model::labels::LabelsBuilder;
use outrigger_model::sample::{Sample, Timestamp};
use outrigger_wire::exposition::{Entry, ParseError, Parser, Series as Exposed};

use crate::batch::MetricMetadata;
use crate::scrape::cache::{Lookup, Order, SeriesCache, SeriesId};
use crate::scrape::metadata::MetadataWatch;
use crate::scrape::relabel_sample::{LabelRules, SeriesError};
use crate::series::Series;

/// Samples further ahead of the wall clock are not taken (Prometheus `scrape.maxAheadTime`).
const MAX_AHEAD_MILLIS: i64 = 10 * 60 * 1_000;

/// Why a body was refused as a whole.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The body is not in the text format.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A series that may not be.
    #[error(transparent)]
    Series(#[from] SeriesError),
    /// `sample_limit`.
    #[error("sample limit exceeded")]
    SampleLimit,
}

/// How samples become those of a target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SampleRules<'a> {
    pub(crate) labels: LabelRules<'a>,
    pub(crate) honor_timestamps: bool,
    pub(crate) track_timestamps_staleness: bool,
    /// 0 is no limit.
    pub(crate) sample_limit: u64,
}

/// What a body led to.
#[derive(Debug, Default)]
pub(crate) struct Ingested {
    /// Samples and stale markers to hand over.
    pub(crate) samples: Vec<(Arc<Series>, Sample)>,
    /// Metadata to hand over.
    pub(crate) metadata: Vec<Arc<MetricMetadata>>,
    pub(crate) counts: Counts,
    pub(crate) drops: Drops,
    /// Hashes of series that are alive now and were not before.
    pub(crate) appeared: Vec<u64>,
    /// The cache was flushed although the scrape failed.
    pub(crate) forced_flush: bool,
    /// Why nothing of the body was taken; the samples are then stale markers.
    pub(crate) error: Option<IngestError>,
}

/// What the scrape reports about its body; also right when the body was refused.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) scraped: usize,
    pub(crate) post_metric_relabeling: usize,
    pub(crate) series_added: usize,
}

/// Samples that were left out without failing the scrape, by reason.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drops {
    pub(crate) duplicate: usize,
    pub(crate) out_of_order: usize,
    pub(crate) out_of_bounds: usize,
}

/// The two times that matter to a scrape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScrapeTimes {
    /// Timestamp of samples without their own.
    pub(crate) scrape: Timestamp,
    /// The wall clock.
    pub(crate) now: Timestamp,
}

/// Takes in the body of a successful response. An empty body is an empty scrape: every series goes stale.
pub(crate) fn ingest(
    body: &[u8],
    cache: &mut SeriesCache,
    metadata: &mut MetadataWatch,
    rules: &SampleRules<'_>,
    times: ScrapeTimes,
) -> Ingested {
    if body.is_empty() {
        return ingest_nothing(cache, times.scrape);
    }
    let mut run = Run {
        cache,
        rules,
        times,
        pending: Vec::new(),
        unchanged: Vec::new(),
        appended: 0,
        over_sample_limit: false,
        counts: Counts::default(),
        drops: Drops::default(),
        builder: LabelsBuilder::new(),
        exposed: Vec::new(),
    };
    let result = run.parse(body, metadata);
    let mut ingested = Ingested { counts: run.counts, drops: run.drops, ..Ingested::default() };
    match result {
        Ok(()) => {
            run.commit(&mut ingested);
            ingested.metadata = metadata.due(body, times.now);
        }
        Err(error) => {
            // Samples left out of a scrape that failed as a whole are not lost for their own reason.
            ingested.drops = Drops::default();
            ingested.error = Some(error);
        }
    }
    let succeeded = ingested.error.is_none();
    ingested.forced_flush = cache.end_iteration(times.scrape, succeeded, &mut ingested.samples);
    ingested
}

/// A failed scrape is an empty one: every series goes stale.
pub(crate) fn ingest_nothing(cache: &mut SeriesCache, at: Timestamp) -> Ingested {
    let mut ingested = Ingested::default();
    ingested.forced_flush = cache.end_iteration(at, false, &mut ingested.samples);
    ingested
}

/// One pass over one body. Nothing of it is visible outside the cache's bookkeeping until [`Run::commit`].
struct Run<'a> {
    cache: &'a mut SeriesCache,
    rules: &'a SampleRules<'a>,
    times: ScrapeTimes,
    pending: Vec<Pending>,
    /// Series whose last sample was exposed again.
    unchanged: Vec<SeriesId>,
    /// Samples counted towards `sample_limit`.
    appended: u64,
    over_sample_limit: bool,
    counts: Counts,
    drops: Drops,
    builder: LabelsBuilder,
    /// Scratch space for the labels of one series.
    exposed: Vec<(String, String)>,
}

struct Pending {
    series: SeriesId,
    /// Whether the series goes stale when it is no longer exposed.
    tracked: bool,
    sample: Sample,
}

/// What became of one sample.
enum Fate {
    Appended,
    OverSampleLimit,
    LeftOut,
}

impl Run<'_> {
    fn parse(&mut self, body: &[u8], metadata: &mut MetadataWatch) -> Result<(), IngestError> {
        metadata.begin();
        for entry in Parser::new(body) {
            match entry? {
                Entry::Series(exposed) => {
                    self.counts.scraped += 1;
                    self.take(&exposed)?;
                }
                Entry::Type { name, metric_type } => metadata.see_type(&name, metric_type),
                Entry::Help { name, text } => metadata.see_help(&name, &text),
                Entry::Unit { .. } | Entry::Histogram(_) | Entry::Comment(_) => {}
            }
        }
        if self.over_sample_limit { Err(IngestError::SampleLimit) } else { Ok(()) }
    }

    fn take(&mut self, exposed: &Exposed<'_>) -> Result<(), IngestError> {
        let own_timestamp = exposed.timestamp.filter(|_| self.rules.honor_timestamps);
        let sample = Sample { timestamp: own_timestamp.unwrap_or(self.times.scrape), value: exposed.value };
        let tracked = own_timestamp.is_none() || self.rules.track_timestamps_staleness;
        match self.cache.look_up(exposed.raw()) {
            Lookup::Dropped => return Ok(()),
            Lookup::Series { repeated: true, .. } if own_timestamp.is_none() => self.drops.duplicate += 1,
            Lookup::Series { id, .. } => {
                self.append(id, sample, tracked);
            }
            Lookup::Unknown => {
                if !self.take_unknown(exposed, sample, tracked)? {
                    return Ok(());
                }
            }
        }
        self.counts.post_metric_relabeling += 1;
        Ok(())
    }

    /// False when metric relabelling drops the series.
    fn take_unknown(
        &mut self,
        exposed: &Exposed<'_>,
        sample: Sample,
        tracked: bool,
    ) -> Result<bool, IngestError> {
        let text = exposed.raw();
        self.exposed.clear();
        exposed.for_each_label(|name, value| self.exposed.push((name.to_owned(), value.to_owned())));
        let Some(labels) = self.rules.labels.apply(&self.exposed, &mut self.builder)? else {
            self.cache.insert_dropped(text);
            return Ok(false);
        };
        let series = Series::new(labels);
        let fate = match self.cache.find_labels(series.labels(), series.hash()) {
            Some(id) => {
                let fate = self.append(id, sample, tracked);
                if matches!(fate, Fate::Appended) {
                    self.cache.insert_text(text, id);
                }
                fate
            }
            None => match self.admit(sample) {
                Fate::Appended => {
                    let id = self.cache.insert_series(text, series);
                    self.push(id, sample, tracked);
                    Fate::Appended
                }
                fate => fate,
            },
        };
        // Only a series that was taken is remembered: one that was not needs no stale marker later.
        if matches!(fate, Fate::Appended) && !self.over_sample_limit {
            self.counts.series_added += 1;
        }
        Ok(true)
    }

    fn append(&mut self, id: SeriesId, sample: Sample, tracked: bool) -> Fate {
        match self.admit(sample) {
            Fate::Appended => {}
            fate => return fate,
        }
        match self.cache.order(id, sample) {
            Order::Newer => self.push(id, sample, tracked),
            Order::Repeated if tracked => self.unchanged.push(id),
            Order::Repeated => {}
            Order::Duplicate => {
                self.drops.duplicate += 1;
                return Fate::LeftOut;
            }
            Order::Older => {
                self.drops.out_of_order += 1;
                return Fate::LeftOut;
            }
        }
        Fate::Appended
    }

    /// `sample_limit`, then the time limit, in Prometheus' order (`appenderWithLimits`).
    fn admit(&mut self, sample: Sample) -> Fate {
        self.appended += 1;
        if self.rules.sample_limit > 0 && self.appended > self.rules.sample_limit {
            // Parsing goes on so that the number of samples reported is right.
            self.over_sample_limit = true;
            return Fate::OverSampleLimit;
        }
        if sample.timestamp.since(self.times.now) > MAX_AHEAD_MILLIS {
            self.drops.out_of_bounds += 1;
            return Fate::LeftOut;
        }
        Fate::Appended
    }

    fn push(&mut self, series: SeriesId, sample: Sample, tracked: bool) {
        self.cache.set_pending(series, sample.timestamp);
        self.pending.push(Pending { series, tracked, sample });
    }

    fn commit(self, ingested: &mut Ingested) {
        let cache = self.cache;
        ingested.samples.reserve(self.pending.len() + 8);
        let mut alive = |cache: &mut SeriesCache, id| {
            if cache.set_alive(id) {
                ingested.appeared.push(cache.series_hash(id));
            }
        };
        for pending in self.pending {
            if pending.tracked {
                alive(cache, pending.series);
            }
            ingested.samples.push((cache.commit(pending.series, pending.sample), pending.sample));
        }
        for id in self.unchanged {
            alive(cache, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use outrigger_model::labels::Labels;
    use outrigger_model::names::NameValidation;
    use outrigger_model::sample::is_stale_nan;
    use proptest::prelude::*;

    use super::*;
    use crate::scrape::relabel_sample::LabelLimits;

    /// What a target does at one tick.
    #[derive(Debug, Clone)]
    enum Tick {
        /// Exposes these series, in this order, some twice, some in another spelling.
        Body(Vec<(u8, bool)>),
        /// The body breaks off after these.
        Broken(Vec<(u8, bool)>),
        Unreachable,
    }

    fn ticks() -> impl Strategy<Value = Vec<Tick>> {
        let series = || prop::collection::vec((0u8..12, any::<bool>()), 0..16);
        let tick = prop_oneof![
            6 => series().prop_map(Tick::Body),
            1 => series().prop_map(Tick::Broken),
            1 => Just(Tick::Unreachable),
        ];
        prop::collection::vec(tick, 1..30)
    }

    fn body(series: &[(u8, bool)], end: &str) -> String {
        let line = |(series, other): &(u8, bool)| {
            if *other {
                format!("m{{ x=\"1\", s=\"{series}\" }} 1\n")
            } else {
                format!("m{{s=\"{series}\",x=\"1\"}} 1\n")
            }
        };
        series.iter().map(line).chain([end.to_owned()]).collect()
    }

    fn name(series: &Series) -> String {
        series.labels().get("s").unwrap_or_default().to_owned()
    }

    proptest! {
        /// Against a set of names: each exposed series has one sample, each that vanished one marker, a failed
        /// scrape is an empty one, and what is not exposed is forgotten in the end.
        #[test]
        fn samples_and_stale_markers_follow_what_is_exposed(ticks in ticks()) {
            let target_labels = Labels::from_pairs([("job", "j")]);
            let rules = SampleRules {
                labels: LabelRules {
                    target_labels: &target_labels,
                    honor_labels: false,
                    metric_relabel: &[],
                    validation: NameValidation::Utf8,
                    limits: LabelLimits::default(),
                },
                honor_timestamps: true,
                track_timestamps_staleness: false,
                sample_limit: 0,
            };
            let mut cache = SeriesCache::new();
            let mut metadata = MetadataWatch::default();
            let mut alive: BTreeSet<String> = BTreeSet::new();
            for (at, tick) in ticks.iter().enumerate() {
                let time = Timestamp::from_millis(at as i64 * 1_000);
                let times = ScrapeTimes { scrape: time, now: time };
                let (exposed, ingested) = match tick {
                    Tick::Body(series) => {
                        let body = body(series, "");
                        (&series[..], ingest(body.as_bytes(), &mut cache, &mut metadata, &rules, times))
                    }
                    Tick::Broken(series) => {
                        let body = body(series, "m{{\n");
                        let ingested = ingest(body.as_bytes(), &mut cache, &mut metadata, &rules, times);
                        prop_assert!(ingested.error.is_some());
                        (&[][..], ingested)
                    }
                    Tick::Unreachable => (&[][..], ingest_nothing(&mut cache, time)),
                };
                let now: BTreeSet<String> = exposed.iter().map(|(series, _)| series.to_string()).collect();
                let mut found: BTreeMap<(String, bool), usize> = BTreeMap::new();
                for (series, sample) in &ingested.samples {
                    prop_assert_eq!(sample.timestamp, time);
                    *found.entry((name(series), is_stale_nan(sample.value))).or_default() += 1;
                }
                let samples = now.iter().map(|series| ((series.clone(), false), 1));
                let markers = alive.difference(&now).map(|series| ((series.clone(), true), 1));
                prop_assert_eq!(found, samples.chain(markers).collect::<BTreeMap<_, _>>());
                prop_assert_eq!(ingested.appeared.len(), now.difference(&alive).count());
                if matches!(tick, Tick::Body(series) if !series.is_empty()) {
                    prop_assert_eq!(ingested.counts.scraped, exposed.len());
                    prop_assert_eq!(ingested.drops.duplicate, exposed.len() - now.len());
                    prop_assert_eq!(cache.series_count(), now.len(), "what is not exposed is forgotten");
                }
                alive = now;
            }
            let live: Vec<u64> = cache.live_hashes().collect();
            prop_assert_eq!(live.len(), alive.len());
        }
    }

    #[test]
    fn series_that_vary_from_one_failing_scrape_to_the_next_do_not_grow_the_cache() {
        let target_labels = Labels::empty();
        let rules = SampleRules {
            labels: LabelRules {
                target_labels: &target_labels,
                honor_labels: false,
                metric_relabel: &[],
                validation: NameValidation::Utf8,
                limits: LabelLimits::default(),
            },
            honor_timestamps: true,
            track_timestamps_staleness: false,
            sample_limit: 0,
        };
        let (mut cache, mut metadata) = (SeriesCache::new(), MetadataWatch::default());
        let mut flushes = 0;
        for scrape in 0..500 {
            let lines: String = (0..10).map(|i| format!("m{{a=\"{scrape}\",b=\"{i}\"}} 1\n")).collect();
            let time = Timestamp::from_millis(scrape);
            let times = ScrapeTimes { scrape: time, now: time };
            let body = format!("{lines}m{{{{\n");
            let ingested = ingest(body.as_bytes(), &mut cache, &mut metadata, &rules, times);
            assert!(ingested.error.is_some());
            flushes += usize::from(ingested.forced_flush);
            assert!(cache.series_count() <= 1_010, "{}", cache.series_count());
        }
        assert!(flushes >= 4, "{flushes}");
    }
}

//! From a response body to samples: parse, relabel, limits, order and staleness, all or nothing
//! (Prometheus `scrapeLoopAppender.append`). Pure: no I/O, the time is handed in.

use std::hash::BuildHasher;
use std::ops::ControlFlow;
use std::sync::Arc;

use outrigger_model::histogram::{Histogram, HistogramError};
use outrigger_model::labels::LabelsBuilder;
use outrigger_model::sample::{Sample, Timestamp};
use outrigger_wire::exposition::{
    Entry, Format, LineParser, MetricType, Options, Parser, ReadError, Reader, Series as Exposed, openmetrics,
};
use rapidhash::fast::GlobalState;

use super::cache::{Order, SeriesCache};
use super::lines::{HASH_MASK, Leads, Line};
use super::metadata::MetadataWatch;
use super::relabel_sample::{LabelRules, SeriesError};
use super::series_limit::SeriesLimits;
use super::start_times::StartTimes;
use crate::batch::{BatchExemplar, BatchHistogram, BatchSample, BatchStart, MetricMetadata};
use crate::series::{SeriesId, hash_labels};

/// Samples further ahead of the wall clock are not taken (Prometheus `scrape.maxAheadTime`).
const MAX_AHEAD_MILLIS: i64 = 10 * 60 * 1_000;

/// So many lines of the layout are tried before a line is looked up: one or two that are gone cost little.
const NEAR: usize = 4;

/// Longest line, and most of a line that is kept until the next piece of the body.
const MAX_CARRY_BYTES: usize = 4 << 20;

/// Why a body was refused as a whole.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The body is not in the format that it claims to be in.
    #[error(transparent)]
    Parse(#[from] ReadError),
    /// A series that may not be.
    #[error(transparent)]
    Series(#[from] SeriesError),
    /// A native histogram that may not be, or has too many buckets even at the lowest resolution.
    #[error("native histogram {series}")]
    Histogram {
        /// The series as it is exposed, shortened.
        series: String,
        /// What is wrong with it.
        source: HistogramError,
    },
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
    pub(crate) series_limits: SeriesLimits<'a>,
    pub(crate) histograms: HistogramRules,
}

/// What is done to native histograms (Prometheus `scrape.bucketLimitAppender`, `maxSchemaAppender`).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HistogramRules {
    /// How they are read.
    pub(crate) options: Options,
    /// `native_histogram_bucket_limit`; 0 is no limit.
    pub(crate) bucket_limit: u64,
    /// The finest schema that `native_histogram_min_bucket_factor` leaves.
    pub(crate) max_schema: Option<i32>,
}

impl HistogramRules {
    fn apply(&self, histogram: &mut Histogram) -> Result<(), HistogramError> {
        if let Some(schema) = self.max_schema {
            histogram.limit_schema(schema)?;
        }
        if self.bucket_limit > 0 {
            histogram.limit_buckets(usize::try_from(self.bucket_limit).unwrap_or(usize::MAX))?;
        }
        histogram.validate()
    }
}

/// What a body led to.
#[derive(Debug, Default)]
pub(crate) struct Ingested {
    /// Samples and stale markers to hand over.
    pub(crate) samples: Vec<BatchSample>,
    /// Native histograms to hand over.
    pub(crate) histograms: Vec<BatchHistogram>,
    /// Exemplars to hand over.
    pub(crate) exemplars: Vec<BatchExemplar>,
    /// Since when series have counted.
    pub(crate) starts: Vec<BatchStart>,
    /// Metadata to hand over.
    pub(crate) metadata: Vec<Arc<MetricMetadata>>,
    pub(crate) counts: Counts,
    pub(crate) drops: Drops,
    /// Series that are alive now and were not before.
    pub(crate) appeared: Vec<SeriesId>,
    /// The cache was flushed although the scrape failed.
    pub(crate) forced_flush: bool,
    /// Lines are no longer there: [`SeriesCache::forget_unreachable`] is to be called after handing over.
    pub(crate) forgotten: bool,
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
    pub(crate) over_series_limit: usize,
    /// Exemplars that may not be.
    pub(crate) exemplars: usize,
    /// Classic histograms that cannot be converted.
    pub(crate) unconverted: usize,
}

/// The two times that matter to a scrape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScrapeTimes {
    /// Timestamp of samples without their own.
    pub(crate) scrape: Timestamp,
    /// The wall clock.
    pub(crate) now: Timestamp,
}

/// A failed scrape is an empty one: every series goes stale.
pub(crate) fn ingest_nothing(cache: &mut SeriesCache, at: Timestamp) -> Ingested {
    cache.begin();
    let mut ingested = Ingested::default();
    end(cache, at, false, &mut ingested);
    ingested
}

/// Ends a scrape: adds the stale markers of what vanished.
fn end(cache: &mut SeriesCache, at: Timestamp, succeeded: bool, ingested: &mut Ingested) {
    ingested.appeared = cache.end(at, &mut ingested.samples);
    let ended = cache.layout.end(succeeded);
    ingested.forced_flush = ended.forced;
    ingested.forgotten = ended.forgotten;
}

/// What reads a body.
enum Reading {
    /// A text format, line by line, with what the layout knows.
    Lines(Format),
    /// Whatever has to be taken apart in full.
    Entries(Box<Reader>),
}

/// One pass over one body, which comes piece by piece. Nothing of it is visible outside the cache's bookkeeping until
/// [`Pass::finish`].
pub(crate) struct Pass<'a> {
    run: Run<'a>,
    metadata: &'a mut MetadataWatch,
    reading: Reading,
    /// The beginning of a line, or of a metric family, whose end is in the next piece.
    carry: Vec<u8>,
    metric_type: MetricType,
    /// Lines in the pieces before.
    lines: usize,
    /// Nothing more is read: the body has ended before its last byte, or is wrong.
    ended: bool,
    error: Option<IngestError>,
    empty: bool,
}

impl<'a> Pass<'a> {
    /// Begins with a body of this format.
    pub(crate) fn new(
        format: Format,
        cache: &'a mut SeriesCache,
        metadata: &'a mut MetadataWatch,
        rules: &'a SampleRules<'a>,
        times: ScrapeTimes,
    ) -> Self {
        cache.begin();
        metadata.begin(times.now);
        let run = Run {
            cache,
            rules,
            times,
            samples: Vec::new(),
            histograms: Vec::new(),
            exemplars: Vec::new(),
            starts: rules.histograms.options.start_timestamps.then(Box::default),
            appended: 0,
            over_sample_limit: false,
            over_bucket_limit: None,
            counts: Counts::default(),
            drops: Drops::default(),
            builder: LabelsBuilder::new(),
            exposed: Vec::new(),
        };
        let options = rules.histograms.options;
        let by_line = match format {
            Format::Text => !options.convert_classic,
            // `x_created` comes after the samples that it is about.
            Format::OpenMetrics => !options.convert_classic && !options.start_timestamps,
            Format::Protobuf => false,
        };
        let reading = match by_line {
            true => Reading::Lines(format),
            false => Reading::Entries(Box::new(Reader::new(format, options))),
        };
        Self {
            run,
            metadata,
            reading,
            carry: Vec::new(),
            metric_type: MetricType::Unknown,
            lines: 0,
            ended: false,
            error: None,
            empty: true,
        }
    }

    /// The body is not read; only whether it is empty matters.
    pub(crate) fn ignore_text(&mut self) {
        self.ended = true;
    }

    /// Bytes of text that are kept until the next piece.
    pub(crate) fn held_bytes(&self) -> usize {
        self.carry.len()
    }

    /// Takes the next piece of the body.
    pub(crate) fn text(&mut self, piece: &[u8]) {
        self.empty &= piece.is_empty();
        if self.ended {
            return;
        }
        match self.reading {
            Reading::Lines(format) => self.lines(format, piece),
            Reading::Entries(_) => self.entries(piece),
        }
    }

    /// Takes the next piece of a body that is read entry by entry.
    fn entries(&mut self, piece: &[u8]) {
        if self.carry.is_empty() {
            let read = self.read_entries(piece, false);
            self.carry.extend_from_slice(&piece[read..]);
            return;
        }
        let mut carry = std::mem::take(&mut self.carry);
        carry.extend_from_slice(piece);
        let read = self.read_entries(&carry, false);
        carry.drain(..read);
        self.carry = carry;
    }

    fn read_entries(&mut self, piece: &[u8], last: bool) -> usize {
        let Reading::Entries(reader) = &mut self.reading else { return piece.len() };
        let (run, metadata) = (&mut self.run, &mut *self.metadata);
        let read = reader.read(piece, last, |entry| {
            let added = run.counts.series_added;
            let taken = match entry {
                Entry::Series(series) => run.take(series, None),
                Entry::Histogram(native) => run.take(native.series, Some(native.histogram)),
                entry => {
                    if let (Entry::Type { name, metric_type }, Some(starts)) = (&entry, &mut run.starts) {
                        starts.see_type(name, *metric_type);
                    }
                    metadata.see_entry(&entry);
                    return ControlFlow::Continue(());
                }
            };
            metadata.see_sample(run.counts.series_added != added);
            match taken {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(error),
            }
        });
        run.drops.unconverted = reader.unconverted();
        let error = match read {
            Ok(ControlFlow::Continue(read)) => return read,
            Ok(ControlFlow::Break(error)) => error,
            Err(error) => error.into(),
        };
        self.error = Some(error);
        self.ended = true;
        piece.len()
    }

    /// Takes the next piece of a body that is read line by line.
    fn lines(&mut self, format: Format, piece: &[u8]) {
        let mut piece = piece;
        if !self.carry.is_empty() {
            let end = memchr::memchr(b'\n', piece).map_or(piece.len(), |at| at + 1);
            let (rest, next) = piece.split_at(end);
            self.carry.extend_from_slice(rest);
            piece = next;
            if !rest.ends_with(b"\n") && self.carry.len() < MAX_CARRY_BYTES {
                return;
            }
            let carry = std::mem::take(&mut self.carry);
            let read = self.read(format, &carry, false);
            self.carry = carry;
            self.carry.drain(..read);
            if self.ended {
                return;
            }
            if !self.carry.is_empty() {
                // A newline within a label value: what looked like a whole line was none.
                self.carry.extend_from_slice(piece);
                return;
            }
        }
        let whole = memchr::memrchr(b'\n', piece).map_or(0, |at| at + 1);
        let read = self.read(format, &piece[..whole], false);
        if !self.ended {
            self.carry.extend_from_slice(&piece[read..]);
        }
    }

    /// Reads whole lines; returns the number of bytes that were read.
    fn read(&mut self, format: Format, lines: &[u8], last: bool) -> usize {
        let metric_type = self.metric_type;
        let (read, result) = match format {
            Format::OpenMetrics => {
                let parser = openmetrics::Parser::resume(lines, metric_type, last);
                self.read_lines(format, parser, lines.len(), last)
            }
            _ => self.read_lines(format, Parser::resume(lines, metric_type), lines.len(), last),
        };
        if let Err(mut error) = result {
            if let IngestError::Parse(ReadError::Line(error)) = &mut error {
                error.line += self.lines;
            }
            self.error = Some(error);
            self.ended = true;
        }
        self.lines += memchr::memchr_iter(b'\n', &lines[..read.min(lines.len())]).count();
        read
    }

    fn read_lines<'b>(
        &mut self,
        format: Format,
        mut parser: impl LineParser<'b>,
        length: usize,
        last: bool,
    ) -> (usize, Result<(), IngestError>) {
        loop {
            match self.known(&mut parser) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => return (length, Err(error)),
            }
            let start = parser.line_start();
            if start >= length && !last {
                return (length, Ok(()));
            }
            match parser.next() {
                None => {
                    self.ended = true;
                    return (length, Ok(()));
                }
                Some(Ok(entry)) => {
                    let line = parser.consumed_since(start);
                    if let Err(error) = self.entry(format, entry, line) {
                        return (length, Err(error));
                    }
                }
                // What is wrong here may be right with the next piece.
                Some(Err(_)) if !last && length - start < MAX_CARRY_BYTES => return (start, Ok(())),
                Some(Err(error)) => return (length, Err(ReadError::from(error).into())),
            }
        }
    }

    /// Takes the next line if it is one that the layout expects about here.
    #[inline]
    fn known<'b>(&mut self, parser: &mut impl LineParser<'b>) -> Result<bool, IngestError> {
        let near = if self.run.cache.layout.has_order() { NEAR } else { 0 };
        let mut skip = 0;
        while let Some(line) = self.run.cache.layout.expected(skip) {
            let found = parser
                .upcoming(line.length as usize)
                .is_some_and(|upcoming| hash_line(upcoming) == line.hash);
            if found {
                return self.take_known(parser, line, skip);
            }
            skip += 1;
            if skip > near {
                break;
            }
        }
        Ok(false)
    }

    #[inline]
    fn take_known<'b>(
        &mut self,
        parser: &mut impl LineParser<'b>,
        line: Line,
        skip: usize,
    ) -> Result<bool, IngestError> {
        let length = line.length as usize;
        let leads = line.leads();
        match leads {
            Leads::Type(_) | Leads::Comment => {
                if self.metadata.reads_known(self.run.counts.scraped) {
                    return Ok(false);
                }
                let text = parser.upcoming(length).unwrap_or_default();
                if !parser.pass_known_line(length) {
                    return Ok(false);
                }
                self.metadata.step_over(text);
                if let Leads::Type(metric_type) = leads {
                    parser.set_metric_type(metric_type);
                    self.metric_type = metric_type;
                }
                self.run.cache.layout.take_expected(skip);
            }
            Leads::Dropped | Leads::OverLimit | Leads::Series(_) => {
                let Some(series) = parser.next_known_length(length) else { return Ok(false) };
                let repeated = self.run.cache.layout.take_expected(skip);
                self.run.take_known(&series.map_err(ReadError::from)?, leads, repeated);
            }
        }
        Ok(true)
    }

    fn entry(&mut self, format: Format, entry: Entry<'_>, line: &[u8]) -> Result<(), IngestError> {
        let added = self.run.counts.series_added;
        let leads = match entry {
            Entry::Series(series) => {
                self.run.take(series, None)?;
                if self.run.counts.series_added != added {
                    self.metadata.want(format);
                }
                return Ok(());
            }
            Entry::Histogram(native) => return self.run.take(native.series, Some(native.histogram)),
            Entry::Type { metric_type, .. } => {
                self.metric_type = metric_type;
                Leads::Type(metric_type)
            }
            Entry::Help { .. } | Entry::Unit { .. } | Entry::Comment(_) => Leads::Comment,
        };
        let mut read = self.metadata.reads_known(self.run.counts.scraped);
        let hash = hash_line(line);
        let layout = &mut self.run.cache.layout;
        if layout.take(hash, line.len()).is_none() {
            layout.insert(hash, line.len(), leads);
            if !matches!(entry, Entry::Comment(_)) {
                self.metadata.see_change(format);
                read = true;
            }
        }
        match read {
            true => self.metadata.see(&entry),
            false => self.metadata.step_over(line),
        }
        Ok(())
    }

    /// The whole body was read.
    pub(crate) fn finish(mut self) -> Ingested {
        let carry = std::mem::take(&mut self.carry);
        if !self.ended && !self.empty {
            match self.reading {
                Reading::Lines(format) => self.read(format, &carry, true),
                Reading::Entries(_) => self.read_entries(&carry, true),
            };
        }
        let mut run = self.run;
        let over_bucket_limit = run.over_bucket_limit.take();
        let error =
            self.error.or(run.over_sample_limit.then_some(IngestError::SampleLimit)).or(over_bucket_limit);
        let mut ingested = Ingested { counts: run.counts, ..Ingested::default() };
        let (cache, times) = (run.cache, run.times);
        // An empty body is an empty scrape: every series goes stale, but nothing is forgotten.
        let succeeded = error.is_none() && !self.empty;
        match error {
            None => {
                cache.commit(&run.samples, &run.histograms, times.scrape);
                ingested.samples = run.samples;
                ingested.histograms = run.histograms;
                ingested.exemplars = cache.admit_exemplars(run.exemplars);
                ingested.starts = run.starts.map(|starts| starts.resolve()).unwrap_or_default();
                ingested.drops = run.drops;
                if self.empty {
                    self.metadata.fail();
                } else {
                    ingested.metadata = self.metadata.succeed(times.now);
                }
            }
            Some(error) => {
                // Samples left out of a scrape that failed as a whole are not lost for their own reason.
                cache.fail();
                self.metadata.fail();
                ingested.error = Some(error);
            }
        }
        end(cache, times.scrape, succeeded, &mut ingested);
        ingested
    }

    /// The body was not read to its end: nothing of it counts.
    pub(crate) fn abandon(self) {
        self.run.cache.abandon();
        self.metadata.fail();
    }
}

#[inline]
fn hash_line(line: &[u8]) -> u64 {
    GlobalState::default().hash_one(line) & HASH_MASK
}

/// The samples of a pass.
struct Run<'a> {
    cache: &'a mut SeriesCache,
    rules: &'a SampleRules<'a>,
    times: ScrapeTimes,
    samples: Vec<BatchSample>,
    histograms: Vec<BatchHistogram>,
    exemplars: Vec<BatchExemplar>,
    /// Where they are wanted.
    starts: Option<Box<StartTimes>>,
    /// Samples counted towards `sample_limit`.
    appended: u64,
    over_sample_limit: bool,
    /// The first native histogram with too many buckets.
    over_bucket_limit: Option<IngestError>,
    counts: Counts,
    drops: Drops,
    builder: LabelsBuilder,
    /// Scratch space for the labels of one series.
    exposed: Vec<(String, String)>,
}

/// What became of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Appended,
    OverLimit,
    LeftOut,
}

/// A sample with what decides about it.
struct Offered {
    sample: Sample,
    /// It has a time of its own.
    own_time: bool,
    histogram: Option<Box<Histogram>>,
    /// The histogram has more buckets than it may have.
    too_large: bool,
}

/// What the sample says about its exemplars.
#[derive(Clone, Copy)]
struct ExemplarRules {
    /// That of those without their own.
    timestamp: Timestamp,
    /// Those of native histograms need their own.
    native: bool,
}

impl ExemplarRules {
    fn of(offered: &Offered) -> Self {
        Self { timestamp: offered.sample.timestamp, native: offered.histogram.is_some() }
    }
}

/// The order of Prometheus' `exemplar.Compare`, that of labels with equal values left out.
fn by_time_and_value(a: &BatchExemplar, b: &BatchExemplar) -> std::cmp::Ordering {
    a.timestamp.cmp(&b.timestamp).then(a.exemplar.value.total_cmp(&b.exemplar.value))
}

impl Run<'_> {
    fn offered(&self, exposed: &Exposed<'_>, histogram: Option<Box<Histogram>>) -> Offered {
        let own = exposed.timestamp.filter(|_| self.rules.honor_timestamps);
        let value = histogram.as_ref().map_or(exposed.value, |histogram| histogram.sum);
        let sample = Sample { timestamp: own.unwrap_or(self.times.scrape), value };
        Offered { sample, own_time: own.is_some(), histogram, too_large: false }
    }

    /// A sample of a line that is known.
    #[inline]
    fn take_known(&mut self, exposed: &Exposed<'_>, leads: Leads, repeated: bool) {
        self.counts.scraped += 1;
        let Leads::Series(id) = leads else {
            if leads == Leads::OverLimit {
                self.leave_out_over_limit(exposed);
            }
            return;
        };
        self.counts.post_metric_relabeling += 1;
        let offered = self.offered(exposed, None);
        if repeated && !offered.own_time {
            self.drops.duplicate += 1;
            return;
        }
        let of = ExemplarRules::of(&offered);
        if self.append(id, offered) == Fate::Appended {
            self.append_exemplars(id, exposed, of);
        }
    }

    /// Any sample.
    fn take(&mut self, exposed: Exposed<'_>, histogram: Option<Box<Histogram>>) -> Result<(), IngestError> {
        if self.starts.as_mut().is_some_and(|starts| starts.take_created(&exposed)) {
            return Ok(());
        }
        let text = exposed.raw();
        let hash = hash_line(text);
        let layout = &mut self.cache.layout;
        if let Some(found) = layout.take(hash, text.len()) {
            self.counts.scraped += 1;
            let Leads::Series(id) = found.leads else {
                if found.leads == Leads::OverLimit {
                    self.leave_out_over_limit(&exposed);
                }
                return Ok(());
            };
            let mut offered = self.offered(&exposed, histogram);
            if found.repeated && !offered.own_time {
                self.drops.duplicate += 1;
            } else {
                self.limit(&mut offered, text)?;
                let of = ExemplarRules::of(&offered);
                if self.append(id, offered) == Fate::Appended {
                    self.append_exemplars(id, &exposed, of);
                }
            }
        } else {
            self.counts.scraped += 1;
            let offered = self.offered(&exposed, histogram);
            if !self.take_unknown(&exposed, hash, offered)? {
                return Ok(());
            }
        }
        self.counts.post_metric_relabeling += 1;
        Ok(())
    }

    /// Limits a native histogram. If it has too many buckets even so, the rest of the body is only counted.
    fn limit(&mut self, offered: &mut Offered, text: &[u8]) -> Result<(), IngestError> {
        let Some(histogram) = &mut offered.histogram else { return Ok(()) };
        let Err(source) = self.rules.histograms.apply(histogram) else { return Ok(()) };
        offered.too_large = source == HistogramError::BucketLimit;
        let series = String::from_utf8_lossy(&text[..text.len().min(200)]).replace('\u{fffd}', " ");
        let error = IngestError::Histogram { series, source };
        if !offered.too_large {
            return Err(error);
        }
        self.over_bucket_limit.get_or_insert(error);
        Ok(())
    }

    /// A sample of a series that a series limit leaves out; it counts as if it had been taken.
    fn leave_out_over_limit(&mut self, exposed: &Exposed<'_>) {
        self.counts.post_metric_relabeling += 1;
        if self.admit(&self.offered(exposed, None)) == Fate::Appended {
            self.drops.over_series_limit += 1;
        }
    }

    /// False when the series was noted already: metric relabelling drops it, or a series limit leaves it out.
    fn take_unknown(
        &mut self,
        exposed: &Exposed<'_>,
        hash: u64,
        offered: Offered,
    ) -> Result<bool, IngestError> {
        let mut offered = offered;
        let length = exposed.raw().len();
        self.exposed.clear();
        exposed.for_each_label(|name, value| self.exposed.push((name.to_owned(), value.to_owned())));
        if !self.rules.labels.apply(&self.exposed, &mut self.builder)? {
            self.cache.layout.insert(hash, length, Leads::Dropped);
            return Ok(false);
        }
        let labels_hash = hash_labels(self.builder.iter());
        let limits = self.rules.series_limits;
        if limits.are_there() && !limits.admit(labels_hash) {
            self.cache.layout.insert(hash, length, Leads::OverLimit);
            self.leave_out_over_limit(exposed);
            return Ok(false);
        }
        self.limit(&mut offered, exposed.raw())?;
        let of = ExemplarRules::of(&offered);
        let found = self.cache.find(labels_hash, &self.builder);
        // What was known before the lines were forgotten is not new.
        let is_known = found.is_some() && self.cache.layout.is_cleared();
        let (id, fate) = match found {
            Some(id) => (id, self.append(id, offered)),
            None => match self.admit_new(labels_hash, &offered) {
                Fate::Appended => {
                    let id = self.cache.insert(labels_hash, &self.builder);
                    if offered.own_time {
                        self.cache.remember_own_times();
                    }
                    self.push(id, offered);
                    (id, Fate::Appended)
                }
                _ => return Ok(true),
            },
        };
        // Only a series that was taken is remembered: one that was not needs no stale marker later.
        if fate == Fate::Appended {
            self.cache.layout.insert(hash, length, Leads::Series(id));
            self.append_exemplars(id, exposed, of);
            if !is_known && !self.over_sample_limit && self.over_bucket_limit.is_none() {
                self.counts.series_added += 1;
            }
        }
        Ok(true)
    }

    /// Whether a series that is not known gets its first sample; it may have had others before it was forgotten.
    fn admit_new(&mut self, labels_hash: u64, offered: &Offered) -> Fate {
        let fate = self.admit(offered);
        let Some(last) = self.cache.departed(labels_hash) else { return fate };
        let drops = match offered.sample.timestamp.cmp(&last) {
            std::cmp::Ordering::Greater => return fate,
            _ if fate != Fate::Appended => return fate,
            std::cmp::Ordering::Equal => &mut self.drops.duplicate,
            std::cmp::Ordering::Less => &mut self.drops.out_of_order,
        };
        *drops += 1;
        Fate::LeftOut
    }

    fn append(&mut self, id: SeriesId, offered: Offered) -> Fate {
        match self.admit(&offered) {
            Fate::Appended => {}
            fate => return fate,
        }
        let pending = self.samples.iter().map(|sample| (sample.series, sample.timestamp));
        let histograms = self.histograms.iter().map(|sample| (sample.series, sample.timestamp));
        match self.cache.order(id, offered.sample, offered.own_time, pending.chain(histograms)) {
            Order::Newer => self.push(id, offered),
            Order::Repeated => {
                if self.is_tracked(&offered) {
                    self.cache.set_alive(id);
                }
            }
            Order::Duplicate => {
                self.drops.duplicate += 1;
                return self.fate_of_conflict(id, &offered);
            }
            Order::Older => {
                self.drops.out_of_order += 1;
                return self.fate_of_conflict(id, &offered);
            }
        }
        Fate::Appended
    }

    /// Prometheus notices two samples of one scrape that contradict each other only when it commits: until then the
    /// second counts as taken, and its line is remembered.
    fn fate_of_conflict(&mut self, id: SeriesId, offered: &Offered) -> Fate {
        if !self.cache.is_pending(id) {
            return Fate::LeftOut;
        }
        if self.is_tracked(offered) {
            self.cache.set_alive(id);
        }
        Fate::Appended
    }

    /// Whether the series goes stale when it is no longer exposed.
    fn is_tracked(&self, offered: &Offered) -> bool {
        !offered.own_time || self.rules.track_timestamps_staleness
    }

    /// The bucket limit, `sample_limit`, then the time limit, in Prometheus' order (`appenderWithLimits`).
    #[inline]
    fn admit(&mut self, offered: &Offered) -> Fate {
        if offered.too_large {
            return Fate::OverLimit;
        }
        self.appended += 1;
        if self.rules.sample_limit > 0 && self.appended > self.rules.sample_limit {
            // Parsing goes on so that the number of samples reported is right.
            self.over_sample_limit = true;
            return Fate::OverLimit;
        }
        if offered.sample.timestamp.since(self.times.now) > MAX_AHEAD_MILLIS {
            self.drops.out_of_bounds += 1;
            return Fate::LeftOut;
        }
        Fate::Appended
    }

    #[inline]
    fn push(&mut self, series: SeriesId, offered: Offered) {
        let timestamp = offered.sample.timestamp;
        self.cache.set_pending(series, timestamp);
        if self.is_tracked(&offered) {
            self.cache.set_alive(series);
        }
        match offered.histogram {
            None => self.samples.push(BatchSample { series, timestamp, value: offered.sample.value }),
            Some(histogram) => self.histograms.push(BatchHistogram { series, timestamp, histogram }),
        }
    }

    fn append_exemplars(&mut self, series: SeriesId, exposed: &Exposed<'_>, of: ExemplarRules) {
        if let Some(starts) = &mut self.starts {
            starts.note(series, exposed);
        }
        self.drops.exemplars += exposed.unfit_exemplars();
        let before = self.exemplars.len();
        for exemplar in exposed.exemplars() {
            if of.native && exemplar.timestamp.is_none() {
                self.drops.exemplars += 1;
                continue;
            }
            let timestamp = exemplar.timestamp.unwrap_or(of.timestamp);
            self.exemplars.push(BatchExemplar { series, timestamp, exemplar: exemplar.clone() });
        }
        if self.exemplars.len() > before + 1 {
            self.exemplars[before..].sort_by(by_time_and_value);
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

    fn name(cache: &SeriesCache, series: SeriesId) -> String {
        cache.table().to_labels(series).get("s").unwrap_or_default().to_owned()
    }

    /// Reads a body in pieces of this many bytes, as it comes off the wire.
    fn ingest(
        body: &[u8],
        piece: usize,
        cache: &mut SeriesCache,
        metadata: &mut MetadataWatch,
        rules: &SampleRules<'_>,
        times: ScrapeTimes,
    ) -> Ingested {
        let mut pass = Pass::new(Format::Text, cache, metadata, rules, times);
        body.chunks(piece).for_each(|piece| pass.text(piece));
        pass.finish()
    }

    /// What becomes of the cache after handing over.
    fn settle(cache: &mut SeriesCache, ingested: &Ingested) {
        if ingested.forgotten {
            cache.forget_unreachable();
        }
        cache.settle();
    }

    proptest! {
        /// Against a set of names: each exposed series has one sample unless the scrape fails, each that vanished one
        /// marker, what was read before a failure has not vanished, and what is not exposed is forgotten in the end.
        #[test]
        fn samples_and_stale_markers_follow_what_is_exposed(ticks in ticks(), piece in 1usize..200) {
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
                series_limits: SeriesLimits::default(),
                histograms: HistogramRules::default(),
            };
            let mut cache = SeriesCache::default();
            let mut metadata = MetadataWatch::default();
            let mut alive: BTreeSet<String> = BTreeSet::new();
            for (at, tick) in ticks.iter().enumerate() {
                let time = Timestamp::from_millis(at as i64 * 1_000);
                let times = ScrapeTimes { scrape: time, now: time };
                let (exposed, ingested) = match tick {
                    Tick::Body(series) => {
                        let body = body(series, "");
                        (&series[..], ingest(body.as_bytes(), piece, &mut cache, &mut metadata, &rules, times))
                    }
                    Tick::Broken(series) => {
                        let body = body(series, "m{{\n");
                        let ingested = ingest(body.as_bytes(), piece, &mut cache, &mut metadata, &rules, times);
                        prop_assert!(ingested.error.is_some());
                        (&series[..], ingested)
                    }
                    Tick::Unreachable => (&[][..], ingest_nothing(&mut cache, time)),
                };
                let now: BTreeSet<String> = exposed.iter().map(|(series, _)| series.to_string()).collect();
                let mut found: BTreeMap<(String, bool), usize> = BTreeMap::new();
                for sample in &ingested.samples {
                    prop_assert_eq!(sample.timestamp, time);
                    *found.entry((name(&cache, sample.series), is_stale_nan(sample.value))).or_default() += 1;
                }
                let failed = ingested.error.is_some();
                let samples = now.iter().filter(|_| !failed).map(|series| ((series.clone(), false), 1));
                let markers = alive.difference(&now).map(|series| ((series.clone(), true), 1));
                prop_assert_eq!(found, samples.chain(markers).collect::<BTreeMap<_, _>>());
                prop_assert_eq!(ingested.appeared.len(), now.difference(&alive).count());
                settle(&mut cache, &ingested);
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
            series_limits: SeriesLimits::default(),
            histograms: HistogramRules::default(),
        };
        let (mut cache, mut metadata) = (SeriesCache::default(), MetadataWatch::default());
        let mut flushes = 0;
        for scrape in 0..500 {
            let lines: String = (0..10).map(|i| format!("m{{a=\"{scrape}\",b=\"{i}\"}} 1\n")).collect();
            let time = Timestamp::from_millis(scrape);
            let times = ScrapeTimes { scrape: time, now: time };
            let body = format!("{lines}m{{{{\n");
            let ingested = ingest(body.as_bytes(), 1 << 20, &mut cache, &mut metadata, &rules, times);
            assert!(ingested.error.is_some());
            flushes += usize::from(ingested.forced_flush);
            settle(&mut cache, &ingested);
            assert!(cache.series_count() <= 1_010, "{}", cache.series_count());
        }
        assert!(flushes >= 4, "{flushes}");
    }
}

//! Remote write 2.0: the protobuf message `io.prometheus.write.v2.Request`, not compressed
//! (<https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/>, `prompb/io/prometheus/write/v2/types.proto`).
//!
//! Each text of a request, a symbol, is in it once; series refer to symbols by number. [`RequestBuilder`] numbers them; its
//! caller keeps the numbers of what occurs again and again.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use outrigger_model::histogram::Histogram;
use outrigger_model::labels::{Labels, METRIC_NAME};
use outrigger_model::sample::{Exemplar, Sample, Timestamp};
use rapidhash::fast::GlobalState;

use super::{
    MetricMetadata, TimeSeries, WriteRequest, decode_sample, histogram, metric_type_of, put_exemplar_value,
    time_len,
};
use crate::exposition::MetricType;
use crate::protobuf::{ProtobufError, Reader, Writer, put_varint};

/// `Content-Type` parameter `proto`, and the name in `protobuf_message`.
pub const MESSAGE: &str = "io.prometheus.write.v2.Request";

/// Fields of `Request`.
const SYMBOLS: u32 = 4;
const TIMESERIES: u32 = 5;
/// Fields of `TimeSeries`.
const LABELS_REFS: u32 = 1;
const SAMPLES: u32 = 2;
const HISTOGRAMS: u32 = 3;
const EXEMPLARS: u32 = 4;
const METADATA: u32 = 5;
/// Field `start_timestamp` of `Sample` and of `Histogram`.
const SAMPLE_START: u32 = 3;
const HISTOGRAM_START: u32 = 17;

/// Keys of those fields where they are written by hand.
const LABELS_REFS_KEY: u8 = (LABELS_REFS << 3 | 2) as u8;
const SAMPLES_KEY: u8 = (SAMPLES << 3 | 2) as u8;
const METADATA_KEY: u8 = (METADATA << 3 | 2) as u8;
const TIMESERIES_KEY: u8 = (TIMESERIES << 3 | 2) as u8;

/// A request under construction. Its memory serves again after [`clear`](Self::clear).
#[derive(Debug, Default)]
pub struct RequestBuilder {
    /// The symbols as fields of the message.
    symbols: Vec<u8>,
    /// Where each symbol's text is in `symbols`, from the second on; the first is empty.
    spans: Vec<(u32, u32)>,
    index: HashTable<u32>,
    /// The series as fields of the message, in the order in which they came.
    series: Vec<u8>,
    /// Of each series, the symbol of its metric name and where it begins in `series`.
    places: Vec<(u32, u32)>,
}

impl RequestBuilder {
    /// A request without series.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of `text`.
    pub fn symbol(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let hash = GlobalState::default().hash_one(text.as_bytes());
        let (symbols, spans) = (&mut self.symbols, &mut self.spans);
        let of = |spans: &[(u32, u32)], at: u32| {
            let (start, end) = spans[at as usize - 1];
            start as usize..end as usize
        };
        let known = self.index.find(hash, |&at| symbols[of(spans, at)] == *text.as_bytes());
        if let Some(&at) = known {
            return at;
        }
        Writer::new(symbols).string(SYMBOLS, text);
        spans.push(((symbols.len() - text.len()) as u32, symbols.len() as u32));
        let at = spans.len() as u32;
        let rehash = |&at: &u32| GlobalState::default().hash_one(&symbols[of(spans, at)]);
        self.index.insert_unique(hash, at, rehash);
        at
    }

    /// Adds a series with one sample. `metric` is the number of its metric name; `labels` are the numbers of names and
    /// values, in order of name, as varints; `metadata` is from [`put_metadata`](Self::put_metadata) or empty.
    #[inline]
    pub fn put_sample(&mut self, metric: u32, labels: &[u8], sample: Sample, metadata: &[u8]) {
        self.places.push((metric, self.series.len() as u32));
        // A value of zero is written, too, although it need not be: series of equal length compress better.
        let sample_bytes = 9 + time_len(sample.timestamp);
        let metadata_bytes = if metadata.is_empty() { 0 } else { metadata.len() + 2 };
        let length = labels.len() + 1 + crate::protobuf::varint_len(labels.len() as u64) + 2 + sample_bytes;
        let into = &mut self.series;
        into.reserve(length + metadata_bytes + 6);
        into.push(TIMESERIES_KEY);
        put_varint((length + metadata_bytes) as u64, into);
        // Fields may stand in any order; in this one what differs from series to series stands together, which compresses
        // better.
        into.push(SAMPLES_KEY);
        into.push(sample_bytes as u8);
        if sample.timestamp.millis() != 0 {
            into.push(0x10);
            put_varint(sample.timestamp.millis().cast_unsigned(), into);
        }
        into.push(0x09);
        into.extend_from_slice(&sample.value.to_le_bytes());
        into.push(LABELS_REFS_KEY);
        put_varint(labels.len() as u64, into);
        into.extend_from_slice(labels);
        if metadata_bytes > 0 {
            into.push(METADATA_KEY);
            into.push(metadata.len() as u8);
            into.extend_from_slice(metadata);
        }
    }

    /// Adds a series with one sample or native histogram, since when it has counted, and exemplars; see
    /// [`put_sample`](Self::put_sample).
    pub fn put_series(
        &mut self,
        metric: u32,
        labels: &[u8],
        value: Option<&Value<'_>>,
        start: Option<Timestamp>,
        exemplars: &[(Timestamp, &Exemplar)],
        metadata: &[u8],
    ) {
        let exemplars: Vec<Vec<u8>> =
            exemplars.iter().map(|(time, exemplar)| self.exemplar(*time, exemplar)).collect();
        self.places.push((metric, self.series.len() as u32));
        Writer::new(&mut self.series).message(TIMESERIES, |series| {
            series.bytes(LABELS_REFS, labels);
            match value {
                Some(Value::Sample(sample)) => put_started_sample(*sample, start, series),
                Some(Value::Histogram(timestamp, histogram)) => {
                    put_started_histogram(*timestamp, histogram, start, series);
                }
                None => {}
            }
            exemplars.iter().for_each(|exemplar| series.bytes(EXEMPLARS, exemplar));
            if !metadata.is_empty() {
                series.bytes(METADATA, metadata);
            }
        });
    }

    fn exemplar(&mut self, timestamp: Timestamp, exemplar: &Exemplar) -> Vec<u8> {
        let mut refs = Vec::new();
        for (name, value) in &exemplar.labels {
            let (name, value) = (self.symbol(name), self.symbol(value));
            put_varint(u64::from(name), &mut refs);
            put_varint(u64::from(value), &mut refs);
        }
        let mut message = Vec::with_capacity(refs.len() + 24);
        let mut writer = Writer::new(&mut message);
        if !refs.is_empty() {
            writer.bytes(1, &refs);
        }
        put_exemplar_value(timestamp, exemplar, &mut writer);
        message
    }

    /// Appends what a series says about itself, for [`put_sample`](Self::put_sample); at most 14 bytes.
    pub fn put_metadata(&mut self, metadata: &MetricMetadata, into: &mut Vec<u8>) {
        let (help, unit) = (self.symbol(&metadata.help), self.symbol(&metadata.unit));
        let mut message = Writer::new(into);
        for (field, number) in [(1, metadata.metric_type as u32), (3, help), (4, unit)] {
            if number != 0 {
                message.varint(field, u64::from(number));
            }
        }
    }

    /// Bytes of the message so far.
    pub fn len(&self) -> usize {
        self.symbols.len() + self.series.len() + 2
    }

    /// Whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Appends the message. Series of one metric stand together, which compresses better; those of one metric, and so the
    /// samples of one series, stay in the order in which they came.
    pub fn write(&self, into: &mut Vec<u8>) {
        into.reserve(self.len());
        Writer::new(into).string(SYMBOLS, "");
        into.extend_from_slice(&self.symbols);
        for at in self.order() {
            let at = at as usize;
            let end = self.places.get(at + 1).map_or(self.series.len(), |(_, next)| *next as usize);
            into.extend_from_slice(&self.series[self.places[at].1 as usize..end]);
        }
    }

    /// The numbers of the series by metric, by counting.
    fn order(&self) -> Vec<u32> {
        let mut next = vec![0u32; self.spans.len() + 2];
        for (metric, _) in &self.places {
            next[*metric as usize + 1] += 1;
        }
        for at in 1..next.len() {
            next[at] += next[at - 1];
        }
        let mut order = vec![0; self.places.len()];
        for (at, (metric, _)) in self.places.iter().enumerate() {
            let place = &mut next[*metric as usize];
            order[*place as usize] = at as u32;
            *place += 1;
        }
        order
    }

    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.symbols.clear();
        self.spans.clear();
        self.index.clear();
        self.series.clear();
        self.places.clear();
    }
}

/// What a series has at one time.
#[derive(Debug, Clone, Copy)]
pub enum Value<'v> {
    /// A float.
    Sample(Sample),
    /// A native histogram.
    Histogram(Timestamp, &'v Histogram),
}

/// Appends what was decoded. `request.metadata`, which only version 1.0 has, is left out.
pub fn put_request(request: &WriteRequest, into: &mut Vec<u8>) {
    let mut builder = RequestBuilder::new();
    for series in &request.series {
        let mut refs = Vec::new();
        let mut metric = 0;
        for (name, value) in &series.labels {
            let (key, value) = (builder.symbol(name), builder.symbol(value));
            put_varint(u64::from(key), &mut refs);
            put_varint(u64::from(value), &mut refs);
            if name == METRIC_NAME {
                metric = value;
            }
        }
        builder.places.push((metric, builder.series.len() as u32));
        let mut metadata = Vec::new();
        if let Some(known) = &series.metadata {
            builder.put_metadata(known, &mut metadata);
        }
        let exemplars: Vec<_> = series
            .exemplars
            .iter()
            .map(|exemplar| builder.exemplar(exemplar.timestamp.unwrap_or_default(), exemplar))
            .collect();
        Writer::new(&mut builder.series).message(TIMESERIES, |message| {
            message.bytes(LABELS_REFS, &refs);
            let start = series.start;
            series.samples.iter().for_each(|sample| put_started_sample(*sample, start, message));
            for (timestamp, histogram) in &series.histograms {
                put_started_histogram(*timestamp, histogram, start, message);
            }
            exemplars.iter().for_each(|exemplar| message.bytes(EXEMPLARS, exemplar));
            if !metadata.is_empty() {
                message.bytes(METADATA, &metadata);
            }
        });
    }
    builder.write(into);
}

fn put_started_sample(sample: Sample, start: Option<Timestamp>, series: &mut Writer<'_>) {
    let Some(start) = start else { return super::put_sample(sample, series) };
    series.message(SAMPLES, |message| {
        message.double(1, sample.value);
        message.int(2, sample.timestamp.millis());
        message.int(SAMPLE_START, start.millis());
    });
}

fn put_started_histogram(
    timestamp: Timestamp,
    histogram: &Histogram,
    start: Option<Timestamp>,
    series: &mut Writer<'_>,
) {
    series.message(HISTOGRAMS, |message| {
        histogram::put(timestamp, histogram, message);
        if let Some(start) = start {
            message.int(HISTOGRAM_START, start.millis());
        }
    });
}

/// The field `start_timestamp` of a sample or histogram; zero is none.
fn decode_start(message: &[u8], start: u32) -> Result<Option<Timestamp>, ProtobufError> {
    let mut millis = 0;
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        if number == start {
            millis = field.int64(number)?;
        }
    }
    Ok((millis != 0).then(|| Timestamp::from_millis(millis)))
}

/// Why bytes are no request of version 2.0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They are no protobuf message of this shape.
    #[error(transparent)]
    Protobuf(#[from] ProtobufError),
    /// The first symbol is not the empty one.
    #[error("the first symbol is not empty")]
    FirstSymbol,
    /// A number beyond the symbols.
    #[error("symbol {reference} of {symbols} is referred to")]
    Reference {
        /// The number.
        reference: u64,
        /// How many symbols there are.
        symbols: usize,
    },
    /// A name without a value.
    #[error("labels_refs has an odd number of references ({0})")]
    OddReferences(usize),
}

/// Decodes a request that is not compressed. Unknown fields are stepped over. Metadata is that of each series.
///
/// # Errors
/// When the bytes are no such message.
pub fn decode(message: &[u8]) -> Result<WriteRequest, DecodeError> {
    let mut symbols = Vec::new();
    let mut encoded = Vec::new();
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            SYMBOLS => symbols.push(field.text(number)?),
            TIMESERIES => encoded.push(field.bytes(number)?),
            _ => {}
        }
    }
    if symbols.first().is_some_and(|first| !first.is_empty()) {
        return Err(DecodeError::FirstSymbol);
    }
    let symbols = Symbols(symbols);
    let series = encoded.into_iter().map(|series| decode_series(series, &symbols));
    Ok(WriteRequest { series: series.collect::<Result<_, _>>()?, metadata: Vec::new() })
}

struct Symbols<'m>(Vec<&'m str>);

impl<'m> Symbols<'m> {
    fn get(&self, reference: u64) -> Result<&'m str, DecodeError> {
        let found = usize::try_from(reference).ok().and_then(|at| self.0.get(at));
        found.copied().ok_or(DecodeError::Reference { reference, symbols: self.0.len() })
    }

    fn pairs(&self, references: &[u64]) -> Result<Vec<(String, String)>, DecodeError> {
        let (pairs, rest) = references.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(DecodeError::OddReferences(references.len()));
        }
        pairs
            .iter()
            .map(|[name, value]| Ok((self.get(*name)?.to_owned(), self.get(*value)?.to_owned())))
            .collect()
    }
}

fn decode_series(message: &[u8], symbols: &Symbols<'_>) -> Result<TimeSeries, DecodeError> {
    let mut series = TimeSeries::default();
    let mut references = Vec::new();
    let mut reader = Reader::new(message);
    let mut metadata = None;
    while let Some((number, field)) = reader.next_field()? {
        match number {
            LABELS_REFS => read_references(number, field, &mut references)?,
            SAMPLES => {
                let sample = field.bytes(number)?;
                series.samples.push(decode_sample(sample)?);
                series.start = decode_start(sample, SAMPLE_START)?.or(series.start);
            }
            HISTOGRAMS => {
                let sample = field.bytes(number)?;
                series.histograms.push(histogram::decode(sample)?);
                series.start = decode_start(sample, HISTOGRAM_START)?.or(series.start);
            }
            EXEMPLARS => series.exemplars.push(decode_exemplar(field.bytes(number)?, symbols)?),
            METADATA => metadata = Some(decode_metadata(field.bytes(number)?, symbols)?),
            _ => {}
        }
    }
    series.labels = symbols.pairs(&references)?;
    series.metadata = metadata.map(|mut metadata| {
        let name = series.labels.iter().find(|(name, _)| name == METRIC_NAME);
        metadata.family = name.map_or("", |(_, value)| value).into();
        metadata
    });
    Ok(series)
}

fn read_references(
    number: u32,
    field: crate::protobuf::Field<'_>,
    into: &mut Vec<u64>,
) -> Result<(), ProtobufError> {
    match field {
        crate::protobuf::Field::Bytes(packed) => histogram::unpack(packed, into),
        field => {
            into.push(field.varint(number)?);
            Ok(())
        }
    }
}

fn decode_exemplar(message: &[u8], symbols: &Symbols<'_>) -> Result<Exemplar, DecodeError> {
    let mut references = Vec::new();
    let (mut value, mut millis) = (0.0, 0);
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => read_references(number, field, &mut references)?,
            2 => value = field.double(number)?,
            3 => millis = field.int64(number)?,
            _ => {}
        }
    }
    let labels = Labels::from_pairs(symbols.pairs(&references)?);
    Ok(Exemplar { labels, value, timestamp: Some(Timestamp::from_millis(millis)) })
}

fn decode_metadata(message: &[u8], symbols: &Symbols<'_>) -> Result<MetricMetadata, DecodeError> {
    let mut metadata = MetricMetadata {
        metric_type: MetricType::Unknown,
        family: "".into(),
        help: "".into(),
        unit: "".into(),
    };
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => metadata.metric_type = metric_type_of(field.varint(number)?),
            3 => metadata.help = symbols.get(field.varint(number)?)?.into(),
            4 => metadata.unit = symbols.get(field.varint(number)?)?.into(),
            _ => {}
        }
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests;

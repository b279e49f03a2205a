//! Requests as they go over the wire, and taking them apart again.

use std::collections::HashMap;

use bytes::Bytes;
use outrigger_model::histogram::Histogram;
use outrigger_model::labels::METRIC_NAME;
use outrigger_model::sample::{Exemplar, Sample, Timestamp};
use outrigger_wire::exposition::MetricType;
use outrigger_wire::protobuf::{ProtobufError, put_varint};
use outrigger_wire::remote_write::v2::{self, RequestBuilder, Value};
use outrigger_wire::remote_write::{self, MetricMetadata, WriteRequest};
use zstd::zstd_safe::{CParameter, Strategy};

use super::protocol::{Compression, Message, Protocol};
use crate::batch::{BatchExemplar, BatchStart, MetricMetadata as FamilyMetadata};
use crate::series::{SeriesId, SeriesTable};

/// How zstd is set, on top of its third level. Requests are short records that repeat with small differences: leaving short
/// matches alone gives smaller requests than any level up to the fifth does, in the time of the second.
const ZSTD_LEVEL: i32 = 3;
const ZSTD_PARAMETERS: [CParameter; 5] = [
    CParameter::Strategy(Strategy::ZSTD_dfast),
    CParameter::WindowLog(20),
    CParameter::HashLog(17),
    CParameter::ChainLog(15),
    CParameter::MinMatch(7),
];

/// A request that is larger than this was not made here.
const MAX_REQUEST_BYTES: usize = 1 << 30;

/// A request that cannot be compressed: a bug, or no memory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompressError {
    #[error("compress a batch with snappy")]
    Snappy(#[from] snap::Error),
    #[error("compress a batch with zstd")]
    Zstd(#[from] std::io::Error),
}

/// Compresses requests; keeps its tables and buffers between them.
pub(crate) struct Compressor {
    snappy: snap::raw::Encoder,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    /// A message of version 2.0, put together.
    message: Vec<u8>,
    /// Room for the longest possible result.
    compressed: Vec<u8>,
}

impl Compressor {
    pub(crate) fn new() -> Self {
        let snappy = snap::raw::Encoder::new();
        Self { snappy, zstd: None, message: Vec::new(), compressed: Vec::new() }
    }

    /// The request, compressed, in no more memory than it needs: many of them may wait.
    pub(crate) fn compress(
        &mut self,
        compression: Compression,
        request: &[u8],
    ) -> Result<Bytes, CompressError> {
        let compressed = &mut self.compressed;
        let length = match compression {
            Compression::Snappy => {
                let most = snap::raw::max_compress_len(request.len());
                compressed.resize(most.max(compressed.len()), 0);
                self.snappy.compress(request, compressed)?
            }
            Compression::Zstd => {
                let zstd = match &mut self.zstd {
                    Some(zstd) => zstd,
                    none => none.insert(zstd_compressor()?),
                };
                compressed.clear();
                compressed.reserve(zstd::zstd_safe::compress_bound(request.len()));
                zstd.compress_to_buffer(request, compressed)?
            }
        };
        Ok(Bytes::copy_from_slice(&compressed[..length]))
    }

    fn compress_built(
        &mut self,
        compression: Compression,
        builder: &RequestBuilder,
    ) -> Result<Bytes, CompressError> {
        let mut message = std::mem::take(&mut self.message);
        message.clear();
        builder.write(&mut message);
        let compressed = self.compress(compression, &message);
        self.message = message;
        compressed
    }
}

fn zstd_compressor() -> std::io::Result<zstd::bulk::Compressor<'static>> {
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    for parameter in ZSTD_PARAMETERS {
        compressor.set_parameter(parameter)?;
    }
    Ok(compressor)
}

/// A request that cannot be taken apart again: a bug, or a record of the disk queue that was made by something else.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReopenError {
    #[error("decompress a batch with snappy")]
    Snappy(#[from] snap::Error),
    #[error("decompress a batch with zstd")]
    Zstd(#[source] std::io::Error),
    #[error("read a batch")]
    V1(#[from] ProtobufError),
    #[error("read a batch")]
    V2(#[from] v2::DecodeError),
}

/// The content of a compressed request.
pub(crate) fn reopen(protocol: Protocol, body: &[u8]) -> Result<WriteRequest, ReopenError> {
    let request = match protocol.compression {
        Compression::Snappy => snap::raw::Decoder::new().decompress_vec(body)?,
        Compression::Zstd => {
            let length = zstd::bulk::Decompressor::upper_bound(body).unwrap_or(MAX_REQUEST_BYTES);
            zstd::bulk::decompress(body, length.min(MAX_REQUEST_BYTES)).map_err(ReopenError::Zstd)?
        }
    };
    Ok(match protocol.message {
        Message::V1 => remote_write::decode(&request)?,
        Message::V2 => v2::decode(&request)?,
    })
}

/// Leaves out what the message cannot carry, which is native histograms with custom buckets in version 1.0 (as Prometheus
/// does: "NHCB not supported by remote write 1"). Returns how many.
pub(crate) fn leave_out_unsupported(message: Message, request: &mut WriteRequest) -> u64 {
    if message != Message::V1 {
        return 0;
    }
    let mut left_out = 0;
    for series in &mut request.series {
        let before = series.histograms.len();
        series.histograms.retain(|(_, histogram)| !histogram.has_custom_buckets());
        left_out += before - series.histograms.len();
    }
    request.series.retain(|series| {
        !(series.samples.is_empty() && series.histograms.is_empty() && series.exemplars.is_empty())
    });
    left_out as u64
}

/// A request with this content, compressed.
pub(crate) fn close(protocol: Protocol, request: &WriteRequest) -> Result<Bytes, CompressError> {
    let mut message = Vec::new();
    match protocol.message {
        Message::V1 => remote_write::put_request(request, &mut message),
        Message::V2 => v2::put_request(request, &mut message),
    }
    Compressor::new().compress(protocol.compression, &message)
}

/// A request that is growing.
pub(crate) enum Growing {
    V1(Vec<u8>),
    V2(Box<RequestBuilder>),
}

impl Growing {
    pub(crate) fn new(message: Message) -> Self {
        match message {
            Message::V1 => Growing::V1(Vec::new()),
            Message::V2 => Growing::V2(Box::default()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Growing::V1(request) => request.len(),
            Growing::V2(builder) => builder.len(),
        }
    }

    /// The message.
    pub(crate) fn finish(
        &self,
        compressor: &mut Compressor,
        compression: Compression,
    ) -> Result<Bytes, CompressError> {
        match self {
            Growing::V1(request) => compressor.compress(compression, request),
            Growing::V2(builder) => compressor.compress_built(compression, builder),
        }
    }

    /// Starts over with this message.
    pub(crate) fn reset(&mut self, message: Message) {
        match (self, message) {
            (Growing::V1(request), Message::V1) => request.clear(),
            (Growing::V2(builder), Message::V2) => builder.clear(),
            (growing, message) => *growing = Growing::new(message),
        }
    }
}

/// What series of one table have, on their way to one endpoint.
pub(crate) struct Section<'a> {
    pub(crate) table: &'a SeriesTable,
    /// Exemplars by series.
    exemplars: HashMap<SeriesId, Vec<(Timestamp, &'a Exemplar)>>,
    /// Since when series have counted, where targets say so.
    starts: HashMap<SeriesId, Timestamp>,
    /// What is said about families, by name, when it is due.
    metadata: HashMap<&'a str, &'a MetricMetadata>,
}

impl<'a> Section<'a> {
    pub(crate) fn new(table: &'a SeriesTable) -> Self {
        Self { table, exemplars: HashMap::new(), starts: HashMap::new(), metadata: HashMap::new() }
    }

    /// With these start times, whose series `resolve` finds in the table.
    pub(crate) fn with_starts(
        mut self,
        starts: &[BatchStart],
        resolve: impl Fn(SeriesId) -> Option<SeriesId>,
    ) -> Self {
        let known = starts.iter().filter_map(|start| Some((resolve(start.series)?, start.start)));
        self.starts.extend(known);
        self
    }

    /// With these exemplars, whose series `resolve` finds in the table.
    pub(crate) fn with_exemplars(
        mut self,
        exemplars: &'a [BatchExemplar],
        resolve: impl Fn(SeriesId) -> Option<SeriesId>,
    ) -> Self {
        for exemplar in exemplars {
            if let Some(series) = resolve(exemplar.series) {
                let of_series = self.exemplars.entry(series).or_default();
                of_series.push((exemplar.timestamp, &exemplar.exemplar));
            }
        }
        self
    }

    /// With what is said about families now.
    pub(crate) fn with_metadata(mut self, metadata: &'a [std::sync::Arc<FamilyMetadata>]) -> Self {
        self.metadata = metadata.iter().map(|family| (&*family.family, &**family)).collect();
        self
    }

    /// What is said about a metric: about the family of its name, or of its name without what the family's type adds
    /// (Prometheus `isSeriesPartOfFamily`).
    fn metadata_of(&self, metric: &str) -> Option<&'a MetricMetadata> {
        if let Some(family) = self.metadata.get(metric)
            && !is_cut(metric, family.metric_type)
        {
            return Some(family);
        }
        const SUFFIXES: [(&str, &[MetricType]); 7] = [
            ("_total", &[MetricType::Counter]),
            ("_bucket", &[MetricType::Histogram, MetricType::GaugeHistogram]),
            ("_sum", &[MetricType::Histogram, MetricType::Summary]),
            ("_count", &[MetricType::Histogram, MetricType::Summary]),
            ("_gcount", &[MetricType::GaugeHistogram]),
            ("_gsum", &[MetricType::GaugeHistogram]),
            ("_info", &[MetricType::Info]),
        ];
        SUFFIXES.iter().find_map(|(suffix, types)| {
            let family = self.metadata.get(metric.strip_suffix(suffix)?)?;
            types.contains(&family.metric_type).then_some(*family)
        })
    }
}

/// Whether the metric of a family of this type is named like a part of another one.
fn is_cut(metric: &str, metric_type: MetricType) -> bool {
    let suffixes: &[&str] = match metric_type {
        MetricType::Histogram => &["_bucket", "_sum", "_count"],
        MetricType::GaugeHistogram => &["_bucket", "_gsum", "_gcount"],
        MetricType::Summary => &["_sum", "_count"],
        _ => &[],
    };
    suffixes.iter().any(|suffix| metric.ends_with(suffix))
}

/// A pair as references into a request.
#[derive(Debug, Clone, Copy, Default)]
struct TranslatedPair {
    /// Name and value as varints.
    references: [u8; 10],
    /// How many bytes of them; 0 before the pair is translated.
    length: u8,
    /// The reference of the value if the pair is a metric name, else 0.
    metric: u32,
}

impl TranslatedPair {
    fn new((name, value): (&str, &str), builder: &mut RequestBuilder) -> Self {
        let (key, reference) = (builder.symbol(name), builder.symbol(value));
        let mut bytes = Vec::with_capacity(10);
        put_varint(u64::from(key), &mut bytes);
        put_varint(u64::from(reference), &mut bytes);
        let mut translated = Self { length: bytes.len() as u8, ..Self::default() };
        translated.references[..bytes.len()].copy_from_slice(&bytes);
        if name == METRIC_NAME {
            translated.metric = reference;
        }
        translated
    }
}

/// Translates the series of a section into those of a growing request. Good for one request.
pub(crate) struct Translation {
    /// By number of the pair in the table.
    pairs: Vec<TranslatedPair>,
    /// Metadata by pair of a metric name.
    metadata: HashMap<u32, Vec<u8>>,
    labels: Vec<u8>,
}

impl Translation {
    pub(crate) fn new() -> Self {
        Self { pairs: Vec::new(), metadata: HashMap::new(), labels: Vec::with_capacity(64) }
    }

    /// For another section or request.
    pub(crate) fn reset(&mut self, section: &Section<'_>) {
        self.pairs.clear();
        self.pairs.resize(section.table.pair_count(), TranslatedPair::default());
        self.metadata.clear();
    }

    /// Appends what one series has.
    pub(crate) fn put(
        &mut self,
        section: &Section<'_>,
        series: SeriesId,
        value: Value<'_>,
        request: &mut Growing,
    ) {
        self.labels.clear();
        match request {
            Growing::V1(request) => {
                for (name, label) in section.table.labels(series) {
                    remote_write::put_label_fields(name, label, &mut self.labels);
                }
                let exemplars = match section.exemplars.is_empty() {
                    true => None,
                    false => section.exemplars.get(&series),
                };
                match (value, exemplars) {
                    (Value::Sample(sample), None) => {
                        remote_write::put_encoded_series(&self.labels, sample, request);
                    }
                    (value, exemplars) => {
                        let exemplars = exemplars.map_or(&[][..], |exemplars| exemplars);
                        remote_write::put_encoded_value(&self.labels, &value, exemplars, request);
                    }
                }
            }
            Growing::V2(builder) => {
                let metric = self.put_references(section, series, builder);
                let known = match section.metadata.is_empty() {
                    true => None,
                    false => Some(self.metadata_of(section, series, builder)),
                };
                let metadata = known.and_then(|key| self.metadata.get(&key)).map_or(&[][..], |known| known);
                let exemplars = match section.exemplars.is_empty() {
                    true => None,
                    false => section.exemplars.get(&series),
                };
                let start = match section.starts.is_empty() {
                    true => None,
                    false => section.starts.get(&series).copied(),
                };
                match (value, exemplars) {
                    (Value::Sample(sample), None) if start.is_none() => {
                        builder.put_sample(metric, &self.labels, sample, metadata)
                    }
                    (value, exemplars) => {
                        let exemplars = exemplars.map_or(&[][..], |exemplars| exemplars);
                        builder.put_series(metric, &self.labels, Some(&value), start, exemplars, metadata);
                    }
                }
            }
        }
    }

    /// Puts the references of a series' labels into `labels`; returns that of its metric name.
    #[inline]
    fn put_references(
        &mut self,
        section: &Section<'_>,
        series: SeriesId,
        builder: &mut RequestBuilder,
    ) -> u32 {
        let mut metric = 0;
        for pair in section.table.pairs(series) {
            let translated = &mut self.pairs[pair.0 as usize];
            if translated.length == 0 {
                *translated = TranslatedPair::new(section.table.pair(pair), builder);
            }
            metric |= translated.metric;
            self.labels.extend_from_slice(&translated.references[..usize::from(translated.length)]);
        }
        metric
    }

    /// Makes sure that what is said about the series is encoded; returns where.
    fn metadata_of(&mut self, section: &Section<'_>, series: SeriesId, builder: &mut RequestBuilder) -> u32 {
        let name = section.table.metric_pair(series);
        let key = name.map_or(u32::MAX, |pair| pair.0);
        self.metadata.entry(key).or_insert_with(|| {
            let mut encoded = Vec::new();
            let known = name.and_then(|pair| section.metadata_of(section.table.pair(pair).1));
            if let Some(known) = known {
                builder.put_metadata(known, &mut encoded);
            }
            encoded
        });
        key
    }
}

/// The time of a value.
pub(crate) fn time_of(value: &Value<'_>) -> Timestamp {
    match value {
        Value::Sample(sample) => sample.timestamp,
        Value::Histogram(timestamp, _) => *timestamp,
    }
}

/// What a series has at one time, from its parts.
pub(crate) fn sample(timestamp: Timestamp, value: f64) -> Value<'static> {
    Value::Sample(Sample { timestamp, value })
}

/// A native histogram of a series at one time.
pub(crate) fn histogram(timestamp: Timestamp, histogram: &Histogram) -> Value<'_> {
    Value::Histogram(timestamp, histogram)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_metric_is_described_by_the_family_that_it_is_a_part_of() {
        use MetricType::*;
        // Type of the family `f`, metrics that are of it, others.
        let cases: [(MetricType, &[&str], &[&str]); 7] = [
            (Counter, &["f", "f_total"], &["f_created", "f_sum"]),
            (Gauge, &["f"], &["f_total", "f_bucket", "f_info"]),
            (Histogram, &["f", "f_bucket", "f_sum", "f_count"], &["f_created", "f_gsum"]),
            (GaugeHistogram, &["f", "f_bucket", "f_gsum", "f_gcount"], &["f_sum", "f_count"]),
            (Summary, &["f", "f_sum", "f_count"], &["f_bucket", "f_created"]),
            (Info, &["f", "f_info"], &["f_total"]),
            (Unknown, &["f"], &["f_total", "f_count"]),
        ];
        let table = SeriesTable::new();
        for (metric_type, of_it, others) in cases {
            let family = |family: &str| {
                Arc::new(FamilyMetadata {
                    metric_type,
                    family: family.into(),
                    help: "".into(),
                    unit: "".into(),
                })
            };
            let known = [family("f"), family("own_sum")];
            let section = Section::new(&table).with_metadata(&known);
            let described =
                |metric: &str| section.metadata_of(metric).map(|family| family.family.to_string());
            for metric in of_it {
                assert_eq!(described(metric).as_deref(), Some("f"), "{metric} of {metric_type:?}");
            }
            for metric in others {
                assert_eq!(described(metric), None, "{metric} of {metric_type:?}");
            }
            // The name of a histogram or summary that looks like a part is none of its own.
            let own = !matches!(metric_type, Histogram | Summary);
            assert_eq!(described("own_sum").is_some(), own, "{metric_type:?}");
        }
    }
}

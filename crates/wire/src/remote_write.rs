//! Remote write 1.0: the protobuf message `prometheus.WriteRequest`, not compressed
//! (<https://prometheus.io/docs/specs/prw/remote_write_spec/>, `prompb/remote.proto`, `prompb/types.proto`); 2.0 is in
//! [`v2`].
//!
//! A request is the series and the metadata one after another, so it is built by appending to a buffer:
//! [`put_series`], or [`put_labels`] once and [`put_encoded_series`] for each sample of a series that is known.
//! Compression is the caller's.

mod histogram;
pub mod v2;

use std::sync::Arc;

use outrigger_model::histogram::Histogram;
use outrigger_model::labels::{Labels, METRIC_NAME};
use outrigger_model::sample::{Exemplar, Sample, Timestamp};

use crate::exposition::MetricType;
use crate::protobuf::{ProtobufError, Reader, Writer, put_varint, varint_len};

/// Fields of `WriteRequest`.
const TIMESERIES: u32 = 1;
const METADATA: u32 = 3;
/// Fields of `TimeSeries`.
const LABELS: u32 = 1;
const SAMPLES: u32 = 2;
const EXEMPLARS: u32 = 3;
const HISTOGRAMS: u32 = 4;

/// Type, help and unit of a metric family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricMetadata {
    /// Its type.
    pub metric_type: MetricType,
    /// Its name.
    pub family: Arc<str>,
    /// Its help text, or `""`.
    pub help: Arc<str>,
    /// Its unit, or `""`.
    pub unit: Arc<str>,
}

/// Appends a series with its samples, which are in order of time.
///
/// A label set is sorted, has no name twice and no empty value, as receivers demand.
pub fn put_series(labels: &Labels, samples: &[Sample], into: &mut Vec<u8>) {
    Writer::new(into).message(TIMESERIES, |series| {
        labels.iter().for_each(|(name, value)| put_label(name, value, series));
        samples.iter().for_each(|sample| put_sample(*sample, series));
    });
}

/// Appends the labels of a series in the form that [`put_encoded_series`] takes.
pub fn put_labels(labels: &Labels, into: &mut Vec<u8>) {
    labels.iter().for_each(|(name, value)| put_label_fields(name, value, into));
}

/// Appends one label in the form that [`put_encoded_series`] takes.
#[inline]
pub fn put_label_fields(name: &str, value: &str, into: &mut Vec<u8>) {
    let text = |text: &str| 1 + varint_len(text.len() as u64) + text.len();
    put_varint(tag(LABELS), into);
    put_varint((text(name) + text(value)) as u64, into);
    for (field, text) in [(1, name), (2, value)] {
        put_varint(tag(field), into);
        put_varint(text.len() as u64, into);
        into.extend_from_slice(text.as_bytes());
    }
}

/// Appends a series with one sample, given its labels from [`put_labels`].
pub fn put_encoded_series(encoded_labels: &[u8], sample: Sample, into: &mut Vec<u8>) {
    let sample_bytes = sample_len(sample);
    let length = encoded_labels.len() + 2 + sample_bytes;
    into.reserve(length + 6);
    put_varint(tag(TIMESERIES), into);
    put_varint(length as u64, into);
    into.extend_from_slice(encoded_labels);
    put_sample(sample, &mut Writer::new(into));
}

/// Appends a series with one sample or native histogram and its exemplars, given its labels from [`put_labels`].
pub fn put_encoded_value(
    encoded_labels: &[u8],
    value: &v2::Value<'_>,
    exemplars: &[(Timestamp, &Exemplar)],
    into: &mut Vec<u8>,
) {
    Writer::new(into).message(TIMESERIES, |series| {
        series.raw(encoded_labels);
        match value {
            v2::Value::Sample(sample) => put_sample(*sample, series),
            v2::Value::Histogram(timestamp, histogram) => {
                series.message(HISTOGRAMS, |message| histogram::put(*timestamp, histogram, message));
            }
        }
        exemplars.iter().for_each(|(timestamp, exemplar)| put_exemplar(*timestamp, exemplar, series));
    });
}

fn put_exemplar(timestamp: Timestamp, exemplar: &Exemplar, series: &mut Writer<'_>) {
    series.message(EXEMPLARS, |message| {
        exemplar.labels.iter().for_each(|(name, value)| put_label(name, value, message));
        put_exemplar_value(timestamp, exemplar, message);
    });
}

/// Value and time, which both versions write alike.
fn put_exemplar_value(timestamp: Timestamp, exemplar: &Exemplar, message: &mut Writer<'_>) {
    if exemplar.value.to_bits() != 0 {
        message.double(2, exemplar.value);
    }
    if timestamp.millis() != 0 {
        message.int(3, timestamp.millis());
    }
}

/// Appends what was decoded. Metadata of single series, which only version 2.0 has, is left out.
pub fn put_request(request: &WriteRequest, into: &mut Vec<u8>) {
    for series in &request.series {
        Writer::new(into).message(TIMESERIES, |message| {
            series.labels.iter().for_each(|(name, value)| put_label(name, value, message));
            series.samples.iter().for_each(|sample| put_sample(*sample, message));
            for exemplar in &series.exemplars {
                put_exemplar(exemplar.timestamp.unwrap_or_default(), exemplar, message);
            }
            for (timestamp, histogram) in &series.histograms {
                message.message(HISTOGRAMS, |message| histogram::put(*timestamp, histogram, message));
            }
        });
    }
    request.metadata.iter().for_each(|metadata| put_metadata(metadata, into));
}

/// Appends the metadata of a family.
pub fn put_metadata(metadata: &MetricMetadata, into: &mut Vec<u8>) {
    Writer::new(into).message(METADATA, |message| {
        if metadata.metric_type != MetricType::Unknown {
            message.varint(1, metadata.metric_type as u64);
        }
        for (field, text) in [(2, &metadata.family), (4, &metadata.help), (5, &metadata.unit)] {
            if !text.is_empty() {
                message.string(field, text);
            }
        }
    });
}

/// The key of a length-delimited field.
fn tag(field: u32) -> u64 {
    u64::from(field) << 3 | 2
}

fn put_label(name: &str, value: &str, series: &mut Writer<'_>) {
    series.message(LABELS, |label| {
        label.string(1, name);
        label.string(2, value);
    });
}

/// Zero fields are left out, as proto3 has it; a negative zero is not zero.
fn put_sample(sample: Sample, series: &mut Writer<'_>) {
    series.message(SAMPLES, |message| {
        if sample.value.to_bits() != 0 {
            message.double(1, sample.value);
        }
        if sample.timestamp.millis() != 0 {
            message.int(2, sample.timestamp.millis());
        }
    });
}

/// Bytes of the content that [`put_sample`] writes; always below 128, so its length is one byte.
fn sample_len(sample: Sample) -> usize {
    let value = if sample.value.to_bits() != 0 { 9 } else { 0 };
    value + time_len(sample.timestamp)
}

/// Bytes of the field of a timestamp.
fn time_len(timestamp: Timestamp) -> usize {
    let millis = timestamp.millis();
    if millis != 0 { 1 + varint_len(millis.cast_unsigned()) } else { 0 }
}

/// A request as a receiver reads it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WriteRequest {
    /// The series in order; one series may occur more than once.
    pub series: Vec<TimeSeries>,
    /// The metadata in order.
    pub metadata: Vec<MetricMetadata>,
}

/// One series of a request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TimeSeries {
    /// Labels as they were sent, in that order.
    pub labels: Vec<(String, String)>,
    /// Samples as they were sent.
    pub samples: Vec<Sample>,
    /// Exemplars as they were sent, each with its time.
    pub exemplars: Vec<Exemplar>,
    /// Native histograms as they were sent.
    pub histograms: Vec<(Timestamp, Histogram)>,
    /// Since when the samples or histograms have counted, which version 2.0 says of each; here one time for all.
    pub start: Option<Timestamp>,
    /// What version 2.0 says about the series; the family is its metric name.
    pub metadata: Option<MetricMetadata>,
}

/// Labels that a receiver refuses (remote write specification, "Labels").
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelFault {
    /// No `__name__`.
    #[error("the series has no {METRIC_NAME}")]
    NoName,
    /// Not in order of name.
    #[error("label {0:?} is out of order")]
    Unsorted(String),
    /// A name that occurs twice.
    #[error("label {0:?} occurs twice")]
    Duplicate(String),
    /// A label without a name.
    #[error("a label has no name")]
    EmptyName,
    /// A label without a value.
    #[error("label {0:?} is empty")]
    EmptyValue(String),
}

impl TimeSeries {
    /// Checks what the specification demands of labels: sorted, unique, not empty, with a metric name.
    ///
    /// # Errors
    /// The first fault.
    pub fn check_labels(&self) -> Result<(), LabelFault> {
        let mut previous: Option<&str> = None;
        for (name, value) in &self.labels {
            if name.is_empty() {
                return Err(LabelFault::EmptyName);
            }
            if value.is_empty() {
                return Err(LabelFault::EmptyValue(name.clone()));
            }
            match previous.map(|previous| previous.cmp(name.as_str())) {
                Some(std::cmp::Ordering::Equal) => return Err(LabelFault::Duplicate(name.clone())),
                Some(std::cmp::Ordering::Greater) => return Err(LabelFault::Unsorted(name.clone())),
                _ => previous = Some(name),
            }
        }
        match self.labels.iter().any(|(name, _)| name == METRIC_NAME) {
            true => Ok(()),
            false => Err(LabelFault::NoName),
        }
    }
}

/// Decodes a request that is not compressed. Unknown fields are stepped over.
///
/// # Errors
/// When the bytes are no such message.
pub fn decode(message: &[u8]) -> Result<WriteRequest, ProtobufError> {
    let mut request = WriteRequest::default();
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            TIMESERIES => request.series.push(decode_series(field.bytes(number)?)?),
            METADATA => request.metadata.push(decode_metadata(field.bytes(number)?)?),
            _ => {}
        }
    }
    Ok(request)
}

fn decode_series(message: &[u8]) -> Result<TimeSeries, ProtobufError> {
    let mut series = TimeSeries::default();
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            LABELS => series.labels.push(decode_label(field.bytes(number)?)?),
            SAMPLES => series.samples.push(decode_sample(field.bytes(number)?)?),
            EXEMPLARS => series.exemplars.push(decode_exemplar(field.bytes(number)?)?),
            HISTOGRAMS => series.histograms.push(histogram::decode(field.bytes(number)?)?),
            _ => {}
        }
    }
    Ok(series)
}

fn decode_label(message: &[u8]) -> Result<(String, String), ProtobufError> {
    let (mut name, mut value) = (String::new(), String::new());
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => name = field.text(number)?.to_owned(),
            2 => value = field.text(number)?.to_owned(),
            _ => {}
        }
    }
    Ok((name, value))
}

fn decode_exemplar(message: &[u8]) -> Result<Exemplar, ProtobufError> {
    let mut labels = Vec::new();
    let (mut value, mut millis) = (0.0, 0);
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => labels.push(decode_label(field.bytes(number)?)?),
            2 => value = field.double(number)?,
            3 => millis = field.int64(number)?,
            _ => {}
        }
    }
    let timestamp = Some(Timestamp::from_millis(millis));
    Ok(Exemplar { labels: Labels::from_pairs(labels), value, timestamp })
}

fn decode_sample(message: &[u8]) -> Result<Sample, ProtobufError> {
    let mut sample = Sample { timestamp: Timestamp::from_millis(0), value: 0.0 };
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => sample.value = field.double(number)?,
            2 => sample.timestamp = Timestamp::from_millis(field.int64(number)?),
            _ => {}
        }
    }
    Ok(sample)
}

fn decode_metadata(message: &[u8]) -> Result<MetricMetadata, ProtobufError> {
    let mut metric_type = MetricType::Unknown;
    let (mut family, mut help, mut unit) = ("", "", "");
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => metric_type = metric_type_of(field.varint(number)?),
            2 => family = field.text(number)?,
            4 => help = field.text(number)?,
            5 => unit = field.text(number)?,
            _ => {}
        }
    }
    Ok(MetricMetadata { metric_type, family: family.into(), help: help.into(), unit: unit.into() })
}

/// A number that is not known yet counts as unknown.
fn metric_type_of(number: u64) -> MetricType {
    match number {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}

#[cfg(test)]
mod tests;

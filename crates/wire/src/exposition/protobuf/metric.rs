//! The messages of `io.prometheus.client` below a metric family, as proto3 reads them: a message field that comes
//! twice is merged, a number that comes twice counts as it comes last.

use outrigger_model::histogram::{Counts, Histogram, ResetHint, Span};
use outrigger_model::sample::Exemplar;

use crate::exposition::exemplar::{ExemplarLabels, Unfit};
use crate::protobuf::{Field, ProtobufError, Reader, decode_varint};

/// A metric. Of a kind that it has not, everything is zero.
#[derive(Debug, Clone, Default)]
pub(super) struct Metric<'b> {
    /// Not decoded yet.
    pub(super) labels: Vec<&'b [u8]>,
    pub(super) gauge: f64,
    pub(super) untyped: f64,
    pub(super) counter: Counter<'b>,
    pub(super) summary: Summary,
    pub(super) histogram: ClassicAndNative<'b>,
    /// Milliseconds; 0 is none.
    pub(super) timestamp: i64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Counter<'b> {
    pub(super) value: f64,
    pub(super) exemplar: Option<ExemplarMessage<'b>>,
    pub(super) start: Option<Time>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) sum: f64,
    /// Quantile and value.
    pub(super) quantiles: Vec<(f64, f64)>,
    pub(super) start: Option<Time>,
}

/// A histogram, classic, native or both.
#[derive(Debug, Clone, Default)]
pub(super) struct ClassicAndNative<'b> {
    count: u64,
    count_float: f64,
    pub(super) sum: f64,
    pub(super) buckets: Vec<Bucket<'b>>,
    schema: i32,
    zero_threshold: f64,
    zero_count: u64,
    zero_count_float: f64,
    negative: Side,
    positive: Side,
    pub(super) start: Option<Time>,
    exemplars: Vec<ExemplarMessage<'b>>,
}

/// Positive or negative buckets: deltas of integer counts, or float counts.
#[derive(Debug, Clone, Default)]
struct Side {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Bucket<'b> {
    cumulative: u64,
    cumulative_float: f64,
    pub(super) bound: f64,
    pub(super) exemplar: Option<ExemplarMessage<'b>>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct ExemplarMessage<'b> {
    labels: Vec<(&'b [u8], &'b [u8])>,
    value: f64,
    time: Option<Time>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Time {
    seconds: i64,
    nanos: i32,
}

fn each<'b>(
    message: &'b [u8],
    mut take: impl FnMut(u32, Field<'b>) -> Result<(), ProtobufError>,
) -> Result<(), ProtobufError> {
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        take(number, field)?;
    }
    Ok(())
}

fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

impl<'b> Metric<'b> {
    /// Decodes a metric, labels left as they are. Keeps the allocations of the last one.
    pub(super) fn decode(&mut self, message: &'b [u8]) -> Result<(), ProtobufError> {
        self.reset();
        each(message, |number, field| {
            match number {
                1 => self.labels.push(field.bytes(1)?),
                2 => each(field.bytes(2)?, |number, field| {
                    if number == 1 {
                        self.gauge = field.double(1)?;
                    }
                    Ok(())
                })?,
                3 => self.counter.merge(field.bytes(3)?)?,
                4 => self.summary.merge(field.bytes(4)?)?,
                5 => each(field.bytes(5)?, |number, field| {
                    if number == 1 {
                        self.untyped = field.double(1)?;
                    }
                    Ok(())
                })?,
                6 => self.timestamp = field.int64(6)?,
                7 => self.histogram.merge(field.bytes(7)?)?,
                _ => {}
            }
            Ok(())
        })
    }

    fn reset(&mut self) {
        self.labels.clear();
        (self.gauge, self.untyped, self.timestamp) = (0.0, 0.0, 0);
        self.counter = Counter::default();
        self.summary.quantiles.clear();
        self.summary =
            Summary { quantiles: std::mem::take(&mut self.summary.quantiles), ..Summary::default() };
        self.histogram.buckets.clear();
        self.histogram = ClassicAndNative {
            buckets: std::mem::take(&mut self.histogram.buckets),
            ..ClassicAndNative::default()
        };
    }
}

impl<'b> Counter<'b> {
    fn merge(&mut self, message: &'b [u8]) -> Result<(), ProtobufError> {
        each(message, |number, field| {
            match number {
                1 => self.value = field.double(1)?,
                2 => self.exemplar.get_or_insert_default().merge(field.bytes(2)?)?,
                3 => self.start.get_or_insert_default().merge(field.bytes(3)?)?,
                _ => {}
            }
            Ok(())
        })
    }
}

impl Summary {
    fn merge(&mut self, message: &[u8]) -> Result<(), ProtobufError> {
        each(message, |number, field| {
            match number {
                1 => self.count = field.varint(1)?,
                2 => self.sum = field.double(2)?,
                3 => {
                    let mut quantile = (0.0, 0.0);
                    each(field.bytes(3)?, |number, field| {
                        match number {
                            1 => quantile.0 = field.double(1)?,
                            2 => quantile.1 = field.double(2)?,
                            _ => {}
                        }
                        Ok(())
                    })?;
                    self.quantiles.push(quantile);
                }
                4 => self.start.get_or_insert_default().merge(field.bytes(4)?)?,
                _ => {}
            }
            Ok(())
        })
    }
}

impl<'b> ClassicAndNative<'b> {
    fn merge(&mut self, message: &'b [u8]) -> Result<(), ProtobufError> {
        each(message, |number, field| {
            match number {
                1 => self.count = field.varint(1)?,
                2 => self.sum = field.double(2)?,
                3 => self.buckets.push(Bucket::decode(field.bytes(3)?)?),
                4 => self.count_float = field.double(4)?,
                5 => self.schema = zigzag(u64::from(field.varint(5)? as u32)) as i32,
                6 => self.zero_threshold = field.double(6)?,
                7 => self.zero_count = field.varint(7)?,
                8 => self.zero_count_float = field.double(8)?,
                9 => self.negative.spans.push(decode_span(field.bytes(9)?)?),
                10 => push_deltas(10, field, &mut self.negative.deltas)?,
                11 => push_doubles(11, field, &mut self.negative.counts)?,
                12 => self.positive.spans.push(decode_span(field.bytes(12)?)?),
                13 => push_deltas(13, field, &mut self.positive.deltas)?,
                14 => push_doubles(14, field, &mut self.positive.counts)?,
                15 => self.start.get_or_insert_default().merge(field.bytes(15)?)?,
                16 => {
                    let mut exemplar = ExemplarMessage::default();
                    exemplar.merge(field.bytes(16)?)?;
                    self.exemplars.push(exemplar);
                }
                _ => {}
            }
            Ok(())
        })
    }

    /// Whether there is anything that only a native histogram has.
    pub(super) fn is_native(&self) -> bool {
        !self.positive.spans.is_empty()
            || !self.negative.spans.is_empty()
            || self.zero_threshold > 0.0
            || self.zero_count > 0
    }

    fn is_float(&self) -> bool {
        self.count_float > 0.0
            || self.zero_count_float > 0.0
            || !self.positive.counts.is_empty()
            || !self.negative.counts.is_empty()
    }

    /// Count of all observations.
    pub(super) fn count(&self) -> f64 {
        if self.count_float == 0.0 { self.count as f64 } else { self.count_float }
    }

    /// The native histogram, as it was exposed.
    pub(super) fn native(&self, reset_hint: ResetHint) -> Histogram {
        let counts = if self.is_float() {
            Counts::Float {
                count: self.count_float,
                zero: self.zero_count_float,
                positive: self.positive.counts.clone(),
                negative: self.negative.counts.clone(),
            }
        } else {
            Counts::Integer {
                count: self.count,
                zero: self.zero_count,
                positive: self.positive.deltas.clone(),
                negative: self.negative.deltas.clone(),
            }
        };
        Histogram {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            sum: self.sum,
            reset_hint,
            positive_spans: self.positive.spans.clone(),
            negative_spans: self.negative.spans.clone(),
            custom_values: Vec::new(),
            counts,
        }
    }

    /// Exemplars of the histogram as a whole: its own or, if it has none, those of the classic buckets. One without
    /// a time is unfit.
    pub(super) fn exemplars(&self) -> impl Iterator<Item = Result<Exemplar, Unfit>> {
        let buckets = if self.exemplars.is_empty() { &self.buckets[..] } else { &[] };
        let of_buckets = buckets.iter().filter_map(|bucket| bucket.exemplar.as_ref());
        of_buckets.chain(&self.exemplars).map(|exemplar| match exemplar.time {
            Some(_) => exemplar.exemplar(),
            None => Err(Unfit),
        })
    }
}

impl<'b> Bucket<'b> {
    fn decode(message: &'b [u8]) -> Result<Self, ProtobufError> {
        let mut bucket = Self::default();
        each(message, |number, field| {
            match number {
                1 => bucket.cumulative = field.varint(1)?,
                2 => bucket.bound = field.double(2)?,
                3 => bucket.exemplar.get_or_insert_default().merge(field.bytes(3)?)?,
                4 => bucket.cumulative_float = field.double(4)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(bucket)
    }

    /// Observations up to the bound.
    pub(super) fn cumulative(&self) -> f64 {
        if self.cumulative_float == 0.0 { self.cumulative as f64 } else { self.cumulative_float }
    }
}

impl<'b> ExemplarMessage<'b> {
    fn merge(&mut self, message: &'b [u8]) -> Result<(), ProtobufError> {
        each(message, |number, field| {
            match number {
                1 => {
                    let mut label: (&[u8], &[u8]) = (b"", b"");
                    each(field.bytes(1)?, |number, field| {
                        match number {
                            1 => label.0 = field.bytes(1)?,
                            2 => label.1 = field.bytes(2)?,
                            _ => {}
                        }
                        Ok(())
                    })?;
                    self.labels.push(label);
                }
                2 => self.value = field.double(2)?,
                3 => self.time.get_or_insert_default().merge(field.bytes(3)?)?,
                _ => {}
            }
            Ok(())
        })
    }

    pub(super) fn exemplar(&self) -> Result<Exemplar, Unfit> {
        let mut labels = ExemplarLabels::default();
        self.labels.iter().for_each(|(name, value)| labels.add(name, value));
        labels.exemplar(self.value, self.time.map(Time::millis))
    }
}

impl Time {
    fn merge(&mut self, message: &[u8]) -> Result<(), ProtobufError> {
        each(message, |number, field| {
            match number {
                1 => self.seconds = field.int64(1)?,
                2 => self.nanos = field.int32(2)?,
                _ => {}
            }
            Ok(())
        })
    }

    /// Milliseconds since the epoch, cut towards it.
    pub(super) fn millis(self) -> i64 {
        self.seconds.wrapping_mul(1_000).wrapping_add(i64::from(self.nanos / 1_000_000))
    }
}

fn decode_span(message: &[u8]) -> Result<Span, ProtobufError> {
    let mut span = Span::default();
    each(message, |number, field| {
        match number {
            1 => span.offset = zigzag(u64::from(field.varint(1)? as u32)) as i32,
            2 => span.length = field.varint(2)? as u32,
            _ => {}
        }
        Ok(())
    })?;
    Ok(span)
}

/// `sint64`, packed or one by one.
fn push_deltas(number: u32, field: Field<'_>, into: &mut Vec<i64>) -> Result<(), ProtobufError> {
    match field {
        Field::Varint(value) => into.push(zigzag(value)),
        Field::Bytes(mut packed) => {
            while !packed.is_empty() {
                let (value, used) = decode_varint(packed)?.ok_or(ProtobufError::Truncated)?;
                into.push(zigzag(value));
                packed = &packed[used..];
            }
        }
        _ => return Err(ProtobufError::UnexpectedType { field: number, expected: "a varint or packed" }),
    }
    Ok(())
}

/// `double`, packed or one by one.
fn push_doubles(number: u32, field: Field<'_>, into: &mut Vec<f64>) -> Result<(), ProtobufError> {
    match field {
        Field::Fixed64(bits) => into.push(f64::from_bits(bits)),
        Field::Bytes(packed) => {
            let (values, rest) = packed.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(ProtobufError::Truncated);
            }
            into.extend(values.iter().map(|value| f64::from_le_bytes(*value)));
        }
        _ => return Err(ProtobufError::UnexpectedType { field: number, expected: "a double or packed" }),
    }
    Ok(())
}

//! Native histograms and exemplars, which both versions of remote write carry alike (`prompb/types.proto`,
//! `prompb/io/prometheus/write/v2/types.proto`; only the labels of exemplars differ).

use outrigger_model::histogram::{Counts, Histogram, ResetHint, Span};
use outrigger_model::sample::Timestamp;

use crate::protobuf::{Field, ProtobufError, Reader, Writer, decode_varint, put_varint};

const COUNT_INT: u32 = 1;
const COUNT_FLOAT: u32 = 2;
const SUM: u32 = 3;
const SCHEMA: u32 = 4;
const ZERO_THRESHOLD: u32 = 5;
const ZERO_COUNT_INT: u32 = 6;
const ZERO_COUNT_FLOAT: u32 = 7;
const NEGATIVE_SPANS: u32 = 8;
const NEGATIVE_DELTAS: u32 = 9;
const NEGATIVE_COUNTS: u32 = 10;
const POSITIVE_SPANS: u32 = 11;
const POSITIVE_DELTAS: u32 = 12;
const POSITIVE_COUNTS: u32 = 13;
const RESET_HINT: u32 = 14;
const TIMESTAMP: u32 = 15;
const CUSTOM_VALUES: u32 = 16;

/// Writes the content of a `Histogram` message.
pub(super) fn put(timestamp: Timestamp, histogram: &Histogram, message: &mut Writer<'_>) {
    let mut scratch = Vec::new();
    match &histogram.counts {
        Counts::Integer { count, .. } => message.varint(COUNT_INT, *count),
        Counts::Float { count, .. } => message.double(COUNT_FLOAT, *count),
    }
    if histogram.sum.to_bits() != 0 {
        message.double(SUM, histogram.sum);
    }
    if histogram.schema != 0 {
        message.varint(SCHEMA, zigzag(i64::from(histogram.schema)));
    }
    if histogram.zero_threshold.to_bits() != 0 {
        message.double(ZERO_THRESHOLD, histogram.zero_threshold);
    }
    match &histogram.counts {
        Counts::Integer { zero, .. } => message.varint(ZERO_COUNT_INT, *zero),
        Counts::Float { zero, .. } => message.double(ZERO_COUNT_FLOAT, *zero),
    }
    let sides: [(_, _, _, &[Span]); 2] = [
        (NEGATIVE_SPANS, NEGATIVE_DELTAS, NEGATIVE_COUNTS, &histogram.negative_spans),
        (POSITIVE_SPANS, POSITIVE_DELTAS, POSITIVE_COUNTS, &histogram.positive_spans),
    ];
    for (spans_field, deltas_field, counts_field, spans) in sides {
        for span in spans {
            message.message(spans_field, |message| {
                if span.offset != 0 {
                    message.varint(1, zigzag(i64::from(span.offset)));
                }
                if span.length != 0 {
                    message.varint(2, u64::from(span.length));
                }
            });
        }
        let is_negative = spans_field == NEGATIVE_SPANS;
        match &histogram.counts {
            Counts::Integer { positive, negative, .. } => {
                let deltas = if is_negative { negative } else { positive };
                deltas.iter().for_each(|delta| put_varint(zigzag(*delta), &mut scratch));
                put_packed(deltas_field, &mut scratch, message);
            }
            Counts::Float { positive, negative, .. } => {
                let counts = if is_negative { negative } else { positive };
                put_doubles(counts_field, counts, &mut scratch, message);
            }
        }
    }
    if histogram.reset_hint != ResetHint::Unknown {
        message.varint(RESET_HINT, histogram.reset_hint as u64);
    }
    if timestamp.millis() != 0 {
        message.int(TIMESTAMP, timestamp.millis());
    }
    put_doubles(CUSTOM_VALUES, &histogram.custom_values, &mut scratch, message);
}

fn put_doubles(field: u32, values: &[f64], scratch: &mut Vec<u8>, message: &mut Writer<'_>) {
    values.iter().for_each(|value| scratch.extend_from_slice(&value.to_le_bytes()));
    put_packed(field, scratch, message);
}

fn put_packed(field: u32, packed: &mut Vec<u8>, message: &mut Writer<'_>) {
    if !packed.is_empty() {
        message.bytes(field, packed);
        packed.clear();
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Reads a `Histogram` message. Its content is not validated.
pub(super) fn decode(message: &[u8]) -> Result<(Timestamp, Histogram), ProtobufError> {
    let mut timestamp = 0;
    let (mut count, mut zero) = (0u64, 0u64);
    let (mut float_count, mut float_zero) = (None, 0.0);
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    let (mut float_positive, mut float_negative) = (Vec::new(), Vec::new());
    let mut histogram = Histogram {
        schema: 0,
        zero_threshold: 0.0,
        sum: 0.0,
        reset_hint: ResetHint::Unknown,
        positive_spans: Vec::new(),
        negative_spans: Vec::new(),
        custom_values: Vec::new(),
        counts: Counts::Integer { count: 0, zero: 0, positive: Vec::new(), negative: Vec::new() },
    };
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            COUNT_INT => count = field.varint(number)?,
            COUNT_FLOAT => float_count = Some(field.double(number)?),
            SUM => histogram.sum = field.double(number)?,
            // A schema beyond 32 bits cannot be valid; it is left for the validation to refuse.
            SCHEMA => histogram.schema = i32::try_from(unzigzag(field.varint(number)?)).unwrap_or(i32::MAX),
            ZERO_THRESHOLD => histogram.zero_threshold = field.double(number)?,
            ZERO_COUNT_INT => zero = field.varint(number)?,
            ZERO_COUNT_FLOAT => float_zero = field.double(number)?,
            NEGATIVE_SPANS => histogram.negative_spans.push(decode_span(field.bytes(number)?)?),
            POSITIVE_SPANS => histogram.positive_spans.push(decode_span(field.bytes(number)?)?),
            NEGATIVE_DELTAS => read_deltas(number, field, &mut negative)?,
            POSITIVE_DELTAS => read_deltas(number, field, &mut positive)?,
            NEGATIVE_COUNTS => read_doubles(number, field, &mut float_negative)?,
            POSITIVE_COUNTS => read_doubles(number, field, &mut float_positive)?,
            RESET_HINT => {
                histogram.reset_hint = match field.varint(number)? {
                    1 => ResetHint::Reset,
                    2 => ResetHint::NoReset,
                    3 => ResetHint::Gauge,
                    _ => ResetHint::Unknown,
                }
            }
            TIMESTAMP => timestamp = field.int64(number)?,
            CUSTOM_VALUES => read_doubles(number, field, &mut histogram.custom_values)?,
            _ => {}
        }
    }
    histogram.counts = match float_count {
        Some(count) => {
            Counts::Float { count, zero: float_zero, positive: float_positive, negative: float_negative }
        }
        None => Counts::Integer { count, zero, positive, negative },
    };
    Ok((Timestamp::from_millis(timestamp), histogram))
}

fn decode_span(message: &[u8]) -> Result<Span, ProtobufError> {
    let mut span = Span::default();
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => span.offset = i32::try_from(unzigzag(field.varint(number)?)).unwrap_or(i32::MAX),
            2 => span.length = u32::try_from(field.varint(number)?).unwrap_or(u32::MAX),
            _ => {}
        }
    }
    Ok(span)
}

fn read_deltas(number: u32, field: Field<'_>, into: &mut Vec<i64>) -> Result<(), ProtobufError> {
    match field {
        Field::Bytes(_) => {
            let mut numbers = Vec::new();
            unpack(field.bytes(number)?, &mut numbers)?;
            into.extend(numbers.into_iter().map(unzigzag));
        }
        _ => into.push(unzigzag(field.varint(number)?)),
    }
    Ok(())
}

/// Reads packed varints.
pub(super) fn unpack(packed: &[u8], into: &mut Vec<u64>) -> Result<(), ProtobufError> {
    let mut rest = packed;
    while !rest.is_empty() {
        let (value, used) = decode_varint(rest)?.ok_or(ProtobufError::Truncated)?;
        into.push(value);
        rest = &rest[used..];
    }
    Ok(())
}

fn read_doubles(number: u32, field: Field<'_>, into: &mut Vec<f64>) -> Result<(), ProtobufError> {
    match field {
        Field::Bytes(packed) => {
            let (values, _) = packed.as_chunks::<8>();
            into.extend(values.iter().map(|bytes| f64::from_le_bytes(*bytes)));
        }
        _ => into.push(field.double(number)?),
    }
    Ok(())
}

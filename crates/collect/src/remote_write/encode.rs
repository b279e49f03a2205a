//! Requests as they go over the wire, and taking them apart again.

use std::sync::Arc;

use bytes::Bytes;
use outrigger_model::labels::Labels;
use outrigger_model::sample::Timestamp;
use outrigger_wire::protobuf::{ProtobufError, Reader, Writer};
use outrigger_wire::remote_write;

/// Fields of `WriteRequest`, `TimeSeries` and `Sample`.
const REQUEST_TIMESERIES: u32 = 1;
const TIMESERIES_SAMPLES: u32 = 2;
const SAMPLE_TIMESTAMP: u32 = 2;

/// The labels of a series, to be copied before each of its samples.
pub(crate) fn encode_labels(labels: &Labels) -> Arc<[u8]> {
    let mut bytes = Vec::with_capacity(256);
    remote_write::put_labels(labels, &mut bytes);
    bytes.into()
}

/// A request in snappy's block format.
pub(crate) fn compress(encoder: &mut snap::raw::Encoder, request: &[u8]) -> Result<Bytes, snap::Error> {
    Ok(encoder.compress_vec(request)?.into())
}

/// A request that was [`compress`]ed here and cannot be taken apart again: a bug.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReopenError {
    #[error("decompress a batch")]
    Snappy(#[from] snap::Error),
    #[error("read a batch")]
    Protobuf(#[from] ProtobufError),
}

/// The samples of a request that was [`compress`]ed: each `TimeSeries` with the time of its sample.
pub(crate) struct Reopened {
    request: Vec<u8>,
}

impl Reopened {
    pub(crate) fn open(body: &[u8]) -> Result<Self, ReopenError> {
        Ok(Self { request: snap::raw::Decoder::new().decompress_vec(body)? })
    }

    /// Calls `each` with every `TimeSeries` message and the time of its sample.
    pub(crate) fn for_each(&self, mut each: impl FnMut(&[u8], Timestamp)) -> Result<(), ReopenError> {
        let mut reader = Reader::new(&self.request);
        while let Some((field, value)) = reader.next_field()? {
            if field == REQUEST_TIMESERIES {
                let series = value.bytes(field)?;
                each(series, sample_time(series)?);
            }
        }
        Ok(())
    }
}

/// Appends a `TimeSeries` message, as [`Reopened::for_each`] hands it out, to a request.
pub(crate) fn push_series(request: &mut Vec<u8>, series: &[u8]) {
    Writer::new(request).bytes(REQUEST_TIMESERIES, series);
}

/// A timestamp of zero is not written.
fn sample_time(series: &[u8]) -> Result<Timestamp, ReopenError> {
    let mut reader = Reader::new(series);
    while let Some((field, value)) = reader.next_field()? {
        if field == TIMESERIES_SAMPLES {
            let mut sample = Reader::new(value.bytes(field)?);
            while let Some((field, value)) = sample.next_field()? {
                if field == SAMPLE_TIMESTAMP {
                    return Ok(Timestamp::from_millis(value.int64(field)?));
                }
            }
        }
    }
    Ok(Timestamp::default())
}

#[cfg(test)]
mod tests {
    use outrigger_model::sample::Sample;

    use super::*;

    #[test]
    fn a_request_can_be_taken_apart_again() {
        let labels = encode_labels(&Labels::from_pairs([("__name__", "up")]));
        let mut request = Vec::new();
        for millis in [-5, 0, 7, 1_700_000_000_000] {
            let sample = Sample { timestamp: Timestamp::from_millis(millis), value: 0.0 };
            remote_write::put_encoded_series(&labels, sample, &mut request);
        }
        let body = compress(&mut snap::raw::Encoder::new(), &request).unwrap();
        let mut again = Vec::new();
        let mut times = Vec::new();
        Reopened::open(&body)
            .unwrap()
            .for_each(|series, time| {
                push_series(&mut again, series);
                times.push(time.millis());
            })
            .unwrap();
        assert_eq!(again, request);
        assert_eq!(times, [-5, 0, 7, 1_700_000_000_000]);
    }
}

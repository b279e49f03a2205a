use outrigger_model::histogram::{Counts, ResetHint, Span};
use outrigger_model::sample::stale_nan;
use proptest::prelude::*;

use super::*;

fn histogram(float: bool, counts: &[i64]) -> Histogram {
    let floats = || counts.iter().map(|count| *count as f64).collect();
    Histogram {
        schema: if counts.len().is_multiple_of(2) { 3 } else { -53 },
        zero_threshold: 0.001,
        sum: -1.5,
        reset_hint: ResetHint::Gauge,
        positive_spans: vec![Span { offset: -3, length: counts.len() as u32 }],
        negative_spans: vec![Span { offset: 0, length: 1 }, Span { offset: 7, length: 2 }],
        custom_values: vec![0.5, f64::MAX],
        counts: match float {
            true => Counts::Float { count: 7.5, zero: 0.0, positive: floats(), negative: floats() },
            false => {
                Counts::Integer { count: 7, zero: 2, positive: counts.to_vec(), negative: counts.to_vec() }
            }
        },
    }
}

fn series() -> impl Strategy<Value = TimeSeries> {
    let text = || "[a-c]{0,2}";
    let name = prop_oneof![2 => text().boxed(), 1 => Just(METRIC_NAME.to_owned()).boxed()];
    let labels = prop::collection::vec((name, text()), 0..4);
    let samples = prop::collection::vec((any::<f64>(), any::<i64>()), 0..3);
    let histograms = prop::collection::vec((any::<bool>(), prop::collection::vec(any::<i64>(), 0..4)), 0..2);
    let metadata = prop::option::of((1u64..8, text(), text()));
    let start = prop::option::of(1i64..);
    let parts = (labels, samples, histograms, start, metadata);
    parts.prop_map(|(labels, samples, histograms, start, metadata)| {
        let at = Timestamp::from_millis;
        let exemplar = |(value, millis): &(f64, i64)| Exemplar {
            labels: Labels::from_pairs([("trace_id", "abc")]),
            value: *value,
            timestamp: Some(at(*millis)),
        };
        TimeSeries {
            exemplars: samples.iter().map(exemplar).collect(),
            samples: samples
                .iter()
                .map(|(value, millis)| Sample { timestamp: at(*millis), value: *value })
                .collect(),
            histograms: histograms.iter().map(|(float, counts)| (at(5), histogram(*float, counts))).collect(),
            start: start.filter(|_| !(samples.is_empty() && histograms.is_empty())).map(at),
            metadata: metadata.map(|(metric_type, help, unit)| MetricMetadata {
                metric_type: metric_type_of(metric_type),
                family: labels
                    .iter()
                    .find(|(name, _): &&(String, String)| name == METRIC_NAME)
                    .map_or("", |(_, value)| value)
                    .into(),
                help: help.into(),
                unit: unit.into(),
            }),
            labels,
        }
    })
}

/// Series of one metric together; within one metric as they were.
fn by_metric(mut series: Vec<TimeSeries>) -> Vec<TimeSeries> {
    let metric = |series: &TimeSeries| {
        let last = series.labels.iter().rfind(|(name, _)| name == METRIC_NAME);
        last.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    series.sort_by_key(metric);
    series
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_in_both_versions(series in prop::collection::vec(series(), 0..6)) {
        let request = WriteRequest { series, metadata: Vec::new() };
        let mut encoded = Vec::new();
        put_request(&request, &mut encoded);
        let again = decode(&encoded).unwrap();
        prop_assert_eq!(by_metric(again.series), by_metric(request.series.clone()));

        let mut first = Vec::new();
        crate::remote_write::put_request(&request, &mut first);
        let mut told = request;
        told.series.iter_mut().for_each(|series| (series.metadata, series.start) = (None, None));
        prop_assert_eq!(crate::remote_write::decode(&first).unwrap().series, told.series);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }
}

#[test]
fn a_symbol_is_there_once_and_a_cleared_builder_starts_anew() {
    let mut builder = RequestBuilder::new();
    for _ in 0..2 {
        let refs: Vec<u8> = ["__name__", "up", "job", "up"].map(|text| builder.symbol(text) as u8).to_vec();
        assert_eq!((refs.as_slice(), builder.symbol("")), (&[1, 2, 3, 2][..], 0));
        let known = MetricMetadata {
            metric_type: MetricType::Gauge,
            family: "up".into(),
            help: "up".into(),
            unit: "".into(),
        };
        let mut metadata = Vec::new();
        builder.put_metadata(&known, &mut metadata);
        let sample = Sample { timestamp: Timestamp::from_millis(1_700_000_000_000), value: stale_nan() };
        builder.put_sample(2, &refs, sample, &metadata);
        let exemplar = Exemplar { labels: Labels::from_pairs([("id", "up")]), value: 2.0, timestamp: None };
        let time = Timestamp::from_millis(7);
        builder.put_series(2, &refs, Some(&Value::Sample(sample)), None, &[(time, &exemplar)], &[]);
        let mut message = Vec::new();
        builder.write(&mut message);
        assert_eq!(message.len(), builder.len());
        let request = decode(&message).unwrap();
        let labels = vec![("__name__".to_owned(), "up".to_owned()), ("job".to_owned(), "up".to_owned())];
        let expected = TimeSeries { labels, samples: vec![sample], ..TimeSeries::default() };
        let exemplar = Exemplar { timestamp: Some(time), ..exemplar };
        assert_eq!(
            request.series,
            [
                TimeSeries { metadata: Some(known), ..expected.clone() },
                TimeSeries { exemplars: vec![exemplar], ..expected },
            ]
        );
        let symbols: usize = message.windows(2).filter(|bytes| *bytes == b"up").count();
        assert_eq!(symbols, 1);
        builder.clear();
    }
}

#[test]
fn references_that_lead_nowhere_are_refused() {
    let mut message = Vec::new();
    let mut writer = Writer::new(&mut message);
    writer.string(SYMBOLS, "");
    writer.message(TIMESERIES, |series| series.bytes(LABELS_REFS, &[0, 9]));
    assert_eq!(decode(&message).unwrap_err(), DecodeError::Reference { reference: 9, symbols: 1 });
    let mut message = Vec::new();
    Writer::new(&mut message).message(TIMESERIES, |series| series.bytes(LABELS_REFS, &[0]));
    assert_eq!(decode(&message).unwrap_err(), DecodeError::OddReferences(1));
    let mut message = Vec::new();
    Writer::new(&mut message).string(SYMBOLS, "x");
    assert_eq!(decode(&message).unwrap_err(), DecodeError::FirstSymbol);
}

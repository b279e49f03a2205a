use outrigger_model::sample::{normal_nan, stale_nan};
use proptest::prelude::*;

use super::*;

fn sample(value: f64, millis: i64) -> Sample {
    Sample { timestamp: Timestamp::from_millis(millis), value }
}

fn metadata(metric_type: MetricType, family: &str, help: &str, unit: &str) -> MetricMetadata {
    MetricMetadata { metric_type, family: family.into(), help: help.into(), unit: unit.into() }
}

/// What `golden.bin` holds.
fn golden() -> (Vec<(Labels, Vec<Sample>)>, Vec<MetricMetadata>) {
    let long = "日本".repeat(100);
    let series = vec![
        (
            Labels::from_pairs([("__name__", "up"), ("instance", "10.0.0.1:9100"), ("job", "node")]),
            vec![sample(1.0, 1_700_000_000_000)],
        ),
        (
            Labels::from_pairs([("__name__", "many"), ("é.x", &long)]),
            vec![
                sample(0.0, 0),
                sample(-1.5, -1),
                sample(f64::INFINITY, i64::MAX),
                sample(stale_nan(), 1),
                sample(normal_nan(), 2),
            ],
        ),
        (Labels::from_pairs([("__name__", "no_samples")]), vec![]),
    ];
    let metadata = vec![
        metadata(MetricType::Gauge, "up", "Whether the target\nwas scraped.", ""),
        metadata(MetricType::Unknown, "many", "", "seconds"),
        metadata(MetricType::StateSet, "s", "", ""),
    ];
    (series, metadata)
}

fn encode(series: &[(Labels, Vec<Sample>)], metadata: &[MetricMetadata]) -> Vec<u8> {
    let mut body = Vec::new();
    series.iter().for_each(|(labels, samples)| put_series(labels, samples, &mut body));
    metadata.iter().for_each(|metadata| put_metadata(metadata, &mut body));
    body
}

fn decoded(series: &[(Labels, Vec<Sample>)], metadata: &[MetricMetadata]) -> WriteRequest {
    let series = series.iter().map(|(labels, samples)| TimeSeries {
        labels: labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        samples: samples.clone(),
        ..TimeSeries::default()
    });
    WriteRequest { series: series.collect(), metadata: metadata.to_vec() }
}

#[test]
fn a_request_is_byte_for_byte_that_of_prometheus() {
    let body = include_bytes!("../../testdata/remote_write/golden.bin");
    let (series, metadata) = golden();
    assert_eq!(encode(&series, &metadata), body);
    assert_eq!(decode(body).unwrap(), decoded(&series, &metadata));
}

#[test]
fn labels_that_a_receiver_refuses_are_told_apart() {
    let check = |pairs: &[(&str, &str)]| {
        let labels = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        TimeSeries { labels, ..TimeSeries::default() }.check_labels()
    };
    assert_eq!(check(&[("A", "x"), ("__name__", "up"), ("a", "b")]), Ok(()));
    assert_eq!(check(&[("a", "b")]), Err(LabelFault::NoName));
    assert_eq!(check(&[("a", "b"), ("__name__", "up")]), Err(LabelFault::Unsorted("__name__".to_owned())));
    assert_eq!(
        check(&[("__name__", "up"), ("__name__", "x")]),
        Err(LabelFault::Duplicate("__name__".to_owned()))
    );
    assert_eq!(check(&[("__name__", "up"), ("a", "")]), Err(LabelFault::EmptyValue("a".to_owned())));
    assert_eq!(check(&[("", "up")]), Err(LabelFault::EmptyName));
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let one =
        (any::<u64>(), any::<i64>()).prop_map(|(bits, millis)| sample(f64::from_bits(bits), millis)).boxed();
    let zeros = prop::sample::select(vec![sample(0.0, 0), sample(-0.0, 1), sample(stale_nan(), 0)]);
    prop::collection::vec(prop_oneof![one, zeros], 0..4)
}

fn label_sets() -> impl Strategy<Value = Labels> {
    prop::collection::vec(("[a-zé._]{1,10}", ".{0,200}"), 0..8).prop_map(Labels::from_pairs)
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        series in prop::collection::vec((label_sets(), samples()), 0..6),
        families in prop::collection::vec((0u64..8, ".{0,20}", ".{0,200}", ".{0,5}"), 0..4),
    ) {
        let metadata: Vec<_> = families
            .iter()
            .map(|(number, family, help, unit)| metadata(metric_type_of(*number), family, help, unit))
            .collect();
        let body = encode(&series, &metadata);
        prop_assert_eq!(decode(&body).unwrap(), decoded(&series, &metadata));
    }

    #[test]
    fn a_series_with_encoded_labels_is_the_same_series(labels in label_sets(), samples in samples()) {
        let mut encoded = Vec::new();
        put_labels(&labels, &mut encoded);
        for sample in samples {
            let (mut whole, mut parts) = (Vec::new(), Vec::new());
            put_series(&labels, &[sample], &mut whole);
            put_encoded_series(&encoded, sample, &mut parts);
            prop_assert_eq!(whole, parts);
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&body);
    }
}

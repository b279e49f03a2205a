use super::*;

fn integer(schema: i32, spans: &[(i32, u32)], deltas: &[i64]) -> Histogram {
    Histogram {
        schema,
        positive_spans: spans.iter().map(|&(offset, length)| Span { offset, length }).collect(),
        counts: Counts::Integer {
            count: buckets::total(deltas),
            zero: 0,
            positive: deltas.to_vec(),
            negative: Vec::new(),
        },
        sum: 1.0,
        ..Histogram::stale()
    }
}

#[test]
fn compaction_keeps_short_gaps_only() {
    type Spans<'a> = &'a [(i32, u32)];
    // spans, deltas, how many empty buckets may stay, spans, deltas
    type Case<'a> = (Spans<'a>, &'a [i64], u32, Spans<'a>, &'a [i64]);
    let cases: &[Case<'_>] = &[
        (&[], &[], 0, &[], &[]),
        (&[(2, 0), (3, 0)], &[], 0, &[], &[]),
        (&[(1, 2), (0, 1)], &[1, 0, 1], 0, &[(1, 3)], &[1, 0, 1]),
        (&[(-1, 4)], &[0, 1, -1, 2], 0, &[(0, 1), (1, 1)], &[1, 1]),
        (&[(-1, 4)], &[0, 1, -1, 2], 1, &[(0, 3)], &[1, -1, 2]),
        (&[(0, 1), (2, 1)], &[3, 1], 2, &[(0, 4)], &[3, -3, 0, 4]),
        (&[(0, 1), (3, 1)], &[3, 1], 2, &[(0, 1), (3, 1)], &[3, 1]),
        (&[(0, 2), (1, 1)], &[3, -3, 1], 0, &[(0, 1), (2, 1)], &[3, -2]),
        (&[(0, 6)], &[1, -1, 0, 0, 2, -2], 2, &[(0, 1), (3, 1)], &[1, 1]),
        (&[(0, 3)], &[0, 0, 0], 2, &[], &[]),
        (&[(0, 1), (2, 0), (2, 1)], &[1, 0], 0, &[(0, 1), (4, 1)], &[1, 0]),
    ];
    for (spans, deltas, keep, expected_spans, expected) in cases {
        let mut histogram = integer(0, spans, deltas);
        histogram.compact(*keep).unwrap();
        assert_eq!(histogram, integer(0, expected_spans, expected), "{spans:?} {deltas:?} {keep}");
    }
    let mut wrong = integer(0, &[(0, 2)], &[1]);
    assert_eq!(wrong.compact(0), Err(HistogramError::SpansMismatch { spans: 2, buckets: 1 }));
}

#[test]
fn a_coarser_schema_merges_buckets() {
    let mut histogram = integer(2, &[(-3, 3), (1, 4), (5, 1)], &[1, 1, 1, -1, 0, 0, 1, -2]);
    histogram.reduce_resolution(0).unwrap();
    // Buckets -3 to -1 and 1 to 4 and 10 become 0, 1 and 3.
    assert_eq!(histogram, integer(0, &[(0, 2), (1, 1)], &[6, 3, -8]));
    assert_eq!(histogram.reduce_resolution(0), Err(HistogramError::Reduction { from: 0, to: 0 }));

    let mut many = integer(8, &[(1, 100)], &[1; 100]);
    many.limit_buckets(10).unwrap();
    assert_eq!((many.schema, many.bucket_count()), (4, 7));
    many.validate().unwrap();
    assert_eq!(many.limit_buckets(0), Err(HistogramError::BucketLimit));
    let mut custom = integer(CUSTOM_BUCKETS_SCHEMA, &[(0, 2)], &[1, 0]);
    assert_eq!(custom.limit_buckets(1), Err(HistogramError::BucketLimit));
    let mut finer = integer(20, &[(1, 2)], &[1, 0]);
    finer.limit_schema(7).unwrap();
    assert_eq!(finer.schema, 7);
}

#[test]
fn what_prometheus_would_not_store_is_refused() {
    let fine = integer(3, &[(1, 2), (1, 1)], &[1, 2, -1]);
    fine.validate().unwrap();
    let check = |change: &dyn Fn(&mut Histogram), expected: HistogramError| {
        let mut histogram = fine.clone();
        change(&mut histogram);
        assert_eq!(histogram.validate(), Err(expected));
    };
    check(&|histogram| histogram.schema = 9, HistogramError::Schema(9));
    check(&|histogram| histogram.schema = -5, HistogramError::Schema(-5));
    check(
        &|histogram| histogram.positive_spans[0].length = 1,
        HistogramError::SpansMismatch { spans: 2, buckets: 3 },
    );
    check(
        &|histogram| histogram.positive_spans[1].offset = -1,
        HistogramError::NegativeOffset { number: 2, offset: -1 },
    );
    check(
        &|histogram| histogram.positive_spans[1].offset = i32::MAX,
        HistogramError::IndexRange { number: 2 },
    );
    check(&|histogram| histogram.custom_values = vec![1.0], HistogramError::ExponentialWithBounds);
    let counts = |count, positive: [i64; 3]| Counts::Integer {
        count,
        zero: 0,
        positive: positive.to_vec(),
        negative: Vec::new(),
    };
    check(
        &|histogram| histogram.counts = counts(5, [1, 2, -1]),
        HistogramError::CountMismatch { buckets: 6, count: 5 },
    );
    check(
        &|histogram| (histogram.counts, histogram.sum) = (counts(5, [1, 2, -1]), f64::NAN),
        HistogramError::CountMismatch { buckets: 6, count: 5 },
    );
    check(
        &|histogram| histogram.counts = counts(6, [1, -2, 9]),
        HistogramError::NegativeBucket { number: 2 },
    );
    let more = Histogram { counts: counts(9, [1, 2, -1]), sum: f64::NAN, ..fine.clone() };
    more.validate().unwrap();
}

#[test]
fn custom_buckets_need_bounds_and_nothing_else() {
    let fine = Histogram {
        custom_values: vec![0.5, 1.0],
        ..integer(CUSTOM_BUCKETS_SCHEMA, &[(0, 1), (1, 1)], &[1, 1])
    };
    fine.validate().unwrap();
    for bounds in [vec![1.0, 1.0], vec![f64::NAN], vec![0.5, f64::INFINITY], vec![2.0, 1.0]] {
        let histogram = Histogram { custom_values: bounds, ..fine.clone() };
        assert_eq!(histogram.validate(), Err(HistogramError::CustomBounds));
    }
    let histogram = Histogram { custom_values: vec![0.5], ..fine.clone() };
    assert_eq!(histogram.validate(), Err(HistogramError::TooFewCustomBounds { bounds: 1, buckets: 3 }));
    let histogram = Histogram { zero_threshold: 1.0, ..fine.clone() };
    assert_eq!(histogram.validate(), Err(HistogramError::CustomWithOthers));
}

#[test]
fn the_stale_marker_is_a_valid_histogram() {
    let stale = Histogram::stale();
    assert!(stale.is_stale());
    stale.validate().unwrap();
    assert!(!Histogram { sum: f64::NAN, ..stale }.is_stale());
}

#[test]
fn the_schema_of_a_factor_is_that_of_prometheus() {
    // Prometheus' TestPickSchema.
    for (factor, schema) in [
        (65_536.0, -4),
        (256.0, -3),
        (16.0, -2),
        (4.0, -1),
        (2.0, 0),
        (1.4, 1),
        (1.1, 2),
        (1.09, 3),
        (1.04, 4),
        (1.02, 5),
        (1.01, 6),
        (1.005, 7),
        (1.002, 8),
        (1.0, 8),
        (0.0, 8),
        (1e300, -4),
        (f64::INFINITY, -4),
    ] {
        assert_eq!(schema_for_factor(factor), schema, "{factor}");
    }
}

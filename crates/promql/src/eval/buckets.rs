//! Quantiles and fractions of classic histograms (Prometheus `promql/quantile.go`).

/// Relative differences below this are rounding errors.
const SMALL: f64 = 1e-12;

#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    pub(super) bound: f64,
    pub(super) count: f64,
}

/// Counts that fell, which they must not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repair {
    pub(super) lowest: f64,
    pub(super) highest: f64,
    pub(super) difference: f64,
}

fn prepared(mut buckets: Vec<Bucket>) -> Option<Vec<Bucket>> {
    buckets.sort_by(|a, b| a.bound.total_cmp(&b.bound));
    if buckets.last()?.bound != f64::INFINITY {
        return None;
    }
    let mut merged: Vec<Bucket> = Vec::with_capacity(buckets.len());
    for bucket in buckets {
        match merged.last_mut() {
            Some(last) if last.bound == bucket.bound => last.count += bucket.count,
            _ => merged.push(bucket),
        }
    }
    Some(merged)
}

fn nearly_equal(a: f64, b: f64) -> bool {
    let sum = a.abs() + b.abs();
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < SMALL * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < SMALL
}

fn make_monotonic(buckets: &mut [Bucket]) -> Option<Repair> {
    let mut repair: Option<Repair> = None;
    let mut before = buckets[0].count;
    for bucket in &mut buckets[1..] {
        if bucket.count == before || nearly_equal(before, bucket.count) {
            bucket.count = before;
        } else if bucket.count < before {
            let difference = before - bucket.count;
            bucket.count = before;
            let known =
                repair.get_or_insert(Repair { lowest: bucket.bound, highest: bucket.bound, difference });
            known.lowest = known.lowest.min(bucket.bound);
            known.highest = known.highest.max(bucket.bound);
            known.difference = known.difference.max(difference);
        } else {
            before = bucket.count;
        }
    }
    repair
}

pub(super) fn quantile(q: f64, buckets: Vec<Bucket>) -> (f64, Option<Repair>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    let Some(mut buckets) = prepared(buckets) else { return (f64::NAN, None) };
    let repair = make_monotonic(&mut buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if buckets.len() < 2 || observations == 0.0 {
        return (f64::NAN, repair);
    }
    let mut rank = q * observations;
    // Comparisons with NaN are false, as in Go's search.
    let place = buckets[..last].iter().position(|bucket| bucket.count >= rank).unwrap_or(last);
    let value = if place == last {
        buckets[last - 1].bound
    } else if place == 0 && buckets[0].bound <= 0.0 {
        buckets[0].bound
    } else {
        let (mut start, mut count) = (0.0, buckets[place].count);
        if place > 0 {
            start = buckets[place - 1].bound;
            count -= buckets[place - 1].count;
            rank -= buckets[place - 1].count;
        }
        start + (buckets[place].bound - start) * (rank / count)
    };
    (value, repair)
}

pub(super) fn fraction(lower: f64, upper: f64, buckets: Vec<Bucket>) -> f64 {
    let Some(buckets) = prepared(buckets) else { return f64::NAN };
    let total = buckets[buckets.len() - 1].count;
    if total == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank = |value: f64| {
        let mut low = if buckets[0].bound <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
        let mut below = 0.0;
        for bucket in &buckets {
            if low >= value {
                return below;
            }
            if bucket.bound > value {
                if low == f64::NEG_INFINITY {
                    return bucket.count;
                }
                return below + (bucket.count - below) * (value - low) / (bucket.bound - low);
            }
            (low, below) = (bucket.bound, bucket.count);
        }
        total
    };
    (rank(upper).min(total) - rank(lower).min(total)) / total
}

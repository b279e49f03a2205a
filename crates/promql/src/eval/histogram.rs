//! Native histograms as lists of buckets: arithmetic, counter resets, quantiles and fractions
//! (Prometheus `model/histogram/float_histogram.go`, `promql/quantile.go`).

use outrigger_model::histogram::{CUSTOM_BUCKETS_SCHEMA, Counts, Histogram, ResetHint, Span};

/// A histogram whose buckets have indices and counts of their own; empty ones are left out.
#[derive(Debug, Clone)]
pub(super) struct Buckets {
    pub(super) schema: i32,
    pub(super) threshold: f64,
    pub(super) zero: f64,
    pub(super) count: f64,
    pub(super) sum: f64,
    pub(super) hint: ResetHint,
    bounds: Vec<f64>,
    positive: Vec<(i32, f64)>,
    negative: Vec<(i32, f64)>,
}

/// Exponential and custom buckets do not go together.
#[derive(Debug)]
pub(super) struct Incompatible;

/// One bucket with its bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) lower: f64,
    pub(super) upper: f64,
    pub(super) count: f64,
}

fn indexed(spans: &[Span], counts: impl Iterator<Item = f64>) -> Vec<(i32, f64)> {
    let mut next = 0i32;
    let mut indices = Vec::new();
    for span in spans {
        next = next.saturating_add(span.offset);
        for _ in 0..span.length {
            indices.push(next);
            next = next.saturating_add(1);
        }
    }
    indices.into_iter().zip(counts).filter(|(_, count)| *count != 0.0).collect()
}

fn absolute(deltas: &[i64]) -> impl Iterator<Item = f64> {
    deltas.iter().scan(0i64, |total, delta| {
        *total = total.wrapping_add(*delta);
        Some(*total as f64)
    })
}

impl Buckets {
    pub(super) fn of(histogram: &Histogram) -> Self {
        let (positive_spans, negative_spans) = (&histogram.positive_spans, &histogram.negative_spans);
        let (count, zero, positive, negative) = match &histogram.counts {
            Counts::Float { count, zero, positive, negative } => (
                *count,
                *zero,
                indexed(positive_spans, positive.iter().copied()),
                indexed(negative_spans, negative.iter().copied()),
            ),
            Counts::Integer { count, zero, positive, negative } => (
                *count as f64,
                *zero as f64,
                indexed(positive_spans, absolute(positive)),
                indexed(negative_spans, absolute(negative)),
            ),
        };
        Self {
            schema: histogram.schema,
            threshold: histogram.zero_threshold,
            zero,
            count,
            sum: histogram.sum,
            hint: histogram.reset_hint,
            bounds: histogram.custom_values.clone(),
            positive,
            negative,
        }
    }

    pub(super) fn into_histogram(self) -> Histogram {
        let (positive_spans, positive) = spans(&self.positive);
        let (negative_spans, negative) = spans(&self.negative);
        Histogram {
            schema: self.schema,
            zero_threshold: self.threshold,
            sum: self.sum,
            reset_hint: self.hint,
            positive_spans,
            negative_spans,
            custom_values: self.bounds,
            counts: Counts::Float { count: self.count, zero: self.zero, positive, negative },
        }
    }

    pub(super) fn is_custom(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    pub(super) fn scale(&mut self, factor: f64) {
        for value in [&mut self.count, &mut self.sum, &mut self.zero] {
            *value *= factor;
        }
        self.positive.iter_mut().chain(&mut self.negative).for_each(|(_, count)| *count *= factor);
    }

    fn bound(&self, index: i32) -> f64 {
        if self.is_custom() {
            return usize::try_from(index)
                .ok()
                .and_then(|at| self.bounds.get(at))
                .copied()
                .unwrap_or(f64::INFINITY);
        }
        (f64::from(index) * (-f64::from(self.schema)).exp2()).exp2()
    }

    fn lower_bound(&self, index: i32) -> f64 {
        if self.is_custom() && index == 0 { f64::NEG_INFINITY } else { self.bound(index - 1) }
    }

    /// All buckets from the lowest to the highest.
    pub(super) fn ranges(&self) -> Vec<Range> {
        let mut found: Vec<Range> = self
            .negative
            .iter()
            .rev()
            .map(|(index, count)| Range {
                lower: -self.bound(*index),
                upper: -self.lower_bound(*index),
                count: *count,
            })
            .collect();
        if self.zero != 0.0 {
            found.push(Range { lower: -self.threshold, upper: self.threshold, count: self.zero });
        }
        found.extend(self.positive.iter().map(|(index, count)| Range {
            lower: self.lower_bound(*index),
            upper: self.bound(*index),
            count: *count,
        }));
        found
    }

    fn reduce(&mut self, schema: i32) {
        let shift = self.schema.saturating_sub(schema).clamp(0, 31);
        for side in [&mut self.positive, &mut self.negative] {
            let coarser = side.iter().map(|(index, count)| (((index - 1) >> shift) + 1, *count));
            *side = summed(coarser.collect());
        }
        self.schema = schema;
    }

    /// Moves the buckets within a zero bucket of at least this width into it; a bucket that it would cut widens it.
    fn widen_zero(&mut self, threshold: f64) {
        let mut threshold = threshold.max(self.threshold);
        for (index, _) in self.positive.iter().chain(&self.negative) {
            if self.lower_bound(*index) < threshold && self.bound(*index) > threshold {
                threshold = self.bound(*index);
            }
        }
        let bound = |index: i32| (f64::from(index) * (-f64::from(self.schema)).exp2()).exp2();
        let mut moved = 0.0;
        for side in [&mut self.positive, &mut self.negative] {
            side.retain(|(index, count)| {
                let inside = bound(*index) <= threshold;
                moved += if inside { *count } else { 0.0 };
                !inside
            });
        }
        self.zero += moved;
        self.threshold = threshold;
    }

    /// Adds (or subtracts, with a factor of -1) another histogram. True when custom bounds had to be reconciled.
    pub(super) fn combine(&mut self, other: &Buckets, factor: f64) -> Result<bool, Incompatible> {
        if self.is_custom() != other.is_custom() {
            return Err(Incompatible);
        }
        let mut other = other.clone();
        let mut reconciled = false;
        if self.is_custom() {
            if self.bounds != other.bounds {
                reconciled = true;
                let common: Vec<f64> =
                    self.bounds.iter().copied().filter(|bound| other.bounds.contains(bound)).collect();
                self.rebound(&common);
                other.rebound(&common);
            }
        } else {
            let schema = self.schema.min(other.schema);
            self.reduce(schema);
            other.reduce(schema);
            while self.threshold != other.threshold {
                let wider = self.threshold.max(other.threshold);
                self.widen_zero(wider);
                other.widen_zero(wider);
            }
        }
        self.count += factor * other.count;
        self.sum += factor * other.sum;
        self.zero += factor * other.zero;
        let scaled = |side: &[(i32, f64)]| {
            side.iter().map(|(index, count)| (*index, factor * count)).collect::<Vec<_>>()
        };
        self.positive.extend(scaled(&other.positive));
        self.negative.extend(scaled(&other.negative));
        self.positive = summed(std::mem::take(&mut self.positive));
        self.negative = summed(std::mem::take(&mut self.negative));
        Ok(reconciled)
    }

    fn rebound(&mut self, bounds: &[f64]) {
        let place =
            |upper: f64| bounds.iter().position(|bound| *bound >= upper).unwrap_or(bounds.len()) as i32;
        let moved = self.positive.iter().map(|(index, count)| (place(self.bound(*index)), *count)).collect();
        self.positive = summed(moved);
        self.bounds = bounds.to_vec();
    }

    /// Whether the counts began anew after `before` (Prometheus `DetectReset`).
    pub(super) fn is_reset_after(&self, before: &Buckets) -> bool {
        match self.hint {
            ResetHint::Reset => return true,
            ResetHint::NoReset | ResetHint::Gauge => return false,
            ResetHint::Unknown => {}
        }
        if before.hint == ResetHint::Gauge {
            return true;
        }
        let custom_differs = self.is_custom() && self.bounds != before.bounds;
        if self.count < before.count || self.is_custom() != before.is_custom() || custom_differs {
            return self.count < before.count || self.is_custom() != before.is_custom();
        }
        if self.schema > before.schema || self.threshold < before.threshold {
            return true;
        }
        let mut earlier = before.clone();
        if !self.is_custom() {
            earlier.reduce(self.schema);
            if earlier.threshold < self.threshold {
                earlier.widen_zero(self.threshold);
                if earlier.threshold != self.threshold {
                    return true;
                }
            }
        }
        let fell = |now: &[(i32, f64)], then: &[(i32, f64)]| {
            then.iter().any(|(index, count)| {
                let current =
                    now.binary_search_by_key(index, |(index, _)| *index).map_or(0.0, |at| now[at].1);
                current < *count
            })
        };
        self.zero < earlier.zero
            || fell(&self.positive, &earlier.positive)
            || fell(&self.negative, &earlier.negative)
    }

    /// The value below which a share of the observations lies, and whether observations of NaN skew it.
    pub(super) fn quantile(&self, q: f64) -> (f64, bool) {
        if q < 0.0 {
            return (f64::NEG_INFINITY, false);
        }
        if q > 1.0 {
            return (f64::INFINITY, false);
        }
        if self.count == 0.0 || q.is_nan() {
            return (f64::NAN, false);
        }
        let held: f64 = self.ranges().iter().map(|range| range.count).sum();
        let has_nan = self.sum.is_nan() && held < self.count;
        // The upper half is counted from above, so that halves that are equal give equal distances from the middle.
        let from_above = !self.sum.is_nan() && q >= 0.5;
        let rank = if from_above { (1.0 - q) * self.count } else { q * self.count };
        let mut ranges = self.ranges();
        if from_above {
            ranges.reverse();
        }
        let mut below = 0.0;
        let mut found = None;
        for range in ranges.iter().filter(|range| range.count > 0.0) {
            found = Some(*range);
            if below + range.count >= rank {
                break;
            }
            below += range.count;
        }
        let Some(mut range) = found else { return (f64::NAN, has_nan) };
        if has_nan && held < rank {
            return (f64::NAN, true);
        }
        let share = ((rank - below.min(rank)) / range.count).clamp(0.0, 1.0);
        let share = if from_above { 1.0 - share } else { share };
        if self.is_custom() {
            if range.lower == f64::NEG_INFINITY {
                if range.upper <= 0.0 {
                    return (range.upper, has_nan);
                }
                range.lower = 0.0;
            }
            if range.upper == f64::INFINITY {
                return (range.lower, has_nan);
            }
            return (range.lower + (range.upper - range.lower) * share, has_nan);
        }
        self.narrow_zero(&mut range);
        (interpolated(range, share), has_nan)
    }

    /// Without observations of one sign, the zero bucket holds only those of the other.
    fn narrow_zero(&self, range: &mut Range) {
        if range.lower < 0.0 && range.upper > 0.0 {
            match (self.negative.is_empty(), self.positive.is_empty()) {
                (true, false) => range.lower = 0.0,
                (false, true) => range.upper = 0.0,
                _ => {}
            }
        }
    }

    /// The share of the observations between two values.
    pub(super) fn fraction(&self, lower: f64, upper: f64) -> f64 {
        if self.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return f64::NAN;
        }
        if lower >= upper {
            return 0.0;
        }
        (self.rank(upper) - self.rank(lower)) / self.count
    }

    fn rank(&self, value: f64) -> f64 {
        let mut below = 0.0;
        for mut range in self.ranges() {
            if !self.is_custom() {
                self.narrow_zero(&mut range);
            } else if range.lower == f64::NEG_INFINITY && range.upper > 0.0 {
                range.lower = 0.0;
            }
            if range.lower >= value {
                break;
            }
            if range.upper > value {
                let linear = self.is_custom() || (range.lower <= 0.0 && range.upper >= 0.0);
                let share = if range.lower == f64::NEG_INFINITY {
                    1.0
                } else if linear {
                    (value - range.lower) / (range.upper - range.lower)
                } else {
                    let log = |value: f64| value.abs().log2();
                    if value > 0.0 {
                        (log(value) - log(range.lower)) / (log(range.upper) - log(range.lower))
                    } else {
                        1.0 - (log(value) - log(range.upper)) / (log(range.lower) - log(range.upper))
                    }
                };
                return below + range.count * share;
            }
            below += range.count;
        }
        below
    }

    /// The variance, every observation taken as the middle of its bucket.
    pub(super) fn variance(&self) -> f64 {
        let mean = self.sum / self.count;
        let mut total = super::sum::Sum::default();
        for range in self.ranges() {
            let middle = if range.lower <= 0.0 && range.upper >= 0.0 && !self.is_custom() {
                0.0
            } else if self.is_custom() {
                f64::midpoint(range.lower, range.upper)
            } else {
                (range.lower * range.upper).sqrt() * range.upper.signum()
            };
            let delta = middle - mean;
            total.add(range.count * delta * delta);
        }
        total.value() / self.count
    }
}

/// Which part of a histogram stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Below,
    Above,
}

impl Buckets {
    /// The observations below or above a bound. What is left of a bucket that the bound cuts is interpolated, and the
    /// sum is estimated anew, when anything changes.
    pub(super) fn trim(&mut self, bound: f64, keep: Keep) {
        let custom = self.is_custom();
        let (mut count, mut sum, mut changed) = (0.0, 0.0, false);
        let (has_negative, has_positive) = (!self.negative.is_empty(), !self.positive.is_empty());
        let range = |buckets: &Self, index: i32, count: f64, positive: bool| {
            let (lower, upper) = (buckets.lower_bound(index), buckets.bound(index));
            if positive {
                Range { lower, upper, count }
            } else {
                Range { lower: -upper, upper: -lower, count }
            }
        };
        let layout = self.clone();
        for (side, positive) in [(&mut self.positive, true), (&mut self.negative, false)] {
            for (index, held) in side.iter_mut() {
                let (kept, middle) = trimmed(range(&layout, *index, *held, positive), bound, keep, custom);
                count += kept;
                sum += middle * kept;
                changed |= kept != *held;
                *held = kept;
            }
            side.retain(|(_, held)| *held != 0.0);
        }
        if self.zero > 0.0 {
            let lower = if has_positive && !has_negative { 0.0 } else { -self.threshold };
            let upper = if has_negative && !has_positive { 0.0 } else { self.threshold };
            let (from, to) = match keep {
                Keep::Below => (lower, bound.clamp(lower, upper)),
                Keep::Above => (bound.clamp(lower, upper), upper),
            };
            let share = if upper > lower {
                (to - from) / (upper - lower)
            } else {
                f64::from(u8::from(kept_at_zero(bound, keep)))
            };
            let kept = self.zero * share;
            count += kept;
            sum += f64::midpoint(from, to) * kept;
            changed |= kept != self.zero;
            self.zero = kept;
        }
        if changed {
            (self.count, self.sum) = (count, sum);
        }
    }
}

fn kept_at_zero(bound: f64, keep: Keep) -> bool {
    match keep {
        Keep::Below => bound > 0.0,
        Keep::Above => bound <= 0.0,
    }
}

/// What is left of a bucket, and the value that its observations are taken for.
fn trimmed(range: Range, bound: f64, keep: Keep, linear: bool) -> (f64, f64) {
    let Range { lower, upper, count } = range;
    let (whole, cut) = match keep {
        Keep::Below => (upper <= bound, lower < bound),
        Keep::Above => (lower >= bound, upper > bound),
    };
    if whole {
        return (count, middle(lower, upper, linear));
    }
    if !cut {
        return (0.0, 0.0);
    }
    if lower == f64::NEG_INFINITY {
        // With a positive upper bound the lower one is taken for zero.
        return match keep {
            Keep::Below if bound > 0.0 && upper > 0.0 && upper.is_finite() => {
                (count * bound / upper, bound / 2.0)
            }
            Keep::Below if upper <= 0.0 => (count, bound),
            Keep::Above if bound == f64::NEG_INFINITY => (count, 0.0),
            Keep::Above if bound >= 0.0 && upper.is_finite() => {
                (count * (1.0 - bound / upper), f64::midpoint(bound, upper))
            }
            _ => (0.0, 0.0),
        };
    }
    if upper == f64::INFINITY {
        return if keep == Keep::Above && bound >= lower { (count, bound) } else { (0.0, 0.0) };
    }
    let below = if linear {
        (bound - lower) / (upper - lower)
    } else {
        let (low, high, at) = (lower.abs().log2(), upper.abs().log2(), bound.abs().log2());
        if lower > 0.0 { (at - low) / (high - low) } else { 1.0 - (at - high) / (low - high) }
    };
    match keep {
        Keep::Below => (count * below, middle(lower, bound, linear)),
        Keep::Above => (count - count * below, middle(bound, upper, linear)),
    }
}

fn middle(lower: f64, upper: f64, linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) if linear => f64::midpoint(lower, upper),
        (false, false) => (lower * upper).abs().sqrt() * (lower + upper).signum(),
    }
}

fn interpolated(range: Range, share: f64) -> f64 {
    let Range { lower, upper, .. } = range;
    if lower <= 0.0 && upper >= 0.0 {
        return lower + (upper - lower) * share;
    }
    let (low, high) = (lower.abs().log2(), upper.abs().log2());
    if lower > 0.0 {
        (low + (high - low) * share).exp2()
    } else {
        -(high + (low - high) * (1.0 - share)).exp2()
    }
}

fn summed(mut side: Vec<(i32, f64)>) -> Vec<(i32, f64)> {
    side.sort_by_key(|(index, _)| *index);
    let mut merged: Vec<(i32, f64)> = Vec::with_capacity(side.len());
    for (index, count) in side {
        match merged.last_mut() {
            Some(last) if last.0 == index => last.1 += count,
            _ => merged.push((index, count)),
        }
    }
    merged.retain(|(_, count)| *count != 0.0);
    merged
}

fn spans(side: &[(i32, f64)]) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut next = 0;
    for (index, _) in side {
        match spans.last_mut() {
            Some(last) if *index == next => last.length += 1,
            _ => spans.push(Span { offset: index - next, length: 1 }),
        }
        next = index + 1;
    }
    (spans, side.iter().map(|(_, count)| *count).collect())
}

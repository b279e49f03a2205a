//! A classic histogram, collected bucket by bucket, as a native one with custom buckets (Prometheus
//! `util/convertnhcb`).

use outrigger_model::histogram::{CUSTOM_BUCKETS_SCHEMA, Counts, Histogram, HistogramError, Span};

use super::float::to_int64;

/// Most buckets of a histogram whose buckets are not in order: each costs time in proportion to their number.
const MAX_UNORDERED_BUCKETS: usize = 10_000;

/// Two to the power of 64, the first count that is no `u64`.
const U64_LIMIT: f64 = 18_446_744_073_709_551_616.0;

/// Why a classic histogram cannot be converted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClassicHistogramError {
    /// A bucket, or the histogram, counts less than nothing.
    #[error("a count is negative: {0}")]
    NegativeCount(f64),
    /// A bucket without a bound.
    #[error("a bucket's upper bound is not a number")]
    BoundNotANumber,
    /// Counts that fall from one bucket to the next.
    #[error("the buckets are not cumulative: {0} after {1}")]
    NotCumulative(f64, f64),
    /// Neither a count nor a bucket.
    #[error("the histogram has neither a count nor buckets")]
    NoCount,
    /// The last bucket does not hold all observations.
    #[error("the count is {count}, but the last bucket holds {last}")]
    CountMismatch {
        /// Count of the histogram.
        count: f64,
        /// Count of the last bucket.
        last: f64,
    },
    /// Out of order, and too many to be put in order.
    #[error("more than {MAX_UNORDERED_BUCKETS} buckets that are not in order")]
    Unordered,
    /// The result would be no histogram.
    #[error("the converted histogram is invalid")]
    Invalid(#[source] HistogramError),
}

/// What has been seen of a classic histogram.
#[derive(Debug, Clone, Default)]
pub(super) struct ClassicHistogram {
    /// Upper bound and cumulative count, in order.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
    error: Option<ClassicHistogramError>,
}

impl ClassicHistogram {
    /// Forgets everything.
    pub(super) fn reset(&mut self) {
        self.buckets.clear();
        (self.count, self.sum, self.error) = (None, 0.0, None);
    }

    /// A bucket. After the first one that is wrong, nothing more is taken.
    pub(super) fn set_bucket(&mut self, bound: f64, count: f64) {
        if self.error.is_none() {
            self.error = self.add_bucket(bound, count).err();
        }
    }

    /// The count of all observations.
    pub(super) fn set_count(&mut self, count: f64) {
        if self.error.is_some() {
            return;
        }
        if count < 0.0 {
            self.error = Some(ClassicHistogramError::NegativeCount(count));
        } else {
            self.count = Some(count);
        }
    }

    /// The sum of all observations.
    pub(super) fn set_sum(&mut self, sum: f64) {
        if self.error.is_none() {
            self.sum = sum;
        }
    }

    fn add_bucket(&mut self, bound: f64, count: f64) -> Result<(), ClassicHistogramError> {
        if bound.is_nan() {
            return Err(ClassicHistogramError::BoundNotANumber);
        }
        if count < 0.0 {
            return Err(ClassicHistogramError::NegativeCount(count));
        }
        let at = match self.buckets.last() {
            Some(&(last, _)) if last >= bound => self.buckets.partition_point(|(other, _)| *other < bound),
            _ => self.buckets.len(),
        };
        let next = self.buckets.get(at).copied();
        if next.is_some_and(|(other, _)| other == bound) {
            // Of equal bounds the first one counts.
            return Ok(());
        }
        if let Some(&(_, before)) = at.checked_sub(1).and_then(|before| self.buckets.get(before))
            && count < before
        {
            return Err(ClassicHistogramError::NotCumulative(count, before));
        }
        if let Some((_, after)) = next {
            if count > after {
                return Err(ClassicHistogramError::NotCumulative(after, count));
            }
            if self.buckets.len() >= MAX_UNORDERED_BUCKETS {
                return Err(ClassicHistogramError::Unordered);
            }
        }
        self.buckets.insert(at, (bound, count));
        Ok(())
    }

    /// The histogram with custom buckets: of integer counts if all are integers.
    ///
    /// # Errors
    /// The first thing that was wrong with what was set, or with the whole.
    pub(super) fn convert(&self) -> Result<Histogram, ClassicHistogramError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let last = self.buckets.last();
        let count = self.count.or(last.map(|(_, count)| *count)).ok_or(ClassicHistogramError::NoCount)?;
        let mut buckets = self.buckets.clone();
        if last.is_none_or(|(bound, _)| *bound != f64::INFINITY) {
            buckets.push((f64::INFINITY, count));
        }
        let last = buckets.last().map_or(count, |(_, count)| *count);
        let integers = buckets.iter().all(|(_, count)| to_int64(count.round()) as f64 == *count);
        let integers = integers && (0.0..U64_LIMIT).contains(&count) && count.round() == count;
        let matches = if integers { count as u64 == last as u64 } else { count == last };
        if !matches {
            return Err(ClassicHistogramError::CountMismatch { count, last });
        }
        let mut histogram = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            sum: self.sum,
            positive_spans: vec![Span { offset: 0, length: buckets.len() as u32 }],
            custom_values: buckets[..buckets.len() - 1].iter().map(|(bound, _)| *bound).collect(),
            counts: if integers { integer_counts(count, &buckets) } else { float_counts(count, &buckets) },
            ..Histogram::stale()
        };
        let keep = if integers { 2 } else { 0 };
        histogram
            .compact(keep)
            .and_then(|()| histogram.validate())
            .map_err(ClassicHistogramError::Invalid)?;
        Ok(histogram)
    }
}

fn integer_counts(count: f64, buckets: &[(f64, f64)]) -> Counts {
    let (mut before, mut last) = (0i64, 0i64);
    let positive = buckets.iter().map(|(_, cumulative)| {
        let cumulative = to_int64(*cumulative);
        let own = cumulative.wrapping_sub(std::mem::replace(&mut before, cumulative));
        own.wrapping_sub(std::mem::replace(&mut last, own))
    });
    Counts::Integer { count: count as u64, zero: 0, positive: positive.collect(), negative: Vec::new() }
}

fn float_counts(count: f64, buckets: &[(f64, f64)]) -> Counts {
    let mut before = 0.0;
    let positive =
        buckets.iter().map(|(_, cumulative)| cumulative - std::mem::replace(&mut before, *cumulative));
    Counts::Float { count, zero: 0.0, positive: positive.collect(), negative: Vec::new() }
}

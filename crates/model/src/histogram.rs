//! Native histograms as Prometheus 3 has them (`model/histogram`): exponential buckets of a power-of-two schema, or
//! custom buckets (schema -53), with integer or float counts.

mod buckets;

use crate::sample::{is_stale_nan, stale_nan};
use buckets::Bucket;

/// Finest schema of exponential buckets that is stored.
pub const MAX_SCHEMA: i32 = 8;

/// Coarsest schema of exponential buckets that is stored.
pub const MIN_SCHEMA: i32 = -4;

/// Finest schema that may be exposed; it is reduced before it is stored.
const MAX_RESERVED_SCHEMA: i32 = 52;

/// Coarsest schema that the format reserves.
const MIN_RESERVED_SCHEMA: i32 = -9;

/// Schema of custom buckets, whose bounds are [`Histogram::custom_values`].
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// A run of consecutive buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Buckets between the end of the previous span and this one; of the first span, the index of its first bucket.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// Whether the counts began anew (remote write's `ResetHint`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResetHint {
    /// The reader has to find out by comparing.
    #[default]
    Unknown = 0,
    /// They did.
    Reset = 1,
    /// They did not.
    NoReset = 2,
    /// A gauge histogram, whose counts may fall at any time.
    Gauge = 3,
}

/// Counts of a histogram.
#[derive(Debug, Clone)]
pub enum Counts {
    /// Whole numbers. Each bucket is the difference to the bucket before it; the first one, to zero.
    Integer {
        /// Observations in all.
        count: u64,
        /// Observations within the zero threshold.
        zero: u64,
        /// Buckets of positive observations.
        positive: Vec<i64>,
        /// Buckets of negative observations.
        negative: Vec<i64>,
    },
    /// Floats. Each bucket is its own count.
    Float {
        /// Observations in all.
        count: f64,
        /// Observations within the zero threshold.
        zero: f64,
        /// Buckets of positive observations.
        positive: Vec<f64>,
        /// Buckets of negative observations.
        negative: Vec<f64>,
    },
}

/// A native histogram. Buckets are not cumulative.
#[derive(Debug, Clone)]
pub struct Histogram {
    /// Bounds of bucket `i` are `2^(2^-schema)` to the power of `i - 1` and `i`; [`CUSTOM_BUCKETS_SCHEMA`] has its
    /// bounds in `custom_values`.
    pub schema: i32,
    /// Observations of at most this distance from zero are in the zero bucket.
    pub zero_threshold: f64,
    /// Sum of the observations; the stale marker in a stale histogram.
    pub sum: f64,
    /// Whether the counts began anew.
    pub reset_hint: ResetHint,
    /// Where the positive buckets are.
    pub positive_spans: Vec<Span>,
    /// Where the negative buckets are.
    pub negative_spans: Vec<Span>,
    /// Upper bounds of custom buckets, strictly increasing, without the last one, infinity. Empty in every other
    /// schema.
    pub custom_values: Vec<f64>,
    /// All counts.
    pub counts: Counts,
}

/// Why a histogram is no histogram (Prometheus `Histogram.Validate`, `FloatHistogram.Validate`).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HistogramError {
    /// The schema cannot be stored.
    #[error("schema {0} is neither between -4 and 8 nor -53 (custom buckets)")]
    Schema(i32),
    /// There are more or fewer buckets than the spans describe.
    #[error("the spans describe {spans} buckets, but there are {buckets}")]
    SpansMismatch {
        /// Sum of the spans' lengths.
        spans: u64,
        /// Number of buckets.
        buckets: usize,
    },
    /// A span begins before the previous one ends.
    #[error("span {number} has the negative offset {offset}")]
    NegativeOffset {
        /// From 1.
        number: usize,
        /// Its offset.
        offset: i32,
    },
    /// A span ends beyond the range of bucket indices.
    #[error("span {number} has a bucket whose index does not fit 32 bits")]
    IndexRange {
        /// From 1.
        number: usize,
    },
    /// A bucket counts less than nothing.
    #[error("bucket {number} has a negative count")]
    NegativeBucket {
        /// From 1.
        number: usize,
    },
    /// The count of all observations is below zero.
    #[error("the count of observations is negative")]
    NegativeCount,
    /// The buckets hold more, or fewer, observations than there are.
    #[error("the buckets hold {buckets} observations, but there are {count}")]
    CountMismatch {
        /// Sum of all buckets.
        buckets: u64,
        /// The histogram's count.
        count: u64,
    },
    /// Custom bounds that are not finite and strictly increasing.
    #[error("custom bounds must be finite and strictly increasing")]
    CustomBounds,
    /// More buckets than custom bounds.
    #[error("{bounds} custom bounds are too few for {buckets} buckets")]
    TooFewCustomBounds {
        /// Number of bounds.
        bounds: usize,
        /// Buckets from the first to the end of the last span.
        buckets: u64,
    },
    /// Custom buckets together with a zero bucket or negative buckets.
    #[error("custom buckets go with neither a zero bucket nor negative buckets")]
    CustomWithOthers,
    /// Custom bounds in an exponential schema.
    #[error("an exponential schema has no custom bounds")]
    ExponentialWithBounds,
    /// The schema cannot be made coarser.
    #[error("the resolution cannot be reduced from schema {from} to {to}")]
    Reduction {
        /// The histogram's schema.
        from: i32,
        /// The schema asked for.
        to: i32,
    },
    /// `native_histogram_bucket_limit`.
    #[error("histogram bucket limit exceeded")]
    BucketLimit,
}

impl Histogram {
    /// The stale marker of a series of native histograms.
    pub fn stale() -> Self {
        Self {
            schema: 0,
            zero_threshold: 0.0,
            sum: stale_nan(),
            reset_hint: ResetHint::Unknown,
            positive_spans: Vec::new(),
            negative_spans: Vec::new(),
            custom_values: Vec::new(),
            counts: Counts::Integer { count: 0, zero: 0, positive: Vec::new(), negative: Vec::new() },
        }
    }

    /// Whether this is the stale marker.
    pub fn is_stale(&self) -> bool {
        is_stale_nan(self.sum)
    }

    /// Whether the counts are floats.
    pub fn is_float(&self) -> bool {
        matches!(self.counts, Counts::Float { .. })
    }

    /// Whether the buckets have bounds of their own.
    pub fn has_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// Number of buckets besides the zero bucket, empty ones included.
    pub fn bucket_count(&self) -> usize {
        match &self.counts {
            Counts::Integer { positive, negative, .. } => positive.len() + negative.len(),
            Counts::Float { positive, negative, .. } => positive.len() + negative.len(),
        }
    }

    /// Checks what Prometheus checks before it stores a histogram.
    ///
    /// The count of an integer histogram must be that of its buckets, or not less where the sum is NaN, because NaN
    /// is in no bucket. That of a float histogram is not compared.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), HistogramError> {
        match &self.counts {
            Counts::Integer { count, zero, positive, negative } => {
                self.validate_layout(positive, negative, *zero == 0, false)?;
                let held =
                    buckets::total(positive).wrapping_add(buckets::total(negative)).wrapping_add(*zero);
                let fits = if self.sum.is_nan() { held <= *count } else { held == *count };
                if fits {
                    Ok(())
                } else {
                    Err(HistogramError::CountMismatch { buckets: held, count: *count })
                }
            }
            Counts::Float { count, zero, positive, negative } => {
                self.validate_layout(positive, negative, *zero == 0.0, *zero < 0.0)?;
                if *count < 0.0 { Err(HistogramError::NegativeCount) } else { Ok(()) }
            }
        }
    }

    fn validate_layout<B: Bucket>(
        &self,
        positive: &[B],
        negative: &[B],
        zero_is_empty: bool,
        zero_is_negative: bool,
    ) -> Result<(), HistogramError> {
        match self.schema {
            CUSTOM_BUCKETS_SCHEMA => {
                buckets::check_custom_bounds(&self.custom_values, &self.positive_spans, positive.len())?;
                let alone = zero_is_empty && self.zero_threshold == 0.0;
                if !alone || !self.negative_spans.is_empty() || !negative.is_empty() {
                    return Err(HistogramError::CustomWithOthers);
                }
            }
            MIN_SCHEMA..=MAX_SCHEMA => {
                buckets::check_spans(&self.positive_spans, positive.len())?;
                buckets::check_spans(&self.negative_spans, negative.len())?;
                buckets::check_counts(negative)?;
                if zero_is_negative {
                    return Err(HistogramError::NegativeCount);
                }
                if !self.custom_values.is_empty() {
                    return Err(HistogramError::ExponentialWithBounds);
                }
            }
            other => return Err(HistogramError::Schema(other)),
        }
        buckets::check_counts(positive)
    }

    /// Leaves out empty buckets; up to `keep` in a row stay where a span or two go on around them
    /// (Prometheus `Compact`).
    ///
    /// # Errors
    /// When the spans describe another number of buckets than there are; the histogram is then as it was.
    pub fn compact(&mut self, keep: u32) -> Result<(), HistogramError> {
        self.edit(Edit::Compact { keep })
    }

    /// Merges buckets until the schema is `schema` (Prometheus `ReduceResolution`).
    ///
    /// # Errors
    /// When the schema is not coarser than the histogram's, either is one of custom buckets, or the spans are wrong;
    /// the histogram is then as it was.
    pub fn reduce_resolution(&mut self, schema: i32) -> Result<(), HistogramError> {
        let from = self.schema;
        if self.has_custom_buckets() || schema == CUSTOM_BUCKETS_SCHEMA || schema >= from {
            return Err(HistogramError::Reduction { from, to: schema });
        }
        let shift = from.saturating_sub(schema).unsigned_abs().min(31);
        self.edit(Edit::Merge { shift })?;
        self.schema = schema;
        Ok(())
    }

    /// Makes an exponential histogram as coarse as `schema` if it is finer (`native_histogram_min_bucket_factor`,
    /// Prometheus `scrape.maxSchemaAppender`).
    ///
    /// # Errors
    /// When the spans are wrong.
    pub fn limit_schema(&mut self, schema: i32) -> Result<(), HistogramError> {
        let exponential = (MIN_RESERVED_SCHEMA..=MAX_RESERVED_SCHEMA).contains(&self.schema);
        if exponential && self.schema > schema { self.reduce_resolution(schema) } else { Ok(()) }
    }

    /// Halves the resolution until there are at most `limit` buckets (`native_histogram_bucket_limit`, Prometheus
    /// `scrape.bucketLimitAppender`).
    ///
    /// # Errors
    /// [`HistogramError::BucketLimit`] when even the coarsest schema has more, or the buckets are custom.
    pub fn limit_buckets(&mut self, limit: usize) -> Result<(), HistogramError> {
        while self.bucket_count() > limit {
            if self.schema <= MIN_SCHEMA || self.schema > MAX_SCHEMA {
                return Err(HistogramError::BucketLimit);
            }
            self.reduce_resolution(self.schema - 1)?;
        }
        Ok(())
    }

    /// Changes both sides, or neither.
    fn edit(&mut self, edit: Edit) -> Result<(), HistogramError> {
        let spans = (&mut self.positive_spans, &mut self.negative_spans);
        match &mut self.counts {
            Counts::Integer { positive, negative, .. } => edit.apply(spans, (positive, negative)),
            Counts::Float { positive, negative, .. } => edit.apply(spans, (positive, negative)),
        }
    }
}

impl PartialEq for Histogram {
    /// Equal by the bits of every float, so that NaN equals itself and differs from the stale marker.
    fn eq(&self, other: &Self) -> bool {
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let counts = match (&self.counts, &other.counts) {
            (
                Counts::Integer { count, zero, positive, negative },
                Counts::Integer { count: count2, zero: zero2, positive: positive2, negative: negative2 },
            ) => (count, zero, positive, negative) == (count2, zero2, positive2, negative2),
            (
                Counts::Float { count, zero, positive, negative },
                Counts::Float { count: count2, zero: zero2, positive: positive2, negative: negative2 },
            ) => {
                bits(&[*count, *zero]) == bits(&[*count2, *zero2])
                    && bits(positive) == bits(positive2)
                    && bits(negative) == bits(negative2)
            }
            _ => false,
        };
        counts
            && (self.schema, self.reset_hint) == (other.schema, other.reset_hint)
            && bits(&[self.sum, self.zero_threshold]) == bits(&[other.sum, other.zero_threshold])
            && self.positive_spans == other.positive_spans
            && self.negative_spans == other.negative_spans
            && bits(&self.custom_values) == bits(&other.custom_values)
    }
}

/// A change of layout that works on each side by itself.
#[derive(Debug, Clone, Copy)]
enum Edit {
    Compact { keep: u32 },
    Merge { shift: u32 },
}

impl Edit {
    fn apply<B: Bucket>(
        self,
        spans: (&mut Vec<Span>, &mut Vec<Span>),
        counts: (&mut Vec<B>, &mut Vec<B>),
    ) -> Result<(), HistogramError> {
        let change = |spans: &[Span], counts: &[B]| match self {
            Edit::Compact { keep } => buckets::compact(spans, counts, keep),
            Edit::Merge { shift } => buckets::merge(spans, counts, shift),
        };
        let positive = change(spans.0, counts.0)?;
        let negative = change(spans.1, counts.1)?;
        (*spans.0, *counts.0) = positive;
        (*spans.1, *counts.1) = negative;
        Ok(())
    }
}

/// The finest schema whose buckets grow by at least `factor` each (Prometheus `scrape.pickSchema`). Up to 1, any.
pub fn schema_for_factor(factor: f64) -> i32 {
    if factor <= 1.0 {
        return MAX_SCHEMA;
    }
    let schema = -log2(log2(factor));
    schema.floor().clamp(f64::from(MIN_SCHEMA), f64::from(MAX_SCHEMA)) as i32
}

/// Go's `math.Log2`, which is exact for powers of two.
fn log2(value: f64) -> f64 {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32;
    if !value.is_finite() || value <= 0.0 || exponent == 0 {
        return value.log2();
    }
    let fraction = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | (1022 << 52));
    if fraction == 0.5 {
        return f64::from(exponent - 1023);
    }
    fraction.ln() * (1.0 / std::f64::consts::LN_2) + f64::from(exponent - 1022)
}

#[cfg(test)]
mod tests;

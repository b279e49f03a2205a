//! One side of a histogram: spans and the buckets they describe.

use super::{HistogramError, Span};

/// A bucket as it is stored.
pub(super) trait Bucket: Copy {
    const ZERO: Self;

    /// The count of a bucket that is stored like this after one that counts `before`.
    fn count(self, before: Self) -> Self;

    /// How a bucket that counts `self` is stored after one that counts `before`.
    fn store(self, before: Self) -> Self;

    fn plus(self, other: Self) -> Self;

    fn is_zero(self) -> bool;

    fn is_negative(self) -> bool;
}

/// Differences to the bucket before. Sums wrap around, as in Go.
impl Bucket for i64 {
    const ZERO: Self = 0;

    fn count(self, before: Self) -> Self {
        before.wrapping_add(self)
    }

    fn store(self, before: Self) -> Self {
        self.wrapping_sub(before)
    }

    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    fn is_zero(self) -> bool {
        self == 0
    }

    fn is_negative(self) -> bool {
        self < 0
    }
}

/// Counts of their own.
impl Bucket for f64 {
    const ZERO: Self = 0.0;

    fn count(self, _before: Self) -> Self {
        self
    }

    fn store(self, _before: Self) -> Self {
        self
    }

    fn plus(self, other: Self) -> Self {
        self + other
    }

    fn is_zero(self) -> bool {
        self == 0.0
    }

    fn is_negative(self) -> bool {
        self < 0.0
    }
}

/// Observations in all buckets.
pub(super) fn total(deltas: &[i64]) -> u64 {
    let mut count = 0;
    let mut sum = 0u64;
    for delta in deltas {
        count = delta.count(count);
        sum = sum.wrapping_add(count.cast_unsigned());
    }
    sum
}

/// Whether no bucket counts less than nothing (`checkHistogramBuckets`).
pub(super) fn check_counts<B: Bucket>(buckets: &[B]) -> Result<(), HistogramError> {
    let mut before = B::ZERO;
    for (at, bucket) in buckets.iter().enumerate() {
        before = bucket.count(before);
        if before.is_negative() {
            return Err(HistogramError::NegativeBucket { number: at + 1 });
        }
    }
    Ok(())
}

/// Whether the spans of exponential buckets are in order and describe that many (`checkHistogramSpans`).
pub(super) fn check_spans(spans: &[Span], buckets: usize) -> Result<(), HistogramError> {
    let mut end = 0i64;
    for (at, span) in spans.iter().enumerate() {
        let number = at + 1;
        if at > 0 && span.offset < 0 {
            return Err(HistogramError::NegativeOffset { number, offset: span.offset });
        }
        end += i64::from(span.offset) + i64::from(span.length);
        if (at == 0 && span.offset == i32::MIN) || end - 1 > i64::from(i32::MAX) {
            return Err(HistogramError::IndexRange { number });
        }
    }
    check_length(spans, buckets)
}

/// Whether custom bounds are in order and enough for the spans (`checkHistogramCustomBounds`).
pub(super) fn check_custom_bounds(
    bounds: &[f64],
    spans: &[Span],
    buckets: usize,
) -> Result<(), HistogramError> {
    let increasing = bounds.windows(2).all(|pair| pair[0] < pair[1]);
    let finite = bounds.last() != Some(&f64::INFINITY) && !bounds.iter().any(|bound| bound.is_nan());
    if !increasing || !finite {
        return Err(HistogramError::CustomBounds);
    }
    let mut end = 0u64;
    for (at, span) in spans.iter().enumerate() {
        let offset = u64::try_from(span.offset)
            .map_err(|_| HistogramError::NegativeOffset { number: at + 1, offset: span.offset })?;
        end += offset + u64::from(span.length);
    }
    check_length(spans, buckets)?;
    if (bounds.len() as u64) + 1 < end {
        return Err(HistogramError::TooFewCustomBounds { bounds: bounds.len(), buckets: end });
    }
    Ok(())
}

fn check_length(spans: &[Span], buckets: usize) -> Result<(), HistogramError> {
    let length: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    if length == buckets as u64 {
        Ok(())
    } else {
        Err(HistogramError::SpansMismatch { spans: length, buckets })
    }
}

/// A side as it is built up from counts.
struct Build<B> {
    spans: Vec<Span>,
    buckets: Vec<B>,
    /// Count of the last bucket.
    last: B,
}

impl<B: Bucket> Build<B> {
    fn new() -> Self {
        Self { spans: Vec::new(), buckets: Vec::new(), last: B::ZERO }
    }

    /// A bucket in the last span, or in a new one `offset` buckets further.
    fn push(&mut self, offset: Option<i32>, count: B) {
        match (offset, self.spans.last_mut()) {
            (None, Some(span)) => span.length += 1,
            (offset, _) => self.spans.push(Span { offset: offset.unwrap_or(0), length: 1 }),
        }
        self.buckets.push(count.store(self.last));
        self.last = count;
    }

    fn done(self) -> (Vec<Span>, Vec<B>) {
        (self.spans, self.buckets)
    }
}

/// Leaves out empty buckets, but for up to `keep` in a row within a span or between two (`compactBuckets`). Offsets
/// wrap around, as in Go.
pub(super) fn compact<B: Bucket>(
    spans: &[Span],
    buckets: &[B],
    keep: u32,
) -> Result<(Vec<Span>, Vec<B>), HistogramError> {
    check_length(spans, buckets.len())?;
    let mut build = Build::new();
    let mut rest = buckets;
    let mut count = B::ZERO;
    // Empty buckets since the last one that was kept, beyond what a later span's offset says.
    let mut gap = 0i32;
    for span in joined(spans) {
        gap = gap.wrapping_add(span.offset);
        let (own, others) = rest.split_at(span.length as usize);
        rest = others;
        let mut open = false;
        let mut empty = 0u32;
        for bucket in own {
            count = bucket.count(count);
            if count.is_zero() {
                empty += 1;
                continue;
            }
            if open && empty <= keep {
                (0..empty).for_each(|_| build.push(None, B::ZERO));
                build.push(None, count);
            } else {
                build.push(Some(gap.wrapping_add(empty.cast_signed())), count);
            }
            (open, empty, gap) = (true, 0, 0);
        }
        gap = gap.wrapping_add(empty.cast_signed());
    }
    let (spans, buckets) = build.done();
    if keep == 0 { Ok((spans, buckets)) } else { Ok(close_gaps(&spans, &buckets, keep)) }
}

/// Fills gaps of up to `keep` buckets between spans with empty buckets.
fn close_gaps<B: Bucket>(spans: &[Span], buckets: &[B], keep: u32) -> (Vec<Span>, Vec<B>) {
    let mut build = Build::new();
    let mut rest = buckets.iter();
    let mut count = B::ZERO;
    for span in spans {
        let mut offset = Some(span.offset);
        if let Ok(gap) = u32::try_from(span.offset)
            && gap <= keep
            && !build.spans.is_empty()
        {
            (0..gap).for_each(|_| build.push(None, B::ZERO));
            offset = None;
        }
        for bucket in rest.by_ref().take(span.length as usize) {
            count = bucket.count(count);
            build.push(offset.take(), count);
        }
    }
    build.done()
}

/// The spans, those without a gap between them as one, none empty.
fn joined(spans: &[Span]) -> Vec<Span> {
    let mut touching: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match touching.last_mut() {
            Some(last) if span.offset == 0 => last.length += span.length,
            _ => touching.push(*span),
        }
    }
    let mut joined: Vec<Span> = Vec::with_capacity(touching.len());
    let mut gap = 0i32;
    for span in touching {
        gap = gap.wrapping_add(span.offset);
        if span.length > 0 {
            joined.push(Span { offset: gap, length: span.length });
            gap = 0;
        }
    }
    joined
}

/// Merges each `2^shift` buckets into one (`reduceResolution`).
pub(super) fn merge<B: Bucket>(
    spans: &[Span],
    buckets: &[B],
    shift: u32,
) -> Result<(Vec<Span>, Vec<B>), HistogramError> {
    check_spans(spans, buckets.len())?;
    let mut spans_out: Vec<Span> = Vec::new();
    let mut counts: Vec<B> = Vec::new();
    let mut rest = buckets.iter();
    let (mut index, mut count, mut last) = (0i64, B::ZERO, None);
    for span in spans {
        index += i64::from(span.offset);
        for bucket in rest.by_ref().take(span.length as usize) {
            count = bucket.count(count);
            let target = ((index - 1) >> shift) + 1;
            index += 1;
            let gap = last.map(|last| target - last - 1);
            last = Some(target);
            match (gap, counts.last_mut(), spans_out.last_mut()) {
                (Some(-1), Some(merged), _) => {
                    *merged = merged.plus(count);
                    continue;
                }
                (Some(0), _, Some(span)) => span.length += 1,
                _ => {
                    let offset = i32::try_from(gap.unwrap_or(target))
                        .expect("a merged index is not further from zero than a checked one");
                    spans_out.push(Span { offset, length: 1 });
                }
            }
            counts.push(count);
        }
    }
    let mut before = B::ZERO;
    let buckets =
        counts.into_iter().map(|count| count.store(std::mem::replace(&mut before, count))).collect();
    Ok((spans_out, buckets))
}

//! Rates of counters and gauges over a window, extrapolated to its edges.

use super::{Point, Value};

/// A counter's or a gauge's change over a window of floats (Prometheus `extrapolatedRate`).
pub(super) fn extrapolated(
    window: &[Point],
    (start, end): (i64, i64),
    is_counter: bool,
    is_rate: bool,
) -> Option<f64> {
    let value = |point: &Point| point.value.float().unwrap_or(f64::NAN);
    let (first, last) = (window.first()?, window.last()?);
    let gaps = window.len() - 1;
    let mut result = value(last) - value(first);
    if is_counter {
        for pair in window.windows(2) {
            let reset = starts_anew(pair[0].start, pair[0].time, pair[1].start, pair[1].time);
            if value(&pair[1]) < value(&pair[0]) || reset {
                result += value(&pair[0]);
            }
        }
    }
    let seconds = |millis: i64| millis as f64 / 1000.0;
    let mut to_start = seconds(first.time - start);
    let mut to_end = seconds(end - last.time);
    let mut sampled = seconds(last.time - first.time);
    let average = if gaps > 0 { sampled / gaps as f64 } else { 0.0 };
    let threshold = average * 1.1;
    let began = first.start;
    if is_counter && began != 0 && began > start && began < first.time {
        to_start = 0.0;
        sampled = seconds(last.time - began);
        result += value(first);
    } else if gaps == 0 {
        return None;
    } else {
        if to_start >= threshold {
            to_start = average / 2.0;
        }
        if is_counter && result > 0.0 && value(first) >= 0.0 {
            // A counter is not extrapolated below zero.
            to_start = to_start.min(sampled * (value(first) / result));
        }
    }
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    let mut factor = if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled };
    if is_rate {
        factor /= seconds(end - start);
    }
    Some(result * factor)
}

/// The floats that an `anchored` or `smoothed` range is made of: a value at its start, the samples inside, a value at
/// its end. The samples reach one lookback beyond the range. None where no sample says anything of the range.
pub(super) fn extended(
    floats: &[(i64, f64)],
    (start, end): (i64, i64),
    is_smoothed: bool,
    is_counter: bool,
) -> Option<Vec<(i64, f64)>> {
    let mut last = floats.len().checked_sub(1)?;
    let first = floats[..last].partition_point(|(time, _)| *time <= start).saturating_sub(1);
    if is_smoothed {
        last = floats[..last].partition_point(|(time, _)| *time < end);
    }
    if floats[last].0 <= start || (is_smoothed && floats[first].0 > end) {
        return None;
    }
    let between = |(t1, low): (i64, f64), (t2, high): (i64, f64), time: i64| {
        let low = if is_counter && high < low { 0.0 } else { low };
        low + (high - low) * (time - t1) as f64 / (t2 - t1) as f64
    };
    let left = if is_smoothed && floats[first].0 < start {
        between(floats[first], floats[first + 1], start)
    } else {
        floats[first].1
    };
    let right = if floats[last].0 <= end || last == 0 {
        floats[last].1
    } else if is_smoothed {
        between(floats[last - 1], floats[last], end)
    } else {
        floats[last - 1].1
    };
    let mut points = vec![(start, left)];
    points.extend(floats[first..=last].iter().filter(|(time, _)| *time > start && *time < end));
    points.push((end, right));
    Some(points)
}

/// The change over the points of an extended range.
pub(super) fn of_extended(points: &[(i64, f64)], is_counter: bool) -> f64 {
    let mut change = points[points.len() - 1].1 - points[0].1;
    if is_counter {
        change += points.windows(2).filter(|pair| pair[1].1 < pair[0].1).map(|pair| pair[0].1).sum::<f64>();
    }
    change
}

/// What a change is multiplied by, for the change of a counter or gauge of these values.
pub(super) fn factor(window: &[Point], bounds: (i64, i64), is_counter: bool, is_rate: bool) -> Option<f64> {
    let values = |point: &Point| point.value.float().unwrap_or(f64::NAN);
    let change = values(window.last()?) - values(window.first()?);
    // A change of zero is extrapolated as any other that does not meet zero.
    let (window, change) = if change > 0.0 {
        (window.to_vec(), change)
    } else {
        let mut moved = window.to_vec();
        let last = moved.len() - 1;
        moved.iter_mut().for_each(|point| point.value = Value::Float(1e300));
        moved[last].value = Value::Float(2e300);
        (moved, 1e300)
    };
    Some(extrapolated(&window, bounds, is_counter, is_rate)? / change)
}

/// Whether a start time between two samples says that the counter began anew.
fn starts_anew(start_before: i64, before: i64, start: i64, now: i64) -> bool {
    if start_before == start || start == 0 || start >= now || start < before {
        return false;
    }
    if start > before {
        return true;
    }
    start_before <= before && start_before != 0 && start_before != before
}

/// The change between the last two samples.
pub(super) fn instant(window: &[Point], is_rate: bool) -> Option<f64> {
    let [.., before, last] = window else { return None };
    let (Value::Float(earlier), Value::Float(later)) = (&before.value, &last.value) else { return None };
    let reset = is_rate && (later < earlier || starts_anew(before.start, before.time, last.start, last.time));
    let change = if reset { *later } else { later - earlier };
    let millis = last.time - before.time;
    if millis == 0 {
        return None;
    }
    Some(if is_rate { change / (millis as f64 / 1000.0) } else { change })
}

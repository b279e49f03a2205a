//! When a CronJob runs next, as kube-state-metrics 2.20 takes its schedule.
//!
//! Source: netresearch/go-cron 0.15.1 with its standard parser, whose peculiarities are kept: a day has to match both
//! the day of the month and the weekday, ranges may wrap around, a step has to be smaller than its range, and what
//! falls into an hour that is left out in spring runs right after it.

mod search;

use std::sync::LazyLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use self::search::Search;
use crate::options::parse_duration;

/// Characters that a schedule with its time zone may have.
const LONGEST: usize = 1024;

/// Unix seconds of Go's zero `time.Time`, which stands for "never".
const NEVER: i64 = -62_135_596_800;

/// When something runs.
#[derive(Debug)]
pub(super) enum Schedule {
    /// By the calendar.
    Calendar(Box<Calendar>),
    /// So many seconds after the last time.
    Every(i64),
    /// Never by itself.
    Triggered,
}

/// Times of a calendar: the bits of the values that each field may have.
#[derive(Debug)]
pub(super) struct Calendar {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    zone: TimeZone,
}

/// The values of a field.
struct Bounds {
    least: u64,
    most: u64,
    /// Names of the values from `least` on.
    names: &'static [&'static str],
}

const MINUTES: Bounds = Bounds { least: 0, most: 59, names: &[] };
const HOURS: Bounds = Bounds { least: 0, most: 23, names: &[] };
const DAYS: Bounds = Bounds { least: 1, most: 31, names: &[] };
const MONTHS: Bounds = Bounds {
    least: 1,
    most: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
/// Sunday is 0 and 7.
const WEEKDAYS: Bounds =
    Bounds { least: 0, most: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

impl Schedule {
    /// Reads a schedule in its time zone, or in the local one where it has none; `None` where kube-state-metrics takes
    /// it as invalid.
    pub(super) fn parse(schedule: &str, zone: Option<&str>, local: &TimeZone) -> Option<Self> {
        match zone {
            Some(zone) => Self::parse_text(&format!("CRON_TZ={zone} {schedule}"), local),
            None => Self::parse_text(schedule, local),
        }
    }

    /// Unix seconds of the first time after `after`, of Go's zero time where there is none within five years.
    pub(super) fn next(&self, after: i64) -> i64 {
        match self {
            Self::Calendar(calendar) => calendar.next(after).unwrap_or(NEVER),
            Self::Every(seconds) => after.saturating_add(*seconds),
            Self::Triggered => NEVER,
        }
    }

    fn parse_text(text: &str, local: &TimeZone) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let (zone, text) = split_zone(text, local)?;
        if text.starts_with('@') {
            return Self::named(text, zone);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else { return None };
        Some(Self::calendar(
            zone,
            bits(minutes, &MINUTES)?,
            bits(hours, &HOURS)?,
            bits(days, &DAYS)?,
            bits(months, &MONTHS)?,
            bits(weekdays, &WEEKDAYS)?,
        ))
    }

    /// A schedule that has a name.
    fn named(name: &str, zone: TimeZone) -> Option<Self> {
        let (all_hours, all_days, all_months) = (HOURS.all(), DAYS.all(), MONTHS.all());
        let (hours, days, months, weekdays) = match name {
            "@yearly" | "@annually" => (1, 1 << 1, 1 << 1, WEEKDAYS.all()),
            "@monthly" => (1, 1 << 1, all_months, WEEKDAYS.all()),
            "@weekly" => (1, all_days, all_months, 1),
            "@daily" | "@midnight" => (1, all_days, all_months, WEEKDAYS.all()),
            "@hourly" => (all_hours, all_days, all_months, WEEKDAYS.all()),
            "@triggered" | "@manual" | "@none" => return Some(Self::Triggered),
            _ => {
                let every = parse_duration(name.strip_prefix("@every ")?).ok()?.as_secs();
                return i64::try_from(every).ok().filter(|seconds| *seconds > 0).map(Self::Every);
            }
        };
        Some(Self::calendar(zone, 1, hours, days, months, weekdays))
    }

    fn calendar(zone: TimeZone, minutes: u64, hours: u64, days: u64, months: u64, weekdays: u64) -> Self {
        // Sunday as 7 is Sunday as 0.
        let weekdays = (weekdays | (weekdays >> 7)) & 0x7f;
        Self::Calendar(Box::new(Calendar { minutes, hours, days, months, weekdays, zone }))
    }
}

impl Calendar {
    fn next(&self, after: i64) -> Option<i64> {
        // A field may have no value at all: "," is one.
        if [self.minutes, self.hours, self.days, self.months, self.weekdays].contains(&0) {
            return None;
        }
        Search::begin(self, after)?.run()
    }
}

impl Bounds {
    fn all(&self) -> u64 {
        (self.least..=self.most).fold(0, |bits, value| bits | 1 << value)
    }

    /// A value by its number or name.
    fn value(&self, text: &str) -> Option<u64> {
        let named = self.names.iter().position(|name| text.eq_ignore_ascii_case(name));
        named.map_or_else(|| number(text), |place| Some(self.least + place as u64))
    }
}

fn number(text: &str) -> Option<u64> {
    u64::try_from(text.parse::<i64>().ok()?).ok()
}

/// The time zone that a text begins with, and what follows.
fn split_zone<'t>(text: &'t str, local: &TimeZone) -> Option<(TimeZone, &'t str)> {
    let Some(named) = text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ=")) else {
        return Some((local.clone(), text));
    };
    let (name, rest) = named.split_once(' ')?;
    let unquoted = |quote| name.strip_prefix(quote)?.strip_suffix(quote);
    let name = unquoted('"').or_else(|| unquoted('\'')).unwrap_or(name);
    let zone = if name == "Local" { local.clone() } else { time_zone(name)? };
    Some((zone, rest.trim())).filter(|(_, rest)| !rest.is_empty())
}

/// The time zone of a name as Go finds it: only in the right case.
fn time_zone(name: &str) -> Option<TimeZone> {
    static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-+:".contains(&byte);
    if name.len() > 64 || !name.bytes().all(allowed) {
        return None;
    }
    ZONES.get(name).ok().filter(|zone| zone.iana_name() == Some(name))
}

/// The values of a field: a list of ranges.
fn bits(field: &str, bounds: &Bounds) -> Option<u64> {
    field
        .split(',')
        .filter(|range| !range.is_empty())
        .try_fold(0, |bits, range| Some(bits | range_bits(range, bounds)?))
}

/// The values of `*`, `5`, `5-10`, each of which may have a step: `5/2` is `5-<most>/2`.
fn range_bits(text: &str, bounds: &Bounds) -> Option<u64> {
    let (range, step) = match text.split_once('/') {
        Some((range, step)) => (range, Some(number(step)?)),
        None => (text, None),
    };
    let mut ends = range.split('-');
    let (first, last) = (ends.next()?, ends.next());
    let (start, mut end) = if matches!(first, "*" | "?") {
        (bounds.least, bounds.most)
    } else {
        let start = bounds.value(first)?;
        if ends.next().is_some() {
            return None;
        }
        (start, last.map_or(Some(start), |last| bounds.value(last))?)
    };
    if step.is_some() && last.is_none() {
        end = bounds.most;
    }
    stepped(start, end, step.unwrap_or(1), bounds)
}

/// The values from `start` to `end`, which are around the turn when `end` is smaller. A start above all values wraps
/// around too, in arithmetic without a sign.
fn stepped(start: u64, end: u64, step: u64, bounds: &Bounds) -> Option<u64> {
    let (least, most) = (bounds.least, bounds.most);
    if start < least || end > most || step == 0 {
        return None;
    }
    let count = most - least + 1;
    let size = if start > end {
        (most.wrapping_sub(start).wrapping_add(1)).wrapping_add(end.wrapping_sub(least).wrapping_add(1))
    } else {
        end - start + 1
    };
    if step > 1 && step >= size {
        return None;
    }
    let end = if start > end { end + count } else { end };
    let mut bits = 0;
    let mut value = start;
    while value <= end {
        bits |= 1 << if value > most { (value - least) % count + least } else { value };
        value += step;
    }
    Some(bits)
}

#[cfg(test)]
mod tests;

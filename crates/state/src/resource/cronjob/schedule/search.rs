//! The search for the next time of a calendar: field by field from the month down, each moved on until it matches.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::Calendar;

/// Years that are searched.
const YEARS: i16 = 5;

const HOUR: i64 = 3600;
const MINUTE: i64 = 60;

/// A search that stands at a time.
pub(super) struct Search<'c> {
    calendar: &'c Calendar,
    unix: i64,
    /// The same in the calendar's time zone.
    civil: DateTime,
    /// Whether a field was moved on: the smaller ones are at their beginning then.
    moved: bool,
}

/// What became of a field.
enum Moved {
    /// It matches.
    Matches,
    /// It went over into the next greater one, so all are looked at again.
    Over,
}

impl<'c> Search<'c> {
    /// Begins with the second after `after`; `None` out of the years that there are.
    pub(super) fn begin(calendar: &'c Calendar, after: i64) -> Option<Self> {
        let unix = after.checked_add(1)?;
        Some(Self { calendar, unix, civil: civil(&calendar.zone, unix)?, moved: false })
    }

    /// Unix seconds of the first time that matches.
    pub(super) fn run(mut self) -> Option<i64> {
        let last_year = self.civil.year().checked_add(YEARS)?;
        while self.civil.year() <= last_year {
            let steps = [Self::month, Self::day, Self::hour, Self::minute, Self::second];
            let mut matches = true;
            for step in steps {
                if matches!(step(&mut self)?, Moved::Over) {
                    matches = false;
                    break;
                }
            }
            if matches {
                return Some(self.unix);
            }
        }
        None
    }

    fn month(&mut self) -> Option<Moved> {
        while !has(self.calendar.months, self.civil.month()) {
            if !self.moved {
                self.begin_at(self.civil.date().first_of_month().to_datetime(Time::midnight()))?;
            }
            let day = self.civil.day();
            let next = self.civil.date().last_of_month().tomorrow().ok()?;
            let date = next.checked_add((i64::from(day) - 1).days()).ok()?;
            self.go_to(date.to_datetime(self.civil.time()))?;
            if self.civil.month() == 1 {
                return Some(Moved::Over);
            }
        }
        Some(Moved::Matches)
    }

    fn day(&mut self) -> Option<Moved> {
        while !self.matches_day(self.civil.date()) {
            if !self.moved {
                self.begin_at(self.civil.date().to_datetime(Time::midnight()))?;
            }
            self.go_to(self.civil.date().tomorrow().ok()?.to_datetime(self.civil.time()))?;
            self.find_midnight()?;
            if self.civil.day() == 1 {
                return Some(Moved::Over);
            }
        }
        Some(Moved::Matches)
    }

    fn matches_day(&self, date: Date) -> bool {
        let weekday = date.weekday().to_sunday_zero_offset();
        has(self.calendar.days, date.day()) && has(self.calendar.weekdays, weekday)
    }

    /// To the midnight nearest by the clock, where the day had none.
    fn find_midnight(&mut self) -> Option<()> {
        match i64::from(self.civil.hour()) {
            0 => Some(()),
            hour if hour > 12 => self.wait((24 - hour) * HOUR),
            hour => self.wait(-hour * HOUR),
        }
    }

    fn hour(&mut self) -> Option<Moved> {
        while !has(self.calendar.hours, self.civil.hour()) {
            if !self.moved {
                self.begin_at(self.civil.date().to_datetime(Time::new(self.civil.hour(), 0, 0, 0).ok()?))?;
            }
            let before = self.civil.hour();
            self.wait(HOUR)?;
            // What was to run in an hour that is left out runs right after it.
            let hour = self.civil.hour();
            if hour - before == 2 && has(self.calendar.hours, hour - 1) {
                break;
            }
            if hour == 0 {
                return Some(Moved::Over);
            }
        }
        Some(Moved::Matches)
    }

    fn minute(&mut self) -> Option<Moved> {
        while !has(self.calendar.minutes, self.civil.minute()) {
            if !self.moved {
                self.moved = true;
                self.wait(-self.unix.rem_euclid(MINUTE))?;
            }
            self.wait(MINUTE)?;
            if self.civil.minute() == 0 {
                return Some(Moved::Over);
            }
        }
        Some(Moved::Matches)
    }

    fn second(&mut self) -> Option<Moved> {
        while self.civil.second() != 0 {
            self.moved = true;
            self.wait(1)?;
            if self.civil.second() == 0 {
                return Some(Moved::Over);
            }
        }
        Some(Moved::Matches)
    }

    /// To the beginning of a field, before it is moved on for the first time.
    fn begin_at(&mut self, civil: DateTime) -> Option<()> {
        self.moved = true;
        self.go_to(civil)
    }

    fn wait(&mut self, seconds: i64) -> Option<()> {
        self.unix = self.unix.checked_add(seconds)?;
        self.civil = civil(&self.calendar.zone, self.unix)?;
        Some(())
    }

    /// To a time of the clock; one that is left out or comes twice is taken as Go's `time.Date` does: by the offset
    /// that counts at the time that the offset at that time in UTC leads to.
    fn go_to(&mut self, wanted: DateTime) -> Option<()> {
        let zone = &self.calendar.zone;
        let utc = TimeZone::UTC.to_timestamp(wanted).ok()?.as_second();
        self.unix = utc - offset(zone, utc - offset(zone, utc)?)?;
        self.civil = civil(zone, self.unix)?;
        Some(())
    }
}

fn has(bits: u64, value: i8) -> bool {
    bits >> value & 1 == 1
}

fn offset(zone: &TimeZone, unix: i64) -> Option<i64> {
    Some(i64::from(zone.to_offset(Timestamp::from_second(unix).ok()?).seconds()))
}

fn civil(zone: &TimeZone, unix: i64) -> Option<DateTime> {
    Some(zone.to_datetime(Timestamp::from_second(unix).ok()?))
}

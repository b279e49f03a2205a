use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{NEVER, Schedule};

fn next(schedule: &str, zone: Option<&str>, after: &str) -> Option<i64> {
    let after: Timestamp = after.parse().expect("a time");
    Schedule::parse(schedule, zone, &TimeZone::UTC).map(|schedule| schedule.next(after.as_second()))
}

#[test]
fn the_next_time_is_that_of_the_calendar() {
    for (schedule, after, want) in [
        ("0/15 * * * *", "2012-07-09T14:45:00Z", "2012-07-09T15:00:00Z"),
        ("0/15 * * * *", "2012-07-09T14:59:59Z", "2012-07-09T15:00:00Z"),
        ("*/15 * * * *", "2012-07-09T23:46:00Z", "2012-07-10T00:00:00Z"),
        ("20-35/15 * * * *", "2012-07-09T15:45:00Z", "2012-07-09T16:20:00Z"),
        ("20-35/15 1/2 */2 * *", "2012-07-09T23:35:51Z", "2012-07-11T01:20:00Z"),
        ("20-35/15 * 9-20 Jul *", "2012-07-09T23:35:51Z", "2012-07-10T00:20:00Z"),
        ("0 0 9 Apr-Oct ?", "2012-07-09T23:35:00Z", "2012-08-09T00:00:00Z"),
        ("0 0 29 Feb ?", "2012-07-09T23:35:00Z", "2016-02-29T00:00:00Z"),
        ("* * * * *", "2012-12-31T23:59:45Z", "2013-01-01T00:00:00Z"),
        ("0 0 * Feb Mon/2", "2012-07-09T23:35:00Z", "2013-02-01T00:00:00Z"),
        // Day of the month and weekday both have to match.
        ("0 0 */5 Apr,Aug,Oct Mon", "2012-07-09T23:35:00Z", "2012-08-06T00:00:00Z"),
        ("0 0 13 * Fri", "2024-01-01T00:00:00Z", "2024-09-13T00:00:00Z"),
        // Around the turn.
        ("0 22-2/2 * * *", "2024-01-01T00:30:00Z", "2024-01-01T02:00:00Z"),
        ("0 0 1 nov-FEB *", "2024-03-05T00:00:00Z", "2024-11-01T00:00:00Z"),
        ("0 0 * * 6-1", "2024-01-03T00:00:00Z", "2024-01-06T00:00:00Z"),
        ("0 0 * * 7", "2024-01-03T00:00:00Z", "2024-01-07T00:00:00Z"),
        ("0 25-3 * * *", "2024-01-01T00:30:00Z", "2024-01-01T01:00:00Z"),
        ("70/5 * * * *", "2024-01-01T00:00:00Z", "2024-01-01T00:10:00Z"),
        ("@hourly", "2024-01-01T00:30:00Z", "2024-01-01T01:00:00Z"),
        ("@daily", "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"),
        ("@midnight", "2024-01-01T00:30:00Z", "2024-01-02T00:00:00Z"),
        ("@weekly", "2024-01-01T00:30:00Z", "2024-01-07T00:00:00Z"),
        ("@monthly", "2024-01-01T00:30:00Z", "2024-02-01T00:00:00Z"),
        ("@yearly", "2024-01-01T00:30:00Z", "2025-01-01T00:00:00Z"),
        ("@annually", "2024-01-01T00:30:00Z", "2025-01-01T00:00:00Z"),
        ("@every 1h30m1.9s", "2024-01-01T00:00:30Z", "2024-01-01T01:30:31Z"),
        ("TZ='Asia/Tokyo' 0 9 * * *", "2024-01-01T00:00:30Z", "2024-01-02T00:00:00Z"),
        (" \t* +5 05 1,,2 SUN,3 ", "2024-01-06T00:00:00Z", "2025-01-05T05:00:00Z"),
    ] {
        let want: Timestamp = want.parse().expect("a time");
        assert_eq!(next(schedule, None, after), Some(want.as_second()), "{schedule} after {after}");
    }
}

#[test]
fn the_next_time_is_that_of_the_clock_in_its_time_zone() {
    let (new_york, sao_paulo) = ("America/New_York", "America/Sao_Paulo");
    for (zone, schedule, after, want) in [
        ("Asia/Singapore", "0 */6 * * *", "2018-03-11T04:34:56Z", "2018-03-11T10:00:00Z"),
        ("Asia/Kathmandu", "0 0 * * *", "2018-03-11T04:34:56Z", "2018-03-11T18:15:00Z"),
        ("UTC", "0 */6 * * *", "2018-03-11T04:34:56Z", "2018-03-11T06:00:00Z"),
        // Spring: there is no two o'clock.
        (new_york, "30 2 11 Mar ?", "2012-03-11T00:00:00-05:00", "2012-03-11T03:30:00-04:00"),
        (new_york, "0 2 * * ?", "2012-03-11T00:00:00-05:00", "2012-03-11T03:00:00-04:00"),
        (new_york, "0 * * * ?", "2012-03-11T01:00:00-05:00", "2012-03-11T03:00:00-04:00"),
        (new_york, "0 1 * * ?", "2012-03-11T01:00:00-05:00", "2012-03-12T01:00:00-04:00"),
        // Autumn: one o'clock comes twice.
        (new_york, "30 2 04 Nov ?", "2012-11-04T00:00:00-04:00", "2012-11-04T02:30:00-05:00"),
        (new_york, "30 1 04 Nov ?", "2012-11-04T01:45:00-04:00", "2012-11-04T01:30:00-05:00"),
        (new_york, "0 * * * ?", "2012-11-04T01:00:00-04:00", "2012-11-04T01:00:00-05:00"),
        (new_york, "0 1 * * ?", "2012-11-04T01:00:00-04:00", "2012-11-04T01:00:00-05:00"),
        (new_york, "0 1 * * ?", "2012-11-04T01:00:00-05:00", "2012-11-05T01:00:00-05:00"),
        (new_york, "0 3 3 * ?", "2012-11-04T00:00:00-04:00", "2012-12-03T03:00:00-05:00"),
        // A day without midnight.
        (sao_paulo, "0 9 10 * ?", "2018-10-17T05:00:00-04:00", "2018-11-10T06:00:00-05:00"),
        (sao_paulo, "0 9 22 * ?", "2018-02-14T05:00:00-05:00", "2018-02-22T07:00:00-05:00"),
    ] {
        let want: Timestamp = want.parse().expect("a time");
        assert_eq!(
            next(schedule, Some(zone), after),
            Some(want.as_second()),
            "{schedule} in {zone} after {after}"
        );
    }
}

#[test]
fn what_never_runs_has_the_zero_time() {
    for schedule in
        ["0 0 30 Feb ?", "0 0 31 4 *", ", * * * *", "70-5 * * * *", "@triggered", "@manual", "@none"]
    {
        assert_eq!(next(schedule, None, "2012-07-09T23:35:00Z"), Some(NEVER), "{schedule}");
    }
    // Out of the years that there are.
    assert_eq!(next("* * * * *", None, "9999-12-30T22:00:00Z"), Some(NEVER));
}

#[test]
fn schedules_that_kube_state_metrics_refuses_are_invalid() {
    let long = format!("{}* * * * *", " ".repeat(1024));
    for (schedule, zone) in [
        ("", None),
        ("* * * *", None),
        ("* * * * * *", None),
        ("*/120 4-22 * * *", None),
        ("0 1 */32,1-7 * 3", None),
        ("*/60 * * * *", None),
        ("1-3/3 * * * *", None),
        ("15/0 * * * *", None),
        ("60 * * * *", None),
        ("0 24 * * *", None),
        ("0 0 0 * *", None),
        ("0 0 32 * *", None),
        ("0 0 * 13 *", None),
        ("0 0 * * 8", None),
        ("0 0 * * XYZ", None),
        ("mon * * * *", None),
        ("-1 * * * *", None),
        ("1-2-3 * * * *", None),
        ("1/2/3 * * * *", None),
        ("0 0 L * *", None),
        ("0 0 15W * *", None),
        ("0 0 * * 5#2", None),
        ("H * * * *", None),
        ("99999999999999999999 * * * *", None),
        ("@Daily", None),
        (" @daily", None),
        ("@every", None),
        ("@every 900ms", None),
        ("@every -5s", None),
        ("@every 1d", None),
        ("@reboot", None),
        ("0 0 * * *", Some("Invalid/Zone")),
        ("0 0 * * *", Some("europe/berlin")),
        ("0 0 * * *", Some("")),
        ("0 0 * * *", Some("Europe/../UTC")),
        ("0 0 * * *", Some("Europe/Berlin 1")),
        ("", Some("UTC")),
        ("TZ=UTC", None),
        (&long, None),
    ] {
        assert_eq!(next(schedule, zone, "2012-07-09T23:35:00Z"), None, "{schedule:?} in {zone:?}");
    }
}

#[test]
fn a_schedule_without_a_time_zone_is_in_the_local_one() {
    let local = TimeZone::fixed(jiff::tz::offset(2));
    for schedule in ["0 9 * * *", "TZ=Local 0 9 * * *"] {
        let schedule = Schedule::parse(schedule, None, &local).expect("a schedule");
        assert_eq!(schedule.next(0), 7 * 3600);
    }
}

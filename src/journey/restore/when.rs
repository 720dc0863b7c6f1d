//! A time as a person types it. Pure: now, and the zone in which the person lives, are arguments.

use jiff::civil::{Date, DateTime, Time};
use jiff::{Span, Timestamp, ToSpan, Unit, Zoned};

/// `2026-11-01`, `2026-11-01 14:30`, `yesterday`, `today 9:00`, `3 days ago`, or RFC 3339. A day alone means all of it,
/// so its last moment; a minute alone likewise.
pub(super) fn resolve(text: &str, now: &Zoned) -> Option<Timestamp> {
    let text = text.trim();
    let exact = text.parse().ok();
    exact.or_else(|| ago(text, now)).or_else(|| on_a_day(text, now))
}

fn ago(text: &str, now: &Zoned) -> Option<Timestamp> {
    if text == "now" {
        return Some(now.timestamp());
    }
    let span: Span = text.strip_suffix("ago").map(|_| text.parse())?.ok()?;
    Some(now.checked_add(span).ok()?.timestamp())
}

fn on_a_day(text: &str, now: &Zoned) -> Option<Timestamp> {
    let (day, clock) = match text.split_once([' ', 'T']) {
        Some((day, clock)) => (day, Some(clock.trim())),
        None => (text, None),
    };
    let date = match day {
        "today" => now.date(),
        "yesterday" => now.date().yesterday().ok()?,
        _ => day.parse::<Date>().ok().filter(|date| date.to_string() == day)?,
    };
    let last = match clock {
        None => date.to_datetime(Time::midnight()).checked_add(1.day()),
        Some(clock) => {
            let (time, unit) = time_of_day(clock)?;
            let step = if unit == Unit::Minute { 1.minute() } else { 1.second() };
            date.to_datetime(time).checked_add(step)
        }
    };
    let last: DateTime = last.ok()?.checked_sub(1.nanosecond()).ok()?;
    Some(last.to_zoned(now.time_zone().clone()).ok()?.timestamp())
}

/// `9:05`, `09:05`, `09:05:07`, and to which unit it is told.
fn time_of_day(text: &str) -> Option<(Time, Unit)> {
    let parts: Vec<&str> = text.split(':').collect();
    let number = |part: &&str| {
        let fits = (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| part.parse::<i8>().ok())?
    };
    let numbers: Vec<i8> = parts.iter().map(number).collect::<Option<_>>()?;
    match numbers[..] {
        [hour, minute] => Some((Time::new(hour, minute, 0, 0).ok()?, Unit::Minute)),
        [hour, minute, second] => Some((Time::new(hour, minute, second, 0).ok()?, Unit::Second)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> Zoned {
        // Two hours east of Greenwich, summer as winter.
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(2));
        "2026-11-21T10:00:00Z".parse::<Timestamp>().unwrap().to_zoned(zone)
    }

    #[test]
    fn what_people_type_is_the_moment_that_they_mean() {
        for (text, moment) in [
            ("2026-11-01", "2026-11-01T21:59:59.999999999Z"),
            ("2026-11-01 14:30", "2026-11-01T12:30:59.999999999Z"),
            ("2026-11-01T14:30:07", "2026-11-01T12:30:07.999999999Z"),
            ("2026-11-01 9:05", "2026-11-01T07:05:59.999999999Z"),
            ("2026-11-01T14:30:07Z", "2026-11-01T14:30:07Z"),
            ("2026-11-01T14:30:07+05:00", "2026-11-01T09:30:07Z"),
            ("today", "2026-11-21T21:59:59.999999999Z"),
            ("yesterday", "2026-11-20T21:59:59.999999999Z"),
            ("yesterday 8:00", "2026-11-20T06:00:59.999999999Z"),
            ("3 days ago", "2026-11-18T10:00:00Z"),
            ("1 month ago", "2026-10-21T10:00:00Z"),
            ("2 weeks ago", "2026-11-07T10:00:00Z"),
            ("5h ago", "2026-11-21T05:00:00Z"),
            (" now ", "2026-11-21T10:00:00Z"),
        ] {
            assert_eq!(resolve(text, &now()), Some(moment.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "ago",
            "3 days",
            "soon",
            "2026-13-01",
            "2026-11-01 25:00",
            "2026-11-01 1:2:3:4",
            "1e9 years ago",
            "-3 days ago ago",
        ] {
            assert_eq!(resolve(text, &now()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,30}", number: i64, unit in "(days|years|h|weeks) ago") {
            let _ = resolve(&text, &now());
            let _ = resolve(&format!("{number} {unit}"), &now());
        }
    }
}

//! What a `keep` rule keeps of one client's history: so many days, weeks, months and years.
//!
//! A snapshot goes by rule only when it is beyond count *and* age, which guards against two clocks. By
//! count: of the last so many periods that have a snapshot, the one nearest to the period's middle is
//! kept, however long ago they were; so neither an outage nor a clock that jumped ahead empties a history.
//! By age: for each of the last so many periods before now, the snapshot nearest to its middle is kept,
//! also where the period itself has none; so the nearest one fills a gap. And all are kept that are
//! younger than `within`.
//!
//! Which one stands for a period does not depend on what else is kept, so pruning every night leaves what
//! pruning once would leave.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;

use crate::model::keep::{Keep, Rule};
use crate::model::server_config::ServerConfig;

const DAY: i64 = 86_400;

/// A kind of period, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Day,
    /// From Monday.
    Week,
    Month,
    Year,
}

/// Which of a client's snapshots, given by their seconds since the epoch, the newest first, `keep` keeps.
/// All of them lie in the past.
pub fn kept(keep: &Keep, newest_first: &[i64], now: Timestamp) -> Vec<bool> {
    let now = now.as_second();
    let within = i64::try_from(keep.within.as_secs()).unwrap_or(i64::MAX);
    let is_young = |second: &i64| now.saturating_sub(*second) < within;
    let mut kept: Vec<bool> = newest_first.iter().map(is_young).collect();
    for (unit, count) in [
        (Unit::Day, keep.daily),
        (Unit::Week, keep.weekly),
        (Unit::Month, keep.monthly),
        (Unit::Year, keep.yearly),
    ] {
        by_count(unit, count, newest_first, &mut kept);
        by_age(unit, count, newest_first, now, &mut kept);
    }
    kept
}

/// Of each of the last `count` periods that have one.
fn by_count(unit: Unit, count: u32, newest_first: &[i64], kept: &mut [bool]) {
    let mut from = 0;
    let periods = newest_first.chunk_by(|a, b| unit.period(*a) == unit.period(*b));
    for period in periods.take(usize::try_from(count).unwrap_or(usize::MAX)) {
        kept[from + nearest(period, unit.middle(unit.period(period[0])))] = true;
        from += period.len();
    }
}

/// For each of the last `count` periods before now that has none. Those that have one are among the last
/// `count` that have one.
fn by_age(unit: Unit, count: u32, newest_first: &[i64], now: i64, kept: &mut [bool]) {
    let current = unit.period(now);
    let first = current - i64::from(count) + 1;
    let (Some(newest), Some(oldest)) = (newest_first.first(), newest_first.last()) else { return };
    kept[0] |= count > 0 && unit.period(*newest) < current;
    kept[newest_first.len() - 1] |= first < unit.period(*oldest);
    for (at, pair) in newest_first.windows(2).enumerate() {
        let gap = (unit.period(pair[1]) + 1).max(first)..=unit.period(pair[0]) - 1;
        if !gap.is_empty() {
            // What is nearest to the periods between is nearest to one of these two.
            kept[at + nearest(pair, unit.middle(*gap.start()))] = true;
            kept[at + nearest(pair, unit.middle(*gap.end()))] = true;
        }
    }
}

/// Which of these, the newest first, is nearest to the moment; the newer one of two as near.
pub(super) fn nearest(newest_first: &[i64], moment: i64) -> usize {
    let older = newest_first.partition_point(|second| *second > moment);
    let Some(newer) = older.checked_sub(1) else { return 0 };
    match newest_first.get(older) {
        Some(second) if moment - second < newest_first[newer] - moment => older,
        _ => newer,
    }
}

impl Unit {
    /// The period that a moment lies in, as a number that grows by one from period to period.
    fn period(self, second: i64) -> i64 {
        match self {
            Self::Day => second.div_euclid(DAY),
            // 1 January 1970 was a Thursday.
            Self::Week => (second.div_euclid(DAY) + 3).div_euclid(7),
            Self::Month => date(second).map_or(0, months),
            Self::Year => date(second).map_or(0, |date| i64::from(date.year())),
        }
    }

    /// When it begins, in seconds since the epoch.
    fn begin(self, period: i64) -> i64 {
        match self {
            Self::Day => period * DAY,
            Self::Week => (period * 7 - 3) * DAY,
            Self::Month => first_of(period.div_euclid(12), period.rem_euclid(12) + 1),
            Self::Year => first_of(period, 1),
        }
    }

    fn middle(self, period: i64) -> i64 {
        let (begin, end) = (self.begin(period), self.begin(period + 1));
        begin + (end - begin) / 2
    }
}

fn date(second: i64) -> Option<Date> {
    Timestamp::from_second(second).ok().map(|time| Offset::UTC.to_datetime(time).date())
}

fn months(date: Date) -> i64 {
    i64::from(date.year()) * 12 + i64::from(date.month()) - 1
}

/// Beyond the calendar's end there are no snapshots: any moment there is as good.
fn first_of(year: i64, month: i64) -> i64 {
    let date = i16::try_from(year).ok().zip(i8::try_from(month).ok());
    let date = date.and_then(|(year, month)| Date::new(year, month, 1).ok());
    let begin = date.and_then(|date| Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok());
    begin.unwrap_or(if year < 0 { Timestamp::MIN } else { Timestamp::MAX }).as_second()
}

/// What is wrong with the configuration's rules, a sentence each: they delete nothing.
pub fn broken_rules(config: &ServerConfig) -> Vec<String> {
    let own =
        config.clients.iter().map(|(client, own)| (format!("clients.{client}.keep"), own.keep.as_ref()));
    let broken = |(key, rule): (String, Option<&Rule>)| match rule {
        Some(Rule::Broken(why)) => Some(format!("{key} is no rule and deletes nothing: {why}")),
        Some(Rule::Valid(_)) | None => None,
    };
    [("keep".to_owned(), config.keep.as_ref())].into_iter().chain(own).filter_map(broken).collect()
}

#[cfg(test)]
mod tests;

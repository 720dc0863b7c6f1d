//! What a rule keeps, in single cases, as properties, and over two years of nights.

use proptest::prelude::*;

use super::*;
use crate::model::span::Span;

/// A Saturday.
const NOW: &str = "2026-11-21T23:47:31Z";

fn now() -> i64 {
    NOW.parse::<Timestamp>().unwrap().as_second()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn tiers(daily: u32, weekly: u32, monthly: u32, yearly: u32) -> Keep {
    Keep { daily, weekly, monthly, yearly, within: Span::seconds(0) }
}

/// The kept ones of snapshots at one in the morning of these days, as days.
fn kept_days(keep: &Keep, days: &[&str]) -> Vec<String> {
    let seconds: Vec<i64> =
        days.iter().map(|day| format!("{day}T01:00:00Z").parse::<Timestamp>().unwrap().as_second()).collect();
    assert!(seconds.is_sorted_by(|a, b| a > b));
    chosen(keep, &seconds, now()).into_iter().map(|second| at(second).to_string()[..10].to_owned()).collect()
}

fn chosen(keep: &Keep, seconds: &[i64], now: i64) -> Vec<i64> {
    let kept = kept(keep, seconds, at(now));
    seconds.iter().zip(kept).filter_map(|(second, kept)| kept.then_some(*second)).collect()
}

/// One each night, the newest first.
fn every_night(nights: i64) -> Vec<i64> {
    (0..nights).map(|night| now() - 23 * 3600 - night * DAY).collect()
}

#[test]
fn each_period_has_the_one_nearest_to_its_middle() {
    let nights = every_night(800);
    let days = |keep: &Keep| -> Vec<String> {
        chosen(keep, &nights, now()).into_iter().map(|s| at(s).to_string()[..10].to_owned()).collect()
    };
    assert_eq!(days(&tiers(3, 0, 0, 0)), ["2026-11-21", "2026-11-20", "2026-11-19"]);
    assert_eq!(days(&tiers(0, 3, 0, 0)), ["2026-11-19", "2026-11-12", "2026-11-05"], "Thursdays");
    assert_eq!(days(&tiers(0, 0, 3, 0)), ["2026-11-16", "2026-10-16", "2026-09-16"]);
    assert_eq!(days(&tiers(0, 0, 0, 2)), ["2026-07-02", "2025-07-02"]);
    assert_eq!(days(&tiers(2, 1, 1, 0)), ["2026-11-21", "2026-11-20", "2026-11-19", "2026-11-16"]);
}

#[test]
fn what_is_young_is_kept_whatever_the_counts() {
    let keep = Keep { within: Span::days(2), ..tiers(0, 0, 0, 1) };
    let hours: Vec<i64> = (0..100).map(|hour| now() - hour * 3600).collect();
    assert_eq!(chosen(&keep, &hours, now()).len(), 48 + 1);
}

#[test]
fn an_outage_does_not_empty_a_history() {
    let keep = tiers(3, 0, 0, 0);
    let days = ["2026-03-05", "2026-03-04", "2026-03-03", "2026-03-02"];
    assert_eq!(kept_days(&keep, &days), days[..3], "counted are days that have one");
}

#[test]
fn a_gap_is_filled_by_what_is_nearest() {
    // The week from 2 November is missing; the nearest to its Thursday is the Sunday before.
    let days =
        ["2026-11-21", "2026-11-19", "2026-11-12", "2026-11-01", "2026-10-29", "2026-10-28", "2026-10-22"];
    assert_eq!(
        kept_days(&tiers(0, 4, 0, 0), &days),
        ["2026-11-19", "2026-11-12", "2026-11-01", "2026-10-29", "2026-10-22"]
    );
    let short = ["2026-11-21", "2026-11-20", "2026-11-18"];
    assert_eq!(kept_days(&tiers(0, 0, 12, 0), &short), ["2026-11-18"], "the oldest stands for all before it");
}

#[test]
fn periods_begin_and_end_in_utc_by_the_calendar() {
    for (text, unit, begin, end) in [
        ("2026-11-21T12:00:00Z", Unit::Day, "2026-11-21", "2026-11-22"),
        ("2026-11-21T12:00:00Z", Unit::Week, "2026-11-16", "2026-11-23"),
        ("2024-02-29T00:00:00Z", Unit::Month, "2024-02-01", "2024-03-01"),
        ("1969-12-31T23:59:59Z", Unit::Year, "1969-01-01", "1970-01-01"),
        ("1969-12-31T23:59:59Z", Unit::Week, "1969-12-29", "1970-01-05"),
        ("2026-12-31T23:59:59Z", Unit::Month, "2026-12-01", "2027-01-01"),
    ] {
        let period = unit.period(text.parse::<Timestamp>().unwrap().as_second());
        let day = |second: i64| at(second).to_string()[..10].to_owned();
        assert_eq!(
            (day(unit.begin(period)), day(unit.begin(period + 1))),
            (begin.into(), end.into()),
            "{text}"
        );
    }
}

#[test]
fn broken_rules_are_told_by_their_key() {
    let text = "keep = {}\n[clients.a]\nkeep = { dayly = 1 }\n[clients.b]\nkeep = { daily = 1 }\n";
    let told = broken_rules(&ServerConfig::from_toml(text).unwrap());
    assert_eq!(told.len(), 2);
    assert!(told[0].starts_with("keep is no rule and deletes nothing: "), "{told:?}");
    assert!(told[1].starts_with("clients.a.keep is no rule") && told[1].contains("dayly"), "{told:?}");
    assert!(broken_rules(&ServerConfig::default()).is_empty());
}

/// Two years of nights, some missed, one pruned by rule after each; at the end of each the best that there
/// ever was for each of the last periods must still be there.
#[test]
fn pruning_every_night_keeps_what_pruning_once_would() {
    let taken = |night: i64, seed: i64| seed == 0 || (night * 7919 + seed * 104_729) % 10 > 3;
    for (seed, keep) in [0, 1, 2].into_iter().flat_map(|seed| {
        [tiers(7, 4, 12, 2), tiers(0, 5, 0, 0), tiers(0, 0, 3, 0), tiers(1, 0, 0, 3)].map(|keep| (seed, keep))
    }) {
        let (mut all, mut left) = (Vec::new(), Vec::new());
        for night in (0..730).filter(|night| taken(*night, seed)) {
            let second = now() + night * DAY;
            all.insert(0, second);
            left.insert(0, second);
            left = chosen(&keep, &left, second).into_iter().collect();
            for second in by_count_alone(&keep, &all) {
                assert!(left.contains(&second), "seed {seed}, night {night}, {keep:?}: {}", at(second));
            }
        }
    }
}

fn by_count_alone(keep: &Keep, all: &[i64]) -> Vec<i64> {
    let mut kept = vec![false; all.len()];
    let units = [(Unit::Day, keep.daily), (Unit::Week, keep.weekly), (Unit::Month, keep.monthly)];
    for (unit, count) in units {
        by_count(unit, count, all, &mut kept);
    }
    by_count(Unit::Year, keep.yearly, all, &mut kept);
    all.iter().zip(kept).filter_map(|(second, kept)| kept.then_some(*second)).collect()
}

fn any_keep() -> impl Strategy<Value = Keep> {
    (0u32..20, 0u32..10, 0u32..20, 0u32..5, 0u64..10).prop_map(|(daily, weekly, monthly, yearly, days)| {
        Keep { within: Span::days(days), ..tiers(daily, weekly, monthly, yearly) }
    })
}

fn any_history() -> impl Strategy<Value = Vec<i64>> {
    prop::collection::btree_set(0i64..900 * 24, 0..80)
        .prop_map(|hours| hours.into_iter().map(|hour| now() - hour * 3600).collect())
}

proptest! {
    #[test]
    fn what_goes_is_beyond_count_and_age(keep in any_keep(), history in any_history()) {
        let kept = kept(&keep, &history, at(now()));
        for (second, _) in history.iter().zip(&kept).filter(|(_, kept)| !**kept) {
            prop_assert!(now() - second >= i64::try_from(keep.within.as_secs()).unwrap());
            for (unit, count) in [
                (Unit::Day, keep.daily), (Unit::Week, keep.weekly), (Unit::Month, keep.monthly), (Unit::Year, keep.yearly),
            ] {
                // Either its period is beyond the count, or another one stands for it.
                let own = unit.period(*second);
                let mut periods: Vec<i64> = history.iter().map(|s| unit.period(*s)).collect();
                periods.dedup();
                let rank = periods.iter().position(|period| *period == own).unwrap();
                let stood_for = history.iter().zip(&kept).any(|(s, kept)| *kept && unit.period(*s) == own);
                prop_assert!(rank >= usize::try_from(count).unwrap() || stood_for);
            }
        }
    }

    #[test]
    fn deleting_by_rule_at_once_or_one_by_one_leaves_the_same(keep in any_keep(), history in any_history()) {
        let whole = chosen(&keep, &history, now());
        let mut left = history.clone();
        while let Some(gone) = kept(&keep, &left, at(now())).iter().rposition(|kept| !kept) {
            left.remove(gone);
        }
        prop_assert_eq!(&left, &whole);
        prop_assert_eq!(chosen(&keep, &whole, now()), whole);
    }

    #[test]
    fn a_clock_that_jumps_ahead_costs_one_of_each_tier_at_most(
        keep in any_keep(), history in any_history(), years in 1i64..50,
    ) {
        let before = chosen(&keep, &history, now());
        let later = now() + years * 365 * DAY;
        let with_one_more: Vec<i64> = [later].into_iter().chain(before.iter().copied()).collect();
        let after = chosen(&keep, &with_one_more, later);
        // Those that filled gaps and those that were young go; of what stands for a period, one of each tier.
        let standing = by_count_alone(&keep, &before);
        let lost = standing.iter().filter(|second| !after.contains(second)).count();
        prop_assert!(lost <= 4, "{} of {}", lost, standing.len());
    }

    #[test]
    fn nothing_overflows(keep in any_keep(), history in prop::collection::btree_set(-60_000_000_000i64..200_000_000_000, 0..9)) {
        let history: Vec<i64> = history.into_iter().rev().collect();
        let huge = Keep { daily: u32::MAX, yearly: u32::MAX, ..keep };
        prop_assert_eq!(kept(&huge, &history, Timestamp::MAX).len(), history.len());
    }
}

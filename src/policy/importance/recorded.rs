//! What the former program's order gave, recorded as tables: the last seven days, then Sundays, then every
//! fourth Sunday, as its test suite expected it, and the few places where ours is different on purpose.
//!
//! Ages are in days, the most important first.

use super::simulation::{NOW, Snapshots, at, client, owned, ranked};
use super::*;

fn second(time: &str) -> i64 {
    time.parse::<Timestamp>().unwrap().as_second()
}

/// The order of snapshots taken at that minute of each of the last `nights` days, as ages.
fn ages(today: &str, minute: i64, nights: i64) -> Vec<i64> {
    let now = second(&format!("{today}T23:45:00Z"));
    let taken = |age: i64| (now / DAY - age) * DAY + minute * 60;
    let snapshots: Snapshots = (0..nights).map(|age| (client(1), at(taken(age)))).collect();
    let order = ranked(&snapshots, Timestamp::from_second(now).unwrap(), Order::Importance);
    order.iter().map(|placed| now / DAY - placed.snapshot.time().unwrap().as_second() / DAY).collect()
}

#[test]
fn a_nightly_history_is_ordered_as_formerly_on_every_day_of_the_week() {
    for (today, recorded) in [
        ("2026-11-15", [0, 1, 2, 3, 4, 5, 6, 7, 14, 21, 28, 49, 77, 105, 133, 161, 189]),
        ("2026-11-16", [0, 1, 2, 3, 4, 5, 6, 8, 15, 22, 29, 50, 78, 106, 134, 162, 190]),
        ("2026-11-17", [0, 1, 2, 3, 4, 5, 6, 9, 16, 23, 30, 51, 79, 107, 135, 163, 191]),
        ("2026-11-18", [0, 1, 2, 3, 4, 5, 6, 10, 17, 24, 31, 52, 80, 108, 136, 164, 192]),
        ("2026-11-19", [0, 1, 2, 3, 4, 5, 6, 11, 18, 25, 32, 53, 81, 109, 137, 165, 193]),
        ("2026-11-20", [0, 1, 2, 3, 4, 5, 6, 12, 19, 26, 33, 54, 82, 110, 138, 166, 194]),
        ("2026-11-21", [0, 1, 2, 3, 4, 5, 6, 13, 20, 27, 34, 55, 83, 111, 139, 167, 195]),
    ] {
        let order = ages(today, 60, 300);
        assert_eq!(order[..17], recorded, "{today}");
        assert_eq!(order[297..], [296, 297, 298], "the oldest that is no target goes before all others");
    }
}

/// A backup each day, pruned to `limit`, until the oldest one stops growing older: the ages that are left.
/// After each day `check` gets the day's number since the begin, the day, and the ages.
fn grow(begin: i64, limit: usize, check: impl Fn(i64, i64, &[i64])) -> Vec<i64> {
    let (mut snapshots, mut oldest) = (Snapshots::new(), -1);
    for day in 0.. {
        let now = begin + day * DAY;
        snapshots.push((client(1), at(now)));
        let order = ranked(&snapshots, Timestamp::from_second(now).unwrap(), Order::Importance);
        snapshots = owned(&order[..order.len().min(limit)]);
        let age = |time: Timestamp| (now - time.as_second()) / DAY;
        let mut ages: Vec<i64> = snapshots.iter().filter_map(|(_, s)| s.time()).map(age).collect();
        ages.sort_unstable();
        check(day, now.div_euclid(DAY), &ages);
        match ages.last() {
            Some(last) if *last > oldest => oldest = *last,
            _ => return ages,
        }
    }
    Vec::new()
}

/// Seven days, four Sundays and a fourth Sunday: so much of them as is old enough and fits must be there
/// on every day, whatever the day of the week, the hour and the phase of the 28 days.
#[test]
fn the_former_suite_s_expectation_holds_for_every_number_of_backups() {
    for (phase, limit) in (0..28).flat_map(|phase| (1..=15).map(move |limit| (phase, limit))) {
        // Half past, since the nearest of two that are as near to midday is nobody's expectation.
        let begin = (20_000 + phase) * DAY + (phase * 5 % 24) * 3600 + 1800;
        grow(begin, limit, |day, today, ages| {
            let weekday = (today + 4).rem_euclid(7);
            let sundays = [7, 14, 21, 28].map(|age| age + weekday);
            let fourth = 56 + today.rem_euclid(28) - 3;
            let wanted = (0..7).chain(sundays).chain([fourth]).filter(|age| *age < day).take(limit);
            let missing: Vec<_> = wanted.filter(|age| !ages.contains(age)).collect();
            assert!(missing.is_empty(), "phase {phase}, {limit} backups, day {day}: {missing:?} of {ages:?}");
        });
    }
}

#[test]
fn as_many_backups_reach_as_far_back_as_formerly() {
    let formerly = [
        (1, &[][..]),
        (7, &[1, 2, 3, 4, 5, 6]),
        (8, &[1, 2, 3, 4, 5, 6, 7]),
        (10, &[1, 2, 3, 4, 5, 6, 7, 14, 21]),
        (12, &[1, 2, 3, 4, 5, 6, 7, 14, 21, 28, 35]),
    ];
    for (limit, older) in formerly {
        let ages = grow(second("2026-06-01T03:00:00Z"), limit, |_, _, _| {});
        assert_eq!(ages, [&[0], older].concat(), "{limit}");
    }
    // Formerly 56, 84 and 112.
    let ages = grow(second("2026-06-01T03:00:00Z"), 15, |_, _, _| {});
    assert_eq!(ages[12..], [63, 91, 119], "never less far");
}

#[test]
fn clients_take_turns_as_formerly() {
    let now = second(NOW);
    let night = |number: u8, age: i64| (client(number), at((now / DAY - age) * DAY + 3600));
    let snapshots: Snapshots = (0..20).flat_map(|age| (1..=3).map(move |n| night(n, age))).collect();
    let order = owned(&ranked(&snapshots, Timestamp::from_second(now).unwrap(), Order::Importance));
    let recorded = [0, 1, 2, 3, 4, 5, 6, 13, 19, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17, 18];
    let expected = recorded.into_iter().flat_map(|age| (1..=3).map(move |n| night(n, age)));
    assert_eq!(order, expected.collect::<Vec<_>>());
}

/// Formerly the snapshot nearest to midday stood for today, so a client's newest could go first.
#[test]
fn different_on_purpose_the_newest_stands_for_today() {
    let snapshots =
        ["2026-11-21T12:00+0000", "2026-11-21T23:00+0000"].map(|n| (client(1), n.parse().unwrap()));
    let order = owned(&ranked(&snapshots, Timestamp::from_second(second(NOW)).unwrap(), Order::Importance));
    assert_eq!(order, [snapshots[1].clone(), snapshots[0].clone()], "formerly the other way round");
}

/// Formerly a target was passed over when what was nearest to it was newer than what the one before had
/// got; here the one of 9 November was left over for that.
#[test]
fn different_on_purpose_no_target_is_passed_over() {
    let formerly = ["21T08:47", "20T08:47", "19T18:47", "08T09:47", "01T06:47", "20T03:47", "09T12:47"];
    let now = ["21T08:47", "20T08:47", "19T18:47", "09T12:47", "08T09:47", "01T06:47", "20T03:47"];
    let named = |day: &str| (client(1), format!("2026-11-{day}+0000").parse().unwrap());
    let order = ranked(&formerly.map(named), Timestamp::from_second(second(NOW)).unwrap(), Order::Importance);
    assert_eq!(owned(&order), now.map(named));
    let surplus: Vec<_> = order.iter().filter(|placed| placed.reason == Reason::Surplus).collect();
    assert_eq!(surplus.len(), 1);
}

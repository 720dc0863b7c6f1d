//! The order under clocks that are wrong, jump, or go by another zone.

use proptest::prelude::*;

use super::simulation::{NOW, Snapshots, any_snapshots, at, client, owned, ranked};
use super::*;

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn shifted(days: i64) -> Timestamp {
    Timestamp::from_second(now().as_second() + days * DAY).unwrap()
}

/// The same moment, written as the clock of another zone shows it.
fn in_zone(snapshot: &SnapshotName, minutes: i64) -> SnapshotName {
    let local = at(snapshot.time().unwrap().as_second() + minutes * 60);
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, rest) = (minutes.abs() / 60, minutes.abs() % 60);
    format!("{}{sign}{hours:02}{rest:02}", &local.as_str()[..16]).parse().unwrap()
}

#[test]
fn the_hour_that_comes_twice_in_autumn_is_two_moments() {
    let names = ["2026-10-25T02:30+0200", "2026-10-25T02:30+0100", "2026-10-25T03:30+0100"];
    let snapshots = names.map(|name| (client(1), name.parse().unwrap()));
    let order = owned(&ranked(&snapshots, now(), Order::Age));
    let written: Vec<_> = order.iter().map(|(_, snapshot)| snapshot.as_str()).collect();
    assert_eq!(written, ["2026-10-25T03:30+0100", "2026-10-25T02:30+0100", "2026-10-25T02:30+0200"]);
}

#[test]
fn what_is_dated_in_the_future_takes_no_target_from_the_past() {
    let nights =
        |from: i64, to: i64| (from..to).map(|night| (client(1), at(shifted(-night).as_second() - 3600)));
    let past: Snapshots = nights(0, 100).collect();
    let with_future: Snapshots = nights(-400, 100).collect();
    let order = ranked(&with_future, now(), Order::Importance);
    let (future, rest) = order.split_at(400);
    assert!(future.iter().all(|placed| placed.reason == Reason::Future));
    assert_eq!(rest, ranked(&past, now(), Order::Importance));
}

#[test]
fn the_ends_of_the_calendar_are_in_order_too() {
    let names = [
        "-009999-01-02T00:00+0000",
        "0001-01-01T00:00+0000",
        "9999-12-30T00:00+0000",
        "1969-12-31T23:59+0000",
    ];
    let snapshots: Snapshots = names.iter().filter_map(|n| n.parse().ok()).map(|n| (client(1), n)).collect();
    assert_eq!(snapshots.len(), 3);
    for time in [Timestamp::MIN, Timestamp::UNIX_EPOCH, now(), Timestamp::MAX] {
        assert_eq!(ranked(&snapshots, time, Order::Importance).len(), 3, "{time}");
    }
}

proptest! {
    #[test]
    fn the_zone_in_which_a_name_was_written_changes_nothing(
        snapshots in any_snapshots(), zones in prop::collection::vec(-14 * 4i64..=14 * 4, 60),
    ) {
        let moments = |list: &Snapshots| -> Vec<(ClientName, Timestamp, Reason)> {
            let order = ranked(list, now(), Order::Importance);
            order.into_iter().map(|r| (r.client, r.snapshot.time().unwrap(), r.reason)).collect()
        };
        let written = snapshots.iter().zip(zones).map(|((c, s), zone)| (c.clone(), in_zone(s, zone * 15)));
        prop_assert_eq!(moments(&written.collect()), moments(&snapshots));
    }

    #[test]
    fn a_clock_set_back_keeps_what_is_then_future_and_orders_the_rest_as_it_did(
        snapshots in any_snapshots(), days in 0i64..500,
    ) {
        let then = shifted(-days);
        let order = ranked(&snapshots, then, Order::Importance);
        let future = order.iter().take_while(|placed| placed.reason == Reason::Future).count();
        prop_assert!(order[..future].iter().all(|placed| placed.snapshot.time().unwrap() > then));
        let past: Snapshots = snapshots.into_iter().filter(|(_, s)| s.time().unwrap() <= then).collect();
        prop_assert_eq!(order[future..].to_vec(), ranked(&past, then, Order::Importance));
    }

    #[test]
    fn a_clock_that_jumps_costs_no_client_its_newest(
        snapshots in any_snapshots(), days in -4000i64..4000, gone in 0usize..20,
    ) {
        let wrong = ranked(&snapshots, shifted(days), Order::Importance);
        let left = owned(&wrong[..wrong.len().saturating_sub(gone)]);
        let newest = |list: &Snapshots, number| {
            list.iter().filter(|(c, _)| *c == client(number)).map(|(_, s)| s.clone()).max()
        };
        for number in 0..3 {
            let has_some = left.iter().any(|(c, _)| *c == client(number));
            prop_assert!(!has_some || newest(&left, number) == newest(&snapshots, number));
        }
    }
}

//! What the order promises, tested as properties, and over two simulated years of nights.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use proptest::prelude::*;

use super::*;

pub(super) type Snapshots = Vec<(ClientName, SnapshotName)>;

pub(super) fn client(number: u8) -> ClientName {
    format!("client{number}").parse().unwrap()
}

pub(super) fn at(second: i64) -> SnapshotName {
    SnapshotName::at(Timestamp::from_second(second).unwrap())
}

/// A snapshot in its place, by itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    pub(super) client: ClientName,
    pub(super) snapshot: SnapshotName,
    pub(super) reason: Reason,
}

/// The order of snapshots that are given one by one.
pub(super) fn ranked(list: &[(ClientName, SnapshotName)], now: Timestamp, order: Order) -> Vec<Placed> {
    let mut by_client: HashMap<&ClientName, Vec<SnapshotName>> = HashMap::new();
    for (client, snapshot) in list {
        by_client.entry(client).or_default().push(snapshot.clone());
    }
    let clients = by_client.iter().map(|(client, own)| (*client, own.as_slice()));
    let placed =
        |r: Ranked<'_>| Placed { client: r.client.clone(), snapshot: r.snapshot.clone(), reason: r.reason };
    rank(clients, now, order).into_iter().map(placed).collect()
}

pub(super) fn owned(ranked: &[Placed]) -> Snapshots {
    ranked.iter().map(|r| (r.client.clone(), r.snapshot.clone())).collect()
}

/// A Saturday, shortly before midnight.
pub(super) const NOW: &str = "2026-11-21T23:47:31Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn on(day: &str) -> (ClientName, SnapshotName) {
    (client(1), format!("{day}T01:00+0000").parse().unwrap())
}

fn words(snapshots: &[(ClientName, SnapshotName)]) -> Vec<String> {
    ranked(snapshots, now(), Order::Importance)
        .iter()
        .map(|r| format!("{} {}", &r.snapshot.as_str()[..10], r.reason))
        .collect()
}

#[test]
fn the_targets_are_the_documented_ones() {
    let today = now().as_second() / DAY;
    let targets: Vec<_> = (0..14).map(|rank| Target::of_rank(today, rank).to_string()).collect();
    assert_eq!(
        targets,
        [
            "day 2026-11-21",
            "day 2026-11-20",
            "day 2026-11-19",
            "day 2026-11-18",
            "day 2026-11-17",
            "day 2026-11-16",
            "day 2026-11-15",
            "Sunday 2026-11-08",
            "Sunday 2026-11-01",
            "Sunday 2026-10-25",
            "Sunday 2026-10-18",
            "fourth Sunday 2026-09-27",
            "fourth Sunday 2026-08-30",
            "fourth Sunday 2026-08-02",
        ]
    );
}

#[test]
fn targets_go_back_in_time_whatever_the_day() {
    for today in 20_000..20_100 {
        let targets: Vec<_> = (0..40).map(|rank| Target::of_rank(today, rank)).collect();
        assert!(targets.is_sorted_by(|a, b| a.day > b.day), "{today}");
        assert!(targets[7..].iter().all(|target| target.day.rem_euclid(7) == 3), "{today}");
        assert!(targets[11..].iter().all(|target| target.day.rem_euclid(28) == 3), "{today}");
    }
}

#[test]
fn each_snapshot_says_what_it_is_kept_for() {
    let days = ["2026-11-21", "2026-11-19", "2026-11-20", "2026-11-20"];
    let mut snapshots: Snapshots = days.iter().map(|day| on(day)).collect();
    snapshots[3].1 = "2026-11-20T23:00+0000".parse().unwrap();
    snapshots.push((client(1), "saved-hacked-do-not-delete".parse().unwrap()));
    snapshots.push(on("2031-01-01"));
    assert_eq!(
        words(&snapshots),
        [
            "2031-01-01 dated in the future",
            "2026-11-21 target: day 2026-11-21",
            "2026-11-20 target: day 2026-11-20",
            "2026-11-19 target: day 2026-11-19",
            "2026-11-20 surplus",
        ]
    );
}

#[test]
fn a_gap_is_filled_by_what_is_nearest() {
    assert_eq!(
        words(&["2026-11-18", "2026-11-21", "2026-11-03", "2026-11-09"].map(on)),
        [
            "2026-11-21 target: day 2026-11-21",
            "2026-11-18 target: day 2026-11-20",
            "2026-11-09 target: day 2026-11-19",
            "2026-11-03 target: day 2026-11-18",
        ]
    );
}

#[test]
fn the_newest_is_worth_most_also_when_another_is_nearer_to_midday() {
    let [mut midday, mut evening] = ["2026-11-21", "2026-11-21"].map(on);
    midday.1 = "2026-11-21T12:00+0000".parse().unwrap();
    evening.1 = "2026-11-21T23:00+0000".parse().unwrap();
    let snapshots = [midday, evening.clone()];
    assert_eq!(ranked(&snapshots, now(), Order::Importance)[0].snapshot, evening.1);
}

#[test]
fn by_age_the_newest_is_worth_most() {
    let snapshots = ["2026-11-18", "2026-11-21", "2025-11-03"].map(on);
    let ranked = ranked(&snapshots, now(), Order::Age);
    let days: Vec<_> = ranked.iter().map(|r| &r.snapshot.as_str()[..10]).collect();
    assert_eq!(days, ["2026-11-21", "2026-11-18", "2025-11-03"]);
    assert!(ranked.iter().all(|r| r.reason == Reason::Age));
    assert_eq!("age".parse(), Ok(Order::Age));
    assert_eq!("size".parse::<Order>(), Err(OrderError));
}

/// Up to three clients with snapshots within a good year, many in the last days, some in the future.
pub(super) fn any_snapshots() -> impl Strategy<Value = Snapshots> {
    let seconds = prop_oneof![-400 * DAY..5 * DAY, -2 * DAY..0];
    let snapshot = (0u8..3, seconds).prop_map(|(number, offset)| (client(number), offset));
    prop::collection::vec(snapshot, 0..60).prop_map(|list| {
        let unique: BTreeSet<_> =
            list.into_iter().map(|(client, offset)| (client, at(now().as_second() + offset))).collect();
        unique.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn the_order_is_a_permutation_that_the_input_s_order_does_not_change(
        (snapshots, shuffled) in any_snapshots().prop_flat_map(|s| (Just(s.clone()), Just(s).prop_shuffle())),
    ) {
        for order in [Order::Importance, Order::Age] {
            let placed = owned(&ranked(&snapshots, now(), order));
            prop_assert_eq!(&placed, &owned(&ranked(&shuffled, now(), order)));
            prop_assert_eq!(placed.len(), snapshots.len());
            let all: BTreeSet<_> = placed.into_iter().collect();
            prop_assert_eq!(all, snapshots.iter().cloned().collect());
        }
    }

    #[test]
    fn the_newest_of_a_client_is_the_last_of_its_own_to_go(snapshots in any_snapshots()) {
        for order in [Order::Importance, Order::Age] {
            let mut first: BTreeMap<_, _> = BTreeMap::new();
            for placed in ranked(&snapshots, now(), order) {
                first.entry(placed.client).or_insert(placed.snapshot);
            }
            for (client, snapshot) in first {
                let newest = snapshots.iter().filter(|(c, _)| *c == client).map(|(_, s)| s).max();
                prop_assert_eq!(Some(&snapshot), newest);
            }
        }
    }

    #[test]
    fn deleting_the_least_important_leaves_the_rest_as_it_was(snapshots in any_snapshots()) {
        for order in [Order::Importance, Order::Age] {
            let mut left = snapshots.clone();
            while !left.is_empty() {
                let before = ranked(&left, now(), order);
                let rest = before[..before.len() - 1].to_vec();
                let fewer = owned(&rest);
                prop_assert_eq!(ranked(&fewer, now(), order), rest);
                left = fewer;
            }
        }
    }

    #[test]
    fn a_client_s_snapshots_never_change_the_order_among_another_s(
        snapshots in any_snapshots(),
        flood in prop::collection::vec(-400 * DAY..0, 0..60),
    ) {
        let mine = |list: &[(ClientName, SnapshotName)]| -> Vec<(SnapshotName, Reason)> {
            let ranked = ranked(list, now(), Order::Importance);
            ranked.iter().filter(|r| r.client == client(0)).map(|r| (r.snapshot.clone(), r.reason)).collect()
        };
        let before = mine(&snapshots);
        let flooded: Snapshots = snapshots
            .into_iter()
            .chain(flood.into_iter().map(|offset| (client(1), at(now().as_second() + offset))))
            .collect();
        prop_assert_eq!(mine(&flooded), before);
    }

    #[test]
    fn a_flood_costs_nobody_a_target(quiet in 1usize..60, flood in 1i64..400, left in 1usize..100) {
        let regular = (0..quiet).map(|night| (client(0), at(now().as_second() - DAY * i64::try_from(night).unwrap())));
        let many = (0..flood).map(|n| (client(1), at(now().as_second() - n * 3600)));
        let both: Snapshots = regular.chain(many).collect();
        let ranked = ranked(&both, now(), Order::Importance);
        let kept = &ranked[..left.min(ranked.len())];
        let targets = |number: u8| {
            let is_target = |r: &&Placed| matches!(r.reason, Reason::Target(_)) && r.client == client(number);
            (kept.iter().filter(is_target).count(), ranked.iter().filter(is_target).count())
        };
        let ((quiet_kept, quiet_all), (flood_kept, _)) = (targets(0), targets(1));
        prop_assert!(quiet_kept == quiet_all || quiet_kept >= flood_kept);
    }
}

proptest! {
    #[test]
    fn of_clients_with_the_same_rhythm_none_keeps_a_target_more_but_the_last(
        nights in prop::collection::btree_set(0i64..600 * 24, 1..60), clients in 2u8..6, left in 1usize..300,
    ) {
        let own = |number| nights.iter().map(move |hour| (client(number), at(now().as_second() - hour * 3600)));
        let snapshots: Snapshots = (0..clients).flat_map(own).collect();
        let order = ranked(&snapshots, now(), Order::Importance);
        let kept = &order[..left.min(order.len())];
        let is_target = |r: &&Placed| matches!(r.reason, Reason::Target(_));
        let count = |number| kept.iter().filter(is_target).filter(|r| r.client == client(number)).count();
        let counts: Vec<usize> = (0..clients).map(count).collect();
        prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{:?}", counts);
        prop_assert!(counts.is_sorted_by(|a, b| a >= b), "{:?}", counts);
    }
}

#[test]
fn clients_with_the_same_rhythm_keep_the_same_depth() {
    let nights = |number| (0..100).map(move |night| (client(number), at(now().as_second() - night * DAY)));
    let mut snapshots: Snapshots = (0..5).flat_map(nights).collect();
    while snapshots.len() > 5 {
        let ranked = ranked(&snapshots, now(), Order::Importance);
        let left = owned(&ranked[..ranked.len() - 1]);
        let is_target = ranked.last().is_some_and(|r| matches!(r.reason, Reason::Target(_)));
        let counts = (0..5).map(|n| left.iter().filter(|(c, _)| *c == client(n)).count());
        let (least, most) = counts.fold((usize::MAX, 0), |(least, most), n| (least.min(n), most.max(n)));
        assert!(!is_target || most - least <= 1, "{least} {most}");
        snapshots = left;
    }
}

/// One night of a simulation.
struct Night {
    today: i64,
    /// The targets whose snapshot could be there still: they have been among the first ones since then.
    targets: Vec<i64>,
    /// The times of the snapshots that are there, in seconds.
    kept: Vec<i64>,
}

/// How far the nearest of these moments is from that day's midday, in seconds.
fn distance(kept: &[i64], day: i64) -> i64 {
    kept.iter().map(|second| (second - day * DAY - DAY / 2).abs()).min().unwrap()
}

/// Two years in which a backup is `taken` on some nights, at `hour`, and what is more than `limit`
/// snapshots is pruned right after.
fn two_years(limit: usize, hour: i64, taken: impl Fn(i64) -> bool) -> Vec<Night> {
    let mut alive: HashSet<i64> = HashSet::new();
    let mut snapshots: Snapshots = vec![(client(1), at(FIRST_DAY * DAY))];
    let night = |today: i64| {
        let second = today * DAY + hour * 3600;
        if taken(today) {
            snapshots.push((client(1), at(second)));
        }
        let ranked = ranked(&snapshots, Timestamp::from_second(second).unwrap(), Order::Importance);
        snapshots = owned(&ranked[..ranked.len().min(limit)]);
        let wanted = (0..limit).map(|rank| Target::of_rank(today, rank).day);
        alive = wanted.filter(|day| *day == today || alive.contains(day)).collect();
        let kept = snapshots.iter().map(|(_, s)| s.time().unwrap().as_second()).collect();
        Night { today, targets: alive.iter().copied().collect(), kept }
    };
    (FIRST_DAY + 1..FIRST_DAY + 731).map(night).collect()
}

const FIRST_DAY: i64 = 20_000;

#[test]
fn pruning_every_night_keeps_as_many_targets_as_fit() {
    let every_limit = (1..=40).map(|limit| (limit, 3));
    let every_hour =
        [0, 11, 12, 13, 23].into_iter().flat_map(|hour| [5, 8, 12, 20].map(|limit| (limit, hour)));
    for (limit, hour) in every_limit.chain(every_hour) {
        for night in two_years(limit, hour, |_| true) {
            let far: Vec<_> =
                night.targets.iter().filter(|day| distance(&night.kept, **day) > DAY / 2).collect();
            assert!(far.is_empty(), "limit {limit}, day {}: {far:?} of {:?}", night.today, night.kept);
        }
    }
}

/// Half of the nights fail, by a fixed sequence without a rhythm.
fn half_of_the_nights(seed: i64) -> impl Fn(i64) -> bool {
    move |day| {
        let mixed = (day * 31 + seed).wrapping_mul(0x5851_f42d_4c95_7f2d);
        (mixed ^ (mixed >> 29)).wrapping_mul(0x1405_7b7e_f767_814f) >> 40 & 1 == 0
    }
}

#[test]
fn missed_nights_cost_no_target_its_snapshot() {
    for (limit, seed) in (1..=40).flat_map(|limit| [(limit, 1), (limit, 2)]) {
        let taken = half_of_the_nights(seed);
        let mut all = vec![FIRST_DAY * DAY];
        for night in two_years(limit, 3, &taken) {
            all.extend(taken(night.today).then_some(night.today * DAY + 3 * 3600));
            assert_eq!(night.kept.len(), all.len().min(limit), "none is deleted without need");
            for day in &night.targets {
                let (is, could_be) = (distance(&night.kept, *day), distance(&all, *day));
                assert!(is < could_be + 2 * DAY, "limit {limit}, day {}: {day}", night.today);
            }
        }
    }
}

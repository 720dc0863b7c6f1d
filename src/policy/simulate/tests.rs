//! What the future brings, and sixty nights of two hundred clients with all that must hold after each.

use std::collections::BTreeSet;

use super::*;
use crate::model::server_config::ServerConfig;
use crate::policy::importance::Order;

const GIB: u64 = 1 << 30;

fn begin() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

fn client(name: &str, nights: i64, new_data: u64) -> Simulated {
    let nights = (1..=nights)
        .rev()
        .map(|night| SnapshotName::at(later(begin(), SignedDuration::from_hours(1 - 24 * night))));
    Simulated {
        history: History::new(name.parse().unwrap(), nights.collect()),
        sizes: HashMap::new(),
        new_data,
        every: Span::hours(24),
    }
}

fn goal() -> Goal {
    Goal::of(5.0, 10.0, false, &[])
}

fn played(clients: &[Simulated], room: Capacity, toml: &str, days: u32) -> Vec<Day> {
    let config = ServerConfig::from_toml(toml).unwrap();
    play(clients, room, &Rules { order: Order::Importance, config: &config }, &goal(), begin(), days)
}

#[test]
fn nothing_goes_before_the_room_is_short_and_then_the_surplus_goes_first() {
    let room = Capacity { total: 100 * GIB, free: 80 * GIB };
    let days = played(&[client("a", 20, GIB)], room, "", 400);
    let short = days.iter().position(|day| !day.deleted.is_empty()).unwrap();
    assert_eq!(short, 75, "80 GiB less 76 are below 5 %");
    assert!(days[..short].iter().all(|day| day.taken == 1));
    assert_eq!(days[short].deleted.len(), 6, "until 10 % are free");
    assert!(days.iter().all(|day| day.percent_free >= 5.0 && !day.is_full));
    let losses = first_losses(&days);
    assert_eq!(losses, [(Tier::Surplus, days[short].end)], "90 snapshots hold the targets of 400 days");
}

#[test]
fn tiers_go_in_the_order_of_their_worth() {
    let room = Capacity { total: 30 * GIB, free: 10 * GIB };
    let losses = first_losses(&played(&[client("a", 20, GIB)], room, "min_age = 0\nmin_keep = 0", 500));
    let tiers: Vec<_> = losses.iter().map(|(tier, _)| *tier).collect();
    assert_eq!(tiers, [Tier::Surplus, Tier::Target(TargetKind::FourthSunday)]);
    let tiny = Capacity { total: 10 * GIB, free: GIB };
    let losses = first_losses(&played(&[client("a", 9, GIB)], tiny, "min_age = 0\nmin_keep = 0", 100));
    assert!(losses.iter().any(|(tier, _)| matches!(tier, Tier::Target(TargetKind::Sunday))), "{losses:?}");
}

#[test]
fn by_rule_snapshots_go_though_there_is_room() {
    let room = Capacity { total: 1000 * GIB, free: 900 * GIB };
    let days = played(&[client("a", 100, GIB)], room, "keep = { daily = 10 }", 20);
    assert_eq!(days[0].deleted.len(), 101 - 10);
    assert!(days[1..].iter().all(|day| day.deleted.len() == 1 && day.deleted[0].tier == Tier::ByRule));
}

#[test]
fn a_store_of_protected_snapshots_alone_is_full() {
    let room = Capacity { total: 10 * GIB, free: GIB };
    let days = played(&[client("a", 5, 3 * GIB)], room, "min_age = '1000d'", 3);
    assert!(days.iter().all(|day| day.is_full && day.taken == 0 && day.deleted.is_empty()));
}

#[test]
fn the_simulated_deletions_are_those_of_the_plan() {
    let clients = [client("a", 90, GIB), client("b", 30, GIB)];
    let room = Capacity { total: 100 * GIB, free: 2 * GIB };
    let config = ServerConfig::default();
    let rules = Rules { order: Order::Importance, config: &config };
    let days = play(&clients, room, &rules, &goal(), begin(), 1);
    let mut inventory = Inventory { clients: clients.iter().map(|client| client.history.clone()).collect() };
    for history in &mut inventory.clients {
        history.snapshots.push(SnapshotName::at(later(begin(), SignedDuration::from_hours(1))));
    }
    let plan = PrunePlan::new(&inventory, &rules, days[0].end);
    let expected: Vec<_> = plan.deletions().map(|step| (step.client, step.snapshot)).take(10).collect();
    let deleted: Vec<_> = days[0].deleted.iter().map(|gone| (&gone.client, &gone.snapshot)).collect();
    assert_eq!(deleted, expected);
}

mod sixty_nights;

//! What a plan deletes, what it never does, and how it says so.

use proptest::prelude::*;

use super::*;
use crate::model::ByteSize;

const DAY: i64 = 86_400;

fn now() -> Timestamp {
    "2026-11-21T23:47:31Z".parse().unwrap()
}

fn ago(days: i64) -> Timestamp {
    Timestamp::from_second(now().as_second() - days * DAY).unwrap()
}

fn client(name: &str, snapshots: &[&str]) -> History {
    History::new(name.parse().unwrap(), snapshots.iter().map(|name| name.parse().unwrap()).collect())
}

/// One each day from so many days ago to so many days ago.
fn days(name: &str, days: std::ops::RangeInclusive<i64>) -> History {
    History::new(name.parse().unwrap(), days.map(|day| SnapshotName::at(ago(day))).collect())
}

fn store(clients: &[History]) -> Inventory {
    Inventory { clients: clients.to_vec() }
}

fn config(text: &str) -> ServerConfig {
    ServerConfig::from_toml(text).unwrap()
}

fn hold(reason: &str, until: Option<Timestamp>) -> Hold {
    Hold { snapshot: None, reason: reason.to_owned(), since: ago(0), until, automatic: false }
}

fn words(inventory: &Inventory, config: &ServerConfig, order: Order) -> Vec<String> {
    let plan = PrunePlan::new(inventory, &Rules { order, config }, now());
    plan.steps().iter().map(|step| format!("{} {}: {}", step.client, step.snapshot, step.verdict)).collect()
}

fn goes(inventory: &Inventory, config: &ServerConfig) -> usize {
    PrunePlan::new(inventory, &Rules { order: Order::Importance, config }, now()).deletions().count()
}

#[test]
fn every_snapshot_stands_in_the_plan_with_its_reason() {
    let web1 = [
        "2026-11-21T01:00+0000",
        "2026-11-20T01:00+0000",
        "2026-11-09T01:00+0000",
        "2026-11-08T01:00+0000",
        "2026-11-07T01:00+0000",
        "2030-01-01T00:00+0000",
        "saved-do-not-delete",
    ];
    let db = client("db", &["2026-01-01T01:00+0000", "2026-11-19T01:00+0000"]);
    assert_eq!(
        words(&store(&[client("web1", &web1), db]), &config("min_keep = 3"), Order::Age),
        [
            "db 2026-01-01T01:00+0000: one of the last 3 good ones of its client",
            "web1 2026-11-07T01:00+0000: by age",
            "web1 2026-11-08T01:00+0000: by age",
            "web1 2026-11-09T01:00+0000: one of the last 3 good ones of its client",
            "db 2026-11-19T01:00+0000: last of its client",
            "web1 2026-11-20T01:00+0000: younger than 7 days",
            "web1 2026-11-21T01:00+0000: last of its client",
            "web1 2030-01-01T00:00+0000: dated in the future",
            "web1 saved-do-not-delete: held: not a time",
        ]
    );
}

#[test]
fn surplus_goes_before_the_oldest_target() {
    let names: Vec<String> = (1..=30).rev().map(|day| format!("2026-10-{day:02}T01:00+0000")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.push("2026-09-27T12:00+0000");
    let words = words(&store(&[client("web1", &names)]), &config("min_keep = 0"), Order::Importance);
    assert_eq!(words[0], "web1 2026-10-01T01:00+0000: surplus");
    assert_eq!(words.last().unwrap(), "web1 2026-10-30T01:00+0000: last of its client");
    assert_eq!(words[words.len() - 12], "web1 2026-09-27T12:00+0000: target: fourth Sunday 2026-09-27");
}

#[test]
fn the_newest_that_can_be_trusted_is_kept_beside_one_from_the_future() {
    let inventory = store(&[client("web1", &["2026-01-01T01:00+0000", "2030-01-01T00:00+0000", "saved"])]);
    let words = words(&inventory, &config("min_keep = 0"), Order::Importance);
    assert_eq!(goes(&inventory, &config("min_keep = 0")), 0);
    assert!(words[0].ends_with("last of its client"));
}

#[test]
fn min_keep_counts_good_ones_and_each_client_may_have_its_own() {
    let inventory = store(&[days("a", 10..=29), days("b", 10..=29)]);
    let config = config("min_keep = 5\n[clients.b]\nmin_keep = 0\n");
    let left = |inventory: &Inventory| {
        let plan = PrunePlan::new(inventory, &Rules { order: Order::Age, config: &config }, now());
        let kept = plan.steps().iter().filter(|step| matches!(step.verdict, Verdict::Keep(_)));
        let (a, b): (Vec<&Step<'_>>, Vec<&Step<'_>>) = kept.partition(|step| step.client.as_str() == "a");
        (a.len(), b.len())
    };
    assert_eq!(left(&inventory), (5, 1));
    let mut doubted = inventory;
    doubted.clients[0].doubtful = (10..=12).map(|day| SnapshotName::at(ago(day))).collect();
    assert_eq!(left(&doubted), (6, 1), "the newest, and five good ones");
}

#[test]
fn holds_keep_what_they_say_and_unreadable_ones_keep_all() {
    let (mut web1, config) = (days("web1", 10..=29), config("min_keep = 0"));
    web1.holds = Some(Holds { holds: vec![hold("audit\x1b[2J", Some(ago(-10)))], ..Holds::default() });
    let inventory = store(std::slice::from_ref(&web1));
    assert_eq!(goes(&inventory, &config), 0);
    let words = words(&inventory, &config, Order::Importance);
    assert!(words.iter().all(|word| word.contains(": held until 2026-12-01: audit\\x1b[2J")), "{words:?}");

    web1.holds = Some(Holds { holds: vec![hold("expired", Some(ago(1)))], ..Holds::default() });
    assert_eq!(goes(&store(std::slice::from_ref(&web1)), &config), 19);

    web1.holds = None;
    let unreadable = store(&[web1, days("web2", 10..=29)]);
    assert_eq!(goes(&unreadable, &config), 19, "the other client's");
}

#[test]
fn an_abnormal_run_freezes_what_its_client_had_and_not_what_comes_after() {
    let mut web1 = days("web1", 0..=99);
    web1.frozen = Some(ago(50));
    let inventory = store(&[web1]);
    let words = words(&inventory, &config("min_keep = 0\nkeep = { daily = 1 }"), Order::Age);
    let frozen = |word: &String| word.ends_with("its client's latest backup is abnormally large");
    assert_eq!(words.iter().filter(|word| frozen(word)).count(), 50);
    assert_eq!(
        goes(&inventory, &config("min_keep = 0")),
        50 - 8 + 1,
        "older than seven days, younger than 50"
    );
}

#[test]
fn what_goes_by_rule_goes_first_and_without_need() {
    let inventory = store(&[days("a", 0..=99), days("b", 0..=99)]);
    let config = config("min_keep = 2\n[clients.b]\nkeep = { daily = 10, weekly = 4, within = '20d' }\n");
    let plan = PrunePlan::new(&inventory, &Rules { order: Order::Importance, config: &config }, now());
    assert!(plan.by_rule().len() > 70 && plan.by_rule().iter().all(|step| step.client.as_str() == "b"));
    assert!(plan.by_rule().iter().all(|step| step.snapshot.time().unwrap() <= ago(20)));
    assert!(plan.deletions().take(plan.by_rule().len()).eq(plan.by_rule()));
    assert_eq!(plan.deletions().count(), plan.by_rule().len() + plan.by_need().count());
    assert_eq!(plan.steps().len(), 200);
}

#[test]
fn a_rule_that_is_none_deletes_nothing() {
    let inventory = store(&[days("a", 0..=99)]);
    for text in
        ["", "keep = {}", "keep = { dayly = 3 }", "keep = 'all'", "keep = { daily = 'x', weekly = 3 }"]
    {
        let config = config(text);
        let plan = PrunePlan::new(&inventory, &Rules { order: Order::Importance, config: &config }, now());
        assert_eq!(plan.by_rule(), [], "{text}");
        assert_eq!(tiers::broken_rules(&config).len(), usize::from(!text.is_empty()), "{text}");
    }
}

#[test]
fn a_clock_that_jumps_ahead_deletes_by_rule_only_what_its_tiers_do_not_hold() {
    let history = days("a", 1..=400);
    let config = config("keep = { daily = 7, weekly = 4, monthly = 12 }");
    let rules = Rules { order: Order::Importance, config: &config };
    let inventory = store(&[history]);
    let standing = |now| PrunePlan::new(&inventory, &rules, now).by_rule().len();
    let (usual, decades_later) = (standing(now()), standing(ago(-365 * 30)));
    assert!(decades_later <= usual + 2, "{usual} {decades_later}");
    assert_eq!(standing(ago(365 * 30)), 0, "set back, all lie in the future");
}

#[test]
fn the_plan_is_json_for_a_program() {
    let inventory = store(&[client("web1", &["2026-01-01T01:00+0000", "saved"])]);
    let config = config("");
    let plan = PrunePlan::new(&inventory, &Rules { order: Order::Importance, config: &config }, now());
    assert_eq!(
        serde_json::to_string(&plan).unwrap(),
        r#"[{"client":"web1","snapshot":"2026-01-01T01:00+0000","verdict":"keep","reason":"last of its client"},"#
            .to_owned()
            + r#"{"client":"web1","snapshot":"saved","verdict":"keep","reason":"held: not a time"}]"#
    );
}

/// Up to four clients within a good year and a month ahead, some held, frozen, unreadable or doubtful.
fn any_store() -> impl Strategy<Value = Inventory> {
    let history = (prop::collection::btree_set(-500i64 * 24..30 * 24, 0..40), 0u8..12, 0i64..500);
    prop::collection::vec(history, 1..5).prop_map(|clients| {
        let client = |(number, (hours, kind, day)): (usize, (std::collections::BTreeSet<i64>, u8, i64))| {
            let at = |hour: i64| Timestamp::from_second(now().as_second() + hour * 3600).unwrap();
            let snapshots: Vec<_> = hours.into_iter().map(|hour| SnapshotName::at(at(hour))).collect();
            let mut history = History::new(format!("c{number}").parse().unwrap(), snapshots);
            match kind {
                0 => history.holds = None,
                1 => {
                    history.holds =
                        Some(Holds { holds: vec![hold("x", Some(ago(day - 250)))], ..Holds::default() });
                }
                2 => history.frozen = Some(ago(day)),
                3 => history.doubtful = history.snapshots.iter().rev().take(5).cloned().collect(),
                _ => {}
            }
            history
        };
        Inventory { clients: clients.into_iter().enumerate().map(client).collect() }
    })
}

fn any_config() -> impl Strategy<Value = ServerConfig> {
    (0u64..20, 0u32..8, prop::option::of((0u32..10, 0u32..6, 0u32..5))).prop_map(
        |(min_age, min_keep, keep)| {
            let keep = keep.map_or(String::new(), |(daily, weekly, within)| {
                format!("keep = {{ daily = {daily}, weekly = {weekly}, within = '{within}d' }}\n")
            });
            config(&format!("min_age = '{min_age}d'\nmin_keep = {min_keep}\n{keep}"))
        },
    )
}

proptest! {
    #[test]
    fn no_plan_deletes_what_must_stay(inventory in any_store(), config in any_config(), by_age: bool) {
        let order = if by_age { Order::Age } else { Order::Importance };
        let plan = PrunePlan::new(&inventory, &Rules { order, config: &config }, now());
        let all: usize = inventory.clients.iter().map(|history| history.snapshots.len()).sum();
        prop_assert_eq!(plan.steps().len(), all);
        let mut gone: HashMap<&ClientName, Vec<&SnapshotName>> = HashMap::new();
        for step in plan.deletions() {
            let time = step.snapshot.time().unwrap();
            let history = inventory.clients.iter().find(|history| history.client == *step.client).unwrap();
            let age = u64::try_from(now().as_second() - time.as_second()).unwrap();
            prop_assert!(age >= config.min_age.as_secs());
            prop_assert!(history.holds.as_ref().unwrap().holding(step.snapshot, now()).is_none());
            prop_assert!(history.frozen.is_none_or(|frozen| time > frozen));
            gone.entry(step.client).or_default().push(step.snapshot);
        }
        for (client, gone) in gone {
            let history = inventory.clients.iter().find(|history| history.client == *client).unwrap();
            let past = |s: &&SnapshotName| s.time().unwrap() <= now();
            let newest = history.snapshots.iter().filter(past).max().unwrap();
            prop_assert!(!gone.contains(&newest));
            let good = history.snapshots.iter().filter(past).filter(|s| !history.doubtful.contains(s));
            let mut good: Vec<_> = good.collect();
            good.sort_by(|a, b| b.cmp(a));
            prop_assert!(good.iter().take(config.min_keep as usize).all(|s| !gone.contains(s)));
        }
    }

    #[test]
    fn carrying_out_a_part_of_a_plan_leaves_the_rest_of_it(
        inventory in any_store(), config in any_config(), part in 0usize..60,
    ) {
        let rules = Rules { order: Order::Importance, config: &config };
        let plan = PrunePlan::new(&inventory, &rules, now());
        let done: Vec<_> = plan.deletions().take(part).copied().collect();
        let mut left = inventory.clone();
        for step in &done {
            for history in left.clients.iter_mut().filter(|history| history.client == *step.client) {
                history.snapshots.retain(|snapshot| snapshot != step.snapshot);
            }
        }
        let after = PrunePlan::new(&left, &rules, now());
        let rest: Vec<_> = plan.deletions().skip(part).collect();
        prop_assert_eq!(after.deletions().collect::<Vec<_>>(), rest);
    }

    #[test]
    fn what_one_client_has_never_protects_or_dooms_another_s(
        inventory in any_store(), config in any_config(), flood in 0i64..200,
    ) {
        let rules = Rules { order: Order::Importance, config: &config };
        let others = |inventory: &Inventory| -> Vec<String> {
            let plan = PrunePlan::new(inventory, &rules, now());
            let of_others = plan.steps().iter().filter(|step| step.client.as_str() != "flood");
            of_others.map(|step| format!("{} {} {}", step.client, step.snapshot, step.verdict)).collect()
        };
        let mut flooded = inventory.clone();
        flooded.clients.push(days("flood", 0..=flood));
        prop_assert_eq!(others(&inventory), others(&flooded));
    }
}

#[test]
fn sizes_of_a_plan_for_many_stay_small() {
    let step = size_of::<Step<'_>>() as u64;
    assert!(step <= 64, "{}", ByteSize(step));
}

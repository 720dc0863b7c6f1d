//! Two hundred clients in a store that is too small for them, for sixty nights; some miss nights, some are
//! hostile. After every night all that the pruner promises is looked at.

use super::*;
use crate::policy::prune::Protection;

const NIGHTS: u32 = 60;
const CLIENTS: usize = 200;

/// How a client behaves.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Regular,
    /// Four nights of ten fail.
    Flaky,
    /// Snapshots as often as it may.
    Flood,
    /// Twenty times as much as the others, every night.
    Junk,
}

fn kind(number: usize) -> Kind {
    match number % 20 {
        7 | 13 => Kind::Flaky,
        3 => Kind::Flood,
        5 => Kind::Junk,
        _ => Kind::Regular,
    }
}

fn crowd() -> Vec<Simulated> {
    let one = |number: usize| {
        let mut one = client(&format!("c{number:03}"), 40, GIB);
        match kind(number) {
            Kind::Regular => {}
            Kind::Flaky => {
                let mut at = 0;
                one.history.snapshots.retain(|_| {
                    at += 1;
                    (at * 7 + number) % 10 > 3
                });
            }
            Kind::Flood => one.every = Span::hours(6),
            Kind::Junk => one.new_data = 20 * GIB,
        }
        if number == 42 {
            let first = one.history.snapshots.first().cloned();
            let hold = crate::model::hold::Hold {
                snapshot: first,
                reason: "audit".to_owned(),
                since: begin(),
                until: None,
                automatic: false,
            };
            one.history.holds.as_mut().unwrap().holds.push(hold);
        }
        if number == 46 {
            one.history.frozen = Some(begin());
        }
        if number == 44 {
            one.history.snapshots.push("saved-hacked-do-not-delete".parse().unwrap());
            one.history.snapshots.push("2031-01-01T00:00+0000".parse().unwrap());
        }
        one
    };
    (0..CLIENTS).map(one).collect()
}

/// What there was before a night and what there is after it.
struct Night<'n> {
    before: &'n Inventory,
    after: &'n Inventory,
    day: &'n Day,
    rules: &'n Rules<'n>,
}

fn dated(history: &History, now: Timestamp) -> Vec<&SnapshotName> {
    let mut past: Vec<_> =
        history.snapshots.iter().filter(|s| s.time().is_some_and(|time| time <= now)).collect();
    past.sort();
    past
}

impl Night<'_> {
    fn check(&self) {
        let (end, config) = (self.day.end, self.rules.config);
        for gone in &self.day.deleted {
            let age = u64::try_from(end.as_second() - gone.snapshot.time().unwrap().as_second()).unwrap();
            assert!(age >= config.min_age.as_secs(), "{end} {gone:?}");
            let was_frozen = gone.client.as_str() == "c046" && gone.snapshot.time() <= Some(begin());
            assert!(!was_frozen, "{end} {gone:?}");
        }
        for (before, after) in self.before.clients.iter().zip(&self.after.clients) {
            let (had, has) = (dated(before, end), dated(after, end));
            assert!(has.len() >= had.len().min(config.min_keep as usize), "{end} {}", before.client);
            assert!(has.last() >= had.last(), "{end}: the newest of {}", before.client);
        }
        let named = |number: usize| &self.after.clients[number].snapshots;
        let held = self.before.clients[42].holds.iter().flat_map(|holds| &holds.holds);
        assert!(held.filter_map(|hold| hold.snapshot.as_ref()).all(|held| named(42).contains(held)));
        assert!(named(44).iter().filter(|s| s.time().is_none_or(|time| time > end)).count() == 2);
        assert!(self.day.percent_free >= 10.0 || self.day.deleted.is_empty() || self.is_exhausted(), "{end}");
        self.check_fairness();
    }

    fn is_exhausted(&self) -> bool {
        PrunePlan::new(self.after, self.rules, self.day.end).deletions().next().is_none()
    }

    /// Of clients with the same rhythm none keeps a target more than another but the one at which deletion
    /// stands, and a flood or junk costs no regular one a target that the hostile one keeps.
    fn check_fairness(&self) {
        let plan = PrunePlan::new(self.after, self.rules, self.day.end);
        let mut depth: HashMap<&ClientName, usize> = HashMap::new();
        for step in plan.steps() {
            // Beyond what is young nobody may be protected here but the ones that are looked at above.
            match step.verdict {
                Verdict::Delete(Reason::Target(_)) => *depth.entry(step.client).or_default() += 1,
                Verdict::Keep(Protection::HoldsUnreadable) | Verdict::DeleteByRule => panic!("{step:?}"),
                Verdict::Keep(_) | Verdict::Delete(_) => {}
            }
        }
        let of = |wanted: &[Kind]| -> Vec<usize> {
            let numbers = (0..CLIENTS).filter(|n| wanted.contains(&kind(*n)) && ![42, 44, 46].contains(n));
            numbers.map(|n| depth.get(&self.after.clients[n].client).copied().unwrap_or(0)).collect()
        };
        let (regular, hostile) = (of(&[Kind::Regular]), of(&[Kind::Flood, Kind::Junk]));
        let (least, most) = (*regular.iter().min().unwrap(), *regular.iter().max().unwrap());
        assert!(most - least <= 1, "{}: {least} to {most}", self.day.end);
        assert!(*hostile.iter().max().unwrap() <= most + 1, "{}: {hostile:?} {most}", self.day.end);
    }
}

/// A flaky client's failed nights, as if its snapshot of that night had never been taken.
fn lose_failed_nights(store: &mut Simulation<'_>, night: u32) {
    for number in (0..CLIENTS).filter(|n| kind(*n) == Kind::Flaky) {
        if (u64::from(night) * 7 + number as u64) % 10 <= 3 {
            let every = store.ways[number].every;
            store.ways[number].next = store.ways[number].next.map(|next| later(next, every));
        }
    }
}

fn sixty_nights(toml: &str, total: u64) -> BTreeSet<Tier> {
    let clients = crowd();
    let config = ServerConfig::from_toml(toml).unwrap();
    let rules = Rules { order: Order::Importance, config: &config };
    let goal = goal();
    let free = 0;
    let mut store = Simulation::new(&clients, Capacity { total, free }, &rules, &goal);
    let mut gone = BTreeSet::new();
    for night in 0..NIGHTS {
        lose_failed_nights(&mut store, night);
        let before = store.inventory.clone();
        let day = store.day(later(begin(), SignedDuration::from_hours(24 * i64::from(night))));
        Night { before: &before, after: &store.inventory, day: &day, rules: &rules }.check();
        gone.extend(day.deleted.iter().map(|deleted| deleted.tier));
    }
    gone
}

#[test]
fn two_hundred_clients_for_sixty_nights_lose_nothing_that_must_stay() {
    let gone = sixty_nights("", 16_000 * GIB);
    assert_eq!(gone.first(), Some(&Tier::Surplus));
}

#[test]
fn the_same_holds_in_a_store_that_is_much_too_small() {
    let gone = sixty_nights("min_age = '2d'\nmin_keep = 2", 125_000 * GIB);
    assert!(gone.len() > 2, "{gone:?}");
}

//! Plays the future: backups come as they usually do, and the same plan that the pruner carries out makes
//! room. Tells when which kind of snapshot begins to go.
//!
//! What a snapshot gives back when it goes is not known beforehand (its blocks are shared with others);
//! here it is what its run brought, so all is an estimate.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::goal::Goal;
use super::importance::{Reason, TargetKind};
use super::prune::{History, Inventory, PrunePlan, Rules, Verdict};
use crate::model::span::Span;
use crate::model::{ClientName, SnapshotName};

/// One client as it is now and as it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulated {
    /// What it has.
    pub history: History,
    /// Bytes that each snapshot is thought to give back; one that is not here, as much as `new_data`.
    pub sizes: HashMap<SnapshotName, u64>,
    /// Bytes that a backup brings usually.
    pub new_data: u64,
    /// From one backup to the next.
    pub every: Span,
}

/// The room of a store, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// All that there is.
    pub total: u64,
    /// What is free now.
    pub free: u64,
}

/// What happened on a day.
#[derive(Debug, Clone, PartialEq)]
pub struct Day {
    /// Its end: that many times 24 hours after the begin.
    pub end: Timestamp,
    /// Snapshots that were taken.
    pub taken: usize,
    /// What was deleted, in order.
    pub deleted: Vec<Deleted>,
    /// Percent that was free at its end.
    pub percent_free: f64,
    /// Backups found no room: only protected snapshots were left.
    pub is_full: bool,
}

/// A snapshot that went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// Whose it was.
    pub client: ClientName,
    /// Which one.
    pub snapshot: SnapshotName,
    /// What it was.
    pub tier: Tier,
}

/// The kinds of snapshots, in the order in which they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// What a `keep` rule does not keep.
    ByRule,
    /// What no target asked for.
    Surplus,
    /// By age alone.
    Age,
    /// What stood for a target.
    Target(TargetKind),
}

/// Plays so many days from `now` on.
pub fn play(
    clients: &[Simulated],
    room: Capacity,
    rules: &Rules<'_>,
    goal: &Goal,
    now: Timestamp,
    days: u32,
) -> Vec<Day> {
    let mut store = Simulation::new(clients, room, rules, goal);
    (0..days)
        .map(|day| {
            let begin = later(now, SignedDuration::from_hours(24 * i64::from(day)));
            store.day(begin)
        })
        .collect()
}

/// When each kind of snapshot begins to go.
pub fn first_losses(days: &[Day]) -> Vec<(Tier, Timestamp)> {
    let mut first: Vec<(Tier, Timestamp)> = Vec::new();
    for (tier, end) in days.iter().flat_map(|day| day.deleted.iter().map(|gone| (gone.tier, day.end))) {
        if !first.iter().any(|(seen, _)| *seen == tier) {
            first.push((tier, end));
        }
    }
    first
}

struct Simulation<'r> {
    inventory: Inventory,
    /// For each client: its sizes, what it brings, and when next.
    ways: Vec<Way>,
    numbers: HashMap<ClientName, usize>,
    room: Capacity,
    rules: &'r Rules<'r>,
    goal: &'r Goal,
}

struct Way {
    sizes: HashMap<SnapshotName, u64>,
    new_data: u64,
    every: SignedDuration,
    next: Option<Timestamp>,
}

impl<'r> Simulation<'r> {
    fn new(clients: &[Simulated], room: Capacity, rules: &'r Rules<'r>, goal: &'r Goal) -> Self {
        let way = |client: &Simulated| {
            let every = i64::try_from(client.every.as_secs().max(60)).unwrap_or(i64::MAX);
            let every = SignedDuration::from_secs(every);
            let last = client.history.snapshots.iter().filter_map(SnapshotName::time).max();
            let next = last.map(|last| later(last, every));
            Way { sizes: client.sizes.clone(), new_data: client.new_data, every, next }
        };
        let histories = clients.iter().map(|client| client.history.clone());
        let numbers = clients.iter().enumerate().map(|(n, client)| (client.history.client.clone(), n));
        Self {
            inventory: Inventory { clients: histories.collect() },
            ways: clients.iter().map(way).collect(),
            numbers: numbers.collect(),
            room,
            rules,
            goal,
        }
    }

    /// Takes what is due until the day's end, then makes room.
    fn day(&mut self, begin: Timestamp) -> Day {
        let end = later(begin, SignedDuration::from_hours(24));
        let (taken, is_full) = self.take(begin, end);
        let mut deleted = Vec::new();
        self.prune(end, is_full, &mut deleted);
        Day { end, taken, deleted, percent_free: self.percent_free(), is_full }
    }

    fn take(&mut self, begin: Timestamp, end: Timestamp) -> (usize, bool) {
        let (mut taken, mut is_full) = (0, false);
        for (history, way) in self.inventory.clients.iter_mut().zip(&mut self.ways) {
            let mut next = way.next.unwrap_or(begin).max(begin);
            while next < end {
                if self.room.free < way.new_data {
                    is_full = true;
                } else {
                    self.room.free -= way.new_data;
                    history.snapshots.push(SnapshotName::at(next));
                    taken += 1;
                }
                next = later(next, way.every);
            }
            way.next = Some(next);
        }
        (taken, is_full)
    }

    /// A backup that found no room has taken the last of it, so it makes the pruner begin as well.
    fn prune(&mut self, now: Timestamp, is_full: bool, deleted: &mut Vec<Deleted>) {
        let has_rules =
            self.rules.config.keep.is_some() || self.rules.config.clients.values().any(|c| c.keep.is_some());
        let is_short = is_full || !self.goal.is_met_by(self.percent_free());
        if !has_rules && !is_short {
            return;
        }
        let plan = PrunePlan::new(&self.inventory, self.rules, now);
        for step in plan.deletions() {
            let tier = match step.verdict {
                Verdict::DeleteByRule => Tier::ByRule,
                Verdict::Delete(reason) => tier(reason),
                Verdict::Keep(_) => continue,
            };
            if tier != Tier::ByRule && (!is_short || self.goal.is_reached_by(percent(self.room))) {
                break;
            }
            let way = self.numbers.get(step.client).and_then(|number| self.ways.get_mut(*number));
            let back = way.map_or(0, |way| way.sizes.remove(step.snapshot).unwrap_or(way.new_data));
            self.room.free = self.room.free.saturating_add(back).min(self.room.total);
            let (client, snapshot) = (step.client.clone(), step.snapshot.clone());
            deleted.push(Deleted { client, snapshot, tier });
        }
        self.forget(deleted);
    }

    fn forget(&mut self, deleted: &[Deleted]) {
        let mut gone: HashMap<&ClientName, HashSet<&SnapshotName>> = HashMap::new();
        for Deleted { client, snapshot, .. } in deleted {
            gone.entry(client).or_default().insert(snapshot);
        }
        for history in &mut self.inventory.clients {
            if let Some(gone) = gone.get(&history.client) {
                history.snapshots.retain(|snapshot| !gone.contains(snapshot));
            }
        }
    }

    fn percent_free(&self) -> f64 {
        percent(self.room)
    }
}

fn tier(reason: Reason) -> Tier {
    match reason {
        Reason::Target(target) => Tier::Target(target.kind()),
        Reason::Surplus | Reason::Future => Tier::Surplus,
        Reason::Age => Tier::Age,
    }
}

#[allow(clippy::cast_precision_loss, reason = "a percentage needs no more than 52 bits of a byte count")]
fn percent(room: Capacity) -> f64 {
    if room.total == 0 { 100.0 } else { room.free as f64 / room.total as f64 * 100.0 }
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;

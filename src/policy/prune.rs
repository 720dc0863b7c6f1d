//! What would be deleted, in which order, and why; and what would not, and why. A dry run prints the same
//! plan that a real run carries out: first what goes by rule, then one after the other until there is room.
//!
//! A plan borrows what it was made from, so that one for a hundred thousand snapshots costs little.

use std::collections::HashMap;

use jiff::Timestamp;

pub use super::importance::{Order, Reason};
use super::importance::{Ranked, rank};
use super::tiers;
use crate::model::hold::{Hold, Holds};
use crate::model::keep::Rule;
use crate::model::server_config::ServerConfig;
use crate::model::span::Span;
use crate::model::{ClientName, SnapshotName};

mod words;

/// All that is known of a store's history; each client once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// In any order.
    pub clients: Vec<History>,
}

/// One client's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Whose it is.
    pub client: ClientName,
    /// All its snapshots, in any order.
    pub snapshots: Vec<SnapshotName>,
    /// Its holds; `None` when they cannot be read, and then nothing of it is deleted.
    pub holds: Option<Holds>,
    /// When its last abnormal and not accepted run ended, or now while one is at work: what was taken up
    /// to then is not deleted, as it holds the client's last good ones. What came after it is not
    /// protected, or an abnormal run would be a way to keep everything for ever.
    pub frozen: Option<Timestamp>,
    /// Those that do not count as good ones; see [`super::growth::doubtful`].
    pub doubtful: Vec<SnapshotName>,
}

impl History {
    /// Of a client without holds, whose runs are all in order.
    pub fn new(client: ClientName, snapshots: Vec<SnapshotName>) -> Self {
        Self { client, snapshots, holds: Some(Holds::default()), frozen: None, doubtful: Vec::new() }
    }
}

/// By what a plan is made.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'c> {
    /// The order in which snapshots go when room is short.
    pub order: Order,
    /// `min_age`, and for each client `min_keep` and `keep`.
    pub config: &'c ServerConfig,
}

/// Every snapshot of a store with its verdict, in pruning order: the first one goes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunePlan<'a> {
    /// Those that go by rule come first.
    steps: Vec<Step<'a>>,
    by_rule: usize,
}

/// One snapshot and its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'a> {
    /// Whose it is.
    pub client: &'a ClientName,
    /// Which one.
    pub snapshot: &'a SnapshotName,
    /// What becomes of it.
    pub verdict: Verdict<'a>,
}

/// What becomes of a snapshot; printed as its reason in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It is beyond all that its client's `keep` keeps, and goes also when there is room.
    DeleteByRule,
    /// It may be deleted when its turn comes; how much it is worth.
    Delete(Reason),
    /// It stays, however little room there is.
    Keep(Protection<'a>),
}

/// What keeps a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection<'a> {
    /// Its name is no time: a person gave it.
    Named,
    /// A hold.
    Held(&'a Hold),
    /// Its client's holds cannot be read, so nobody knows whether there is one.
    HoldsUnreadable,
    /// Its time lies in the future, so nobody knows how old it is.
    Future,
    /// It is the newest of its client.
    LastOfClient,
    /// It is younger than this.
    Younger(Span),
    /// It is one of so many last good ones of its client.
    MinKeep(u32),
    /// Its client's latest backup is abnormally large, and this is from before.
    Abnormal,
}

impl<'a> PrunePlan<'a> {
    /// The plan for all snapshots of a store. What goes by rule comes first, the oldest first; then all else
    /// in the order in which it is worth keeping when that is gone; and over it what is never deleted.
    pub fn new(inventory: &'a Inventory, rules: &Rules<'_>, now: Timestamp) -> Self {
        let floors: Vec<Floor<'a>> =
            inventory.clients.iter().map(|history| Floor::of(history, rules, now)).collect();
        let mut steps: Vec<Step<'a>> = floors.iter().flat_map(Floor::beyond_rule).collect();
        steps.sort_unstable_by_key(|step| (step.snapshot, step.client));
        let by_rule = steps.len();
        let ranked = rank(floors.iter().map(|f| (&f.history.client, f.left())), now, rules.order);
        let by_client: HashMap<&ClientName, &Floor<'a>> =
            floors.iter().map(|floor| (&floor.history.client, floor)).collect();
        let verdict = |Ranked { client, snapshot, reason }| {
            let protection = by_client.get(client)?.protection(snapshot, now);
            let verdict = protection.map_or(Verdict::Delete(reason), Verdict::Keep);
            Some(Step { client, snapshot, verdict })
        };
        steps.extend(ranked.into_iter().rev().filter_map(verdict));
        steps.append(&mut named(inventory));
        Self { steps, by_rule }
    }

    /// Every snapshot, the first to go first.
    pub fn steps(&self) -> &[Step<'a>] {
        &self.steps
    }

    /// What goes by rule, also when there is room; the first to go first.
    pub fn by_rule(&self) -> &[Step<'a>] {
        &self.steps[..self.by_rule]
    }

    /// What may be deleted when room is short, the first to go first.
    pub fn by_need(&self) -> impl Iterator<Item = &Step<'a>> {
        self.steps.iter().filter(|step| matches!(step.verdict, Verdict::Delete(_)))
    }

    /// All that may be deleted: by rule, then by need.
    pub fn deletions(&self) -> impl Iterator<Item = &Step<'a>> {
        self.by_rule().iter().chain(self.by_need())
    }
}

/// What is never deleted of one client.
struct Floor<'a> {
    history: &'a History,
    min_age: Span,
    min_keep: u32,
    /// The newest that is not dated in the future.
    newest: Option<&'a SnapshotName>,
    /// The oldest of the last `min_keep` good ones.
    oldest_safe: Option<&'a SnapshotName>,
    /// What goes by rule, the newest first.
    beyond: Vec<&'a SnapshotName>,
}

impl<'a> Floor<'a> {
    fn of(history: &'a History, rules: &Rules<'_>, now: Timestamp) -> Self {
        let past = |s: &&SnapshotName| s.time().is_some_and(|time| time <= now);
        let mut past: Vec<&SnapshotName> = history.snapshots.iter().filter(past).collect();
        past.sort_unstable_by(|a, b| b.cmp(a));
        let min_keep = rules.config.min_keep_of(&history.client);
        let good = past.iter().filter(|snapshot| !history.doubtful.contains(snapshot));
        let oldest_safe = good.take(usize::try_from(min_keep).unwrap_or(usize::MAX)).last().copied();
        let (min_age, newest) = (rules.config.min_age, past.first().copied());
        let mut floor = Self { history, min_age, min_keep, newest, oldest_safe, beyond: Vec::new() };
        if let Some(Rule::Valid(keep)) = rules.config.keep_of(&history.client) {
            let seconds: Vec<i64> = past.iter().filter_map(|s| s.time()).map(Timestamp::as_second).collect();
            let kept = tiers::kept(keep, &seconds, now);
            let beyond =
                past.into_iter().zip(kept).filter_map(|(snapshot, kept)| (!kept).then_some(snapshot));
            floor.beyond = beyond.filter(|snapshot| floor.protection(snapshot, now).is_none()).collect();
        }
        floor
    }

    fn beyond_rule(&self) -> impl Iterator<Item = Step<'a>> {
        let client = &self.history.client;
        self.beyond.iter().map(|snapshot| Step { client, snapshot, verdict: Verdict::DeleteByRule })
    }

    /// What there is without that.
    fn left(&self) -> impl Iterator<Item = &'a SnapshotName> {
        let stays = |s: &&SnapshotName| self.beyond.binary_search_by(|beyond| s.cmp(beyond)).is_err();
        self.history.snapshots.iter().filter(stays)
    }

    fn protection(&self, snapshot: &'a SnapshotName, now: Timestamp) -> Option<Protection<'a>> {
        let Some(time) = snapshot.time() else { return Some(Protection::Named) };
        let Some(holds) = &self.history.holds else { return Some(Protection::HoldsUnreadable) };
        if let Some(hold) = holds.holding(snapshot, now) {
            return Some(Protection::Held(hold));
        }
        let Ok(age) = u64::try_from(now.as_second().saturating_sub(time.as_second())) else {
            return Some(Protection::Future);
        };
        let is_good = || !self.history.doubtful.contains(snapshot);
        if self.newest == Some(snapshot) {
            Some(Protection::LastOfClient)
        } else if age < self.min_age.as_secs() {
            Some(Protection::Younger(self.min_age))
        } else if self.oldest_safe.is_some_and(|oldest| snapshot >= oldest) && is_good() {
            Some(Protection::MinKeep(self.min_keep))
        } else {
            self.history.frozen.filter(|frozen| time <= *frozen).map(|_| Protection::Abnormal)
        }
    }
}

/// The snapshots that a person named, by client and name.
fn named(inventory: &Inventory) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    for history in &inventory.clients {
        let named = history.snapshots.iter().filter(|snapshot| snapshot.time().is_none());
        let verdict = Verdict::Keep(Protection::Named);
        steps.extend(named.map(|snapshot| Step { client: &history.client, snapshot, verdict }));
    }
    steps.sort_unstable_by_key(|step| (step.client, step.snapshot));
    steps
}

#[cfg(test)]
mod tests;

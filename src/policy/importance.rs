//! How much each snapshot is worth. The pruner deletes the least important first, so the order decides
//! what history a full disk still holds.
//!
//! There is a list of moments that are worth a snapshot, all of them midday UTC, the most important
//! first: today and each of the six days before; the last four Sundays before those; then every fourth
//! Sunday, counted from Sunday 4 January 1970. For each of these targets in turn, every client in turn
//! (by name) gives one snapshot; so all clients keep about the same depth of history, and no flood of
//! one costs another a target. What was given first is the most important. What nobody asked for is
//! surplus: less important than every target, the oldest the least.
//!
//! A client gives its newest snapshot to today, and to each later target the nearest one among those
//! older than what it gave before. (The former program gave today's nearest to midday, could so rank a
//! client's newest snapshot below its oldest, and passed over a target whose nearest snapshot was newer
//! than the one before. It also asked twice for a fourth Sunday that is one of the last four.)
//!
//! Names without a time are not in the order: a person gave them, they are held for ever. Times in the
//! future are above everything: a clock was wrong, and nobody knows when they were really taken.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::model::{ClientName, SnapshotName};

#[cfg(test)]
mod clocks;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod simulation;

const DAY: i64 = 86_400;

/// The order in which snapshots are worth keeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// By the targets above.
    #[default]
    Importance,
    /// The newer, the more important.
    Age,
}

/// The text names no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderError;

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an order is 'importance' or 'age'")
    }
}

impl std::error::Error for OrderError {}

impl FromStr for Order {
    type Err = OrderError;

    fn from_str(text: &str) -> Result<Self, OrderError> {
        match text {
            "importance" => Ok(Self::Importance),
            "age" => Ok(Self::Age),
            _ => Err(OrderError),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Importance => "importance",
            Self::Age => "age",
        })
    }
}

/// What a target is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetKind {
    /// Today or one of the six days before.
    Day,
    /// One of the four Sundays before those.
    Sunday,
    /// One of the Sundays that lie a multiple of 28 days after 4 January 1970.
    FourthSunday,
}

/// A midday UTC that is worth a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    kind: TargetKind,
    /// In days since 1 January 1970.
    day: i64,
}

impl Target {
    /// The target of this rank, 0 for today, on the day `today`.
    fn of_rank(today: i64, rank: usize) -> Self {
        let rank = i64::try_from(rank).unwrap_or(i64::MAX / DAY);
        let sunday = sunday_until(today - 7, 7);
        match rank {
            0..7 => Self { kind: TargetKind::Day, day: today - rank },
            7..11 => Self { kind: TargetKind::Sunday, day: sunday - 7 * (rank - 7) },
            _ => {
                let first = sunday_until(sunday - 3 * 7 - 1, 28);
                Self { kind: TargetKind::FourthSunday, day: first - 28 * (rank - 11) }
            }
        }
    }

    /// What it is one of.
    pub fn kind(self) -> TargetKind {
        self.kind
    }

    /// Its midday in seconds since the epoch.
    fn midday(self) -> i64 {
        self.day * DAY + DAY / 2
    }
}

/// The last day up to `day` that lies a multiple of `step` (7 or 28) days after Sunday 4 January 1970.
fn sunday_until(day: i64, step: i64) -> i64 {
    day - (day - 3).rem_euclid(step)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            TargetKind::Day => "day",
            TargetKind::Sunday => "Sunday",
            TargetKind::FourthSunday => "fourth Sunday",
        };
        let midday = Timestamp::from_second(self.midday()).unwrap_or(Timestamp::MIN);
        write!(f, "{kind} {}", midday.to_zoned(TimeZone::UTC).date())
    }
}

/// Why a snapshot stands where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its date is in the future.
    Future,
    /// It is what its client has for this target.
    Target(Target),
    /// No target asked for it.
    Surplus,
    /// The order is by age.
    Age,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Future => f.write_str("dated in the future"),
            Self::Target(target) => write!(f, "target: {target}"),
            Self::Surplus => f.write_str("surplus"),
            Self::Age => f.write_str("by age"),
        }
    }
}

/// A snapshot in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranked<'a> {
    /// Whose it is.
    pub client: &'a ClientName,
    /// Its name, which tells a time.
    pub snapshot: &'a SnapshotName,
    /// Why it stands here.
    pub reason: Reason,
}

/// A snapshot with its time in seconds since the epoch.
#[derive(Clone, Copy)]
struct Dated<'a> {
    client: &'a ClientName,
    snapshot: &'a SnapshotName,
    second: i64,
}

impl<'a> Dated<'a> {
    fn ranked(self, reason: Reason) -> Ranked<'a> {
        Ranked { client: self.client, snapshot: self.snapshot, reason }
    }
}

/// All snapshots that tell a time, the most important first. Each client is given once, with its
/// snapshots. The same set gives the same order, however it is sorted; the time that it takes grows as
/// n log n.
pub fn rank<'a, S: IntoIterator<Item = &'a SnapshotName>>(
    clients: impl IntoIterator<Item = (&'a ClientName, S)>,
    now: Timestamp,
    order: Order,
) -> Vec<Ranked<'a>> {
    let mut clients: Vec<_> = clients.into_iter().collect();
    clients.sort_unstable_by_key(|(client, _)| *client);
    let dated: Vec<_> = clients.into_iter().flat_map(|(client, own)| newest_first_of(client, own)).collect();
    let (mut future, past): (Vec<_>, Vec<_>) = dated.into_iter().partition(|d| d.second > now.as_second());
    newest_first(&mut future);
    let mut ranked: Vec<_> = future.into_iter().map(|dated| dated.ranked(Reason::Future)).collect();
    match order {
        Order::Importance => rank_by_targets(&past, now, &mut ranked),
        Order::Age => rank_rest(past, Reason::Age, &mut ranked),
    }
    ranked
}

/// One client's, by time, then by text.
fn newest_first_of<'a>(
    client: &'a ClientName,
    snapshots: impl IntoIterator<Item = &'a SnapshotName>,
) -> Vec<Dated<'a>> {
    let dated =
        |snapshot: &'a SnapshotName| Some(Dated { client, snapshot, second: snapshot.time()?.as_second() });
    let mut own: Vec<_> = snapshots.into_iter().filter_map(dated).collect();
    own.sort_unstable_by(|a, b| b.snapshot.cmp(a.snapshot));
    own
}

/// Of several clients; by client, then by text, where the time is the same.
fn newest_first(dated: &mut [Dated<'_>]) {
    dated.sort_by_key(|dated| std::cmp::Reverse(dated.second));
}

fn rank_rest<'a>(mut rest: Vec<Dated<'a>>, reason: Reason, ranked: &mut Vec<Ranked<'a>>) {
    newest_first(&mut rest);
    ranked.extend(rest.into_iter().map(|dated| dated.ranked(reason)));
}

/// `past` is sorted by client, each client's newest first.
fn rank_by_targets<'a>(past: &[Dated<'a>], now: Timestamp, ranked: &mut Vec<Ranked<'a>>) {
    let today = now.as_second().div_euclid(DAY);
    let mut rounds: Vec<Vec<Ranked<'a>>> = Vec::new();
    let mut surplus = Vec::new();
    for own in past.chunk_by(|a, b| a.client == b.client) {
        let mut rank = 0;
        let mut unasked = 0;
        while unasked < own.len() {
            let target = Target::of_rank(today, rank);
            let given = if rank == 0 { 0 } else { nearest(own, unasked, target.midday()) };
            surplus.extend_from_slice(&own[unasked..given]);
            if rank == rounds.len() {
                rounds.push(Vec::new());
            }
            rounds[rank].push(own[given].ranked(Reason::Target(target)));
            (rank, unasked) = (rank + 1, given + 1);
        }
    }
    ranked.extend(rounds.into_iter().flatten());
    rank_rest(surplus, Reason::Surplus, ranked);
}

/// Which of `own[from..]`, newest first, is nearest to the moment; the newer one of two as near.
fn nearest(own: &[Dated<'_>], from: usize, moment: i64) -> usize {
    let older = from + own[from..].partition_point(|dated| dated.second > moment);
    if older == from {
        return from;
    }
    let newer = older - 1;
    match own.get(older) {
        Some(dated) if moment - dated.second < own[newer].second - moment => older,
        _ => newer,
    }
}

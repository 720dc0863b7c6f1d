//! `--simulate`: what the future brings, if every client goes on as it did.

use std::collections::HashMap;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use super::Pruner;
use super::known::{ClientRuns, Known};
use crate::model::span::Span;
use crate::model::{ByteSize, ClientName, SnapshotName, Status};
use crate::policy::growth;
use crate::policy::importance::TargetKind;
use crate::policy::prune::History;
use crate::policy::room::Room;
use crate::policy::simulate::{self, Capacity, Day, Simulated, Tier};
use crate::system::{clock, console};

/// What a client that has not yet shown its rhythm is thought to have.
const DAILY: Span = Span::days(1);

#[derive(Serialize)]
struct Future<'a> {
    schema: u32,
    percent_free: f64,
    clients: Vec<Habit>,
    days: Vec<Told<'a>>,
    first_losses: Vec<Loss>,
}

/// How a client goes on.
#[derive(Serialize)]
struct Habit {
    client: ClientName,
    new_data: u64,
    every_seconds: u64,
}

#[derive(Serialize)]
struct Told<'a> {
    end: Timestamp,
    taken: usize,
    percent_free: f64,
    is_full: bool,
    deleted: Vec<Gone<'a>>,
}

#[derive(Serialize)]
struct Gone<'a> {
    client: &'a ClientName,
    snapshot: &'a SnapshotName,
    tier: &'static str,
}

#[derive(Serialize)]
struct Loss {
    tier: &'static str,
    from: Timestamp,
}

/// Plays so many days and prints them.
pub(super) fn show(pruner: &Pruner<'_>, known: &Known, days: u32) -> Result<Status> {
    let room = pruner.server.store.volume().room()?;
    let clients: Vec<Simulated> =
        known.inventory.clients.iter().zip(&known.runs.clients).map(|(h, r)| simulated(h, r)).collect();
    let (rules, goal, now) = (pruner.rules(), pruner.goal(&known.runs), clock::now());
    let played = simulate::play(&clients, capacity(&room), &rules, &goal, now, days);
    if pruner.options.json {
        console::print(serde_json::to_string(&future(&room, &clients, &played))?);
    } else {
        tell(&room, &clients, &played);
    }
    Ok(Status::Done)
}

fn simulated(history: &History, runs: &ClientRuns) -> Simulated {
    let measured = runs.log.runs.iter();
    let sizes = measured.filter_map(|run| Some((run.snapshot.clone()?, run.new_data)));
    let every = rhythm(history);
    // What is typical is a day's new data, however many backups brought it.
    let share = every.as_secs().min(DAILY.as_secs());
    let new_data = growth::typical(&runs.log).unwrap_or(0) / DAILY.as_secs() * share;
    Simulated { history: history.clone(), sizes: sizes.collect::<HashMap<_, _>>(), new_data, every }
}

/// The median of the times between its last snapshots.
fn rhythm(history: &History) -> Span {
    let mut times: Vec<i64> =
        history.snapshots.iter().filter_map(SnapshotName::time).map(Timestamp::as_second).collect();
    times.sort_unstable();
    let last = &times[times.len().saturating_sub(15)..];
    let mut gaps: Vec<i64> = last.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable();
    let median = gaps.get(gaps.len() / 2).and_then(|gap| u64::try_from(*gap).ok()).filter(|gap| *gap > 0);
    median.map_or(DAILY, Span::seconds)
}

/// The kind that is scarcer decides, so its percentage is taken for all.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate, and a percentage is neither negative nor above 100"
)]
fn capacity(room: &Room) -> Capacity {
    let total = room.data_most();
    Capacity { total, free: (total as f64 * room.percent_free() / 100.0) as u64 }
}

fn future<'a>(room: &Room, clients: &[Simulated], played: &'a [Day]) -> Future<'a> {
    let habit = |client: &Simulated| Habit {
        client: client.history.client.clone(),
        new_data: client.new_data,
        every_seconds: client.every.as_secs(),
    };
    let told = |day: &'a Day| Told {
        end: day.end,
        taken: day.taken,
        percent_free: day.percent_free,
        is_full: day.is_full,
        deleted: day
            .deleted
            .iter()
            .map(|gone| Gone { client: &gone.client, snapshot: &gone.snapshot, tier: words(gone.tier) })
            .collect(),
    };
    let losses = simulate::first_losses(played).into_iter();
    Future {
        schema: 1,
        percent_free: room.percent_free(),
        clients: clients.iter().map(habit).collect(),
        days: played.iter().map(told).collect(),
        first_losses: losses.map(|(tier, from)| Loss { tier: words(tier), from }).collect(),
    }
}

fn words(tier: Tier) -> &'static str {
    match tier {
        Tier::ByRule => "one beyond a keep rule",
        Tier::Surplus => "surplus",
        Tier::Age => "by age",
        Tier::Target(TargetKind::Day) => "daily target",
        Tier::Target(TargetKind::Sunday) => "Sunday target",
        Tier::Target(TargetKind::FourthSunday) => "fourth-Sunday target",
    }
}

/// One line for each day on which something goes, and what begins to go when.
fn tell(room: &Room, clients: &[Simulated], played: &[Day]) {
    for client in clients {
        let (name, new, every) = (&client.history.client, ByteSize(client.new_data), client.every);
        console::print(format_args!("{name} goes on to bring {new} every {every}"));
    }
    console::print(format_args!("{:.1} % are free today", room.percent_free()));
    for day in played.iter().filter(|day| !day.deleted.is_empty() || day.is_full) {
        let date = day.end.strftime("%Y-%m-%d");
        let full = if day.is_full { "; the store is full and backups fail" } else { "" };
        console::print(format_args!(
            "{date}: {} taken, {} deleted, {:.1} % free{full}",
            day.taken,
            day.deleted.len(),
            day.percent_free
        ));
    }
    let losses = simulate::first_losses(played);
    if losses.is_empty() {
        console::print(format_args!("in {} days nothing is deleted", played.len()));
    }
    for (tier, from) in losses {
        console::print(format_args!("{}: the first {} goes", from.strftime("%Y-%m-%d"), words(tier)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_s_rhythm_is_the_usual_time_between_its_snapshots() {
        let history = |names: &[&str]| {
            History::new("a".parse().unwrap(), names.iter().map(|name| name.parse().unwrap()).collect())
        };
        assert_eq!(rhythm(&history(&[])), DAILY);
        assert_eq!(rhythm(&history(&["2026-11-20T01:00+0000", "saved"])), DAILY);
        let often = ["2026-11-20T01:00+0000", "2026-11-20T07:00+0000", "2026-11-20T13:00+0000"];
        assert_eq!(rhythm(&history(&often)), Span::hours(6));
    }
}

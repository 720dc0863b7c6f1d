//! What byteback-prune prints: for people, or as JSON with a `schema` number.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use super::Pruner;
use super::known::{Known, Runs};
use crate::journey::server::Server;
use crate::model::run_log::{MeasuredRun, RunVerdict};
use crate::model::{ByteSize, ClientName, SnapshotName, Status};
use crate::policy::goal::Goal;
use crate::policy::prune::{PrunePlan, Step, Verdict};
use crate::policy::room::Room;
use crate::system::{clock, console};

/// What a run has done.
#[derive(Serialize)]
pub(super) struct Report {
    schema: u32,
    percent_free_before: f64,
    percent_free: f64,
    deleted: Vec<Deleted>,
    pending: Vec<Pending>,
    #[serde(skip)]
    json: bool,
}

#[derive(Serialize)]
struct Deleted {
    client: ClientName,
    snapshot: SnapshotName,
    reason: String,
    bytes_back: u64,
}

/// An abnormally large backup that waits for an administrator.
#[derive(Serialize)]
struct Pending {
    client: ClientName,
    started: Timestamp,
    new_data: u64,
    typical: u64,
    percent_free_after: Option<f64>,
}

#[derive(Serialize)]
struct Listing<'a> {
    schema: u32,
    percent_free: f64,
    begins_below: f64,
    goes_on_until: f64,
    would_begin: bool,
    pending: Vec<Pending>,
    steps: Vec<&'a Step<'a>>,
}

impl Report {
    pub(super) fn new(before: &Room, json: bool) -> Self {
        let percent_free = before.percent_free();
        Self {
            schema: 1,
            percent_free_before: percent_free,
            percent_free,
            deleted: Vec::new(),
            pending: Vec::new(),
            json,
        }
    }

    pub(super) fn deleted(&mut self, step: &Step<'_>, bytes_back: u64) {
        let (client, snapshot) = (step.client.clone(), step.snapshot.clone());
        self.deleted.push(Deleted { client, snapshot, reason: step.verdict.to_string(), bytes_back });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.deleted.is_empty()
    }

    /// Says who has to be accepted or reset.
    pub(super) fn pending(&mut self, server: &Server, runs: &Runs, goal: &Goal) {
        self.pending = pending(runs);
        for pending in &self.pending {
            let words = pending.words(goal);
            server.log.warning(format_args!("waiting {words}"));
            console::say(format_args!("byteback-prune: {words}"));
        }
    }

    /// Whether an administrator has to decide something.
    pub(super) fn waits_for_somebody(&self) -> bool {
        !self.pending.is_empty()
    }

    /// As JSON, if that was asked for; people have read it line by line.
    pub(super) fn print(&mut self, room: &Room) -> Result<()> {
        self.percent_free = room.percent_free();
        if self.json {
            console::print(serde_json::to_string(self)?);
        }
        Ok(())
    }
}

fn pending(runs: &Runs) -> Vec<Pending> {
    let typical = |run: &MeasuredRun| match run.verdict {
        RunVerdict::Abnormal { typical } | RunVerdict::Stopped { typical } => typical,
        RunVerdict::Normal | RunVerdict::First => 0,
    };
    let pending = |(client, run): (ClientName, &MeasuredRun)| Pending {
        client,
        started: run.started,
        new_data: run.new_data,
        typical: typical(run),
        percent_free_after: run.percent_free_after,
    };
    runs.pending().into_iter().map(pending).collect()
}

fn say_pending(runs: &Runs, goal: &Goal) {
    for pending in pending(runs) {
        console::say(pending.words(goal));
    }
}

impl Pending {
    fn words(&self, goal: &Goal) -> String {
        let Self { client, started, new_data, typical, .. } = self;
        let (new, usual) = (ByteSize(*new_data), ByteSize(*typical));
        let usual = if *typical == 0 {
            "more than there was room for".to_owned()
        } else {
            format!("where {usual} are usual")
        };
        let until = goal.until;
        format!(
            "the backup of {client} of {started} brought {new} of new data, {usual}; none of its snapshots is deleted, \
             and room is made only until {until:.1} % are free; run byteback-admin accept {client}, or \
             byteback-admin reset {client}"
        )
    }
}

/// `--list`: as the former program printed it, with the reason behind each path. The last line goes first.
pub(super) fn list(pruner: &Pruner<'_>, known: &Known) -> Result<Status> {
    let rules = pruner.rules();
    let (plan, goal) = (PrunePlan::new(&known.inventory, &rules, clock::now()), pruner.goal(&known.runs));
    let most_important_first: Vec<&Step<'_>> = plan.steps().iter().rev().collect();
    let room = pruner.server.store.volume().room()?;
    if pruner.options.json {
        print_listing(known, &goal, &room, most_important_first)?;
        return Ok(Status::Done);
    }
    console::print("Snapshots, the most important first; the last one goes first:");
    for (number, step) in most_important_first.iter().enumerate() {
        console::print(format_args!("{number:>3}: {}  ({})", path_of(&pruner.server, step), words(step)));
    }
    say_pending(&known.runs, &goal);
    Ok(Status::Done)
}

/// `--dry-run`: the deletions in the order in which they would be made.
pub(super) fn rehearse(pruner: &Pruner<'_>, known: &Known) -> Result<Status> {
    let rules = pruner.rules();
    let (plan, goal) = (PrunePlan::new(&known.inventory, &rules, clock::now()), pruner.goal(&known.runs));
    let room = pruner.server.store.volume().room()?;
    let percent_free = room.percent_free();
    let begins = !goal.is_met_by(percent_free);
    let by_need: Vec<&Step<'_>> = if begins { plan.by_need().collect() } else { Vec::new() };
    if pruner.options.json {
        print_listing(known, &goal, &room, plan.by_rule().iter().chain(by_need).collect())?;
        return Ok(Status::Done);
    }
    let show = |step: &Step<'_>| {
        console::print(format_args!("{}  ({})", path_of(&pruner.server, step), words(step)));
    };
    if !plan.by_rule().is_empty() {
        console::print("These would be deleted by rule:");
        plan.by_rule().iter().for_each(show);
    }
    if begins {
        console::print(format_args!(
            "{percent_free:.1} % are free. These would be deleted, one after the other, until {:.1} % are free:",
            goal.until
        ));
        by_need.into_iter().for_each(show);
    } else {
        nothing_to_do(&room);
    }
    say_pending(&known.runs, &goal);
    Ok(Status::Done)
}

fn print_listing(known: &Known, goal: &Goal, room: &Room, steps: Vec<&Step<'_>>) -> Result<()> {
    let percent_free = room.percent_free();
    let listing = Listing {
        schema: 1,
        percent_free,
        begins_below: goal.begin,
        goes_on_until: goal.until,
        would_begin: !goal.is_met_by(percent_free),
        pending: pending(&known.runs),
        steps,
    };
    console::print(serde_json::to_string(&listing)?);
    Ok(())
}

pub(super) fn nothing_to_do(room: &Room) {
    console::print(format_args!("{:.1} % are free; nothing to do", room.percent_free()));
}

/// Why there is not more room, in one sentence: which protection keeps how many snapshots, and how much new
/// data they brought, as far as that was measured.
pub(super) fn only_protected_left(plan: &PrunePlan<'_>, runs: &Runs, room: &Room, goal: &Goal) -> String {
    let mut protected: BTreeMap<String, (usize, u64)> = BTreeMap::new();
    for step in plan.steps() {
        if let Verdict::Keep(protection) = &step.verdict {
            let (count, brought) = protected.entry(protection.to_string()).or_default();
            *count += 1;
            *brought += runs.brought_by(step.client, step.snapshot);
        }
    }
    let words = |(reason, (count, brought)): (&String, &(usize, u64))| match brought {
        0 => format!("{count} {reason}"),
        _ => format!("{count} {reason}, which brought {}", ByteSize(*brought)),
    };
    let reasons: Vec<String> = protected.iter().map(words).collect();
    let reasons =
        if reasons.is_empty() { "there are no snapshots at all".to_owned() } else { reasons.join("; ") };
    format!(
        "only {:.1} % are free, {:.1} % are wanted, and no snapshot is left that may be deleted ({reasons}); \
         enlarge the store or move a client away",
        room.percent_free(),
        goal.until
    )
}

/// The same, when others could go but for their readers.
pub(super) fn only_read_left(skipped: usize, room: &Room, goal: &Goal) -> String {
    format!(
        "only {:.1} % are free, {:.1} % are wanted, and {skipped} snapshots that may be deleted are being read; run \
         it again when the restores have ended",
        room.percent_free(),
        goal.until
    )
}

fn path_of(server: &Server, step: &Step<'_>) -> String {
    server.store.path().join(step.client.as_str()).join(step.snapshot.as_str()).display().to_string()
}

fn words(step: &Step<'_>) -> String {
    match &step.verdict {
        Verdict::Keep(protection) => format!("kept: {protection}"),
        verdict @ (Verdict::DeleteByRule | Verdict::Delete(_)) => verdict.to_string(),
    }
}

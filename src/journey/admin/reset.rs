//! `byteback-admin reset`: what an abnormal run left is thrown away, and its room is back at once.
//!
//! Snapshots that were taken before that run are never touched.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde::Serialize;

use super::open_for;
use crate::journey::server::{Place, Server};
use crate::model::hold::Holds;
use crate::model::receipt::Receipt;
use crate::model::run_log::RunLog;
use crate::model::{ByteSize, ClientName, Failure, SnapshotName, Status};
use crate::policy::growth;
use crate::system::lock::Locking;
use crate::system::{clock, console};

/// How long a push of the client that ends just now is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Throw away what an abnormally large backup left
///
/// Makes the client's current tree anew from the last snapshot before that backup, and deletes those that
/// were taken since, which hold it too. Without an abnormal backup it is the last snapshot of all, and none
/// is deleted. The client's next backup sends what has changed since.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  byteback-admin reset web1 --dry-run")]
pub struct Options {
    /// Whose tree
    #[arg(value_name = "CLIENT")]
    pub client: ClientName,
    /// Say what would be thrown away and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub place: Place,
}

/// What is thrown away, and what takes its place.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Plan {
    schema: u32,
    client: ClientName,
    /// From which snapshot the tree is made anew; `null`: it is empty afterwards.
    from: Option<SnapshotName>,
    /// Snapshots that go too.
    deleted: Vec<SnapshotName>,
    /// Those that would, but for a hold.
    held: Vec<SnapshotName>,
    done: bool,
    /// Bytes that came back.
    room_back: Option<u64>,
}

/// Resets.
///
/// # Errors
/// Busy when a push of the client is at work; a misuse without a terminal and without `--yes`.
pub fn run(options: &Options) -> Result<Status> {
    let server = open_for(&options.place, &options.client)?;
    let state = server.store.client_state(&options.client)?;
    let _lock = match state.lock_writer(PATIENCE)? {
        Locking::Held(lock) => lock,
        Locking::TakenBy(_) => bail!(Failure::busy(format!(
            "a backup of {} is at work; try again when it has ended",
            options.client
        ))),
    };
    let snapshots = server.store.volume().snapshots(&options.client)?;
    let mut plan = plan(&options.client, &snapshots, &state.runs()?, &state.holds()?, clock::now());
    if options.dry_run {
        tell(&plan, options.json)?;
        return Ok(Status::Done);
    }
    if !options.yes {
        confirm(&plan)?;
    }
    let before = server.store.volume().used()?;
    // First of all: an index that is believed against an older tree would leave files out.
    state.remember_receipt(&Receipt::void("its files on the server were made anew from a snapshot"))?;
    carry_out(&server, &plan)?;
    state.change_runs(forget_abnormal)?;
    state.forget_push()?;
    let after = server.store.volume().used()?;
    plan.done = true;
    plan.room_back = Some(before.saturating_sub(after));
    server.log.info(format_args!(
        "reset client={} from={} room={}",
        plan.client,
        plan.from.as_ref().map_or("-", |name| name.as_str()),
        before.saturating_sub(after)
    ));
    tell(&plan, options.json)?;
    Ok(Status::Done)
}

fn forget_abnormal(log: &mut RunLog) {
    log.runs.retain(|run| !run.is_large() || run.accepted);
}

/// What was taken since the first abnormal run began holds what that run brought.
fn plan(
    client: &ClientName,
    snapshots: &[SnapshotName],
    log: &RunLog,
    holds: &Holds,
    now: Timestamp,
) -> Plan {
    let first = growth::pending(log).next();
    let taken: Vec<&SnapshotName> = growth::pending(log).filter_map(|run| run.snapshot.as_ref()).collect();
    let is_later = |name: &SnapshotName| first.is_some_and(|run| name.time() > Some(run.started));
    let timed = snapshots.iter().filter(|name| name.time().is_some()).cloned();
    let (late, earlier): (Vec<_>, Vec<_>) = timed.partition(|name| taken.contains(&name) || is_later(name));
    let (held, deleted) = late.into_iter().partition(|name| holds.holding(name, now).is_some());
    let from = earlier.into_iter().next_back();
    Plan { schema: 1, client: client.clone(), from, deleted, held, done: false, room_back: None }
}

fn carry_out(server: &Server, plan: &Plan) -> Result<()> {
    let volume = server.store.volume();
    volume.renew(&plan.client, plan.from.as_ref())?;
    for snapshot in &plan.deleted {
        volume.discard(&plan.client, snapshot)?;
        server.log.info(format_args!("reset client={} snapshot={snapshot}", plan.client));
    }
    Ok(())
}

/// The client's name, typed.
fn confirm(plan: &Plan) -> Result<()> {
    tell(plan, false)?;
    let asked = console::ask(&format!("Type {} to do so: ", plan.client)).context("cannot ask")?;
    match asked {
        None => bail!(Failure::misuse("this throws data away; without a terminal it needs --yes")),
        Some(answer) if answer.trim() == plan.client.as_str() => Ok(()),
        Some(_) => bail!(Failure::refused("nothing was changed")),
    }
}

fn tell(plan: &Plan, json: bool) -> Result<()> {
    if json {
        console::print(serde_json::to_string(plan)?);
        return Ok(());
    }
    let client = &plan.client;
    let verb = if plan.done { "is" } else { "would be" };
    let source = plan.from.as_ref().map_or_else(
        || "nothing, as there is no snapshot: it is empty then".to_owned(),
        |name| format!("snapshot {name}"),
    );
    console::print(format_args!("{client}/current {verb} thrown away and made anew from {source}"));
    for snapshot in &plan.deleted {
        console::print(format_args!("{client}/{snapshot}, which holds the abnormal backup, {verb} deleted"));
    }
    for snapshot in &plan.held {
        console::print(format_args!("{client}/{snapshot} stays with what it holds: it is under a hold"));
    }
    if let Some(room) = plan.room_back {
        console::print(format_args!("{} of room came back", ByteSize(room)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hold::Hold;
    use crate::model::run_log::{Measure, MeasuredRun, RunVerdict};

    fn run(day: u8, verdict: RunVerdict, accepted: bool) -> MeasuredRun {
        let time: Timestamp = format!("2026-11-{day:02}T01:00:00Z").parse().unwrap();
        MeasuredRun {
            started: time,
            ended: time,
            snapshot: Some(SnapshotName::at(time)),
            status: Some(0),
            new_data: 1,
            measure: Measure::Extents,
            files: 1,
            changed: 0,
            gone: 0,
            percent_free_before: None,
            percent_free_after: None,
            verdict,
            suspicion: None,
            accepted,
        }
    }

    fn name(day: u8) -> SnapshotName {
        format!("2026-11-{day:02}T01:00+0000").parse().unwrap()
    }

    #[test]
    fn what_was_taken_before_the_abnormal_run_stays_and_is_what_the_tree_is_made_of() {
        let large = RunVerdict::Abnormal { typical: 1 };
        let snapshots = [name(1), name(2), name(3), name(4), name(5), "saved".parse().unwrap()];
        let mut log = RunLog::default();
        let verdicts = [RunVerdict::Normal, large, large, RunVerdict::Normal, RunVerdict::Normal];
        for (day, verdict) in (1..).zip(verdicts) {
            log.runs.push(run(day, verdict, day == 2));
        }
        let holds = |snapshot| Holds {
            holds: vec![Hold {
                snapshot: Some(snapshot),
                reason: "x".to_owned(),
                since: Timestamp::UNIX_EPOCH,
                until: None,
                automatic: false,
            }],
            ..Holds::default()
        };
        let plan = plan(&"web1".parse().unwrap(), &snapshots, &log, &holds(name(4)), Timestamp::UNIX_EPOCH);
        assert_eq!(
            (plan.from, plan.deleted, plan.held),
            (Some(name(2)), vec![name(3), name(5)], vec![name(4)])
        );
        forget_abnormal(&mut log);
        assert_eq!(log.runs.len(), 4);
    }

    #[test]
    fn without_an_abnormal_run_no_snapshot_goes() {
        let plan = |snapshots: &[SnapshotName]| {
            let (client, now) = ("web1".parse().unwrap(), Timestamp::UNIX_EPOCH);
            plan(&client, snapshots, &RunLog::default(), &Holds::default(), now)
        };
        let found = plan(&[name(1), name(2)]);
        assert_eq!((found.from, found.deleted), (Some(name(2)), Vec::new()));
        assert_eq!(plan(&[]).from, None);
    }
}

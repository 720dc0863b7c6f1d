//! Measuring the runs that ended since the last pruner looked: how much new data each brought, whether that
//! is usual, and whether it looks as if the machine had been emptied or scrambled.
//!
//! A run that cannot be measured is told and tried again by the next pruner; it never stops this one.

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use crate::journey::figures;
use crate::journey::server::Server;
use crate::model::hold::Hold;
use crate::model::run::Push;
use crate::model::run_log::{Measure, MeasuredRun, RunLog, RunVerdict};
use crate::model::{ClientName, SnapshotName, Tree};
use crate::policy::growth::{self, Changes, Growth, Limits, Thresholds};
use crate::store::growth::NewData;
use crate::store::{ClientState, OpenTree, growth as walk};
use crate::system::clock;
use crate::system::lock::Locking;

/// A client says "complete" at once after its push. One that has not done so in this time will not.
const UNTIL_COMPLETE: SignedDuration = SignedDuration::from_mins(10);
/// How long an automatic hold lasts.
const HOLD: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Measures what is to be measured of this client and remembers it. `is_over`: no "complete" is to be
/// waited for.
///
/// # Errors
/// When a record cannot be read or written, or the tree cannot be walked.
pub(super) fn catch_up(server: &Server, client: &ClientName, is_over: bool) -> Result<()> {
    let state = server.store.client_state(client)?;
    let Some(run) = look(server, client, &state, is_over)? else { return Ok(()) };
    if let Some(hold) = automatic_hold(&run) {
        hold_the_earlier(server, client, &state, hold)?;
    }
    tell(server, client, &run);
    state.change_runs(|log| add(log, run)).map(|_| ())
}

/// A run of which a snapshot was taken only after it had been measured is there already.
pub(super) fn add(log: &mut RunLog, run: MeasuredRun) {
    match log.runs.last_mut().filter(|last| last.started == run.started) {
        Some(last) => last.snapshot = run.snapshot,
        None => log.add(run),
    }
}

/// The last run, if it has ended and the log does not have it as it is.
pub(super) fn look(
    server: &Server,
    client: &ClientName,
    state: &ClientState,
    is_over: bool,
) -> Result<Option<MeasuredRun>> {
    let Some(push) = state.last_push()? else { return Ok(None) };
    let log = state.runs()?;
    if let Some(last) = log.last().filter(|last| last.started == push.started) {
        let is_news = last.snapshot.is_none() && push.snapshot.is_some();
        return Ok(is_news.then(|| MeasuredRun { snapshot: push.snapshot, suspicion: None, ..last.clone() }));
    }
    if let Some(name) = &push.snapshot
        && let Ok(tree) = server.store.volume().open(client, &Tree::Snapshot(name.clone()))
    {
        return measure(server, client, push, &log, &tree).map(Some);
    }
    let waits = push.is_complete()
        && !is_over
        && push.ended.is_some_and(|ended| clock::now() < ended + UNTIL_COMPLETE);
    if waits {
        return Ok(None);
    }
    measure_current(server, client, state, &log)
}

/// A run of which there is no snapshot, in the tree itself; nobody may write there meanwhile.
fn measure_current(
    server: &Server,
    client: &ClientName,
    state: &ClientState,
    log: &RunLog,
) -> Result<Option<MeasuredRun>> {
    let Locking::Held(_lock) = state.lock_writer(std::time::Duration::ZERO)? else { return Ok(None) };
    let Some(mut push) = state.last_push()? else { return Ok(None) };
    let tree = server.store.volume().open(client, &Tree::Current)?;
    // Nobody holds the lock, so one without an end was cut short together with its gate.
    push.ended.get_or_insert_with(clock::now);
    if push.free_after.is_none() {
        figures::note_after_sync(server, client, &mut push);
    }
    measure(server, client, push, log, &tree).map(Some)
}

fn measure(
    server: &Server,
    client: &ClientName,
    push: Push,
    log: &RunLog,
    tree: &OpenTree,
) -> Result<MeasuredRun> {
    let ended = push.ended.unwrap_or_else(clock::now);
    let begun = push.counts_from.unwrap_or(push.started);
    // Clocks may have been set back while it ran.
    let before = snapshot_before(server, client, &push)?;
    let walked = walk::measure(tree, before.as_ref(), begun.min(ended))?;
    let (new_data, measure) = new_data(server, client, &push, begun, ended, walked.bytes);
    let complete = log.runs.iter().rev().find(|run| run.is_complete());
    let NewData { files, changed, .. } = walked;
    let gone = complete.map_or(0, |complete| walked.gone(complete.files));
    let config = &server.config;
    let limits = Limits::of(config, client, &server.store.volume().room()?);
    let room = (push.free_after, f64::from(config.minpercent));
    let changes = Changes { files, changed, gone };
    let suspicion = growth::suspicion(changes, log, &Thresholds::of(config)).filter(|_| push.is_complete());
    Ok(MeasuredRun {
        started: push.started,
        ended,
        snapshot: push.snapshot,
        status: push.status,
        new_data,
        measure,
        files,
        changed,
        gone,
        percent_free_before: push.free_before,
        percent_free_after: push.free_after,
        verdict: growth::verdict(new_data, push.stopped, log, &limits, ended, room),
        suspicion,
        accepted: false,
    })
}

/// The newest snapshot that was taken before this run.
fn snapshot_before(server: &Server, client: &ClientName, push: &Push) -> Result<Option<OpenTree>> {
    let volume = server.store.volume();
    let snapshots = volume.snapshots(client)?;
    let is_before = |name: &SnapshotName| name.time().is_some() && Some(name) != push.snapshot.as_ref();
    let newest = snapshots.into_iter().rfind(is_before);
    newest.map(|name| volume.open(client, &Tree::Snapshot(name))).transpose()
}

/// What the kernel counts for this client is exact. Otherwise the larger of two figures, each of which can
/// be fooled by something else.
fn new_data(
    server: &Server,
    client: &ClientName,
    push: &Push,
    begun: Timestamp,
    ended: Timestamp,
    extents: u64,
) -> (u64, Measure) {
    if let (Some(before), Some(after)) = (push.quota_before, push.quota_after) {
        return (after.saturating_sub(before), Measure::Quota);
    }
    let (Some(before), Some(after)) = (push.used_before, push.used_after) else {
        return (extents, Measure::Extents);
    };
    let used = after.saturating_sub(before);
    if used > extents && was_alone(server, client, begun, ended) {
        (used, Measure::UsedSpace)
    } else {
        (extents, Measure::Extents)
    }
}

/// Whether no other client wrote meanwhile, as far as the records tell.
fn was_alone(server: &Server, client: &ClientName, begun: Timestamp, ended: Timestamp) -> bool {
    let overlaps = |from: Timestamp, to: Option<Timestamp>| from <= ended && to.is_none_or(|to| to >= begun);
    let wrote = |other: &ClientName| -> Result<bool> {
        let state = server.store.client_state(other)?;
        let push = state.last_push()?.is_some_and(|push| overlaps(push.started, push.ended));
        Ok(push || state.runs()?.runs.iter().any(|run| overlaps(run.started, Some(run.ended))))
    };
    let Ok(clients) = server.store.volume().clients() else { return false };
    // What cannot be read may have been a push.
    !clients.iter().any(|other| other != client && wrote(other).unwrap_or(true))
}

/// What the client had before a suspicious run goes under a hold for a while.
pub(super) fn automatic_hold(run: &MeasuredRun) -> Option<Hold> {
    let suspicion = run.suspicion.as_ref()?;
    Some(Hold {
        snapshot: None,
        reason: format!("suspicious backup of {}: {suspicion}", run.started),
        since: run.started,
        until: Some(run.started + HOLD),
        automatic: true,
    })
}

/// Makes that hold, once. A client that is suspicious every night must not keep its snapshots for ever at the
/// others' cost, so no second one is made until an administrator has released the first.
fn hold_the_earlier(server: &Server, client: &ClientName, state: &ClientState, hold: Hold) -> Result<()> {
    server.log.warning(format_args!("suspicious client={client} reason={}", hold.reason));
    if state.holds()?.automatic().is_some() {
        return Ok(());
    }
    server.log.warning(format_args!("hold target={client} reason={}", hold.reason));
    state.change_holds(|holds| holds.holds.push(hold)).map(|_| ())
}

fn tell(server: &Server, client: &ClientName, run: &MeasuredRun) {
    let (new, files, changed, gone) = (run.new_data, run.files, run.changed, run.gone);
    let line = format!("measured client={client} new={new} files={files} changed={changed} gone={gone}");
    match run.verdict {
        RunVerdict::Normal => server.log.info(format_args!("{line} verdict=normal")),
        RunVerdict::First => server.log.info(format_args!("{line} verdict=first")),
        RunVerdict::Abnormal { typical } => {
            server.log.warning(format_args!("{line} verdict=abnormal typical={typical}"));
        }
        RunVerdict::Stopped { typical } => {
            server.log.warning(format_args!("{line} verdict=stopped typical={typical}"));
        }
    }
}

/// A push that is at work now, as if it ended at this moment.
pub(super) fn running(
    server: &Server,
    client: &ClientName,
    state: &ClientState,
    log: &RunLog,
) -> Result<Option<MeasuredRun>> {
    let Some(push) = state.last_push()?.filter(|push| push.ended.is_none() && push.new_so_far > 0) else {
        return Ok(None);
    };
    let room = server.store.volume().room()?;
    let limits = Limits::of(&server.config, client, &room);
    let now = clock::now();
    let Growth::Abnormal { typical, .. } = growth::judge(push.new_so_far, log, &limits, now) else {
        return Ok(None);
    };
    Ok(Some(MeasuredRun {
        started: push.started,
        ended: now,
        snapshot: None,
        status: None,
        new_data: push.new_so_far,
        measure: Measure::UsedSpace,
        files: 0,
        changed: 0,
        gone: 0,
        percent_free_before: push.free_before,
        percent_free_after: Some(room.percent_free()),
        verdict: RunVerdict::Abnormal { typical },
        suspicion: None,
        accepted: log.accepted.is_some(),
    }))
}

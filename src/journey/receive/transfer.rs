//! rsync, confined: started with its directory in the one tree that it may touch, watched to its end.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};

use super::command::Command;
use super::growth::{self, Observer};
use super::visit::{PullJob, PushJob, Visit};
use super::{Ending, cage};
use crate::model::run::Push;
use crate::system::confine::{Plan, Reach, Reachable, Start};
use crate::system::fork::{Running, Waiting};
use crate::system::lock::Lock;
use crate::system::watch::{self, Cause, Ended, Watch};
use crate::system::{clock, console, process};

/// What rsync itself tells when a signal ended it (rsync(1): "received SIGUSR1 or SIGINT").
const ENDED_BY_SIGNAL: u8 = 20;

/// Receives a backup. The record of the push stands while the client's lock is held, so whoever gets
/// the lock next knows how it ended.
pub(super) fn push(visit: &Visit, job: PushJob) -> Result<Ending> {
    let state = visit.server.store.client_state(&visit.grant.client)?;
    let trees = [Reachable { directory: &job.current.directory, reach: Reach::Write }];
    let mut record = Push::begin(clock::now(), visit.peer.clone(), visit.key.clone());
    // A dry run leaves the tree as it was, so what the last real push left behind stays true.
    let remember =
        |record: &Push| if job.command.changes_tree { state.remember_push(record) } else { Ok(()) };
    let mut observer = Observer::begin(visit, &state, &mut record)?;
    let mut watch = Watch::begin()?;
    let waiting = prepare(visit, &job.command, &trees, Start::InTree, job.lock.as_ref())?;
    // Before rsync can change anything the tree counts as unfinished, whatever becomes of this process.
    if job.command.changes_tree {
        state.announce_push(&record).map_err(|error| growth::name_full_store(visit, error))?;
    }
    let child = begin(visit, waiting)?;
    // The announcement may not outlive a crash of the machine; what rsync does meanwhile may.
    if let Err(error) = remember(&record) {
        watch::end(&child)?;
        return Err(growth::name_full_store(visit, error));
    }
    let stops = |written| job.command.changes_tree && observer.stops(&mut record, written);
    let end = watch.until_end_or(&child, job.command.patience, growth::EVERY, stops)?;
    record.ended = Some(clock::now());
    record.status = end.status.code().filter(|_| end.cause == Cause::Itself);
    (record.bytes_read, record.bytes_written) = (end.bytes_read, end.bytes_written);
    let ending = ending(visit, "push", &end);
    remember(&record).map_err(|error| growth::name_full_store(visit, error))?;
    if job.command.changes_tree {
        observer.conclude(&mut record)?;
    }
    drop(job.lock);
    if job.command.changes_tree && !record.is_complete() {
        growth::start_pruner(visit); // no "complete" will come
    }
    Ok(ending)
}

/// Sends what the client asked back.
pub(super) fn pull(visit: &Visit, job: &PullJob) -> Result<Ending> {
    let home = visit.server.store.volume().home(&visit.grant.client)?;
    let trees: Vec<Reachable<'_>> = job
        .trees
        .iter()
        .map(|(_, open)| Reachable { directory: &open.directory, reach: Reach::Read })
        .collect();
    let mut watch = Watch::begin()?;
    let child = begin(visit, prepare(visit, &job.command, &trees, Start::AboveTrees(&home), None)?)?;
    let end = watch.until_end(&child, job.command.patience)?;
    Ok(ending(visit, "pull", &end))
}

/// A child that goes into its cage while we do something else.
fn prepare(
    visit: &Visit,
    orders: &Command,
    trees: &[Reachable<'_>],
    start: Start<'_>,
    lock: Option<&Lock>,
) -> Result<Waiting> {
    let config = &visit.server.config;
    let plan = Plan { trees, program: Some(&config.rsync), start, layers: cage::layers(config) };
    let cage = cage::build(visit, &plan)?;
    let mut command = process::command(&config.rsync);
    command.args(&orders.argv);
    let keep =
        lock.map(|lock| lock.file().try_clone()).transpose().context("cannot share the lock with rsync")?;
    let keep: Vec<OwnedFd> = keep.into_iter().map(OwnedFd::from).collect();
    cage.start(&mut command, &keep, config.max_memory.0)
}

/// rsync begins.
fn begin(visit: &Visit, waiting: Waiting) -> Result<Running> {
    let child = waiting.go()?;
    if let Some(why) = child.without {
        cage::note_without(visit, why)?;
    }
    Ok(child)
}

/// The client sees rsync's own status; why it was ended by us it is told in a sentence.
fn ending(visit: &Visit, request: &str, end: &Ended) -> Ending {
    let Ended { status, cause, .. } = *end;
    let why = match cause {
        // An rsync that ended well had nothing left to say when its peer went away.
        Cause::Itself | Cause::ConnectionLost if status.success() => return Ending::Rsync(0),
        Cause::Itself => format!("rsync ended with {status}"),
        Cause::ConnectionLost => "the connection was lost".to_owned(),
        Cause::Silent(time) => format!("nothing came from the client for {} seconds", time.as_secs()),
        Cause::Told(signal) => format!("the server ended it ({signal})"),
        Cause::Stopped => "it is abnormally large and the store is short of room".to_owned(),
    };
    visit.log_end("ended", request, &why);
    if matches!(cause, Cause::Silent(_) | Cause::Told(_)) {
        console::say(format_args!("byteback-receive: stopped: {why}"));
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ending::Rsync(code.filter(|code| *code != 0).unwrap_or(ENDED_BY_SIGNAL))
}

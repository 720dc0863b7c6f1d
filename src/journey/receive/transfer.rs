//! rsync, confined: started with its directory in the one tree that it may touch, watched to its end.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Ending;
use super::visit::{PullJob, PushJob, Visit};
use crate::model::Failure;
use crate::model::run::Push;
use crate::model::server_config::{Confinement, ServerConfig};
use crate::protocol::rsync_args::{Added, ConfinedRsync};
use crate::system::confine::{Cage, Layers, Plan, Reach, Reachable, Start, strip_process};
use crate::system::watch::{Cause, Watch};
use crate::system::{clock, console, fork, process};

/// What rsync itself tells when a signal ended it (rsync(1): "received SIGUSR1 or SIGINT").
const ENDED_BY_SIGNAL: u8 = 20;

/// Receives a backup. The record of the push stands while the client's lock is held, so whoever gets
/// the lock next knows how it ended.
pub(super) fn push(visit: &Visit, job: PushJob) -> Result<Ending> {
    let state = visit.server.store.client_state(&visit.grant.client)?;
    let lock = job.lock.file().try_clone().context("cannot share the lock with rsync")?;
    let trees = [Reachable { directory: &job.current.directory, name: "current", reach: Reach::Write }];
    let started = clock::now();
    let mut watch = Watch::begin()?;
    let mut child = start(visit, &job.rsync, &trees, Start::InTree, lock.into())?;
    // A dry run leaves the tree as it was, so what the last real push left behind stays true.
    let remember =
        |record: &Push| if job.rsync.changes_nothing() { Ok(()) } else { state.remember_push(record) };
    // Written when rsync runs already: its first work is to wait for the client, ours is to be quick.
    let mut record = Push { schema: 1, started, ended: None, status: None, peer: visit.peer.clone() };
    remember(&record)?;
    let (status, cause) = watch.until_end(&mut child, patience(visit, &job.rsync))?;
    record.ended = Some(clock::now());
    record.status = status.code().filter(|_| cause == Cause::Itself);
    remember(&record)?;
    drop(job.lock);
    Ok(ending(visit, "push", status, cause))
}

/// Sends what the client asked back.
pub(super) fn pull(visit: &Visit, job: &PullJob) -> Result<Ending> {
    let home = visit.server.store.volume().home(&visit.grant.client)?;
    let trees: Vec<Reachable<'_>> = job
        .trees
        .iter()
        .map(|(tree, open)| Reachable { directory: &open.directory, name: tree.as_str(), reach: Reach::Read })
        .collect();
    let mut watch = Watch::begin()?;
    let place = job.place.file().try_clone().context("cannot share the place with rsync")?;
    let mut child = start(visit, &job.rsync, &trees, Start::AboveTrees(&home), place.into())?;
    let (status, cause) = watch.until_end(&mut child, patience(visit, &job.rsync))?;
    Ok(ending(visit, "pull", status, cause))
}

/// The client's own timeout, or the server's.
fn patience(visit: &Visit, rsync: &ConfinedRsync) -> Duration {
    Duration::from_secs(rsync.timeout().unwrap_or(visit.server.config.io_timeout.as_secs()).max(1))
}

fn start(
    visit: &Visit,
    rsync: &ConfinedRsync,
    trees: &[Reachable<'_>],
    start: Start<'_>,
    lock: OwnedFd,
) -> Result<Child> {
    let config = &visit.server.config;
    let plan = Plan { trees, program: Some(&config.rsync), start, layers: layers(config) };
    let mut cage = Cage::build(&plan)?;
    let missing = cage.missing();
    if !missing.is_empty() && config.confinement == Confinement::Kernel {
        bail!(Failure::refused(format!(
            "this server's kernel lacks {}; the administrator can allow that with confinement = \"arguments-only\"",
            missing.join(" and ")
        )));
    }
    let added = Added { default_timeout: config.io_timeout.as_secs(), confine_root: None };
    let mut command = process::command(&config.rsync);
    command.args(rsync.argv(&added)).process_group(0); // the watch ends the group: rsync forks
    let (keep, max_memory) = ([lock], config.max_memory.0);
    fork::spawn_confined(&mut command, move || {
        strip_process(&keep, max_memory)?;
        cage.enter()
    })
}

fn layers(config: &ServerConfig) -> Layers {
    Layers { namespace: config.namespace, ..Layers::ALL }
}

/// The client sees rsync's own status; why it was ended by us it is told in a sentence.
fn ending(visit: &Visit, request: &str, status: ExitStatus, cause: Cause) -> Ending {
    let client = &visit.grant.client;
    let why = match cause {
        Cause::Itself if status.success() => return Ending::Rsync(0),
        Cause::Itself => format!("rsync ended with {status}"),
        Cause::ConnectionLost => "the connection was lost".to_owned(),
        Cause::Silent(time) => format!("nothing came from the client for {} seconds", time.as_secs()),
        Cause::Told(signal) => format!("the server ended it ({signal})"),
    };
    visit.server.log.warning(format_args!("ended client={client} request={request} reason={why}"));
    if matches!(cause, Cause::Silent(_) | Cause::Told(_)) {
        console::say(format_args!("byteback-receive: stopped: {why}"));
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ending::Rsync(code.filter(|code| *code != 0).unwrap_or(ENDED_BY_SIGNAL))
}

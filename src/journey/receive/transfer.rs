//! rsync, confined: started with its directory in the one tree that it may touch, watched to its end.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use anyhow::{Context, Result, bail};
use nix::unistd::fchdir;

use super::Ending;
use super::visit::{PullJob, PushJob, Visit};
use crate::model::Failure;
use crate::model::run::Push;
use crate::model::server_config::Confinement;
use crate::protocol::rsync_args::{Added, ConfinedRsync};
use crate::system::confine::{Cage, Plan, Reach, strip_process};
use crate::system::{clock, fork, process};

/// What the gate's child tells when a signal ended rsync (rsync(1): "received SIGUSR1 or SIGINT").
const ENDED_BY_SIGNAL: u8 = 20;

/// Receives a backup. The record of the push stands while the client's lock is held, so whoever gets
/// the lock next knows how it ended.
pub(super) fn push(visit: &Visit, job: PushJob) -> Result<Ending> {
    let state = visit.server.store.client_state(&visit.grant.client)?;
    let lock = job.lock.file().try_clone().context("cannot share the lock with rsync")?;
    let started = clock::now();
    let mut child = start(
        visit,
        &job.rsync,
        &[(&job.current.directory, Reach::Write)],
        &job.current.directory,
        Some(lock.into()),
    )?;
    // Written when rsync runs already: its first work is to wait for the client, ours is to be quick.
    let mut record = Push { schema: 1, started, ended: None, status: None, peer: visit.peer.clone() };
    state.remember_push(&record)?;
    let status = child.wait().context("cannot wait for rsync")?;
    record.ended = Some(clock::now());
    record.status = status.code();
    state.remember_push(&record)?;
    drop(job.lock);
    Ok(ending(visit, "push", status))
}

/// Sends what the client asked back.
pub(super) fn pull(visit: &Visit, job: &PullJob) -> Result<Ending> {
    let home = visit.server.store.volume().home(&visit.grant.client)?;
    let trees: Vec<(&OwnedFd, Reach)> = job.trees.iter().map(|tree| (&tree.directory, Reach::Read)).collect();
    let status = start(visit, &job.rsync, &trees, &home, None)?.wait().context("cannot wait for rsync")?;
    Ok(ending(visit, "pull", status))
}

fn start(
    visit: &Visit,
    rsync: &ConfinedRsync,
    trees: &[(&OwnedFd, Reach)],
    directory: &OwnedFd,
    lock: Option<OwnedFd>,
) -> Result<std::process::Child> {
    let config = &visit.server.config;
    let mut cage = Cage::build(&Plan { trees, program: Some(config.rsync.clone()) })?;
    let missing = cage.missing();
    if !missing.is_empty() && config.confinement == Confinement::Kernel {
        bail!(Failure::refused(format!(
            "this server's kernel lacks {}; the administrator can allow that with confinement = \"arguments-only\"",
            missing.join(" and ")
        )));
    }
    let added = Added { default_timeout: config.io_timeout.as_secs(), confine_root: None };
    let mut command = process::command(&config.rsync);
    command.args(rsync.argv(&added));
    let directory = directory.try_clone().context("cannot keep the tree open")?;
    let keep: Vec<OwnedFd> = lock.into_iter().collect();
    fork::spawn_confined(&mut command, move || {
        fchdir(&directory)?;
        strip_process(&keep)?;
        cage.enter()
    })
}

fn ending(visit: &Visit, request: &str, status: ExitStatus) -> Ending {
    if !status.success() {
        let client = &visit.grant.client;
        visit
            .server
            .log
            .warning(format_args!("ended client={client} request={request} reason=rsync {status}"));
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    debug_assert!(code.is_some() || status.signal().is_some());
    Ending::Rsync(code.unwrap_or(ENDED_BY_SIGNAL))
}

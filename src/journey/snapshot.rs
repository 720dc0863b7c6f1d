//! Taking a snapshot: only when nothing is writing, the last push ended well, and one is due.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;

use super::figures;
use super::server::{Place, Server};
use crate::model::{ClientName, Failure, SnapshotName, Status};
use crate::policy::due::{self, Due};
use crate::protocol::answer::Outcome;
use crate::system::lock::Locking;
use crate::system::{clock, console};

/// How long the last rsync may need to end after its client was told that all is done.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of the wish for a snapshot.
#[derive(Debug)]
pub enum Taken {
    /// There is a new one.
    Snapshot(SnapshotName),
    /// The verdict was against it.
    NotTaken(Due),
    /// A backup is being written.
    Busy(Option<i32>),
}

impl Taken {
    /// The new snapshot, or the last one when it is too young for another.
    pub fn snapshot(&self) -> Option<&SnapshotName> {
        match self {
            Self::Snapshot(name) => Some(name),
            Self::NotTaken(Due::TooSoon { last, .. }) => Some(last),
            Self::NotTaken(_) | Self::Busy(_) => None,
        }
    }

    /// What the client is told.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Snapshot(_) => Outcome::Snapshot,
            Self::NotTaken(Due::TooSoon { .. } | Due::NameTaken(_)) => Outcome::NotDue,
            Self::NotTaken(_) => Outcome::Refused,
            Self::Busy(_) => Outcome::Busy,
        }
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(name) => write!(f, "snapshot {name} taken"),
            Self::NotTaken(due) => write!(f, "no snapshot taken: {due}"),
            Self::Busy(Some(process)) => {
                write!(f, "no snapshot taken: process {process} is still writing the backup")
            }
            Self::Busy(None) => f.write_str("no snapshot taken: a backup is still being written"),
        }
    }
}

/// Takes a snapshot of the client's `current` if that is right now.
///
/// # Errors
/// When the store cannot be read, or the file system refuses the snapshot.
pub fn take(server: &Server, client: &ClientName, now: Timestamp) -> Result<Taken> {
    let state = server.store.client_state(client)?;
    let _lock = match state.lock_writer(PATIENCE)? {
        Locking::Held(lock) => lock,
        Locking::TakenBy(process) => return Ok(Taken::Busy(process)),
    };
    let volume = server.store.volume();
    let snapshots = volume.snapshots(client)?;
    let push = state.last_push()?;
    let verdict = due::due(now, &snapshots, server.config.snapshot_interval, push.as_ref());
    let Due::Take(name) = verdict else { return Ok(Taken::NotTaken(verdict)) };
    volume.freeze(client, &name)?;
    figures::note_snapshot(server, client, &state, push, &name);
    server.log.info(format_args!("snapshot client={client} name={name}"));
    Ok(Taken::Snapshot(name))
}

/// What is typed behind `byteback-snapshot`.
#[derive(Debug)]
pub struct Options {
    /// Whose `current`.
    pub client: Option<ClientName>,
    /// The client's directory, in place of its name and the store.
    pub root: Option<PathBuf>,
    /// The store and its configuration.
    pub place: Place,
}

/// `byteback-snapshot`: one snapshot by hand.
///
/// # Errors
/// A client that is not there is a misuse (status 2); "too soon" and "still being written" are busy (4).
pub fn run(options: Options) -> Result<Status> {
    let (client, place) = whose(options)?;
    let server = Server::open(&place, "byteback-snapshot")?;
    if !server.store.volume().is_enrolled(&client) {
        bail!(Failure::misuse(format!("there is no client {client} in {}", server.store.path().display())));
    }
    let taken = take(&server, &client, clock::now())?;
    match taken.outcome() {
        Outcome::Snapshot => {
            console::print(&taken);
            Ok(Status::Done)
        }
        Outcome::NotDue | Outcome::Busy => bail!(Failure::busy(taken.to_string())),
        Outcome::Ok | Outcome::Refused | Outcome::Failed => bail!(Failure::refused(taken.to_string())),
    }
}

/// `--root STORE/NAME` says both at once.
fn whose(options: Options) -> Result<(ClientName, Place)> {
    let Options { client, root, place } = options;
    if let Some(client) = client {
        return Ok((client, place));
    }
    let root = root.context(Failure::misuse("name the client with --client"))?;
    let name = root.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let wrong = || Failure::misuse(format!("{} is not a client's directory STORE/NAME", root.display()));
    let client = name.parse().with_context(wrong)?;
    let store = root.parent().with_context(wrong)?.to_owned();
    Ok((client, Place { store: Some(store), ..place }))
}

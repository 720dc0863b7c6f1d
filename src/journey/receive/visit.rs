//! One request on its way to a verdict: what must be true before anything is done for it.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::command::Command;
use super::growth;
use super::search;
use crate::journey::server::Server;
use crate::model::server_config::Layer;
use crate::model::{Failure, Grant, Tree};
use crate::protocol::answer::{Answer, Outcome};
use crate::protocol::find_query::FindQuery;
use crate::protocol::request::{Manner, Request};
use crate::protocol::rsync_args::{ConfinedRsync, Source};
use crate::store::OpenTree;
use crate::system::lock::{Lock, Locking};

/// How long a new push waits for the last one of the same client to end: its rsync may need a moment
/// to notice that the connection is gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// One connection of one client.
pub(super) struct Visit {
    pub(super) server: Server,
    pub(super) grant: Grant,
    pub(super) peer: Option<String>,
    /// The fingerprint of the key, where sshd tells which one it was.
    pub(super) key: Option<String>,
    /// Whether this visit found the store short of room and had the pruner started.
    pub(super) making_room: Cell<bool>,
}

/// A request that was admitted, with everything held open that it needs.
pub(super) enum Job {
    Ping(Manner),
    Prepare(Manner),
    Complete(Manner),
    List(ListJob),
    Snapshots(SnapshotsJob),
    Push(PushJob),
    Pull(PullJob),
}

/// Find files.
pub(super) struct ListJob {
    pub(super) query: FindQuery,
    pub(super) json: bool,
    pub(super) trees: Vec<(Tree, OpenTree)>,
    /// `current`, when what it no longer holds is looked for.
    pub(super) gone_from: Option<OpenTree>,
    /// One of the client's places.
    pub(super) _place: Lock,
}

/// Tell which snapshots there are.
pub(super) struct SnapshotsJob {
    /// Newest first.
    pub(super) trees: Vec<(Tree, OpenTree)>,
    /// One of the client's places.
    pub(super) _place: Lock,
}

/// rsync writes `current`; nobody else of this client does meanwhile.
pub(super) struct PushJob {
    pub(super) command: Command,
    pub(super) current: OpenTree,
    /// Always there, but in a test of what happens without it.
    pub(super) lock: Option<Lock>,
}

/// rsync reads trees of this client.
pub(super) struct PullJob {
    pub(super) command: Command,
    pub(super) trees: Vec<(Tree, OpenTree)>,
    /// Keeps them from being deleted meanwhile.
    pub(super) _held: Vec<Lock>,
    /// One of the client's places for restores, and one of those that all clients share. rsync does not
    /// inherit them: it ends with this process.
    pub(super) _places: [Lock; 2],
}

impl Visit {
    pub(super) fn new(server: Server, grant: Grant, peer: Option<String>, key: Option<String>) -> Self {
        Self { server, grant, peer, key, making_room: Cell::new(false) }
    }

    /// Whether the request may be carried out now. Changes nothing but taking the client's lock.
    pub(super) fn admit(&self, request: &Request) -> Result<Job> {
        let client = &self.grant.client;
        if !self.server.store.volume().is_enrolled(client) {
            bail!(Failure::refused(format!(
                "the store has no {client}/current; the administrator must enrol the client again or mount the store"
            )));
        }
        Ok(match request {
            Request::Ping(manner) => Job::Ping(*manner),
            Request::Prepare(manner) => {
                growth::admit(self)?;
                self.lock_writer(Duration::ZERO)?;
                Job::Prepare(*manner)
            }
            Request::Complete(manner) => Job::Complete(*manner),
            Request::List(list) => {
                let place = self.take_own_place()?;
                let trees = self.trees_of(&list.query)?;
                let current = || self.open_for_reading(&Tree::Current);
                let gone_from = list.query.deleted.then(current).transpose()?;
                let query = list.query.clone();
                Job::List(ListJob { query, json: list.json, trees, gone_from, _place: place })
            }
            Request::Snapshots => {
                let place = self.take_own_place()?;
                let trees = self.trees_of(&FindQuery::default())?;
                Job::Snapshots(SnapshotsJob { trees, _place: place })
            }
            Request::Push(rsync) => self.admit_push(rsync)?,
            Request::Pull(rsync) => Job::Pull(self.admit_pull(rsync)?),
            Request::OldRestore(old) => {
                let sources = self.find_sources(&old.query)?;
                let rsync = ConfinedRsync::pull(old.options.clone(), sources).map_err(Failure::from)?;
                Job::Pull(self.admit_pull(&rsync)?)
            }
        })
    }

    fn admit_push(&self, rsync: &ConfinedRsync) -> Result<Job> {
        self.admit_write(self.command_for(rsync))
    }

    fn command_for(&self, rsync: &ConfinedRsync) -> Command {
        Command::print(rsync, &self.server.config, self.server.store.path(), &self.grant.client)
    }

    fn admit_write(&self, command: Command) -> Result<Job> {
        if command.changes_tree {
            growth::admit(self)?;
        }
        let lock =
            if self.server.config.is_off(Layer::Lock) { None } else { Some(self.lock_writer(PATIENCE)?) };
        let current = self.server.store.volume().open(&self.grant.client, &Tree::Current)?;
        if current.read_only {
            bail!(Failure::failed("current is read-only; the administrator must make it writable again"));
        }
        Ok(Job::Push(PushJob { command, current, lock }))
    }

    fn admit_pull(&self, rsync: &ConfinedRsync) -> Result<PullJob> {
        let mut names: Vec<&Tree> = rsync.sources().iter().map(|source| &source.tree).collect();
        names.sort();
        names.dedup();
        let open = |tree: &Tree| Ok((tree.clone(), self.open_for_reading(tree)?));
        let trees = names.into_iter().map(open).collect::<Result<_>>()?;
        self.pull_job(self.command_for(rsync), trees)
    }

    fn pull_job(&self, command: Command, trees: Vec<(Tree, OpenTree)>) -> Result<PullJob> {
        let held = trees.iter().map(|(_, open)| open.hold_for_reading()).collect::<Result<_>>()?;
        let places = [self.take_own_place()?, self.take_restore_place()?];
        Ok(PullJob { command, trees, _held: held, _places: places })
    }

    /// A test's request that the grammar would not let through.
    #[cfg(debug_assertions)]
    pub(super) fn admit_raw(&self, line: &[u8]) -> Option<Result<Job>> {
        let command = Command::raw(line, &self.server.config, self.server.store.path(), &self.grant.client)?;
        if !command.argv.iter().any(|word| word == "--sender") {
            return Some(self.admit_write(command));
        }
        let open = |tree: Tree| Ok((tree.clone(), self.open_for_reading(&tree)?));
        Some(open(Tree::Current).and_then(|current| self.pull_job(command, vec![current])).map(Job::Pull))
    }

    /// A snapshot must be read-only: only then is what the client gets what the server froze.
    fn open_for_reading(&self, tree: &Tree) -> Result<OpenTree> {
        let client = &self.grant.client;
        let Ok(open) = self.server.store.volume().open(client, tree) else {
            bail!(Failure::refused(format!("there is no snapshot {tree} of {client}")));
        };
        if !open.read_only && *tree != Tree::Current {
            bail!(Failure::refused(format!(
                "snapshot {tree} is writable; the administrator makes it read-only with byteback-setup-server"
            )));
        }
        Ok(open)
    }

    /// The trees that a query looks through, newest first.
    fn trees_of(&self, query: &FindQuery) -> Result<Vec<(Tree, OpenTree)>> {
        raise_open_files()?;
        if let Some(tree) = &query.tree {
            return Ok(vec![(tree.clone(), self.open_for_reading(tree)?)]);
        }
        let volume = self.server.store.volume();
        let mut trees = Vec::new();
        for snapshot in volume.snapshots(&self.grant.client)?.into_iter().rev() {
            if query.at.is_some_and(|at| snapshot.time().is_none_or(|time| time > at)) {
                continue;
            }
            let tree = Tree::Snapshot(snapshot);
            let open = volume.open(&self.grant.client, &tree)?;
            // One that somebody made writable must not keep all others from being found.
            if open.read_only {
                trees.push((tree, open));
                if query.at.is_some() {
                    return Ok(trees);
                }
            } else {
                self.log_end("skipped", "list", &format!("snapshot {tree} is writable"));
            }
        }
        if let Some(at) = query.at {
            bail!(Failure::refused(format!(
                "no snapshot was taken before {at}; byteback-restore --snapshots lists them"
            )));
        }
        Ok(trees)
    }

    /// The newest copy of everything that an old client's patterns match, by the names it asked for.
    fn find_sources(&self, query: &FindQuery) -> Result<Vec<Source>> {
        if query.all {
            bail!(Failure::refused(
                "all versions cannot have one name in a restore; list them with --all and restore one --snapshot"
            ));
        }
        let _place = self.take_own_place()?;
        search::sources(self, query, &self.trees_of(query)?)
    }

    /// A client has a quarter of all places for its restores and searches, so that it leaves some to others.
    fn take_own_place(&self) -> Result<Lock> {
        let most = (self.server.config.max_restores / 4).max(1);
        match self.server.store.client_state(&self.grant.client)?.lock_place(most)? {
            Some(place) => Ok(place),
            None => bail!(Failure::busy(format!(
                "{most} restores or searches of this client are at work; try again later"
            ))),
        }
    }

    /// Each restore holds one of `max_restores` locks.
    fn take_restore_place(&self) -> Result<Lock> {
        let most = self.server.config.max_restores;
        match self.server.store.lock_restore_place(most)? {
            Some(place) => Ok(place),
            None => {
                bail!(Failure::busy(format!("{most} restores are at work on this server; try again later")))
            }
        }
    }

    fn lock_writer(&self, patience: Duration) -> Result<Lock> {
        match self.server.store.client_state(&self.grant.client)?.lock_writer(patience)? {
            Locking::Held(lock) => Ok(lock),
            Locking::TakenBy(process) => {
                let process =
                    process.map_or_else(String::new, |pid| format!(" (process {pid} on the server)"));
                bail!(Failure::busy(format!(
                    "another backup of this client is at work{process}; try again later"
                )))
            }
        }
    }

    /// An answer about this client.
    pub(super) fn answer(&self, outcome: Outcome, message: &str) -> Answer {
        let client = self.grant.client.to_string();
        let making_room = self.making_room.get();
        Answer {
            schema: 1,
            outcome,
            client,
            snapshot: None,
            message: message.to_owned(),
            making_room,
            standing: None,
        }
    }
}

/// All snapshots are held open at once, and a client may have more than the usual 1024 descriptors.
fn raise_open_files() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot ask for a limit")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise a limit")
}

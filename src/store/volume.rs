//! What a store can do, in the domain's words, so that another file system could stand behind it.

use std::fmt;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use jiff::Timestamp;

use crate::model::{ClientName, Failure, SnapshotName, Tree};
use crate::policy::room::Room;
use crate::system::ioctl;
use crate::system::lock::{self, Lock, Sharing};

/// A tree that is held open.
#[derive(Debug)]
pub struct OpenTree {
    /// Its root directory.
    pub directory: OwnedFd,
    /// Whether the file system lets nobody write to it.
    pub read_only: bool,
    /// When the subvolume was made, by the server's clock; `None` where the file system does not tell.
    pub made: Option<Timestamp>,
}

impl OpenTree {
    /// Keeps the tree from being thrown away for as long as the lock lives (flock(2), shared), for two days if
    /// a pruner wants it.
    ///
    /// # Errors
    /// Refused, when it is being thrown away already.
    pub fn hold_for_reading(&self) -> Result<Lock> {
        let held = lock::try_open_directory(&self.directory, Sharing::Shared);
        let held = held.context("cannot lock a tree for reading")?;
        let is_writable = || ioctl::is_read_only(&self.directory).is_ok_and(|read_only| !read_only);
        match held {
            Some(lock) if !(self.read_only && is_writable()) => Ok(lock),
            _ => {
                Err(Failure::refused("the server is deleting this snapshot; restore from another one").into())
            }
        }
    }
}

/// Somebody reads the tree that was to be thrown away; it is as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeingRead {
    /// Whose it is.
    pub client: ClientName,
    /// The tree.
    pub tree: Tree,
}

impl fmt::Display for BeingRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} is being read, by a restore that must end first", self.client, self.tree)
    }
}

impl std::error::Error for BeingRead {}

/// How the file system counts what each subvolume takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaMode {
    /// Simple quotas: each extent is charged to whoever wrote it, at no cost.
    Simple,
    /// Quota groups that count what is shared too, and make each deletion take many times as long.
    Full,
}

/// The backend. `current` is written by rsync alone; snapshots can be made and discarded, not changed.
pub trait Volume {
    /// Makes the client's directory and its empty `current`; what is there already is kept.
    ///
    /// # Errors
    /// When the file system refuses, with what to change.
    fn enrol(&self, client: &ClientName) -> Result<()>;

    /// All clients, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn clients(&self) -> Result<Vec<ClientName>>;

    /// Whether the client has a `current`.
    fn is_enrolled(&self, client: &ClientName) -> bool;

    /// The client's own directory, in which its trees lie.
    ///
    /// # Errors
    /// When it is not there.
    fn home(&self, client: &ClientName) -> Result<OwnedFd>;

    /// The client's snapshots, oldest first.
    ///
    /// # Errors
    /// When its directory cannot be read.
    fn snapshots(&self, client: &ClientName) -> Result<Vec<SnapshotName>>;

    /// Opens a tree.
    ///
    /// # Errors
    /// When there is none of that name.
    fn open(&self, client: &ClientName, tree: &Tree) -> Result<OpenTree>;

    /// Makes a snapshot of `current`: read-only from its first moment, on the disk when this returns.
    ///
    /// # Errors
    /// When the name is taken or the file system refuses.
    fn freeze(&self, client: &ClientName, name: &SnapshotName) -> Result<()>;

    /// Throws a snapshot away and returns when its space is really free. It disappears from every
    /// listing first, durably; whatever interrupts the rest, [`Volume::finish_discards`] carries on.
    ///
    /// On a disk so full that not even this is possible the ballast is released first.
    ///
    /// # Errors
    /// [`BeingRead`] by a restore, then nothing has changed; when the file system refuses one of the steps.
    fn discard(&self, client: &ClientName, name: &SnapshotName) -> Result<()>;

    /// The same for several, at most five or so: their space is waited for together, which is what takes the
    /// time. A result for each, in the order given.
    fn discard_batch(&self, batch: &[(ClientName, SnapshotName)]) -> Vec<Result<()>>;

    /// Puts a new `current` in the place of the old one: what this snapshot holds, or nothing. The old one is
    /// thrown away, and its space is back when this returns. The caller holds the client's lock. Whatever
    /// interrupts it, the old or the new one is there, and [`Volume::finish_discards`] carries on.
    ///
    /// # Errors
    /// [`BeingRead`]; when there is no such snapshot; when the file system refuses one of the steps.
    fn renew(&self, client: &ClientName, from: Option<&SnapshotName>) -> Result<()>;

    /// Finishes what an interrupted [`Volume::discard`] or [`Volume::renew`] left; says how many there were.
    ///
    /// # Errors
    /// As for [`Volume::discard`].
    fn finish_discards(&self, client: &ClientName) -> Result<usize>;

    /// Waits, for a bounded time, for what an earlier [`Volume::discard`] did not see come back.
    ///
    /// # Errors
    /// When it is still not back: deleting more would not help against whoever holds it.
    fn finish_waiting(&self) -> Result<()>;

    /// Whether [`Volume::discard`] would be allowed, found out without touching a snapshot.
    ///
    /// # Errors
    /// What the administrator must change.
    fn check_discard(&self) -> Result<()>;

    /// How much room there is.
    ///
    /// # Errors
    /// When the kernel does not tell.
    fn room(&self) -> Result<Room>;

    /// Bytes in use on the devices, data and metadata as often as they are stored. What was written less than
    /// a commit ago is not in it yet.
    ///
    /// # Errors
    /// When the kernel does not tell.
    fn used(&self) -> Result<u64>;

    /// Bytes that the kernel's simple quotas charge to the client's `current`: all that it ever wrote there
    /// and that is still held, by whatever snapshot; counted once, as of the last commit. `None` where they
    /// are not turned on.
    ///
    /// # Errors
    /// When the kernel tells nonsense or there is no such client.
    fn quota(&self, client: &ClientName) -> Result<Option<u64>>;

    /// Which kind of quotas is turned on.
    ///
    /// # Errors
    /// When the kernel does not tell.
    fn quota_mode(&self) -> Result<Option<QuotaMode>>;

    /// When the snapshot was made, by the server's clock of then.
    ///
    /// # Errors
    /// When there is no such snapshot.
    fn made(&self, client: &ClientName, name: &SnapshotName) -> Result<Timestamp>;
}
